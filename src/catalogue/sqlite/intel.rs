//! Lists of known bad digests and keys.

use rusqlite::params;
use rusqlite::types::Value;

use super::super::*;
use super::SqliteCatalogue;
use super::artifacts::missing;
use super::requests;
use super::rows::{Columns, Db, Row, Table, blob, number, text, time};
use crate::crypto::hash::sha256;

/// Bytes of a row: a list of the largest size is 64 of them.
const PART_LEN: usize = 1 << 20;
const MAX_LIST: usize = 64 << 20;

impl Row for IntelRecord {
    const TABLE: Table =
        Table { name: "intel", columns: &["source", "entries", "passed_over", "digest", "created"], key: 1, added: 0 };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            text(self.source.as_str()),
            number(self.entries)?,
            number(self.passed_over)?,
            blob(&self.digest.0),
            time(self.created),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            source: c.text()?,
            entries: c.number()?,
            passed_over: c.number()?,
            digest: c.id()?,
            created: c.time()?,
        })
    }
}

impl Intel for SqliteCatalogue {
    fn put_intel(&self, list: NewIntel, entry: Entry) -> Result<Sequence> {
        self.write(move |db| put(db, list, &entry))
    }

    fn remove_intel(&self, source: &Name, entry: Entry) -> Result<Sequence> {
        let source = source.clone();
        self.write(move |db| {
            if !drop_list(db, &source)? {
                return Err(missing(format!("a list from {source}")));
            }
            requests::append(db, &entry, 0)
        })
    }

    fn intel_lists(&self) -> Result<Vec<IntelRecord>> {
        self.read(|db| db.many("ORDER BY source", []))
    }

    fn intel_list(&self, source: &Name) -> Result<Vec<u8>> {
        self.read(|db| {
            let head: Option<IntelRecord> = db.one("WHERE source = ?1", [source.as_str()])?;
            let head = head.ok_or_else(|| missing(format!("a list from {source}")))?;
            let mut statement =
                db.conn.prepare_cached("SELECT bytes FROM intel_parts WHERE source = ?1 ORDER BY part")?;
            let mut rows = statement.query([source.as_str()])?;
            let mut bytes = Vec::new();
            while let Some(row) = rows.next()? {
                bytes.extend(row.get::<_, Vec<u8>>(0)?);
            }
            if sha256(&bytes) != head.digest {
                return Err(CatalogueError::Damaged(format!("the list from {source} was altered")));
            }
            Ok(bytes)
        })
    }
}

fn put(db: &Db<'_>, list: NewIntel, entry: &Entry) -> Result<Sequence> {
    let NewIntel { source, entries, passed_over, bytes } = list;
    if bytes.len() > MAX_LIST {
        return Err(CatalogueError::InvalidArgument(format!("a list has at most {MAX_LIST} bytes")));
    }
    drop_list(db, &source)?;
    for (part, piece) in bytes.chunks(PART_LEN).enumerate() {
        db.execute(
            "INSERT INTO intel_parts (source, part, bytes) VALUES (?1, ?2, ?3)",
            params![source.as_str(), part as i64, piece],
        )?;
    }
    db.insert(&IntelRecord { source, entries, passed_over, digest: sha256(&bytes), created: db.now })?;
    requests::append(db, entry, entries)
}

fn drop_list(db: &Db<'_>, source: &Name) -> Result<bool> {
    db.execute("DELETE FROM intel_parts WHERE source = ?1", [source.as_str()])?;
    Ok(db.execute("DELETE FROM intel WHERE source = ?1", [source.as_str()])? > 0)
}
