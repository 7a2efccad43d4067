//! What a client certificate says once rustls has verified its chain: which workload, which serial number, until when.

use std::fmt;
use std::str::FromStr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::key::is_p256_spki;
use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId, Result};
use crate::names::{Name, Principal, Sha256, Timestamp, VaultId};

/// The serial number of a certificate of the embedded CA: 16 random bytes, the first from 0x40 to 0x7f.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(pub [u8; 16]);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| {
            Error::new(ErrorId::InvalidArgument, format!("not a certificate's serial number: {text:?}"))
        })?;
        Ok(Self(bytes))
    }
}

/// `spiffe://<vault id>.modelvault/<namespace>/<name>` (docs/trust.md 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiffeId {
    /// The vault whose CA vouches; its id makes the trust domain.
    pub vault: VaultId,
    /// The workload's namespace.
    pub namespace: Name,
    /// The workload.
    pub name: Name,
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}.modelvault/{}/{}", self.vault, self.namespace, self.name)
    }
}

impl FromStr for SpiffeId {
    type Err = Error;

    /// Exactly the form that is printed: one workload has one id.
    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (domain, path) = text.strip_prefix("spiffe://")?.split_once('/')?;
            let (namespace, name) = path.split_once('/')?;
            let id = Self {
                vault: domain.strip_suffix(".modelvault")?.parse().ok()?,
                namespace: namespace.parse().ok()?,
                name: name.parse().ok()?,
            };
            (id.to_string() == text).then_some(id)
        };
        parse().ok_or_else(|| refused(format!("not a SPIFFE id of a vault: {text:?}")))
    }
}

/// The facts of a workload's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whom it names.
    pub id: SpiffeId,
    /// Its serial number: what a revocation may name.
    pub serial: Serial,
    /// SHA-256 of the DER SubjectPublicKeyInfo: what a session is bound to.
    pub spki_sha256: Sha256,
    /// Valid from this moment.
    pub not_before: Timestamp,
    /// Valid through this second.
    pub not_after: Timestamp,
}

impl PeerCertificate {
    /// Reads a certificate that names a workload of any vault. Does not verify who signed it.
    ///
    /// # Errors
    /// `BadCredential` unless it is a P-256 end-entity certificate for client authentication with one name, a SPIFFE id.
    pub fn parse(der: &[u8]) -> Result<Self> {
        let malformed = || refused("not an X.509 certificate".into());
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| malformed())?;
        if !rest.is_empty() {
            return Err(refused("bytes after the certificate".into()));
        }
        let names = certificate.subject_alternative_name().map_err(|_| malformed())?;
        let names = names.map_or(&[][..], |san| &san.value.general_names);
        let [GeneralName::URI(uri)] = names else {
            return Err(refused("a workload's certificate has exactly one name, its SPIFFE id".into()));
        };
        let id = uri.parse()?;
        let usage = certificate.extended_key_usage().map_err(|_| malformed())?;
        if certificate.is_ca() || !usage.is_some_and(|u| u.value.client_auth) {
            return Err(refused("not a certificate for a client".into()));
        }
        let spki = certificate.public_key().raw;
        if !is_p256_spki(spki) {
            return Err(refused("not a certificate for a P-256 key".into()));
        }
        let serial = certificate.raw_serial().try_into().map_err(|_| refused("a foreign serial number".into()))?;
        let moment = |t: x509_parser::time::ASN1Time| Timestamp::from_millis(t.timestamp().saturating_mul(1000));
        Ok(Self {
            id,
            serial: Serial(serial),
            spki_sha256: sha256(spki),
            not_before: moment(certificate.validity().not_before),
            not_after: moment(certificate.validity().not_after),
        })
    }

    /// The same, of a workload of this vault.
    ///
    /// # Errors
    /// Also `BadCredential` for the trust domain of another vault.
    pub fn of_vault(der: &[u8], vault: VaultId) -> Result<Self> {
        let peer = Self::parse(der)?;
        if peer.id.vault != vault {
            return Err(refused(format!("{} belongs to another vault", peer.id)));
        }
        Ok(peer)
    }

    /// Who it is.
    pub fn principal(&self) -> Principal {
        Principal::workload(self.id.namespace.clone(), &self.id.name)
    }

    /// Whether it is valid at `now`. rustls asks this once, in the handshake; a long connection must ask again.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now.as_secs() <= self.not_after.as_secs()
    }
}

fn refused(why: String) -> Error {
    Error::new(ErrorId::BadCredential, why)
        .hint("enrol the workload with this vault: vault workload enroll NAME -o DIR")
}
