//! IntelService: lists of known bad digests and keys.

use std::io::Read as _;
use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use super::admin::json;
use super::artifact::{begin_upload, no_start};
use super::calls::{Call, Calls, panicked, received};
use super::upload::{Inbox, Incoming, Whole, upload};
use crate::error::{Error, ErrorId};
use crate::facts::IntelListsFacts;
use crate::intel::MAX_BYTES;
use crate::names::Name;
use crate::vault::Vault;
use crate::wire::pb::{self, import_intel_request::Part};

pub(super) struct Intel {
    pub(super) vault: Arc<Vault>,
    pub(super) calls: Arc<Calls>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl pb::intel_service_server::IntelService for Intel {
    async fn import_intel(
        &self,
        request: Request<Streaming<pb::ImportIntelRequest>>,
    ) -> Answer<pb::ImportIntelResponse> {
        let (_, extensions, mut messages) = request.into_parts();
        let first = tokio::time::timeout(self.calls.limits.call, messages.message()).await;
        let Ok(Ok(Some(pb::ImportIntelRequest { part: Some(Part::Start(start)) }))) = first else {
            return Err(no_start(&extensions));
        };
        let call = Call::new(&extensions, &start.request_id)?;
        let source: Name = call.parse(&start.source)?;
        if start.size > MAX_BYTES as u64 {
            let text = format!("a list has at most {} MiB", MAX_BYTES >> 20);
            return Err(call.status(&Error::new(ErrorId::InvalidArgument, text)));
        }
        // Nothing is received for whoever may not import.
        let may = |vault: &Arc<Vault>, caller: &_| vault.may_import_intel(caller);
        let (transfer, standing) = begin_upload(&self.vault, &self.calls, &call, may).await?;
        let (pump, inbox) = upload(start.size);
        let (vault, caller, working) = (Arc::clone(&self.vault), call.caller.clone(), self.calls.working());
        let mut importing = tokio::task::spawn_blocking(move || {
            let _until_done = (transfer, working);
            let mut bytes = Vec::new();
            Whole(Arc::clone(&inbox))
                .read_to_end(&mut bytes)
                .map_err(|e| Inbox::failure(&inbox).unwrap_or_else(|| e.into()))?;
            json(&vault.import_intel(&caller, &source, &bytes)?)
        });
        let pumping = pump.run(&mut messages, true, standing, |m| match m.part {
            Some(Part::Data(bytes)) => Incoming::Data(bytes),
            _ => Incoming::Other,
        });
        let outcome = tokio::select! {
            outcome = &mut importing => outcome,
            () = pumping => importing.await,
        };
        let facts_json = outcome.map_err(panicked).and_then(|o| o).map_err(|e| call.status(&e))?;
        Ok(Response::new(pb::ImportIntelResponse { facts_json }))
    }

    async fn list_intel(&self, request: Request<pb::ListIntelRequest>) -> Answer<pb::ListIntelResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let list = move |caller: &_| json(&IntelListsFacts { lists: vault.intel_lists(caller)? });
        let facts_json = self.calls.answer(call, list).await?;
        Ok(Response::new(pb::ListIntelResponse { facts_json }))
    }

    async fn remove_intel(&self, request: Request<pb::RemoveIntelRequest>) -> Answer<pb::RemoveIntelResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let source: Name = call.parse(&m.source)?;
        let vault = Arc::clone(&self.vault);
        self.calls.answer(call, move |caller| vault.remove_intel(caller, &source)).await?;
        Ok(Response::new(pb::RemoveIntelResponse {}))
    }
}
