//! Receivers on this machine that take lines: a file, standard output.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, mpsc};

use tokio::sync::oneshot;

use crate::error::{Error, ErrorId, Result};

/// A file that grows (mode 0600). When somebody moves it away, as log rotation does, a new one is begun.
#[derive(Debug)]
pub(super) struct Appender {
    path: PathBuf,
    open: Mutex<Option<File>>,
}

impl Appender {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: Mutex::new(None) }
    }

    /// Appends lines, durably.
    pub(super) fn append(&self, lines: &[u8]) -> Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |e: std::io::Error| Error::from(e).on(self.path.display());
        if !open.as_ref().is_some_and(|file| self.is_still(file)) {
            *open = Some(self.begin().map_err(named)?);
        }
        let Some(file) = open.as_mut() else { return Ok(()) };
        let written = file.write_all(lines).and_then(|()| file.sync_data());
        if written.is_err() {
            // What of it is there is not known: the next attempt begins on a line of its own.
            *open = None;
        }
        written.map_err(named)
    }

    fn is_still(&self, file: &File) -> bool {
        match (std::fs::symlink_metadata(&self.path), file.metadata()) {
            (Ok(named), Ok(open)) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
            _ => false,
        }
    }

    fn begin(&self) -> std::io::Result<File> {
        // Not through a link: whoever may write to the directory would choose what a privileged daemon appends to.
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let options = OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(flags).clone();
        let mut file = options.open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file"));
        }
        // A line that a crash cut is ended, so that the next one is whole.
        if file.metadata()?.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(file)
    }
}

type Job = (Vec<u8>, oneshot::Sender<std::io::Result<()>>);

/// Standard output. On a thread of its own: who reads it may stop, and then that thread alone waits.
#[derive(Debug)]
pub(super) struct Stdout(mpsc::Sender<Job>);

impl Stdout {
    pub(super) fn new() -> Result<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let work = move || {
            for (lines, done) in jobs {
                let mut out = std::io::stdout().lock();
                // Whether anybody still waits for it or not, it is written.
                let _ = done.send(out.write_all(&lines).and_then(|()| out.flush()));
            }
        };
        std::thread::Builder::new().name("sink-stdout".into()).spawn(work)?;
        Ok(Self(sender))
    }

    pub(super) async fn write(&self, lines: Vec<u8>) -> Result<()> {
        let ended = || Error::new(ErrorId::IoError, "standard output is closed");
        let (done, answer) = oneshot::channel();
        self.0.send((lines, done)).map_err(|_| ended())?;
        Ok(answer.await.map_err(|_| ended())??)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_is_moved_away_is_begun_anew_and_a_cut_line_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, "{\"cut").unwrap();
        let file = Appender::new(path.clone());
        file.append(b"one\n").unwrap();
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        file.append(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("old")).unwrap(), "{\"cut\none\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("other"), "").unwrap();
        std::os::unix::fs::symlink("other", dir.path().join("link")).unwrap();
        Appender::new(dir.path().join("link")).append(b"x\n").unwrap_err();
        assert_eq!(std::fs::read(dir.path().join("other")).unwrap(), b"");
    }
}
