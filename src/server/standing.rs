//! Ends what runs when its right to run is taken back, also while it waits for a client that does not read.

use std::sync::Arc;
use std::time::Duration;

use super::calls::panicked;
use crate::error::Error;
use crate::vault::Standing;

/// How long something whose right was taken back may take to end by itself, with the reason as its last word.
pub(super) const GRACE: Duration = Duration::from_millis(250);
/// How often a right is asked about when nothing was taken back: it may also end with time.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Waits until the right is taken back or over, and says why.
pub(super) async fn lost(mut standing: Standing) -> Error {
    // Something may have been taken back between the decision and now.
    standing.changed.mark_changed();
    loop {
        match tokio::time::timeout(LOOK_AGAIN, standing.changed.changed()).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(_)) => return std::future::pending().await,
        }
        let check = Arc::clone(&standing.check);
        match tokio::task::spawn_blocking(move || check()).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return why,
            Err(e) => return panicked(e),
        }
    }
}
