//! Calls: who asks, over what, under which id.

use crate::names::{Principal, RequestId, Sha256};
pub use crate::policy::Transport;

/// Facts about the connection of a call.
#[derive(Clone, Debug)]
pub struct Channel {
    /// In process, Unix socket, or mTLS.
    pub transport: Transport,
    /// Name of the negotiated key exchange, for example `X25519MLKEM768`.
    pub tls_group: Option<String>,
    /// Address of the peer, for the audit log.
    pub peer: Option<String>,
    /// Serial number and SHA-256 of the SubjectPublicKeyInfo of the caller's certificate.
    pub certificate: Option<(Vec<u8>, Sha256)>,
}

impl Channel {
    /// No connection at all: the command line on a vault it opened itself.
    pub fn local() -> Self {
        Self { transport: Transport::Local, tls_group: None, peer: None, certificate: None }
    }
}

/// A call: who, over what, under which id.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As established by `identity`.
    pub principal: Principal,
    /// Names the call in the audit log; a seal or import that is repeated under the same id happens once.
    pub request_id: RequestId,
    /// How it arrived.
    pub channel: Channel,
}
