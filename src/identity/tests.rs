//! What identity promises: who gets in over TLS, and what a certificate must be.

#![cfg(feature = "daemon")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, SerialNumber};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, ServerConnection};

use super::*;
use crate::crypto::pem;
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
    let server =
        ServerTls::new(ca.certificate(), &server_certificate(&ca), clock.clone(), TrustDomains::default()).unwrap();
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
    let server =
        ServerTls::new(ca.certificate(), &server_certificate(&ca), clock.clone(), TrustDomains::default()).unwrap();
    let client = ClientTls::new(ca.certificate(), None, clock).unwrap();
    let (agreed, peer) = handshake(&server, &client, "localhost").unwrap();
    assert!(agreed.post_quantum);
    assert_eq!(peer, None);
}

#[test]
fn foreign_wrong_and_expired_certificates_are_refused_by_the_server() {
    let (ca, foreign, clock) = (authority(), authority(), TestClock::at(NOW));
    let server =
        ServerTls::new(ca.certificate(), &server_certificate(&ca), clock.clone(), TrustDomains::default()).unwrap();
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
        let server = ServerTls::new(ca.certificate(), own, clock.clone(), TrustDomains::default()).unwrap();
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
    let server =
        ServerTls::new(ca.certificate(), &server_certificate(&ca), clock.clone(), TrustDomains::default()).unwrap();
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
    let server =
        ServerTls::new(ca.certificate(), &server_certificate(&ca), clock.clone(), TrustDomains::default()).unwrap();
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
    for algorithm in
        [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P521_SHA512]
    {
        let key = KeyPair::generate_for(algorithm).unwrap();
        refused.push(CertificateParams::default().serialize_request(&key).unwrap().der().to_vec());
    }
    for csr in refused {
        let outcome = issue(&csr).map(|_| ()).map_err(|e| e.id());
        assert_eq!(outcome, Err(ErrorId::InvalidArgument), "{}", hex::encode(&csr));
    }
    // One flipped bit never gets a certificate for another key. (The frame around what is signed is read
    // leniently: two of its tags may differ.)
    let key = issue(&good).unwrap().spki_sha256;
    let signed = 3..5 + usize::from(good[4]);
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let outcome = issue(&flipped);
        assert!(!signed.contains(&(bit / 8)) || outcome.is_err(), "bit {bit}");
        assert!(outcome.is_err() || outcome.is_ok_and(|issued| issued.spki_sha256 == key), "bit {bit}");
    }
}

#[test]
fn a_signing_request_decides_nothing_but_the_key() {
    let ca = authority();
    let key = PrivateKey::generate().unwrap();
    let mut greedy =
        client_params(&[SanType::DnsName("localhost".try_into().unwrap()), SanType::URI(uri(VaultId([1; 16])))]);
    greedy.serial_number = None;
    greedy.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any];
    let csr = greedy.serialize_request(&key.pair().unwrap()).unwrap();
    let issued = ca.issue_workload(csr.der(), &name("default"), &name("w"), DAY, NOW, &SystemRandom).unwrap();
    let peer = PeerCertificate::of_vault(&issued.certificate, VAULT).unwrap();
    assert_eq!(peer.principal(), Principal::workload(name("default"), &name("w")));
    let (_, parsed) = x509_parser::parse_x509_certificate(&issued.certificate).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    assert!(!parsed.is_ca());
    assert_eq!(parsed.subject().iter_common_name().next().unwrap().as_str().unwrap(), "w");
}

#[test]
fn certificates_last_as_long_as_asked_and_never_longer_than_the_ca() {
    let ca = authority();
    let (_, csr) = new_key_and_csr(&name("w")).unwrap();
    let issue = |lifetime, now| ca.issue_workload(&csr, &name("default"), &name("w"), lifetime, now, &SystemRandom);
    let issued = issue(DAY, NOW).unwrap();
    assert_eq!(issued.not_after, NOW.plus(DAY));
    assert_eq!(NOW.since(issued.not_before), Duration::from_secs(300));
    assert_ne!(issued.serial, issue(DAY, NOW).unwrap().serial);
    assert!((0x40..0x80).contains(&issued.serial.0[0]));
    assert_eq!(issued.serial.to_string().parse::<Serial>().unwrap(), issued.serial);
    let end = ca.not_after();
    let last = issue(DAY, Timestamp::from_millis(end.as_millis() - 60_000)).unwrap();
    assert_eq!(last.not_after, end);
    assert_eq!(issue(DAY, end).unwrap_err().id(), ErrorId::BadCredential);
    for lifetime in [Duration::ZERO, LONGEST_LIFETIME + Duration::from_secs(1), Duration::MAX] {
        assert_eq!(issue(lifetime, NOW).unwrap_err().id(), ErrorId::InvalidArgument);
    }
    // A clock that is far off gives a useless certificate, not a panic.
    for now in [Timestamp::from_millis(i64::MIN), Timestamp::from_millis(0)] {
        issue(DAY, now).unwrap();
    }
    let _ = Authority::create(VAULT, Timestamp::from_millis(i64::MAX), &SystemRandom);
}

#[test]
fn server_certificates_are_for_real_hosts_only() {
    let ca = authority();
    for bad in [&[][..], &["a b"], &["-"], &[""], &["*.example"], &["https://x"], &["a:1"], &["x"; 33]] {
        let outcome = ca.issue_server(bad, DAY, NOW, &SystemRandom);
        assert_eq!(outcome.unwrap_err().id(), ErrorId::InvalidArgument, "{bad:?}");
    }
}

#[test]
fn a_ca_is_loaded_with_its_own_key_only() {
    let ca = authority();
    let again = Authority::load(VAULT, ca.key().clone(), ca.certificate()).unwrap();
    let (key, issued) = enrol(&again, "w");
    let clock = TestClock::at(NOW);
    let server =
        ServerTls::new(ca.certificate(), &server_certificate(&again), clock.clone(), TrustDomains::default()).unwrap();
    let client = ClientTls::new(ca.certificate(), Some((&issued.certificate, &key)), clock).unwrap();
    handshake(&server, &client, "localhost").unwrap();
    for (key, certificate) in [
        (PrivateKey::generate().unwrap(), ca.certificate().to_vec()),
        (ca.key().clone(), [ca.certificate(), &[0]].concat()),
        (key, issued.certificate),
        (ca.key().clone(), b"junk".to_vec()),
    ] {
        assert_eq!(Authority::load(VAULT, key, &certificate).unwrap_err().id(), ErrorId::KeyringDamaged);
    }
}

fn uri(vault: VaultId) -> rcgen::string::Ia5String {
    SpiffeId { vault, namespace: name("default"), name: name("w") }.to_string().try_into().unwrap()
}

fn client_params(names: &[SanType]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.to_vec();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from_slice(&[0x41; 16]));
    params
}

#[test]
fn a_peer_certificate_has_exactly_one_name_in_our_trust_domain() {
    let key = PrivateKey::generate().unwrap();
    let read = |params: &CertificateParams| {
        PeerCertificate::of_vault(params.self_signed(&key.pair().unwrap()).unwrap().der(), VAULT)
    };
    let ours = SanType::URI(uri(VAULT));
    read(&client_params(std::slice::from_ref(&ours))).unwrap();
    let text = |t: &str| SanType::URI(t.try_into().unwrap());
    let domain = format!("spiffe://{VAULT}.modelvault");
    for names in [
        vec![],
        vec![ours.clone(), ours.clone()],
        vec![ours.clone(), text("spiffe://other/x")],
        vec![ours.clone(), SanType::DnsName("localhost".try_into().unwrap())],
        vec![SanType::DnsName("localhost".try_into().unwrap())],
        vec![SanType::URI(uri(VaultId([0xac; 16])))],
        vec![text("https://localhost/default/w")],
        vec![text(&domain)],
        vec![text(&format!("{domain}/default"))],
        vec![text(&format!("{domain}/default/w/x"))],
        vec![text(&format!("{domain}/default/w?x"))],
        vec![text(&format!("{domain}/default//w"))],
        vec![text(&format!("{domain}/../w"))],
        vec![text(&format!("{domain}/Default/w"))],
        vec![text(&format!("{domain}:443/default/w"))],
        vec![text(&format!("{domain}.evil.example/default/w"))],
        vec![text(&format!("SPIFFE://{VAULT}.modelvault/default/w"))],
        vec![text(&format!("spiffe://{}.modelvault/default/w", VAULT.to_string().to_uppercase()))],
    ] {
        let outcome = read(&client_params(&names));
        assert_eq!(outcome.unwrap_err().id(), ErrorId::BadCredential, "{names:?}");
    }
    let mut server = client_params(std::slice::from_ref(&ours));
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut ca = client_params(std::slice::from_ref(&ours));
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let mut serial = client_params(&[ours]);
    serial.serial_number = Some(SerialNumber::from_slice(&[1; 15]));
    for params in [server, ca, serial] {
        assert!(read(&params).is_err());
    }
}

#[test]
fn no_cut_or_altered_certificate_panics() {
    let (_, issued) = enrol(&authority(), "w");
    let good = issued.certificate;
    for len in 0..good.len() {
        assert!(PeerCertificate::parse(&good[..len]).is_err());
    }
    assert!(PeerCertificate::parse(&[&good[..], &[0]].concat()).is_err());
    for at in 0..good.len() {
        for value in [0, 0x7f, 0x80, 0xff] {
            let mut altered = good.clone();
            altered[at] = value;
            let _ = PeerCertificate::parse(&altered);
        }
    }
}

#[test]
fn private_keys_are_never_shown() {
    let ca = authority();
    let (key, issued) = enrol(&ca, "w");
    let server = server_certificate(&ca);
    let enrolment = enrolment(&ca, key.clone(), issued.certificate.clone());
    let shown = format!(
        "{key:?} {ca:?} {server:?} {enrolment:?} {:?} {:?}",
        ServerTls::new(ca.certificate(), &server, TestClock::at(NOW), TrustDomains::default()).unwrap(),
        ClientTls::new(ca.certificate(), Some((&issued.certificate, &key)), TestClock::at(NOW)).unwrap()
    );
    for secret in [&key, ca.key(), &server.key] {
        // The scalar stands at byte 36 of a PKCS #8 P-256 key; eight of its bytes are enough to find it.
        let scalar = &secret.expose()[36..44];
        let listed = format!("{scalar:?}");
        assert!(!shown.contains(listed.trim_matches(['[', ']'])) && !shown.contains(&hex::encode(scalar)), "{shown}");
    }
    assert!(shown.contains("REDACTED"));
}

fn enrolment(ca: &Authority, key: PrivateKey, certificate: Vec<u8>) -> Enrolment {
    Enrolment {
        address: "localhost:7443".into(),
        namespace: name("default"),
        signers: vec![*SigningIdentity::generate(&SystemRandom).unwrap().public()],
        ca: ca.certificate().to_vec(),
        certificate,
        key,
    }
}

#[test]
fn an_enrolment_comes_back_as_it_was_written_and_can_be_renewed() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("serve");
    let ca = authority();
    let (key, issued) = enrol(&ca, "serve-1");
    let first = enrolment(&ca, key, issued.certificate);
    first.write(&dir, &SystemRandom).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&dir), mode(&dir.join("client.key"))), (0o700, 0o600));
    let read = Enrolment::read(&dir).unwrap();
    assert_eq!((&read.address, &read.namespace, &read.signers), (&first.address, &first.namespace, &first.signers));
    assert_eq!((&read.ca, &read.certificate, read.key.expose()), (&first.ca, &first.certificate, first.key.expose()));
    assert_eq!(read.identity().unwrap().principal().kind, PrincipalKind::Workload);

    let (key, issued) = enrol(&ca, "serve-1");
    let second = enrolment(&ca, key, issued.certificate);
    second.write(&dir, &SystemRandom).unwrap();
    assert_eq!(Enrolment::read(&dir).unwrap().certificate, second.certificate);
    // Nothing is left beside it.
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    // An empty directory is as good as none.
    let empty = home.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    second.write(&empty, &SystemRandom).unwrap();
    Enrolment::read(&empty).unwrap();
}

#[test]
fn foreign_directories_are_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let ca = authority();
    let (key, issued) = enrol(&ca, "w");
    let good = enrolment(&ca, key, issued.certificate);
    let full = home.path().join("full");
    good.write(&full, &SystemRandom).unwrap();
    std::fs::write(full.join("notes.txt"), "mine").unwrap();
    let partial = home.path().join("partial");
    std::fs::create_dir(&partial).unwrap();
    std::fs::write(partial.join("client.key"), "mine").unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let link = home.path().join("link");
    std::os::unix::fs::symlink(home.path().join("full"), &link).unwrap();
    let before = std::fs::read_dir(home.path()).unwrap().count();
    for dir in [&full, &partial, &file, &link] {
        assert_eq!(good.write(dir, &SystemRandom).unwrap_err().id(), ErrorId::AlreadyExists, "{dir:?}");
    }
    assert_eq!(std::fs::read_to_string(full.join("notes.txt")).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(partial.join("client.key")).unwrap(), "mine");
    assert!(good.write(&home.path().join("no/such/parent"), &SystemRandom).is_err());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), before);
}

#[test]
fn an_enrolment_that_is_open_to_others_or_does_not_fit_together_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let ca = authority();
    let (key, issued) = enrol(&ca, "w");
    let good = enrolment(&ca, key, issued.certificate.clone());
    let dir = home.path().join("e");
    let refused = |file: &str, content: &[u8], id: ErrorId| {
        let _ = std::fs::remove_dir_all(&dir);
        good.write(&dir, &SystemRandom).unwrap();
        std::fs::write(dir.join(file), content).unwrap();
        let error = Enrolment::read(&dir).unwrap_err();
        assert_eq!(error.id(), id, "{file}: {error}");
    };
    let certificate = pem::encode("CERTIFICATE", &issued.certificate);
    let other_key = pem::encode("PRIVATE KEY", PrivateKey::generate().unwrap().expose());
    let (_, other) = enrol(&ca, "other");
    let other_certificate = pem::encode("CERTIFICATE", &other.certificate);
    refused("client.key", other_key.as_bytes(), ErrorId::BadCredential);
    refused("client.key", certificate.as_bytes(), ErrorId::BadCredential);
    refused("client.key", b"", ErrorId::BadCredential);
    refused("client.crt", other_certificate.as_bytes(), ErrorId::BadCredential);
    refused("client.crt", format!("{}{}", *certificate, *certificate).as_bytes(), ErrorId::BadCredential);
    refused("client.crt", &vec![b'x'; 20_000], ErrorId::ConfigInvalid);
    refused("ca.crt", b"-----BEGIN CERTIFICATE-----\nAA", ErrorId::BadCredential);
    refused("ca.crt", certificate.as_bytes(), ErrorId::BadCredential);
    refused("trust.json", b"{}", ErrorId::ConfigInvalid);
    refused("trust.json", &vec![b' '; 70_000], ErrorId::ConfigInvalid);
    refused("trust.json", good.trust_json().replace("default", "elsewhere").as_bytes(), ErrorId::BadCredential);

    let _ = std::fs::remove_dir_all(&dir);
    good.write(&dir, &SystemRandom).unwrap();
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(dir.join("client.key"), std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(Enrolment::read(&dir).unwrap_err().id(), ErrorId::BadCredential);
    }
    std::fs::remove_file(dir.join("client.key")).unwrap();
    assert_eq!(Enrolment::read(&dir).unwrap_err().id(), ErrorId::NotFound);
    std::fs::create_dir(dir.join("client.key")).unwrap();
    assert_eq!(Enrolment::read(&dir).unwrap_err().id(), ErrorId::ConfigInvalid);
    // And such parts are not written either.
    let unfit = Enrolment { key: PrivateKey::generate().unwrap(), ..good };
    assert_eq!(unfit.write(&home.path().join("n"), &SystemRandom).unwrap_err().id(), ErrorId::BadCredential);
    assert!(!home.path().join("n").exists());
}

#[test]
fn keys_of_other_kinds_are_not_taken() {
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let der = KeyPair::generate_for(algorithm).unwrap().serialize_der();
        assert_eq!(PrivateKey::from_pkcs8(zeroize::Zeroizing::new(der)).unwrap_err().id(), ErrorId::BadCredential);
    }
}
