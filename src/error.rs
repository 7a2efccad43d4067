//! The public error: a stable id, what failed on what, and what to do next.
//!
//! Ids, exit statuses, gRPC statuses and hints come from one table, `contracts/errors.tsv`. Every room has a small error of
//! its own that converts into this one; messages never contain keys, passphrases or plaintext.

use std::fmt;
use std::time::Duration;

include!(concat!(env!("OUT_DIR"), "/error_table.rs"));

/// Result of the public interface.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, on what, and what to do next.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    id: ErrorId,
    message: String,
    hint: Option<String>,
    details: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of the table with a sentence that names what failed on what.
    pub fn new(id: ErrorId, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            id,
            message: message.into(),
            hint: None,
            details: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// Replaces the table's hint by one that fits the occasion.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds a fact for programs (`details` of the JSON form), for example the segment or member.
    #[must_use]
    pub fn detail(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.details.push((key, value.to_string()));
        self
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts the thing it happened to before the message: `model.onnx: no space left`.
    #[must_use]
    pub fn on(mut self, subject: impl fmt::Display) -> Self {
        self.0.message = format!("{subject}: {}", self.0.message);
        self
    }

    /// An I/O error with the thing it happened to. One of ours that went through `std::io` names that already.
    pub fn of_io(e: std::io::Error, subject: impl fmt::Display) -> Self {
        let is_own = e.get_ref().is_some_and(|inner| inner.is::<Self>());
        let error = Self::from(e);
        if is_own { error } else { error.on(subject) }
    }

    /// The stable id.
    pub fn id(&self) -> ErrorId {
        self.0.id
    }

    /// The class of the id.
    pub fn kind(&self) -> Kind {
        self.0.id.kind()
    }

    /// The sentence, without hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next: the hint given, else the table's.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref().or(self.0.id.default_hint())
    }

    /// Facts for programs.
    pub fn details(&self) -> &[(&'static str, String)] {
        &self.0.details
    }

    /// When trying again makes sense.
    pub fn retry_after_hint(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|s| &**s as _)
    }
}

impl fmt::Display for ErrorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<std::io::Error> for Error {
    /// An error of ours that went through `std::io` comes out as it was.
    fn from(e: std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let e = match e.downcast::<Self>() {
            Ok(own) => return own,
            Err(e) => e,
        };
        let id = match e.kind() {
            K::StorageFull | K::QuotaExceeded => ErrorId::DiskFull,
            K::NotFound => ErrorId::NotFound,
            _ => ErrorId::IoError,
        };
        let error = Self::new(id, reason(&e));
        let error = match e.kind() {
            // The table's hint is about artifacts; what is missing here is a file.
            K::NotFound => error.hint("check the path"),
            K::PermissionDenied => error.hint("check who owns it and its permissions"),
            _ => error,
        };
        error.caused_by(e)
    }
}

/// An I/O error within a sentence: `no such file or directory`, without capital and number.
pub fn reason(e: &std::io::Error) -> String {
    let text = e.to_string();
    let text = match (e.raw_os_error(), text.rsplit_once(" (os error ")) {
        (Some(_), Some((text, _))) => text,
        _ => &text,
    };
    // An abbreviation keeps its capitals.
    match text.as_bytes() {
        [first, second, ..] if first.is_ascii_uppercase() && second.is_ascii_lowercase() => {
            format!("{}{}", first.to_ascii_lowercase() as char, &text[1..])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_unique_and_says_what_it_means() {
        let mut names: Vec<_> = ErrorId::ALL.iter().map(|id| id.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorId::ALL.len());
        assert!(ErrorId::ALL.iter().all(|id| !id.meaning().is_empty()));
    }

    #[test]
    fn a_stranger_learns_nothing_about_storage_or_integrity() {
        assert_eq!(ErrorId::DiskFull.kind().remote_id(), Some("Internal"));
        assert_eq!(ErrorId::SegmentAuthFailed.kind().remote_id(), Some("Integrity"));
        assert_eq!(ErrorId::Denied.kind().remote_id(), None);
    }

    #[test]
    fn a_missing_file_is_told_as_one_and_not_as_a_missing_artifact() {
        let missing = Error::from(std::fs::File::open("/no/such/file").unwrap_err());
        assert_eq!((missing.id(), missing.message()), (ErrorId::NotFound, "no such file or directory"));
        assert_eq!(missing.hint_text(), Some("check the path"));
        assert_eq!(
            Error::of_io(std::io::ErrorKind::UnexpectedEof.into(), "a.csv").message(),
            "a.csv: unexpected end of file"
        );
        let named = std::io::Error::other(Error::new(ErrorId::DatasetChanged, "a.csv: bytes 0 to 9 are others"));
        assert_eq!(Error::of_io(named, "a.csv").message(), "a.csv: bytes 0 to 9 are others");
        let own = std::io::Error::other("TLS (os error 3) of theirs");
        assert_eq!(reason(&own), "TLS (os error 3) of theirs");
    }

    #[test]
    fn exit_statuses_are_those_of_the_design() {
        let exits: Vec<_> = Kind::ALL.iter().map(|k| k.exit_status()).collect();
        assert_eq!(exits, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(ErrorId::UnwrapFailed.kind().exit_status(), 4);
    }
}
