//! `vault quota`: how much callers may do, and how much they did.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `vault quota`
#[derive(Debug, Subcommand)]
pub enum Quota {
    /// Show the limits of callers and how far they are used up; as a workload, your own
    Get(QuotaGet),
    /// Replace the rules by a TOML document
    Set(QuotaSet),
    /// Check a TOML document without a vault
    Check(QuotaCheck),
    /// Set what a caller used back to nothing; destructive, and on record
    Reset(QuotaReset),
}

/// `vault quota get`
#[derive(Debug, Args)]
pub struct QuotaGet {
    /// workload:PATTERN or operator:PATTERN; the name of a workload alone will do
    #[arg(value_name = "CALLER")]
    pub callers: Option<String>,
    /// Print the rules instead, as a document that can be changed and set
    #[arg(long, conflicts_with = "callers")]
    pub rules: bool,
}

/// `vault quota reset`
#[derive(Debug, Args)]
pub struct QuotaReset {
    /// workload:NAMESPACE/NAME or operator:ISSUER:SUBJECT; the name of a workload alone will do
    #[arg(value_name = "CALLER", required_unless_present = "artifact")]
    pub caller: Option<String>,
    /// What was counted with this artifact alone: of the caller, or of every caller
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub artifact: Option<String>,
}

/// `vault quota set`
#[derive(Debug, Args)]
pub struct QuotaSet {
    /// TOML document; - is standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// Only if this version is in force now (v0: the built-in rules)
    #[arg(long, value_name = "vN", value_parser = super::version_number)]
    pub expect: Option<u64>,
}

/// `vault quota check`
#[derive(Debug, Args)]
pub struct QuotaCheck {
    /// TOML document; - is standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
}
