//! A dataset with more files than one sealed file holds: its files are sealed as several versions of one artifact, and the version
//! that stands for the dataset has a member that names them.

use std::fmt::Write as _;

use super::ArtifactStatement;
use crate::crypto::hash::Blake3Hasher;
use crate::error::{Error, ErrorId, Result};
use crate::json::{self, Value, quote};
use crate::names::{ArtifactKind, Blake3, Root};

/// The member that names the parts.
pub const PARTS_NAME: &str = "dataset.parts";
/// The member with the signed statements of a dataset: a version is one of parts only if it has both.
pub const DATASET_NAME: &str = "dataset.sig";
/// What lies below is no file of a dataset either.
const TREE: &str = "dataset.tree/";
/// Most parts of a dataset.
pub const MAX_PARTS: usize = 4096;
/// Most bytes of the member.
pub const MAX_PARTS_LEN: u64 = 8 << 20;
const DEPTH: usize = 3;

/// One of the versions that hold the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of the version.
    pub version: u64,
    /// Its sealed root.
    pub root: Root,
    /// Files in it, one at least.
    pub files: u64,
    /// Path of the first of them.
    pub first: String,
    /// Path of the last.
    pub last: String,
    /// Digest of what the files are ([`of`](Self::of)): root and number are what the vault said when it sealed them, this is not.
    pub content: Blake3,
}

/// All parts of a dataset, in the order of their paths; no path is in two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts(Vec<Part>);

impl Parts {
    /// # Errors
    /// `ManifestInvalid` for none or more than [`MAX_PARTS`], for paths out of order, and for what is no file of a dataset.
    pub fn new(parts: Vec<Part>) -> Result<Self> {
        if parts.is_empty() || parts.len() > MAX_PARTS {
            return Err(invalid("their number"));
        }
        let ordered = |part: &Part| match part.files {
            0 => false,
            1 => part.first == part.last,
            _ => part.first < part.last,
        };
        let all = parts.iter().all(|p| p.version > 0 && ordered(p) && is_file(&p.first) && is_file(&p.last));
        if !all || !parts.is_sorted_by(|a, b| a.last < b.first) {
            return Err(invalid("paths out of order"));
        }
        let mut versions: Vec<u64> = parts.iter().map(|p| p.version).collect();
        versions.sort_unstable();
        if !versions.is_sorted_by(|a, b| a < b) {
            return Err(invalid("a version twice"));
        }
        Ok(Self(parts))
    }

    /// Whether a version with these members is one of parts.
    pub fn are_named(kind: ArtifactKind, has: impl Fn(&str) -> bool) -> bool {
        kind == ArtifactKind::Dataset && has(PARTS_NAME) && has(DATASET_NAME)
    }

    /// Whether a member lies beside the files of a dataset, in the version that names the parts.
    pub fn lies_beside(path: &str) -> bool {
        !is_file(path)
    }

    /// The bytes of the member.
    pub fn to_json(&self) -> String {
        let mut out = String::from("{\"parts\":[");
        for (i, part) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(out, "{comma}\n{{\"version\":{},\"root\":\"{}\"", part.version, part.root);
            let _ = write!(out, ",\"files\":{},\"first\":", part.files);
            quote(&part.first, &mut out);
            out.push_str(",\"last\":");
            quote(&part.last, &mut out);
            let _ = write!(out, ",\"content\":\"{}\"}}", part.content);
        }
        out.push_str("\n]}\n");
        out
    }

    /// Reads what [`to_json`](Self::to_json) wrote, byte for byte.
    ///
    /// # Errors
    /// `ManifestInvalid` for anything else; as [`new`](Self::new).
    pub fn from_json(text: &[u8]) -> Result<Self> {
        if text.len() as u64 > MAX_PARTS_LEN {
            return Err(invalid("longer than 8 MiB"));
        }
        let value = json::parse(text, DEPTH).map_err(|e| invalid(&e.to_string()))?;
        let listed = value.get("parts").and_then(Value::as_array).ok_or_else(|| invalid("no list"))?;
        let part = |value: &Value| {
            Some(Part {
                version: value.get("version")?.as_u64()?,
                root: value.get("root")?.as_str()?.parse().ok()?,
                files: value.get("files")?.as_u64()?,
                first: value.get("first")?.as_str()?.to_owned(),
                last: value.get("last")?.as_str()?.to_owned(),
                content: value.get("content")?.as_str()?.parse().ok()?,
            })
        };
        let parts = listed.iter().map(part).collect::<Option<_>>().ok_or_else(|| invalid("a part"))?;
        let parts = Self::new(parts)?;
        if parts.to_json().as_bytes() != text {
            return Err(invalid("not in its canonical form"));
        }
        Ok(parts)
    }

    /// In the order of their paths.
    pub fn as_slice(&self) -> &[Part] {
        &self.0
    }
}

impl Part {
    /// The part that a version with these members is: path, bytes and BLAKE3 of each, in the order of their paths. Of what a member is,
    /// the digest takes the length of the path and the path, the bytes and their digest; both numbers have 8 bytes, the lowest first.
    pub fn of<'a>(version: u64, root: Root, members: impl IntoIterator<Item = (&'a str, u64, Blake3)>) -> Self {
        let (mut files, mut first, mut last, mut content) = (0, None, "", Blake3Hasher::default());
        for (path, size, digest) in members {
            files += 1;
            first.get_or_insert(path);
            last = path;
            [&(path.len() as u64).to_le_bytes(), path.as_bytes(), &size.to_le_bytes(), &digest.0]
                .into_iter()
                .for_each(|field| content.update(field));
        }
        let (first, last) = (first.unwrap_or_default().to_owned(), last.to_owned());
        Self { version, root, files, first, last, content: content.finish() }
    }

    /// Whether a signed statement is that of this part, and is about files of a dataset only.
    ///
    /// # Errors
    /// `BindingMismatch`.
    pub fn check(&self, root: &Root, statement: &ArtifactStatement) -> Result<()> {
        let members = statement.subjects.iter().map(|s| (s.path.as_str(), s.size, s.blake3));
        // They are sorted, so that what is no file of a dataset lies between others where it hides.
        let files = statement.subjects.iter().all(|s| is_file(&s.path));
        if files && Self::of(statement.version, *root, members) == *self {
            return Ok(());
        }
        let text = format!(
            "v{} (b3:{root}) is not the part of the dataset that was signed (b3:{})",
            statement.version, self.root
        );
        Err(Error::new(ErrorId::BindingMismatch, text)
            .hint("the server answers with something else than was sealed: do not use it, ask its operator"))
    }
}

/// Whether a path is one of a file of a dataset, and not of what lies beside the files.
fn is_file(path: &str) -> bool {
    path != DATASET_NAME && path != PARTS_NAME && !path.starts_with(TREE)
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorId::ManifestInvalid, format!("{PARTS_NAME} does not name the parts of a dataset: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(version: u64, files: u64, first: &str, last: &str) -> Part {
        let (first, last, content) = (first.into(), last.into(), Blake3([7; 32]));
        Part { version, root: Root([version as u8; 32]), files, first, last, content }
    }

    #[test]
    fn parts_are_written_in_one_way_and_read_in_that_one() {
        let parts = Parts::new(vec![part(2, 2, "a/1.png", "a/2\u{1f600}\".png"), part(1, 1, "b", "b")]).unwrap();
        let text = parts.to_json();
        assert_eq!(Parts::from_json(text.as_bytes()).unwrap(), parts);
        for other in [
            text.replace("{\"parts", "{ \"parts"),
            text.replace("\"files\":2", "\"files\":02"),
            text.replace("\"files\":2", "\"files\":2,\"more\":1"),
            text.replace("]}", "],\"more\":1}"),
            text.trim_end().into(),
            text.replace("0101", "01"),
            "{\"parts\":[\n]}\n".into(),
            "[]".into(),
            String::new(),
        ] {
            assert_eq!(Parts::from_json(other.as_bytes()).unwrap_err().id(), ErrorId::ManifestInvalid, "{other}");
        }
    }

    #[test]
    fn parts_follow_one_another_and_hold_files_only() {
        let good = || vec![part(1, 2, "a", "c"), part(2, 1, "d", "d")];
        Parts::new(good()).unwrap();
        let refused = |change: fn(&mut Vec<Part>)| {
            let mut parts = good();
            change(&mut parts);
            assert_eq!(Parts::new(parts).unwrap_err().id(), ErrorId::ManifestInvalid);
        };
        refused(|p| p.swap(0, 1));
        refused(|p| p[1].first = "c".into());
        refused(|p| p[1].version = 1);
        refused(|p| p[1].version = 0);
        refused(|p| p[1].files = 0);
        refused(|p| p[0].files = 1);
        refused(|p| p[0].last = "a".into());
        refused(|p| p[1] = part(2, 1, "dataset.sig", "dataset.sig"));
        refused(|p| p[1] = part(2, 2, "d", "dataset.tree/x"));
        refused(|p| p.clear());
    }

    #[test]
    fn a_part_is_what_its_files_are() {
        let of = |members: &[(&str, u64)]| {
            Part::of(1, Root([1; 32]), members.iter().map(|(path, size)| (*path, *size, Blake3([*size as u8; 32]))))
        };
        let first = of(&[("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!((first.files, &*first.first, &*first.last), (3, "a", "c"));
        // Reckoned by another implementation, over 3 x (8 + 1 + 8 + 32) bytes.
        assert_eq!(first.content.to_string(), "41f576ced09f5e2f774b5981e19cc209dec0e52585b72f895ce7ea19366b0ffd");
        assert_eq!((of(&[("a", 1)]).first, of(&[("a", 1)]).last), ("a".into(), "a".into()));
        for other in [&[("a", 1), ("b", 4), ("c", 3)][..], &[("a", 1), ("bb", 2), ("c", 3)], &[("a", 1), ("c", 3)], &[]]
        {
            assert_ne!(of(other).content, first.content, "{other:?}");
        }
    }
}
