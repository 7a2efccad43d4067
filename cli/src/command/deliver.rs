//! Where opened bytes go: one member to a file, device or pipe; several to a directory. Nothing appears under its name before
//! all of it was verified.

use std::io::{IsTerminal, Write, stdout};
use std::ops::Range;
use std::path::{Path, PathBuf};

use model_vault::client::FetchSink;
use model_vault::facts::VersionFacts;
use model_vault::manifest::{ArtifactStatement, Subject};
use model_vault::names::Reference;
use model_vault::seal::io::WriteAt;
use model_vault::seal::{Manifest, Reader, SealError};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use crate::args::ByteRange;
use crate::files::destination::{Destination, PRIVATE};
use crate::files::tree::Tree;
use crate::output::Output;
use crate::output::progress::Progress;

/// What is wanted of an artifact, and where.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Only this member.
    pub member: Option<String>,
    /// Only these bytes of it.
    pub range: Option<ByteRange>,
    /// Where to; `None`: standard output.
    pub output: Option<PathBuf>,
}

/// What was delivered: the JSON document of `vault open`.
#[derive(Debug, Serialize)]
pub struct Delivered {
    /// The version, if it is one of a vault's.
    pub version: Option<VersionFacts>,
    /// Where the bytes are; `-` is standard output.
    pub output: PathBuf,
    /// Number of members.
    pub members: u64,
    /// Bytes of plaintext.
    pub bytes: u64,
}

/// A member as far as delivery is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Path within the artifact.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// The members of a file that was opened here.
pub fn items(manifest: &Manifest) -> Vec<Item> {
    manifest.members.iter().map(|m| Item { path: m.path.clone(), size: m.size }).collect()
}

/// What is to be done: one member and which bytes of it, or all.
enum Plan {
    One(Item, Range<u64>),
    All,
}

/// A place that was opened for what is to come. Dropping it leaves nothing behind.
pub struct Prepared {
    /// The members that were seen when it was prepared.
    items: Vec<Item>,
    place: Place,
}

enum Place {
    One { to: Destination, path: PathBuf, item: Item, range: Range<u64> },
    All { tree: Tree },
}

impl Wanted {
    /// Refuses what can be told from the command line and the place it names alone. To be asked before anything is opened:
    /// what is opened is on the record.
    pub fn check(&self) -> Result<()> {
        match &self.output {
            None if stdout().is_terminal() => {
                Err(Error::new(ErrorId::InvalidArgument, "refusing to write binary data to a terminal")
                    .hint("name a file with -o, or send standard output to a pipe or file"))
            }
            None => Ok(()),
            Some(path) => Destination::check(path),
        }
    }

    /// Decides what the members at hand make of the wishes, and opens the place they go to.
    ///
    /// # Errors
    /// `NotFound` for a member that is not there, `RangeInvalid`, `InvalidArgument` where a directory is needed;
    /// `AlreadyExists` and others of the place.
    pub fn prepare(&self, items: Vec<Item>) -> Result<Prepared> {
        let place = match self.plan(&items)? {
            Plan::One(item, range) => {
                let path = self.path_of(&item);
                Place::One { to: Destination::open(&path, PRIVATE)?, path, item, range }
            }
            Plan::All => {
                Tree::check(items.iter().map(|i| &*i.path))?;
                Place::All { tree: Tree::open(self.output.as_deref().unwrap_or(Path::new("-")))? }
            }
        };
        Ok(Prepared { items, place })
    }

    fn plan(&self, items: &[Item]) -> Result<Plan> {
        let one = match (&self.member, items) {
            (Some(path), _) => Some(items.iter().find(|i| i.path == *path).ok_or_else(|| {
                Error::new(ErrorId::NotFound, format!("there is no member {path:?}"))
                    .hint("vault inspect lists the members")
                    .detail("member", path)
            })?),
            // A file that was sealed by itself comes back as a file.
            (None, [only]) if !only.path.contains('/') => Some(only),
            _ => None,
        };
        match one {
            Some(item) => {
                let ByteRange { start, end } = self.range.unwrap_or(ByteRange { start: 0, end: None });
                let end = end.unwrap_or(item.size);
                if start > end || end > item.size {
                    let text = format!("bytes {start}..{end} are not within the {} of {:?}", item.size, item.path);
                    return Err(Error::new(ErrorId::RangeInvalid, text));
                }
                Ok(Plan::One(item.clone(), start..end))
            }
            None if self.range.is_some() => {
                Err(Error::new(ErrorId::InvalidArgument, "a range is of one member, and there are several")
                    .hint("name it with --member"))
            }
            None if self.output.is_none() => {
                Err(Error::new(ErrorId::InvalidArgument, format!("there are {} members", items.len()))
                    .hint("name a directory with -o, or one member with --member"))
            }
            None => Ok(Plan::All),
        }
    }

    /// Where one member goes: into a directory under its own name.
    fn path_of(&self, item: &Item) -> PathBuf {
        match &self.output {
            None => PathBuf::from("-"),
            Some(dir) if dir.is_dir() => dir.join(Path::new(&item.path).file_name().unwrap_or_default()),
            Some(path) => path.clone(),
        }
    }
}

impl Prepared {
    /// The member and range to ask for, if it is not everything.
    pub fn selection(&self) -> Vec<(String, Option<Range<u64>>)> {
        match &self.place {
            Place::One { item, range, .. } => vec![(item.path.clone(), Some(range.clone()))],
            Place::All { .. } => Vec::new(),
        }
    }
}

/// Delivers from a file that was opened in this process.
pub fn from_reader(reader: &Reader, prepared: Prepared, wanted: &Wanted, out: &Output) -> Result<Delivered> {
    let Prepared { items, place } = prepared;
    if self::items(reader.manifest()) != items {
        return Err(changed());
    }
    match place {
        Place::One { mut to, path, item, range } => {
            let bytes = range.end - range.start;
            let bar = Progress::new("opening", bytes, out.json());
            let moved = |n| bar.more(n);
            if let Some(file) = to.random_access().filter(|_| bytes == item.size) {
                reader.extract_member(&item.path, file, threads(), &moved)?;
            } else {
                reader.extract_range(&item.path, range, threads(), &mut |piece| {
                    to.write_all(piece).map_err(|e| SealError::Caller(Error::from(e).on(path.display())))?;
                    moved(piece.len() as u64);
                    Ok(())
                })?;
            }
            bar.done();
            to.finish(false)?;
            Ok(Delivered { version: None, output: path, members: 1, bytes })
        }
        Place::All { tree } => {
            let total = items.iter().map(|i| i.size).sum();
            let bar = Progress::new("opening", total, out.json());
            items.iter().try_for_each(|item| tree.file(&item.path).map(drop))?;
            reader.extract(threads(), &|n| bar.more(n), &|member, offset, bytes| {
                let file = tree.reopen(&member.path).map_err(SealError::from)?;
                file.write_all_at(bytes, offset).map_err(SealError::Io)
            })?;
            bar.done();
            tree.finish()?;
            let output = wanted.output.clone().unwrap_or_default();
            Ok(Delivered { version: None, output, members: items.len() as u64, bytes: total })
        }
    }
}

/// Between looking and opening something else came to lie there, or the two answers were not of one mind.
fn changed() -> Error {
    Error::new(ErrorId::BindingMismatch, "the members are not those that the vault named before")
        .hint("the vault answers twice about one version and differently: check it with vault verify")
}

fn threads() -> usize {
    // More do not help: four saturate memory on the machines we measured, and each holds a segment.
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// Takes a stream from a daemon.
pub struct Sink {
    /// The members that must come; `None`: whatever the signed statement names.
    expected: Option<Vec<Item>>,
    output: PathBuf,
    quiet: bool,
    started: bool,
    state: State,
}

enum State {
    One { to: Destination, path: PathBuf, bytes: u64, bar: Progress },
    All { tree: Tree, open: Option<(String, std::fs::File)>, members: u64, bytes: u64, bar: Progress },
}

impl Sink {
    /// For `vault open`: what was prepared.
    pub fn new(prepared: Prepared, wanted: &Wanted, out: &Output) -> Self {
        let Prepared { items, place } = prepared;
        let state = match place {
            Place::One { to, path, range, .. } => {
                let bar = Progress::new("fetching", range.end - range.start, out.json());
                State::One { to, path, bytes: 0, bar }
            }
            Place::All { tree } => State::all(tree),
        };
        let output = wanted.output.clone().unwrap_or_default();
        Self { expected: Some(items), output, quiet: out.json(), started: false, state }
    }

    /// For `vault fetch`: always a directory, made before the daemon is asked for anything.
    pub fn directory(output: &Path, out: &Output) -> Result<Self> {
        let state = State::all(Tree::open(output)?);
        Ok(Self { expected: None, output: output.to_owned(), quiet: out.json(), started: false, state })
    }

    /// Puts in place what came, once the stream has proved to be complete.
    pub fn finish(self, version: VersionFacts) -> Result<Delivered> {
        if !self.started {
            return Err(Error::new(ErrorId::StreamBroken, "the stream ended before its statement"));
        }
        let version = Some(version);
        match self.state {
            State::One { to, path, bytes, bar } => {
                bar.done();
                to.finish(false)?;
                Ok(Delivered { version, output: path, members: 1, bytes })
            }
            State::All { tree, members, bytes, bar, .. } => {
                bar.done();
                tree.finish()?;
                Ok(Delivered { version, output: self.output, members, bytes })
            }
        }
    }
}

impl State {
    fn all(tree: Tree) -> Self {
        Self::All { tree, open: None, members: 0, bytes: 0, bar: Progress::new("fetching", 0, true) }
    }
}

impl FetchSink for Sink {
    fn start(&mut self, _: &VersionFacts, statement: &ArtifactStatement) -> Result<()> {
        let items: Vec<_> = statement.subjects.iter().map(|s| Item { path: s.path.clone(), size: s.size }).collect();
        if self.expected.as_ref().is_some_and(|expected| *expected != items) {
            return Err(changed());
        }
        if let State::All { tree, members, bytes, bar, .. } = &mut self.state {
            Tree::check(items.iter().map(|i| &*i.path))?;
            items.iter().try_for_each(|item| tree.file(&item.path).map(drop))?;
            bar.done();
            // Of a dataset in parts, each part comes with a start of its own.
            *bar = Progress::new("fetching", *bytes + items.iter().map(|i| i.size).sum::<u64>(), self.quiet);
            *members += items.len() as u64;
        }
        self.started = true;
        Ok(())
    }

    fn bytes(&mut self, member: &Subject, offset: u64, piece: &[u8]) -> Result<()> {
        match &mut self.state {
            State::One { to, path, bytes, bar } => {
                to.write_all(piece).map_err(|e| Error::from(e).on(path.display()))?;
                *bytes += piece.len() as u64;
                bar.at(*bytes);
                Ok(())
            }
            State::All { tree, open, bytes, bar, .. } => {
                // Members come one after the other.
                if open.as_ref().is_none_or(|(path, _)| *path != member.path) {
                    *open = Some((member.path.clone(), tree.reopen(&member.path)?));
                }
                if let Some((path, file)) = open {
                    file.write_all_at(piece, offset).map_err(|e| Error::from(e).on(&path))?;
                }
                *bytes += piece.len() as u64;
                bar.at(*bytes);
                Ok(())
            }
        }
    }
}

/// Tells where the bytes went, if they went anywhere but standard output.
pub fn report(delivered: &Delivered, what: &str, out: &Output) -> Result<()> {
    if out.json() {
        return out.report(delivered, |_| String::new());
    }
    if delivered.output != Path::new("-") {
        let size = crate::output::text::size(delivered.bytes);
        out.message(format!("{what}: {size} written to {}", delivered.output.display()));
    }
    Ok(())
}

/// The member that a reference in URL form names, unless `--member` says another.
pub fn member_of(reference: &Reference, flag: Option<&String>) -> Result<Option<String>> {
    match (&reference.member, flag) {
        (Some(url), Some(flag)) if url != flag => {
            Err(Error::new(ErrorId::InvalidArgument, "--member and the reference name different members"))
        }
        (url, flag) => Ok(flag.or(url.as_ref()).cloned()),
    }
}
