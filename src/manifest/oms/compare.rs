//! A statement held against the files of a model: every difference, not the first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::{DEFAULT_IGNORED, Malformed, Method, Resource, Statement};
use crate::error::{Error, ErrorId, Result};
use crate::files::{ModelFiles, Piece, digest};

/// Largest file that is hashed to see whether it is a missing one whose size nobody signed (bytes).
const GUESSED_LEN: u64 = 1 << 30;

/// One way in which a model is not the one that was signed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "difference", rename_all = "lowercase")]
pub enum Difference {
    /// Signed, and not there.
    Missing {
        /// Path within the model.
        path: String,
    },
    /// There, and not signed.
    Extra {
        /// Path within the model.
        path: String,
    },
    /// There with other bytes.
    Changed {
        /// Path within the model.
        path: String,
        /// Bytes signed, where the signer said it.
        #[serde(skip_serializing_if = "Option::is_none")]
        expected_size: Option<u64>,
        /// Bytes found.
        size: u64,
    },
    /// A file that was signed under another name, by its digest.
    Renamed {
        /// Path that was signed.
        from: String,
        /// Path it has now.
        path: String,
    },
}

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Files that are as signed.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Empty files that a statement by shards cannot cover (OMS 6.3.2).
    pub uncovered_empty: u64,
    /// Files and directories that are there and that no statement covers: ignored ones, each with everything below it.
    pub not_covered: Vec<String>,
    /// In the order of paths.
    pub differences: Vec<Difference>,
}

/// Walks a model by the rules its statement records and holds each file against it.
///
/// `bundle`: the signature's own place within the model, which no statement covers. `passed_over`: what else is left out; files
/// there that were signed are missing. `allow_extra`: files that nobody signed
/// are no difference.
///
/// # Errors
/// `BundleMalformed` if the statement's shards leave holes; those of [`ModelFiles::find`] and [`digest`].
pub fn compare(
    path: &Path,
    statement: &Statement,
    bundle: &[String],
    passed_over: &[String],
    allow_extra: bool,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Comparison> {
    let mut ignored = statement.serialization.ignored.clone();
    let also = bundle.iter().chain(passed_over).cloned();
    DEFAULT_IGNORED.iter().map(|p| (*p).to_owned()).chain(also).for_each(|p| ignored.insert(p));
    // What a walk refuses in a model that was signed came there later: it is no mistake of whoever asks.
    let model = ModelFiles::find(path, &ignored, statement.serialization.links).map_err(|e| match e.id() {
        ErrorId::InvalidArgument => {
            Error::new(ErrorId::ModelChanged, format!("not as it was signed: {}", e.message())).caused_by(e)
        }
        _ => e,
    })?;
    let mut signed = signed_files(statement)?;
    if model.is_single_file() {
        // The reference names the one file of a model ".".
        if let Some(mut file) = signed.remove(".") {
            file.path = model.entries()[0].path.clone();
            signed.insert(model.entries()[0].path.as_str(), file);
        }
    }
    let not_covered = model.left_out().iter().filter(|p| !bundle.contains(p)).cloned().collect();
    let mut result = Comparison { not_covered, ..Comparison::default() };
    let mut check = Check { model: &model, statement, threads, progress };

    let mut pieces = Vec::new();
    let mut expected: Vec<&[u8]> = Vec::new();
    let mut extra = Vec::new();
    for (index, entry) in model.entries().iter().enumerate() {
        match signed.remove(&*entry.path) {
            None if entry.size == 0 && matches!(statement.serialization.method, Method::Shards(_)) => {
                result.uncovered_empty += 1;
            }
            None => extra.push(index),
            Some(file) if file.size.is_some_and(|size| size != entry.size) => {
                result.differences.push(Difference::Changed {
                    path: entry.path.clone(),
                    expected_size: file.size,
                    size: entry.size,
                });
            }
            Some(file) => {
                result.files += 1;
                for resource in file.resources {
                    pieces.push(Piece { file: index, range: resource.shard.clone().unwrap_or(0..entry.size) });
                    expected.push(&resource.digest);
                }
            }
        }
    }
    let mut changed: Vec<usize> = Vec::new();
    for ((piece, expected), found) in pieces.iter().zip(expected).zip(check.digest(&pieces)?) {
        // Public values: nothing is secret in how far two digests agree.
        if *found != *expected && changed.last() != Some(&piece.file) {
            changed.push(piece.file);
        } else if *found == *expected {
            result.bytes += piece.range.end - piece.range.start;
        }
    }
    result.files -= changed.len() as u64;
    for index in changed {
        let entry = &model.entries()[index];
        result.differences.push(Difference::Changed {
            path: entry.path.clone(),
            expected_size: None,
            size: entry.size,
        });
    }
    let mut missing: BTreeMap<&str, SignedFile<'_>> = signed.into_iter().collect();
    check.explain_renames(&mut missing, &mut extra, &mut result)?;
    result.differences.extend(missing.into_keys().map(|path| Difference::Missing { path: path.into() }));
    if !allow_extra {
        let extra = extra.into_iter().map(|i| Difference::Extra { path: model.entries()[i].path.clone() });
        result.differences.extend(extra);
    }
    result.differences.sort_by(|a, b| a.path().cmp(b.path()));
    Ok(result)
}

impl Difference {
    /// The path it is about.
    pub fn path(&self) -> &str {
        match self {
            Self::Missing { path } | Self::Extra { path } | Self::Changed { path, .. } | Self::Renamed { path, .. } => {
                path
            }
        }
    }

    /// One word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Extra { .. } => "extra",
            Self::Changed { .. } => "changed",
            Self::Renamed { .. } => "renamed",
        }
    }
}

/// A file of the statement: one resource, or its shards in order.
pub(super) struct SignedFile<'a> {
    path: String,
    pub resources: Vec<&'a Resource>,
    pub size: Option<u64>,
}

/// The files of a statement. Shards must cover each of them without hole or overlap: a statement that leaves bytes out would
/// vouch for any bytes there.
pub(super) fn signed_files(statement: &Statement) -> Result<HashMap<&str, SignedFile<'_>>, Malformed> {
    let mut files: HashMap<&str, SignedFile<'_>> = HashMap::with_capacity(statement.resources.len());
    for resource in &statement.resources {
        let file = files.entry(&resource.path).or_insert_with(|| SignedFile {
            path: resource.path.clone(),
            resources: Vec::with_capacity(1),
            size: resource.size,
        });
        file.resources.push(resource);
    }
    if let Method::Shards(size) = statement.serialization.method {
        for file in files.values_mut() {
            let start = |r: &&Resource| r.shard.as_ref().map_or(0, |s| s.start);
            file.resources.sort_unstable_by_key(start);
            let mut at = 0;
            let last = file.resources.len() - 1;
            for (i, resource) in file.resources.iter().enumerate() {
                let shard = resource.shard.clone().unwrap_or(0..0);
                let len = shard.end.saturating_sub(shard.start);
                let fits = if i == last { (1..=size).contains(&len) } else { len == size };
                if shard.start != at || !fits {
                    return Err(Malformed::new(format!("the shards of {:?} do not follow one another", file.path)));
                }
                at = shard.end;
            }
            file.size = Some(at);
        }
    }
    Ok(files)
}

struct Check<'a> {
    model: &'a ModelFiles,
    statement: &'a Statement,
    threads: usize,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl Check<'_> {
    fn digest(&mut self, pieces: &[Piece]) -> Result<Vec<Box<[u8]>>> {
        digest(self.model, pieces, self.statement.serialization.algorithm, self.threads, self.progress)
    }

    /// Where a file is missing and another is too many, the digest tells whether they are the same one.
    fn explain_renames<'s>(
        &mut self,
        missing: &mut BTreeMap<&'s str, SignedFile<'s>>,
        extra: &mut Vec<usize>,
        result: &mut Comparison,
    ) -> Result<()> {
        let mut lost: HashMap<&[u8], Vec<&str>> = HashMap::new();
        let mut sizes = HashSet::new();
        for (path, file) in missing.iter().filter(|(_, file)| file.resources.len() == 1) {
            lost.entry(&file.resources[0].digest).or_default().push(path);
            sizes.insert(file.size);
        }
        let candidates: Vec<Piece> = extra
            .iter()
            .map(|i| Piece { file: *i, range: 0..self.model.entries()[*i].size })
            .filter(|p| sizes.contains(&Some(p.range.end)) || (sizes.contains(&None) && p.range.end <= GUESSED_LEN))
            .collect();
        let mut known = HashSet::new();
        for (piece, found) in candidates.iter().zip(self.digest(&candidates)?) {
            if let Some(from) = lost.get_mut(&*found).and_then(Vec::pop) {
                missing.remove(from);
                known.insert(piece.file);
                let path = self.model.entries()[piece.file].path.clone();
                result.differences.push(Difference::Renamed { from: from.into(), path });
            }
        }
        extra.retain(|i| !known.contains(i));
        Ok(())
    }
}
