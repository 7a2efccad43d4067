//! `vault dataset objects`: whether what lies behind a signed table of names or URLs is still what its curator saw.
//!
//! A list of URLs stays as it is while somebody else serves other content (split view: Carlini et al., arXiv 2302.10149). A digest for each object,
//! made when the list was curated and signed with it, is what tells.

use std::io::Write;
use std::path::Path;

use model_vault::dataset::{Field, Reader, Schema, fields, write_line};
use model_vault::names::Sha256;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::origin::{Origin, Whole};
use super::seen::Accepted;
use crate::args::DatasetObjects;
use crate::command::{Context, Outcome, threads};
use crate::files::beneath::{Beneath, Named};
use crate::files::destination::{Destination, ORDINARY, must_be_new};
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
    /// Links and such, and names that lead out of the directory: nothing is read there.
    refused: u64,
    /// Rows without an object or a SHA-256.
    without_digest: u64,
    /// Those that are not verified; the first hundred thousand.
    objects: Vec<Object>,
}

#[derive(Debug, Serialize)]
struct Object {
    file: String,
    record: u64,
    object: String,
    state: &'static str,
}

/// Checks each object.
pub fn run(cx: &Context<'_>, args: &DatasetObjects) -> Result<Outcome> {
    let origin = Origin::find(cx, &args.path, &args.daemon, !args.recent.no_state)?;
    let mut accepted = Accepted::of(cx, &origin, &args.believed, &args.recent)?;
    let statement = accepted.newest().statement.clone();
    let (object, digest) = (column(&statement.schema, &args.object)?, column(&statement.schema, &args.sha256)?);
    let (folder, objects) = (origin.signed_folder()?, Beneath::open(&args.dir)?);
    if let Some(good) = &args.good {
        must_be_new(&args.path, good)?;
    }
    let place = Whole { folder: &folder, origin: &origin };
    let mut good = args.good.as_ref().map(|path| Destination::open(path, ORDINARY)).transpose()?;
    let mut checked = Checked {
        name: statement.name.clone(),
        version: statement.version,
        verified: 0,
        changed: 0,
        missing: 0,
        refused: 0,
        without_digest: 0,
        objects: Vec::new(),
    };
    let (mut line, failed) = (String::new(), on(args.good.as_deref().unwrap_or(&args.path)));
    Reader { statement: &statement, place: &place }.records(threads(), &mut |record| {
        if *record.schema != statement.schema {
            // Images beside the table are not what it lists.
            return Ok(());
        }
        let (named, signed) = (text(record.fields, object), text(record.fields, digest));
        let signed = signed.and_then(|s| s.to_ascii_lowercase().parse::<Sha256>().ok());
        let state = match (named, signed) {
            (Some(named), Some(signed)) => state(&objects, named, &signed)?,
            _ => Some("without digest"),
        };
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
            Some("refused") => checked.refused += 1,
            Some("without digest") => checked.without_digest += 1,
            Some(_) => checked.changed += 1,
        }
        if checked.objects.len() < MOST {
            let (file, object) = (record.file.to_owned(), named.unwrap_or_default().to_owned());
            checked.objects.extend(state.map(|state| Object { file, record: record.number, object, state }));
        }
        Ok(())
    })?;
    good.map_or(Ok(()), |good| good.finish(true))?;
    accepted.remember()?;
    cx.out.report(&checked, show)?;
    Ok(if checked.objects.is_empty() { Outcome::Done } else { Outcome::Findings })
}

/// What is wrong with an object; `None`: nothing.
fn state(objects: &Beneath, named: &str, signed: &Sha256) -> Result<Option<&'static str>> {
    let failed = on(Path::new(named));
    Ok(match objects.named(named).map_err(&failed)? {
        Named::Missing => Some("missing"),
        Named::Refused => Some("refused"),
        Named::File(mut file) => (sha256_of(&mut file).map_err(&failed)? != *signed).then_some("changed"),
    })
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
        ("refused", (c.refused > 0).then(|| format!("{}: links, or no files", count(c.refused, "object")))),
        ("no SHA-256", (c.without_digest > 0).then(|| count(c.without_digest, "record"))),
    ]);
    for object in c.objects.iter().take(SHOWN) {
        let place = format!("{} record {}", visible(&object.file), object.record);
        out += &format!("  {} {} ({place})\n", object.state, visible(&object.object));
    }
    if c.objects.len() > SHOWN {
        out += &format!("  and {} (--json tells them)\n", count((c.objects.len() - SHOWN) as u64, "more"));
    }
    out
}
