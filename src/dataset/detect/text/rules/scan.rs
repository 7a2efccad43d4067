//! One pass over a text for all rules.

use aho_corasick::AhoCorasick;
use memchr::memchr_iter;

use super::Check;
use super::characters::{is_control, mixed_word};
use super::numbers::Number;
use super::secrets::{assigned, mail, token_at};

/// Bytes looked at together.
const BLOCK: usize = 64;

/// Checks by what they look at, each with the number of its rule.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// At whole texts.
    pub texts: Vec<(usize, Check)>,
    /// At numbers.
    pub numbers: Vec<(usize, Number)>,
    /// At control characters (rules only).
    pub controls: Vec<usize>,
    /// At anchors, one for each pattern of the search.
    pub anchored: Vec<(usize, Check)>,
}

/// Calls `hit(rule, byte offset)` for what fires on `text`.
pub(super) fn scan(plan: &Plan, anchors: &AhoCorasick, text: &str, mut hit: impl FnMut(usize, Option<usize>)) {
    let bytes = text.as_bytes();
    let beyond = !text.is_ascii();
    for (rule, check) in &plan.texts {
        match check {
            Check::Length(least, most) => hit(*rule, (!(*least..=*most).contains(&text.len())).then_some(0)),
            Check::Characters(characters) if beyond => hit(*rule, characters.first(text)),
            Check::MixedScript if beyond => hit(*rule, mixed_word(text)),
            Check::Email => hit(*rule, memchr_iter(b'@', bytes).find_map(|at| mail(bytes, at))),
            _ => {}
        }
    }
    blocks(plan, bytes, &mut hit);
    for found in anchors.find_overlapping_iter(text) {
        let Some((rule, check)) = plan.anchored.get(found.pattern().as_usize()) else { continue };
        let (from, end) = (found.start(), found.end());
        let is = match check {
            Check::Literal(_) => true,
            Check::Phrase(phrase) => phrase.at(text, from),
            Check::Prefixed(prefixed) => {
                bytes.get(from..end) == Some(prefixed.prefix.as_bytes()) && prefixed.at(bytes, from)
            }
            Check::Token => token_at(bytes, from),
            Check::Assignment(_) => assigned(bytes, end),
            _ => false,
        };
        hit(*rule, is.then_some(from));
    }
}

/// Control characters, and numbers at the first digit of a run.
fn blocks(plan: &Plan, bytes: &[u8], hit: &mut impl FnMut(usize, Option<usize>)) {
    for (from, block) in (0..).step_by(BLOCK).zip(bytes.chunks(BLOCK)) {
        let (mut controls, mut digits) = (false, false);
        for &byte in block {
            controls |= is_control(byte);
            digits |= byte.is_ascii_digit();
        }
        if controls {
            for rule in &plan.controls {
                hit(*rule, block.iter().position(|&byte| is_control(byte)).map(|at| from + at));
            }
        }
        if digits {
            for at in from..from + block.len() {
                let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
                // Every number here starts with a run of at least two digits.
                if digit(at) && digit(at + 1) && !at.checked_sub(1).is_some_and(digit) {
                    for (rule, number) in &plan.numbers {
                        hit(*rule, number.at(bytes, at));
                    }
                }
            }
        }
    }
}
