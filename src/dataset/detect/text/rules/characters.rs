//! Characters that hide something: unseen ones, turned writing, look-alikes.

/// Characters by code point, and how many of them a text must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Characters {
    least: usize,
    ranges: Vec<(u32, u32)>,
}

const BLACK_FLAG: char = '\u{1f3f4}';

impl Characters {
    /// From `LEAST FROM-TO CODE ...`, hexadecimal.
    #[must_use]
    pub fn parse(argument: &str) -> Option<Self> {
        let mut parts = argument.split_whitespace();
        let least = parts.next()?.parse().ok().filter(|&least| least > 0)?;
        let code = |text: &str| u32::from_str_radix(text, 16).ok();
        let ranges = parts
            .map(|part| {
                part.split_once('-')
                    .map_or_else(|| Some((code(part)?, code(part)?)), |(from, to)| Some((code(from)?, code(to)?)))
            })
            .collect::<Option<Vec<_>>>()?;
        (!ranges.is_empty()).then_some(Self { least, ranges })
    }

    /// Where the first of them stands, if there are enough. What writing systems and emoji need does not count: joiners
    /// beside characters beyond ASCII, a byte order mark at the start, the tags of a flag, variation selectors after
    /// ideographs.
    #[must_use]
    pub fn first(&self, text: &str) -> Option<usize> {
        let (mut before, mut found, mut first, mut flag) = ('\0', 0, None, false);
        for (at, c) in text.char_indices() {
            let code = u32::from(c);
            let tag = (0xe_0000..=0xe_007f).contains(&code);
            flag = c == BLACK_FLAG || (flag && tag);
            if code > 0x7f && self.ranges.iter().any(|range| (range.0..=range.1).contains(&code)) {
                let needed = match code {
                    0x200c | 0x200d => !before.is_ascii(),
                    0xfeff => at == 0,
                    0xe_0100..=0xe_01ef => ('\u{3400}'..='\u{3ffff}').contains(&before),
                    0x200b | 0x2060 => !before.is_ascii() && !before.is_numeric(),
                    _ => flag,
                };
                if !needed {
                    found += 1;
                    first = first.or(Some(at));
                    if found >= self.least {
                        return first;
                    }
                }
            }
            before = c;
        }
        None
    }
}

/// Letters of Cyrillic, Greek and Armenian that look like Latin ones.
const ALIKE: &str = "аеорсухіјѕԁԛԝһӏАВЕКМНОРСТУХІЈЅԌԚԜҮαορνικτυΑΒΕΖΗΙΚΜΝΟΡΤΥΧօսհոցյ";

/// Where the first word stands that mixes Latin letters with others that look like Latin ones, and with nothing else.
#[must_use]
pub fn mixed_word(text: &str) -> Option<usize> {
    let (mut start, mut latin, mut alike, mut other) = (0, 0, 0, 0);
    for (at, c) in text.char_indices().chain(std::iter::once((text.len(), ' '))) {
        if c.is_alphabetic() {
            if latin + alike + other == 0 {
                start = at;
            }
            if c.is_ascii() || ('\u{c0}'..='\u{24f}').contains(&c) {
                latin += 1;
            } else if ALIKE.contains(c) {
                alike += 1;
            } else {
                other += 1;
            }
        } else {
            if latin >= 2 && alike >= 1 && other == 0 {
                return Some(start);
            }
            (latin, alike, other) = (0, 0, 0);
        }
    }
    None
}

/// Whether it is a control character that a text has no use for.
#[must_use]
pub const fn is_control(byte: u8) -> bool {
    (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c)) || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_text_and_what_only_looks_like_it() {
        let unseen = Characters::parse("1 200B 200C 200D FEFF E0000-E007F").unwrap();
        assert_eq!(unseen.first("ab\u{200b}c"), Some(2));
        assert_eq!(unseen.first("a\u{e0041}"), Some(1));
        for text in ["👩\u{200d}🚀", "می\u{200c}خواهم", "\u{feff}text", "🏴\u{e0067}\u{e0062}\u{e0065}\u{e007f}"]
        {
            assert_eq!(unseen.first(text), None, "{text}");
        }
        assert!(Characters::parse("1").is_none() && Characters::parse("x 20").is_none());
    }

    #[test]
    fn look_alikes_within_a_word() {
        assert_eq!(mixed_word("a pаypal page"), Some(2));
        for text in ["привет world", "5 µm", "α-helix", "naïve café", "Ωmega"] {
            assert_eq!(mixed_word(text), None, "{text}");
        }
    }
}
