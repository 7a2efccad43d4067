//! Credentials: getting the file key out of a slot, and putting it into a new one (docs/format.md 4.1, 9.1 step 4).

use std::sync::{Mutex, PoisonError};

use super::error::SealError;
use super::keys::LABEL;
use super::preamble::Preamble;
use super::slots::{EXTERNAL, KEK, MAX_SLOTS, PASSPHRASE, Slot, SlotBody, SlotTable, Wrapped, external_fits};
use crate::crypto::kdf::{self, Argon2Costs};
use crate::crypto::keys::{ArtifactKey, FileKey, HybridSeed, Key, Passphrase, Purpose, SlotSecret};
use crate::crypto::wrap::{WRAP_LEN, unwrap, wrap};
use crate::crypto::{equal, hash, hybrid};
use crate::names::{FileId, KekId};

/// What opens a slot.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Opens type 1.
    Passphrase(Passphrase),
    /// Opens type 3 slots of this key and version.
    Kek {
        /// Which key.
        id: KekId,
        /// Which version of it.
        version: u32,
        /// The key.
        key: Key<ArtifactKey>,
    },
    /// Opens type 2 slots of the seed's public key.
    Hybrid(Key<HybridSeed>),
    /// Opens type 4 slots of this service.
    External {
        /// The service, from the caller's allow-list.
        uri: String,
        /// What it was asked.
        blob: Vec<u8>,
        /// What it returned.
        secret: Key<SlotSecret>,
    },
}

/// A slot to be written.
#[derive(Clone, Debug)]
pub enum NewSlot {
    /// Type 1. Must be the only slot.
    Passphrase {
        /// As the user typed it.
        passphrase: Passphrase,
        /// At least [`Argon2Costs::DEFAULT`].
        costs: Argon2Costs,
    },
    /// Type 3.
    Kek {
        /// Which key.
        id: KekId,
        /// Which version of it.
        version: u32,
        /// The key.
        key: Key<ArtifactKey>,
    },
    /// Type 4.
    External {
        /// The service.
        uri: String,
        /// What it will be asked.
        blob: Vec<u8>,
        /// What it will return.
        secret: Key<SlotSecret>,
    },
}

/// Values a slot takes from the random generator, fresh for each slot written.
#[derive(Clone, Debug)]
pub struct FreshSlot {
    /// The slot's id.
    pub id: [u8; 16],
    /// The salt of its wrap.
    pub salt: [u8; 32],
}

/// Opens the first slot that fits, then compares the commitment.
///
/// # Errors
/// `NoMatchingSlot`, `UnwrapFailed` or `LimitExceeded`, as step 4 says.
pub(crate) fn unlock(
    table: &SlotTable,
    preamble: &Preamble,
    credential: &Credential,
) -> Result<Key<FileKey>, SealError> {
    let recipient = match credential {
        Credential::Hybrid(seed) => Some(key_id_of(seed)),
        _ => None,
    };
    let mut last = SealError::NoMatchingSlot;
    for slot in &table.slots {
        match open_slot(slot, &preamble.file_id, credential, recipient.as_ref()) {
            None => {}
            Some(Err(e)) => last = e,
            Some(Ok(key)) => {
                let committed = equal(&preamble.commitment_of(&key).0, &preamble.commitment.0);
                return if committed { Ok(key) } else { Err(SealError::UnwrapFailed) };
            }
        }
    }
    Err(last)
}

/// `None` if the slot is not meant for the credential.
fn open_slot(
    slot: &Slot,
    file_id: &FileId,
    credential: &Credential,
    recipient: Option<&[u8; 16]>,
) -> Option<Result<Key<FileKey>, SealError>> {
    match (&slot.body, credential) {
        (SlotBody::Passphrase { costs, wrapped }, Credential::Passphrase(passphrase)) => {
            if !costs.acceptable() {
                return Some(Err(SealError::LimitExceeded("cost of the passphrase")));
            }
            Some(
                stretch(passphrase, &wrapped.salt, *costs)
                    .and_then(|secret| open_wrap(slot, file_id, wrapped, &secret)),
            )
        }
        (SlotBody::Kek { id, version, wrapped }, Credential::Kek { id: our_id, version: ours, key }) => {
            (id == our_id && version == ours).then(|| open_wrap(slot, file_id, wrapped, key))
        }
        // The blob is not compared: a slot of this service whose blob was altered is a damaged slot, and fails as one.
        (SlotBody::External { uri, wrapped, .. }, Credential::External { uri: ours, secret, .. }) => {
            (uri == ours.as_bytes()).then(|| open_wrap(slot, file_id, wrapped, secret))
        }
        (SlotBody::Hybrid { key_id, encapsulation, sealed }, Credential::Hybrid(seed)) => (Some(key_id) == recipient)
            .then(|| {
                let info = [LABEL, b"hpke", &slot_context(slot, file_id), key_id].concat();
                hybrid::open_key(seed, encapsulation, &info, sealed).map_err(|_| SealError::UnwrapFailed)
            }),
        _ => None,
    }
}

/// First 16 bytes of the BLAKE3 of the seed's public key.
fn key_id_of(seed: &Key<HybridSeed>) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&hash::blake3(&hybrid::public_key(seed)).0[..16]);
    id
}

/// `S = type ‖ flags ‖ slot_id ‖ file_id`.
fn slot_context(slot: &Slot, file_id: &FileId) -> Vec<u8> {
    [&slot.slot_type.to_be_bytes()[..], &[0; 2], &slot.id, &file_id.0].concat()
}

fn open_wrap<S: Purpose>(
    slot: &Slot,
    file_id: &FileId,
    wrapped: &Wrapped,
    secret: &Key<S>,
) -> Result<Key<FileKey>, SealError> {
    let (context, parameters) = (slot_context(slot, file_id), slot.parameters());
    let info = [LABEL, b"wrap", &context, &parameters];
    unwrap(secret, &wrapped.salt, &info, &[&context, &parameters], &wrapped.wrap).map_err(|_| SealError::UnwrapFailed)
}

/// Argon2id, one run at a time in this process: a burst of hostile files must not add up to more memory than one.
fn stretch(passphrase: &Passphrase, salt: &[u8; 32], costs: Argon2Costs) -> Result<Key<SlotSecret>, SealError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    kdf::argon2id(passphrase, salt, costs).map_err(|_| SealError::UnwrapFailed)
}

/// Wraps the file key into new slots.
///
/// # Errors
/// `InvalidArgument` for a list of slots that the format does not allow.
pub(crate) fn make_table(
    new: &[NewSlot],
    fresh: &[FreshSlot],
    generation: u32,
    file_id: &FileId,
    key: &Key<FileKey>,
) -> Result<SlotTable, SealError> {
    check(new)?;
    assert_eq!(new.len(), fresh.len(), "one fresh id and salt for each slot");
    let slots = new.iter().zip(fresh).map(|(n, f)| make_slot(n, f, file_id, key)).collect::<Result<_, _>>()?;
    Ok(SlotTable { generation, slots })
}

/// The rules a writer keeps, before any work.
pub(crate) fn check(new: &[NewSlot]) -> Result<(), SealError> {
    let refuse = |why: &str| Err(SealError::InvalidArgument(why.into()));
    if !(1..=MAX_SLOTS).contains(&new.len()) {
        return refuse("a sealed file has 1 to 64 key slots");
    }
    for slot in new {
        match slot {
            NewSlot::Passphrase { .. } if new.len() > 1 => return refuse("a passphrase must be the only key slot"),
            NewSlot::Passphrase { passphrase, .. } if passphrase.is_empty() => {
                return refuse("the passphrase is empty");
            }
            NewSlot::Passphrase { costs, .. } if !costs.acceptable() || costs.t < Argon2Costs::DEFAULT.t => {
                return refuse("the cost of the passphrase is outside the bounds of the format");
            }
            NewSlot::External { uri, blob, .. } if !external_fits(uri.as_bytes(), blob) => {
                return refuse("an external slot has a URI of at most 512 and a blob of at most 4096 bytes");
            }
            _ => {}
        }
    }
    Ok(())
}

fn make_slot(new: &NewSlot, fresh: &FreshSlot, file_id: &FileId, key: &Key<FileKey>) -> Result<Slot, SealError> {
    let blank = || Wrapped { salt: fresh.salt, wrap: [0; WRAP_LEN] };
    let (slot_type, body) = match new {
        NewSlot::Passphrase { costs, .. } => (PASSPHRASE, SlotBody::Passphrase { costs: *costs, wrapped: blank() }),
        NewSlot::Kek { id, version, .. } => (KEK, SlotBody::Kek { id: *id, version: *version, wrapped: blank() }),
        NewSlot::External { uri, blob, .. } => {
            (EXTERNAL, SlotBody::External { uri: uri.as_bytes().to_vec(), blob: blob.clone(), wrapped: blank() })
        }
    };
    let mut slot = Slot { slot_type, id: fresh.id, body };
    let (context, parameters) = (slot_context(&slot, file_id), slot.parameters());
    let (info, aad) = ([LABEL, b"wrap", &context, &parameters], [&context[..], &parameters]);
    let made = match new {
        NewSlot::Passphrase { passphrase, costs } => {
            wrap(&stretch(passphrase, &fresh.salt, *costs)?, &fresh.salt, &info, &aad, key)
        }
        NewSlot::Kek { key: kek, .. } => wrap(kek, &fresh.salt, &info, &aad, key),
        NewSlot::External { secret, .. } => wrap(secret, &fresh.salt, &info, &aad, key),
    };
    if let SlotBody::Passphrase { wrapped, .. } | SlotBody::Kek { wrapped, .. } | SlotBody::External { wrapped, .. } =
        &mut slot.body
    {
        wrapped.wrap = made;
    }
    Ok(slot)
}
