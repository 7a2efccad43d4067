//! ArtifactService: importing, exporting, naming, verifying.

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status, Streaming};

use super::admin::json;
use super::calls::{Call, Calls, Transfer, panicked, received};
use super::streams::{Answers, Outlet, streamed};
use super::upload::{Inbox, Incoming, Whole, upload};
use crate::error::{Error, ErrorId, Result as Outcome};
use crate::names::{Name, Reference, Tag};
use crate::vault::{Caller, Export, ImportInput, ImportSource, NewArtifact, Published, Standing, Vault};
use crate::wire::{self, PIECE_LEN, pb};

pub(super) struct Artifacts {
    pub(super) vault: Arc<Vault>,
    pub(super) calls: Arc<Calls>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl pb::artifact_service_server::ArtifactService for Artifacts {
    type ExportStream = Answers<pb::ExportResponse>;
    type SealStream = Answers<pb::SealResponse>;

    async fn seal(&self, request: Request<Streaming<pb::SealRequest>>) -> Answer<Self::SealStream> {
        self.begin_seal(request).await
    }

    async fn import(&self, request: Request<Streaming<pb::ImportRequest>>) -> Answer<pb::ImportResponse> {
        use pb::import_request::Part;
        let (_, extensions, mut messages) = request.into_parts();
        let first = self.first(&extensions, &mut messages).await?;
        let Some(Part::Start(start)) = first.part else { return Err(no_start(&extensions)) };
        let call = Call::new(&extensions, &start.request_id)?;
        let (namespace, name): (Name, Name) = (call.parse(&start.namespace)?, call.parse(&start.name)?);
        let tag = optional_tag(&call, &start.tag)?;
        if start.size == 0 {
            return Err(call.status(&Error::new(ErrorId::NotSealed, "there is nothing in the file")));
        }
        let (of, named, moved) = (namespace.clone(), name.clone(), tag.clone());
        let asked = NewArtifact { namespace: of, name: named, kind: None, tag: moved, publisher: None };
        let (transfer, standing) = self.begin(&call, move |vault, caller| vault.may_import(caller, asked)).await?;
        let (pump, inbox) = upload(start.size);
        let (vault, caller) = (Arc::clone(&self.vault), call.caller.clone());
        let working = self.calls.working();
        let importing = tokio::task::spawn_blocking(move || {
            let _until_done = (transfer, working);
            let source = ImportSource::Stream { bytes: Box::new(Whole(Arc::clone(&inbox))), size: start.size };
            let progress = Box::new(|_| {});
            let input = ImportInput { namespace, name, tag, source, credential: None, progress };
            let outcome = vault.import(&caller, input);
            outcome.map_err(|e| Inbox::failure(&inbox).unwrap_or(e))
        });
        let pumping = pump.run(&mut messages, true, standing, |m| match m.part {
            Some(Part::Data(bytes)) => Incoming::Data(bytes),
            _ => Incoming::Other,
        });
        let published = finished(&call, pumping, importing).await?;
        Ok(Response::new(pb::ImportResponse {
            version: Some(wire::version_to_wire(&published.version)),
            replayed: published.replayed,
        }))
    }

    async fn export(&self, request: Request<pb::ExportRequest>) -> Answer<Self::ExportStream> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let reference = call.reference(&m.reference)?;
        let vault = Arc::clone(&self.vault);
        let mut export = self.calls.answer(call.clone(), move |caller| vault.export(caller, &reference)).await?;
        let standing = self.vault.standing(&call.caller);
        let answers = streamed(&self.calls, call, standing, move |_, outlet| {
            let mut sent = 0;
            let outcome = hand_out(&mut export, outlet, &mut sent);
            export.finish(sent, &outcome)?;
            outcome
        })?;
        Ok(Response::new(answers))
    }

    async fn list_artifacts(&self, request: Request<pb::ListArtifactsRequest>) -> Answer<pb::ListArtifactsResponse> {
        let (call, m) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let list = move |caller: &_| vault.list(caller, &m.pattern, m.include_unlisted, &m.page_token, m.page_size);
        let page = self.calls.answer(call, list).await?;
        Ok(Response::new(pb::ListArtifactsResponse {
            artifacts: page.rows.iter().map(wire::artifact_to_wire).collect(),
            next_page_token: page.next.into(),
        }))
    }

    async fn list_versions(&self, request: Request<pb::ListVersionsRequest>) -> Answer<pb::ListVersionsResponse> {
        let (call, m) = received(request, |_| &[])?;
        let (namespace, name) = call.artifact(&m.artifact)?;
        let vault = Arc::clone(&self.vault);
        let list = move |caller: &_| {
            vault.versions(caller, (&namespace, &name), m.include_unlisted, &m.page_token, m.page_size)
        };
        let page = self.calls.answer(call, list).await?;
        Ok(Response::new(pb::ListVersionsResponse {
            versions: page.rows.iter().map(wire::version_to_wire).collect(),
            next_page_token: page.next.into(),
        }))
    }

    async fn get_version(&self, request: Request<pb::GetVersionRequest>) -> Answer<pb::GetVersionResponse> {
        let (call, m) = received(request, |_| &[])?;
        let reference = call.reference(&m.reference)?;
        let vault = Arc::clone(&self.vault);
        let version = self.calls.answer(call, move |caller| vault.version(caller, &reference)).await?;
        Ok(Response::new(pb::GetVersionResponse { version: Some(wire::version_to_wire(&version)) }))
    }

    async fn inspect(&self, request: Request<pb::InspectRequest>) -> Answer<pb::InspectResponse> {
        let (call, m) = received(request, |_| &[])?;
        let reference = call.reference(&m.reference)?;
        let vault = Arc::clone(&self.vault);
        let inspect = move |caller: &_| {
            let facts = vault.inspect(caller, &reference)?;
            let facts_json = json(&facts)?;
            Ok(pb::InspectResponse { version: facts.version.as_ref().map(wire::version_to_wire), facts_json })
        };
        Ok(Response::new(self.calls.answer(call, inspect).await?))
    }

    async fn set_tag(&self, request: Request<pb::SetTagRequest>) -> Answer<pb::SetTagResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let (reference, tag) = (call.reference(&m.reference)?, call.parse::<Tag>(&m.tag)?);
        let vault = Arc::clone(&self.vault);
        let moved = self.calls.answer(call, move |caller| vault.set_tag(caller, &reference, &tag, m.expect)).await?;
        Ok(Response::new(pb::SetTagResponse {
            version: Some(wire::version_to_wire(&moved.version)),
            sequence: moved.sequence,
            from: moved.from.unwrap_or(0),
        }))
    }

    async fn remove(&self, request: Request<pb::RemoveRequest>) -> Answer<pb::RemoveResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let (reference, whole) = removal(&call, &m.reference)?;
        let vault = Arc::clone(&self.vault);
        let versions = self.calls.answer(call, move |caller| vault.remove(caller, &reference, whole)).await?;
        Ok(Response::new(pb::RemoveResponse { versions }))
    }

    async fn shred(&self, request: Request<pb::ShredRequest>) -> Answer<pb::ShredResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let reference = call.reference(&m.reference)?;
        let vault = Arc::clone(&self.vault);
        let version = self.calls.answer(call, move |caller| vault.shred(caller, &reference)).await?;
        Ok(Response::new(pb::ShredResponse { version: Some(wire::version_to_wire(&version)) }))
    }

    async fn restore(&self, request: Request<pb::RestoreRequest>) -> Answer<pb::RestoreResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let (reference, whole) = removal(&call, &m.reference)?;
        let vault = Arc::clone(&self.vault);
        let versions = self.calls.answer(call, move |caller| vault.restore(caller, &reference, whole)).await?;
        Ok(Response::new(pb::RestoreResponse { versions }))
    }

    async fn verify(&self, request: Request<pb::VerifyRequest>) -> Answer<pb::VerifyResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let reference = call.reference(&m.reference)?;
        let vault = Arc::clone(&self.vault);
        let facts = self.calls.check(call, move |caller| vault.verify(caller, &reference)).await?;
        Ok(Response::new(pb::VerifyResponse {
            version: facts.version.as_ref().map(wire::version_to_wire),
            signers: facts.signers.iter().map(ToString::to_string).collect(),
        }))
    }
}

impl Artifacts {
    /// Takes a place for an upload, once the policy is known to let the caller make it: whoever may not waits for nothing and
    /// keeps nobody out. It is asked again while the bytes come, and, for the record, when the upload is published.
    pub(super) async fn begin(
        &self,
        call: &Call,
        may: impl FnOnce(&Arc<Vault>, &Caller) -> Outcome<Standing> + Send + 'static,
    ) -> Result<(Transfer, Standing), Status> {
        begin_upload(&self.vault, &self.calls, call, may).await
    }

    /// The first message of an upload, in the time a call has.
    pub(super) async fn first<M>(
        &self,
        extensions: &http::Extensions,
        messages: &mut Streaming<M>,
    ) -> Result<M, Status> {
        match tokio::time::timeout(self.calls.limits.call, messages.message()).await {
            Ok(Ok(Some(first))) => Ok(first),
            Ok(Ok(None)) => Err(no_start(extensions)),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(Call::new(extensions, &[])?
                .status(&Error::new(ErrorId::DeadlineExceeded, "the upload did not begin in time"))),
        }
    }
}

/// All of a sealed file; counts what the client was given.
fn hand_out(export: &mut Export, outlet: &Outlet<pb::ExportResponse>, sent: &mut u64) -> Outcome<()> {
    use pb::export_response::Part;
    let send = |part| outlet.send(pb::ExportResponse { part: Some(part) });
    let version = Some(wire::version_to_wire(export.version()));
    send(Part::Start(pb::ExportStart { version, size: export.size() }))?;
    while *sent < export.size() {
        let mut piece = vec![0; (export.size() - *sent).min(PIECE_LEN as u64) as usize];
        export.read(*sent, &mut piece)?;
        let len = piece.len() as u64;
        send(Part::Data(Bytes::from(piece)))?;
        *sent += len;
    }
    send(Part::End(pb::ExportEnd { bytes: *sent }))
}

pub(super) async fn begin_upload(
    vault: &Arc<Vault>,
    calls: &Calls,
    call: &Call,
    may: impl FnOnce(&Arc<Vault>, &Caller) -> Outcome<Standing> + Send + 'static,
) -> Result<(Transfer, Standing), Status> {
    let vault = Arc::clone(vault);
    let standing = calls.answer(call.clone(), move |caller| may(&vault, caller)).await?;
    Ok((calls.transfer(&call.caller).map_err(|e| call.status(&e))?, standing))
}

pub(super) fn no_start(extensions: &http::Extensions) -> Status {
    let error = Error::new(ErrorId::InvalidArgument, "an upload begins with its start message");
    Call::new(extensions, &[]).map_or_else(|status| status, |call| call.status(&error))
}

pub(super) fn optional_tag(call: &Call, text: &str) -> Result<Option<Tag>, Status> {
    if text.is_empty() { Ok(None) } else { call.parse(text).map(Some) }
}

/// `NAME@REVISION` is one version, `NAME` the whole artifact.
fn removal(call: &Call, text: &str) -> Result<(Reference, bool), Status> {
    Ok((call.reference(text)?, !text.contains('@')))
}

/// Both sides of an upload run until the reading side is done.
async fn finished(
    call: &Call,
    pumping: impl Future<Output = ()>,
    mut reading: tokio::task::JoinHandle<Outcome<Published>>,
) -> Result<Published, Status> {
    let outcome = tokio::select! {
        outcome = &mut reading => outcome,
        () = pumping => reading.await,
    };
    outcome.map_err(panicked).and_then(|o| o).map_err(|e| call.status(&e))
}
