//! The trust store: whose signatures on models are believed, by name, and until when; and which keys are not any more.
//!
//! `signers.json` lies in the vault's home, beside `vault.toml`. Not in an enrolment beside `trust.json`: that is a workload's,
//! comes from the vault, and is replaced as a whole at each renewal, while signers are chosen by a person, once for all
//! commands on the machine. It is no secret, but who may write it decides what is believed: the home is its owner's alone.
//! Where there is a vault, the file is a copy for whoever verifies without unlocking; the truth is in the catalogue.
//!
//! ```json
//! {"version":1,
//!  "signers":[{"name":"alice","key":"<base64 SPKI>","trusted_until":"2027-01-01T00:00:00.000Z"},
//!             {"name":"alice","key":"<base64 SPKI>","namespaces":["prod"]},
//!             {"name":"ci","ca":["<base64 certificate>"],"names":["uri:spiffe://example.org/ci"]}],
//!  "revoked":[{"keyid":"<64 hex digits>","since":"2026-11-01T00:00:00.000Z","reason":"laptop stolen"}]}
//! ```
//!
//! Rotation: a signer has as many entries as keys; the old one ends at `trusted_until`. Every lookup takes the time that
//! counts: now, or that of a trusted time stamp. `namespaces` limits for which namespaces of a vault an entry counts; without
//! it, for all.

mod change;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::signer::{Anchors, CertifiedSigner, ChainError, ChainPolicy, Revocations, SignerName};
use crate::crypto::sign::VerifyingKey;
use crate::error::{Error, ErrorId, Result};
use crate::json::{self, Value};
use crate::names::{KeyId, Name, Timestamp};

const VERSION: u64 = 1;
/// No file is larger; more is not read.
const MAX_BYTES: u64 = 4 << 20;
/// Most bytes of a reason.
const MAX_REASON_BYTES: usize = 1024;
/// Most keys and CAs, and most revocations: each is compared with all others when it is added.
const MAX_ENTRIES: usize = 8192;

#[cfg(feature = "daemon")]
pub use change::update;
pub use change::{Trusting, Untrusting};

/// One key or CA that stands for a signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// What people call the signer; several entries may bear it.
    pub name: Name,
    /// What is believed.
    pub trust: Trust,
    /// Not believed from this moment on; none: no end is set.
    pub trusted_until: Option<Timestamp>,
    /// For these namespaces of a vault alone; empty: for all, and for models on disk.
    pub namespaces: Vec<Name>,
}

/// What is believed of a signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Signatures of this key.
    Key(VerifyingKey),
    /// Signatures under certificates of these CAs.
    Ca {
        /// The CAs.
        anchors: Anchors,
        /// One of them the certificate must have; none: any certificate of the CAs.
        names: Vec<SignerName>,
    },
}

/// A key that is not believed any more, whoever vouches for it: of a signer, of a certificate, of a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The key.
    pub key: KeyId,
    /// Not believed from this moment on.
    pub since: Timestamp,
    /// Why, for people.
    pub reason: String,
}

/// The trust store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signers {
    signers: Vec<Signer>,
    revoked: Vec<Revoked>,
}

impl Signers {
    /// Reads the file; one that is not there is an empty one.
    ///
    /// # Errors
    /// `ConfigInvalid` if it breaks a rule, `IoError`.
    pub fn read(path: &Path) -> Result<Self> {
        use std::io::Read as _;
        let mut text = Vec::new();
        match std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text)) {
            Ok(_) => Self::parse(&text).map_err(|e| e.on(path.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(Error::from(e).on(path.display())),
        }
    }

    /// Puts the store in the place of the file: readers see the old one or the new one, through any crash. The caller holds
    /// the home's lock from reading to writing.
    ///
    /// # Errors
    /// `InvalidArgument` if it has grown too large, `IoError`, `DiskFull`; the old file is untouched.
    #[cfg(feature = "daemon")]
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.to_text()?;
        crate::home::replace_file(path, text.as_bytes()).map_err(|e| Error::from(e).on(path.display()))
    }

    /// From JSON; unknown and doubled members are errors.
    ///
    /// # Errors
    /// `ConfigInvalid`.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let invalid = |why: String| {
            Error::new(ErrorId::ConfigInvalid, format!("not a trust store of signers: {why}"))
                .hint("restore the file from a copy, or remove it and trust the signers anew")
        };
        if text.len() as u64 > MAX_BYTES {
            return Err(invalid(format!("more than {MAX_BYTES} bytes")));
        }
        let value = json::parse(text, 8).map_err(|e| invalid(e.to_string()))?;
        value.exactly(&["version", "signers", "revoked"]).ok_or_else(|| invalid("unknown members".into()))?;
        if value.get("version").and_then(Value::as_u64) != Some(VERSION) {
            return Err(invalid(format!("not of version {VERSION}")));
        }
        let list = |key: &'static str| {
            value.get(key).and_then(Value::as_array).ok_or_else(|| invalid(format!("{key} is not a list")))
        };
        let mut store = Self::default();
        for (i, entry) in list("signers")?.iter().enumerate() {
            let signer = Signer::parse(entry).ok_or_else(|| invalid(format!("signer {i} breaks a rule")))?;
            store.trust(signer).map_err(|e| invalid(e.to_string()))?;
        }
        for (i, entry) in list("revoked")?.iter().enumerate() {
            let revoked = Revoked::parse(entry).ok_or_else(|| invalid(format!("revocation {i} breaks a rule")))?;
            store.revoke(revoked).map_err(|e| invalid(e.to_string()))?;
        }
        Ok(store)
    }

    /// To JSON, as [`Signers::parse`] reads it.
    pub fn to_json(&self) -> String {
        let signers: Vec<_> = self.signers.iter().map(Signer::to_json).collect();
        let revoked: Vec<_> = self.revoked.iter().map(Revoked::to_json).collect();
        format!("{:#}\n", serde_json::json!({"version": VERSION, "signers": signers, "revoked": revoked}))
    }

    /// The same, if it is not too large to be read again.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn to_text(&self) -> Result<String> {
        let text = self.to_json();
        match text.len() as u64 <= MAX_BYTES {
            true => Ok(text),
            false => Err(Error::new(ErrorId::InvalidArgument, format!("the trust store is above {MAX_BYTES} bytes"))
                .hint("drop signers that are no more: vault key untrust NAME")),
        }
    }

    /// Adds a key or CA under a name.
    ///
    /// # Errors
    /// `AlreadyExists` if the same key, or CAs with the same names, stand there: one key has one name.
    pub fn trust(&mut self, signer: Signer) -> Result<()> {
        if let Some(other) = self.signers.iter().find(|other| other.trust == signer.trust) {
            return Err(Error::new(ErrorId::AlreadyExists, format!("it is trusted already, as {}", other.name)));
        }
        self.room(self.signers.len())?;
        self.signers.push(signer);
        Ok(())
    }

    /// Ends the trust in all that a signer has now, at a moment to come or past; entries that end before keep their end.
    /// To rotate: retire, then trust the new key under the same name.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn retire(&mut self, name: &Name, until: Timestamp) -> Result<()> {
        self.entries(name)?;
        for signer in self.signers.iter_mut().filter(|signer| signer.name == *name) {
            signer.trusted_until = Some(signer.trusted_until.map_or(until, |end| end.min(until)));
        }
        Ok(())
    }

    /// Removes all that a signer has, and returns it. What a stolen key signed is better met by [`Signers::revoke`].
    ///
    /// # Errors
    /// `NotFound`.
    pub fn untrust(&mut self, name: &Name) -> Result<Vec<Signer>> {
        self.entries(name)?;
        let (removed, kept) = std::mem::take(&mut self.signers).into_iter().partition(|signer| signer.name == *name);
        self.signers = kept;
        Ok(removed)
    }

    /// Revokes a key, known or not. Of two revocations of one key the earlier moment counts; none is ever taken back.
    ///
    /// # Errors
    /// `InvalidArgument` for a reason that is too long or holds control characters.
    pub fn revoke(&mut self, revoked: Revoked) -> Result<()> {
        if revoked.reason.len() > MAX_REASON_BYTES || revoked.reason.chars().any(char::is_control) {
            return Err(Error::new(ErrorId::InvalidArgument, "the reason is too long or holds control characters")
                .hint(format!("at most {MAX_REASON_BYTES} bytes in one line")));
        }
        match self.revoked.iter_mut().find(|other| other.key == revoked.key) {
            Some(other) if other.since <= revoked.since => {}
            Some(other) => *other = revoked,
            None => {
                self.room(self.revoked.len())?;
                self.revoked.push(revoked);
            }
        }
        Ok(())
    }

    /// All entries, in the order in which they were added.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// All revocations.
    pub fn revoked(&self) -> &[Revoked] {
        &self.revoked
    }

    /// The keys that are believed at a time, with whose they are.
    pub fn keys(&self, at: Timestamp) -> impl Iterator<Item = (&Signer, &VerifyingKey)> {
        self.signers.iter().filter(move |signer| signer.is_trusted(at)).filter_map(move |signer| match &signer.trust {
            Trust::Key(key) if self.check_revoked(&key.key_id(), at).is_ok() => Some((signer, key)),
            _ => None,
        })
    }

    /// The keys that are believed for a namespace at a time.
    pub fn keys_in<'a>(
        &'a self,
        namespace: &'a Name,
        at: Timestamp,
    ) -> impl Iterator<Item = (&'a Signer, &'a VerifyingKey)> {
        self.keys(at).filter(|(signer, _)| signer.covers(namespace))
    }

    /// Whose key has this id, if it is believed for a namespace at a time.
    ///
    /// # Errors
    /// As [`Signers::of_key`]; also with the `reason` `namespace`: believed, but not there.
    pub fn of_key_id(&self, id: &KeyId, namespace: &Name, at: Timestamp) -> Result<&Signer> {
        self.check_revoked(id, at)?;
        match self.signers.iter().find(|signer| matches!(&signer.trust, Trust::Key(k) if k.key_id() == *id)) {
            Some(signer) if !signer.is_trusted(at) => Err(signer.retired()),
            Some(signer) if !signer.covers(namespace) => Err(signer.elsewhere(namespace)),
            Some(signer) => Ok(signer),
            None => Err(unknown(id)),
        }
    }

    /// Whose key this is, if it is believed at a time.
    ///
    /// # Errors
    /// `SignatureMissing`, with the `reason` `revoked`, `retired` or `unknown_key` in its details.
    pub fn of_key(&self, key: &VerifyingKey, at: Timestamp) -> Result<&Signer> {
        self.check_revoked(&key.key_id(), at)?;
        let known = self.signers.iter().find(|signer| matches!(&signer.trust, Trust::Key(k) if k == key));
        match known {
            Some(signer) if signer.is_trusted(at) => Ok(signer),
            Some(signer) => Err(signer.retired()),
            None => Err(unknown(&key.key_id())),
        }
    }

    /// Whose certificate this is (DER, leaf first), if it is believed at a time: by the first signer whose CAs and names fit.
    ///
    /// # Errors
    /// `SignatureMissing` and others, as [`ChainError`]; also with the `reason` `revoked` for a key of the path that is
    /// revoked here, and `retired`.
    pub fn of_chain(
        &self,
        chain: &[impl AsRef<[u8]>],
        revocations: &Revocations,
        at: Timestamp,
    ) -> Result<(&Signer, CertifiedSigner)> {
        self.of_chain_among(|_| true, chain, revocations, at)
    }

    /// The same for a namespace.
    ///
    /// # Errors
    /// As there.
    pub fn of_chain_in(
        &self,
        namespace: &Name,
        chain: &[impl AsRef<[u8]>],
        revocations: &Revocations,
        at: Timestamp,
    ) -> Result<(&Signer, CertifiedSigner)> {
        self.of_chain_among(|signer| signer.covers(namespace), chain, revocations, at)
    }

    /// The same for those signers alone.
    ///
    /// # Errors
    /// As there.
    pub fn of_chain_among(
        &self,
        among: impl Fn(&Signer) -> bool,
        chain: &[impl AsRef<[u8]>],
        revocations: &Revocations,
        at: Timestamp,
    ) -> Result<(&Signer, CertifiedSigner)> {
        let mut failure = Error::from(ChainError::UnknownCa);
        for signer in self.signers.iter().filter(|signer| among(signer)) {
            let Trust::Ca { anchors, names } = &signer.trust else { continue };
            match (ChainPolicy { anchors, names, revocations }).verify(chain, at) {
                Ok(_) if !signer.is_trusted(at) => failure = signer.retired(),
                Ok(certified) => {
                    certified.path.iter().try_for_each(|key| self.check_revoked(key, at))?;
                    return Ok((signer, certified));
                }
                // A CA that is not concerned says less than one that is.
                Err(ChainError::UnknownCa) => {}
                Err(e) => failure = e.into(),
            }
        }
        Err(failure)
    }

    fn entries(&self, name: &Name) -> Result<()> {
        match self.signers.iter().any(|signer| signer.name == *name) {
            true => Ok(()),
            false => Err(Error::new(ErrorId::NotFound, format!("no trusted signer {name}"))
                .hint("vault key ls shows those there are")),
        }
    }

    fn room(&self, taken: usize) -> Result<()> {
        match taken < MAX_ENTRIES {
            true => Ok(()),
            false => {
                Err(Error::new(ErrorId::InvalidArgument, format!("the trust store holds {MAX_ENTRIES} of a kind"))
                    .hint("have signers certified by a CA, and trust that: vault key trust NAME --ca FILE"))
            }
        }
    }

    /// That a key was not revoked by a time.
    ///
    /// # Errors
    /// `SignatureMissing`, with the `reason` `revoked` in its details.
    pub fn check_revoked(&self, key: &KeyId, at: Timestamp) -> Result<()> {
        match self.revoked.iter().find(|revoked| revoked.key == *key && revoked.since <= at) {
            None => Ok(()),
            Some(Revoked { since, reason, .. }) => {
                Err(untrusted("revoked", format!("key {key} was revoked on {since}: {reason}")))
            }
        }
    }
}

impl Signer {
    /// Whether its end has not come.
    pub fn is_trusted(&self, at: Timestamp) -> bool {
        self.trusted_until.is_none_or(|end| at < end)
    }

    /// Whether it counts for a namespace.
    pub fn covers(&self, namespace: &Name) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }

    /// Its keys: one, or those of its CAs.
    pub fn key_ids(&self) -> Vec<KeyId> {
        match &self.trust {
            Trust::Key(key) => vec![key.key_id()],
            Trust::Ca { anchors, .. } => anchors.keys().collect(),
        }
    }

    fn elsewhere(&self, namespace: &Name) -> Error {
        untrusted("namespace", format!("{} is not trusted for namespace {namespace}", self.name))
    }

    fn retired(&self) -> Error {
        let end = self.trusted_until.map_or_else(String::new, |end| format!(" since {end}"));
        untrusted("retired", format!("this key or CA of {} is not trusted any more{end}", self.name))
    }

    fn parse(entry: &Value) -> Option<Self> {
        let text = |key| entry.get(key).and_then(Value::as_str);
        let list = |key| entry.get(key).and_then(Value::as_array);
        let decode = |value: &str| STANDARD.decode(value).ok();
        let trust = if entry.get("key").is_some() {
            entry.exactly(&["name", "key", "trusted_until", "namespaces"])?;
            Trust::Key(VerifyingKey::from_spki(&decode(text("key")?)?).ok()?)
        } else {
            entry.exactly(&["name", "ca", "names", "trusted_until", "namespaces"])?;
            let certificates = list("ca")?.iter().map(|c| c.as_str().and_then(decode)).collect::<Option<Vec<_>>>()?;
            let names = list("names")?.iter().map(|name| name.as_str()?.parse().ok()).collect::<Option<_>>()?;
            Trust::Ca { anchors: Anchors::from_der(&certificates).ok()?, names }
        };
        let trusted_until = match entry.get("trusted_until") {
            None => None,
            Some(end) => Some(end.as_str()?.parse().ok()?),
        };
        let namespaces = match entry.get("namespaces") {
            None => Vec::new(),
            Some(_) => {
                let namespaces = list("namespaces")?.iter();
                let namespaces = namespaces.map(|name| name.as_str()?.parse().ok()).collect::<Option<Vec<_>>>()?;
                // For none would be for all, to who reads it otherwise.
                Some(namespaces).filter(|list| !list.is_empty())?
            }
        };
        Some(Self { name: text("name")?.parse().ok()?, trust, trusted_until, namespaces })
    }

    fn to_json(&self) -> serde_json::Value {
        let mut entry = match &self.trust {
            Trust::Key(key) => serde_json::json!({"name": self.name, "key": STANDARD.encode(key.spki())}),
            Trust::Ca { anchors, names } => {
                let certificates: Vec<_> = anchors.certificates().map(|der| STANDARD.encode(der)).collect();
                let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                serde_json::json!({"name": self.name, "ca": certificates, "names": names})
            }
        };
        if let Some(end) = self.trusted_until {
            entry["trusted_until"] = end.to_string().into();
        }
        if !self.namespaces.is_empty() {
            entry["namespaces"] = serde_json::json!(self.namespaces);
        }
        entry
    }
}

impl Revoked {
    fn parse(entry: &Value) -> Option<Self> {
        entry.exactly(&["keyid", "since", "reason"])?;
        let text = |key| entry.get(key).and_then(Value::as_str);
        Some(Self {
            key: text("keyid")?.parse().ok()?,
            since: text("since")?.parse().ok()?,
            reason: text("reason")?.into(),
        })
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"keyid": self.key.to_string(), "since": self.since.to_string(), "reason": self.reason})
    }
}

fn unknown(key: &KeyId) -> Error {
    untrusted("unknown_key", format!("key {key} belongs to no trusted signer"))
}

fn untrusted(reason: &'static str, why: String) -> Error {
    Error::new(ErrorId::SignatureMissing, why).detail("reason", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SystemRandom;
    use crate::crypto::sign::{Algorithm, SigningKey};

    const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);
    const LATER: Timestamp = Timestamp::from_millis(1_795_305_600_001);

    fn key() -> VerifyingKey {
        SigningKey::generate(Algorithm::EcdsaP256, &SystemRandom).unwrap().public().clone()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn signer(who: &str, key: &VerifyingKey) -> Signer {
        Signer { name: name(who), trust: Trust::Key(key.clone()), trusted_until: None, namespaces: Vec::new() }
    }

    fn reason(error: &Error) -> &str {
        assert_eq!(error.id(), ErrorId::SignatureMissing);
        &error.details().iter().find(|(key, _)| *key == "reason").unwrap().1
    }

    #[test]
    fn a_rotated_signer_is_believed_by_the_old_key_until_its_end_and_by_the_new_one_after() {
        let (old, new) = (key(), key());
        let mut store = Signers::default();
        store.trust(signer("alice", &old)).unwrap();
        store.retire(&name("alice"), LATER).unwrap();
        store.trust(signer("alice", &new)).unwrap();
        assert_eq!(store.of_key(&old, NOW).unwrap().name, name("alice"));
        assert_eq!(reason(&store.of_key(&old, LATER).unwrap_err()), "retired");
        assert_eq!(store.of_key(&new, LATER).unwrap().name, name("alice"));
        assert_eq!((store.keys(NOW).count(), store.keys(LATER).count()), (2, 1));
        assert_eq!(store.retire(&name("bob"), NOW).unwrap_err().id(), ErrorId::NotFound);
    }

    #[test]
    fn a_revoked_key_is_refused_from_its_date_on_even_when_it_is_trusted_again() {
        let key = key();
        let mut store = Signers::default();
        let revoked = |since| Revoked { key: key.key_id(), since, reason: "stolen".into() };
        store.trust(signer("alice", &key)).unwrap();
        store.revoke(revoked(LATER)).unwrap();
        assert!(store.of_key(&key, NOW).is_ok());
        let error = store.of_key(&key, LATER).unwrap_err();
        assert_eq!(reason(&error), "revoked");
        assert!(error.message().contains("stolen"));
        assert_eq!((store.keys(NOW).count(), store.keys(LATER).count()), (1, 0));
        store.revoke(revoked(NOW)).unwrap();
        store.revoke(revoked(LATER)).unwrap();
        assert_eq!(store.revoked(), [revoked(NOW)]);
        store.untrust(&name("alice")).unwrap();
        store.trust(signer("alice", &key)).unwrap();
        assert_eq!(reason(&store.of_key(&key, NOW).unwrap_err()), "revoked");
        let two_lines = Revoked { reason: "a\nb".into(), ..revoked(NOW) };
        assert_eq!(store.revoke(two_lines).unwrap_err().id(), ErrorId::InvalidArgument);
    }

    #[test]
    fn one_key_has_one_name_and_a_stranger_has_none() {
        let (known, stranger) = (key(), key());
        let mut store = Signers::default();
        store.trust(signer("alice", &known)).unwrap();
        assert_eq!(store.trust(signer("bob", &known)).unwrap_err().id(), ErrorId::AlreadyExists);
        assert_eq!(reason(&store.of_key(&stranger, NOW).unwrap_err()), "unknown_key");
        assert_eq!(store.untrust(&name("alice")).unwrap(), [signer("alice", &known)]);
        assert_eq!(store.untrust(&name("alice")).unwrap_err().id(), ErrorId::NotFound);
        assert_eq!(reason(&store.of_key(&known, NOW).unwrap_err()), "unknown_key");
    }

    #[cfg(feature = "daemon")]
    #[test]
    fn the_file_is_read_strictly_and_survives_being_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("signers.json");
        assert_eq!(Signers::read(&path).unwrap(), Signers::default());
        let mut store = Signers::default();
        store.trust(signer("alice", &key())).unwrap();
        store.retire(&name("alice"), LATER).unwrap();
        store.revoke(Revoked { key: key().key_id(), since: NOW, reason: "left".into() }).unwrap();
        std::fs::write(&path, "damaged").unwrap();
        assert_eq!(Signers::read(&path).unwrap_err().id(), ErrorId::ConfigInvalid);
        store.write(&path).unwrap();
        assert_eq!(Signers::read(&path).unwrap(), store);
        let text = store.to_json();
        for (from, to) in [
            ("\"version\": 1", "\"version\": 2"),
            ("\"version\": 1", "\"version\": 1, \"extra\": 0"),
            ("\"signers\"", "\"signer\""),
            ("\"name\": \"alice\"", "\"name\": \"../alice\""),
            ("\"name\": \"alice\"", "\"name\": \"alice\", \"names\": []"),
            ("\"trusted_until\": \"2", "\"trusted_until\": \"x"),
            ("\"trusted_until\"", "\"trustedUntil\""),
            ("\"key\": \"M", "\"key\": \"N"),
            ("\"trusted_until\"", "\"namespaces\": [], \"trusted_until\""),
            ("\"trusted_until\"", "\"namespaces\": [\"A\"], \"trusted_until\""),
            ("\"reason\": \"left\"", "\"reason\": \"a\\nb\""),
            ("\"keyid\": \"", "\"keyid\": \"0"),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text, "{from}");
            assert_eq!(Signers::parse(bad.as_bytes()).unwrap_err().id(), ErrorId::ConfigInvalid, "{bad}");
        }
        for cut in 0..text.trim_end().len() {
            assert!(Signers::parse(&text.as_bytes()[..cut]).is_err());
        }
    }
}
