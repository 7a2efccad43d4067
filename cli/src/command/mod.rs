//! One file per command. Each takes its arguments, talks to a vault through the session, and prints.

mod approve;
mod attest;
mod audit;
mod audit_offline;
mod config;
mod dataset;
mod deliver;
mod doctor;
mod export;
mod fetch;
mod grant;
mod group;
mod help;
mod identity;
mod import;
mod init;
mod inspect;
mod intel;
mod key;
mod label;
mod login;
mod ls;
mod mfa;
mod open;
mod policy;
mod portable;
mod quarantine;
mod quickstart;
mod quota;
mod remote;
mod replay;
mod rm;
mod seal;
mod serve;
mod sessions;
mod shells;
pub mod show;
mod shred;
mod sign;
mod sign_version;
mod signers;
mod sink;
mod status;
mod tag;
mod token;
mod trusted;
mod verify;
mod verify_model;
mod whoami;
mod workload;

use clap::ArgMatches;
use model_vault::names::{Name, Reference, Tag};
use model_vault::{Error, ErrorId, Result};

use crate::args::{Cli, Command};
use crate::output::Output;
use crate::session::Session;

/// How a command ended that did not fail.
#[derive(Debug)]
pub enum Outcome {
    /// It did what it was asked.
    Done,
    /// It was asked to check, and found something.
    Findings,
    /// It printed its report, which says why the answer is no.
    Refused(Error),
}

/// What every command works with.
pub struct Context<'a> {
    /// What it talks to.
    pub session: Session,
    /// Where it prints.
    pub out: &'a Output,
}

/// Runs the command that was parsed.
pub fn run(cli: Cli, matches: &ArgMatches, out: &Output, program: &'static str) -> Result<Outcome> {
    // These need neither home nor configuration, and must work where either is broken.
    match &cli.command {
        Command::Completions(args) => return shells::completions(args, out, program),
        Command::Man(args) => return shells::man(args, out, program),
        Command::Help(args) => return help::run(args, out, program),
        _ => {}
    }
    warn_of_foreign_variables(out);
    let cx = Context { session: Session::new(&cli.global, matches)?, out };
    match cli.command {
        Command::Quickstart(args) => quickstart::run(&cx, &args)?,
        Command::Init(_) => init::run(&cx)?,
        Command::Seal(args) => seal::run(&cx, &args)?,
        Command::Open(args) => open::run(&cx, &args)?,
        Command::Inspect(args) => inspect::run(&cx, &args)?,
        Command::Ls(args) => ls::run(&cx, &args)?,
        Command::Tag(args) => tag::run(&cx, &args)?,
        Command::Rm(args) => rm::run(&cx, &args)?,
        Command::Shred(args) => shred::run(&cx, &args)?,
        Command::Sign(args) => sign::run(&cx, &args)?,
        Command::Verify(args) => return verify::run(&cx, &args),
        Command::Attest(args) => return attest::run(&cx, &args),
        Command::Dataset(args) => return dataset::run(&cx, &args),
        Command::Import(args) => import::run(&cx, &args)?,
        Command::Export(args) => export::run(&cx, &args)?,
        Command::Fetch(args) => fetch::run(&cx, &args)?,
        Command::Serve(args) => serve::run(&cx, &args)?,
        Command::Status => status::run(&cx)?,
        Command::Doctor => return doctor::run(&cx),
        Command::Whoami(args) => whoami::run(&cx, &args)?,
        Command::Login(args) => login::run(&cx, &args)?,
        Command::Logout(args) => login::logout(&cx, &args)?,
        Command::Session(args) => sessions::run(&cx, &args)?,
        Command::Mfa(args) => mfa::run(&cx, &args)?,
        Command::Approve(args) => approve::run(&cx, &args)?,
        Command::Workload(args) => workload::run(&cx, &args)?,
        Command::Grant(args) => grant::run(&cx, &args)?,
        Command::Key(args) => key::run(&cx, &args)?,
        Command::Sink(args) => sink::run(&cx, &args)?,
        Command::Config(args) => config::run(&cx, &args)?,
        Command::Group(args) => group::run(&cx, &args)?,
        Command::Label(args) => label::run(&cx, &args)?,
        Command::Policy(args) => return policy::run(&cx, &args),
        Command::Quota(args) => quota::run(&cx, &args)?,
        Command::Intel(args) => intel::run(&cx, &args)?,
        Command::Quarantine(args) => quarantine::quarantine(&cx, &args)?,
        Command::Release(args) => quarantine::release(&cx, &args)?,
        Command::Audit(args) => audit::run(&cx, &args)?,
        Command::Completions(_) | Command::Man(_) | Command::Help(_) => {}
    }
    Ok(Outcome::Done)
}

/// Another product is called `vault` too. Its variables are never read; whoever has them set may be at the wrong program.
fn warn_of_foreign_variables(out: &Output) {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let ours = ["MODELVAULT_HOME", "MODELVAULT_CONTEXT", "MODELVAULT_SERVER"].iter().any(|n| set(n));
    if set("VAULT_ADDR") && !ours {
        out.message(
            "hint: VAULT_ADDR belongs to another product and is not read; this is Model Vault (MODELVAULT_HOME)",
        );
    }
}

/// Threads for work that the processor bounds.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// `[NAMESPACE/]NAME[@TAG]` of something that is made: the name given, else the stem of a path.
fn new_name(given: Option<&str>, path: &std::path::Path, tag: Option<&Tag>) -> Result<(Name, Name, Option<Tag>)> {
    let Some(text) = given else {
        // `.` and `..` have no stem, but the directory they mean has a name.
        // What a link is called counts, not what it leads to: that would be another artifact's next version.
        let named =
            if path.file_name().is_some() { path.to_path_buf() } else { path.canonicalize().unwrap_or_default() };
        return Ok((Reference::DEFAULT_NAMESPACE.parse()?, Name::from_path(&named)?, tag.cloned()));
    };
    let reference: Reference = text.parse()?;
    let named = text.contains('@').then_some(&reference.revision);
    let tag = match (named, tag) {
        (None, tag) => tag.cloned(),
        (Some(model_vault::names::Revision::Tag(named)), None) => Some(named.clone()),
        (Some(model_vault::names::Revision::Tag(named)), Some(tag)) if named == tag => Some(tag.clone()),
        _ => {
            return Err(Error::new(ErrorId::InvalidArgument, format!("{text} names a version, but one is made now"))
                .hint("versions are numbered by the vault; give a tag with --tag"));
        }
    };
    if reference.member.is_some() {
        return Err(Error::new(ErrorId::InvalidArgument, format!("{text} names a member, not an artifact")));
    }
    Ok((reference.namespace, reference.name, tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_is_sealed_gets_the_name_given_or_that_of_its_file() {
        let name = |given: Option<&str>, tag: Option<&str>| {
            let tag = tag.map(|t| t.parse().unwrap());
            new_name(given, Path::new("/x/ResNet 50.onnx"), tag.as_ref())
                .map(|(ns, n, t)| format!("{ns}/{n} {}", t.map_or_else(String::new, |t| t.to_string())))
        };
        assert_eq!(name(None, None).unwrap(), "default/resnet-50 ");
        assert_eq!(name(Some("prod/r"), Some("gold")).unwrap(), "prod/r gold");
        assert_eq!(name(Some("r@gold"), None).unwrap(), "default/r gold");
        for bad in ["r@v3", "R", "vault://a/b/c"] {
            assert_eq!(name(Some(bad), None).unwrap_err().id(), ErrorId::InvalidArgument, "{bad}");
        }
        assert!(name(Some("r@gold"), Some("other")).is_err());
    }
}
