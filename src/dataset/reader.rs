//! Reading a signed dataset: each piece is checked before a byte of it is handed on, and what is kept out is not handed on at all.
//!
//! Whoever trains from what a [`Reader`] gives has read what was signed, also where the files change meanwhile: nothing is read twice.

use std::sync::{Arc, Mutex, PoisonError};

use super::contributors::Runs;
use super::folder::Folder;
use super::frame::Format;
use super::frame::contents::{leaf_of, whole};
use super::frame::tar::samples_within;
use super::images::ImageLeaves;
use super::measure::{Measured, Source};
use super::parts::Part;
use super::pieces::{Piece, Pieces};
use super::receipt::ReadSet;
use super::schema::Schema;
use super::sidecars::{CONTRIBUTORS, PIECES};
use super::statement::DatasetStatement;
use crate::crypto::hash::blake3;
use crate::error::{Error, ErrorId, Result};
use crate::names::Sha256;
use crate::seal::io::ReadAt;

/// What is kept beside the files of a dataset.
pub trait Beside {
    /// What is kept beside a file: `pieces`, `contributors`, tiles. It is not trusted yet: of at most so many bytes.
    ///
    /// # Errors
    /// `NotFound`, and those of the place; also for more bytes.
    fn beside(&self, file: &str, what: &str, most: u64) -> Result<Vec<u8>>;
}

/// Where a signed dataset lies.
pub trait Place: Beside {
    /// The bytes of a file.
    ///
    /// # Errors
    /// `NotFound`, and those of the place.
    fn open(&self, file: &str) -> Result<Arc<dyn ReadAt>>;

    /// The folder that has the images, which are read one by one.
    fn folder(&self) -> &Folder;
}

/// A record that is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Path of its file.
    pub file: &'a str,
    /// Its number there, from 1; those that are kept out count.
    pub number: u64,
    /// What its fields are: the dataset's schema, or that of files.
    pub schema: &'a Schema,
    /// Its canonical form. Of an image or sample: its key, and a struct of extensions and all bytes of the files.
    pub fields: &'a [u8],
}

/// Reads one version of a dataset, as its statement says it is.
pub struct Reader<'a> {
    /// What was signed, by somebody who is trusted.
    pub statement: &'a DatasetStatement,
    /// Where it lies.
    pub place: &'a dyn Place,
}

/// Some records that follow one another, in canonical form.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Of images: their hashes, not compared yet.
    leaves: Vec<Option<Sha256>>,
}

impl Batch {
    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }
}

impl Reader<'_> {
    /// All records, in order, but those of contributors who are kept out. Says what was read. Memory: pieces and records, a few for each
    /// thread.
    ///
    /// # Errors
    /// `DatasetChanged` with file, bytes and records, before anything of what changed is handed on; those of `each`.
    pub fn records(&self, threads: usize, each: &mut dyn FnMut(Record<'_>) -> Result<()>) -> Result<ReadSet> {
        let mut read = ReadSet::default();
        for file in self.statement.files.iter().filter(|f| f.records > 0) {
            let kept = self.kept(file)?;
            let schema = if file.format.is_of_files() { &Schema::Files } else { &self.statement.schema };
            let mut number = 0;
            let mut hand_on = |batch: &Batch, read: &mut ReadSet| {
                let mut from = 0;
                for end in &batch.ends {
                    number += 1;
                    if kept.has(number) {
                        read.records += 1;
                        let fields = batch.bytes.get(from..*end).unwrap_or_default();
                        each(Record { file: &file.path, number, schema, fields })?;
                    }
                    from = *end;
                }
                Ok(())
            };
            let pieces = if file.format == Format::Images {
                self.images(file, threads, &mut |batch| hand_on(&batch, &mut read))?
            } else {
                let verified = Arc::new(self.verified(file)?);
                let source = Source { path: &file.path, format: file.format, bytes: verified.clone() };
                let see = |record: &[u8], batch: &mut Batch| batch.push(record);
                let mut take = |batch: Batch| hand_on(&batch, &mut read);
                match file.format {
                    Format::Tar => Part::File(source).contents(threads, &whole, &mut |_| {}, &see, &mut take)?,
                    _ => source.read(schema, threads, &mut |_| {}, &see, &mut take)?,
                }
                verified.pieces.clone()
            };
            if number != file.records {
                return Err(changed(&file.path, "it has another number of records"));
            }
            read.file(&file.path, &pieces);
        }
        Ok(read)
    }

    /// All images of a folder, each compared with what was signed of it.
    fn images(&self, file: &Measured, threads: usize, take: &mut dyn FnMut(Batch) -> Result<()>) -> Result<Pieces> {
        let mut leaves = ImageLeaves::of(self.place, file)?;
        let see = |record: &[u8], batch: &mut Batch| {
            batch.push(record);
            batch.leaves.push(leaf_of(record));
        };
        Part::Images(self.place.folder()).contents(threads, &whole, &mut |_| {}, &see, &mut |batch: Batch| {
            let (mut from, mut good) = (0, Batch::default());
            for (end, leaf) in batch.ends.iter().zip(&batch.leaves) {
                let record = batch.bytes.get(from..*end).unwrap_or_default();
                let signed = leaves.next()?;
                if leaf.is_none() || *leaf != signed {
                    // What was checked leaves also when what follows it is bad.
                    take(good)?;
                    return Err(leaves.changed(record));
                }
                good.push(record);
                from = *end;
            }
            take(good)
        })?;
        Ok(leaves.pieces)
    }

    /// A file to be read at any place, each piece checked when it is read.
    ///
    /// # Errors
    /// `DatasetChanged` for another list of pieces, or another length; `Denied` where records of it are kept out: bytes cannot leave them out.
    pub fn file(&self, file: &Measured) -> Result<Verified> {
        if self.kept(file)?.out.iter().any(|out| *out) {
            let text = format!("{}: records of contributors who are kept out are among its bytes", file.path);
            return Err(Error::new(ErrorId::Denied, text).hint("read it record by record"));
        }
        self.verified(file)
    }

    fn verified(&self, file: &Measured) -> Result<Verified> {
        let (pieces, source) = (self.listed(file)?, self.place.open(&file.path)?);
        let len = source.len().map_err(|e| Error::of_io(e, &file.path))?;
        if len > pieces.size() {
            return Err(changed(&file.path, "it is longer than what was signed"));
        }
        let starts = pieces.0.iter().scan(0, |at, piece| Some(std::mem::replace(at, *at + piece.len))).collect();
        Ok(Verified { path: file.path.clone(), format: file.format, pieces, starts, source, held: Mutex::default() })
    }

    fn listed(&self, file: &Measured) -> Result<Pieces> {
        let pieces = Pieces::from_text(&self.place.beside(&file.path, PIECES, Pieces::most(file.size))?, &file.pieces)
            .map_err(|e| e.on(&file.path))?;
        if pieces.size() == file.size { Ok(pieces) } else { Err(changed(&file.path, "its pieces are not all of it")) }
    }

    fn kept(&self, file: &Measured) -> Result<Kept> {
        let attribution = &self.statement.attribution;
        let Some(signed) = attribution.files.get(&file.path).filter(|_| !attribution.excluded.is_empty()) else {
            return Ok(Kept::default());
        };
        let text = self.place.beside(&file.path, CONTRIBUTORS, Runs::most(file.records))?;
        let runs = Runs::from_text(&text, signed, file.records, attribution.contributors.len())
            .map_err(|e| e.on(&file.path))?;
        let mut ends = Vec::with_capacity(runs.0.len());
        let mut out = Vec::with_capacity(runs.0.len());
        let mut end = 0;
        for run in runs.0 {
            end += run.count;
            ends.push(end);
            out.push(attribution.keeps_out(run.by));
        }
        Ok(Kept { ends, out })
    }
}

/// Which records of a file are handed on.
#[derive(Default)]
struct Kept {
    /// Number of the last record of each run.
    ends: Vec<u64>,
    /// Whether the run is kept out.
    out: Vec<bool>,
}

impl Kept {
    fn has(&self, number: u64) -> bool {
        let run = self.ends.partition_point(|end| *end < number);
        !self.out.get(run).copied().unwrap_or(false)
    }
}

/// Pieces that are held, and their bytes together: one may be larger.
const HELD: (usize, usize) = (8, 16 << 20);

/// The bytes of a file, of which none is handed on unchecked. Holds the last pieces.
pub struct Verified {
    path: String,
    format: Format,
    pieces: Pieces,
    starts: Vec<u64>,
    source: Arc<dyn ReadAt>,
    /// The pieces that were read last: several threads read an archive at several places.
    held: Mutex<Vec<(usize, Vec<u8>)>>,
}

impl ReadAt for Verified {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.pieces.size())
    }

    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while !buffer.is_empty() {
            let index = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
            let (Some(piece), Some(start)) = (self.pieces.0.get(index), self.starts.get(index)) else {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            };
            if let Some(place) = held.iter().position(|(at, _)| *at == index) {
                held[..=place].rotate_right(1);
            } else {
                let mut bytes = vec![0; usize::try_from(piece.len).unwrap_or(usize::MAX)];
                let there = self.source.read_exact_at(&mut bytes, *start);
                // What a vault refuses is no damage.
                if there.as_ref().is_err_and(|e| e.get_ref().is_some_and(|inner| inner.is::<Error>())) {
                    return there;
                }
                if there.is_err() || blake3(&bytes) != piece.blake3 {
                    return Err(std::io::Error::other(self.damaged(index, *start, piece)));
                }
                let mut size = bytes.len();
                held.insert(0, (index, bytes));
                held.truncate(HELD.0);
                held.retain(|(at, bytes)| {
                    size += if *at == index { 0 } else { bytes.len() };
                    *at == index || size <= HELD.1
                });
            }
            let from = usize::try_from(offset - start).unwrap_or(usize::MAX);
            let Some(rest) = held.first().and_then(|(_, bytes)| bytes.get(from..)).filter(|rest| !rest.is_empty())
            else {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            };
            let (now, later) = buffer.split_at_mut(buffer.len().min(rest.len()));
            now.copy_from_slice(&rest[..now.len()]);
            offset += now.len() as u64;
            buffer = later;
        }
        Ok(())
    }
}

pub(super) fn changed(file: &str, why: &str) -> Error {
    Error::new(ErrorId::DatasetChanged, format!("{file}: {why}")).hint("vault dataset verify tells what differs")
}

impl Verified {
    fn damaged(&self, index: usize, at: u64, piece: &Piece) -> Error {
        let end = at.saturating_add(piece.len);
        let before: u64 = self.pieces.0.iter().take(index).map(|p| p.records).sum();
        let records = match (piece.records, self.format) {
            (0, Format::Tar) => samples_within(&*self.source, (at, end)),
            (0, _) => None,
            (n, _) => Some((before + 1, before + n)),
        };
        let bytes = format!("bytes {at} to {}", end.saturating_sub(1));
        let which = match records {
            None => bytes,
            Some((first, last)) => format!("records {first} to {last} ({bytes})"),
        };
        changed(&self.path, &format!("{which} are not what was signed"))
    }
}
