//! Sessions on the wire.

use super::{broken, pb};
use crate::error::{Error, Result};
use crate::facts::{RefusedFacts, SessionFacts, SessionsFacts, WhoamiFacts};
use crate::names::{Name, SessionId};

/// A session.
pub(crate) fn session_to_wire(s: &SessionFacts) -> pb::Session {
    pb::Session {
        id: s.id.0.to_vec().into(),
        kind: s.kind.clone(),
        issuer: s.issuer.clone(),
        subject: s.subject.clone(),
        namespace: s.namespace.as_ref().map(ToString::to_string).unwrap_or_default(),
        groups: s.groups.iter().map(ToString::to_string).collect(),
        created: s.created.to_string(),
        expires: s.expires.to_string(),
    }
}

/// A session as it was received.
pub(crate) fn session_from_wire(s: pb::Session) -> Result<SessionFacts> {
    let odd = |e: Error| broken("a session is malformed").caused_by(e);
    Ok(SessionFacts {
        id: SessionId::try_from(&s.id[..]).map_err(odd)?,
        kind: s.kind,
        issuer: s.issuer,
        subject: s.subject,
        namespace: if s.namespace.is_empty() { None } else { Some(s.namespace.parse().map_err(odd)?) },
        groups: names(&s.groups)?,
        created: s.created.parse().map_err(odd)?,
        expires: s.expires.parse().map_err(odd)?,
    })
}

/// All that `vault session ls` shows.
pub(crate) fn sessions_to_wire(all: &SessionsFacts) -> pb::ListSessionsResponse {
    let refused = all.refused.iter().map(|r| pb::RefusedSubject {
        issuer: r.issuer.clone(),
        subject: r.subject.clone(),
        refused_by: r.refused_by.clone(),
        refused: r.refused.to_string(),
    });
    pb::ListSessionsResponse {
        sessions: all.sessions.iter().map(session_to_wire).collect(),
        refused: refused.collect(),
    }
}

/// The same as it was received.
pub(crate) fn sessions_from_wire(all: pb::ListSessionsResponse) -> Result<SessionsFacts> {
    let refused = all.refused.into_iter().map(|r| {
        let refused = r.refused.parse().map_err(|e| broken("a refused subject is malformed").caused_by(e))?;
        Ok(RefusedFacts { issuer: r.issuer, subject: r.subject, refused_by: r.refused_by, refused })
    });
    Ok(SessionsFacts {
        sessions: all.sessions.into_iter().map(session_from_wire).collect::<Result<_>>()?,
        refused: refused.collect::<Result<_>>()?,
    })
}

/// Who the caller is.
pub(crate) fn whoami_to_wire(who: WhoamiFacts) -> pb::WhoamiResponse {
    pb::WhoamiResponse {
        kind: who.kind,
        issuer: who.issuer,
        subject: who.subject,
        namespace: who.namespace.map(|n| n.to_string()).unwrap_or_default(),
        tls_group: who.tls_group.unwrap_or_default(),
        groups: who.groups.iter().map(ToString::to_string).collect(),
        session: who.session.map(|id| id.0.to_vec()).unwrap_or_default().into(),
        expires: who.expires.map(|t| t.to_string()).unwrap_or_default(),
    }
}

/// The same as it was received.
pub(crate) fn whoami_from_wire(who: pb::WhoamiResponse) -> Result<WhoamiFacts> {
    let odd = |e: Error| broken("the answer is malformed").caused_by(e);
    let some = |text: String| Some(text).filter(|t| !t.is_empty());
    let session = Some(who.session).filter(|id| !id.is_empty());
    Ok(WhoamiFacts {
        kind: who.kind,
        issuer: who.issuer,
        subject: who.subject,
        namespace: some(who.namespace).map(|n| n.parse()).transpose().map_err(odd)?,
        tls_group: some(who.tls_group),
        groups: names(&who.groups)?,
        session: session.map(|id| SessionId::try_from(&id[..])).transpose().map_err(odd)?,
        expires: some(who.expires).map(|t| t.parse()).transpose().map_err(odd)?,
    })
}

fn names(texts: &[String]) -> Result<Vec<Name>> {
    let odd = |e: Error| broken("the name of a group is malformed").caused_by(e);
    texts.iter().map(|text| text.parse().map_err(odd)).collect()
}
