//! Four eyes: an act that the policy permits only with the approval of others waits for it, and is then carried out once.
//!
//! What is approved is an act in all its parts: who wants it, what for, on which version or text, with which parameters. Whoever
//! repeats the same command uses the approval up, in the transaction that carries the act out.

use super::gate::Subject;
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::{APPROVAL_LASTS, Approval, NewApproval, Spend, VoteRecord};
use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId, Result};
use crate::facts::{ApprovalFacts, VoteFacts};
use crate::identity::Person;
use crate::names::{ApprovalId, PrincipalKind, Sha256};
use crate::policy::{Action, Decided, Lack, Policies, Request, Resource};

/// An approver with a second factor used it at most this long ago.
const FRESH_SECS: u64 = 300;

/// Stands for an approval that was used up: nothing can be carried out by it.
pub(super) const USED_UP: ApprovalId = ApprovalId([0; 16]);

/// What became of a denial when it was looked at again.
pub(super) enum Reconsidered<'a> {
    /// It stays one.
    Denied,
    /// Others approved; the act uses that up.
    Approved(Box<Decided<'a>>, Spend),
    /// Something is missing that the caller can get.
    Lacking(Error),
}

impl Vault {
    /// Looks at a denial again: would a second factor or the approval of others help, and is that there?
    pub(super) fn reconsider<'a>(
        &self,
        caller: &Caller,
        act: Act,
        mut request: Request<'a>,
        subject: &Subject,
        policies: &Policies,
    ) -> Result<Reconsidered<'a>> {
        let (action, who) = (request.action, &caller.principal);
        match policies.lacking(&request) {
            Some(Lack::SecondFactor) if who.kind == PrincipalKind::Operator => {
                let hint = match request.context.mfa_enrolled {
                    true => "vault login asks for it; then run the command again",
                    false => "enrol one: vault mfa enroll; then vault login, and run the command again",
                };
                let text = format!("{who} may {action} {} only with a second factor used just now", request.resource);
                Ok(Reconsidered::Lacking(Error::new(ErrorId::MfaRequired, text).hint(hint)))
            }
            Some(Lack::Approvals(needed)) => {
                let wanted = Wanted::of(caller, act, &request, subject);
                let what = request.resource.to_string();
                if self.catalogue.request(caller.request_id)?.is_some() {
                    // Something was carried out under this id, and its answer may have been lost. If it was this, its memory
                    // answers (`once`). The approval it used up is gone: nothing can be carried out by this permit.
                    request.context.approvals = needed;
                    let decided = policies.decide_on(request);
                    if !decided.decision().allowed {
                        return Ok(Reconsidered::Denied);
                    }
                    let used_up = Spend { id: USED_UP, asked: wanted.asked, approvals: 0 };
                    return Ok(Reconsidered::Approved(Box::new(decided), used_up));
                }
                if let Some(approval) = self.catalogue.approval_of(wanted.asked)? {
                    request.context.approvals = approval.approvals();
                    let decided = policies.decide_on(request);
                    if decided.decision().allowed {
                        let (id, approvals) = (approval.record.new.id, approval.approvals());
                        return Ok(Reconsidered::Approved(
                            Box::new(decided),
                            Spend { id, asked: wanted.asked, approvals },
                        ));
                    }
                }
                let approval = self.have_wait(caller, action, wanted, needed)?;
                let id = approval.record.new.id;
                let left = needed.saturating_sub(approval.approvals());
                let people = if left == 1 { "another person".into() } else { format!("{left} other people") };
                let error = Error::new(
                    ErrorId::ApprovalRequired,
                    format!("{people} must approve that {who} may {action} {what}"),
                )
                .hint(format!("another operator runs: vault approve {id}; then run the command again"))
                .detail("approval", id)
                .detail("approvals", format!("{}/{needed}", approval.approvals()))
                .detail("expires", approval.record.new.expires);
                Ok(Reconsidered::Lacking(error))
            }
            _ => Ok(Reconsidered::Denied),
        }
    }

    fn have_wait(&self, caller: &Caller, action: Action, wanted: Wanted, needed: u32) -> Result<Approval> {
        let id = ApprovalId::generate(self.now(), self.random())?;
        let expires = self.now().plus(APPROVAL_LASTS);
        let digest = parts_digest(&[b"modelvault.approval/v1", &wanted.asked.0, &id.0, expires.to_string().as_bytes()]);
        let subject = Subject::vault()
            .with("approval", id)
            .with("action", action)
            .with("what", &wanted.what)
            .with("needed", needed)
            .with("digest", digest);
        let row = self.row(caller, Act::ApprovalRequest, &subject, None);
        let new = NewApproval {
            id,
            asked: wanted.asked,
            digest,
            action: action.to_string(),
            what: wanted.what,
            requester: caller.principal.to_string(),
            person: Person::of(&caller.principal).to_string(),
            needed,
            expires,
        };
        let waiting = self.catalogue.request_approval(new, row.to_leaf());
        waiting.map_err(|e| Error::from(e).hint("vault approve lists them; they end after an hour"))
    }

    /// What waits for approval.
    pub fn approvals(&self, caller: &Caller) -> Result<Vec<ApprovalFacts>> {
        let (act, subject) = (Act::ApprovalList, Subject::vault());
        let action = self.to_see(caller, Action::Approve, Action::ReadApprovals)?;
        let permit = self.permit(caller, act, action, Resource::Vault, &subject)?;
        let waiting = self.catalogue.waiting_approvals()?;
        self.record(caller, act, &subject.with("shown", waiting.len()), &permit)?;
        Ok(waiting.iter().map(approval_facts).collect())
    }

    /// Says yes or no to what somebody else wants to do. `digest`: of what the caller saw. A no ends it.
    ///
    /// # Errors
    /// `Denied` for the caller's own act; `MfaRequired` for a caller whose second factor was not used just now;
    /// `ApprovalRequired` if it does not wait any more.
    pub fn approve(&self, caller: &Caller, id: ApprovalId, digest: Sha256, approves: bool) -> Result<ApprovalFacts> {
        let act = Act::ApprovalGive;
        let verdict = if approves { "approved" } else { "refused" };
        let subject = Subject::vault().with("approval", id).with("verdict", verdict).with("digest", digest);
        let permit = self.permit(caller, act, Action::Approve, Resource::Vault, &subject)?;
        let person = Person::of(&caller.principal);
        let approval = self.catalogue.approval(id).or_else(|e| {
            let error = match Error::from(e) {
                e if e.id() == ErrorId::NotFound => {
                    Error::new(ErrorId::NotFound, format!("nothing waits for approval as {id}"))
                        .hint("vault approve lists what waits")
                }
                e => e,
            };
            self.refuse(caller, act, &subject, error)
        })?;
        if approves && approval.record.new.person == person.as_str() {
            let own = Error::new(ErrorId::Denied, "nobody approves what they want to do themselves")
                .hint("another person approves it; vault approve ID --deny withdraws it");
            return self.refuse(caller, act, &subject, own);
        }
        let context = self.request(caller, Action::Approve, Resource::Vault)?.context;
        if context.mfa_enrolled && context.mfa_age.is_none_or(|age| age.as_secs() > FRESH_SECS) {
            let stale = Error::new(ErrorId::MfaRequired, "whoever has a second factor uses it before they approve")
                .hint("vault login asks for it; then run the command again");
            return self.refuse(caller, act, &subject, stale);
        }
        let vote = VoteRecord {
            approval: id,
            person: person.to_string(),
            principal: caller.principal.to_string(),
            digest,
            approves,
            at: self.now(),
        };
        let arguments = [&id.0[..], &digest.0, &[u8::from(approves)]];
        let request = super::once::Request { caller, act, subject, permit: &permit, arguments: &arguments };
        let again = |_| Ok(approval_facts(&self.catalogue.approval(id)?));
        let cast = || {
            let counted = self.catalogue.vote(vote, self.entry(&request, Vec::new()));
            counted.map(|approval| approval_facts(&approval)).or_else(|e| {
                let error = match Error::from(e) {
                    e if e.id() == ErrorId::AlreadyExists => {
                        e.hint("a person has one vote; vault approve shows how many are missing")
                    }
                    e => e.hint("vault approve lists what waits"),
                };
                self.refuse(caller, act, &request.subject, error)
            })
        };
        self.once(&request, again, cast)
    }
}

/// An act in all its parts.
struct Wanted {
    asked: Sha256,
    what: String,
}

impl Wanted {
    /// `subject` has what the audit row of the act will say of its object and parameters.
    fn of(caller: &Caller, act: Act, request: &Request<'_>, subject: &Subject) -> Self {
        let mut facts = subject.facts();
        facts.extend(request.context.tag.iter().map(|tag| ("tag", tag.to_string())));
        facts.extend(request.context.allowed.iter().map(|rule| ("allow", (*rule).to_owned())));
        let person = Person::of(&caller.principal);
        let (resource, action) = (request.resource.to_string(), request.action.as_str());
        let mut parts = vec![&b"modelvault.approval/v1/asked"[..]];
        // One action may stand for several acts: to remove and to put back, to grant and to take back.
        parts.extend([person.as_str().as_bytes(), action.as_bytes(), act.as_str().as_bytes(), resource.as_bytes()]);
        parts.extend(facts.iter().flat_map(|(key, value)| [key.as_bytes(), value.as_bytes()]));
        let named = subject.named_as().unwrap_or_else(|| resource.clone());
        let shown = subject.details().iter().map(|(key, value)| format!(" {key}={value}")).collect::<String>();
        let plain = act.as_str().rsplit('.').next() == Some(action);
        let told = if plain { String::new() } else { format!(" act={}", act.as_str()) };
        Self { asked: parts_digest(&parts), what: format!("{named}{told}{shown}") }
    }
}

/// Each part with its length before it.
fn parts_digest(parts: &[&[u8]]) -> Sha256 {
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_le_bytes());
        text.extend_from_slice(part);
    }
    sha256(&text)
}

fn approval_facts(approval: &Approval) -> ApprovalFacts {
    let (record, new) = (&approval.record, &approval.record.new);
    let vote = |v: &VoteRecord| VoteFacts {
        person: v.person.clone(),
        principal: v.principal.clone(),
        approves: v.approves,
        at: v.at,
    };
    ApprovalFacts {
        id: new.id,
        digest: new.digest,
        action: new.action.clone(),
        what: new.what.clone(),
        requester: new.requester.clone(),
        needed: new.needed,
        approvals: approval.approvals(),
        created: record.created,
        expires: new.expires,
        votes: approval.votes.iter().map(vote).collect(),
    }
}
