//! A strict reader of JSON for bytes that are signed or encrypted by others (docs/format.md 7.1, 8).
//!
//! Stricter than RFC 8259 where two readers could differ: no duplicate key, no lone surrogate, no byte order mark, bounded
//! nesting, numbers kept as written. Memory is bounded by a small multiple of the text's length.

use std::borrow::Cow;
use std::collections::HashSet;

/// A value; objects keep the order of their keys.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as written.
    Number(String),
    /// A string.
    String(String),
    /// `[...]`
    Array(Vec<Value>),
    /// `{...}`, keys unique.
    Object(Vec<(String, Value)>),
}

/// The text is not JSON, or breaks one of the stricter rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {what}")]
pub struct JsonError {
    /// Byte offset of the place.
    pub at: usize,
    /// The rule.
    pub what: &'static str,
}

/// Reads one value and nothing after it. `max_depth` counts arrays and objects inside one another.
///
/// # Errors
/// The first rule broken, with its place.
pub fn parse(text: &[u8], max_depth: usize) -> Result<Value, JsonError> {
    let mut reader = Reader::new(text, max_depth)?;
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

impl Value {
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) => Some(s),
            _ => None,
        }
    }

    /// The number, if it is written as decimal digits only and fits.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(n) if n.bytes().all(|b| b.is_ascii_digit()) => n.parse().ok(),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(a) => Some(a),
            _ => None,
        }
    }

    /// The entries, if it is an object.
    pub fn as_object(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(o) => Some(o),
            _ => None,
        }
    }

    /// The entry of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// The entries of an object that has no other keys than `allowed`.
    pub fn exactly(&self, allowed: &[&str]) -> Option<&[(String, Self)]> {
        self.as_object().filter(|o| o.iter().all(|(k, _)| allowed.contains(&k.as_str())))
    }

    /// The same value from serde.
    pub fn from_serde(value: &serde_json::Value) -> Self {
        use serde_json::Value as V;
        match value {
            V::Null => Self::Null,
            V::Bool(b) => Self::Bool(*b),
            V::Number(n) => Self::Number(n.to_string()),
            V::String(s) => Self::String(s.clone()),
            V::Array(a) => Self::Array(a.iter().map(Self::from_serde).collect()),
            V::Object(o) => Self::Object(o.iter().map(|(k, v)| (k.clone(), Self::from_serde(v))).collect()),
        }
    }

    /// The same value for serde.
    pub fn to_serde(&self) -> serde_json::Value {
        use serde_json::Value as V;
        match self {
            Self::Null => V::Null,
            Self::Bool(b) => V::Bool(*b),
            // Free content only: a number serde cannot hold is kept as its text.
            Self::Number(n) => n.parse().map_or_else(|_| V::String(n.clone()), V::Number),
            Self::String(s) => V::String(s.clone()),
            Self::Array(a) => V::Array(a.iter().map(Self::to_serde).collect()),
            Self::Object(o) => V::Object(o.iter().map(|(k, v)| (k.clone(), v.to_serde())).collect()),
        }
    }
}

/// Writes a string with the quotes and the escapes that JSON demands, and no others.
pub fn quote(text: &str, out: &mut String) {
    use std::fmt::Write;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c)).expect("writing to a string"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Reads a text whose shape is known piece by piece, without building a [`Value`] of all of it.
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth_left: usize,
    max_keys: usize,
}

impl<'a> Reader<'a> {
    /// At the first value of a text; see [`parse`].
    pub fn new(text: &'a [u8], max_depth: usize) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(text).map_err(|e| JsonError { at: e.valid_up_to(), what: "not UTF-8" })?;
        Ok(Self::of_text(text, max_depth))
    }

    /// The same of what is known to be UTF-8.
    pub fn of_text(text: &'a str, max_depth: usize) -> Self {
        let mut reader = Self { text, at: 0, depth_left: max_depth, max_keys: usize::MAX };
        reader.space();
        reader
    }

    /// Refuses objects with more keys: what is passed over need not be remembered for long.
    pub fn with_max_keys(self, max_keys: usize) -> Self {
        Self { max_keys, ..self }
    }

    /// Nothing may follow.
    pub fn end(mut self) -> Result<(), JsonError> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.fail("something after the value") }
    }

    /// An error at the place reached.
    pub fn fail<T>(&self, what: &'static str) -> Result<T, JsonError> {
        Err(JsonError { at: self.at, what })
    }

    /// The next value, whatever it is.
    pub fn value(&mut self) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'{') => {
                let mut entries = Vec::new();
                self.object(|reader, key| {
                    entries.push((key.to_owned(), reader.value()?));
                    Ok(())
                })?;
                Ok(Value::Object(entries))
            }
            Some(b'[') => {
                let mut elements = Vec::new();
                self.array(|reader| {
                    elements.push(reader.value()?);
                    Ok(())
                })?;
                Ok(Value::Array(elements))
            }
            Some(b'"') => Ok(Value::String(self.string()?.into_owned())),
            Some(b'-' | b'0'..=b'9') => Ok(Value::Number(self.number()?.into())),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => self.fail("a value is expected"),
        }
    }

    /// Passes over the next value, which must be as well-formed as one that is read.
    pub fn skip(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => self.object(|reader, _| reader.skip()),
            Some(b'[') => self.array(Self::skip),
            Some(b'"') => self.characters(&mut |_, _| ()),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ => self.value().map(drop),
        }
    }

    /// The text of the next value, which must be well-formed.
    pub fn raw(&mut self) -> Result<&'a str, JsonError> {
        let from = self.at;
        self.skip()?;
        Ok(&self.text[from..self.at])
    }

    /// An object: `entry` is called with each key and must read its value.
    pub fn object<F>(&mut self, mut entry: F) -> Result<(), JsonError>
    where
        F: FnMut(&mut Self, &str) -> Result<(), JsonError>,
    {
        let mut seen = Keys::default();
        self.nested(b'{', b'}', "an object is expected", "',' or '}' is expected", |reader| {
            if reader.peek() != Some(b'"') {
                return reader.fail("a key is expected");
            }
            let key = reader.string()?;
            if seen.len() == reader.max_keys {
                return reader.fail("an object with too many keys");
            }
            if !seen.insert(key.clone()) {
                return reader.fail("duplicate key");
            }
            reader.space();
            if !reader.eat(b':') {
                return reader.fail("':' is expected");
            }
            reader.space();
            entry(reader, &key)
        })
    }

    /// An array: `element` is called at each element and must read it.
    pub fn array<F>(&mut self, element: F) -> Result<(), JsonError>
    where
        F: FnMut(&mut Self) -> Result<(), JsonError>,
    {
        self.nested(b'[', b']', "an array is expected", "',' or ']' is expected", element)
    }

    /// Whether the next value is a string.
    pub fn is_at_string(&self) -> bool {
        self.peek() == Some(b'"')
    }

    /// A string; borrowed from the text where that holds no escape.
    pub fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let mut out = Cow::Borrowed("");
        self.characters(&mut |plain, escaped| {
            out += plain;
            if let Some(escaped) = escaped {
                out.to_mut().push(escaped);
            }
        })?;
        Ok(out)
    }

    /// The next string, in stretches without an escape and the characters that are escaped after them.
    fn characters(&mut self, take: &mut impl FnMut(&'a str, Option<char>)) -> Result<(), JsonError> {
        if !self.eat(b'"') {
            return self.fail("a string is expected");
        }
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let len = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            // All of it at once: short strings with nothing to find are the rule.
            if rest[..len].iter().fold(false, |found, b| found | (*b < b' ')) {
                self.at += rest.iter().take_while(|b| **b >= b' ').count();
                return self.fail("a control character in a string");
            }
            let plain = &self.text[self.at..self.at + len];
            self.at += len + 1;
            match rest.get(len) {
                Some(b'"') => {
                    take(plain, None);
                    return Ok(());
                }
                Some(_) => {
                    let escaped = self.escape()?;
                    take(plain, Some(escaped));
                }
                None => {
                    self.at -= 1;
                    return self.fail("the string has no end");
                }
            }
        }
    }

    fn nested<F>(
        &mut self,
        open: u8,
        close: u8,
        no_open: &'static str,
        no_close: &'static str,
        mut item: F,
    ) -> Result<(), JsonError>
    where
        F: FnMut(&mut Self) -> Result<(), JsonError>,
    {
        if self.peek() != Some(open) {
            return self.fail(no_open);
        }
        if self.depth_left == 0 {
            return self.fail("nested too deeply");
        }
        self.depth_left -= 1;
        self.at += 1;
        self.space();
        let mut more = !self.eat(close);
        while more {
            self.space();
            item(self)?;
            self.space();
            more = self.eat(b',');
            if !more && !self.eat(close) {
                return self.fail(no_close);
            }
        }
        self.depth_left += 1;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return self.fail("a value is expected");
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') && self.digits() == 0 {
            return self.fail("a digit is expected");
        }
        if matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.fail("a number has no leading zero");
        }
        if self.eat(b'.') && self.digits() == 0 {
            return self.fail("a digit is expected");
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            if self.digits() == 0 {
                return self.fail("a digit is expected");
            }
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let Some(byte) = self.peek() else { return self.fail("the string has no end") };
        self.at += 1;
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex4()?;
                let code = match first {
                    0xd800..=0xdbff if self.eat(b'\\') && self.eat(b'u') => match self.hex4()? {
                        second @ 0xdc00..=0xdfff => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                        _ => return self.fail("a lone surrogate"),
                    },
                    _ => first,
                };
                match char::from_u32(code) {
                    Some(c) => c,
                    None => return self.fail("a lone surrogate"),
                }
            }
            _ => return self.fail("an unknown escape"),
        })
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let Some(digits) = digits.filter(|d| d.iter().all(u8::is_ascii_hexdigit)) else {
            return self.fail("four hex digits are expected");
        };
        self.at += 4;
        Ok(digits.iter().fold(0, |n, d| n << 4 | char::from(*d).to_digit(16).unwrap_or(0)))
    }
}

/// The keys of one object so far: few are compared one by one, many are looked up.
#[derive(Default)]
struct Keys<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    const FEW: usize = 16;

    fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }

    /// Whether it is new.
    fn insert(&mut self, key: Cow<'a, str>) -> bool {
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.reserve(if self.few.is_empty() { 8 } else { 0 });
            self.few.push(key);
            return true;
        }
        self.many.insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_reads_without_loss_is_read_alike() {
        for text in [r#"{"a":[1,-2.5e3,true,null,"x\u00e9\ud83d\ude00\n"],"":{}}"#, " [ ] ", "0", r#""\/""#] {
            let ours = parse(text.as_bytes(), 8).unwrap().to_serde();
            assert_eq!(ours, serde_json::from_str::<serde_json::Value>(text).unwrap());
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            r#""\udc00""#,
            "\u{feff}1",
            "01",
            "1.",
            "+1",
            "NaN",
            "Infinity",
            "1 2",
            "[1,]",
            "{,}",
            "\"\u{1}\"",
            r#""\x""#,
            "",
            "{",
            "[[[]]]",
            "'a'",
            "-",
        ] {
            assert!(parse(text.as_bytes(), 2).is_err(), "{text}");
        }
        assert!(parse(b"\xff", 2).is_err());
    }

    #[test]
    fn integers_are_digits_only() {
        let integer = |t: &str| parse(t.as_bytes(), 1).unwrap().as_u64();
        assert_eq!(integer("18446744073709551615"), Some(u64::MAX));
        assert_eq!([integer("18446744073709551616"), integer("-0"), integer("1.0"), integer("1e3")], [None; 4]);
    }

    #[test]
    fn quoting_round_trips() {
        let text = "a\"\\\n\u{1}é😀/";
        let mut quoted = String::new();
        quote(text, &mut quoted);
        assert_eq!(parse(quoted.as_bytes(), 0).unwrap().as_str(), Some(text));
    }
}
