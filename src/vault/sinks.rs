//! How far each receiver of the audit log has come. The log itself is what waits for a receiver that is away: a sink is a number
//! in it, kept in a file of its own, so that nothing the vault does ever waits for one.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::gate::Subject;
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::Load;
use crate::error::{Error, ErrorId, Result};
use crate::facts::{SinkFacts, SinksFacts};
use crate::home::{read_bounded, replace_file};
use crate::names::Timestamp;
use crate::policy::{Action, Resource};
use crate::siem::SinkSettings;

/// Directory of the numbers within a home.
const DIRECTORY: &str = "sinks";
/// First word of such a file.
const MARK: &str = "modelvault-sink-1";

/// What is known of each sink since the daemon runs.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<BTreeMap<String, Progress>>);

/// How a sink fares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Record up to which everything was delivered.
    pub cursor: u64,
    /// Events delivered since the daemon runs.
    pub events: u64,
    /// Failures since the daemon runs.
    pub failures: u64,
    /// Why it does not get on now.
    pub error: Option<String>,
    /// When something was delivered last.
    pub delivered: Option<Timestamp>,
}

impl Vault {
    /// The sinks in force and how far they have come.
    pub fn sinks(&self, caller: &Caller) -> Result<SinksFacts> {
        let act = Act::VaultStatus;
        let subject = Subject::vault().with("of", "sinks");
        let permit = self.permit(caller, act, Action::Status, Resource::Vault, &subject)?;
        self.record(caller, act, &subject, &permit)?;
        let records = self.audit_records()?;
        let (_, settings) = self.setting::<SinkSettings>();
        let board = self.sink_progress();
        let facts = settings.sinks.iter().map(|sink| {
            let known = board.get(&sink.name).cloned();
            let cursor = match &known {
                Some(progress) => progress.cursor,
                None => self.sink_cursor(&sink.name)?.unwrap_or(0),
            };
            let running = known.is_some();
            let progress = known.unwrap_or_default();
            Ok(SinkFacts {
                name: sink.name.clone(),
                format: sink.format.as_str().into(),
                to: sink.to.as_str().into(),
                target: sink.target(),
                running,
                cursor,
                lag: records.saturating_sub(cursor),
                events: progress.events,
                delivered: progress.delivered,
                error: progress.error,
            })
        });
        Ok(SinksFacts { records, sinks: facts.collect::<Result<_>>()? })
    }

    /// How many records the log has, and how many its newest checkpoint covers.
    pub(crate) fn audit_numbers(&self) -> Result<(u64, u64)> {
        Ok((self.catalogue.audit_len()?, self.catalogue.latest_checkpoint()?.map_or(0, |c| c.size)))
    }

    /// How busy the catalogue's writer is.
    pub(crate) fn load(&self) -> Load {
        self.catalogue.load()
    }

    /// How many records the log has.
    pub(crate) fn audit_records(&self) -> Result<u64> {
        Ok(self.catalogue.audit_len()?)
    }

    /// How all sinks fare that run.
    pub(crate) fn sink_progress(&self) -> BTreeMap<String, Progress> {
        self.board.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells how a sink fares.
    pub(crate) fn tell_sink(&self, name: &str, change: impl FnOnce(&mut Progress)) {
        let mut board = self.board.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(board.entry(name.to_owned()).or_default());
    }

    /// A sink runs no more.
    pub(crate) fn forget_sink(&self, name: &str) {
        self.board.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The last record that a sink has delivered; `None` for one that never ran.
    pub(crate) fn sink_cursor(&self, name: &str) -> Result<Option<u64>> {
        let path = self.sink_path(name);
        let text = match read_bounded(&path, 128) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|e| Error::from(e).on(path.display()))?,
        };
        let number = std::str::from_utf8(&text).ok().and_then(|t| t.trim_end().strip_prefix(MARK)?.trim().parse().ok());
        number.map(Some).ok_or_else(|| {
            Error::new(ErrorId::ConfigInvalid, format!("{}: not the place of a sink in the log", path.display()))
                .hint("remove the file: the sink begins anew")
        })
    }

    /// Keeps it, durably.
    pub(crate) fn keep_sink_cursor(&self, name: &str, seq: u64) -> Result<()> {
        let path = self.sink_path(name);
        let kept = match replace_file(&path, format!("{MARK} {seq}\n").as_bytes()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                use std::os::unix::fs::DirBuilderExt as _;
                let made = std::fs::DirBuilder::new().mode(0o700).create(self.home().path().join(DIRECTORY));
                made.and_then(|()| replace_file(&path, format!("{MARK} {seq}\n").as_bytes()))
            }
            kept => kept,
        };
        kept.map_err(|e| Error::from(e).on(path.display()))
    }

    /// Names of sinks are checked: letters, digits and hyphens.
    fn sink_path(&self, name: &str) -> PathBuf {
        self.home().path().join(DIRECTORY).join(name)
    }
}
