//! DSSE v1 envelopes: read strictly, signed and checked with Ed25519 over the pre-authentication encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::AuthFailed;
use super::sign::{PublicKey, SIGNATURE_LEN, SigningIdentity};
use crate::error::{Error, ErrorId, Result as Outcome};
use crate::json::Value;
use crate::names::KeyId;

/// Payload type of in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Most signatures one envelope may carry (docs/format.md 11).
pub const MAX_SIGNATURES: usize = 16;

/// Whoever signs statements with Ed25519: a key in this process, or one that is elsewhere and is asked.
pub trait Signer: Send + Sync {
    /// What its signatures verify with.
    fn public(&self) -> &PublicKey;

    /// The signature over the pre-authentication encoding of a payload. May block.
    ///
    /// # Errors
    /// What the key's keeper gives.
    fn sign(&self, payload_type: &str, payload: &[u8]) -> Outcome<[u8; SIGNATURE_LEN]>;
}

impl Signer for SigningIdentity {
    fn public(&self) -> &PublicKey {
        self.public()
    }

    fn sign(&self, payload_type: &str, payload: &[u8]) -> Outcome<[u8; SIGNATURE_LEN]> {
        Ok(self.sign(&pre_authentication(payload_type, payload)))
    }
}

/// A payload with its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Media type of the payload.
    pub payload_type: String,
    /// The signed bytes, exactly.
    pub payload: Vec<u8>,
    /// Who signed.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeSignature {
    /// Key id as written: SHA-256 of the SubjectPublicKeyInfo, in hex, for ours.
    pub keyid: String,
    /// Signature bytes.
    pub sig: Vec<u8>,
}

/// The envelope breaks a rule of DSSE or of docs/format.md 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a DSSE envelope: {0}")]
pub struct EnvelopeMalformed(&'static str);

impl Envelope {
    /// Has `payload` signed by a key that may be elsewhere.
    ///
    /// # Errors
    /// The signer's; `SignatureInvalid` if what it gives does not verify.
    pub fn sign_by(payload_type: &str, payload: Vec<u8>, signer: &dyn Signer) -> Outcome<Self> {
        let sig = signer.sign(payload_type, &payload)?;
        let key = signer.public();
        key.verify(&pre_authentication(payload_type, &payload), &sig).map_err(|_| {
            let text = format!("the signature that came does not verify with key {}", key.key_id().short());
            Error::new(ErrorId::SignatureInvalid, text).hint("sign with the key whose public part was announced")
        })?;
        let signatures = vec![EnvelopeSignature { keyid: key.key_id().to_string(), sig: sig.to_vec() }];
        Ok(Self { payload_type: payload_type.into(), payload, signatures })
    }

    /// Signs `payload`.
    pub fn sign(payload_type: &str, payload: Vec<u8>, identity: &SigningIdentity) -> Self {
        let sig = identity.sign(&pre_authentication(payload_type, &payload)).to_vec();
        let signatures = vec![EnvelopeSignature { keyid: identity.key_id().to_string(), sig }];
        Self { payload_type: payload_type.into(), payload, signatures }
    }

    /// From JSON: exactly the keys of the specification, base64 padded and canonical, 1 to 16 signatures.
    pub fn from_json(value: &Value) -> Result<Self, EnvelopeMalformed> {
        let malformed = EnvelopeMalformed;
        value.exactly(&["payloadType", "payload", "signatures"]).ok_or(malformed("unknown key"))?;
        let text = |key| value.get(key).and_then(Value::as_str).ok_or(malformed("missing key"));
        let listed = value.get("signatures").and_then(Value::as_array).ok_or(malformed("missing key"))?;
        if !(1..=MAX_SIGNATURES).contains(&listed.len()) {
            return Err(malformed("number of signatures"));
        }
        let mut signatures = Vec::with_capacity(listed.len());
        for entry in listed {
            entry.exactly(&["keyid", "sig"]).ok_or(malformed("unknown key"))?;
            let text = |key| entry.get(key).and_then(Value::as_str).ok_or(malformed("missing key"));
            signatures.push(EnvelopeSignature { keyid: text("keyid")?.into(), sig: decode(text("sig")?)? });
        }
        Ok(Self { payload_type: text("payloadType")?.into(), payload: decode(text("payload")?)?, signatures })
    }

    /// To JSON, in the key order of docs/format.md 8.
    pub fn write_json(&self, out: &mut String) {
        let quote = crate::json::quote;
        out.push_str("{\"payloadType\":");
        quote(&self.payload_type, out);
        out.push_str(",\"payload\":\"");
        STANDARD.encode_string(&self.payload, out);
        out.push_str("\",\"signatures\":[");
        for (i, signature) in self.signatures.iter().enumerate() {
            out.push_str(if i == 0 { "{\"keyid\":" } else { ",{\"keyid\":" });
            quote(&signature.keyid, out);
            out.push_str(",\"sig\":\"");
            STANDARD.encode_string(&signature.sig, out);
            out.push_str("\"}");
        }
        out.push_str("]}");
    }

    /// Which of the trusted keys signed. Unknown key ids are ignored.
    ///
    /// # Errors
    /// `AuthFailed` if a signature names a trusted key and does not verify: that is a forgery, not a stranger's signature.
    pub fn verified_by(&self, trusted: &[PublicKey]) -> Result<Vec<KeyId>, AuthFailed> {
        let message = pre_authentication(&self.payload_type, &self.payload);
        let mut signers = Vec::new();
        for signature in &self.signatures {
            for key in trusted.iter().filter(|k| k.key_id().to_string() == signature.keyid) {
                key.verify(&message, &signature.sig)?;
                signers.push(key.key_id());
            }
        }
        Ok(signers)
    }
}

/// PAE of DSSE v1: `DSSEv1 SP len(type) SP type SP len(body) SP body`.
pub fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

fn decode(text: &str) -> Result<Vec<u8>, EnvelopeMalformed> {
    STANDARD.decode(text).map_err(|_| EnvelopeMalformed("base64"))
}
