//! Names in the making. They are registered, so that an interrupted command removes them on its way out, and locked by the
//! process that makes them, so that the next command removes what a killed one left behind.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use model_vault::crypto::random::SystemRandom;
use model_vault::names::Random;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::destination::parent;

/// End of the names, after 16 hex digits: `.NAME.0123456789abcdef.vault-tmp`.
const SUFFIX: &str = ".vault-tmp";
/// How often a fresh name is tried when another process takes it for abandoned before it is locked.
const TRIES: usize = 8;

/// What is to be removed when the process is interrupted; `None` once it is: nothing new may be made then.
static MADE: Mutex<Option<Vec<PathBuf>>> = Mutex::new(Some(Vec::new()));

/// A file or directory beside its final name. Removed when dropped, unless it was put in place.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    /// Holds the lock that tells other processes that this one lives.
    lock: File,
}

impl Temporary {
    /// A file (mode 0600 & umask, or as asked) that did not exist before.
    pub fn file(beside: &Path, mode: u32) -> io::Result<(Self, File)> {
        let new = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path);
        let made = Self::make(beside, new)?;
        let file = made.lock.try_clone()?;
        Ok((made, file))
    }

    /// A directory, mode 0700, that did not exist before.
    pub fn directory(beside: &Path) -> io::Result<Self> {
        sweep(parent(beside));
        Self::make(beside, |path| DirBuilder::new().mode(0o700).create(path).and_then(|()| File::open(path)))
    }

    fn make(beside: &Path, make: impl Fn(&Path) -> io::Result<File>) -> io::Result<Self> {
        for _ in 0..TRIES {
            let path = fresh_name(beside)?;
            // Held while it is made: the handler of an interrupt sees it, or it is not made.
            let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let list = made.as_mut().ok_or(io::ErrorKind::Interrupted)?;
            let lock = make(&path)?;
            match lock.try_lock() {
                // Another process found it before it was locked, and removes it.
                Err(TryLockError::WouldBlock) => continue,
                Ok(()) if !is_at(&lock, &path) => continue,
                // Where there are no locks nobody else gets one either: it is never taken for abandoned.
                Ok(()) | Err(TryLockError::Error(_)) => {}
            }
            list.push(path.clone());
            return Ok(Self { path, lock });
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Where it is meanwhile.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives a directory its final name; an empty directory of that name is replaced.
    pub fn rename(self, to: &Path) -> io::Result<()> {
        self.place(|from| fs::rename(from, to))
    }

    /// Gives a file its final name, which must be free.
    pub fn rename_new(&self, to: &Path) -> io::Result<()> {
        self.place(|from| match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // The file system cannot do both at once.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if to.symlink_metadata().is_err() => {
                fs::rename(from, to)
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::ErrorKind::AlreadyExists.into()),
            renamed => Ok(renamed?),
        })
    }

    fn place(&self, rename: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let list = made.as_mut().ok_or(io::ErrorKind::Interrupted)?;
        rename(&self.path)?;
        list.retain(|p| *p != self.path);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(list) = made.as_mut() else { return };
        if let Some(at) = list.iter().position(|p| *p == self.path) {
            list.swap_remove(at);
            remove(&self.path);
        }
    }
}

/// Removes what killed commands left in a directory: named as above, of this user, and locked by nobody. What cannot be
/// removed stays; the command goes on.
pub fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().filter(|e| is_named_as_ours(&e.file_name())).map(|e| e.path()) {
        if let Ok(found) = open_any(&path)
            && found.metadata().is_ok_and(|facts| facts.uid() == crate::session::uid())
            && found.try_lock().is_ok()
            // It was still ours to judge when the lock was had: neither put in place nor removed meanwhile.
            && is_at(&found, &path)
        {
            remove(&path);
        }
    }
}

/// Removes all of them, and lets no more be made. For signal handlers.
pub fn remove_all() {
    let made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    made.iter().flatten().for_each(|path| remove(path));
}

fn fresh_name(beside: &Path) -> io::Result<PathBuf> {
    let name = beside.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let mut random = [0; 8];
    SystemRandom.fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
    // Cut at 200 bytes: the name with its additions must stay within the 255 of a file system.
    let cut = (0..=name.len().min(200)).rev().find(|i| name.is_char_boundary(*i)).unwrap_or(0);
    Ok(beside.with_file_name(format!(".{}.{:016x}{SUFFIX}", &name[..cut], u64::from_be_bytes(random))))
}

fn is_named_as_ours(name: &OsStr) -> bool {
    let stem = name.to_str().and_then(|n| n.strip_prefix('.')).and_then(|n| n.strip_suffix(SUFFIX));
    stem.and_then(|s| s.rsplit_once('.')).is_some_and(|(_, random)| {
        random.len() == 16 && random.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// A file or directory itself, without following a link or waiting for the other end of a pipe.
fn open_any(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Whether `path` still names what was opened.
fn is_at(opened: &File, path: &Path) -> bool {
    let there = path.symlink_metadata().map(|f| (f.dev(), f.ino()));
    matches!((there, opened.metadata()), (Ok(there), Ok(facts)) if there == (facts.dev(), facts.ino()))
}

fn remove(path: &Path) {
    let _ = match path.symlink_metadata() {
        Ok(facts) if facts.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const LEFT: &str = ".out.0123456789abcdef.vault-tmp";

    #[test]
    fn what_a_killed_command_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let theirs = ["out.vault-tmp", ".out.vault-tmp", ".out.0123456789abcdeF.vault-tmp", ".x.0123456789abcdef.tmp"];
        theirs.iter().for_each(|name| fs::write(at(name), "theirs").unwrap());
        fs::create_dir(at("kept")).unwrap();
        fs::write(at("kept/file"), "kept").unwrap();
        symlink(at("kept"), at(".link.0123456789abcdef.vault-tmp")).unwrap();
        fs::create_dir_all(at(LEFT).join("a")).unwrap();
        fs::write(at(LEFT).join("a/b"), "plaintext").unwrap();
        fs::write(at(".file.0123456789abcdef.vault-tmp"), "plaintext").unwrap();
        let alive = Temporary::directory(&at("other")).unwrap();
        let (alive_file, _) = Temporary::file(&at("another"), 0o600).unwrap();
        sweep(dir.path());
        assert!(!at(LEFT).exists() && !at(".file.0123456789abcdef.vault-tmp").exists());
        assert!(theirs.iter().all(|name| at(name).exists()));
        assert!(at("kept/file").exists() && alive.path().exists() && alive_file.path().exists());
    }

    #[test]
    fn a_name_that_was_taken_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("out");
        let (temporary, _) = Temporary::file(&to, 0o600).unwrap();
        fs::write(&to, "theirs").unwrap();
        assert_eq!(temporary.rename_new(&to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&to).unwrap();
        temporary.rename_new(&to).unwrap();
        drop(temporary);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
