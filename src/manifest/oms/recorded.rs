//! Statements over digests that were recorded when an artifact was sealed: made and held against it without a byte of payload.

use std::collections::BTreeMap;
use std::ops::Range;

use super::compare::{SignedFile, signed_files};
use super::{BUNDLE_NAME, CLAIMS_NAME, DEFAULT_IGNORED, Difference, Method, Resource, Serialization, Statement};
use crate::crypto::hash::Algorithm;
use crate::error::{Error, ErrorId, Result};
use crate::files::{Ignored, Links};
use crate::manifest::Recorded;

/// Digest of a range of a file (its place among the members) by an algorithm: asked where none is recorded.
pub type HashRange<'a> = &'a dyn Fn(usize, Range<u64>, Algorithm) -> Result<Box<[u8]>>;

/// What holding a statement against recorded digests found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recollection {
    /// In the order of paths.
    pub differences: Vec<Difference>,
    /// Members that the statement says nothing of, besides signatures.
    pub left_out: Vec<String>,
}

/// The statement about an artifact, from its recorded digests. Signatures that lie in it are left out, and what every model
/// leaves out. `reference_name`: a single file is named `.`.
///
/// # Errors
/// `InvalidArgument` if the digests are not recorded or there is nothing to sign.
pub fn recorded_statement(
    name: String,
    members: &[Recorded],
    algorithm: Algorithm,
    reference_name: bool,
) -> Result<Statement> {
    let mut resources = Vec::with_capacity(members.len());
    for member in members.iter().filter(|m| !is_ignored(&m.path)) {
        let digest = recorded(member, algorithm).ok_or_else(|| {
            let text = format!("no {} of {:?} was recorded at seal", algorithm.name(), member.path);
            Error::new(ErrorId::InvalidArgument, text).hint("sign with --hash blake3, which is always recorded")
        })?;
        let (path, blake3) = (member.path.clone(), (algorithm != Algorithm::Blake3).then_some(member.blake3));
        resources.push(Resource { path, shard: None, digest, size: Some(member.size), blake3 });
    }
    if let (true, [only]) = (reference_name, &mut resources[..]) {
        only.path = ".".into();
    }
    let ignored = DEFAULT_IGNORED.iter().chain(&[BUNDLE_NAME, CLAIMS_NAME]).map(|p| (*p).to_owned());
    let serialization =
        Serialization { method: Method::Files, algorithm, links: Links::Refuse, ignored: Ignored::new(ignored) };
    Statement::new(name, serialization, resources).map_err(|e| Error::new(ErrorId::InvalidArgument, e.0))
}

/// Holds a statement against the members of an artifact.
///
/// # Errors
/// `BundleMalformed` if the statement's shards leave holes; those of `hash`.
pub fn compare_recorded(statement: &Statement, members: &[Recorded], hash: HashRange<'_>) -> Result<Recollection> {
    let algorithm = statement.serialization.algorithm;
    let sharded = matches!(statement.serialization.method, Method::Shards(_));
    let mut signed: BTreeMap<&str, SignedFile<'_>> = signed_files(statement)?.into_iter().collect();
    let mut covered: Vec<(usize, &Recorded)> =
        members.iter().enumerate().filter(|(_, m)| !is_signature(&m.path)).collect();
    let mut found = Recollection::default();
    covered.retain(|(_, member)| {
        let left_out = statement.serialization.ignored.covers(&member.path) || is_ignored(&member.path);
        if left_out {
            found.left_out.push(member.path.clone());
        }
        !left_out
    });
    // The reference names the one file of a model ".".
    if let [(_, only)] = &covered[..]
        && let Some(file) = signed.remove(".")
    {
        signed.insert(&only.path, file);
    }
    for (index, member) in covered {
        let difference = match signed.remove(&*member.path) {
            None if sharded && member.size == 0 => None,
            None => Some(Difference::Extra { path: member.path.clone() }),
            Some(file) => {
                let mut same = file.size.is_none_or(|size| size == member.size);
                for resource in &file.resources {
                    let digest = match &resource.shard {
                        _ if !same => break,
                        None => {
                            recorded(member, algorithm).map_or_else(|| hash(index, 0..member.size, algorithm), Ok)?
                        }
                        Some(shard) => hash(index, shard.clone(), algorithm)?,
                    };
                    // Public values: nothing is secret in how far two digests agree.
                    same = digest == resource.digest;
                }
                let (path, expected_size, size) = (member.path.clone(), file.size, member.size);
                (!same).then_some(Difference::Changed { path, expected_size, size })
            }
        };
        found.differences.extend(difference);
    }
    found.differences.extend(signed.into_keys().map(|path| Difference::Missing { path: path.into() }));
    found.differences.sort_by(|a, b| a.path().cmp(b.path()));
    Ok(found)
}

fn recorded(member: &Recorded, algorithm: Algorithm) -> Option<Box<[u8]>> {
    match algorithm {
        Algorithm::Sha256 => member.sha256.map(|d| d.0.into()),
        Algorithm::Blake3 => Some(member.blake3.0.into()),
        Algorithm::Blake2b => None,
    }
}

/// Signatures of the model.
fn is_signature(path: &str) -> bool {
    path == BUNDLE_NAME || path == CLAIMS_NAME
}

/// Those, and what no model's signature covers (OMS 6.2).
fn is_ignored(path: &str) -> bool {
    is_signature(path) || DEFAULT_IGNORED.iter().any(|i| path.split('/').next() == Some(*i))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::{blake3, sha256};

    fn member(path: &str, content: &[u8]) -> Recorded {
        let (size, blake3) = (content.len() as u64, blake3(content));
        Recorded { path: path.into(), size, blake3, sha256: Some(sha256(content)) }
    }

    fn unread(_: usize, _: Range<u64>, _: Algorithm) -> Result<Box<[u8]>> {
        panic!("a digest that is recorded was asked for")
    }

    #[test]
    fn what_was_recorded_is_signed_and_verified_without_the_payload() {
        let mut members = vec![member("a/w", b"weights"), member("b", b""), member("model.sig", b"{}")];
        members.push(member(".git/x", b"x"));
        for algorithm in [Algorithm::Sha256, Algorithm::Blake3] {
            let statement = recorded_statement("m".into(), &members, algorithm, false).unwrap();
            let read = Statement::from_payload(statement.to_payload().as_bytes()).unwrap();
            assert_eq!(read, statement);
            let left_out = vec![".git/x".to_owned()];
            let as_signed = Recollection { left_out, ..Recollection::default() };
            assert_eq!(compare_recorded(&read, &members, &unread).unwrap(), as_signed, "a member nobody signed");
            let mut altered = members.clone();
            altered[0] = member("a/w", b"poison!");
            altered[1].path = "c".into();
            let found = compare_recorded(&read, &altered, &unread).unwrap();
            let words: Vec<_> = found.differences.iter().map(|d| (d.word(), d.path())).collect();
            assert_eq!(words, [("changed", "a/w"), ("missing", "b"), ("extra", "c")]);
        }
        members[0].sha256 = None;
        assert!(recorded_statement("m".into(), &members, Algorithm::Sha256, false).is_err());
        assert!(recorded_statement("m".into(), &members[2..], Algorithm::Sha256, false).is_err(), "nothing to sign");
    }

    #[test]
    fn digests_that_are_not_recorded_are_made_of_the_ranges_of_the_shards() {
        let content = b"0123456789";
        let members = [member("m.onnx", content)];
        let shard = |range: Range<u64>| {
            let digest = sha256(&content[range.start as usize..range.end as usize]).0.into();
            Resource { path: ".".into(), shard: Some(range), digest, size: None, blake3: None }
        };
        let serialization = Serialization {
            method: Method::Shards(4),
            algorithm: Algorithm::Sha256,
            links: Links::Refuse,
            ignored: Ignored::new([]),
        };
        let shards = vec![shard(0..4), shard(4..8), shard(8..10)];
        let statement = Statement::new("m".into(), serialization, shards).unwrap();
        let hash = |index: usize, range: Range<u64>, algorithm: Algorithm| -> Result<Box<[u8]>> {
            assert_eq!((index, algorithm), (0, Algorithm::Sha256));
            Ok(sha256(&content[range.start as usize..range.end as usize]).0.into())
        };
        assert_eq!(compare_recorded(&statement, &members, &hash).unwrap(), Recollection::default());
        let lying = |_: usize, _: Range<u64>, _: Algorithm| -> Result<Box<[u8]>> { Ok([0; 32].into()) };
        assert_eq!(compare_recorded(&statement, &members, &lying).unwrap().differences.len(), 1);
    }
}
