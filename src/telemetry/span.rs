//! Spans of calls for OpenTelemetry: which method, how it ended, how long it took, and where it belongs in the caller's trace.

use serde_json::{Value, json};

/// Where a call belongs (W3C Trace Context): the caller's trace, and its span there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    /// The whole.
    pub trace: [u8; 16],
    /// The caller's part.
    pub parent: [u8; 8],
    /// Whether the caller wants it recorded.
    pub sampled: bool,
}

impl SpanContext {
    /// From a `traceparent` header; `None` for what breaks its rules, which then is ignored.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        // Later versions may have more parts; version 0 has four, and ff is none.
        let known = version.len() == 2 && version != "ff" && (version != "00" || parts.next().is_none());
        if !known || flags.len() != 2 || ![version, trace, parent, flags].into_iter().all(lower) {
            return None;
        }
        let (mut context, mut bits) = (Self { trace: [0; 16], parent: [0; 8], sampled: false }, [0; 1]);
        hex::decode_to_slice(trace, &mut context.trace).ok()?;
        hex::decode_to_slice(parent, &mut context.parent).ok()?;
        hex::decode_to_slice(flags, &mut bits).ok()?;
        context.sampled = bits[0] & 1 == 1;
        (context.trace != [0; 16] && context.parent != [0; 8]).then_some(context)
    }
}

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace: [u8; 16],
    /// Itself.
    pub id: [u8; 8],
    /// The caller's span, if the caller said so.
    pub parent: Option<[u8; 8]>,
    /// `modelvault.v1.AdminService/Status`
    pub method: String,
    /// gRPC status; 1 (cancelled) if it was broken off.
    pub code: u8,
    /// Our id of the error.
    pub error: Option<String>,
    /// Of the audit log.
    pub request_id: Option<String>,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// The same.
    pub end: u64,
}

/// Spans as one OTLP/HTTP request in JSON. `resource`: who says so.
pub fn otlp_spans(resource: &Value, spans: &[Span]) -> String {
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let span = |s: &Span| {
        let (service, method) = s.method.split_once('/').unwrap_or((&s.method, ""));
        let mut attributes = vec![
            text("rpc.system", "grpc"),
            text("rpc.service", service),
            text("rpc.method", method),
            json!({ "key": "rpc.grpc.status_code", "value": { "intValue": s.code.to_string() } }),
        ];
        attributes.extend(s.error.as_deref().map(|id| text("error.type", id)));
        attributes.extend(s.request_id.as_deref().map(|id| text("modelvault.request_id", id)));
        let mut span = json!({
            "traceId": hex::encode(s.trace),
            "spanId": hex::encode(s.id),
            "name": s.method,
            "kind": 2,
            "startTimeUnixNano": s.start.to_string(),
            "endTimeUnixNano": s.end.to_string(),
            "attributes": attributes,
            // Servers mark as failed what is the server's fault (semantic conventions of RPC).
            "status": { "code": if matches!(s.code, 2 | 4 | 12 | 13 | 14 | 15) { 2 } else { 0 } },
        });
        if let Some(parent) = s.parent {
            span["parentSpanId"] = hex::encode(parent).into();
        }
        span
    };
    let spans: Vec<_> = spans.iter().map(span).collect();
    json!({ "resourceSpans": [{
        "resource": resource,
        "scopeSpans": [{ "scope": { "name": "modelvault.calls" }, "spans": spans }],
    }]})
    .to_string()
}
