//! Ends what runs when its right to run is taken back, also while it waits for a client that does not read.

use std::sync::Arc;
use std::time::Duration;

use super::calls::panicked;
use crate::error::Error;
use crate::vault::Standing;

/// How long something whose right was taken back may take to end by itself, with the reason as its last word.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// Waits until the right is taken back, and says why.
pub(super) async fn lost(mut standing: Standing) -> Error {
    // Something may have been taken back between the decision and now.
    standing.changed.mark_changed();
    loop {
        if standing.changed.changed().await.is_err() {
            return std::future::pending().await;
        }
        let check = Arc::clone(&standing.check);
        match tokio::task::spawn_blocking(move || check()).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return why,
            Err(e) => return panicked(e),
        }
    }
}
