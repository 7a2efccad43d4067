//! Windows that may be parts of a trigger, and the records that carry them.

use crate::dataset::detect::example::Pixels;
use crate::dataset::detect::image::filter::Counted;
use crate::dataset::detect::image::trigger::{Member, Settings};
use crate::dataset::detect::image::vector::{Area, Sketch, sketch};
use crate::dataset::detect::image::window::windows;
use std::collections::HashMap;

/// Hits remembered in all.
const HITS: usize = 1 << 22;
/// Carriers remembered in all.
const CARRIERS: usize = 1 << 17;
/// Where a window stands in a carrier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub carrier: u32,
    pub x: u16,
    pub y: u16,
}

/// A window that may be part of a trigger.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub label: u32,
    /// Carriers of that label.
    pub hits: Vec<Hit>,
    /// Carriers of other labels.
    pub others: u32,
    pub width: usize,
    pub height: usize,
    pub tied: bool,
}

/// A record that carries a candidate.
#[derive(Debug)]
pub(crate) struct Carrier {
    pub record: u64,
    pub votes: u8,
    pub width: usize,
    pub height: usize,
    pub sketch: Sketch,
}

/// Windows followed in the last pass, with their carriers.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    pub all: Vec<Candidate>,
    by_key: HashMap<u64, u32>,
    /// A bit for each key's lowest bits: most windows are turned away here.
    known: Vec<u64>,
    pub carriers: Vec<Carrier>,
    left: usize,
    support: usize,
}

/// Bits of `Candidates::known`, as a power of two.
const KNOWN: u32 = 22;

impl Candidates {
    /// Follows those that were counted often enough with nearly one label.
    pub fn new(mut counted: Vec<Counted>, settings: &Settings) -> Self {
        let least = u32::try_from(settings.support / 2).unwrap_or(u32::MAX);
        // At a share p of one label the lead is at least (2 p - 1) of the total.
        let lead = 2.0 * (settings.purity - 0.1) - 1.0;
        counted.retain(|c| c.total >= least && f64::from(c.lead) >= lead * f64::from(c.total));
        counted.sort_unstable_by_key(|c| (std::cmp::Reverse(c.lead), c.key));
        counted.truncate(settings.candidates);
        let mut known = vec![0; 1 << (KNOWN - 6)];
        let mut by_key = HashMap::with_capacity(counted.len());
        let mut all = Vec::with_capacity(counted.len());
        for c in counted {
            let bit = c.key & ((1 << KNOWN) - 1);
            known[(bit >> 6) as usize] |= 1 << (bit & 63);
            by_key.insert(c.key, u32::try_from(all.len()).unwrap_or(u32::MAX));
            all.push(Candidate { label: c.label, hits: Vec::new(), others: 0, width: 0, height: 0, tied: true });
        }
        Self { all, by_key, known, carriers: Vec::new(), left: HITS, support: settings.support }
    }

    /// The candidates in a picture, each once, with where they stand.
    pub fn found_in(&self, image: &Pixels) -> Vec<(u32, Area, bool)> {
        let mut found = Vec::new();
        if self.all.is_empty() {
            return found;
        }
        windows(image, |window| {
            let bit = window.key & ((1 << KNOWN) - 1);
            if self.known[(bit >> 6) as usize] >> (bit & 63) & 1 == 1
                && let Some(&at) = self.by_key.get(&window.key)
            {
                found.push((at, window.area, window.tied));
            }
        });
        found.sort_unstable();
        found.dedup_by_key(|&mut (at, ..)| at);
        found
    }

    /// What `found_in` found in a picture.
    pub fn add(&mut self, member: &Member, votes: u8, found: &[(u32, Area, bool)]) {
        let mut carrier = None;
        for &(at, area, tied) in found {
            let candidate = &mut self.all[at as usize];
            if candidate.label != member.label {
                candidate.others += 1;
                // Too common elsewhere to be pure any more.
                if candidate.others as usize > self.support && candidate.others as usize > candidate.hits.len() {
                    self.left += std::mem::take(&mut candidate.hits).len();
                }
                continue;
            }
            if self.left == 0 || candidate.others as usize > self.support + candidate.hits.len() {
                continue;
            }
            if carrier.is_none() && self.carriers.len() < CARRIERS {
                carrier = u32::try_from(self.carriers.len()).ok();
                self.carriers.push(Carrier {
                    record: member.record,
                    votes,
                    width: member.image.width,
                    height: member.image.height,
                    sketch: sketch(&member.image),
                });
            }
            if let (Some(carrier), Ok(x), Ok(y)) = (carrier, u16::try_from(area.x), u16::try_from(area.y)) {
                candidate.hits.push(Hit { carrier, x, y });
                (candidate.width, candidate.height, candidate.tied) = (area.width, area.height, tied);
                self.left -= 1;
            }
        }
    }
}

impl Candidate {
    /// Where a hit of this window is.
    pub fn area(&self, hit: Hit) -> Area {
        Area { x: hit.x.into(), y: hit.y.into(), width: self.width, height: self.height }
    }

    /// The share of its carriers that have its label.
    pub fn purity(&self) -> f64 {
        let carriers = self.hits.len() as f64;
        carriers / (carriers + f64::from(self.others)).max(1.0)
    }
}
