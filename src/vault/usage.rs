//! What callers used of their quotas, for people.

use std::collections::BTreeMap;

use super::gate::Subject;
use super::once::Request;
use super::{Caller, HoldTarget, Vault};
use crate::audit::Act;
use crate::error::{Error, ErrorId, Result};
use crate::facts::{CallerUseFacts, LimitFacts, QuotaFacts};
use crate::names::{ArtifactId, Name, Principal, PrincipalKind};
use crate::policy::{Action, Resource};
use crate::quota::{Account, Cap, Key, Quotas, Scope, WHOLE, What, Whom};

/// Most callers that are told at once.
const MOST: usize = 1000;

/// Accounts read at once.
const BATCH: usize = 500;

/// Accounts of one caller: of all that it does, and of each artifact.
type Accounts = BTreeMap<Option<ArtifactId>, (Account, u64)>;

/// By the caller's name.
type Callers = BTreeMap<String, (Principal, Accounts)>;

impl Vault {
    /// What callers used: those of a pattern, or all. A workload sees itself.
    pub fn quota_use(&self, caller: &Caller, callers: &str) -> Result<QuotaFacts> {
        self.admit(caller)?;
        self.count_call(caller, &Subject::vault())?;
        let own = caller.principal.kind == PrincipalKind::Workload;
        let whom = match callers {
            "" => None,
            // A colon behind a namespace is one between issuer and subject.
            text if text.split_once(':').is_some_and(|(kind, _)| !kind.contains('/')) => Some(text.to_owned()),
            name => Some(format!("workload:{name}")),
        };
        let whom = whom.map(|text| Whom::parse(&text)).transpose();
        let whom = whom.map_err(|why| {
            Error::new(ErrorId::InvalidArgument, why).hint("vault quota get workload:prod/serve-1, or without a caller")
        })?;
        if !own {
            let subject = Subject::vault().with("callers", callers);
            let permit = self.permit(caller, Act::QuotaRead, Action::ReadSettings, Resource::Vault, &subject)?;
            self.record(caller, Act::QuotaRead, &subject, &permit)?;
        }
        let wanted = |who: &Principal| match (own, &whom) {
            (true, _) => *who == caller.principal,
            (false, Some(whom)) => whom.is(who, &self.quota_groups(who, &[])),
            (false, None) => true,
        };
        let (found, more) = self.accounts(own.then_some(&caller.principal), wanted)?;
        let (version, quotas) = self.setting::<Quotas>();
        let groups = |who: &Principal| {
            let vouched = if *who == caller.principal { &caller.evidence.groups[..] } else { &[] };
            self.quota_groups(who, vouched)
        };
        let facts = found.iter().map(|(text, (who, of))| self.caller_use(&quotas, text, who, &groups(who), of));
        Ok(QuotaFacts { version, callers: facts.collect::<Result<_>>()?, more })
    }

    /// Sets what was counted back to nothing: of a caller, of an artifact, or of a caller with an artifact. Says how many stored
    /// accounts there were, readable or not.
    ///
    /// # Errors
    /// `Denied`; `MfaRequired`; `NotFound` for an artifact that is not there; `InvalidArgument` if neither is named.
    pub fn reset_quota(&self, caller: &Caller, whom: Option<&str>, of: Option<(&Name, &Name)>) -> Result<u64> {
        let act = Act::QuotaReset;
        let whom = whom.map(|whom| HoldTarget::parse("principal", whom)).transpose()?;
        let whom = whom.map(|(HoldTarget::Principal(whom) | HoldTarget::Artifact(whom))| whom);
        if whom.is_none() && of.is_none() {
            let neither = Error::new(ErrorId::InvalidArgument, "neither a caller nor an artifact is named");
            return Err(neither.hint("vault quota reset workload:prod/serve-1, or --artifact prod/resnet"));
        }
        let mut subject = of.map_or_else(Subject::vault, |(namespace, name)| Subject::named(namespace, name));
        if let Some(whom) = &whom {
            subject = subject.with("caller", whom);
        }
        let permit = self.permit(caller, act, Action::ChangeSettings, Resource::Vault, &subject)?;
        let artifact = of.map(|(namespace, name)| self.catalogue.artifact_named(namespace, name)).transpose();
        let artifact = artifact.map_err(Error::from).or_else(|e| self.refuse(caller, act, &subject, e))?.map(|a| a.id);
        let asked = whom.clone().unwrap_or_default();
        let arguments = [asked.as_bytes(), artifact.as_ref().map_or(&[][..], |id| &id.0)];
        let request = Request { caller, act, subject, permit: &permit, arguments: &arguments };
        let is = |who: &Principal| whom.as_ref().is_none_or(|whom| who.to_string() == *whom);
        let carry_out = || {
            let counted = || {
                let known = self.catalogue.usage_callers()?.into_iter();
                Ok::<Vec<_>, Error>(known.filter(|text| serde_json::from_str(text).is_ok_and(|who| is(&who))).collect())
            };
            let callers = whom.is_some().then(counted).transpose()?;
            if let (Some(whom), true) = (&whom, callers.as_ref().is_some_and(Vec::is_empty)) {
                self.must_be_somebody(whom)?;
            }
            let dropped = self.catalogue.drop_usage(callers, artifact, self.entry(&request, Vec::new()))?.0;
            self.counting.ledger.reset(|key| is(&key.principal) && (artifact.is_none() || key.artifact == artifact));
            Ok(dropped)
        };
        self.once(&request, |earlier| Ok(earlier.number), carry_out)
    }

    /// What is stored, and over it what is in memory, by the caller's name.
    fn accounts(&self, of: Option<&Principal>, wanted: impl Fn(&Principal) -> bool) -> Result<(Callers, bool)> {
        let mut found = Callers::new();
        let mut put = |key: Key, account, streams| {
            let who =
                found.entry(key.principal.to_string()).or_insert_with(|| (key.principal.clone(), Accounts::new()));
            who.1.insert(key.artifact, (account, streams));
            found.len()
        };
        let of = of.map(super::counting::principal_text).transpose()?;
        let (mut after, mut more) = (None, false);
        'pages: loop {
            let page = self.catalogue.usages(of.as_deref(), after.as_ref(), BATCH)?;
            for row in page.rows {
                let parts = serde_json::from_str::<Principal>(&row.principal).ok().zip(Account::decode(&row.account));
                let damaged = || Error::new(ErrorId::CatalogueDamaged, "an account is stored in no form that is known");
                let (principal, account) = parts.ok_or_else(damaged)?;
                if wanted(&principal) && put(Key { principal, artifact: row.artifact }, account, 0) > MOST {
                    more = true;
                    break 'pages;
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for (key, account, streams) in self.counting.ledger.accounts(|key| wanted(&key.principal)) {
            put(key, account, streams);
        }
        more |= found.len() > MOST;
        while found.len() > MOST {
            found.pop_last();
        }
        Ok((found, more))
    }

    fn caller_use(
        &self,
        quotas: &Quotas,
        caller: &str,
        who: &Principal,
        groups: &[Name],
        accounts: &Accounts,
    ) -> Result<CallerUseFacts> {
        let now = self.quota_now();
        let fact = |cap: &Cap, artifact: Option<&str>, account: &Account, streams| {
            let used = if cap.what == What::Streams { streams } else { cap.most() - account.left(cap, now) };
            let parts = if cap.what == What::Reads { WHOLE / 1000 } else { 1 };
            LimitFacts {
                quota: cap.rule.clone(),
                limit: cap.what.as_str().into(),
                artifact: artifact.map(Into::into),
                used: used.div_ceil(parts).min(cap.most() / parts),
                most: cap.most() / parts,
                seconds: cap.window().as_secs(),
            }
        };
        let none = (Account::default(), 0);
        let (all, streams) = accounts.get(&None).unwrap_or(&none);
        let terms = quotas.terms(who, groups, None);
        let mut limits: Vec<_> =
            terms.caps.iter().filter(|c| c.scope == Scope::Caller).map(|cap| fact(cap, None, all, *streams)).collect();
        let namespaces = self.catalogue.namespaces()?;
        for (id, (account, streams)) in accounts.iter().filter_map(|(id, at)| Some(((*id)?, at))) {
            let Ok(artifact) = self.catalogue.artifact(id) else { continue };
            let Some(space) = namespaces.iter().find(|n| n.id == artifact.namespace_id) else { continue };
            let name = format!("{}/{}", space.name, artifact.name);
            let labels = Self::quota_labels(&artifact);
            let terms = quotas.terms(who, groups, Some((&space.name, &artifact.name, &labels)));
            let caps = terms.caps.iter().filter(|c| c.scope == Scope::Artifact);
            limits.extend(caps.map(|cap| fact(cap, Some(&name), account, *streams)));
        }
        Ok(CallerUseFacts { caller: caller.into(), streams: *streams, bytes_today: all.bytes_today(now), limits })
    }
}
