//! Calls about trusted signers, for operators.

use prost::bytes::Bytes;

use super::{Client, facts, request_id};
use crate::error::Result;
use crate::facts::TrustFacts;
use crate::identity::signers::{Trust, Trusting, Untrusting};
use crate::wire::pb;
use crate::wire::pb::key_service_client::KeyServiceClient;

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

    fn keys(&self) -> KeyServiceClient<tonic::transport::Channel> {
        KeyServiceClient::new(self.channel.clone()).max_decoding_message_size(super::ANSWER_LIMIT)
    }
}
