//! `vault audit`: the log, its check, its export, proofs about it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model_vault::siem::Format;

use super::{AuditReplay, AuditSimulate};

/// `vault audit`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Print the newest records
    Tail(AuditTail),
    /// Check every record against the signed checkpoints: of the vault, an export, a directory of tiles, or one proof
    Verify(AuditVerify),
    /// Write all records: one JSON document a line, or as a directory of tiles
    Export(AuditExport),
    /// Prove that a record is in the log, or that the log extends an earlier checkpoint
    Prove(AuditProve),
    /// Show what the alert rules say to a log, or to any trace of events
    Replay(AuditReplay),
    /// Make up a trace with attacks in it, to try rules on
    Simulate(AuditSimulate),
}

/// `vault audit tail`
#[derive(Debug, Args)]
pub struct AuditTail {
    /// How many records
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    pub lines: u32,
    /// Go on with new records (with --json: one document a line)
    #[arg(short, long)]
    pub follow: bool,
}

/// `vault audit verify`
#[derive(Debug, Args)]
pub struct AuditVerify {
    /// An export or a directory of tiles; needs no vault
    #[arg(value_name = "FILE|DIR", conflicts_with = "proof")]
    pub path: Option<PathBuf>,
    /// A proof that vault audit prove wrote; needs no vault
    #[arg(long, value_name = "FILE")]
    pub proof: Option<PathBuf>,
    /// The log's key as vault status shows it, known from elsewhere than the file
    #[arg(long, value_name = "NAME+HASH+KEY")]
    pub key: Option<String>,
    /// A checkpoint that was kept elsewhere: the log must contain it
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
}

/// `vault audit export`
#[derive(Debug, Args)]
pub struct AuditExport {
    /// As events of another form, which prove nothing by themselves: ocsf, ecs, cef, syslog or jsonl
    #[arg(long, value_name = "FORM")]
    pub format: Option<Format>,
    /// With --format: from this record on
    #[arg(long, value_name = "ROW", default_value_t = 1, hide_default_value = true, requires = "format")]
    pub from: u64,
    /// Where to write: a new or empty file; - is standard output
    #[arg(short, long, value_name = "FILE|-", default_value = "-", hide_default_value = true)]
    pub output: PathBuf,
    /// Write a directory that any client of C2SP tlog-tiles reads; goes on where it stopped
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "format"])]
    pub tiles: Option<PathBuf>,
}

/// `vault audit prove`
#[derive(Debug, Args)]
pub struct AuditProve {
    /// The record's number, as vault audit tail shows it
    #[arg(value_name = "SEQ", required_unless_present = "consistency", conflicts_with = "consistency")]
    pub sequence: Option<u64>,
    /// Prove instead that the log extends the checkpoint of this size
    #[arg(long, value_name = "OLD")]
    pub consistency: Option<u64>,
    /// For the checkpoint of this size; else the newest
    #[arg(long, value_name = "SIZE")]
    pub size: Option<u64>,
}
