//! `vault dataset sign`: the next version of a dataset, all records of it.

use std::collections::HashMap;
use std::path::PathBuf;

use model_vault::crypto::hash::sha256;
use model_vault::dataset::{Attested, Attribution, Contributor, DatasetStatement, Described, Measured, Origin};
use model_vault::manifest::PARTS_NAME;
use model_vault::names::{Clock, KeyId, Sha256, SystemClock};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::attesting::Contributions;
use super::issuing::{Issuing, must_lie_ahead};
use super::keeping::Keeping;
use super::places::{Places, schema};
use super::scanned::{Said, summary};
use super::seen::Accepted;
use super::statements::{or_trust, trusted_others};
use super::suppliers::kept_out;
use crate::args::DatasetSign;
use crate::command::{Context, threads};
use crate::files::{on, read_small};
use crate::output::progress::Progress;
use crate::output::table::facts;
use crate::output::text::{count, size};

/// Most bytes of a document that is signed by its digest.
const MAX_DOCUMENT: u64 = 64 << 20;
/// Pairs of contributors who attest the same records that are told.
const MAX_OVERLAPS: usize = 1000;
/// Of these in the terminal.
const SHOWN: usize = 5;

/// The JSON document of `vault dataset sign`.
#[derive(Debug, Serialize)]
struct Signed {
    name: String,
    version: u64,
    root: Sha256,
    /// Over the hashes of all records in byte order.
    multiset: Sha256,
    records: u64,
    files: u64,
    bytes: u64,
    /// By name, if contributors attest records.
    contributors: Vec<Covered>,
    /// Records that nobody attests; all of them where no contributor is named.
    unattributed: u64,
    /// Records that two contributors attest: they count as those of the one who is named first. The thousand pairs with the most.
    overlapping: Vec<Overlap>,
    statement: PathBuf,
    signers: Vec<KeyId>,
}

/// Records of a contributor.
#[derive(Debug, Serialize)]
struct Covered {
    name: String,
    records: u64,
}

/// Different records that two contributors attest.
#[derive(Debug, Serialize)]
struct Overlap {
    contributors: [String; 2],
    records: u64,
}

/// Signs.
pub fn run(cx: &Context<'_>, args: &DatasetSign) -> Result<()> {
    must_lie_ahead(args.expires)?;
    let places = Places::of(&args.path)?;
    let issuing = Issuing::begin(cx, &args.path, &places, &args.signer)?;
    let before = issuing.before();
    let excluded = before.map(|b| b.statement.attribution.excluded.clone()).unwrap_or_default();
    if let Some(out) = excluded.iter().find(|e| args.contributor.iter().all(|(name, _)| *name != e.contributor)) {
        let text = format!("the records of {} are kept out, and nobody says which they are", out.contributor);
        return Err(Error::new(ErrorId::InvalidArgument, text)
            .hint("name all contributors again: --contributor NAME=PATH; or remove its records and begin anew"));
    }
    let folder = places.folder(&args.path, args.format)?;
    if args.path.ends_with(PARTS_NAME) || args.path.join(PARTS_NAME).symlink_metadata().is_ok() {
        let text = format!("{}: {PARTS_NAME} is the name of the list of parts in a vault", args.path.display());
        return Err(Error::new(ErrorId::InvalidArgument, text).hint("give the file another name"));
    }
    let bar = Progress::new("hashing", folder.size(), cx.out.json());
    let schema = match (&args.schema, before) {
        (Some(file), _) => schema(file)?,
        (None, Some(before)) => before.statement.schema.clone(),
        (None, None) => folder.survey(threads())?,
    };
    let derived_from = origins(cx, args, &issuing)?;
    let Contributions { records, by: mut contributors, mut accepted } = Contributions::read(cx, args, &schema, before)?;
    let overlapping = overlapping(&records, &contributors);
    let attested = (!contributors.is_empty()).then_some((records, contributors.len()));
    let kept_out = match before {
        Some(before) => kept_out(&places, &before.statement, &contributors)?,
        None => HashMap::new(),
    };
    // Beside the old ones until all is measured.
    let mut keeping = Keeping::begin(places.records.with_extension("tree.new"), attested, kept_out);
    let measured = folder.measure(&schema, None, threads(), &mut keeping, &|bytes| bar.more(bytes));
    let files = measured.map_err(|e| match (e.id(), before) {
        (ErrorId::DatasetChanged | ErrorId::RecordInvalid, Some(_)) if args.schema.is_none() => {
            e.hint("version 1 fixed the columns and their types; name others with --schema FILE")
        }
        _ => e,
    })?;
    bar.done();
    let described = described(cx, args, &files)?;
    for (contributor, records) in contributors.iter_mut().zip(keeping.counts.iter().skip(1)) {
        contributor.records = *records;
    }
    let multiset = keeping.multiset()?;
    let name = args.name.clone().or_else(|| before.map(|b| b.statement.name.clone()));
    let name = match name {
        Some(name) => name,
        None => crate::command::new_name(None, &args.path, None)?.1.to_string(),
    };
    if let Some(other) = before.filter(|b| b.statement.name != name) {
        let text = format!("the versions before are of {:?}, not of {name:?}", other.statement.name);
        return Err(Error::new(ErrorId::InvalidArgument, text).hint("leave --name out"));
    }
    let statement = DatasetStatement {
        name,
        version: before.map_or(1, |b| b.statement.version + 1),
        previous: before.map(|b| b.digest),
        created: SystemClock.now(),
        expires: args.expires,
        schema,
        multiset: Some(multiset),
        described,
        files,
        attribution: Attribution { contributors, files: keeping.runs.clone(), excluded },
        derived_from,
    };
    if let Some(before) = before.filter(|b| b.statement.root() == statement.root()) {
        cx.out.message(format!("note: the records and files are those of version {}", before.statement.version));
    } else if let Some(before) = before.filter(|b| b.statement.multiset == statement.multiset) {
        cx.out.message(format!(
            "note: the records are those of version {}, in another order or other files",
            before.statement.version
        ));
    }
    // Hashes first: a statement never lies beside hashes that are older than it.
    let signers = issuing.publish(cx, &places, &statement, || keeping.settle(&places.records))?;
    accepted.iter_mut().try_for_each(Accepted::remember)?;
    let signed = Signed {
        version: statement.version,
        root: statement.root(),
        multiset,
        records: statement.records(),
        files: statement.files.len() as u64,
        bytes: statement.size(),
        unattributed: statement.unattributed(),
        contributors: statement
            .attribution
            .contributors
            .iter()
            .map(|c| Covered { name: c.name.clone(), records: c.records })
            .collect(),
        overlapping,
        name: statement.name,
        statement: places.statement,
        signers,
    };
    cx.out.report(&signed, |s| {
        let covered: Vec<_> = s.contributors.iter().map(|c| format!("{} {}", c.name, c.records)).collect();
        let nobody = if s.unattributed > 0 { format!("; unattributed {}", s.unattributed) } else { String::new() };
        facts([
            ("signed", Some(format!("{} version {}", s.name, s.version))),
            (
                "content",
                Some(format!("{} in {}, {}", count(s.records, "record"), count(s.files, "file"), size(s.bytes))),
            ),
            ("supplied by", (!covered.is_empty()).then(|| covered.join(", ") + &nobody)),
            ("attested twice", (!s.overlapping.is_empty()).then(|| twice(&s.overlapping))),
            ("root", Some(s.root.to_string())),
            ("statement", Some(s.statement.display().to_string())),
            ("signed by", Some(s.signers.iter().map(KeyId::short).collect::<Vec<_>>().join(", "))),
        ])
    })
}

/// By number of records, then by name.
fn overlapping(attested: &Attested, contributors: &[Contributor]) -> Vec<Overlap> {
    let name = |by: u32| contributors.get((by as usize).wrapping_sub(1)).map(|c| c.name.clone()).unwrap_or_default();
    let mut pairs: Vec<_> = attested.overlaps().iter().map(|((a, b), records)| (*records, *a, *b)).collect();
    pairs.sort_unstable_by_key(|(records, a, b)| (std::cmp::Reverse(*records), *a, *b));
    pairs.truncate(MAX_OVERLAPS);
    pairs.into_iter().map(|(records, a, b)| Overlap { contributors: [name(a), name(b)], records }).collect()
}

fn twice(overlapping: &[Overlap]) -> String {
    let pair =
        |o: &Overlap| format!("{} by {} and {}", count(o.records, "record"), o.contributors[0], o.contributors[1]);
    let more = overlapping.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(", and {}", count(more as u64, "more pair")) } else { String::new() };
    overlapping.iter().take(SHOWN).map(pair).collect::<Vec<_>>().join(", ") + &more
}

fn described(cx: &Context<'_>, args: &DatasetSign, files: &[Measured]) -> Result<Described> {
    let read =
        |path: &Option<PathBuf>| path.as_ref().map(|path| read_small(path, MAX_DOCUMENT).map_err(on(path))).transpose();
    let (croissant, report) = (read(&args.croissant)?, read(&args.scan)?);
    let summary = match report.as_ref().map(|text| summary(text, files)).transpose()? {
        None => None,
        Some(Said::InShort(summary)) => Some(summary),
        Some(Said::DigestAlone(why)) => {
            cx.out.message(format!(
                "note: the report of the scan {why}: its digest is signed, and for policies the dataset was not scanned"
            ));
            None
        }
    };
    Ok(Described {
        sources: args.source.clone(),
        licence: args.licence.clone(),
        croissant: croissant.map(|text| sha256(&text)),
        scan: report.map(|text| sha256(&text)),
        scan_summary: summary,
        provenance: args.provenance.iter().cloned().collect(),
    })
}

/// The newest versions of the datasets that this one was made from, as somebody who is believed signed them.
fn origins(cx: &Context<'_>, args: &DatasetSign, issuing: &Issuing) -> Result<Vec<Origin>> {
    let keys = trusted_others(cx, &issuing.signers, &args.others)?;
    let origin = |path: &PathBuf| {
        let (chain, _) = Places::of(path)?.statements()?.chain_by(&keys).map_err(or_trust)?;
        chain.accept(None, None, Some(SystemClock.now())).map_err(|e| e.on(path.display()))?;
        let statement = &chain.newest().statement;
        Ok(Origin { name: statement.name.clone(), root: statement.root() })
    };
    args.derived_from.iter().map(origin).collect()
}
