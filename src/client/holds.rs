//! Calls about holds, for operators.

use std::time::Duration;

use super::{Client, facts, request_id};
use crate::error::Result;
use crate::facts::HoldFacts;
use crate::wire::pb;
use crate::wire::pb::hold_service_client::HoldServiceClient;

impl Client {
    /// Puts a principal or an artifact (`what`) on hold: `suspend`, `throttle` or `step-up`.
    pub async fn place_hold(
        &self,
        what: &str,
        name: &str,
        kind: &str,
        reason: &str,
        lasts: Option<Duration>,
    ) -> Result<HoldFacts> {
        let request = pb::PlaceHoldRequest {
            what: what.into(),
            name: name.into(),
            kind: kind.into(),
            reason: reason.into(),
            seconds: lasts.map_or(0, |lasts| lasts.as_secs()),
            request_id: request_id()?,
        };
        facts(&self.once(async || self.holds().place_hold(request).await).await?.facts_json)
    }

    /// Releases every hold on a target; how many there were.
    pub async fn release_holds(&self, what: &str, name: &str) -> Result<u64> {
        let request = pb::ReleaseHoldsRequest { what: what.into(), name: name.into(), request_id: request_id()? };
        Ok(self.once(async || self.holds().release_holds(request).await).await?.released)
    }

    /// Holds in force.
    pub async fn list_holds(&self) -> Result<Vec<HoldFacts>> {
        facts(&self.answer(async || self.holds().list_holds(pb::ListHoldsRequest {}).await).await?.facts_json)
    }

    fn holds(&self) -> HoldServiceClient<tonic::transport::Channel> {
        HoldServiceClient::new(self.channel.clone()).max_decoding_message_size(super::ANSWER_LIMIT)
    }
}
