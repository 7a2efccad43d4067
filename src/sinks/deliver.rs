//! The kinds of receiver, and when each of them has really got something.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixDatagram;

use super::file::{Appender, Stdout};
use super::stream::Stream;
use crate::error::{Error, ErrorId, Result, reason};
use crate::net::{Bounds, ClientIdentity, HttpClient, OutboundTls, Roots, Url, is_loopback, split_host_port};
use crate::siem::{Sink, Source, Target, otlp_log, otlp_logs};

/// Time to connect, and for one batch to be taken.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Syslog has no answers. A connection over which nothing was refused for this long has carried what was written before.
const STREAM_PROOF: Duration = Duration::from_secs(3);

/// What is known after sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// The receiver has it.
    Confirmed,
    /// It is on its way.
    Written,
}

/// An open way to a receiver.
pub(super) enum Delivery {
    File(Arc<Appender>),
    Stdout(Stdout),
    Stream(Stream),
    Datagrams(UnixDatagram),
    Otlp { client: HttpClient, url: Url },
}

impl Delivery {
    /// `home`: where no sink may write.
    pub(super) async fn open(sink: &Sink, home: &Path) -> Result<Self> {
        let path = || sink.path.clone().unwrap_or_default();
        Ok(match sink.to {
            Target::File => {
                let path = path();
                let parent = path.parent().and_then(|p| p.canonicalize().ok()).unwrap_or_default();
                if home.canonicalize().is_ok_and(|home| parent.starts_with(home)) {
                    return Err(Error::new(
                        ErrorId::ConfigInvalid,
                        format!("{}: not into the vault itself", path.display()),
                    ));
                }
                Self::File(Arc::new(Appender::new(path)))
            }
            Target::Stdout => Self::Stdout(Stdout::new()?),
            Target::Unix => Self::datagrams(&path())?,
            Target::Tcp => {
                let (host, port) = address(sink)?;
                if !is_loopback(&host) {
                    return Err(Error::new(
                        ErrorId::ConfigInvalid,
                        format!("{host}: plain TCP is for this machine only"),
                    )
                    .hint("send over TLS: to = \"tls\""));
                }
                Self::Stream(Stream::plain(&host, port).await?)
            }
            Target::Tls => {
                let (host, port) = address(sink)?;
                Self::Stream(Stream::secure(&tls(sink)?, &host, port).await?)
            }
            Target::Otlp => {
                let url: Url = sink.address.as_deref().unwrap_or_default().parse()?;
                let (roots, identity) = (roots(sink), identity(sink));
                let client = HttpClient::new(&roots, identity.as_ref(), Bounds { time: PATIENCE, body: 1 << 20 })?;
                Self::Otlp { client, url: url.with_path("/v1/logs") }
            }
        })
    }

    fn datagrams(path: &Path) -> Result<Self> {
        let failed =
            |e: std::io::Error| Error::new(ErrorId::Unreachable, format!("{}: {}", path.display(), reason(&e)));
        let socket = UnixDatagram::unbound().map_err(failed)?;
        socket.connect(path).map_err(failed)?;
        Ok(Self::Datagrams(socket))
    }

    /// One row in the form that this way wants.
    pub(super) fn event(&self, sink: &Sink, source: &Source, seq: u64, row: &[u8]) -> String {
        match self {
            Self::File(_) | Self::Stdout(_) => sink.format.event(source, seq, row),
            Self::Stream(_) | Self::Datagrams(_) => sink.format.message(source, seq, row),
            Self::Otlp { .. } => otlp_log(source, sink.format, seq, row),
        }
    }

    pub(super) async fn send(&mut self, source: &Source, events: &[String]) -> Result<Got> {
        let sending = async {
            match self {
                Self::File(file) => {
                    let (file, lines) = (Arc::clone(file), lines(events));
                    let broke = |_| Error::new(ErrorId::Internal, "writing a file broke off");
                    tokio::task::spawn_blocking(move || file.append(&lines)).await.map_err(broke)??;
                    Ok(Got::Confirmed)
                }
                Self::Stdout(out) => out.write(lines(events)).await.map(|()| Got::Confirmed),
                Self::Stream(stream) => stream.write(events).await.map(|()| Got::Written),
                Self::Datagrams(socket) => {
                    for event in events {
                        let sent = socket.send(event.as_bytes()).await;
                        sent.map_err(|e| Error::new(ErrorId::Unreachable, reason(&e)).caused_by(e))?;
                    }
                    Ok(Got::Confirmed)
                }
                Self::Otlp { client, url } => {
                    let body = otlp_logs(source, events).into_bytes();
                    client.post(url, "application/json", &[], body.into()).await?.ok(url)?;
                    Ok(Got::Confirmed)
                }
            }
        };
        let late = || Error::new(ErrorId::DeadlineExceeded, format!("the receiver took nothing for {PATIENCE:?}"));
        tokio::time::timeout(PATIENCE, sending).await.unwrap_or_else(|_| Err(late()))
    }

    /// Whether the way still stands.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Stream(stream) => stream.check(),
            _ => Ok(()),
        }
    }

    /// How long after writing the way must have stood for what was written to have arrived.
    pub(super) fn proof(&self) -> Duration {
        match self {
            Self::Stream(_) => STREAM_PROOF,
            _ => Duration::ZERO,
        }
    }

    /// Ends it in good order; whether the receiver is known to have read everything.
    pub(super) async fn close(self) -> bool {
        match self {
            Self::Stream(stream) => stream.close().await,
            _ => true,
        }
    }
}

fn lines(events: &[String]) -> Vec<u8> {
    let mut out = Vec::with_capacity(events.iter().map(|e| e.len() + 1).sum());
    for event in events {
        out.extend_from_slice(event.as_bytes());
        out.push(b'\n');
    }
    out
}

fn address(sink: &Sink) -> Result<(String, u16)> {
    let text = sink.address.as_deref().unwrap_or_default();
    split_host_port(text, None)
        .ok_or_else(|| Error::new(ErrorId::ConfigInvalid, format!("sink {:?}: not HOST:PORT: {text:?}", sink.name)))
}

fn roots(sink: &Sink) -> Roots {
    sink.ca.clone().map_or(Roots::System, Roots::File)
}

fn identity(sink: &Sink) -> Option<ClientIdentity> {
    let (certificate, key) = sink.certificate.clone().zip(sink.key.clone())?;
    Some(ClientIdentity { certificate, key })
}

/// Read anew for each connection: certificates are exchanged while a vault runs.
fn tls(sink: &Sink) -> Result<OutboundTls> {
    OutboundTls::new(&roots(sink), identity(sink).as_ref())
}
