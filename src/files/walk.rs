//! The files of a model: a directory walked beneath itself (openat2(2), RESOLVE_BENEATH), or one file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};

use crate::error::{Error, ErrorId, Result};
use crate::names::Timestamp;

/// Most files of one model (docs/signing.md, "Limits").
pub const MAX_FILES: usize = 1_000_000;
/// Directories within directories; deeper than any model, and shallow enough for a handle each.
const MAX_DEPTH: usize = 64;

/// Paths that are left out: relative to the model, `/`-separated, each with everything below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored(BTreeSet<String>);

impl Ignored {
    /// From paths that keep the rule of [`path_is_canonical`].
    pub fn new(paths: impl IntoIterator<Item = String>) -> Self {
        Self(paths.into_iter().collect())
    }

    /// Whether `path` itself was named. Whatever lies below it is never reached by a walk.
    pub fn names(&self, path: &str) -> bool {
        self.0.contains(path)
    }

    /// Whether `path` or a directory above it was named.
    pub fn covers(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.into_iter().any(|end| self.0.contains(&path[..end]))
    }

    /// Adds a path.
    pub fn insert(&mut self, path: String) {
        self.0.insert(path);
    }

    /// In byte order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// A relative path in the one form it has: no empty part, no `.` or `..`, no NUL. Backslashes and control characters are
/// bytes like others on the systems this runs on.
pub fn path_is_canonical(path: &str) -> bool {
    path.len() <= 4096 && !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// What a symbolic link within the model means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It is refused.
    Refuse,
    /// One to a file stands for that file, wherever it is; one to a directory is refused: what it shows would not be what was
    /// signed when it is turned to another place.
    FollowToFiles,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path within the model; the file's own name if the model is that file.
    pub path: String,
    /// Bytes it had when it was found.
    pub size: u64,
    is_link: bool,
    stamp: Stamp,
    /// Whether its file system notes every change in the times of a file.
    keeps_times: bool,
}

impl Entry {
    /// The file as it was found.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The file's stamp, if every write after `found_at` (the moment before the walk) will show in a later one: not for files
    /// that were written to so shortly before that a further write could bear the same time.
    pub fn lasting_stamp(&self, found_at: Timestamp) -> Option<Stamp> {
        let settled = self.stamp.changed.0.max(self.stamp.modified.0).saturating_add(RACY_SECONDS);
        (self.keeps_times && settled < found_at.as_secs()).then_some(self.stamp)
    }
}

/// The coarsest times of the file systems in [`KEEPS_TIMES`] (ext3: a second), and one more.
const RACY_SECONDS: i64 = 2;
/// ext2 to ext4, XFS, Btrfs, F2FS, overlayfs. Not tmpfs, where writes through a memory map leave no trace, and no network
/// file system, which may show times of its own making.
const KEEPS_TIMES: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x794c_7630];

/// What changes when a file is exchanged or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Device, inode and size; seconds and nanoseconds of the last write and of the last change of any kind.
    pub fn to_numbers(self) -> [i128; 7] {
        let Self { device, inode, size, modified, changed } = self;
        let times = [modified.0, modified.1, changed.0, changed.1].map(i128::from);
        [device.into(), inode.into(), size.into(), times[0], times[1], times[2], times[3]]
    }

    pub(super) fn of(file: &File) -> io::Result<Self> {
        let facts = file.metadata()?;
        Ok(Self {
            device: facts.dev(),
            inode: facts.ino(),
            size: facts.len(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        })
    }
}

/// The files of one model, in the byte order of their paths.
#[derive(Debug)]
pub struct ModelFiles {
    root: Root,
    ignored: Ignored,
    links: Links,
    entries: Vec<Entry>,
    left_out: Vec<String>,
}

#[derive(Debug)]
enum Root {
    Directory { handle: OwnedFd, path: PathBuf },
    File(PathBuf),
}

impl ModelFiles {
    /// Finds them.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for special files, links that are not followed, names that are not UTF-8, and models of
    /// more than [`MAX_FILES`] files.
    pub fn find(path: &Path, ignored: &Ignored, links: Links) -> Result<Self> {
        Self::find_if(path, ignored, links, &mut |_| true)
    }

    /// Finds those that `keep` keeps. The others are not held, so there may be any number of them.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_if(path: &Path, ignored: &Ignored, links: Links, keep: &mut dyn FnMut(&Entry) -> bool) -> Result<Self> {
        let found =
            |root: Root| Self { root, ignored: ignored.clone(), links, entries: Vec::new(), left_out: Vec::new() };
        let facts = path.metadata().map_err(on(path))?;
        if facts.is_dir() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let handle = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| on(path)(e.into()))?;
            let mut found = found(Root::Directory { handle, path: path.into() });
            let mut entries = Vec::new();
            found.left_out = found.walk(&mut |entry| {
                if keep(&entry) {
                    if entries.len() == MAX_FILES {
                        let text = format!("{} has more than {MAX_FILES} files", path.display());
                        let hint = "pack small files into archives first";
                        return Err(Error::new(ErrorId::InvalidArgument, text).hint(hint));
                    }
                    entries.push(entry);
                }
                Ok(())
            })?;
            found.left_out.sort_unstable();
            found.entries = entries;
            return Ok(found);
        }
        if !facts.is_file() {
            return Err(refused(path, "neither file nor directory"));
        }
        let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| refused(path, "not named in UTF-8"))?;
        let file = File::open(path).map_err(on(path))?;
        let stamp = Stamp::of(&file).map_err(on(path))?;
        let entry =
            Entry { path: name.into(), size: stamp.size, is_link: false, stamp, keeps_times: keeps_times(&file) };
        Ok(Self { entries: vec![entry], ..found(Root::File(path.into())) })
    }

    /// Gives all files of a directory to `each`, in the byte order of their paths, as they are now: those that are held and all others. Memory:
    /// the names in one directory, and in those above it.
    ///
    /// # Errors
    /// As [`find`](Self::find), and those of `each`.
    pub fn walk_again(&self, each: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        self.walk(each).map(drop)
    }

    /// What was left out.
    fn walk(&self, each: &mut dyn FnMut(Entry) -> Result<()>) -> Result<Vec<String>> {
        let Root::Directory { handle, path } = &self.root else { return Ok(Vec::new()) };
        let (ignored, links) = (&self.ignored, self.links);
        let mut walk = Walk { root: path, ignored, links, each, left_out: Vec::new(), device: None };
        walk.directory(handle, "", 0)?;
        Ok(walk.left_out)
    }

    /// Whether the model is one file rather than a directory.
    pub fn is_single_file(&self) -> bool {
        matches!(self.root, Root::File(_))
    }

    /// The files.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is there and was left out, in byte order: each with everything below it.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Where a file is, for messages.
    pub fn locate(&self, entry: &Entry) -> PathBuf {
        match &self.root {
            Root::Directory { path, .. } => path.join(&entry.path),
            Root::File(path) => path.clone(),
        }
    }

    /// Opens a file that was found, and only that one.
    ///
    /// # Errors
    /// `SourceChanged` if it is another one by now, or was written to.
    pub fn open(&self, entry: &Entry) -> Result<File> {
        let file = self.opened(entry)?;
        self.unchanged(entry, &file)?;
        Ok(file)
    }

    /// Opens a file of the directory that is not held, as it is now.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no file; those of the file system.
    pub fn open_new(&self, path: &str) -> Result<(Entry, File)> {
        let none = Stamp { device: 0, inode: 0, size: 0, modified: (0, 0), changed: (0, 0) };
        let entry = Entry { path: path.into(), size: 0, is_link: false, stamp: none, keeps_times: false };
        let (place, file) = (self.locate(&entry), self.opened(&entry)?);
        if !file.metadata().map_err(on(&place))?.is_file() {
            return Err(refused(&place, "no file"));
        }
        let stamp = Stamp::of(&file).map_err(on(&place))?;
        Ok((Entry { size: stamp.size, stamp, ..entry }, file))
    }

    fn opened(&self, entry: &Entry) -> Result<File> {
        // A pipe that took a file's place must not be waited for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = match &self.root {
            Root::Directory { handle, .. } if entry.is_link => {
                rustix::fs::openat(handle, &*entry.path, flags, Mode::empty())
            }
            Root::Directory { handle, .. } => {
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
                rustix::fs::openat2(handle, &*entry.path, flags, Mode::empty(), resolve)
            }
            Root::File(path) => rustix::fs::openat(CWD, path, flags, Mode::empty()),
        };
        Ok(File::from(opened.map_err(|e| on(&self.locate(entry))(e.into()))?))
    }

    /// To be asked after the last byte: whether the file is still as it was when it was found.
    pub fn unchanged(&self, entry: &Entry, file: &File) -> Result<()> {
        let place = self.locate(entry);
        if Stamp::of(file).map_err(on(&place))? == entry.stamp {
            return Ok(());
        }
        Err(Error::new(ErrorId::SourceChanged, format!("{} changed while it was read", shown(&place)))
            .hint("try again when nothing writes to it"))
    }
}

struct Walk<'a> {
    root: &'a Path,
    ignored: &'a Ignored,
    links: Links,
    each: &'a mut dyn FnMut(Entry) -> Result<()>,
    left_out: Vec<String>,
    /// Of the file before, and whether it keeps times.
    device: Option<(u64, bool)>,
}

impl Walk<'_> {
    fn directory(&mut self, handle: &OwnedFd, prefix: &str, depth: usize) -> Result<()> {
        let here = |name: &str| self.root.join(prefix).join(name);
        if depth > MAX_DEPTH {
            return Err(refused(&here(""), "nested too deeply"));
        }
        let mut names = Vec::new();
        for found in Dir::read_from(handle).map_err(|e| on(&here(""))(e.into()))? {
            let found = found.map_err(|e| on(&self.root.join(prefix))(e.into()))?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(name) = name.to_str() else {
                let place = self.root.join(prefix).join(name.to_string_lossy().as_ref());
                return Err(refused(&place, "not named in UTF-8"));
            };
            if self.ignored.names(&format!("{prefix}{name}")) {
                self.left_out.push(format!("{prefix}{name}"));
                continue;
            }
            // Sorted as the paths of what is in it: with the slash.
            let is_directory = match found.file_type() {
                FileType::Directory => true,
                FileType::Unknown => {
                    let facts = rustix::fs::statat(handle, name, AtFlags::SYMLINK_NOFOLLOW);
                    FileType::from_raw_mode(facts.map_err(|e| on(&here(name))(e.into()))?.st_mode)
                        == FileType::Directory
                }
                _ => false,
            };
            names.push(if is_directory { format!("{name}/") } else { name.into() });
        }
        names.sort_unstable();
        for name in names {
            let name = name.strip_suffix('/').unwrap_or(&name);
            self.entry(handle, name, format!("{prefix}{name}"), depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, parent: &OwnedFd, name: &str, path: String, depth: usize) -> Result<()> {
        let place = self.root.join(&path);
        let failed = |e: rustix::io::Errno| on(&place)(e.into());
        let facts = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let kind = FileType::from_raw_mode(facts.st_mode);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match kind {
            FileType::Directory => {
                let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                let handle = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(failed)?;
                self.directory(&handle, &format!("{path}/"), depth + 1)
            }
            FileType::RegularFile => {
                let file = rustix::fs::openat(parent, name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
                self.file(path, &File::from(file), false, &place)
            }
            FileType::Symlink if self.links == Links::FollowToFiles => {
                let file = File::from(rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(failed)?);
                if file.metadata().map_err(on(&place))?.is_file() {
                    return self.file(path, &file, true, &place);
                }
                Err(refused(&place, "a link to something that is no file")
                    .hint("what a linked directory holds is not covered by a signature; put the files in its place"))
            }
            FileType::Symlink => Err(refused(&place, "a symbolic link")
                .hint("replace it by what it points to (cp -L), or allow links to files with --allow-symlinks")),
            _ => Err(refused(&place, "neither file nor directory")),
        }
    }

    fn file(&mut self, path: String, file: &File, is_link: bool, place: &Path) -> Result<()> {
        let stamp = Stamp::of(file).map_err(on(place))?;
        let keeps_times = match self.device {
            Some((device, keeps)) if device == stamp.device => keeps,
            _ => keeps_times(file),
        };
        self.device = Some((stamp.device, keeps_times));
        (self.each)(Entry { path, size: stamp.size, is_link, stamp, keeps_times })
    }
}

fn keeps_times(file: &File) -> bool {
    rustix::fs::fstatfs(file)
        .is_ok_and(|facts| u64::try_from(facts.f_type).is_ok_and(|kind| KEEPS_TIMES.contains(&kind)))
}

fn refused(place: &Path, what: &str) -> Error {
    Error::new(ErrorId::InvalidArgument, format!("{} is {what}", shown(place)))
}

/// A path on one line: its names are a stranger's.
fn shown(place: &Path) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    place.display().to_string().chars().map(escape).collect()
}

pub(super) fn on(place: &Path) -> impl Fn(io::Error) -> Error {
    let place = shown(place);
    move |e| Error::from(e).on(&place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn paths(root: &Path, ignored: &[&str], links: Links) -> Result<Vec<String>> {
        let ignored = Ignored::new(ignored.iter().map(|p| (*p).to_owned()));
        ModelFiles::find(root, &ignored, links).map(|m| m.entries.into_iter().map(|e| e.path).collect())
    }

    #[test]
    fn files_come_in_byte_order_without_what_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/x", "a-b", "a.txt", ".git/config", "sub/.git/config", "sub/keep"] {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), path).unwrap();
        }
        let found = paths(dir.path(), &[".git", "sub/keep"], Links::Refuse).unwrap();
        assert_eq!(found, ["a-b", "a.txt", "a/x", "sub/.git/config"]);
        let single = ModelFiles::find(&dir.path().join("a-b"), &Ignored::default(), Links::Refuse).unwrap();
        assert!(single.is_single_file());
        assert_eq!((&*single.entries()[0].path, single.entries()[0].size), ("a-b", 3));
    }

    #[test]
    fn links_are_refused_or_stand_for_files_and_never_for_directories() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("blob"), "blob").unwrap();
        symlink(outside.path().join("blob"), dir.path().join("weights")).unwrap();
        assert!(paths(dir.path(), &[], Links::Refuse).unwrap_err().message().ends_with("is a symbolic link"));
        assert_eq!(paths(dir.path(), &[], Links::FollowToFiles).unwrap(), ["weights"]);
        symlink(outside.path(), dir.path().join("folder")).unwrap();
        assert_eq!(paths(dir.path(), &[], Links::FollowToFiles).unwrap_err().id(), ErrorId::InvalidArgument);
        assert_eq!(paths(dir.path(), &["folder"], Links::FollowToFiles).unwrap(), ["weights"]);
    }

    #[test]
    fn what_takes_the_place_of_a_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::write(dir.path().join("b"), "1").unwrap();
        let model = ModelFiles::find(dir.path(), &Ignored::default(), Links::Refuse).unwrap();
        let entry = &model.entries()[0];
        let file = model.open(entry).unwrap();
        fs::write(dir.path().join("a"), "2").unwrap();
        assert_eq!(model.unchanged(entry, &file).unwrap_err().id(), ErrorId::SourceChanged);
        fs::rename(dir.path().join("b"), dir.path().join("a")).unwrap();
        assert_eq!(model.open(entry).unwrap_err().id(), ErrorId::SourceChanged);
        fs::remove_file(dir.path().join("a")).unwrap();
        symlink("/etc/passwd", dir.path().join("a")).unwrap();
        assert!(model.open(entry).is_err());
    }

    #[test]
    fn sockets_and_pipes_are_refused_without_waiting_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        assert_eq!(paths(dir.path(), &[], Links::FollowToFiles).unwrap_err().id(), ErrorId::InvalidArgument);
        assert!(paths(Path::new("/dev/null"), &[], Links::Refuse).is_err());
        assert_eq!(paths(&dir.path().join("none"), &[], Links::Refuse).unwrap_err().id(), ErrorId::NotFound);
    }

    #[test]
    fn one_path_has_one_form() {
        for bad in ["", ".", "..", "/a", "a/", "a//b", "./a", "a/./b", "a/../b", "a\0"] {
            assert!(!path_is_canonical(bad), "{bad:?}");
        }
        for good in ["a", "a/b", "...", "a:b\\\"\tc", ".hidden/é"] {
            assert!(path_is_canonical(good), "{good:?}");
        }
        let ignored = Ignored::new(["a/b".to_owned()]);
        assert!(ignored.covers("a/b/c") && ignored.covers("a/b") && !ignored.covers("a/bc") && !ignored.covers("a"));
    }
}
