//! Datasets that are sealed in a vault, under the commands for those on disk: the same answers, and the vault's own refusals.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use super::dataset_scan::reviews;
use super::support::{Daemon, Machine, failed};

const FREE_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];
const KEY: [&str; 2] = ["--key", "k.pub.pem"];

/// A vault that trusts the key `k.pem`, and versions 1 and 2 of a dataset, on disk as `d1` and `d2` and sealed as `reviews`: a table, an
/// archive of lines in a directory of their own, and a file without records.
fn with_sealed(rows: usize) -> Machine {
    let m = Machine::new();
    for name in ["k", "other"] {
        m.ok(&["key", "new", name, "-o", &format!("{name}.pem")]);
    }
    m.ok(&["key", "trust", "curator", "--key", "k.pub.pem"]);
    fs::create_dir_all(m.path("d1/more")).unwrap();
    fs::write(m.path("d1/README.md"), "about").unwrap();
    fs::write(m.path("d1/train.csv"), table(rows, 0)).unwrap();
    fs::write(m.path("d1/more/extra.jsonl"), "{\"id\":-1,\"label\":0,\"text\":\"extra\"}\n").unwrap();
    m.ok(&["dataset", "sign", "d1", "--name", "reviews", "--key", "k.pem"]);
    m.ok(&["seal", "d1", "--name", "reviews", "--kind", "dataset"]);
    let copied = m.program("cp", &["-a", "d1", "d2"]).status().unwrap();
    assert!(copied.success());
    fs::write(m.path("d2/train.csv"), table(rows, 1)).unwrap();
    m.ok(&["dataset", "sign", "d2", "--key", "k.pem"]);
    m.ok(&["seal", "d2", "--name", "reviews", "--kind", "dataset"]);
    m
}

/// Some rows; the first `edited` are edited.
fn table(rows: usize, edited: usize) -> String {
    let text = |i| if i < edited { "edited" } else { "text, number" };
    "id,text,label\n".to_owned()
        + &(0..rows).map(|i| format!("{i},\"{} {i}\",{}\n", text(i), i % 3)).collect::<String>()
}

fn with<'a>(command: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [&["dataset"], command, more].concat()
}

/// All files below the working directory.
fn files(m: &Machine) -> String {
    String::from_utf8(m.program("find", &[".", "-type", "f"]).output().unwrap().stdout).unwrap()
}

#[test]
fn a_sealed_dataset_answers_as_the_directory_does() {
    let m = with_sealed(20_000);
    let before = files(&m);
    let of =
        |command: &str, data: &str| m.json(&with(&[command, data], &["--key", "k.pub.pem", "--no-state", "--json"]));
    let (on_disk, sealed) = (of("verify", "d2"), of("verify", "reviews"));
    assert_eq!((&sealed["verified"], &sealed["root"]), (&true.into(), &on_disk["root"]));
    assert_eq!(sealed, on_disk);
    assert_eq!(of("verify", "vault://default/reviews@v1"), of("verify", "d1"));
    let log = |data: &str| m.checked("dataset-log", &with(&["log", data], &["--key", "k.pub.pem", "--json"]));
    assert_eq!(log("default/reviews"), log("d2"));
    assert_eq!(log("reviews@v1").as_array().unwrap().len(), 1);

    // Records, and what was read of them.
    let read = |data: &str, receipt: &str| {
        m.ok(&with(&["read", data], &["--key", "k.pub.pem", "--no-state", "--receipt", receipt]))
    };
    let records = read("reviews@v2", "sealed.json");
    assert_eq!(records.iter().filter(|b| **b == b'\n').count(), 20_001);
    assert_eq!(records, read("d2", "disk.json"));
    assert_eq!(m.read("sealed.json"), m.read("disk.json"));
    for name in ["sealed.json", "disk.json"] {
        fs::remove_file(m.path(name)).unwrap();
    }

    // Nobody else reads what was sealed; what lies here as it is goes where it is sent.
    for (data, mode) in [("reviews", 0o600), ("d2", 0o644)] {
        m.ok(&with(&["read", data], &["--key", "k.pub.pem", "--no-state", "-o", "read.jsonl"]));
        let facts = fs::metadata(m.path("read.jsonl")).unwrap();
        assert_eq!(facts.permissions().mode() & 0o777 & !0o022, mode, "{data}");
        fs::remove_file(m.path("read.jsonl")).unwrap();
    }

    // A version against the one before, and against a path.
    let diff = |old: &str, new: &str| {
        let out = m.run(&with(&["diff", old, new], &["--key", "id", "--json"]));
        (out.status.code(), serde_json::from_slice::<Value>(&out.stdout).unwrap())
    };
    let changes = diff("reviews@v1", "reviews@v2");
    assert_eq!((changes.0, &changes.1["summary"]["changed"]), (Some(11), &1.into()));
    assert_eq!(changes, diff("d1", "d2"));
    assert_eq!(diff("d2", "reviews").0, Some(0));

    let scan = |data: &str, baseline: &str| {
        let told = m.run(&with(&["scan", data], &["--label", "label", "--baseline", baseline, "--json"]));
        let mut told: Value = serde_json::from_slice(&told.stdout).unwrap();
        told["dataset"] = Value::Null;
        told
    };
    assert_eq!(scan("reviews", "reviews@v1"), scan("d2", "d1"));
    assert_eq!(files(&m), before, "nothing of what is sealed is written to disk");

    let prove = ["prove", "reviews", "--file", "train.csv", "--record", "17", "-o", "proof.json"];
    m.ok(&with(&prove, &KEY));
    let checked = m.json(&with(&["prove", "--check", "proof.json", "--json"], &KEY));
    assert_eq!(checked["root"], sealed["root"]);
}

#[test]
fn what_is_there_is_a_path_and_sealed_versions_are_not_signed() {
    let m = with_sealed(10);
    let verify = |data: &'static str| with(&["verify", data], &["--key", "k.pub.pem", "--no-state"]);
    m.fails(&with(&["verify", "reviews"], &["--key", "other.pub.pem"]), 3, "SignatureMissing");
    m.fails(&verify("reviews@v3"), 6, "NotFound");
    let nothing = m.fails(&verify("nothing"), 6, "NotFound");
    assert!(nothing["error"]["message"].as_str().unwrap().contains("no such file or directory"), "{nothing}");
    m.fails(&verify("./reviews"), 6, "NotFound");
    // A directory of that name goes before, unless it is named as a reference.
    fs::create_dir(m.path("reviews")).unwrap();
    m.fails(&verify("reviews"), 3, "SignatureMissing");
    m.ok(&verify("vault://default/reviews"));
    m.ok(&verify("reviews@latest"));

    let sign = m.fails(&["dataset", "sign", "reviews@v2", "--key", "k.pem"], 2, "InvalidArgument");
    assert!(sign["error"]["hint"].as_str().unwrap().contains("vault dataset sign DIR, then vault seal"), "{sign}");
    m.fails(
        &["dataset", "quarantine", "vault://default/reviews", "--contributor", "c", "--reason", "r", "--key", "k.pem"],
        2,
        "InvalidArgument",
    );

    // Data that nobody signed is compared, and not verified.
    fs::write(m.path("bare.csv"), table(10, 1)).unwrap();
    m.ok(&["seal", "bare.csv", "--kind", "dataset", "--name", "bare"]);
    m.fails(&verify("bare"), 3, "SignatureMissing");
    assert_eq!(m.run(&with(&["diff", "bare", "bare.csv"], &[])).status.code(), Some(0));
}

#[test]
fn a_sealed_version_that_is_older_than_one_seen_is_refused() {
    let m = with_sealed(10);
    m.ok(&with(&["verify", "reviews"], &KEY));
    m.fails(&with(&["verify", "reviews@v1"], &KEY), 3, "VersionRollback");
    m.fails(&with(&["read", "reviews@v1"], &KEY), 3, "VersionRollback");
    m.ok(&with(&["read", "reviews@v1", "--no-state"], &KEY));
    m.fails(&with(&["read", "reviews@v1", "--no-state", "--min-version", "2"], &KEY), 3, "VersionRollback");
    // What was seen sealed counts for directories, and the other way round.
    m.fails(&with(&["verify", "d1"], &KEY), 3, "VersionRollback");
}

#[test]
fn images_of_a_sealed_dataset_are_verified_as_those_of_a_directory() {
    let m = Machine::new();
    m.ok(&["key", "new", "k", "-o", "k.pem"]);
    m.ok(&["key", "trust", "curator", "--key", "k.pub.pem"]);
    for i in 0..300 {
        m.file(&format!("d/{}/{i}.png", i % 3), 3000 + i * 40);
    }
    m.ok(&["dataset", "sign", "d", "--name", "pictures", "--key", "k.pem"]);
    m.ok(&["seal", "d", "--name", "pictures", "--kind", "dataset"]);
    let verify = |data: &str| m.checked("dataset-verify", &with(&["verify", data, "--json"], &KEY));
    assert_eq!(verify("pictures"), verify("d"));
    assert_eq!(verify("pictures")["signed_records"], 300);
    let fetches = opened(&m);
    verify("pictures");
    let fetches = opened(&m) - fetches;
    assert!((3..=6).contains(&fetches), "the statement, dataset.sig, and few for all images: {fetches}");
}

/// Rows of the audit log about plaintext that was asked for.
fn opened(m: &Machine) -> usize {
    m.text(&["audit", "tail", "-n", "10000"]).matches("artifact.fetch.start").count()
}

#[test]
fn a_job_reads_what_it_may_until_that_is_taken_back() {
    // More than all that waits on the way holds.
    let m = with_sealed(1_500_000);
    let daemon = Daemon::start(&m, &FREE_PORT);
    m.ok(&["workload", "enroll", "job", "-o", "enrolment"]);
    let key = ["--key", "k.pub.pem", "--enrolment", "enrolment"];
    let read = with(&["read", "reviews@v2"], &key);
    m.fails(&read, 6, "NotFound");
    m.ok(&["grant", "job", "reviews"]);
    let verified = m.json(&with(&["verify", "reviews", "--json"], &key));
    assert_eq!(verified["verified"], true);

    // A policy that asks for a later version.
    let policy = m.text(&["policy", "get", "--version", "v0"]);
    fs::write(
        m.path("p.cedar"),
        policy.clone() + "\n@id(\"third\") forbid (principal is ModelVault::Workload, action == ModelVault::Action::\"open\", resource) when { context has dataset && context.dataset.version < 3 };\n",
    )
    .unwrap();
    m.ok(&["policy", "set", "p.cedar"]);
    let denied = m.run(&read);
    assert!(matches!(denied.status.code(), Some(5 | 6)) && denied.stdout.is_empty(), "{denied:?}");
    fs::write(m.path("p.cedar"), &policy).unwrap();
    m.ok(&["policy", "set", "p.cedar"]);

    let mut child = m.command(&read).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut start = vec![0; 100_000];
    out.read_exact(&mut start).unwrap();
    m.ok(&["workload", "revoke", "job"]);
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(matches!(status.code(), Some(3..=6)), "{status}: {said}");
    start.extend_from_slice(&rest);
    assert_eq!(start.last(), Some(&b'\n'), "whole records were handed on");
    let lines = start.iter().filter(|b| **b == b'\n').count();
    assert!((1000..1_400_000).contains(&lines), "{lines}: {said}");
    failed(|| m.command(&read), &m.work(), 4, "BadCredential");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn policies_see_what_a_signed_scan_found() {
    let m = Machine::new();
    m.ok(&["key", "new", "k", "-o", "k.pem"]);
    m.ok(&["key", "trust", "curator", "--key", "k.pub.pem"]);
    fs::create_dir(m.path("d")).unwrap();
    // Version 1 is scanned and clean, 2 has a secret in it, 3 was not scanned by us, 4 was with bars of somebody's own.
    let secret = "1000,the key is AKIAIOSFODNN7EXAMPLE,good";
    for (table, report) in [
        (reviews(&[]), "clean.json"),
        (reviews(&[secret]), "found.json"),
        (reviews(&["1001,another slow scene,bad"]), "other.json"),
        (reviews(&["1002,one more slow scene,bad"]), "bars.json"),
    ] {
        fs::write(m.path("d/train.csv"), table).unwrap();
        if report == "other.json" {
            let stale =
                m.fails(&["dataset", "sign", "d", "--key", "k.pem", "--scan", "found.json"], 3, "DatasetChanged");
            assert!(stale["error"]["message"].as_str().unwrap().contains("about other data"), "{stale}");
            fs::write(m.path(report), "").unwrap();
            m.fails(&["dataset", "sign", "d", "--key", "k.pem", "--scan", report], 2, "InvalidArgument");
            fs::write(m.path(report), "{\"tool\":\"another\"}").unwrap();
        } else {
            let bar: &[_] = if report == "bars.json" { &["--bar", "label.margin=1"] } else { &[] };
            let words = [&["dataset", "scan", "d", "--label", "class", "--json"], bar].concat();
            fs::write(m.path(report), m.ok(&words)).unwrap();
        }
        m.ok(&["dataset", "sign", "d", "--name", "reviews", "--key", "k.pem", "--scan", report]);
        m.ok(&["seal", "d", "--name", "reviews", "--kind", "dataset"]);
    }
    let rule = |unless: &str| {
        let policy = m.text(&["policy", "get", "--version", "v0"])
            + &format!(
                "\n@id(\"scanned\") forbid (principal, action == ModelVault::Action::\"open\", resource) unless {{ context has dataset && {unless} }};\n"
            );
        fs::write(m.path("p.cedar"), policy).unwrap();
        m.ok(&["policy", "set", "p.cedar"]);
        ["reviews@v1", "reviews@v2", "reviews@v3", "reviews@v4"].map(|data| {
            let out = m.run(&["dataset", "log", data, "--key", "k.pub.pem"]);
            assert!(matches!(out.status.code(), Some(0 | 5)), "{}", String::from_utf8_lossy(&out.stderr));
            out.status.success()
        })
    };
    assert_eq!(rule("context.dataset.scanned"), [true, true, false, false]);
    assert_eq!(
        rule("context.dataset has scan && context.dataset.scan.records == context.dataset.records"),
        [true, true, false, false]
    );
    assert_eq!(
        rule("context.dataset has scan && context.dataset.scan.detectors.contains(\"rule\")"),
        [true, true, false, false]
    );
    assert_eq!(
        rule("context.dataset has scan && context.dataset.scan.findings == 0 && context.dataset.scan.worst == 0"),
        [true, false, false, false]
    );
    assert_eq!(
        rule(
            "context.dataset has scan && context.dataset.scan.found_by.contains(\"rule\") && context.dataset.scan.suspicious >= 1"
        ),
        [false, true, false, false]
    );
}

#[test]
fn a_report_about_what_is_sealed_is_one_about_the_same_files_on_disk() {
    let m = with_sealed(60);
    for version in ["1", "2"] {
        let report =
            m.checked("dataset-scan", &with(&["scan", &format!("reviews@v{version}")], &["--text", "text", "--json"]));
        fs::write(m.path(&format!("r{version}.json")), report.to_string()).unwrap();
    }
    let sign = |report: &'static str| with(&["sign", "d1"], &["--key", "k.pem", "--scan", report]);
    let refused = m.fails(&sign("r2.json"), 3, "DatasetChanged").to_string();
    assert!(refused.contains("train.csv was another file then"), "{refused}");
    m.ok(&sign("r1.json"));
}

#[test]
fn what_looks_like_a_reference_and_is_none_is_told_as_one() {
    let m = Machine::bare();
    for (data, told) in [("vault://reviews", "vault://reviews"), ("vault://a/b/member", "names a member")] {
        for command in [&["read", data][..], &["verify", data], &["scan", data]] {
            let believed: &[&str] = if command[0] == "scan" { &[] } else { &["--key", "k.pub.pem"] };
            let error = m.fails(&with(command, believed), 2, "InvalidArgument");
            assert!(error["error"]["message"].as_str().unwrap().contains(told), "{error}");
            assert!(error["error"]["hint"].as_str().unwrap().contains("vault://NAMESPACE/NAME"), "{error}");
        }
    }
}
