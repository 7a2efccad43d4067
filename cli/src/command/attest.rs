//! `vault attest`: signed statements about a version.

use std::io::Write as _;
use std::path::Path;

use model_vault::client::Client;
use model_vault::crypto::sign::{Algorithm, VerifyingKey};
use model_vault::facts::{AttestationFacts, VersionFacts};
use model_vault::manifest::attestation::{Attestation, Coverage, Recorded, kind_of};
use model_vault::manifest::oms::{
    Bundle, MAX_BUNDLE_LEN, PREDICATE_TYPE, Statement, compare_recorded, is_model_signature,
};
use model_vault::names::{Reference, Revision};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::identity::Signers;
use super::{Context, Outcome, show};
use crate::args::{Attest, AttestAdd, AttestLs, AttestVerify};
use crate::files::destination::{Destination, ORDINARY};
use crate::files::{on, read_small};
use crate::output::table::{Table, facts};

/// Longest predicate: the bundle around it must fit into a message.
const PREDICATE_MAX: u64 = 2 << 20;

/// The JSON document of `vault attest add`.
#[derive(Debug, Serialize)]
struct Added {
    version: VersionFacts,
    attestations: Vec<AttestationFacts>,
}

/// The JSON document of `vault attest ls` and `vault attest verify`.
#[derive(Debug, Serialize)]
struct Listing {
    version: VersionFacts,
    attestations: Vec<AttestationFacts>,
}

/// Statements.
pub fn run(cx: &Context<'_>, args: &Attest) -> Result<Outcome> {
    match args {
        Attest::Add(args) => add(cx, args).map(|()| Outcome::Done),
        Attest::Ls(args) => ls(cx, args).map(|()| Outcome::Done),
        Attest::Verify(args) => verify(cx, args),
    }
}

/// The version that a reference means now: what follows is about that very one, though a tag may move meanwhile.
pub fn pinned(cx: &Context<'_>, client: &Client, reference: &Reference) -> Result<(VersionFacts, Reference)> {
    if reference.member.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, "statements are about versions, not about members"));
    }
    let version = cx.session.wait(client.version(reference))?;
    let reference = Reference { revision: Revision::Version(version.version), ..reference.clone() };
    Ok((version, reference))
}

fn add(cx: &Context<'_>, args: &AttestAdd) -> Result<()> {
    let prepared = Prepared::of(cx, args)?;
    let client = cx.session.client()?;
    let (version, reference) = pinned(cx, &client, &args.reference)?;
    let bundles = prepared.bundles(cx, &version)?;
    let mut attestations = Vec::with_capacity(bundles.len());
    for bundle in bundles {
        attestations.push(cx.session.wait(client.attach(&reference, bundle.to_json().as_bytes()))?);
    }
    let added = Added { version, attestations };
    cx.out.report(&added, |a| {
        let shown = a.attestations.iter().map(|said| {
            facts([
                ("attached", Some(kind_of(&said.predicate_type))),
                ("about", Some(about(&a.version, said))),
                ("signed by", Some(format!("{} {}", said.signer, said.keyid.short()))),
                ("digest", Some(said.digest.to_string())),
            ])
        });
        shown.collect::<String>()
    })
}

/// What is to be attached, read before anybody is asked for a passphrase.
enum Prepared {
    /// To be signed here, once the version is known.
    Unsigned { signers: Signers, predicate_type: String, predicate: Vec<u8> },
    /// Signed elsewhere.
    Signed(Vec<Bundle>),
}

impl Prepared {
    fn of(cx: &Context<'_>, args: &AttestAdd) -> Result<Self> {
        if let Some(path) = &args.bundle {
            let text = read_small(path, MAX_BUNDLE_LEN).map_err(on(path))?;
            let bundles = bundles(&text).map_err(|e| e.on(path.display()))?;
            return Ok(Self::Signed(bundles));
        }
        let kind = args.kind.as_ref().ok_or_else(|| {
            Error::new(ErrorId::InvalidArgument, "a statement that is made here has a type: --type TYPE")
        })?;
        let files: Vec<_> = args.key.iter().cloned().collect();
        let signers = Signers::named(cx, &files, args.identity.as_ref())?;
        let predicate = match &args.predicate {
            Some(file) => predicate(file, &kind.0)?,
            None => b"{}".to_vec(),
        };
        Ok(Self::Unsigned { signers, predicate_type: kind.0.clone(), predicate })
    }

    fn bundles(self, cx: &Context<'_>, version: &VersionFacts) -> Result<Vec<Bundle>> {
        match self {
            Self::Signed(bundles) => Ok(bundles),
            Self::Unsigned { signers, predicate_type, predicate } => {
                let name = show::reference(version);
                let payload = Attestation::payload(&predicate_type, &name, version.root, &predicate).map_err(|e| {
                    Error::new(ErrorId::InvalidArgument, format!("the predicate is not strict JSON: {}", e.what()))
                })?;
                // Of the keys that stand for one signer one is enough.
                let made = signers.sign(cx, &payload, None)?;
                let own = made.iter().position(|s| s.key.algorithm() == Algorithm::Ed25519).unwrap_or(0);
                Ok(made.into_iter().nth(own).map(|s| s.bundle).into_iter().collect())
            }
        }
    }
}

/// One bundle, or one a line.
fn bundles(text: &[u8]) -> Result<Vec<Bundle>> {
    if let Ok(bundle) = Bundle::from_json(text) {
        return Ok(vec![bundle]);
    }
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let bundles = lines.map(|line| Ok(Bundle::from_json(line)?)).collect::<Result<Vec<_>>>()?;
    if bundles.is_empty() {
        return Err(Error::new(ErrorId::BundleMalformed, "there is nothing in it"));
    }
    Ok(bundles)
}

/// What a statement says. A model card need not be JSON; what calls itself a bill of materials must look like one.
fn predicate(file: &Path, predicate_type: &str) -> Result<Vec<u8>> {
    let text = read_small(file, PREDICATE_MAX).map_err(on(file))?;
    let kind = kind_of(predicate_type);
    let json: serde_json::Result<serde_json::Value> = serde_json::from_slice(&text);
    let wrong = |what: &str| Err(Error::new(ErrorId::InvalidArgument, format!("{}: {what}", file.display())));
    match (&*kind, json) {
        ("cyclonedx", Ok(json)) if json["bomFormat"] != "CycloneDX" => wrong("not a CycloneDX document (bomFormat)"),
        ("spdx", Ok(json)) if json.get("spdxVersion").is_none() && json.get("@context").is_none() => {
            wrong("not an SPDX document (spdxVersion)")
        }
        (_, Ok(_)) => Ok(text),
        ("model-card", Err(_)) => match String::from_utf8(text) {
            Ok(content) => {
                let markdown = file.extension().is_some_and(|e| e == "md");
                let media_type = if markdown { "text/markdown" } else { "text/plain" };
                Ok(serde_json::json!({"mediaType": media_type, "content": content}).to_string().into_bytes())
            }
            Err(_) => wrong("neither JSON nor text"),
        },
        (_, Err(e)) => wrong(&format!("not JSON: {e}")),
    }
}

fn ls(cx: &Context<'_>, args: &AttestLs) -> Result<()> {
    let destination = args.output.as_deref().map(|path| Destination::open(path, ORDINARY)).transpose()?;
    if args.output.as_deref() == Some(Path::new("-")) {
        cx.out.take_stdout();
    }
    let client = cx.session.client()?;
    let (version, reference) = pinned(cx, &client, &args.reference)?;
    let mut attestations = cx.session.wait(client.attestations(&reference))?;
    attestations.retain(|said| args.kind.as_ref().is_none_or(|kind| said.predicate_type == kind.0));
    if args.output.as_ref().is_some_and(|path| path.extension().is_some_and(|e| e == "sig")) {
        // What every OpenSSF verifier reads is one bundle, by an ECDSA key.
        attestations.retain(|said| said.predicate_type == PREDICATE_TYPE && said.algorithm.starts_with("ecdsa"));
        let newest = attestations.pop().ok_or_else(|| {
            let what = format!("{} has no model signature by an ECDSA key", show::reference(&version));
            Error::new(ErrorId::NotFound, what).hint("vault sign REF --key FILE makes one")
        })?;
        attestations = vec![newest];
    }
    if let Some(mut destination) = destination {
        for said in &attestations {
            let bundle = cx.session.wait(client.attestation(&reference, said.digest))?;
            destination.write_all(&bundle).map_err(Error::from)?;
        }
        destination.finish(true)?;
    }
    let listing = Listing { version, attestations };
    if listing.attestations.is_empty() {
        cx.out.message(format!("nothing was said about {}", show::reference(&listing.version)));
    }
    cx.out.report(&listing, |l| if l.attestations.is_empty() { String::new() } else { table(l, cx.out.styled()) })
}

fn verify(cx: &Context<'_>, args: &AttestVerify) -> Result<Outcome> {
    let keys = args.key.iter().map(|file| VerifyingKey::read_all(file)).collect::<Result<Vec<_>>>()?.concat();
    let client = cx.session.client()?;
    let (version, reference) = pinned(cx, &client, &args.reference)?;
    let mut attestations = cx.session.wait(client.attestations(&reference))?;
    attestations.retain(|said| args.kind.as_ref().is_none_or(|kind| said.predicate_type == kind.0));
    attestations.retain(|said| args.signer.as_ref().is_none_or(|name| said.signer == *name));
    if !keys.is_empty() {
        let members = recorded(cx, &client, &reference)?;
        let mut good = Vec::new();
        for said in attestations {
            let bundle = cx.session.wait(client.attestation(&reference, said.digest))?;
            if signed_by(&bundle, &keys, &said, &version, &members)? {
                good.push(AttestationFacts { trusted: true, reason: None, whole: true, ..said });
            }
        }
        attestations = good;
    }
    let refused = verdict(args, &version, &attestations);
    if attestations.is_empty() {
        return Err(refused.unwrap_or_else(|| Error::new(ErrorId::SignatureMissing, "nothing was said about it")));
    }
    let listing = Listing { version, attestations };
    cx.out.report(&listing, |l| table(l, cx.out.styled()))?;
    Ok(refused.map_or(Outcome::Done, Outcome::Refused))
}

/// Why the answer is no. Asked for something, one good statement is enough; else all must be.
fn verdict(args: &AttestVerify, version: &VersionFacts, found: &[AttestationFacts]) -> Option<Error> {
    let missing = |what: &str| {
        let what = format!("{}: {what}", show::reference(version));
        Some(
            Error::new(ErrorId::SignatureMissing, what)
                .hint("vault attest ls REF shows what was said of it, and by whom"),
        )
    };
    let asked = args.kind.is_some() || args.signer.is_some() || !args.key.is_empty();
    if found.is_empty() {
        return missing(if asked { "there is no such statement" } else { "nothing was said about it" });
    }
    let good = |said: &&AttestationFacts| said.trusted && said.whole;
    if asked {
        return if found.iter().any(|said| good(&said)) { None } else { missing("no such statement is good") };
    }
    match found.iter().find(|said| !said.trusted) {
        Some(said) => missing(&format!("the {} by {} is not good", kind_of(&said.predicate_type), said.signer)),
        None => None,
    }
}

/// The members of a version as it was sealed.
pub fn recorded(cx: &Context<'_>, client: &Client, reference: &Reference) -> Result<Vec<Recorded>> {
    let members = cx.session.wait(client.inspect(reference))?.members;
    let members = members.ok_or_else(|| Error::new(ErrorId::StreamBroken, "the vault did not name the members"))?;
    Ok(members
        .into_iter()
        .map(|m| Recorded { path: m.path, size: m.size, blake3: m.blake3, sha256: m.sha256 })
        .collect())
}

/// Whether one of the keys signed a bundle, and it is about all of the version.
fn signed_by(
    bundle: &[u8],
    keys: &[VerifyingKey],
    said: &AttestationFacts,
    version: &VersionFacts,
    members: &[Recorded],
) -> Result<bool> {
    let bundle = Bundle::from_json(bundle)?;
    if !keys.iter().any(|key| bundle.names(key) && bundle.verify(key).is_ok()) {
        return Ok(false);
    }
    // The vault's word for what it is counts for nothing here.
    let predicate_type = match is_model_signature(&bundle.payload) {
        true => PREDICATE_TYPE.to_owned(),
        false => Attestation::from_payload(&bundle.payload)?.predicate_type,
    };
    if predicate_type != said.predicate_type {
        return Ok(false);
    }
    if is_model_signature(&bundle.payload) {
        let statement = Statement::from_payload(&bundle.payload)?;
        // Digests that are not recorded cannot be compared here: no digest is right then.
        let found = compare_recorded(&statement, members, &|_, _, _| Ok(Box::default()))?;
        return Ok(found.differences.is_empty() && found.left_out.is_empty());
    }
    Ok(Attestation::from_payload(&bundle.payload)?.coverage(version.root, members) == Coverage::Whole)
}

fn table(listing: &Listing, styled: bool) -> String {
    let mut table = Table::new(&["STATEMENT", "SIGNED BY", "ABOUT", "ATTACHED", "STATE"]);
    for said in &listing.attestations {
        table.row([
            kind_of(&said.predicate_type),
            format!("{} {}", said.signer, said.keyid.short()),
            about(&listing.version, said),
            show::time(said.added),
            said.reason.clone().filter(|_| !said.trusted).unwrap_or_else(|| "good".into()),
        ]);
    }
    table.render(styled)
}

fn about(version: &VersionFacts, said: &AttestationFacts) -> String {
    if said.whole { show::reference(version) } else { format!("files of {}", show::reference(version)) }
}
