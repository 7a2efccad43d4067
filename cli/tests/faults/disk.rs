//! A disk that is full, and one that cannot be read or written: the command fails with the id, the exit status, a hint and the
//! name of what failed, or did what it was asked; and nothing is lost or left.

use std::path::Path;
use std::process::Command;

use super::inject::{Fault, Point, Ran, sweep, thorough};
use super::promise::{self, ACTS, Act};
use super::support::Machine;

const CALLS: [&str; 7] = ["fsync", "fdatasync", "ftruncate", "renameat2", "linkat", "mkdir", "pwrite64"];
/// Seal, enrol; and if everything is tried, import and tag.
const TRIED: [usize; 4] = [0, 7, 2, 3];

fn failing_anywhere(fault: Fault, id: &[&str]) {
    let template = promise::machine();
    let many = if thorough() { TRIED.len() } else { 2 };
    for act in TRIED[..many].iter().map(|i| &ACTS[*i]) {
        let points =
            sweep(&CALLS, fault, 1, || template.copy(), act.args, |m, ran, point| told(m, act, ran, point, id));
        println!("{:?}: {fault:?} at {points} points", act.args);
        assert!(points > 10, "{:?}: only {points} points", act.args);
    }
}

fn told(m: &Machine, act: &Act, ran: &Ran, point: Point, ids: &[&str]) {
    let at = format!("{:?} with {ids:?} at {point:?}", act.args);
    let succeeded = ran.output.status.success();
    if !succeeded {
        assert_eq!(ran.output.status.code(), Some(10), "{at}: {}", String::from_utf8_lossy(&ran.output.stderr));
        let document: serde_json::Value = serde_json::from_slice(&ran.output.stdout).unwrap_or_else(|e| {
            panic!("{at}: {e}: {}", String::from_utf8_lossy(&ran.output.stderr));
        });
        let error = &document["error"];
        assert!(ids.contains(&error["id"].as_str().unwrap()), "{at}: {document:#}");
        assert!(error["hint"].is_string(), "{at}: no hint: {document:#}");
        // In the home, or the directory that the user named.
        let (message, home) = (error["message"].as_str().unwrap(), m.home().display().to_string());
        assert!(message.contains(&home) || message.contains("fresh"), "{at}: does not say where: {document:#}");
        let stray: Vec<_> = m.names("").into_iter().filter(|n| n.starts_with('.')).collect();
        assert!(stray.is_empty(), "{at}: {stray:?} left behind");
    }
    promise::holds(m, act, succeeded, &at);
}

#[test]
fn a_disk_that_fills_up_anywhere_is_named_and_loses_nothing() {
    // strace fills no real disk: where SQLite hides why a call failed, the vault has to look for free space, and finds some.
    failing_anywhere(Fault::Full, &["DiskFull", "IoError"]);
}

#[test]
fn a_disk_that_fails_anywhere_is_named_and_loses_nothing() {
    failing_anywhere(Fault::Io, &["IoError"]);
}

/// A small file system in memory, mounted in a namespace of its own: nothing of the machine changes.
fn on_a_full_disk(m: &Machine, free: &str, script: &str) -> std::process::Output {
    let vault = super::support::VAULT;
    let home = m.home();
    let home = home.display();
    // 12 MiB, of which all but `free` are taken.
    let text = format!(
        "set -e; cp -a {home} {home}.kept; mount -t tmpfs -o size=12m,mode=700 none {home}; cp -a {home}.kept/. {home}; \
         head -c $(( $(df --output=avail -B1 {home} | tail -1) - {free} )) /dev/zero > {home}/../work/filler; \
         cp {home}/../work/filler {home}/blobs/filler; set +e; vault() {{ {vault} \"$@\"; }}; HOME_OF_VAULT={home}; {script}"
    );
    let ready = m.command(&[]);
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "--map-root-user", "sh", "-c", &text]).current_dir(m.work()).env_clear();
    shell.envs(ready.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.output().unwrap()
}

#[test]
fn on_a_disk_without_space_every_command_says_so_and_what_was_sealed_can_be_had_again() {
    let m = promise::machine();
    for (free, command) in [
        ("0", "ls"),
        ("0", "seal new.bin"),
        ("150000", "seal new.bin"),
        ("700000", "seal new.bin"),
        ("40000", "tag kept x"),
    ] {
        let m = m.copy();
        let out = on_a_full_disk(
            &m,
            free,
            &format!(
                "vault {command} --json; echo; rm {0}/blobs/filler; vault verify kept --json && vault doctor >&2 && vault ls --json",
                m.home().display()
            ),
        );
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{command} with {free} bytes free: {stdout}{stderr}");
        let mut documents = serde_json::Deserializer::from_slice(&out.stdout).into_iter::<serde_json::Value>();
        let refused = documents.next().unwrap().unwrap();
        assert_eq!(refused["error"]["id"], "DiskFull", "{command} with {free} bytes free: {refused:#}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(&m.home().display().to_string()), "{refused:#}");
        assert!(refused["error"]["hint"].as_str().unwrap().contains("space"), "{refused:#}");
        let listing = documents.nth(1).unwrap().unwrap();
        assert!(listing["artifacts"].as_array().unwrap().iter().all(|v| v["name"] != "new"), "{listing:#}");
    }
}

#[test]
fn nothing_is_released_where_the_log_cannot_be_written() {
    let m = promise::machine();
    let home = m.home().display().to_string();
    // Pages that the write-ahead log has already take some rows without more space; then there is none.
    let until_refused = "n=0; while vault open kept -o out --json > told 2> err; do rm out; n=$((n+1)); [ $n -lt 500 ] || exit 9; done; \
                         cat told err; [ ! -e out ] || exit 8; for left in .out*; do [ ! -e \"$left\" ] || exit 7; done;";
    let again = format!("rm {home}/blobs/filler; vault open kept -o out --json && vault audit verify --json");
    let vault = super::support::VAULT;
    let daemon = format!(
        "rm {home}/blobs/filler; (exec {vault} serve --listen none --json > ready) & serving=$!; \
         n=0; until grep -q socket ready; do sleep 0.05; n=$((n+1)); [ $n -lt 400 ] || exit 6; done; \
         cat /dev/zero > {home}/blobs/filler 2> full;"
    );
    for (by, script) in [
        ("in process", format!("{until_refused} {again}")),
        ("by the daemon", format!("{daemon} {until_refused} {again}; status=$?; kill $serving; exit $status")),
    ] {
        let out = on_a_full_disk(&m.copy(), "0", &script.replace(&home, "$HOME_OF_VAULT"));
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{by}: {:?} {stdout}{stderr}", out.status);
        let mut documents = serde_json::Deserializer::from_slice(&out.stdout).into_iter::<serde_json::Value>();
        let refused = documents.next().unwrap().unwrap();
        assert_eq!(refused["error"]["id"], "DiskFull", "{by}: {refused:#}");
        assert!(documents.next().unwrap().unwrap()["error"].is_null(), "{by}: with space again it goes on");
    }
}

#[test]
fn an_init_on_a_full_disk_leaves_nothing() {
    let m = Machine::bare();
    std::fs::create_dir(m.home()).unwrap();
    std::fs::create_dir(m.home().join("blobs")).unwrap();
    std::fs::create_dir(m.home().join("lost+found")).unwrap();
    for free in ["0", "4096", "30000", "100000"] {
        let out = on_a_full_disk(
            &m,
            free,
            &format!(
                "mv {0}/blobs/filler {0}/lost+found; rmdir {0}/blobs; vault init --json; ls -A {0}",
                m.home().display()
            ),
        );
        let mut documents = serde_json::Deserializer::from_slice(&out.stdout).into_iter::<serde_json::Value>();
        let refused = documents.next().unwrap().unwrap();
        assert_eq!(refused["error"]["id"], "DiskFull", "{free} bytes free: {refused:#}");
        let rest = &out.stdout[documents.byte_offset()..];
        assert_eq!(String::from_utf8_lossy(rest).trim(), "lost+found", "{free} bytes free");
        assert!(!Path::new(&m.home()).with_file_name("key").exists(), "a key of nothing");
        std::fs::remove_dir_all(m.home().with_file_name("home.kept")).unwrap();
    }
}

#[test]
fn files_that_are_not_there_are_named_with_a_hint_that_fits() {
    let m = Machine::new();
    m.file("a", 10);
    let hint = |args: &[&str], status, id: &str| {
        let error = m.fails(args, status, id)["error"].clone();
        (error["message"].as_str().unwrap().to_owned(), error["hint"].as_str().unwrap().to_owned())
    };
    let (message, hinted) = hint(&["ls", "--key-file", "gone"], 4, "NoCredential");
    assert!(message.contains("gone") && hinted.contains("check --key-file"), "{message} / {hinted}");
    let (message, hinted) = hint(&["seal", "a", "--sign-key", "gone.pem"], 6, "NotFound");
    assert!(message.contains("gone.pem") && hinted.contains("check the path"), "{message} / {hinted}");
    std::fs::remove_file(m.home().join("vault.toml")).unwrap();
    let (message, hinted) = hint(&["ls"], 2, "ConfigInvalid");
    assert!(message.contains("vault.toml") && hinted.contains("backup"), "{message} / {hinted}");
}
