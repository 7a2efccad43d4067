//! Sealed files made for a test: in memory, under a key of the test's own.

use std::sync::{Mutex, PoisonError};

use model_vault::crypto::keys::Key;
use model_vault::crypto::random::SystemRandom;
use model_vault::crypto::sign::SigningIdentity;
use model_vault::names::{ArtifactKind, KekId};
use model_vault::seal::io::WriteAt;
use model_vault::seal::{Credential, MemberSource, NewSlot, SealError, SealRequest, Sealed, seal};

/// A place to write to; as long as the last byte written.
#[derive(Default)]
pub struct Memory(Mutex<Vec<u8>>);

impl Memory {
    /// What was written, which is then gone from here.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl WriteAt for Memory {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = offset as usize;
        let end = start + bytes.len();
        if all.len() < end {
            all.resize(end, 0);
        }
        all[start..end].copy_from_slice(bytes);
        Ok(())
    }
}

const KEK: KekId = KekId([7; 16]);

/// What opens the files of this module.
pub fn credential() -> Credential {
    Credential::Kek { id: KEK, version: 1, key: Key::take(&mut [8; 32]) }
}

/// The slot that goes with it.
pub fn slots() -> Vec<NewSlot> {
    vec![NewSlot::Kek { id: KEK, version: 1, key: Key::take(&mut [8; 32]) }]
}

/// A signer.
pub fn signer() -> SigningIdentity {
    SigningIdentity::from_seed(Key::take(&mut [9; 32]))
}

/// Bytes that differ from place to place and from seed to seed.
pub fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A member.
pub fn member<'a>(path: &str, bytes: Vec<u8>, sha256: bool) -> MemberSource<'a> {
    MemberSource { path: path.into(), source: Box::new(bytes), sha256, media_type: None, format: None }
}

/// A request with the usual slot, for segments of 64 KiB.
pub fn request<'a>(members: Vec<MemberSource<'a>>) -> SealRequest<'a> {
    let mut request = SealRequest::new(ArtifactKind::Model, members, slots());
    request.log2 = Some(16);
    request.header_len = Some(4096);
    request
}

/// Seals to one file.
pub fn sealed(request: SealRequest<'_>) -> Result<(Sealed, Vec<u8>), SealError> {
    let body = Memory::default();
    let sealed = seal(request, &SystemRandom, &body, 0)?;
    let file = [&sealed.header[..], &body.take()].concat();
    Ok((sealed, file))
}
