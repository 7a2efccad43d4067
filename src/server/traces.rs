//! Takes spans to a collector, if one is set: OTLP over HTTP. What finds no room on the way, or no collector, is dropped and counted:
//! a trace is a help, not a record.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::calls::Calls;
use super::watch::Spans;
use crate::error::Result;
use crate::net::{Bounds, HttpClient, Roots, Url};
use crate::siem::{SinkSettings, Traces, otlp_resource};
use crate::telemetry::{Span, otlp_spans};
use crate::vault::Vault;

/// Spans on the way, at most.
const ROOM: usize = 4096;
/// Spans of one request.
const BATCH: usize = 512;
/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(2);

/// Whether spans are wanted, and where they go.
pub(super) struct Tracing {
    wanted: AtomicBool,
    spans: Spans,
    /// Until somebody takes them to a collector.
    waiting: Mutex<Option<mpsc::Receiver<Span>>>,
}

impl Tracing {
    pub(super) fn new() -> Self {
        let (spans, waiting) = mpsc::channel(ROOM);
        Self { wanted: AtomicBool::new(false), spans, waiting: Mutex::new(Some(waiting)) }
    }

    /// Where a span of a call goes that begins now.
    pub(super) fn spans(&self) -> Option<Spans> {
        self.wanted.load(Ordering::Relaxed).then(|| self.spans.clone())
    }
}

/// Until `stop` says so.
pub(super) async fn run(vault: Arc<Vault>, calls: Arc<Calls>, mut stop: watch::Receiver<bool>) {
    let tracing = &calls.tracing;
    let waiting = tracing.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut waiting) = waiting else { return };
    let resource = otlp_resource(&crate::sinks::source(&vault));
    let mut collector: Option<(HttpClient, Url)> = None;
    let (mut version, mut told) = (None, false);
    loop {
        let (now, settings) = vault.setting::<SinkSettings>();
        if version != Some(now) {
            version = Some(now);
            collector = settings.traces.as_ref().and_then(|traces| {
                open(traces)
                    .inspect_err(|e| tracing::warn!(error = %e, "no spans are sent: their collector cannot be used"))
                    .ok()
            });
            tracing.wanted.store(collector.is_some(), Ordering::Relaxed);
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        let ending = *stop.borrow() || stop.has_changed().is_err();
        let mut batch = Vec::new();
        while let Ok(span) = waiting.try_recv() {
            batch.push(span);
            if batch.len() == BATCH {
                send(&vault, collector.as_ref(), &resource, &std::mem::take(&mut batch), &mut told).await;
            }
        }
        send(&vault, collector.as_ref(), &resource, &batch, &mut told).await;
        if ending {
            return;
        }
    }
}

async fn send(
    vault: &Vault,
    collector: Option<&(HttpClient, Url)>,
    resource: &serde_json::Value,
    batch: &[Span],
    told: &mut bool,
) {
    let Some((client, url)) = collector.filter(|_| !batch.is_empty()) else { return };
    let sent = match client.post(url, "application/json", &[], otlp_spans(resource, batch).into_bytes().into()).await {
        Ok(answer) => answer.ok(url).map(drop),
        Err(e) => Err(e),
    };
    if let Err(e) = sent {
        batch.iter().for_each(|_| vault.metrics().span_dropped());
        if !std::mem::replace(told, true) {
            tracing::warn!(error = %e, "spans do not reach their collector");
        }
    } else {
        *told = false;
    }
}

fn open(traces: &Traces) -> Result<(HttpClient, Url)> {
    let url: Url = traces.address.parse()?;
    let roots = traces.ca.clone().map_or(Roots::System, Roots::File);
    let bounds = Bounds { time: Duration::from_secs(5), body: 1 << 20 };
    Ok((HttpClient::new(&roots, None, bounds)?, url.with_path("/v1/traces")))
}
