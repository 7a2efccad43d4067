//! A machine of its own for each test: home, configuration, state and runtime directory in one temporary directory, and no
//! variable of the machine the tests run on.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub const VAULT: &str = env!("CARGO_BIN_EXE_vault");

/// A machine.
pub struct Machine {
    root: TempDir,
}

impl Machine {
    /// Without a vault.
    pub fn bare() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("work")).unwrap();
        Self { root }
    }

    /// With a vault under a key file.
    pub fn new() -> Self {
        let machine = Self::bare();
        schema("init", &machine.json(&["init", "--json"]));
        machine
    }

    /// The same machine once more: every file in it copied, as it is on disk now.
    #[allow(dead_code, reason = "of use to the tests of faults only, which share this file")]
    pub fn copy(&self) -> Self {
        let root = tempfile::tempdir().unwrap();
        let from = self.root.path().join(".");
        let copied = Command::new("cp").arg("-a").arg(from).arg(root.path()).status().unwrap();
        assert!(copied.success());
        Self { root }
    }

    /// Directory in which commands run.
    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    /// Makes a file of `len` bytes that do not repeat; returns them.
    pub fn file(&self, name: &str, len: usize) -> Vec<u8> {
        let mut state = len as u64 ^ 0x9e37_79b9_7f4a_7c15;
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &bytes).unwrap();
        bytes
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// All names in a directory of the machine, hidden ones too.
    pub fn names(&self, dir: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.work().join(dir)).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The command, ready to run.
    pub fn command(&self, args: &[&str]) -> Command {
        self.program(VAULT, args)
    }

    /// Another program, in the same surroundings.
    pub fn program(&self, name: &str, args: &[&str]) -> Command {
        let root = self.root.path();
        let mut command = Command::new(name);
        command
            .args(args)
            .current_dir(self.work())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", root)
            .env("XDG_RUNTIME_DIR", root)
            .env("MODELVAULT_HOME", self.home())
            .env("MODELVAULT_KEY_FILE", root.join("key"))
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs what must succeed; returns its standard output.
    pub fn ok(&self, args: &[&str]) -> Vec<u8> {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
        out.stdout
    }

    pub fn text(&self, args: &[&str]) -> String {
        String::from_utf8(self.ok(args)).unwrap()
    }

    /// Runs what must succeed and print exactly one JSON document.
    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.ok(args);
        serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {}", String::from_utf8_lossy(&out)))
    }

    /// The same, checked against a schema of the contract.
    pub fn checked(&self, name: &str, args: &[&str]) -> Value {
        let document = self.json(args);
        schema(name, &document);
        document
    }

    /// Runs what must fail with this exit status and error id, in both forms, and leave no file behind.
    pub fn fails(&self, args: &[&str], status: i32, id: &str) -> Value {
        failed(|| self.command(args), &self.work(), status, id)
    }
}

/// The same for a command that a test has prepared.
pub fn failed(command: impl Fn() -> Command, work: &Path, status: i32, id: &str) -> Value {
    let before = all_files(work);
    let out = command().output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(status), "{:?}: {text}", command());
    assert!(text.starts_with("vault: error: "), "{text}");
    assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{text}");
    let out = command().arg("--json").output().unwrap();
    assert_eq!(out.status.code(), Some(status));
    let document = if out.stdout.is_empty() { out.stderr } else { out.stdout };
    let document: Value = serde_json::from_slice(&document)
        .unwrap_or_else(|e| panic!("{:?}: {e}: {}", command(), String::from_utf8_lossy(&document)));
    schema("error", &document);
    assert_eq!(document["error"]["id"], id, "{document:#}");
    assert_eq!(all_files(work), before, "a failed command leaves nothing behind");
    document
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

pub fn schema(name: &str, document: &Value) {
    super::schema::check(name, document);
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    pub address: Option<String>,
    pub socket: PathBuf,
    #[allow(dead_code, reason = "of use to the tests of numbers only")]
    pub metrics: Option<String>,
}

impl Daemon {
    pub fn start(machine: &Machine, args: &[&str]) -> Self {
        let mut child = machine
            .command(&[&["serve", "--json"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|e| {
            let mut stderr = String::new();
            let _ = child.stderr.take().unwrap().read_to_string(&mut stderr);
            panic!("{e}: {line:?} {stderr}")
        });
        schema("serve", &ready);
        assert_eq!(ready["pid"], child.id());
        let address = ready["listening"].as_str().map(Into::into);
        let metrics = ready["metrics"].as_str().map(Into::into);
        Self { child, address, metrics, socket: ready["socket"].as_str().unwrap().into() }
    }

    /// Its process.
    #[allow(dead_code, reason = "of use to the tests of faults only, which share this file")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// SIGTERM; returns the exit status.
    pub fn stop(mut self) -> Option<i32> {
        signal(&self.child, "TERM");
        self.child.wait().unwrap().code()
    }

    /// SIGKILL: what a crash leaves behind.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a child.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(sent.success());
}

/// Bytes that a child has written below `dir` to files that are not complete: without a name, or under a hidden one.
pub fn written(child: &Child, dir: &Path) -> u64 {
    let unfinished = |descriptor: &PathBuf| {
        let place = fs::read_link(descriptor).ok();
        let below = place.as_deref().and_then(|p| p.strip_prefix(dir).ok()?.to_str());
        below.is_some_and(|p| p.starts_with(['#', '.']))
    };
    let descriptors = fs::read_dir(format!("/proc/{}/fd", child.id())).into_iter().flatten().flatten();
    let open = descriptors.map(|d| d.path()).filter(unfinished).filter_map(|d| fs::metadata(d).ok());
    open.filter(fs::Metadata::is_file).map(|f| f.len()).sum()
}
