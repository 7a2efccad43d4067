//! An earlier signing of the same model by the same key: what did not change since is not read again.
//!
//! Digests come from the earlier statement alone, whose signature is verified first. The record says only which files that
//! signing had read, by their stamps; it is signed by the same key and names the statement it belongs to. Whoever can write to
//! records can delete them, or bring back an old one together with its statement; neither makes a digest count for a file
//! whose stamp is another by now. What they rest on: the file system notes each write in a time that cannot be set
//! (`st_ctime`). Who is root on the machine, or writes to the disk beneath it, can break that.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

use super::{Method, Statement};
use crate::crypto::dsse::{Envelope, EnvelopeSignature, pre_authentication};
use crate::crypto::hash::{Algorithm, sha256};
use crate::crypto::sign::{SigningKey, VerifyingKey};
use crate::error::Result;
use crate::files::{Entry, Stamp};
use crate::json::{JsonError, Reader, parse, quote};
use crate::names::Sha256;

/// Nothing else that a key signs has this type.
const RECORD_TYPE: &str = "application/vnd.model-vault.sign-record.v1+json";

/// The files that a signing read, as they were then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// SHA-256 of the payload that was signed.
    statement: Sha256,
    stamps: HashMap<String, [i128; 7]>,
}

impl Record {
    /// Of a signing of these bytes.
    pub fn new(payload: &[u8], stamps: Vec<(String, Stamp)>) -> Self {
        let stamps = stamps.into_iter().map(|(path, stamp)| (path, stamp.to_numbers())).collect();
        Self { statement: sha256(payload), stamps }
    }

    /// The name of its file: that of one statement and one signer.
    pub fn name(payload: &[u8], key: &VerifyingKey) -> String {
        sha256(&[sha256(payload).0, key.key_id().0].concat()).to_string()
    }

    /// Its text, signed.
    ///
    /// # Errors
    /// Those of the key.
    pub fn sign(&self, key: &SigningKey) -> Result<String> {
        let mut text = format!("{{\"statement\":\"{}\",\"files\":{{", self.statement);
        let mut paths: Vec<_> = self.stamps.iter().collect();
        paths.sort_unstable();
        for (i, (path, numbers)) in paths.into_iter().enumerate() {
            text.push_str(if i == 0 { "" } else { "," });
            quote(path, &mut text);
            write!(text, ":{numbers:?}").expect("writing to a string");
        }
        text.push_str("}}");
        let payload = text.into_bytes();
        let sig = key.sign(&pre_authentication(RECORD_TYPE, &payload))?;
        let signatures = vec![EnvelopeSignature { keyid: key.key_id().to_string(), sig }];
        let mut out = String::new();
        Envelope { payload_type: RECORD_TYPE.into(), payload, signatures }.write_json(&mut out);
        Ok(out)
    }

    /// The record of a statement by the key that signed it. Whatever is wrong with it, there is none: all is read again.
    pub fn verified(text: &[u8], payload: &[u8], key: &VerifyingKey) -> Option<Self> {
        let envelope = Envelope::from_json(&parse(text, 4).ok()?).ok()?;
        let [signature] = &envelope.signatures[..] else { return None };
        key.verify(&pre_authentication(RECORD_TYPE, &envelope.payload), &signature.sig).ok()?;
        let record = (envelope.payload_type == RECORD_TYPE).then(|| Self::read(&envelope.payload).ok())??;
        (record.statement == sha256(payload)).then_some(record)
    }

    fn read(text: &[u8]) -> Result<Self, JsonError> {
        let mut reader = Reader::new(text, 4)?;
        let mut record = Self { statement: Sha256([0; 32]), stamps: HashMap::new() };
        reader.object(|reader, key| match key {
            "statement" => match reader.string()?.parse() {
                Ok(digest) => {
                    record.statement = digest;
                    Ok(())
                }
                Err(_) => reader.fail("a digest is expected"),
            },
            "files" => reader.object(|reader, path| {
                let mut numbers = Vec::with_capacity(7);
                reader.array(|reader| match reader.raw()?.parse() {
                    Ok(number) => {
                        numbers.push(number);
                        Ok(())
                    }
                    Err(_) => reader.fail("an integer is expected"),
                })?;
                match numbers.try_into() {
                    Ok(numbers) => {
                        record.stamps.insert(path.to_owned(), numbers);
                        Ok(())
                    }
                    Err(_) => reader.fail("seven numbers are expected"),
                }
            }),
            _ => reader.fail("an unknown member"),
        })?;
        reader.end()?;
        Ok(record)
    }
}

/// A file, or a shard of one, as a statement names it.
type Place = (String, Option<Range<u64>>);

/// An earlier statement of one's own, and the files it was made from.
pub struct Since {
    method: Method,
    algorithm: Algorithm,
    digests: HashMap<Place, Box<[u8]>>,
    stamps: HashMap<String, [i128; 7]>,
    /// All is hashed all the same, and held against what would have been taken over.
    pub check: bool,
}

impl Since {
    /// From a statement whose signature verified, and its record.
    pub fn new(statement: Statement, record: Record, check: bool) -> Self {
        let (method, algorithm) = (statement.serialization.method, statement.serialization.algorithm);
        let digests = statement.resources.into_iter().map(|r| ((r.path, r.shard), r.digest)).collect();
        Self { method, algorithm, digests, stamps: record.stamps, check }
    }

    /// What was signed for these bytes of a file that is as it was.
    pub(super) fn digest(
        &self,
        entry: &Entry,
        range: &Range<u64>,
        method: Method,
        algorithm: Algorithm,
    ) -> Option<&[u8]> {
        let same = (self.method, self.algorithm) == (method, algorithm)
            && *self.stamps.get(&entry.path)? == entry.stamp().to_numbers();
        let shard = matches!(method, Method::Shards(_)).then(|| range.clone());
        self.digests.get(&(entry.path.clone(), shard)).map(|digest| &**digest).filter(|_| same)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::crypto::random::SystemRandom;
    use crate::crypto::sign;
    use crate::error::ErrorId;
    use crate::files::{Ignored, Links};
    use crate::manifest::oms::{Measured, Parameters, measure_since};
    use crate::names::Timestamp;

    fn key() -> SigningKey {
        SigningKey::generate(sign::Algorithm::Ed25519, &SystemRandom).unwrap()
    }

    fn parameters(method: Method) -> Parameters {
        Parameters {
            method,
            algorithm: Algorithm::Sha256,
            links: Links::Refuse,
            ignored: Ignored::default(),
            reference_name: false,
            threads: 2,
        }
    }

    /// As if the walk had begun so many seconds from now: a file made just now is then old enough to be kept.
    fn measured(path: &Path, method: Method, since: Option<&Since>, seconds: u64) -> (Result<Measured>, u64) {
        let read = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(seconds);
        let now = Timestamp::from_millis(now.as_millis() as i64);
        let result = measure_since(path, &parameters(method), since, now, &|n| {
            read.fetch_add(n, Ordering::Relaxed);
        });
        (result, read.into_inner())
    }

    /// On the disk: a memory file system keeps no times that could be relied on.
    fn model() -> tempfile::TempDir {
        let dir = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap();
        fs::write(dir.path().join("weights"), vec![7; 1_000_000]).unwrap();
        fs::write(dir.path().join("README"), "old").unwrap();
        dir
    }

    fn since(measured: &Measured, check: bool) -> Since {
        let key = key();
        let payload = measured.statement.to_payload();
        let text = Record::new(payload.as_bytes(), measured.stamps.clone()).sign(&key).unwrap();
        let record = Record::verified(text.as_bytes(), payload.as_bytes(), key.public()).unwrap();
        Since::new(Statement::from_payload(payload.as_bytes()).unwrap(), record, check)
    }

    #[test]
    fn only_what_changed_is_read_and_the_statement_is_the_one_of_a_full_reading() {
        for method in [Method::Files, Method::Shards(300_000)] {
            let dir = model();
            let (first, read) = measured(dir.path(), method, None, 10);
            let first = first.unwrap();
            assert_eq!((first.stamps.len(), first.reused, read), (2, 0, 1_000_003));
            fs::write(dir.path().join("README"), "newer").unwrap();
            fs::write(dir.path().join("added"), "!").unwrap();
            let known = since(&first, false);
            let (second, read) = measured(dir.path(), method, Some(&known), 10);
            let second = second.unwrap();
            assert_eq!((second.reused, read), (1_000_000, 6));
            let (full, _) = measured(dir.path(), method, None, 10);
            assert_eq!(second.statement.to_payload(), full.unwrap().statement.to_payload());
            // Another way to hash has no digests to take over.
            let (other, read) = measured(dir.path(), Method::Shards(300_001), Some(&known), 10);
            assert_eq!((other.unwrap().reused, read), (0, 1_000_006));
        }
    }

    #[test]
    fn bytes_written_anew_are_read_although_size_and_modification_time_are_as_before() {
        let dir = model();
        let first = measured(dir.path(), Method::Files, None, 10).0.unwrap();
        let path = dir.path().join("weights");
        let times = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, vec![8; 1_000_000]).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(times).unwrap();
        let (second, read) = measured(dir.path(), Method::Files, Some(&since(&first, false)), 10);
        assert_eq!((second.unwrap().reused, read), (3, 1_000_000));
        // Another file moved to its place.
        let first = measured(dir.path(), Method::Files, None, 10).0.unwrap();
        fs::write(dir.path().join("new"), vec![9; 1_000_000]).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(measured(dir.path(), Method::Files, Some(&since(&first, false)), 10).1, 1_000_000);
    }

    #[test]
    fn a_file_written_just_now_is_not_kept_for_the_next_time() {
        let dir = model();
        assert_eq!(measured(dir.path(), Method::Files, None, 0).0.unwrap().stamps, []);
    }

    #[test]
    fn checking_reads_all_and_refuses_what_changed_without_a_trace() {
        let dir = model();
        let first = measured(dir.path(), Method::Files, None, 10).0.unwrap();
        let (checked, read) = measured(dir.path(), Method::Files, Some(&since(&first, true)), 10);
        assert_eq!((checked.unwrap().reused, read), (0, 1_000_003));
        let mut lying = since(&first, true);
        lying.digests.get_mut(&("weights".to_owned(), None)).unwrap()[0] ^= 1;
        let (refused, _) = measured(dir.path(), Method::Files, Some(&lying), 10);
        assert_eq!(refused.unwrap_err().id(), ErrorId::ModelChanged);
    }

    #[test]
    fn a_record_that_is_altered_or_another_s_or_of_another_statement_is_none() {
        let dir = model();
        let first = measured(dir.path(), Method::Files, None, 10).0.unwrap();
        let (ours, other) = (key(), key());
        let record = Record::new(b"payload", first.stamps);
        let text = record.sign(&ours).unwrap();
        assert_eq!(Record::verified(text.as_bytes(), b"payload", ours.public()), Some(record));
        assert_eq!(Record::verified(text.as_bytes(), b"payload", other.public()), None);
        assert_eq!(Record::verified(text.as_bytes(), b"another", ours.public()), None);
        assert_eq!(Record::verified(&text.as_bytes()[1..], b"payload", ours.public()), None);
        let altered = text.replacen("application/vnd.model-vault.sign-record", "application/vnd.in-toto", 1);
        assert_eq!(Record::verified(altered.as_bytes(), b"payload", ours.public()), None);
    }
}
