//! The corpus of every fuzz target, and a bounded number of mutations of it, in the profile that everything else is built in.
//! The same seed gives the same inputs; a failure prints the input.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const MUTATIONS: usize = 4000;
const LONGEST: usize = 1 << 16;

#[test]
fn no_target_panics_on_its_corpus_or_near_it() {
    for (name, target) in targets::ALL {
        let seeds = corpus(name);
        assert!(!seeds.is_empty(), "{name} has a corpus");
        let mut mutator = Mutator(0x9E37_79B9_7F4A_7C15);
        let mutants = (0..MUTATIONS).map(|_| mutator.mutate(&seeds)).collect::<Vec<_>>();
        for input in seeds.iter().chain(&mutants) {
            if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
                panic!("{name} panics on {}", hex::encode(input));
            }
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Xorshift, and a few ways to damage bytes.
struct Mutator(u64);

impl Mutator {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            self.damage(&mut bytes, seeds);
        }
        bytes.truncate(LONGEST);
        bytes
    }

    fn damage(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        const INTERESTING: [u8; 12] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\\', b'{', b'[', b',', b'9', b'/'];
        let at = self.below(bytes.len());
        let len = 1 + self.below(32.min(bytes.len() - at.min(bytes.len())));
        let end = (at + len).min(bytes.len());
        match self.below(8) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = INTERESTING[self.below(INTERESTING.len())],
            2 => bytes.insert(at, INTERESTING[self.below(INTERESTING.len())]),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.truncate(at),
            5 => {
                let twice = bytes[at..end].to_vec();
                bytes.splice(at..at, twice);
            }
            6 => bytes[at..end].fill(if len.is_multiple_of(2) { 0 } else { 0xff }),
            _ => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len());
                let part = &other[from..(from + len).min(other.len())];
                bytes.splice(at..end, part.iter().copied());
            }
        }
    }
}
