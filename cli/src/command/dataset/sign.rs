//! `vault dataset sign`: the next version of a dataset, all records of it.

use std::path::PathBuf;

use model_vault::dataset::{Chain, DatasetStatement, LeafWriter};
use model_vault::names::{Clock, KeyId, Sha256, SystemClock};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::places::{Places, schema};
use crate::args::DatasetSign;
use crate::command::identity::Signers;
use crate::command::{Context, threads};
use crate::files::on;
use crate::files::signature::put;
use crate::output::progress::Progress;
use crate::output::table::facts;
use crate::output::text::{count, size};

/// The JSON document of `vault dataset sign`.
#[derive(Debug, Serialize)]
struct Signed {
    name: String,
    version: u64,
    root: Sha256,
    records: u64,
    files: u64,
    bytes: u64,
    statement: PathBuf,
    signers: Vec<KeyId>,
}

/// Signs.
pub fn run(cx: &Context<'_>, args: &DatasetSign) -> Result<()> {
    let places = Places::of(&args.path)?;
    let signers = Signers::named(cx, &args.key, args.identity.as_ref())?;
    // The version before is one that these very signers signed: nobody else's statement is built upon.
    let bundles = places.bundles()?;
    let own: Vec<_> = bundles.iter().filter(|b| signers.public().any(|key| b.verify(key).is_ok())).collect();
    if own.is_empty() && !bundles.is_empty() {
        let text = format!("{} has versions that other keys signed", places.statement.display());
        return Err(Error::new(ErrorId::AlreadyExists, text)
            .hint("sign with the key of the versions before, or move the file away and begin anew"));
    }
    let before = match own.is_empty() {
        true => None,
        false => Some(Chain::of(own.iter().map(|b| &*b.payload)).map_err(|e| e.on(places.statement.display()))?),
    };
    let before = before.as_ref().map(Chain::newest);
    let folder = places.folder(&args.path, args.format)?;
    let bar = Progress::new("hashing", folder.size(), cx.out.json());
    let schema = match (&args.schema, before) {
        (Some(file), _) => schema(file)?,
        (None, Some(before)) => before.statement.schema.clone(),
        (None, None) => folder.survey(threads())?,
    };
    // Beside the old ones until all is measured.
    let fresh = places.records.with_extension("tree.new");
    let _ = std::fs::remove_dir_all(&fresh);
    // Files come one after the other: one tree is open at a time.
    let mut open: Option<(String, LeafWriter)> = None;
    let mut keep = |file: &str, leaves: &[Sha256], _: &[_]| {
        let (_, writer) = match open.take() {
            Some(same) if same.0 == file => open.insert(same),
            before => {
                before.map_or(Ok(()), |(_, done)| done.finish())?;
                open.insert((file.into(), LeafWriter::create(&fresh.join(file))?))
            }
        };
        writer.push(leaves)
    };
    let measured = folder.measure(&schema, None, threads(), &mut keep, &|bytes| bar.more(bytes));
    let files = measured.map_err(|e| match (e.id(), before) {
        (ErrorId::DatasetChanged | ErrorId::RecordInvalid, Some(_)) if args.schema.is_none() => {
            e.hint("version 1 fixed the columns and their types; name others with --schema FILE")
        }
        _ => e,
    });
    let files = files.inspect_err(|_| drop(std::fs::remove_dir_all(&fresh)))?;
    open.map_or(Ok(()), |(_, last)| last.finish())?;
    bar.done();
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
        files,
        sources: args.source.clone(),
        licence: args.licence.clone(),
    };
    if let Some(before) = before.filter(|b| b.statement.root() == statement.root()) {
        cx.out.message(format!("note: the records and files are those of version {}", before.statement.version));
    }
    let payload = statement.to_payload().into_bytes();
    DatasetStatement::from_payload(&payload)
        .map_err(|e| e.hint("a name, source or licence has 1 to 4096 bytes; paths are plain"))?;
    let made = signers.sign(cx, &payload, None)?;
    let all: Vec<_> = bundles.iter().chain(made.iter().map(|s| &s.bundle)).cloned().collect();
    let text = Places::with(&all)?;
    // Hashes first: a statement never lies beside hashes that are older than it.
    let _ = std::fs::remove_dir_all(&places.records);
    if fresh.exists() {
        std::fs::rename(&fresh, &places.records).map_err(on(&places.records))?;
    }
    put(&places.statement, &text)?;
    let signed = Signed {
        version: statement.version,
        root: statement.root(),
        records: statement.records(),
        files: statement.files.len() as u64,
        bytes: statement.size(),
        name: statement.name,
        statement: places.statement,
        signers: made.iter().map(|s| s.key.key_id()).collect(),
    };
    cx.out.report(&signed, |s| {
        facts([
            ("signed", Some(format!("{} version {}", s.name, s.version))),
            (
                "content",
                Some(format!("{} in {}, {}", count(s.records, "record"), count(s.files, "file"), size(s.bytes))),
            ),
            ("root", Some(s.root.to_string())),
            ("statement", Some(s.statement.display().to_string())),
            ("signed by", Some(s.signers.iter().map(KeyId::short).collect::<Vec<_>>().join(", "))),
        ])
    })
}
