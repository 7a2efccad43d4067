//! The records of a file in units: handed out in order by one thread, worked on by all cores, and taken in order again.
//!
//! Text is handed out in blocks of bytes ([`blocks`](super::blocks)), a table in columns as stretches of rows, an archive as some of its
//! members, a folder as some of its files.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::frame::BadRecord;
use super::schema::Survey;
use crate::error::{Error, ErrorId, Result};
use crate::seal::io::ReadAt;

/// What is shown the bytes of a file, each once and in order.
pub(super) type Read<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// What takes the next unit. False: nobody wants more, for a reason that others tell.
pub(super) type Give<'a, U> = &'a mut dyn FnMut(U) -> bool;

/// A file that has records.
pub(super) trait Units: Sync {
    /// Some records that follow one another, or where they are.
    type Unit: Send;

    /// Whether a unit is some bytes of the file, and the file is its [`head`](Self::head) and the units one after the other.
    const IN_BYTES: bool = false;

    /// Bytes before the first unit, shown at once and first; only where units are bytes.
    fn head(&self) -> Option<u64> {
        None
    }

    /// The bytes that a unit is.
    fn bytes<'u>(&self, _: &'u Self::Unit) -> Option<&'u [u8]> {
        None
    }

    /// Hands out all units, in order.
    ///
    /// # Errors
    /// Those of reading, and `LimitExceeded`.
    fn hand_out(&self, read: Read<'_>, give: Give<'_, Self::Unit>) -> Result<()>;

    /// Hands on each record of a unit, in canonical form.
    ///
    /// # Errors
    /// The first record that is none, and why; those of reading.
    fn records(&self, unit: &Self::Unit, each: &mut dyn FnMut(&[u8])) -> Result<(), Fault>;

    /// Adds what is seen in a unit of a table. Says how many records it has.
    ///
    /// # Errors
    /// As [`records`](Self::records).
    fn survey(&self, unit: &Self::Unit, seen: &mut Survey) -> Result<u64, Fault>;

    /// Lines before the first unit; none for what has no lines.
    fn lines_before(&self) -> Option<u64> {
        None
    }

    /// Lines of a unit up to a byte.
    fn lines(&self, _: &Self::Unit, _until: usize) -> u64 {
        0
    }
}

/// Why a unit cannot be worked on.
pub(super) enum Fault {
    /// One of its records.
    Record(BadRecord),
    /// Anything else.
    Other(Error),
}

impl From<BadRecord> for Fault {
    fn from(bad: BadRecord) -> Self {
        Self::Record(bad)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// What became of a unit.
pub(super) struct Done<T> {
    /// What was made of it.
    pub value: T,
    /// Its records.
    pub records: u64,
}

/// What is done with a unit.
pub(super) type Work<'a, U, T> = &'a (dyn Fn(&U) -> Result<Done<T>, Fault> + Sync);

struct Worked<T> {
    outcome: Result<Done<T>, Fault>,
    /// Lines in it, or up to the bad record.
    lines: u64,
}

/// Reads all of a file. `read` sees its bytes in order; `take` what was made of each unit, in order. Memory: a few units for each thread.
///
/// # Errors
/// `RecordInvalid` with file and record, and with the line if it has lines; those of [`Units::hand_out`], and of `take`.
pub(super) fn work<U: Units, T: Send>(
    name: &str,
    units: &U,
    threads: usize,
    read: Read<'_>,
    work: Work<'_, U::Unit, T>,
    take: &mut dyn FnMut(Done<T>) -> Result<()>,
) -> Result<()> {
    let (to_work, waiting) = sync_channel::<(u64, U::Unit)>(threads);
    let (to_take, worked) = sync_channel::<(u64, Worked<T>)>(2 * threads);
    // Held by those who work alone: when they stop, whoever hands out finds out.
    let waiting = Arc::new(Mutex::new(waiting));
    std::thread::scope(|scope| {
        let handing = scope.spawn(move || {
            let mut index = 0;
            units.hand_out(read, &mut |unit| {
                index += 1;
                to_work.send((index - 1, unit)).is_ok()
            })
        });
        for _ in 0..threads {
            let (waiting, to_take) = (Arc::clone(&waiting), to_take.clone());
            scope.spawn(move || serve(units, &waiting, &to_take, work));
        }
        drop((to_take, waiting));
        let taken = collect((name, units.lines_before()), worked, take);
        let read = handing.join().unwrap_or_else(|_| Err(Error::new(ErrorId::Internal, "a reading thread panicked")));
        taken.and(read)
    })
}

/// Hands on all records: `see` makes something of some that follow one another, on any thread; `take` is given what it made, in order;
/// `read` sees the bytes of the file.
///
/// # Errors
/// As [`work`]; those of `take`.
pub(super) fn show<U: Units, T: Send + Default>(
    name: &str,
    units: &U,
    threads: usize,
    read: Read<'_>,
    see: &(dyn Fn(&[u8], &mut T) + Sync),
    take: &mut dyn FnMut(T) -> Result<()>,
) -> Result<()> {
    let make = |unit: &U::Unit| {
        let (mut value, mut records) = (T::default(), 0);
        units.records(unit, &mut |record| {
            see(record, &mut value);
            records += 1;
        })?;
        Ok(Done { value, records })
    };
    work(name, units, threads, read, &make, &mut |done| take(done.value))
}

fn serve<U: Units, T: Send>(
    units: &U,
    waiting: &Mutex<Receiver<(u64, U::Unit)>>,
    to_take: &SyncSender<(u64, Worked<T>)>,
    work: Work<'_, U::Unit, T>,
) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((index, unit)) = next else { return };
        let outcome = work(&unit);
        let until = match &outcome {
            Err(Fault::Record(bad)) => bad.at,
            _ => usize::MAX,
        };
        if to_take.send((index, Worked { outcome, lines: units.lines(&unit, until) })).is_err() {
            return;
        }
    }
}

fn collect<T>(
    (name, before): (&str, Option<u64>),
    worked: Receiver<(u64, Worked<T>)>,
    take: &mut dyn FnMut(Done<T>) -> Result<()>,
) -> Result<()> {
    let (mut early, mut next, mut records, mut lines) = (BTreeMap::new(), 0, 0, 0);
    for (index, unit) in worked {
        early.insert(index, unit);
        while let Some(unit) = early.remove(&next) {
            next += 1;
            lines += unit.lines;
            match unit.outcome {
                Ok(done) => {
                    records += done.records;
                    take(done)?;
                }
                Err(Fault::Record(bad)) => {
                    return Err(bad.error(name, before.map(|b| b + lines + 1), records + bad.number + 1));
                }
                Err(Fault::Other(error)) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Shows the bytes of a file to whoever hashes all of them, up to where its records were handed out: they are read again right after, while
/// they are in memory.
pub(super) struct Behind<'a> {
    name: &'a str,
    source: &'a dyn ReadAt,
    read: Read<'a>,
    at: u64,
    buffer: Vec<u8>,
    /// Bytes of the file.
    pub len: u64,
}

impl<'a> Behind<'a> {
    /// At the start of a file.
    pub fn new(name: &'a str, source: &'a dyn ReadAt, read: Read<'a>) -> Result<Self> {
        let len = source.len().map_err(|e| Error::of_io(e, name))?;
        Ok(Self { name, source, read, at: 0, buffer: vec![0; 256 << 10], len })
    }

    /// Shows all bytes before `end`.
    pub fn to(&mut self, end: u64) -> Result<()> {
        while self.at < end.min(self.len) {
            let len = (end.min(self.len) - self.at).min(self.buffer.len() as u64) as usize;
            let read = self.source.read_exact_at(&mut self.buffer[..len], self.at);
            read.map_err(|e| Error::of_io(e, self.name))?;
            (self.read)(&self.buffer[..len]);
            self.at += len as u64;
        }
        Ok(())
    }
}
