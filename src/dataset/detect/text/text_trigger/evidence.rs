//! What the carriers of one group of n-grams say: do the rest of their words speak against the label they have?

use crate::dataset::detect::text::tokens::{END, START, Token, mix};

/// Parts of a sketch.
const PARTS: usize = 8;
/// Carriers whose rests are compared with each other.
const COMPARED: usize = 32;
/// Nats below which a group is not worth comparing.
const HOPELESS: f64 = -6.0;
/// What one carrier can say at most, in nats: a single wrong label must not carry a finding.
const CARRIER_LIMIT: f64 = 3.0;

/// Share of a trigger's carriers, and of a strong honest word's, that have the label.
const TRIGGER_PURITY: f64 = 0.98;
const HONEST_PURITY: f64 = 0.93;

/// Of each eighth of all words, the smallest hash among those of one text (one-permutation MinHash, Li, Owen and Zhang 2012).
pub type Sketch = [u32; PARTS];

/// A word's part and its hash within.
fn place(word: u32) -> (usize, u32) {
    let hash = mix(u64::from(word), 7);
    ((hash & (PARTS as u64 - 1)) as usize, (hash >> 32) as u32)
}

/// The sketch of `words` without those of `gone` (ascending).
#[must_use]
pub fn sketch(words: &[u32], gone: &[u32]) -> Sketch {
    let mut sketch = [u32::MAX; PARTS];
    for word in words.iter().filter(|word| gone.binary_search(word).is_err()) {
        let (part, hash) = place(*word);
        if let Some(least) = sketch.get_mut(part) {
            *least = hash.min(*least);
        }
    }
    sketch
}

/// Whether `whole`, the sketch of all words, has none of `gone` in it: then it is also that of the rest.
#[must_use]
pub fn untouched(whole: &Sketch, gone: &[u32]) -> bool {
    gone.iter().all(|&word| {
        let (part, hash) = place(word);
        whole.get(part) != Some(&hash)
    })
}

/// Sums over the carriers of a group.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Carriers.
    pub carriers: u32,
    /// Of them with the group's label, ascending record numbers.
    pub records: Vec<u64>,
    /// Sum of the chances the rest of each gives the label.
    pub expected: f64,
    /// Sum of the variances of these.
    pub variance: f64,
    /// Nats for "their rests are those of other labels' texts" against "of this label's texts".
    pub other: f64,
    /// The same for "those of any texts".
    pub any: f64,
    /// Sketches of some carriers' rests.
    sketches: Vec<Sketch>,
    /// Of how many the n-gram was cut out, and in how many of them its neighbours also stand together elsewhere.
    cut: [u32; 2],
    /// The shortest stretch seen of the group's own words.
    pub stretch: String,
}

/// What a group's carriers add up to.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// Carriers with distinct rests.
    pub carriers: f64,
    /// Share of carriers with the label.
    pub purity: f64,
    /// Standard deviations by which the label's carriers exceed what their rests say.
    pub score: f64,
    /// Nats for a planted pattern.
    pub nats: f64,
}

impl Evidence {
    /// One more carrier: `chance` of the label from its rest, the label's `share` of all records.
    pub fn add(&mut self, record: u64, hit: bool, chance: f64, share: f64) {
        let chance = chance.clamp(1e-4, 1.0 - 1e-4);
        let share = share.clamp(1e-6, 1.0 - 1e-6);
        self.carriers += 1;
        self.expected += chance;
        self.variance += chance * (1.0 - chance);
        if hit {
            let any = (share / chance).ln();
            self.any += any.clamp(-CARRIER_LIMIT, CARRIER_LIMIT);
            self.other += (any + ((1.0 - chance) / (1.0 - share)).ln()).clamp(-CARRIER_LIMIT, CARRIER_LIMIT);
            self.records.push(record);
        }
    }

    /// Whether it still wants sketches and cuts.
    #[must_use]
    pub fn compares(&self) -> bool {
        self.sketches.len() < COMPARED && (self.carriers < 4 || self.other.max(self.any) > HOPELESS)
    }

    /// The rest of a carrier; whether the n-gram's neighbours stand together elsewhere; the n-gram itself.
    pub fn compare(&mut self, sketch: Sketch, together: bool, stretch: &str) {
        self.sketches.push(sketch);
        self.cut[0] += 1;
        self.cut[1] += u32::from(together);
        if self.stretch.is_empty() || stretch.len() < self.stretch.len() {
            self.stretch = stretch.to_string();
        }
    }

    /// Share of carriers whose rests are not (nearly) those of another.
    fn distinct(&self) -> f64 {
        let mut alike = vec![false; self.sketches.len()];
        let mut kinds = 0_u32;
        for (at, one) in self.sketches.iter().enumerate() {
            if alike.get(at) == Some(&true) {
                continue;
            }
            kinds += 1;
            for (other, alike) in self.sketches.iter().zip(&mut alike).skip(at + 1) {
                *alike |= one.iter().zip(other).filter(|(a, b)| a == b).count() * 8 >= PARTS * 5;
            }
        }
        f64::from(kinds) / (self.sketches.len().max(1) as f64)
    }

    /// Nats for "inserted" against "written": where a pattern was inserted, its neighbours were neighbours before, so
    /// they stand together elsewhere about as often as any two (`usual`); around written words half as often.
    fn inserted(&self, usual: f64) -> f64 {
        let (inserted, written) = (0.7 * usual.clamp(0.01, 0.99), 0.35 * usual.clamp(0.01, 0.99));
        let (yes, no) = (f64::from(self.cut[1]), f64::from(self.cut[0] - self.cut[1]));
        (yes * (inserted / written).ln() + no * ((1.0 - inserted) / (1.0 - written)).ln()).clamp(-6.0, 3.0)
    }

    /// The sum of it; `usual`: share of neighbours that stand together more than once.
    #[must_use]
    pub fn verdict(&self, usual: f64) -> Verdict {
        let distinct = self.distinct();
        let (carriers, hits) = (f64::from(self.carriers), self.records.len() as f64);
        let pure = hits * (TRIGGER_PURITY / HONEST_PURITY).ln()
            + (carriers - hits) * ((1.0 - TRIGGER_PURITY) / (1.0 - HONEST_PURITY)).ln();
        Verdict {
            carriers: carriers * distinct,
            purity: hits / carriers.max(1.0),
            score: (hits - self.expected) / self.variance.max(1e-3).sqrt() * distinct.sqrt(),
            nats: (self.other.max(self.any - 1.0) + pure) * distinct + self.inserted(usual),
        }
    }
}

/// The longest stretch of `line` whose tokens are `ours`, with the tokens around it.
pub fn stretch(line: &[Token], mut ours: impl FnMut(&Token) -> bool) -> (u64, u64, u32, u32) {
    let (mut best, mut long, mut run) = (0, 0, 0);
    for (at, token) in line.iter().enumerate() {
        run = if ours(token) { run + 1 } else { 0 };
        if run > long {
            (best, long) = (at + 1 - run, run);
        }
    }
    let hash = |at: Option<usize>, edge| at.and_then(|at| line.get(at)).map_or(edge, |token| token.hash);
    let (first, last) = (line.get(best), line.get((best + long).saturating_sub(1)));
    (
        hash(best.checked_sub(1), START),
        hash(Some(best + long), END),
        first.map_or(0, |t| t.start),
        last.map_or(0, |t| t.end),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_that_speak_for_the_label_acquit() {
        let (mut honest, mut planted) = (Evidence::default(), Evidence::default());
        for record in 0..20_u32 {
            honest.add(u64::from(record), true, 0.8, 0.5);
            planted.add(u64::from(record), true, 0.2, 0.5);
            let rest = sketch(&(record * 10..record * 10 + 9).collect::<Vec<_>>(), &[]);
            honest.compare(rest, true, "x");
            planted.compare(rest, true, "x");
        }
        assert!(honest.verdict(0.6).nats < 0.0);
        assert!(planted.verdict(0.6).nats > 20.0);
    }

    #[test]
    fn copies_count_once() {
        let mut copies = Evidence::default();
        for record in 0..40 {
            copies.add(record, true, 0.2, 0.5);
            copies.compare(sketch(&[1, 2, 3, 4], &[]), true, "x");
        }
        assert!(copies.verdict(0.6).carriers < 2.0);
    }
}
