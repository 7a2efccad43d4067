//! AttestationService: signed statements about versions.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::calls::{Calls, received};
use crate::error::{Error, ErrorId};
use crate::names::Sha256;
use crate::vault::Vault;
use crate::wire::{self, pb};

pub(super) struct Attestations {
    pub(super) vault: Arc<Vault>,
    pub(super) calls: Arc<Calls>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl pb::attestation_service_server::AttestationService for Attestations {
    async fn attach(&self, request: Request<pb::AttachRequest>) -> Answer<pb::AttachResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let reference = call.reference(&m.reference)?;
        let vault = Arc::clone(&self.vault);
        let attach = move |caller: &_| vault.attest(caller, &reference, &m.bundle);
        let attached = self.calls.answer(call, attach).await?;
        Ok(Response::new(pb::AttachResponse { attestation: Some(wire::attestation_to_wire(&attached)) }))
    }

    async fn list_attestations(
        &self,
        request: Request<pb::ListAttestationsRequest>,
    ) -> Answer<pb::ListAttestationsResponse> {
        let (call, m) = received(request, |_| &[])?;
        let reference = call.reference(&m.reference)?;
        let vault = Arc::clone(&self.vault);
        let found = self.calls.answer(call, move |caller| vault.attestations(caller, &reference)).await?;
        let attestations = found.iter().map(wire::attestation_to_wire).collect();
        Ok(Response::new(pb::ListAttestationsResponse { attestations }))
    }

    async fn get_attestation(&self, request: Request<pb::GetAttestationRequest>) -> Answer<pb::GetAttestationResponse> {
        let (call, m) = received(request, |_| &[])?;
        let reference = call.reference(&m.reference)?;
        let digest = Sha256::try_from(&m.digest[..])
            .map_err(|_| call.status(&Error::new(ErrorId::InvalidArgument, "a digest has 32 bytes")))?;
        let vault = Arc::clone(&self.vault);
        let get = move |caller: &_| vault.attestation(caller, &reference, digest);
        let bundle = self.calls.answer(call, get).await?;
        Ok(Response::new(pb::GetAttestationResponse { bundle: bundle.into() }))
    }
}
