//! Tables in columns, as Arrow has them in memory: what Parquet and Arrow files have in common.
//!
//! What decodes the files is foreign code that is given a stranger's bytes. It is called behind [`guarded`], so that a panic in it is an
//! error about the file; the panic's message goes to standard error all the same.

pub mod time;
mod values;

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_schema::{Fields, Schema as ArrowSchema};

use self::values::Values;
use super::super::schema::{Column, Schema, Survey, Type};
use super::super::units::Fault;
use super::super::value::{Encoder, MAX_RECORD};
use super::{BadRecord, Format, misfit};
use crate::error::{Error, ErrorId, Result};

/// Rows that are worked on together.
pub const ROWS: usize = 1 << 16;

/// The columns of one file.
pub struct Columns {
    names: Vec<String>,
    /// For each column of the schema: what it is, and its place in a row.
    wanted: Vec<(Column, usize)>,
}

impl Columns {
    /// Of a file that says of itself that it has these.
    ///
    /// # Errors
    /// `RecordInvalid`: columns without a name or with the same one, or of types that have no canonical form.
    pub fn of(fields: &Fields) -> Result<Self> {
        let bad = |why: &str| Error::new(ErrorId::RecordInvalid, format!("not a table of records: {why}"));
        let names: Vec<String> = fields.iter().map(|f| f.name().clone()).collect();
        // The rules of names are those of schemas.
        let columns = names.iter().map(|name| Column { name: name.clone(), kind: Type::Text }).collect();
        Schema::table(columns).map_err(|e| bad(e.message()))?;
        for field in fields {
            values::known(field.data_type(), 0).map_err(|(what, cast)| {
                bad(&format!("column {:?} holds {what}", field.name())).hint(format!("write the column as {cast}"))
            })?;
        }
        Ok(Self { names, wanted: Vec::new() })
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The same under a schema.
    ///
    /// # Errors
    /// `InvalidArgument` for a schema of no table, `DatasetChanged` where it has other columns.
    pub fn under(mut self, schema: &Schema, format: Format) -> Result<Self> {
        let Schema::Table(columns) = schema else { return Err(misfit(schema, format)) };
        let differ = |why: String| {
            Error::new(ErrorId::DatasetChanged, why).hint("the columns of all files of a dataset are the same")
        };
        let place = |column: &Column| {
            let at = self.names.iter().position(|name| *name == column.name);
            at.map(|at| (column.clone(), at)).ok_or_else(|| differ(format!("there is no column {:?}", column.name)))
        };
        let wanted = columns.iter().map(place).collect::<Result<Vec<_>>>()?;
        if let Some(other) = self.names.iter().find(|name| columns.iter().all(|c| c.name != **name)) {
            return Err(differ(format!("column {other:?} is not one of the dataset")));
        }
        self.wanted = wanted;
        Ok(self)
    }

    fn same(&self, batch: &ArrowSchema) -> std::result::Result<(), Fault> {
        if batch.fields().iter().map(|f| f.name()).eq(&self.names) {
            return Ok(());
        }
        Err(Error::new(ErrorId::RecordInvalid, "rows of other columns than the file says").into())
    }

    /// Hands on each row, in canonical form. `before`: rows of the unit that went before.
    pub fn records(
        &self,
        batch: &RecordBatch,
        before: u64,
        record: &mut Encoder,
        each: &mut dyn FnMut(&[u8]),
    ) -> std::result::Result<(), Fault> {
        self.same(batch.schema_ref())?;
        let columns: Vec<_> = self.wanted.iter().map(|(_, at)| Values::of(batch.column(*at))).collect();
        for row in 0..batch.num_rows() {
            let number = before + row as u64;
            record.clear();
            for (values, (column, _)) in columns.iter().zip(&self.wanted) {
                values.write(row, column.kind, record).map_err(|what| {
                    let why = format!("column {:?} is {what}", column.name);
                    BadRecord { number, at: 0, why }
                })?;
            }
            if record.record().len() > MAX_RECORD {
                let why = format!("it has more than {} MiB", MAX_RECORD >> 20);
                return Err(BadRecord { number, at: 0, why }.into());
            }
            each(record.record());
        }
        Ok(())
    }

    /// Adds what is seen in a batch.
    pub fn survey(&self, batch: &RecordBatch, survey: &mut Survey) -> std::result::Result<(), Fault> {
        self.same(batch.schema_ref())?;
        for (name, array) in self.names.iter().zip(batch.columns()) {
            survey.add(name, Values::of(array).seen(batch.num_rows()))?;
        }
        Ok(())
    }
}

/// Calls foreign code. Its errors, and its panics, are those of the file.
pub fn guarded<T, E: Display>(name: &str, call: impl FnOnce() -> std::result::Result<T, E>) -> Result<T> {
    let bad = |why: &str| {
        // A stranger's file has a say in the text.
        let why: String = why.chars().filter(|c| !c.is_control()).take(300).collect();
        Error::new(ErrorId::RecordInvalid, format!("{name}: it cannot be read as its name says: {why}"))
    };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(done) => done.map_err(|e| bad(&e.to_string())),
        Err(_) => Err(bad("it is damaged in a way that the reader stumbles over")),
    }
}
