//! `vault sign`: signs the files of a model for whoever verifies OpenSSF model signatures.

use std::path::{Path, PathBuf};

use model_vault::crypto::hash;
use model_vault::crypto::sign::VerifyingKey;
use model_vault::files::{Ignored, Links, MAX_FILES};
use model_vault::identity::signer::OwnChain;
use model_vault::manifest::oms::{
    Bundle, MAX_BUNDLE_LEN, Measured, Method, Parameters, Record, Since, Statement, is_model_signature, measure_since,
};
use model_vault::names::{Clock, KeyId, SystemClock};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::identity::{Signature, Signers, is_ecdsa};
use super::{Context, sign_version, threads};
use crate::args;
use crate::files::signature::{Places, claims, put, read_signatures};
use crate::files::{means_path, on, read_small, records};
use crate::output::progress::Progress;
use crate::output::table::facts;
use crate::output::text::{count, size};

/// More than any chain of certificates.
const CHAIN_MAX: u64 = 1 << 20;

/// The JSON document of `vault sign`.
#[derive(Debug, Serialize)]
pub struct Signed {
    name: String,
    /// The subject's digest: names the statement, not the files' names.
    root: String,
    /// How many digests were signed.
    pub resources: usize,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes of them that were not read again (`--since`).
    reused_bytes: u64,
    /// The bundle that every OpenSSF verifier reads, if it was written.
    pub signature: Option<PathBuf>,
    /// The signatures beside it, if they were written.
    pub claims: Option<PathBuf>,
    signers: Vec<SignedBy>,
}

#[derive(Debug, Serialize)]
struct SignedBy {
    keyid: KeyId,
    algorithm: &'static str,
}

impl Signed {
    /// Of a statement, under these signatures; written nowhere yet.
    pub fn over(statement: &Statement, made: &[Signature]) -> Self {
        let by = |s: &Signature| SignedBy { keyid: s.key.key_id(), algorithm: s.key.algorithm().name() };
        Self {
            name: statement.name.clone(),
            root: statement.root().to_string(),
            resources: statement.resources.len(),
            bytes: bytes_of(statement),
            reused_bytes: 0,
            signature: None,
            claims: None,
            signers: made.iter().map(by).collect(),
        }
    }

    /// Who signed, for people.
    pub fn signers(&self) -> String {
        let signers: Vec<_> = self.signers.iter().map(|s| format!("{} {}", s.algorithm, s.keyid.short())).collect();
        signers.join(", ")
    }
}

/// What the reference implementation does with BLAKE3.
pub const BLAKE3_NOTE: &str =
    "note: the reference command line of model_signing verifies sha256 only; its library takes blake3";

/// Signs.
pub fn run(cx: &Context<'_>, args: &args::Sign) -> Result<()> {
    let signers = Signers::of(cx, args)?;
    if !means_path(&args.what)? {
        return sign_version::run(cx, args, &signers).map_err(|e| match e.id() {
            // Artifacts have plain names, as directories have.
            ErrorId::NotFound | ErrorId::NoVault if Path::new(&args.what).exists() => {
                e.hint(format!("to sign the files there: vault sign ./{}", args.what))
            }
            _ => e,
        });
    }
    let path = Path::new(&args.what);
    let chain = chain(args.cert_chain.as_deref(), signers.ecdsa())?;
    let places = Places::of(path, args.signature.as_deref())?;
    places.must_be_writable()?;
    places.sweep();
    let own_keys: Vec<_> = signers.public().collect();
    let since = since(cx, args, &own_keys)?;
    let Measured { statement, stamps, reused } = measured(cx, args, path, &places, since.as_ref())?;
    let payload = statement.to_payload().into_bytes();

    let made = signers.sign(cx, &payload, chain)?;
    let mut signed = Signed::over(&statement, &made);
    signed.reused_bytes = reused;
    if !made.iter().any(|s| is_ecdsa(&s.key)) && is_of_other_files(&places.signature, &payload) {
        cx.out.message(format!(
            "note: {} signs the model as it was before: sign with its ECDSA key too, or remove it",
            places.signature.display()
        ));
    }
    write(&places, &statement, made, &mut signed)?;
    if let Some(key) = signers.local() {
        let record = Record::new(&payload, stamps).sign(key)?;
        // Without it the next signing reads everything, and nothing else.
        if let (Err(e), true) = (records::keep(&Record::name(&payload, key.public()), &record), args.since.is_some()) {
            cx.out.message(format!("note: the next --since will read everything: its record cannot be kept: {e}"));
        }
    }
    if args.hash == hash::Algorithm::Blake3.name() {
        cx.out.message(BLAKE3_NOTE);
    }
    cx.out.report(&signed, show)
}

/// Writes the signatures of a model to their places, beside what others signed of the very same files.
///
/// # Errors
/// All is made before anything is written: claims that cannot be read leave the old signatures as they were.
pub fn write(places: &Places, statement: &Statement, made: Vec<Signature>, signed: &mut Signed) -> Result<()> {
    let (main, lines): (Vec<_>, Vec<_>) = made.into_iter().partition(|s| is_ecdsa(&s.key));
    let main = main.into_iter().next().map(|s| s.bundle);
    let mut lines: Vec<_> = lines.into_iter().map(|s| s.bundle).collect();
    lines.extend(superseded(places, main.as_ref())?);
    let claims = claims::with_signatures(&places.claims, &lines, statement.to_payload().as_bytes())?;
    let main = main.map(|bundle| bundle.to_json().into_bytes());
    check_limits(statement, [main.as_deref().unwrap_or_default(), &claims])?;
    if let Some(bundle) = main {
        put(&places.signature, &bundle)?;
        signed.signature = Some(places.signature.clone());
    }
    if !claims.is_empty() || places.claims.exists() {
        put(&places.claims, &claims)?;
        signed.claims = Some(places.claims.clone());
    }
    Ok(())
}

/// `--hash`
pub fn algorithm(args: &args::Sign) -> Result<hash::Algorithm> {
    hash::Algorithm::from_name(&args.hash)
        .ok_or_else(|| Error::new(ErrorId::InvalidArgument, format!("not a hash: {:?}", args.hash)))
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

pub fn chain(file: Option<&Path>, key: Option<&VerifyingKey>) -> Result<Option<Vec<Vec<u8>>>> {
    let Some(file) = file else { return Ok(None) };
    let key = key.ok_or_else(|| {
        Error::new(ErrorId::InvalidArgument, "--cert-chain goes with an ECDSA key, and none is given")
    })?;
    let text = read_small(file, CHAIN_MAX).map_err(on(file))?;
    let chain = OwnChain::from_pem(&text, key, SystemClock.now()).map_err(|e| e.on(file.display()))?;
    Ok(Some(chain.certificates().to_vec()))
}

fn measured(
    cx: &Context<'_>,
    args: &args::Sign,
    path: &Path,
    places: &Places,
    since: Option<&Since>,
) -> Result<Measured> {
    // A mistyped name would stay in the statement, and leave out whatever is put there later.
    let is_there = |ignored: &&String| path.join(ignored).symlink_metadata().is_ok();
    if let Some(none) = args.ignore.iter().find(|ignored| !is_there(ignored)) {
        return Err(
            Error::new(ErrorId::InvalidArgument, format!("{none:?} is not in the model")).hint("check --ignore")
        );
    }
    let mut ignored = Ignored::new(args.ignore.iter().cloned());
    places.within(path)?.into_iter().for_each(|path| ignored.insert(path));
    let parameters = Parameters {
        method: match args.shard_size {
            Some(size) => Method::Shards(size.get()),
            None if args.method == "shards" => Method::Shards(1_000_000_000),
            None => Method::Files,
        },
        algorithm: algorithm(args)?,
        links: if args.allow_symlinks { Links::FollowToFiles } else { Links::Refuse },
        ignored,
        reference_name: args.compat_1_1,
        threads: threads(),
    };
    let bar = Progress::new("hashing", total(path), cx.out.json());
    let measured = measure_since(path, &parameters, since, SystemClock.now(), &|n| bar.more(n));
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
    facts([
        ("signed", Some(signed.name.clone())),
        ("content", Some(format!("{}, {}", count(signed.resources as u64, "digest"), size(signed.bytes)))),
        ("not read again", (signed.reused_bytes > 0).then(|| size(signed.reused_bytes))),
        ("signature", place(&signed.signature)),
        ("claims", place(&signed.claims)),
        ("signed by", Some(signed.signers())),
    ])
}
