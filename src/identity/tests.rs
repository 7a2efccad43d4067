//! What identity promises: who gets in over TLS, and what a certificate must be.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, SerialNumber};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConnection, ServerConnection};

use super::*;
use crate::crypto::random::SystemRandom;
use crate::crypto::sign::SigningIdentity;
use crate::error::{Error, ErrorId};
use crate::names::{Clock, Name, Principal, PrincipalKind, Timestamp, VaultId};

const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);
const VAULT: VaultId = VaultId([0xab; 16]);
const DAY: Duration = DEFAULT_LIFETIME;

/// A clock that tests turn.
struct TestClock(AtomicI64);

impl TestClock {
    fn at(time: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(time.as_millis())))
    }

    fn set(&self, time: Timestamp) {
        self.0.store(time.as_millis(), Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn authority() -> Authority {
    Authority::create(VAULT, NOW, &SystemRandom).unwrap()
}

/// A workload's key and certificate.
fn enrol(ca: &Authority, workload: &str) -> (PrivateKey, Issued) {
    let (key, csr) = new_key_and_csr(&name(workload)).unwrap();
    let issued = ca.issue_workload(&csr, &name("default"), &name(workload), DAY, NOW, &SystemRandom).unwrap();
    (key, issued)
}

fn server_certificate(ca: &Authority) -> IssuedServer {
    ca.issue_server(&["localhost", "127.0.0.1", "::1"], DAY, NOW, &SystemRandom).unwrap()
}

/// What both ends know after a handshake in memory: the negotiated facts, and the server's view of the client.
type Outcome = Result<(Negotiated, Option<PeerCertificate>), Error>;

/// The first error of either end, as it would come out of a socket.
fn handshake(server: &ServerTls, client: &ClientTls, host: &'static str) -> Outcome {
    let mut near = ClientConnection::new(client.config(), ServerName::try_from(host).unwrap()).unwrap();
    let mut far = ServerConnection::new(server.config()).unwrap();
    run(&mut near, &mut far).map_err(|e| tls_error(io::Error::new(io::ErrorKind::InvalidData, e)))?;
    assert_eq!(near.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(near.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(far.handshake_kind(), Some(rustls::HandshakeKind::Full));
    assert_eq!(negotiated(&near), negotiated(&far));
    Ok((negotiated(&far).unwrap(), peer_of(&far, VAULT)?))
}

fn run(near: &mut ClientConnection, far: &mut ServerConnection) -> Result<(), rustls::Error> {
    let mut wire = Vec::new();
    // The client's finished message must be checked too, and anything the server says about it be heard.
    for _ in 0..8 {
        while near.wants_write() {
            near.write_tls(&mut wire).unwrap();
        }
        let mut unread = &wire[..];
        while !unread.is_empty() {
            far.read_tls(&mut unread).unwrap();
            // The client learns of a refusal by the alert.
            let verdict = far.process_new_packets();
            if verdict.is_err() {
                break;
            }
        }
        wire.clear();
        while far.wants_write() {
            far.write_tls(&mut wire).unwrap();
        }
        let mut unread = &wire[..];
        while !unread.is_empty() {
            near.read_tls(&mut unread).unwrap();
            near.process_new_packets()?;
        }
        wire.clear();
    }
    assert!(!near.is_handshaking() && !far.is_handshaking());
    Ok(())
}

#[test]
fn a_workload_connects_with_the_hybrid_group_and_is_known() {
    let (ca, clock) = (authority(), TestClock::at(NOW));
    let (key, issued) = enrol(&ca, "serve-1");
    let server = ServerTls::new(ca.certificate(), &server_certificate(&ca), clock.clone()).unwrap();
    let client = ClientTls::new(ca.certificate(), Some((&issued.certificate, &key)), clock).unwrap();
    for host in ["localhost", "127.0.0.1", "::1"] {
        let (agreed, peer) = handshake(&server, &client, host).unwrap();
        assert_eq!(
            agreed,
            Negotiated { group: "X25519MLKEM768".into(), suite: "TLS13_AES_256_GCM_SHA384".into(), post_quantum: true }
        );
        let peer = peer.unwrap();
        assert_eq!(peer.principal(), Principal::workload(name("default"), &name("serve-1")));
        assert_eq!((peer.serial, peer.spki_sha256), (issued.serial, issued.spki_sha256));
        assert_eq!((peer.not_before, peer.not_after), (issued.not_before, issued.not_after));
        assert!(peer.is_valid_at(NOW) && peer.is_valid_at(NOW.plus(DAY)));
        assert!(!peer.is_valid_at(NOW.plus(DAY + Duration::from_secs(1))));
        assert_eq!(peer.id.to_string(), format!("spiffe://{}.modelvault/default/serve-1", "ab".repeat(16)));
    }
}

#[test]
fn a_client_without_a_certificate_finishes_the_handshake_as_nobody() {
    let (ca, clock) = (authority(), TestClock::at(NOW));
    let server = ServerTls::new(ca.certificate(), &server_certificate(&ca), clock.clone()).unwrap();
    let client = ClientTls::new(ca.certificate(), None, clock).unwrap();
    let (agreed, peer) = handshake(&server, &client, "localhost").unwrap();
    assert!(agreed.post_quantum);
    assert_eq!(peer, None);
}

#[test]
fn foreign_wrong_and_expired_certificates_are_refused_by_the_server() {
    let (ca, foreign, clock) = (authority(), authority(), TestClock::at(NOW));
    let server = ServerTls::new(ca.certificate(), &server_certificate(&ca), clock.clone()).unwrap();
    let refused = |certificate: &[u8], key: &PrivateKey| {
        let client = ClientTls::new(ca.certificate(), Some((certificate, key)), clock.clone()).unwrap();
        let error = handshake(&server, &client, "localhost").unwrap_err();
        assert_eq!(error.id(), ErrorId::BadCredential, "{error}");
        assert!(error.message().contains("client certificate"), "{error}");
    };
    // A CA of the same name and vault id, with another key.
    let (key, issued) = enrol(&foreign, "serve-1");
    refused(&issued.certificate, &key);
    // A certificate for servers.
    let other_server = server_certificate(&ca);
    refused(&other_server.issued.certificate, &other_server.key);
    // The CA's own.
    refused(ca.certificate(), ca.key());
    // A self-signed one.
    let selfish = PrivateKey::generate().unwrap();
    let certificate = client_params(&[SanType::URI(uri(VAULT))]).self_signed(&selfish.pair().unwrap()).unwrap();
    refused(certificate.der(), &selfish);
    // One of a workload that has expired, and one that is not valid yet; the server's is still good.
    let (key, csr) = new_key_and_csr(&name("brief")).unwrap();
    let minute = Duration::from_secs(60);
    let brief = ca.issue_workload(&csr, &name("default"), &name("brief"), minute, NOW, &SystemRandom).unwrap();
    clock.set(NOW.plus(minute + Duration::from_secs(1)));
    refused(&brief.certificate, &key);
    clock.set(NOW);
    let later = NOW.plus(Duration::from_secs(3600));
    let early = ca.issue_workload(&csr, &name("default"), &name("brief"), DAY, later, &SystemRandom).unwrap();
    refused(&early.certificate, &key);
    // An end entity cannot vouch for others.
    let (issuer_key, issuer) = enrol(&ca, "serve-2");
    let issuer_der = CertificateDer::from(issuer.certificate.clone());
    let forged = client_params(&[SanType::URI(uri(VAULT))])
        .signed_by(
            &selfish.pair().unwrap(),
            &Issuer::from_ca_cert_der(&issuer_der, issuer_key.pair().unwrap()).unwrap(),
        )
        .unwrap();
    refused(forged.der(), &selfish);
}

#[test]
fn a_server_that_is_not_the_pinned_one_is_refused_by_the_client() {
    let (ca, foreign, clock) = (authority(), authority(), TestClock::at(NOW));
    let client = ClientTls::new(ca.certificate(), None, clock.clone()).unwrap();
    let refused = |own: &IssuedServer, host: &'static str| {
        let server = ServerTls::new(ca.certificate(), own, clock.clone()).unwrap();
        let error = handshake(&server, &client, host).unwrap_err();
        assert_eq!(error.id(), ErrorId::BadCredential, "{error}");
        assert!(error.message().contains("server's certificate"), "{error}");
    };
    refused(&server_certificate(&foreign), "localhost");
    refused(&server_certificate(&ca), "other.example");
    refused(&server_certificate(&ca), "127.0.0.2");
    // A workload cannot pose as the server.
    let (key, issued) = enrol(&ca, "localhost");
    refused(&IssuedServer { key, issued }, "localhost");
    clock.set(NOW.plus(DAY + Duration::from_secs(1)));
    refused(&server_certificate(&ca), "localhost");
}

#[test]
fn an_exchanged_certificate_is_shown_from_the_next_handshake_on() {
    let (ca, clock) = (authority(), TestClock::at(NOW));
    let server = ServerTls::new(ca.certificate(), &server_certificate(&ca), clock.clone()).unwrap();
    let client = ClientTls::new(ca.certificate(), None, clock.clone()).unwrap();
    let shown = || {
        let mut near = ClientConnection::new(client.config(), ServerName::try_from("localhost").unwrap()).unwrap();
        let mut far = ServerConnection::new(server.config()).unwrap();
        run(&mut near, &mut far).unwrap();
        near.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown();
    assert_eq!(first, shown());
    let next = server_certificate(&ca);
    server.exchange(&next).unwrap();
    assert_eq!(shown(), next.issued.certificate);
    assert_ne!(shown(), first);
    // A certificate that does not belong to its key changes nothing.
    let broken = IssuedServer { key: PrivateKey::generate().unwrap(), ..next.clone() };
    assert_eq!(server.exchange(&broken).unwrap_err().id(), ErrorId::BadCredential);
    assert_eq!(shown(), next.issued.certificate);
}

#[test]
fn an_older_client_gets_a_classical_group_and_the_connection_says_so() {
    use rustls::crypto::aws_lc_rs;
    let (ca, clock) = (authority(), TestClock::at(NOW));
    let server = ServerTls::new(ca.certificate(), &server_certificate(&ca), clock.clone()).unwrap();
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let time = Arc::new(tls::VaultTime(clock));
    let config = rustls::ClientConfig::builder_with_details(Arc::new(provider), time)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(tls::roots(ca.certificate()).unwrap())
        .with_no_client_auth();
    let mut near = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut far = ServerConnection::new(server.config()).unwrap();
    assert_eq!(negotiated(&far), None);
    run(&mut near, &mut far).unwrap();
    let agreed = negotiated(&far).unwrap();
    assert_eq!((agreed.group.as_str(), agreed.post_quantum), ("X25519", false));
    assert_eq!(agreed.suite, "TLS13_AES_256_GCM_SHA384");
}

#[test]
fn signing_requests_that_prove_nothing_or_ask_for_other_keys_are_refused() {
    let ca = authority();
    let issue = |csr: &[u8]| ca.issue_workload(csr, &name("default"), &name("w"), DAY, NOW, &SystemRandom);
    let (_, good) = new_key_and_csr(&name("w")).unwrap();
    issue(&good).unwrap();
    issue(pem::encode("CERTIFICATE REQUEST", &good).as_bytes()).unwrap();
    let mut refused: Vec<Vec<u8>> =
        vec![vec![], b"-----BEGIN X-----".to_vec(), [&good[..], &[0]].concat(), vec![0x30; 20_000]];
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let der = KeyPair::generate_for(algorithm).unwrap().serialize_der();
        assert_eq!(PrivateKey::from_pkcs8(zeroize::Zeroizing::new(der)).unwrap_err().id(), ErrorId::BadCredential);
    }
    let key = PrivateKey::generate().unwrap();
    let text = pem::encode("PRIVATE KEY", key.expose());
    let back: PrivatePkcs8KeyDer<'_> = pem::decode_one(text.as_bytes(), "key").unwrap();
    assert_eq!(back.secret_pkcs8_der(), key.expose());
}
