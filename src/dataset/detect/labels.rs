//! Labels that other records speak against, and who supplies them: one look at the records serves both.

use std::cell::RefCell;
use std::rc::Rc;

use super::bars::Bars;
use super::example::{Detector, Example, Finding};
use super::table::contributor::{self, Row};
use super::table::label_noise::LabelNoise;
use super::table::ranking::Ranks;

/// What is known of each contributor, when all records were seen.
pub(super) type Suppliers = Rc<RefCell<Vec<Row>>>;

/// The two detectors.
pub(super) struct Labels {
    noise: LabelNoise,
    suppliers: Suppliers,
    supplier_bars: contributor::Settings,
    /// Whether single labels are findings too.
    tells_labels: bool,
    /// The ranking is one of labels too.
    ranks: Option<Ranks>,
}

impl Labels {
    /// `suppliers` is filled at the end.
    pub fn new(labels: usize, seed: u64, bars: &Bars, tells_labels: bool, suppliers: Suppliers) -> Self {
        let noise = LabelNoise::new(labels, bars.label, seed);
        Self { noise, suppliers, supplier_bars: bars.contributor, tells_labels, ranks: None }
    }

    /// Also ranks all labels by what speaks against them, if they are asked about.
    pub fn ranking(self, ranks: Ranks) -> Self {
        Self { ranks: Some(ranks).filter(|_| self.tells_labels), ..self }
    }
}

impl Detector for Labels {
    fn passes(&self) -> u32 {
        self.noise.passes()
    }

    fn observe(&mut self, pass: u32, example: &Example<'_>) {
        self.noise.observe(pass, example);
    }

    fn finish(self: Box<Self>) -> Vec<Finding> {
        let scores = self.noise.scores();
        let labels = LabelNoise::findings(&scores);
        let report = contributor::report(&scores, &labels, None);
        let mut findings = contributor::findings(&report, &scores, self.supplier_bars);
        *self.suppliers.borrow_mut() = report.rows;
        if let Some(ranks) = &self.ranks {
            ranks.tell("label", scores.iter().map(|s| (s.record, f64::from(s.suspicion))).collect());
        }
        if self.tells_labels {
            findings.extend(labels);
        }
        findings
    }
}
