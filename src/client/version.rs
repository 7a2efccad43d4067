//! The members of a sealed version, read at any place without being stored: what reads files can read these.
//!
//! All members together, those of the parts of a dataset included, are one line of bytes, cut into blocks of 1 MiB, of which the last used are held. Who reads on gets
//! the blocks of one fetch that goes on ahead; who jumps has some blocks fetched by themselves. Each fetch is one of its own to
//! the vault: it is decided, counted and recorded as any other, and its bytes are verified before they are held.

mod blocks;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use self::blocks::Blocks;
use self::stream::Stream;
use super::fetch::{CUT, Selection};
use super::{Client, FetchPlan, FetchReport};
use crate::error::{Error, ErrorId, Result};
use crate::manifest::{ArtifactStatement, PARTS_NAME};
use crate::names::{Reference, Revision};
use crate::seal::io::ReadAt;

/// Bytes of a block.
const BLOCK: u64 = 1 << 20;
/// Paths that are named in one request, in bytes with what each takes beside them: the server takes 256 KiB.
const REQUEST_PATHS: usize = 160 << 10;
/// Blocks that a reader may pass over without leaving the fetch that is under way.
const AHEAD: u64 = 32;

/// One version, of which every byte that is read was verified against its signed statement. Of a dataset in parts, the members of all
/// parts are those of the version.
///
/// Memory: 128 MiB of blocks and, for each member, its path and about 150 bytes. Dropping it ends what is under way.
pub struct SealedVersion {
    line: Arc<Line>,
    report: FetchReport,
}

/// The members as one line of bytes.
struct Line {
    served: Arc<Served>,
    state: Mutex<State>,
}

/// What is fetched, and from whom.
struct Served {
    client: Client,
    runtime: Handle,
    /// The version, then its parts in the order of their paths.
    sealed: Vec<One>,
    /// Members in the order of the line.
    order: Vec<Place>,
    len: u64,
}

/// A sealed file.
struct One {
    plan: FetchPlan,
    statement: ArtifactStatement,
    /// Where each member begins in the line.
    starts: Vec<u64>,
}

/// A member in the line.
struct Place {
    start: u64,
    /// In which sealed file, and which of its members.
    of: u32,
    member: u32,
}

#[derive(Default)]
struct State {
    blocks: Blocks,
    stream: Option<Stream>,
    /// The block after those that were fetched by themselves last.
    next: Option<u64>,
    /// How often they were read on from.
    run: u32,
}

impl SealedVersion {
    /// Asks for the statement of a version. Later fetches are of this version, wherever a tag points by then. `last` says which
    /// members come last in the line: those that are not read along with the others.
    ///
    /// `runtime` must be one of several threads, for nobody polls it while a reader waits.
    ///
    /// # Errors
    /// As [`Client::fetch`].
    pub fn open(client: Client, runtime: Handle, plan: FetchPlan, last: &dyn Fn(&str) -> bool) -> Result<Self> {
        let (report, statement) = runtime.block_on(client.fetch_statement(&plan))?;
        let revision = Revision::Version(statement.version);
        let reference = Reference { revision, member: None, ..plan.reference };
        let plan = FetchPlan { reference, members: Vec::new(), floor: None, ..plan };
        let parts = runtime.block_on(client.parts(&plan, &statement))?;
        let all = std::iter::once((plan, statement)).chain(parts);
        let mut sealed: Vec<One> = all.map(|(plan, statement)| One::of(plan, statement)).collect();
        let (order, len) = lay_out(&mut sealed, last)?;
        let served = Arc::new(Served { client, runtime, sealed, order, len });
        Ok(Self { line: Arc::new(Line { served, state: Mutex::default() }), report })
    }

    /// What the fetch of the statement brought: version, signers, and where the tag points.
    pub fn report(&self) -> &FetchReport {
        &self.report
    }

    /// Path and size of the members, in the byte order of their paths; of a dataset in parts, what lies beside the files comes first,
    /// and the list of parts is left out.
    pub fn members(&self) -> impl Iterator<Item = (&str, u64)> {
        let sealed = &self.line.served.sealed;
        let hidden = if sealed.len() > 1 { PARTS_NAME } else { "" };
        let all = sealed.iter().flat_map(|one| &one.statement.subjects);
        all.map(|s| (s.path.as_str(), s.size)).filter(move |(path, _)| *path != hidden)
    }

    /// A member to be read at any place; none of that path.
    pub fn member(&self, path: &str) -> Option<Member> {
        let (head, parts) = self.line.served.sealed.split_first()?;
        // The parts are in the order of their paths.
        let first = |one: &One| one.statement.subjects.first().is_some_and(|s| s.path.as_str() <= path);
        let part = parts.partition_point(first).checked_sub(1).and_then(|at| parts.get(at));
        let find = |one: &One| {
            let subjects = &one.statement.subjects;
            let at = subjects.binary_search_by(|s| s.path.as_str().cmp(path)).ok()?;
            Some((*one.starts.get(at)?, subjects.get(at)?.size))
        };
        let (start, size) = find(head).or_else(|| part.and_then(find))?;
        Some(Member { line: Arc::clone(&self.line), start, size })
    }
}

/// A member of a [`SealedVersion`]. What fails says why as an [`Error`] within the error of reading.
pub struct Member {
    line: Arc<Line>,
    start: u64,
    size: u64,
}

impl ReadAt for Member {
    fn len(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.line.read(buffer, self.start + offset).map_err(io::Error::other)
    }
}

impl Line {
    fn read(&self, mut buffer: &mut [u8], mut at: u64) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !buffer.is_empty() {
            let block = at / BLOCK;
            if !state.blocks.has(block) {
                self.bring(&mut state, block)?;
            }
            let from = usize::try_from(at % BLOCK).unwrap_or(usize::MAX);
            let held = state.blocks.get(block).and_then(|bytes| bytes.get(from..)).filter(|rest| !rest.is_empty());
            let held = held.ok_or_else(|| Error::new(ErrorId::Internal, "a block that was fetched is not there"))?;
            let (now, later) = buffer.split_at_mut(buffer.len().min(held.len()));
            now.copy_from_slice(&held[..now.len()]);
            at += now.len() as u64;
            buffer = later;
        }
        Ok(())
    }

    /// Fetches a block: from the fetch under way if that comes by there soon, else by another one.
    fn bring(&self, state: &mut State, block: u64) -> Result<()> {
        let reaches = |s: &Stream| (s.next()..s.end().min(s.next() + AHEAD)).contains(&block);
        if state.stream.as_ref().is_some_and(reaches) {
            return self.pull(state, block);
        }
        let all = self.served.len.div_ceil(BLOCK);
        let goes_on = state.next == Some(block);
        state.run = if goes_on { state.run + 1 } else { 0 };
        // A fetch to the end pays for whoever reads on. One that is under way is left only for what reads on for long.
        if state.run >= if state.stream.is_some() { 6 } else { 1 } {
            (state.stream, state.next) = (Some(Stream::begin(&self.served, block..all)), None);
            return self.pull(state, block);
        }
        let many = 1 << state.run.min(3);
        let some = block..(block + many).min(all);
        let mut stream = Stream::begin(&self.served, some.clone());
        while let Some(bytes) = stream.take()? {
            state.blocks.put(stream.next() - 1, bytes);
        }
        state.next = Some(some.end);
        Ok(())
    }

    /// Takes blocks from the fetch under way, up to this one.
    fn pull(&self, state: &mut State, block: u64) -> Result<()> {
        // It is cut when its reader pauses: then it goes on from there, unless nothing at all came.
        let mut came = true;
        while let Some(stream) = state.stream.as_mut().filter(|s| s.next() <= block) {
            match stream.take() {
                Ok(Some(bytes)) => {
                    came = true;
                    let at = stream.next() - 1;
                    state.blocks.put(at, bytes);
                }
                Ok(None) => break,
                Err(e) => {
                    let rest = stream.next()..stream.end();
                    state.stream = None;
                    if !came || e.details().iter().all(|(key, _)| *key != CUT) {
                        return Err(e);
                    }
                    came = false;
                    state.stream = Some(Stream::begin(&self.served, rest));
                }
            }
        }
        if state.stream.as_ref().is_some_and(|s| s.next() >= s.end()) {
            state.stream = None;
        }
        Ok(())
    }
}

impl Served {
    /// What to ask for to get these bytes, as far as it is of one sealed file and fits into one request: of which file, and where that ends.
    fn selections(&self, bytes: Range<u64>) -> (usize, Vec<Selection>, u64) {
        let first = self.order.partition_point(|place| place.start <= bytes.start).saturating_sub(1);
        let of = self.order.get(first).map_or(0, |place| place.of);
        let subjects = &self.sealed[of as usize].statement.subjects;
        let (mut runs, mut named, mut at) = (Vec::<Run>::new(), 0, bytes.start);
        let places = self.order.iter().skip(first);
        for Place { start, member, .. } in places.take_while(|p| p.start < bytes.end && p.of == of) {
            let (member, subject) = (*member as usize, &subjects[*member as usize]);
            let within = at.saturating_sub(*start)..subject.size.min(bytes.end - start);
            let whole = within == (0..subject.size);
            if let Some(run) = runs.last_mut().filter(|run| whole && run.to_its_end && run.last + 1 == member) {
                run.last = member;
            } else if !within.is_empty() {
                named += 2 * subject.path.len() + 64;
                if named > REQUEST_PATHS && !runs.is_empty() {
                    break;
                }
                let to_its_end = within.end == subject.size;
                runs.push(Run { first: member, within: within.clone(), last: member, to_its_end });
            }
            at = start + within.end;
        }
        let selection = |Run { first, within, last, .. }: Run| Selection {
            path: subjects[first].path.clone(),
            range: Some(within),
            through: (last > first).then(|| subjects[last].path.clone()),
        };
        (of as usize, runs.into_iter().map(selection).collect(), at)
    }
}

/// Members that follow one another in their sealed file as they do in the line.
struct Run {
    first: usize,
    /// Bytes of the first.
    within: Range<u64>,
    last: usize,
    /// Whether others may follow.
    to_its_end: bool,
}

impl One {
    fn of(plan: FetchPlan, statement: ArtifactStatement) -> Self {
        let starts = vec![0; statement.subjects.len()];
        Self { plan, statement, starts }
    }
}

/// Puts the members in a line: those of each sealed file together, but the `last` ones, which come after all others.
fn lay_out(sealed: &mut [One], last: &dyn Fn(&str) -> bool) -> Result<(Vec<Place>, u64)> {
    let too_many = || Error::new(ErrorId::LimitExceeded, "the members of the version are larger than 16 EiB together");
    let mut order = Vec::with_capacity(sealed.iter().map(|one| one.starts.len()).sum());
    let mut len = 0_u64;
    for pass in [false, true] {
        for (of, one) in sealed.iter_mut().enumerate() {
            for (member, subject) in one.statement.subjects.iter().enumerate() {
                if last(&subject.path) != pass {
                    continue;
                }
                one.starts[member] = len;
                let narrow = |n: usize| u32::try_from(n).map_err(|_| too_many());
                order.push(Place { start: len, of: narrow(of)?, member: narrow(member)? });
                len = len.checked_add(subject.size).ok_or_else(too_many)?;
            }
        }
    }
    Ok((order, len))
}
