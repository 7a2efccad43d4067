//! Which versions of datasets were seen on this machine: nothing older is accepted, and no fork.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model_vault::crypto::sign::VerifyingKey;
use model_vault::dataset::{Chain, Version, VersionSeen};
use model_vault::names::{Clock, Sha256, SystemClock, Timestamp};
use model_vault::{Error, ErrorId, Result};
use serde::{Deserialize, Serialize};

use super::origin::Origin;
use crate::args::{Believed, Recent};
use crate::command::Context;
use crate::files::signature::put;
use crate::files::{on, read_small};

/// A dataset whose newest version may be used now.
pub struct Accepted {
    /// Its versions, as far as trusted signers signed them.
    pub chain: Chain,
    /// Who signed the newest.
    pub signers: Vec<VerifyingKey>,
    state: Option<State>,
    names: Vec<String>,
}

impl Accepted {
    /// Asks what is remembered, and what the caller asks for.
    ///
    /// # Errors
    /// Those of [`Statements::chain`](super::statements::Statements::chain) and [`Chain::accept`]; `Denied` for what was signed too lately.
    pub fn of(cx: &Context<'_>, origin: &Origin<'_>, believed: &Believed, recent: &Recent) -> Result<Self> {
        Self::at(cx, origin, (believed, recent), Some(SystemClock.now()))
    }

    /// The same about what was done with it once: it may have expired since.
    ///
    /// # Errors
    /// As [`of`](Self::of), but for expiry and age.
    pub fn in_the_past(cx: &Context<'_>, origin: &Origin<'_>, believed: &Believed, recent: &Recent) -> Result<Self> {
        Self::at(cx, origin, (believed, recent), None)
    }

    fn at(
        cx: &Context<'_>,
        origin: &Origin<'_>,
        (believed, recent): (&Believed, &Recent),
        now: Option<Timestamp>,
    ) -> Result<Self> {
        let (chain, signers) = origin.statements()?.chain(cx, believed)?;
        let statement = &chain.newest().statement;
        let state = if recent.no_state { None } else { Some(State::read()?) };
        let names: Vec<_> = signers.iter().map(|key| format!("{} {}", key.key_id(), statement.name)).collect();
        let seen = state.as_ref().and_then(|s| names.iter().filter_map(|name| s.seen(name)).max_by_key(|s| s.version));
        chain.accept(seen, recent.min_version, now).map_err(|e| e.on(origin.name()))?;
        if let Some(age) = recent.min_age.filter(|age| now.is_some_and(|now| now.since(statement.created) < *age)) {
            let text = format!(
                "version {} was signed at {}, less than {} s ago",
                statement.version,
                statement.created,
                age.as_secs()
            );
            return Err(Error::new(ErrorId::Denied, text).hint(
                "what was slipped in shortly before is found by waiting: verify it later, or take an older version",
            ));
        }
        Ok(Self { chain, signers, state, names })
    }

    /// The newest version.
    pub fn newest(&self) -> &Version {
        self.chain.newest()
    }

    /// Remembers it.
    pub fn remember(&mut self) -> Result<()> {
        let newest = self.chain.newest();
        let to = VersionSeen { version: newest.statement.version, digest: newest.digest };
        self.state.as_mut().map_or(Ok(()), |state| state.raise(&self.names, to))
    }
}

/// Which versions were seen on this machine.
struct State {
    file: PathBuf,
    seen: BTreeMap<String, SeenRow>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SeenRow {
    version: u64,
    digest: Sha256,
}

impl State {
    fn read() -> Result<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        let base = base.ok_or_else(|| {
            Error::new(ErrorId::InvalidArgument, "no directory for the record of versions seen is known")
                .hint("set XDG_STATE_HOME, or give --no-state")
        })?;
        let directory = base.join("modelvault");
        std::fs::create_dir_all(&directory).map_err(|e| {
            Error::from(e)
                .on(directory.display())
                .hint("set XDG_STATE_HOME to a writable directory, or give --no-state")
        })?;
        Self::at(directory.join("datasets-seen.json"))
    }

    fn at(file: PathBuf) -> Result<Self> {
        if !file.exists() {
            return Ok(Self { file, seen: BTreeMap::new() });
        }
        let text = read_small(&file, 16 << 20).map_err(on(&file))?;
        let seen = serde_json::from_slice(&text).map_err(|e| damaged(&file, &e.to_string()))?;
        Ok(Self { file, seen })
    }

    fn seen(&self, name: &str) -> Option<VersionSeen> {
        self.seen.get(name).map(|row| VersionSeen { version: row.version, digest: row.digest })
    }

    /// Others raise it too: what they remembered meanwhile stays.
    fn raise(&mut self, names: &[String], to: VersionSeen) -> Result<()> {
        let lock = self.file.with_extension("json.lock");
        let held = std::fs::File::options().create(true).truncate(false).write(true).open(&lock).map_err(on(&lock))?;
        held.lock().map_err(on(&lock))?;
        let mut now = Self::at(self.file.clone())?;
        for name in names {
            if now.seen(name).is_none_or(|seen| seen.version < to.version) {
                now.seen.insert(name.clone(), SeenRow { version: to.version, digest: to.digest });
            }
        }
        let text = serde_json::to_vec_pretty(&now.seen).map_err(|e| damaged(&now.file, &e.to_string()))?;
        put(&now.file, &text)?;
        *self = now;
        Ok(())
    }
}

fn damaged(file: &Path, why: &str) -> Error {
    Error::new(ErrorId::ConfigInvalid, format!("{}: {why}", file.display()))
        .hint("it says which versions were seen before; remove it only if you know why it is damaged")
}
