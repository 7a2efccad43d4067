//! Who attests which records of a signed dataset: what its statement says, if it is about the files that are there.

use model_vault::dataset::detect::Attested;
use model_vault::dataset::{Beside, CONTRIBUTORS, Folder, Measured, Runs};
use model_vault::{Error, ErrorId, Result};

use super::super::origin::Origin;
use super::super::seen::Accepted;
use super::super::verify::{Nobody, differing};
use crate::args::{Believed, Recent};
use crate::command::{Context, threads};
use crate::output::progress::Progress;

/// Of the newest version by whoever is believed; none if nobody is, or no contributors were signed.
///
/// # Errors
/// Those of [`Accepted::of`]; `DatasetChanged` for other files than were signed, or another list of who supplied what.
pub fn attested(
    cx: &Context<'_>,
    (origin, folder): (&Origin<'_>, &Folder),
    believed: &Believed,
) -> Result<Option<Attested>> {
    if believed.key.is_empty() && believed.trust.is_empty() {
        return Ok(None);
    }
    let recent = Recent { min_version: None, min_age: None, no_state: false };
    let accepted = Accepted::of(cx, origin, believed, &recent)?;
    let statement = &accepted.newest().statement;
    let attribution = &statement.attribution;
    if attribution.contributors.is_empty() {
        cx.out.message(format!("note: version {} names no contributors", statement.version));
        return Ok(None);
    }
    // Who supplied a record is said by its number: that means something only of what was signed.
    let bar = Progress::new("verifying", folder.size(), cx.out.json());
    let measured = folder.measure(&statement.schema, None, threads(), &mut Nobody, &|bytes| bar.more(bytes))?;
    bar.done();
    if let Some((file, _)) = differing(&statement.files, &measured).into_iter().next() {
        let text = format!("{file}: it is not what was signed, so it is not known who supplied its records");
        return Err(Error::new(ErrorId::DatasetChanged, text)
            .hint("vault dataset verify tells what differs; without --key and --trust a scan asks for no signature"));
    }
    let runs = |file: &Measured| {
        let signed = attribution.files.get(&file.path)?;
        let runs = origin
            .beside(&file.path, CONTRIBUTORS, Runs::most(file.records))
            .and_then(|text| Runs::from_text(&text, signed, file.records, attribution.contributors.len()));
        Some(runs.map(|runs| (file.path.clone(), runs)).map_err(|e| e.on(&file.path)))
    };
    Ok(Some(Attested {
        contributors: attribution.contributors.iter().map(|c| c.name.clone()).collect(),
        files: statement.files.iter().filter_map(runs).collect::<Result<_>>()?,
    }))
}
