//! The daemon: tonic services over our own accept loop (TLS 1.3 with hybrid key exchange, and a Unix socket). Translates
//! between the wire and the facade; decides nothing about artifacts itself.
//!
//! Limits hold before a caller is known: connections, handshakes, streams, sizes and times (docs/trust.md 7). Plaintext is in
//! memory only in segments that a permit stands for, see `segments`.

mod access;
mod admin;
mod agents;
mod artifact;
mod attestation;
mod calls;
mod connection;
mod fetch;
mod holds;
mod intel;
mod keys;
mod listen;
mod login;
mod metrics;
mod operator;
mod seal;
mod segments;
mod shares;
mod standing;
mod streams;
mod traces;
mod upkeep;
mod upload;
mod watch;
mod watching;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};

use crate::error::{Error, ErrorId, Result};
use crate::identity::{ClientCertificate, IssuedServer, ServerTls};
use crate::names::{Clock, Principal, Timestamp};
use crate::vault::{Channel, Evidence, Vault};
use crate::wire::{MESSAGE_LIMIT, pb};
use calls::Calls;
use connection::House;

/// Where a daemon listens, and how much it takes on.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// For workloads, over TLS. Port 0: a free one.
    pub listen: Option<SocketAddr>,
    /// Names and addresses the server's certificate is good for, besides `localhost` and the address it listens on.
    pub hosts: Vec<String>,
    /// For operators on this machine.
    pub socket: Option<PathBuf>,
    /// Where numbers for Prometheus are shown, to whoever asks: an address of this machine, or one that something guards.
    pub metrics: Option<SocketAddr>,
    /// Whether anybody may ask for the descriptors of the services.
    pub reflection: bool,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of a daemon. The defaults are those of docs/performance.md.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of callers with a credential.
    pub connections: usize,
    /// Connections of callers without one; half of them at most from one address.
    pub anonymous_connections: usize,
    /// Handshakes at the same time, half of them at most from one address; more are turned away at once.
    pub handshakes: usize,
    /// Time for a handshake.
    pub handshake: Duration,
    /// Calls at the same time on one connection.
    pub streams: u32,
    /// The same without a credential.
    pub anonymous_streams: u32,
    /// A connection without a call is closed after this long.
    pub idle: Duration,
    /// One without a credential after this long, whatever it does.
    pub anonymous_lifetime: Duration,
    /// Time for a call that is not a stream. Verifying and checking the audit log may take as long as they need.
    pub call: Duration,
    /// A stream that makes no progress for this long is cut. Receivers open their window in halves of it, so this is also the
    /// time for half a window.
    pub stall: Duration,
    /// Plaintext segments of 1 MiB in memory.
    pub segments: usize,
    /// How long a stream waits for a segment before it is told to come back later.
    pub segment_wait: Duration,
    /// Calls that compute at the same time; 0: twice the cores.
    pub workers: usize,
    /// Uploads, exports and the like at the same time. A quarter is kept for operators; a workload gets a quarter at most.
    pub transfers: usize,
    /// How long a publisher may take for each signature of a seal: a person may have to touch a token.
    pub signature: Duration,
    /// For how long authorities that a SPIFFE agent told hold when it is gone.
    pub agent_away: Duration,
    /// How long calls that are running may go on after the daemon was told to end.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections: 12_000,
            anonymous_connections: 256,
            handshakes: 512,
            handshake: seconds(10),
            streams: 128,
            anonymous_streams: 4,
            idle: seconds(300),
            anonymous_lifetime: seconds(60),
            call: seconds(30),
            stall: seconds(10),
            segments: 32,
            segment_wait: seconds(30),
            workers: 0,
            transfers: 32,
            signature: seconds(60),
            agent_away: seconds(3600),
            grace: seconds(30),
        }
    }
}

/// Where a daemon can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// For workloads.
    pub tcp: Option<SocketAddr>,
    /// For operators on this machine.
    pub socket: Option<PathBuf>,
    /// For numbers.
    pub metrics: Option<SocketAddr>,
}

/// A daemon that has its addresses but does not answer yet.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    listeners: listen::Listeners,
    metrics: Option<(TcpListener, SocketAddr)>,
    reloads: mpsc::Receiver<Reply>,
    reloader: Reloader,
}

type Reply = oneshot::Sender<Result<Reloaded>>;

/// Tells a running daemon to take up what can be changed while it runs: the server's certificate.
#[derive(Clone, Debug)]
pub struct Reloader(mpsc::Sender<Reply>);

/// What was taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// When the fresh certificate of the server ends; `None`: it serves no workloads, so it has none.
    pub certificate: Option<Timestamp>,
}

impl Reloader {
    /// Connections that exist go on with the certificate they have seen.
    ///
    /// # Errors
    /// When no certificate can be made or recorded (then the old one stays), or the daemon has ended.
    pub async fn reload(&self) -> Result<Reloaded> {
        let ended = || Error::new(ErrorId::Unreachable, "the daemon does not run");
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Server {
    /// Takes the addresses.
    ///
    /// # Errors
    /// `AddressInUse`; `Busy` if another daemon answers on the socket; `InvalidArgument` if there is nothing to listen on or
    /// the socket's directory is not private.
    pub async fn bind(config: ServerConfig) -> Result<Self> {
        if config.listen.is_none() && config.socket.is_none() {
            return Err(Error::new(ErrorId::InvalidArgument, "nothing to listen on"));
        }
        let listeners = listen::Listeners::bind(config.listen, config.socket.as_deref()).await?;
        let metrics = match config.metrics {
            Some(address) => Some(metrics::bind(address).await?),
            None => None,
        };
        let (reloads, waiting) = mpsc::channel(1);
        Ok(Self { config, listeners, metrics, reloads: waiting, reloader: Reloader(reloads) })
    }

    /// For whoever is told that something has changed.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Where it will answer.
    pub fn addresses(&self) -> Addresses {
        Addresses { metrics: self.metrics.as_ref().map(|(_, address)| *address), ..self.listeners.addresses() }
    }

    /// Answers until `shutdown`; then calls that are running may finish within the grace time, and the rest is cut. Every
    /// stream has its row in the audit log when this returns.
    ///
    /// # Errors
    /// When no server certificate can be made.
    pub async fn serve(self, vault: Arc<Vault>, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let addresses = self.addresses();
        let tls = match addresses.tcp {
            Some(address) => {
                let hosts = hosts(&self.config.hosts, address);
                vault.set_address(Some(public_address(&self.config.hosts, address)));
                Some((tls(&vault, &hosts).await?, hosts))
            }
            None => None,
        };
        let (calls, house) = house(&vault, &self.config, tls.as_ref().map(|(tls, _)| tls.clone())).await;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let sinks = tokio::spawn(crate::sinks::run(Arc::clone(&vault), stopped.clone()));
        let traces = tokio::spawn(traces::run(Arc::clone(&vault), Arc::clone(&calls), stopped));
        let numbers = self
            .metrics
            .map(|(listener, _)| tokio::spawn(metrics::serve(listener, Arc::clone(&vault), Arc::clone(&calls))));
        let trusting = tls
            .is_some()
            .then(|| tokio::spawn(upkeep::trust_domains(Arc::clone(&vault), self.config.limits.agent_away)));
        let upkeep = tokio::spawn(upkeep::upkeep(Arc::clone(&vault), tls, self.reloads));
        let watching = tokio::spawn(watching::watch(Arc::clone(&vault)));
        self.listeners.serve(&house, shutdown).await;
        calls.finished().await;
        trusting.inspect(tokio::task::JoinHandle::abort);
        upkeep.abort();
        watching.abort();
        vault.set_address(None);
        let last = Arc::clone(&vault);
        tokio::task::spawn_blocking(move || {
            last.end_watching();
            last.tick()
        })
        .await
        .map_err(calls::panicked)??;
        // After the last row of a call: what the receivers can take they get now, the rest when a daemon runs again.
        let _ = stop.send(true);
        sinks.await.map_err(calls::panicked)?;
        traces.await.map_err(calls::panicked)?;
        numbers.inspect(tokio::task::JoinHandle::abort);
        Ok(())
    }
}

/// Serves one connection within this process, for example the far end of [`tokio::io::duplex`]; the caller is `principal`.
/// Returns when the other end is gone and everything that was begun for it is done.
pub async fn serve_connection<I>(vault: Arc<Vault>, io: I, principal: Principal, channel: Channel)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Nobody else waits for room here, and a person may stop to read what is written to a pipe.
    let patient = Duration::from_secs(24 * 3600);
    let limits = Limits { idle: patient, stall: patient, segment_wait: patient, ..Limits::default() };
    let config = ServerConfig { limits, ..ServerConfig::default() };
    let (calls, house) = house(&vault, &config, None).await;
    house.serve(io, connection::Peer { principal, channel, evidence: Evidence::default(), expires: None }).await;
    calls.finished().await;
}

async fn house(vault: &Arc<Vault>, config: &ServerConfig, tls: Option<ServerTls>) -> (Arc<Calls>, Arc<House>) {
    let calls = Arc::new(Calls::new(&config.limits).counting(vault.metrics()));
    let routes = routes(vault, &calls, config.reflection).await;
    let (now, refused) = (Arc::clone(vault), Arc::clone(vault));
    let house = House {
        routes,
        calls: Arc::clone(&calls),
        tls,
        vault: vault.vault_id(),
        owner_uid: vault.owner_uid(),
        now: Box::new(move || now.clock().now()),
        refused: Box::new(move |peer, what, why| {
            refused.metrics().turned_away(what.name());
            refused.count_refusal(peer, what, why);
        }),
        who: {
            let vault = Arc::clone(vault);
            Arc::new(move |certificate| match certificate {
                ClientCertificate::Workload(workload) => Ok((workload.principal(), Evidence::default())),
                ClientCertificate::Session(session) => vault.session_caller(session),
                ClientCertificate::Foreign(foreign) => vault.foreign_caller(foreign),
            })
        },
        slots: connection::Slots::new(&config.limits),
    };
    (calls, Arc::new(house))
}

async fn routes(vault: &Arc<Vault>, calls: &Arc<Calls>, reflection: bool) -> Routes {
    use pb::access_service_server::AccessServiceServer;
    use pb::admin_service_server::AdminServiceServer;
    use pb::artifact_service_server::ArtifactServiceServer;
    use pb::attestation_service_server::AttestationServiceServer;
    use pb::hold_service_server::HoldServiceServer;
    use pb::intel_service_server::IntelServiceServer;
    use pb::key_service_server::KeyServiceServer;
    use pb::login_service_server::LoginServiceServer;
    use pb::operator_service_server::OperatorServiceServer;
    use pb::session_service_server::SessionServiceServer;
    let access = access::Access { vault: Arc::clone(vault), calls: Arc::clone(calls) };
    let admin = admin::Admin { vault: Arc::clone(vault), calls: Arc::clone(calls) };
    let artifacts = artifact::Artifacts { vault: Arc::clone(vault), calls: Arc::clone(calls) };
    let attestations = attestation::Attestations { vault: Arc::clone(vault), calls: Arc::clone(calls) };
    let intel = intel::Intel { vault: Arc::clone(vault), calls: Arc::clone(calls) };
    let holds = holds::Holds { vault: Arc::clone(vault), calls: Arc::clone(calls) };
    let keys = keys::Keys { vault: Arc::clone(vault), calls: Arc::clone(calls) };
    let operators = operator::Operators { vault: Arc::clone(vault), calls: Arc::clone(calls) };
    let logins = login::Logins::new(vault, calls);
    let opener = Arc::clone(vault);
    let fetches = fetch::Fetches::new(calls, move |caller, r| Ok(Box::new(opener.open(caller, r)?) as _));
    let mut all = base_routes(calls, reflection).await;
    serving::<fetch::Fetches>(calls).await;
    serving::<AccessServiceServer<access::Access>>(calls).await;
    serving::<AdminServiceServer<admin::Admin>>(calls).await;
    serving::<ArtifactServiceServer<artifact::Artifacts>>(calls).await;
    serving::<AttestationServiceServer<attestation::Attestations>>(calls).await;
    serving::<IntelServiceServer<intel::Intel>>(calls).await;
    serving::<HoldServiceServer<holds::Holds>>(calls).await;
    serving::<KeyServiceServer<keys::Keys>>(calls).await;
    serving::<OperatorServiceServer<operator::Operators>>(calls).await;
    serving::<LoginServiceServer<login::Logins>>(calls).await;
    serving::<SessionServiceServer<login::Logins>>(calls).await;
    all.add_service(fetches)
        .add_service(AccessServiceServer::new(access).max_decoding_message_size(MESSAGE_LIMIT))
        .add_service(AdminServiceServer::new(admin).max_decoding_message_size(MESSAGE_LIMIT))
        .add_service(ArtifactServiceServer::new(artifacts).max_decoding_message_size(MESSAGE_LIMIT))
        .add_service(AttestationServiceServer::new(attestations).max_decoding_message_size(MESSAGE_LIMIT))
        .add_service(IntelServiceServer::new(intel).max_decoding_message_size(MESSAGE_LIMIT))
        .add_service(KeyServiceServer::new(keys).max_decoding_message_size(MESSAGE_LIMIT))
        .add_service(HoldServiceServer::new(holds).max_decoding_message_size(MESSAGE_LIMIT))
        .add_service(OperatorServiceServer::new(operators).max_decoding_message_size(4096))
        .add_service(LoginServiceServer::new(logins.clone()).max_decoding_message_size(login::LOGIN_LIMIT))
        .add_service(SessionServiceServer::new(logins).max_decoding_message_size(MESSAGE_LIMIT));
    all.routes().prepare()
}

async fn serving<S: NamedService>(calls: &Calls) {
    calls.health.set_serving::<S>().await;
}

/// What an anonymous caller reaches: health, and reflection if it is on.
async fn base_routes(calls: &Calls, reflection: bool) -> RoutesBuilder {
    use tonic_health::pb::health_server::HealthServer;
    let mut all = Routes::builder();
    let health = tonic_health::server::HealthService::from_health_reporter(calls.health.clone());
    all.add_service(HealthServer::new(health).max_decoding_message_size(4096));
    if reflection {
        const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
        let built = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1();
        all.add_service(built.expect("the descriptors that were compiled with this program are well-formed"));
    }
    all
}

async fn tls(vault: &Arc<Vault>, hosts: &[String]) -> Result<ServerTls> {
    let own = certificate(vault, hosts).await?;
    ServerTls::new(
        &vault.ca_certificate(),
        &own,
        Arc::new(VaultClock(Arc::clone(vault))),
        vault.trust_domains().clone(),
    )
}

async fn certificate(vault: &Arc<Vault>, hosts: &[String]) -> Result<IssuedServer> {
    let (vault, hosts) = (Arc::clone(vault), hosts.to_vec());
    tokio::task::spawn_blocking(move || vault.issue_server_certificate(&hosts)).await.map_err(calls::panicked)?
}

fn hosts(configured: &[String], address: SocketAddr) -> Vec<String> {
    let mut hosts = configured.to_vec();
    let own = address.ip();
    // A wildcard address is no name anybody connects to; the loopback names always are.
    let mut add = |host: String| {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    };
    if !own.is_unspecified() {
        add(own.to_string());
    }
    for host in ["localhost", "127.0.0.1", "::1"] {
        add(host.into());
    }
    hosts
}

/// What an enrolment names: the first configured host, else the address itself.
fn public_address(configured: &[String], address: SocketAddr) -> String {
    match configured.first() {
        Some(host) if host.contains(':') => format!("[{host}]:{}", address.port()),
        Some(host) => format!("{host}:{}", address.port()),
        None if address.ip().is_unspecified() => format!("localhost:{}", address.port()),
        None => address.to_string(),
    }
}

struct VaultClock(Arc<Vault>);

impl Clock for VaultClock {
    fn now(&self) -> Timestamp {
        self.0.clock().now()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_with_vault;
