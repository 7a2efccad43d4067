//! JSON lines: the record as it is kept, with its number. Byte for byte what the tree commits to.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Source;
use crate::json::{self, quote};

/// `{"vault":"...","seq":1,"record":{...}}`; `record_base64` for a row that is no JSON.
pub(super) fn event(source: &Source, seq: u64, row: &[u8]) -> String {
    let mut out = String::with_capacity(row.len() + 96);
    write!(out, r#"{{"vault":"{}","seq":{seq},"#, source.vault).expect("writing to a string");
    // Canonical records have no line ends in them; a damaged row must not make two lines.
    let line = std::str::from_utf8(row).ok().filter(|_| json::parse(row, 8).is_ok() && !row.contains(&b'\n'));
    match line {
        Some(text) => {
            out.push_str(r#""record":"#);
            out.push_str(text);
        }
        None => {
            out.push_str(r#""record_base64":"#);
            quote(&STANDARD.encode(row), &mut out);
        }
    }
    out.push('}');
    out
}
