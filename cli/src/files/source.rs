//! What `vault seal` reads: one file, or the files of a directory in the order of their paths.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model_vault::names::Reference;
use model_vault::seal::io::ReadAt;
use model_vault::seal::path_is_valid;
use model_vault::{Error, ErrorId, Result};

use super::{folding, on};

/// Most members of a sealed file (docs/format.md 11).
pub const MEMBERS_MAX: usize = 262_144;
/// Most files of a directory: those of a dataset may be sealed in parts.
const FILES_MAX: usize = 1 << 23;
/// O_NOFOLLOW: what was a file when the directory was walked must not be a link when it is read.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// A member to be: its path within the artifact and where its bytes are.
pub struct Source {
    /// Path within the artifact.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The bytes.
    pub bytes: Box<dyn ReadAt>,
}

/// Whether there is something to seal at `path`.
///
/// # Errors
/// `NotFound`; `InvalidArgument` for standard input.
pub fn exists(path: &Path) -> Result<()> {
    if path == Path::new("-") {
        return Err(Error::new(ErrorId::InvalidArgument, "standard input cannot be sealed")
            .hint("write it to a file first: sealing reads positions, not a stream"));
    }
    path.metadata().map(drop).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound if is_reference(path) => on(path)(e)
            .hint("check the path; to seal an artifact of the vault into a file: vault export REF -o FILE.mvlt"),
        _ => on(path)(e),
    })
}

fn is_reference(path: &Path) -> bool {
    path.to_str().is_some_and(|text| Reference::is_url(text) || text.contains('@'))
}

/// The members that `path` amounts to, in the byte order of their paths. Directories without files are not among them.
///
/// # Errors
/// `NotFound`; `InvalidArgument` for a directory without a single file (the format could hold it, but nobody means it), for
/// links and special files within a directory, and for names the format or other systems do not allow.
pub fn members(path: &Path) -> Result<Vec<Source>> {
    let facts = path.metadata().map_err(on(path))?;
    if facts.is_dir() {
        return directory(path);
    }
    if !facts.is_file() {
        return Err(Error::new(ErrorId::InvalidArgument, format!("{} is neither file nor directory", path.display())));
    }
    let name = path.file_name().and_then(|n| n.to_str()).filter(|n| path_is_valid(n)).ok_or_else(|| bad_name(path))?;
    let file = File::open(path).map_err(on(path))?;
    // The bytes that are there now are sealed, whatever is appended later; a file that shrinks is found while reading.
    let size = file.metadata().map_err(on(path))?.len();
    Ok(vec![Source { path: name.into(), size, bytes: Box::new(Sized { file, size }) }])
}

fn directory(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![(root.to_path_buf(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(on(&folder))? {
            let entry = entry.map_err(on(&folder))?;
            let path = entry.path();
            let name = entry.file_name().into_string().map_err(|_| bad_name(&path))?;
            let member = format!("{prefix}{name}");
            if !path_is_valid(&member) {
                return Err(bad_name(&path));
            }
            let facts = path.symlink_metadata().map_err(on(&path))?;
            if facts.is_dir() {
                folders.push((path, member + "/"));
            } else if facts.is_file() {
                let source = Reopened { path, size: facts.len(), file: identity(&facts) };
                sources.push(Source { path: member, size: facts.len(), bytes: Box::new(source) });
            } else {
                let what = if facts.is_symlink() { "a link" } else { "neither file nor directory" };
                return Err(Error::new(ErrorId::InvalidArgument, format!("{} is {what}", path.display()))
                    .hint("only files and directories are sealed; replace links by what they point to (cp -L)"));
            }
            if sources.len() > FILES_MAX {
                let text = format!("{} has more than {FILES_MAX} files", root.display());
                return Err(Error::new(ErrorId::InvalidArgument, text).hint("pack small files into archives first"));
            }
        }
    }
    if sources.is_empty() {
        return Err(Error::new(
            ErrorId::InvalidArgument,
            format!("{}: there is no file in this directory", root.display()),
        )
        .hint("check the path: an artifact has at least one file"));
    }
    sources.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    folding::refuse_merging(sources.iter().map(|s| &*s.path))?;
    Ok(sources)
}

fn bad_name(path: &Path) -> Error {
    Error::new(ErrorId::InvalidArgument, format!("{path:?} has a name that a sealed file cannot hold"))
        .hint("names are UTF-8 of at most 255 bytes without control characters and backslashes")
}

/// A file that is read up to the size it had.
struct Sized {
    file: File,
    size: u64,
}

impl ReadAt for Sized {
    fn len(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.file, buffer, offset)
    }
}

/// A file of a directory: opened for each read, since a directory can have more files than a process may keep open.
struct Reopened {
    path: PathBuf,
    size: u64,
    file: (u64, u64),
}

fn identity(facts: &Metadata) -> (u64, u64) {
    (facts.dev(), facts.ino())
}

impl ReadAt for Reopened {
    fn len(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let file = OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(&self.path)?;
        if identity(&file.metadata()?) != self.file {
            return Err(io::Error::other(format!("{} was exchanged while it was sealed", self.path.display())));
        }
        FileExt::read_exact_at(&file, buffer, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(root: &Path) -> Result<Vec<String>> {
        members(root).map(|m| m.into_iter().map(|s| s.path).collect())
    }

    #[test]
    fn a_directory_is_walked_in_byte_order() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["b/x", "b.onnx", "a", "b-2/deep/y"] {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), path).unwrap();
        }
        assert_eq!(paths(dir.path()).unwrap(), ["a", "b-2/deep/y", "b.onnx", "b/x"]);
        let mut bytes = [0; 3];
        members(dir.path()).unwrap()[3].bytes.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"b/x");
        assert_eq!(paths(&dir.path().join("b.onnx")).unwrap(), ["b.onnx"]);
    }

    #[test]
    fn a_directory_without_files_is_a_wrong_path() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        assert_eq!(paths(dir.path()).unwrap_err().id(), ErrorId::InvalidArgument);
        fs::write(dir.path().join("a/b/empty"), "").unwrap();
        assert_eq!(paths(dir.path()).unwrap(), ["a/b/empty"]);
    }

    #[test]
    fn links_sockets_and_bad_names_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(paths(dir.path()).unwrap_err().message().ends_with("is a link"));
        fs::remove_file(&link).unwrap();
        for bad in ["a\\b", "a\nb"] {
            fs::write(dir.path().join(bad), "").unwrap();
            assert_eq!(paths(dir.path()).unwrap_err().id(), ErrorId::InvalidArgument);
            assert_eq!(paths(&dir.path().join(bad)).unwrap_err().id(), ErrorId::InvalidArgument);
            fs::remove_file(dir.path().join(bad)).unwrap();
        }
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        assert!(paths(dir.path()).is_err());
        assert!(paths(Path::new("/dev/null")).is_err());
        assert_eq!(paths(&dir.path().join("none")).unwrap_err().id(), ErrorId::NotFound);
    }

    #[test]
    fn a_file_exchanged_after_the_walk_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (file, keep) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&file, "12345").unwrap();
        fs::write(&keep, "12345").unwrap();
        let members = members(dir.path()).unwrap();
        fs::rename(&keep, &file).unwrap();
        assert!(members[0].bytes.read_exact_at(&mut [0; 5], 0).is_err());
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert!(members[0].bytes.read_exact_at(&mut [0; 5], 0).is_err());
    }
}
