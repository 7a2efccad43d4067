//! Why a signer's certificate is not believed.

use super::{MAX_CERTIFICATE_BYTES, MAX_CERTIFICATES, SignerName};
use crate::error::{Error, ErrorId};
use crate::names::Timestamp;

/// Why a signer's certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// More or longer certificates than any honest chain has.
    #[error("more than {MAX_CERTIFICATES} certificates, or one of more than {MAX_CERTIFICATE_BYTES} bytes")]
    Limit,
    /// No certificate, or bytes that are none.
    #[error("not a chain of X.509 certificates")]
    Malformed,
    /// A key, algorithm, version or critical extension that is not known here.
    #[error("the certificate uses what is not supported: {0}")]
    Unsupported(String),
    /// The leaf's key is not Ed25519, ECDSA or ML-DSA-65.
    #[error("the certificate is for a key of an unsupported algorithm")]
    UnsupportedKey,
    /// A certificate of the path is no longer valid.
    #[error("a certificate of the chain expired at {0}")]
    Expired(Timestamp),
    /// A certificate of the path is not valid yet.
    #[error("a certificate of the chain is valid only from {0}")]
    NotYetValid(Timestamp),
    /// The leaf is for another purpose.
    #[error("the certificate is not for signing code (extended key usage codeSigning, key usage digitalSignature)")]
    Usage,
    /// The leaf is a CA.
    #[error("the certificate of a CA does not sign models")]
    CaAsSigner,
    /// A certificate that is no CA issued another.
    #[error("a certificate of the chain was issued by one that is not a CA")]
    NotACa,
    /// More intermediates than a CA allows.
    #[error("the chain is longer than one of its CAs allows")]
    PathTooLong,
    /// A name that a CA of the path may not vouch for.
    #[error("a CA of the chain may not vouch for this name")]
    NameConstraint,
    /// No path leads to a trusted CA.
    #[error("no trusted CA issued the certificate")]
    UnknownCa,
    /// Names a CA that did not sign it.
    #[error("a certificate of the chain is not signed by the CA it names")]
    BadSignature,
    /// On a revocation list.
    #[error("a certificate of the chain was revoked")]
    Revoked,
    /// There are revocation lists, and none of the leaf's CA.
    #[error("no revocation list of the CA that issued the certificate")]
    RevocationUnknown,
    /// The revocation list is out of date.
    #[error("the revocation list was to be replaced by {0}")]
    RevocationListExpired(Timestamp),
    /// Not one of the names that were asked for.
    #[error("the certificate has none of the names asked for; its names: {}", list(found))]
    NameNotMatched {
        /// What it has.
        found: Vec<SignerName>,
    },
}

impl ChainError {
    /// A stable word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Malformed => "malformed",
            Self::Unsupported(_) | Self::UnsupportedKey => "unsupported",
            Self::Expired(_) => "expired",
            Self::NotYetValid(_) => "not_yet_valid",
            Self::Usage => "usage",
            Self::CaAsSigner => "ca_as_signer",
            Self::NotACa => "not_a_ca",
            Self::PathTooLong => "path_too_long",
            Self::NameConstraint => "name_constraint",
            Self::UnknownCa => "unknown_ca",
            Self::BadSignature => "bad_signature",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::RevocationListExpired(_) => "revocation_list_expired",
            Self::NameNotMatched { .. } => "name_not_matched",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Expired(_) | Self::NotYetValid(_) => "ask the signer to sign again with a valid certificate",
            Self::UnknownCa => "give the CA's certificate, and all intermediates unless the bundle has them",
            Self::Revoked => "do not use the file; ask the signer",
            Self::RevocationUnknown => "give the list of that CA, or none",
            Self::RevocationListExpired(_) => "fetch the newest list of that CA",
            Self::NameNotMatched { .. } => "check who should have signed; names are compared as a whole",
            _ => "ask the signer for a certificate for signing code, with its intermediates",
        }
    }
}

impl From<ChainError> for Error {
    /// One id for all that makes a signer untrusted; `reason` of the details tells them apart.
    fn from(e: ChainError) -> Self {
        let id = match e {
            ChainError::Limit => ErrorId::LimitExceeded,
            ChainError::BadSignature => ErrorId::SignatureInvalid,
            _ => ErrorId::SignatureMissing,
        };
        Self::new(id, format!("the signer's certificate: {e}")).detail("reason", e.reason()).hint(e.hint()).caused_by(e)
    }
}

impl From<webpki::Error> for ChainError {
    fn from(e: webpki::Error) -> Self {
        use webpki::Error as E;
        let moment = |t: rustls::pki_types::UnixTime| {
            Timestamp::from_millis(i64::try_from(t.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000))
        };
        match e {
            E::CertExpired { not_after, .. } => Self::Expired(moment(not_after)),
            E::CertNotValidYet { not_before, .. } => Self::NotYetValid(moment(not_before)),
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Self::Usage,
            E::CaUsedAsEndEntity => Self::CaAsSigner,
            E::EndEntityUsedAsCa => Self::NotACa,
            E::PathLenConstraintViolated | E::MaximumPathDepthExceeded => Self::PathTooLong,
            E::NameConstraintViolation => Self::NameConstraint,
            E::UnknownIssuer => Self::UnknownCa,
            E::InvalidSignatureForPublicKey | E::SignatureAlgorithmMismatch => Self::BadSignature,
            E::CertRevoked => Self::Revoked,
            // A list that another key signed is not of that CA, whatever name it bears.
            E::UnknownRevocationStatus | E::IssuerNotCrlSigner | E::InvalidCrlSignatureForPublicKey => {
                Self::RevocationUnknown
            }
            E::CrlExpired { next_update, .. } => Self::RevocationListExpired(moment(next_update)),
            E::MaximumPathBuildCallsExceeded
            | E::MaximumSignatureChecksExceeded
            | E::MaximumNameConstraintComparisonsExceeded => Self::Limit,
            E::BadDer | E::BadDerTime | E::TrailingData(_) | E::ExtensionValueInvalid | E::InvalidCertValidity => {
                Self::Malformed
            }
            other => Self::Unsupported(other.to_string()),
        }
    }
}

fn list(names: &[SignerName]) -> String {
    match names {
        [] => "none".into(),
        _ => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
