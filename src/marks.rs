//! What operators say about an artifact, for policies to ask. None of it is in the sealed file, and nobody who publishes can say it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorId, Result};
use crate::names::Name;

/// Labels, collection and classification of an artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Words that policies ask for.
    pub labels: BTreeSet<Name>,
    /// The collection it is in, of its own namespace.
    pub collection: Option<Name>,
    /// How sensitive it is.
    pub classification: Option<Name>,
}

/// A change of marks. What it does not name stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarksChange {
    /// Labels that are set.
    pub add: BTreeSet<Name>,
    /// Labels that are taken off.
    pub remove: BTreeSet<Name>,
    /// Another collection; `-`: none.
    pub collection: Option<OrNone>,
    /// Another classification; `-`: none.
    pub classification: Option<OrNone>,
}

/// A name, or `-` for none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrNone(pub Option<Name>);

impl FromStr for OrNone {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Ok(Self(if text == "-" { None } else { Some(text.parse()?) }))
    }
}

impl TryFrom<String> for OrNone {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<OrNone> for String {
    fn from(name: OrNone) -> Self {
        name.0.map_or_else(|| "-".into(), |name| name.to_string())
    }
}

impl Marks {
    /// Most labels of an artifact.
    const MAX_LABELS: usize = 64;

    /// After a change.
    ///
    /// # Errors
    /// `InvalidArgument` for a label that is both set and taken off, and for too many.
    pub fn changed(mut self, change: MarksChange) -> Result<Self> {
        if let Some(both) = change.add.intersection(&change.remove).next() {
            let text = format!("label {both} cannot be both added and removed");
            return Err(Error::new(ErrorId::InvalidArgument, text));
        }
        self.labels.retain(|label| !change.remove.contains(label));
        self.labels.extend(change.add);
        if self.labels.len() > Self::MAX_LABELS {
            let text = format!("an artifact has at most {} labels", Self::MAX_LABELS);
            return Err(Error::new(ErrorId::InvalidArgument, text));
        }
        if let Some(OrNone(collection)) = change.collection {
            self.collection = collection;
        }
        if let Some(OrNone(classification)) = change.classification {
            self.classification = classification;
        }
        Ok(self)
    }
}

impl fmt::Display for Marks {
    /// `label=gold label=release collection=llm classification=secret`; empty for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.labels.iter().map(|label| ("label", label));
        let others = [("collection", &self.collection), ("classification", &self.classification)];
        let others = others.iter().filter_map(|(key, value)| value.as_ref().map(|value| (*key, value)));
        for (nth, (key, value)) in labels.chain(others).enumerate() {
            write!(f, "{}{key}={value}", if nth == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl FromStr for Marks {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let mut marks = Self::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "label" => drop(marks.labels.insert(value.parse()?)),
                "collection" => marks.collection = Some(value.parse()?),
                "classification" => marks.classification = Some(value.parse()?),
                _ => return Err(Error::new(ErrorId::InvalidArgument, format!("not a mark: {word:?}"))),
            }
        }
        Ok(marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_are_written() {
        for text in ["", "label=a", "label=a label=b.c collection=llm classification=secret", "collection=x"] {
            assert_eq!(text.parse::<Marks>().unwrap().to_string(), text);
        }
        for bad in ["label", "label=A", "colour=red", "collection="] {
            assert!(bad.parse::<Marks>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let marks: Marks = "label=a label=b collection=llm".parse().unwrap();
        let change = |json: &str| marks.clone().changed(serde_json::from_str(json).unwrap());
        assert_eq!(change("{}").unwrap(), marks);
        let changed = change(r#"{"add":["c"],"remove":["a"],"collection":"-","classification":"secret"}"#).unwrap();
        assert_eq!(changed.to_string(), "label=b label=c classification=secret");
        assert!(change(r#"{"add":["a"],"remove":["a"]}"#).is_err());
        let many: Vec<String> = (0..64).map(|i| format!("\"l{i}\"")).collect();
        assert!(change(&format!("{{\"add\":[{}]}}", many.join(","))).is_err());
        assert!(serde_json::from_str::<MarksChange>(r#"{"ad":["a"]}"#).is_err());
    }
}
