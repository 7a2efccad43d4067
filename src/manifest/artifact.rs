//! The artifact statement: in-toto Statement v1 in a DSSE envelope (docs/trust.md 4.1).

use crate::crypto::dsse::{Envelope, IN_TOTO, Signer};
use crate::crypto::sign::{PublicKey, SigningIdentity};
use crate::error::{Error, ErrorId};
use crate::json::{self, Value, quote};
use crate::names::{ArtifactKind, Blake3, FileId, KeyId, Name, PREDICATE_BASE, Sha256, Timestamp};

pub(super) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// Most bytes of an envelope: the manifest that carries it has 64 MiB (docs/format.md 11).
pub const MAX_STATEMENT_LEN: u64 = 64 << 20;

/// What the signer says was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactStatement {
    /// Namespace the artifact lives in.
    pub namespace: Name,
    /// Name of the artifact.
    pub name: Name,
    /// Version reserved by the catalogue; 0 in a portable file.
    pub version: u64,
    /// Model, dataset or opaque.
    pub kind: ArtifactKind,
    /// The sealed file that carries the statement.
    pub file_id: FileId,
    /// Payload bytes of that file, gaps included.
    pub payload_size: u64,
    /// Size exponent of the groups that a stream proves one by one.
    pub group_log2: u8,
    /// When it was sealed.
    pub created: Timestamp,
    /// The members, in path order.
    pub subjects: Vec<Subject>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Path within the artifact.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the bytes.
    pub blake3: Blake3,
    /// SHA-256 of the bytes, unless it was left out at seal.
    pub sha256: Option<Sha256>,
}

/// Why a statement is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// No signature by a trusted key.
    #[error("the artifact statement is not signed by a key you trust")]
    Missing,
    /// A signature by a trusted key does not verify, or the envelope is malformed.
    #[error("the signature of the artifact statement does not verify")]
    Invalid,
    /// Authentic, but it breaks a rule.
    #[error("the artifact statement is malformed: {0}")]
    Malformed(&'static str),
}

impl From<StatementError> for Error {
    fn from(e: StatementError) -> Self {
        let id = match e {
            StatementError::Missing => ErrorId::SignatureMissing,
            StatementError::Invalid => ErrorId::SignatureInvalid,
            StatementError::Malformed(_) => ErrorId::ManifestInvalid,
        };
        Self::new(id, e.to_string())
    }
}

impl ArtifactStatement {
    fn predicate_type() -> String {
        format!("{PREDICATE_BASE}artifact/v1")
    }

    /// Signs it; the payload bytes are a function of the content alone.
    pub fn sign(&self, identity: &SigningIdentity) -> Envelope {
        Envelope::sign(IN_TOTO, self.to_payload().into_bytes(), identity)
    }

    /// Has it signed by a key that may be elsewhere.
    ///
    /// # Errors
    /// See [`Envelope::sign_by`].
    pub fn sign_by(&self, signer: &dyn Signer) -> Result<Envelope, Error> {
        Envelope::sign_by(IN_TOTO, self.to_payload().into_bytes(), signer)
    }

    /// Reads an envelope's JSON and accepts it only if one of `trusted` signed it.
    ///
    /// # Errors
    /// See [`StatementError`]; the signature is checked before the payload is looked at.
    pub fn verify(envelope: &[u8], trusted: &[PublicKey]) -> Result<(Self, Vec<KeyId>), StatementError> {
        let value = json::parse(envelope, 32).map_err(|_| StatementError::Invalid)?;
        Self::verify_value(&value, trusted)
    }

    /// The same for an envelope that is part of a larger document (`statements` of a sealed manifest).
    pub fn verify_value(envelope: &Value, trusted: &[PublicKey]) -> Result<(Self, Vec<KeyId>), StatementError> {
        let envelope = Envelope::from_json(envelope).map_err(|_| StatementError::Invalid)?;
        let signers = envelope.verified_by(trusted).map_err(|_| StatementError::Invalid)?;
        if signers.is_empty() {
            return Err(StatementError::Missing);
        }
        if envelope.payload_type != IN_TOTO {
            return Err(StatementError::Malformed("payload type"));
        }
        Ok((Self::from_payload(&envelope.payload)?, signers))
    }

    /// Whether a document of `statements` is an artifact statement, by whoever: other bundles may lie beside it.
    pub fn is_artifact_envelope(value: &Value) -> bool {
        Envelope::from_json(value).is_ok_and(|e| {
            json::parse(&e.payload, 16)
                .is_ok_and(|p| p.get("predicateType").and_then(Value::as_str) == Some(&Self::predicate_type()))
        })
    }

    /// The canonical bytes that are signed.
    pub fn to_payload(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::with_capacity(512 + 256 * self.subjects.len());
        out.push_str("{\"_type\":");
        quote(STATEMENT_TYPE, &mut out);
        out.push_str(",\"subject\":[");
        for (i, subject) in self.subjects.iter().enumerate() {
            out.push_str(if i == 0 { "{\"name\":" } else { ",{\"name\":" });
            quote(&subject.path, &mut out);
            write!(out, ",\"digest\":{{\"blake3\":\"{}\"", subject.blake3).expect("writing to a string");
            if let Some(sha256) = subject.sha256 {
                write!(out, ",\"sha256\":\"{sha256}\"").expect("writing to a string");
            }
            out.push_str("}}");
        }
        out.push_str("],\"predicateType\":");
        quote(&Self::predicate_type(), &mut out);
        let digests =
            if self.subjects.iter().any(|s| s.sha256.is_some()) { "\"blake3\",\"sha256\"" } else { "\"blake3\"" };
        write!(
            out,
            ",\"predicate\":{{\"namespace\":\"{}\",\"name\":\"{}\",\"version\":{},\"kind\":\"{}\",\"file_id\":\"{}\",\
             \"payload_size\":{},\"group_log2\":{},\"members\":[",
            self.namespace, self.name, self.version, self.kind, self.file_id, self.payload_size, self.group_log2
        )
        .expect("writing to a string");
        for (i, subject) in self.subjects.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(out, "{comma}{{\"size\":{}}}", subject.size).expect("writing to a string");
        }
        write!(out, "],\"created\":\"{}\",\"digests\":[{digests}]}}}}", self.created).expect("writing to a string");
        out
    }

    /// Reads what is signed, or is to be.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn from_payload(payload: &[u8]) -> Result<Self, StatementError> {
        let malformed = StatementError::Malformed;
        let value = json::parse(payload, 8).map_err(|_| malformed("not strict JSON"))?;
        value.exactly(&["_type", "subject", "predicateType", "predicate"]).ok_or(malformed("unknown key"))?;
        if value.get("_type").and_then(Value::as_str) != Some(STATEMENT_TYPE) {
            return Err(malformed("_type"));
        }
        if value.get("predicateType").and_then(Value::as_str) != Some(&Self::predicate_type()) {
            return Err(malformed("predicateType"));
        }
        let predicate = value.get("predicate").ok_or(malformed("predicate"))?;
        let keys = [
            "namespace",
            "name",
            "version",
            "kind",
            "file_id",
            "payload_size",
            "group_log2",
            "members",
            "created",
            "digests",
        ];
        predicate.exactly(&keys).ok_or(malformed("unknown key in the predicate"))?;
        let text = |key| predicate.get(key).and_then(Value::as_str);
        let number = |key| predicate.get(key).and_then(Value::as_u64);
        let listed = value.get("subject").and_then(Value::as_array).ok_or(malformed("subject"))?;
        let sizes = predicate.get("members").and_then(Value::as_array).ok_or(malformed("members"))?;
        if listed.len() != sizes.len() {
            return Err(malformed("as many members as subjects"));
        }
        let subjects = listed.iter().zip(sizes).map(|(s, m)| read_subject(s, m)).collect::<Option<Vec<_>>>();
        let subjects = subjects.ok_or(malformed("a subject"))?;
        if !subjects.is_sorted_by(|a, b| a.path.as_bytes() < b.path.as_bytes()) {
            return Err(malformed("subjects are not in path order"));
        }
        let group_log2 = number("group_log2").and_then(|n| u8::try_from(n).ok()).filter(|n| (16..=28).contains(n));
        Ok(Self {
            namespace: text("namespace").and_then(|t| t.parse().ok()).ok_or(malformed("namespace"))?,
            name: text("name").and_then(|t| t.parse().ok()).ok_or(malformed("name"))?,
            version: number("version").ok_or(malformed("version"))?,
            kind: text("kind").and_then(|t| t.parse().ok()).ok_or(malformed("kind"))?,
            file_id: text("file_id").and_then(|t| t.parse().ok()).ok_or(malformed("file_id"))?,
            payload_size: number("payload_size").ok_or(malformed("payload_size"))?,
            group_log2: group_log2.ok_or(malformed("group_log2"))?,
            created: text("created").and_then(|t| t.parse().ok()).ok_or(malformed("created"))?,
            subjects,
        })
    }
}

fn read_subject(subject: &Value, member: &Value) -> Option<Subject> {
    subject.exactly(&["name", "digest"])?;
    let digest = subject.get("digest")?;
    digest.exactly(&["blake3", "sha256"])?;
    member.exactly(&["size"])?;
    let path = subject.get("name")?.as_str()?;
    crate::seal::path_is_valid(path).then_some(())?;
    Some(Subject {
        path: path.into(),
        size: member.get("size")?.as_u64()?,
        blake3: lower_hex(digest.get("blake3")?)?.parse().ok()?,
        sha256: match digest.get("sha256") {
            Some(value) => Some(lower_hex(value)?.parse().ok()?),
            None => None,
        },
    })
}

pub(super) fn lower_hex(value: &Value) -> Option<&str> {
    value.as_str().filter(|t| t.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::Key;

    fn identity(seed: u8) -> SigningIdentity {
        SigningIdentity::from_seed(Key::take(&mut [seed; 32]))
    }

    fn statement() -> ArtifactStatement {
        let subject = |path: &str, n: u8| Subject {
            path: path.into(),
            size: u64::from(n),
            blake3: Blake3([n; 32]),
            sha256: (n > 1).then_some(Sha256([n; 32])),
        };
        ArtifactStatement {
            namespace: "default".parse().unwrap(),
            name: "resnet".parse().unwrap(),
            version: 3,
            kind: ArtifactKind::Model,
            file_id: FileId([9; 32]),
            payload_size: 77,
            group_log2: 20,
            created: Timestamp::from_millis(1_795_305_600_123),
            subjects: vec![subject("a \"quoted\".json", 1), subject("z/é.onnx", 2)],
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
        let (read, signers) = ArtifactStatement::verify(signed.as_bytes(), &[*identity(1).public()]).unwrap();
        assert_eq!(read, statement());
        assert_eq!(signers, [identity(1).key_id()]);
        assert!(ArtifactStatement::is_artifact_envelope(&json::parse(signed.as_bytes(), 8).unwrap()));
    }

    #[test]
    fn strangers_and_forgeries_are_told_apart() {
        let mut envelope = statement().sign(&identity(1));
        let verify =
            |e: &Envelope, key: u8| ArtifactStatement::verify(json_of(e).as_bytes(), &[*identity(key).public()]);
        assert!(matches!(verify(&envelope, 2), Err(StatementError::Missing)));
        envelope.payload[40] ^= 1;
        assert!(matches!(verify(&envelope, 1), Err(StatementError::Invalid)));
    }

    #[test]
    fn an_authentic_statement_of_another_type_is_not_an_artifact_statement() {
        let payload = String::from_utf8(statement().to_payload().into_bytes()).unwrap();
        for (from, to) in [
            ("artifact/v1", "scan/v1"),
            ("\"version\":3", "\"version\":3,\"extra\":1"),
            ("\"size\":1", "\"size\":-1"),
            ("z/é.onnx", "../x"),
            ("z/é.onnx", "a \\\"quoted\\\".json"),
            ("\"group_log2\":20", "\"group_log2\":60"),
            ("0101", "0A01"),
        ] {
            assert!(payload.contains(from), "{from}");
            let envelope = Envelope::sign(IN_TOTO, payload.replacen(from, to, 1).into_bytes(), &identity(1));
            let read = ArtifactStatement::verify(json_of(&envelope).as_bytes(), &[*identity(1).public()]);
            assert!(matches!(read, Err(StatementError::Malformed(_))), "{from} -> {to}");
        }
    }
}
