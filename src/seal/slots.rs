//! The slot table: who may unlock the file key (docs/format.md 4.1).

use std::collections::HashSet;

use super::error::SealError;
use super::preamble::PREAMBLE_LEN;
use crate::crypto::hybrid::{ENCAPSULATION_LEN, SEALED_KEY_LEN};
use crate::crypto::kdf::Argon2Costs;
use crate::crypto::wrap::WRAP_LEN;
use crate::names::KekId;

/// Bytes of the MAC that ends a header.
pub(crate) const MAC_LEN: usize = 32;
/// Most slots of a header.
pub const MAX_SLOTS: usize = 64;
const TABLE_START_LEN: usize = 12;
const ENVELOPE_LEN: usize = 24;
const MAX_URI: usize = 512;
const MAX_BLOB: usize = 4096;

pub(crate) const PASSPHRASE: u16 = 1;
pub(crate) const HYBRID: u16 = 2;
pub(crate) const KEK: u16 = 3;
pub(crate) const EXTERNAL: u16 = 4;

/// All slots of a header, structure checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotTable {
    /// Grows with each rewrite of the header.
    pub generation: u32,
    /// In the order of the file.
    pub slots: Vec<Slot>,
}

/// One slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The type as written.
    pub slot_type: u16,
    /// Random; differs within a file.
    pub id: [u8; 16],
    /// What the body says.
    pub body: SlotBody,
}

/// The content of a slot by type. Nothing here is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotBody {
    /// Type 1: opened by a passphrase.
    Passphrase {
        /// As written; not yet compared with the bounds.
        costs: Argon2Costs,
        /// The wrapped file key.
        wrapped: Wrapped,
    },
    /// Type 2: opened by the holder of an X-Wing seed.
    Hybrid {
        /// First 16 bytes of the BLAKE3 of the public key.
        key_id: [u8; 16],
        /// X-Wing encapsulation.
        encapsulation: Box<[u8; ENCAPSULATION_LEN]>,
        /// The sealed file key.
        sealed: [u8; SEALED_KEY_LEN],
    },
    /// Type 3: opened by a key of the vault.
    Kek {
        /// Which key.
        id: KekId,
        /// Which version of it.
        version: u32,
        /// The wrapped file key.
        wrapped: Wrapped,
    },
    /// Type 4: opened by what a KMS or HSM returns for a blob.
    External {
        /// Where the service is. Compare it with an allow-list before you call it.
        uri: Vec<u8>,
        /// What to ask it.
        blob: Vec<u8>,
        /// The wrapped file key.
        wrapped: Wrapped,
    },
    /// A type this release does not know: skipped.
    Unknown,
}

/// A salt and what was wrapped with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// Fresh for each slot.
    pub salt: [u8; 32],
    /// Commitment, ciphertext, tag.
    pub wrap: [u8; WRAP_LEN],
}

impl SlotTable {
    /// Reads the table of a header without its MAC: `header[0 .. header_len − 32]`.
    ///
    /// # Errors
    /// `MalformedHeader` for any broken rule, padding included; nothing has been tried then.
    pub fn parse(header: &[u8]) -> Result<Self, SealError> {
        let malformed = SealError::MalformedHeader;
        let mut table = Input(header.get(PREAMBLE_LEN..).unwrap_or_default());
        let count = usize::from(table.u16().ok_or(malformed("slot table"))?);
        let zero = table.u16().ok_or(malformed("slot table"))?;
        let generation = table.u32().ok_or(malformed("slot table"))?;
        let slots_len = table.u32().ok_or(malformed("slot table"))?;
        if !(1..=MAX_SLOTS).contains(&count) {
            return Err(malformed("number of slots"));
        }
        if zero != 0 {
            return Err(malformed("reserved bytes of the slot table"));
        }
        if generation == 0 {
            return Err(malformed("generation"));
        }
        let mut input = Input(table.take(slots_len as usize).ok_or(malformed("length of the slots"))?);
        if table.0.iter().any(|b| *b != 0) {
            return Err(malformed("padding of the header"));
        }
        let slots = (0..count).map(|_| Slot::parse(&mut input)).collect::<Result<Vec<_>, _>>()?;
        if !input.0.is_empty() {
            return Err(malformed("length of the slots"));
        }
        if slots.iter().map(|s| s.id).collect::<HashSet<_>>().len() != count {
            return Err(malformed("equal slot ids"));
        }
        // A weak passphrase must not be the way round a strong key.
        if count > 1 && slots.iter().any(|s| s.slot_type == PASSPHRASE) {
            return Err(malformed("a passphrase slot beside another slot"));
        }
        Ok(Self { generation, slots })
    }

    /// Bytes the table takes, without padding.
    pub(crate) fn len(&self) -> usize {
        TABLE_START_LEN + self.slots.iter().map(|s| ENVELOPE_LEN + s.body_bytes().len()).sum::<usize>()
    }

    /// Appends the table, without padding.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let count = u16::try_from(self.slots.len()).expect("writers check the number of slots");
        let slots_len = u32::try_from(self.len() - TABLE_START_LEN).expect("64 slots of at most 4752 bytes");
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&slots_len.to_be_bytes());
        for slot in &self.slots {
            let body = slot.body_bytes();
            out.extend_from_slice(&slot.slot_type.to_be_bytes());
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&u32::try_from(body.len()).expect("a body has at most 4724 bytes").to_be_bytes());
            out.extend_from_slice(&slot.id);
            out.extend_from_slice(&body);
        }
    }
}

impl Slot {
    fn parse(input: &mut Input<'_>) -> Result<Self, SealError> {
        let malformed = SealError::MalformedHeader;
        let slot_type = input.u16().ok_or(malformed("slot"))?;
        let flags = input.u16().ok_or(malformed("slot"))?;
        let body_len = input.u32().ok_or(malformed("slot"))?;
        let id = input.array().ok_or(malformed("slot"))?;
        if flags != 0 {
            return Err(malformed("flags of a slot"));
        }
        let mut body = Input(input.take(body_len as usize).ok_or(malformed("length of a slot"))?);
        let parsed = match slot_type {
            PASSPHRASE => body.passphrase(),
            HYBRID => body.hybrid(),
            KEK => body.kek(),
            EXTERNAL => body.external(),
            _ => return Ok(Self { slot_type, id, body: SlotBody::Unknown }),
        };
        match parsed {
            Some(parsed) if body.0.is_empty() => Ok(Self { slot_type, id, body: parsed }),
            _ => Err(malformed("length of a slot")),
        }
    }

    /// `P`: the clear parameters that the wrap authenticates.
    pub(crate) fn parameters(&self) -> Vec<u8> {
        match &self.body {
            SlotBody::Passphrase { costs, .. } => {
                [&costs.m_kib.to_be_bytes()[..], &costs.t.to_be_bytes(), &costs.p.to_be_bytes()].concat()
            }
            SlotBody::Kek { id, version, .. } => [&id.0[..], &version.to_be_bytes()].concat(),
            SlotBody::External { uri, blob, .. } => {
                let len = |bytes: &[u8]| u16::try_from(bytes.len()).expect("checked: at most 4096").to_be_bytes();
                [&len(uri)[..], &len(blob), uri, blob].concat()
            }
            SlotBody::Hybrid { .. } | SlotBody::Unknown => Vec::new(),
        }
    }

    fn body_bytes(&self) -> Vec<u8> {
        match &self.body {
            SlotBody::Hybrid { key_id, encapsulation, sealed } => [&key_id[..], &encapsulation[..], sealed].concat(),
            SlotBody::Passphrase { wrapped, .. }
            | SlotBody::Kek { wrapped, .. }
            | SlotBody::External { wrapped, .. } => [&self.parameters()[..], &wrapped.salt, &wrapped.wrap].concat(),
            SlotBody::Unknown => Vec::new(),
        }
    }
}

/// Whether a writer may make an external slot of these lengths.
pub(crate) fn external_fits(uri: &[u8], blob: &[u8]) -> bool {
    uri.len() <= MAX_URI && blob.len() <= MAX_BLOB
}

/// The rest of some bytes. Every method takes from the front, or nothing.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn wrapped(&mut self) -> Option<Wrapped> {
        Some(Wrapped { salt: self.array()?, wrap: self.array()? })
    }

    fn passphrase(&mut self) -> Option<SlotBody> {
        let costs = Argon2Costs { m_kib: self.u32()?, t: self.u16()?, p: self.u16()? };
        Some(SlotBody::Passphrase { costs, wrapped: self.wrapped()? })
    }

    fn hybrid(&mut self) -> Option<SlotBody> {
        let (key_id, encapsulation) = (self.array()?, Box::new(self.array()?));
        Some(SlotBody::Hybrid { key_id, encapsulation, sealed: self.array()? })
    }

    fn kek(&mut self) -> Option<SlotBody> {
        Some(SlotBody::Kek { id: KekId(self.array()?), version: self.u32()?, wrapped: self.wrapped()? })
    }

    fn external(&mut self) -> Option<SlotBody> {
        let (uri_len, blob_len) = (usize::from(self.u16()?), usize::from(self.u16()?));
        if uri_len > MAX_URI || blob_len > MAX_BLOB {
            return None;
        }
        let (uri, blob) = (self.take(uri_len)?.to_vec(), self.take(blob_len)?.to_vec());
        Some(SlotBody::External { uri, blob, wrapped: self.wrapped()? })
    }
}
