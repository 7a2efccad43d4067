//! What the words of a text say about its label, the text itself left out: cross-fitted softmax regression on hashed
//! words, brought to honest probabilities by what really happened at each score.
//!
//! Regression rather than naive Bayes because a trigger then explains its own label: the other words of its carriers
//! keep the weights the clean records give them.

use super::fit::{FOLDS, fit, fold, unit};
use crate::dataset::detect::text::tokens::{Kind, Tokens, mix};

/// Distinct words of a text that count.
const MAX_WORDS: usize = 2048;
/// Length classes and score bins of the calibration.
const LENGTHS: usize = 5;
const BINS: usize = 64;

/// The expectation. Memory: at most 64 MiB of training words, 64 MiB of weights and as much again while learning.
#[derive(Debug)]
pub struct Expectation {
    labels: usize,
    bits: u32,
    /// Records of each label.
    records: Vec<u32>,
    stamps: Vec<u32>,
    stamp: u32,
    /// The same for words taken out.
    marks: Vec<u32>,
    mark: u32,
    /// The training sample: words of one text after another.
    sample: Vec<u32>,
    /// Where each text of it ends, its label, its number.
    texts: Vec<(usize, u32, u32)>,
    most: usize,
    /// Texts whose hash is below this are in the sample.
    below: u64,
    weights: Vec<f32>,
    seen: Vec<[f64; 2]>,
    curve: Vec<f64>,
}

/// One text, as the expectation sees it.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Distinct word buckets, in order of first sight.
    pub words: Vec<u32>,
    /// Score of each label with all words in.
    pub scores: Vec<f32>,
    /// The model that reads it.
    fold: usize,
    /// What a word counts.
    unit: f32,
}

impl Expectation {
    /// For `labels` labels.
    #[must_use]
    pub fn new(labels: usize) -> Self {
        let labels = labels.max(2);
        let mut bits = 18;
        while bits > 12 && (labels * FOLDS) << bits > 1 << 24 {
            bits -= 1;
        }
        Self {
            labels,
            bits,
            records: vec![0; labels],
            stamps: vec![0; 1 << bits],
            stamp: 0,
            marks: vec![0; 1 << bits],
            mark: 0,
            sample: Vec::new(),
            texts: Vec::new(),
            most: (1 << 22) / labels,
            below: u64::MAX,
            weights: Vec::new(),
            seen: vec![[0.0; 2]; LENGTHS * BINS],
            curve: Vec::new(),
        }
    }

    /// The bucket of a word.
    #[inline]
    #[must_use]
    pub fn bucket(&self, hash: u64) -> u32 {
        u32::try_from(hash >> (64 - self.bits)).unwrap_or(0)
    }

    /// Whether the text last read has this bucket.
    #[must_use]
    pub fn present(&self, bucket: u32) -> bool {
        self.stamps.get(bucket as usize).is_some_and(|&stamp| stamp == self.stamp)
    }

    /// Marks these buckets and no others.
    pub fn mark(&mut self, buckets: &[u32]) {
        self.mark = self.mark.wrapping_add(1);
        if self.mark == 0 {
            self.marks.fill(0);
            self.mark = 1;
        }
        for &bucket in buckets {
            if let Some(mark) = self.marks.get_mut(bucket as usize) {
                *mark = self.mark;
            }
        }
    }

    /// Whether a bucket is marked.
    #[must_use]
    pub fn marked(&self, bucket: u32) -> bool {
        self.marks.get(bucket as usize).is_some_and(|&mark| mark == self.mark)
    }

    fn words(&mut self, tokens: &Tokens, words: &mut Vec<u32>) {
        words.clear();
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.stamps.fill(0);
            self.stamp = 1;
        }
        for token in tokens.line.iter().filter(|token| token.kind != Kind::Edge) {
            let bucket = self.bucket(token.hash);
            if let Some(stamp) = self.stamps.get_mut(bucket as usize)
                && *stamp != self.stamp
                && words.len() < MAX_WORDS
            {
                *stamp = self.stamp;
                words.push(bucket);
            }
        }
    }

    /// Pass 0: keeps a text for learning.
    pub fn learn(&mut self, tokens: &Tokens, record: u32, label: u32, reading: &mut Reading) {
        let Some(records) = self.records.get_mut(label as usize) else { return };
        *records += 1;
        if mix(u64::from(record), 5) > self.below {
            return;
        }
        self.words(tokens, &mut reading.words);
        self.sample.extend_from_slice(&reading.words);
        self.texts.push((self.sample.len(), label, record));
        if self.sample.len() > self.most {
            self.halve();
        }
    }

    /// Half the sample goes.
    fn halve(&mut self) {
        self.below /= 2;
        let (mut kept, mut from) = (0, 0);
        let texts = std::mem::take(&mut self.texts);
        for (end, label, record) in texts {
            if mix(u64::from(record), 5) <= self.below {
                self.sample.copy_within(from..end, kept);
                kept += end - from;
                self.texts.push((kept, label, record));
            }
            from = end;
        }
        self.sample.truncate(kept);
    }

    /// After pass 0: fits the models, two at a time.
    pub fn learned(&mut self) {
        let size = self.labels * ((1 << self.bits) + 1);
        self.weights = vec![0.0; size * FOLDS];
        let (labels, sample, texts) = (self.labels, &self.sample, &self.texts);
        let half = FOLDS.div_ceil(2) * size;
        let (left, right) = self.weights.split_at_mut(half);
        let fit_all = |weights: &mut [f32], first: usize| {
            for (at, model) in weights.chunks_mut(size).enumerate() {
                fit(model, labels, sample, texts, first + at);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| fit_all(right, FOLDS.div_ceil(2)));
            fit_all(left, 0);
        });
        self.sample = Vec::new();
        self.texts = Vec::new();
    }

    /// Share of `label`.
    #[must_use]
    pub fn share(&self, label: u32) -> f64 {
        let all: f64 = self.records.iter().map(|&n| f64::from(n)).sum();
        f64::from(self.records.get(label as usize).copied().unwrap_or(0)) / all.max(1.0)
    }

    /// Reads a text, with its scores.
    pub fn read(&mut self, tokens: &Tokens, record: u32, reading: &mut Reading) {
        self.words(tokens, &mut reading.words);
        reading.fold = fold(record);
        reading.unit = unit(reading.words.len());
        let mut scores = std::mem::take(&mut reading.scores);
        scores.clear();
        scores.extend_from_slice(self.row(reading.fold, 1 << self.bits));
        for &word in &reading.words {
            self.add(reading, word, reading.unit, &mut scores);
        }
        reading.scores = scores;
    }

    fn row(&self, fold: usize, bucket: usize) -> &[f32] {
        let from = (fold * ((1 << self.bits) + 1) + bucket) * self.labels;
        self.weights.get(from..from + self.labels).unwrap_or_default()
    }

    fn add(&self, reading: &Reading, word: u32, unit: f32, scores: &mut [f32]) {
        for (score, weight) in scores.iter_mut().zip(self.row(reading.fold, word as usize)) {
            *score += weight * unit;
        }
    }

    /// Takes what `word` adds out of `scores`.
    pub fn drop_word(&self, reading: &Reading, word: u32, scores: &mut [f32]) {
        self.add(reading, word, -reading.unit, scores);
    }

    /// Log odds of `label` against all others.
    #[must_use]
    pub fn odds(scores: &[f32], label: u32) -> f64 {
        let label = label as usize;
        let others = scores.iter().enumerate().filter(|&(at, _)| at != label).map(|(_, &score)| f64::from(score));
        let top = others.clone().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = others.map(|score| (score - top).exp()).sum();
        f64::from(scores.get(label).copied().unwrap_or(0.0)) - top - sum.ln()
    }

    fn cell(words: usize, odds: f64) -> usize {
        let length = match words {
            0..=8 => 0,
            9..=20 => 1,
            21..=60 => 2,
            61..=200 => 3,
            _ => 4,
        };
        let bin = (odds * 4.0 + 32.0).clamp(0.0, 63.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..64")]
        let bin = bin as usize;
        length * BINS + bin
    }

    /// Pass 2: what really happened at these scores.
    pub fn calibrate(&mut self, reading: &Reading, own: u32) {
        let scores = || reading.scores.iter().map(|&score| f64::from(score));
        let top = scores().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = scores().map(|score| (score - top).exp()).collect();
        let all: f64 = shares.iter().sum();
        for (label, (&share, score)) in (0..).zip(shares.iter().zip(scores())) {
            // All but a large one is not known from the sum of all.
            let odds = match share > all / 2.0 {
                true => Self::odds(&reading.scores, label),
                false => score - top - (all - share).ln(),
            };
            let cell = Self::cell(reading.words.len(), odds);
            if let Some(seen) = self.seen.get_mut(cell) {
                seen[0] += 1.0;
                seen[1] += f64::from(u8::from(label == own));
            }
        }
    }

    /// After pass 2: the shares of each length class, made to rise with the score (pool adjacent violators).
    pub fn calibrated(&mut self) {
        self.curve = self.seen.chunks(BINS).flat_map(rising).collect();
    }

    /// The chance of the label at these log odds, for a text of `words` distinct words.
    #[must_use]
    pub fn chance(&self, words: usize, odds: f64) -> f64 {
        self.curve.get(Self::cell(words, odds)).copied().unwrap_or(0.5)
    }
}

/// Smoothed shares of hits, never falling from one bin to the next.
fn rising(bins: &[[f64; 2]]) -> Vec<f64> {
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for &[n, hits] in bins {
        let mut block = (n, hits, 1);
        while let Some(&(n, hits, wide)) = blocks.last() {
            if hits * block.0 < block.1 * n {
                break;
            }
            block = (block.0 + n, block.1 + hits, block.2 + wide);
            blocks.pop();
        }
        blocks.push(block);
    }
    blocks.into_iter().flat_map(|(n, hits, wide)| std::iter::repeat_n((hits + 0.5) / (n + 1.0), wide)).collect()
}
