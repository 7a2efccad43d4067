//! Custody of the vault's keys (docs/trust.md, section 1): the root secret opens one sealed file, the keyring; the keyring
//! holds every namespace's KEKs and the signing identities; a KEK wraps the artifact keys.
//!
//! Nothing here stores artifact keys: [`Keyring::wrap_artifact_key`] gives bytes for a row of keys.db, bound to that row.

mod custody;
mod file;

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

pub use custody::{Credential, CustodyError, KeyFile, RootCustody};
pub use file::{KEYRING_MAX, KeyringFileError};

use crate::crypto::keys::{ArtifactKey, CatalogueKey, Key, NamespaceKek};
use crate::crypto::sign::{Identity, SigningIdentity};
use crate::crypto::wrap::{self, WRAP_LEN};
use crate::error::{Error, ErrorId};
use crate::names::{KekId, Name, NamespaceId, Random, VaultId, VersionId};

/// Domain of the wraps of artifact keys.
const ARTIFACT_KEY_LABEL: &[u8] = b"modelvault.keyring/v1/artifact-key";

/// Namespaces of one vault.
pub const NAMESPACES_MAX: usize = 4096;
/// Versions of one KEK that are kept. Rotation past it asks to finish rewrapping first.
pub const KEK_VERSIONS_MAX: usize = 256;
/// Publisher keys of one vault.
pub const PUBLISHERS_MAX: usize = 4096;
/// Bytes of the CA's private key and of its certificate, each.
pub const CA_PART_MAX: usize = 64 << 10;

/// All keys of an unsealed vault. Prints no secret.
///
/// To change it so that no key is used before it is durable: change a clone, [`save`](Self::save) that, then put it in place.
#[derive(Clone, Debug)]
pub struct Keyring {
    vault: VaultId,
    catalogue: Key<CatalogueKey>,
    audit: SigningIdentity,
    ca: Option<CertificateAuthority>,
    namespaces: BTreeMap<NamespaceId, NamespaceKeys>,
    publishers: BTreeMap<Name, Identity>,
}

/// Why the keyring refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// No such namespace.
    #[error("no keys for namespace {0}")]
    NoNamespace(NamespaceId),
    /// The namespace has no such KEK version: dropped, or the keyring is older than the row.
    #[error("namespace {namespace} has no key-encryption key of version {version}")]
    NoKek {
        /// Whose.
        namespace: NamespaceId,
        /// Which.
        version: u32,
    },
    /// The current KEK version cannot be dropped.
    #[error("version {0} is the current key-encryption key")]
    CurrentKek(u32),
    /// Id or name is taken.
    #[error("{0} exists already")]
    Exists(String),
    /// No identity of that name.
    #[error("no identity {0}")]
    NoPublisher(Name),
    /// A limit of this room.
    #[error("the keyring holds at most {max} {what}")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many.
        max: usize,
    },
    /// A wrapped artifact key, or the row it belongs to, was altered.
    #[error("the wrapped key of version {0} does not open: its row was altered")]
    WrapDamaged(VersionId),
    /// Randomness failed.
    #[error(transparent)]
    Random(Error),
}

impl From<KeyringError> for Error {
    fn from(e: KeyringError) -> Self {
        use KeyringError as K;
        let id = match &e {
            K::Random(_) => ErrorId::Internal,
            K::NoNamespace(_) | K::NoPublisher(_) => ErrorId::NotFound,
            // Rows outlive no KEK version they use, so one of the two was exchanged.
            K::NoKek { .. } => ErrorId::KeyringDamaged,
            K::CurrentKek(_) | K::Full { .. } => ErrorId::InvalidArgument,
            K::Exists(_) => ErrorId::AlreadyExists,
            K::WrapDamaged(_) => ErrorId::CatalogueDamaged,
        };
        match e {
            K::Random(inner) => inner,
            e => Self::new(id, e.to_string()),
        }
    }
}

/// The keys of one namespace.
#[derive(Clone, Debug)]
pub struct NamespaceKeys {
    name: Name,
    identity: SigningIdentity,
    current: u32,
    keks: BTreeMap<u32, Key<NamespaceKek>>,
}

impl NamespaceKeys {
    /// Its name when it was added.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Signs in the namespace's name where no publisher key is given.
    pub fn identity(&self) -> &SigningIdentity {
        &self.identity
    }

    /// The KEK version that new wraps use.
    pub fn current_kek(&self) -> u32 {
        self.current
    }

    /// All KEK versions that rows may still use, ascending.
    pub fn kek_versions(&self) -> impl Iterator<Item = u32> {
        self.keks.keys().copied()
    }
}

/// The embedded CA, opaque here: `identity` makes and reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateAuthority {
    /// PKCS #8, DER.
    pub private_key: Zeroizing<Vec<u8>>,
    /// X.509, DER; public.
    pub certificate: Vec<u8>,
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("private_key", &"REDACTED")
            .field("certificate_len", &self.certificate.len())
            .finish()
    }
}

/// The row an artifact key belongs to. All of it is bound into the wrap, so a wrap moved to another row does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtifactKeyContext {
    /// Id of the artifact key: FORMAT's `kek_id` in the slot.
    pub key: KekId,
    /// Its version: FORMAT's `kek_version`.
    pub key_version: u32,
    /// The artifact version it opens.
    pub version: VersionId,
}

/// An artifact key under a namespace's KEK, as stored in keys.db.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Version of the namespace's KEK.
    pub kek_version: u32,
    /// Fresh for each wrap.
    pub salt: [u8; 32],
    /// Commitment, ciphertext, tag.
    pub wrapped: [u8; WRAP_LEN],
}

impl Keyring {
    /// The keyring of a new vault: a catalogue key and an audit identity, no namespace yet.
    pub fn create(vault: VaultId, random: &dyn Random) -> Result<Self, KeyringError> {
        Ok(Self {
            vault,
            catalogue: Key::generate(random).map_err(KeyringError::Random)?,
            audit: SigningIdentity::generate(random).map_err(KeyringError::Random)?,
            ca: None,
            namespaces: BTreeMap::new(),
            publishers: BTreeMap::new(),
        })
    }

    /// The vault it belongs to.
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// Authenticates rows of the catalogue.
    pub fn catalogue_key(&self) -> &Key<CatalogueKey> {
        &self.catalogue
    }

    /// Signs checkpoints of the audit log.
    pub fn audit_identity(&self) -> &SigningIdentity {
        &self.audit
    }

    /// The embedded CA, once it was made.
    pub fn ca(&self) -> Option<&CertificateAuthority> {
        self.ca.as_ref()
    }

    /// Puts the CA in, or another in its place.
    pub fn set_ca(&mut self, ca: CertificateAuthority) -> Result<(), KeyringError> {
        if ca.private_key.len().max(ca.certificate.len()) > CA_PART_MAX {
            return Err(KeyringError::Full { what: "bytes of a CA's key or certificate", max: CA_PART_MAX });
        }
        self.ca = Some(ca);
        Ok(())
    }

    /// Makes the keys of a namespace: an identity, and KEK version 1.
    pub fn add_namespace(
        &mut self,
        id: NamespaceId,
        name: Name,
        random: &dyn Random,
    ) -> Result<&NamespaceKeys, KeyringError> {
        if self.namespaces.contains_key(&id) || self.namespace_named(&name).is_some() {
            return Err(KeyringError::Exists(format!("namespace {name}")));
        }
        if self.namespaces.len() >= NAMESPACES_MAX {
            return Err(KeyringError::Full { what: "namespaces", max: NAMESPACES_MAX });
        }
        let kek = Key::generate(random).map_err(KeyringError::Random)?;
        let identity = SigningIdentity::generate(random).map_err(KeyringError::Random)?;
        let keys = NamespaceKeys { name, identity, current: 1, keks: BTreeMap::from([(1, kek)]) };
        Ok(self.namespaces.entry(id).or_insert(keys))
    }

    /// The keys of a namespace.
    pub fn namespace(&self, id: NamespaceId) -> Result<&NamespaceKeys, KeyringError> {
        self.namespaces.get(&id).ok_or(KeyringError::NoNamespace(id))
    }

    /// The namespace of that name.
    pub fn namespace_named(&self, name: &Name) -> Option<(NamespaceId, &NamespaceKeys)> {
        self.namespaces().find(|(_, keys)| keys.name == *name)
    }

    /// All namespaces, by id.
    pub fn namespaces(&self) -> impl Iterator<Item = (NamespaceId, &NamespaceKeys)> {
        self.namespaces.iter().map(|(id, keys)| (*id, keys))
    }

    /// Makes a new KEK version and the current one of it. Rows stay readable under the old version until they are
    /// [rewrapped](Self::rewrap_artifact_key) and it is dropped. Returns the new version; save the keyring before using it.
    pub fn rotate_kek(&mut self, namespace: NamespaceId, random: &dyn Random) -> Result<u32, KeyringError> {
        let full = KeyringError::Full { what: "versions of a key-encryption key", max: KEK_VERSIONS_MAX };
        let keys = self.namespaces.get_mut(&namespace).ok_or(KeyringError::NoNamespace(namespace))?;
        // The current version is the highest ever made, so a number is never used for two keys.
        let Some(next) = keys.current.checked_add(1).filter(|_| keys.keks.len() < KEK_VERSIONS_MAX) else {
            return Err(full);
        };
        keys.keks.insert(next, Key::generate(random).map_err(KeyringError::Random)?);
        keys.current = next;
        Ok(next)
    }

    /// Forgets an old KEK version: what is still wrapped under it can never be opened again.
    pub fn drop_kek(&mut self, namespace: NamespaceId, version: u32) -> Result<(), KeyringError> {
        let keys = self.namespaces.get_mut(&namespace).ok_or(KeyringError::NoNamespace(namespace))?;
        if version == keys.current {
            return Err(KeyringError::CurrentKek(version));
        }
        keys.keks.remove(&version).map(drop).ok_or(KeyringError::NoKek { namespace, version })
    }

    /// Wraps an artifact key under the namespace's current KEK, bound to its row.
    pub fn wrap_artifact_key(
        &self,
        namespace: NamespaceId,
        key: &Key<ArtifactKey>,
        context: &ArtifactKeyContext,
        random: &dyn Random,
    ) -> Result<WrappedKey, KeyringError> {
        let kek_version = self.namespace(namespace)?.current;
        let mut salt = [0; 32];
        random.fill(&mut salt).map_err(KeyringError::Random)?;
        let ids = self.bound_ids(namespace, kek_version, context);
        let wrapped = wrap::wrap(self.kek(namespace, kek_version)?, &salt, &[ARTIFACT_KEY_LABEL, &ids], &[&ids], key);
        Ok(WrappedKey { kek_version, salt, wrapped })
    }

    /// Opens a wrapped artifact key.
    ///
    /// # Errors
    /// `WrapDamaged` if wrap or context differ in one bit from what was wrapped; `NoKek` if the version is not held.
    pub fn unwrap_artifact_key(
        &self,
        namespace: NamespaceId,
        wrapped: &WrappedKey,
        context: &ArtifactKeyContext,
    ) -> Result<Key<ArtifactKey>, KeyringError> {
        let kek = self.kek(namespace, wrapped.kek_version)?;
        let ids = self.bound_ids(namespace, wrapped.kek_version, context);
        wrap::unwrap(kek, &wrapped.salt, &[ARTIFACT_KEY_LABEL, &ids], &[&ids], &wrapped.wrapped)
            .map_err(|_| KeyringError::WrapDamaged(context.version))
    }

    /// The same artifact key under the current KEK; `None` if it is under that already.
    pub fn rewrap_artifact_key(
        &self,
        namespace: NamespaceId,
        wrapped: &WrappedKey,
        context: &ArtifactKeyContext,
        random: &dyn Random,
    ) -> Result<Option<WrappedKey>, KeyringError> {
        if wrapped.kek_version == self.namespace(namespace)?.current {
            return Ok(None);
        }
        let key = self.unwrap_artifact_key(namespace, wrapped, context)?;
        self.wrap_artifact_key(namespace, &key, context, random).map(Some)
    }

    /// Makes a publisher's identity (`vault key new`); `pq`: with an ML-DSA-65 key.
    pub fn add_publisher(&mut self, name: Name, pq: bool, random: &dyn Random) -> Result<&Identity, KeyringError> {
        if self.publishers.contains_key(&name) {
            return Err(KeyringError::Exists(format!("identity {name}")));
        }
        if self.publishers.len() >= PUBLISHERS_MAX {
            return Err(KeyringError::Full { what: "publisher keys", max: PUBLISHERS_MAX });
        }
        let identity = Identity::generate(pq, random).map_err(KeyringError::Random)?;
        Ok(self.publishers.entry(name).or_insert(identity))
    }

    /// The identity of that name.
    pub fn publisher(&self, name: &Name) -> Result<&Identity, KeyringError> {
        self.publishers.get(name).ok_or_else(|| KeyringError::NoPublisher(name.clone()))
    }

    /// All identities, by name.
    pub fn publishers(&self) -> impl Iterator<Item = (&Name, &Identity)> {
        self.publishers.iter()
    }

    fn kek(&self, namespace: NamespaceId, version: u32) -> Result<&Key<NamespaceKek>, KeyringError> {
        self.namespace(namespace)?.keks.get(&version).ok_or(KeyringError::NoKek { namespace, version })
    }

    /// `vault ‖ namespace ‖ u32 kek_version ‖ key ‖ u32 key_version ‖ version`, all of fixed length.
    fn bound_ids(&self, namespace: NamespaceId, kek_version: u32, context: &ArtifactKeyContext) -> Vec<u8> {
        [
            &self.vault.0[..],
            &namespace.0,
            &kek_version.to_be_bytes(),
            &context.key.0,
            &context.key_version.to_be_bytes(),
            &context.version.0,
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SystemRandom;

    const NS: NamespaceId = NamespaceId([1; 16]);
    const CONTEXT: ArtifactKeyContext =
        ArtifactKeyContext { key: KekId([2; 16]), key_version: 1, version: VersionId([3; 16]) };

    fn keyring() -> Keyring {
        let mut keyring = Keyring::create(VaultId([9; 16]), &SystemRandom).unwrap();
        keyring.add_namespace(NS, "default".parse().unwrap(), &SystemRandom).unwrap();
        keyring
    }

    #[test]
    fn a_wrapped_key_opens_in_its_row_and_in_no_other() {
        let mut keyring = keyring();
        let other = NamespaceId([4; 16]);
        keyring.add_namespace(other, "other".parse().unwrap(), &SystemRandom).unwrap();
        let key = Key::generate(&SystemRandom).unwrap();
        let wrapped = keyring.wrap_artifact_key(NS, &key, &CONTEXT, &SystemRandom).unwrap();
        assert_eq!(keyring.unwrap_artifact_key(NS, &wrapped, &CONTEXT).unwrap(), key);
        for context in [
            ArtifactKeyContext { key: KekId([0; 16]), ..CONTEXT },
            ArtifactKeyContext { key_version: 2, ..CONTEXT },
            ArtifactKeyContext { version: VersionId([0; 16]), ..CONTEXT },
        ] {
            let refused = keyring.unwrap_artifact_key(NS, &wrapped, &context);
            assert!(matches!(refused, Err(KeyringError::WrapDamaged(_))));
        }
        assert!(matches!(keyring.unwrap_artifact_key(other, &wrapped, &CONTEXT), Err(KeyringError::WrapDamaged(_))));
        for bit in 0..8 * WRAP_LEN {
            let mut altered = wrapped.clone();
            altered.wrapped[bit / 8] ^= 1 << (bit % 8);
            assert!(keyring.unwrap_artifact_key(NS, &altered, &CONTEXT).is_err(), "bit {bit}");
        }
        let again = keyring.wrap_artifact_key(NS, &key, &CONTEXT, &SystemRandom).unwrap();
        assert_ne!(again.salt, wrapped.salt);
    }

    #[test]
    fn rotation_keeps_old_rows_readable_until_the_old_version_is_dropped() {
        let mut keyring = keyring();
        let key = Key::generate(&SystemRandom).unwrap();
        let old = keyring.wrap_artifact_key(NS, &key, &CONTEXT, &SystemRandom).unwrap();
        assert_eq!(keyring.rewrap_artifact_key(NS, &old, &CONTEXT, &SystemRandom).unwrap(), None);
        assert_eq!(keyring.rotate_kek(NS, &SystemRandom).unwrap(), 2);
        assert_eq!(keyring.unwrap_artifact_key(NS, &old, &CONTEXT).unwrap(), key);
        let new = keyring.rewrap_artifact_key(NS, &old, &CONTEXT, &SystemRandom).unwrap().unwrap();
        assert_eq!(new.kek_version, 2);
        assert!(matches!(keyring.drop_kek(NS, 2), Err(KeyringError::CurrentKek(2))));
        keyring.drop_kek(NS, 1).unwrap();
        assert!(matches!(keyring.drop_kek(NS, 1), Err(KeyringError::NoKek { version: 1, .. })));
        assert!(matches!(keyring.unwrap_artifact_key(NS, &old, &CONTEXT), Err(KeyringError::NoKek { version: 1, .. })));
        assert_eq!(keyring.unwrap_artifact_key(NS, &new, &CONTEXT).unwrap(), key);
        // A version pretended to be another is another context.
        let pretended = WrappedKey { kek_version: 2, ..old };
        assert!(keyring.unwrap_artifact_key(NS, &pretended, &CONTEXT).is_err());
    }

    #[test]
    fn names_and_ids_are_taken_once_and_limits_hold() {
        let mut keyring = keyring();
        let add = |k: &mut Keyring, id: u8, name: &str| {
            k.add_namespace(NamespaceId([id; 16]), name.parse().unwrap(), &SystemRandom).map(drop)
        };
        assert!(matches!(add(&mut keyring, 1, "new"), Err(KeyringError::Exists(_))));
        assert!(matches!(add(&mut keyring, 5, "default"), Err(KeyringError::Exists(_))));
        assert!(matches!(keyring.namespace(NamespaceId([5; 16])), Err(KeyringError::NoNamespace(_))));
        for _ in 1..KEK_VERSIONS_MAX {
            keyring.rotate_kek(NS, &SystemRandom).unwrap();
        }
        assert!(matches!(keyring.rotate_kek(NS, &SystemRandom), Err(KeyringError::Full { .. })));
        keyring.drop_kek(NS, 7).unwrap();
        assert_eq!(keyring.rotate_kek(NS, &SystemRandom).unwrap() as usize, KEK_VERSIONS_MAX + 1);
        let name: Name = "ci".parse().unwrap();
        let ids = keyring.add_publisher(name.clone(), true, &SystemRandom).unwrap().public().unwrap();
        assert_eq!((keyring.publisher(&name).unwrap().public().unwrap(), ids.len()), (ids, 3));
        assert!(matches!(keyring.add_publisher(name, false, &SystemRandom), Err(KeyringError::Exists(_))));
        let large = CertificateAuthority { private_key: Zeroizing::new(vec![0; CA_PART_MAX + 1]), certificate: vec![] };
        assert!(keyring.set_ca(large).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut keyring = keyring();
        let private_key = Zeroizing::new(b"CA private key".to_vec());
        keyring.set_ca(CertificateAuthority { private_key, certificate: vec![] }).unwrap();
        let text = format!("{keyring:?}");
        let keys = keyring.namespace(NS).unwrap();
        let secrets = [
            keyring.catalogue.expose(),
            keyring.audit.seed().expose(),
            keys.identity.seed().expose(),
            keys.keks[&1].expose(),
        ];
        for secret in secrets {
            assert!(!text.contains(&hex::encode(*secret)) && !text.contains(&format!("{:?}", *secret)));
        }
        assert!(!text.contains(&format!("{:?}", b"CA private key")));
        assert!(text.contains("REDACTED"));
    }
}
