//! What lies beside the files of a signed dataset: all that its statement calls for, as it was signed, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use model_vault::crypto::hash::sha256;
use model_vault::dataset::{Beside, CONTRIBUTORS, DatasetStatement, Leaves, Measured, PIECES, Pieces, Runs, Sidecars};
use model_vault::files::{Ignored, Links, ModelFiles};
use model_vault::{ErrorId, Result};

use super::places::{Places, not_signed};

/// Files that are named: whoever puts more there is told enough.
const MOST: usize = 10_000;

/// Files that are not what was signed, with how, by their path as it is told.
pub type Differing = BTreeMap<String, &'static str>;

/// What differs there.
///
/// # Errors
/// `DatasetChanged` for links and pipes; those of the file system.
pub fn differing(places: &Places, statement: &DatasetStatement) -> Result<Differing> {
    let mut differing = Differing::new();
    let mut sidecars = Sidecars::of(statement);
    walk(&places.records, &mut differing, &mut |path| sidecars.calls_for(path))?;
    // What a signing that was broken off leaves is gone with the next one; until then anything can be hidden in it.
    if let Some(unfinished) = places.unfinished() {
        walk(&unfinished, &mut differing, &mut |_| false)?;
    }
    let told = |path: &str| within(&places.records, path);
    let missing: Differing = sidecars.missing().take(MOST).map(|path| (told(&path), "missing")).collect();
    for file in &statement.files {
        for what in [PIECES, CONTRIBUTORS, "tile"] {
            let path = told(&format!("{}/{what}", file.path));
            if !missing.contains_key(&path) && differing.len() < MOST && !is_signed(places, statement, file, what) {
                differing.insert(path, "changed");
            }
        }
    }
    differing.extend(missing);
    Ok(differing)
}

fn is_signed(places: &Places, statement: &DatasetStatement, file: &Measured, what: &str) -> bool {
    let beside = |most: u64| places.beside(&file.path, what, most).ok();
    match what {
        PIECES => beside(Pieces::most(file.size)).is_some_and(|text| sha256(&text) == file.pieces),
        CONTRIBUTORS => statement
            .attribution
            .files
            .get(&file.path)
            .is_none_or(|signed| beside(Runs::most(file.records)).is_some_and(|text| sha256(&text) == *signed)),
        _ => {
            let leaves = Leaves { place: places, file: &file.path, size: file.records, root: file.root };
            file.records == 0 || leaves.each(&mut |_| Ok(())).is_ok()
        }
    }
}

fn walk(dir: &Path, differing: &mut Differing, is_called_for: &mut dyn FnMut(&str) -> bool) -> Result<()> {
    if dir.symlink_metadata().is_err() {
        return Ok(());
    }
    let found = ModelFiles::find_if(dir, &Ignored::default(), Links::Refuse, &mut |entry| {
        if !is_called_for(&entry.path) && differing.len() < MOST {
            differing.insert(within(dir, &entry.path), "added");
        }
        false
    });
    found.map(drop).map_err(|e| match e.id() {
        ErrorId::InvalidArgument => not_signed(&e),
        _ => e,
    })
}

/// Relative to the dataset.
fn within(dir: &Path, path: &str) -> String {
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{name}/{path}")
}
