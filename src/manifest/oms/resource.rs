//! One digest of a statement: of a whole file, or of a shard of one.

use std::fmt::Write;
use std::ops::Range;

use crate::crypto::merkle;
use crate::files::path_is_canonical;
use crate::json::quote;
use crate::names::{Blake3, Sha256};

/// What a statement says of a file, or of a shard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Path of the file within the model; `.` where the reference implementation signed a model of one file.
    pub path: String,
    /// Bytes of the file, if this is a shard.
    pub shard: Option<Range<u64>>,
    /// By the statement's algorithm.
    pub digest: Box<[u8]>,
    /// Bytes of the file, where the signer said it (an annotation of ours).
    pub size: Option<u64>,
    /// BLAKE3 of the file, where the signer said it (an annotation of ours).
    pub blake3: Option<Blake3>,
}

impl Resource {
    /// From the name in a statement (OMS 6.3): `PATH`, or `PATH:START:END` for a shard. Paths may hold colons.
    pub(super) fn named(name: &str, sharded: bool, digest: Box<[u8]>) -> Result<Self, &'static str> {
        let (path, shard) = if sharded {
            let mut parts = name.rsplitn(3, ':');
            let end = parts.next().and_then(offset).ok_or("a shard's name ends in its offsets")?;
            let start = parts.next().and_then(offset).ok_or("a shard's name ends in its offsets")?;
            let path = parts.next().ok_or("a shard's name begins with a path")?;
            (path, Some(start..end))
        } else {
            (name, None)
        };
        if path != "." && !path_is_canonical(path) {
            return Err("a name that is no canonical relative path");
        }
        Ok(Self { path: path.into(), shard, digest, size: None, blake3: None })
    }

    /// The name in a statement.
    pub fn name(&self) -> String {
        let mut name = self.path.clone();
        if let Some(shard) = &self.shard {
            write!(name, ":{}:{}", shard.start, shard.end).expect("writing to a string");
        }
        name
    }

    pub(super) fn write_json(&self, algorithm: &str, out: &mut String) {
        out.push_str("{\"name\":");
        quote(&self.name(), out);
        write!(out, ",\"digest\":\"{}\",\"algorithm\":\"{algorithm}\"", hex::encode(&self.digest))
            .expect("writing to a string");
        if let Some(size) = self.size {
            write!(out, ",\"annotations\":{{\"size\":{size}").expect("writing to a string");
            if let Some(blake3) = self.blake3 {
                write!(out, ",\"blake3\":\"{blake3}\"").expect("writing to a string");
            }
            out.push('}');
        }
        out.push('}');
    }
}

fn offset(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| canonical && text.bytes().all(|b| b.is_ascii_digit()))
}

/// The subject's digest (OMS 6.5.1): SHA-256 over the raw digests in listed order. It binds neither names nor sizes.
pub(super) fn root(resources: &[Resource]) -> Sha256 {
    let mut hasher = crate::crypto::hash::Sha256Hasher::default();
    resources.iter().for_each(|r| hasher.update(&r.digest));
    hasher.finish()
}

/// A root that binds names, sizes and digests: RFC 6962 over `name 00 size digest`, size as 8 bytes, big-endian.
///
/// `None` unless every size is known.
pub(super) fn tree(resources: &[Resource]) -> Option<Sha256> {
    let leaf = |r: &Resource| {
        let size = r.size?.to_be_bytes();
        Some(merkle::leaf_hash(&[r.name().as_bytes(), &[0], &size, &r.digest].concat()))
    };
    let leaves = resources.iter().map(leaf).collect::<Option<Vec<_>>>()?;
    Some(merkle::root(&leaves))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::sha256;

    #[test]
    fn the_root_is_the_one_of_the_specification() {
        let resource = |n: u8| Resource::named(&n.to_string(), false, [n; 32].into()).unwrap();
        assert_eq!(root(&[resource(1), resource(2)]), sha256(&[[1; 32], [2; 32]].concat()));
        assert_eq!(tree(&[resource(1)]), None);
    }

    #[test]
    fn names_of_shards_end_in_two_offsets_and_may_hold_colons() {
        let read = |name: &str| Resource::named(name, true, [0; 32].into());
        let shard = read("a:b/c:d:0:1000000000").unwrap();
        assert_eq!((&*shard.path, shard.shard.clone()), ("a:b/c:d", Some(0..1_000_000_000)));
        assert_eq!(shard.name(), "a:b/c:d:0:1000000000");
        for bad in ["a", "a:1", "a:+1:2", "a:01:2", "a:1:", ":1:2", "a:-1:2", "a:1:99999999999999999999", "../a:1:2"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_with_another_form_of_the_same_path_are_refused() {
        for bad in ["", "/etc/passwd", "../x", "a/../b", "./x", "a//x", "a/./x", "a/", "a\0b"] {
            assert!(Resource::named(bad, false, [0; 32].into()).is_err(), "{bad:?}");
        }
        for good in ["a:1:2", "a\\b", "a\tb", "é", "."] {
            assert_eq!(Resource::named(good, false, [0; 32].into()).unwrap().name(), good);
        }
    }
}
