//! Known bad files and keys: refused when sealed, found among what was sealed, refused when opened.

use std::fs;
use std::process::Command;

use super::support::Machine;

pub fn sha256(m: &Machine, name: &str) -> String {
    let out = Command::new("sha256sum").arg(m.path(name)).output().unwrap();
    String::from_utf8(out.stdout).unwrap()[..64].to_owned()
}

#[test]
fn what_a_list_names_is_found_refused_and_free_again_without_the_list() {
    let m = Machine::new();
    m.file("bad", 5000);
    m.file("good", 6000);
    m.ok(&["seal", "bad"]);
    m.ok(&["seal", "good"]);
    let digest = sha256(&m, "bad");
    fs::write(m.path("list"), format!("# bad things\nsha256:{digest}\n")).unwrap();
    let imported = m.checked("intel-import", &["intel", "import", "list", "--source", "isac", "--json"]);
    assert_eq!((&imported["entries"], &imported["matched"], &imported["unread"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!(imported["hits"][0]["reference"], "default/bad@v1");
    let refused = m.fails(&["open", "bad", "-o", "out"], 5, "DenyListed");
    assert!(refused["error"]["message"].as_str().unwrap().contains(&digest), "{refused}");
    m.fails(&["export", "bad", "-o", "out.mvlt"], 5, "DenyListed");
    m.fails(&["seal", "bad", "--name", "again"], 5, "DenyListed");
    assert!(!m.text(&["ls", "--json"]).contains("again"), "nothing was published");
    m.ok(&["open", "good", "-o", "out-good"]);
    let lists = m.checked("intel", &["intel", "ls", "--json"]);
    assert_eq!((&lists["lists"][0]["source"], &lists["lists"][0]["entries"]), (&"isac".into(), &1.into()));
    assert_eq!((&lists["lists"][0]["files"], &lists["lists"][0]["key_count"]), (&1.into(), &0.into()));
    let key = "5".repeat(64);
    fs::write(m.path("keys"), format!("key:{key}\n")).unwrap();
    m.ok(&["intel", "import", "keys", "--source", "stolen"]);
    let keys = m.checked("intel", &["intel", "ls", "--json"]);
    assert_eq!(keys["lists"][1]["keys"], serde_json::json!([key]));
    assert!(m.text(&["intel", "ls"]).contains(&format!("key:{key}  stolen")));
    let log = m.text(&["audit", "tail", "-n", "50"]);
    assert!(log.contains("intel.import") && log.contains("intel.hit"), "{log}");
    // Another list from the same source takes its place.
    fs::write(m.path("list"), "0".repeat(64)).unwrap();
    m.ok(&["intel", "import", "list", "--source", "isac"]);
    m.ok(&["open", "bad", "-o", "out-bad"]);
    m.checked("intel-rm", &["intel", "rm", "isac", "--json"]);
    m.fails(&["intel", "rm", "isac"], 6, "NotFound");
}

#[test]
fn a_stix_bundle_is_imported_and_a_list_with_a_mistake_is_not() {
    let m = Machine::new();
    m.file("bad", 5000);
    let digest = sha256(&m, "bad");
    let indicator = |pattern: &str| {
        serde_json::json!({"type": "indicator", "spec_version": "2.1", "id": "indicator--1", "pattern_type": "stix",
            "pattern": pattern, "valid_from": "2026-01-01T00:00:00Z"})
    };
    let bundle = serde_json::json!({"type": "bundle", "id": "bundle--1", "objects": [
        indicator(&format!("[file:hashes.'SHA-256' = '{digest}']")), indicator("[domain-name:value = 'example.org']")]});
    fs::write(m.path("bundle.json"), bundle.to_string()).unwrap();
    let imported = m.checked("intel-import", &["intel", "import", "bundle.json", "--json"]);
    assert_eq!((&imported["entries"], &imported["passed_over"]), (&1.into(), &1.into()));
    m.fails(&["seal", "bad"], 5, "DenyListed");
    fs::write(m.path("list"), format!("{digest}\nnot a digest\n")).unwrap();
    let refused = m.fails(&["intel", "import", "list", "--source", "other"], 2, "InvalidArgument");
    assert!(refused["error"]["message"].as_str().unwrap().contains("line 2"), "{refused}");
}
