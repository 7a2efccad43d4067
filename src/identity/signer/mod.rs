//! Certificates of signers (OpenSSF Model Signing, certificate method): a chain, anchors and a time become the key that signed.
//!
//! Path building, signatures, validity, CA flags, path lengths, name constraints and revocation are those of `rustls-webpki`
//! (RFC 5280, section 6). Here stand the rules it leaves to its caller: what a signer's certificate is for, which names are
//! wanted, and what an anchor itself must be: webpki, made for browsers, looks at no anchor's validity, CA flag or path length.
//!
//! **Usage of the leaf.** An extended key usage must contain codeSigning: a server's certificate does not sign models. Without
//! one (RFC 5280, 4.2.1.12: no restriction) the key usage must be there and assert digitalSignature, which is what signers of
//! today really carry; a key usage without it is refused in any case. An extended key usage of an intermediate restricts what
//! is below it. A leaf that is marked as a CA is none if it says that its key issues nothing (`marked`).
//!
//! A signer's own certificate can stand for a CA if it is self-signed: it is then trusted as it is, byte for byte.

mod anchors;
mod error;
mod marked;
mod name;
mod own;
#[cfg(test)]
mod tests;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use anchors::{Anchors, Revocations};
pub use error::ChainError;
pub use name::SignerName;
pub use own::OwnChain;

use crate::crypto::hash::sha256;
use crate::crypto::sign::VerifyingKey;
use crate::names::{KeyId, Timestamp};

/// Most certificates of a chain.
pub const MAX_CERTIFICATES: usize = 16;
/// Most bytes of one certificate.
pub const MAX_CERTIFICATE_BYTES: usize = 64 << 10;
/// id-kp-codeSigning, 1.3.6.1.5.5.7.3.3.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

/// Whose certificates are believed.
#[derive(Clone, Copy, Debug)]
pub struct ChainPolicy<'a> {
    /// The CAs.
    pub anchors: &'a Anchors,
    /// Of these the leaf must have one; none: any certificate of the CAs will do, also one without a name.
    pub names: &'a [SignerName],
    /// If there are any lists, one must speak for the leaf, all that are consulted must be current, and no certificate of the
    /// path may be on one.
    pub revocations: &'a Revocations,
}

/// A signer as its verified certificate describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedSigner {
    /// The key that signatures are verified with.
    pub key: VerifyingKey,
    /// The names of the certificate, as far as they are of a kind that can be asked for.
    pub names: Vec<SignerName>,
    /// Valid from this moment.
    pub not_before: Timestamp,
    /// Valid through this second.
    pub not_after: Timestamp,
    /// The keys of the path, from the leaf to the anchor.
    pub path: Vec<KeyId>,
}

impl ChainPolicy<'_> {
    /// Verifies a chain of DER certificates, leaf first, the others in any order, at a time: now, or one that a trusted time
    /// stamp proves.
    ///
    /// # Errors
    /// What is wrong, as precisely as it can be told.
    pub fn verify(&self, chain: &[impl AsRef<[u8]>], at: Timestamp) -> Result<CertifiedSigner, ChainError> {
        if chain.len() > MAX_CERTIFICATES || chain.iter().any(|c| c.as_ref().len() > MAX_CERTIFICATE_BYTES) {
            return Err(ChainError::Limit);
        }
        let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
        let parsed = chain.iter().map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
        let ([leaf, ..], [leaf_der, others @ ..]) = (&parsed[..], &chain[..]) else {
            return Err(ChainError::Malformed);
        };
        let key = VerifyingKey::from_spki(leaf.public_key().raw).map_err(|_| ChainError::UnsupportedKey)?;
        check_usage(leaf)?;
        let end = EndEntityCert::try_from(leaf_der).map_err(ChainError::from)?;
        let path = if self.anchors.has_signer(leaf_der) || marked::signs_code_alone(leaf) {
            if !self.revocations.lists().is_empty() {
                return Err(ChainError::RevocationUnknown);
            }
            marked::verify_path(leaf, leaf_der, others, self.anchors, at)?
        } else {
            self.verify_path(&end, others, at)?
        };
        let names = names_of(leaf)?;
        self.check_names(&names)?;
        Ok(CertifiedSigner {
            key,
            names,
            not_before: moment(leaf.validity().not_before),
            not_after: moment(leaf.validity().not_after),
            path,
        })
    }

    /// The keys of the path from the leaf to an anchor.
    fn verify_path(
        &self,
        end: &EndEntityCert<'_>,
        others: &[CertificateDer<'_>],
        at: Timestamp,
    ) -> Result<Vec<KeyId>, ChainError> {
        let time = UnixTime::since_unix_epoch(at.since(Timestamp::from_millis(0)));
        let verify = |revocation: Option<RevocationOptions<'_>>| {
            end.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                self.anchors.trusted(),
                others,
                time,
                KeyUsage::required_if_present(CODE_SIGNING),
                revocation,
                Some(&|path: &VerifiedPath<'_>| {
                    check_issuers(path)?;
                    self.anchors.check(path, time)
                }),
            )
        };
        let lists = self.revocations.lists();
        let options = |depth, unknown| {
            let options = RevocationOptionsBuilder::new(&lists).ok()?;
            let options = options.with_depth(depth).with_status_policy(unknown);
            Some(options.with_expiration_policy(ExpirationPolicy::Enforce).build())
        };
        // A CA rarely publishes a list about its intermediates: what is known of them counts, what is not known does not.
        if let Some(strict) = options(RevocationCheckDepth::EndEntity, UnknownStatusPolicy::Deny) {
            verify(Some(strict))?;
        }
        let path = verify(options(RevocationCheckDepth::Chain, UnknownStatusPolicy::Allow))?;
        let key_id = |spki: &[u8]| KeyId(sha256(spki).0);
        let mut keys = vec![key_id(&path.end_entity().subject_public_key_info())];
        keys.extend(path.intermediate_certificates().map(|c| key_id(&c.subject_public_key_info())));
        keys.extend(self.anchors.key_of(&path));
        Ok(keys)
    }

    fn check_names(&self, names: &[SignerName]) -> Result<(), ChainError> {
        // An X.509-SVID has one URI; a second one would leave open who it is (SPIFFE X509-SVID, section 2).
        let one_uri = names.iter().filter(|name| matches!(name, SignerName::Uri(_))).count() == 1;
        let has = |wanted: &SignerName| names.contains(wanted) && (one_uri || !wanted.is_spiffe());
        match self.names.is_empty() || self.names.iter().any(has) {
            true => Ok(()),
            false => Err(ChainError::NameNotMatched { found: names.to_vec() }),
        }
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ChainError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(ChainError::Malformed),
    }
}

/// That the leaf may sign at all; webpki looks into an extended key usage that is there.
fn check_usage(leaf: &X509Certificate<'_>) -> Result<(), ChainError> {
    let key_usage = leaf.key_usage().map_err(|_| ChainError::Malformed)?;
    let extended = leaf.extended_key_usage().map_err(|_| ChainError::Malformed)?;
    match (key_usage.map(|usage| usage.value.digital_signature()), extended) {
        (Some(true), _) | (None, Some(_)) => Ok(()),
        _ => Err(ChainError::Usage),
    }
}

/// That the keys of intermediates may sign certificates (RFC 5280, 6.1.4 n), which webpki does not ask.
fn check_issuers(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    for intermediate in path.intermediate_certificates() {
        let der = intermediate.der();
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| webpki::Error::BadDer)?;
        anchors::may_issue(&parsed).map_err(|_| webpki::Error::EndEntityUsedAsCa)?;
    }
    Ok(())
}

fn names_of(leaf: &X509Certificate<'_>) -> Result<Vec<SignerName>, ChainError> {
    let names = leaf.subject_alternative_name().map_err(|_| ChainError::Malformed)?;
    Ok(names.map_or_else(Vec::new, |n| n.value.general_names.iter().filter_map(SignerName::of).collect()))
}

fn moment(time: x509_parser::time::ASN1Time) -> Timestamp {
    Timestamp::from_millis(time.timestamp().saturating_mul(1000))
}
