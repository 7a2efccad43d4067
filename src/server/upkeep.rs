//! What a daemon does while nobody calls: checkpoints, certificates, and the authorities of other trust domains.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::agents::Agents;
use super::{Reloaded, Reply, calls, certificate};
use crate::error::Result;
use crate::identity::{AgentBundles, Bundles, ServerTls};
use crate::vault::Vault;

/// Every second: a checkpoint if one is due. Every hour, and when told: a fresh server certificate, long before the old one ends.
pub(super) async fn upkeep(
    vault: Arc<Vault>,
    tls: Option<(ServerTls, Vec<String>)>,
    mut reloads: mpsc::Receiver<Reply>,
) {
    const RENEW_EVERY: u64 = 3600;
    let mut clock = every_second();
    let mut second = 0u64;
    loop {
        tokio::select! {
            _ = clock.tick() => second += 1,
            Some(reply) = reloads.recv() => {
                let outcome = reload(&vault, tls.as_ref()).await;
                match &outcome {
                    Ok(Reloaded { certificate: Some(until) }) => tracing::info!(%until, "reloaded the server certificate"),
                    Ok(Reloaded { certificate: None }) => tracing::info!("there is nothing to reload"),
                    Err(e) => tracing::error!(error = %e, "the server certificate could not be reloaded"),
                }
                // Whether anybody waits for it or not, it is done.
                let _ = reply.send(outcome);
                continue;
            }
        }
        let ticked = Arc::clone(&vault);
        match tokio::task::spawn_blocking(move || ticked.tick()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!(error = %e, "the audit log's checkpoint could not be signed"),
            Err(e) => tracing::error!(error = %e, "the audit log's checkpoint could not be signed"),
        }
        if let Some((tls, hosts)) = tls.as_ref().filter(|_| second.is_multiple_of(RENEW_EVERY)) {
            let fresh = certificate(&vault, hosts).await.and_then(|own| tls.exchange(&own));
            if let Err(e) = fresh {
                tracing::error!(error = %e, "the server certificate could not be renewed");
            }
        }
    }
}

/// Every second, and when the settings or an agent say something else: the authorities of other trust domains. By itself, so
/// that taking one away does not wait for a signature or a disk.
pub(super) async fn trust_domains(vault: Arc<Vault>, agent_away: Duration) {
    let mut clock = every_second();
    let (mut bundles, mut cuts) = (Bundles::default(), vault.cuts());
    let mut agents = Agents::new(agent_away);
    let mut told = agents.changes();
    loop {
        agents.listen_to(&vault.agents());
        bundles = refresh(&vault, bundles, agents.told().clone()).await;
        tokio::select! {
            _ = clock.tick() => {}
            Ok(()) = cuts.changed() => {}
            Ok(()) = told.changed() => {}
        }
    }
}

fn every_second() -> tokio::time::Interval {
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    clock
}

/// Takes up the authorities of other trust domains when they have changed.
async fn refresh(vault: &Arc<Vault>, mut bundles: Bundles, agents: AgentBundles) -> Bundles {
    let asked = Arc::clone(vault);
    let look = move || {
        asked.refresh_trust(&mut bundles, &agents);
        bundles
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(bundles) => bundles,
        Err(e) => {
            tracing::error!(error = %e, "the authorities of other trust domains could not be read");
            Bundles::default()
        }
    }
}

async fn reload(vault: &Arc<Vault>, tls: Option<&(ServerTls, Vec<String>)>) -> Result<Reloaded> {
    let Some((tls, hosts)) = tls else { return Ok(Reloaded { certificate: None }) };
    let own = certificate(vault, hosts).await?;
    let (serial, until) = (own.issued.serial, own.issued.not_after);
    let recording = Arc::clone(vault);
    let record = move || recording.record_reload(serial, until);
    tokio::task::spawn_blocking(record).await.map_err(calls::panicked)??;
    tls.exchange(&own)?;
    Ok(Reloaded { certificate: Some(until) })
}
