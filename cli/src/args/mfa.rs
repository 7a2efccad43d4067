//! `vault mfa`, `vault approve`, `vault shred`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model_vault::identity::Person;
use model_vault::names::{ApprovalId, Reference};

/// `vault mfa`
#[derive(Debug, Subcommand)]
pub enum Mfa {
    /// Enrol a second factor for yourself: an authenticator app
    Enroll(Enroll),
    /// Show whether you have a second factor, and when it was used
    Status,
    /// Take a second factor away: yours, or that of another person
    Reset(Reset),
}

/// `vault mfa enroll`
#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal the code for the app is shown and a first code asked for. Elsewhere the first call prints what \
the app needs, and a second one with --code confirms it. Keep the recovery codes: they are shown once."
)]
pub struct Enroll {
    /// Confirm an enrolment that was begun, with a first code
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// Read that code from a file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "code")]
    pub code_file: Option<PathBuf>,
}

/// `vault mfa reset`
#[derive(Debug, Args)]
#[command(
    after_help = "A destructive act: the policy may ask for your own second factor first. Who lost app and recovery codes asks \
another operator; on the daemon's socket root is one."
)]
pub struct Reset {
    /// Whose, as vault mfa status shows it [default: yours]
    #[arg(value_name = "PERSON")]
    pub person: Option<Person>,
}

/// `vault approve`
#[derive(Debug, Args)]
#[command(
    after_help = "Without ID: what waits. Nobody approves what they want to do themselves, and everybody has one vote. Who asked \
then repeats the command, within an hour; an approval is for exactly that, and used once."
)]
pub struct Approve {
    /// What to approve
    #[arg(value_name = "ID")]
    pub id: Option<ApprovalId>,
    /// Refuse it, or withdraw your own
    #[arg(long, requires = "id")]
    pub deny: bool,
}

/// `vault shred`
#[derive(Debug, Args)]
#[command(
    after_help = "Destroys the key of the version: nobody opens it again, from whatever copy or backup of its sealed bytes. \
Backups of the vault itself still hold the key."
)]
pub struct Shred {
    /// Version to destroy
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
