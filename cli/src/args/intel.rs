//! `vault intel`: lists of known bad digests and keys.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model_vault::names::Name;

/// `vault intel`
#[derive(Debug, Subcommand)]
pub enum Intel {
    /// Refuse what a list names from now on, and find it among what was sealed
    Import(IntelImport),
    /// List the lists in force
    Ls,
    /// Take a list out of force
    Rm(IntelRm),
}

/// `vault intel import`
#[derive(Debug, Args)]
#[command(
    after_help = "Lines: sha256:HEX, blake3:HEX, key:HEX (the key id of a signer), root:HEX (a sealed file); 64 digits \
alone are a SHA-256. Or CSV with columns of these names, or a STIX 2.1 bundle with indicators of files."
)]
pub struct IntelImport {
    /// The list; - is standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// Where it is from: it takes the place of the list of that name
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub source: Name,
}

/// `vault intel rm`
#[derive(Debug, Args)]
pub struct IntelRm {
    /// Where the list is from
    #[arg(value_name = "SOURCE")]
    pub source: Name,
}
