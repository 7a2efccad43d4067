//! `vault workload` and `vault grant`: code that reads, and what it may read.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model_vault::names::{Name, Reference};

/// `vault workload`
#[derive(Debug, Subcommand)]
pub enum Workload {
    /// Make a key and a certificate for a workload
    Enroll(Enroll),
    /// Replace the certificate of an enrolment while it is valid
    Renew(Renew),
    /// List workloads
    Ls,
    /// Refuse a workload, or one of its certificates, from now on
    Revoke(Revoke),
}

/// A workload is enrolled and revoked by its name alone, where all else takes [NAMESPACE/]NAME.
fn workload_name(text: &str) -> Result<Name, String> {
    match text.split_once('/') {
        Some((namespace, name)) => {
            Err(format!("give the name, and its namespace apart: {name} --namespace {namespace}"))
        }
        None => text.parse().map_err(|e: model_vault::Error| e.message().to_owned()),
    }
}

/// `vault workload enroll`
#[derive(Debug, Args)]
pub struct Enroll {
    /// Name of the workload
    #[arg(value_name = "NAME", value_parser = workload_name)]
    pub name: Name,
    /// Directory to make, with the key, the certificate and what the workload trusts
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Namespace of the workload
    #[arg(long, value_name = "NAMESPACE", env = "MODELVAULT_NAMESPACE", default_value = Reference::DEFAULT_NAMESPACE, hide_env_values = true)]
    pub namespace: Name,
}

/// `vault workload renew`
#[derive(Debug, Args)]
pub struct Renew {
    /// Enrolment directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Daemon [default: the address in the enrolment]
    #[arg(long, value_name = "HOST:PORT", env = "MODELVAULT_SERVER", hide_env_values = true)]
    pub server: Option<String>,
}

/// `vault workload revoke`
#[derive(Debug, Args)]
pub struct Revoke {
    /// Name of the workload
    #[arg(value_name = "NAME", value_parser = workload_name)]
    pub name: Name,
    /// Namespace of the workload
    #[arg(long, value_name = "NAMESPACE", env = "MODELVAULT_NAMESPACE", default_value = Reference::DEFAULT_NAMESPACE, hide_env_values = true)]
    pub namespace: Name,
    /// Only the certificate with this serial number (hex)
    #[arg(long, value_name = "SERIAL", value_parser = Serial::parse)]
    pub serial: Option<Serial>,
}

/// A certificate's serial number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial(pub Vec<u8>);

impl Serial {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "serial numbers are pairs of hex digits, with or without colons";
        let digits: Vec<u32> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16))
            .collect::<Option<_>>()
            .filter(|d: &Vec<_>| !d.is_empty() && d.len().is_multiple_of(2))
            .ok_or(RULE)?;
        Ok(Self(digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()))
    }
}

/// `vault grant`
#[derive(Debug, Args)]
pub struct Grant {
    /// Workload: [NAMESPACE/]NAME
    #[arg(value_name = "WORKLOAD")]
    pub workload: String,
    /// Artifact with all its versions: [NAMESPACE/]NAME
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Take the grant back
    #[arg(long)]
    pub revoke: bool,
}
