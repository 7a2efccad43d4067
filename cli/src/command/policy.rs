//! `vault policy`: the Cedar text that decides.

use std::io::{IsTerminal, Write as _};
use std::path::Path;

use model_vault::crypto::hash::sha256;
use model_vault::crypto::sign::PublicKey;
use model_vault::facts::{ConcerningFacts, ExplanationFacts, PolicyFacts, PolicyVersionFacts};
use model_vault::manifest::{MAX_BUNDLE_LEN, PolicyBundle, PolicyStatement};
use model_vault::names::{Sha256, Timestamp, VaultId};
use model_vault::policy::{Expected, Policies, Scenario, Table, Tested};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Context, Outcome, show};
use crate::args::{Policy, PolicyCheck, PolicyExplain, PolicyGet, PolicyLog, PolicySet, PolicyTest};
use crate::files;
use crate::files::destination::{Destination, ORDINARY};
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
    /// What the vault signed about it, in a bundle.
    signed: Option<Signed>,
}

/// A signed version of a policy.
#[derive(Debug, Serialize)]
struct Signed {
    vault: VaultId,
    version: u64,
    previous: Sha256,
    created: Timestamp,
    author: String,
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
    let text = match (args.bundle, policy.envelope.clone()) {
        (false, _) => policy.text.clone(),
        (true, Some(envelope)) => PolicyBundle { text: policy.text.clone(), envelope }.to_json(),
        (true, None) => {
            let text = "this policy was not signed: it is the built-in one, or an earlier release put it in force";
            return Err(
                Error::new(ErrorId::NotFound, text).hint("set it again to have it signed: vault policy set FILE")
            );
        }
    };
    cx.out.message(version);
    if args.output != Path::new("-") {
        let mut to = Destination::open(&args.output, ORDINARY)?;
        to.write_all(text.as_bytes())?;
        to.finish(true)?;
        return cx.out.report(&policy, |_| format!("written to {}\n", visible(&args.output.display().to_string())));
    }
    // As it is: it is meant to be saved, changed and set again. A terminal gets no sequences that somebody put into comments.
    let shown = |text: &str| if std::io::stdout().is_terminal() { visible(text) } else { text.to_owned() };
    cx.out.report(&policy, |_: &PolicyFacts| {
        let text = shown(&text);
        if text.ends_with('\n') { text } else { text + "\n" }
    })
}

fn set(cx: &Context<'_>, args: &PolicySet) -> Result<()> {
    // A mistake is found before a passphrase is asked for.
    let policies = read(&args.file)?;
    let client = cx.session.client()?;
    let version = cx.session.wait(client.set_policy_over(policies.text(), args.expect)).map_err(|e| match e.id() {
        ErrorId::AlreadyExists if args.expect.is_some() => {
            e.hint("somebody set another meanwhile: look with vault policy get, and name its version with --expect")
        }
        _ => e,
    })?;
    let set = Set { version };
    cx.out.report(&set, |s| format!("policy version {} is in force\n", s.version))
}

fn check(cx: &Context<'_>, args: &PolicyCheck) -> Result<()> {
    let text = text_of(&args.file)?;
    let (signed, text) = match (PolicyBundle::is_one(&text), &args.signer_key) {
        (true, Some(key)) => {
            let (signed, text) =
                PolicyBundle::verify(&text, &[PublicKey::read(key)?]).map_err(|e| e.on(args.file.display()))?;
            let PolicyStatement { vault, version, previous, created, author, .. } = signed;
            (Some(Signed { vault, version, previous, created, author }), text)
        }
        (true, None) => {
            let text = format!("{} is a signed bundle, and whose signature counts is not said", args.file.display());
            return Err(Error::new(ErrorId::InvalidArgument, text)
                .hint("--signer-key FILE; the vault's key: vault key show --namespace default > FILE"));
        }
        (false, Some(_)) => {
            let text = format!("{} is a Cedar text, which carries no signature", args.file.display());
            return Err(Error::new(ErrorId::SignatureMissing, text)
                .hint("vault policy get --bundle -o FILE writes a policy with its signature"));
        }
        (false, None) => (None, text),
    };
    let policies = parsed(&args.file, &text)?;
    if policies.count() == 0 {
        // A file that could not be written, or the wrong one: in force, it would permit nothing to anybody.
        return Err(Error::new(ErrorId::InvalidArgument, format!("{}: there is no policy in it", args.file.display()))
            .hint("begin with the built-in policy: vault policy get --version v0 > FILE"));
    }
    let checked = Checked { policies: policies.count(), sha256: policies.version(), signed };
    cx.out.report(&checked, |c| {
        let signed = c.signed.as_ref().map_or_else(String::new, |s| {
            format!(
                "signed as version {} of vault {} at {} by {}\nafter sha256 {}\n",
                s.version,
                s.vault,
                show::time(s.created),
                visible(&s.author),
                s.previous
            )
        });
        format!("{} policies, no mistakes\nsha256 {}\n{signed}", c.policies, c.sha256)
    })
}

/// A text that may be a bundle.
fn text_of(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        return files::read_text(file);
    }
    let bytes = files::read_small(file, MAX_BUNDLE_LEN).map_err(files::on(file))?;
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorId::InvalidArgument, format!("{}: not UTF-8", file.display())))
}

fn read(file: &Path) -> Result<Policies> {
    parsed(file, &files::read_text(file)?)
}

fn parsed(file: &Path, text: &str) -> Result<Policies> {
    Policies::parse(text).map_err(|e| {
        // FILE:LINE:COLUMN, which editors open.
        let space = if e.to_string().starts_with(|c: char| c.is_ascii_digit()) { "" } else { " " };
        Error::new(ErrorId::InvalidArgument, format!("{}:{space}{e}", file.display()))
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
    let mut text = match told.outside.split_first() {
        None => format!("{}: {}\n", told.request, told.why),
        Some((first, others)) => {
            let others: String = others.iter().map(|other| format!("refused as well: {other}\n")).collect();
            let refused = format!("{}: refused whatever the policies say: {first}\n", told.request);
            refused + &others + &format!("the policies by themselves: {}\n", told.why)
        }
    };
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
    let permits = if told.outside.is_empty() { "it would be permitted" } else { "they would permit it" };
    if !would.is_empty() {
        text.push_str(&format!("{} with {}\n", permits, would.join("; ")));
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
