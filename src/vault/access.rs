//! Workloads and their certificates, grants.

use super::gate::Subject;
use super::once::Request;
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::{NewCertificate, RequestRecord, WorkloadFilter, WorkloadRecord};
use crate::crypto::sign::PublicKey;
use crate::error::{Error, ErrorId, Result};
use crate::facts::{IssuedFacts, SignerFacts, WhoamiFacts, WorkloadFacts};
use crate::identity::{DEFAULT_LIFETIME, Issued, PeerCertificate};
use crate::names::{KeyId, Name, NamespaceId, PrincipalKind, Timestamp};
use crate::policy::{Action, Resource, grant_as_cedar};

impl Vault {
    /// Who the caller is to the vault.
    pub fn whoami(&self, caller: &Caller) -> Result<WhoamiFacts> {
        self.admit(caller)?;
        self.count_call(caller, &Subject::vault())?;
        let kind = match caller.principal.kind {
            PrincipalKind::Operator => "operator",
            PrincipalKind::Workload => "workload",
            PrincipalKind::Anonymous => "anonymous",
        };
        Ok(WhoamiFacts {
            kind: kind.into(),
            issuer: caller.principal.issuer.clone(),
            subject: caller.principal.subject.clone(),
            namespace: caller.principal.namespace.clone(),
            tls_group: caller.channel.tls_group.clone(),
            groups: caller.evidence.groups.clone(),
            session: caller.evidence.session,
            expires: caller.evidence.expires,
        })
    }

    /// Enrols a workload and issues its first certificate for the key of the signing request (DER).
    pub fn enroll(&self, caller: &Caller, namespace: &Name, name: &Name, csr: &[u8]) -> Result<IssuedFacts> {
        let act = Act::WorkloadEnroll;
        let subject = Subject::named(namespace, name).with("csr", crate::crypto::hash::sha256(csr));
        let permit = self.permit(caller, act, Action::Enroll, Resource::Namespace(namespace), &subject)?;
        let arguments = [namespace.as_str().as_bytes(), name.as_str().as_bytes(), csr];
        let mut request = Request { caller, act, subject, permit: &permit, arguments: &arguments };
        if let Some(earlier) = self.earlier(&request)? {
            return self.issued_before(namespace, earlier);
        }
        let id = self.ensure_namespace(caller, namespace)?;
        // Signed before the name is taken, so that both are recorded at once; a bad request takes no name.
        let issued = self.issue(csr, namespace, name)?;
        request.subject = request.subject.with("serial", issued.serial).with("not_after", issued.not_after);
        let carry_out = || {
            let entry = self.entry(&request, issued.certificate.clone());
            self.catalogue.enroll_workload(certificate(id, name, &issued), entry).map_err(|e| {
                match Error::from(e) {
                    e if e.id() == ErrorId::AlreadyExists => Error::new(
                        ErrorId::AlreadyExists,
                        format!("workload {namespace}/{name} is enrolled already"),
                    )
                    .hint(
                        "while its certificate is valid: vault workload renew DIR; to replace a lost or expired \
                                 one: vault workload revoke NAME, then enrol it and grant again",
                    ),
                    e => e,
                }
            })?;
            self.issued_facts(id, &issued.certificate, issued.not_after)
        };
        self.once(&request, |earlier| self.issued_before(namespace, earlier), carry_out)
    }

    /// Issues the next certificate to a workload that calls with one that is still valid.
    pub fn renew(&self, caller: &Caller, csr: &[u8]) -> Result<IssuedFacts> {
        let act = Act::WorkloadRenew;
        self.admitted(caller, act, &Subject::vault())?;
        let name = caller.principal.subject.parse::<Name>().ok().filter(|_| caller.principal.is_enrolled());
        let (Some(namespace), Some(name)) = (&caller.principal.namespace, name) else {
            let denied = Error::new(ErrorId::Denied, "only a workload renews a certificate: its own");
            return self.refuse(caller, act, &Subject::vault(), denied);
        };
        let subject = Subject::named(namespace, &name);
        let resource = Resource::Workload { namespace, name: &name };
        let permit = self.permit(caller, act, Action::Renew, resource, &subject)?;
        let id = self.catalogue.namespace(namespace)?.id;
        let mut request = Request { caller, act, subject, permit: &permit, arguments: &[csr] };
        if let Some(earlier) = self.earlier(&request)? {
            return self.issued_before(namespace, earlier);
        }
        let issued = self.issue(csr, namespace, &name)?;
        request.subject = request.subject.with("serial", issued.serial).with("not_after", issued.not_after);
        let carry_out = || {
            let entry = self.entry(&request, issued.certificate.clone());
            self.catalogue.record_certificate(certificate(id, &name, &issued), entry)?;
            self.issued_facts(id, &issued.certificate, issued.not_after)
        };
        self.once(&request, |earlier| self.issued_before(namespace, earlier), carry_out)
    }

    /// The answer to an enrolment or renewal that was carried out before.
    fn issued_before(&self, namespace: &Name, earlier: RequestRecord) -> Result<IssuedFacts> {
        let certificate = earlier.once.answer;
        let not_after = PeerCertificate::parse(&certificate)?.not_after;
        self.issued_facts(self.namespace_id(namespace)?, &certificate, not_after)
    }

    fn issue(&self, csr: &[u8], namespace: &Name, name: &Name) -> Result<Issued> {
        self.authority.issue_workload(csr, namespace, name, DEFAULT_LIFETIME, self.now(), self.random())
    }

    fn issued_facts(&self, namespace: NamespaceId, certificate: &[u8], not_after: Timestamp) -> Result<IssuedFacts> {
        let keyring = self.keyring();
        let public = keyring.namespace(namespace)?.identity().public();
        Ok(IssuedFacts {
            certificate: certificate.to_vec(),
            ca_certificate: self.ca_certificate(),
            signers: vec![SignerFacts { keyid: public.key_id(), spki: public.spki() }],
            not_after,
            address: self.address(),
        })
    }

    /// Keys whose artifact statements a reader who trusts the vault may trust: the namespace's own, and those of the publishers
    /// whom the vault trusts there. An enrolment carries the first alone: a workload names the publishers it trusts itself.
    pub fn statement_signers(&self, caller: &Caller, namespace: &Name) -> Result<Vec<SignerFacts>> {
        let act = Act::WorkloadList;
        let subject = Subject::namespace(namespace).with("asked", "signers");
        let permit = self.permit(caller, act, Action::List, Resource::Namespace(namespace), &subject)?;
        self.record(caller, act, &subject, &permit)?;
        let id = self.namespace_id(namespace)?;
        let keyring = self.keyring();
        let (own, signers) = (*keyring.namespace(id)?.identity().public(), self.signers());
        let publishers = signers.keys_in(namespace, self.now()).filter_map(|(_, key)| key.to_ed25519().ok());
        let mut keys: Vec<PublicKey> = std::iter::once(own).chain(publishers).collect();
        keys.dedup();
        Ok(keys.iter().map(|key| SignerFacts { keyid: key.key_id(), spki: key.spki() }).collect())
    }

    /// All workloads the caller may list.
    pub fn workloads(&self, caller: &Caller) -> Result<Vec<WorkloadFacts>> {
        let act = Act::WorkloadList;
        self.admitted(caller, act, &Subject::vault())?;
        let mut listed = Vec::new();
        let mut allowed = false;
        for namespace in self.catalogue.namespaces()? {
            if !self.decide(caller, Action::ListWorkloads, Resource::Namespace(&namespace.name))?.allows() {
                continue;
            }
            allowed = true;
            let filter = WorkloadFilter { namespace_id: Some(namespace.id), revoked_too: true };
            let mut after = None;
            loop {
                let page = self.catalogue.workloads(filter, after.as_ref(), 1000)?;
                for workload in page.rows {
                    listed.push(self.workload_facts(&namespace.name, &workload)?);
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        if !allowed {
            let denied = Error::new(ErrorId::Denied, format!("{} may not list workloads", caller.principal));
            return self.refuse(caller, act, &Subject::vault(), denied);
        }
        self.note(caller, act, &Subject::vault().with("shown", listed.len()))?;
        Ok(listed)
    }

    fn workload_facts(&self, namespace: &Name, workload: &WorkloadRecord) -> Result<WorkloadFacts> {
        let mut grants = Vec::new();
        let mut after = None;
        loop {
            let page = self.catalogue.grants_of(workload.namespace_id, &workload.name, after, 1000)?;
            for grant in page.rows {
                let artifact = self.catalogue.artifact(grant.artifact_id)?;
                let keyring = self.keyring();
                grants.push(format!("{}/{}", keyring.namespace(artifact.namespace_id)?.name(), artifact.name));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let newest = self.catalogue.newest_certificate(workload.namespace_id, &workload.name)?;
        Ok(WorkloadFacts {
            namespace: namespace.clone(),
            name: workload.name.clone(),
            created: workload.created,
            not_after: newest.map(|c| c.certificate.not_after),
            revoked: workload.revoked.is_some(),
            grants,
        })
    }

    /// Revokes a workload with all its certificates and grants, or one certificate.
    pub fn revoke(&self, caller: &Caller, namespace: &Name, name: &Name, serial: Option<&[u8]>) -> Result<()> {
        let act = Act::WorkloadRevoke;
        let subject = Subject::named(namespace, name);
        let subject = match serial {
            Some(serial) => subject.with("serial", hex::encode(serial)),
            None => subject,
        };
        let permit = self.permit(caller, act, Action::Revoke, Resource::Workload { namespace, name }, &subject)?;
        let id = self.namespace_id(namespace)?;
        let arguments = [namespace.as_str().as_bytes(), name.as_str().as_bytes(), serial.unwrap_or_default()];
        let request = Request { caller, act, subject, permit: &permit, arguments: &arguments };
        let carry_out = || {
            let entry = self.entry(&request, Vec::new());
            let revoked = match serial {
                None => self.catalogue.revoke_workload(id, name, entry),
                Some(serial) => {
                    let known = self.catalogue.certificate(serial)?;
                    if known.workload.namespace_id != id || known.workload.name != *name {
                        let text = format!("workload {namespace}/{name} has no certificate of that serial number");
                        return Err(Error::new(ErrorId::NotFound, text));
                    }
                    self.catalogue.revoke_certificate(serial, entry)
                }
            };
            revoked.map(drop).map_err(|e| absent(e.into(), namespace, name))
        };
        let outcome = self.once(&request, |_| Ok(()), carry_out);
        self.cut();
        outcome
    }

    /// Lets a workload read an artifact. Returns the Cedar text that the grant amounts to.
    pub fn grant(
        &self,
        caller: &Caller,
        namespace: &Name,
        workload: &Name,
        artifact: (&Name, &Name),
    ) -> Result<String> {
        let act = Act::GrantAdd;
        let (artifact, subject) = self.granted_artifact(caller, act, namespace, workload, artifact)?;
        let permit =
            self.permit(caller, act, Action::Grant, super::opening::resource(&subject.1, &artifact), &subject.0)?;
        let id = self.namespace_id(namespace)?;
        let arguments = [namespace.as_str().as_bytes(), workload.as_str().as_bytes(), &artifact.id.0];
        let request = Request { caller, act, subject: subject.0, permit: &permit, arguments: &arguments };
        let carry_out = || {
            let (by, entry) = (caller.principal.to_string(), self.entry(&request, Vec::new()));
            self.catalogue.grant(id, workload, artifact.id, by, entry).map(drop).map_err(|e| match Error::from(e) {
                e if e.id() == ErrorId::AlreadyExists => Error::new(
                    ErrorId::AlreadyExists,
                    format!("{namespace}/{workload} was granted {} already", artifact.name),
                ),
                e => absent(e, namespace, workload),
            })
        };
        self.once(&request, |_| Ok(()), carry_out)?;
        Ok(grant_as_cedar(namespace, workload, artifact.id))
    }

    /// Takes a grant back. Open streams that need it are cut.
    pub fn ungrant(&self, caller: &Caller, namespace: &Name, workload: &Name, artifact: (&Name, &Name)) -> Result<()> {
        let act = Act::GrantRemove;
        let (artifact, subject) = self.granted_artifact(caller, act, namespace, workload, artifact)?;
        let permit =
            self.permit(caller, act, Action::Grant, super::opening::resource(&subject.1, &artifact), &subject.0)?;
        let id = self.namespace_id(namespace)?;
        let arguments = [namespace.as_str().as_bytes(), workload.as_str().as_bytes(), &artifact.id.0];
        let request = Request { caller, act, subject: subject.0, permit: &permit, arguments: &arguments };
        let carry_out = || {
            self.catalogue.revoke_grant(id, workload, artifact.id, self.entry(&request, Vec::new()))?;
            Ok(())
        };
        let outcome = self.once(&request, |_| Ok(()), carry_out);
        self.cut();
        outcome
    }

    fn granted_artifact(
        &self,
        caller: &Caller,
        act: Act,
        namespace: &Name,
        workload: &Name,
        (artifact_namespace, name): (&Name, &Name),
    ) -> Result<(crate::catalogue::ArtifactRecord, (Subject, Name))> {
        let subject = Subject::named(artifact_namespace, name).with("workload", format!("{namespace}/{workload}"));
        self.admitted(caller, act, &subject)?;
        if caller.principal.kind != PrincipalKind::Operator {
            let denied = Error::new(ErrorId::Denied, format!("{} may not grant", caller.principal));
            return self.refuse(caller, act, &subject, denied);
        }
        let artifact = self.catalogue.artifact_named(artifact_namespace, name).map_err(|e| match Error::from(e) {
            e if e.id() == ErrorId::NotFound => {
                Error::new(ErrorId::NotFound, format!("there is no artifact {artifact_namespace}/{name}"))
            }
            e => e,
        });
        let artifact = artifact.or_else(|e| self.refuse(caller, act, &subject, e))?;
        if artifact_namespace != namespace {
            let text = format!("workload {namespace}/{workload} cannot be granted {artifact_namespace}/{name}");
            let wall = Error::new(ErrorId::InvalidArgument, text)
                .hint("workloads read artifacts of their own namespace; enrol one there: --namespace");
            return self.refuse(caller, act, &subject, wall);
        }
        Ok((artifact, (subject, artifact_namespace.clone())))
    }

    pub(super) fn namespace_id(&self, name: &Name) -> Result<NamespaceId> {
        let found = self.catalogue.namespace(name).map_err(|e| match Error::from(e) {
            e if e.id() == ErrorId::NotFound => Error::new(ErrorId::NotFound, format!("there is no namespace {name}")),
            e => e,
        })?;
        Ok(found.id)
    }
}

/// What the catalogue keeps of an issued certificate.
fn certificate(namespace: NamespaceId, name: &Name, issued: &Issued) -> NewCertificate {
    NewCertificate {
        serial: issued.serial.0.to_vec(),
        namespace_id: namespace,
        workload: name.clone(),
        spki: KeyId(issued.spki_sha256.0),
        not_before: issued.not_before,
        not_after: issued.not_after,
    }
}

fn absent(error: Error, namespace: &Name, name: &Name) -> Error {
    match error.id() {
        ErrorId::NotFound => Error::new(ErrorId::NotFound, format!("there is no enrolled workload {namespace}/{name}"))
            .hint("vault workload ls shows them; vault workload enroll NAME -o DIR makes one"),
        _ => error,
    }
}
