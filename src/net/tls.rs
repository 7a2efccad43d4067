//! TLS towards others: version 1.3, the hybrid group first, and the other side verified always.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::public_provider;
use crate::crypto::pem;
use crate::error::{Error, ErrorId, Result, reason};
use crate::home::read_bounded;

/// Where distributions keep the authorities they trust, as one PEM file: Debian, Fedora, SUSE, Alpine.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// No bundle is larger; more is not read.
const BUNDLE_MAX: u64 = 8 << 20;
/// No chain or key is larger.
const IDENTITY_MAX: u64 = 256 << 10;

/// Who may vouch for the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// The authorities this system trusts.
    #[default]
    System,
    /// Those in a PEM file, and no others.
    File(PathBuf),
}

/// A client certificate: PEM files of the chain and of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, then those between it and its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How connections to others are secured. Clones share what was read.
#[derive(Clone)]
pub struct OutboundTls(Arc<ClientConfig>);

impl OutboundTls {
    /// Reads the files.
    ///
    /// # Errors
    /// `ConfigInvalid` with the file's name if one cannot be read or used.
    pub fn new(roots: &Roots, identity: Option<&ClientIdentity>) -> Result<Self> {
        let trusting = ClientConfig::builder_with_provider(public_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| Error::new(ErrorId::Internal, format!("TLS cannot be set up: {e}")).caused_by(e))?
            .with_root_certificates(store(roots)?);
        let mut config = match identity {
            None => trusting.with_no_client_auth(),
            Some(identity) => {
                let unusable = |e: rustls::Error| invalid(&identity.certificate, &e.to_string());
                let chain = certificates(&identity.certificate, IDENTITY_MAX)?;
                trusting.with_client_auth_cert(chain, private_key(&identity.key)?).map_err(unusable)?
            }
        };
        // Nobody who watches needs to see which of our connections belong together.
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    /// Secures a connection to `host`, which the certificate of the other side must name.
    pub(crate) async fn secure(&self, tcp: TcpStream, host: &str, within: Duration) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::new(ErrorId::ConfigInvalid, format!("no certificate can name {host:?}")))?;
        match tokio::time::timeout(within, TlsConnector::from(Arc::clone(&self.0)).connect(name, tcp)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(e)) => Err(refused(host, e)),
            Err(_) => Err(Error::new(ErrorId::Unreachable, format!("{host}: no TLS handshake within {within:?}"))),
        }
    }
}

impl fmt::Debug for OutboundTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutboundTls")
    }
}

/// A certificate that is not believed must not look like a network that is down.
fn refused(host: &str, e: std::io::Error) -> Error {
    let of_tls = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let (id, why) = match of_tls {
        Some(rustls::Error::InvalidCertificate(why)) => {
            (ErrorId::BadCredential, format!("its certificate is not accepted: {why}"))
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            (ErrorId::BadCredential, format!("it does not accept this connection ({alert:?})"))
        }
        Some(other) => (ErrorId::Unreachable, format!("no secure connection: {other}")),
        None => (ErrorId::Unreachable, reason(&e)),
    };
    Error::new(id, format!("{host}: {why}")).hint("check the address, the CA file and the clock").caused_by(e)
}

fn invalid(path: &Path, why: &str) -> Error {
    Error::new(ErrorId::ConfigInvalid, format!("{}: {why}", path.display()))
}

fn store(roots: &Roots) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::File(path) => {
            for certificate in certificates(path, BUNDLE_MAX)? {
                store.add(certificate).map_err(|e| invalid(path, &e.to_string()))?;
            }
        }
        Roots::System => {
            let path = SYSTEM_BUNDLES.iter().map(Path::new).find(|p| p.is_file()).ok_or_else(|| {
                Error::new(ErrorId::ConfigInvalid, "this system has no bundle of trusted authorities")
                    .hint("install ca-certificates, or name the authority's PEM file with ca")
            })?;
            // Among a hundred authorities one that cannot be used is no reason to trust none.
            store.add_parsable_certificates(certificates(path, BUNDLE_MAX)?);
        }
    }
    Ok(store)
}

fn certificates(path: &Path, max: u64) -> Result<Vec<CertificateDer<'static>>> {
    let text = read_bounded(path, max).map_err(|e| invalid(path, &reason(&e)))?;
    let sections = pem::sections(&text).map_err(|e| invalid(path, &e.to_string()))?;
    let mut found = Vec::new();
    for section in sections.iter().filter(|s| s.label == "CERTIFICATE") {
        found.push(CertificateDer::from(section.decode().map_err(|e| invalid(path, &e.to_string()))?.to_vec()));
    }
    if found.is_empty() { Err(invalid(path, "there is no certificate in it")) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let text = read_bounded(path, IDENTITY_MAX).map(zeroize::Zeroizing::new).map_err(|e| invalid(path, &reason(&e)))?;
    let sections = pem::sections(&text).map_err(|e| invalid(path, &e.to_string()))?;
    for section in &sections {
        let der = || section.decode().map_err(|e| invalid(path, &e.to_string())).map(|der| der.to_vec());
        match section.label {
            "PRIVATE KEY" => return Ok(PrivateKeyDer::Pkcs8(der()?.into())),
            "EC PRIVATE KEY" => return Ok(PrivateKeyDer::Sec1(der()?.into())),
            "RSA PRIVATE KEY" => return Ok(PrivateKeyDer::Pkcs1(der()?.into())),
            _ => {}
        }
    }
    Err(invalid(path, "there is no private key without passphrase in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        for bad in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, bad).unwrap();
            let error = OutboundTls::new(&Roots::File(path.clone()), None).unwrap_err();
            assert_eq!(error.id(), ErrorId::ConfigInvalid, "{bad:?}");
            assert!(error.message().contains("ca.pem"), "{error}");
        }
        let missing = OutboundTls::new(&Roots::File(dir.path().join("none")), None).unwrap_err();
        assert!(missing.message().ends_with("no such file or directory"), "{missing}");
    }
}
