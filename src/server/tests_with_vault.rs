//! The daemon over a real vault: what one caller can take from the others.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use super::connection::Peer;
use super::*;
use crate::identity::{PeerCertificate, new_key_and_csr};
use crate::names::Name;
use crate::vault::{InitSpec, Machine, Transport};
use crate::wire::pb::admin_service_client::AdminServiceClient;
use crate::wire::pb::artifact_service_client::ArtifactServiceClient;

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
        tokio::spawn(Arc::clone(&self.house).serve(far, Peer { principal, channel, expires: None }));
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
    requests.send(pb::SealRequest { part: Some(pb::seal_request::Part::Start(start)) }).await.unwrap();
    let mut client = ArtifactServiceClient::new(channel.clone());
    let call = tokio::spawn(async move { client.seal(ReceiverStream::new(outgoing)).await });
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
