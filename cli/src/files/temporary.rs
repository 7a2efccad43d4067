//! Names in the making. They are registered, so that an interrupted command can remove them on its way out.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use model_vault::crypto::random::SystemRandom;
use model_vault::names::Random;

/// What is to be removed when the process is interrupted; `None` once it is: nothing new may be made then.
static MADE: Mutex<Option<Vec<PathBuf>>> = Mutex::new(Some(Vec::new()));

/// A file or directory beside its final name. Removed when dropped, unless it was put in place.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// A file (mode 0600 & umask, or as asked) that did not exist before.
    pub fn file(beside: &Path, mode: u32) -> io::Result<(Self, File)> {
        Self::make(beside, |path| OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path))
    }

    /// A directory, mode 0700, that did not exist before.
    pub fn directory(beside: &Path) -> io::Result<Self> {
        Ok(Self::make(beside, |path| DirBuilder::new().mode(0o700).create(path))?.0)
    }

    fn make<T>(beside: &Path, make: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<(Self, T)> {
        let name = beside.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let mut random = [0; 8];
        SystemRandom.fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
        // Cut at 200 bytes: the name with its additions must stay within the 255 of a file system.
        let cut = (0..=name.len().min(200)).rev().find(|i| name.is_char_boundary(*i)).unwrap_or(0);
        let path = beside.with_file_name(format!(".{}.{:016x}.tmp", &name[..cut], u64::from_be_bytes(random)));
        // Held while it is made: the handler of an interrupt sees it, or it is not made.
        let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let list = made.as_mut().ok_or(io::ErrorKind::Interrupted)?;
        let value = make(&path)?;
        list.push(path.clone());
        Ok((Self(path), value))
    }

    /// Where it is meanwhile.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Gives it its final name; a file of that name is replaced.
    pub fn rename(self, to: &Path) -> io::Result<()> {
        let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let list = made.as_mut().ok_or(io::ErrorKind::Interrupted)?;
        let renamed = fs::rename(&self.0, to);
        if renamed.is_ok() {
            list.retain(|p| *p != self.0);
        }
        drop(made);
        renamed
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(list) = made.as_mut() else { return };
        if let Some(at) = list.iter().position(|p| *p == self.0) {
            list.swap_remove(at);
            remove(&self.0);
        }
    }
}

/// Removes all of them, and lets no more be made. For signal handlers.
pub fn remove_all() {
    let made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    made.iter().flatten().for_each(|path| remove(path));
}

fn remove(path: &Path) {
    let _ = match path.symlink_metadata() {
        Ok(facts) if facts.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
}
