//! Digests of files or of byte ranges of them, on several threads and in bounded memory.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::walk::on;
use super::{Entry, ModelFiles};
use crate::crypto::hash::Algorithm;
use crate::crypto::outboard::{ChainingValue, Groups, TreeBuilder, group_cv};
use crate::error::Result;

/// Read at once: small enough to be hashed while it is in the second-level cache.
const READ_LEN: usize = 256 << 10;
/// BLAKE3 of a large file is the root over subtrees of this size, hashed in any order.
const SUBTREE_LOG2: u8 = 20;
/// Subtrees that one thread takes at a time, so that a file is not opened for each.
const SUBTREES_AT_ONCE: u64 = 64;

/// A file, or a byte range of it, to be hashed as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Position in [`ModelFiles::entries`].
    pub file: usize,
    /// Bytes of it.
    pub range: Range<u64>,
}

/// The digests of pieces, in their order.
pub type Digests = Vec<Box<[u8]>>;

/// Hashes pieces on up to `threads` threads. `progress` is told how many bytes were hashed since it was told last.
///
/// # Errors
/// `SourceChanged` if a file is not what it was when it was found; what reading reports. The first error ends all threads.
pub fn digest(
    model: &ModelFiles,
    pieces: &[Piece],
    algorithm: Algorithm,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Digests> {
    let mut jobs = Vec::with_capacity(pieces.len());
    for (index, piece) in pieces.iter().enumerate() {
        let len = piece.range.end - piece.range.start;
        let subtrees = len.div_ceil(1 << SUBTREE_LOG2);
        if algorithm == Algorithm::Blake3 && subtrees > SUBTREES_AT_ONCE {
            let starts = (0..subtrees).step_by(SUBTREES_AT_ONCE as usize);
            jobs.extend(starts.map(|s| Job { piece: index, subtrees: Some(s..(s + SUBTREES_AT_ONCE).min(subtrees)) }));
        } else {
            jobs.push(Job { piece: index, subtrees: None });
        }
    }
    // Long ones first: the last to finish is then a short one.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.len(pieces)));

    let run = Run { model, pieces, algorithm, jobs, next: AtomicUsize::new(0), stopped: AtomicBool::new(false) };
    let done = Mutex::new((Vec::new(), None));
    let worker = || {
        let mut buffer = vec![0; READ_LEN.max(if algorithm == Algorithm::Blake3 { 1 << SUBTREE_LOG2 } else { 0 })];
        while let Some(job) = run.take() {
            let outcome = run.hash(job, &mut buffer, progress);
            let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match outcome {
                Ok(hashed) => done.0.push((job, hashed)),
                Err(e) => {
                    run.stopped.store(true, Ordering::Relaxed);
                    done.1.get_or_insert(e);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(run.jobs.len()) {
            // A machine that gives no more threads gets the work done with those there are.
            let _ = std::thread::Builder::new().spawn_scoped(scope, worker);
        }
        worker();
    });
    let (done, failure) = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failure.map_or(Ok(()), Err)?;
    Ok(join(pieces, done))
}

/// A whole piece, or some subtrees of one.
struct Job {
    piece: usize,
    subtrees: Option<Range<u64>>,
}

impl Job {
    fn len(&self, pieces: &[Piece]) -> u64 {
        let range = &pieces[self.piece].range;
        self.subtrees.as_ref().map_or(range.end - range.start, |s| (s.end - s.start) << SUBTREE_LOG2)
    }
}

enum Hashed {
    Whole(Box<[u8]>),
    Subtrees(Vec<ChainingValue>),
}

struct Run<'a> {
    model: &'a ModelFiles,
    pieces: &'a [Piece],
    algorithm: Algorithm,
    jobs: Vec<Job>,
    next: AtomicUsize,
    stopped: AtomicBool,
}

impl Run<'_> {
    fn take(&self) -> Option<&Job> {
        let job = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed));
        job.filter(|_| !self.stopped.load(Ordering::Relaxed))
    }

    fn hash(&self, job: &Job, buffer: &mut [u8], progress: &(dyn Fn(u64) + Sync)) -> Result<Hashed> {
        let piece = &self.pieces[job.piece];
        let entry = &self.model.entries()[piece.file];
        let file = self.model.open(entry)?;
        let hashed = match &job.subtrees {
            None => {
                let mut hasher = self.algorithm.hasher();
                self.read(entry, &file, piece.range.clone(), buffer, &mut |bytes| {
                    hasher.update(bytes);
                    progress(bytes.len() as u64);
                })?;
                Hashed::Whole(hasher.finish())
            }
            Some(subtrees) => {
                let mut values = Vec::with_capacity((subtrees.end - subtrees.start) as usize);
                let from = piece.range.start + (subtrees.start << SUBTREE_LOG2);
                let to = piece.range.end.min(piece.range.start + (subtrees.end << SUBTREE_LOG2));
                let mut index = subtrees.start;
                self.read(entry, &file, from..to, &mut buffer[..1 << SUBTREE_LOG2], &mut |bytes| {
                    values.push(group_cv(index, SUBTREE_LOG2, bytes));
                    index += 1;
                    progress(bytes.len() as u64);
                })?;
                Hashed::Subtrees(values)
            }
        };
        self.model.unchanged(entry, &file)?;
        Ok(hashed)
    }

    /// Gives the bytes of a range to `take`, a full buffer at a time.
    fn read(
        &self,
        entry: &Entry,
        file: &File,
        range: Range<u64>,
        buffer: &mut [u8],
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let mut at = range.start;
        while at < range.end && !self.stopped.load(Ordering::Relaxed) {
            let len = (range.end - at).min(buffer.len() as u64) as usize;
            file.read_exact_at(&mut buffer[..len], at).map_err(on(&self.model.locate(entry)))?;
            take(&buffer[..len]);
            at += len as u64;
        }
        Ok(())
    }
}

fn join(pieces: &[Piece], done: Vec<(&Job, Hashed)>) -> Digests {
    let mut digests: Digests = vec![Box::default(); pieces.len()];
    let mut trees: Vec<Option<TreeBuilder>> = pieces.iter().map(|_| None).collect();
    for (job, hashed) in done {
        match (hashed, &job.subtrees) {
            (Hashed::Whole(digest), _) => digests[job.piece] = digest,
            (Hashed::Subtrees(values), Some(subtrees)) => {
                let range = &pieces[job.piece].range;
                let groups = Groups::new(range.end - range.start, SUBTREE_LOG2);
                let tree = trees[job.piece].get_or_insert_with(|| TreeBuilder::new(groups, SUBTREE_LOG2));
                subtrees.clone().zip(values).for_each(|(index, value)| tree.set(index, value));
            }
            (Hashed::Subtrees(_), None) => unreachable!("only jobs over subtrees give subtrees"),
        }
    }
    for (digest, tree) in digests.iter_mut().zip(trees) {
        if let Some(tree) = tree {
            *digest = tree.finish().0.0.into();
        }
    }
    digests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorId;
    use crate::files::{Ignored, Links};
    use std::fs;
    use std::sync::atomic::AtomicU64;

    /// More than one job of subtrees, and a last subtree that is not full.
    const LARGE: usize = (SUBTREES_AT_ONCE as usize + 3) * (1 << SUBTREE_LOG2) + 777;

    #[test]
    fn digests_are_those_of_the_bytes_however_many_threads_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..LARGE).map(|i| (i * i % 251) as u8).collect();
        fs::write(dir.path().join("large"), &bytes).unwrap();
        fs::write(dir.path().join("small"), b"abc").unwrap();
        fs::write(dir.path().join("empty"), b"").unwrap();
        let model = ModelFiles::find(dir.path(), &Ignored::default(), Links::Refuse).unwrap();
        let whole = |file: usize| Piece { file, range: 0..model.entries()[file].size };
        let pieces = [whole(0), whole(1), Piece { file: 1, range: 1000..LARGE as u64 - 1 }, whole(2)];
        for algorithm in [Algorithm::Sha256, Algorithm::Blake2b, Algorithm::Blake3] {
            let expected: Digests = [&b""[..], &bytes, &bytes[1000..LARGE - 1], b"abc"]
                .into_iter()
                .map(|bytes| {
                    let mut hasher = algorithm.hasher();
                    hasher.update(bytes);
                    hasher.finish()
                })
                .collect();
            for threads in [1, 3] {
                let seen = AtomicU64::new(0);
                let progress = |n| {
                    seen.fetch_add(n, Ordering::Relaxed);
                };
                assert_eq!(digest(&model, &pieces, algorithm, threads, &progress).unwrap(), expected);
                assert_eq!(seen.into_inner(), 2 * LARGE as u64 - 1001 + 3);
            }
        }
    }

    #[test]
    fn a_file_cut_short_after_the_walk_is_no_digest() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), [1; 100]).unwrap();
        let model = ModelFiles::find(dir.path(), &Ignored::default(), Links::Refuse).unwrap();
        fs::write(dir.path().join("a"), [1; 99]).unwrap();
        let failed = digest(&model, &[Piece { file: 0, range: 0..100 }], Algorithm::Sha256, 2, &|_| {});
        assert_eq!(failed.unwrap_err().id(), ErrorId::SourceChanged);
    }
}
