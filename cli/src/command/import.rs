//! `vault import`: a portable sealed file becomes a version of this vault.

use model_vault::vault::{ImportInput, ImportSource};
use model_vault::{Error, ErrorId, Result};

use super::{Context, new_name, portable, show};
use crate::args;
use crate::output::progress::Progress;
use crate::session::Access;

/// Imports.
pub fn run(cx: &Context<'_>, args: &args::Import) -> Result<()> {
    let (namespace, name, tag) = new_name(args.name.as_deref(), &args.file, args.tag.as_ref())?;
    let facts = portable::header_facts(&args.file)?;
    let file = portable::file(&args.file)?;
    let bar = || Progress::new("importing", facts.payload_size, cx.out.json());
    let (version, bar) = match cx.session.access()? {
        Access::Local(vault) => {
            // The question first: a bar would be drawn over it.
            let credential = portable::credential(cx, &file, &args.file)?;
            let bar = bar();
            let input = ImportInput {
                namespace,
                name,
                tag,
                source: ImportSource::File(Box::new(file)),
                credential,
                progress: bar.callback(),
            };
            (vault.import(&cx.session.caller(&vault)?, input).map_err(|e| e.on(args.file.display()))?.version, bar)
        }
        Access::Remote(_) if facts.slots.iter().any(|s| s.kind == "passphrase") => {
            return Err(Error::new(
                ErrorId::InvalidArgument,
                format!("{}: a passphrase must not go to a daemon", args.file.display()),
            )
            .hint("stop the daemon and import in this process, or open the file and seal what is in it"));
        }
        Access::Remote(client) => {
            let bar = bar();
            let moved = bar.callback();
            let call = client.import(&namespace, &name, tag.as_ref(), Box::new(file), &moved);
            (cx.session.wait(call).map_err(|e| e.on(args.file.display()))?.0, bar)
        }
    };
    bar.done();
    cx.out.report(&version, show::version)
}
