//! Tables in Apache Parquet. A record is a row.
//!
//! Types are those that the file itself has, not those that Arrow notes beside them, so that a file counts the same whoever wrote it.
//! Row groups are cut in stretches that are decoded on all cores; pages are read when they are decoded. Memory: for each thread and
//! column the page that is being read and its dictionary, 2 GiB each at most by the format, and some thousand decoded rows.
//! Nothing is read of statistics, indexes and Bloom filters.

use std::io::BufReader;
use std::sync::{Arc, Mutex, PoisonError};

use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::reader::{ChunkReader, Length};
use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Fields, Schema as ArrowSchema};
use bytes::Bytes;

use super::super::schema::{Schema, Survey};
use super::super::units::{Behind, Fault, Give, Read, Units};
use super::super::value::Encoder;
use super::columns::{Columns, ROWS, guarded};
use super::{BadRecord, Format};
use crate::error::{Error, ErrorId, Result};
use crate::seal::io::ReadAt;

/// Most bytes of what a file says about itself.
const MAX_FOOTER: u64 = 64 << 20;
/// Values that are decoded at once, of all columns together.
const BATCH: usize = 1 << 17;

/// Rows of one file.
pub struct Parquet<'a> {
    name: &'a str,
    file: Shared,
    metadata: ArrowReaderMetadata,
    columns: Columns,
}

/// A stretch of a row group.
pub struct Stretch {
    group: usize,
    from: usize,
    rows: usize,
}

impl<'a> Parquet<'a> {
    /// Reads what a file says about itself.
    ///
    /// # Errors
    /// `RecordInvalid` for one that is damaged, encrypted, or holds types that have no canonical form; `LimitExceeded`.
    pub fn open(name: &'a str, source: &Arc<dyn ReadAt>) -> Result<Self> {
        let fail = |e: std::io::Error| Error::of_io(e, name);
        let bad = |why: &str, hint: &str| {
            let error = Error::new(ErrorId::RecordInvalid, format!("{name}: {why}"));
            Err(if hint.is_empty() { error } else { error.hint(hint) })
        };
        let file = Shared { source: source.clone(), len: source.len().map_err(fail)?, fault: Arc::default() };
        if file.len < 12 {
            return bad("not a Parquet file: it is too short", "");
        }
        let mut tail = [0; 8];
        source.read_exact_at(&mut tail, file.len - 8).map_err(fail)?;
        let (footer, magic) = tail.split_at(4);
        match magic {
            b"PAR1" => {}
            b"PARE" => return bad("an encrypted Parquet file", "decrypt it first"),
            _ => return bad("not a Parquet file: it does not end as one", "was it cut off?"),
        }
        let footer = u64::from(u32::from_le_bytes(footer.try_into().unwrap_or_default()));
        if footer > MAX_FOOTER {
            let text = format!("{name}: a footer of more than {} MiB", MAX_FOOTER >> 20);
            return Err(Error::new(ErrorId::LimitExceeded, text).hint("write fewer row groups"));
        }
        // What Arrow notes is passed over. Text and bytes are not copied out of their pages.
        let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let plain = file.guarded(name, || ArrowReaderMetadata::load(&file, options()))?;
        let columns = Columns::of(plain.schema().fields()).map_err(|e| e.on(name))?;
        let metadata = guarded(name, || {
            let viewed = ArrowSchema::new(views(plain.schema().fields()));
            ArrowReaderMetadata::try_new(plain.metadata().clone(), options().with_schema(viewed.into()))
        })?;
        Ok(Self { name, file, metadata, columns })
    }

    /// Names of its columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.names()
    }

    /// The same under a schema.
    ///
    /// # Errors
    /// `InvalidArgument`, `DatasetChanged`.
    pub fn under(self, schema: &Schema) -> Result<Self> {
        Ok(Self { columns: self.columns.under(schema, Format::Parquet)?, ..self })
    }

    fn rows(&self, unit: &Stretch, mut each: impl FnMut(&RecordBatch, u64) -> Result<(), Fault>) -> Result<u64, Fault> {
        let leaves = self.metadata.parquet_schema().num_columns().max(1);
        let reader = self.file.guarded(self.name, || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone())
                .with_row_groups(vec![unit.group])
                .with_offset(unit.from)
                .with_limit(unit.rows)
                .with_batch_size((BATCH / leaves).clamp(16, 8192))
                .build()
        });
        let (mut reader, mut count) = (reader?, 0);
        while let Some(batch) = self.file.guarded(self.name, || reader.next().transpose())? {
            each(&batch, count)?;
            count += batch.num_rows() as u64;
        }
        if count != unit.rows as u64 {
            let why = "a row group has fewer rows than the file says".into();
            return Err(BadRecord { number: count, at: 0, why }.into());
        }
        Ok(count)
    }
}

impl Units for Parquet<'_> {
    type Unit = Stretch;

    fn hand_out(&self, read: Read<'_>, give: Give<'_, Stretch>) -> Result<()> {
        let mut behind = Behind::new(self.name, &*self.file.source, read)?;
        for (group, facts) in self.metadata.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(facts.num_rows()).map_err(|_| {
                Error::new(ErrorId::RecordInvalid, format!("{}: a row group of less than no rows", self.name))
            })?;
            let end = |c: &::parquet::file::metadata::ColumnChunkMetaData| {
                u64::try_from(c.data_page_offset().saturating_add(c.compressed_size())).unwrap_or(0)
            };
            behind.to(facts.columns().iter().map(end).max().unwrap_or(0))?;
            for from in (0..rows).step_by(ROWS) {
                if !give(Stretch { group, from, rows: ROWS.min(rows - from) }) {
                    return Ok(());
                }
            }
        }
        behind.to(behind.len)
    }

    fn records(&self, unit: &Stretch, each: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        let mut record = Encoder::default();
        self.rows(unit, |batch, before| self.columns.records(batch, before, &mut record, each)).map(drop)
    }

    fn survey(&self, unit: &Stretch, seen: &mut Survey) -> Result<u64, Fault> {
        self.rows(unit, |batch, _| self.columns.survey(batch, seen))
    }
}

/// The same types, with views in the place of text and bytes.
fn views(fields: &Fields) -> Fields {
    fields.iter().map(|field| view(field)).collect()
}

fn view(field: &Field) -> Field {
    let inner = |of: &Arc<Field>| Arc::new(view(of));
    let kind = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        DataType::List(of) => DataType::List(inner(of)),
        DataType::Map(of, sorted) => DataType::Map(inner(of), *sorted),
        DataType::Struct(fields) => DataType::Struct(views(fields)),
        other => other.clone(),
    };
    field.clone().with_data_type(kind)
}

/// The bytes of a file, for whoever keeps them.
#[derive(Clone)]
struct Shared {
    source: Arc<dyn ReadAt>,
    len: u64,
    /// Why it could not be read: what decodes it keeps no more of that than a text.
    fault: Arc<Mutex<Option<Error>>>,
}

impl Shared {
    fn read(&self, buffer: &mut [u8], at: u64) -> std::io::Result<()> {
        self.source.read_exact_at(buffer, at).map_err(|e| match e.downcast::<Error>() {
            Ok(own) => {
                let told = std::io::Error::other(own.message().to_owned());
                self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(own);
                told
            }
            Err(e) => e,
        })
    }

    /// As [`guarded`], with the reason for which the file could not be read.
    fn guarded<T, E: std::fmt::Display>(
        &self,
        name: &str,
        call: impl FnOnce() -> std::result::Result<T, E>,
    ) -> Result<T> {
        guarded(name, call).map_err(|e| self.fault.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(e))
    }
}

impl Length for Shared {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Shared {
    type T = BufReader<Rest>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let left = self.len.checked_sub(start).ok_or_else(|| ParquetError::EOF("beyond the end of the file".into()))?;
        Ok(BufReader::with_capacity(1 << 10, Rest { file: self.clone(), at: start, left }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        // Before it is reserved: the length is a stranger's.
        if start.checked_add(length as u64).is_none_or(|end| end > self.len) {
            return Err(ParquetError::EOF("beyond the end of the file".into()));
        }
        let mut bytes = vec![0; length];
        self.read(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// The bytes from a place on.
struct Rest {
    file: Shared,
    at: u64,
    left: u64,
}

impl std::io::Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = self.left.min(buffer.len() as u64) as usize;
        self.file.read(&mut buffer[..len], self.at)?;
        (self.at, self.left) = (self.at + len as u64, self.left - len as u64);
        Ok(len)
    }
}

#[cfg(test)]
mod tests;
