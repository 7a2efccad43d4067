//! Calls about trusted signers and identities of the vault, for operators.

use bytes::Bytes;

use super::{Client, facts, request_id};
use crate::crypto::sign::VerifyingKey;
use crate::error::{Error, ErrorId, Result};
use crate::facts::{IdentityFacts, TrustFacts};
use crate::identity::signers::{Trust, Trusting, Untrusting};
use crate::names::Name;
use crate::wire::pb::key_service_client::KeyServiceClient;
use crate::wire::{MESSAGE_LIMIT, broken, pb};

impl Client {
    /// Whose signatures the vault believes.
    pub async fn read_signers(&self) -> Result<TrustFacts> {
        facts(&self.answer(async || self.keys().read_signers(pb::ReadSignersRequest {}).await).await?.facts_json)
    }

    /// Trusts keys or CAs under a name, or changes until when and where they are trusted.
    pub async fn trust_signer(&self, change: &Trusting) -> Result<TrustFacts> {
        let mut request = pb::TrustSignerRequest {
            name: change.name.to_string(),
            until: change.until.map(|t| t.to_string()).unwrap_or_default(),
            namespaces: change.namespaces.iter().map(ToString::to_string).collect(),
            request_id: request_id()?,
            ..Default::default()
        };
        for trust in &change.what {
            match trust {
                Trust::Key(key) => request.keys.push(key.spki().into()),
                // All CAs of one change have the same names.
                Trust::Ca { anchors, names } => {
                    request.cas.extend(anchors.certificates().map(Bytes::copy_from_slice));
                    request.signer_names = names.iter().map(ToString::to_string).collect();
                }
            }
        }
        facts(&self.once(async || self.keys().trust_signer(request).await).await?.facts_json)
    }

    /// Ends the trust in what a signer has, or revokes it.
    pub async fn untrust_signer(&self, change: &Untrusting) -> Result<TrustFacts> {
        let request = pb::UntrustSignerRequest {
            name: change.name.to_string(),
            key: change.key.clone().unwrap_or_default(),
            revoke: change.revoke.clone(),
            request_id: request_id()?,
        };
        facts(&self.once(async || self.keys().untrust_signer(request).await).await?.facts_json)
    }

    /// Has the vault make an identity, and trust it under its name.
    pub async fn new_identity(&self, name: &Name, pq: bool) -> Result<IdentityFacts> {
        let request = pb::NewIdentityRequest { name: name.to_string(), pq, request_id: request_id()? };
        facts(&self.once(async || self.keys().new_identity(request).await).await?.facts_json)
    }

    /// Has the vault sign an in-toto statement with every key of an identity. Each signature comes with its key; hold the key
    /// against what is trusted, as for any signature.
    ///
    /// # Errors
    /// `InvalidArgument` for a statement that does not fit into one message.
    pub async fn sign_statement(&self, identity: &Name, payload: &[u8]) -> Result<Vec<(VerifyingKey, Vec<u8>)>> {
        if payload.len() > MESSAGE_LIMIT - 4096 {
            let text = format!("the statement has {} bytes; a daemon signs at most {MESSAGE_LIMIT}", payload.len());
            return Err(Error::new(ErrorId::InvalidArgument, text)
                .hint("stop the daemon and sign in this process, or sign with a key file: --key FILE"));
        }
        let request = pb::SignStatementRequest { identity: identity.to_string(), payload: payload.to_vec().into() };
        let answer = self.once(async || self.keys().sign_statement(request).await).await?;
        let one = |s: pb::StatementSignature| {
            let key = VerifyingKey::from_spki(&s.spki).map_err(|_| broken("a public key is malformed"))?;
            Ok((key, s.signature.to_vec()))
        };
        answer.signatures.into_iter().map(one).collect()
    }

    fn keys(&self) -> KeyServiceClient<super::Line> {
        KeyServiceClient::new(self.line()).max_decoding_message_size(super::ANSWER_LIMIT)
    }
}
