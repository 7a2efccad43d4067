//! Identities that the vault holds: made here, trusted under their name, and signing statements for operators. Their private keys
//! stay in the keyring.

use std::sync::PoisonError;

use super::gate::Subject;
use super::once::Request;
use super::trust::TrustInForce;
use super::{Caller, Vault};
use crate::audit::Act;
use crate::crypto::dsse::{IN_TOTO, pre_authentication};
use crate::crypto::hash::sha256;
use crate::crypto::sign::{Identity, PublicKey, SigningIdentity, VerifyingKey};
use crate::error::{Error, ErrorId, Result};
use crate::facts::{IdentityFacts, IdentityKeyFacts};
use crate::identity::signers::Trusting;
use crate::manifest::in_toto;
use crate::names::Name;
use crate::policy::{Action, Resource};

impl Vault {
    /// Makes an identity and trusts it under its name: one act, one row. `pq`: with an ML-DSA-65 key.
    ///
    /// # Errors
    /// `Denied`; `AlreadyExists`.
    pub fn new_identity(&self, caller: &Caller, name: &Name, pq: bool) -> Result<IdentityFacts> {
        let act = Act::KeyNew;
        let subject = Subject::vault().with("signer", name).with("pq", pq);
        let permit = self.permit(caller, act, Action::NewKey, Resource::Vault, &subject)?;
        // It will be believed: that takes the right to say who is.
        let trusts = self.permit(caller, act, Action::TrustSigner, Resource::Vault, &subject)?;
        self.without_approval(caller, act, &subject, &trusts)?;
        let _turn = self.setting_trust.lock().unwrap_or_else(PoisonError::into_inner);
        let arguments: &[&[u8]] = &[name.as_str().as_bytes(), &[u8::from(pq)]];
        let request = Request { caller, act, subject, permit: &permit, arguments };
        let carry_out = || {
            let mut keyring = self.keyring.write().unwrap_or_else(PoisonError::into_inner);
            let held = TrustInForce::of(&*self.catalogue)?;
            let (mut next, mut store) = (keyring.clone(), (*held.signers).clone());
            if store.signers().iter().any(|signer| signer.name == *name) {
                // Else the vault could speak in the name of somebody whose key is elsewhere.
                let taken = Error::new(
                    ErrorId::AlreadyExists,
                    format!("{name} is a signer whose keys the vault does not hold"),
                )
                .hint("choose another name: vault key ls shows those that are taken");
                return self.refuse(caller, act, &request.subject, taken);
            }
            let made = next.add_publisher(name.clone(), pq, self.random()).map_err(Error::from).and_then(|made| {
                let changed = Trusting::keys(name.clone(), made.public()?).apply(&mut store)?;
                Ok((changed, store.to_text()?))
            });
            let (keys, text) = made.or_else(|e| self.refuse(caller, act, &request.subject, e))?;
            let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            let subject = request.subject.clone().with("keys", keys.join(" "));
            let done = Request { caller, act, subject, permit: &permit, arguments };
            // The keys are durable before anybody believes them.
            next.save(&self.home.keyring_path(), &self.root, self.random())?;
            let outcome = self.put_trust(held.version, store, text, self.entry(&done, Vec::new()));
            match (&outcome, TrustInForce::of(&*self.catalogue)) {
                // Not trusted, so not made: the keyring of before is put back.
                (Err(_), Ok(held)) if !held.signers.signers().iter().any(|s| s.name == *name) => {
                    keyring.save(&self.home.keyring_path(), &self.root, self.random())?;
                }
                _ => *keyring = next,
            }
            outcome
        };
        self.once(&request, |_| Ok(()), carry_out)?;
        self.publish_copy()?;
        identity_facts(name, self.keyring().publisher(name)?)
    }

    /// Whether a key is that of an identity in the vault's keyring.
    pub(super) fn holds_key(&self, key: &PublicKey) -> Result<bool> {
        let held = |identity: &Identity| identity.ed25519().public().key_id() == key.key_id();
        Ok(self.keyring().publishers().any(|(_, identity)| held(identity)))
    }

    /// The identities that the vault holds, by name.
    pub(super) fn identities(&self) -> Result<Vec<IdentityFacts>> {
        self.keyring().publishers().map(|(name, identity)| identity_facts(name, identity)).collect()
    }

    /// Signs a statement with every key of an identity. The row is durable before a signature leaves. What is signed is the
    /// pre-authentication encoding of DSSE for in-toto: no signature made here means anything else anywhere.
    ///
    /// # Errors
    /// `Denied`; `NotFound`; `InvalidArgument` for a payload that is not to be signed on request.
    pub fn sign_statement(&self, caller: &Caller, name: &Name, payload: &[u8]) -> Result<Vec<(VerifyingKey, Vec<u8>)>> {
        let act = Act::KeySign;
        let subject = Subject::vault().with("signer", name).with("sha256", sha256(payload));
        let permit = self.permit(caller, act, Action::Sign, Resource::Vault, &subject)?;
        let described = in_toto::describe(payload).or_else(|e| self.refuse(caller, act, &subject, e))?;
        let subject = subject.with("predicate_type", described.predicate_type).with("subject", described.subject);
        let identity = self.held(caller, act, &subject, name)?;
        self.record(caller, act, &subject, &permit)?;
        let message = pre_authentication(IN_TOTO, payload);
        identity.keys()?.iter().map(|key| Ok((key.public().clone(), key.sign(&message)?))).collect()
    }

    /// The key an identity seals with, for the sealing of one version of an artifact. It does not leave this process.
    ///
    /// # Errors
    /// `Denied`, also if the namespace does not trust the identity; `NotFound`.
    pub fn publisher(&self, caller: &Caller, name: &Name, of: (&Name, &Name)) -> Result<SigningIdentity> {
        let act = Act::KeySign;
        let subject = Subject::named(of.0, of.1).with("signer", name).with("purpose", "seal");
        let permit = self.permit(caller, act, Action::Sign, Resource::Vault, &subject)?;
        let identity = self.held(caller, act, &subject, name)?;
        self.must_trust(caller, act, &subject, of.0, &identity.ed25519().key_id())?;
        self.record(caller, act, &subject, &permit)?;
        Ok(identity.ed25519().clone())
    }

    fn held(&self, caller: &Caller, act: Act, subject: &Subject, name: &Name) -> Result<Identity> {
        let held = || {
            let identity = self.keyring().publisher(name).cloned().map_err(|e| {
                Error::from(e).hint("vault key ls shows the identities that the vault holds; vault key new makes one")
            })?;
            let (signers, now) = (self.signers(), self.now());
            for key in identity.public()? {
                // Whoever has stolen it can sign with it; the vault does not add to what must not be believed.
                signers.check_revoked(&key.key_id(), now).map_err(|e| {
                    Error::new(ErrorId::Denied, e.message()).hint("make another identity: vault key new NAME")
                })?;
            }
            Ok(identity)
        };
        held().or_else(|e| self.refuse(caller, act, subject, e))
    }
}

/// An identity as it is told: its public keys.
pub fn identity_facts(name: &Name, identity: &Identity) -> Result<IdentityFacts> {
    Ok(IdentityFacts { name: name.clone(), keys: identity.public()?.iter().map(key_facts).collect() })
}

/// One public key, for whoever is to trust it.
pub fn key_facts(key: &VerifyingKey) -> IdentityKeyFacts {
    IdentityKeyFacts {
        keyid: key.key_id(),
        algorithm: key.algorithm().name().into(),
        oms_hint: key.oms_hint(),
        pem: key.to_pem(),
    }
}
