//! Audit rows and checkpoints. Rows are bytes here; the audit room gives them meaning.

use rusqlite::params;

use super::super::*;
use super::rows::{Db, number};

/// Bytes after which [`range`] ends its page.
const RANGE_BYTES: usize = 16 * 1024 * 1024;

/// Appends a row in the transaction of the command that calls this.
pub(super) fn append(db: &Db<'_>, leaf: &[u8]) -> Result<Sequence> {
    if leaf.is_empty() || leaf.len() > MAX_LEAF {
        return Err(CatalogueError::InvalidArgument(format!(
            "an audit row has 1 to {MAX_LEAF} bytes, not {}",
            leaf.len()
        )));
    }
    db.number(
        "INSERT INTO audit (sequence, leaf) SELECT coalesce(max(sequence), -1) + 1, ?1 FROM audit RETURNING sequence",
        [leaf],
    )
}

pub(super) fn len(db: &Db<'_>) -> Result<u64> {
    db.number("SELECT coalesce(max(sequence), -1) + 1 FROM audit", [])
}

pub(super) fn range(db: &Db<'_>, from: Sequence, limit: usize) -> Result<Vec<(Sequence, AuditLeaf)>> {
    let mut statement =
        db.conn.prepare_cached("SELECT sequence, leaf FROM audit WHERE sequence >= ?1 ORDER BY sequence LIMIT ?2")?;
    // Sequence numbers have 63 bits: nothing lies beyond.
    let Ok(start) = i64::try_from(from) else { return Ok(Vec::new()) };
    let mut rows = statement.query(params![start, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let (mut range, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (found, leaf): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let expected = from + range.len() as u64;
        if u64::try_from(found) != Ok(expected) {
            return Err(CatalogueError::Damaged(format!("audit row {expected} is missing")));
        }
        // Short rows cost their place in the list too.
        bytes += leaf.len() + 64;
        range.push((expected, leaf));
        if bytes >= RANGE_BYTES {
            break;
        }
    }
    Ok(range)
}

pub(super) fn put_checkpoint(db: &Db<'_>, new: &Checkpoint) -> Result<()> {
    if let Some(last) = latest_checkpoint(db)? {
        if (last.size, last.root, &last.note) == (new.size, new.root, &new.note) {
            return Ok(());
        }
        if last.size >= new.size {
            return Err(CatalogueError::AlreadyExists(format!("a checkpoint of {} rows", last.size)));
        }
    }
    let len = len(db)?;
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

pub(super) fn checkpoints(db: &Db<'_>, from_size: u64, limit: usize) -> Result<Vec<Checkpoint>> {
    let Ok(from) = i64::try_from(from_size) else { return Ok(Vec::new()) };
    read_checkpoints(db, "WHERE size >= ?1 ORDER BY size LIMIT ?2", params![from, limit.min(MAX_PAGE) as i64])
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
