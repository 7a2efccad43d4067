//! A directory of members in the making: filled under a temporary name, put in place when complete. Nothing in it is followed
//! or replaced: it was empty when it was made, and every file is created new.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model_vault::seal::path_is_valid;
use model_vault::{Error, ErrorId, Result};

use super::destination::{PRIVATE, occupied};
use super::temporary::Temporary;
use super::{folding, on};

/// A directory in the making.
#[derive(Debug)]
pub struct Tree {
    temporary: Temporary,
    path: PathBuf,
}

impl Tree {
    /// For a directory that does not exist yet, or is empty.
    ///
    /// # Errors
    /// `AlreadyExists` if there is something.
    pub fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Err(Error::new(ErrorId::InvalidArgument, "several members cannot go to standard output")
                .hint("name a directory with -o, or one member with --member"));
        }
        // `d/.` and `d/` are `d`; a path without a last name (`/`, `..`) cannot be made.
        let path: PathBuf = path.components().collect();
        if let Ok(facts) = path.symlink_metadata() {
            let empty = facts.is_dir() && fs::read_dir(&path).map_err(on(&path))?.next().is_none();
            if !empty {
                return Err(occupied(&path));
            }
        }
        let temporary = Temporary::directory(&path).map_err(on(&path))?;
        Ok(Self { temporary, path })
    }

    /// Refuses paths that could not all be files of one directory. To be asked before the first byte.
    pub fn check<'a>(paths: impl IntoIterator<Item = &'a str> + Clone) -> Result<()> {
        if let Some(bad) = paths.clone().into_iter().find(|p| !path_is_valid(p)) {
            return Err(Error::new(ErrorId::ManifestInvalid, format!("{bad:?} is no path of a member")));
        }
        folding::refuse_merging(paths)
    }

    /// Makes the file of a member.
    pub fn file(&self, member: &str) -> Result<File> {
        let path = self.temporary.path().join(member);
        let make = || {
            DirBuilder::new().recursive(true).mode(0o700).create(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
            OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&path)
        };
        make().map_err(on(&self.path.join(member)))
    }

    /// Opens a member's file again, to write a part of it. There may be more of them than a process may keep open.
    pub fn reopen(&self, member: &str) -> Result<File> {
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let path = self.temporary.path().join(member);
        OpenOptions::new().write(true).custom_flags(flags).open(&path).map_err(on(&self.path.join(member)))
    }

    /// Puts the directory in place.
    pub fn finish(self) -> Result<()> {
        self.temporary.rename(&self.path).map_err(|e| match e.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => occupied(&self.path),
            _ => on(&self.path)(e),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_directory_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let tree = Tree::open(&path).unwrap();
        tree.file("a/b/c").unwrap().write_all(b"x").unwrap();
        assert_eq!(tree.file("a/b/c").unwrap_err().id(), ErrorId::IoError);
        drop(tree);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let tree = Tree::open(&path).unwrap();
        tree.file("a/b/c").unwrap().write_all(b"x").unwrap();
        tree.finish().unwrap();
        assert_eq!(fs::read(path.join("a/b/c")).unwrap(), b"x");
        assert_eq!(Tree::open(&path).unwrap_err().id(), ErrorId::AlreadyExists);
    }

    #[test]
    fn what_is_there_is_neither_followed_nor_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(Tree::open(&link).unwrap_err().id(), ErrorId::AlreadyExists);
        assert_eq!(Tree::open(Path::new("-")).unwrap_err().id(), ErrorId::InvalidArgument);
        // An empty directory may be named; whoever fills it meanwhile keeps what they put there.
        let tree = Tree::open(&real).unwrap();
        fs::write(real.join("theirs"), "x").unwrap();
        assert_eq!(tree.finish().unwrap_err().id(), ErrorId::AlreadyExists);
        assert!(real.join("theirs").exists());
    }

    #[test]
    fn hostile_member_paths_are_refused() {
        for bad in ["../x", "/x", "a//b", "a/./b", "", "a\\b", "a\0b"] {
            assert!(Tree::check([bad]).is_err(), "{bad:?}");
        }
        assert!(Tree::check(["a", "A"]).is_err());
        assert!(Tree::check(["a", "b/c"]).is_ok());
    }
}
