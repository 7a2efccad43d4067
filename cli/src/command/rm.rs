//! `vault rm`: unlists; `--restore` takes it back. The key is destroyed by another command.

use model_vault::names::Reference;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::Context;
use crate::args;
use crate::output::text::count;

/// The JSON document of `vault rm`.
#[derive(Debug, Serialize)]
struct Removed {
    reference: String,
    /// How many versions changed.
    versions: u64,
    restored: bool,
}

/// Removes or restores.
pub fn run(cx: &Context<'_>, args: &args::Rm) -> Result<()> {
    let parsed: Reference = args.reference.parse()?;
    if parsed.member.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, "members cannot be removed: versions never change")
            .hint("seal the artifact anew without it"));
    }
    // Without a revision the whole artifact is meant, not its latest version.
    let reference = match args.reference.contains('@') {
        true => parsed.to_string(),
        false => format!("{}/{}", parsed.namespace, parsed.name),
    };
    let client = cx.session.client()?;
    let versions = match args.restore {
        true => cx.session.wait(client.restore(&reference))?,
        false => cx.session.wait(client.remove(&reference))?,
    };
    cx.out.report(&Removed { reference, versions, restored: args.restore }, |r| {
        let versions = count(r.versions, "version");
        if r.versions == 0 {
            format!(
                "{} {} already: nothing changed\n",
                r.reference,
                if r.restored { "is listed" } else { "is removed" }
            )
        } else if r.restored {
            format!("restored {} ({versions})\n", r.reference)
        } else {
            format!("removed {} ({versions}); vault rm --restore {} takes it back\n", r.reference, r.reference)
        }
    })
}
