//! Plain types every room shares: ids, names, references, principals, time and randomness. No room-specific logic.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorId, Result};

/// Where predicate types live. One constant: changing the product's domain changes only this.
pub const PREDICATE_BASE: &str = "https://modelvault.example/";

/// The rule that a model signature among the members of a seal is good and by somebody trusted, where it is set aside.
pub const ALLOW_UNSIGNED: &str = "unsigned";

/// Source of unpredictable bytes. Injected, so that tests and vectors can fix it.
pub trait Random: Send + Sync {
    /// Fills `out`, or fails without having used it.
    fn fill(&self, out: &mut [u8]) -> Result<()>;
}

/// Source of time. Injected, so that expiry can be tested.
pub trait Clock: Send + Sync {
    /// The current wall time.
    fn now(&self) -> Timestamp;

    /// How long the machine has been running, asleep or not. Nobody sets it: what must not be hurried is measured by it.
    fn running(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
    }
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_millis(since.as_millis().try_into().unwrap_or(i64::MAX))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z. Shown as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time plus `by`, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_millis().try_into().unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to this; zero if it lies after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).try_into().unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, with milliseconds: `2026-11-22T08:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, in_day) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let (y, m, d) = civil_from_days(days);
        let (s, ms) = (in_day / 1000, in_day % 1000);
        write!(f, "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600, s / 60 % 60, s % 60)
    }
}

impl From<Timestamp> for String {
    fn from(t: Timestamp) -> Self {
        t.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    /// Exactly the form that [`Timestamp`] prints; the milliseconds may be absent.
    fn from_str(text: &str) -> Result<Self> {
        parse_rfc3339(text)
            .ok_or_else(|| Error::new(ErrorId::InvalidArgument, format!("not an RFC 3339 UTC time: {text:?}")))
    }
}

fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z')?;
    let (date_time, millis) = match text.split_once('.') {
        Some((head, ms)) if ms.len() == 3 && ms.bytes().all(|b| b.is_ascii_digit()) => (head, ms.parse::<i64>().ok()?),
        Some(_) => return None,
        None => (text, 0),
    };
    let (date, time) = date_time.split_once('T')?;
    let number = |part: &str, len: usize| {
        (part.len() == len && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<i64>().ok()).flatten()
    };
    let mut date = date.splitn(3, '-');
    let mut time = time.splitn(3, ':');
    let (y, m, d) = (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
    let (h, min, s) = (number(time.next()?, 2)?, number(time.next()?, 2)?, number(time.next()?, 2)?);
    let days = days_from_civil(y, m, d);
    if civil_from_days(days) != (y, m, d) || h > 23 || min > 59 || s > 59 {
        return None;
    }
    Some(Timestamp(days * 86_400_000 + (h * 3600 + min * 60 + s) * 1000 + millis))
}

/// Proleptic Gregorian date of a day count from 1970-01-01 (era arithmetic over 400-year cycles of 146097 days).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (d, m) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    (yoe + era * 400 + i64::from(m <= 2), m, d)
}

fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = y - i64::from(m <= 2);
    let (era, yoe) = (y.div_euclid(400), y.rem_euclid(400));
    let doy = (153 * (m + if m > 2 { -3 } else { 9 }) + 2) / 5 + d - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = Error;
            fn try_from(bytes: &[u8]) -> Result<Self> {
                bytes.try_into().map(Self).map_err(|_| {
                    Error::new(ErrorId::InvalidArgument, concat!(stringify!($name), " has ", $len, " bytes"))
                })
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| {
                    Error::new(ErrorId::InvalidArgument, format!(concat!("not a ", stringify!($name), ": {:?}"), text))
                })?;
                Ok(Self(bytes))
            }
        }
    };
}

id!(/// A vault (home), for life.
    VaultId, 16);
id!(/// A namespace, for life; never reused.
    NamespaceId, 16);
id!(/// A named artifact with all its versions, for life; never reused.
    ArtifactId, 16);
id!(/// One version of an artifact; also names its blobs.
    VersionId, 16);
id!(/// A symmetric key that wraps others (a namespace's KEK or an artifact key): FORMAT's `kek_id`.
    KekId, 16);
id!(/// A call, for idempotent retries and the audit log.
    RequestId, 16);
id!(/// An act that waits for the approval of others.
    ApprovalId, 16);
id!(/// A session of a caller who came with a token; never reused.
    SessionId, 16);
id!(/// FORMAT section 3: random, new for every sealed file.
    FileId, 32);
id!(/// FORMAT section 8: names the sealed content for life.
    Root, 32);
id!(/// FORMAT section 3: commits to the file key.
    Commitment, 32);
id!(/// SHA-256 of the DER SubjectPublicKeyInfo of a public key (TRUST section 3).
    KeyId, 32);
id!(/// A BLAKE3 digest.
    Blake3, 32);
id!(/// A SHA-256 digest.
    Sha256, 32);

impl KeyId {
    /// The short form people see: the first 16 hex digits.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..8])
    }
}

macro_rules! time_ordered {
    ($($name:ident),*) => {$(
        impl $name {
            /// A new id: 48 bits of milliseconds, then random bits (the layout of RFC 9562, UUIDv7), so that rows
            /// made one after the other lie side by side in the catalogue.
            pub fn generate(now: Timestamp, random: &dyn Random) -> Result<Self> {
                let mut bytes = [0; 16];
                random.fill(&mut bytes)?;
                bytes[..6].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
                bytes[6] = bytes[6] & 0x0f | 0x70;
                bytes[8] = bytes[8] & 0x3f | 0x80;
                Ok(Self(bytes))
            }
        }
    )*};
}
time_ordered!(VaultId, NamespaceId, ArtifactId, VersionId, KekId, RequestId, ApprovalId, SessionId);

/// NAME of the grammar: 1-64 of `a-z 0-9 . _ -`, starting with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Name(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name a path gets when the user gives none: its stem, lower-cased, other characters as `-`.
    pub fn from_path(path: &std::path::Path) -> Result<Self> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        let kept: String = stem.chars().map(|c| if Self::allowed(c) { c } else { '-' }).take(64).collect();
        kept.trim_start_matches(['.', '_', '-'])
            .parse()
            .map_err(|e: Error| e.hint("give the artifact a name with --name"))
    }

    fn allowed(c: char) -> bool {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
    }
}

impl FromStr for Name {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !starts || text.len() > 64 || !text.chars().all(Self::allowed) {
            return Err(Error::new(ErrorId::InvalidArgument, format!("not a name: {text:?}"))
                .hint("names are 1-64 of a-z 0-9 . _ - and start with a letter or digit"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl TryFrom<String> for Name {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// A tag: a name, but not `v` and digits, which is a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Tag(String);

impl Tag {
    /// The tag every seal moves.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let name: Name = text.parse()?;
        if version_number(text).is_some() {
            return Err(Error::new(ErrorId::InvalidArgument, format!("{text:?} is a version, not a tag")));
        }
        Ok(Self(name.0))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0
    }
}

impl TryFrom<String> for Tag {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// `v` and digits; `None` if it is not that. Numbers too large for a version are `Some(u64::MAX)`: never found.
fn version_number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('v')?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Which version of an artifact is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revision {
    /// `vN`: immutable.
    Version(u64),
    /// A tag: moves.
    Tag(Tag),
    /// `b3:<hex>`: the sealed root.
    Root(Root),
}

impl FromStr for Revision {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if let Some(hex) = text.strip_prefix("b3:") {
            return Ok(Self::Root(
                hex.parse().map_err(|e: Error| e.hint("b3: takes the 64 hex digits of a sealed root"))?,
            ));
        }
        match version_number(text) {
            Some(n) => Ok(Self::Version(n)),
            None => Ok(Self::Tag(text.parse()?)),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(n) => write!(f, "v{n}"),
            Self::Tag(t) => write!(f, "{t}"),
            Self::Root(r) => write!(f, "b3:{r}"),
        }
    }
}

/// `[NAMESPACE/]NAME[@REVISION]`, or `vault://namespace/name@revision/path/inside`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Default: `default`.
    pub namespace: Name,
    /// The artifact.
    pub name: Name,
    /// Default: the tag `latest`.
    pub revision: Revision,
    /// Only in the URL form: a member's path.
    pub member: Option<String>,
}

impl Reference {
    /// The namespace used where none is said.
    pub const DEFAULT_NAMESPACE: &'static str = "default";

    /// The default revision of an artifact.
    pub fn latest(namespace: Name, name: Name) -> Self {
        Self { namespace, name, revision: Revision::Tag(Tag::latest()), member: None }
    }

    /// Whether a command-line argument must be read as a reference although a path of that name exists.
    pub fn is_url(text: &str) -> bool {
        text.starts_with("vault://")
    }
}

impl FromStr for Reference {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::new(ErrorId::InvalidArgument, format!("not a reference: {text:?}"))
                .hint("references are [NAMESPACE/]NAME[@REVISION]; REVISION is v3, a tag, or b3:<hex>")
        };
        let (namespace, rest, member) = match text.strip_prefix("vault://") {
            Some(url) => {
                let (namespace, rest) = url.split_once('/').ok_or_else(bad)?;
                let (rest, member) = rest.split_once('/').map_or((rest, None), |(r, m)| (r, Some(m)));
                (namespace, rest, member.filter(|m| !m.is_empty()))
            }
            None => match text.split_once('/') {
                Some((namespace, rest)) => (namespace, rest, None),
                None => (Self::DEFAULT_NAMESPACE, text, None),
            },
        };
        let (name, revision) = rest.split_once('@').map_or((rest, "latest"), |(n, r)| (n, r));
        Ok(Self {
            namespace: namespace.parse().map_err(|_| bad())?,
            name: name.parse().map_err(|_| bad())?,
            revision: revision.parse()?,
            member: member.map(Into::into),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.member {
            Some(path) => write!(f, "vault://{}/{}@{}/{path}", self.namespace, self.name, self.revision),
            None => write!(f, "{}/{}@{}", self.namespace, self.name, self.revision),
        }
    }
}

/// What kind of content an artifact holds (FORMAT 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// A model: weights and what belongs to them.
    Model,
    /// Training or evaluation data.
    Dataset,
    /// Anything else.
    Opaque,
}

impl ArtifactKind {
    /// The word used in manifests and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Opaque => "opaque",
        }
    }
}

impl fmt::Display for ArtifactKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ArtifactKind {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "model" => Ok(Self::Model),
            "dataset" => Ok(Self::Dataset),
            "opaque" => Ok(Self::Opaque),
            _ => Err(Error::new(ErrorId::InvalidArgument, format!("not a kind: {text:?}"))
                .hint("kinds are model, dataset, opaque")),
        }
    }
}

/// What sort of caller a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person (or their tool) who administers the vault.
    Operator,
    /// Serving or training code with an enrolment of its own.
    Workload,
    /// Nobody: reaches health and reflection only (TRUST section 7).
    Anonymous,
}

/// Who is calling, as established by `identity`. Policy sees this, never how it was proved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// Operator, workload or nobody.
    pub kind: PrincipalKind,
    /// Who vouches for the subject: `local` (in process), `unix` (peer credentials), `mtls` (the embedded CA), or the name of an
    /// issuer or trust domain in the settings.
    pub issuer: String,
    /// Unique within the issuer: `uid:1000`, the workload's name, or what a token or certificate of others calls it.
    pub subject: String,
    /// The namespace a workload belongs to; operators have none.
    pub namespace: Option<Name>,
}

impl Principal {
    /// The caller without a credential.
    pub fn anonymous() -> Self {
        Self { kind: PrincipalKind::Anonymous, issuer: "none".into(), subject: "anonymous".into(), namespace: None }
    }

    /// The owner of a home who runs the command line on it in process.
    pub fn local_operator(uid: u32) -> Self {
        Self { kind: PrincipalKind::Operator, issuer: "local".into(), subject: format!("uid:{uid}"), namespace: None }
    }

    /// An operator on the daemon's Unix socket.
    pub fn unix_operator(uid: u32) -> Self {
        Self { issuer: "unix".into(), ..Self::local_operator(uid) }
    }

    /// Issuers that are part of the vault: no other has one of these names.
    pub const OWN_ISSUERS: [&'static str; 4] = ["none", "local", "unix", "mtls"];

    /// Whether this is a workload that was enrolled here: those of other issuers may have the same name.
    pub fn is_enrolled(&self) -> bool {
        self.kind == PrincipalKind::Workload && self.issuer == "mtls"
    }

    /// A workload enrolled under the embedded CA.
    pub fn workload(namespace: Name, name: &Name) -> Self {
        Self {
            kind: PrincipalKind::Workload,
            issuer: "mtls".into(),
            subject: name.as_str().into(),
            namespace: Some(namespace),
        }
    }
}

impl fmt::Display for Principal {
    /// `operator unix:uid:1000`, `workload default/serve-1`, `workload default/k8s:system:serviceaccount:prod:serve`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.namespace) {
            (PrincipalKind::Operator, _) => write!(f, "operator {}:{}", self.issuer, self.subject),
            (PrincipalKind::Workload, Some(ns)) if self.is_enrolled() => write!(f, "workload {ns}/{}", self.subject),
            // A name has no colon, so nobody is taken for an enrolled workload.
            (PrincipalKind::Workload, Some(ns)) => write!(f, "workload {ns}/{}:{}", self.issuer, self.subject),
            (PrincipalKind::Workload, None) => write!(f, "workload {}", self.subject),
            (PrincipalKind::Anonymous, _) => f.write_str("anonymous"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_defaults_and_print_what_they_mean() {
        let parse = |t: &str| t.parse::<Reference>().map(|r| r.to_string());
        assert_eq!(parse("resnet").unwrap(), "default/resnet@latest");
        assert_eq!(parse("prod/resnet@v3").unwrap(), "prod/resnet@v3");
        assert_eq!(
            parse("vault://prod/resnet@gold/onnx/model.onnx").unwrap(),
            "vault://prod/resnet@gold/onnx/model.onnx"
        );
        assert_eq!(parse(&format!("r@b3:{}", "ab".repeat(32))).unwrap(), format!("default/r@b3:{}", "ab".repeat(32)));
        for bad in ["", "/", "A", "a/b/c", "a@", "a@b3:12", "vault://a", "../x", "a b", "-a", &"a".repeat(65)] {
            assert_eq!(parse(bad).unwrap_err().id(), ErrorId::InvalidArgument, "{bad:?}");
        }
    }

    #[test]
    fn a_version_is_not_a_tag() {
        assert!("v12".parse::<Tag>().is_err());
        assert!("v12a".parse::<Tag>().is_ok());
        assert_eq!("v12".parse::<Revision>().unwrap(), Revision::Version(12));
        assert_eq!("v99999999999999999999".parse::<Revision>().unwrap(), Revision::Version(u64::MAX));
    }

    #[test]
    fn names_come_from_file_stems() {
        let name = |p: &str| Name::from_path(std::path::Path::new(p)).map(|n| n.to_string());
        assert_eq!(name("/tmp/ResNet 50.onnx").unwrap(), "resnet-50");
        assert_eq!(name("models/.hidden").unwrap(), "hidden");
        assert!(name("/").is_err());
    }

    #[test]
    fn times_round_trip() {
        for millis in [0, 951_782_400_000, 1_795_305_600_123, 4_102_444_799_999, -1] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time, "{time}");
        }
        assert_eq!(Timestamp::from_millis(951_782_400_000).to_string(), "2000-02-29T00:00:00.000Z");
        for bad in ["2001-02-29T00:00:00Z", "2026-11-22", "2026-11-22T24:00:00Z", "2026-11-22T00:00:00+01:00"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
