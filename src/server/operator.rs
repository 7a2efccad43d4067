//! OperatorService: second factors, approvals.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::admin::json;
use super::calls::{Call, Calls, received};
use crate::error::Error;
use crate::identity::Person;
use crate::identity::totp::Proof;
use crate::names::{ApprovalId, Sha256};
use crate::vault::Vault;
use crate::wire::pb;

pub(super) struct Operators {
    pub(super) vault: Arc<Vault>,
    pub(super) calls: Arc<Calls>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl pb::operator_service_server::OperatorService for Operators {
    async fn enroll_factor(&self, request: Request<pb::EnrollFactorRequest>) -> Answer<pb::EnrollFactorResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let begun = self.calls.answer(call, move |caller| vault.enroll_factor(caller)).await?;
        Ok(Response::new(pb::EnrollFactorResponse { person: begun.person, uri: begun.uri, secret: begun.secret }))
    }

    async fn confirm_factor(&self, request: Request<pb::ConfirmFactorRequest>) -> Answer<pb::ConfirmFactorResponse> {
        let (call, m) = received(request, |_| &[])?;
        let proof: Proof = call.parse(&m.code)?;
        let vault = Arc::clone(&self.vault);
        let recovery_codes = self.calls.answer(call, move |caller| vault.confirm_factor(caller, &proof)).await?;
        Ok(Response::new(pb::ConfirmFactorResponse { recovery_codes }))
    }

    async fn factor_status(&self, request: Request<pb::FactorStatusRequest>) -> Answer<pb::FactorStatusResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let facts_json = self.calls.answer(call, move |caller| json(&vault.factor_status(caller)?)).await?;
        Ok(Response::new(pb::FactorStatusResponse { facts_json }))
    }

    async fn reset_factor(&self, request: Request<pb::ResetFactorRequest>) -> Answer<pb::ResetFactorResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let whose: Option<Person> = if m.person.is_empty() { None } else { Some(call.parse(&m.person)?) };
        let vault = Arc::clone(&self.vault);
        let person = self.calls.answer(call, move |caller| vault.reset_factor(caller, whose.as_ref())).await?;
        Ok(Response::new(pb::ResetFactorResponse { person }))
    }

    async fn step_up(&self, request: Request<pb::StepUpRequest>) -> Answer<pb::StepUpResponse> {
        let (call, m) = received(request, |_| &[])?;
        let proof: Proof = call.parse(&m.code)?;
        let vault = Arc::clone(&self.vault);
        let opened = self.calls.answer(call, move |caller| vault.step_up(caller, &proof)).await?;
        Ok(Response::new(pb::StepUpResponse {
            person: opened.person,
            method: opened.method,
            expires: opened.expires.to_string(),
            recovery_codes: u32::try_from(opened.recovery_codes).unwrap_or(u32::MAX),
            token: opened.token.map(|token| token.expose().to_vec()).unwrap_or_default().into(),
        }))
    }

    async fn end_step_up(&self, request: Request<pb::EndStepUpRequest>) -> Answer<pb::EndStepUpResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let ended = self.calls.answer(call, move |caller| vault.end_step_up(caller)).await?;
        Ok(Response::new(pb::EndStepUpResponse { ended }))
    }

    async fn list_approvals(&self, request: Request<pb::ListApprovalsRequest>) -> Answer<pb::ListApprovalsResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let facts_json = self.calls.answer(call, move |caller| json(&vault.approvals(caller)?)).await?;
        Ok(Response::new(pb::ListApprovalsResponse { facts_json }))
    }

    async fn approve(&self, request: Request<pb::ApproveRequest>) -> Answer<pb::ApproveResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let refused = |call: &Call, e: &Error| call.status(e);
        let id = ApprovalId::try_from(&m.id[..]).map_err(|e| refused(&call, &e))?;
        let digest = Sha256::try_from(&m.digest[..]).map_err(|e| refused(&call, &e))?;
        let vault = Arc::clone(&self.vault);
        let give = move |caller: &_| json(&vault.approve(caller, id, digest, m.approve)?);
        Ok(Response::new(pb::ApproveResponse { facts_json: self.calls.answer(call, give).await? }))
    }
}
