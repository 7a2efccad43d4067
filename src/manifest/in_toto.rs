//! Any in-toto statement, as far as it must be known to sign it on somebody's behalf: what kind it is, and about what.

use crate::error::{Error, ErrorId};
use crate::json::{JsonError, Reader};
use crate::names::PREDICATE_BASE;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Statements that only the vault itself makes, each in its own place: what was sealed, which sealing, where a tag is, which policy
/// was in force.
const OWN: [&str; 4] = ["artifact/", "sealed/", "tag/", "policy/"];
const MAX_DEPTH: usize = 64;
const MAX_KEYS: usize = 4096;
const MAX_TYPE_LEN: usize = 512;

/// What a statement says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The predicate's type.
    pub predicate_type: String,
    /// Name of the first subject; empty if it has none.
    pub subject: String,
    /// How many subjects there are.
    pub subjects: usize,
}

/// Reads a payload that is to be signed under the payload type of in-toto.
///
/// # Errors
/// `InvalidArgument` for anything but a statement of version 1 with a predicate type and a subject, and for statements that
/// only the vault itself makes.
pub fn describe(payload: &[u8]) -> Result<Described, Error> {
    let refused = |why: &str| {
        Error::new(ErrorId::InvalidArgument, format!("not a statement that is signed on request: {why}"))
            .hint("in-toto statements of version 1 are signed; vault sign PATH makes one of a model")
    };
    let read = read(payload).map_err(|e| refused(&e.to_string()))?;
    if read.type_ != STATEMENT_TYPE {
        return Err(refused("its _type is another"));
    }
    let Described { predicate_type, subjects, .. } = &read.described;
    if predicate_type.is_empty() || predicate_type.len() > MAX_TYPE_LEN || *subjects == 0 {
        return Err(refused("it has no predicate type or no subject"));
    }
    // A key that signed such a thing on request would have sealed what nobody sealed.
    if predicate_type.strip_prefix(PREDICATE_BASE).is_some_and(|own| OWN.iter().any(|kind| own.starts_with(kind))) {
        return Err(refused("only the vault itself makes those of this type"));
    }
    Ok(read.described)
}

struct Read {
    type_: String,
    described: Described,
}

fn read(payload: &[u8]) -> Result<Read, JsonError> {
    let mut type_ = String::new();
    let mut described = Described { predicate_type: String::new(), subject: String::new(), subjects: 0 };
    let mut reader = Reader::new(payload, MAX_DEPTH)?.with_max_keys(MAX_KEYS);
    reader.object(|reader, key| {
        match key {
            "_type" => type_ = reader.string()?.into_owned(),
            "predicateType" => described.predicate_type = reader.string()?.into_owned(),
            "subject" => reader.array(|reader| {
                described.subjects += 1;
                let first = described.subjects == 1;
                reader.object(|reader, key| match key {
                    "name" if first => {
                        described.subject = reader.string()?.into_owned();
                        Ok(())
                    }
                    _ => reader.skip(),
                })
            })?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    reader.end()?;
    Ok(Read { type_, described })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(kind: &str) -> String {
        format!(
            r#"{{"_type":"{STATEMENT_TYPE}","subject":[{{"name":"m","digest":{{"sha256":"00"}}}},{{}}],"predicateType":"{kind}","predicate":{{}}}}"#
        )
    }

    #[test]
    fn a_statement_is_known_by_its_type_and_first_subject() {
        let described = describe(statement("https://slsa.dev/provenance/v1").as_bytes()).unwrap();
        assert_eq!((&*described.predicate_type, &*described.subject), ("https://slsa.dev/provenance/v1", "m"));
        assert_eq!(described.subjects, 2);
        describe(statement(&format!("{PREDICATE_BASE}dataset/v1")).as_bytes()).unwrap();
    }

    #[test]
    fn nothing_else_is_signed_least_of_all_what_the_vault_says_of_itself() {
        let good = statement("x");
        for bad in [
            String::new(),
            "[]".into(),
            good.replace("Statement/v1", "Statement/v2"),
            good.replace("\"predicateType\":\"x\"", "\"predicateType\":\"\""),
            good.replace("predicateType", "predicate_type"),
            good.replace(r#""subject":["#, r#""subject":[],"other":["#),
            good.replace("\"predicate\"", "\"subject\""),
            format!("{good} {good}"),
            format!("DSSEv1 28 application/vnd.in-toto+json {good}"),
        ] {
            assert_eq!(describe(bad.as_bytes()).unwrap_err().id(), ErrorId::InvalidArgument, "{bad}");
        }
        for own in OWN {
            assert!(describe(statement(&format!("{PREDICATE_BASE}{own}v1")).as_bytes()).is_err(), "{own}");
        }
    }
}
