//! What the catalogue takes and gives. Plain data; times are points on the vault's clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::marks::Marks;
use crate::names::{
    ArtifactId, ArtifactKind, Commitment, FileId, KekId, KeyId, Name, NamespaceId, RequestId, Root, Sha256, Tag,
    Timestamp, VersionId,
};

/// Place of a row in the audit log: 0-based, without gaps.
pub type Sequence = u64;

/// The opaque bytes of an audit row that commits with the act it describes. At most [`MAX_LEAF`] bytes.
pub type AuditLeaf = Vec<u8>;

/// How long a request is remembered at least, so that the same again gets the first answer.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// The audit row of an act, and the request that may come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Commits with the act.
    pub leaf: AuditLeaf,
    /// Commits with the act too. The command fails with `AlreadyExists`, and without effect, if this request was carried out
    /// before: ask [`super::Catalogue::request`].
    pub once: Option<Once>,
    /// What others approved it by, if that was needed. Used up with the act: the command fails with `NotApproved`, and without
    /// effect, if it was used up, refused or has ended meanwhile.
    pub approval: Option<super::Spend>,
}

impl From<AuditLeaf> for Entry {
    /// An act that is carried out as often as it is asked for.
    fn from(leaf: AuditLeaf) -> Self {
        Self { leaf, once: None, approval: None }
    }
}

/// A request that is to be carried out once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Chosen by the caller.
    pub id: RequestId,
    /// Digest of who asks for what: the same id for anything else is another request.
    pub asked: Sha256,
    /// What cannot be found out again from the catalogue, such as a certificate.
    pub answer: Vec<u8>,
}

/// A request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// What was asked, and what cannot be found out again.
    pub once: Once,
    /// What the command answered: the version of a policy, how many versions changed; else 0.
    pub number: u64,
    /// Its audit row.
    pub sequence: Sequence,
    /// When.
    pub created: Timestamp,
}

/// The longest audit leaf, in bytes.
pub const MAX_LEAF: usize = 64 * 1024;
/// Statements about one version.
pub const MAX_ATTESTATIONS: u64 = 256;
/// The longest predicate type, in bytes.
pub const MAX_PREDICATE_TYPE: usize = 512;
/// The longest text of what is known of a dataset, in bytes.
pub const MAX_DATASET_FACTS: usize = 4 << 20;
/// The longest signature over a policy, in bytes.
pub const MAX_POLICY_ENVELOPE: usize = 16 << 10;
/// The longest policy text, in bytes.
pub const MAX_POLICY: usize = 1024 * 1024;
/// The longest document of trusted signers, in bytes.
pub const MAX_SIGNERS: usize = 4 * 1024 * 1024;
/// The most tags of one artifact.
pub const MAX_TAGS: u64 = 1024;
/// The most rows of one page, whatever the caller asks for.
pub const MAX_PAGE: usize = 1000;

/// Whether unlisted versions are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// What is listed.
    Listed,
    /// Unlisted versions too. Shredded ones stay shredded.
    All,
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// The rows.
    pub rows: Vec<T>,
    /// Pass it on to get the next page; `None`: that was all.
    pub next: Option<C>,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRecord {
    /// For life.
    pub id: NamespaceId,
    /// Unique in the vault.
    pub name: Name,
    /// When it was made.
    pub created: Timestamp,
}

/// A named artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactRecord {
    /// For life.
    pub id: ArtifactId,
    /// Where it is.
    pub namespace_id: NamespaceId,
    /// Unique in its namespace.
    pub name: Name,
    /// Fixed by its first reservation.
    pub kind: ArtifactKind,
    /// The number the next reservation gets; from 1.
    pub next_number: u64,
    /// When it was first reserved.
    pub created: Timestamp,
    /// What operators say about it.
    pub marks: Marks,
}

/// Asks for the next version number of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReservation {
    /// Where.
    pub namespace_id: NamespaceId,
    /// The artifact.
    pub name: Name,
    /// Must be that of the artifact, if there is one.
    pub kind: ArtifactKind,
    /// Becomes the artifact's id if the name is new.
    pub artifact_id: ArtifactId,
    /// The version to be.
    pub version_id: VersionId,
}

/// A number that no other version of the artifact will have, used or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The version to be.
    pub version_id: VersionId,
    /// Of which artifact.
    pub artifact_id: ArtifactId,
    /// `vN`.
    pub number: u64,
    /// When it was reserved.
    pub reserved: Timestamp,
}

/// Names one version of an artifact key (FORMAT 4.3: `kek_id`, `kek_version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactKeyRef {
    /// The key.
    pub id: KekId,
    /// Its version.
    pub version: u32,
}

/// The facts of a version, pinned when it is published. A reader compares the sealed file with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// Also names the blobs.
    pub version_id: VersionId,
    /// Of which artifact.
    pub artifact_id: ArtifactId,
    /// As reserved.
    pub number: u64,
    /// FORMAT 3.
    pub file_id: FileId,
    /// FORMAT 3.
    pub commitment: Commitment,
    /// FORMAT 8.
    pub root: Root,
    /// Of the header.
    pub generation: u32,
    /// Bytes of the header blob.
    pub header_len: u64,
    /// Bytes of the body blob.
    pub body_len: u64,
    /// Bytes of the payload: the members and the gaps between them.
    pub payload_len: u64,
    /// Bytes of the members; of versions from before this was kept, [`Self::payload_len`].
    pub content_len: u64,
    /// Files inside.
    pub member_count: u64,
    /// For example `application/vnd.onnx`; empty if not known.
    pub media_type: String,
    /// For example `onnx`; empty if not known.
    pub format: String,
    /// Who signed the artifact statement.
    pub signer: KeyId,
    /// The principal who sealed, as text.
    pub sealed_by: String,
    /// As in the artifact statement.
    pub created: Timestamp,
    /// Opens the header.
    pub artifact_key: ArtifactKeyRef,
    /// A second publication of the same request changes nothing.
    pub request_id: RequestId,
}

/// What a publication did, or had done when it was first made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The version.
    pub version_id: VersionId,
    /// `vN`.
    pub number: u64,
    /// The audit row of the first publication.
    pub sequence: Sequence,
    /// Nothing was changed now: the request had been carried out before.
    pub replayed: bool,
}

/// A published version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRecord {
    /// The pinned facts.
    pub facts: NewVersion,
    /// Where it is.
    pub namespace_id: NamespaceId,
    /// The artifact's kind when it was published.
    pub kind: ArtifactKind,
    /// Audit row of its publication.
    pub sequence: Sequence,
    /// Since when it is unlisted (`rm`); recoverable.
    pub unlisted: Option<Timestamp>,
    /// Since when nobody may open it because its key is being destroyed.
    pub shred_begun: Option<Timestamp>,
    /// When its key was gone.
    pub shredded: Option<Timestamp>,
    /// Of a part of a dataset: the number of the version that names it, in the same artifact; 0 while none does.
    pub part_of: Option<u64>,
}

/// What a new version is to other versions of its artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionRole {
    /// Nothing: it stands for itself.
    Alone,
    /// Files of a dataset that another version will name. No tag moves to it.
    Part,
    /// It names these parts, each of which no version names yet. What becomes of it becomes of them.
    Head(Vec<VersionId>),
}

/// A tag of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagRecord {
    /// Of which artifact.
    pub artifact_id: ArtifactId,
    /// The tag.
    pub tag: Tag,
    /// Where it is.
    pub version_id: VersionId,
    /// Where it is, as `vN`.
    pub number: u64,
    /// Grows by one with every move, also to where the tag is already; the first is 1. Tags are never removed and artifact ids never
    /// given out again, so no number comes twice.
    pub moves: u64,
    /// When it came here.
    pub moved: Timestamp,
}

/// A signed statement about a version, in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttestation {
    /// About which version.
    pub version_id: VersionId,
    /// SHA-256 of the bundle.
    pub digest: Sha256,
    /// What kind of thing is said (in-toto): a URI.
    pub predicate_type: String,
    /// What the trust store called the signer when the statement came.
    pub signer: Name,
    /// The key that signed: of the signer, or of a certificate.
    pub keyid: KeyId,
    /// How it signs, by name.
    pub algorithm: String,
    /// The keys of the certificates that vouched for it, its own first; empty: the trust store named the key itself.
    pub path: Vec<KeyId>,
    /// It is about all of the version, not about some of its members.
    pub whole: bool,
    /// The member of the version that is the bundle, or holds it.
    pub member: Option<String>,
    /// The principal who attached it, as text.
    pub added_by: String,
    /// The bundle under the version's artifact key, unless a member has it.
    pub sealed: Option<Vec<u8>>,
    /// What it says of the version as a dataset, if it was held against all files of it.
    pub dataset: Option<DatasetFacts>,
}

/// A signed statement about a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationRecord {
    /// About which version.
    pub version_id: VersionId,
    /// SHA-256 of the bundle.
    pub digest: Sha256,
    /// What kind of thing is said (in-toto): a URI.
    pub predicate_type: String,
    /// What the trust store called the signer when the statement came.
    pub signer: Name,
    /// The key that signed: of the signer, or of a certificate.
    pub keyid: KeyId,
    /// How it signs, by name.
    pub algorithm: String,
    /// The keys of the certificates that vouched for it, its own first; empty: the trust store named the key itself.
    pub path: Vec<KeyId>,
    /// It is about all of the version, not about some of its members.
    pub whole: bool,
    /// The member of the version that is the bundle, or holds it.
    pub member: Option<String>,
    /// The principal who attached it, as text.
    pub added_by: String,
    /// When: the signature is at least as old.
    pub added: Timestamp,
    /// What it says of the version as a dataset, if it was held against all files of it.
    pub dataset: Option<DatasetFacts>,
}

/// What the signed statement of a dataset says, as far as decisions ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// What its owner calls it.
    pub name: String,
    /// Its owner's number: not that of the version here.
    pub version: u64,
    /// SHA-256 of the statement; rows of earlier times have none.
    #[serde(default)]
    pub statement: Option<Sha256>,
    /// Records of all files.
    pub records: u64,
    /// Records that are read: all but those of contributors who are kept out.
    pub readable: u64,
    /// Records that no contributor attests.
    pub unattributed: u64,
    /// When it was signed, as its signer says.
    pub created: Timestamp,
    /// From then on it counts no more.
    pub expires: Option<Timestamp>,
    /// Contributors whose records are read, and the keys that signed for them.
    pub contributors: Vec<(String, KeyId)>,
    /// How many contributors are kept out.
    pub excluded: u64,
    /// The report of a scan in short, where it names one that its signer read.
    #[serde(default)]
    pub scan: Option<ScanFacts>,
    /// It was made from other datasets.
    pub derived: bool,
}

/// A scan for what looks poisoned, as far as decisions ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanFacts {
    /// Records that were looked at.
    pub records: u64,
    /// Findings of all detectors.
    pub findings: u64,
    /// How grave the gravest is: 0 nothing, 1 low, 2 medium, 3 high.
    pub worst: u64,
    /// Detectors that ran, and how many records each found suspicious.
    pub detectors: Vec<(String, u64)>,
}

/// A move of a tag, as it is about to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagMove {
    /// The tag.
    pub tag: Tag,
    /// Number of the version it was at; `None`: it did not exist.
    pub from: Option<u64>,
    /// Number of the version it comes to.
    pub to: u64,
    /// [`TagRecord::moves`] from then on.
    pub sequence: u64,
}

impl std::fmt::Display for TagMove {
    /// `prod v1 -> v3 (4)`, for the audit log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let from = self.from.map_or_else(String::new, |n| format!("v{n} "));
        write!(f, "{} {from}-> v{} ({})", self.tag, self.to, self.sequence)
    }
}

/// Makes what commits with the move of a tag: only the transaction knows where the tag was and its sequence.
pub type OfMove = Box<dyn FnOnce(&TagMove) -> Entry + Send>;
/// Makes the entry of a publication from the moves it makes.
pub type OfMoves = Box<dyn FnOnce(&[TagMove]) -> Entry + Send>;

/// Which artifacts to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactFilter {
    /// By name.
    pub pattern: super::Pattern,
    /// `Listed` leaves out artifacts without a listed version.
    pub visibility: Visibility,
}

/// Where a page of artifacts ended: namespace and name.
pub type ArtifactCursor = (Name, Name);

/// A line of `vault ls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactSummary {
    /// Name of the namespace.
    pub namespace: Name,
    /// The artifact.
    pub artifact: ArtifactRecord,
    /// How many of its versions the filter shows.
    pub versions: u64,
    /// The highest of them.
    pub newest: VersionRecord,
    /// Its tags that are at such versions, by name.
    pub tags: Vec<TagRecord>,
}

/// What `rm` and its undoing are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingScope {
    /// One version.
    Version(VersionId),
    /// All versions there are now.
    Artifact(ArtifactId),
}

/// A new header in place of the one in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRotation {
    /// Whose header.
    pub version_id: VersionId,
    /// The generation in force, as the caller read it.
    pub expect_generation: u32,
    /// Higher than that.
    pub generation: u32,
    /// Bytes of the new header blob.
    pub header_len: u64,
    /// Opens the new header.
    pub artifact_key: ArtifactKeyRef,
}

/// A wrapped artifact key. The only secret rows of the catalogue, in a database of their own.
#[derive(Clone, PartialEq, Eq)]
pub struct ArtifactKeyRow {
    /// Which key.
    pub key: ArtifactKeyRef,
    /// Whose KEK wraps it.
    pub namespace_id: NamespaceId,
    /// What it opens.
    pub version_id: VersionId,
    /// Version of that KEK.
    pub namespace_kek_version: u32,
    /// FORMAT 4.1.
    pub salt: [u8; 32],
    /// FORMAT 4.1: commitment and wrapped key.
    pub wrapped: [u8; 80],
}

impl std::fmt::Debug for ArtifactKeyRow {
    /// Without the wrapped bytes: whoever shreds a key relies on there being no copy in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ArtifactKeyRow({:?} of {:?}, REDACTED)", self.key, self.version_id)
    }
}

/// The same artifact key wrapped under another version of the namespace KEK.
#[derive(Clone, PartialEq, Eq)]
pub struct Rewrap {
    /// Which key.
    pub key: ArtifactKeyRef,
    /// The KEK version in force, as the caller read it.
    pub expect_kek_version: u32,
    /// The new KEK version.
    pub kek_version: u32,
    /// FORMAT 4.1.
    pub salt: [u8; 32],
    /// FORMAT 4.1.
    pub wrapped: [u8; 80],
}

/// A policy that is to be in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPolicy {
    /// The text.
    pub text: String,
    /// The vault's signature over this version of it (DSSE, as JSON).
    pub envelope: Option<String>,
    /// Only if this version is in force (0: none was ever set).
    pub over: Option<u64>,
}

impl From<String> for NewPolicy {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

impl From<&str> for NewPolicy {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// A policy that was or is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    /// From 1, without gaps.
    pub version: u64,
    /// As given.
    pub text: String,
    /// The vault's signature; none for those that an earlier release put in force.
    pub envelope: Option<String>,
    /// Since when.
    pub created: Timestamp,
}

/// A document of trusted signers that was or is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignersRecord {
    /// From 1, without gaps.
    pub version: u64,
    /// As given.
    pub text: String,
    /// Since when.
    pub created: Timestamp,
}

/// An enrolled workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadRecord {
    /// Where it belongs.
    pub namespace_id: NamespaceId,
    /// Unique in the namespace.
    pub name: Name,
    /// 1, and one more each time the name was enrolled again after a revocation: certificates and grants of an earlier
    /// enrolment stay without effect.
    pub enrolment: u32,
    /// When it was enrolled, last time.
    pub created: Timestamp,
    /// Since when it is refused.
    pub revoked: Option<Timestamp>,
}

/// A certificate to be recorded before it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCertificate {
    /// 1 to 20 bytes (RFC 5280, 4.1.2.2).
    pub serial: Vec<u8>,
    /// Namespace of the workload.
    pub namespace_id: NamespaceId,
    /// The workload.
    pub workload: Name,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub spki: KeyId,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
}

/// A certificate that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRecord {
    /// What was recorded.
    pub certificate: NewCertificate,
    /// The workload's enrolment it was made for.
    pub enrolment: u32,
    /// When it was recorded.
    pub created: Timestamp,
    /// Since when it is refused.
    pub revoked: Option<Timestamp>,
}

/// A certificate with its workload: all that revocation is decided from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedWorkload {
    /// The certificate.
    pub certificate: CertificateRecord,
    /// The workload as it stands now.
    pub workload: WorkloadRecord,
}

impl CertifiedWorkload {
    /// Whether the certificate, or the workload it was made for, was revoked. Validity in time is the caller's to check.
    pub fn is_revoked(&self) -> bool {
        self.certificate.revoked.is_some()
            || self.workload.revoked.is_some()
            || self.certificate.enrolment != self.workload.enrolment
    }
}

/// Which workloads to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadFilter {
    /// Of this namespace only.
    pub namespace_id: Option<NamespaceId>,
    /// Those that were revoked too.
    pub revoked_too: bool,
}

/// Where a page of workloads ended.
pub type WorkloadCursor = (NamespaceId, Name);

/// A workload may read an artifact, if the policy agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    /// Namespace of the workload.
    pub namespace_id: NamespaceId,
    /// The workload.
    pub workload: Name,
    /// What it may read.
    pub artifact_id: ArtifactId,
    /// The workload's enrolment it was given to.
    pub enrolment: u32,
    /// The principal who granted, as text.
    pub created_by: String,
    /// When.
    pub created: Timestamp,
}

/// A signed state of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many leaves it covers.
    pub size: u64,
    /// The tree's root over them.
    pub root: Sha256,
    /// The signed note.
    pub note: String,
    /// The roots of the perfect subtrees, so that the tree can be continued.
    pub frontier: Vec<u8>,
    /// When it was made.
    pub created: Timestamp,
}

/// Which blobs of a version are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobState {
    /// Reserved, being sealed: keep what is there.
    Reserved,
    /// Published: the body and the header of this generation.
    Live {
        /// The generation in force; lower ones may be deleted.
        generation: u32,
    },
    /// Its key is gone: no blob is wanted.
    Shredded,
    /// The catalogue never heard of it, or gave its reservation up: an orphan.
    Unknown,
}

/// What [`super::Catalogue::integrity_check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntegrityReport {
    /// Rows whose authentication was checked.
    pub rows: u64,
    /// One sentence each; empty: all is well. At most 1000 are kept.
    pub findings: Vec<String>,
}

/// How busy the one writer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Commands that wait for it.
    pub waiting: u64,
    /// Commands carried out since this process opened the catalogue.
    pub commands: u64,
    /// Transactions they took.
    pub commits: u64,
}

/// Numbers for `vault status` and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Namespaces.
    pub namespaces: u64,
    /// Artifacts that have a version.
    pub artifacts: u64,
    /// Published versions, also unlisted and shredded ones.
    pub versions: u64,
    /// Versions that are unlisted.
    pub unlisted: u64,
    /// Versions whose key is gone.
    pub shredded: u64,
    /// Workloads that are not revoked.
    pub workloads: u64,
    /// Grants.
    pub grants: u64,
    /// Audit rows.
    pub audit_rows: u64,
    /// Bytes of header and body blobs of versions that are not shredded.
    pub blob_bytes: u64,
    /// Commands carried out since this process opened the catalogue.
    pub commands: u64,
    /// Transactions they took.
    pub commits: u64,
}

/// What a reference means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The artifact.
    pub artifact: ArtifactRecord,
    /// The version.
    pub version: VersionRecord,
    /// The tag it was named by, if it was.
    pub tag: Option<TagRecord>,
}

/// What a decision about an artifact goes by.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// What operators said about the artifact.
    pub marks: Marks,
    /// Whether a grant links the workload that asks to it.
    pub granted: bool,
    /// Of the version, where the decision is about one.
    pub version: Option<VersionSurroundings>,
}

/// What a decision about one version goes by besides.
#[derive(Clone, Debug)]
pub struct VersionSurroundings {
    /// The key of whoever published it.
    pub signer: KeyId,
    /// The tags on it.
    pub tags: Vec<Tag>,
    /// The statements about it.
    pub attestations: Vec<AttestationRecord>,
}
