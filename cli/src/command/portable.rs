//! Portable sealed files: opened by whoever holds a credential of a slot, with or without a vault.

use std::fs::File;
use std::io;
use std::path::Path;

use model_vault::facts::SealedFacts;
use model_vault::seal::io::ReadAt;
use model_vault::seal::signatures::claimed;
use model_vault::seal::{Credential, HeaderFacts, OpenOptions, Reader, SlotBody};
use model_vault::vault::slot_facts;
use model_vault::{Error, ErrorId, Result, regular};

use super::Context;
use crate::files::on;
use crate::session::Access;

/// Bytes of the trailer (docs/format.md 8).
const TRAILER_LEN: u64 = 96;
/// Most bytes of the signatures (docs/format.md 11).
const SIGNATURES_MAX: u64 = 4 << 20;

/// Opens the file that a path names: a sealed file is a regular one.
pub fn file(path: &Path) -> Result<File> {
    regular::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory => {
            Error::new(ErrorId::InvalidArgument, format!("{} is not a regular file", path.display()))
                .hint("sealed files are read at any place: a pipe or directory will not do")
        }
        _ => on(path)(e),
    })
}

/// The credential that a file wants of the user; `None`: a key of the vault.
///
/// # Errors
/// `NoCredential` if a passphrase is needed and cannot be had; `NotSealed` and the like.
pub fn credential(cx: &Context<'_>, file: &File, path: &Path) -> Result<Option<Credential>> {
    let facts = HeaderFacts::read(file).map_err(|e| Error::from(e).on(path.display()))?;
    let sealed_to_passphrase = facts.table.slots.iter().any(|s| matches!(s.body, SlotBody::Passphrase { .. }));
    if !sealed_to_passphrase {
        return Ok(None);
    }
    let passphrase = cx.session.credentials().passphrase(&format!("Passphrase of {}", path.display()))?;
    Ok(Some(Credential::Passphrase(passphrase)))
}

/// Opens a portable file with what its slots ask for.
pub fn open(cx: &Context<'_>, path: &Path) -> Result<Reader> {
    let file = file(path)?;
    let named = |e: Error| e.on(path.display());
    match credential(cx, &file, path)? {
        Some(credential) => Reader::open(file, &credential, &OpenOptions::default()).map_err(|e| named(Error::from(e))),
        None => match cx.session.access().map_err(|e| explain(e, path))? {
            Access::Local(vault) => vault.open_portable(&cx.session.caller(&vault)?, Box::new(file)).map_err(named),
            Access::Remote(_) => {
                Err(Error::new(ErrorId::Busy, format!("{}: its key is in a vault that a daemon holds", path.display()))
                    .hint("take the file in and open the artifact: vault import FILE; or stop the daemon"))
            }
        },
    }
}

/// Without a vault there is no key for a file that was sealed under one.
fn explain(error: Error, path: &Path) -> Error {
    match error.id() {
        ErrorId::NoVault => Error::new(
            ErrorId::NoCredential,
            format!("{}: sealed under the key of a vault, and there is none here", path.display()),
        )
        .hint("name the home of that vault with --home, or check without a key: vault verify --keyless FILE"),
        _ => error,
    }
}

/// What anyone can see of a file. Nothing of it is verified.
pub fn header_facts(path: &Path) -> Result<SealedFacts> {
    let file = file(path)?;
    let facts = HeaderFacts::read(&file).map_err(|e| Error::from(e).on(path.display()))?;
    let (payload_size, claimed_signers) = claims(&file, facts.preamble.header_len.into())
        .ok_or_else(|| Error::new(ErrorId::Truncated, format!("{}: the end of the file is missing", path.display())))?;
    Ok(SealedFacts {
        version: None,
        tags: Vec::new(),
        marks: None,
        format: "MVLT 1".into(),
        file_id: facts.preamble.file_id,
        commitment: facts.preamble.commitment,
        root: None,
        segment_size: 1 << facts.preamble.log2,
        header_len: facts.preamble.header_len.into(),
        generation: facts.table.generation,
        payload_size,
        slots: slot_facts(&facts.table.slots),
        claimed_signers,
        members: None,
    })
}

/// What the trailer says of the payload's length, and the key ids that the signatures name.
fn claims(file: &File, header_len: u64) -> Option<(u64, Vec<String>)> {
    let len = ReadAt::len(file).ok()?;
    let at = len.checked_sub(TRAILER_LEN).filter(|at| *at >= header_len)?;
    let mut trailer = [0; TRAILER_LEN as usize];
    ReadAt::read_exact_at(file, &mut trailer, at).ok()?;
    if !trailer.ends_with(b"MVLTEND\x01") {
        return None;
    }
    let length = |i: usize| trailer[8 * i..][..8].try_into().map(u64::from_be_bytes).ok();
    let (payload, signatures) = (length(0)?, length(3)?);
    let start = at.checked_sub(signatures).filter(|_| signatures <= SIGNATURES_MAX)?;
    let mut bytes = vec![0; usize::try_from(signatures).ok()?];
    ReadAt::read_exact_at(file, &mut bytes, start).ok()?;
    Some((payload, claimed(&bytes)))
}
