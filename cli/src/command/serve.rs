//! `vault serve`: the daemon.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model_vault::crypto::keys::harden_process;
use model_vault::server::{Addresses, Limits, Reloaded, Reloader, Server, ServerConfig};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Context, show};
use crate::args;
use crate::output::Output;

/// The ready line of `vault serve --json`.
#[derive(Debug, Serialize)]
struct Ready {
    /// Where workloads are served.
    listening: Option<String>,
    socket: Option<PathBuf>,
    /// Where numbers for Prometheus are.
    metrics: Option<String>,
    pid: u32,
}

/// Serves until it is told to stop.
pub fn run(cx: &Context<'_>, args: &args::Serve) -> Result<()> {
    let listen = addresses("--listen", &args.listen)?;
    let metrics = args.metrics.as_deref().map_or(Ok(None), |text| addresses("--metrics", text))?;
    harden_process().map_err(|e| Error::from(e).on("core dumps cannot be turned off"))?;
    if let Some(socket) = cx.session.daemon()? {
        return Err(Error::new(ErrorId::Busy, format!("a daemon serves this vault already, at {}", socket.display()))
            .hint("vault status shows where; stop it first"));
    }
    let socket = match &args.socket {
        Some(path) => path.clone(),
        None => cx.session.socket()?,
    };
    let vault = cx.session.vault()?;
    args.witness.iter().try_for_each(|path| vault.keep_witness(path))?;
    raise_descriptors(cx.out);
    let limits = Limits { grace: Duration::from_secs(args.drain), ..Limits::default() };
    let config = ServerConfig {
        listen,
        hosts: Vec::new(),
        socket: Some(socket),
        metrics,
        reflection: !args.no_reflection,
        limits,
    };
    cx.session.wait(async {
        // Before the addresses are announced: whoever reads them may send a signal at once.
        let mut signals = Signals::new()?;
        let server = Server::bind(config).await?;
        let addresses = server.addresses();
        vault.record_daemon(true, &listening(&addresses))?;
        announce(cx, &addresses)?;
        let (reloader, out) = (server.reloader(), cx.out);
        let served = server.serve(Arc::clone(&vault), signals.stop(|| reload(out, &reloader))).await;
        vault.record_daemon(false, &listening(&addresses)).and(served)
    })?;
    cx.out.message("stopped");
    Ok(())
}

/// A connection takes a descriptor, and shells give 1024 of them while the limits of the daemon allow for more connections.
fn raise_descriptors(out: &Output) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        out.message(format!("warning: the limit of open files stays at {:?}: {e}", limit.current));
    }
}

/// `host:port`; `None` for `none`. A host is looked up: certificates name what it resolves to.
fn addresses(option: &str, text: &str) -> Result<Option<SocketAddr>> {
    if text == "none" {
        return Ok(None);
    }
    let bad = || {
        Error::new(ErrorId::InvalidArgument, format!("not an address: {text:?}"))
            .hint(format!("{option} takes HOST:PORT (port 0: a free one), or none"))
    };
    text.to_socket_addrs().map_err(|_| bad())?.next().ok_or_else(bad).map(Some)
}

fn listening(addresses: &Addresses) -> String {
    addresses.tcp.map_or_else(|| "socket".into(), |a| a.to_string())
}

fn announce(cx: &Context<'_>, addresses: &Addresses) -> Result<()> {
    let ready = Ready {
        listening: addresses.tcp.map(|a| a.to_string()),
        socket: addresses.socket.clone(),
        metrics: addresses.metrics.map(|a| format!("http://{a}/metrics")),
        pid: std::process::id(),
    };
    if cx.out.json() {
        return cx.out.json_line(&ready);
    }
    if let Some(address) = &ready.listening {
        cx.out.message(format!("serving workloads at {address}"));
    }
    if let Some(address) = &ready.metrics {
        cx.out.message(format!("serving numbers to whoever asks at {address}"));
    }
    let socket = ready.socket.as_deref().unwrap_or(Path::new("-"));
    cx.out.message(format!("serving operators at {} (pid {})", socket.display(), ready.pid));
    Ok(())
}

/// What changes while the daemon runs: the certificate it shows. Flags need a restart; the policy is in force as it is set.
async fn reload(out: &Output, reloader: &Reloader) {
    out.message(match reloader.reload().await {
        Ok(Reloaded { certificate: Some(ends) }) => {
            format!("reloaded the server certificate: it ends {}", show::time(ends))
        }
        Ok(Reloaded { certificate: None }) => {
            "nothing to reload: no workloads are served, so there is no certificate".into()
        }
        Err(e) => format!("the server certificate was not reloaded: {e}"),
    });
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGINT or SIGTERM. SIGHUP reloads, as daemons do; a terminal that closes does not end one.
    async fn stop<F: Future<Output = ()>>(&mut self, reload: impl Fn() -> F) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => reload().await,
            }
        }
    }
}
