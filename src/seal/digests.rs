//! The digests of all members in one pass over the segments, for whoever seals and for whoever verifies.
//!
//! A member of at least one segment starts on a segment boundary, so its BLAKE3 tree is made of pieces that any thread can
//! hash. SHA-256, taps, and a small member that crosses a boundary need the bytes in order: their state is handed from segment
//! to segment. A member within one segment needs neither.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;

use super::error::SealError;
use super::layout::{Layout, Piece};
use super::pipeline::{Relay, locked};
use super::tap::Tap;
use crate::crypto::hash::{Sha256Hasher, sha256};
use crate::crypto::outboard::{Groups, MemberHasher, TreeBuilder, group_cv, hash_member};
use crate::names::{Blake3, Sha256};

/// What is found out about one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberDigest {
    pub blake3: Blake3,
    pub sha256: Option<Sha256>,
    pub outboard: Vec<u8>,
}

/// What the pass needs to know about one member.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub path: &'a str,
    pub sha256: bool,
}

/// The pass.
pub(crate) struct Digests<'a> {
    layout: &'a Layout,
    group_log2: u8,
    wanted: Vec<Wanted<'a>>,
    tap: Option<Mutex<&'a mut dyn Tap>>,
    relay: Relay<Running>,
    found: Mutex<Found>,
}

/// State of a member whose bytes are taken in order.
struct Running {
    sha256: Option<Sha256Hasher>,
    /// `None` where the tree is made of pieces.
    tree: Option<MemberHasher>,
}

struct Found {
    trees: HashMap<usize, TreeBuilder>,
    blake3: Vec<(Blake3, Vec<u8>)>,
    sha256: Vec<Option<Sha256>>,
}

impl<'a> Digests<'a> {
    /// `wanted`: one for each member of the layout.
    pub fn new(layout: &'a Layout, group_log2: u8, wanted: Vec<Wanted<'a>>, tap: Option<&'a mut dyn Tap>) -> Self {
        let empty = sha256(b"");
        let found = Found {
            trees: HashMap::new(),
            blake3: vec![hash_member(b"", group_log2); wanted.len()],
            sha256: wanted.iter().map(|w| w.sha256.then_some(empty)).collect(),
        };
        Self { layout, group_log2, wanted, tap: tap.map(Mutex::new), relay: Relay::new(), found: Mutex::new(found) }
    }

    /// Tells the tap about members without bytes: no segment will.
    pub fn tap_empty_members(&self) -> Result<(), SealError> {
        (0..self.wanted.len()).filter(|m| self.layout.is_empty(*m)).try_for_each(|m| self.tap_end(m))
    }

    /// Takes the plaintext of one segment. May wait for the segment before it.
    pub fn take(&self, segment: u64, plaintext: &[u8]) -> Result<(), SealError> {
        for piece in self.layout.pieces(segment) {
            let bytes = &plaintext[piece.within.clone()];
            if piece.is_first() && piece.is_last() {
                self.whole(&piece, bytes)?;
            } else {
                let in_pieces = piece.member_len >= self.layout.segments.size();
                if in_pieces {
                    self.granules(&piece, bytes);
                }
                let wanted = &self.wanted[piece.member];
                if !in_pieces || wanted.sha256 || self.tap.is_some() {
                    self.in_order(segment, &piece, bytes, in_pieces)?;
                }
            }
        }
        Ok(())
    }

    /// Ends waiting after a failure.
    pub fn stop(&self) {
        self.relay.stop();
    }

    /// What was found, in member order, after all segments were taken.
    pub fn finish(self) -> Vec<MemberDigest> {
        let mut found = self.found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (member, tree) in found.trees {
            found.blake3[member] = tree.finish();
        }
        let both = found.blake3.into_iter().zip(found.sha256);
        both.map(|((blake3, outboard), sha256)| MemberDigest { blake3, sha256, outboard }).collect()
    }

    fn whole(&self, piece: &Piece, bytes: &[u8]) -> Result<(), SealError> {
        let member = piece.member;
        self.tap_bytes(member, 0, bytes)?;
        self.tap_end(member)?;
        let tree = hash_member(bytes, self.group_log2);
        let sha256 = self.wanted[member].sha256.then(|| sha256(bytes));
        let mut found = locked(&self.found);
        found.blake3[member] = tree;
        found.sha256[member] = sha256;
        Ok(())
    }

    /// The parts of the member's tree that this segment holds: it starts where a granule starts.
    fn granules(&self, piece: &Piece, bytes: &[u8]) {
        let granule_log2 = self.group_log2.min(self.layout.segments.log2());
        let first = piece.offset >> granule_log2;
        let cvs: Vec<_> = (first..)
            .zip(bytes.chunks(1 << granule_log2))
            .map(|(i, granule)| (i, group_cv(i, granule_log2, granule)))
            .collect();
        let groups = Groups::new(piece.member_len, self.group_log2);
        let mut found = locked(&self.found);
        let tree = found.trees.entry(piece.member).or_insert_with(|| TreeBuilder::new(groups, granule_log2));
        cvs.into_iter().for_each(|(i, cv)| tree.set(i, cv));
    }

    fn in_order(&self, segment: u64, piece: &Piece, bytes: &[u8], in_pieces: bool) -> Result<(), SealError> {
        let member = piece.member;
        let mut running = if piece.is_first() {
            let groups = Groups::new(piece.member_len, self.group_log2);
            Running {
                sha256: self.wanted[member].sha256.then(Sha256Hasher::default),
                tree: (!in_pieces).then(|| MemberHasher::new(groups)),
            }
        } else {
            // Stopped: the error that stopped the work is the one that is reported.
            self.relay.receive(segment).ok_or(SealError::Io(io::ErrorKind::Interrupted.into()))?
        };
        self.tap_bytes(member, piece.offset, bytes)?;
        if let Some(sha256) = &mut running.sha256 {
            sha256.update(bytes);
        }
        if let Some(tree) = &mut running.tree {
            tree.update(bytes);
        }
        if !piece.is_last() {
            self.relay.pass_to(segment + 1, running);
            return Ok(());
        }
        self.tap_end(member)?;
        let mut found = locked(&self.found);
        if let Some(tree) = running.tree {
            found.blake3[member] = tree.finish();
        }
        found.sha256[member] = running.sha256.map(Sha256Hasher::finish);
        Ok(())
    }

    fn tap_bytes(&self, member: usize, offset: u64, bytes: &[u8]) -> Result<(), SealError> {
        self.tapped(member, |tap, path| tap.segment(path, offset, bytes))
    }

    fn tap_end(&self, member: usize) -> Result<(), SealError> {
        self.tapped(member, |tap, path| tap.member_end(path))
    }

    fn tapped(
        &self,
        member: usize,
        call: impl FnOnce(&mut dyn Tap, &str) -> Result<(), super::tap::TapVeto>,
    ) -> Result<(), SealError> {
        let Some(tap) = &self.tap else { return Ok(()) };
        let path = self.wanted[member].path;
        call(&mut **locked(tap), path)
            .map_err(|veto| SealError::InspectionRefused { path: path.into(), reason: veto.reason })
    }
}
