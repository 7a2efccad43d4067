//! Names in certificates of signers.

use std::fmt;
use std::str::FromStr;

use x509_parser::extensions::GeneralName;

use crate::error::{Error, ErrorId, Result};

/// No name that can be asked for is longer.
const MAX_BYTES: usize = 2048;

/// A subject alternative name. Compared as a whole: a wildcard is a name of its own and matches nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignerName {
    /// `dns:`, in lower case.
    Dns(String),
    /// `uri:`, also a SPIFFE id.
    Uri(String),
    /// `email:`, the host in lower case (RFC 5280, 7.5).
    Email(String),
}

impl SignerName {
    /// The name, if it is of one of the kinds, and printable.
    pub(super) fn of(name: &GeneralName<'_>) -> Option<Self> {
        match name {
            GeneralName::DNSName(text) => Self::dns(text),
            GeneralName::URI(text) => Self::uri(text),
            GeneralName::RFC822Name(text) => Self::email(text),
            _ => None,
        }
    }

    /// Whether it is a SPIFFE id.
    pub fn is_spiffe(&self) -> bool {
        matches!(self, Self::Uri(text) if text.starts_with("spiffe://"))
    }

    fn dns(text: &str) -> Option<Self> {
        printable(text).then(|| Self::Dns(text.to_ascii_lowercase()))
    }

    fn uri(text: &str) -> Option<Self> {
        (printable(text) && text.contains(':')).then(|| Self::Uri(text.into()))
    }

    fn email(text: &str) -> Option<Self> {
        let (local, host) = text.rsplit_once('@')?;
        (printable(text) && !local.is_empty() && !host.is_empty())
            .then(|| Self::Email(format!("{local}@{}", host.to_ascii_lowercase())))
    }
}

fn printable(text: &str) -> bool {
    (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

impl fmt::Display for SignerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) => write!(f, "dns:{text}"),
            Self::Uri(text) => write!(f, "uri:{text}"),
            Self::Email(text) => write!(f, "email:{text}"),
        }
    }
}

impl FromStr for SignerName {
    type Err = Error;

    /// The form that is printed; a SPIFFE id also without `uri:`.
    fn from_str(text: &str) -> Result<Self> {
        let name = match text.split_once(':') {
            Some(("dns", name)) => Self::dns(name),
            Some(("uri", name)) => Self::uri(name),
            Some(("email", name)) => Self::email(name),
            Some(("spiffe", _)) => Self::uri(text),
            _ => None,
        };
        name.ok_or_else(|| {
            Error::new(ErrorId::InvalidArgument, format!("not the name of a signer: {text:?}"))
                .hint("names are dns:HOST, email:ADDRESS, uri:URI and spiffe://DOMAIN/PATH")
        })
    }
}
