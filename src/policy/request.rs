//! The question policies answer: who, what, on which, in which circumstances.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use cedar_policy::{
    Context as CedarContext, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request as CedarRequest,
    RestrictedExpression as Expression, Schema,
};

use super::dataset::Dataset;
use crate::error::{Error, ErrorId};
use crate::marks::Marks;
use crate::names::{ArtifactId, ArtifactKind, Name, Principal, PrincipalKind, Tag, Timestamp, VersionId};

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),* $(,)?) => {
        /// What a caller wants to do (`schema.cedarschema` says on what, and which group it belongs to).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Action {
            $($(#[$doc])* $variant,)*
        }

        impl Action {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word used in policies and in the audit log.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}
actions! {
    /// Learn that an artifact exists, and its facts.
    Stat = "stat",
    /// Read the plaintext.
    Open = "open",
    /// Read a range or one member of the plaintext.
    OpenRange = "openRange",
    /// List the artifacts of a namespace.
    List = "list",
    /// Make a new artifact or version.
    Seal = "seal",
    /// Take a sealed file in.
    Import = "import",
    /// Move a tag.
    Tag = "tag",
    /// Unlist a version.
    Rm = "rm",
    /// Check a stored version; gives no plaintext.
    Verify = "verify",
    /// Hand sealed bytes out.
    Export = "export",
    /// Attach a signed statement to a version.
    Attest = "attest",
    /// Read the statements about a version.
    ReadAttestations = "readAttestations",
    /// Give or take a workload's right to read an artifact.
    Grant = "grant",
    /// Issue a workload its first certificate.
    Enroll = "enroll",
    /// List the workloads of a namespace and their grants.
    ListWorkloads = "listWorkloads",
    /// Take a workload's certificates back.
    Revoke = "revoke",
    /// Make the vault.
    Init = "init",
    /// Run the daemon.
    Serve = "serve",
    /// See the vault's state.
    Status = "status",
    /// Replace the policies.
    SetPolicy = "setPolicy",
    /// Read, test and explain the policies.
    ReadPolicy = "readPolicy",
    /// Change whose signatures are believed.
    TrustSigner = "trustSigner",
    /// See whose signatures are believed.
    ReadSigners = "readSigners",
    /// Make an identity that the vault holds.
    NewKey = "newKey",
    /// Sign with an identity that the vault holds.
    Sign = "sign",
    /// Read, verify and export the audit log.
    ReadAudit = "readAudit",
    /// Destroy the key of a version.
    Shred = "shred",
    /// Label an artifact, put it in a collection, classify it.
    Label = "label",
    /// Change what a settings document says: issuers, groups, quotas, sinks, alerts.
    ChangeSettings = "changeSettings",
    /// Read settings documents, and what they amount to.
    ReadSettings = "readSettings",
    /// Approve what somebody else wants to do.
    Approve = "approve",
    /// See what waits for approval.
    ReadApprovals = "readApprovals",
    /// Take away the second factor of another person.
    ResetFactor = "resetFactor",
    /// List sessions, and end those of others.
    RevokeSession = "revokeSession",
    /// List sessions, and who is refused.
    ReadSessions = "readSessions",
    /// Put principals and artifacts on hold, and release them.
    Quarantine = "quarantine",
    /// See what is on hold.
    ReadHolds = "readHolds",
    /// Import and drop lists of known bad digests and keys.
    ImportIntel = "importIntel",
    /// Issue a workload its next certificate.
    Renew = "renew",
    /// Learn who one is.
    Whoami = "whoami",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|action| action.as_str()).collect();
            Error::new(ErrorId::InvalidArgument, format!("not an action: {text:?}"))
                .hint(format!("actions are {}", known.join(", ")))
        })
    }
}

/// What it is done to.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// An artifact of the catalogue.
    Artifact {
        /// Its namespace.
        namespace: &'a Name,
        /// Its id; policies and grants name it by this.
        id: ArtifactId,
        /// What people call it.
        name: &'a Name,
        /// What it holds.
        kind: ArtifactKind,
        /// Whether the version asked for carries a publisher's signature.
        signed: bool,
        /// The version asked for, if it is about one.
        version: Option<VersionId>,
    },
    /// A namespace, for what concerns no artifact in it, or one that does not exist yet.
    Namespace(&'a Name),
    /// An enrolled workload.
    Workload {
        /// Its namespace.
        namespace: &'a Name,
        /// Its name.
        name: &'a Name,
    },
    /// The vault as a whole.
    Vault,
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Artifact { namespace, name, .. } => write!(f, "{namespace}/{name}"),
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Workload { namespace, name } => write!(f, "workload {namespace}/{name}"),
            Self::Vault => f.write_str("the vault"),
        }
    }
}

/// How the caller came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The command line, in process.
    Local,
    /// The daemon's Unix socket.
    Unix,
    /// TLS with a client certificate.
    Mtls,
}

impl Transport {
    /// The word used in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Unix => "unix",
            Self::Mtls => "mtls",
        }
    }
}

/// Circumstances of a call. Made with the values that permit least; set what is known.
#[derive(Clone, Debug)]
pub struct Context {
    /// How the caller came in.
    pub transport: Transport,
    /// Time since the second factor; `None`: there was none.
    pub mfa_age: Option<Duration>,
    /// What it was: `totp`, `recovery`; `None`: there was none.
    pub mfa_method: Option<&'static str>,
    /// The caller has a second factor, used or not.
    pub mfa_enrolled: bool,
    /// Approvals by others that belong to this very call.
    pub approvals: u32,
    /// The credential is bound to the connection it came by.
    pub bound: bool,
    /// Plaintext bytes the caller received today (UTC); `None`: not counted.
    pub bytes_today: Option<u64>,
    /// A signature by a trusted key is on the version asked for.
    pub signer_trusted: bool,
    /// The connection's key exchange is a post-quantum one.
    pub pq_tls: bool,
    /// Statements about the whole version asked for, by signers who are trusted: predicate type and name of the signer.
    pub statements: Vec<(String, Name)>,
    /// What is known of the dataset asked for; `None`: it is none, or nobody who is trusted signed it.
    pub dataset: Option<Dataset>,
    /// Tags that point to the version asked for.
    pub tags: Vec<Tag>,
    /// Rules that the caller asks to set aside, for a reason that goes on record.
    pub allowed: Vec<&'static str>,
    /// The tag that the call is to move. That every publication moves `latest` is not told.
    pub tag: Option<Tag>,
    /// A hold asks this caller for a second factor whatever it does.
    pub step_up: bool,
}

impl Context {
    /// Nothing is known but the way in.
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            mfa_age: None,
            mfa_method: None,
            mfa_enrolled: false,
            approvals: 0,
            bound: false,
            bytes_today: None,
            signer_trusted: false,
            pq_tls: false,
            statements: Vec::new(),
            dataset: None,
            tags: Vec::new(),
            allowed: Vec::new(),
            tag: None,
            step_up: false,
        }
    }

    fn to_cedar(&self, now: Timestamp) -> Result<CedarContext, String> {
        let long =
            |value: Option<u64>| Expression::new_long(value.map_or(i64::MAX, |v| i64::try_from(v).unwrap_or(i64::MAX)));
        let word = |text: &str| Expression::new_string(text.into());
        let statements = self.statements.iter().map(|(of_type, signer)| {
            let parts = [("type".into(), word(of_type)), ("signer".into(), word(signer.as_str()))];
            Expression::new_record(parts).map_err(|e| e.to_string())
        });
        let members = [
            ("transport", word(self.transport.as_str())),
            ("mfa_age_s", long(self.mfa_age.map(|age| age.as_secs()))),
            ("mfa_method", word(self.mfa_method.unwrap_or("none"))),
            ("mfa_enrolled", Expression::new_bool(self.mfa_enrolled)),
            ("step_up", Expression::new_bool(self.step_up)),
            ("approvals", Expression::new_long(self.approvals.into())),
            ("bound", Expression::new_bool(self.bound)),
            ("attestation", word("none")),
            ("bytes_today", long(self.bytes_today)),
            ("now_s", Expression::new_long(now.as_secs())),
            // The first day of the epoch was a Thursday.
            ("weekday", Expression::new_long((now.as_secs().div_euclid(86_400) + 3).rem_euclid(7) + 1)),
            ("hour", Expression::new_long(now.as_secs().rem_euclid(86_400) / 3600)),
            ("signer_trusted", Expression::new_bool(self.signer_trusted)),
            ("pq_tls", Expression::new_bool(self.pq_tls)),
            ("statements", Expression::new_set(statements.collect::<Result<Vec<_>, _>>()?)),
            ("tags", Expression::new_set(self.tags.iter().map(|tag| word(tag.as_str())))),
            ("tag", word(self.tag.as_ref().map_or("", Tag::as_str))),
            ("allowed", Expression::new_set(self.allowed.iter().map(|rule| word(rule)))),
        ];
        let dataset = self.dataset.as_ref().map(Dataset::to_cedar).transpose()?;
        let members = members.into_iter().chain(dataset.map(|dataset| ("dataset", dataset)));
        CedarContext::from_pairs(members.map(|(key, value)| (key.into(), value))).map_err(|e| e.to_string())
    }
}

/// One question to the policies.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What for.
    pub action: Action,
    /// On what.
    pub resource: Resource<'a>,
    /// Groups the caller is in, by the vault's own list and by its issuer's word.
    pub groups: Vec<Name>,
    /// What operators said about the artifact.
    pub marks: Marks,
    /// In which circumstances.
    pub context: Context,
    /// The catalogue holds a grant that links this workload and this artifact.
    pub granted: bool,
    /// The time of the decision.
    pub now: Timestamp,
}

impl fmt::Display for Request<'_> {
    /// `workload default/serve-1: open default/resnet`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.principal, self.action, self.resource)
    }
}

/// A request in Cedar's terms, checked against the schema.
pub(super) struct Asked {
    pub action: Action,
    pub request: CedarRequest,
    pub entities: Entities,
    /// Workload and artifact that a grant links, if one does.
    pub granted: Option<(EntityUid, EntityUid)>,
}

impl Request<'_> {
    /// The same by a caller who has used a second factor just now.
    #[must_use]
    pub(super) fn with_second_factor(mut self) -> Self {
        self.context.mfa_age = Some(Duration::ZERO);
        self.context.mfa_method = Some("totp");
        self.context.mfa_enrolled = true;
        self
    }

    /// Fails, with a sentence, for whatever the schema does not know: such a request is denied.
    pub(super) fn to_cedar(&self) -> Result<Asked, String> {
        let (principal, caller) = principal_entity(self.principal, &self.groups)?;
        let (resource, target, around) = resource_entity(&self.resource, &self.marks)?;
        let request = CedarRequest::new(
            principal.clone(),
            uid(&TYPES.action, self.action.as_str()),
            resource.clone(),
            self.context.to_cedar(self.now)?,
            Some(&SCHEMA),
        )
        .map_err(|e| e.to_string())?;
        // A workload that renews its own certificate is both: one entity, given once.
        let target = target.filter(|_| principal != resource);
        let entities = ACTIONS
            .clone()
            .add_entities([Some(caller), target, around].into_iter().flatten(), Some(&SCHEMA))
            .map_err(|e| e.to_string())?;
        let linkable =
            self.principal.kind == PrincipalKind::Workload && matches!(self.resource, Resource::Artifact { .. });
        Ok(Asked {
            action: self.action,
            request,
            entities,
            granted: (self.granted && linkable).then_some((principal, resource)),
        })
    }
}

/// The schema, compiled once.
pub(super) static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    Schema::from_cedarschema_str(include_str!("schema.cedarschema")).expect("the built-in schema is tested").0
});

/// Actions and their groups as entities: the same in every decision.
static ACTIONS: LazyLock<Entities> =
    LazyLock::new(|| SCHEMA.action_entities().expect("the built-in schema has no cycle of action groups"));

/// The actions that `named` means: itself or, where it is a group, all in it.
pub(super) fn actions_under(named: &EntityUid) -> impl Iterator<Item = Action> {
    let is = |action: &Action| {
        let uid = uid(&TYPES.action, action.as_str());
        uid == *named || ACTIONS.is_ancestor_of(named, &uid)
    };
    Action::ALL.iter().copied().filter(is)
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let name = |text: &str| format!("ModelVault::{text}").parse().expect("a valid type name");
    Types {
        action: name("Action"),
        operator: name("Operator"),
        workload: name("Workload"),
        group: name("Group"),
        namespace: name("Namespace"),
        collection: name("Collection"),
        artifact: name("Artifact"),
        vault: name("Vault"),
    }
});

struct Types {
    action: EntityTypeName,
    operator: EntityTypeName,
    workload: EntityTypeName,
    group: EntityTypeName,
    namespace: EntityTypeName,
    collection: EntityTypeName,
    artifact: EntityTypeName,
    vault: EntityTypeName,
}

/// Text becomes an id as it is, never by way of Cedar source: nothing in a name can end the string it stands in.
fn uid(of: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id))
}

fn entity<const N: usize>(
    uid: EntityUid,
    attributes: [(&str, Expression); N],
    parents: impl IntoIterator<Item = EntityUid>,
) -> Result<Entity, String> {
    let attributes: HashMap<_, _> = attributes.into_iter().map(|(key, value)| (key.into(), value)).collect();
    Entity::new(uid, attributes, parents.into_iter().collect::<HashSet<_>>()).map_err(|e| e.to_string())
}

/// Cedar's name of a workload. A name has no `/`, so no two workloads share one.
pub(super) fn workload_uid(namespace: &Name, name: &Name) -> EntityUid {
    uid(&TYPES.workload, &format!("{namespace}/{name}"))
}

/// Cedar's name of an artifact.
pub(super) fn artifact_uid(id: ArtifactId) -> EntityUid {
    uid(&TYPES.artifact, &id.to_string())
}

fn group_uids(groups: &[Name]) -> impl Iterator<Item = EntityUid> {
    groups.iter().map(|group| uid(&TYPES.group, group.as_str()))
}

/// Somebody of this name, enrolled here or vouched for by another issuer. A name has no `:`, so one is never taken for the other.
fn workload_entity(
    issuer: &str,
    namespace: &Name,
    subject: &str,
    groups: &[Name],
) -> Result<(EntityUid, Entity), String> {
    let home = uid(&TYPES.namespace, namespace.as_str());
    let itself = match issuer {
        "mtls" => {
            let name = subject.parse().map_err(|_| format!("{subject:?} is no workload's name"))?;
            workload_uid(namespace, &name)
        }
        other => {
            let _: Name = other.parse().map_err(|_| format!("{other:?} is no issuer's name"))?;
            uid(&TYPES.workload, &format!("{namespace}/{other}:{subject}"))
        }
    };
    let attributes = [
        ("issuer", Expression::new_string(issuer.into())),
        ("subject", Expression::new_string(subject.into())),
        ("namespace", Expression::new_entity_uid(home.clone())),
    ];
    Ok((itself.clone(), entity(itself, attributes, group_uids(groups).chain([home]))?))
}

fn principal_entity(principal: &Principal, groups: &[Name]) -> Result<(EntityUid, Entity), String> {
    let Principal { kind, issuer, subject, namespace } = principal;
    match (kind, namespace) {
        (PrincipalKind::Operator, None) => {
            let itself = uid(&TYPES.operator, &format!("{issuer}:{subject}"));
            let attributes = [
                ("issuer", Expression::new_string(issuer.clone())),
                ("subject", Expression::new_string(subject.clone())),
            ];
            Ok((itself.clone(), entity(itself, attributes, group_uids(groups))?))
        }
        (PrincipalKind::Workload, Some(namespace)) => workload_entity(issuer, namespace, subject, groups),
        (PrincipalKind::Anonymous, _) => Err("a caller without a credential may do nothing here".into()),
        (PrincipalKind::Operator, Some(_)) => Err("an operator belongs to no namespace".into()),
        (PrincipalKind::Workload, None) => Err("a workload belongs to a namespace".into()),
    }
}

/// The resource, its entity, and that of the collection it is in. Namespaces and the vault have no attributes: their names
/// are enough.
fn resource_entity(
    resource: &Resource<'_>,
    marks: &Marks,
) -> Result<(EntityUid, Option<Entity>, Option<Entity>), String> {
    Ok(match resource {
        Resource::Artifact { namespace, id, name, kind, signed, .. } => {
            let (itself, home) = (artifact_uid(*id), uid(&TYPES.namespace, namespace.as_str()));
            let collection = marks.collection.as_ref().map(|c| uid(&TYPES.collection, &format!("{namespace}/{c}")));
            let labels = marks.labels.iter().map(|label| Expression::new_string(label.as_str().into()));
            let classification = marks.classification.as_ref().map_or("", Name::as_str);
            let attributes = [
                ("namespace", Expression::new_entity_uid(home.clone())),
                ("name", Expression::new_string(name.as_str().into())),
                ("kind", Expression::new_string(kind.as_str().into())),
                ("signed", Expression::new_bool(*signed)),
                ("labels", Expression::new_set(labels)),
                ("classification", Expression::new_string(classification.into())),
            ];
            let around = collection.clone().map(|c| entity(c, [], [home.clone()])).transpose()?;
            let parents = collection.into_iter().chain([home]);
            (itself.clone(), Some(entity(itself, attributes, parents)?), around)
        }
        // A workload as the target of `renew` and `revoke`: always one of the embedded CA. Its groups are not asked for.
        Resource::Workload { namespace, name } => {
            let (itself, entity) = workload_entity("mtls", namespace, name.as_str(), &[])?;
            (itself, Some(entity), None)
        }
        Resource::Namespace(name) => (uid(&TYPES.namespace, name.as_str()), None, None),
        Resource::Vault => (uid(&TYPES.vault, "this"), None, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_and_the_code_know_the_same_actions() {
        let mut of_schema: Vec<_> = SCHEMA.actions().map(|uid| uid.id().unescaped().to_owned()).collect();
        let groups = ["read", "write", "admin", "destructive"];
        of_schema.retain(|name| !groups.contains(&name.as_str()));
        let mut of_code: Vec<_> = Action::ALL.iter().map(|a| a.as_str().to_owned()).collect();
        of_schema.sort();
        of_code.sort();
        assert_eq!(of_schema, of_code);
    }

    #[test]
    fn malformed_principals_are_no_question() {
        let ns: Name = "default".parse().unwrap();
        let good = Principal::workload(ns.clone(), &"serve".parse().unwrap());
        for principal in [
            Principal { namespace: None, ..good.clone() },
            Principal { subject: "a/b".into(), ..good.clone() },
            Principal { subject: "\" } permit(principal, action, resource);".into(), ..good.clone() },
            Principal { namespace: Some(ns), ..Principal::local_operator(0) },
            Principal::anonymous(),
        ] {
            assert!(principal_entity(&principal, &[]).is_err(), "{principal:?}");
        }
    }
}
