//! What the verifier holds: certificates of CAs, and their revocation lists.

use std::fmt;

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{CertRevocationList, OwnedCertRevocationList, VerifiedPath, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use super::{MAX_CERTIFICATE_BYTES, marked, moment};
use crate::crypto::hash::sha256;
use crate::crypto::pem;
use crate::error::{Error, ErrorId, Result};
use crate::names::{KeyId, Timestamp};

/// Most CAs at once.
const MAX_ANCHORS: usize = 512;
/// Most revocation lists, and most bytes of one: the longest of public CAs have 10 MB.
const MAX_LISTS: usize = 64;
const MAX_LIST_BYTES: usize = 32 << 20;

/// Certificates of trusted CAs, roots or not.
#[derive(Clone, Default)]
pub struct Anchors {
    trusted: Vec<TrustAnchor<'static>>,
    facts: Vec<Facts>,
    /// Self-signed certificates of signers, which are no CAs.
    signers: Vec<Vec<u8>>,
}

/// What a certificate says of itself, which a webpki anchor does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    der: Vec<u8>,
    key: KeyId,
    not_before: Timestamp,
    not_after: Timestamp,
    path_len: Option<u32>,
}

impl Anchors {
    /// From a PEM file of one or more CA certificates.
    ///
    /// # Errors
    /// `ConfigInvalid` if there is none, or anything else in it.
    pub fn from_pem(text: &[u8]) -> Result<Self> {
        let sections = pem::sections(text).map_err(|e| invalid(e.to_string()))?;
        if sections.iter().any(|section| section.label != "CERTIFICATE") {
            return Err(invalid("not only certificates".into()));
        }
        let ders = sections.iter().map(|section| section.decode().map_err(|e| invalid(e.to_string())));
        Self::from_der(&ders.collect::<Result<Vec<_>>>()?)
    }

    /// From DER certificates.
    ///
    /// # Errors
    /// `ConfigInvalid` if there is none, or one is not the certificate of a CA.
    pub fn from_der(certificates: &[impl AsRef<[u8]>]) -> Result<Self> {
        if certificates.is_empty() || certificates.len() > MAX_ANCHORS {
            return Err(invalid(format!("not 1 to {MAX_ANCHORS} certificates")));
        }
        let mut anchors = Self::default();
        for der in certificates {
            anchors.add(der.as_ref())?;
        }
        Ok(anchors)
    }

    /// The certificates, in DER.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.facts.iter().map(|facts| &facts.der[..]).chain(self.signers.iter().map(|der| &der[..]))
    }

    /// Whether this is the certificate of a signer that is trusted as it is.
    pub(super) fn has_signer(&self, der: &[u8]) -> bool {
        self.signers.iter().any(|signer| signer == der)
    }

    /// The ids of their keys.
    pub fn keys(&self) -> impl Iterator<Item = KeyId> {
        let signers = self.signers.iter().filter_map(|der| {
            // They were parsed when they were taken in.
            let (_, parsed) = X509Certificate::from_der(der).ok()?;
            Some(KeyId(sha256(parsed.public_key().raw).0))
        });
        self.facts.iter().map(|facts| facts.key).chain(signers)
    }

    fn add(&mut self, der: &[u8]) -> Result<()> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| invalid("not X.509".into()))?;
        if !rest.is_empty() || der.len() > MAX_CERTIFICATE_BYTES {
            return Err(invalid("not X.509, or too long".into()));
        }
        if marked::signs_code_alone(&parsed) && marked::is_self_signed(&parsed, &CertificateDer::from(der)) {
            self.signers.push(der.to_vec());
            return Ok(());
        }
        let constraints = parsed.basic_constraints().ok().flatten().map(|extension| extension.value);
        let Some(constraints) = constraints.filter(|c| c.ca) else {
            return Err(invalid(format!("not of a CA: {:?}", parsed.subject().to_string()))
                .hint("trust the public key of a signer instead of its own certificate"));
        };
        may_issue(&parsed)?;
        let certificate = CertificateDer::from(der);
        let trusted = anchor_from_trusted_cert(&certificate).map_err(|e| invalid(e.to_string()))?;
        self.trusted.push(trusted.to_owned());
        self.facts.push(Facts {
            der: der.to_vec(),
            key: KeyId(sha256(parsed.public_key().raw).0),
            not_before: moment(parsed.validity().not_before),
            not_after: moment(parsed.validity().not_after),
            path_len: constraints.path_len_constraint,
        });
        Ok(())
    }

    pub(super) fn trusted(&self) -> &[TrustAnchor<'static>] {
        &self.trusted
    }

    /// Holds the anchor of a path to its own certificate: validity and path length.
    pub(super) fn check(&self, path: &VerifiedPath<'_>, time: UnixTime) -> Result<(), webpki::Error> {
        let facts = self.of(path).ok_or(webpki::Error::UnknownIssuer)?;
        let unix = |t: Timestamp| UnixTime::since_unix_epoch(t.since(Timestamp::from_millis(0)));
        let (not_before, not_after) = (unix(facts.not_before), unix(facts.not_after));
        let intermediates = path.intermediate_certificates().count();
        if time < not_before {
            Err(webpki::Error::CertNotValidYet { time, not_before })
        } else if time > not_after {
            Err(webpki::Error::CertExpired { time, not_after })
        } else if facts.path_len.is_some_and(|most| u32::try_from(intermediates).is_ok_and(|count| count > most)) {
            Err(webpki::Error::PathLenConstraintViolated)
        } else {
            Ok(())
        }
    }

    pub(super) fn key_of(&self, path: &VerifiedPath<'_>) -> Option<KeyId> {
        self.of(path).map(|facts| facts.key)
    }

    /// By place, not by value: a renewed root has name and key of the old one.
    fn of(&self, path: &VerifiedPath<'_>) -> Option<&Facts> {
        self.trusted.iter().zip(&self.facts).find(|(trusted, _)| std::ptr::eq(*trusted, path.anchor())).map(|(_, f)| f)
    }
}

impl PartialEq for Anchors {
    fn eq(&self, other: &Self) -> bool {
        self.facts == other.facts && self.signers == other.signers
    }
}
impl Eq for Anchors {}

impl fmt::Debug for Anchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.facts.iter().map(|facts| facts.key)).finish()
    }
}

/// That a key usage which is there lets the key sign certificates (RFC 5280, 4.2.1.3).
pub(super) fn may_issue(certificate: &X509Certificate<'_>) -> Result<()> {
    match certificate.key_usage() {
        Ok(usage) if usage.as_ref().is_none_or(|usage| usage.value.key_cert_sign()) => Ok(()),
        _ => Err(invalid("its key may not sign certificates".into())),
    }
}

/// Revocation lists of CAs (RFC 5280, section 5), newest first.
#[derive(Default)]
pub struct Revocations(Vec<(Timestamp, CertRevocationList<'static>)>);

impl Revocations {
    /// No lists: revocation is not looked at.
    pub const NONE: &Self = &Self(Vec::new());

    /// Adds the lists of a file: PEM sections `X509 CRL`, or one list in DER. Of two lists of one CA the newer counts.
    ///
    /// # Errors
    /// `ConfigInvalid` for anything else, and for lists of version 1 and delta lists.
    pub fn add(&mut self, file: &[u8]) -> Result<()> {
        if file.first() == Some(&crate::crypto::der::SEQUENCE) {
            return self.add_der(file);
        }
        let sections = pem::sections(file).map_err(|e| invalid_list(e.to_string()))?;
        if sections.is_empty() || sections.iter().any(|section| section.label != "X509 CRL") {
            return Err(invalid_list("not PEM or DER of such lists".into()));
        }
        sections.iter().try_for_each(|s| self.add_der(&s.decode().map_err(|e| invalid_list(e.to_string()))?))
    }

    fn add_der(&mut self, der: &[u8]) -> Result<()> {
        if self.0.len() == MAX_LISTS || der.len() > MAX_LIST_BYTES {
            return Err(invalid_list(format!("more than {MAX_LISTS}, or one of more than {MAX_LIST_BYTES} bytes")));
        }
        let (_, parsed) = CertificateRevocationList::from_der(der).map_err(|_| invalid_list("not DER".into()))?;
        let list = OwnedCertRevocationList::from_der(der).map_err(|e| invalid_list(e.to_string()))?;
        self.0.push((moment(parsed.last_update()), list.into()));
        // webpki takes the first list that is of the right CA.
        self.0.sort_by_key(|(made, _)| std::cmp::Reverse(*made));
        Ok(())
    }

    pub(super) fn lists(&self) -> Vec<&CertRevocationList<'static>> {
        self.0.iter().map(|(_, list)| list).collect()
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(made, _)| made)).finish()
    }
}

fn invalid(why: String) -> Error {
    Error::new(ErrorId::ConfigInvalid, format!("CA certificates: {why}"))
        .hint("give the certificates of the CAs to trust, in PEM and nothing else")
}

fn invalid_list(why: String) -> Error {
    Error::new(ErrorId::ConfigInvalid, format!("revocation lists: {why}"))
        .hint("give lists of version 2 with their next update, in PEM or DER")
}
