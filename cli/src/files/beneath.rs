//! Files of a directory that a stranger names: nothing outside of it is opened, no link is followed, and no pipe is waited for.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use model_vault::Result;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::on;

/// A directory.
pub struct Beneath(OwnedFd);

/// What a name in it is.
#[derive(Debug)]
pub enum Named {
    /// A file.
    File(File),
    /// Nothing.
    Missing,
    /// A link, something that is no file, or a place that is not in the directory.
    Refused,
}

impl Beneath {
    /// Opens the directory.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(directory: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(directory, flags, Mode::empty()).map_err(|e| on(directory)(e.into()))?;
        Ok(Self(handle))
    }

    /// What has that name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn named(&self, name: &str) -> io::Result<Named> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.0, name, flags, Mode::empty(), resolve) {
            Ok(opened) => {
                let file = File::from(opened);
                Ok(if file.metadata()?.is_file() { Named::File(file) } else { Named::Refused })
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Named::Missing),
            // A link, a place outside, a socket, a name that is none.
            Err(Errno::LOOP | Errno::XDEV | Errno::NXIO | Errno::INVAL | Errno::NAMETOOLONG) => Ok(Named::Refused),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_files_of_the_directory_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        fs::create_dir_all(inside.join("a")).unwrap();
        fs::write(inside.join("a/file"), "x").unwrap();
        fs::write(dir.path().join("outside"), "x").unwrap();
        symlink("a/file", inside.join("link")).unwrap();
        symlink("a", inside.join("folder")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, inside.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let beneath = Beneath::open(&inside).unwrap();
        assert!(matches!(beneath.named("a/file").unwrap(), Named::File(_)));
        for missing in ["b", "a/b", "a/file/x", ""] {
            assert!(matches!(beneath.named(missing).unwrap(), Named::Missing), "{missing}");
        }
        let absolute = dir.path().join("outside");
        for refused in ["a", "link", "folder/file", "pipe", "../outside", absolute.to_str().unwrap(), "a\0b"] {
            assert!(matches!(beneath.named(refused).unwrap(), Named::Refused), "{refused:?}");
        }
    }
}
