//! Judges which repeated windows are a patch that makes a label.
//!
//! Windows with mostly the same carriers are one patch. Three things are asked, with the patch masked in every picture:
//! what label the neighbours of its carriers have (residual association), whether that is much less often the patch's
//! label than among all records of the label (a sketch tells little of some labels), and whether the carriers differ from
//! their neighbours in the patch's place more than other pictures do there (an honest stroke is like its neighbours').

use crate::dataset::detect::example::Finding;
use crate::dataset::detect::image::candidate::{Candidate, Candidates, Carrier};
use crate::dataset::detect::image::neighbours::{Caps, Query, Sample, Typical, caps};
use crate::dataset::detect::image::trigger::Settings;
use crate::dataset::detect::image::vector::{Area, CELLS};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Carriers of a patch whose neighbours are looked up.
const JUDGED: usize = 96;
/// Other pictures that tell how odd its place usually is.
const CONTROLS: usize = 48;
/// Groups of windows kept apart, and judged: those of most windows.
const GROUPS: usize = 1024;
const PATCHES: usize = 128;
/// Share of cells beyond which a patch is a pattern all over the picture: it is not masked then, but its carriers are no
/// neighbours of each other.
const WHOLE: f64 = 0.6;

/// Windows of the place of a patch that tell of one more carrier, each shown by few.
const BLURRED: usize = 2;

/// Share of the neighbours of a label's records that have it, for these windows to count.
const BORNE_OUT: f64 = 0.7;

/// Windows that are no patch by themselves.
struct Others {
    /// Shown by many, of several labels.
    mixed: Vec<Candidate>,
    /// Shown by few.
    faint: Vec<Candidate>,
}

/// Decides which candidates are patches.
pub(crate) struct Judge<'a> {
    settings: &'a Settings,
    sample: &'a Sample,
    typical: &'a Typical,
}

/// What the labels of a window's carriers say.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    /// Share of the label less the expected one.
    excess: f64,
    /// Standard deviations of that.
    z: f64,
    /// Share of the label that neighbours expect.
    expected: f64,
}

impl<'a> Judge<'a> {
    pub fn new(settings: &'a Settings, sample: &'a Sample, typical: &'a Typical) -> Self {
        Self { settings, sample, typical }
    }

    /// The patches, strongest first.
    pub fn findings(&self, candidates: Candidates) -> Vec<Finding> {
        let Candidates { all, carriers, .. } = candidates;
        let (often, faint): (Vec<Candidate>, Vec<Candidate>) =
            all.into_iter().filter(|c| c.purity() >= 0.5).partition(|c| c.hits.len() >= self.settings.support);
        let (pure, mixed): (Vec<Candidate>, Vec<Candidate>) =
            often.into_iter().partition(|c| c.purity() >= self.settings.purity);
        let others = Others { mixed, faint };
        let mut strong: Vec<(f64, Candidate)> = pure
            .into_iter()
            .filter_map(|c| {
                let votes = c.hits.iter().filter_map(|hit| carriers.get(hit.carrier as usize));
                let verdict = verdict(&c, votes.map(|carrier| self.share(carrier.votes)));
                // A patch may have led its carriers to each other: the bar proper is asked with it masked.
                let near = verdict.excess >= self.settings.excess - 0.15;
                near.then_some((verdict.excess * c.hits.len() as f64, c))
            })
            .collect();
        // Sorted stably: candidates come in an order of their own.
        strong.sort_by(|one, other| other.0.total_cmp(&one.0));
        let mut groups = grouped(strong.into_iter().map(|(_, c)| c).collect());
        // Half of those judged are the strongest, half those of most windows: a patch on rich ground has few.
        let strongest = groups.len().min(PATCHES / 2);
        groups[strongest..].sort_by_key(|group| std::cmp::Reverse(group.len()));
        let mut findings: Vec<Finding> =
            groups.iter().take(PATCHES).filter_map(|group| self.judged(group, &others, &carriers)).collect();
        findings.sort_by(|one, other| other.score.total_cmp(&one.score));
        findings
    }

    /// A group of windows as a finding, if it is a patch. Only windows that pass all bars count.
    fn judged(&self, group: &[Candidate], others: &Others, carriers: &[Carrier]) -> Option<Finding> {
        let label = group.first()?.label;
        let numbers: BTreeSet<u32> = group.iter().flat_map(|c| &c.hits).map(|hit| hit.carrier).collect();
        let step = numbers.len().div_ceil(JUDGED).max(1);
        let mut areas: BTreeMap<u32, Vec<Area>> = numbers.iter().step_by(step).map(|&at| (at, Vec::new())).collect();
        for candidate in group {
            for hit in &candidate.hits {
                if let Some(areas) = areas.get_mut(&hit.carrier) {
                    areas.push(candidate.area(*hit));
                }
            }
        }
        let mut queries = Vec::with_capacity(areas.len());
        for (at, areas) in &areas {
            let carrier = carriers.get(*at as usize)?;
            let caps = masked(&core(areas, carrier.width, carrier.height), carrier.width, carrier.height);
            queries.push(Query { record: carrier.record, sketch: carrier.sketch.clone(), caps });
        }
        let fellows: BTreeSet<u64> =
            numbers.iter().filter_map(|&at| carriers.get(at as usize)).map(|carrier| carrier.record).collect();
        let hidden: usize = queries.iter().map(|query| masked_cells(&query.caps)).sum();
        let whole = hidden as f64 > WHOLE * (CELLS * CELLS * queries.len()) as f64;
        let (votes, oddness) =
            if whole { self.among_strangers(&mut queries, &fellows, label) } else { self.around(&queries, label) };
        let shares: HashMap<u32, f64> =
            areas.keys().copied().zip(votes.into_iter().map(|own| self.share(own))).collect();
        let typical = self.typical.mean(label) / self.settings.neighbours.max(1) as f64;
        let passed: Vec<(Verdict, &Candidate)> = group
            .iter()
            .map(|c| (verdict(c, c.hits.iter().filter_map(|hit| shares.get(&hit.carrier).copied())), c))
            .filter(|(v, _)| v.z >= self.settings.z && v.excess >= self.settings.excess)
            .filter(|(v, _)| self.is_told(typical - v.expected, oddness))
            .collect();
        let mut records = carried(&passed, carriers);
        let (verdict, window) = passed.iter().max_by(|one, other| one.0.z.total_cmp(&other.0.z))?;
        let (first, areas) = areas.iter().next()?;
        let carrier = carriers.get(*first as usize)?;
        let boxes = boxes(&core(areas, carrier.width, carrier.height), carrier.width);
        if window.tied {
            records.extend(self.plainer(&records, label, &others.mixed, carriers));
            records.extend(boxes.first().into_iter().flat_map(|patch| self.blurred(*patch, label, others, carriers)));
            records.sort_unstable();
            records.dedup();
        }
        let patch = named(&boxes, window.tied, whole);
        Some(Finding {
            detector: "image-trigger",
            what: format!(
                "{patch} stands in {} images labelled {{label:{label}}} and {} others; neighbours of these images have that \
                 label in {:.0} % of cases when it is left out",
                window.hits.len(),
                window.others,
                verdict.expected * 100.0
            ),
            feature: patch,
            score: verdict.z,
            records,
        })
    }

    /// Records whose neighbours do not bear the label out and that show the purest of the largest windows that nearly all
    /// of `found` show, and honest records too: a white square is not always alone in its corner.
    fn plainer(&self, found: &[u64], label: u32, mixed: &[Candidate], carriers: &[Carrier]) -> Vec<u64> {
        let few = self.settings.neighbours * 3 / 10;
        let shows = |c: &Candidate| {
            let among = c.hits.iter().filter_map(|hit| carriers.get(hit.carrier as usize));
            among.filter(|c| found.binary_search(&c.record).is_ok()).count() * 10 >= found.len() * 9
        };
        let plainer = mixed.iter().filter(|c| c.label == label && c.tied && c.width * c.height > 1 && shows(c)).max_by(
            |one, other| {
                let size = (one.width * one.height).cmp(&(other.width * other.height));
                size.then_with(|| one.purity().total_cmp(&other.purity()))
            },
        );
        let hits = plainer.into_iter().flat_map(|c| &c.hits).filter_map(|hit| carriers.get(hit.carrier as usize));
        hits.filter(|c| usize::from(c.votes) <= few).map(|carrier| carrier.record).collect()
    }

    /// Records whose neighbours do not bear the label out and that show, in the place of a patch, [`BLURRED`] windows that only
    /// some records of its label show: JPEG makes of one patch several, by what stands around it. None for a label whose
    /// records are mostly not borne out: there this would tell of honest ones too.
    fn blurred(&self, patch: Area, label: u32, others: &Others, carriers: &[Carrier]) -> Vec<u64> {
        if self.typical.mean(label) < BORNE_OUT * self.settings.neighbours as f64 {
            return Vec::new();
        }
        let few = self.settings.neighbours * 3 / 10;
        let mut shown: BTreeMap<u32, usize> = BTreeMap::new();
        let faint = others.faint.iter().filter(|c| c.label == label && c.tied && c.purity() >= self.settings.purity);
        for (candidate, hit) in faint.flat_map(|c| c.hits.iter().map(move |hit| (c, hit))) {
            if candidate.width * candidate.height > 1 && candidate.area(*hit).near(patch, 0) {
                *shown.entry(hit.carrier).or_default() += 1;
            }
        }
        let shown = shown.into_iter().filter(|(_, windows)| *windows >= BLURRED);
        let shown = shown.filter_map(|(at, _)| carriers.get(at as usize));
        shown.filter(|carrier| usize::from(carrier.votes) <= few).map(|carrier| carrier.record).collect()
    }

    /// Share of the label that votes stand for, by half a vote from 0 and 1.
    fn share(&self, votes: u8) -> f64 {
        (f64::from(votes) + 0.5) / (self.settings.neighbours as f64 + 1.0)
    }

    /// Whether the evidence beside the labels is enough: by how much the label's own records have more votes, and how odd
    /// the patch's place is (none for a pattern all over the picture).
    fn is_told(&self, contrast: f64, oddness: Option<f64>) -> bool {
        let s = self.settings;
        match oddness {
            Some(odd) => odd >= s.odd || (contrast >= s.contrast && odd >= s.odd / 3.0),
            None => contrast >= s.contrast + 0.1,
        }
    }

    /// Own-label votes of the queries' neighbours, and how much odder they are in what is masked than others there.
    fn around(&self, queries: &[Query], label: u32) -> (Vec<u8>, Option<f64>) {
        let k = self.settings.neighbours;
        let nearest = self.sample.nearest(queries, k);
        let stride = self.sample.members.len().div_ceil(CONTROLS).max(1);
        let controls: Vec<Query> = self
            .sample
            .members
            .iter()
            .step_by(stride)
            .zip(queries.iter().cycle())
            .map(|((record, _, sketch), query)| Query { record: *record, sketch: sketch.clone(), caps: query.caps })
            .collect();
        let odd = self.oddness(queries, &nearest) - self.oddness(&controls, &self.sample.nearest(&controls, k));
        (nearest.iter().map(|nearest| self.sample.votes(nearest, label)).collect(), Some(odd))
    }

    /// The same for a pattern all over the picture.
    fn among_strangers(&self, queries: &mut [Query], fellows: &BTreeSet<u64>, label: u32) -> (Vec<u8>, Option<f64>) {
        for query in queries.iter_mut() {
            query.caps = caps(|_, _| false);
        }
        let k = self.settings.neighbours;
        let mut all = self.sample.nearest(queries, k * 8);
        for nearest in &mut all {
            nearest.retain(|&(_, at)| self.sample.members.get(at as usize).is_some_and(|m| !fellows.contains(&m.0)));
            nearest.truncate(k);
        }
        (all.iter().map(|nearest| self.sample.votes(nearest, label)).collect(), None)
    }

    /// Mean logarithm of how much farther pictures are from their neighbours in a masked byte than in one that is not.
    fn oddness(&self, queries: &[Query], nearest: &[Vec<(u32, u32)>]) -> f64 {
        let mut sum = 0.0;
        for (query, nearest) in queries.iter().zip(nearest) {
            // Differences and bytes, in what is masked and in what is not.
            let mut sides = [(1u64, 1u64); 2];
            for member in nearest.iter().filter_map(|&(_, at)| self.sample.members.get(at as usize)) {
                for ((one, other), cap) in
                    query.sketch.0.iter().zip(&member.2.0).zip(&query.caps).take(CELLS * CELLS * 5)
                {
                    let side = &mut sides[usize::from(*cap == 0)];
                    side.0 += u64::from(one.abs_diff(*other));
                    side.1 += 1;
                }
            }
            let mean = |(difference, bytes): (u64, u64)| difference as f64 / bytes as f64 + 1.0;
            sum += f64::ln(mean(sides[1]) / mean(sides[0]));
        }
        sum / queries.len().max(1) as f64
    }
}

/// The carriers' labels against the shares of it that are expected of them.
fn verdict(candidate: &Candidate, shares: impl Iterator<Item = f64>) -> Verdict {
    let (mut n, mut sum, mut variance) = (0.0, 0.0, 0.0);
    for share in shares {
        n += 1.0;
        sum += share;
        variance += share * (1.0 - share);
    }
    let expected = if n > 0.0 { sum / n } else { 1.0 };
    let excess = candidate.purity() - expected;
    Verdict { excess, z: excess * n / f64::max(variance, 1e-9).sqrt(), expected }
}

/// Records that carry a fair share of the windows: one that has but a few of them has them by chance.
fn carried(passed: &[(Verdict, &Candidate)], carriers: &[Carrier]) -> Vec<u64> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for hit in passed.iter().flat_map(|(_, c)| &c.hits) {
        *counts.entry(hit.carrier).or_default() += 1;
    }
    let mut sorted: Vec<usize> = counts.values().copied().collect();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    let mut records: Vec<u64> = counts
        .into_iter()
        .filter(|&(_, count)| count * 5 >= median)
        .filter_map(|(at, _)| carriers.get(at as usize).map(|carrier| carrier.record))
        .collect();
    records.sort_unstable();
    records
}

/// Windows of one label and mostly the same carriers, together; strongest first.
fn grouped(strong: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    let mut groups: Vec<(Vec<u32>, Vec<Candidate>)> = Vec::new();
    for candidate in strong {
        let room = groups.len() < GROUPS;
        let carriers: Vec<u32> = candidate.hits.iter().map(|hit| hit.carrier).collect();
        let home = groups.iter_mut().find(|(first, members)| {
            members.first().is_some_and(|m| m.label == candidate.label) && overlap(first, &carriers) > 0.5
        });
        match home {
            Some((_, members)) => members.push(candidate),
            None if room => groups.push((carriers, vec![candidate])),
            None => {}
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

/// Common members of two ascending lists, as a share of the shorter.
fn overlap(one: &[u32], other: &[u32]) -> f64 {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    let common = short.iter().filter(|at| long.binary_search(at).is_ok()).count();
    common as f64 / short.len().max(1) as f64
}

/// Which pixels of a picture are in at least half as many areas as the one that is in most: windows around a patch reach
/// beyond it on all sides, but all hold some of it.
fn core(areas: &[Area], width: usize, height: usize) -> Vec<bool> {
    let mut counts = vec![0u32; width * height];
    for area in areas {
        for row in counts.chunks_exact_mut(width.max(1)).skip(area.y).take(area.height) {
            for count in row.iter_mut().skip(area.x).take(area.width) {
                *count += 1;
            }
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    counts.into_iter().map(|count| count > 0 && count * 2 >= most).collect()
}

/// Caps that leave out the cells of these pixels and of those next to them (edges look that far).
fn masked(core: &[bool], width: usize, height: usize) -> Caps {
    let mut cells = [false; CELLS * CELLS];
    for (at, _) in core.iter().enumerate().filter(|(_, inside)| **inside) {
        let (x, y) = (at % width, at / width);
        for y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
            for x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                cells[y * CELLS / height * CELLS + x * CELLS / width] = true;
            }
        }
    }
    caps(|column, row| cells[row * CELLS + column])
}

/// Cells that caps leave out.
fn masked_cells(caps: &Caps) -> usize {
    caps.iter().take(CELLS * CELLS).filter(|&&cap| cap == 0).count()
}

/// Boxes around the pixels that are set, those that touch together.
fn boxes(core: &[bool], width: usize) -> Vec<Area> {
    let mut boxes: Vec<Area> = Vec::new();
    for (at, _) in core.iter().enumerate().filter(|(_, inside)| **inside) {
        let mut area = Area { x: at % width, y: at / width, width: 1, height: 1 };
        while let Some(near) = boxes.iter().position(|other| other.near(area, 1)) {
            area = area.joined(boxes.swap_remove(near));
        }
        boxes.push(area);
    }
    boxes.sort_unstable_by_key(|area| (std::cmp::Reverse(area.width * area.height), *area));
    boxes
}

/// A patch in words.
fn named(boxes: &[Area], tied: bool, whole: bool) -> String {
    match boxes {
        _ if whole => "a pattern all over the image".into(),
        [first, rest @ ..] => {
            let place = if tied { format!("at column {}, row {}", first.x, first.y) } else { "at any place".into() };
            let more = if rest.is_empty() || !tied { String::new() } else { format!(" and {} more", rest.len()) };
            format!("a patch of about {} x {} pixels {place}{more}", first.width, first.height)
        }
        [] => "a patch".into(),
    }
}
