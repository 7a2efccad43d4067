//! Who is calling: Unix peer credentials, or mTLS under the embedded CA, become a [`Principal`](crate::names::Principal).
//!
//! | file | what | rests on |
//! |---|---|---|
//! | `unix` | who is at the other end of the socket | unix(7), SO_PEERCRED |
//! | `authority` | the embedded CA: issues workload and server certificates | RFC 5280, RFC 2986, docs/trust.md 3 |
//! | `peer` | what a verified client certificate says | SPIFFE X.509-SVID |
//! | `tls` | TLS 1.3 as the client speaks it, and what both ends share | RFC 8446 |
//! | `tls_server` | the same for the daemon; certificates exchanged while it runs | docs/trust.md 7 |
//! | `enrolment` | the directory a workload keeps | docs/trust.md 6 |
//! | `signer` | certificates of those who sign models: chain, anchors, time, names, revocation | RFC 5280 |
//! | `signers` | the trust store: signers by name, their rotation and revocation | docs/trust.md 3 |
//! | `sigstore` | keyless signers: short-lived certificates, dated by a public log, verified offline | Fulcio, Rekor v1, RFC 6962 |
//! | `key` | P-256 private keys of certificates | RFC 5958 |
//!
//! Chains are verified by rustls during the handshake. Whether a certificate was taken back is asked of the catalogue, by
//! serial number or workload: [`PeerCertificate`] has both.

#[cfg(feature = "daemon")]
mod authority;
mod enrolment;
mod key;
mod peer;
pub mod signer;
pub mod signers;
pub mod sigstore;
mod tls;
#[cfg(feature = "daemon")]
mod tls_server;
#[cfg(feature = "daemon")]
mod unix;

#[cfg(feature = "daemon")]
pub use authority::{Authority, DEFAULT_LIFETIME, Issued, IssuedServer, LONGEST_LIFETIME};
pub use enrolment::{Enrolment, new_key_and_csr};
pub use key::PrivateKey;
pub use peer::{PeerCertificate, Serial, SpiffeId};
pub use tls::{ClientTls, Negotiated, negotiated, tls_error};
#[cfg(feature = "daemon")]
pub use tls_server::{ServerTls, handshake_refusal, peer_of};
#[cfg(feature = "daemon")]
pub use unix::PeerCredentials;

#[cfg(test)]
mod tests;
