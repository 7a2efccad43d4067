//! Datasets: what a training job reads, record by record. Which records were signed, by whom, and whether these are they.
//!
//! | file | what |
//! |---|---|
//! | `schema` | what records look like: signed, the same for all files |
//! | `value` | the canonical form of a record, and its hash |
//! | `frame` | from the bytes of a file to its records: one file for each format |
//! | `blocks` | a file read once and worked on by all cores |
//! | `measure`, `folder` | files and all files of a dataset: their records, roots |
//! | `leaves` | the hashes of records on disk |
//! | `statement` | what is signed about one version |
//! | `chain` | versions follow one another: no fork, no way back |
//! | `compare` | what differs between two versions |
//! | `fields` | canonical records, read |
//! | `detect` | what looks poisoned: suspicions, with their evidence |
//!
//! No network, no clock, nothing spawned but threads. Memory does not grow with a dataset.

mod blocks;
mod chain;
mod compare;
pub mod detect;
mod fields;
mod folder;
mod frame;
mod leaves;
mod measure;
mod schema;
mod statement;
mod value;

pub use chain::{Chain, Seen as VersionSeen, Version};
pub use compare::{Comparing, Difference, RecordKey, Summary};
pub use fields::{Field, Fields, Malformed, fields, members};
pub use folder::{Folder, Follow};
pub use frame::Format;
pub use leaves::{LeafWriter, Leaves};
pub use measure::{Measured, Source, Surveyor, dataset_root};
pub use schema::{Column, MAX_COLUMNS, Schema, Seen, Survey, Type};
pub use statement::{DatasetStatement, MAX_DATASET_FILES};
pub use value::{Encoder, MAX_RECORD, record_hash};
