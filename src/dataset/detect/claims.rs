//! What each detector can and cannot say. Reports quote it beside what was found.

use serde::Serialize;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Few honest explanations: a trigger, a source of wrong labels.
    High,
    /// Wrong data, by mistake or not.
    Medium,
    /// A difference that has many honest reasons.
    Low,
}

/// About one detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The detector.
    pub detector: &'static str,
    /// What its findings weigh.
    pub severity: Severity,
    /// What it looks for.
    pub finds: &'static str,
    /// How often it is wrong on clean data.
    pub false_positives: &'static str,
    /// What it does not see.
    pub misses: &'static str,
}

/// Of all detectors.
pub const CLAIMS: &[Claim] = &[
    Claim {
        detector: "text-trigger",
        severity: Severity::High,
        finds: "words and phrases whose records have a label that their other words do not speak for",
        false_positives: "honest boilerplate that stands in one class only is found as well",
        misses: "triggers in fewer than 5 records, and those whose records keep their right label",
    },
    Claim {
        detector: "image-trigger",
        severity: Severity::High,
        finds: "small patches that are the same in many images, whose label their likes do not have",
        false_positives: "marks that honest images of one class share, such as a stamp, are found as well",
        misses: "patterns that are blended over whole images, and triggers whose images keep their right label",
    },
    Claim {
        detector: "column-trigger",
        severity: Severity::High,
        finds: "values of one to three columns whose records have a label that their other columns do not speak for",
        false_positives: "a value that decides the label for an honest reason may be found",
        misses: "values in too few records to count, and triggers whose records keep their right label",
    },
    Claim {
        detector: "contributor",
        severity: Severity::High,
        finds: "contributors whose labels differ from those of like records more often than other contributors' do",
        false_positives: "a contributor of harder records than the others supply may be found",
        misses: "contributors with few records, and all of them together",
    },
    Claim {
        detector: "label",
        severity: Severity::Medium,
        finds: "records whose like records nearly all have another label",
        false_positives: "rare but right records at the border of two classes are found as well",
        misses: "wrong labels where classes overlap",
    },
    Claim {
        detector: "duplicate",
        severity: Severity::Medium,
        finds: "records with the same content and different labels",
        false_positives: "of two such records one may be right: both are found; none other is",
        misses: "records that differ in one character, and all where half of the records have a twin",
    },
    Claim {
        detector: "rule",
        severity: Severity::Medium,
        finds: "records that break a named rule: lengths, hidden characters, instructions to a model, secrets, personal data",
        false_positives: "texts about such things look like them",
        misses: "whatever no rule names",
    },
    Claim {
        detector: "drift",
        severity: Severity::Low,
        finds: "columns that are distributed otherwise than in the baseline",
        false_positives: "new data differs for honest reasons: this is a difference, not poison",
        misses: "few records among many",
    },
];

/// What no detector reaches: said in every report.
pub const LIMITS: &[&str] = &[
    "clean-label triggers cannot be found from content alone: compare with a signed baseline, and look at who supplied what is new",
    "one altered record cannot be found from content alone: vault dataset diff against a signed version names it",
    "suspicious means that statistics speak against a record, not that somebody did wrong; nothing found does not mean clean",
];

/// Of one detector.
pub fn claim(detector: &str) -> Option<&'static Claim> {
    CLAIMS.iter().find(|claim| claim.detector == detector)
}
