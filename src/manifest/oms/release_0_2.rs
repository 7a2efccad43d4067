//! Bundles of release 0.2 of the reference implementation: files as subjects, and a faulty pre-authentication encoding. Some
//! publishers still have such signatures out; they are read and never written.

use std::fmt::Write;

use super::resource::Resource;
use super::statement::lower_hex;
use super::{Malformed, Method, Serialization, Statement};
use crate::crypto::hash::Algorithm;
use crate::files::{Ignored, Links};

pub(super) const PREDICATE_TYPE: &str = "https://model_signing/Digests/v0.1";

/// What the subjects say, in the terms of today.
pub(super) fn statement(subjects: impl Iterator<Item = (String, Option<String>)>) -> Result<Statement, Malformed> {
    let mut resources = Vec::new();
    for (name, sha256) in subjects {
        let digest = sha256.as_deref().and_then(lower_hex).filter(|d| d.len() == Algorithm::Sha256.digest_len());
        let digest = digest.ok_or_else(|| Malformed::new(format!("{name:?} has no SHA-256")))?;
        let resource = Resource::named(&name, false, digest.into());
        resources.push(resource.map_err(|what| Malformed::new(format!("{name:?}: {what}")))?);
    }
    let serialization = Serialization {
        method: Method::Files,
        algorithm: Algorithm::Sha256,
        links: Links::Refuse,
        ignored: Ignored::default(),
    };
    Ok(Statement { name: "model".into(), serialization, resources })
}

/// The bytes that release 0.2 signed: the payload as Python prints a bytes object, after `DSSEV1`.
pub(super) fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEV1 {} {payload_type} {} ", payload_type.len(), payload.len());
    // Python prefers single quotes, unless there is one inside and no double quote.
    let quote = if payload.contains(&b'\'') && !payload.contains(&b'"') { '"' } else { '\'' };
    out.push('b');
    out.push(quote);
    for byte in payload {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b if char::from(*b) == quote => {
                out.push('\\');
                out.push(quote);
            }
            0x20..=0x7e => out.push(char::from(*byte)),
            _ => write!(out, "\\x{byte:02x}").expect("writing to a string"),
        }
    }
    out.push(quote);
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_python_s_of_a_bytes_object() {
        // python3: f"{b'{\"a\": \"it\\'s\\n\\x00\\xff\"}'}"
        let encoded = pre_authentication("t", b"{\"a\": \"it's\n\x00\xff\"}");
        assert_eq!(encoded, br#"DSSEV1 1 t 16 b'{"a": "it\'s\n\x00\xff"}'"#);
        assert!(pre_authentication("t", b"it's").ends_with(b"b\"it's\""));
    }
}
