//! What anyone can verify without a key (docs/format.md 9.4).
//!
//! The result says that preamble, payload, index and manifest are exactly what the signer signed. It does not say that the
//! file opens, or for whom; that the content is good; or that it is the newest.

use super::error::SealError;
use super::header::Header;
use super::io::ReadAt;
use super::pins::Pins;
use super::pipeline::{Schedule, default_threads, for_each_segment};
use super::signatures;
use super::trailer::{INDEX_ENTRY_LEN, Tail};
use crate::crypto::aead::TAG_LEN;
use crate::crypto::sign::PublicKey;
use crate::crypto::{equal, hash};
use crate::names::{Commitment, FileId, KeyId, Root};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeylessFacts {
    /// The file.
    pub file_id: FileId,
    /// Fixes the file key.
    pub commitment: Commitment,
    /// Names the content.
    pub root: Root,
    /// As written in the header: without a key nobody can tell whether it is true.
    pub generation: u32,
    /// Bytes of the payload.
    pub payload_len: u64,
    /// The required signers that did sign.
    pub signers: Vec<KeyId>,
}

/// Verifies a sealed file without a key. `pins.min_generation` is not looked at: the generation is not authenticated here.
///
/// # Errors
/// Steps 1, 2, 3 and 6 of docs/format.md 9.1, `BindingMismatch`, the signatures' errors, `IndexMismatch`.
pub fn verify_keyless(
    source: &dyn ReadAt,
    pins: &Pins,
    required_signers: Option<&[PublicKey]>,
) -> Result<KeylessFacts, SealError> {
    verify_keyless_with(source, pins, required_signers, default_threads())
}

/// The same with a number of threads.
pub fn verify_keyless_with(
    source: &dyn ReadAt,
    pins: &Pins,
    required_signers: Option<&[PublicKey]>,
    threads: usize,
) -> Result<KeylessFacts, SealError> {
    let facts = Header::read(source, pins)?.facts;
    let preamble = facts.preamble;
    let tail = Tail::read(source, &preamble)?;
    let parts = tail.read_parts(source)?;
    let root = parts.root(&preamble.to_bytes(), tail.lengths.payload);
    pins.check_root(&root)?;
    let signers = match required_signers {
        Some(trusted) => signatures::check(&parts.signatures, trusted, &preamble.file_id, &root)?,
        None => Vec::new(),
    };

    let segments = tail.segments;
    let schedule = Schedule::in_any_order(0..segments.count());
    let buffer_len = segments.size().min(segments.payload_len());
    for_each_segment(&schedule, threads, buffer_len, &|| {}, |segment, buffer| {
        let range = segments.range(segment).expect("only existing segments are scheduled");
        buffer.resize((range.end - range.start) as usize, 0);
        source.read_exact_at(buffer, u64::from(preamble.header_len) + range.start)?;
        let entry = &parts.index[segment as usize * INDEX_ENTRY_LEN..][..INDEX_ENTRY_LEN];
        if equal(&hash::blake3(buffer).0, &entry[TAG_LEN..]) {
            Ok(())
        } else {
            Err(SealError::IndexMismatch { segment })
        }
    })?;
    Ok(KeylessFacts {
        file_id: preamble.file_id,
        commitment: preamble.commitment,
        root,
        generation: facts.table.generation,
        payload_len: tail.lengths.payload,
        signers,
    })
}
