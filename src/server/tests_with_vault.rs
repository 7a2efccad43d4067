//! The daemon over a real vault: what one caller can take from the others.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use super::connection::Peer;
use super::*;
use crate::client::tests::identity;
use crate::client::{Client, Endpoint, Upload};
use crate::crypto::dsse::{IN_TOTO, Signer, pre_authentication};
use crate::identity::{PeerCertificate, new_key_and_csr};
use crate::names::{Name, Reference};
use crate::vault::{InitSpec, Machine, Transport};
use crate::wire::pb::admin_service_client::AdminServiceClient;
use crate::wire::pb::artifact_service_client::ArtifactServiceClient;
use crate::wire::pb::seal_request::Part;
use crate::wire::pb::seal_response::Part as Answer;

struct Daemon {
    vault: Arc<Vault>,
    house: Arc<House>,
    _home: tempfile::TempDir,
}

impl Daemon {
    async fn start(limits: Limits) -> Self {
        let home = tempfile::tempdir().unwrap();
        let key = InitSpec::KeyFile(home.path().join("root.key"));
        let vault = Arc::new(Vault::init(&home.path().join("home"), key, Machine::default()).unwrap());
        let (_, house) = house(&vault, &ServerConfig { limits, ..ServerConfig::default() }, None).await;
        Self { vault, house, _home: home }
    }

    async fn channel(&self, principal: Principal, channel: Channel) -> tonic::transport::Channel {
        let (near, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(
            Arc::clone(&self.house)
                .serve(far, Peer { principal, channel, evidence: Evidence::default(), expires: None }),
        );
        let mut pipe = Some(near);
        let connector = tower::service_fn(move |_: http::Uri| {
            let pipe = pipe.take();
            async move { pipe.map(hyper_util::rt::TokioIo::new).ok_or_else(|| std::io::Error::other("once")) }
        });
        let target = tonic::transport::Endpoint::from_static("http://localhost");
        target.connect_with_connector(connector).await.unwrap()
    }

    async fn operator(&self) -> tonic::transport::Channel {
        self.channel(Principal::local_operator(self.vault.owner_uid()), Channel::local()).await
    }

    /// An enrolled workload that nothing was granted to.
    async fn workload(&self, name: &str) -> tonic::transport::Channel {
        let (namespace, name): (Name, Name) = ("default".parse().unwrap(), name.parse().unwrap());
        let (_, csr) = new_key_and_csr(&name).unwrap();
        let issued = self.vault.enroll(&self.vault.local_caller().unwrap(), &namespace, &name, &csr).unwrap();
        let certificate = PeerCertificate::parse(&issued.certificate).unwrap();
        let channel = Channel {
            transport: Transport::Mtls,
            tls_group: None,
            peer: Some("192.0.2.1:1".into()),
            certificate: Some((certificate.serial.0.to_vec(), certificate.spki_sha256)),
        };
        self.channel(certificate.principal(), channel).await
    }

    fn set_policy(&self, more: &str) {
        let operator = self.vault.local_caller().unwrap();
        let text = self.vault.policy(&operator).unwrap().text;
        self.vault.set_policy(&operator, &format!("{text}\n{more}")).unwrap();
    }
}

/// Begins a Seal of nothing and never ends it; what it was answered within a short time, if anything.
async fn seal_without_end(channel: &tonic::transport::Channel) -> (mpsc::Sender<pb::SealRequest>, Option<Code>) {
    let (requests, outgoing) = mpsc::channel(1);
    let start = pb::SealStart {
        namespace: "default".into(),
        name: "resnet".into(),
        kind: "model".into(),
        members: vec![pb::SealMember { path: "m".into(), size: 0 }],
        ..Default::default()
    };
    requests.send(pb::SealRequest { part: Some(Part::Start(start)) }).await.unwrap();
    let mut client = ArtifactServiceClient::new(channel.clone());
    let call =
        tokio::spawn(async move { client.seal(ReceiverStream::new(outgoing)).await?.into_inner().message().await });
    let answer = tokio::time::timeout(Duration::from_millis(400), call).await;
    (requests, answer.ok().map(|a| a.unwrap().unwrap_err().code()))
}

async fn rows(channel: &tonic::transport::Channel) -> Result<usize, tonic::Status> {
    let request = pb::ReadAuditRequest { from: 1, limit: 1, follow: false };
    let mut rows = AdminServiceClient::new(channel.clone()).read_audit(Request::new(request)).await?.into_inner();
    let mut count = 0;
    while rows.message().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// The certificate a daemon shows.
async fn shown(address: SocketAddr, ca: &[u8]) -> Vec<u8> {
    let tls = crate::identity::ClientTls::new(ca, None, Arc::new(crate::names::SystemClock)).unwrap();
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(tls.config()).connect(name, tcp).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_shows_a_fresh_certificate_and_says_so() {
    let daemon = Daemon::start(Limits::default()).await;
    let config = ServerConfig { listen: Some("127.0.0.1:0".parse().unwrap()), ..ServerConfig::default() };
    let server = Server::bind(config).await.unwrap();
    let (address, reloader) = (server.addresses().tcp.unwrap(), server.reloader());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(Arc::clone(&daemon.vault), async { drop(stopped.await) }));
    let ca = daemon.vault.ca_certificate();
    let before = shown(address, &ca).await;
    assert_eq!(shown(address, &ca).await, before);
    let until = reloader.reload().await.unwrap().certificate.unwrap();
    let after = shown(address, &ca).await;
    assert_ne!(after, before);
    let rows = daemon.vault.audit_rows(&daemon.vault.local_caller().unwrap(), 1, 1000).unwrap();
    let rows: Vec<_> = rows.iter().map(|(_, row)| String::from_utf8_lossy(row)).collect();
    let reloaded = rows.iter().find(|r| r.contains("\"daemon.reload\"")).unwrap();
    assert!(reloaded.contains(&until.to_string()), "{reloaded}");
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert_eq!(reloader.reload().await.unwrap_err().id(), ErrorId::Unreachable);
}

const MAY_SEAL: &str = r#"
@id("workloads-seal")
permit (principal is ModelVault::Workload, action == ModelVault::Action::"seal", resource);
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_that_may_not_seal_is_told_at_once_and_takes_no_place() {
    let daemon = Daemon::start(Limits { transfers: 4, ..Limits::default() }).await;
    let (stranger, operator) = (daemon.workload("nobody").await, daemon.operator().await);
    let mut held = Vec::new();
    for _ in 0..12 {
        let (requests, answer) = seal_without_end(&stranger).await;
        assert_eq!(answer, Some(Code::PermissionDenied));
        held.push(requests);
    }
    assert_eq!(rows(&operator).await.unwrap(), 1);
    let denials = daemon.vault.audit_rows(&daemon.vault.local_caller().unwrap(), 1, 1000).unwrap();
    let denials = denials.iter().filter(|(_, row)| String::from_utf8_lossy(row).contains("\"Denied\""));
    assert_eq!(denials.count(), 12, "each refusal has one row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workloads_that_hold_all_they_can_keep_neither_each_other_nor_operators_out() {
    let daemon = Daemon::start(Limits { transfers: 4, ..Limits::default() }).await;
    daemon.set_policy(MAY_SEAL);
    let operator = daemon.operator().await;
    let mut held = Vec::new();
    for name in ["one", "two", "three"] {
        let workload = daemon.workload(name).await;
        let (requests, first) = seal_without_end(&workload).await;
        assert_eq!(first, None, "a quarter of four places is for each");
        let (_, second) = seal_without_end(&workload).await;
        assert_eq!(second, Some(Code::Unavailable));
        held.push((workload, requests));
    }
    let (_, answer) = seal_without_end(&daemon.workload("four").await).await;
    assert_eq!(answer, Some(Code::Unavailable), "one place is nobody's but the operators'");
    assert_eq!(rows(&operator).await.unwrap(), 1);
}

/// A publisher that speaks the protocol by hand.
struct ByHand {
    requests: mpsc::Sender<pb::SealRequest>,
    answers: tonic::Streaming<pb::SealResponse>,
}

/// The vault trusts `identity(fill)` as a publisher.
fn trust(daemon: &Daemon, fill: u8) {
    let key = (*identity(fill).public()).into();
    let change = crate::identity::signers::Trusting::keys("publisher".parse().unwrap(), vec![key]);
    daemon.vault.trust_signer(&daemon.vault.local_caller().unwrap(), &change).unwrap();
}

impl ByHand {
    /// Begins a Seal of these bytes as `resnet`, under the key of `identity(4)`.
    async fn begin(
        channel: &tonic::transport::Channel,
        bytes: &[u8],
        request_id: &[u8],
    ) -> Result<Self, tonic::Status> {
        let (requests, outgoing) = mpsc::channel(8);
        let start = pb::SealStart {
            namespace: "default".into(),
            name: "resnet".into(),
            kind: "model".into(),
            members: vec![pb::SealMember { path: "m".into(), size: bytes.len() as u64 }],
            request_id: request_id.to_vec().into(),
            public_key: identity(4).public().spki().into(),
            ..Default::default()
        };
        requests.send(pb::SealRequest { part: Some(Part::Start(start)) }).await.unwrap();
        let answers = ArtifactServiceClient::new(channel.clone()).seal(ReceiverStream::new(outgoing)).await?;
        let own = Self { requests, answers: answers.into_inner() };
        own.send(Part::Data(bytes.to_vec().into())).await;
        own.send(Part::End(pb::SealEnd { bytes: bytes.len() as u64 })).await;
        Ok(own)
    }

    async fn send(&self, part: Part) {
        let _ = self.requests.send(pb::SealRequest { part: Some(part) }).await;
    }

    async fn next(&mut self) -> Result<Option<Answer>, tonic::Status> {
        Ok(self.answers.message().await?.and_then(|m| m.part))
    }

    /// What is to be signed next.
    async fn question(&mut self) -> Vec<u8> {
        let Some(Answer::ToSign(question)) = self.next().await.unwrap() else { panic!("a question") };
        let mut payload = Vec::new();
        while (payload.len() as u64) < question.payload_len {
            let Some(Answer::Payload(piece)) = self.next().await.unwrap() else { panic!("a piece") };
            payload.extend_from_slice(&piece);
        }
        payload
    }

    async fn sign(&mut self) {
        let payload = self.question().await;
        let signature = identity(4).sign(&pre_authentication(IN_TOTO, &payload)).to_vec();
        self.send(Part::Signature(signature.into())).await;
    }
}

impl Daemon {
    /// Blobs in the home, and whether the name is known.
    fn left(&self) -> (usize, bool) {
        fn files(dir: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            entries.map(|e| if e.path().is_dir() { files(&e.path()) } else { 1 }).sum()
        }
        let operator = self.vault.local_caller().unwrap();
        let known = self.vault.version(&operator, &"resnet".parse().unwrap()).is_ok();
        (files(&self.vault.home().path().join("blobs")), known)
    }

    /// Waits until a failed seal has been cleared away.
    async fn nothing_left(&self) {
        for _ in 0..1000 {
            if self.left() == (0, false) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{:?}", self.left());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_signs_through_the_daemon_and_keeps_the_key() {
    let daemon = Daemon::start(Limits::default()).await;
    let (near, far) = tokio::io::duplex(64 << 10);
    let principal = Principal::local_operator(daemon.vault.owner_uid());
    tokio::spawn(serve_connection(Arc::clone(&daemon.vault), far, principal, Channel::local()));
    let client = Client::connect(Endpoint::InProcess(near)).await.unwrap();
    let seal = async |signer: Option<Arc<dyn Signer>>, bytes: Vec<u8>| {
        let upload = Upload {
            namespace: "default".parse().unwrap(),
            name: "resnet".parse().unwrap(),
            kind: crate::names::ArtifactKind::Model,
            tag: Some("prod".parse().unwrap()),
            members: vec![("w".into(), Box::new(bytes)), ("e".into(), Box::new(Vec::new()))],
            sha256: true,
            signer,
            identity: None,
            allow_unsigned: None,
        };
        client.seal(upload, &|_| {}).await
    };
    trust(&daemon, 4);
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7 / 5) as u8).collect();
    let (version, replayed) = seal(Some(Arc::new(identity(4))), content.clone()).await.unwrap();
    assert_eq!((version.version, version.signer, replayed), (1, identity(4).key_id(), false));
    // Whoever trusts the publisher, and only who does, takes it; the tag is the namespace's word.
    let fetch = async |publisher: u8| {
        let mut got = crate::client::InMemory::default();
        let own = client.signers(&"default".parse().unwrap()).await.unwrap();
        let signers = vec![*identity(publisher).public()];
        let plan = crate::client::FetchPlan::whole("resnet@prod".parse::<Reference>().unwrap(), signers);
        let plan = crate::client::FetchPlan { tag_signers: own, ..plan };
        client.fetch(plan, &mut got).await.map(|_| got.members)
    };
    assert_eq!(fetch(5).await.unwrap_err().id(), ErrorId::SignatureMissing);
    assert!(fetch(4).await.unwrap() == [("w".to_owned(), content)]);
    let rows = daemon.vault.audit_rows(&daemon.vault.local_caller().unwrap(), 1, 1000).unwrap();
    let row = rows.iter().map(|(_, r)| String::from_utf8_lossy(r)).find(|r| r.contains("\"artifact.seal\"")).unwrap();
    assert!(row.contains(&identity(4).key_id().to_string()), "{row}");
    // Nothing at all, and without a publisher.
    assert_eq!(seal(Some(Arc::new(identity(4))), Vec::new()).await.unwrap().0.version, 2);
    let (third, _) = seal(None, vec![7; 10]).await.unwrap();
    assert!(third.version == 3 && third.signer != identity(4).key_id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_does_not_sign_leaves_nothing() {
    let limits = Limits { signature: Duration::from_millis(300), ..Limits::default() };
    let daemon = Daemon::start(limits).await;
    let channel = daemon.operator().await;
    trust(&daemon, 4);
    let begin = async || ByHand::begin(&channel, &[7; 2000], &[]).await.unwrap();
    // Silence, at the first question and at the second.
    for signed in 0..2 {
        let mut publisher = begin().await;
        for _ in 0..signed {
            publisher.sign().await;
        }
        publisher.question().await;
        assert_eq!(publisher.next().await.unwrap_err().code(), Code::DeadlineExceeded);
        daemon.nothing_left().await;
    }
    // A signature that is none, one of another key, and something else instead.
    let stranger = async |payload: Vec<u8>| identity(5).sign(&pre_authentication(IN_TOTO, &payload)).to_vec();
    for (what, part, code) in [
        ("zeroes", Some(Part::Signature(vec![0; 64].into())), Code::DataLoss),
        ("too short", Some(Part::Signature(vec![0; 63].into())), Code::InvalidArgument),
        ("more data", Some(Part::Data(vec![0; 5].into())), Code::InvalidArgument),
        ("a stranger's", None, Code::DataLoss),
    ] {
        let mut publisher = begin().await;
        let payload = publisher.question().await;
        let part = match part {
            Some(part) => part,
            None => Part::Signature(stranger(payload).await.into()),
        };
        publisher.send(part).await;
        assert_eq!(publisher.next().await.unwrap_err().code(), code, "{what}");
        daemon.nothing_left().await;
    }
    // A cut, before and after the first signature; an end of the client's side instead of one.
    for signed in 0..2 {
        let mut publisher = begin().await;
        for _ in 0..signed {
            publisher.sign().await;
        }
        publisher.question().await;
        drop(publisher);
        daemon.nothing_left().await;
    }
    let ByHand { requests, mut answers } = begin().await;
    drop(requests);
    let ended = loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(ended.unwrap_err().code(), Code::InvalidArgument);
    daemon.nothing_left().await;
    // None of this is in the way of the one who does.
    let mut publisher = begin().await;
    publisher.sign().await;
    publisher.sign().await;
    let Some(Answer::Sealed(sealed)) = publisher.next().await.unwrap() else { panic!("sealed") };
    assert_eq!(sealed.version.unwrap().number, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_that_comes_again_is_not_signed_again() {
    let daemon = Daemon::start(Limits::default()).await;
    let channel = daemon.operator().await;
    trust(&daemon, 4);
    let id = [9; 16];
    for again in [false, true] {
        let mut publisher = ByHand::begin(&channel, &[7; 2000], &id).await.unwrap();
        if !again {
            publisher.sign().await;
            publisher.sign().await;
        }
        let Some(Answer::Sealed(sealed)) = publisher.next().await.unwrap() else { panic!("sealed") };
        assert_eq!((sealed.version.unwrap().number, sealed.replayed), (1, again));
        assert!(publisher.next().await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_has_exactly_what_its_end_says() {
    let daemon = Daemon::start(Limits::default()).await;
    let channel = daemon.operator().await;
    let code = async |parts: Vec<Part>, size: u64, key: Vec<u8>| {
        let (requests, outgoing) = mpsc::channel(8);
        let start = pb::SealStart {
            namespace: "default".into(),
            name: "resnet".into(),
            kind: "model".into(),
            members: vec![pb::SealMember { path: "m".into(), size }],
            public_key: key.into(),
            ..Default::default()
        };
        for part in [Part::Start(start)].into_iter().chain(parts) {
            requests.send(pb::SealRequest { part: Some(part) }).await.unwrap();
        }
        drop(requests);
        let answers = ArtifactServiceClient::new(channel.clone()).seal(ReceiverStream::new(outgoing)).await;
        match answers {
            Err(status) => status.code(),
            Ok(answers) => answers.into_inner().message().await.map_or_else(|s| s.code(), |_| Code::Ok),
        }
    };
    let data = |n: usize| Part::Data(vec![7; n].into());
    let end = |bytes| Part::End(pb::SealEnd { bytes });
    assert_eq!(code(vec![data(5), end(5)], 5, vec![]).await, Code::Ok);
    for (parts, size) in [
        (vec![data(5)], 5),
        (vec![data(5), end(4)], 5),
        (vec![data(4), end(4)], 5),
        (vec![data(6), end(6)], 5),
        (vec![], 0),
        (vec![data(5), Part::Signature(vec![0; 64].into())], 5),
    ] {
        assert_eq!(code(parts, size, vec![]).await, Code::InvalidArgument);
    }
    assert_eq!(code(vec![end(0)], 0, vec![1, 2, 3]).await, Code::InvalidArgument, "not a key");
}

const MAY_UPLOAD: &str = r#"
@id("workloads-upload")
permit (
  principal is ModelVault::Workload,
  action in [ModelVault::Action::"seal", ModelVault::Action::"import"],
  resource
);
@id("second-operator")
permit (
  principal == ModelVault::Operator::"local:uid:4242",
  action in [ModelVault::Action::"importIntel", ModelVault::Action::"readAudit"],
  resource
);
"#;

/// One upload that has begun and goes on, and what it is answered in the end.
struct Running {
    /// Kept: the client has not ended its side.
    _open: Box<dyn std::any::Any + Send>,
    answer: tokio::task::JoinHandle<tonic::Status>,
}

/// One of each kind, none of them complete.
async fn uploads(daemon: &Daemon) -> Vec<Running> {
    let (channel, operator) = (daemon.workload("ci").await, daemon.second_operator().await);
    let piece = || bytes::Bytes::from(vec![7; 1 << 20]);
    let mut all = Vec::new();
    let (seal, outgoing) = mpsc::channel(4);
    let start = pb::SealStart {
        namespace: "default".into(),
        name: "resnet".into(),
        kind: "model".into(),
        members: vec![pb::SealMember { path: "m".into(), size: 64 << 20 }],
        ..Default::default()
    };
    for part in [Part::Start(start), Part::Data(piece())] {
        seal.send(pb::SealRequest { part: Some(part) }).await.unwrap();
    }
    let mut client = ArtifactServiceClient::new(channel.clone());
    let answer = tokio::spawn(async move {
        let answered = client.seal(ReceiverStream::new(outgoing)).await;
        answered.unwrap().into_inner().message().await.expect_err("it ends")
    });
    all.push(Running { _open: Box::new(seal), answer });

    let (import, outgoing) = mpsc::channel(4);
    let start =
        pb::ImportStart { namespace: "default".into(), name: "resnet".into(), size: 64 << 20, ..Default::default() };
    for part in [pb::import_request::Part::Start(start), pb::import_request::Part::Data(piece())] {
        import.send(pb::ImportRequest { part: Some(part) }).await.unwrap();
    }
    let mut client = ArtifactServiceClient::new(channel.clone());
    let answer = tokio::spawn(async move { client.import(ReceiverStream::new(outgoing)).await.expect_err("it ends") });
    all.push(Running { _open: Box::new(import), answer });

    let (intel, outgoing) = mpsc::channel(4);
    let start = pb::ImportIntelStart { source: "list".into(), size: 4 << 20, ..Default::default() };
    for part in [pb::import_intel_request::Part::Start(start), pb::import_intel_request::Part::Data(piece())] {
        intel.send(pb::ImportIntelRequest { part: Some(part) }).await.unwrap();
    }
    let mut client = pb::intel_service_client::IntelServiceClient::new(operator);
    let answer =
        tokio::spawn(async move { client.import_intel(ReceiverStream::new(outgoing)).await.expect_err("it ends") });
    all.push(Running { _open: Box::new(intel), answer });
    all
}

impl Daemon {
    /// An operator who may what the policy says, and who does not own the vault.
    async fn second_operator(&self) -> tonic::transport::Channel {
        self.channel(Principal::local_operator(4242), Channel { transport: Transport::Unix, ..Channel::local() }).await
    }

    fn suspend(&self, whom: &str) {
        let spec = crate::vault::HoldSpec {
            target: crate::vault::HoldTarget::parse("principal", whom).unwrap(),
            kind: "suspend".into(),
            reason: "looks odd".into(),
            lasts: None,
        };
        self.vault.quarantine(&self.vault.local_caller().unwrap(), &spec).unwrap();
    }
}

/// The codes that all of these end with, each within a second of `take_back`.
async fn ended_by(take_back: impl FnOnce(&Daemon)) -> Vec<Code> {
    let daemon = Daemon::start(Limits { transfers: 16, ..Limits::default() }).await;
    daemon.set_policy(MAY_UPLOAD);
    let running = uploads(&daemon).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(running.iter().all(|r| !r.answer.is_finished()), "what is permitted goes on");
    assert!(daemon.left().0 > 0, "the seal is under way");
    let began = std::time::Instant::now();
    take_back(&daemon);
    let mut codes = Vec::new();
    for upload in running {
        match tokio::time::timeout(Duration::from_secs(1).saturating_sub(began.elapsed()), upload.answer).await {
            Ok(answer) => codes.push(answer.unwrap().code()),
            Err(_) => codes.push(Code::Ok),
        }
    }
    if codes[0] != Code::Ok {
        daemon.nothing_left().await;
    }
    codes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_end_within_a_second_when_the_right_to_make_them_is_taken_back() {
    let revoked = ended_by(|daemon| {
        let (namespace, name) = ("default".parse().unwrap(), "ci".parse().unwrap());
        daemon.vault.revoke(&daemon.vault.local_caller().unwrap(), &namespace, &name, None).unwrap();
    });
    assert_eq!(revoked.await, [Code::Unauthenticated, Code::Unauthenticated, Code::Ok], "the others go on");
    let held = ended_by(|daemon| {
        daemon.suspend("workload:default/ci");
        daemon.suspend("operator:local:uid:4242");
    });
    assert_eq!(held.await, [Code::PermissionDenied; 3]);
    let unpermitted = ended_by(|daemon| {
        let operator = daemon.vault.local_caller().unwrap();
        let text = daemon.vault.policy(&operator).unwrap().text;
        daemon.vault.set_policy(&operator, text.strip_suffix(MAY_UPLOAD).unwrap()).unwrap();
    });
    assert_eq!(unpermitted.await, [Code::PermissionDenied; 3]);
}

/// A reader of the log who is slow: what was read ahead for it is not sent on once it may not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_read_before_the_reader_was_suspended_are_not_sent_after() {
    let daemon = Daemon::start(Limits::default()).await;
    daemon.set_policy(MAY_UPLOAD);
    let operator = daemon.vault.local_caller().unwrap();
    for _ in 0..300 {
        daemon.vault.status(&operator).unwrap();
    }
    let request = pb::ReadAuditRequest { from: 1, limit: 0, follow: true };
    let channel = daemon.second_operator().await;
    let mut rows = AdminServiceClient::new(channel).read_audit(Request::new(request)).await.unwrap().into_inner();
    rows.message().await.unwrap().unwrap();
    daemon.suspend("operator:local:uid:4242");
    let began = std::time::Instant::now();
    let end = loop {
        match rows.message().await {
            Ok(Some(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
            Ok(None) => panic!("the reader is told that this is all"),
            Err(end) => break end,
        }
    };
    assert_eq!(end.code(), Code::PermissionDenied);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}
