//! The header: preamble, slot table, padding, MAC (docs/format.md 4). Opening it, reading what anyone may see, rewriting it.

use super::error::SealError;
use super::io::ReadAt;
use super::keys::derive;
use super::pins::Pins;
use super::preamble::{HEADER_UNIT, MAX_HEADER_LEN, PREAMBLE_LEN, Preamble};
use super::slots::{MAC_LEN, SlotTable};
use super::unlock::{Credential, FreshSlot, NewSlot, make_table, unlock};
use crate::crypto::keys::{FileKey, HeaderKey, Key};
use crate::crypto::{equal, hash};
use crate::names::Random;

/// What a writer leaves free for later slots (docs/format.md 4.3).
const FREE_ROOM: usize = 2048;
/// The least a writer starts with.
const USUAL_LEN: usize = 8192;

/// What anyone can see without a key. Nothing here is authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderFacts {
    /// The fixed part.
    pub preamble: Preamble,
    /// Slots and generation.
    pub table: SlotTable,
}

impl HeaderFacts {
    /// From the bytes of a header or the start of a sealed file.
    ///
    /// # Errors
    /// Steps 1 and 3 of docs/format.md 9.1.
    pub fn parse(bytes: &[u8]) -> Result<Self, SealError> {
        Header::parse(bytes, &Pins::default()).map(|header| header.facts)
    }

    /// From a sealed file; reads its header only.
    ///
    /// # Errors
    /// Steps 1 and 3 of docs/format.md 9.1.
    pub fn read(source: &dyn ReadAt) -> Result<Self, SealError> {
        Header::read(source, &Pins::default()).map(|header| header.facts)
    }
}

/// A header whose structure is right; not authenticated until [unlocked](Header::unlock).
pub(crate) struct Header {
    pub facts: HeaderFacts,
    bytes: Vec<u8>,
}

impl Header {
    /// Steps 1 to 3 of docs/format.md 9.1.
    pub fn read(source: &dyn ReadAt, pins: &Pins) -> Result<Self, SealError> {
        let file_len = source.len()?;
        let mut bytes = vec![0; file_len.min(PREAMBLE_LEN as u64) as usize];
        source.read_exact_at(&mut bytes, 0)?;
        let preamble = Preamble::parse(&bytes)?;
        pins.check_preamble(&preamble)?;
        if file_len < preamble.header_len.into() {
            return Err(SealError::Truncated);
        }
        bytes.resize(preamble.header_len as usize, 0);
        source.read_exact_at(&mut bytes[PREAMBLE_LEN..], PREAMBLE_LEN as u64)?;
        Self::with_table(preamble, bytes)
    }

    /// The same from bytes at hand; what follows the header is not looked at.
    pub fn parse(bytes: &[u8], pins: &Pins) -> Result<Self, SealError> {
        let preamble = Preamble::parse(bytes)?;
        pins.check_preamble(&preamble)?;
        let bytes = bytes.get(..preamble.header_len as usize).ok_or(SealError::Truncated)?;
        Self::with_table(preamble, bytes.to_vec())
    }

    fn with_table(preamble: Preamble, bytes: Vec<u8>) -> Result<Self, SealError> {
        let table = SlotTable::parse(&bytes[..bytes.len() - MAC_LEN])?;
        Ok(Self { facts: HeaderFacts { preamble, table }, bytes })
    }

    /// Steps 4 and 5: the file key, after commitment, MAC and generation were found right.
    pub fn unlock(&self, credential: &Credential, pins: &Pins) -> Result<Key<FileKey>, SealError> {
        let HeaderFacts { preamble, table } = &self.facts;
        let key = unlock(table, preamble, credential)?;
        let (authenticated, mac) = self.bytes.split_at(self.bytes.len() - MAC_LEN);
        if !equal(&header_mac(&key, preamble, authenticated), mac) {
            return Err(SealError::HeaderAuthFailed);
        }
        pins.check_generation(table.generation)?;
        Ok(key)
    }
}

fn header_mac(key: &Key<FileKey>, preamble: &Preamble, authenticated: &[u8]) -> [u8; MAC_LEN] {
    hash::hmac(&derive::<HeaderKey>(key, &preamble.commitment).expose(), &[authenticated])
}

/// The bytes of a header.
///
/// # Errors
/// `LimitExceeded` if the slots do not fit its fixed length: the content must be sealed anew.
pub(crate) fn write_header(preamble: &Preamble, table: &SlotTable, key: &Key<FileKey>) -> Result<Vec<u8>, SealError> {
    let authenticated = preamble.header_len as usize - MAC_LEN;
    if PREAMBLE_LEN + table.len() > authenticated {
        return Err(SealError::LimitExceeded("the slots do not fit the header; seal the content anew"));
    }
    let mut bytes = Vec::with_capacity(preamble.header_len as usize);
    bytes.extend_from_slice(&preamble.to_bytes());
    table.write(&mut bytes);
    bytes.resize(authenticated, 0);
    bytes.extend_from_slice(&header_mac(key, preamble, &bytes));
    Ok(bytes)
}

/// Header length for a table of `table_len` bytes with room for rotation.
pub(crate) fn roomy_header_len(table_len: usize) -> u32 {
    let wanted = (PREAMBLE_LEN + table_len + MAC_LEN + FREE_ROOM).max(USUAL_LEN);
    u32::try_from(wanted).unwrap_or(u32::MAX).min(MAX_HEADER_LEN).next_multiple_of(HEADER_UNIT)
}

/// A header for the same body with other slots (docs/format.md 4.3): generation + 1, fresh ids and salts.
///
/// Write it as a new object and keep the old one readable until the new one is durable. Rotation does not revoke.
///
/// # Errors
/// Those of opening (steps 1 to 5); `LimitExceeded` if the new slots do not fit or the generation is used up.
pub fn rewrap(
    header: &[u8],
    credential: &Credential,
    pins: &Pins,
    new_slots: &[NewSlot],
    random: &dyn Random,
) -> Result<Vec<u8>, SealError> {
    let fresh = new_slots.iter().map(|_| FreshSlot::draw(random)).collect::<Result<Vec<_>, _>>()?;
    rewrap_with(header, credential, pins, new_slots, &fresh)
}

/// [`rewrap`] with given ids and salts.
pub(crate) fn rewrap_with(
    header: &[u8],
    credential: &Credential,
    pins: &Pins,
    new_slots: &[NewSlot],
    fresh: &[FreshSlot],
) -> Result<Vec<u8>, SealError> {
    let old = Header::parse(header, pins)?;
    let key = old.unlock(credential, pins)?;
    let HeaderFacts { preamble, table } = &old.facts;
    let generation = table.generation.checked_add(1).ok_or(SealError::LimitExceeded("header generation"))?;
    let table = make_table(new_slots, fresh, generation, &preamble.file_id, &key)?;
    write_header(preamble, &table, &key)
}
