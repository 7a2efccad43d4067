//! What must hold after any fault, and the commands it is asked of.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::Machine;

/// Bytes that are in no file but where the user put them.
pub const CANARY: &[u8] = b"canary: these bytes are plaintext and lie nowhere else";

/// A command, and how to see that it took effect.
pub struct Act {
    pub args: &'static [&'static str],
    pub done: fn(&Machine) -> bool,
    /// Exit statuses of the same command once more, besides 0: it may find that it was done already.
    pub again: &'static [i32],
}

pub const ACTS: [Act; 11] = [
    Act { args: &["seal", "new.bin", "--tag", "prod", "--json"], done: |m| version(m, "new").is_some(), again: &[] },
    Act { args: &["seal", "tree", "--json"], done: |m| version(m, "tree").is_some(), again: &[] },
    Act {
        args: &["import", "kept.mvlt", "--name", "taken", "--json"],
        done: |m| version(m, "taken").is_some(),
        again: &[],
    },
    Act { args: &["tag", "kept@v1", "gold", "--json"], done: |m| has_tag(m, "kept", "gold"), again: &[] },
    Act { args: &["rm", "other", "--json"], done: |m| version(m, "other").is_none(), again: &[6] },
    Act { args: &["grant", "worker", "kept", "--json"], done: |m| granted(m, "kept"), again: &[9] },
    Act { args: &["grant", "worker", "other", "--revoke", "--json"], done: |m| !granted(m, "other"), again: &[6] },
    Act { args: &["workload", "enroll", "fresh", "-o", "fresh", "--json"], done: enrolled, again: &[9] },
    Act { args: &["workload", "revoke", "worker", "--json"], done: |m| !works(m, "worker"), again: &[6] },
    Act { args: &["policy", "set", "policy.cedar", "--json"], done: policy_is_set, again: &[] },
    // A namespace of its own: the keyring is written.
    Act {
        args: &["seal", "tree/a", "--name", "vault://team/a", "--json"],
        done: |m| version(m, "a").is_some(),
        again: &[],
    },
];

/// A machine on which all of [`ACTS`] make sense, with versions, a workload, grants, and a checkpoint kept elsewhere.
pub fn machine() -> Machine {
    let m = Machine::new();
    for (name, len) in [("kept.bin", 70_000), ("other.bin", 10), ("new.bin", 1_500_000), ("tree/a", 5), ("tree/b", 0)] {
        let mut bytes = m.file(name, len);
        let at = bytes.len().min(100);
        bytes.splice(at..at, CANARY.iter().copied());
        std::fs::write(m.path(name), &bytes).unwrap();
    }
    m.ok(&["seal", "kept.bin"]);
    m.ok(&["seal", "other.bin"]);
    m.ok(&["export", "kept", "-o", "kept.mvlt"]);
    m.ok(&["workload", "enroll", "worker", "-o", "worker"]);
    m.ok(&["grant", "worker", "other"]);
    let policy = m.json(&["policy", "get", "--json"]);
    std::fs::write(m.path("policy.cedar"), policy["text"].as_str().unwrap()).unwrap();
    let audit = m.json(&["audit", "verify", "--json"]);
    std::fs::write(m.path("checkpoint"), audit["checkpoint"].as_str().unwrap()).unwrap();
    m
}

/// Everything that was acknowledged before is there and whole, nothing is half there, nothing is left over, and the command
/// works when it is repeated.
pub fn holds(m: &Machine, act: &Act, acknowledged: bool, at: &str) {
    for intact in [&["audit", "verify", "--checkpoint", "checkpoint"][..], &["doctor"], &["verify", "kept"]] {
        let out = m.run(intact);
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{at}: {intact:?}: {stdout}{stderr}");
    }
    for version in listed(m).iter().filter(|v| v["name"] != "kept" && v["name"] != "other") {
        let name = format!("vault://{}/{}", version["namespace"].as_str().unwrap(), version["name"].as_str().unwrap());
        let out = m.run(&["verify", &name]);
        assert!(out.status.success(), "{at}: {name} is listed but: {}", String::from_utf8_lossy(&out.stderr));
    }
    assert!(!acknowledged || (act.done)(m), "{at}: acknowledged, and lost");
    nothing_left(m, at);
    let again = m.run(&act.args[..act.args.len() - 1]);
    let code = again.status.code().unwrap();
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(code == 0 || act.again.contains(&code), "{at}: repeated: {}: {stderr}", again.status);
    if code == 9 && act.args[0] == "workload" {
        // Enrolled, but the certificate died with the process: the hint says how to begin anew.
        assert!(stderr.contains("revoke"), "{at}: {stderr}");
        m.ok(&["workload", "revoke", act.args[2]]);
        m.ok(act.args);
    }
    assert!((act.done)(m), "{at}: repeated, without effect");
}

/// No temporary file of the product in the home, no blob without a version, no plaintext.
pub fn nothing_left(m: &Machine, at: &str) {
    let files = files_below(&m.home());
    let mut blobs = 0;
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let blob = name.ends_with(".body") || name.contains(".header.");
        blobs += usize::from(blob);
        let known = ["vault.toml", "keyring.bin", "catalogue.db", "keys.db", "lock", "watch.snapshot"].contains(&name);
        assert!(known || (blob && !name.starts_with('.')), "{at}: {} is left over", file.display());
        let bytes = std::fs::read(file).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|w| w == CANARY), "{at}: plaintext in {}", file.display());
    }
    let listed = newest(m, &["ls", "--all", "--json"]);
    let versions: u64 = listed.iter().map(|v| v["version"].as_u64().unwrap()).sum();
    // One body and one header each. Numbers may be skipped, so there may be fewer versions than the highest numbers say.
    assert!(blobs % 2 == 0 && blobs as u64 <= 2 * versions, "{at}: {blobs} blobs for {versions} versions");
}

pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The newest version of each artifact.
fn newest(m: &Machine, ls: &[&str]) -> Vec<Value> {
    m.json(ls)["artifacts"].as_array().unwrap().iter().map(|a| a["newest"].clone()).collect()
}

fn listed(m: &Machine) -> Vec<Value> {
    newest(m, &["ls", "--json"])
}

pub fn version(m: &Machine, name: &str) -> Option<Value> {
    listed(m).into_iter().find(|v| v["name"] == name)
}

fn has_tag(m: &Machine, name: &str, tag: &str) -> bool {
    version(m, name).is_some_and(|v| v["tags"].as_array().unwrap().iter().any(|t| t == tag))
}

fn workload(m: &Machine, name: &str) -> Option<Value> {
    let listing = m.json(&["workload", "ls", "--json"]);
    listing["workloads"].as_array().unwrap().iter().find(|w| w["name"] == name).cloned()
}

fn granted(m: &Machine, artifact: &str) -> bool {
    let grants = workload(m, "worker").unwrap()["grants"].clone();
    grants.as_array().unwrap().iter().any(|g| *g == format!("default/{artifact}"))
}

fn works(m: &Machine, name: &str) -> bool {
    workload(m, name).is_some_and(|w| w["revoked"] == false)
}

fn enrolled(m: &Machine) -> bool {
    let files = ["client.key", "client.crt", "ca.crt", "trust.json"];
    works(m, "fresh") && files.iter().all(|f| m.path("fresh").join(f).is_file())
}

fn policy_is_set(m: &Machine) -> bool {
    m.json(&["policy", "get", "--json"])["version"].as_u64().unwrap() > 0
}
