//! `vault dataset`: datasets signed, verified and compared record by record.

mod attesting;
mod beside;
mod diff;
mod issuing;
mod keeping;
mod log;
mod objects;
mod origin;
mod places;
mod prove;
mod quarantine;
mod read;
mod receipt;
mod scan;
mod scanned;
mod sealed;
mod seen;
mod sign;
mod statements;
mod suppliers;
mod told;
mod verify;

pub use statements::Statements;

use model_vault::Result;

use super::{Context, Outcome};
use crate::args::Dataset;

/// Runs one of them.
pub fn run(cx: &Context<'_>, args: &Dataset) -> Result<Outcome> {
    match args {
        Dataset::Sign(args) => sign::run(cx, args).map(|()| Outcome::Done),
        Dataset::Verify(args) => verify::run(cx, args),
        Dataset::Diff(args) => diff::run(cx, args),
        Dataset::Read(args) => read::run(cx, args).map(|()| Outcome::Done),
        Dataset::Prove(args) => prove::run(cx, args).map(|()| Outcome::Done),
        Dataset::Objects(args) => objects::run(cx, args),
        Dataset::Quarantine(args) => quarantine::run(cx, args).map(|()| Outcome::Done),
        Dataset::Receipt(args) => receipt::run(cx, args),
        Dataset::Log(args) => log::run(cx, args).map(|()| Outcome::Done),
        Dataset::Scan(args) => scan::run(cx, args),
    }
}
