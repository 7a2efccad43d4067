//! What all forms read out of a record: how serious it is, what kind of act, where the caller was, and one sentence.

use core::net::{IpAddr, SocketAddr};

use crate::audit::{Decision, Object, Record};
use crate::names::{Principal, PrincipalKind};

/// How serious, from what happens all day to what somebody must look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Informational,
    Low,
    Medium,
    High,
}

/// What an act does to what it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Read,
    Update,
    Delete,
    Other,
}

/// Which kind of event it is. Read off the act's text, so that acts which are added find their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Something was done, or asked for, at the interface.
    Api,
    /// Somebody proved who they are, or did not.
    Authentication,
    /// What a session may do was settled.
    Session,
    /// Something that others depend on was made, changed or removed: identities, policies, keys.
    Entity,
    /// A rule found something.
    Finding,
}

/// The word before the first dot, and the rest.
fn halves(act: &str) -> (&str, &str) {
    act.split_once('.').unwrap_or((act, ""))
}

pub(super) fn family(record: &Record) -> Family {
    match halves(record.act().as_str()) {
        ("auth" | "mfa", "refused" | "verify") | ("session", "login" | "logout") => Family::Authentication,
        ("lease", _) => Family::Session,
        ("alert", _) | ("intel", "hit") => Family::Finding,
        (_, "list" | "read") | ("quota" | "audit" | "vault" | "daemon" | "artifact", _) => Family::Api,
        _ => Family::Entity,
    }
}

pub(super) fn verb(record: &Record) -> Verb {
    let (noun, rest) = halves(record.act().as_str());
    match (noun, rest) {
        ("artifact", rest) if rest.contains("fetch") || rest.contains("export") => Verb::Read,
        (
            _,
            "init" | "seal" | "import" | "add" | "new" | "enroll" | "attest" | "trust" | "request" | "login" | "place",
        ) => Verb::Create,
        (
            _,
            "open" | "read" | "list" | "verify" | "inspect" | "status" | "check" | "attestations" | "export"
            | "export.end",
        ) => Verb::Read,
        (_, "rm" | "shred" | "remove" | "revoke" | "untrust" | "sweep" | "reset" | "release" | "logout") => {
            Verb::Delete
        }
        (_, "set" | "tag" | "label" | "restore" | "renew" | "rotate" | "custody" | "reload" | "change" | "give") => {
            Verb::Update
        }
        _ => Verb::Other,
    }
}

/// The reason of a refusal.
pub(super) fn denial(record: &Record) -> Option<&str> {
    match record.decision() {
        Decision::Allow => None,
        Decision::Deny { reason } => Some(reason.as_str()),
    }
}

/// A detail by its key.
pub(super) fn detail<'a>(record: &'a Record, key: &str) -> Option<&'a str> {
    record.details().iter().find(|(k, _)| k.as_str() == key).map(|(_, v)| v.as_str())
}

pub(super) fn severity(record: &Record) -> Severity {
    match (family(record), denial(record)) {
        (Family::Finding, _) => Severity::High,
        (_, Some(_)) => Severity::Medium,
        (Family::Entity, None) => Severity::Low,
        (Family::Authentication, None) => Severity::Informational,
        (_, None) if verb(record) == Verb::Delete => Severity::Low,
        _ => Severity::Informational,
    }
}

/// `default/serve-1`, `operator alice`: who, in one word for people.
pub(super) fn actor_name(actor: &Principal) -> String {
    match (&actor.namespace, actor.kind) {
        (Some(namespace), _) => format!("{namespace}/{}", actor.subject),
        (None, PrincipalKind::Anonymous) => "anonymous".into(),
        (None, _) => actor.subject.clone(),
    }
}

/// Who, for programs: unique among all issuers.
pub(super) fn actor_uid(actor: &Principal) -> String {
    format!("{}:{}", actor.issuer, actor_name(actor))
}

pub(super) const fn actor_kind(actor: &Principal) -> &'static str {
    match actor.kind {
        PrincipalKind::Operator => "operator",
        PrincipalKind::Workload => "workload",
        PrincipalKind::Anonymous => "anonymous",
    }
}

/// `default/resnet@v3`, as far as the record names it.
pub(super) fn object_name(object: &Object) -> String {
    let mut text = object.namespace.to_string();
    if let Some(name) = &object.name {
        text = format!("{text}/{name}");
    }
    if let Some(version) = object.version {
        text = format!("{text}@v{version}");
    }
    text
}

/// The caller's address, where it came over the network.
pub(super) fn address(record: &Record) -> Option<(IpAddr, Option<u16>)> {
    let peer = record.channel()?.peer.as_ref()?.as_str();
    match peer.parse::<SocketAddr>() {
        Ok(address) => Some((address.ip().to_canonical(), Some(address.port()))),
        Err(_) => peer.parse::<IpAddr>().ok().map(|ip| (ip.to_canonical(), None)),
    }
}

/// Where the caller was, in the words of the record: an address, a process, or this one.
pub(super) fn peer(record: &Record) -> &str {
    let channel = record.channel();
    channel
        .and_then(|c| c.peer.as_ref())
        .map_or_else(|| channel.map_or("vault", |c| c.transport.as_str()), |p| p.as_str())
}

/// One sentence: `artifact.fetch.start by default/serve-1 on default/resnet@v3: denied (Denied)`.
pub(super) fn sentence(record: &Record) -> String {
    let mut text = format!("{} by {}", record.act().as_str(), actor_name(record.actor()));
    if let Some(object) = record.object() {
        text += &format!(" on {}", object_name(object));
    }
    match denial(record) {
        None => text + ": allowed",
        Some(reason) => format!("{text}: denied ({reason})"),
    }
}

/// What is said of a row that is no record.
pub(super) fn unreadable_sentence(seq: u64, why: &dyn std::fmt::Display) -> String {
    format!("row {seq} of the audit log cannot be read: {why}")
}
