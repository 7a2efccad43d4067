//! PEM (RFC 7468): sections between encapsulation boundaries. Text around them is a comment.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Not PEM, or not the sections that were wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PemMalformed(&'static str);

/// One section, its body not yet decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// What stands in its boundaries: `PUBLIC KEY`.
    pub label: &'a str,
    body: &'a str,
}

impl Section<'_> {
    /// The bytes; wiped when dropped, as they may be a key.
    ///
    /// # Errors
    /// If the body is not padded base64 without stray bits.
    pub fn decode(&self) -> Result<Zeroizing<Vec<u8>>, PemMalformed> {
        let mut kept = Zeroizing::new(String::with_capacity(self.body.len()));
        self.body.chars().filter(|c| !c.is_ascii_whitespace()).for_each(|c| kept.push(c));
        STANDARD.decode(kept.as_bytes()).map(Zeroizing::new).map_err(|_| PemMalformed("a PEM section is not base64"))
    }

    /// Whether headers of RFC 1421 say that a passphrase protects the body.
    pub fn has_encryption_headers(&self) -> bool {
        self.body.trim_start().starts_with("Proc-Type:")
    }
}

/// All sections of a text.
///
/// # Errors
/// If the text is not UTF-8, or a boundary has no partner.
pub fn sections(text: &[u8]) -> Result<Vec<Section<'_>>, PemMalformed> {
    let text = std::str::from_utf8(text).map_err(|_| PemMalformed("not PEM: not UTF-8"))?;
    let mut found = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        open = match (open, boundary(line, "-----BEGIN "), boundary(line, "-----END ")) {
            (None, Some(label), _) => Some((label, end)),
            (None, None, None) => None,
            (Some(section), None, None) => Some(section),
            (Some((label, from)), None, Some(closed)) if label == closed => {
                found.push(Section { label, body: &text[from..start] });
                None
            }
            _ => return Err(PemMalformed("a boundary of a PEM section has no partner")),
        };
        start = end;
    }
    match open {
        None => Ok(found),
        Some(_) => Err(PemMalformed("a PEM section has no end")),
    }
}

/// The bytes of the one section of a text, which must have this label.
///
/// # Errors
/// If there is none, another one, or more than one.
pub fn one(text: &[u8], label: &str) -> Result<Zeroizing<Vec<u8>>, PemMalformed> {
    match sections(text)?[..] {
        [section] if section.label == label => section.decode(),
        [] => Err(PemMalformed("no PEM section")),
        [_] => Err(PemMalformed("a PEM section of another kind")),
        _ => Err(PemMalformed("more than one PEM section")),
    }
}

/// One section with lines of 64 characters. Every copy made on the way is wiped, as it may be a key.
pub fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    // Room for all of it at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for start in (0..body.len()).step_by(64) {
        text.push_str(&body[start..body.len().min(start + 64)]);
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

fn boundary<'a>(line: &'a str, opening: &str) -> Option<&'a str> {
    line.trim_ascii_end().strip_prefix(opening)?.strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_read_back_in_order_with_comments_and_other_line_ends() {
        let (a, b) = (encode("A", &[1; 100]), encode("B C", &[]));
        assert!(a.lines().all(|line| line.len() <= 64));
        let text = format!("comment\r\n{}\n more\n{}", a.replace('\n', "\r\n"), b.trim_end());
        let found = sections(text.as_bytes()).unwrap();
        let decoded: Vec<_> = found.iter().map(|s| (s.label, s.decode().unwrap().to_vec())).collect();
        assert_eq!(decoded, [("A", vec![1; 100]), ("B C", vec![])]);
    }

    #[test]
    fn unpaired_boundaries_foreign_labels_and_bad_base64_are_refused() {
        let a = encode("A", &[1; 20]);
        assert!(one(a.as_bytes(), "A").is_ok());
        let cut = a.replace("-----END A-----\n", "");
        for bad in [
            String::new(),
            cut.clone(),
            format!("{cut}{}", *a),
            format!("{}{}", *a, *a),
            a.replace("END A", "END B"),
            a.replace("BEGIN A", "BEGIN B"),
            a.replace("AQ", "A"),
            a.replace("AQ", "A!"),
            a.replace('=', ""),
            format!("-----END A-----\n{}", *a),
        ] {
            assert!(one(bad.as_bytes(), "A").is_err(), "{bad}");
        }
        assert!(one(b"\xff", "A").is_err());
    }
}
