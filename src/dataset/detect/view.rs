//! What is looked at in a dataset: rows and lines, or images and samples.

use super::super::folder::Folder;
use super::super::frame::Format;
use super::super::schema::Schema;
use super::layout::Layout;
use super::read::ScannedFile;
use crate::error::Result;

/// How the records of a dataset are seen.
#[derive(Clone, Debug)]
pub(super) enum View {
    /// As rows or lines under this schema. Images and samples beside them are not looked at.
    Table(Schema),
    /// Images and samples, as rows of these columns. Lines of text beside them are not looked at.
    Samples(Layout),
}

impl View {
    /// Under `schema`, if there is one; else images and samples, unless there are rows.
    ///
    /// # Errors
    /// As [`Folder::survey`] and [`Layout::of`].
    pub fn of(folder: &Folder, schema: Option<Schema>, threads: usize) -> Result<Self> {
        let rows = |format: Format| !format.is_of_files() && !matches!(format, Format::Lines | Format::Whole);
        match schema {
            None if folder.has(Format::is_of_files) && !folder.has(rows) => {}
            None => return folder.survey(threads).map(Self::Table),
            Some(Schema::Files) => {}
            Some(schema) => return Ok(Self::Table(schema)),
        }
        Layout::of(folder, threads).map(Self::Samples)
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        match self {
            Self::Table(schema) => schema,
            Self::Samples(layout) => &layout.schema,
        }
    }

    /// Where samples are seen.
    pub fn layout(&self) -> Option<&Layout> {
        match self {
            Self::Table(_) => None,
            Self::Samples(layout) => Some(layout),
        }
    }

    /// Whether files of a format are looked at.
    pub fn looks_at(&self, format: Format) -> bool {
        format != Format::Whole && format.is_of_files() == self.layout().is_some()
    }

    /// What is not looked at, and why.
    pub fn unseen(&self, files: &[ScannedFile]) -> Vec<String> {
        let why = |file: &ScannedFile| {
            let format = Format::parse(file.format)?;
            Some(match format {
                Format::Whole => "a file without records",
                _ if self.looks_at(format) => return None,
                _ if format.is_of_files() => "images or samples beside rows: scan them in a directory of their own",
                _ => "beside images or samples: scan it on its own",
            })
        };
        let mut unseen: Vec<_> =
            files.iter().filter_map(|file| Some(format!("{}: {}", file.path, why(file)?))).collect();
        let more = unseen.len().saturating_sub(10);
        if more > 0 {
            unseen.truncate(10);
            unseen.push(format!("{more} more files that are not looked at"));
        }
        if self.layout().is_some_and(|layout| layout.more) {
            unseen.push("further kinds of files in samples: too many".into());
        }
        unseen
    }
}
