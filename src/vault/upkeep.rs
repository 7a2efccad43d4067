//! What keeps a home tidy and whole: leftovers of processes that died are removed, and what must be there is looked for.
//!
//! A seal that dies leaves a reservation and what was made for it, but no version: publication is the last step. Two times of
//! sweeping differ in what they may assume. At unlock the home's lock says that no seal can be running, so whatever is unfinished
//! is a leftover. In a running vault only what has been still for [`GRACE`] is one, and reservations are left alone: whose seal
//! still runs cannot be told, and a key that is destroyed under it would be missed too late.
//!
//! Keys are destroyed by the reservation they were made for, never because nobody seems to own them: the key of a portable file
//! (`Vault::seal_portable`) belongs to no version, and without it the file is lost.

use std::time::Duration;

use super::gate::Subject;
use super::{Caller, Vault};
use crate::audit::{self, Act, Object, Record};
use crate::catalogue::{BlobState, Reservation, VersionRecord};
use crate::error::{Error, ErrorId, Result};
use crate::facts::CheckFacts;
use crate::home::is_temporary;
use crate::names::Timestamp;
use crate::policy::{Action, Resource};
use crate::store::{BlobId, StoredBlob};

/// In a running vault, and for blobs the catalogue does not know, this long since the last write makes a leftover.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// Blobs whose versions are looked up at once.
const BATCH: usize = 1000;
/// Begins the names of ciphertext files that imports keep in the home. They are unlinked as soon as they are open.
const SPOOL: &str = "spool-";
/// What seals make; rotations, whose versions are published, make the higher ones.
const FIRST_GENERATION: u32 = 1;
/// Findings of one examination that are kept.
const MAX_FINDINGS: usize = 1000;
/// Later than every time that is on record.
const EVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Numbers that were reserved for versions that never came to be.
    pub reservations: u64,
    /// Keys made for them.
    pub keys: u64,
    /// Blobs that were finished and belong to no version.
    pub blobs: u64,
    /// Blobs that were not finished.
    pub unfinished: u64,
    /// Spooled imports, and files that were to replace others of the home.
    pub spools: u64,
    /// Shreddings that were begun, and are done now.
    pub shreds: u64,
}

impl Swept {
    /// How many things there were to do.
    pub fn total(&self) -> u64 {
        self.reservations + self.keys + self.blobs + self.unfinished + self.spools + self.shreds
    }
}

impl Vault {
    /// Removes blobs that have belonged to nothing for a day: in any state of the vault, by reading its whole blob directory.
    pub fn sweep(&self) -> Result<Swept> {
        let mut swept = Swept::default();
        self.sweep_blobs(self.a_grace_ago(), &mut swept)?;
        self.record_sweep(&swept)?;
        Ok(swept)
    }

    /// Removes what processes that died left. Only for unlock, before anybody is served. Blobs are looked through only if
    /// there is a sign of a seal that died, so that it costs nothing where there is nothing to do.
    pub(super) fn sweep_at_unlock(&self) -> Result<Swept> {
        let mut swept = Swept { spools: self.sweep_spools()?, ..Swept::default() };
        self.finish_shreds(&mut swept)?;
        let mut after = None;
        loop {
            let page = self.catalogue.unused_reservations(EVER, after, BATCH)?;
            page.rows.iter().try_for_each(|reservation| self.give_up(reservation, &mut swept))?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // An unfinished blob has a reservation beside it: it is reserved before it is begun.
        if swept.reservations > 0 {
            self.sweep_blobs(EVER, &mut swept)?;
        }
        self.record_sweep(&swept)?;
        Ok(swept)
    }

    /// The reservation goes last: after a crash in here the next unlock begins anew.
    fn give_up(&self, reservation: &Reservation, swept: &mut Swept) -> Result<()> {
        let id = reservation.version_id;
        // A published version has no reservation. If a row says otherwise it was put there, and costs no key.
        if self.catalogue.blob_states(&[id])? != [BlobState::Reserved] {
            tracing::error!(version = %id, "a published version is also reserved: run vault doctor");
            return Ok(());
        }
        swept.keys += self.catalogue.delete_artifact_keys(id)?;
        for blob in [BlobId::Header(id, FIRST_GENERATION), BlobId::Body(id)] {
            swept.blobs += u64::from(self.store.delete(blob)?);
        }
        swept.reservations += u64::from(self.catalogue.abandon_reservation(id)?);
        Ok(())
    }

    fn finish_shreds(&self, swept: &mut Swept) -> Result<()> {
        loop {
            let begun = self.catalogue.unfinished_shreds()?;
            if begun.is_empty() {
                return Ok(());
            }
            for version in begun {
                let id = version.facts.version_id;
                // A part may have gone with the version that names it.
                if self.catalogue.version(id)?.shredded.is_none() {
                    self.catalogue.shred(id, self.shred_leaf(&version)?.into())?;
                }
                self.store.delete(BlobId::Header(id, version.facts.generation))?;
                self.store.delete(BlobId::Body(id))?;
                swept.shreds += 1;
            }
        }
    }

    /// The row of a shredding that was permitted when it was begun.
    fn shred_leaf(&self, version: &VersionRecord) -> Result<Vec<u8>> {
        let caller = self.local_caller()?;
        let artifact = self.catalogue.artifact(version.facts.artifact_id)?;
        let object = Object {
            namespace: self.keyring().namespace(version.namespace_id)?.name().clone(),
            name: Some(artifact.name),
            version: Some(version.facts.number),
            artifact_id: Some(artifact.id),
            root: Some(version.facts.root),
        };
        let through = audit::Channel { transport: audit::Transport::Local, tls_group: None, peer: None };
        let record = Record::new(self.now(), caller.request_id, &caller.principal, Act::ArtifactShred);
        Ok(record.on(object).through(through).detail("finished", "after a crash").to_leaf())
    }

    fn sweep_spools(&self) -> Result<u64> {
        let mut removed = 0;
        let fail = |e: std::io::Error| Error::from(e).on(self.home.path().display());
        for entry in std::fs::read_dir(self.home.path()).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(SPOOL) || is_temporary(name));
            if ours && entry.file_type().map_err(fail)?.is_file() {
                std::fs::remove_file(entry.path()).map_err(|e| Error::from(e).on(entry.path().display()))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Reads the whole blob directory. `before` is for unfinished blobs; those the catalogue does not know get their grace in
    /// any case, and those of shredded versions none.
    fn sweep_blobs(&self, before: Timestamp, swept: &mut Swept) -> Result<()> {
        swept.unfinished += self.store.sweep_temporary(before)?.count;
        let orphaned = self.a_grace_ago();
        let mut blobs = self.store.list()?;
        loop {
            let batch = blobs.by_ref().take(BATCH).collect::<Result<Vec<StoredBlob>>>()?;
            if batch.is_empty() {
                return Ok(());
            }
            let versions: Vec<_> = batch.iter().map(|blob| blob.id.version()).collect();
            for (blob, state) in batch.iter().zip(self.catalogue.blob_states(&versions)?) {
                let unwanted = match state {
                    BlobState::Shredded => true,
                    BlobState::Unknown => blob.modified < orphaned,
                    BlobState::Live { .. } | BlobState::Reserved => false,
                };
                if unwanted {
                    swept.blobs += u64::from(self.store.delete(blob.id)?);
                }
            }
        }
    }

    fn a_grace_ago(&self) -> Timestamp {
        let grace = i64::try_from(GRACE.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.now().as_millis().saturating_sub(grace))
    }

    fn record_sweep(&self, swept: &Swept) -> Result<()> {
        if swept.total() == 0 {
            return Ok(());
        }
        let subject = Subject::vault()
            .with("reservations", swept.reservations)
            .with("keys", swept.keys)
            .with("blobs", swept.blobs)
            .with("unfinished", swept.unfinished)
            .with("spools", swept.spools)
            .with("shreds", swept.shreds);
        self.note(&self.local_caller()?, Act::VaultSweep, &subject)
    }
}

impl Vault {
    /// Examines the catalogue row by row, and whether every version that is not shredded has its key, and its header and body in
    /// the lengths the catalogue pins. Does not read what is in the blobs: [`Vault::verify`] does that, version by version.
    ///
    /// # Errors
    /// Damage is a finding, not an error; an error says that the examination itself came to no end.
    pub fn check(&self, caller: &Caller) -> Result<CheckFacts> {
        let permit = self.permit(caller, Act::VaultCheck, Action::Status, Resource::Vault, &Subject::vault())?;
        self.record(caller, Act::VaultCheck, &Subject::vault(), &permit)?;
        let report = self.catalogue.integrity_check()?;
        let mut facts = CheckFacts { rows: report.rows, versions: 0, findings: report.findings };
        let mut after = None;
        loop {
            let page = match self.catalogue.live_versions(after, BATCH).map_err(Error::from) {
                // Already a finding, or about to be one; what lies behind an altered row cannot be listed.
                Err(e) if e.id() == ErrorId::CatalogueDamaged => {
                    find(&mut facts, format!("the versions cannot be listed: {}", e.message()));
                    return Ok(facts);
                }
                page => page?,
            };
            for version in &page.rows {
                facts.versions += 1;
                self.check_blobs(version, &mut facts)?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(facts);
            }
        }
    }

    fn check_blobs(&self, version: &VersionRecord, facts: &mut CheckFacts) -> Result<()> {
        let pinned = &version.facts;
        let id = pinned.version_id;
        let header = BlobId::Header(id, pinned.generation);
        for (what, blob, len) in [("header", header, pinned.header_len), ("body", BlobId::Body(id), pinned.body_len)] {
            let wrong = match self.store.open(blob) {
                Ok(stored) => match stored.len()? {
                    found if found == len => continue,
                    found => format!("has {found} bytes where {len} were sealed"),
                },
                Err(e) if e.id() == ErrorId::NotFound => "is missing".into(),
                Err(e) => format!("cannot be read: {}", e.message()),
            };
            // Shredded or given a new header meanwhile is no finding.
            let now = self.catalogue.version(id)?;
            if now.shred_begun.is_none() && now.facts.generation == pinned.generation {
                let artifact = self.catalogue.artifact(pinned.artifact_id)?;
                let namespace = self.keyring().namespace(version.namespace_id)?.name().clone();
                let text = format!("the {what} of {namespace}/{}@v{} {wrong} ({blob})", artifact.name, pinned.number);
                find(facts, text);
            }
        }
        Ok(())
    }
}

fn find(facts: &mut CheckFacts, what: String) {
    if facts.findings.len() < MAX_FINDINGS {
        facts.findings.push(what);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::catalogue::{ArtifactKeyRef, ArtifactKeyRow, NewReservation};
    use crate::names::{ArtifactId, ArtifactKind, KekId, Reference, VersionId};
    use crate::vault::{InitSpec, Machine, PortableInput, RootCredential, SealInput, SealMember, Sealing};

    fn unlock(dir: &Path) -> Vault {
        let key = RootCredential::KeyFile(dir.join("root.key"));
        Vault::unlock(&dir.join("home"), Some(key), Machine::default()).unwrap()
    }

    fn vault() -> (tempfile::TempDir, Vault) {
        let dir = tempfile::tempdir().unwrap();
        let spec = InitSpec::KeyFile(dir.path().join("root.key"));
        let vault = Vault::init(&dir.path().join("home"), spec, Machine::default()).unwrap();
        (dir, vault)
    }

    fn sealing(bytes: &[u8]) -> Sealing {
        Sealing {
            members: vec![SealMember { path: "w".into(), source: Box::new(bytes.to_vec()) }],
            kind: ArtifactKind::Model,
            sha256: false,
            sequential: true,
            signer: None,
            allow_unsigned: None,
            progress: Box::new(|_| {}),
        }
    }

    fn seal(vault: &Vault, name: &str) -> VersionId {
        let input = SealInput {
            namespace: "default".parse().unwrap(),
            name: name.parse().unwrap(),
            tag: None,
            sealing: sealing(b"weights"),
        };
        vault.seal(&vault.local_caller().unwrap(), input).unwrap();
        record(vault, name).facts.version_id
    }

    fn record(vault: &Vault, name: &str) -> VersionRecord {
        let reference: Reference = name.parse().unwrap();
        vault.lookup(&reference, crate::catalogue::Visibility::All).unwrap().version
    }

    fn sweeps(vault: &Vault) -> usize {
        let rows = vault.audit_rows(&vault.local_caller().unwrap(), 1, 1000).unwrap();
        rows.iter().filter(|(_, row)| String::from_utf8_lossy(row).contains("\"vault.sweep\"")).count()
    }

    /// What a seal leaves that is killed just before it publishes, and one that is killed before that.
    fn die_sealing(vault: &Vault) -> Reservation {
        let namespace_id = vault.catalogue.namespace(&"default".parse().unwrap()).unwrap().id;
        let reservation = vault
            .catalogue
            .reserve_version(NewReservation {
                namespace_id,
                name: "m".parse().unwrap(),
                kind: ArtifactKind::Model,
                artifact_id: ArtifactId::generate(vault.now(), vault.random()).unwrap(),
                version_id: VersionId::generate(vault.now(), vault.random()).unwrap(),
            })
            .unwrap();
        let id = reservation.version_id;
        vault.store.put(BlobId::Body(id), b"body").unwrap();
        vault.store.put(BlobId::Header(id, 1), b"header").unwrap();
        let key = ArtifactKeyRef { id: KekId::generate(vault.now(), vault.random()).unwrap(), version: 1 };
        let row = ArtifactKeyRow {
            key,
            namespace_id,
            version_id: id,
            namespace_kek_version: 1,
            salt: [1; 32],
            wrapped: [2; 80],
        };
        vault.catalogue.put_artifact_key(row).unwrap();
        let other = VersionId::generate(vault.now(), vault.random()).unwrap();
        std::mem::forget(vault.store.create(BlobId::Body(other)).unwrap());
        reservation
    }

    fn files_below(dir: &Path) -> usize {
        let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
        entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
    }

    #[test]
    fn what_a_killed_seal_left_is_gone_after_the_next_unlock_and_nothing_else() {
        let (dir, vault) = vault();
        seal(&vault, "m");
        let portable = tempfile::tempfile().unwrap();
        let input = PortableInput {
            namespace: "default".parse().unwrap(),
            name: "p".parse().unwrap(),
            sealing: sealing(b"portable"),
        };
        vault.seal_portable(&vault.local_caller().unwrap(), input, &portable).unwrap();
        let reservation = die_sealing(&vault);
        drop(vault);
        std::fs::write(dir.path().join("home/spool-0"), b"ciphertext").unwrap();
        std::fs::write(dir.path().join("home/.keyring.bin.new"), b"half").unwrap();
        std::fs::create_dir(dir.path().join("home/spool-mine")).unwrap();

        let vault = std::sync::Arc::new(unlock(dir.path()));
        assert_eq!(files_below(&dir.path().join("home/blobs")), 2, "header and body of the version");
        assert!(!dir.path().join("home/.keyring.bin.new").exists());
        assert!(!dir.path().join("home/spool-0").exists() && dir.path().join("home/spool-mine").exists());
        assert_eq!(vault.catalogue.unused_reservations(EVER, None, 9).unwrap().rows, []);
        let keys = vault.catalogue.artifact_keys(None, 9).unwrap().rows;
        assert_eq!(keys.len(), 2, "those of the version and of the portable file");
        assert!(keys.iter().all(|(_, owner)| *owner != reservation.version_id));
        let caller = vault.local_caller().unwrap();
        vault.verify(&caller, &"m".parse().unwrap()).unwrap();
        vault.open_portable(&caller, Box::new(portable)).unwrap().verify_full().unwrap();
        assert_eq!(sweeps(&vault), 1);
        drop(vault);
        assert_eq!(sweeps(&unlock(dir.path())), 1, "nothing to do leaves no row");
    }

    #[test]
    fn a_running_vault_sweeps_only_what_has_been_still_for_a_day() {
        let (dir, vault) = vault();
        let sealed = seal(&vault, "m");
        let reservation = die_sealing(&vault);
        let orphan = VersionId::generate(vault.now(), vault.random()).unwrap();
        vault.store.put(BlobId::Body(orphan), b"orphan").unwrap();
        assert_eq!(vault.sweep().unwrap(), Swept::default());
        let age = |path: &Path| {
            let old = std::time::SystemTime::now() - GRACE - Duration::from_secs(60);
            std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        };
        let fan_out = std::fs::read_dir(dir.path().join("home/blobs")).unwrap().map(|e| e.unwrap().path());
        fan_out.flat_map(|d| std::fs::read_dir(d).unwrap()).for_each(|file| age(&file.unwrap().path()));
        assert_eq!(vault.sweep().unwrap(), Swept { blobs: 1, unfinished: 1, ..Swept::default() });
        assert!(vault.store.exists(BlobId::Body(sealed)).unwrap(), "published");
        assert!(vault.store.exists(BlobId::Body(reservation.version_id)).unwrap(), "its seal may still run");
        assert_eq!(sweeps(&vault), 1);
    }

    #[test]
    fn a_check_finds_keys_and_blobs_that_are_lost_or_cut() {
        let (dir, vault) = vault();
        let check = || vault.check(&vault.local_caller().unwrap()).unwrap();
        let (cut, headless, keyless) = (seal(&vault, "cut"), seal(&vault, "headless"), seal(&vault, "keyless"));
        let whole = check();
        assert_eq!((whole.versions, whole.findings), (3, Vec::<String>::new()));
        assert!(whole.rows > 3);
        let body = format!("home/blobs/{:02x}/{}", cut.as_bytes()[15], BlobId::Body(cut));
        let file = std::fs::File::options().write(true).open(dir.path().join(body)).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        vault.store.delete(BlobId::Header(headless, 1)).unwrap();
        vault.catalogue.delete_artifact_keys(keyless).unwrap();
        let findings = check().findings;
        assert_eq!(findings.len(), 3, "{findings:?}");
        for (what, which) in [("body", "default/cut@v1"), ("header", "default/headless@v1")] {
            assert!(findings.iter().any(|f| f.contains(what) && f.contains(which)), "{findings:?}");
        }
        assert!(findings.iter().any(|f| f.contains(&keyless.to_string())), "{findings:?}");
    }

    #[test]
    fn a_reservation_planted_over_a_published_version_costs_it_nothing() {
        let (_dir, vault) = vault();
        let id = seal(&vault, "m");
        let facts = record(&vault, "m").facts;
        let planted = Reservation { version_id: id, artifact_id: facts.artifact_id, number: 1, reserved: vault.now() };
        let mut swept = Swept::default();
        vault.give_up(&planted, &mut swept).unwrap();
        assert_eq!(swept, Swept::default());
        vault.verify(&vault.local_caller().unwrap(), &"m".parse().unwrap()).unwrap();
    }
}
