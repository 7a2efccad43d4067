//! Common Event Format, version 0: `CEF:0|Vendor|Product|Version|Signature|Name|Severity|key=value ...`.
//!
//! In the header `\` and `|` are escaped, in values `\`, `=` and line ends; a value ends where the next ` key=` begins, so
//! keys are of letters and digits only.

use std::fmt::Write as _;

use super::Source;
use super::reading::{
    Severity, actor_kind, actor_name, actor_uid, address, denial, object_name, peer, sentence, severity,
    unreadable_sentence,
};
use crate::audit::{Record, RecordError};

/// One event.
pub(super) fn event(source: &Source, seq: u64, record: &Record) -> String {
    let severity = match severity(record) {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 6,
        Severity::High => 8,
    };
    let mut out = head(source, record.act().as_str(), record.act().as_str(), severity);
    let mut extension = Extension(&mut out);
    extension.put("rt", record.time().as_millis());
    extension.put("externalId", seq);
    extension.put("act", record.act().as_str());
    extension.put("outcome", if denial(record).is_some() { "failure" } else { "success" });
    if let Some(reason) = denial(record) {
        extension.put("reason", reason);
    }
    extension.put("suser", actor_name(record.actor()));
    extension.put("suid", actor_uid(record.actor()));
    extension.put("spriv", actor_kind(record.actor()));
    match address(record) {
        Some((ip, port)) => {
            // CEF 0 has fields of their own for each family.
            extension.put(if ip.is_ipv4() { "src" } else { "c6a2" }, ip);
            if ip.is_ipv6() {
                extension.put("c6a2Label", "Source IPv6 Address");
            }
            if let Some(port) = port {
                extension.put("spt", port);
            }
        }
        None => extension.put("sourceServiceName", peer(record)),
    }
    extension.put("dvchost", &source.host);
    extension.put("deviceExternalId", source.vault);
    extension.put("requestContext", record.request_id());
    if let Some(object) = record.object() {
        extension.labelled(1, "object", object_name(object));
        if let Some(id) = object.artifact_id {
            extension.labelled(2, "artifactId", id);
        }
        if let Some(root) = object.root {
            extension.labelled(3, "root", root);
        }
    }
    if !record.policies().is_empty() {
        let policies: Vec<_> = record.policies().iter().map(|p| p.as_str()).collect();
        extension.labelled(4, "policies", policies.join(","));
    }
    if let Some(channel) = record.channel() {
        let group = channel.tls_group.as_ref().map_or(String::new(), |g| format!(" {}", g.as_str()));
        extension.labelled(5, "channel", format!("{}{group}", channel.transport.as_str()));
    }
    if !record.details().is_empty() {
        let details: Vec<_> = record.details().iter().map(|(k, v)| format!("{}={}", k.as_str(), v.as_str())).collect();
        extension.labelled(6, "details", details.join("; "));
    }
    extension.put("msg", sentence(record));
    out
}

/// A row that is no record of this release.
pub(super) fn unreadable(source: &Source, seq: u64, why: &RecordError) -> String {
    let mut out = head(source, "audit.unreadable", "unreadable row of the audit log", 8);
    let mut extension = Extension(&mut out);
    extension.put("externalId", seq);
    extension.put("deviceExternalId", source.vault);
    extension.put("msg", unreadable_sentence(seq, why));
    out
}

fn head(source: &Source, signature: &str, name: &str, severity: u8) -> String {
    let mut out = String::with_capacity(1024);
    out.push_str("CEF:0");
    for field in ["Model Vault", "Model Vault", source.release, signature, name] {
        out.push('|');
        for c in field.chars() {
            match c {
                '\\' | '|' => out.extend(['\\', c]),
                // A header is one line, and has no escape for its end.
                '\r' | '\n' => out.push(' '),
                c => out.push(c),
            }
        }
    }
    write!(out, "|{severity}|").expect("writing to a string");
    out
}

struct Extension<'a>(&'a mut String);

impl Extension<'_> {
    fn put(&mut self, key: &str, value: impl std::fmt::Display) {
        if !self.0.ends_with('|') {
            self.0.push(' ');
        }
        self.0.push_str(key);
        self.0.push('=');
        for c in value.to_string().chars() {
            match c {
                '\\' | '=' => self.0.extend(['\\', c]),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                c => self.0.push(c),
            }
        }
    }

    fn labelled(&mut self, n: u8, label: &str, value: impl std::fmt::Display) {
        self.put(&format!("cs{n}"), value);
        self.put(&format!("cs{n}Label"), label);
    }
}
