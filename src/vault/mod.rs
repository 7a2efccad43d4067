//! The facade: every way into a vault.
//!
//! It joins the side rooms and keeps the order that makes the promises true: first who calls (and whether they still may), then
//! the policy, then a durable audit row, and only then a key, a byte or a change. Synchronous: call it from blocking threads.
//!
//! | file | what |
//! |---|---|
//! | `call` | who asks, over what |
//! | `gate` | admission, decision, audit row: the one path every method takes |
//! | `approving` | what others must approve |
//! | `factors` | second factors, and what they open |
//! | `once` | a request that comes again |
//! | `life` | making, unlocking and closing a vault |
//! | `identities` | identities that the vault holds, and what they sign |
//! | `intel` | lists of known bad digests and keys: imported, matched |
//! | `publishing` | the right to publish, asked before and after |
//! | `sealing` | plaintext in: seal, portable seal |
//! | `importing` | sealed files in |
//! | `opening` | plaintext out: the open artifact and its end |
//! | `hold` | principals and artifacts on hold |
//! | `watching` | rules over the audit log, and what is done about what they notice |
//! | `lease` | a grant in use, renewed while plaintext is read |
//! | `counting` | quotas at work: what callers use, and refusals |
//! | `exporting` | sealed bytes out, and their end |
//! | `attesting` | signed statements about versions; what they say of datasets |
//! | `shredding` | the end of a version |
//! | `shelf` | names: list, inspect, tag, remove, verify |
//! | `access` | workloads, grants |
//! | `enforcing` | the policy in force: set and signed, verified when it is loaded |
//! | `policing` | explained decisions, earlier policies, marks of artifacts |
//! | `trust` | who is believed: trusted signers, the gate for publishers |
//! | `sessions` | callers whom others vouch for: tokens, other trust domains |
//! | `cutting` | what was taken back ends what runs |
//! | `settings` | documents that operators put in force |
//! | `targets` | whether what settings name can be sent to at all |
//! | `record` | the audit log as a whole, status |
//! | `sinks` | how far each receiver of the audit log has come |
//! | `tree` | the audit log's tree: its stored tiles, checkpoints, proofs |
//! | `usage` | what callers used of their quotas |
//! | `upkeep` | leftovers of processes that died |
//! | `witness` | the newest checkpoint, kept outside the home |

mod access;
mod approving;
mod attesting;
mod call;
mod counting;
mod cutting;
mod enforcing;
mod exporting;
mod factors;
mod gate;
mod hold;
mod identities;
mod importing;
mod intel;
mod lease;
mod life;
mod once;
mod opening;
mod policing;
mod publishing;
mod record;
mod sealing;
mod sessions;
mod settings;
mod shelf;
mod shredding;
mod sinks;
mod targets;
mod tree;
mod trust;
mod upkeep;
mod usage;
mod watching;
mod witness;

use std::sync::{Arc, Mutex, OnceLock, RwLock};

pub use call::{Caller, Channel, Counted, Evidence, Factor, Transport, Underway};
pub use cutting::Standing;
pub use exporting::Export;
pub use hold::{HoldSpec, HoldTarget};
pub use identities::{identity_facts, key_facts};
pub use importing::{ImportInput, ImportSource};
pub use life::{InitSpec, Machine};
pub use opening::{OpenArtifact, OpenMember, Wanted};
pub use publishing::NewArtifact;
pub use sealing::{PortableInput, Published, SealInput, SealMember, Sealing};
pub use sessions::{LoggedIn, TokenKeys};
pub use settings::check_setting;
pub use shelf::{Page, sealed_facts, slot_facts};
pub use trust::trust_facts;
pub use upkeep::Swept;
pub use watching::Raised;

pub use crate::keyring::Credential as RootCredential;

use crate::audit::Log;
use crate::catalogue::Catalogue;
use crate::crypto::keys::{Key, RootSecret};
use crate::home::{Home, HomeLock, VaultToml};
use crate::identity::Authority;
use crate::identity::jwks::KeyCache;
use crate::intel::Lists;
use crate::keyring::Keyring;
use crate::names::{Clock, Random, VaultId};
use crate::store::BlobStore;
use crate::telemetry::Metrics;

/// An unlocked vault. Holding it is holding the home's lock.
pub struct Vault {
    home: Home,
    config: VaultToml,
    owner_uid: u32,
    root: Key<RootSecret>,
    keyring: RwLock<Keyring>,
    catalogue: Box<dyn Catalogue>,
    store: Box<dyn BlobStore>,
    policies: RwLock<enforcing::PolicyInForce>,
    setting_policy: Mutex<()>,
    trust: RwLock<trust::TrustInForce>,
    setting_trust: Mutex<()>,
    settings: settings::Settings,
    counting: counting::Counting,
    issuer_keys: KeyCache,
    cuts: cutting::Cuts,
    trust_domains: crate::identity::TrustDomains,
    holds: hold::Holds,
    watching: Mutex<Option<watching::Watching>>,
    authority: Authority,
    intel: RwLock<Arc<Lists>>,
    setting_intel: Mutex<()>,
    /// Held from the question whether a dataset is the newest version to its being published.
    publishing_dataset: Mutex<()>,
    log: Mutex<Log>,
    witness: Mutex<Option<witness::Witness>>,
    /// How the log contradicted its witness, once it did.
    contradiction: OnceLock<String>,
    refusals: Mutex<record::Refusals>,
    board: sinks::Board,
    metrics: Arc<Metrics>,
    address: Mutex<Option<String>>,
    machine: Machine,
    // Last: given back when everything above is closed.
    _lock: HomeLock,
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

    /// What it counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
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
