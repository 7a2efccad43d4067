//! A file of a dataset, measured: its records, their hashes, its root.

use super::blocks::{Done, work};
use super::compare::RecordKey;
use super::frame::csv::{Csv, Header};
use super::frame::jsonl::Jsonl;
use super::frame::lines::Lines;
use super::frame::whole::Whole;
use super::frame::{Format, Frame};
use super::schema::{Schema, Survey, Type};
use super::value::{record_hash, record_key};
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
    pub bytes: &'a dyn ReadAt,
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
    /// SHA-256 of the bytes.
    pub sha256: Sha256,
    /// How many records it has.
    pub records: u64,
    /// RFC 6962 root over the hashes of its records.
    pub root: Sha256,
}

impl Source<'_> {
    fn start(&self) -> Result<Vec<u8>> {
        let fail = |e: std::io::Error| Error::from(e).on(self.path);
        let len = self.bytes.len().map_err(fail)?.min(MAX_HEADER);
        let mut start = vec![0; usize::try_from(len).unwrap_or(0)];
        self.bytes.read_exact_at(&mut start, 0).map_err(fail)?;
        Ok(start)
    }

    fn header(&self, separator: u8) -> Result<Header> {
        Header::read(&self.start()?, separator).map_err(|e| e.on(self.path))
    }

    /// Adds what its rows are to a survey. Records that are no rows have nothing to be seen.
    ///
    /// # Errors
    /// `RecordInvalid`, with the place.
    pub fn survey(&self, survey: &mut Survey, threads: usize) -> Result<()> {
        let frame: Box<dyn Frame> = match self.format {
            Format::Csv(separator) => {
                let header = self.header(separator)?;
                // Also those of a table without a row.
                header.survey(survey, &[]).map_err(|e| e.on(self.path))?;
                Box::new(Csv::survey_of(header))
            }
            Format::Jsonl => Box::new(Jsonl::survey_of(&self.start()?).map_err(|e| e.on(self.path))?),
            Format::Lines | Format::Whole => return Ok(()),
        };
        let look = |block: &[u8]| {
            let mut seen = Survey::default();
            let records = frame.survey(block, &mut seen)?;
            Ok(Done { value: seen, records })
        };
        let mut take = |done: Done<Survey>| survey.merge(&done.value);
        work((self.path, self.bytes), &*frame, threads, &mut |_| {}, &look, &mut take)
    }

    fn frame(&self, schema: &Schema) -> Result<Box<dyn Frame>> {
        let frame: Result<Box<dyn Frame>> = match self.format {
            Format::Whole => Ok(Box::new(Whole)),
            Format::Csv(separator) => Csv::new(self.header(separator)?, schema).map(|f| Box::new(f) as _),
            Format::Jsonl => Jsonl::new(&self.start()?, schema).map(|f| Box::new(f) as _),
            Format::Lines => Lines::new(schema).map(|f| Box::new(f) as _),
        };
        frame.map_err(|e| e.on(self.path))
    }

    /// Hands on all records under a schema, in canonical form: `see` makes something of some that follow one another, on any thread; `take`
    /// is given what it made, in the order of the file.
    ///
    /// # Errors
    /// As [`measure`](Self::measure); those of `take`.
    pub(super) fn read<T: Send + Default>(
        &self,
        schema: &Schema,
        threads: usize,
        see: &(dyn Fn(&[u8], &mut T) + Sync),
        take: &mut dyn FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let frame = self.frame(schema)?;
        let make = |block: &[u8]| {
            let (mut value, mut records) = (T::default(), 0);
            frame.records(block, &mut |record| {
                see(record, &mut value);
                records += 1;
            })?;
            Ok(Done { value, records })
        };
        work((self.path, self.bytes), &*frame, threads, &mut |_| {}, &make, &mut |done| take(done.value))
    }

    /// Hashes all records under a schema. `leaves` is given their hashes, in order, and with `key`, a column, a digest of what each has
    /// there.
    ///
    /// # Errors
    /// `RecordInvalid`, with the place; `DatasetChanged` for other columns than the schema's; those of `leaves`.
    pub fn measure(&self, schema: &Schema, key: Option<usize>, threads: usize, leaves: Leaves<'_>) -> Result<Measured> {
        let (frame, id) = (self.frame(schema)?, schema.id());
        let hash = |block: &[u8]| {
            let (mut hashes, mut keys) = (Vec::with_capacity(block.len() / 64), Vec::new());
            frame.records(block, &mut |record| {
                hashes.push(record_hash(&id, record));
                keys.extend(key.map(|column| record_key(record, column)));
            })?;
            Ok(Done { records: hashes.len() as u64, value: (hashes, keys) })
        };
        let (mut whole, mut size, mut tree) = (Sha256Hasher::default(), 0, Frontier::default());
        let mut read = |bytes: &[u8]| {
            whole.update(bytes);
            size += bytes.len() as u64;
        };
        let mut take = |Done { value: (hashes, keys), .. }: Done<(Vec<Sha256>, Vec<RecordKey>)>| {
            hashes.iter().for_each(|leaf| tree.push(*leaf));
            leaves(&hashes, &keys)
        };
        work((self.path, self.bytes), &*frame, threads, &mut read, &hash, &mut take)?;
        let (records, root) = (tree.size(), tree.root());
        Ok(Measured { path: self.path.into(), format: self.format, size, sha256: whole.finish(), records, root })
    }
}

/// Looks through the files of a dataset for the one schema of all their records.
#[derive(Default)]
pub struct Surveyor {
    seen: Survey,
    lines: bool,
    tables: bool,
    /// A table that is no JSON: what is of several types is text in it.
    flat: bool,
}

impl Surveyor {
    /// Looks through a file.
    ///
    /// # Errors
    /// `RecordInvalid`, with the place.
    pub fn add(&mut self, source: &Source<'_>, threads: usize) -> Result<()> {
        match source.format {
            Format::Whole => return Ok(()),
            Format::Lines => self.lines = true,
            Format::Jsonl => self.tables = true,
            Format::Csv(_) => (self.tables, self.flat) = (true, true),
        }
        source.survey(&mut self.seen, threads)
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
            (false, false) => refused(
                "there are no records in it",
                "records lie in files named .csv, .tsv, .jsonl or .txt; or give --format",
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
mod tests {
    use super::*;

    fn measured(path: &str, bytes: &[u8], schema: Option<&Schema>) -> Result<(Measured, Vec<Sha256>)> {
        let bytes = bytes.to_vec();
        let source = Source { path, format: Format::of_name(path).unwrap(), bytes: &bytes };
        let found;
        let schema = match schema {
            Some(schema) => schema,
            None => {
                let mut surveyor = Surveyor::default();
                surveyor.add(&source, 2)?;
                found = surveyor.schema()?;
                &found
            }
        };
        let mut leaves = Vec::new();
        let file = source.measure(schema, None, 2, &mut |some, _| {
            leaves.extend_from_slice(some);
            Ok(())
        })?;
        Ok((file, leaves))
    }

    #[test]
    fn a_table_has_one_root_in_every_format() {
        let (mut csv, mut tsv, mut jsonl) =
            (String::from("id,text,score\n"), "text\tscore\tid\n".to_owned(), String::new());
        for i in 0..50_000 {
            let text = format!("line {i}, \"quoted\" é");
            let score = f64::from(i) / 8.0;
            csv.push_str(&format!("{i},\"{}\",{score:?}\n", text.replace('"', "\"\"")));
            tsv.push_str(&format!("\"{}\"\t{score:?}\t{i}\r\n", text.replace('"', "\"\"")));
            let mut quoted = String::new();
            crate::json::quote(&text, &mut quoted);
            jsonl.push_str(&format!("{{\"text\":{quoted},\"score\":{score:?},\"id\":{i}}}\n"));
        }
        let (of_csv, leaves) = measured("t.csv", csv.as_bytes(), None).unwrap();
        assert!(csv.len() > 1 << 20, "several blocks");
        assert_eq!(of_csv.records, 50_000);
        assert_eq!(of_csv.root, crate::crypto::merkle::root(&leaves));
        assert_eq!(of_csv.sha256, crate::crypto::hash::sha256(csv.as_bytes()));
        for (path, text) in [("t.tsv", &tsv), ("t.jsonl", &jsonl)] {
            let (other, same) = measured(path, text.as_bytes(), None).unwrap();
            assert_eq!((other.root, same == leaves), (of_csv.root, true), "{path}");
        }
    }

    #[test]
    fn a_bad_record_is_named_by_file_line_and_number() {
        let mut text = String::from("a,b\n");
        (0..100_000).for_each(|i| text.push_str(&format!("{i},\"two\nlines\"\n")));
        let error = measured("t.csv", format!("{text}1,2,3\n").as_bytes(), None).unwrap_err();
        assert_eq!(error.id(), ErrorId::RecordInvalid);
        assert!(error.message().starts_with("t.csv, line 200002 (record 100001): a row of 3 fields"), "{error}");
    }

    #[test]
    fn one_long_record_is_read_and_a_longer_one_refused() {
        let long = |len: usize| format!("{{\"a\":\"{}\"}}\n{{\"a\":\"b\"}}\n", "x".repeat(len));
        let (file, _) = measured("t.jsonl", long(20 << 20).as_bytes(), None).unwrap();
        assert_eq!(file.records, 2);
        let error = measured("t.jsonl", long(MAX_RECORD_AND_MORE).as_bytes(), None).unwrap_err();
        assert_eq!(error.id(), ErrorId::LimitExceeded, "{error}");
    }

    const MAX_RECORD_AND_MORE: usize = super::super::value::MAX_RECORD + (1 << 20);

    #[test]
    fn a_signed_schema_holds_for_what_is_read_later() {
        let text = "a,b\n1,x\n2,y\n";
        let schema = Schema::table(vec![
            super::super::schema::Column { name: "a".into(), kind: Type::Int },
            super::super::schema::Column { name: "b".into(), kind: Type::Text },
        ])
        .unwrap();
        let (before, _) = measured("t.csv", text.as_bytes(), None).unwrap();
        let (under, _) = measured("t.csv", text.as_bytes(), Some(&schema)).unwrap();
        assert_eq!(before, under);
        let id = |text: &str| measured("t.csv", text.as_bytes(), Some(&schema)).unwrap_err().id();
        assert_eq!(id("a,c\n1,x\n"), ErrorId::DatasetChanged);
        assert_eq!(id("a,b,c\n1,x,2\n"), ErrorId::DatasetChanged);
        assert_eq!(id("a,b\nx,x\n"), ErrorId::RecordInvalid);
    }

    #[test]
    fn lines_are_records_and_files_without_any_are_empty() {
        let (file, leaves) = measured("t.txt", b"one\ntwo\r\n\nthree", None).unwrap();
        assert_eq!((file.records, leaves.len()), (4, 4));
        let (empty, _) = measured("t.txt", b"", None).unwrap();
        assert_eq!((empty.records, empty.root), (0, crate::crypto::merkle::empty_root()));
        let (none, _) = measured("t.csv", b"a,b\n", None).unwrap();
        assert_eq!(none.records, 0);
    }
}
