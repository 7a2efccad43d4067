//! `vault sign REF`: signs a version of the vault from the digests that were recorded when it was sealed. Nothing of the payload is
//! read or decrypted.

use model_vault::crypto::hash;
use model_vault::facts::{AttestationFacts, VersionFacts};
use model_vault::manifest::oms::recorded_statement;
use model_vault::names::Reference;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::identity::Signers;
use super::sign::{self, Signed};
use super::{Context, attest, show};
use crate::args;
use crate::files::signature::Places;
use crate::output::table::facts;
use crate::output::text::{count, size};

/// The JSON document of `vault sign REF`.
#[derive(Debug, Serialize)]
struct SignedVersion {
    version: VersionFacts,
    #[serde(flatten)]
    signed: Signed,
    /// What was attached to the version; empty if the signatures went to files.
    attestations: Vec<AttestationFacts>,
}

/// Signs a version.
pub fn run(cx: &Context<'_>, args: &args::Sign, signers: &Signers) -> Result<()> {
    let since = args.since.is_some() || args.paranoid;
    let of_files =
        args.method != "files" || args.shard_size.is_some() || args.allow_symlinks || !args.ignore.is_empty();
    if of_files || since {
        return Err(Error::new(
            ErrorId::InvalidArgument,
            "--method shards, --shard-size, --ignore, --allow-symlinks and --since are for files on disk",
        )
        .hint("a version is signed as a whole, by the digests that were recorded when it was sealed"));
    }
    let reference: Reference = args.what.parse()?;
    let chain = sign::chain(args.cert_chain.as_deref(), signers.ecdsa())?;
    let algorithm = sign::algorithm(args)?;
    let client = cx.session.client()?;
    let (version, reference) = attest::pinned(cx, &client, &reference)?;
    let members = attest::recorded(cx, &client, &reference)?;
    let statement = recorded_statement(version.name.to_string(), &members, algorithm, args.compat_1_1)?;
    let payload = statement.to_payload().into_bytes();

    let made = signers.sign(cx, &payload, chain)?;
    let mut signed = Signed::over(&statement, &made);
    let mut attestations = Vec::new();
    match &args.signature {
        Some(file) => {
            let places = Places::of(std::path::Path::new(version.name.as_str()), Some(file))?;
            sign::write(&places, &statement, made, &mut signed)?;
        }
        None => {
            for signature in made {
                let attached = cx.session.wait(client.attach(&reference, signature.bundle.to_json().as_bytes()));
                attestations.push(attached?);
            }
        }
    }
    if algorithm == hash::Algorithm::Blake3 {
        cx.out.message(sign::BLAKE3_NOTE);
    }
    let report = SignedVersion { version, signed, attestations };
    cx.out.report(&report, |r| {
        let place = |path: &Option<std::path::PathBuf>| path.as_ref().map(|p| p.display().to_string());
        let attached = count(r.attestations.len() as u64, "statement");
        facts([
            ("signed", Some(show::reference(&r.version))),
            ("content", Some(format!("{}, {}", count(r.signed.resources as u64, "digest"), size(r.signed.bytes)))),
            ("signature", place(&r.signed.signature)),
            ("claims", place(&r.signed.claims)),
            ("attached", (!r.attestations.is_empty()).then_some(attached)),
            ("signed by", Some(r.signed.signers())),
        ])
    })
}
