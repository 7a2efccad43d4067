//! The first command of the README keeps its promises, and its transcript is a contract.

use std::path::{Path, PathBuf};

use crate::support::Machine;

fn transcript_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/quickstart.txt")
}

#[test]
fn the_story_ends_well_again_and_again_and_leaves_nothing_behind() {
    let machine = Machine::bare();
    let told = machine.checked("quickstart", &["quickstart", "--json"]);
    let refused: Vec<_> = told["steps"].as_array().unwrap().iter().filter_map(|s| s["refused"].as_str()).collect();
    assert_eq!(refused, ["NoCredential", "NotFound", "NotFound", "Denied", "AuditBroken", "IndexMismatch"]);
    assert!(told["model_bytes"].as_u64().unwrap() > 1_000_000);
    assert_eq!(told["kept"], serde_json::Value::Null);
    assert_eq!(machine.names(machine.path("")), [""; 0]);
    machine.checked("quickstart", &["quickstart", "--json"]);
}

/// The README tells the story with the commands that were just run, and leaves none out.
#[test]
fn the_readme_has_every_command_of_the_story_in_its_order() {
    let machine = Machine::bare();
    let told = machine.checked("quickstart", &["quickstart", "--json"]);
    let steps = told["steps"].as_array().unwrap().iter();
    let played = steps.map(|step| (step["command"].as_str().unwrap(), step["refused"].as_str().unwrap_or_default()));
    // Being a stranger is done in process.
    let played: Vec<_> =
        played.filter(|(c, _)| c.starts_with("vault ")).map(|(c, r)| (typed(c), r.to_owned())).collect();

    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let (_, story) = readme.split_once("## One serving workload, one training job, one auditor\n").unwrap();
    let (story, _) = story.split_once("\n## ").unwrap();
    let lines = story.lines().filter_map(|line| line.strip_prefix("    "));
    let written = lines.map(|line| line.split_once("  #").unwrap_or((line, "")));
    let refusal = |comment: &str| comment.trim().strip_prefix("refused: ").unwrap_or_default().to_owned();
    let written: Vec<_> = written.map(|(command, comment)| (typed(command), refusal(comment))).collect();
    assert_eq!(written, played);
}

/// A command without what differs from run to run.
fn typed(command: &str) -> String {
    let (mut out, mut before) = (Vec::new(), "");
    for word in command.split_whitespace() {
        out.push(match before {
            "--key" => "KEY",
            "prove" => "ROW",
            _ if word.starts_with("127.0.0.1:") => "127.0.0.1:PORT",
            _ => word,
        });
        before = word;
    }
    out.join(" ")
}

/// The auditor sees who tried, and the proof is of that very refusal.
#[test]
fn the_denied_attempt_is_what_the_auditor_takes_home() {
    let machine = Machine::bare();
    machine.ok(&["quickstart", "--keep", "kept"]);
    let proof = std::fs::read_to_string(machine.path("kept/proof.json")).unwrap();
    let told = machine.json(&["audit", "verify", "--proof", "kept/proof.json", "--json"]);
    assert_eq!(told["record"]["actor"]["subject"], "repo:acme/train", "{proof}");
    assert_eq!(told["record"]["decision"]["deny"], "Denied");
    assert_eq!(told["record"]["object"]["name"], "digits");
    // The session of the auditor is none of ours: tokens and keys are readable by their owner alone.
    for secret in ["kept/eve.jwt", "kept/job.jwt"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(machine.path(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
}

#[test]
fn a_model_of_ones_own_is_played_and_kept() {
    let machine = Machine::bare();
    machine.file("my models/a.bin", 3_000_000);
    machine.file("my models/sub/b.bin", 10);
    machine.ok(&["quickstart", "my models", "--keep", "kept"]);
    let kept = machine.path("kept").join("home").display().to_string();
    // The kept vault remembers where its key file lies.
    let listed = machine.command(&["ls", "--home", &kept]).env_remove("MODELVAULT_KEY_FILE").output().unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().contains("default/my-models"));
    machine.fails(&["quickstart", "--keep", "kept"], 9, "AlreadyExists");
    machine.fails(&["quickstart", "no-such-model"], 6, "NotFound");
}

#[test]
fn the_transcript_is_the_checked_in_contract() {
    let machine = Machine::bare();
    let told = normalized(&machine.text(&["quickstart"]));
    if std::env::var_os("MODELVAULT_REWRITE").is_some() {
        std::fs::write(transcript_file(), &told).unwrap();
    }
    let expected = std::fs::read_to_string(transcript_file()).unwrap();
    assert_eq!(told, expected, "rewrite with MODELVAULT_REWRITE=1");
}

/// Without what differs from run to run: the directory, ids, keys, ports, process ids, times, and how many checkpoints and
/// which last rows the seconds brought.
fn normalized(text: &str) -> String {
    let dir = text.split_whitespace().find(|w| w.contains(".modelvault-quickstart.")).unwrap().to_owned();
    let mut out = String::new();
    let (mut counting, mut rows) = (false, false);
    for line in text.replace(&dir, "DIR").lines() {
        let prompt = line.contains("$ vault ");
        counting = if prompt { line.contains(" audit verify") } else { counting && !line.is_empty() };
        rows = if prompt { line.contains(" audit tail ") } else { rows && !line.is_empty() };
        if rows && line.contains("  20") {
            continue;
        }
        // The rows decide how wide the columns are.
        if rows && line.contains("ROW") {
            out += &(line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n");
            continue;
        }
        // Of one record: who and what is looked at by another test.
        if counting && line.starts_with("   | record  {") {
            out += "   | record  JSON\n";
            continue;
        }
        let numbers = counting || line.contains(" audit prove ");
        let words = line.split(' ').map(|w| if numbers && is_number(w) { "N".into() } else { word(w) });
        out += &(words.collect::<Vec<_>>().join(" ") + "\n");
    }
    out
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

fn word(word: &str) -> String {
    // A key set, within quotes.
    if let Some((before, x)) = word.split_once(r#""x":""#) {
        let (_, after) = x.split_once('"').unwrap();
        return format!(r#"{before}"x":"BASE64"{after}"#);
    }
    if let Some((before, port)) = word.split_once("127.0.0.1:") {
        return format!("{before}127.0.0.1:PORT{}", port.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    // The log's key: NAME+HASH+KEY.
    if word.contains("/audit+") {
        return "KEY".into();
    }
    if is_number(word) && word.len() < 7 && word.len() > 2 {
        return "PID".into();
    }
    if word.starts_with("20") && word.ends_with('Z') && word.contains('T') {
        return "TIME".into();
    }
    let in_base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    if word.len() >= 40 && word.bytes().all(in_base64) && !word.bytes().all(|b| b.is_ascii_hexdigit()) {
        return "BASE64".into();
    }
    let (mut out, mut run) = (String::new(), String::new());
    for c in word.chars().chain([' ']) {
        if c.is_ascii_hexdigit() && !c.is_ascii_uppercase() {
            run.push(c);
            continue;
        }
        // Two digits of an id name the blob's folder.
        out += if run.len() >= 16 {
            "HEX"
        } else if run.len() == 2 && out.ends_with('/') && word.contains("blobs/") {
            "XX"
        } else {
            &run
        };
        run.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}
