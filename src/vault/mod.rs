//! The facade: every way into a vault.
//!
//! It joins the side rooms and keeps the order that makes the promises true: first who calls (and whether they still may), then
//! the policy, then a durable audit row, and only then a key, a byte or a change. Synchronous: call it from blocking threads.
//!
//! | file | what |
//! |---|---|
//! | `call` | who asks, over what |
//! | `gate` | admission, decision, audit row: the one path every method takes |
//! | `once` | a request that comes again |
//! | `life` | making, unlocking and closing a vault |
//! | `identities` | identities that the vault holds, and what they sign |
//! | `sealing` | plaintext in: seal, portable seal, import |
//! | `opening` | plaintext out: the open artifact and its end |
//! | `lease` | a grant in use, renewed while plaintext is read |
//! | `exporting` | sealed bytes out, and their end |
//! | `attesting` | signed statements about versions |
//! | `shelf` | names: list, inspect, tag, remove, verify |
//! | `access` | workloads, grants, policy |
//! | `trust` | who is believed: trusted signers, the gate for publishers |
//! | `record` | the audit log as a whole, status |
//! | `upkeep` | leftovers of processes that died |

mod access;
mod attesting;
mod call;
mod exporting;
mod gate;
mod identities;
mod lease;
mod life;
mod once;
mod opening;
mod record;
mod sealing;
mod shelf;
mod trust;
mod upkeep;

use std::sync::{Arc, Mutex, RwLock};

pub use call::{Caller, Channel, Transport};
pub use exporting::Export;
pub use identities::identity_facts;
pub use life::{InitSpec, Machine};
pub use opening::{OpenArtifact, OpenMember};
pub use sealing::{ImportInput, ImportSource, NewArtifact, PortableInput, Published, SealInput, SealMember, Sealing};
pub use shelf::{Page, sealed_facts, slot_facts};
pub use trust::trust_facts;
pub use upkeep::Swept;

pub use crate::keyring::Credential as RootCredential;

use crate::audit::Log;
use crate::catalogue::Catalogue;
use crate::crypto::keys::{Key, RootSecret};
use crate::error::Result;
use crate::home::{Home, HomeLock, VaultToml};
use crate::identity::Authority;
use crate::keyring::Keyring;
use crate::names::{Clock, Random, VaultId};
use crate::policy::Policies;
use crate::store::BlobStore;

/// An unlocked vault. Holding it is holding the home's lock.
pub struct Vault {
    home: Home,
    config: VaultToml,
    owner_uid: u32,
    root: Key<RootSecret>,
    keyring: RwLock<Keyring>,
    catalogue: Box<dyn Catalogue>,
    store: Box<dyn BlobStore>,
    policies: RwLock<PolicyInForce>,
    setting_policy: Mutex<()>,
    trust: RwLock<trust::TrustInForce>,
    setting_trust: Mutex<()>,
    authority: Authority,
    log: Mutex<Log>,
    refusals: Mutex<record::Refusals>,
    address: Mutex<Option<String>>,
    machine: Machine,
    // Last: given back when everything above is closed.
    _lock: HomeLock,
}

/// The policy every decision is made by.
struct PolicyInForce {
    /// Of the catalogue; 0: the built-in one.
    version: u64,
    policies: Arc<Policies>,
}

impl PolicyInForce {
    /// What the catalogue holds; the built-in policy if none was ever set.
    fn of(catalogue: &dyn Catalogue) -> Result<Self> {
        Ok(match catalogue.policy()? {
            Some(stored) => Self { version: stored.version, policies: Arc::new(Policies::parse(&stored.text)?) },
            None => Self { version: 0, policies: Arc::new(Policies::defaults()) },
        })
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

impl Vault {
    /// Id of the vault.
    pub fn vault_id(&self) -> VaultId {
        self.config.vault
    }

    /// The user who owns the home: operator on the Unix socket, as root is.
    pub fn owner_uid(&self) -> u32 {
        self.owner_uid
    }

    /// The vault's time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.machine.clock
    }

    /// The vault's randomness.
    pub fn random(&self) -> &dyn Random {
        &*self.machine.random
    }

    /// The home it lives in.
    pub fn home(&self) -> &Home {
        &self.home
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("id", &self.config.vault).field("home", &self.home).finish_non_exhaustive()
    }
}
