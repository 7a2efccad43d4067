//! What the vault tells about its things: plain data, shared by the facade, the wire and the command line. Field names are a
//! contract: `--json` prints these types, and `contracts/schemas/` describes them.

use serde::{Deserialize, Serialize};

use crate::marks::Marks;
use crate::names::{
    ApprovalId, ArtifactId, ArtifactKind, Blake3, Commitment, FileId, KeyId, Name, Root, SessionId, Sha256, Tag,
    Timestamp, VaultId,
};

/// One immutable version of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionFacts {
    /// Namespace of the artifact.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Number of the version: `v3` is 3.
    pub version: u64,
    /// Id of the artifact, for life.
    pub artifact_id: ArtifactId,
    /// Names the sealed content; `b3:` in references.
    pub root: Root,
    /// Id of the sealed file.
    pub file_id: FileId,
    /// Generation of its header; grows with each rotation.
    pub generation: u32,
    /// Model, dataset or opaque.
    pub kind: ArtifactKind,
    /// Bytes of its members.
    pub size: u64,
    /// Bytes of the payload: the members and the gaps between them.
    pub payload_size: u64,
    /// Number of members.
    pub member_count: u64,
    /// When it was published.
    pub created: Timestamp,
    /// Who signed the artifact statement.
    pub signer: KeyId,
    /// The principal who sealed it.
    pub sealed_by: String,
    /// Tags that point here now.
    pub tags: Vec<Tag>,
    /// Removed, still recoverable.
    pub unlisted: bool,
    /// Its key was destroyed.
    pub shredded: bool,
    /// Of a part of a dataset: the number of the version that names it, 0 while none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<u64>,
}

/// A signed statement about a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationFacts {
    /// Of its payload and key: names the statement.
    pub digest: Sha256,
    /// What kind of thing is said (in-toto).
    pub predicate_type: String,
    /// Who said it, by the name in the trust store.
    pub signer: Name,
    /// The key that signed.
    pub keyid: KeyId,
    /// How it signs.
    pub algorithm: String,
    /// Whether a certificate vouched for the key.
    pub by_certificate: bool,
    /// It is about all of the version, not about some of its members.
    pub whole: bool,
    /// The member of the version that holds it.
    pub member: Option<String>,
    /// The principal who attached it.
    pub added_by: String,
    /// When it was attached.
    pub added: Timestamp,
    /// Whether the signer is believed still.
    pub trusted: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// A hold in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldFacts {
    /// Number of the hold.
    pub number: u64,
    /// `principal` or `artifact`.
    pub what: String,
    /// Which.
    pub name: String,
    /// `suspend`, `throttle` or `step-up`.
    pub kind: String,
    /// Why.
    pub reason: String,
    /// The principal who placed it.
    pub placed_by: String,
    /// The rule that placed it.
    pub rule: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// An artifact among others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFacts {
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Model, dataset or opaque.
    pub kind: ArtifactKind,
    /// How many of its versions can be shown.
    pub versions: u64,
    /// The highest of them.
    pub newest: VersionFacts,
    /// The tags that are at one of them, by name.
    pub tags: Vec<TagFacts>,
    /// Labels, collection and classification.
    pub marks: Marks,
}

/// Where a tag of an artifact points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagFacts {
    /// The tag.
    pub tag: Tag,
    /// Number of the version.
    pub version: u64,
    /// Grows by one with every move of the tag; from 1.
    pub sequence: u64,
}

/// A move of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagMoveFacts {
    /// The version the tag came to.
    #[serde(flatten)]
    pub version: VersionFacts,
    /// The tag.
    pub tag: Tag,
    /// Number of the version it was at; absent: it is new.
    pub from: Option<u64>,
    /// Number of the move; from 1.
    pub sequence: u64,
}

/// One member of a sealed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFacts {
    /// Path within the artifact.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Digest of the bytes.
    pub blake3: Blake3,
    /// Digest of the bytes, unless left out at seal.
    pub sha256: Option<Sha256>,
}

/// One key slot of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotFacts {
    /// `passphrase`, `recipient`, `vault-key`, `external`, or `unknown`.
    pub kind: String,
    /// Random id of the slot, hex.
    pub slot_id: String,
    /// What it names: a key id, a URI, costs.
    pub detail: String,
}

/// A sealed file, as far as the caller may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedFacts {
    /// The version, if it is one of this vault's.
    pub version: Option<VersionFacts>,
    /// The tags that point there now, with the number of their last move.
    pub tags: Vec<TagFacts>,
    /// Labels, collection and classification of its artifact.
    pub marks: Option<Marks>,
    /// `MVLT 1`.
    pub format: String,
    /// Id of the sealed file.
    pub file_id: FileId,
    /// Commitment to its file key.
    pub commitment: Commitment,
    /// Name of the sealed content; absent when only the header was read.
    pub root: Option<Root>,
    /// Bytes of a segment.
    pub segment_size: u64,
    /// Bytes of the header.
    pub header_len: u64,
    /// Generation of the header.
    pub generation: u32,
    /// Bytes of the payload.
    pub payload_size: u64,
    /// Who can unlock it.
    pub slots: Vec<SlotFacts>,
    /// Key ids named by the seal statements of the file. Named, not verified.
    pub claimed_signers: Vec<String>,
    /// The members; absent without a key.
    pub members: Option<Vec<MemberFacts>>,
}

/// Outcome of a full verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyFacts {
    /// The version, if it is one of this vault's.
    pub version: Option<VersionFacts>,
    /// Name of the verified content.
    pub root: Root,
    /// Bytes of the payload that were read and checked.
    pub payload_size: u64,
    /// Trusted keys whose signatures verified.
    pub signers: Vec<KeyId>,
    /// Whether the plaintext was checked too, or only what can be checked without a key.
    pub plaintext: bool,
}

/// An enrolled workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadFacts {
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// When it was enrolled.
    pub created: Timestamp,
    /// When its newest certificate ends.
    pub not_after: Option<Timestamp>,
    /// Whether it may call at all.
    pub revoked: bool,
    /// Artifacts it was granted, as NAMESPACE/NAME.
    pub grants: Vec<String>,
}

/// A public key whose signatures are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignerFacts {
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub keyid: KeyId,
    /// DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
}

/// A certificate that was issued to a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedFacts {
    /// DER certificate.
    pub certificate: Vec<u8>,
    /// DER certificate of the CA to pin.
    pub ca_certificate: Vec<u8>,
    /// Keys whose artifact statements the workload may trust.
    pub signers: Vec<SignerFacts>,
    /// When the certificate ends.
    pub not_after: Timestamp,
    /// `host:port` of the daemon, if one serves workloads.
    pub address: Option<String>,
}

/// Who the caller is to the vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoamiFacts {
    /// `operator` or `workload`.
    pub kind: String,
    /// Who vouches for the subject.
    pub issuer: String,
    /// Unique within the issuer.
    pub subject: String,
    /// Namespace of a workload.
    pub namespace: Option<Name>,
    /// Key exchange of the connection.
    pub tls_group: Option<String>,
    /// Groups that the issuer of its credential vouches for.
    pub groups: Vec<Name>,
    /// The session it calls in, if it came with a token.
    pub session: Option<SessionId>,
    /// When that, or its certificate of another trust domain, ends.
    pub expires: Option<Timestamp>,
}

/// A session of somebody who came with a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFacts {
    /// Names it in a revocation.
    pub id: SessionId,
    /// `operator` or `workload`.
    pub kind: String,
    /// Who vouches for the subject.
    pub issuer: String,
    /// Unique within the issuer.
    pub subject: String,
    /// Namespace of a workload.
    pub namespace: Option<Name>,
    /// Groups that the issuer vouches for.
    pub groups: Vec<Name>,
    /// Since when.
    pub created: Timestamp,
    /// Through when.
    pub expires: Timestamp,
}

/// A subject that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedFacts {
    /// Who vouches for it.
    pub issuer: String,
    /// Its name there.
    pub subject: String,
    /// Who refused it.
    pub refused_by: String,
    /// Since when.
    pub refused: Timestamp,
}

/// Sessions that are not over, and subjects that are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsFacts {
    /// By id, which is the order they were opened in.
    pub sessions: Vec<SessionFacts>,
    /// By issuer and subject.
    pub refused: Vec<RefusedFacts>,
}

/// The policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFacts {
    /// 0: the built-in policy.
    pub version: u64,
    /// Cedar.
    pub text: String,
    /// The vault's signature over this version (DSSE, as JSON); none for the built-in policy, and for those that an earlier release set.
    pub envelope: Option<String>,
}

/// A second factor that is being enrolled. Secret: for the person's app, and shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentFacts {
    /// Whose.
    pub person: String,
    /// `otpauth://...`, for an app to scan.
    pub uri: String,
    /// The same secret in letters, for an app to be typed into.
    pub secret: String,
}

impl std::fmt::Debug for EnrolmentFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EnrolmentFacts({}, REDACTED)", self.person)
    }
}

/// What a second factor is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorFacts {
    /// Whose: that of the caller.
    pub person: String,
    /// Since when; absent: there is none.
    pub enrolled: Option<Timestamp>,
    /// How many recovery codes are left.
    pub recovery_codes: usize,
    /// Until when codes are refused.
    pub locked_until: Option<Timestamp>,
    /// When it was used in this session.
    pub used: Option<Timestamp>,
    /// What was used: `totp` or `recovery`.
    pub method: Option<String>,
    /// Who has a second factor, for those who may see the vault's state.
    pub people: Vec<String>,
}

/// An act that waits for the approval of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalFacts {
    /// Names it.
    pub id: ApprovalId,
    /// Digest of all its parts: what is approved.
    pub digest: Sha256,
    /// As policies name it.
    pub action: String,
    /// On what, with which parameters.
    pub what: String,
    /// Who wants it.
    pub requester: String,
    /// How many others must approve.
    pub needed: u32,
    /// How many do.
    pub approvals: u32,
    /// Since when it waits.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// Who said what.
    pub votes: Vec<VoteFacts>,
}

/// What one person said to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteFacts {
    /// Who.
    pub person: String,
    /// As whom.
    pub principal: String,
    /// Yes or no.
    pub approves: bool,
    /// When.
    pub at: Timestamp,
}

/// A decision, and why it is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplanationFacts {
    /// What was asked, in words.
    pub request: String,
    /// Whether it is permitted.
    pub allowed: bool,
    /// The decision in words.
    pub why: String,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// What could not be evaluated.
    pub errors: Vec<String>,
    /// What refuses it whatever the policies say: holds, deny lists, callers whom nobody vouches for or who are refused.
    #[serde(default)]
    pub outside: Vec<String>,
    /// A second factor that was used just now would help, perhaps with approvals besides.
    pub second_factor: bool,
    /// So many approvals by others would help; 0: none are asked for.
    pub approvals: u32,
    /// A grant would help.
    pub grant: bool,
    /// Policies that concern such a request.
    pub concerning: Vec<ConcerningFacts>,
}

/// A policy that concerns a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConcerningFacts {
    /// Its id.
    pub id: String,
    /// It forbids; else it permits.
    pub forbids: bool,
    /// Its scope and all its conditions hold.
    pub applies: bool,
    /// What of it does not hold.
    pub unmet: Vec<String>,
    /// Its text.
    pub cedar: String,
}

/// A policy that was put in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersionFacts {
    /// From 1.
    pub version: u64,
    /// Since when.
    pub created: Timestamp,
    /// Of its text.
    pub sha256: Sha256,
    /// It is the one in force.
    pub in_force: bool,
}

/// How far a receiver of the audit log has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkFacts {
    /// Its name.
    pub name: String,
    /// Form of its events.
    pub format: String,
    /// Kind of receiver.
    pub to: String,
    /// Path or address.
    pub target: String,
    /// A daemon sends to it now.
    pub running: bool,
    /// The receiver has every event up to this record.
    pub cursor: u64,
    /// Records after that.
    pub lag: u64,
    /// Events delivered since the daemon runs.
    pub events: u64,
    /// When the last of them was.
    pub delivered: Option<Timestamp>,
    /// Why it does not get on.
    pub error: Option<String>,
}

/// All receivers of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinksFacts {
    /// Records of the log.
    pub records: u64,
    /// In the order of the settings.
    pub sinks: Vec<SinkFacts>,
}

/// A settings document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingFacts {
    /// What it is about.
    pub kind: String,
    /// 0: the built-in document.
    pub version: u64,
    /// TOML.
    pub text: String,
}

/// Quotas and their present use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaFacts {
    /// Of the rules in force; 0: the built-in ones.
    pub version: u64,
    /// Callers that used anything in the last days, by kind and name.
    pub callers: Vec<CallerUseFacts>,
    /// There are more callers than are told.
    pub more: bool,
}

/// What one caller used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerUseFacts {
    /// `workload prod/serve-1`.
    pub caller: String,
    /// Streams that run now.
    pub streams: u64,
    /// Bytes it was given today.
    pub bytes_today: u64,
    /// Every limit that holds for it; groups are those of the settings, and its own where it asks itself.
    pub limits: Vec<LimitFacts>,
}

/// A limit and how far it is used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitFacts {
    /// Id of the rule.
    pub quota: String,
    /// Key of the rule: `bytes_per_hour`.
    pub limit: String,
    /// `NAMESPACE/NAME` where it is about one artifact.
    pub artifact: Option<String>,
    /// What was used in the time it looks back; of full reads, in thousandths of one.
    pub used: u64,
    /// The most in that time.
    pub most: u64,
    /// The time it looks back, in seconds; of streams 0.
    pub seconds: u64,
}

/// Whose signatures are believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustFacts {
    /// How often the vault's trust store was changed; absent where there is no vault.
    pub version: Option<u64>,
    /// Identities that the vault holds, by name.
    pub identities: Vec<IdentityFacts>,
    /// Keys and CAs, in the order in which they were trusted.
    pub signers: Vec<TrustedFacts>,
    /// Keys that are believed no more, under whatever name or certificate.
    pub revoked: Vec<RevokedFacts>,
}

/// An identity: the public keys of one signer, of each algorithm one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityFacts {
    /// What it is called.
    pub name: Name,
    /// ECDSA, Ed25519, ML-DSA-65, as far as it has them.
    pub keys: Vec<IdentityKeyFacts>,
}

/// One public key of an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityKeyFacts {
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub keyid: KeyId,
    /// `ed25519` and so on.
    pub algorithm: String,
    /// How OpenSSF bundles name it.
    pub oms_hint: String,
    /// SubjectPublicKeyInfo, in PEM.
    pub pem: String,
}

/// One key or CA of a signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedFacts {
    /// The signer.
    pub name: Name,
    /// `key` or `ca`.
    pub kind: String,
    /// Of the key, or the CA's.
    pub keyids: Vec<KeyId>,
    /// Of a key: `ed25519` and so on.
    pub algorithm: Option<String>,
    /// Of these a certificate of the CA must have one; none: any.
    pub names: Vec<String>,
    /// When the trust ends.
    pub until: Option<Timestamp>,
    /// For which namespaces it counts; absent: for all.
    pub namespaces: Option<Vec<Name>>,
    /// `trusted`, `retired` or `revoked`.
    pub state: String,
}

/// A revoked key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedFacts {
    /// The key.
    pub keyid: KeyId,
    /// Not believed from this moment on.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
}

/// State of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusFacts {
    /// Id of the vault.
    pub vault_id: VaultId,
    /// Release of the software that answers.
    pub release: String,
    /// How the root secret is kept: `passphrase` or `key-file`.
    pub custody: String,
    /// Namespaces by name.
    pub namespaces: Vec<Name>,
    /// Artifacts that are listed.
    pub artifacts: u64,
    /// Versions that are listed.
    pub versions: u64,
    /// Enrolled workloads that are not revoked.
    pub workloads: u64,
    /// Rows of the audit log.
    pub audit_records: u64,
    /// Version of the policy; 0: built in.
    pub policy_version: u64,
    /// Key id of the default namespace's signing identity.
    pub signer: KeyId,
    /// Key whose signature is on the checkpoints, in the form other log tools take.
    pub audit_key: String,
    /// Whether a daemon answers, and where it serves workloads.
    pub serving: Option<String>,
    /// Key pages are locked into memory.
    pub keys_locked: bool,
    /// Key pages are left out of core dumps.
    pub keys_undumpable: bool,
}

/// One row of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Position in the log.
    pub sequence: u64,
    /// The record.
    pub record: serde_json::Value,
}

/// Outcome of checking the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFacts {
    /// Rows checked.
    pub records: u64,
    /// Checkpoints whose signatures and roots hold.
    pub checkpoints: u64,
    /// Root over all rows.
    pub root: Sha256,
    /// The newest checkpoint: keep it elsewhere and compare later.
    pub checkpoint: String,
}

/// Outcome of examining a vault's own files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFacts {
    /// Rows of the catalogue whose authentication was checked.
    pub rows: u64,
    /// Versions whose key, header and body were looked for.
    pub versions: u64,
    /// What is wrong, one sentence each; empty: all is well. At most 1000 are kept.
    pub findings: Vec<String>,
}

/// A list of known bad digests and keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntelFacts {
    /// Where it is from.
    pub source: String,
    /// What it names.
    pub entries: u64,
    /// Indicators in it that name no digest that versions have.
    pub passed_over: u64,
    /// Files that it names.
    pub files: u64,
    /// Roots of sealed files that it names.
    pub roots: u64,
    /// Keys that it names: the first hundred.
    pub keys: Vec<KeyId>,
    /// How many keys it names.
    pub key_count: u64,
    /// Since when it is in force.
    pub imported: Timestamp,
}

/// The lists in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntelListsFacts {
    /// By source.
    pub lists: Vec<IntelFacts>,
}

/// A version that a list names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntelHitFacts {
    /// `namespace/name@vN`.
    pub reference: String,
    /// The digest or key.
    pub indicator: String,
}

/// Outcome of importing a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntelImportFacts {
    /// Where it is from.
    pub source: String,
    /// What it names.
    pub entries: u64,
    /// Indicators in it that were not about files.
    pub passed_over: u64,
    /// How many versions it names: they are refused from now on.
    pub matched: u64,
    /// How many versions could not be read, and so not be compared.
    pub unread: u64,
    /// The first thousand of those it names.
    pub hits: Vec<IntelHitFacts>,
}
