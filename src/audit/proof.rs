//! Proofs as documents: that a record is in the log a checkpoint signed, or that one checkpoint's log extends another's. They
//! are checked with the log's public key and nothing else.
//!
//! ```text
//! {"modelvault_audit_proof":1,"vkey":"NAME+HASH+KEY","seq":17,"record":"{...}","hashes":["<64 hex>",...],"checkpoint":"..."}
//! {"modelvault_audit_proof":1,"vkey":"NAME+HASH+KEY","old_checkpoint":"...","hashes":[...],"checkpoint":"..."}
//! ```
//! The hashes are those of RFC 6962 (2.1.1, 2.1.2), the one nearest to the leaves first.

use super::{AuditError, Checkpoint, VerifierKey, consistency, inclusion};
use crate::error::{Error, ErrorId, Result};
use crate::json::{self, Value, quote};
use crate::names::Sha256;

const VERSION: u64 = 1;
/// Two checkpoints, a record, and the hashes of the largest tree.
pub const PROOF_MAX: u64 = 1 << 20;
/// A tree of 64-bit size has no longer proof.
const HASHES_MAX: usize = 130;

/// What is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The log has this record.
    Record {
        /// Its number.
        seq: u64,
        /// Its bytes.
        record: Vec<u8>,
    },
    /// The log extends the one of this checkpoint.
    Extends {
        /// Its note.
        old: String,
    },
}

/// A claim about the log of a checkpoint, with what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The log's key, as whoever made the proof names it.
    pub vkey: VerifierKey,
    /// What is proven.
    pub claim: Claim,
    /// Of the tree.
    pub hashes: Vec<Sha256>,
    /// The note of the checkpoint it is proven for.
    pub checkpoint: String,
}

impl Proof {
    /// The document, on one line.
    ///
    /// # Errors
    /// `AuditBroken` for a record that is no UTF-8: it is damaged.
    pub fn to_json(&self) -> Result<String> {
        let mut text = format!(r#"{{"modelvault_audit_proof":{VERSION},"vkey":"#);
        quote(&self.vkey.to_string(), &mut text);
        match &self.claim {
            Claim::Record { seq, record } => {
                let record = std::str::from_utf8(record).map_err(|_| AuditError::Altered { seq: *seq })?;
                text += &format!(r#","seq":{seq},"record":"#);
                quote(record, &mut text);
            }
            Claim::Extends { old } => {
                text += r#","old_checkpoint":"#;
                quote(old, &mut text);
            }
        }
        let hashes: Vec<_> = self.hashes.iter().map(|hash| format!("\"{hash}\"")).collect();
        text += &format!(r#","hashes":[{}],"checkpoint":"#, hashes.join(","));
        quote(&self.checkpoint, &mut text);
        text.push('}');
        Ok(text)
    }

    /// Reads a document; nothing is verified yet.
    ///
    /// # Errors
    /// `InvalidArgument` if it is no proof, `UnsupportedVersion` for a newer form.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let foreign = || {
            Error::new(ErrorId::InvalidArgument, "not a proof about an audit log")
                .hint("vault audit prove SEQ > FILE makes one")
        };
        let value = json::parse(text, 2).map_err(|_| foreign())?;
        match value.get("modelvault_audit_proof").and_then(Value::as_u64).ok_or_else(foreign)? {
            VERSION => {}
            newer => {
                return Err(Error::new(ErrorId::UnsupportedVersion, format!("an audit proof of version {newer}")));
            }
        }
        let known = ["modelvault_audit_proof", "vkey", "seq", "record", "old_checkpoint", "hashes", "checkpoint"];
        value.exactly(&known).ok_or_else(foreign)?;
        let text_of = |key: &str| value.get(key).and_then(Value::as_str);
        let claim = match (value.get("seq"), text_of("record"), text_of("old_checkpoint")) {
            (Some(seq), Some(record), None) => {
                Claim::Record { seq: seq.as_u64().ok_or_else(foreign)?, record: record.as_bytes().to_vec() }
            }
            (None, None, Some(old)) => Claim::Extends { old: old.into() },
            _ => return Err(foreign()),
        };
        let hashes = value.get("hashes").and_then(Value::as_array).filter(|h| h.len() <= HASHES_MAX);
        let hash = |hash: &Value| hash.as_str().and_then(|text| text.parse().ok()).ok_or_else(foreign);
        Ok(Self {
            vkey: text_of("vkey").ok_or_else(foreign)?.parse()?,
            claim,
            hashes: hashes.ok_or_else(foreign)?.iter().map(hash).collect::<Result<_>>()?,
            checkpoint: text_of("checkpoint").ok_or_else(foreign)?.into(),
        })
    }

    /// Verifies it, and returns the checkpoint it holds for. `trusted` is the log's key, known from elsewhere; without it the
    /// proof agrees with itself at best. A checkpoint that was kept elsewhere must be one of those in the proof.
    ///
    /// # Errors
    /// `AuditBroken` with what does not hold.
    pub fn verify(&self, trusted: Option<&VerifierKey>, kept: &[String]) -> Result<Checkpoint> {
        if trusted.is_some_and(|trusted| *trusted != self.vkey) {
            return Err(AuditError::Checkpoint("the proof is about another log, or names another key").into());
        }
        let read = |note: &str| Checkpoint::parse_and_verify(note, &self.vkey.origin, &self.vkey.key);
        let new = read(&self.checkpoint)?;
        let mut known = vec![(new.size(), new.root())];
        let holds = match &self.claim {
            Claim::Record { seq, record } => inclusion(*seq, record, &self.hashes, &new),
            Claim::Extends { old } => {
                let old = read(old)?;
                known.push((old.size(), old.root()));
                consistency(&old, &new, &self.hashes)
            }
        };
        if !holds {
            return Err(AuditError::Proof("its hashes do not lead to the root that was signed").into());
        }
        for note in kept {
            let kept = read(note)?;
            if !known.contains(&(kept.size(), kept.root())) {
                return Err(AuditError::Proof("it is not about the checkpoint that was kept elsewhere").into());
            }
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Log, consistency_proof, inclusion_proof, leaf_hash};
    use crate::crypto::keys::Key;
    use crate::crypto::sign::SigningIdentity;
    use crate::names::Timestamp;

    const ORIGIN: &str = "modelvault.example/00/audit";

    fn proofs() -> (Proof, Proof) {
        let identity = || SigningIdentity::from_seed(Key::take(&mut [1; 32]));
        let mut log = Log::new(ORIGIN, identity(), Timestamp::from_millis(0));
        let mut leaves = Vec::new();
        let mut old = String::new();
        for seq in 1..=20 {
            log.absorb(seq, b"{\"n\":\"x\"}").unwrap();
            leaves.push(leaf_hash(seq, b"{\"n\":\"x\"}"));
            if seq == 7 {
                old = log.sign().checkpoint.note().into();
            }
        }
        let (vkey, checkpoint) =
            (VerifierKey::of(ORIGIN, *identity().public()), log.sign().checkpoint.note().to_owned());
        let record = Proof {
            vkey: vkey.clone(),
            claim: Claim::Record { seq: 9, record: b"{\"n\":\"x\"}".to_vec() },
            hashes: inclusion_proof(&leaves, 9).unwrap(),
            checkpoint: checkpoint.clone(),
        };
        let hashes = consistency_proof(&leaves, 7).unwrap();
        (record, Proof { vkey, claim: Claim::Extends { old }, hashes, checkpoint })
    }

    #[test]
    fn proofs_are_read_as_they_were_written_and_hold() {
        let (record, extends) = proofs();
        for proof in [&record, &extends] {
            let read = Proof::parse(proof.to_json().unwrap().as_bytes()).unwrap();
            assert_eq!(read, *proof);
            let kept = [proof.checkpoint.clone()];
            assert_eq!(read.verify(Some(&proof.vkey), &kept).unwrap().size(), 20);
        }
        let Claim::Extends { old } = &extends.claim else { unreachable!() };
        assert!(extends.verify(None, std::slice::from_ref(old)).is_ok());
        assert!(record.verify(None, std::slice::from_ref(old)).is_err(), "another checkpoint was kept");
    }

    #[test]
    fn proofs_with_any_part_altered_do_not_hold() {
        let (record, extends) = proofs();
        let broken = |proof: Proof| assert_eq!(proof.verify(None, &[]).unwrap_err().id(), ErrorId::AuditBroken);
        for proof in [&record, &extends] {
            for at in 0..proof.hashes.len() {
                let mut altered = proof.clone();
                altered.hashes[at].0[0] ^= 1;
                broken(altered);
                let mut shorter = proof.clone();
                shorter.hashes.remove(at);
                broken(shorter);
            }
            broken(Proof { checkpoint: proof.checkpoint.replacen("20", "21", 1), ..proof.clone() });
        }
        for claim in [
            Claim::Record { seq: 10, record: b"{\"n\":\"x\"}".to_vec() },
            Claim::Record { seq: 9, record: b"{\"n\":\"y\"}".to_vec() },
            Claim::Record { seq: 0, record: b"{\"n\":\"x\"}".to_vec() },
        ] {
            broken(Proof { claim, ..record.clone() });
        }
        let stranger = SigningIdentity::from_seed(Key::take(&mut [2; 32]));
        let other = VerifierKey::of(ORIGIN, *stranger.public());
        assert!(record.verify(Some(&other), &[]).is_err());
        broken(Proof { vkey: other, ..record });
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let (record, _) = proofs();
        let text = record.to_json().unwrap();
        for bad in [
            "",
            "{}",
            "[]",
            &text.replace("\"seq\":9", "\"seq\":\"9\""),
            &text.replace("\"seq\"", "\"sequence\""),
            &text.replace("\"hashes\":[", "\"hashes\":[\"00\","),
            &text.replace("\"seq\":9", "\"seq\":9,\"old_checkpoint\":\"\""),
        ] {
            assert_eq!(Proof::parse(bad.as_bytes()).unwrap_err().id(), ErrorId::InvalidArgument, "{bad}");
        }
        let newer = text.replace("proof\":1", "proof\":2");
        assert_eq!(Proof::parse(newer.as_bytes()).unwrap_err().id(), ErrorId::UnsupportedVersion);
    }
}
