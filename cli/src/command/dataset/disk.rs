//! A signed dataset on disk, for a reader of it.

use std::fs::File;

use model_vault::Result;
use model_vault::dataset::{Folder, Measured, PIECES, Pieces, Place};
use model_vault::seal::io::ReadAt;

use super::places::Places;

/// Files and what is kept beside them.
pub struct Disk<'a> {
    /// The files.
    pub folder: &'a Folder,
    /// What is beside them.
    pub places: &'a Places,
}

impl Disk<'_> {
    /// The pieces of a file, as they were signed.
    ///
    /// # Errors
    /// `DatasetChanged`, and those of the file system.
    pub fn pieces(&self, file: &Measured) -> Result<Pieces> {
        Pieces::from_text(&self.beside(&file.path, PIECES, Pieces::most(file.size))?, &file.pieces)
            .map_err(|e| e.on(&file.path))
    }
}

impl Place for Disk<'_> {
    fn open(&self, file: &str) -> Result<Box<dyn ReadAt>> {
        let opened: File = self.folder.open(file)?;
        Ok(Box::new(opened))
    }

    fn beside(&self, file: &str, what: &str, most: u64) -> Result<Vec<u8>> {
        self.places.beside(file, what, most)
    }
}
