//! `vault login`, `vault logout`, `vault whoami`, `vault session`: callers and their sessions.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use model_vault::names::SessionId;

/// `vault login`
#[derive(Debug, Args)]
#[command(
    after_help = "Asks for a code of your second factor (vault mfa enroll). For 15 minutes the vault then knows that you used it: \
policies ask for that before destructive acts. A code counts once, so that --code is no secret for longer than the command \
runs; a recovery code belongs into --code-file. With --server a token is exchanged, once, for a session: DIR then holds a key and a \
certificate for 15 minutes at most, and is used like an enrolment."
)]
pub struct Login {
    /// Code of your second factor [default: it is asked for]
    #[arg(long, value_name = "CODE", conflicts_with = "server")]
    pub code: Option<String>,
    /// Read the code, or a recovery code, from a file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["code", "server"])]
    pub code_file: Option<PathBuf>,
    /// Address of the daemon
    #[arg(long, value_name = "HOST:PORT", requires_all = ["token_file", "output"])]
    pub server: Option<String>,
    /// Token of an issuer that the vault knows; - is standard input
    #[arg(long, value_name = "FILE|-", requires = "server")]
    pub token_file: Option<PathBuf>,
    /// Certificate of the vault's CA (PEM); default: ca.crt of an earlier login in DIR
    #[arg(long, value_name = "FILE", requires = "server")]
    pub ca: Option<PathBuf>,
    /// Public key of a signer whose artifacts to accept (PEM, Ed25519: vault key show --namespace NAME); default: those of an
    /// earlier login in DIR
    #[arg(long, value_name = "FILE", requires = "server")]
    pub signer_key: Vec<PathBuf>,
    /// Directory for the session
    #[arg(short, long, value_name = "DIR", requires = "server")]
    pub output: Option<PathBuf>,
}

/// `vault logout`
#[derive(Debug, Args)]
pub struct Logout {
    /// Directory of a session that a token was exchanged for [default: what vault login opened with a second factor]
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// `vault whoami`
#[derive(Debug, Args)]
pub struct Whoami {
    /// Ask as this session or workload
    #[arg(long, value_name = "DIR")]
    pub enrolment: Option<PathBuf>,
}

/// `vault session`
#[derive(Debug, Subcommand)]
pub enum Session {
    /// List sessions, and subjects that are refused
    Ls,
    /// End a session, or refuse a subject from now on
    Revoke(SessionRevoke),
}

/// `vault session revoke`
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("whom").required(true).args(["session", "subject"]),
    after_help = "What it runs is cut within a second. A subject stays refused, whatever it comes with, until --undo."
)]
pub struct SessionRevoke {
    /// The session
    #[arg(value_name = "ID")]
    pub session: Option<SessionId>,
    /// All that this subject of an issuer or trust domain comes with
    #[arg(long, value_name = "SUBJECT", requires = "issuer")]
    pub subject: Option<String>,
    /// Name of the issuer or trust domain
    #[arg(long, value_name = "NAME", requires = "subject")]
    pub issuer: Option<String>,
    /// Accept the subject again
    #[arg(long, requires = "subject")]
    pub undo: bool,
}
