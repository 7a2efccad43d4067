//! Calls: who asks, over what, under which id.

use std::sync::{Arc, Mutex, PoisonError};

use crate::identity::ShownChain;
use crate::names::{Name, Principal, RequestId, SessionId, Sha256, Timestamp};
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

/// What is known of a caller besides who it is. Made by `identity`, per call; empty unless something was proved.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Groups that the issuer of its credential vouches for.
    pub groups: Vec<Name>,
    /// The second factor it used, if it did.
    pub factor: Option<Factor>,
    /// Digest of the step-up token it showed: the vault looks up what that stands for.
    pub shown: Option<Sha256>,
    /// The act that this call goes on with: it was permitted, and is asked about again.
    pub underway: Option<Underway>,
    /// The session it calls in, if it came with a token.
    pub session: Option<SessionId>,
    /// What it showed at the handshake, if another trust domain vouches for it.
    pub chain: Option<Arc<ShownChain>>,
    /// When its credential ends, if somebody else than this vault's own enrolment vouches for it.
    pub expires: Option<Timestamp>,
}

/// An act that takes long. What was proved when it was permitted counts until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underway {
    /// When it was permitted.
    pub since: Timestamp,
    /// The approvals that were used up for it.
    pub approvals: u32,
}

/// A second factor that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    /// When.
    pub at: Timestamp,
    /// What it was: `totp`, `recovery`.
    pub method: &'static str,
}

/// Whether quotas have counted a call. Clones of a caller are the same call as long as its request id is.
#[derive(Clone, Debug, Default)]
pub struct Counted(Arc<Mutex<Option<RequestId>>>);

impl Counted {
    /// True the first time that it is asked about a request.
    pub(super) fn first(&self, request: RequestId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(request) != Some(request)
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
    /// What else was proved.
    pub evidence: Evidence,
    /// Whether it was counted: fresh for each call, whatever request id the caller gave it.
    pub counted: Counted,
}
