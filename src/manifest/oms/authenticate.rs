//! Whose statement it is: bundles held against the keys a verifier trusts, before anything they say is believed.

use super::bundle::MAX_KEYS;
use super::{Bundle, Malformed, Material, PREDICATE_TYPE, Requirement, Statement, release_0_2};
use crate::crypto::sign::{Algorithm, VerifyingKey};
use crate::error::{Error, ErrorId, Result};
use crate::json::{JsonError, Reader};
use crate::names::KeyId;

/// What a verifier trusts.
pub struct Trust<'a> {
    /// Keys it has.
    pub keys: &'a [VerifyingKey],
    /// Judges a chain of certificates (DER, signer first) and gives the signer's key.
    pub chain: &'a dyn Fn(&[Vec<u8>]) -> Result<VerifyingKey>,
    /// Judges a keyless signature: its verification material, the payload and the signature; gives the signer's key.
    pub keyless: &'a Keyless<'a>,
    /// What must have signed; without any, one trusted signature is enough.
    pub required: &'a [Requirement],
}

/// See [`Trust::keyless`].
pub type Keyless<'a> = dyn Fn(&str, &[u8], &[u8]) -> Result<VerifyingKey> + 'a;

/// A signature that verified under a trusted key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Signer {
    /// The key.
    pub keyid: KeyId,
    /// How it signs.
    #[serde(serialize_with = "by_name")]
    pub algorithm: Algorithm,
    /// Whether a certificate vouched for it rather than the verifier's own list.
    pub by_certificate: bool,
}

fn by_name<S: serde::Serializer>(algorithm: &Algorithm, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(algorithm.name())
}

/// Which statement is authentic, and who signed it. Bundles of other statements and of strangers are passed over.
///
/// # Errors
/// `SignatureInvalid` if a bundle names a trusted key whose signature does not verify, or if trusted signers contradict one
/// another; `SignatureMissing` if nobody trusted signed, or a requirement is not met; what the certificates are refused for;
/// `BundleMalformed` if the authentic statement breaks a rule.
pub fn authenticate(bundles: &[Bundle], trust: &Trust<'_>) -> Result<(Statement, Vec<Signer>)> {
    let mut authentic: Option<(&[u8], Vec<Signer>)> = None;
    let mut refused = None;
    for bundle in bundles.iter().filter(|b| is_model_signature(&b.payload)) {
        let signer = match signer_of(bundle, trust) {
            Ok(Some(signer)) => signer,
            Ok(None) => continue,
            // What a stranger put there must not keep a trusted key from being found; alone, it is the reason.
            Err(Refusal::Stranger(e)) => {
                refused.get_or_insert(e);
                continue;
            }
            Err(Refusal::Forgery) => {
                return Err(Error::new(
                    ErrorId::SignatureInvalid,
                    "a signature that names a trusted key does not verify",
                )
                .hint("the signature or its statement was altered; ask the signer for it again"));
            }
        };
        match &mut authentic {
            None => authentic = Some((&bundle.payload, vec![signer])),
            Some((payload, signers)) if *payload == bundle.payload => {
                // One key is one signer, however it was vouched for.
                if !signers.iter().any(|s| s.keyid == signer.keyid) {
                    signers.push(signer);
                }
            }
            Some(_) => {
                return Err(Error::new(
                    ErrorId::SignatureInvalid,
                    "trusted signers say different things of this model",
                )
                .hint("one of the bundles is of another version; sign the model anew"));
            }
        }
    }
    let Some((payload, signers)) = authentic else {
        return Err(refused.unwrap_or_else(|| untrusted(bundles)));
    };
    if let Some(unmet) = trust.required.iter().find(|r| !r.is_met_by(&signers)) {
        let have: Vec<_> = signers.iter().map(|s| format!("{} {}", s.algorithm, s.keyid.short())).collect();
        return Err(Error::new(
            ErrorId::SignatureMissing,
            format!("the signatures required ({unmet}) are not all there"),
        )
        .hint(format!("there are: {}", have.join(", "))));
    }
    Ok((Statement::from_payload(payload)?, signers))
}

enum Refusal {
    /// Nobody trusted is said to have signed.
    Stranger(Error),
    /// Somebody trusted is, and did not.
    Forgery,
}

fn signer_of(bundle: &Bundle, trust: &Trust<'_>) -> Result<Option<Signer>, Refusal> {
    let signer =
        |key: &VerifyingKey, by_certificate| Signer { keyid: key.key_id(), algorithm: key.algorithm(), by_certificate };
    match &bundle.material {
        Material::Certificates(chain) => {
            let key = (trust.chain)(chain).map_err(Refusal::Stranger)?;
            bundle.verify(&key).map_err(|_| Refusal::Forgery)?;
            Ok(Some(signer(&key, true)))
        }
        Material::Key { hint: Some(_) } => match trust.keys.iter().find(|key| bundle.names(key)) {
            None => Ok(None),
            Some(key) => bundle.verify(key).map(|()| Some(signer(key, false))).map_err(|_| Refusal::Forgery),
        },
        // It names no key: whichever verifies is the one.
        Material::Key { hint: None } => {
            let key = trust.keys.iter().find(|key| bundle.verify(key).is_ok());
            Ok(key.map(|key| signer(key, false)))
        }
        Material::Keyless(material) => {
            let key = (trust.keyless)(material, &bundle.payload, bundle.signature()).map_err(Refusal::Stranger)?;
            bundle.verify(&key).map_err(|_| Refusal::Forgery)?;
            Ok(Some(signer(&key, true)))
        }
    }
}

fn untrusted(bundles: &[Bundle]) -> Error {
    if !bundles.iter().any(|b| is_model_signature(&b.payload)) {
        return Malformed::new("none of the bundles is about the files of a model").into();
    }
    let hints: Vec<_> = bundles
        .iter()
        .filter_map(|b| match &b.material {
            Material::Key { hint: Some(hint) } => {
                Some(format!("a key with OMS hint {}", hint.get(..16).unwrap_or(hint)))
            }
            Material::Certificates(_) => Some("a certificate".into()),
            _ => None,
        })
        .collect();
    let by = if hints.is_empty() { "a key that it does not name".into() } else { hints.join(", ") };
    Error::new(ErrorId::SignatureMissing, format!("not signed by a key you trust; it is signed by {by}"))
        .hint("give the signer's public key with --key FILE, or its authority with --ca FILE")
}

/// Whether a payload claims to be about the files of a model: claims beside a model may be about other things.
pub fn is_model_signature(payload: &[u8]) -> bool {
    match statement_kind(payload) {
        Ok(kind) => kind.is_some_and(|k| k == PREDICATE_TYPE || k == release_0_2::PREDICATE_TYPE),
        // What cannot be read is not passed over: that would turn damage into absence.
        Err(_) => true,
    }
}

/// The predicate's type of a statement.
pub(super) fn statement_kind(payload: &[u8]) -> Result<Option<String>, JsonError> {
    let mut kind = None;
    Reader::new(payload, 64)?.with_max_keys(MAX_KEYS).object(|reader, key| {
        if key != "predicateType" {
            return reader.skip();
        }
        kind = Some(reader.string()?.into_owned());
        Ok(())
    })?;
    Ok(kind)
}
