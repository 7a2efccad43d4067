//! OCSF, version 1.8.0: API Activity 6003, Authentication 3002, Authorize Session 3003, Entity Management 3004, Detection
//! Finding 2004; Base Event 0 for rows that cannot be read.
//!
//! Of the published schema only: no extension, no profile. What it has no field for goes to `unmapped`, as it provides.

use serde_json::{Map, Value, json};

use super::Source;
use super::reading::{
    Family, Severity, Verb, actor_kind, actor_name, actor_uid, address, denial, detail, family, object_name, peer,
    sentence, severity, unreadable_sentence, verb,
};
use crate::audit::{Record, RecordError};
use crate::names::PrincipalKind;

/// The version of the schema that events name and keep to.
pub const VERSION: &str = "1.8.0";

/// One event.
pub(super) fn event(source: &Source, seq: u64, record: &Record) -> Value {
    let family = family(record);
    let (class, category, activity) = class(family, record);
    let mut event = base(source, seq, class, category, activity, severity(record), record.time().as_millis());
    event.insert("message".into(), sentence(record).into());
    match denial(record) {
        _ if family == Family::Finding => {
            event.insert("status_id".into(), json!(1));
            event.insert("is_alert".into(), json!(true));
        }
        None => {
            event.insert("status_id".into(), json!(1));
            event.insert("status".into(), json!("Success"));
        }
        Some(reason) => {
            event.insert("status_id".into(), json!(2));
            event.insert("status".into(), json!("Failure"));
            event.insert("status_code".into(), reason.into());
            event.insert("status_detail".into(), "refused by the vault".into());
        }
    }
    match family {
        Family::Api => api(&mut event, record),
        Family::Authentication => authentication(&mut event, record),
        Family::Session => session(&mut event, record),
        Family::Entity => entity(&mut event, record),
        Family::Finding => finding(&mut event, source, seq, record),
    }
    event.insert("unmapped".into(), unmapped(record));
    Value::Object(event)
}

/// A row that is no record of this release.
pub(super) fn unreadable(source: &Source, seq: u64, why: &RecordError) -> Value {
    let mut event = base(source, seq, 0, 0, 99, Severity::High, 0);
    event.insert("activity_name".into(), "Unreadable".into());
    event.insert("message".into(), unreadable_sentence(seq, why).into());
    Value::Object(event)
}

/// Class, its category, and the activity within it.
fn class(family: Family, record: &Record) -> (u32, u32, u32) {
    let crud = match verb(record) {
        Verb::Create => 1,
        Verb::Read => 2,
        Verb::Update => 3,
        Verb::Delete => 4,
        Verb::Other => 99,
    };
    match family {
        Family::Api => (6003, 6, crud),
        Family::Authentication => (3002, 3, if record.act().as_str().ends_with("logout") { 2 } else { 1 }),
        Family::Session => (3003, 3, 1),
        Family::Entity => match record.act().as_str() {
            "workload.enroll" | "mfa.enroll" => (3004, 3, 6),
            "hold.place" => (3004, 3, 12),
            "hold.release" => (3004, 3, 13),
            _ => (3004, 3, crud),
        },
        Family::Finding => (2004, 2, 1),
    }
}

fn base(
    source: &Source,
    seq: u64,
    class: u32,
    category: u32,
    activity: u32,
    severity: Severity,
    time: i64,
) -> Map<String, Value> {
    let severity_id = match severity {
        Severity::Informational => 1,
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
    };
    let value = json!({
        "activity_id": activity,
        "category_uid": category,
        "class_uid": class,
        "type_uid": u64::from(class) * 100 + u64::from(activity),
        "severity_id": severity_id,
        "time": time,
        "metadata": {
            "version": VERSION,
            "product": { "name": "Model Vault", "vendor_name": "Model Vault", "version": source.release },
            "log_name": "audit",
            "log_provider": source.vault.to_string(),
            "uid": format!("{}:{seq}", source.vault),
            "original_event_uid": seq.to_string(),
        },
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn user(record: &Record) -> Value {
    let actor = record.actor();
    let (type_id, name) = match actor.kind {
        PrincipalKind::Operator => (2, "Admin"),
        PrincipalKind::Workload => (4, "Service"),
        PrincipalKind::Anonymous => (0, "Unknown"),
    };
    json!({ "uid": actor_uid(actor), "name": actor_name(actor), "type": name, "type_id": type_id })
}

fn actor(record: &Record) -> Value {
    let decision = if denial(record).is_none() { "allow" } else { "deny" };
    let version = record.policy_version().map(|v| v.as_str());
    let authorizations: Vec<_> = record
        .policies()
        .iter()
        .map(|p| {
            let mut policy = json!({ "uid": p.as_str(), "is_applied": true });
            if let Some(version) = version {
                policy["version"] = version.into();
            }
            json!({ "decision": decision, "policy": policy })
        })
        .collect();
    let mut actor =
        json!({ "user": user(record), "idp": { "name": record.actor().issuer, "uid": record.actor().issuer } });
    if !authorizations.is_empty() {
        actor["authorizations"] = authorizations.into();
    }
    actor
}

fn source_endpoint(record: &Record) -> Value {
    match address(record) {
        Some((ip, Some(port))) => json!({ "ip": ip.to_string(), "port": port }),
        Some((ip, None)) => json!({ "ip": ip.to_string() }),
        None => json!({ "name": peer(record) }),
    }
}

fn service() -> Value {
    json!({ "name": "Model Vault" })
}

fn resources(record: &Record) -> Option<Value> {
    let object = record.object()?;
    let mut resource = json!({
        "name": object_name(object),
        "namespace": object.namespace.as_str(),
        "type": record.act().as_str().split('.').next(),
    });
    if let Some(id) = object.artifact_id {
        resource["uid"] = id.to_string().into();
    }
    if let Some(version) = object.version {
        resource["version"] = version.to_string().into();
    }
    if let Some(root) = object.root {
        resource["data"] = json!({ "root": root.to_string() });
    }
    Some(json!([resource]))
}

fn api(event: &mut Map<String, Value>, record: &Record) {
    let mut api = json!({
        "operation": record.act().as_str(),
        "service": service(),
        "request": { "uid": record.request_id().to_string() },
    });
    if let Some(reason) = denial(record) {
        api["response"] = json!({ "error": reason });
    }
    event.insert("api".into(), api);
    event.insert("actor".into(), actor(record));
    event.insert("src_endpoint".into(), source_endpoint(record));
    if let Some(resources) = resources(record) {
        event.insert("resources".into(), resources);
    }
}

fn authentication(event: &mut Map<String, Value>, record: &Record) {
    event.insert("user".into(), user(record));
    event.insert("service".into(), service());
    event.insert("src_endpoint".into(), source_endpoint(record));
    event.insert("is_remote".into(), json!(address(record).is_some()));
    event.insert("auth_protocol_id".into(), json!(99));
    event.insert("auth_protocol".into(), json!(peer_protocol(record)));
    if let Some(why) = detail(record, "why") {
        event.insert("status_detail".into(), why.into());
    }
}

fn peer_protocol(record: &Record) -> &'static str {
    match record.channel().map(|c| c.transport.as_str()) {
        Some("tls") => "TLS",
        Some("unix") => "Unix peer credentials",
        _ => "Local",
    }
}

fn session(event: &mut Map<String, Value>, record: &Record) {
    event.insert("user".into(), user(record));
    event.insert("actor".into(), actor(record));
    event.insert("src_endpoint".into(), source_endpoint(record));
    let mut privileges = vec![record.act().as_str().to_owned()];
    privileges.extend(record.object().map(object_name));
    event.insert("privileges".into(), json!(privileges));
    event.insert("session".into(), json!({ "uid": record.request_id().to_string(), "issuer": "Model Vault" }));
}

fn entity(event: &mut Map<String, Value>, record: &Record) {
    let kind = record.act().as_str().split('.').next().unwrap_or_default();
    let name = record.object().map_or_else(|| kind.to_owned(), object_name);
    let mut entity = json!({ "name": name, "type": kind });
    match kind {
        "workload" | "grant" | "mfa" | "session" => entity["type_id"] = json!(2),
        "group" => entity["type_id"] = json!(3),
        "policy" => entity["type_id"] = json!(5),
        _ => entity["type_id"] = json!(99),
    }
    if let Some(version) = record.policy_version().filter(|_| kind == "policy") {
        entity["version"] = version.as_str().into();
    }
    event.insert("entity".into(), entity);
    event.insert("actor".into(), actor(record));
    event.insert("src_endpoint".into(), source_endpoint(record));
}

fn finding(event: &mut Map<String, Value>, source: &Source, seq: u64, record: &Record) {
    let rule = detail(record, "rule").unwrap_or(record.act().as_str());
    event.insert(
        "finding_info".into(),
        json!({
            "uid": format!("{}:{seq}", source.vault),
            "title": rule,
            "desc": sentence(record),
            "created_time": record.time().as_millis(),
            "analytic": { "name": rule, "type_id": 1, "type": "Rule" },
        }),
    );
    event.insert(
        "evidences".into(),
        json!([{ "actor": { "user": user(record) }, "src_endpoint": source_endpoint(record) }]),
    );
    if let Some(resources) = resources(record) {
        event.insert("resources".into(), resources);
    }
}

/// What the schema has no field for, under the record's own names.
fn unmapped(record: &Record) -> Value {
    let mut rest = json!({
        "act": record.act().as_str(),
        "request_id": record.request_id().to_string(),
        "actor_kind": actor_kind(record.actor()),
    });
    if let Some(channel) = record.channel() {
        rest["transport"] = channel.transport.as_str().into();
        if let Some(group) = &channel.tls_group {
            rest["tls_group"] = group.as_str().into();
        }
    }
    if let Some(version) = record.policy_version() {
        rest["policy_version"] = version.as_str().into();
    }
    if let Some(object) = record.object() {
        rest["object"] = object_name(object).into();
    }
    let details: Map<_, _> =
        record.details().iter().map(|(k, v)| (k.as_str().to_owned(), Value::from(v.as_str()))).collect();
    if !details.is_empty() {
        rest["details"] = Value::Object(details);
    }
    rest
}
