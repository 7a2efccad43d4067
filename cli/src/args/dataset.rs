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
    /// Look for records that are suspicious: triggers, wrong labels, odd contributors
    Scan(DatasetScan),
}

/// `vault dataset sign`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("signer").args(["key", "identity"]).multiple(true).required(true))]
pub struct DatasetSign {
    /// File or directory of records: .csv, .tsv, .jsonl, .txt
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

/// `vault dataset scan`
#[derive(Debug, Args)]
pub struct DatasetScan {
    /// File or directory of records
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Column with the label [default: one called label, class, target, ...]
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// Column that says who supplied a record
    #[arg(long, value_name = "COLUMN")]
    pub by: Option<String>,
    /// Column of text; may be repeated [default: what looks like it]
    #[arg(long, value_name = "COLUMN")]
    pub text: Vec<String>,
    /// Format of files whose names do not tell it
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    pub format: Option<Format>,
    /// The columns and their types (JSON) [default: what is found]
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Earlier records to compare with
    #[arg(long, value_name = "PATH")]
    pub baseline: Option<PathBuf>,
    /// Only this detector; may be repeated
    #[arg(long, value_name = "NAME")]
    pub detector: Vec<String>,
    /// Rules about records, beside those that are built in
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Of all that is drawn by lot: the same seed, the same report
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Exit with 11 on findings: any, DETECTOR, or DETECTOR:RECORDS at least; may be repeated
    #[arg(long, value_name = "WHAT")]
    pub fail_on: Vec<FailOn>,
    /// Also write a SARIF 2.1.0 report
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Also write a report for a browser, all in one file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Name so many records of a finding at most
    #[arg(long, value_name = "N")]
    pub max_records: Option<usize>,
}

/// What makes a scan fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailOn {
    /// None: any.
    pub detector: Option<String>,
    /// Records that it must have found at least.
    pub records: Option<u64>,
}

impl std::str::FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "any" {
            return Ok(Self { detector: None, records: None });
        }
        let (name, records) = match text.split_once(':') {
            None => (text, None),
            Some((name, count)) => {
                let count = count.parse().ok().filter(|n| *n > 0);
                (name, Some(count.ok_or("after the colon stands a number of records, from 1")?))
            }
        };
        if model_vault::dataset::detect::claim(name).is_none() {
            let all: Vec<_> = model_vault::dataset::detect::CLAIMS.iter().map(|claim| claim.detector).collect();
            return Err(format!("any, or one of {}", all.join(", ")));
        }
        Ok(Self { detector: Some(name.into()), records })
    }
}

fn format(text: &str) -> Result<Format, &'static str> {
    Format::parse(text).ok_or("formats are csv, tsv, jsonl, lines, file")
}
