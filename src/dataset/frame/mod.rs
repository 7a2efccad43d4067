//! From the bytes of a file to its records. A format of text is a [`Frame`]: it says where a block of the file may be cut, and writes the
//! records of a block in canonical form. Any other hands out [units](super::units::Units) of its own.

#[cfg(feature = "datasets")]
pub mod arrow;
#[cfg(feature = "datasets")]
mod columns;
pub mod contents;
pub mod csv;
pub mod images;
pub mod jsonl;
pub mod lines;
pub mod members;
mod number;
#[cfg(feature = "datasets")]
pub mod parquet;
pub mod tar;
pub mod whole;

pub use members::file_record_hash;

use super::schema::{Schema, Survey};
use super::value::Encoder;
use crate::error::{Error, ErrorId};

/// How the records of a file are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180 with a header, separated by this byte.
    Csv(u8),
    /// One JSON object a line.
    Jsonl,
    /// One record a line.
    Lines,
    /// A table in columns (Apache Parquet). Read by builds with the feature `datasets`.
    Parquet,
    /// A table in columns as it lies in memory (Apache Arrow IPC, Feather 2). Read by builds with the feature `datasets`.
    Arrow,
    /// An archive of samples (WebDataset): a record is all members that are named alike up to the first dot.
    Tar,
    /// Not a file but all images of a folder: a record each.
    Images,
    /// No records: the file counts as a whole.
    Whole,
}

/// What files are called that hold an image.
const IMAGES: [&str; 11] = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "jxl", "ppm"];

impl Format {
    /// By the extension of a file's name.
    pub fn of_name(name: &str) -> Option<Self> {
        let extension = name.rsplit_once('.')?.1.to_ascii_lowercase();
        match &*extension {
            "csv" => Some(Self::Csv(b',')),
            "tsv" | "tab" => Some(Self::Csv(b'\t')),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "txt" => Some(Self::Lines),
            "parquet" | "pq" => Some(Self::Parquet),
            "arrow" | "feather" => Some(Self::Arrow),
            "tar" => Some(Self::Tar),
            image if IMAGES.contains(&image) => Some(Self::Images),
            _ => None,
        }
    }

    /// In statements and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv(b'\t') => "tsv",
            Self::Csv(_) => "csv",
            Self::Jsonl => "jsonl",
            Self::Lines => "lines",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Tar => "tar",
            Self::Images => "images",
            Self::Whole => "file",
        }
    }

    /// What [`as_str`](Self::as_str) says.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.as_str() == text)
    }

    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Csv(b','),
        Self::Csv(b'\t'),
        Self::Jsonl,
        Self::Lines,
        Self::Parquet,
        Self::Arrow,
        Self::Tar,
        Self::Images,
        Self::Whole,
    ];

    /// Whether its records are files that belong together, under the schema of those ([`Schema::Files`]), not rows or lines.
    pub fn is_of_files(self) -> bool {
        matches!(self, Self::Tar | Self::Images)
    }
}

/// Reads the blocks of one file, on any thread, in any order.
pub trait Frame: Sync {
    /// Bytes at the start of the file that hold no record, such as a header.
    fn skip(&self) -> u64;

    /// Lines in them, for saying where a record is.
    fn lines_skipped(&self) -> u64;

    /// Where the last whole record of a block ends; 0: none does. `block` begins at a record.
    fn cut(&self, block: &[u8]) -> usize;

    /// Hands on each record of a block, in canonical form, as it stands under the schema.
    ///
    /// # Errors
    /// The first record that is none, and why.
    fn records(&self, block: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), BadRecord>;

    /// Adds what is seen in a block of a table. Says how many records it has.
    ///
    /// # Errors
    /// As [`records`](Self::records).
    fn survey(&self, block: &[u8], seen: &mut Survey) -> Result<u64, BadRecord>;
}

/// A record that cannot be read.
#[derive(Debug)]
pub struct BadRecord {
    /// Its number in the block, from 0.
    pub number: u64,
    /// Where it begins in the block.
    pub at: usize,
    /// Why it is none, without a byte of it.
    pub why: String,
}

impl BadRecord {
    /// As an error about a place in a file, which has lines or none.
    pub fn error(&self, file: &str, line: Option<u64>, record: u64) -> Error {
        let place = match line {
            Some(line) => format!("{file}, line {line} (record {record})"),
            None => format!("{file}, record {record}"),
        };
        Error::new(ErrorId::RecordInvalid, format!("{place}: {}", self.why))
    }
}

/// Where records that end with a newline may be cut.
fn last_line(block: &[u8]) -> usize {
    memchr::memrchr(b'\n', block).map_or(0, |at| at + 1)
}

/// The lines of a block, without their ends.
fn lines_of(block: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = block.get(from..).filter(|rest| !rest.is_empty())?;
        let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let at = from;
        from += len + 1;
        let line = &rest[..len];
        Some((at, line.strip_suffix(b"\r").unwrap_or(line)))
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| NOT_UTF8.to_owned())
}

const NOT_UTF8: &str = "it is not UTF-8; convert the file: iconv -f ENCODING -t UTF-8";

/// Whether a schema fits what a format's records are.
fn misfit(schema: &Schema, format: Format) -> Error {
    let text = format!("a file of format {} does not hold records of the schema {}", format.as_str(), schema.to_json());
    Error::new(ErrorId::InvalidArgument, text).hint("take a schema of the same kind of records")
}

/// A record at a time, in a buffer that is kept.
fn each_encoded(
    encoder: &mut Encoder,
    each: &mut dyn FnMut(&[u8]),
    write: impl FnOnce(&mut Encoder) -> Result<(), String>,
) -> Result<(), String> {
    encoder.clear();
    write(encoder)?;
    each(encoder.record());
    Ok(())
}
