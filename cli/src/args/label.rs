//! `vault label`: what operators say about an artifact.

use clap::Args;
use model_vault::marks::OrNone;
use model_vault::names::Name;

/// `vault label`
#[derive(Debug, Args)]
#[command(
    after_help = "Policies ask for these (docs/policy.md). They are of the artifact with all its versions, and change access at once."
)]
pub struct Label {
    /// The artifact: [NAMESPACE/]NAME
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Set a label; may be repeated
    #[arg(long, value_name = "LABEL")]
    pub add: Vec<Name>,
    /// Take a label off; may be repeated
    #[arg(long, value_name = "LABEL")]
    pub remove: Vec<Name>,
    /// Put it into this collection; - is none
    #[arg(long, value_name = "NAME")]
    pub collection: Option<OrNone>,
    /// Classify it; - is not at all
    #[arg(long, value_name = "NAME")]
    pub classification: Option<OrNone>,
}
