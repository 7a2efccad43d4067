//! May this caller do this to that, now? Cedar policies under a strict schema; the only maker of a [`Grant`].
//!
//! | file | what |
//! |---|---|
//! | `schema.cedarschema` | what policies can talk about |
//! | `default.cedar` | the policies of a new vault |
//! | `request` | the question, and its form in Cedar |
//! | `dataset` | what the question knows of a dataset |
//! | `policies` | a checked set of policies, and its answer |
//! | `place` | where in a text a mistake is |
//! | `lacking` | what a denied caller could still add |
//! | `slice` | which of them can apply to a request at all |
//! | `groups` | who is in which group |
//! | `why` | why a decision is as it is |
//! | `scenario`, `table` | requests in words, and tests of policies |
//! | `grant` | the proof of a permit that opens an artifact |
//!
//! Default deny; a `forbid` wins; an error while evaluating denies. No clock, no network, no files: `now` is an argument.

mod dataset;
mod grant;
mod groups;
mod lacking;
mod place;
mod policies;
mod request;
mod scenario;
mod slice;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_slice;
mod why;

pub use dataset::{Dataset, Scan};
pub use grant::{Decided, Denied, Grant, Lease};
pub use groups::Groups;
pub use lacking::Lack;
pub use place::Place;
pub use policies::{Decision, GRANTED, MAX_POLICIES, MAX_TEXT_BYTES, Policies, PolicyError, explain, grant_as_cedar};
pub use request::{Action, Context, Request, Resource, Transport};
pub use scenario::{Described, Scenario, TEST_TIME, Target, parse_principal};
pub use table::{Expected, MAX_TABLE_BYTES, Table, Tested};
