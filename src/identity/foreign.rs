//! Other trust domains: their authorities, and the check of a client's certificate against those of the domain that it names.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

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
use crate::error::{Error, ErrorId, Result};
use crate::home::read_bounded;
use crate::json::{self, Value};
use crate::names::Timestamp;
use crate::net::public_provider;

const MAX_BUNDLE_BYTES: u64 = 1 << 20;
const MAX_AUTHORITIES: usize = 64;
/// Trust domains that one agent may tell of.
const MAX_TOLD: usize = 256;

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
    all_of_cas(found)
}

/// The same of certificates that stand one after another in DER.
fn authorities_in_der(mut der: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let bad = |why: &str| Error::new(ErrorId::ConfigInvalid, format!("the trust bundle {why}"));
    let mut found = Vec::new();
    while !der.is_empty() && found.len() <= MAX_AUTHORITIES {
        let (rest, _) = X509Certificate::from_der(der).map_err(|_| bad("is not DER"))?;
        let (certificate, others) = der.split_at(der.len() - rest.len());
        found.push(CertificateDer::from(certificate.to_vec()));
        der = others;
    }
    all_of_cas(found)
}

fn all_of_cas(found: Vec<CertificateDer<'static>>) -> Result<Vec<CertificateDer<'static>>> {
    let bad = |why: &str| Error::new(ErrorId::ConfigInvalid, format!("the trust bundle {why}"));
    if found.is_empty() || found.len() > MAX_AUTHORITIES {
        return Err(bad("holds no certificate, or more than 64"));
    }
    let is_ca = |der: &CertificateDer<'_>| {
        X509Certificate::from_der(der).is_ok_and(|(rest, certificate)| rest.is_empty() && certificate.is_ca())
    };
    if found.iter().all(is_ca) { Ok(found) } else { Err(bad("holds a certificate of no CA")) }
}

/// What SPIFFE agents said last, by their sockets. Clones share it.
#[derive(Clone, Debug)]
pub struct AgentBundles {
    away: Duration,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    /// Goes up with each change.
    number: u64,
    agents: HashMap<PathBuf, Agent>,
}

#[derive(Debug, Default)]
struct Agent {
    /// DER, by trust domain.
    bundles: HashMap<String, Vec<u8>>,
    since: Option<Instant>,
}

impl AgentBundles {
    /// `away`: for how long what an agent said holds when it is gone.
    pub fn new(away: Duration) -> Self {
        Self { away, told: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent says all it has to say: what it said before counts no more. Ids are `spiffe://DOMAIN`.
    pub fn say<'a>(&self, socket: &Path, bundles: impl Iterator<Item = (&'a str, &'a [u8])>) {
        let named = |id: &str| id.strip_prefix("spiffe://").map(|id| id.trim_end_matches('/').to_owned());
        let bundles = bundles.filter_map(|(id, der)| Some((named(id)?, der.to_vec()))).take(MAX_TOLD).collect();
        let mut told = self.lock();
        told.agents.insert(socket.to_owned(), Agent { bundles, since: None });
        told.number += 1;
    }

    /// An agent is gone.
    pub fn away(&self, socket: &Path) {
        if let Some(agent) = self.lock().agents.get_mut(socket) {
            agent.since.get_or_insert_with(Instant::now);
        }
    }

    /// Forgets what agents elsewhere said.
    pub fn keep(&self, sockets: &[PathBuf]) {
        self.lock().agents.retain(|socket, _| sockets.contains(socket));
    }

    /// The number of what is told now; what was told too long ago is forgotten first.
    fn number(&self) -> u64 {
        let mut told = self.lock();
        let before = told.agents.len();
        told.agents.retain(|socket, agent| {
            let holds = agent.since.is_none_or(|since| since.elapsed() < self.away);
            if !holds {
                tracing::warn!(socket = %socket.display(), "a SPIFFE agent is gone for too long; its domains are not trusted");
            }
            holds
        });
        if told.agents.len() != before {
            told.number += 1;
        }
        told.number
    }

    fn of(&self, socket: &Path, domain: &str) -> Option<Vec<u8>> {
        self.lock().agents.get(socket)?.bundles.get(domain).cloned()
    }
}

/// Looks after the bundles of the trust domains in force: those in files are read again when they change.
#[derive(Debug, Default)]
pub struct Bundles {
    version: Option<u64>,
    agents: u64,
    files: HashMap<PathBuf, Option<(SystemTime, u64)>>,
    held: HashMap<String, Vec<CertificateDer<'static>>>,
}

/// Authorities by trust domain.
pub type Authorities = HashMap<String, Vec<CertificateDer<'static>>>;

impl Bundles {
    /// The authorities of all domains, if anything has changed. A file that is there and makes no sense (half of it is written
    /// yet) leaves those that it held before in force. With a file that is gone or cannot be read they are gone, and with a domain
    /// that is configured no more.
    pub fn refresh(&mut self, version: u64, issuers: &Issuers, agents: &AgentBundles) -> Option<Authorities> {
        let stamp = |path: &PathBuf| {
            let facts = std::fs::metadata(path).ok()?;
            Some((facts.modified().ok()?, facts.len()))
        };
        let files = issuers.trust_domains().iter().filter_map(|domain| match &domain.bundle {
            Bundle::File(path) => Some((path.clone(), stamp(path))),
            Bundle::Inline(_) | Bundle::Agent(_) => None,
        });
        let files: HashMap<_, _> = files.collect();
        let number = agents.number();
        if self.version == Some(version) && self.files == files && self.agents == number {
            return None;
        }
        let mut fresh = HashMap::new();
        for domain in issuers.trust_domains() {
            let name = &domain.trust_domain;
            let text = match &domain.bundle {
                Bundle::Inline(text) => Ok(text.as_bytes().to_vec()),
                Bundle::File(path) => {
                    read_bounded(path, MAX_BUNDLE_BYTES).map_err(|e| Error::from(e).on(path.display()))
                }
                // What an agent says that makes no sense is nothing said.
                agent @ Bundle::Agent(_) => {
                    let told = agent.agent().and_then(|socket| agents.of(&socket, name));
                    match told.map(|der| authorities_in_der(&der)) {
                        Some(Ok(authorities)) => drop(fresh.insert(name.clone(), authorities)),
                        Some(Err(e)) => tracing::error!(error = %e, domain = name, "what a SPIFFE agent said"),
                        None => tracing::warn!(domain = name, "no SPIFFE agent tells the authorities of this domain"),
                    }
                    continue;
                }
            };
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
        (self.version, self.files, self.agents, self.held) = (Some(version), files, number, fresh.clone());
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
    /// Puts these in force, and no others. Of a domain whose authorities cannot be used nobody is trusted; that is no matter of the others.
    pub fn replace(&self, all: Authorities) {
        let verifier = |authorities: Vec<CertificateDer<'static>>| -> Result<Arc<dyn ClientCertVerifier>> {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(authorities);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), public_provider()).build();
            verifier.map(|v| v as _).map_err(|e| Error::new(ErrorId::ConfigInvalid, format!("a trust bundle: {e}")))
        };
        let usable = |(domain, authorities)| match verifier(authorities) {
            Ok(verifier) => Some((domain, verifier)),
            Err(e) => {
                tracing::error!(error = %e, domain, "the authorities of a trust domain cannot be used: nobody of it is trusted");
                None
            }
        };
        let verifiers = all.into_iter().filter_map(usable).collect();
        let mut in_force = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *in_force = InForce { number: in_force.number + 1, verifiers };
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
