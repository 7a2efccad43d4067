//! `vault whoami`: who the caller is to the vault.

use model_vault::Result;
use model_vault::identity::Enrolment;

use super::{Context, show};
use crate::args::Whoami;
use crate::output::table::facts;

/// Shows it.
pub fn run(cx: &Context<'_>, args: &Whoami) -> Result<()> {
    let client = match &args.enrolment {
        Some(directory) => cx.session.workload(None, Enrolment::read(directory)?)?,
        None => cx.session.client()?,
    };
    let who = cx.session.wait(client.whoami())?;
    cx.out.report(&who, |who| {
        let groups: Vec<_> = who.groups.iter().map(ToString::to_string).collect();
        facts([
            ("kind", Some(who.kind.clone())),
            ("subject", Some(who.subject.clone())),
            ("vouched for by", Some(who.issuer.clone())),
            ("namespace", who.namespace.as_ref().map(ToString::to_string)),
            ("groups", Some(groups.join(" ")).filter(|g| !g.is_empty())),
            ("session", who.session.map(|id| id.to_string())),
            ("ends", who.expires.map(show::time)),
            ("key exchange", who.tls_group.clone()),
        ])
    })
}
