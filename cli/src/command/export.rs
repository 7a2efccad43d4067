//! `vault export`: an artifact's sealed bytes, still encrypted.

use std::io::Write;
use std::path::{Path, PathBuf};

use model_vault::facts::VersionFacts;
use model_vault::vault::Export;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::{Context, show};
use crate::args;
use crate::files::destination::{Destination, ORDINARY};
use crate::output::progress::Progress;
use crate::output::text;
use crate::session::Access;

/// Bytes moved at a time.
const PIECE_LEN: u64 = 1 << 20;

/// The JSON document of `vault export`.
#[derive(Debug, Serialize)]
struct Exported {
    version: VersionFacts,
    output: PathBuf,
    /// Bytes of the sealed file.
    bytes: u64,
}

/// Exports.
pub fn run(cx: &Context<'_>, args: &args::Export) -> Result<()> {
    if args.output == Path::new("-") {
        cx.out.take_stdout();
    }
    if args.reference.member.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, "export takes whole artifacts")
            .hint("one member, decrypted: vault open REF --member PATH"));
    }
    let access = cx.session.access()?;
    let mut to = Destination::open(&args.output, ORDINARY)?;
    let to_stdout = to.is_stdout();
    let (version, bytes) = match access {
        Access::Local(vault) => {
            let mut export = vault.export(&cx.session.caller(&vault)?, &args.reference)?;
            let bar = Progress::new("exporting", export.size(), cx.out.json());
            let mut at = 0;
            let outcome = copy(&mut export, &mut at, |piece, at| {
                to.write_all(piece).map_err(|e| Error::from(e).on(args.output.display()))?;
                bar.at(at);
                Ok(())
            });
            let version = export.version().clone();
            export.finish(at, &outcome)?;
            outcome?;
            bar.done();
            (version, at)
        }
        Access::Remote(client) => {
            let mut counted = Counted { to: &mut to, bytes: 0 };
            let version = cx.session.wait(client.export(&args.reference, &mut counted))?;
            (version, counted.bytes)
        }
    };
    to.finish(true)?;
    let exported = Exported { version, output: args.output.clone(), bytes };
    if to_stdout && !cx.out.json() {
        return Ok(());
    }
    cx.out.report(&exported, |e| {
        format!(
            "{} exported to {} ({}, still encrypted)\n",
            show::reference(&e.version),
            text::visible(&e.output.display().to_string()),
            text::size(e.bytes)
        )
    })
}

/// Hands on piece after piece, with the number of bytes handed on when it is.
fn copy(export: &mut Export, at: &mut u64, mut hand_on: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; PIECE_LEN.min(export.size()) as usize];
    while *at < export.size() {
        let piece = &mut buffer[..PIECE_LEN.min(export.size() - *at) as usize];
        export.read(*at, piece)?;
        hand_on(piece, *at + piece.len() as u64)?;
        *at += piece.len() as u64;
    }
    Ok(())
}

struct Counted<'a> {
    to: &'a mut Destination,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
