//! Words that a signed baseline does not have and that come up in many new records of one label: the only thing in a
//! text that gives a clean-label trigger away.

use std::sync::Arc;

use crate::dataset::detect::example::{Detector, Example, Finding};
use crate::dataset::detect::text::text_trigger::{Candidates, Hot, HotTable};
use crate::dataset::detect::text::tokens::{Tokens, mix, printable};

const PROBES: u64 = 4;

/// The words and pairs of words of a dataset: a Bloom filter (1970), to be kept beside its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSet {
    bits: Vec<u64>,
    records: u64,
}

/// Hashes of the tokens, pairs of tokens and odd spellings of a text.
fn features(tokens: &Tokens, mut see: impl FnMut(u64, u32, u32)) {
    for pair in tokens.line.windows(2) {
        let [first, second] = pair else { continue };
        if first.start < first.end {
            see(first.hash, first.start, first.end);
        }
        see(mix(first.hash, second.hash), first.start, second.end);
    }
    for (odd, _) in &tokens.odd {
        see(odd.hash, odd.start, odd.end);
    }
}

impl TokenSet {
    /// Of 2^`bits` bits (2^27, that is 16 MiB, holds ten million words and pairs at one mistake in four hundred).
    #[must_use]
    pub fn new(bits: u32) -> Self {
        Self { bits: vec![0; 1 << (bits.clamp(10, 36) - 6)], records: 0 }
    }

    fn places(words: usize, hash: u64) -> impl Iterator<Item = (usize, u64)> {
        let size = words as u64 * 64;
        (0..PROBES).map(move |probe| {
            let bit = mix(hash, probe) & (size - 1);
            ((bit >> 6) as usize, 1 << (bit & 63))
        })
    }

    /// Adds the words of a text, with the tokens' buffers of the caller.
    pub fn add(&mut self, tokens: &mut Tokens, text: &str) {
        tokens.read(text);
        self.records += 1;
        features(tokens, |hash, _, _| {
            for (word, bit) in Self::places(self.bits.len(), hash) {
                if let Some(word) = self.bits.get_mut(word) {
                    *word |= bit;
                }
            }
        });
    }

    /// Whether it has this one (sometimes a yes too much).
    #[must_use]
    pub fn has(&self, hash: u64) -> bool {
        Self::places(self.bits.len(), hash).all(|(word, bit)| self.bits.get(word).is_some_and(|word| word & bit != 0))
    }
}

/// The bars.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Carriers a new word needs.
    pub support: u32,
    /// Share of them with one label.
    pub purity: f64,
    /// Nats for "not by chance" beyond the logarithm of the number of new words.
    pub nats: f64,
    /// New words and pairs counted at most (24 bytes each, in a table of up to four times that).
    pub most: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { support: 10, purity: 0.9, nats: 4.5, most: 1 << 20 }
    }
}

/// The detector: give it the records that the baseline does not have, or all.
#[derive(Debug)]
pub struct TokenBurst {
    baseline: Arc<TokenSet>,
    settings: Settings,
    tokens: Tokens,
    hot: HotTable,
    candidates: Candidates,
    /// As first met, and carriers' record numbers, by candidate.
    seen: Vec<(String, Vec<u64>)>,
    labels: Vec<u64>,
    new_words: usize,
    pass: u32,
    next: u32,
}

impl TokenBurst {
    /// Against `baseline`, for labels 0 to `labels` − 1.
    #[must_use]
    pub fn new(baseline: Arc<TokenSet>, labels: usize, settings: Settings) -> Self {
        Self {
            baseline,
            settings,
            tokens: Tokens::default(),
            hot: HotTable::new(settings.most),
            candidates: Candidates::default(),
            seen: Vec::new(),
            labels: vec![0; labels],
            new_words: 0,
            pass: 0,
            next: 0,
        }
    }

    fn turn(&mut self) {
        self.pass = 1;
        self.next = 0;
        let mut hot = self.hot.take();
        self.new_words = hot.len();
        let Settings { support, purity, .. } = self.settings;
        hot.retain(|hot: &Hot| {
            hot.carriers >= support && f64::from(hot.lead) + 1e-9 >= (2.0 * purity - 1.0) * f64::from(hot.carriers)
        });
        self.candidates = Candidates::new(&hot);
        self.seen = vec![(String::new(), Vec::new()); hot.len()];
    }

    /// Nats against `carriers` of a word that the baseline just happens to lack, all of one label by chance.
    fn nats(&self, carriers: f64, hits: f64, label: u32) -> f64 {
        let all = self.labels.iter().sum::<u64>().max(1) as f64;
        let share = self.labels.get(label as usize).map_or(1.0, |&n| (n as f64 / all).clamp(1e-6, 1.0));
        let absent = (1.0 + self.baseline.records as f64 / all).ln();
        let purity = hits / carriers;
        let other = if purity < 1.0 { (1.0 - purity) * ((1.0 - purity) / (1.0 - share).max(1e-6)).ln() } else { 0.0 };
        carriers * (absent + (purity * (purity / share).ln() + other).max(0.0))
    }
}

impl Detector for TokenBurst {
    fn passes(&self) -> u32 {
        2
    }

    fn observe(&mut self, pass: u32, example: &Example<'_>) {
        if pass > self.pass {
            self.turn();
        }
        let Some(label) = example.label else { return };
        if example.text.is_empty() || self.next == u32::MAX - 1 {
            return;
        }
        let number = self.next;
        self.next += 1;
        self.tokens.read(example.text);
        if pass == 0 {
            if let Some(count) = self.labels.get_mut(label as usize) {
                *count += 1;
            }
            features(&self.tokens, |hash, _, _| {
                if !self.baseline.has(hash) {
                    self.hot.add(hash, number, label);
                }
            });
        } else {
            features(&self.tokens, |hash, start, end| {
                let Some((id, one)) = self.candidates.find(hash) else { return };
                let Some((shown, records)) = self.seen.get_mut(id) else { return };
                if one.carriers.last() != Some(&number) {
                    if records.is_empty() {
                        *shown = printable(example.text.get(start as usize..end as usize).unwrap_or_default(), 80);
                    }
                    one.meet(number, label, Vec::new);
                    if one.label == label {
                        records.push(example.record);
                    }
                }
            });
        }
    }

    fn finish(self: Box<Self>) -> Vec<Finding> {
        let bar = (self.new_words.max(1) as f64).ln() + self.settings.nats;
        let mut found: Vec<(f64, usize)> = Vec::new();
        for (id, one) in self.candidates.all.iter().enumerate() {
            let (carriers, hits) = (one.carriers.len() as f64, f64::from(one.hits));
            let nats = self.nats(carriers.max(1.0), hits, one.label);
            if carriers >= f64::from(self.settings.support) && hits >= self.settings.purity * carriers && nats >= bar {
                found.push((nats, id));
            }
        }
        // Of a phrase and its parts, the one in the most records, then the longest, speaks for all.
        found.sort_by(|a, b| {
            b.0.total_cmp(&a.0).then_with(|| self.seen[b.1].0.len().cmp(&self.seen[a.1].0.len())).then(a.1.cmp(&b.1))
        });
        let mut flagged = std::collections::HashSet::new();
        let mut findings = Vec::new();
        for (nats, id) in found {
            let (Some(one), Some((shown, records))) = (self.candidates.all.get(id), self.seen.get(id)) else {
                continue;
            };
            if records.iter().filter(|record| flagged.contains(*record)).count() * 2 >= records.len() {
                continue;
            }
            flagged.extend(records.iter().copied());
            let what = format!(
                "\"{shown}\", which the baseline does not have, stands in {} records, {} of them labelled {{label:{}}}",
                one.carriers.len(),
                one.hits,
                one.label
            );
            findings.push(Finding {
                detector: "new-words",
                what,
                feature: shown.clone(),
                score: (2.0 * nats).sqrt(),
                records: records.clone(),
            });
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_word_of_one_label_is_found_even_where_labels_are_right() {
        let text = |at: u64| format!("text {} is about thing {} and {}", at % 17, at % 23, at % 5);
        let (mut set, mut tokens) = (TokenSet::new(20), Tokens::default());
        for at in 0..500 {
            set.add(&mut tokens, &text(at));
        }
        let mut burst = Box::new(TokenBurst::new(Arc::new(set), 2, Settings::default()));
        for pass in 0..2 {
            for at in 0..500 {
                let planted = at % 40 == 1;
                let text = if planted { format!("{} cf", text(at)) } else { text(at) };
                burst.observe(
                    pass,
                    &Example {
                        record: at,
                        label: Some(u32::from(at % 2 == 1)),
                        contributor: None,
                        text: &text,
                        cells: &[],
                        image: None,
                    },
                );
            }
        }
        let found = burst.finish();
        assert_eq!((found.len(), found[0].records.len()), (1, 13));
    }
}
