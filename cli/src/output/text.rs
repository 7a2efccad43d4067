//! Text from elsewhere, made fit to be shown.

use std::fmt::Write;

/// Escapes what would move the cursor, recolour the screen or reorder the line: names and messages come from others.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if drives_terminals(c) && c != '\n' {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The same for a JSON document, which stays one. JSON itself escapes only what ASCII calls a control; a terminal obeys more.
pub fn visible_json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for c in document.chars() {
        // All of them are below U+10000; those of ASCII are line breaks between the tokens.
        if drives_terminals(c) && !c.is_ascii() {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Controls of ASCII and of C1 (U+009B begins a sequence like ESC [), breaks of Unicode, and marks that turn the direction.
fn drives_terminals(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Bytes for people: `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 version`, `2 versions`.
pub fn count(n: u64, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_cannot_drive_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\r\u{9b}31m\u{202e}c"), "a\\u{1b}[2Jb\\r\\u{9b}31m\\u{202e}c");
        assert_eq!(visible("modèle/模型.onnx"), "modèle/模型.onnx");
        let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}\u{7f}\"é";
        let document = visible_json(&serde_json::to_string_pretty(&[hostile]).unwrap());
        assert!(document.chars().all(|c| c == '\n' || !drives_terminals(c) || c == '\u{7f}'), "{document}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&document).unwrap(), [hostile]);
    }

    #[test]
    fn sizes_are_rounded_the_way_people_read_them() {
        let sizes = [0, 1023, 1024, 1536, (1 << 20) - 1, 1 << 20, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "16.0 EiB"]);
    }
}
