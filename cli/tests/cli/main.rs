//! The binary as people and scripts use it: what it prints, what it leaves behind, how it fails.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alerts;
mod attestations;
mod audit;
mod bad_input;
mod cases;
mod daemon;
mod dataset;
mod dataset_hostile;
mod dataset_images;
mod dataset_parts;
mod dataset_provenance;
mod dataset_scan;
mod dataset_sealed;
mod intel;
mod keys;
mod local;
mod operators;
mod policy;
mod portable;
mod quickstart;
mod quotas;
mod schema;
mod shells;
mod signing;
mod sinks;
mod support;
mod telemetry;
mod terminal;
