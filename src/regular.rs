//! Files that are read whole: regular ones. Nobody waits for whoever might write into a pipe that has a file's name.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file.
///
/// # Errors
/// `IsADirectory`; `InvalidData` for a pipe, a device and the like; those of the file system.
pub fn open(path: &Path) -> io::Result<File> {
    let file = open_or_directory(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// Opens a regular file, or a directory.
///
/// # Errors
/// `InvalidData` for a pipe, a device and the like; those of the file system.
pub fn open_or_directory(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    match file.metadata()?.file_type() {
        kind if kind.is_file() || kind.is_dir() => Ok(file),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file")),
    }
}

/// The same, or what this process was started with: standard input, or what another program writes (`<(...)` of a shell). It has a
/// writer, or an end.
///
/// # Errors
/// As [`open`].
pub fn open_or_inherited(path: &Path) -> io::Result<File> {
    if is_inherited(path) { File::open(path) } else { open(path) }
}

/// Whether a path names a descriptor of this process.
pub fn is_inherited(path: &Path) -> bool {
    let descriptor = |parent: &Path| {
        ["/dev/fd", "/proc/self/fd"].iter().any(|dir| parent == Path::new(dir))
            && path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    path == Path::new("/dev/stdin") || path.parent().is_some_and(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits_for_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let (file, pipe) = (dir.path().join("file"), dir.path().join("pipe"));
        std::fs::write(&file, "x").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for open in [open, open_or_inherited] {
            open(&file).unwrap();
            for (path, kind) in [
                (&*pipe, io::ErrorKind::InvalidData),
                (Path::new("/dev/zero"), io::ErrorKind::InvalidData),
                (dir.path(), io::ErrorKind::IsADirectory),
            ] {
                assert_eq!(open(path).unwrap_err().kind(), kind, "{path:?}");
            }
        }
    }

    #[test]
    fn descriptors_are_named_by_their_number_and_nowhere_else() {
        for path in ["/dev/stdin", "/dev/fd/63", "/proc/self/fd/0"] {
            assert!(is_inherited(Path::new(path)), "{path}");
        }
        for path in ["/dev/fd/x", "/dev/fd/../zero", "/proc/1/fd/0", "fd/63", "/dev/zero", "/dev/fd"] {
            assert!(!is_inherited(Path::new(path)), "{path}");
        }
    }
}
