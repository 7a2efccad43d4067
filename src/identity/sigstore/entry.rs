//! The entry of a transparency log (Rekor v1): what the log promised, and the proof that it kept the promise.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{KeylessError, TrustedRoot, bytes, integer};
use crate::crypto::hash::sha256;
use crate::crypto::merkle;
use crate::crypto::pem;
use crate::crypto::sign::VerifyingKey;
use crate::json::{Value, parse};
use crate::names::{Sha256, Timestamp};

/// No tree of 2^64 leaves has a longer proof.
const MAX_HASHES: usize = 64;
const MAX_CHECKPOINT: usize = 64 << 10;

/// An entry and its evidence.
pub(super) struct Entry {
    log: Vec<u8>,
    index: u64,
    seconds: u64,
    promise: Vec<u8>,
    body: Vec<u8>,
    proof: Proof,
}

struct Proof {
    index: u64,
    size: u64,
    root: Sha256,
    hashes: Vec<Sha256>,
    checkpoint: String,
}

impl Entry {
    pub(super) fn read(value: &Value) -> Result<Self, KeylessError> {
        let malformed = KeylessError::Malformed;
        let members = [
            "logIndex",
            "logId",
            "kindVersion",
            "integratedTime",
            "inclusionPromise",
            "inclusionProof",
            "canonicalizedBody",
        ];
        value.exactly(&members).ok_or(malformed("an unknown member of the entry"))?;
        let object = |key, members: &[&str]| {
            let object = value.get(key).ok_or(malformed(key))?;
            object.exactly(members).map(|_| object).ok_or(malformed(key))
        };
        let kind = object("kindVersion", &["kind", "version"])?;
        let word = |key| kind.get(key).and_then(Value::as_str);
        if (word("kind"), word("version")) != (Some("dsse"), Some("0.0.1")) {
            return Err(KeylessError::Unsupported("a log entry that is not dsse 0.0.1"));
        }
        Ok(Self {
            log: bytes(object("logId", &["keyId"])?, "keyId")?,
            index: integer(value, "logIndex")?,
            seconds: integer(value, "integratedTime")?,
            promise: bytes(object("inclusionPromise", &["signedEntryTimestamp"])?, "signedEntryTimestamp")?,
            body: bytes(value, "canonicalizedBody")?,
            proof: Proof::read(object(
                "inclusionProof",
                &["logIndex", "rootHash", "treeSize", "hashes", "checkpoint"],
            )?)?,
        })
    }

    /// That the entry is about this signature and certificate.
    pub(super) fn is_of(&self, payload: &[u8], signature: &[u8], leaf: &[u8]) -> Result<(), KeylessError> {
        let malformed = KeylessError::Malformed("the body of the entry");
        let body = parse(&self.body, 8).map_err(|_| malformed.clone())?;
        body.exactly(&["apiVersion", "kind", "spec"]).ok_or(malformed.clone())?;
        let word = |key| body.get(key).and_then(Value::as_str);
        let spec = body.get("spec").filter(|_| (word("kind"), word("apiVersion")) == (Some("dsse"), Some("0.0.1")));
        let spec = spec.ok_or(malformed.clone())?;
        spec.exactly(&["envelopeHash", "payloadHash", "signatures"]).ok_or(malformed.clone())?;
        let hash = spec.get("payloadHash").ok_or(malformed.clone())?;
        let member = |value: &Value, key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let signatures = spec.get("signatures").and_then(Value::as_array).unwrap_or_default();
        let [signed] = signatures else { return Err(malformed) };
        let verifier = STANDARD.encode(pem::encode("CERTIFICATE", leaf).as_bytes());
        let same = member(hash, "algorithm").as_deref() == Some("sha256")
            && member(hash, "value") == Some(sha256(payload).to_string())
            && member(signed, "signature") == Some(STANDARD.encode(signature))
            && member(signed, "verifier") == Some(verifier);
        if same { Ok(()) } else { Err(KeylessError::False("the log's entry is of another signature")) }
    }

    /// That the log has the entry; when it took it.
    pub(super) fn verify(&self, root: &TrustedRoot) -> Result<Timestamp, KeylessError> {
        let millis = i64::try_from(self.seconds).ok().and_then(|s| s.checked_mul(1000));
        let at = Timestamp::from_millis(millis.ok_or(KeylessError::Malformed("integratedTime"))?);
        let log = root.log(&self.log, at).ok_or(KeylessError::Untrusted("the log"))?;
        // RFC 8785 of these four members: what the log signed when it took the entry.
        let promised = format!(
            "{{\"body\":\"{}\",\"integratedTime\":{},\"logID\":\"{}\",\"logIndex\":{}}}",
            STANDARD.encode(&self.body),
            self.seconds,
            hex::encode(&self.log),
            self.index
        );
        let broken = |_| KeylessError::False("the log did not promise this entry at that time");
        log.key.verify(promised.as_bytes(), &self.promise).map_err(broken)?;
        let leaf = merkle::leaf_hash(&self.body);
        let proof = &self.proof;
        if !merkle::verify_inclusion(leaf, proof.index, proof.size, &proof.hashes, &proof.root) {
            return Err(KeylessError::False("the proof does not show the entry in the log"));
        }
        if !proof.is_signed(&self.log, &log.key) {
            return Err(KeylessError::False("the checkpoint is not that of the log and the proof"));
        }
        Ok(at)
    }
}

impl Proof {
    fn read(value: &Value) -> Result<Self, KeylessError> {
        let malformed = KeylessError::Malformed;
        let hash = |value: &Value| {
            let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
            decoded.and_then(|d| d.try_into().ok()).map(Sha256).ok_or(malformed("a hash of the proof"))
        };
        let hashes = match value.get("hashes") {
            // A log of one entry.
            None => &[],
            Some(list) => list.as_array().filter(|l| l.len() <= MAX_HASHES).ok_or(malformed("hashes"))?,
        };
        let checkpoint = value.get("checkpoint").ok_or(malformed("no checkpoint"))?;
        checkpoint.exactly(&["envelope"]).ok_or(malformed("checkpoint"))?;
        let envelope = checkpoint.get("envelope").and_then(Value::as_str).filter(|text| text.len() <= MAX_CHECKPOINT);
        Ok(Self {
            index: integer(value, "logIndex")?,
            size: integer(value, "treeSize")?,
            root: hash(value.get("rootHash").ok_or(malformed("rootHash"))?)?,
            hashes: hashes.iter().map(hash).collect::<Result<_, _>>()?,
            checkpoint: envelope.ok_or(malformed("checkpoint"))?.to_owned(),
        })
    }

    /// A signed note (C2SP) of this size and root by the log: its origin is the name of the signature, which may be followed by
    /// the number of the tree; the signature begins with four bytes of the log's id.
    fn is_signed(&self, log: &[u8], key: &VerifyingKey) -> bool {
        let Some((text, signatures)) = self.checkpoint.split_once("\n\n") else { return false };
        let text = format!("{text}\n");
        let mut lines = text.lines();
        let origin = lines.next().unwrap_or_default();
        let says = lines.next() == Some(&self.size.to_string()) && lines.next() == Some(&STANDARD.encode(self.root.0));
        let signed = |line: &str| {
            let (name, signature) = line.strip_prefix("\u{2014} ")?.rsplit_once(' ')?;
            let named = origin.strip_prefix(name).is_some_and(|tree| tree.is_empty() || tree.starts_with(" - "));
            let signature = STANDARD.decode(signature).ok()?;
            let (hint, signature) = signature.split_at_checked(4)?;
            (named && log.starts_with(hint) && key.verify(text.as_bytes(), signature).is_ok()).then_some(())
        };
        says && signatures.lines().any(|line| signed(line).is_some())
    }
}
