//! Bulk in the other direction and of sealed bytes: what seal and import share, import, export.

use std::io::Write;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tonic::Response;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use super::{Client, request_id};
use crate::crypto::hash::{Blake3Hasher, Sha256Hasher};
use crate::error::{Error, ErrorId, Result};
use crate::facts::VersionFacts;
use crate::names::{Blake3, Name, Reference, Sha256, Tag};
use crate::seal::io::ReadAt;
use crate::wire::{self, PIECE_LEN, broken, pb};

impl Client {
    /// Gives a sealed file to the vault, byte for byte.
    ///
    /// # Errors
    /// `SourceChanged` if the file has become shorter; `IoError` if it cannot be read; else the vault's. Nothing was published
    /// then.
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
        let sources = Sources::unhashed(vec![Source { name: "the sealed file".into(), size, bytes: file }]);
        let mut artifacts = self.artifacts();
        let call = async |outgoing, requests| {
            // The vault takes the end of our side for the end of the file.
            drop(requests);
            artifacts.import(outgoing).await.map(Response::into_inner).map_err(|s| self.link.error_of(&s))
        };
        let wrap = |data| part(pb::import_request::Part::Data(data));
        let answer = self.upload(call, first, wrap, |_| None, sources, progress).await?;
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

    /// Sends `first`, the bytes of `sources` and `last` of their number, if there is such a message, while `talk` makes the call
    /// and hears its answers. `talk` gets what is sent, and a way to send more. One piece is read ahead.
    pub(super) async fn upload<M: Send + 'static, A>(
        &self,
        talk: impl AsyncFnOnce(ReceiverStream<M>, mpsc::Sender<M>) -> Result<A>,
        first: M,
        wrap: impl Fn(Bytes) -> M,
        last: impl FnOnce(u64) -> Option<M>,
        sources: Sources,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<A> {
        let (pieces_in, mut pieces) = mpsc::channel::<Result<Bytes>>(1);
        let reading = tokio::task::spawn_blocking(move || read_all(sources, &pieces_in));
        let (requests, outgoing) = mpsc::channel(1);
        let more = requests.clone();
        // What the caller's own source failed with is more telling than what the vault makes of it.
        let pump = async move {
            let mut sent = 0;
            if requests.send(first).await.is_err() {
                return Ok(());
            }
            while let Some(piece) = pieces.recv().await {
                let piece = piece?;
                let len = piece.len() as u64;
                if requests.send(wrap(piece)).await.is_err() {
                    return Ok(());
                }
                sent += len;
                progress(sent);
            }
            if let Some(last) = last(sent) {
                let _ = requests.send(last).await;
            }
            Ok(())
        };
        let outcome = {
            let talking = talk(ReceiverStream::new(outgoing), more);
            tokio::pin!(pump, talking);
            tokio::select! {
                biased;
                // Given up early the call is cut: the vault finds too few bytes, and nothing is published.
                sent = &mut pump => match sent {
                    Ok(()) => talking.await,
                    Err(own) => Err(own),
                },
                outcome = &mut talking => outcome,
            }
        };
        // The reader ends as soon as nobody takes its pieces.
        let _ = reading.await;
        outcome
    }
}

/// What is to be sent.
pub(super) struct Sources {
    list: Vec<Source>,
    /// Hears the digests of all members when the last was read, and whether SHA-256 is wanted too.
    hashed: Option<(watch::Sender<Option<Vec<Digests>>>, bool)>,
}

impl Sources {
    /// Nobody asks for their digests.
    pub(super) fn unhashed(list: Vec<Source>) -> Self {
        Self { list, hashed: None }
    }

    /// The digests are told when all was read.
    pub(super) fn hashed(list: Vec<Source>, sha256: bool) -> (Self, DigestsOfAll) {
        let (hears, told) = watch::channel(None);
        (Self { list, hashed: Some((hears, sha256)) }, told)
    }
}

/// None until all was read.
pub(super) type DigestsOfAll = watch::Receiver<Option<Vec<Digests>>>;

pub(super) struct Source {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) bytes: Box<dyn ReadAt>,
}

/// Of the bytes of a member as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digests {
    pub(super) blake3: Blake3,
    pub(super) sha256: Option<Sha256>,
}

/// Blocking: hands out all bytes in order, or the error that stopped it.
fn read_all(sources: Sources, pieces: &mpsc::Sender<Result<Bytes>>) {
    let mut digests = Vec::new();
    for source in &sources.list {
        let mut hashers =
            sources.hashed.as_ref().map(|(_, sha256)| (Blake3Hasher::default(), sha256.then(Sha256Hasher::default)));
        let mut offset = 0;
        while offset < source.size {
            let len = (source.size - offset).min(PIECE_LEN as u64);
            let mut buffer = vec![0; len as usize];
            let read = source.bytes.read_exact_at(&mut buffer, offset);
            if let Some((blake3, sha256)) = &mut hashers {
                blake3.update(&buffer);
                sha256.iter_mut().for_each(|h| h.update(&buffer));
            }
            let piece = match read {
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
        let of = hashers
            .map(|(blake3, sha256)| Digests { blake3: blake3.finish(), sha256: sha256.map(Sha256Hasher::finish) });
        digests.extend(of);
    }
    if let Some((hears, _)) = sources.hashed {
        let _ = hears.send(Some(digests));
    }
}
