//! Lists of known bad digests and keys.

use tonic::Response;

use super::transfer::{Source, Sources};
use super::{Client, request_id};
use crate::error::Result;
use crate::facts::{IntelFacts, IntelImportFacts, IntelListsFacts};
use crate::names::Name;
use crate::wire::broken;
use crate::wire::pb::intel_service_client::IntelServiceClient;
use crate::wire::pb::{self, import_intel_request::Part};

impl Client {
    /// Puts a list in force, in the place of the one from the same source.
    pub async fn import_intel(&self, source: &Name, list: Vec<u8>) -> Result<IntelImportFacts> {
        let size = list.len() as u64;
        let part = |part| pb::ImportIntelRequest { part: Some(part) };
        let start = pb::ImportIntelStart { source: source.to_string(), size, request_id: request_id()? };
        let sources = Sources::unhashed(vec![Source { name: "the list".into(), size, bytes: Box::new(list) }]);
        let mut lists = IntelServiceClient::new(self.channel.clone());
        let call = async |outgoing, requests| {
            // The vault takes the end of our side for the end of the list.
            drop(requests);
            lists.import_intel(outgoing).await.map(Response::into_inner).map_err(|s| self.link.error_of(&s))
        };
        let wrap = |data| part(Part::Data(data));
        let answer = self.upload(call, part(Part::Start(start)), wrap, |_| None, sources, &|_| {}).await?;
        serde_json::from_str(&answer.facts_json).map_err(|e| broken("the outcome is malformed").caused_by(e))
    }

    /// The lists in force.
    pub async fn intel_lists(&self) -> Result<Vec<IntelFacts>> {
        let lists = || IntelServiceClient::new(self.channel.clone());
        let answer = self.answer(async || lists().list_intel(pb::ListIntelRequest {}).await).await?;
        let facts: IntelListsFacts =
            serde_json::from_str(&answer.facts_json).map_err(|e| broken("the lists are malformed").caused_by(e))?;
        Ok(facts.lists)
    }

    /// Takes a list out of force.
    pub async fn remove_intel(&self, source: &Name) -> Result<()> {
        let request = pb::RemoveIntelRequest { source: source.to_string(), request_id: request_id()? };
        let lists = || IntelServiceClient::new(self.channel.clone());
        self.once(async || lists().remove_intel(request).await).await.map(drop)
    }
}
