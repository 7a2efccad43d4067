//! What callers used of their quotas.

use super::{AuditLeaf, Entry, Page, Result, Sequence};
use crate::names::{ArtifactId, Timestamp};

/// A stored account. What it means is said by the room of quotas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecord {
    /// The caller; empty: the row about the time of the quotas.
    pub principal: String,
    /// With one artifact; none: all that it does.
    pub artifact: Option<ArtifactId>,
    /// Higher than all before.
    pub revision: u64,
    /// The account.
    pub account: Vec<u8>,
    /// When, in the time of the quotas.
    pub stored: Timestamp,
}

/// Where a listing of accounts goes on.
pub type UsageCursor = (String, Option<ArtifactId>);

/// Commands about accounts.
pub trait Usage {
    /// Stores accounts, and appends an audit row if given, in one transaction. An older revision of an account changes nothing.
    fn store_usage(&self, accounts: Vec<UsageRecord>, audit: Option<AuditLeaf>) -> Result<()>;

    /// An account.
    fn usage(&self, principal: &str, artifact: Option<ArtifactId>) -> Result<Option<UsageRecord>>;

    /// Accounts by caller and artifact, of one caller if given.
    fn usages(
        &self,
        of: Option<&str>,
        after: Option<&UsageCursor>,
        limit: usize,
    ) -> Result<Page<UsageRecord, UsageCursor>>;

    /// When an account was stored last, as far as it can be believed.
    fn last_usage(&self) -> Result<Option<Timestamp>>;

    /// Every caller that has an account, whether the account can be read or not.
    fn usage_callers(&self) -> Result<Vec<String>>;

    /// Drops the accounts of these callers, or of all, with one artifact, or with all and none, also those that cannot be read.
    /// Says how many there were.
    fn drop_usage(
        &self,
        callers: Option<Vec<String>>,
        artifact: Option<ArtifactId>,
        entry: Entry,
    ) -> Result<(u64, Sequence)>;

    /// Forgets accounts that were not stored since, and says how many.
    fn forget_usage(&self, before: Timestamp) -> Result<u64>;
}
