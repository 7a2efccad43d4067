//! `vault approve`: what others want to do and may not do alone.

use model_vault::facts::ApprovalFacts;
use model_vault::{Error, ErrorId, Result};

use super::{Context, show};
use crate::args::mfa::Approve;
use crate::output::table::Table;

/// Lists what waits, or says yes or no to one of it.
pub fn run(cx: &Context<'_>, args: &Approve) -> Result<()> {
    let client = cx.session.client()?;
    let waiting = cx.session.wait(client.approvals())?;
    let Some(id) = args.id else {
        return cx.out.report(&waiting, |list| listed(list, cx.out.styled()));
    };
    let found = waiting.iter().find(|w| w.id == id).ok_or_else(|| {
        Error::new(ErrorId::NotFound, format!("nothing waits for approval as {id}"))
            .hint("vault approve lists what waits")
    })?;
    // What is approved is what was looked up here, and nothing else under this id.
    let counted = cx.session.wait(client.approve(id, found.digest, !args.deny)).map_err(|e| match e.id() {
        // A daemon tells it in general words to those who come from elsewhere.
        ErrorId::AlreadyExists => Error::new(ErrorId::AlreadyExists, format!("you have answered {id} already"))
            .hint("a person has one vote; vault approve shows how many are missing"),
        _ => e,
    })?;
    cx.out.report(&counted, |a| {
        let what = format!("{}: {} {}", a.requester, a.action, a.what);
        match (args.deny, a.approvals >= a.needed) {
            (true, _) => format!("refused: {what}\n"),
            (false, true) => {
                format!("approved: {what}; whoever asked runs the command again before {}\n", show::time(a.expires))
            }
            (false, false) => format!("approved: {what}; {} of {} approvals\n", a.approvals, a.needed),
        }
    })
}

fn listed(list: &[ApprovalFacts], styled: bool) -> String {
    if list.is_empty() {
        return "nothing waits for approval\n".into();
    }
    let mut table = Table::new(&["ID", "WHO", "ACTION", "WHAT", ">APPROVALS", "UNTIL"]);
    for a in list {
        table.row([
            a.id.to_string(),
            a.requester.clone(),
            a.action.clone(),
            a.what.clone(),
            format!("{}/{}", a.approvals, a.needed),
            show::time(a.expires),
        ]);
    }
    table.render(styled)
}
