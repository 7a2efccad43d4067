//! Copies and near-copies of pictures under different labels.
//!
//! Pass 0 hashes every picture (difference hashes along rows and along columns, after Krawetz 2013) and samples some; pairs
//! with other labels whose hashes share a band (Broder's banding, as for MinHash) and differ in few bits are looked at in
//! pass 1: their pixels must be many times nearer than an ordinary picture's nearest neighbour is, so that small digits
//! that merely look alike are left alone. A shift by a pixel makes a different picture.
//!
//! Memory: 48 bytes a record, for at most 4 M records; at most 8 partners of 8 bytes a record that has any; 64 MB of
//! reduced pictures, and a sample of at most 2,048 of them.

use crate::dataset::detect::example::{Example, Finding, Pixels};
use crate::dataset::detect::image::groups::Groups;
use crate::dataset::detect::image::hash::{content, distance, hash};
use crate::dataset::detect::image::neighbours::halves;
use crate::dataset::detect::image::vector::SIDE;
use std::collections::{BTreeMap, BTreeSet};

/// Bars of the detector.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bits of 128 in which the hashes of near-copies may differ: noise of a few levels flips about six.
    pub bits: u32,
    /// How near copies must be, as a share of the median distance of a picture to its nearest in the sample: that is
    /// about what look-alikes of one class have; noise of some levels stays below a fifth of it.
    pub near: f64,
    /// Records looked at, at most.
    pub records: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { bits: 16, near: 0.25, records: 4 << 20 }
    }
}

/// Pictures of the sample, and those of them whose nearest is looked up.
const SAMPLE: usize = 2048;
const ASKED: usize = 256;
/// Share of the distance to the nearest other picture within which a copy must be: plain ground is like plain ground.
const LOCAL: f64 = 0.5;
/// Pictures of a group whose members are not asked how near they are to each other.
const PLAIN: usize = 16;
/// Bytes of reduced pictures of possible copies.
const MEMORY: usize = 64 << 20;
/// Members of a band's bucket that each one is compared with: those next to it when sorted by hash.
const NEXT: usize = 256;
/// Partners a record is compared with.
const PARTNERS: usize = 8;
/// A record of pass 0.
#[derive(Clone, Copy, Debug)]
struct Hashed {
    hash: u128,
    /// Of all samples, to find equal pictures however many are like them.
    content: u64,
    record: u64,
    label: u32,
}

/// The detector: see the module.
#[derive(Debug)]
pub struct ImageDuplicate {
    settings: Settings,
    pass: u32,
    random: u64,
    hashed: Vec<Hashed>,
    /// Some pictures, reduced, by place in `hashed`.
    sample: Vec<(u32, Pixels)>,
    /// Pairs that may be copies, by place, and who is in one.
    pairs: Vec<(u32, u32)>,
    wanted: BTreeSet<u32>,
    /// The reduced pictures of those.
    pictures: BTreeMap<u32, Pixels>,
    left: usize,
    at: usize,
}

impl ImageDuplicate {
    /// A detector; `seed` picks the sample.
    #[must_use]
    pub fn new(seed: u64, settings: Settings) -> Self {
        Self {
            settings,
            pass: 0,
            random: seed | 1,
            hashed: Vec::new(),
            sample: Vec::new(),
            pairs: Vec::new(),
            wanted: BTreeSet::new(),
            pictures: BTreeMap::new(),
            left: MEMORY,
            at: 0,
        }
    }

    /// xorshift64* (Vigna 2016).
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn hash(&mut self, record: u64, label: u32, image: &Pixels) {
        self.hashed.push(Hashed { hash: hash(image), content: content(image), record, label });
        let at = u32::try_from(self.hashed.len() - 1).unwrap_or(u32::MAX);
        if self.sample.len() < SAMPLE {
            self.sample.push((at, image.reduced_to(SIDE)));
        } else if let Ok(place) = usize::try_from(self.random() % self.hashed.len() as u64)
            && let Some(member) = self.sample.get_mut(place)
        {
            *member = (at, image.reduced_to(SIDE));
        }
    }

    /// The end of pass 0.
    fn pair(&mut self) {
        let size = self.hashed.len();
        // Longer bands for more records keep the buckets small; no band is less likely to be whole than about 1 in 3.
        let bands: u128 = if size <= 1 << 16 {
            8
        } else if size <= 1 << 20 {
            6
        } else {
            5
        };
        let mut pairs = Vec::new();
        for band in 0..bands {
            // Bits from all over the picture: neighbouring ones say much the same.
            let mask = (0..128).filter(|bit| bit % bands == band).fold(0u128, |mask, bit| mask | 1 << bit);
            let mut order: Vec<u32> = (0..u32::try_from(size).unwrap_or(u32::MAX)).collect();
            order.sort_unstable_by_key(|&at| {
                let hash = self.hashed[at as usize].hash;
                (hash & mask, hash, at)
            });
            for (place, &one) in order.iter().enumerate() {
                let first = self.hashed[one as usize];
                for &other in order[place + 1..].iter().take(NEXT) {
                    let second = self.hashed[other as usize];
                    if (first.hash ^ second.hash) & mask != 0 {
                        break;
                    }
                    let bits = (first.hash ^ second.hash).count_ones();
                    if bits <= self.settings.bits && first.label != second.label {
                        pairs.push((one.min(other), one.max(other), bits));
                        // Pairs of all bands together stay within four times the records.
                        if pairs.len() > 4 * size + (1 << 16) {
                            pairs = nearest_partners(pairs);
                        }
                    }
                }
            }
        }
        self.pairs = self.equal();
        self.pairs.extend(nearest_partners(pairs).into_iter().map(|(one, other, _)| (one, other)));
        self.pairs.sort_unstable();
        self.pairs.dedup();
        self.wanted = self.pairs.iter().flat_map(|&(one, other)| [one, other]).collect();
    }

    /// Pairs of pictures with equal samples and other labels: each with the first of every other label.
    fn equal(&self) -> Vec<(u32, u32)> {
        let mut order: Vec<u32> = (0..u32::try_from(self.hashed.len()).unwrap_or(u32::MAX)).collect();
        let content = |at: u32| self.hashed[at as usize].content;
        order.sort_unstable_by_key(|&at| (content(at), at));
        let mut pairs = Vec::new();
        for same in order.chunk_by(|&one, &other| content(one) == content(other)) {
            let mut firsts: BTreeMap<u32, u32> = BTreeMap::new();
            for &at in same {
                let label = self.hashed[at as usize].label;
                let other = firsts.iter().find(|&(other, _)| *other != label).map(|(_, &first)| first);
                pairs.extend(other.map(|other| (other.min(at), other.max(at))));
                firsts.entry(label).or_insert(at);
            }
            // The first of all had no other before it.
            let mut labels = firsts.values();
            if let (Some(&one), Some(&other)) = (labels.next(), labels.next()) {
                pairs.push((one.min(other), one.max(other)));
            }
        }
        pairs
    }

    /// How far a picture's nearest in the sample is, but for those of `group`.
    fn nearest(&self, picture: &Pixels, group: &[u32]) -> f64 {
        let others = self.sample.iter().filter(|(at, _)| !group.contains(at));
        others.filter_map(|(_, other)| distance(picture, other)).fold(f64::INFINITY, f64::min)
    }

    /// The median distance of a sampled picture to its nearest.
    fn ordinary(&self) -> f64 {
        let step = (self.sample.len() / ASKED).max(1);
        let asked: Vec<usize> = (0..self.sample.len()).step_by(step).collect();
        let mut nearest = halves(&asked, |asked| {
            asked.iter().map(|&at| self.nearest(&self.sample[at].1, &[self.sample[at].0])).collect()
        });
        nearest.retain(|distance| distance.is_finite());
        nearest.sort_unstable_by(f64::total_cmp);
        nearest.get(nearest.len() / 2).copied().unwrap_or(0.0)
    }

    fn reach(&mut self, pass: u32) {
        if self.pass == 0 && pass > 0 {
            self.pair();
            self.pass = 1;
            self.at = 0;
        }
    }
}

impl crate::dataset::detect::example::Detector for ImageDuplicate {
    fn passes(&self) -> u32 {
        2
    }

    fn observe(&mut self, pass: u32, example: &Example<'_>) {
        let (Some(image), Some(label)) = (example.image, example.label) else { return };
        if !image.is_whole() {
            return;
        }
        self.reach(pass);
        if self.at >= self.settings.records.min(u32::MAX as usize) {
            return;
        }
        if pass == 0 {
            self.hash(example.record, label, image);
        } else if let Ok(at) = u32::try_from(self.at)
            && self.wanted.contains(&at)
        {
            let picture = image.reduced_to(SIDE);
            if let Some(left) = self.left.checked_sub(picture.samples.len()) {
                self.left = left;
                self.pictures.insert(at, picture);
            }
        }
        self.at += 1;
    }

    fn finish(mut self: Box<Self>) -> Vec<Finding> {
        self.reach(2);
        let bar = self.ordinary() * self.settings.near;
        let mut near = Vec::new();
        let mut alike = Groups::default();
        for &(one, other) in &self.pairs {
            if let (Some(first), Some(second)) = (self.pictures.get(&one), self.pictures.get(&other))
                && let Some(distance) = distance(first, second)
                // Equal ones are copies whatever is ordinary.
                && (distance == 0.0 || distance < bar)
            {
                near.push((one, other, distance));
                alike.join(one, other, distance);
            }
        }
        let alike: BTreeMap<u32, Vec<u32>> =
            alike.into_groups().into_iter().filter_map(|(group, _)| Some((*group.first()?, group))).collect();
        let fellows: BTreeMap<u32, &Vec<u32>> =
            alike.values().flat_map(|group| group.iter().map(move |&at| (at, group))).collect();
        let told = halves(&near, |near| {
            near.iter()
                .map(|&(one, other, distance)| {
                    // Many alike are no copies of each other, but of a plain kind.
                    let pair = [one, other];
                    let group = match fellows.get(&one) {
                        Some(group) if group.len() <= PLAIN => group.as_slice(),
                        _ => &pair,
                    };
                    let nearest = |at: u32| self.pictures.get(&at).map_or(0.0, |picture| self.nearest(picture, group));
                    distance == 0.0 || distance < LOCAL * nearest(one).min(nearest(other))
                })
                .collect()
        });
        let mut groups = Groups::default();
        for (&(one, other, distance), _) in near.iter().zip(&told).filter(|(_, told)| **told) {
            groups.join(one, other, distance);
        }
        groups.into_groups().into_iter().map(|(members, farthest)| self.finding(&members, farthest, bar)).collect()
    }
}

impl ImageDuplicate {
    fn finding(&self, members: &[u32], farthest: f64, bar: f64) -> Finding {
        let mut records: Vec<u64> = members.iter().map(|&at| self.hashed[at as usize].record).collect();
        records.sort_unstable();
        let labels: BTreeSet<u32> = members.iter().map(|&at| self.hashed[at as usize].label).collect();
        let named: Vec<String> = labels.iter().take(5).map(|label| format!("{{label:{label}}}")).collect();
        let more = if labels.len() > 5 { " and more" } else { "" };
        let kind = if farthest == 0.0 {
            "the same picture".into()
        } else {
            format!("nearly the same picture (differences of {farthest:.1} levels)")
        };
        Finding {
            detector: "duplicate",
            what: format!("{} records are {kind} under the labels {}{more}", records.len(), named.join(", ")),
            feature: String::new(),
            // How far below the bar: 1 for equal pictures.
            score: if farthest == 0.0 { 1.0 } else { 1.0 - farthest / bar.max(f64::MIN_POSITIVE) },
            records,
        }
    }
}

/// For each record only its nearest partners, each pair once.
fn nearest_partners(mut pairs: Vec<(u32, u32, u32)>) -> Vec<(u32, u32, u32)> {
    pairs.sort_unstable_by_key(|&(one, other, bits)| (bits, one, other));
    pairs.dedup();
    let mut partners: BTreeMap<u32, usize> = BTreeMap::new();
    pairs.retain(|&(one, other, _)| {
        // A pair stays while either has room: the copy of a much copied picture has.
        let room = [one, other].iter().any(|at| partners.get(at).copied().unwrap_or(0) < PARTNERS);
        if room {
            *partners.entry(one).or_default() += 1;
            *partners.entry(other).or_default() += 1;
        }
        room
    });
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::detect::example::Detector as _;
    use crate::dataset::detect::image::window::mixed;

    /// What is found among 60 pictures of noise and these more.
    fn found(more: &[(Pixels, u32)]) -> Vec<Finding> {
        let mut all: Vec<(Pixels, u32)> = (0..60u64).map(|at| (noise(at + 1), (at % 2) as u32)).collect();
        all.extend_from_slice(more);
        let mut detector = Box::new(ImageDuplicate::new(1, Settings::default()));
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
        detector.finish()
    }

    fn noise(seed: u64) -> Pixels {
        let samples = (0..400).map(|at| mixed(seed << 32 | (at / 40 * 10 + at % 20 / 2)) as u8).collect();
        Pixels { width: 20, height: 20, channels: 1, samples }
    }

    #[test]
    fn a_copy_under_another_label_is_found_with_its_twin() {
        let mut near = noise(7);
        for sample in near.samples.iter_mut().step_by(3) {
            *sample = sample.saturating_add(3);
        }
        let records: Vec<Vec<u64>> = found(&[(noise(5), 1), (near, 1)]).into_iter().map(|f| f.records).collect();
        assert_eq!(records, [vec![4, 60], vec![6, 61]]);
    }

    #[test]
    fn a_copy_under_the_same_label_is_no_conflict() {
        assert!(found(&[(noise(5), 0)]).is_empty());
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        assert!(Box::new(ImageDuplicate::new(1, Settings::default())).finish().is_empty());
    }
}
