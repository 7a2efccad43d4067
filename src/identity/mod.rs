//! Who is calling: Unix peer credentials, mTLS under the embedded CA or that of another trust domain, or a token become a [`Principal`](crate::names::Principal).
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
//! | `person` | which callers are one person | |
//! | `step_up` | what shows that a second factor was used | |
//! | `totp` | one-time codes of a second factor, and codes for when it is lost | RFC 6238, RFC 4226 |
//! | `jwt` | tokens of others: OpenID Connect, Kubernetes, JWT-SVIDs | RFC 7519, RFC 8725 |
//! | `issuers` | who vouches for callers besides this vault: settings | docs/identity.md |
//! | `jwks`, `web` | keys of issuers: how long they are good, how they are fetched | RFC 7517, OpenID Connect Discovery |
//! | `foreign` | certificates of other trust domains | SPIFFE X.509-SVID, trust bundles |
//! | `key` | P-256 private keys of certificates | RFC 5958 |
//!
//! Chains are verified by rustls during the handshake. Whether a certificate was taken back is asked of the catalogue, by
//! serial number or workload: [`PeerCertificate`] has both.

#[cfg(feature = "daemon")]
mod authority;
mod enrolment;
#[cfg(feature = "daemon")]
mod foreign;
#[cfg(feature = "daemon")]
pub mod issuers;
#[cfg(feature = "daemon")]
pub mod jwks;
pub mod jwt;
mod key;
mod peer;
mod person;
pub mod signer;
pub mod signers;
pub mod sigstore;
mod step_up;
mod tls;
#[cfg(feature = "daemon")]
mod tls_server;
pub mod totp;
#[cfg(feature = "daemon")]
mod unix;
#[cfg(feature = "daemon")]
mod web;

#[cfg(feature = "daemon")]
pub use authority::{Authority, CsrKey, DEFAULT_LIFETIME, Issued, IssuedServer, LONGEST_LIFETIME, csr_key};
pub use enrolment::{Enrolment, new_key_and_csr};
#[cfg(feature = "daemon")]
pub use foreign::{AgentBundles, Authorities, Bundles, ShownChain, TrustDomains};
pub use key::PrivateKey;
pub use peer::{
    ClientCertificate, ForeignCertificate, ForeignId, PeerCertificate, Serial, SessionCertificate, SpiffeId,
};
pub use person::Person;
pub use step_up::{StepUpToken, SteppedUp, holder_of_certificate};
pub use tls::{ClientTls, Negotiated, negotiated, tls_error};
#[cfg(feature = "daemon")]
pub use tls_server::{ServerTls, client_of, handshake_refusal, peer_of};
#[cfg(feature = "daemon")]
pub use unix::PeerCredentials;
#[cfg(feature = "daemon")]
pub use web::fetch_keys;

#[cfg(test)]
mod tests;
