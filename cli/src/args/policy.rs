//! `vault policy`: the Cedar text that decides.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `vault policy`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Print the policy in force, or an earlier one
    Get(PolicyGet),
    /// Replace the policy by a Cedar text
    Set(PolicySet),
    /// Check a Cedar text, or a signed bundle, without a vault
    Check(PolicyCheck),
    /// Run a table of requests with expected decisions, without a vault
    Test(PolicyTest),
    /// Show what the policy in force says to a request, and why
    Explain(PolicyExplain),
    /// List the policies that were put in force
    Log(PolicyLog),
}

/// `vault policy get`
#[derive(Debug, Args)]
pub struct PolicyGet {
    /// With the vault's signature over this version, to be checked where there is no vault: vault policy check FILE --signer-key
    #[arg(long)]
    pub bundle: bool,
    /// Where to write: a new or empty file; - is standard output
    #[arg(short, long, value_name = "FILE|-", default_value = "-", hide_default_value = true)]
    pub output: PathBuf,
    /// Version (v0: the built-in policy) [default: the one in force]
    #[arg(long, value_name = "vN", value_parser = super::version_number)]
    pub version: Option<u64>,
}

/// `vault policy set`
#[derive(Debug, Args)]
pub struct PolicySet {
    /// Cedar text; - is standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// Only if this version is in force now (v0: the built-in policy)
    #[arg(long, value_name = "vN", value_parser = super::version_number)]
    pub expect: Option<u64>,
}

/// `vault policy check`
#[derive(Debug, Args)]
pub struct PolicyCheck {
    /// Cedar text, or what policy get --bundle wrote; - is standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// Public key of the vault whose signature a bundle must carry (PEM): vault key show --namespace default
    #[arg(long, value_name = "FILE")]
    pub signer_key: Option<PathBuf>,
}

/// `vault policy test`
#[derive(Debug, Args)]
#[command(after_help = "Exit status 11: a decision is not as expected. docs/policy.md describes the table.")]
pub struct PolicyTest {
    /// Table of requests (TOML or JSON)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Cedar text they are put to [default: what the table names, else the built-in policy]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// `vault policy explain`
#[derive(Debug, Args)]
#[command(
    after_help = "Groups, grants, and what is known of an artifact are those of the vault; circumstances are those that permit \
least, and now, unless given."
)]
pub struct PolicyExplain {
    /// workload:NAMESPACE/NAME, workload:NAMESPACE/ISSUER:SUBJECT or operator:ISSUER:SUBJECT
    #[arg(value_name = "CALLER")]
    pub principal: String,
    /// Action, such as open, seal or setPolicy
    #[arg(value_name = "ACTION")]
    pub action: String,
    /// [NAMESPACE/]ARTIFACT (with @TAG or @vN), namespace:NAME, workload:NAMESPACE/NAME or vault
    #[arg(value_name = "RESOURCE")]
    pub resource: String,
    /// Circumstance, such as hour=3, approvals=2 or bound=true; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub given: Vec<String>,
    /// As if the caller were in this group too; may be repeated
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
}

/// `vault policy log`
#[derive(Debug, Args)]
pub struct PolicyLog {
    /// How many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    pub number: u32,
}
