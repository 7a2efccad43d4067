//! The growing tree of a vault that is in use: takes the records as they become durable and says when to sign.

use std::time::Duration;

use super::{AuditError, Checkpoint, FIRST_SEQ, leaf_hash};
use crate::crypto::merkle::Frontier;
use crate::crypto::sign::SigningIdentity;
use crate::crypto::tiles::{Tile, Tiles, WIDTH};
use crate::names::{Sha256, Timestamp};

/// A checkpoint is due after this many records ...
const RECORDS_DUE: u64 = 256;
/// ... or after this time, if there is any record it would cover.
const TIME_DUE: Duration = Duration::from_secs(1);

/// The right edge of the tree over all durable records, in memory: at most 8 KiB for each 8 binary digits of its size.
///
/// A start of the vault is [`Log::restore`] from the newest stored checkpoint and the tiles at the edge, then [`Log::absorb`] of
/// the rows after it. In use, each row is absorbed once its transaction is durable. A tree that was signed and not stored is signed again later:
/// the same records give the same tree, so this makes no fork.
#[derive(Debug)]
pub struct Log {
    origin: String,
    identity: SigningIdentity,
    tree: Tiles,
    /// Tiles that filled up and are not stored yet.
    full: Vec<Tile>,
    signed_size: u64,
    signed_at: Timestamp,
}

/// A checkpoint with the tree it signs: what the catalogue stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTree {
    /// The signed note.
    pub checkpoint: Checkpoint,
    /// `u64 BE size ‖ roots of the perfect subtrees (32 each), largest first`: enough to go on from.
    pub frontier: Vec<u8>,
    /// The tiles that filled up since the last one that was stored, and those at the edge.
    pub tiles: Vec<Tile>,
}

impl Log {
    /// A log without a record.
    pub fn new(origin: impl Into<String>, identity: SigningIdentity, now: Timestamp) -> Self {
        Self {
            origin: origin.into(),
            identity,
            tree: Tiles::default(),
            full: Vec::new(),
            signed_size: 0,
            signed_at: now,
        }
    }

    /// Goes on from a stored checkpoint, its frontier, and the tiles at the edge of its tree.
    ///
    /// # Errors
    /// `Checkpoint` if this vault's audit key did not sign the note for this log; `Frontier` if size or root of the frontier
    /// are not those of the note; `Tiles` if the tiles are another tree: they are to be made anew from the rows.
    pub fn restore(
        origin: impl Into<String>,
        identity: SigningIdentity,
        note: &str,
        frontier: &[u8],
        tiles: Tiles,
        now: Timestamp,
    ) -> Result<Self, AuditError> {
        let origin = origin.into();
        let checkpoint = Checkpoint::parse_and_verify(note, &origin, identity.public())?;
        let size = checkpoint.size();
        let frontier = frontier_from(frontier)
            .filter(|tree| tree.size() == size && tree.root() == checkpoint.root())
            .ok_or(AuditError::Frontier { size })?;
        if tiles.frontier() != frontier {
            return Err(AuditError::Tiles { size });
        }
        Ok(Self { origin, identity, tree: tiles, full: Vec::new(), signed_size: size, signed_at: now })
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// `Order` if `seq` is not [`Log::next_seq`]; nothing is taken then.
    pub fn absorb(&mut self, seq: u64, record: &[u8]) -> Result<(), AuditError> {
        let expected = self.next_seq();
        if seq != expected {
            return Err(AuditError::Order { expected, found: seq });
        }
        self.tree.push(leaf_hash(seq, record), &mut |tile| self.full.push(tile));
        Ok(())
    }

    /// Tiles that filled up and are not stored yet. They may be stored before the checkpoint that covers them, then
    /// [`Log::tiles_stored`]: with many rows to absorb at once they are not kept in memory.
    pub fn full_tiles(&self) -> &[Tile] {
        &self.full
    }

    /// All of [`Log::full_tiles`] are durable.
    pub fn tiles_stored(&mut self) {
        self.full.clear();
    }

    /// The number the next record must have.
    pub fn next_seq(&self) -> u64 {
        self.tree.size() + FIRST_SEQ
    }

    /// Records so far.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Root over them.
    pub fn root(&self) -> Sha256 {
        self.tree.frontier().root()
    }

    /// Records that no stored checkpoint covers yet.
    pub fn uncovered(&self) -> u64 {
        self.tree.size() - self.signed_size
    }

    /// Whether a checkpoint should be signed and stored now.
    pub fn due(&self, now: Timestamp) -> bool {
        // A clock that was set back must not put signing off.
        let waited = now < self.signed_at || now.since(self.signed_at) >= TIME_DUE;
        self.uncovered() >= RECORDS_DUE || (self.uncovered() > 0 && waited)
    }

    /// Signs the tree as it is. Store the result, then say so with [`Log::stored`].
    pub fn sign(&self) -> SignedTree {
        let tree = self.tree.frontier();
        let mut frontier = tree.size().to_be_bytes().to_vec();
        tree.perfect().iter().for_each(|root| frontier.extend_from_slice(&root.0));
        let tiles = self.full.iter().cloned().chain(self.tree.open()).collect();
        SignedTree { checkpoint: Checkpoint::sign(&self.origin, &tree, &self.identity), frontier, tiles }
    }

    /// A tree signed here is durable.
    pub fn stored(&mut self, signed: &SignedTree, now: Timestamp) {
        self.signed_size = self.signed_size.max(signed.checkpoint.size().min(self.tree.size()));
        self.signed_at = now;
        let size = signed.checkpoint.size();
        self.full.retain(|tile| u64::from(tile.id.width(size)) < WIDTH);
    }
}

fn frontier_from(bytes: &[u8]) -> Option<Frontier> {
    let (size, roots) = bytes.split_first_chunk::<8>()?;
    let (roots, rest) = roots.as_chunks::<32>();
    if !rest.is_empty() {
        return None;
    }
    Frontier::restore(u64::from_be_bytes(*size), roots.iter().map(|r| Sha256(*r)).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::crypto::keys::Key;
    use crate::crypto::tiles::TileId;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const ORIGIN: &str = "modelvault.example/00/audit";

    fn identity() -> SigningIdentity {
        SigningIdentity::from_seed(Key::take(&mut [1; 32]))
    }

    fn grown(to: u64) -> Log {
        let mut log = Log::new(ORIGIN, identity(), NOW);
        (1..=to).for_each(|seq| log.absorb(seq, &seq.to_le_bytes()).unwrap());
        log
    }

    /// The tiles at the edge of a tree that was signed from its beginning on.
    fn edge(signed: &SignedTree) -> Tiles {
        let stored: BTreeMap<TileId, Vec<Sha256>> =
            signed.tiles.iter().map(|tile| (tile.id, tile.hashes.clone())).collect();
        Tiles::restore(signed.checkpoint.size(), |id, _| Ok(stored.get(&id).cloned())).unwrap().unwrap()
    }

    #[test]
    fn a_restart_at_any_point_continues_the_same_tree() {
        let whole = grown(70).sign();
        for cut in 0..=70 {
            let stored = grown(cut).sign();
            let log = Log::restore(ORIGIN, identity(), stored.checkpoint.note(), &stored.frontier, edge(&stored), NOW);
            let mut log = log.unwrap();
            assert_eq!((log.next_seq(), log.uncovered()), (cut + 1, 0));
            (cut + 1..=70).for_each(|seq| log.absorb(seq, &seq.to_le_bytes()).unwrap());
            assert_eq!(log.sign(), whole);
            assert_eq!(log.uncovered(), 70 - cut);
        }
    }

    #[test]
    fn rows_out_of_order_are_refused_and_change_nothing() {
        let mut log = grown(5);
        let root = log.root();
        for seq in [0, 1, 5, 7, u64::MAX] {
            assert_eq!(log.absorb(seq, b"x"), Err(AuditError::Order { expected: 6, found: seq }));
        }
        assert_eq!((log.root(), log.size()), (root, 5));
    }

    #[test]
    fn a_stored_tree_that_was_tampered_with_is_found() {
        let good = grown(7).sign();
        let restore =
            |note: &str, frontier: &[u8]| Log::restore(ORIGIN, identity(), note, frontier, edge(&good), NOW).map(drop);
        assert_eq!(restore(good.checkpoint.note(), &good.frontier), Ok(()));
        for bit in 0..8 * good.frontier.len() {
            let mut frontier = good.frontier.clone();
            frontier[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(restore(good.checkpoint.note(), &frontier), Err(AuditError::Frontier { size: 7 }));
        }
        for len in 0..good.frontier.len() {
            assert!(restore(good.checkpoint.note(), &good.frontier[..len]).is_err());
        }
        let other = grown(6).sign();
        assert!(restore(other.checkpoint.note(), &good.frontier).is_err());
        let foreign = Checkpoint::sign("modelvault.example/01/audit", &Frontier::default(), &identity());
        assert!(restore(foreign.note(), &0u64.to_be_bytes()).is_err());
        let key = SigningIdentity::from_seed(Key::take(&mut [2; 32]));
        assert!(Log::restore(ORIGIN, key, good.checkpoint.note(), &good.frontier, edge(&good), NOW).is_err());
        let others = Log::restore(ORIGIN, identity(), good.checkpoint.note(), &good.frontier, edge(&other), NOW);
        assert_eq!(others.map(drop), Err(AuditError::Tiles { size: 7 }));
    }

    #[test]
    fn full_tiles_are_given_once_and_those_at_the_edge_each_time() {
        let mut log = grown(256 * 256 + 300);
        let signed = log.sign();
        // 257 of level 0, one of level 1; then the edges of levels 0 to 2.
        assert_eq!((log.full_tiles().len(), signed.tiles.len()), (258, 261));
        log.stored(&signed, NOW);
        assert_eq!((log.full_tiles().len(), log.sign().tiles.len()), (0, 3));
        let size = log.size();
        (size + 1..=size + 212).for_each(|seq| log.absorb(seq, b"x").unwrap());
        assert_eq!(log.full_tiles().len(), 1);
        log.stored(&signed, NOW);
        assert_eq!(log.full_tiles().len(), 1, "an older checkpoint stores no newer tile");
        log.tiles_stored();
        assert_eq!(log.full_tiles().len(), 0);
    }

    #[test]
    fn a_checkpoint_is_due_by_count_or_time_and_only_for_something() {
        let after = |millis| Timestamp::from_millis(NOW.as_millis() + millis);
        let mut log = grown(0);
        assert!(!log.due(after(3_600_000)));
        log.absorb(1, b"x").unwrap();
        assert!(!log.due(after(999)));
        assert!(log.due(after(1000)));
        // The clock was set back.
        assert!(log.due(after(-5)));
        let signed = log.sign();
        assert!(log.due(after(1000)), "until it is stored");
        log.absorb(2, b"y").unwrap();
        log.stored(&signed, after(1000));
        assert_eq!(log.uncovered(), 1);
        assert!(!log.due(after(1500)));
        assert!(!grown(255).due(NOW));
        assert!(grown(256).due(NOW));
    }
}
