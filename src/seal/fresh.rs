//! Everything random about one attempt to seal, drawn in one place (docs/format.md 5.4, rules 1 and 5).

use zeroize::Zeroizing;

use super::error::SealError;
use super::unlock::FreshSlot;
use crate::crypto::keys::{FileKey, Key};
use crate::crypto::random::fill_hedged;
use crate::names::{FileId, Random};

/// The values of one attempt. They must never serve a second one: a file key that meets two plaintexts protects neither.
#[derive(Debug)]
pub struct Fresh {
    /// FK.
    pub file_key: Key<FileKey>,
    /// The file.
    pub file_id: FileId,
    /// Generation of the first header: 1.
    pub generation: u32,
    /// One for each slot.
    pub slots: Vec<FreshSlot>,
}

impl Fresh {
    pub(crate) fn draw(random: &dyn Random, slots: usize) -> Result<Self, SealError> {
        let (mut key, mut file_id) = (Zeroizing::new([0; 32]), [0; 32]);
        fill_hedged(random, b"file key", &mut key)?;
        fill_hedged(random, b"file id", &mut file_id)?;
        let slots = (0..slots).map(|_| FreshSlot::draw(random)).collect::<Result<_, _>>()?;
        Ok(Self { file_key: Key::take(&mut key), file_id: FileId(file_id), generation: 1, slots })
    }
}

impl FreshSlot {
    pub(crate) fn draw(random: &dyn Random) -> Result<Self, SealError> {
        let mut fresh = Self { id: [0; 16], salt: [0; 32] };
        random.fill(&mut fresh.id)?;
        random.fill(&mut fresh.salt)?;
        Ok(fresh)
    }
}
