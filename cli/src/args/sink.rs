//! `vault sink`: receivers of the audit log.

use clap::Subcommand;

/// `vault sink`
#[derive(Debug, Subcommand)]
pub enum Sink {
    /// List the receivers, how far each has come and why one does not get on
    Ls,
}
