//! May this caller do this to that, now? Cedar policies under a strict schema; the only maker of a [`Grant`].
//!
//! | file | what |
//! |---|---|
//! | `schema.cedarschema` | what policies can talk about |
//! | `default.cedar` | the policies of a new vault |
//! | `request` | the question, and its form in Cedar |
//! | `policies` | a checked set of policies, and its answer |
//! | `grant` | the proof of a permit that opens an artifact |
//!
//! Default deny; a `forbid` wins; an error while evaluating denies. No clock, no network, no files: `now` is an argument.

mod grant;
mod policies;
mod request;
#[cfg(test)]
mod tests;

pub use grant::{Denied, Grant, Lease};
pub use policies::{Decision, GRANTED, MAX_POLICIES, MAX_TEXT_BYTES, Policies, PolicyError, explain, grant_as_cedar};
pub use request::{Action, Context, Request, Resource, Transport};
