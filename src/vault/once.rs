//! Acts that are carried out once for a request id: when an answer was lost, the same request again gets the first answer,
//! changes nothing and leaves no second row.

use super::gate::{Permit, Subject};
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::{Entry, OfMove, Once, RequestRecord, TagMove};
use crate::crypto;
use crate::error::{Error, ErrorId, Result};
use crate::names::Sha256;

/// A permitted act that may have been carried out before.
pub(super) struct Request<'a> {
    pub caller: &'a Caller,
    pub act: Act,
    pub subject: Subject,
    pub permit: &'a Permit,
    /// All that the act depends on: the same id for anything else is another request.
    pub arguments: &'a [&'a [u8]],
}

impl Request<'_> {
    fn asked(&self) -> Sha256 {
        let mut text = Vec::new();
        let caller = self.caller.principal.to_string();
        for part in [caller.as_bytes(), self.act.as_str().as_bytes()].iter().chain(self.arguments) {
            text.extend_from_slice(&(part.len() as u64).to_le_bytes());
            text.extend_from_slice(part);
        }
        crypto::hash::sha256(&text)
    }
}

impl Vault {
    /// Carries a request out, or gives `again` what is remembered of it.
    pub(super) fn once<T>(
        &self,
        request: &Request<'_>,
        again: impl Fn(RequestRecord) -> Result<T>,
        carry_out: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        if let Some(earlier) = self.earlier(request)? {
            return again(earlier);
        }
        carry_out().or_else(|e| match self.earlier(request)? {
            // It came twice at once and the other was first; or its commit came after we had stopped waiting for it.
            Some(earlier) => again(earlier),
            None => Err(e),
        })
    }

    /// What the transaction of a request takes: its row, and its memory with `answer`.
    pub(super) fn entry(&self, request: &Request<'_>, answer: Vec<u8>) -> Entry {
        let leaf = self.leaf(request.caller, request.act, &request.subject, request.permit);
        let once = Some(Once { id: request.caller.request_id, asked: request.asked(), answer });
        Entry { leaf, once, approval: request.permit.approval() }
    }

    /// The same for the move of a tag, of which the transaction tells row and memory more.
    pub(super) fn entry_of_move(
        &self,
        request: &Request<'_>,
        answer: impl FnOnce(&TagMove) -> Vec<u8> + Send + 'static,
    ) -> OfMove {
        let row = self.row(request.caller, request.act, &request.subject, Some(request.permit));
        let (id, asked, approval) = (request.caller.request_id, request.asked(), request.permit.approval());
        Box::new(move |m| {
            let from = m.from.map_or_else(|| "none".into(), |n| format!("v{n}"));
            let row = row.detail("from", from).detail("to", format!("v{}", m.to)).detail("sequence", m.sequence);
            Entry { leaf: row.to_leaf(), once: Some(Once { id, asked, answer: answer(m) }), approval }
        })
    }

    /// What is remembered of a request.
    ///
    /// # Errors
    /// `AlreadyExists`, on record, if its id was used for another.
    pub(super) fn earlier(&self, request: &Request<'_>) -> Result<Option<RequestRecord>> {
        match self.catalogue.request(request.caller.request_id)? {
            Some(earlier) if earlier.once.asked != request.asked() => {
                let used = Error::new(ErrorId::AlreadyExists, "this request id was used for another act")
                    .hint("use a new request id for each act, and repeat it only for the very same one");
                let subject = request.subject.clone().with("why", "the request id was used before");
                self.refuse(request.caller, request.act, &subject, used)
            }
            earlier => Ok(earlier),
        }
    }
}
