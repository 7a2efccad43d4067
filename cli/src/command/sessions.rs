//! `vault session`: who came with a token, and who is refused.

use model_vault::Result;
use model_vault::facts::SessionsFacts;
use model_vault::names::SessionId;
use serde::Serialize;

use super::{Context, show};
use crate::args::{Session, SessionRevoke};
use crate::output::table::Table;

/// The JSON document of `vault session revoke`.
#[derive(Debug, Serialize)]
struct Revoked<'a> {
    session: Option<SessionId>,
    issuer: Option<&'a str>,
    subject: Option<&'a str>,
    readmitted: bool,
}

/// Dispatches.
pub fn run(cx: &Context<'_>, args: &Session) -> Result<()> {
    match args {
        Session::Ls => ls(cx),
        Session::Revoke(args) => revoke(cx, args),
    }
}

fn ls(cx: &Context<'_>) -> Result<()> {
    let client = cx.session.client()?;
    let all = cx.session.wait(client.sessions())?;
    if all.sessions.is_empty() && all.refused.is_empty() {
        cx.out.message("nobody who came with a token is logged in, and nobody is refused");
    }
    cx.out.report(&all, |all: &SessionsFacts| {
        let styled = cx.out.styled();
        let mut text = String::new();
        if !all.sessions.is_empty() {
            let mut table = Table::new(&["SESSION", "WHO", "ISSUER", "NAMESPACE", "GROUPS", "ENDS"]);
            for s in &all.sessions {
                let groups: Vec<_> = s.groups.iter().map(ToString::to_string).collect();
                table.row([
                    s.id.to_string(),
                    s.subject.clone(),
                    s.issuer.clone(),
                    s.namespace.as_ref().map_or_else(|| s.kind.clone(), ToString::to_string),
                    groups.join(" "),
                    show::time(s.expires),
                ]);
            }
            text += &table.render(styled);
        }
        if !all.refused.is_empty() {
            let mut table = Table::new(&["REFUSED", "ISSUER", "BY", "SINCE"]);
            for r in &all.refused {
                table.row([r.subject.clone(), r.issuer.clone(), r.refused_by.clone(), show::time(r.refused)]);
            }
            text += &table.render(styled);
        }
        text
    })
}

fn revoke(cx: &Context<'_>, args: &SessionRevoke) -> Result<()> {
    let client = cx.session.client()?;
    if let Some(id) = args.session {
        cx.session.wait(client.revoke_session(id))?;
    }
    if let (Some(issuer), Some(subject)) = (&args.issuer, &args.subject) {
        cx.session.wait(client.refuse_subject(issuer, subject, args.undo))?;
    }
    let revoked = Revoked {
        session: args.session,
        issuer: args.issuer.as_deref(),
        subject: args.subject.as_deref(),
        readmitted: args.undo,
    };
    cx.out.report(&revoked, |r| match (r.session, r.issuer.zip(r.subject)) {
        (Some(id), _) => format!("session {id} is over\n"),
        (None, Some((issuer, subject))) => {
            format!("{issuer}:{subject} is {}\n", if r.readmitted { "accepted again" } else { "refused" })
        }
        (None, None) => String::new(),
    })
}
