//! The audit log as a whole: reading, checkpoints, verification, export; and the state of the vault.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::gate::Subject;
use super::{Caller, Channel, Standing, Vault};
use crate::audit::{self, Act, AuditError, Export, FIRST_SEQ, Verifier, VerifierKey};
use crate::catalogue::Checkpoint;
use crate::error::{Error, ErrorId, Result};
use crate::facts::{AuditFacts, StatusFacts};
use crate::names::{Principal, Reference, RequestId, Timestamp};
use crate::policy::{Action, Resource};

/// Rows read at once while walking the log.
pub(super) const BATCH: usize = 1000;

/// Records as they were written, with their numbers.
pub(crate) type AuditRows = Vec<(u64, Vec<u8>)>;

/// Callers turned away before authentication: counted, and told to the log as one row per kind and minute, so that strangers
/// cannot fill the disk. There are as many kinds as words for them in the program.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<(&'static str, &'static str), Refused>);

/// Those of one kind since its last row.
#[derive(Debug)]
struct Refused {
    what: ErrorId,
    count: u64,
    last_peer: Option<String>,
    told: Option<Timestamp>,
}

impl Refused {
    fn due(&self, now: Timestamp) -> bool {
        self.count > 0 && self.told.is_none_or(|told| now < told || now.since(told) >= REFUSALS_EVERY)
    }
}

/// Least time between two rows of one kind.
const REFUSALS_EVERY: Duration = Duration::from_secs(60);

impl Vault {
    /// At most `limit` rows from sequence number `from` on.
    pub fn audit_rows(&self, caller: &Caller, from: u64, limit: u32) -> Result<AuditRows> {
        let subject = Subject::vault().with("from", from);
        let permit = self.permit(caller, Act::AuditRead, Action::ReadAudit, Resource::Vault, &subject)?;
        self.record(caller, Act::AuditRead, &subject, &permit)?;
        self.audit_rows_again(from, limit)
    }

    /// The same for a reading that goes on: its first rows, and whether it may. It is one row, however often it is decided: a row
    /// for each decision would feed a reader that follows the log for ever. Only a denial is recorded.
    pub(crate) fn begin_reading_audit(
        self: &Arc<Self>,
        caller: &Caller,
        from: u64,
        limit: u32,
    ) -> Result<(Standing, AuditRows)> {
        let ask = |vault: &Self, caller: &_, subject: &_| {
            vault.permit(caller, Act::AuditRead, Action::ReadAudit, Resource::Vault, subject)
        };
        let subject = Subject::vault().with("from", from);
        let permit = ask(self, caller, &subject)?;
        self.record(caller, Act::AuditRead, &subject, &permit)?;
        let caller = self.underway(caller, &permit);
        let standing = self.standing_while(move |vault| ask(vault, &caller, &subject).map(drop));
        Ok((standing, self.audit_rows_again(from, limit)?))
    }

    /// The following rows of a reading that was permitted and recorded once.
    pub(crate) fn audit_rows_again(&self, from: u64, limit: u32) -> Result<AuditRows> {
        self.rows(from.max(FIRST_SEQ), (limit as usize).clamp(1, BATCH))
    }

    /// The catalogue counts leaves from 0; the log numbers its records from 1, so that a checkpoint of size n covers the records
    /// up to number n. This is the one place where the two meet.
    pub(super) fn rows(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        let rows = self.catalogue.audit_range(from - FIRST_SEQ, limit)?;
        Ok(rows.into_iter().map(|(index, leaf)| (index + FIRST_SEQ, leaf)).collect())
    }

    /// Checks every row against every checkpoint, and against one kept elsewhere if given. Signs a checkpoint first, so that no
    /// row is left uncovered.
    pub fn audit_verify(&self, caller: &Caller, kept: Option<&str>) -> Result<AuditFacts> {
        let permit = self.permit(caller, Act::AuditVerify, Action::ReadAudit, Resource::Vault, &Subject::vault())?;
        self.record(caller, Act::AuditVerify, &Subject::vault(), &permit)?;
        self.checkpoint(true)?;
        let mut verifier = Verifier::new(self.origin(), *self.keyring().audit_identity().public());
        if let Some(note) = kept {
            verifier.kept_elsewhere(note)?;
        }
        self.walk(
            FIRST_SEQ,
            &mut verifier,
            |v, note| v.checkpoint(note).map_err(|e| self.named(e)),
            |v, seq, row| v.row(seq, row).map_err(|e| self.named(e)),
        )?;
        let report = verifier.finish().map_err(|e| match e {
            // The log of a vault is all there is.
            AuditError::Older { records, size } => AuditError::Cut { records, size },
            e => e,
        })?;
        let newest = self.catalogue.latest_checkpoint()?;
        Ok(AuditFacts {
            records: report.records,
            checkpoints: report.checkpoints,
            root: report.root,
            checkpoint: newest.map_or_else(String::new, |c| c.note),
        })
    }

    /// The log from record `from` on in the form that is verified without a vault; `go_on` is asked before each row.
    pub(super) fn write_log(
        &self,
        from: u64,
        out: &mut dyn Write,
        mut go_on: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        self.checkpoint(true)?;
        let key = VerifierKey::of(self.origin(), *self.keyring().audit_identity().public());
        let mut export = Export::new(out, &key)?;
        self.walk(from, &mut export, Export::checkpoint, |export, seq, row| {
            go_on()?;
            export.row(seq, row)
        })?;
        export.finish()?;
        Ok(())
    }

    /// Rows in order, each checkpoint before the first row that it does not cover. Rows that come meanwhile are left out.
    fn walk<T>(
        &self,
        from: u64,
        to: &mut T,
        mut checkpoint: impl FnMut(&mut T, &str) -> Result<()>,
        mut row: impl FnMut(&mut T, u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut checkpoints = Vec::new();
        while let Some(next) = match checkpoints.last() {
            None => Some(from.saturating_sub(FIRST_SEQ)),
            Some(Checkpoint { size, .. }) => size.checked_add(1),
        } {
            let more = self.catalogue.checkpoints(next, BATCH)?;
            if more.is_empty() {
                break;
            }
            checkpoints.extend(more);
        }
        let end = self.catalogue.audit_len()?;
        let mut waiting = checkpoints.into_iter().filter(|c| c.size <= end).peekable();
        let mut next = from.max(FIRST_SEQ);
        while next < FIRST_SEQ + end {
            let rows = self.rows(next, BATCH)?;
            if rows.is_empty() {
                break;
            }
            for (seq, bytes) in rows.into_iter().take_while(|(seq, _)| *seq < FIRST_SEQ + end) {
                while let Some(due) = waiting.next_if(|c| c.size < seq) {
                    checkpoint(to, &due.note)?;
                }
                row(to, seq, &bytes)?;
                next = seq + 1;
            }
        }
        waiting.try_for_each(|c| checkpoint(to, &c.note))
    }

    /// What is to be done every second: a checkpoint if one is due, the witness told of it, the row about callers that were
    /// turned away, and the counters of quotas.
    pub fn tick(&self) -> Result<()> {
        self.record_refusals(false)?;
        let counted = self.keep_counting(false);
        self.checkpoint(false)?;
        self.tell_witness()?;
        counted
    }

    /// Counts a caller that was turned away before it had an identity. `why`: in a few words, `certificate expired`.
    pub fn count_refusal(&self, peer: Option<&str>, what: ErrorId, why: &'static str) {
        let mut refusals = self.refusals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let first = Refused { what, count: 0, last_peer: None, told: None };
        let refused = refusals.0.entry((what.name(), why)).or_insert(first);
        refused.count += 1;
        refused.last_peer = peer.map(Into::into);
    }

    /// Writes what was counted, of each kind at most once a minute unless the vault is about to stop.
    pub fn record_refusals(&self, stopping: bool) -> Result<()> {
        let now = self.now();
        let due: Vec<_> = {
            let refusals = self.refusals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let kinds = refusals.0.iter().filter(|(_, refused)| refused.due(now) || (stopping && refused.count > 0));
            kinds.map(|(kind, refused)| (*kind, refused.what, refused.count, refused.last_peer.clone())).collect()
        };
        for (kind, what, count, peer) in due {
            self.record_refused(kind.1, what, count, peer)?;
            // Taken off only now that the row is durable: none is forgotten, and those that came meanwhile stay.
            let mut refusals = self.refusals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(refused) = refusals.0.get_mut(&kind) {
                refused.count = refused.count.saturating_sub(count);
                refused.told = Some(now);
            }
        }
        Ok(())
    }

    fn record_refused(&self, why: &'static str, what: ErrorId, count: u64, peer: Option<String>) -> Result<()> {
        let caller = Caller {
            principal: Principal::anonymous(),
            request_id: RequestId::generate(self.now(), self.random())?,
            channel: Channel { peer, transport: super::Transport::Mtls, ..Channel::local() },
            evidence: super::Evidence::default(),
            counted: super::Counted::default(),
        };
        let subject = Subject::vault().with("count", count).with("why", why);
        // `refuse` returns the error it recorded; only a failure to record matters here.
        match self.refuse::<()>(&caller, Act::AuthRefused, &subject, Error::new(what, "turned away")) {
            Err(e) if e.id() == what => Ok(()),
            other => other,
        }
    }

    /// State of the vault.
    pub fn status(&self, caller: &Caller) -> Result<StatusFacts> {
        let permit = self.permit(caller, Act::VaultStatus, Action::Status, Resource::Vault, &Subject::vault())?;
        self.record(caller, Act::VaultStatus, &Subject::vault(), &permit)?;
        let stats = self.catalogue.stats()?;
        let keyring = self.keyring();
        let protection = crate::crypto::keys::protection();
        let default = keyring.namespace_named(&Reference::DEFAULT_NAMESPACE.parse()?);
        let (_, default) =
            default.ok_or_else(|| Error::new(ErrorId::KeyringDamaged, "the default namespace has no keys"))?;
        Ok(StatusFacts {
            vault_id: self.vault_id(),
            release: env!("CARGO_PKG_VERSION").into(),
            custody: self.config.custody.kind().into(),
            namespaces: self.catalogue.namespaces()?.into_iter().map(|n| n.name).collect(),
            artifacts: stats.artifacts,
            versions: stats.versions,
            workloads: stats.workloads,
            audit_records: stats.audit_rows,
            policy_version: self.policy_in_force().0,
            signer: default.identity().key_id(),
            audit_key: VerifierKey::of(self.origin(), *keyring.audit_identity().public()).to_string(),
            serving: self.address(),
            keys_locked: protection.locked,
            keys_undumpable: protection.undumpable,
        })
    }

    /// Where a daemon over this vault serves workloads.
    pub fn set_address(&self, address: Option<String>) {
        *self.address.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = address;
    }

    pub(super) fn address(&self) -> Option<String> {
        self.address.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Name of this vault's log in its checkpoints.
    pub(super) fn origin(&self) -> String {
        audit::origin(self.vault_id())
    }
}
