//! TLS as both ends speak it: version 1.3 only, one cipher suite, the hybrid post-quantum group first, and no resumption.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{AlertDescription, CertificateError, ClientConfig, CommonState, NamedGroup, RootCertStore};

use super::key::PrivateKey;
use crate::error::{Error, ErrorId, Result};
use crate::names::Clock;
use crate::net::own_provider;

/// gRPC is HTTP/2.
pub(super) const ALPN: &[u8] = b"h2";

/// Our clock as rustls wants it, so that expiry is testable.
pub(super) struct VaultTime(pub Arc<dyn Clock>);

impl fmt::Debug for VaultTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultTime")
    }
}

impl TimeProvider for VaultTime {
    /// Before 1970 there is no time, and no handshake.
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_secs()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// The pinned CA and nothing else.
pub(super) fn roots(ca: &[u8]) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(ca.to_vec()))
        .map_err(|e| Error::new(ErrorId::BadCredential, format!("the CA certificate cannot be used: {e}")))?;
    Ok(Arc::new(roots))
}

/// How a client connects to a vault: it trusts one CA, and shows its certificate if it has one.
#[derive(Clone)]
pub struct ClientTls(Arc<ClientConfig>);

impl ClientTls {
    /// `ca` is DER; `own` is the workload's certificate (DER) and its key.
    ///
    /// # Errors
    /// `BadCredential` if one of them cannot be used, or certificate and key do not belong together.
    pub fn new(ca: &[u8], own: Option<(&[u8], &PrivateKey)>, clock: Arc<dyn Clock>) -> Result<Self> {
        let unusable = |e: rustls::Error| Error::new(ErrorId::BadCredential, format!("the client certificate: {e}"));
        let trusting = ClientConfig::builder_with_details(own_provider(), Arc::new(VaultTime(clock)))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(internal)?
            .with_root_certificates(roots(ca)?);
        let mut config = match own {
            None => trusting.with_no_client_auth(),
            Some((certificate, key)) => trusting
                .with_client_auth_cert(vec![CertificateDer::from(certificate.to_vec())], key.for_tls())
                .map_err(unusable)?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        // The server gives no tickets; a client that kept some would show which connections are its own.
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    /// For the connector.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

/// What a finished handshake agreed on, for the audit log and `context.pq_tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Key exchange group, as IANA writes it.
    pub group: String,
    /// Cipher suite.
    pub suite: String,
    /// Whether the key exchange holds against quantum computers.
    pub post_quantum: bool,
}

/// What this connection agreed on; `None` before the handshake has finished.
pub fn negotiated(connection: &CommonState) -> Option<Negotiated> {
    let group = connection.negotiated_key_exchange_group()?.name();
    let suite = connection.negotiated_cipher_suite()?.suite();
    Some(Negotiated {
        group: format!("{group:?}"),
        suite: format!("{suite:?}"),
        post_quantum: group == NamedGroup::X25519MLKEM768,
    })
}

/// What went wrong with a connection, seen from the client: which side's certificate, or something else.
pub fn tls_error(e: io::Error) -> Error {
    use AlertDescription as Alert;
    let of_tls = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (id, message, hint) = match of_tls {
        Some(rustls::Error::InvalidCertificate(why)) => {
            let why_hint = match why {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "this is not the vault of the enrolment, or someone stands between; do not enrol anew before you know"
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "the server's certificate ran out, or the clock of this machine is wrong"
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "use a host name or address that the server's certificate names"
                }
                _ => "the server does not prove that it is the vault of this enrolment",
            };
            (ErrorId::BadCredential, format!("the server's certificate is not accepted: {why}"), Some(why_hint))
        }
        Some(rustls::Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError),
        )) => (
            ErrorId::BadCredential,
            format!("the server does not accept the client certificate ({alert:?})"),
            Some("renew it (vault workload renew DIR), or enrol the workload with this vault"),
        ),
        Some(other) => (ErrorId::Unreachable, format!("no secure connection: {other}"), None),
        None => (ErrorId::Unreachable, e.to_string(), None),
    };
    let error = Error::new(id, message);
    match hint {
        Some(hint) => error.hint(hint).caused_by(e),
        None => error.caused_by(e),
    }
}

pub(super) fn internal(e: rustls::Error) -> Error {
    Error::new(ErrorId::Internal, format!("TLS cannot be set up: {e}")).caused_by(e)
}
