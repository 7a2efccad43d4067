//! The text of the document: strict, unknown keys are errors.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::super::jwt::{KeySet, Rules};
use super::super::peer::ForeignId;
use super::{
    Bundle, Groups, Issuer, Issuers, KeySource, Kind, LONGEST_LEEWAY, Namespaces, Subjects, TrustDomain, WebSource,
};
use crate::crypto::hash::sha256;
use crate::crypto::jws::JwsAlgorithm;
use crate::error::{Error, ErrorId, Result};
use crate::names::{Name, Principal, Sha256};
use crate::net::Url;

/// Issuers and trust domains in one document.
const MAX_ISSUERS: usize = 64;
/// Patterns, mapped names and required claims of one of them.
const MAX_LISTED: usize = 256;
const MAX_TEXT: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    issuer: Vec<IssuerText>,
    #[serde(default, rename = "trust-domain")]
    trust_domain: Vec<DomainText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IssuerText {
    name: Name,
    kind: KindText,
    issuer: Option<String>,
    trust_domain: Option<String>,
    audience: String,
    algorithms: Vec<String>,
    jwks: Option<JwksText>,
    ca: Option<PathBuf>,
    leeway: Option<u64>,
    r#become: Become,
    subjects: Vec<String>,
    namespace: Option<NamespaceText>,
    #[serde(default)]
    groups: GroupsText,
    #[serde(default)]
    require: Vec<RequireText>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindText {
    Oidc,
    Kubernetes,
    SpiffeJwt,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Become {
    Workload,
    Operator,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum JwksText {
    Url(String),
    File(PathBuf),
    Inline(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NamespaceText {
    One(Name),
    Mapped(MapText),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MapText {
    claim: Vec<String>,
    map: BTreeMap<String, Name>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupsText {
    #[serde(default)]
    always: Vec<Name>,
    #[serde(default)]
    claim: Vec<String>,
    #[serde(default)]
    map: BTreeMap<String, Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequireText {
    claim: Vec<String>,
    is: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DomainText {
    name: Name,
    trust_domain: String,
    bundle: BundleText,
    subjects: Vec<String>,
    namespace: Name,
    #[serde(default)]
    groups: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum BundleText {
    File(PathBuf),
    Inline(String),
    WorkloadApi(String),
}

/// Reads a document.
pub(super) fn parse(text: &str) -> Result<Issuers> {
    let text = &*crate::settings::without_form_version(text)?;
    let document: Document = toml::from_str(text).map_err(|e| bad(e.to_string().trim()))?;
    if document.issuer.len() + document.trust_domain.len() > MAX_ISSUERS {
        return Err(bad("more than 64 issuers and trust domains"));
    }
    let tokens = document.issuer.into_iter().zip(digests(text)?).map(issuer).collect::<Result<Vec<_>>>()?;
    let domains = document.trust_domain.into_iter().map(domain).collect::<Result<Vec<_>>>()?;
    let mut names = HashSet::new();
    for name in tokens.iter().map(|i| &i.name).chain(domains.iter().map(|d| &d.name)) {
        if Principal::OWN_ISSUERS.contains(&name.as_str()) {
            return Err(bad(&format!("{name} is a name of the vault's own")));
        }
        if !names.insert(name) {
            return Err(bad(&format!("two of the name {name}")));
        }
    }
    // A token or certificate has one issuer.
    let mut sources = HashSet::new();
    for issuer in &tokens {
        let source = match (&issuer.rules.issuer, &issuer.kind) {
            (Some(url), _) => url.clone(),
            (None, Kind::SpiffeJwt { trust_domain }) => format!("spiffe://{trust_domain}"),
            (None, _) => continue,
        };
        if !sources.insert(source) {
            return Err(bad(&format!("{}: another issuer has the same tokens", issuer.name)));
        }
    }
    let mut trusted = HashSet::new();
    if let Some(twice) = domains.iter().find(|domain| !trusted.insert(&domain.trust_domain)) {
        return Err(bad(&format!("{}: another entry has the same trust domain", twice.name)));
    }
    Ok(Issuers { tokens, domains })
}

/// Of each issuer's entry: of its keys in order and their values, not of how they are laid out.
fn digests(text: &str) -> Result<Vec<Sha256>> {
    let document: toml::Table = toml::from_str(text).map_err(|e| bad(e.to_string().trim()))?;
    let entries = document.get("issuer").and_then(toml::Value::as_array).into_iter().flatten();
    let digest = |entry| toml::to_string(&sorted(entry)).map(|text| sha256(text.as_bytes()));
    entries.map(digest).collect::<Result<_, _>>().map_err(|e| bad(&e.to_string()))
}

fn sorted(value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::Table(table) => {
            let members: BTreeMap<_, _> = table.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            toml::Value::Table(members.into_iter().collect())
        }
        toml::Value::Array(list) => toml::Value::Array(list.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn issuer((text, digest): (IssuerText, Sha256)) -> Result<Issuer> {
    let name = text.name.clone();
    issuer_of(text, digest).map_err(|e| bad(&format!("issuer {name}: {}", e.message())))
}

fn issuer_of(text: IssuerText, digest: Sha256) -> Result<Issuer> {
    let kind = match (text.kind, text.trust_domain) {
        (KindText::SpiffeJwt, Some(trust_domain)) => Kind::SpiffeJwt { trust_domain: domain_name(trust_domain)? },
        (KindText::SpiffeJwt, None) => return Err(bad("spiffe-jwt takes a trust-domain")),
        (_, Some(_)) => return Err(bad("trust-domain is for spiffe-jwt")),
        (KindText::Oidc, None) => Kind::Oidc,
        (KindText::Kubernetes, None) => Kind::Kubernetes,
    };
    if let Some(url) = &text.issuer {
        check_url("issuer", url)?;
    } else if text.kind != KindText::SpiffeJwt {
        return Err(bad("the issuer's URL is missing"));
    }
    let keys = match (text.jwks, &text.issuer) {
        (Some(JwksText::Inline(set)), _) => KeySource::Inline(KeySet::parse(set.as_bytes())?),
        (Some(JwksText::File(path)), _) => KeySource::File(absolute(path)?),
        (Some(JwksText::Url(url)), issuer) => {
            check_url("jwks", &url)?;
            let issuer = issuer.clone().unwrap_or_else(|| url.clone());
            KeySource::Web(WebSource { jwks: Some(url), issuer, ca: text.ca.clone().map(absolute).transpose()? })
        }
        (None, Some(issuer)) => {
            let ca = text.ca.clone().map(absolute).transpose()?;
            KeySource::Web(WebSource { jwks: None, issuer: issuer.clone(), ca })
        }
        (None, None) => return Err(bad("jwks is missing")),
    };
    if text.ca.is_some() && !matches!(keys, KeySource::Web(_)) {
        return Err(bad("ca is for keys that are fetched"));
    }
    let algorithms = text.algorithms.iter().map(|word| word.parse()).collect::<Result<Vec<JwsAlgorithm>>>()?;
    let leeway = Duration::from_secs(text.leeway.unwrap_or(30));
    if algorithms.is_empty() {
        return Err(bad("no algorithm"));
    }
    if leeway > LONGEST_LEEWAY {
        return Err(bad("leeway is more than 60 seconds"));
    }
    if text.audience.is_empty() || text.audience.len() > MAX_TEXT {
        return Err(bad("audience is empty or too long"));
    }
    let namespace = match (text.r#become, text.namespace) {
        (Become::Operator, None) => None,
        (Become::Operator, Some(_)) => return Err(bad("operators belong to no namespace")),
        (Become::Workload, None) => return Err(bad("workloads need a namespace")),
        (Become::Workload, Some(NamespaceText::One(name))) => Some(Namespaces::One(name)),
        (Become::Workload, Some(NamespaceText::Mapped(MapText { claim, map }))) => {
            Some(Namespaces::Mapped { claim: claim_path(claim)?, map: listed(map)? })
        }
    };
    let groups = Groups {
        always: text.groups.always,
        claim: if text.groups.claim.is_empty() { Vec::new() } else { claim_path(text.groups.claim)? },
        map: listed(text.groups.map)?,
    };
    if groups.claim.is_empty() != groups.map.is_empty() {
        return Err(bad("groups takes claim and map together"));
    }
    if text.require.len() > MAX_LISTED || groups.always.len() > MAX_LISTED {
        return Err(bad("a list is too long"));
    }
    let require = text.require.into_iter().map(|r| Ok((claim_path(r.claim)?, r.is))).collect::<Result<_>>()?;
    Ok(Issuer {
        name: text.name,
        keys,
        digest,
        rules: Rules { issuer: text.issuer, audience: text.audience, algorithms, leeway },
        kind,
        subjects: Subjects { accepted: patterns(text.subjects)?, namespace },
        require,
        groups,
    })
}

fn domain(text: DomainText) -> Result<TrustDomain> {
    let name = text.name.clone();
    domain_of(text).map_err(|e| bad(&format!("trust-domain {name}: {}", e.message())))
}

fn domain_of(text: DomainText) -> Result<TrustDomain> {
    let bundle = match text.bundle {
        BundleText::File(path) => Bundle::File(absolute(path)?),
        BundleText::WorkloadApi(place) => Bundle::Agent(agent(&place)?),
        BundleText::Inline(inline) => {
            super::super::foreign::authorities(inline.as_bytes())?;
            Bundle::Inline(inline)
        }
    };
    Ok(TrustDomain {
        name: text.name,
        trust_domain: domain_name(text.trust_domain)?,
        bundle,
        accepted: patterns(text.subjects)?,
        namespace: text.namespace,
        groups: text.groups,
    })
}

/// The socket of an agent; `None`: the environment of the daemon names it.
fn agent(place: &str) -> Result<Option<PathBuf>> {
    if place == Bundle::SOCKET {
        return Ok(None);
    }
    let bad = || bad(&format!("workload-api is unix:///PATH or {}, not {place:?}", Bundle::SOCKET));
    Bundle::socket(place).map(Some).ok_or_else(bad)
}

fn domain_name(text: String) -> Result<String> {
    if !ForeignId::is_trust_domain(&text) {
        return Err(bad(&format!("not the name of a trust domain: {text:?}")));
    }
    if text.ends_with(".modelvault") {
        return Err(bad("trust domains of vaults are not for others to vouch for"));
    }
    Ok(text)
}

fn patterns(list: Vec<String>) -> Result<Vec<String>> {
    if list.is_empty() || list.len() > MAX_LISTED {
        return Err(bad("subjects is empty or too long: name whom you accept"));
    }
    if list.iter().any(|pattern| pattern.is_empty() || pattern.len() > MAX_TEXT || pattern.matches('*').count() > 8) {
        return Err(bad("a subject is empty, too long, or has more than 8 stars"));
    }
    Ok(list)
}

fn claim_path(path: Vec<String>) -> Result<Vec<String>> {
    if path.is_empty() || path.len() > 8 || path.iter().any(|name| name.is_empty() || name.len() > MAX_TEXT) {
        return Err(bad("a claim is a list of one to eight names"));
    }
    Ok(path)
}

fn listed(map: BTreeMap<String, Name>) -> Result<BTreeMap<String, Name>> {
    if map.len() > MAX_LISTED { Err(bad("a map is too long")) } else { Ok(map) }
}

/// A daemon has no place of its own that a path could be relative to.
fn absolute(path: PathBuf) -> Result<PathBuf> {
    if path.is_absolute() { Ok(path) } else { Err(bad(&format!("not an absolute path: {}", path.display()))) }
}

fn check_url(what: &str, url: &str) -> Result<()> {
    let parsed: Result<Url> = url.parse();
    parsed.map(drop).map_err(|e| bad(&format!("{what}: {}", e.message())))
}

fn bad(why: &str) -> Error {
    Error::new(ErrorId::ConfigInvalid, format!("the issuers: {}", why.trim_start_matches("the issuers: ")))
        .hint("vault config get issuers shows the form; unknown keys are errors")
}
