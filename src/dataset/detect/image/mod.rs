//! Detectors that look at images, and what they are decoded by.
//!
//! | file | what |
//! |---|---|
//! | `decode` | PNG and JPEG to pixels, within bounds |
//! | `vector`, `hash` | an image made small |
//! | `window`, `filter` | its windows, and which of them are many |
//! | `candidate`, `neighbours`, `patch`, `trigger` | patches whose images have a label that their likes have not |
//! | `duplicate`, `groups` | images that are nearly the same, under different labels |

mod candidate;
mod decode;
pub mod duplicate;
mod filter;
mod groups;
mod hash;
mod neighbours;
mod patch;
pub mod trigger;
mod vector;
mod window;

use super::example::Pixels;

/// Whether bytes begin as a PNG (RFC 2083, section 3.1) or a JPEG (start of image, then a marker) does.
pub(super) fn is_image(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.starts_with(b"\xff\xd8\xff")
}

/// The pixels of a PNG or JPEG, at most as many as detectors look at (128 x 128); `None` for one that cannot be decoded.
pub(super) fn decode(bytes: &[u8]) -> Option<Pixels> {
    decode::decode(bytes).ok().map(|pixels| pixels.reduced_to(window::WINDOW_SIDE))
}
