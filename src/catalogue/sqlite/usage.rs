//! What callers used of their quotas.

use rusqlite::params;
use rusqlite::types::Value;

use super::super::*;
use super::SqliteCatalogue;
use super::artifacts::short;
use super::log;
use super::page::{bounded, page};
use super::requests;
use super::rows::{Columns, Db, Row, Table, blob, number, text, time};
use crate::names::ArtifactId;

/// The column of an account of all artifacts is empty.
fn column(artifact: Option<ArtifactId>) -> Vec<u8> {
    artifact.map_or_else(Vec::new, |id| id.0.to_vec())
}

impl Row for UsageRecord {
    const TABLE: Table =
        Table { name: "usage", columns: &["principal", "artifact", "revision", "account", "stored"], key: 2, added: 0 };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            text(&self.principal),
            blob(&column(self.artifact)),
            number(self.revision)?,
            blob(&self.account),
            time(self.stored),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        let (principal, artifact): (String, _) = (c.text()?, c.bytes()?);
        let artifact = match &artifact[..] {
            [] => None,
            id => {
                let id = ArtifactId::try_from(id);
                Some(id.map_err(|_| CatalogueError::Damaged("an account of an impossible artifact".into()))?)
            }
        };
        Ok(Self { principal, artifact, revision: c.number()?, account: c.bytes()?, stored: c.time()? })
    }
}

impl Usage for SqliteCatalogue {
    fn store_usage(&self, accounts: Vec<UsageRecord>, audit: Option<AuditLeaf>) -> Result<()> {
        self.write(move |db| {
            for account in &accounts {
                short("the caller of an account", &account.principal, 4096)?;
                db.replace_older(account, "revision")?;
            }
            audit.map_or(Ok(()), |leaf| log::append(db, &leaf).map(drop))
        })
    }

    fn usage(&self, principal: &str, artifact: Option<ArtifactId>) -> Result<Option<UsageRecord>> {
        self.read(|db| db.one("WHERE principal = ?1 AND artifact = ?2", params![principal, column(artifact)]))
    }

    fn usages(
        &self,
        of: Option<&str>,
        after: Option<&UsageCursor>,
        limit: usize,
    ) -> Result<Page<UsageRecord, UsageCursor>> {
        let limit = bounded(limit);
        // No caller sorts before the empty one, which is none.
        let (from, id) =
            after.map_or_else(|| (of.unwrap_or_default().to_owned(), None), |(p, a)| (p.clone(), Some(*a)));
        let id = id.map_or_else(|| Value::Null, |artifact| blob(&column(artifact)));
        let rows = self.read(|db: &Db<'_>| {
            db.many(
                "WHERE principal <> '' AND (?1 IS NULL OR principal = ?1)
                 AND (principal > ?2 OR (principal = ?2 AND (?3 IS NULL OR artifact > ?3)))
                 ORDER BY principal, artifact LIMIT ?4",
                params![of, from, id, (limit + 1) as i64],
            )
        })?;
        Ok(page(rows, limit, |r: &UsageRecord| (r.principal.clone(), r.artifact)))
    }

    fn last_usage(&self) -> Result<Option<Timestamp>> {
        let mut newest = None;
        self.read(|db| {
            // One that does not authenticate says nothing; its caller will hear of it.
            db.each("ORDER BY stored DESC LIMIT 100", [], |row: Result<UsageRecord>| {
                newest = row.ok().map(|r| r.stored);
                Ok(newest.is_none())
            })
        })?;
        Ok(newest)
    }

    fn usage_callers(&self) -> Result<Vec<String>> {
        // Names alone, to be compared with one that is given: what is in the rows is not believed.
        self.read(|db| db.texts("SELECT DISTINCT principal FROM usage WHERE principal <> ''"))
    }

    fn drop_usage(
        &self,
        callers: Option<Vec<String>>,
        artifact: Option<ArtifactId>,
        entry: Entry,
    ) -> Result<(u64, Sequence)> {
        let artifact = artifact.map_or(Value::Null, |artifact| blob(&column(Some(artifact))));
        self.write(move |db| {
            let callers = callers.as_ref().map_or_else(|| vec![None], |callers| callers.iter().map(Some).collect());
            let mut dropped = 0;
            for caller in callers {
                dropped += db.execute(
                    "DELETE FROM usage WHERE principal <> '' AND (?1 IS NULL OR principal = ?1)
                     AND (?2 IS NULL OR artifact = ?2)",
                    params![caller, artifact],
                )?;
            }
            Ok((dropped as u64, requests::append(db, &entry, dropped as u64)?))
        })
    }

    fn forget_usage(&self, before: Timestamp) -> Result<u64> {
        self.write(move |db| {
            let forgotten =
                db.execute("DELETE FROM usage WHERE principal <> '' AND stored < ?1", [before.as_millis()])?;
            Ok(forgotten as u64)
        })
    }
}
