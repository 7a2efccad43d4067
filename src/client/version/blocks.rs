//! Blocks in memory: those that were used last.

use std::collections::HashMap;

/// Blocks that are held.
const MOST: usize = 128;

/// Blocks by their number.
#[derive(Default)]
pub(super) struct Blocks {
    held: HashMap<u64, Held>,
    /// Counts uses.
    clock: u64,
}

struct Held {
    bytes: Vec<u8>,
    used: u64,
}

impl Blocks {
    /// Whether it is held.
    pub fn has(&self, number: u64) -> bool {
        self.held.contains_key(&number)
    }

    /// A block that is held: it is used now.
    pub fn get(&mut self, number: u64) -> Option<&[u8]> {
        self.clock += 1;
        let held = self.held.get_mut(&number)?;
        held.used = self.clock;
        Some(&held.bytes)
    }

    /// Holds a block, instead of the one whose use is longest ago.
    pub fn put(&mut self, number: u64, bytes: Vec<u8>) {
        self.clock += 1;
        if self.held.len() >= MOST
            && let Some(oldest) = self.held.iter().min_by_key(|(_, held)| held.used).map(|(number, _)| *number)
        {
            self.held.remove(&oldest);
        }
        self.held.insert(number, Held { bytes, used: self.clock });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let mut blocks = Blocks::default();
        (0..MOST as u64).for_each(|n| blocks.put(n, vec![n as u8]));
        assert_eq!(blocks.get(0), Some(&[0][..]));
        blocks.put(1000, vec![7]);
        assert!(blocks.has(0) && blocks.has(1000) && !blocks.has(1) && blocks.has(2));
        assert_eq!(blocks.held.len(), MOST);
    }
}
