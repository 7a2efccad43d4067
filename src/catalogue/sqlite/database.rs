//! Opening one SQLite file: what it must be, how it is configured, how its schema moves forward.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::super::{CatalogueError, Result};
use super::readers::Readers;
use super::rows::{Db, RowKey};
use super::tables::Meta;
use super::writer::{Limits, Writer, scrub};
use crate::names::Clock;

/// One of the two databases.
pub(super) struct Kind {
    pub file: &'static str,
    /// In the file's header, so that no other SQLite file is taken for ours.
    application_id: i32,
    /// Step `n` brings schema version `n` to `n + 1`. Never changed once released, only added to.
    steps: &'static [&'static str],
    /// Overwrite deleted content with zeros.
    secure_delete: bool,
    readers: usize,
}

/// Everything but secrets.
pub(super) const CATALOGUE: Kind = Kind {
    file: "catalogue.db",
    application_id: 0x4d56_4341, // "MVCA"
    steps: &[
        include_str!("schema_v1.sql"),
        include_str!("schema_v2.sql"),
        include_str!("schema_v3.sql"),
        // One file for each concern.
        concat!(
            include_str!("v4_documents.sql"),
            include_str!("v4_sessions.sql"),
            include_str!("v4_labels.sql"),
            include_str!("v4_usage.sql"),
            include_str!("v4_operators.sql"),
            include_str!("v4_holds.sql"),
            include_str!("v4_intel.sql"),
            include_str!("v4_sinks.sql"),
            include_str!("v4_audit.sql"),
        ),
        concat!(include_str!("v5_sessions.sql"), include_str!("v5_policies.sql")),
        include_str!("v6_attestations.sql"),
        include_str!("v7_parts.sql"),
    ],
    secure_delete: false,
    readers: 4,
};

/// Wrapped artifact keys.
pub(super) const KEYS: Kind = Kind {
    file: "keys.db",
    application_id: 0x4d56_4b59, // "MVKY"
    steps: &[include_str!("keys_v1.sql")],
    secure_delete: true,
    readers: 2,
};

/// Name of the row that ties the two databases to one another.
const CATALOGUE_ID: &str = "catalogue_id";

/// An open database. Readers close before the writer: the last connection to close makes a checkpoint, and only the writer may.
pub(super) struct Database {
    pub readers: Readers,
    pub writer: Writer,
}

impl Kind {
    /// Makes an empty database in the directory. The file is made first, so that it is never readable by others.
    pub fn create(&self, dir: &Path, key: &Arc<RowKey>, clock: &dyn Clock, catalogue_id: &[u8]) -> Result<()> {
        let path = dir.join(self.file);
        self.create_file(&path, key, clock, catalogue_id).map_err(|e| e.of_file(&path))?;
        File::open(dir).and_then(|d| d.sync_all()).map_err(|e| io(dir, &e))
    }

    fn create_file(&self, path: &Path, key: &Arc<RowKey>, clock: &dyn Clock, catalogue_id: &[u8]) -> Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => CatalogueError::AlreadyExists(format!("{} exists", path.display())),
            _ => io(path, &e),
        })?;
        let conn = self.connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, Duration::ZERO)?;
        conn.pragma_update(None, "application_id", self.application_id)?;
        self.configure(&conn)?;
        self.migrate(&conn, self.steps.len())?;
        let db = Db { conn: &conn, key, now: clock.now() };
        db.insert(&Meta { name: CATALOGUE_ID.into(), value: catalogue_id.into() })
    }

    /// Opens the database and says which catalogue it belongs to.
    pub fn open(
        &self,
        dir: &Path,
        key: &Arc<RowKey>,
        clock: &Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<(Database, Vec<u8>)> {
        let path = dir.join(self.file);
        self.open_file(&path, key, clock, limits).map_err(|e| e.of_file(&path))
    }

    fn open_file(
        &self,
        path: &Path,
        key: &Arc<RowKey>,
        clock: &Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<(Database, Vec<u8>)> {
        if !path.try_exists().map_err(|e| io(path, &e))? {
            return Err(CatalogueError::NotFound(path.display().to_string()));
        }
        // Readers must not be waited for longer than a caller would wait.
        let busy = limits.wait / 2;
        let conn = self.connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, busy)?;
        let application_id: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
        if application_id != self.application_id {
            return Err(CatalogueError::Damaged(format!("{} is not a {} of a vault", path.display(), self.file)));
        }
        // Before anything is written: a newer release's file stays as it is.
        let version = self.known_version(&conn)?;
        self.configure(&conn)?;
        self.check(&conn, path, version)?;
        self.migrate(&conn, self.steps.len())?;
        if self.secure_delete {
            // A process may have died between deleting a key and emptying the log of it.
            scrub(&conn)?;
        }
        let now = clock.now();
        let id: Option<Meta> = Db { conn: &conn, key, now }.one("WHERE name = ?1", [CATALOGUE_ID])?;
        let id = id.ok_or_else(|| CatalogueError::Damaged(format!("{} does not say what it belongs to", self.file)))?;
        let readers = (0..self.readers)
            .map(|_| self.connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, busy))
            .collect::<Result<_>>()?;
        let readers = Readers::new(path, readers, limits.wait, Arc::clone(key), Arc::clone(clock));
        let writer = Writer::start(path, conn, Arc::clone(key), Arc::clone(clock), limits)?;
        Ok((Database { readers, writer }, id.value))
    }

    fn connect(&self, path: &Path, flags: OpenFlags, busy: Duration) -> Result<Connection> {
        let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        conn.busy_timeout(busy)?;
        conn.set_prepared_statement_cache_capacity(128);
        // The file may have been written by someone hostile: its schema gets no dangerous functions, it is not mapped (a
        // truncated mapping kills the process), and pages are checked as they are read.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        conn.pragma_update(None, "mmap_size", 0)?;
        conn.pragma_update(None, "cell_size_check", true)?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(conn)
    }

    fn configure(&self, conn: &Connection) -> Result<()> {
        let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(CatalogueError::Io(format!("{} cannot have a write-ahead log (mode {mode})", self.file)));
        }
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.pragma_update(None, "secure_delete", self.secure_delete)?;
        Ok(())
    }

    fn known_version(&self, conn: &Connection) -> Result<usize> {
        let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let known = self.steps.len() as i64;
        if found > known {
            return Err(CatalogueError::UnsupportedVersion { found, known });
        }
        usize::try_from(found).map_err(|_| CatalogueError::Damaged(format!("{} has schema version {found}", self.file)))
    }

    /// Forward only; each step commits with its version, so a crash leaves one or the other.
    fn migrate(&self, conn: &Connection, to: usize) -> Result<()> {
        for version in self.known_version(conn)?..to {
            let step = self.steps[version];
            let next = version + 1;
            conn.execute_batch(&format!("BEGIN IMMEDIATE;\n{step}\nPRAGMA user_version = {next};\nCOMMIT;"))
                .inspect_err(|_| {
                    let _ = conn.execute_batch("ROLLBACK");
                })?;
        }
        Ok(())
    }

    /// The file is whole, and its schema is the one the steps make: a trigger or view planted in it would act with our rights.
    fn check(&self, conn: &Connection, path: &Path, version: usize) -> Result<()> {
        let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(CatalogueError::Damaged(format!("{}: {verdict}", path.display())));
        }
        let fresh = Connection::open_in_memory()?;
        self.migrate(&fresh, version)?;
        if schema(conn)? != schema(&fresh)? {
            return Err(CatalogueError::Damaged(format!("the schema of {} was altered", path.display())));
        }
        Ok(())
    }
}

type SchemaRow = (String, String, String, Option<String>);

fn schema(conn: &Connection) -> Result<Vec<SchemaRow>> {
    let mut statement = conn.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\' ORDER BY 1, 2",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn io(path: &Path, e: &std::io::Error) -> CatalogueError {
    match e.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            CatalogueError::DiskFull(path.display().to_string())
        }
        _ => CatalogueError::Io(format!("{}: {e}", path.display())),
    }
}
