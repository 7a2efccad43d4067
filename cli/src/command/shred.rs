//! `vault shred`: the end of a version.

use model_vault::names::Revision;
use model_vault::{Error, ErrorId, Result};

use super::{Context, show};
use crate::args::mfa::Shred;
use crate::output::terminal;

/// Asks, then destroys.
pub fn run(cx: &Context<'_>, args: &Shred) -> Result<()> {
    let client = cx.session.client()?;
    let mut reference = args.reference.clone();
    if !args.yes {
        // A tag may move while somebody reads: what is destroyed is the version that was shown.
        let version = cx.session.wait(client.version(&reference))?;
        reference.revision = Revision::Version(version.version);
        let name = show::reference(&version);
        match terminal::confirm_destruction(&format!("Destroy the key of {name}? Nobody opens it again"))? {
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
    cx.out.report(&shredded, |v| format!("{} is destroyed\n", show::reference(v)))
}
