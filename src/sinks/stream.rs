//! Syslog over a stream: TLS (RFC 5425), or TCP on this machine. Each message bears its length.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, WriteHalf};
use tokio::task::JoinHandle;

use super::deliver::PATIENCE;
use crate::error::{Error, ErrorId, Result, reason};
use crate::net::{OutboundTls, connect};
use crate::siem::octet_counted;

/// How long a receiver may take to close its side after we closed ours.
const FAREWELL: Duration = Duration::from_secs(2);

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(super) struct Stream {
    out: WriteHalf<Box<dyn Io>>,
    /// Reads on and on: a receiver says nothing, so its end is all there is to read.
    listener: JoinHandle<()>,
    ended: Arc<AtomicBool>,
}

impl Stream {
    pub(super) async fn plain(host: &str, port: u16) -> Result<Self> {
        Ok(Self::over(Box::new(connect(host, port, true, PATIENCE).await?)))
    }

    pub(super) async fn secure(tls: &OutboundTls, host: &str, port: u16) -> Result<Self> {
        let tcp = connect(host, port, false, PATIENCE).await?;
        Ok(Self::over(Box::new(tls.secure(tcp, host, PATIENCE).await?)))
    }

    fn over(io: Box<dyn Io>) -> Self {
        let (mut from, out) = tokio::io::split(io);
        let ended = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&ended);
        let listener = tokio::spawn(async move {
            let mut ignored = [0; 1024];
            // An end and an error say the same.
            while from.read(&mut ignored).await.is_ok_and(|n| n > 0) {}
            tell.store(true, Ordering::Release);
        });
        Self { out, listener, ended }
    }

    pub(super) async fn write(&mut self, messages: &[String]) -> Result<()> {
        let mut bytes = Vec::with_capacity(messages.iter().map(|m| m.len() + 8).sum());
        messages.iter().for_each(|m| octet_counted(m, &mut bytes));
        let written = async {
            self.out.write_all(&bytes).await?;
            self.out.flush().await
        };
        written.await.map_err(|e| Error::new(ErrorId::Unreachable, reason(&e)).caused_by(e))
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.ended.load(Ordering::Acquire) {
            return Err(Error::new(ErrorId::Unreachable, "the receiver closed the connection"));
        }
        Ok(())
    }

    /// Whether the receiver closed its side in answer: then it has read all there was.
    pub(super) async fn close(mut self) -> bool {
        let before = self.ended.load(Ordering::Acquire);
        let closing = async { self.out.shutdown().await.is_ok() && (&mut self.listener).await.is_ok() };
        !before && tokio::time::timeout(FAREWELL, closing).await.unwrap_or(false)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
