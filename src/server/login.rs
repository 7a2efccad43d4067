//! LoginService and SessionService: tokens of other issuers, exchanged for sessions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};

use super::calls::{Call, Calls, overloaded, panicked, received};
use super::connection::origin;
use super::shares::Shares;
use crate::error::{Error, ErrorId, Result as Outcome};
use crate::identity::fetch_keys;
use crate::identity::jwt::{KeySet, Refused};
use crate::names::{Name, SessionId};
use crate::vault::{LoggedIn, TokenKeys, Vault};
use crate::wire::{self, pb};

/// Most bytes of a login: a token and a signing request.
pub(super) const LOGIN_LIMIT: usize = 40 << 10;
/// Logins that compute at the same time: what callers without a certificate may make the daemon do. Half of them at most for one
/// address, and for one issuer.
const LOGINS: usize = 4;
/// How long a login waits for a place.
const WAIT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Logins {
    pub(super) vault: Arc<Vault>,
    pub(super) calls: Arc<Calls>,
    /// Taken for as long as a token is verified and a certificate made, not while keys are waited for.
    places: Arc<Semaphore>,
    from: Arc<Shares>,
    under: Arc<Shares>,
    /// An issuer is asked by one login at a time; the others wait and use what it brought.
    asking: Arc<Shares>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Logins {
    pub(super) fn new(vault: &Arc<Vault>, calls: &Arc<Calls>) -> Self {
        let places = Arc::new(Semaphore::new(LOGINS));
        let [from, under] = [(); 2].map(|()| Arc::new(Shares::new(LOGINS / 2)));
        let asking = Arc::new(Shares::new(1));
        Self { vault: Arc::clone(vault), calls: Arc::clone(calls), places, from, under, asking }
    }

    async fn log_in(&self, call: &Call, request: pb::LoginRequest) -> Outcome<LoggedIn> {
        let token = Arc::new(request.token);
        let (issuer, keys) = self.keys(call, &token).await?;
        let place = self.place(call, &issuer).await?;
        let (vault, caller) = (Arc::clone(&self.vault), call.caller.clone());
        let login = move || {
            let _until_done = place;
            vault.login(&caller, &token, &keys, &request.csr)
        };
        self.calls.compute(login).await
    }

    /// A place among those that compute, within the shares of its address and issuer. Those who wait are served in order, so
    /// whoever comes in crowds waits behind its own crowd.
    async fn place(&self, call: &Call, issuer: &Name) -> Outcome<[OwnedSemaphorePermit; 3]> {
        let never = "these semaphores are never closed";
        let all = async {
            let address = self.from.of(&address_of(call)).acquire_owned().await.expect(never);
            let issuer = self.under.of(issuer).acquire_owned().await.expect(never);
            [address, issuer, Arc::clone(&self.places).acquire_owned().await.expect(never)]
        };
        tokio::time::timeout(WAIT, all).await.map_err(|_| overloaded("too many logins at the same time"))
    }

    async fn keys(&self, call: &Call, token: &Arc<String>) -> Outcome<(Name, Arc<KeySet>)> {
        // Reading a token costs little, and its issuer is not known before.
        let share = self.from.of(&address_of(call)).acquire_owned().await;
        let (vault, text) = (Arc::clone(&self.vault), Arc::clone(token));
        let (issuer, at_hand) = self.calls.compute(move || vault.keys_at_hand(&text)).await?;
        drop(share);
        if let Some(keys) = at_hand {
            return Ok((issuer, keys));
        }
        let turn = self.asking.of(&issuer).acquire_owned().await.ok();
        let (vault, text) = (Arc::clone(&self.vault), Arc::clone(token));
        let source = match self.calls.compute(move || vault.token_keys(&text)).await? {
            (issuer, TokenKeys::Known(keys)) => return Ok((issuer, keys)),
            (_, TokenKeys::Ask(source)) => source,
        };
        // On a task of its own: a caller that goes away meanwhile must not leave the issuer marked as asked and unanswered.
        let vault = Arc::clone(&self.vault);
        let asking = tokio::spawn(async move {
            let outcome = fetch_keys(&source).await;
            let keys = vault.keys_fetched(&source, outcome);
            drop(turn);
            keys
        });
        Ok((issuer, asking.await.map_err(panicked)??))
    }
}

/// What a caller without a credential is counted by.
fn address_of(call: &Call) -> String {
    let peer = call.caller.channel.peer.as_deref().unwrap_or_default();
    peer.parse::<SocketAddr>().map_or_else(|_| peer.into(), |address| origin(address.ip()).to_string())
}

#[tonic::async_trait]
impl pb::login_service_server::LoginService for Logins {
    async fn login(&self, request: Request<pb::LoginRequest>) -> Answer<pb::LoginResponse> {
        let (call, message) = received(request, |_| &[])?;
        let outcome = self.log_in(&call, message).await;
        let logged_in = outcome.map_err(|e| {
            let why = std::error::Error::source(&e).and_then(|s| s.downcast_ref::<Refused>());
            let why = why.map_or("login refused", |refused| refused.phrase());
            self.vault.count_refusal(call.caller.channel.peer.as_deref(), e.id(), why);
            call.status(&e)
        })?;
        Ok(Response::new(pb::LoginResponse {
            certificate: logged_in.certificate.into(),
            ca_certificate: self.vault.ca_certificate().into(),
            session: Some(wire::session_to_wire(&logged_in.session)),
        }))
    }
}

#[tonic::async_trait]
impl pb::session_service_server::SessionService for Logins {
    async fn logout(&self, request: Request<pb::LogoutRequest>) -> Answer<pb::LogoutResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        self.calls.answer(call, move |caller| vault.logout(caller)).await?;
        Ok(Response::new(pb::LogoutResponse {}))
    }

    async fn list_sessions(&self, request: Request<pb::ListSessionsRequest>) -> Answer<pb::ListSessionsResponse> {
        let (call, _) = received(request, |_| &[])?;
        let vault = Arc::clone(&self.vault);
        let listed = self.calls.answer(call, move |caller| vault.sessions(caller)).await?;
        Ok(Response::new(wire::sessions_to_wire(&listed)))
    }

    async fn revoke_session(&self, request: Request<pb::RevokeSessionRequest>) -> Answer<pb::RevokeSessionResponse> {
        let (call, m) = received(request, |m| &m.request_id)?;
        let vault = Arc::clone(&self.vault);
        if m.session.is_empty() {
            let refuse = move |caller: &_| vault.refuse_subject(caller, &m.issuer, &m.subject, m.readmit);
            self.calls.answer(call, refuse).await?;
            return Ok(Response::new(pb::RevokeSessionResponse {}));
        }
        if m.readmit {
            let gone = Error::new(ErrorId::InvalidArgument, "a session that was revoked stays revoked");
            return Err(call.status(&gone.hint("the caller logs in again")));
        }
        let id = SessionId::try_from(&m.session[..]).map_err(|e| call.status(&e))?;
        self.calls.answer(call, move |caller| vault.revoke_session(caller, id)).await?;
        Ok(Response::new(pb::RevokeSessionResponse {}))
    }
}
