//! Where sealed and plain bytes come from and go to: positional reads and writes, so that segments can be worked on in any
//! order by any thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

/// Bytes that can be read at any place. `read_exact_at` past the end fails with `UnexpectedEof`.
pub trait ReadAt: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset` on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// A place that can be written at any offset, each byte once.
pub trait WriteAt: Send + Sync {
    /// Writes all of `bytes` from `offset` on.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl WriteAt for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }
}

/// A file that is opened for each read: a folder of a hundred thousand files must not need as many descriptors. Reading fails
/// with [`Changed`] as soon as the path no longer leads to the file that was there first, or that file was modified.
pub struct PathSource {
    path: PathBuf,
    first: Stamp,
}

/// Another file, or another content, than the one that was there first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file changed")]
pub struct Changed;

/// What changes when a file is replaced or written to.
#[derive(PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let facts = file.metadata()?;
        let modified = (facts.mtime(), facts.mtime_nsec());
        Ok(Self { device: facts.dev(), inode: facts.ino(), len: facts.len(), modified })
    }
}

impl PathSource {
    /// The regular file at `path`, as it is now.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        // Asked before opening: to open a named pipe would wait for its writer.
        if !std::fs::metadata(&path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let first = Stamp::of(&File::open(&path)?)?;
        Ok(Self { path, first })
    }

    fn open(&self) -> io::Result<File> {
        let file = File::open(&self.path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => io::Error::other(Changed),
            _ => e,
        })?;
        if Stamp::of(&file)? == self.first { Ok(file) } else { Err(io::Error::other(Changed)) }
    }
}

impl ReadAt for PathSource {
    fn len(&self) -> io::Result<u64> {
        self.open().map(|_| self.first.len)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.open()?, buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.as_slice().len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = self.get(start..).and_then(|rest| rest.get(..buffer.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for std::sync::Arc<T> {
    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }
}

/// A header object and a body object read as one sealed file (docs/format.md 2, store form).
pub struct StoreForm<B> {
    header: Vec<u8>,
    body: B,
}

impl<B: ReadAt> StoreForm<B> {
    /// `header` followed by `body`.
    pub fn new(header: Vec<u8>, body: B) -> Self {
        Self { header, body }
    }
}

impl<B: ReadAt> ReadAt for StoreForm<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.header.as_slice().len() as u64 + self.body.len()?)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let header_len = self.header.as_slice().len() as u64;
        let from_header = header_len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (head, tail) = buffer.split_at_mut(from_header);
        if !head.is_empty() {
            self.header.read_exact_at(head, offset)?;
        }
        if tail.is_empty() { Ok(()) } else { self.body.read_exact_at(tail, offset.max(header_len) - header_len) }
    }
}
