//! What requests were carried out, so that one that comes again after a cut changes nothing a second time.

use super::super::*;
use super::rows::Db;
use super::{log, operators};

/// The audit row of an act, and the memory of the request that asked for it; its approval is used up. `number`: what the command
/// answers.
pub(super) fn append(db: &Db<'_>, entry: &Entry, number: u64) -> Result<Sequence> {
    operators::spend(db, entry.approval.as_ref())?;
    let sequence = log::append(db, &entry.leaf)?;
    if let Some(once) = &entry.once {
        let forgotten = db.now.as_millis().saturating_sub(REMEMBERED.as_millis() as i64);
        db.execute("DELETE FROM requests WHERE created < ?1", [forgotten])?;
        if request(db, once.id)?.is_some() {
            return Err(CatalogueError::AlreadyExists(format!("request {} was carried out", once.id)));
        }
        db.insert(&RequestRecord { once: once.clone(), number, sequence, created: db.now })?;
    }
    Ok(sequence)
}

pub(super) fn request(db: &Db<'_>, id: RequestId) -> Result<Option<RequestRecord>> {
    db.one("WHERE id = ?1", [id.0])
}
