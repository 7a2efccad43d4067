//! The audit log in the words of those who watch many systems: one record in, one event out, in each of five forms.
//!
//! Pure mappings. The record says what happened; an event never says more, and what a form has no field for is carried along
//! as its own extension. Every event bears the record's sequence number, so that one that comes twice can be told.

mod cef;
mod config;
mod ecs;
mod jsonl;
mod ocsf;
mod otlp;
mod reading;
mod rfc5424;

pub use config::{Origin, Sink, SinkSettings, Target, Traces};
pub use ocsf::VERSION as OCSF_VERSION;
pub use otlp::{otlp_log, otlp_logs, otlp_resource};
pub use rfc5424::{frame, octet_counted};

use std::fmt;
use std::str::FromStr;

use crate::audit::Record;
use crate::error::{Error, ErrorId};
use crate::names::VaultId;

/// Which log the events are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The vault.
    pub vault: VaultId,
    /// Name of the machine that sends; `-` where it has none.
    pub host: String,
    /// Release of the vault.
    pub release: &'static str,
}

/// The forms of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Open Cybersecurity Schema Framework, JSON.
    Ocsf,
    /// Elastic Common Schema, JSON.
    Ecs,
    /// Common Event Format.
    Cef,
    /// RFC 5424 with structured data.
    Syslog,
    /// The record itself with its number, JSON.
    Jsonl,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ocsf, Self::Ecs, Self::Cef, Self::Syslog, Self::Jsonl];

    /// Its name in configurations and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ocsf => "ocsf",
            Self::Ecs => "ecs",
            Self::Cef => "cef",
            Self::Syslog => "syslog",
            Self::Jsonl => "jsonl",
        }
    }

    /// One row of the log as one line, without its end. Rows that are damaged, or of a newer release, are told as such: a
    /// watcher must not miss them.
    pub fn event(self, source: &Source, seq: u64, row: &[u8]) -> String {
        let record = Record::parse(row);
        match (self, &record) {
            (Self::Jsonl, _) => jsonl::event(source, seq, row),
            (Self::Ocsf, Ok(record)) => ocsf::event(source, seq, record).to_string(),
            (Self::Ocsf, Err(why)) => ocsf::unreadable(source, seq, why).to_string(),
            (Self::Ecs, Ok(record)) => ecs::event(source, seq, record).to_string(),
            (Self::Ecs, Err(why)) => ecs::unreadable(source, seq, why).to_string(),
            (Self::Cef, Ok(record)) => cef::event(source, seq, record),
            (Self::Cef, Err(why)) => cef::unreadable(source, seq, why),
            (Self::Syslog, Ok(record)) => rfc5424::event(source, seq, record),
            (Self::Syslog, Err(why)) => rfc5424::unreadable(source, seq, why),
        }
    }

    /// The same as a syslog message: what goes over a syslog transport, whatever the form.
    pub fn message(self, source: &Source, seq: u64, row: &[u8]) -> String {
        let event = self.event(source, seq, row);
        match self {
            Self::Syslog => event,
            _ => frame(source, &Record::parse(row), &event),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|f| f.as_str() == text).ok_or_else(|| {
            Error::new(ErrorId::InvalidArgument, format!("not a form of events: {text:?}"))
                .hint("forms are ocsf, ecs, cef, syslog and jsonl")
        })
    }
}
