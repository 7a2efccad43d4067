//! The four ways to a vault, and the receive settings that bulk reads need.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint as Target, Uri};

use crate::error::{Error, ErrorId, Result, reason};
use crate::identity::{ClientTls, Enrolment, negotiated, tls_error};
use crate::names::SystemClock;
use crate::wire;

/// Where a vault answers.
pub enum Endpoint {
    /// The daemon's Unix socket: the caller is who the kernel says.
    Socket(PathBuf),
    /// Mutual TLS as an enrolled workload: key, certificate and pinned CA.
    Workload {
        /// `host:port`.
        address: String,
        /// Read from its directory.
        enrolment: Enrolment,
    },
    /// TLS with a pinned CA but without a certificate: reaches health only.
    Anonymous {
        /// `host:port`.
        address: String,
        /// DER certificate of the CA.
        ca: Vec<u8>,
    },
    /// A server in this very process at the other end of a pipe.
    InProcess(DuplexStream),
}

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A silent peer is asked for a sign of life, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Facts about the connection that tonic does not tell, and the last reason why there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Link(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    tls_group: Option<String>,
    failure: Option<Error>,
    in_process: bool,
}

impl Link {
    fn known<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn tls_group(&self) -> Option<String> {
        self.known(|k| k.tls_group.clone())
    }

    /// Whether the transport failed, not the vault: the call may or may not have been carried out.
    pub(super) fn was_cut(&self, status: &Status) -> bool {
        use tonic::Code;
        !wire::is_from_vault(status)
            && matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled)
            && !self.known(|k| k.in_process)
    }

    /// What a failed call means: the vault's own words, else why there is no connection.
    pub(super) fn error_of(&self, status: &Status) -> Error {
        if wire::is_from_vault(status) {
            return wire::error_of(status);
        }
        let reason = if self.was_cut(status) { self.known(|k| k.failure.take()) } else { None };
        reason.unwrap_or_else(|| wire::error_of(status))
    }
}

/// Connects over `endpoint`; the channel connects again by itself when it was cut.
pub(super) async fn connect(endpoint: Endpoint) -> Result<(Channel, Link)> {
    let link = Link::default();
    let known = link.clone();
    let (place, outcome) = match endpoint {
        Endpoint::Socket(path) => {
            let place = path.display().to_string();
            let outcome = channel("localhost", &link, move || {
                let path = path.clone();
                async move { Ok(Io::Unix(UnixStream::connect(&path).await.map_err(absent)?)) }
            });
            (place, outcome.await)
        }
        Endpoint::Workload { address, enrolment } => {
            let tls =
                ClientTls::new(&enrolment.ca, Some((&enrolment.certificate, &enrolment.key)), Arc::new(SystemClock))?;
            let outcome = over_tls(&address, tls, &link).await;
            (address, outcome)
        }
        Endpoint::Anonymous { address, ca } => {
            let tls = ClientTls::new(&ca, None, Arc::new(SystemClock))?;
            let outcome = over_tls(&address, tls, &link).await;
            (address, outcome)
        }
        Endpoint::InProcess(pipe) => {
            link.known(|k| k.in_process = true);
            let mut pipe = Some(pipe);
            let outcome = channel("localhost", &link, move || {
                let pipe = pipe.take();
                async move {
                    pipe.map(Io::Pipe)
                        .ok_or_else(|| Error::new(ErrorId::Unreachable, "the connection in this process has ended"))
                }
            });
            ("this process".into(), outcome.await)
        }
    };
    let channel = outcome.map_err(|e| {
        let told = known.known(|k| k.failure.take());
        let error = told.unwrap_or_else(|| match e.downcast::<Error>() {
            Ok(own) => *own,
            Err(e) => Error::new(ErrorId::Unreachable, e.to_string()).caused_by(e),
        });
        error.on(place)
    })?;
    Ok((channel, link))
}

async fn over_tls(address: &str, tls: ClientTls, link: &Link) -> Result<Channel, Failure> {
    let host = host_of(address)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::new(ErrorId::InvalidArgument, format!("not a host name or address: {host:?}")))?;
    let connector = TlsConnector::from(tls.config());
    let (address, known) = (address.to_owned(), link.clone());
    channel("localhost", link, move || {
        let (connector, name, address, known) = (connector.clone(), name.clone(), address.clone(), known.clone());
        async move {
            let tcp = TcpStream::connect(&*address).await.map_err(absent)?;
            tcp.set_nodelay(true).map_err(absent)?;
            let tls = connector.connect(name, tcp).await.map_err(tls_error)?;
            let group = negotiated(tls.get_ref().1).map(|n| n.group);
            known.known(|k| k.tls_group = group);
            Ok(Io::Tls(Box::new(tls), known))
        }
    })
    .await
}

/// `host` of `host:port` or `[::1]:port`.
fn host_of(address: &str) -> Result<&str> {
    let bad =
        || Error::new(ErrorId::InvalidArgument, format!("not an address: {address:?}")).hint("addresses are HOST:PORT");
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    port.parse::<u16>().map_err(|_| bad())?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if bare.is_empty() { Err(bad()) } else { Ok(bare) }
}

/// Receive settings: frames of 256 KiB and windows of 8 and 16 MiB let a stream of 1 MiB groups run at the speed of the
/// connection; the defaults of HTTP/2 cost a third of it. No adaptive window: it stays with frames of 16 KiB.
async fn channel<F, R>(authority: &str, link: &Link, mut open: F) -> Result<Channel, Failure>
where
    F: FnMut() -> R + Send + 'static,
    R: Future<Output = Result<Io>> + Send + 'static,
{
    let link = link.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let (opening, link) = (open(), link.clone());
        async move {
            let opened = tokio::time::timeout(CONNECT_TIMEOUT, opening).await.unwrap_or_else(|_| {
                Err(Error::new(ErrorId::Unreachable, format!("no connection within {CONNECT_TIMEOUT:?}")))
            });
            match opened {
                Ok(io) => {
                    link.known(|k| k.failure = None);
                    Ok(TokioIo::new(io))
                }
                Err(error) => {
                    let told = io::Error::other(error.message().to_owned());
                    link.known(|k| k.failure = Some(error));
                    Err(told)
                }
            }
        }
    });
    Ok(Target::from_shared(format!("http://{authority}"))?
        .max_frame_size(256 << 10)
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .connect_with_connector(connector)
        .await?)
}

fn absent(e: io::Error) -> Error {
    Error::new(ErrorId::Unreachable, reason(&e)).caused_by(e)
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A connection of one of the kinds.
enum Io {
    Unix(UnixStream),
    /// With the place where an alert is kept: HTTP/2 turns it into plain text.
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>, Link),
    Pipe(DuplexStream),
}

macro_rules! each {
    ($self:expr, $io:ident => $call:expr) => {
        match &mut *$self {
            Io::Unix($io) => $call,
            Io::Tls($io, _) => $call,
            Io::Pipe($io) => $call,
        }
    };
}

impl Io {
    /// In TLS 1.3 a server refuses a client's certificate only after the client's side of the handshake is done; the alert
    /// comes with the first read.
    fn keep_alert(&self, outcome: &Poll<io::Result<()>>) {
        let (Self::Tls(_, link), Poll::Ready(Err(e))) = (self, outcome) else { return };
        if let Some(of_tls) = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            let error = tls_error(io::Error::new(e.kind(), of_tls.clone()));
            link.known(|k| k.failure = Some(error));
        }
    }

    /// Nobody reads any more after a write has failed, but the reason may have arrived.
    fn look_for_alert<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let (Self::Tls(io, _), Poll::Ready(Err(_))) = (&mut *self, &outcome) {
            let mut scratch = [0; 256];
            let read = Pin::new(io).poll_read(cx, &mut tokio::io::ReadBuf::new(&mut scratch));
            self.keep_alert(&read);
        }
        outcome
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = each!(self, io => Pin::new(io).poll_read(cx, buf));
        self.keep_alert(&outcome);
        outcome
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = each!(self, io => Pin::new(io).poll_write(cx, bytes));
        self.look_for_alert(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = each!(self, io => Pin::new(io).poll_write_vectored(cx, bufs));
        self.look_for_alert(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Unix(io) => io.is_write_vectored(),
            Self::Tls(io, _) => io.is_write_vectored(),
            Self::Pipe(io) => io.is_write_vectored(),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "Socket({})", path.display()),
            Self::Workload { address, .. } => write!(f, "Workload({address})"),
            Self::Anonymous { address, .. } => write!(f, "Anonymous({address})"),
            Self::InProcess(_) => f.write_str("InProcess"),
        }
    }
}
