//! Settings that operators change while a vault runs: one document (TOML) of each kind, kept in the catalogue version by version,
//! authenticated as policies are. What a document means is said by the room it is for.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorId, Result};

/// Longest document, in bytes.
pub const MAX_TEXT_BYTES: usize = 256 << 10;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),* $(,)?) => {
        /// What a document is about. The texts are a contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum SettingKind {
            $($(#[$doc])* $variant,)*
        }

        impl SettingKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}
kinds! {
    /// Who vouches for callers besides this vault: token issuers, trust domains.
    Issuers = "issuers",
    /// Who belongs to which group.
    Groups = "groups",
    /// How much callers may do.
    Quotas = "quotas",
    /// Where the audit log is sent.
    Sinks = "sinks",
    /// What is noticed, and what is done about it.
    Alerts = "alerts",
}

impl fmt::Display for SettingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SettingKind {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            Error::new(ErrorId::InvalidArgument, format!("not a kind of settings: {text:?}"))
                .hint(format!("kinds are {}", known.join(", ")))
        })
    }
}

/// The document without `version = 1`, with which each may begin: the form that this release reads, also where it is left out.
/// Lines and columns stay what they are.
///
/// # Errors
/// `ConfigInvalid` for another version. A text that is no TOML is given back: whoever reads it says so.
pub fn without_form_version(text: &str) -> Result<std::borrow::Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Head {
        version: Option<toml::Spanned<toml::Value>>,
    }
    let Ok(Head { version: Some(version) }) = toml::from_str(text) else { return Ok(text.into()) };
    if version.get_ref().as_integer() != Some(1) {
        return Err(Error::new(ErrorId::ConfigInvalid, format!("version is {}, and must be 1", version.get_ref()))
            .hint("every document of settings may say version = 1; leave it out, or use the release that it is for"));
    }
    let (start, end) = (text[..version.span().start].rfind('\n').map_or(0, |at| at + 1), version.span().end);
    Ok([&text[..start], &" ".repeat(end - start), &text[end..]].concat().into())
}

/// What a document of one kind means.
pub trait Setting: Send + Sync + Sized + 'static {
    /// Its kind.
    const KIND: SettingKind;
    /// The document of a vault in which none was ever set, with comments: it is shown to be changed.
    const BUILTIN: &'static str;

    /// Reads a document. Strict: what is not known is an error.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming the line or key.
    fn parse(text: &str) -> Result<Self>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_may_say_version_1_and_none_another() {
        let read = |text| without_form_version(text).unwrap();
        assert_eq!(
            read("# a\n version = 1 # form\n[t]\nversion = 2\n"),
            "# a\n             # form\n[t]\nversion = 2\n"
        );
        assert_eq!(read("[t]\nversion = 2\n"), "[t]\nversion = 2\n");
        assert_eq!(read("not toml"), "not toml");
        for bad in ["version = 2", "version = \"1\"", "version = 1.0", "[version]"] {
            assert_eq!(without_form_version(bad).unwrap_err().id(), ErrorId::ConfigInvalid, "{bad}");
        }
    }
}
