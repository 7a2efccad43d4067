//! Who vouches for callers besides this vault: a document of settings (docs/identity.md).

mod document;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::jwt::{KeySet, Refused, Rules, Token, Verified};
use super::peer::ForeignId;
use crate::error::Result;
use crate::json::Value;
use crate::names::{Name, Principal, PrincipalKind, Sha256};
use crate::settings::{Setting, SettingKind};

/// The issuers in force.
#[derive(Clone, Debug, Default)]
pub struct Issuers {
    tokens: Vec<Issuer>,
    domains: Vec<TrustDomain>,
}

/// Somebody whose tokens are exchanged for sessions.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// What policies and the audit log call it.
    pub name: Name,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Where a token must say it is from, for whom, signed how.
    pub rules: Rules,
    /// Of all that the document says of it.
    pub digest: Sha256,
    kind: Kind,
    subjects: Subjects,
    require: Vec<(Vec<String>, String)>,
    groups: Groups,
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// They stand in the document.
    Inline(KeySet),
    /// A file, read at each login.
    File(PathBuf),
    /// They are fetched.
    Web(WebSource),
}

/// Keys on the web.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebSource {
    /// Of the JWK set; `None`: it is looked up below the issuer's URL (OpenID Connect Discovery).
    pub jwks: Option<String>,
    /// The issuer's URL.
    pub issuer: String,
    /// File with the authorities that its server is under; `None`: those of this system.
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Oidc,
    Kubernetes,
    SpiffeJwt { trust_domain: String },
}

/// Whom subjects become.
#[derive(Clone, Debug)]
struct Subjects {
    /// Patterns, one of which a subject must match; `*` stands for anything.
    accepted: Vec<String>,
    /// `None`: they are operators.
    namespace: Option<Namespaces>,
}

/// The namespace of a workload.
#[derive(Clone, Debug)]
enum Namespaces {
    One(Name),
    /// By a claim, or by the start of a SPIFFE path.
    Mapped {
        claim: Vec<String>,
        map: BTreeMap<String, Name>,
    },
}

/// Groups that an issuer vouches for: those of the map, and always these.
#[derive(Clone, Debug, Default)]
struct Groups {
    always: Vec<Name>,
    claim: Vec<String>,
    map: BTreeMap<String, Name>,
}

/// Another trust domain, whose certificates are accepted at the handshake.
#[derive(Clone, Debug)]
pub struct TrustDomain {
    /// What policies and the audit log call it.
    pub name: Name,
    /// `example.org`.
    pub trust_domain: String,
    /// Where its authorities come from.
    pub bundle: Bundle,
    accepted: Vec<String>,
    namespace: Name,
    groups: Vec<Name>,
}

/// The authorities of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bundle {
    /// PEM, or SPIFFE bundle JSON, in the document.
    Inline(String),
    /// The same in a file, which is read again when it changes.
    File(PathBuf),
    /// A SPIFFE agent at this socket tells them, and each change; `None`: at the one that the environment names.
    Agent(Option<PathBuf>),
}

impl Bundle {
    /// What SPIFFE calls the variable of the environment with the socket of the agent.
    pub(super) const SOCKET: &'static str = "SPIFFE_ENDPOINT_SOCKET";

    /// The socket of the agent, if there is one.
    pub fn agent(&self) -> Option<PathBuf> {
        let Self::Agent(socket) = self else { return None };
        let of_environment = || Self::socket(&std::env::var(Self::SOCKET).ok()?);
        socket.clone().or_else(of_environment)
    }

    /// `unix:///PATH`, `unix:/PATH` or `/PATH`.
    fn socket(place: &str) -> Option<PathBuf> {
        let path = place.strip_prefix("unix://").or_else(|| place.strip_prefix("unix:")).unwrap_or(place);
        Some(PathBuf::from(path)).filter(|path| path.is_absolute())
    }
}

/// A caller whom an issuer vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Who it is.
    pub principal: Principal,
    /// Groups it belongs to, in order.
    pub groups: Vec<Name>,
}

impl Setting for Issuers {
    const KIND: SettingKind = SettingKind::Issuers;
    const BUILTIN: &'static str = include_str!("issuers/builtin.toml");

    fn parse(text: &str) -> Result<Self> {
        document::parse(text)
    }
}

impl Issuers {
    /// The issuer that a token claims to be from.
    ///
    /// # Errors
    /// [`Refused::UnknownIssuer`].
    pub fn of_token(&self, token: &Token<'_>) -> Result<&Issuer, Refused> {
        let by_url = token
            .claimed_issuer()
            .and_then(|claimed| self.tokens.iter().find(|issuer| issuer.rules.issuer.as_deref() == Some(claimed)));
        let domain = token.claimed_subject().and_then(|subject| subject.parse::<ForeignId>().ok());
        let by_domain = || {
            let domain = domain?;
            self.tokens.iter().find(|issuer| {
                let Kind::SpiffeJwt { trust_domain } = &issuer.kind else { return false };
                issuer.rules.issuer.is_none() && trust_domain == domain.trust_domain()
            })
        };
        by_url.or_else(by_domain).ok_or(Refused::UnknownIssuer)
    }

    /// The trust domains whose certificates are accepted.
    pub fn trust_domains(&self) -> &[TrustDomain] {
        &self.domains
    }

    /// The trust domain of this name among those of a certificate.
    pub fn trust_domain(&self, domain: &str) -> Option<&TrustDomain> {
        self.domains.iter().find(|known| known.trust_domain == domain)
    }

    /// Whether somebody of this name vouches for callers.
    pub fn knows(&self, name: &str) -> bool {
        self.rules_of(name).is_some() || self.domains.iter().any(|domain| domain.name.as_str() == name)
    }

    /// The sockets of the SPIFFE agents that tell authorities.
    pub fn agents(&self) -> Vec<PathBuf> {
        let sockets = self.domains.iter().filter_map(|domain| domain.bundle.agent());
        sockets.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// Digest of what the document says of the issuer of this name.
    pub fn rules_of(&self, name: &str) -> Option<Sha256> {
        self.tokens.iter().find(|issuer| issuer.name.as_str() == name).map(|issuer| issuer.digest)
    }
}

impl Issuer {
    /// Whom a good token stands for.
    ///
    /// # Errors
    /// [`Refused::Subject`] unless the subject and the claims are among those that the settings accept.
    pub fn vouch(&self, token: &Verified) -> Result<Vouched, Refused> {
        let subject = &token.subject;
        let accepted = self.subjects.accepted.iter().any(|pattern| matches(pattern, subject));
        let required = self.require.iter().all(|(path, wanted)| {
            token.claim(path).is_some_and(|value| match value {
                Value::String(text) | Value::Number(text) => text == wanted,
                Value::Bool(flag) => wanted == if *flag { "true" } else { "false" },
                _ => false,
            })
        });
        if !accepted || !required || !self.is_of_kind(token) {
            return Err(Refused::Subject);
        }
        let (kind, namespace) = match &self.subjects.namespace {
            None => (PrincipalKind::Operator, None),
            Some(Namespaces::One(name)) => (PrincipalKind::Workload, Some(name.clone())),
            Some(Namespaces::Mapped { claim, map }) => {
                let found = token.claim(claim).and_then(Value::as_str).and_then(|found| map.get(found));
                (PrincipalKind::Workload, Some(found.ok_or(Refused::Subject)?.clone()))
            }
        };
        let principal = Principal { kind, issuer: self.name.as_str().into(), subject: subject.clone(), namespace };
        Ok(Vouched { principal, groups: self.groups.of(token) })
    }

    /// What the kind of an issuer promises of all its tokens.
    fn is_of_kind(&self, token: &Verified) -> bool {
        match &self.kind {
            Kind::Oidc => true,
            Kind::Kubernetes => {
                let word = |name: &str| token.claim(&["kubernetes.io".into(), name.into()]).and_then(Value::as_str);
                let account = token.claim(&["kubernetes.io".into(), "serviceaccount".into(), "name".into()]);
                let told = word("namespace").zip(account.and_then(Value::as_str));
                told.is_some_and(|(namespace, account)| {
                    token.subject == format!("system:serviceaccount:{namespace}:{account}")
                })
            }
            Kind::SpiffeJwt { trust_domain } => {
                token.subject.parse::<ForeignId>().is_ok_and(|id| id.trust_domain() == trust_domain)
            }
        }
    }
}

impl Groups {
    fn of(&self, token: &Verified) -> Vec<Name> {
        let told = (!self.claim.is_empty()).then(|| token.claim(&self.claim)).flatten();
        let told = match told {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let mut groups = self.always.clone();
        groups.extend(told.into_iter().filter_map(|group| self.map.get(group)).cloned());
        groups.sort();
        groups.dedup();
        groups
    }
}

impl TrustDomain {
    /// Whom a verified certificate stands for.
    ///
    /// # Errors
    /// [`Refused::Subject`].
    pub fn vouch(&self, id: &ForeignId) -> Result<Vouched, Refused> {
        let accepted = self.accepted.iter().any(|pattern| matches(pattern, id.as_str()));
        if !accepted || id.trust_domain() != self.trust_domain {
            return Err(Refused::Subject);
        }
        let principal = Principal {
            kind: PrincipalKind::Workload,
            issuer: self.name.as_str().into(),
            subject: id.as_str().into(),
            namespace: Some(self.namespace.clone()),
        };
        Ok(Vouched { principal, groups: self.groups.clone() })
    }
}

/// The longest that clocks may differ.
const LONGEST_LEEWAY: Duration = Duration::from_secs(60);

/// Whether a text is of the form `*`, `a*`, `*b`, `a*b*c`: greedy, in time that is linear in the text for each star.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_whole_of_a_subject() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "anything"),
            ("repo:acme/*", "repo:acme/model"),
            ("repo:acme/*:ref:*", "repo:acme/model:ref:refs/heads/main"),
            ("*@acme.example", "ann@acme.example"),
            ("exact", "exact"),
            ("a*b*b", "abb"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("repo:acme/*", "repo:acme-evil/model"),
            ("repo:acme/*", "xrepo:acme/model"),
            ("exact", "exactly"),
            ("exact", "inexact"),
            ("a*b*b", "ab"),
            ("*@acme.example", "ann@acme.example.evil"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    const GOOD: &str = r#"
        version = 1
        [[issuer]]
        name = "ci"
        kind = "oidc"
        issuer = "https://issuer.example"
        audience = "model-vault"
        algorithms = ["RS256"]
        become = "workload"
        subjects = ["repo:acme/*"]
        namespace = "prod"
    "#;

    #[test]
    fn the_built_in_document_knows_nobody_and_its_examples_are_good() {
        assert!(Issuers::parse(Issuers::BUILTIN).unwrap().tokens.is_empty());
        let uncommented: Vec<_> = Issuers::BUILTIN
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|l| l.starts_with('[') || l.contains(" = ")).unwrap_or(line))
            .collect();
        let issuers = Issuers::parse(&uncommented.join(
            "
",
        ))
        .unwrap();
        assert_eq!((issuers.tokens.len(), issuers.domains.len()), (1, 1));
        assert!(issuers.rules_of("k8s").is_some() && issuers.rules_of("spire").is_none());
        assert!(issuers.trust_domain("example.org").is_some_and(|domain| domain.name.as_str() == "spire"));
    }

    #[test]
    fn what_is_not_understood_is_not_taken() {
        assert!(Issuers::parse(GOOD).is_ok());
        for (from, to) in [
            ("version = 1", "version = 2"),
            ("version = 1", "version = \"1\""),
            ("\"RS256\"", "\"HS256\""),
            ("\"RS256\"", "\"none\""),
            ("[\"RS256\"]", "[]"),
            ("https://issuer", "http://issuer"),
            ("\"model-vault\"", "\"\""),
            ("[\"repo:acme/*\"]", "[]"),
            ("name = \"ci\"", "name = \"mtls\""),
            ("name = \"ci\"", "name = \"a:b\""),
            ("namespace = \"prod\"", ""),
            ("namespace = \"prod\"", "namespace = \"prod\"\nleeway = 61"),
            ("namespace = \"prod\"", "namespace = \"prod\"\naudiences = []"),
            ("namespace = \"prod\"", "namespace = \"prod\"\nca = \"relative.pem\""),
            ("namespace = \"prod\"", "namespace = \"prod\"\ntrust-domain = \"example.org\""),
            ("\"workload\"", "\"operator\""),
            ("\"workload\"", "\"root\""),
            ("kind = \"oidc\"", "kind = \"spiffe-jwt\""),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let refused = Issuers::parse(&text).map(drop).unwrap_err();
            assert!(matches!(refused.id(), crate::error::ErrorId::ConfigInvalid), "{from} -> {to}: {refused}");
        }
        assert!(Issuers::parse(&format!("{GOOD}{}", GOOD.replacen("version = 1", "", 1))).is_err(), "the same twice");
    }
}
