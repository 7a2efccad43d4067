//! Which callers are one person. A second factor belongs to a person, and four eyes are those of two persons, whatever ways in
//! they take.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorId};
use crate::names::{Principal, PrincipalKind};

/// A person who operates the vault, or a workload on its own behalf: `uid:1000`, `https://issuer alice`, `default/serve-1`.
///
/// On this machine the user counts, not the way in: `local:uid:1000` and `unix:uid:1000` are one. Elsewhere it is the issuer
/// with its subject, joined by a space, which no issuer has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Person(String);

impl Person {
    /// Longest name of a person, in bytes.
    const MAX: usize = 1024;

    /// The person behind a caller.
    pub fn of(principal: &Principal) -> Self {
        let Principal { kind, issuer, subject, namespace } = principal;
        Self(match (kind, namespace, issuer.as_str()) {
            (PrincipalKind::Operator, _, "local" | "unix") => subject.clone(),
            (PrincipalKind::Workload, Some(namespace), "mtls") => format!("{namespace}/{subject}"),
            // Others may vouch for the same name.
            (PrincipalKind::Workload, Some(namespace), _) => format!("{issuer} {namespace}/{subject}"),
            _ => format!("{issuer} {subject}"),
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Person {
    type Err = Error;

    /// As it is shown; a bare number is a user of this machine.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() || text.len() > Self::MAX || text.chars().any(char::is_control) {
            return Err(Error::new(ErrorId::InvalidArgument, format!("not a person: {text:?}"))
                .hint("people are named as vault mfa status shows them: uid:1000, or ISSUER SUBJECT"));
        }
        Ok(if text.bytes().all(|b| b.is_ascii_digit()) { Self(format!("uid:{text}")) } else { Self(text.into()) })
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_of_this_machine_is_one_person_whatever_the_way_in() {
        let person = |p: &Principal| Person::of(p).to_string();
        assert_eq!(person(&Principal::local_operator(1000)), "uid:1000");
        assert_eq!(Person::of(&Principal::local_operator(1000)), Person::of(&Principal::unix_operator(1000)));
        assert_ne!(Person::of(&Principal::unix_operator(0)), Person::of(&Principal::unix_operator(1000)));
        let of = |issuer: &str, subject: &str| {
            Person::of(&Principal { issuer: issuer.into(), subject: subject.into(), ..Principal::unix_operator(1000) })
        };
        assert_eq!(of("https://id.example", "alice").as_str(), "https://id.example alice");
        assert_ne!(of("https://id.example", "uid:1000"), Person::of(&Principal::unix_operator(1000)));
        assert_ne!(of("https://a", "b:c"), of("https://a:b", "c"));
        let workload = Principal::workload("prod".parse().unwrap(), &"serve".parse().unwrap());
        assert_eq!(person(&workload), "prod/serve");
        let vouched = Principal { issuer: "https://id.example".into(), ..workload };
        assert_eq!(person(&vouched), "https://id.example prod/serve");
    }

    #[test]
    fn people_are_named_as_they_are_shown() {
        assert_eq!("1000".parse::<Person>().unwrap().as_str(), "uid:1000");
        assert_eq!("https://i a".parse::<Person>().unwrap().as_str(), "https://i a");
        for bad in ["", "a\nb", &"x".repeat(1025)] {
            assert_eq!(bad.parse::<Person>().unwrap_err().id(), ErrorId::InvalidArgument);
        }
    }
}
