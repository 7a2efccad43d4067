//! The signed hashes of the images of a folder, one after the other: what a reader compares each image with.

use super::frame::contents::files_of;
use super::measure::Measured;
use super::pieces::{Piece, Pieces};
use super::reader::{Beside, changed};
use crate::crypto::hash::blake3;
use crate::crypto::merkle::Frontier;
use crate::crypto::tiles::{self, TileId, WIDTH};
use crate::error::{Error, Result};
use crate::names::Sha256;

/// Bytes of a tile.
const TILE: u64 = 32 * WIDTH;

/// Of all images of one version. Memory: 48 bytes for 256 images.
pub(super) struct ImageLeaves<'a> {
    place: &'a dyn Beside,
    file: &'a Measured,
    /// What was read of them, for a receipt: a tile of hashes counts as a piece.
    pub pieces: Pieces,
    tile: std::vec::IntoIter<Sha256>,
    number: u64,
}

impl<'a> ImageLeaves<'a> {
    /// Compares all tiles with the signed root.
    ///
    /// # Errors
    /// `DatasetChanged` where they are not those; those of the place.
    pub fn of(place: &'a dyn Beside, file: &'a Measured) -> Result<Self> {
        let (mut tree, mut pieces) = (Frontier::default(), Vec::new());
        for index in 0..file.records.div_ceil(WIDTH) {
            let (text, hashes) = tile(place, file, index)?;
            tree.extend(&hashes);
            pieces.push(Piece::of(&text, hashes.len() as u64));
        }
        if tree.size() != file.records || tree.root() != file.root {
            return Err(unsigned(file));
        }
        Ok(Self { place, file, pieces: Pieces(pieces), tile: Vec::new().into_iter(), number: 0 })
    }

    /// The hash of the next image; none after the last. A tile is read again, and is what it was.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn next(&mut self) -> Result<Option<Sha256>> {
        if self.number.is_multiple_of(WIDTH) && self.number < self.file.records {
            let index = self.number / WIDTH;
            let (text, hashes) = tile(self.place, self.file, index)?;
            let known = usize::try_from(index).ok().and_then(|index| self.pieces.0.get(index));
            if known.is_none_or(|piece| piece.blake3 != blake3(&text)) {
                return Err(unsigned(self.file));
            }
            self.tile = hashes.into_iter();
        }
        self.number += 1;
        Ok(self.tile.next())
    }

    /// What to say of the image that was compared last.
    pub fn changed(&self, record: &[u8]) -> Error {
        let called = files_of(record).map_or_else(String::new, |(key, files)| {
            let extension = files.first().map_or("", |(extension, _)| extension);
            format!(", {key}.{extension},")
        });
        changed(&self.file.path, &format!("record {}{called} is not the image that was signed there", self.number))
    }
}

/// What was read of images, as a receipt tells it: a tile of hashes counts as a piece.
///
/// # Errors
/// `DatasetChanged` for other hashes than were signed; those of the place.
pub fn image_pieces(place: &dyn Beside, file: &Measured) -> Result<Pieces> {
    Ok(ImageLeaves::of(place, file)?.pieces)
}

fn tile(place: &dyn Beside, file: &Measured, index: u64) -> Result<(Vec<u8>, Vec<Sha256>)> {
    let id = TileId { level: 0, index };
    let text = place.beside(&file.path, &id.path(id.width(file.records)), TILE)?;
    let hashes = tiles::hashes(&text).ok_or_else(|| unsigned(file))?;
    Ok((text, hashes))
}

fn unsigned(file: &Measured) -> Error {
    changed(&file.path, "the hashes of its records are not those that were signed")
}
