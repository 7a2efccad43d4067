//! Known bad digests and keys: lists put in force, and what they name refused, at seal and at release alike.

use std::sync::{Arc, PoisonError};

use super::gate::Subject;
use super::once::Request;
use super::{Caller, Standing, Vault};
use crate::audit::Act;
use crate::catalogue::{ArtifactRecord, Catalogue, MAX_PAGE, NewIntel, VersionRecord};
use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId, Result};
use crate::facts::{IntelFacts, IntelHitFacts, IntelImportFacts};
use crate::intel::{Hit, Indicator, Kind, List, Lists, MAX_ENTRIES};
use crate::names::{KeyId, Name};
use crate::policy::{Action, Resource};
use crate::seal::{Manifest, Reader};

/// Hits that are told one by one; all are counted and on record.
const HITS_TOLD: usize = 1000;

/// Keys of one list that are told; how many there are is told too.
const KEYS_TOLD: usize = 100;

/// The lists that a catalogue holds.
pub(super) fn in_force(catalogue: &dyn Catalogue) -> Result<Arc<Lists>> {
    let mut lists = Lists::default();
    for list in catalogue.intel_lists()? {
        let bytes = catalogue.intel_list(&list.source)?;
        let damaged = || Error::new(ErrorId::CatalogueDamaged, format!("the list from {} is damaged", list.source));
        lists.put(list.source.as_str(), Arc::new(List::from_bytes(&bytes).ok_or_else(damaged)?));
    }
    Ok(Arc::new(lists))
}

impl Vault {
    /// Asks what [`Self::import_intel`] will ask, before anything is received, and while it is. Only a denial is recorded.
    pub(crate) fn may_import_intel(self: &Arc<Self>, caller: &Caller) -> Result<Standing> {
        let ask = |vault: &Self, caller: &_| {
            vault.permit(caller, Act::IntelImport, Action::ImportIntel, Resource::Vault, &Subject::vault())
        };
        let caller = self.underway(caller, &ask(self, caller)?);
        Ok(self.standing_while(move |vault| ask(vault, &caller).map(drop)))
    }

    /// Puts a list in force, in the place of the one from the same source, and looks for what it names among all versions.
    /// They stay: what is named is refused from then on.
    ///
    /// # Errors
    /// `InvalidArgument` for a list that breaks a rule (see [`List::parse`]); nothing is changed then.
    pub fn import_intel(&self, caller: &Caller, source: &Name, bytes: &[u8]) -> Result<IntelImportFacts> {
        let act = Act::IntelImport;
        let subject = Subject::vault().with("source", source).with("sha256", sha256(bytes));
        let permit = self.permit(caller, act, Action::ImportIntel, Resource::Vault, &subject)?;
        let list = List::parse(bytes).map_err(Error::from).or_else(|e| self.refuse(caller, act, &subject, e))?;
        if list.is_empty() {
            let empty = Error::new(ErrorId::InvalidArgument, "the list names nothing")
                .hint("vault intel rm SOURCE takes a list out of force");
            return self.refuse(caller, act, &subject, empty);
        }
        let turn = self.setting_intel.lock().unwrap_or_else(PoisonError::into_inner);
        if self.deny_lists().entries_beside(source.as_str()) + list.len() > MAX_ENTRIES {
            let text = format!("all lists together would have more than {MAX_ENTRIES} entries");
            let full = Error::new(ErrorId::InvalidArgument, text).hint("vault intel rm SOURCE drops a list");
            return self.refuse(caller, act, &subject, full);
        }
        let (entries, passed_over) = (list.len() as u64, list.passed_over);
        let subject = subject.with("entries", entries);
        let request =
            Request { caller, act, subject, permit: &permit, arguments: &[source.as_str().as_bytes(), bytes] };
        let put = NewIntel { source: source.clone(), entries, passed_over, bytes: list.to_bytes() };
        let list = Arc::new(list);
        let carry_out = || {
            self.catalogue.put_intel(put, self.entry(&request, Vec::new()))?;
            Ok(())
        };
        self.once(&request, |_| Ok(()), carry_out)?;
        self.enforce_lists()?;
        drop(turn);
        let mut only = Lists::default();
        only.put(source.as_str(), list);
        let (hits, matched, unread) = self.look_for(caller, &only)?;
        Ok(IntelImportFacts { source: source.to_string(), entries, passed_over, matched, unread, hits })
    }

    /// The lists in force.
    pub fn intel_lists(&self, caller: &Caller) -> Result<Vec<IntelFacts>> {
        let (act, subject) = (Act::IntelList, Subject::vault());
        let permit = self.permit(caller, act, Action::ReadSettings, Resource::Vault, &subject)?;
        self.record(caller, act, &subject, &permit)?;
        let lists = self.deny_lists();
        let fact = |list: crate::catalogue::IntelRecord| {
            let named = lists.of(list.source.as_str());
            let count = |kind| named.map_or(0, |named| named.of_kind(kind).count() as u64);
            let keys = named.into_iter().flat_map(|named| named.of_kind(Kind::Key)).take(KEYS_TOLD);
            IntelFacts {
                source: list.source.to_string(),
                entries: list.entries,
                passed_over: list.passed_over,
                files: count(Kind::Sha256) + count(Kind::Blake3),
                roots: count(Kind::Root),
                keys: keys.map(|digest| KeyId(*digest)).collect(),
                key_count: count(Kind::Key),
                imported: list.created,
            }
        };
        Ok(self.catalogue.intel_lists()?.into_iter().map(fact).collect())
    }

    /// Takes a list out of force.
    pub fn remove_intel(&self, caller: &Caller, source: &Name) -> Result<()> {
        let (act, subject) = (Act::IntelRemove, Subject::vault().with("source", source));
        let permit = self.permit(caller, act, Action::ImportIntel, Resource::Vault, &subject)?;
        let _turn = self.setting_intel.lock().unwrap_or_else(PoisonError::into_inner);
        let request = Request { caller, act, subject, permit: &permit, arguments: &[source.as_str().as_bytes()] };
        let carry_out = || {
            self.catalogue.remove_intel(source, self.entry(&request, Vec::new()))?;
            Ok(())
        };
        self.once(&request, |_| Ok(()), carry_out)?;
        self.enforce_lists()
    }

    /// Refuses a version that a list names, on record. Callers elsewhere are told that one does, and not which or what.
    pub(super) fn must_not_be_named(
        &self,
        caller: &Caller,
        act: Act,
        subject: &Subject,
        record: &VersionRecord,
        reader: &Reader,
    ) -> Result<()> {
        let lists = self.deny_lists();
        if lists.is_empty() {
            return Ok(());
        }
        match self.named_by(&lists, record, reader)? {
            Some(hit) => self.refuse_named(caller, act, subject, &hit),
            None => Ok(()),
        }
    }

    /// The same for what is about to be published.
    pub(super) fn must_not_be_sealed(
        &self,
        caller: &Caller,
        act: Act,
        subject: &Subject,
        manifest: &Manifest,
        root: [u8; 32],
        signers: impl IntoIterator<Item = KeyId>,
    ) -> Result<()> {
        let lists = self.deny_lists();
        if lists.is_empty() {
            return Ok(());
        }
        match lists.find(indicators(manifest, root, signers), self.now()) {
            Some(hit) => self.refuse_named(caller, act, subject, &hit),
            None => Ok(()),
        }
    }

    fn named_by(&self, lists: &Lists, record: &VersionRecord, reader: &Reader) -> Result<Option<Hit>> {
        // Whoever signed a dataset signed its parts.
        let around = self.catalogue.surroundings(record.facts.artifact_id, Some(record.facts.version_id), None)?;
        let attested = around.version.map(|of| of.attestations).unwrap_or_default();
        let signers =
            attested.iter().flat_map(|a| a.path.iter().copied().chain([a.keyid])).chain([record.facts.signer]);
        if let Some(hit) = lists.find(indicators(reader.manifest(), record.facts.root.0, signers), self.now()) {
            return Ok(Some(hit));
        }
        // What is named of the version that names a part is named of the part.
        let Some(head) = self.catalogue.head_of(record)? else { return Ok(None) };
        let artifact = self.catalogue.artifact(head.facts.artifact_id)?;
        let beside = self.reader_of(&artifact, &head)?;
        Ok(lists.find(indicators(beside.manifest(), head.facts.root.0, [head.facts.signer]), self.now()))
    }

    fn refuse_named<T>(&self, caller: &Caller, act: Act, subject: &Subject, hit: &Hit) -> Result<T> {
        self.record_hit(caller, subject, hit)?;
        self.refuse(caller, act, subject, deny_listed(hit))
    }

    /// Whether no list names a version: what [`Self::must_not_be_named`] would say, without a row.
    pub(super) fn not_named(&self, artifact: &ArtifactRecord, record: &VersionRecord) -> Result<()> {
        let lists = self.deny_lists();
        if lists.is_empty() {
            return Ok(());
        }
        let hit = self.named_by(&lists, record, &self.reader_of(artifact, record)?)?;
        hit.map_or(Ok(()), |hit| Err(deny_listed(&hit)))
    }

    fn record_hit(&self, caller: &Caller, subject: &Subject, hit: &Hit) -> Result<()> {
        self.metrics().deny_hit();
        tracing::warn!(source = %hit.source, indicator = %hit.indicator, on = subject.named_as(), "a known bad file or key");
        let subject = subject.clone().with("source", &hit.source).with("indicator", hit.indicator);
        self.note(caller, Act::IntelHit, &subject)
    }

    /// All versions whose digests or signers these lists name: the first ones, how many there are, and how many versions could
    /// not be read. Every one is on record.
    fn look_for(&self, caller: &Caller, lists: &Lists) -> Result<(Vec<IntelHitFacts>, u64, u64)> {
        let (mut hits, mut matched, mut unread, mut after) = (Vec::new(), 0, 0, None);
        loop {
            let page = self.catalogue.live_versions(after, MAX_PAGE)?;
            for record in page.rows {
                let Ok((namespace, artifact, reader)) = self.stored(&record) else {
                    unread += 1;
                    continue;
                };
                if let Some(hit) = self.named_by(lists, &record, &reader)? {
                    let subject = Subject::version(&namespace, &artifact, &record);
                    self.record_hit(caller, &subject, &hit)?;
                    matched += 1;
                    if hits.len() < HITS_TOLD {
                        let reference = subject.named_as().unwrap_or_default();
                        hits.push(IntelHitFacts { reference, indicator: hit.indicator.to_string() });
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok((hits, matched, unread));
            }
        }
    }

    fn stored(&self, record: &VersionRecord) -> Result<(Name, ArtifactRecord, Reader)> {
        let artifact = self.catalogue.artifact(record.facts.artifact_id)?;
        let reader = self.reader_of(&artifact, record)?;
        let keyring = self.keyring();
        let namespace = keyring.namespace(record.namespace_id)?.name().clone();
        Ok((namespace, artifact, reader))
    }

    /// Whether any list is in force: opening a file to look at what is in it costs something.
    pub(super) fn has_intel(&self) -> bool {
        !self.deny_lists().is_empty()
    }

    fn deny_lists(&self) -> Arc<Lists> {
        Arc::clone(&self.intel.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the catalogue holds is in force: a request that came again changes nothing.
    fn enforce_lists(&self) -> Result<()> {
        let lists = in_force(&*self.catalogue)?;
        *self.intel.write().unwrap_or_else(PoisonError::into_inner) = lists;
        self.cut();
        Ok(())
    }
}

fn deny_listed(hit: &Hit) -> Error {
    let text = format!("the list from {} names {}", hit.source, hit.indicator);
    Error::new(ErrorId::DenyListed, text)
        .hint("do not use it; if the list is wrong: vault intel rm SOURCE")
        .detail("source", &hit.source)
        .detail("indicator", hit.indicator)
}

fn indicators<'a>(
    manifest: &'a Manifest,
    root: [u8; 32],
    signers: impl IntoIterator<Item = KeyId> + 'a,
) -> impl Iterator<Item = Indicator> + 'a {
    let members = manifest.members.iter().flat_map(|member| {
        let sha256 = member.sha256.map(|d| Indicator { kind: Kind::Sha256, digest: d.0 });
        [Some(Indicator { kind: Kind::Blake3, digest: member.blake3.0 }), sha256].into_iter().flatten()
    });
    let signers = signers.into_iter().map(|key| Indicator { kind: Kind::Key, digest: key.0 });
    members.chain(signers).chain([Indicator { kind: Kind::Root, digest: root }])
}
