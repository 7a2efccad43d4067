//! Sealed bytes out: an export, asked about again while it goes on, and the two rows that frame it in the audit log.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::counting::Meter;
use super::gate::Subject;
use super::{Caller, Vault};
use crate::audit::{Act, FIRST_SEQ};
use crate::catalogue::{ArtifactRecord, Located, VersionRecord};
use crate::error::{Error, ErrorId, Result};
use crate::facts::VersionFacts;
use crate::names::{Reference, Timestamp};
use crate::policy::{Action, Lease, Resource};
use crate::seal::io::{ReadAt, StoreForm};
use crate::store::BlobId;

/// The sealed file of a version on its way out. Dropping it without [`finish`](Self::finish) records it as abandoned.
pub struct Export {
    vault: Arc<Vault>,
    caller: Caller,
    artifact: ArtifactRecord,
    record: VersionRecord,
    version: VersionFacts,
    size: u64,
    source: Box<dyn ReadAt>,
    lease: Asked,
    meter: Meter,
    /// Bytes that were read.
    read: u64,
    ended: bool,
}

/// When a decision was made, and how many bytes left since. As long streams of plaintext, exports are asked about again when
/// half of a lease's time or all its bytes are gone.
struct Asked {
    at: Timestamp,
    /// Of what was taken back.
    generation: u64,
    bytes: u64,
}

impl Asked {
    fn now(vault: &Vault) -> Self {
        Self { at: vault.now(), generation: vault.cuts.generation(), bytes: 0 }
    }

    fn left(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn due(&self, vault: &Vault) -> bool {
        let now = vault.now();
        let Lease { duration, bytes } = Lease::default();
        let half: Duration = duration / 2;
        let changed = self.generation != vault.cuts.generation();
        changed || now < self.at || now.since(self.at) >= half || self.bytes >= bytes
    }
}

impl Vault {
    /// The sealed file of a version, byte for byte. The start row is durable when this returns.
    pub fn export(self: &Arc<Self>, caller: &Caller, reference: &Reference) -> Result<Export> {
        let act = Act::ArtifactExport;
        let lease = Asked::now(self);
        let Located { artifact, version: record, .. } = self.find(caller, act, reference)?;
        let subject = Subject::version(&reference.namespace, &artifact, &record);
        let resource = super::opening::version_resource(&reference.namespace, &artifact, &record);
        let permit = self
            .permit(caller, act, Action::Export, resource, &subject)
            .map_err(|e| self.veil(caller, e, reference))?;
        self.not_quarantined(Action::Export, resource).or_else(|e| self.refuse(caller, act, &subject, e))?;
        let parts = self.catalogue.parts_of(artifact.id, record.facts.number)?.len();
        if parts > 0 || record.part_of.is_some() {
            let text = format!("{reference} is a dataset in parts, which no single file holds");
            let whole = Error::new(ErrorId::InvalidArgument, text)
                .hint("fetch it (vault fetch), and seal the directory where it is to go");
            return self.refuse(caller, act, &subject, whole);
        }
        let named = |reader| self.must_not_be_named(caller, act, &subject, &record, &reader);
        if self.has_intel() {
            self.reader_of(&artifact, &record).or_else(|e| self.refuse(caller, act, &subject, e)).and_then(named)?;
        }
        let size = record.facts.header_len + record.facts.body_len;
        let (meter, due) = self.begin_count(caller, &subject, (&reference.namespace, &artifact), size)?;
        self.record_use(caller, act, &subject, &permit, due)?;
        let caller = &self.underway(caller, &permit);
        let sealed_file = || -> Result<Box<dyn ReadAt>> {
            let source =
                StoreForm::new(self.stored_header(&record)?, self.store.open(BlobId::Body(record.facts.version_id))?);
            if source.len()? != size {
                let text = "the stored body has another length than the catalogue pins";
                return Err(Error::new(ErrorId::LengthMismatch, text));
            }
            Ok(Box::new(source))
        };
        let source = sealed_file().or_else(|e| self.refuse(caller, act, &subject, e))?;
        let version = self.version_facts(&reference.namespace, &artifact, &record)?;
        Ok(Export {
            vault: Arc::clone(self),
            caller: caller.clone(),
            artifact,
            version,
            size,
            record,
            meter,
            source,
            lease,
            read: 0,
            ended: false,
        })
    }

    /// Writes the log from record `from` on in the form that is verified without a vault. What was written when it ended, and why, is on record.
    pub fn audit_export(&self, caller: &Caller, from: u64, out: &mut dyn Write) -> Result<()> {
        let act = Act::AuditExport;
        let subject = if from > FIRST_SEQ { Subject::vault().with("from", from) } else { Subject::vault() };
        let permit = self.permit(caller, act, Action::ReadAudit, Resource::Vault, &subject)?;
        self.record(caller, act, &subject, &permit)?;
        let caller = &self.underway(caller, &permit);
        let mut counted = Counted { to: out, bytes: 0 };
        let mut asked = Asked::now(self);
        let outcome = self.write_log(from, &mut counted, || {
            if asked.due(self) {
                let again = Asked::now(self);
                // Only a denial is recorded.
                self.permit(caller, act, Action::ReadAudit, Resource::Vault, &Subject::vault())?;
                asked = again;
            }
            Ok(())
        });
        let reason = outcome.as_ref().map_or_else(end_of, |()| "complete");
        self.note(caller, Act::AuditExportEnd, &subject.with("bytes", counted.bytes).with("reason", reason))?;
        outcome
    }
}

impl Export {
    /// The version.
    pub fn version(&self) -> &VersionFacts {
        &self.version
    }

    /// Bytes of the sealed file: header and body.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes `offset..offset + buffer.len()` of the sealed file.
    ///
    /// # Errors
    /// `Denied` or `BadCredential` when the caller may no longer export, `QuotaExceeded`; those of the store.
    pub fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.meter.spend(buffer.len() as u64)?;
        self.renew()?;
        self.vault.throttle(&self.caller, buffer.len() as u64)?;
        self.source.read_exact_at(buffer, offset)?;
        self.lease.left(buffer.len() as u64);
        self.read += buffer.len() as u64;
        Ok(())
    }

    /// Asks the policy, and whether the caller was revoked, when that is due. A denial is on record.
    fn renew(&mut self) -> Result<()> {
        if !self.lease.due(&self.vault) {
            return Ok(());
        }
        let asked = Asked::now(&self.vault);
        let namespace = &self.version.namespace;
        let subject = Subject::version(namespace, &self.artifact, &self.record);
        let resource = super::opening::version_resource(namespace, &self.artifact, &self.record);
        self.vault.permit(&self.caller, Act::ArtifactExport, Action::Export, resource, &subject)?;
        let refused = |e| self.vault.refuse(&self.caller, Act::ArtifactExport, &subject, e);
        self.vault.not_quarantined(Action::Export, resource).or_else(refused)?;
        self.lease = asked;
        Ok(())
    }

    /// Records how the export ended and how many bytes left.
    pub fn finish(mut self, bytes: u64, outcome: &Result<()>) -> Result<()> {
        self.end(bytes, outcome.as_ref().map_or_else(end_of, |()| "complete"))
    }

    fn end(&mut self, bytes: u64, reason: &str) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.meter.end(bytes);
        let subject = Subject::version(&self.version.namespace, &self.artifact, &self.record);
        let subject = subject.with("bytes", bytes).with("size", self.size).with("reason", reason);
        self.vault.note(&self.caller, Act::ArtifactExportEnd, &subject)
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(e) = self.end(self.read, "abandoned") {
            tracing::error!(error = %e, "the end of an export could not be recorded");
        }
    }
}

/// Why a stream ended, in the words that fetches use too.
fn end_of(error: &Error) -> &'static str {
    match error.id() {
        ErrorId::Unreachable => "client gone",
        ErrorId::DeadlineExceeded => "stalled",
        id => id.name(),
    }
}

/// Counts what was written.
struct Counted<'a> {
    to: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
