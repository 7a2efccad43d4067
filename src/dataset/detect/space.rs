//! What detectors see a record in: its label and contributor by number, its texts, features and image.

use std::collections::{BTreeMap, HashMap};

use super::super::contributors::Runs;
use super::Attested;
use super::grid::Grid;
use super::roles::Role;

/// What the value of a column is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Ignored,
    /// What the record is called.
    Name,
    Label,
    Contributor,
    Text,
    Image,
    /// Images that are not decoded: nothing is seen of them.
    Unread,
    /// The cell with this index.
    Feature(usize),
    /// The same; texts in it are numbers.
    NumericText(usize),
    /// The pixel with this index.
    Pixel(usize),
}

/// A column of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    One(Use),
    /// Members of its objects, in the byte order of their names.
    Members(Vec<(String, Use)>),
}

/// All columns with their roles, and the names behind all numbers.
#[derive(Clone, Debug, Default)]
pub struct Space {
    /// In the order of the schema.
    pub roles: Vec<Role>,
    /// Names of the labels, and how many records each has.
    pub labels: Vec<(String, u64)>,
    /// Names of the contributors, and how many records each has.
    pub contributors: Vec<(String, u64)>,
    /// Names of the cells of an example.
    pub features: Vec<String>,
    pub(super) slots: Vec<Slot>,
    pub(super) grid: Option<Grid>,
    /// By file: who attests its records, where that is known.
    pub(super) attested: BTreeMap<String, Runs>,
    label_numbers: HashMap<String, u32>,
    contributor_numbers: HashMap<String, u32>,
}

impl Space {
    /// Whether records have labels, of at least two kinds.
    pub fn has_labels(&self) -> bool {
        self.labels.len() > 1
    }

    /// Whether records have texts.
    pub fn has_text(&self) -> bool {
        self.uses(|u| matches!(u, Use::Text))
    }

    /// Whether records are images.
    pub fn has_images(&self) -> bool {
        self.uses(|u| matches!(u, Use::Image | Use::Pixel(_)))
    }

    /// Whether it is known who supplied a record.
    pub fn has_contributors(&self) -> bool {
        self.contributors.len() > 1
    }

    fn uses(&self, what: impl Fn(&Use) -> bool) -> bool {
        self.slots.iter().any(|slot| match slot {
            Slot::One(used) => what(used),
            Slot::Members(members) => members.iter().any(|(_, used)| what(used)),
        })
    }

    pub(super) fn tell(&mut self, column: &str, role: &'static str, why: &str) {
        self.roles.push(Role { column: column.into(), role, why: why.into() });
    }

    pub(super) fn feature(&mut self, name: &str, numeric_text: bool) -> Use {
        self.features.push(name.into());
        let at = self.features.len() - 1;
        if numeric_text { Use::NumericText(at) } else { Use::Feature(at) }
    }

    pub(super) fn set_labels(&mut self, labels: Vec<(String, u64)>) {
        self.label_numbers = numbers(&labels);
        self.labels = labels;
    }

    pub(super) fn set_contributors(&mut self, contributors: Vec<(String, u64)>) {
        self.contributor_numbers = numbers(&contributors);
        self.contributors = contributors;
    }

    /// Takes contributors from what was signed.
    pub(super) fn set_attested(&mut self, attested: &Attested) {
        let counted = |by: usize| {
            let runs = attested.files.values().flat_map(|runs| &runs.0);
            runs.filter(|run| run.by as usize == by).map(|run| run.count).sum()
        };
        let names = attested.contributors.iter().zip(1..);
        self.set_contributors(names.map(|(name, by)| (name.clone(), counted(by))).collect());
        self.attested.clone_from(&attested.files);
        self.tell("(attested)", "contributor", "whoever signed for the record");
    }

    pub(super) fn label(&self, name: &str) -> Option<u32> {
        self.label_numbers.get(name).copied()
    }

    pub(super) fn contributor(&self, name: &str) -> Option<u32> {
        self.contributor_numbers.get(name).copied()
    }

    /// Puts names for `{label:N}`, `{column:N}` and `{contributor:N}`. A name is never looked into for more of these.
    pub fn name(&self, text: &str) -> String {
        let (mut out, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            match self.named(from) {
                Some((name, len)) => {
                    out.push_str(&name);
                    rest = from.get(len..).unwrap_or_default();
                }
                None => {
                    out.push('{');
                    rest = from.get(1..).unwrap_or_default();
                }
            }
        }
        out + rest
    }

    fn named(&self, from: &str) -> Option<(String, usize)> {
        let end = from.find('}')?;
        let (what, number) = from.get(1..end)?.split_once(':')?;
        let number: usize = number.parse().ok()?;
        let name = match what {
            "label" => &self.labels.get(number)?.0,
            "column" => self.features.get(number)?,
            "contributor" => &self.contributors.get(number)?.0,
            _ => return None,
        };
        Some((format!("{:?}", short(name, 60)), end + 1))
    }
}

/// The first characters of a text, with a mark where more followed.
pub(super) fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.into(),
    }
}

fn numbers(names: &[(String, u64)]) -> HashMap<String, u32> {
    names.iter().zip(0..).map(|((name, _), n)| (name.clone(), n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_numbers_once() {
        let mut space = Space::default();
        space.set_labels(vec![("{label:1}".into(), 1), ("ham".into(), 2)]);
        space.feature("a\"b", false);
        let named = space.name("{label:0} {label:1} {column:0} {label:7} {x} { {contributor:0} }");
        assert_eq!(named, "\"{label:1}\" \"ham\" \"a\\\"b\" {label:7} {x} { {contributor:0} }");
        assert_eq!(space.name("{label:"), "{label:");
        assert_eq!(short("ééé", 2), "éé…");
    }
}
