//! Detectors that look at columns, and at labels of records of any kind.
//!
//! | file | what |
//! |---|---|
//! | `gather`, `vectors`, `matrix` | records as vectors, in bounded memory |
//! | `nearest`, `ridge`, `text_models`, `pool` | which label the others speak for, each record left out |
//! | `label_noise`, `contributor` | labels that are spoken against; who supplies them |
//! | `column_trigger`, `items`, `patterns`, `rest` | values whose records have a label that their other columns do not speak for |
//! | `summary`, `drift` | how columns are distributed, and whether otherwise than before |
//! | `ranking` | which records are odd: no findings |
//! | `special`, `random` | tails of distributions; numbers by lot, from a seed |

pub mod column_trigger;
pub mod contributor;
pub mod drift;
mod gather;
mod items;
pub mod label_noise;
mod matrix;
mod nearest;
mod patterns;
mod pool;
mod random;
pub mod ranking;
mod rest;
mod ridge;
mod special;
pub mod summary;
mod text_models;
mod vectors;
