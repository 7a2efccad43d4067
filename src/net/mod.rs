//! What the vault itself asks of the network: nothing unless it is configured, and then with bounds on time and size.
//!
//! Every address comes from an operator. TLS is 1.3, the other side is verified against an explicit CA or the system's, a
//! redirection is an answer like any other and is not followed, and plain HTTP reaches this machine only.

mod provider;

pub(crate) use provider::own_provider;
#[cfg(feature = "daemon")]
pub(crate) use provider::public_provider;

#[cfg(feature = "daemon")]
pub(crate) use outbound::connect;
#[cfg(feature = "daemon")]
pub use outbound::{Answer, Bounds, ClientIdentity, HttpClient, OutboundTls, Roots, Url, is_loopback, split_host_port};

#[cfg(feature = "daemon")]
mod http;
#[cfg(feature = "daemon")]
mod outbound;
#[cfg(feature = "daemon")]
mod tls;
#[cfg(feature = "daemon")]
mod url;
