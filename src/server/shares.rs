//! What each principal or address may have of a pool at the same time, over all its connections: one must not take what others
//! need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// Names remembered before those that hold nothing are forgotten.
const KEPT: usize = 256;

/// One share for each name, all of the same size.
pub(super) struct Shares {
    size: usize,
    held: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Shares {
    /// Shares of `size` each.
    pub(super) fn new(size: usize) -> Self {
        Self { size, held: Mutex::new(HashMap::new()) }
    }

    /// The share of one principal or address.
    pub(super) fn of(&self, whom: &impl ToString) -> Arc<Semaphore> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= KEPT {
            // A permit that was taken holds a reference.
            held.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let fresh = || Arc::new(Semaphore::new(self.size));
        Arc::clone(held.entry(whom.to_string()).or_insert_with(fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Principal;

    #[test]
    fn principals_that_left_are_forgotten_and_those_that_hold_something_are_not() {
        let shares = Shares::new(1);
        let held = shares.of(&Principal::local_operator(0)).try_acquire_owned().unwrap();
        for uid in 1..2000 {
            shares.of(&Principal::local_operator(uid));
        }
        assert!(shares.held.lock().unwrap().len() <= KEPT);
        assert!(shares.of(&Principal::local_operator(0)).try_acquire_owned().is_err());
        drop(held);
        assert!(shares.of(&Principal::local_operator(0)).try_acquire_owned().is_ok());
    }
}
