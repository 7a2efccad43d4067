//! Faults by strace: the nth call of a name dies or fails. strace counts the calls of each thread by themselves, so a sweep is
//! exhaustive where the calls looked at are made by one thread: the main thread, or the one thread that writes a database.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output};

use super::support::Machine;

/// Whose calls are counted.
#[derive(Clone, Copy, Debug)]
pub enum Thread {
    /// The main thread: it opens the home, writes blobs and the files of a user.
    Main,
    /// The writer of `catalogue.db`.
    Catalogue,
    /// The writer of `keys.db`.
    Keys,
}

pub const THREADS: [Thread; 3] = [Thread::Main, Thread::Catalogue, Thread::Keys];

/// What happens instead of the call.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// SIGKILL on entering it.
    Kill,
    /// This and all later ones fail: a disk that is full stays full.
    Full,
    /// It fails once: a disk that cannot be read or written there.
    Io,
}

/// One place in the run of a command.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub thread: Thread,
    pub call: &'static str,
    pub nth: usize,
}

/// What became of a command with a fault in it.
pub struct Ran {
    pub output: Output,
    pub killed: bool,
    /// The call was made, so the fault did happen.
    pub happened: bool,
}

/// Runs the command on the machine with one fault.
pub fn run(machine: &Machine, args: &[&str], point: Point, fault: Fault) -> Ran {
    let Point { thread, call, nth } = point;
    let log = machine.home().with_file_name("trace");
    let mut strace = Command::new("strace");
    strace.arg("-qq").arg("-o").arg(&log);
    let files: &[&str] = match thread {
        Thread::Main => &[],
        Thread::Catalogue => &["catalogue.db", "catalogue.db-wal"],
        Thread::Keys => &["keys.db", "keys.db-wal"],
    };
    if !files.is_empty() {
        strace.arg("-f");
    }
    for file in files {
        strace.arg("-P").arg(machine.home().join(file));
    }
    let what = match fault {
        Fault::Kill => format!("signal=KILL:when={nth}"),
        Fault::Full => format!("error=ENOSPC:when={nth}+"),
        Fault::Io => format!("error=EIO:when={nth}"),
    };
    strace.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{what}"), "--"]);
    let ready = machine.command(args);
    strace.arg(ready.get_program()).args(ready.get_args()).current_dir(machine.work()).env_clear();
    strace.envs(ready.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = strace.output().expect("strace is installed: scripts/setup does it");
    let trace = std::fs::read_to_string(&log).unwrap_or_default();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !stderr.contains("strace: "),
        "faults cannot be injected: may this process trace its children (ptrace)? {stderr}"
    );
    std::fs::remove_file(&log).unwrap();
    let killed = output.status.signal() == Some(9);
    Ran { output, killed, happened: killed || trace.contains("(INJECTED)") }
}

/// Whether every write is tried, or one of a few.
pub fn thorough() -> bool {
    std::env::var_os("MODELVAULT_FAULTS").is_some_and(|v| v == "all")
}

/// Tries the fault at every `step`th point of the command, and fewer writes, or really at every one if [`thorough`]; each on a
/// fresh machine. Returns at how many.
pub fn sweep(
    calls: &[&'static str],
    fault: Fault,
    step: usize,
    fresh: impl Fn() -> Machine,
    args: &[&str],
    check: impl Fn(&Machine, &Ran, Point),
) -> usize {
    let mut tried = 0;
    for thread in THREADS {
        for call in calls {
            // Neighbouring writes of a transaction leave the same to be undone.
            let step = match *call {
                _ if thorough() => 1,
                "pwrite64" => step * 12,
                _ => step,
            };
            for nth in (1..).step_by(step) {
                let point = Point { thread, call, nth };
                let machine = fresh();
                let ran = run(&machine, args, point, fault);
                if !ran.happened {
                    break;
                }
                check(&machine, &ran, point);
                tried += 1;
            }
        }
    }
    tried
}
