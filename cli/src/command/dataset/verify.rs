//! `vault dataset verify`: whether a dataset is what was signed, and if not, which records differ.

use std::collections::BTreeMap;

use model_vault::dataset::{Folder, Follow, Leaves, Measured, RecordKey};
use model_vault::names::{KeyId, Sha256};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::origin::Origin;
use super::places::not_signed;
use super::seen::Accepted;
use super::told::{Told, Version, comparing, told};
use crate::args::DatasetVerify;
use crate::command::{Context, Outcome, threads};
use crate::output::progress::Progress;
use crate::output::table::facts;
use crate::output::text::{count, size, visible};

/// The JSON document of `vault dataset verify`.
#[derive(Debug, Serialize)]
struct Verified {
    /// Whether all records are those that trusted signers signed.
    verified: bool,
    name: String,
    version: u64,
    root: Sha256,
    signed_records: u64,
    /// Records by contributors who are kept out: they are there, and are not read.
    kept_out: u64,
    /// Records that no contributor attests.
    unattributed: u64,
    bytes: u64,
    signers: Vec<KeyId>,
    /// Files that are not what was signed, with how.
    files: BTreeMap<String, &'static str>,
    /// Records that differ, where there is something to compare them with.
    #[serde(flatten)]
    differences: Option<Told>,
}

/// Verifies.
pub fn run(cx: &Context<'_>, args: &DatasetVerify) -> Result<Outcome> {
    let origin = Origin::find(cx, &args.path, &args.daemon, !args.recent.no_state)?;
    let mut accepted = Accepted::of(cx, &origin, &args.believed, &args.recent)?;
    let newest = accepted.newest().clone();
    let statement = &newest.statement;
    let folder = origin.signed_folder()?;
    let bar = Progress::new("verifying", folder.size(), cx.out.json());
    let measured = folder.measure(&statement.schema, None, threads(), &mut Nobody, &|bytes| bar.more(bytes));
    bar.done();
    let mut files = match &measured {
        Ok(measured) => differing(&statement.files, measured),
        // Whatever it is, it was not signed: records that were can be read.
        Err(e) if matches!(e.id(), ErrorId::RecordInvalid | ErrorId::DatasetChanged) => {
            return Err(not_signed(e));
        }
        Err(_) => BTreeMap::new(),
    };
    let measured = measured?;
    let differences = match files.is_empty() {
        true => None,
        false => compare(cx, args, (&origin, &folder), statement, &measured)?,
    };
    files.extend(origin.differing_beside(statement)?);
    let verified = files.is_empty();
    if verified {
        accepted.remember()?;
    }
    let report = Verified {
        verified,
        name: statement.name.clone(),
        version: statement.version,
        root: newest.statement.root(),
        signed_records: statement.records(),
        kept_out: statement.records() - statement.readable(),
        unattributed: statement.unattributed(),
        bytes: statement.size(),
        signers: accepted.signers.iter().map(|key| key.key_id()).collect(),
        files,
        differences,
    };
    cx.out.report(&report, show)?;
    if verified {
        return Ok(Outcome::Done);
    }
    let text =
        format!("{} is not version {} of {:?} as it was signed", args.path.display(), report.version, report.name);
    Ok(Outcome::Refused(Error::new(ErrorId::DatasetChanged, text)))
}

/// Follows nothing.
pub(super) struct Nobody;

impl Follow for Nobody {
    fn records(&mut self, _: &str, _: &[Sha256], _: &[RecordKey]) -> Result<()> {
        Ok(())
    }
}

pub(super) fn differing(signed: &[Measured], found: &[Measured]) -> BTreeMap<String, &'static str> {
    let by_path = |files: &[Measured]| files.iter().map(|f| (f.path.clone(), f.clone())).collect::<BTreeMap<_, _>>();
    let (signed, found) = (by_path(signed), by_path(found));
    let mut differing = BTreeMap::new();
    for (path, file) in &signed {
        match found.get(path) {
            Some(same) if same.is_same(file) => {}
            // The records are what is trained on; other bytes around them are told all the same.
            Some(other) if (other.records, other.root) == (file.records, file.root) && other.records > 0 => {
                differing.insert(path.clone(), "other bytes, same records");
            }
            Some(_) => drop(differing.insert(path.clone(), "changed")),
            None => drop(differing.insert(path.clone(), "missing")),
        }
    }
    for path in found.keys().filter(|path| !signed.contains_key(*path)) {
        differing.insert(path.clone(), "added");
    }
    differing
}

/// Holds the records against the signed hashes, if these are there.
fn compare(
    cx: &Context<'_>,
    args: &DatasetVerify,
    (origin, folder): (&Origin<'_>, &Folder),
    statement: &model_vault::dataset::DatasetStatement,
    measured: &[Measured],
) -> Result<Option<Told>> {
    if args.by.is_some() {
        cx.out.message("note: hashes have no columns: --by counts for vault dataset diff OLD NEW");
    }
    let mut comparing = comparing();
    const NO_KEY: RecordKey = [0; 16];
    for file in statement.files.iter().filter(|f| f.records > 0) {
        let leaves = Leaves { place: origin, file: &file.path, size: file.records, root: file.root };
        let read = leaves.each(&mut |some| some.iter().try_for_each(|leaf| comparing.old(leaf, NO_KEY)));
        if let Err(e) = read {
            cx.out.message(format!("note: the records cannot be told apart: {e}"));
            return Ok(None);
        }
    }
    let mut follow = |_: &str, leaves: &[Sha256], _: &[RecordKey]| {
        leaves.iter().try_for_each(|leaf| comparing.new_one(leaf, NO_KEY))
    };
    let again = folder.measure(&statement.schema, None, threads(), &mut follow, &|_| {})?;
    if again != measured {
        return Err(Error::new(ErrorId::SourceChanged, "the dataset changed while it was read"));
    }
    let (signed, found) =
        (Version { files: &statement.files, folder: None }, Version { files: measured, folder: Some(folder) });
    told(comparing, &signed, &found).map(Some)
}

fn show(v: &Verified) -> String {
    if v.verified {
        return facts([
            ("verified", Some(format!("{} version {}", v.name, v.version))),
            ("content", Some(format!("{}, {}", count(v.signed_records, "record"), size(v.bytes)))),
            ("kept out", (v.kept_out > 0).then(|| count(v.kept_out, "record"))),
            ("root", Some(v.root.to_string())),
            ("signed by", Some(v.signers.iter().map(KeyId::short).collect::<Vec<_>>().join(", "))),
        ]);
    }
    let mut out = String::new();
    for (path, how) in v.files.iter().take(20) {
        out += &format!("{}: {how}\n", visible(path));
    }
    if v.files.len() > 20 {
        out += &format!("and {} (--json tells them)\n", count(v.files.len() as u64 - 20, "more file"));
    }
    out + &v.differences.as_ref().map(Told::show).unwrap_or_default()
}
