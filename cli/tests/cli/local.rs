//! A vault on this machine, opened in process.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::support::{Machine, schema};

#[test]
fn what_is_sealed_comes_back() {
    let m = Machine::new();
    let model = m.file("model.onnx", 3_300_000);
    let sealed = m.checked("version", &["seal", "model.onnx", "--tag", "prod", "--json"]);
    assert_eq!((&sealed["name"], &sealed["version"]), (&"model".into(), &1.into()));
    assert_eq!(sealed["tags"], serde_json::json!(["latest", "prod"]));

    let opened = m.checked("open", &["open", "model", "-o", "out.onnx", "--json"]);
    assert_eq!(opened["bytes"], model.len());
    assert_eq!(m.read("out.onnx"), model);
    let mode = fs::metadata(m.path("out.onnx")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "plaintext is for its owner");
    assert_eq!(m.ok(&["open", "model@prod"]), model, "standard output carries the bytes and nothing else");
    assert_eq!(m.ok(&["open", "vault://default/model@v1", "-o", "-"]), model);
    assert_eq!(m.ok(&["open", "model", "--range", "1048570..2097160"]), model[1_048_570..2_097_160]);
    assert_eq!(m.ok(&["open", "model", "--range", "3299999.."]), model[3_299_999..]);
    assert_eq!(m.ok(&["open", "model", "--range", "7..7"]), b"");

    // Into a directory that exists, under the member's name.
    fs::create_dir(m.path("into")).unwrap();
    m.ok(&["open", "model", "-o", "into"]);
    assert_eq!(m.read("into/model.onnx"), model);
    assert_eq!(m.names("into"), ["model.onnx"]);
}

#[test]
fn a_directory_comes_back_as_a_directory() {
    let m = Machine::new();
    let big = m.file("tree/weights/big.bin", 2_500_000);
    m.file("tree/empty", 0);
    m.file("tree/config.json", 11);
    let sealed = m.checked("version", &["seal", "tree", "--kind", "dataset", "--digest", "blake3", "--json"]);
    assert_eq!((&sealed["kind"], &sealed["member_count"]), (&"dataset".into(), &3.into()));
    m.checked("open", &["open", "tree", "-o", "out", "--json"]);
    for path in ["weights/big.bin", "empty", "config.json"] {
        assert_eq!(m.read(&format!("out/{path}")), m.read(&format!("tree/{path}")), "{path}");
    }
    assert_eq!(m.names("out"), ["config.json", "empty", "weights"]);
    assert_eq!(m.ok(&["open", "tree", "--member", "weights/big.bin", "--range", "5..1048580"]), big[5..1_048_580]);
    assert_eq!(m.ok(&["open", "vault://default/tree@latest/empty"]), b"");

    // It is not overwritten, and there is no half of it on a pipe.
    m.fails(&["open", "tree", "-o", "out"], 9, "AlreadyExists");
    m.fails(&["open", "tree"], 2, "InvalidArgument");
    m.fails(&["open", "tree", "-o", "x", "--range", "0..1"], 2, "InvalidArgument");
    m.fails(&["open", "tree", "-o", "x", "--member", "none"], 6, "NotFound");
    m.fails(&["open", "tree", "-o", "x", "--member", "config.json", "--range", "0..12"], 2, "RangeInvalid");
}

#[test]
fn nothing_is_released_for_an_output_that_cannot_be() {
    let m = Machine::new();
    m.file("model.onnx", 1000);
    m.file("tree/a", 10);
    m.file("tree/b", 10);
    m.ok(&["seal", "model.onnx"]);
    m.ok(&["seal", "tree"]);
    m.file("full", 3);
    m.file("dir/x", 3);
    for (args, status, id) in [
        (&["open", "model", "-o", "full"][..], 9, "AlreadyExists"),
        (&["open", "tree", "-o", "full"], 9, "AlreadyExists"),
        (&["open", "tree", "-o", "dir"], 9, "AlreadyExists"),
        (&["open", "tree", "-o", "-"], 2, "InvalidArgument"),
        (&["open", "tree", "--member", "c", "-o", "new"], 6, "NotFound"),
        (&["open", "model", "-o", "no/such"], 6, "NotFound"),
        (&["fetch", "tree", "-o", "dir"], 9, "AlreadyExists"),
        (&["fetch", "tree", "-o", "full"], 9, "AlreadyExists"),
        (&["fetch", "tree", "-o", "no/such"], 6, "NotFound"),
    ] {
        m.fails(args, status, id);
    }
    let log = m.text(&["audit", "tail", "-n", "1000"]);
    assert!(log.contains("artifact.seal") && !log.contains("artifact.fetch.start"), "{log}");
    m.ok(&["fetch", "tree", "-o", "new"]);
    assert!(m.text(&["audit", "tail", "-n", "1000"]).contains("artifact.fetch.start"));
}

#[test]
fn versions_tags_and_removal() {
    let m = Machine::new();
    m.file("a.bin", 10);
    m.ok(&["seal", "a.bin", "--name", "prod/a"]);
    let first = m.read("a.bin");
    let second = m.file("a.bin", 20);
    m.ok(&["seal", "a.bin", "--name", "prod/a@gold"]);
    assert_eq!(m.ok(&["open", "prod/a"]), second);
    assert_eq!(m.ok(&["open", "prod/a@v1"]), first);

    let moved = m.checked("tag", &["tag", "prod/a@v1", "gold", "--expect", "v2", "--json"]);
    assert_eq!((&moved["tag"], &moved["from"], &moved["sequence"]), (&"gold".into(), &2.into(), &2.into()));
    let tags = &m.checked("inspect", &["inspect", "prod/a@gold", "--json"])["tags"];
    assert_eq!(*tags, serde_json::json!([{ "tag": "gold", "version": 1, "sequence": 2 }]));
    assert_eq!(m.ok(&["open", "prod/a@gold"]), first);
    m.fails(&["tag", "prod/a@v2", "gold", "--expect", "v2"], 9, "TagMoved");

    let listed = m.checked("ls", &["ls", "--json"]);
    assert_eq!(listed["artifacts"][0]["newest"]["version"], 2);
    assert_eq!(listed["artifacts"][0]["versions"], 2);
    let tags = serde_json::json!([
        { "tag": "gold", "version": 1, "sequence": 2 },
        { "tag": "latest", "version": 2, "sequence": 2 }
    ]);
    assert_eq!(listed["artifacts"][0]["tags"], tags, "also those on older versions");
    assert!(m.text(&["ls"]).contains("gold=v1 latest=v2"));
    assert_eq!(m.checked("ls", &["ls", "prod/*", "--json"])["artifacts"].as_array().unwrap().len(), 1);
    assert_eq!(m.checked("ls", &["ls", "nothing*", "--json"])["artifacts"].as_array().unwrap().len(), 0);
    let numbers = |args: &[&str]| -> Vec<u64> {
        let listed = m.checked("versions", args);
        listed["versions"].as_array().unwrap().iter().map(|v| v["version"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&["ls", "prod/a", "--json"]), [2, 1]);
    m.fails(&["ls", "a"], 6, "NotFound");
    m.fails(&["ls", "prod/a@v1"], 2, "InvalidArgument");

    let removed = m.checked("rm", &["rm", "prod/a@v1", "--json"]);
    assert_eq!(removed["versions"], 1);
    m.fails(&["open", "prod/a@v1", "-o", "x"], 6, "NotFound");
    m.fails(&["rm", "prod/a@v1"], 6, "NotFound");
    assert_eq!(numbers(&["ls", "prod/a", "--json"]), [2]);
    assert_eq!(numbers(&["ls", "prod/a", "--all", "--json"]), [2, 1]);
    assert!(m.text(&["ls", "prod/a", "--all"]).lines().any(|l| l.contains("@v1") && l.contains("removed")));
    let listed = m.checked("ls", &["ls", "--json"]);
    assert_eq!(listed["artifacts"][0]["tags"].as_array().unwrap().len(), 1, "no tag of what is not shown");
    assert_eq!(m.checked("rm", &["rm", "prod/a@v1", "--restore", "--json"])["restored"], true);
    assert_eq!(m.ok(&["open", "prod/a@v1"]), first);
    assert_eq!(m.checked("rm", &["rm", "prod/a", "--json"])["versions"], 2);
    assert_eq!(m.checked("ls", &["ls", "--json"])["artifacts"].as_array().unwrap().len(), 0);
    assert_eq!(m.checked("ls", &["ls", "--all", "--json"])["artifacts"][0]["newest"]["unlisted"], true);
    let acts = m.text(&["audit", "tail", "-n", "40"]);
    assert!(acts.contains("artifact.rm ") && acts.contains("artifact.restore "), "{acts}");
}

#[test]
fn sizes_are_those_of_the_content_wherever_they_are_shown() {
    let m = Machine::new();
    m.file("tree/a", 1000);
    m.file("tree/b", 500);
    let sealed = m.checked("version", &["seal", "tree", "--json"]);
    assert_eq!(sealed["size"], 1500);
    assert!(sealed["payload_size"].as_u64().unwrap() > 1500, "members begin at segments of their own");
    assert_eq!(m.checked("ls", &["ls", "--json"])["artifacts"][0]["newest"]["size"], 1500);
    assert!(m.text(&["ls"]).contains("1.5 KiB") && m.text(&["ls", "tree"]).contains("1.5 KiB"));
    assert_eq!(m.checked("inspect", &["inspect", "tree", "--json"])["version"]["size"], 1500);
    assert_eq!(m.checked("open", &["open", "tree", "-o", "out", "--json"])["bytes"], 1500);
}

#[test]
fn the_end_of_a_stream_is_told_with_bytes_and_reason() {
    let m = Machine::new();
    m.file("a.bin", 1234);
    m.ok(&["seal", "a.bin"]);
    m.ok(&["open", "a", "-o", "copy"]);
    let exported = m.json(&["export", "a", "-o", "a.mvlt", "--json"])["bytes"].clone();
    m.ok(&["audit", "export", "-o", "log"]);
    m.ok(&["open", "a.mvlt", "-o", "again"]);
    let text = m.text(&["audit", "tail", "-n", "30"]);
    let line = |act: &str| text.lines().find(|l| l.contains(act)).unwrap_or_else(|| panic!("{act}: {text}")).to_owned();
    assert!(line("artifact.fetch.end").contains("bytes=1234 reason=complete"));
    assert!(line("artifact.export.end").contains(&format!("bytes={exported} reason=complete")));
    let log = m.read("log").len();
    assert!(line("audit.export.end").contains(&format!("bytes={log} reason=complete")));
    assert!(line("artifact.open").contains("default/a@v1"), "a portable file is named in its row");
    let rows = m.checked("audit-tail", &["audit", "tail", "-n", "40", "--json"]);
    let end = |row: &&serde_json::Value| row["record"]["act"] == "artifact.fetch.end";
    let end = rows["rows"].as_array().unwrap().iter().find(end).unwrap();
    assert_eq!(end["record"]["details"], serde_json::json!({ "bytes": "1234", "reason": "complete", "size": "1234" }));
}

#[test]
fn export_and_import_move_sealed_bytes_only() {
    let m = Machine::new();
    let model = m.file("model.onnx", 1_500_000);
    m.ok(&["seal", "model.onnx"]);
    let exported = m.checked("export", &["export", "model", "-o", "m.mvlt", "--json"]);
    let sealed = m.read("m.mvlt");
    assert_eq!(exported["bytes"], sealed.len());
    assert!(sealed.starts_with(b"\x89MVLT"));
    assert!(!sealed.windows(64).any(|w| w == &model[1000..1064]), "no plaintext leaves");
    assert_eq!(m.ok(&["export", "model", "-o", "-"]), sealed);
    assert_eq!(m.ok(&["open", "m.mvlt"]), model, "a key of this vault opens it");
    m.checked("version", &["import", "m.mvlt", "--name", "again", "--json"]);
    assert_eq!(m.ok(&["open", "again"]), model);

    let facts = m.checked("inspect", &["inspect", "m.mvlt", "--json"]);
    assert_eq!((&facts["members"], &facts["root"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    let facts = m.checked("inspect", &["inspect", "model", "--json"]);
    assert_eq!(facts["members"][0]["size"], model.len());

    // Another vault has no key for it.
    let other = Machine::new();
    let path = m.path("m.mvlt").display().to_string();
    other.fails(&["open", &path, "-o", "x"], 3, "NoMatchingSlot");
    other.fails(&["import", &path], 3, "NoMatchingSlot");
}

#[test]
fn verification_reads_every_byte() {
    let m = Machine::new();
    m.file("model.onnx", 2_200_000);
    m.ok(&["seal", "model.onnx"]);
    let good = m.checked("verify", &["verify", "model", "--json"]);
    assert_eq!(good["plaintext"], true);
    let signer = good["signers"][0].as_str().unwrap().to_owned();
    m.ok(&["verify", "model", "--require-signer", &signer[..16]]);
    m.fails(&["verify", "model", "--require-signer", &"0".repeat(16)], 3, "SignatureMissing");

    // One flipped bit in the stored blob.
    let body = find(&m.home().join("blobs"), ".body");
    let mut bytes = fs::read(&body).unwrap();
    bytes[1_100_000] ^= 1;
    fs::set_permissions(&body, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&body, &bytes).unwrap();
    assert_eq!(m.fails(&["verify", "model"], 3, "IndexMismatch")["error"]["details"]["segment"], "1");
    m.fails(&["open", "model", "-o", "x"], 3, "IndexMismatch");
    m.fails(&["open", "model", "-o", "x", "--range", "1048576..1048577"], 3, "IndexMismatch");
    assert_eq!(m.ok(&["open", "model", "--range", "0..10"]).len(), 10, "what is intact can still be read");
}

fn find(dir: &std::path::Path, suffix: &str) -> std::path::PathBuf {
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.display().to_string().ends_with(suffix) {
                return path;
            }
        }
    }
    panic!("no {suffix} in {}", dir.display());
}

#[test]
fn the_vault_tells_about_itself() {
    let m = Machine::new();
    m.file("a", 10);
    m.ok(&["seal", "a"]);
    let status = m.checked("status", &["status", "--json"]);
    assert_eq!((&status["artifacts"], &status["custody"]), (&1.into(), &"key-file".into()));
    assert_eq!(status["serving"], serde_json::Value::Null);
    let doctor = m.checked("doctor", &["doctor", "--json"]);
    assert_eq!(doctor["healthy"], true, "{doctor:#}");
    assert_eq!(m.checked("whoami", &["whoami", "--json"])["issuer"], "local");

    let policy = m.checked("policy", &["policy", "get", "--json"]);
    assert_eq!(policy["version"], 0);
    fs::write(m.path("policy.cedar"), policy["text"].as_str().unwrap()).unwrap();
    assert_eq!(m.checked("policy-set", &["policy", "set", "policy.cedar", "--json"])["version"], 1);
    fs::write(m.path("bad.cedar"), "permit (nobody);").unwrap();
    m.fails(&["policy", "set", "bad.cedar"], 2, "InvalidArgument");

    let tail = m.checked("audit-tail", &["audit", "tail", "-n", "3", "--json"]);
    assert!(tail["rows"].as_array().unwrap().len() >= 3);
    assert!(m.text(&["audit", "tail"]).contains("artifact.seal"));
    let audit = m.checked("audit-verify", &["audit", "verify", "--json"]);
    fs::write(m.path("checkpoint"), audit["checkpoint"].as_str().unwrap()).unwrap();
    m.ok(&["ls"]);
    m.checked("audit-verify", &["audit", "verify", "--checkpoint", "checkpoint", "--json"]);
    let other = Machine::new();
    let foreign = m.path("checkpoint").display().to_string();
    assert_ne!(other.run(&["audit", "verify", "--checkpoint", &foreign]).status.code(), Some(0));
    m.checked("audit-export", &["audit", "export", "-o", "log.jsonl", "--json"]);
    assert!(m.text(&["audit", "export"]).lines().count() > 3);
    assert!(String::from_utf8(m.read("log.jsonl")).unwrap().contains("artifact.seal"));
}

#[test]
fn alert_rules_are_tried_on_made_up_traffic_and_on_the_vaults_own_log() {
    let m = Machine::new();
    m.file("a", 10);
    m.ok(&["seal", "a"]);
    m.ok(&["audit", "export", "-o", "log.jsonl"]);
    let own = m.checked("audit-replay", &["audit", "replay", "log.jsonl", "--json"]);
    assert!(own["events"].as_u64().unwrap() >= 2 && own["detections"] == serde_json::json!([]), "{own:#}");

    m.checked(
        "audit-simulate",
        &["audit", "simulate", "--days", "20", "--attacks", "1", "-o", "trace.jsonl", "--json"],
    );
    let found = m.checked("audit-replay", &["audit", "replay", "trace.jsonl", "--json"]);
    let of = |report: &serde_json::Value, attack: &str| {
        let all = report["detections"].as_array().unwrap().clone();
        all.into_iter().find(|d| d["attack"] == attack).unwrap()["found"].as_u64().unwrap()
    };
    assert_eq!(of(&found, "replay"), 1, "{:#}", found["detections"]);
    assert!(!found["alerts"].as_array().unwrap().is_empty());
    // Rules of one's own: without that rule it is not found.
    fs::write(m.path("alerts.toml"), "[rule.replay]\nenabled = false\n").unwrap();
    m.ok(&["config", "check", "alerts", "alerts.toml"]);
    let less =
        m.checked("audit-replay", &["audit", "replay", "trace.jsonl", "--rules", "alerts.toml", "--summary", "--json"]);
    assert_eq!((of(&less, "replay"), &less["alerts"]), (0, &serde_json::json!([])));
    assert!(m.text(&["audit", "replay", "trace.jsonl", "--summary"]).contains("stolen-credential"));

    fs::write(m.path("alerts.toml"), "[rule.replays]\n").unwrap();
    m.fails(&["audit", "replay", "trace.jsonl", "--rules", "alerts.toml"], 2, "ConfigInvalid");
    fs::write(m.path("bad.jsonl"), "{\"time\":1}\n").unwrap();
    m.fails(&["audit", "replay", "bad.jsonl"], 2, "InvalidArgument");
    m.fails(&["audit", "replay", "none.jsonl"], 6, "NotFound");
}

#[test]
fn what_is_in_quarantine_is_not_opened_until_it_is_released() {
    let m = Machine::new();
    m.file("a", 10);
    m.ok(&["seal", "a"]);
    m.checked("hold", &["quarantine", "artifact", "a", "--reason", "a test", "--for", "1h", "--json"]);
    m.fails(&["open", "a", "-o", "out"], 5, "OnHold");
    let told = m.checked("policy-explain", &["policy", "explain", "operator:local:uid:0", "open", "a", "--json"]);
    assert_eq!(told["allowed"], false);
    assert!(told["outside"][0].as_str().unwrap().contains("in quarantine: a test"), "{told}");
    // A name that nobody has holds nobody.
    m.fails(&["quarantine", "principal", "serve-1", "--kind", "throttle"], 6, "NotFound");
    m.ok(&["workload", "enroll", "serve-1", "-o", "serve-1"]);
    m.checked("hold", &["quarantine", "principal", "serve-1", "--kind", "throttle", "--json"]);
    let held = m.checked("holds", &["quarantine", "ls", "--json"]);
    let names: Vec<_> = held["holds"].as_array().unwrap().iter().map(|h| h["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["default/a", "workload default/serve-1"]);
    assert!(m.text(&["quarantine", "ls"]).contains("a test"));
    assert_eq!(m.checked("release", &["release", "artifact", "a", "--json"])["released"], 1);
    m.ok(&["open", "a", "-o", "out"]);
    m.fails(&["release", "artifact", "a"], 6, "NotFound");
    m.fails(&["quarantine", "artifact", "a@latest"], 2, "InvalidArgument");
    m.fails(&["quarantine", "principal", "x", "--for", "0s"], 2, "InvalidArgument");
    m.ok(&["release", "principal", "workload default/serve-1"]);
}

#[test]
fn doctor_finds_what_is_wrong() {
    let m = Machine::new();
    fs::set_permissions(m.home().join("keyring.bin"), fs::Permissions::from_mode(0o644)).unwrap();
    let out = m.run(&["doctor", "--json"]);
    assert_eq!(out.status.code(), Some(11), "findings");
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    schema("doctor", &found);
    assert_eq!(found["healthy"], false);
    let failed: Vec<_> =
        found["checks"].as_array().unwrap().iter().filter(|c| c["result"] == "fail").map(|c| &c["name"]).collect();
    assert_eq!(failed, ["permissions"]);
    let bare = Machine::bare();
    assert_eq!(bare.run(&["doctor"]).status.code(), Some(11));

    let m = Machine::new();
    m.file("a", 100);
    m.ok(&["seal", "a"]);
    let found = m.checked("doctor", &["doctor", "--json"]);
    assert_eq!(found["healthy"], true, "{found:#}");
    let blobs = fs::read_dir(m.home().join("blobs")).unwrap().map(|dir| dir.unwrap().path());
    let mut files = blobs.flat_map(|dir| fs::read_dir(dir).unwrap()).map(|file| file.unwrap().path());
    fs::remove_file(files.find(|f| f.extension().is_some_and(|e| e == "body")).unwrap()).unwrap();
    let out = m.run(&["doctor"]);
    assert_eq!(out.status.code(), Some(11));
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("the body of default/a@v1 is missing"), "{text}");
}

#[test]
fn contexts_choose_the_vault() {
    let m = Machine::new();
    m.file("a", 10);
    m.ok(&["seal", "a"]);
    let config = m.home().parent().unwrap().join(".config/modelvault/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(&config, format!("context = \"here\"\n[contexts.here]\nhome = {:?}\n", m.home())).unwrap();
    let listed = m.command(&["ls", "--json"]).env_remove("MODELVAULT_HOME").output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("\"a\""));
    m.fails(&["ls", "--context", "there"], 2, "InvalidArgument");
    m.fails(&["ls", "--context", "here", "--home", "x"], 2, "InvalidArgument");
    fs::write(&config, "contxt = 1\n").unwrap();
    // A home that is named makes the file irrelevant; one that is looked up does not.
    m.ok(&["ls"]);
    m.fails(&["ls", "--context", "here"], 2, "ConfigInvalid");
}

#[test]
fn pages_scripts_and_help_are_made_from_the_grammar() {
    let m = Machine::bare();
    for shell in ["bash", "zsh", "fish"] {
        assert!(m.text(&["completions", shell]).contains("vault"), "{shell}");
    }
    assert!(m.text(&["man"]).contains(".TH"));
    let pages = m.checked("man", &["man", "-o", "pages", "--json"]);
    assert!(pages["pages"].as_array().unwrap().iter().any(|p| p == "vault-seal.1"), "{pages}");
    assert!(m.text(&["help", "environment"]).contains("MODELVAULT_KEY_FILE"));
    assert!(m.text(&["help", "exit-codes"]).contains("UnwrapFailed"));
    assert!(m.text(&["help", "workload", "enroll"]).contains("Usage: vault workload enroll"));
    m.fails(&["help", "nonsense"], 2, "InvalidArgument");
}

#[test]
fn the_binary_answers_by_the_name_it_was_called() {
    let m = Machine::bare();
    let link = m.path("modelvault");
    std::os::unix::fs::symlink(super::support::VAULT, &link).unwrap();
    let help = std::process::Command::new(link).arg("--help").output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("Usage: modelvault "));
}
