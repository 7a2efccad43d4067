//! What operators do about policies besides setting them: explain decisions, look at earlier versions, mark artifacts.

use super::gate::{Subject, grantee};
use super::once::Request;
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::{CertificateRecord, Located, Visibility};
use crate::error::{Error, ErrorId, Result};
use crate::facts::{ExplanationFacts, PolicyFacts, PolicyVersionFacts};
use crate::identity::issuers::Issuers;
use crate::marks::{Marks, MarksChange};
use crate::names::{Name, Principal, Reference};
use crate::policy::{Action, Groups, Resource, Scenario, Target};

impl Vault {
    /// What the policy in force says to a request in words, and why. Facts of an artifact, grants and groups are those of the
    /// vault; circumstances are as said.
    ///
    /// # Errors
    /// `Denied`; `NotFound`; `InvalidArgument` for circumstances that cannot be.
    pub fn explain_policy(&self, caller: &Caller, mut scenario: Scenario) -> Result<ExplanationFacts> {
        let act = Act::PolicyRead;
        let subject = Subject::vault().with("asked", "explain");
        let permit = self.permit(caller, act, Action::ReadPolicy, Resource::Vault, &subject)?;
        self.know(&mut scenario).or_else(|e| self.refuse(caller, act, &subject, e))?;
        let request = scenario.request(self.now()).or_else(|e| self.refuse(caller, act, &subject, e))?;
        self.record(caller, act, &subject, &permit)?;
        let (_, policies) = self.policy_in_force();
        let mut told = policies.explain(&request);
        told.outside = self.outside(&scenario)?;
        told.allowed &= told.outside.is_empty();
        // A grant is for somebody who can be let in.
        told.grant &= self.has_a_credential(&scenario.principal).is_ok();
        Ok(told)
    }

    /// What the vault asks before and beside its policies.
    fn outside(&self, scenario: &Scenario) -> Result<Vec<String>> {
        let who = &scenario.principal;
        let mut outside = Vec::new();
        let mut held = |outcome: Result<()>| outside.extend(outcome.err().map(|e| e.message().to_owned()));
        held(self.has_a_credential(who));
        held(self.not_held(who));
        if let Target::Artifact(reference) = &scenario.resource {
            let Located { artifact, version, .. } = self.lookup(reference, Visibility::All)?;
            let resource = super::opening::version_resource(&reference.namespace, &artifact, &version);
            held(self.not_quarantined(scenario.action, resource));
            if matches!(scenario.action, Action::Open | Action::OpenRange | Action::Export) {
                held(self.not_named(&artifact, &version));
            }
        }
        Ok(outside)
    }

    /// Whether somebody who calls themselves so could be let in at all: an enrolled workload has a certificate that is good, and
    /// whoever is vouched for has an issuer that is believed and is not refused by name.
    fn has_a_credential(&self, who: &Principal) -> Result<()> {
        let none = |why: String| Err(Error::new(ErrorId::BadCredential, why));
        if who.is_enrolled() {
            let lacks = |why: &str| none(format!("{who} {why} (vault workload enroll)"));
            return match self.newest_certificate_of(who).map_err(|e| (e.id(), e)) {
                Err((ErrorId::NotFound | ErrorId::InvalidArgument, _)) => lacks("is not enrolled"),
                Err((_, e)) => Err(e),
                Ok(None) => lacks("is revoked"),
                Ok(Some(certificate)) if certificate.revoked.is_some() => lacks("has a certificate that is revoked"),
                Ok(Some(certificate)) if self.now() >= certificate.certificate.not_after => {
                    lacks("has a certificate that has expired")
                }
                Ok(Some(_)) => Ok(()),
            };
        }
        if self.catalogue.is_refused(&who.issuer, &who.subject)? {
            return none(format!("{who} is refused (vault session ls)"));
        }
        if !Principal::OWN_ISSUERS.contains(&who.issuer.as_str()) && !self.setting::<Issuers>().1.knows(&who.issuer) {
            return none(format!("no issuer is called {} (vault config get issuers)", who.issuer));
        }
        Ok(())
    }

    /// Of the enrolment in force; `None`: the workload was revoked.
    fn newest_certificate_of(&self, who: &Principal) -> Result<Option<CertificateRecord>> {
        let nobody = || Error::new(ErrorId::NotFound, format!("{who} is nobody who can be enrolled"));
        let (namespace, name) = (who.namespace.as_ref().ok_or_else(nobody)?, who.subject.parse::<Name>()?);
        let namespace = self.namespace_id(namespace)?;
        let workload = self.catalogue.workload(namespace, &name)?;
        let newest = self.catalogue.newest_certificate(namespace, &name)?;
        Ok(newest.filter(|newest| workload.revoked.is_none() && newest.enrolment == workload.enrolment))
    }

    /// Puts what the vault knows into a scenario.
    fn know(&self, scenario: &mut Scenario) -> Result<()> {
        scenario.groups.extend(self.setting::<Groups>().1.of(&scenario.principal));
        scenario.context.held(self.is_stepped_up(&scenario.principal));
        let Target::Artifact(reference) = &scenario.resource else { return Ok(()) };
        let Located { artifact, version, .. } = self.lookup(reference, Visibility::All)?;
        let of = Some(version.facts.version_id);
        let around = self.catalogue.surroundings(artifact.id, of, grantee(&scenario.principal))?;
        let Marks { labels, collection, classification } = around.marks;
        scenario.artifact = crate::policy::Described {
            id: Some(artifact.id),
            kind: Some(artifact.kind),
            signed: true,
            labels,
            collection,
            classification,
        };
        scenario.granted = around.granted;
        if let Some(of) = around.version {
            let trusted = self.trusted_publisher(&reference.namespace, &of.signer).is_ok();
            let (statements, dataset) = self.believed_statements(&reference.namespace, of.attestations);
            scenario.context.of_version(of.tags, trusted, statements, dataset);
        }
        Ok(())
    }

    /// A policy that is or was in force; 0: the built-in one.
    ///
    /// # Errors
    /// `Denied`; `NotFound`.
    pub fn policy_version(&self, caller: &Caller, version: u64) -> Result<PolicyFacts> {
        let act = Act::PolicyRead;
        let subject = Subject::vault().with("version", version);
        let permit = self.permit(caller, act, Action::ReadPolicy, Resource::Vault, &subject)?;
        let (text, envelope) = match version {
            0 => (crate::policy::Policies::DEFAULT_TEXT.to_owned(), None),
            _ => {
                let stored = self.catalogue.policy_version(version);
                let stored = stored.or_else(|e| self.refuse(caller, act, &subject, e.into()))?;
                (stored.text, stored.envelope)
            }
        };
        self.record(caller, act, &subject, &permit)?;
        Ok(PolicyFacts { version, text, envelope })
    }

    /// Policies that were put in force, the newest first; at most `limit`.
    ///
    /// # Errors
    /// `Denied`.
    pub fn policy_log(&self, caller: &Caller, limit: u32) -> Result<Vec<PolicyVersionFacts>> {
        let act = Act::PolicyRead;
        let subject = Subject::vault().with("asked", "log");
        let permit = self.permit(caller, act, Action::ReadPolicy, Resource::Vault, &subject)?;
        self.record(caller, act, &subject, &permit)?;
        let newest = self.catalogue.policy()?.map_or(0, |p| p.version);
        let versions = (1..=newest).rev().take(limit.clamp(1, 1000) as usize);
        versions
            .map(|version| {
                let stored = self.catalogue.policy_version(version)?;
                let sha256 = crate::crypto::hash::sha256(stored.text.as_bytes());
                Ok(PolicyVersionFacts { version, created: stored.created, sha256, in_force: version == newest })
            })
            .collect()
    }

    /// What is said about an artifact.
    ///
    /// # Errors
    /// `Denied`; `NotFound`.
    pub fn marks(&self, caller: &Caller, reference: &Reference) -> Result<Marks> {
        let act = Act::ArtifactLabel;
        let (artifact, subject) = self.marked(caller, act, reference)?;
        let resource = super::opening::resource(&reference.namespace, &artifact);
        let permit = self.permit(caller, act, Action::Stat, resource, &subject)?;
        self.record(caller, act, &subject, &permit)?;
        Ok(artifact.marks)
    }

    /// Changes what is said about an artifact. In force at once for new decisions, and for streams at their next lease.
    ///
    /// # Errors
    /// `Denied`; `NotFound`; `InvalidArgument`.
    pub fn mark(&self, caller: &Caller, reference: &Reference, change: MarksChange) -> Result<Marks> {
        let act = Act::ArtifactLabel;
        let (artifact, subject) = self.marked(caller, act, reference)?;
        let listed = |labels: &std::collections::BTreeSet<Name>| {
            labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        let mut subject = subject.with("added", listed(&change.add)).with("removed", listed(&change.remove));
        for (key, value) in [("collection", &change.collection), ("classification", &change.classification)] {
            if let Some(value) = value {
                subject = subject.with(key, String::from(value.clone()));
            }
        }
        let resource = super::opening::resource(&reference.namespace, &artifact);
        let permit = self.permit(caller, act, Action::Label, resource, &subject)?;
        artifact.marks.clone().changed(change.clone()).or_else(|e| self.refuse(caller, act, &subject, e))?;
        let asked = serde_json::to_vec(&change).map_err(|e| Error::new(ErrorId::Internal, e.to_string()))?;
        let request = Request { caller, act, subject, permit: &permit, arguments: &[&artifact.id.0, &asked] };
        let carry_out = || {
            let (marks, _) = self.catalogue.mark(artifact.id, change, self.entry(&request, Vec::new()))?;
            Ok(marks)
        };
        let marks = self.once(&request, |_| Ok(self.catalogue.marks(artifact.id)?), carry_out)?;
        self.cut();
        Ok(marks)
    }

    fn marked(
        &self,
        caller: &Caller,
        act: Act,
        reference: &Reference,
    ) -> Result<(crate::catalogue::ArtifactRecord, Subject)> {
        let subject = Subject::named(&reference.namespace, &reference.name);
        self.admitted(caller, act, &subject)?;
        let found = self.catalogue.artifact_named(&reference.namespace, &reference.name);
        let found = found.map_err(|e| super::opening::missing(e.into(), reference));
        let artifact = found.or_else(|e| {
            let veiled = self.veil(caller, e, reference);
            self.refuse(caller, act, &subject, veiled)
        })?;
        let subject = Subject::artifact(&reference.namespace, &artifact);
        Ok((artifact, subject))
    }
}
