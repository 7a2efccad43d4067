//! What a client certificate says once rustls has verified its chain: which workload, which serial number, until when.

use std::fmt;
use std::str::FromStr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::key::is_p256_spki;
use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId, Result};
use crate::names::{Name, Principal, SessionId, Sha256, Timestamp, VaultId};

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
        let leaf = Leaf::parse(der)?;
        let serial = leaf.own_serial()?;
        let Leaf { name, spki_sha256, not_before, not_after, .. } = leaf;
        Ok(Self { id: name.parse()?, serial, spki_sha256, not_before, not_after })
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

/// The facts of a certificate that stands for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCertificate {
    /// The vault whose CA vouches.
    pub vault: VaultId,
    /// The session.
    pub session: SessionId,
    /// Its serial number.
    pub serial: Serial,
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    pub spki_sha256: Sha256,
    /// Valid through this second.
    pub not_after: Timestamp,
}

impl SessionCertificate {
    /// `spiffe://<vault id>.modelvault/_session/<session id>`: no workload's, because no namespace begins with `_`.
    pub(super) fn name_of(vault: VaultId, session: SessionId) -> String {
        format!("spiffe://{vault}.modelvault/_session/{session}")
    }

    /// Reads a certificate that stands for a session of any vault. Does not verify who signed it.
    ///
    /// # Errors
    /// `BadCredential` unless it is one.
    pub fn parse(der: &[u8]) -> Result<Self> {
        let leaf = Leaf::parse(der)?;
        let named = || {
            let (domain, path) = leaf.name.strip_prefix("spiffe://")?.split_once('/')?;
            let vault = domain.strip_suffix(".modelvault")?.parse().ok()?;
            let session = path.strip_prefix("_session/")?.parse().ok()?;
            (Self::name_of(vault, session) == leaf.name).then_some((vault, session))
        };
        let (vault, session) = named().ok_or_else(|| refused("not a certificate of a session".into()))?;
        let serial = leaf.own_serial()?;
        Ok(Self { vault, session, serial, spki_sha256: leaf.spki_sha256, not_after: leaf.not_after })
    }
}

/// What every client's certificate has.
struct Leaf {
    /// Its one name, a URI.
    name: String,
    serial: Vec<u8>,
    p256: bool,
    spki_sha256: Sha256,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Leaf {
    fn parse(der: &[u8]) -> Result<Self> {
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
        let usage = certificate.extended_key_usage().map_err(|_| malformed())?;
        if certificate.is_ca() || !usage.is_some_and(|u| u.value.client_auth) {
            return Err(refused("not a certificate for a client".into()));
        }
        let spki = certificate.public_key().raw;
        let moment = |t: x509_parser::time::ASN1Time| Timestamp::from_millis(t.timestamp().saturating_mul(1000));
        Ok(Self {
            name: (*uri).to_owned(),
            serial: certificate.raw_serial().to_vec(),
            p256: is_p256_spki(spki),
            spki_sha256: sha256(spki),
            not_before: moment(certificate.validity().not_before),
            not_after: moment(certificate.validity().not_after),
        })
    }

    /// The serial number of a certificate of ours, which is for a P-256 key.
    fn own_serial(&self) -> Result<Serial> {
        if !self.p256 {
            return Err(refused("not a certificate for a P-256 key".into()));
        }
        let serial = self.serial[..].try_into().map_err(|_| refused("a foreign serial number".into()))?;
        Ok(Serial(serial))
    }
}

/// Whom a verified client certificate stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// A workload that was enrolled here.
    Workload(PeerCertificate),
    /// A session of somebody who came with a token.
    Session(SessionCertificate),
    /// A workload of another trust domain.
    Foreign(ForeignCertificate),
}

/// The facts of a certificate of another trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignCertificate {
    /// Its SPIFFE id.
    pub id: ForeignId,
    /// Its serial number.
    pub serial: Vec<u8>,
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    pub spki_sha256: Sha256,
    /// Valid through this second.
    pub not_after: Timestamp,
    /// DER of it and of those that the client showed with it.
    pub chain: Vec<Vec<u8>>,
}

impl ClientCertificate {
    /// Reads a certificate whose chain was verified for the trust domain that it names.
    ///
    /// # Errors
    /// `BadCredential` unless it has exactly one name, a SPIFFE id, and names nothing of another vault.
    pub fn parse(der: &[u8], vault: VaultId) -> Result<Self> {
        if let Ok(session) = SessionCertificate::parse(der) {
            return match session.vault == vault {
                true => Ok(Self::Session(session)),
                false => Err(refused("a session of another vault".into())),
            };
        }
        let leaf = Leaf::parse(der)?;
        let id: ForeignId = leaf.name.parse()?;
        if id.is_of_a_vault() {
            return PeerCertificate::of_vault(der, vault).map(Self::Workload);
        }
        let Leaf { serial, spki_sha256, not_after, .. } = leaf;
        Ok(Self::Foreign(ForeignCertificate { id, serial, spki_sha256, not_after, chain: vec![der.to_vec()] }))
    }

    /// The same with the certificates that the client showed with it.
    #[must_use]
    pub fn with_intermediates<'a>(mut self, shown: impl IntoIterator<Item = &'a [u8]>) -> Self {
        if let Self::Foreign(foreign) = &mut self {
            foreign.chain.extend(shown.into_iter().map(Into::into));
        }
        self
    }

    /// Serial number, and SHA-256 of the SubjectPublicKeyInfo.
    pub fn key(&self) -> (Vec<u8>, Sha256) {
        match self {
            Self::Workload(c) => (c.serial.0.to_vec(), c.spki_sha256),
            Self::Session(c) => (c.serial.0.to_vec(), c.spki_sha256),
            Self::Foreign(c) => (c.serial.clone(), c.spki_sha256),
        }
    }

    /// Valid through this second.
    pub fn not_after(&self) -> Timestamp {
        match self {
            Self::Workload(c) => c.not_after,
            Self::Session(c) => c.not_after,
            Self::Foreign(c) => c.not_after,
        }
    }

    /// The trust domain that a certificate names: chooses the authorities it is held to. Nothing is verified yet.
    ///
    /// # Errors
    /// `BadCredential` unless it has exactly one name, a SPIFFE id.
    pub fn trust_domain(der: &[u8]) -> Result<String> {
        let id: ForeignId = Leaf::parse(der)?.name.parse()?;
        Ok(id.trust_domain().to_owned())
    }
}

/// A SPIFFE id of any trust domain, in the form the standard allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignId(String);

impl ForeignId {
    /// `example.org` of `spiffe://example.org/ns/prod`.
    pub fn trust_domain(&self) -> &str {
        let rest = &self.0["spiffe://".len()..];
        rest.split_once('/').map_or(rest, |(domain, _)| domain)
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_of_a_vault(&self) -> bool {
        self.trust_domain().ends_with(".modelvault")
    }

    /// Whether this can be the name of a trust domain.
    pub fn is_trust_domain(text: &str) -> bool {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        (1..=255).contains(&text.len()) && text.bytes().all(allowed)
    }
}

impl FromStr for ForeignId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let segment = |part: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed)
        };
        let parse = || {
            let (domain, path) = text.strip_prefix("spiffe://")?.split_once('/')?;
            let whole = text.len() <= 2048 && Self::is_trust_domain(domain) && path.split('/').all(segment);
            whole.then(|| Self(text.into()))
        };
        parse().ok_or_else(|| refused(format!("not a SPIFFE id: {text:?}")))
    }
}

fn refused(why: String) -> Error {
    Error::new(ErrorId::BadCredential, why)
        .hint("enrol the workload with this vault: vault workload enroll NAME -o DIR")
}
