//! AccessService: workloads, grants, policy.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::admin::json;
use super::calls::{Calls, received};
use crate::error::{Error, ErrorId};
use crate::vault::Vault;
use crate::wire::{self, pb};

pub(super) struct Access {
    pub(super) vault: Arc<Vault>,
    pub(super) calls: Arc<Calls>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl pb::access_service_server::AccessService for Access {
    async fn whoami(&self, request: Request<pb::WhoamiRequest>) -> Answer<pb::WhoamiResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let who = self.calls.answer(call, move |caller| vault.whoami(caller)).await?;
        Ok(Response::new(wire::whoami_to_wire(who)))
    }

    async fn enroll_workload(&self, request: Request<pb::EnrollWorkloadRequest>) -> Answer<pb::EnrollWorkloadResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let (namespace, name) = (call.parse(&m.namespace)?, call.parse(&m.name)?);
        let vault = Arc::clone(&self.vault);
        let issued = self.calls.answer(call, move |caller| vault.enroll(caller, &namespace, &name, &m.csr)).await?;
        Ok(Response::new(pb::EnrollWorkloadResponse {
            signers: wire::signers_to_wire(&issued.signers),
            certificate: issued.certificate.into(),
            ca_certificate: issued.ca_certificate.into(),
            not_after: issued.not_after.to_string(),
            address: issued.address.unwrap_or_default(),
        }))
    }

    async fn renew_workload(&self, request: Request<pb::RenewWorkloadRequest>) -> Answer<pb::RenewWorkloadResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let vault = Arc::clone(&self.vault);
        let issued = self.calls.answer(call, move |caller| vault.renew(caller, &m.csr)).await?;
        Ok(Response::new(pb::RenewWorkloadResponse {
            signers: wire::signers_to_wire(&issued.signers),
            certificate: issued.certificate.into(),
            ca_certificate: issued.ca_certificate.into(),
            not_after: issued.not_after.to_string(),
        }))
    }

    async fn list_workloads(&self, request: Request<pb::ListWorkloadsRequest>) -> Answer<pb::ListWorkloadsResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let workloads = self.calls.answer(call, move |caller| vault.workloads(caller)).await?;
        let workloads = workloads.iter().map(wire::workload_to_wire).collect();
        Ok(Response::new(pb::ListWorkloadsResponse { workloads }))
    }

    async fn revoke_workload(&self, request: Request<pb::RevokeWorkloadRequest>) -> Answer<pb::RevokeWorkloadResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let (namespace, name) = (call.parse(&m.namespace)?, call.parse(&m.name)?);
        let vault = Arc::clone(&self.vault);
        let revoke = move |caller: &_| {
            let serial = Some(&m.serial[..]).filter(|s| !s.is_empty());
            vault.revoke(caller, &namespace, &name, serial)
        };
        self.calls.answer(call, revoke).await?;
        Ok(Response::new(pb::RevokeWorkloadResponse {}))
    }

    async fn list_signers(&self, request: Request<pb::ListSignersRequest>) -> Answer<pb::ListSignersResponse> {
        let (call, m) = received(request, |_| &[])?;
        let namespace = call.parse(&m.namespace)?;
        let vault = Arc::clone(&self.vault);
        let signers = self.calls.answer(call, move |caller| vault.statement_signers(caller, &namespace)).await?;
        Ok(Response::new(pb::ListSignersResponse { signers: wire::signers_to_wire(&signers) }))
    }

    async fn add_grant(&self, request: Request<pb::AddGrantRequest>) -> Answer<pb::AddGrantResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let (namespace, workload) = (call.parse(&m.namespace)?, call.parse(&m.workload)?);
        let of = call.artifact(&m.artifact)?;
        let vault = Arc::clone(&self.vault);
        let grant = move |caller: &_| vault.grant(caller, &namespace, &workload, (&of.0, &of.1));
        Ok(Response::new(pb::AddGrantResponse { cedar: self.calls.answer(call, grant).await? }))
    }

    async fn remove_grant(&self, request: Request<pb::RemoveGrantRequest>) -> Answer<pb::RemoveGrantResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let (namespace, workload) = (call.parse(&m.namespace)?, call.parse(&m.workload)?);
        let of = call.artifact(&m.artifact)?;
        let vault = Arc::clone(&self.vault);
        let ungrant = move |caller: &_| vault.ungrant(caller, &namespace, &workload, (&of.0, &of.1));
        self.calls.answer(call, ungrant).await?;
        Ok(Response::new(pb::RemoveGrantResponse {}))
    }

    async fn get_policy(&self, request: Request<pb::GetPolicyRequest>) -> Answer<pb::GetPolicyResponse> {
        let (call, m) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let read = move |caller: &_| match m.version {
            None => vault.policy(caller),
            Some(version) => vault.policy_version(caller, version),
        };
        let policy = self.calls.answer(call, read).await?;
        Ok(Response::new(pb::GetPolicyResponse {
            version: policy.version,
            text: policy.text,
            envelope: policy.envelope.unwrap_or_default(),
        }))
    }

    async fn get_quotas(&self, request: Request<pb::GetQuotasRequest>) -> Answer<pb::GetQuotasResponse> {
        let (call, m) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let quotas = self.calls.answer(call, move |caller| vault.quota_use(caller, &m.callers)).await?;
        let facts_json = serde_json::to_string(&quotas).map_err(|e| Status::internal(e.to_string()))?;
        Ok(Response::new(pb::GetQuotasResponse { facts_json }))
    }

    async fn reset_quota(&self, request: Request<pb::ResetQuotaRequest>) -> Answer<pb::ResetQuotaResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let artifact = if m.artifact.is_empty() { None } else { Some(call.artifact(&m.artifact)?) };
        let vault = Arc::clone(&self.vault);
        let reset = move |caller: &_| {
            let of = artifact.as_ref().map(|(namespace, name)| (namespace, name));
            vault.reset_quota(caller, Some(m.caller.as_str()).filter(|whom| !whom.is_empty()), of)
        };
        let accounts = self.calls.answer(call, reset).await?;
        Ok(Response::new(pb::ResetQuotaResponse { accounts }))
    }

    async fn set_policy(&self, request: Request<pb::SetPolicyRequest>) -> Answer<pb::SetPolicyResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let vault = Arc::clone(&self.vault);
        let version = self.calls.answer(call, move |caller| vault.set_policy_over(caller, &m.text, m.over)).await?;
        Ok(Response::new(pb::SetPolicyResponse { version }))
    }

    async fn list_policies(&self, request: Request<pb::ListPoliciesRequest>) -> Answer<pb::ListPoliciesResponse> {
        let (call, m) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let facts_json = self.calls.answer(call, move |caller| json(&vault.policy_log(caller, m.limit)?)).await?;
        Ok(Response::new(pb::ListPoliciesResponse { facts_json }))
    }

    async fn explain_policy(&self, request: Request<pb::ExplainPolicyRequest>) -> Answer<pb::ExplainPolicyResponse> {
        let (call, m) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let explain =
            move |caller: &_| json(&vault.explain_policy(caller, crate::policy::Scenario::parse(&m.scenario_json)?)?);
        Ok(Response::new(pb::ExplainPolicyResponse { facts_json: self.calls.answer(call, explain).await? }))
    }

    async fn mark_artifact(&self, request: Request<pb::MarkArtifactRequest>) -> Answer<pb::MarkArtifactResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let reference = call.parse(&m.artifact)?;
        let vault = Arc::clone(&self.vault);
        let mark = move |caller: &_| {
            if m.change_json.is_empty() {
                return json(&vault.marks(caller, &reference)?);
            }
            let change = serde_json::from_str(&m.change_json)
                .map_err(|e| Error::new(ErrorId::InvalidArgument, format!("not a change of marks: {e}")))?;
            json(&vault.mark(caller, &reference, change)?)
        };
        Ok(Response::new(pb::MarkArtifactResponse { marks_json: self.calls.answer(call, mark).await? }))
    }
}
