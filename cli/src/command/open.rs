//! `vault open`: plaintext out, of the vault of this home or of a portable file.

use std::path::Path;
use std::sync::Arc;

use model_vault::client::{Client, FetchPlan};
use model_vault::names::Reference;
use model_vault::vault::Vault;
use model_vault::{Error, ErrorId, Result};

use super::deliver::{self, Delivered, Item, Plan, Sink, Wanted};
use super::{Context, portable};
use crate::args;
use crate::files::{means_path, refuse_same};
use crate::session::Access;

/// Opens.
pub fn run(cx: &Context<'_>, args: &args::Open) -> Result<()> {
    if cx.out.json() && args.output.is_none() {
        return Err(Error::new(ErrorId::InvalidArgument, "--json reports where the bytes went, and -o is missing")
            .hint("-o PATH writes them to a file; -o - to standard output, and the report to standard error"));
    }
    if args.output.as_deref().is_none_or(|o| o == Path::new("-")) {
        cx.out.take_stdout();
    }
    let mut wanted = Wanted { member: args.member.clone(), range: args.range, output: args.output.clone() };
    let delivered = if means_path(&args.what)? {
        let path = Path::new(&args.what);
        if let Some(output) = &args.output {
            refuse_same(path, output)?;
        }
        let reader = portable::open(cx, path)?;
        deliver::from_reader(&reader, &wanted, cx.out).map_err(|e| e.on(path.display()))?
    } else {
        let reference: Reference = args.what.parse()?;
        wanted.member = deliver::member_of(&reference, args.member.as_ref())?;
        let reference = Reference { member: None, ..reference };
        match cx.session.access()? {
            Access::Local(vault) => local(cx, &vault, &reference, &wanted)?,
            Access::Remote(client) => remote(cx, &client, reference, &wanted)?,
        }
    };
    deliver::report(&delivered, "opened", cx.out)
}

fn local(cx: &Context<'_>, vault: &Arc<Vault>, reference: &Reference, wanted: &Wanted) -> Result<Delivered> {
    let open = vault.open(&vault.local_caller()?, reference)?;
    let version = open.version().clone();
    match deliver::from_reader(open.reader(), wanted, cx.out) {
        Ok(delivered) => {
            open.finish(delivered.bytes, "complete")?;
            Ok(Delivered { version: Some(version), ..delivered })
        }
        Err(error) => {
            // How much left is not known: segments are written from several threads. The reason tells that it was cut short.
            open.finish(0, error.id().name())?;
            Err(error)
        }
    }
}

fn remote(cx: &Context<'_>, client: &Client, reference: Reference, wanted: &Wanted) -> Result<Delivered> {
    let mut members = Vec::new();
    if wanted.member.is_some() || wanted.range.is_some() {
        // The end of a range that is left open must be known before it is asked for.
        let inspected = cx.session.wait(client.inspect(&reference))?.members.unwrap_or_default();
        let items = inspected.into_iter().map(|m| Item { path: m.path, size: m.size }).collect();
        if let Plan::One(item, range) = wanted.plan(items)? {
            members.push((item.path, Some(range)));
        }
    }
    let signers = cx.session.wait(client.signers(&reference.namespace))?;
    let plan = FetchPlan { reference, members, signers, floor: None };
    let mut sink = Sink::new(wanted, cx.out);
    let report = cx.session.wait(client.fetch(plan, &mut sink))?;
    sink.finish(report.version)
}
