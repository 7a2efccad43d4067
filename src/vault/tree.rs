//! The audit log's tree in a vault: grown from the durable rows, kept in tiles, signed every second or 256 rows.

use super::gate::Subject;
use super::record::BATCH;
use super::{Caller, Vault};
use crate::audit::{self, Act, AuditError, Claim, FIRST_SEQ, Log, Proof, VerifierKey, leaf_hash};
use crate::catalogue::{Catalogue, Checkpoint, TileRow};
use crate::crypto::merkle::verify_inclusion;
use crate::crypto::tiles::{self, Nodes, ReadTiles, Tile, TileId, Tiles};
use crate::error::{Error, ErrorId, Result};
use crate::keyring::Keyring;
use crate::names::{Sha256, Timestamp, VaultId};
use crate::policy::{Action, Resource};

/// Full tiles that wait to be stored at most: half a megabyte.
const TILES_WAITING: usize = 64;

/// Goes on from the newest checkpoint. Tiles that are not its tree are made anew from the rows.
pub(super) fn restore(catalogue: &dyn Catalogue, keyring: &Keyring, vault: VaultId, now: Timestamp) -> Result<Log> {
    let (origin, identity) = (audit::origin(vault), keyring.audit_identity().clone());
    let Some(stored) = catalogue.latest_checkpoint()? else {
        return Ok(Log::new(origin, identity, now));
    };
    let records = catalogue.audit_len()?;
    if records < stored.size {
        return Err(AuditError::Cut { records, size: stored.size }.into());
    }
    let goes_on = |tiles| Log::restore(origin.clone(), identity.clone(), &stored.note, &stored.frontier, tiles, now);
    if let Some(tiles) = Tiles::restore(stored.size, |id, _| stored_hashes(catalogue, id))? {
        match goes_on(tiles) {
            Err(AuditError::Tiles { .. }) => {}
            log => return Ok(log?),
        }
    }
    goes_on(remake(catalogue, stored.size)?).map_err(|e| match e {
        // Made from the rows: it is they that are not what was signed.
        AuditError::Tiles { size } => AuditError::Root { first: FIRST_SEQ, last: size }.into(),
        e => e.into(),
    })
}

/// The tiles over the first `size` rows, from the rows.
fn remake(catalogue: &dyn Catalogue, size: u64) -> Result<Tiles> {
    tracing::info!(records = size, "the tiles of the audit log are made anew from its records");
    let (mut tiles, mut full) = (Tiles::default(), Vec::new());
    while tiles.size() < size {
        let left = usize::try_from(size - tiles.size()).unwrap_or(usize::MAX);
        let rows = catalogue.audit_range(tiles.size(), BATCH.min(left))?;
        if rows.is_empty() {
            return Err(AuditError::Cut { records: tiles.size(), size }.into());
        }
        for (index, row) in rows {
            tiles.push(leaf_hash(index + FIRST_SEQ, &row), &mut |tile| full.push(tile));
        }
        if full.len() >= TILES_WAITING {
            catalogue.put_tiles(rows_of(&full))?;
            full.clear();
        }
    }
    full.extend(tiles.open());
    catalogue.put_tiles(rows_of(&full))?;
    Ok(tiles)
}

fn rows_of(tiles: &[Tile]) -> Vec<TileRow> {
    let row = |tile: &Tile| TileRow { level: tile.id.level, index: tile.id.index, hashes: tile.to_bytes() };
    tiles.iter().map(row).collect()
}

fn stored_hashes(catalogue: &dyn Catalogue, id: TileId) -> Result<Option<Vec<Sha256>>> {
    Ok(catalogue.tile(id.level, id.index)?.and_then(|bytes| tiles::hashes(&bytes)))
}

impl Vault {
    /// Takes the rows that became durable into the tree and signs it if that is due, or wanted now.
    pub(super) fn checkpoint(&self, now: bool) -> Result<()> {
        let mut log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        loop {
            let rows = self.rows(log.next_seq(), BATCH)?;
            if rows.is_empty() {
                break;
            }
            for (seq, bytes) in rows {
                log.absorb(seq, &bytes)?;
            }
            if log.full_tiles().len() >= TILES_WAITING {
                self.catalogue.put_tiles(rows_of(log.full_tiles()))?;
                log.tiles_stored();
            }
        }
        let time = self.now();
        if log.uncovered() == 0 || !(now || log.due(time)) {
            return Ok(());
        }
        let signed = log.sign();
        let checkpoint = Checkpoint {
            size: signed.checkpoint.size(),
            root: signed.checkpoint.root(),
            note: signed.checkpoint.note().into(),
            frontier: signed.frontier.clone(),
            created: time,
        };
        self.catalogue.put_checkpoint(checkpoint, rows_of(&signed.tiles))?;
        log.stored(&signed, time);
        Ok(())
    }

    /// Proves that record `seq` is in the log of the checkpoint of `size`, or of the newest one.
    ///
    /// # Errors
    /// `NotFound` if there is no such record or checkpoint; `AuditBroken` if the record is not the one that was signed.
    pub fn prove_record(&self, caller: &Caller, seq: u64, size: Option<u64>) -> Result<Proof> {
        self.asked_to_prove(caller, &Subject::vault().with("proof_of", seq))?;
        let checkpoint = self.signed_at(size)?;
        let index = seq.checked_sub(FIRST_SEQ).filter(|index| *index < checkpoint.size).ok_or_else(|| {
            Error::new(ErrorId::NotFound, format!("the log of this checkpoint has {} records", checkpoint.size))
                .hint("vault audit tail shows their numbers")
        })?;
        let record = self.rows(seq, 1)?.pop().map(|(_, record)| record).unwrap_or_default();
        let claim = Claim::Record { seq, record };
        self.prove(&checkpoint, claim, |nodes| nodes.inclusion(index))
    }

    /// Proves that the log of the checkpoint of `size`, or of the newest one, extends that of the checkpoint of size `old`.
    ///
    /// # Errors
    /// `NotFound` if there is no such checkpoint, or the old one is the larger.
    pub fn prove_extension(&self, caller: &Caller, old: u64, size: Option<u64>) -> Result<Proof> {
        self.asked_to_prove(caller, &Subject::vault().with("proof_from", old))?;
        let (first, checkpoint) = (self.signed_at(Some(old))?, self.signed_at(size)?);
        self.prove(&checkpoint, Claim::Extends { old: first.note }, |nodes| nodes.consistency(old))
    }

    fn asked_to_prove(&self, caller: &Caller, subject: &Subject) -> Result<()> {
        let permit = self.permit(caller, Act::AuditRead, Action::ReadAudit, Resource::Vault, subject)?;
        self.record(caller, Act::AuditRead, subject, &permit)
    }

    /// The checkpoint of a size, or one over all there is.
    fn signed_at(&self, size: Option<u64>) -> Result<Checkpoint> {
        let found = match size {
            None => {
                self.checkpoint(true)?;
                self.catalogue.latest_checkpoint()?
            }
            Some(size) => self.catalogue.checkpoints(size, 1)?.pop(),
        };
        let missing = |text: String| {
            Error::new(ErrorId::NotFound, text).hint("vault audit verify prints the newest checkpoint, with its size")
        };
        match (found, size) {
            (Some(found), Some(size)) if found.size != size => {
                Err(missing(format!("no checkpoint of size {size} was signed; the next one has size {}", found.size)))
            }
            (Some(found), _) => Ok(found),
            (None, _) => Err(missing("no checkpoint of this size was signed".into())),
        }
    }

    /// Makes a proof and verifies it before it is handed out. Tiles that are not the signed tree are made anew, once.
    fn prove(
        &self,
        checkpoint: &Checkpoint,
        claim: Claim,
        path: impl Fn(&mut Nodes<'_, StoredTiles<'_>>) -> Result<Option<Vec<Sha256>>>,
    ) -> Result<Proof> {
        let vkey = VerifierKey::of(self.origin(), *self.keyring().audit_identity().public());
        let mut proof = Proof { vkey, claim, hashes: Vec::new(), checkpoint: checkpoint.note.clone() };
        let attempt = |proof: &mut Proof| {
            let hashes = path(&mut Nodes::new(checkpoint.size, &mut StoredTiles(&*self.catalogue)))?;
            proof.hashes = hashes.ok_or_else(|| Error::new(ErrorId::NotFound, "the other checkpoint is larger"))?;
            proof.verify(None, &[]).map(drop)
        };
        match attempt(&mut proof) {
            Err(e) if e.id() == ErrorId::AuditBroken => {}
            done => return done.map(|()| proof),
        }
        let altered = |claim: &Claim| match claim {
            Claim::Record { seq, .. } => AuditError::Altered { seq: *seq }.into(),
            Claim::Extends { .. } => Error::from(AuditError::Proof("one of the checkpoints is of another log")),
        };
        if let Claim::Record { seq, .. } = &proof.claim
            && self.is_signed_leaf(seq - FIRST_SEQ, checkpoint).unwrap_or(false)
        {
            // The tree is sound there: it is the record that is not the one that was signed.
            return Err(altered(&proof.claim));
        }
        let newest = self.catalogue.latest_checkpoint()?.map_or(checkpoint.size, |newest| newest.size);
        remake(&*self.catalogue, newest)?;
        match attempt(&mut proof) {
            Err(e) if e.id() == ErrorId::AuditBroken => Err(altered(&proof.claim)),
            done => done.map(|()| proof),
        }
    }

    /// Whether the leaf hash that the stored tiles hold is the one that was signed.
    fn is_signed_leaf(&self, index: u64, checkpoint: &Checkpoint) -> Result<bool> {
        let mut tiles = StoredTiles(&*self.catalogue);
        let mut nodes = Nodes::new(checkpoint.size, &mut tiles);
        let (leaf, path) = (nodes.leaf(index)?, nodes.inclusion(index)?.unwrap_or_default());
        Ok(verify_inclusion(leaf, index, checkpoint.size, &path, &checkpoint.root))
    }

    /// The same error, with the first record that differs from the signed tree where the stored tiles tell it.
    pub(super) fn named(&self, error: AuditError) -> Error {
        let AuditError::Root { first, last } = error else { return error.into() };
        self.first_altered(first, last).ok().flatten().map_or(error, |seq| AuditError::Altered { seq }).into()
    }

    fn first_altered(&self, first: u64, last: u64) -> Result<Option<u64>> {
        let signed = self.signed_at(Some(last))?;
        let mut tiles = StoredTiles(&*self.catalogue);
        let mut nodes = Nodes::new(last, &mut tiles);
        if nodes.root()? != signed.root {
            return Ok(None);
        }
        for seq in first..=last {
            let row = self.rows(seq, 1)?.pop();
            if row.is_none_or(|(_, row)| nodes.leaf(seq - FIRST_SEQ).ok() != Some(leaf_hash(seq, &row))) {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }
}

/// The tiles in the catalogue.
pub(super) struct StoredTiles<'a>(pub(super) &'a dyn Catalogue);

impl ReadTiles for StoredTiles<'_> {
    fn tile(&mut self, id: TileId, width: u16) -> Result<Vec<Sha256>> {
        let hashes = stored_hashes(self.0, id)?.filter(|hashes| hashes.len() >= usize::from(width));
        hashes.ok_or_else(|| tiles::damaged(id))
    }
}
