//! A few read-only connections. Readers see the last commit and never wait for the writer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::super::{CatalogueError, Result};
use super::rows::{Db, RowKey};
use crate::names::Clock;

pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
    wait: Duration,
    key: Arc<RowKey>,
    clock: Arc<dyn Clock>,
}

impl Readers {
    pub fn new(
        path: &Path,
        connections: Vec<Connection>,
        wait: Duration,
        key: Arc<RowKey>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { path: path.into(), idle: Mutex::new(connections), returned: Condvar::new(), wait, key, clock }
    }

    /// Runs a query; all its statements see one state.
    pub fn run<T>(&self, query: impl FnOnce(&Db<'_>) -> Result<T>) -> Result<T> {
        self.query(query).map_err(|e| e.of_file(&self.path))
    }

    fn query<T>(&self, query: impl FnOnce(&Db<'_>) -> Result<T>) -> Result<T> {
        let lent = self.borrow()?;
        let conn = lent.conn.as_ref().expect("lent until dropped");
        // Rolled back when dropped; it has written nothing.
        let _snapshot = conn.unchecked_transaction()?;
        query(&Db { conn, key: &self.key, now: self.clock.now() })
    }

    fn borrow(&self) -> Result<Lent<'_>> {
        let deadline = Instant::now() + self.wait;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(conn) = idle.pop() {
                return Ok(Lent { conn: Some(conn), to: self });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CatalogueError::Overloaded);
            }
            idle = self.returned.wait_timeout(idle, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Goes back when dropped.
struct Lent<'a> {
    conn: Option<Connection>,
    to: &'a Readers,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.to.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            self.to.returned.notify_one();
        }
    }
}
