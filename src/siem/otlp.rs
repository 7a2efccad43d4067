//! OpenTelemetry: OTLP over HTTP with JSON bodies, of log records and of spans. Identifiers are hexadecimal and 64-bit numbers
//! are strings, as its JSON mapping has them.

use serde_json::{Value, json};

use super::reading::{Severity, actor_kind, actor_name, denial, object_name, severity, unreadable_sentence};
use super::{Format, Source};
use crate::audit::Record;

fn text(key: &str, value: impl Into<String>) -> Value {
    json!({ "key": key, "value": { "stringValue": value.into() } })
}

/// Who says it.
pub fn otlp_resource(source: &Source) -> Value {
    json!({ "attributes": [
        text("service.name", "model-vault"),
        text("service.version", source.release),
        text("service.instance.id", source.vault.to_string()),
        text("host.name", source.host.as_str()),
    ]})
}

/// One row as a log record: what the form says of it is the body, the facts that people search for are attributes.
pub fn otlp_log(source: &Source, format: Format, seq: u64, row: &[u8]) -> String {
    let mut attributes = vec![
        text("event.name", "modelvault.audit"),
        json!({ "key": "modelvault.seq", "value": { "intValue": seq.to_string() } }),
    ];
    let (time, severity, name) = match Record::parse(row) {
        Ok(record) => {
            attributes.push(text("modelvault.act", record.act().as_str()));
            attributes.push(text("modelvault.decision", if denial(&record).is_some() { "deny" } else { "allow" }));
            attributes.push(text("modelvault.actor", actor_name(record.actor())));
            attributes.push(text("modelvault.actor.kind", actor_kind(record.actor())));
            attributes.push(text("modelvault.request_id", record.request_id().to_string()));
            attributes.extend(record.object().map(|o| text("modelvault.object", object_name(o))));
            attributes.extend(denial(&record).map(|reason| text("error.type", reason)));
            (nanos(record.time().as_millis()), severity(&record), None)
        }
        Err(why) => ("0".into(), Severity::High, Some(unreadable_sentence(seq, &why))),
    };
    let (number, word) = match severity {
        Severity::Informational => (9, "INFO"),
        Severity::Low => (10, "INFO2"),
        Severity::Medium => (13, "WARN"),
        Severity::High => (17, "ERROR"),
    };
    let body = name.unwrap_or_else(|| format.event(source, seq, row));
    json!({
        "timeUnixNano": time,
        "severityNumber": number,
        "severityText": word,
        "body": { "stringValue": body },
        "attributes": attributes,
    })
    .to_string()
}

/// Log records of [`otlp_log`] as one request.
pub fn otlp_logs(source: &Source, records: &[String]) -> String {
    let resource = otlp_resource(source);
    format!(
        r#"{{"resourceLogs":[{{"resource":{resource},"scopeLogs":[{{"scope":{{"name":"modelvault.audit"}},"logRecords":[{}]}}]}}]}}"#,
        records.join(",")
    )
}

/// Milliseconds as the nanoseconds of OTLP, which begin in 1970.
fn nanos(millis: i64) -> String {
    u64::try_from(millis).map_or_else(|_| "0".into(), |ms| format!("{ms}000000"))
}
