//! `vault shred`: the end of a version.

use model_vault::client::Client;
use model_vault::facts::VersionFacts;
use model_vault::names::{ArtifactKind, Revision};
use model_vault::{Error, ErrorId, Result};

use super::{Context, show};
use crate::args::mfa::Shred;
use crate::output::terminal;
use crate::output::text::count;

/// Asks, then destroys.
pub fn run(cx: &Context<'_>, args: &Shred) -> Result<()> {
    let client = cx.session.client()?;
    let (mut reference, mut with) = (args.reference.clone(), String::new());
    if !args.yes {
        // A tag may move while somebody reads: what is destroyed is the version that was shown.
        let version = cx.session.wait(client.version(&reference))?;
        reference.revision = Revision::Version(version.version);
        if version.kind == ArtifactKind::Dataset {
            with = parts_of(cx, &client, &version)?;
        }
        let name = show::reference(&version);
        match terminal::confirm_destruction(&format!("Destroy the key of {name}{with}? Nobody opens it again"))? {
            Some(true) => {}
            Some(false) => {
                return Err(Error::new(ErrorId::InvalidArgument, format!("{name} was not shredded"))
                    .hint("answer yes, or give --yes"));
            }
            None => {
                return Err(Error::new(ErrorId::InvalidArgument, "shredding asks first, and there is no terminal")
                    .hint(format!("vault shred {name} --yes")));
            }
        }
    }
    let shredded = cx.session.wait(client.shred(&reference))?;
    cx.out.report(&shredded, |v| format!("{} is destroyed{with}\n", show::reference(v)))
}

/// What goes with it.
fn parts_of(cx: &Context<'_>, client: &Client, version: &VersionFacts) -> Result<String> {
    let artifact = format!("{}/{}", version.namespace, version.name);
    let all = cx.session.wait(client.versions(&artifact, true))?;
    let parts = all.iter().filter(|part| part.part_of == Some(version.version)).count() as u64;
    Ok(if parts == 0 { String::new() } else { format!(", with its {}", count(parts, "part")) })
}
