//! A file of a dataset, measured: its records, their hashes, its root.

use std::sync::Arc;

use super::blocks::Blocks;
use super::compare::RecordKey;
use super::frame::csv::{Csv, Header};
use super::frame::images::Images;
use super::frame::jsonl::Jsonl;
use super::frame::lines::Lines;
use super::frame::tar::Tar;
use super::frame::whole::Whole;
use super::frame::{Format, Frame};
use super::pieces::{Cutter, Piece, Pieces};
use super::schema::{Schema, Survey, Type};
use super::units::{Done, Read, Units, show, work};
use super::value::{Hasher, record_key};
use crate::crypto::hash::Sha256Hasher;
use crate::crypto::merkle::Frontier;
use crate::error::{Error, ErrorId, Result};
use crate::names::Sha256;
use crate::seal::io::ReadAt;

/// Most bytes of a header.
const MAX_HEADER: u64 = 1 << 20;

/// What is given the hashes of the next records, and their keys if there are.
pub type Leaves<'a> = &'a mut dyn FnMut(&[Sha256], &[RecordKey]) -> Result<()>;

/// Bytes with a name and a format.
pub struct Source<'a> {
    /// Path within the dataset.
    pub path: &'a str,
    /// How its records are framed.
    pub format: Format,
    /// The bytes.
    pub bytes: Arc<dyn ReadAt>,
}

/// A file and its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Path within the dataset.
    pub path: String,
    /// How its records are framed.
    pub format: Format,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes; of the hashes of its records, for what is many files ([`Format::Images`]).
    pub sha256: Sha256,
    /// How many records it has.
    pub records: u64,
    /// RFC 6962 root over the hashes of its records.
    pub root: Sha256,
    /// SHA-256 of the list of its [`Pieces`].
    pub pieces: Sha256,
}

impl Measured {
    /// Whether it is the same file with the same records. Pieces do not count: who signed may have cut it otherwise.
    pub fn is_same(&self, other: &Self) -> bool {
        Self { pieces: other.pieces, ..self.clone() } == *other
    }
}

/// How a file is measured.
#[derive(Clone, Copy)]
pub(super) struct Measuring<'a> {
    /// What its records are held to.
    pub schema: &'a Schema,
    /// The column whose value names a record, if its key is asked for.
    pub key: Option<usize>,
    /// Threads that work on it, beside one that reads.
    pub threads: usize,
}

impl Source<'_> {
    fn start(&self) -> Result<Vec<u8>> {
        let fail = |e: std::io::Error| Error::of_io(e, self.path);
        let len = self.bytes.len().map_err(fail)?.min(MAX_HEADER);
        let mut start = vec![0; usize::try_from(len).unwrap_or(0)];
        self.bytes.read_exact_at(&mut start, 0).map_err(fail)?;
        Ok(start)
    }

    fn header(&self, separator: u8) -> Result<Header> {
        Header::read(&self.start()?, separator).map_err(|e| e.on(self.path))
    }

    fn blocks(&self, frame: impl Frame + 'static) -> Blocks<'_> {
        Blocks { name: self.path, source: &*self.bytes, frame: Box::new(frame) }
    }

    /// Adds what its rows are to a survey, and says how many there are. Records that are no rows have nothing to be seen.
    ///
    /// # Errors
    /// `RecordInvalid`, with the place.
    pub fn survey(&self, survey: &mut Survey, threads: usize) -> Result<u64> {
        match self.format {
            Format::Csv(separator) => {
                let header = self.header(separator)?;
                // Also those of a table without a row.
                header.survey(survey, &[]).map_err(|e| e.on(self.path))?;
                self.survey_of(&self.blocks(Csv::survey_of(header)), survey, threads)
            }
            Format::Jsonl => {
                let frame = Jsonl::survey_of(&self.start()?).map_err(|e| e.on(self.path))?;
                self.survey_of(&self.blocks(frame), survey, threads)
            }
            #[cfg(feature = "datasets")]
            Format::Parquet => {
                let table = super::frame::parquet::Parquet::open(self.path, &self.bytes)?;
                table.columns().try_for_each(|name| survey.add(name, super::Seen::default()))?;
                self.survey_of(&table, survey, threads)
            }
            #[cfg(feature = "datasets")]
            Format::Arrow => {
                let table = super::frame::arrow::Arrow::open(self.path, &self.bytes)?;
                table.columns().try_for_each(|name| survey.add(name, super::Seen::default()))?;
                self.survey_of(&table, survey, threads)
            }
            #[cfg(not(feature = "datasets"))]
            Format::Parquet | Format::Arrow => Err(not_built(self)),
            Format::Lines | Format::Tar | Format::Images | Format::Whole => Ok(0),
        }
    }

    fn survey_of<U: Units>(&self, units: &U, survey: &mut Survey, threads: usize) -> Result<u64> {
        let look = |unit: &U::Unit| {
            let mut seen = Survey::default();
            let records = units.survey(unit, &mut seen)?;
            Ok(Done { value: seen, records })
        };
        let mut records = 0;
        let mut take = |done: Done<Survey>| {
            records += done.records;
            survey.merge(&done.value)
        };
        work(self.path, units, threads, &mut |_| {}, &look, &mut take)?;
        Ok(records)
    }

    /// Hashes all records under a schema, those that are files under the schema of files, and all pieces. `leaves` is given the records'
    /// hashes, in order, and with `key`, a column, a digest of what each has there.
    ///
    /// # Errors
    /// `RecordInvalid`, with the place; `DatasetChanged` for other columns than the schema's; those of `leaves`.
    pub fn measure(
        &self,
        schema: &Schema,
        key: Option<usize>,
        threads: usize,
        leaves: Leaves<'_>,
    ) -> Result<(Measured, Pieces)> {
        let how = Measuring { schema, key, threads };
        self.visit(schema, Measure { what: (self.path, self.format), how, leaves })
    }

    /// Hands on all records under a schema, in canonical form: `see` makes something of some that follow one another, on any thread; `take`
    /// is given what it made, in the order of the file; `bytes` sees all of it, each byte once and in order.
    ///
    /// # Errors
    /// As [`measure`](Self::measure); those of `take`.
    pub(super) fn read<T: Send + Default>(
        &self,
        schema: &Schema,
        threads: usize,
        bytes: Read<'_>,
        see: &(dyn Fn(&[u8], &mut T) + Sync),
        take: &mut dyn FnMut(T) -> Result<()>,
    ) -> Result<()> {
        self.visit(schema, Show { path: self.path, threads, bytes, see, take })
    }

    /// Finds what hands out the records of the format.
    fn visit<V: Visit>(&self, schema: &Schema, visitor: V) -> Result<V::Out> {
        let on = |e: Error| e.on(self.path);
        match self.format {
            Format::Whole => visitor.visit(&self.blocks(Whole), schema),
            Format::Csv(separator) => {
                visitor.visit(&self.blocks(Csv::new(self.header(separator)?, schema).map_err(on)?), schema)
            }
            Format::Jsonl => visitor.visit(&self.blocks(Jsonl::new(&self.start()?, schema).map_err(on)?), schema),
            Format::Lines => visitor.visit(&self.blocks(Lines::new(schema).map_err(on)?), schema),
            Format::Tar => visitor.visit(&Tar { name: self.path, source: self.bytes.clone() }, &Schema::Files),
            Format::Images => {
                let text = "images are measured with their folder";
                Err(Error::new(ErrorId::InvalidArgument, text).on(self.path))
            }
            #[cfg(feature = "datasets")]
            Format::Parquet => {
                let table = super::frame::parquet::Parquet::open(self.path, &self.bytes)?.under(schema).map_err(on)?;
                visitor.visit(&table, schema)
            }
            #[cfg(feature = "datasets")]
            Format::Arrow => {
                let table = super::frame::arrow::Arrow::open(self.path, &self.bytes)?.under(schema).map_err(on)?;
                visitor.visit(&table, schema)
            }
            #[cfg(not(feature = "datasets"))]
            Format::Parquet | Format::Arrow => Err(not_built(self)),
        }
    }
}

#[cfg(not(feature = "datasets"))]
fn not_built(source: &Source<'_>) -> Error {
    let text = format!("{}: this build reads no {} files", source.path, source.format.as_str());
    Error::new(ErrorId::InvalidArgument, text).hint("build with the feature `datasets`")
}

/// What is done with the records of a file, whatever hands them out.
trait Visit {
    type Out;

    fn visit<U: Units>(self, units: &U, schema: &Schema) -> Result<Self::Out>;
}

struct Measure<'a> {
    what: (&'a str, Format),
    how: Measuring<'a>,
    leaves: Leaves<'a>,
}

impl Visit for Measure<'_> {
    type Out = (Measured, Pieces);

    fn visit<U: Units>(self, units: &U, schema: &Schema) -> Result<Self::Out> {
        // The key of what is files is their first field: the path up to the first dot of the name.
        let key = self.how.key.map(|key| if *schema == Schema::Files { 0 } else { key });
        Measuring { schema, key, ..self.how }.of(self.what, units, self.leaves)
    }
}

struct Show<'a, T> {
    path: &'a str,
    threads: usize,
    bytes: Read<'a>,
    see: &'a (dyn Fn(&[u8], &mut T) + Sync),
    take: &'a mut dyn FnMut(T) -> Result<()>,
}

impl<T: Send + Default> Visit for Show<'_, T> {
    type Out = ();

    fn visit<U: Units>(self, units: &U, _: &Schema) -> Result<()> {
        show(self.path, units, self.threads, self.bytes, self.see, self.take)
    }
}

impl Measuring<'_> {
    fn of<U: Units>(
        &self,
        (path, format): (&str, Format),
        units: &U,
        leaves: Leaves<'_>,
    ) -> Result<(Measured, Pieces)> {
        let schema = self.schema.id();
        let hash = |unit: &U::Unit| {
            let (mut keys, mut hasher) = (Vec::new(), Hasher::new(&schema));
            units.records(unit, &mut |record| {
                hasher.push(record);
                keys.extend(self.key.map(|column| record_key(record, column)));
            })?;
            let hashes = hasher.finish();
            let records = hashes.len() as u64;
            let piece = units.bytes(unit).map(|bytes| Piece::of(bytes, records));
            Ok(Done { records, value: (hashes, keys, piece) })
        };
        let (mut whole, mut size, mut tree) = (Sha256Hasher::default(), 0, Frontier::default());
        // Either the units are the file behind its head, or it is cut.
        let (mut head, mut pieces, mut cutter) = (units.head(), Vec::new(), Cutter::default());
        let mut first = None;
        let mut read = |bytes: &[u8]| {
            whole.update(bytes);
            size += bytes.len() as u64;
            match head.take() {
                Some(len) => first = (len > 0).then(|| Piece::of(bytes, 0)),
                None if !U::IN_BYTES => cutter.push(bytes),
                None => {}
            }
        };
        let mut take =
            |Done { value: (hashes, keys, piece), .. }: Done<(Vec<Sha256>, Vec<RecordKey>, Option<Piece>)>| {
                tree.extend(&hashes);
                pieces.extend(piece);
                leaves(&hashes, &keys)
            };
        work(path, units, self.threads, &mut read, &hash, &mut take)?;
        let pieces = match U::IN_BYTES {
            true => Pieces(first.into_iter().chain(pieces).collect()),
            false => cutter.finish(),
        };
        let (records, root) = (tree.size(), tree.root());
        let (path, sha256) = (path.into(), whole.finish());
        Ok((Measured { path, format, size, sha256, records, root, pieces: pieces.digest() }, pieces))
    }

    /// The images among files, as one file of the dataset. Its pieces are none: each image has its hash.
    pub fn images(&self, path: &str, images: Images<'_>, leaves: Leaves<'_>) -> Result<Measured> {
        let mut all = Sha256Hasher::default();
        let mut both = |hashes: &[Sha256], keys: &[RecordKey]| {
            hashes.iter().for_each(|hash| all.update(&hash.0));
            leaves(hashes, keys)
        };
        let how = Measure { what: (path, Format::Images), how: *self, leaves: &mut both };
        let (measured, _) = how.visit(&images, &Schema::Files)?;
        Ok(Measured { size: images.size.into_inner(), sha256: all.finish(), ..measured })
    }
}

/// Looks through the files of a dataset for the one schema of all their records.
#[derive(Default)]
pub struct Surveyor {
    seen: Survey,
    lines: bool,
    tables: bool,
    files: bool,
    /// A table that is no JSON: what is of several types is text in it.
    flat: bool,
}

impl Surveyor {
    /// Looks through a file. Says how many rows it has.
    ///
    /// # Errors
    /// `RecordInvalid`, with the place.
    pub fn add(&mut self, source: &Source<'_>, threads: usize) -> Result<u64> {
        self.note(source.format);
        source.survey(&mut self.seen, threads)
    }

    /// Notes that there are files of a format.
    pub fn note(&mut self, format: Format) {
        match format {
            Format::Whole => {}
            Format::Tar | Format::Images => self.files = true,
            Format::Lines => self.lines = true,
            Format::Jsonl | Format::Parquet | Format::Arrow => self.tables = true,
            Format::Csv(_) => (self.tables, self.flat) = (true, true),
        }
    }

    /// The schema.
    ///
    /// # Errors
    /// `InvalidArgument` for records of several kinds, and for none.
    pub fn schema(&self) -> Result<Schema> {
        let refused = |why: &str, hint: &str| Err(Error::new(ErrorId::InvalidArgument, why).hint(hint));
        match (self.lines, self.tables) {
            (true, false) => Ok(Schema::Lines),
            (false, true) => self.seen.schema(if self.flat { Type::Text } else { Type::Any }),
            (true, true) => refused("both lines of text and rows of tables", "sign them as two datasets"),
            // Beside tables or lines, files have their own.
            (false, false) if self.files => Ok(Schema::Files),
            (false, false) => refused(
                "there are no records in it",
                "records lie in files named .csv, .tsv, .jsonl, .parquet, .arrow, .txt or .tar, or are images; or give --format",
            ),
        }
    }
}

/// The root of a dataset: RFC 6962 over its files, in the byte order of their paths. A leaf is `path ‖ size ‖ SHA-256 ‖ records ‖ root of the
/// records`, the path with its length (u64) before it, all numbers u64 little-endian.
pub fn dataset_root(files: &[Measured]) -> Sha256 {
    let mut tree = Frontier::default();
    for file in files {
        let mut leaf = Vec::with_capacity(file.path.len() + 88);
        leaf.extend_from_slice(&(file.path.len() as u64).to_le_bytes());
        leaf.extend_from_slice(file.path.as_bytes());
        leaf.extend_from_slice(&file.size.to_le_bytes());
        leaf.extend_from_slice(&file.sha256.0);
        leaf.extend_from_slice(&file.records.to_le_bytes());
        leaf.extend_from_slice(&file.root.0);
        tree.push(crate::crypto::merkle::leaf_hash(&leaf));
    }
    tree.root()
}

#[cfg(test)]
mod tests;
