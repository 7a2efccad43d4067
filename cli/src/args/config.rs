//! `vault config`: settings that operators change while a vault runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model_vault::settings::SettingKind;

/// `vault config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the settings of a kind: issuers, groups, quotas, sinks or alerts
    Get(ConfigGet),
    /// Replace the settings of a kind by a TOML document
    Set(ConfigSet),
    /// Check a TOML document without a vault
    Check(ConfigCheck),
}

/// `vault config get`
#[derive(Debug, Args)]
pub struct ConfigGet {
    /// issuers, groups, quotas, sinks or alerts
    #[arg(value_name = "KIND")]
    pub kind: SettingKind,
}

/// `vault config set`
#[derive(Debug, Args)]
pub struct ConfigSet {
    /// issuers, groups, quotas, sinks or alerts
    #[arg(value_name = "KIND")]
    pub kind: SettingKind,
    /// TOML document; - is standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// Only if this version is in force now (v0: the built-in document)
    #[arg(long, value_name = "vN", value_parser = super::version_number)]
    pub expect: Option<u64>,
}

/// `vault config check`
#[derive(Debug, Args)]
pub struct ConfigCheck {
    /// issuers, groups, quotas, sinks or alerts
    #[arg(value_name = "KIND")]
    pub kind: SettingKind,
    /// TOML document; - is standard input
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
}
