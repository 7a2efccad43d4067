//! A model or dataset on disk: its files found without following links, read in place, and hashed on all cores.
//!
//! Names and bytes here are hostile until a signature vouches for them: nothing outside the directory is opened, whatever
//! the names and links within it say, and a file that changes while it is read is an error, not a digest.

mod digest;
mod walk;

pub use digest::{Digests, Piece, digest};
pub use walk::{Entry, Ignored, Links, MAX_FILES, ModelFiles, Stamp, path_is_canonical};
