//! Where one stream of bytes goes: a new file that appears when it is complete, a device, or standard output. The file has no
//! name until then where the file system can do that: whatever ends the process, nothing is left.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model_vault::seal::io::WriteAt;
use model_vault::{Error, ErrorId, Result, regular};
use rustix::fs::{Access, AtFlags, CWD, OFlags, access, linkat};

use super::temporary::{self, Temporary};
use super::{on, refuse_same};

/// Mode of files with plaintext.
pub const PRIVATE: u32 = 0o600;
/// Mode of sealed files and other files without secrets; the umask applies.
pub const ORDINARY: u32 = 0o666;

/// A destination that was opened.
#[derive(Debug)]
pub enum Destination {
    /// A regular file: written anywhere, any order, put in place by `finish`.
    File {
        /// What is written to.
        file: File,
        /// Its name meanwhile, where a file must have one.
        temporary: Option<Temporary>,
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
    /// `AlreadyExists` for a file with something in it; `InvalidArgument` for a directory, and for standard output that is a
    /// terminal: bytes would garble it.
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
            Ok(facts) if facts.len() > 0 => Err(occupied(&path)),
            _ => {
                temporary::sweep(parent(&path));
                let (file, temporary) = new_file(&path, mode).map_err(on(&path))?;
                Ok(Self::File { file, temporary, path })
            }
        }
    }

    /// What [`open`](Self::open) would refuse, as far as it can be told without making anything; directories pass.
    pub fn check(path: &Path) -> Result<()> {
        let followed = follow(path);
        match followed.metadata() {
            _ if path == Path::new("-") => Ok(()),
            Ok(facts) if facts.is_file() && facts.len() > 0 => Err(occupied(&followed)),
            Ok(facts) if !facts.is_file() => Ok(()),
            _ => {
                let parent = parent(&followed);
                access(parent, Access::WRITE_OK | Access::EXEC_OK).map_err(|e| on(parent)(e.into()))
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
            let put = || match &temporary {
                Some(named) => named.rename_new(&path),
                None => link(&file, &path),
            };
            let placed = match put() {
                // It was there, empty, when it was named as the output.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && is_empty_file(&path) => {
                    std::fs::remove_file(&path).and_then(|()| put())
                }
                placed => placed,
            };
            placed.map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => occupied(&path),
                _ => on(&path)(e),
            })?;
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

/// Writes a file that is not there yet, such as a report: never over another one, nor into `input`, which would then be another input.
///
/// # Errors
/// `InvalidArgument`, `AlreadyExists`, and those of the file system.
pub fn put_new(input: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    must_be_new(input, path)?;
    let mut out = Destination::open(path, ORDINARY)?;
    out.write_all(bytes).map_err(on(path))?;
    out.finish(true)
}

/// What [`put_new`] would refuse: told before the work whose outcome is written there.
///
/// # Errors
/// As [`put_new`].
pub fn must_be_new(input: &Path, path: &Path) -> Result<()> {
    if path == Path::new("-") || path.is_dir() {
        let text = format!("{} is no file", path.display());
        return Err(Error::new(ErrorId::InvalidArgument, text).hint("name a new file"));
    }
    let is_pipe = path.metadata().is_ok_and(|facts| facts.file_type().is_fifo());
    if is_pipe && !regular::is_inherited(path) {
        // It would be waited for until somebody reads it.
        let text = format!("{} is a pipe", path.display());
        return Err(Error::new(ErrorId::InvalidArgument, text).hint("name a new file"));
    }
    refuse_same(input, path)?;
    Destination::check(path)
}

/// Whether two outputs would be one file, which may not be there yet. What is written to a device is in nobody's way.
pub fn same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        let path = follow(path);
        let is_device = path.metadata().is_ok_and(|facts| !facts.is_file());
        let (directory, name) = (parent(&path).canonicalize().ok()?, path.file_name()?);
        (!is_device).then(|| directory.join(name))
    };
    place(a).is_some_and(|a| Some(a) == place(b))
}

/// A file that gets the name `path` when it is complete; without a name until then, if that can be.
fn new_file(path: &Path, mode: u32) -> io::Result<(File, Option<Temporary>)> {
    let flags = OFlags::TMPFILE.bits().cast_signed();
    let unnamed = OpenOptions::new().read(true).write(true).mode(mode).custom_flags(flags).open(parent(path));
    match unnamed {
        // Without /proc it could not be given its name.
        Ok(file) if proc_path(&file).symlink_metadata().is_ok() => Ok((file, None)),
        Err(e) if !lacks_unnamed_files(&e) => Err(e),
        _ => Temporary::file(path, mode).map(|(temporary, file)| (file, Some(temporary))),
    }
}

/// NFS, and overlays on older kernels.
fn lacks_unnamed_files(e: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, IsADirectory, Unsupported};
    matches!(e.kind(), InvalidInput | IsADirectory | Unsupported)
}

/// Gives a file without a name its name, which must be free.
fn link(file: &File, path: &Path) -> io::Result<()> {
    Ok(linkat(CWD, proc_path(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

fn proc_path(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn is_empty_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|facts| facts.is_file() && facts.len() == 0)
}

/// One rule for files and directories: what has something in it is never replaced.
pub fn occupied(path: &Path) -> Error {
    Error::new(ErrorId::AlreadyExists, format!("{} exists already", path.display()))
        .hint("name another place with -o, or remove it first")
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
    fn two_names_of_one_new_file_are_one_place() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        let at = |path: &str| dir.path().join(path);
        std::os::unix::fs::symlink("new", at("link")).unwrap();
        assert!(same_place(&at("new"), &at("d/../new")));
        assert!(!same_place(&at("new"), &at("other")) && !same_place(&at("new"), &at("d/new")));
        assert!(!same_place(Path::new("/dev/null"), Path::new("/dev/null")));
        fs::write(at("new"), "").unwrap();
        assert!(same_place(&at("new"), &at("link")));
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut given_up = Destination::open(&path, PRIVATE).unwrap();
        given_up.write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        for there in [None, Some("")] {
            there.into_iter().for_each(|empty| fs::write(&path, empty).unwrap());
            let whole = Destination::open(&path, PRIVATE).unwrap();
            whole.write_all_at(b"new", 0).unwrap();
            whole.finish(true).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn where_files_must_have_a_name_it_is_a_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let named = || {
            let (temporary, file) = Temporary::file(&path, PRIVATE).unwrap();
            Destination::File { file, temporary: Some(temporary), path: path.clone() }
        };
        let mut given_up = named();
        given_up.write_all(b"half").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(given_up);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut whole = named();
        whole.write_all(b"new").unwrap();
        whole.finish(false).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(named().finish(false).unwrap_err().id(), ErrorId::AlreadyExists);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_there_is_not_replaced_not_even_what_came_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut late = Destination::open(&path, PRIVATE).unwrap();
        late.write_all(b"ours").unwrap();
        fs::write(&path, "theirs").unwrap();
        assert_eq!(late.finish(false).unwrap_err().id(), ErrorId::AlreadyExists);
        assert_eq!(Destination::open(&path, PRIVATE).unwrap_err().id(), ErrorId::AlreadyExists);
        assert_eq!(Destination::check(&path).unwrap_err().id(), ErrorId::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert_eq!(Destination::check(&dir.path().join("no/such")).unwrap_err().id(), ErrorId::NotFound);
        for fine in [dir.path().to_owned(), dir.path().join("new"), "/dev/null".into(), "-".into()] {
            Destination::check(&fine).unwrap();
        }
    }

    #[test]
    fn a_report_replaces_nothing_and_does_not_lie_in_what_it_is_about() {
        let dir = tempfile::tempdir().unwrap();
        let (data, report) = (dir.path().join("data"), dir.path().join("report"));
        fs::create_dir(&data).unwrap();
        put_new(&data, &report, b"one").unwrap();
        assert_eq!(put_new(&data, &report, b"two").unwrap_err().id(), ErrorId::AlreadyExists);
        assert_eq!(fs::read(&report).unwrap(), b"one");
        for bad in [data.join("report"), data.clone(), "-".into()] {
            assert_eq!(put_new(&data, &bad, b"x").unwrap_err().id(), ErrorId::InvalidArgument, "{bad:?}");
        }
        put_new(&data, Path::new("/dev/null"), b"x").unwrap();
    }

    #[test]
    fn links_are_followed_and_directories_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "").unwrap();
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
