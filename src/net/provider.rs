//! The cryptography beneath TLS, whoever speaks it: AWS-LC, with the hybrid post-quantum group first.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Between our own ends: AES-256-GCM only; X25519MLKEM768 first, then X25519 and P-256 for clients without it.
pub(crate) fn own_provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    Arc::new(CryptoProvider { cipher_suites, ..provider() })
}

/// For the servers and certificates of others: the same groups, and every cipher suite of TLS 1.3.
#[cfg(feature = "daemon")]
pub(crate) fn public_provider() -> Arc<CryptoProvider> {
    Arc::new(provider())
}

fn provider() -> CryptoProvider {
    use aws_lc_rs::kx_group;
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() }
}
