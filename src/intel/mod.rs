//! Threat intelligence: lists of known bad digests and keys, read strictly and matched in memory. Pure: no network, no storage.
//!
//! | form | what is taken of it |
//! |---|---|
//! | lines | `sha256:HEX`, `blake3:HEX`, `key:HEX` (a signer's key id), `root:HEX` (a sealed file); 64 digits alone are a SHA-256 |
//! | CSV | the columns `sha256`, `blake3`, `key`, `root`, and `indicator` with entries as above |
//! | STIX 2.1 | a bundle's indicators whose pattern is about hashes of files |
//!
//! A list with an entry that is none of these is refused as a whole, with its line: half a deny list is worse than none.

mod stix;
mod text;

use std::fmt;

use crate::error::{Error, ErrorId};
use crate::json::JsonError;
use crate::names::Timestamp;

/// Bytes of a list that are read at most.
pub const MAX_BYTES: usize = 64 << 20;
/// Entries of all lists together.
pub const MAX_ENTRIES: usize = 1_000_000;
/// Bytes of an entry as it is kept: kind, digest, end.
const ENTRY_LEN: usize = 41;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SHA-256 of a file.
    Sha256 = 1,
    /// BLAKE3 of a file.
    Blake3 = 2,
    /// Id of a signing key.
    Key = 3,
    /// Root of a sealed file.
    Root = 4,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Sha256, Self::Blake3, Self::Key, Self::Root];

    /// The word before an entry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
            Self::Key => "key",
            Self::Root => "root",
        }
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A known bad digest or key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Indicator {
    /// What it is about.
    pub kind: Kind,
    /// Its 32 bytes.
    pub digest: [u8; 32],
}

impl Indicator {
    /// `sha256:HEX`; 64 digits alone are of kind `bare`.
    fn parse(text: &str, bare: Kind) -> Option<Self> {
        let (kind, digits) = match text.split_once(':') {
            Some((word, digits)) => (Kind::named(&word.to_ascii_lowercase())?, digits),
            None => (bare, text),
        };
        let mut digest = [0; 32];
        hex::decode_to_slice(digits, &mut digest).ok()?;
        Some(Self { kind, digest })
    }
}

impl fmt::Display for Indicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), hex::encode(self.digest))
    }
}

/// Why a list is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntelError {
    /// Too large.
    #[error("the list has more than {0}")]
    TooLarge(String),
    /// Not UTF-8, or nothing in it.
    #[error("the list {0}")]
    Unreadable(&'static str),
    /// A line that is no entry.
    #[error("line {line}: {why}")]
    Line {
        /// From 1.
        line: usize,
        /// The rule.
        why: &'static str,
    },
    /// Not JSON.
    #[error("not a STIX bundle: {0}")]
    Json(#[from] JsonError),
    /// Not a bundle of STIX 2.1.
    #[error("not a STIX bundle: {0}")]
    Stix(&'static str),
}

impl From<IntelError> for Error {
    fn from(e: IntelError) -> Self {
        Self::new(ErrorId::InvalidArgument, e.to_string()).hint(
            "one sha256:HEX, blake3:HEX, key:HEX or root:HEX a line; CSV with such a column; or a STIX 2.1 bundle",
        )
    }
}

/// What a list said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Sorted, each once, with the moment from which on it holds no more.
    entries: Vec<(Indicator, Option<Timestamp>)>,
    /// Indicators about something else than files' hashes, or revoked.
    pub passed_over: u64,
}

impl List {
    /// Reads a list in any of its forms.
    ///
    /// # Errors
    /// The first rule broken, with its place.
    pub fn parse(bytes: &[u8]) -> Result<Self, IntelError> {
        if bytes.len() > MAX_BYTES {
            return Err(IntelError::TooLarge(format!("{} MiB", MAX_BYTES >> 20)));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| IntelError::Unreadable("is not UTF-8"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (entries, passed_over) =
            if text.trim_start().starts_with('{') { stix::read(text)? } else { (text::read(text)?, 0) };
        Self::of(entries, passed_over)
    }

    fn of(mut entries: Vec<(Indicator, Option<Timestamp>)>, passed_over: u64) -> Result<Self, IntelError> {
        // Of one indicator the entry that holds longest comes first, and stays.
        let end = |until: Option<Timestamp>| until.map_or(i64::MAX, Timestamp::as_millis);
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(end(b.1).cmp(&end(a.1))));
        entries.dedup_by_key(|entry| entry.0);
        if entries.len() > MAX_ENTRIES {
            return Err(IntelError::TooLarge(format!("{MAX_ENTRIES} entries")));
        }
        Ok(Self { entries, passed_over })
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The digests of a kind, sorted.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &[u8; 32]> {
        self.entries.iter().filter(move |(indicator, _)| indicator.kind == kind).map(|(indicator, _)| &indicator.digest)
    }

    /// The entries in a row, as they are kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * ENTRY_LEN);
        for (indicator, until) in &self.entries {
            bytes.push(indicator.kind as u8);
            bytes.extend_from_slice(&indicator.digest);
            bytes.extend_from_slice(&until.map_or(i64::MAX, Timestamp::as_millis).to_be_bytes());
        }
        bytes
    }

    /// The same list again; `None` if these are no entries.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (rows, rest) = bytes.as_chunks::<ENTRY_LEN>();
        if !rest.is_empty() {
            return None;
        }
        let entry = |row: &[u8; ENTRY_LEN]| {
            let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == row[0])?;
            let until = i64::from_be_bytes(row[33..].try_into().ok()?);
            let until = (until != i64::MAX).then_some(Timestamp::from_millis(until));
            Some((Indicator { kind, digest: row[1..33].try_into().ok()? }, until))
        };
        Self::of(rows.iter().map(entry).collect::<Option<_>>()?, 0).ok()
    }

    /// Whether the list names it now.
    pub fn names(&self, indicator: &Indicator, now: Timestamp) -> bool {
        let found = self.entries.binary_search_by(|(entry, _)| entry.cmp(indicator));
        found.is_ok_and(|at| self.entries[at].1.is_none_or(|until| now < until))
    }
}

/// All lists in force, by where they are from.
#[derive(Clone, Debug, Default)]
pub struct Lists(Vec<(String, std::sync::Arc<List>)>);

/// A match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where the list is from.
    pub source: String,
    /// What it names.
    pub indicator: Indicator,
}

impl Lists {
    /// Puts a list in force, in the place of the one from the same source.
    pub fn put(&mut self, source: &str, list: std::sync::Arc<List>) {
        self.remove(source);
        self.0.push((source.into(), list));
    }

    /// Takes the list of a source out of force.
    pub fn remove(&mut self, source: &str) {
        self.0.retain(|(name, _)| name != source);
    }

    /// The list of a source.
    pub fn of(&self, source: &str) -> Option<&List> {
        self.0.iter().find(|(name, _)| name == source).map(|(_, list)| &**list)
    }

    /// Entries of all lists but one.
    pub fn entries_beside(&self, source: &str) -> usize {
        self.0.iter().filter(|(name, _)| name != source).map(|(_, list)| list.len()).sum()
    }

    /// Whether nothing is named at all.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, list)| list.is_empty())
    }

    /// The first of these that a list names now.
    pub fn find(&self, indicators: impl IntoIterator<Item = Indicator>, now: Timestamp) -> Option<Hit> {
        indicators.into_iter().find_map(|indicator| {
            let (source, _) = self.0.iter().find(|(_, list)| list.names(&indicator, now))?;
            Some(Hit { source: source.clone(), indicator })
        })
    }
}

#[cfg(test)]
mod tests;
