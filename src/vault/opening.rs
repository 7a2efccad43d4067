//! Plaintext out: an artifact that was opened under a [`Grant`], and the two rows that frame it in the audit log.

use std::sync::Arc;

use super::counting::Meter;
use super::gate::{Asked, Permit, Subject};
use super::lease::Lease;
use super::{Caller, Standing, Vault};
use crate::audit::Act;
use crate::catalogue::{ArtifactRecord, Located, TagRecord, VersionRecord, Visibility};
use crate::crypto::dsse::Envelope;
use crate::crypto::outboard::{Groups, NODE_LEN, new_nodes};
use crate::crypto::sign::PublicKey;
use crate::error::{Error, ErrorId, Result};
use crate::facts::VersionFacts;
use crate::json::Value;
use crate::manifest::{ArtifactStatement, TAG_VALIDITY, TagStatement};
use crate::names::{PrincipalKind, Reference, Timestamp};
use crate::policy::{Action, Grant, Resource};
use crate::seal::io::StoreForm;
use crate::seal::{Credential, HashCheck, OpenOptions, Pins, Reader};
use crate::store::BlobId;

/// An artifact that was opened under a grant. Dropping it without [`finish`](Self::finish) records it as abandoned.
pub struct OpenArtifact {
    lease: Arc<Lease>,
    version: VersionFacts,
    statement: Vec<u8>,
    members: Vec<OpenMember>,
    placed: Vec<Placed>,
    reader: Reader,
    /// The tag it was asked for by, as it was when the version was looked up.
    tag: Option<TagRecord>,
    ended: bool,
}

/// One member of an open artifact, in the order of the statement's subjects.
#[derive(Clone, Debug)]
pub struct OpenMember {
    /// Path within the artifact.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// Where a member lies in the payload and in the outboard.
struct Placed {
    offset: u64,
    outboard: u64,
}

impl Vault {
    /// Opens a version for reading. The start row is durable when this returns.
    ///
    /// # Errors
    /// `NotFound` alike for what does not exist and for what a workload may not know of; `Denied`; the errors of
    /// [`Reader::open`] when the stored file is not the one the catalogue pins.
    pub fn open(self: &Arc<Self>, caller: &Caller, reference: &Reference) -> Result<OpenArtifact> {
        let act = Act::ArtifactFetchStart;
        let generation = self.cuts.generation();
        let Located { artifact, version: record, tag } = self.find(caller, act, reference)?;
        let (subject, grant, caller, meter) = self.release(caller, act, reference, &artifact, &record)?;
        let reader = self.reader_of(&artifact, &record).or_else(|e| self.refuse(&caller, act, &subject, e))?;
        self.must_not_be_named(&caller, act, &subject, &record, &reader)?;
        let statement = artifact_statement(&reader).or_else(|e| self.refuse(&caller, act, &subject, e))?;
        let members = reader.manifest().members.iter();
        let placed = members
            .clone()
            .map(|m| Placed { offset: m.offset, outboard: m.outboard.as_ref().map_or(0, |o| o.start) })
            .collect();
        let members = members.map(|m| OpenMember { path: m.path.clone(), size: m.size }).collect();
        let version = self.version_facts(&reference.namespace, &artifact, &record)?;
        let of = (artifact, record);
        let lease =
            Arc::new(Lease::new(self.clone(), caller, version.namespace.clone(), of, (grant, generation), meter));
        let spender = Arc::clone(&lease);
        let reader = reader.gated(Box::new(move |bytes| spender.spend(bytes)));
        Ok(OpenArtifact { lease, version, statement, members, placed, reader, tag, ended: false })
    }

    /// Policy, then quotas, then the durable row with what is used, then the grant.
    fn release(
        self: &Arc<Self>,
        caller: &Caller,
        act: Act,
        reference: &Reference,
        artifact: &ArtifactRecord,
        record: &VersionRecord,
    ) -> Result<(Subject, Grant, Caller, Meter)> {
        let subject = Subject::version(&reference.namespace, artifact, record);
        let resource = version_resource(&reference.namespace, artifact, record);
        let decided = self.permit_decided(caller, act, Action::Open, resource, &subject, Asked::default());
        let (permit, decided) = decided.map_err(|e| self.veil(caller, e, reference))?;
        self.not_quarantined(Action::Open, resource).or_else(|e| self.refuse(caller, act, &subject, e))?;
        let of = (&reference.namespace, artifact);
        let dataset = decided.request().context.dataset.as_ref().map(|d| format!("{} v{}", d.name, d.version));
        let grant = decided.grant(record.facts.version_id, self.lease_of(caller, of)?)?;
        let caller = self.underway(caller, &permit);
        let (meter, due) = self.begin_count(&caller, &subject, of, self.content_with_parts(record)?)?;
        let size = record.facts.content_len;
        let mut started = subject.clone().with("lease_ends", grant.expires_at()).with("size", size);
        if let Some(dataset) = dataset {
            started = started.with("dataset", dataset);
        }
        self.record_use(&caller, act, &started, &permit, due)?;
        Ok((subject, grant, caller, meter))
    }

    /// A further grant, and the permit it stands for.
    pub(super) fn renew_lease(
        &self,
        caller: &Caller,
        namespace: &crate::names::Name,
        artifact: &ArtifactRecord,
        record: &VersionRecord,
    ) -> Result<(Grant, Permit)> {
        let (version, policies) = self.policy_in_force();
        let decided =
            policies.decide_on(self.request(caller, Action::Open, version_resource(namespace, artifact, record))?);
        // Whoever reads while a version is shredded holds its key in memory: that ends here.
        if self.catalogue.version(record.facts.version_id)?.shred_begun.is_some() {
            let text = format!("{namespace}/{}@v{}: its key was destroyed", artifact.name, record.facts.number);
            return Err(Error::new(ErrorId::Shredded, text));
        }
        let grant = decided.grant(record.facts.version_id, self.lease_of(caller, (namespace, artifact))?)?;
        let permit = Permit::of(&grant, version);
        Ok((grant, permit))
    }

    /// The version a caller means. What a workload may not stat does not exist for it.
    pub(super) fn find(&self, caller: &Caller, act: Act, reference: &Reference) -> Result<Located> {
        let subject = Subject::named(&reference.namespace, &reference.name).with("revision", &reference.revision);
        self.admit(caller).or_else(|e| self.refuse(caller, act, &subject, e))?;
        self.count_request(caller, &subject)?;
        let found = self.lookup(reference, Visibility::Listed);
        found.or_else(|e| {
            let veiled = self.veil(caller, e, reference);
            self.refuse(caller, act, &subject, veiled)
        })
    }

    pub(super) fn lookup(&self, reference: &Reference, seen: Visibility) -> Result<Located> {
        let Reference { namespace, name, revision, .. } = reference;
        self.catalogue.locate(namespace, name, revision, seen).map_err(|e| missing(e.into(), reference))
    }

    /// Hides from workloads the difference between what is not there and what they may not see.
    pub(super) fn veil(&self, caller: &Caller, error: Error, reference: &Reference) -> Error {
        let telling = matches!(error.id(), ErrorId::NotFound | ErrorId::Denied | ErrorId::Shredded);
        if caller.principal.kind == PrincipalKind::Operator || !telling {
            return error;
        }
        Error::new(ErrorId::NotFound, format!("there is no {reference} that {} may see", caller.principal)).hint(
            format!(
                "ask an operator: vault grant {} {}/{}",
                caller.principal.subject, reference.namespace, reference.name
            ),
        )
    }

    /// Opens the stored file of a version, pinned to what the catalogue says of it.
    pub(super) fn reader_of(&self, artifact: &ArtifactRecord, record: &VersionRecord) -> Result<Reader> {
        self.assemble_reader(artifact, record).map_err(|e| match e.id() {
            // A version without its key, header or body is damage, not a name nobody knows.
            ErrorId::NotFound => {
                let text = format!("a part of {}@v{} is missing: {e}", artifact.name, record.facts.number);
                Error::new(ErrorId::CatalogueDamaged, text)
            }
            _ => e,
        })
    }

    fn assemble_reader(&self, artifact: &ArtifactRecord, record: &VersionRecord) -> Result<Reader> {
        let facts = &record.facts;
        let row = self.catalogue.artifact_key(facts.artifact_key)?;
        let key = self.open_artifact_key(&row)?;
        let header = self.stored_header(record)?;
        let body = self.store.open(BlobId::Body(facts.version_id))?;
        let pins = Pins {
            file_id: Some(facts.file_id),
            commitment: Some(facts.commitment),
            context: Some(super::sealing::context_hash(record.namespace_id, artifact.id, facts.version_id)),
            root: Some(facts.root),
            min_generation: Some(facts.generation),
        };
        let credential = Credential::Kek { id: facts.artifact_key.id, version: facts.artifact_key.version, key };
        let options = OpenOptions { pins, ..OpenOptions::default() };
        Ok(Reader::open(StoreForm::new(header, body), &credential, &options)?)
    }

    pub(super) fn stored_header(&self, record: &VersionRecord) -> Result<Vec<u8>> {
        let blob = self.store.open(BlobId::Header(record.facts.version_id, record.facts.generation))?;
        let len = blob.len()?;
        if len != record.facts.header_len {
            return Err(Error::new(
                ErrorId::BindingMismatch,
                "the stored header has another length than the catalogue pins",
            ));
        }
        let mut header = vec![0; usize::try_from(len).unwrap_or(0)];
        blob.read_exact_at(&mut header, 0)?;
        Ok(header)
    }
}

/// A piece of a member, and where it is to be put.
pub struct Wanted<'a> {
    /// Position in the statement's subjects.
    pub member: usize,
    /// Where it begins within the member.
    pub offset: u64,
    /// As many bytes as are wanted; wiped if they cannot be verified.
    pub place: &'a mut [u8],
}

impl OpenArtifact {
    /// The version that is open.
    pub fn version(&self) -> &VersionFacts {
        &self.version
    }

    /// The DSSE envelope (JSON) with the artifact statement.
    pub fn statement(&self) -> &[u8] {
        &self.statement
    }

    /// The seal statements: a JSON array of DSSE envelopes (docs/format.md 8), which prove the root.
    pub fn seal_statements(&self) -> &[u8] {
        self.reader.signatures()
    }

    /// The tag statement: a DSSE envelope (JSON), signed now by the namespace's identity. Empty if no tag was asked for.
    pub fn tag_statement(&self) -> Result<Vec<u8>> {
        let (Some(at), Lease { vault, record, .. }) = (&self.tag, &*self.lease) else { return Ok(Vec::new()) };
        let created = vault.now();
        let statement = TagStatement {
            namespace: self.version.namespace.clone(),
            name: self.version.name.clone(),
            tag: at.tag.clone(),
            version: record.facts.number,
            root: record.facts.root,
            sequence: at.moves,
            created,
            expires: created.plus(TAG_VALIDITY),
        };
        let mut json = String::new();
        statement.sign(vault.keyring().namespace(record.namespace_id)?.identity()).write_json(&mut json);
        Ok(json.into_bytes())
    }

    /// The members, in the order of the statement's subjects.
    pub fn members(&self) -> &[OpenMember] {
        &self.members
    }

    /// Size exponent of the groups that a stream proves one by one.
    pub fn group_log2(&self) -> u8 {
        self.reader.manifest().group_log2
    }

    /// When the lease ends unless it is renewed, which reading does.
    pub fn expires(&self) -> Timestamp {
        self.lease.expires()
    }

    /// Whether the read is still permitted, for whoever can end a stream that does not move.
    pub fn standing(&self) -> Standing {
        self.lease.vault.standing_of(&self.lease)
    }

    /// Plaintext bytes `offset..offset + buffer.len()` of a member, verified.
    ///
    /// `client_checks_groups`: the caller has announced that it checks every group against the signed statement, so the hash of
    /// the ciphertext is left out (docs/format.md 9.2); tags are always checked.
    ///
    /// # Errors
    /// `Denied` or `BadCredential` when the lease is not renewed, `QuotaExceeded`: the stream must end. Integrity errors, with the
    /// buffer wiped.
    pub fn read(&self, member: usize, offset: u64, buffer: &mut [u8], client_checks_groups: bool) -> Result<()> {
        self.read_all(&mut [Wanted { member, offset, place: buffer }], client_checks_groups)
    }

    /// The same for several pieces. Small members that follow one another lie in one segment, which is decrypted once.
    ///
    /// # Errors
    /// As [`read`](Self::read), of the first that cannot be read; those before it are filled then.
    pub fn read_all(&self, pieces: &mut [Wanted<'_>], client_checks_groups: bool) -> Result<()> {
        let check = if client_checks_groups { HashCheck::SkipForCheckingClient } else { HashCheck::Compare };
        let mut cursor = self.reader.cursor(check);
        for Wanted { member, offset, place } in pieces {
            let bounds = || Error::new(ErrorId::RangeInvalid, "a read outside the member");
            let (facts, placed) = self.members.get(*member).zip(self.placed.get(*member)).ok_or_else(bounds)?;
            if offset.checked_add(place.len() as u64).is_none_or(|end| end > facts.size) {
                return Err(bounds());
            }
            self.lease.count(place.len() as u64)?;
            cursor.read_at(placed.offset + *offset, place)?;
        }
        Ok(())
    }

    /// The outboard nodes for group `index` that were not sent for `previous`, top first.
    pub fn nodes(&self, member: usize, previous: Option<u64>, index: u64) -> Vec<u8> {
        let (facts, placed) = (&self.members[member], &self.placed[member]);
        let groups = Groups::new(facts.size, self.group_log2());
        let outboard = self.reader.outboard();
        let node = |at: u64| &outboard[(placed.outboard + at) as usize..][..NODE_LEN];
        new_nodes(groups, previous, index).into_iter().flat_map(|at| node(at).iter().copied()).collect()
    }

    /// The sealed file behind it. Every segment it decrypts is read under the lease, which it renews as a stream does, and from now
    /// on whole segments count.
    pub fn reader(&self) -> &Reader {
        self.lease.count_segments();
        &self.reader
    }

    /// Records how the stream ended and how many plaintext bytes left.
    pub fn finish(mut self, bytes: u64, reason: &str) -> Result<()> {
        self.end(bytes, reason)
    }

    /// Records an end that came early: how much left is not known, so all that was decrypted counts.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn fail(mut self, reason: &str) -> Result<()> {
        self.end(self.lease.total(), reason)
    }

    fn end(&mut self, bytes: u64, reason: &str) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.lease.end(bytes);
        let Lease { vault, caller, artifact, record, .. } = &*self.lease;
        let subject = Subject::version(&self.version.namespace, artifact, record);
        // With the size: a request id is the caller's choice, so the row of the start need not be this stream's.
        let subject = subject.with("bytes", bytes).with("size", record.facts.content_len).with("reason", reason);
        vault.note(caller, Act::ArtifactFetchEnd, &subject)
    }
}

impl Drop for OpenArtifact {
    fn drop(&mut self) {
        if let Err(e) = self.end(self.lease.total(), "abandoned") {
            tracing::error!(error = %e, "the end of a stream could not be recorded");
        }
    }
}

/// The artifact statement among the inner statements of a sealed file, as the bytes clients verify.
fn artifact_statement(reader: &Reader) -> Result<Vec<u8>> {
    let mut statements = reader.manifest().statements.iter().map(Value::from_serde);
    let statement = statements.find(ArtifactStatement::is_artifact_envelope);
    let envelope = statement.and_then(|s| Envelope::from_json(&s).ok());
    let envelope = envelope
        .ok_or_else(|| Error::new(ErrorId::SignatureMissing, "the sealed file carries no artifact statement"))?;
    let mut json = String::new();
    envelope.write_json(&mut json);
    Ok(json.into_bytes())
}

/// The name that a sealed file's artifact statement gives it, if this key signed that.
pub(super) fn name_in(reader: &Reader, signer: PublicKey) -> Option<crate::names::Name> {
    let mut statements = reader.manifest().statements.iter().map(Value::from_serde);
    statements.find_map(|s| ArtifactStatement::verify_value(&s, &[signer]).ok()).map(|(s, _)| s.name)
}

/// An artifact, where a call is about no version of it.
pub(super) fn resource<'a>(namespace: &'a crate::names::Name, artifact: &'a ArtifactRecord) -> Resource<'a> {
    let ArtifactRecord { id, name, kind, .. } = artifact;
    // Every version carries a signed artifact statement: publishing one without it is not possible.
    Resource::Artifact { namespace, id: *id, name, kind: *kind, signed: true, version: None }
}

/// One version of an artifact.
pub(super) fn version_resource<'a>(
    namespace: &'a crate::names::Name,
    artifact: &'a ArtifactRecord,
    record: &VersionRecord,
) -> Resource<'a> {
    let ArtifactRecord { id, name, kind, .. } = artifact;
    Resource::Artifact { namespace, id: *id, name, kind: *kind, signed: true, version: Some(record.facts.version_id) }
}

pub(super) fn missing(error: Error, reference: &Reference) -> Error {
    match error.id() {
        ErrorId::NotFound => Error::new(ErrorId::NotFound, format!("there is no {reference}")),
        ErrorId::Shredded => Error::new(ErrorId::Shredded, format!("{reference} was shredded")),
        _ => error,
    }
}
