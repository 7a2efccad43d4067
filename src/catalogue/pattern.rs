//! Patterns over `namespace/name`: `*` stands for any characters, `?` for one, all else for itself.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorId, Result};
use crate::glob::matches;

/// Which artifacts to list. Without a `/` it is about names in every namespace. `*` does not reach over the `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    namespace: String,
    name: String,
}

impl Pattern {
    /// Every artifact.
    pub fn all() -> Self {
        Self { namespace: "*".into(), name: "*".into() }
    }

    /// Whether names in this namespace can match.
    pub fn matches_namespace(&self, namespace: &str) -> bool {
        matches(self.namespace.as_bytes(), namespace.as_bytes())
    }

    /// Whether this name matches, in a namespace that does.
    pub fn matches_name(&self, name: &str) -> bool {
        matches(self.name.as_bytes(), name.as_bytes())
    }

    /// What every matching name begins with, so that an index can be used.
    pub fn name_prefix(&self) -> &str {
        let end = self.name.find(['*', '?']).unwrap_or(self.name.len());
        &self.name[..end]
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (namespace, name) = text.split_once('/').unwrap_or(("*", text));
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '*' | '?');
        if [namespace, name].iter().any(|p| p.is_empty() || p.len() > 64 || !p.chars().all(allowed)) {
            return Err(Error::new(ErrorId::InvalidArgument, format!("not a pattern: {text:?}"))
                .hint("patterns are [NAMESPACE/]NAME with * for any characters and ? for one"));
        }
        Ok(Self { namespace: namespace.into(), name: name.into() })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_shells_mean() {
        let hit = |pattern: &str, namespace: &str, name: &str| {
            let pattern: Pattern = pattern.parse().unwrap();
            pattern.matches_namespace(namespace) && pattern.matches_name(name)
        };
        assert!(hit("*", "prod", "resnet") && hit("resnet", "prod", "resnet") && hit("prod/*", "prod", "x"));
        assert!(hit("p*d/r?snet-*", "prod", "resnet-50") && hit("*a*b*c", "n", "xaxbxc"));
        assert!(!hit("prod/*", "dev", "x") && !hit("resnet", "prod", "resnet-50") && !hit("?", "n", "ab"));
        assert!(!hit("*a*b*c", "n", "xaxcxb") && !hit("r*t", "n", "resnet-5"));
        assert_eq!("prod/res*t".parse::<Pattern>().unwrap().name_prefix(), "res");
        for bad in ["", "/", "a/", "/a", "a/b/c", "A", "a b", "[a]", "a%"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }
}
