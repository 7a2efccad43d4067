//! A statement made from the files of a model.

use std::path::Path;

use super::{DEFAULT_IGNORED, Method, Resource, Serialization, Since, Statement};
use crate::crypto::hash::Algorithm;
use crate::error::{Error, ErrorId, Result};
use crate::files::{Digests, Entry, Ignored, Links, ModelFiles, Piece, Stamp, digest, path_is_canonical};
use crate::names::Timestamp;

/// What a signer chooses.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// A digest a file or a shard.
    pub method: Method,
    /// Of the digests.
    pub algorithm: Algorithm,
    /// Whether links to files are followed.
    pub links: Links,
    /// Left out, beside what every model leaves out.
    pub ignored: Ignored,
    /// For a model of one file: `.` as its name, the only one the reference implementation (1.1.1) accepts, in place of the
    /// file's own.
    pub reference_name: bool,
    /// Threads that hash.
    pub threads: usize,
}

/// What a model holds, and what that rests on.
#[derive(Clone, Debug)]
pub struct Measured {
    /// To be signed.
    pub statement: Statement,
    /// The files whose later changes will show, for the next signing ([`Record`](super::Record)).
    pub stamps: Vec<(String, Stamp)>,
    /// Bytes that were not read, because an earlier signing of ours had read them.
    pub reused: u64,
}

/// Hashes a model and says what is in it.
///
/// # Errors
/// Those of [`measure_since`].
pub fn measure(path: &Path, parameters: &Parameters, progress: &(dyn Fn(u64) + Sync)) -> Result<Statement> {
    Ok(measure_since(path, parameters, None, Timestamp::from_millis(0), progress)?.statement)
}

/// Hashes what is not as it was when it was signed the last time, and takes the digests of the rest from there.
///
/// `now`: the moment before the call; files that were written to just then are not kept for the next time.
///
/// # Errors
/// Those of [`ModelFiles::find`] and [`digest`]; `InvalidArgument` if there is nothing to sign; `ModelChanged` if
/// [`Since::check`] hashed a file that nothing seemed to have changed, and it has changed.
pub fn measure_since(
    path: &Path,
    parameters: &Parameters,
    since: Option<&Since>,
    now: Timestamp,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Measured> {
    let mut ignored = parameters.ignored.clone();
    if let Some(bad) = ignored.iter().find(|p| !path_is_canonical(p) || p.contains(['*', '?', '['])) {
        return Err(Error::new(ErrorId::InvalidArgument, format!("{bad:?} cannot be ignored"))
            .hint("give the path of one file or directory, relative to the model, without patterns"));
    }
    DEFAULT_IGNORED.iter().for_each(|path| ignored.insert((*path).to_owned()));
    let model = ModelFiles::find(path, &ignored, parameters.links)?;
    let pieces = pieces(&model, parameters.method);
    if pieces.is_empty() {
        return Err(Error::new(ErrorId::InvalidArgument, format!("{} has nothing to sign", path.display()))
            .hint("a model has at least one file that is not ignored (and, in shards, not empty)"));
    }
    let (digests, reused) = digests(&model, &pieces, parameters, since, progress)?;
    let mut resources = resources(&model, &pieces, digests, parameters.method);
    if model.is_single_file() {
        ignored = Ignored::default();
        if parameters.reference_name {
            resources.iter_mut().for_each(|r| r.path = ".".into());
        }
    }
    let serialization =
        Serialization { method: parameters.method, algorithm: parameters.algorithm, links: parameters.links, ignored };
    let stamp = |entry: &Entry| Some((entry.path.clone(), entry.lasting_stamp(now)?));
    let stamps = model.entries().iter().filter_map(stamp).collect();
    Ok(Measured { statement: Statement::new(base_name(path)?, serialization, resources)?, stamps, reused })
}

/// The digests of all pieces, and how many bytes of them were not read.
fn digests(
    model: &ModelFiles,
    pieces: &[Piece],
    parameters: &Parameters,
    since: Option<&Since>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(Digests, u64)> {
    let known: Vec<Option<&[u8]>> = pieces
        .iter()
        .map(|piece| since?.digest(&model.entries()[piece.file], &piece.range, parameters.method, parameters.algorithm))
        .collect();
    let check = since.is_some_and(|s| s.check);
    let unknown: Vec<_> =
        pieces.iter().zip(&known).filter(|(_, known)| check || known.is_none()).map(|(p, _)| p.clone()).collect();
    let mut hashed = digest(model, &unknown, parameters.algorithm, parameters.threads, progress)?.into_iter();
    let (mut digests, mut reused, mut asked) = (Vec::with_capacity(pieces.len()), 0, None);
    for (piece, known) in pieces.iter().zip(known) {
        let entry = &model.entries()[piece.file];
        let found = if check || known.is_none() { hashed.next() } else { None };
        match (known, found) {
            (Some(known), Some(found)) if *known != *found => {
                let what = format!(
                    "{:?} has other bytes than were signed, and nothing says that it was written to",
                    entry.path
                );
                return Err(Error::new(ErrorId::ModelChanged, what)
                    .hint("find out what wrote there; sign without --since if the file is as it should be"));
            }
            (_, Some(found)) => digests.push(found),
            (known, None) => {
                if asked != Some(piece.file) {
                    // As the others were after their last byte.
                    model.open(entry)?;
                    asked = Some(piece.file);
                }
                reused += piece.range.end - piece.range.start;
                digests.push(known.unwrap_or_default().into());
            }
        }
    }
    Ok((digests, reused))
}

/// What is hashed, a digest each.
pub(super) fn pieces(model: &ModelFiles, method: Method) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (file, entry) in model.entries().iter().enumerate() {
        match method {
            Method::Files => pieces.push(Piece { file, range: 0..entry.size }),
            Method::Shards(size) => {
                let starts = std::iter::successors((entry.size > 0).then_some(0), |start: &u64| {
                    start.checked_add(size).filter(|next| *next < entry.size)
                });
                pieces.extend(starts.map(|s| Piece { file, range: s..entry.size.min(s.saturating_add(size)) }));
            }
        }
    }
    pieces
}

fn resources(model: &ModelFiles, pieces: &[Piece], digests: Digests, method: Method) -> Vec<Resource> {
    let resource = |(piece, digest): (&Piece, Box<[u8]>)| {
        let entry = &model.entries()[piece.file];
        let shard = matches!(method, Method::Shards(_)).then(|| piece.range.clone());
        // A shard's name tells its size.
        let size = shard.is_none().then_some(entry.size);
        Resource { path: entry.path.clone(), shard, digest, size, blake3: None }
    };
    pieces.iter().zip(digests).map(resource).collect()
}

/// The last name of a path, also of `.` and `..`.
fn base_name(path: &Path) -> Result<String> {
    let whole = path.canonicalize()?;
    Ok(whole.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned()))
}
