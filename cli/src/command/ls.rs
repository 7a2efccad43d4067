//! `vault ls`: artifacts and their newest versions.

use model_vault::Result;
use model_vault::facts::VersionFacts;
use serde::Serialize;

use super::{Context, show};
use crate::args;

/// The JSON document of `vault ls`.
#[derive(Debug, Serialize)]
struct Listing {
    versions: Vec<VersionFacts>,
}

/// Lists.
pub fn run(cx: &Context<'_>, args: &args::Ls) -> Result<()> {
    let client = cx.session.client()?;
    // A bare name means the artifact of that name in any namespace, as people type it.
    let pattern = if args.pattern.contains('/') || args.pattern == "*" {
        args.pattern.clone()
    } else {
        format!("*/{}", args.pattern)
    };
    let listing = Listing { versions: cx.session.wait(client.list(&pattern, args.all))? };
    if listing.versions.is_empty() {
        cx.out.message(if args.pattern == "*" { "the vault is empty" } else { "nothing matches" });
    }
    cx.out.report(&listing, |l| {
        if l.versions.is_empty() { String::new() } else { show::versions(&l.versions, cx.out.styled()) }
    })
}
