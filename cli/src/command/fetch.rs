//! `vault fetch`: from a daemon, as a workload, checked as docs/trust.md 5 says.

use std::path::{Path, PathBuf};

use model_vault::client::{Client, FetchPlan, TagFloor};
use model_vault::crypto::sign::PublicKey;
use model_vault::facts::VersionFacts;
use model_vault::identity::Enrolment;
use model_vault::names::{KeyId, Reference, VaultId};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::Context;
use super::deliver::Sink;
use super::show;
use crate::args;
use crate::config::Target;
use crate::output::table::facts;
use crate::output::text;
use crate::session::REPLACE;

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

/// Whom to ask, and whom to believe.
struct Source {
    client: Client,
    /// Trusted unless the user names others.
    signers: Vec<PublicKey>,
    /// Names the vault in the record of versions seen, however its address was spelt.
    vault: VaultId,
    enrolment: Option<PathBuf>,
}

/// Fetches.
pub fn run(cx: &Context<'_>, args: &args::Fetch) -> Result<()> {
    if args.reference.member.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, "fetch takes whole artifacts")
            .hint("one member: vault open REF --member PATH"));
    }
    // Before the daemon is asked: what it releases is on the record.
    let mut sink = Sink::directory(&args.output, cx.out)?;
    let source = source(cx, args)?;
    let Source { client, signers: trusted, .. } = &source;
    let signers = args.signers.accepted(|| Ok(trusted.clone()))?;
    let mut floor = if args.no_state { None } else { Some(TagFloor::open(&state_file(&source)?)?) };
    let key = floor_key(source.vault, &args.reference);
    let plan = FetchPlan {
        reference: args.reference.clone(),
        members: Vec::new(),
        signers,
        // Where a tag points is the word of the namespace, whoever published what is there.
        tag_signers: trusted.clone(),
        floor: floor.as_ref().and_then(|f| f.of(&key)).cloned(),
    };
    let report = cx.session.wait(client.fetch(plan, &mut sink)).map_err(|e| explain(e, &args.reference))?;
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

/// A daemon tells a workload little; what it means can be said here.
fn explain(error: Error, reference: &Reference) -> Error {
    if error.id() != ErrorId::BadCredential {
        return error;
    }
    error.on(reference).hint(format!("the certificate expired or was revoked; {REPLACE}"))
}

fn floor_key(vault: VaultId, reference: &Reference) -> String {
    format!("{vault} {}/{}@{}", reference.namespace, reference.name, reference.revision)
}

fn source(cx: &Context<'_>, args: &args::Fetch) -> Result<Source> {
    let enrolled = match (&args.enrolment, cx.session.target()) {
        (Some(dir), _) => Some((args.server.clone(), dir.clone())),
        (None, Target::Server { address, enrolment }) => {
            Some((args.server.clone().or(address.clone()), enrolment.clone()))
        }
        (None, Target::Home(_)) => None,
    };
    if let Some((address, directory)) = enrolled {
        let enrolment = Enrolment::read(&directory)?;
        let signers = enrolment.signers.clone();
        let address = address.unwrap_or_else(|| enrolment.address.clone());
        let vault = enrolment.vault()?;
        let client = cx.session.workload(Some(address), enrolment)?;
        return Ok(Source { client, signers, vault, enrolment: Some(directory) });
    }
    if args.server.is_some() {
        return Err(Error::new(ErrorId::NoCredential, "a server is named, but no enrolment to speak to it with")
            .hint("give --enrolment DIR (made by: vault workload enroll NAME -o DIR)"));
    }
    // On this machine: the vault itself is trusted to name its signers.
    let client = cx.session.client()?;
    let signers = cx.session.wait(client.signers(&args.reference.namespace))?;
    let vault = cx.session.home()?.config()?.vault;
    Ok(Source { client, signers, vault, enrolment: None })
}

/// `$XDG_STATE_HOME/modelvault/versions-seen.json`; beside the enrolment's directory where there is no home (containers).
fn state_file(source: &Source) -> Result<PathBuf> {
    const FILE: &str = "versions-seen.json";
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let directory = match (state, &source.enrolment) {
        (Some(base), _) => base.join("modelvault"),
        (None, Some(enrolment)) => enrolment.parent().unwrap_or(Path::new(".")).to_path_buf(),
        (None, None) => {
            return Err(Error::new(ErrorId::InvalidArgument, "no directory for the record of versions seen is known")
                .hint("set XDG_STATE_HOME, or give --no-state"));
        }
    };
    std::fs::create_dir_all(&directory).map_err(|e| {
        Error::from(e).on(directory.display()).hint("set XDG_STATE_HOME to a writable directory, or give --no-state")
    })?;
    Ok(directory.join(FILE))
}
