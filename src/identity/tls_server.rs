//! TLS for the daemon: clients may come without a certificate (docs/trust.md 7), but one that is shown must be good; the
//! server's own certificate is exchanged while it runs.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, CommonState, ServerConfig};

use super::authority::IssuedServer;
use super::foreign::{ByDomain, TrustDomains};
use super::peer::{ClientCertificate, PeerCertificate};
use super::tls::{ALPN, VaultTime, internal, roots};
use crate::error::{Error, ErrorId, Result};
use crate::names::{Clock, VaultId};
use crate::net::own_provider;

/// How the daemon accepts connections. Clones share the certificate.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

impl ServerTls {
    /// `ca` (DER) verifies clients, those of other trust domains are held to `foreign`; `own` is shown to them.
    ///
    /// # Errors
    /// `BadCredential` if one of them cannot be used.
    pub fn new(ca: &[u8], own: &IssuedServer, clock: Arc<dyn Clock>, foreign: TrustDomains) -> Result<Self> {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca)?, own_provider())
            .allow_unauthenticated()
            .build()
            .map_err(|e| Error::new(ErrorId::Internal, format!("TLS cannot be set up: {e}")))?;
        let clients = Arc::new(ByDomain::new(verifier, foreign));
        let current = Arc::new(Current(RwLock::new(certified(own)?)));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Current>::clone(&current);
        let mut config = ServerConfig::builder_with_details(own_provider(), Arc::new(VaultTime(clock)))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(internal)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session would keep a client certificate alive that has since expired: every connection proves itself.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), current })
    }

    /// For the acceptor; stays the same when the certificate is exchanged.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Shows this certificate from the next handshake on. Connections that exist go on.
    ///
    /// # Errors
    /// `BadCredential` if it cannot be used; then the old one stays.
    pub fn exchange(&self, own: &IssuedServer) -> Result<()> {
        let fresh = certified(own)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

/// The workload at the other end of a finished handshake; `None`: a client without a certificate.
///
/// # Errors
/// `BadCredential` for a certificate that is not a workload's of this vault.
pub fn peer_of(connection: &CommonState, vault: VaultId) -> Result<Option<PeerCertificate>> {
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    leaf.map(|der| PeerCertificate::of_vault(der, vault)).transpose()
}

/// Whom the certificate at the other end of a finished handshake stands for; `None`: a client without one.
///
/// # Errors
/// `BadCredential` for a certificate that stands for nobody here.
pub fn client_of(connection: &CommonState, vault: VaultId) -> Result<Option<ClientCertificate>> {
    let Some((leaf, others)) = connection.peer_certificates().and_then(<[_]>::split_first) else { return Ok(None) };
    let others = others.iter().map(|der| &**der);
    Ok(Some(ClientCertificate::parse(leaf, vault)?.with_intermediates(others)))
}

/// Why a handshake failed, seen from the server: an id, and one of a few fixed phrases for the audit log.
pub fn handshake_refusal(e: &io::Error) -> (ErrorId, &'static str) {
    use CertificateError as C;
    let of_tls = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match of_tls {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            C::Expired | C::ExpiredContext { .. } => (ErrorId::BadCredential, "certificate expired"),
            C::NotValidYet | C::NotValidYetContext { .. } => (ErrorId::BadCredential, "certificate not valid yet"),
            C::UnknownIssuer | C::BadSignature => (ErrorId::BadCredential, "certificate of another authority"),
            _ => (ErrorId::BadCredential, "certificate not acceptable"),
        },
        Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => {
            (ErrorId::InvalidArgument, "no shared protocol")
        }
        Some(rustls::Error::AlertReceived(_)) => (ErrorId::BadCredential, "the client refused our certificate"),
        Some(_) => (ErrorId::InvalidArgument, "not TLS"),
        None => (ErrorId::Unreachable, "the client went away"),
    }
}

fn certified(own: &IssuedServer) -> Result<Arc<CertifiedKey>> {
    let chain = vec![CertificateDer::from(own.issued.certificate.clone())];
    CertifiedKey::from_der(chain, own.key.for_tls(), &own_provider())
        .map(Arc::new)
        .map_err(|e| Error::new(ErrorId::BadCredential, format!("the server certificate cannot be used: {e}")))
}

/// The certificate shown now.
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
