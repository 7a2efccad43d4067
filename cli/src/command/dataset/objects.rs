//! `vault dataset objects`: whether what lies behind a signed table of names or URLs is still what its curator saw.
//!
//! A list of URLs stays as it is while somebody else serves other content (split view: Carlini et al., arXiv 2302.10149). A digest for each object,
//! made when the list was curated and signed with it, is what tells.

use std::io::Write;
use std::path::Path;

use model_vault::dataset::{Field, Reader, Schema, fields, write_line};
use model_vault::files::{Ignored, Links, ModelFiles};
use model_vault::names::Sha256;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::disk::Disk;
use super::places::Places;
use super::seen::Accepted;
use crate::args::DatasetObjects;
use crate::command::{Context, Outcome, threads};
use crate::files::destination::{Destination, ORDINARY};
use crate::files::{on, sha256_of};
use crate::output::table::facts;
use crate::output::text::{count, visible};

/// Objects that are named one by one.
const MOST: usize = 100_000;
/// Of these in the terminal.
const SHOWN: usize = 20;

/// The JSON document of `vault dataset objects`.
#[derive(Debug, Serialize)]
struct Checked {
    name: String,
    version: u64,
    /// What their curator saw.
    verified: u64,
    changed: u64,
    missing: u64,
    /// Those that are not verified; the first hundred thousand.
    objects: Vec<Object>,
}

#[derive(Debug, Serialize)]
struct Object {
    record: u64,
    object: String,
    state: &'static str,
}

/// Checks each object.
pub fn run(cx: &Context<'_>, args: &DatasetObjects) -> Result<Outcome> {
    let places = Places::of(&args.path)?;
    let mut accepted = Accepted::of(cx, &args.path, &places, &args.believed, &args.recent)?;
    let statement = accepted.newest().statement.clone();
    let (object, digest) = (column(&statement.schema, &args.object)?, column(&statement.schema, &args.sha256)?);
    let (folder, objects) =
        (places.folder(&args.path, None)?, ModelFiles::find(&args.dir, &Ignored::default(), Links::Refuse)?);
    let disk = Disk { folder: &folder, places: &places };
    let mut good = args.good.as_ref().map(|path| Destination::open(path, ORDINARY)).transpose()?;
    let mut checked = Checked {
        name: statement.name.clone(),
        version: statement.version,
        verified: 0,
        changed: 0,
        missing: 0,
        objects: Vec::new(),
    };
    let (mut line, failed) = (String::new(), on(args.good.as_deref().unwrap_or(&args.path)));
    Reader { statement: &statement, place: &disk }.records(threads(), &mut |record| {
        if *record.schema != statement.schema {
            // Images beside the table are not what it lists.
            return Ok(());
        }
        let (named, signed) = (text(record.fields, object), text(record.fields, digest));
        let (Some(named), Some(signed)) = (named, signed.and_then(|s| s.to_ascii_lowercase().parse::<Sha256>().ok()))
        else {
            let text = format!("{} record {}: no object or no SHA-256 in it", visible(record.file), record.number);
            return Err(
                Error::new(ErrorId::RecordInvalid, text).hint("--object and --sha256 name the columns that have them")
            );
        };
        let state = state(&objects, named, &signed)?;
        match state {
            None => {
                checked.verified += 1;
                if let Some(good) = &mut good {
                    line.clear();
                    write_line(&statement.schema, record.fields, &mut line)?;
                    good.write_all(line.as_bytes()).map_err(&failed)?;
                }
                return Ok(());
            }
            Some("missing") => checked.missing += 1,
            Some(_) => checked.changed += 1,
        }
        if checked.objects.len() < MOST {
            checked.objects.extend(state.map(|state| Object { record: record.number, object: named.into(), state }));
        }
        Ok(())
    })?;
    good.map_or(Ok(()), |good| good.finish(true))?;
    accepted.remember()?;
    cx.out.report(&checked, show)?;
    Ok(if checked.changed + checked.missing == 0 { Outcome::Done } else { Outcome::Findings })
}

/// What is wrong with an object; `None`: nothing.
fn state(objects: &ModelFiles, named: &str, signed: &Sha256) -> Result<Option<&'static str>> {
    // In the order of their paths.
    let Ok(at) = objects.entries().binary_search_by(|entry| entry.path.as_str().cmp(named)) else {
        return Ok(Some("missing"));
    };
    let mut file = objects.open(&objects.entries()[at])?;
    let found = sha256_of(&mut file).map_err(on(Path::new(named)))?;
    Ok(if found == *signed { None } else { Some("changed") })
}

fn column(schema: &Schema, name: &str) -> Result<usize> {
    schema.columns().iter().position(|c| c.name == name).ok_or_else(|| {
        let names: Vec<_> = schema.columns().iter().map(|c| &*c.name).collect();
        Error::new(ErrorId::InvalidArgument, format!("no column is named {name:?}"))
            .hint(format!("columns: {}", names.join(", ")))
    })
}

fn text(record: &[u8], column: usize) -> Option<&str> {
    match fields(record).nth(column)? {
        Ok(Field::Text(text)) => Some(text),
        _ => None,
    }
}

fn show(c: &Checked) -> String {
    let mut out = facts([
        ("table", Some(format!("{} version {}", c.name, c.version))),
        ("verified", Some(count(c.verified, "object"))),
        ("changed", (c.changed > 0).then(|| count(c.changed, "object"))),
        ("missing", (c.missing > 0).then(|| count(c.missing, "object"))),
    ]);
    for object in c.objects.iter().take(SHOWN) {
        out += &format!("  {} {}\n", object.state, visible(&object.object));
    }
    if c.objects.len() > SHOWN {
        out += &format!("  and {} (--json tells them)\n", count((c.objects.len() - SHOWN) as u64, "more"));
    }
    out
}
