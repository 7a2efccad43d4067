//! Portable sealed files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::support::{Daemon, Machine, failed};

const PASSPHRASE: [&str; 2] = ["--passphrase-file", "pw"];

fn with_passphrase(m: &Machine) {
    fs::write(m.path("pw"), "correct horse\n").unwrap();
}

fn args<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &PASSPHRASE].concat()
}

#[test]
fn a_passphrase_needs_no_vault() {
    let m = Machine::bare();
    with_passphrase(&m);
    let model = m.file("model.onnx", 2_600_000);
    let sealed = m.checked("portable", &args(&["seal", "model.onnx", "-o", "m.mvlt", "--to", "passphrase", "--json"]));
    assert_eq!(sealed["opened_by"], "passphrase");
    assert!(!m.home().exists(), "no vault is made");
    assert_eq!(m.ok(&args(&["open", "m.mvlt"])), model);
    m.ok(&args(&["open", "m.mvlt", "-o", "out"]));
    assert_eq!(m.read("out"), model);
    assert_eq!(
        m.ok(&["open", "m.mvlt", "--passphrase-command", "cat pw", "--range", "1048576..1048580"]),
        model[1_048_576..1_048_580]
    );
    assert_eq!(m.checked("verify", &args(&["verify", "m.mvlt", "--json"]))["root"], sealed["root"]);
    let keyless = m.checked("verify", &["verify", "m.mvlt", "--keyless", "--json"]);
    assert_eq!((&keyless["root"], &keyless["plaintext"]), (&sealed["root"], &false.into()));
    let facts = m.checked("inspect", &args(&["inspect", "m.mvlt", "--json"]));
    assert_eq!(facts["members"][0]["path"], "model.onnx");
    assert_eq!(m.names(""), ["m.mvlt", "model.onnx", "out", "pw"]);
}

#[test]
fn wrong_credentials_and_damage_are_told_apart_as_far_as_they_may_be() {
    let m = Machine::bare();
    with_passphrase(&m);
    m.file("model.onnx", 1_300_000);
    m.ok(&args(&["seal", "model.onnx", "-o", "m.mvlt", "--to", "passphrase"]));
    fs::write(m.path("wrong"), "incorrect horse").unwrap();
    m.fails(&["open", "m.mvlt", "-o", "x", "--passphrase-file", "wrong"], 4, "UnwrapFailed");
    m.fails(&["open", "m.mvlt", "-o", "x"], 4, "NoCredential");
    m.fails(&["open", "m.mvlt", "-o", "x", "--passphrase-file", "none"], 4, "NoCredential");
    m.fails(&["open", "model.onnx", "-o", "x"], 2, "NotSealed");

    let good = m.read("m.mvlt");
    let damaged = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(m.path(name), bytes).unwrap();
    };
    damaged("slot.mvlt", &|b| b[200] ^= 1);
    m.fails(&args(&["open", "slot.mvlt", "-o", "x"]), 4, "UnwrapFailed");
    damaged("header.mvlt", &|b| b[8180] ^= 1);
    m.fails(&args(&["open", "header.mvlt", "-o", "x"]), 3, "HeaderAuthFailed");
    damaged("payload.mvlt", &|b| b[8192 + 1_200_000] ^= 1);
    m.fails(&args(&["open", "payload.mvlt", "-o", "x"]), 3, "IndexMismatch");
    m.fails(&["verify", "payload.mvlt", "--keyless"], 3, "IndexMismatch");
    damaged("cut.mvlt", &|b| b.truncate(b.len() - 1));
    m.fails(&args(&["open", "cut.mvlt", "-o", "x"]), 3, "Truncated");
    damaged("long.mvlt", &|b| b.push(0));
    m.fails(&args(&["open", "long.mvlt", "-o", "x"]), 3, "Truncated");
    damaged("version.mvlt", &|b| b[9] = 2);
    m.fails(&args(&["open", "version.mvlt", "-o", "x"]), 2, "UnsupportedVersion");
    m.fails(&["inspect", "cut.mvlt"], 3, "Truncated");
}

#[test]
fn a_key_of_the_vault_is_the_default() {
    let m = Machine::new();
    let model = m.file("model.onnx", 1_300_000);
    let sealed = m.checked("portable", &["seal", "model.onnx", "-o", "m.mvlt", "--json"]);
    assert_eq!(sealed["opened_by"], "vault-key");
    assert_eq!(m.ok(&["open", "m.mvlt"]), model);
    m.ok(&["verify", "m.mvlt"]);
    let signer = m.json(&["status", "--json"])["signer"].as_str().unwrap().to_owned();
    let verified = m.checked("verify", &["verify", "m.mvlt", "--require-signer", &signer, "--json"]);
    assert_eq!(verified["signers"][0], signer);
    m.checked("version", &["import", "m.mvlt", "--name", "taken-in", "--json"]);
    assert_eq!(m.ok(&["open", "taken-in"]), model);

    let other = Machine::bare();
    let path = m.path("m.mvlt").display().to_string();
    other.fails(&["open", &path, "-o", "x"], 4, "NoCredential");
    other.ok(&["verify", &path, "--keyless"]);
}

#[test]
fn a_publisher_signs_with_a_key_of_their_own() {
    let m = Machine::new();
    with_passphrase(&m);
    m.file("model.onnx", 5000);
    // RFC 8410, section 10.3.
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    fs::write(m.path("key.pem"), pem).unwrap();
    fs::set_permissions(m.path("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(m.path("pub.pem"), public).unwrap();
    m.fails(&["seal", "model.onnx", "--sign-key", "key.pem"], 4, "BadCredential");
    fs::set_permissions(m.path("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();

    m.ok(&args(&["seal", "model.onnx", "-o", "m.mvlt", "--to", "passphrase", "--sign-key", "key.pem"]));
    let verified = m.checked("verify", &args(&["verify", "m.mvlt", "--signer-key", "pub.pem", "--json"]));
    assert_eq!(verified["signers"].as_array().unwrap().len(), 1);
    m.ok(&["verify", "m.mvlt", "--keyless", "--signer-key", "pub.pem"]);

    m.fails(&["seal", "model.onnx", "--sign-key", "key.pem"], 5, "Denied");
    m.checked("keys", &["key", "trust", "publisher", "--key", "pub.pem", "--json"]);
    let published = m.checked("version", &["seal", "model.onnx", "--sign-key", "key.pem", "--json"]);
    assert_eq!(published["signer"], verified["signers"][0]);
    // Through a daemon the same: it is sent signatures, never the key.
    let daemon = Daemon::start(&m, &[]);
    let model = m.read("model.onnx");
    let sealed = m.checked("version", &["seal", "model.onnx", "--tag", "prod", "--sign-key", "key.pem", "--json"]);
    assert_eq!((&sealed["signer"], &sealed["version"]), (&verified["signers"][0], &2.into()));
    // On this machine the vault is trusted to name its publishers; who names one takes no other.
    m.ok(&["fetch", "model@prod", "-o", "by-the-vaults-word"]);
    m.ok(&["open", "model@prod", "-o", "opened-by-the-vaults-word"]);
    m.ok(&["fetch", "model@prod", "-o", "fetched", "--signer-key", "pub.pem"]);
    assert_eq!(m.read("fetched/model.onnx"), model);
    m.ok(&["export", "model@prod", "-o", "exported.mvlt"]);
    assert_eq!(daemon.stop(), Some(0));
    m.ok(&["verify", "exported.mvlt", "--keyless", "--signer-key", "pub.pem"]);
    m.ok(&["seal", "model.onnx", "-o", "vaults.mvlt"]);
    m.fails(&["verify", "vaults.mvlt", "--signer-key", "pub.pem"], 3, "SignatureMissing");
    m.fails(&["verify", "vaults.mvlt", "--require-signer", &"0".repeat(64)], 2, "InvalidArgument");
}

#[test]
fn inputs_are_never_overwritten_and_outputs_appear_whole() {
    let m = Machine::bare();
    with_passphrase(&m);
    let model = m.file("tree/model.onnx", 100_000);
    let seal = |words: &[&str]| m.fails(&args(&[words, &["--to", "passphrase"]].concat()), 2, "InvalidArgument");
    seal(&["seal", "tree/model.onnx", "-o", "tree/model.onnx"]);
    seal(&["seal", "tree", "-o", "tree/out.mvlt"]);
    seal(&["seal", "tree", "-o", "-"]);
    seal(&["seal", "tree", "-o", "tree"]);
    fs::hard_link(m.path("tree/model.onnx"), m.path("same")).unwrap();
    seal(&["seal", "tree/model.onnx", "-o", "same"]);
    assert_eq!(m.read("tree/model.onnx"), model);

    m.ok(&args(&["seal", "tree/model.onnx", "-o", "m.mvlt", "--to", "passphrase"]));
    let sealed = m.read("m.mvlt");
    m.fails(&args(&["open", "m.mvlt", "-o", "m.mvlt"]), 2, "InvalidArgument");
    assert_eq!(m.read("m.mvlt"), sealed);

    // What is there is not replaced, and a failed command leaves nothing under the name.
    let mut damaged = sealed.clone();
    damaged[9000] ^= 1;
    fs::write(m.path("damaged.mvlt"), damaged).unwrap();
    fs::write(m.path("kept"), "old").unwrap();
    for command in [&["open", "m.mvlt", "-o", "kept"][..], &["seal", "tree", "-o", "kept", "--to", "passphrase"]] {
        m.fails(&args(command), 9, "AlreadyExists");
    }
    assert_eq!(m.read("kept"), b"old");
    m.fails(&args(&["open", "damaged.mvlt", "-o", "new"]), 3, "IndexMismatch");
    // An empty file is a place that was made ready, as by mktemp.
    fs::write(m.path("new"), "").unwrap();
    m.ok(&args(&["open", "m.mvlt", "-o", "new"]));
    assert_eq!(m.read("new"), model);
    m.ok(&args(&["open", "m.mvlt", "-o", "/dev/null"]));
}

#[test]
fn what_a_sealed_file_cannot_hold_is_refused_before_anything_is_written() {
    let m = Machine::bare();
    with_passphrase(&m);
    m.file("tree/README", 5);
    let seal = || {
        let mut command = m.command(&args(&["seal", "tree", "-o", "t.mvlt", "--to", "passphrase"]));
        command.env_remove("MODELVAULT_KEY_FILE");
        command
    };
    let refused = || failed(seal, &m.work(), 2, "InvalidArgument");
    m.file("tree/readme", 5);
    assert!(refused()["error"]["message"].as_str().unwrap().contains("one and the same"));
    fs::remove_file(m.path("tree/readme")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", m.path("tree/link")).unwrap();
    assert!(refused()["error"]["message"].as_str().unwrap().contains("is a link"));
    fs::remove_file(m.path("tree/link")).unwrap();
    let fifo = Command::new("mkfifo").arg(m.path("tree/pipe")).status().unwrap();
    assert!(fifo.success());
    refused();
    fs::remove_file(m.path("tree/pipe")).unwrap();
    fs::write(m.path("tree/back\\slash"), "").unwrap();
    refused();
    fs::remove_file(m.path("tree/back\\slash")).unwrap();
    assert!(seal().status().unwrap().success());
}

#[test]
fn the_published_vectors_open() {
    let m = Machine::bare();
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/mvlt");
    for name in ["v01-empty", "v06-passphrase", "v09-multi-member"] {
        m.checked("inspect", &["inspect", &format!("{dir}/{name}.mvlt"), "--json"]);
        m.checked("verify", &["verify", "--keyless", &format!("{dir}/{name}.mvlt"), "--json"]);
    }
    let vectors: serde_json::Value = serde_json::from_slice(&fs::read(format!("{dir}/vectors.json")).unwrap()).unwrap();
    fs::write(m.path("pw"), vectors["credentials"]["passphrase"]["passphrase"].as_str().unwrap()).unwrap();
    m.ok(&args(&["verify", &format!("{dir}/v06-passphrase.mvlt")]));
}
