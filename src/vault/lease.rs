//! A grant in use. Its lease is renewed by a fresh decision while plaintext is read, whoever reads: a stream of the daemon or a
//! bulk extraction in this process. What is read is counted against the quotas of the caller.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::counting::Meter;
use super::gate::Subject;
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::{ArtifactRecord, VersionRecord};
use crate::error::Result;
use crate::names::{Name, Timestamp};
use crate::policy::{Action, Grant};

/// What one caller reads of one version.
pub(super) struct Lease {
    pub vault: Arc<Vault>,
    pub caller: Caller,
    pub namespace: Name,
    pub artifact: ArtifactRecord,
    pub record: VersionRecord,
    meter: Meter,
    /// Whether segments are counted, not what is handed on of them.
    by_segment: AtomicBool,
    /// Plaintext bytes decrypted under all grants so far.
    total: AtomicU64,
    /// The grant need not be looked at until so many were, and between these times.
    fresh: Fresh,
    /// Of what was taken back when the decision was made.
    generation: AtomicU64,
    grant: Mutex<Grant>,
}

/// For how long a grant goes without saying: read at each segment, without a lock. Whoever sets the clock back, or holds it,
/// gains nothing: the time that passes counts as well as the time of day.
#[derive(Default)]
struct Fresh {
    bytes: AtomicU64,
    from: AtomicI64,
    until: AtomicI64,
    /// Running time, in milliseconds.
    runs_until: AtomicU64,
}

impl Fresh {
    /// Until half of the time or all of the bytes of a grant are gone.
    fn of(&self, grant: &Grant, running: Duration, total: u64) {
        let (from, until) = (grant.issued_at(), grant.expires_at());
        let half = until.since(from) / 2;
        self.runs_until.store(millis(running + half), Ordering::Release);
        self.from.store(from.as_millis(), Ordering::Release);
        self.until.store(from.plus(half).as_millis(), Ordering::Release);
        self.bytes.store(total.saturating_add(grant.lease_bytes()), Ordering::Release);
    }

    fn holds(&self, now: Timestamp, running: Duration, before: u64) -> bool {
        let (from, until) = (self.from.load(Ordering::Acquire), self.until.load(Ordering::Acquire));
        before < self.bytes.load(Ordering::Acquire)
            && (from..until).contains(&now.as_millis())
            && millis(running) < self.runs_until.load(Ordering::Acquire)
    }
}

fn millis(running: Duration) -> u64 {
    u64::try_from(running.as_millis()).unwrap_or(u64::MAX)
}

impl Lease {
    /// Begins with the grant that was made for all this, and the number of [`Cuts`](super::cutting::Cuts) from before it was.
    pub fn new(
        vault: Arc<Vault>,
        caller: Caller,
        namespace: Name,
        (artifact, record): (ArtifactRecord, VersionRecord),
        (grant, generation): (Grant, u64),
        meter: Meter,
    ) -> Self {
        let fresh = Fresh::default();
        fresh.of(&grant, vault.clock().running(), 0);
        let (by_segment, total, grant) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::new(grant));
        let generation = AtomicU64::new(generation);
        Self { vault, caller, namespace, artifact, record, meter, by_segment, total, fresh, generation, grant }
    }

    /// When it ends unless it is renewed.
    pub fn expires(&self) -> Timestamp {
        self.held().expires_at()
    }

    /// Asks for a segment of `bytes`. Renews by a fresh decision when less than half of the time, or nothing of the bytes, is left,
    /// and when something was taken back from anybody since the last decision.
    ///
    /// # Errors
    /// `BadCredential` when the caller's certificate was revoked or has expired, `Denied` when the policy no longer permits
    /// the read, or a hold refuses it, `QuotaExceeded`, also of a throttled caller: nothing more may be decrypted.
    pub fn spend(&self, bytes: u64) -> Result<()> {
        if self.by_segment.load(Ordering::Acquire) {
            self.meter.spend(bytes)?;
        }
        let before = self.total.load(Ordering::Acquire);
        if self.changed() || !self.fresh.holds(self.vault.now(), self.vault.clock().running(), before) {
            self.renew(before)?;
        }
        self.vault.throttle(&self.caller, bytes)?;
        self.total.fetch_add(bytes, Ordering::AcqRel);
        Ok(())
    }

    /// Counts bytes that are to be handed on.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub fn count(&self, bytes: u64) -> Result<()> {
        if self.by_segment.load(Ordering::Acquire) { Ok(()) } else { self.meter.spend(bytes) }
    }

    /// From now on segments count as they are decrypted.
    pub fn count_segments(&self) {
        self.by_segment.store(true, Ordering::Release);
    }

    /// Bytes that were asked for in all: at most these left.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Acquire)
    }

    /// Says how many bytes left.
    pub fn end(&self, bytes: u64) {
        self.meter.end(bytes);
    }

    fn renew(&self, before: u64) -> Result<()> {
        // Before the decision: what is taken back while it is made is asked about again.
        let generation = self.vault.cuts.generation();
        let mut grant = self.held();
        let (now, running) = (self.vault.now(), self.vault.clock().running());
        // Another thread may have been faster.
        let due = !self.fresh.holds(now, running, before);
        let changed = self.generation.load(Ordering::Acquire) != generation;
        if changed || due {
            let subject = Subject::version(&self.namespace, &self.artifact, &self.record);
            let resource = super::opening::version_resource(&self.namespace, &self.artifact, &self.record);
            let renewed = self
                .vault
                .admit(&self.caller)
                .and_then(|()| self.vault.not_quarantined(Action::Open, resource))
                .and_then(|()| self.vault.renew_lease(&self.caller, &self.namespace, &self.artifact, &self.record));
            self.vault.metrics().lease(renewed.is_ok());
            let (renewed, permit) = renewed.or_else(|e| {
                let subject = subject.clone().with("lease", "renewal");
                self.vault.refuse(&self.caller, Act::ArtifactFetchStart, &subject, e)
            })?;
            // Taken back was what somebody else had: the lease goes on as it is, without a row. Whoever takes back nothing of note
            // in a loop would fill the log with those of all streams. Another policy, or a shorter lease, is something else.
            let shorter = renewed.expires_at() < grant.expires_at() || renewed.lease_bytes() < grant.lease_bytes();
            if due || shorter || renewed.decision() != grant.decision() {
                let subject = subject.with("bytes", before).with("lease_ends", renewed.expires_at());
                self.vault.record(&self.caller, Act::LeaseRenew, &subject, &permit)?;
                *grant = renewed;
                self.fresh.of(&grant, running, before);
            }
            self.generation.store(generation, Ordering::Release);
        }
        grant.check_for(Action::Open, self.record.facts.version_id, now)
    }

    /// Asks whether the read is still permitted, while nothing is read.
    ///
    /// # Errors
    /// As [`spend`](Self::spend).
    pub fn ask_again(&self) -> Result<()> {
        if self.changed() { self.renew(self.total()) } else { Ok(()) }
    }

    fn changed(&self) -> bool {
        self.generation.load(Ordering::Acquire) != self.vault.cuts.generation()
    }

    fn held(&self) -> MutexGuard<'_, Grant> {
        self.grant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
