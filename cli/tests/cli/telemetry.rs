//! Numbers and spans of a daemon, as a scraper and a collector see them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::sinks::until;
use super::support::{Daemon, Machine};

const METRICS: [&str; 4] = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
/// In every name that a caller may choose.
const CANARY: &str = "canary";

fn get(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().into(), body.into())
}

/// A value of the page.
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find(|l| l.rsplit_once(' ').is_some_and(|(name, _)| name == series));
    line.unwrap_or_else(|| panic!("{series} is missing in\n{page}")).rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn busy(m: &Machine) {
    m.file("canary.onnx", 2_000_000);
    m.ok(&["seal", "canary.onnx", "--name", "canary-model", "--tag", "canary-tag"]);
    m.ok(&["workload", "enroll", "canary-workload", "-o", "enrolment"]);
    m.fails(&["fetch", "canary-model", "--enrolment", "enrolment", "-o", "x", "--no-state"], 6, "NotFound");
    m.ok(&["grant", "canary-workload", "canary-model"]);
    m.ok(&["fetch", "canary-model", "--enrolment", "enrolment", "-o", "out", "--no-state"]);
}

#[test]
fn a_scraper_sees_numbers_and_no_names() {
    let m = Machine::new();
    let events = m.home().with_file_name("events");
    fs::write(
        m.path("sinks.toml"),
        format!("[[sink]]\nname = \"file\"\nformat = \"cef\"\nto = \"file\"\npath = {events:?}\n"),
    )
    .unwrap();
    m.ok(&["config", "set", "sinks", "sinks.toml"]);
    let daemon = Daemon::start(&m, &METRICS);
    let url = daemon.metrics.clone().unwrap();
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap().to_owned();
    let page = || get(&address, "GET /metrics").1;
    busy(&m);
    m.ok(&["quarantine", "principal", "canary-workload", "--reason", "canary"]);
    fs::write(m.path("list"), format!("key:{}\n", "5".repeat(64))).unwrap();
    m.ok(&["intel", "import", "list", "--source", "canary-list"]);
    until("the sink is up to date", || value(&page(), "modelvault_sink_lag_records{sink=\"file\"}") == 0.0);
    let page = page();
    assert!(!page.contains(CANARY), "{page}");
    assert!(!page.contains("127.0.0.1") && !page.contains("default/"), "{page}");
    assert_eq!(value(&page, "modelvault_calls_total{method=\"modelvault.v1.FetchService/Fetch\",code=\"OK\"}"), 1.0);
    assert!(value(&page, "modelvault_sent_bytes_total") > 2_000_000.0);
    assert!(value(&page, "modelvault_errors_total{id=\"NotFound\"}") >= 1.0);
    assert!(value(&page, "modelvault_audit_records_total") > 5.0);
    assert!(value(&page, "modelvault_sink_events_total{sink=\"file\"}") > 5.0);
    assert_eq!(value(&page, "modelvault_holds{on=\"principal\",kind=\"suspend\"}"), 1.0);
    assert_eq!(value(&page, "modelvault_holds{on=\"artifact\",kind=\"suspend\"}"), 0.0);
    assert_eq!(value(&page, "modelvault_deny_list_hits_total"), 0.0);
    well_formed(&page);
    assert!(value(&page, "process_resident_memory_bytes") > 1e6);
    assert_eq!(
        value(&page, "modelvault_call_duration_seconds_bucket{le=\"+Inf\"}"),
        value(&page, "modelvault_call_duration_seconds_count")
    );
    for (request, status) in [("GET /", "404"), ("POST /metrics", "405"), ("GET /metrics/../keys", "404")] {
        assert!(get(&address, request).0.contains(status), "{request}");
    }
    // What speaks no HTTP, or says nothing, holds nothing up.
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(&address).unwrap()).collect();
    m.ok(&["status"]);
    drop(silent);
    until("numbers again", || get_maybe(&address).is_some_and(|p| p.contains("modelvault_build_info")));
    assert_eq!(daemon.stop(), Some(0));
}

/// What `promtool check metrics` asks of the text format: each family described once and before its samples, each series once.
fn well_formed(page: &str) {
    let (mut families, mut series) = (std::collections::HashMap::new(), std::collections::HashSet::new());
    let mut described = "";
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            described = help.split(' ').next().unwrap();
            assert!(help.len() > described.len() + 1, "{line}");
        } else if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of.split_once(' ').unwrap();
            assert!(name == described && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(families.insert(name, kind).is_none(), "{line}");
            assert!(kind != "counter" || name.ends_with("_total"), "{line}");
        } else {
            let (sample, number) = line.rsplit_once(' ').unwrap();
            assert!(number.parse::<f64>().is_ok() && series.insert(sample), "{line}");
            let name = sample.split('{').next().unwrap();
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let of = histogram.filter(|name| families.get(name) == Some(&"histogram")).unwrap_or(name);
            assert!(of == described && families.contains_key(of), "{line}");
        }
    }
    assert!(families.len() > 20);
}

fn get_maybe(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Takes what is posted to it.
struct Collector {
    address: String,
    posted: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Collector {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let posted = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&posted);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut path, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if stream.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                        break;
                    }
                    if path.is_empty() {
                        path = line.split(' ').nth(1).unwrap().into();
                    } else if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = n.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                kept.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap()));
                let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
            }
        });
        Self { address, posted }
    }

    fn all(&self, path: &str, pointer: &str) -> Vec<Value> {
        let posted = self.posted.lock().unwrap();
        let of_path = posted.iter().filter(|(p, _)| p == path);
        of_path.flat_map(|(_, body)| body.pointer(pointer).unwrap().as_array().unwrap().clone()).collect()
    }
}

#[test]
fn a_collector_gets_a_span_of_each_call_and_the_log() {
    let m = Machine::new();
    let collector = Collector::new();
    let at = &collector.address;
    fs::write(
        m.path("sinks.toml"),
        format!(
            "[[sink]]\nname = \"otel\"\nformat = \"ecs\"\nto = \"otlp\"\naddress = {at:?}\n[traces]\naddress = {at:?}\n"
        ),
    )
    .unwrap();
    m.ok(&["config", "set", "sinks", "sinks.toml"]);
    let daemon = Daemon::start(&m, &["--listen", "127.0.0.1:0"]);
    until("spans are wanted", || {
        m.ok(&["status"]);
        !collector.all("/v1/traces", "/resourceSpans/0/scopeSpans/0/spans").is_empty()
    });
    busy(&m);
    let spans = || collector.all("/v1/traces", "/resourceSpans/0/scopeSpans/0/spans");
    until("the span of the stream", || spans().iter().any(|s| s["name"] == "modelvault.v1.FetchService/Fetch"));
    until("the span of the refusal", || spans().iter().any(|s| s.to_string().contains("NotFound")));
    for span in spans() {
        assert!(!span.to_string().contains(CANARY), "{span}");
        assert_eq!((span["traceId"].as_str().unwrap().len(), span["spanId"].as_str().unwrap().len()), (32, 16));
        let nanos = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(nanos("startTimeUnixNano") <= nanos("endTimeUnixNano"));
    }
    let logs = || collector.all("/v1/logs", "/resourceLogs/0/scopeLogs/0/logRecords");
    until("the log", || logs().iter().any(|l| l.to_string().contains("artifact.fetch.end")));
    let first: Value = serde_json::from_str(logs()[0]["body"]["stringValue"].as_str().unwrap()).unwrap();
    assert_eq!(first["event"]["action"], "vault.init");
    daemon.stop();
}
