//! A training receipt: what a job read of which dataset, and what model it made of it. An in-toto statement with the predicate of SLSA
//! provenance v1 (<https://slsa.dev/spec/v1.0/provenance>); its by-product `read-set` names every piece that was read, in order.

mod counts;
mod parse;

use std::collections::BTreeMap;
use std::sync::Arc;

use parse::{Parts, receipt_of};

use super::pieces::Pieces;
use super::statement::DatasetStatement;
use crate::crypto::hash::Sha256Hasher;
use crate::error::{Error, ErrorId, Result};
use crate::json::quote;
use crate::names::Sha256;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";
const BUILD: &str = "https://modelvault.example/training/v1";
const READER: &str = "https://modelvault.example/reader/v1";
/// Most runs of pieces in a receipt: whoever reads in another order each epoch has one for each piece.
const MAX_READS: usize = 1_000_000;
/// Most bytes of what it says beside models and reads.
const MAX_BUILD: usize = 1 << 20;
/// Pieces of files that are held while a receipt is checked: 48 bytes each.
const MAX_HELD: usize = 1 << 20;

/// Pieces in a row that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// From 0.
    pub epoch: u64,
    /// Path of the file; shared by all runs of it.
    pub file: Arc<str>,
    /// First and last piece.
    pub pieces: (u64, u64),
    /// First and last record, from 1; 0 and 0 where none begins.
    pub records: (u64, u64),
}

/// What was read.
#[derive(Clone, Default)]
pub struct ReadSet {
    /// In order.
    pub reads: Vec<Read>,
    /// Records that were handed on.
    pub records: u64,
    digest: Sha256Hasher,
}

impl ReadSet {
    /// All pieces of a file.
    pub(super) fn file(&mut self, file: &str, pieces: &Pieces) {
        let Some(last) = (pieces.0.len() as u64).checked_sub(1) else { return };
        let mut records = 0;
        for (index, piece) in pieces.0.iter().enumerate() {
            self.digest.update(format!("0 {file} {index} {}\n", piece.blake3).as_bytes());
            records += piece.records;
        }
        let records = if records == 0 { (0, 0) } else { (1, records) };
        self.reads.push(Read { epoch: 0, file: file.into(), pieces: (0, last), records });
    }

    /// SHA-256 over the lines `EPOCH FILE PIECE SHA256` of all pieces, in order.
    pub fn digest(&self) -> Sha256 {
        self.digest.clone().finish()
    }
}

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What was made: names of files and their SHA-256. Empty before it is signed.
    pub models: Vec<(String, Sha256)>,
    /// The dataset's name, version, root, and SHA-256 of its statement.
    pub dataset: (String, u64, Sha256, Sha256),
    /// How often all of it was gone through.
    pub epochs: u64,
    /// Of the order, if it was drawn.
    pub order_seed: Option<u64>,
    /// Records that were handed on.
    pub records: u64,
    /// Passes that were broken off: of the last piece of each fewer records were handed on than it has.
    pub unfinished: u64,
    /// What was read, in order.
    pub reads: Vec<Read>,
    /// SHA-256 over all pieces read.
    pub read_set: Sha256,
}

impl Receipt {
    /// For what was read of a version.
    pub fn new(statement: &DatasetStatement, digest: Sha256, read: &ReadSet) -> Self {
        Self {
            models: Vec::new(),
            dataset: (statement.name.clone(), statement.version, statement.root(), digest),
            epochs: 1,
            order_seed: None,
            records: read.records,
            unfinished: 0,
            reads: read.reads.clone(),
            read_set: read.digest(),
        }
    }

    /// What is signed.
    pub fn to_payload(&self) -> String {
        use std::fmt::Write;
        let mut out = format!("{{\"_type\":\"{STATEMENT_TYPE}\",\"subject\":[");
        for (i, (name, sha256)) in self.models.iter().enumerate() {
            out.push_str(if i == 0 { "{\"name\":" } else { ",{\"name\":" });
            quote(name, &mut out);
            let _ = write!(out, ",\"digest\":{{\"sha256\":\"{sha256}\"}}}}");
        }
        let _ = write!(
            out,
            "],\"predicateType\":\"{PREDICATE}\",\"predicate\":{{\"buildDefinition\":{{\"buildType\":\"{BUILD}\",\"externalParameters\":{{"
        );
        if let Some(seed) = self.order_seed {
            let _ = write!(out, "\"order_seed\":{seed},");
        }
        let _ = write!(out, "\"epochs\":{}}},\"resolvedDependencies\":[{{\"name\":", self.epochs);
        let (name, version, root, statement) = &self.dataset;
        quote(name, &mut out);
        let _ = write!(
            out,
            ",\"digest\":{{\"sha256\":\"{root}\"}},\"annotations\":{{\"version\":{version},\"statement\":\"{statement}\"}}}}]}},\
             \"runDetails\":{{\"builder\":{{\"id\":\"{READER}\"}},\"byproducts\":[{{\"name\":\"read-set\",\"digest\":{{\"sha256\":\"{}\"}},\
             \"annotations\":{{\"records\":{},",
            self.read_set, self.records
        );
        if self.unfinished > 0 {
            let _ = write!(out, "\"unfinished\":{},", self.unfinished);
        }
        out.push_str("\"reads\":[");
        for (i, Read { epoch, file, pieces, records }) in self.reads.iter().enumerate() {
            let _ = write!(out, "{}[{epoch},", if i == 0 { "" } else { "," });
            quote(file, &mut out);
            let _ = write!(out, ",{},{},{},{}]", pieces.0, pieces.1, records.0, records.1);
        }
        out.push_str("]}}]}}}");
        out
    }

    /// From a payload, in whatever order its members are.
    ///
    /// # Errors
    /// `BundleMalformed` for anything that is no receipt of ours.
    pub fn from_payload(payload: &[u8]) -> Result<Self> {
        let bad = |why: &str| Error::new(ErrorId::BundleMalformed, format!("not a training receipt: {why}"));
        let parts = Parts::read(payload).map_err(|e| bad(&e.to_string()))?;
        if (parts.kind.as_deref(), parts.predicate.as_deref()) != (Some(STATEMENT_TYPE), Some(PREDICATE)) {
            return Err(bad("it is of another type"));
        }
        receipt_of(parts).ok_or_else(|| bad("a member is malformed or missing"))
    }

    /// Whether every piece of these files was read in every epoch, each once.
    ///
    /// # Errors
    /// Those of `pieces`.
    pub fn covers(&self, files: &[&str], pieces: &mut dyn FnMut(&str) -> Result<Pieces>) -> Result<bool> {
        let mut read: BTreeMap<(u64, &str), Vec<(u64, u64)>> = BTreeMap::new();
        for Read { epoch, file, pieces, .. } in &self.reads {
            read.entry((*epoch, &**file)).or_default().push(*pieces);
        }
        for file in files {
            let all = pieces(file)?.0.len() as u64;
            for epoch in 0..self.epochs.max(1) {
                let mut runs = read.remove(&(epoch, *file)).unwrap_or_default();
                runs.sort_unstable();
                let end = runs.iter().try_fold(0, |next, (first, last)| (*first == next).then_some(last + 1));
                if end != Some(all) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether these pieces of the dataset, and the records in them, are what the receipt says was read, in its order. `pieces` gives the
    /// signed list of a file.
    ///
    /// # Errors
    /// `DatasetChanged` where they are not; those of `pieces`.
    pub fn must_be_of(&self, pieces: &mut dyn FnMut(&str) -> Result<Pieces>) -> Result<()> {
        let other = |why: String| {
            Err(Error::new(ErrorId::DatasetChanged, format!("the receipt is not about this dataset: {why}")))
        };
        // Whoever reads in a drawn order comes to a file again and again.
        let (mut digest, mut held, mut known) = (Sha256Hasher::default(), 0, BTreeMap::<&str, Listed>::new());
        for read in &self.reads {
            if !known.contains_key(&*read.file) {
                let listed = pieces(&read.file)?;
                held += listed.0.len();
                if held > MAX_HELD {
                    known.clear();
                    held = listed.0.len();
                }
                known.insert(&read.file, Listed::of(listed));
            }
            let Some(known) = known.get(&*read.file) else { continue };
            let listed = &known.pieces.0;
            for index in read.pieces.0..=read.pieces.1 {
                let Some(piece) = usize::try_from(index).ok().and_then(|i| listed.get(i)) else {
                    return other(format!("{} has no piece {index}", read.file));
                };
                digest.update(format!("{} {} {index} {}\n", read.epoch, read.file, piece.blake3).as_bytes());
            }
            if known.records(read.pieces) != Some(read.records) {
                let (first, last) = read.records;
                return other(format!(
                    "records {first} to {last} of {} are not those of the pieces that it names",
                    read.file
                ));
            }
        }
        if digest.finish() == self.read_set { Ok(()) } else { other("its pieces have other digests".into()) }
    }
}

/// The pieces of a file, and which records are in them.
struct Listed {
    pieces: Pieces,
    /// Records before each, and of all.
    before: Vec<u64>,
}

impl Listed {
    fn of(pieces: Pieces) -> Self {
        let mut sum = 0_u64;
        let mut before = vec![0];
        before.extend(pieces.0.iter().map(|piece| {
            sum = sum.saturating_add(piece.records);
            sum
        }));
        Self { pieces, before }
    }

    /// First and last record of pieces, from 1; 0 and 0 where none begins.
    fn records(&self, (first, last): (u64, u64)) -> Option<(u64, u64)> {
        let at = |piece: u64| self.before.get(usize::try_from(piece).ok()?).copied();
        let (before, until) = (at(first)?, at(last.checked_add(1)?)?);
        Some(if until > before { (before + 1, until) } else { (0, 0) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::pieces::Piece;
    use super::*;

    fn pieces(n: u8) -> Pieces {
        Pieces((0..n).map(|i| Piece::of(&[i; 9], u64::from(i > 0) * 10)).collect())
    }

    fn receipt() -> Receipt {
        let mut read = ReadSet::default();
        for (file, n) in [("a.csv", 3), ("b \"x\".csv", 2)] {
            read.file(file, &pieces(n));
        }
        assert_eq!(read.reads.len(), 2);
        assert_eq!((read.reads[0].pieces, read.reads[0].records), ((0, 2), (1, 20)));
        Receipt {
            models: vec![("m.onnx".into(), Sha256([1; 32]))],
            dataset: ("d".into(), 3, Sha256([2; 32]), Sha256([3; 32])),
            epochs: 1,
            order_seed: Some(7),
            records: 30,
            unfinished: 0,
            read_set: read.digest(),
            reads: read.reads,
        }
    }

    #[test]
    fn a_receipt_is_read_again_and_no_other_statement_is_one() {
        let receipt = receipt();
        let text = receipt.to_payload();
        assert_eq!(Receipt::from_payload(text.as_bytes()).unwrap(), receipt);
        let partly = Receipt { unfinished: 2, ..receipt.clone() };
        assert_eq!(Receipt::from_payload(partly.to_payload().as_bytes()).unwrap(), partly);
        for (from, to) in [
            ("training/v1", "training/v2"),
            ("provenance/v1", "provenance/v0.2"),
            ("[0,\"a.csv\",0,2,1,20]", "[0,\"a.csv\",2,0,1,20]"),
            ("[0,\"a.csv\",0,2,1,20]", "[0,\"a.csv\",0,2]"),
            ("\"epochs\":1", "\"epochs\":-1"),
            ("\"name\":\"read-set\"", "\"name\":\"read-set\",\"name\":\"x\""),
            ("\"epochs\":1", format!("\"epochs\":1,\"x\":\"{}\"", "x".repeat(MAX_BUILD)).as_str()),
        ] {
            assert!(text.contains(from), "{from}");
            let error = Receipt::from_payload(text.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!(error.id(), ErrorId::BundleMalformed, "{to}");
        }
    }

    #[test]
    fn a_receipt_is_about_the_pieces_that_it_names_in_their_order() {
        let listed = |file: &str| Ok(pieces(if file == "a.csv" { 3 } else { 2 }));
        receipt().must_be_of(&mut |file| listed(file)).unwrap();
        let files = ["a.csv", "b \"x\".csv"];
        assert!(receipt().covers(&files, &mut |file| listed(file)).unwrap());
        let part = Receipt { reads: receipt().reads[..1].to_vec(), ..receipt() };
        assert!(!part.covers(&files, &mut |file| listed(file)).unwrap());
        assert!(!Receipt { epochs: 2, ..receipt() }.covers(&files, &mut |file| listed(file)).unwrap());
        let refused = |receipt: Receipt| receipt.must_be_of(&mut |file| listed(file)).unwrap_err().id();
        let mut other = receipt();
        other.reads.swap(0, 1);
        assert_eq!(refused(other), ErrorId::DatasetChanged);
        let mut other = receipt();
        other.reads[0].pieces.1 = u64::MAX;
        assert_eq!(refused(other), ErrorId::DatasetChanged);
        let mut other = receipt();
        other.reads.pop();
        assert_eq!(refused(other), ErrorId::DatasetChanged);
        for records in [(1, 19), (2, 20), (0, 0), (1, 21)] {
            let mut other = receipt();
            other.reads[0].records = records;
            assert_eq!(refused(other), ErrorId::DatasetChanged, "{records:?}");
        }
    }

    #[test]
    fn a_file_is_listed_once_however_often_it_was_read_in_turn() {
        let mut digest = Sha256Hasher::default();
        let reads = (0..1000).map(|i| {
            let (file, piece) = (["a.csv", "b.csv"][i % 2], (i / 2 % 2) as u64);
            let blake3 = pieces(2).0[i / 2 % 2].blake3;
            digest.update(format!("0 {file} {piece} {blake3}\n").as_bytes());
            let records = [(0, 0), (1, 10)][i / 2 % 2];
            Read { epoch: 0, file: file.into(), pieces: (piece, piece), records }
        });
        let reads = reads.collect();
        let many = Receipt { reads, read_set: digest.finish(), ..receipt() };
        let many = Receipt::from_payload(many.to_payload().as_bytes()).unwrap();
        let (mut asked, shares) = (0, |i: usize| Arc::strong_count(&many.reads[i].file));
        many.must_be_of(&mut |_| {
            asked += 1;
            Ok(pieces(2))
        })
        .unwrap();
        assert_eq!((asked, shares(0), shares(1)), (2, 500, 500), "and so is its name");
    }
}
