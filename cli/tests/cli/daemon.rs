//! A daemon, operators on its socket, and workloads over the network.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::support::{Daemon, Machine, failed, signal, written};

const FREE_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

#[test]
fn operators_use_the_socket_and_get_the_same_answers() {
    let m = Machine::new();
    let model = m.file("model.onnx", 3_300_000);
    m.file("tree/a", 10);
    m.file("tree/b/c", 0);
    m.ok(&["seal", "model.onnx"]);
    let alone = m.json(&["inspect", "model", "--json"]);
    let daemon = Daemon::start(&m, &FREE_PORT);
    let status = m.checked("status", &["status", "--json"]);
    assert_eq!(status["serving"].as_str(), daemon.address.as_deref());
    assert_eq!(m.json(&["inspect", "model", "--json"]), alone);
    assert_eq!(m.checked("whoami", &["whoami", "--json"])["issuer"], "unix");
    assert_eq!(m.ok(&["open", "model"]), model);
    assert_eq!(m.ok(&["open", "model", "--range", "1048570..2097160"]), model[1_048_570..2_097_160]);
    assert_eq!(m.ok(&["open", "model", "--range", "7..7"]), b"");
    m.checked("version", &["seal", "tree", "--json"]);
    m.checked("open", &["open", "tree", "-o", "out", "--json"]);
    assert_eq!(m.read("out/a"), m.read("tree/a"));
    assert_eq!(m.read("out/b/c"), b"");
    m.checked("export", &["export", "model", "-o", "m.mvlt", "--json"]);
    m.checked("version", &["import", "m.mvlt", "--name", "again", "--json"]);
    assert_eq!(m.ok(&["open", "again", "-o", "-"]), model);
    assert_eq!(m.checked("doctor", &["doctor", "--json"])["healthy"], true);
    m.fails(&["open", "model", "-o", "x", "--range", "0..3300001"], 2, "RangeInvalid");
    m.fails(&["open", "nothing", "-o", "x"], 6, "NotFound");
    // Secrets do not go to a daemon, and its keys do not come from it.
    m.fails(&["seal", "model.onnx", "-o", "x.mvlt"], 8, "Busy");
    m.fails(&["open", "m.mvlt", "-o", "x"], 8, "Busy");
    m.fails(&["serve"], 8, "Busy");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(m.checked("status", &["status", "--json"])["serving"], serde_json::Value::Null);
}

#[test]
fn a_workload_fetches_what_it_was_granted_until_it_is_revoked() {
    let m = Machine::new();
    let model = m.file("model.onnx", 2_300_000);
    m.ok(&["seal", "model.onnx"]);
    let daemon = Daemon::start(&m, &FREE_PORT);
    let enrolled = m.checked("enrolment", &["workload", "enroll", "serve-1", "-o", "enrolment", "--json"]);
    assert_eq!(enrolled["address"].as_str(), daemon.address.as_deref());
    let fetch = ["fetch", "model", "--enrolment", "enrolment", "-o"];
    let with = |rest: &[&'static str]| [&fetch[..], rest].concat();

    m.fails(&with(&["x"]), 6, "NotFound");
    let granted = m.checked("grant", &["grant", "serve-1", "model", "--json"]);
    assert!(granted["cedar"].as_str().unwrap().contains("permit"));
    assert_eq!(granted["actions"], serde_json::json!(["stat", "open", "openRange"]));
    let fetched = m.checked("fetch", &with(&["out", "--json"]));
    assert_eq!(fetched["tls_group"], "X25519MLKEM768");
    assert_eq!(m.read("out/model.onnx"), model);
    assert_eq!(m.names("out"), ["model.onnx"]);
    m.fails(&with(&["out"]), 9, "AlreadyExists");

    // The workload believes its own list of signers, or a shorter one.
    let signer = fetched["signers"][0].as_str().unwrap()[..16].to_owned();
    m.ok(&["fetch", "model", "--enrolment", "enrolment", "-o", "again", "--require-signer", &signer]);
    m.fails(&with(&["x", "--require-signer", "0000000000000000"]), 2, "InvalidArgument");
    fs::write(m.path("other.pem"), "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n").unwrap();
    m.fails(&with(&["x", "--signer-key", "other.pem"]), 3, "SignatureMissing");

    // A tag that an operator moves back is followed: the move is signed.
    m.ok(&["seal", "model.onnx"]);
    assert_eq!(m.checked("fetch", &with(&["v2", "--json"]))["sequence"], 2);
    assert_eq!(m.checked("tag", &["tag", "model@v1", "latest", "--json"])["sequence"], 3);
    let back = m.checked("fetch", &with(&["v1", "--json"]));
    assert_eq!((&back["version"]["version"], &back["sequence"]), (&1.into(), &3.into()));
    assert_eq!(
        m.checked("fetch", &["fetch", "model@v1", "--enrolment", "enrolment", "-o", "number", "--json"])["sequence"],
        serde_json::Value::Null
    );

    // A workload is no operator, whatever it asks.
    let config = m.home().parent().unwrap().join(".config/modelvault/config.toml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let enrolment = m.path("enrolment");
    fs::write(
        &config,
        format!("[contexts.remote]\nserver = {:?}\nenrolment = {enrolment:?}\n", daemon.address.as_ref().unwrap()),
    )
    .unwrap();
    assert_eq!(m.checked("whoami", &["whoami", "--context", "remote", "--json"])["kind"], "workload");
    m.fails(&["policy", "get", "--context", "remote"], 5, "Denied");
    m.fails(&["workload", "enroll", "x", "-o", "x", "--context", "remote"], 5, "Denied");

    // The environment names one as well, where it names no home.
    let told = |args: &[&str]| m.command(args).env("MODELVAULT_ENROLMENT", &enrolment).output().unwrap();
    let told_alone = |args: &[&str]| {
        m.command(args).env_remove("MODELVAULT_HOME").env("MODELVAULT_ENROLMENT", &enrolment).output().unwrap()
    };
    let kind = |out: std::process::Output| {
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap()["kind"].clone()
    };
    assert_eq!(kind(told_alone(&["whoami", "--json"])), "workload");
    assert_eq!(kind(told(&["whoami", "--json"])), "operator");
    assert_eq!(told_alone(&["policy", "get"]).status.code(), Some(5));
    assert!(told_alone(&["ls", "--json"]).status.success());

    // Whose signatures count, for those who have no enrolment to tell them.
    fs::write(m.path("signer.pem"), m.ok(&["key", "show", "--namespace", "default"])).unwrap();
    m.ok(&[&fetch[..], &["by-key", "--signer-key", "signer.pem"]].concat());

    let listed = m.checked("workloads", &["workload", "ls", "--json"]);
    assert_eq!(listed["workloads"][0]["grants"][0], "default/model");
    let before = fs::read(m.path("enrolment/client.crt")).unwrap();
    m.checked("enrolment", &["workload", "renew", "enrolment", "--json"]);
    assert_ne!(fs::read(m.path("enrolment/client.crt")).unwrap(), before);
    m.ok(&with(&["renewed", "--no-state"]));
    assert_eq!(m.checked("grant", &["grant", "serve-1", "model", "--revoke", "--json"])["granted"], false);
    m.fails(&with(&["x", "--no-state"]), 6, "NotFound");
    let granted = m.text(&["grant", "serve-1", "model"]);
    assert!(
        granted.starts_with("default/serve-1 may read default/model: stat, open, openRange\npermit (principal == ")
    );
    assert!(m.text(&["workload", "ls"]).contains("enrolled"));
    m.checked("revoke", &["workload", "revoke", "serve-1", "--json"]);
    m.fails(&with(&["x", "--no-state"]), 4, "BadCredential");
    assert_eq!(daemon.stop(), Some(0));
    m.fails(&with(&["x", "--no-state"]), 8, "Unreachable");
    assert!(m.text(&["audit", "verify"]).contains("records"));
}

#[test]
fn a_vault_that_was_put_back_is_found_out_by_those_who_saw_more() {
    let m = Machine::new();
    m.file("model.onnx", 1000);
    m.ok(&["seal", "model.onnx", "--tag", "prod"]);
    m.ok(&["workload", "enroll", "serve-1", "-o", "enrolment"]);
    m.ok(&["grant", "serve-1", "model"]);
    let before = m.copy();
    let address = |daemon: &Daemon| daemon.address.clone().unwrap();
    let daemon = Daemon::start(&m, &FREE_PORT);
    let at = address(&daemon);
    let fetch = |at: &str, output: &str, more: &[&str]| {
        let fetch = ["fetch", "model@prod", "--enrolment", "enrolment", "--server", at, "-o", output];
        m.command(&[&fetch, more].concat())
    };
    assert!(fetch(&at, "v1", &[]).status().unwrap().success());
    m.ok(&["seal", "model.onnx", "--tag", "prod"]);
    assert!(fetch(&at, "v2", &[]).status().unwrap().success());
    assert_eq!(daemon.stop(), Some(0));
    // The same vault as it was, with its own keys: what it signs is authentic, fresh, and of the past.
    let daemon = Daemon::start(&before, &FREE_PORT);
    let at = address(&daemon);
    let refused = failed(|| fetch(&at, "x", &[]), &m.work(), 3, "VersionRollback");
    assert!(refused["error"]["message"].as_str().unwrap().contains("rollback"), "{refused}");
    assert!(fetch(&at, "forgetful", &["--no-state"]).status().unwrap().success());
    // Another move with the number of one that was seen, to something else.
    before.file("model.onnx", 2000);
    before.ok(&["seal", "model.onnx", "--tag", "prod"]);
    failed(|| fetch(&at, "x", &[]), &m.work(), 3, "VersionRollback");
    before.ok(&["tag", "model@v2", "prod"]);
    assert!(fetch(&at, "on", &[]).status().unwrap().success());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_hangup_reloads_the_certificate_and_ends_nothing() {
    let m = Machine::new();
    let model = m.file("model.onnx", 1_100_000);
    m.ok(&["seal", "model.onnx"]);
    let daemon = Daemon::start(&m, &FREE_PORT);
    m.ok(&["workload", "enroll", "serve-1", "-o", "enrolment"]);
    m.ok(&["grant", "serve-1", "model"]);
    let reloads = || m.text(&["audit", "tail", "-n", "200"]).matches("daemon.reload").count();
    for expected in 1..=2 {
        daemon.signal("HUP");
        let began = Instant::now();
        while reloads() < expected {
            assert!(began.elapsed() < Duration::from_secs(20), "no row about the reload");
        }
    }
    m.ok(&["fetch", "model", "--enrolment", "enrolment", "-o", "out"]);
    assert_eq!(m.read("out/model.onnx"), model);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn an_enrolment_of_another_vault_is_a_stranger() {
    let (m, other) = (Machine::new(), Machine::new());
    m.file("model.onnx", 10);
    m.ok(&["seal", "model.onnx"]);
    other.ok(&["workload", "enroll", "serve-1", "-o", "enrolment"]);
    let daemon = Daemon::start(&m, &FREE_PORT);
    let enrolment = other.path("enrolment").display().to_string();
    let address = daemon.address.clone().unwrap();
    let fetch = ["fetch", "model", "--server", &address, "--enrolment", &enrolment, "-o", "x"];
    m.fails(&fetch, 4, "BadCredential");
    m.fails(&["fetch", "model", "--server", &address, "-o", "x"], 4, "NoCredential");
    assert_eq!(daemon.stop(), Some(0));
    let rows = m.text(&["audit", "tail", "-n", "40"]);
    let refused: Vec<_> = rows.lines().filter(|l| l.contains("auth.refused")).collect();
    assert!(refused.iter().any(|l| l.contains("why=the client refused our certificate")), "{rows}");
}

#[test]
fn a_crash_leaves_a_socket_that_does_not_matter() {
    let m = Machine::new();
    let daemon = Daemon::start(&m, &["--listen", "none"]);
    let socket = daemon.socket.clone();
    assert_eq!(daemon.address, None);
    m.ok(&["ls"]);
    daemon.kill();
    assert!(socket.exists());
    m.ok(&["ls"]);
    let again = Daemon::start(&m, &["--listen", "none"]);
    m.ok(&["ls"]);
    assert_eq!(again.stop(), Some(0));
    assert!(!socket.exists());
}

/// Runs a command until plaintext lies on the disk, and kills it there.
fn killed_half_way(m: &Machine, daemon: &Daemon, args: &[&str]) {
    let mut child = m.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while written(&child, &m.work()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "{args:?} ended before it wrote anything");
    }
    // Without its source it cannot come to an end.
    daemon.signal("STOP");
    assert!(child.try_wait().unwrap().is_none(), "{args:?} was too fast to be killed");
    child.kill().unwrap();
    child.wait().unwrap();
    daemon.signal("CONT");
}

#[test]
fn a_killed_command_leaves_no_plaintext_or_the_next_one_removes_it() {
    let m = Machine::new();
    m.file("in/big", 200_000_000);
    m.file("in/small", 5);
    m.ok(&["seal", "in"]);
    fs::remove_dir_all(m.path("in")).unwrap();
    let daemon = Daemon::start(&m, &["--listen", "none"]);
    // A file has no name until it is complete.
    killed_half_way(&m, &daemon, &["open", "in", "--member", "big", "-o", "file"]);
    assert!(m.names("").is_empty(), "{:?}", m.names(""));
    // A directory must have one; the next command in its parent removes it, whatever that makes.
    killed_half_way(&m, &daemon, &["fetch", "in", "-o", "out"]);
    let left = m.names("");
    assert!(matches!(&left[..], [name] if name.starts_with(".out.") && name.ends_with(".vault-tmp")), "{left:?}");
    m.ok(&["open", "in", "--member", "small", "-o", "other"]);
    assert_eq!(m.names(""), ["other"]);
    killed_half_way(&m, &daemon, &["open", "in", "-o", "out"]);
    m.ok(&["fetch", "in", "-o", "whole"]);
    assert_eq!(m.names(""), ["other", "whole"]);
}

#[test]
fn a_daemon_whose_socket_is_not_found_still_holds_its_home() {
    let m = Machine::new();
    let daemon = Daemon::start(&m, &["--listen", "none", "--socket", "elsewhere/s"]);
    m.fails(&["ls"], 8, "Busy");
    let found = m.command(&["ls"]).env("MODELVAULT_SOCKET", &daemon.socket).current_dir(m.work()).status().unwrap();
    assert!(found.success());
    let other = Machine::new();
    let wrong = other.command(&["ls"]).env("MODELVAULT_SOCKET", m.path("elsewhere/s")).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{}", String::from_utf8_lossy(&wrong.stderr));
}

#[test]
fn addresses_in_use_and_impossible_ones() {
    let (m, other) = (Machine::new(), Machine::new());
    let daemon = Daemon::start(&m, &FREE_PORT);
    let address = daemon.address.clone().unwrap();
    other.fails(&["serve", "--listen", &address], 8, "AddressInUse");
    other.fails(&["serve", "--listen", "nonsense"], 2, "InvalidArgument");
    other.ok(&["ls"]);
}

#[test]
fn tail_follows_until_it_is_interrupted() {
    let m = Machine::new();
    let daemon = Daemon::start(&m, &["--listen", "none"]);
    let out = m.path("followed");
    let mut tail = m
        .command(&["audit", "tail", "--follow", "--json", "-n", "1"])
        .stdout(fs::File::create(&out).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    m.file("x", 10);
    m.ok(&["seal", "x"]);
    let until = Instant::now() + Duration::from_secs(20);
    let followed = loop {
        let text = fs::read_to_string(&out).unwrap();
        if text.contains("artifact.seal") || Instant::now() > until {
            break text;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    signal(&tail, "INT");
    assert_eq!(tail.wait().unwrap().code(), Some(130));
    assert!(followed.contains("artifact.seal"), "{followed}");
    assert!(followed.lines().count() < 20, "reading the log must not fill it: {followed}");
    drop(daemon);
}
