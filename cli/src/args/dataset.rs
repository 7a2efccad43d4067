//! `vault dataset`: what training jobs read, record by record.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use model_vault::dataset::Format;
use model_vault::names::{Name, Timestamp};

use super::key;

/// `vault dataset ...`
#[derive(Debug, Subcommand)]
pub enum Dataset {
    /// Sign all records of a dataset as its next version
    Sign(DatasetSign),
    /// Check a dataset against what was signed, and name the records that differ
    Verify(DatasetVerify),
    /// Compare two versions of a dataset, record by record
    Diff(DatasetDiff),
    /// Show the signed versions of a dataset
    Log(DatasetLog),
}

/// `vault dataset sign`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("signer").args(["key", "identity"]).multiple(true).required(true))]
pub struct DatasetSign {
    /// File or directory of records: .csv, .tsv, .jsonl, .parquet, .arrow, .txt, .tar, images
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Private keys (PEM, or pkcs11:... on a token); may be repeated
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// Identity of the vault, which key new made
    #[arg(long, value_name = "NAME")]
    pub identity: Option<Name>,
    /// What the dataset is called [default: the last version's name, or that of the path]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The columns and their types (JSON) [default: those of the last version, or what is found]
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Format of files whose names do not tell it
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    pub format: Option<Format>,
    /// From then on nobody accepts this version (2027-01-31)
    #[arg(long, value_name = "TIME", value_parser = key::moment)]
    pub expires: Option<Timestamp>,
    /// Where the data comes from; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub source: Vec<String>,
    /// Under which licence it may be used
    #[arg(long, value_name = "TEXT")]
    pub licence: Option<String>,
}

/// Whose statements are believed.
#[derive(Debug, Args)]
pub struct Believed {
    /// Public key of a signer you trust (PEM); may be repeated
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// A signer of the trust store (key ls); '*': any; may be repeated
    #[arg(long, value_name = "NAME")]
    pub trust: Vec<key::Trusted>,
}

/// `vault dataset verify`
#[derive(Debug, Args)]
pub struct DatasetVerify {
    /// The signed file or directory
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Whom to believe.
    #[command(flatten)]
    pub believed: Believed,
    /// Refuse versions below this
    #[arg(long, value_name = "N")]
    pub min_version: Option<u64>,
    /// Neither ask nor remember which versions were seen on this machine
    #[arg(long)]
    pub no_state: bool,
    /// Column that names a record: pairs what was edited with what it was
    #[arg(long, value_name = "COLUMN")]
    pub by: Option<String>,
}

/// `vault dataset diff`
#[derive(Debug, Args)]
pub struct DatasetDiff {
    /// The old version
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The new version
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Column that names a record: pairs what was edited with what it was
    #[arg(long, value_name = "COLUMN")]
    pub key: Option<String>,
    /// The columns and their types (JSON) [default: what is found in both]
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Format of files whose names do not tell it
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    pub format: Option<Format>,
}

/// `vault dataset log`
#[derive(Debug, Args)]
pub struct DatasetLog {
    /// The signed file or directory
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Whom to believe.
    #[command(flatten)]
    pub believed: Believed,
}

fn format(text: &str) -> Result<Format, &'static str> {
    Format::parse(text).ok_or("formats are csv, tsv, jsonl, parquet, arrow, lines, tar, images, file")
}
