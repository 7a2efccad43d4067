//! The page of numbers: plain HTTP on an address of its own, GET /metrics and nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::calls::Calls;
use crate::error::Result;
use crate::siem::SinkSettings;
use crate::telemetry::{Page, process};
use crate::vault::Vault;

/// Scrapers at the same time.
const CONNECTIONS: usize = 8;
/// Time for a request, and for the whole of a connection.
const TIMES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Takes the address.
pub(super) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    super::listen::bind_tcp(address).await
}

/// Answers until it is dropped.
pub(super) async fn serve(listener: TcpListener, vault: Arc<Vault>, calls: Arc<Calls>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptors left, most likely.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (vault, calls) = (Arc::clone(&vault), Arc::clone(&calls));
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (vault, calls) = (Arc::clone(&vault), Arc::clone(&calls));
                async move { Ok::<_, Infallible>(answer(&request, vault, &calls).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(TIMES.0)
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), service);
            // How it ends is the scraper's matter.
            let _ = tokio::time::timeout(TIMES.1, connection).await;
            drop(place);
        });
    }
}

async fn answer(request: &Request<Incoming>, vault: Arc<Vault>, calls: &Calls) -> Response<Full<Bytes>> {
    let plain = |status, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the numbers are at /metrics\n".into());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into());
    }
    let mut page = Page::default();
    calls.write_metrics(&mut page);
    match tokio::task::spawn_blocking(move || write(&vault, page)).await {
        Ok(page) => plain(StatusCode::OK, page),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the numbers could not be read\n".into()),
    }
}

/// What the vault, its catalogue and the system say.
fn write(vault: &Vault, mut page: Page) -> String {
    page.family("modelvault_build_info", "gauge", "Release of the daemon.");
    page.value("modelvault_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    vault.metrics().write(&mut page);
    let load = vault.load();
    page.single("modelvault_writer_waiting", "gauge", "Commands that wait for the catalogue's writer.", load.waiting);
    page.single("modelvault_writer_commands_total", "counter", "Commands it has carried out.", load.commands);
    page.single("modelvault_writer_commits_total", "counter", "Durable commits that took.", load.commits);
    page.family("modelvault_holds", "gauge", "Holds in force, by what they are on and what they do.");
    for ((on, kind), n) in vault.holds_in_force() {
        page.value("modelvault_holds", &[("on", on), ("kind", kind)], n);
    }
    if let Ok((records, covered)) = vault.audit_numbers() {
        page.single("modelvault_audit_records_total", "counter", "Records of the audit log.", records);
        page.single(
            "modelvault_audit_checkpoint_size",
            "gauge",
            "Records that the newest signed checkpoint covers.",
            covered,
        );
        page.single("modelvault_audit_uncovered", "gauge", "Records after it.", records.saturating_sub(covered));
        let (_, settings) = vault.setting::<SinkSettings>();
        let sinks = vault.sink_progress();
        let known = || settings.sinks.iter().filter_map(|s| Some((s.name.as_str(), sinks.get(&s.name)?)));
        page.family(
            "modelvault_sink_lag_records",
            "gauge",
            "Records that a receiver of the audit log has not got yet.",
        );
        for (name, sink) in known() {
            page.value("modelvault_sink_lag_records", &[("sink", name)], records.saturating_sub(sink.cursor));
        }
        page.family("modelvault_sink_events_total", "counter", "Events that a receiver has got.");
        for (name, sink) in known() {
            page.value("modelvault_sink_events_total", &[("sink", name)], sink.events);
        }
        page.family("modelvault_sink_failures_total", "counter", "Attempts to reach a receiver that failed.");
        for (name, sink) in known() {
            page.value("modelvault_sink_failures_total", &[("sink", name)], sink.failures);
        }
    }
    process(&mut page);
    page.finish()
}
