//! `vault dataset receipt`: what a training job read, signed together with what it made.

use std::path::Path;

use model_vault::crypto::sign::VerifyingKey;
use model_vault::dataset::{Receipt, Version};
use model_vault::manifest::oms::Bundle;
use model_vault::names::{KeyId, Sha256};
use model_vault::{Error, ErrorId, Result, regular};
use serde::Serialize;

use super::origin::{Origin, Whole};
use super::seen::Accepted;
use super::statements::believe;
use crate::args::{Receipt as Command, ReceiptSign, ReceiptVerify};
use crate::command::identity::Signers;
use crate::command::{Context, Outcome};
use crate::files::destination::{must_be_new, put_new};
use crate::files::{on, read_small, sha256_of};
use crate::output::table::facts;
use crate::output::text::{count, visible};

/// Most bytes of a receipt.
const MAX_RECEIPT: u64 = 64 << 20;

/// The JSON document of both.
#[derive(Debug, Serialize)]
struct Told {
    dataset: String,
    version: u64,
    root: Sha256,
    records: u64,
    /// Passes that were broken off: of what was read in them, fewer records were handed on.
    #[serde(skip_serializing_if = "is_zero")]
    unfinished: u64,
    /// Share of the records that may be read which were, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole: Option<bool>,
    /// Contributors whose records are kept out by a later version.
    tainted_by: Vec<String>,
    models: Vec<Model>,
    signers: Vec<KeyId>,
}

#[derive(Debug, Serialize)]
struct Model {
    name: String,
    sha256: Sha256,
}

/// Signs or verifies.
pub fn run(cx: &Context<'_>, args: &Command) -> Result<Outcome> {
    match args {
        Command::Sign(args) => sign(cx, args).map(|()| Outcome::Done),
        Command::Verify(args) => verify(cx, args),
    }
}

fn sign(cx: &Context<'_>, args: &ReceiptSign) -> Result<()> {
    must_be_new(&args.receipt, &args.output)?;
    let signers = Signers::named(cx, &args.signer.key, args.signer.identity.as_ref())?;
    let text = read_small(&args.receipt, MAX_RECEIPT).map_err(on(&args.receipt))?;
    let mut receipt = Receipt::from_payload(&text).map_err(|bare| match bundles_of(&text, &args.receipt) {
        Ok(bundles) if !bundles.is_empty() => signed_already(&args.receipt, &bundles, &signers),
        _ => bare.on(args.receipt.display()),
    })?;
    receipt.models = args.model.iter().map(|path| model(path)).collect::<Result<_>>()?;
    let made = signers.sign(cx, receipt.to_payload().as_bytes(), None)?;
    let text: String = made.iter().map(|s| s.bundle.to_json() + "\n").collect();
    if text.len() as u64 > MAX_RECEIPT {
        return Err(Error::new(ErrorId::LimitExceeded, "the signed receipt is larger than 64 MiB")
            .hint("sign it with one key, or write a receipt for fewer epochs at a time"));
    }
    put_new(&args.receipt, &args.output, text.as_bytes())?;
    report(cx, told(receipt, made.iter().map(|s| s.key.key_id()).collect()))
}

fn verify(cx: &Context<'_>, args: &ReceiptVerify) -> Result<Outcome> {
    let keys = args.job_key.iter().map(|file| VerifyingKey::read_all(file)).collect::<Result<Vec<_>>>()?.concat();
    let text = read_small(&args.receipt, MAX_RECEIPT).map_err(on(&args.receipt))?;
    must_be_signed(&text, &args.receipt)?;
    let bundles = bundles_of(&text, &args.receipt)?;
    drop(text);
    let (mut payloads, signers) = believe(&bundles, &keys).map_err(|e| e.on(args.receipt.display()))?;
    // One receipt has a signature by each key of an identity.
    payloads.sort_unstable();
    payloads.dedup();
    let [payload] = &payloads[..] else {
        let text = format!("{}: no receipt that is signed by that key, or several", args.receipt.display());
        return Err(Error::new(ErrorId::SignatureMissing, text).hint("--job-key is the key that signed the receipt"));
    };
    let receipt = Receipt::from_payload(payload).map_err(|e| e.on(args.receipt.display()))?;
    for path in &args.model {
        let (name, sha256) = model(path)?;
        if receipt.models.iter().all(|(_, made)| *made != sha256) {
            let text = format!("{name} is no model that the receipt is about");
            return Err(Error::new(ErrorId::DatasetChanged, text));
        }
    }
    let origin = Origin::find(cx, &args.dataset, &args.daemon, !args.recent.no_state)?;
    let accepted = Accepted::in_the_past(cx, &origin, &args.believed, &args.recent)?;
    let chain = &accepted.chain;
    let (name, version, root, digest) = &receipt.dataset;
    let is_it = |v: &&Version| {
        let said = (v.statement.name == *name, v.statement.version == *version, v.statement.root() == *root);
        v.digest == *digest && said == (true, true, true)
    };
    let Some(signed) = chain.versions().iter().find(is_it) else {
        let text = format!("version {version} that the receipt names is none that was signed");
        return Err(Error::new(ErrorId::DatasetChanged, text).hint("vault dataset log PATH tells the signed versions"));
    };
    receipt.must_agree_with(&signed.statement).map_err(|e| e.on(args.receipt.display()))?;
    let newest = &chain.newest().statement.attribution.excluded;
    let before = &signed.statement.attribution.excluded;
    let later = newest.iter().filter(|e| before.iter().all(|b| b.contributor != e.contributor));
    let tainted_by: Vec<_> = later.map(|e| e.contributor.clone()).collect();
    // The lists of pieces are those of the newest version: another one's files may be gone.
    let folder = origin.signed_folder()?;
    let place = Whole { folder: &folder, origin: &origin };
    let mut listed = |file: &str| {
        let known = signed.statement.files.iter().find(|f| f.path == *file);
        let known = known.ok_or_else(|| Error::new(ErrorId::DatasetChanged, format!("{file} was not signed")))?;
        place.pieces(known)
    };
    let all = signed.statement.readable().saturating_mul(receipt.epochs.max(1));
    let whole = receipt.must_be_of(&mut listed).and_then(|()| {
        let files: Vec<_> = signed.statement.files.iter().filter(|f| f.records > 0).map(|f| &*f.path).collect();
        Ok(receipt.records == all && receipt.covers(&files, &mut listed)?)
    });
    let whole = match whole {
        Ok(whole) => Some(whole),
        Err(e) if tainted_by.is_empty() => return Err(e),
        // That is known without the files of then.
        Err(e) => {
            cx.out.message(format!("note: what was read cannot be checked: {e}"));
            None
        }
    };
    let mut shown = told(receipt, signers.iter().map(|key| key.key_id()).collect());
    (shown.whole, shown.tainted_by) = (whole, tainted_by);
    let tainted = !shown.tainted_by.is_empty();
    report(cx, shown)?;
    Ok(if tainted { Outcome::Findings } else { Outcome::Done })
}

fn told(receipt: Receipt, signers: Vec<KeyId>) -> Told {
    let (dataset, version, root, _) = receipt.dataset;
    let models = receipt.models.into_iter().map(|(name, sha256)| Model { name, sha256 }).collect();
    let (records, unfinished) = (receipt.records, receipt.unfinished);
    Told { dataset, version, root, records, unfinished, whole: None, tainted_by: Vec::new(), models, signers }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn report(cx: &Context<'_>, told: Told) -> Result<()> {
    cx.out.report(&told, |t| {
        let names: Vec<_> = t.models.iter().map(|m| visible(&m.name)).collect();
        facts([
            ("models", Some(names.join(", "))),
            (
                "trained on",
                Some(format!("{} version {}, {}", visible(&t.dataset), t.version, count(t.records, "record"))),
            ),
            ("all of it", t.whole.map(|whole| if whole { "yes".into() } else { "no, a part".into() })),
            ("broken off", (t.unfinished > 0).then(|| count(t.unfinished, "reading"))),
            ("kept out since", (!t.tainted_by.is_empty()).then(|| t.tainted_by.join(", "))),
            ("signed by", Some(t.signers.iter().map(KeyId::short).collect::<Vec<_>>().join(", "))),
        ])
    })
}

/// Name and digest of a model's file.
fn model(path: &Path) -> Result<(String, Sha256)> {
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let mut file = regular::open(path).map_err(on(path))?;
    Ok((name, sha256_of(&mut file).map_err(on(path))?))
}

fn bundles_of(text: &[u8], path: &Path) -> Result<Vec<Bundle>> {
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Bundle::from_json(line).map_err(|e| Error::from(e).on(path.display()))).collect()
}

/// What a reader wrote is signed, once. What somebody signed is not what a reader wrote, as far as anybody knows.
fn signed_already(path: &Path, bundles: &[Bundle], signers: &Signers) -> Error {
    let own = signers.public().any(|key| bundles.iter().any(|bundle| bundle.verify(key).is_ok()));
    let by = if own { "by this key already" } else { "by another key" };
    let id = if own { ErrorId::AlreadyExists } else { ErrorId::InvalidArgument };
    Error::new(id, format!("{} is signed {by}", path.display()))
        .hint("sign what the reader wrote: vault dataset read --receipt FILE")
}

/// What a reader wrote is no signed receipt yet.
fn must_be_signed(text: &[u8], path: &Path) -> Result<()> {
    if Receipt::from_payload(text).is_err() {
        return Ok(());
    }
    let text = format!("{}: nobody signed this receipt", path.display());
    Err(Error::new(ErrorId::SignatureMissing, text)
        .hint("whoever runs the job signs it: vault dataset receipt sign RECEIPT --model FILE --key FILE -o SIGNED"))
}

/// All receipts of a file that these keys signed, each once.
///
/// # Errors
/// `SignatureMissing` for none; `SignatureInvalid`; `BundleMalformed`.
pub fn signed_by(path: &Path, keys: &[VerifyingKey]) -> Result<Vec<Receipt>> {
    let text = read_small(path, MAX_RECEIPT).map_err(on(path))?;
    must_be_signed(&text, path)?;
    let bundles = bundles_of(&text, path)?;
    let of = |e: Error| e.on(path.display());
    let (mut payloads, _) = believe(&bundles, keys).map_err(of)?;
    payloads.sort_unstable();
    payloads.dedup();
    if payloads.is_empty() {
        let text = format!("{}: no receipt by a signer you trust", path.display());
        return Err(Error::new(ErrorId::SignatureMissing, text));
    }
    payloads.into_iter().map(|payload| Receipt::from_payload(payload).map_err(of)).collect()
}
