//! Who supplied each record of a signed dataset, and which records that keeps out.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use model_vault::Result;
use model_vault::crypto::hash::sha256;
use model_vault::dataset::{Beside, CONTRIBUTORS, Contributor, DatasetStatement, Leaves, Measured, Runs};
use model_vault::names::Sha256;

use super::places::Places;
use crate::files::signature::put;
use crate::files::{on, read_small};

/// What [`CONTRIBUTORS`] was while it is replaced.
const OLD: &str = "contributors.old";

/// Shows hash and supplier of every record of a file, in order: numbered as in the statement, 0 is nobody.
///
/// # Errors
/// `DatasetChanged` where what lies beside the file is not what was signed; those of `each`.
pub fn each_record(
    beside: &dyn Beside,
    statement: &DatasetStatement,
    file: &Measured,
    each: &mut dyn FnMut(&Sha256, u32) -> Result<()>,
) -> Result<()> {
    let runs = match statement.attribution.files.get(&file.path) {
        Some(signed) => {
            let text = beside.beside(&file.path, CONTRIBUTORS, Runs::most(file.records))?;
            let contributors = statement.attribution.contributors.len();
            Runs::from_text(&text, signed, file.records, contributors).map_err(|e| e.on(&file.path))?
        }
        None => Runs::default(),
    };
    let mut by = runs.0.iter().flat_map(|run| std::iter::repeat_n(run.by, run.count as usize));
    let leaves = Leaves { place: beside, file: &file.path, size: file.records, root: file.root };
    leaves.each(&mut |some| some.iter().try_for_each(|leaf| each(leaf, by.next().unwrap_or(0))))
}

/// The hashes of all records that a version keeps out, and the number of the contributor whom they are kept out for among those of now.
/// They stay out wherever they stand, and whoever attests them: what is trained on is the record, not its supplier.
///
/// # Errors
/// As [`each_record`].
pub fn kept_out(
    beside: &dyn Beside,
    statement: &DatasetStatement,
    now: &[Contributor],
) -> Result<HashMap<Sha256, u32>> {
    let attribution = &statement.attribution;
    let number = |by: u32| {
        let name = &attribution.contributors.get((by as usize).checked_sub(1)?)?.name;
        now.iter().position(|c| c.name == *name).map(|at| at as u32 + 1)
    };
    let mut out = HashMap::new();
    if attribution.excluded.is_empty() {
        return Ok(out);
    }
    // Looked up once a contributor, not once a record.
    let numbers: Vec<_> = (0..=attribution.contributors.len() as u32)
        .map(|by| if attribution.keeps_out(by) { number(by) } else { None })
        .collect();
    for file in statement.files.iter().filter(|f| f.records > 0) {
        each_record(beside, statement, file, &mut |leaf, by| {
            out.extend(numbers.get(by as usize).copied().flatten().map(|number| (*leaf, number)));
            Ok(())
        })?;
    }
    Ok(out)
}

/// Puts lists of suppliers in the place of those that were signed, which are kept until the statement is there as well.
///
/// # Errors
/// Those of the file system.
pub fn replace(places: &Places, lists: &[(String, String)]) -> Result<()> {
    lists.iter().try_for_each(|(file, text)| {
        let (now, old) = both(places, file);
        fs::copy(&now, &old).map_err(on(&old))?;
        put(&now, text.as_bytes())
    })
}

/// Ends what [`replace`] began: of the two lists of a file the one stays that this statement signed. To be called when the statement
/// is there, and before anything is signed: whoever replaced them may have been killed in between.
///
/// # Errors
/// Those of the file system.
pub fn settle(places: &Places, statement: &DatasetStatement) -> Result<()> {
    for file in &statement.files {
        let (now, old) = both(places, &file.path);
        let Ok(text) = read_small(&old, Runs::most(file.records)) else { continue };
        let is_signed = statement.attribution.files.get(&file.path) == Some(&sha256(&text));
        if is_signed { fs::rename(&old, &now) } else { fs::remove_file(&old) }.map_err(on(&old))?;
    }
    Ok(())
}

fn both(places: &Places, file: &str) -> (PathBuf, PathBuf) {
    let dir = places.records.join(file);
    (dir.join(CONTRIBUTORS), dir.join(OLD))
}
