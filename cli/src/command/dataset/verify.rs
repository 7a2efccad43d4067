//! `vault dataset verify`: whether a dataset is what was signed, and if not, which records differ.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model_vault::dataset::{Leaves, Measured, RecordKey, VersionSeen};
use model_vault::names::{Clock, KeyId, Sha256, SystemClock};
use model_vault::{Error, ErrorId, Result};
use serde::{Deserialize, Serialize};

use super::places::Places;
use super::told::{Told, comparing, told};
use crate::args::DatasetVerify;
use crate::command::{Context, Outcome, threads};
use crate::files::signature::put;
use crate::files::{on, read_small};
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
    let places = Places::of(&args.path)?;
    let (chain, signers) = places.chain(cx, &args.believed)?;
    let newest = chain.newest();
    let statement = &newest.statement;
    let mut state = if args.no_state { None } else { Some(State::read()?) };
    let names: Vec<_> = signers.iter().map(|key| format!("{} {}", key.key_id(), statement.name)).collect();
    let seen = state.as_ref().and_then(|s| names.iter().filter_map(|name| s.seen(name)).max_by_key(|s| s.version));
    chain.accept(seen, args.min_version, SystemClock.now()).map_err(|e| e.on(args.path.display()))?;

    let folder = places.folder(&args.path, None)?;
    let bar = Progress::new("verifying", folder.size(), cx.out.json());
    let measured = folder.measure(&statement.schema, None, threads(), &mut |_, _, _| Ok(()), &|bytes| bar.more(bytes));
    bar.done();
    let files = match &measured {
        Ok(measured) => differing(&statement.files, measured),
        // Whatever it is, it was not signed: records that were can be read.
        Err(e) if matches!(e.id(), ErrorId::RecordInvalid | ErrorId::DatasetChanged) => {
            let text = format!("it is not what was signed: {}", e.message());
            return Err(Error::new(ErrorId::DatasetChanged, text));
        }
        Err(_) => BTreeMap::new(),
    };
    let measured = measured?;
    let verified = files.is_empty();
    let differences = match verified {
        true => None,
        false => compare(cx, args, &places, statement, &measured)?,
    };
    if let Some(state) = state.as_mut().filter(|_| verified) {
        state.raise(&names, VersionSeen { version: statement.version, digest: newest.digest })?;
    }
    let report = Verified {
        verified,
        name: statement.name.clone(),
        version: statement.version,
        root: newest.statement.root(),
        signed_records: statement.records(),
        bytes: statement.size(),
        signers: signers.iter().map(|key| key.key_id()).collect(),
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

fn differing(signed: &[Measured], found: &[Measured]) -> BTreeMap<String, &'static str> {
    let by_path = |files: &[Measured]| files.iter().map(|f| (f.path.clone(), f.clone())).collect::<BTreeMap<_, _>>();
    let (signed, found) = (by_path(signed), by_path(found));
    let mut differing = BTreeMap::new();
    for (path, file) in &signed {
        match found.get(path) {
            Some(same) if same == file => {}
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
    places: &Places,
    statement: &model_vault::dataset::DatasetStatement,
    measured: &[Measured],
) -> Result<Option<Told>> {
    if args.by.is_some() {
        cx.out.message("note: hashes have no columns: --by counts for vault dataset diff OLD NEW");
    }
    let mut comparing = comparing();
    const NO_KEY: RecordKey = [0; 16];
    for file in statement.files.iter().filter(|f| f.records > 0) {
        let dir = places.records_of(&file.path);
        let leaves = Leaves { dir: &dir, size: file.records, root: file.root };
        let read = leaves.each(&mut |some| some.iter().try_for_each(|leaf| comparing.old(leaf, NO_KEY)));
        if let Err(e) = read {
            cx.out.message(format!("note: the records cannot be told apart: {e}"));
            return Ok(None);
        }
    }
    let folder = places.folder(&args.path, None)?;
    let mut follow = |_: &str, leaves: &[Sha256], _: &[RecordKey]| {
        leaves.iter().try_for_each(|leaf| comparing.new_one(leaf, NO_KEY))
    };
    let again = folder.measure(&statement.schema, None, threads(), &mut follow, &|_| {})?;
    if again != measured {
        return Err(Error::new(ErrorId::SourceChanged, "the dataset changed while it was read"));
    }
    told(comparing, &statement.files, measured).map(Some)
}

fn show(v: &Verified) -> String {
    if v.verified {
        return facts([
            ("verified", Some(format!("{} version {}", v.name, v.version))),
            ("content", Some(format!("{}, {}", count(v.signed_records, "record"), size(v.bytes)))),
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

/// Which versions were seen on this machine.
struct State {
    file: PathBuf,
    seen: BTreeMap<String, SeenRow>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SeenRow {
    version: u64,
    digest: String,
}

impl State {
    fn read() -> Result<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        let base = base.ok_or_else(|| {
            Error::new(ErrorId::InvalidArgument, "no directory for the record of versions seen is known")
                .hint("set XDG_STATE_HOME, or give --no-state")
        })?;
        let directory = base.join("modelvault");
        std::fs::create_dir_all(&directory).map_err(|e| {
            Error::from(e)
                .on(directory.display())
                .hint("set XDG_STATE_HOME to a writable directory, or give --no-state")
        })?;
        let file = directory.join("datasets-seen.json");
        if !file.exists() {
            return Ok(Self { file, seen: BTreeMap::new() });
        }
        let text = read_small(&file, 16 << 20).map_err(on(&file))?;
        let seen = serde_json::from_slice(&text).map_err(|e| damaged(&file, &e.to_string()))?;
        Ok(Self { file, seen })
    }

    fn seen(&self, name: &str) -> Option<VersionSeen> {
        let row = self.seen.get(name)?;
        Some(VersionSeen { version: row.version, digest: row.digest.parse().ok()? })
    }

    fn raise(&mut self, names: &[String], to: VersionSeen) -> Result<()> {
        for name in names {
            self.seen.insert(name.clone(), SeenRow { version: to.version, digest: to.digest.to_string() });
        }
        let text = serde_json::to_vec_pretty(&self.seen).map_err(|e| damaged(&self.file, &e.to_string()))?;
        put(&self.file, &text)
    }
}

fn damaged(file: &Path, why: &str) -> Error {
    Error::new(ErrorId::ConfigInvalid, format!("{}: {why}", file.display()))
        .hint("it says which versions were seen before; remove it only if you know why it is damaged")
}
