//! Calls to others: connecting, and the parts that a caller needs.

use std::time::Duration;

use tokio::net::TcpStream;

pub use super::http::{Answer, Bounds, HttpClient};
pub use super::tls::{ClientIdentity, OutboundTls, Roots};
pub use super::url::{Url, is_loopback, split_host_port};
use crate::error::{Error, ErrorId, Result, reason};

/// Connects to `host:port`. What a name resolves to is tried in order; `local` leaves out all that is not this machine.
pub(crate) async fn connect(host: &str, port: u16, local: bool, within: Duration) -> Result<TcpStream> {
    let failed = |why: &str| Error::new(ErrorId::Unreachable, format!("{host}:{port}: {why}"));
    let connecting = async {
        let found = tokio::net::lookup_host((host, port)).await.map_err(|e| failed(&reason(&e)).caused_by(e))?;
        let mut last = failed("the name has no address");
        for address in found.filter(|a| !local || a.ip().to_canonical().is_loopback()) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Small messages that wait for an answer: whether this works or not, they arrive.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(e) => last = failed(&reason(&e)).caused_by(e),
            }
        }
        Err(last)
    };
    tokio::time::timeout(within, connecting)
        .await
        .unwrap_or_else(|_| Err(failed(&format!("no answer within {within:?}"))))
}
