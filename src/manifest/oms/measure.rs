//! A statement made from the files of a model.

use std::path::Path;

use super::{DEFAULT_IGNORED, Method, Resource, Serialization, Statement};
use crate::crypto::hash::Algorithm;
use crate::error::{Error, ErrorId, Result};
use crate::files::{Digests, Ignored, Links, ModelFiles, Piece, digest, path_is_canonical};

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

/// Hashes a model and says what is in it.
///
/// # Errors
/// Those of [`ModelFiles::find`] and [`digest`]; `InvalidArgument` if there is nothing to sign.
pub fn measure(path: &Path, parameters: &Parameters, progress: &(dyn Fn(u64) + Sync)) -> Result<Statement> {
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
    let digests = digest(&model, &pieces, parameters.algorithm, parameters.threads, progress)?;
    let mut resources = resources(&model, &pieces, digests, parameters.method);
    if model.is_single_file() {
        ignored = Ignored::default();
        if parameters.reference_name {
            resources.iter_mut().for_each(|r| r.path = ".".into());
        }
    }
    let serialization =
        Serialization { method: parameters.method, algorithm: parameters.algorithm, links: parameters.links, ignored };
    Ok(Statement::new(base_name(path)?, serialization, resources)?)
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
