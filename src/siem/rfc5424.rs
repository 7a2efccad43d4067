//! Syslog as of RFC 5424, and its framing on streams (RFC 5425 and 6587: the length before each message).
//!
//! Facility 13 (log audit). The structured data is under the enterprise number that RFC 5612 keeps for documentation until
//! the product has one of its own.

use std::fmt::Write as _;

use super::Source;
use super::reading::{
    Severity, actor_kind, actor_name, address, denial, object_name, peer, sentence, severity, unreadable_sentence,
};
use crate::audit::{Record, RecordError};

const SD_ID: &str = "modelvault@32473";
const APP: &str = "model-vault";
const FACILITY: u8 = 13;
/// What RFC 5424 allows for the two fields that come from outside this file.
const HOSTNAME_MAX: usize = 255;
const MSGID_MAX: usize = 32;

/// One event: its facts as structured data, its sentence as text.
pub(super) fn event(source: &Source, seq: u64, record: &Record) -> String {
    let mut data = Data::new(source, seq);
    data.put("act", record.act().as_str());
    data.put("decision", if denial(record).is_some() { "deny" } else { "allow" });
    if let Some(reason) = denial(record) {
        data.put("reason", reason);
    }
    data.put("kind", actor_kind(record.actor()));
    data.put("issuer", &record.actor().issuer);
    data.put("actor", actor_name(record.actor()));
    data.put("request_id", record.request_id());
    if let Some(object) = record.object() {
        data.put("object", object_name(object));
        if let Some(id) = object.artifact_id {
            data.put("artifact_id", id);
        }
        if let Some(root) = object.root {
            data.put("root", root);
        }
    }
    for policy in record.policies() {
        data.put("policy", policy.as_str());
    }
    if let Some(version) = record.policy_version() {
        data.put("policy_version", version.as_str());
    }
    if let Some(channel) = record.channel() {
        data.put("transport", channel.transport.as_str());
        if let Some(group) = &channel.tls_group {
            data.put("tls_group", group.as_str());
        }
    }
    match address(record) {
        Some((ip, _)) => data.put("ip", ip),
        None => data.put("peer", peer(record)),
    }
    for (key, value) in record.details() {
        // Names of details are ours; the ellipsis that marks more of them is not ASCII.
        if key.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            data.put(&format!("d_{}", &key.as_str()[..key.as_str().len().min(30)]), value.as_str());
        }
    }
    let (severity, id, text) = (priority(severity(record)), record.act().as_str(), sentence(record));
    // The byte order mark says that the text is UTF-8 (section 6.4). JSON in its place must not have one.
    let text = if text.is_ascii() { text } else { format!("\u{feff}{text}") };
    header(source, severity, &record.time().to_string(), id, &data.finish(), &text)
}

/// A row that is no record of this release.
pub(super) fn unreadable(source: &Source, seq: u64, why: &RecordError) -> String {
    let data = Data::new(source, seq).finish();
    header(source, priority(Severity::High), "-", "audit.unreadable", &data, &unreadable_sentence(seq, why))
}

/// An event of another form as the text of a syslog message.
pub fn frame(source: &Source, record: &Result<Record, RecordError>, text: &str) -> String {
    match record {
        Ok(record) => {
            let (severity, id) = (priority(severity(record)), record.act().as_str());
            header(source, severity, &record.time().to_string(), id, "-", text)
        }
        Err(_) => header(source, priority(Severity::High), "-", "audit.unreadable", "-", text),
    }
}

/// A message as it goes over a stream: `LEN SP MESSAGE`.
pub fn octet_counted(message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(message.len().to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(message.as_bytes());
}

/// Severities of RFC 5424: informational, notice, warning, alert.
const fn priority(severity: Severity) -> u8 {
    match severity {
        Severity::Informational => 6,
        Severity::Low => 5,
        Severity::Medium => 4,
        Severity::High => 1,
    }
}

/// `time`: years beyond 9999 and before 0 never come, RFC 3339 with milliseconds does.
fn header(source: &Source, severity: u8, time: &str, id: &str, data: &str, text: &str) -> String {
    let host = printable(&source.host, HOSTNAME_MAX);
    let id = printable(id, MSGID_MAX);
    let process = std::process::id();
    format!("<{}>1 {time} {host} {APP} {process} {id} {data} {text}", FACILITY * 8 + severity)
}

/// Fields of the header are of printable ASCII without spaces, and `-` where there is nothing.
fn printable(text: &str, max: usize) -> String {
    let kept: String = text.chars().filter(char::is_ascii_graphic).take(max).collect();
    if kept.is_empty() { "-".into() } else { kept }
}

struct Data(String);

impl Data {
    fn new(source: &Source, seq: u64) -> Self {
        let mut data = Self(format!("[{SD_ID}"));
        data.put("vault", source.vault);
        data.put("seq", seq);
        data
    }

    fn put(&mut self, name: &str, value: impl std::fmt::Display) {
        write!(self.0, " {name}=\"").expect("writing to a string");
        for c in value.to_string().chars() {
            match c {
                '"' | '\\' | ']' => self.0.extend(['\\', c]),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }

    fn finish(mut self) -> String {
        self.0.push(']');
        self.0
    }
}
