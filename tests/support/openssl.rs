//! The `openssl` command, run in a temporary directory.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// The directory; its files are named to openssl without a path.
pub struct Openssl(TempDir);

impl Openssl {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Its output, or what it says of its failure.
    pub fn try_run(&self, args: &[&str]) -> Result<Vec<u8>, String> {
        let out = Command::new("openssl").args(args).current_dir(&self.0).output().expect("openssl is installed");
        if out.status.success() { Ok(out.stdout) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
    }

    pub fn run(&self, args: &[&str]) -> Vec<u8> {
        self.try_run(args).unwrap_or_else(|e| panic!("openssl {args:?}: {e}"))
    }
}
