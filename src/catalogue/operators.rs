//! Second factors of people, what they were used for, and what others approved.
//!
//! Whatever decides is one transaction: a code that is tried and the step it uses up, a vote and its count, an approval and the
//! act it is for. So among any number of callers at once exactly one gets what may be had once.

use std::time::Duration;

use super::{AuditLeaf, Entry, Result, Sequence};
use crate::names::{ApprovalId, Sha256, Timestamp};

/// Wrong codes after which a second factor is locked.
pub const FACTOR_TRIES: u64 = 5;
/// The time in which that many count, and for which it is locked.
pub const FACTOR_LOCK: Duration = Duration::from_secs(15 * 60);
/// How long an act waits for approvals, and an approved one to be carried out.
pub const APPROVAL_LASTS: Duration = Duration::from_secs(3600);
/// Acts of one person that wait.
pub const MAX_WAITING: u64 = 32;
/// People who can have a second factor.
pub const MAX_FACTORS: u64 = 4096;

/// A second factor of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorRecord {
    /// Whose.
    pub person: String,
    /// Another one with each enrolment: what was proved with an earlier one does not count for it.
    pub enrolment: [u8; 16],
    /// Sealed; opaque here.
    pub secret: Vec<u8>,
    /// Keyed digests of recovery codes that were not used.
    pub recovery: Vec<Sha256>,
    /// When the enrolment began.
    pub created: Timestamp,
    /// When a first code was shown; until then there is no factor.
    pub confirmed: Option<Timestamp>,
    /// Codes up to this step were used, or could have been.
    pub last_step: i64,
    /// Wrong codes since [`FactorRecord::failing_since`].
    pub failures: u64,
    /// When the first of them came.
    pub failing_since: Timestamp,
    /// No code counts before this.
    pub locked_until: Option<Timestamp>,
}

impl FactorRecord {
    /// Until when codes are refused, if they are.
    pub fn locked(&self, now: Timestamp) -> Option<Timestamp> {
        self.locked_until.filter(|until| now < *until)
    }
}

/// A second factor to be enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFactor {
    /// Whose.
    pub person: String,
    /// Fresh.
    pub enrolment: [u8; 16],
    /// Sealed.
    pub secret: Vec<u8>,
}

/// What was shown for a second factor, checked as far as that takes its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The step whose code it is; `None`: of none.
    Step(Option<i64>),
    /// Digest of a recovery code.
    Recovery(Sha256),
}

/// A try of a second factor.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Whose.
    pub person: String,
    /// The enrolment it was checked against.
    pub enrolment: [u8; 16],
    /// What was shown.
    pub shown: Shown,
    /// Digests of the recovery codes that come with it, where this confirms an enrolment.
    pub confirms: Option<Vec<Sha256>>,
    /// What it opens if it counts.
    pub opens: Option<NewStepUp>,
    /// The audit row for each outcome.
    pub rows: AttemptRows,
}

/// Audit rows of a try: one of them commits with it.
#[derive(Clone, Debug)]
pub struct AttemptRows {
    /// It counts.
    pub used: AuditLeaf,
    /// It is wrong.
    pub refused: AuditLeaf,
    /// It was used before.
    pub replayed: AuditLeaf,
    /// It was not even looked at.
    pub locked: AuditLeaf,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It counts, and will not again.
    Used,
    /// It is wrong: so many tries are left.
    Wrong(u64),
    /// It was right once: this code, or a later one, was used.
    Replayed,
    /// Too many were wrong; until then none counts.
    Locked(Timestamp),
}

/// What a second factor is to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStepUp {
    /// Digest of what its holder shows.
    pub holder: Sha256,
    /// `totp` or `recovery`.
    pub method: &'static str,
    /// For how long.
    pub lasts: Duration,
}

/// What a second factor opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUpRecord {
    /// Digest of what its holder shows.
    pub holder: Sha256,
    /// Whose factor it was.
    pub person: String,
    /// Its enrolment.
    pub enrolment: [u8; 16],
    /// `totp` or `recovery`.
    pub method: String,
    /// When.
    pub at: Timestamp,
    /// The first moment it does not count.
    pub expires: Timestamp,
}

/// An act that waits for the approval of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApproval {
    /// Fresh.
    pub id: ApprovalId,
    /// Digest of who wants what exactly.
    pub asked: Sha256,
    /// Digest of that with id and end: what an approver approves.
    pub digest: Sha256,
    /// In words.
    pub action: String,
    /// In words, with the facts that are part of `asked`.
    pub what: String,
    /// The principal who wants it, as text.
    pub requester: String,
    /// The person behind.
    pub person: String,
    /// How many others must approve.
    pub needed: u32,
    /// The first moment it cannot be approved or used.
    pub expires: Timestamp,
}

/// The same as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRecord {
    /// What waits.
    pub new: NewApproval,
    /// Since when.
    pub created: Timestamp,
    /// When somebody refused it.
    pub refused: Option<Timestamp>,
    /// When it was carried out.
    pub used: Option<Timestamp>,
}

impl ApprovalRecord {
    /// Whether it can still be approved and used. A clock set back does not prolong it.
    pub fn waits(&self, now: Timestamp) -> bool {
        let early = now.plus(Duration::from_secs(5)) < self.created;
        !early && now < self.new.expires && self.refused.is_none() && self.used.is_none()
    }
}

/// What one person said to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteRecord {
    /// To what.
    pub approval: ApprovalId,
    /// Who: one vote each.
    pub person: String,
    /// As whom.
    pub principal: String,
    /// [`NewApproval::digest`] as the person saw it.
    pub digest: Sha256,
    /// Yes or no.
    pub approves: bool,
    /// When.
    pub at: Timestamp,
}

/// An approval with what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What waits.
    pub record: ApprovalRecord,
    /// What others said, by person.
    pub votes: Vec<VoteRecord>,
}

impl Approval {
    /// How many others approve exactly this.
    pub fn approvals(&self) -> u32 {
        let new = &self.record.new;
        let counts = |v: &&VoteRecord| v.approves && v.digest == new.digest && v.person != new.person;
        u32::try_from(self.votes.iter().filter(counts).count()).unwrap_or(u32::MAX)
    }
}

/// An approval that an act uses up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spend {
    /// Which.
    pub id: ApprovalId,
    /// What the act is: that of the approval, or it is for something else.
    pub asked: Sha256,
    /// How many approvals the decision counted.
    pub approvals: u32,
}

/// Commands about operators.
pub trait Operators {
    /// The second factor of a person, confirmed or not.
    fn factor(&self, person: &str) -> Result<Option<FactorRecord>>;

    /// All of them, by person.
    fn factors(&self) -> Result<Vec<FactorRecord>>;

    /// Begins an enrolment, in place of one that was not confirmed. `AlreadyExists` if the person has a factor.
    fn begin_factor(&self, factor: NewFactor, entry: Entry) -> Result<Sequence>;

    /// Tries a second factor: counts what is wrong, uses up what is right, and opens what it is for. `NotFound` if there is no
    /// such enrolment; `AlreadyExists` if it is confirmed already.
    fn try_factor(&self, attempt: Attempt) -> Result<Tried>;

    /// Takes a second factor away, with all that it opened. `NotFound` if the person has none.
    fn drop_factor(&self, person: &str, entry: Entry) -> Result<Sequence>;

    /// What a second factor opened for this holder, whether it still counts or not.
    fn step_up(&self, holder: Sha256) -> Result<Option<StepUpRecord>>;

    /// Ends it and says whether there was one.
    fn end_step_up(&self, holder: Sha256, audit: AuditLeaf) -> Result<bool>;

    /// Has an act wait for approvals. If one of the same waits already that needs no fewer, it is that; then there is no row.
    /// `InvalidArgument` if the person has [`MAX_WAITING`].
    fn request_approval(&self, approval: NewApproval, audit: AuditLeaf) -> Result<Approval>;

    /// What waits or waited under this id, or `NotFound`.
    fn approval(&self, id: ApprovalId) -> Result<Approval>;

    /// What waits for exactly this act, the one with most approvals first.
    fn approval_of(&self, asked: Sha256) -> Result<Option<Approval>>;

    /// What waits, oldest first.
    fn waiting_approvals(&self) -> Result<Vec<Approval>>;

    /// Counts a vote, one for each person. `NotApproved` if it does not wait any more or is not what the person saw;
    /// `AlreadyExists` for a second vote of a person; `InvalidArgument` if it is the person's own act.
    fn vote(&self, vote: VoteRecord, entry: Entry) -> Result<Approval>;

    /// Appends a row of an act that changes nothing else, and uses its approval up.
    fn append_approved(&self, audit: AuditLeaf, approval: Spend) -> Result<Sequence>;
}
