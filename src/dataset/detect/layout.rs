//! Images and samples as rows of a table: a column for each directory above them, and one for each kind of file in a sample.

use std::collections::BTreeSet;

use super::super::folder::Folder;
use super::super::frame::contents::Unwritten;
use super::super::frame::members::Content;
use super::super::frame::{Format, jsonl};
use super::super::parts::Part;
use super::super::schema::{Column, Schema, Type};
use super::super::units::Done;
use super::super::value::Encoder;
use super::image;
use crate::crypto::hash::sha256;
use crate::error::Result;
use crate::names::Sha256;

/// Directories that become columns, from the outermost.
const MAX_LEVELS: usize = 16;
/// Kinds of files that become columns.
const MAX_MEMBERS: usize = 256;
/// Most bytes of a file that is looked at as text or JSON.
const MAX_TEXT: u64 = 1 << 20;
/// Most bytes of a file that is looked at as an image.
const MAX_IMAGE: u64 = 64 << 20;
/// Bytes that tell what a file is.
const HEAD: u64 = 16;
/// The column that names a record.
const PATH: &str = "path";
/// The column of an image that is a file of its own.
const IMAGE: &str = "image";
/// What columns of directories are called, before their number.
const DIRECTORY: &str = "directory";

/// The columns.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// As a table has them.
    pub schema: Schema,
    /// Samples have further kinds of files, which are not looked at.
    pub more: bool,
    /// In the order of the schema.
    cells: Vec<Cell>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    Path,
    /// Its number, from 0.
    Directory(usize),
    Image,
    /// The file with this extension.
    Member(String),
}

/// What samples are like.
#[derive(Default)]
struct Seen {
    levels: usize,
    extensions: BTreeSet<String>,
    more: bool,
}

impl Layout {
    /// Of all images and samples of a dataset. Nothing of them is read but names.
    ///
    /// # Errors
    /// `RecordInvalid` for a damaged archive; those of reading.
    pub fn of(folder: &Folder, threads: usize) -> Result<Self> {
        let (mut all, mut images) = (Seen::default(), false);
        folder.each(&mut |part| {
            let mut take = |done: Done<Seen>| {
                all.merge(done.value);
                Ok(())
            };
            match part {
                Part::Images(_) => {
                    images = true;
                    // Their one file is the image, whatever its extension.
                    part.names(threads, &|key, _, seen: &mut Seen| seen.key(key), &mut take)
                }
                Part::File(source) if source.format == Format::Tar => {
                    part.names(threads, &|key, extensions, seen: &mut Seen| seen.sample(key, extensions), &mut take)
                }
                Part::File(_) => Ok(()),
            }
        })?;
        let mut cells = vec![(PATH.to_owned(), Cell::Path)];
        cells.extend((0..all.levels).map(|level| (format!("{DIRECTORY}{}", level + 1), Cell::Directory(level))));
        cells.extend(images.then(|| (IMAGE.to_owned(), Cell::Image)));
        let taken: BTreeSet<_> = cells.iter().map(|(name, _)| name.clone()).collect();
        cells.extend(all.extensions.into_iter().map(|extension| {
            // A file without an extension has no name of its own.
            let own = !extension.is_empty() && !taken.contains(&extension);
            (if own { extension.clone() } else { format!(".{extension}") }, Cell::Member(extension))
        }));
        cells.sort_by(|a, b| a.0.cmp(&b.0));
        let columns = cells.iter().map(|(name, _)| Column { name: name.clone(), kind: Type::Any }).collect();
        let cells = cells.into_iter().map(|(_, cell)| cell).collect();
        Ok(Self { schema: Schema::table(columns)?, more: all.more, cells })
    }

    /// Whether a column names the records.
    pub fn is_path(&self, column: usize) -> bool {
        self.cells.get(column) == Some(&Cell::Path)
    }

    /// Whether a column is a directory.
    pub fn is_directory(&self, column: usize) -> bool {
        matches!(self.cells.get(column), Some(Cell::Directory(_)))
    }

    /// The columns of directories, the innermost first.
    pub fn directories(&self) -> Vec<usize> {
        let mut all: Vec<_> = self.cells.iter().enumerate().collect();
        all.retain(|(_, cell)| matches!(cell, Cell::Directory(_)));
        all.sort_by_key(|(_, cell)| match cell {
            Cell::Directory(level) => std::cmp::Reverse(*level),
            _ => std::cmp::Reverse(0),
        });
        all.into_iter().map(|(column, _)| column).collect()
    }

    /// Whether a column holds what its name says is an image.
    pub fn is_image(&self, column: usize) -> bool {
        match self.cells.get(column) {
            Some(Cell::Image) => true,
            Some(Cell::Member(extension)) => Format::of_name(&format!(".{extension}")) == Some(Format::Images),
            _ => false,
        }
    }

    /// The columns of JSON.
    pub fn documents(&self) -> impl Iterator<Item = usize> {
        let json = |cell: &Cell| matches!(cell, Cell::Member(extension) if is_json(extension));
        self.cells.iter().enumerate().filter(move |(_, cell)| json(cell)).map(|(column, _)| column)
    }

    /// Writes a row. `images`: whether they are in it, or only their first bytes; `alone`: whether the record is one image, of which the
    /// SHA-256 is given if all of it was read.
    ///
    /// # Errors
    /// Why the record is none; those of reading.
    pub fn write(
        &self,
        (images, alone): (bool, bool),
        key: &str,
        contents: &[Content<'_>],
        row: &mut Encoder,
    ) -> Result<Option<Sha256>, Unwritten> {
        let (mut left, mut whole) = (MAX_IMAGE, None);
        for cell in &self.cells {
            let content = match cell {
                Cell::Path => {
                    let extension = contents.first().map_or("", |c| c.extension);
                    let dot = if extension.is_empty() { "" } else { "." };
                    row.text(&if alone { format!("{key}{dot}{extension}") } else { key.into() });
                    continue;
                }
                Cell::Directory(level) => {
                    let (directories, _) = key.rsplit_once('/').unwrap_or_default();
                    match directories.split('/').nth(*level).filter(|name| !name.is_empty()) {
                        Some(name) => row.text(name),
                        None => row.null(),
                    }
                    continue;
                }
                Cell::Image => match contents.first().filter(|_| alone) {
                    Some(content) => {
                        let head = content.head(HEAD)?;
                        let image = image_or_head(content, head, images, &mut left)?;
                        whole = (image.len() as u64 == content.size).then(|| sha256(&image));
                        row.bytes(&image);
                        continue;
                    }
                    None => None,
                },
                Cell::Member(extension) => contents.iter().find(|c| c.extension == extension).filter(|_| !alone),
            };
            match content {
                Some(content) => value(content, images, &mut left, row)?,
                None => row.null(),
            }
        }
        Ok(whole)
    }
}

impl Seen {
    fn key(&mut self, key: &str) {
        self.levels = self.levels.max(key.matches('/').count().min(MAX_LEVELS));
    }

    fn sample(&mut self, key: &str, extensions: &mut dyn Iterator<Item = &str>) {
        self.key(key);
        extensions.for_each(|extension| self.extension(extension));
    }

    fn extension(&mut self, extension: &str) {
        if self.extensions.contains(extension) {
            return;
        }
        if self.extensions.len() < MAX_MEMBERS {
            self.extensions.insert(extension.into());
        } else {
            self.more = true;
        }
    }

    fn merge(&mut self, later: Self) {
        self.levels = self.levels.max(later.levels);
        later.extensions.iter().for_each(|extension| self.extension(extension));
        self.more |= later.more;
    }
}

fn is_json(extension: &str) -> bool {
    extension.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("json"))
}

/// All bytes of an image that is wanted and not too large; of any other file its first bytes.
fn image_or_head(content: &Content<'_>, head: Vec<u8>, images: bool, left: &mut u64) -> Result<Vec<u8>, Unwritten> {
    if !images || content.size > *left || !image::is_image(&head) {
        return Ok(head);
    }
    *left -= content.size;
    Ok(content.head(content.size)?)
}

/// A file as a value: JSON as what it says, UTF-8 as text, any other as bytes. Of what is too long, or no image, the first bytes.
fn value(content: &Content<'_>, images: bool, left: &mut u64, row: &mut Encoder) -> Result<(), Unwritten> {
    let head = content.head(HEAD)?;
    if image::is_image(&head) {
        row.bytes(&image_or_head(content, head, images, left)?);
        return Ok(());
    }
    if content.size > MAX_TEXT {
        row.bytes(&head);
        return Ok(());
    }
    let all = content.head(content.size)?;
    if is_json(content.extension) {
        let wrong = |why| Unwritten::Record(format!("its .{} is not JSON: {why}", content.extension));
        return jsonl::document(&all, row).map_err(wrong);
    }
    match std::str::from_utf8(&all) {
        Ok(text) if !text.contains('\0') => row.text(text.trim_end_matches(['\r', '\n'])),
        _ => row.bytes(&head),
    }
    Ok(())
}
