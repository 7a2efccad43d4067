//! Names, versions, tags, grants, workloads, policies, audit rows: the vault's mutable facts.
//!
//! [`Catalogue`] is a list of domain commands. Each is one transaction with its preconditions; a command that fails had no
//! effect. Commands that change something take the bytes of an audit row, which commits in the same transaction and gets the
//! next sequence number: there is no act without its row. Where an [`Entry`] names the request too, that is carried out once. No SQL, row or transaction is seen above this room.
//!
//! What it defends: whoever can write the database but has no key gets refusals, not access, because rows that decide access
//! are authenticated one by one. What it cannot see alone: rows put back to an earlier state, rows deleted, the whole file rolled
//! back. Those contradict the audit log, whose checkpoints are signed and can be kept elsewhere.
//!
//! Every call waits a bounded time for its turn, and one that changes something for its commit too
//! ([`CatalogueError::Overloaded`], [`CatalogueError::DeadlineExceeded`]); it blocks its thread meanwhile: call it from a
//! blocking pool.

mod documents;
mod error;
mod holds;
mod intel;
mod marking;
mod operators;
mod pattern;
mod records;
mod sessions;
pub mod sqlite;
mod tiles;
mod usage;

#[cfg(test)]
mod contract;

pub use documents::{DocumentRecord, Documents, MAX_DOCUMENT};
pub use error::{CatalogueError, Result};
pub use holds::{HoldRecord, Holds, MAX_HOLDS, NewHold};
pub use intel::{Intel, IntelRecord, NewIntel};
pub use marking::Marking;
pub use operators::*;
pub use pattern::Pattern;
pub use records::*;
pub use sessions::{RefusedSubject, SessionRecord, Sessions, UsedToken};
pub use sqlite::SqliteCatalogue;
pub use tiles::{AuditTree, TileRow};
pub use usage::{Usage, UsageCursor, UsageRecord};

use crate::names::{ArtifactId, Name, NamespaceId, RequestId, Revision, Sha256, Tag, Timestamp, VersionId};

/// The commands; those of one concern are a trait of their own in the file of that concern. `after` and `limit` page through a listing; a `limit` above [`MAX_PAGE`] is taken as that.
pub trait Catalogue:
    AuditTree + Documents + Holds + Intel + Marking + Operators + Sessions + Usage + Send + Sync
{
    // Namespaces and artifacts

    /// Makes a namespace. `AlreadyExists` if its name or id is taken.
    fn create_namespace(&self, namespace: NamespaceRecord, entry: Entry) -> Result<Sequence>;

    /// All namespaces, by name.
    fn namespaces(&self) -> Result<Vec<NamespaceRecord>>;

    /// The namespace of this name, or `NotFound`.
    fn namespace(&self, name: &Name) -> Result<NamespaceRecord>;

    /// The artifact of this id, or `NotFound`.
    fn artifact(&self, id: ArtifactId) -> Result<ArtifactRecord>;

    /// The artifact of this name, or `NotFound`. It may have no version yet.
    fn artifact_named(&self, namespace: &Name, name: &Name) -> Result<ArtifactRecord>;

    /// Artifacts that have a version the filter shows, by namespace and name.
    fn list(
        &self,
        filter: &ArtifactFilter,
        after: Option<&ArtifactCursor>,
        limit: usize,
    ) -> Result<Page<ArtifactSummary, ArtifactCursor>>;

    // Versions

    /// Takes the next number of a name, for good, and makes the artifact if the name is new. A number may stay unused.
    /// The same `version_id` again gets the same reservation. `AlreadyExists` if the name is of another kind.
    fn reserve_version(&self, reservation: NewReservation) -> Result<Reservation>;

    /// Makes a sealed version visible; its blobs and its key row must be durable. Moves `latest` to it unless that is at a
    /// higher number already (seals that end in another order than they began), and `tag` in any case.
    /// `NotFound` without an unused reservation of exactly this version and number.
    fn publish_version(&self, version: NewVersion, tag: Option<Tag>, audit: OfMoves) -> Result<Published> {
        self.publish_attested(version, tag, Vec::new(), audit)
    }

    /// The same for a version about which there are signed statements from its first moment on.
    fn publish_attested(
        &self,
        version: NewVersion,
        tag: Option<Tag>,
        attestations: Vec<NewAttestation>,
        audit: OfMoves,
    ) -> Result<Published> {
        self.publish_as(version, VersionRole::Alone, tag, attestations, audit)
    }

    /// The same for a version that is a part of a dataset, or names its parts. `InvalidArgument` for a part with a tag, and for
    /// parts that are not of this artifact, are named by another version, unlisted or shredded.
    fn publish_as(
        &self,
        version: NewVersion,
        role: VersionRole,
        tag: Option<Tag>,
        attestations: Vec<NewAttestation>,
        audit: OfMoves,
    ) -> Result<Published>;

    /// The parts that a version of an artifact names, by number.
    fn parts_of(&self, artifact: ArtifactId, head: u64) -> Result<Vec<VersionRecord>>;

    /// The version that names this one as a part, in any state; none for what is no part, or that of no version yet.
    fn head_of(&self, part: &VersionRecord) -> Result<Option<VersionRecord>>;

    /// What a request has published, if it has: ask before sealing anew after a cut.
    fn publication(&self, request: RequestId) -> Result<Option<Published>>;

    /// The version a reference means, with its artifact and the tag it was named by: all of one moment. `NotFound` for an
    /// unlisted one unless asked for; `Shredded`.
    fn locate(&self, namespace: &Name, name: &Name, revision: &Revision, seen: Visibility) -> Result<Located>;

    /// The version of this id in any state, or `NotFound`.
    fn version(&self, id: VersionId) -> Result<VersionRecord>;

    /// Versions of an artifact, highest number first; `before` is a number. With [`Visibility::All`] also unlisted and shredded
    /// ones.
    fn versions_of(
        &self,
        artifact: ArtifactId,
        seen: Visibility,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<VersionRecord, u64>>;

    /// Puts a new header in force. `AlreadyExists` if another generation than the expected one is in force.
    fn rotate_header(&self, rotation: HeaderRotation, audit: AuditLeaf) -> Result<Sequence>;

    // Tags and listing

    /// Moves a tag to a listed version. `TagMoved` unless it is at `expect`, where given; 0 is nowhere: the
    /// tag must not exist.
    fn set_tag(
        &self,
        artifact: ArtifactId,
        tag: Tag,
        number: u64,
        expect: Option<u64>,
        entry: OfMove,
    ) -> Result<(TagMove, Sequence)>;

    /// The tags of an artifact, by name.
    fn tags_of(&self, artifact: ArtifactId) -> Result<Vec<TagRecord>>;

    /// Hides versions from [`Catalogue::locate`] and [`Catalogue::list`] and says how many it hid. Those hidden already keep
    /// their time. A version takes its parts with it; `InvalidArgument` for a part that another version names.
    fn unlist(&self, scope: ListingScope, entry: Entry) -> Result<(u64, Sequence)>;

    /// Undoes [`Catalogue::unlist`] and says for how many versions. `Shredded` for a version that was shredded.
    fn relist(&self, scope: ListingScope, entry: Entry) -> Result<(u64, Sequence)>;

    /// Versions that were unlisted before this time and not shredded, by id.
    fn purgeable(
        &self,
        before: Timestamp,
        after: Option<VersionId>,
        limit: usize,
    ) -> Result<Page<VersionRecord, VersionId>>;

    // Attestations

    /// Attaches a signed statement to a version. `AlreadyExists` for the very same one; `Shredded`; `InvalidArgument` above
    /// [`MAX_ATTESTATIONS`].
    fn attest(&self, attestation: NewAttestation, entry: Entry) -> Result<Sequence>;

    /// The statements about a version, oldest first.
    fn attestations(&self, version: VersionId) -> Result<Vec<AttestationRecord>>;

    /// The sealed bytes of one of them, or `NotFound`: those in a member of the version have none.
    fn attestation_body(&self, version: VersionId, digest: Sha256) -> Result<Vec<u8>>;

    // Artifact keys

    /// Keeps a wrapped artifact key. `AlreadyExists` if there is one of this id and version.
    fn put_artifact_key(&self, row: ArtifactKeyRow) -> Result<()>;

    /// A wrapped artifact key, or `NotFound`.
    fn artifact_key(&self, key: ArtifactKeyRef) -> Result<ArtifactKeyRow>;

    /// Keys wrapped under this KEK version, by reference: what is left to rewrap before the KEK version can be dropped.
    fn artifact_keys_under(
        &self,
        namespace: NamespaceId,
        kek_version: u32,
        after: Option<ArtifactKeyRef>,
        limit: usize,
    ) -> Result<Page<ArtifactKeyRow, ArtifactKeyRef>>;

    /// Replaces the wrapping of a key. `AlreadyExists` if it is not under the expected KEK version.
    fn rewrap_artifact_key(&self, rewrap: Rewrap) -> Result<()>;

    /// Destroys one key (after a rotation, or an orphan) and says whether there was one. When this returns, the wrapped bytes
    /// are in no file of the catalogue.
    fn delete_artifact_key(&self, key: ArtifactKeyRef) -> Result<bool>;

    /// Destroys all keys of a version and says how many there were; same promise. Also repeats the scrubbing where an earlier
    /// call failed half-way.
    fn delete_artifact_keys(&self, version: VersionId) -> Result<u64>;

    /// Artifact keys by id, for finding those whose version was never published.
    fn artifact_keys(
        &self,
        after: Option<ArtifactKeyRef>,
        limit: usize,
    ) -> Result<Page<(ArtifactKeyRef, VersionId), ArtifactKeyRef>>;

    /// Shreds a version: refuses it from now on, destroys its keys, then records it as shredded with the audit row.
    ///
    /// Keys and names are in two databases, so these are three commits in this order, and a crash leaves a version that nobody
    /// can open, listed by [`Catalogue::unfinished_shreds`]; the same call again finishes it. `Shredded` if it was finished.
    /// An approval is used up by the first of them. A version takes its parts with it; `InvalidArgument` for a part that another
    /// version names.
    fn shred(&self, version: VersionId, entry: Entry) -> Result<Sequence>;

    /// Versions whose shredding began and did not end.
    fn unfinished_shreds(&self) -> Result<Vec<VersionRecord>>;

    // Policy

    /// Puts a policy in force and returns its version. Earlier ones are kept. `AlreadyExists` if it was to be over another than
    /// the one in force.
    fn set_policy(&self, policy: NewPolicy, entry: Entry) -> Result<(u64, Sequence)>;

    /// The policy in force; `None` if none was ever set.
    fn policy(&self) -> Result<Option<PolicyRecord>>;

    /// A policy that was in force, or `NotFound`.
    fn policy_version(&self, version: u64) -> Result<PolicyRecord>;

    // Trusted signers

    /// Puts a document of trusted signers in force and returns its version. Earlier ones are kept. `AlreadyExists` unless the
    /// one of version `over` (0: none) is in force, where given.
    fn set_signers(&self, text: String, over: Option<u64>, entry: Entry) -> Result<(u64, Sequence)>;

    /// The document of trusted signers in force; `None` if none was ever set.
    fn signers(&self) -> Result<Option<SignersRecord>>;

    // Workloads and grants

    /// Enrols the workload that this certificate names, and records it as its first: at no time is there a workload that
    /// holds its name without a certificate to call with. `AlreadyExists` unless the name is new or was revoked.
    fn enroll_workload(&self, first: NewCertificate, entry: Entry) -> Result<(WorkloadRecord, Sequence)>;

    /// The workload of this name, revoked or not, or `NotFound`.
    fn workload(&self, namespace: NamespaceId, name: &Name) -> Result<WorkloadRecord>;

    /// Workloads by namespace id and name.
    fn workloads(
        &self,
        filter: WorkloadFilter,
        after: Option<&WorkloadCursor>,
        limit: usize,
    ) -> Result<Page<WorkloadRecord, WorkloadCursor>>;

    /// Records a further certificate before it is handed out. `NotFound` if the workload is unknown or revoked; `AlreadyExists`.
    fn record_certificate(&self, certificate: NewCertificate, entry: Entry) -> Result<Sequence>;

    /// The certificate of this serial number and its workload, or `NotFound`: a certificate not recorded here is refused.
    fn certificate(&self, serial: &[u8]) -> Result<CertifiedWorkload>;

    /// The certificate of a workload's newest enrolment that is valid longest: of those that are not revoked, if there are any.
    fn newest_certificate(&self, namespace: NamespaceId, workload: &Name) -> Result<Option<CertificateRecord>>;

    /// Revokes a workload with its certificates and grants. Again: keeps the first time.
    fn revoke_workload(&self, namespace: NamespaceId, name: &Name, entry: Entry) -> Result<Sequence>;

    /// Revokes one certificate. Again: keeps the first time.
    fn revoke_certificate(&self, serial: &[u8], entry: Entry) -> Result<Sequence>;

    /// Grants an artifact to a workload. `NotFound` if either is unknown or the workload revoked; `AlreadyExists`.
    fn grant(
        &self,
        namespace: NamespaceId,
        workload: &Name,
        artifact: ArtifactId,
        created_by: String,
        entry: Entry,
    ) -> Result<Sequence>;

    /// Takes a grant back. `NotFound` if there is none.
    fn revoke_grant(
        &self,
        namespace: NamespaceId,
        workload: &Name,
        artifact: ArtifactId,
        entry: Entry,
    ) -> Result<Sequence>;

    /// The grants in force of a workload, by artifact id.
    fn grants_of(
        &self,
        namespace: NamespaceId,
        workload: &Name,
        after: Option<ArtifactId>,
        limit: usize,
    ) -> Result<Page<GrantRecord, ArtifactId>>;

    /// What a decision about an artifact, or one version of it, goes by: all of one moment. `grantee` is the enrolled workload that
    /// asks. Nothing is said about an artifact that is only about to be; `NotFound` for an unknown version.
    fn surroundings(
        &self,
        artifact: ArtifactId,
        version: Option<VersionId>,
        grantee: Option<(&Name, Name)>,
    ) -> Result<Surroundings>;

    // Audit

    /// Appends a row that belongs to no other change, such as a decision. Durable when this returns.
    fn append_audit(&self, leaf: AuditLeaf) -> Result<Sequence>;

    /// Rows from a sequence number on, without gaps: at most `limit` and about 16 MiB.
    fn audit_range(&self, from: Sequence, limit: usize) -> Result<Vec<(Sequence, AuditLeaf)>>;

    /// How many rows there are.
    fn audit_len(&self) -> Result<u64>;

    /// The request of this id, if it was carried out: ask before an act, and again when a command refused one.
    fn request(&self, id: RequestId) -> Result<Option<RequestRecord>>;

    // Housekeeping

    /// Reservations made before this time and not used, by version id.
    fn unused_reservations(
        &self,
        before: Timestamp,
        after: Option<VersionId>,
        limit: usize,
    ) -> Result<Page<Reservation, VersionId>>;

    /// Gives a reservation up and says whether there was one: it can no longer be published, its blobs are orphans. Was it for
    /// the first version of a new name that nobody was granted, the name is free again.
    fn abandon_reservation(&self, version: VersionId) -> Result<bool>;

    /// Versions by id whose keys and blobs must exist, listed or not.
    fn live_versions(&self, after: Option<VersionId>, limit: usize) -> Result<Page<VersionRecord, VersionId>>;

    /// What the blobs of these versions are to the catalogue, in their order.
    fn blob_states(&self, versions: &[VersionId]) -> Result<Vec<BlobState>>;

    /// Reads everything: structure, references, authentication of every row, gaps in the audit log.
    fn integrity_check(&self) -> Result<IntegrityReport>;

    /// How busy the writer is. Reads nothing and waits for nobody.
    fn load(&self) -> Load;

    /// Numbers.
    fn stats(&self) -> Result<Stats>;
}
