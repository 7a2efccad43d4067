//! Signers whose certificates are marked as those of CAs, although their keys may sign code and no certificates: what the
//! recipes of the reference implementation make. RFC 5280 lets them sign (4.2.1.3: without keyCertSign a key issues nothing),
//! `rustls-webpki` does not look at them. Here stands a path check for them alone, narrower than webpki's: no name
//! constraints, no revocation lists, no critical extension that webpki does not know.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_parser::prelude::X509Certificate;

use super::{Anchors, ChainError, anchors, moment, parse};
use crate::crypto::hash::sha256;
use crate::names::{KeyId, Timestamp};

/// CAs above one another.
const MAX_LEVELS: u32 = 6;
/// As many as webpki checks.
const MAX_SIGNATURES: usize = 100;

/// Whether the certificate says that its key signs code and no certificates, in so many words.
pub(super) fn signs_code_alone(leaf: &X509Certificate<'_>) -> bool {
    let (Ok(constraints), Ok(usage), Ok(extended)) =
        (leaf.basic_constraints(), leaf.key_usage(), leaf.extended_key_usage())
    else {
        return false;
    };
    let usage = usage.is_some_and(|u| u.value.digital_signature() && !u.value.key_cert_sign() && !u.value.crl_sign());
    constraints.is_some_and(|c| c.value.ca) && usage && extended.is_some_and(|e| e.value.code_signing)
}

/// That the certificate is signed by its own key, so that nobody vouches for it but whoever trusts it.
pub(super) fn is_self_signed(certificate: &X509Certificate<'_>, der: &CertificateDer<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw() && is_signed_by(certificate, der)
}

/// The keys from the leaf to an anchor, or its own if it is one that is trusted as it is.
pub(super) fn verify_path(
    leaf: &X509Certificate<'_>,
    leaf_der: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    anchors: &Anchors,
    at: Timestamp,
) -> Result<Vec<KeyId>, ChainError> {
    is_valid(leaf, at)?;
    if anchors.has_signer(leaf_der) {
        return Ok(vec![key_of(leaf)]);
    }
    let ders: Vec<_> = anchors.certificates().map(|der| (CertificateDer::from(der), true)).collect();
    let ders = ders.iter().map(|(der, trusted)| (der, *trusted)).chain(others.iter().map(|der| (der, false)));
    let issuers = ders
        .map(|(der, trusted)| Ok(Issuer { certificate: parse(der)?, der, trusted }))
        .collect::<Result<Vec<_>, ChainError>>()?;
    let mut climb = Climb { issuers, at, signatures: 0, keys: vec![key_of(leaf)] };
    climb.above(leaf, 0)?;
    Ok(climb.keys)
}

/// A certificate that may be above another.
struct Issuer<'a> {
    certificate: X509Certificate<'a>,
    der: &'a CertificateDer<'a>,
    trusted: bool,
}

struct Climb<'a> {
    issuers: Vec<Issuer<'a>>,
    at: Timestamp,
    signatures: usize,
    keys: Vec<KeyId>,
}

impl Climb<'_> {
    /// Finds a way from a certificate to an anchor. `level`: CAs below the one that is looked for.
    fn above(&mut self, below: &X509Certificate<'_>, level: u32) -> Result<(), ChainError> {
        let mut refused = ChainError::UnknownCa;
        for index in 0..self.issuers.len() {
            let issuer = &self.issuers[index];
            if issuer.certificate.subject().as_raw() != below.issuer().as_raw() {
                continue;
            }
            self.signatures += 1;
            if self.signatures > MAX_SIGNATURES || level >= MAX_LEVELS {
                return Err(ChainError::Limit);
            }
            if !is_signed_by(below, issuer.der) {
                refused = ChainError::BadSignature;
            } else if let Err(e) = issuer.may_vouch(level, self.at) {
                refused = e;
            } else {
                self.keys.push(key_of(&issuer.certificate));
                if issuer.trusted {
                    return Ok(());
                }
                let certificate = issuer.certificate.clone();
                match self.above(&certificate, level + 1) {
                    Ok(()) => return Ok(()),
                    Err(e) => refused = e,
                }
                self.keys.pop();
            }
        }
        Err(refused)
    }
}

impl Issuer<'_> {
    fn may_vouch(&self, level: u32, at: Timestamp) -> Result<(), ChainError> {
        let certificate = &self.certificate;
        is_valid(certificate, at)?;
        let constraints = certificate.basic_constraints().map_err(|_| ChainError::Malformed)?;
        let constraints = constraints.filter(|c| c.value.ca).ok_or(ChainError::NotACa)?;
        anchors::may_issue(certificate).map_err(|_| ChainError::NotACa)?;
        if constraints.value.path_len_constraint.is_some_and(|most| level > most) {
            return Err(ChainError::PathTooLong);
        }
        let extended = certificate.extended_key_usage().map_err(|_| ChainError::Malformed)?;
        if extended.is_some_and(|e| !e.value.code_signing) {
            return Err(ChainError::Usage);
        }
        match certificate.name_constraints() {
            Ok(None) => Ok(()),
            _ => Err(ChainError::Unsupported("name constraints above a signer marked as a CA".into())),
        }
    }
}

fn is_valid(certificate: &X509Certificate<'_>, at: Timestamp) -> Result<(), ChainError> {
    let (from, until) = (moment(certificate.validity().not_before), moment(certificate.validity().not_after));
    if at < from {
        Err(ChainError::NotYetValid(from))
    } else if at > until {
        Err(ChainError::Expired(until))
    } else {
        Ok(())
    }
}

/// By any algorithm of webpki that fits the issuer's key. Reading the issuer, webpki refuses critical extensions that it does not
/// know.
fn is_signed_by(certificate: &X509Certificate<'_>, issuer: &CertificateDer<'_>) -> bool {
    let Ok(issuer) = EndEntityCert::try_from(issuer) else { return false };
    let (message, signature) = (certificate.tbs_certificate.as_ref(), &*certificate.signature_value.data);
    webpki::ALL_VERIFICATION_ALGS
        .iter()
        .any(|algorithm| issuer.verify_signature(*algorithm, message, signature).is_ok())
}

fn key_of(certificate: &X509Certificate<'_>) -> KeyId {
    KeyId(sha256(certificate.public_key().raw).0)
}
