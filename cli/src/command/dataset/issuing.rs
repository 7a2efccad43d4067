//! The next version of a dataset, by those who signed the versions before.

use std::fs::{File, TryLockError};
use std::path::Path;

use model_vault::dataset::{Chain, DatasetStatement, Version};
use model_vault::manifest::oms::Bundle;
use model_vault::names::{Clock, KeyId, Sha256, SystemClock, Timestamp};
use model_vault::{Error, ErrorId, Result, regular};

use super::places::Places;
use crate::args::DatasetSigner;
use crate::command::Context;
use crate::command::identity::Signers;
use crate::files::on;
use crate::files::signature::put;

/// Refuses an end that is over: nobody would accept what is signed.
///
/// # Errors
/// `InvalidArgument`.
pub fn must_lie_ahead(expires: Option<Timestamp>) -> Result<()> {
    match expires.filter(|end| SystemClock.now() >= *end) {
        None => Ok(()),
        Some(end) => Err(Error::new(
            ErrorId::InvalidArgument,
            format!("--expires {end} is over: nobody would accept the version"),
        )
        .hint("name a time to come, in UTC, or leave --expires out")),
    }
}

/// What there is, and who signs. Nobody else signs the same dataset meanwhile.
pub struct Issuing {
    _alone: File,
    /// Who signs.
    pub signers: Signers,
    bundles: Vec<Bundle>,
    chain: Option<Chain>,
}

impl Issuing {
    /// Builds upon statements by these very signers: upon nobody else's.
    ///
    /// # Errors
    /// `Busy` while another command signs it; `AlreadyExists` where others signed all that is there; those of the signers and the
    /// statements.
    pub fn begin(cx: &Context<'_>, path: &Path, places: &Places, signer: &DatasetSigner) -> Result<Self> {
        // The file or directory itself: nothing is left beside it. Before the versions are read that this one follows.
        let alone = regular::open_or_directory(path).map_err(on(path))?;
        alone.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => {
                Error::new(ErrorId::Busy, format!("{}: another command signs it", path.display()))
                    .hint("wait until it has ended")
            }
            TryLockError::Error(e) => on(path)(e),
        })?;
        let signers = Signers::named(cx, &signer.key, signer.identity.as_ref())?;
        let bundles = places.statements()?.bundles;
        let own: Vec<_> = bundles.iter().filter(|b| signers.public().any(|key| b.verify(key).is_ok())).collect();
        if own.is_empty() && !bundles.is_empty() {
            let text = format!("{} has versions that other keys signed", places.statement.display());
            return Err(Error::new(ErrorId::AlreadyExists, text)
                .hint("sign with the key of the versions before, or move the file away and begin anew"));
        }
        let chain = match own.is_empty() {
            true => None,
            false => Some(Chain::of(own.iter().map(|b| &*b.payload)).map_err(|e| e.on(places.statement.display()))?),
        };
        if let Some(chain) = &chain {
            super::suppliers::settle(places, &chain.newest().statement)?;
        }
        Ok(Self { _alone: alone, signers, bundles, chain })
    }

    /// The version before.
    pub fn before(&self) -> Option<&Version> {
        self.chain.as_ref().map(Chain::newest)
    }

    /// Roots of the versions that a contributor supplied records of.
    pub fn roots_with(&self, contributor: &str) -> Vec<Sha256> {
        let versions = self.chain.iter().flat_map(Chain::versions).map(|v| &v.statement);
        let has = |s: &&DatasetStatement| s.attribution.contributors.iter().any(|c| c.name == contributor);
        versions.filter(has).map(DatasetStatement::root).collect()
    }

    /// Signs a statement and puts it with those before, when `ready` has made place for it.
    ///
    /// # Errors
    /// Those of a statement that cannot be read again, of signing, and of `ready`.
    pub fn publish(
        &self,
        cx: &Context<'_>,
        places: &Places,
        statement: &DatasetStatement,
        ready: impl FnOnce() -> Result<()>,
    ) -> Result<Vec<KeyId>> {
        let payload = statement.to_payload().into_bytes();
        DatasetStatement::from_payload(&payload)
            .map_err(|e| e.hint("a name, source, reason or licence has 1 to 4096 bytes; paths are plain"))?;
        let made = self.signers.sign(cx, &payload, None)?;
        let all: Vec<_> = self.bundles.iter().chain(made.iter().map(|s| &s.bundle)).cloned().collect();
        let text = Places::with(&all)?;
        ready()?;
        put(&places.statement, &text)?;
        Ok(made.iter().map(|s| s.key.key_id()).collect())
    }
}
