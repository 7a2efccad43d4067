//! D3: words and phrases whose carriers have a label that the rest of their words does not explain.
//!
//! For every n-gram of one to five tokens (and odd spellings) that nearly all stand in records of one label: take out
//! its own words, and all n-grams' words that stand in the same records, and ask what the rest of each carrier says
//! of the label ([`expect`]). Honest words of a label stand among other words of that label; the carriers of a planted
//! trigger read like the other labels' texts, or like any text. The likelihood ratio of the two, in nats, is compared
//! with the number of n-grams that were pure enough to be asked, so the bar holds at any size of the dataset (Markov's
//! inequality: honest n-grams that reach `b` nats by chance are fewer than e^−b of those asked).
//!
//! Four passes: count in a filter and learn; count exactly what comes up often; collect carriers; judge them.
//! Memory: the filter (32 MiB), hot n-grams (24 bytes each, at most 2^21, in a table of up to 192 MiB), carriers
//! (4 + 8 bytes for each of at most 2^23) and the models (see [`expect`]).
//!
//! Not found: triggers in records whose label was right (clean-label; see [`crate::dataset::detect::text::burst`]), and a change of style.

mod candidates;
mod evidence;
mod expect;
mod fit;

mod hot;

use crate::dataset::detect::example::{Detector, Example, Finding};
use crate::dataset::detect::text::count_filter::CountFilter;
use crate::dataset::detect::text::tokens::{Kind, Token, Tokens, grams, mix, printable};
pub(crate) use candidates::Candidates;
use candidates::{Group, group};
use evidence::{Evidence, Verdict, sketch, stretch, untouched};
use expect::{Expectation, Reading};
pub(crate) use hot::{Hot, HotTable};

/// The bars and bounds.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The counting filter has 2^this counters of a byte.
    pub filter_bits: u32,
    /// N-grams counted exactly at most.
    pub hot: usize,
    /// N-grams judged at most: the rest, those with the fewest carriers beyond expectation, are left out.
    pub candidates: usize,
    /// Carriers of all n-grams judged, at most.
    pub carriers: usize,
    /// Carriers a finding needs, whose rests are distinct.
    pub support: u32,
    /// Share of carriers with the one label.
    pub purity: f64,
    /// Standard deviations by which they exceed what their rests say.
    pub score: f64,
    /// Nats for a planted pattern beyond the logarithm of the number of n-grams as pure and as frequent.
    pub nats: f64,
    /// Bars of which all must be passed where [`Settings::nats`] are not.
    pub sure: Sure,
}

/// A pattern with few carriers, all of one label, which the rest of none of them explains.
#[derive(Clone, Copy, Debug)]
pub struct Sure {
    /// Carriers with distinct rests.
    pub support: u32,
    /// Share of carriers with the one label.
    pub purity: f64,
    /// Standard deviations.
    pub score: f64,
    /// Standard deviations by the square root of the carriers.
    pub effect: f64,
    /// Nats for a planted pattern, however many were asked.
    pub nats: f64,
}

impl Default for Sure {
    fn default() -> Self {
        Self { support: 8, purity: 0.95, score: 5.0, effect: 1.5, nats: 4.0 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            filter_bits: 25,
            hot: 1 << 21,
            candidates: 1 << 16,
            carriers: 1 << 23,
            support: 5,
            purity: 0.8,
            score: 3.0,
            nats: 3.5,
            sure: Sure::default(),
        }
    }
}

/// The detector.
#[derive(Debug)]
pub struct TextTrigger {
    settings: Settings,
    tokens: Tokens,
    reading: Reading,
    filter: CountFilter,
    hot: HotTable,
    expect: Expectation,
    candidates: Candidates,
    groups: Vec<Group>,
    evidence: Vec<Evidence>,
    /// (labelled text, group), ascending, and how far pass 3 has come in it.
    links: Vec<(u32, u32)>,
    link: usize,
    pass: u32,
    /// Number of the next labelled text of this pass.
    next: u32,
    /// Neighbours in all, and those that stand together more than once.
    pairs: [u64; 2],
}

impl TextTrigger {
    /// For labels 0 to `labels` − 1.
    #[must_use]
    pub fn new(labels: usize, settings: Settings) -> Self {
        Self {
            settings,
            tokens: Tokens::default(),
            reading: Reading::default(),
            filter: CountFilter::new(settings.filter_bits),
            hot: HotTable::new(settings.hot),
            expect: Expectation::new(labels),
            candidates: Candidates::default(),
            groups: Vec::new(),
            evidence: Vec::new(),
            links: Vec::new(),
            link: 0,
            pass: 0,
            next: 0,
            pairs: [0; 2],
        }
    }

    /// Between two passes.
    fn turn(&mut self) {
        match self.pass {
            1 => self.expect.learned(),
            2 => self.choose(),
            3 => self.gather(),
            _ => {}
        }
        self.next = 0;
    }

    /// The n-grams to be judged.
    fn choose(&mut self) {
        let Settings { support, purity, .. } = self.settings;
        let mut hot = self.hot.take();
        let most = self.next / 3 + support;
        hot.retain(|hot| {
            hot.carriers >= support
                && hot.carriers <= most
                && f64::from(hot.lead) + 1e-9 >= (2.0 * purity - 1.0) * f64::from(hot.carriers)
        });
        let beyond = |hot: &Hot| f64::from(hot.carriers) * (1.0 - self.expect.share(hot.label));
        hot.sort_by(|a, b| beyond(b).total_cmp(&beyond(a)).then(a.key.cmp(&b.key)));
        hot.truncate(self.settings.candidates);
        let mut room = self.settings.carriers;
        hot.retain(|hot| {
            let fits = hot.carriers as usize <= room;
            room -= if fits { hot.carriers as usize } else { 0 };
            fits
        });
        hot.sort_unstable_by_key(|hot| hot.key);
        self.candidates = Candidates::new(&hot);
    }

    /// Their carriers are known: which of them stand in the same records.
    fn gather(&mut self) {
        self.expect.calibrated();
        let (support, purity) = (self.settings.support as usize, self.settings.purity);
        self.candidates
            .all
            .retain(|one| one.carriers.len() >= support && f64::from(one.hits) >= purity * one.carriers.len() as f64);
        self.groups = group(&self.candidates.all, 0.75);
        for group in &mut self.groups {
            group.buckets = group.words.iter().map(|&word| self.expect.bucket(word)).collect();
            group.buckets.sort_unstable();
            group.buckets.dedup();
        }
        for one in &mut self.candidates.all {
            one.carriers = Vec::new();
        }
        self.evidence = vec![Evidence::default(); self.groups.len()];
        let links = self
            .groups
            .iter_mut()
            .zip(0..)
            .flat_map(|(group, id)| std::mem::take(&mut group.carriers).into_iter().map(move |text| (text, id)));
        self.links = links.collect();
        self.links.sort_unstable();
    }

    /// Pass 0.
    fn count(&mut self, number: u32, label: u32) {
        self.expect.learn(&self.tokens, number, label, &mut self.reading);
        grams(&self.tokens.line, |hash, _, _| {
            self.filter.add(hash);
            true
        });
        for (odd, _) in &self.tokens.odd {
            self.filter.add(odd.hash);
        }
    }

    /// Pass 1. What comes up often has parts that do.
    fn count_exactly(&mut self, number: u32, label: u32) {
        let support = u8::try_from(self.settings.support).unwrap_or(u8::MAX);
        grams(&self.tokens.line, |hash, _, _| {
            let often = self.filter.count(hash) >= support;
            if often {
                self.hot.add(hash, number, label);
            }
            often
        });
        for (odd, _) in &self.tokens.odd {
            if self.filter.count(odd.hash) >= support {
                self.hot.add(odd.hash, number, label);
            }
        }
    }

    /// Pass 2.
    fn collect(&mut self, number: u32, label: u32) {
        self.expect.read(&self.tokens, number, &mut self.reading);
        self.expect.calibrate(&self.reading, label);
        for pair in self.tokens.line.windows(2) {
            if let [first, second] = pair {
                self.pairs[0] += 1;
                self.pairs[1] += u64::from(self.filter.count(mix(first.hash, second.hash)) >= 2);
            }
        }
        let line = &self.tokens.line;
        grams(line, |hash, from, many| {
            if let Some(one) = self.candidates.get(hash) {
                one.meet(number, label, || line.iter().skip(from).take(many).map(|token| token.hash).collect());
            }
            true
        });
        for (odd, word) in &self.tokens.odd {
            if let Some(one) = self.candidates.get(odd.hash) {
                one.meet(number, label, || vec![*word]);
            }
        }
    }

    /// Pass 3.
    fn judge(&mut self, number: u32, label: u32, example: &Example<'_>) {
        let due = self.links.iter().skip(self.link).take_while(|link| link.0 == number).count();
        if due == 0 {
            return;
        }
        let from = self.link;
        self.link += due;
        self.tokens.read(example.text);
        self.expect.read(&self.tokens, number, &mut self.reading);
        let whole = sketch(&self.reading.words, &[]);
        let (mut scores, mut gone) = (Vec::new(), Vec::new());
        for (_, id) in self.links.iter().skip(from).take(due) {
            let id = *id as usize;
            let (Some(group), Some(evidence)) = (self.groups.get(id), self.evidence.get_mut(id)) else { continue };
            gone.clear();
            gone.extend(group.buckets.iter().copied().filter(|&word| self.expect.present(word)));
            scores.clone_from(&self.reading.scores);
            for &word in &gone {
                self.expect.drop_word(&self.reading, word, &mut scores);
            }
            let left = self.reading.words.len().saturating_sub(gone.len());
            let chance = self.expect.chance(left, Expectation::odds(&scores, group.label));
            evidence.add(example.record, label == group.label, chance, self.expect.share(group.label));
            if evidence.compares() {
                let rest = if untouched(&whole, &gone) { whole } else { sketch(&self.reading.words, &gone) };
                self.expect.mark(&gone);
                let ours =
                    |token: &Token| token.kind != Kind::Edge && self.expect.marked(self.expect.bucket(token.hash));
                let (before, after, start, end) = stretch(&self.tokens.line, ours);
                let together = self.filter.count(mix(before, after)) >= 1;
                evidence.compare(rest, together, example.text.get(start as usize..end as usize).unwrap_or_default());
            }
        }
    }

    /// Whether a verdict is past the bars, given all verdicts.
    fn is_planted(&self, verdict: &Verdict, all: &[(usize, Verdict)]) -> bool {
        let Settings { support, score, nats, sure, .. } = self.settings;
        if verdict.carriers < f64::from(support) || verdict.score < score || verdict.nats < sure.nats {
            return false;
        }
        let effect = verdict.score / verdict.carriers.sqrt();
        if verdict.carriers >= f64::from(sure.support)
            && verdict.purity >= sure.purity
            && verdict.score >= sure.score
            && effect >= sure.effect
        {
            return true;
        }
        // How many were asked that are as frequent and as pure.
        let asked = all
            .iter()
            .filter(|(_, other)| other.carriers >= verdict.carriers && other.purity >= verdict.purity)
            .count();
        verdict.nats >= (asked.max(1) as f64).ln() + nats
    }

    fn finding(&self, id: usize, verdict: &Verdict) -> Option<Finding> {
        let (group, evidence) = (self.groups.get(id)?, self.evidence.get(id)?);
        let feature = printable(&evidence.stretch, 80);
        let (all, hits) = (evidence.carriers, evidence.records.len());
        let what = format!(
            "\"{feature}\" stands in {all} records, {hits} of them labelled {{label:{}}}; their other words speak for {{label:{}}} in {:.0}",
            group.label, group.label, evidence.expected
        );
        Some(Finding {
            detector: "text-trigger",
            what,
            feature,
            score: verdict.score,
            records: evidence.records.clone(),
        })
    }
}

impl Detector for TextTrigger {
    fn passes(&self) -> u32 {
        4
    }

    fn observe(&mut self, pass: u32, example: &Example<'_>) {
        while self.pass < pass {
            self.pass += 1;
            self.turn();
        }
        let Some(label) = example.label else { return };
        if example.text.is_empty() || self.next == u32::MAX - 1 {
            return;
        }
        let number = self.next;
        self.next += 1;
        if pass < 3 {
            self.tokens.read(example.text);
        }
        match pass {
            0 => self.count(number, label),
            1 => self.count_exactly(number, label),
            2 => self.collect(number, label),
            _ => self.judge(number, label, example),
        }
    }

    fn finish(self: Box<Self>) -> Vec<Finding> {
        let usual = self.pairs[1] as f64 / (self.pairs[0].max(1) as f64);
        let mut verdicts: Vec<(usize, Verdict)> =
            self.evidence.iter().map(|evidence| evidence.verdict(usual)).enumerate().collect();
        verdicts.sort_by(|a, b| b.1.nats.total_cmp(&a.1.nats).then(a.0.cmp(&b.0)));
        let mut planted = Vec::new();
        for (id, verdict) in &verdicts {
            if self.is_planted(verdict, &verdicts) {
                planted.push((*id, *verdict));
            }
        }
        // An n-gram that mostly stands where a more telling one does says nothing new.
        let mut findings: Vec<Finding> = Vec::new();
        let mut flagged = std::collections::HashSet::new();
        for (id, verdict) in &planted {
            let Some(finding) = self.finding(*id, verdict) else { continue };
            let known = finding.records.iter().filter(|&record| flagged.contains(record)).count();
            if known * 2 < finding.records.len() {
                flagged.extend(finding.records.iter().copied());
                findings.push(finding);
            }
        }
        findings.sort_by(|a, b| b.score.total_cmp(&a.score));
        findings
    }
}

#[cfg(test)]
mod tests;
