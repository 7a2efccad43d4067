//! Where the files of a dataset lie: on disk, or wherever else somebody can walk and open them.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::error::Result;
use crate::files::{Entry, ModelFiles};
use crate::seal::io::ReadAt;

/// The files of a dataset.
pub trait Tree: Send + Sync {
    /// Shows path and size of every file, in the byte order of their paths.
    ///
    /// # Errors
    /// Those of the place, and of `each`.
    fn walk(&self, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()>;

    /// Opens one of them.
    ///
    /// # Errors
    /// `NotFound`, `SourceChanged`, and those of the place.
    fn open(&self, path: &str) -> Result<Arc<dyn Opened>>;
}

/// A file that is open.
pub trait Opened: ReadAt {
    /// To be asked after the last byte: whether the file is still as it was when it was found.
    ///
    /// # Errors
    /// `SourceChanged`.
    fn unchanged(&self) -> Result<()> {
        Ok(())
    }
}

impl Tree for Arc<ModelFiles> {
    fn walk(&self, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.walk_again(&mut |entry| each(&entry.path, entry.size))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn Opened>> {
        let held = self.entries().binary_search_by(|entry| entry.path.as_str().cmp(path)).ok();
        let (entry, file) = match held.and_then(|at| self.entries().get(at)) {
            Some(entry) => (entry.clone(), ModelFiles::open(self, entry)?),
            None => self.open_new(path)?,
        };
        Ok(Arc::new(OnDisk { files: Arc::clone(self), entry, file }))
    }
}

struct OnDisk {
    files: Arc<ModelFiles>,
    entry: Entry,
    file: File,
}

impl ReadAt for OnDisk {
    fn len(&self) -> io::Result<u64> {
        ReadAt::len(&self.file)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        ReadAt::read_exact_at(&self.file, buffer, offset)
    }
}

impl Opened for OnDisk {
    fn unchanged(&self) -> Result<()> {
        self.files.unchanged(&self.entry, &self.file)
    }
}
