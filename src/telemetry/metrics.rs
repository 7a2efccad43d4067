//! Counters of a daemon.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Page;

/// Upper ends of the classes of durations, in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0];
/// Pairs of labels of one metric that are kept. What would be one more is counted as `other`.
const PAIRS_MAX: usize = 512;
/// What a method is called that the daemon does not have.
const OTHER: &str = "other";

/// A call that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `/modelvault.v1.AdminService/Status`
    pub method: &'a str,
    /// Number of its gRPC status; `None`: it was broken off.
    pub code: Option<u8>,
    /// Our id of the error, if it failed with one.
    pub error: Option<&'a str>,
    /// Bytes of its answer.
    pub sent: u64,
    /// How long it took.
    pub took: Duration,
}

/// The counters. All are lock-free but those with labels, whose lock is held for one look-up.
#[derive(Debug, Default)]
pub struct Metrics {
    calls: Mutex<BTreeMap<(String, &'static str), u64>>,
    errors: Mutex<BTreeMap<String, u64>>,
    turned_away: Mutex<BTreeMap<&'static str, u64>>,
    took: [AtomicU64; SECONDS.len() + 1],
    took_micros: AtomicU64,
    running: AtomicU64,
    sent: AtomicU64,
    connections: AtomicU64,
    connections_ever: AtomicU64,
    leases: AtomicU64,
    leases_refused: AtomicU64,
    spans_dropped: AtomicU64,
    rows_watched: AtomicU64,
    alerts: Mutex<BTreeMap<&'static str, u64>>,
    quota_refusals: Mutex<BTreeMap<&'static str, u64>>,
    deny_hits: AtomicU64,
}

const ORDER: Ordering = Ordering::Relaxed;

impl Metrics {
    /// A call begins.
    pub fn begin(&self) {
        self.running.fetch_add(1, ORDER);
    }

    /// It has ended.
    pub fn end(&self, call: &Call<'_>) {
        self.running.fetch_sub(1, ORDER);
        self.sent.fetch_add(call.sent, ORDER);
        let seconds = call.took.as_secs_f64();
        let class = SECONDS.iter().position(|end| seconds <= *end).unwrap_or(SECONDS.len());
        self.took[class].fetch_add(1, ORDER);
        self.took_micros.fetch_add(call.took.as_micros().try_into().unwrap_or(u64::MAX), ORDER);
        // 12: there is no such method, so its name is the caller's choice.
        let method = if call.code == Some(12) { OTHER } else { call.method.trim_start_matches('/') };
        count(&self.calls, (method.to_owned(), code_name(call.code)), |code| (OTHER.to_owned(), code.1));
        if let Some(error) = call.error {
            count(&self.errors, error.to_owned(), |_| OTHER.to_owned());
        }
    }

    /// A connection begins.
    pub fn connected(&self) {
        self.connections.fetch_add(1, ORDER);
        self.connections_ever.fetch_add(1, ORDER);
    }

    /// It has ended.
    pub fn disconnected(&self) {
        self.connections.fetch_sub(1, ORDER);
    }

    /// Somebody was turned away before it was known who. `what`: the id of an error.
    pub fn turned_away(&self, what: &'static str) {
        count(&self.turned_away, what, |_| OTHER);
    }

    /// A lease was to be renewed.
    pub fn lease(&self, renewed: bool) {
        if renewed { &self.leases } else { &self.leases_refused }.fetch_add(1, ORDER);
    }

    /// A span found no room on its way to the collector.
    pub fn span_dropped(&self) {
        self.spans_dropped.fetch_add(1, ORDER);
    }

    /// The alert rules looked at so many rows.
    pub fn watched(&self, rows: u64) {
        self.rows_watched.fetch_add(rows, ORDER);
    }

    /// An alert of a rule is on record.
    pub fn alert(&self, rule: &'static str) {
        count(&self.alerts, rule, |_| OTHER);
    }

    /// A quota refused a call or ended a stream. `limit`: what it is a limit of.
    pub fn quota_refused(&self, limit: &'static str) {
        count(&self.quota_refusals, limit, |_| OTHER);
    }

    /// A deny list named something that was looked at, or asked for.
    pub fn deny_hit(&self) {
        self.deny_hits.fetch_add(1, ORDER);
    }

    /// Writes all of them.
    pub fn write(&self, page: &mut Page) {
        page.family("modelvault_calls_total", "counter", "Calls that have ended, by method and gRPC status.");
        for ((method, code), n) in held(&self.calls).iter() {
            page.value("modelvault_calls_total", &[("method", method), ("code", code)], n);
        }
        page.family(
            "modelvault_errors_total",
            "counter",
            "Calls that were refused or failed, by the id that the caller was told.",
        );
        for (id, n) in held(&self.errors).iter() {
            page.value("modelvault_errors_total", &[("id", id)], n);
        }
        page.family(
            "modelvault_turned_away_total",
            "counter",
            "Connections and calls refused before the caller was known, by error id.",
        );
        for (id, n) in held(&self.turned_away).iter() {
            page.value("modelvault_turned_away_total", &[("id", id)], n);
        }
        self.write_durations(page);
        let of = |n: &AtomicU64| n.load(ORDER);
        page.single("modelvault_calls_running", "gauge", "Calls and streams that run now.", of(&self.running));
        page.single(
            "modelvault_sent_bytes_total",
            "counter",
            "Bytes of answers handed to the transport.",
            of(&self.sent),
        );
        page.single("modelvault_connections", "gauge", "Connections that stand now.", of(&self.connections));
        page.single(
            "modelvault_connections_total",
            "counter",
            "Connections that were accepted.",
            of(&self.connections_ever),
        );
        page.family("modelvault_leases_total", "counter", "Leases of streams that were due, by what became of them.");
        page.value("modelvault_leases_total", &[("outcome", "renewed")], of(&self.leases));
        page.value("modelvault_leases_total", &[("outcome", "refused")], of(&self.leases_refused));
        page.single(
            "modelvault_alert_rows_total",
            "counter",
            "Rows of the audit log that the alert rules looked at.",
            of(&self.rows_watched),
        );
        page.family("modelvault_alerts_total", "counter", "Alerts that were raised, by rule.");
        for (rule, n) in held(&self.alerts).iter() {
            page.value("modelvault_alerts_total", &[("rule", rule)], n);
        }
        page.family("modelvault_quota_refusals_total", "counter", "Calls and streams that a quota refused, by limit.");
        for (limit, n) in held(&self.quota_refusals).iter() {
            page.value("modelvault_quota_refusals_total", &[("limit", limit)], n);
        }
        page.single(
            "modelvault_deny_list_hits_total",
            "counter",
            "Versions and seals that a deny list named, each time it did.",
            of(&self.deny_hits),
        );
        page.single(
            "modelvault_spans_dropped_total",
            "counter",
            "Spans that found no room on their way to the collector.",
            of(&self.spans_dropped),
        );
    }

    fn write_durations(&self, page: &mut Page) {
        const NAME: &str = "modelvault_call_duration_seconds";
        page.family(NAME, "histogram", "Time from the head of a call to the end of its answer.");
        let mut sum = 0;
        for (class, n) in self.took.iter().enumerate() {
            sum += n.load(ORDER);
            let end = SECONDS.get(class).map_or_else(|| "+Inf".into(), ToString::to_string);
            page.value("modelvault_call_duration_seconds_bucket", &[("le", &end)], sum);
        }
        let micros = self.took_micros.load(ORDER);
        page.value(
            "modelvault_call_duration_seconds_sum",
            &[],
            format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000),
        );
        page.value("modelvault_call_duration_seconds_count", &[], sum);
    }
}

fn held<T>(table: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts, under another name where there are too many.
fn count<K: Ord>(table: &Mutex<BTreeMap<K, u64>>, key: K, other: impl FnOnce(K) -> K) {
    let mut table = held(table);
    let key = if table.len() < PAIRS_MAX || table.contains_key(&key) { key } else { other(key) };
    *table.entry(key).or_default() += 1;
}

/// Names of gRPC codes, as its specification has them.
fn code_name(code: Option<u8>) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    code.map_or("CANCELLED", |code| NAMES.get(usize::from(code)).copied().unwrap_or("UNKNOWN"))
}
