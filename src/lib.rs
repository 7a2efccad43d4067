//! Model Vault: sealed, signed, policy-gated storage and verified streaming for models and training data.
//!
//! The rooms follow the flow of the bytes (ARCHITECTURE.md has the map and the invariants):
//!
//! ```text
//! bytes -> seal -> sign -> store + catalogue -> [policy gate: Grant] -> stream -> verify at the client
//! ```
//!
//! Paved paths: [`Vault`](vault::Vault) for whoever holds a home, [`Client`](client::Client) for whoever fetches from a daemon.
//!
//! ```no_run
//! # async fn example() -> model_vault::Result<()> {
//! use model_vault::client::{Client, Endpoint, FetchPlan, InMemory};
//! use model_vault::identity::Enrolment;
//!
//! let enrolment = Enrolment::read("/etc/serving/enrolment".as_ref())?;
//! let signers = enrolment.signers.clone();
//! let client = Client::connect(Endpoint::Workload { address: enrolment.address.clone(), enrolment }).await?;
//! let mut model = InMemory::default();
//! client.fetch(FetchPlan::whole("prod/resnet@gold".parse()?, signers), &mut model).await?;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "daemon")]
pub mod audit;
#[cfg(feature = "daemon")]
pub mod catalogue;
#[cfg(feature = "client")]
pub mod client;
pub mod crypto;
pub mod dataset;
pub mod error;
pub mod facts;
pub mod files;
#[cfg(feature = "daemon")]
mod glob;
#[cfg(feature = "daemon")]
pub mod home;
#[cfg(feature = "client")]
pub mod identity;
pub mod intel;
pub mod json;
#[cfg(feature = "daemon")]
pub mod keyring;
pub mod manifest;
pub mod marks;
pub mod names;
#[cfg(feature = "client")]
pub mod net;
#[cfg(feature = "daemon")]
pub mod policy;
#[cfg(feature = "daemon")]
pub mod quota;
pub mod regular;
pub mod seal;
#[cfg(feature = "daemon")]
pub mod server;
#[cfg(feature = "daemon")]
pub mod settings;
#[cfg(feature = "daemon")]
pub mod siem;
#[cfg(feature = "daemon")]
pub mod sinks;
#[cfg(feature = "daemon")]
pub mod store;
#[cfg(feature = "daemon")]
pub mod telemetry;
#[cfg(feature = "daemon")]
pub mod vault;
#[cfg(feature = "daemon")]
pub mod watch;
#[cfg(feature = "client")]
mod wire;

pub use error::{Error, ErrorId, Kind, Result};
