//! Which hashes come up often: a counting filter of fixed size.

/// Counts of hashes, never too low: two saturating 8-bit counters in one cache line, the smaller of the two counts
/// (count-min with conservative update, Estan and Varghese 2002).
#[derive(Debug)]
pub struct CountFilter {
    cells: Vec<[u8; 64]>,
    shift: u32,
}

impl CountFilter {
    /// 2^`bits` counters of a byte (at least 2^10).
    #[must_use]
    pub fn new(bits: u32) -> Self {
        let lines = bits.clamp(10, 36) - 6;
        Self { cells: vec![[0; 64]; 1 << lines], shift: 64 - lines }
    }

    #[inline]
    fn place(&self, hash: u64) -> (usize, usize, usize) {
        let line = usize::try_from(hash >> self.shift).unwrap_or(0);
        let first = (hash & 63) as usize;
        let second = first ^ (((hash >> 6) & 63) as usize | 1);
        (line, first, second & 63)
    }

    /// Counts one more.
    #[inline]
    pub fn add(&mut self, hash: u64) {
        let (line, first, second) = self.place(hash);
        let Some(cells) = self.cells.get_mut(line) else { return };
        let (a, b) = (cells[first], cells[second]);
        let low = a.min(b);
        if low < u8::MAX {
            cells[first] = a.max(low + 1);
            cells[second] = b.max(low + 1);
        }
    }

    /// At least how often it was counted (255: that or more).
    #[inline]
    #[must_use]
    pub fn count(&self, hash: u64) -> u8 {
        let (line, first, second) = self.place(hash);
        self.cells.get(line).map_or(0, |cells| cells[first].min(cells[second]))
    }
}
