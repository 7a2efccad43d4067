//! The images of a folder: a record is one file, as a sample of an archive ([`tar`](super::tar)) is that has this one member. However many
//! there are, they count as one file of the dataset, and none of them is held but by name while its directory is walked.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::schema::Survey;
use super::super::units::{Fault, Give, Read, Units};
use super::members::{self, Content, Samples, See};
use crate::error::{Error, ErrorId, Result};
use crate::files::{Entry, ModelFiles};

/// Files and bytes that are worked on together.
const UNIT: (usize, u64) = (256, 8 << 20);

/// Images of one dataset.
pub struct Images<'a> {
    /// Where they are.
    pub files: &'a ModelFiles,
    /// Which files are images.
    pub is_image: &'a (dyn Fn(&str) -> bool + Sync),
    /// Told the bytes of those that were handed out.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Bytes of all of them, when they were handed out.
    pub size: AtomicU64,
}

impl Units for Images<'_> {
    type Unit = Vec<Entry>;

    fn hand_out(&self, _: Read<'_>, give: Give<'_, Vec<Entry>>) -> Result<()> {
        let (mut unit, mut bytes) = (Vec::new(), 0);
        let mut flush = |unit: &mut Vec<Entry>, bytes: &mut u64| {
            self.size.fetch_add(*bytes, Ordering::Relaxed);
            (self.progress)(std::mem::take(bytes));
            // Whoever wants no more has a reason, which is told instead of this.
            give(std::mem::take(unit))
                .then_some(())
                .ok_or(Error::new(ErrorId::Internal, "nobody waits for more images"))
        };
        self.files.walk_again(&mut |entry| {
            if !(self.is_image)(&entry.path) {
                return Ok(());
            }
            bytes += entry.size;
            unit.push(entry);
            if unit.len() >= UNIT.0 || bytes >= UNIT.1 { flush(&mut unit, &mut bytes) } else { Ok(()) }
        })?;
        if unit.is_empty() { Ok(()) } else { flush(&mut unit, &mut bytes) }
    }

    fn records(&self, unit: &Vec<Entry>, each: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        members::records(self, unit, each)
    }

    fn survey(&self, unit: &Vec<Entry>, _: &mut Survey) -> Result<u64, Fault> {
        Ok(unit.len() as u64)
    }
}

impl Samples for Images<'_> {
    fn names(&self, unit: &Vec<Entry>, see: &mut dyn FnMut(&str, &mut dyn Iterator<Item = &str>)) {
        for entry in unit {
            let (key, extension) = members::parted(&entry.path);
            see(key, &mut std::iter::once(extension));
        }
    }

    fn contents(&self, unit: &Vec<Entry>, see: See<'_>) -> Result<(), Fault> {
        for entry in unit {
            let file = self.files.open(entry)?;
            let (key, extension) = members::parted(&entry.path);
            see(key, &[Content { extension, size: entry.size, source: (&file, 0), place: &entry.path }])?;
            self.files.unchanged(entry, &file)?;
        }
        Ok(())
    }
}
