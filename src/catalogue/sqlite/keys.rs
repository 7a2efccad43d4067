//! Wrapped artifact keys in `keys.db`. See keys_v1.sql for why their bytes lie in slots.

use rusqlite::params;

use super::super::*;
use super::page::{bounded, page};
use super::rows::Db;
use super::tables::KeyEntry;
use crate::crypto;

/// Bytes of a slot: salt, then wrapped key.
const SLOT: usize = 112;

pub(super) fn put(db: &Db<'_>, row: &ArtifactKeyRow) -> Result<()> {
    if entry(db, row.key)?.is_some() {
        return Err(CatalogueError::AlreadyExists(format!(
            "the artifact key {} version {}",
            row.key.id, row.key.version
        )));
    }
    let bytes = slot_bytes(&row.salt, &row.wrapped);
    // Always the highest slot: an append never moves another row.
    let slot: Option<i64> = db.value(
        "INSERT INTO slots (slot, bytes) SELECT coalesce(max(slot), 0) + 1, ?1 FROM slots RETURNING slot",
        [&bytes[..]],
    )?;
    db.insert(&KeyEntry {
        key: row.key,
        namespace_id: row.namespace_id,
        version_id: row.version_id,
        kek_version: row.namespace_kek_version,
        slot: slot.ok_or_else(|| CatalogueError::Internal("no slot was made".into()))?,
        digest: crypto::hash::sha256(&bytes),
    })
}

pub(super) fn artifact_key(db: &Db<'_>, key: ArtifactKeyRef) -> Result<ArtifactKeyRow> {
    read(db, existing(db, key)?)
}

fn entry(db: &Db<'_>, key: ArtifactKeyRef) -> Result<Option<KeyEntry>> {
    db.one("WHERE id = ?1 AND version = ?2", params![key.id.0, key.version])
}

fn existing(db: &Db<'_>, key: ArtifactKeyRef) -> Result<KeyEntry> {
    entry(db, key)?
        .ok_or_else(|| CatalogueError::NotFound(format!("the artifact key {} version {}", key.id, key.version)))
}

fn read(db: &Db<'_>, entry: KeyEntry) -> Result<ArtifactKeyRow> {
    let damaged = || CatalogueError::Damaged(format!("the wrapped artifact key {} was altered", entry.key.id));
    let bytes: Vec<u8> = db.value("SELECT bytes FROM slots WHERE slot = ?1", [entry.slot])?.ok_or_else(damaged)?;
    if !crypto::equal(&crypto::hash::sha256(&bytes).0, &entry.digest.0) {
        return Err(damaged());
    }
    let (salt, wrapped) = bytes.split_first_chunk::<32>().ok_or_else(damaged)?;
    Ok(ArtifactKeyRow {
        key: entry.key,
        namespace_id: entry.namespace_id,
        version_id: entry.version_id,
        namespace_kek_version: entry.kek_version,
        salt: *salt,
        wrapped: wrapped.try_into().map_err(|_| damaged())?,
    })
}

pub(super) fn under(
    db: &Db<'_>,
    namespace: NamespaceId,
    kek_version: u32,
    after: Option<ArtifactKeyRef>,
    limit: usize,
) -> Result<Page<ArtifactKeyRow, ArtifactKeyRef>> {
    let limit = bounded(limit);
    let (after_id, after_version) = cursor(after);
    let entries: Vec<KeyEntry> = db.many(
        "WHERE namespace_id = ?1 AND kek_version = ?2 AND (id, version) > (?3, ?4) ORDER BY id, version LIMIT ?5",
        params![namespace.0, kek_version, after_id, after_version, limit as i64 + 1],
    )?;
    let rows = entries.into_iter().map(|e| read(db, e)).collect::<Result<_>>()?;
    Ok(page(rows, limit, |r: &ArtifactKeyRow| r.key))
}

pub(super) fn all(
    db: &Db<'_>,
    after: Option<ArtifactKeyRef>,
    limit: usize,
) -> Result<Page<(ArtifactKeyRef, VersionId), ArtifactKeyRef>> {
    let limit = bounded(limit);
    let (after_id, after_version) = cursor(after);
    let entries: Vec<KeyEntry> = db.many(
        "WHERE (id, version) > (?1, ?2) ORDER BY id, version LIMIT ?3",
        params![after_id, after_version, limit as i64 + 1],
    )?;
    Ok(page(entries.into_iter().map(|e| (e.key, e.version_id)).collect(), limit, |(key, _)| *key))
}

fn cursor(after: Option<ArtifactKeyRef>) -> (Vec<u8>, i64) {
    after.map_or((Vec::new(), -1), |key| (key.id.0.to_vec(), key.version.into()))
}

pub(super) fn rewrap(db: &Db<'_>, rewrap: &Rewrap) -> Result<()> {
    let entry = existing(db, rewrap.key)?;
    if entry.kek_version != rewrap.expect_kek_version {
        return Err(CatalogueError::AlreadyExists(format!(
            "the artifact key {} is wrapped under KEK version {}, not {}",
            rewrap.key.id, entry.kek_version, rewrap.expect_kek_version
        )));
    }
    let bytes = slot_bytes(&rewrap.salt, &rewrap.wrapped);
    overwrite(db, entry.slot, &bytes)?;
    db.update(&KeyEntry { kek_version: rewrap.kek_version, digest: crypto::hash::sha256(&bytes), ..entry })
}

pub(super) fn delete(db: &Db<'_>, key: ArtifactKeyRef) -> Result<bool> {
    entry(db, key)?.map_or(Ok(false), |e| destroy(db, e).map(|()| true))
}

pub(super) fn delete_of_version(db: &Db<'_>, version: VersionId) -> Result<u64> {
    let entries: Vec<KeyEntry> = db.many("WHERE version_id = ?1", [version.0])?;
    let count = entries.len() as u64;
    entries.into_iter().try_for_each(|e| destroy(db, e))?;
    Ok(count)
}

fn destroy(db: &Db<'_>, entry: KeyEntry) -> Result<()> {
    overwrite(db, entry.slot, &[0; SLOT])?;
    db.execute("DELETE FROM artifact_keys WHERE id = ?1 AND version = ?2", params![entry.key.id.0, entry.key.version])?;
    Ok(())
}

/// A row of the same size is overwritten where it lies.
fn overwrite(db: &Db<'_>, slot: i64, bytes: &[u8; SLOT]) -> Result<()> {
    match db.execute("UPDATE slots SET bytes = ?2 WHERE slot = ?1", params![slot, &bytes[..]])? {
        1 => Ok(()),
        _ => Err(CatalogueError::Damaged(format!("slot {slot} of a wrapped artifact key is missing"))),
    }
}

fn slot_bytes(salt: &[u8; 32], wrapped: &[u8; 80]) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    bytes[..32].copy_from_slice(salt);
    bytes[32..].copy_from_slice(wrapped);
    bytes
}
