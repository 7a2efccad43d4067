//! `vault inspect`: what a sealed artifact or file is.

use std::path::Path;

use model_vault::Result;

use super::{Context, portable, show};
use crate::args;
use crate::files::means_path;

/// Inspects.
pub fn run(cx: &Context<'_>, args: &args::Inspect) -> Result<()> {
    let facts = if means_path(&args.what)? {
        of_file(cx, Path::new(&args.what))?
    } else {
        let reference = args.what.parse()?;
        let client = cx.session.client()?;
        cx.session.wait(client.inspect(&reference))?
    };
    cx.out.report(&facts, |f| show::sealed(f, cx.out.styled()))
}

/// The header is for everybody. With a passphrase that was given (not asked for), the members are shown too.
fn of_file(cx: &Context<'_>, path: &Path) -> Result<model_vault::facts::SealedFacts> {
    let public = portable::header_facts(path)?;
    let wants_passphrase = public.slots.iter().any(|s| s.kind == "passphrase");
    if wants_passphrase && cx.session.credentials().has_passphrase() {
        let reader = portable::open(cx, path)?;
        return Ok(model_vault::vault::sealed_facts(&reader, None));
    }
    Ok(public)
}
