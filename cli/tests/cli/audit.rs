//! The audit log where there is no vault: exports, directories of tiles, proofs.

use std::fs;

use super::support::{Machine, schema};

/// A vault with a log, its key, and a checkpoint of it that is kept elsewhere.
fn logged() -> (Machine, String) {
    let m = Machine::new();
    m.file("a", 10);
    m.ok(&["seal", "a"]);
    fs::write(m.path("kept"), m.text(&["audit", "verify"])).unwrap();
    m.ok(&["ls"]);
    let key = m.json(&["status", "--json"])["audit_key"].as_str().unwrap().to_owned();
    (m, key)
}

#[test]
fn an_export_is_verified_without_a_vault_and_every_edit_is_found() {
    let (m, key) = logged();
    m.ok(&["audit", "export", "-o", "log"]);
    let auditor = Machine::bare();
    for name in ["log", "kept"] {
        fs::copy(m.path(name), auditor.path(name)).unwrap();
    }
    let verify = ["audit", "verify", "log", "--key", &key, "--checkpoint", "kept", "--json"];
    let found = auditor.checked("audit-verify-offline", &verify);
    assert_eq!((&found["kept"], &found["uncovered"], &found["key_given"]), (&1.into(), &0.into(), &true.into()));
    assert!(auditor.text(&["audit", "verify", "log"]).contains("only --key tells"));
    // The key of another vault.
    let other = Machine::new().json(&["status", "--json"])["audit_key"].as_str().unwrap().to_owned();
    auditor.fails(&["audit", "verify", "log", "--key", &other], 3, "AuditBroken");
    let log = String::from_utf8(auditor.read("log")).unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("{\"seq\"")).collect();
    let edits: [(&str, String); 4] = [
        ("edited", log.replacen("artifact.seal", "artifact.open", 1)),
        ("removed", log.replacen(&format!("{}\n", lines[1]), "", 1)),
        ("moved", log.replacen(lines[1], "\u{1}", 1).replacen(lines[2], lines[1], 1).replacen('\u{1}', lines[2], 1)),
        ("cut", log.split_inclusive('\n').take(4).collect()),
    ];
    for (what, text) in edits {
        fs::write(auditor.path("log"), text).unwrap();
        let error = auditor.fails(&["audit", "verify", "log", "--key", &key], 3, "AuditBroken");
        println!("{what}: {}", error["error"]["message"]);
    }
    // Rolled back as a whole: only the checkpoint tells.
    let younger = Machine::new();
    younger.ok(&["audit", "export", "-o", "log"]);
    fs::copy(younger.path("log"), auditor.path("log")).unwrap();
    auditor.ok(&["audit", "verify", "log"]);
    auditor.fails(&["audit", "verify", "log", "--checkpoint", "kept"], 3, "AuditBroken");
    // One from before the checkpoint is not called cut off.
    m.ok(&["audit", "export", "-o", "old"]);
    fs::write(m.path("newer"), m.text(&["audit", "verify"])).unwrap();
    let older = m.fails(&["audit", "verify", "old", "--key", &key, "--checkpoint", "newer"], 3, "AuditBroken");
    let said = older["error"]["message"].as_str().unwrap();
    assert!(said.contains("exported before") && !said.contains("broken"), "{said}");
}

#[test]
fn a_replay_reads_every_form_of_the_log_and_names_the_line_it_cannot_read() {
    let (m, _) = logged();
    m.ok(&["audit", "export", "-o", "log"]);
    m.ok(&["audit", "export", "--format", "jsonl", "-o", "log.jsonl"]);
    let read = |file: &str| m.checked("audit-replay", &["audit", "replay", file, "--json"]);
    let (of_log, of_lines) = (read("log"), read("log.jsonl"));
    assert!(of_log["events"].as_u64().unwrap() > 3);
    // The second has the two rows of the first, and that of asking whose log it is.
    assert_eq!(of_lines["events"].as_u64().unwrap() - of_log["events"].as_u64().unwrap(), 3);
    assert_eq!(of_log["passed_over"], 0);
    let good = r#"{"time":"2026-11-23T09:30:00Z","actor":"anonymous","act":"vault.status"}"#;
    let unknown = good.replace("vault.status", "vault.sttus");
    fs::write(m.path("mine"), format!("{good}\n{unknown}\n\n{unknown}\n")).unwrap();
    let told = read("mine");
    assert_eq!((&told["events"], &told["passed_over"], &told["first_passed_over"]), (&1.into(), &2.into(), &2.into()));
    fs::write(m.path("bad"), format!("{good}\n{{\"end\":\n")).unwrap();
    let bad = m.fails(&["audit", "replay", "bad"], 2, "InvalidArgument");
    assert!(bad["error"]["message"].as_str().unwrap().starts_with("bad, line 2: "), "{bad}");
}

#[test]
fn a_directory_of_tiles_goes_on_where_it_stopped_and_names_what_was_altered() {
    let (m, key) = logged();
    let output = m.checked("audit-export", &["audit", "export", "--tiles", "log", "--json"]);
    assert_eq!(output["output"], "log");
    let first = m.checked("audit-verify-offline", &["audit", "verify", "log", "--key", &key, "--json"]);
    m.ok(&["ls"]);
    m.ok(&["audit", "export", "--tiles", "log"]);
    let verify = ["audit", "verify", "log", "--key", &key, "--checkpoint", "kept", "--json"];
    let second = m.checked("audit-verify-offline", &verify);
    assert!(second["records"].as_u64() > first["records"].as_u64());
    let bundles = m.path("log/tile/entries/000.p");
    let bundle = bundles.join(second["records"].to_string());
    let text = fs::read(&bundle).unwrap();
    let at = text.windows(13).position(|w| w == b"artifact.seal").unwrap();
    let mut altered = text;
    altered[at..at + 13].copy_from_slice(b"artifact.list");
    fs::write(&bundle, altered).unwrap();
    let error = m.fails(&["audit", "verify", "log", "--key", &key], 3, "AuditBroken");
    assert!(error["error"]["message"].as_str().unwrap().contains("is not the one that was signed"), "{error}");
    // Nothing is written into what is not a log.
    m.file("full/x", 1);
    m.fails(&["audit", "export", "--tiles", "full"], 9, "AlreadyExists");
}

#[test]
fn a_proof_is_made_by_the_vault_and_checked_without_it() {
    let (m, key) = logged();
    fs::write(m.path("proof"), m.ok(&["audit", "prove", "2"])).unwrap();
    schema("audit-prove", &m.json(&["audit", "prove", "2", "--json"]));
    let size = String::from_utf8(m.read("kept")).unwrap();
    let size = size.lines().skip_while(|l| !l.starts_with("modelvault.example/")).nth(1).unwrap().to_owned();
    fs::write(m.path("extends"), m.ok(&["audit", "prove", "--consistency", &size])).unwrap();
    let auditor = Machine::bare();
    for name in ["proof", "extends", "kept"] {
        fs::copy(m.path(name), auditor.path(name)).unwrap();
    }
    let proven = auditor.checked("audit-proof", &["audit", "verify", "--proof", "proof", "--key", &key, "--json"]);
    assert_eq!((&proven["sequence"], &proven["key_given"]), (&2.into(), &true.into()));
    let extends = ["audit", "verify", "--proof", "extends", "--key", &key, "--checkpoint", "kept", "--json"];
    assert!(auditor.checked("audit-proof", &extends)["sequence"].is_null());
    let altered = String::from_utf8(auditor.read("proof")).unwrap().replacen("\"seq\":2", "\"seq\":3", 1);
    fs::write(auditor.path("proof"), altered).unwrap();
    auditor.fails(&["audit", "verify", "--proof", "proof", "--key", &key], 3, "AuditBroken");
    m.fails(&["audit", "prove", "100000"], 6, "NotFound");
    m.fails(&["audit", "prove", "--consistency", "100000"], 6, "NotFound");
}
