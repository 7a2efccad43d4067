//! What can go wrong with a sealed file: the ids of docs/format.md 10, and the few a writer needs besides.

use std::io;

use crate::error::{Error, ErrorId};

/// Why a file was refused, or could not be made.
///
/// A variant says which rule was broken, never what the secret or the plaintext was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The magic is missing.
    #[error("not a sealed file")]
    NotSealed,
    /// Another major version of the file or of its manifest.
    #[error("a version of the format this reader does not know")]
    UnsupportedVersion,
    /// Another cipher suite or key derivation.
    #[error("a cipher suite or key derivation this reader does not know")]
    UnsupportedSuite,
    /// A critical flag is set.
    #[error("a critical flag this reader does not know")]
    UnknownCriticalFlag,
    /// The preamble or the slot table breaks a rule.
    #[error("the header is malformed: {0}")]
    MalformedHeader(&'static str),
    /// A value is above its limit; no work was done for it.
    #[error("above the limit: {0}")]
    LimitExceeded(&'static str),
    /// No slot is meant for this credential.
    #[error("no key slot matches the credential")]
    NoMatchingSlot,
    /// Wrong secret, damaged slot or wrong commitment: one error for all three.
    #[error("the passphrase or key does not open the file, or its slot is damaged")]
    UnwrapFailed,
    /// The header MAC is wrong.
    #[error("the header does not authenticate")]
    HeaderAuthFailed,
    /// The footer MAC is wrong.
    #[error("the index, manifest, signatures or lengths do not authenticate")]
    FooterAuthFailed,
    /// A tag of the manifest is wrong.
    #[error("the manifest does not authenticate")]
    ManifestAuthFailed,
    /// The end is missing.
    #[error("the end of the file is missing")]
    Truncated,
    /// The trailer contradicts itself or the file's size.
    #[error("the trailer contradicts itself or the file's size: {0}")]
    LengthMismatch(&'static str),
    /// The hash of a segment's ciphertext is wrong.
    #[error("segment {segment} of the payload was altered")]
    IndexMismatch {
        /// Which segment, from 0.
        segment: u64,
    },
    /// The tag of a segment is wrong.
    #[error("segment {segment} of the payload does not authenticate")]
    SegmentAuthFailed {
        /// Which segment, from 0.
        segment: u64,
    },
    /// The manifest is authentic and breaks a rule.
    #[error("the manifest breaks a rule: {0}")]
    ManifestInvalid(String),
    /// Bytes of a member differ from its digests or outboard.
    #[error("member {path:?} differs from its digest")]
    MemberMismatch {
        /// The member.
        path: String,
    },
    /// Bytes between two members are not zero; reported as MemberMismatch.
    #[error("bytes between two members, in segment {segment}, are not zero")]
    GapNotZero {
        /// Which segment, from 0.
        segment: u64,
    },
    /// No trusted key made a seal statement.
    #[error("no seal statement by a trusted key")]
    SignatureMissing,
    /// A signature by a trusted key is wrong, or the signatures are malformed.
    #[error("the signatures are not valid: {0}")]
    SignatureInvalid(&'static str),
    /// Not the file that was pinned.
    #[error("not the file that was pinned: another {0}")]
    BindingMismatch(&'static str),
    /// An older header than the pinned one.
    #[error("header generation {found} is older than the pinned {pinned}")]
    GenerationRollback {
        /// Of the file.
        found: u32,
        /// The least that is accepted.
        pinned: u32,
    },
    /// A bad range from the caller.
    #[error("bytes {start}..{end} are not within 0..{len}")]
    RangeInvalid {
        /// First byte wanted.
        start: u64,
        /// Byte after the last one wanted.
        end: u64,
        /// Bytes there are.
        len: u64,
    },
    /// The file has no member of that path.
    #[error("the sealed file has no member {path:?}")]
    NoSuchMember {
        /// What was asked for.
        path: String,
    },
    /// The input changed while it was sealed.
    #[error("{path:?} changed while it was sealed")]
    SourceChanged {
        /// The member.
        path: String,
    },
    /// A tap refused what it saw.
    #[error("{path:?} was refused: {reason}")]
    InspectionRefused {
        /// The member.
        path: String,
        /// What the tap said.
        reason: String,
    },
    /// The writer was asked for something the format does not allow.
    #[error("{0}")]
    InvalidArgument(String),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(io::Error),
    /// Something given by the caller failed: the random generator, the statement maker.
    #[error(transparent)]
    Caller(Error),
}

impl SealError {
    /// The stable id (contracts/errors.tsv).
    pub fn id(&self) -> ErrorId {
        match self {
            Self::NotSealed => ErrorId::NotSealed,
            Self::UnsupportedVersion => ErrorId::UnsupportedVersion,
            Self::UnsupportedSuite => ErrorId::UnsupportedSuite,
            Self::UnknownCriticalFlag => ErrorId::UnknownCriticalFlag,
            Self::MalformedHeader(_) => ErrorId::MalformedHeader,
            Self::LimitExceeded(_) => ErrorId::LimitExceeded,
            Self::NoMatchingSlot => ErrorId::NoMatchingSlot,
            Self::UnwrapFailed => ErrorId::UnwrapFailed,
            Self::HeaderAuthFailed => ErrorId::HeaderAuthFailed,
            Self::FooterAuthFailed => ErrorId::FooterAuthFailed,
            Self::ManifestAuthFailed => ErrorId::ManifestAuthFailed,
            Self::Truncated => ErrorId::Truncated,
            Self::LengthMismatch(_) => ErrorId::LengthMismatch,
            Self::IndexMismatch { .. } => ErrorId::IndexMismatch,
            Self::SegmentAuthFailed { .. } => ErrorId::SegmentAuthFailed,
            Self::ManifestInvalid(_) => ErrorId::ManifestInvalid,
            Self::MemberMismatch { .. } | Self::GapNotZero { .. } => ErrorId::MemberMismatch,
            Self::SignatureMissing => ErrorId::SignatureMissing,
            Self::SignatureInvalid(_) => ErrorId::SignatureInvalid,
            Self::BindingMismatch(_) => ErrorId::BindingMismatch,
            Self::GenerationRollback { .. } => ErrorId::GenerationRollback,
            Self::RangeInvalid { .. } => ErrorId::RangeInvalid,
            Self::NoSuchMember { .. } => ErrorId::NotFound,
            Self::SourceChanged { .. } => ErrorId::SourceChanged,
            Self::InspectionRefused { .. } => ErrorId::InspectionRefused,
            Self::InvalidArgument(_) => ErrorId::InvalidArgument,
            Self::Io(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                ErrorId::DiskFull
            }
            Self::Io(e) if e.kind() == io::ErrorKind::NotFound => ErrorId::NotFound,
            Self::Io(_) => ErrorId::IoError,
            Self::Caller(e) => e.id(),
        }
    }
}

impl From<io::Error> for SealError {
    /// A read past the end of a sealed file means that its end is missing, whenever it went.
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(e) }
    }
}

impl From<Error> for SealError {
    fn from(e: Error) -> Self {
        Self::Caller(e)
    }
}

impl From<SealError> for Error {
    fn from(e: SealError) -> Self {
        let error = Self::new(e.id(), e.to_string());
        match e {
            SealError::Caller(inner) => inner,
            SealError::Io(inner) => inner.into(),
            SealError::IndexMismatch { segment }
            | SealError::SegmentAuthFailed { segment }
            | SealError::GapNotZero { segment } => error.detail("segment", segment),
            SealError::MemberMismatch { path }
            | SealError::NoSuchMember { path }
            | SealError::SourceChanged { path }
            | SealError::InspectionRefused { path, .. } => error.detail("member", path),
            SealError::GenerationRollback { found, pinned } => error.detail("found", found).detail("pinned", pinned),
            SealError::RangeInvalid { start, end, len } => {
                error.detail("start", start).detail("end", end).detail("length", len)
            }
            _ => error,
        }
    }
}
