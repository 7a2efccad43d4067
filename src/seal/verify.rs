//! Whole files, in parallel: full verification (docs/format.md 9.3) and extraction of members.

use std::ops::Range;

use super::digests::{Digests, Wanted};
use super::error::SealError;
use super::io::WriteAt;
use super::manifest::Member;
use super::pipeline::{Relay, Schedule, default_threads, for_each_segment};
use super::reader::{HashCheck, Reader};
use super::segment::check_range;
use crate::crypto::equal;
use crate::names::Sha256;

/// Takes verified bytes of a member from an offset on. Called from several threads; no byte comes twice, none is left out,
/// and the order is free. A member without bytes is never mentioned: whoever wants it makes it.
pub type MemberSink<'a> = dyn Fn(&Member, u64, &[u8]) -> Result<(), SealError> + Sync + 'a;

impl Reader {
    /// Reads everything and compares it with the index and the manifest.
    ///
    /// # Errors
    /// `IndexMismatch`, `SegmentAuthFailed`, or `MemberMismatch` for digests, outboards and gaps.
    pub fn verify_full(&self) -> Result<(), SealError> {
        self.verify_full_with(default_threads(), &|_| {})
    }

    /// The same with a number of threads; `progress` is told how many bytes were read each time.
    ///
    /// # Errors
    /// As [`verify_full`](Self::verify_full).
    pub fn verify_full_with(&self, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Result<(), SealError> {
        let manifest = self.manifest();
        let wanted = manifest.members.iter().map(|m| Wanted { path: &m.path, sha256: m.sha256.is_some() }).collect();
        let digests = Digests::new(&self.layout, manifest.group_log2, wanted, None);
        let schedule = Schedule::new(self.layout.runs(), threads);
        let segments = self.segments();
        let buffer_len = segments.size().min(segments.payload_len());
        for_each_segment(&schedule, threads, buffer_len, &|| digests.stop(), |segment, buffer| {
            self.read_segment(segment, buffer, HashCheck::Compare)?;
            if self.layout.gaps(segment).any(|gap| buffer[gap].iter().any(|b| *b != 0)) {
                return Err(SealError::GapNotZero { segment });
            }
            digests.take(segment, buffer)?;
            progress(buffer.len() as u64);
            Ok(())
        })?;
        for (member, found) in manifest.members.iter().zip(digests.finish()) {
            let sha256 = |digest: &Option<Sha256>| digest.map(|d| d.0).unwrap_or_default();
            let same = equal(&found.blake3.0, &member.blake3.0)
                && equal(&sha256(&found.sha256), &sha256(&member.sha256))
                && equal(&found.outboard, self.outboard_of(member));
            if !same {
                return Err(SealError::MemberMismatch { path: member.path.clone() });
            }
        }
        Ok(())
    }

    /// Decrypts all members into `sink`, each segment once.
    ///
    /// # Errors
    /// `IndexMismatch`, `SegmentAuthFailed`, or what `sink` gives. What was handed on before is right but not the whole:
    /// remove it.
    pub fn extract(
        &self,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
        sink: &MemberSink<'_>,
    ) -> Result<(), SealError> {
        self.extract_segments(0..self.segment_count(), threads, &|| {}, |segment, plaintext| {
            for piece in self.layout.pieces(segment) {
                let bytes = &plaintext[piece.within.clone()];
                sink(&self.manifest().members[piece.member], piece.offset, bytes)?;
                progress(bytes.len() as u64);
            }
            Ok(())
        })
    }

    /// Decrypts one member to the start of `place`.
    ///
    /// # Errors
    /// As [`extract`](Self::extract); `NotFound` if there is no such member.
    pub fn extract_member(
        &self,
        path: &str,
        place: &dyn WriteAt,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), SealError> {
        let member = self.member(path)?;
        let (start, end) = (member.offset, member.offset + member.size);
        let needed = self.segments().covering(&(start..end))?;
        self.extract_segments(needed, threads, &|| {}, |segment, plaintext| {
            let from = segment << self.segments().log2();
            let part = start.max(from)..end.min(from + plaintext.len() as u64);
            let bytes = &plaintext[(part.start - from) as usize..(part.end - from) as usize];
            place.write_all_at(bytes, part.start - start)?;
            progress(bytes.len() as u64);
            Ok(())
        })
    }

    /// Decrypts a range of one member to a sink that takes bytes in order: a pipe. Segments are decrypted side by side, one a
    /// thread; each thread waits for its turn at the sink.
    ///
    /// # Errors
    /// As [`extract`](Self::extract); `NotFound` if there is no such member, `RangeInvalid`. What the sink got before is a
    /// true beginning.
    pub fn extract_range(
        &self,
        path: &str,
        range: Range<u64>,
        threads: usize,
        sink: &mut (dyn FnMut(&[u8]) -> Result<(), SealError> + Send),
    ) -> Result<(), SealError> {
        let member = self.member(path)?;
        check_range(&range, member.size)?;
        let (start, end) = (member.offset + range.start, member.offset + range.end);
        let needed = self.segments().covering(&(start..end))?;
        let turns = Relay::new();
        turns.pass_to(needed.start, sink);
        self.extract_segments(needed, threads, &|| turns.stop(), |segment, plaintext| {
            let from = segment << self.segments().log2();
            let part = start.max(from)..end.min(from + plaintext.len() as u64);
            let Some(sink) = turns.receive(segment) else { return Ok(()) };
            sink(&plaintext[(part.start - from) as usize..(part.end - from) as usize])?;
            turns.pass_to(segment + 1, sink);
            Ok(())
        })
    }

    fn extract_segments(
        &self,
        needed: Range<u64>,
        threads: usize,
        stop: &(dyn Fn() + Sync),
        take: impl Fn(u64, &[u8]) -> Result<(), SealError> + Sync,
    ) -> Result<(), SealError> {
        let segments = self.segments();
        let schedule = Schedule::in_any_order(needed);
        let buffer_len = segments.size().min(segments.payload_len());
        for_each_segment(&schedule, threads, buffer_len, stop, |segment, buffer| {
            self.read_segment(segment, buffer, HashCheck::Compare)?;
            take(segment, buffer)
        })
    }
}
