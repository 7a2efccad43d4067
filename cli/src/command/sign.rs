//! `vault sign`: signs the files of a model for whoever verifies OpenSSF model signatures.

use std::path::{Path, PathBuf};

use model_vault::crypto::hash;
use model_vault::crypto::sign::{Algorithm, SigningKey, VerifyingKey};
use model_vault::files::{Ignored, Links, MAX_FILES};
use model_vault::identity::signer::OwnChain;
use model_vault::manifest::oms::{
    Bundle, MAX_BUNDLE_LEN, Measured, Method, Parameters, Record, Since, Statement, is_model_signature, measure_since,
};
use model_vault::names::{Clock, KeyId, SystemClock};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::{Context, threads};
use crate::args;
use crate::files::signature::{Places, claims, put, read_signatures};
use crate::files::{on, read_small, records};
use crate::output::progress::Progress;
use crate::output::table::facts;
use crate::output::text::{count, size};

/// More than any chain of certificates.
const CHAIN_MAX: u64 = 1 << 20;

/// The JSON document of `vault sign`.
#[derive(Debug, Serialize)]
struct Signed {
    name: String,
    /// The subject's digest: names the statement, not the files' names.
    root: String,
    resources: usize,
    bytes: u64,
    /// Bytes of them that were not read again (`--since`).
    reused_bytes: u64,
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
    let chain = chain(args.cert_chain.as_deref(), interoperable.as_ref())?;
    let places = Places::of(&args.path, args.signature.as_deref())?;
    places.must_be_writable()?;
    places.sweep();
    let own_keys: Vec<_> = interoperable.iter().chain(&own).map(SigningKey::public).collect();
    let since = since(cx, args, &own_keys)?;
    let Measured { statement, stamps, reused } = measured(cx, args, &places, since.as_ref())?;
    let payload = statement.to_payload().into_bytes();

    let mut signed = Signed {
        name: statement.name.clone(),
        root: statement.root().to_string(),
        resources: statement.resources.len(),
        bytes: bytes_of(&statement),
        reused_bytes: reused,
        signature: None,
        claims: None,
        signers: Vec::new(),
    };
    // All is made before anything is written: a key that fails, or claims that cannot be read, leave the old signatures as
    // they were.
    let mut lines = own.iter().map(|key| Bundle::sign(payload.clone(), key, None)).collect::<Result<Vec<_>>>()?;
    let main = interoperable.as_ref().map(|key| Bundle::sign(payload.clone(), key, chain)).transpose()?;
    lines.extend(superseded(&places, main.as_ref())?);
    let claims = claims::with_signatures(&places.claims, &lines, &payload)?;
    if main.is_none() && is_of_other_files(&places.signature, &payload) {
        cx.out.message(format!(
            "note: {} signs the model as it was before: sign with its ECDSA key too, or remove it",
            places.signature.display()
        ));
    }
    let main = main.map(|bundle| bundle.to_json().into_bytes());
    check_limits(&statement, [main.as_deref().unwrap_or_default(), &claims])?;
    if let Some(bundle) = main {
        put(&places.signature, &bundle)?;
        signed.signature = Some(places.signature.clone());
    }
    if !claims.is_empty() || places.claims.exists() {
        put(&places.claims, &claims)?;
        signed.claims = Some(places.claims.clone());
    }
    if let Some(key) = interoperable.iter().chain(&own).next() {
        let record = Record::new(&payload, stamps).sign(key)?;
        // Without it the next signing reads everything, and nothing else.
        if let (Err(e), true) = (records::keep(&Record::name(&payload, key.public()), &record), args.since.is_some()) {
            cx.out.message(format!("note: the next --since will read everything: its record cannot be kept: {e}"));
        }
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

/// An earlier signing by one of these keys, and what it read, as far as that is known on this machine.
///
/// # Errors
/// `SignatureMissing` if no bundle of the file is by one of the keys.
fn since(cx: &Context<'_>, args: &args::Sign, keys: &[&VerifyingKey]) -> Result<Option<Since>> {
    let Some(file) = &args.since else { return Ok(None) };
    let text = read_signatures(file)?;
    let bundles = Bundle::from_json(&text).map(|one| vec![one]).or_else(|_| claims::read(file))?;
    let by_one_of_them = |b: &&Bundle| is_model_signature(&b.payload) && keys.iter().any(|key| b.verify(key).is_ok());
    let old = bundles.iter().find(by_one_of_them).ok_or_else(|| {
        let what = format!("{}: no signature of a model by one of the keys given", file.display());
        Error::new(ErrorId::SignatureMissing, what)
            .hint("sign without --since, or with the key of the earlier signature")
    })?;
    let statement = Statement::from_payload(&old.payload).map_err(|e| Error::from(e).on(file.display()))?;
    let record = keys.iter().find_map(|key| {
        let text = records::read(&Record::name(&old.payload, key))?;
        Record::verified(&text, &old.payload, key)
    });
    if record.is_none() {
        cx.out.message("note: this machine has no record of that signing: everything is read");
    }
    Ok(record.map(|record| Since::new(statement, record, args.paranoid)))
}

/// The bundle that a new one takes the place of, if it is another signer's and says the very same: it moves to the claims.
///
/// # Errors
/// `AlreadyExists` if there is something that is no model signature.
fn superseded(places: &Places, new: Option<&Bundle>) -> Result<Option<Bundle>> {
    let Some(new) = new.filter(|_| places.signature.exists()) else { return Ok(None) };
    let text = read_signatures(&places.signature)?;
    let old = Bundle::from_json(&text).ok().filter(|old| is_model_signature(&old.payload));
    let old = old.ok_or_else(|| {
        let what = format!("{} exists and is no model signature", places.signature.display());
        Error::new(ErrorId::AlreadyExists, what).hint("name another file with --signature, or move this one away")
    })?;
    Ok((old.payload == new.payload && old.material != new.material).then_some(old))
}

/// Whether a signature is there that is left behind by this one: verifiers who trust both would be told two things.
fn is_of_other_files(signature: &Path, payload: &[u8]) -> bool {
    let old = signature.exists().then(|| read_signatures(signature).ok()).flatten();
    old.and_then(|text| Bundle::from_json(&text).ok()).is_some_and(|old| old.payload != payload)
}

/// What no verifier would read is not written.
fn check_limits(statement: &Statement, files: [&[u8]; 2]) -> Result<()> {
    let hint = "sign by files rather than shards, or in larger shards; pack small files into archives";
    if statement.resources.len() > MAX_FILES {
        let what = format!("{} digests; a signature holds {MAX_FILES}", statement.resources.len());
        return Err(Error::new(ErrorId::InvalidArgument, what).hint(hint));
    }
    if files.iter().any(|bytes| bytes.len() as u64 > MAX_BUNDLE_LEN) {
        let what = format!("the signature would be larger than {}", size(MAX_BUNDLE_LEN));
        return Err(Error::new(ErrorId::InvalidArgument, what).hint(hint));
    }
    Ok(())
}

/// The key of the bundle that every OpenSSF verifier reads, and those of the lines beside it.
fn split(keys: Vec<SigningKey>) -> Result<(Option<SigningKey>, Vec<SigningKey>)> {
    if let Some(twice) =
        (1..keys.len()).find(|i| keys[..*i].iter().any(|earlier| earlier.key_id() == keys[*i].key_id()))
    {
        let what = format!("the key {} is given twice", keys[twice].key_id().short());
        return Err(Error::new(ErrorId::InvalidArgument, what).hint("a key signs once: check --key"));
    }
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

fn chain(file: Option<&Path>, key: Option<&SigningKey>) -> Result<Option<Vec<Vec<u8>>>> {
    let Some(file) = file else { return Ok(None) };
    let key = key.ok_or_else(|| {
        Error::new(ErrorId::InvalidArgument, "--cert-chain goes with an ECDSA key, and none is given")
    })?;
    let text = read_small(file, CHAIN_MAX).map_err(on(file))?;
    let chain = OwnChain::from_pem(&text, key.public(), SystemClock.now()).map_err(|e| e.on(file.display()))?;
    Ok(Some(chain.certificates().to_vec()))
}

fn measured(cx: &Context<'_>, args: &args::Sign, places: &Places, since: Option<&Since>) -> Result<Measured> {
    // A mistyped name would stay in the statement, and leave out whatever is put there later.
    let is_there = |ignored: &&String| args.path.join(ignored).symlink_metadata().is_ok();
    if let Some(none) = args.ignore.iter().find(|ignored| !is_there(ignored)) {
        return Err(
            Error::new(ErrorId::InvalidArgument, format!("{none:?} is not in the model")).hint("check --ignore")
        );
    }
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
    let measured = measure_since(&args.path, &parameters, since, SystemClock.now(), &|n| bar.more(n));
    bar.done();
    measured
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

fn show(signed: &Signed) -> String {
    let place = |path: &Option<PathBuf>| path.as_ref().map(|p| p.display().to_string());
    let signers: Vec<_> = signed.signers.iter().map(|s| format!("{} {}", s.algorithm, s.keyid.short())).collect();
    facts([
        ("signed", Some(signed.name.clone())),
        ("content", Some(format!("{}, {}", count(signed.resources as u64, "digest"), size(signed.bytes)))),
        ("not read again", (signed.reused_bytes > 0).then(|| size(signed.reused_bytes))),
        ("signature", place(&signed.signature)),
        ("claims", place(&signed.claims)),
        ("signed by", Some(signers.join(", "))),
    ])
}
