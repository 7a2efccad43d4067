//! Differences between versions as they are told: by file and record, the first of a file being record 1.

use model_vault::dataset::{Comparing, Difference, Measured, Summary};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use crate::output::text::count;

/// Bytes of memory for a comparison; more goes to files without a name.
const MEMORY: usize = 256 << 20;
/// Differences that are told one by one.
pub const MOST: usize = 1_000_000;
/// Of these in the terminal.
const SHOWN: usize = 20;

/// What differs.
#[derive(Debug, Serialize)]
pub struct Told {
    /// How many of each.
    pub summary: Counts,
    /// One by one; the first million.
    pub records: Vec<Record>,
    /// Whether there are more.
    pub truncated: bool,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    same: u64,
    added: u64,
    removed: u64,
    changed: u64,
    moved: u64,
    duplicated: u64,
}

impl From<Summary> for Counts {
    fn from(s: Summary) -> Self {
        let Summary { same, added, removed, changed, moved, duplicated } = s;
        Self { same, added, removed, changed, moved, duplicated }
    }
}

/// One difference.
#[derive(Debug, Serialize)]
pub struct Record {
    change: &'static str,
    /// In the old version.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Place>,
    /// In the new version.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Place>,
}

/// A record of a file.
#[derive(Debug, Serialize)]
pub struct Place {
    file: String,
    record: u64,
}

/// Begins a comparison.
pub fn comparing() -> Comparing {
    Comparing::new(&std::env::temp_dir(), MEMORY)
}

/// Ends it. The files of both versions say where a record is.
///
/// # Errors
/// Those of the comparison.
pub fn told(comparing: Comparing, old: &[Measured], new: &[Measured]) -> Result<Told> {
    let mut records = Vec::new();
    let mut truncated = false;
    let summary = comparing.finish(&mut |difference| {
        if records.len() == MOST {
            truncated = true;
            return Ok(());
        }
        let (change, from, to) = match difference {
            Difference::Added { at } => ("added", None, Some(at)),
            Difference::Duplicated { at, of } => ("duplicated", Some(of), Some(at)),
            Difference::Removed { at } => ("removed", Some(at), None),
            Difference::Changed { from, to } => ("changed", Some(from), Some(to)),
            Difference::Moved { from, to } => ("moved", Some(from), Some(to)),
        };
        let (from, to) = (from.map(|at| place(old, at)).transpose()?, to.map(|at| place(new, at)).transpose()?);
        records.push(Record { change, from, to });
        Ok(())
    })?;
    Ok(Told { summary: summary.into(), records, truncated })
}

fn place(files: &[Measured], mut at: u64) -> Result<Place> {
    for file in files {
        if at < file.records {
            return Ok(Place { file: file.path.clone(), record: at + 1 });
        }
        at -= file.records;
    }
    Err(Error::new(ErrorId::Internal, "a difference lies outside of all files"))
}

impl Told {
    /// Whether there is none.
    pub fn is_same(&self) -> bool {
        let Counts { added, removed, changed, moved, duplicated, .. } = self.summary;
        [added, removed, changed, moved, duplicated] == [0; 5]
    }

    /// For people.
    pub fn show(&self) -> String {
        let Counts { same, added, removed, changed, moved, duplicated } = self.summary;
        let mut out = format!(
            "{}: {same} the same, {added} added, {removed} removed, {changed} changed, {moved} moved, {duplicated} duplicated\n",
            if self.is_same() { "the same records" } else { "the records differ" }
        );
        for record in self.records.iter().take(SHOWN) {
            let place = |place: &Option<Place>| {
                place.as_ref().map(|p| format!(" {} record {}", crate::output::text::visible(&p.file), p.record))
            };
            let (from, to) = (place(&record.from), place(&record.to));
            let between = if from.is_some() && to.is_some() { " ->" } else { "" };
            out += &format!("  {}{}{between}{}\n", record.change, from.unwrap_or_default(), to.unwrap_or_default());
        }
        let more = self.records.len().saturating_sub(SHOWN);
        if more > 0 || self.truncated {
            let at_least = if self.truncated { "at least " } else { "" };
            out += &format!("  and {at_least}{} (--json tells them)\n", count(more as u64, "more"));
        }
        out
    }
}
