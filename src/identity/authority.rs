//! The embedded certificate authority: one P-256 key that vouches for workloads and for the daemon (docs/trust.md 3).

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, ServerName};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::key::{Pair, PrivateKey, internal, is_p256_spki};
use super::peer::{Serial, SessionCertificate, SpiffeId};
use crate::crypto::hash::sha256;
use crate::crypto::jws::p256_thumbprint;
use crate::crypto::pem;
use crate::error::{Error, ErrorId, Result};
use crate::names::{Name, Random, SessionId, Sha256, Timestamp, VaultId};

/// How long a workload's or server's certificate is valid when nothing else is said.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The longest anybody may ask for.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
const CA_LIFETIME: Duration = Duration::from_secs(3652 * 24 * 3600);
/// Certificates begin a little before they are made: clocks differ.
const BACKDATING: Duration = Duration::from_secs(300);
const MAX_CSR_BYTES: usize = 16 * 1024;
const MAX_HOSTS: usize = 32;

/// The CA of one vault.
#[derive(Clone)]
pub struct Authority {
    vault: VaultId,
    key: PrivateKey,
    certificate: CertificateDer<'static>,
    not_after: Timestamp,
}

/// A certificate that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// DER.
    pub certificate: Vec<u8>,
    /// Names it in a revocation.
    pub serial: Serial,
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    pub spki_sha256: Sha256,
    /// Valid from this moment.
    pub not_before: Timestamp,
    /// Valid through this second.
    pub not_after: Timestamp,
}

/// A server certificate and its key.
#[derive(Clone, Debug)]
pub struct IssuedServer {
    /// Made for this certificate alone.
    pub key: PrivateKey,
    /// The certificate.
    pub issued: Issued,
}

impl Authority {
    /// A new CA, valid for ten years. The keyring keeps [`Authority::key`] and [`Authority::certificate`].
    ///
    /// # Errors
    /// `Internal` if the system gives no random bytes.
    pub fn create(vault: VaultId, now: Timestamp, random: &dyn Random) -> Result<Self> {
        let key = PrivateKey::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&format!("Model Vault {}", &vault.to_string()[..16]));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(SerialNumber::from_slice(&fresh_serial(random)?.0));
        validity(&mut params, now, now.plus(CA_LIFETIME));
        let certificate = params.self_signed(&key.pair()?).map_err(internal)?;
        Self::load(vault, key, certificate.der())
    }

    /// The CA that was created before.
    ///
    /// # Errors
    /// `KeyringDamaged` if the certificate is no CA certificate of this key.
    pub fn load(vault: VaultId, key: PrivateKey, certificate: &[u8]) -> Result<Self> {
        let damaged = |why: &str| Error::new(ErrorId::KeyringDamaged, format!("the CA certificate: {why}"));
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| damaged("not X.509"))?;
        if !rest.is_empty() || !parsed.is_ca() {
            return Err(damaged("not one CA certificate"));
        }
        if parsed.public_key().raw != key.spki()? {
            return Err(damaged("it belongs to another key"));
        }
        let not_after = Timestamp::from_millis(parsed.validity().not_after.timestamp().saturating_mul(1000));
        Ok(Self { vault, key, certificate: CertificateDer::from(certificate.to_vec()), not_after })
    }

    /// The vault it vouches for.
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// DER of its certificate: what clients pin.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Its key, for the keyring alone.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Valid through this second.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Issues a workload's certificate. Of the signing request (DER or PEM) only the public key is used: names, usages and
    /// extensions it asks for are not.
    ///
    /// # Errors
    /// `InvalidArgument` for a request that is malformed, not signed by its own key, or not for a P-256 key, and for a
    /// lifetime of zero or above [`LONGEST_LIFETIME`]; `BadCredential` once the CA itself has expired.
    pub fn issue_workload(
        &self,
        csr: &[u8],
        namespace: &Name,
        name: &Name,
        lifetime: Duration,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Issued> {
        let spki = requested_key(csr)?;
        let id = SpiffeId { vault: self.vault, namespace: namespace.clone(), name: name.clone() };
        let uri = id.to_string().try_into().map_err(internal)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name.as_str());
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, &SubjectPublicKeyInfo::from_der(&spki).map_err(internal)?, lifetime, now, random)
    }

    /// Issues the certificate of a session, for the key of a signing request that [`csr_key`] has read.
    ///
    /// # Errors
    /// As [`Authority::issue_workload`].
    pub fn issue_session(
        &self,
        key: &CsrKey,
        session: SessionId,
        lifetime: Duration,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Issued> {
        let uri = SessionCertificate::name_of(self.vault, session).try_into().map_err(internal)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("Model Vault session");
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, &SubjectPublicKeyInfo::from_der(&key.spki).map_err(internal)?, lifetime, now, random)
    }

    /// Issues a server certificate for these host names and addresses, with a key of its own.
    ///
    /// # Errors
    /// `InvalidArgument` for no, too many or malformed hosts; as [`Authority::issue_workload`] for the rest.
    pub fn issue_server(
        &self,
        hosts: &[&str],
        lifetime: Duration,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<IssuedServer> {
        if hosts.is_empty() || hosts.len() > MAX_HOSTS {
            return Err(invalid(format!("a server certificate names 1 to {MAX_HOSTS} hosts")));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("Model Vault server");
        params.subject_alt_names = hosts.iter().map(|host| subject_of(host)).collect::<Result<_>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = PrivateKey::generate()?;
        let issued = self.issue(params, &key.pair()?, lifetime, now, random)?;
        Ok(IssuedServer { key, issued })
    }

    /// Signs an end-entity certificate. It never outlives the CA: rustls does not look at a pinned CA's own expiry.
    fn issue(
        &self,
        mut params: CertificateParams,
        public: &impl PublicKeyData,
        lifetime: Duration,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Issued> {
        if lifetime.as_secs() == 0 || lifetime > LONGEST_LIFETIME {
            return Err(invalid("a certificate is valid for between 1 second and 90 days".into()));
        }
        if now >= self.not_after {
            return Err(Error::new(ErrorId::BadCredential, format!("the vault's CA expired at {}", self.not_after)));
        }
        let serial = fresh_serial(random)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from_slice(&serial.0));
        params.use_authority_key_identifier_extension = true;
        let (not_before, not_after) = validity(&mut params, now, now.plus(lifetime).min(self.not_after));
        let issuer: Issuer<'_, Pair> =
            Issuer::from_ca_cert_der(&self.certificate, self.key.pair()?).map_err(internal)?;
        let certificate = params.signed_by(public, &issuer).map_err(internal)?;
        Ok(Issued {
            certificate: certificate.der().to_vec(),
            serial,
            spki_sha256: sha256(&public.subject_public_key_info()),
            not_before,
            not_after,
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("vault", &self.vault)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// The public key of a signing request.
#[derive(Clone, Debug)]
pub struct CsrKey {
    spki: Vec<u8>,
}

impl CsrKey {
    /// RFC 7638: what `cnf.jkt` of a token names.
    pub fn thumbprint(&self) -> Sha256 {
        // An uncompressed point stands at the end: is_p256_spki has checked that.
        let (_, point) = self.spki.split_at(self.spki.len() - 64);
        p256_thumbprint(&point[..32], &point[32..])
    }
}

/// Reads a certificate signing request (DER or PEM).
///
/// # Errors
/// `InvalidArgument` for one that is malformed, not signed by its own key, or not for a P-256 key.
pub fn csr_key(csr: &[u8]) -> Result<CsrKey> {
    Ok(CsrKey { spki: requested_key(csr)? })
}

/// The SubjectPublicKeyInfo of a request that is signed by that key.
fn requested_key(csr: &[u8]) -> Result<Vec<u8>> {
    let bad = |why: &str| invalid(format!("the certificate signing request {why}"));
    if csr.len() > MAX_CSR_BYTES {
        return Err(bad("is too long"));
    }
    let decoded;
    let der = if csr.starts_with(b"-----BEGIN ") {
        decoded = pem::one(csr, "CERTIFICATE REQUEST").map_err(|_| bad("is not one PEM section"))?;
        &decoded[..]
    } else {
        csr
    };
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| bad("is not PKCS #10"))?;
    let spki = request.certification_request_info.subject_pki.raw;
    if !rest.is_empty() {
        return Err(bad("has bytes after its end"));
    }
    if !is_p256_spki(spki) {
        return Err(bad("is not for a P-256 key"));
    }
    request.verify_signature().map_err(|_| bad("is not signed by its own key"))?;
    Ok(spki.to_vec())
}

fn subject_of(host: &str) -> Result<SanType> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let bad = || invalid(format!("not a host name or address: {host:?}"));
    match ServerName::try_from(host) {
        Ok(ServerName::DnsName(name)) => Ok(SanType::DnsName(name.as_ref().try_into().map_err(|_| bad())?)),
        _ => Err(bad()),
    }
}

fn common_name(text: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// Sets the validity, and returns it as it stands in the certificate: in whole seconds, and cut to the years 1970 to 9998,
/// so that a clock that is far off gives a useless certificate rather than a panic.
fn validity(params: &mut CertificateParams, now: Timestamp, until: Timestamp) -> (Timestamp, Timestamp) {
    const LAST_SECOND: i64 = 253_370_764_799;
    let whole = |seconds: i64| Timestamp::from_millis(seconds.clamp(0, LAST_SECOND) * 1000);
    let backdating = i64::try_from(BACKDATING.as_secs()).expect("five minutes fit");
    let (from, until) = (whole(now.as_secs().saturating_sub(backdating)), whole(until.as_secs()));
    let moment = |t: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + t.since(whole(0));
    (params.not_before, params.not_after) = (moment(from), moment(until));
    (from, until)
}

/// 16 random bytes, positive, of fixed length (RFC 5280, 4.1.2.2).
fn fresh_serial(random: &dyn Random) -> Result<Serial> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(Serial(bytes))
}

fn invalid(why: String) -> Error {
    Error::new(ErrorId::InvalidArgument, why).hint("vault workload enroll makes key and request by itself")
}
