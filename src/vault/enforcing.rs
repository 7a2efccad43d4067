//! The policy in force: set and signed, verified when it is loaded.

use std::sync::Arc;

use super::gate::Subject;
use super::once::Request;
use super::{Caller, Vault};
use crate::audit::{Act, Decision, FIRST_SEQ, Record};
use crate::catalogue::{Catalogue, CatalogueError, NewPolicy, PolicyRecord};
use crate::crypto::hash::sha256;
use crate::crypto::sign::SigningIdentity;
use crate::error::{Error, ErrorId, Result};
use crate::facts::PolicyFacts;
use crate::keyring::Keyring;
use crate::manifest::PolicyStatement;
use crate::names::{Name, Reference, VaultId};
use crate::policy::{Action, Policies, Resource};

/// In force where the policy is not what was signed: its owner may put it right, and nobody anything else.
const REPAIR: &str = r#"// The policy in the catalogue is not the one that was signed and put in force last, so nothing is permitted but to set another:
//   vault policy log; vault policy get --version vN > policy.cedar; vault policy set policy.cedar
@id("policy-not-as-signed")
forbid (principal, action, resource)
unless {
  action in [
    ModelVault::Action::"setPolicy",
    ModelVault::Action::"readPolicy",
    ModelVault::Action::"readAudit",
    ModelVault::Action::"status",
    ModelVault::Action::"whoami"
  ]
};

@id("policy-repair")
permit (principal is ModelVault::Operator, action, resource)
when {
  (context.transport == "local" || context.transport == "unix") &&
  principal.issuer == context.transport
};

@id("step-up")
forbid (principal, action == ModelVault::Action::"setPolicy", resource)
when { context.mfa_enrolled && context.mfa_age_s > 300 };
"#;
/// How many of the newest records that name a policy are asked which one decided ...
const RECORDS_ASKED: u64 = 256;
/// ... among so many of all at most.
const RECORDS_READ: u64 = 1_000_000;

/// The policy every decision is made by.
pub(super) struct PolicyInForce {
    /// Of the catalogue; 0: the built-in one.
    pub version: u64,
    pub policies: Arc<Policies>,
}

impl PolicyInForce {
    /// What the catalogue holds, if it is what was signed; the built-in policy if none was ever set.
    ///
    /// # Errors
    /// Those of the catalogue. A signature that does not hold is none: what is in force then permits its repair alone.
    pub fn of(catalogue: &dyn Catalogue, keyring: &Keyring, vault: VaultId) -> Result<Self> {
        let Some(stored) = catalogue.policy()? else {
            return Ok(Self { version: 0, policies: Arc::new(Policies::defaults()) });
        };
        let previous = match stored.version {
            1 => None,
            version => Some(catalogue.policy_version(version - 1)?),
        };
        Ok(match verified(&stored, previous.as_ref(), signer(keyring)?, vault) {
            Ok(()) => Self { version: stored.version, policies: Arc::new(Policies::parse(&stored.text)?) },
            Err(e) => Self::repair(stored.version, &e),
        })
    }

    /// Nothing is permitted but to set another.
    fn repair(version: u64, why: &Error) -> Self {
        tracing::error!(version, error = %why, "the policy is not the one that was signed: nothing is permitted but to set another");
        Self { version, policies: Arc::new(Policies::parse(REPAIR).expect("the policy for repairs is tested")) }
    }

    /// Nothing is permitted: for when it is not known what is.
    fn nothing() -> Self {
        let text = "@id(\"unknown\") forbid (principal, action, resource);";
        Self {
            version: u64::MAX,
            policies: Arc::new(Policies::parse(text).expect("one policy that forbids everything")),
        }
    }
}

/// The vault's own key for this: that of the namespace every vault has.
fn signer(keyring: &Keyring) -> Result<&SigningIdentity> {
    let name: Name = Reference::DEFAULT_NAMESPACE.parse()?;
    let found = keyring.namespace_named(&name).map(|(_, keys)| keys.identity());
    found.ok_or_else(|| Error::new(ErrorId::KeyringDamaged, format!("the keyring holds no namespace {name}")))
}

fn verified(
    stored: &PolicyRecord,
    previous: Option<&PolicyRecord>,
    signer: &SigningIdentity,
    vault: VaultId,
) -> Result<()> {
    let other = |what: &str| Error::new(ErrorId::BindingMismatch, format!("the signed policy is of another {what}"));
    let Some(envelope) = &stored.envelope else {
        // Before there were signatures; the row itself is authentic.
        let stripped = previous.is_some_and(|previous| previous.envelope.is_some());
        return if stripped { Err(Error::new(ErrorId::SignatureMissing, "the policy is not signed")) } else { Ok(()) };
    };
    let statement = PolicyStatement::verify(envelope, &[*signer.public()])?;
    if statement.vault != vault {
        return Err(other("vault"));
    }
    if statement.version != stored.version {
        return Err(other("version"));
    }
    // The built-in policy may be another in each release.
    if previous.is_some_and(|previous| sha256(previous.text.as_bytes()) != statement.previous) {
        return Err(other("history"));
    }
    statement.is_about(&stored.text)
}

impl Vault {
    /// The policy in force.
    pub fn policy(&self, caller: &Caller) -> Result<PolicyFacts> {
        let permit = self.permit(caller, Act::PolicyRead, Action::ReadPolicy, Resource::Vault, &Subject::vault())?;
        self.record(caller, Act::PolicyRead, &Subject::vault(), &permit)?;
        let (version, policies) = self.policy_in_force();
        let stored = if version == 0 { None } else { self.catalogue.policy()? };
        // Where repairs alone are permitted, another text is in force than the one that is stored.
        let envelope = stored.filter(|p| p.version == version && p.text == policies.text()).and_then(|p| p.envelope);
        Ok(PolicyFacts { version, text: policies.text().into(), envelope })
    }

    /// Puts another policy in force, after strict validation. Returns its version.
    pub fn set_policy(&self, caller: &Caller, text: &str) -> Result<u64> {
        self.set_policy_over(caller, text, None)
    }

    /// The same, only if version `over` is in force now (0: the built-in one), where given.
    pub fn set_policy_over(&self, caller: &Caller, text: &str, over: Option<u64>) -> Result<u64> {
        let act = Act::PolicySet;
        let subject = Subject::vault().with("sha256", sha256(text.as_bytes()));
        let permit = self.permit(caller, act, Action::SetPolicy, Resource::Vault, &subject)?;
        let policies = Policies::parse(text).or_else(|e| self.refuse(caller, act, &subject, e.into()))?;
        // An owner who cannot set the next policy is locked out for good.
        let next = self.request(caller, Action::SetPolicy, Resource::Vault)?;
        // A second factor and the approval of others can be had.
        if !policies.decide(&next).allowed && policies.lacking(&next).is_none() {
            let text = format!("under this policy {} could not set another", caller.principal);
            let lockout = Error::new(ErrorId::InvalidArgument, text)
                .hint("permit ModelVault::Action::\"setPolicy\" to the operators who administer the vault");
            return self.refuse(caller, act, &subject, lockout);
        }
        // One at a time, so that the last one in the catalogue is the one in force.
        let _turn = self.setting_policy.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let over_bytes = over.map_or_else(Vec::new, |v| v.to_le_bytes().to_vec());
        let arguments = [text.as_bytes(), &over_bytes];
        let before = self.catalogue.policy()?;
        let version = before.as_ref().map_or(0, |p| p.version);
        // For whoever reads the log, and for the next start: it must not find an older one.
        let subject = subject.with("version", version + 1);
        let request = Request { caller, act, subject: subject.clone(), permit: &permit, arguments: &arguments };
        let put_in_force = || match self.store_policy(&request, text, before.as_ref()) {
            Ok(version) => {
                self.enforce(PolicyInForce { version, policies: Arc::new(policies) });
                Ok(version)
            }
            Err(e) => {
                // The commit may come after we stopped waiting for it: what the catalogue holds is in force.
                let held = self.stored_policy();
                self.enforce(held.unwrap_or_else(|_| PolicyInForce::nothing()));
                Err(e.into())
            }
        };
        let carry_out = || {
            if over.is_some_and(|over| over != version) {
                let moved = Error::new(ErrorId::AlreadyExists, format!("the policy is at version {version} by now"))
                    .hint("look at it and set yours over it: vault policy get; vault policy set FILE --expect vN");
                return self.refuse(caller, act, &subject, moved);
            }
            put_in_force()
        };
        let version = self.once(&request, |earlier| Ok(earlier.number), carry_out)?;
        // Also where the request was carried out before, and by a commit that nobody waited for.
        self.enforce(self.stored_policy()?);
        Ok(version)
    }

    /// Signs the next version, and stores it with its row.
    fn store_policy(
        &self,
        request: &Request<'_>,
        text: &str,
        before: Option<&PolicyRecord>,
    ) -> Result<u64, CatalogueError> {
        let version = before.map_or(0, |p| p.version);
        let statement = PolicyStatement {
            vault: self.vault_id(),
            version: version + 1,
            sha256: sha256(text.as_bytes()),
            previous: sha256(before.map_or(Policies::DEFAULT_TEXT, |p| &p.text).as_bytes()),
            created: self.now(),
            author: request.caller.principal.to_string(),
        };
        let envelope = {
            let keyring = self.keyring();
            let signer = signer(&keyring).map_err(|e| CatalogueError::Internal(e.to_string()))?;
            statement.sign(signer)
        };
        let new = NewPolicy { text: text.into(), envelope: Some(envelope), over: Some(version) };
        let (version, _) = self.catalogue.set_policy(new, self.entry(request, Vec::new()))?;
        Ok(version)
    }

    fn enforce(&self, policy: PolicyInForce) {
        *self.policies.write().unwrap_or_else(std::sync::PoisonError::into_inner) = policy;
        self.cut();
    }

    fn stored_policy(&self) -> Result<PolicyInForce> {
        PolicyInForce::of(&*self.catalogue, &self.keyring(), self.vault_id())
    }

    /// At unlock: the newest records name the policy that decided, and the one that was set. One that is older now was put back.
    pub(super) fn check_policy_against_log(&self) -> Result<()> {
        let (version, policies) = self.policy_in_force();
        // Refusals and ends of streams name no policy, and anybody can make many of them: they do not count.
        let (mut newest, mut named, mut compared) = (0, 0, false);
        let mut end = self.catalogue.audit_len()? + FIRST_SEQ;
        let last = end.saturating_sub(RECORDS_READ).max(FIRST_SEQ);
        while named < RECORDS_ASKED && end > last {
            let from = end.saturating_sub(RECORDS_ASKED).max(last);
            for (_, leaf) in self.rows(from, (end - from) as usize)?.into_iter().rev() {
                let Ok(record) = Record::parse(&leaf) else { continue };
                let decided = record.policy_version().and_then(|v| v.as_str().strip_prefix('v')?.parse().ok());
                // A vault that did not know what was in force said so with the highest number there is.
                let decided = decided.filter(|v| *v != u64::MAX);
                named += u64::from(decided.is_some());
                newest = newest.max(decided.unwrap_or_default());
                if record.act() == Act::PolicySet && *record.decision() == Decision::Allow {
                    let detail =
                        |key: &str| record.details().iter().find(|(k, _)| k.as_str() == key).map(|(_, v)| v.as_str());
                    let set: u64 = detail("version").and_then(|v| v.parse().ok()).unwrap_or_default();
                    newest = newest.max(set);
                    // After a repair two rows say that they set this version: the newer one counts.
                    if set == version && !std::mem::replace(&mut compared, true) {
                        let same = detail("sha256") == Some(&policies.version().to_string());
                        newest = if same { newest } else { u64::MAX };
                    }
                }
            }
            end = from;
        }
        if newest > version && policies.text() != REPAIR {
            let why = match newest {
                u64::MAX => format!("the log says that another text was set as version {version}"),
                _ => format!(
                    "the log says that version {newest} was in force, and the catalogue holds version {version}"
                ),
            };
            self.enforce(PolicyInForce::repair(version, &Error::new(ErrorId::BindingMismatch, why)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::Key;
    use crate::names::{Sha256, Timestamp};

    fn identity() -> SigningIdentity {
        SigningIdentity::from_seed(Key::take(&mut [7; 32]))
    }

    fn stored(version: u64, text: &str, before: &str) -> PolicyRecord {
        let statement = PolicyStatement {
            vault: VaultId([1; 16]),
            version,
            sha256: sha256(text.as_bytes()),
            previous: sha256(before.as_bytes()),
            created: Timestamp::from_millis(0),
            author: "operator local:uid:0".into(),
        };
        let envelope = Some(statement.sign(&identity()));
        PolicyRecord { version, text: text.into(), envelope, created: Timestamp::from_millis(0) }
    }

    #[test]
    fn a_stored_policy_is_the_one_that_was_signed_in_its_place() {
        let (first, second) = (stored(1, "one", "built-in"), stored(2, "two", "one"));
        let told = |stored: &PolicyRecord, previous: Option<&PolicyRecord>| {
            verified(stored, previous, &identity(), VaultId([1; 16])).map_err(|e| e.id())
        };
        assert_eq!(told(&first, None), Ok(()));
        assert_eq!(told(&second, Some(&first)), Ok(()));
        // What an earlier release set has no signature, and the first that is signed comes after it.
        let old = PolicyRecord { envelope: None, ..first.clone() };
        assert_eq!(told(&old, None), Ok(()));
        assert_eq!(told(&second, Some(&old)), Ok(()));

        let changed = PolicyRecord { text: "two, and more".into(), ..second.clone() };
        let earlier_again = PolicyRecord { version: 2, ..first.clone() };
        let other_history = PolicyRecord { text: "another".into(), ..first.clone() };
        assert_eq!(told(&changed, Some(&first)), Err(ErrorId::BindingMismatch));
        assert_eq!(told(&earlier_again, Some(&first)), Err(ErrorId::BindingMismatch));
        assert_eq!(told(&second, Some(&other_history)), Err(ErrorId::BindingMismatch));
        let stripped = PolicyRecord { envelope: None, ..second.clone() };
        assert_eq!(told(&stripped, Some(&first)), Err(ErrorId::SignatureMissing));
        let elsewhere = verified(&first, None, &identity(), VaultId([2; 16]));
        assert_eq!(elsewhere.unwrap_err().id(), ErrorId::BindingMismatch);
        let of_others = SigningIdentity::from_seed(Key::take(&mut [8; 32]));
        let unknown = verified(&first, None, &of_others, VaultId([1; 16]));
        assert_eq!(unknown.unwrap_err().id(), ErrorId::SignatureMissing);
        assert_ne!(Policies::parse(REPAIR).unwrap().version(), Sha256([0; 32]));
    }
}
