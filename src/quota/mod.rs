//! How much callers may do: rules, the counters they are asked of, and one ledger that decides.
//!
//! A rule names callers and, if it wants, artifacts, and says how many requests a minute, bytes an hour, streams at a time and whole
//! reads a day they may have (docs/quotas.md). Every rule that matches holds, so the tightest decides.
//!
//! | file | what |
//! |---|---|
//! | `rules`, `pattern` | the document and whom it is about |
//! | `window` | what was used in the last while, in bounded memory |
//! | `account` | the counters of one caller, or of one caller and one artifact, and their stored form |
//! | `ledger` | all accounts behind one lock: what is given out, what must be durable first |
//! | `refusal` | why not, and when again |
//! | `pace` | a time that nobody sets back or forward |
//!
//! Nothing here knows of disks or clocks: the time is an argument, and what must be written is handed to the caller, who writes it
//! before anything leaves.

mod account;
mod ledger;
mod pace;
mod pattern;
mod refusal;
mod rules;
mod window;

#[cfg(test)]
mod tests;

pub use account::{Account, Key};
pub use ledger::{Asker, Books, Due, Ledger, No, SEGMENT, Stored, Stream, Target, Untold};
pub use pace::{Mark, Pace};
pub use pattern::Whom;
pub use refusal::Refusal;
pub use rules::{Cap, Lease, Quotas, Rule, Scope, Terms, WHOLE, What};
