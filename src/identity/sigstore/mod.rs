//! Keyless signatures: a certificate of ten minutes for a name that an issuer vouched for, and a public log that dates the
//! signature. Verified against a trusted root alone, without network.
//!
//! | file | what | rests on |
//! |---|---|---|
//! | `root` | whom the verifier trusts: authorities and logs, and when | sigstore `TrustedRoot` |
//! | `entry` | the log's entry: of these very bytes, in the log, at that time | Rekor v1 `dsse` 0.0.1, RFC 6962, C2SP checkpoints |
//! | `certificate` | what the certificate says: its issuer, and that it was published | Fulcio extensions, RFC 6962 |
//!
//! In order: the entry's promise gives the time, at which the certificate is judged by the rules of [`signer`](super::signer).
//! What the entry says is held against the signature. RFC 3161 time stamps are not looked at: the log's time is enough, and
//! is required. The hash of the whole envelope in an entry is not recomputed: it is of a spelling that is not kept.

mod certificate;
mod entry;
mod root;
#[cfg(test)]
mod tests;

pub use root::TrustedRoot;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::signer::{ChainError, ChainPolicy, Revocations, SignerName};
use crate::crypto::sign::VerifyingKey;
use crate::error::{Error, ErrorId, Result};
use crate::json::{Value, parse};

const MAX_DEPTH: usize = 8;

/// Who must have signed, and who is believed.
#[derive(Clone, Debug)]
pub struct KeylessPolicy {
    root: TrustedRoot,
    names: Vec<SignerName>,
    issuer: String,
}

/// Why a keyless signature is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeylessError {
    /// Not of the form that is read here.
    #[error("not a keyless signature: {0}")]
    Malformed(&'static str),
    /// A kind of evidence that is not known here.
    #[error("the evidence is of a kind that is not supported: {0}")]
    Unsupported(&'static str),
    /// Evidence of nobody in the trusted root, or of a time when it was not trusted.
    #[error("not in the trusted root at that time: {0}")]
    Untrusted(&'static str),
    /// Evidence that does not hold.
    #[error("{0}")]
    False(&'static str),
    /// The certificate.
    #[error("the signer's certificate: {0}")]
    Certificate(#[from] ChainError),
    /// Somebody else vouched for the name.
    #[error("the issuer is {0:?}, not the one asked for")]
    Issuer(String),
}

impl From<KeylessError> for Error {
    fn from(e: KeylessError) -> Self {
        let error = match &e {
            KeylessError::Certificate(chain) => return chain.clone().into(),
            KeylessError::Malformed(_) => Self::new(ErrorId::BundleMalformed, e.to_string()),
            KeylessError::False(_) => Self::new(ErrorId::SignatureInvalid, e.to_string()),
            KeylessError::Unsupported(_) => Self::new(ErrorId::SignatureMissing, e.to_string())
                .hint("ask the signer for a bundle of today's tools, or a signature by a key"),
            KeylessError::Untrusted(_) => Self::new(ErrorId::SignatureMissing, e.to_string())
                .hint("is the trusted root that of the service that signed, and recent?"),
            KeylessError::Issuer(_) => Self::new(ErrorId::SignatureMissing, e.to_string())
                .hint("check who should have vouched for the signer: --issuer"),
        };
        error.caused_by(e)
    }
}

impl KeylessPolicy {
    /// Names without an issuer, or an issuer without names, would let everybody sign who has an account somewhere.
    ///
    /// # Errors
    /// `InvalidArgument` if either is missing.
    pub fn new(root: TrustedRoot, names: Vec<SignerName>, issuer: String) -> Result<Self> {
        if names.is_empty() || issuer.is_empty() {
            return Err(Error::new(
                ErrorId::InvalidArgument,
                "a keyless signature proves nothing without a name and an issuer",
            )
            .hint("say who must have signed: --signer-name NAME --issuer URL"));
        }
        Ok(Self { root, names, issuer })
    }

    /// The key of a signature, if the right one used it at a time when the certificate was valid. `material` is the bundle's
    /// `verificationMaterial`. **That the signature is the key's is for the caller to verify.**
    ///
    /// # Errors
    /// What does not hold.
    pub fn verify(&self, material: &str, payload: &[u8], signature: &[u8]) -> Result<VerifyingKey, KeylessError> {
        let malformed = KeylessError::Malformed;
        let material = parse(material.as_bytes(), MAX_DEPTH).map_err(|_| malformed("JSON"))?;
        let members = ["certificate", "tlogEntries", "timestampVerificationData"];
        material.exactly(&members).ok_or(malformed("an unknown member"))?;
        let certificate = material.get("certificate").ok_or(malformed("no certificate"))?;
        certificate.exactly(&["rawBytes"]).ok_or(malformed("an unknown member of the certificate"))?;
        let leaf = bytes(certificate, "rawBytes")?;
        let entries = material.get("tlogEntries").and_then(Value::as_array).unwrap_or_default();
        // Of several, another verifier might take another time.
        let [entry] = entries else { return Err(malformed("not one entry of a log")) };

        let entry = entry::Entry::read(entry)?;
        entry.is_of(payload, signature, &leaf)?;
        let at = entry.verify(&self.root)?;
        let mut refused = KeylessError::Untrusted("the certificate's authority");
        for authority in self.root.authorities(at) {
            let chain: Vec<&[u8]> =
                std::iter::once(&leaf).chain(authority.intermediates()).map(Vec::as_slice).collect();
            let policy =
                ChainPolicy { anchors: authority.anchors(), names: &self.names, revocations: Revocations::NONE };
            match policy.verify(&chain, at) {
                Ok(signer) => {
                    let issued_by = signer.path.get(1).ok_or(malformed("no issuer"))?;
                    certificate::was_published(&leaf, issued_by, &self.root)?;
                    let issuer = certificate::issuer(&leaf)?;
                    return if issuer == self.issuer { Ok(signer.key) } else { Err(KeylessError::Issuer(issuer)) };
                }
                Err(ChainError::UnknownCa | ChainError::BadSignature) => {}
                Err(e) => refused = e.into(),
            }
        }
        Err(refused)
    }
}

/// A member in base64, in its one form.
fn bytes(value: &Value, key: &'static str) -> Result<Vec<u8>, KeylessError> {
    let text = value.get(key).and_then(Value::as_str).ok_or(KeylessError::Malformed(key))?;
    STANDARD.decode(text).map_err(|_| KeylessError::Malformed(key))
}

/// A 64-bit integer, which JSON of protocol buffers has as a string.
fn integer(value: &Value, key: &'static str) -> Result<u64, KeylessError> {
    let member = value.get(key).ok_or(KeylessError::Malformed(key))?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = match member {
        Value::String(text) if digits(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    number.ok_or(KeylessError::Malformed(key))
}
