//! The hashes of a file's records on disk, as tiles of its tree (C2SP tlog-tiles): what a later version is compared with, and
//! what proofs are made from.

use std::fs;
use std::path::{Path, PathBuf};

use super::reader::Beside;
use crate::crypto::merkle::Frontier;
use crate::crypto::tiles::{self, Nodes, Tile, TileId, Tiles, WIDTH};
use crate::error::{Error, ErrorId, Result};
use crate::names::Sha256;

/// Writes the tiles of one tree.
pub struct LeafWriter {
    dir: PathBuf,
    tiles: Tiles,
}

impl LeafWriter {
    /// Below `dir`, which is made.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|e| Error::from(e).on(dir.display()))?;
        Ok(Self { dir: dir.into(), tiles: Tiles::default() })
    }

    /// The next hashes.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn push(&mut self, leaves: &[Sha256]) -> Result<()> {
        let mut full = Vec::new();
        leaves.iter().for_each(|leaf| self.tiles.push(*leaf, &mut |tile| full.push(tile)));
        full.iter().try_for_each(|tile| self.write(tile))
    }

    /// Writes what is not full.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(self) -> Result<()> {
        self.tiles.open().collect::<Vec<_>>().iter().try_for_each(|tile| self.write(tile))
    }

    fn write(&self, tile: &Tile) -> Result<()> {
        let path = self.dir.join(tile.id.path(tile.hashes.len() as u16));
        let parent = path.parent().unwrap_or(&self.dir);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, tile.to_bytes()));
        written.map_err(|e| Error::from(e).on(path.display()))
    }
}

/// Reads the tiles of a tree of known size and root.
pub struct Leaves<'a> {
    /// Where they are.
    pub place: &'a dyn Beside,
    /// Path of the file whose records they are about.
    pub file: &'a str,
    /// Records.
    pub size: u64,
    /// Root of the signed tree.
    pub root: Sha256,
}

impl Leaves<'_> {
    fn tile(&self, id: TileId, width: u16) -> Result<Vec<Sha256>> {
        let path = id.path(width);
        let damaged = |why: String| {
            let text = format!("{}, {path}: {why}", self.file);
            Error::new(ErrorId::DatasetChanged, text).hint("the hashes of the records are not those that were signed")
        };
        let bytes = self.place.beside(self.file, &path, 32 * WIDTH).map_err(|e| match e.id() {
            ErrorId::NotFound | ErrorId::IoError => damaged(e.message().to_owned()),
            _ => e,
        })?;
        let hashes = tiles::hashes(&bytes).filter(|hashes| hashes.len() == usize::from(width));
        hashes.ok_or_else(|| damaged("not the tile that was signed".into()))
    }

    /// Gives all hashes to `each`, in order, and then says whether they were those of the root: what was made of them before counts for
    /// nothing otherwise.
    ///
    /// # Errors
    /// `DatasetChanged` where they are not; those of `each`.
    pub fn each(&self, each: &mut dyn FnMut(&[Sha256]) -> Result<()>) -> Result<()> {
        let mut tree = Frontier::default();
        for index in 0..self.size.div_ceil(WIDTH) {
            let id = TileId { level: 0, index };
            let hashes = self.tile(id, id.width(self.size))?;
            tree.extend(&hashes);
            each(&hashes)?;
        }
        if tree.root() == self.root {
            return Ok(());
        }
        Err(Error::new(ErrorId::DatasetChanged, "the hashes of the records are not those that were signed"))
    }

    /// Hash and inclusion proof of one record, bottom first.
    ///
    /// # Errors
    /// `NotFound` beyond the last record; `DatasetChanged` where the tiles are not those of the root.
    pub fn prove(&self, index: u64) -> Result<(Sha256, Vec<Sha256>)> {
        if index >= self.size {
            let text = format!("there is no record {}: the file has {}", index + 1, self.size);
            return Err(Error::new(ErrorId::NotFound, text));
        }
        let mut read = |id: TileId, _: u16| self.tile(id, id.width(self.size));
        let mut nodes = Nodes::new(self.size, &mut read);
        let leaf = nodes.leaf(index)?;
        let proof = nodes.inclusion(index)?.unwrap_or_default();
        if crate::crypto::merkle::verify_inclusion(leaf, index, self.size, &proof, &self.root) {
            return Ok((leaf, proof));
        }
        Err(Error::new(ErrorId::DatasetChanged, "the hashes of the records are not those that were signed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::sha256;
    use crate::crypto::merkle;

    struct Dir(PathBuf);

    impl Beside for Dir {
        fn beside(&self, file: &str, what: &str, _: u64) -> Result<Vec<u8>> {
            Ok(fs::read(self.0.join(file).join(what))?)
        }
    }

    #[test]
    fn hashes_are_read_again_proved_and_missed() {
        let dir = tempfile::tempdir().unwrap();
        for size in [0_u64, 1, 255, 256, 257, 70_000] {
            let (place, file) = (Dir(dir.path().into()), size.to_string());
            let all: Vec<_> = (0..size).map(|i| sha256(&i.to_le_bytes())).collect();
            let mut writer = LeafWriter::create(&dir.path().join(&file)).unwrap();
            all.chunks(1000).for_each(|some| writer.push(some).unwrap());
            writer.finish().unwrap();
            let leaves = Leaves { place: &place, file: &file, size, root: merkle::root(&all) };
            let mut again = Vec::new();
            leaves
                .each(&mut |some| {
                    again.extend_from_slice(some);
                    Ok(())
                })
                .unwrap();
            assert!(again == all, "{size}");
            assert_eq!(leaves.prove(size).unwrap_err().id(), ErrorId::NotFound);
            if let Some(last) = size.checked_sub(1) {
                let (leaf, proof) = leaves.prove(last).unwrap();
                assert!(merkle::verify_inclusion(leaf, last, size, &proof, &leaves.root));
                let other = Leaves { root: sha256(b"other"), ..leaves };
                assert_eq!(other.each(&mut |_| Ok(())).unwrap_err().id(), ErrorId::DatasetChanged);
                assert_eq!(other.prove(last).unwrap_err().id(), ErrorId::DatasetChanged);
            }
        }
    }
}
