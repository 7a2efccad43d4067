//! A signed dataset of more files than one sealed file holds: which files go into which version (docs/datasets.md).

use model_vault::manifest::{DATASET_NAME, MAX_PARTS, PARTS_NAME, Part, Parts};
use model_vault::names::ArtifactKind;
use model_vault::{Error, ErrorId, Result};

use crate::args;
use crate::files::source::{MEMBERS_MAX, Source};

/// Files of a part, unless the user says otherwise.
const FILES: usize = 50_000;
/// Bytes that the members may take in a sealed manifest, which has 64 MiB (docs/format.md 11).
const MANIFEST: u64 = 62 << 20;
/// What a member takes there at most, twice described, and for each byte of its path.
const MEMBER: u64 = 500;
const PATH_BYTE: u64 = 3;
/// Bytes that the list of them takes in the message that begins an upload, which has 4 MiB with the statement of the dataset, and those of
/// a member beside its path.
const MESSAGE: u64 = 3_600_000;
const LISTED: u64 = 24;
/// Most bytes of a statement that is read for that.
const STATEMENT: u64 = 64 << 20;
/// Bytes of a member for each byte of its tree, and most bytes of all trees.
const TREE: u64 = 1 << 10;
const TREES: u64 = 32 << 20;

/// The files by the version they go into.
pub struct Split {
    /// Each in the order of the paths.
    pub parts: Vec<Vec<Source>>,
    /// What lies beside the files, for the version that names the parts.
    pub beside: Vec<Source>,
}

/// Splits a signed dataset that is too large for one version; anything else is all beside.
///
/// # Errors
/// `InvalidArgument` for more files than can be sealed, and for a signature of the whole that would be in no version.
pub fn split(sources: Vec<Source>, args: &args::Seal) -> Result<Split> {
    let signed = args.kind()? == ArtifactKind::Dataset && sources.iter().any(|s| s.path == DATASET_NAME);
    let most = args.part_files.map_or(FILES, |n| n as usize);
    let fits = {
        let mut room = Room::of(most);
        sources.iter().all(|source| room.takes(source))
    };
    if args.part_files.is_some() && !signed {
        if sources.iter().any(|s| s.path == DATASET_NAME) {
            return Err(
                Error::new(ErrorId::InvalidArgument, "only a dataset is sealed in parts").hint("add --kind dataset")
            );
        }
        let text = format!("{} has no {DATASET_NAME}: nothing says which files belong together", args.path.display());
        return Err(Error::new(ErrorId::InvalidArgument, text).hint(
            "only a signed dataset is sealed in parts: vault dataset sign PATH, then vault seal PATH --kind dataset",
        ));
    }
    if fits || !signed {
        if sources.len() > MEMBERS_MAX {
            let text = format!("{} has more than {MEMBERS_MAX} files", args.path.display());
            return Err(Error::new(ErrorId::InvalidArgument, text).hint(
                "pack small files into archives first; a dataset that is signed (vault dataset sign) is sealed in parts",
            ));
        }
        return Ok(Split { parts: Vec::new(), beside: sources });
    }
    let (beside, files): (Vec<_>, Vec<_>) = sources.into_iter().partition(|s| Parts::lies_beside(&s.path));
    for name in [PARTS_NAME, "model.sig", "claims.jsonl"] {
        if beside.iter().chain(&files).any(|s| s.path == name) {
            let text = format!("{name} cannot be in a dataset that is sealed in parts");
            return Err(Error::new(ErrorId::InvalidArgument, text)
                .hint("keep signatures of the whole beside the directory: vault sign DIR --signature FILE"));
        }
    }
    let mut parts: Vec<Vec<Source>> = Vec::new();
    let mut room = Room::of(most);
    for source in files {
        if !room.takes(&source) || parts.is_empty() {
            room = Room::of(most);
            room.takes(&source);
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(source);
        }
    }
    let mut room = Room::of(MEMBERS_MAX);
    if parts.is_empty() || parts.len() > MAX_PARTS || !beside.iter().all(|source| room.takes(source)) {
        let text = format!("{} is too large to be sealed: {} parts", args.path.display(), parts.len());
        return Err(Error::new(ErrorId::InvalidArgument, text).hint("pack small files into archives first"));
    }
    Ok(Split { parts, beside })
}

/// What one version still takes.
struct Room {
    files: usize,
    manifest: u64,
    message: u64,
    trees: u64,
}

impl Room {
    fn of(files: usize) -> Self {
        Self { files, manifest: MANIFEST, message: MESSAGE, trees: 0 }
    }

    /// Whether one more fits.
    fn takes(&mut self, source: &Source) -> bool {
        let path = source.path.len() as u64;
        let (member, listed) = (MEMBER + PATH_BYTE * path, LISTED + path);
        self.trees = (self.trees + source.size / TREE).min(TREES);
        let fits = self.files > 0 && self.manifest >= member + self.trees && self.message >= listed;
        if fits {
            self.files -= 1;
            self.manifest -= member;
            self.message -= listed;
        }
        fits
    }
}

/// The parts as they were sealed.
#[derive(Default)]
pub struct Sealed(Vec<Part>);

impl Split {
    /// The signed statement of them all, which is asked about first; none if there are no parts, or if it is longer than anybody signs.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn statement(&self) -> Result<Option<Vec<u8>>> {
        let signed =
            self.beside.iter().find(|s| s.path == DATASET_NAME && s.size <= STATEMENT && !self.parts.is_empty());
        let Some(Source { size, bytes, .. }) = signed else { return Ok(None) };
        let mut text = vec![0; usize::try_from(*size).unwrap_or(usize::MAX)];
        bytes.read_exact_at(&mut text, 0).map_err(|e| Error::from(e).on(DATASET_NAME))?;
        Ok(Some(text))
    }
}

impl Sealed {
    /// One more.
    pub fn push(&mut self, part: Part) {
        self.0.push(part);
    }

    /// The member that names them all.
    ///
    /// # Errors
    /// As [`Parts::new`].
    pub fn list(self) -> Result<Source> {
        let text = Parts::new(self.0)?.to_json().into_bytes();
        Ok(Source { path: PARTS_NAME.into(), size: text.len() as u64, bytes: Box::new(text) })
    }

    /// Which there are now that no version names, for somebody whose sealing failed.
    pub fn orphans(&self) -> Option<String> {
        let (first, last) = self.0.first().zip(self.0.last())?;
        Some(match first.version == last.version {
            true => format!("v{} was sealed as a part, and", first.version),
            false => format!("v{} to v{} were sealed as parts, and", first.version, last.version),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, size: u64) -> Source {
        Source { path: path.into(), size, bytes: Box::new(Vec::new()) }
    }

    #[test]
    fn a_version_takes_what_its_manifest_and_the_message_about_it_hold() {
        let taken = |of: usize, path: &str, size: u64| {
            let (mut room, source) = (Room::of(of), source(path, size));
            std::iter::repeat_with(|| room.takes(&source)).take(300_000).take_while(|fits| *fits).count()
        };
        assert_eq!(taken(7, "a", 1), 7);
        assert_eq!(taken(300_000, &"x".repeat(40), 1), 56_250);
        assert_eq!(taken(300_000, &"x".repeat(255), 1), 12_903);
        assert_eq!(taken(300_000, "a", 1), 129_247);
        assert!((62_000..63_000).contains(&taken(300_000, "a", 1 << 40)));
    }
}
