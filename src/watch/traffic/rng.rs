//! Random numbers that are the same everywhere: SplitMix64. Not for secrets.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6d76_2d74_7261_6666)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 or more, below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // 64 bits over small numbers: the bias is of no matter here.
        self.next() % end.max(1)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1).max(1) as u64) as i64
    }

    /// From 0 to 1.
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// Around `middle`; two thirds lie within a factor of `e^spread`.
    pub fn around(&mut self, middle: f64, spread: f64) -> f64 {
        // The sum of twelve is near enough to normal, and uses no function that differs between machines but exp.
        let normal: f64 = (0..12).map(|_| self.share()).sum::<f64>() - 6.0;
        middle * (normal * spread).exp()
    }

    /// How many of something that happens `mean` times on average.
    pub fn count(&mut self, mean: f64) -> u64 {
        let (limit, mut product, mut count) = ((-mean.min(500.0)).exp(), self.share(), 0);
        while product > limit {
            product *= self.share();
            count += 1;
        }
        count
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    pub fn bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next().to_be_bytes());
        bytes
    }
}
