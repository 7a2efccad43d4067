//! Numbers and spans: what a strict reader of their formats sees.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;
use std::time::Duration;

use model_vault::telemetry::{Call, Metrics, Page, Span, SpanContext, otlp_spans, process};

/// Reads the text format strictly: each sample after the type of its family, no family twice, names and labels as the format
/// has them, no sample twice.
fn read(text: &str) -> HashMap<String, f64> {
    let name = |n: &str| {
        !n.is_empty()
            && !n.starts_with(|c: char| c.is_ascii_digit())
            && n.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
    };
    let (mut samples, mut families, mut current) = (HashMap::new(), HashMap::new(), String::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (family, help) = rest.split_once(' ').unwrap();
            assert!(name(family) && !help.is_empty() && !families.contains_key(family), "{line}");
            current = family.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').unwrap();
            assert!(family == current && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
            families.insert(family.to_owned(), kind.to_owned());
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let bare = series.split('{').next().unwrap();
            let of_current = bare == current
                || (families[&current] == "histogram"
                    && ["_bucket", "_sum", "_count"].iter().any(|end| bare.strip_suffix(end) == Some(&current)));
            assert!(name(bare) && of_current, "{line}");
            if let Some(labels) = series.strip_prefix(bare).filter(|l| !l.is_empty()) {
                let inner = labels.strip_prefix('{').and_then(|l| l.strip_suffix("\"}")).unwrap();
                for label in inner.split("\",") {
                    let (label, text) = label.split_once("=\"").unwrap();
                    assert!(name(label) && !label.starts_with("__") && !text.contains('"'), "{line}");
                }
            }
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    samples
}

fn call<'a>(method: &'a str, code: Option<u8>, error: Option<&'a str>) -> Call<'a> {
    Call { method, code, error, sent: 10, took: Duration::from_millis(3) }
}

#[test]
fn what_was_counted_can_be_read() {
    let metrics = Metrics::default();
    for _ in 0..4 {
        metrics.begin();
    }
    metrics.end(&call("/modelvault.v1.AdminService/Status", Some(0), None));
    metrics.end(&call("/modelvault.v1.AdminService/Status", Some(7), Some("Denied")));
    metrics.end(&call("/modelvault.v1.FetchService/Fetch", None, None));
    metrics.connected();
    metrics.turned_away("BadCredential");
    metrics.lease(true);
    let mut page = Page::default();
    metrics.write(&mut page);
    process(&mut page);
    let samples = read(&page.finish());
    let of = |series: &str| samples.get(series).copied().unwrap_or_else(|| panic!("{series} is missing"));
    assert_eq!(of(r#"modelvault_calls_total{method="modelvault.v1.AdminService/Status",code="OK"}"#), 1.0);
    assert_eq!(of(r#"modelvault_calls_total{method="modelvault.v1.FetchService/Fetch",code="CANCELLED"}"#), 1.0);
    assert_eq!(of(r#"modelvault_errors_total{id="Denied"}"#), 1.0);
    assert_eq!(of("modelvault_calls_running"), 1.0);
    assert_eq!(of("modelvault_sent_bytes_total"), 30.0);
    assert_eq!(of(r#"modelvault_call_duration_seconds_bucket{le="0.0025"}"#), 0.0);
    assert_eq!(of(r#"modelvault_call_duration_seconds_bucket{le="0.005"}"#), 3.0);
    assert_eq!(of("modelvault_call_duration_seconds_count"), 3.0);
    assert_eq!(of(r#"modelvault_turned_away_total{id="BadCredential"}"#), 1.0);
    assert!(of("process_resident_memory_bytes") > 1e6 && of("process_open_fds") >= 3.0);
}

#[test]
fn names_that_callers_choose_become_no_labels_and_labels_have_a_bound() {
    let metrics = Metrics::default();
    for i in 0..5000 {
        metrics.begin();
        metrics.end(&call(&format!("/canary{i}/x"), Some(12), None));
    }
    for i in 0..5000 {
        metrics.begin();
        metrics.end(&call(&format!("/method{i}/\"\\\n"), Some(0), Some("x")));
    }
    let mut page = Page::default();
    metrics.write(&mut page);
    let text = page.finish();
    assert!(!text.contains("canary"), "{text}");
    assert!(text.lines().filter(|l| l.starts_with("modelvault_calls_total")).count() <= 514);
}

#[test]
fn a_callers_trace_is_taken_up_and_what_is_none_is_ignored() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let context = SpanContext::parse(good).unwrap();
    assert_eq!((context.trace[0], context.parent[7], context.sampled), (0x0a, 0x31, true));
    assert!(SpanContext::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more").is_some());
    for bad in [
        "",
        "00",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
    ] {
        assert_eq!(SpanContext::parse(bad), None, "{bad}");
    }
}

#[test]
fn spans_are_written_as_otlp_has_them_in_json() {
    let span = Span {
        trace: [1; 16],
        id: [2; 8],
        parent: Some([3; 8]),
        method: "modelvault.v1.AdminService/Status".into(),
        code: 7,
        error: Some("Denied".into()),
        request_id: Some("ab".into()),
        start: 5,
        end: 6,
    };
    let text = otlp_spans(&serde_json::json!({}), &[span]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let span = &value["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "01".repeat(16));
    assert_eq!((&span["parentSpanId"], &span["startTimeUnixNano"]), (&"03".repeat(8).into(), &"5".into()));
    assert_eq!(span["status"]["code"], 0, "a refusal is no fault of the server");
}
