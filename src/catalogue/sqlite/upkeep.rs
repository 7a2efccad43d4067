//! Reading everything, and counting.

use super::super::*;
use super::page::{bounded, page};
use super::rows::{Db, Row};
use super::tables::{KeyEntry, Meta};
use super::{attestations, holds, keys, log, tree};

/// The most findings of one report.
const MAX_FINDINGS: usize = 1000;

pub(super) fn check_catalogue(db: &Db<'_>, report: &mut IntegrityReport) -> Result<()> {
    check_structure(db, "catalogue.db", report)?;
    check_rows::<Meta>(db, report)?;
    check_rows::<NamespaceRecord>(db, report)?;
    check_rows::<ArtifactRecord>(db, report)?;
    check_rows::<Reservation>(db, report)?;
    check_rows::<VersionRecord>(db, report)?;
    check_rows::<TagRecord>(db, report)?;
    check_rows::<PolicyRecord>(db, report)?;
    check_rows::<SignersRecord>(db, report)?;
    check_rows::<DocumentRecord>(db, report)?;
    check_rows::<IntelRecord>(db, report)?;
    check_rows::<WorkloadRecord>(db, report)?;
    check_rows::<CertificateRecord>(db, report)?;
    check_rows::<GrantRecord>(db, report)?;
    check_rows::<RequestRecord>(db, report)?;
    check_rows::<HoldRecord>(db, report)?;
    check_rows::<holds::Watched>(db, report)?;
    check_rows::<FactorRecord>(db, report)?;
    check_rows::<StepUpRecord>(db, report)?;
    check_rows::<ApprovalRecord>(db, report)?;
    check_rows::<VoteRecord>(db, report)?;
    check_rows::<UsageRecord>(db, report)?;
    check_rows::<SessionRecord>(db, report)?;
    check_rows::<UsedToken>(db, report)?;
    check_rows::<RefusedSubject>(db, report)?;
    attestations::check(db, report)?;
    for (what, sql) in [
        ("audit rows are missing", "SELECT coalesce(max(sequence), -1) + 1 - count(*) FROM audit"),
        ("holds are missing", "SELECT coalesce(max(number), 0) - count(*) FROM holds"),
        ("policies are missing", "SELECT coalesce(max(version), 0) - count(*) FROM policies"),
        ("trust stores are missing", "SELECT coalesce(max(version), 0) - count(*) FROM signers"),
        (
            "settings are missing",
            "SELECT coalesce(sum(d), 0) FROM (SELECT max(version) - count(*) AS d FROM documents GROUP BY kind)",
        ),
        (
            "tags are at another number than their version",
            "SELECT count(*) FROM tags t JOIN versions v ON v.id = t.version_id
             WHERE v.number <> t.number OR v.artifact_id <> t.artifact_id",
        ),
        (
            "numbers are higher than the next one of their artifact",
            "SELECT count(*) FROM versions v JOIN artifacts a ON a.id = v.artifact_id WHERE v.number >= a.next_number",
        ),
        (
            "published versions are also reserved",
            "SELECT count(*) FROM versions v JOIN reservations r ON r.version_id = v.id",
        ),
    ] {
        let count: i64 = db.value(sql, [])?.unwrap_or(0);
        if count != 0 {
            finding(report, format!("{count} {what}"));
        }
    }
    if let Some(last) = tree::latest_checkpoint(db)?
        && last.size > log::len(db)?
    {
        finding(report, format!("a checkpoint covers {} audit rows, but there are fewer", last.size));
    }
    Ok(())
}

pub(super) fn check_keys(db: &Db<'_>, report: &mut IntegrityReport) -> Result<()> {
    check_structure(db, "keys.db", report)?;
    check_rows::<Meta>(db, report)?;
    let mut found = Vec::new();
    db.each::<KeyEntry>("", [], |row| {
        report.rows += 1;
        if let Err(e) = row.and_then(|entry| keys::artifact_key(db, entry.key)) {
            found.push(e.to_string());
        }
        Ok(found.len() < MAX_FINDINGS)
    })?;
    found.into_iter().for_each(|f| finding(report, f));
    Ok(())
}

fn check_structure(db: &Db<'_>, file: &str, report: &mut IntegrityReport) -> Result<()> {
    let mut statement = db.conn.prepare("PRAGMA integrity_check(100)")?;
    for line in statement.query_map([], |row| row.get::<_, String>(0))? {
        let line = line?;
        if line != "ok" {
            finding(report, format!("{file}: {line}"));
        }
    }
    let mut statement = db.conn.prepare("PRAGMA foreign_key_check")?;
    let dangling = statement.query_map([], |row| row.get::<_, String>(0))?.count();
    if dangling > 0 {
        finding(report, format!("{file}: {dangling} rows refer to rows that do not exist"));
    }
    Ok(())
}

pub(super) fn check_rows<T: Row>(db: &Db<'_>, report: &mut IntegrityReport) -> Result<()> {
    db.each::<T>("", [], |row| {
        report.rows += 1;
        if let Err(e) = row {
            finding(report, e.to_string());
        }
        Ok(report.findings.len() < MAX_FINDINGS)
    })
}

pub(super) fn finding(report: &mut IntegrityReport, what: String) {
    if report.findings.len() < MAX_FINDINGS {
        report.findings.push(what);
    }
}

pub(super) fn live_versions(
    db: &Db<'_>,
    after: Option<VersionId>,
    limit: usize,
) -> Result<Page<VersionRecord, VersionId>> {
    let (limit, after) = (bounded(limit), after.map_or(Vec::new(), |v| v.0.to_vec()));
    let rows = db.many(
        "WHERE id > ?1 AND shred_begun IS NULL ORDER BY id LIMIT ?2",
        rusqlite::params![after, limit as i64 + 1],
    )?;
    Ok(page(rows, limit, |v: &VersionRecord| v.facts.version_id))
}

pub(super) fn stats(db: &Db<'_>) -> Result<Stats> {
    let count = |sql: &str| db.number(sql, []);
    Ok(Stats {
        namespaces: count("SELECT count(*) FROM namespaces")?,
        artifacts: count("SELECT count(DISTINCT artifact_id) FROM versions")?,
        versions: count("SELECT count(*) FROM versions")?,
        unlisted: count("SELECT count(*) FROM versions WHERE unlisted IS NOT NULL")?,
        shredded: count("SELECT count(*) FROM versions WHERE shredded IS NOT NULL")?,
        workloads: count("SELECT count(*) FROM workloads WHERE revoked IS NULL")?,
        grants: count("SELECT count(*) FROM grants")?,
        audit_rows: log::len(db)?,
        blob_bytes: count("SELECT coalesce(sum(header_len + body_len), 0) FROM versions WHERE shredded IS NULL")?,
        commands: 0,
        commits: 0,
    })
}
