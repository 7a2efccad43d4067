//! `vault quickstart`, `vault init`, `vault serve`: a vault and its daemon.

use std::path::PathBuf;

use clap::Args;

/// `vault init`
#[derive(Debug, Args)]
#[command(
    after_help = "Without --passphrase-file, --passphrase-command or --key-file the passphrase is asked for on the \
terminal. A key file that does not exist is made."
)]
pub struct Init {}

/// `vault quickstart`
#[derive(Debug, Args)]
pub struct Quickstart {
    /// File or directory to seal; a small real ONNX model if absent
    #[arg(value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Leave everything in a new directory, to play with
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// `vault serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Address for workloads (mTLS); port 0 takes a free one; none: the socket alone
    #[arg(
        long,
        value_name = "ADDR",
        env = "MODELVAULT_LISTEN",
        default_value = "127.0.0.1:7443",
        hide_env_values = true
    )]
    pub listen: String,
    /// Unix socket for operators [default: the one the command line looks for]
    #[arg(long, value_name = "PATH", env = "MODELVAULT_SOCKET", hide_env_values = true)]
    pub socket: Option<PathBuf>,
    /// Show numbers for Prometheus there, to whoever asks: HOST:PORT, best of the loopback
    #[arg(long, value_name = "ADDR", env = "MODELVAULT_METRICS", hide_env_values = true)]
    pub metrics: Option<String>,
    /// Keep the newest checkpoint of the audit log here too, on another disk: a home that was rolled back contradicts it
    #[arg(long, value_name = "PATH", env = "MODELVAULT_WITNESS", hide_env_values = true)]
    pub witness: Option<PathBuf>,
    /// Do not describe the services to gRPC tools
    #[arg(long, env = "MODELVAULT_NO_REFLECTION", hide_env_values = true)]
    pub no_reflection: bool,
    /// Seconds that running streams get after SIGTERM
    #[arg(long, value_name = "SECONDS", env = "MODELVAULT_DRAIN", default_value_t = 30, hide_env_values = true)]
    pub drain: u64,
}
