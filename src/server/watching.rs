//! The rules' clock, and the webhook: alerts that are sent to somebody else, signed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::calls;
use crate::crypto::hash::hmac;
use crate::error::{Error, ErrorId, Result};
use crate::names::Timestamp;
use crate::net::{Bounds, HttpClient, Roots, Url};
use crate::vault::{Raised, Vault};
use crate::watch::Webhook;

/// New rows are looked at so often: a hold is in force well within a second of the row that asks for it.
const EVERY: Duration = Duration::from_millis(250);
/// Alerts that wait for the webhook at most; more are in the log alone.
const WAITING: usize = 256;
/// Alerts that are sent at the same time: one that is tried again holds up no other.
const AT_ONCE: usize = 8;
/// Pauses before it is tried again.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

/// Looks at the log until it is dropped.
pub(super) async fn watch(vault: Arc<Vault>) {
    let (queue, waiting) = mpsc::channel(WAITING);
    let sender = send_all(waiting, Arc::clone(&vault));
    let watcher = async move {
        let mut clock = tokio::time::interval(EVERY);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failed = false;
        loop {
            clock.tick().await;
            let watching = Arc::clone(&vault);
            let raised = tokio::task::spawn_blocking(move || watching.watch()).await.map_err(calls::panicked);
            match raised.and_then(|raised| raised) {
                Ok(raised) => {
                    failed = false;
                    raised.into_iter().for_each(|raised| tell(raised, &queue));
                }
                // Once, not four times a second.
                Err(e) if !std::mem::replace(&mut failed, true) => {
                    tracing::error!(error = %e, "the alert rules could not look at the audit log");
                }
                Err(_) => {}
            }
        }
    };
    tokio::join!(watcher, sender);
}

fn tell(raised: Raised, queue: &mpsc::Sender<(Webhook, String)>) {
    let Raised { alert, held, webhook } = raised;
    tracing::warn!(rule = %alert.rule, row = alert.seq, held, "alert: {alert}");
    let Some(webhook) = webhook else { return };
    let body = json!({
        "id": format!("{}-{}", alert.seq, alert.rule),
        "time": alert.time,
        "rule": alert.rule.as_str(),
        "severity": alert.severity,
        "action": alert.response,
        "held": held,
        "principal": alert.principal.as_ref().map(ToString::to_string),
        "object": alert.object,
        "row": alert.seq,
        "seen": alert.seen,
        "usual": alert.usual,
    });
    if queue.try_send((webhook, body.to_string())).is_err() {
        tracing::warn!("an alert was not sent to the webhook: too many wait");
    }
}

async fn send_all(mut waiting: mpsc::Receiver<(Webhook, String)>, vault: Arc<Vault>) {
    let mut sending = JoinSet::new();
    while let Some((webhook, body)) = waiting.recv().await {
        while sending.try_join_next().is_some() {}
        if sending.len() >= AT_ONCE {
            sending.join_next().await;
        }
        sending.spawn(send_one(webhook, body, Arc::clone(&vault)));
    }
}

async fn send_one(webhook: Webhook, body: String, vault: Arc<Vault>) {
    let mut pauses = AGAIN.iter();
    while let Err(e) = send(&webhook, &body, vault.clock().now()).await {
        match pauses.next() {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return tracing::error!(error = %e, "an alert was not sent to the webhook; it is in the audit log"),
        }
    }
}

/// One POST, with the HMAC-SHA256 of `time.body`.
async fn send(webhook: &Webhook, body: &str, now: Timestamp) -> Result<()> {
    let url: Url = webhook.url.parse()?;
    let key = key(&webhook.key_file)?;
    let time = now.as_secs().to_string();
    let proof = hex::encode(hmac(&key, &[time.as_bytes(), b".", body.as_bytes()]));
    let headers = [("modelvault-time".to_owned(), time), ("modelvault-signature".to_owned(), format!("v1={proof}"))];
    let roots = webhook.ca.clone().map_or(Roots::System, Roots::File);
    let client = HttpClient::new(&roots, None, Bounds::default())?;
    client.post(&url, "application/json", &headers, body.to_owned().into()).await?.ok(&url).map(drop)
}

fn key(file: &Path) -> Result<[u8; 32]> {
    let bad = |why: &str| Error::new(ErrorId::ConfigInvalid, format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| bad(&crate::error::reason(&e)))?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key).map_err(|_| bad("not 64 hex digits"))?;
    Ok(key)
}
