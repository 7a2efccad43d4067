//! SIGKILL at every call that makes something durable or visible (and, if asked, every write).

use super::inject::{Fault, Ran, sweep, thorough};
use super::promise::{self, ACTS};
use super::support::Machine;

/// Calls after which the disk says something else than before.
const CALLS: [&str; 9] =
    ["fsync", "fdatasync", "renameat2", "rename", "linkat", "unlink", "mkdir", "ftruncate", "pwrite64"];

/// A report on standard output is the acknowledgement, wherever the process died after it.
fn acknowledged(ran: &Ran) -> bool {
    serde_json::from_slice::<serde_json::Value>(&ran.output.stdout).is_ok()
}

/// `rarely`: commands that are tried only when everything is.
fn killed_anywhere(always: &[usize], rarely: &[usize]) {
    let template = promise::machine();
    let rarely = rarely.iter().filter(|_| thorough());
    for act in always.iter().chain(rarely).map(|i| &ACTS[*i]) {
        let points = sweep(
            &CALLS,
            Fault::Kill,
            1,
            || template.copy(),
            act.args,
            |m, ran, point| {
                let at = format!("{:?} killed at {point:?}", act.args);
                assert!(ran.killed, "{at}: {}", ran.output.status);
                promise::holds(m, act, acknowledged(ran), &at);
            },
        );
        assert!(points > 10, "{:?}: only {points} points", act.args);
        println!("{:?}: killed at {points} points", act.args);
    }
}

#[test]
fn a_kill_anywhere_in_seal_loses_and_leaves_nothing() {
    killed_anywhere(&[0, 10], &[1]);
}

#[test]
fn a_kill_anywhere_in_import_loses_and_leaves_nothing() {
    killed_anywhere(&[2], &[]);
}

#[test]
fn a_kill_anywhere_in_tag_and_rm_loses_and_leaves_nothing() {
    killed_anywhere(&[3, 4], &[]);
}

#[test]
fn a_kill_anywhere_in_granting_enrolling_and_revoking_loses_and_leaves_nothing() {
    killed_anywhere(&[5, 7, 8], &[6, 9]);
}

#[test]
fn a_kill_anywhere_in_init_leaves_a_vault_or_a_place_for_one() {
    let calls: Vec<_> = CALLS.into_iter().chain(["write"]).collect();
    let points = sweep(&calls, Fault::Kill, 3, Machine::bare, &["init", "--json"], |m, ran, point| {
        let at = format!("init killed at {point:?}");
        assert!(ran.killed, "{at}: {}", ran.output.status);
        let there = m.run(&["ls"]);
        assert!(there.status.success() || !acknowledged(ran), "{at}: acknowledged, and lost");
        if !there.status.success() {
            assert_eq!(there.status.code(), Some(2), "{at}: {}", String::from_utf8_lossy(&there.stderr));
            let again = m.run(&["init"]);
            assert!(again.status.success(), "{at}: again: {}", String::from_utf8_lossy(&again.stderr));
        }
        m.file("a", 10);
        m.ok(&["seal", "a"]);
        let doctor = m.run(&["doctor"]);
        assert!(doctor.status.success(), "{at}: {}", String::from_utf8_lossy(&doctor.stdout));
        promise::nothing_left(m, &at);
        let beside: Vec<_> = m.names("..").into_iter().filter(|n| n.starts_with('.')).collect();
        assert!(beside.is_empty(), "{at}: {beside:?} left beside the home");
    });
    assert!(points > 20, "only {points} points");
    println!("init: killed at {points} points");
}
