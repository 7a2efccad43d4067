//! Records with the same content and different labels.

use super::example::{Cell, Detector, Example, Finding};
use crate::crypto::hash::Sha256Hasher;

/// A record in 24 bytes: half a digest of its content, its label, its number.
type Entry = ([u64; 2], u32, u32);

/// Finds records whose text, features and image are the same and whose labels differ. Columns that are ignored, the label and the
/// contributor do not count as content.
///
/// Memory: 24 bytes a labelled record; records from number 2^32 on are not looked at. Its score is the number of groups.
/// Where half of all records or more have a twin, the columns are too few to tell records apart, and it finds nothing.
#[derive(Default)]
pub(super) struct ExactDuplicates {
    entries: Vec<Entry>,
}

impl Detector for ExactDuplicates {
    fn passes(&self) -> u32 {
        1
    }

    fn observe(&mut self, _: u32, example: &Example<'_>) {
        let (Some(label), Ok(record)) = (example.label, u32::try_from(example.record)) else { return };
        if let Some(digest) = digest(example) {
            self.entries.push((digest, label, record));
        }
    }

    fn finish(self: Box<Self>) -> Vec<Finding> {
        let mut entries = self.entries;
        entries.sort_unstable();
        let groups = || entries.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1);
        let twins: usize = groups().map(<[Entry]>::len).sum();
        if twins * 2 >= entries.len() {
            return Vec::new();
        }
        // Sorted by label within a group.
        let differ = |group: &&[Entry]| group.first().map(|e| e.1) != group.last().map(|e| e.1);
        let count = groups().filter(differ).count();
        let mut records: Vec<u64> = groups().filter(differ).flatten().map(|entry| entry.2.into()).collect();
        if records.is_empty() {
            return Vec::new();
        }
        records.sort_unstable();
        let what = format!(
            "{} records have the same content as another record with another label, in {count} groups; at most one label of a group is right",
            records.len()
        );
        vec![Finding { detector: "duplicate", what, feature: String::new(), score: count as f64, records }]
    }
}

/// Of a record that has any content.
fn digest(example: &Example<'_>) -> Option<[u64; 2]> {
    let mut hasher = Sha256Hasher::default();
    let mut any = !example.text.is_empty();
    hasher.update(&(example.text.len() as u64).to_le_bytes());
    hasher.update(example.text.as_bytes());
    for cell in example.cells {
        match cell {
            Cell::Missing => hasher.update(&[0]),
            Cell::Number(value) => {
                hasher.update(&[1]);
                hasher.update(&value.to_le_bytes());
            }
            Cell::Word(word) => {
                hasher.update(&[2]);
                hasher.update(&(word.len() as u64).to_le_bytes());
                hasher.update(word.as_bytes());
            }
        }
        any |= *cell != Cell::Missing;
    }
    if let Some(image) = example.image {
        hasher.update(&(image.width as u64).to_le_bytes());
        hasher.update(&image.samples);
        any = true;
    }
    let halves = hasher.finish().0;
    let (words, _) = halves.as_chunks::<8>();
    match (any, words) {
        (true, [a, b, ..]) => Some([u64::from_le_bytes(*a), u64::from_le_bytes(*b)]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(records: &[(&str, Option<u32>)]) -> Vec<Finding> {
        let mut detector = Box::new(ExactDuplicates::default());
        for (record, (text, label)) in (0..).zip(records) {
            let example = Example { record, label: *label, contributor: None, text, cells: &[], image: None };
            detector.observe(0, &example);
        }
        detector.finish()
    }

    #[test]
    fn only_twins_with_other_labels_are_found() {
        let names: Vec<_> = (0..20).map(|i| format!("text {i}")).collect();
        let mut records: Vec<_> = names.iter().map(|n| (&**n, Some(0))).collect();
        records.extend([("text 3", Some(1)), ("text 5", Some(0)), ("text 7", None), ("", Some(1)), ("", Some(0))]);
        let found = found(&records);
        assert_eq!(found.iter().map(|f| (f.records.clone(), f.score)).collect::<Vec<_>>(), [(vec![3, 20], 1.0)]);
    }

    #[test]
    fn where_most_records_have_twins_nothing_is_found() {
        let records: Vec<_> = (0..100).map(|i| (["a", "b", "c"][i % 3], Some(u32::from(i % 2 == 0)))).collect();
        assert_eq!(found(&records), []);
    }
}
