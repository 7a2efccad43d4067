//! One connection: handshake, who is there, limits before and after that is known, HTTP/2, its end.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service as _;

use super::calls::{Calls, Phase, audience};
use super::shares::Shares;
use super::watch::{Counted, Watch};
use crate::crypto::random::SystemRandom;
use crate::error::{Error, ErrorId};
use crate::identity::{
    ClientCertificate, PeerCredentials, ServerTls, StepUpToken, client_of, handshake_refusal, negotiated,
};
use crate::names::{Principal, PrincipalKind, Sha256, Timestamp, VaultId};
use crate::vault::{Channel, Evidence, Transport};
use crate::wire::{SESSION_KEY, status_of};

/// Largest header list of a request.
const HEADERS_LEN: u32 = 16 << 10;
/// Streams a peer may open and reset before its connection is closed (the rapid reset attack).
const RESET_STREAMS: usize = 64;
/// Connections on the Unix socket: of this machine's owner and root.
const LOCAL_CONNECTIONS: usize = 256;
/// A silent peer is asked for a sign of life, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Time for a login: an issuer may be asked twice meanwhile.
const LOGIN: Duration = Duration::from_secs(15);

/// Who is at the other end; goes with each request.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) principal: Principal,
    pub(super) channel: Channel,
    /// What else was proved about it.
    pub(super) evidence: Evidence,
    /// When the credential ends: a connection may live longer than the certificate it was made with.
    pub(super) expires: Option<Timestamp>,
}

/// Told about each refusal before authentication: the peer's address, and why, as an id and in a few words.
pub(super) type Refused = dyn Fn(Option<&str>, ErrorId, &'static str) + Send + Sync;

/// Finds out whom a certificate stands for. Blocking.
pub(super) type Who = dyn Fn(&ClientCertificate) -> Result<(Principal, Evidence), Error> + Send + Sync;

/// What all connections share.
pub(super) struct House {
    pub(super) routes: Routes,
    pub(super) calls: Arc<Calls>,
    pub(super) tls: Option<ServerTls>,
    pub(super) vault: VaultId,
    pub(super) owner_uid: u32,
    pub(super) now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    pub(super) refused: Box<Refused>,
    pub(super) who: Arc<Who>,
    pub(super) slots: Slots,
}

/// Room for connections.
pub(super) struct Slots {
    handshakes: Semaphore,
    connections: Semaphore,
    /// The same on the Unix socket: workloads that take all of the others do not keep operators out.
    local: Semaphore,
    anonymous: Semaphore,
    /// Half of the handshakes at most for one address: a flood from one place leaves room for workloads elsewhere.
    handshakes_from: Shares,
    /// The same of connections without a credential.
    anonymous_from: Shares,
}

impl Slots {
    pub(super) fn new(limits: &super::Limits) -> Self {
        Self {
            handshakes: Semaphore::new(limits.handshakes),
            connections: Semaphore::new(limits.connections),
            local: Semaphore::new(LOCAL_CONNECTIONS),
            anonymous: Semaphore::new(limits.anonymous_connections),
            handshakes_from: Shares::new(limits.handshakes.div_ceil(2)),
            anonymous_from: Shares::new(limits.anonymous_connections.div_ceil(2)),
        }
    }
}

impl House {
    /// A connection to the port.
    pub(super) async fn serve_tcp(self: Arc<Self>, tcp: TcpStream, address: SocketAddr) {
        let Some(tls) = &self.tls else { return };
        let (origin, address) = (origin(address.ip()), address.to_string());
        let refused = |what, why| (self.refused)(Some(&address), what, why);
        let Ok(share) = self.slots.handshakes_from.of(&origin).try_acquire_owned() else {
            return refused(ErrorId::Overloaded, "handshakes from one address");
        };
        let Ok(handshake) = self.slots.handshakes.try_acquire() else {
            return refused(ErrorId::Overloaded, "handshakes");
        };
        if let Err(e) = tcp.set_nodelay(true) {
            tracing::debug!(error = %e, "a connection was gone at once");
        }
        let accepting = TlsAcceptor::from(tls.config()).accept(tcp).into_fallible();
        let stream = match tokio::time::timeout(self.calls.limits.handshake, accepting).await {
            Ok(Ok(stream)) => stream,
            // Scanners, health checks of the port, foreign and expired certificates.
            Ok(Err((e, tcp))) => {
                // Before the linger: who connects and waits must not keep the row away.
                let (what, why) = handshake_refusal(&e);
                refused(what, why);
                return linger(tcp).await;
            }
            Err(_) => return refused(ErrorId::DeadlineExceeded, "handshake took too long"),
        };
        drop((handshake, share));
        let connection = stream.get_ref().1;
        let mut channel = Channel {
            transport: Transport::Mtls,
            tls_group: negotiated(connection).map(|n| n.group),
            peer: Some(address.clone()),
            certificate: None,
        };
        let (principal, evidence, expires) = match client_of(connection, self.vault) {
            Ok(Some(certificate)) => {
                channel.certificate = Some(certificate.key());
                let until = certificate.not_after();
                let who = Arc::clone(&self.who);
                match tokio::task::spawn_blocking(move || who(&certificate)).await {
                    Ok(Ok((principal, evidence))) => (principal, evidence, Some(until)),
                    // It may log in again, and is told why it may do nothing else.
                    _ => (Principal::anonymous(), Evidence::default(), Some(Timestamp::from_millis(0))),
                }
            }
            Ok(None) => (Principal::anonymous(), Evidence::default(), None),
            Err(e) => return refused(e.id(), "certificate of no workload"),
        };
        let _share = match principal.kind {
            PrincipalKind::Anonymous => match self.slots.anonymous_from.of(&origin).try_acquire_owned() {
                Ok(share) => Some(share),
                Err(_) => return refused(ErrorId::Overloaded, "connections without a certificate from one address"),
            },
            _ => None,
        };
        self.serve(stream, Peer { principal, channel, evidence, expires }).await;
    }

    /// A connection to the socket.
    pub(super) async fn serve_unix(self: Arc<Self>, stream: UnixStream) {
        let Ok(credentials) = PeerCredentials::of(&stream) else { return };
        let peer = format!("uid {} pid {}", credentials.uid, credentials.pid);
        let channel = Channel { transport: Transport::Unix, tls_group: None, peer: Some(peer), certificate: None };
        let principal = credentials.principal(self.owner_uid);
        self.serve(stream, Peer { principal, channel, evidence: Evidence::default(), expires: None }).await;
    }

    /// HTTP/2 with whoever is there, until one side ends it.
    pub(super) async fn serve<I>(self: Arc<Self>, io: I, peer: Peer)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.calls.limits;
        let anonymous = peer.principal.kind == PrincipalKind::Anonymous;
        let slots = match peer.channel.transport {
            Transport::Unix if !anonymous => &self.slots.local,
            _ if anonymous => &self.slots.anonymous,
            _ => &self.slots.connections,
        };
        let Ok(_slot) = slots.try_acquire() else {
            return (self.refused)(peer.channel.peer.as_deref(), ErrorId::Overloaded, "connections");
        };
        let _counted = Counted::new(&self.calls.metrics);
        let (ended, tasks) = StreamTasks::new();
        let activity = Arc::clone(&tasks.activity);
        let house = Arc::clone(&self);
        let service = service_fn(move |request| {
            let (house, peer) = (Arc::clone(&house), peer.clone());
            async move { Ok::<_, std::convert::Infallible>(house.admit(request, peer).await) }
        });
        // Uploads of 1 MiB pieces: a stream window of 2 MiB, and no more than 8 MiB waiting on a connection.
        let (stream_window, connection_window) = if anonymous { (64 << 10, 64 << 10) } else { (2 << 20, 8 << 20) };
        let connection = http2::Builder::new(tasks)
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .max_concurrent_streams(if anonymous { limits.anonymous_streams } else { limits.streams })
            .max_header_list_size(HEADERS_LEN)
            .max_pending_accept_reset_streams(RESET_STREAMS)
            .max_local_error_reset_streams(RESET_STREAMS)
            .initial_stream_window_size(stream_window)
            .initial_connection_window_size(connection_window)
            .max_frame_size(if anonymous { 16 << 10 } else { 256 << 10 })
            .max_send_buf_size(400 << 10)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = std::pin::pin!(connection);
        let mut phase = self.calls.phase();
        let began = Instant::now();
        let mut look =
            tokio::time::interval((limits.idle / 8).clamp(Duration::from_millis(10), Duration::from_secs(5)));
        let mut closing = None;
        loop {
            tokio::select! {
                outcome = connection.as_mut() => {
                    if let Err(e) = outcome {
                        tracing::debug!(error = %e, "a connection ended early");
                    }
                    break;
                }
                _ = phase.changed() => {}
                _ = look.tick() => {}
            }
            let now = *phase.borrow_and_update();
            let too_long = anonymous && began.elapsed() > limits.anonymous_lifetime;
            let close = now >= Phase::Draining || too_long || activity.idle_for() > limits.idle;
            if close && closing.is_none() {
                connection.as_mut().graceful_shutdown();
                closing = Some(Instant::now());
            }
            // A stranger's calls, and a peer that does not answer the GOAWAY although it has no call, get no grace time.
            let patience = Duration::from_secs(2);
            let given_up = closing.is_some_and(|since| since.elapsed() > patience)
                && (anonymous || activity.idle_for() > patience);
            if now == Phase::Cut || given_up {
                break;
            }
        }
        // The tasks of streams that are still there end with this.
        drop(ended);
    }

    /// The door: nothing of a request's body is read before the caller is known.
    async fn admit(&self, mut request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let watch = Watch::begin(&self.calls.metrics, self.calls.tracing.spans(), &SystemRandom, &mut request);
        watch.over(self.route(request, peer).await)
    }

    async fn route(&self, mut request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let path = request.uri().path();
        let open = path.starts_with("/grpc.health.v1.Health/")
            || path.starts_with("/grpc.reflection.v1.")
            || path == "/modelvault.v1.LoginService/Login";
        if !open {
            let problem = if peer.principal.kind == PrincipalKind::Anonymous && peer.expires.is_some() {
                let error = Error::new(ErrorId::BadCredential, "nobody vouches for the certificate of this connection");
                Some((error, "session is over"))
            } else if peer.principal.kind == PrincipalKind::Anonymous {
                let error = Error::new(ErrorId::NoCredential, "without a credential only health can be asked for");
                Some((error, "no certificate"))
            } else if peer.expires.is_some_and(|until| (self.now)().as_secs() > until.as_secs()) {
                let error = Error::new(ErrorId::BadCredential, "the certificate of this connection has expired");
                Some((error, "certificate expired"))
            } else {
                None
            };
            if let Some((error, why)) = problem {
                (self.refused)(peer.channel.peer.as_deref(), error.id(), why);
                return status_of(&error, audience(&peer)).into_http();
            }
        }
        let limit = time_limit(path, self.calls.limits.call);
        let whom = audience(&peer);
        let mut peer = peer;
        peer.evidence.shown = shown(request.headers());
        request.extensions_mut().insert(peer);
        let mut routes = self.routes.clone();
        match limit {
            None => infallible(routes.call(request).await),
            Some(limit) => match tokio::time::timeout(limit, routes.call(request)).await {
                Ok(response) => infallible(response),
                Err(_) => {
                    let error = Error::new(ErrorId::DeadlineExceeded, format!("no answer within {limit:?}"));
                    status_of(&error, whom).into_http()
                }
            },
        }
    }
}

/// What a call shows of a second factor: a digest, because nothing here needs more. What is no token shows nothing.
fn shown(headers: &http::HeaderMap) -> Option<Sha256> {
    let token: StepUpToken = headers.get(SESSION_KEY)?.to_str().ok()?.parse().ok()?;
    Some(token.holder())
}

/// What one stranger is counted by: an address, or the 64 bits that an IPv6 host is given to choose from.
pub(super) fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX)).into(),
        four => four,
    }
}

/// Closing a connection with unread bytes resets it, and the reset can overtake the alert that says why.
async fn linger(mut tcp: TcpStream) {
    let drain = async {
        tcp.shutdown().await?;
        tokio::io::copy(&mut (&mut tcp).take(64 << 10), &mut tokio::io::sink()).await
    };
    // Whether the other side was polite or not, it is over.
    let _ = tokio::time::timeout(Duration::from_millis(500), drain).await;
}

/// Time until the head of the response, which for a call that is not a stream is the whole of it. Uploads answer when they
/// are done and watch over their progress themselves; checking much takes long.
fn time_limit(path: &str, usual: Duration) -> Option<Duration> {
    let (_, method) = path.rsplit_once('/')?;
    match method {
        "Seal" | "Import" | "Verify" | "VerifyAudit" | "ProveAudit" | "ImportIntel" => None,
        // A stranger's call, the sending of it included.
        "Login" => Some(usual.min(LOGIN)),
        _ => Some(usual),
    }
}

fn infallible<T>(outcome: Result<T, std::convert::Infallible>) -> T {
    match outcome {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

tokio::task_local! {
    static CUT: Cut;
}

/// Resets one HTTP/2 stream from outside. A response body is not polled while its peer opens no window, so a stalled stream
/// cannot be ended by what its body says; dropping the task that carries it makes HTTP/2 reset it and let its data go.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut(Arc<Notify>);

impl Cut {
    /// Of the stream whose request is being handled. Called elsewhere, it cuts nothing.
    pub(super) fn of_this_stream() -> Self {
        CUT.try_with(Clone::clone).unwrap_or_default()
    }

    pub(super) fn now(&self) {
        self.0.notify_one();
    }
}

/// Runs the tasks of one connection's streams.
#[derive(Clone)]
struct StreamTasks {
    /// Closed when the connection ends.
    ended: watch::Receiver<()>,
    activity: Arc<Activity>,
}

impl StreamTasks {
    fn new() -> (watch::Sender<()>, Self) {
        let (sender, ended) = watch::channel(());
        (sender, Self { ended, activity: Arc::default() })
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamTasks {
    fn execute(&self, stream: F) {
        let mut ended = self.ended.clone();
        let running = Running::new(&self.activity);
        let cut = Cut::default();
        tokio::spawn(CUT.scope(cut.clone(), async move {
            tokio::select! {
                () = stream => {}
                () = cut.0.notified() => {}
                _ = ended.changed() => {}
            }
            drop(running);
        }));
    }
}

/// How many streams run, and since when none does.
#[derive(Debug)]
struct Activity {
    running: AtomicUsize,
    since: Mutex<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { running: AtomicUsize::new(0), since: Mutex::new(Instant::now()) }
    }
}

impl Activity {
    fn idle_for(&self) -> Duration {
        if self.running.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        self.since.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

struct Running(Arc<Activity>);

impl Running {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.running.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}
