//! The stage (a directory and an environment of its own) and the play: commands shown, run and judged.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::super::Context;
use crate::files::temporary::Temporary;

/// How long the daemon may take to say where it listens, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where it plays: a directory of its own, removed afterwards unless it is kept.
pub struct Stage {
    dir: PathBuf,
    temporary: Option<Temporary>,
}

impl Stage {
    /// A new directory: the one to keep, else a temporary one.
    pub fn set(keep: Option<&Path>) -> Result<Self> {
        let Some(dir) = keep else {
            let beside = std::env::temp_dir().join("modelvault-quickstart");
            let temporary = Temporary::directory(&beside).map_err(|e| Error::from(e).on(beside.display()))?;
            return Ok(Self { dir: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        let dir = std::path::absolute(dir)?;
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::new(ErrorId::AlreadyExists, format!("{} exists", dir.display()))
                    .hint("--keep takes a directory that does not exist yet")
            }
            _ => Error::from(e).on(dir.display()),
        })?;
        Ok(Self { dir, temporary: None })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Home of the vault that is made.
    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// Puts a file there, readable by its owner alone.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.dir.join(name);
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(bytes)).map_err(|e| Error::from(e).on(path.display()))
    }

    /// Whether it stays.
    pub fn is_kept(&self) -> bool {
        self.temporary.is_none()
    }

    /// What becomes of it, for the first line.
    pub fn fate(&self) -> &'static str {
        if self.is_kept() { "" } else { " and is removed afterwards (--keep DIR leaves it to play with)" }
    }
}

/// One thing that was done.
#[derive(Debug, Serialize)]
pub struct Step {
    /// As it would be typed.
    command: String,
    /// 0, or the exit status that was expected.
    exit: u8,
    /// Id of the refusal that was expected.
    refused: Option<String>,
}

/// The play: shows each command, runs it, and stops at the first that does not do what it promises.
pub struct Play<'a> {
    cx: &'a Context<'a>,
    stage: &'a Stage,
    chapters: u32,
    steps: Vec<Step>,
}

/// A running daemon; killed if the play ends early.
pub struct Daemon {
    /// `host:port` for workloads.
    pub address: String,
    child: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'a> Play<'a> {
    /// Before the first chapter.
    pub fn new(cx: &'a Context<'a>, stage: &'a Stage) -> Self {
        Self { cx, stage, chapters: 0, steps: Vec::new() }
    }

    /// A line of the narrator.
    pub fn say(&self, text: impl std::fmt::Display) {
        self.print(&format!("   {text}\n"));
    }

    /// A heading.
    pub fn chapter(&mut self, title: &str) -> Result<()> {
        self.chapters += 1;
        self.print(&format!("\n{}. {title}\n", self.chapters));
        Ok(())
    }

    /// Runs a command that must succeed, and shows what it prints.
    pub fn run(&mut self, args: &[&str]) -> Result<()> {
        let (exit, text) = self.perform(args)?;
        self.shown(&text);
        if exit != 0 {
            return Err(Error::new(ErrorId::Internal, format!("vault {} ended with {exit}", args.join(" "))));
        }
        self.record(args, 0, None);
        Ok(())
    }

    /// The same, with what it prints in a file.
    pub fn run_into(&mut self, args: &[&str], file: &str) -> Result<()> {
        let shown = [args, &[">", file]].concat();
        self.prompt(&shown);
        let output = self.command(args).output()?;
        if !output.status.success() {
            self.shown(&String::from_utf8_lossy(&output.stderr));
            return Err(Error::new(
                ErrorId::Internal,
                format!("vault {} ended with {}", args.join(" "), output.status),
            ));
        }
        self.stage.write(file, &output.stdout)?;
        self.record(&shown, 0, None);
        Ok(())
    }

    /// What a command says as JSON; not part of the story.
    pub fn ask(&self, args: &[&str]) -> Result<serde_json::Value> {
        let output = self.command(&[args, &["--json"]].concat()).output()?;
        serde_json::from_slice(&output.stdout)
            .map_err(|e| Error::new(ErrorId::Internal, format!("vault {} printed no document: {e}", args.join(" "))))
    }

    /// Shows a file that somebody wrote.
    pub fn show(&self, text: &str) {
        self.shown(text);
    }

    /// Runs a command that must be refused with one of these ids, and shows the refusal.
    pub fn refused(&mut self, args: &[&str], ids: &[ErrorId]) -> Result<()> {
        let (exit, text) = self.perform(args)?;
        self.shown(&text);
        let mut json = args.to_vec();
        json.push("--json");
        let told = self.command(&json).output().map_err(Error::from)?;
        let id = serde_json::from_slice::<serde_json::Value>(&told.stdout)
            .ok()
            .and_then(|document| document["error"]["id"].as_str().map(String::from));
        let expected = ids.iter().find(|e| Some(e.name()) == id.as_deref() && e.kind().exit_status() == exit);
        let Some(expected) = expected else {
            let text = format!("vault {} was to be refused, and ended with {exit} {id:?}", args.join(" "));
            return Err(Error::new(ErrorId::Internal, text));
        };
        self.print(&format!("   refused: {} (exit status {exit})\n", expected.name()));
        self.record(args, exit, Some(*expected));
        Ok(())
    }

    /// Shows a refusal that was met in this process.
    pub fn refused_in_process(&mut self, who: &str, error: &Error) -> Result<()> {
        self.print(&format!("   {who}:\n"));
        self.shown(&format!("vault: error: {error}\n"));
        self.print(&format!("   refused: {} (exit status {})\n", error.id(), error.kind().exit_status()));
        let step = Step {
            command: format!("({who})"),
            exit: error.kind().exit_status(),
            refused: Some(error.id().name().into()),
        };
        self.steps.push(step);
        Ok(())
    }

    /// Starts a daemon on a free port and waits until it serves.
    pub fn serve(&mut self) -> Result<Daemon> {
        let args = ["serve", "--listen", "127.0.0.1:0"];
        self.prompt(&args);
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let mut daemon = Daemon { address: String::new(), child };
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let Some(address) = ready["listening"].as_str() else {
            let mut errors = String::new();
            if let Some(mut stderr) = daemon.child.stderr.take() {
                stderr.read_to_string(&mut errors)?;
            }
            return Err(Error::new(ErrorId::Internal, format!("the daemon did not start: {line}{errors}")));
        };
        daemon.address = address.into();
        self.print(&format!("   | serving workloads at {address}, operators on a Unix socket\n"));
        self.record(&args, 0, None);
        Ok(daemon)
    }

    /// Stops the daemon as a service manager would, and waits until it has drained.
    pub fn stop(&mut self, mut daemon: Daemon) -> Result<()> {
        let pid = daemon.child.id();
        self.print(&format!("\n   $ kill {pid}\n"));
        let killed = Command::new("kill").arg(pid.to_string()).status()?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match daemon.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    return Err(Error::new(ErrorId::DeadlineExceeded, "the daemon does not stop"));
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        if !killed.success() || !status.success() {
            return Err(Error::new(ErrorId::Internal, format!("the daemon ended with {status}")));
        }
        Ok(())
    }

    /// What was done.
    pub fn end(self) -> Result<Vec<Step>> {
        Ok(self.steps)
    }

    fn perform(&self, args: &[&str]) -> Result<(u8, String)> {
        self.prompt(args);
        let output = self.command(args).output()?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text += &String::from_utf8_lossy(&output.stderr);
        // No status: a signal ended it.
        Ok((output.status.code().and_then(|c| c.try_into().ok()).unwrap_or(u8::MAX), text))
    }

    /// This program, in the stage's environment and nothing of ours.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap_or_else(|_| "vault".into()));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MODELVAULT_") {
                command.env_remove(name);
            }
        }
        let dir = self.stage.dir();
        command
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .env("MODELVAULT_HOME", dir.join("home"))
            .env("XDG_CONFIG_HOME", dir.join("config"))
            .env("XDG_STATE_HOME", dir.join("state"))
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("VAULT_ADDR")
            .env("NO_COLOR", "1");
        command
    }

    fn prompt(&self, args: &[&str]) {
        self.print(&format!("\n   $ vault {}\n", args.join(" ")));
    }

    fn shown(&self, text: &str) {
        let lines: String = text.lines().map(|line| format!("   | {line}").trim_end().to_owned() + "\n").collect();
        self.print(&lines);
    }

    /// The story goes to standard output; with `--json` there is only the document at the end.
    fn print(&self, text: &str) {
        if !self.cx.out.json() {
            let _ = self.cx.out.to_stdout(text);
        }
    }

    fn record(&mut self, args: &[&str], exit: u8, refused: Option<ErrorId>) {
        let command = format!("vault {}", args.join(" "));
        self.steps.push(Step { command, exit, refused: refused.map(|id| id.name().into()) });
    }
}
