//! Who is in which group: the settings document `groups`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::scenario::parse_principal;
use crate::error::{Error, ErrorId, Result};
use crate::names::{Name, Principal, PrincipalKind};
use crate::settings::{Setting, SettingKind};

/// Most groups, and members of one.
const MAX_GROUPS: usize = 256;
const MAX_MEMBERS: usize = 10_000;

/// Groups and their members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(BTreeMap<Name, BTreeSet<Member>>);

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    /// An operator, by issuer and subject.
    Operator(String, String),
    /// A workload of a namespace.
    Workload(Name, Name),
    /// A workload of a namespace that others vouch for, by issuer and subject.
    Vouched(Name, String, String),
    /// All workloads of a namespace.
    All(Name),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    groups: BTreeMap<Name, Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    members: Vec<String>,
}

impl Member {
    fn parse(text: &str) -> Result<Self> {
        let all = text.strip_prefix("workload:").and_then(|w| w.strip_suffix("/*")).filter(|n| !n.contains('/'));
        if let Some(namespace) = all {
            return Ok(Self::All(namespace.parse()?));
        }
        let principal = parse_principal(text)?;
        let enrolled = principal.is_enrolled();
        Ok(match (principal.namespace, principal.issuer, principal.subject) {
            (Some(namespace), _, name) if enrolled => Self::Workload(namespace, name.parse()?),
            (Some(_), _, subject) if subject.contains('*') => return Err(many(text)),
            (Some(namespace), issuer, subject) => Self::Vouched(namespace, issuer, subject),
            (None, issuer, subject) => Self::Operator(issuer, subject),
        })
    }

    /// One that is new. Documents with stars for operators were taken once, and a vault opens with them: they mean nobody.
    fn parse_new(text: &str) -> Result<Self> {
        match Self::parse(text)? {
            Self::Operator(issuer, subject) if issuer.contains('*') || subject.contains('*') => Err(many(text)),
            member => Ok(member),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Operator(issuer, subject) => format!("operator:{issuer}:{subject}"),
            Self::Workload(namespace, name) => format!("workload:{namespace}/{name}"),
            Self::Vouched(namespace, issuer, subject) => format!("workload:{namespace}/{issuer}:{subject}"),
            Self::All(namespace) => format!("workload:{namespace}/*"),
        }
    }

    /// The members that mean this caller.
    fn meaning(principal: &Principal) -> Vec<Self> {
        match (principal.kind, &principal.namespace) {
            (PrincipalKind::Operator, None) => {
                vec![Self::Operator(principal.issuer.clone(), principal.subject.clone())]
            }
            (PrincipalKind::Workload, Some(home)) => {
                // By its name alone an enrolled one is meant: those that others vouch for may have the same.
                let itself = if principal.is_enrolled() {
                    principal.subject.parse().ok().map(|name| Self::Workload(home.clone(), name))
                } else {
                    Some(Self::Vouched(home.clone(), principal.issuer.clone(), principal.subject.clone()))
                };
                itself.into_iter().chain([Self::All(home.clone())]).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn many(text: &str) -> Error {
    Error::new(ErrorId::InvalidArgument, format!("a member is one caller, and {text:?} has a star"))
        .hint("many subjects of an issuer get a group there: groups in vault config get issuers")
}

impl Groups {
    /// The groups that list this caller.
    pub fn of(&self, principal: &Principal) -> Vec<Name> {
        let meaning = Member::meaning(principal);
        let listed = self.0.iter().filter(|(_, members)| meaning.iter().any(|member| members.contains(member)));
        listed.map(|(group, _)| group.clone()).collect()
    }

    /// Names and members, as they are written.
    pub fn listed(&self) -> impl Iterator<Item = (&Name, Vec<String>)> {
        self.0.iter().map(|(name, members)| (name, members.iter().map(Member::written).collect()))
    }

    /// Adds a member, and the group if there is none. Whether that changed anything.
    ///
    /// # Errors
    /// `InvalidArgument` for what names no caller.
    pub fn add(&mut self, group: &Name, member: &str) -> Result<bool> {
        let member = Member::parse_new(member)?;
        Ok(self.0.entry(group.clone()).or_default().insert(member))
    }

    /// Takes a member out, and the group with its last one. Whether it was in.
    ///
    /// # Errors
    /// `InvalidArgument` for what names no caller.
    pub fn remove(&mut self, group: &Name, member: &str) -> Result<bool> {
        let member = Member::parse(member)?;
        let was_in = self.0.get_mut(group).is_some_and(|members| members.remove(&member));
        self.0.retain(|_, members| !members.is_empty());
        Ok(was_in)
    }

    /// The document that says this.
    pub fn to_text(&self) -> String {
        let mut text = String::from("# Who is in which group: vault group add | rm | ls.\n");
        for (name, members) in self.listed() {
            text.push_str(&format!("\n[groups.{}]\nmembers = [\n", quoted(name.as_str())));
            members.iter().for_each(|member| text.push_str(&format!("  {},\n", quoted(member))));
            text.push_str("]\n");
        }
        text
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

impl Setting for Groups {
    const KIND: SettingKind = SettingKind::Groups;
    const BUILTIN: &'static str = "\
# Who is in which group. The roles of the built-in policy are groups: admin, sealer, signer, auditor, serving, training.
#
# [groups.serving]
# members = [\"workload:prod/serve-1\", \"workload:batch/*\"]
#
# [groups.auditor]
# members = [\"operator:corp:eve\"]
";

    fn parse(text: &str) -> Result<Self> {
        let bad = |message: String| Error::new(ErrorId::ConfigInvalid, format!("groups: {message}"));
        let text = &*crate::settings::without_form_version(text)?;
        let document: Document = toml::from_str(text).map_err(|e| bad(e.to_string().trim_end().into()))?;
        Self::of_members(document.groups.into_iter().map(|(name, listed)| (name, listed.members))).map_err(|e| {
            let hint = e.hint_text().unwrap_or("see docs/policy.md").to_owned();
            bad(e.message().into()).hint(hint)
        })
    }
}

impl Groups {
    /// Groups as documents and tests list them.
    pub(super) fn of_members(listed: impl Iterator<Item = (Name, Vec<String>)>) -> Result<Self> {
        let mut groups = Self::default();
        for (name, members) in listed {
            if groups.0.len() == MAX_GROUPS || members.len() > MAX_MEMBERS {
                let text = format!("at most {MAX_GROUPS} groups of {MAX_MEMBERS} members each are taken");
                return Err(Error::new(ErrorId::InvalidArgument, text));
            }
            let members = members.iter().map(|m| Member::parse(m)).collect::<Result<_>>()?;
            groups.0.insert(name, members);
        }
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn callers_are_in_the_groups_that_list_them_and_in_no_other() {
        let text = r#"
            [groups.serving]
            members = ["workload:prod/serve-1", "workload:batch/*"]
            [groups.training]
            members = ["workload:prod/ci:repo:acme/train"]
            [groups.admin]
            members = ["operator:unix:uid:7"]
        "#;
        let groups = Groups::parse(text).unwrap();
        let of = |principal: &Principal| groups.of(principal).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of(&Principal::workload(name("prod"), &name("serve-1"))), ["serving"]);
        assert_eq!(of(&Principal::workload(name("batch"), &name("anything"))), ["serving"]);
        assert_eq!(of(&Principal::unix_operator(7)), ["admin"]);
        let vouched = |namespace: &str, issuer: &str, subject: &str| Principal {
            kind: PrincipalKind::Workload,
            issuer: issuer.into(),
            subject: subject.into(),
            namespace: Some(name(namespace)),
        };
        assert_eq!(of(&vouched("prod", "ci", "repo:acme/train")), ["training"]);
        assert_eq!(of(&vouched("batch", "ci", "repo:acme/train")), ["serving"]);
        let nobody = [
            vouched("prod", "ci", "repo:acme/other"),
            vouched("prod", "ci2", "repo:acme/train"),
            vouched("test", "ci", "repo:acme/train"),
            // Others may call theirs what we call ours.
            vouched("prod", "ci", "serve-1"),
            Principal::workload(name("prod"), &name("serve-2")),
            Principal::workload(name("test"), &name("serve-1")),
            // The same number by another way in is somebody else until it is listed.
            Principal::local_operator(7),
            Principal::unix_operator(8),
            Principal::anonymous(),
        ];
        for other in nobody {
            assert_eq!(of(&other), [""; 0], "{other}");
        }
    }

    #[test]
    fn what_is_changed_is_written_so_that_it_reads_the_same() {
        let mut groups = Groups::parse(Groups::BUILTIN).unwrap();
        assert_eq!(groups, Groups::default());
        assert!(groups.add(&name("v1.0"), "operator:corp:alice \"the\" admin").unwrap());
        assert!(groups.add(&name("serving"), "workload:prod/*").unwrap());
        assert!(!groups.add(&name("serving"), "workload:prod/*").unwrap());
        assert!(groups.add(&name("training"), "workload:prod/ci:repo:acme/\"train\"").unwrap());
        assert_eq!(Groups::parse(&groups.to_text()).unwrap(), groups);
        assert!(groups.remove(&name("serving"), "workload:prod/*").unwrap());
        assert!(!groups.remove(&name("serving"), "workload:prod/*").unwrap());
        assert_eq!(groups.listed().count(), 2);
    }

    #[test]
    fn no_star_is_added_for_operators_and_one_that_is_there_can_be_taken_out() {
        let (admin, star) = (name("admin"), "operator:corp:*");
        let refused = Groups::default().add(&admin, star).unwrap_err();
        assert!(refused.id() == ErrorId::InvalidArgument && refused.message().contains("has a star"), "{refused}");
        let mut groups = Groups::parse("[groups.admin]\nmembers = [\"operator:corp:*\"]").unwrap();
        let eve = Principal { issuer: "corp".into(), subject: "eve".into(), ..Principal::local_operator(0) };
        assert!(groups.of(&eve).is_empty());
        assert!(groups.remove(&admin, star).unwrap());
    }

    #[test]
    fn documents_that_say_what_nobody_understands_are_refused() {
        for bad in [
            "[group.a]\nmembers = []",
            "[groups.a]\nmember = []",
            "[groups.A]\nmembers = []",
            "[groups.a]\nmembers = [\"serve-1\"]",
            "[groups.a]\nmembers = [\"workload:serve-1\"]",
            "[groups.a]\nmembers = [\"operator:unix\"]",
            "[groups.a]\nmembers = [\"workload:*/serve\"]",
            "[groups.a]\nmembers = [\"workload:prod/mtls:serve-1\"]",
            "[groups.a]\nmembers = [\"workload:prod/ci:\"]",
            "[groups.a]\nmembers = [\"workload:prod/ci:repo:acme/*\"]",
            "[groups.a]\nmembers = \"workload:prod/*\"",
        ] {
            assert_eq!(Groups::parse(bad).unwrap_err().id(), ErrorId::ConfigInvalid, "{bad}");
        }
    }
}
