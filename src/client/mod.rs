//! The Rust client: what serving code links and what the command line talks to a vault with. It checks everything it
//! receives (docs/trust.md 5): nothing that was not verified reaches the caller.

mod connect;
mod fetch;
mod floor;
mod holds;
mod intel;
mod keys;
mod operators;
mod parts;
mod seal;
mod sessions;
mod transfer;
mod version;

use std::io::Write;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

pub use connect::Endpoint;
#[cfg(test)]
pub(crate) use fetch::Selection;
pub use fetch::{FetchPlan, FetchReport, FetchSink, InMemory};
pub use floor::{Seen, SeenMove, TagFloor};
pub use seal::Upload;
pub use sessions::Login;
pub use version::{Member, SealedVersion};

use crate::crypto::random::SystemRandom;
use crate::crypto::sign::PublicKey;
use crate::error::{Error, ErrorId, Result};
use crate::facts::{
    ArtifactFacts, AttestationFacts, AuditFacts, AuditRow, ExplanationFacts, IssuedFacts, PolicyFacts,
    PolicyVersionFacts, QuotaFacts, SealedFacts, SettingFacts, SinksFacts, StatusFacts, TagMoveFacts, VerifyFacts,
    VersionFacts, WhoamiFacts, WorkloadFacts,
};
use crate::identity::StepUpToken;
use crate::marks::{Marks, MarksChange};
use crate::names::{Clock as _, Name, Reference, RequestId, Sha256, SystemClock, Tag};
use crate::wire::pb::access_service_client::AccessServiceClient;
use crate::wire::pb::admin_service_client::AdminServiceClient;
use crate::wire::pb::artifact_service_client::ArtifactServiceClient;
use crate::wire::pb::attestation_service_client::AttestationServiceClient;
use crate::wire::pb::fetch_service_client::FetchServiceClient;
use crate::wire::{self, broken, pb};

/// Largest answer that is not a stream: facts about an artifact with very many members.
const ANSWER_LIMIT: usize = 64 << 20;

/// A connection to a vault. Cheap to clone; calls of all clones share it. A cut connection is made anew by the next call,
/// except in process. A call that only reads is repeated once after a cut; one that changes something never is.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    link: connect::Link,
    shows: Shows,
}

/// A connection that shows with each call what its holder has to show.
type Line = InterceptedService<Channel, Shows>;

/// The token of a step-up, if there is one.
#[derive(Clone, Debug, Default)]
struct Shows(Option<MetadataValue<Ascii>>);

impl Interceptor for Shows {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert(wire::SESSION_KEY, token.clone());
        }
        Ok(request)
    }
}

/// What a proof about the audit log is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofOf {
    /// That the log has the record of this number.
    Record(u64),
    /// That the log extends the checkpoint of this size.
    Extension(u64),
}

impl Client {
    /// Connects, within 10 s.
    ///
    /// # Errors
    /// `Unreachable` when nobody answers there, `BadCredential` when one side does not accept the other's certificate.
    pub async fn connect(endpoint: Endpoint) -> Result<Self> {
        let (channel, link) = connect::connect(endpoint).await?;
        Ok(Self { channel, link, shows: Shows::default() })
    }

    /// The same connection, showing with each call that a second factor was used.
    #[must_use]
    pub fn showing(mut self, token: &StepUpToken) -> Self {
        self.shows = Shows(MetadataValue::try_from(token.text().as_str()).ok().map(|mut value| {
            value.set_sensitive(true);
            value
        }));
        self
    }

    fn line(&self) -> Line {
        InterceptedService::new(self.channel.clone(), self.shows.clone())
    }

    /// Key exchange of the connection, for example `X25519MLKEM768`; `None` where there is no TLS.
    pub fn tls_group(&self) -> Option<String> {
        self.link.tls_group()
    }

    /// Whether the vault says that it serves. The only call an anonymous caller may make.
    pub async fn health(&self) -> Result<bool> {
        let ask = async || HealthClient::new(self.channel.clone()).check(HealthCheckRequest::default()).await;
        Ok(self.answer(ask).await?.status() == ServingStatus::Serving)
    }

    /// State of the vault.
    pub async fn status(&self) -> Result<StatusFacts> {
        let answer = self.answer(async || self.admin().status(pb::StatusRequest {}).await).await?;
        facts(&answer.facts_json)
    }

    /// Who the caller is to the vault.
    pub async fn whoami(&self) -> Result<WhoamiFacts> {
        let answer = self.answer(async || self.access().whoami(pb::WhoamiRequest {}).await).await?;
        wire::whoami_from_wire(answer)
    }

    /// Artifacts whose NAMESPACE/NAME matches `pattern` (`*`, `?`; empty: all), of all pages.
    pub async fn list(&self, pattern: &str, include_unlisted: bool) -> Result<Vec<ArtifactFacts>> {
        let mut request = pb::ListArtifactsRequest {
            pattern: pattern.into(),
            include_unlisted,
            page_token: bytes::Bytes::new(),
            page_size: 1000,
        };
        let mut artifacts = Vec::new();
        loop {
            let page = self.answer(async || self.artifacts().list_artifacts(request.clone()).await).await?;
            let empty = page.artifacts.is_empty();
            for artifact in page.artifacts {
                artifacts.push(wire::artifact_from_wire(artifact)?);
            }
            match next_page(empty, &request.page_token, page.next_page_token)? {
                Some(next) => request.page_token = next,
                None => return Ok(artifacts),
            }
        }
    }

    /// The versions of one artifact (`[NAMESPACE/]NAME`), newest first, of all pages.
    pub async fn versions(&self, artifact: &str, include_unlisted: bool) -> Result<Vec<VersionFacts>> {
        let mut request = pb::ListVersionsRequest {
            artifact: artifact.into(),
            include_unlisted,
            page_token: bytes::Bytes::new(),
            page_size: 1000,
        };
        let mut versions = Vec::new();
        loop {
            let page = self.answer(async || self.artifacts().list_versions(request.clone()).await).await?;
            let empty = page.versions.is_empty();
            for version in page.versions {
                versions.push(wire::version_from_wire(Some(version))?);
            }
            match next_page(empty, &request.page_token, page.next_page_token)? {
                Some(next) => request.page_token = next,
                None => return Ok(versions),
            }
        }
    }

    /// One version.
    pub async fn version(&self, r: &Reference) -> Result<VersionFacts> {
        let request = pb::GetVersionRequest { reference: r.to_string() };
        wire::version_from_wire(
            self.answer(async || self.artifacts().get_version(request.clone()).await).await?.version,
        )
    }

    /// What lies in a version, as far as the caller may see it.
    pub async fn inspect(&self, r: &Reference) -> Result<SealedFacts> {
        let request = pb::InspectRequest { reference: r.to_string() };
        facts(&self.answer(async || self.artifacts().inspect(request.clone()).await).await?.facts_json)
    }

    /// Has the vault read and check every byte of a version.
    pub async fn verify(&self, r: &Reference) -> Result<VerifyFacts> {
        let request = pb::VerifyRequest { reference: r.to_string(), request_id: request_id()? };
        let answer = self.answer(async || self.artifacts().verify(request.clone()).await).await?;
        let version = wire::version_from_wire(answer.version)?;
        let signers = answer.signers.iter().map(|s| s.parse()).collect::<Result<_>>();
        Ok(VerifyFacts {
            root: version.root,
            payload_size: version.payload_size,
            signers: signers.map_err(|e| broken("a key id is malformed").caused_by(e))?,
            plaintext: true,
            version: Some(version),
        })
    }

    /// Points `tag` at a version. `expect`: the version the tag must point to now; 0: it must not exist.
    pub async fn set_tag(&self, r: &Reference, tag: &Tag, expect: Option<u64>) -> Result<TagMoveFacts> {
        let request =
            pb::SetTagRequest { reference: r.to_string(), tag: tag.to_string(), expect, request_id: request_id()? };
        let answer = self.once(async || self.artifacts().set_tag(request).await).await?;
        let version = wire::version_from_wire(answer.version)?;
        let from = Some(answer.from).filter(|n| *n > 0);
        Ok(TagMoveFacts { version, tag: tag.clone(), from, sequence: answer.sequence })
    }

    /// Unlists a version (`NAME@REVISION`) or the whole artifact (`NAME`); returns how many versions.
    pub async fn remove(&self, r: &str) -> Result<u64> {
        let request = pb::RemoveRequest { reference: r.into(), request_id: request_id()? };
        Ok(self.once(async || self.artifacts().remove(request).await).await?.versions)
    }

    /// Takes a removal back.
    pub async fn restore(&self, r: &str) -> Result<u64> {
        let request = pb::RestoreRequest { reference: r.into(), request_id: request_id()? };
        Ok(self.once(async || self.artifacts().restore(request).await).await?.versions)
    }

    /// Destroys the key of a version: nobody opens it again.
    pub async fn shred(&self, r: &Reference) -> Result<VersionFacts> {
        let request = pb::ShredRequest { reference: r.to_string(), request_id: request_id()? };
        wire::version_from_wire(self.once(async || self.artifacts().shred(request).await).await?.version)
    }

    /// Attaches a signed statement (a Sigstore bundle) to a version.
    pub async fn attach(&self, r: &Reference, bundle: &[u8]) -> Result<AttestationFacts> {
        let (reference, bundle) = (r.to_string(), bundle.to_vec().into());
        let request = pb::AttachRequest { reference, bundle, request_id: request_id()? };
        let answer = self.once(async || self.statements().attach(request).await).await?;
        wire::attestation_from_wire(answer.attestation.ok_or_else(|| broken("no statement"))?)
    }

    /// The statements about a version, oldest first.
    pub async fn attestations(&self, r: &Reference) -> Result<Vec<AttestationFacts>> {
        let request = pb::ListAttestationsRequest { reference: r.to_string() };
        let answer = self.answer(async || self.statements().list_attestations(request.clone()).await).await?;
        answer.attestations.into_iter().map(wire::attestation_from_wire).collect()
    }

    /// The bundle of one of them, as it was attached. What it says is proven by its signature alone.
    pub async fn attestation(&self, r: &Reference, digest: Sha256) -> Result<Vec<u8>> {
        let request = pb::GetAttestationRequest { reference: r.to_string(), digest: digest.0.to_vec().into() };
        let answer = self.answer(async || self.statements().get_attestation(request.clone()).await).await?;
        Ok(answer.bundle.into())
    }

    /// Has a certificate issued for a workload's DER signing request.
    pub async fn enroll(&self, namespace: &Name, name: &Name, csr: &[u8]) -> Result<IssuedFacts> {
        let request = pb::EnrollWorkloadRequest {
            namespace: namespace.to_string(),
            name: name.to_string(),
            csr: csr.to_vec().into(),
            request_id: request_id()?,
        };
        let a = self.once(async || self.access().enroll_workload(request).await).await?;
        wire::issued_from_wire(&a.certificate, &a.ca_certificate, a.signers, &a.not_after, a.address)
    }

    /// A fresh certificate for the calling workload itself, whose present one is still valid.
    pub async fn renew(&self, csr: &[u8]) -> Result<IssuedFacts> {
        let request = pb::RenewWorkloadRequest { csr: csr.to_vec().into(), request_id: request_id()? };
        let a = self.once(async || self.access().renew_workload(request).await).await?;
        wire::issued_from_wire(&a.certificate, &a.ca_certificate, a.signers, &a.not_after, String::new())
    }

    /// The enrolled workloads.
    pub async fn workloads(&self) -> Result<Vec<WorkloadFacts>> {
        let answer = self.answer(async || self.access().list_workloads(pb::ListWorkloadsRequest {}).await).await?;
        answer.workloads.into_iter().map(wire::workload_from_wire).collect()
    }

    /// Revokes a workload, or one certificate of it by serial number.
    pub async fn revoke(&self, namespace: &Name, name: &Name, serial: Option<&[u8]>) -> Result<()> {
        let request = pb::RevokeWorkloadRequest {
            namespace: namespace.to_string(),
            name: name.to_string(),
            serial: serial.unwrap_or_default().to_vec().into(),
            request_id: request_id()?,
        };
        self.once(async || self.access().revoke_workload(request).await).await?;
        Ok(())
    }

    /// Keys whose artifact statements the vault says a reader of `namespace` may trust. Good on the Unix socket and in
    /// process, where the vault itself is trusted; over the network trust comes from the enrolment.
    pub async fn signers(&self, namespace: &Name) -> Result<Vec<PublicKey>> {
        let request = pb::ListSignersRequest { namespace: namespace.to_string() };
        let answer = self.answer(async || self.access().list_signers(request.clone()).await).await?;
        let key = |s: pb::Signer| PublicKey::from_spki(&s.spki).map_err(|_| broken("a public key is malformed"));
        answer.signers.into_iter().map(key).collect()
    }

    /// Lets a workload read an artifact (`[NAMESPACE/]NAME`); returns the Cedar text that amounts to.
    pub async fn grant(&self, namespace: &Name, workload: &Name, artifact: &str) -> Result<String> {
        let request = pb::AddGrantRequest {
            namespace: namespace.to_string(),
            workload: workload.to_string(),
            artifact: artifact.into(),
            request_id: request_id()?,
        };
        Ok(self.once(async || self.access().add_grant(request).await).await?.cedar)
    }

    /// Takes a grant back.
    pub async fn ungrant(&self, namespace: &Name, workload: &Name, artifact: &str) -> Result<()> {
        let request = pb::RemoveGrantRequest {
            namespace: namespace.to_string(),
            workload: workload.to_string(),
            artifact: artifact.into(),
            request_id: request_id()?,
        };
        self.once(async || self.access().remove_grant(request).await).await?;
        Ok(())
    }

    /// The policy in force.
    pub async fn policy(&self) -> Result<PolicyFacts> {
        self.policy_at(None).await
    }

    /// The policy in force, or an earlier one (0: the built-in one).
    pub async fn policy_at(&self, version: Option<u64>) -> Result<PolicyFacts> {
        let answer = self.answer(async || self.access().get_policy(pb::GetPolicyRequest { version }).await).await?;
        let envelope = Some(answer.envelope).filter(|e| !e.is_empty());
        Ok(PolicyFacts { version: answer.version, text: answer.text, envelope })
    }

    /// Puts a policy in force; returns its version.
    pub async fn set_policy(&self, text: &str) -> Result<u64> {
        self.set_policy_over(text, None).await
    }

    /// The same, only if version `over` is in force now (0: the built-in one), where given.
    pub async fn set_policy_over(&self, text: &str, over: Option<u64>) -> Result<u64> {
        let request = pb::SetPolicyRequest { text: text.into(), over, request_id: request_id()? };
        Ok(self.once(async || self.access().set_policy(request).await).await?.version)
    }

    /// Policies that were put in force, the newest first.
    pub async fn policy_log(&self, limit: u32) -> Result<Vec<PolicyVersionFacts>> {
        let answer = self.answer(async || self.access().list_policies(pb::ListPoliciesRequest { limit }).await).await?;
        facts(&answer.facts_json)
    }

    /// What the policy in force says to a request (JSON, docs/policy.md), and why.
    pub async fn explain_policy(&self, scenario: &str) -> Result<ExplanationFacts> {
        let request = pb::ExplainPolicyRequest { scenario_json: scenario.into() };
        let answer = self.answer(async || self.access().explain_policy(request.clone()).await).await?;
        facts(&answer.facts_json)
    }

    /// What operators say about an artifact (`[NAMESPACE/]NAME`).
    pub async fn marks(&self, artifact: &str) -> Result<Marks> {
        let request = pb::MarkArtifactRequest { artifact: artifact.into(), ..Default::default() };
        let answer = self.answer(async || self.access().mark_artifact(request.clone()).await).await?;
        facts(&answer.marks_json)
    }

    /// Changes that, and returns what is said from now on.
    pub async fn mark(&self, artifact: &str, change: &MarksChange) -> Result<Marks> {
        let change_json = serde_json::to_string(change).map_err(|e| Error::new(ErrorId::Internal, e.to_string()))?;
        let request = pb::MarkArtifactRequest { artifact: artifact.into(), change_json, request_id: request_id()? };
        facts(&self.once(async || self.access().mark_artifact(request).await).await?.marks_json)
    }

    /// What callers used of their quotas: `workload:PATTERN`, `operator:PATTERN`, or all. A workload sees itself.
    pub async fn quotas(&self, callers: &str) -> Result<QuotaFacts> {
        let request = pb::GetQuotasRequest { callers: callers.into() };
        facts(&self.answer(async || self.access().get_quotas(request.clone()).await).await?.facts_json)
    }

    /// Sets what was counted of a caller, of an artifact or of both together back to nothing. Says how many accounts there were.
    pub async fn reset_quota(&self, caller: Option<&str>, artifact: Option<&str>) -> Result<u64> {
        let text = |name: Option<&str>| name.unwrap_or_default().to_owned();
        let (caller, artifact) = (text(caller), text(artifact));
        let request = pb::ResetQuotaRequest { caller, artifact, request_id: request_id()? };
        Ok(self.once(async || self.access().reset_quota(request).await).await?.accounts)
    }

    /// The document of a kind of settings.
    pub async fn setting(&self, kind: &str) -> Result<SettingFacts> {
        let request = pb::GetSettingRequest { kind: kind.into() };
        let answer = self.answer(async || self.admin().get_setting(request.clone()).await).await?;
        Ok(SettingFacts { kind: kind.into(), version: answer.version, text: answer.text })
    }

    /// Puts a document in force, `over` a version if given; returns its version.
    pub async fn set_setting(&self, kind: &str, text: &str, over: Option<u64>) -> Result<u64> {
        let request = pb::SetSettingRequest { kind: kind.into(), text: text.into(), over, request_id: request_id()? };
        Ok(self.once(async || self.admin().set_setting(request).await).await?.version)
    }

    /// The receivers of the audit log, and how far each has come.
    pub async fn sinks(&self) -> Result<SinksFacts> {
        facts(&self.answer(async || self.admin().list_sinks(pb::ListSinksRequest {}).await).await?.facts_json)
    }

    /// Hands the rows of the audit log from `from` on to `each`: at most `limit` (0: all there are), and with `follow` every
    /// new one until `each` fails or the vault goes.
    pub async fn audit_rows(
        &self,
        from: u64,
        limit: u32,
        follow: bool,
        each: &mut (dyn FnMut(AuditRow) -> Result<()> + Send),
    ) -> Result<()> {
        let mut parsed = |sequence, row: &[u8]| {
            let record = serde_json::from_slice(row).map_err(|_| broken("an audit record is not JSON"))?;
            each(AuditRow { sequence, record })
        };
        self.audit_leaves(pb::ReadAuditRequest { from, limit, follow }, &mut parsed).await
    }

    /// The rows from `from` on that there are, each with its number, byte for byte as the vault keeps them.
    pub async fn audit_bytes(&self, from: u64, each: &mut (dyn FnMut(u64, &[u8]) -> Result<()> + Send)) -> Result<()> {
        self.audit_leaves(pb::ReadAuditRequest { from, limit: 0, follow: false }, each).await
    }

    async fn audit_leaves(
        &self,
        request: pb::ReadAuditRequest,
        each: &mut (dyn FnMut(u64, &[u8]) -> Result<()> + Send),
    ) -> Result<()> {
        let mut rows = self.answer(async || self.admin().read_audit(request).await).await?;
        while let Some(row) = rows.message().await.map_err(|s| self.link.error_of(&s))? {
            each(row.sequence, &row.record)?;
        }
        Ok(())
    }

    /// Has the vault check its audit log, against a checkpoint that was kept elsewhere if there is one.
    pub async fn audit_verify(&self, checkpoint: Option<&str>) -> Result<AuditFacts> {
        let request = pb::VerifyAuditRequest { checkpoint: checkpoint.unwrap_or_default().into() };
        let answer = self.answer(async || self.admin().verify_audit(request.clone()).await).await?;
        Ok(AuditFacts {
            records: answer.records,
            checkpoints: answer.checkpoints,
            root: Sha256::try_from(&answer.root[..]).map_err(|e| broken("the root is malformed").caused_by(e))?,
            checkpoint: answer.checkpoint,
        })
    }

    /// A proof about the audit log: that it has record `sequence`, or else that it extends the checkpoint of size `old_size`.
    /// `size`: of the checkpoint it is made for, else the newest.
    pub async fn audit_prove(&self, of: ProofOf, size: Option<u64>) -> Result<String> {
        let of = match of {
            ProofOf::Record(sequence) => pb::prove_audit_request::Of::Sequence(sequence),
            ProofOf::Extension(old) => pb::prove_audit_request::Of::OldSize(old),
        };
        let request = pb::ProveAuditRequest { of: Some(of), size };
        Ok(self.answer(async || self.admin().prove_audit(request).await).await?.proof_json)
    }

    /// Writes the audit log from record `from` on (0: all of it) in the form that is checked without a vault.
    pub async fn audit_export(&self, from: u64, out: &mut (dyn Write + Send)) -> Result<()> {
        let request = pb::ExportAuditRequest { from };
        let mut pieces = self.answer(async || self.admin().export_audit(request).await).await?;
        while let Some(piece) = pieces.message().await.map_err(|s| self.link.error_of(&s))? {
            out.write_all(&piece.data)?;
        }
        Ok(())
    }

    /// One call that changes nothing, made a second time if the connection was cut.
    async fn answer<T>(&self, call: impl AsyncFn() -> Result<Response<T>, Status>) -> Result<T> {
        let first = call().await;
        let outcome = match &first {
            Err(status) if self.link.was_cut(status) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                call().await
            }
            _ => first,
        };
        outcome.map(Response::into_inner).map_err(|s| self.link.error_of(&s))
    }

    /// One call that changes something, made once: a cut may have come after the vault had carried it out, and except for seal
    /// and import it would be carried out again. Whoever called finds out what became of it.
    async fn once<T>(&self, call: impl AsyncFnOnce() -> Result<Response<T>, Status>) -> Result<T> {
        call().await.map(Response::into_inner).map_err(|s| self.link.error_of(&s))
    }

    fn access(&self) -> AccessServiceClient<Line> {
        AccessServiceClient::new(self.line()).max_decoding_message_size(ANSWER_LIMIT)
    }

    fn admin(&self) -> AdminServiceClient<Line> {
        AdminServiceClient::new(self.line())
    }

    fn statements(&self) -> AttestationServiceClient<Line> {
        AttestationServiceClient::new(self.line()).max_decoding_message_size(ANSWER_LIMIT)
    }

    fn artifacts(&self) -> ArtifactServiceClient<Line> {
        ArtifactServiceClient::new(self.line()).max_decoding_message_size(ANSWER_LIMIT)
    }

    fn fetches(&self) -> FetchServiceClient<Line> {
        FetchServiceClient::new(self.line()).max_decoding_message_size(wire::MESSAGE_LIMIT)
    }
}

/// The token to go on with, if there is one. A page that adds nothing, or the same page over and over, would never end.
fn next_page(empty: bool, before: &bytes::Bytes, next: bytes::Bytes) -> Result<Option<bytes::Bytes>> {
    if next.is_empty() {
        return Ok(None);
    }
    if empty || next == *before {
        return Err(broken("the pages of the list do not come to an end"));
    }
    Ok(Some(next))
}

fn facts<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|e| broken("the facts are malformed").caused_by(e))
}

/// A fresh id for a call.
fn request_id() -> Result<bytes::Bytes> {
    let id = RequestId::generate(SystemClock.now(), &SystemRandom)?;
    Ok(bytes::Bytes::copy_from_slice(id.as_bytes()))
}

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod tests_parts;
#[cfg(test)]
mod tests_seal;
