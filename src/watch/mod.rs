//! What is unusual: rules over the audit log, and what they notice ([docs/monitoring.md](../../docs/monitoring.md)).
//!
//! A [`Watcher`] takes the rows of a log in order. Of each principal it keeps a baseline of fixed size (bytes an hour, artifacts,
//! networks, hours of the day, refusals), made of medians and quantiles in whole numbers, so that a few wild hours do not move it.
//! It reads no clock, stores nothing (what it remembers can be had as bytes) and acts on nothing: the vault feeds it and carries out what an [`Alert`] asks for; `vault
//! audit replay` feeds it from a file.
//!
//! What a hostile principal cannot do: make another be forgotten, or itself; raise what is allowed to it quickly (eightfold in
//! four weeks at most); make an address, an hour or an artifact usual by calls that are not judged.

mod alert;
mod announced;
mod document;
mod engine;
mod event;
mod flow;
mod principals;
mod profile;
pub mod rules;
pub mod score;
mod sketch;
mod snapshot;
mod streams;
pub mod trace;
pub mod traffic;

pub use alert::Alert;
pub use document::{Response, RuleId, RuleSet, Rules, Severity, Webhook};
pub use engine::{PRINCIPALS_MAX, Watcher};
pub use event::Event;
pub use snapshot::SNAPSHOT_MAX;
