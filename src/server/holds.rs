//! HoldService: principals and artifacts on hold.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status};

use super::admin::json;
use super::calls::{Calls, received};
use crate::vault::{HoldSpec, HoldTarget, Vault};
use crate::wire::pb;

pub(super) struct Holds {
    pub(super) vault: Arc<Vault>,
    pub(super) calls: Arc<Calls>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl pb::hold_service_server::HoldService for Holds {
    async fn place_hold(&self, request: Request<pb::PlaceHoldRequest>) -> Answer<pb::PlaceHoldResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let spec = HoldSpec {
            target: HoldTarget::parse(&m.what, &m.name).map_err(|e| call.status(&e))?,
            kind: m.kind,
            reason: m.reason,
            lasts: (m.seconds > 0).then(|| Duration::from_secs(m.seconds)),
        };
        let vault = Arc::clone(&self.vault);
        let facts_json = self.calls.answer(call, move |caller| json(&vault.quarantine(caller, &spec)?)).await?;
        Ok(Response::new(pb::PlaceHoldResponse { facts_json }))
    }

    async fn release_holds(&self, request: Request<pb::ReleaseHoldsRequest>) -> Answer<pb::ReleaseHoldsResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let target = HoldTarget::parse(&m.what, &m.name).map_err(|e| call.status(&e))?;
        let vault = Arc::clone(&self.vault);
        let released = self.calls.answer(call, move |caller| vault.release_hold(caller, &target)).await?;
        Ok(Response::new(pb::ReleaseHoldsResponse { released }))
    }

    async fn list_holds(&self, request: Request<pb::ListHoldsRequest>) -> Answer<pb::ListHoldsResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let facts_json = self.calls.answer(call, move |caller| json(&vault.list_holds(caller)?)).await?;
        Ok(Response::new(pb::ListHoldsResponse { facts_json }))
    }
}
