//! `vault dataset read`: the records of a signed dataset, each checked before it is handed on.

use std::io::Write;

use model_vault::Result;
use model_vault::dataset::{Reader, Receipt, write_line};
use model_vault::names::Sha256;
use serde::Serialize;

use super::disk::Disk;
use super::places::Places;
use super::seen::Accepted;
use crate::args::DatasetRead;
use crate::command::{Context, threads};
use crate::files::destination::{Destination, ORDINARY};
use crate::files::on;
use crate::files::signature::put;
use crate::output::table::facts;
use crate::output::text::count;

/// Text that is written at once.
const BUFFER: usize = 1 << 16;

/// The JSON document of `vault dataset read`.
#[derive(Debug, Serialize)]
struct Handed {
    name: String,
    version: u64,
    root: Sha256,
    /// Records that were handed on.
    records: u64,
    /// Records by contributors who are kept out.
    kept_out: u64,
    read_set: Sha256,
}

/// Reads.
pub fn run(cx: &Context<'_>, args: &DatasetRead) -> Result<()> {
    let places = Places::of(&args.path)?;
    let mut accepted = Accepted::of(cx, &args.path, &places, &args.believed, &args.recent)?;
    let newest = accepted.newest().clone();
    let statement = &newest.statement;
    let folder = places.folder(&args.path, None)?;
    let disk = Disk { folder: &folder, places: &places };
    let reader = Reader { statement, place: &disk };
    let mut out = Destination::open(&args.output, ORDINARY)?;
    let mut buffer = String::new();
    let failed = on(&args.output);
    let read = reader.records(threads(), &mut |record| {
        write_line(record.schema, record.fields, &mut buffer)?;
        if buffer.len() >= BUFFER {
            out.write_all(buffer.as_bytes()).map_err(&failed)?;
            buffer.clear();
        }
        Ok(())
    });
    // What was checked leaves also when what follows it is bad.
    out.write_all(buffer.as_bytes()).and_then(|()| out.flush()).map_err(&failed)?;
    let read = read?;
    let to_stdout = out.is_stdout();
    out.finish(true)?;
    accepted.remember()?;
    if let Some(path) = &args.receipt {
        put(path, Receipt::new(statement, newest.digest, &read).to_payload().as_bytes())?;
    }
    let handed = Handed {
        name: statement.name.clone(),
        version: statement.version,
        root: statement.root(),
        records: read.records,
        kept_out: statement.records() - statement.readable(),
        read_set: read.digest(),
    };
    let told = |h: &Handed| {
        facts([
            ("verified", Some(format!("{} version {}", h.name, h.version))),
            ("handed on", Some(count(h.records, "record"))),
            ("kept out", (h.kept_out > 0).then(|| count(h.kept_out, "record"))),
        ])
    };
    if to_stdout {
        // The records are what standard output is for.
        cx.out.message(told(&handed).trim_end().to_owned());
        return Ok(());
    }
    cx.out.report(&handed, told)
}
