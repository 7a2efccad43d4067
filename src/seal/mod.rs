//! The sealed format of docs/format.md in code.
//!
//! | file | what | section |
//! |---|---|---|
//! | `preamble`, `keys` | the fixed 128 bytes; every key derived from the file key | 3 |
//! | `slots`, `unlock` | who may unlock the file key; credentials | 4.1 |
//! | `header` | the header as a whole; rewrap | 4 |
//! | `segment` | cutting a payload, ranges, nonces | 5 |
//! | `manifest`, `layout` | what is in the payload and where | 7 |
//! | `signatures` | seal statements | 8 |
//! | `trailer` | lengths, root, footer MAC | 6, 8 |
//! | `reader`, `verify`, `keyless` | open, read a range, verify with and without a key | 9 |
//! | `writer`, `plan`, `payload`, `fresh` | seal | 5.4 |
//! | `pipeline`, `digests`, `tap` | parallel work on segments, digests in the same pass, inspection's place in it | |
//! | `io` | positional reads and writes | |

mod digests;
pub mod error;
mod fresh;
pub mod hazmat;
pub mod header;
pub mod io;
pub mod keyless;
mod keys;
mod layout;
pub mod manifest;
mod payload;
pub mod pins;
mod pipeline;
mod plan;
pub mod preamble;
pub mod reader;
pub mod segment;
pub mod signatures;
pub mod slots;
pub mod tap;
pub mod trailer;
pub mod unlock;
pub mod verify;
pub mod writer;

pub use error::SealError;
pub use header::{HeaderFacts, rewrap};
pub use keyless::{KeylessFacts, verify_keyless, verify_keyless_with};
pub use manifest::{Manifest, Member, path_is_valid};
pub use pins::Pins;
#[cfg(feature = "daemon")]
pub(crate) use pipeline::default_threads;
pub use preamble::{Preamble, context_hash};
pub use reader::{HashCheck, OpenOptions, Reader};
pub use segment::Segments;
pub use slots::{Slot, SlotBody};
pub use tap::{Tap, TapVeto};
pub use unlock::{Credential, NewSlot};
pub use writer::{Draft, MemberSource, SealRequest, Sealed, seal};
