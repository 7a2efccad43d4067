//! AdminService: status, settings and the audit log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::calls::{Call, Calls, Phase, received};
use super::connection::Cut;
use super::standing::{GRACE, lost};
use super::streams::{Answers, Pieces, streamed};
use crate::error::{Error, ErrorId};
use crate::vault::{Caller, Standing, Vault};
use crate::wire::pb::{self, prove_audit_request::Of};

/// Rows read at a time.
const ROWS: u32 = 256;
/// How often a follower looks for new rows.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Admin {
    pub(super) vault: Arc<Vault>,
    pub(super) calls: Arc<Calls>,
}

type Answer<T> = Result<Response<T>, Status>;

/// Facts as the command line prints them.
pub(super) fn json<T: serde::Serialize>(facts: &T) -> crate::error::Result<String> {
    serde_json::to_string(facts).map_err(|e| Error::new(ErrorId::Internal, format!("facts cannot be written: {e}")))
}

#[tonic::async_trait]
impl pb::admin_service_server::AdminService for Admin {
    type ReadAuditStream = Answers<pb::ReadAuditResponse>;
    type ExportAuditStream = Answers<pb::ExportAuditResponse>;

    async fn status(&self, request: Request<pb::StatusRequest>) -> Answer<pb::StatusResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let facts_json = self.calls.answer(call, move |caller| json(&vault.status(caller)?)).await?;
        Ok(Response::new(pb::StatusResponse { facts_json }))
    }

    async fn get_setting(&self, request: Request<pb::GetSettingRequest>) -> Answer<pb::GetSettingResponse> {
        let (call, m) = received(request, |_| &[])?;
        let kind = call.parse(&m.kind)?;
        let vault = Arc::clone(&self.vault);
        let setting = self.calls.answer(call, move |caller| vault.read_setting(caller, kind)).await?;
        Ok(Response::new(pb::GetSettingResponse { version: setting.version, text: setting.text }))
    }

    async fn set_setting(&self, request: Request<pb::SetSettingRequest>) -> Answer<pb::SetSettingResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let kind = call.parse(&m.kind)?;
        let vault = Arc::clone(&self.vault);
        let change = move |caller: &_| vault.change_setting(caller, kind, &m.text, m.over);
        Ok(Response::new(pb::SetSettingResponse { version: self.calls.answer(call, change).await? }))
    }

    async fn list_sinks(&self, request: Request<pb::ListSinksRequest>) -> Answer<pb::ListSinksResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let facts_json = self.calls.answer(call, move |caller| json(&vault.sinks(caller)?)).await?;
        Ok(Response::new(pb::ListSinksResponse { facts_json }))
    }

    async fn read_audit(&self, request: Request<pb::ReadAuditRequest>) -> Answer<Self::ReadAuditStream> {
        let (call, m) = received(request, |_| &[])?;
        let transfer = self.calls.transfer(&call.caller).map_err(|e| call.status(&e))?;
        // The first rows are read before there is an answer: a refusal is then the call's own status.
        let (vault, calls) = (Arc::clone(&self.vault), Arc::clone(&self.calls));
        let (sender, answers) = mpsc::channel(1);
        let mut rows =
            Rows { vault, calls, call, next: m.from, left: (m.limit > 0).then_some(m.limit), standing: None, sender };
        let first = rows.read().await?;
        let cut = Cut::of_this_stream();
        tokio::spawn(async move {
            if rows.run(first, m.follow).await == Err(Blocked::Stalled) {
                cut.now();
            }
            drop(transfer);
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn verify_audit(&self, request: Request<pb::VerifyAuditRequest>) -> Answer<pb::VerifyAuditResponse> {
        let (call, m) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let verify = move |caller: &_| {
            let checkpoint = Some(&*m.checkpoint).filter(|c| !c.is_empty());
            vault.audit_verify(caller, checkpoint)
        };
        let facts = self.calls.check(call, verify).await?;
        Ok(Response::new(pb::VerifyAuditResponse {
            records: facts.records,
            checkpoints: facts.checkpoints,
            root: Bytes::copy_from_slice(&facts.root.0),
            checkpoint: facts.checkpoint,
        }))
    }

    async fn export_audit(&self, request: Request<pb::ExportAuditRequest>) -> Answer<Self::ExportAuditStream> {
        let (call, m) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let standing = self.vault.standing(&call.caller);
        let answers = streamed(&self.calls, call, standing, move |call, outlet| {
            vault.audit_export(&call.caller, m.from, &mut Pieces::new(outlet, |data| pb::ExportAuditResponse { data }))
        })?;
        Ok(Response::new(answers))
    }

    async fn prove_audit(&self, request: Request<pb::ProveAuditRequest>) -> Answer<pb::ProveAuditResponse> {
        let (call, m) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let prove = move |caller: &_| match m.of {
            Some(Of::Sequence(sequence)) => vault.prove_record(caller, sequence, m.size)?.to_json(),
            Some(Of::OldSize(old)) => vault.prove_extension(caller, old, m.size)?.to_json(),
            None => Err(Error::new(ErrorId::InvalidArgument, "it does not say what is to be proven")),
        };
        let proof_json = self.calls.check(call, prove).await?;
        Ok(Response::new(pb::ProveAuditResponse { proof_json }))
    }
}

/// Reads the log on and on for one caller.
struct Rows {
    vault: Arc<Vault>,
    calls: Arc<Calls>,
    call: Call,
    next: u64,
    left: Option<u32>,
    /// Whether it may go on, once it has begun.
    standing: Option<Standing>,
    sender: mpsc::Sender<Result<pb::ReadAuditResponse, Status>>,
}

/// Why no more rows can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocked {
    Gone,
    Stalled,
}

type Batch = Vec<(u64, Vec<u8>)>;

impl Rows {
    async fn read(&mut self) -> Result<Batch, Status> {
        let (vault, next, limit) = (Arc::clone(&self.vault), self.next, self.left.unwrap_or(ROWS).min(ROWS));
        if limit == 0 {
            return Ok(Vec::new());
        }
        let standing = self.standing.clone();
        let rows = move |caller: &Caller| match standing {
            None => vault.begin_reading_audit(caller, next, limit),
            Some(standing) => {
                // Whoever was revoked or denied meanwhile reads no further.
                (standing.check)()?;
                let batch = vault.audit_rows_again(next, limit)?;
                Ok((standing, batch))
            }
        };
        let (standing, batch) = self.calls.answer(self.call.clone(), rows).await?;
        self.standing = Some(standing);
        self.next = batch.last().map_or(next, |(sequence, _)| sequence + 1);
        self.left = self.left.map(|left| left.saturating_sub(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
        Ok(batch)
    }

    /// Until all was sent, or the caller may read no more: what was read before that is not sent on either.
    async fn run(&mut self, first: Batch, follow: bool) -> Result<(), Blocked> {
        let standing = self.standing.clone();
        let lost = async {
            match standing {
                Some(standing) => lost(standing).await,
                None => std::future::pending().await,
            }
        };
        let why = tokio::select! {
            sent = self.send_all(first, follow) => return sent,
            why = lost => why,
        };
        let last = self.send(Err(self.call.status(&why)));
        tokio::time::timeout(GRACE, last).await.unwrap_or(Err(Blocked::Stalled))
    }

    async fn send_all(&mut self, first: Batch, follow: bool) -> Result<(), Blocked> {
        let mut phase = self.calls.phase();
        let mut batch = first;
        loop {
            let empty = batch.is_empty();
            for (sequence, record) in batch {
                self.send(Ok(pb::ReadAuditResponse { sequence, record: record.into() })).await?;
            }
            if self.left == Some(0) || (empty && !follow) {
                return Ok(());
            }
            if empty {
                tokio::select! {
                    () = tokio::time::sleep(FOLLOW_EVERY) => {}
                    () = self.sender.closed() => return Err(Blocked::Gone),
                    _ = phase.wait_for(|p| *p >= Phase::Draining) => return Ok(()),
                }
            }
            batch = match self.read().await {
                Ok(batch) => batch,
                Err(status) => return self.send(Err(status)).await,
            };
        }
    }

    async fn send(&self, row: Result<pb::ReadAuditResponse, Status>) -> Result<(), Blocked> {
        match tokio::time::timeout(self.calls.limits.stall, self.sender.send(row)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Blocked::Gone),
            Err(_) => Err(Blocked::Stalled),
        }
    }
}
