//! Records that are files: what they are called, and a digest of each. Bytes of files count by their digest, so that no record is large.

use std::io;

use super::super::schema::Schema;
use super::super::value::{Encoder, record_hash};
use crate::crypto::hash::Sha256Hasher;
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
