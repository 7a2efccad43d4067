//! `vault dataset prove`: that a record is one of a signed dataset, for somebody who has not got the dataset.

use model_vault::dataset::{Beside, CONTRIBUTORS, Chain, DatasetStatement, Leaves, Measured, RecordProof, Runs};
use model_vault::manifest::oms::Bundle;
use model_vault::names::{Clock, KeyId, Sha256, SystemClock, Timestamp};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::origin::Origin;
use super::statements::{Statements, believe, trusted};
use crate::args::DatasetProve;
use crate::command::Context;
use crate::files::destination::put_new;
use crate::files::{on, read_small};
use crate::output::table::facts;
use crate::output::text::visible;

/// Most bytes of a proof: its statement names all files.
const MAX_PROOF: u64 = 64 << 20;

/// The JSON document of `vault dataset prove`.
#[derive(Debug, Serialize)]
struct Proved {
    name: String,
    version: u64,
    root: Sha256,
    file: String,
    record: u64,
    leaf: Sha256,
    /// The contributor whose records are kept out, if the record is one of these; not known from a proof alone.
    kept_out: Option<String>,
    /// Since then the statement is not accepted any more.
    expired: Option<Timestamp>,
    signers: Vec<KeyId>,
}

/// Makes a proof, or checks one.
pub fn run(cx: &Context<'_>, args: &DatasetProve) -> Result<()> {
    let keys = trusted(cx, &args.believed)?;
    let (proof, kept_out) = if args.check { (read(args)?, None) } else { make(cx, args, &keys)? };
    let bundle = bundle_of(&proof).map_err(|e| e.on(args.path.display()))?;
    let (good, signers) = believe(std::slice::from_ref(&bundle), &keys)?;
    let chain = Chain::of(good)?;
    if args.check {
        chain.accept(None, None, Some(SystemClock.now()))?;
    }
    let statement = &chain.newest().statement;
    proof.verify(statement)?;
    let expired = statement.expires.filter(|end| SystemClock.now() >= *end);
    let excluded: Vec<_> = statement.attribution.excluded.iter().map(|e| &*e.contributor).collect();
    if args.check && !excluded.is_empty() {
        let text = "the proof does not say whether this record is one of them";
        cx.out.message(format!(
            "note: records of {} are kept out of this version; {text}",
            visible(&excluded.join(", "))
        ));
    }
    if let Some(end) = expired {
        cx.out.message(format!("note: the statement expired at {end}: nobody accepts the proof any more"));
    }
    if let Some(output) = &args.output {
        let text = serde_json::to_vec_pretty(&proof).map_err(|e| Error::new(ErrorId::Internal, e.to_string()))?;
        put_new(&args.path, output, &text)?;
    }
    let proved = Proved {
        name: statement.name.clone(),
        version: statement.version,
        root: statement.root(),
        file: proof.file,
        record: proof.record,
        leaf: proof.leaf,
        kept_out,
        expired,
        signers: signers.iter().map(|key| key.key_id()).collect(),
    };
    cx.out.report(&proved, |p| {
        facts([
            ("proved", Some(format!("record {} of {}", p.record, visible(&p.file)))),
            ("in", Some(format!("{} version {}", p.name, p.version))),
            (
                "kept out",
                p.kept_out.as_ref().map(|by| format!("yes, as a record of {}: no reader hands it on", visible(by))),
            ),
            ("hash", Some(p.leaf.to_string())),
            ("root", Some(p.root.to_string())),
            ("signed by", Some(p.signers.iter().map(KeyId::short).collect::<Vec<_>>().join(", "))),
        ])
    })
}

fn make(
    cx: &Context<'_>,
    args: &DatasetProve,
    keys: &[model_vault::crypto::sign::VerifyingKey],
) -> Result<(RecordProof, Option<String>)> {
    let origin = Origin::find(cx, &args.path, &args.daemon, true)?;
    let Statements { place, bundles, .. } = origin.statements()?;
    let (good, _) = believe(&bundles, keys)?;
    let chain = Chain::of(good).map_err(|e| e.on(place))?;
    let newest = chain.newest();
    let with_records: Vec<_> = newest.statement.files.iter().filter(|f| f.records > 0).collect();
    let file = match (&args.file, &with_records[..]) {
        (Some(named), files) => files.iter().find(|f| f.path == *named).copied(),
        (None, [only]) => Some(*only),
        (None, _) => None,
    };
    let file = file.ok_or_else(|| {
        Error::new(ErrorId::NotFound, "no such file with records, or several").hint("name it: --file PATH")
    })?;
    let record = args.record.filter(|n| *n > 0);
    let record = record.ok_or_else(|| Error::new(ErrorId::InvalidArgument, "records count from 1"))?;
    let (leaf, path) =
        Leaves { place: &origin, file: &file.path, size: file.records, root: file.root }.prove(record - 1)?;
    let signed = bundles.iter().find(|b| model_vault::crypto::hash::sha256(&b.payload) == newest.digest);
    let bundle = signed.and_then(|b| serde_json::from_str(&b.to_json()).ok());
    let bundle = bundle.ok_or_else(|| Error::new(ErrorId::Internal, "a bundle of ours is not JSON"))?;
    let kept_out = kept_out(&origin, &newest.statement, file, record)?;
    Ok((RecordProof { file: file.path.clone(), record, leaf, path, bundle }, kept_out))
}

/// For whom a record is kept out of the version, if it is.
fn kept_out(origin: &Origin<'_>, statement: &DatasetStatement, file: &Measured, record: u64) -> Result<Option<String>> {
    let attribution = &statement.attribution;
    let Some(signed) = attribution.files.get(&file.path).filter(|_| !attribution.excluded.is_empty()) else {
        return Ok(None);
    };
    let text = origin.beside(&file.path, CONTRIBUTORS, Runs::most(file.records))?;
    let runs =
        Runs::from_text(&text, signed, file.records, attribution.contributors.len()).map_err(|e| e.on(&file.path))?;
    let mut until = 0;
    let by = runs.0.iter().find(|run| {
        until += run.count;
        record <= until
    });
    let by = by.map_or(0, |run| run.by);
    let contributor = (by as usize).checked_sub(1).and_then(|n| attribution.contributors.get(n));
    Ok(contributor.filter(|_| attribution.keeps_out(by)).map(|c| c.name.clone()))
}

fn read(args: &DatasetProve) -> Result<RecordProof> {
    let text = read_small(&args.path, MAX_PROOF).map_err(on(&args.path))?;
    serde_json::from_slice(&text).map_err(|e| {
        let text = format!("{}: not the proof of a record (line {})", args.path.display(), e.line());
        Error::new(ErrorId::BundleMalformed, text).hint("vault dataset prove PATH --record N -o FILE makes one")
    })
}

fn bundle_of(proof: &RecordProof) -> Result<Bundle> {
    Ok(Bundle::from_json(proof.bundle.to_string().as_bytes())?)
}
