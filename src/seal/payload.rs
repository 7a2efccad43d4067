//! Writing the payload: read, tap, digest, encrypt, hash, write, segment by segment on several threads (docs/format.md 5).

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::digests::{Digests, MemberDigest, Wanted};
use super::error::SealError;
use super::io::{Changed, WriteAt};
use super::keys::derive;
use super::pipeline::{Schedule, default_threads, for_each_segment, locked};
use super::plan::Plan;
use super::preamble::Preamble;
use super::segment::{Segments, nonce};
use super::tap::Tap;
use super::trailer::INDEX_ENTRY_LEN;
use super::writer::{MemberSource, SealRequest};
use crate::crypto::aead::{SegmentCipher, TAG_LEN, Tag, segment_cipher};
use crate::crypto::hash;
use crate::crypto::keys::{FileKey, Key, PayloadKey};

/// Encrypts all members to `body`; gives INDEX and the members' digests.
pub(crate) fn write_payload(
    request: &mut SealRequest<'_>,
    plan: &Plan,
    preamble: &Preamble,
    key: &Key<FileKey>,
    body: &dyn WriteAt,
    body_offset: u64,
) -> Result<(Vec<u8>, Vec<MemberDigest>), SealError> {
    let layout = &plan.layout;
    let segments = layout.segments;
    let tap = request.tap.take().map(|tap| tap as &mut dyn Tap);
    let members = &request.members;
    let wanted = members.iter().map(|m| Wanted { path: &m.path, sha256: m.sha256 }).collect();
    let digests = Digests::new(layout, plan.group_log2, wanted, tap);
    digests.tap_empty_members()?;

    let cipher =
        OncePerSegment::new(segment_cipher(&derive::<PayloadKey>(key, &preamble.commitment).expose()), segments);
    let index = Mutex::new(vec![0; segments.count() as usize * INDEX_ENTRY_LEN]);
    let threads = request.threads.unwrap_or_else(default_threads);
    let schedule = Schedule::new(layout.runs(), threads);
    let buffer_len = segments.size().min(segments.payload_len());
    for_each_segment(&schedule, threads, buffer_len, &|| digests.stop(), |segment, buffer| {
        let range = segments.range(segment).expect("only existing segments are scheduled");
        buffer.clear();
        buffer.resize((range.end - range.start) as usize, 0);
        for piece in layout.pieces(segment) {
            let member = &members[piece.member];
            let read = member.source.read_exact_at(&mut buffer[piece.within], piece.offset);
            read.map_err(|e| source_error(member, e))?;
        }
        digests.take(segment, buffer)?;
        let tag = cipher.seal(segment, buffer);
        let hash = hash::blake3(buffer);
        let place = segment as usize * INDEX_ENTRY_LEN;
        let entry = &mut locked(&index)[place..place + INDEX_ENTRY_LEN];
        entry[..TAG_LEN].copy_from_slice(&tag);
        entry[TAG_LEN..].copy_from_slice(&hash.0);
        body.write_all_at(buffer, body_offset + range.start)?;
        (request.progress)(buffer.len() as u64);
        Ok(())
    })?;

    // A source that grew was not read to its end: the digests would be those of a part.
    for (member, size) in members.iter().zip(&plan.sizes) {
        if member.source.len().map_err(|e| source_error(member, e))? != *size {
            return Err(SealError::SourceChanged { path: member.path.clone() });
        }
    }
    Ok((index.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner), digests.finish()))
}

/// A source that ends early or says that it changed did change; anything else is an error of reading.
fn source_error(member: &MemberSource<'_>, e: io::Error) -> SealError {
    let changed = e.get_ref().is_some_and(|inner| inner.is::<Changed>());
    if changed || e.kind() == io::ErrorKind::UnexpectedEof {
        return SealError::SourceChanged { path: member.path.clone() };
    }
    SealError::Io(e)
}

/// The payload's cipher, which encrypts each segment once. A second encryption under the same nonce would give away both
/// plaintexts and the authentication key, so the rule is kept at run time, not only in debug builds.
struct OncePerSegment {
    cipher: Box<dyn SegmentCipher>,
    segments: Segments,
    done: Vec<AtomicU64>,
}

impl OncePerSegment {
    fn new(cipher: Box<dyn SegmentCipher>, segments: Segments) -> Self {
        let done = (0..segments.count().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { cipher, segments, done }
    }

    fn seal(&self, segment: u64, bytes: &mut [u8]) -> Tag {
        let bit = 1 << (segment % 64);
        let before = self.done[(segment / 64) as usize].fetch_or(bit, Ordering::Relaxed);
        assert_eq!(before & bit, 0, "segment {segment} would be encrypted twice");
        self.cipher.seal(&nonce(segment, self.segments.count()), b"", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "encrypted twice")]
    fn a_nonce_is_used_once() {
        let cipher = OncePerSegment::new(segment_cipher(&[1; 32]), Segments::new(1 << 20, 16));
        cipher.seal(3, &mut [0; 10]);
        cipher.seal(3, &mut [1; 10]);
    }
}
