//! `vault dataset quarantine`: a version that keeps the records of a contributor out. No file is changed.

use std::path::{Path, PathBuf};

use model_vault::dataset::{DatasetStatement, Excluded};
use model_vault::names::{Clock, KeyId, Sha256, SystemClock};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::issuing::Issuing;
use super::places::Places;
use super::receipt::read_unsigned_or_signed;
use crate::args::DatasetQuarantine;
use crate::command::Context;
use crate::output::table::facts;
use crate::output::text::{count, visible};

/// The JSON document of `vault dataset quarantine`.
#[derive(Debug, Serialize)]
struct Quarantined {
    name: String,
    version: u64,
    root: Sha256,
    contributor: String,
    /// Records that are kept out now, and by this.
    kept_out: u64,
    records: u64,
    /// Datasets that were made from versions with these records, and from such datasets.
    tainted: Vec<String>,
    /// Models that were trained on any of them.
    models: Vec<Model>,
    signers: Vec<KeyId>,
}

/// A model that was trained on what is kept out now.
#[derive(Debug, Serialize)]
struct Model {
    name: String,
    sha256: Sha256,
    dataset: String,
    version: u64,
    receipt: PathBuf,
}

/// Signs.
pub fn run(cx: &Context<'_>, args: &DatasetQuarantine) -> Result<()> {
    let places = Places::of(&args.path)?;
    let issuing = Issuing::begin(cx, &args.path, &places, &args.signer)?;
    let Some(before) = issuing.before() else {
        return Err(Error::new(ErrorId::SignatureMissing, format!("{} is not signed", args.path.display()))
            .hint("vault dataset sign PATH --contributor NAME=PATH says who supplied which records"));
    };
    let attribution = &before.statement.attribution;
    let known = attribution.contributors.iter().find(|c| c.name == args.contributor);
    let known = known.ok_or_else(|| {
        let names: Vec<_> = attribution.contributors.iter().map(|c| &*c.name).collect();
        let text = format!("version {} has no contributor {}", before.statement.version, args.contributor);
        Error::new(ErrorId::NotFound, text).hint(match names.is_empty() {
            true => "sign it with --contributor NAME=PATH first: then it is known whose records these are".into(),
            false => format!("its contributors are {}", names.join(", ")),
        })
    })?;
    if attribution.excluded.iter().any(|e| e.contributor == known.name) {
        let text = format!("the records of {} are kept out already", known.name);
        return Err(Error::new(ErrorId::AlreadyExists, text));
    }
    let mut statement = DatasetStatement {
        version: before.statement.version + 1,
        previous: Some(before.digest),
        created: SystemClock.now(),
        expires: args.expires.or(before.statement.expires),
        ..before.statement.clone()
    };
    let out = Excluded { contributor: known.name.clone(), reason: args.reason.clone() };
    statement.attribution.excluded.push(out);
    let kept_out = known.records;
    let (tainted, models) = tainted(&issuing, &before.statement, args)?;
    let signers = issuing.publish(cx, &places, &statement, || Ok(()))?;
    let quarantined = Quarantined {
        version: statement.version,
        root: statement.root(),
        contributor: args.contributor.clone(),
        kept_out,
        records: statement.readable(),
        tainted,
        models,
        signers,
        name: statement.name,
    };
    cx.out.report(&quarantined, |q| {
        let model = |m: &Model| format!("{} ({} version {})", visible(&m.name), visible(&m.dataset), m.version);
        let list = |all: Vec<String>| (!all.is_empty()).then(|| all.join(", "));
        facts([
            ("signed", Some(format!("{} version {}", q.name, q.version))),
            ("kept out", Some(format!("{} by {}", count(q.kept_out, "record"), q.contributor))),
            ("left", Some(count(q.records, "record"))),
            ("tainted datasets", list(q.tainted.iter().map(|name| visible(name)).collect())),
            ("trained on it", list(q.models.iter().map(model).collect())),
            ("signed by", Some(q.signers.iter().map(KeyId::short).collect::<Vec<_>>().join(", "))),
        ])
    })
}

/// Datasets and models that stem from versions with these records: of all versions, which have one root each.
fn tainted(
    issuing: &Issuing,
    statement: &DatasetStatement,
    args: &DatasetQuarantine,
) -> Result<(Vec<String>, Vec<Model>)> {
    let mut roots: Vec<Sha256> = issuing.roots_with(&args.contributor);
    roots.push(statement.root());
    let mut left: Vec<(&Path, Vec<DatasetStatement>)> = Vec::new();
    for path in &args.descendant {
        left.push((path, Places::of(path)?.statements()?.all_by_anybody()?));
    }
    let mut tainted = Vec::new();
    // As far as they descend from one another, in whatever order they are named.
    loop {
        let stems = |s: &DatasetStatement| s.derived_from.iter().any(|origin| roots.contains(&origin.root));
        let Some(at) = left.iter().position(|(_, versions)| versions.iter().any(stems)) else { break };
        let (_, versions) = left.swap_remove(at);
        let bad = versions.iter().filter(|s| stems(s));
        tainted.extend(bad.clone().map(|s| s.name.clone()));
        let more: Vec<_> = bad.map(DatasetStatement::root).collect();
        roots.extend(more);
    }
    tainted.sort_unstable();
    tainted.dedup();
    let mut models = Vec::new();
    for path in &args.receipt {
        let receipt = read_unsigned_or_signed(path)?;
        let (dataset, version, root, _) = receipt.dataset;
        if roots.contains(&root) {
            let model =
                |(name, sha256)| Model { name, sha256, dataset: dataset.clone(), version, receipt: path.clone() };
            models.extend(receipt.models.into_iter().map(model));
        }
    }
    Ok((tainted, models))
}
