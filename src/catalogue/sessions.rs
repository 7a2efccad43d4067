//! Sessions of callers who came with a token, and who is refused.

use super::{AuditLeaf, Entry, Page, Result, Sequence};
use crate::names::{KeyId, Name, Principal, SessionId, Sha256, Timestamp};

/// A session. It is over when it has expired or was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id; also in its certificate.
    pub id: SessionId,
    /// Serial number of its certificate.
    pub serial: Vec<u8>,
    /// SHA-256 of the SubjectPublicKeyInfo of its certificate.
    pub spki: KeyId,
    /// Whose it is.
    pub principal: Principal,
    /// Groups that the issuer vouched for.
    pub groups: Vec<Name>,
    /// Digest of what the settings said of the issuer.
    pub rules: Sha256,
    /// Since when.
    pub created: Timestamp,
    /// Through when.
    pub expires: Timestamp,
    /// Taken back.
    pub revoked: Option<Timestamp>,
}

/// A token that is used up by a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedToken {
    /// Of the issuer of this name.
    pub issuer: String,
    /// What it is known by.
    pub token: Sha256,
    /// When it ends.
    pub expires: Timestamp,
}

/// A subject that is refused, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSubject {
    /// Of the issuer of this name.
    pub issuer: String,
    /// Its name there.
    pub subject: String,
    /// Who said so.
    pub refused_by: String,
    /// Since when.
    pub refused: Timestamp,
    /// No longer, since then.
    pub readmitted: Option<Timestamp>,
}

/// Commands about sessions.
pub trait Sessions {
    /// Opens a session and uses its token up. `AlreadyExists` if the token was used before.
    fn open_session(&self, session: SessionRecord, token: UsedToken, row: AuditLeaf) -> Result<Sequence>;

    /// The session of a certificate, over or not; or `NotFound`.
    fn session_of(&self, serial: &[u8]) -> Result<SessionRecord>;

    /// Sessions that are not over, by id.
    fn live_sessions(&self, after: Option<SessionId>, limit: usize) -> Result<Page<SessionRecord, SessionId>>;

    /// Takes a session back and returns it; or `NotFound`.
    fn revoke_session(&self, id: SessionId, entry: Entry) -> Result<(SessionRecord, Sequence)>;

    /// Refuses a subject from now on.
    fn refuse_subject(&self, issuer: &str, subject: &str, by: String, entry: Entry) -> Result<Sequence>;

    /// Takes that back; `NotFound` if it is not refused.
    fn readmit_subject(&self, issuer: &str, subject: &str, entry: Entry) -> Result<Sequence>;

    /// Whether a subject is refused.
    fn is_refused(&self, issuer: &str, subject: &str) -> Result<bool>;

    /// The subjects that are refused, by issuer and subject: at most [`super::MAX_PAGE`].
    fn refused_subjects(&self) -> Result<Vec<RefusedSubject>>;
}
