//! The binary as people and scripts use it: what it prints, what it leaves behind, how it fails.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attestations;
mod bad_input;
mod cases;
mod daemon;
mod keys;
mod local;
mod portable;
mod quickstart;
mod schema;
mod shells;
mod signing;
mod support;
mod terminal;
