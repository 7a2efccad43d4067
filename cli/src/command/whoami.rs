//! `vault whoami`: who the caller is to the vault.

use model_vault::Result;

use super::Context;
use crate::output::table::facts;

/// Shows it.
pub fn run(cx: &Context<'_>) -> Result<()> {
    let client = cx.session.client()?;
    let who = cx.session.wait(client.whoami())?;
    cx.out.report(&who, |who| {
        facts([
            ("kind", Some(who.kind.clone())),
            ("subject", Some(who.subject.clone())),
            ("vouched for by", Some(who.issuer.clone())),
            ("namespace", who.namespace.as_ref().map(ToString::to_string)),
            ("key exchange", who.tls_group.clone()),
        ])
    })
}
