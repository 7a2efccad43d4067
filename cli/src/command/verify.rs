//! `vault verify`: every byte and signature of an artifact or file.

use std::path::Path;

use model_vault::crypto::sign::PublicKey;
use model_vault::facts::VerifyFacts;
use model_vault::names::{Name, Reference};
use model_vault::seal::{OpenOptions, Pins, Reader, verify_keyless};
use model_vault::{Error, ErrorId, Result};

use super::{Context, Outcome, portable, show, threads, verify_model};
use crate::args;
use crate::files::means_path;
use crate::output::progress::Progress;
use crate::session::Access;

/// Verifies.
pub fn run(cx: &Context<'_>, args: &args::Verify) -> Result<Outcome> {
    // Options that only signed models have say what is meant, whatever lies at the path.
    if args.model.given() || is_model(&args.what)? {
        return verify_model::run(cx, args, Path::new(&args.what));
    }
    let facts = if means_path(&args.what)? {
        let path = Path::new(&args.what);
        of_file(cx, args, path).map_err(|e| named(e, path))?
    } else if args.keyless {
        return Err(Error::new(
            ErrorId::InvalidArgument,
            "--keyless is for sealed files; the vault has the keys of its artifacts",
        )
        .hint("leave it out, or name a file"));
    } else {
        let reference: Reference = args.what.parse()?;
        let facts = of_vault(cx, &reference)?;
        if args.signers.required() && !args.signers.satisfied_by(&facts.signers)? {
            return Err(Error::new(
                ErrorId::SignatureMissing,
                format!("{reference} is not signed by the required signer"),
            )
            .hint("vault inspect names who signed it"));
        }
        facts
    };
    cx.out.report(&facts, show::verified)?;
    Ok(Outcome::Done)
}

/// Whether a path is given that is no sealed file: then it is a model, and its signature lies beside it.
fn is_model(what: &str) -> Result<bool> {
    if !means_path(what)? {
        return Ok(false);
    }
    let path = Path::new(what);
    if !path.is_dir() && !path.is_file() {
        return Err(Error::new(ErrorId::InvalidArgument, format!("{what} is neither file nor directory")));
    }
    Ok(path.is_dir() || matches!(portable::header_facts(path), Err(e) if e.id() == ErrorId::NotSealed))
}

fn of_vault(cx: &Context<'_>, reference: &Reference) -> Result<VerifyFacts> {
    match cx.session.access()? {
        Access::Local(vault) => {
            let bar = Progress::new("verifying", 0, cx.out.json());
            let facts = vault.verify_with(&cx.session.caller(&vault)?, reference, &|bytes, total| {
                bar.of(total);
                bar.more(bytes);
            })?;
            bar.done();
            Ok(facts)
        }
        Access::Remote(client) => {
            let waiting = Progress::waiting("the daemon verifies", cx.out.json());
            let facts = cx.session.wait(client.verify(reference))?;
            waiting.done();
            Ok(facts)
        }
    }
}

fn of_file(cx: &Context<'_>, args: &args::Verify, path: &Path) -> Result<VerifyFacts> {
    let signers = if args.signers.required() { Some(args.signers.accepted(|| vault_signers(cx))?) } else { None };
    if args.keyless {
        let found = verify_keyless(&portable::file(path)?, &Pins::default(), signers.as_deref())?;
        return Ok(VerifyFacts {
            version: None,
            root: found.root,
            payload_size: found.payload_len,
            signers: found.signers,
            plaintext: false,
        });
    }
    let reader = match (&signers, portable::credential(cx, &portable::file(path)?, path)?) {
        (None, None) => portable::open(cx, path)?,
        (_, Some(credential)) => {
            let options = OpenOptions { required_signers: signers.as_deref(), ..OpenOptions::default() };
            Reader::open(portable::file(path)?, &credential, &options)?
        }
        (Some(required), None) => return with_vault_key(cx, path, required),
    };
    check(cx, &reader)?;
    Ok(facts(&reader, reader.signers().to_vec()))
}

/// The vault opens the file with its key; the signatures are checked beside that, over the same bytes by the same root.
fn with_vault_key(cx: &Context<'_>, path: &Path, required: &[PublicKey]) -> Result<VerifyFacts> {
    let reader = portable::open(cx, path)?;
    let pins = Pins { root: Some(reader.root()), ..Pins::default() };
    let signers = verify_keyless(&portable::file(path)?, &pins, Some(required))?.signers;
    check(cx, &reader)?;
    Ok(facts(&reader, signers))
}

fn check(cx: &Context<'_>, reader: &Reader) -> Result<()> {
    let bar = Progress::new("verifying", reader.payload_len(), cx.out.json());
    reader.verify_full_with(threads(), &|n| bar.more(n))?;
    bar.done();
    Ok(())
}

fn facts(reader: &Reader, signers: Vec<model_vault::names::KeyId>) -> VerifyFacts {
    VerifyFacts { version: None, root: reader.root(), payload_size: reader.payload_len(), signers, plaintext: true }
}

/// Keys the vault of this home would trust, if there is one.
fn vault_signers(cx: &Context<'_>) -> Result<Vec<PublicKey>> {
    let client = match cx.session.access() {
        Err(e) if e.id() == ErrorId::NoVault => return Ok(Vec::new()),
        access => access.and_then(|_| cx.session.client())?,
    };
    let namespace: Name = Reference::DEFAULT_NAMESPACE.parse()?;
    cx.session.wait(client.signers(&namespace))
}

/// The path before the message, unless it is there already.
fn named(error: Error, path: &Path) -> Error {
    let path = path.display().to_string();
    if error.message().starts_with(&path) { error } else { error.on(path) }
}
