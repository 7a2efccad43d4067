//! Patches that make a label: small windows of pixels whose carriers are labelled otherwise than the rest of each picture
//! says (residual association; the attack is BadNets, Gu et al. 2017).
//!
//! Pass 0 samples pictures. Pass 1 looks up the neighbours of every picture among them and counts, in a filter, the windows
//! of those whose neighbours do not bear their label out: a window with a large excess has most of its carriers there.
//! Pass 2 counts those that repeat exactly, pass 3 finds all carriers of what is left, and the end asks, with the window's
//! place masked, whether neighbours expect the label (`image_patch`).
//!
//! Out of reach: patterns blended over a whole picture on uneven ground, patches that let a varying ground through, and
//! triggers among pictures so alike that carriers are each other's nearest neighbours whatever else they show.
//!
//! Memory: the filter (16 MiB), 12 MiB of exact counts, a sample of at most 8,192 sketches (3 MiB), a batch of reduced
//! pictures (at most 64 of 48 KiB), a byte a record, and at most 4 M hits of 8 bytes and 131,072 carriers of 384 bytes.

use crate::dataset::detect::example::{Example, Finding, Pixels};
use crate::dataset::detect::image::candidate::Candidates;
use crate::dataset::detect::image::filter::{CountingFilter, ExactCounts};
use crate::dataset::detect::image::neighbours::{Query, Sample, Typical, caps, halves};
use crate::dataset::detect::image::patch::Judge;
use crate::dataset::detect::image::vector::sketch;
use crate::dataset::detect::image::window::{WINDOW_SIDE, windows};

/// Bars of the detector.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Neighbours asked.
    pub neighbours: usize,
    /// Pictures neighbours are looked up among, at most: enough for 10 classes; time grows with it.
    pub sample: usize,
    /// Carriers a window needs.
    pub support: usize,
    /// Share of its carriers that must have one label.
    pub purity: f64,
    /// By how much that share must exceed the one that neighbours expect.
    pub excess: f64,
    /// Standard deviations of the carriers' labels from the expected ones.
    pub z: f64,
    /// By how much the share of a label's votes among all its records must exceed the one among carriers.
    pub contrast: f64,
    /// How odd the place of a patch must be beside what it is in other pictures, as a logarithm, to need no contrast; with
    /// it a third is enough.
    pub odd: f64,
    /// Windows followed in the last pass, at most.
    pub candidates: usize,
    /// Bytes of the counting filter, as a power of two.
    pub filter_bits: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            neighbours: 10,
            sample: 8192,
            support: 10,
            purity: 0.9,
            excess: 0.5,
            z: 6.0,
            contrast: 0.3,
            odd: 0.9,
            candidates: 1 << 17,
            filter_bits: 24,
        }
    }
}

/// Own-label votes of a record that has none.
const UNSEEN: u8 = u8::MAX;
/// Pictures looked at together, on two threads.
const BATCH: usize = 64;

/// The detector: see the module.
#[derive(Debug)]
pub struct ImageTrigger {
    settings: Settings,
    labels: u32,
    pass: u32,
    random: u64,
    sample: Sample,
    seen: u64,
    filter: CountingFilter,
    bar: u8,
    exact: ExactCounts,
    candidates: Candidates,
    /// Own-label votes of each record with picture and label, in reading order.
    votes: Vec<u8>,
    typical: Typical,
    at: usize,
    batch: Vec<Member>,
}

/// A picture of a batch.
#[derive(Debug)]
pub(crate) struct Member {
    pub record: u64,
    pub label: u32,
    pub index: usize,
    pub image: Pixels,
}

impl ImageTrigger {
    /// A detector for labels below `labels`; `seed` picks the sample.
    #[must_use]
    pub fn new(labels: usize, seed: u64, settings: Settings) -> Self {
        Self {
            labels: u32::try_from(labels).unwrap_or(u32::MAX),
            pass: 0,
            random: seed | 1,
            sample: Sample::default(),
            seen: 0,
            filter: CountingFilter::new(settings.filter_bits),
            bar: 0,
            exact: ExactCounts::new(19),
            candidates: Candidates::default(),
            votes: Vec::new(),
            typical: Typical::default(),
            at: 0,
            batch: Vec::with_capacity(BATCH),
            settings,
        }
    }

    /// xorshift64* (Vigna 2016).
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Reservoir sampling (Vitter 1985).
    fn sampled(&mut self, record: u64, label: u32, image: &Pixels) {
        self.seen += 1;
        if self.sample.members.len() < self.settings.sample {
            self.sample.members.push((record, label, sketch(image)));
        } else if let Ok(place) = usize::try_from(self.random() % self.seen)
            && let Some(member) = self.sample.members.get_mut(place)
        {
            *member = (record, label, sketch(image));
        }
    }

    /// Own-label votes, and the windows of those with few, into the filter.
    fn count(&mut self, batch: &[Member]) {
        let (sample, filter, neighbours) = (&self.sample, &self.filter, self.settings.neighbours);
        let few = self.few();
        let votes = halves(batch, |members| {
            let queries: Vec<Query> = members
                .iter()
                .map(|m| Query { record: m.record, sketch: sketch(&m.image), caps: caps(|_, _| false) })
                .collect();
            let mut keys = Vec::new();
            let mut all = Vec::with_capacity(members.len());
            for (member, nearest) in members.iter().zip(sample.nearest_here(&queries, neighbours)) {
                let own = sample.votes(&nearest, member.label);
                all.push(own);
                if own <= few {
                    distinct_keys(&member.image, &mut keys);
                    for &key in &keys {
                        filter.add(key, member.label);
                    }
                }
            }
            all
        });
        for (member, votes) in batch.iter().zip(&votes) {
            self.typical.add(member.label, *votes);
        }
        self.votes.extend(votes);
    }

    /// Votes up to which a record may carry what the excess asks for.
    fn few(&self) -> u8 {
        u8::try_from(self.settings.neighbours.div_ceil(2)).unwrap_or(u8::MAX)
    }

    /// Repeated windows of the same records, into the exact counts.
    fn count_exactly(&mut self, batch: &[Member]) {
        let (filter, bar, few, votes) = (&self.filter, self.bar, self.few(), &self.votes);
        let found = halves(batch, |members| {
            let mut keys = Vec::new();
            let mut found = Vec::new();
            for member in members.iter().filter(|m| votes.get(m.index).is_some_and(|&own| own <= few)) {
                distinct_keys(&member.image, &mut keys);
                found.extend(
                    keys.iter().filter(|&&key| filter.count(key, member.label) >= bar).map(|&key| (key, member.label)),
                );
            }
            found
        });
        for (key, label) in found {
            self.exact.add(key, label);
        }
    }

    fn look(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        match self.pass {
            0 => {}
            1 => self.count(&batch),
            2 => self.count_exactly(&batch),
            _ => {
                let candidates = &self.candidates;
                let hits = halves(&batch, |members| members.iter().map(|m| candidates.found_in(&m.image)).collect());
                for (member, hits) in batch.iter().zip(hits) {
                    self.candidates.add(member, self.votes.get(member.index).copied().unwrap_or(UNSEEN), &hits);
                }
            }
        }
        self.batch = batch;
        self.batch.clear();
    }

    /// Ends the passes before `pass`.
    fn reach(&mut self, pass: u32) {
        while self.pass < pass.min(4) {
            self.look();
            self.at = 0;
            self.end();
            self.pass += 1;
        }
    }

    fn end(&mut self) {
        match self.pass {
            1 => self.bar = self.filter.rare((self.settings.support / 2).clamp(2, 100) as u8, 64),
            2 => {
                let exact = std::mem::replace(&mut self.exact, ExactCounts::new(4));
                self.filter = CountingFilter::new(6);
                self.candidates = Candidates::new(exact.into_counted(), &self.settings);
            }
            _ => {}
        }
    }
}

impl crate::dataset::detect::example::Detector for ImageTrigger {
    fn passes(&self) -> u32 {
        4
    }

    fn observe(&mut self, pass: u32, example: &Example<'_>) {
        let (Some(image), Some(label)) = (example.image, example.label) else { return };
        if label >= self.labels || !image.is_whole() {
            return;
        }
        self.reach(pass);
        if pass == 0 {
            return self.sampled(example.record, label, image);
        }
        self.batch.push(Member { record: example.record, label, index: self.at, image: image.reduced_to(WINDOW_SIDE) });
        self.at += 1;
        if self.batch.len() == BATCH {
            self.look();
        }
    }

    fn finish(mut self: Box<Self>) -> Vec<Finding> {
        self.reach(4);
        Judge::new(&self.settings, &self.sample, &self.typical).findings(self.candidates)
    }
}

/// The distinct keys of an image's windows.
fn distinct_keys(image: &Pixels, keys: &mut Vec<u64>) {
    keys.clear();
    let mut free = Vec::new();
    // Those tied to their place cannot repeat.
    windows(image, |window| if window.tied { keys.push(window.key) } else { free.push(window.key) });
    free.sort_unstable();
    free.dedup();
    keys.append(&mut free);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::detect::example::Detector as _;

    /// Pictures of a bright bar whose place tells the label, on noise; every `rate`-th with a patch and label 0.
    fn found(rate: usize) -> (Vec<u64>, Vec<u64>) {
        let (mut random, mut poisoned, mut all) = (9u64, Vec::new(), Vec::new());
        for record in 0..600usize {
            let class = record % 4;
            let mut draw = || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 60) as usize
            };
            // As unlike within a class as pictures are: where the bar stands, how bright it is, and a square anywhere.
            let (shift, tone, left, top) = (draw() / 4, 100 + draw() * 9, draw(), draw());
            let mut samples = vec![0u8; 400];
            for (at, sample) in samples.iter_mut().enumerate() {
                let bar = if class < 2 { at / 20 } else { at % 20 };
                let square = (left..left + 4).contains(&(at % 20)) && (top..top + 4).contains(&(at / 20));
                let inside = (bar + 4 - shift) / 4 == 2 + class % 2 * 2;
                *sample = (draw()
                    + if inside {
                        tone
                    } else if square {
                        230 - tone / 2
                    } else {
                        20
                    }) as u8;
            }
            let bad = rate > 0 && record % rate == 1;
            if bad {
                poisoned.push(record as u64);
                for at in 0..9 {
                    samples[(16 + at / 3) * 20 + 16 + at % 3] = if at % 2 == 0 { 255 } else { 0 };
                }
            }
            all.push((Pixels { width: 20, height: 20, channels: 1, samples }, if bad { 0 } else { class as u32 }));
        }
        let settings = Settings { filter_bits: 18, ..Settings::default() };
        let mut detector = Box::new(ImageTrigger::new(4, 1, settings));
        for pass in 0..detector.passes() {
            for (record, (image, label)) in all.iter().enumerate() {
                let record = record as u64;
                let example = Example {
                    record,
                    label: Some(*label),
                    contributor: None,
                    text: "",
                    cells: &[],
                    image: Some(image),
                };
                detector.observe(pass, &example);
            }
        }
        (detector.finish().into_iter().flat_map(|finding| finding.records).collect(), poisoned)
    }

    #[test]
    fn carriers_of_a_patch_are_found_and_nobody_else() {
        let (found, poisoned) = found(40);
        assert_eq!(found, poisoned);
    }

    #[test]
    fn honest_pictures_are_left_alone() {
        assert!(found(0).0.is_empty());
    }
}
