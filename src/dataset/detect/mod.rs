//! What looks poisoned in a dataset: suspicions with their evidence. Nothing here says that a record is good.
//!
//! | file | what |
//! |---|---|
//! | `example` | what detectors see of a record, and what they say |
//! | `survey`, `profile` | the first pass: what the columns are like |
//! | `view`, `layout` | what is looked at: rows and lines, or images and samples as rows |
//! | `roles`, `space` | which column is label, contributor, text, image, feature |
//! | `read` | all records, once for each pass, in order |
//! | `grid` | images as columns of pixels |
//! | `text`, `table`, `image` | the detectors, by what they look at |
//! | `exact_duplicate` | records with one content and several labels |
//! | `bars` | what a pattern must reach to be a finding |
//! | `labels`, `compared` | detectors that share a look at the records; those that look at a baseline too |
//! | `claims` | what each detector can and cannot say |
//! | `scan` | from a dataset to a report |
//! | `report` | what was looked at, what was found, what was not looked at |
//!
//! Every detector is listed once: in `plan`.

mod bars;
mod claims;
mod compared;
mod exact_duplicate;
mod example;
mod grid;
mod image;
mod labels;
mod layout;
mod profile;
mod read;
mod report;
mod roles;
mod scan;
mod space;
mod survey;
mod table;
mod text;
mod view;

pub use bars::{Bars, ChangedBar};
pub use claims::{CLAIMS, Claim, LIMITS, Severity, claim};
pub use example::{Cell, Detector, Example, Finding, Pixels};
pub use read::{Progress, ScannedFile};
pub use report::{
    CONTRIBUTOR_BAR, ContributorRow, Drift, LabelRow, RankedRecord, RankingRow, Report, Row, RunDetector,
    SkippedDetector, SuspiciousRecord, Undecoded,
};
pub use roles::Role;
pub use scan::scan;
pub use space::Space;
pub use survey::{MAX_CONTRIBUTORS, MAX_LABELS};

use std::collections::BTreeMap;
use std::rc::Rc;

use super::contributors::Runs;
use crate::error::{Error, ErrorId, Result};
use image::duplicate::ImageDuplicate;
use image::trigger::ImageTrigger;
use table::column_trigger::ColumnTrigger;
use table::ranking::{Ranking, Rankings, Ranks};
use text::near_duplicate::NearDuplicate;
use text::rules::{BUILT_IN, Rules};
use text::text_trigger::TextTrigger;

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
    /// What a pattern must reach.
    pub bars: Bars,
    /// Rules of the user's own, as text.
    pub rules: Option<String>,
    /// Of everything that is drawn by lot.
    pub seed: u64,
    /// Most records that are named of a finding.
    pub max_records: Option<usize>,
    /// So many of the oddest records are told: of all that are no findings.
    pub rank: usize,
    /// Who attests which records, where the dataset is signed and no column is asked for.
    pub attested: Option<Attested>,
}

/// Who attests the records of a signed dataset, as its statement says.
#[derive(Clone, Debug, Default)]
pub struct Attested {
    /// In the order of the statement.
    pub contributors: Vec<String>,
    /// By file.
    pub files: BTreeMap<String, Runs>,
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
    Comparing(Box<dyn Compares>),
    /// Another that runs does its work too.
    Shared,
    /// It cannot run here, for this reason.
    Skipped(String),
}

/// All detectors with their names, in the order of the report, and what they say beside findings.
pub(super) struct Plan {
    pub detectors: Vec<(&'static str, Planned)>,
    pub suppliers: labels::Suppliers,
    pub comparisons: compared::Comparisons,
    pub rankings: Rankings,
}

/// The one place where detectors are listed. `why_no_label` says why there are no labels, where there are none; `baseline`: whether there is one.
///
/// # Errors
/// `InvalidArgument` for rules of the user's that are none.
pub(super) fn plan(settings: &Settings, space: &Space, why_no_label: &str, baseline: bool) -> Result<Plan> {
    let (labels, seed) = (space.labels.len(), settings.seed);
    let (suppliers, comparisons) = (labels::Suppliers::default(), compared::Comparisons::default());
    let rankings = Rankings::default();
    let wanted = |name: &str| settings.only.is_empty() || settings.only.iter().any(|only| only == name);
    let skipped = |why: &str| Planned::Skipped(why.into());
    let unlabelled = match (space.has_labels(), space.labels.is_empty()) {
        (true, _) => None,
        (false, false) => Some("all records have one label".to_owned()),
        (false, true) => Some(format!("it needs labels: {why_no_label}")),
    };
    // What is missing first; what is not asked for is not made: it would hold memory.
    let labelled = |name: &str, has: bool, what: &str, make: &dyn Fn() -> Planned| match &unlabelled {
        _ if !wanted(name) => skipped("it was not asked for"),
        _ if !has => Planned::Skipped(format!("there are no {what}")),
        Some(why) => Planned::Skipped(why.clone()),
        None => make(),
    };
    let (text, images, bars) = (space.has_text(), space.has_images(), &settings.bars);
    let content = text || images || !space.features.is_empty();
    const CONTENT: &str = "columns of text, images or features";
    let text_trigger = || Planned::Alone(Box::new(TextTrigger::new(labels, bars.text_trigger)));
    let image_trigger = || Planned::Alone(Box::new(ImageTrigger::new(labels, seed, bars.image_trigger.clone())));
    let column_trigger = || Planned::Alone(Box::new(ColumnTrigger::new(labels, bars.column_trigger, seed)));
    let told = (wanted("label"), wanted("contributor") && space.has_contributors());
    let ranks = Ranks { most: settings.rank, told: Rc::clone(&rankings) };
    let noise = || {
        let noise = labels::Labels::new(labels, seed, bars, told.0, Rc::clone(&suppliers));
        Planned::Alone(Box::new(if settings.rank > 0 { noise.ranking(ranks.clone()) } else { noise }))
    };
    let supply = || if told.0 { Planned::Shared } else { noise() };
    let duplicate = || match (text, images) {
        (true, _) => Planned::Alone(Box::new(NearDuplicate::new(seed, bars.near_duplicate))),
        (_, true) => Planned::Alone(Box::new(ImageDuplicate::new(seed, bars.image_duplicate.clone()))),
        _ => Planned::Alone(Box::<exact_duplicate::ExactDuplicates>::default()),
    };
    let compared = |name: &'static str, make: &dyn Fn() -> Planned| match (wanted(name), baseline) {
        (false, _) => skipped("it was not asked for"),
        (true, false) => skipped("it needs a baseline: --baseline PATH"),
        (true, true) => make(),
    };
    let drift = || Planned::Comparing(Box::new(compared::Drift::new(seed, bars.drift, Rc::clone(&comparisons))));
    let drifting = match (wanted("drift"), baseline || space.has_contributors()) {
        (false, _) => skipped("it was not asked for"),
        (true, false) => skipped("it needs a baseline or contributors: --baseline PATH, --by COLUMN"),
        (true, true) if baseline => drift(),
        (true, true) => Planned::Alone(Box::new(compared::Drift::new(seed, bars.drift, Rc::clone(&comparisons)))),
    };
    let new_words = || {
        labelled("new-words", text, "columns of text", &|| {
            Planned::Comparing(Box::new(compared::NewWords::new(labels, bars.new_words)))
        })
    };
    let rules = match (wanted("rule"), text) {
        (false, _) => skipped("it was not asked for"),
        (true, false) => skipped("there are no columns of text"),
        (true, true) => Planned::Alone(Box::new(rules_of(settings)?)),
    };
    let mut detectors = vec![
        ("text-trigger", labelled("text-trigger", text, "columns of text", &text_trigger)),
        ("image-trigger", labelled("image-trigger", images, "images", &image_trigger)),
        ("column-trigger", labelled("column-trigger", !space.features.is_empty(), "feature columns", &column_trigger)),
        ("label", labelled("label", content, CONTENT, &noise)),
        ("contributor", labelled("contributor", space.has_contributors(), "contributors: --by COLUMN", &supply)),
        ("duplicate", labelled("duplicate", content, CONTENT, &duplicate)),
        ("new-words", compared("new-words", &new_words)),
        ("rule", rules),
        ("drift", drifting),
    ];
    if settings.rank > 0 {
        detectors.push(("ranking", Planned::Alone(Box::new(Ranking::new(seed, ranks)))));
    }
    Ok(Plan { detectors, suppliers, comparisons, rankings })
}

fn rules_of(settings: &Settings) -> Result<Rules> {
    let own = settings.rules.as_deref();
    let files: Vec<_> = std::iter::once(BUILT_IN).chain(own).collect();
    Rules::new(&files).map_err(|bad| {
        Error::new(ErrorId::InvalidArgument, bad.to_string())
            .hint("the first line is `record rules`, a tab and 1; each other one is NAME, KIND, ARGUMENT and MEANING with tabs between")
    })
}
