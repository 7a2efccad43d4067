//! `vault dataset diff`: what differs between two versions, record by record.

use std::path::Path;

use model_vault::Result;
use model_vault::dataset::{Comparing, Measured, RecordKey, Surveyor};
use model_vault::names::Sha256;

use super::origin::Origin;
use super::places::schema;
use super::told::{Version, comparing, told};
use crate::args::DatasetDiff;
use crate::command::{Context, Outcome, threads};
use crate::output::progress::Progress;

/// Compares.
pub fn run(cx: &Context<'_>, args: &DatasetDiff) -> Result<Outcome> {
    let folder = |path: &Path| Origin::find(cx, path, &args.daemon, true)?.folder(args.format);
    let (old_folder, new_folder) = (folder(&args.old)?, folder(&args.new)?);
    let (old, new) = (&old_folder, &new_folder);
    let bar = Progress::new("comparing", old.size() + new.size(), cx.out.json());
    let schema = match &args.schema {
        Some(file) => schema(file)?,
        // One schema for both: the same record has the same hash in either.
        None => {
            let mut surveyor = Surveyor::default();
            old.look(&mut surveyor, threads())?;
            new.look(&mut surveyor, threads())?;
            surveyor.schema()?
        }
    };
    let (mut comparison, by) = (comparing(), args.key.as_deref());
    let progress = |bytes| bar.more(bytes);
    let measure = |folder: &model_vault::dataset::Folder, comparison: &mut Comparing, side: Side| {
        let mut follow = |_: &str, leaves: &[Sha256], keys: &[RecordKey]| {
            let keys = keys.iter().copied().chain(std::iter::repeat([0; 16]));
            leaves.iter().zip(keys).try_for_each(|(leaf, key)| side(comparison, leaf, key))
        };
        folder.measure(&schema, by, threads(), &mut follow, &progress)
    };
    let old: Vec<Measured> = measure(old, &mut comparison, Comparing::old)?;
    let new: Vec<Measured> = measure(new, &mut comparison, Comparing::new_one)?;
    bar.done();
    let (old, new) =
        (Version { files: &old, folder: Some(&old_folder) }, Version { files: &new, folder: Some(&new_folder) });
    let told = told(comparison, &old, &new)?;
    cx.out.report(&told, super::told::Told::show)?;
    Ok(if told.is_same() { Outcome::Done } else { Outcome::Findings })
}

type Side = fn(&mut Comparing, &Sha256, RecordKey) -> Result<()>;
