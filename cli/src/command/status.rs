//! `vault status`: state of the vault.

use model_vault::Result;

use super::{Context, show};

/// Shows it.
pub fn run(cx: &Context<'_>) -> Result<()> {
    let client = cx.session.client()?;
    let status = cx.session.wait(client.status())?;
    cx.out.report(&status, show::status)
}
