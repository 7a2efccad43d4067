//! `vault tag`: moves a tag.

use model_vault::{Error, ErrorId, Result};

use super::{Context, show};
use crate::args;

/// Tags.
pub fn run(cx: &Context<'_>, args: &args::SetTag) -> Result<()> {
    if args.reference.member.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, "tags are of artifacts, not of members"));
    }
    let client = cx.session.client()?;
    let version = cx.session.wait(client.set_tag(&args.reference, &args.tag, args.expect))?;
    cx.out.report(&version, show::version)
}
