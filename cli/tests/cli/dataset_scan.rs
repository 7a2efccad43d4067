//! Datasets scanned: what looks suspicious is named by file and record, and nothing more is claimed.

use std::fs;

use serde_json::Value;

use super::support::{Machine, schema};

const WORDS: [&str; 12] =
    ["the", "film", "was", "slow", "but", "its", "music", "made", "every", "scene", "worth", "watching"];

/// Reviews of a few words that differ, with what is added to them.
pub fn reviews(extra: &[&str]) -> String {
    let mut rows = String::from("id,review,class\n");
    for i in 0..300_usize {
        let words: Vec<_> = (0..6).map(|k| WORDS[(i * (k + 3) + i / 7 + k * k) % WORDS.len()]).collect();
        rows += &format!("{i},\"{} {i}\",{}\n", words.join(" "), ["bad", "good"][i % 2]);
    }
    extra.iter().for_each(|row| rows += &format!("{row}\n"));
    rows
}

/// Two pairs of reviews with other labels: records 301, 302, and 303 with 304.
const CONFLICTS: [&str; 4] =
    ["900,a plain twin here,good", "901,a plain twin here,bad", "902,one more twin,bad", "903,one more twin,good"];

fn with(text: &str) -> Machine {
    let m = Machine::bare();
    fs::create_dir_all(m.path("d")).unwrap();
    fs::write(m.path("d/train.csv"), text).unwrap();
    m
}

fn role<'a>(document: &'a Value, column: &str) -> &'a str {
    let columns = document["columns"].as_array().unwrap();
    columns.iter().find(|c| c["column"] == column).unwrap()["role"].as_str().unwrap()
}

#[test]
fn a_clean_table_has_no_finding() {
    let m = with(&reviews(&[]));
    fs::write(m.path("d/README.md"), "about").unwrap();
    let scanned = m.checked("dataset-scan", &["dataset", "scan", "d", "--fail-on", "any", "--json"]);
    assert_eq!((&scanned["suspicious"], &scanned["records"]), (&false.into(), &300.into()));
    assert_eq!((role(&scanned, "id"), role(&scanned, "review"), role(&scanned, "class")), ("ignored", "text", "label"));
    let text = m.text(&["dataset", "scan", "d"]);
    for told in [
        "nothing suspicious was found",
        "label        class: bad (150), good (150)",
        "README.md: a file without records",
        "column id: ",
        "clean-label triggers cannot be found from content alone",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn twins_with_other_labels_are_named_by_record() {
    let m = with(&reviews(&CONFLICTS));
    let out = m.run(&["dataset", "scan", "d", "--json"]);
    assert_eq!(out.status.code(), Some(0), "only --fail-on makes findings fail");
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    schema("dataset-scan", &document);
    let findings = document["findings"].as_array().unwrap();
    let duplicate = findings.iter().find(|f| f["detector"] == "duplicate").unwrap();
    let records: Vec<_> = duplicate["records"].as_array().unwrap().iter().map(|r| r["record"].clone()).collect();
    assert_eq!(records, [301, 302, 303, 304].map(Value::from));
    assert_eq!(duplicate["records"][0]["file"], "train.csv");
    assert_eq!(duplicate["records"][0]["label"], "good");
    for (fail_on, status) in
        [("any", 11), ("duplicate", 11), ("duplicate:4", 11), ("duplicate:5", 0), ("text-trigger:100", 0)]
    {
        let out = m.run(&["dataset", "scan", "d", "--fail-on", fail_on]);
        assert_eq!(out.status.code(), Some(status), "{fail_on}");
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(text.contains("train.csv records 301, 302, 303, 304"), "{text}");
        assert!(!text.contains("plain twin"), "no content of records: {text}");
    }
    let only = m.checked("dataset-scan", &["dataset", "scan", "d", "--max-records", "1", "--json"]);
    let of = only["findings"].as_array().unwrap().iter().find(|f| f["detector"] == "duplicate").unwrap();
    assert_eq!((of["records"].as_array().unwrap().len(), &of["truncated"], &of["count"]), (1, &true.into(), &4.into()));
}

#[test]
fn a_bar_that_is_put_elsewhere_changes_what_is_found_and_is_told() {
    let m = with(&reviews(&CONFLICTS));
    let words = ["dataset", "scan", "d", "--detector", "duplicate", "--bar", "duplicate.words=5"];
    let scanned = m.checked("dataset-scan", &[&words[..], &["--json"]].concat());
    assert_eq!(scanned["findings"].as_array().unwrap().len(), 0, "the twins have four words");
    assert_eq!(scanned["bars"], serde_json::json!([{"bar": "duplicate.words", "value": 5.0, "standard": 3.0}]));
    assert!(m.text(&words).contains("bars changed duplicate.words 5 (not 3)"));
    let standard = m.checked("dataset-scan", &["dataset", "scan", "d", "--bar", "duplicate.words=3", "--json"]);
    assert_eq!((&standard["bars"], &standard["suspicious"]), (&serde_json::json!([]), &true.into()));
}

#[test]
fn what_is_asked_wrongly_is_refused_with_what_would_be_right() {
    let m = with(&reviews(&[]));
    for (args, told) in [
        (&["--label", "klass"][..], "its columns are: class, id, review"),
        (&["--by", "who"], "its columns are: class, id, review"),
        (&["--text", "body"], "its columns are: class, id, review"),
        (&["--label", "class", "--by", "class"], "label and contributor are one column"),
        (&["--label", "class", "--text", "class"], "and label or contributor as well"),
        (&["--text", "id"], "holds no text"),
        (&["--detector", "magic"], "detectors are text-trigger, "),
        (&["--bar", "label.magic=1"], "bars are text-trigger.support, "),
        (&["--bar", "label.margin"], "give DETECTOR.NAME=VALUE"),
        (&["--bar", "label.margin=half"], "give DETECTOR.NAME=VALUE"),
        (&["--bar", "label.margin=1.5"], "label.margin cannot stand at 1.5"),
        (&["--bar", "duplicate.words=2.5"], "a whole number from 1 to "),
        (&["--fail-on", "magic"], "any, unseen, or one of text-trigger"),
        (&["--detector", "rule", "--fail-on", "label:3"], "--fail-on label: that detector does not run"),
        (&["--html", "x", "--sarif", "./x"], "--sarif and --html are both x"),
        (&["--fail-on", "duplicate:0"], "a number of records, from 1"),
    ] {
        let error = m.fails(&[&["dataset", "scan", "d"], args].concat(), 2, "InvalidArgument");
        assert!(error.to_string().contains(told), "{args:?}: {error}");
    }
    let many: String = (0..10_001).map(|i| format!("{i},{i} or so\n")).collect();
    fs::write(m.path("many.csv"), format!("n,t\n{many}")).unwrap();
    let error = m.fails(&["dataset", "scan", "many.csv", "--label", "t"], 2, "InvalidArgument");
    assert!(error.to_string().contains("more than 10000 values"), "{error}");
}

#[test]
fn without_a_label_it_says_what_did_not_run() {
    let m = with(&reviews(&CONFLICTS).replace("class", "kind"));
    let scanned = m.checked("dataset-scan", &["dataset", "scan", "d", "--json"]);
    let skipped = scanned["skipped"].as_array().unwrap();
    let duplicate = skipped.iter().find(|s| s["detector"] == "duplicate").unwrap();
    assert!(duplicate["why"].as_str().unwrap().contains("--label COLUMN"), "{duplicate}");
    let both = reviews(&CONFLICTS).replace("id,review", "target,review");
    fs::write(m.path("d/train.csv"), both).unwrap();
    let text = m.text(&["dataset", "scan", "d"]);
    assert!(text.contains("any of class, target could be the label; --label COLUMN names it"), "{text}");
    // A gate that most detectors did not come to is not passed, and a policy is not met by it.
    let gate = m.run(&["dataset", "scan", "d", "--fail-on", "any"]);
    let why = String::from_utf8(gate.stderr).unwrap();
    assert!(gate.status.code() == Some(2) && why.contains("--fail-on any: any of class, target could be"), "{why}");
    let open = m.checked("dataset-scan", &["dataset", "scan", "d", "--json"]);
    assert_eq!((open["complete"].as_bool(), open["undecided"].is_string()), (Some(false), true));
    let asked = m.checked("dataset-scan", &["dataset", "scan", "d", "--label", "class", "--json"]);
    assert_eq!(asked["labels"].as_array().unwrap().len(), 2);
}

#[test]
fn hostile_files_are_refused_as_elsewhere() {
    let m = with("a,class\n1,x\n1\n");
    for (text, place) in [
        (&b"a,class\n1,x\n1\n"[..], "train.csv, line 3 (record 2): a row of 1 fields"),
        (b"a,class\n\xff,x\n", "train.csv, line 2 (record 1): it is not UTF-8"),
        (b"a,class\n\"open,x\n", "not closed"),
        (b"a,a\n1,2\n", "two columns are named"),
    ] {
        fs::write(m.path("d/train.csv"), text).unwrap();
        let error = m.fails(&["dataset", "scan", "d"], 3, "RecordInvalid");
        assert!(error.to_string().contains(place), "{error}");
    }
    fs::write(m.path("d/train.csv"), "a,class\n").unwrap();
    let empty = m.checked("dataset-scan", &["dataset", "scan", "d", "--json"]);
    assert_eq!((&empty["records"], &empty["suspicious"]), (&0.into(), &false.into()));
}

#[test]
fn nested_members_are_columns() {
    let rows: String = (0..60)
        .map(|i| {
            format!("{{\"meta\":{{\"by\":\"w{}\",\"tags\":[1]}},\"n\":{},\"y\":{}}}\n\n", i % 3, (i * 7) % 31, i % 2)
        })
        .collect();
    let m = Machine::bare();
    fs::write(m.path("a.jsonl"), rows).unwrap();
    let scanned =
        m.checked("dataset-scan", &["dataset", "scan", "a.jsonl", "--by", "meta.by", "--sarif", "s.sarif", "--json"]);
    let roles = ["meta.by", "meta.tags", "n", "y"].map(|column| role(&scanned, column));
    assert_eq!(roles, ["contributor", "ignored", "feature", "label"]);
    assert_eq!(scanned["contributors"].as_array().unwrap().len(), 3);
}

#[test]
fn reports_for_machines_and_browsers_quote_no_record() {
    let hostile = "<script>alert(1)</script>";
    let mut lines = String::new();
    for row in reviews(&CONFLICTS).lines().skip(1) {
        let (head, label) = row.rsplit_once(',').unwrap();
        let review = head.split_once(',').unwrap().1.trim_matches('"');
        let label = if label == "bad" { hostile } else { label };
        lines += &format!("{{\"review\":\"{review}\",\"class\":\"{label}\"}}\n\n");
    }
    let m = Machine::bare();
    fs::create_dir_all(m.path("d e")).unwrap();
    fs::write(m.path("d e/<i>a.jsonl"), lines).unwrap();
    let args = ["dataset", "scan", "d e", "--sarif", "scan.sarif", "--html", "scan.html"];
    let text = m.text(&args);
    let page = String::from_utf8(m.read("scan.html")).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)") && page.contains("&lt;i&gt;a.jsonl"));
    for never in ["<script", "<i>a", "http:", "https:", " src=", "plain twin"] {
        assert!(!page.contains(never), "{never}");
    }
    let sarif = String::from_utf8(m.read("scan.sarif")).unwrap();
    let log: Value = serde_json::from_str(&sarif).unwrap();
    let run = &log["runs"][0];
    assert_eq!((&log["version"], &run["tool"]["driver"]["name"]), (&"2.1.0".into(), &"Model Vault".into()));
    let result = run["results"].as_array().unwrap().iter().find(|r| r["ruleId"] == "duplicate").unwrap();
    let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
    assert_eq!((&rule["id"], &result["level"]), (&"duplicate".into(), &"warning".into()));
    let place = &result["locations"][0];
    assert_eq!(place["physicalLocation"]["artifactLocation"]["uri"], "d%20e/%3Ci%3Ea.jsonl");
    // Each record has a blank line behind it.
    assert_eq!(place["physicalLocation"]["region"]["startLine"], 601);
    assert_eq!(place["logicalLocations"][0]["name"], "record 301");
    assert!(!result["message"]["text"].as_str().unwrap().is_empty() && !sarif.contains("plain twin"));
    for report in [text, page, sarif] {
        let words = report.to_lowercase();
        assert!(words.contains("suspicious") && !words.contains("verified"));
        assert!(words.contains("clean-label triggers cannot be found"));
    }
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let m = with(&reviews(&CONFLICTS));
    let scan = ["dataset", "scan", "d", "--seed", "7", "--json"];
    assert_eq!(m.json(&scan), m.json(&scan));
    assert_eq!(m.json(&scan)["seed"], 7);
}

#[test]
fn what_was_not_looked_at_is_not_called_clean() {
    let m = with("id,review,class\n");
    let text = m.text(&["dataset", "scan", "d"]);
    assert!(text.contains("there are no records: nothing was looked at"), "{text}");
    assert!(!text.contains("nothing suspicious was found"), "{text}");
    fs::write(m.path("d/train.csv"), reviews(&["900,mail me: someone@example.org,good"])).unwrap();
    for without_rules in ["", "record rules\t1\n# later\n"] {
        fs::write(m.path("rules.tsv"), without_rules).unwrap();
        m.fails(&["dataset", "scan", "d", "--rules", "rules.tsv"], 2, "InvalidArgument");
    }
    let scanned = m.json(&["dataset", "scan", "d", "--detector", "rule", "--json"]);
    let rule = &scanned["findings"][0];
    assert_eq!((&rule["feature"], &rule["records"][0]["record"]), (&"email-address".into(), &301.into()));
    assert!(rule["what"].as_str().unwrap().ends_with("in 1 records, in the first of them at byte 9"), "{rule}");
}

#[test]
fn rankings_are_told_when_asked_for_and_are_no_findings() {
    let odd = "900,\"qwe rtz uio pas dfg hjk lyx cvb nmq wer tzu iop\",good";
    let m = with(&reviews(&[odd]));
    let scan = ["dataset", "scan", "d", "--fail-on", "any", "--json"];
    let without = m.checked("dataset-scan", &scan);
    assert!(without["rankings"].as_array().unwrap().is_empty());
    let ranked = m.checked("dataset-scan", &[&scan[..], &["--rank", "3"]].concat());
    assert_eq!((&ranked["suspicious"], &ranked["findings"]), (&false.into(), &without["findings"]));
    assert_eq!(ranked["detectors"], without["detectors"]);
    for ranking in ranked["rankings"].as_array().unwrap() {
        assert_eq!(ranking["records"].as_array().unwrap().len(), 3, "{ranking}");
    }
    let rankings = ranked["rankings"].as_array().unwrap();
    assert_eq!(
        rankings.iter().map(|r| r["ranking"].as_str().unwrap()).collect::<Vec<_>>(),
        ["label", "spectral", "rare-words"]
    );
    let rare = &rankings[2];
    assert_eq!(rare["records"][0]["record"], 301);
    assert!(rare["records"][0]["score"].as_f64().unwrap() > 0.9, "{rare}");
    let text = m.text(&["dataset", "scan", "d", "--rank", "1"]);
    assert!(text.contains("the oddest records, no findings: rare-words"), "{text}");
}

/// Exit status of a scan, its report, and what it says went wrong.
fn gated(m: &Machine, fail_on: &str) -> (i32, Value, String) {
    let out = m.run(&["dataset", "scan", "d", "--fail-on", fail_on, "--json"]);
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    schema("dataset-scan", &report);
    let why = report["unanswered"].as_str().unwrap_or_default().to_owned();
    (out.status.code().unwrap(), report, why)
}

#[test]
fn a_gate_that_nothing_was_looked_at_for_stays_shut() {
    let m = with(&reviews(&[]));
    for question in ["any", "unseen", "label", "duplicate"] {
        assert_eq!(gated(&m, question).0, 0, "{question}");
    }
    let (status, report, why) = gated(&m, "drift");
    assert_eq!((status, &report["complete"]), (2, &true.into()), "{why}");
    assert!(why.contains("--fail-on drift: that detector did not run: it needs a baseline or contributors"), "{why}");
    fs::write(m.path("d/train.csv"), reviews(&CONFLICTS).replace("class", "kind")).unwrap();
    let (status, _, why) = gated(&m, "duplicate");
    assert!(status == 2 && why.contains("it needs labels") && why.contains("--label"), "{why}");
    let out = m.run(&["dataset", "scan", "d", "--fail-on", "duplicate"]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.code() == Some(2) && said.contains("--fail-on duplicate: that detector did not run"), "{said}");
    fs::write(m.path("d/train.csv"), "id,review,class\n").unwrap();
    for question in ["any", "unseen", "rule"] {
        let (status, report, why) = gated(&m, question);
        assert_eq!((status, &report["records"]), (2, &0.into()), "{question}: {why}");
        assert!(why.starts_with(&format!("--fail-on {question}: ")), "{why}");
    }
}
