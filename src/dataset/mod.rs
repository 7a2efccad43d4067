//! Datasets: what a training job reads, record by record. Which records were signed, by whom, and whether these are they.
//!
//! | file | what |
//! |---|---|
//! | `schema` | what records look like: signed, the same for all files |
//! | `value` | the canonical form of a record, and its hash |
//! | `frame` | from the bytes of a file to its records: one file for each format |
//! | `blocks` | a file read once and worked on by all cores |
//! | `measure` | files, their records, roots |
//! | `statement` | what is signed about one version |
//! | `compare` | what differs between two versions |
//!
//! No network, no clock, nothing spawned but threads. Memory does not grow with a dataset.

mod blocks;
mod compare;
pub mod frame;
mod measure;
mod schema;
mod statement;
mod value;

pub use compare::{Comparing, Difference, RecordKey, Summary};
pub use frame::Format;
pub use measure::{Measured, Source, dataset_root, survey};
pub use statement::{DatasetStatement, MAX_DATASET_FILES};
pub use schema::{Column, MAX_COLUMNS, Schema, Seen, Survey, Type};
pub use value::{Encoder, MAX_RECORD, record_hash};
