//! Audit rows. They are bytes here; the audit room gives them meaning.

use rusqlite::params;

use super::super::*;
use super::rows::Db;

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
            // Named as the log numbers its records, from 1.
            return Err(CatalogueError::Damaged(format!("record {} of the audit log is missing", expected + 1)));
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
