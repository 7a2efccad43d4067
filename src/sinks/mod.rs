//! Sends the audit log to those who watch: reads rows from where each receiver is, writes them in its form, and remembers how far
//! it came. A receiver that is slow or gone holds up nobody; it finds everything when it is back.
//!
//! | file | who |
//! |---|---|
//! | `worker` | one sink: reads, sends, waits, remembers |
//! | `deliver` | the kinds of receiver, and when each has really got something |
//! | `stream` | syslog over TLS and TCP |
//! | `file` | files and standard output |

mod deliver;
mod file;
mod stream;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::siem::{Sink, SinkSettings, Source};
use crate::vault::Vault;

/// How often the settings are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long all sinks together may take to send what is left when the daemon ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A sink at work.
struct Running {
    sink: Sink,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Keeps the sinks of the settings at work until `stop` says so; then each sends what there is and ends.
pub async fn run(vault: Arc<Vault>, mut stop: watch::Receiver<bool>) {
    let source = Arc::new(source(&vault));
    let mut running = BTreeMap::<String, Running>::new();
    let mut version = None;
    while !*stop.borrow() {
        let (now, settings) = vault.setting::<SinkSettings>();
        if version != Some(now) {
            version = Some(now);
            follow(&vault, &source, &settings, &mut running).await;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            // The sender going away says the same.
            _ = stop.changed() => break,
        }
    }
    end(&vault, running.into_values().collect()).await;
}

async fn follow(
    vault: &Arc<Vault>,
    source: &Arc<Source>,
    settings: &SinkSettings,
    running: &mut BTreeMap<String, Running>,
) {
    let stays = |r: &Running| settings.sinks.contains(&r.sink);
    let names: Vec<_> = running.iter().filter(|(_, r)| !stays(r)).map(|(name, _)| name.clone()).collect();
    end(vault, names.iter().filter_map(|name| running.remove(name)).collect()).await;
    for sink in &settings.sinks {
        if running.contains_key(&sink.name) {
            continue;
        }
        let (stop, stopped) = watch::channel(false);
        let worker = worker::Worker::new(Arc::clone(vault), Arc::clone(source), sink.clone(), stopped);
        let task = tokio::spawn(worker.run());
        running.insert(sink.name.clone(), Running { sink: sink.clone(), stop, task });
    }
}

async fn end(vault: &Vault, sinks: Vec<Running>) {
    for running in &sinks {
        // One that has ended already needs no telling.
        let _ = running.stop.send(true);
    }
    let until = tokio::time::Instant::now() + LAST_WORDS;
    for mut running in sinks {
        if tokio::time::timeout_at(until, &mut running.task).await.is_err() {
            running.task.abort();
        }
        vault.forget_sink(&running.sink.name);
    }
}

/// Which log the events are of.
pub(crate) fn source(vault: &Vault) -> Source {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Source { vault: vault.vault_id(), host, release: env!("CARGO_PKG_VERSION") }
}
