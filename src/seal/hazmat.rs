//! Sealing with given "random" values, for vectors and tests only.
//!
//! **What goes wrong:** nonces are counters. Two seals with the same file key and preamble give away the XOR of their
//! plaintexts and the authentication key of the file: whoever sees both can read and forge. Two wraps with the same salt do the
//! same to the file key. Product code calls [`seal`](super::seal) and [`rewrap`](super::rewrap), which draw their own values.

pub use super::fresh::Fresh;
pub use super::unlock::FreshSlot;

use super::error::SealError;
use super::io::WriteAt;
use super::pins::Pins;
use super::unlock::{Credential, NewSlot};
use super::writer::{SealRequest, Sealed};

/// [`seal`](super::seal) with the values of `fresh`, which must never have been used before.
///
/// # Errors
/// As [`seal`](super::seal).
pub fn seal_with(
    request: SealRequest<'_>,
    fresh: Fresh,
    body: &dyn WriteAt,
    body_offset: u64,
) -> Result<Sealed, SealError> {
    super::writer::seal_with(request, fresh, body, body_offset)
}

/// [`rewrap`](super::rewrap) with the values of `fresh`, one for each slot, which must never have been used before.
///
/// # Errors
/// As [`rewrap`](super::rewrap).
pub fn rewrap_with(
    header: &[u8],
    credential: &Credential,
    pins: &Pins,
    new_slots: &[NewSlot],
    fresh: &[FreshSlot],
) -> Result<Vec<u8>, SealError> {
    super::header::rewrap_with(header, credential, pins, new_slots, fresh)
}
