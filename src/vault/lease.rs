//! A grant in use. Its lease is renewed by a fresh decision while plaintext is read, whoever reads: a stream of the daemon or a
//! bulk extraction in this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Caller, Vault};
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
        Self { vault, caller, namespace, artifact, record, held: Mutex::new(Held { grant, bytes: 0 }) }
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
            self.vault.admit(&self.caller)?;
            let grant = self.vault.lease(&self.caller, &self.namespace, &self.artifact, &self.record)?;
            *held = Held { grant, bytes: 0 };
        }
        held.grant.check_for(Action::Open, self.record.facts.version_id, now)?;
        held.bytes += bytes;
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
