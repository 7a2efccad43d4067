//! The first pass over a dataset: what its columns are like, and all values of the columns that name labels and contributors.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::fields::{Field, fields, members};
use super::profile::Profile;

/// Most labels of a dataset.
pub const MAX_LABELS: usize = 10_000;
/// Most contributors of a dataset.
pub const MAX_CONTRIBUTORS: usize = 100_000;
/// Longest name of a label or contributor, in bytes.
const MAX_NAME: usize = 1024;
/// Members of an object that become columns of their own.
const MAX_MEMBERS: usize = 64;

/// A column, or a member of the objects in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index in the schema.
    pub column: usize,
    /// Of the objects in it.
    pub member: Option<String>,
}

/// The columns whose values are to be told one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// What a record is labelled: the first of these that tells classes.
    pub labels: Vec<Place>,
    /// Who supplied it.
    pub contributor: Option<Place>,
}

/// What was seen of all columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    /// In the order of the schema.
    pub seen: Vec<Seen>,
    /// Of each column that may have the labels.
    pub labels: Vec<Values>,
    /// Of the column with the contributors.
    pub contributors: Values,
    /// Records.
    pub records: u64,
    /// A record was not in canonical form.
    pub malformed: bool,
}

/// What was seen of one column.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Of its values.
    pub profile: Profile,
    /// Of the members of the objects among them.
    pub members: BTreeMap<String, Profile>,
    /// There are more members than these.
    pub more: bool,
}

/// Distinct values with their numbers, up to the most that there may be.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    /// How often each was seen.
    pub counts: BTreeMap<String, u64>,
    /// There are too many, or some are too long.
    pub over: bool,
}

impl Values {
    fn merge(&mut self, later: &Self, most: usize) {
        later.counts.iter().for_each(|(name, count)| self.see(name, *count, most));
        self.over |= later.over;
    }

    /// Of at most so many values.
    fn see(&mut self, name: &str, times: u64, most: usize) {
        if let Some(count) = self.counts.get_mut(name) {
            *count += times;
        } else if self.counts.len() < most && name.len() <= MAX_NAME {
            self.counts.insert(name.into(), times);
        } else {
            self.over = true;
        }
    }

    /// The values in the order of their indices: numbers by their value, then words.
    pub fn in_order(&self) -> Vec<(String, u64)> {
        let mut all: Vec<_> = self.counts.iter().map(|(name, count)| (name.clone(), *count)).collect();
        let number = |name: &str| super::profile::number_of(name).unwrap_or(f64::INFINITY);
        all.sort_by(|a, b| number(&a.0).total_cmp(&number(&b.0)).then_with(|| a.0.cmp(&b.0)));
        all
    }
}

impl Columns {
    /// A further record.
    pub fn see(&mut self, record: &[u8], wanted: &Wanted) {
        self.records += 1;
        self.labels.resize_with(wanted.labels.len(), Values::default);
        for (column, field) in fields(record).enumerate() {
            let Ok(field) = field else {
                self.malformed = true;
                return;
            };
            if self.seen.len() <= column {
                self.seen.resize_with(column + 1, Seen::default);
            }
            self.name(column, None, field, wanted);
            if let Some(seen) = self.seen.get_mut(column) {
                seen.profile.see(field);
            }
            let Field::Struct(inner) = field else { continue };
            for member in members(inner) {
                let Ok((name, value)) = member else {
                    self.malformed = true;
                    return;
                };
                self.name(column, Some(name), value, wanted);
                if let Some(seen) = self.seen.get_mut(column) {
                    seen.member(name, |profile| profile.see(value));
                }
            }
        }
    }

    fn name(&mut self, column: usize, member: Option<&str>, field: Field<'_>, wanted: &Wanted) {
        let here = |place: &Place| place.column == column && place.member.as_deref() == member;
        for (_, values) in wanted.labels.iter().zip(&mut self.labels).filter(|(place, _)| here(place)) {
            if let Some(name) = name_of(field) {
                values.see(&name, 1, MAX_LABELS);
            }
        }
        if wanted.contributor.as_ref().is_some_and(here)
            && let Some(name) = name_of(field)
        {
            self.contributors.see(&name, 1, MAX_CONTRIBUTORS);
        }
    }

    /// Joins what was seen of later records.
    pub fn merge(&mut self, later: &Self) {
        if self.seen.len() < later.seen.len() {
            self.seen.resize_with(later.seen.len(), Seen::default);
        }
        for (mine, more) in self.seen.iter_mut().zip(&later.seen) {
            mine.profile.merge(&more.profile);
            more.members.iter().for_each(|(name, profile)| mine.member(name, |p| p.merge(profile)));
            mine.more |= more.more;
        }
        self.labels.resize_with(self.labels.len().max(later.labels.len()), Values::default);
        self.labels.iter_mut().zip(&later.labels).for_each(|(mine, more)| mine.merge(more, MAX_LABELS));
        self.contributors.merge(&later.contributors, MAX_CONTRIBUTORS);
        self.records += later.records;
        self.malformed |= later.malformed;
    }
}

impl Seen {
    fn member(&mut self, name: &str, with: impl FnOnce(&mut Profile)) {
        if let Some(profile) = self.members.get_mut(name) {
            with(profile);
        } else if self.members.len() < MAX_MEMBERS && name.len() <= MAX_NAME {
            with(self.members.entry(name.into()).or_default());
        } else {
            self.more = true;
        }
    }
}

/// What a value is called as a label or contributor; `None` for no value and for what is no name.
pub(super) fn name_of(field: Field<'_>) -> Option<Cow<'_, str>> {
    match field {
        Field::Text("") | Field::Null | Field::Bytes(_) | Field::List(_) | Field::Struct(_) => None,
        Field::Text(text) => Some(Cow::Borrowed(text)),
        Field::Bool(truth) => Some(Cow::Borrowed(if truth { "true" } else { "false" })),
        Field::Int(n) => Some(Cow::Owned(n.to_string())),
        Field::Float(value) => value.is_finite().then(|| Cow::Owned(value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Encoder;
    use super::*;

    fn record(label: &str, n: i128) -> Vec<u8> {
        let mut record = Encoder::default();
        record.text(label);
        record
            .structure(|r| {
                r.text("n");
                r.int(n);
                Ok::<_, ()>(())
            })
            .unwrap();
        record.record().to_vec()
    }

    #[test]
    fn parts_join_to_the_whole() {
        let wanted = Wanted {
            labels: vec![Place { column: 0, member: None }],
            contributor: Some(Place { column: 1, member: Some("n".into()) }),
        };
        let mut joined = Columns::default();
        for part in 0..4 {
            let mut columns = Columns::default();
            (0..10).for_each(|i| columns.see(&record(if i < 3 { "a" } else { "b" }, part), &wanted));
            joined.merge(&columns);
        }
        assert_eq!(joined.labels[0].in_order(), [("a".into(), 12), ("b".into(), 28)]);
        assert_eq!(joined.contributors.in_order().iter().map(|c| c.1).collect::<Vec<_>>(), [10; 4]);
        assert_eq!((joined.records, joined.seen[1].members["n"].numbers), (40, 40));
        joined.see(b"\x07\x01", &wanted);
        assert!(joined.malformed);
    }

    #[test]
    fn numbers_come_in_their_order_before_words() {
        let mut values = Values::default();
        ["10", "b", "9", "-1", "a"].iter().for_each(|v| values.see(v, 1, 9));
        assert_eq!(values.in_order().iter().map(|v| &*v.0).collect::<Vec<_>>(), ["-1", "9", "10", "a", "b"]);
        values.see(&"x".repeat(MAX_NAME + 1), 1, 9);
        assert!(values.over);
    }
}
