//! SHA-256 of many short messages: records, and nodes of trees over them.
//!
//! One after the other, most of the time of a message of two or three blocks goes into calling, into padding that the processor must have
//! stored before it can load it again, and into waiting for the round before. So messages are padded side by side, and two at a time are
//! compressed block by block in turns, which a processor with instructions for SHA works on at once. On those without, it costs what it
//! costs one after the other.

use sha2::block_api::compress256;

use crate::names::Sha256;

/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const BLOCK: usize = 64;
/// Bytes that wait: they stay in the first-level cache.
const FULL: usize = 16 << 10;

/// Messages whose hashes are wanted, in order. Memory: 16 KiB, or the longest of them.
#[derive(Clone, Debug, Default)]
pub struct Sha256Batch {
    padded: Vec<u8>,
    /// Blocks up to the end of each message.
    ends: Vec<usize>,
}

impl Sha256Batch {
    /// Takes the next message, in parts. Once much waits, the hashes of all are put into `out`.
    pub fn push(&mut self, message: &[&[u8]], out: &mut Vec<Sha256>) {
        let from = self.padded.len();
        message.iter().for_each(|part| self.padded.extend_from_slice(part));
        let len = self.padded.len() - from;
        // FIPS 180-4, 5.1.1: a one bit, zeros, and the length in bits end a block.
        let zeros = (2 * BLOCK - 9 - len % BLOCK) % BLOCK;
        self.padded.push(0x80);
        self.padded.extend_from_slice(&[0; BLOCK][..zeros]);
        self.padded.extend_from_slice(&(len as u64 * 8).to_be_bytes());
        self.ends.push(self.padded.len() / BLOCK);
        if self.padded.len() >= FULL {
            self.finish(out);
        }
    }

    /// Puts the hashes of what waits into `out`, in order.
    pub fn finish(&mut self, out: &mut Vec<Sha256>) {
        let (blocks, _) = self.padded.as_chunks::<BLOCK>();
        let mut from = 0;
        let mut pairs = self.ends.chunks_exact(2);
        for pair in &mut pairs {
            let (one, other) = (&blocks[from..pair[0]], &blocks[pair[0]..pair[1]]);
            let (mut first, mut second) = (INITIAL, INITIAL);
            for (a, b) in one.iter().zip(other) {
                compress256(&mut first, std::slice::from_ref(a));
                compress256(&mut second, std::slice::from_ref(b));
            }
            let both = one.len().min(other.len());
            compress256(&mut first, &one[both..]);
            compress256(&mut second, &other[both..]);
            out.extend([digest(&first), digest(&second)]);
            from = pair[1];
        }
        if let [end] = *pairs.remainder() {
            let mut state = INITIAL;
            compress256(&mut state, &blocks[from..end]);
            out.push(digest(&state));
        }
        self.padded.clear();
        self.ends.clear();
    }
}

fn digest(state: &[u32; 8]) -> Sha256 {
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    Sha256(digest)
}

#[cfg(test)]
mod tests {
    use super::super::hash::{Sha256Hasher, sha256};
    use super::*;

    #[test]
    fn hashes_are_those_of_the_other_implementation_in_order() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|i| (i % 251) as u8).collect();
        let lengths = (0..300).chain([4096, FULL - 9, FULL, 3, 40_000, 0, 64, 55, 56]);
        let (mut batch, mut hashes, mut expected) = (Sha256Batch::default(), Vec::new(), Vec::new());
        for len in lengths {
            let (head, tail) = bytes[..len].split_at(len / 3);
            batch.push(&[head, &[], tail], &mut hashes);
            let mut hasher = Sha256Hasher::default();
            hasher.update(&bytes[..len]);
            expected.push(hasher.finish());
            assert!(batch.padded.len() < FULL);
        }
        batch.finish(&mut hashes);
        batch.finish(&mut hashes);
        assert!(hashes == expected);
        assert_eq!(hashes[3], sha256(&bytes[..3]));
    }
}
