//! `vault policy`, `vault group`, `vault label`: checked and tested without a vault, explained and versioned with one.

use std::fs;

use crate::support::{Daemon, Machine};

const POLICY: &str = r#"
@id("night") forbid (principal, action == ModelVault::Action::"open", resource) when { context.hour < 6 };
@id("hold") forbid (principal, action == ModelVault::Action::"open", resource is ModelVault::Artifact)
when { resource.labels.contains("hold") || resource in ModelVault::Collection::"default/held" };
@id("export-four-eyes") forbid (principal, action == ModelVault::Action::"export", resource) unless { context.approvals >= 2 };
"#;

const TESTS: &str = r#"
policy = "policy.cedar"

[[test]]
name = "by day"
principal = "operator:unix:uid:1000"
action = "open"
resource = "model"
expect = "allow"

[[test]]
name = "by night"
principal = "operator:unix:uid:1000"
action = "open"
resource = "model"
context = { hour = 2 }
expect = "deny"
by = ["night"]
"#;

fn with_defaults(m: &Machine, more: &str) -> String {
    m.text(&["policy", "get", "--version", "v0"]) + more
}

#[test]
fn policies_are_checked_and_tested_without_a_vault() {
    let m = Machine::bare();
    let policy = r#"@id("all") permit (principal, action, resource);"#;
    fs::write(m.path("policy.cedar"), format!("{policy}\n{POLICY}")).unwrap();
    fs::write(m.path("tests.toml"), TESTS).unwrap();
    assert_eq!(m.checked("policy-check", &["policy", "check", "policy.cedar", "--json"])["policies"], 4);
    let report = m.checked("policy-test", &["policy", "test", "tests.toml", "--json"]);
    assert_eq!((&report["passed"], &report["failed"]), (&2.into(), &0.into()));

    // A misspelled attribute is refused by name.
    fs::write(m.path("typo.cedar"), POLICY.replace("context.hour", "context.huor")).unwrap();
    let output = m.run(&["policy", "check", "typo.cedar"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("night") && said.contains("huor"), "{said}");
    assert!(said.contains("typo.cedar:2:"), "{said}");

    // Another policy: one decision is not as expected, and the report says which.
    fs::write(m.path("other.cedar"), policy).unwrap();
    let output = m.run(&["policy", "test", "tests.toml", "--policy", "other.cedar"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(11), "{said}");
    assert!(
        said.contains("FAILED by night") && !said.contains("by day") && said.contains("1 passed, 1 failed"),
        "{said}"
    );
    for (file, wrong) in [("t1.toml", "action = \"opne\""), ("t2.toml", "context = { hours = 2 }")] {
        fs::write(m.path(file), TESTS.replace("context = { hour = 2 }", wrong)).unwrap();
        m.fails(&["policy", "test", file], 2, "InvalidArgument");
    }
}

#[test]
fn a_policy_is_given_with_its_signature_and_checked_where_there_is_no_vault() {
    let m = Machine::new();
    // The built-in policy is the same everywhere: nobody signed it.
    m.fails(&["policy", "get", "--bundle", "-o", "none.json"], 6, "NotFound");
    assert!(!m.path("none.json").exists());
    fs::write(m.path("policy.cedar"), with_defaults(&m, POLICY)).unwrap();
    m.ok(&["policy", "set", "policy.cedar"]);
    m.ok(&["policy", "get", "--bundle", "-o", "policy.json"]);
    fs::write(m.path("vault.pub.pem"), m.text(&["key", "show", "--namespace", "default"])).unwrap();
    let elsewhere = Machine::bare();
    for file in ["policy.json", "policy.cedar", "vault.pub.pem"] {
        fs::copy(m.path(file), elsewhere.path(file)).unwrap();
    }
    let check = |file: &'static str, key: &'static str| ["policy", "check", file, "--signer-key", key];
    let told = [&check("policy.json", "vault.pub.pem")[..], &["--json"]].concat();
    let told = elsewhere.checked("policy-check", &told);
    let log = m.json(&["policy", "log", "--json"]);
    assert_eq!((&told["signed"]["version"], &told["sha256"]), (&1.into(), &log["versions"][0]["sha256"]));
    assert_eq!(told["signed"]["author"], format!("operator local:uid:{}", rustix::process::getuid().as_raw()));
    // Another text, another signer, and no word of whose signature counts.
    let bundle = String::from_utf8(elsewhere.read("policy.json")).unwrap();
    fs::write(elsewhere.path("changed.json"), bundle.replace("context.hour < 6", "context.hour < 5")).unwrap();
    elsewhere.fails(&check("changed.json", "vault.pub.pem"), 3, "BindingMismatch");
    let other = Machine::new().text(&["key", "show", "--namespace", "default"]);
    fs::write(elsewhere.path("other.pem"), other).unwrap();
    elsewhere.fails(&check("policy.json", "other.pem"), 3, "SignatureMissing");
    elsewhere.fails(&["policy", "check", "policy.json"], 2, "InvalidArgument");
    elsewhere.fails(&check("policy.cedar", "vault.pub.pem"), 3, "SignatureMissing");
}

#[test]
fn a_decision_is_explained_with_what_is_not_met_and_what_would_help() {
    let m = Machine::new();
    m.file("model", 100);
    m.ok(&["seal", "model"]);
    fs::write(m.path("policy.cedar"), with_defaults(&m, POLICY)).unwrap();
    m.ok(&["policy", "set", "policy.cedar"]);
    let explain = |more: &[&str]| {
        let mut args = vec!["policy", "explain", "operator:local:uid:0"];
        args.extend_from_slice(more);
        args.push("--json");
        m.checked("policy-explain", &args)
    };
    let told = explain(&["open", "model", "--given", "hour=12"]);
    assert_eq!((&told["allowed"], &told["policies"][0]), (&true.into(), &"operator-owner".into()));
    let told = explain(&["open", "model", "--given", "hour=2"]);
    assert_eq!((&told["allowed"], &told["policies"][0]), (&false.into(), &"night".into()));
    let told = explain(&["export", "model"]);
    assert_eq!((&told["allowed"], &told["approvals"]), (&false.into(), &2.into()));
    let serve = ["policy", "explain", "workload:default/serve-1", "open", "model", "--given", "hour=12"];
    let grant = || m.json(&[&serve[..], &["--json"]].concat())["grant"].clone();
    assert_eq!(grant(), false, "nobody of that name is enrolled");
    m.ok(&["workload", "enroll", "serve-1", "-o", "serve-0"]);
    assert_eq!(grant(), true);
    let text = m.text(&serve);
    assert!(text.contains("with a grant: vault grant") && text.contains("forbid night: does not apply"), "{text}");
    m.ok(&["workload", "revoke", "serve-1"]);
    assert_eq!(grant(), false, "a grant does not bring it back");
    // What refuses whatever the policies say.
    let outside = |who: &str| {
        let told =
            m.checked("policy-explain", &["policy", "explain", who, "open", "model", "--given", "hour=12", "--json"]);
        let refused = told["outside"].as_array().is_some_and(|why| !why.is_empty());
        assert_eq!(told["allowed"] == true, !refused, "{told:#}");
        told["outside"].to_string()
    };
    m.ok(&["group", "add", "serving", "workload:default/serve-1", "workload:default/ci:repo"]);
    assert!(outside("workload:default/serve-2").contains("is not enrolled"));
    assert!(outside("workload:default/ci:repo").contains("no issuer is called ci"));
    m.ok(&["workload", "enroll", "serve-1", "-o", "serve-1"]);
    assert_eq!(outside("workload:default/serve-1"), "[]");
    m.ok(&["workload", "revoke", "serve-1"]);
    assert!(outside("workload:default/serve-1").contains("is revoked"));
    fs::write(m.path("bad.txt"), format!("{}\n", super::intel::sha256(&m, "model"))).unwrap();
    m.ok(&["intel", "import", "bad.txt", "--source", "feed"]);
    assert!(outside("operator:local:uid:0").contains("the list from feed names"));
    m.ok(&["intel", "rm", "feed"]);
    assert_eq!(outside("operator:local:uid:0"), "[]");
    m.fails(&["policy", "explain", "somebody", "open", "model"], 2, "InvalidArgument");
    m.fails(
        &["policy", "explain", "operator:local:uid:0", "open", "model", "--given", "hours=2"],
        2,
        "InvalidArgument",
    );
    m.fails(&["policy", "explain", "operator:local:uid:0", "open", "nothing"], 6, "NotFound");
}

#[test]
fn groups_and_labels_decide() {
    let m = Machine::new();
    m.file("model", 100);
    m.ok(&["seal", "model"]);
    fs::write(m.path("policy.cedar"), with_defaults(&m, POLICY)).unwrap();
    m.ok(&["policy", "set", "policy.cedar"]);
    let allowed = |who: &str, action: &str| {
        m.json(&["policy", "explain", who, action, "model", "--given", "hour=12", "--json"])["allowed"] == true
    };
    for workload in ["serve-1", "serve-2"] {
        m.ok(&["workload", "enroll", workload, "-o", workload]);
    }
    // A role.
    assert!(!allowed("workload:default/serve-1", "open"));
    let groups =
        m.checked("groups", &["group", "add", "serving", "workload:default/serve-1", "workload:batch/*", "--json"]);
    assert_eq!(groups["groups"][0]["members"].as_array().unwrap().len(), 2);
    assert!(allowed("workload:default/serve-1", "open") && !allowed("workload:default/serve-2", "open"));
    // A label, and a collection.
    let owner = "operator:local:uid:0";
    for (on, off) in [(["--add", "hold"], ["--remove", "hold"]), (["--collection", "held"], ["--collection", "-"])] {
        assert!(allowed(owner, "open"));
        m.checked("label", &["label", "model", on[0], on[1], "--json"]);
        assert!(!allowed(owner, "open") && !allowed("workload:default/serve-1", "open"), "{on:?}");
        m.ok(&["label", "model", off[0], off[1]]);
        assert!(allowed(owner, "open"));
    }
    let label =
        m.checked("label", &["label", "model", "--add", "b", "--add", "a", "--classification", "secret", "--json"]);
    assert_eq!(label["labels"], serde_json::json!(["a", "b"]));
    // Shown without a change; kept by the next version.
    m.ok(&["seal", "model"]);
    assert_eq!(m.checked("label", &["label", "default/model", "--json"]), label);
    assert!(m.text(&["audit", "tail"]).contains("artifact.label"));
    m.fails(&["label", "nothing", "--add", "a"], 6, "NotFound");
    m.fails(&["label", "model@v1", "--add", "a"], 2, "InvalidArgument");
    m.fails(&["group", "add", "serving", "serve-1"], 2, "InvalidArgument");
    m.fails(&["group", "add", "admin", "operator:corp:*"], 2, "InvalidArgument");
    for group in ["serving", "auditor"] {
        let told = m.fails(&["group", "rm", group, "operator:crp:eve@example.com"], 6, "NotFound");
        let said = told["error"]["message"].as_str().unwrap();
        assert_eq!(said, format!("operator:crp:eve@example.com is not a member of {group}"));
    }
    let groups = m.checked("groups", &["group", "rm", "serving", "workload:default/serve-1", "--json"]);
    assert_eq!(groups["groups"][0]["members"], serde_json::json!(["workload:batch/*"]));
    assert!(m.text(&["group", "ls"]).contains("workload:batch/*"));
}

#[test]
fn who_change_groups_at_once_all_get_their_change() {
    let m = Machine::new();
    let daemon = Daemon::start(&m, &["--listen", "127.0.0.1:0"]);
    let members: Vec<_> = (0..4).map(|i| format!("workload:default/serve-{i}")).collect();
    std::thread::scope(|threads| {
        for member in &members {
            let m = &m;
            threads.spawn(move || m.ok(&["group", "add", "serving", member]));
        }
    });
    assert_eq!(m.json(&["group", "ls", "--json"])["groups"][0]["members"], serde_json::json!(members));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn policies_are_versions_and_are_set_over_the_one_that_was_seen() {
    let m = Machine::new();
    assert_eq!(m.checked("policy-log", &["policy", "log", "--json"])["versions"], serde_json::json!([]));
    let first = with_defaults(&m, "// first\n");
    fs::write(m.path("a.cedar"), &first).unwrap();
    fs::write(m.path("b.cedar"), with_defaults(&m, "// second\n")).unwrap();
    let moved = m.fails(&["policy", "set", "a.cedar", "--expect", "v1"], 9, "AlreadyExists");
    assert!(moved["error"]["hint"].as_str().unwrap().contains("vault policy get"), "{moved}");
    m.ok(&["policy", "set", "a.cedar", "--expect", "v0"]);
    m.ok(&["policy", "set", "b.cedar", "--expect", "v1"]);
    m.fails(&["policy", "set", "a.cedar", "--expect", "v1"], 9, "AlreadyExists");
    let log = m.checked("policy-log", &["policy", "log", "--json"]);
    assert_eq!(log["versions"].as_array().unwrap().len(), 2);
    assert_eq!((&log["versions"][0]["version"], &log["versions"][0]["in_force"]), (&2.into(), &true.into()));
    // The way back is the older text, as a new version.
    let text = m.text(&["policy", "get", "--version", "v1"]);
    assert_eq!(text, first);
    fs::write(m.path("back.cedar"), text).unwrap();
    m.ok(&["policy", "set", "back.cedar", "--expect", "v2"]);
    let log = m.json(&["policy", "log", "--json"]);
    assert_eq!(log["versions"][0]["sha256"], log["versions"][2]["sha256"]);
    m.fails(&["policy", "get", "--version", "v9"], 6, "NotFound");
}

#[test]
fn a_text_without_a_policy_is_no_good_policy() {
    let m = Machine::bare();
    for nothing in ["", "// later\n"] {
        fs::write(m.path("empty.cedar"), nothing).unwrap();
        let error = m.fails(&["policy", "check", "empty.cedar"], 2, "InvalidArgument").to_string();
        assert!(error.contains("there is no policy in it") && error.contains("vault policy get"), "{error}");
    }
}
