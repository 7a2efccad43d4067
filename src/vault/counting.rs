//! Quotas at work: what callers use is counted, is stored before anything leaves, and refusals are told.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::gate::{Permit, Subject};
use super::{Caller, Channel, Counted, Evidence, Machine, Transport, Vault};
use crate::audit::Act;
use crate::catalogue::{ArtifactRecord, AuditLeaf, Catalogue, CatalogueError, UsageRecord};
use crate::error::{Error, ErrorId, Result};
use crate::names::{Name, Principal, RequestId, Timestamp};
use crate::policy;
use crate::quota::{Asker, Books, Due, Key, Ledger, Mark, No, Pace, Quotas, SEGMENT, Stored, Stream, Target};

/// After so long no account counts for anything.
const FORGET_AFTER: Duration = Duration::from_secs(10 * 86_400);

/// The counters of a vault.
pub(super) struct Counting {
    pub ledger: Ledger,
    pace: Pace,
    /// Ties the time of the quotas to this boot of the machine: written with the first account.
    mark: Mutex<Option<UsageRecord>>,
    /// The day on which old accounts were forgotten.
    forgotten: AtomicI64,
}

impl Counting {
    /// Goes on from what is stored.
    pub fn resume(catalogue: &dyn Catalogue, machine: &Machine) -> Result<Self> {
        // An altered row is no better than none: then the wall clock counts, and never back before the last account.
        let row = catalogue.usage("", None).or_else(|e| match e {
            CatalogueError::Damaged(why) => {
                tracing::error!("the time of the quotas goes on by the wall clock: {why}");
                Ok(None)
            }
            e => Err(e),
        })?;
        let kept = row.and_then(|row| Mark::decode(&row.account));
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let (boot, clock) = (boot.split_whitespace().next().unwrap_or_default(), &machine.clock);
        let (pace, mark) = Pace::resume(kept, catalogue.last_usage()?, boot, clock.running(), clock.now());
        let mark = mark.map(|mark| UsageRecord {
            principal: String::new(),
            artifact: None,
            // This time does not go back, so it is higher than before.
            revision: mark.at.as_millis().unsigned_abs(),
            account: mark.encode(),
            stored: mark.at,
        });
        Ok(Self { ledger: Ledger::default(), pace, mark: Mutex::new(mark), forgotten: AtomicI64::new(0) })
    }

    fn mark(&self) -> MutexGuard<'_, Option<UsageRecord>> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the catalogue names a caller.
pub(super) fn principal_text(principal: &Principal) -> Result<String> {
    serde_json::to_string(principal).map_err(|e| Error::new(ErrorId::Internal, format!("a caller has no text: {e}")))
}

impl Books for Vault {
    fn stored(&self, key: &Key) -> Result<Option<(u64, Vec<u8>)>> {
        let row = self.catalogue.usage(&principal_text(&key.principal)?, key.artifact)?;
        Ok(row.map(|row| (row.revision, row.account)))
    }
}

fn row_of(stored: &Stored) -> Result<UsageRecord> {
    Ok(UsageRecord {
        principal: principal_text(&stored.key.principal)?,
        artifact: stored.key.artifact,
        revision: stored.revision,
        account: stored.account.clone(),
        stored: stored.at,
    })
}

/// What one stream reads, counted. Ended when it is dropped, at the latest.
pub(super) struct Meter {
    vault: Arc<Vault>,
    caller: Caller,
    /// For the row about a refusal.
    subject: Subject,
    stream: Mutex<Stream>,
    /// Bytes that were asked for, and those that the ledger gave.
    used: AtomicU64,
    given: AtomicU64,
    left: AtomicU64,
}

/// Not told yet what left.
const UNKNOWN: u64 = u64::MAX;

impl Meter {
    /// Counts bytes before they are decrypted. Within what the ledger gave, this is one addition.
    ///
    /// # Errors
    /// `QuotaExceeded`, on record as far as refusals are; those of the catalogue, if the use cannot be stored.
    pub fn spend(&self, bytes: u64) -> Result<()> {
        let used = self.used.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        if used <= self.given.load(Ordering::Acquire) {
            return Ok(());
        }
        self.take_more(used).inspect_err(|_| {
            self.used.fetch_sub(bytes, Ordering::AcqRel);
        })
    }

    fn take_more(&self, used: u64) -> Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let given = self.given.load(Ordering::Acquire);
            if used <= given {
                return Ok(());
            }
            let vault = &self.vault;
            let (now, (_, quotas)) = (vault.quota_now(), vault.setting::<Quotas>());
            let more = vault.counting.ledger.take(now, &quotas, &mut stream, (used - given).min(SEGMENT));
            let (more, due) = more.or_else(|no| vault.refuse_quota(&self.caller, &self.subject, no))?;
            vault.store_use(due, None)?;
            self.given.fetch_add(more, Ordering::AcqRel);
        }
    }

    /// Says how many bytes left; at most what was asked for.
    pub fn end(&self, bytes: u64) {
        self.left.store(bytes.min(self.used.load(Ordering::Acquire)), Ordering::Release);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let left = match self.left.load(Ordering::Acquire) {
            UNKNOWN => self.used.load(Ordering::Acquire),
            left => left,
        };
        let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.vault.counting.ledger.end(self.vault.quota_now(), stream, left);
    }
}

impl Vault {
    /// The time that quotas are counted in.
    pub(super) fn quota_now(&self) -> Timestamp {
        self.counting.pace.at(self.machine.clock.running())
    }

    /// Counts a call of any kind. The owner of the machine is counted, and refused only what is about versions: nobody takes
    /// the last operator's way back by a quota.
    pub(super) fn count_call(&self, caller: &Caller, subject: &Subject) -> Result<()> {
        if !self.is_owner(&caller.principal) {
            return self.count_request(caller, subject);
        }
        if caller.counted.first(caller.request_id) {
            let noted = self.counting.ledger.note(self.quota_now(), &caller.principal, self);
            // An account that was altered takes the way back neither.
            noted.or_else(|e| if e.id() == ErrorId::CatalogueDamaged { Ok(()) } else { Err(e) })?;
        }
        Ok(())
    }

    /// Counts a call about a version, at the door. A call that is asked about again, such as a long one, was counted.
    pub(super) fn count_request(&self, caller: &Caller, subject: &Subject) -> Result<()> {
        if !caller.counted.first(caller.request_id) {
            return Ok(());
        }
        if self.counting.ledger.crowded() {
            self.store_use(self.counting.ledger.flush(self.quota_now(), false), None)?;
        }
        let (_, quotas) = self.setting::<Quotas>();
        let groups = self.quota_groups(&caller.principal, &caller.evidence.groups);
        let who = Asker { principal: &caller.principal, groups: &groups };
        let counted = self.counting.ledger.request(self.quota_now(), &quotas, who, self);
        counted.or_else(|no| self.refuse_quota(caller, subject, no))
    }

    /// Begins to count a stream of an artifact of `size` bytes. What is due must be stored, with [`store_use`](Self::store_use),
    /// before anything leaves.
    pub(super) fn begin_count(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &Subject,
        of: (&Name, &ArtifactRecord),
        size: u64,
    ) -> Result<(Meter, Due)> {
        let (_, quotas) = self.setting::<Quotas>();
        let target = self.quota_target(of, size);
        let groups = self.quota_groups(&caller.principal, &caller.evidence.groups);
        let who = Asker { principal: &caller.principal, groups: &groups };
        let begun = self.counting.ledger.begin(self.quota_now(), &quotas, who, target, &**self);
        let (stream, given, due) = begun.or_else(|no| self.refuse_quota(caller, subject, no))?;
        let meter = Meter {
            vault: Arc::clone(self),
            caller: caller.clone(),
            subject: subject.clone(),
            stream: Mutex::new(stream),
            used: AtomicU64::new(0),
            given: AtomicU64::new(given),
            left: AtomicU64::new(UNKNOWN),
        };
        Ok((meter, due))
    }

    /// How long a decision holds for this caller and artifact.
    pub(super) fn lease_of(&self, caller: &Caller, of: (&Name, &ArtifactRecord)) -> Result<policy::Lease> {
        let (_, quotas) = self.setting::<Quotas>();
        let Target { namespace, name, labels, .. } = self.quota_target(of, 0);
        let terms = quotas.terms(
            &caller.principal,
            &self.quota_groups(&caller.principal, &caller.evidence.groups),
            Some((&namespace, &name, &labels)),
        );
        let policy::Lease { duration, bytes } = policy::Lease::default();
        let lease = terms.lease;
        let duration = lease.duration.unwrap_or(duration);
        // No right outlives the credential that it rests on.
        let left = caller.evidence.expires.map_or(duration, |expires| expires.since(self.now()));
        Ok(policy::Lease { duration: duration.min(left), bytes: lease.bytes.unwrap_or(bytes) })
    }

    fn quota_target(&self, (namespace, artifact): (&Name, &ArtifactRecord), size: u64) -> Target {
        let (namespace, name) = (namespace.clone(), artifact.name.clone());
        Target { id: artifact.id, namespace, name, labels: Self::quota_labels(artifact), size }
    }

    /// The labels of an artifact, as rules name them.
    pub(super) fn quota_labels(artifact: &ArtifactRecord) -> Vec<String> {
        artifact.marks.labels.iter().map(ToString::to_string).collect()
    }

    /// The groups of a caller: those of the settings, and those that its credential vouches for.
    pub(super) fn quota_groups(&self, principal: &Principal, vouched: &[Name]) -> Vec<Name> {
        let mut groups = self.setting::<policy::Groups>().1.of(principal);
        groups.extend_from_slice(vouched);
        groups
    }

    /// Stores accounts, with an audit row if given. When this returns, both are durable.
    pub(super) fn store_use(&self, due: Due, row: Option<AuditLeaf>) -> Result<()> {
        if due.is_empty() {
            return row.map_or(Ok(()), |row| Ok(self.catalogue.append_audit(row).map(drop)?));
        }
        let mark = self.counting.mark().clone();
        let accounts = due.rows.iter().map(row_of).chain(mark.map(Ok)).collect::<Result<_>>()?;
        self.catalogue.store_usage(accounts, row)?;
        *self.counting.mark() = None;
        self.counting.ledger.settled(due);
        Ok(())
    }

    /// Records a permitted act with what it may use from now on. When this returns, both are durable.
    pub(super) fn record_use(
        &self,
        caller: &Caller,
        act: Act,
        subject: &Subject,
        permit: &Permit,
        due: Due,
    ) -> Result<()> {
        if permit.approval().is_none() {
            return self.store_use(due, Some(self.leaf(caller, act, subject, permit)));
        }
        // What approvals allow is used up with the row: what is reserved comes before it, and is only too much if it fails.
        self.store_use(due, None)?;
        self.record(caller, act, subject, permit)
    }

    /// Bytes that a caller was given today, for policies.
    pub(super) fn bytes_today(&self, caller: &Caller) -> Result<u64> {
        self.counting.ledger.bytes_today(self.quota_now(), &caller.principal, self)
    }

    /// Tells a refusal: to the log too, unless one of this caller was just told there.
    fn refuse_quota<T>(&self, caller: &Caller, subject: &Subject, no: No) -> Result<T> {
        let refusal = match no {
            No::Refused(refusal) => refusal,
            No::Failed(e) => return Err(e),
        };
        self.metrics().quota_refused(refusal.cap.what.as_str());
        let error = refusal.error(&caller.principal);
        match refusal.tell {
            None => Err(error),
            Some(count) => {
                let subject = subject.clone().with("quota", &refusal.cap.rule).with("limit", refusal.cap.what.as_str());
                self.refuse(caller, Act::QuotaRefused, &subject.with("count", count), error)
            }
        }
    }

    /// What is to be done now and then: stores what was used where more is stored, tells refusals that were only counted.
    pub(super) fn keep_counting(&self, ends: bool) -> Result<()> {
        let (now, ledger) = (self.quota_now(), &self.counting.ledger);
        for untold in ledger.untold(now, ends) {
            let caller = Caller {
                principal: untold.principal,
                request_id: RequestId::generate(self.now(), self.random())?,
                channel: Channel { transport: Transport::Mtls, ..Channel::local() },
                evidence: Evidence::default(),
                counted: Counted::default(),
            };
            let subject = Subject::vault().with("quota", untold.rule).with("count", untold.count);
            let refused = Error::new(ErrorId::QuotaExceeded, "a quota is used up");
            match self.refuse::<()>(&caller, Act::QuotaRefused, &subject, refused) {
                Err(e) if e.id() == ErrorId::QuotaExceeded => {}
                other => other?,
            }
        }
        loop {
            let due = ledger.flush(now, ends);
            if due.is_empty() {
                break;
            }
            self.store_use(due, None)?;
        }
        let today = now.as_secs().div_euclid(86_400);
        if !ends && self.counting.forgotten.swap(today, Ordering::Relaxed) != today {
            let before = now.as_millis().saturating_sub(FORGET_AFTER.as_millis() as i64);
            self.catalogue.forget_usage(Timestamp::from_millis(before))?;
        }
        Ok(())
    }
}
