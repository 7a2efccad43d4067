//! `vault open`: plaintext out, of the vault of this home or of a portable file.

use std::path::Path;
use std::sync::Arc;

use model_vault::client::{Client, FetchPlan};
use model_vault::facts::SealedFacts;
use model_vault::manifest::Parts;
use model_vault::names::{Reference, Revision};
use model_vault::vault::Vault;
use model_vault::{Error, ErrorId, Result};

use super::deliver::{self, Delivered, Item, Sink, Wanted};
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
    if wanted.output.as_deref() == Some(Path::new("-")) {
        wanted.output = None;
    }
    let sealed_file = means_path(&args.what)?.then(|| Path::new(&args.what));
    if let (Some(path), Some(output)) = (sealed_file, &wanted.output) {
        refuse_same(path, output)?;
    }
    wanted.check()?;
    let delivered = if let Some(path) = sealed_file {
        let reader = portable::open(cx, path)?;
        let delivered = wanted.prepare(deliver::items(reader.manifest()));
        let delivered = delivered.and_then(|prepared| deliver::from_reader(&reader, prepared, &wanted, cx.out));
        delivered.map_err(|e| e.on(path.display()))?
    } else {
        let reference: Reference = args.what.parse()?;
        wanted.member = deliver::member_of(&reference, args.member.as_ref())?;
        let reference = Reference { member: None, ..reference };
        match cx.session.access()? {
            Access::Local(vault) => local(cx, &vault, reference, &wanted)?,
            Access::Remote(client) => remote(cx, &client, reference, &wanted)?,
        }
    };
    deliver::report(&delivered, "opened", cx.out)
}

fn local(cx: &Context<'_>, vault: &Arc<Vault>, reference: Reference, wanted: &Wanted) -> Result<Delivered> {
    let caller = cx.session.caller(vault)?;
    let (reference, items) = seen(vault.inspect(&caller, &reference)?, reference, wanted)?;
    let prepared = wanted.prepare(items)?;
    let open = vault.open(&caller, &reference)?;
    let version = open.version().clone();
    match deliver::from_reader(open.reader(), prepared, wanted, cx.out) {
        Ok(delivered) => {
            open.finish(delivered.bytes, "complete")?;
            Ok(Delivered { version: Some(version), ..delivered })
        }
        Err(error) => {
            open.fail(error.id().name())?;
            Err(error)
        }
    }
}

fn remote(cx: &Context<'_>, client: &Client, reference: Reference, wanted: &Wanted) -> Result<Delivered> {
    let (reference, items) = seen(cx.session.wait(client.inspect(&reference))?, reference, wanted)?;
    let prepared = wanted.prepare(items)?;
    let signers = cx.session.wait(client.signers(&reference.namespace))?;
    let plan = FetchPlan { members: prepared.selection(), ..FetchPlan::whole(reference, signers) };
    let mut sink = Sink::new(prepared, wanted, cx.out);
    let report = cx.session.wait(client.fetch(plan, &mut sink))?;
    sink.finish(report.version)
}

/// The members, to prepare the place for them before anything is released; and the reference to the very version that was
/// looked at, for a tag may move meanwhile.
fn seen(facts: SealedFacts, reference: Reference, wanted: &Wanted) -> Result<(Reference, Vec<Item>)> {
    let missing = || Error::new(ErrorId::StreamBroken, "the vault did not name the version and its members");
    let (version, members) = facts.version.zip(facts.members).ok_or_else(missing)?;
    let revision = match reference.revision {
        Revision::Tag(_) => Revision::Version(version.version),
        fixed => fixed,
    };
    if wanted.member.is_none() && Parts::are_named(version.kind, |path| members.iter().any(|m| m.path == path)) {
        return Err(Error::new(
            ErrorId::InvalidArgument,
            "it is a dataset in parts, which is no file or directory by itself",
        )
        .hint("vault fetch brings all of it, vault dataset read its records"));
    }
    let items = members.into_iter().map(|m| Item { path: m.path, size: m.size }).collect();
    Ok((Reference { revision, ..reference }, items))
}
