//! One audit record and its one encoding.
//!
//! JSON with fixed keys in fixed order, all always present (`null` where there is nothing), no whitespace:
//! `v time request_id actor act object decision policies policy_version channel details`. Every string is a [`Text`]: bounded,
//! without control or direction characters, so that a hostile caller can neither blow a row up nor garble a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::json::{self, Value, quote};
use crate::names::{ArtifactId, Name, Principal, PrincipalKind, RequestId, Root, Timestamp};

/// Version of the record's form.
const VERSION: u64 = 1;
/// Bytes of an encoded record that are read at most. The bounds below stay well under it.
pub const RECORD_MAX: usize = 64 << 10;
const POLICIES_MAX: usize = 32;
const DETAILS_MAX: usize = 16;

macro_rules! acts {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// What was done, or refused. The texts are a contract: they are never changed, only added to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Act { $($(#[$doc])* $name),* }

        impl Act {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}
acts! {
    /// The vault was made.
    VaultInit = "vault.init",
    /// An artifact version was sealed and published.
    ArtifactSeal = "artifact.seal",
    /// An artifact was opened in process.
    ArtifactOpen = "artifact.open",
    /// A stream was granted; durable before its first byte.
    ArtifactFetchStart = "artifact.fetch.start",
    /// A stream ended; details: `bytes`, `reason`.
    ArtifactFetchEnd = "artifact.fetch.end",
    /// A tag was moved.
    ArtifactTag = "artifact.tag",
    /// A version or artifact was unlisted. Older rows may be about restoring: detail `restore`.
    ArtifactRm = "artifact.rm",
    /// A version or artifact was listed again.
    ArtifactRestore = "artifact.restore",
    /// Sealed bytes came in.
    ArtifactImport = "artifact.import",
    /// Sealed bytes were granted to go out; durable before the first of them.
    ArtifactExport = "artifact.export",
    /// An export ended; details: `bytes`, `reason`.
    ArtifactExportEnd = "artifact.export.end",
    /// A stored artifact was verified.
    ArtifactVerify = "artifact.verify",
    /// A signed statement was attached to a version; details: `predicate_type`, `signer`, `digest`.
    ArtifactAttest = "artifact.attest",
    /// The statements about a version were read.
    ArtifactAttestations = "artifact.attestations",
    /// Content was looked at without handing it out.
    ArtifactInspect = "artifact.inspect",
    /// Artifacts were listed.
    ArtifactList = "artifact.list",
    /// A version's key was destroyed.
    ArtifactShred = "artifact.shred",
    /// A namespace was made.
    NamespaceAdd = "namespace.add",
    /// A workload got a certificate.
    WorkloadEnroll = "workload.enroll",
    /// A workload got its next certificate.
    WorkloadRenew = "workload.renew",
    /// A workload or certificate was refused from then on.
    WorkloadRevoke = "workload.revoke",
    /// Workloads were listed.
    WorkloadList = "workload.list",
    /// A grant was given.
    GrantAdd = "grant.add",
    /// A grant was taken back.
    GrantRemove = "grant.remove",
    /// The policies were replaced.
    PolicySet = "policy.set",
    /// The policies were read.
    PolicyRead = "policy.read",
    /// The vault's state was asked for.
    VaultStatus = "vault.status",
    /// The vault's own files were examined.
    VaultCheck = "vault.check",
    /// Leftovers of processes that died were removed; details: how many of which.
    VaultSweep = "vault.sweep",
    /// A signer was trusted, or until when or where it is was changed; details: `signer`, `keys`.
    KeyTrust = "key.trust",
    /// A signer was dropped, or its keys revoked; details: `signer`, `keys`, `revoked`, `reason`.
    KeyUntrust = "key.untrust",
    /// Trusted signers and keys were listed.
    KeyList = "key.list",
    /// The copy of the trust store in the home differed and was written anew.
    TrustRestore = "trust.restore",
    /// A signing key was made.
    KeyNew = "key.new",
    /// An identity of the vault signed a statement; details: `signer`, `sha256` of the payload, `predicate_type`, `subject`. Or it
    /// was used to seal: `purpose`.
    KeySign = "key.sign",
    /// A namespace's KEK was rotated.
    KeyringRotate = "keyring.rotate",
    /// The root secret was changed.
    KeyringCustody = "keyring.custody",
    /// A document of settings was put in force; details: `kind`, `version`, `sha256`.
    SettingsSet = "settings.set",
    /// A document of settings was read; details: `kind`.
    SettingsRead = "settings.read",
    /// Who belongs to a group was changed, or read.
    GroupChange = "group.change",
    /// Labels, collection or classification of an artifact were changed.
    ArtifactLabel = "artifact.label",
    /// A token was exchanged for a session; details: `session`, `issuer`, `expires`.
    SessionLogin = "session.login",
    /// A caller ended its own session.
    SessionLogout = "session.logout",
    /// Sessions were listed.
    SessionList = "session.list",
    /// A session, or whatever a subject calls with, was refused from then on.
    SessionRevoke = "session.revoke",
    /// A second factor was enrolled; details: `person`.
    MfaEnroll = "mfa.enroll",
    /// A second factor was used, or refused; details: `person`, `method`.
    MfaVerify = "mfa.verify",
    /// A second factor was taken away; details: `person`.
    MfaReset = "mfa.reset",
    /// An act waits for the approval of others; details: `approval`, `action`.
    ApprovalRequest = "approval.request",
    /// Somebody approved an act, or refused to; details: `approval`, `verdict`.
    ApprovalGive = "approval.give",
    /// Approvals were listed.
    ApprovalList = "approval.list",
    /// Rules and use of quotas were read.
    QuotaRead = "quota.read",
    /// What was counted for quotas was set back to nothing; details: `caller`, `artifact`.
    QuotaReset = "quota.reset",
    /// A lease was renewed by a fresh decision; details: `bytes`.
    LeaseRenew = "lease.renew",
    /// Calls were refused because a quota is used up; sampled, details: `count`, `quota`.
    QuotaRefused = "quota.refused",
    /// A principal or an artifact was put on hold; details: `hold`, `kind`, `reason`, `rule`.
    HoldPlace = "hold.place",
    /// A hold was taken back.
    HoldRelease = "hold.release",
    /// Holds were listed.
    HoldList = "hold.list",
    /// A rule noticed something; details: `rule`, `severity`, `principal`, `score`.
    AlertRaise = "alert.raise",
    /// A list of known bad digests or keys came in; details: `source`, `entries`.
    IntelImport = "intel.import",
    /// Such a list was dropped.
    IntelRemove = "intel.remove",
    /// Such lists were listed.
    IntelList = "intel.list",
    /// Something in the vault is on such a list; details: `source`, `indicator`.
    IntelHit = "intel.hit",
    /// The daemon began to serve.
    DaemonStart = "daemon.start",
    /// The daemon was told to take up what can be changed while it runs; details: `certificate`, `not_after`.
    DaemonReload = "daemon.reload",
    /// The daemon stopped.
    DaemonStop = "daemon.stop",
    /// Callers without a valid credential were turned away; sampled, details: `count`, `why`.
    AuthRefused = "auth.refused",
    /// Rows of the audit log were read.
    AuditRead = "audit.read",
    /// The audit log was verified.
    AuditVerify = "audit.verify",
    /// The audit log was granted to go out.
    AuditExport = "audit.export",
    /// An export of the audit log ended; details: `bytes`, `reason`.
    AuditExportEnd = "audit.export.end",
}

/// A short string from anywhere, made harmless: at most 256 bytes, longer ones cut with a final `…`; control characters and
/// those that change the direction of text are written as `\u{..}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(String);

impl Text {
    /// Most bytes of a text.
    pub const MAX: usize = 256;
    const CUT: &'static str = "…";

    /// Takes what is harmless of `text`.
    pub fn new(text: impl AsRef<str>) -> Self {
        let mut out = String::new();
        // Where to cut if the rest proves too long.
        let mut fits = 0;
        for c in text.as_ref().chars() {
            if harmful(c) {
                write!(out, "\\u{{{:x}}}", u32::from(c)).expect("writing to a string");
            } else {
                out.push(c);
            }
            if out.len() <= Self::MAX - Self::CUT.len() {
                fits = out.len();
            }
            if out.len() > Self::MAX {
                out.truncate(fits);
                out.push_str(Self::CUT);
                break;
            }
        }
        Self(out)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl<T: AsRef<str> + ?Sized> From<&T> for Text {
    fn from(text: &T) -> Self {
        Self::new(text)
    }
}

/// What the act was on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its namespace.
    pub namespace: Name,
    /// An artifact's, workload's or key's name.
    pub name: Option<Name>,
    /// Of the artifact.
    pub version: Option<u64>,
    /// The artifact, for life: names can be given again.
    pub artifact_id: Option<ArtifactId>,
    /// The sealed content.
    pub root: Option<Root>,
}

impl Object {
    /// A namespace as such.
    pub fn namespace(namespace: Name) -> Self {
        Self { namespace, name: None, version: None, artifact_id: None, root: None }
    }
}

/// Whether the act was permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was.
    Allow,
    /// It was not.
    Deny {
        /// An id, as `Denied` or `NoCredential` of contracts/errors.tsv.
        reason: Text,
    },
}

/// How the caller reached the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// In process, socket or network.
    pub transport: Transport,
    /// The negotiated key exchange, as `X25519MLKEM768`.
    pub tls_group: Option<Text>,
    /// Address or process of the other side.
    pub peer: Option<Text>,
}

/// The kinds of channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// The command line, in process.
    Local,
    /// The Unix socket.
    Unix,
    /// TLS over TCP.
    Tls,
}

impl Transport {
    const ALL: [Self; 3] = [Self::Local, Self::Unix, Self::Tls];

    /// Its stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Unix => "unix",
            Self::Tls => "tls",
        }
    }
}

/// One decision or act, as it is kept for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    time: Timestamp,
    request_id: RequestId,
    actor: Principal,
    act: Act,
    object: Option<Object>,
    decision: Decision,
    policies: Vec<Text>,
    policy_version: Option<Text>,
    channel: Option<Channel>,
    details: BTreeMap<Text, Text>,
}

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Another form, or an act this release does not know.
    #[error("it was written by a newer release")]
    Newer,
    /// Longer than any record.
    #[error("it is too long")]
    TooLong,
    /// Not JSON.
    #[error("{0}")]
    Json(#[from] json::JsonError),
    /// A field is missing or breaks its rule.
    #[error("{0} breaks its rule")]
    Field(&'static str),
    /// The same content has another, canonical encoding.
    #[error("it is not in canonical form")]
    NotCanonical,
}

impl Record {
    /// A permitted act; the other parts are added by the methods below.
    pub fn new(time: Timestamp, request_id: RequestId, actor: &Principal, act: Act) -> Self {
        let issuer = Text::new(&actor.issuer).0;
        let subject = Text::new(&actor.subject).0;
        Self {
            // Years 0 to 9999: what RFC 3339 can say.
            time: time.clamp(Timestamp::from_millis(-62_167_219_200_000), Timestamp::from_millis(253_402_300_799_999)),
            request_id,
            actor: Principal { kind: actor.kind, issuer, subject, namespace: actor.namespace.clone() },
            act,
            object: None,
            decision: Decision::Allow,
            policies: Vec::new(),
            policy_version: None,
            channel: None,
            details: BTreeMap::new(),
        }
    }

    /// What it was on.
    #[must_use]
    pub fn on(mut self, object: Object) -> Self {
        self.object = Some(object);
        self
    }

    /// It was refused, for a reason that is an id.
    #[must_use]
    pub fn denied(mut self, reason: impl AsRef<str>) -> Self {
        self.decision = Decision::Deny { reason: Text::new(reason) };
        self
    }

    /// The policies that decided, and the version of the policy set. Of more than 32 policies the rest is marked by `…`.
    #[must_use]
    pub fn by_policies<P: AsRef<str>>(
        mut self,
        policies: impl IntoIterator<Item = P>,
        version: impl AsRef<str>,
    ) -> Self {
        self.policies = policies.into_iter().take(POLICIES_MAX + 1).map(Text::new).collect();
        if self.policies.len() > POLICIES_MAX {
            self.policies.truncate(POLICIES_MAX - 1);
            self.policies.push(Text::new(Text::CUT));
        }
        self.policy_version = Some(Text::new(version));
        self
    }

    /// How the caller came.
    #[must_use]
    pub fn through(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }

    /// A further fact: `outcome`, `bytes`, `tag`, ... At most 16 are kept; then the key `…` says that there were more.
    #[must_use]
    pub fn detail(mut self, key: impl AsRef<str>, value: impl std::fmt::Display) -> Self {
        let key = Text::new(key);
        if self.details.len() < DETAILS_MAX - 1 || self.details.contains_key(&key) {
            self.details.insert(key, Text::new(value.to_string()));
        } else {
            self.details.insert(Text::new(Text::CUT), Text::default());
        }
        self
    }

    /// When, by the vault's clock. Order is by sequence number.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The call.
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// Who.
    pub fn actor(&self) -> &Principal {
        &self.actor
    }

    /// What.
    pub fn act(&self) -> Act {
        self.act
    }

    /// On what.
    pub fn object(&self) -> Option<&Object> {
        self.object.as_ref()
    }

    /// Permitted or not.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Ids of the policies that decided.
    pub fn policies(&self) -> &[Text] {
        &self.policies
    }

    /// Version of the policy set.
    pub fn policy_version(&self) -> Option<&Text> {
        self.policy_version.as_ref()
    }

    /// How the caller came.
    pub fn channel(&self) -> Option<&Channel> {
        self.channel.as_ref()
    }

    /// Further facts.
    pub fn details(&self) -> &BTreeMap<Text, Text> {
        &self.details
    }

    /// The canonical bytes: what the catalogue stores and the tree commits to.
    pub fn to_leaf(&self) -> Vec<u8> {
        let mut out = String::with_capacity(512);
        write!(out, r#"{{"v":{VERSION},"time":"{}","request_id":"{}","actor":{{"kind":"#, self.time, self.request_id)
            .expect("writing to a string");
        quote(kind_text(self.actor.kind), &mut out);
        out.push_str(r#","issuer":"#);
        quote(&self.actor.issuer, &mut out);
        out.push_str(r#","subject":"#);
        quote(&self.actor.subject, &mut out);
        out.push_str(r#","namespace":"#);
        optional(self.actor.namespace.as_ref().map(Name::as_str), &mut out);
        out.push_str(r#"},"act":"#);
        quote(self.act.as_str(), &mut out);
        out.push_str(r#","object":"#);
        match &self.object {
            None => out.push_str("null"),
            Some(object) => object.write(&mut out),
        }
        out.push_str(r#","decision":"#);
        match &self.decision {
            Decision::Allow => out.push_str(r#""allow""#),
            Decision::Deny { reason } => {
                out.push_str(r#"{"deny":"#);
                quote(&reason.0, &mut out);
                out.push('}');
            }
        }
        out.push_str(r#","policies":["#);
        for (i, policy) in self.policies.iter().enumerate() {
            out.push_str(if i == 0 { "" } else { "," });
            quote(&policy.0, &mut out);
        }
        out.push_str(r#"],"policy_version":"#);
        optional(self.policy_version.as_ref().map(Text::as_str), &mut out);
        out.push_str(r#","channel":"#);
        match &self.channel {
            None => out.push_str("null"),
            Some(channel) => channel.write(&mut out),
        }
        out.push_str(r#","details":{"#);
        for (i, (key, value)) in self.details.iter().enumerate() {
            out.push_str(if i == 0 { "" } else { "," });
            quote(&key.0, &mut out);
            out.push(':');
            quote(&value.0, &mut out);
        }
        out.push_str("}}");
        out.into_bytes()
    }

    /// Reads canonical bytes, and no others.
    ///
    /// # Errors
    /// `Newer` for a form or act this release does not know; else the rule that is broken.
    pub fn parse(leaf: &[u8]) -> Result<Self, RecordError> {
        if leaf.len() > RECORD_MAX {
            return Err(RecordError::TooLong);
        }
        let value = json::parse(leaf, 4)?;
        match value.get("v").and_then(Value::as_u64) {
            Some(VERSION) => {}
            Some(n) if n > VERSION => return Err(RecordError::Newer),
            _ => return Err(RecordError::Field("v")),
        }
        let record = Self::from_json(&value)?;
        // Covers order, spacing, escapes, unknown keys and the bounds of every text at once.
        if record.to_leaf() == leaf { Ok(record) } else { Err(RecordError::NotCanonical) }
    }

    fn from_json(value: &Value) -> Result<Self, RecordError> {
        let act = field(value, "act", |v| v.as_str())?;
        let act = Act::ALL.iter().find(|a| a.as_str() == act).ok_or(RecordError::Newer)?;
        let actor = value.get("actor").ok_or(RecordError::Field("actor"))?;
        let actor = Principal {
            kind: field(actor, "kind", |v| v.as_str().and_then(kind_of))?,
            issuer: field(actor, "issuer", text)?.0,
            subject: field(actor, "subject", text)?.0,
            namespace: field(actor, "namespace", |v| or_null(v, parsed))?,
        };
        let time = field(value, "time", parsed)?;
        let mut record = Self::new(time, field(value, "request_id", parsed)?, &actor, *act);
        record.object = field(value, "object", |v| or_null(v, Object::from_json))?;
        record.decision = field(value, "decision", |v| match v {
            Value::String(s) if s == "allow" => Some(Decision::Allow),
            v => Some(Decision::Deny { reason: v.get("deny").and_then(text)? }),
        })?;
        record.policies =
            field(value, "policies", |v| v.as_array().filter(|a| a.len() <= POLICIES_MAX)?.iter().map(text).collect())?;
        record.policy_version = field(value, "policy_version", |v| or_null(v, text))?;
        record.channel = field(value, "channel", |v| or_null(v, Channel::from_json))?;
        record.details = field(value, "details", |v| {
            let entries = v.as_object().filter(|o| o.len() <= DETAILS_MAX)?;
            entries.iter().map(|(key, value)| Some((Text::new(key), text(value)?))).collect()
        })?;
        Ok(record)
    }
}

impl Object {
    fn write(&self, out: &mut String) {
        out.push_str(r#"{"namespace":"#);
        quote(self.namespace.as_str(), out);
        out.push_str(r#","name":"#);
        optional(self.name.as_ref().map(Name::as_str), out);
        out.push_str(r#","version":"#);
        match self.version {
            None => out.push_str("null"),
            Some(n) => write!(out, "{n}").expect("writing to a string"),
        }
        out.push_str(r#","artifact_id":"#);
        optional(self.artifact_id.map(|id| id.to_string()).as_deref(), out);
        out.push_str(r#","root":"#);
        optional(self.root.map(|root| root.to_string()).as_deref(), out);
        out.push('}');
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            namespace: parsed(value.get("namespace")?)?,
            name: or_null(value.get("name")?, parsed)?,
            version: or_null(value.get("version")?, Value::as_u64)?,
            artifact_id: or_null(value.get("artifact_id")?, parsed)?,
            root: or_null(value.get("root")?, parsed)?,
        })
    }
}

impl Channel {
    fn write(&self, out: &mut String) {
        out.push_str(r#"{"transport":"#);
        quote(self.transport.as_str(), out);
        out.push_str(r#","tls_group":"#);
        optional(self.tls_group.as_ref().map(Text::as_str), out);
        out.push_str(r#","peer":"#);
        optional(self.peer.as_ref().map(Text::as_str), out);
        out.push('}');
    }

    fn from_json(value: &Value) -> Option<Self> {
        let transport = value.get("transport")?.as_str()?;
        Some(Self {
            transport: Transport::ALL.into_iter().find(|t| t.as_str() == transport)?,
            tls_group: or_null(value.get("tls_group")?, text)?,
            peer: or_null(value.get("peer")?, text)?,
        })
    }
}

fn field<'a, T>(
    value: &'a Value,
    key: &'static str,
    read: impl FnOnce(&'a Value) -> Option<T>,
) -> Result<T, RecordError> {
    value.get(key).and_then(read).ok_or(RecordError::Field(key))
}

/// `Some(None)` for null; else what `read` makes of it.
fn or_null<'a, T>(value: &'a Value, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<Option<T>> {
    match value {
        Value::Null => Some(None),
        value => read(value).map(Some),
    }
}

fn text(value: &Value) -> Option<Text> {
    value.as_str().map(Text::new)
}

fn parsed<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

fn optional(text: Option<&str>, out: &mut String) {
    match text {
        None => out.push_str("null"),
        Some(text) => quote(text, out),
    }
}

const fn kind_text(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::Operator => "operator",
        PrincipalKind::Workload => "workload",
        PrincipalKind::Anonymous => "anonymous",
    }
}

fn kind_of(text: &str) -> Option<PrincipalKind> {
    [PrincipalKind::Operator, PrincipalKind::Workload, PrincipalKind::Anonymous]
        .into_iter()
        .find(|k| kind_text(*k) == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Record {
        let actor = Principal::workload("default".parse().unwrap(), &"serve-1".parse().unwrap());
        Record::new(Timestamp::from_millis(1_795_305_600_123), RequestId([1; 16]), &actor, Act::ArtifactFetchStart)
            .on(Object {
                namespace: "default".parse().unwrap(),
                name: Some("resnet".parse().unwrap()),
                version: Some(3),
                artifact_id: Some(ArtifactId([2; 16])),
                root: Some(Root([3; 32])),
            })
            .by_policies(["grants"], "7")
            .through(Channel {
                transport: Transport::Tls,
                tls_group: Some("X25519MLKEM768".into()),
                peer: Some("127.0.0.1:5".into()),
            })
            .detail("tag", "latest")
            .detail("bytes", 12)
    }

    #[test]
    fn the_encoding_is_the_documented_one() {
        let expected = concat!(
            r#"{"v":1,"time":"2026-11-22T00:00:00.123Z","request_id":"01010101010101010101010101010101","#,
            r#""actor":{"kind":"workload","issuer":"mtls","subject":"serve-1","namespace":"default"},"#,
            r#""act":"artifact.fetch.start","object":{"namespace":"default","name":"resnet","version":3,"#,
            r#""artifact_id":"02020202020202020202020202020202","#,
            r#""root":"0303030303030303030303030303030303030303030303030303030303030303"},"#,
            r#""decision":"allow","policies":["grants"],"policy_version":"7","#,
            r#""channel":{"transport":"tls","tls_group":"X25519MLKEM768","peer":"127.0.0.1:5"},"#,
            r#""details":{"bytes":"12","tag":"latest"}}"#
        );
        assert_eq!(String::from_utf8(example().to_leaf()).unwrap(), expected);
        assert_eq!(Record::parse(expected.as_bytes()).unwrap(), example());
    }

    #[test]
    fn other_encodings_of_the_same_record_are_refused() {
        let good = String::from_utf8(example().to_leaf()).unwrap();
        for (from, to) in [
            (r#""v":1,"#, r#""v": 1,"#),
            (r#""tag":"latest""#, r#""tag":"l\u0061test""#),
            (r#""bytes":"12","tag":"latest""#, r#""tag":"latest","bytes":"12""#),
            (r#""details":{"#, r#""extra":1,"details":{"#),
            ("00.123Z", "00.1230Z"),
            (r#""version":3"#, r#""version":3.0"#),
            (r#""version":3"#, r#""version":"3""#),
            ("0101", "010A"),
            (r#""allow""#, r#""deny""#),
            (r#""policies":["#, r#""policies":[1,"#),
            ("127.0.0.1", "127.0\\u001b.0.1"),
            (r#","details""#, r#","act":"vault.init","details""#),
        ] {
            assert!(good.contains(from), "{from}");
            assert!(Record::parse(good.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
        assert_eq!(Record::parse(&[good.as_bytes(), b"\n"].concat()), Err(RecordError::NotCanonical));
        for newer in [good.replacen("\"v\":1", "\"v\":2", 1), good.replacen("fetch.start", "fetch.pause", 1)] {
            assert_eq!(Record::parse(newer.as_bytes()), Err(RecordError::Newer));
        }
        assert_eq!(Record::parse(&vec![b' '; RECORD_MAX + 1]), Err(RecordError::TooLong));
    }

    #[test]
    fn a_hostile_caller_cannot_blow_a_record_up_or_garble_a_terminal() {
        let long = "\"\\\u{1b}".repeat(1 << 16);
        let actor = Principal { issuer: long.clone(), subject: long.clone(), ..Principal::anonymous() };
        let mut record = Record::new(Timestamp::from_millis(i64::MAX), RequestId([0; 16]), &actor, Act::AuthRefused)
            .denied(&long)
            .by_policies((0..100).map(|_| &long), &long)
            .through(Channel {
                transport: Transport::Tls,
                tls_group: Some(Text::new(&long)),
                peer: Some(Text::new(&long)),
            });
        for i in 0..100 {
            record = record.detail(format!("{i}{long}"), &long);
        }
        let leaf = record.to_leaf();
        assert!(leaf.len() < RECORD_MAX, "{}", leaf.len());
        assert!(leaf.iter().all(|b| *b >= 0x20));
        assert_eq!(Record::parse(&leaf).unwrap(), record);
        assert_eq!(record.policies().len(), POLICIES_MAX);
        assert_eq!(record.details().len(), DETAILS_MAX);
        assert_eq!(Text::new("a\u{202e}b\u{9b}c\n").as_str(), "a\\u{202e}b\\u{9b}c\\u{a}");
        assert!(Text::new("é".repeat(200)).as_str().ends_with("é…"));
        assert_eq!(Text::new("x".repeat(256)).as_str().len(), 256);
    }

    #[test]
    fn acts_have_one_text_each() {
        let mut texts: Vec<_> = Act::ALL.iter().map(|a| a.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Act::ALL.len());
    }

    fn arbitrary_record() -> impl Strategy<Value = Record> {
        let name = "[a-z0-9][a-z0-9._-]{0,20}";
        let texts = proptest::collection::vec(any::<String>(), 0..5);
        let actor = (any::<String>(), any::<String>(), proptest::option::of(name), 0..3usize);
        let object =
            proptest::option::of((name, proptest::option::of(name), any::<Option<u64>>(), any::<Option<[u8; 32]>>()));
        let channel = proptest::option::of((0..3usize, any::<Option<String>>(), any::<Option<String>>()));
        (any::<i64>(), any::<[u8; 16]>(), actor, 0..Act::ALL.len(), object, texts, channel, any::<Option<String>>())
            .prop_map(|(time, id, (issuer, subject, namespace, kind), act, object, texts, channel, deny)| {
                let kind = [PrincipalKind::Operator, PrincipalKind::Workload, PrincipalKind::Anonymous][kind];
                let namespace = namespace.map(|n| n.parse().unwrap());
                let actor = Principal { kind, issuer, subject, namespace };
                let mut record = Record::new(Timestamp::from_millis(time), RequestId(id), &actor, Act::ALL[act]);
                if let Some((namespace, name, version, root)) = object {
                    record = record.on(Object {
                        namespace: namespace.parse().unwrap(),
                        name: name.map(|n| n.parse().unwrap()),
                        version,
                        artifact_id: None,
                        root: root.map(Root),
                    });
                }
                if let Some((transport, group, peer)) = channel {
                    record = record.through(Channel {
                        transport: Transport::ALL[transport],
                        tls_group: group.map(Text::new),
                        peer: peer.map(Text::new),
                    });
                }
                if let Some(reason) = deny {
                    record = record.denied(reason).by_policies(&texts, "1");
                }
                texts.iter().fold(record, |r, t| r.detail(t, t))
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_written_the_same(record in arbitrary_record()) {
            let leaf = record.to_leaf();
            prop_assert!(leaf.len() <= RECORD_MAX);
            let read = Record::parse(&leaf).unwrap();
            prop_assert_eq!(&read, &record);
            prop_assert_eq!(read.to_leaf(), leaf);
        }

        #[test]
        fn texts_are_bounded_and_stay_what_they_are(text in any::<String>(), times in 1..40usize) {
            let once = Text::new(text.repeat(times));
            prop_assert!(once.as_str().len() <= Text::MAX);
            prop_assert_eq!(Text::new(once.as_str()), once);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::parse(&bytes);
        }
    }
}
