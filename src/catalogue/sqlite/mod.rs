//! The catalogue in two SQLite files of the vault's home: `catalogue.db`, and `keys.db` with the wrapped artifact keys only.
//!
//! | file | what |
//! |---|---|
//! | `database` | opening a file, its configuration, schema versions |
//! | `writer`, `readers` | one writing thread with group commit; a few read-only connections |
//! | `rows`, `tables` | authenticated rows, and which facts they hold |
//! | `artifacts`, `attestations`, `access`, `documents`, `intel`, `marking`, `usage`, `log`, `tree`, `requests`, `sessions`, `keys`, `upkeep` | the commands |
//!
//! The two files are never written in one transaction (SQLite cannot do that crash-safely with write-ahead logs); each command
//! that touches both says in which order. Each has its own writer, so a key being scrubbed does not hold up audit rows.

mod access;
mod artifacts;
mod attestations;
mod database;
mod documents;
mod holds;
mod intel;
mod keys;
mod log;
mod marking;
mod operators;
mod page;
mod parts;
mod readers;
mod requests;
mod rows;
mod sessions;
mod tables;
mod tree;
mod upkeep;
mod usage;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use self::database::{CATALOGUE, Database, KEYS};
use self::rows::{Db, RowKey};
use super::*;
use crate::crypto::keys::{CatalogueKey, Key};
use crate::names::{Clock, Random, Sha256};

pub use writer::Limits;

/// [`Catalogue`] in SQLite.
pub struct SqliteCatalogue {
    catalogue: Database,
    keys: Database,
}

impl SqliteCatalogue {
    /// Makes the two files in `dir` (the home, which must exist) and opens them. `key` authenticates their rows for life.
    ///
    /// # Errors
    /// `AlreadyExists` if one of them exists. After another error none is left.
    pub fn create(dir: &Path, key: Key<CatalogueKey>, clock: Arc<dyn Clock>, random: &dyn Random) -> Result<Self> {
        let mut id = [0; 16];
        random.fill(&mut id).map_err(|e| CatalogueError::Internal(e.to_string()))?;
        let row_key = Arc::new(RowKey(key.clone()));
        let mut made = Vec::new();
        for kind in [&KEYS, &CATALOGUE] {
            let created = kind.create(dir, &row_key, &*clock, &id);
            if !matches!(created, Err(CatalogueError::AlreadyExists(_))) {
                made.push(kind.file);
            }
            if let Err(e) = created {
                for file in made {
                    for suffix in ["", "-wal", "-shm"] {
                        let _ = std::fs::remove_file(dir.join(format!("{file}{suffix}")));
                    }
                }
                return Err(e);
            }
        }
        Self::open(dir, key, clock)
    }

    /// Opens the two files in `dir`, moves their schemas forward if an older release wrote them, and checks that they are whole,
    /// belong together and were made under `key`.
    ///
    /// # Errors
    /// `NotFound`; `Damaged` (also for another vault's key); `UnsupportedVersion` if a newer release wrote them, with
    /// nothing changed; `Busy`, `Io`, `DiskFull`.
    pub fn open(dir: &Path, key: Key<CatalogueKey>, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(dir, key, clock, Limits::default())
    }

    /// The same with other limits.
    pub fn open_with(dir: &Path, key: Key<CatalogueKey>, clock: Arc<dyn Clock>, limits: Limits) -> Result<Self> {
        let key = Arc::new(RowKey(key));
        let (keys, of) = KEYS.open(dir, &key, &clock, limits)?;
        let (catalogue, own) = CATALOGUE.open(dir, &key, &clock, limits)?;
        if of != own {
            return Err(CatalogueError::Damaged("keys.db belongs to another catalogue".into()));
        }
        Ok(Self { catalogue, keys })
    }

    fn read<T>(&self, query: impl FnOnce(&Db<'_>) -> Result<T>) -> Result<T> {
        self.catalogue.readers.run(query)
    }

    fn write<T: Send + 'static>(&self, command: impl FnOnce(&Db<'_>) -> Result<T> + Send + 'static) -> Result<T> {
        self.catalogue.writer.run(command)
    }
}

impl Catalogue for SqliteCatalogue {
    fn create_namespace(&self, namespace: NamespaceRecord, entry: Entry) -> Result<Sequence> {
        self.write(move |db| artifacts::create_namespace(db, &namespace, &entry))
    }

    fn namespaces(&self) -> Result<Vec<NamespaceRecord>> {
        self.read(artifacts::namespaces)
    }

    fn namespace(&self, name: &Name) -> Result<NamespaceRecord> {
        self.read(|db| artifacts::namespace(db, name))
    }

    fn artifact(&self, id: ArtifactId) -> Result<ArtifactRecord> {
        self.read(|db| artifacts::artifact(db, id))
    }

    fn artifact_named(&self, namespace: &Name, name: &Name) -> Result<ArtifactRecord> {
        self.read(|db| artifacts::artifact_named(db, namespace, name))
    }

    fn list(
        &self,
        filter: &ArtifactFilter,
        after: Option<&ArtifactCursor>,
        limit: usize,
    ) -> Result<Page<ArtifactSummary, ArtifactCursor>> {
        self.read(|db| artifacts::list(db, filter, after, limit))
    }

    fn reserve_version(&self, reservation: NewReservation) -> Result<Reservation> {
        self.write(move |db| artifacts::reserve(db, &reservation))
    }

    fn publish_as(
        &self,
        version: NewVersion,
        role: VersionRole,
        tag: Option<Tag>,
        attestations: Vec<NewAttestation>,
        audit: OfMoves,
    ) -> Result<Published> {
        self.write(move |db| artifacts::publish(db, (version, role), tag.as_ref(), attestations, audit))
    }

    fn parts_of(&self, artifact: ArtifactId, head: u64) -> Result<Vec<VersionRecord>> {
        self.read(|db| parts::of(db, artifact, head))
    }

    fn head_of(&self, part: &VersionRecord) -> Result<Option<VersionRecord>> {
        self.read(|db| parts::head(db, part))
    }

    fn publication(&self, request: RequestId) -> Result<Option<Published>> {
        self.read(|db| artifacts::publication(db, request))
    }

    fn locate(&self, namespace: &Name, name: &Name, revision: &Revision, seen: Visibility) -> Result<Located> {
        self.read(|db| artifacts::locate(db, namespace, name, revision, seen))
    }

    fn version(&self, id: VersionId) -> Result<VersionRecord> {
        self.read(|db| artifacts::version(db, id))
    }

    fn versions_of(
        &self,
        artifact: ArtifactId,
        seen: Visibility,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<VersionRecord, u64>> {
        self.read(|db| artifacts::versions_of(db, artifact, seen, before, limit))
    }

    fn rotate_header(&self, rotation: HeaderRotation, audit: AuditLeaf) -> Result<Sequence> {
        self.write(move |db| artifacts::rotate_header(db, &rotation, &audit))
    }

    fn set_tag(
        &self,
        artifact: ArtifactId,
        tag: Tag,
        number: u64,
        expect: Option<u64>,
        entry: OfMove,
    ) -> Result<(TagMove, Sequence)> {
        self.write(move |db| artifacts::set_tag(db, artifact, &tag, number, expect, entry))
    }

    fn tags_of(&self, artifact: ArtifactId) -> Result<Vec<TagRecord>> {
        self.read(|db| artifacts::tags_of(db, artifact))
    }

    fn unlist(&self, scope: ListingScope, entry: Entry) -> Result<(u64, Sequence)> {
        self.write(move |db| artifacts::set_listing(db, scope, false, &entry))
    }

    fn relist(&self, scope: ListingScope, entry: Entry) -> Result<(u64, Sequence)> {
        self.write(move |db| artifacts::set_listing(db, scope, true, &entry))
    }

    fn purgeable(
        &self,
        before: Timestamp,
        after: Option<VersionId>,
        limit: usize,
    ) -> Result<Page<VersionRecord, VersionId>> {
        self.read(|db| artifacts::purgeable(db, before, after, limit))
    }

    fn put_artifact_key(&self, row: ArtifactKeyRow) -> Result<()> {
        self.keys.writer.run(move |db| keys::put(db, &row))
    }

    fn artifact_key(&self, key: ArtifactKeyRef) -> Result<ArtifactKeyRow> {
        self.keys.readers.run(|db| keys::artifact_key(db, key))
    }

    fn artifact_keys_under(
        &self,
        namespace: NamespaceId,
        kek_version: u32,
        after: Option<ArtifactKeyRef>,
        limit: usize,
    ) -> Result<Page<ArtifactKeyRow, ArtifactKeyRef>> {
        self.keys.readers.run(|db| keys::under(db, namespace, kek_version, after, limit))
    }

    fn artifact_keys(
        &self,
        after: Option<ArtifactKeyRef>,
        limit: usize,
    ) -> Result<Page<(ArtifactKeyRef, VersionId), ArtifactKeyRef>> {
        self.keys.readers.run(|db| keys::all(db, after, limit))
    }

    fn rewrap_artifact_key(&self, rewrap: Rewrap) -> Result<()> {
        self.keys.writer.run(move |db| keys::rewrap(db, &rewrap))
    }

    fn delete_artifact_key(&self, key: ArtifactKeyRef) -> Result<bool> {
        self.keys.writer.run_and_scrub(move |db| keys::delete(db, key))
    }

    fn delete_artifact_keys(&self, version: VersionId) -> Result<u64> {
        self.keys.writer.run_and_scrub(move |db| keys::delete_of_version(db, version))
    }

    fn shred(&self, version: VersionId, mut entry: Entry) -> Result<Sequence> {
        let approval = entry.approval.take();
        for id in self.write(move |db| artifacts::begin_shred(db, version, approval))? {
            self.delete_artifact_keys(id)?;
        }
        self.write(move |db| artifacts::finish_shred(db, version, &entry))
    }

    fn unfinished_shreds(&self) -> Result<Vec<VersionRecord>> {
        self.read(artifacts::unfinished_shreds)
    }

    fn attest(&self, attestation: NewAttestation, entry: Entry) -> Result<Sequence> {
        self.write(move |db| attestations::attest(db, attestation, &entry))
    }

    fn attestations(&self, version: VersionId) -> Result<Vec<AttestationRecord>> {
        self.read(|db| attestations::of_version(db, version))
    }

    fn attestation_body(&self, version: VersionId, digest: Sha256) -> Result<Vec<u8>> {
        self.read(|db| attestations::body(db, version, digest))
    }

    fn set_policy(&self, policy: NewPolicy, entry: Entry) -> Result<(u64, Sequence)> {
        self.write(move |db| access::set_policy(db, policy, &entry))
    }

    fn policy(&self) -> Result<Option<PolicyRecord>> {
        self.read(access::policy)
    }

    fn policy_version(&self, version: u64) -> Result<PolicyRecord> {
        self.read(|db| access::policy_version(db, version))
    }

    fn set_signers(&self, text: String, over: Option<u64>, entry: Entry) -> Result<(u64, Sequence)> {
        self.write(move |db| access::set_signers(db, text, over, &entry))
    }

    fn signers(&self) -> Result<Option<SignersRecord>> {
        self.read(access::signers)
    }

    fn enroll_workload(&self, first: NewCertificate, entry: Entry) -> Result<(WorkloadRecord, Sequence)> {
        self.write(move |db| access::enroll(db, first, &entry))
    }

    fn workload(&self, namespace: NamespaceId, name: &Name) -> Result<WorkloadRecord> {
        self.read(|db| access::workload(db, namespace, name))
    }

    fn workloads(
        &self,
        filter: WorkloadFilter,
        after: Option<&WorkloadCursor>,
        limit: usize,
    ) -> Result<Page<WorkloadRecord, WorkloadCursor>> {
        self.read(|db| access::workloads(db, filter, after, limit))
    }

    fn record_certificate(&self, certificate: NewCertificate, entry: Entry) -> Result<Sequence> {
        self.write(move |db| access::record_certificate(db, certificate, &entry))
    }

    fn certificate(&self, serial: &[u8]) -> Result<CertifiedWorkload> {
        self.read(|db| access::certificate(db, serial))
    }

    fn revoke_workload(&self, namespace: NamespaceId, name: &Name, entry: Entry) -> Result<Sequence> {
        let name = name.clone();
        self.write(move |db| access::revoke_workload(db, namespace, &name, &entry))
    }

    fn newest_certificate(&self, namespace: NamespaceId, workload: &Name) -> Result<Option<CertificateRecord>> {
        self.read(|db| access::newest_certificate(db, namespace, workload))
    }

    fn revoke_certificate(&self, serial: &[u8], entry: Entry) -> Result<Sequence> {
        let serial = serial.to_vec();
        self.write(move |db| access::revoke_certificate(db, &serial, &entry))
    }

    fn grant(
        &self,
        namespace: NamespaceId,
        workload: &Name,
        artifact: ArtifactId,
        created_by: String,
        entry: Entry,
    ) -> Result<Sequence> {
        let workload = workload.clone();
        self.write(move |db| access::grant(db, namespace, &workload, artifact, created_by, &entry))
    }

    fn revoke_grant(
        &self,
        namespace: NamespaceId,
        workload: &Name,
        artifact: ArtifactId,
        entry: Entry,
    ) -> Result<Sequence> {
        let workload = workload.clone();
        self.write(move |db| access::revoke_grant(db, namespace, &workload, artifact, &entry))
    }

    fn grants_of(
        &self,
        namespace: NamespaceId,
        workload: &Name,
        after: Option<ArtifactId>,
        limit: usize,
    ) -> Result<Page<GrantRecord, ArtifactId>> {
        self.read(|db| access::grants_of(db, namespace, workload, after, limit))
    }

    fn surroundings(
        &self,
        artifact: ArtifactId,
        version: Option<VersionId>,
        grantee: Option<(&Name, Name)>,
    ) -> Result<Surroundings> {
        self.read(|db| access::surroundings(db, artifact, version, grantee))
    }

    fn append_audit(&self, leaf: AuditLeaf) -> Result<Sequence> {
        self.write(move |db| log::append(db, &leaf))
    }

    fn audit_range(&self, from: Sequence, limit: usize) -> Result<Vec<(Sequence, AuditLeaf)>> {
        self.read(|db| log::range(db, from, limit))
    }

    fn audit_len(&self) -> Result<u64> {
        self.read(log::len)
    }

    fn request(&self, id: RequestId) -> Result<Option<RequestRecord>> {
        self.read(|db| requests::request(db, id))
    }

    fn unused_reservations(
        &self,
        before: Timestamp,
        after: Option<VersionId>,
        limit: usize,
    ) -> Result<Page<Reservation, VersionId>> {
        self.read(|db| artifacts::unused_reservations(db, before, after, limit))
    }

    fn abandon_reservation(&self, version: VersionId) -> Result<bool> {
        self.write(move |db| artifacts::abandon_reservation(db, version))
    }

    fn live_versions(&self, after: Option<VersionId>, limit: usize) -> Result<Page<VersionRecord, VersionId>> {
        self.read(|db| upkeep::live_versions(db, after, limit))
    }

    fn blob_states(&self, versions: &[VersionId]) -> Result<Vec<BlobState>> {
        self.read(|db| versions.iter().map(|v| artifacts::blob_state(db, *v)).collect())
    }

    fn integrity_check(&self) -> Result<IntegrityReport> {
        let mut report = IntegrityReport::default();
        self.keys.readers.run(|db| upkeep::check_keys(db, &mut report))?;
        self.read(|db| upkeep::check_catalogue(db, &mut report))?;
        // A damaged version row is reported above; looking for keys beyond it needs sound rows.
        if !report.findings.is_empty() {
            return Ok(report);
        }
        let mut after = None;
        loop {
            let page = self.live_versions(after, MAX_PAGE)?;
            for version in page.rows {
                let id = version.facts.version_id;
                let lost = match self.artifact_key(version.facts.artifact_key) {
                    Err(CatalogueError::NotFound(_)) => true,
                    found => found?.version_id != id,
                };
                // Rotated or shredded meanwhile is no finding.
                let same = |v: &VersionRecord| v.facts.artifact_key == version.facts.artifact_key;
                if lost && self.version(id).is_ok_and(|v| v.shred_begun.is_none() && same(&v)) {
                    upkeep::finding(&mut report, format!("version {id} has no artifact key: nobody can open it"));
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(report);
            }
        }
    }

    fn load(&self) -> Load {
        let (commands, commits) = self.catalogue.writer.counts();
        Load { waiting: self.catalogue.writer.waiting() as u64, commands, commits }
    }

    fn stats(&self) -> Result<Stats> {
        let (commands, commits) = self.catalogue.writer.counts();
        Ok(Stats { commands, commits, ..self.read(upkeep::stats)? })
    }
}
