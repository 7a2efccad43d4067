//! A request in words, as tests of policies and `vault policy explain` give it. What is not said has the value that permits
//! least; the time is a Monday at noon unless said otherwise.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::dataset::Dataset;
use super::request::{Action, Context, Request, Resource, Transport};
use crate::error::{Error, ErrorId, Result};
use crate::marks::Marks;
use crate::names::{ArtifactId, ArtifactKind, Name, Principal, PrincipalKind, Reference, Tag, Timestamp};

/// Monday, 2026-01-05, 12:00 UTC: tests of policies give the same on every day.
pub const TEST_TIME: Timestamp = Timestamp::from_millis(1_767_614_400_000);

/// Who asks what of which, in which circumstances.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// `workload:prod/serve-1`, `workload:prod/ci:repo:acme/train`, `operator:unix:uid:1000`.
    #[serde(deserialize_with = "principal")]
    pub principal: Principal,
    /// Groups the caller is in.
    #[serde(default)]
    pub groups: Vec<Name>,
    /// What for.
    #[serde(deserialize_with = "from_text")]
    pub action: Action,
    /// On what.
    #[serde(deserialize_with = "from_text")]
    pub resource: Target,
    /// Facts about the artifact; where a vault is asked, it knows them.
    #[serde(default)]
    pub artifact: Described,
    /// The workload was granted the artifact.
    #[serde(default)]
    pub granted: bool,
    /// In which circumstances.
    #[serde(default)]
    pub context: Circumstances,
}

/// What it is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `artifact:prod/resnet`, or without the first word.
    Artifact(Reference),
    /// `namespace:prod`.
    Namespace(Name),
    /// `workload:prod/serve-1`.
    Workload(Name, Name),
    /// `vault`.
    Vault,
}

/// Facts about an artifact that policies see.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Described {
    /// Its id; 32 hex digits.
    #[serde(deserialize_with = "id")]
    pub id: Option<ArtifactId>,
    /// What it holds; a model unless said otherwise.
    pub kind: Option<ArtifactKind>,
    /// The version carries a publisher's signature.
    pub signed: bool,
    /// Labels.
    pub labels: BTreeSet<Name>,
    /// Its collection.
    pub collection: Option<Name>,
    /// How sensitive it is.
    pub classification: Option<Name>,
}

impl Described {
    /// What operators said of it.
    pub fn marks(&self) -> Marks {
        let Self { labels, collection, classification, .. } = self.clone();
        Marks { labels, collection, classification }
    }
}

/// The context, under the names it has in policies.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Circumstances {
    transport: Option<String>,
    mfa_age_s: Option<u64>,
    mfa_method: Option<String>,
    mfa_enrolled: bool,
    step_up: bool,
    approvals: u32,
    bound: bool,
    bytes_today: Option<u64>,
    signer_trusted: bool,
    pq_tls: bool,
    statements: Vec<Said>,
    dataset: Option<Dataset>,
    tags: Vec<Tag>,
    allowed: Vec<String>,
    tag: Option<Tag>,
    now_s: Option<u64>,
    weekday: Option<u8>,
    hour: Option<u8>,
}

/// A statement about the version.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(rename = "type")]
    of_type: String,
    signer: Name,
}

impl Scenario {
    /// From JSON.
    ///
    /// # Errors
    /// `InvalidArgument`, with the word that is not known.
    pub fn parse(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|e| invalid(e.to_string()))
    }

    /// The question, asked at `now` unless the circumstances say when.
    ///
    /// # Errors
    /// `InvalidArgument` for circumstances that cannot be.
    pub fn request(&self, now: Timestamp) -> Result<Request<'_>> {
        let described = &self.artifact;
        let resource = match &self.resource {
            Target::Artifact(Reference { namespace, name, .. }) => Resource::Artifact {
                namespace,
                id: described.id.unwrap_or(ArtifactId([0; 16])),
                name,
                kind: described.kind.unwrap_or(ArtifactKind::Model),
                signed: described.signed,
                version: None,
            },
            Target::Namespace(namespace) => Resource::Namespace(namespace),
            Target::Workload(namespace, name) => Resource::Workload { namespace, name },
            Target::Vault => Resource::Vault,
        };
        Ok(Request {
            principal: &self.principal,
            action: self.action,
            resource,
            groups: self.groups.clone(),
            marks: described.marks(),
            context: self.context.said(&self.principal)?,
            granted: self.granted,
            now: self.context.time(now)?,
        })
    }
}

impl Circumstances {
    /// Whether a hold asks for a second factor; also where it was said.
    pub fn held(&mut self, step_up: bool) {
        self.step_up |= step_up;
    }

    /// Facts of the version that is asked for, where they are known.
    pub fn of_version(
        &mut self,
        tags: Vec<Tag>,
        signer_trusted: bool,
        statements: Vec<(String, Name)>,
        dataset: Option<Dataset>,
    ) {
        (self.tags, self.signer_trusted, self.dataset) = (tags, signer_trusted, dataset);
        self.statements = statements.into_iter().map(|(of_type, signer)| Said { of_type, signer }).collect();
    }

    fn said(&self, principal: &Principal) -> Result<Context> {
        let wrong = |what: &str, known: &str| invalid(format!("there is no {what}")).hint(format!("known: {known}"));
        let usual = match (&*principal.issuer, principal.kind) {
            ("local", _) => "local",
            ("unix", _) => "unix",
            _ => "mtls",
        };
        let mut context = Context::new(match self.transport.as_deref().unwrap_or(usual) {
            "local" => Transport::Local,
            "unix" => Transport::Unix,
            "mtls" => Transport::Mtls,
            other => return Err(wrong(&format!("transport {other:?}"), "local, unix, mtls")),
        });
        context.mfa_age = self.mfa_age_s.map(Duration::from_secs);
        context.mfa_method = match self.mfa_method.as_deref() {
            None if self.mfa_age_s.is_some() => Some("totp"),
            None | Some("none") => None,
            Some("totp") => Some("totp"),
            Some("recovery") => Some("recovery"),
            Some(other) => return Err(wrong(&format!("second factor {other:?}"), "totp, recovery, none")),
        };
        context.mfa_enrolled = self.mfa_enrolled || self.mfa_age_s.is_some();
        let rule = |rule: &String| match &**rule {
            "unsigned" => Ok("unsigned"),
            other => Err(wrong(&format!("rule {other:?}"), "unsigned")),
        };
        context.allowed = self.allowed.iter().map(rule).collect::<Result<_>>()?;
        context.statements = self.statements.iter().map(|s| (s.of_type.clone(), s.signer.clone())).collect();
        context.dataset = self.dataset.clone();
        (context.step_up, context.approvals, context.bound) = (self.step_up, self.approvals, self.bound);
        (context.bytes_today, context.signer_trusted) = (self.bytes_today, self.signer_trusted);
        (context.pq_tls, context.tag, context.tags) = (self.pq_tls, self.tag.clone(), self.tags.clone());
        Ok(context)
    }

    /// `now`, on the day of its week and at the hour that were said.
    fn time(&self, now: Timestamp) -> Result<Timestamp> {
        const DAY: i64 = 86_400;
        if let Some(seconds) = self.now_s {
            if self.hour.is_some() || self.weekday.is_some() {
                return Err(invalid("now_s says the hour and the day of the week already".into()));
            }
            let millis = i64::try_from(seconds).ok().and_then(|s| s.checked_mul(1000));
            return millis.map(Timestamp::from_millis).ok_or_else(|| invalid("now_s is beyond all clocks".into()));
        }
        if self.hour.is_some_and(|h| h > 23) || self.weekday.is_some_and(|d| !(1..=7).contains(&d)) {
            return Err(invalid("hours are 0 to 23, days of the week 1 (Monday) to 7".into()));
        }
        let (mut day, mut second) = (now.as_secs().div_euclid(DAY), now.as_secs().rem_euclid(DAY));
        if let Some(weekday) = self.weekday {
            // The first day of the epoch was a Thursday.
            day += i64::from(weekday) - 1 - (day + 3).rem_euclid(7);
        }
        if let Some(hour) = self.hour {
            second = i64::from(hour) * 3600 + second % 3600;
        }
        Ok(Timestamp::from_millis((day * DAY + second) * 1000))
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorId::InvalidArgument, message)
}

impl FromStr for Target {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text == "vault" {
            return Ok(Self::Vault);
        }
        match text.split_once(':') {
            Some(("artifact", reference)) => Ok(Self::Artifact(reference.parse()?)),
            Some(("namespace", name)) => Ok(Self::Namespace(name.parse()?)),
            Some(("workload", workload)) => {
                let (namespace, name) = workload.split_once('/').ok_or_else(|| no_target(text))?;
                Ok(Self::Workload(namespace.parse()?, name.parse()?))
            }
            // A version may be named by its digest: `resnet@b3:...`.
            _ => text.parse().map(Self::Artifact).map_err(|_| no_target(text)),
        }
    }
}

fn no_target(text: &str) -> Error {
    invalid(format!("nothing to decide about: {text:?}"))
        .hint("a resource is vault, [NAMESPACE/]ARTIFACT, namespace:NAME or workload:NAMESPACE/NAME")
}

/// A principal as policies' tests and groups write it. A workload's name has no colon: with one it is the issuer that vouches
/// for the workload, and what that issuer calls it.
///
/// # Errors
/// `InvalidArgument`.
pub fn parse_principal(text: &str) -> Result<Principal> {
    let wrong = || {
        invalid(format!("no caller: {text:?}"))
            .hint("a caller is workload:NAMESPACE/NAME, workload:NAMESPACE/ISSUER:SUBJECT or operator:ISSUER:SUBJECT")
    };
    let vouched = |text: &str| {
        let (issuer, subject) = text.split_once(':').ok_or_else(wrong)?;
        let fits = |t: &str| (1..=256).contains(&t.len()) && !t.chars().any(char::is_control);
        if fits(issuer) && fits(subject) { Ok((issuer.to_owned(), subject.to_owned())) } else { Err(wrong()) }
    };
    match text.split_once(':').ok_or_else(wrong)? {
        ("workload", workload) => {
            let (namespace, name) = workload.split_once('/').ok_or_else(wrong)?;
            let namespace: Name = namespace.parse().map_err(|_| wrong())?;
            if !name.contains(':') {
                return Ok(Principal::workload(namespace, &name.parse().map_err(|_| wrong())?));
            }
            let (issuer, subject) = vouched(name)?;
            if Principal::OWN_ISSUERS.contains(&&*issuer) {
                return Err(wrong());
            }
            Ok(Principal { kind: PrincipalKind::Workload, issuer, subject, namespace: Some(namespace) })
        }
        ("operator", operator) => {
            let (issuer, subject) = vouched(operator)?;
            Ok(Principal { kind: PrincipalKind::Operator, issuer, subject, namespace: None })
        }
        _ => Err(wrong()),
    }
}

fn text<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: impl FnOnce(&str) -> Result<T>,
) -> std::result::Result<T, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map_err(|e| serde::de::Error::custom(Told(&e)))
}

fn principal<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Principal, D::Error> {
    text(from, parse_principal)
}

fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err = Error>>(from: D) -> std::result::Result<T, D::Error> {
    text(from, str::parse)
}

fn id<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<ArtifactId>, D::Error> {
    let parse = |text: &str| {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).map_err(|_| invalid("an artifact's id is 32 hex digits".into()))?;
        Ok(Some(ArtifactId(id)))
    };
    text(from, parse)
}

/// An error with its hint, for those that hold one sentence.
struct Told<'a>(&'a Error);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.message())?;
        self.0.hint_text().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}
