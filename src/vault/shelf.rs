//! Names: what there is, what is in it, where tags point, what is unlisted.

use super::gate::{Asked, Permit, Subject};
use super::once::Request;
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::{
    ArtifactCursor, ArtifactFilter, ArtifactRecord, ArtifactSummary, Entry, ListingScope, Located, Pattern, TagMove,
    TagRecord, VersionRecord, Visibility,
};
use crate::error::{Error, ErrorId, Result};
use crate::facts::{
    ArtifactFacts, MemberFacts, SealedFacts, SlotFacts, TagFacts, TagMoveFacts, VerifyFacts, VersionFacts,
};
use crate::names::{Name, NamespaceId, Reference, Tag, VersionId};
use crate::policy::{Action, Resource};
use crate::seal::{Reader, Slot, SlotBody, default_threads};

/// Artifacts one listing looks at before it asks for a narrower pattern.
const LONGEST_SCAN: usize = 50_000;

/// A page of a listing.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// Artifacts by name, or versions, newest first.
    pub rows: Vec<T>,
    /// Where the next page starts; empty: there is none.
    pub next: Vec<u8>,
}

impl Vault {
    /// Artifacts with a version to show whose NAMESPACE/NAME fits the pattern (`*`, `?`; empty: all) and that the caller may
    /// list, or at least stat.
    pub fn list(
        &self,
        caller: &Caller,
        pattern: &str,
        include_unlisted: bool,
        page: &[u8],
        limit: u32,
    ) -> Result<Page<ArtifactFacts>> {
        let act = Act::ArtifactList;
        let subject = Subject::vault().with("pattern", pattern);
        self.admitted(caller, act, &subject)?;
        let pattern: Pattern = if pattern.is_empty() { Pattern::all() } else { pattern.parse()? };
        let visibility = if include_unlisted { Visibility::All } else { Visibility::Listed };
        let mut after = read_cursor(page)?;
        let limit = if limit == 0 { 100 } else { limit.min(1000) } as usize;
        let filter = ArtifactFilter { pattern, visibility };
        let (mut rows, mut shown, mut scanned): (Vec<ArtifactFacts>, _, _) = (Vec::new(), None, 0);
        // A decision for each namespace, and only where that is no for each artifact.
        let mut asked: Option<(Name, Option<Permit>)> = None;
        // The next page starts after the last row that was shown: a cursor must not name what the caller may not see.
        let next = 'pages: loop {
            let found = self.catalogue.list(&filter, after.as_ref(), limit)?;
            scanned += found.rows.len();
            for summary in found.rows {
                if rows.len() == limit {
                    break 'pages rows.last().map_or_else(Vec::new, write_cursor);
                }
                if asked.as_ref().is_none_or(|(namespace, _)| *namespace != summary.namespace) {
                    asked = Some((summary.namespace.clone(), self.lists(caller, &summary.namespace)?));
                }
                let listed = asked.as_ref().and_then(|(_, permit)| permit.clone());
                if let Some(permit) = self.sees(caller, listed, &summary.namespace, &summary.artifact)? {
                    rows.push(artifact_facts(summary));
                    shown.get_or_insert(permit);
                }
            }
            after = found.next;
            if after.is_none() {
                break Vec::new();
            }
            if scanned > LONGEST_SCAN {
                let text = format!("more than {LONGEST_SCAN} artifacts were looked at");
                return Err(Error::new(ErrorId::Overloaded, text).hint("narrow the listing by a pattern"));
            }
        };
        let subject = subject.with("shown", rows.len());
        let permit = match shown {
            Some(permit) => permit,
            None => self.decide(caller, Action::List, Resource::Namespace(&Reference::DEFAULT_NAMESPACE.parse()?))?,
        };
        self.record_either(caller, act, &subject, &permit)?;
        Ok(Page { rows, next })
    }

    /// The versions of one artifact, newest first; with `include_unlisted` also those that were removed or shredded.
    pub fn versions(
        &self,
        caller: &Caller,
        (namespace, name): (&Name, &Name),
        include_unlisted: bool,
        page: &[u8],
        limit: u32,
    ) -> Result<Page<VersionFacts>> {
        let act = Act::ArtifactList;
        let subject = Subject::named(namespace, name);
        self.admitted(caller, act, &subject)?;
        let reference = Reference::latest(namespace.clone(), name.clone());
        let unseen = || {
            let absent = Error::new(ErrorId::NotFound, format!("there is no artifact {namespace}/{name}"));
            self.veil(caller, absent.hint("vault ls shows them all"), &reference)
        };
        let artifact = self.catalogue.artifact_named(namespace, name).map_err(|e| match Error::from(e) {
            e if e.id() == ErrorId::NotFound => unseen(),
            e => e,
        });
        let artifact = artifact.or_else(|e| self.refuse(caller, act, &subject, e))?;
        let subject = Subject::artifact(namespace, &artifact);
        let listed = self.lists(caller, namespace)?;
        let Some(permit) = self.sees(caller, listed, namespace, &artifact)? else {
            return self.refuse(caller, act, &subject, unseen());
        };
        let visibility = if include_unlisted { Visibility::All } else { Visibility::Listed };
        let limit = if limit == 0 { 100 } else { limit.min(1000) } as usize;
        let found = self.catalogue.versions_of(artifact.id, visibility, read_number(page)?, limit)?;
        let tags = self.catalogue.tags_of(artifact.id)?;
        let rows: Vec<_> = found.rows.iter().map(|v| version_facts(namespace, &artifact.name, v, &tags)).collect();
        self.record(caller, act, &subject.with("shown", rows.len()), &permit)?;
        // A number of a version that was shown.
        Ok(Page { rows, next: found.next.map_or_else(Vec::new, |n| n.to_be_bytes().to_vec()) })
    }

    /// The permit to list a namespace, if the caller has it.
    fn lists(&self, caller: &Caller, namespace: &Name) -> Result<Option<Permit>> {
        let permit = self.decide(caller, Action::List, Resource::Namespace(namespace))?;
        Ok(permit.allows().then_some(permit))
    }

    /// The permit to know of an artifact: that to list its namespace, or the artifact's own.
    fn sees(
        &self,
        caller: &Caller,
        listed: Option<Permit>,
        namespace: &Name,
        artifact: &ArtifactRecord,
    ) -> Result<Option<Permit>> {
        if listed.is_some() {
            return Ok(listed);
        }
        let seen = self.decide(caller, Action::Stat, super::opening::resource(namespace, artifact))?;
        Ok(seen.allows().then_some(seen))
    }

    /// Facts of one version.
    pub fn version(&self, caller: &Caller, reference: &Reference) -> Result<VersionFacts> {
        let (artifact, record) = self.reach(caller, Act::ArtifactInspect, Action::Stat, reference)?;
        self.version_facts(&reference.namespace, &artifact, &record)
    }

    /// Facts of one version and of the sealed file behind it, members included.
    pub fn inspect(&self, caller: &Caller, reference: &Reference) -> Result<SealedFacts> {
        let (artifact, record) = self.reach(caller, Act::ArtifactInspect, Action::Stat, reference)?;
        let tags = self.catalogue.tags_of(artifact.id)?;
        let version = version_facts(&reference.namespace, &artifact.name, &record, &tags);
        let tags = tags.into_iter().filter(|t| t.version_id == record.facts.version_id).map(tag_facts).collect();
        let marks = Some(artifact.marks.clone());
        Ok(SealedFacts { tags, marks, ..sealed_facts(&self.reader_of(&artifact, &record)?, Some(version)) })
    }

    /// Reads every byte of a version, and of the parts that it names, and checks everything there is to check.
    pub fn verify(&self, caller: &Caller, reference: &Reference) -> Result<VerifyFacts> {
        self.verify_with(caller, reference, &|_, _| {})
    }

    /// The same; `progress` hears how many bytes of plaintext were checked since it was last called, and how many there are.
    pub fn verify_with(
        &self,
        caller: &Caller,
        reference: &Reference,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<VerifyFacts> {
        let (artifact, record) = self.reach(caller, Act::ArtifactVerify, Action::Verify, reference)?;
        let subject = Subject::version(&reference.namespace, &artifact, &record).with("outcome", "verified");
        let act = Act::ArtifactVerify;
        let reader = self.reader_of(&artifact, &record).or_else(|e| self.refuse(caller, act, &subject, e))?;
        let parts = self.catalogue.parts_of(artifact.id, record.facts.number)?;
        let total = reader.payload_len() + parts.iter().map(|part| part.facts.payload_len).sum::<u64>();
        let checked = |bytes| progress(bytes, total);
        let whole = |reader: &Reader| Ok(reader.verify_full_with(default_threads(), &checked)?);
        let part = |part| whole(&self.reader_of(&artifact, part)?);
        let verified = whole(&reader).and_then(|()| self.must_have_parts(&reader, &parts));
        let verified = verified.and_then(|()| parts.iter().try_for_each(part));
        verified.or_else(|e| self.refuse(caller, act, &subject, e))?;
        self.note(caller, act, &subject)?;
        Ok(VerifyFacts {
            version: Some(self.version_facts(&reference.namespace, &artifact, &record)?),
            root: reader.root(),
            payload_size: total,
            signers: vec![record.facts.signer],
            plaintext: true,
        })
    }

    /// Moves a tag to the version a reference means. `expect`: the version it must be at now; 0: it must not exist.
    pub fn set_tag(
        &self,
        caller: &Caller,
        reference: &Reference,
        tag: &Tag,
        expect: Option<u64>,
    ) -> Result<TagMoveFacts> {
        let act = Act::ArtifactTag;
        let Located { artifact, version: record, .. } = self.find(caller, act, reference)?;
        let subject = Subject::version(&reference.namespace, &artifact, &record).with("tag", tag);
        let resource = super::opening::version_resource(&reference.namespace, &artifact, &record);
        let permit = self.permit_asked(
            caller,
            act,
            Action::Tag,
            resource,
            &subject,
            Asked { tag: Some(tag), ..Asked::default() },
        );
        let permit = permit.map_err(|e| self.veil(caller, e, reference))?;
        let (asked, text) = (reference.to_string(), format!("{tag} {expect:?}"));
        let arguments = [asked.as_bytes(), text.as_bytes()];
        let request = Request { caller, act, subject, permit: &permit, arguments: &arguments };
        let to = record.facts.version_id;
        let moved = self.once(
            &request,
            |earlier| Moved::read(&earlier.once.answer),
            || {
                let entry = self.entry_of_move(&request, move |m| Moved::of(m, to).write());
                let (m, _) = self.catalogue.set_tag(artifact.id, tag.clone(), record.facts.number, expect, entry)?;
                Ok(Moved::of(&m, to))
            },
        )?;
        let record = self.catalogue.version(moved.to)?;
        let version = self.version_facts(&reference.namespace, &artifact, &record)?;
        Ok(TagMoveFacts { version, tag: tag.clone(), from: moved.from, sequence: moved.sequence })
    }

    /// Unlists a version, or the artifact with all of them; recoverable. Says how many versions became invisible.
    pub fn remove(&self, caller: &Caller, reference: &Reference, whole: bool) -> Result<u64> {
        self.relist_or_unlist(caller, reference, whole, false)
    }

    /// Takes a removal back. Says how many versions became visible.
    pub fn restore(&self, caller: &Caller, reference: &Reference, whole: bool) -> Result<u64> {
        self.relist_or_unlist(caller, reference, whole, true)
    }

    fn relist_or_unlist(&self, caller: &Caller, reference: &Reference, whole: bool, restore: bool) -> Result<u64> {
        let act = if restore { Act::ArtifactRestore } else { Act::ArtifactRm };
        let subject = Subject::named(&reference.namespace, &reference.name);
        self.admitted(caller, act, &subject)?;
        let mut gone = false;
        let found = if whole {
            let artifact = self.catalogue.artifact_named(&reference.namespace, &reference.name);
            artifact.map(|a| (ListingScope::Artifact(a.id), a)).map_err(|e| match Error::from(e) {
                e if e.id() == ErrorId::NotFound => {
                    Error::new(ErrorId::NotFound, format!("there is no {}/{}", reference.namespace, reference.name))
                }
                e => e,
            })
        } else {
            // Also one that is removed already: by this very request, perhaps.
            self.lookup(reference, Visibility::All).map(|Located { artifact, version, .. }| {
                gone = !restore && version.unlisted.is_some();
                (ListingScope::Version(version.facts.version_id), artifact)
            })
        };
        let (scope, artifact) = match found {
            Ok(found) => found,
            Err(e) => {
                let veiled = self.veil(caller, e, reference);
                return self.refuse(caller, act, &subject, veiled);
            }
        };
        let subject = if whole { subject } else { subject.with("revision", &reference.revision) };
        let resource = super::opening::resource(&reference.namespace, &artifact);
        let permit =
            self.permit(caller, act, Action::Rm, resource, &subject).map_err(|e| self.veil(caller, e, reference))?;
        let asked = if whole { "all".into() } else { reference.revision.to_string() };
        let arguments = [reference.namespace.as_str().as_bytes(), reference.name.as_str().as_bytes(), asked.as_bytes()];
        let request = Request { caller, act, subject, permit: &permit, arguments: &arguments };
        let carry_out = || {
            if gone {
                let absent = Error::new(ErrorId::NotFound, format!("there is no {reference}"));
                return self.refuse(caller, act, &request.subject, absent);
            }
            let entry = self.entry(&request, Vec::new());
            let (changed, _) = match restore {
                true => self.catalogue.relist(scope, entry)?,
                false => self.catalogue.unlist(scope, entry)?,
            };
            Ok(changed)
        };
        self.once(&request, |earlier| Ok(earlier.number), carry_out)
    }

    /// Finds a version, asks the policy and records the decision.
    pub(super) fn reach(
        &self,
        caller: &Caller,
        act: Act,
        action: Action,
        reference: &Reference,
    ) -> Result<(ArtifactRecord, VersionRecord)> {
        let Located { artifact, version: record, .. } = self.find(caller, act, reference)?;
        let subject = Subject::version(&reference.namespace, &artifact, &record);
        let resource = super::opening::version_resource(&reference.namespace, &artifact, &record);
        let permit =
            self.permit(caller, act, action, resource, &subject).map_err(|e| self.veil(caller, e, reference))?;
        self.not_quarantined(action, resource).or_else(|e| self.refuse(caller, act, &subject, e))?;
        self.record(caller, act, &subject, &permit)?;
        Ok((artifact, record))
    }

    pub(super) fn version_facts(
        &self,
        namespace: &Name,
        artifact: &ArtifactRecord,
        record: &VersionRecord,
    ) -> Result<VersionFacts> {
        let tags = self.catalogue.tags_of(artifact.id)?;
        Ok(version_facts(namespace, &artifact.name, record, &tags))
    }

    /// The namespace, made with its keys if it is new: keys first, so that no namespace is ever without them.
    pub(super) fn ensure_namespace(&self, caller: &Caller, name: &Name) -> Result<NamespaceId> {
        match self.catalogue.namespace(name) {
            Ok(found) => return Ok(found.id),
            Err(e) => match Error::from(e) {
                e if e.id() == ErrorId::NotFound => {}
                e => return Err(e),
            },
        }
        let subject = Subject::namespace(name);
        let permit = self.permit(caller, Act::NamespaceAdd, Action::Seal, Resource::Namespace(name), &subject)?;
        let mut keyring = self.keyring.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Looked at again under the lock: another call may have come first, or an earlier one may have died half-way.
        if let Ok(found) = self.catalogue.namespace(name) {
            return Ok(found.id);
        }
        let id = match keyring.namespace_named(name) {
            Some((id, _)) => id,
            None => {
                // A copy is changed, saved, then put in place: no key is used before it is durable.
                let id = NamespaceId::generate(self.now(), self.random())?;
                let mut next = keyring.clone();
                next.add_namespace(id, name.clone(), self.random())?;
                next.save(&self.home.keyring_path(), &self.root, self.random())?;
                *keyring = next;
                id
            }
        };
        let record = crate::catalogue::NamespaceRecord { id, name: name.clone(), created: self.now() };
        let leaf = self.leaf(caller, Act::NamespaceAdd, &subject, &permit);
        self.catalogue.create_namespace(record, Entry { leaf, once: None, approval: permit.approval() })?;
        Ok(id)
    }
}

fn artifact_facts(summary: ArtifactSummary) -> ArtifactFacts {
    let ArtifactSummary { namespace, artifact, versions, newest, tags } = summary;
    ArtifactFacts {
        versions,
        newest: version_facts(&namespace, &artifact.name, &newest, &tags),
        tags: tags.into_iter().map(tag_facts).collect(),
        namespace,
        name: artifact.name,
        kind: artifact.kind,
        marks: artifact.marks,
    }
}

fn tag_facts(tag: TagRecord) -> TagFacts {
    TagFacts { tag: tag.tag, version: tag.number, sequence: tag.moves }
}

/// What is remembered of a move, for the same request again.
struct Moved {
    to: VersionId,
    from: Option<u64>,
    sequence: u64,
}

impl Moved {
    fn of(m: &TagMove, to: VersionId) -> Self {
        Self { to, from: m.from, sequence: m.sequence }
    }

    /// Version id, version it came from (0: none), sequence.
    fn write(&self) -> Vec<u8> {
        [&self.to.0[..], &self.from.unwrap_or(0).to_be_bytes(), &self.sequence.to_be_bytes()].concat()
    }

    fn read(answer: &[u8]) -> Result<Self> {
        let lost = || Error::new(ErrorId::CatalogueDamaged, "what is remembered of this request cannot be read");
        let (to, rest) = answer.split_first_chunk::<16>().ok_or_else(lost)?;
        let (from, sequence) = rest.split_first_chunk::<8>().ok_or_else(lost)?;
        let from = Some(u64::from_be_bytes(*from)).filter(|n| *n > 0);
        let sequence = u64::from_be_bytes(sequence.try_into().map_err(|_| lost())?);
        Ok(Self { to: VersionId(*to), from, sequence })
    }
}

/// `tags`: those of the artifact.
pub(super) fn version_facts(namespace: &Name, name: &Name, record: &VersionRecord, tags: &[TagRecord]) -> VersionFacts {
    let facts = &record.facts;
    VersionFacts {
        namespace: namespace.clone(),
        name: name.clone(),
        version: facts.number,
        artifact_id: facts.artifact_id,
        root: facts.root,
        file_id: facts.file_id,
        generation: facts.generation,
        kind: record.kind,
        size: facts.content_len,
        payload_size: facts.payload_len,
        member_count: facts.member_count,
        created: facts.created,
        signer: facts.signer,
        sealed_by: facts.sealed_by.clone(),
        tags: tags.iter().filter(|t| t.version_id == facts.version_id).map(|t| t.tag.clone()).collect(),
        unlisted: record.unlisted.is_some(),
        shredded: record.shredded.is_some() || record.shred_begun.is_some(),
        part_of: record.part_of,
    }
}

/// Facts of an open sealed file.
pub fn sealed_facts(reader: &Reader, version: Option<VersionFacts>) -> SealedFacts {
    let preamble = reader.preamble();
    let members = reader.manifest().members.iter();
    SealedFacts {
        version,
        tags: Vec::new(),
        marks: None,
        format: "MVLT 1".into(),
        file_id: preamble.file_id,
        commitment: preamble.commitment,
        root: Some(reader.root()),
        segment_size: 1 << preamble.log2,
        header_len: preamble.header_len.into(),
        generation: reader.generation(),
        payload_size: reader.payload_len(),
        slots: slot_facts(reader.slots()),
        claimed_signers: reader.claimed_signers(),
        members: Some(
            members
                .map(|m| MemberFacts { path: m.path.clone(), size: m.size, blake3: m.blake3, sha256: m.sha256 })
                .collect(),
        ),
    }
}

/// What each slot names.
pub fn slot_facts(slots: &[Slot]) -> Vec<SlotFacts> {
    let facts = slots.iter().map(|slot| {
        let (kind, detail) = match &slot.body {
            SlotBody::Passphrase { costs, .. } => {
                ("passphrase", format!("Argon2id {} KiB, {} passes, {} lanes", costs.m_kib, costs.t, costs.p))
            }
            SlotBody::Hybrid { key_id, .. } => ("recipient", hex::encode(key_id)),
            SlotBody::Kek { id, version, .. } => ("vault-key", format!("{id} v{version}")),
            SlotBody::External { uri, .. } => ("external", String::from_utf8_lossy(uri).into_owned()),
            _ => ("unknown", format!("type {}", slot.slot_type)),
        };
        SlotFacts { kind: kind.into(), slot_id: hex::encode(slot.id), detail }
    });
    facts.collect()
}

fn write_cursor(last: &ArtifactFacts) -> Vec<u8> {
    format!("{}/{}", last.namespace, last.name).into_bytes()
}

fn read_cursor(page: &[u8]) -> Result<Option<ArtifactCursor>> {
    if page.is_empty() {
        return Ok(None);
    }
    let bad = || Error::new(ErrorId::InvalidArgument, "not a page token of this listing");
    let (namespace, name) = std::str::from_utf8(page).ok().and_then(|t| t.split_once('/')).ok_or_else(bad)?;
    Ok(Some((namespace.parse()?, name.parse()?)))
}

fn read_number(page: &[u8]) -> Result<Option<u64>> {
    if page.is_empty() {
        return Ok(None);
    }
    let number = page.try_into().map(u64::from_be_bytes);
    number.map(Some).map_err(|_| Error::new(ErrorId::InvalidArgument, "not a page token of this listing"))
}
