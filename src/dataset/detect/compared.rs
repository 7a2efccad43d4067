//! Detectors that hold a dataset against a baseline, or contributors against one another.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::Compares;
use super::example::{Detector, Example, Finding};
use super::table::drift::{self, Comparison};
use super::table::summary::Collector;
use super::text::burst::{Settings, TokenBurst, TokenSet};
use super::text::tokens::Tokens;

/// Contributors whose columns are looked at one by one.
const MAX_CONTRIBUTORS: usize = 1000;
/// Bits of the filter of words that the baseline has: 16 MiB.
const TOKEN_BITS: u32 = 27;

/// What was compared, when all records were seen.
pub(super) type Comparisons = Rc<RefCell<Vec<Comparison>>>;

/// How columns are distributed: against the baseline, and each contributor's against the others'.
pub(super) struct Drift {
    now: Collector,
    before: Collector,
    compared: bool,
    bars: drift::Settings,
    rows: Comparisons,
}

impl Drift {
    /// `rows` is filled at the end.
    pub fn new(seed: u64, bars: drift::Settings, rows: Comparisons) -> Self {
        let (now, before) = (Collector::new(MAX_CONTRIBUTORS, seed), Collector::new(0, seed));
        Self { now, before, compared: false, bars, rows }
    }
}

impl Compares for Drift {
    fn baseline(&mut self, example: &Example<'_>) {
        self.compared = true;
        self.before.observe(example);
    }
}

impl Detector for Drift {
    fn passes(&self) -> u32 {
        1
    }

    fn observe(&mut self, _: u32, example: &Example<'_>) {
        self.now.observe(example);
    }

    fn finish(self: Box<Self>) -> Vec<Finding> {
        let mut rows = drift::contributors(&self.now);
        if self.compared {
            rows.extend(drift::compare(&self.now.all, &self.before.all));
        }
        let findings = drift::findings(&rows, self.bars);
        *self.rows.borrow_mut() = rows;
        findings
    }
}

/// New words, that the baseline has not, under one label.
pub(super) struct NewWords {
    words: TokenSet,
    tokens: Tokens,
    labels: usize,
    bars: Settings,
    burst: Option<TokenBurst>,
}

impl NewWords {
    /// For labels below `labels`.
    pub fn new(labels: usize, bars: Settings) -> Self {
        Self { words: TokenSet::new(TOKEN_BITS), tokens: Tokens::default(), labels, bars, burst: None }
    }
}

impl Compares for NewWords {
    fn baseline(&mut self, example: &Example<'_>) {
        self.words.add(&mut self.tokens, example.text);
    }
}

impl Detector for NewWords {
    fn passes(&self) -> u32 {
        2
    }

    fn observe(&mut self, pass: u32, example: &Example<'_>) {
        let Self { words, labels, bars, burst, .. } = self;
        let begin = || TokenBurst::new(Arc::new(std::mem::replace(words, TokenSet::new(1))), *labels, *bars);
        burst.get_or_insert_with(begin).observe(pass, example);
    }

    fn finish(self: Box<Self>) -> Vec<Finding> {
        self.burst.map_or_else(Vec::new, |burst| Box::new(burst).finish())
    }
}
