//! `vault dataset`: datasets signed, verified and compared record by record.

mod diff;
mod log;
mod places;
mod scan;
mod sign;
mod told;
mod verify;

use model_vault::Result;

use super::{Context, Outcome};
use crate::args::Dataset;

/// Runs one of them.
pub fn run(cx: &Context<'_>, args: &Dataset) -> Result<Outcome> {
    match args {
        Dataset::Sign(args) => sign::run(cx, args).map(|()| Outcome::Done),
        Dataset::Verify(args) => verify::run(cx, args),
        Dataset::Diff(args) => diff::run(cx, args),
        Dataset::Log(args) => log::run(cx, args).map(|()| Outcome::Done),
        Dataset::Scan(args) => scan::run(cx, args),
    }
}
