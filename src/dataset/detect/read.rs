//! Reads a dataset for the detectors: records are read and images decoded on all cores, and shown one by one in their order.
//!
//! Memory: some blocks of the file for each thread, and what the detectors keep.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::super::contributors::{Run, Runs};
use super::super::fields::{Field, fields, members};
use super::super::folder::Folder;
use super::super::frame::members::Content;
use super::super::frame::{Format, file_record_hash};
use super::super::parts::Part;
use super::super::value::Encoder;
use super::example::{Cell, Example, Pixels};
use super::image;
use super::profile::number_of;
use super::space::{Slot, Space, Use};
use super::survey::{Columns, Wanted, name_of};
use super::view::View;
use crate::crypto::hash::Sha256Hasher;
use crate::error::{Error, ErrorId, Result};
use crate::names::Sha256;

/// A dataset, and how it is read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub folder: &'a Folder,
    pub view: &'a View,
    pub threads: usize,
    /// Whether images are decoded.
    pub images: bool,
    /// What the first pass read of the images of the folder: what is decoded later must be that.
    pub sha256_of_images: Option<Sha256>,
    /// Told how far it is.
    pub progress: Follow<'a>,
}

/// Who follows a scan.
pub(super) type Follow<'a> = &'a (dyn Fn(Progress) + Sync);

/// How far a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes are to be read in all passes.
    Total(u64),
    /// So many more bytes were read, about: records are counted as they are kept, and brought to the size of their file at its end.
    Read(u64),
    /// All is read, and a detector weighs it.
    Weighing(&'static str),
}

/// What sees a record, and what it is called where it has a name.
pub(super) type See<'a> = &'a mut dyn FnMut(&Example<'_>, &str);

/// A file of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ScannedFile {
    /// Path within the dataset.
    pub path: String,
    /// How its records are framed.
    pub format: &'static str,
    /// Bytes.
    pub size: u64,
    /// As it is signed: of its bytes; of images, over the hashes of all of them.
    pub sha256: Sha256,
    /// Records, where these are looked at.
    pub records: u64,
    /// Whether its records are looked at.
    pub looked_at: bool,
}

/// Records of which nothing, or not all, could be seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Undecoded {
    /// How many.
    pub count: u64,
    /// The first of them, by number from 0.
    pub first: Vec<u64>,
}

impl Undecoded {
    /// Most of them that are named.
    const MOST: usize = 1000;

    fn note(&mut self, record: u64) {
        self.count += 1;
        if self.first.len() < Self::MOST {
            self.first.push(record);
        }
    }
}

/// What is read of images.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// What tells them from other files.
    Heads,
    /// The same, and all bytes for their digest.
    Digests,
    /// All bytes, to be decoded.
    Pixels,
}

/// A field without a value.
const NOTHING: &[u8] = &[0; 5];
/// Bytes of the field with the hash of an image, which comes behind its row.
const HASH: usize = 5 + 32;

/// Some records that follow one another.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// For each record, where records have images.
    images: Vec<Option<Pixels>>,
}

impl Reading<'_> {
    /// The first pass: what the columns are like, and which files there are.
    ///
    /// # Errors
    /// `RecordInvalid`, with the place; those of reading.
    pub fn survey(&self, wanted: &Wanted) -> Result<(Columns, Vec<ScannedFile>)> {
        let (mut all, mut files) = (Columns::default(), Vec::new());
        self.folder.each(&mut |part| {
            let (before, size, mut read) = (all.records, part.size()?, Sha256Hasher::default());
            let see = |record: &[u8], columns: &mut Columns| columns.see(record, wanted);
            let looked_at = self.records((part, Depth::Digests), &mut read, &see, &mut |columns| {
                all.merge(&columns);
                if all.malformed { Err(malformed()) } else { Ok(()) }
            })?;
            files.push(ScannedFile {
                path: part.path().into(),
                format: part.format().as_str(),
                size,
                sha256: if looked_at { read.finish() } else { part.sha256(self.threads)? },
                records: all.records - before,
                looked_at,
            });
            Ok(())
        })?;
        Ok((all, files))
    }

    /// A further pass: all records in their order. Says of which nothing, or not all, could be seen.
    ///
    /// # Errors
    /// As [`survey`](Self::survey); `SourceChanged` for images that are not those of the first pass: whoever has files looks at them once
    /// more after each pass, but images are too many to be remembered one by one.
    pub fn examples(&self, space: &Space, see: See<'_>) -> Result<Undecoded> {
        let (mut record, mut undecoded) = (0, Undecoded::default());
        let depth = if self.images && space.has_images() { Depth::Pixels } else { Depth::Heads };
        let bytes_of = |bytes: &[u8], batch: &mut Batch| batch.push(bytes, space, depth == Depth::Pixels);
        self.folder.each(&mut |part| {
            let (mut by, mut read) = (By::of(space.attested.get(part.path())), Sha256Hasher::default());
            let seen = self.records((part, depth), &mut read, &bytes_of, &mut |batch| {
                batch.show(space, &mut record, &mut by, &mut undecoded, see)
            })?;
            let is_checked = seen && depth == Depth::Pixels && part.format() == Format::Images;
            if is_checked && self.sha256_of_images.is_some_and(|first| first != read.finish()) {
                return Err(Error::new(ErrorId::SourceChanged, "the images changed while they were read")
                    .hint("try again when nothing writes to them"));
            }
            Ok(())
        })?;
        Ok(undecoded)
    }

    /// The records of a part, if it is looked at. `read` is given what is signed of its bytes: of images only where all of them are read.
    fn records<T: Send + Default>(
        &self,
        (part, depth): (&Part<'_>, Depth),
        read: &mut Sha256Hasher,
        see: &(dyn Fn(&[u8], &mut T) + Sync),
        take: &mut dyn FnMut(T) -> Result<()>,
    ) -> Result<bool> {
        let (size, kept, mut told) = (part.size()?, AtomicU64::new(0), 0);
        let mut tell = |now: u64| {
            (self.progress)(Progress::Read(now - told));
            told = now;
        };
        if !self.view.looks_at(part.format()) {
            tell(size);
            return Ok(false);
        }
        let see = &|record: &[u8], seen: &mut T| {
            kept.fetch_add(record.len() as u64, Relaxed);
            see(record, seen);
        };
        let take = &mut |seen| {
            tell(kept.load(Relaxed).min(size));
            take(seen)
        };
        // Once is enough: a file that changes between passes is found out by whoever opens it.
        let mut bytes = |bytes: &[u8]| {
            if depth == Depth::Digests {
                read.update(bytes)
            }
        };
        let mut seen = true;
        match (self.view, part) {
            (View::Samples(layout), Part::Images(_)) if depth != Depth::Heads => {
                let write = |key: &str, contents: &[Content<'_>], row: &mut Encoder| {
                    let whole = layout.write((depth == Depth::Pixels, true), key, contents, row)?;
                    let Some(image) = contents.first() else { return Ok(()) };
                    let sha256 = whole.map_or_else(|| image.sha256(), Ok)?;
                    row.bytes(&file_record_hash(image.place, image.size, sha256).0);
                    Ok(())
                };
                let see = |record: &[u8], (value, hashes): &mut (T, Vec<u8>)| {
                    let (row, hash) = record.split_at(record.len().saturating_sub(HASH));
                    see(row, value);
                    hashes.extend_from_slice(hash.get(HASH - 32..).unwrap_or_default());
                };
                let mut take = |(value, hashes): (T, Vec<u8>)| {
                    read.update(&hashes);
                    take(value)
                };
                part.contents(self.threads, &write, &mut |_| {}, &see, &mut take)?;
            }
            (View::Samples(layout), _) => {
                let how = (depth == Depth::Pixels, part.format() == Format::Images);
                let write = |key: &str, contents: &[Content<'_>], row: &mut Encoder| {
                    layout.write(how, key, contents, row).map(drop)
                };
                part.contents(self.threads, &write, &mut bytes, see, take)?;
            }
            (View::Table(schema), Part::File(source)) => source.read(schema, self.threads, &mut bytes, see, take)?,
            (View::Table(_), Part::Images(_)) => seen = false,
        }
        tell(size);
        Ok(seen)
    }
}

/// Who attests the records of a file, one after the other.
struct By<'a> {
    runs: std::slice::Iter<'a, Run>,
    run: Run,
}

impl<'a> By<'a> {
    fn of(runs: Option<&'a Runs>) -> Self {
        Self { runs: runs.map_or([].iter(), |runs| runs.0.iter()), run: Run { count: 0, by: 0 } }
    }

    /// Whose the next record is, by number from 0.
    fn next(&mut self) -> Option<u32> {
        while self.run.count == 0 {
            self.run = *self.runs.next()?;
        }
        self.run.count -= 1;
        self.run.by.checked_sub(1)
    }
}

fn malformed() -> Error {
    Error::new(ErrorId::Internal, "a record was not written in canonical form")
}

impl Batch {
    fn push(&mut self, record: &[u8], space: &Space, images: bool) {
        self.keep(record, space);
        self.ends.push(self.bytes.len());
        if !images {
            return;
        }
        if let Some(grid) = space.grid {
            let mut samples = vec![0; grid.side * grid.side];
            for (slot, field) in space.slots.iter().zip(fields(record)) {
                let (Slot::One(Use::Pixel(at)), Ok(field)) = (slot, field) else { continue };
                if let (Some(sample), Cell::Number(value)) = (samples.get_mut(*at), cell(field, false)) {
                    *sample = grid.sample(value);
                }
            }
            self.images.push(Some(Pixels { width: grid.side, height: grid.side, channels: 1, samples }));
        } else if space.has_images() {
            let mut found = None;
            each_use(space, record, |used, field| {
                if let (Use::Image, Field::Bytes(bytes)) = (used, field) {
                    found = found.take().or_else(|| image::decode(bytes));
                }
            });
            self.images.push(found);
        }
    }

    /// Keeps a record without its images: they are decoded here, and many would not fit.
    fn keep(&mut self, record: &[u8], space: &Space) {
        let (mut rest, mut values) = (record, fields(record));
        for slot in &space.slots {
            let Some(Ok(_)) = values.next() else { break };
            let (value, more) = rest.split_at(rest.len() - values.rest().len());
            rest = more;
            self.bytes.extend_from_slice(if *slot == Slot::One(Use::Image) { NOTHING } else { value });
        }
        self.bytes.extend_from_slice(rest);
    }

    fn show(
        &self,
        space: &Space,
        number: &mut u64,
        by: &mut By<'_>,
        undecoded: &mut Undecoded,
        see: See<'_>,
    ) -> Result<()> {
        let mut start = 0;
        let mut cells = Vec::with_capacity(space.features.len());
        let mut texts: Vec<&str> = Vec::new();
        for (at, end) in self.ends.iter().enumerate() {
            let record = self.bytes.get(start..*end).ok_or_else(malformed)?;
            start = *end;
            cells.clear();
            cells.resize(space.features.len(), Cell::Missing);
            texts.clear();
            let (mut label, mut contributor, mut name, mut unread) = (None, by.next(), "", false);
            let whole = each_use(space, record, |used, field| match used {
                Use::Label => label = name_of(field).and_then(|name| space.label(&name)),
                Use::Contributor => contributor = name_of(field).and_then(|name| space.contributor(&name)),
                Use::Text => texts.extend(if let Field::Text(text) = field { Some(text) } else { None }),
                Use::Feature(at) | Use::NumericText(at) => {
                    if let Some(place) = cells.get_mut(at) {
                        *place = cell(field, matches!(used, Use::NumericText(_)));
                    }
                }
                Use::Name => name = if let Field::Text(text) = field { text } else { name },
                Use::Unread => unread |= field != Field::Null,
                Use::Ignored | Use::Image | Use::Pixel(_) => {}
            });
            if !whole {
                return Err(malformed());
            }
            let joined;
            let text = match texts[..] {
                [] => "",
                [one] => one,
                _ => {
                    joined = texts.join("\n");
                    &*joined
                }
            };
            let image = self.images.get(at).and_then(Option::as_ref);
            if unread || (image.is_none() && !self.images.is_empty()) {
                undecoded.note(*number);
            }
            see(&Example { record: *number, label, contributor, text, cells: &cells, image }, name);
            *number += 1;
        }
        Ok(())
    }
}

/// Goes through a record with what each of its values is used for. False: it is malformed.
fn each_use<'r>(space: &Space, record: &'r [u8], mut each: impl FnMut(Use, Field<'r>)) -> bool {
    for (slot, field) in space.slots.iter().zip(fields(record)) {
        match (slot, field) {
            (_, Err(_)) => return false,
            (Slot::One(used), Ok(field)) => each(*used, field),
            (Slot::Members(uses), Ok(Field::Struct(inner))) => {
                for member in members(inner) {
                    let Ok((name, value)) = member else { return false };
                    if let Ok(at) = uses.binary_search_by(|(n, _)| (**n).cmp(name))
                        && let Some((_, used)) = uses.get(at)
                    {
                        each(*used, value);
                    }
                }
            }
            (Slot::Members(_), Ok(_)) => {}
        }
    }
    true
}

fn cell(field: Field<'_>, numeric_text: bool) -> Cell<'_> {
    match field {
        Field::Bool(truth) => Cell::Word(if truth { "true" } else { "false" }),
        Field::Int(n) => Cell::Number(n as f64),
        Field::Float(value) if value.is_finite() => Cell::Number(value),
        Field::Text(text) if !text.is_empty() => match number_of(text).filter(|_| numeric_text) {
            Some(value) => Cell::Number(value),
            None => Cell::Word(text),
        },
        _ => Cell::Missing,
    }
}
