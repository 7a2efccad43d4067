//! `vault dataset read`: the records of a signed dataset, each checked before it is handed on.

use std::cell::Cell;
use std::io::{self, Write};

use model_vault::Result;
use model_vault::dataset::{Reader, Receipt, write_line};
use model_vault::names::Sha256;
use serde::Serialize;

use super::origin::{Origin, Whole};
use super::seen::Accepted;
use crate::args::DatasetRead;
use crate::command::{Context, threads};
use crate::files::destination::{Destination, ORDINARY, PRIVATE, must_be_new, put_new};
use crate::files::{on, refuse_same};
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
    if args.output.as_os_str() != "-" {
        refuse_same(&args.path, &args.output)?;
    }
    args.receipt.iter().try_for_each(|file| must_be_new(&args.path, file))?;
    let origin = Origin::find(cx, &args.path, &args.daemon, !args.recent.no_state)?;
    let mut accepted = Accepted::of(cx, &origin, &args.believed, &args.recent)?;
    let newest = accepted.newest().clone();
    let statement = &newest.statement;
    let folder = origin.signed_folder()?;
    let place = Whole { folder: &folder, origin: &origin };
    let reader = Reader { statement, place: &place };
    // As `vault open` and `vault fetch` do: what is sealed is for nobody else's eyes.
    let mut out = Destination::open(&args.output, if origin.is_sealed() { PRIVATE } else { ORDINARY })?;
    let mut buffer = String::new();
    let gone = Cell::new(false);
    let failed = |e: io::Error| {
        gone.set(e.kind() == io::ErrorKind::BrokenPipe);
        on(&args.output)(e)
    };
    let read = reader.records(threads(), &mut |record| {
        write_line(record.schema, record.fields, &mut buffer)?;
        if buffer.len() >= BUFFER {
            out.write_all(buffer.as_bytes()).map_err(&failed)?;
            buffer.clear();
        }
        Ok(())
    });
    // What was checked leaves also when what follows it is bad.
    let rest = out.write_all(buffer.as_bytes()).and_then(|()| out.flush()).map_err(&failed);
    let read = match rest.and(read) {
        // Whoever read has seen what it wanted (`| head`); but that is not all of it.
        Err(_) if gone.get() && args.receipt.is_none() => return Ok(()),
        outcome => outcome?,
    };
    let to_stdout = out.is_stdout();
    out.finish(true)?;
    accepted.remember()?;
    if let Some(path) = &args.receipt {
        put_new(&args.path, path, Receipt::new(statement, newest.digest, &read).to_payload().as_bytes())?;
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
