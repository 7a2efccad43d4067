//! Seal: plaintext in and, for a publisher whose key stays outside, each statement out to be signed.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::artifact::{Artifacts, no_start, optional_tag};
use super::calls::{Call, panicked};
use super::connection::Cut;
use super::standing::lost;
use super::streams::Answers;
use super::upload::{Inbox, Incoming, Member, lock, upload};
use crate::crypto::dsse::{IN_TOTO, Signer};
use crate::crypto::sign::{PublicKey, SIGNATURE_LEN};
use crate::error::{Error, ErrorId, Result as Outcome};
use crate::names::{ALLOW_UNSIGNED, Name};
use crate::vault::{NewArtifact, Published, SealInput, SealMember, Sealing, Standing};
use crate::wire::pb::seal_request::Part;
use crate::wire::pb::seal_response::Part as Answer;
use crate::wire::{self, MAX_STATEMENT_AHEAD, PIECE_LEN, pb};

/// Members of one upload: more do not fit into a manifest anyway (docs/format.md 11).
const MAX_MEMBERS: usize = 1 << 20;

type Signature = [u8; SIGNATURE_LEN];

/// A publisher at the other end of the call: what is to be signed is sent there.
struct RemoteSigner {
    public: PublicKey,
    questions: mpsc::Sender<Question>,
}

struct Question {
    payload: Bytes,
    answer: oneshot::Sender<Outcome<Signature>>,
}

impl Signer for RemoteSigner {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Blocking, for as long as [`super::Limits::signature`] says.
    fn sign(&self, payload_type: &str, payload: &[u8]) -> Outcome<Signature> {
        if payload_type != IN_TOTO {
            return Err(Error::new(ErrorId::Internal, "a publisher signs in-toto statements only"));
        }
        let (answer, answered) = oneshot::channel();
        let question = Question { payload: Bytes::copy_from_slice(payload), answer };
        self.questions.blocking_send(question).map_err(|_| gone())?;
        answered.blocking_recv().map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::new(ErrorId::Unreachable, "the client is gone")
}

impl Artifacts {
    /// Checks all that can be checked before a byte is received; the rest is a conversation in a task of its own.
    pub(super) async fn begin_seal(
        &self,
        request: Request<Streaming<pb::SealRequest>>,
    ) -> Result<Response<Answers<pb::SealResponse>>, Status> {
        let (_, extensions, mut messages) = request.into_parts();
        let first = self.first(&extensions, &mut messages).await?;
        let Some(Part::Start(start)) = first.part else { return Err(no_start(&extensions)) };
        let call = Call::new(&extensions, &start.request_id)?;
        let (namespace, name) = (call.parse(&start.namespace)?, call.parse(&start.name)?);
        let (kind, tag) = (call.parse(&start.kind)?, optional_tag(&call, &start.tag)?);
        let publisher = publisher(&start).map_err(|e| call.status(&e))?;
        let allow_unsigned = allowance(&start).map_err(|e| call.status(&e))?;
        let sizes: Vec<u64> = start.members.iter().map(|m| m.size).collect();
        let total = sizes.iter().try_fold(0u64, |sum, size| sum.checked_add(*size));
        let total = total.filter(|_| sizes.len() <= MAX_MEMBERS).ok_or_else(|| {
            call.status(&Error::new(ErrorId::InvalidArgument, "more members or bytes than an artifact can have"))
        })?;
        if start.statement.len() > MAX_STATEMENT_AHEAD || !(start.part || start.statement.is_empty()) {
            let text = format!(
                "a statement ahead of its version goes with parts, and has {MAX_STATEMENT_AHEAD} bytes at most"
            );
            return Err(call.status(&Error::new(ErrorId::InvalidArgument, text)));
        }
        let new = NewArtifact { namespace, name, kind: Some(kind), tag, publisher };
        let asked = new.clone();
        let (transfer, standing) = self.begin(&call, move |vault, caller| vault.may_seal(caller, asked)).await?;
        let identity = self.identity(&call, &start.identity, &new).await?;
        let (pump, inbox) = upload(total);
        let members = Member::all(&inbox, &sizes).into_iter().zip(start.members);
        let members = members.map(|(source, m)| SealMember { path: m.path, source: Box::new(source) }).collect();
        let (asking, questions) = mpsc::channel(1);
        let remote = |public| Arc::new(RemoteSigner { public, questions: asking }) as Arc<dyn Signer>;
        let signer = publisher.map(remote).or(identity);
        let (sha256, part, statement, progress) = (start.sha256, start.part, start.statement, Box::new(|_| {}));
        let sealing = Sealing { members, kind, sha256, sequential: true, signer, allow_unsigned, progress };
        let NewArtifact { namespace, name, tag, .. } = new;
        let input = SealInput { namespace, name, tag, sealing };
        let (vault, caller) = (Arc::clone(&self.vault), call.caller.clone());
        let working = self.calls.working();
        let sealing = tokio::task::spawn_blocking(move || {
            let _until_done = (transfer, working);
            let outcome = if total == 0 { lock(&inbox).expect_end().map_err(Error::from) } else { Ok(()) };
            let outcome = outcome.and_then(|()| match part {
                true => vault.seal_part(&caller, input, &statement).map(|(published, _)| published),
                false => vault.seal(&caller, input),
            });
            outcome.map_err(|e| Inbox::failure(&inbox).unwrap_or(e))
        });
        let (answers, outgoing) = mpsc::channel(1);
        let (limits, cut, working) = (self.calls.limits.clone(), Cut::of_this_stream(), self.calls.working());
        let mut talk = Talk { messages, answers, standing, wait: limits.signature };
        tokio::spawn(async move {
            let outcome = talk.run(pump, questions, sealing).await;
            let last = outcome.map(sealed).map_err(|e| call.status(&e));
            // A client that is gone is told nothing.
            if tokio::time::timeout(limits.stall, talk.answers.send(last)).await.is_err() {
                cut.now();
            }
            drop(working);
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    /// The identity of the vault that is to sign, if one is named.
    async fn identity(&self, call: &Call, name: &str, new: &NewArtifact) -> Result<Option<Arc<dyn Signer>>, Status> {
        if name.is_empty() {
            return Ok(None);
        }
        let (identity, vault, new) = (call.parse::<Name>(name)?, Arc::clone(&self.vault), new.clone());
        let find = move |caller: &_| vault.publisher(caller, &identity, (&new.namespace, &new.name));
        Ok(Some(Arc::new(self.calls.answer(call.clone(), find).await?)))
    }
}

/// Why a model signature among the members need not be good, if the caller says so.
fn allowance(start: &pb::SealStart) -> Outcome<Option<String>> {
    match &start.allow[..] {
        [] => Ok(None),
        [rule] if rule == ALLOW_UNSIGNED => Ok(Some(start.reason.clone())),
        _ => Err(Error::new(ErrorId::InvalidArgument, "a rule that cannot be set aside")),
    }
}

/// The publisher a client announces; empty: the vault signs.
fn publisher(start: &pb::SealStart) -> Outcome<Option<PublicKey>> {
    let spki = &start.public_key;
    if spki.is_empty() {
        return Ok(None);
    }
    if !start.identity.is_empty() {
        return Err(Error::new(ErrorId::InvalidArgument, "both a publisher's key and an identity of the vault"));
    }
    let bad = |_| Error::new(ErrorId::InvalidArgument, "the publisher's key is no SubjectPublicKeyInfo of Ed25519");
    PublicKey::from_spki(spki).map(Some).map_err(bad)
}

fn sealed(published: Published) -> pb::SealResponse {
    let version = Some(wire::version_to_wire(&published.version));
    pb::SealResponse { part: Some(Answer::Sealed(pb::Sealed { version, replayed: published.replayed })) }
}

/// Both directions of one Seal.
struct Talk {
    messages: Streaming<pb::SealRequest>,
    answers: mpsc::Sender<Result<pb::SealResponse, Status>>,
    standing: Standing,
    /// For each signature, the sending of what is to be signed included.
    wait: std::time::Duration,
}

impl Talk {
    /// Until the sealing side is done: first the bytes, then its questions.
    async fn run(
        &mut self,
        pump: super::upload::Pump,
        mut questions: mpsc::Receiver<Question>,
        mut sealing: JoinHandle<Outcome<Published>>,
    ) -> Outcome<Published> {
        let pumping = pump.run(&mut self.messages, false, self.standing.clone(), |m| match m.part {
            Some(Part::Data(bytes)) => Incoming::Data(bytes),
            Some(Part::End(end)) => Incoming::End(end.bytes),
            _ => Incoming::Other,
        });
        tokio::select! {
            outcome = &mut sealing => return outcome.map_err(panicked).and_then(|o| o),
            () = pumping => {}
        }
        loop {
            let question = tokio::select! {
                outcome = &mut sealing => return outcome.map_err(panicked).and_then(|o| o),
                Some(question) = questions.recv() => question,
            };
            let late = || Error::new(ErrorId::DeadlineExceeded, format!("no signature came within {:?}", self.wait));
            let asking = tokio::time::timeout(self.wait, ask(&mut self.messages, &self.answers, question.payload));
            let signature = tokio::select! {
                asked = asking => asked.unwrap_or_else(|_| Err(late())),
                why = lost(self.standing.clone()) => Err(why),
            };
            let _ = question.answer.send(signature);
        }
    }
}

/// One statement out, its signature in. Whether that is good is for whoever asked to see.
async fn ask(
    messages: &mut Streaming<pb::SealRequest>,
    answers: &mpsc::Sender<Result<pb::SealResponse, Status>>,
    payload: Bytes,
) -> Outcome<Signature> {
    let send = async |part| answers.send(Ok(pb::SealResponse { part: Some(part) })).await.map_err(|_| gone());
    send(Answer::ToSign(pb::SealToSign { payload_len: payload.len() as u64 })).await?;
    for from in (0..payload.len()).step_by(PIECE_LEN) {
        send(Answer::Payload(payload.slice(from..payload.len().min(from + PIECE_LEN)))).await?;
    }
    let invalid = |what: &str| Error::new(ErrorId::InvalidArgument, what);
    match messages.message().await {
        Ok(Some(pb::SealRequest { part: Some(Part::Signature(signature)) })) => {
            signature[..].try_into().map_err(|_| invalid("a signature has 64 bytes"))
        }
        Ok(Some(_)) => Err(invalid("a signature was asked for, and something else came")),
        Ok(None) => Err(invalid("the client ended without signing")),
        Err(status) => Err(Error::new(ErrorId::Unreachable, format!("the call was cut: {}", status.message()))),
    }
}
