//! The one path every method takes: may this caller still call, what does the policy say, and is it on the record.

use super::approving::Reconsidered;
use super::{Caller, Transport, Vault};
use crate::audit::{self, Act, Channel as AuditChannel, Object, Record, Text};
use crate::catalogue::{ArtifactRecord, Spend, Surroundings, VersionRecord};
use crate::error::{Error, ErrorId, Result};
use crate::names::{Name, Principal, PrincipalKind, Root, Tag, Timestamp};
use crate::policy::{Action, Context, Decided, Decision, Grant, Groups, Request, Resource};

/// What a decision was about, for the audit row.
#[derive(Clone, Debug, Default)]
pub(super) struct Subject {
    object: Option<Object>,
    details: Vec<(&'static str, String)>,
}

impl Subject {
    /// The vault itself.
    pub fn vault() -> Self {
        Self::default()
    }

    /// A name that need not exist yet.
    pub fn named(namespace: &Name, name: &Name) -> Self {
        let mut subject = Self::namespace(namespace);
        if let Some(object) = &mut subject.object {
            object.name = Some(name.clone());
        }
        subject
    }

    /// A namespace.
    pub fn namespace(namespace: &Name) -> Self {
        Self { object: Some(Object::namespace(namespace.clone())), details: Vec::new() }
    }

    /// An artifact.
    pub fn artifact(namespace: &Name, artifact: &ArtifactRecord) -> Self {
        let mut subject = Self::named(namespace, &artifact.name);
        if let Some(object) = &mut subject.object {
            object.artifact_id = Some(artifact.id);
        }
        subject
    }

    /// One version of an artifact.
    pub fn version(namespace: &Name, artifact: &ArtifactRecord, version: &VersionRecord) -> Self {
        let mut subject = Self::artifact(namespace, artifact);
        if let Some(object) = &mut subject.object {
            object.version = Some(version.facts.number);
            object.root = Some(version.facts.root);
        }
        subject
    }

    /// A sealed file that belongs to no version: the name it was given when it was sealed, if that can be read, and its root.
    #[must_use]
    pub fn claiming(mut self, name: Option<Name>, root: Root) -> Self {
        if let Some(object) = &mut self.object {
            (object.name, object.root) = (name, Some(root));
        }
        self
    }

    /// All it says, for a digest or a sentence: what is not known is left out.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(Object { namespace, name, version, artifact_id, root }) = &self.object {
            facts.push(("namespace", namespace.to_string()));
            facts.extend(name.as_ref().map(|name| ("name", name.to_string())));
            facts.extend(version.map(|n| ("version", format!("v{n}"))));
            facts.extend(artifact_id.map(|id| ("artifact", id.to_string())));
            facts.extend(root.map(|root| ("root", root.to_string())));
        }
        facts.extend(self.details.iter().cloned());
        facts
    }

    /// The facts that were added.
    pub fn details(&self) -> &[(&'static str, String)] {
        &self.details
    }

    /// `namespace/name@vN`, as far as it is known; `None` without a name.
    pub fn named_as(&self) -> Option<String> {
        let Object { namespace, name, version, .. } = self.object.as_ref()?;
        let version = version.map_or_else(String::new, |n| format!("@v{n}"));
        name.as_ref().map(|name| format!("{namespace}/{name}{version}"))
    }

    /// Adds a fact to the row.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl std::fmt::Display) -> Self {
        self.details.push((key, value.to_string()));
        self
    }
}

/// What of a request policies see besides who, what and on which.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    /// Rules that the caller asks to set aside.
    pub allowed: &'a [&'static str],
    /// The tag that is to be moved.
    pub tag: Option<&'a Tag>,
}

/// A permit on its way to the record.
#[derive(Clone, Debug)]
pub(super) struct Permit {
    decision: Decision,
    policy_version: u64,
    /// What others approved it by: used up with the act.
    approval: Option<Spend>,
}

impl Permit {
    /// The decision that a grant stands for.
    pub fn of(grant: &Grant, policy_version: u64) -> Self {
        Self { decision: grant.decision().clone(), policy_version, approval: None }
    }

    /// Whether it is one.
    pub fn allows(&self) -> bool {
        self.decision.allowed
    }

    /// Whether it rests on an approval that was used up before: its act can only be told of, not carried out again.
    pub fn is_used_up(&self) -> bool {
        self.approval.is_some_and(|spend| spend.id == super::approving::USED_UP)
    }

    /// What its act uses up.
    pub fn approval(&self) -> Option<Spend> {
        self.approval
    }
}

impl Vault {
    /// Refuses callers without a credential, and those whose credential was revoked or has expired since they connected.
    /// Refuses those who are suspended, too.
    pub(super) fn admit(&self, caller: &Caller) -> Result<()> {
        self.admit_credential(caller)?;
        self.not_suspended(caller)
    }

    /// The same with its row, and the call is counted.
    pub(super) fn admitted(&self, caller: &Caller, act: Act, subject: &Subject) -> Result<()> {
        self.admit(caller).or_else(|e| self.refuse(caller, act, subject, e))?;
        self.count_call(caller, subject)
    }

    fn admit_credential(&self, caller: &Caller) -> Result<()> {
        match caller.principal.kind {
            // Who the kernel says: there is nothing to be taken back.
            PrincipalKind::Operator if caller.channel.transport != Transport::Mtls => return Ok(()),
            PrincipalKind::Anonymous => {
                return Err(Error::new(ErrorId::NoCredential, "this call needs a client certificate")
                    .hint("enrol a workload and call with its certificate: vault workload enroll NAME -o DIR"));
            }
            PrincipalKind::Operator | PrincipalKind::Workload => {}
        }
        if !caller.principal.is_enrolled() {
            return self.admit_vouched(caller);
        }
        let revoked =
            || Error::new(ErrorId::BadCredential, "the certificate was revoked, or was not issued by this vault");
        let (serial, spki) = caller.channel.certificate.as_ref().ok_or_else(revoked)?;
        let known = match self.catalogue.certificate(serial).map_err(Error::from) {
            Err(e) if e.id() == ErrorId::NotFound => return Err(revoked()),
            known => known?,
        };
        let belongs = known.workload.name.as_str() == caller.principal.subject
            && crate::crypto::equal(&known.certificate.certificate.spki.0, &spki.0);
        if known.is_revoked() || !belongs {
            return Err(revoked());
        }
        // The handshake checked this, but a stream may outlive it.
        if self.now() >= known.certificate.certificate.not_after {
            return Err(Error::new(ErrorId::BadCredential, "the certificate has expired")
                .hint("renew it while it is valid: vault workload renew DIR"));
        }
        Ok(())
    }

    /// What the policy says, without recording it.
    pub(super) fn decide(&self, caller: &Caller, action: Action, resource: Resource<'_>) -> Result<Permit> {
        let (policy_version, policies) = self.policy_in_force();
        let request = self.request(caller, action, resource)?;
        Ok(Permit { decision: policies.decide(&request), policy_version, approval: None })
    }

    /// What a caller must be permitted to see what others do with `acts`: whoever may do it may see it, and others by `reads`.
    pub(super) fn to_see(&self, caller: &Caller, acts: Action, reads: Action) -> Result<Action> {
        Ok(if self.decide(caller, acts, Resource::Vault)?.allows() { acts } else { reads })
    }

    fn request_asked<'a>(
        &self,
        caller: &'a Caller,
        action: Action,
        resource: Resource<'a>,
        asked: Asked<'_>,
    ) -> Result<Request<'a>> {
        let mut request = self.request(caller, action, resource)?;
        request.context.allowed = asked.allowed.to_vec();
        request.context.tag = asked.tag.cloned();
        Ok(request)
    }

    /// The question that is put to the policy.
    pub(super) fn request<'a>(
        &self,
        caller: &'a Caller,
        action: Action,
        resource: Resource<'a>,
    ) -> Result<Request<'a>> {
        let mut context = Context::new(caller.channel.transport);
        self.put_factor(caller, &mut context)?;
        context.approvals = caller.evidence.underway.map_or(0, |act| act.approvals);
        context.bytes_today = Some(self.bytes_today(caller)?);
        context.step_up = self.is_stepped_up(&caller.principal);
        context.bound = caller.channel.certificate.is_some();
        context.pq_tls = caller.channel.tls_group.as_deref().is_some_and(|g| g.contains("MLKEM"));
        let around = match resource {
            Resource::Artifact { id, version, .. } => {
                self.catalogue.surroundings(id, version, grantee(&caller.principal))?
            }
            _ => Surroundings::default(),
        };
        if let (Resource::Artifact { namespace, .. }, Some(of)) = (resource, around.version) {
            context.signer_trusted = self.trusted_publisher(namespace, &of.signer).is_ok();
            context.tags = of.tags;
            (context.statements, context.dataset) = self.believed_statements(namespace, of.attestations);
        }
        let mut groups = self.setting::<Groups>().1.of(&caller.principal);
        groups.extend_from_slice(&caller.evidence.groups);
        let Surroundings { marks, granted, .. } = around;
        Ok(Request { principal: &caller.principal, action, resource, groups, marks, context, granted, now: self.now() })
    }

    /// Admission and decision. A denial is recorded before it is told.
    pub(super) fn permit(
        &self,
        caller: &Caller,
        act: Act,
        action: Action,
        resource: Resource<'_>,
        subject: &Subject,
    ) -> Result<Permit> {
        self.permit_asked(caller, act, action, resource, subject, Asked::default())
    }

    /// The same where it matters what exactly is asked for.
    pub(super) fn permit_asked(
        &self,
        caller: &Caller,
        act: Act,
        action: Action,
        resource: Resource<'_>,
        subject: &Subject,
        asked: Asked<'_>,
    ) -> Result<Permit> {
        self.permit_decided(caller, act, action, resource, subject, asked).map(|(permit, _)| permit)
    }

    /// The same with the decision itself, of which grants are made.
    pub(super) fn permit_decided<'a>(
        &self,
        caller: &'a Caller,
        act: Act,
        action: Action,
        resource: Resource<'a>,
        subject: &Subject,
        asked: Asked<'_>,
    ) -> Result<(Permit, Decided<'a>)> {
        self.admitted(caller, act, subject)?;
        if matches!(action, Action::Open | Action::OpenRange | Action::Export | Action::Seal | Action::Import) {
            // Reading the log and looking for what happened stay possible.
            self.must_be_sound().or_else(|e| self.refuse(caller, act, subject, e))?;
        }
        let (policy_version, policies) = self.policy_in_force();
        let decided = policies.decide_on(self.request_asked(caller, action, resource, asked)?);
        let permit = Permit { decision: decided.decision().clone(), policy_version, approval: None };
        if permit.decision.allowed {
            return Ok((permit, decided));
        }
        match self.reconsider(caller, act, decided.into_request(), subject, &policies)? {
            Reconsidered::Denied => {}
            Reconsidered::Approved(decided, spend) => {
                let decision = decided.decision().clone();
                return Ok((Permit { decision, approval: Some(spend), ..permit }, *decided));
            }
            Reconsidered::Lacking(error) => {
                self.append(self.row(caller, act, subject, Some(&permit)).denied(error.id().name()))?;
                return Err(error);
            }
        }
        let mut denied = Error::new(ErrorId::Denied, format!("{} may not {action} {resource}", caller.principal));
        if caller.principal.kind == PrincipalKind::Operator {
            let who = format!("operator:{}:{}", caller.principal.issuer, caller.principal.subject);
            denied = denied.hint(format!(
                "an administrator gives roles: vault group add ROLE {who}; vault policy explain tells what is missing"
            ));
        }
        // An operator may read the policies; to others their names would tell of what they may not see.
        if let (PrincipalKind::Operator, [first, ..]) = (caller.principal.kind, &permit.decision.determining[..]) {
            let what = format!("{} may not {action} {resource}: policy {first} forbids it", caller.principal);
            denied = Error::new(ErrorId::Denied, what).hint("vault policy get shows what it asks for");
        }
        self.append(self.row(caller, act, subject, Some(&permit)).denied(ErrorId::Denied.name()))?;
        Err(denied)
    }

    /// Records a refusal that no policy made (revoked, not found), then returns it.
    pub(super) fn refuse<T>(&self, caller: &Caller, act: Act, subject: &Subject, error: Error) -> Result<T> {
        let told = error.details().iter();
        let subject = told.fold(subject.clone(), |subject, (key, value)| subject.with(key, value));
        self.append(self.row(caller, act, &subject, None).denied(error.id().name()))?;
        Err(error)
    }

    /// Refuses a permit that rests on approvals: they are used up with the row of the one act that they are for, and this one
    /// goes with another.
    pub(super) fn without_approval(&self, caller: &Caller, act: Act, subject: &Subject, permit: &Permit) -> Result<()> {
        if permit.approval().is_none() {
            return Ok(());
        }
        let text = "what others approved is an act of its own, and cannot be done along with another";
        let alone = Error::new(ErrorId::ApprovalRequired, text)
            .hint("do it as a command of its own, such as vault tag, vault key trust or a new reading");
        self.refuse(caller, act, subject, alone)
    }

    /// The row of a permitted act, for the transaction that carries the act out.
    pub(super) fn leaf(&self, caller: &Caller, act: Act, subject: &Subject, permit: &Permit) -> Vec<u8> {
        self.row(caller, act, subject, Some(permit)).to_leaf()
    }

    /// Records a permitted act that changes nothing else. When this returns, the row is durable.
    pub(super) fn record(&self, caller: &Caller, act: Act, subject: &Subject, permit: &Permit) -> Result<()> {
        let row = self.row(caller, act, subject, Some(permit));
        match permit.approval {
            None => self.append(row),
            Some(approval) => Ok(self.catalogue.append_approved(row.to_leaf(), approval).map(drop)?),
        }
    }

    /// Records a decision that limits an answer instead of refusing it.
    pub(super) fn record_either(&self, caller: &Caller, act: Act, subject: &Subject, permit: &Permit) -> Result<()> {
        let row = self.row(caller, act, subject, Some(permit));
        self.append(if permit.allows() { row } else { row.denied(ErrorId::Denied.name()) })
    }

    /// Records what followed from an earlier decision, such as the end of a stream.
    pub(super) fn note(&self, caller: &Caller, act: Act, subject: &Subject) -> Result<()> {
        self.append(self.row(caller, act, subject, None))
    }

    fn append(&self, record: Record) -> Result<()> {
        self.catalogue.append_audit(record.to_leaf())?;
        Ok(())
    }

    pub(super) fn row(&self, caller: &Caller, act: Act, subject: &Subject, permit: Option<&Permit>) -> Record {
        let mut record = Record::new(self.now(), caller.request_id, &caller.principal, act).through(AuditChannel {
            transport: match caller.channel.transport {
                Transport::Local => audit::Transport::Local,
                Transport::Unix => audit::Transport::Unix,
                Transport::Mtls => audit::Transport::Tls,
            },
            tls_group: caller.channel.tls_group.as_deref().map(Text::new),
            peer: caller.channel.peer.as_deref().map(Text::new),
        });
        if let Some(object) = &subject.object {
            record = record.on(object.clone());
        }
        if let Some(permit) = permit {
            record = record.by_policies(&permit.decision.determining, format!("v{}", permit.policy_version));
            if let Some(spend) = permit.approval.filter(|_| !permit.is_used_up()) {
                record = record.detail("approval", spend.id.to_string());
            }
        }
        subject.details.iter().fold(record, |record, (key, value)| record.detail(key, value))
    }

    pub(super) fn policy_in_force(&self) -> (u64, std::sync::Arc<crate::policy::Policies>) {
        let in_force = self.policies.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        (in_force.version, in_force.policies.clone())
    }

    pub(super) fn now(&self) -> Timestamp {
        self.machine.clock.now()
    }
}

/// Namespace and name of a caller that can have grants: those are to enrolled workloads, and whoever others vouch for may have the
/// same name.
pub(super) fn grantee(principal: &Principal) -> Option<(&Name, Name)> {
    let name = principal.subject.parse().ok().filter(|_| principal.is_enrolled())?;
    Some((principal.namespace.as_ref()?, name))
}
