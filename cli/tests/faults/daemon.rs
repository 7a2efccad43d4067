//! SIGKILL of the daemon while it works for others: what was acknowledged is there, the rest leaves nothing, and the next
//! daemon takes the socket over.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::promise;
use super::support::{Daemon, Machine};

/// Kills a daemon this long after a client began; returns what the client printed on success.
fn killed_during(m: &Machine, args: &[&str], after: Duration) -> Option<Vec<u8>> {
    let daemon = Daemon::start(m, &["--listen", "none"]);
    let client: Child = m.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(after);
    let socket = daemon.socket.clone();
    daemon.kill();
    let killed = Instant::now();
    let out = client.wait_with_output().unwrap();
    assert!(killed.elapsed() < Duration::from_secs(10), "the client hears of it at once");
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(socket.exists(), "a dead daemon cannot remove its socket");
    out.status.success().then_some(out.stdout)
}

#[test]
fn a_daemon_killed_during_an_upload_or_import_loses_nothing_acknowledged_and_leaves_nothing() {
    let template = promise::machine();
    template.file("new.bin", 24 << 20);
    template.ok(&["seal", "new.bin", "-o", "big.mvlt"]);
    let mut refused = 0;
    for millis in [5, 20, 40, 60, 90, 130, 200, 300] {
        for args in [&["seal", "new.bin", "--json"][..], &["import", "big.mvlt", "--name", "new", "--json"]] {
            let m = template.copy();
            let acknowledged = killed_during(&m, args, Duration::from_millis(millis)).is_some();
            refused += usize::from(!acknowledged);
            let at = format!("daemon killed {millis} ms into {args:?}");
            // The next daemon takes over the socket, and its clients see a whole vault.
            let daemon = Daemon::start(&m, &["--listen", "none"]);
            for intact in [&["verify", "kept"][..], &["audit", "verify", "--checkpoint", "checkpoint"], &["ls"]] {
                let out = m.run(intact);
                assert!(out.status.success(), "{at}: {intact:?}: {}", String::from_utf8_lossy(&out.stderr));
            }
            match promise::version(&m, "new") {
                Some(_) => drop(m.ok(&["verify", "new"])),
                None => assert!(!acknowledged, "{at}: acknowledged, and lost"),
            }
            assert_eq!(daemon.stop(), Some(0), "{at}");
            promise::nothing_left(&m, &at);
            m.ok(&["seal", "new.bin"]);
            m.ok(&["verify", "new"]);
        }
    }
    assert!(refused > 2, "some kills came in time");
}

#[test]
fn a_stream_whose_daemon_is_killed_leaves_no_part_of_the_plaintext() {
    let m = promise::machine();
    m.file("new.bin", 64 << 20);
    m.ok(&["seal", "new.bin"]);
    let before = m.names("");
    let mut cut = 0;
    for millis in [10, 30, 60, 100] {
        let done = killed_during(&m, &["open", "new", "-o", "out.bin"], Duration::from_millis(millis)).is_some();
        cut += usize::from(!done);
        if done {
            assert_eq!(m.read("out.bin"), m.read("new.bin"));
            std::fs::remove_file(m.path("out.bin")).unwrap();
        }
        assert_eq!(m.names(""), before, "{millis} ms");
        let doctor = m.run(&["doctor"]);
        assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
    }
    assert!(cut > 0, "some kills came in time");
}
