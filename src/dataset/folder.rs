//! A dataset on disk: its files, and what is measured of all of them under one schema.

use std::path::Path;

use super::compare::RecordKey;
use super::frame::Format;
use super::measure::{Measured, Source, Surveyor};
use super::schema::Schema;
use super::statement::MAX_DATASET_FILES;
use crate::error::{Error, ErrorId, Result};
use crate::files::{Entry, Ignored, Links, ModelFiles};
use crate::names::Sha256;

/// The files of a dataset, in the byte order of their paths.
pub struct Folder {
    files: ModelFiles,
    format: Option<Format>,
}

/// What is given to whoever follows a measurement: the path of the file, hashes and keys of the next records.
pub type Follow<'a> = &'a mut dyn FnMut(&str, &[Sha256], &[RecordKey]) -> Result<()>;

impl Folder {
    /// A file, or a directory with all files below it but those in `own`. `format`: of all files that have records; else by their names.
    ///
    /// # Errors
    /// As [`ModelFiles::find`]; `LimitExceeded` for too many files.
    pub fn find(path: &Path, own: Ignored, format: Option<Format>) -> Result<Self> {
        let files = ModelFiles::find(path, &own, Links::Refuse)?;
        if files.entries().len() > MAX_DATASET_FILES {
            let text = format!("{} files; a dataset has {MAX_DATASET_FILES} at most", files.entries().len());
            return Err(Error::new(ErrorId::LimitExceeded, text).hint("pack small files into archives"));
        }
        Ok(Self { files, format })
    }

    fn format_of(&self, entry: &Entry) -> Format {
        match self.format {
            // A format that was named is that of the file that was named, or of all that have no other.
            Some(format) => Format::of_name(&entry.path).unwrap_or(format),
            None => Format::of_name(&entry.path).unwrap_or(Format::Whole),
        }
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.entries().iter().map(|e| e.size).sum()
    }

    /// The schema of all records.
    ///
    /// # Errors
    /// As [`Surveyor`].
    pub fn survey(&self, threads: usize) -> Result<Schema> {
        let mut surveyor = Surveyor::default();
        self.look(&mut surveyor, threads)?;
        surveyor.schema()
    }

    /// Looks through all files for that.
    ///
    /// # Errors
    /// As [`Surveyor::add`].
    pub fn look(&self, surveyor: &mut Surveyor, threads: usize) -> Result<()> {
        for entry in self.files.entries() {
            let file = self.files.open(entry)?;
            let source = Source { path: &entry.path, format: self.format_of(entry), bytes: &file };
            surveyor.add(&source, threads)?;
        }
        Ok(())
    }

    /// Shows all files, in order.
    ///
    /// # Errors
    /// `SourceChanged`; those of `each`.
    pub(super) fn each(&self, each: &mut dyn FnMut(&Source<'_>) -> Result<()>) -> Result<()> {
        for entry in self.files.entries() {
            let file = self.files.open(entry)?;
            each(&Source { path: &entry.path, format: self.format_of(entry), bytes: &file })?;
            self.files.unchanged(entry, &file)?;
        }
        Ok(())
    }

    /// Measures all files. `key`: the column whose value names a record.
    ///
    /// # Errors
    /// As [`Source::measure`]; `SourceChanged`; `InvalidArgument` for a key that is no column.
    pub fn measure(
        &self,
        schema: &Schema,
        key: Option<&str>,
        threads: usize,
        follow: Follow<'_>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Measured>> {
        let key = key.map(|name| {
            let at = schema.columns().iter().position(|c| c.name == name);
            at.ok_or_else(|| Error::new(ErrorId::InvalidArgument, format!("no column is named {name:?}")))
        });
        let key = key.transpose()?;
        let mut measured = Vec::with_capacity(self.files.entries().len());
        for entry in self.files.entries() {
            let file = self.files.open(entry)?;
            let source = Source { path: &entry.path, format: self.format_of(entry), bytes: &file };
            let mut leaves = |hashes: &[Sha256], keys: &[RecordKey]| follow(&entry.path, hashes, keys);
            measured.push(source.measure(schema, key, threads, &mut leaves)?);
            self.files.unchanged(entry, &file)?;
            progress(entry.size);
        }
        Ok(measured)
    }
}
