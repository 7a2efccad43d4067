//! Sorting more entries than memory holds: runs are sorted in memory, put into files without a name, and merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Bytes of the buffer through which a run is read again.
const READ: usize = 1 << 18;

/// Takes entries of `N` bytes in any order and gives them back in byte order.
pub(super) struct Sorter<const N: usize> {
    dir: PathBuf,
    /// Entries held in memory at most.
    most: usize,
    held: Vec<[u8; N]>,
    runs: Vec<Run<N>>,
}

struct Run<const N: usize> {
    file: File,
    len: u64,
}

impl<const N: usize> Sorter<N> {
    /// Holds at most `memory` bytes of entries; more go to files in `dir`.
    pub fn new(dir: &Path, memory: usize) -> Self {
        Self { dir: dir.into(), most: (memory / N).max(2), held: Vec::new(), runs: Vec::new() }
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// `DiskFull` and the like, where a run cannot be written.
    pub fn push(&mut self, entry: [u8; N]) -> Result<()> {
        if self.held.len() == self.most {
            self.spill()?;
        }
        self.held.push(entry);
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        let fail = |e: std::io::Error| Error::from(e).on(self.dir.display());
        let file = rustix::fs::open(
            &self.dir,
            rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        );
        let file = File::from(file.map_err(|e| fail(e.into()))?);
        self.held.sort_unstable();
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        self.held.iter().try_for_each(|entry| out.write_all(entry)).map_err(fail)?;
        out.flush().map_err(fail)?;
        drop(out);
        self.runs.push(Run { file, len: self.held.len() as u64 });
        self.held.clear();
        Ok(())
    }

    /// All of them, ready to be read in order, as often as needed.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(mut self) -> Result<Sorted<N>> {
        if !self.runs.is_empty() && !self.held.is_empty() {
            self.spill()?;
        }
        self.held.sort_unstable();
        Ok(Sorted { held: self.held, runs: self.runs })
    }
}

/// Entries in order.
pub(super) struct Sorted<const N: usize> {
    /// All of them, if there are no runs.
    held: Vec<[u8; N]>,
    runs: Vec<Run<N>>,
}

impl<const N: usize> Sorted<N> {
    /// Gives each entry to `take`, in order.
    ///
    /// # Errors
    /// Those of reading, and of `take`.
    pub fn each(&self, mut take: impl FnMut(&[u8; N]) -> Result<()>) -> Result<()> {
        if self.runs.is_empty() {
            return self.held.iter().try_for_each(take);
        }
        let mut cursors: Vec<_> = self.runs.iter().map(Cursor::new).collect();
        let mut next = BinaryHeap::with_capacity(cursors.len());
        for (i, cursor) in cursors.iter_mut().enumerate() {
            if let Some(entry) = cursor.next()? {
                next.push(Reverse((entry, i)));
            }
        }
        while let Some(Reverse((entry, i))) = next.pop() {
            take(&entry)?;
            if let Some(entry) = cursors[i].next()? {
                next.push(Reverse((entry, i)));
            }
        }
        Ok(())
    }
}

struct Cursor<'a, const N: usize> {
    run: &'a Run<N>,
    /// Entries read into the buffer so far.
    read: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl<'a, const N: usize> Cursor<'a, N> {
    fn new(run: &'a Run<N>) -> Self {
        Self { run, read: 0, buffer: Vec::new(), at: 0 }
    }

    fn next(&mut self) -> Result<Option<[u8; N]>> {
        if self.at == self.buffer.len() {
            let count = (self.run.len - self.read).min((READ / N) as u64);
            if count == 0 {
                return Ok(None);
            }
            self.buffer.resize(count as usize * N, 0);
            self.run.file.read_exact_at(&mut self.buffer, self.read * N as u64)?;
            (self.read, self.at) = (self.read + count, 0);
        }
        let mut entry = [0; N];
        entry.copy_from_slice(&self.buffer[self.at..self.at + N]);
        self.at += N;
        Ok(Some(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_in_order_whether_they_fit_or_not() {
        let dir = tempfile::tempdir().unwrap();
        for memory in [1 << 20, 4000] {
            let mut sorter = Sorter::<8>::new(dir.path(), memory);
            let mut state = 7_u64;
            let mut all = Vec::new();
            for _ in 0..10_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let entry = (state >> 48).to_be_bytes();
                all.push(entry);
                sorter.push(entry).unwrap();
            }
            all.sort_unstable();
            let sorted = sorter.finish().unwrap();
            for _ in 0..2 {
                let mut again = Vec::new();
                sorted
                    .each(|entry| {
                        again.push(*entry);
                        Ok(())
                    })
                    .unwrap();
                assert!(again == all, "{memory}");
            }
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
