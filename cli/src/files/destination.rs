//! Where one stream of bytes goes: a new file that appears when it is complete, a device, or standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use model_vault::seal::io::WriteAt;
use model_vault::{Error, ErrorId, Result};

use super::on;
use super::temporary::Temporary;

/// Mode of files with plaintext.
pub const PRIVATE: u32 = 0o600;
/// Mode of sealed files and other files without secrets; the umask applies.
pub const ORDINARY: u32 = 0o666;

/// A destination that was opened.
#[derive(Debug)]
pub enum Destination {
    /// A regular file: written anywhere, any order, put in place by `finish`.
    File {
        /// The file under its temporary name.
        file: File,
        /// That name.
        temporary: Temporary,
        /// The final name.
        path: PathBuf,
    },
    /// A device or named pipe: written in order.
    Device(File),
    /// Standard output: written in order.
    Stdout,
}

impl Destination {
    /// Opens `path`; `-` is standard output.
    ///
    /// # Errors
    /// `InvalidArgument` for a directory, and for standard output that is a terminal: bytes would garble it.
    pub fn open(path: &Path, mode: u32) -> Result<Self> {
        if path == Path::new("-") {
            if io::stdout().is_terminal() {
                return Err(Error::new(ErrorId::InvalidArgument, "refusing to write binary data to a terminal")
                    .hint("name a file with -o, or send standard output to a pipe or file"));
            }
            return Ok(Self::Stdout);
        }
        let path = follow(path);
        match path.metadata() {
            Ok(facts) if facts.is_dir() => {
                Err(Error::new(ErrorId::InvalidArgument, format!("{} is a directory", path.display()))
                    .hint("name a file in it"))
            }
            Ok(facts) if !facts.is_file() => {
                let device = OpenOptions::new().write(true).open(&path).map_err(on(&path))?;
                if device.is_terminal() {
                    return Err(Error::new(ErrorId::InvalidArgument, "refusing to write binary data to a terminal"));
                }
                Ok(Self::Device(device))
            }
            _ => {
                let (temporary, file) = Temporary::file(&path, mode).map_err(on(&path))?;
                Ok(Self::File { file, temporary, path })
            }
        }
    }

    /// Whether it is standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// The file, if it may be written in any order.
    pub fn random_access(&self) -> Option<&File> {
        match self {
            Self::File { file, .. } => Some(file),
            _ => None,
        }
    }

    /// Puts a file in place, durably if `sync`.
    pub fn finish(mut self, sync: bool) -> Result<()> {
        self.flush()?;
        if let Self::File { file, temporary, path } = self {
            if sync {
                file.sync_all().map_err(on(&path))?;
            }
            temporary.rename(&path).map_err(on(&path))?;
            if sync {
                File::open(parent(&path)).and_then(|dir| dir.sync_all()).map_err(on(&path))?;
            }
        }
        Ok(())
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File { file, .. } | Self::Device(file) => file.write(bytes),
            Self::Stdout => io::stdout().lock().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File { .. } | Self::Device(..) => Ok(()),
            Self::Stdout => io::stdout().lock().flush(),
        }
    }
}

impl WriteAt for Destination {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.random_access().ok_or(io::ErrorKind::NotSeekable)?.write_all_at(bytes, offset)
    }
}

/// The directory of a path.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where a link leads: the rename must replace what the user sees through it, not the link.
fn follow(path: &Path) -> PathBuf {
    match path.symlink_metadata() {
        Ok(facts) if facts.is_symlink() => path.canonicalize().unwrap_or_else(|_| path.to_path_buf()),
        _ => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "old").unwrap();
        let mut given_up = Destination::open(&path, PRIVATE).unwrap();
        given_up.write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let whole = Destination::open(&path, PRIVATE).unwrap();
        whole.write_all_at(b"new", 0).unwrap();
        whole.finish(true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn links_are_followed_and_directories_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut out = Destination::open(&link, ORDINARY).unwrap();
        out.write_all(b"new").unwrap();
        out.finish(false).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(Destination::open(dir.path(), PRIVATE).unwrap_err().id(), ErrorId::InvalidArgument);
        assert_eq!(Destination::open(&dir.path().join("no/such"), PRIVATE).unwrap_err().id(), ErrorId::NotFound);
        assert!(matches!(Destination::open(Path::new("/dev/null"), PRIVATE), Ok(Destination::Device(..))));
    }
}
