//! Signed checkpoints: C2SP `tlog-checkpoint` in a C2SP `signed-note`.
//!
//! ```text
//! modelvault.example/<vault id>/audit          origin, also the name of the key
//! 256                                          size
//! <base64 of the root>
//!                                              empty
//! — modelvault.example/<vault id>/audit <base64 of key hash (4) ‖ Ed25519 signature (64)>
//! ```
//! The signature is over the text up to the empty line, which is not part of it. Key hash = the first 4 bytes of
//! SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key); 0x01 is signed-note's number for Ed25519.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::AuditError;
use crate::crypto::hash::sha256;
use crate::crypto::merkle::Frontier;
use crate::crypto::sign::{PublicKey, SIGNATURE_LEN, SigningIdentity};
use crate::error::{Error, ErrorId};
use crate::names::{PREDICATE_BASE, Sha256, VaultId};

/// signed-note's number for Ed25519.
const ED25519: u8 = 0x01;
/// Bytes of a note that are read at most, cosignatures of witnesses included.
const NOTE_MAX: usize = 16 << 10;
const SIGNATURES_MAX: usize = 64;
const SIGNATURE_MARK: &str = "— ";

/// Name of a vault's audit log, the same for life.
pub fn origin(vault: VaultId) -> String {
    let domain = PREDICATE_BASE.trim_start_matches("https://").trim_end_matches('/');
    format!("{domain}/{vault}/audit")
}

/// A checkpoint whose signature was made or verified here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Sha256,
    note: String,
}

impl Checkpoint {
    /// Signs the tree as it is.
    pub fn sign(origin: &str, tree: &Frontier, identity: &SigningIdentity) -> Self {
        let (size, root) = (tree.size(), tree.root());
        let text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root.0));
        let mut signed = key_hash(origin, identity.public()).to_vec();
        signed.extend_from_slice(&identity.sign(text.as_bytes()));
        let note = format!("{text}\n{SIGNATURE_MARK}{origin} {}\n", STANDARD.encode(signed));
        Self { origin: origin.into(), size, root, note }
    }

    /// Reads a note and verifies that `key` signed it for the log `origin`. Signatures of others (witnesses) may stand beside
    /// it; they are not looked at.
    ///
    /// # Errors
    /// [`AuditError::Checkpoint`] with the rule that is broken.
    pub fn parse_and_verify(note: &str, origin: &str, key: &PublicKey) -> Result<Self, AuditError> {
        let bad = AuditError::Checkpoint;
        if note.len() > NOTE_MAX {
            return Err(bad("it is too long"));
        }
        // The last empty line: signature lines are never empty.
        let split = note.rfind("\n\n").ok_or(bad("it has no signature"))?;
        let (text, signatures) = (&note[..=split], &note[split + 2..]);
        let [line_of_origin, size, root] = lines(text).ok_or(bad("it is not a note"))?[..] else {
            return Err(bad("it has not three lines"));
        };
        if line_of_origin != origin {
            return Err(bad("it is of another log"));
        }
        verify_signature(text, signatures, origin, key)?;
        let digits = size.bytes().all(|b| b.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        let size = size.parse().ok().filter(|_| digits).ok_or(bad("its size is no number"))?;
        let root = STANDARD.decode(root).ok().and_then(|r| r.try_into().ok()).map(Sha256);
        Ok(Self { origin: origin.into(), size, root: root.ok_or(bad("its root is no hash"))?, note: note.into() })
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Records it covers.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree over them.
    pub fn root(&self) -> Sha256 {
        self.root
    }

    /// The note: what is stored, published and kept elsewhere.
    pub fn note(&self) -> &str {
        &self.note
    }
}

fn verify_signature(text: &str, signatures: &str, name: &str, key: &PublicKey) -> Result<(), AuditError> {
    let bad = AuditError::Checkpoint;
    let signatures = lines(signatures).ok_or(bad("a signature line has no end"))?;
    if signatures.len() > SIGNATURES_MAX {
        return Err(bad("it has too many signatures"));
    }
    let mut verified = false;
    for line in signatures {
        let (signer, encoded) =
            line.strip_prefix(SIGNATURE_MARK).and_then(|l| l.split_once(' ')).ok_or(bad("a signature is malformed"))?;
        let bytes = STANDARD.decode(encoded).map_err(|_| bad("a signature is malformed"))?;
        let (hash, signature) = bytes.split_at_checked(4).ok_or(bad("a signature is malformed"))?;
        if signer != name || hash != key_hash(name, key) {
            continue;
        }
        // signed-note: a signature that claims a known key and fails makes the whole note invalid.
        if signature.len() != SIGNATURE_LEN || key.verify(text.as_bytes(), signature).is_err() {
            return Err(bad("its signature does not verify"));
        }
        if verified {
            return Err(bad("it has two signatures of one key"));
        }
        verified = true;
    }
    if verified { Ok(()) } else { Err(bad("it is not signed by the key of this log")) }
}

/// The lines of a text that ends with a newline.
fn lines(text: &str) -> Option<Vec<&str>> {
    Some(text.strip_suffix('\n')?.split('\n').collect())
}

fn key_hash(name: &str, key: &PublicKey) -> [u8; 4] {
    let digest = sha256(&[name.as_bytes(), &[b'\n', ED25519], key.as_bytes()].concat());
    [digest.0[0], digest.0[1], digest.0[2], digest.0[3]]
}

/// A log's public key in the form of signed-note: `name+hash+base64(0x01 ‖ key)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    /// The log.
    pub origin: String,
    /// Its key.
    pub key: PublicKey,
}

impl VerifierKey {
    /// The key of a vault's log.
    pub fn of(origin: impl Into<String>, key: PublicKey) -> Self {
        Self { origin: origin.into(), key }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = hex::encode(key_hash(&self.origin, &self.key));
        let key = STANDARD.encode([&[ED25519][..], self.key.as_bytes()].concat());
        write!(f, "{}+{hash}+{key}", self.origin)
    }
}

impl FromStr for VerifierKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (name, rest) = text.split_once('+')?;
            let (hash, key) = rest.split_once('+')?;
            let key = STANDARD.decode(key).ok()?;
            let key = PublicKey::from_bytes(key.strip_prefix(&[ED25519])?.try_into().ok()?).ok()?;
            let named = !name.is_empty() && !name.contains(char::is_whitespace);
            (named && hash == hex::encode(key_hash(name, &key))).then(|| Self::of(name, key))
        };
        parse().ok_or_else(|| {
            Error::new(ErrorId::InvalidArgument, "not a verifier key").hint("it has the form NAME+HASH+KEY")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::leaf_hash;
    use crate::crypto::keys::Key;

    fn identity(seed: u8) -> SigningIdentity {
        SigningIdentity::from_seed(Key::take(&mut [seed; 32]))
    }

    fn tree(size: u64) -> Frontier {
        let mut tree = Frontier::default();
        (1..=size).for_each(|seq| tree.push(leaf_hash(seq, b"record")));
        tree
    }

    #[test]
    fn a_checkpoint_is_a_signed_note_and_reads_back() {
        let origin = origin(VaultId([0xab; 16]));
        assert_eq!(origin, format!("modelvault.example/{}/audit", "ab".repeat(16)));
        for size in [0, 1, 5] {
            let signed = Checkpoint::sign(&origin, &tree(size), &identity(1));
            let lines: Vec<_> = signed.note().split('\n').collect();
            assert_eq!(lines[..2], [&origin, &size.to_string()]);
            assert_eq!((lines.len(), lines[3], lines[5]), (6, "", ""));
            let read = Checkpoint::parse_and_verify(signed.note(), &origin, identity(1).public()).unwrap();
            assert_eq!(read, signed);
            assert_eq!((read.size(), read.root()), (size, tree(size).root()));
        }
    }

    /// The example of golang.org/x/mod/sumdb/note: key and note made by another implementation.
    #[test]
    fn names_hashes_and_signatures_are_those_of_signed_note() {
        let vkey: VerifierKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        assert_eq!(vkey.origin, "PeterNeumann");
        assert_eq!(vkey.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let signature = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        verify_signature(text, signature, &vkey.origin, &vkey.key).unwrap();
        assert!(verify_signature(&text.replace("think", "thing"), signature, &vkey.origin, &vkey.key).is_err());
        for bad in
            ["", "a+b", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "a b+00000000+AQ=="]
        {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn other_logs_other_keys_and_every_altered_byte_are_refused() {
        let name = origin(VaultId([1; 16]));
        let note = Checkpoint::sign(&name, &tree(300), &identity(1)).note;
        let verify = |note: &str, seed| Checkpoint::parse_and_verify(note, &name, identity(seed).public());
        assert!(verify(&note, 1).is_ok());
        assert!(verify(&note, 2).is_err());
        let other = origin(VaultId([2; 16]));
        let foreign = Checkpoint::sign(&other, &tree(300), &identity(1)).note;
        assert_eq!(verify(&foreign, 1), Err(AuditError::Checkpoint("it is of another log")));
        assert!(Checkpoint::parse_and_verify(&note, &other, identity(1).public()).is_err());
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(altered) = String::from_utf8(bytes) else { continue };
                assert!(verify(&altered, 1).is_err(), "byte {at} bit {bit}");
            }
        }
        for len in 0..note.len() {
            assert!(note.get(..len).is_none_or(|cut| verify(cut, 1).is_err()), "cut to {len}");
        }
    }

    #[test]
    fn witnesses_may_sign_beside_and_nobody_may_sign_twice() {
        let name = origin(VaultId([1; 16]));
        let note = Checkpoint::sign(&name, &tree(3), &identity(1)).note;
        let verify = |note: &str| Checkpoint::parse_and_verify(note, &name, identity(1).public());
        let witness = format!("{SIGNATURE_MARK}witness.example {}\n", STANDARD.encode([7; 76]));
        assert_eq!(verify(&format!("{note}{witness}")).unwrap().size(), 3);
        let own = &note[note.rfind("\n\n").unwrap() + 2..];
        assert!(verify(&format!("{note}{own}")).is_err());
        assert!(verify(&format!("{note}\n")).is_err());
        assert!(verify(&note.replace(own, &witness)).is_err());
        assert!(verify(&format!("{note}{}", witness.repeat(SIGNATURES_MAX))).is_err());
        // Signed, and still not of the form.
        for text in [
            format!("{name}\n03\nAAAA\n"),
            format!("{name}\n+3\nAAAA\n"),
            format!("{name}\n3\nAAAA\n"),
            format!("{name}\n3\n"),
            format!("{name}\n3\n{}\nextension\n", STANDARD.encode([0; 32])),
        ] {
            let signature = [&key_hash(&name, identity(1).public())[..], &identity(1).sign(text.as_bytes())].concat();
            let note = format!("{text}\n{SIGNATURE_MARK}{name} {}\n", STANDARD.encode(signature));
            assert!(verify(&note).is_err(), "{text}");
        }
    }
}
