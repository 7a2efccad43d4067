//! Checkpoints, and the audit log's tree in tiles.

use rusqlite::{OptionalExtension as _, params};

use super::super::*;
use super::rows::{Db, number};
use super::{SqliteCatalogue, log};

/// Bits of a tile's index: 2^56 tiles of 256 are more than there are sequence numbers.
const INDEX_BITS: u32 = 56;
const LEVELS: u8 = 8;
/// 256 hashes of 32 bytes.
const MAX_TILE: usize = 8192;

impl AuditTree for SqliteCatalogue {
    fn put_checkpoint(&self, checkpoint: Checkpoint, tiles: Vec<TileRow>) -> Result<()> {
        self.write(move |db| {
            put(db, &tiles)?;
            put_checkpoint(db, &checkpoint)
        })
    }

    fn put_tiles(&self, tiles: Vec<TileRow>) -> Result<()> {
        self.write(move |db| put(db, &tiles))
    }

    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>> {
        let place = place(level, index)?;
        self.read(|db| {
            let mut statement = db.conn.prepare_cached("SELECT hashes FROM tiles WHERE place = ?1")?;
            Ok(statement.query_row([place], |row| row.get(0)).optional()?)
        })
    }

    fn latest_checkpoint(&self) -> Result<Option<Checkpoint>> {
        self.read(latest_checkpoint)
    }

    fn checkpoints(&self, from_size: u64, limit: usize) -> Result<Vec<Checkpoint>> {
        let Ok(from) = i64::try_from(from_size) else { return Ok(Vec::new()) };
        let limit = limit.min(MAX_PAGE) as i64;
        self.read(|db| read_checkpoints(db, "WHERE size >= ?1 ORDER BY size LIMIT ?2", params![from, limit]))
    }
}

fn place(level: u8, index: u64) -> Result<i64> {
    if level >= LEVELS || index >> INDEX_BITS != 0 {
        return Err(CatalogueError::InvalidArgument(format!("there is no tile {index} of level {level}")));
    }
    Ok(i64::from(level) << INDEX_BITS | index as i64)
}

fn put(db: &Db<'_>, tiles: &[TileRow]) -> Result<()> {
    for tile in tiles {
        if tile.hashes.is_empty() || tile.hashes.len() > MAX_TILE {
            return Err(CatalogueError::InvalidArgument(format!("a tile has 1 to {MAX_TILE} bytes")));
        }
        let place = place(tile.level, tile.index)?;
        db.execute("INSERT OR REPLACE INTO tiles (place, hashes) VALUES (?1, ?2)", params![place, tile.hashes])?;
    }
    Ok(())
}

fn put_checkpoint(db: &Db<'_>, new: &Checkpoint) -> Result<()> {
    if let Some(last) = latest_checkpoint(db)? {
        if (last.size, last.root, &last.note) == (new.size, new.root, &new.note) {
            return Ok(());
        }
        if last.size >= new.size {
            return Err(CatalogueError::AlreadyExists(format!("a checkpoint of {} rows", last.size)));
        }
    }
    let len = log::len(db)?;
    if new.size > len {
        return Err(CatalogueError::InvalidArgument(format!("a checkpoint of {} rows, but there are {len}", new.size)));
    }
    db.execute(
        "INSERT INTO checkpoints (size, root, note, frontier, created) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![number(new.size)?, new.root.0, new.note, new.frontier, new.created.as_millis()],
    )?;
    Ok(())
}

pub(super) fn latest_checkpoint(db: &Db<'_>) -> Result<Option<Checkpoint>> {
    Ok(read_checkpoints(db, "ORDER BY size DESC LIMIT 1", [])?.pop())
}

fn read_checkpoints(db: &Db<'_>, condition: &str, params: impl rusqlite::Params) -> Result<Vec<Checkpoint>> {
    let sql = format!("SELECT size, root, note, frontier, created FROM checkpoints {condition}");
    let mut statement = db.conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params, |row| {
        let size: i64 = row.get(0)?;
        Ok(Checkpoint {
            // The column is the key and was checked when it was written.
            size: size.unsigned_abs(),
            root: Sha256(row.get(1)?),
            note: row.get(2)?,
            frontier: row.get(3)?,
            created: Timestamp::from_millis(row.get(4)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
