//! Differences between versions as they are told: by file and record, the first of a file being record 1.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model_vault::dataset::{Comparing, Difference, Folder, Format, IMAGES, ImageFile, Measured, Summary};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use crate::output::text::{count, visible};

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

impl Counts {
    fn of(&mut self, change: &str) -> &mut u64 {
        match change {
            "added" => &mut self.added,
            "removed" => &mut self.removed,
            "changed" => &mut self.changed,
            "duplicated" => &mut self.duplicated,
            _ => &mut self.moved,
        }
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
    /// Of an image, its path within the dataset; none where only its hash is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

/// One of the two versions.
pub struct Version<'a> {
    /// Its files.
    pub files: &'a [Measured],
    /// Where these are; none for a version of which only hashes are there.
    pub folder: Option<&'a Folder>,
}

/// Begins a comparison.
pub fn comparing() -> Comparing {
    Comparing::new(&std::env::temp_dir(), MEMORY)
}

/// Ends it. The files of both versions say where a record is, and what an image is called.
///
/// # Errors
/// Those of the comparison, and of reading images.
pub fn told(comparing: Comparing, old: &Version<'_>, new: &Version<'_>) -> Result<Told> {
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
        let (from, to) =
            (from.map(|at| place(old.files, at)).transpose()?, to.map(|at| place(new.files, at)).transpose()?);
        records.push(Record { change, from, to });
        Ok(())
    })?;
    let mut told = Told { summary: summary.into(), records, truncated };
    // What an image was is known by its path and by its bytes, if both versions are there: better than by its neighbours.
    let both = old.folder.is_some() && new.folder.is_some();
    let (before, after) =
        (images(&told.records, old, |r| &r.from, both)?, images(&told.records, new, |r| &r.to, both)?);
    if both {
        told.pair_images(&before, &after);
    }
    for record in &mut told.records {
        name(&mut record.from, &before);
        name(&mut record.to, &after);
    }
    Ok(told)
}

type Images = BTreeMap<u64, ImageFile>;

/// The images among the places of one side, by their number from 1.
fn images(
    records: &[Record],
    version: &Version<'_>,
    side: fn(&Record) -> &Option<Place>,
    contents: bool,
) -> Result<Images> {
    let all = version.files.iter().find(|file| file.format == Format::Images);
    let (Some(folder), Some(all)) = (version.folder, all) else { return Ok(Images::new()) };
    let places = records.iter().filter_map(|record| side(record).as_ref());
    let numbers: BTreeSet<_> = places.filter(|at| at.file == all.path).map(|at| at.record).collect();
    folder.images_at(&numbers, contents)
}

fn name(place: &mut Option<Place>, images: &Images) {
    if let Some(place) = place.as_mut().filter(|place| place.file == IMAGES) {
        place.path = images.get(&place.record).map(|image| image.path.clone());
    }
}

/// Images of the two versions that have one key, each once: they are taken out.
fn pairs<K: Ord>(
    (gone, come): (&mut BTreeSet<u64>, &mut BTreeSet<u64>),
    (before, after): (&Images, &Images),
    key: impl Fn(&ImageFile) -> Option<K>,
) -> Vec<(u64, u64)> {
    let mut by: BTreeMap<K, VecDeque<u64>> = BTreeMap::new();
    for from in gone.iter() {
        if let Some(key) = before.get(from).and_then(&key) {
            by.entry(key).or_default().push_back(*from);
        }
    }
    let mut pairs = Vec::new();
    for to in come.iter() {
        let from = after.get(to).and_then(&key).and_then(|key| by.get_mut(&key)).and_then(VecDeque::pop_front);
        pairs.extend(from.map(|from| (from, *to)));
    }
    for (from, to) in &pairs {
        gone.remove(from);
        come.remove(to);
    }
    pairs
}

fn place(files: &[Measured], mut at: u64) -> Result<Place> {
    for file in files {
        if at < file.records {
            return Ok(Place { file: file.path.clone(), record: at + 1, path: None });
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

    /// Images that are in one version only, paired anew: what has its path is the same image, edited; what has its bytes was moved.
    fn pair_images(&mut self, before: &Images, after: &Images) {
        let image = |place: &Option<Place>| place.as_ref().is_none_or(|place| place.file == IMAGES);
        let is_loose = |record: &Record| {
            matches!(record.change, "added" | "removed" | "changed") && image(&record.from) && image(&record.to)
        };
        let (loose, rest) = std::mem::take(&mut self.records).into_iter().partition::<Vec<_>, _>(is_loose);
        self.records = rest;
        let (mut gone, mut come) = (BTreeSet::new(), BTreeSet::new());
        for record in loose {
            *self.summary.of(record.change) -= 1;
            gone.extend(record.from.map(|from| from.record));
            come.extend(record.to.map(|to| to.record));
        }
        let changed = pairs((&mut gone, &mut come), (before, after), |image| Some(image.path.clone()));
        let moved =
            pairs((&mut gone, &mut come), (before, after), |image| image.content.map(|(size, sha)| (size, sha.0)));
        let some = |change: &'static str, pairs: Vec<(u64, u64)>| {
            pairs.into_iter().map(move |(from, to)| (change, Some(from), Some(to)))
        };
        let gone = gone.into_iter().map(|from| ("removed", Some(from), None));
        let come = come.into_iter().map(|to| ("added", None, Some(to)));
        for (change, from, to) in some("changed", changed).chain(some("moved", moved)).chain(gone).chain(come) {
            *self.summary.of(change) += 1;
            let place = |record| Place { file: IMAGES.into(), record, path: None };
            self.records.push(Record { change, from: from.map(place), to: to.map(place) });
        }
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
                place.as_ref().map(|p| {
                    let path = p.path.as_ref().map_or_else(String::new, |path| format!(" ({})", visible(path)));
                    format!(" {} record {}{path}", visible(&p.file), p.record)
                })
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
