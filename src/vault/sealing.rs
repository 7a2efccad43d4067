//! Plaintext in: a new version, or a portable file.
//!
//! Order of durability: body, header, artifact key, then one transaction that publishes version, tags and audit row. A crash
//! leaves orphans only; a failure removes what it made.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::attesting::carries_statement;
use super::attesting::parts::{SealedParts, may_be_part};
use super::gate::Subject;
use super::publishing::NewArtifact;
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::{
    ArtifactKeyRef, ArtifactKeyRow, Entry, NewAttestation, NewReservation, NewVersion, OfMoves, Reservation, TagMove,
    VersionRole,
};
use crate::crypto::dsse::Signer;
use crate::crypto::keys::{ArtifactKey, Key};
use crate::error::{Error, ErrorId, Result};
use crate::facts::VersionFacts;
use crate::keyring::{ArtifactKeyContext, WrappedKey};
use crate::manifest::oms::{BUNDLE_NAME, CLAIMS_NAME};
use crate::manifest::{ArtifactStatement, PARTS_NAME, Part, Subject as StatementSubject};
use crate::names::{ALLOW_UNSIGNED, ArtifactId, ArtifactKind, KekId, Name, NamespaceId, Tag, VersionId};
use crate::policy::Action;
use crate::seal::io::{ReadAt, StoreForm, WriteAt};
use crate::seal::writer::StatementMaker;
use crate::seal::{Credential, Draft, MemberSource, NewSlot, OpenOptions, Pins, Reader, SealRequest, Sealed};
use crate::store::BlobId;

/// Header of a portable file: room for a dozen recipients beside the slot it starts with.
const PORTABLE_HEADER_LEN: u32 = 16384;
/// docs/format.md 7.1.
pub(super) const MAX_STATEMENTS: usize = 64;
/// Most bytes of the reason for setting a rule aside.
const MAX_REASON: usize = 256;

/// What every way of sealing takes.
pub struct Sealing {
    /// The members; any order, sealed in path order.
    pub members: Vec<SealMember>,
    /// Model, dataset or opaque.
    pub kind: ArtifactKind,
    /// Record SHA-256 digests beside BLAKE3.
    pub sha256: bool,
    /// The sources can be read once only, in path order (a stream): one thread seals.
    pub sequential: bool,
    /// Whoever publishes; the namespace's identity if absent.
    pub signer: Option<Arc<dyn Signer>>,
    /// Why a signature that lies among the members (of a model, or a dataset's statement) need not be good; `None`: it must be, if
    /// there is one.
    pub allow_unsigned: Option<String>,
    /// Told the number of plaintext bytes sealed so far.
    pub progress: Box<dyn Fn(u64) + Send + Sync>,
}

/// One member to be sealed.
pub struct SealMember {
    /// Path within the artifact.
    pub path: String,
    /// Its bytes.
    pub source: Box<dyn ReadAt>,
}

/// A new version of an artifact.
pub struct SealInput {
    /// Made if it does not exist and the caller may.
    pub namespace: Name,
    /// Name of the artifact.
    pub name: Name,
    /// Moved to the new version, as `latest` is.
    pub tag: Option<Tag>,
    /// What is sealed, and how.
    pub sealing: Sealing,
}

/// A portable file under a key that stays in this vault.
pub struct PortableInput {
    /// Whose identity signs and whose key wraps.
    pub namespace: Name,
    /// Name in the artifact statement; its version is 0.
    pub name: Name,
    /// What is sealed, and how.
    pub sealing: Sealing,
}

/// A version that is visible now.
#[derive(Clone, Debug)]
pub struct Published {
    /// The version.
    pub version: VersionFacts,
    /// The same request had been carried out before; nothing was made now.
    pub replayed: bool,
}

/// A version in the making.
pub(super) struct Making<'a> {
    pub caller: &'a Caller,
    pub act: Act,
    pub action: Action,
    pub namespace: &'a Name,
    pub name: &'a Name,
    pub tag: Option<Tag>,
    /// If it is a part of a dataset: the signed statement of the version that will name it, empty if that is not known.
    pub part: Option<&'a [u8]>,
    /// Statements of a sealed file that is taken in, kept beside the new one.
    pub kept: Vec<serde_json::Value>,
    /// Whether what it is made of is trusted still: asked when it is about to become visible.
    pub still: &'a dyn Fn() -> Result<()>,
}

/// What became of a reservation whose seal failed.
enum Discarded {
    /// Nothing is left of it.
    Removed,
    /// It is published.
    Published,
    /// The catalogue does not answer.
    Unknown,
}

/// A key made for one sealed file, with the row that keeps it.
struct FreshKey {
    slot: NewSlot,
    row: ArtifactKeyRow,
}

impl Vault {
    /// Seals a new version.
    ///
    /// # Errors
    /// `Denied`, also for a publisher whom the namespace does not trust; `InvalidArgument` for members that break a rule of docs/format.md 7.2; `SourceChanged`; `DiskFull`. After an
    /// error there is no version, and nothing of it is left.
    pub fn seal(&self, caller: &Caller, input: SealInput) -> Result<Published> {
        self.seal_new(caller, input, None)
    }

    /// Seals some of the files of a dataset, as a version that no tag moves to. A version of the same artifact that is sealed later
    /// names it as is told here, with all others (docs/datasets.md); until then nothing is known of it.
    ///
    /// `statement`: the `dataset.sig` of that version, empty if it is not known. What that would be refused for, this is refused for
    /// before a byte is sealed.
    ///
    /// # Errors
    /// As [`seal`](Self::seal); `InvalidArgument` for a tag, another kind, and for what lies beside the files of a dataset.
    pub fn seal_part(&self, caller: &Caller, input: SealInput, statement: &[u8]) -> Result<(Published, Part)> {
        let published = self.seal_new(caller, input, Some(statement))?;
        let part = self.sealed_part(&published.version)?;
        Ok((published, part))
    }

    fn seal_new(&self, caller: &Caller, input: SealInput, part: Option<&[u8]>) -> Result<Published> {
        let SealInput { namespace, name, tag, sealing } = input;
        let (act, action, kept) = (Act::ArtifactSeal, Action::Seal, Vec::new());
        let making =
            Making { caller, act, action, namespace: &namespace, name: &name, tag, part, kept, still: &|| Ok(()) };
        self.publish(making, sealing)
    }

    /// Seals a portable file under a key that stays in this vault. `out` gets header and body; the caller makes it durable.
    pub fn seal_portable(&self, caller: &Caller, input: PortableInput, out: &dyn WriteAt) -> Result<Sealed> {
        let publisher = input.sealing.signer.as_ref().map(|s| *s.public());
        let (namespace, name) = (input.namespace.clone(), input.name.clone());
        let mut new = NewArtifact { namespace, name, kind: Some(input.sealing.kind), tag: None, publisher };
        let subject = new.subject().with("portable", true);
        // It is no version yet: whether its signer is trusted is asked of whoever imports it.
        new.publisher = None;
        let permit = self.permit_new(caller, (Act::ArtifactSeal, Action::Seal), &new, &subject)?;
        let namespace = self.ensure_namespace(caller, &input.namespace)?;
        let owner = VersionId::generate(self.now(), self.random())?;
        let key = self.fresh_key(namespace, owner)?;
        let created = self.now();
        let named = (input.namespace, input.name, 0, created);
        let signer = self.signer(namespace, &input.sealing)?;
        let mut sealing = input.sealing;
        let mut request = seal_request(&mut sealing, key.slot, None, statement(named, &*signer, Vec::new()), &*signer);
        request.header_len = Some(PORTABLE_HEADER_LEN);
        let sealed = crate::seal::seal(request, self.random(), out, PORTABLE_HEADER_LEN.into())?;
        out.write_all_at(&sealed.header, 0)?;
        self.catalogue.put_artifact_key(key.row)?;
        self.record(caller, Act::ArtifactSeal, &subject.with("root", sealed.root), &permit)?;
        Ok(sealed)
    }

    /// The path both seal and import take once they have plaintext sources.
    pub(super) fn publish(&self, making: Making<'_>, sealing: Sealing) -> Result<Published> {
        let Making { caller, act, action, namespace, name, .. } = making;
        let publisher = sealing.signer.as_ref().map(|s| *s.public());
        let (of, named, tag) = (namespace.clone(), name.clone(), making.tag.clone());
        let new = NewArtifact { namespace: of, name: named, kind: Some(sealing.kind), tag, publisher };
        let mut subject = new.subject();
        let mut allowed: &[&'static str] = &[];
        if let Some(reason) = &sealing.allow_unsigned {
            check_reason(reason)?;
            allowed = &[ALLOW_UNSIGNED];
            subject = subject.with("allow", ALLOW_UNSIGNED).with("why", reason);
        }
        if making.part.is_some() {
            subject = subject.with("part", true);
        }
        let right = self.right(caller, (act, action), &new, &subject, allowed)?;
        let permit = right.ask()?;
        let goes_on = self.underway(caller, &permit);
        if let Some(earlier) = self.catalogue.publication(caller.request_id)? {
            return self.replay(&making, &subject, &permit, earlier.version_id);
        }
        if let Some(statement) = making.part.filter(|text| !text.is_empty() && sealing.allow_unsigned.is_none()) {
            let taken = self.may_take_statement((namespace, name), statement);
            taken.or_else(|e| self.refuse(caller, act, &subject, unless_allowed(e, ArtifactKind::Dataset, action)))?;
        }
        let namespace_id = self.ensure_namespace(caller, namespace)?;
        let reservation = self.catalogue.reserve_version(NewReservation {
            namespace_id,
            name: name.clone(),
            kind: sealing.kind,
            artifact_id: ArtifactId::generate(self.now(), self.random())?,
            version_id: VersionId::generate(self.now(), self.random())?,
        })?;
        let made = self.seal_reserved(&making, namespace_id, &reservation, sealing);
        let published = made.and_then(|(version, row, attestations, role)| {
            // Sealing took its time: what holds is who may publish, and who is trusted, when the version becomes visible.
            right.ask_again(&goes_on)?;
            (making.still)()?;
            let is_dataset = attestations.iter().any(|a| a.dataset.is_some());
            let _turn = is_dataset.then(|| self.publishing_dataset.lock().unwrap_or_else(PoisonError::into_inner));
            let newest = self.is_newest(namespace, (reservation.artifact_id, reservation.number), &attestations);
            newest.or_else(|e| self.refuse(caller, act, &subject, e))?;
            self.catalogue.put_artifact_key(row)?;
            let number = format!("v{}", reservation.number);
            let mut subject = subject.clone().with("version", number).with("root", version.root);
            if !attestations.is_empty() {
                let signers: BTreeSet<_> = attestations.iter().map(|a| a.signer.to_string()).collect();
                subject = subject.with("signed_by", signers.into_iter().collect::<Vec<_>>().join(" "));
            }
            let (row, approval) = (self.row(caller, act, &subject, Some(&permit)), permit.approval());
            let entry: OfMoves = Box::new(move |moves| {
                let leaf = row.detail("moves", told(moves)).to_leaf();
                Entry { leaf, once: None, approval }
            });
            Ok(self.catalogue.publish_as(version, role, making.tag.clone(), attestations, entry)?)
        });
        match published {
            Ok(published) if published.replayed => {
                // The same request ran twice at once, and the other one was first.
                self.discard(&reservation);
                self.replay(&making, &subject, &permit, published.version_id)
            }
            Ok(published) => self.published(namespace, published.version_id, false),
            Err(e) => match self.discard(&reservation) {
                // The commit came after we had stopped waiting for it: it is there, whatever the error says.
                Discarded::Published => self.published(namespace, reservation.version_id, false),
                Discarded::Removed | Discarded::Unknown => Err(e),
            },
        }
    }

    /// The outcome of an earlier call under the same request id, for whoever made that call, and for the same name.
    fn replay(
        &self,
        making: &Making<'_>,
        subject: &Subject,
        permit: &super::gate::Permit,
        version: VersionId,
    ) -> Result<Published> {
        let record = self.catalogue.version(version)?;
        let artifact = self.catalogue.artifact(record.facts.artifact_id)?;
        let namespace = self.catalogue.namespace(making.namespace)?;
        let same_name = record.namespace_id == namespace.id && artifact.name == *making.name;
        if !same_name || record.facts.sealed_by != making.caller.principal.to_string() {
            let used = Error::new(ErrorId::AlreadyExists, "this request id was used for another act")
                .hint("use a new request id for each act, and repeat it only for the very same one");
            return self.refuse(making.caller, making.act, subject, used);
        }
        let subject = subject.clone().with("version", format!("v{}", record.facts.number)).with("replayed", true);
        self.record(making.caller, making.act, &subject, permit)?;
        self.published(making.namespace, version, true)
    }

    fn published(&self, namespace: &Name, version: VersionId, replayed: bool) -> Result<Published> {
        let record = self.catalogue.version(version)?;
        let artifact = self.catalogue.artifact(record.facts.artifact_id)?;
        Ok(Published { version: self.version_facts(namespace, &artifact, &record)?, replayed })
    }

    fn seal_reserved(
        &self,
        making: &Making<'_>,
        namespace_id: NamespaceId,
        reservation: &Reservation,
        mut sealing: Sealing,
    ) -> Result<(NewVersion, ArtifactKeyRow, Vec<NewAttestation>, VersionRole)> {
        let version_id = reservation.version_id;
        let key = self.fresh_key(namespace_id, version_id)?;
        let signer = self.signer(namespace_id, &sealing)?;
        let created = self.now();
        let named = (making.namespace.clone(), making.name.clone(), reservation.number, created);
        let context = context_bytes(namespace_id, reservation.artifact_id, version_id);
        let artifact_key = key.row.key;
        let request = seal_request(
            &mut sealing,
            key.slot,
            Some(context),
            statement(named, &*signer, making.kept.clone()),
            &*signer,
        );
        let body = self.store.create(BlobId::Body(version_id))?;
        let sealed = crate::seal::seal(request, self.random(), &*body, 0)?;
        body.finish()?;
        self.store.put(BlobId::Header(version_id, sealed.generation), &sealed.header)?;
        let allowed = sealing.allow_unsigned.is_some();
        let (attestations, role) = if making.part.is_some() {
            may_be_part(&sealed.manifest)?;
            (Vec::new(), VersionRole::Part)
        } else {
            self.signatures_within(making, (&key.row, reservation), &sealed, allowed)?
        };
        let attested = attestations.iter().flat_map(|a| a.path.iter().copied().chain([a.keyid]));
        let signers = attested.chain([signer.public().key_id()]);
        let subject = Subject::named(making.namespace, making.name);
        self.must_not_be_sealed(making.caller, making.act, &subject, &sealed.manifest, sealed.root.0, signers)?;
        let version = NewVersion {
            version_id,
            artifact_id: reservation.artifact_id,
            number: reservation.number,
            file_id: sealed.file_id(),
            commitment: sealed.commitment(),
            root: sealed.root,
            generation: sealed.generation,
            header_len: sealed.header.len() as u64,
            body_len: sealed.body_len,
            payload_len: sealed.payload_len,
            content_len: sealed.manifest.members.iter().map(|m| m.size).sum(),
            member_count: sealed.manifest.members.len() as u64,
            media_type: sealed.manifest.media_type.clone().unwrap_or_default(),
            format: sealed.manifest.format.clone().unwrap_or_default(),
            signer: signer.public().key_id(),
            sealed_by: making.caller.principal.to_string(),
            created,
            artifact_key,
            request_id: making.caller.request_id,
        };
        Ok((version, key.row, attestations, role))
    }

    /// The signatures among the members of a sealed file that is about to be published: of a model, and the statement of a dataset.
    /// They are checked against what was sealed rather than against its source, which may have changed since.
    ///
    /// # Errors
    /// As [`Vault::own_signatures`], on record, unless `allowed`; as [`Vault::parts_named`].
    fn signatures_within(
        &self,
        making: &Making<'_>,
        (row, reservation): (&ArtifactKeyRow, &Reservation),
        sealed: &Sealed,
        allowed: bool,
    ) -> Result<(Vec<NewAttestation>, VersionRole)> {
        let mut paths = sealed.manifest.members.iter().map(|m| m.path.as_str());
        let carries = carries_statement(&sealed.manifest);
        if !carries && !paths.any(|path| path == BUNDLE_NAME || path == CLAIMS_NAME) {
            return Ok((Vec::new(), VersionRole::Alone));
        }
        let key = self.open_artifact_key(row)?;
        let credential = Credential::Kek { id: row.key.id, version: row.key.version, key };
        let body = self.store.open(BlobId::Body(row.version_id))?;
        let options =
            OpenOptions { pins: Pins { root: Some(sealed.root), ..Pins::default() }, ..OpenOptions::default() };
        let reader = Reader::open(StoreForm::new(sealed.header.clone(), body), &credential, &options)?;
        let added_by = making.caller.principal.to_string();
        let subject = Subject::named(making.namespace, making.name);
        // Whoever signed them: what names parts names those that are there.
        let parts = self.parts_named((making.namespace, making.name, reservation.number), &reader);
        let parts = parts.or_else(|e| self.refuse(making.caller, making.act, &subject, e.on(PARTS_NAME)))?;
        let role = parts.as_ref().map_or(VersionRole::Alone, SealedParts::role);
        let (under, of) = ((making.namespace, reservation.artifact_id), (row.version_id, &*added_by));
        let found = self.own_signatures(under, of, &reader, parts.as_ref()).or_else(|e| {
            if allowed {
                return Ok(Vec::new());
            }
            self.refuse(making.caller, making.act, &subject, unless_allowed(e, sealed.manifest.kind, making.action))
        })?;
        Ok((found, role))
    }

    /// Removes what a failed seal made, unless it was published after all: the reservation decides. What cannot be removed now
    /// is found by the sweep.
    fn discard(&self, reservation: &Reservation) -> Discarded {
        let id = reservation.version_id;
        match self.catalogue.abandon_reservation(id) {
            Ok(true) => {}
            Ok(false) => return Discarded::Published,
            Err(e) => {
                tracing::warn!(error = %e, version = %id, "it is not known whether a seal was published; nothing is removed");
                return Discarded::Unknown;
            }
        }
        let steps = [
            self.catalogue.delete_artifact_keys(id).map(drop).map_err(Error::from),
            self.store.delete(BlobId::Header(id, 1)).map(drop),
            self.store.delete(BlobId::Body(id)).map(drop),
        ];
        for failed in steps.into_iter().filter_map(Result::err) {
            tracing::warn!(error = %failed, version = %id, "an orphan of a failed seal is left to the sweep");
        }
        Discarded::Removed
    }

    /// The artifact key of a row of keys.db.
    pub(super) fn open_artifact_key(&self, row: &ArtifactKeyRow) -> Result<Key<ArtifactKey>> {
        let context = ArtifactKeyContext { key: row.key.id, key_version: row.key.version, version: row.version_id };
        let ArtifactKeyRow { namespace_kek_version: kek_version, salt, wrapped, .. } = *row;
        let wrapped = WrappedKey { kek_version, salt, wrapped };
        Ok(self.keyring().unwrap_artifact_key(row.namespace_id, &wrapped, &context)?)
    }

    fn fresh_key(&self, namespace: NamespaceId, owner: VersionId) -> Result<FreshKey> {
        let key = Key::<ArtifactKey>::generate(self.random())?;
        let id = ArtifactKeyRef { id: KekId::generate(self.now(), self.random())?, version: 1 };
        let context = ArtifactKeyContext { key: id.id, key_version: id.version, version: owner };
        let wrapped = self.keyring().wrap_artifact_key(namespace, &key, &context, self.random())?;
        let row = ArtifactKeyRow {
            key: id,
            namespace_id: namespace,
            version_id: owner,
            namespace_kek_version: wrapped.kek_version,
            salt: wrapped.salt,
            wrapped: wrapped.wrapped,
        };
        Ok(FreshKey { slot: NewSlot::Kek { id: id.id, version: id.version, key }, row })
    }

    fn signer(&self, namespace: NamespaceId, sealing: &Sealing) -> Result<Arc<dyn Signer>> {
        match &sealing.signer {
            Some(publisher) => Ok(Arc::clone(publisher)),
            None => Ok(Arc::new(self.keyring().namespace(namespace)?.identity().clone())),
        }
    }
}

/// Moves of tags as the audit row tells them.
fn told(moves: &[TagMove]) -> String {
    moves.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What to do where a signature among the members is not good.
fn unless_allowed(e: Error, kind: ArtifactKind, action: Action) -> Error {
    let hint = match (e.id(), kind) {
        (ErrorId::SignatureMissing, _) => "trust the signer first: vault key trust NAME --key FILE",
        (ErrorId::VersionRollback, _) => "get the newer version from its owner",
        (ErrorId::DatasetForked, _) => "ask its owner which version is right",
        (_, ArtifactKind::Dataset) => "get the dataset from its signer again",
        _ => "get the model from its signer again",
    };
    let all_the_same = match action {
        Action::Import => "or open the file, and seal what is in it: vault seal --allow unsigned --reason TEXT",
        _ => "or seal it all the same: --allow unsigned --reason TEXT",
    };
    e.hint(format!("{hint}; {all_the_same}"))
}

fn check_reason(reason: &str) -> Result<()> {
    if reason.trim().is_empty() || reason.len() > MAX_REASON || reason.chars().any(char::is_control) {
        let text = format!("a reason is one line of at most {MAX_REASON} bytes");
        return Err(Error::new(ErrorId::InvalidArgument, text).hint("say why with --reason TEXT"));
    }
    Ok(())
}

/// Name, version and time that an artifact statement will carry.
type Named = (Name, Name, u64, crate::names::Timestamp);

/// Makes the inner statements once the members' digests are known.
fn statement<'a>(
    (namespace, name, version, created): Named,
    signer: &'a dyn Signer,
    kept: Vec<serde_json::Value>,
) -> StatementMaker<'a> {
    Box::new(move |draft: &Draft<'_>| {
        let sealed = draft.manifest;
        let subjects = sealed.members.iter().map(|m| StatementSubject {
            path: m.path.clone(),
            size: m.size,
            blake3: m.blake3,
            sha256: m.sha256,
        });
        let statement = ArtifactStatement {
            namespace,
            name,
            version,
            kind: sealed.kind,
            file_id: draft.file_id,
            payload_size: sealed.payload_size,
            group_log2: sealed.group_log2,
            created,
            subjects: subjects.collect(),
        };
        let mut json = String::new();
        statement.sign_by(signer)?.write_json(&mut json);
        let ours = serde_json::from_str(&json)
            .map_err(|e| Error::new(ErrorId::Internal, format!("an envelope of ours is not JSON: {e}")))?;
        Ok(std::iter::once(ours).chain(kept).collect())
    })
}

fn seal_request<'a>(
    sealing: &'a mut Sealing,
    slot: NewSlot,
    context: Option<Vec<u8>>,
    statements: StatementMaker<'a>,
    signer: &'a dyn Signer,
) -> SealRequest<'a> {
    let sha256 = sealing.sha256;
    let members = std::mem::take(&mut sealing.members).into_iter().map(|m| MemberSource {
        format: format_of(&m.path).map(Into::into),
        media_type: None,
        path: m.path,
        source: m.source,
        sha256,
    });
    let mut request = SealRequest::new(sealing.kind, members.collect(), vec![slot]);
    request.context = context;
    request.statements = statements;
    request.seal_signers = vec![signer];
    request.progress = &*sealing.progress;
    request.threads = sealing.sequential.then_some(1);
    request
}

/// A hint for readers, from the file's extension (docs/format.md 7.1).
fn format_of(path: &str) -> Option<&'static str> {
    match Path::new(path).extension()?.to_str()? {
        "onnx" => Some("onnx"),
        "safetensors" => Some("safetensors"),
        "gguf" => Some("gguf"),
        "parquet" => Some("parquet"),
        _ => None,
    }
}

/// The caller context of docs/format.md 3: ids that never change, so that a file of another version is refused.
fn context_bytes(namespace: NamespaceId, artifact: ArtifactId, version: VersionId) -> Vec<u8> {
    [namespace.0, artifact.0, version.0].concat()
}

pub(super) fn context_hash(namespace: NamespaceId, artifact: ArtifactId, version: VersionId) -> [u8; 32] {
    crate::seal::context_hash(&context_bytes(namespace, artifact, version))
}
