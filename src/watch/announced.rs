//! What was announced: first times that an operator prepared.

use std::collections::HashMap;

use super::snapshot::Kept;

/// For so many days.
const DAYS: u16 = 7;
/// More are not remembered, so that those too many are told of as unexpected.
const MOST: usize = 65_536;

/// Enrolments, seals and grants of the last days, as fingerprints.
#[derive(Debug, Default)]
pub(super) struct Announced(HashMap<u64, u16>);

impl Announced {
    pub fn learn(&mut self, what: u64, day: u16) {
        if self.0.len() >= MOST && !self.0.contains_key(&what) {
            self.0.retain(|_, since| day.saturating_sub(*since) <= DAYS);
            if self.0.len() >= MOST {
                return;
            }
        }
        self.0.insert(what, day);
    }

    pub fn knows(&self, what: u64, day: u16) -> bool {
        self.0.get(&what).is_some_and(|since| day.saturating_sub(*since) <= DAYS)
    }
}

impl Kept for Announced {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        Kept::take(from).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_end_and_are_bounded() {
        let mut announced = Announced::default();
        announced.learn(1, 10);
        assert!(announced.knows(1, 17) && !announced.knows(1, 18) && !announced.knows(2, 10));
        (0..100_000).for_each(|what| announced.learn(what, 11));
        assert_eq!(announced.0.len(), MOST);
        assert!(announced.knows(1, 11));
        announced.learn(200_000, 30);
        assert!(announced.knows(200_000, 30) && announced.0.len() == 1);
    }
}
