//! What is done with artifacts: sealed, opened, listed, tagged, removed, fetched, carried in and out.

use std::path::PathBuf;

use clap::Args;
use model_vault::names::{ArtifactKind, Name, Reference, Tag};

use super::Signers;

/// `vault seal`
#[derive(Debug, Args)]
pub struct Seal {
    /// File or directory to seal
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Name of the artifact [default: the file's stem]
    #[arg(long, value_name = "REF")]
    pub name: Option<String>,
    /// What it is
    #[arg(long, value_name = "KIND", default_value = "model", value_parser = ["model", "dataset", "opaque"])]
    pub kind: String,
    /// Tag to move to the new version, besides latest
    #[arg(long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// Digests of the members: sha256,blake3 or blake3
    #[arg(
        long,
        value_name = "DIGESTS",
        env = "MODELVAULT_DIGEST",
        default_value = "sha256,blake3",
        hide_env_values = true
    )]
    pub digest: Digests,
    /// Sign with this key (PKCS#8 PEM, Ed25519) instead of the vault's
    #[arg(long, value_name = "FILE", env = "MODELVAULT_SIGN_KEY", hide_env_values = true)]
    pub sign_key: Option<PathBuf>,
    /// Sign with this identity of the vault, which key new made
    #[arg(long, value_name = "NAME", conflicts_with = "sign_key")]
    pub identity: Option<Name>,
    /// Write a portable sealed file instead: a new or empty file
    #[arg(short, long, value_name = "FILE.mvlt")]
    pub output: Option<PathBuf>,
    /// Files of a part: a signed dataset of more is sealed in parts [default: 50000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "output")]
    pub part_files: Option<u32>,
    /// Set a rule aside: unsigned (a model signature in the directory need not be good)
    #[arg(long, value_name = "RULE", value_parser = ["unsigned"], requires = "reason")]
    pub allow: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", requires = "allow")]
    pub reason: Option<String>,
    /// Who opens the portable file: a passphrase [default: a key kept in the vault]
    #[arg(long, value_name = "WHOM", value_parser = ["passphrase"], requires = "output")]
    pub to: Option<String>,
}

impl Seal {
    /// The kind; the parser has let only known words through.
    pub fn kind(&self) -> model_vault::Result<ArtifactKind> {
        self.kind.parse()
    }
}

/// `--digest`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256 besides BLAKE3, which is always made.
    pub sha256: bool,
}

impl std::str::FromStr for Digests {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<_> = text.split(',').map(str::trim).collect();
        if words.is_empty() || words.iter().any(|w| !matches!(*w, "sha256" | "blake3")) {
            return Err("digests are sha256,blake3 or blake3");
        }
        Ok(Self { sha256: words.contains(&"sha256") })
    }
}

/// `vault open`
#[derive(Debug, Args)]
pub struct Open {
    /// Artifact of the vault, or a portable sealed file
    #[arg(value_name = "REF|FILE.mvlt")]
    pub what: String,
    /// Where to write: a new or empty file or directory; - is standard output [default: standard output, unless it is a
    /// terminal]
    #[arg(short, long, value_name = "PATH|-")]
    pub output: Option<PathBuf>,
    /// Only this member
    #[arg(long, value_name = "PATH")]
    pub member: Option<String>,
    /// Only these bytes of the member
    #[arg(long, value_name = "A..B")]
    pub range: Option<ByteRange>,
}

/// `--range A..B`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte; `None`: to the end.
    pub end: Option<u64>,
}

impl std::str::FromStr for ByteRange {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "ranges are A..B in bytes, with A <= B; either may be left out";
        let number = |t: &str| {
            // `parse` alone would take a leading plus.
            t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse::<u64>().ok()).flatten().ok_or(RULE)
        };
        let (start, end) = text.split_once("..").ok_or(RULE)?;
        let start = if start.is_empty() { 0 } else { number(start)? };
        let end = if end.is_empty() { None } else { Some(number(end)?) };
        if end.is_some_and(|end| end < start) { Err(RULE) } else { Ok(Self { start, end }) }
    }
}

/// `vault inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// Artifact of the vault, or a portable sealed file
    #[arg(value_name = "REF|FILE.mvlt")]
    pub what: String,
}

/// `vault ls`
#[derive(Debug, Args)]
pub struct Ls {
    /// Artifacts whose NAMESPACE/NAME matches (* stands for any characters); a name alone: all versions of that artifact
    #[arg(value_name = "PATTERN|NAME", default_value = "*", hide_default_value = true)]
    pub pattern: String,
    /// Also what was removed and can still be restored
    #[arg(long)]
    pub all: bool,
}

/// `vault tag`
#[derive(Debug, Args)]
pub struct SetTag {
    /// Version to point at
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// Tag to move or make
    #[arg(value_name = "TAG")]
    pub tag: Tag,
    /// Only if the tag is at this version now (v0: nowhere)
    #[arg(long, value_name = "vN", value_parser = version_number)]
    pub expect: Option<u64>,
}

pub fn version_number(text: &str) -> Result<u64, &'static str> {
    let digits = text.strip_prefix('v').unwrap_or(text);
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    number.ok_or("versions are v and a number")
}

/// `vault rm`
#[derive(Debug, Args)]
pub struct Rm {
    /// Artifact with all its versions, or with @REVISION one version
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Take a removal back
    #[arg(long)]
    pub restore: bool,
}

/// `vault import`
#[derive(Debug, Args)]
pub struct Import {
    /// Portable sealed file
    #[arg(value_name = "FILE.mvlt")]
    pub file: PathBuf,
    /// Name of the artifact [default: the file's stem]
    #[arg(long, value_name = "REF")]
    pub name: Option<String>,
    /// Tag to move to the new version, besides latest
    #[arg(long, value_name = "TAG")]
    pub tag: Option<Tag>,
}

/// `vault export`
#[derive(Debug, Args)]
pub struct Export {
    /// Artifact of the vault
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// Where to write: a new or empty file; - is standard output
    #[arg(short, long, value_name = "FILE.mvlt|-")]
    pub output: PathBuf,
}

/// Whom a workload asks.
#[derive(Debug, Args)]
pub struct Daemon {
    /// Daemon [default: the address in the enrolment]
    #[arg(long, value_name = "HOST:PORT", env = "MODELVAULT_SERVER", hide_env_values = true)]
    pub server: Option<String>,
    /// Enrolment directory of the workload
    #[arg(long, value_name = "DIR", env = "MODELVAULT_ENROLMENT", hide_env_values = true)]
    pub enrolment: Option<PathBuf>,
}

/// `vault fetch`
#[derive(Debug, Args)]
pub struct Fetch {
    /// Artifact to fetch
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// Directory to make, with the artifact's members in it; an empty one may be there
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Whom to ask.
    #[command(flatten)]
    pub daemon: Daemon,
    /// Trusted signers.
    #[command(flatten)]
    pub signers: Signers,
    /// Accept a version older than one seen before, and remember nothing
    #[arg(long)]
    pub no_state: bool,
}
