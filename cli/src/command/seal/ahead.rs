//! What is found out about a dataset before the first of its parts is sealed, which may take hours: whether a statement is about these files,
//! by their names and sizes. The vault compares what they hold when all are there.

use std::collections::BTreeMap;

use model_vault::dataset::{DatasetStatement, Format};
use model_vault::manifest::DATASET_NAME;
use model_vault::{Error, ErrorId, Result};

use super::parts::Split;
use crate::command::dataset::Statements;

/// Refuses files that no statement is about.
///
/// # Errors
/// `BundleMalformed` for a `dataset.sig` without a statement; `DatasetChanged`.
pub fn must_agree(split: &Split, text: &[u8]) -> Result<()> {
    let bundles = Statements::of(DATASET_NAME.into(), text)?.bundles;
    let mut statements: Vec<_> =
        bundles.iter().filter_map(|b| DatasetStatement::from_payload(&b.payload).ok()).collect();
    statements.sort_by_key(|statement| std::cmp::Reverse(statement.version));
    let Some(newest) = statements.first() else {
        let text = format!("{DATASET_NAME}: there is no statement in it");
        return Err(Error::new(ErrorId::BundleMalformed, text).hint("sign the dataset again: vault dataset sign PATH"));
    };
    let Some(why) = other(newest, split) else { return Ok(()) };
    if statements.iter().skip(1).any(|statement| other(statement, split).is_none()) {
        // The vault says which of them counts.
        return Ok(());
    }
    let text = format!("the files are not those that {DATASET_NAME} is about: {why}");
    Err(Error::new(ErrorId::DatasetChanged, text).hint(
        "vault dataset verify PATH names all that differs; or seal it all the same: --allow unsigned --reason TEXT",
    ))
}

/// The first thing that is other than a statement says; none if nothing is.
fn other(statement: &DatasetStatement, split: &Split) -> Option<String> {
    let (images, files): (Vec<_>, Vec<_>) = statement.files.iter().partition(|f| f.format == Format::Images);
    let mut expected: BTreeMap<&str, u64> = files.iter().map(|file| (&*file.path, file.size)).collect();
    let (mut count, mut size) = (0, 0_u64);
    for source in split.parts.iter().flatten() {
        match expected.remove(&*source.path) {
            Some(signed) if signed == source.size => {}
            Some(signed) => return Some(format!("{} has {} bytes, not {signed}", source.path, source.size)),
            None if !images.is_empty() && Format::of_name(&source.path) == Some(Format::Images) => {
                (count, size) = (count + 1, size + source.size);
            }
            None => return Some(format!("{} was not signed", source.path)),
        }
    }
    if let Some(path) = expected.keys().next() {
        return Some(format!("{path} is missing"));
    }
    let signed = images.first().map_or((0, 0), |all| (all.records, all.size));
    ((count, size) != signed)
        .then(|| format!("{count} images of {size} bytes together, and {} of {} bytes were signed", signed.0, signed.1))
}
