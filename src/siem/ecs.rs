//! Elastic Common Schema 8.17. Its fields, and below `model_vault` what it has none for.

use serde_json::{Value, json};

use super::Source;
use super::reading::{
    Family, Severity, Verb, actor_kind, actor_name, actor_uid, address, denial, family, object_name, peer, sentence,
    severity, unreadable_sentence, verb,
};
use crate::audit::{Record, RecordError};

const VERSION: &str = "8.17.0";

/// One event.
pub(super) fn event(source: &Source, seq: u64, record: &Record) -> Value {
    let family = family(record);
    let (category, kinds): (&[&str], &[&str]) = match (family, verb(record)) {
        (Family::Authentication, _) => (&["authentication"], &["start"]),
        (Family::Session, _) => (&["session"], &["allowed"]),
        (Family::Finding, _) => (&["intrusion_detection"], &["info"]),
        (Family::Entity, Verb::Create) => (&["iam", "configuration"], &["creation"]),
        (Family::Entity, Verb::Delete) => (&["iam", "configuration"], &["deletion"]),
        (Family::Entity, Verb::Read) => (&["iam"], &["info"]),
        (Family::Entity, _) => (&["iam", "configuration"], &["change"]),
        (Family::Api, Verb::Create) => (&["api"], &["creation"]),
        (Family::Api, Verb::Delete) => (&["api"], &["deletion"]),
        (Family::Api, Verb::Update) => (&["api"], &["change"]),
        (Family::Api, _) => (&["api"], &["access"]),
    };
    let denied = denial(record);
    let mut kinds = kinds.to_vec();
    if denied.is_some() && family != Family::Finding {
        kinds.retain(|k| *k != "allowed");
        kinds.push("denied");
    }
    let severity = match severity(record) {
        Severity::Informational => 20,
        Severity::Low => 30,
        Severity::Medium => 50,
        Severity::High => 70,
    };
    let mut event = json!({
        "@timestamp": record.time().to_string(),
        "ecs": { "version": VERSION },
        "message": sentence(record),
        "event": {
            "kind": if family == Family::Finding { "alert" } else { "event" },
            "category": category,
            "type": kinds,
            "action": record.act().as_str(),
            "outcome": if denied.is_some() { "failure" } else { "success" },
            "severity": severity,
            "id": format!("{}:{seq}", source.vault),
            "sequence": seq,
            "provider": "model-vault",
            "module": "model_vault",
            "dataset": "model_vault.audit",
        },
        "user": {
            "id": actor_uid(record.actor()),
            "name": actor_name(record.actor()),
            "domain": record.actor().issuer,
            "roles": [actor_kind(record.actor())],
        },
        "service": { "type": "model-vault", "id": source.vault.to_string(), "version": source.release },
        "observer": { "product": "Model Vault", "vendor": "Model Vault", "version": source.release, "hostname": source.host },
        "http": { "request": { "id": record.request_id().to_string() } },
        "model_vault": own(record),
    });
    if let Some(reason) = denied {
        event["event"]["reason"] = reason.into();
        event["error"] = json!({ "code": reason });
    }
    event["source"] = match address(record) {
        Some((ip, Some(port))) => json!({ "ip": ip.to_string(), "port": port, "address": peer(record) }),
        Some((ip, None)) => json!({ "ip": ip.to_string(), "address": peer(record) }),
        None => json!({ "address": peer(record) }),
    };
    if let Some(policy) = record.policies().first() {
        event["rule"] = json!({ "id": policy.as_str(), "ruleset": "policy" });
        if let Some(version) = record.policy_version() {
            event["rule"]["version"] = version.as_str().into();
        }
    }
    if let Some(group) = record.channel().and_then(|c| c.tls_group.as_ref()) {
        event["tls"] =
            json!({ "version": "1.3", "version_protocol": "tls", "curve": group.as_str(), "established": true });
    }
    event
}

/// A row that is no record of this release.
pub(super) fn unreadable(source: &Source, seq: u64, why: &RecordError) -> Value {
    json!({
        "@timestamp": "1970-01-01T00:00:00.000Z",
        "ecs": { "version": VERSION },
        "message": unreadable_sentence(seq, why),
        "event": {
            "kind": "pipeline_error",
            "action": "audit.unreadable",
            "outcome": "unknown",
            "severity": 70,
            "id": format!("{}:{seq}", source.vault),
            "sequence": seq,
            "provider": "model-vault",
            "module": "model_vault",
            "dataset": "model_vault.audit",
        },
        "service": { "type": "model-vault", "id": source.vault.to_string(), "version": source.release },
        "error": { "message": why.to_string() },
    })
}

fn own(record: &Record) -> Value {
    let mut own = json!({ "act": record.act().as_str() });
    if let Some(object) = record.object() {
        own["object"] = json!({ "name": object_name(object), "namespace": object.namespace.as_str() });
        if let Some(version) = object.version {
            own["object"]["version"] = version.into();
        }
        if let Some(id) = object.artifact_id {
            own["object"]["artifact_id"] = id.to_string().into();
        }
        if let Some(root) = object.root {
            own["object"]["root"] = root.to_string().into();
        }
    }
    if !record.policies().is_empty() {
        own["policies"] = record.policies().iter().map(|p| p.as_str()).collect();
    }
    if let Some(channel) = record.channel() {
        own["transport"] = channel.transport.as_str().into();
    }
    // As one list of words: keys of details are not fields, of which an index has only so many.
    let details: Vec<_> =
        record.details().iter().map(|(k, v)| Value::from(format!("{}={}", k.as_str(), v.as_str()))).collect();
    if !details.is_empty() {
        own["details"] = details.into();
    }
    own
}
