//! What a statement says of the scan whose report it names: in short, for decisions.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::json::{Value, quote};

/// Detectors of one scan, at most.
const MAX_DETECTORS: usize = 256;

/// A scan for what looks poisoned, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanSummary {
    /// Records that were looked at.
    pub records: u64,
    /// Findings of all detectors.
    pub findings: u64,
    /// How grave the gravest is.
    pub worst: Gravity,
    /// Detectors that ran, and how many records each found suspicious.
    pub detectors: BTreeMap<String, u64>,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Nothing was found.
    #[default]
    None,
    /// A difference that has many honest reasons.
    Low,
    /// Wrong data, by mistake or not.
    Medium,
    /// Few honest explanations.
    High,
}

impl Gravity {
    const ALL: [(&'static str, Self); 4] =
        [("none", Self::None), ("low", Self::Low), ("medium", Self::Medium), ("high", Self::High)];

    /// The word in statements.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, gravity)| *gravity == self).map_or("none", |(word, _)| word)
    }

    /// From that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == word).map(|(_, gravity)| gravity)
    }
}

impl ScanSummary {
    pub(super) fn to_json(&self) -> String {
        let Self { records, findings, worst, detectors } = self;
        let mut out = format!(
            "{{\"records\":{records},\"findings\":{findings},\"worst\":\"{}\",\"detectors\":{{",
            worst.as_str()
        );
        for (n, (name, found)) in detectors.iter().enumerate() {
            out.push_str(if n > 0 { "," } else { "" });
            quote(name, &mut out);
            let _ = write!(out, ":{found}");
        }
        out + "}}"
    }

    pub(super) fn from_json(value: &Value) -> Option<Self> {
        value.exactly(&["records", "findings", "worst", "detectors"])?;
        let detector = |(name, found): &(String, Value)| {
            let plain = !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_graphic());
            if plain { Some((name.clone(), found.as_u64()?)) } else { None }
        };
        let detectors = value.get("detectors")?.as_object().filter(|all| all.len() <= MAX_DETECTORS)?;
        let detectors: BTreeMap<_, _> = detectors.iter().map(detector).collect::<Option<_>>()?;
        let (findings, worst) = (value.get("findings")?.as_u64()?, Gravity::parse(value.get("worst")?.as_str()?)?);
        // Nothing found by nobody, or something by somebody.
        let found = [findings > 0, worst > Gravity::None, detectors.values().any(|found| *found > 0)];
        let agrees = found == [true; 3] || found == [false; 3];
        agrees.then_some(Self { records: value.get("records")?.as_u64()?, findings, worst, detectors })
    }
}
