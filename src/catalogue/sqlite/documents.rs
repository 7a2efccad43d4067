//! Settings: documents of which one of each kind is in force.

use rusqlite::params;
use rusqlite::types::Value;

use super::super::*;
use super::SqliteCatalogue;
use super::artifacts::{missing, short};
use super::requests;
use super::rows::{Columns, Db, Row, Table, number, text, time};

impl Row for DocumentRecord {
    const TABLE: Table =
        Table { name: "documents", columns: &["kind", "version", "text", "created"], key: 2, added: 0 };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![text(&self.kind), number(self.version)?, text(&self.text), time(self.created)])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { kind: c.text()?, version: c.number()?, text: c.text()?, created: c.time()? })
    }
}

impl Documents for SqliteCatalogue {
    fn set_document(&self, kind: &str, text: String, over: Option<u64>, entry: Entry) -> Result<(u64, Sequence)> {
        let kind = kind.to_owned();
        self.write(move |db| set(db, kind, text, over, &entry))
    }

    fn document(&self, kind: &str) -> Result<Option<DocumentRecord>> {
        self.read(|db| newest(db, kind))
    }

    fn document_version(&self, kind: &str, version: u64) -> Result<DocumentRecord> {
        let lost = || missing(format!("version {version} of the {kind} settings"));
        let at = i64::try_from(version).map_err(|_| lost())?;
        self.read(|db| db.one("WHERE kind = ?1 AND version = ?2", params![kind, at])?.ok_or_else(lost))
    }
}

fn set(db: &Db<'_>, kind: String, text: String, over: Option<u64>, entry: &Entry) -> Result<(u64, Sequence)> {
    short("the kind of settings", &kind, 64)?;
    short("the settings", &text, MAX_DOCUMENT)?;
    let before = newest(db, &kind)?.map_or(0, |d| d.version);
    if over.is_some_and(|over| over != before) {
        return Err(CatalogueError::AlreadyExists(format!("the {kind} settings are at version {before} by now")));
    }
    let version = before + 1;
    db.insert(&DocumentRecord { kind, version, text, created: db.now })?;
    Ok((version, requests::append(db, entry, version)?))
}

fn newest(db: &Db<'_>, kind: &str) -> Result<Option<DocumentRecord>> {
    let newest: Option<DocumentRecord> = db.one("WHERE kind = ?1 ORDER BY version DESC LIMIT 1", [kind])?;
    // Versions are without gaps, so rows deleted below the newest show; the newest deleted shows in the audit log.
    let count = db.number("SELECT count(*) FROM documents WHERE kind = ?1", [kind])?;
    match newest {
        Some(d) if d.version != count => {
            Err(CatalogueError::Damaged(format!("a version of the {kind} settings is missing")))
        }
        newest => Ok(newest),
    }
}
