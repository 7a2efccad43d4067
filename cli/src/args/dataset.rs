//! `vault dataset`: what training jobs read, record by record.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use model_vault::dataset::Format;
use model_vault::names::{Name, Timestamp};

use super::{Daemon, key};

/// `vault dataset ...`
#[derive(Debug, Subcommand)]
pub enum Dataset {
    /// Sign all records of a dataset as its next version
    Sign(DatasetSign),
    /// Check a dataset against what was signed, and name the records that differ
    Verify(DatasetVerify),
    /// Compare two versions of a dataset, record by record
    Diff(DatasetDiff),
    /// Hand on the records of a dataset, each checked before it is
    Read(DatasetRead),
    /// Prove that a record is one of a signed dataset
    Prove(DatasetProve),
    /// Check the objects that a signed table names by digest
    Objects(DatasetObjects),
    /// Sign a version that keeps the records of a contributor out
    Quarantine(DatasetQuarantine),
    /// What training jobs read
    #[command(subcommand)]
    Receipt(Receipt),
    /// Show the signed versions of a dataset
    Log(DatasetLog),
    /// Look for records that are suspicious: triggers, wrong labels, odd contributors
    Scan(DatasetScan),
}

/// Who signs the next version.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("signer").args(["key", "identity"]).multiple(true).required(true))]
pub struct DatasetSigner {
    /// Private keys (PEM, or pkcs11:... on a token); may be repeated
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// Identity of the vault, which key new made
    #[arg(long, value_name = "NAME")]
    pub identity: Option<Name>,
}

/// Whose statements about other datasets, and about training, are believed beside those of who signs.
#[derive(Debug, Args)]
pub struct Others {
    /// Public key of somebody else who signed what is named here; may be repeated
    #[arg(long, value_name = "FILE")]
    pub trust_key: Vec<PathBuf>,
    /// The same by name in the trust store (key ls); '*': any; may be repeated
    #[arg(long, value_name = "NAME")]
    pub trust: Vec<key::Trusted>,
}

/// `vault dataset sign`
#[derive(Debug, Args)]
pub struct DatasetSign {
    /// File or directory of records: .csv, .tsv, .jsonl, .parquet, .arrow, .txt, .tar, images
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Who signs.
    #[command(flatten)]
    pub signer: DatasetSigner,
    /// What the dataset is called [default: the last version's name, or that of the path]
    #[arg(long, value_name = "NAME", value_parser = said)]
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
    #[arg(long, value_name = "TEXT", value_parser = said)]
    pub source: Vec<String>,
    /// Under which licence it may be used
    #[arg(long, value_name = "TEXT", value_parser = said)]
    pub licence: Option<String>,
    /// Who supplied records, and what they signed; may be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = named)]
    pub contributor: Vec<(String, PathBuf)>,
    /// Its public key [default: NAME's in the trust store]
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    pub contributor_key: Vec<(String, PathBuf)>,
    /// Neither ask nor remember which versions of contributors were seen on this machine
    #[arg(long)]
    pub no_state: bool,
    /// A signed dataset that this one was made from; may be repeated
    #[arg(long, value_name = "PATH")]
    pub derived_from: Vec<PathBuf>,
    /// Whom to believe about those.
    #[command(flatten)]
    pub others: Others,
    /// Its description in Croissant (JSON-LD), signed by digest
    #[arg(long, value_name = "FILE")]
    pub croissant: Option<PathBuf>,
    /// The report of a scan (dataset scan --json), signed by digest and in short
    #[arg(long, value_name = "FILE")]
    pub scan: Option<PathBuf>,
    /// A field of the Data Provenance Standards; may be repeated
    #[arg(long, value_name = "FIELD=TEXT", value_parser = field)]
    pub provenance: Vec<(String, String)>,
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

/// Which versions are recent enough, or old enough.
#[derive(Debug, Args)]
pub struct Recent {
    /// Refuse versions below this
    #[arg(long, value_name = "N")]
    pub min_version: Option<u64>,
    /// Refuse what was signed less than so long ago (7d)
    #[arg(long, value_name = "DURATION", value_parser = super::quarantine::lasts)]
    pub min_age: Option<std::time::Duration>,
    /// Neither ask nor remember which versions were seen on this machine
    #[arg(long)]
    pub no_state: bool,
}

/// `vault dataset verify`
#[derive(Debug, Args)]
pub struct DatasetVerify {
    /// Signed file or directory, or reference to a sealed dataset (reviews@v3)
    #[arg(value_name = "PATH|REF")]
    pub path: PathBuf,
    /// Whom to believe.
    #[command(flatten)]
    pub believed: Believed,
    /// Which versions count.
    #[command(flatten)]
    pub recent: Recent,
    /// Column that names a record: pairs what was edited with what it was
    #[arg(long, value_name = "COLUMN")]
    pub by: Option<String>,
    /// Whom to ask about a sealed one.
    #[command(flatten)]
    pub daemon: Daemon,
}

/// `vault dataset diff`
#[derive(Debug, Args)]
pub struct DatasetDiff {
    /// The old version: a path, or reference to a sealed one (reviews@v2)
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
    /// Whom to ask about a sealed one.
    #[command(flatten)]
    pub daemon: Daemon,
}

/// `vault dataset log`
#[derive(Debug, Args)]
pub struct DatasetLog {
    /// Signed file or directory, or reference to a sealed dataset (reviews@v3)
    #[arg(value_name = "PATH|REF")]
    pub path: PathBuf,
    /// Whom to believe.
    #[command(flatten)]
    pub believed: Believed,
    /// Whom to ask about a sealed one.
    #[command(flatten)]
    pub daemon: Daemon,
}

/// `vault dataset read`
#[derive(Debug, Args)]
pub struct DatasetRead {
    /// Signed file or directory, or reference to a sealed dataset (reviews@v3)
    #[arg(value_name = "PATH|REF")]
    pub path: PathBuf,
    /// Whom to believe.
    #[command(flatten)]
    pub believed: Believed,
    /// Which versions count.
    #[command(flatten)]
    pub recent: Recent,
    /// Where to write the records, as JSON Lines; '-': standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Write what was read, for `receipt sign`
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Whom to ask about a sealed one.
    #[command(flatten)]
    pub daemon: Daemon,
}

/// `vault dataset objects`
#[derive(Debug, Args)]
pub struct DatasetObjects {
    /// The signed table: a file or directory, or reference to a sealed one
    #[arg(value_name = "PATH|REF")]
    pub path: PathBuf,
    /// Where the objects were put
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Column with the path of an object in there
    #[arg(long, value_name = "COLUMN", default_value = "path")]
    pub object: String,
    /// Column with its SHA-256, in hex
    #[arg(long, value_name = "COLUMN", default_value = "sha256")]
    pub sha256: String,
    /// Write the records whose objects are verified, as JSON Lines
    #[arg(long, value_name = "FILE")]
    pub good: Option<PathBuf>,
    /// Whom to believe.
    #[command(flatten)]
    pub believed: Believed,
    /// Which versions count.
    #[command(flatten)]
    pub recent: Recent,
    /// Whom to ask about a sealed one.
    #[command(flatten)]
    pub daemon: Daemon,
}

/// `vault dataset prove`
#[derive(Debug, Args)]
pub struct DatasetProve {
    /// Signed file or directory, or reference to a sealed dataset (reviews@v3); with --check a proof
    #[arg(value_name = "PATH|REF")]
    pub path: PathBuf,
    /// File of the record within the dataset
    #[arg(long, value_name = "FILE")]
    pub file: Option<String>,
    /// Number of the record in its file, from 1
    #[arg(long, value_name = "N", required_unless_present = "check")]
    pub record: Option<u64>,
    /// Where to put the proof
    #[arg(short, long, value_name = "FILE", required_unless_present = "check")]
    pub output: Option<PathBuf>,
    /// Check a proof instead, without the dataset
    #[arg(long, conflicts_with_all = ["file", "record", "output"])]
    pub check: bool,
    /// Whom to believe.
    #[command(flatten)]
    pub believed: Believed,
    /// Whom to ask about a sealed one.
    #[command(flatten)]
    pub daemon: Daemon,
}

/// `vault dataset quarantine`
#[derive(Debug, Args)]
pub struct DatasetQuarantine {
    /// The signed file or directory
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Whose records are kept out
    #[arg(long, value_name = "NAME")]
    pub contributor: String,
    /// Why
    #[arg(long, value_name = "TEXT", value_parser = said)]
    pub reason: String,
    /// Who signs.
    #[command(flatten)]
    pub signer: DatasetSigner,
    /// From then on nobody accepts this version (2027-01-31)
    #[arg(long, value_name = "TIME", value_parser = key::moment)]
    pub expires: Option<Timestamp>,
    /// Datasets that may be made from this one; may be repeated
    #[arg(long, value_name = "PATH")]
    pub descendant: Vec<PathBuf>,
    /// Signed training receipts, to name the models; may be repeated
    #[arg(long, value_name = "FILE")]
    pub receipt: Vec<PathBuf>,
    /// Whom to believe about those.
    #[command(flatten)]
    pub others: Others,
}

/// `vault dataset receipt ...`
#[derive(Debug, Subcommand)]
pub enum Receipt {
    /// Sign what a job read together with the model it made
    Sign(ReceiptSign),
    /// Check a receipt against the dataset it is about
    Verify(ReceiptVerify),
}

/// `vault dataset receipt sign`
#[derive(Debug, Args)]
pub struct ReceiptSign {
    /// What was read, as a reader wrote it
    #[arg(value_name = "RECEIPT")]
    pub receipt: PathBuf,
    /// A file of the model that was made; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    pub model: Vec<PathBuf>,
    /// Who signs.
    #[command(flatten)]
    pub signer: DatasetSigner,
    /// Where to put the signed receipt
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// `vault dataset receipt verify`
#[derive(Debug, Args)]
pub struct ReceiptVerify {
    /// The signed receipt
    #[arg(value_name = "RECEIPT")]
    pub receipt: PathBuf,
    /// Public key of whoever runs the job (PEM); may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    pub job_key: Vec<PathBuf>,
    /// The signed dataset: a path, or reference to a sealed one
    #[arg(long, value_name = "PATH|REF")]
    pub dataset: PathBuf,
    /// Whom to believe about the dataset.
    #[command(flatten)]
    pub believed: Believed,
    /// Which versions count.
    #[command(flatten)]
    pub recent: Recent,
    /// A file of the model; may be repeated
    #[arg(long, value_name = "FILE")]
    pub model: Vec<PathBuf>,
    /// Whom to ask about a sealed one.
    #[command(flatten)]
    pub daemon: Daemon,
}

/// `NAME=PATH`
fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("give NAME=PATH")?;
    let name: Name = name.parse().map_err(|e: model_vault::Error| e.message().to_owned())?;
    if path.is_empty() { Err("give NAME=PATH".into()) } else { Ok((name.to_string(), path.into())) }
}

/// What a statement can say.
fn said(text: &str) -> Result<String, &'static str> {
    match text.trim().len() {
        1..=4096 => Ok(text.into()),
        _ => Err("give 1 to 4096 bytes"),
    }
}

/// `FIELD=TEXT`
fn field(text: &str) -> Result<(String, String), &'static str> {
    let (field, text) =
        text.split_once('=').filter(|(f, t)| !f.is_empty() && !t.is_empty()).ok_or("give FIELD=TEXT")?;
    Ok((field.into(), text.into()))
}

/// `vault dataset scan`
#[derive(Debug, Args)]
pub struct DatasetScan {
    /// File or directory of records, or reference to a sealed dataset (reviews@v3)
    #[arg(value_name = "PATH|REF")]
    pub path: PathBuf,
    /// Column with the label [default: one called label, class, target, ...]
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// Column that says who supplied a record
    #[arg(long, value_name = "COLUMN")]
    pub by: Option<String>,
    /// Whose signed contributors are believed.
    #[command(flatten)]
    pub believed: Believed,
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
    #[arg(long, value_name = "PATH|REF")]
    pub baseline: Option<PathBuf>,
    /// Only this detector; may be repeated
    #[arg(long, value_name = "NAME")]
    pub detector: Vec<String>,
    /// Put a bar of a detector elsewhere (label.margin=0.5); may be repeated; the report names it
    #[arg(long, value_name = "DETECTOR.NAME=VALUE", value_parser = bar)]
    pub bar: Vec<(String, f64)>,
    /// Rules about records, beside those that are built in
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Of all that is drawn by lot: the same seed, the same report
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Exit with 11 on findings: any, DETECTOR, or DETECTOR:RECORDS at least; on records that could not be looked at: unseen; may be repeated
    #[arg(long, value_name = "WHAT")]
    pub fail_on: Vec<FailOn>,
    /// Also write a SARIF 2.1.0 report
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
    /// Also write a report for a browser, all in one file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Also rank so many of the oddest records, which are no findings
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(u16))]
    pub rank: u16,
    /// Name so many records of a finding at most
    #[arg(long, value_name = "N")]
    pub max_records: Option<usize>,
    /// Whom to ask about a sealed one.
    #[command(flatten)]
    pub daemon: Daemon,
}

/// `DETECTOR.NAME=VALUE`
fn bar(text: &str) -> Result<(String, f64), &'static str> {
    const WANTED: &str = "give DETECTOR.NAME=VALUE, VALUE a number, as in label.margin=0.5";
    let (name, value) = text.split_once('=').ok_or(WANTED)?;
    Ok((name.into(), value.parse().map_err(|_| WANTED)?))
}

/// What makes a scan fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// A finding by any detector.
    Any,
    /// A record that could not be looked at.
    Unseen,
    /// What one detector found.
    Detector {
        /// Which.
        name: String,
        /// Records that it must have found at least.
        records: Option<u64>,
    },
}

impl std::fmt::Display for FailOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Unseen => "unseen",
            Self::Detector { name, .. } => name,
        })
    }
}

impl std::str::FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "any" => return Ok(Self::Any),
            "unseen" => return Ok(Self::Unseen),
            _ => {}
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
            return Err(format!("any, unseen, or one of {}", all.join(", ")));
        }
        Ok(Self::Detector { name: name.into(), records })
    }
}

fn format(text: &str) -> Result<Format, &'static str> {
    Format::parse(text).ok_or("formats are csv, tsv, jsonl, parquet, arrow, lines, tar, images, file")
}
