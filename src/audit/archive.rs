//! The log as a directory in the layout of C2SP `tlog-tiles`: written on from where it stands, verified without a vault, and
//! read by any client of such logs.
//!
//! ```text
//! checkpoint                       the signed note; written last, so everything it covers is there
//! vkey                             the key as the vault names it; whether it is the vault's must be known from elsewhere
//! tile/0/000  tile/0/001.p/17 ...  hashes (crypto::tiles)
//! tile/entries/000 ...             256 records: u16 BE length ‖ u64 BE seq ‖ record, one after the other
//! ```
//! What the vault says next must extend what is there; else nothing is written any more.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{AuditError, Checkpoint, FIRST_SEQ, Report, Verifier, VerifierKey, leaf_hash};
use crate::crypto::tiles::{self, Nodes, Tile, TileId, Tiles, WIDTH};
use crate::error::{Error, ErrorId, Result};
use crate::home::{read_bounded, replace_file};
use crate::names::Sha256;

const CHECKPOINT: &str = "checkpoint";
const VKEY: &str = "vkey";
/// No note or key is longer.
const NOTE_MAX: u64 = 64 << 10;
const TILE_MAX: u64 = 32 * WIDTH;
/// 256 entries of the largest size.
const BUNDLE_MAX: u64 = WIDTH * (2 + ENTRY_MAX as u64);
/// What a u16 can say.
const ENTRY_MAX: usize = u16::MAX as usize;

/// A directory that holds a log, or will.
#[derive(Clone, Debug)]
pub struct Archive(PathBuf);

impl Archive {
    /// The one at `path`; touches nothing.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The key that the directory names as its log's.
    pub fn vkey(&self) -> Result<VerifierKey> {
        self.text(VKEY)?.trim_end().parse()
    }

    /// Its checkpoint, verified.
    pub fn checkpoint(&self, vkey: &VerifierKey) -> Result<Checkpoint> {
        Ok(Checkpoint::parse_and_verify(&self.text(CHECKPOINT)?, &vkey.origin, &vkey.key)?)
    }

    /// Goes on with the directory, or begins one.
    ///
    /// # Errors
    /// `AuditBroken` if it is of another log or its tiles are not what its checkpoint signed; `AlreadyExists` if something
    /// else is there.
    pub fn writer(self, vkey: &VerifierKey) -> Result<ArchiveWriter> {
        let there = match fs::read_dir(&self.0) {
            Err(e) if e.kind() == ErrorKind::NotFound => false,
            entries => {
                let mut entries = entries.map_err(|e| Error::from(e).on(self.0.display()))?;
                entries.next().is_some()
            }
        };
        let begun = self.0.join(CHECKPOINT).exists();
        if there && !begun && !self.0.join(VKEY).exists() {
            let text = format!("{} holds something else", self.0.display());
            return Err(Error::new(ErrorId::AlreadyExists, text).hint("name a new or empty directory"));
        }
        if !begun {
            fs::create_dir_all(&self.0).map_err(|e| Error::from(e).on(self.0.display()))?;
            self.replace(VKEY, format!("{vkey}\n").as_bytes())?;
            return Ok(ArchiveWriter::new(self, vkey.clone(), Tiles::default(), None));
        }
        if self.vkey()? != *vkey {
            return Err(AuditError::Checkpoint("the directory is of another log, or names another key").into());
        }
        let old = self.checkpoint(vkey)?;
        let root = Nodes::new(old.size(), &mut |id: TileId, width: u16| self.tile(id, width)).root()?;
        if root != old.root() {
            return Err(AuditError::Tiles { size: old.size() }.into());
        }
        // From the beginning of the bundle that is not full.
        let size = old.size() / WIDTH * WIDTH;
        let tiles = Tiles::restore(size, |id, _| self.tile(id, id.width(old.size())).map(Some))?;
        let tiles = tiles.ok_or(AuditError::Tiles { size })?;
        Ok(ArchiveWriter::new(self, vkey.clone(), tiles, Some(old)))
    }

    /// Verifies everything in the directory. `trusted` is the vault's key, known from elsewhere; without it the key the directory
    /// names is used, and the result says only that it agrees with itself. `kept` are checkpoints kept elsewhere.
    ///
    /// # Errors
    /// `AuditBroken` for every contradiction; a record that was altered is named where the tiles are still those that were
    /// signed.
    pub fn verify(&self, trusted: Option<&VerifierKey>, kept: &[String]) -> Result<(VerifierKey, Report)> {
        let vkey = match trusted {
            Some(trusted) => trusted.clone(),
            None => self.vkey()?,
        };
        let checkpoint = self.checkpoint(&vkey)?;
        let mut verifier = Verifier::new(vkey.origin.clone(), vkey.key);
        kept.iter().try_for_each(|note| verifier.kept_elsewhere(note))?;
        verifier.checkpoint(checkpoint.note())?;
        self.verify_rows(&mut verifier, &checkpoint).map_err(|e| self.named(e, &checkpoint))?;
        Ok((vkey, verifier.finish()?))
    }

    fn verify_rows(&self, verifier: &mut Verifier, checkpoint: &Checkpoint) -> Result<()> {
        let size = checkpoint.size();
        let (mut grown, mut full, mut seq) = (Tiles::default(), Vec::new(), FIRST_SEQ);
        for index in 0..size.div_ceil(WIDTH) {
            let width = TileId { level: 0, index }.width(size);
            for entry in self.bundle(index, width)? {
                let (found, record) = entry.split_first_chunk::<8>().ok_or_else(|| malformed(seq))?;
                let found = u64::from_be_bytes(*found);
                verifier.row(found, record)?;
                grown.push(leaf_hash(found, record), &mut |tile| full.push(tile));
                seq += 1;
            }
            full.drain(..).try_for_each(|tile: Tile| self.same(&tile))?;
        }
        grown.open().try_for_each(|tile| self.same(&tile))
    }

    /// Records that fit their checkpoint may lie beside tiles that do not: other clients read those.
    fn same(&self, tile: &Tile) -> Result<()> {
        let there = self.tile(tile.id, tile.hashes.len() as u16)?;
        if there == tile.hashes { Ok(()) } else { Err(tiles::damaged(tile.id)) }
    }

    /// The error with the first record that differs, if the tiles are sound and tell it.
    fn named(&self, error: Error, checkpoint: &Checkpoint) -> Error {
        match self.first_altered(checkpoint) {
            Ok(Some(seq)) => AuditError::Altered { seq }.into(),
            _ => error,
        }
    }

    fn first_altered(&self, checkpoint: &Checkpoint) -> Result<Option<u64>> {
        let size = checkpoint.size();
        let root = Nodes::new(size, &mut |id: TileId, width: u16| self.tile(id, width)).root()?;
        if root != checkpoint.root() {
            return Ok(None);
        }
        for index in 0..size.div_ceil(WIDTH) {
            let id = TileId { level: 0, index };
            let (hashes, entries) = (self.tile(id, id.width(size))?, self.bundle(index, id.width(size))?);
            // The leaf is the entry as it lies there: its sequence number is part of it.
            let leaf = |entry: &Vec<u8>| crate::crypto::merkle::leaf_hash(entry);
            if let Some(at) = (0..hashes.len()).find(|at| entries.get(*at).map(leaf) != Some(hashes[*at])) {
                return Ok(Some(index * WIDTH + at as u64 + FIRST_SEQ));
            }
        }
        Ok(None)
    }

    /// The hashes of a tile of this width, or of the full one.
    pub fn tile(&self, id: TileId, width: u16) -> Result<Vec<Sha256>> {
        let bytes = self.wide(&id.path(width), &id.path(WIDTH as u16), TILE_MAX)?;
        let mut hashes = tiles::hashes(&bytes).ok_or_else(|| tiles::damaged(id))?;
        if hashes.len() < usize::from(width) {
            return Err(tiles::damaged(id));
        }
        hashes.truncate(width.into());
        Ok(hashes)
    }

    /// The first `width` entries of a bundle.
    fn bundle(&self, index: u64, width: u16) -> Result<Vec<Vec<u8>>> {
        let bytes =
            self.wide(&tiles::entries_path(index, width), &tiles::entries_path(index, WIDTH as u16), BUNDLE_MAX)?;
        let (mut rest, mut entries) = (&bytes[..], Vec::with_capacity(width.into()));
        while entries.len() < usize::from(width) {
            let entry = rest
                .split_first_chunk::<2>()
                .and_then(|(length, rest)| rest.split_at_checked(u16::from_be_bytes(*length).into()));
            let seq = index * WIDTH + entries.len() as u64 + FIRST_SEQ;
            let (entry, behind) = entry.ok_or_else(|| malformed(seq))?;
            entries.push(entry.to_vec());
            rest = behind;
        }
        Ok(entries)
    }

    /// A file for a tree of the checkpoint's size; a log that grew since may have the full one only.
    fn wide(&self, partial: &str, full: &str, max: u64) -> Result<Vec<u8>> {
        match read_bounded(&self.0.join(partial), max) {
            Err(e) if e.kind() == ErrorKind::NotFound => match read_bounded(&self.0.join(full), max) {
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    Err(Error::new(ErrorId::AuditBroken, format!("the audit log is broken: {partial} is missing")))
                }
                read => read.map_err(|e| Error::from(e).on(full)),
            },
            read => read.map_err(|e| Error::from(e).on(partial)),
        }
    }

    fn text(&self, name: &str) -> Result<String> {
        let path = self.0.join(name);
        let bytes = read_bounded(&path, NOTE_MAX).map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                let text = format!("{} holds no audit log: there is no {name}", self.0.display());
                Error::new(ErrorId::NotFound, text).hint("vault audit export --tiles DIR writes one")
            }
            _ => Error::from(e).on(path.display()),
        })?;
        String::from_utf8(bytes).map_err(|_| AuditError::Checkpoint("it is no text").into())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.0.join(name);
        replace_file(&path, bytes).map_err(|e| Error::from(e).on(path.display()))
    }
}

fn malformed(seq: u64) -> Error {
    AuditError::Malformed { seq, why: super::RecordError::Field("the length of an entry") }.into()
}

/// Writes a directory on. Only records that a checkpoint covers are written.
pub struct ArchiveWriter {
    archive: Archive,
    vkey: VerifierKey,
    /// Over the records up to `newest`, once there is any row.
    tiles: Tiles,
    /// Entries of the bundle that is not full.
    bundle: Vec<u8>,
    /// The checkpoint that was there, until the tree has grown to it.
    old: Option<Checkpoint>,
    newest: Option<Checkpoint>,
    /// Rows that no checkpoint covers yet.
    waiting: Vec<Vec<u8>>,
    /// Directories whose entries are not durable yet.
    unsynced: BTreeSet<PathBuf>,
}

impl ArchiveWriter {
    fn new(archive: Archive, vkey: VerifierKey, tiles: Tiles, old: Option<Checkpoint>) -> Self {
        let (bundle, waiting, unsynced) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { archive, vkey, tiles, bundle, old, newest: None, waiting, unsynced }
    }

    /// The log's key.
    pub fn vkey(&self) -> &VerifierKey {
        &self.vkey
    }

    /// The number of the first record that is wanted.
    pub fn next_seq(&self) -> u64 {
        self.tiles.size() + self.waiting.len() as u64 + FIRST_SEQ
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// `Order` if it is not [`ArchiveWriter::next_seq`].
    pub fn row(&mut self, seq: u64, record: &[u8]) -> Result<()> {
        if seq != self.next_seq() {
            return Err(AuditError::Order { expected: self.next_seq(), found: seq }.into());
        }
        let entry = [&seq.to_be_bytes()[..], record].concat();
        if entry.len() > ENTRY_MAX {
            return Err(AuditError::Malformed { seq, why: super::RecordError::TooLong }.into());
        }
        self.waiting.push(entry);
        Ok(())
    }

    /// Takes a checkpoint: the rows before it are its own.
    ///
    /// # Errors
    /// `Root` if they are not, or the log does not extend what was there.
    pub fn checkpoint(&mut self, note: &str) -> Result<()> {
        let checkpoint = Checkpoint::parse_and_verify(note, &self.vkey.origin, &self.vkey.key)?;
        let first = self.tiles.size() + FIRST_SEQ;
        // Of records that are there already.
        if checkpoint.size() < first {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.waiting);
        for entry in rows {
            self.push(&entry)?;
        }
        if self.tiles.size() != checkpoint.size() || self.tiles.frontier().root() != checkpoint.root() {
            return Err(AuditError::Root { first, last: checkpoint.size() }.into());
        }
        self.newest = Some(checkpoint);
        Ok(())
    }

    fn push(&mut self, entry: &[u8]) -> Result<()> {
        let length = u16::try_from(entry.len()).map_err(|_| Error::new(ErrorId::Internal, "an entry is too long"))?;
        self.bundle.extend_from_slice(&length.to_be_bytes());
        self.bundle.extend_from_slice(entry);
        let (index, mut full) = (self.tiles.size() / WIDTH, Vec::new());
        self.tiles.push(crate::crypto::merkle::leaf_hash(entry), &mut |tile| full.push(tile));
        // The old checkpoint is compared before anything is written over it.
        if let Some(old) = self.old.take_if(|old| old.size() == self.tiles.size())
            && old.root() != self.tiles.frontier().root()
        {
            return Err(AuditError::Root { first: FIRST_SEQ, last: old.size() }.into());
        }
        if !full.is_empty() {
            let bundle = std::mem::take(&mut self.bundle);
            self.write(&tiles::entries_path(index, WIDTH as u16), &bundle)?;
            full.into_iter().try_for_each(|tile| self.write(&tile.id.path(WIDTH as u16), &tile.to_bytes()))?;
        }
        Ok(())
    }

    /// Writes what is not full, makes everything durable, then the checkpoint. Returns it.
    ///
    /// # Errors
    /// `Cut` if the log ends before the checkpoint that was there: it was rolled back.
    pub fn finish(mut self) -> Result<Checkpoint> {
        let size = self.tiles.size();
        if let Some(old) = self.old.take().filter(|old| old.size() > size || self.newest.is_none()) {
            return Err(AuditError::Cut { records: size, size: old.size() }.into());
        }
        let newest = self.newest.take().ok_or(AuditError::Checkpoint("there is none"))?;
        if !self.bundle.is_empty() {
            let bundle = std::mem::take(&mut self.bundle);
            self.write(&tiles::entries_path(size / WIDTH, (size % WIDTH) as u16), &bundle)?;
        }
        let open: Vec<Tile> = self.tiles.open().collect();
        open.iter().try_for_each(|tile| self.write(&tile.id.path(tile.hashes.len() as u16), &tile.to_bytes()))?;
        for directory in &self.unsynced {
            File::open(directory).and_then(|d| d.sync_all()).map_err(|e| Error::from(e).on(directory.display()))?;
        }
        self.archive.replace(CHECKPOINT, newest.note().as_bytes())?;
        Ok(newest)
    }

    fn write(&mut self, below: &str, bytes: &[u8]) -> Result<()> {
        let path = self.archive.0.join(below);
        let parents = path.ancestors().skip(1).take_while(|p| p.starts_with(&self.archive.0)).map(Path::to_path_buf);
        self.unsynced.extend(parents);
        let written = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            let mut file = File::create(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        written().map_err(|e| Error::from(e).on(path.display()))
    }
}

#[cfg(test)]
mod tests;
