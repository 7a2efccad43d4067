//! What the product promises when a process dies at any moment, the disk fills up or fails, or strangers misuse the port.
//!
//! Faults are put into the real binary from outside, by strace: the product has no hooks for tests. Each point is tried on a
//! copy of a home of its own. `MODELVAULT_FAULTS=all cargo test --release -p model-vault-cli --test faults` tries every write and
//! more commands, not only a sample of them (ten minutes instead of one).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod crash;
mod daemon;
mod disk;
mod hostile;
mod inject;
mod promise;
#[path = "../cli/schema.rs"]
#[allow(dead_code, reason = "shared with the other tests of the command line")]
mod schema;
#[path = "../cli/support.rs"]
#[allow(dead_code, reason = "shared with the other tests of the command line")]
mod support;
