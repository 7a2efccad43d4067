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
        false_positives: "8 records of one of six clean development sets of short texts, none of the others; of random parts of them 8 in 48 had a finding, of at most 2.8 % of the records",
        misses: "triggers in fewer than 5 records, about half of those in 10, and those whose records keep their right label",
    },
    Claim {
        detector: "image-trigger",
        severity: Severity::High,
        finds: "small patches that are the same in many images, whose label their likes do not have",
        false_positives: "none on 8 clean development sets of drawings, 37 of 2,000 crops of photographs; marks that honest images of one class share, such as a stamp, would be found",
        misses: "patterns blended over whole images, small patches on rich photographs, and triggers whose images keep their right label",
    },
    Claim {
        detector: "column-trigger",
        severity: Severity::High,
        finds: "values of one to three columns whose records have a label that their other columns do not speak for",
        false_positives: "one finding on 29 clean development tables: a rule of three words that no other column knew",
        misses: "values in too few records to count or very common ones, and triggers whose records keep their right label; of more than 200,000 records a sample is looked at",
    },
    Claim {
        detector: "contributor",
        severity: Severity::High,
        finds: "contributors whose labels differ from those of like records more often than other contributors' do",
        false_positives: "none of 20 clean contributors above z 2.8 on 4 development sets, also where each had topics of its own; the bar is 6",
        misses: "contributors with few records, and all of them together",
    },
    Claim {
        detector: "label",
        severity: Severity::Medium,
        finds: "records whose like records nearly all have another label",
        false_positives: "0.05 to 4.2 % of records of clean development sets, most where classes overlap",
        misses: "wrong labels where classes overlap; of more than 200,000 records a sample is looked at",
    },
    Claim {
        detector: "duplicate",
        severity: Severity::Medium,
        finds: "records with the same content and different labels",
        false_positives: "of two such records one may be right: both are found; 0.02 to 0.8 % of clean development sets",
        misses: "copies of which many words or most of the picture differ; rows of numbers that differ at all",
    },
    Claim {
        detector: "new-words",
        severity: Severity::High,
        finds: "words that the baseline has not, in many records of one label",
        false_positives: "a new topic brings new words: this says that they are new, and under one label",
        misses: "words that the baseline has, and fewer than 10 records",
    },
    Claim {
        detector: "rule",
        severity: Severity::Medium,
        finds: "records that break a named rule: lengths, hidden characters, instructions to a model, secrets, personal data",
        false_positives: "at most 0.03 % of records of clean prose for each rule; texts about such things look like them",
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
