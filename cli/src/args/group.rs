//! `vault group`: who belongs together.

use clap::{Args, Subcommand};
use model_vault::names::Name;

/// `vault group`
#[derive(Debug, Subcommand)]
pub enum Group {
    /// Add members to a group
    Add(GroupChange),
    /// Take members out of a group
    Rm(GroupChange),
    /// List groups and their members
    Ls,
}

/// `vault group add`, `vault group rm`
#[derive(Debug, Args)]
#[command(
    after_help = "Roles of the built-in policy are groups: admin, sealer, signer, auditor, serving, training (docs/policy.md)."
)]
pub struct GroupChange {
    /// The group
    #[arg(value_name = "GROUP")]
    pub group: Name,
    /// workload:NAMESPACE/NAME, workload:NAMESPACE/*, workload:NAMESPACE/ISSUER:SUBJECT or operator:ISSUER:SUBJECT
    #[arg(value_name = "MEMBER", required = true)]
    pub members: Vec<String>,
}
