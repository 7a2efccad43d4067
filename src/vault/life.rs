//! Making, unlocking and closing a vault.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, RwLock, RwLockReadGuard};

use super::counting::Counting;
use super::cutting::Cuts;
use super::enforcing::PolicyInForce;
use super::gate::Subject;
use super::settings::Settings;
use super::trust::{self, TrustInForce};
use super::{Caller, Channel, Counted, Evidence, RootCredential, Vault, intel, record, tree};
use crate::audit::{Act, Record};
use crate::catalogue::{Catalogue, NamespaceRecord, SqliteCatalogue};
use crate::crypto::keys::{Key, RootSecret};
use crate::crypto::random::SystemRandom;
use crate::error::{Error, ErrorId, Result};
use crate::home::{Home, HomeLock, VaultToml};
use crate::identity::jwks::KeyCache;
use crate::identity::{Authority, DEFAULT_LIFETIME, IssuedServer, PrivateKey, TrustDomains};
use crate::keyring::{CertificateAuthority, KeyFile, Keyring, RootCustody};
use crate::names::{Clock, NamespaceId, Principal, Random, Reference, RequestId, SystemClock, Timestamp, VaultId};
use crate::store::LocalStore;

/// Time and randomness of the machine a vault runs on.
#[derive(Clone)]
pub struct Machine {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub random: Arc<dyn Random>,
}

impl Default for Machine {
    /// The real ones.
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom) }
    }
}

/// How a new vault keeps its root secret.
#[derive(Clone, Debug)]
pub enum InitSpec {
    /// Argon2id of a passphrase.
    Passphrase(crate::crypto::keys::Passphrase),
    /// A key file: made if it does not exist, else used.
    KeyFile(std::path::PathBuf),
}

impl Vault {
    /// Makes a vault in an empty or new directory, all or nothing, and unlocks it. Signers that were trusted there stay so.
    pub fn init(home: &Path, spec: InitSpec, machine: Machine) -> Result<Self> {
        let home = Home::at(home)?;
        let mut made = None;
        let custody = match spec {
            InitSpec::Passphrase(passphrase) => RootCustody::new_passphrase(passphrase, &*machine.random)?,
            InitSpec::KeyFile(path) if path.exists() => RootCustody::KeyFile(KeyFile::at(path)),
            InitSpec::KeyFile(path) => {
                let file = KeyFile::generate(path, &*machine.random)?;
                made = Some(file.path().to_path_buf());
                RootCustody::KeyFile(file)
            }
        };
        let now = machine.clock.now();
        let config = VaultToml::new(VaultId::generate(now, &*machine.random)?, now, custody.recorded());
        let root = custody.root_secret()?;
        let ((), lock) = home.create(|home| fill(home, &config, &root, &machine)).inspect_err(|_| {
            // The key of nothing: there is no vault that it opens.
            made.iter().for_each(|file| drop(std::fs::remove_file(file)));
        })?;
        Self::assemble(home, config, root, lock, machine)
    }

    /// Unlocks the vault of a home and holds it until the value is dropped.
    ///
    /// # Errors
    /// `NoVault`, `Busy`, `NoCredential`, `BadCredential`, `KeyringDamaged`, `CatalogueDamaged`, `AuditBroken`.
    pub fn unlock(home: &Path, credential: Option<RootCredential>, machine: Machine) -> Result<Self> {
        let home = Home::at(home)?;
        let config = home.config()?;
        let lock = home.lock()?;
        let root = RootCustody::of_vault(&config.custody, credential)?.root_secret()?;
        Self::assemble(home, config, root, lock, machine)
    }

    fn assemble(
        home: Home,
        config: VaultToml,
        root: Key<RootSecret>,
        lock: HomeLock,
        machine: Machine,
    ) -> Result<Self> {
        let keyring = Keyring::open(&home.keyring_path(), &root, config.vault)?;
        let catalogue = SqliteCatalogue::open(home.path(), keyring.catalogue_key().clone(), machine.clock.clone())?;
        let store = LocalStore::open(home.blobs_path())?;
        let policies = PolicyInForce::of(&catalogue, &keyring, config.vault)?;
        let trust = TrustInForce::of(&catalogue)?;
        let settings = Settings::of(&catalogue)?;
        let counting = Counting::resume(&catalogue, &machine)?;
        let lists = intel::in_force(&catalogue)?;
        let holds = super::hold::Holds::of(&catalogue)?;
        let ca = keyring
            .ca()
            .ok_or_else(|| Error::new(ErrorId::KeyringDamaged, "the keyring holds no certificate authority"))?;
        let authority =
            Authority::load(config.vault, PrivateKey::from_pkcs8(ca.private_key.clone())?, &ca.certificate)?;
        let log = tree::restore(&catalogue, &keyring, config.vault, machine.clock.now())?;
        let owner_uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(home.path())?);
        let vault = Self {
            home,
            config,
            owner_uid,
            root,
            keyring: RwLock::new(keyring),
            catalogue: Box::new(catalogue),
            store: Box::new(store),
            policies: RwLock::new(policies),
            setting_policy: Mutex::new(()),
            trust: RwLock::new(trust),
            setting_trust: Mutex::new(()),
            settings,
            counting,
            issuer_keys: KeyCache::default(),
            cuts: Cuts::default(),
            trust_domains: TrustDomains::default(),
            holds,
            watching: Mutex::new(None),
            authority,
            intel: RwLock::new(lists),
            setting_intel: Mutex::new(()),
            publishing_dataset: Mutex::new(()),
            log: Mutex::new(log),
            witness: Mutex::new(None),
            contradiction: OnceLock::new(),
            refusals: Mutex::new(record::Refusals::default()),
            board: super::sinks::Board::default(),
            metrics: Arc::default(),
            address: Mutex::new(None),
            machine,
            _lock: lock,
        };
        // Catches up with the rows after the last checkpoint; refuses to go on from a log that contradicts it.
        vault.checkpoint(false)?;
        vault.check_policy_against_log()?;
        // What is left over harms nobody: better a vault that opens than one that is clean.
        if let Err(e) = vault.sweep_at_unlock() {
            tracing::warn!(error = %e, "not all leftovers of processes that died could be removed");
        }
        if let Err(e) = vault.heal_signers() {
            tracing::warn!(error = %e, "the copy of the trust store in the home could not be written");
        }
        Ok(vault)
    }

    /// The owner of the home as caller, in process.
    pub fn local_caller(&self) -> Result<Caller> {
        Ok(Caller {
            principal: Principal::local_operator(self.owner_uid),
            request_id: RequestId::generate(self.now(), self.random())?,
            channel: Channel::local(),
            evidence: Evidence::default(),
            counted: Counted::default(),
        })
    }

    /// Records that a daemon serves, or stops to. One that starts also looks for orphaned blobs.
    pub fn record_daemon(&self, starts: bool, listening: &str) -> Result<()> {
        let act = if starts { Act::DaemonStart } else { Act::DaemonStop };
        self.note(&self.local_caller()?, act, &Subject::vault().with("listening", listening))?;
        if starts && let Err(e) = self.sweep() {
            tracing::warn!(error = %e, "orphaned blobs could not be removed");
        }
        Ok(())
    }

    /// Records that a daemon was told to reload, with the server certificate it shows from then on.
    pub fn record_reload(&self, serial: impl std::fmt::Display, not_after: Timestamp) -> Result<()> {
        let subject = Subject::vault().with("certificate", serial).with("not_after", not_after);
        self.note(&self.local_caller()?, Act::DaemonReload, &subject)
    }

    /// A fresh certificate for a server that answers under these host names and addresses.
    pub fn issue_server_certificate(&self, hosts: &[String]) -> Result<IssuedServer> {
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        self.authority.issue_server(&hosts, DEFAULT_LIFETIME, self.now(), self.random())
    }

    /// DER of the CA certificate that clients pin.
    pub fn ca_certificate(&self) -> Vec<u8> {
        self.authority.certificate().to_vec()
    }

    pub(super) fn keyring(&self) -> RwLockReadGuard<'_, Keyring> {
        self.keyring.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Vault {
    /// Leaves no row without a checkpoint, and no reserve in the counters; if that fails now, the next start does the first, and the
    /// reserves count.
    fn drop(&mut self) {
        if let Err(e) = self.keep_counting(true) {
            tracing::warn!(error = %e, "what was used could not be stored exactly: a little more counts");
        }
        if let Err(e) = self.record_refusals(true).and_then(|()| self.checkpoint(true)) {
            tracing::warn!(error = %e, "the last checkpoint could not be signed");
        }
    }
}

/// Everything a new home holds.
fn fill(home: &Home, config: &VaultToml, root: &Key<RootSecret>, machine: &Machine) -> Result<()> {
    let (now, random) = (machine.clock.now(), &*machine.random);
    let mut keyring = Keyring::create(config.vault, random)?;
    let namespace = NamespaceId::generate(now, random)?;
    let name: crate::names::Name = Reference::DEFAULT_NAMESPACE.parse()?;
    keyring.add_namespace(namespace, name.clone(), random)?;
    let authority = Authority::create(config.vault, now, random)?;
    keyring.set_ca(CertificateAuthority {
        private_key: zeroize::Zeroizing::new(authority.key().expose().to_vec()),
        certificate: authority.certificate().to_vec(),
    })?;
    keyring.save(&home.keyring_path(), root, random)?;
    let catalogue =
        SqliteCatalogue::create(home.path(), keyring.catalogue_key().clone(), machine.clock.clone(), random)?;
    let caller = Principal::local_operator(rustix::process::getuid().as_raw());
    let record = Record::new(now, RequestId::generate(now, random)?, &caller, Act::VaultInit)
        .detail("vault", config.vault)
        .detail("custody", config.custody.kind());
    catalogue.create_namespace(NamespaceRecord { id: namespace, name, created: now }, record.to_leaf().into())?;
    trust::adopt(home, &catalogue, Record::new(now, RequestId::generate(now, random)?, &caller, Act::KeyTrust))?;
    LocalStore::open(home.blobs_path())?;
    home.write_config(config)
}
