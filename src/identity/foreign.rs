//! Other trust domains: their authorities, and the check of a client's certificate against those of the domain that it names.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

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
use super::peer::ClientCertificate;
use super::tls;
use crate::error::{Error, ErrorId, Result};
use crate::home::read_bounded;
use crate::json::{self, Value};

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
    /// The authorities of all domains, if anything has changed. A file that cannot be read or used leaves those that it held
    /// before in force; a domain that is configured no more is gone at once.
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
            let read = match &domain.bundle {
                Bundle::Inline(text) => authorities(text.as_bytes()),
                Bundle::File(path) => {
                    let text = read_bounded(path, MAX_BUNDLE_BYTES).map_err(|e| Error::from(e).on(path.display()));
                    text.and_then(|text| authorities(&text).map_err(|e| e.on(path.display())))
                }
            };
            let of_domain = read.or_else(|e| {
                tracing::error!(error = %e, domain = domain.trust_domain, "a trust bundle cannot be used");
                self.held.get(&domain.trust_domain).cloned().ok_or(e)
            });
            if let Ok(authorities) = of_domain {
                fresh.insert(domain.trust_domain.clone(), authorities);
            }
        }
        (self.version, self.files, self.held) = (Some(version), files, fresh.clone());
        Some(fresh)
    }
}

/// Holds a certificate to the authorities of the trust domain that it names: those of one vouch for nobody of another.
pub(super) struct ByDomain {
    own: Arc<dyn ClientCertVerifier>,
    foreign: RwLock<HashMap<String, Arc<dyn ClientCertVerifier>>>,
}

impl ByDomain {
    pub(super) fn new(own: Arc<dyn ClientCertVerifier>) -> Self {
        Self { own, foreign: RwLock::default() }
    }

    /// From the next handshake on.
    pub(super) fn trust(&self, all: Authorities) -> Result<()> {
        let verifier = |authorities: Vec<CertificateDer<'static>>| -> Result<Arc<dyn ClientCertVerifier>> {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(authorities);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::public_provider()).build();
            verifier.map(|v| v as _).map_err(|e| Error::new(ErrorId::ConfigInvalid, format!("a trust bundle: {e}")))
        };
        let fresh = all.into_iter().map(|(domain, authorities)| Ok((domain, verifier(authorities)?)));
        let fresh = fresh.collect::<Result<_>>()?;
        *self.foreign.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    fn of(&self, end_entity: &CertificateDer<'_>) -> Arc<dyn ClientCertVerifier> {
        let foreign = self.foreign.read().unwrap_or_else(PoisonError::into_inner);
        let domain = ClientCertificate::trust_domain(end_entity).ok();
        Arc::clone(domain.and_then(|domain| foreign.get(&domain)).unwrap_or(&self.own))
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
