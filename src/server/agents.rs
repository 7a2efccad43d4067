//! SPIFFE agents on this machine, which tell the authorities of trust domains and each change of them (Workload API).
//!
//! One subscription for each socket that the settings name. An agent that goes away is called again with growing pauses; what it
//! said last holds for [`Limits::agent_away`](super::Limits) and no longer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};

use crate::error::{Error, ErrorId, Result};
use crate::identity::AgentBundles;
use crate::wire::spiffe::X509BundlesRequest;
use crate::wire::spiffe::spiffe_workload_api_client::SpiffeWorkloadApiClient;

/// Time for a connection, and for the first answer on it.
const PATIENCE: Duration = Duration::from_secs(10);
/// An agent that is silent is asked for a sign of life, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Largest answer: 64 authorities for each of 64 trust domains fit.
const ANSWER_LIMIT: usize = 4 << 20;

/// All subscriptions. They end with it.
pub(super) struct Agents {
    told: AgentBundles,
    running: HashMap<PathBuf, Subscription>,
    changes: watch::Sender<u64>,
}

struct Subscription(JoinHandle<()>);

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Agents {
    /// `away`: for how long what an agent said holds without it.
    pub(super) fn new(away: Duration) -> Self {
        Self { told: AgentBundles::new(away), running: HashMap::new(), changes: watch::Sender::new(0) }
    }

    /// What they said.
    pub(super) fn told(&self) -> &AgentBundles {
        &self.told
    }

    /// Changes whenever one of them says something.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Listens to the agents at these sockets and to no others.
    pub(super) fn listen_to(&mut self, sockets: &[PathBuf]) {
        self.running.retain(|socket, _| sockets.contains(socket));
        self.told.keep(sockets);
        for socket in sockets {
            if !self.running.contains_key(socket) {
                let (told, changes) = (self.told.clone(), self.changes.clone());
                let subscription = tokio::spawn(subscribe(socket.clone(), told, changes));
                self.running.insert(socket.clone(), Subscription(subscription));
            }
        }
    }
}

/// Listens to one agent for as long as it runs.
async fn subscribe(socket: PathBuf, told: AgentBundles, changes: watch::Sender<u64>) {
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        let Err(why) = listen(&socket, &told, &changes).await;
        told.away(&socket);
        tracing::warn!(error = %why, socket = %socket.display(), "a SPIFFE agent tells no authorities");
        pause = if began.elapsed() > LONGEST_PAUSE { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        tokio::time::sleep(pause).await;
    }
}

async fn listen(socket: &Path, told: &AgentBundles, changes: &watch::Sender<u64>) -> Result<std::convert::Infallible> {
    let late = || Error::new(ErrorId::DeadlineExceeded, format!("no answer within {PATIENCE:?}"));
    let channel = tokio::time::timeout(PATIENCE, connect(socket)).await.map_err(|_| late())??;
    let mut client = SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(ANSWER_LIMIT);
    let mut request = Request::new(X509BundlesRequest {});
    // What a call must carry that a web page cannot make a browser send.
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    let refused =
        |status: tonic::Status| Error::new(ErrorId::Unreachable, format!("the agent answers {:?}", status.code()));
    let asking = async { client.fetch_x509_bundles(request).await.map_err(refused) };
    let mut answers = tokio::time::timeout(PATIENCE, asking).await.map_err(|_| late())??.into_inner();
    let mut first = true;
    loop {
        let next = async { answers.message().await.map_err(refused) };
        let answer = match std::mem::take(&mut first) {
            true => tokio::time::timeout(PATIENCE, next).await.map_err(|_| late())??,
            false => next.await?,
        };
        let answer = answer.ok_or_else(|| Error::new(ErrorId::Unreachable, "the agent ended its answer"))?;
        told.say(socket, answer.bundles.iter().map(|(domain, der)| (domain.as_str(), &der[..])));
        changes.send_modify(|number| *number += 1);
    }
}

async fn connect(socket: &Path) -> Result<Channel> {
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_: http::Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    let connected = endpoint.connect_with_connector(connector).await;
    connected.map_err(|e| Error::new(ErrorId::Unreachable, format!("no agent at {}", socket.display())).caused_by(e))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
    use tokio::net::UnixListener;
    use tokio::sync::{mpsc, oneshot};
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::{Response, Status};

    use crate::client::{Client, Endpoint as Reach};
    use crate::identity::{Enrolment, PrivateKey};
    use crate::server::{Limits, Server, ServerConfig};
    use crate::settings::SettingKind;
    use crate::vault::{InitSpec, Machine, Vault};
    use crate::wire::spiffe::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
    use crate::wire::spiffe::{X509BundlesRequest, X509BundlesResponse};

    use super::*;

    /// What an agent answers with.
    struct Answering(watch::Receiver<Vec<u8>>);

    #[tonic::async_trait]
    impl SpiffeWorkloadApi for Answering {
        type FetchX509BundlesStream = ReceiverStream<Result<X509BundlesResponse, Status>>;

        async fn fetch_x509_bundles(
            &self,
            request: Request<X509BundlesRequest>,
        ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
            if request.metadata().get("workload.spiffe.io").is_none_or(|value| value != "true") {
                return Err(Status::invalid_argument("security header missing from request"));
            }
            let (sender, answers) = mpsc::channel(1);
            let mut bundle = self.0.clone();
            tokio::spawn(async move {
                loop {
                    let der = bundle.borrow_and_update().clone();
                    let bundles = [("spiffe://a.example".to_owned(), der.into())].into();
                    let answer = X509BundlesResponse { bundles, ..Default::default() };
                    if sender.send(Ok(answer)).await.is_err() || bundle.changed().await.is_err() {
                        return;
                    }
                }
            });
            Ok(Response::new(ReceiverStream::new(answers)))
        }
    }

    /// An agent, until it is dropped.
    struct Agent {
        bundle: Option<watch::Sender<Vec<u8>>>,
        tasks: Vec<JoinHandle<()>>,
        socket: PathBuf,
    }

    impl Agent {
        fn start(socket: &Path, bundle: Vec<u8>) -> Self {
            let listener = UnixListener::bind(socket).unwrap();
            let (connections, incoming) = mpsc::channel(4);
            let accepting = tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    if connections.send(Ok::<_, std::io::Error>(stream)).await.is_err() {
                        return;
                    }
                }
            });
            let (bundle, told) = watch::channel(bundle);
            let service = SpiffeWorkloadApiServer::new(Answering(told));
            let serving = tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(ReceiverStream::new(incoming));
            let serving = tokio::spawn(async move { serving.await.unwrap() });
            Self { bundle: Some(bundle), tasks: vec![accepting, serving], socket: socket.to_owned() }
        }

        fn say(&self, bundle: Vec<u8>) {
            self.bundle.as_ref().unwrap().send(bundle).unwrap();
        }
    }

    impl Drop for Agent {
        fn drop(&mut self) {
            std::fs::remove_file(&self.socket).unwrap();
            self.bundle.take();
            self.tasks.iter().for_each(JoinHandle::abort);
        }
    }

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    struct World {
        vault: Arc<Vault>,
        address: String,
    }

    impl World {
        /// A connection with a certificate of this authority.
        async fn client(&self, of: &CertifiedIssuer<'static, KeyPair>) -> Result<Client> {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            let id = "spiffe://a.example/ns/prod/sa/serve".try_into().unwrap();
            params.subject_alt_names = vec![SanType::URI(id)];
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = params.signed_by(&key, of).unwrap().der().to_vec();
            let enrolment = Enrolment {
                address: self.address.clone(),
                namespace: "default".parse().unwrap(),
                signers: Vec::new(),
                ca: self.vault.ca_certificate(),
                certificate,
                key: PrivateKey::from_pkcs8(key.serialize_der().into()).unwrap(),
            };
            let client = Client::connect(Reach::Workload { address: self.address.clone(), enrolment }).await?;
            client.whoami().await.map(|_| client)
        }

        async fn becomes(&self, of: &CertifiedIssuer<'static, KeyPair>, good: bool, within: Duration) {
            let began = Instant::now();
            while self.client(of).await.is_ok() != good {
                assert!(began.elapsed() < within, "not {good} within {within:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn authorities_are_those_that_the_agent_tells_and_outlive_it_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let key = InitSpec::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::init(&dir.path().join("home"), key, Machine::default()).unwrap());
        let socket = dir.path().join("agent.sock");
        let issuers = format!(
            "version = 1\n[[trust-domain]]\nname = \"spire\"\ntrust-domain = \"a.example\"\n\
             bundle = {{ workload-api = \"unix://{}\" }}\nsubjects = [\"spiffe://a.example/*\"]\n\
             namespace = \"default\"\n",
            socket.display()
        );
        vault.change_setting(&vault.local_caller().unwrap(), SettingKind::Issuers, &issuers, None).unwrap();
        let limits = Limits { agent_away: Duration::from_secs(3), ..Limits::default() };
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let server = Server::bind(ServerConfig { listen, limits, ..ServerConfig::default() }).await.unwrap();
        let world = World { vault: Arc::clone(&vault), address: server.addresses().tcp.unwrap().to_string() };
        let (end, shutdown) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(vault, async { drop(shutdown.await) }));
        let (old, new) = (authority(), authority());
        let der = |of: &CertifiedIssuer<'static, KeyPair>| of.der().to_vec();
        assert!(world.client(&old).await.is_err(), "nobody has told anything");

        let agent = Agent::start(&socket, der(&old));
        world.becomes(&old, true, Duration::from_secs(10)).await;
        assert!(world.client(&new).await.is_err());
        // Both, then the new one alone: connections under the old one are over.
        agent.say([der(&old), der(&new)].concat());
        world.becomes(&new, true, Duration::from_secs(15)).await;
        let under_old = world.client(&old).await.unwrap();
        let under_new = world.client(&new).await.unwrap();
        agent.say(der(&new));
        world.becomes(&old, false, Duration::from_secs(15)).await;
        assert_eq!(under_old.whoami().await.unwrap_err().id(), ErrorId::BadCredential);
        under_new.whoami().await.unwrap();
        // What makes no sense vouches for nobody.
        agent.say(b"no certificates".to_vec());
        world.becomes(&new, false, Duration::from_secs(15)).await;
        agent.say(der(&new));
        world.becomes(&new, true, Duration::from_secs(15)).await;

        // Gone: what it said holds for a while, and no longer.
        drop(agent);
        tokio::time::sleep(Duration::from_millis(500)).await;
        under_new.whoami().await.unwrap();
        world.becomes(&new, false, Duration::from_secs(20)).await;
        assert_eq!(under_new.whoami().await.unwrap_err().id(), ErrorId::BadCredential);
        let agent = Agent::start(&socket, der(&new));
        world.becomes(&new, true, Duration::from_secs(15)).await;
        drop(agent);
        end.send(()).unwrap();
        serving.await.unwrap().unwrap();
    }
}
