//! Records that are files: what they are called, and a digest of each. Bytes of files count by their digest, so that no record is large.

use std::io;

use super::super::schema::Schema;
use super::super::units::{Fault, Units};
use super::super::value::{Encoder, record_hash};
use crate::crypto::hash::Sha256Hasher;
use crate::error::{Error, Result as Outcome};
use crate::names::Sha256;
use crate::seal::io::ReadAt;

/// Read at once: small enough to be hashed while it is in the second-level cache.
const READ_LEN: u64 = 256 << 10;

/// A path as key and extension: parted at the first dot of the name. A name without a dot, or that begins with one, is all key.
pub(super) fn parted(path: &str) -> (&str, &str) {
    let name = path.rfind('/').map_or(0, |at| at + 1);
    match path[name..].find('.') {
        None | Some(0) => (path, ""),
        Some(dot) => (&path[..name + dot], &path[name + dot + 1..]),
    }
}

/// A file of a record.
pub(super) struct Member<'a> {
    /// What tells it from the others of its record.
    pub extension: &'a str,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of them.
    pub sha256: Sha256,
}

/// The bytes of a file of a record, which are not read yet.
pub(in super::super) struct Content<'a> {
    /// What tells it from the others of its record.
    pub extension: &'a str,
    /// Bytes.
    pub size: u64,
    /// Where they are, and from which byte on.
    pub source: (&'a dyn ReadAt, u64),
    /// In messages.
    pub place: &'a str,
}

impl Content<'_> {
    /// The first bytes, `most` of them at most.
    ///
    /// # Errors
    /// Those of reading.
    pub fn head(&self, most: u64) -> Outcome<Vec<u8>> {
        let mut bytes = vec![0; self.size.min(most) as usize];
        self.source.0.read_exact_at(&mut bytes, self.source.1).map_err(|e| Error::of_io(e, self.place))?;
        Ok(bytes)
    }

    /// SHA-256 of all of them.
    ///
    /// # Errors
    /// Those of reading.
    pub fn sha256(&self) -> Outcome<Sha256> {
        digest(self.source.0, self.source.1, self.size, &mut Vec::new()).map_err(|e| Error::of_io(e, self.place))
    }
}

/// What sees the key of a record and its files.
pub(in super::super) type See<'a> = &'a mut dyn FnMut(&str, &[Content<'_>]) -> Result<(), Fault>;

/// Units whose records are files.
pub(in super::super) trait Samples: Units {
    /// Shows keys and extensions of all records of a unit; nothing is read.
    fn names(&self, unit: &Self::Unit, see: &mut dyn FnMut(&str, &mut dyn Iterator<Item = &str>));

    /// Shows all records of a unit.
    ///
    /// # Errors
    /// Those of reading, and of `see`.
    fn contents(&self, unit: &Self::Unit, see: See<'_>) -> Result<(), Fault>;
}

/// Hands on the records of a unit: digests of their files.
pub(super) fn records<S: Samples>(samples: &S, unit: &S::Unit, each: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
    let (mut record, mut buffer) = (Encoder::default(), Vec::new());
    samples.contents(unit, &mut |key, contents| {
        let mut members = Vec::with_capacity(contents.len());
        for content in contents {
            let sha256 = digest(content.source.0, content.source.1, content.size, &mut buffer);
            let sha256 = sha256.map_err(|e| Error::of_io(e, content.place))?;
            members.push(Member { extension: content.extension, size: content.size, sha256 });
        }
        write(&mut record, key, &mut members);
        each(record.record());
        Ok(())
    })
}

/// Writes a record: its key, and the files by their extensions, which differ.
pub(super) fn write(record: &mut Encoder, key: &str, members: &mut [Member<'_>]) {
    members.sort_by(|a, b| a.extension.cmp(b.extension));
    record.clear();
    record.text(key);
    let file = |record: &mut Encoder, member: &Member<'_>| {
        record.text(member.extension);
        record.list(|record| {
            record.bytes(&member.sha256.0);
            record.int(member.size.into());
            Ok::<_, std::convert::Infallible>(())
        })
    };
    let Ok(()) = record.structure(|record| members.iter().try_for_each(|member| file(record, member)));
}

/// The hash of a record that is one file, such as an image: of its path, size and digest.
pub fn file_record_hash(path: &str, size: u64, sha256: Sha256) -> Sha256 {
    let ((key, extension), mut record) = (parted(path), Encoder::default());
    write(&mut record, key, &mut [Member { extension, size, sha256 }]);
    record_hash(&Schema::Files.id(), record.record())
}

/// SHA-256 of some bytes of a file.
pub(super) fn digest(source: &dyn ReadAt, from: u64, len: u64, buffer: &mut Vec<u8>) -> io::Result<Sha256> {
    let mut hasher = Sha256Hasher::default();
    let mut done = 0;
    while done < len {
        let more = (len - done).min(READ_LEN);
        buffer.resize(more as usize, 0);
        source.read_exact_at(buffer, from + done)?;
        hasher.update(buffer);
        done += more;
    }
    Ok(hasher.finish())
}
