//! What all services share: who calls, where blocking work runs, what phase the daemon is in.

use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinError;
use tonic::Status;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::Limits;
use super::connection::Peer;
use super::segments::Segments;
use super::shares::Shares;
use super::traces::Tracing;
use super::watch::Told;
use crate::crypto::random::SystemRandom;
use crate::error::{Error, ErrorId, Result};
use crate::names::{Clock as _, Name, PrincipalKind, Reference, RequestId, SystemClock};
use crate::telemetry::{Metrics, Page};
use crate::vault::{Caller, Counted, Transport};
use crate::wire::{Audience, status_of};

/// How far the end of the daemon has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// No new connections or calls; those that run may finish.
    Draining,
    /// Whatever still runs is cut.
    Cut,
}

/// Shared state of all services.
pub(super) struct Calls {
    pub(super) limits: Limits,
    pub(super) health: HealthReporter,
    pub(super) segments: Arc<Segments>,
    workers: Arc<Semaphore>,
    /// Checks that read everything there is, which takes minutes: apart from the workers, so that reads do not wait for them.
    checks: Arc<Semaphore>,
    /// Transfers of workloads; each may have its share of them.
    transfers: Arc<Semaphore>,
    transfer_shares: Shares,
    /// Transfers no workload gets: operators can always call.
    reserved: Arc<Semaphore>,
    /// What is counted of all calls.
    pub(super) metrics: Arc<Metrics>,
    pub(super) tracing: Tracing,
    phase: watch::Sender<Phase>,
    /// Each piece of work that must be done before the daemon ends holds a clone.
    working: Arc<()>,
}

/// A place among the transfers, given back when dropped.
#[derive(Debug)]
pub(super) struct Transfer {
    _place: OwnedSemaphorePermit,
    _share: Option<OwnedSemaphorePermit>,
}

/// One call: who makes it, and what may be told about failures.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) caller: Caller,
    pub(super) audience: Audience,
}

impl Call {
    /// From what the connection put into the request; `id` as the message gives it, empty for a fresh one.
    pub(super) fn new(extensions: &Extensions, id: &[u8]) -> Result<Self, Status> {
        let peer = extensions
            .get::<Peer>()
            .ok_or_else(|| refuse(&Error::new(ErrorId::Internal, "a request without a connection")))?;
        let audience = audience(peer);
        let request_id = match id {
            [] => RequestId::generate(SystemClock.now(), &SystemRandom),
            given => RequestId::try_from(given),
        };
        let request_id = request_id.map_err(|e| status_of(&e, audience))?;
        if let Some(told) = extensions.get::<Told>() {
            told.id(request_id);
        }
        let caller = Caller {
            principal: peer.principal.clone(),
            request_id,
            channel: peer.channel.clone(),
            evidence: peer.evidence.clone(),
            counted: Counted::default(),
        };
        Ok(Self { caller, audience })
    }

    /// What the caller is told about `error`.
    pub(super) fn status(&self, error: &Error) -> Status {
        status_of(error, self.audience)
    }

    /// Parses what the caller sent; a failure is the caller's to see.
    pub(super) fn parse<T: std::str::FromStr<Err = Error>>(&self, text: &str) -> Result<T, Status> {
        text.parse().map_err(|e| self.status(&e))
    }

    /// `[NAMESPACE/]NAME`: an artifact with all its versions.
    pub(super) fn artifact(&self, text: &str) -> Result<(Name, Name), Status> {
        if text.contains('@') {
            let error = Error::new(ErrorId::InvalidArgument, format!("not an artifact: {text:?}"));
            return Err(self.status(&error.hint("this call takes [NAMESPACE/]NAME, without a revision")));
        }
        let Reference { namespace, name, .. } = self.reference(text)?;
        Ok((namespace, name))
    }

    /// A reference to an artifact or version, not to a member.
    pub(super) fn reference(&self, text: &str) -> Result<Reference, Status> {
        let reference: Reference = self.parse(text)?;
        match reference.member {
            None => Ok(reference),
            Some(_) => Err(self.status(&Error::new(ErrorId::InvalidArgument, "this call takes no member path"))),
        }
    }
}

/// Everything is told on this machine alone: an operator elsewhere is one whom another issuer vouches for.
pub(super) fn audience(peer: &Peer) -> Audience {
    match peer.principal.kind {
        PrincipalKind::Operator if peer.channel.transport != Transport::Mtls => Audience::Operator,
        _ => Audience::Remote,
    }
}

fn refuse(error: &Error) -> Status {
    status_of(error, Audience::Remote)
}

impl Calls {
    pub(super) fn new(limits: &Limits) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let workers = if limits.workers == 0 { 2 * cores } else { limits.workers };
        let share = (limits.transfers / 4).max(1);
        Self {
            limits: limits.clone(),
            health: HealthReporter::new(),
            segments: Segments::new(limits.segments),
            workers: Arc::new(Semaphore::new(workers)),
            checks: Arc::new(Semaphore::new(1)),
            transfers: Arc::new(Semaphore::new(limits.transfers.saturating_sub(share).max(1))),
            transfer_shares: Shares::new(share),
            reserved: Arc::new(Semaphore::new(share)),
            metrics: Arc::default(),
            tracing: Tracing::new(),
            phase: watch::channel(Phase::Serving).0,
            working: Arc::new(()),
        }
    }

    /// Counts where the vault does.
    pub(super) fn counting(self, metrics: &Arc<Metrics>) -> Self {
        Self { metrics: Arc::clone(metrics), ..self }
    }

    /// How much room there is.
    pub(super) fn write_metrics(&self, page: &mut Page) {
        let free = |page: &mut Page, name, help, places: &Semaphore| {
            page.single(name, "gauge", help, places.available_permits());
        };
        page.single(
            "modelvault_segments_free",
            "gauge",
            "Segments of plaintext that may still be in memory.",
            self.segments.available(),
        );
        free(page, "modelvault_workers_free", "Calls that may still compute.", &self.workers);
        free(page, "modelvault_transfers_free", "Transfers of workloads that may still begin.", &self.transfers);
        free(page, "modelvault_reserved_transfers_free", "The same for operators.", &self.reserved);
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Goes on to `phase`, never back.
    pub(super) async fn enter(&self, phase: Phase) {
        self.health.set_service_status("", ServingStatus::NotServing).await;
        self.phase.send_if_modified(|now| phase > std::mem::replace(now, phase.max(*now)));
    }

    /// To be held by work that must be done before the daemon ends.
    pub(super) fn working(&self) -> Arc<()> {
        Arc::clone(&self.working)
    }

    /// Waits until nobody works any more, for 10 s at most.
    pub(super) async fn finished(&self) {
        const LONGEST: Duration = Duration::from_secs(10);
        let wait = async {
            // `self` holds one itself.
            while Arc::strong_count(&self.working) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(LONGEST, wait).await.is_err() {
            tracing::error!("some work was not done {LONGEST:?} after its connections ended");
        }
    }

    /// Runs `work` on a blocking thread, at most as many at a time as there are workers.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.worker().await?;
        self.blocking(permit, work).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let working = self.working();
        tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop((permit, working));
            outcome
        })
        .await
        .map_err(panicked)?
    }

    /// The same for a call of a caller.
    pub(super) async fn answer<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(&Caller) -> Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let caller = call.caller.clone();
        self.compute(move || work(&caller)).await.map_err(|e| call.status(&e))
    }

    /// The same for a check of everything: one at a time.
    pub(super) async fn check<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(&Caller) -> Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let caller = call.caller.clone();
        let checked = async {
            let permit = self.place(&self.checks, "another check is running").await?;
            self.blocking(permit, move || work(&caller)).await
        };
        checked.await.map_err(|e| call.status(&e))
    }

    /// A place among those that compute.
    pub(super) async fn worker(&self) -> Result<OwnedSemaphorePermit> {
        self.place(&self.workers, "all workers are busy").await
    }

    async fn place(&self, places: &Arc<Semaphore>, busy: &str) -> Result<OwnedSemaphorePermit> {
        match tokio::time::timeout(self.limits.segment_wait, Arc::clone(places).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(overloaded(busy)),
        }
    }

    /// A place among the transfers, which hold a thread while they wait for their client. A workload gets a quarter of all at
    /// most; a quarter is kept for operators, who take others too when there are some.
    pub(super) fn transfer(&self, caller: &Caller) -> Result<Transfer> {
        let full = |_| overloaded("too many transfers at the same time");
        let common = || Arc::clone(&self.transfers).try_acquire_owned();
        if caller.principal.kind == PrincipalKind::Operator {
            let place = Arc::clone(&self.reserved).try_acquire_owned().or_else(|_| common()).map_err(full)?;
            return Ok(Transfer { _place: place, _share: None });
        }
        let share = self.transfer_shares.of(&caller.principal).try_acquire_owned();
        let share = share.map_err(|_| overloaded("this caller has too many transfers at the same time"))?;
        Ok(Transfer { _place: common().map_err(full)?, _share: Some(share) })
    }
}

/// Try again soon.
pub(super) fn overloaded(what: &str) -> Error {
    Error::new(ErrorId::Overloaded, what).retry_after(Duration::from_secs(1))
}

/// A panic on a blocking thread. The panic's own message went to stderr; it does not go to the caller.
pub(super) fn panicked(_: JoinError) -> Error {
    Error::new(ErrorId::Internal, "the work for this call broke off")
}

/// Caller and message of a request. `id`: its `request_id`, empty where it has none.
pub(super) fn received<M>(request: tonic::Request<M>, id: impl FnOnce(&M) -> &[u8]) -> Result<(Call, M), Status> {
    let (_, extensions, message) = request.into_parts();
    Ok((Call::new(&extensions, id(&message))?, message))
}
