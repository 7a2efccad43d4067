//! What a scan says. No content of a record stands in it but the feature that speaks for a finding.

use serde::Serialize;

use super::bars::ChangedBar;
use super::claims::{Claim, Severity};
use super::read::ScannedFile;
use super::roles::Role;

/// The report of a scan.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether anything was found.
    pub suspicious: bool,
    /// Records of all files.
    pub records: u64,
    /// The files.
    pub files: Vec<ScannedFile>,
    /// What the columns were taken for.
    pub columns: Vec<Role>,
    /// The labels, and how many records have each.
    pub labels: Vec<LabelRow>,
    /// Of everything that was drawn by lot.
    pub seed: u64,
    /// Bars that do not stand where they do by themselves: what claims say of false positives was measured with those that do.
    pub bars: Vec<ChangedBar>,
    /// What looked at the records.
    pub detectors: Vec<RunDetector>,
    /// What did not, and why.
    pub skipped: Vec<SkippedDetector>,
    /// Why it is not known which column is the label, where several could be: most detectors did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecided: Option<String>,
    /// What else was not looked at.
    pub unseen: Vec<String>,
    /// Records whose images could not be decoded.
    pub undecoded: Undecoded,
    /// Whether all records were looked at by a detector at least, with all their images.
    pub complete: bool,
    /// What was found, the gravest first.
    pub findings: Vec<Row>,
    /// Who supplied the records, those with the most findings first.
    pub contributors: Vec<ContributorRow>,
    /// How the columns differ from a baseline.
    pub drift: Vec<Drift>,
    /// The oddest records, where they were asked for: no findings.
    pub rankings: Vec<RankingRow>,
    /// What no detector reaches.
    pub limits: &'static [&'static str],
}

/// A label.
#[derive(Clone, Debug, Serialize)]
pub struct LabelRow {
    /// Its name.
    pub label: String,
    /// Records that have it.
    pub records: u64,
}

/// A detector that ran.
#[derive(Clone, Debug, Serialize)]
pub struct RunDetector {
    /// How often it saw all records.
    pub passes: u32,
    /// Whether it compared them with a baseline.
    pub compares: bool,
    /// What it can and cannot say.
    #[serde(flatten)]
    pub claim: Claim,
}

/// A detector that did not run.
#[derive(Clone, Debug, Serialize)]
pub struct SkippedDetector {
    /// Its name.
    pub detector: &'static str,
    /// Why.
    pub why: String,
}

/// Records of which nothing, or not all, could be looked at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Undecoded {
    /// How many.
    pub count: u64,
    /// These, or the first of them.
    pub records: Vec<SuspiciousRecord>,
    /// Whether there are more.
    pub truncated: bool,
}

/// A finding.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Who found it.
    pub detector: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// In plain words.
    pub what: String,
    /// The pattern itself; empty without one.
    pub feature: String,
    /// How far from what is expected: standard deviations, or as the detector says.
    pub score: f64,
    /// How many records it is about.
    pub count: u64,
    /// These, or the first of them.
    pub records: Vec<SuspiciousRecord>,
    /// Whether there are more.
    pub truncated: bool,
}

/// A record that is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SuspiciousRecord {
    /// Path within the dataset; of an image, its own.
    pub file: String,
    /// In the file, from 1.
    pub record: u64,
    /// What the sample is called, in an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// Its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Who supplied it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contributor: Option<String>,
    /// Characters of its texts.
    pub text_length: u64,
}

/// Records in the order of how odd they are. Every dataset has an oddest record: nothing is said against it.
#[derive(Clone, Debug, Serialize)]
pub struct RankingRow {
    /// `label`, `spectral` or `rare-words`.
    pub ranking: &'static str,
    /// What the score is.
    pub what: &'static str,
    /// The oddest first.
    pub records: Vec<RankedRecord>,
}

/// A record of a ranking.
#[derive(Clone, Debug, Serialize)]
pub struct RankedRecord {
    /// How odd it is.
    pub score: f64,
    /// Which record.
    #[serde(flatten)]
    pub place: SuspiciousRecord,
}

/// Who supplied records.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContributorRow {
    /// The name.
    pub contributor: String,
    /// Records supplied.
    pub records: u64,
    /// Of these, records with a finding.
    pub suspicious: u64,
    /// How far the share of those is above that of all other contributors, in standard deviations; none without others.
    pub z: Option<f64>,
}

/// How a column differs from the baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// The column.
    pub column: String,
    /// Population stability index: 0 is no difference; above 0.25 is a large one.
    pub psi: f64,
}

impl Report {
    /// Records that were looked at, with all their images.
    pub fn looked_at(&self) -> u64 {
        self.records.saturating_sub(self.undecoded.count)
    }

    /// Findings of a detector, and how many records they are about, each counted once for each finding.
    pub fn found_by(&self, detector: &str) -> (usize, u64) {
        let found = self.findings.iter().filter(|row| row.detector == detector);
        found.fold((0, 0), |(findings, records), row| (findings + 1, records + row.count))
    }
}

/// From how many standard deviations on a contributor stands out.
pub const CONTRIBUTOR_BAR: f64 = 4.0;

/// The share of a contributor's records with a finding against that of all others: a binomial z, with half a record added to the others' so
/// that none is impossible.
pub(super) fn contributor_z(hits: u64, records: u64, all_hits: u64, all_records: u64) -> Option<f64> {
    let (others, other_hits) = (all_records.checked_sub(records)?, all_hits.checked_sub(hits)?);
    if others == 0 || records == 0 {
        return None;
    }
    let share = ((other_hits as f64 + 0.5) / (others as f64 + 1.0)).min(1.0 - f64::EPSILON);
    let n = records as f64;
    Some((hits as f64 - n * share) / (n * share * (1.0 - share)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contributor_stands_out_by_the_share_of_its_records() {
        assert!(contributor_z(30, 100, 40, 2000).unwrap() > 20.0);
        assert!(contributor_z(1, 100, 20, 2000).unwrap().abs() < 1.0);
        assert!(contributor_z(0, 100, 0, 2000).unwrap().abs() < 1.0);
        assert_eq!(contributor_z(5, 10, 5, 10), None);
        assert!(contributor_z(5, 10, 1005, 1010).unwrap().is_finite());
    }
}
