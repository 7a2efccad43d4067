//! `vault attest`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use model_vault::manifest::attestation;
use model_vault::names::{Name, Reference};

/// `vault attest`
#[derive(Debug, Subcommand)]
pub enum Attest {
    /// Attach a signed statement to a version: an evaluation, a bill of materials, provenance, an approval
    Add(AttestAdd),
    /// List the statements about a version
    Ls(AttestLs),
    /// Check that trusted signers made the statements about a version
    Verify(AttestVerify),
}

/// `vault attest add`
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).args(["key", "identity", "bundle"]),
    group = ArgGroup::new("signer").args(["key", "identity"]),
    after_help = "Types: model-card, evaluation, approval, approval.TAG, cyclonedx, spdx, provenance, test-result, or any \
predicate type (a URI). Whoever signs must be trusted: vault key trust."
)]
pub struct AttestAdd {
    /// Version that it is about
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// What kind of statement it is
    #[arg(long = "type", value_name = "TYPE", value_parser = predicate_type, requires = "signer")]
    pub kind: Option<PredicateType>,
    /// What it says: a JSON document, or a model card in another form [default: nothing]
    #[arg(long, value_name = "FILE", requires = "signer")]
    pub predicate: Option<PathBuf>,
    /// Sign it with this private key (PEM)
    #[arg(long, value_name = "FILE", requires = "kind")]
    pub key: Option<PathBuf>,
    /// Sign it with an identity of the vault (vault key new)
    #[arg(long, value_name = "NAME", requires = "kind")]
    pub identity: Option<Name>,
    /// Attach what was signed elsewhere: a Sigstore bundle, or several, one a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "predicate"])]
    pub bundle: Option<PathBuf>,
}

/// `vault attest ls`
#[derive(Debug, Args)]
pub struct AttestLs {
    /// Version that they are about
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = predicate_type)]
    pub kind: Option<PredicateType>,
    /// Write the bundles to a new or empty file for others to verify, one a line; to a file named .sig: the model signature
    #[arg(short, long, value_name = "FILE|-")]
    pub output: Option<PathBuf>,
}

/// `vault attest verify`
#[derive(Debug, Args)]
pub struct AttestVerify {
    /// Version that they are about
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// There must be one of this type [default: all must be good]
    #[arg(long = "type", value_name = "TYPE", value_parser = predicate_type)]
    pub kind: Option<PredicateType>,
    /// It must be by this signer of the trust store
    #[arg(long, value_name = "NAME")]
    pub signer: Option<Name>,
    /// It must be by this public key (PEM): checked here, whatever the vault says; may be repeated
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
}

/// A predicate type, from its short name or as a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredicateType(pub String);

fn predicate_type(text: &str) -> Result<PredicateType, String> {
    attestation::predicate_type(text).map(PredicateType).ok_or_else(|| {
        let known: Vec<_> = attestation::known_kinds().collect();
        format!("types are {}, approval.TAG, or a URI", known.join(", "))
    })
}
