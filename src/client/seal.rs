//! Sealing by the vault at the other end. It signs, or the caller does with a key that stays here: then each statement comes
//! back to be signed, and is signed only if it says what was sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use super::connect::Link;
use super::transfer::{Digests, DigestsOfAll, Source, Sources};
use super::{Client, request_id};
use crate::crypto::dsse::{IN_TOTO, Signer};
use crate::error::{Error, ErrorId, Result};
use crate::facts::VersionFacts;
use crate::manifest::{ArtifactStatement, CLOCK_SKEW, MAX_STATEMENT_LEN, Part as SealedPart};
use crate::names::{ALLOW_UNSIGNED, ArtifactKind, Blake3, Clock as _, Name, Root, SystemClock, Tag, Timestamp};
use crate::seal::io::ReadAt;
use crate::seal::signatures;
use crate::wire::pb::seal_response::Part;
use crate::wire::{self, PIECE_LEN, broken, pb};

/// Plaintext to be sealed by the vault.
pub struct Upload {
    /// Where it goes.
    pub namespace: Name,
    /// Name of the artifact.
    pub name: Name,
    /// Model, dataset or opaque.
    pub kind: ArtifactKind,
    /// A tag to move beside `latest`.
    pub tag: Option<Tag>,
    /// Path and bytes of each member. Lengths are taken at the start; a source that is shorter then is an error.
    pub members: Vec<(String, Box<dyn ReadAt>)>,
    /// Whether SHA-256 digests are recorded beside BLAKE3.
    pub sha256: bool,
    /// Whoever publishes; the namespace signs if absent. The key stays here: the vault gets signatures.
    pub signer: Option<Arc<dyn Signer>>,
    /// Identity of the vault that signs instead.
    pub identity: Option<Name>,
    /// Why a model signature that lies among the members need not be good; `None`: it must be, if there is one.
    pub allow_unsigned: Option<String>,
}

impl Client {
    /// Seals plaintext under the vault; `progress` is told how many bytes have been sent. The flag says that this very call
    /// had been carried out before.
    ///
    /// # Errors
    /// `SourceChanged` if a member has become shorter; `IoError` if it cannot be read; `MemberMismatch` or `BindingMismatch`
    /// if the vault asks for a signature on something else than was sent; else the vault's or the signer's. Nothing was
    /// published then.
    pub async fn seal(&self, upload: Upload, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<(VersionFacts, bool)> {
        self.seal_new(upload, None, progress).await.map(|(version, replayed, _)| (version, replayed))
    }

    /// Seals some of the files of a dataset, as a version that no tag moves to. A version of the same artifact that is sealed later
    /// names it as is told here, with all others (docs/datasets.md). What its files are is measured as they are sent: of that the vault
    /// is not believed. `statement`: the `dataset.sig` of that version, if it is known already: what it will be refused for, this is
    /// refused for at once, unless it is longer than 256 KiB.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub async fn seal_part(
        &self,
        upload: Upload,
        statement: &[u8],
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<SealedPart> {
        let statement = if statement.len() > wire::MAX_STATEMENT_AHEAD { &[] } else { statement };
        let (version, _, sent) = self.seal_new(upload, Some(statement), progress).await?;
        if sent.len() as u64 != version.member_count {
            return Err(broken("it sealed another number of files than were sent"));
        }
        let members = sent.iter().map(|(path, size, digest)| (path.as_str(), *size, *digest));
        Ok(SealedPart::of(version.version, version.root, members))
    }

    async fn seal_new(
        &self,
        upload: Upload,
        part: Option<&[u8]>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(VersionFacts, bool, Vec<(String, u64, Blake3)>)> {
        let mut members = Vec::with_capacity(upload.members.len());
        let mut list = Vec::with_capacity(upload.members.len());
        for (path, source) in upload.members {
            let size = source.len().map_err(|e| Error::from(e).on(&path))?;
            members.push(pb::SealMember { path: path.clone(), size });
            list.push(Source { name: path, size, bytes: source });
        }
        let sent: Vec<_> = members.iter().map(|m| (m.path.clone(), m.size)).collect();
        let claim = Claim {
            namespace: upload.namespace.clone(),
            name: upload.name.clone(),
            kind: upload.kind,
            members: sent.clone(),
            began: SystemClock.now(),
        };
        let start = pb::SealStart {
            namespace: upload.namespace.to_string(),
            name: upload.name.to_string(),
            kind: upload.kind.to_string(),
            tag: upload.tag.map(|t| t.to_string()).unwrap_or_default(),
            members,
            sha256: upload.sha256,
            request_id: request_id()?,
            public_key: upload.signer.as_ref().map(|s| s.public().spki()).unwrap_or_default().into(),
            identity: upload.identity.map(|name| name.to_string()).unwrap_or_default(),
            allow: upload.allow_unsigned.iter().map(|_| ALLOW_UNSIGNED.to_owned()).collect(),
            reason: upload.allow_unsigned.unwrap_or_default(),
            part: part.is_some(),
            statement: part.map(Bytes::copy_from_slice).unwrap_or_default(),
        };
        let (sources, measured) = match &upload.signer {
            None if part.is_none() => (Sources::unhashed(list), None),
            signer => {
                let (sources, digests) = Sources::hashed(list, upload.sha256 && signer.is_some());
                (sources, Some(digests))
            }
        };
        let publisher = upload.signer.zip(measured.clone());
        let publisher =
            publisher.map(|(signer, digests)| Publisher { signer, claim, digests, statement: None, root: None });
        let part = |part| pb::SealRequest { part: Some(part) };
        let first = part(pb::seal_request::Part::Start(start));
        let wrap = |data| part(pb::seal_request::Part::Data(data));
        let last = |bytes| Some(part(pb::seal_request::Part::End(pb::SealEnd { bytes })));
        let talk = async |outgoing, requests| self.talk(outgoing, requests, publisher).await;
        let (version, replayed) = self.upload(talk, first, wrap, last, sources, progress).await?;
        let measured = measured.and_then(|all| all.borrow().clone()).unwrap_or_default();
        let mut sent: Vec<_> = sent.into_iter().zip(measured).map(|((path, size), d)| (path, size, d.blake3)).collect();
        sent.sort_unstable();
        Ok((version, replayed, sent))
    }

    async fn talk(
        &self,
        outgoing: ReceiverStream<pb::SealRequest>,
        requests: mpsc::Sender<pb::SealRequest>,
        mut publisher: Option<Publisher>,
    ) -> Result<(VersionFacts, bool)> {
        let stream = self.artifacts().seal(outgoing).await.map_err(|s| self.link.error_of(&s))?.into_inner();
        let mut answers = Answers { stream, link: &self.link };
        loop {
            match answers.next().await? {
                Some(Part::ToSign(question)) => {
                    let publisher = publisher.as_mut().ok_or_else(|| broken("it asks for a signature of nobody"))?;
                    let payload = answers.payload(question.payload_len).await?;
                    let signature = publisher.sign(payload).await?.to_vec().into();
                    let signature = pb::seal_request::Part::Signature(signature);
                    // A vault that takes no more says why.
                    let _ = requests.send(pb::SealRequest { part: Some(signature) }).await;
                }
                Some(Part::Sealed(sealed)) => {
                    let version = wire::version_from_wire(sealed.version)?;
                    if let Some(publisher) = &publisher {
                        publisher.confirm(&version, sealed.replayed)?;
                    }
                    return match answers.next().await? {
                        None => Ok((version, sealed.replayed)),
                        Some(_) => Err(broken("a message after the end")),
                    };
                }
                Some(Part::Payload(_)) => return Err(broken("more to be signed than announced")),
                None => return Err(broken("the call ended without an outcome")),
            }
        }
    }
}

struct Answers<'a> {
    stream: Streaming<pb::SealResponse>,
    link: &'a Link,
}

impl Answers<'_> {
    async fn next(&mut self) -> Result<Option<Part>> {
        match self.stream.message().await {
            Ok(Some(message)) => message.part.ok_or_else(|| broken("an empty message")).map(Some),
            Ok(None) => Ok(None),
            Err(status) => Err(self.link.error_of(&status)),
        }
    }

    async fn payload(&mut self, announced: u64) -> Result<Vec<u8>> {
        if announced > MAX_STATEMENT_LEN {
            let message = format!("the vault announces {announced} bytes to be signed");
            return Err(Error::new(ErrorId::LimitExceeded, message));
        }
        let mut payload = Vec::new();
        while (payload.len() as u64) < announced {
            match self.next().await? {
                Some(Part::Payload(piece)) if (1..=PIECE_LEN).contains(&piece.len()) => {
                    payload.extend_from_slice(&piece)
                }
                _ => return Err(broken("what is to be signed is shorter than announced")),
            }
        }
        if payload.len() as u64 > announced {
            return Err(broken("what is to be signed is longer than announced"));
        }
        Ok(payload)
    }
}

/// What the caller knows of what it sends.
struct Claim {
    namespace: Name,
    name: Name,
    kind: ArtifactKind,
    /// Path and size, in the order they are sent.
    members: Vec<(String, u64)>,
    began: Timestamp,
}

/// Checks what it is asked to sign: the artifact statement first, then the seal statement, then nothing more.
struct Publisher {
    signer: Arc<dyn Signer>,
    claim: Claim,
    /// Told when all was sent.
    digests: DigestsOfAll,
    statement: Option<ArtifactStatement>,
    root: Option<Root>,
}

impl Publisher {
    async fn sign(&mut self, payload: Vec<u8>) -> Result<[u8; 64]> {
        match (&self.statement, &self.root) {
            (None, _) => {
                let digests = self.digests.wait_for(Option::is_some).await;
                let digests = digests.map_err(|_| broken("it asks before all was sent"))?.clone();
                self.statement = Some(self.claim.accept(&payload, &digests.unwrap_or_default(), SystemClock.now())?);
            }
            (Some(statement), None) => {
                let root = signatures::root_of_statement(&payload, &statement.file_id);
                let other = || refused("the seal statement is malformed or about another file".into());
                self.root = Some(root.ok_or_else(other)?);
            }
            (Some(_), Some(_)) => return Err(broken("it asks for a third signature")),
        }
        // A key may be kept by something that takes its time.
        let signer = Arc::clone(&self.signer);
        let signing = tokio::task::spawn_blocking(move || signer.sign(IN_TOTO, &payload));
        signing.await.map_err(|_| Error::new(ErrorId::Internal, "the signing broke off"))?
    }

    /// The version that was published is the one that was signed.
    fn confirm(&self, version: &VersionFacts, replayed: bool) -> Result<()> {
        let (Some(s), Some(root), false) = (&self.statement, &self.root, replayed) else {
            return Err(refused("it says that it sealed, and did not ask for the signatures".into()));
        };
        let signed = (&s.namespace, &s.name, s.version, s.kind, s.file_id, *root, self.signer.public().key_id());
        let told = (
            &version.namespace,
            &version.name,
            version.version,
            version.kind,
            version.file_id,
            version.root,
            version.signer,
        );
        if signed == told { Ok(()) } else { Err(refused("it published another version than the one signed".into())) }
    }
}

impl Claim {
    /// Whether the artifact statement says what was sent, under the name that was said, and nothing else.
    fn accept(&self, payload: &[u8], digests: &[Digests], now: Timestamp) -> Result<ArtifactStatement> {
        let malformed = |e: String| refused(format!("the artifact statement cannot be read: {e}"));
        let statement = ArtifactStatement::from_payload(payload).map_err(|e| malformed(e.to_string()))?;
        if statement.to_payload().as_bytes() != payload {
            return Err(malformed("not in its canonical form".into()));
        }
        if (&statement.namespace, &statement.name, statement.kind) != (&self.namespace, &self.name, self.kind) {
            let told = format!("{} {}/{}", statement.kind, statement.namespace, statement.name);
            return Err(refused(format!(
                "sent was the {} {}/{}, to be signed {told}",
                self.kind, self.namespace, self.name
            )));
        }
        let early = Timestamp::from_millis(self.began.as_millis().saturating_sub(CLOCK_SKEW.as_millis() as i64));
        if statement.created < early || statement.created > now.plus(CLOCK_SKEW) {
            return Err(refused(format!("the artifact statement is of another time: {}", statement.created)));
        }
        let sent: BTreeMap<&[u8], (u64, Digests)> =
            self.members.iter().zip(digests).map(|((path, size), d)| (path.as_bytes(), (*size, *d))).collect();
        let total = self.members.iter().map(|(_, size)| *size).fold(0, u64::saturating_add);
        if statement.version == 0 || statement.payload_size < total || sent.len() != self.members.len() {
            return Err(refused("the artifact statement has impossible numbers".into()));
        }
        if statement.subjects.len() != sent.len() {
            let text = format!("{} members were sent, {} are to be signed", sent.len(), statement.subjects.len());
            return Err(refused(text));
        }
        // Both in the order of their paths, without a path twice.
        for (subject, (path, (size, digests))) in statement.subjects.iter().zip(sent) {
            let found = Digests { blake3: subject.blake3, sha256: subject.sha256 };
            if subject.path.as_bytes() != path || subject.size != size || found != digests {
                let text = format!("{}: what is to be signed is not what was sent", subject.path);
                return Err(Error::new(ErrorId::MemberMismatch, text).hint(DISTRUST).detail("member", &subject.path));
            }
        }
        Ok(statement)
    }
}

const DISTRUST: &str = "the vault asks for a signature on something else than was sent: do not trust it before its operator has explained it";

fn refused(what: String) -> Error {
    Error::new(ErrorId::BindingMismatch, format!("nothing more is signed for this vault: {what}")).hint(DISTRUST)
}
