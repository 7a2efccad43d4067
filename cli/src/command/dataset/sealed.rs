//! A dataset that is sealed in a vault: its members are the files, `dataset.sig` and `dataset.tree`. They are read from the vault as they
//! are asked for, and none is written to disk.

use std::io;
use std::sync::Arc;

use model_vault::client::{FetchPlan, Member, SealedVersion};
use model_vault::dataset::{Beside, Folder, Format, Opened, Tree};
use model_vault::manifest::PARTS_NAME;
use model_vault::manifest::oms::MAX_BUNDLE_LEN;
use model_vault::names::{Reference, Revision};
use model_vault::seal::io::ReadAt;
use model_vault::{Error, ErrorId, Result};

use super::places::{RECORDS, STATEMENT};
use super::statements::Statements;
use crate::args::Daemon;
use crate::command::Context;
use crate::command::remote::{self, Remote};
use crate::command::show;

/// One sealed version.
pub struct Sealed {
    /// This very version, for messages.
    name: String,
    version: Arc<SealedVersion>,
}

impl Sealed {
    /// Opens the version that a reference means now, as `vault fetch` does, and stays with it.
    ///
    /// # Errors
    /// Those of a fetch, and of the record of tags seen.
    pub fn open(cx: &Context<'_>, reference: &Reference, daemon: &Daemon, keep_state: bool) -> Result<Self> {
        let remote = Remote::of(cx, daemon, &reference.namespace)?;
        let by_tag = matches!(reference.revision, Revision::Tag(_));
        let mut floor = if keep_state && by_tag { Some(remote.floor()?) } else { None };
        let key = remote.floor_key(reference);
        let plan = FetchPlan {
            floor: floor.as_ref().and_then(|f| f.of(&key)).cloned(),
            ..FetchPlan::whole(reference.clone(), remote.signers.clone())
        };
        let runtime = cx.session.runtime()?.handle().clone();
        let version =
            SealedVersion::open(remote.client, runtime, plan, &is_beside).map_err(|e| remote::explain(e, reference))?;
        // Before anything of it is used.
        if let (Some(floor), Some(tag)) = (floor.as_mut(), &version.report().tag) {
            floor.raise(&key, tag)?;
        }
        Ok(Self { name: show::reference(&version.report().version), version: Arc::new(version) })
    }

    /// Its files.
    ///
    /// # Errors
    /// As [`Folder::of`].
    pub fn folder(&self, format: Option<Format>) -> Result<Folder> {
        Folder::of(Box::new(Files(Arc::clone(&self.version))), format)
    }

    /// All statements in it.
    ///
    /// # Errors
    /// `BundleMalformed`; those of a fetch.
    pub fn statements(&self) -> Result<Statements> {
        let place = format!("{}, {STATEMENT}", self.name);
        match self.version.member(STATEMENT) {
            Some(member) => Statements::of(place, &self.small(STATEMENT, &member, MAX_BUNDLE_LEN)?),
            None => Ok(Statements::none(
                place,
                "data is signed before it is sealed: vault dataset sign DIR, then vault seal DIR --kind dataset",
            )),
        }
    }

    fn small(&self, path: &str, member: &Member, most: u64) -> Result<Vec<u8>> {
        let failed = |e: io::Error| Error::from(e);
        let len = member.len().map_err(failed)?;
        if len > most {
            let text = format!("{}, {path}: longer than {most} bytes", self.name);
            return Err(Error::new(ErrorId::LimitExceeded, text).hint("this is not the file that is meant"));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        member.read_exact_at(&mut bytes, 0).map_err(failed)?;
        Ok(bytes)
    }
}

impl Beside for Sealed {
    fn beside(&self, file: &str, what: &str, most: u64) -> Result<Vec<u8>> {
        let path = format!("{RECORDS}/{file}/{what}");
        let missing = || {
            Error::new(ErrorId::NotFound, format!("{}: no member {path}", self.name))
                .hint("it was sealed without what signing keeps: sign the data, and seal all of the directory")
        };
        self.small(&path, &self.version.member(&path).ok_or_else(missing)?, most)
    }
}

/// What lies beside the files of a dataset.
fn is_beside(path: &str) -> bool {
    path == STATEMENT || path == PARTS_NAME || path.strip_prefix(RECORDS).is_some_and(|rest| rest.starts_with('/'))
}

struct Files(Arc<SealedVersion>);

impl Tree for Files {
    fn walk(&self, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.0
            .members()
            .filter(|(path, _)| *path == PARTS_NAME || !is_beside(path))
            .try_for_each(|(path, size)| each(path, size))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn Opened>> {
        let missing = || Error::new(ErrorId::NotFound, format!("no member {path:?} in the version"));
        Ok(Arc::new(File(self.0.member(path).ok_or_else(missing)?)))
    }
}

/// A member: what is sealed does not change.
struct File(Member);

impl ReadAt for File {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

impl Opened for File {}
