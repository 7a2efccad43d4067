//! What people do to the trust store: trust a key or CA, let one end, drop or revoke one.

use std::collections::BTreeSet;

use super::{Revoked, Signer, Signers, Trust};
use crate::crypto::sign::VerifyingKey;
use crate::error::{Error, ErrorId, Result};
use crate::identity::signer::{Anchors, SignerName};
use crate::names::{KeyId, Name, Timestamp};

/// Trust in keys or CAs under a name. Of one that the name has already, end and namespaces are changed, as far as given.
#[derive(Clone, Debug)]
pub struct Trusting {
    /// The signer.
    pub name: Name,
    /// Its keys, or its CAs one by one; at least one.
    pub what: Vec<Trust>,
    /// When the trust ends.
    pub until: Option<Timestamp>,
    /// For which namespaces it counts; empty: for all.
    pub namespaces: Vec<Name>,
}

/// An end of the trust in what a signer has.
#[derive(Clone, Debug)]
pub struct Untrusting {
    /// The signer.
    pub name: Name,
    /// Only the key or CA of this id: 16 or 64 hex digits. With a reason, all 64 may also name a key that is not in the
    /// store, such as one that a CA of the signer certified.
    pub key: Option<String>,
    /// Why the keys are revoked, if they are: then they are believed no more, under whatever name or certificate.
    pub revoke: Option<String>,
}

impl Trust {
    /// Each of the CAs by itself, so that one of them can be dropped without the others.
    ///
    /// # Errors
    /// None but those of [`Anchors::from_der`], for certificates that were anchors already.
    pub fn authorities(anchors: &Anchors, names: &[SignerName]) -> Result<Vec<Self>> {
        let one = |der: &[u8]| Ok(Self::Ca { anchors: Anchors::from_der(&[der])?, names: names.to_vec() });
        anchors.certificates().map(one).collect()
    }
}

impl Trusting {
    /// Of keys.
    pub fn keys(name: Name, keys: Vec<VerifyingKey>) -> Self {
        Self { name, what: keys.into_iter().map(Trust::Key).collect(), until: None, namespaces: Vec::new() }
    }

    /// As entries of a store.
    pub fn entries(&self) -> impl Iterator<Item = Signer> {
        let namespaces: BTreeSet<_> = self.namespaces.iter().cloned().collect();
        self.what.iter().map(move |trust| Signer {
            name: self.name.clone(),
            trust: trust.clone(),
            trusted_until: self.until,
            namespaces: namespaces.iter().cloned().collect(),
        })
    }

    /// Carries it out and says on which keys.
    ///
    /// # Errors
    /// `AlreadyExists` if a key or CA is another signer's, or if nothing would change; `InvalidArgument` for a revoked key, or
    /// if the store is full. The store may have changed then: change a copy.
    pub fn apply(&self, store: &mut Signers) -> Result<Vec<KeyId>> {
        if self.what.is_empty() {
            return Err(Error::new(ErrorId::InvalidArgument, "there is no key to trust"));
        }
        // Of the keys of one file some may be trusted already, as they are to be.
        let is_new = |entry: &Signer| !store.signers.iter().any(|s| s.name == entry.name && s.trust == entry.trust);
        let some_new = self.entries().any(|entry| is_new(&entry));
        let wanted: Vec<Signer> = self
            .entries()
            .filter(|entry| !some_new || is_new(entry) || self.until.is_some() || !self.namespaces.is_empty())
            .collect();
        for entry in wanted {
            if let Some(revoked) = entry.key_ids().iter().find_map(|id| store.revoked.iter().find(|r| r.key == *id)) {
                let text = format!("key {} was revoked on {}: {}", revoked.key, revoked.since, revoked.reason);
                return Err(Error::new(ErrorId::InvalidArgument, text)
                    .hint("a revocation is never taken back: trust another key of that signer"));
            }
            let changes = self.until.is_some() || !self.namespaces.is_empty();
            let known = store.signers.iter_mut().find(|s| s.name == entry.name && s.trust == entry.trust);
            match known {
                Some(known) if changes => {
                    known.trusted_until = entry.trusted_until.or(known.trusted_until);
                    if !entry.namespaces.is_empty() {
                        known.namespaces = entry.namespaces;
                    }
                }
                // The same key or CA under another name is refused there.
                _ => store.trust(entry).map_err(|e| match e.id() {
                    ErrorId::AlreadyExists => e.hint(
                        "vault key ls shows it; --until TIME sets its end, and vault key untrust NAME KEYID drops it",
                    ),
                    _ => e,
                })?,
            }
        }
        Ok(self.entries().flat_map(|entry| entry.key_ids()).collect())
    }
}

impl Untrusting {
    /// Carries it out and says on which keys.
    ///
    /// # Errors
    /// `NotFound` if the signer or its key is not there, `InvalidArgument` for an id or reason that breaks a rule.
    pub fn apply(&self, store: &mut Signers, now: Timestamp) -> Result<Vec<KeyId>> {
        // A key may be revoked that nobody trusts, or trusts any more: so that nobody will.
        let whole = self.key.as_ref().is_some_and(|key| key.len() == 64);
        if !(whole && self.revoke.is_some()) {
            store.entries(&self.name)?;
        }
        let meant = |id: &KeyId| self.key.as_ref().is_none_or(|prefix| id.to_string().starts_with(prefix));
        if let Some(prefix) = &self.key {
            let hex = prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if !hex || !matches!(prefix.len(), 16 | 64) {
                return Err(Error::new(ErrorId::InvalidArgument, format!("not a key id: {prefix:?}"))
                    .hint("key ids are 16 or 64 lower-case hex digits, as vault key ls shows them"));
            }
        }
        let drops = |signer: &Signer| signer.name == self.name && signer.key_ids().iter().any(meant);
        let (dropped, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut store.signers).into_iter().partition(|signer| drops(signer));
        store.signers = kept;
        let mut ids: BTreeSet<KeyId> = dropped.iter().flat_map(Signer::key_ids).filter(meant).collect();
        if let (Some(whole), Some(_)) = (self.key.as_ref().filter(|key| key.len() == 64), &self.revoke) {
            ids.insert(whole.parse()?);
        }
        if ids.is_empty() {
            let text = format!("{} has no key or CA {}", self.name, self.key.as_deref().unwrap_or_default());
            return Err(Error::new(ErrorId::NotFound, text).hint("vault key ls shows those there are"));
        }
        if let Some(reason) = &self.revoke {
            for &key in &ids {
                store.revoke(Revoked { key, since: now, reason: reason.clone() })?;
            }
        }
        Ok(ids.into_iter().collect())
    }
}

impl Signers {
    /// A store that believes nobody, and still knows who was revoked: for when it is not known what holds.
    #[must_use]
    pub fn revocations_alone(&self) -> Self {
        Self { signers: Vec::new(), revoked: self.revoked.clone() }
    }
}

/// Changes the store of a home without a vault, under the home's lock; the directory is made if it is missing.
///
/// # Errors
/// `Busy` if another process holds the home, or made a vault there; those of `change`, and then nothing was changed.
#[cfg(feature = "daemon")]
pub fn update(home: &crate::home::Home, change: impl FnOnce(&mut Signers) -> Result<Vec<KeyId>>) -> Result<Signers> {
    let _lock = home.lock_without_vault()?;
    let mut store = Signers::read(&home.signers_path())?;
    change(&mut store)?;
    store.write(&home.signers_path())?;
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SystemRandom;
    use crate::crypto::sign::{Algorithm, SigningKey};

    const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);
    const LATER: Timestamp = Timestamp::from_millis(1_795_305_600_001);

    fn key() -> VerifyingKey {
        SigningKey::generate(Algorithm::Ed25519, &SystemRandom).unwrap().public().clone()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn untrust(store: &mut Signers, who: &str, key: Option<&str>, revoke: Option<&str>) -> Result<Vec<KeyId>> {
        let [key, revoke] = [key, revoke].map(|text| text.map(str::to_owned));
        Untrusting { name: name(who), key, revoke }.apply(store, NOW)
    }

    #[test]
    fn a_key_is_rotated_by_an_end_for_the_old_one_and_a_second_key() {
        let (old, new) = (key(), key());
        let mut store = Signers::default();
        Trusting::keys(name("alice"), vec![old.clone()]).apply(&mut store).unwrap();
        let again = Trusting::keys(name("alice"), vec![old.clone()]);
        assert_eq!(again.apply(&mut store).unwrap_err().id(), ErrorId::AlreadyExists);
        Trusting { until: Some(LATER), ..again }.apply(&mut store).unwrap();
        Trusting::keys(name("alice"), vec![new.clone()]).apply(&mut store).unwrap();
        let believed = |at| store.keys(at).map(|(_, key)| key.clone()).collect::<Vec<_>>();
        assert_eq!((believed(NOW), believed(LATER)), (vec![old.clone(), new.clone()], vec![new.clone()]));
        let other = Trusting { until: Some(LATER), ..Trusting::keys(name("bob"), vec![new]) };
        assert_eq!(other.apply(&mut store.clone()).unwrap_err().id(), ErrorId::AlreadyExists, "one key has one name");
        assert_eq!(store.signers().len(), 2);
    }

    #[test]
    fn a_namespace_limit_holds_for_keys_by_id_and_is_changed_only_when_one_is_given() {
        let key = key();
        let mut store = Signers::default();
        let trusting = Trusting::keys(name("alice"), vec![key.clone()]);
        Trusting { namespaces: vec![name("prod"), name("prod")], ..trusting.clone() }.apply(&mut store).unwrap();
        Trusting { until: Some(LATER), ..trusting.clone() }.apply(&mut store).unwrap();
        assert_eq!(store.signers()[0].namespaces, [name("prod")]);
        let of = |store: &Signers, namespace| {
            let found = store.of_key_id(&key.key_id(), &name(namespace), NOW).map(|signer| signer.name.clone());
            found.map_err(|e| e.details()[0].1.clone())
        };
        assert_eq!(of(&store, "prod"), Ok(name("alice")));
        assert_eq!(of(&store, "test"), Err("namespace".into()));
        assert_eq!((store.keys_in(&name("prod"), NOW).count(), store.keys_in(&name("test"), NOW).count()), (1, 0));
        Trusting { namespaces: vec![name("test")], ..trusting }.apply(&mut store).unwrap();
        assert_eq!((of(&store, "test"), of(&store, "prod")), (Ok(name("alice")), Err("namespace".into())));
        assert_eq!(store.signers()[0].trusted_until, Some(LATER));
        assert_eq!(Signers::parse(store.to_json().as_bytes()).unwrap(), store);
    }

    #[test]
    fn one_key_is_dropped_or_all_and_a_revoked_one_is_never_trusted_again() {
        let (one, two, certified) = (key(), key(), key().key_id().to_string());
        let mut store = Signers::default();
        Trusting::keys(name("alice"), vec![one.clone(), two.clone()]).apply(&mut store).unwrap();
        let id = |key: &VerifyingKey| key.key_id().to_string();
        for (who, key, error) in [
            ("bob", None, ErrorId::NotFound),
            ("alice", Some("0000000000000000"), ErrorId::NotFound),
            ("alice", Some("0"), ErrorId::InvalidArgument),
            ("alice", Some("XXXXXXXXXXXXXXXX"), ErrorId::InvalidArgument),
            ("alice", Some(&*certified), ErrorId::NotFound),
        ] {
            assert_eq!(untrust(&mut store.clone(), who, key, None).unwrap_err().id(), error, "{who} {key:?}");
        }
        untrust(&mut store, "alice", Some(&id(&one)[..16]), Some("laptop stolen")).unwrap();
        assert_eq!(store.keys(NOW).map(|(_, key)| key).collect::<Vec<_>>(), [&two]);
        assert_eq!((store.revoked().len(), store.revoked()[0].key), (1, one.key_id()));
        let refused = Trusting::keys(name("carol"), vec![one]).apply(&mut store).unwrap_err();
        assert!(refused.id() == ErrorId::InvalidArgument && refused.message().contains("laptop stolen"));
        // A key that stands nowhere: the store knows its CA at most.
        untrust(&mut store, "alice", Some(&certified), Some("left")).unwrap();
        assert!(store.check_revoked(&certified.parse().unwrap(), NOW).is_err());
        untrust(&mut store, "alice", None, None).unwrap();
        assert_eq!((store.signers().len(), store.revoked().len()), (0, 2));
        assert_eq!(store.revocations_alone(), store);
    }
}
