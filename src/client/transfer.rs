//! Bulk in the other direction and of sealed bytes: seal, import, export.

use std::io::Write;

use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::{Client, request_id};
use crate::error::{Error, ErrorId, Result};
use crate::facts::VersionFacts;
use crate::names::{ALLOW_UNSIGNED, ArtifactKind, Name, Reference, Tag};
use crate::seal::io::ReadAt;
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
    /// Why a model signature that lies among the members need not be good; `None`: it must be, if there is one.
    pub allow_unsigned: Option<String>,
    /// Identity of the vault that signs; the namespace's own if absent.
    pub identity: Option<Name>,
}

impl Client {
    /// Seals plaintext under the vault; `progress` is told how many bytes have been sent. The flag says that this very call
    /// had been carried out before.
    ///
    /// # Errors
    /// `SourceChanged` if a member has become shorter; `IoError` if it cannot be read; else the vault's. Nothing was
    /// published then.
    pub async fn seal(&self, upload: Upload, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<(VersionFacts, bool)> {
        let mut members = Vec::with_capacity(upload.members.len());
        let mut sources: Vec<Source> = Vec::with_capacity(upload.members.len());
        for (path, source) in upload.members {
            let size = source.len().map_err(|e| Error::from(e).on(&path))?;
            members.push(pb::SealMember { path: path.clone(), size });
            sources.push(Source { name: path, size, bytes: source });
        }
        let start = pb::SealStart {
            namespace: upload.namespace.to_string(),
            name: upload.name.to_string(),
            kind: upload.kind.to_string(),
            tag: upload.tag.map(|t| t.to_string()).unwrap_or_default(),
            members,
            sha256: upload.sha256,
            request_id: request_id()?,
            identity: upload.identity.map(|name| name.to_string()).unwrap_or_default(),
            allow: upload.allow_unsigned.iter().map(|_| ALLOW_UNSIGNED.to_owned()).collect(),
            reason: upload.allow_unsigned.unwrap_or_default(),
        };
        let part = |part| pb::SealRequest { part: Some(part) };
        let first = part(pb::seal_request::Part::Start(start));
        let mut artifacts = self.artifacts();
        let call = async |requests| artifacts.seal(requests).await;
        let answer = self.upload(call, first, |d| part(pb::seal_request::Part::Data(d)), sources, progress).await?;
        Ok((wire::version_from_wire(answer.version)?, answer.replayed))
    }

    /// Gives a sealed file to the vault, byte for byte.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub async fn import(
        &self,
        namespace: &Name,
        name: &Name,
        tag: Option<&Tag>,
        file: Box<dyn ReadAt>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(VersionFacts, bool)> {
        let size = file.len()?;
        let start = pb::ImportStart {
            namespace: namespace.to_string(),
            name: name.to_string(),
            tag: tag.map(ToString::to_string).unwrap_or_default(),
            size,
            request_id: request_id()?,
        };
        let part = |part| pb::ImportRequest { part: Some(part) };
        let first = part(pb::import_request::Part::Start(start));
        let sources = vec![Source { name: "the sealed file".into(), size, bytes: file }];
        let mut artifacts = self.artifacts();
        let call = async |requests| artifacts.import(requests).await;
        let answer = self.upload(call, first, |d| part(pb::import_request::Part::Data(d)), sources, progress).await?;
        Ok((wire::version_from_wire(answer.version)?, answer.replayed))
    }

    /// Writes the sealed bytes of a version, exactly as the vault keeps them. They prove themselves when they are opened.
    pub async fn export(&self, r: &Reference, out: &mut (dyn Write + Send)) -> Result<VersionFacts> {
        use pb::export_response::Part;
        let request = pb::ExportRequest { reference: r.to_string(), request_id: request_id()? };
        let mut stream = self.answer(async || self.artifacts().export(request.clone()).await).await?;
        let mut next = async || match stream.message().await {
            Ok(Some(message)) => message.part.ok_or_else(|| broken("an empty message")).map(Some),
            Ok(None) => Ok(None),
            Err(status) => Err(self.link.error_of(&status)),
        };
        let Some(Part::Start(start)) = next().await? else { return Err(broken("no start")) };
        let version = wire::version_from_wire(start.version)?;
        let mut written = 0;
        loop {
            match next().await? {
                Some(Part::Data(data)) => {
                    written += data.len() as u64;
                    if data.is_empty() || written > start.size {
                        return Err(broken("more bytes than announced"));
                    }
                    out.write_all(&data)?;
                }
                Some(Part::End(end)) if end.bytes == written && written == start.size => break,
                Some(Part::End(_)) => return Err(broken("the totals of the END differ from what came")),
                Some(Part::Start(_)) => return Err(broken("a second start")),
                None => {
                    return Err(Error::new(ErrorId::StreamBroken, "the stream ended without its END"));
                }
            }
        }
        match next().await? {
            None => Ok(version),
            Some(_) => Err(broken("a message after the end")),
        }
    }

    /// Sends `first` and then the bytes of `sources` while `call` waits for the answer. One piece is read ahead.
    async fn upload<M: Send + 'static, A>(
        &self,
        call: impl AsyncFnOnce(ReceiverStream<M>) -> Result<Response<A>, Status>,
        first: M,
        wrap: impl Fn(Bytes) -> M,
        sources: Vec<Source>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<A> {
        let (pieces_in, mut pieces) = mpsc::channel::<Result<Bytes>>(1);
        let reading = tokio::task::spawn_blocking(move || read_all(&sources, &pieces_in));
        let (requests, outgoing) = mpsc::channel(1);
        let pump = async move {
            let mut sent = 0;
            if requests.send(first).await.is_err() {
                return None;
            }
            while let Some(piece) = pieces.recv().await {
                let piece = match piece {
                    Ok(piece) => piece,
                    // Ending early makes the vault find too few bytes; nothing is published.
                    Err(error) => return Some(error),
                };
                let len = piece.len() as u64;
                if requests.send(wrap(piece)).await.is_err() {
                    return None;
                }
                sent += len;
                progress(sent);
            }
            None
        };
        let (own, outcome) = tokio::join!(pump, call(ReceiverStream::new(outgoing)));
        // The reader ends as soon as nobody takes its pieces.
        let _ = reading.await;
        match own {
            // What the caller's own source failed with is more telling than what the vault made of it.
            Some(error) => Err(error),
            None => outcome.map(Response::into_inner).map_err(|s| self.link.error_of(&s)),
        }
    }
}

struct Source {
    name: String,
    size: u64,
    bytes: Box<dyn ReadAt>,
}

/// Blocking: hands out all bytes in order, or the error that stopped it.
fn read_all(sources: &[Source], pieces: &mpsc::Sender<Result<Bytes>>) {
    for source in sources {
        let mut offset = 0;
        while offset < source.size {
            let len = (source.size - offset).min(PIECE_LEN as u64);
            let mut buffer = vec![0; len as usize];
            let piece = match source.bytes.read_exact_at(&mut buffer, offset) {
                Ok(()) => Ok(Bytes::from(buffer)),
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                    let message = format!("{}: has become shorter while it was sent", source.name);
                    Err(Error::new(ErrorId::SourceChanged, message).caused_by(e))
                }
                Err(e) => Err(Error::from(e).on(&source.name)),
            };
            let failed = piece.is_err();
            if pieces.blocking_send(piece).is_err() || failed {
                return;
            }
            offset += len;
        }
    }
}
