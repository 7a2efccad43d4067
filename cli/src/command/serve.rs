//! `vault serve`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model_vault::crypto::keys::harden_process;
use model_vault::server::{Server, ServerOptions};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use crate::args;

/// The ready line of `vault serve --json`.
#[derive(Debug, Serialize)]
struct Ready {
    /// Where workloads are served.
    listening: Option<String>,
    socket: PathBuf,
    pid: u32,
}

/// Serves until it is told to stop.
pub fn run(cx: &Context<'_>, args: &args::Serve) -> Result<()> {
    let listen = match args.listen.as_str() {
        "none" => None,
        address => Some(address.to_owned()),
    };
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
    let options = ServerOptions {
        listen,
        socket: Some(socket.clone()),
        reflection: !args.no_reflection,
        drain: Duration::from_secs(args.drain),
        ..ServerOptions::default()
    };
    cx.session.wait(async {
        let mut signals = Signals::new()?;
        let server = Arc::new(Server::bind(vault.clone(), options).await?);
        let ready = Ready {
            listening: server.address().map(|a| a.to_string()),
            socket: socket.clone(),
            pid: std::process::id(),
        };
        announce(cx, &ready)?;
        let reloading = server.clone();
        let stop = async move {
            while signals.next().await == Wanted::Reload {
                match reloading.reload() {
                    Ok(()) => eprintln!("vault: certificates renewed"),
                    Err(e) => eprintln!("vault: certificates not renewed: {e}"),
                }
            }
        };
        server.serve(stop).await
    })?;
    cx.out.message("stopped");
    Ok(())
}

fn announce(cx: &Context<'_>, ready: &Ready) -> Result<()> {
    if cx.out.json() {
        return cx.out.json_line(ready);
    }
    if let Some(address) = &ready.listening {
        cx.out.message(format!("serving workloads at {address}"));
    }
    cx.out.message(format!("serving operators at {} (pid {})", ready.socket.display(), ready.pid));
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Stop,
    Reload,
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wanted {
        tokio::select! {
            _ = self.interrupt.recv() => Wanted::Stop,
            _ = self.terminate.recv() => Wanted::Stop,
            _ = self.hangup.recv() => Wanted::Reload,
        }
    }
}
