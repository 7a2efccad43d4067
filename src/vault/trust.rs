//! Who is believed: the trust store of the vault, and the gate for publishers.
//!
//! The truth is a document of the catalogue, a version a change. `signers.json` in the home is its copy for whoever verifies
//! without unlocking: it is written after each change, and again at unlock where it differs.

use std::sync::{Arc, PoisonError};

use super::gate::Subject;
use super::once::Request;
use super::{Caller, Vault};
use crate::audit::{Act, Record};
use crate::catalogue::{Catalogue, Entry};
use crate::crypto::hash::sha256;
use crate::crypto::sign::PublicKey;
use crate::error::{Error, ErrorId, Result};
use crate::facts::{RevokedFacts, TrustFacts, TrustedFacts};
use crate::home::Home;
use crate::identity::signers::{Signer, Signers, Trust, Trusting, Untrusting};
use crate::names::{KeyId, Name, Timestamp};
use crate::policy::{Action, Resource};
use crate::seal::{Reader, signatures};

/// The trust store every decision is made by.
pub(super) struct TrustInForce {
    /// Of the catalogue; 0: none was ever set.
    pub version: u64,
    pub signers: Arc<Signers>,
}

impl TrustInForce {
    /// What the catalogue holds; nobody is believed if none was ever set.
    pub fn of(catalogue: &dyn Catalogue) -> Result<Self> {
        Ok(match catalogue.signers()? {
            Some(stored) => {
                let signers = Signers::parse(stored.text.as_bytes()).map_err(|e| {
                    Error::new(ErrorId::CatalogueDamaged, format!("the trust store of the catalogue: {e}"))
                })?;
                Self { version: stored.version, signers: Arc::new(signers) }
            }
            None => Self { version: 0, signers: Arc::default() },
        })
    }
}

/// Takes the signers over that a home had before it had a vault.
pub(super) fn adopt(home: &Home, catalogue: &dyn Catalogue, record: Record) -> Result<()> {
    if !home.has_signers()? {
        return Ok(());
    }
    let signers = Signers::read(&home.signers_path())?;
    if signers == Signers::default() {
        return Ok(());
    }
    let text = signers.to_json();
    let record = record.detail("adopted", signers.signers().len()).detail("sha256", sha256(text.as_bytes()));
    catalogue.set_signers(text, Some(0), record.to_leaf().into())?;
    Ok(())
}

impl Vault {
    /// The trust store in force, as of this moment: ask again for each decision.
    pub fn signers(&self) -> Arc<Signers> {
        self.trust.read().unwrap_or_else(PoisonError::into_inner).signers.clone()
    }

    /// The trust store, for whoever may read it.
    pub fn read_signers(&self, caller: &Caller) -> Result<TrustFacts> {
        let act = Act::KeyList;
        let permit = self.permit(caller, act, Action::ReadSigners, Resource::Vault, &Subject::vault())?;
        self.record(caller, act, &Subject::vault(), &permit)?;
        self.trust_facts()
    }

    /// Trusts keys or CAs under a name, or changes until when and where they are trusted. Returns the store as it is then.
    ///
    /// # Errors
    /// `Denied`; those of [`Trusting::apply`]. `IoError` if the change is in force and only the copy could not be written.
    pub fn trust_signer(&self, caller: &Caller, change: &Trusting) -> Result<TrustFacts> {
        let mut subject = Subject::vault().with("signer", &change.name);
        if let Some(until) = change.until {
            subject = subject.with("until", until);
        }
        if !change.namespaces.is_empty() {
            subject = subject.with("namespaces", listed(&change.namespaces));
        }
        // The entries say all that is asked.
        let mut asked = Signers::default();
        change.entries().try_for_each(|entry| asked.trust(entry))?;
        self.change_trust(caller, Act::KeyTrust, subject, asked.to_json().as_bytes(), |store| change.apply(store))
    }

    /// Ends the trust in what a signer has, or revokes it. Returns the store as it is then.
    ///
    /// # Errors
    /// `Denied`; those of [`Untrusting::apply`]. `IoError` if the change is in force and only the copy could not be written.
    pub fn untrust_signer(&self, caller: &Caller, change: &Untrusting) -> Result<TrustFacts> {
        let mut subject = Subject::vault().with("signer", &change.name);
        if let Some(reason) = &change.revoke {
            subject = subject.with("revoked", true).with("reason", reason);
        }
        let Untrusting { name, key, revoke } = change;
        let asked = format!("{name}\n{}\n{revoke:?}", key.as_deref().unwrap_or_default());
        self.change_trust(caller, Act::KeyUntrust, subject, asked.as_bytes(), |store| change.apply(store, self.now()))
    }

    fn change_trust(
        &self,
        caller: &Caller,
        act: Act,
        subject: Subject,
        asked: &[u8],
        change: impl FnOnce(&mut Signers) -> Result<Vec<KeyId>>,
    ) -> Result<TrustFacts> {
        // Who approves it approves all of it: the keys too.
        let subject = subject.with("asked", sha256(asked));
        let permit = self.permit(caller, act, Action::TrustSigner, Resource::Vault, &subject)?;
        // One at a time: each change is made to what the one before it left.
        let _turn = self.setting_trust.lock().unwrap_or_else(PoisonError::into_inner);
        let request = Request { caller, act, subject, permit: &permit, arguments: &[asked] };
        let carry_out = || {
            // Of the catalogue, not of memory: a commit may have come after whoever asked for it had stopped waiting.
            let held = TrustInForce::of(&*self.catalogue)?;
            let mut next = (*held.signers).clone();
            let changed = change(&mut next).and_then(|ids| Ok((ids, next.to_text()?)));
            let (ids, text) = changed.or_else(|e| self.refuse(caller, act, &request.subject, e))?;
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            let subject = request.subject.clone().with("keys", ids.join(" "));
            let done = Request { caller, act, subject, permit: &permit, arguments: request.arguments };
            self.put_trust(held.version, next, text, self.entry(&done, Vec::new()))
        };
        self.once(&request, |_| Ok(()), carry_out)?;
        // Also where the request was carried out before, and by a commit that nobody waited for.
        self.believe(TrustInForce::of(&*self.catalogue)?);
        self.publish_copy()?;
        self.trust_facts()
    }

    /// Puts a trust store in force in the place of the one of version `over`, with the row and memory of its request.
    pub(super) fn put_trust(&self, over: u64, next: Signers, text: String, entry: Entry) -> Result<()> {
        match self.catalogue.set_signers(text, Some(over), entry) {
            Ok((version, _)) => {
                self.believe(TrustInForce { version, signers: Arc::new(next) });
                Ok(())
            }
            Err(e) => {
                // The commit may come after we stopped waiting for it: what the catalogue holds is in force.
                let held = TrustInForce::of(&*self.catalogue);
                let nobody = || Arc::new(next.revocations_alone());
                self.believe(held.unwrap_or_else(|_| TrustInForce { version: u64::MAX, signers: nobody() }));
                Err(e.into())
            }
        }
    }

    /// After a change, also for a request that comes again: the first may have failed just here.
    pub(super) fn publish_copy(&self) -> Result<()> {
        self.write_signers().map(drop).map_err(|e| {
            e.hint(
                "the change is in force in the vault; commands that verify without it see it when its copy is written",
            )
        })
    }

    fn believe(&self, trust: TrustInForce) {
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust;
        self.cut();
    }

    fn trust_facts(&self) -> Result<TrustFacts> {
        let identities = self.identities()?;
        let trust = self.trust.read().unwrap_or_else(PoisonError::into_inner);
        Ok(TrustFacts { identities, ..trust_facts(&trust.signers, Some(trust.version), self.now()) })
    }

    /// Makes the copy in the home what the catalogue says. Says what it found instead, if that was a store of another content.
    fn write_signers(&self) -> Result<Option<Vec<u8>>> {
        let (path, signers) = (self.home.signers_path(), self.signers());
        let text = signers.to_json();
        let found = match crate::home::read_bounded(&path, 2 * text.len() as u64 + (1 << 20)) {
            Ok(found) if found == text.as_bytes() => return Ok(None),
            Ok(found) => Some(found),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if *signers == Signers::default() {
                    return Ok(None);
                }
                None
            }
            Err(_) => None,
        };
        signers.write(&path)?;
        Ok(found)
    }

    /// At unlock: a copy that differs is written anew, on record. A home that cannot be written to is no reason not to open.
    pub(super) fn heal_signers(&self) -> Result<()> {
        if let Some(found) = self.write_signers()? {
            tracing::warn!("signers.json was not what the vault holds; it was written anew");
            let subject = Subject::vault().with("found_sha256", sha256(&found));
            self.note(&self.local_caller()?, Act::TrustRestore, &subject)?;
        }
        Ok(())
    }

    /// Who may publish in a namespace under this key: the namespace itself, or a signer trusted for it at this time.
    ///
    /// # Errors
    /// `Denied`, with the `reason` in its details: `unknown_key`, `retired`, `revoked`, `namespace`.
    pub(super) fn trusted_publisher(&self, namespace: &Name, key: &KeyId) -> Result<Name> {
        let (signers, now) = (self.signers(), self.now());
        let denied = |e: &Error| {
            let revoked = e.details().iter().any(|(_, reason)| reason == "revoked");
            let hint = match revoked {
                true => "publish under another key, and trust that: vault key trust NAME --key FILE".into(),
                false => format!(
                    "trust the signer there: vault key trust NAME --key FILE --namespace {namespace}; vault key ls shows \
                     who is trusted"
                ),
            };
            let mut denied =
                Error::new(ErrorId::Denied, format!("namespace {namespace} does not trust the signer: {e}")).hint(hint);
            for (key, value) in e.details() {
                denied = denied.detail(key, value);
            }
            denied
        };
        signers.check_revoked(key, now).map_err(|e| denied(&e))?;
        if self.keyring().namespace_named(namespace).is_some_and(|(_, keys)| keys.identity().key_id() == *key) {
            return Ok(namespace.clone());
        }
        signers.of_key_id(key, namespace, now).map(|signer| signer.name.clone()).map_err(|e| denied(&e))
    }

    /// The same, with the refusal on record.
    pub(super) fn must_trust(
        &self,
        caller: &Caller,
        act: Act,
        subject: &Subject,
        namespace: &Name,
        key: &KeyId,
    ) -> Result<Name> {
        let trusted = self.trusted_publisher(namespace, key);
        trusted.or_else(|e| self.refuse(caller, act, &subject.clone().with("signer", key), e))
    }

    /// Of a sealed file that is to become a version: if anybody signed it, somebody trusted did. This vault's own namespaces
    /// count: it is they who signed what comes back from an export.
    pub(super) fn must_trust_seal(
        &self,
        caller: &Caller,
        act: Act,
        subject: &Subject,
        namespace: &Name,
        reader: &Reader,
    ) -> Result<()> {
        let (signers, now) = (self.signers(), self.now());
        let mut trusted: Vec<PublicKey> =
            signers.keys_in(namespace, now).filter_map(|(_, key)| key.to_ed25519().ok()).collect();
        let own: Vec<PublicKey> = self.keyring().namespaces().map(|(_, keys)| *keys.identity().public()).collect();
        trusted.extend(own.into_iter().filter(|key| signers.check_revoked(&key.key_id(), now).is_ok()));
        let checked = signatures::check(reader.signatures(), &trusted, &reader.preamble().file_id, &reader.root());
        match checked.map_err(Error::from) {
            Ok(_) => Ok(()),
            Err(e) if e.id() == ErrorId::SignatureMissing => {
                let Some(claimed) = reader.claimed_signers().into_iter().next() else { return Ok(()) };
                match claimed.parse::<KeyId>() {
                    Ok(key) => self.must_trust(caller, act, subject, namespace, &key).and_then(|_| {
                        // Trusted by its name, and did not sign this: a statement of another kind.
                        self.refuse(caller, act, &subject.clone().with("signer", key), e)
                    }),
                    Err(_) => self.refuse(caller, act, subject, e),
                }
            }
            Err(e) => self.refuse(caller, act, subject, e),
        }
    }
}

/// A trust store as it is told, at a time. `version`: of the vault's catalogue.
pub fn trust_facts(signers: &Signers, version: Option<u64>, at: Timestamp) -> TrustFacts {
    let state = |signer: &Signer| {
        let revoked = signer.key_ids().iter().any(|id| signers.check_revoked(id, at).is_err());
        match (revoked, signer.is_trusted(at)) {
            (true, _) => "revoked",
            (_, false) => "retired",
            (_, true) => "trusted",
        }
    };
    let entry = |signer: &Signer| {
        let (kind, algorithm, names) = match &signer.trust {
            Trust::Key(key) => ("key", Some(key.algorithm().name().to_owned()), Vec::new()),
            Trust::Ca { names, .. } => ("ca", None, names.iter().map(ToString::to_string).collect()),
        };
        TrustedFacts {
            name: signer.name.clone(),
            kind: kind.into(),
            keyids: signer.key_ids(),
            algorithm,
            names,
            until: signer.trusted_until,
            namespaces: Some(signer.namespaces.clone()).filter(|list| !list.is_empty()),
            state: state(signer).into(),
        }
    };
    TrustFacts {
        version,
        identities: Vec::new(),
        signers: signers.signers().iter().map(entry).collect(),
        revoked: signers
            .revoked()
            .iter()
            .map(|r| RevokedFacts { keyid: r.key, since: r.since, reason: r.reason.clone() })
            .collect(),
    }
}

fn listed(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(" ")
}
