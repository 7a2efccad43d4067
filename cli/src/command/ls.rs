//! `vault ls`: artifacts with their tags, or the versions of one of them.

use model_vault::Result;
use model_vault::facts::{ArtifactFacts, VersionFacts};
use serde::Serialize;

use super::{Context, show};
use crate::args;
use crate::config::Target;

/// The JSON document of `vault ls [PATTERN]`.
#[derive(Debug, Serialize)]
struct Artifacts {
    artifacts: Vec<ArtifactFacts>,
}

/// The JSON document of `vault ls NAME`.
#[derive(Debug, Serialize)]
struct Versions {
    versions: Vec<VersionFacts>,
}

/// Lists.
pub fn run(cx: &Context<'_>, args: &args::Ls) -> Result<()> {
    if args.pattern.contains(['*', '?']) { artifacts(cx, args) } else { versions(cx, args) }
}

fn artifacts(cx: &Context<'_>, args: &args::Ls) -> Result<()> {
    let client = cx.session.client()?;
    // A pattern without a namespace is about names in all of them.
    let pattern = match args.pattern.contains('/') || args.pattern == "*" {
        true => args.pattern.clone(),
        false => format!("*/{}", args.pattern),
    };
    let listing = Artifacts { artifacts: cx.session.wait(client.list(&pattern, args.all))? };
    if listing.artifacts.is_empty() {
        let remote = matches!(cx.session.target(), Target::Server { .. });
        cx.out.message(match (&*args.pattern, remote) {
            // Of what one may not see, a list does not say that it is there.
            ("*", true) => "nothing that you may see",
            ("*", false) => "the vault is empty",
            _ => "nothing matches",
        });
    }
    cx.out.report(&listing, |l| match &l.artifacts[..] {
        [] => String::new(),
        artifacts => show::artifacts(artifacts, cx.out.styled()),
    })
}

fn versions(cx: &Context<'_>, args: &args::Ls) -> Result<()> {
    let client = cx.session.client()?;
    let listing = Versions { versions: cx.session.wait(client.versions(&args.pattern, args.all))? };
    if listing.versions.is_empty() {
        cx.out.message("all its versions were removed; --all shows them");
    }
    cx.out.report(&listing, |l| match &l.versions[..] {
        [] => String::new(),
        versions => show::versions(versions, cx.out.styled()),
    })
}
