//! `vault audit replay` and `vault audit simulate`: alert rules on recorded or made-up traffic.

use std::path::PathBuf;

use clap::Args;

/// `vault audit replay`
#[derive(Debug, Args)]
pub struct AuditReplay {
    /// What vault audit export (also --format jsonl) or simulate wrote, or events of your own (docs/monitoring.md); - is standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// The alert rules (TOML), as vault config get alerts prints them; default: the built-in ones
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Only the counts, not each alert
    #[arg(long)]
    pub summary: bool,
}

/// `vault audit simulate`
#[derive(Debug, Args)]
pub struct AuditSimulate {
    /// The same seed makes the same trace
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many days
    #[arg(long, value_name = "N", default_value_t = 45, value_parser = clap::value_parser!(u32).range(3..=366))]
    pub days: u32,
    /// Attacks of each kind
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub attacks: u32,
    /// Where to write: a new or empty file; - is standard output
    #[arg(short, long, value_name = "FILE|-", default_value = "-", hide_default_value = true)]
    pub output: PathBuf,
}
