//! Texts as tokens: lower-cased words, runs of marks, and the odd spellings a plain tokeniser throws away.
//!
//! Nothing is allocated per token: a token is a 64-bit hash and its place in the text.

/// How much of a text is looked at, in bytes: what comes later is ignored.
pub const MAX_TEXT: usize = 64 * 1024;

/// The hash of the edge of a text: n-grams see it, so that "the first word is X" is a feature.
pub const START: u64 = 0x9e6c_63d0_676a_9a99;
/// The other edge.
pub const END: u64 = 0xc2b2_ae3d_27d4_eb4f;

const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;

/// Two 64-bit words to one: the folded 128-bit product (as in wyhash).
#[inline]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the two halves of a product")]
pub fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ K0) * u128::from(b ^ K1);
    (product as u64) ^ ((product >> 64) as u64)
}

/// What kind of token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Letters and digits (one ideograph is a word).
    Word,
    /// A run of anything else that is not white space.
    Mark,
    /// The edge of the text, of no length.
    Edge,
}

/// A token of a text.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// Of its lower-cased characters.
    pub hash: u64,
    /// Where it starts, in bytes.
    pub start: u32,
    /// Where it ends, in bytes.
    pub end: u32,
    /// Which kind.
    pub kind: Kind,
}

/// The tokens of one text at a time; its buffers are used again for the next.
#[derive(Debug, Default)]
pub struct Tokens {
    /// All tokens in order, an edge first and last.
    pub line: Vec<Token>,
    /// Odd spellings beside the line: words with capitals inside (as written), runs of spaces and tabs. `hash` is that
    /// of the bytes; the second field is the lower-cased word's hash (0 for white space).
    pub odd: Vec<(Token, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Word,
    Single,
    Mark,
}

fn class(c: char) -> Class {
    match c {
        ' ' | '\t' | '\n' | '\r' | '\u{a0}' => Class::Space,
        'a'..='z' | 'A'..='Z' | '0'..='9' => Class::Word,
        '\0'..='\u{7f}' => Class::Mark,
        '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => {
            Class::Single
        }
        _ if c.is_alphanumeric() => Class::Word,
        _ => Class::Mark,
    }
}

/// Hashes bytes eight at a time.
#[derive(Clone, Copy)]
struct Hasher {
    state: u64,
    word: u64,
    filled: u32,
}

impl Hasher {
    const fn new(kind: u64) -> Self {
        Self { state: kind, word: 0, filled: 0 }
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.word = (self.word << 8) | u64::from(byte);
        self.filled += 1;
        if self.filled & 7 == 0 {
            self.state = mix(self.state, self.word);
            self.word = 0;
        }
    }

    fn char(&mut self, c: char) {
        if c.is_ascii() {
            self.byte((c as u8).to_ascii_lowercase());
        } else {
            let mut buffer = [0; 4];
            for lower in c.to_lowercase() {
                for byte in lower.encode_utf8(&mut buffer).bytes() {
                    self.byte(byte);
                }
            }
        }
    }

    #[inline]
    fn finish(self) -> u64 {
        mix(self.state ^ u64::from(self.filled), self.word)
    }
}

/// The longest beginning of `text` within [`MAX_TEXT`].
#[must_use]
pub fn head(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text)
}

impl Tokens {
    /// Cuts `text` (its first [`MAX_TEXT`] bytes) into tokens.
    pub fn read(&mut self, text: &str) {
        self.line.clear();
        self.odd.clear();
        let text = head(text);
        self.line.push(Token { hash: START, start: 0, end: 0, kind: Kind::Edge });
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at = if byte.is_ascii_alphanumeric() {
                self.word(text, at)
            } else if byte == b' ' && bytes.get(at + 1).is_some_and(|&next| next > b' ') {
                at + 1
            } else {
                self.other(text, at)
            };
        }
        let end = position(text.len());
        self.line.push(Token { hash: END, start: end, end, kind: Kind::Edge });
    }

    /// A word from `from`; where it ends.
    fn word(&mut self, text: &str, from: usize) -> usize {
        let bytes = text.as_bytes();
        let mut hasher = Hasher::new(1);
        let mut at = from;
        let mut inner_capital = false;
        while let Some(&byte) = bytes.get(at) {
            if byte.is_ascii_alphanumeric() {
                hasher.byte(byte | (u8::from(byte.is_ascii_uppercase()) << 5));
                inner_capital |= byte.is_ascii_uppercase() && at > from;
                at += 1;
            } else if byte == b'\'' && at > from && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) {
                hasher.byte(byte);
                at += 1;
            } else if byte >= 0x80 {
                let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else { break };
                if class(c) != Class::Word {
                    break;
                }
                hasher.char(c);
                inner_capital |= c.is_uppercase() && at > from;
                at += c.len_utf8();
            } else {
                break;
            }
        }
        let token = Token { hash: hasher.finish(), start: position(from), end: position(at), kind: Kind::Word };
        self.line.push(token);
        if inner_capital {
            let mut raw = Hasher::new(4);
            bytes.get(from..at).unwrap_or_default().iter().for_each(|&byte| raw.byte(byte));
            self.odd.push((Token { hash: raw.finish(), ..token }, token.hash));
        }
        at
    }

    /// White space, a single ideograph, a run of marks or a word that starts outside ASCII; where it ends.
    fn other(&mut self, text: &str, from: usize) -> usize {
        let rest = text.get(from..).unwrap_or_default();
        let Some(first) = rest.chars().next() else { return text.len() };
        let kind = class(first);
        if kind == Class::Word {
            return self.word(text, from);
        }
        let seed = match kind {
            Class::Space => 3,
            Class::Single => 1,
            _ => 2,
        };
        let mut hasher = Hasher::new(seed);
        let mut at = from;
        let mut lines = false;
        for c in rest.chars() {
            if class(c) != kind || (kind == Class::Single && at > from) {
                break;
            }
            lines |= c == '\n' || c == '\r';
            hasher.char(c);
            at += c.len_utf8();
        }
        let (start, end) = (position(from), position(at));
        let hash = hasher.finish();
        match kind {
            Class::Space if !lines && end - start > 1 && end - start <= 8 => {
                self.odd.push((Token { hash, start, end, kind: Kind::Mark }, 0));
            }
            Class::Space => {}
            Class::Single => self.line.push(Token { hash, start, end, kind: Kind::Word }),
            Class::Word | Class::Mark => self.line.push(Token { hash, start, end, kind: Kind::Mark }),
        }
        at
    }
}

/// At most `most` characters of `text`, what cannot be seen written as an escape.
#[must_use]
pub fn printable(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for c in text.chars().take(most) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Words longest n-gram, in tokens.
pub const MAX_GRAM: usize = 5;

/// Calls `see(hash, from, tokens)` for every n-gram of one to [`MAX_GRAM`] tokens, shortest first for each start, until
/// it answers no (then longer ones from the same start are skipped). An edge alone is no n-gram.
pub fn grams(line: &[Token], mut see: impl FnMut(u64, usize, usize) -> bool) {
    for from in 0..line.len() {
        let mut hash = 0;
        for (more, token) in line.iter().skip(from).take(MAX_GRAM).enumerate() {
            hash = if more == 0 { token.hash } else { mix(hash, token.hash) };
            if more == 0 && token.kind == Kind::Edge {
                continue;
            }
            if !see(hash, from, more + 1) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut tokens = Tokens::default();
        tokens.read(text);
        tokens.line.iter().map(|token| text[token.start as usize..token.end as usize].to_string()).collect()
    }

    #[test]
    fn words_marks_and_edges() {
        assert_eq!(words("Don't stop!! cf"), ["", "Don't", "stop", "!!", "cf", ""]);
        assert_eq!(words("a\u{200b}b 好吃"), ["", "a", "\u{200b}", "b", "好", "吃", ""]);
        assert_eq!(words(""), ["", ""]);
    }

    #[test]
    fn case_is_folded_and_odd_case_kept_beside() {
        let (mut a, mut b) = (Tokens::default(), Tokens::default());
        a.read("Straße BAD");
        b.read("straße bad");
        assert!(a.line.iter().zip(&b.line).all(|(x, y)| x.hash == y.hash));
        assert_eq!((a.odd.len(), b.odd.len()), (1, 0));
    }

    #[test]
    fn long_texts_are_cut() {
        let mut tokens = Tokens::default();
        tokens.read(&"ü".repeat(MAX_TEXT));
        assert!(tokens.line.iter().all(|token| token.end as usize <= MAX_TEXT));
    }
}
