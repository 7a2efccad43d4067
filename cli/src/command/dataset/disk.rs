//! A signed dataset on disk, for a reader of it.

use std::fs::File;

use model_vault::Result;
use model_vault::dataset::{Folder, Format, Measured, Pieces, Place, Runs, image_pieces};
use model_vault::seal::io::ReadAt;

use super::places::{CONTRIBUTORS, PIECES, Places};
use crate::files::{on, read_small};

/// Files and what is kept beside them.
pub struct Disk<'a> {
    /// The files.
    pub folder: &'a Folder,
    /// What is beside them.
    pub places: &'a Places,
}

impl Disk<'_> {
    /// The pieces of a file, as they were signed; of images, what a receipt counts as such.
    ///
    /// # Errors
    /// `DatasetChanged`, and those of the file system.
    pub fn pieces(&self, file: &Measured) -> Result<Pieces> {
        if file.format == Format::Images {
            return image_pieces(self, file);
        }
        Pieces::from_text(&self.beside(&file.path, PIECES, Pieces::most(file.size))?, &file.pieces)
            .map_err(|e| e.on(&file.path))
    }

    /// Who supplied the records of a file, as it lies on disk: not compared yet with what was signed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn contributors(&self, file: &Measured) -> Result<Vec<u8>> {
        self.beside(&file.path, CONTRIBUTORS, Runs::most(file.records))
    }
}

impl Place for Disk<'_> {
    fn open(&self, file: &str) -> Result<Box<dyn ReadAt>> {
        let opened: File = self.folder.open(file)?;
        Ok(Box::new(opened))
    }

    fn folder(&self) -> &Folder {
        self.folder
    }

    fn beside(&self, file: &str, what: &str, most: u64) -> Result<Vec<u8>> {
        let path = self.places.records_of(file).join(what);
        read_small(&path, most).map_err(on(&path))
    }
}
