//! Tests of policies: a table of requests with the decisions that are expected, run without a vault (`docs/policy.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::groups::Groups;
use super::lacking::Lack;
use super::policies::{Decision, Policies, explain};
use super::scenario::{Described, Scenario, TEST_TIME, Target};
use crate::error::{Error, ErrorId, Result};
use crate::names::Name;

/// Longest table, in bytes, and most tests in it.
pub const MAX_TABLE_BYTES: usize = 1 << 20;
const MAX_TESTS: usize = 10_000;

/// Requests and what is expected of them.
#[derive(Clone, Debug)]
pub struct Table {
    /// The policies it is about, beside the table; `None`: they are named when it is run.
    pub policy: Option<String>,
    tests: Vec<Test>,
}

#[derive(Clone, Debug)]
struct Test {
    name: String,
    expect: Expected,
    by: Option<Vec<String>>,
    scenario: Scenario,
}

/// What a test expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// Permitted.
    Allow,
    /// Denied, whatever would help.
    Deny,
    /// Denied, and permitted with a second factor, perhaps with approvals besides.
    SecondFactor,
    /// Denied, and permitted with approvals by others.
    Approval,
}

/// How a test went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tested {
    /// Its name.
    pub name: String,
    /// What was asked.
    pub request: String,
    /// Whether everything is as expected.
    pub passed: bool,
    /// What is expected.
    pub expected: Expected,
    /// What was found.
    pub found: Expected,
    /// The policies that are expected to decide, if the test says so.
    pub expected_by: Option<Vec<String>>,
    /// Those that did.
    pub by: Vec<String>,
    /// The decision in words.
    pub why: String,
}

/// The parts of a table; a test is read on its own, so that an error names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    policy: Option<String>,
    #[serde(default)]
    groups: BTreeMap<Name, Members>,
    #[serde(default)]
    artifacts: BTreeMap<String, Described>,
    #[serde(default)]
    test: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    members: Vec<String>,
}

impl Table {
    /// Reads a table in TOML or, if it begins with `{`, in JSON. Strict: a word that is not known is an error, since a test
    /// that does not ask what it means to ask proves nothing.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the line or the test.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |message: String| Error::new(ErrorId::InvalidArgument, message);
        if text.len() > MAX_TABLE_BYTES {
            return Err(invalid(format!("the table has {} bytes; at most {MAX_TABLE_BYTES} are read", text.len())));
        }
        let document: Document = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|e| invalid(e.to_string()))?
        } else {
            toml::from_str(text).map_err(|e| invalid(e.to_string().trim_end().into()))?
        };
        if document.test.is_empty() || document.test.len() > MAX_TESTS {
            return Err(invalid(format!("the table has {} tests; 1 to {MAX_TESTS} are run", document.test.len()))
                .hint("each test is a section [[test]] with name, principal, action, resource and expect"));
        }
        let groups = Groups::of_members(document.groups.into_iter().map(|(name, listed)| (name, listed.members)))?;
        let mut artifacts = Vec::new();
        for (reference, described) in document.artifacts {
            artifacts.push((reference.parse::<crate::names::Reference>()?, described));
        }
        let mut tests = Vec::with_capacity(document.test.len());
        for (nth, test) in document.test.into_iter().enumerate() {
            let name = test.get("name").and_then(Value::as_str).map_or_else(|| format!("test {}", nth + 1), Into::into);
            tests.push(
                Test::read(test, name.clone(), &groups, &artifacts)
                    .map_err(|e| invalid(format!("{name}: {}", e.message())).hint(e.hint_text().unwrap_or(HINT)))?,
            );
        }
        Ok(Self { policy: document.policy, tests })
    }

    /// Runs every test.
    ///
    /// # Errors
    /// `InvalidArgument` for a test whose circumstances cannot be.
    pub fn run(&self, policies: &Policies) -> Result<Vec<Tested>> {
        self.tests.iter().map(|test| test.run(policies)).collect()
    }
}

const HINT: &str = "docs/policy.md has the words of a test";

impl Test {
    fn read(
        mut parts: Map<String, Value>,
        name: String,
        groups: &Groups,
        artifacts: &[(crate::names::Reference, Described)],
    ) -> Result<Self> {
        let invalid = |e: serde_json::Error| Error::new(ErrorId::InvalidArgument, e.to_string());
        parts.remove("name");
        let expect = parts.remove("expect").ok_or_else(|| {
            Error::new(ErrorId::InvalidArgument, "it does not say what is expected")
                .hint("expect = \"allow\", \"deny\", \"second-factor\" or \"approval\"")
        })?;
        let expect = serde_json::from_value(expect).map_err(invalid)?;
        let by = parts.remove("by").map(serde_json::from_value).transpose().map_err(invalid)?;
        let by = by.map(|mut by: Vec<String>| {
            by.sort();
            by
        });
        let told_itself = parts.contains_key("artifact");
        let mut scenario: Scenario = serde_json::from_value(Value::Object(parts)).map_err(invalid)?;
        scenario.groups.extend(groups.of(&scenario.principal));
        if let (Target::Artifact(asked), false) = (&scenario.resource, told_itself) {
            let same = |r: &crate::names::Reference| (&r.namespace, &r.name) == (&asked.namespace, &asked.name);
            if let Some((_, described)) = artifacts.iter().find(|(reference, _)| same(reference)) {
                scenario.artifact = described.clone();
            }
        }
        Ok(Self { name, expect, by, scenario })
    }

    fn run(&self, policies: &Policies) -> Result<Tested> {
        let request = self.scenario.request(TEST_TIME).map_err(|e| {
            Error::new(ErrorId::InvalidArgument, format!("{}: {}", self.name, e.message()))
                .hint(e.hint_text().unwrap_or(HINT))
        })?;
        let decision = policies.decide(&request);
        let found = match (decision.allowed, policies.lacking(&request)) {
            (true, _) => Expected::Allow,
            (false, None) => Expected::Deny,
            (false, Some(Lack::SecondFactor)) => Expected::SecondFactor,
            (false, Some(Lack::Approvals(_))) => Expected::Approval,
        };
        let as_expected = found == self.expect || (self.expect == Expected::Deny && !decision.allowed);
        let by_whom = self.by.as_ref().is_none_or(|by| *by == decision.determining);
        let why = explain(&decision);
        let Decision { determining, .. } = decision;
        Ok(Tested {
            name: self.name.clone(),
            request: request.to_string(),
            passed: as_expected && by_whom,
            expected: self.expect,
            found,
            expected_by: self.by.clone(),
            by: determining,
            why,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        @id("read") permit (principal in ModelVault::Group::"serving", action in ModelVault::Action::"read",
            resource is ModelVault::Artifact in ModelVault::Namespace::"prod") when { resource.signed && context.hour >= 8 };
        @id("hold") forbid (principal, action, resource is ModelVault::Artifact)
            when { resource.labels.contains("hold") };
        @id("export") permit (principal is ModelVault::Operator, action == ModelVault::Action::"export", resource)
            when { context.approvals >= 2 };"#;

    const TABLE: &str = r#"
        [groups.serving]
        members = ["workload:prod/*"]
        [artifacts."prod/llm"]
        signed = true
        [[test]]
        name = "by day"
        principal = "workload:prod/serve-1"
        action = "open"
        resource = "prod/llm"
        expect = "allow"
        by = ["read"]
        [[test]]
        name = "by night"
        principal = "workload:prod/serve-1"
        action = "open"
        resource = "prod/llm"
        context = { hour = 3 }
        expect = "deny"
        [[test]]
        name = "held"
        principal = "workload:prod/serve-1"
        action = "open"
        resource = "artifact:prod/llm"
        artifact = { signed = true, labels = ["hold"] }
        expect = "deny"
        by = ["hold"]
        [[test]]
        name = "two people"
        principal = "operator:unix:uid:1000"
        action = "export"
        resource = "prod/llm"
        expect = "approval"
    "#;

    #[test]
    fn tests_run_against_policies_and_say_what_is_not_as_expected() {
        let (policies, table) = (Policies::parse(POLICY).unwrap(), Table::parse(TABLE).unwrap());
        let tested = table.run(&policies).unwrap();
        assert!(tested.iter().all(|t| t.passed), "{tested:#?}");
        let lax = POLICY.replace("&& context.hour >= 8", "").replace("hold\")", "hold-x\")");
        let tested = table.run(&Policies::parse(&lax).unwrap()).unwrap();
        let failed: Vec<_> = tested.iter().filter(|t| !t.passed).map(|t| (&*t.name, &*t.why)).collect();
        assert_eq!(failed, [("by night", "allowed by read"), ("held", "allowed by read")]);
    }

    #[test]
    fn a_table_in_json_is_the_same() {
        let value: Value = toml::from_str(TABLE).unwrap();
        let table = Table::parse(&value.to_string()).unwrap();
        assert!(table.run(&Policies::parse(POLICY).unwrap()).unwrap().iter().all(|t| t.passed));
    }

    #[test]
    fn a_word_that_is_not_known_is_an_error_that_names_the_test() {
        let one = |line: &str| {
            let test = "[[test]]\nname = \"t\"\nprincipal = \"workload:a/b\"\naction = \"open\"\nresource = \"a/c\"\nexpect = \"deny\"\n";
            let text = match line.split_once(" = ").filter(|(key, _)| test.contains(&format!("\n{key} = "))) {
                Some((key, _)) => test
                    .lines()
                    .map(|l| if l.starts_with(&format!("{key} = ")) { line } else { l })
                    .collect::<Vec<_>>()
                    .join("\n"),
                None => format!("{test}{line}\n"),
            };
            Table::parse(&text).and_then(|t| t.run(&Policies::defaults()))
        };
        assert!(one("granted = true").is_ok());
        for bad in [
            "grantd = true",
            "context = { hours = 3 }",
            "context = { dataset = { unattribted = 0 } }",
            "context = { dataset = { version = -1 } }",
            "context = { hour = 24 }",
            "context = { weekday = 0 }",
            "context = { now_s = 1, hour = 2 }",
            "context = { transport = \"carrier pigeon\" }",
            "context = { allowed = [\"everything\"] }",
            "artifact = { label = [\"x\"] }",
            "action = \"opne\"",
            "principal = \"somebody\"",
            "resource = \"folder:a/b\"",
            "expect = \"perhaps\"",
            "by = \"read\"",
        ] {
            let e = one(bad).unwrap_err();
            assert_eq!(e.id(), ErrorId::InvalidArgument, "{bad}");
            assert!(e.message().starts_with("t: "), "{bad}: {}", e.message());
        }
        for bad in ["", "[[tests]]", "policy = 3", "{\"test\": []}", "[[test]]\nname = \"no expectation\""] {
            assert_eq!(Table::parse(bad).unwrap_err().id(), ErrorId::InvalidArgument, "{bad}");
        }
    }
}
