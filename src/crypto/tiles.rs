//! The tree in tiles (C2SP `tlog-tiles`): which hashes lie in which tile, their paths, and proofs from them. Arithmetic only.
//!
//! A tile of level L holds at most 256 hashes of the tree's level 8 L: those of level 0 are the leaf hashes, and a full tile is
//! one hash of the next level. The hashes between are computed from those below, so a proof reads at most two tiles of each
//! level, the one above the record and the one at the right edge: 6 at ten million records, never more than 16.

use crate::crypto::merkle::{self, Frontier, node_hash};
use crate::error::Result;
use crate::names::Sha256;

/// Levels of the tree in a tile.
const HEIGHT: u32 = 8;
/// Hashes in a full tile.
pub const WIDTH: u64 = 1 << HEIGHT;
/// Levels of tiles that a tree of 64-bit size can have.
pub const LEVELS: u8 = 8;

/// Where a tile is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// 0: leaf hashes.
    pub level: u8,
    /// From the left.
    pub index: u64,
}

impl TileId {
    /// How many hashes this tile has in a tree of `size` leaves; 0: it is not there.
    pub fn width(self, size: u64) -> u16 {
        let hashes = size.checked_shr(HEIGHT * u32::from(self.level)).unwrap_or(0);
        let before = self.index.saturating_mul(WIDTH);
        hashes.saturating_sub(before).min(WIDTH) as u16
    }

    /// Path below the directory of the log: `tile/0/x001/234`, and `.p/17` behind it if it is not full.
    pub fn path(self, width: u16) -> String {
        format!("tile/{}/{}", self.level, indexed(self.index, width))
    }
}

/// Path of the records whose leaf hashes are in tile `index` of level 0.
pub fn entries_path(index: u64, width: u16) -> String {
    format!("tile/entries/{}", indexed(index, width))
}

/// Three digits a directory, so that none has more than a thousand entries.
fn indexed(index: u64, width: u16) -> String {
    let digits = index.to_string();
    let digits = format!("{digits:0>0$}", digits.len().next_multiple_of(3));
    let groups = digits.len() / 3;
    let mut path = String::new();
    for group in 0..groups {
        let three = &digits[3 * group..3 * group + 3];
        path += &if group + 1 < groups { format!("x{three}/") } else { three.into() };
    }
    if u64::from(width) < WIDTH {
        path += &format!(".p/{width}");
    }
    path
}

/// A tile and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Where it is.
    pub id: TileId,
    /// Its hashes, 1 to 256.
    pub hashes: Vec<Sha256>,
}

impl Tile {
    /// Its bytes: the hashes in a row.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.0).collect()
    }
}

/// The hashes of a tile from its bytes; `None` if they are not whole hashes.
pub fn hashes(bytes: &[u8]) -> Option<Vec<Sha256>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() as u64 <= WIDTH).then(|| hashes.iter().map(|h| Sha256(*h)).collect())
}

/// The right edge of a growing tree: takes leaf hashes, gives tiles back as they fill up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiles {
    size: u64,
    /// The tile that is not full yet, of each level from 0 on.
    open: Vec<Vec<Sha256>>,
}

impl Tiles {
    /// Goes on from the tiles that are not full, which `read` gives; `None` where one is missing or has too few hashes.
    pub fn restore(
        size: u64,
        mut read: impl FnMut(TileId, u16) -> Result<Option<Vec<Sha256>>>,
    ) -> Result<Option<Self>> {
        let mut open = Vec::new();
        for level in 0..LEVELS {
            let hashes = size.checked_shr(HEIGHT * u32::from(level)).unwrap_or(0);
            if hashes == 0 {
                break;
            }
            let (id, width) = (TileId { level, index: hashes / WIDTH }, (hashes % WIDTH) as usize);
            if width == 0 {
                open.push(Vec::new());
                continue;
            }
            let Some(mut found) = read(id, width as u16)? else { return Ok(None) };
            if found.len() < width {
                return Ok(None);
            }
            found.truncate(width);
            open.push(found);
        }
        Ok(Some(Self { size, open }))
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash; `full` is given each tile that this fills.
    pub fn push(&mut self, leaf: Sha256, full: &mut impl FnMut(Tile)) {
        let mut hash = leaf;
        for level in 0..LEVELS {
            let at = usize::from(level);
            if self.open.len() == at {
                self.open.push(Vec::with_capacity(WIDTH as usize));
            }
            self.open[at].push(hash);
            if (self.open[at].len() as u64) < WIDTH {
                break;
            }
            let hashes = std::mem::replace(&mut self.open[at], Vec::with_capacity(WIDTH as usize));
            hash = merkle::root(&hashes);
            let index = (self.size >> (HEIGHT * u32::from(level))) / WIDTH;
            full(Tile { id: TileId { level, index }, hashes });
        }
        self.size += 1;
    }

    /// The tiles at the right edge that are not full.
    pub fn open(&self) -> impl Iterator<Item = Tile> + '_ {
        self.open.iter().zip(0u8..).filter(|(hashes, _)| !hashes.is_empty()).map(|(hashes, level)| {
            let index = (self.size >> (HEIGHT * u32::from(level))) / WIDTH;
            Tile { id: TileId { level, index }, hashes: hashes.clone() }
        })
    }

    /// The same tree as the roots of its perfect subtrees.
    pub fn frontier(&self) -> Frontier {
        let largest_first = self.open.iter().rev().flat_map(|hashes| {
            let mut tile = Frontier::default();
            hashes.iter().for_each(|hash| tile.push(*hash));
            tile.perfect().to_vec()
        });
        Frontier::restore(self.size, largest_first.collect()).expect("one subtree for each set bit of the size")
    }
}

/// Where hashes are read from. The answer has at least `width` hashes, or an error says why not.
pub trait ReadTiles {
    /// The first `width` hashes of a tile, or more.
    fn tile(&mut self, id: TileId, width: u16) -> Result<Vec<Sha256>>;
}

impl<F: FnMut(TileId, u16) -> Result<Vec<Sha256>>> ReadTiles for F {
    fn tile(&mut self, id: TileId, width: u16) -> Result<Vec<Sha256>> {
        self(id, width)
    }
}

/// Reads nodes of the tree of one size; keeps the tiles it has read.
pub struct Nodes<'a, R> {
    size: u64,
    source: &'a mut R,
    kept: Vec<(TileId, Vec<Sha256>)>,
}

impl<'a, R: ReadTiles> Nodes<'a, R> {
    /// The tree of `size` leaves.
    pub fn new(size: u64, source: &'a mut R) -> Self {
        Self { size, source, kept: Vec::new() }
    }

    /// Its root.
    pub fn root(&mut self) -> Result<Sha256> {
        if self.size == 0 { Ok(merkle::empty_root()) } else { self.range(0, self.size) }
    }

    /// Leaf hash `index`, which must be in the tree.
    pub fn leaf(&mut self, index: u64) -> Result<Sha256> {
        self.perfect(0, index)
    }

    /// Inclusion proof of leaf `index` (RFC 6962, 2.1.1), bottom first; `None` if there is no such leaf.
    pub fn inclusion(&mut self, index: u64) -> Result<Option<Vec<Sha256>>> {
        if index >= self.size {
            return Ok(None);
        }
        let mut proof = Vec::new();
        let (mut from, mut to) = (0, self.size);
        while to - from > 1 {
            let middle = from + split(to - from);
            if index < middle {
                proof.push(self.range(middle, to)?);
                to = middle;
            } else {
                proof.push(self.range(from, middle)?);
                from = middle;
            }
        }
        proof.reverse();
        Ok(Some(proof))
    }

    /// Proof that the tree extends its first `old` leaves (RFC 6962, 2.1.2); `None` if there are fewer. Empty for `old` 0.
    pub fn consistency(&mut self, old: u64) -> Result<Option<Vec<Sha256>>> {
        if old > self.size {
            return Ok(None);
        }
        let mut proof = Vec::new();
        // The old tree is a whole subtree from `from` on only as long as nothing of it was split off.
        let (mut from, mut to, mut whole) = (0, self.size, true);
        while old > 0 && old != to {
            let middle = from + split(to - from);
            if old <= middle {
                proof.push(self.range(middle, to)?);
                to = middle;
            } else {
                proof.push(self.range(from, middle)?);
                from = middle;
                whole = false;
            }
        }
        if !whole {
            proof.push(self.range(from, to)?);
        }
        proof.reverse();
        Ok(Some(proof))
    }

    /// Hash over leaves `from..to`: a subtree of the decomposition of RFC 6962.
    fn range(&mut self, from: u64, to: u64) -> Result<Sha256> {
        let len = to - from;
        if len.is_power_of_two() {
            let height = len.trailing_zeros();
            return self.perfect(height, from >> height);
        }
        let middle = from + split(len);
        Ok(node_hash(&self.range(from, middle)?, &self.range(middle, to)?))
    }

    /// Node `index` of the level `height` above the leaves.
    fn perfect(&mut self, height: u32, index: u64) -> Result<Sha256> {
        let (level, within) = ((height / HEIGHT) as u8, height % HEIGHT);
        let first = index << within;
        let (id, at) = (TileId { level, index: first / WIDTH }, (first % WIDTH) as usize);
        let kept = match self.kept.iter().position(|(kept, _)| *kept == id) {
            Some(kept) => kept,
            None => {
                let hashes = self.source.tile(id, id.width(self.size))?;
                self.kept.push((id, hashes));
                self.kept.len() - 1
            }
        };
        let hashes = self.kept[kept].1.get(at..at + (1 << within)).ok_or_else(|| damaged(id))?;
        Ok(merkle::root(hashes))
    }
}

/// A tile that does not hold what it must.
pub fn damaged(id: TileId) -> crate::Error {
    let text = format!("tile {} of level {} is damaged", id.index, id.level);
    crate::Error::new(crate::ErrorId::AuditBroken, text)
}

/// Leaves of the left subtree: the largest power of two below `len`.
fn split(len: u64) -> u64 {
    debug_assert!(len > 1);
    1 << (u64::BITS - 1 - (len - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::crypto::merkle::leaf_hash;

    type Kept = BTreeMap<TileId, Vec<Sha256>>;

    fn leaves(count: u64) -> Vec<Sha256> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    /// All tiles of a tree, as a log keeps them.
    fn tiles(leaves: &[Sha256]) -> (Tiles, Kept) {
        let (mut tiles, mut kept) = (Tiles::default(), Kept::new());
        for leaf in leaves {
            tiles.push(*leaf, &mut |tile| drop(kept.insert(tile.id, tile.hashes)));
        }
        tiles.open().for_each(|tile| drop(kept.insert(tile.id, tile.hashes)));
        (tiles, kept)
    }

    #[test]
    fn paths_are_those_of_tlog_tiles() {
        let path = |level, index, width| TileId { level, index }.path(width);
        assert_eq!(path(0, 0, 256), "tile/0/000");
        assert_eq!(path(1, 1_234_067, 256), "tile/1/x001/x234/067");
        assert_eq!(path(3, 999, 8), "tile/3/999.p/8");
        assert_eq!(path(0, 1000, 1), "tile/0/x001/000.p/1");
        assert_eq!(entries_path(273, 256), "tile/entries/273");
        assert_eq!(entries_path(70_000, 112), "tile/entries/x070/000.p/112");
    }

    #[test]
    fn tiles_of_every_width_give_the_tree_and_a_restart_goes_on_anywhere() {
        let all = leaves(70_000);
        for size in (0..600).chain([65_279, 65_280, 65_535, 65_536, 65_537, 65_792, 70_000]) {
            let (grown, kept) = tiles(&all[..size as usize]);
            assert_eq!(grown.frontier().root(), merkle::root(&all[..size as usize]), "{size}");
            for (id, hashes) in &kept {
                assert_eq!(hashes.len(), usize::from(id.width(size)), "{id:?} of {size}");
            }
            let again = Tiles::restore(size, |id, _| Ok(kept.get(&id).cloned())).unwrap().unwrap();
            assert_eq!(again.frontier(), grown.frontier(), "{size}");
            if let Some(short) = kept.keys().find(|id| id.width(size) < 256) {
                let missing = Tiles::restore(size, |id, _| Ok(kept.get(&id).filter(|_| id != *short).cloned()));
                assert_eq!(missing.unwrap(), None);
            }
        }
    }

    /// Also for trees that grew since: a tile that has more hashes by now serves the smaller size as well.
    #[test]
    fn proofs_from_tiles_are_those_from_all_leaves() {
        let all = leaves(66_000);
        let (_, kept) = tiles(&all);
        let sizes = (1..20).chain([255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 66_000]);
        for size in sizes {
            let mut source = |id: TileId, _: u16| Ok(kept[&id].clone());
            let mut nodes = Nodes::new(size, &mut source);
            let here = &all[..size as usize];
            assert_eq!(nodes.root().unwrap(), merkle::root(here), "{size}");
            for index in [0, 1, size / 3, size / 2, size - 1].into_iter().filter(|i| *i < size) {
                assert_eq!(nodes.inclusion(index).unwrap(), merkle::inclusion_proof(here, index), "{index} of {size}");
                assert_eq!(nodes.consistency(index + 1).unwrap(), merkle::consistency_proof(here, index + 1));
                assert_eq!(nodes.leaf(index).unwrap(), here[index as usize]);
            }
            assert_eq!(nodes.inclusion(size).unwrap(), None);
            assert_eq!(nodes.consistency(size + 1).unwrap(), None);
            assert_eq!(nodes.consistency(0).unwrap(), Some(Vec::new()));
        }
    }

    #[test]
    fn a_proof_reads_two_tiles_of_a_level_at_any_size() {
        for size in [1, 256, 100_000, 10_000_000, (1 << 24) - 1, (1 << 40) + 12_345_678_901, u64::MAX >> 1] {
            let levels = (u64::BITS - size.leading_zeros()).div_ceil(8) as usize;
            for index in [0, size / 3, size / 2, size - 1] {
                let mut read = BTreeSet::new();
                let mut reads = 0;
                let mut source = |id: TileId, width: u16| {
                    reads += 1;
                    read.insert(id);
                    Ok(vec![Sha256([7; 32]); usize::from(width)])
                };
                let proof = Nodes::new(size, &mut source).inclusion(index).unwrap().unwrap();
                assert!(proof.len() <= (u64::BITS - (size - 1).leading_zeros()) as usize);
                assert_eq!(reads, read.len(), "each once");
                assert!(reads <= 2 * levels && reads <= 16, "{reads} reads for {index} of {size}");
                let mut reads = 0;
                let mut source = |_: TileId, width: u16| {
                    reads += 1;
                    Ok(vec![Sha256([7; 32]); usize::from(width)])
                };
                Nodes::new(size, &mut source).consistency(index + 1).unwrap().unwrap();
                assert!(reads <= 2 * levels && reads <= 16, "{reads} reads from {index} to {size}");
            }
        }
    }

    #[test]
    fn a_tile_that_is_short_or_of_no_hashes_is_refused() {
        assert_eq!(hashes(&[0; 64]).unwrap().len(), 2);
        assert_eq!((hashes(&[0; 33]), hashes(&[0; 32 * 257])), (None, None));
        let mut short = |_: TileId, width: u16| Ok(vec![Sha256([0; 32]); usize::from(width) - 1]);
        assert_eq!(Nodes::new(300, &mut short).root().unwrap_err().id(), crate::ErrorId::AuditBroken);
    }
}
