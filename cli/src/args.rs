//! The grammar of the command line (`contracts/cli-grammar.txt` is made from it; DESIGN: "The command line").
//!
//! Every set-up flag has an environment twin `MODELVAULT_*`; another product's `VAULT_*` is never read.

mod artifact;
mod attest;
mod audit;
mod config;
mod dataset;
mod group;
mod home;
mod intel;
pub mod key;
mod label;
mod login;
pub mod mfa;
mod policy;
mod program;
mod quarantine;
mod quota;
mod replay;
mod signing;
mod sink;
mod workload;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use artifact::version_number;
pub use artifact::{ByteRange, Daemon, Export, Fetch, Import, Inspect, Ls, Open, Rm, Seal, SetTag};
pub use attest::{Attest, AttestAdd, AttestLs, AttestVerify};
pub use audit::{Audit, AuditExport, AuditProve, AuditTail, AuditVerify};
pub use config::{Config, ConfigCheck, ConfigGet, ConfigSet};
pub use dataset::{
    Believed, Dataset, DatasetDiff, DatasetLog, DatasetObjects, DatasetProve, DatasetQuarantine, DatasetRead,
    DatasetScan, DatasetSign, DatasetSigner, DatasetVerify, FailOn, Others, Receipt, ReceiptSign, ReceiptVerify,
    Recent,
};
pub use group::{Group, GroupChange};
pub use home::{Init, Quickstart, Serve};
pub use intel::{Intel, IntelImport};
pub use label::Label;
pub use login::{Login, Logout, Session, SessionRevoke, Whoami};
pub use policy::{Policy, PolicyCheck, PolicyExplain, PolicyGet, PolicyLog, PolicySet, PolicyTest};
pub use program::{Completions, Help, Man};
pub use quarantine::{HoldCommon, HoldKind, Quarantine, Release};
pub use quota::{Quota, QuotaGet, QuotaReset};
pub use replay::{AuditReplay, AuditSimulate};
pub use signing::{KeyIdPrefix, Sign, Signers, Verify, VerifyModel};
pub use sink::Sink;
pub use workload::{Enroll, Grant, Renew, Revoke, Workload};

/// Sealed, signed, policy-gated storage and verified streaming for models and training data
#[derive(Debug, Parser)]
#[command(
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Cli {
    /// Settings that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Directory of the vault
    #[arg(long, global = true, value_name = "DIR", env = "MODELVAULT_HOME", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// Context of the configuration file
    #[arg(long, global = true, value_name = "NAME", env = "MODELVAULT_CONTEXT", hide_env_values = true)]
    pub context: Option<String>,
    /// Read the passphrase from a file
    #[arg(long, global = true, value_name = "FILE", env = "MODELVAULT_PASSPHRASE_FILE", hide_env_values = true)]
    pub passphrase_file: Option<PathBuf>,
    /// Take the passphrase from the output of a command
    #[arg(long, global = true, value_name = "COMMAND", env = "MODELVAULT_PASSPHRASE_COMMAND", hide_env_values = true)]
    pub passphrase_command: Option<String>,
    /// Key file that opens the vault
    #[arg(long, global = true, value_name = "FILE", env = "MODELVAULT_KEY_FILE", hide_env_values = true)]
    pub key_file: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        env = "MODELVAULT_COLOR",
        default_value = "auto",
        hide_env_values = true,
        value_parser = When::parser()
    )]
    pub color: When,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl When {
    fn parser() -> impl TypedValueParser<Value = Self> {
        // Known words only come through.
        PossibleValuesParser::new(["auto", "always", "never"]).map(|word| match &*word {
            "always" => Self::Always,
            "never" => Self::Never,
            _ => Self::Auto,
        })
    }
}

/// The commands, daily verbs first.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play the whole story on this machine: seal, serve, fetch, and be refused
    Quickstart(Quickstart),
    /// Make a vault
    Init(Init),
    /// Seal a file or directory into the vault, or into a portable file
    Seal(Seal),
    /// Decrypt an artifact of the vault, or a portable file
    Open(Open),
    /// Show what a sealed artifact or file is, without opening it
    Inspect(Inspect),
    /// List artifacts and their versions
    Ls(Ls),
    /// Point a tag at a version
    Tag(SetTag),
    /// Unlist an artifact or version, or take that back
    Rm(Rm),
    /// Destroy the key of a version: nobody opens it again
    Shred(mfa::Shred),
    /// Sign a model, on disk or in the vault, for whoever verifies OpenSSF model signatures
    Sign(Sign),
    /// Check every byte and signature of an artifact, a sealed file, or a signed model on disk
    Verify(Verify),
    /// Attach, list and check signed statements about a version
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Attest(Attest),
    /// Sign, check and compare datasets, record by record
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Dataset(Dataset),
    /// Take a portable sealed file into the vault
    Import(Import),
    /// Write an artifact's sealed bytes to a file, still encrypted
    Export(Export),
    /// Fetch an artifact from a daemon, as a workload, and verify it
    Fetch(Fetch),
    /// Run the daemon
    Serve(Serve),
    /// Show the state of the vault
    Status,
    /// Check this machine and the vault for trouble
    Doctor,
    /// Show who you are to the vault
    Whoami(Whoami),
    /// Prove who you are: use your second factor, or exchange a token
    Login(Login),
    /// End what login opened
    Logout(Logout),
    /// List and revoke sessions of those who came with a token
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Session(Session),
    /// Enrol a second factor, show it, take it away
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Mfa(mfa::Mfa),
    /// Approve what others may not do alone
    Approve(mfa::Approve),
    /// Enrol and revoke workloads
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Workload(Workload),
    /// Let a workload read an artifact
    Grant(Grant),
    /// Say who is in which group, for policies
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Group(Group),
    /// Show or change labels, collection and classification of an artifact, for policies
    Label(Label),
    /// Make keys to sign with, and say whose signatures are believed
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Key(key::Key),
    /// Show, replace, check, test and explain the policy
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Policy(Policy),
    /// Say how much callers may do, and see how much they did
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Quota(Quota),
    /// Show, check or replace the settings of a vault
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Config(Config),
    /// Show where the audit log is sent, and how far each receiver is
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Sink(Sink),
    /// Refuse known bad files and keys
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Intel(Intel),
    /// Put principals and artifacts on hold
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Quarantine(Quarantine),
    /// Take holds back
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Release(Release),
    /// Read, check and export the audit log
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Audit(Audit),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page, or write all pages into a directory
    Man(Man),
    /// Show help for a command or a topic
    Help(Help),
}

#[cfg(test)]
mod tests;
