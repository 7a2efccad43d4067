//! Plaintext in: a new version, a portable file, or a sealed file that is taken in.
//!
//! Order of durability: body, header, artifact key, then one transaction that publishes version, tags and audit row. A crash
//! leaves orphans only; a failure removes what it made.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::gate::{Asked, Subject};
use super::{Caller, Standing, Vault};
use crate::audit::Act;
use crate::catalogue::{
    ArtifactKeyRef, ArtifactKeyRow, ArtifactRecord, Entry, NewAttestation, NewReservation, NewVersion, OfMoves,
    Reservation, TagMove,
};
use crate::crypto::dsse::Signer;
use crate::crypto::keys::{ArtifactKey, Key};
use crate::crypto::sign::PublicKey;
use crate::error::{Error, ErrorId, Result};
use crate::facts::VersionFacts;
use crate::keyring::{ArtifactKeyContext, WrappedKey};
use crate::manifest::oms::{BUNDLE_NAME, CLAIMS_NAME};
use crate::manifest::{ArtifactStatement, Subject as StatementSubject};
use crate::names::{ALLOW_UNSIGNED, ArtifactId, ArtifactKind, KekId, Name, NamespaceId, Tag, VersionId};
use crate::policy::{Action, Resource};
use crate::seal::io::{ReadAt, StoreForm, WriteAt};
use crate::seal::writer::StatementMaker;
use crate::seal::{
    Credential, Draft, HeaderFacts, MemberSource, NewSlot, OpenOptions, Pins, Reader, SealRequest, Sealed, SlotBody,
};
use crate::store::BlobId;

/// Header of a portable file: room for a dozen recipients beside the slot it starts with.
const PORTABLE_HEADER_LEN: u32 = 16384;
/// docs/format.md 7.1.
const MAX_STATEMENTS: usize = 64;
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
    /// Why a model signature that lies among the members need not be good; `None`: it must be, if there is one.
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

/// A sealed file to be taken in.
pub struct ImportInput {
    /// Made if it does not exist and the caller may.
    pub namespace: Name,
    /// Name of the artifact.
    pub name: Name,
    /// Moved to the new version, as `latest` is.
    pub tag: Option<Tag>,
    /// The sealed bytes.
    pub source: ImportSource,
    /// Opens it; `None`: a key of this vault does.
    pub credential: Option<Credential>,
    /// Told the number of plaintext bytes sealed so far.
    pub progress: Box<dyn Fn(u64) + Send + Sync>,
}

/// Where the bytes of a sealed file come from.
pub enum ImportSource {
    /// A file that can be read at any place.
    File(Box<dyn ReadAt>),
    /// A stream: its ciphertext is spooled, since a sealed file is read from its end.
    Stream {
        /// The bytes, once, in order.
        bytes: Box<dyn Read + Send>,
        /// How many were announced.
        size: u64,
    },
}

/// A version that is visible now.
#[derive(Clone, Debug)]
pub struct Published {
    /// The version.
    pub version: VersionFacts,
    /// The same request had been carried out before; nothing was made now.
    pub replayed: bool,
}

/// What is to be made, as far as it is known before a byte of it: all that is asked about it beforehand is asked of this.
#[derive(Clone, Debug)]
pub struct NewArtifact {
    /// Where.
    pub namespace: Name,
    /// Name of the artifact.
    pub name: Name,
    /// A tag that moves with it.
    pub tag: Option<Tag>,
    /// Who signs, if not the namespace.
    pub publisher: Option<PublicKey>,
}

impl NewArtifact {
    fn subject(&self) -> Subject {
        let subject = Subject::named(&self.namespace, &self.name);
        match &self.publisher {
            Some(key) => subject.with("signer", key.key_id()),
            None => subject,
        }
    }
}

/// A version in the making.
struct Making<'a> {
    caller: &'a Caller,
    act: Act,
    action: Action,
    namespace: &'a Name,
    name: &'a Name,
    tag: Option<Tag>,
    /// Statements of a sealed file that is taken in, kept beside the new one.
    kept: Vec<serde_json::Value>,
    /// Whether what it is made of is trusted still: asked when it is about to become visible.
    still: &'a dyn Fn() -> Result<()>,
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
        let SealInput { namespace, name, tag, sealing } = input;
        let (act, action, kept) = (Act::ArtifactSeal, Action::Seal, Vec::new());
        let making = Making { caller, act, action, namespace: &namespace, name: &name, tag, kept, still: &|| Ok(()) };
        self.publish(making, sealing)
    }

    /// Takes a sealed file in: opens it, checks all of it, and seals its content anew under a key of this vault alone, so that
    /// nobody who could open the file can open the version. Statements inside are kept beside the new one.
    ///
    /// # Errors
    /// `Denied`, also for a file that was signed, and by nobody whom the namespace trusts; integrity errors of the file.
    pub fn import(self: &Arc<Self>, caller: &Caller, input: ImportInput) -> Result<Published> {
        let act = Act::ArtifactImport;
        let (namespace, name, tag) = (input.namespace.clone(), input.name.clone(), input.tag.clone());
        let new = NewArtifact { namespace, name, tag, publisher: None };
        let subject = new.subject();
        self.permit_new(caller, act, Action::Import, &new, &subject)?;
        let file = match input.source {
            ImportSource::File(file) => file,
            ImportSource::Stream { mut bytes, size } => self.spool(&mut *bytes, size)?,
        };
        let reader = match input.credential {
            Some(credential) => Reader::open(file, &credential, &OpenOptions::default())?,
            None => self.open_own(caller, file, act, |of| match of.named_as() {
                // The row is about the artifact to be; what it is made of is a detail.
                Some(source) => subject.clone().with("source", source),
                None => subject.clone(),
            })?,
        };
        self.must_trust_seal(caller, act, &subject, &input.namespace, &reader)?;
        reader.verify_full().or_else(|e| self.refuse(caller, act, &subject, e.into()))?;
        let reader = Arc::new(reader);
        let manifest = reader.manifest();
        let members = manifest.members.iter().map(|m| SealMember {
            path: m.path.clone(),
            source: Box::new(SealedMember { reader: reader.clone(), offset: m.offset, len: m.size }),
        });
        let sealing = Sealing {
            members: members.collect(),
            kind: manifest.kind,
            sha256: manifest.members.iter().any(|m| m.sha256.is_some()),
            sequential: false,
            signer: None,
            allow_unsigned: None,
            progress: input.progress,
        };
        let kept = manifest.statements.clone();
        if kept.len() >= MAX_STATEMENTS {
            let text = format!("the file carries {} statements: there is no room for one of ours", kept.len());
            return self.refuse(caller, act, &subject, Error::new(ErrorId::LimitExceeded, text));
        }
        let (namespace, name, tag) = (&input.namespace, &input.name, input.tag);
        let still = || self.must_trust_seal(caller, act, &subject, namespace, &reader);
        let making = Making { caller, act, action: Action::Import, namespace, name, tag, kept, still: &still };
        self.publish(making, sealing)
    }

    /// An unlinked file in the home for sealed bytes that arrive as a stream: a sealed file is read from its end.
    fn spool(&self, source: &mut dyn Read, size: u64) -> Result<Box<dyn ReadAt>> {
        let path = self.home.path().join(format!("spool-{}", VersionId::generate(self.now(), self.random())?));
        let fail = |e| Error::from(e).on(path.display());
        let mut file = std::fs::File::options().create_new(true).read(true).write(true).open(&path).map_err(fail)?;
        std::fs::remove_file(&path).map_err(fail)?;
        let copied = std::io::copy(&mut source.take(size.saturating_add(1)), &mut file).map_err(fail)?;
        if copied != size {
            return Err(Error::new(ErrorId::InvalidArgument, format!("{size} bytes were announced, {copied} came")));
        }
        Ok(Box::new(file))
    }

    /// Seals a portable file under a key that stays in this vault. `out` gets header and body; the caller makes it durable.
    pub fn seal_portable(&self, caller: &Caller, input: PortableInput, out: &dyn WriteAt) -> Result<Sealed> {
        let publisher = input.sealing.signer.as_ref().map(|s| *s.public());
        let (namespace, name) = (input.namespace.clone(), input.name.clone());
        let mut new = NewArtifact { namespace, name, tag: None, publisher };
        let subject = new.subject().with("portable", true);
        // It is no version yet: whether its signer is trusted is asked of whoever imports it.
        new.publisher = None;
        let permit = self.permit_new(caller, Act::ArtifactSeal, Action::Seal, &new, &subject)?;
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

    /// Opens a portable file under a key of this vault.
    pub fn open_portable(self: &Arc<Self>, caller: &Caller, file: Box<dyn ReadAt>) -> Result<Reader> {
        self.open_own(caller, file, Act::ArtifactOpen, |of| of.with("portable", true))
    }

    /// Opens a sealed file by the key of this vault that a slot of it names. That needs the permit to open what the key was
    /// made for. The row tells what the file says of itself, so it is written when the file is open, and nothing of the file
    /// leaves here before. `subject` makes the row's subject of what the file is.
    fn open_own(
        self: &Arc<Self>,
        caller: &Caller,
        file: Box<dyn ReadAt>,
        act: Act,
        subject: impl Fn(Subject) -> Subject,
    ) -> Result<Reader> {
        let facts = HeaderFacts::read(&*file)?;
        let mut row = None;
        for slot in &facts.table.slots {
            let SlotBody::Kek { id, version, .. } = &slot.body else { continue };
            row = found(self.catalogue.artifact_key(ArtifactKeyRef { id: *id, version: *version }))?;
            if row.is_some() {
                break;
            }
        }
        let Some(row) = row else {
            return Err(Error::new(ErrorId::NoMatchingSlot, "the file was not sealed under a key of this vault")
                .hint("name its credential: --passphrase-file for a file sealed to a passphrase"));
        };
        let known = found(self.catalogue.version(row.version_id))?;
        let namespace = self.keyring().namespace(row.namespace_id)?.name().clone();
        let mut due = None;
        let (permit, of) = match &known {
            Some(version) => {
                let artifact = self.catalogue.artifact(version.facts.artifact_id)?;
                let of = Subject::version(&namespace, &artifact, version);
                let resource = super::opening::version_resource(&namespace, &artifact, version);
                let told = subject(of.clone());
                let permit = self.permit(caller, act, Action::Open, resource, &told)?;
                // All that holds for reading the version holds for its bytes in a file.
                self.not_quarantined(Action::Open, resource).or_else(|e| self.refuse(caller, act, &told, e))?;
                let size = version.facts.header_len + version.facts.body_len;
                let (meter, first) = self.begin_count(caller, &told, (&namespace, &artifact), size)?;
                meter.spend(size)?;
                meter.end(size);
                self.throttle(caller, size).or_else(|e| self.refuse(caller, act, &told, e))?;
                due = Some(first);
                (permit, of)
            }
            None => {
                let of = Subject::namespace(&namespace);
                let resource = Resource::Namespace(&namespace);
                (self.permit(caller, act, Action::Import, resource, &subject(of.clone()))?, of)
            }
        };
        let key = self.open_artifact_key(&row)?;
        let credential = Credential::Kek { id: row.key.id, version: row.key.version, key };
        let opened = Reader::open(file, &credential, &OpenOptions::default()).map_err(Error::from);
        let reader = opened.or_else(|e| self.refuse(caller, act, &subject(of.clone()), e))?;
        if let Some(version) = &known {
            self.must_not_be_named(caller, act, &subject(of.clone()), version, &reader)?;
        }
        let of = match known {
            Some(_) => of,
            None => {
                let signer = *self.keyring().namespace(row.namespace_id)?.identity().public();
                of.claiming(super::opening::name_in(&reader, signer), reader.root())
            }
        };
        let subject = subject(of).with("key", row.key.id);
        match due {
            Some(due) => self.record_use(caller, act, &subject, &permit, due)?,
            None => self.record(caller, act, &subject, &permit)?,
        }
        Ok(reader)
    }

    /// The path both seal and import take once they have plaintext sources.
    fn publish(&self, making: Making<'_>, sealing: Sealing) -> Result<Published> {
        let Making { caller, act, action, namespace, name, .. } = making;
        let publisher = sealing.signer.as_ref().map(|s| *s.public());
        let (of, named, tag) = (namespace.clone(), name.clone(), making.tag.clone());
        let new = NewArtifact { namespace: of, name: named, tag, publisher };
        let mut subject = new.subject();
        let mut allowed: &[&'static str] = &[];
        if let Some(reason) = &sealing.allow_unsigned {
            check_reason(reason)?;
            allowed = &[ALLOW_UNSIGNED];
            subject = subject.with("allow", ALLOW_UNSIGNED).with("why", reason);
        }
        let permit = self.permit_new_allowing(caller, act, action, &new, &subject, allowed)?;
        self.permit_first_tag(caller, act, &new, sealing.kind, &subject)?;
        if let Some(earlier) = self.catalogue.publication(caller.request_id)? {
            return self.replay(&making, &subject, &permit, earlier.version_id);
        }
        let trusted = || match &new.publisher {
            Some(key) => self.must_trust(caller, act, &subject, namespace, &key.key_id()).map(drop),
            None => Ok(()),
        };
        // Sealing takes its time: whoever may not publish any more when the version is to become visible does not.
        let before = found(self.catalogue.artifact_named(namespace, name))?;
        let still_permitted = || {
            let resource = match &before {
                Some(artifact) => super::opening::resource(namespace, artifact),
                None => Resource::Namespace(namespace),
            };
            let asked = Asked { tag: new.tag.as_ref(), allowed };
            self.permit_asked(&self.underway(caller, &permit), act, action, resource, &subject, asked).map(drop)
        };
        let namespace_id = self.ensure_namespace(caller, namespace)?;
        let reservation = self.catalogue.reserve_version(NewReservation {
            namespace_id,
            name: name.clone(),
            kind: sealing.kind,
            artifact_id: ArtifactId::generate(self.now(), self.random())?,
            version_id: VersionId::generate(self.now(), self.random())?,
        })?;
        let made = self.seal_reserved(&making, namespace_id, &reservation, sealing);
        let published = made.and_then(|(version, row, attestations)| {
            // Sealing took its time: what holds is who is trusted when the version becomes visible.
            trusted()?;
            still_permitted()?;
            (making.still)()?;
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
            Ok(self.catalogue.publish_attested(version, making.tag.clone(), attestations, entry)?)
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
    ) -> Result<(NewVersion, ArtifactKeyRow, Vec<NewAttestation>)> {
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
        let attestations = self.signatures_within(making, &key.row, &sealed, allowed)?;
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
        Ok((version, key.row, attestations))
    }

    /// The model signatures among the members of a sealed file that is about to be published. They are checked against what was
    /// sealed rather than against its source, which may have changed since.
    ///
    /// # Errors
    /// As [`Vault::own_signatures`], on record, unless `allowed`.
    fn signatures_within(
        &self,
        making: &Making<'_>,
        row: &ArtifactKeyRow,
        sealed: &Sealed,
        allowed: bool,
    ) -> Result<Vec<NewAttestation>> {
        let paths = sealed.manifest.members.iter().map(|m| m.path.as_str());
        if !paths.into_iter().any(|path| path == BUNDLE_NAME || path == CLAIMS_NAME) {
            return Ok(Vec::new());
        }
        let key = self.open_artifact_key(row)?;
        let credential = Credential::Kek { id: row.key.id, version: row.key.version, key };
        let body = self.store.open(BlobId::Body(row.version_id))?;
        let options =
            OpenOptions { pins: Pins { root: Some(sealed.root), ..Pins::default() }, ..OpenOptions::default() };
        let reader = Reader::open(StoreForm::new(sealed.header.clone(), body), &credential, &options)?;
        let added_by = making.caller.principal.to_string();
        self.own_signatures(making.namespace, (row.version_id, &added_by), &reader).or_else(|e| {
            if allowed {
                return Ok(Vec::new());
            }
            let hint = match e.id() {
                ErrorId::SignatureMissing => "trust the signer first: vault key trust NAME --key FILE",
                _ => "get the model from its signer again",
            };
            let all_the_same = match making.action {
                Action::Import => "or open the file, and seal what is in it: vault seal --allow unsigned --reason TEXT",
                _ => "or seal it all the same: --allow unsigned --reason TEXT",
            };
            let e = e.on(BUNDLE_NAME).hint(format!("{hint}; {all_the_same}"));
            self.refuse(making.caller, making.act, &Subject::named(making.namespace, making.name), e)
        })
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

    /// May this caller make that? Asked of the artifact if it exists, else of the namespace. The one place for every question
    /// about what is to be made: it is asked before a byte is received, and again when it is published.
    fn permit_new(
        &self,
        caller: &Caller,
        act: Act,
        action: Action,
        new: &NewArtifact,
        subject: &Subject,
    ) -> Result<super::gate::Permit> {
        self.permit_new_allowing(caller, act, action, new, subject, &[])
    }

    /// The same for a caller who asks to set rules aside. A publisher must be trusted in the namespace.
    fn permit_new_allowing(
        &self,
        caller: &Caller,
        act: Act,
        action: Action,
        new: &NewArtifact,
        subject: &Subject,
        allowed: &[&'static str],
    ) -> Result<super::gate::Permit> {
        let artifact = found(self.catalogue.artifact_named(&new.namespace, &new.name))?;
        self.permit_new_beside(caller, act, action, new, artifact.as_ref(), (subject, allowed))
    }

    /// The same where it is known whether the artifact exists.
    fn permit_new_beside(
        &self,
        caller: &Caller,
        act: Act,
        action: Action,
        new: &NewArtifact,
        artifact: Option<&ArtifactRecord>,
        (subject, allowed): (&Subject, &[&'static str]),
    ) -> Result<super::gate::Permit> {
        let resource = match artifact {
            Some(artifact) => super::opening::resource(&new.namespace, artifact),
            None => Resource::Namespace(&new.namespace),
        };
        let tag = new.tag.as_ref();
        let permit = self.permit_asked(caller, act, action, resource, subject, Asked { tag, allowed })?;
        // A version that takes a tag with it moves the tag of an artifact that is there.
        if let (Some(tag), Some(_)) = (tag, artifact) {
            let asked = Asked { tag: Some(tag), ..Asked::default() };
            let subject = subject.clone().with("tag", tag);
            let moves = self.permit_asked(caller, act, Action::Tag, resource, &subject, asked)?;
            self.without_approval(caller, act, &subject, &moves)?;
        }
        if let Some(key) = &new.publisher {
            self.must_trust(caller, act, subject, &new.namespace, &key.key_id())?;
        }
        Ok(permit)
    }

    /// May this caller put a tag on what is being made, also where the artifact is new and was not there to be asked about?
    fn permit_first_tag(
        &self,
        caller: &Caller,
        act: Act,
        new: &NewArtifact,
        kind: ArtifactKind,
        subject: &Subject,
    ) -> Result<()> {
        let NewArtifact { namespace, name, tag: Some(tag), .. } = new else { return Ok(()) };
        let id = match found(self.catalogue.artifact_named(namespace, name))? {
            Some(artifact) => artifact.id,
            // The id that it will have is in no policy.
            None => ArtifactId::generate(self.now(), self.random())?,
        };
        let resource = Resource::Artifact { namespace, id, name, kind, signed: true, version: None };
        let asked = Asked { tag: Some(tag), ..Asked::default() };
        let subject = subject.clone().with("tag", tag);
        let moves = self.permit_asked(caller, act, Action::Tag, resource, &subject, asked)?;
        self.without_approval(caller, act, &subject, &moves)
    }

    /// Asks what [`Self::seal`] will ask, before anything is received, and while it is. Only a denial is recorded.
    pub(crate) fn may_seal(self: &Arc<Self>, caller: &Caller, new: NewArtifact) -> Result<Standing> {
        self.may_make(caller, Act::ArtifactSeal, Action::Seal, new)
    }

    /// The same for [`Self::import`].
    pub(crate) fn may_import(self: &Arc<Self>, caller: &Caller, new: NewArtifact) -> Result<Standing> {
        self.may_make(caller, Act::ArtifactImport, Action::Import, new)
    }

    fn may_make(self: &Arc<Self>, caller: &Caller, act: Act, action: Action, new: NewArtifact) -> Result<Standing> {
        // What is being made has a name soon: the question stays what it was before.
        let before = found(self.catalogue.artifact_named(&new.namespace, &new.name))?;
        let ask = move |vault: &Self, caller: &_| {
            vault.permit_new_beside(caller, act, action, &new, before.as_ref(), (&new.subject(), &[]))
        };
        let caller = self.underway(caller, &ask(self, caller)?);
        Ok(self.standing_while(move |vault| ask(vault, &caller).map(drop)))
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

/// What is there, or `None`. Any other failure stays one: it must not turn into the weaker question.
fn found<T>(answer: crate::catalogue::Result<T>) -> Result<Option<T>> {
    match answer.map_err(Error::from) {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.id() == ErrorId::NotFound => Ok(None),
        Err(e) => Err(e),
    }
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

/// A member of a sealed file as plaintext source of another.
struct SealedMember {
    reader: Arc<Reader>,
    offset: u64,
    len: u64,
}

impl ReadAt for SealedMember {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.len)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.len) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let read = self.reader.read_at(self.offset + offset, buffer, crate::seal::HashCheck::Compare);
        read.map_err(|e| std::io::Error::other(Error::from(e)))
    }
}
