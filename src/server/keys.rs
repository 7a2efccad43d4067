//! KeyService: trusted signers, identities of the vault.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::admin::json;
use super::calls::{Calls, received};
use crate::crypto::sign::VerifyingKey;
use crate::error::{Error, Result};
use crate::identity::signer::Anchors;
use crate::identity::signers::{Trust, Trusting, Untrusting};
use crate::vault::Vault;
use crate::wire::pb;

pub(super) struct Keys {
    pub(super) vault: Arc<Vault>,
    pub(super) calls: Arc<Calls>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl pb::key_service_server::KeyService for Keys {
    async fn read_signers(&self, request: Request<pb::ReadSignersRequest>) -> Answer<pb::ReadSignersResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let facts_json = self.calls.answer(call, move |caller| json(&vault.read_signers(caller)?)).await?;
        Ok(Response::new(pb::ReadSignersResponse { facts_json }))
    }

    async fn trust_signer(&self, request: Request<pb::TrustSignerRequest>) -> Answer<pb::TrustSignerResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let change = trusting(&m).map_err(|e| call.status(&e))?;
        let vault = Arc::clone(&self.vault);
        let facts_json = self.calls.answer(call, move |caller| json(&vault.trust_signer(caller, &change)?)).await?;
        Ok(Response::new(pb::TrustSignerResponse { facts_json }))
    }

    async fn untrust_signer(&self, request: Request<pb::UntrustSignerRequest>) -> Answer<pb::UntrustSignerResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let change =
            Untrusting { name: call.parse(&m.name)?, key: Some(m.key).filter(|k| !k.is_empty()), revoke: m.revoke };
        let vault = Arc::clone(&self.vault);
        let facts_json = self.calls.answer(call, move |caller| json(&vault.untrust_signer(caller, &change)?)).await?;
        Ok(Response::new(pb::UntrustSignerResponse { facts_json }))
    }

    async fn new_identity(&self, request: Request<pb::NewIdentityRequest>) -> Answer<pb::NewIdentityResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let name = call.parse(&m.name)?;
        let vault = Arc::clone(&self.vault);
        let facts_json = self.calls.answer(call, move |caller| json(&vault.new_identity(caller, &name, m.pq)?)).await?;
        Ok(Response::new(pb::NewIdentityResponse { facts_json }))
    }

    async fn sign_statement(&self, request: Request<pb::SignStatementRequest>) -> Answer<pb::SignStatementResponse> {
        let (call, m) = received(request, |_| &[])?;
        let name = call.parse(&m.identity)?;
        let vault = Arc::clone(&self.vault);
        let signed = self.calls.answer(call, move |caller| vault.sign_statement(caller, &name, &m.payload)).await?;
        let one = |(key, signature): (VerifyingKey, Vec<u8>)| pb::StatementSignature {
            spki: key.spki().into(),
            signature: signature.into(),
        };
        Ok(Response::new(pb::SignStatementResponse { signatures: signed.into_iter().map(one).collect() }))
    }
}

fn trusting(m: &pb::TrustSignerRequest) -> Result<Trusting> {
    let key = |spki| VerifyingKey::from_spki(spki).map(Trust::Key).map_err(Error::from);
    let mut what = m.keys.iter().map(|spki| key(spki)).collect::<Result<Vec<_>>>()?;
    if !m.cas.is_empty() {
        let names = m.signer_names.iter().map(|name| name.parse()).collect::<Result<Vec<_>>>()?;
        what.extend(Trust::authorities(&Anchors::from_der(&m.cas)?, &names)?);
    }
    Ok(Trusting {
        name: m.name.parse()?,
        what,
        until: if m.until.is_empty() { None } else { Some(m.until.parse()?) },
        namespaces: m.namespaces.iter().map(|name| name.parse()).collect::<Result<_>>()?,
    })
}
