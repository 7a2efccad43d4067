//! Datasets: what a training job reads, record by record. Which records were signed, by whom, and whether these are they.
//!
//! | file | what |
//! |---|---|
//! | `schema` | what records look like: signed, the same for all files |
//! | `value` | the canonical form of a record, and its hash |
//! | `frame` | from the bytes of a file to its records: one file for each format |
//! | `units` | a file read once and worked on by all cores |
//! | `blocks` | text as such units |
//! | `measure`, `folder`, `tree`, `parts` | files and all files of a dataset, wherever they lie: their records, roots |
//! | `leaves`, `pieces` | on disk beside the files: hashes of the records, and of the bytes that a reader checks at a time |
//! | `contributors` | who supplied which records |
//! | `sidecars` | what signing keeps beside the files, and what else lies there |
//! | `statement`, `scanned` | what is signed about one version, and of the scan whose report it names |
//! | `reader`, `images`, `fields`, `jsonl` | reading: each piece is checked before it is handed on; records field by field, and as JSON Lines |
//! | `proof`, `receipt` | about one record; about what a training job read |
//! | `chain` | versions follow one another: no fork, no way back |
//! | `compare` | what differs between two versions |
//! | `detect` | what looks poisoned: suspicions, with their evidence |
//!
//! No network, no clock, nothing spawned but threads. Memory does not grow with a dataset.

mod blocks;
mod chain;
mod compare;
mod contributors;
#[cfg(feature = "datasets")]
pub mod detect;
mod fields;
mod folder;
mod frame;
mod images;
mod jsonl;
mod leaves;
mod measure;
mod parts;
mod pieces;
mod proof;
mod reader;
mod receipt;
mod scanned;
mod schema;
mod sidecars;
mod statement;
mod tree;
mod units;
mod value;

pub use chain::{Chain, Seen as VersionSeen, Version};
pub use compare::{Comparing, Difference, Multiset, RecordKey, Summary};
pub use contributors::{Attested, Contributor, Excluded, MAX_CONTRIBUTORS, Run, Runs};
pub use fields::{Field, Fields, Malformed, fields, members};
pub use folder::{Folder, Follow, IMAGES, ImageFile};
pub use frame::{Format, file_record_hash};
pub use images::image_pieces;
pub use jsonl::write_line;
pub use leaves::{LeafWriter, Leaves};
pub use measure::{Measured, Source, Surveyor, dataset_root};
pub use pieces::{MAX_PIECE, Piece, Pieces};
pub use proof::RecordProof;
pub use reader::{Beside, Place, Reader, Record, Verified};
pub use receipt::{Read, ReadSet, Receipt};
pub use scanned::{Gravity, ScanSummary};
pub use schema::{Column, MAX_COLUMNS, Schema, Seen, Survey, Type};
pub use sidecars::{CONTRIBUTORS, PIECES, Sidecars};
pub use statement::{Attribution, DatasetStatement, Described, MAX_DATASET_FILES, Origin};
pub use tree::{Opened, Tree};
pub use value::{Encoder, MAX_RECORD, record_hash};
