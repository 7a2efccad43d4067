//! The images of a folder: a record is one file, as a sample of an archive ([`tar`](super::tar)) is that has this one member. However many
//! there are, they count as one file of the dataset, and none of them is held but by name while its directory is walked.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::schema::Survey;
use super::super::tree::Tree;
use super::super::units::{Fault, Give, Read, Units};
use super::members::{self, Content, Samples, See};
use crate::error::{Error, ErrorId, Result};

/// Files and bytes that are worked on together.
const UNIT: (usize, u64) = (256, 8 << 20);

/// Images of one dataset.
pub struct Images<'a> {
    /// Where they are.
    pub files: &'a dyn Tree,
    /// Which files are images.
    pub is_image: &'a (dyn Fn(&str) -> bool + Sync),
    /// Told the bytes of those that were handed out.
    pub progress: &'a (dyn Fn(u64) + Sync),
    /// Bytes of all of them, when they were handed out.
    pub size: AtomicU64,
}

impl Units for Images<'_> {
    /// Paths and sizes.
    type Unit = Vec<(String, u64)>;

    fn hand_out(&self, _: Read<'_>, give: Give<'_, Self::Unit>) -> Result<()> {
        let (mut unit, mut bytes) = (Vec::new(), 0);
        let mut flush = |unit: &mut Self::Unit, bytes: &mut u64| {
            self.size.fetch_add(*bytes, Ordering::Relaxed);
            (self.progress)(std::mem::take(bytes));
            // Whoever wants no more has a reason, which is told instead of this.
            give(std::mem::take(unit))
                .then_some(())
                .ok_or(Error::new(ErrorId::Internal, "nobody waits for more images"))
        };
        self.files.walk(&mut |path, size| {
            if !(self.is_image)(path) {
                return Ok(());
            }
            bytes += size;
            unit.push((path.into(), size));
            if unit.len() >= UNIT.0 || bytes >= UNIT.1 { flush(&mut unit, &mut bytes) } else { Ok(()) }
        })?;
        if unit.is_empty() { Ok(()) } else { flush(&mut unit, &mut bytes) }
    }

    fn records(&self, unit: &Self::Unit, each: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        members::records(self, unit, each)
    }

    fn survey(&self, unit: &Self::Unit, _: &mut Survey) -> Result<u64, Fault> {
        Ok(unit.len() as u64)
    }
}

impl Samples for Images<'_> {
    fn names(&self, unit: &Self::Unit, see: &mut dyn FnMut(&str, &mut dyn Iterator<Item = &str>)) {
        for (path, _) in unit {
            let (key, extension) = members::parted(path);
            see(key, &mut std::iter::once(extension));
        }
    }

    fn contents(&self, unit: &Self::Unit, see: See<'_>) -> Result<(), Fault> {
        for (path, size) in unit {
            let file = self.files.open(path)?;
            let (key, extension) = members::parted(path);
            see(key, &[Content { extension, size: *size, source: (&*file, 0), place: path }])?;
            file.unchanged()?;
            if file.len().map_err(|e| Error::of_io(e, path))? != *size {
                let text = format!("{path} changed while it was read");
                return Err(Error::new(ErrorId::SourceChanged, text).into());
            }
        }
        Ok(())
    }
}
