//! The chain that a signer sends along with its signatures.

use super::{ChainError, MAX_CERTIFICATE_BYTES, MAX_CERTIFICATES, check_usage, moment, parse};
use crate::crypto::pem;
use crate::crypto::sign::VerifyingKey;
use crate::error::{Error, ErrorId, Result};
use crate::names::Timestamp;

/// Certificates of a signer: its own, then those above it. The root may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnChain(Vec<Vec<u8>>);

impl OwnChain {
    /// From PEM, the signer's certificate first. What no verifier would accept is refused here already, as far as it can be
    /// told without knowing whom they trust: another key, a usage that does not allow signing, a time that is over.
    ///
    /// # Errors
    /// `ConfigInvalid` if it is no such chain; `BadCredential` if it is not the key's, or not to be used now.
    pub fn from_pem(text: &[u8], key: &VerifyingKey, at: Timestamp) -> Result<Self> {
        let invalid = |what: &str| {
            Error::new(ErrorId::ConfigInvalid, format!("not a chain of certificates: {what}"))
                .hint("PEM: the signer's certificate first, then those above it")
        };
        let sections = pem::sections(text).map_err(|e| invalid(&e.to_string()))?;
        if sections.is_empty() || sections.len() > MAX_CERTIFICATES {
            return Err(invalid(&format!("not 1 to {MAX_CERTIFICATES} of them")));
        }
        if sections.iter().any(|section| section.label != "CERTIFICATE") {
            return Err(invalid("something else is in it"));
        }
        let decoded = sections.iter().map(|section| section.decode().map(|der| der.to_vec()));
        let certificates = decoded.collect::<Result<Vec<_>, _>>().map_err(|e| invalid(&e.to_string()))?;
        if certificates.iter().any(|der| der.len() > MAX_CERTIFICATE_BYTES) {
            return Err(ChainError::Limit.into());
        }
        let leaf = parse(&certificates[0])?;
        let refused = |what: &str, hint: &str| Err(Error::new(ErrorId::BadCredential, what).hint(hint));
        if VerifyingKey::from_spki(leaf.public_key().raw).ok().as_ref() != Some(key) {
            return refused(
                "the first certificate is not that of the key",
                "put the signer's certificate first in the file, and name its key",
            );
        }
        check_usage(&leaf)?;
        let (from, until) = (moment(leaf.validity().not_before), moment(leaf.validity().not_after));
        if at < from || at > until {
            let what = format!("the signer's certificate is valid from {from} to {until}");
            return refused(&what, "get a new one from its authority, or check the clock");
        }
        Ok(Self(certificates))
    }

    /// In DER, the signer's first.
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.0
    }
}
