//! Verification of a log from its rows, its checkpoints and the public key: no vault, no secret, memory that does not grow
//! with the rows.

use std::collections::{BTreeMap, VecDeque};

use super::{AuditError, Checkpoint, FIRST_SEQ, Record, RecordError, leaf_hash};
use crate::crypto::equal;
use crate::crypto::merkle::{self, Frontier};
use crate::crypto::sign::PublicKey;
use crate::names::Sha256;

/// Takes the rows of a log in order, and its checkpoints.
///
/// A checkpoint may be given at any time before the first row that it does not cover; stored ones in the order of their sizes.
/// Those that wait for their rows take 40 bytes each, and only ones with a valid signature wait.
#[derive(Debug)]
pub struct Verifier {
    origin: String,
    key: PublicKey,
    tree: Frontier,
    waiting: VecDeque<(u64, Sha256)>,
    kept: BTreeMap<u64, Sha256>,
    last_size: Option<u64>,
    covered: u64,
    checkpoints: u64,
    kept_matched: u64,
    newer: u64,
}

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Records, all in order and well-formed.
    pub records: u64,
    /// Stored checkpoints, all signed and true.
    pub checkpoints: u64,
    /// Checkpoints kept elsewhere that the log extends.
    pub kept: u64,
    /// Root over all records.
    pub root: Sha256,
    /// Records at the end that no checkpoint covers: whoever can write the rows could have changed these.
    pub uncovered: u64,
    /// Records of a newer release: their place is verified, their meaning is not.
    pub newer: u64,
}

impl Verifier {
    /// Of the log `origin` whose checkpoints `key` signs.
    pub fn new(origin: impl Into<String>, key: PublicKey) -> Self {
        Self {
            origin: origin.into(),
            key,
            tree: Frontier::default(),
            waiting: VecDeque::new(),
            kept: BTreeMap::new(),
            last_size: None,
            covered: 0,
            checkpoints: 0,
            kept_matched: 0,
            newer: 0,
        }
    }

    /// Takes a checkpoint that was kept elsewhere: the log must extend it. This finds what no log can tell of itself, that all
    /// of it was written anew. Give it before the rows.
    ///
    /// # Errors
    /// As [`Verifier::checkpoint`].
    pub fn kept_elsewhere(&mut self, note: &str) -> Result<(), AuditError> {
        let checkpoint = self.verified(note)?;
        let (size, root) = (checkpoint.size(), checkpoint.root());
        if self.kept.insert(size, root).is_some_and(|other| other != root) {
            return Err(AuditError::Root { first: FIRST_SEQ, last: size });
        }
        self.compare_roots()
    }

    /// Takes the next stored checkpoint.
    ///
    /// # Errors
    /// `Checkpoint` if it is not signed by the log's key, `CheckpointOrder` if its size does not grow or rows after it were
    /// taken already, `Root` if the rows it covers are others than it signed.
    pub fn checkpoint(&mut self, note: &str) -> Result<(), AuditError> {
        let checkpoint = self.verified(note)?;
        if let Some(last) = self.last_size.filter(|last| checkpoint.size() <= *last) {
            return Err(AuditError::CheckpointOrder { size: checkpoint.size(), after: last });
        }
        self.last_size = Some(checkpoint.size());
        self.checkpoints += 1;
        self.waiting.push_back((checkpoint.size(), checkpoint.root()));
        self.compare_roots()
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// `Order`, `Malformed` or `Root`, each with the sequence number.
    pub fn row(&mut self, seq: u64, record: &[u8]) -> Result<(), AuditError> {
        let expected = self.tree.size() + FIRST_SEQ;
        if seq != expected {
            return Err(AuditError::Order { expected, found: seq });
        }
        match Record::parse(record) {
            Ok(_) => {}
            Err(RecordError::Newer) => self.newer += 1,
            Err(why) => return Err(AuditError::Malformed { seq, why }),
        }
        self.tree.push(leaf_hash(seq, record));
        self.compare_roots()
    }

    /// All rows and checkpoints were given.
    ///
    /// # Errors
    /// `Cut` if a checkpoint of the log covers more than there is, `Older` if one that was kept elsewhere does.
    pub fn finish(self) -> Result<Report, AuditError> {
        let records = self.tree.size();
        if let Some(size) = self.waiting.front().map(|(size, _)| *size) {
            return Err(AuditError::Cut { records, size });
        }
        if let Some(size) = self.kept.keys().copied().min() {
            return Err(AuditError::Older { records, size });
        }
        Ok(Report {
            records,
            checkpoints: self.checkpoints,
            kept: self.kept_matched,
            root: self.tree.root(),
            uncovered: records - self.covered,
            newer: self.newer,
        })
    }

    fn verified(&self, note: &str) -> Result<Checkpoint, AuditError> {
        let checkpoint = Checkpoint::parse_and_verify(note, &self.origin, &self.key)?;
        let records = self.tree.size();
        if checkpoint.size() < records {
            return Err(AuditError::CheckpointOrder { size: checkpoint.size(), after: records });
        }
        Ok(checkpoint)
    }

    fn compare_roots(&mut self) -> Result<(), AuditError> {
        let size = self.tree.size();
        let stored = self.waiting.pop_front_if(|(of, _)| *of == size).map(|(_, root)| root);
        let kept = self.kept.remove(&size);
        if stored.is_none() && kept.is_none() {
            return Ok(());
        }
        let here = self.tree.root();
        if stored.iter().chain(&kept).any(|root| !equal(&root.0, &here.0)) {
            return Err(AuditError::Root { first: self.covered + FIRST_SEQ, last: size });
        }
        self.kept_matched += u64::from(kept.is_some());
        self.covered = size;
        Ok(())
    }
}

/// Proof that record `seq` is in the tree over these leaf hashes; `None` if there is no such record.
pub fn inclusion_proof(leaves: &[Sha256], seq: u64) -> Option<Vec<Sha256>> {
    merkle::inclusion_proof(leaves, seq.checked_sub(FIRST_SEQ)?)
}

/// Whether the proof shows that the log of `checkpoint` has this record as number `seq`.
pub fn inclusion(seq: u64, record: &[u8], proof: &[Sha256], checkpoint: &Checkpoint) -> bool {
    seq.checked_sub(FIRST_SEQ).is_some_and(|index| {
        merkle::verify_inclusion(leaf_hash(seq, record), index, checkpoint.size(), proof, &checkpoint.root())
    })
}

/// Proof that the tree over these leaf hashes extends that of their first `old_size`; `None` if there are fewer.
pub fn consistency_proof(leaves: &[Sha256], old_size: u64) -> Option<Vec<Sha256>> {
    // Every log extends the empty one.
    if old_size == 0 { Some(Vec::new()) } else { merkle::consistency_proof(leaves, old_size) }
}

/// Whether the proof shows that the log of `new` extends that of `old`.
pub fn consistency(old: &Checkpoint, new: &Checkpoint, proof: &[Sha256]) -> bool {
    if old.origin() != new.origin() {
        return false;
    }
    if old.size() == 0 {
        return proof.is_empty() && old.root() == merkle::empty_root();
    }
    merkle::verify_consistency(old.size(), &old.root(), new.size(), &new.root(), proof)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::audit::{Act, Log};
    use crate::crypto::keys::Key;
    use crate::crypto::sign::SigningIdentity;
    use crate::error::{Error, ErrorId};
    use crate::names::{Principal, RequestId, Timestamp};

    pub const ORIGIN: &str = "modelvault.example/00/audit";

    pub fn identity() -> SigningIdentity {
        SigningIdentity::from_seed(Key::take(&mut [1; 32]))
    }

    /// `count` rows from sequence number 1 on, and a checkpoint after every `every` of them.
    pub fn log(count: u64, every: u64) -> (Vec<(u64, Vec<u8>)>, Vec<Checkpoint>) {
        let now = Timestamp::from_millis(0);
        let mut log = Log::new(ORIGIN, identity(), now);
        let (mut rows, mut checkpoints) = (Vec::new(), Vec::new());
        for seq in 1..=count {
            let id = RequestId([seq as u8; 16]);
            let record = Record::new(now, id, &Principal::local_operator(0), Act::ArtifactOpen).to_leaf();
            log.absorb(seq, &record).unwrap();
            rows.push((seq, record));
            if seq % every == 0 {
                checkpoints.push(log.sign().checkpoint);
            }
        }
        (rows, checkpoints)
    }

    fn verify(rows: &[(u64, Vec<u8>)], checkpoints: &[Checkpoint], kept: &[&Checkpoint]) -> Result<Report, AuditError> {
        let mut verifier = Verifier::new(ORIGIN, *identity().public());
        kept.iter().try_for_each(|c| verifier.kept_elsewhere(c.note()))?;
        checkpoints.iter().try_for_each(|c| verifier.checkpoint(c.note()))?;
        rows.iter().try_for_each(|(seq, record)| verifier.row(*seq, record))?;
        verifier.finish()
    }

    #[test]
    fn a_true_log_verifies_however_its_checkpoints_are_given() {
        let (rows, checkpoints) = log(25, 10);
        let report = verify(&rows, &checkpoints, &[&checkpoints[0]]).unwrap();
        let expected = Report { records: 25, checkpoints: 2, kept: 1, root: report.root, uncovered: 5, newer: 0 };
        assert_eq!(report, expected);
        let mut verifier = Verifier::new(ORIGIN, *identity().public());
        for (seq, record) in &rows {
            verifier.row(*seq, record).unwrap();
            if let Some(due) = checkpoints.iter().find(|c| c.size() == *seq) {
                verifier.checkpoint(due.note()).unwrap();
            }
        }
        assert_eq!(verifier.finish().unwrap(), Report { kept: 0, ..expected });
        assert_eq!(verify(&[], &[], &[]).unwrap().records, 0);
    }

    #[test]
    fn every_altered_covered_row_is_found_and_its_stretch_named() {
        let (rows, checkpoints) = log(20, 5);
        for at in 0..rows.len() {
            let mut altered = rows.clone();
            // Another well-formed record: only the tree can tell.
            let other = Record::parse(&rows[at].1).unwrap().denied("Denied").to_leaf();
            altered[at].1 = other;
            let first = at as u64 / 5 * 5 + 1;
            assert_eq!(verify(&altered, &checkpoints, &[]), Err(AuditError::Root { first, last: first + 4 }));
            altered[at].1 = rows[at].1[1..].to_vec();
            let refused = verify(&altered, &checkpoints, &[]).unwrap_err();
            assert!(matches!(refused, AuditError::Malformed { seq, .. } if seq == at as u64 + 1));
            let error = Error::from(refused);
            assert_eq!(error.id(), ErrorId::AuditBroken);
            assert_eq!(error.details(), [("seq", (at + 1).to_string())]);
        }
    }

    #[test]
    fn removed_inserted_and_reordered_rows_are_found_renumbered_or_not() {
        let (rows, checkpoints) = log(20, 5);
        let renumbered = |rows: &[(u64, Vec<u8>)]| -> Vec<(u64, Vec<u8>)> {
            rows.iter().enumerate().map(|(i, (_, r))| (i as u64 + 1, r.clone())).collect()
        };
        for at in 0..rows.len() - 1 {
            let seq = at as u64 + 1;
            let first = at as u64 / 5 * 5 + 1;
            let mut removed = rows.clone();
            removed.remove(at);
            let gap = AuditError::Order { expected: seq, found: seq + 1 };
            assert_eq!(verify(&removed, &checkpoints, &[]), Err(gap));
            let mut inserted = rows.clone();
            inserted.insert(at, rows[at].clone());
            let twice = AuditError::Order { expected: seq + 1, found: seq };
            assert_eq!(verify(&inserted, &checkpoints, &[]), Err(twice));
            let mut swapped = rows.clone();
            swapped.swap(at, at + 1);
            assert!(matches!(verify(&swapped, &checkpoints, &[]), Err(AuditError::Order { .. })));
            let mut other_inserted = rows.clone();
            other_inserted.insert(at, rows[at + 1].clone());
            for hidden in [&removed, &other_inserted, &swapped] {
                let refused = verify(&renumbered(hidden), &checkpoints, &[]).unwrap_err();
                let named = match refused {
                    AuditError::Root { first: stretch, .. } => stretch == first,
                    // In the last stretch a removed row leaves the last checkpoint without its end.
                    AuditError::Cut { records: 19, size: 20 } => first == 16,
                    _ => false,
                };
                assert!(named, "{at}: {refused}");
            }
        }
    }

    #[test]
    fn a_cut_end_is_found_by_the_last_checkpoint_stored_or_kept_elsewhere() {
        let (rows, checkpoints) = log(20, 5);
        for len in 0..20 {
            let cut = AuditError::Cut { records: len, size: len / 5 * 5 + 5 };
            assert_eq!(verify(&rows[..len as usize], &checkpoints, &[]), Err(cut));
        }
        // The last checkpoint was removed with the rows: only the one kept elsewhere tells.
        assert!(verify(&rows[..15], &checkpoints[..3], &[]).is_ok());
        // It may also have been exported before: that is said, and not taken for the end of the log.
        let older = AuditError::Older { records: 15, size: 20 };
        assert_eq!(verify(&rows[..15], &checkpoints[..3], &[&checkpoints[3]]), Err(older));
    }

    #[test]
    fn a_log_written_anew_under_the_same_key_is_found_by_a_checkpoint_kept_elsewhere() {
        let (mut rows, kept) = log(10, 10);
        rows[3].1 = Record::parse(&rows[3].1).unwrap().denied("Denied").to_leaf();
        let mut forged = Log::new(ORIGIN, identity(), Timestamp::from_millis(0));
        rows.iter().for_each(|(seq, record)| forged.absorb(*seq, record).unwrap());
        let signed = forged.sign().checkpoint;
        assert!(verify(&rows, std::slice::from_ref(&signed), &[]).is_ok());
        let found = AuditError::Root { first: 1, last: 10 };
        assert_eq!(verify(&rows, std::slice::from_ref(&signed), &[&kept[0]]), Err(found.clone()));
        assert_eq!(verify(&rows, &[], &[&kept[0], &signed]), Err(found));
    }

    #[test]
    fn checkpoints_of_others_and_out_of_order_are_refused() {
        let (rows, checkpoints) = log(20, 5);
        let tree = Frontier::default();
        let foreign = Checkpoint::sign("modelvault.example/01/audit", &tree, &identity());
        let stranger = SigningIdentity::from_seed(Key::take(&mut [2; 32]));
        let forged = Checkpoint::sign(ORIGIN, &tree, &stranger);
        for bad in [&foreign, &forged] {
            assert!(matches!(verify(&rows, std::slice::from_ref(bad), &[]), Err(AuditError::Checkpoint(_))));
            assert!(matches!(verify(&rows, &[], &[bad]), Err(AuditError::Checkpoint(_))));
        }
        let swapped = [checkpoints[1].clone(), checkpoints[0].clone()];
        assert_eq!(verify(&rows, &swapped, &[]), Err(AuditError::CheckpointOrder { size: 5, after: 10 }));
        let twice = [checkpoints[0].clone(), checkpoints[0].clone()];
        assert_eq!(verify(&rows, &twice, &[]), Err(AuditError::CheckpointOrder { size: 5, after: 5 }));
        let mut late = Verifier::new(ORIGIN, *identity().public());
        rows[..6].iter().for_each(|(seq, record)| late.row(*seq, record).unwrap());
        let order = AuditError::CheckpointOrder { size: 5, after: 6 };
        assert_eq!(late.checkpoint(checkpoints[0].note()), Err(order));
    }

    #[test]
    fn records_of_a_newer_release_keep_their_place() {
        let now = Timestamp::from_millis(0);
        let mut log = Log::new(ORIGIN, identity(), now);
        log.absorb(1, br#"{"v":2}"#).unwrap();
        let report = verify(&[(1, br#"{"v":2}"#.to_vec())], &[log.sign().checkpoint], &[]).unwrap();
        assert_eq!((report.newer, report.uncovered), (1, 0));
        let altered = verify(&[(1, br#"{"v":3}"#.to_vec())], &[log.sign().checkpoint], &[]);
        assert!(matches!(altered, Err(AuditError::Root { .. })));
    }

    #[test]
    fn proofs_hold_for_their_record_and_checkpoint_only() {
        let (rows, checkpoints) = log(20, 5);
        let leaves: Vec<_> = rows.iter().map(|(seq, record)| leaf_hash(*seq, record)).collect();
        let last = &checkpoints[3];
        for (seq, record) in &rows {
            let proof = inclusion_proof(&leaves, *seq).unwrap();
            assert!(inclusion(*seq, record, &proof, last));
            assert!(!inclusion(*seq % 20 + 1, record, &proof, last));
            assert!(!inclusion(*seq, b"{}", &proof, last));
            assert!(!inclusion(*seq, record, &proof, &checkpoints[2]));
        }
        assert_eq!((inclusion_proof(&leaves, 0), inclusion_proof(&leaves, 21)), (None, None));
        for old in &checkpoints {
            let proof = consistency_proof(&leaves, old.size()).unwrap();
            assert!(consistency(old, last, &proof));
        }
        let empty = Checkpoint::sign(ORIGIN, &Frontier::default(), &identity());
        assert!(consistency(&empty, last, &consistency_proof(&leaves, 0).unwrap()));
        assert!(!consistency(last, &checkpoints[0], &[]));
        let (_, fork) = log(5, 4);
        assert!(!consistency(&fork[0], last, &consistency_proof(&leaves, 5).unwrap()));
    }
}
