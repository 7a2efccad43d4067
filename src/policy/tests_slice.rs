//! Slicing changes no decision: plain Cedar, over the whole set, is asked the same.

use std::collections::HashMap;
use std::time::Duration;

use cedar_policy::{Authorizer, Decision, Effect, PolicyId, PolicySet, SlotId};
use proptest::prelude::*;

use super::*;
use crate::marks::Marks;
use crate::names::{ArtifactId, ArtifactKind, Name, Principal, Timestamp};

const ARTIFACTS: [ArtifactId; 2] = [ArtifactId([1; 16]), ArtifactId([2; 16])];

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn one_of(choices: Vec<String>) -> impl Strategy<Value = String> {
    prop::sample::select(choices)
}

fn words(choices: &[&str]) -> Vec<String> {
    choices.iter().map(|c| (*c).to_owned()).collect()
}

fn principals() -> Vec<String> {
    words(&[
        "principal",
        "principal",
        "principal is ModelVault::Workload",
        "principal is ModelVault::Operator",
        "principal is ModelVault::Workload in ModelVault::Group::\"serving\"",
        "principal in ModelVault::Group::\"serving\"",
        "principal in ModelVault::Group::\"admin\"",
        "principal in ModelVault::Namespace::\"prod\"",
        "principal in ModelVault::Workload::\"prod/one\"",
        "principal == ModelVault::Workload::\"prod/one\"",
        "principal == ModelVault::Workload::\"test/one\"",
        "principal == ModelVault::Operator::\"unix:uid:7\"",
        "principal == ModelVault::Group::\"serving\"",
        "principal == ?principal",
        "principal in ?principal",
        "principal is ModelVault::Workload in ?principal",
    ])
}

fn actions() -> Vec<String> {
    let named = |n: &str| format!("ModelVault::Action::\"{n}\"");
    let mut all = words(&["action", "action"]);
    for n in ["open", "openRange", "stat", "list", "seal", "export", "renew", "setPolicy", "whoami", "read"] {
        all.push(format!("action == {}", named(n)));
    }
    for n in ["read", "write", "admin", "destructive", "open"] {
        all.push(format!("action in {}", named(n)));
    }
    all.push(format!("action in [{}, {}]", named("read"), named("setPolicy")));
    all
}

fn resources() -> Vec<String> {
    let mut all = words(&[
        "resource",
        "resource",
        "resource is ModelVault::Artifact",
        "resource is ModelVault::Vault",
        "resource in ModelVault::Namespace::\"prod\"",
        "resource in ModelVault::Namespace::\"test\"",
        "resource == ModelVault::Namespace::\"prod\"",
        "resource in ModelVault::Collection::\"prod/llm\"",
        "resource is ModelVault::Artifact in ModelVault::Namespace::\"prod\"",
        "resource == ModelVault::Workload::\"prod/one\"",
        "resource == ModelVault::Vault::\"this\"",
        "resource == ?resource",
        "resource in ?resource",
        "resource is ModelVault::Artifact in ?resource",
    ]);
    all.extend(ARTIFACTS.map(|id| format!("resource == ModelVault::Artifact::\"{id}\"")));
    all
}

/// The last of them cannot be evaluated where the bytes are not counted, or the principal has no such attribute.
fn conditions() -> Vec<String> {
    words(&[
        "",
        "",
        "when { context.bound }",
        "unless { context.hour < 12 }",
        "when { principal == resource }",
        "when { principal.issuer == \"mtls\" }",
        "when { context.bytes_today + 1 > 100 }",
        "when { principal.namespace == ModelVault::Namespace::\"prod\" }",
    ])
}

prop_compose! {
    fn policy()(
        forbids in prop::bool::weighted(0.25),
        principal in one_of(principals()),
        action in one_of(actions()),
        resource in one_of(resources()),
        condition in one_of(conditions()),
    ) -> String {
        let effect = if forbids { "forbid" } else { "permit" };
        format!("{effect} ({principal}, {action}, {resource}) {condition};")
    }
}

/// The answer of plain Cedar to a whole set, with every template linked to the grant.
fn whole(named: &PolicySet, request: &Request<'_>) -> (bool, Vec<String>, usize) {
    let Ok(asked) = request.to_cedar() else { return (false, Vec::new(), 1) };
    let mut set = named.clone();
    if let Some((workload, artifact)) = &asked.granted {
        for template in named.templates() {
            let slots = template.slots().map(|slot| {
                (slot.clone(), if *slot == SlotId::principal() { workload.clone() } else { artifact.clone() })
            });
            let id = PolicyId::new(format!("{}#grant", template.id()));
            set.link(template.id().clone(), id, slots.collect::<HashMap<_, _>>()).unwrap();
        }
    }
    let answer = Authorizer::new().is_authorized(&asked.request, &set, &asked.entities);
    let errors = answer.diagnostics().errors().count();
    let reasons = answer.diagnostics().reason();
    let allowed = answer.decision() == Decision::Allow && errors == 0;
    // A permit does not decide a denial that an error made.
    let mut determining: Vec<_> = reasons
        .filter(|id| allowed || set.policy(id).unwrap().effect() == Effect::Forbid)
        .map(|id| id.to_string().trim_end_matches("#grant").to_owned())
        .collect();
    determining.sort();
    (allowed, determining, errors)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn sliced_policies_decide_as_the_whole_set_does(
        policies in prop::collection::vec(policy(), 1..40),
        hour in 0i64..24,
        bytes in prop::option::of(0u64..200),
        bound: bool,
        collection in prop::option::of(Just(name("llm"))),
    ) {
        let marks = Marks { collection, ..Marks::default() };
        let text: String = policies.iter().enumerate().map(|(i, p)| format!("@id(\"p{i}\") {p}\n")).collect();
        let (sliced, named) = Policies::indexed(&text).unwrap();
        let namespaces = [name("prod"), name("test")];
        let (one, model) = (name("one"), name("resnet"));
        let callers = [
            Principal::workload(name("prod"), &one),
            Principal::workload(name("test"), &one),
            Principal::unix_operator(7),
            Principal::local_operator(7),
        ];
        let groups = [vec![], vec![name("serving")], vec![name("admin"), name("serving")]];
        let mut resources = vec![Resource::Vault, Resource::Namespace(&namespaces[0])];
        resources.push(Resource::Workload { namespace: &namespaces[0], name: &one });
        for (namespace, id) in namespaces.iter().zip(ARTIFACTS) {
            resources.push(artifact(namespace, id, &model));
        }
        for (nth, principal) in callers.iter().enumerate() {
            for &action in Action::ALL {
                for &resource in &resources {
                    let mut context = Context::new(Transport::Mtls);
                    (context.bound, context.bytes_today) = (bound, bytes);
                    context.mfa_age = Some(Duration::from_secs(1));
                    let now = Timestamp::from_millis(1_795_305_600_000 + hour * 3_600_000);
                    let (groups, granted) = (groups[nth % 3].clone(), nth == 0);
                    let marks = marks.clone();
                    let request = Request { principal, action, resource, groups, marks, context, granted, now };
                    let (expected, found) = (whole(&named, &request), sliced.decide(&request));
                    prop_assert_eq!((found.allowed, found.determining, found.errors.len()), expected, "{}\n{}", request, text);
                }
            }
        }
    }
}

fn artifact<'a>(namespace: &'a Name, id: ArtifactId, name: &'a Name) -> Resource<'a> {
    Resource::Artifact { namespace, id, name, kind: ArtifactKind::Model, signed: false, version: None }
}

#[test]
fn only_the_policies_that_concern_a_request_are_evaluated() {
    let rule = |i: usize| {
        format!(
            "@id(\"p{i}\") permit (principal == ModelVault::Workload::\"prod/w{i}\", action in ModelVault::Action::\"read\", \
             resource in ModelVault::Namespace::\"prod\");\n"
        )
    };
    let text: String = (0..200).map(rule).collect();
    let (policies, _) = Policies::indexed(&text).unwrap();
    let (namespace, model) = (name("prod"), name("resnet"));
    let caller = Principal::workload(namespace.clone(), &name("w7"));
    let request = |action| Request {
        principal: &caller,
        groups: Vec::new(),
        marks: Marks::default(),
        action,
        resource: artifact(&namespace, ARTIFACTS[0], &model),
        context: Context::new(Transport::Mtls),
        granted: false,
        now: Timestamp::from_millis(0),
    };
    assert_eq!(policies.concerning(&request(Action::Open)), 1);
    assert_eq!(policies.concerning(&request(Action::Export)), 0);
    assert_eq!(policies.decide(&request(Action::Open)).determining, ["p7"]);
}
