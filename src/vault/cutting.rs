//! What was taken back is noticed by what runs: every stream asks again whether it may go on.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::lease::Lease;
use super::{Caller, Vault};
use crate::error::Result;

/// How often something was taken back.
pub(super) struct Cuts(watch::Sender<u64>);

impl Default for Cuts {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Cuts {
    /// A number that changes when something is taken back.
    pub(super) fn generation(&self) -> u64 {
        *self.0.borrow()
    }
}

/// Whether something that runs may go on, for whoever can end it.
#[derive(Clone)]
pub struct Standing {
    /// Changes when something is taken back.
    pub changed: watch::Receiver<u64>,
    /// Asks again. Blocking.
    pub check: Arc<dyn Fn() -> Result<()> + Send + Sync>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standing")
    }
}

impl Vault {
    /// Something was taken back: whatever runs asks again before it goes on, and what may not is ended. To be called after the
    /// change is durable.
    pub fn cut(&self) {
        self.cuts.0.send_modify(|generation| *generation += 1);
    }

    /// Changes when something is taken back.
    pub fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.0.subscribe()
    }

    /// The standing of a caller: whether its credential is still good.
    pub fn standing(self: &Arc<Self>, caller: &Caller) -> Standing {
        let caller = caller.clone();
        self.standing_while(move |vault| vault.admit(&caller))
    }

    /// The standing of something long: whether `ask`, which was asked when it began, would still let it begin.
    pub(crate) fn standing_while(
        self: &Arc<Self>,
        ask: impl Fn(&Self) -> Result<()> + Send + Sync + 'static,
    ) -> Standing {
        let vault = Arc::clone(self);
        Standing { changed: self.cuts(), check: Arc::new(move || ask(&vault)) }
    }

    /// The standing of a lease: whether the read would still be permitted.
    pub(super) fn standing_of(&self, lease: &Arc<Lease>) -> Standing {
        let lease = Arc::clone(lease);
        Standing { changed: self.cuts(), check: Arc::new(move || lease.ask_again()) }
    }
}
