//! Sessions: a token exchanged for a certificate, and what operators do with them.

use super::{ANSWER_LIMIT, Client, request_id};
use crate::error::Result;
use crate::facts::{SessionFacts, SessionsFacts};
use crate::names::SessionId;
use crate::wire::pb::login_service_client::LoginServiceClient;
use crate::wire::pb::session_service_client::SessionServiceClient;
use crate::wire::{broken, pb, session_from_wire, sessions_from_wire};

/// What a login brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// DER of the session's certificate.
    pub certificate: Vec<u8>,
    /// DER of the vault's CA.
    pub ca_certificate: Vec<u8>,
    /// The session.
    pub session: SessionFacts,
}

impl Client {
    /// Exchanges a token for a session over the key of a signing request (DER). The one call, besides health, that needs no
    /// certificate. A token is taken once, so this is never repeated.
    pub async fn login(&self, token: &str, csr: Vec<u8>) -> Result<Login> {
        let request = pb::LoginRequest { token: token.into(), csr: csr.into() };
        let mut service = LoginServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT);
        let answer = self.once(async || service.login(request).await).await?;
        Ok(Login {
            certificate: answer.certificate.into(),
            ca_certificate: answer.ca_certificate.into(),
            session: session_from_wire(answer.session.ok_or_else(|| broken("no session"))?)?,
        })
    }

    /// Ends the session that this client calls in.
    pub async fn logout(&self) -> Result<()> {
        self.once(async || self.session_service().logout(pb::LogoutRequest {}).await).await?;
        Ok(())
    }

    /// Sessions that are not over, and subjects that are refused.
    pub async fn sessions(&self) -> Result<SessionsFacts> {
        let answer =
            self.answer(async || self.session_service().list_sessions(pb::ListSessionsRequest {}).await).await?;
        sessions_from_wire(answer)
    }

    /// Takes a session back; what runs in it is cut.
    pub async fn revoke_session(&self, id: SessionId) -> Result<()> {
        let request = pb::RevokeSessionRequest { session: id.0.to_vec().into(), ..Default::default() };
        self.send_revocation(request).await
    }

    /// Refuses a subject of an issuer, whatever it comes with, until it is readmitted.
    pub async fn refuse_subject(&self, issuer: &str, subject: &str, readmit: bool) -> Result<()> {
        let (issuer, subject) = (issuer.into(), subject.into());
        self.send_revocation(pb::RevokeSessionRequest { issuer, subject, readmit, ..Default::default() }).await
    }

    async fn send_revocation(&self, mut request: pb::RevokeSessionRequest) -> Result<()> {
        request.request_id = request_id()?;
        self.once(async || self.session_service().revoke_session(request).await).await?;
        Ok(())
    }

    fn session_service(&self) -> SessionServiceClient<tonic::transport::Channel> {
        SessionServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT)
    }
}
