//! `vault tag`: moves a tag.

use model_vault::{Error, ErrorId, Result};

use super::{Context, show};
use crate::args;
use crate::output::table::facts;

/// Tags.
pub fn run(cx: &Context<'_>, args: &args::SetTag) -> Result<()> {
    if args.reference.member.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, "tags are of artifacts, not of members"));
    }
    let client = cx.session.client()?;
    let moved = cx.session.wait(client.set_tag(&args.reference, &args.tag, args.expect))?;
    cx.out.report(&moved, |m| {
        let from = m.from.map_or_else(String::new, |n| format!(" from v{n}"));
        let line = format!("{}{from} to v{}, move {}", m.tag, m.version.version, m.sequence);
        facts([("moved", Some(line))]) + &show::version(&m.version)
    })
}
