//! The audit log's tree in tiles: derived from its rows, kept so that a proof reads a few rows instead of all.

use super::{Checkpoint, Result};

/// A tile as it is stored. Not authenticated: what is read from it is compared with a signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileRow {
    /// 0: hashes of rows; at most 7.
    pub level: u8,
    /// From the left.
    pub index: u64,
    /// At most 256 hashes in a row.
    pub hashes: Vec<u8>,
}

/// Commands about the tree. All of it can be made anew from the rows.
pub trait AuditTree {
    /// Keeps a checkpoint, and the tiles that changed since the one before. It must cover no more than there is and more than
    /// the one before; the very same again is no error.
    fn put_checkpoint(&self, checkpoint: Checkpoint, tiles: Vec<TileRow>) -> Result<()>;

    /// Replaces tiles.
    fn put_tiles(&self, tiles: Vec<TileRow>) -> Result<()>;

    /// The hashes of a tile, if it is there.
    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>>;

    /// The newest checkpoint.
    fn latest_checkpoint(&self) -> Result<Option<Checkpoint>>;

    /// Checkpoints of at least this size, smallest first.
    fn checkpoints(&self, from_size: u64, limit: usize) -> Result<Vec<Checkpoint>>;
}
