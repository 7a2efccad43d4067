//! Sessions of callers who came with a token, and who is refused.

use std::time::Duration;

use rusqlite::params;
use rusqlite::types::Value;

use super::super::*;
use super::SqliteCatalogue;
use super::artifacts::{missing, short};
use super::page::{bounded, page};
use super::rows::{Columns, Db, Row, Table, blob, text, time, time_if_any};
use super::{log, requests};
use crate::names::{Name, Principal, PrincipalKind, SessionId};

/// How long a used token and a session that is over are remembered beyond their end. No clock is set back by more.
const AFTERLIFE: Duration = Duration::from_secs(2 * 24 * 3600);

impl Row for SessionRecord {
    const TABLE: Table = Table {
        name: "sessions",
        columns: &[
            "id",
            "serial",
            "spki",
            "issuer",
            "subject",
            "kind",
            "namespace",
            "groups",
            "rules",
            "created",
            "expires",
            "revoked",
        ],
        key: 1,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        let kind = match self.principal.kind {
            PrincipalKind::Operator => "operator",
            PrincipalKind::Workload => "workload",
            PrincipalKind::Anonymous => return Err(CatalogueError::InvalidArgument("a session of nobody".into())),
        };
        let groups: Vec<_> = self.groups.iter().map(Name::as_str).collect();
        Ok(vec![
            blob(&self.id.0),
            blob(&self.serial),
            blob(&self.spki.0),
            text(&self.principal.issuer),
            text(&self.principal.subject),
            text(kind),
            text(self.principal.namespace.as_ref().map_or("", Name::as_str)),
            text(&groups.join(" ")),
            blob(&self.rules.0),
            time(self.created),
            time(self.expires),
            time_if_any(self.revoked),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        let (id, serial, spki) = (c.id()?, c.bytes()?, c.id()?);
        let (issuer, subject, kind): (String, String, String) = (c.text()?, c.text()?, c.text()?);
        let (namespace, groups): (String, String) = (c.text()?, c.text()?);
        let odd = |_| CatalogueError::Damaged("a session with a malformed name".into());
        let namespace = (!namespace.is_empty()).then(|| namespace.parse().map_err(odd)).transpose()?;
        let groups = groups.split_terminator(' ').map(|group| group.parse().map_err(odd)).collect::<Result<_>>()?;
        let kind = if kind == "operator" { PrincipalKind::Operator } else { PrincipalKind::Workload };
        Ok(Self {
            id,
            serial,
            spki,
            principal: Principal { kind, issuer, subject, namespace },
            groups,
            rules: c.id()?,
            created: c.time()?,
            expires: c.time()?,
            revoked: c.time_if_any()?,
        })
    }
}

impl Row for UsedToken {
    const TABLE: Table = Table { name: "used_tokens", columns: &["issuer", "token", "expires"], key: 2, added: 0 };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![text(&self.issuer), blob(&self.token.0), time(self.expires)])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { issuer: c.text()?, token: c.id()?, expires: c.time()? })
    }
}

impl Row for RefusedSubject {
    const TABLE: Table = Table {
        name: "refused_subjects",
        columns: &["issuer", "subject", "refused_by", "refused", "readmitted"],
        key: 2,
        added: 0,
    };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            text(&self.issuer),
            text(&self.subject),
            text(&self.refused_by),
            time(self.refused),
            time_if_any(self.readmitted),
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            issuer: c.text()?,
            subject: c.text()?,
            refused_by: c.text()?,
            refused: c.time()?,
            readmitted: c.time_if_any()?,
        })
    }
}

impl Sessions for SqliteCatalogue {
    fn open_session(&self, session: SessionRecord, token: UsedToken, row: AuditLeaf) -> Result<Sequence> {
        self.write(move |db| open(db, &session, &token, &row))
    }

    fn session_of(&self, serial: &[u8]) -> Result<SessionRecord> {
        self.read(|db| db.one("WHERE serial = ?1", [serial])?.ok_or_else(|| missing("a session of this certificate")))
    }

    fn live_sessions(&self, after: Option<SessionId>, limit: usize) -> Result<Page<SessionRecord, SessionId>> {
        let (limit, after) = (bounded(limit), after.map_or(Vec::new(), |a| a.0.to_vec()));
        self.read(|db| {
            let rows = db.many(
                "WHERE id > ?1 AND expires > ?2 AND revoked IS NULL ORDER BY id LIMIT ?3",
                params![after, db.now.as_millis(), limit as i64 + 1],
            )?;
            Ok(page(rows, limit, |s: &SessionRecord| s.id))
        })
    }

    fn revoke_session(&self, id: SessionId, entry: Entry) -> Result<(SessionRecord, Sequence)> {
        self.write(move |db| {
            let found: Option<SessionRecord> = db.one("WHERE id = ?1", [id.0])?;
            let found = found.ok_or_else(|| missing(format!("session {id}")))?;
            let revoked = SessionRecord { revoked: found.revoked.or(Some(db.now)), ..found };
            db.update(&revoked)?;
            Ok((revoked, requests::append(db, &entry, 0)?))
        })
    }

    fn refuse_subject(&self, issuer: &str, subject: &str, by: String, entry: Entry) -> Result<Sequence> {
        let (issuer, subject) = (issuer.to_owned(), subject.to_owned());
        self.write(move |db| {
            short("the issuer", &issuer, 64)?;
            short("the subject", &subject, 2048)?;
            short("refused_by", &by, 4096)?;
            let known = refused(db, &issuer, &subject)?.is_some();
            let row = RefusedSubject { issuer, subject, refused_by: by, refused: db.now, readmitted: None };
            // Its sessions are over for good: to be readmitted is to be let log in again.
            let theirs: Vec<SessionRecord> =
                db.many("WHERE issuer = ?1 AND subject = ?2 AND revoked IS NULL", params![row.issuer, row.subject])?;
            theirs.into_iter().try_for_each(|s| db.update(&SessionRecord { revoked: Some(db.now), ..s }).map(drop))?;
            if known {
                db.update(&row)?
            } else {
                db.insert(&row)?
            }
            requests::append(db, &entry, 0)
        })
    }

    fn readmit_subject(&self, issuer: &str, subject: &str, entry: Entry) -> Result<Sequence> {
        let (issuer, subject) = (issuer.to_owned(), subject.to_owned());
        self.write(move |db| {
            let found = refused(db, &issuer, &subject)?.filter(|row| row.readmitted.is_none());
            let found = found.ok_or_else(|| missing(format!("a refused subject {subject:?} of {issuer}")))?;
            db.update(&RefusedSubject { readmitted: Some(db.now), ..found })?;
            requests::append(db, &entry, 0)
        })
    }

    fn is_refused(&self, issuer: &str, subject: &str) -> Result<bool> {
        self.read(|db| Ok(refused(db, issuer, subject)?.is_some_and(|row| row.readmitted.is_none())))
    }

    fn refused_subjects(&self) -> Result<Vec<RefusedSubject>> {
        self.read(|db| db.many("WHERE readmitted IS NULL ORDER BY issuer, subject LIMIT ?1", [MAX_PAGE as i64]))
    }
}

fn open(db: &Db<'_>, session: &SessionRecord, token: &UsedToken, row: &AuditLeaf) -> Result<Sequence> {
    short("the subject", &session.principal.subject, 2048)?;
    let forgotten = db.now.as_millis().saturating_sub(AFTERLIFE.as_millis() as i64);
    db.execute("DELETE FROM used_tokens WHERE expires < ?1", [forgotten])?;
    db.execute("DELETE FROM sessions WHERE expires < ?1", [forgotten])?;
    let used: Option<UsedToken> = db.one("WHERE issuer = ?1 AND token = ?2", params![token.issuer, token.token.0])?;
    if used.is_some() {
        return Err(CatalogueError::AlreadyExists("a session for this token".into()));
    }
    // Asked again where it is written: who was refused meanwhile would have a session that outlives the refusal.
    let Principal { issuer, subject, .. } = &session.principal;
    if refused(db, issuer, subject)?.is_some_and(|row| row.readmitted.is_none()) {
        return Err(CatalogueError::InvalidArgument(format!("{subject} of {issuer} is refused")));
    }
    db.insert(token)?;
    db.insert(session)?;
    log::append(db, row)
}

fn refused(db: &Db<'_>, issuer: &str, subject: &str) -> Result<Option<RefusedSubject>> {
    db.one("WHERE issuer = ?1 AND subject = ?2", params![issuer, subject])
}
