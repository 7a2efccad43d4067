//! `vault verify` of a model on disk: who signed it, and whether it is what was signed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model_vault::crypto::sign::VerifyingKey;
use model_vault::identity::signer::{Anchors, CertifiedSigner, ChainPolicy, Revocations, SignerName};
use model_vault::identity::sigstore::{KeylessPolicy, TrustedRoot};
use model_vault::manifest::oms::{Bundle, Comparison, Difference, Signer, Statement, Trust, authenticate, compare};
use model_vault::names::{Clock, KeyId, Name, SystemClock};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::trusted::Store;
use super::{Context, Outcome, threads};
use crate::args;
use crate::files::signature::{Places, claims, read_signatures};
use crate::files::{on, read_small};
use crate::output::progress::Progress;
use crate::output::table::{Table, facts};
use crate::output::text::{count, size};

/// More than any file of authorities or revocations.
const AUTHORITIES_MAX: u64 = 16 << 20;

/// The JSON document of `vault verify PATH`.
#[derive(Debug, Serialize)]
struct Verified {
    /// Whether the model is what trusted signers signed.
    verified: bool,
    model: PathBuf,
    /// Name that the signers gave it.
    name: String,
    root: String,
    signers: Vec<SignedBy>,
    files: u64,
    bytes: u64,
    /// Empty files, which signatures by shards do not cover.
    uncovered_empty: u64,
    /// What is there and was left out by the signers, each with everything below it.
    not_covered: Vec<String>,
    differences: Vec<Difference>,
}

/// A trusted signature.
#[derive(Debug, Serialize)]
struct SignedBy {
    #[serde(flatten)]
    signer: Signer,
    /// What the trust store calls the signer.
    name: Option<Name>,
}

/// Verifies.
pub fn run(cx: &Context<'_>, args: &args::Verify, path: &Path) -> Result<Outcome> {
    if args.keyless || args.signers.required() {
        // An option that is passed over is a check that somebody believes was made.
        return Err(Error::new(
            ErrorId::InvalidArgument,
            "--keyless, --require-signer and --signer-key are for sealed files and artifacts",
        )
        .hint("a signed model on disk takes --key, --trust, --ca and --require"));
    }
    if path.symlink_metadata().is_err() {
        return Err(Error::new(ErrorId::NotFound, format!("{}: no such file or directory", path.display()))
            .hint("these options are for signed models on disk; for a version: vault attest verify REF"));
    }
    let places = Places::of(path, args.model.signature.as_deref())?;
    let bundles = bundles(&places)?;
    let store = Store::read(cx, &args.model.trust)?;
    let given = args.model.key.iter().map(|file| VerifyingKey::read_all(file)).collect::<Result<Vec<_>>>()?;
    let mut keys = store.unrevoked(given.concat())?;
    let authorities = Authorities::read(&args.model)?;
    let keyless = keyless_policy(&args.model)?;
    if !args.model.signer_name.is_empty() && authorities.anchors.is_none() && keyless.is_none() {
        return Err(Error::new(ErrorId::InvalidArgument, "--signer-name without an authority that vouches for names")
            .hint("name the authority with --ca FILE, or --sigstore-root FILE with --issuer URL"));
    }
    if keys.is_empty() && args.model.trust.is_empty() && authorities.anchors.is_none() && keyless.is_none() {
        return Err(Error::new(
            ErrorId::InvalidArgument,
            "no signer is trusted: a signature by anybody proves nothing",
        )
        .hint(
            "give the signer's public key with --key FILE, its authority with --ca FILE, or its name with --trust NAME",
        ));
    }
    let names: RefCell<BTreeMap<KeyId, Name>> = RefCell::default();
    for (name, key) in store.keys() {
        names.borrow_mut().insert(key.key_id(), name.clone());
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    let chain = |certificates: &[Vec<u8>]| {
        let given = authorities.judge(certificates).map(|certified| {
            let certified = certified?;
            store.check_path(&certified).map(|()| certified.key)
        });
        let by_name = || {
            store.judge(certificates, &authorities.revocations).map(|judged| {
                let (name, key) = judged?;
                names.borrow_mut().insert(key.key_id(), name);
                Ok(key)
            })
        };
        match (given, by_name()) {
            (Some(Ok(key)), _) | (_, Some(Ok(key))) => Ok(key),
            (Some(Err(e)), _) | (None, Some(Err(e))) => Err(e),
            (None, None) => {
                Err(Error::new(ErrorId::SignatureMissing, "signed with a certificate, and no authority is trusted")
                    .hint("name the authority with --ca FILE, or its signer with --trust NAME"))
            }
        }
    };
    let keyless = |material: &str, payload: &[u8], signature: &[u8]| match &keyless {
        Some(policy) => Ok(policy.verify(material, payload, signature)?),
        None => Err(Error::new(ErrorId::SignatureMissing, "a keyless signature, and no Sigstore service is trusted")
            .hint("say whom you trust: --sigstore-root FILE --signer-name NAME --issuer URL")),
    };
    let trust = Trust { keys: &keys, chain: &chain, keyless: &keyless, required: &args.model.require };
    let (statement, signers) = authenticate(&bundles, &trust)
        .map_err(|e| match e.id() {
            ErrorId::SignatureMissing => store.why_not(&bundles).unwrap_or(e),
            _ => e,
        })
        .map_err(|e| e.on(places.signature.display()))?;
    let names = names.borrow();
    let signed_by = |signer: Signer| SignedBy { name: names.get(&signer.keyid).cloned(), signer };
    let signers = signers.into_iter().map(signed_by).collect();

    let bar = Progress::new("verifying", statement_bytes(&statement), cx.out.json());
    let within = places.within(path)?;
    let allow_extra = args.model.ignore_unsigned_files;
    let comparison = compare(path, &statement, &within, &args.model.ignore, allow_extra, threads(), &|n| bar.more(n));
    bar.done();
    report(cx, path, &statement, signers, comparison?)
}

fn keyless_policy(args: &args::VerifyModel) -> Result<Option<KeylessPolicy>> {
    let Some(file) = &args.sigstore_root else { return Ok(None) };
    let text = read_small(file, AUTHORITIES_MAX).map_err(on(file))?;
    let root = TrustedRoot::from_json(&text).map_err(|e| e.on(file.display()))?;
    KeylessPolicy::new(root, args.signer_name.clone(), args.issuer.clone().unwrap_or_default()).map(Some)
}

/// Whose certificates count.
struct Authorities {
    anchors: Option<Anchors>,
    names: Vec<SignerName>,
    revocations: Revocations,
}

impl Authorities {
    fn read(args: &args::VerifyModel) -> Result<Self> {
        let mut text = Vec::new();
        for file in &args.ca {
            text.extend(read_small(file, AUTHORITIES_MAX).map_err(on(file))?);
            text.push(b'\n');
        }
        let mut revocations = Revocations::default();
        for file in &args.crl {
            let list = read_small(file, AUTHORITIES_MAX).map_err(on(file))?;
            revocations.add(&list).map_err(|e| e.on(file.display()))?;
        }
        let anchors = if args.ca.is_empty() { None } else { Some(Anchors::from_pem(&text)?) };
        Ok(Self { anchors, names: args.signer_name.clone(), revocations })
    }

    /// As of now: when a signature was made, it alone says. `None` if no authority was given.
    fn judge(&self, certificates: &[Vec<u8>]) -> Option<Result<CertifiedSigner>> {
        let anchors = self.anchors.as_ref()?;
        let policy = ChainPolicy { anchors, names: &self.names, revocations: &self.revocations };
        Some(policy.verify(certificates, SystemClock.now()).map_err(Error::from))
    }
}

fn report(
    cx: &Context<'_>,
    path: &Path,
    statement: &Statement,
    signers: Vec<SignedBy>,
    comparison: Comparison,
) -> Result<Outcome> {
    let verified = Verified {
        verified: comparison.differences.is_empty(),
        model: path.into(),
        name: statement.name.clone(),
        root: statement.root().to_string(),
        signers,
        files: comparison.files,
        bytes: comparison.bytes,
        uncovered_empty: comparison.uncovered_empty,
        not_covered: comparison.not_covered,
        differences: comparison.differences,
    };
    cx.out.report(&verified, |v| show(v, cx.out.styled()))?;
    if verified.verified {
        return Ok(Outcome::Done);
    }
    let what = count(verified.differences.len() as u64, "difference");
    Ok(Outcome::Refused(Error::new(ErrorId::ModelChanged, format!("{}: {what} from what was signed", path.display()))))
}

/// The bundle and the claims beside it; either may be missing, not both.
fn bundles(places: &Places) -> Result<Vec<Bundle>> {
    let mut bundles = Vec::new();
    if places.signature.exists() {
        let text = read_signatures(&places.signature)?;
        bundles.push(Bundle::from_json(&text).map_err(|e| Error::from(e).on(places.signature.display()))?);
    }
    bundles.extend(claims::read(&places.claims)?);
    if bundles.is_empty() {
        let text = format!("{}: no such file or directory", places.signature.display());
        return Err(Error::new(ErrorId::SignatureMissing, text)
            .hint("name the signature with --signature FILE; vault sign makes one"));
    }
    Ok(bundles)
}

fn statement_bytes(statement: &Statement) -> u64 {
    statement.resources.iter().filter_map(|r| r.size).sum()
}

fn show(v: &Verified, styled: bool) -> String {
    let by = |s: &SignedBy| {
        let name = s.name.as_ref().map_or_else(String::new, |name| format!("{name}: "));
        format!("{name}{} {}", s.signer.algorithm, s.signer.keyid.short())
    };
    let signers: Vec<_> = v.signers.iter().map(by).collect();
    let mut text = facts([
        (if v.verified { "verified" } else { "refused" }, Some(v.model.display().to_string())),
        ("signed as", Some(v.name.clone())),
        ("signed by", Some(signers.join(", "))),
        ("as signed", Some(format!("{}, {}", count(v.files, "file"), size(v.bytes)))),
        ("not covered", (!v.not_covered.is_empty()).then(|| v.not_covered.join(", "))),
        ("not covered", (v.uncovered_empty > 0).then(|| count(v.uncovered_empty, "empty file"))),
    ]);
    if !v.differences.is_empty() {
        let mut table = Table::new(&["DIFFERENCE", "FILE", "DETAIL"]);
        for difference in &v.differences {
            let detail = match difference {
                Difference::Changed { expected_size: Some(expected), size: found, .. } => {
                    format!("{} signed, {} found", size(*expected), size(*found))
                }
                Difference::Renamed { from, .. } => format!("was {from}"),
                _ => String::new(),
            };
            table.row([difference.word().into(), difference.path().into(), detail]);
        }
        text.push('\n');
        text += &table.render(styled);
    }
    text
}
