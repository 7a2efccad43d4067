//! `vault sign`: signs the files of a model for whoever verifies OpenSSF model signatures.

use std::path::{Path, PathBuf};

use model_vault::crypto::hash;
use model_vault::crypto::sign::{Algorithm, SigningKey};
use model_vault::files::{Ignored, Links};
use model_vault::manifest::oms::{Bundle, Method, Parameters, Statement, measure};
use model_vault::names::KeyId;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::{Context, threads};
use crate::args;
use crate::files::destination::{Destination, ORDINARY};
use crate::files::signature::{Places, claims};
use crate::output::progress::Progress;
use crate::output::table::facts;
use crate::output::text::{count, size};

/// The JSON document of `vault sign`.
#[derive(Debug, Serialize)]
struct Signed {
    name: String,
    /// The subject's digest: names the statement, not the files' names.
    root: String,
    resources: usize,
    bytes: u64,
    signature: Option<PathBuf>,
    claims: Option<PathBuf>,
    signers: Vec<SignedBy>,
}

#[derive(Debug, Serialize)]
struct SignedBy {
    keyid: KeyId,
    algorithm: &'static str,
}

/// Signs.
pub fn run(cx: &Context<'_>, args: &args::Sign) -> Result<()> {
    let keys = args.key.iter().map(|path| SigningKey::read(path)).collect::<Result<Vec<_>>>()?;
    let (interoperable, own) = split(keys)?;
    let places = Places::of(&args.path, args.signature.as_deref())?;
    let statement = measured(cx, args, &places)?;
    let payload = statement.to_payload().into_bytes();

    let mut signed = Signed {
        name: statement.name.clone(),
        root: statement.root().to_string(),
        resources: statement.resources.len(),
        bytes: bytes_of(&statement),
        signature: None,
        claims: None,
        signers: Vec::new(),
    };
    // Everything is signed before anything is written: a key that fails leaves the old signatures as they were.
    let bundle = |key: &SigningKey| Bundle::sign(payload.clone(), key, None);
    let lines = own.iter().map(bundle).collect::<Result<Vec<_>>>()?;
    if let Some(key) = &interoperable {
        let bundle = bundle(key)?;
        write(&places.signature, bundle.to_json().as_bytes())?;
        signed.signature = Some(places.signature.clone());
    }
    if !lines.is_empty() || places.claims.exists() {
        let text = claims::with_signatures(&places.claims, &lines)?;
        write(&places.claims, &text)?;
        signed.claims = Some(places.claims.clone());
    }
    for key in interoperable.iter().chain(&own) {
        signed.signers.push(SignedBy { keyid: key.key_id(), algorithm: key.algorithm().name() });
    }
    if args.hash == hash::Algorithm::Blake3.name() {
        cx.out.message(
            "note: the reference command line of model_signing verifies sha256 only; its library takes blake3",
        );
    }
    cx.out.report(&signed, show)
}

/// The key of the bundle that every OpenSSF verifier reads, and those of the lines beside it.
fn split(keys: Vec<SigningKey>) -> Result<(Option<SigningKey>, Vec<SigningKey>)> {
    let is_ecdsa = |key: &SigningKey| {
        matches!(key.algorithm(), Algorithm::EcdsaP256 | Algorithm::EcdsaP384 | Algorithm::EcdsaP521)
    };
    let (mut ecdsa, own): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_ecdsa);
    if ecdsa.len() > 1 {
        return Err(Error::new(ErrorId::InvalidArgument, "more than one ECDSA key")
            .hint("a signature file carries one; sign with the other into another file (--signature)"));
    }
    Ok((ecdsa.pop(), own))
}

fn measured(cx: &Context<'_>, args: &args::Sign, places: &Places) -> Result<Statement> {
    let mut ignored = Ignored::new(args.ignore.iter().cloned());
    places.within(&args.path)?.into_iter().for_each(|path| ignored.insert(path));
    let parameters = Parameters {
        method: match args.shard_size {
            Some(size) => Method::Shards(size.get()),
            None if args.method == "shards" => Method::Shards(1_000_000_000),
            None => Method::Files,
        },
        algorithm: hash::Algorithm::from_name(&args.hash)
            .ok_or_else(|| Error::new(ErrorId::InvalidArgument, format!("not a hash: {:?}", args.hash)))?,
        links: if args.allow_symlinks { Links::FollowToFiles } else { Links::Refuse },
        ignored,
        reference_name: args.compat_1_1,
        threads: threads(),
    };
    let bar = Progress::new("hashing", total(&args.path), cx.out.json());
    let statement = measure(&args.path, &parameters, &|n| bar.more(n));
    bar.done();
    statement
}

/// For the progress bar of one large file; a directory's size is known when it was walked.
fn total(path: &Path) -> u64 {
    path.metadata().map_or(0, |facts| if facts.is_file() { facts.len() } else { 0 })
}

fn bytes_of(statement: &Statement) -> u64 {
    let len = |r: &model_vault::manifest::oms::Resource| match &r.shard {
        Some(shard) => shard.end - shard.start,
        None => r.size.unwrap_or(0),
    };
    statement.resources.iter().map(len).sum()
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let mut destination = Destination::open(path, ORDINARY)?;
    destination.write_all(bytes).map_err(crate::files::on(path))?;
    destination.finish(true)
}

fn show(signed: &Signed) -> String {
    let place = |path: &Option<PathBuf>| path.as_ref().map(|p| p.display().to_string());
    let signers: Vec<_> = signed.signers.iter().map(|s| format!("{} {}", s.algorithm, s.keyid.short())).collect();
    facts([
        ("signed", Some(signed.name.clone())),
        ("content", Some(format!("{}, {}", count(signed.resources as u64, "digest"), size(signed.bytes)))),
        ("signature", place(&signed.signature)),
        ("claims", place(&signed.claims)),
        ("signed by", Some(signers.join(", "))),
    ])
}
