//! A grant in use. Its lease is renewed by a fresh decision while plaintext is read, whoever reads: a stream of the daemon or a
//! bulk extraction in this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    held: Mutex<Held>,
}

struct Held {
    grant: Grant,
    /// Plaintext bytes read under this grant.
    bytes: u64,
    /// The same under all grants so far.
    total: u64,
}

impl Lease {
    /// Begins with the grant that was made for all this.
    pub fn new(
        vault: Arc<Vault>,
        caller: Caller,
        namespace: Name,
        (artifact, record): (ArtifactRecord, VersionRecord),
        grant: Grant,
    ) -> Self {
        Self { vault, caller, namespace, artifact, record, held: Mutex::new(Held { grant, bytes: 0, total: 0 }) }
    }

    /// When it ends unless it is renewed.
    pub fn expires(&self) -> Timestamp {
        self.held().grant.expires_at()
    }

    /// Asks for `bytes` more. Renews by a fresh decision when less than half of the time, or nothing of the bytes, is left.
    ///
    /// # Errors
    /// `BadCredential` when the caller's certificate was revoked or has expired, `Denied` when the policy no longer permits
    /// the read: nothing more may be decrypted.
    pub fn spend(&self, bytes: u64) -> Result<()> {
        let mut held = self.held();
        let now = self.vault.now();
        let grant = &held.grant;
        let half = grant.expires_at().since(grant.issued_at()) / 2;
        let fresh = grant.check(now).is_ok() && grant.expires_at().since(now) > half;
        if !fresh || held.bytes >= grant.lease_bytes() {
            let renewed = self
                .vault
                .admit(&self.caller)
                .and_then(|()| self.vault.lease(&self.caller, &self.namespace, &self.artifact, &self.record));
            let grant = renewed.or_else(|e| {
                let subject = Subject::version(&self.namespace, &self.artifact, &self.record).with("lease", "renewal");
                self.vault.refuse(&self.caller, Act::ArtifactFetchStart, &subject, e)
            })?;
            *held = Held { grant, bytes: 0, total: held.total };
        }
        held.grant.check_for(Action::Open, self.record.facts.version_id, now)?;
        held.bytes += bytes;
        held.total += bytes;
        Ok(())
    }

    /// Bytes that were asked for in all: at most these left.
    pub fn total(&self) -> u64 {
        self.held().total
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
