//! Sealed bytes: create-once blobs. A blob is seen whole and durable, or not at all; it never changes; it can be deleted.
//!
//! Mutable facts (which header counts, whether a version is listed) live in the catalogue, so a crash can only leave blobs that
//! nothing refers to. Those are found with [`BlobStore::list`] and deleted after a grace time.

mod local;

#[cfg(test)]
mod contract;

use std::fmt;

use crate::error::Result;
use crate::names::{Timestamp, VersionId};
use crate::seal::io::{ReadAt, WriteAt};

pub use local::LocalStore;

/// Names a blob for life (TRUST 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobId {
    /// Everything of a sealed file after its header.
    Body(VersionId),
    /// The header of a generation; rotation writes a new one beside it.
    Header(VersionId, u32),
}

impl BlobId {
    /// The version it belongs to.
    pub fn version(&self) -> VersionId {
        match self {
            Self::Body(version) | Self::Header(version, _) => *version,
        }
    }

    /// The id a file name stands for; `None` for every name this store does not write itself.
    fn from_file_name(name: &str) -> Option<Self> {
        let (version, rest) = name.split_once('.')?;
        let version: VersionId = version.parse().ok()?;
        let id = match rest.strip_prefix("header.") {
            Some(generation) => Self::Header(version, generation.parse().ok()?),
            None => Self::Body(version),
        };
        // One spelling only: no upper case, no leading zeros, no other suffix.
        (id.to_string() == name).then_some(id)
    }
}

impl fmt::Display for BlobId {
    /// Also the file name: `ID.body`, `ID.header.GEN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(version) => write!(f, "{version}.body"),
            Self::Header(version, generation) => write!(f, "{version}.header.{generation}"),
        }
    }
}

/// A blob being written. Dropped without [`NewBlob::finish`], it leaves nothing behind.
pub trait NewBlob: WriteAt {
    /// Makes the blob durable, then visible. Nothing can be written afterwards.
    ///
    /// # Errors
    /// `AlreadyExists` if another writer finished the same id first; `DiskFull`, `IoError`. After an error there is no blob.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// One line of [`BlobStore::list`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Which blob.
    pub id: BlobId,
    /// Its length in bytes.
    pub len: u64,
    /// When its last byte was written.
    pub modified: Timestamp,
}

/// What [`BlobStore::sweep_temporary`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Unfinished blobs.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A place for blobs.
pub trait BlobStore: Send + Sync {
    /// Begins a blob.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one of this id.
    fn create(&self, id: BlobId) -> Result<Box<dyn NewBlob>>;

    /// A small blob at once: create, write, finish.
    fn put(&self, id: BlobId, bytes: &[u8]) -> Result<()> {
        let blob = self.create(id)?;
        blob.write_all_at(bytes, 0)?;
        blob.finish()
    }

    /// The bytes of a finished blob.
    ///
    /// # Errors
    /// `NotFound`.
    fn open(&self, id: BlobId) -> Result<Box<dyn ReadAt>>;

    /// Whether there is a finished blob of this id.
    fn exists(&self, id: BlobId) -> Result<bool>;

    /// Deletes a blob durably and says whether there was one. Readers that have it open keep reading.
    fn delete(&self, id: BlobId) -> Result<bool>;

    /// All finished blobs, in no order; those made or deleted meanwhile may or may not be listed.
    fn list(&self) -> Result<Box<dyn Iterator<Item = Result<StoredBlob>> + '_>>;

    /// Removes what writers that died left behind: unfinished blobs not written to since `before`. Choose it long past (24 h):
    /// a slow writer is not told from a dead one.
    fn sweep_temporary(&self, before: Timestamp) -> Result<Swept>;
}
