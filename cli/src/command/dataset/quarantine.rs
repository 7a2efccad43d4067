//! `vault dataset quarantine`: a version that keeps the records of a contributor out. No file is changed.

use std::path::PathBuf;

use model_vault::crypto::hash::sha256;
use model_vault::crypto::sign::VerifyingKey;
use model_vault::dataset::{Attribution, Chain, DatasetStatement, Excluded, Runs, Version};
use model_vault::names::{Clock, KeyId, Sha256, SystemClock};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::issuing::{Issuing, must_lie_ahead};
use super::places::Places;
use super::receipt::signed_by;
use super::statements::{or_trust, trusted_others};
use super::suppliers::{self, each_record, kept_out};
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
    /// Of these, copies that others attest, or nobody.
    copies: u64,
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
    must_lie_ahead(args.expires)?;
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
    let attested = known.records;
    let keys = trusted_others(cx, &issuing.signers, &args.others)?;
    let (tainted, models) = tainted(&issuing, &before.statement, args, &keys)?;
    let lists = with_copies(&places, &before.statement, &mut statement.attribution)?;
    let signers = issuing.publish(cx, &places, &statement, || suppliers::replace(&places, &lists))?;
    suppliers::settle(&places, &statement)?;
    let kept_out = statement.attribution.contributors.iter().find(|c| c.name == args.contributor);
    let kept_out = kept_out.map_or(0, |c| c.records);
    let quarantined = Quarantined {
        version: statement.version,
        root: statement.root(),
        contributor: args.contributor.clone(),
        kept_out,
        copies: kept_out.saturating_sub(attested),
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
            ("copies", (q.copies > 0).then(|| format!("{} of these, by others or nobody", count(q.copies, "record")))),
            ("left", Some(count(q.records, "record"))),
            ("tainted datasets", list(q.tainted.iter().map(|name| visible(name)).collect())),
            ("trained on it", list(q.models.iter().map(model).collect())),
            ("signed by", Some(q.signers.iter().map(KeyId::short).collect::<Vec<_>>().join(", "))),
        ])
    })
}

/// Counts all copies of records that are kept out as theirs whom they are kept out for: what is trained on is the record, not its
/// supplier, and the next `sign` does the same. Gives the lists of suppliers that change by this, by file.
fn with_copies(
    places: &Places,
    before: &DatasetStatement,
    attribution: &mut Attribution,
) -> Result<Vec<(String, String)>> {
    let mut lists = Vec::new();
    let now = DatasetStatement { attribution: attribution.clone(), ..before.clone() };
    let out = kept_out(places, &now, &attribution.contributors)?;
    let mut counts = vec![0_u64; attribution.contributors.len() + 1];
    for file in before.files.iter().filter(|f| f.records > 0) {
        let mut runs = Runs::default();
        each_record(places, &now, file, &mut |record, by| {
            let by = out.get(record).copied().unwrap_or(by);
            runs.push(by);
            counts.get_mut(by as usize).into_iter().for_each(|count| *count += 1);
            Ok(())
        })?;
        let text = runs.to_text();
        let digest = sha256(text.as_bytes());
        if attribution.files.insert(file.path.clone(), digest) != Some(digest) {
            lists.push((file.path.clone(), text));
        }
    }
    attribution.contributors.iter_mut().zip(&counts[1..]).for_each(|(contributor, count)| contributor.records = *count);
    Ok(lists)
}

/// Datasets and models that stem from versions with these records: of all versions, which have one root each. As far as somebody who is
/// believed signed what says so.
fn tainted(
    issuing: &Issuing,
    statement: &DatasetStatement,
    args: &DatasetQuarantine,
    keys: &[VerifyingKey],
) -> Result<(Vec<String>, Vec<Model>)> {
    let mut roots: Vec<Sha256> = issuing.roots_with(&args.contributor);
    roots.push(statement.root());
    let mut left: Vec<Chain> = Vec::new();
    for path in &args.descendant {
        left.push(Places::of(path)?.statements()?.chain_by(keys).map_err(or_trust)?.0);
    }
    let mut tainted = Vec::new();
    // As far as they descend from one another, in whatever order they are named.
    loop {
        let stems = |v: &Version| v.statement.derived_from.iter().any(|origin| roots.contains(&origin.root));
        let Some(at) = left.iter().position(|chain| chain.versions().iter().any(stems)) else { break };
        let chain = left.swap_remove(at);
        let bad: Vec<_> = chain.versions().iter().filter(|version| stems(version)).collect();
        tainted.extend(bad.iter().map(|v| v.statement.name.clone()));
        roots.extend(bad.iter().map(|v| v.statement.root()));
    }
    tainted.sort_unstable();
    tainted.dedup();
    let mut models = Vec::new();
    for path in &args.receipt {
        for receipt in signed_by(path, keys).map_err(or_trust)? {
            let (dataset, version, root, _) = receipt.dataset;
            if roots.contains(&root) {
                let model =
                    |(name, sha256)| Model { name, sha256, dataset: dataset.clone(), version, receipt: path.clone() };
                models.extend(receipt.models.into_iter().map(model));
            }
        }
    }
    Ok((tainted, models))
}
