//! Other trust domains: their authorities, and the check of a client's certificate against those of the domain that it names.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::issuers::{Bundle, Issuers};
use super::peer::{ClientCertificate, ForeignCertificate};
use super::tls;
use crate::error::{Error, ErrorId, Result};
use crate::home::read_bounded;
use crate::json::{self, Value};
use crate::names::Timestamp;

const MAX_BUNDLE_BYTES: u64 = 1 << 20;
const MAX_AUTHORITIES: usize = 64;

/// The authorities in a trust bundle: PEM, or the JSON of SPIFFE.
///
/// # Errors
/// `ConfigInvalid` if there is none, are too many, or one is no certificate of a CA.
pub(super) fn authorities(text: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let bad = |why: &str| Error::new(ErrorId::ConfigInvalid, format!("the trust bundle {why}"));
    let found: Vec<CertificateDer<'static>> = if text.trim_ascii_start().starts_with(b"{") {
        let set = json::parse(text, 8).map_err(|e| bad(&format!("is not JSON: {e}")))?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or_else(|| bad("has no list of keys"))?;
        let of_certificates = keys.iter().filter(|key| key.get("use").and_then(Value::as_str) == Some("x509-svid"));
        let decode = |key: &Value| match key.get("x5c").and_then(Value::as_array) {
            Some([Value::String(der)]) => STANDARD.decode(der).ok().map(CertificateDer::from),
            _ => None,
        };
        let decoded =
            of_certificates.map(|key| decode(key).ok_or_else(|| bad("has a key without its one certificate")));
        decoded.collect::<Result<_>>()?
    } else {
        let sections = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>();
        sections.map_err(|_| bad("is neither PEM nor JSON"))?
    };
    if found.is_empty() || found.len() > MAX_AUTHORITIES {
        return Err(bad("holds no certificate, or more than 64"));
    }
    let is_ca = |der: &CertificateDer<'_>| {
        X509Certificate::from_der(der).is_ok_and(|(rest, certificate)| rest.is_empty() && certificate.is_ca())
    };
    if found.iter().all(is_ca) { Ok(found) } else { Err(bad("holds a certificate of no CA")) }
}

/// Looks after the bundles of the trust domains in force: those in files are read again when they change.
#[derive(Debug, Default)]
pub struct Bundles {
    version: Option<u64>,
    files: HashMap<PathBuf, Option<(SystemTime, u64)>>,
    held: HashMap<String, Vec<CertificateDer<'static>>>,
}

/// Authorities by trust domain.
pub type Authorities = HashMap<String, Vec<CertificateDer<'static>>>;

impl Bundles {
    /// The authorities of all domains, if anything has changed. A file that is there and makes no sense (half of it is written
    /// yet) leaves those that it held before in force. With a file that is gone or cannot be read they are gone, and with a domain
    /// that is configured no more.
    pub fn refresh(&mut self, version: u64, issuers: &Issuers) -> Option<Authorities> {
        let stamp = |path: &PathBuf| {
            let facts = std::fs::metadata(path).ok()?;
            Some((facts.modified().ok()?, facts.len()))
        };
        let files = issuers.trust_domains().iter().filter_map(|domain| match &domain.bundle {
            Bundle::File(path) => Some((path.clone(), stamp(path))),
            Bundle::Inline(_) => None,
        });
        let files: HashMap<_, _> = files.collect();
        if self.version == Some(version) && self.files == files {
            return None;
        }
        let mut fresh = HashMap::new();
        for domain in issuers.trust_domains() {
            let text = match &domain.bundle {
                Bundle::Inline(text) => Ok(text.as_bytes().to_vec()),
                Bundle::File(path) => {
                    read_bounded(path, MAX_BUNDLE_BYTES).map_err(|e| Error::from(e).on(path.display()))
                }
            };
            let name = &domain.trust_domain;
            let of_domain = match text.map(|text| authorities(&text)) {
                Ok(Ok(authorities)) => Some(authorities),
                Ok(Err(e)) => {
                    tracing::error!(error = %e, domain = name, "a trust bundle makes no sense; what it held before holds");
                    self.held.get(name).cloned()
                }
                Err(e) => {
                    tracing::warn!(error = %e, domain = name, "a trust bundle is gone, and nobody of its domain is trusted");
                    None
                }
            };
            if let Some(authorities) = of_domain {
                fresh.insert(name.clone(), authorities);
            }
        }
        (self.version, self.files, self.held) = (Some(version), files, fresh.clone());
        Some(fresh)
    }
}

/// The authorities of other trust domains that are in force: asked at each handshake, and again about certificates that passed
/// one when they have changed since. Clones share them.
#[derive(Clone, Default)]
pub struct TrustDomains(Arc<RwLock<InForce>>);

#[derive(Default)]
struct InForce {
    /// Goes up with each change.
    number: u64,
    verifiers: HashMap<String, Arc<dyn ClientCertVerifier>>,
}

impl TrustDomains {
    /// Puts these in force, and no others.
    ///
    /// # Errors
    /// `ConfigInvalid` if some cannot be used; then all stays as it is.
    pub fn replace(&self, all: Authorities) -> Result<()> {
        let verifier = |authorities: Vec<CertificateDer<'static>>| -> Result<Arc<dyn ClientCertVerifier>> {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(authorities);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::public_provider()).build();
            verifier.map(|v| v as _).map_err(|e| Error::new(ErrorId::ConfigInvalid, format!("a trust bundle: {e}")))
        };
        let fresh = all.into_iter().map(|(domain, authorities)| Ok((domain, verifier(authorities)?)));
        let verifiers = fresh.collect::<Result<_>>()?;
        let mut in_force = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *in_force = InForce { number: in_force.number + 1, verifiers };
        Ok(())
    }

    fn of(&self, domain: &str) -> Option<(u64, Arc<dyn ClientCertVerifier>)> {
        let in_force = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some((in_force.number, Arc::clone(in_force.verifiers.get(domain)?)))
    }

    /// Whether what a client showed would pass the handshake still.
    pub fn pass(&self, shown: &ShownChain, now: Timestamp) -> bool {
        let Some((number, verifier)) = self.of(&shown.domain) else { return false };
        if shown.passed.load(Ordering::Acquire) == number {
            return true;
        }
        let [leaf, intermediates @ ..] = &shown.certificates[..] else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_secs()).unwrap_or(0)));
        let passes = verifier.verify_client_cert(leaf, intermediates, now).is_ok();
        if passes {
            shown.passed.store(number, Ordering::Release);
        }
        passes
    }
}

impl fmt::Debug for TrustDomains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustDomains")
    }
}

/// The certificates that a client of another trust domain showed at the handshake.
#[derive(Debug)]
pub struct ShownChain {
    domain: String,
    certificates: Vec<CertificateDer<'static>>,
    /// The number of the authorities that they passed last.
    passed: AtomicU64,
}

impl ShownChain {
    /// Of this client.
    pub fn of(client: &ForeignCertificate) -> Self {
        let certificates = client.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        Self { domain: client.id.trust_domain().to_owned(), certificates, passed: AtomicU64::new(0) }
    }
}

/// Holds a certificate to the authorities of the trust domain that it names: those of one vouch for nobody of another.
pub(super) struct ByDomain {
    own: Arc<dyn ClientCertVerifier>,
    foreign: TrustDomains,
}

impl ByDomain {
    pub(super) fn new(own: Arc<dyn ClientCertVerifier>, foreign: TrustDomains) -> Self {
        Self { own, foreign }
    }

    fn of(&self, end_entity: &CertificateDer<'_>) -> Arc<dyn ClientCertVerifier> {
        let domain = ClientCertificate::trust_domain(end_entity).ok();
        let foreign = domain.and_then(|domain| self.foreign.of(&domain));
        foreign.map_or_else(|| Arc::clone(&self.own), |(_, verifier)| verifier)
    }
}

impl ClientCertVerifier for ByDomain {
    fn client_auth_mandatory(&self) -> bool {
        self.own.client_auth_mandatory()
    }

    /// None: a client of another domain must not think that its certificate is not wanted.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.of(end_entity).verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.own.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.own.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.own.supported_verify_schemes()
    }
}

impl fmt::Debug for ByDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByDomain")
    }
}
