//! `vault policy`: the Cedar text that decides.

use std::io::IsTerminal;
use std::path::Path;

use model_vault::crypto::hash::sha256;
use model_vault::facts::{ConcerningFacts, ExplanationFacts, PolicyFacts, PolicyVersionFacts};
use model_vault::names::Sha256;
use model_vault::policy::{Expected, Policies, Scenario, Table, Tested};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Context, Outcome, show};
use crate::args::{Policy, PolicyCheck, PolicyExplain, PolicyGet, PolicyLog, PolicySet, PolicyTest};
use crate::files;
use crate::output::table::Table as Listing;
use crate::output::text::visible;

/// The JSON document of `vault policy set`.
#[derive(Debug, Serialize)]
struct Set {
    version: u64,
}

/// The JSON document of `vault policy check`.
#[derive(Debug, Serialize)]
struct Checked {
    policies: usize,
    sha256: Sha256,
}

/// The JSON document of `vault policy test`.
#[derive(Debug, Serialize)]
struct TestReport {
    policy_sha256: Sha256,
    passed: usize,
    failed: usize,
    tests: Vec<Tested>,
}

/// The JSON document of `vault policy log`.
#[derive(Debug, Serialize)]
struct Versions {
    versions: Vec<PolicyVersionFacts>,
}

/// Shows, replaces, checks, tests, explains.
pub fn run(cx: &Context<'_>, args: &Policy) -> Result<Outcome> {
    match args {
        Policy::Get(args) => get(cx, args)?,
        Policy::Set(args) => set(cx, args)?,
        Policy::Check(args) => check(cx, args)?,
        Policy::Test(args) => return test(cx, args),
        Policy::Explain(args) => explain(cx, args)?,
        Policy::Log(args) => log(cx, args)?,
    }
    Ok(Outcome::Done)
}

fn get(cx: &Context<'_>, args: &PolicyGet) -> Result<()> {
    let client = cx.session.client()?;
    let policy = cx.session.wait(client.policy_at(args.version))?;
    let version =
        if policy.version == 0 { "the built-in policy".into() } else { format!("policy version {}", policy.version) };
    cx.out.message(version);
    // As it is: it is meant to be saved, changed and set again. A terminal gets no sequences that somebody put into comments.
    let shown = |text: &str| if std::io::stdout().is_terminal() { visible(text) } else { text.to_owned() };
    cx.out.report(&policy, |p: &PolicyFacts| {
        let text = shown(&p.text);
        if text.ends_with('\n') { text } else { text + "\n" }
    })
}

fn set(cx: &Context<'_>, args: &PolicySet) -> Result<()> {
    let text = files::read_text(&args.file)?;
    // A mistake is found before a passphrase is asked for.
    Policies::parse(&text)?;
    let client = cx.session.client()?;
    let set = Set { version: cx.session.wait(client.set_policy_over(&text, args.expect))? };
    cx.out.report(&set, |s| format!("policy version {} is in force\n", s.version))
}

fn check(cx: &Context<'_>, args: &PolicyCheck) -> Result<()> {
    let policies = read(&args.file)?;
    let checked = Checked { policies: policies.count(), sha256: policies.version() };
    cx.out.report(&checked, |c| format!("{} policies, no mistakes\nsha256 {}\n", c.policies, c.sha256))
}

fn read(file: &Path) -> Result<Policies> {
    let text = files::read_text(file)?;
    Policies::parse(&text).map_err(|e| {
        Error::new(ErrorId::InvalidArgument, format!("{}: {e}", file.display()))
            .hint("docs/policy.md lists what policies can ask for")
    })
}

fn test(cx: &Context<'_>, args: &PolicyTest) -> Result<Outcome> {
    let table = Table::parse(&files::read_text(&args.file)?).map_err(|e| {
        let hint = e.hint_text().unwrap_or("docs/policy.md describes the table").to_owned();
        Error::new(e.id(), format!("{}: {}", args.file.display(), e.message())).hint(hint)
    })?;
    // What a table names lies beside it.
    let named = table.policy.as_ref().map(|name| args.file.parent().unwrap_or(Path::new("")).join(name));
    let policies = match args.policy.as_ref().or(named.as_ref()) {
        Some(file) => read(file)?,
        None => Policies::defaults(),
    };
    let tests = table.run(&policies)?;
    let failed = tests.iter().filter(|t| !t.passed).count();
    let report =
        TestReport { policy_sha256: sha256(policies.text().as_bytes()), passed: tests.len() - failed, failed, tests };
    cx.out.report(&report, |r| {
        let failures: String = r.tests.iter().filter(|t| !t.passed).map(failure).collect();
        format!("{failures}{} passed, {} failed\n", r.passed, r.failed)
    })?;
    Ok(if failed == 0 { Outcome::Done } else { Outcome::Findings })
}

/// What was expected and what was found, one below the other.
fn failure(test: &Tested) -> String {
    let word = |expected| match expected {
        Expected::Allow => "allow",
        Expected::Deny => "deny",
        Expected::SecondFactor => "deny, until a second factor is used",
        Expected::Approval => "deny, until others approve",
    };
    let by = |ids: &[String]| if ids.is_empty() { "by no policy".into() } else { format!("by {}", ids.join(", ")) };
    let wanted = test.expected_by.as_ref().map_or_else(String::new, |ids| format!(", {}", by(ids)));
    format!(
        "FAILED {}\n  {}\n  - {}{wanted}\n  + {}, {}  ({})\n\n",
        visible(&test.name),
        visible(&test.request),
        word(test.expected),
        word(test.found),
        by(&test.by),
        visible(&test.why)
    )
}

fn explain(cx: &Context<'_>, args: &PolicyExplain) -> Result<()> {
    let mut context = Map::new();
    for given in &args.given {
        let (key, value) = given.split_once('=').ok_or_else(|| {
            Error::new(ErrorId::InvalidArgument, format!("not a circumstance: {given:?}")).hint("--given hour=3")
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
        context.insert(key.into(), value);
    }
    let scenario = json!({
        "principal": args.principal,
        "groups": args.group,
        "action": args.action,
        "resource": args.resource,
        "context": context,
    })
    .to_string();
    // A mistake is found before a passphrase is asked for.
    Scenario::parse(&scenario)?;
    let client = cx.session.client()?;
    let told = cx.session.wait(client.explain_policy(&scenario))?;
    cx.out.report(&told, |t: &ExplanationFacts| visible_lines(&explained(t)))
}

fn visible_lines(text: &str) -> String {
    text.lines().map(|line| visible(line) + "\n").collect()
}

fn explained(told: &ExplanationFacts) -> String {
    let mut text = format!("{}: {}\n", told.request, told.why);
    let mut would = Vec::new();
    if told.second_factor {
        would.push("a second factor that was used just now".to_owned());
    }
    if told.approvals > 0 {
        would.push(format!("approvals by others: {}", told.approvals));
    }
    if told.grant {
        would.push("a grant: vault grant".to_owned());
    }
    if !would.is_empty() {
        text.push_str(&format!("it would be permitted with {}\n", would.join("; ")));
    }
    for policy in &told.concerning {
        text.push_str(&concerning(policy));
    }
    text
}

fn concerning(policy: &ConcerningFacts) -> String {
    let effect = if policy.forbids { "forbid" } else { "permit" };
    let state = if policy.applies { "applies" } else { "does not apply" };
    let unmet: String = policy.unmet.iter().map(|part| format!("    not met: {part}\n")).collect();
    format!("  {effect} {}: {state}\n{unmet}", policy.id)
}

fn log(cx: &Context<'_>, args: &PolicyLog) -> Result<()> {
    let client = cx.session.client()?;
    let versions = Versions { versions: cx.session.wait(client.policy_log(args.number))? };
    let styled = cx.out.styled();
    cx.out.report(&versions, |v| {
        if v.versions.is_empty() {
            return "the built-in policy is in force; none was ever set\n".into();
        }
        let mut table = Listing::new(&["VERSION", "SINCE", "SHA-256", "STATE"]);
        for p in &v.versions {
            let state = if p.in_force { "in force" } else { "" };
            table.row([format!("v{}", p.version), show::time(p.created), p.sha256.to_string(), state.into()]);
        }
        table.render(styled)
    })
}
