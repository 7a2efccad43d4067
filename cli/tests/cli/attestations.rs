//! Statements about versions, and versions that are signed, as the command line shows them.

use std::fs;
use std::process::Command;

use super::support::{Daemon, Machine, schema};

/// A vault with a model of two files as `m`, and the keys of people it trusts: `NAME.pem`, `NAME.pub`.
fn with_keys(trusted: &[&str], others: &[&str]) -> Machine {
    let m = Machine::new();
    m.file("m/weights", 3_000_000);
    m.file("m/config.json", 20);
    for name in trusted.iter().chain(others) {
        let made = Command::new("sh")
            .current_dir(m.work())
            .args(["-ec", "umask 077; openssl ecparam -genkey -name prime256v1 -noout -out $0.pem; openssl pkey -in $0.pem -pubout -out $0.pub"])
            .arg(name)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    for name in trusted {
        m.ok(&["key", "trust", name, "--key", &format!("{name}.pub")]);
    }
    m
}

#[test]
fn what_people_say_of_a_version_is_kept_shown_and_checked_also_through_a_daemon() {
    let m = with_keys(&["red-team", "ci"], &["stranger"]);
    m.ok(&["seal", "m"]);
    fs::write(m.path("eval.json"), r#"{"attack_success_rate": 0.01}"#).unwrap();
    fs::write(m.path("card.md"), "# A model\n").unwrap();
    fs::write(m.path("bom.json"), r#"{"bomFormat": "CycloneDX", "specVersion": "1.6"}"#).unwrap();
    let evaluation = ["--type", "evaluation", "--predicate", "eval.json", "--key"];
    fn add<'a>(rest: &[&'a str]) -> Vec<&'a str> {
        [&["attest", "add", "m@v1"], rest].concat()
    }
    m.fails(&add(&[&evaluation[..], &["stranger.pem"]].concat()), 3, "SignatureMissing");
    m.fails(&["attest", "verify", "m"], 3, "SignatureMissing");
    let added = m.checked("attestations", &add(&[&evaluation[..], &["red-team.pem", "--json"]].concat()));
    assert_eq!(added["attestations"][0]["signer"], "red-team");
    let daemon = Daemon::start(&m, &["--listen", "127.0.0.1:0"]);
    let text = m.text(&add(&["--type", "model-card", "--predicate", "card.md", "--key", "ci.pem"]));
    assert!(text.contains("attached   model-card") && text.contains("default/m@v1"), "{text}");
    m.ok(&add(&["--type", "cyclonedx", "--predicate", "bom.json", "--key", "ci.pem"]));
    m.fails(&add(&["--type", "cyclonedx", "--predicate", "eval.json", "--key", "ci.pem"]), 2, "InvalidArgument");
    m.fails(&add(&["--type", "evaluation", "--predicate", "card.md", "--key", "ci.pem"]), 2, "InvalidArgument");
    let listed = m.checked("attestations", &["attest", "ls", "m", "--json"]);
    assert_eq!(listed["attestations"].as_array().unwrap().len(), 3);
    m.ok(&["attest", "verify", "m"]);
    m.ok(&["attest", "verify", "m", "--type", "evaluation", "--signer", "red-team"]);
    m.fails(&["attest", "verify", "m", "--type", "evaluation", "--signer", "ci"], 3, "SignatureMissing");
    m.checked("attestations", &["attest", "verify", "m", "--type", "evaluation", "--key", "red-team.pub", "--json"]);
    m.fails(&["attest", "verify", "m", "--type", "evaluation", "--key", "stranger.pub"], 3, "SignatureMissing");

    // They go out as they came, and into another vault that trusts the signers: there they are about nothing.
    m.ok(&["attest", "ls", "m", "-o", "claims.jsonl"]);
    assert_eq!(String::from_utf8(m.read("claims.jsonl")).unwrap().lines().count(), 3);
    m.ok(&["seal", "m"]);
    m.fails(&["attest", "add", "m@v2", "--bundle", "claims.jsonl"], 2, "InvalidArgument");
    m.fails(&["attest", "add", "m@v1", "--bundle", "claims.jsonl"], 9, "AlreadyExists");
    m.fails(&["attest", "add", "m", "--bundle", "card.md"], 3, "BundleMalformed");
    assert_eq!(daemon.stop(), Some(0));

    m.ok(&["key", "untrust", "red-team"]);
    let out = m.run(&["attest", "verify", "m@v1", "--type", "evaluation", "--json"]);
    assert_eq!(out.status.code(), Some(3));
    schema("attestations", &serde_json::from_slice(&out.stdout).unwrap());
    let text = m.text(&["attest", "ls", "m@v1"]);
    assert!(text.contains("model-card") && text.contains("red-team is not trusted any more"), "{text}");
}

#[test]
fn a_tag_that_two_people_guard_moves_when_both_approve() {
    let m = with_keys(&["alice", "bob"], &[]);
    m.ok(&["seal", "m"]);
    let policy = m.text(&["policy", "get"]);
    let guard = r#"
@id("two-for-prod")
forbid (principal, action == ModelVault::Action::"tag", resource)
when { context.tag == "prod" }
unless {
  context.statements.contains({type: "https://modelvault.example/approval/v1/prod", signer: "alice"}) &&
  context.statements.contains({type: "https://modelvault.example/approval/v1/prod", signer: "bob"})
};"#;
    fs::write(m.path("policy.cedar"), policy + guard).unwrap();
    m.ok(&["policy", "set", "policy.cedar"]);
    m.ok(&["tag", "m@v1", "candidate"]);
    m.fails(&["tag", "m@v1", "prod"], 5, "Denied");
    m.ok(&["attest", "add", "m@v1", "--type", "approval.prod", "--key", "alice.pem"]);
    m.fails(&["tag", "m@v1", "prod"], 5, "Denied");
    // An approval for another tag is none.
    m.ok(&["attest", "add", "m@v1", "--type", "approval.stage", "--key", "bob.pem"]);
    m.fails(&["tag", "m@v1", "prod"], 5, "Denied");
    m.ok(&["attest", "add", "m@v1", "--type", "approval.prod", "--key", "bob.pem"]);
    m.ok(&["tag", "m@v1", "prod"]);
    m.ok(&["seal", "m"]);
    m.fails(&["tag", "m@v2", "prod"], 5, "Denied");
    // Sealing moves the tags it names: that is no way around.
    m.fails(&["seal", "m", "--tag", "prod"], 5, "Denied");
    m.fails(&["seal", "m", "--name", "m@prod"], 5, "Denied");
}

#[test]
fn a_version_is_signed_without_its_payload_and_verifies_where_it_is_fetched() {
    let m = with_keys(&["alice"], &[]);
    m.ok(&["seal", "m"]);
    // Whoever reads a byte of the payload now gets an error.
    let blobs = m.home().join("blobs");
    let mut bodies = Vec::new();
    for dir in fs::read_dir(blobs).unwrap() {
        for file in fs::read_dir(dir.unwrap().path()).unwrap() {
            bodies.extend(Some(file.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "body")));
        }
    }
    let sound = fs::read(&bodies[0]).unwrap();
    let mut damaged = sound.clone();
    damaged[..3_000_000].fill(0);
    fs::write(&bodies[0], damaged).unwrap();
    m.checked("sign-version", &["sign", "m@v1", "--key", "alice.pem", "--json"]);
    m.checked(
        "sign-version",
        &["sign", "m@v1", "--key", "alice.pem", "--hash", "blake3", "--signature", "b3.sig", "--json"],
    );
    m.fails(&["open", "m", "-o", "out"], 3, "IndexMismatch");
    fs::write(&bodies[0], sound).unwrap();
    m.ok(&["open", "m", "-o", "out"]);
    m.ok(&["attest", "ls", "m", "-o", "out/model.sig"]);
    m.ok(&["verify", "./out", "--key", "alice.pub"]);
    m.ok(&["verify", "./out", "--key", "alice.pub", "--signature", "b3.sig", "--ignore-unsigned-files"]);
    for of_files in [&["--method", "shards"][..], &["--ignore", "x"], &["--allow-symlinks"]] {
        m.fails(&[&["sign", "m@v1", "--key", "alice.pem"], of_files].concat(), 2, "InvalidArgument");
    }
    let error = m.fails(&["sign", "out", "--key", "alice.pem"], 6, "NotFound");
    assert!(error["error"]["hint"].as_str().unwrap().contains("./out"), "{error}");
    m.ok(&["seal", "m", "--name", "small", "--digest", "blake3"]);
    m.fails(&["sign", "small", "--key", "alice.pem"], 2, "InvalidArgument");
    m.ok(&["sign", "small", "--key", "alice.pem", "--hash", "blake3"]);
}

#[test]
fn a_signed_model_is_sealed_only_as_it_was_signed_also_through_a_daemon() {
    let m = with_keys(&["alice"], &["stranger"]);
    m.ok(&["sign", "./m", "--key", "alice.pem"]);
    let signature = m.read("m/model.sig");
    let daemon = Daemon::start(&m, &["--listen", "127.0.0.1:0"]);
    m.ok(&["seal", "m"]);
    assert_eq!(m.json(&["attest", "ls", "m", "--json"])["attestations"][0]["signer"], "alice");
    m.ok(&["open", "m", "-o", "out"]);
    assert_eq!(m.read("out/model.sig"), signature, "it comes out as it went in");
    m.ok(&["verify", "./out", "--key", "alice.pub"]);
    fs::write(m.path("m/config.json"), "{}").unwrap();
    let error = m.fails(&["seal", "m"], 3, "ModelChanged");
    assert!(error["error"]["message"].as_str().unwrap().contains("config.json"), "the file is named: {error}");
    m.fails(&["seal", "m", "--allow", "unsigned"], 2, "InvalidArgument");
    m.ok(&["seal", "m", "--allow", "unsigned", "--reason", "config edited by hand"]);
    assert_eq!(m.json(&["attest", "ls", "m", "--json"])["attestations"], serde_json::json!([]));
    assert!(m.text(&["audit", "tail", "--json"]).contains("config edited by hand"));
    assert_eq!(daemon.stop(), Some(0));
    // Shards have digests that no seal records: they are hashed from what was sealed.
    m.ok(&["sign", "./m", "--key", "alice.pem", "--shard-size", "1000000"]);
    m.ok(&["seal", "m"]);
    m.ok(&["sign", "./m", "--key", "stranger.pem"]);
    m.fails(&["seal", "m"], 3, "SignatureMissing");
}
