//! What a catalogue answers instead of a result.

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, ErrorId};

/// With less than this a file of the catalogue cannot grow: the shared memory of a database takes 32 KiB at once.
const FULL_BELOW: u64 = 64 << 10;

/// Result of a catalogue command.
pub type Result<T, E = CatalogueError> = std::result::Result<T, E>;

/// Why a command had no effect. `Clone`, because one failed commit is the answer to every command of its group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// There is none, or it is not listed.
    #[error("{0}: not found")]
    NotFound(String),
    /// It is there, or another caller was faster.
    #[error("{0}")]
    AlreadyExists(String),
    /// The tag is not where the caller expected it.
    #[error("tag {tag} is at {}, not at v{expected}", .found.map_or("no version".into(), |n| format!("v{n}")))]
    TagMoved {
        /// Which tag.
        tag: String,
        /// Where the caller expected it.
        expected: u64,
        /// Where it is.
        found: Option<u64>,
    },
    /// The key of the version was destroyed, or is about to be.
    #[error("{0}: its key was destroyed")]
    Shredded(String),
    /// The approval that the act needs was used up, refused or has ended.
    #[error("{0}")]
    NotApproved(String),
    /// The stored facts contradict each other, their authentication or the schema.
    #[error("the catalogue is damaged: {0}")]
    Damaged(String),
    /// Another process holds the database.
    #[error("the catalogue is held by another process: {0}")]
    Busy(String),
    /// No space left; the command had no effect.
    #[error("no space left for the catalogue: {0}")]
    DiskFull(String),
    /// Reading or writing failed.
    #[error("the catalogue cannot be read or written: {0}")]
    Io(String),
    /// The queue stayed full; the command had no effect.
    #[error("the catalogue has no room for more work")]
    Overloaded,
    /// No answer in time.
    #[error("the catalogue did not answer in time{}", if *.may_take_effect { "; the command may still take effect" } else { "" })]
    DeadlineExceeded {
        /// The command had begun; whether it takes effect is not known.
        may_take_effect: bool,
    },
    /// A newer release wrote it.
    #[error("the catalogue has schema version {found}; this release knows up to {known}")]
    UnsupportedVersion {
        /// What is stored.
        found: i64,
        /// The newest this release knows.
        known: i64,
    },
    /// The command's arguments break a rule.
    #[error("{0}")]
    InvalidArgument(String),
    /// A bug.
    #[error("the catalogue failed: {0}")]
    Internal(String),
}

impl CatalogueError {
    /// Says which file could not be read or written, and tells a full disk from a broken one: SQLite reports "no space left"
    /// as an I/O error unless it was a write that met it.
    #[must_use]
    pub(super) fn of_file(self, path: &Path) -> Self {
        let named = |text: String| {
            let file = path.display().to_string();
            if text.contains(&file) { text } else { format!("{file}: {text}") }
        };
        match self {
            Self::Io(text) if full(path) => Self::DiskFull(named(text)),
            Self::Io(text) => Self::Io(named(text)),
            Self::DiskFull(text) => Self::DiskFull(named(text)),
            other => other,
        }
    }
}

fn full(path: &Path) -> bool {
    rustix::fs::statvfs(path.parent().unwrap_or(path)).is_ok_and(|disk| {
        disk.f_bavail.saturating_mul(disk.f_frsize) < FULL_BELOW || (disk.f_files > 0 && disk.f_favail == 0)
    })
}

impl From<CatalogueError> for Error {
    fn from(e: CatalogueError) -> Self {
        use CatalogueError as E;
        let id = match &e {
            E::NotFound(_) => ErrorId::NotFound,
            E::AlreadyExists(_) => ErrorId::AlreadyExists,
            E::TagMoved { .. } => ErrorId::TagMoved,
            E::Shredded(_) => ErrorId::Shredded,
            E::NotApproved(_) => ErrorId::ApprovalRequired,
            E::Damaged(_) => ErrorId::CatalogueDamaged,
            E::Busy(_) => ErrorId::Busy,
            E::DiskFull(_) => ErrorId::DiskFull,
            E::Io(_) => ErrorId::IoError,
            E::Overloaded => ErrorId::Overloaded,
            E::DeadlineExceeded { .. } => ErrorId::DeadlineExceeded,
            E::UnsupportedVersion { .. } => ErrorId::UnsupportedVersion,
            E::InvalidArgument(_) => ErrorId::InvalidArgument,
            E::Internal(_) => ErrorId::Internal,
        };
        let error = Self::new(id, e.to_string());
        match &e {
            E::Overloaded => error.retry_after(Duration::from_secs(1)),
            E::UnsupportedVersion { .. } => error.hint(
                "a newer release of Model Vault upgraded this home; use that release, or restore a backup made before",
            ),
            _ => error,
        }
    }
}
