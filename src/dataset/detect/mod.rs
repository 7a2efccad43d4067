//! What looks poisoned in a dataset: suspicions with their evidence. Nothing here says that a record is good.
//!
//! | file | what |
//! |---|---|
//! | `example` | what detectors see of a record, and what they say |
//! | `survey`, `profile` | the first pass: what the columns are like |
//! | `roles`, `space` | which column is label, contributor, text, image, feature |
//! | `read` | all records, once for each pass, in order |
//! | `image`, `grid` | images in records: as bytes, and as columns of pixels |
//! | `exact_duplicate` | records with one content and several labels |
//! | `claims` | what each detector can and cannot say |
//! | `scan` | from a dataset to a report |
//! | `report` | what was looked at, what was found, what was not looked at |
//!
//! Every detector is listed once: in [`detectors`].

mod claims;
mod exact_duplicate;
mod example;
mod grid;
mod image;
mod profile;
mod read;
mod report;
mod roles;
mod scan;
mod space;
mod survey;

pub use claims::{CLAIMS, Claim, LIMITS, Severity, claim};
pub use example::{Cell, Detector, Example, Finding, Pixels};
pub use read::ScannedFile;
pub use report::{
    CONTRIBUTOR_BAR, ContributorRow, Drift, LabelRow, Report, Row, RunDetector, SkippedDetector, SuspiciousRecord,
};
pub use roles::Role;
pub use scan::scan;
pub use space::Space;
pub use survey::{MAX_CONTRIBUTORS, MAX_LABELS};

/// What is asked of a scan.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The column with the label; else one whose name tells.
    pub label: Option<String>,
    /// The column that says who supplied a record; else one whose name tells.
    pub by: Option<String>,
    /// The columns of text; else those that look like it.
    pub text: Vec<String>,
    /// Only these detectors; none: all.
    pub only: Vec<String>,
    /// Rules of the user's own, as text.
    pub rules: Option<String>,
    /// Of everything that is drawn by lot.
    pub seed: u64,
    /// Most records that are named of a finding.
    pub max_records: Option<usize>,
}

/// A detector that first sees all records of a baseline, once.
pub(super) trait Compares: Detector {
    /// A record of the baseline: its label, contributor and cells are numbered as those of the dataset.
    fn baseline(&mut self, example: &Example<'_>);
}

/// What becomes of a detector.
pub(super) enum Planned {
    /// It looks at the dataset alone.
    Alone(Box<dyn Detector>),
    /// It compares with a baseline.
    #[allow(dead_code, reason = "made by detectors that are to come")]
    Comparing(Box<dyn Compares>),
    /// It cannot run here, for this reason.
    Skipped(String),
}

/// All detectors with their names, in the order of the report: the one place where they are listed.
///
/// `why_no_label` says why there are no labels, where there are none.
pub(super) fn detectors(_: &Settings, space: &Space, why_no_label: &str) -> Vec<(&'static str, Planned)> {
    let labelled = |make: &dyn Fn() -> Box<dyn Detector>| match space.has_labels() {
        true => Planned::Alone(make()),
        false if !space.labels.is_empty() => Planned::Skipped("all records have one label".into()),
        false => Planned::Skipped(format!("it needs labels: {why_no_label}")),
    };
    vec![("duplicate", labelled(&|| Box::new(exact_duplicate::ExactDuplicates::default())))]
}
