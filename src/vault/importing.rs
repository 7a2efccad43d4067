//! A sealed file in: opened, checked, and sealed anew under a key of this vault.

use std::io::Read;
use std::sync::Arc;

use super::gate::Subject;
use super::publishing::{NewArtifact, found};
use super::sealing::{MAX_STATEMENTS, Making, Published, SealMember, Sealing};
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::{ArtifactKeyRef, ArtifactRecord, VersionRecord};
use crate::error::{Error, ErrorId, Result};
use crate::names::{Name, Tag, VersionId};
use crate::policy::{Action, Resource};
use crate::seal::io::ReadAt;
use crate::seal::{Credential, HeaderFacts, OpenOptions, Reader, SlotBody};

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

/// The version that a sealed file is of, and who reads it.
struct Source {
    caller: Caller,
    namespace: Name,
    artifact: ArtifactRecord,
    version: VersionRecord,
}

impl Vault {
    /// Takes a sealed file in: opens it, checks all of it, and seals its content anew under a key of this vault alone, so that
    /// nobody who could open the file can open the version. Statements inside are kept beside the new one.
    ///
    /// # Errors
    /// `Denied`, also for a file that was signed, and by nobody whom the namespace trusts; integrity errors of the file.
    pub fn import(self: &Arc<Self>, caller: &Caller, input: ImportInput) -> Result<Published> {
        let act = Act::ArtifactImport;
        let (namespace, name, tag) = (input.namespace.clone(), input.name.clone(), input.tag.clone());
        let new = NewArtifact { namespace, name, kind: None, tag, publisher: None };
        let subject = new.subject();
        self.permit_new(caller, (act, Action::Import), &new, &subject)?;
        let file = match input.source {
            ImportSource::File(file) => file,
            ImportSource::Stream { mut bytes, size } => self.spool(&mut *bytes, size)?,
        };
        let (reader, source) = match input.credential {
            Some(credential) => (Reader::open(file, &credential, &OpenOptions::default())?, None),
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
        let still = || {
            // What it is made of may have been shredded, held or taken back while it was read.
            if let Some(source) = &source {
                self.may_read_still(source).or_else(|e| self.refuse(caller, act, &subject, e))?;
            }
            self.must_trust_seal(caller, act, &subject, namespace, &reader)
        };
        let making =
            Making { caller, act, action: Action::Import, namespace, name, tag, part: None, kept, still: &still };
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

    /// Opens a portable file under a key of this vault.
    pub fn open_portable(self: &Arc<Self>, caller: &Caller, file: Box<dyn ReadAt>) -> Result<Reader> {
        self.open_own(caller, file, Act::ArtifactOpen, |of| of.with("portable", true)).map(|(reader, _)| reader)
    }

    /// Whether the version that is read would still be opened for whoever reads it.
    fn may_read_still(&self, Source { caller, namespace, artifact, version }: &Source) -> Result<()> {
        self.admit(caller)?;
        self.not_quarantined(Action::Open, super::opening::version_resource(namespace, artifact, version))?;
        self.renew_lease(caller, namespace, artifact, version).map(drop)
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
    ) -> Result<(Reader, Option<Source>)> {
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
        let (mut due, mut source) = (None, None);
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
                let (caller, version) = (self.underway(caller, &permit), version.clone());
                source = Some(Source { caller, namespace: namespace.clone(), artifact, version });
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
        Ok((reader, source))
    }
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
