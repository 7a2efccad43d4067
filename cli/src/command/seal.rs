//! `vault seal`: a new version in the vault, or a portable sealed file.

mod ahead;
mod parts;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model_vault::client::Upload;
use model_vault::crypto::dsse::Signer;
use model_vault::crypto::kdf::Argon2Costs;
use model_vault::crypto::random::SystemRandom;
use model_vault::crypto::sign::SigningIdentity;
use model_vault::facts::VersionFacts;
use model_vault::manifest::{ArtifactStatement, Part, Subject};
use model_vault::names::{Clock as _, FileId, Name, Root, SystemClock, Tag};
use model_vault::seal::io::WriteAt as _;
use model_vault::seal::{self, Draft, MemberSource, NewSlot, SealRequest, Sealed};
use model_vault::vault::{PortableInput, SealInput, SealMember, Sealing};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use self::parts::{Sealed as SealedParts, Split};
use super::{Context, init, new_name, show};
use crate::args;
use crate::files::destination::{Destination, ORDINARY};
use crate::files::{refuse_same, source};
use crate::output::progress::Progress;
use crate::output::table::facts;
use crate::output::{terminal, text};
use crate::session::Access;

/// Bytes of the header of a file with one passphrase slot, room for more included.
const HEADER_LEN: u32 = 8192;

/// The JSON document of `vault seal -o`.
#[derive(Debug, Serialize)]
struct Portable {
    output: PathBuf,
    file_id: FileId,
    root: Root,
    payload_size: u64,
    members: u64,
    /// `passphrase` or `vault-key`.
    opened_by: &'static str,
}

/// Seals.
pub fn run(cx: &Context<'_>, args: &args::Seal) -> Result<()> {
    // What is not there has no name to be wrong.
    source::exists(&args.path)?;
    let (namespace, name, tag) = new_name(args.name.as_deref(), &args.path, args.tag.as_ref())?;
    let signer = match &args.identity {
        None => args.sign_key.as_deref().map(SigningIdentity::read).transpose()?,
        // A daemon seals with it itself.
        Some(_) if matches!(access_or_init(cx)?, Access::Remote(_)) => None,
        Some(identity) => {
            let vault = cx.session.vault()?;
            Some(vault.publisher(&cx.session.caller(&vault)?, identity, (&namespace, &name))?)
        }
    };
    match &args.output {
        Some(output) => {
            if tag.is_some() {
                return Err(Error::new(ErrorId::InvalidArgument, "a portable file has no tags")
                    .hint("tag the artifact when the file is imported"));
            }
            if args.identity.is_some() && signer.is_none() {
                return Err(Error::new(ErrorId::Busy, "a daemon holds the vault whose identity is to sign")
                    .hint("stop the daemon, or sign with a key file: --sign-key FILE"));
            }
            to_file(cx, args, output, (namespace, name), signer)
        }
        None => into_vault(cx, args, (namespace, name, tag), signer),
    }
}

fn into_vault(
    cx: &Context<'_>,
    args: &args::Seal,
    (namespace, name, tag): (Name, Name, Option<Tag>),
    signer: Option<SigningIdentity>,
) -> Result<()> {
    let sources = source::members(&args.path)?;
    let all = total(&sources);
    let split = parts::split(sources, args)?;
    let statement = split.statement()?;
    if let Some(text) = statement.as_ref().filter(|_| args.reason.is_none()) {
        ahead::must_agree(&split, text)?;
    }
    let statement = statement.unwrap_or_default();
    let Split { parts, mut beside } = split;
    // Questions first: a bar would be drawn over them.
    let access = access_or_init(cx)?;
    let bar = Progress::new("sealing", all, cx.out.json());
    let making = Making { cx, args, access, named: (namespace, name), signer: signer.map(shared), bar: &bar };
    let (mut sealed, mut done, number) = (SealedParts::default(), 0, parts.len() as u64);
    let files = parts.iter().map(|part| part.len() as u64).sum();
    for part in parts {
        let bytes = total(&part);
        sealed.push(making.part(part, &statement, done).map_err(|e| tell_unnamed(cx, sealed.orphans(), e))?);
        done += bytes;
    }
    let version = if number == 0 {
        making.version(beside, tag, done)?
    } else {
        let orphans = sealed.orphans();
        let list = sealed.list()?;
        beside.push(list);
        beside.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        making.version(beside, tag, done).map_err(|e| tell_unnamed(cx, orphans, e))?
    };
    bar.done();
    if number > 0 {
        let (files, parts) = (text::count(files, "file"), text::count(number, "part"));
        cx.out.message(format!("sealed {files} in {parts}, which {} names", show::reference(&version)));
    }
    cx.out.report(&version, show::version)
}

/// What the versions of one run have in common.
struct Making<'a> {
    cx: &'a Context<'a>,
    args: &'a args::Seal,
    access: Access,
    named: (Name, Name),
    signer: Option<Arc<dyn Signer>>,
    bar: &'a Progress,
}

impl Making<'_> {
    /// Seals some of the files; `done`: bytes that were sealed before.
    fn part(&self, sources: Vec<source::Source>, statement: &[u8], done: u64) -> Result<Part> {
        match &self.access {
            Access::Local(vault) => {
                let input = self.input(sources, None, done)?;
                Ok(vault.seal_part(&self.cx.session.caller(vault)?, input, statement)?.1)
            }
            Access::Remote(client) => {
                let (upload, progress) = (self.upload(sources, None)?, self.progress(done));
                self.cx.session.wait(client.seal_part(upload, statement, &*progress))
            }
        }
    }

    /// Seals what is a version by itself, or names the parts.
    fn version(&self, sources: Vec<source::Source>, tag: Option<Tag>, done: u64) -> Result<VersionFacts> {
        match &self.access {
            Access::Local(vault) => {
                Ok(vault.seal(&self.cx.session.caller(vault)?, self.input(sources, tag, done)?)?.version)
            }
            Access::Remote(client) => {
                let (upload, progress) = (self.upload(sources, tag)?, self.progress(done));
                Ok(self.cx.session.wait(client.seal(upload, &*progress))?.0)
            }
        }
    }

    fn input(&self, sources: Vec<source::Source>, tag: Option<Tag>, done: u64) -> Result<SealInput> {
        let (namespace, name) = self.named.clone();
        let sealing = sealing(sources, self.args, self.signer.clone(), self.progress(done))?;
        Ok(SealInput { namespace, name, tag, sealing })
    }

    fn upload(&self, sources: Vec<source::Source>, tag: Option<Tag>) -> Result<Upload> {
        let (args, (namespace, name)) = (self.args, self.named.clone());
        let members = sources.into_iter().map(|s| (s.path, s.bytes)).collect();
        let (kind, sha256, signer) = (args.kind()?, args.digest.sha256, self.signer.clone());
        let (allow_unsigned, identity) = (args.reason.clone(), args.identity.clone());
        Ok(Upload { namespace, name, kind, tag, members, sha256, signer, identity, allow_unsigned })
    }

    fn progress(&self, done: u64) -> Box<dyn Fn(u64) + Send + Sync> {
        let at = self.bar.callback();
        Box::new(move |bytes| at(done + bytes))
    }
}

/// Says what a sealing that failed has left.
fn tell_unnamed(cx: &Context<'_>, orphans: Option<String>, error: Error) -> Error {
    if let Some(orphans) = orphans {
        cx.out.message(format!("{orphans} no version names them: seal again, and remove these (vault shred NAME@vN)"));
    }
    error
}

/// The vault; where there is none, a person is asked whether to make one.
fn access_or_init(cx: &Context<'_>) -> Result<Access> {
    let missing = match cx.session.access() {
        Err(e) if e.id() == ErrorId::NoVault => e,
        access => return access,
    };
    let question = format!("There is no vault in {}. Make one?", cx.session.home()?.path().display());
    match terminal::confirm(&question)? {
        Some(true) => {
            cx.session.adopt(init::on_the_way(cx)?);
            cx.session.access()
        }
        _ => Err(missing),
    }
}

fn to_file(
    cx: &Context<'_>,
    args: &args::Seal,
    output: &Path,
    (namespace, name): (Name, Name),
    signer: Option<SigningIdentity>,
) -> Result<()> {
    if output == Path::new("-") {
        return Err(Error::new(ErrorId::InvalidArgument, "a sealed file cannot be written to standard output")
            .hint("its header is written last; name a file with -o"));
    }
    refuse_same(&args.path, output)?;
    Destination::check(output)?;
    let sources = source::members(&args.path)?;
    let total = total(&sources);
    let bar = || Progress::new("sealing", total, cx.out.json());
    let (sealed, opened_by, to, bar) = if args.to.is_some() {
        let passphrase = cx.session.credentials().new_passphrase(&format!("Passphrase for {}", output.display()))?;
        let slot = NewSlot::Passphrase { passphrase, costs: Argon2Costs::DEFAULT };
        let (to, bar) = (open_output(output)?, bar());
        (without_vault(args, sources, slot, (namespace, name), signer, &bar, &to)?, "passphrase", to, bar)
    } else {
        let Access::Local(vault) = access_or_init(cx)? else {
            return Err(Error::new(ErrorId::Busy, "a daemon holds the vault whose key is wanted")
                .hint("seal to a passphrase (--to passphrase), or export an artifact: vault export REF -o FILE.mvlt"));
        };
        let (to, bar) = (open_output(output)?, bar());
        let sealing = sealing(sources, args, signer.map(shared), bar.callback())?;
        let input = PortableInput { namespace, name, sealing };
        (vault.seal_portable(&cx.session.caller(&vault)?, input, &to)?, "vault-key", to, bar)
    };
    bar.done();
    to.finish(true)?;
    let portable = Portable {
        output: output.to_path_buf(),
        file_id: sealed.file_id(),
        root: sealed.root,
        payload_size: sealed.payload_len,
        members: sealed.manifest.members.len() as u64,
        opened_by,
    };
    cx.out.report(&portable, |p| {
        facts([
            ("sealed", Some(p.output.display().to_string())),
            ("payload", Some(format!("{} in {}", text::size(p.payload_size), text::count(p.members, "member")))),
            ("opened by", Some(p.opened_by.replace('-', " "))),
            ("root", Some(format!("b3:{}", p.root))),
        ])
    })
}

fn open_output(output: &Path) -> Result<Destination> {
    let to = Destination::open(output, ORDINARY)?;
    match to.random_access() {
        Some(_) => Ok(to),
        None => Err(Error::new(ErrorId::InvalidArgument, format!("{} is not a regular file", output.display()))
            .hint("its header is written last; name a file with -o")),
    }
}

/// Seals to a passphrase: this machine need not have a vault.
fn without_vault(
    args: &args::Seal,
    sources: Vec<source::Source>,
    slot: NewSlot,
    named: (Name, Name),
    signer: Option<SigningIdentity>,
    bar: &Progress,
    to: &Destination,
) -> Result<Sealed> {
    let member = |s: source::Source| MemberSource {
        path: s.path,
        source: s.bytes,
        sha256: args.digest.sha256,
        media_type: None,
        format: None,
    };
    let members = sources.into_iter().map(member).collect();
    let moved = |n| bar.more(n);
    let mut request = SealRequest::new(args.kind()?, members, vec![slot]);
    request.header_len = Some(HEADER_LEN);
    request.progress = &moved;
    if let Some(signer) = &signer {
        request.statements = Box::new(|draft| statement(draft, named, signer));
        request.seal_signers = vec![signer];
    }
    let sealed = seal::seal(request, &SystemRandom, to, HEADER_LEN.into()).map_err(Error::from)?;
    to.write_all_at(&sealed.header, 0)?;
    Ok(sealed)
}

/// The artifact statement of a portable file: version 0 (docs/trust.md 4).
fn statement(
    draft: &Draft<'_>,
    (namespace, name): (Name, Name),
    signer: &SigningIdentity,
) -> Result<Vec<serde_json::Value>> {
    let manifest = draft.manifest;
    let subjects = manifest.members.iter().map(|m| Subject {
        path: m.path.clone(),
        size: m.size,
        blake3: m.blake3,
        sha256: m.sha256,
    });
    let statement = ArtifactStatement {
        namespace,
        name,
        version: 0,
        kind: manifest.kind,
        file_id: draft.file_id,
        payload_size: manifest.payload_size,
        group_log2: manifest.group_log2,
        created: SystemClock.now(),
        subjects: subjects.collect(),
    };
    let mut envelope = String::new();
    statement.sign(signer).write_json(&mut envelope);
    let value = serde_json::from_str(&envelope)
        .map_err(|e| Error::new(ErrorId::Internal, format!("an envelope is not JSON: {e}")))?;
    Ok(vec![value])
}

fn sealing(
    sources: Vec<source::Source>,
    args: &args::Seal,
    signer: Option<Arc<dyn Signer>>,
    progress: Box<dyn Fn(u64) + Send + Sync>,
) -> Result<Sealing> {
    let members = sources.into_iter().map(|s| SealMember { path: s.path, source: s.bytes }).collect();
    let allow_unsigned = args.reason.clone();
    let (kind, sha256) = (args.kind()?, args.digest.sha256);
    Ok(Sealing { members, kind, sha256, sequential: false, signer, allow_unsigned, progress })
}

fn shared(key: SigningIdentity) -> Arc<dyn Signer> {
    Arc::new(key)
}

fn total(sources: &[source::Source]) -> u64 {
    sources.iter().map(|s| s.size).sum()
}
