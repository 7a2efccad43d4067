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
use model_vault::seal::{HashCheck, Manifest, Reader, SealError};
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
#[derive(Clone, Debug)]
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

/// What is to be done: one member, or all.
#[derive(Clone, Debug)]
pub enum Plan {
    /// A member, and which bytes of it.
    One(Item, Range<u64>),
    /// Every member, into a directory.
    All(Vec<Item>),
}

impl Wanted {
    /// Decides what the members at hand make of the wishes.
    ///
    /// # Errors
    /// `NotFound` for a member that is not there, `RangeInvalid`, `InvalidArgument` where a directory is needed.
    pub fn plan(&self, items: Vec<Item>) -> Result<Plan> {
        let one = match (&self.member, &items[..]) {
            (Some(path), _) => Some(items.iter().find(|i| i.path == *path).cloned().ok_or_else(|| {
                Error::new(ErrorId::NotFound, format!("there is no member {path:?}"))
                    .hint("vault inspect lists the members")
                    .detail("member", path)
            })?),
            // A file that was sealed by itself comes back as a file.
            (None, [only]) if !only.path.contains('/') => Some(only.clone()),
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
                Ok(Plan::One(item, start..end))
            }
            None if self.range.is_some() => {
                Err(Error::new(ErrorId::InvalidArgument, "a range is of one member, and there are several")
                    .hint("name it with --member"))
            }
            None if self.output.is_none() => {
                Err(Error::new(ErrorId::InvalidArgument, format!("there are {} members", items.len()))
                    .hint("name a directory with -o, or one member with --member"))
            }
            None => {
                Tree::check(items.iter().map(|i| &*i.path))?;
                Ok(Plan::All(items))
            }
        }
    }

    /// Opens the destination of one member.
    fn destination(&self, item: &Item) -> Result<(Destination, PathBuf)> {
        let path = match &self.output {
            None if stdout().is_terminal() => {
                return Err(Error::new(ErrorId::InvalidArgument, "refusing to write binary data to a terminal")
                    .hint("name a file with -o, or send standard output to a pipe or file"));
            }
            None => PathBuf::from("-"),
            Some(dir) if dir.is_dir() => {
                let name = Path::new(&item.path).file_name().unwrap_or_default();
                dir.join(name)
            }
            Some(path) => path.clone(),
        };
        Ok((Destination::open(&path, PRIVATE)?, path))
    }
}

/// Delivers from a file that was opened in this process.
pub fn from_reader(reader: &Reader, wanted: &Wanted, out: &Output) -> Result<Delivered> {
    match wanted.plan(items(reader.manifest()))? {
        Plan::One(item, range) => {
            let (mut to, path) = wanted.destination(&item)?;
            let bytes = range.end - range.start;
            let bar = Progress::new("opening", bytes, out.json());
            let moved = |n| bar.more(n);
            if let Some(file) = to.random_access().filter(|_| bytes == item.size) {
                reader.extract_member(&item.path, file, threads(), &moved)?;
            } else {
                reader.read_member_range::<Error>(&item.path, range, HashCheck::Compare, &mut |piece| {
                    to.write_all(piece).map_err(|e| Error::from(e).on(path.display()))?;
                    moved(piece.len() as u64);
                    Ok(())
                })?;
            }
            bar.done();
            to.finish(false)?;
            Ok(Delivered { version: None, output: path, members: 1, bytes })
        }
        Plan::All(items) => {
            let path = wanted.output.clone().unwrap_or_default();
            let tree = Tree::open(&path)?;
            let total = items.iter().map(|i| i.size).sum();
            let bar = Progress::new("opening", total, out.json());
            items.iter().try_for_each(|item| tree.file(&item.path).map(drop))?;
            reader.extract(threads(), &|n| bar.more(n), &|member, offset, bytes| {
                let file = tree.reopen(&member.path).map_err(SealError::from)?;
                file.write_all_at(bytes, offset).map_err(SealError::Io)
            })?;
            bar.done();
            tree.finish()?;
            Ok(Delivered { version: None, output: path, members: items.len() as u64, bytes: total })
        }
    }
}

fn threads() -> usize {
    // More do not help: four saturate memory on the machines we measured, and each holds a segment.
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// Takes a stream from a daemon.
pub struct Sink<'a> {
    wanted: &'a Wanted,
    /// A directory even for a single file.
    as_directory: bool,
    quiet: bool,
    state: State,
}

enum State {
    Waiting,
    One { to: Destination, path: PathBuf, bytes: u64, bar: Progress },
    All { tree: Tree, open: Option<(String, std::fs::File)>, members: u64, bytes: u64, bar: Progress },
}

impl<'a> Sink<'a> {
    /// For `vault open`: a single file stays a file.
    pub fn new(wanted: &'a Wanted, out: &Output) -> Self {
        Self { wanted, as_directory: false, quiet: out.json(), state: State::Waiting }
    }

    /// For `vault fetch`: always a directory.
    pub fn directory(wanted: &'a Wanted, out: &Output) -> Self {
        Self { as_directory: true, ..Self::new(wanted, out) }
    }

    /// Puts in place what came, once the stream has proved to be complete.
    pub fn finish(self, version: VersionFacts) -> Result<Delivered> {
        let version = Some(version);
        match self.state {
            State::Waiting => Err(Error::new(ErrorId::StreamBroken, "the stream ended before its statement")),
            State::One { to, path, bytes, bar } => {
                bar.done();
                to.finish(false)?;
                Ok(Delivered { version, output: path, members: 1, bytes })
            }
            State::All { tree, members, bytes, bar, .. } => {
                bar.done();
                tree.finish()?;
                Ok(Delivered { version, output: self.wanted.output.clone().unwrap_or_default(), members, bytes })
            }
        }
    }
}

impl FetchSink for Sink<'_> {
    fn start(&mut self, _: &VersionFacts, statement: &ArtifactStatement) -> Result<()> {
        let items: Vec<_> = statement.subjects.iter().map(|s| Item { path: s.path.clone(), size: s.size }).collect();
        let plan = if self.as_directory {
            Tree::check(items.iter().map(|i| &*i.path))?;
            Plan::All(items)
        } else {
            self.wanted.plan(items)?
        };
        self.state = match plan {
            Plan::One(item, range) => {
                let (to, path) = self.wanted.destination(&item)?;
                let bar = Progress::new("fetching", range.end - range.start, self.quiet);
                State::One { to, path, bytes: 0, bar }
            }
            Plan::All(items) => {
                let tree = Tree::open(&self.wanted.output.clone().unwrap_or_default())?;
                items.iter().try_for_each(|item| tree.file(&item.path).map(drop))?;
                let bar = Progress::new("fetching", items.iter().map(|i| i.size).sum(), self.quiet);
                State::All { tree, open: None, members: items.len() as u64, bytes: 0, bar }
            }
        };
        Ok(())
    }

    fn bytes(&mut self, member: &Subject, offset: u64, piece: &[u8]) -> Result<()> {
        match &mut self.state {
            State::Waiting => Err(Error::new(ErrorId::Internal, "bytes before the statement")),
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
