//! Who may read what, and who is believed: policies, trusted signers, workloads, certificates, grants.

use rusqlite::params;

use super::super::*;
use super::artifacts::{self, artifact, missing, short};
use super::attestations;
use super::page::{bounded, page};
use super::parts;
use super::requests;
use super::rows::Db;
use crate::marks::Marks;

pub(super) fn set_policy(db: &Db<'_>, new: NewPolicy, entry: &Entry) -> Result<(u64, Sequence)> {
    let NewPolicy { text, envelope, over } = new;
    short("the policy", &text, MAX_POLICY)?;
    short("the signature of the policy", envelope.as_deref().unwrap_or("{}"), MAX_POLICY_ENVELOPE)?;
    let before = policy(db)?.map_or(0, |p| p.version);
    if over.is_some_and(|over| over != before) {
        return Err(CatalogueError::AlreadyExists(format!("the policy is at version {before} by now")));
    }
    let version = before + 1;
    db.insert(&PolicyRecord { version, text, envelope, created: db.now })?;
    Ok((version, requests::append(db, entry, version)?))
}

pub(super) fn policy(db: &Db<'_>) -> Result<Option<PolicyRecord>> {
    let newest: Option<PolicyRecord> = db.one("ORDER BY version DESC LIMIT 1", [])?;
    // Versions are without gaps, so rows deleted below the newest show; the newest deleted shows in the audit log.
    let count = db.number("SELECT count(*) FROM policies", [])?;
    match newest {
        Some(p) if p.version != count => Err(CatalogueError::Damaged("a policy is missing".into())),
        newest => Ok(newest),
    }
}

pub(super) fn policy_version(db: &Db<'_>, version: u64) -> Result<PolicyRecord> {
    let lost = || missing(format!("policy {version}"));
    let at = i64::try_from(version).map_err(|_| lost())?;
    db.one("WHERE version = ?1", [at])?.ok_or_else(lost)
}

pub(super) fn set_signers(db: &Db<'_>, text: String, over: Option<u64>, entry: &Entry) -> Result<(u64, Sequence)> {
    short("the trust store", &text, MAX_SIGNERS)?;
    let before = signers(db)?.map_or(0, |s| s.version);
    if over.is_some_and(|over| over != before) {
        return Err(CatalogueError::AlreadyExists(format!("the trust store is at version {before} by now")));
    }
    let version = before + 1;
    db.insert(&SignersRecord { version, text, created: db.now })?;
    Ok((version, requests::append(db, entry, version)?))
}

pub(super) fn signers(db: &Db<'_>) -> Result<Option<SignersRecord>> {
    let newest: Option<SignersRecord> = db.one("ORDER BY version DESC LIMIT 1", [])?;
    // As for policies.
    let count = db.number("SELECT count(*) FROM signers", [])?;
    match newest {
        Some(s) if s.version != count => Err(CatalogueError::Damaged("a trust store is missing".into())),
        newest => Ok(newest),
    }
}

pub(super) fn enroll(db: &Db<'_>, first: NewCertificate, entry: &Entry) -> Result<(WorkloadRecord, Sequence)> {
    let (namespace, name) = (first.namespace_id, &first.workload);
    let before = workload_if_any(db, namespace, name)?;
    let fresh = |enrolment| WorkloadRecord {
        namespace_id: namespace,
        name: name.clone(),
        enrolment,
        created: db.now,
        revoked: None,
    };
    let record = match before {
        Some(w) if w.revoked.is_none() => {
            return Err(CatalogueError::AlreadyExists(format!("the workload {name} is enrolled")));
        }
        Some(w) => {
            let record = fresh(w.enrolment.checked_add(1).ok_or_else(|| {
                CatalogueError::InvalidArgument(format!(
                    "the workload {name} was enrolled too often; choose another name"
                ))
            })?);
            db.update(&record)?;
            record
        }
        None => {
            let known: Option<NamespaceRecord> = db.one("WHERE id = ?1", [namespace.0])?;
            known.ok_or_else(|| missing(format!("namespace {namespace}")))?;
            let record = fresh(1);
            db.insert(&record)?;
            record
        }
    };
    insert_certificate(db, first, record.enrolment)?;
    Ok((record, requests::append(db, entry, 0)?))
}

fn workload_if_any(db: &Db<'_>, namespace: NamespaceId, name: &Name) -> Result<Option<WorkloadRecord>> {
    db.one("WHERE namespace_id = ?1 AND name = ?2", params![namespace.0, name.as_str()])
}

pub(super) fn workload(db: &Db<'_>, namespace: NamespaceId, name: &Name) -> Result<WorkloadRecord> {
    workload_if_any(db, namespace, name)?.ok_or_else(|| missing(format!("workload {name}")))
}

fn active_workload(db: &Db<'_>, namespace: NamespaceId, name: &Name) -> Result<WorkloadRecord> {
    let found = workload_if_any(db, namespace, name)?.filter(|w| w.revoked.is_none());
    found.ok_or_else(|| missing(format!("workload {name}, enrolled and not revoked")))
}

pub(super) fn workloads(
    db: &Db<'_>,
    filter: WorkloadFilter,
    after: Option<&WorkloadCursor>,
    limit: usize,
) -> Result<Page<WorkloadRecord, WorkloadCursor>> {
    let limit = bounded(limit);
    let (after_namespace, after_name) = after.map_or((Vec::new(), ""), |(ns, name)| (ns.0.to_vec(), name.as_str()));
    let rows = db.many(
        "WHERE (?1 IS NULL OR namespace_id = ?1) AND (?2 OR revoked IS NULL)
           AND (namespace_id, name) > (?3, ?4) ORDER BY namespace_id, name LIMIT ?5",
        params![filter.namespace_id.map(|n| n.0), filter.revoked_too, after_namespace, after_name, limit as i64 + 1],
    )?;
    Ok(page(rows, limit, |w: &WorkloadRecord| (w.namespace_id, w.name.clone())))
}

pub(super) fn revoke_workload(db: &Db<'_>, namespace: NamespaceId, name: &Name, entry: &Entry) -> Result<Sequence> {
    let record = workload(db, namespace, name)?;
    if record.revoked.is_none() {
        db.update(&WorkloadRecord { revoked: Some(db.now), ..record })?;
        // Without effect already, because the enrolment counts; but a listing should not show them.
        db.execute(
            "DELETE FROM grants WHERE namespace_id = ?1 AND workload = ?2",
            params![namespace.0, name.as_str()],
        )?;
    }
    requests::append(db, entry, 0)
}

pub(super) fn record_certificate(db: &Db<'_>, new: NewCertificate, entry: &Entry) -> Result<Sequence> {
    let enrolment = active_workload(db, new.namespace_id, &new.workload)?.enrolment;
    insert_certificate(db, new, enrolment)?;
    requests::append(db, entry, 0)
}

fn insert_certificate(db: &Db<'_>, certificate: NewCertificate, enrolment: u32) -> Result<()> {
    if !(1..=20).contains(&certificate.serial.len()) {
        return Err(CatalogueError::InvalidArgument("a serial number has 1 to 20 bytes".into()));
    }
    if certificate_if_any(db, &certificate.serial)?.is_some() {
        return Err(CatalogueError::AlreadyExists("a certificate of this serial number".into()));
    }
    db.insert(&CertificateRecord { certificate, enrolment, created: db.now, revoked: None })
}

fn certificate_if_any(db: &Db<'_>, serial: &[u8]) -> Result<Option<CertificateRecord>> {
    db.one("WHERE serial = ?1", [serial])
}

pub(super) fn certificate(db: &Db<'_>, serial: &[u8]) -> Result<CertifiedWorkload> {
    let certificate = certificate_if_any(db, serial)?.ok_or_else(|| missing("a certificate of this serial number"))?;
    let of = &certificate.certificate;
    let workload = workload_if_any(db, of.namespace_id, &of.workload)?
        .ok_or_else(|| CatalogueError::Damaged(format!("a certificate of {}, which is no workload", of.workload)))?;
    Ok(CertifiedWorkload { certificate, workload })
}

pub(super) fn newest_certificate(
    db: &Db<'_>,
    namespace: NamespaceId,
    name: &Name,
) -> Result<Option<CertificateRecord>> {
    db.one(
        "WHERE namespace_id = ?1 AND workload = ?2 ORDER BY enrolment DESC, revoked IS NOT NULL, not_after DESC LIMIT 1",
        params![namespace.0, name.as_str()],
    )
}

pub(super) fn revoke_certificate(db: &Db<'_>, serial: &[u8], entry: &Entry) -> Result<Sequence> {
    let record = certificate(db, serial)?.certificate;
    if record.revoked.is_none() {
        db.update(&CertificateRecord { revoked: Some(db.now), ..record })?;
    }
    requests::append(db, entry, 0)
}

pub(super) fn grant(
    db: &Db<'_>,
    namespace_id: NamespaceId,
    name: &Name,
    artifact_id: ArtifactId,
    created_by: String,
    entry: &Entry,
) -> Result<Sequence> {
    short("created_by", &created_by, 1024)?;
    let enrolment = active_workload(db, namespace_id, name)?.enrolment;
    let artifact = artifact(db, artifact_id)?;
    let record =
        GrantRecord { namespace_id, workload: name.clone(), artifact_id, enrolment, created_by, created: db.now };
    match grant_if_any(db, namespace_id, name, artifact_id)? {
        Some(g) if g.enrolment == enrolment => {
            return Err(CatalogueError::AlreadyExists(format!("{name} may read {} already", artifact.name)));
        }
        Some(_) => db.update(&record)?,
        None => db.insert(&record)?,
    }
    requests::append(db, entry, 0)
}

fn grant_if_any(
    db: &Db<'_>,
    namespace: NamespaceId,
    workload: &Name,
    artifact: ArtifactId,
) -> Result<Option<GrantRecord>> {
    db.one(
        "WHERE namespace_id = ?1 AND workload = ?2 AND artifact_id = ?3",
        params![namespace.0, workload.as_str(), artifact.0],
    )
}

pub(super) fn revoke_grant(
    db: &Db<'_>,
    namespace: NamespaceId,
    workload: &Name,
    artifact: ArtifactId,
    entry: &Entry,
) -> Result<Sequence> {
    let deleted = db.execute(
        "DELETE FROM grants WHERE namespace_id = ?1 AND workload = ?2 AND artifact_id = ?3",
        params![namespace.0, workload.as_str(), artifact.0],
    )?;
    match deleted {
        0 => Err(missing(format!("a grant of artifact {artifact} to {workload}"))),
        _ => requests::append(db, entry, 0),
    }
}

pub(super) fn grants_of(
    db: &Db<'_>,
    namespace: NamespaceId,
    name: &Name,
    after: Option<ArtifactId>,
    limit: usize,
) -> Result<Page<GrantRecord, ArtifactId>> {
    let (limit, after) = (bounded(limit), after.map_or(Vec::new(), |a| a.0.to_vec()));
    let workload = workload(db, namespace, name)?;
    let enrolment = if workload.revoked.is_none() { i64::from(workload.enrolment) } else { -1 };
    let rows = db.many(
        "WHERE namespace_id = ?1 AND workload = ?2 AND enrolment = ?3 AND artifact_id > ?4
         ORDER BY artifact_id LIMIT ?5",
        params![namespace.0, name.as_str(), enrolment, after, limit as i64 + 1],
    )?;
    Ok(page(rows, limit, |g: &GrantRecord| g.artifact_id))
}

pub(super) fn is_granted(db: &Db<'_>, namespace: NamespaceId, name: &Name, artifact: ArtifactId) -> Result<bool> {
    let Some(workload) = workload_if_any(db, namespace, name)?.filter(|w| w.revoked.is_none()) else {
        return Ok(false);
    };
    Ok(grant_if_any(db, namespace, name, artifact)?.is_some_and(|g| g.enrolment == workload.enrolment))
}

pub(super) fn surroundings(
    db: &Db<'_>,
    artifact: ArtifactId,
    of: Option<VersionId>,
    grantee: Option<(&Name, Name)>,
) -> Result<Surroundings> {
    let marks = db.one::<ArtifactRecord>("WHERE id = ?1", [artifact.0])?.map_or_else(Marks::default, |a| a.marks);
    let granted = match grantee {
        Some((namespace, workload)) => is_granted(db, artifacts::namespace(db, namespace)?.id, &workload, artifact)?,
        None => false,
    };
    let about = |id: VersionId| -> Result<VersionSurroundings> {
        let record = artifacts::version(db, id)?;
        // What is said of a dataset holds for its parts.
        let by = parts::speaker(db, &record)?;
        let tags = artifacts::tags_of(db, artifact)?.into_iter().filter(|t| t.version_id == by);
        let (tags, signer) = (tags.map(|t| t.tag).collect(), record.facts.signer);
        Ok(VersionSurroundings { signer, tags, attestations: attestations::of_version(db, by)? })
    };
    Ok(Surroundings { marks, granted, version: of.map(about).transpose()? })
}
