//! docs/policy.md keeps its promises: every example in it is a policy that is taken, and its tests pass; it names all there is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use model_vault::policy::{Action, Policies, Table};

const DOCS: &str = include_str!("../docs/policy.md");
const SCHEMA: &str = include_str!("../src/policy/schema.cedarschema");

/// Fenced blocks in order: (language, text).
fn blocks() -> Vec<(&'static str, &'static str)> {
    let mut blocks = Vec::new();
    let mut rest = DOCS;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (language, body) = after.split_once('\n').unwrap();
        let (text, next) = body.split_once("\n```").unwrap();
        blocks.push((language, text));
        rest = next;
    }
    blocks
}

#[test]
fn every_policy_in_the_documentation_is_taken_and_its_tests_pass() {
    let (mut policies, mut tested, mut cedar) = (0, 0, Policies::defaults());
    for (language, text) in blocks() {
        match language {
            "cedar" => {
                cedar = Policies::parse(&format!("{}\n{text}\n", Policies::DEFAULT_TEXT)).unwrap();
                policies += 1;
            }
            "toml" => {
                for test in Table::parse(text).unwrap().run(&cedar).unwrap() {
                    assert!(test.passed, "{test:#?}");
                    tested += 1;
                }
            }
            "console" | "yaml" => {}
            other => panic!("nobody runs {other:?}"),
        }
    }
    assert_eq!(policies, 7);
    assert!(tested >= 15, "{tested}");
}

#[test]
fn a_test_of_the_documentation_fails_without_its_policy() {
    let failed = |(_, text): &(&str, &str)| {
        Table::parse(text).unwrap().run(&Policies::defaults()).unwrap().iter().any(|test| !test.passed)
    };
    let tables: Vec<_> = blocks().into_iter().filter(|(language, _)| *language == "toml").collect();
    assert_eq!(tables.len(), 6);
    assert!(tables.iter().all(failed));
}

#[test]
fn the_documentation_names_every_fact_of_a_call_and_every_role() {
    for (of_type, least) in [("Call", 15), ("Dataset", 10), ("Scan", 5)] {
        let (_, facts) = SCHEMA.split_once(&format!("type {of_type} = {{")).unwrap();
        let (facts, _) = facts.split_once("};").unwrap();
        let facts = facts.lines().map(str::trim).filter(|l| !l.starts_with("//")).filter_map(|l| l.split_once(':'));
        let mut count = 0;
        for (fact, _) in facts {
            let fact = fact.trim_end_matches('?');
            assert!(DOCS.contains(&format!("`{fact}`")), "{fact} is not explained");
            count += 1;
        }
        assert!(count > least, "{count}");
    }
    for role in ["admin", "sealer", "signer", "auditor", "serving", "training"] {
        assert!(
            DOCS.contains(&format!("| `{role}` |")) && Policies::DEFAULT_TEXT.contains(&format!("\"role-{role}\""))
        );
    }
    for action in Action::ALL {
        assert!(SCHEMA.contains(action.as_str()), "{action}");
    }
}
