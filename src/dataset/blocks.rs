//! A file in blocks that end with a record: read once, in order, worked on by all cores, and handed on in order again.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::frame::{BadRecord, Frame};
use super::value::MAX_RECORD;
use crate::error::{Error, ErrorId, Result};
use crate::seal::io::ReadAt;

/// Bytes of a block, unless one record is longer.
const BLOCK: usize = 1 << 20;

/// What became of a block.
pub(super) struct Done<T> {
    /// What was made of it.
    pub value: T,
    /// Its records.
    pub records: u64,
}

/// What is done with a block.
pub(super) type Work<'a, T> = &'a (dyn Fn(&[u8]) -> Result<Done<T>, BadRecord> + Sync);

struct Block {
    index: u64,
    bytes: Vec<u8>,
}

struct Worked<T> {
    outcome: Result<Done<T>, BadRecord>,
    /// Lines in it, or up to the bad record.
    lines: u64,
}

/// Reads all of a file. `read` sees its bytes in order; `take` what was made of each block, in order. Memory: a few blocks for each
/// thread, or records of at most [`MAX_RECORD`].
///
/// # Errors
/// `RecordInvalid` with file, line and record; `LimitExceeded` for a record that is too long; those of reading, and of `take`.
pub(super) fn work<T: Send>(
    (name, source): (&str, &dyn ReadAt),
    frame: &dyn Frame,
    threads: usize,
    read: &mut (dyn FnMut(&[u8]) + Send),
    work: Work<'_, T>,
    take: &mut dyn FnMut(Done<T>) -> Result<()>,
) -> Result<()> {
    let (to_work, waiting) = sync_channel::<Block>(threads);
    let (to_take, worked) = sync_channel::<(u64, Worked<T>)>(2 * threads);
    // Held by those who work alone: when they stop, whoever reads finds out.
    let waiting = Arc::new(Mutex::new(waiting));
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || Reading { name, source, frame, read }.run(&to_work));
        for _ in 0..threads {
            let (waiting, to_take) = (Arc::clone(&waiting), to_take.clone());
            scope.spawn(move || serve(&waiting, &to_take, work));
        }
        drop((to_take, waiting));
        let taken = collect((name, frame.lines_skipped()), worked, take);
        let read = reading.join().unwrap_or_else(|_| Err(Error::new(ErrorId::Internal, "a reading thread panicked")));
        taken.and(read)
    })
}

fn serve<T: Send>(waiting: &Mutex<Receiver<Block>>, to_take: &SyncSender<(u64, Worked<T>)>, work: Work<'_, T>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Block { index, bytes }) = next else { return };
        let outcome = work(&bytes);
        let until = outcome.as_ref().map_or_else(|bad| bad.at, |_| bytes.len());
        let lines = memchr::memchr_iter(b'\n', &bytes[..until]).count() as u64;
        if to_take.send((index, Worked { outcome, lines })).is_err() {
            return;
        }
    }
}

fn collect<T>(
    (name, mut lines): (&str, u64),
    worked: Receiver<(u64, Worked<T>)>,
    take: &mut dyn FnMut(Done<T>) -> Result<()>,
) -> Result<()> {
    let (mut early, mut next, mut records) = (BTreeMap::new(), 0, 0);
    for (index, block) in worked {
        early.insert(index, block);
        while let Some(block) = early.remove(&next) {
            next += 1;
            lines += block.lines;
            match block.outcome {
                Ok(done) => {
                    records += done.records;
                    take(done)?;
                }
                Err(bad) => return Err(bad.error(name, lines + 1, records + bad.number + 1)),
            }
        }
    }
    Ok(())
}

struct Reading<'a> {
    name: &'a str,
    source: &'a dyn ReadAt,
    frame: &'a dyn Frame,
    read: &'a mut (dyn FnMut(&[u8]) + Send),
}

impl Reading<'_> {
    fn run(self, to_work: &SyncSender<Block>) -> Result<()> {
        let fail = |e: std::io::Error| Error::from(e).on(self.name);
        let len = self.source.len().map_err(fail)?;
        let mut skip = vec![0; usize::try_from(self.frame.skip().min(len)).unwrap_or(0)];
        self.source.read_exact_at(&mut skip, 0).map_err(fail)?;
        (self.read)(&skip);
        let (mut at, mut index, mut rest) = (skip.len() as u64, 0, Vec::new());
        while at < len || !rest.is_empty() {
            // A record that fills a block is read on in larger and larger steps, so that looking for its end costs little.
            let held = rest.len();
            if held > MAX_RECORD {
                let text = format!("{}: a record of more than {} MiB", self.name, MAX_RECORD >> 20);
                return Err(Error::new(ErrorId::LimitExceeded, text).hint("split it, or keep it as a file of its own"));
            }
            let more = BLOCK.max(held).min(MAX_RECORD + 1 - held) as u64;
            let mut block = std::mem::take(&mut rest);
            block.resize(held + usize::try_from(more.min(len - at)).unwrap_or(BLOCK), 0);
            self.source.read_exact_at(&mut block[held..], at).map_err(fail)?;
            (self.read)(&block[held..]);
            at += (block.len() - held) as u64;
            let end = if at == len { block.len() } else { self.frame.cut(&block) };
            if end == 0 && at < len {
                rest = block;
                continue;
            }
            rest = block[end..].to_vec();
            block.truncate(end);
            // Nobody waits for it: the reason is told by whoever stopped.
            if to_work.send(Block { index, bytes: block }).is_err() {
                return Ok(());
            }
            index += 1;
        }
        Ok(())
    }
}
