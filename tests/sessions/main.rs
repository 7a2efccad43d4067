//! Callers whom others vouch for, over real connections: tokens exchanged for sessions, certificates of other trust domains, and
//! what is taken back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model_vault::client::{Client, Endpoint, FetchPlan};
use model_vault::identity::{Enrolment, PrivateKey, new_key_and_csr};
use model_vault::names::{Clock as _, Name, SystemClock};
use model_vault::server::{Server, ServerConfig};
use model_vault::settings::SettingKind;
use model_vault::vault::{Caller, InitSpec, Machine, SealInput, SealMember, Sealing, Vault};
use model_vault::{ErrorId, Result};
use tokio::sync::oneshot;

mod clock;
mod cut;
mod domains;
mod keys;
#[path = "../support/tokens.rs"]
mod tokens;
use tokens::{Signer, base64url, hs256};

const ISSUER: &str = "https://issuer.example";

struct World {
    dir: tempfile::TempDir,
    vault: Arc<Vault>,
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    serving: Option<tokio::task::JoinHandle<Result<()>>>,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = InitSpec::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::init(&dir.path().join("home"), key, Machine::default()).unwrap());
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let server = Server::bind(ServerConfig { listen, ..ServerConfig::default() }).await.unwrap();
        let address = server.addresses().tcp.unwrap();
        let (end, shutdown) = oneshot::channel::<()>();
        let serving = Arc::clone(&vault);
        let serving = tokio::spawn(server.serve(serving, async { shutdown.await.unwrap_or(()) }));
        Self { dir, vault, address, end: Some(end), serving: Some(serving) }
    }

    /// With one issuer, whose keys stand in the settings.
    async fn with(signer: &Signer, more: &str) -> Self {
        let world = Self::new().await;
        world.issuers(&issuer(&format!("jwks = {{ inline = '{}' }}\n{more}", signer.jwks("k1")), signer));
        world
    }

    fn issuers(&self, text: &str) {
        self.vault.change_setting(&self.operator(), SettingKind::Issuers, text, None).unwrap();
    }

    fn operator(&self) -> Caller {
        self.vault.local_caller().unwrap()
    }

    async fn stranger(&self) -> Client {
        let (address, ca) = (self.address.to_string(), self.vault.ca_certificate());
        Client::connect(Endpoint::Anonymous { address, ca }).await.unwrap()
    }

    async fn login(&self, token: &str) -> Result<Enrolment> {
        let (key, csr) = new_key_and_csr(&name("session")).unwrap();
        self.login_with(token, key, csr).await
    }

    async fn login_with(&self, token: &str, key: PrivateKey, csr: Vec<u8>) -> Result<Enrolment> {
        let login = self.stranger().await.login(token, csr).await?;
        Ok(self.enrolment(login.certificate, key))
    }

    fn enrolment(&self, certificate: Vec<u8>, key: PrivateKey) -> Enrolment {
        Enrolment {
            address: self.address.to_string(),
            namespace: name("default"),
            signers: Vec::new(),
            ca: self.vault.ca_certificate(),
            certificate,
            key,
        }
    }

    async fn client(&self, enrolment: &Enrolment) -> Result<Client> {
        let address = self.address.to_string();
        Client::connect(Endpoint::Workload { address, enrolment: enrolment.clone() }).await
    }

    async fn whoami(&self, enrolment: &Enrolment) -> Result<String> {
        let who = self.client(enrolment).await?.whoami().await?;
        let groups: Vec<_> = who.groups.iter().map(Name::as_str).collect();
        Ok(format!("{} {} {} [{}]", who.kind, who.issuer, who.subject, groups.join(" ")))
    }

    fn rows(&self) -> Vec<String> {
        let rows = self.vault.audit_rows(&self.operator(), 1, 1000).unwrap();
        rows.iter().map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap()).collect()
    }

    async fn stop(mut self) {
        drop(self.end.take());
        self.serving.take().unwrap().await.unwrap().unwrap();
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn issuer(more: &str, signer: &Signer) -> String {
    format!(
        r#"version = 1
[[issuer]]
name = "ci"
kind = "oidc"
issuer = "{ISSUER}"
audience = "model-vault"
algorithms = ["{}"]
become = "workload"
subjects = ["repo:acme/*"]
namespace = "default"
groups = {{ always = ["builders"], claim = ["team"], map = {{ red = "red-team" }} }}
{more}
"#,
        signer.algorithm()
    )
}

fn now() -> i64 {
    SystemClock.now().as_secs()
}

static TOKENS: AtomicUsize = AtomicUsize::new(0);

/// Claims of a good token, with some of them replaced or, by nothing, left out.
fn claims(change: &[(&str, String)]) -> String {
    let quoted = |text: &str| format!("\"{text}\"");
    let mut all = vec![
        ("iss", quoted(ISSUER)),
        ("sub", quoted("repo:acme/model")),
        ("aud", quoted("model-vault")),
        ("iat", (now() - 5).to_string()),
        ("exp", (now() + 300).to_string()),
        ("jti", quoted(&TOKENS.fetch_add(1, Ordering::Relaxed).to_string())),
        ("team", "[\"red\",\"blue\"]".into()),
    ];
    for (claim, value) in change {
        all.retain(|(known, _)| known != claim);
        if !value.is_empty() {
            all.push((claim, value.clone()));
        }
    }
    let members: Vec<_> = all.iter().map(|(claim, value)| format!("\"{claim}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn refused<T: std::fmt::Debug>(outcome: Result<T>) -> ErrorId {
    outcome.unwrap_err().id()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_exchanged_once_for_a_short_session_over_the_callers_own_key() {
    let signer = Signer::rs256();
    let world = World::with(&signer, "").await;
    let token = signer.token("k1", &claims(&[]));
    let (key, csr) = new_key_and_csr(&name("session")).unwrap();
    let login = world.stranger().await.login(&token, csr).await.unwrap();
    let left = login.session.expires.as_secs() - now();
    assert!((200..=331).contains(&left), "never longer than the token: {left}");
    let session = world.enrolment(login.certificate.clone(), key);
    assert_eq!(world.whoami(&session).await.unwrap(), "workload ci repo:acme/model [builders red-team]");

    // Whoever has read the token comes too late, and has no use for the certificate without its key.
    assert_eq!(refused(world.login(&token).await), ErrorId::BadCredential);
    let (other, _) = new_key_and_csr(&name("thief")).unwrap();
    let stolen = world.enrolment(login.certificate, other);
    assert_eq!(refused(world.whoami(&stolen).await), ErrorId::BadCredential);
    // Without a certificate nothing else is answered.
    assert_eq!(refused(world.stranger().await.whoami().await), ErrorId::NoCredential);
    assert_eq!(refused(world.stranger().await.sessions().await), ErrorId::NoCredential);

    let rows = world.rows();
    let row = rows.iter().find(|row| row.contains("session.login")).expect("a row of the login");
    assert!(row.contains("repo:acme/model") && !row.contains(token.rsplit('.').next().unwrap()), "{row}");
    // A session that outlives nothing: 15 minutes, whatever the token says.
    let long = signer.token("k1", &claims(&[("exp", (now() + 3500).to_string())]));
    let (_, csr) = new_key_and_csr(&name("session")).unwrap();
    let login = world.stranger().await.login(&long, csr).await.unwrap();
    assert!(login.session.expires.as_secs() - now() <= 900);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_misdirected_tokens_are_refused() {
    let (signer, thief) = (Signer::rs256(), Signer::rs256());
    let world = World::with(&signer, "require = [{ claim = [\"org\", \"name\"], is = \"acme\" }]").await;
    let org = ("org", "{\"name\":\"acme\"}".to_owned());
    let with = |change: &[(&'static str, String)]| claims(&[std::slice::from_ref(&org), change].concat());
    assert!(world.login(&signer.token("k1", &with(&[]))).await.is_ok());
    let none = |alg: &str| {
        let header = base64url(format!("{{\"alg\":\"{alg}\",\"kid\":\"k1\"}}").as_bytes());
        format!("{header}.{}", base64url(with(&[]).as_bytes()))
    };
    let mac = |secret: &[u8]| format!("{}.{}", none("HS256"), base64url(&hs256(secret, &none("HS256"))));
    let q = |text: &str| format!("\"{text}\"");
    for (what, token) in [
        ("no signature", format!("{}.", none("none"))),
        ("a MAC under the public key", mac(&signer.public())),
        ("a MAC under the published key", mac(signer.jwks("k1").as_bytes())),
        ("another key", thief.token("k1", &with(&[]))),
        ("another algorithm", Signer::es256().token("k1", &with(&[]))),
        ("an unknown kid", signer.token("k2", &with(&[]))),
        ("a kid that is a path", signer.token("../../k1", &with(&[]))),
        ("its own key", thief.sign(&format!("{{\"alg\":\"RS256\",\"jwk\":{}}}", thief.jwk("k1")), &with(&[]))),
        ("another audience", signer.token("k1", &with(&[("aud", q("other"))]))),
        ("two audiences", signer.token("k1", &with(&[("aud", "[\"model-vault\",\"other\"]".into())]))),
        ("another issuer", signer.token("k1", &with(&[("iss", q("https://evil.example"))]))),
        (
            "expired",
            signer.token("k1", &with(&[("iat", (now() - 900).to_string()), ("exp", (now() - 100).to_string())])),
        ),
        ("from the future", signer.token("k1", &with(&[("nbf", (now() + 100).to_string())]))),
        ("for two hours", signer.token("k1", &with(&[("exp", (now() + 7200).to_string())]))),
        ("another subject", signer.token("k1", &with(&[("sub", q("repo:evil/model"))]))),
        ("another organisation", signer.token("k1", &claims(&[("org", "{\"name\":\"evil\"}".into())]))),
        ("no organisation", signer.token("k1", &claims(&[]))),
        ("nothing", String::new()),
        ("too much", "A".repeat(20_000)),
    ] {
        assert_eq!(refused(world.login(&token).await), ErrorId::BadCredential, "{what}");
    }
    // More than a login may have is not even decoded.
    assert!(world.login(&"A".repeat(100_000)).await.is_err());
    // Refusals are counted, not written down one by one.
    world.vault.record_refusals(true).unwrap();
    let rows = world.rows();
    assert!(rows.iter().any(|row| row.contains("token for another audience")), "{rows:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_logins_with_one_token_one_wins() {
    let signer = Signer::es256();
    let world = Arc::new(World::with(&signer, "").await);
    let token = Arc::new(signer.token("k1", &claims(&[])));
    let mut logins = Vec::new();
    // A stranger has four calls at a time on a connection.
    for _ in 0..25 {
        let stranger = world.stranger().await;
        logins.extend((0..4).map(|_| {
            let (client, token) = (stranger.clone(), Arc::clone(&token));
            let (_, csr) = new_key_and_csr(&name("session")).unwrap();
            tokio::spawn(async move { client.login(&token, csr).await })
        }));
    }
    let mut won = 0;
    for login in logins {
        match login.await.unwrap() {
            Ok(_) => won += 1,
            Err(e) => assert!(matches!(e.id(), ErrorId::BadCredential | ErrorId::Overloaded), "{e}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_bound_to_a_key_is_good_for_that_key_alone() {
    let signer = Signer::eddsa();
    let world = World::with(&signer, "").await;
    let (key, csr) = new_key_and_csr(&name("session")).unwrap();
    let thumbprint = model_vault::identity::csr_key(&csr).unwrap().thumbprint();
    let bound =
        |digest: &[u8]| signer.token("k1", &claims(&[("cnf", format!("{{\"jkt\":\"{}\"}}", base64url(digest)))]));
    let token = bound(&thumbprint.0);
    assert_eq!(refused(world.login(&token).await), ErrorId::BadCredential);
    let session = world.login_with(&token, key, csr).await.unwrap();
    assert!(world.whoami(&session).await.is_ok());
    let certificate = format!("{{\"x5t#S256\":\"{}\"}}", base64url(&[7; 32]));
    let token = signer.token("k1", &claims(&[("cnf", certificate)]));
    assert_eq!(refused(world.login(&token).await), ErrorId::BadCredential);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_taken_back_is_refused_on_old_and_new_connections() {
    let signer = Signer::es256();
    let world = World::with(&signer, "").await;
    let session = world.login(&signer.token("k1", &claims(&[]))).await.unwrap();
    let client = world.client(&session).await.unwrap();
    client.whoami().await.unwrap();
    let id = session.session().unwrap().session;
    world.vault.revoke_session(&world.operator(), id).unwrap();
    assert_eq!(refused(client.whoami().await), ErrorId::BadCredential);
    assert_eq!(refused(world.whoami(&session).await), ErrorId::BadCredential);

    // A subject is refused with whatever it comes, until it is accepted again.
    let fresh = world.login(&signer.token("k1", &claims(&[]))).await.unwrap();
    let client = world.client(&fresh).await.unwrap();
    client.whoami().await.unwrap();
    world.vault.refuse_subject(&world.operator(), "ci", "repo:acme/model", false).unwrap();
    assert_eq!(refused(client.whoami().await), ErrorId::BadCredential);
    assert_eq!(refused(world.login(&signer.token("k1", &claims(&[]))).await), ErrorId::BadCredential);
    let shown = world.vault.sessions(&world.operator()).unwrap();
    assert_eq!((shown.sessions.len(), shown.refused[0].subject.as_str()), (0, "repo:acme/model"));
    world.vault.refuse_subject(&world.operator(), "ci", "repo:acme/model", true).unwrap();
    assert_eq!(refused(client.whoami().await), ErrorId::BadCredential, "what was refused does not come to life again");
    let again = world.login(&signer.token("k1", &claims(&[]))).await.unwrap();
    let client = world.client(&again).await.unwrap();
    client.whoami().await.unwrap();

    // Its own end, and that of its issuer.
    client.logout().await.unwrap();
    assert_eq!(refused(client.whoami().await), ErrorId::BadCredential);
    let last = world.login(&signer.token("k1", &claims(&[]))).await.unwrap();
    let client = world.client(&last).await.unwrap();
    client.whoami().await.unwrap();
    world.issuers("version = 1\n# none");
    assert_eq!(refused(client.whoami().await), ErrorId::BadCredential);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_counts_only_while_the_settings_say_of_its_issuer_what_they_said() {
    let signer = Signer::es256();
    let jwks = format!("jwks = {{ inline = '{}' }}", signer.jwks("k1"));
    let before = issuer(&jwks, &signer);
    let world = World::new().await;
    for (from, to) in [
        ("audience = \"model-vault\"", "audience = \"other\""),
        ("\"repo:acme/*\"", "\"repo:acme/production\""),
        ("algorithms = [\"ES256\"]", "algorithms = [\"EdDSA\"]"),
        ("red = \"red-team\"", "red = \"blue-team\""),
        ("jwks =", "require = [{ claim = [\"org\"], is = \"acme\" }]\njwks ="),
    ] {
        world.issuers(&before);
        let session = world.login(&signer.token("k1", &claims(&[]))).await.unwrap();
        let client = world.client(&session).await.unwrap();
        // What is laid out differently, and what is said of others, changes nothing.
        let others = issuer(&jwks, &signer).replace("version = 1", "").replace("\"ci\"", "\"other\"");
        let others = others.replace(ISSUER, "https://other.example");
        world.issuers(&format!("# The same.\n{before}\n{others}"));
        client.whoami().await.unwrap();
        assert!(before.contains(from), "{from}");
        world.issuers(&before.replace(from, to));
        assert_eq!(refused(client.whoami().await), ErrorId::BadCredential, "{to}");
        assert_eq!(refused(world.whoami(&session).await), ErrorId::BadCredential, "{to}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_session_cannot_be_resumed() {
    let signer = Signer::es256();
    let world = World::with(&signer, "").await;
    let session = world.login(&signer.token("k1", &claims(&[]))).await.unwrap();
    // A client that would resume if it were let.
    let mut roots = rustls::RootCertStore::empty();
    roots.add(world.vault.ca_certificate().into()).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(session.key.expose().to_vec());
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![session.certificate.clone().into()], key.into())
            .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::in_memory_sessions(16);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for round in 0..3 {
        let tcp = tokio::net::TcpStream::connect(world.address).await.unwrap();
        let mut tls = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        // Whatever the server sends after the handshake, tickets among it, is taken in.
        let mut bytes = [0; 1024];
        let read = tokio::io::AsyncReadExt::read(&mut tls, &mut bytes);
        assert!(tokio::time::timeout(Duration::from_millis(300), read).await.unwrap().unwrap() > 0);
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full), "round {round}");
        if round == 1 {
            world.vault.revoke_session(&world.operator(), session.session().unwrap().session).unwrap();
        }
    }
    assert_eq!(refused(world.whoami(&session).await), ErrorId::BadCredential);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_issuers_workload_is_never_taken_for_an_enrolled_one() {
    let signer = Signer::es256();
    let world = World::new().await;
    let text =
        issuer(&format!("jwks = {{ inline = '{}' }}", signer.jwks("k1")), &signer).replace("repo:acme/*", "serve-1");
    world.issuers(&text);
    let plain = seal(&world, "model", 1 << 20);
    let (_, csr) = new_key_and_csr(&name("serve-1")).unwrap();
    world.vault.enroll(&world.operator(), &name("default"), &name("serve-1"), &csr).unwrap();
    world
        .vault
        .grant(&world.operator(), &name("default"), &name("serve-1"), (&name("default"), &name("model")))
        .unwrap();
    let token = signer.token("k1", &claims(&[("sub", "\"serve-1\"".into())]));
    let session = world.login(&token).await.unwrap();
    let client = world.client(&session).await.unwrap();
    // The grant is not its own, nor is the certificate that could be renewed.
    let mut sink = model_vault::client::InMemory::default();
    let plan = FetchPlan::whole("model".parse().unwrap(), plain);
    assert_eq!(refused(client.fetch(plan, &mut sink).await), ErrorId::NotFound);
    let (_, csr) = new_key_and_csr(&name("serve-1")).unwrap();
    assert_eq!(refused(client.renew(&csr).await), ErrorId::Denied);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_of_an_issuer_may_what_the_policy_permits_and_nothing_else() {
    let signer = Signer::es256();
    let world = World::new().await;
    let text = issuer(&format!("jwks = {{ inline = '{}' }}", signer.jwks("k1")), &signer)
        .replace("become = \"workload\"", "become = \"operator\"")
        .replace("namespace = \"default\"\n", "");
    world.issuers(&text);
    let session = world.login(&signer.token("k1", &claims(&[]))).await.unwrap();
    let client = world.client(&session).await.unwrap();
    assert_eq!(client.whoami().await.unwrap().kind, "operator");
    assert_eq!(refused(client.status().await), ErrorId::Denied);
    assert_eq!(refused(client.sessions().await), ErrorId::Denied);
    let policy = world.vault.policy(&world.operator()).unwrap().text;
    let more = "@id(\"remote-status\") permit (principal == ModelVault::Operator::\"ci:repo:acme/model\", \
                action == ModelVault::Action::\"status\", resource);";
    world.vault.set_policy(&world.operator(), &format!("{policy}\n{more}")).unwrap();
    client.status().await.unwrap();
    assert_eq!(refused(client.sessions().await), ErrorId::Denied);
    world.stop().await;
}

/// Seals an artifact and returns the key that signs it.
fn seal(world: &World, artifact: &str, size: usize) -> Vec<model_vault::crypto::sign::PublicKey> {
    seal_in(&world.vault, artifact, size);
    let signers = world.vault.statement_signers(&world.operator(), &name("default")).unwrap();
    signers.iter().map(|s| model_vault::crypto::sign::PublicKey::from_spki(&s.spki).unwrap()).collect()
}

fn seal_in(vault: &Vault, artifact: &str, size: usize) {
    let bytes: Vec<u8> = (0..size).map(|i| ((i * 31) >> 7) as u8).collect();
    let sealing = Sealing {
        members: vec![SealMember { path: "weights".into(), source: Box::new(bytes) }],
        kind: model_vault::names::ArtifactKind::Model,
        sha256: false,
        sequential: false,
        signer: None,
        allow_unsigned: None,
        progress: Box::new(|_| {}),
    };
    let input = SealInput { namespace: name("default"), name: name(artifact), tag: None, sealing };
    vault.seal(&vault.local_caller().unwrap(), input).unwrap();
}
