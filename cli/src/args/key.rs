//! `vault key`: who signs, and who is believed.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use model_vault::identity::signer::SignerName;
use model_vault::names::{Name, Timestamp};

/// `vault key`
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Believe signatures of a key, or under certificates of an authority
    Trust(Trust),
    /// Believe a signer, or one key of it, no longer
    Untrust(Untrust),
    /// List identities, trusted signers and revoked keys
    Ls,
    /// Make an identity to sign with: in the vault, or in a file
    New(New),
    /// Print the public keys of an identity of the vault, or of the vault itself
    Show(Show),
}

/// `vault key new`
#[derive(Debug, Args)]
#[command(
    after_help = "An identity is an Ed25519 and an ECDSA P-256 key. In the vault it is trusted under its name at once; in a \
file it needs no vault, and FILE.pub.pem has the public keys for others."
)]
pub struct New {
    /// What it is called
    #[arg(value_name = "NAME")]
    pub name: Name,
    /// With an ML-DSA-65 key, which holds against quantum computers
    #[arg(long)]
    pub pq: bool,
    /// Write the private keys to a new file (mode 0600) instead
    #[arg(short, long, value_name = "FILE.pem")]
    pub output: Option<PathBuf>,
}

/// `vault key show`
#[derive(Debug, Args)]
pub struct Show {
    /// The identity
    #[arg(value_name = "NAME", required_unless_present = "namespace")]
    pub name: Option<Name>,
    /// Instead the key that the vault itself signs with in this namespace
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "name")]
    pub namespace: Option<Name>,
}

/// `vault key trust`
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "A second key for NAME beside the first: rotation. --until and --namespace change a key that NAME has already."
)]
pub struct Trust {
    /// What the signer is called here
    #[arg(value_name = "NAME")]
    pub name: Name,
    /// Public key (PEM; several sections are the keys of one signer)
    #[arg(long, value_name = "FILE", group = "what")]
    pub key: Option<PathBuf>,
    /// Certificates of authorities (PEM), whose signers are meant
    #[arg(long, value_name = "FILE", group = "what")]
    pub ca: Option<PathBuf>,
    /// Of those signers, only the one with this name: dns:, uri:, email: or spiffe://; may be repeated
    #[arg(long, value_name = "NAME", requires = "ca")]
    pub signer_name: Vec<SignerName>,
    /// May publish in this namespace only; may be repeated [default: in all]
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Vec<Name>,
    /// Believed until then: 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Timestamp>,
}

/// `vault key untrust`
#[derive(Debug, Args)]
pub struct Untrust {
    /// The signer
    #[arg(value_name = "NAME")]
    pub name: Name,
    /// Only this key or authority: 16 or 64 hex digits
    #[arg(value_name = "KEYID")]
    pub key: Option<String>,
    /// Revoke as well: believed no more under any name or certificate, for good
    #[arg(long, requires = "reason")]
    pub revoke: bool,
    /// Why, for whoever is refused
    #[arg(long, value_name = "TEXT", requires = "revoke")]
    pub reason: Option<String>,
}

/// A signer of the trust store, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// `*`: whoever is trusted everywhere.
    Anyone,
    /// By name.
    Named(Name),
}

impl std::str::FromStr for Trusted {
    type Err = model_vault::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" { Ok(Self::Anyone) } else { text.parse().map(Self::Named) }
    }
}

/// A day begins at midnight, UTC.
pub fn moment(text: &str) -> Result<Timestamp, &'static str> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.into() };
    whole.parse().map_err(|_| "times are 2027-01-31 or 2027-01-31T12:00:00Z, in UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_or_a_moment_is_taken_and_nothing_else() {
        assert_eq!(moment("2027-01-31").unwrap().to_string(), "2027-01-31T00:00:00.000Z");
        assert_eq!(moment("2027-01-31T12:00:00Z").unwrap().to_string(), "2027-01-31T12:00:00.000Z");
        for bad in ["", "tomorrow", "2027-02-30", "2027-1-31", "31.01.2027", "2027-01-31T12:00:00+01:00"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
        assert_eq!("*".parse::<Trusted>().unwrap(), Trusted::Anyone);
        assert_eq!("alice".parse::<Trusted>().unwrap(), Trusted::Named("alice".parse().unwrap()));
        assert!("Alice*".parse::<Trusted>().is_err());
    }
}
