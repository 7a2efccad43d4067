//! Callers who come with a token or with a certificate of another trust domain: what it is exchanged for, who they are from then
//! on, and how that is taken back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::gate::Subject;
use super::once::Request;
use super::{Caller, Evidence, Vault};
use crate::audit::Act;
use crate::catalogue::{SessionRecord, UsedToken};
use crate::crypto;
use crate::crypto::jws::JwsAlgorithm;
use crate::error::{Error, ErrorId, Result};
use crate::facts::{RefusedFacts, SessionFacts, SessionsFacts};
use crate::home::read_bounded;
use crate::identity::issuers::{Issuers, KeySource, WebSource};
use crate::identity::jwks::{KeyCache, Keys};
use crate::identity::jwt::{Confirmation, KeySet, Refused, Token};
use crate::identity::{
    AgentBundles, Bundles, ForeignCertificate, SessionCertificate, ShownChain, TrustDomains, csr_key,
};
use crate::names::{KeyId, Name, Principal, PrincipalKind, SessionId, Timestamp};
use crate::policy::{Action, Resource};

/// Longest session. What must live longer comes back with a fresh token.
const LONGEST_SESSION: Duration = Duration::from_secs(15 * 60);
/// By how much a clock may be set back while sessions go on.
const CLOCK_STEP: Duration = Duration::from_secs(60);
const MAX_KEYS_BYTES: u64 = 1 << 20;

/// The keys that a token is to be checked with.
#[derive(Clone, Debug)]
pub enum TokenKeys {
    /// These.
    Known(Arc<KeySet>),
    /// Its issuer is to be asked for them: [`Vault::keys_fetched`] is told what came of it.
    Ask(WebSource),
}

/// A token that was exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// The session.
    pub session: SessionFacts,
    /// DER of its certificate.
    pub certificate: Vec<u8>,
}

impl Vault {
    /// The issuer that a token claims, and which keys it is to be checked with. Nothing else in it is believed yet.
    ///
    /// # Errors
    /// `BadCredential` if no configured issuer would have made it; `IssuerUnreachable` while the issuer's keys cannot be had.
    pub fn token_keys(&self, token: &str) -> Result<(Name, TokenKeys)> {
        let (name, keys) = self.look_for_keys(token, KeyCache::keys)?;
        Ok((name, keys?))
    }

    /// The same without being about to ask the issuer: `None` if it would have to be asked, or was and has not answered yet.
    ///
    /// # Errors
    /// `BadCredential` if no configured issuer would have made it.
    pub fn keys_at_hand(&self, token: &str) -> Result<(Name, Option<Arc<KeySet>>)> {
        let (name, keys) = self.look_for_keys(token, KeyCache::peek)?;
        Ok((name, keys.ok().and_then(|keys| if let TokenKeys::Known(keys) = keys { Some(keys) } else { None })))
    }

    fn look_for_keys(
        &self,
        token: &str,
        look: fn(&KeyCache, &WebSource, Option<&str>, &[JwsAlgorithm], Timestamp) -> Keys,
    ) -> Result<(Name, Result<TokenKeys>)> {
        let token = Token::parse(token)?;
        let (_, issuers) = self.setting::<Issuers>();
        let issuer = issuers.of_token(&token)?;
        let keys = match &issuer.keys {
            KeySource::Inline(keys) => Ok(TokenKeys::Known(Arc::new(keys.clone()))),
            KeySource::File(path) => {
                let text = read_bounded(path, MAX_KEYS_BYTES).map_err(|e| Error::from(e).on(path.display()));
                let keys = text.and_then(|text| KeySet::parse(&text));
                keys.map(|keys| TokenKeys::Known(Arc::new(keys))).map_err(|e| unavailable(&issuer.name, &e))
            }
            KeySource::Web(source) => {
                match look(&self.issuer_keys, source, token.kid(), &issuer.rules.algorithms, self.now()) {
                    Keys::Known(keys) => Ok(TokenKeys::Known(keys)),
                    Keys::Ask => Ok(TokenKeys::Ask(source.clone())),
                    Keys::Unavailable(after) => Err(Error::new(
                        ErrorId::IssuerUnreachable,
                        format!("the keys of the issuer {} cannot be had for now", issuer.name),
                    )
                    .retry_after(after)),
                }
            }
        };
        Ok((issuer.name.clone(), keys))
    }

    /// What came of asking an issuer. Keys that it gave earlier serve for a day when it does not answer.
    ///
    /// # Errors
    /// `IssuerUnreachable` if there are none.
    pub fn keys_fetched(&self, source: &WebSource, outcome: Result<KeySet>) -> Result<Arc<KeySet>> {
        let (now, keys) = (self.now(), outcome.map_err(|e| unavailable(&source.issuer, &e)));
        let (keys, failure) = match keys {
            Ok(keys) => (Some(keys), None),
            Err(e) => (None, Some(e)),
        };
        self.issuer_keys.fetched(source, keys, now);
        let none = || Error::new(ErrorId::IssuerUnreachable, "the issuer's keys are not there");
        self.issuer_keys.held(source, now).ok_or_else(|| failure.unwrap_or_else(none))
    }

    /// Exchanges a token, once, for a session: a short certificate for the key of the signing request. Who holds the token
    /// without that key has nothing from then on.
    ///
    /// # Errors
    /// `BadCredential` for a token that is not accepted; `InvalidArgument` for a bad signing request. Neither leaves a row of its
    /// own: the caller of this counts them.
    pub fn login(&self, caller: &Caller, token: &str, keys: &KeySet, csr: &[u8]) -> Result<LoggedIn> {
        let parsed = Token::parse(token)?;
        let (_, issuers) = self.setting::<Issuers>();
        let issuer = issuers.of_token(&parsed)?;
        let now = self.now();
        let verified = parsed.verify(keys, &issuer.rules, now)?;
        let vouched = issuer.vouch(&verified)?;
        let key = csr_key(csr)?;
        match verified.confirmation {
            Some(Confirmation::Key(wanted)) if !crypto::equal(&wanted.0, &key.thumbprint().0) => {
                return Err(Refused::Binding.into());
            }
            // Shown at the handshake, so its key is there; a certificate is no key for the session.
            Some(Confirmation::Certificate(_)) => return Err(Refused::Binding.into()),
            _ => {}
        }
        let principal = vouched.principal;
        if let Some(namespace) = &principal.namespace {
            self.namespace_id(namespace)?;
        }
        if self.catalogue.is_refused(&principal.issuer, &principal.subject)? {
            return Err(Error::new(ErrorId::BadCredential, format!("{principal} is refused")));
        }
        let id = SessionId::generate(now, self.random())?;
        let lifetime = verified.expires.since(now).min(LONGEST_SESSION).max(Duration::from_secs(1));
        let issued = self.authority.issue_session(&key, id, lifetime, now, self.random())?;
        let record = SessionRecord {
            id,
            serial: issued.serial.0.to_vec(),
            spki: KeyId(issued.spki_sha256.0),
            principal: principal.clone(),
            groups: vouched.groups,
            rules: issuer.digest,
            created: now,
            expires: issued.not_after,
            revoked: None,
        };
        let caller = Caller { principal, ..caller.clone() };
        let subject = Subject::vault()
            .with("session", id)
            .with("serial", issued.serial)
            .with("issuer", &issuer.name)
            .with("expires", issued.not_after)
            .with("token", verified.id.0);
        let used = UsedToken { issuer: issuer.name.as_str().into(), token: verified.id.0, expires: verified.expires };
        let row = self.row(&caller, Act::SessionLogin, &subject, None).to_leaf();
        self.catalogue.open_session(record.clone(), used, row).map_err(|e| match Error::from(e) {
            e if e.id() == ErrorId::AlreadyExists => Refused::Replayed.into(),
            // Refused since it was asked above.
            e if e.id() == ErrorId::InvalidArgument => Error::new(ErrorId::BadCredential, e.message()),
            e => e,
        })?;
        Ok(LoggedIn { session: session_facts(&record), certificate: issued.certificate })
    }

    /// Who calls by a certificate of a session.
    ///
    /// # Errors
    /// `BadCredential` if the session is over, or is not one of this vault.
    pub fn session_caller(&self, certificate: &SessionCertificate) -> Result<(Principal, Evidence)> {
        let over = || Error::new(ErrorId::BadCredential, "the session is over, or was not opened by this vault");
        let known = match self.catalogue.session_of(&certificate.serial.0).map_err(Error::from) {
            Err(e) if e.id() == ErrorId::NotFound => return Err(over()),
            known => known?,
        };
        if known.id != certificate.session || known.revoked.is_some() {
            return Err(over());
        }
        let evidence = Evidence {
            groups: known.groups,
            session: Some(known.id),
            expires: Some(known.expires),
            ..Evidence::default()
        };
        Ok((known.principal, evidence))
    }

    /// Who calls by a certificate of another trust domain.
    ///
    /// # Errors
    /// `BadCredential` unless the settings accept its subject.
    pub fn foreign_caller(&self, certificate: &ForeignCertificate) -> Result<(Principal, Evidence)> {
        let (_, issuers) = self.setting::<Issuers>();
        let domain = issuers.trust_domain(certificate.id.trust_domain()).ok_or(Refused::UnknownIssuer)?;
        let vouched = domain.vouch(&certificate.id)?;
        let chain = Some(Arc::new(ShownChain::of(certificate)));
        let (groups, expires) = (vouched.groups, Some(certificate.not_after));
        let evidence = Evidence { groups, chain, expires, ..Evidence::default() };
        Ok((vouched.principal, evidence))
    }

    /// The other trust domains whose certificates are good.
    pub fn trust_domains(&self) -> &TrustDomains {
        &self.trust_domains
    }

    /// The sockets of the SPIFFE agents that tell authorities.
    pub fn agents(&self) -> Vec<PathBuf> {
        self.setting::<Issuers>().1.agents()
    }

    /// Puts the authorities of other trust domains in force, if they have changed since `bundles` looked last. Whoever was let
    /// in under one that is not trusted any more is refused from then on, and its streams are cut.
    pub fn refresh_trust(&self, bundles: &mut Bundles, agents: &AgentBundles) {
        let (version, issuers) = self.setting::<Issuers>();
        if let Some(authorities) = bundles.refresh(version, &issuers, agents) {
            self.trust_domains.replace(authorities);
            self.cut();
        }
    }

    /// Whether a caller whom somebody else vouches for may still call.
    pub(super) fn admit_vouched(&self, caller: &Caller) -> Result<()> {
        let over = |why: &str| Error::new(ErrorId::BadCredential, format!("{}: {why}", caller.principal));
        let again = "log in again with a fresh token: vault login --server ADDRESS --token-file FILE";
        let Principal { issuer, subject, .. } = &caller.principal;
        let (serial, spki) = caller.channel.certificate.as_ref().ok_or_else(|| over("no certificate"))?;
        // The handshake checked this, but a connection may outlive it.
        if caller.evidence.expires.is_none_or(|until| self.now().as_secs() > until.as_secs()) {
            return Err(over("the credential has expired").hint(again));
        }
        match caller.evidence.session {
            Some(id) => {
                let known = match self.catalogue.session_of(serial).map_err(Error::from) {
                    Err(e) if e.id() == ErrorId::NotFound => return Err(over("there is no such session")),
                    known => known?,
                };
                let same = known.id == id
                    && known.principal == caller.principal
                    && known.groups == caller.evidence.groups
                    && crypto::equal(&known.spki.0, &spki.0);
                if known.revoked.is_some() || !same {
                    return Err(over("the session was revoked").hint(again));
                }
                // A clock that is set back prolongs no session.
                if self.now().plus(CLOCK_STEP) < known.created {
                    return Err(over("the session begins in the future").hint(again));
                }
                // The token was held to rules that may not be those of today: it would have to be shown again.
                if self.setting::<Issuers>().1.rules_of(issuer) != Some(known.rules) {
                    return Err(over("what the settings say of its issuer has changed").hint(again));
                }
            }
            // Of another trust domain: it counts for as long as the settings say so.
            None => {
                let (_, issuers) = self.setting::<Issuers>();
                let id = subject.parse().map_err(|_| over("not a SPIFFE id"))?;
                let vouched = issuers.trust_domains().iter().find(|domain| domain.name.as_str() == issuer);
                let vouched = vouched.and_then(|domain| domain.vouch(&id).ok());
                if vouched.is_none_or(|v| v.principal != caller.principal || v.groups != caller.evidence.groups) {
                    return Err(over("nobody vouches for it any more"));
                }
                let shown = caller.evidence.chain.as_ref();
                if !shown.is_some_and(|chain| self.trust_domains.pass(chain, self.now())) {
                    return Err(over("its authority is not trusted any more"));
                }
            }
        }
        if self.catalogue.is_refused(issuer, subject)? {
            return Err(over("it is refused"));
        }
        Ok(())
    }

    /// Ends the caller's own session.
    pub fn logout(&self, caller: &Caller) -> Result<()> {
        let act = Act::SessionLogout;
        self.admitted(caller, act, &Subject::vault())?;
        let Some(id) = caller.evidence.session else {
            let none = Error::new(ErrorId::InvalidArgument, "this caller has no session")
                .hint("an enrolled workload keeps its certificate; vault workload revoke NAME takes it back");
            return self.refuse(caller, act, &Subject::vault(), none);
        };
        let row = self.row(caller, act, &Subject::vault().with("session", id), None).to_leaf();
        self.catalogue.revoke_session(id, row.into())?;
        self.cut();
        Ok(())
    }

    /// Sessions that are not over, and subjects that are refused.
    pub fn sessions(&self, caller: &Caller) -> Result<SessionsFacts> {
        let (act, subject) = (Act::SessionList, Subject::vault());
        let action = self.to_see(caller, Action::RevokeSession, Action::ReadSessions)?;
        let permit = self.permit(caller, act, action, Resource::Vault, &subject)?;
        let (mut sessions, mut after) = (Vec::new(), None);
        loop {
            let page = self.catalogue.live_sessions(after, 1000)?;
            sessions.extend(page.rows.iter().map(session_facts));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let refused = self.catalogue.refused_subjects()?.into_iter().map(|row| RefusedFacts {
            issuer: row.issuer,
            subject: row.subject,
            refused_by: row.refused_by,
            refused: row.refused,
        });
        let refused = refused.collect();
        self.record(caller, act, &subject.with("shown", sessions.len()), &permit)?;
        Ok(SessionsFacts { sessions, refused })
    }

    /// Takes a session back. Its streams are cut.
    pub fn revoke_session(&self, caller: &Caller, id: SessionId) -> Result<()> {
        let act = Act::SessionRevoke;
        let subject = Subject::vault().with("session", id);
        let permit = self.permit(caller, act, Action::RevokeSession, Resource::Vault, &subject)?;
        let request = Request { caller, act, subject, permit: &permit, arguments: &[&id.0] };
        let carry_out = || {
            let revoked = self.catalogue.revoke_session(id, self.entry(&request, Vec::new()));
            revoked.map(drop).map_err(|e| Error::from(e).hint("vault session ls shows those that are not over"))
        };
        let outcome = self.once(&request, |_| Ok(()), carry_out);
        self.cut();
        outcome
    }

    /// Refuses a subject of an issuer in the settings, whatever it comes with, until it is readmitted. Its streams are cut.
    pub fn refuse_subject(&self, caller: &Caller, issuer: &str, subject: &str, readmit: bool) -> Result<()> {
        let act = Act::SessionRevoke;
        let verdict = if readmit { "readmitted" } else { "refused" };
        let about = Subject::vault().with("issuer", issuer).with("subject", subject).with("verdict", verdict);
        let permit = self.permit(caller, act, Action::RevokeSession, Resource::Vault, &about)?;
        if Principal::OWN_ISSUERS.contains(&issuer) || issuer.is_empty() || subject.is_empty() {
            let own = Error::new(ErrorId::InvalidArgument, format!("{issuer:?} is no issuer of the settings")).hint(
                "vault workload revoke NAME takes back what was enrolled; vault config get issuers names the others",
            );
            return self.refuse(caller, act, &about, own);
        }
        // To refuse whom nobody can vouch for would look like a success. Taken back is also what a former issuer's were.
        if !readmit && !self.setting::<Issuers>().1.knows(issuer) {
            let unknown = Error::new(ErrorId::NotFound, format!("the settings know no issuer {issuer:?}"))
                .hint("vault config get issuers names the issuers and trust domains");
            return self.refuse(caller, act, &about, unknown);
        }
        let arguments = [issuer.as_bytes(), subject.as_bytes(), verdict.as_bytes()];
        let request = Request { caller, act, subject: about, permit: &permit, arguments: &arguments };
        let carry_out = || {
            let entry = self.entry(&request, Vec::new());
            match readmit {
                true => self.catalogue.readmit_subject(issuer, subject, entry)?,
                false => self.catalogue.refuse_subject(issuer, subject, caller.principal.to_string(), entry)?,
            };
            Ok(())
        };
        let outcome = self.once(&request, |_| Ok(()), carry_out);
        self.cut();
        outcome
    }
}

/// Why is for the log: strangers are not told what the vault can reach.
fn unavailable(issuer: &dyn std::fmt::Display, e: &Error) -> Error {
    tracing::warn!(error = %e, %issuer, "the keys of an issuer cannot be had");
    Error::new(ErrorId::IssuerUnreachable, format!("the keys of the issuer {issuer} cannot be had"))
}

fn session_facts(record: &SessionRecord) -> SessionFacts {
    let SessionRecord { id, principal, groups, created, expires, .. } = record;
    SessionFacts {
        id: *id,
        kind: match principal.kind {
            PrincipalKind::Operator => "operator".into(),
            _ => "workload".into(),
        },
        issuer: principal.issuer.clone(),
        subject: principal.subject.clone(),
        namespace: principal.namespace.clone(),
        groups: groups.clone(),
        created: *created,
        expires: *expires,
    }
}
