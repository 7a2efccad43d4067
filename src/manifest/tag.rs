//! The tag statement: where a tag points, signed, numbered and for a time (docs/trust.md 4). It lets a client find out that
//! a server shows it an older state of a tag (rollback) or keeps a newer one from it (freeze).

use std::time::Duration;

use super::artifact::{STATEMENT_TYPE, lower_hex};
use crate::crypto::dsse::{Envelope, IN_TOTO};
use crate::crypto::sign::{PublicKey, SigningIdentity};
use crate::error::{Error, ErrorId};
use crate::json::{self, Value};
use crate::names::{Name, PREDICATE_BASE, Reference, Root, Tag, Timestamp};

/// Most bytes of an envelope: some ten times what ours need.
pub const MAX_TAG_STATEMENT_LEN: usize = 16 << 10;
/// How long a statement holds: the longest time for which a server can keep a move of the tag from a client.
pub const TAG_VALIDITY: Duration = Duration::from_secs(7 * 86_400);
/// The longest validity a client accepts.
pub const MAX_TAG_VALIDITY: Duration = Duration::from_secs(31 * 86_400);
/// By how much the clocks of vault and client may differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// Where a tag points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagStatement {
    /// Namespace of the artifact.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// The tag.
    pub tag: Tag,
    /// Number of the version it is at.
    pub version: u64,
    /// Sealed root of that version.
    pub root: Root,
    /// Grows by one with every move of this tag; from 1.
    pub sequence: u64,
    /// When this was signed: the tag was there then.
    pub created: Timestamp,
    /// From then on it says nothing any more.
    pub expires: Timestamp,
}

/// Why a tag statement is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum TagStatementError {
    /// None, or none by a trusted key.
    #[error("there is no tag statement signed by a key you trust")]
    Missing,
    /// A signature by a trusted key does not verify, or the envelope is malformed.
    #[error("the signature of the tag statement does not verify")]
    Invalid,
    /// Authentic, but it breaks a rule.
    #[error("the tag statement is malformed: {0}")]
    Malformed(&'static str),
    /// Authentic, but about another tag or artifact.
    #[error("the tag statement is about {0}")]
    Other(String),
    /// Its time is over.
    #[error("the tag statement ended at {0}: the server may be keeping a newer one back (freeze)")]
    Expired(Timestamp),
    /// Its time has not begun.
    #[error("the tag statement was made at {0}, which is yet to come")]
    Early(Timestamp),
}

impl From<TagStatementError> for Error {
    fn from(e: TagStatementError) -> Self {
        let text = e.to_string();
        match e {
            TagStatementError::Missing => Self::new(ErrorId::SignatureMissing, text)
                .hint("the namespace identity of the enrolment signs where a tag points; fetch NAME@vN to do without"),
            TagStatementError::Invalid | TagStatementError::Malformed(_) => Self::new(ErrorId::SignatureInvalid, text)
                .hint(
                    "do not trust this server before its operator has explained it; NAME@vN does not depend on a tag",
                ),
            TagStatementError::Other(_) => Self::new(ErrorId::BindingMismatch, text)
                .hint("the server answers with something else than was asked for: do not use it, ask its operator"),
            TagStatementError::Expired(_) | TagStatementError::Early(_) => Self::new(ErrorId::TagStale, text),
        }
    }
}

impl TagStatement {
    fn predicate_type() -> String {
        format!("{PREDICATE_BASE}tag/v1")
    }

    /// Signs it; the payload bytes are a function of the content alone.
    pub fn sign(&self, identity: &SigningIdentity) -> Envelope {
        Envelope::sign(IN_TOTO, self.to_payload().into_bytes(), identity)
    }

    /// Reads an envelope's JSON and accepts it only if one of `trusted` signed it. `asked` and the time are the caller's to
    /// check: [`Self::check`].
    ///
    /// # Errors
    /// See [`TagStatementError`]; the signature is checked before the payload is looked at.
    pub fn verify(envelope: &[u8], trusted: &[PublicKey]) -> Result<Self, TagStatementError> {
        if envelope.is_empty() {
            return Err(TagStatementError::Missing);
        }
        if envelope.len() > MAX_TAG_STATEMENT_LEN {
            return Err(TagStatementError::Invalid);
        }
        let value = json::parse(envelope, 8).map_err(|_| TagStatementError::Invalid)?;
        let envelope = Envelope::from_json(&value).map_err(|_| TagStatementError::Invalid)?;
        let signers = envelope.verified_by(trusted).map_err(|_| TagStatementError::Invalid)?;
        if signers.is_empty() {
            return Err(TagStatementError::Missing);
        }
        if envelope.payload_type != IN_TOTO {
            return Err(TagStatementError::Malformed("payload type"));
        }
        Self::from_payload(&envelope.payload)
    }

    /// Whether it answers a question about `tag` of the artifact of `asked`, asked now.
    ///
    /// # Errors
    /// `Other`, `Expired`, `Early`.
    pub fn check(&self, asked: &Reference, tag: &Tag, now: Timestamp) -> Result<(), TagStatementError> {
        if (&self.namespace, &self.name, &self.tag) != (&asked.namespace, &asked.name, tag) {
            return Err(TagStatementError::Other(self.subject()));
        }
        if self.created > now.plus(CLOCK_SKEW) {
            return Err(TagStatementError::Early(self.created));
        }
        if now >= self.expires {
            return Err(TagStatementError::Expired(self.expires));
        }
        Ok(())
    }

    /// `namespace/name@tag`.
    fn subject(&self) -> String {
        format!("{}/{}@{}", self.namespace, self.name, self.tag)
    }

    /// The canonical bytes that are signed. No field needs escaping: names, tags, hex, numbers and times.
    pub fn to_payload(&self) -> String {
        let Self { namespace, name, tag, version, root, sequence, created, expires } = self;
        format!(
            concat!(
                r#"{{"_type":"{}","subject":[{{"name":"{}","digest":{{"mvlt-root-v1":"{}"}}}}],"predicateType":"{}","#,
                r#""predicate":{{"namespace":"{}","name":"{}","tag":"{}","version":{},"root":"{}","sequence":{},"#,
                r#""created":"{}","expires":"{}"}}}}"#
            ),
            STATEMENT_TYPE,
            self.subject(),
            root,
            Self::predicate_type(),
            namespace,
            name,
            tag,
            version,
            root,
            sequence,
            created,
            expires
        )
    }

    /// Reads what is signed.
    ///
    /// # Errors
    /// `Malformed` for whatever is not exactly a statement of this form; nothing is left out, nothing is added.
    pub fn from_payload(payload: &[u8]) -> Result<Self, TagStatementError> {
        let malformed = TagStatementError::Malformed;
        let value = json::parse(payload, 8).map_err(|_| malformed("not strict JSON"))?;
        value.exactly(&["_type", "subject", "predicateType", "predicate"]).ok_or(malformed("unknown key"))?;
        if value.get("_type").and_then(Value::as_str) != Some(STATEMENT_TYPE) {
            return Err(malformed("_type"));
        }
        if value.get("predicateType").and_then(Value::as_str) != Some(&Self::predicate_type()) {
            return Err(malformed("predicateType"));
        }
        let predicate = value.get("predicate").ok_or(malformed("predicate"))?;
        let keys = ["namespace", "name", "tag", "version", "root", "sequence", "created", "expires"];
        predicate.exactly(&keys).ok_or(malformed("unknown key in the predicate"))?;
        let text = |key| predicate.get(key).and_then(Value::as_str);
        // 0 is nowhere: neither a version nor a move has this number.
        let number = |key| predicate.get(key).and_then(Value::as_u64).filter(|n| *n > 0);
        let root = |value: Option<&Value>| value.and_then(lower_hex).and_then(|t| t.parse::<Root>().ok());
        let statement = Self {
            namespace: text("namespace").and_then(|t| t.parse().ok()).ok_or(malformed("namespace"))?,
            name: text("name").and_then(|t| t.parse().ok()).ok_or(malformed("name"))?,
            tag: text("tag").and_then(|t| t.parse().ok()).ok_or(malformed("tag"))?,
            version: number("version").ok_or(malformed("version"))?,
            root: root(predicate.get("root")).ok_or(malformed("root"))?,
            sequence: number("sequence").ok_or(malformed("sequence"))?,
            created: text("created").and_then(|t| t.parse().ok()).ok_or(malformed("created"))?,
            expires: text("expires").and_then(|t| t.parse().ok()).ok_or(malformed("expires"))?,
        };
        let lifetime = statement.expires.since(statement.created);
        if lifetime.is_zero() || lifetime > MAX_TAG_VALIDITY {
            return Err(malformed("validity"));
        }
        let Some([subject]) = value.get("subject").and_then(Value::as_array) else { return Err(malformed("subject")) };
        let same = || {
            subject.exactly(&["name", "digest"])?;
            let digest = subject.get("digest")?;
            digest.exactly(&["mvlt-root-v1"])?;
            let named = subject.get("name")?.as_str()? == statement.subject();
            Some(named && root(digest.get("mvlt-root-v1")) == Some(statement.root))
        };
        if same() == Some(true) { Ok(statement) } else { Err(malformed("subject")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::Key;

    const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_123);

    fn identity(seed: u8) -> SigningIdentity {
        SigningIdentity::from_seed(Key::take(&mut [seed; 32]))
    }

    fn statement() -> TagStatement {
        TagStatement {
            namespace: "default".parse().unwrap(),
            name: "resnet".parse().unwrap(),
            tag: "prod".parse().unwrap(),
            version: 3,
            root: Root([5; 32]),
            sequence: 7,
            created: NOW,
            expires: NOW.plus(TAG_VALIDITY),
        }
    }

    fn json_of(envelope: &Envelope) -> String {
        let mut out = String::new();
        envelope.write_json(&mut out);
        out
    }

    #[test]
    fn what_was_signed_is_what_is_read() {
        let signed = json_of(&statement().sign(&identity(1)));
        assert_eq!(TagStatement::verify(signed.as_bytes(), &[*identity(1).public()]).unwrap(), statement());
        assert!(signed.len() * 8 < MAX_TAG_STATEMENT_LEN);
    }

    #[test]
    fn the_payload_has_this_form() {
        let expected = format!(
            concat!(
                r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"default/resnet@prod","#,
                r#""digest":{{"mvlt-root-v1":"{0}"}}}}],"predicateType":"https://modelvault.example/tag/v1","#,
                r#""predicate":{{"namespace":"default","name":"resnet","tag":"prod","version":3,"root":"{0}","#,
                r#""sequence":7,"created":"2026-11-22T00:00:00.123Z","expires":"2026-11-29T00:00:00.123Z"}}}}"#
            ),
            "05".repeat(32)
        );
        assert_eq!(statement().to_payload(), expected);
    }

    #[test]
    fn strangers_forgeries_and_nothing_are_told_apart() {
        let mut envelope = statement().sign(&identity(1));
        let verify = |text: &str, key: u8| TagStatement::verify(text.as_bytes(), &[*identity(key).public()]);
        assert!(matches!(verify("", 1), Err(TagStatementError::Missing)));
        assert!(matches!(verify(&json_of(&envelope), 2), Err(TagStatementError::Missing)));
        let long = format!("{}{}", json_of(&envelope), " ".repeat(MAX_TAG_STATEMENT_LEN));
        assert!(matches!(verify(&long, 1), Err(TagStatementError::Invalid)));
        envelope.payload[200] ^= 1;
        assert!(matches!(verify(&json_of(&envelope), 1), Err(TagStatementError::Invalid)));
    }

    #[test]
    fn it_holds_for_one_tag_from_a_little_before_its_making_to_its_end() {
        let id = |reference: &str, tag: &str, now: Timestamp| {
            let outcome = statement().check(&reference.parse().unwrap(), &tag.parse().unwrap(), now);
            outcome.map_err(|e| Error::from(e).id())
        };
        let before = |by: Duration| Timestamp::from_millis(NOW.as_millis() - by.as_millis() as i64);
        let millisecond = Duration::from_millis(1);
        assert_eq!(id("resnet@prod", "prod", NOW), Ok(()));
        assert_eq!(id("resnet", "prod", before(CLOCK_SKEW)), Ok(()));
        assert_eq!(id("resnet", "prod", before(CLOCK_SKEW + millisecond)), Err(ErrorId::TagStale));
        assert_eq!(id("resnet", "prod", NOW.plus(TAG_VALIDITY - millisecond)), Ok(()));
        assert_eq!(id("resnet", "prod", NOW.plus(TAG_VALIDITY)), Err(ErrorId::TagStale));
        assert_eq!(id("resnet", "latest", NOW), Err(ErrorId::BindingMismatch));
        assert_eq!(id("other", "prod", NOW), Err(ErrorId::BindingMismatch));
        assert_eq!(id("prod/resnet", "prod", NOW), Err(ErrorId::BindingMismatch));
    }

    #[test]
    fn an_authentic_statement_of_another_form_is_not_a_tag_statement() {
        let payload = statement().to_payload();
        for (from, to) in [
            ("tag/v1", "artifact/v1"),
            ("Statement/v1", "Statement/v0.1"),
            ("\"version\":3", "\"version\":3,\"extra\":1"),
            ("\"version\":3", "\"version\":0"),
            ("\"version\":3", "\"version\":3.0"),
            ("\"sequence\":7", "\"sequence\":0"),
            ("\"sequence\":7", "\"sequence\":7,\"sequence\":8"),
            ("\"tag\":\"prod\"", "\"tag\":\"v3\""),
            ("\"tag\":\"prod\"", "\"tag\":\"latest\""),
            ("resnet@prod", "resnet@latest"),
            ("\"mvlt-root-v1\":\"05", "\"mvlt-root-v1\":\"06"),
            ("\"root\":\"05", "\"root\":\"0A"),
            ("2026-11-29", "2026-11-21"),
            ("2026-11-29", "2026-12-29"),
            ("}],\"predicateType\"", "},{}],\"predicateType\""),
        ] {
            assert!(payload.contains(from), "{from}");
            let envelope = Envelope::sign(IN_TOTO, payload.replacen(from, to, 1).into_bytes(), &identity(1));
            let read = TagStatement::verify(json_of(&envelope).as_bytes(), &[*identity(1).public()]);
            assert!(matches!(read, Err(TagStatementError::Malformed(_))), "{from} -> {to}: {read:?}");
        }
    }
}
