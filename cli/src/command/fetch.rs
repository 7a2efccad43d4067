//! `vault fetch`: from a daemon, as a workload, checked as docs/trust.md 5 says.

use std::path::PathBuf;

use model_vault::client::FetchPlan;
use model_vault::facts::VersionFacts;
use model_vault::names::KeyId;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::Context;
use super::deliver::Sink;
use super::remote::{self, Remote};
use super::show;
use crate::args;
use crate::output::table::facts;
use crate::output::text;

/// The JSON document of `vault fetch`.
#[derive(Debug, Serialize)]
struct Fetched {
    version: VersionFacts,
    output: PathBuf,
    members: u64,
    bytes: u64,
    /// Trusted keys that signed what came.
    signers: Vec<KeyId>,
    /// The move that brought the tag there, if one was asked for.
    sequence: Option<u64>,
    /// Key exchange of the connection.
    tls_group: Option<String>,
}

/// Fetches.
pub fn run(cx: &Context<'_>, args: &args::Fetch) -> Result<()> {
    if args.reference.member.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, "fetch takes whole artifacts")
            .hint("one member: vault open REF --member PATH"));
    }
    // Before the daemon is asked: what it releases is on the record.
    let mut sink = Sink::directory(&args.output, cx.out)?;
    let remote = Remote::of(cx, &args.daemon, &args.reference.namespace)?;
    let Remote { client, signers: trusted, .. } = &remote;
    let signers = args.signers.accepted(|| Ok(trusted.clone()))?;
    let mut floor = if args.no_state { None } else { Some(remote.floor()?) };
    let key = remote.floor_key(&args.reference);
    let plan = FetchPlan {
        reference: args.reference.clone(),
        members: Vec::new(),
        signers,
        // Where a tag points is the word of the namespace, whoever published what is there.
        tag_signers: trusted.clone(),
        floor: floor.as_ref().and_then(|f| f.of(&key)).cloned(),
    };
    let report =
        cx.session.wait(client.fetch_with_parts(plan, &mut sink)).map_err(|e| remote::explain(e, &args.reference))?;
    // Remembered before the files appear: what was used must not be forgotten.
    if let (Some(floor), Some(tag)) = (floor.as_mut(), &report.tag) {
        floor.raise(&key, tag)?;
    }
    let delivered = sink.finish(report.version.clone())?;
    let fetched = Fetched {
        version: report.version,
        output: delivered.output,
        members: report.members.max(delivered.members),
        bytes: report.bytes,
        signers: report.signers,
        sequence: report.tag.map(|t| t.sequence),
        tls_group: report.tls_group,
    };
    cx.out.report(&fetched, |f| {
        let signers: Vec<_> = f.signers.iter().map(KeyId::short).collect();
        facts([
            ("fetched", Some(show::reference(&f.version))),
            (
                "written",
                Some(format!(
                    "{}: {} in {}",
                    f.output.display(),
                    text::size(f.bytes),
                    text::count(f.members, "member")
                )),
            ),
            ("signed by", Some(signers.join(" "))),
            ("key exchange", f.tls_group.clone()),
            ("root", Some(format!("b3:{}", f.version.root))),
        ])
    })
}
