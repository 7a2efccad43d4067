//! Calls about second factors and approvals, for operators.

use super::{Client, Line, facts, request_id};
use crate::error::Result;
use crate::facts::{ApprovalFacts, EnrolmentFacts, FactorFacts};
use crate::identity::{Person, StepUpToken, SteppedUp};
use crate::names::{ApprovalId, Sha256};
use crate::wire::pb::operator_service_client::OperatorServiceClient;
use crate::wire::{broken, pb};

impl Client {
    /// Begins the enrolment of the caller's own second factor.
    pub async fn enroll_factor(&self) -> Result<EnrolmentFacts> {
        let a = self.once(async || self.operators().enroll_factor(pb::EnrollFactorRequest {}).await).await?;
        Ok(EnrolmentFacts { person: a.person, uri: a.uri, secret: a.secret })
    }

    /// Confirms it with a first code; returns the recovery codes, which are told this once.
    pub async fn confirm_factor(&self, code: &str) -> Result<Vec<String>> {
        let request = pb::ConfirmFactorRequest { code: code.into() };
        Ok(self.once(async || self.operators().confirm_factor(request).await).await?.recovery_codes)
    }

    /// What the caller's second factor is at.
    pub async fn factor_status(&self) -> Result<FactorFacts> {
        let ask = async || self.operators().factor_status(pb::FactorStatusRequest {}).await;
        facts(&self.answer(ask).await?.facts_json)
    }

    /// Takes the caller's second factor away, or that of another person; returns whose.
    pub async fn reset_factor(&self, whose: Option<&Person>) -> Result<String> {
        let person = whose.map(ToString::to_string).unwrap_or_default();
        let request = pb::ResetFactorRequest { person, request_id: request_id()? };
        Ok(self.once(async || self.operators().reset_factor(request).await).await?.person)
    }

    /// Uses the caller's second factor: six digits, or a recovery code. Show the token from then on: [`Client::showing`].
    pub async fn step_up(&self, code: &str) -> Result<SteppedUp> {
        let request = pb::StepUpRequest { code: code.into() };
        let a = self.once(async || self.operators().step_up(request).await).await?;
        let token = match &a.token[..] {
            [] => None,
            bytes => Some(StepUpToken::from_bytes(bytes).ok_or_else(|| broken("the token is malformed"))?),
        };
        Ok(SteppedUp {
            person: a.person,
            method: a.method,
            expires: a.expires.parse().map_err(|e| broken("a time is malformed").caused_by(e))?,
            recovery_codes: a.recovery_codes as usize,
            token,
        })
    }

    /// Ends what the caller's second factor opened; whether there was something to end.
    pub async fn end_step_up(&self) -> Result<bool> {
        Ok(self.once(async || self.operators().end_step_up(pb::EndStepUpRequest {}).await).await?.ended)
    }

    /// What waits for approval.
    pub async fn approvals(&self) -> Result<Vec<ApprovalFacts>> {
        let ask = async || self.operators().list_approvals(pb::ListApprovalsRequest {}).await;
        facts(&self.answer(ask).await?.facts_json)
    }

    /// Approves, or refuses, what somebody else wants to do. `digest`: of what was seen.
    pub async fn approve(&self, id: ApprovalId, digest: Sha256, approve: bool) -> Result<ApprovalFacts> {
        let (id, digest) = (id.0.to_vec().into(), digest.0.to_vec().into());
        let request = pb::ApproveRequest { id, digest, approve, request_id: request_id()? };
        facts(&self.once(async || self.operators().approve(request).await).await?.facts_json)
    }

    fn operators(&self) -> OperatorServiceClient<Line> {
        OperatorServiceClient::new(self.line()).max_decoding_message_size(super::ANSWER_LIMIT)
    }
}
