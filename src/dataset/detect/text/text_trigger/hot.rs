//! Exact counts of the hashes that come up often, with the label most of their carriers have.

/// What is known of one n-gram.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hot {
    /// Its hash; 0 in an empty place.
    pub key: u64,
    /// Carriers (records, not occurrences).
    pub carriers: u32,
    /// The last carrier, from 1.
    last: u32,
    /// The label that won the vote.
    pub label: u32,
    /// By how much (Boyer and Moore's majority vote): at least 2·share − 1 of the carriers for a label of that share.
    pub lead: u32,
}

/// An open hash table that grows to a bound and then admits nobody new.
#[derive(Debug)]
pub struct HotTable {
    places: Vec<Hot>,
    used: usize,
    most: usize,
}

impl HotTable {
    /// Never more than `most` n-grams (24 bytes each, in a table of up to four times that).
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { places: vec![Hot::default(); 1 << 12], used: 0, most: most.max(1) }
    }

    /// A carrier of `key`: record number `record` (from 0, below 2^32 − 1) with `label`.
    pub fn add(&mut self, key: u64, record: u32, label: u32) {
        let key = key.max(1);
        if self.used * 2 > self.places.len() {
            self.grow();
        }
        let mask = self.places.len() - 1;
        let mut at = usize::try_from(key >> 16).unwrap_or(0) & mask;
        while let Some(place) = self.places.get_mut(at) {
            if place.key == key {
                place.see(record, label);
                return;
            }
            if place.key == 0 {
                if self.used < self.most {
                    self.used += 1;
                    *place = Hot { key, carriers: 1, last: record + 1, label, lead: 1 };
                }
                return;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.places);
        let mask = old.len() * 2 - 1;
        self.places = vec![Hot::default(); mask + 1];
        for hot in old.into_iter().filter(|hot| hot.key != 0) {
            let mut at = usize::try_from(hot.key >> 16).unwrap_or(0) & mask;
            while self.places.get(at).is_some_and(|place| place.key != 0) {
                at = (at + 1) & mask;
            }
            if let Some(place) = self.places.get_mut(at) {
                *place = hot;
            }
        }
    }

    /// All of them, in the order of their hashes, which leaves the table empty.
    #[must_use]
    pub fn take(&mut self) -> Vec<Hot> {
        let mut all: Vec<Hot> = std::mem::take(&mut self.places).into_iter().filter(|hot| hot.key != 0).collect();
        all.sort_unstable_by_key(|hot| hot.key);
        all
    }
}

impl Hot {
    fn see(&mut self, record: u32, label: u32) {
        if self.last == record + 1 {
            return;
        }
        self.last = record + 1;
        self.carriers += 1;
        if self.label == label {
            self.lead += 1;
        } else if self.lead == 0 {
            self.label = label;
            self.lead = 1;
        } else {
            self.lead -= 1;
        }
    }
}
