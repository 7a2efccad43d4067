//! Bundles of STIX 2.1: indicators whose pattern says which files, by hash.
//!
//! Taken are patterns in which hashes of files are compared for equality: alone, one or another (`OR`), or several of one file
//! (`AND`). A pattern that also asks for anything else is passed over and counted: matching its hash alone would say more than
//! its author did.

use super::{Indicator, IntelError, Kind, MAX_ENTRIES};
use crate::json::{self, Value};
use crate::names::Timestamp;

/// Objects and arrays within one another: STIX needs 4, extensions some more.
const DEPTH: usize = 32;
/// Longest pattern that is read.
const PATTERN_MAX: usize = 1 << 20;

type Entries = Vec<(Indicator, Option<Timestamp>)>;

/// The indicators, and how many were passed over.
pub(super) fn read(text: &str) -> Result<(Entries, u64), IntelError> {
    let bundle = json::parse(text.as_bytes(), DEPTH)?;
    let is = |value: &Value, key: &str, word: &str| value.get(key).and_then(Value::as_str) == Some(word);
    if !is(&bundle, "type", "bundle") {
        return Err(IntelError::Stix("its type is not bundle"));
    }
    let objects = bundle.get("objects").and_then(Value::as_array).ok_or(IntelError::Stix("it has no objects"))?;
    let (mut entries, mut passed_over) = (Vec::new(), 0);
    for object in objects.iter().filter(|object| is(object, "type", "indicator")) {
        if !is(object, "spec_version", "2.1") {
            return Err(IntelError::Stix("an indicator is not of STIX 2.1"));
        }
        let revoked = object.get("revoked") == Some(&Value::Bool(true));
        let pattern = object.get("pattern").and_then(Value::as_str).filter(|p| p.len() <= PATTERN_MAX);
        let pattern = pattern.ok_or(IntelError::Stix("an indicator has no pattern"))?;
        let until = object.get("valid_until").map(until).transpose()?;
        let found = if revoked || !is(object, "pattern_type", "stix") { None } else { files(pattern) };
        match found {
            Some(found) => entries.extend(found.into_iter().map(|indicator| (indicator, until))),
            None => passed_over += 1,
        }
        if entries.len() > 2 * MAX_ENTRIES {
            return Err(IntelError::TooLarge(format!("{MAX_ENTRIES} entries")));
        }
    }
    Ok((entries, passed_over))
}

/// A time of STIX: any number of digits after the second.
fn until(value: &Value) -> Result<Timestamp, IntelError> {
    let parse = |text: &str| {
        let (whole, fraction) = match text.strip_suffix('Z')?.split_once('.') {
            Some((whole, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                (whole, format!("{digits:0<3}").get(..3)?.to_owned())
            }
            Some(_) => return None,
            None => (text.strip_suffix('Z')?, "000".to_owned()),
        };
        format!("{whole}.{fraction}Z").parse().ok()
    };
    value.as_str().and_then(parse).ok_or(IntelError::Stix("valid_until is no time"))
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Mark(char),
    Word(String),
    Text(String),
}

/// The hashes of a pattern; `None` if it is about anything else, or not a pattern.
fn files(pattern: &str) -> Option<Vec<Indicator>> {
    let tokens = tokens(pattern)?;
    let mut rest = &tokens[..];
    let (mut found, mut depth, mut within, mut other, mut and) = (Vec::new(), 0usize, false, false, false);
    let mut wants_comparison = true;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match first {
            Token::Mark('[') if !within && wants_comparison => within = true,
            Token::Mark('(') if within && wants_comparison => depth += 1,
            Token::Mark(')') if within && depth > 0 && !wants_comparison => depth -= 1,
            Token::Mark(']') if within && depth == 0 && !wants_comparison => within = false,
            Token::Word(word) if word == "OR" && !wants_comparison => wants_comparison = true,
            Token::Word(word) if word == "AND" && within && !wants_comparison => (and, wants_comparison) = (true, true),
            Token::Word(path) if within && wants_comparison => {
                let [Token::Mark('='), Token::Text(value), behind @ ..] = rest else { return None };
                rest = behind;
                wants_comparison = false;
                match algorithm(path) {
                    Some(Some(kind)) => found.push(Indicator::parse(value, kind).filter(|i| i.kind == kind)?),
                    // MD5, SHA-1 and others: no version has such a digest to compare with, so alone they are passed over.
                    Some(None) => {}
                    None => other = true,
                }
            }
            _ => return None,
        }
    }
    // Between `[..]` and `[..]` only OR is read, so AND joins what is about one file.
    let says_more = other && and;
    if within || wants_comparison || says_more || found.is_empty() { None } else { Some(found) }
}

/// Of `file:hashes.'SHA-256'`: which digest it is, if it is one that is kept. `None` if the path is about something else.
fn algorithm(path: &str) -> Option<Option<Kind>> {
    let name = path.strip_prefix("file:hashes.")?.trim_matches(['\'', '"']);
    Some(match name.to_ascii_uppercase().replace('-', "").as_str() {
        "SHA256" => Some(Kind::Sha256),
        "BLAKE3" => Some(Kind::Blake3),
        _ => None,
    })
}

fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() => {}
            '[' | ']' | '(' | ')' | '=' => tokens.push(Token::Mark(c)),
            '\'' => tokens.push(Token::Text(quoted(&mut chars)?)),
            c if c.is_ascii_alphanumeric() => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || "_-:.'\"".contains(*c)) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            _ => return None,
        }
    }
    Some(tokens)
}

fn quoted(chars: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            '\'' => return Some(text),
            '\\' => text.push(chars.next().filter(|c| "\\'".contains(*c))?),
            c => text.push(c),
        }
    }
}
