//! Blobs as files of a local disk: `xx/ID.body`, `xx/ID.header.GEN`.
//!
//! `xx` is the **last** byte of the id: ids begin with their time, so a fan-out by the first byte would put years of blobs into
//! one directory; the last byte is random. Directories have mode 0700, files 0600.
//!
//! A blob is written under a temporary name in its own directory, fsynced, renamed without replacing, and the directory fsynced:
//! without the last step a power cut brings the old name back although the file was durable.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{BlobId, BlobStore, NewBlob, StoredBlob, Swept};
use crate::error::{Error, ErrorId, Result};
use crate::names::Timestamp;
use crate::seal::io::{ReadAt, WriteAt};

/// Begins the names of unfinished blobs; no blob's own name begins so.
const TEMPORARY: &str = ".new-";

/// Blobs below one directory.
#[derive(Debug)]
pub struct LocalStore {
    dir: PathBuf,
}

impl LocalStore {
    /// The store in `dir` (`$MODELVAULT_HOME/blobs`), which is made if it does not exist.
    ///
    /// # Errors
    /// `IoError`, `DiskFull`, naming the directory.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        make_dir(&dir)?;
        Ok(Self { dir })
    }

    fn dir_of(&self, id: BlobId) -> PathBuf {
        self.dir.join(format!("{:02x}", id.version().as_bytes()[15]))
    }

    fn path_of(&self, id: BlobId) -> PathBuf {
        self.dir_of(id).join(id.to_string())
    }

    /// Files of all fan-out directories, finished or not.
    fn files(&self) -> Result<impl Iterator<Item = Result<fs::DirEntry>>> {
        let fan_out = entries(&self.dir)?.filter(|entry| {
            entry.as_ref().map_or(true, |e| {
                e.file_name().to_str().is_some_and(|n| n.len() == 2 && n.bytes().all(|b| b.is_ascii_hexdigit()))
            })
        });
        Ok(fan_out.flat_map(|dir| {
            let (files, failed) = match dir.and_then(|d| entries(&d.path())) {
                Ok(files) => (Some(files), None),
                Err(e) => (None, Some(Err(e))),
            };
            files.into_iter().flatten().chain(failed)
        }))
    }
}

impl BlobStore for LocalStore {
    fn create(&self, id: BlobId) -> Result<Box<dyn NewBlob>> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let target = self.path_of(id);
        if self.exists(id)? {
            return Err(already_there(&target));
        }
        let dir = self.dir_of(id);
        make_dir(&dir)?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let temporary = dir.join(format!("{TEMPORARY}{id}-{}-{serial}", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|e| Error::from(e).on(temporary.display()))?;
        Ok(Box::new(LocalBlob { file, dir, temporary: Temporary(temporary), target }))
    }

    fn open(&self, id: BlobId) -> Result<Box<dyn ReadAt>> {
        let path = self.path_of(id);
        let opened = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(&path);
        Ok(Box::new(opened.map_err(|e| Error::from(e).on(path.display()))?))
    }

    fn exists(&self, id: BlobId) -> Result<bool> {
        let path = self.path_of(id);
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::from(e).on(path.display())),
        }
    }

    fn delete(&self, id: BlobId) -> Result<bool> {
        let path = self.path_of(id);
        match fs::remove_file(&path) {
            Ok(()) => sync_dir(&self.dir_of(id)).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::from(e).on(path.display())),
        }
    }

    fn list(&self) -> Result<Box<dyn Iterator<Item = Result<StoredBlob>> + '_>> {
        Ok(Box::new(self.files()?.filter_map(|entry| {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => return Some(Err(e)),
            };
            let id = BlobId::from_file_name(entry.file_name().to_str()?)?;
            let (len, modified) = match facts(&entry) {
                Ok(facts) => facts?,
                Err(e) => return Some(Err(e)),
            };
            Some(Ok(StoredBlob { id, len, modified }))
        })))
    }

    fn sweep_temporary(&self, before: Timestamp) -> Result<Swept> {
        let mut swept = Swept::default();
        for entry in self.files()? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|n| n.starts_with(TEMPORARY)) {
                continue;
            }
            // `None`: its writer has just finished or given up.
            let Some((len, modified)) = facts(&entry)? else { continue };
            if modified < before {
                match fs::remove_file(entry.path()) {
                    Ok(()) => swept = Swept { count: swept.count + 1, bytes: swept.bytes + len },
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(Error::from(e).on(entry.path().display())),
                }
            }
        }
        Ok(swept)
    }
}

struct LocalBlob {
    file: File,
    dir: PathBuf,
    temporary: Temporary,
    target: PathBuf,
}

impl WriteAt for LocalBlob {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Whoever writes knows no path, and the source that is read meanwhile fails with the same kinds of errors.
        WriteAt::write_all_at(&self.file, bytes, offset)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.target.display())))
    }
}

impl NewBlob for LocalBlob {
    fn finish(self: Box<Self>) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::from(e).on(self.target.display()))?;
        rename_new(&self.temporary.0, &self.target)?;
        sync_dir(&self.dir).inspect_err(|_| {
            // Not acknowledged, so it must not be found later. If this fails too, the blob is an orphan and swept as one.
            let _ = fs::remove_file(&self.target);
        })
    }
}

/// Removes the file when dropped; after the rename there is none of this name.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Renames unless `to` exists. File systems without `RENAME_NOREPLACE` get the same from a hard link.
fn rename_new(from: &Path, to: &Path) -> Result<()> {
    let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::hard_link(from, to),
        other => other.map_err(io::Error::from),
    };
    renamed.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => already_there(to),
        _ => Error::from(e).on(to.display()),
    })
}

fn already_there(path: &Path) -> Error {
    Error::new(ErrorId::AlreadyExists, format!("{}: blobs are written once", path.display()))
}

/// Makes a directory with its missing ancestors, each fsynced into its parent: a directory entry that is not durable takes
/// everything below it along.
fn make_dir(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    make_dir(parent)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {}
        // Another writer was faster; its entry is made durable here too, because it may not have come so far.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(Error::from(e).on(dir.display())),
    }
    sync_dir(parent)
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::from(e).on(dir.display()))
}

fn entries(dir: &Path) -> Result<impl Iterator<Item = Result<fs::DirEntry>> + use<>> {
    let named = dir.to_path_buf();
    let read = fs::read_dir(dir).map_err(|e| Error::from(e).on(dir.display()))?;
    Ok(read.map(move |entry| entry.map_err(|e| Error::from(e).on(named.display()))))
}

/// Length and time of the last write; `None` if it was deleted meanwhile or is not a file.
fn facts(entry: &fs::DirEntry) -> Result<Option<(u64, Timestamp)>> {
    let fail = |e| Error::from(e).on(entry.path().display());
    match entry.metadata() {
        Ok(found) if !found.is_file() => Ok(None),
        Ok(found) => {
            let modified = found.modified().map_err(fail)?.duration_since(UNIX_EPOCH).unwrap_or_default();
            let millis = modified.as_millis().try_into().unwrap_or(i64::MAX);
            Ok(Some((found.len(), Timestamp::from_millis(millis))))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(fail(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::VersionId;
    use std::os::unix::fs::PermissionsExt;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let home = tempfile::tempdir().unwrap();
        let store = LocalStore::open(home.path().join("home/blobs")).unwrap();
        (home, store)
    }

    #[test]
    fn keeps_the_contract() {
        let (_home, store) = store();
        crate::store::contract::suite(&store);
    }

    #[test]
    fn the_layout_is_that_of_the_documents_and_private() {
        let (home, store) = store();
        let mut version = [1; 16];
        version[15] = 0xab;
        store.put(BlobId::Header(VersionId(version), 2), b"h").unwrap();
        let dir = home.path().join("home/blobs/ab");
        let file = dir.join(format!("{}.header.2", VersionId(version)));
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&home.path().join("home")), mode(&dir), mode(&file)), (0o700, 0o700, 0o600));
    }

    #[test]
    fn what_a_dead_writer_left_is_swept_and_nothing_else() {
        let (home, store) = store();
        let id = BlobId::Body(VersionId([3; 16]));
        let blob = store.create(id).unwrap();
        blob.write_all_at(&[0; 100], 0).unwrap();
        std::mem::forget(blob);
        store.put(BlobId::Header(VersionId([3; 16]), 1), b"h").unwrap();
        let stray = home.path().join("home/blobs/03/notes.txt");
        fs::write(&stray, "mine").unwrap();
        assert_eq!(store.sweep_temporary(Timestamp::from_millis(1)).unwrap(), Swept::default());
        let late = Timestamp::from_millis(i64::MAX);
        assert_eq!(store.sweep_temporary(late).unwrap(), Swept { count: 1, bytes: 100 });
        assert_eq!(store.list().unwrap().count(), 1);
        assert!(stray.exists());
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let (home, store) = store();
        let id = BlobId::Body(VersionId([4; 16]));
        fs::create_dir(home.path().join("home/blobs/04")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", store.path_of(id)).unwrap();
        assert!(store.open(id).is_err());
        assert_eq!(store.create(id).err().unwrap().id(), ErrorId::AlreadyExists);
    }

    #[test]
    fn errors_name_the_path_and_a_full_disk() {
        let (_home, store) = store();
        let id = BlobId::Body(VersionId([5; 16]));
        let missing = store.open(id).err().unwrap();
        assert_eq!(missing.id(), ErrorId::NotFound);
        assert!(missing.message().contains(&id.to_string()));
        let full = Error::from(io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error()));
        assert_eq!(full.id(), ErrorId::DiskFull);
    }
}
