//! `keyring.bin`: the keyring sealed under the root secret.
//!
//! All integers are big-endian; `‖` is concatenation; nothing precedes or follows.
//!
//! | offset | size | field | value |
//! |---|---|---|---|
//! | 0 | 8 | magic | `89 4D 56 4B 52 0D 0A 1A` |
//! | 8 | 2 | version | 1 |
//! | 10 | 2 | reserved | zero |
//! | 12 | 4 | body_len | n, 1..16777216 |
//! | 16 | 16 | vault | the vault's id |
//! | 32 | 32 | salt | random, fresh for every write |
//! | 64 | 80 | wrap | wrap80 (docs/format.md 4.1) of the body key under the root secret |
//! | 144 | n | body | AES-256-GCM under the body key, nonce zero, AAD = bytes 0..144 |
//! | 144+n | 16 | tag | |
//!
//! The body key is fresh for every write, so its one nonce is used once. The wrap has
//! `info = "modelvault.keyring/v1/body" ‖ bytes 0..64` and AAD = bytes 0..64: every byte of the file is authenticated.
//!
//! Body, before encryption:
//! ```text
//! u16 version: 1, or 2 if a publisher has more than an Ed25519 key
//! catalogue key (32) ‖ audit seed (32)
//! u8 has_ca (0 or 1); if 1: u32 len ‖ PKCS #8 key ‖ u32 len ‖ certificate
//! u32 count ‖ namespaces, ascending by id:
//!     id (16) ‖ u8 len ‖ name ‖ identity seed (32) ‖ u32 current ‖ u32 count ‖ KEKs, ascending: u32 version ‖ key (32)
//! u32 count ‖ publishers, ascending by name: u8 len ‖ name ‖ Ed25519 seed (32)
//!     in version 2 also: u8 further (1: P-256, 2: ML-DSA-65, 3: both) ‖ P-256 number (32, if any) ‖ ML-DSA-65 seed (32, if any)
//! ```
//! A keyring that needs no version 2 is written as version 1, which every release reads.
//! One content has one encoding. The highest KEK version of a namespace is its current one.
//!
//! Changing the root secret is writing the file under another. An older keyring.bin put back is not found here: rows under
//! newer KEK versions then fail to open.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::{
    CA_PART_MAX, CertificateAuthority, KEK_VERSIONS_MAX, Keyring, NAMESPACES_MAX, NamespaceKeys, PUBLISHERS_MAX,
};
use crate::crypto::aead::{TAG_LEN, wrap_cipher};
use crate::crypto::keys::{Key, KeyringBody, Purpose, RootSecret};
use crate::crypto::sign::{Identity, SigningIdentity};
use crate::crypto::wrap::{self, WRAP_LEN};
use crate::error::{Error, ErrorId};
use crate::home::{read_bounded, replace_file};
use crate::names::{Name, NamespaceId, Random, VaultId};

const MAGIC: [u8; 8] = [0x89, b'M', b'V', b'K', b'R', 0x0d, 0x0a, 0x1a];
const VERSION: u16 = 1;
const BODY_VERSION: u16 = 1;
const BODY_WITH_IDENTITIES: u16 = 2;
const HAS_P256: u8 = 1;
const HAS_ML_DSA: u8 = 2;
const BODY_KEY_LABEL: &[u8] = b"modelvault.keyring/v1/body";
/// Magic, version, reserved, body_len, vault, salt: what the wrap authenticates.
const WRAP_AT: usize = 64;
const BODY_AT: usize = WRAP_AT + WRAP_LEN;
const BODY_MAX: usize = 16 << 20;

/// Largest keyring.bin that is read, in bytes.
pub const KEYRING_MAX: u64 = (BODY_AT + BODY_MAX + TAG_LEN) as u64;

/// Why keyring.bin did not open or was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringFileError {
    /// Another root secret, or an altered salt or wrap: the two cannot be told apart, by design.
    #[error("the passphrase or key does not open this vault's keyring")]
    WrongRoot,
    /// The file breaks a rule or does not authenticate.
    #[error("the keyring is damaged: {0}")]
    Damaged(&'static str),
    /// Written by a newer release.
    #[error("the keyring has version {0}, of a newer release")]
    Newer(u16),
    /// More keys than a file holds.
    #[error("the keyring is too large to be written")]
    TooLarge,
    /// Randomness failed.
    #[error(transparent)]
    Random(Error),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<KeyringFileError> for Error {
    fn from(e: KeyringFileError) -> Self {
        use KeyringFileError as F;
        let text = e.to_string();
        match e {
            F::WrongRoot => Self::new(ErrorId::BadCredential, text)
                .hint("check the passphrase or key file; if it is right, restore keyring.bin from a backup"),
            F::Damaged(_) => Self::new(ErrorId::KeyringDamaged, text),
            F::Newer(_) => Self::new(ErrorId::UnsupportedVersion, text).hint("use a newer release of Model Vault"),
            F::TooLarge => Self::new(ErrorId::InvalidArgument, text).hint("drop key-encryption keys that no row uses"),
            F::Random(inner) => inner,
            F::Io(source) => Self::from(source),
        }
    }
}

fn named(path: &Path, e: &io::Error) -> KeyringFileError {
    KeyringFileError::Io(io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

impl Keyring {
    /// Opens the keyring of `vault` at `path`.
    ///
    /// # Errors
    /// `WrongRoot` if the root secret does not fit; `Damaged` if it fits but the rest does not, or the file is another
    /// vault's.
    pub fn open(path: &Path, root: &Key<RootSecret>, vault: VaultId) -> Result<Self, KeyringFileError> {
        let bytes = read_bounded(path, KEYRING_MAX).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => KeyringFileError::Damaged("it is larger than any keyring"),
            io::ErrorKind::NotFound => KeyringFileError::Damaged("keyring.bin is missing"),
            _ => named(path, &e),
        })?;
        unseal(&bytes, root, vault)
    }

    /// Writes the keyring under `root`, atomically and durably. Writing it under another root secret changes the custody.
    ///
    /// # Errors
    /// The old file is intact then.
    pub fn save(&self, path: &Path, root: &Key<RootSecret>, random: &dyn Random) -> Result<(), KeyringFileError> {
        replace_file(path, &self.seal(root, random)?).map_err(|e| named(path, &e))
    }

    fn seal(&self, root: &Key<RootSecret>, random: &dyn Random) -> Result<Vec<u8>, KeyringFileError> {
        let mut body = encode(self);
        if body.len() > BODY_MAX {
            return Err(KeyringFileError::TooLarge);
        }
        let mut salt = [0; 32];
        random.fill(&mut salt).map_err(KeyringFileError::Random)?;
        let body_key = Key::<KeyringBody>::generate(random).map_err(KeyringFileError::Random)?;
        let mut file = Vec::with_capacity(BODY_AT + body.len() + TAG_LEN);
        file.extend_from_slice(&MAGIC);
        file.extend_from_slice(&VERSION.to_be_bytes());
        file.extend_from_slice(&[0; 2]);
        file.extend_from_slice(&u32::try_from(body.len()).expect("at most BODY_MAX").to_be_bytes());
        file.extend_from_slice(&self.vault.0);
        file.extend_from_slice(&salt);
        let wrapped = wrap::wrap(root, &salt, &[BODY_KEY_LABEL, &file], &[&file], &body_key);
        file.extend_from_slice(&wrapped);
        let tag = wrap_cipher(&body_key.expose()).seal(&[0; 12], &file, &mut body);
        file.extend_from_slice(&body);
        file.extend_from_slice(&tag);
        Ok(file)
    }
}

fn unseal(file: &[u8], root: &Key<RootSecret>, vault: VaultId) -> Result<Keyring, KeyringFileError> {
    use KeyringFileError::Damaged;
    let mut header = Fields(file);
    if header.array::<8>().ok() != Some(MAGIC) {
        return Err(Damaged("it is not a keyring"));
    }
    match header.u16()? {
        VERSION => {}
        0 => return Err(Damaged("it has no version")),
        newer => return Err(KeyringFileError::Newer(newer)),
    }
    if header.u16()? != 0 {
        return Err(Damaged("a reserved field is not zero"));
    }
    let body_len = header.u32()? as usize;
    if body_len == 0 || body_len > BODY_MAX || file.len() != BODY_AT + body_len + TAG_LEN {
        return Err(Damaged("its length is not what it says"));
    }
    let of_vault = VaultId(header.array()?);
    let salt = header.array::<32>()?;
    let wrapped = header.array::<WRAP_LEN>()?;
    let bound = &file[..WRAP_AT];
    let body_key: Key<KeyringBody> = wrap::unwrap(root, &salt, &[BODY_KEY_LABEL, bound], &[bound], &wrapped)
        .map_err(|_| KeyringFileError::WrongRoot)?;
    // After the wrap, so that an id flipped on disk is told as what it is: damage under the root secret's own seal.
    if of_vault != vault {
        return Err(Damaged("it belongs to another vault"));
    }
    let mut body = Zeroizing::new(header.take(body_len)?.to_vec());
    let tag = header.array::<TAG_LEN>()?;
    wrap_cipher(&body_key.expose())
        .open(&[0; 12], &file[..BODY_AT], &mut body, &tag)
        .map_err(|_| Damaged("its body does not authenticate"))?;
    decode(&body, vault)
}

/// The body in the clear. The buffer has its final size from the start: growing would leave copies of keys behind.
fn encode(keyring: &Keyring) -> Zeroizing<Vec<u8>> {
    let mut len = Counted(0);
    write_body(keyring, &mut len);
    let mut body = Zeroizing::new(Vec::with_capacity(len.0));
    write_body(keyring, &mut *body);
    assert_eq!(body.len(), len.0, "both passes write the same fields");
    body
}

/// Where the fields of the body go: counted first, then written.
trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn put_u32(&mut self, n: u32) {
        self.put(&n.to_be_bytes());
    }

    fn put_count(&mut self, n: usize) {
        self.put_u32(u32::try_from(n).expect("counts and lengths are limited where they grow"));
    }

    fn put_name(&mut self, name: &Name) {
        let text = name.as_str().as_bytes();
        self.put(&[u8::try_from(text.len()).expect("names have at most 64 bytes")]);
        self.put(text);
    }

    fn put_key<P: Purpose>(&mut self, key: &Key<P>) {
        self.put(&*key.expose());
    }
}

struct Counted(usize);

impl Sink for Counted {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

fn write_body(keyring: &Keyring, out: &mut impl Sink) {
    let further = |identity: &Identity| matches!(identity.further_seeds(), (Some(_), _) | (_, Some(_)));
    let composite = keyring.publishers.values().any(further);
    out.put(&(if composite { BODY_WITH_IDENTITIES } else { BODY_VERSION }).to_be_bytes());
    out.put_key(&keyring.catalogue);
    out.put_key(keyring.audit.seed());
    out.put(&[u8::from(keyring.ca.is_some())]);
    if let Some(ca) = &keyring.ca {
        for part in [&*ca.private_key, &ca.certificate] {
            out.put_count(part.len());
            out.put(part);
        }
    }
    out.put_count(keyring.namespaces.len());
    for (id, keys) in &keyring.namespaces {
        out.put(&id.0);
        out.put_name(&keys.name);
        out.put_key(keys.identity.seed());
        out.put_u32(keys.current);
        out.put_count(keys.keks.len());
        for (version, kek) in &keys.keks {
            out.put_u32(*version);
            out.put_key(kek);
        }
    }
    out.put_count(keyring.publishers.len());
    for (name, identity) in &keyring.publishers {
        out.put_name(name);
        out.put_key(identity.ed25519().seed());
        if composite {
            let (p256, ml_dsa) = identity.further_seeds();
            out.put(&[p256.map_or(0, |_| HAS_P256) | ml_dsa.map_or(0, |_| HAS_ML_DSA)]);
            [p256, ml_dsa].into_iter().flatten().for_each(|seed| out.put_key(seed));
        }
    }
}

/// Reads the body. It is authentic; a rule broken all the same means that a faulty release wrote it, so nothing is guessed.
fn decode(body: &[u8], vault: VaultId) -> Result<Keyring, KeyringFileError> {
    use KeyringFileError::Damaged;
    let mut fields = Fields(body);
    let composite = match fields.u16()? {
        BODY_VERSION => false,
        BODY_WITH_IDENTITIES => true,
        newer => return Err(KeyringFileError::Newer(newer)),
    };
    let catalogue = fields.key()?;
    let audit = SigningIdentity::from_seed(fields.key()?);
    let ca = match fields.array::<1>()? {
        [0] => None,
        [1] => Some(CertificateAuthority {
            private_key: Zeroizing::new(fields.ca_part()?.to_vec()),
            certificate: fields.ca_part()?.to_vec(),
        }),
        _ => return Err(Damaged("a flag is neither 0 nor 1")),
    };
    let mut namespaces = BTreeMap::new();
    for _ in 0..fields.count(NAMESPACES_MAX)? {
        let id = NamespaceId(fields.array()?);
        ascending(&namespaces, &id)?;
        namespaces.insert(id, fields.namespace()?);
    }
    let mut publishers = BTreeMap::new();
    for _ in 0..fields.count(PUBLISHERS_MAX)? {
        let name = fields.name()?;
        ascending(&publishers, &name)?;
        publishers.insert(name, fields.identity(composite)?);
    }
    // One content has one encoding.
    if composite && publishers.values().all(|identity: &Identity| matches!(identity.further_seeds(), (None, None))) {
        return Err(Damaged("its version is higher than it needs"));
    }
    if !fields.0.is_empty() {
        return Err(Damaged("something follows its last key"));
    }
    Ok(Keyring { vault, catalogue, audit, ca, namespaces, publishers })
}

fn ascending<K: Ord, V>(so_far: &BTreeMap<K, V>, next: &K) -> Result<(), KeyringFileError> {
    match so_far.last_key_value() {
        Some((last, _)) if last >= next => Err(KeyringFileError::Damaged("its keys are not in order")),
        _ => Ok(()),
    }
}

/// Fields read from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], KeyringFileError> {
        let (field, rest) = self.0.split_at_checked(len).ok_or(KeyringFileError::Damaged("it is cut short"))?;
        self.0 = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], KeyringFileError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u16(&mut self) -> Result<u16, KeyringFileError> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, KeyringFileError> {
        self.array().map(u32::from_be_bytes)
    }

    fn count(&mut self, max: usize) -> Result<usize, KeyringFileError> {
        let count = self.u32()? as usize;
        if count > max { Err(KeyringFileError::Damaged("a count is above its limit")) } else { Ok(count) }
    }

    fn key<P: Purpose>(&mut self) -> Result<Key<P>, KeyringFileError> {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(self.take(32)?);
        Ok(Key::take(&mut bytes))
    }

    fn name(&mut self) -> Result<Name, KeyringFileError> {
        let [len] = self.array::<1>()?;
        let text = std::str::from_utf8(self.take(len.into())?).ok();
        text.and_then(|t| t.parse().ok()).ok_or(KeyringFileError::Damaged("a name breaks the rule of names"))
    }

    fn ca_part(&mut self) -> Result<&'a [u8], KeyringFileError> {
        let len = self.count(CA_PART_MAX)?;
        self.take(len)
    }

    fn identity(&mut self, composite: bool) -> Result<Identity, KeyringFileError> {
        let ed25519 = SigningIdentity::from_seed(self.key()?);
        let further = if composite { self.array::<1>()?[0] } else { 0 };
        if further & !(HAS_P256 | HAS_ML_DSA) != 0 {
            return Err(KeyringFileError::Damaged("an identity has keys of an unknown kind"));
        }
        let p256 = if further & HAS_P256 != 0 { Some(self.key()?) } else { None };
        let ml_dsa = if further & HAS_ML_DSA != 0 { Some(self.key()?) } else { None };
        Identity::from_parts(ed25519, p256, ml_dsa)
            .map_err(|_| KeyringFileError::Damaged("a key of an identity is none"))
    }

    fn namespace(&mut self) -> Result<NamespaceKeys, KeyringFileError> {
        let name = self.name()?;
        let identity = SigningIdentity::from_seed(self.key()?);
        let current = self.u32()?;
        let mut keks = BTreeMap::new();
        for _ in 0..self.count(KEK_VERSIONS_MAX)? {
            let version = self.u32()?;
            ascending(&keks, &version)?;
            keks.insert(version, self.key()?);
        }
        if keks.last_key_value().map(|(version, _)| *version) != Some(current) {
            return Err(KeyringFileError::Damaged("a namespace lacks its current key"));
        }
        Ok(NamespaceKeys { name, identity, current, keks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::Passphrase;
    use crate::crypto::random::SystemRandom;
    use crate::keyring::{Credential, KeyFile, RootCustody};

    const VAULT: VaultId = VaultId([9; 16]);
    const NS: NamespaceId = NamespaceId([1; 16]);

    fn root() -> Key<RootSecret> {
        Key::take(&mut [0x5a; 32])
    }

    fn keyring() -> Keyring {
        let mut keyring = Keyring::create(VAULT, &SystemRandom).unwrap();
        keyring.add_namespace(NS, "default".parse().unwrap(), &SystemRandom).unwrap();
        keyring.add_namespace(NamespaceId([0; 16]), "a".repeat(64).parse().unwrap(), &SystemRandom).unwrap();
        for _ in 0..3 {
            keyring.rotate_kek(NS, &SystemRandom).unwrap();
        }
        keyring.drop_kek(NS, 2).unwrap();
        let private_key = Zeroizing::new(b"a private key of the CA, DER".to_vec());
        keyring.set_ca(CertificateAuthority { private_key, certificate: b"certificate".to_vec() }).unwrap();
        keyring.add_publisher("ci".parse().unwrap(), true, &SystemRandom).unwrap();
        keyring.add_publisher("alice".parse().unwrap(), false, &SystemRandom).unwrap();
        let seed = SigningIdentity::generate(&SystemRandom).unwrap();
        keyring.publishers.insert("old".parse().unwrap(), Identity::from_parts(seed, None, None).unwrap());
        keyring
    }

    #[test]
    fn what_the_first_release_wrote_is_read_and_written_the_same_until_an_identity_comes() {
        let mut old = keyring();
        old.publishers.retain(|name, _| name.as_str() == "old");
        let body = encode(&old);
        assert_eq!(&body[..2], [0, 1]);
        // The publishers, as the first release laid them out.
        let seed = old.publisher(&"old".parse().unwrap()).unwrap().ed25519().seed().expose().to_vec();
        assert!(body.ends_with(&[&[0, 0, 0, 1, 3][..], b"old", &seed].concat()));
        let read = decode(&body, VAULT).unwrap();
        assert_eq!(encode(&read), body);
        let mut with = read;
        let made = with.add_publisher("new".parse().unwrap(), true, &SystemRandom).unwrap().public().unwrap();
        let body = encode(&with);
        assert_eq!(&body[..2], [0, 2]);
        let again = decode(&body, VAULT).unwrap();
        assert_eq!(again.publisher(&"new".parse().unwrap()).unwrap().public().unwrap(), made);
        assert_eq!(again.publisher(&"old".parse().unwrap()).unwrap().public().unwrap().len(), 1);
        // A kind of key, and a version, that is not known; and version 2 without need.
        let needless = decode(&[&[0, 2], &encode(&old)[2..], &[0]].concat(), VAULT);
        assert!(matches!(needless, Err(KeyringFileError::Damaged(_))));
        for (at, byte) in [(body.len() - 1, 4), (1, 3)] {
            let mut bad = body.to_vec();
            bad[at] = byte;
            assert!(decode(&bad, VAULT).is_err());
        }
    }

    #[test]
    fn both_custodies_bring_every_key_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring.bin");
        let original = keyring();
        let phrase = Passphrase::new("correct horse".into());
        let by_phrase = RootCustody::new_passphrase(phrase.clone(), &SystemRandom).unwrap();
        let by_file = RootCustody::KeyFile(KeyFile::generate(dir.path().join("key"), &SystemRandom).unwrap());
        for (custody, given) in [(by_phrase, Some(Credential::Passphrase(phrase))), (by_file, None)] {
            // The second turn of this loop is a change of the root secret.
            original.save(&path, &custody.root_secret().unwrap(), &SystemRandom).unwrap();
            let custody = RootCustody::of_vault(&custody.recorded(), given).unwrap();
            let opened = Keyring::open(&path, &custody.root_secret().unwrap(), VAULT).unwrap();
            assert_eq!(encode(&opened), encode(&original));
            assert_eq!(opened.audit_identity().key_id(), original.audit_identity().key_id());
            assert_eq!(opened.ca(), original.ca());
            assert_eq!(opened.namespace(NS).unwrap().kek_versions().collect::<Vec<_>>(), [1, 3, 4]);
            assert_eq!(opened.namespace(NS).unwrap().current_kek(), 4);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let sealed = keyring().seal(&root(), &SystemRandom).unwrap();
        assert!(unseal(&sealed, &root(), VAULT).is_ok());
        for bit in 0..8 * sealed.len() {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let refused = unseal(&altered, &root(), VAULT).expect_err("a flipped bit is refused");
            match bit / 8 {
                16..BODY_AT => assert!(matches!(refused, KeyringFileError::WrongRoot), "bit {bit}"),
                BODY_AT.. => assert!(matches!(refused, KeyringFileError::Damaged(_)), "bit {bit}"),
                _ => {}
            }
        }
        for len in 0..sealed.len() {
            let refused = unseal(&sealed[..len], &root(), VAULT);
            assert!(matches!(refused, Err(KeyringFileError::Damaged(_))), "cut to {len}");
        }
        let longer = [&sealed[..], &[0]].concat();
        assert!(unseal(&longer, &root(), VAULT).is_err());
    }

    #[test]
    fn a_wrong_secret_and_another_vaults_keyring_are_refused() {
        let sealed = keyring().seal(&root(), &SystemRandom).unwrap();
        let wrong = unseal(&sealed, &Key::take(&mut [0x5b; 32]), VAULT).unwrap_err();
        let mut altered = sealed.clone();
        altered[WRAP_AT + 50] ^= 1;
        let damaged_wrap = unseal(&altered, &root(), VAULT).unwrap_err();
        assert_eq!(wrong.to_string(), damaged_wrap.to_string());
        assert_eq!(Error::from(wrong).id(), ErrorId::BadCredential);
        let other = unseal(&sealed, &root(), VaultId([8; 16])).unwrap_err();
        assert_eq!(Error::from(other).id(), ErrorId::KeyringDamaged);
    }

    #[test]
    fn the_file_holds_no_key_in_the_clear_and_no_write_repeats_another() {
        let keyring = keyring();
        let sealed = keyring.seal(&root(), &SystemRandom).unwrap();
        let body = encode(&keyring);
        for secret in body.windows(16) {
            assert!(!sealed.windows(16).any(|w| w == secret));
        }
        let again = keyring.seal(&root(), &SystemRandom).unwrap();
        assert_ne!(sealed[32..], again[32..]);
        assert_ne!(sealed[BODY_AT..], again[BODY_AT..]);
    }

    #[test]
    fn what_a_crash_left_beside_the_keyring_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring.bin");
        let original = keyring();
        original.save(&path, &root(), &SystemRandom).unwrap();
        std::fs::write(dir.path().join(".keyring.bin.new"), &original.seal(&root(), &SystemRandom).unwrap()[..99])
            .unwrap();
        assert_eq!(encode(&Keyring::open(&path, &root(), VAULT).unwrap()), encode(&original));
        original.save(&path, &root(), &SystemRandom).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let missing = Keyring::open(&dir.path().join("no"), &root(), VAULT).unwrap_err();
        assert_eq!(Error::from(missing).id(), ErrorId::KeyringDamaged);
    }

    #[test]
    fn an_authentic_body_that_breaks_a_rule_is_refused() {
        let good = encode(&keyring());
        assert!(decode(&good, VAULT).is_ok());
        for len in 0..good.len() {
            assert!(decode(&good[..len], VAULT).is_err(), "cut to {len}");
        }
        let breaks = |at: usize, bytes: &[u8]| {
            let mut body = good.to_vec();
            body[at..at + bytes.len()].copy_from_slice(bytes);
            assert!(decode(&body, VAULT).is_err(), "at {at}");
        };
        breaks(0, &[0, 1]);
        breaks(66, &[2]);
        breaks(67, &[0xff; 4]);
        let namespaces = 67 + 4 + keyring().ca().unwrap().private_key.len() + 4 + b"certificate".len();
        breaks(namespaces, &[0xff; 4]);
        // The first id above the second; a name with a capital; a current version that is not there.
        breaks(namespaces + 4, &[2; 16]);
        breaks(namespaces + 4 + 17, b"A");
        breaks(namespaces + 4 + 17 + 64 + 32, &[0, 0, 0, 2]);
        assert!(decode(&[&good[..], &[0]].concat(), VAULT).is_err());
    }
}
