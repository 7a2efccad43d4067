//! Whom and what a rule is about.

use std::fmt;

use crate::glob::matches;
use crate::names::{Name, Principal, PrincipalKind};

/// Longest pattern, in bytes.
const MAX_LEN: usize = 256;

/// The callers of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// `workload:serve-*`, `workload:prod/*`, `workload:prod/ci:repo:acme/*`: without a namespace in each.
    Workload(String),
    /// `operator:*`, `operator:unix:uid:1000`.
    Operator(String),
    /// `group:serving`.
    Group(Name),
}

impl Whom {
    /// Reads `workload:PATTERN`, `operator:PATTERN` or `group:NAME`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is none of workload:PATTERN, operator:PATTERN, group:NAME");
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        if rest.is_empty() || rest.len() > MAX_LEN || rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong());
        }
        match kind {
            "workload" => Ok(Self::Workload(rest.into())),
            "operator" => Ok(Self::Operator(rest.into())),
            "group" => rest.parse().map(Self::Group).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    /// Whether this caller, who is in these groups, is one of them.
    pub fn is(&self, principal: &Principal, groups: &[Name]) -> bool {
        let Principal { kind, issuer, subject, namespace } = principal;
        let hit = |pattern: &str, text: &str| matches(pattern.as_bytes(), text.as_bytes());
        match (self, kind) {
            (Self::Group(name), _) => groups.contains(name),
            (Self::Workload(pattern), PrincipalKind::Workload) => {
                let (space, name) = space_and_name(pattern);
                let of_space = hit(space, namespace.as_ref().map_or("", Name::as_str));
                of_space
                    && match name {
                        "*" => true,
                        _ if principal.is_enrolled() => hit(name, subject),
                        // Others may call theirs what we call ours: they are meant with their issuer only.
                        _ => name.contains(':') && hit(name, &format!("{issuer}:{subject}")),
                    }
            }
            (Self::Operator(pattern), PrincipalKind::Operator) => {
                hit(pattern, subject) || hit(pattern, &format!("{issuer}:{subject}"))
            }
            _ => false,
        }
    }
}

/// The two parts of a pattern of workloads. A `/` behind a colon is one of a subject; without one before it the pattern is about
/// names, so that `workload:prod*` does not mean whatever is in the namespace prod.
fn space_and_name(pattern: &str) -> (&str, &str) {
    let colon = pattern.find(':').unwrap_or(pattern.len());
    pattern[..colon].find('/').map_or(("*", pattern), |slash| (&pattern[..slash], &pattern[slash + 1..]))
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(pattern) => write!(f, "workload:{pattern}"),
            Self::Operator(pattern) => write!(f, "operator:{pattern}"),
            Self::Group(name) => write!(f, "group:{name}"),
        }
    }
}

/// The artifacts of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// `prod/*`, `llama-*`: without a `/` in every namespace.
    Named(String),
    /// `label:secret`.
    Label(String),
}

impl On {
    /// Reads `[NAMESPACE/]NAME`, as a pattern, or `label:LABEL`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither [NAMESPACE/]NAME, with * and ?, nor label:LABEL");
        let rest = text.strip_prefix("label:");
        let name = rest.unwrap_or(text);
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '*' | '?' | '/');
        let label = |c: char| !c.is_control() && !c.is_whitespace();
        let good = match rest {
            Some(_) => name.chars().all(label),
            None => name.chars().all(allowed) && name.split('/').count() <= 2 && name.split('/').all(|p| !p.is_empty()),
        };
        if name.is_empty() || name.len() > MAX_LEN || !good {
            return Err(wrong());
        }
        Ok(if rest.is_some() { Self::Label(name.into()) } else { Self::Named(name.into()) })
    }

    /// Whether this artifact is one of them.
    pub fn is(&self, namespace: &Name, name: &Name, labels: &[String]) -> bool {
        match self {
            Self::Label(label) => labels.contains(label),
            Self::Named(pattern) => {
                let (space, rest) = pattern.split_once('/').unwrap_or(("*", pattern));
                matches(space.as_bytes(), namespace.as_str().as_bytes())
                    && matches(rest.as_bytes(), name.as_str().as_bytes())
            }
        }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(pattern) => f.write_str(pattern),
            Self::Label(label) => write!(f, "label:{label}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_names_callers_by_kind_and_never_those_of_another_kind() {
        let serve = Principal::workload(name("prod"), &name("serve-1"));
        let root = Principal::unix_operator(0);
        let is = |whom: &str, who: &Principal| Whom::parse(whom).unwrap().is(who, &[name("serving")]);
        for hit in ["workload:*", "workload:serve-*", "workload:prod/*", "workload:prod/serve-1", "group:serving"] {
            assert!(is(hit, &serve), "{hit}");
        }
        for miss in ["workload:dev/*", "workload:serve", "workload:prod*", "operator:*", "group:training"] {
            assert!(!is(miss, &serve), "{miss}");
        }
        assert!(is("operator:*", &root) && is("operator:uid:0", &root) && is("operator:unix:uid:0", &root));
        assert!(!is("operator:uid:1", &root) && !is("workload:*", &root));
        assert!(!is("workload:*", &Principal::anonymous()) && !is("operator:*", &Principal::anonymous()));
        for bad in ["", "*", "workload", "workload:", "group:NO", "group:*", "user:x", "workload:a b"] {
            assert!(Whom::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_workload_that_others_vouch_for_is_named_with_its_issuer_and_never_by_the_name_of_an_enrolled_one() {
        let vouched = |subject: &str| Principal {
            issuer: "ci".into(),
            subject: subject.into(),
            ..Principal::workload(name("default"), &name("x"))
        };
        let train = vouched("repo:acme/train");
        let is = |whom: &str, who: &Principal| Whom::parse(whom).unwrap().is(who, &[]);
        for hit in [
            "workload:default/ci:repo:acme/train",
            "workload:default/ci:*",
            "workload:default/ci:repo:acme/*",
            "workload:ci:repo:acme/train",
            "workload:*/ci:*",
            "workload:default/*",
            "workload:*",
        ] {
            assert!(is(hit, &train), "{hit}");
        }
        for miss in [
            "workload:default/repo:acme/train",
            "workload:default/ci2:*",
            "workload:default/ci:repo:acme/other",
            "workload:prod/ci:*",
            "workload:default/mtls:*",
            "workload:c*",
            "operator:ci:*",
        ] {
            assert!(!is(miss, &train), "{miss}");
        }
        let (enrolled, alike) = (Principal::workload(name("default"), &name("serve")), vouched("serve"));
        for plain in ["workload:serve", "workload:default/serve", "workload:default/s*"] {
            assert!(is(plain, &enrolled) && !is(plain, &alike), "{plain}");
        }
        assert!(is("workload:default/ci:serve", &alike) && !is("workload:default/ci:serve", &enrolled));
        assert!(!is("workload:default/mtls:serve", &enrolled));
    }

    #[test]
    fn a_rule_names_artifacts_by_pattern_or_label() {
        let is = |on: &str| On::parse(on).unwrap().is(&name("prod"), &name("llama-7b"), &["secret".into()]);
        assert!(is("*") && is("prod/*") && is("llama-*") && is("prod/llama-7?") && is("label:secret") && is("*/*"));
        assert!(!is("dev/*") && !is("prod/llama") && !is("label:public"));
        for bad in ["", "/", "a/", "a/b/c", "A", "label:", "label: x", "a b"] {
            assert!(On::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(On::parse("label:a").unwrap().to_string(), "label:a");
    }
}
