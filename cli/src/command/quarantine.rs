//! `vault quarantine` and `vault release`: principals and artifacts on hold.

use model_vault::Result;
use model_vault::facts::HoldFacts;
use serde::Serialize;

use super::Context;
use crate::args::{HoldCommon, HoldKind, Quarantine, Release};
use crate::output::table::Table;
use crate::output::text::visible;

/// The JSON document of `vault quarantine ls`.
#[derive(Debug, Serialize)]
struct Holds {
    holds: Vec<HoldFacts>,
}

/// The JSON document of `vault release`.
#[derive(Debug, Serialize)]
struct Released {
    what: &'static str,
    name: String,
    released: u64,
}

/// Puts on hold, or lists.
pub fn quarantine(cx: &Context<'_>, args: &Quarantine) -> Result<()> {
    match args {
        Quarantine::Principal(args) => place(cx, "principal", &args.name, args.kind, &args.common),
        Quarantine::Artifact(args) => place(cx, "artifact", &args.name, HoldKind::Suspend, &args.common),
        Quarantine::Ls => ls(cx),
    }
}

fn place(cx: &Context<'_>, what: &str, name: &str, kind: HoldKind, common: &HoldCommon) -> Result<()> {
    let client = cx.session.client()?;
    let held = cx.session.wait(client.place_hold(what, name, kind.as_str(), &common.reason, common.lasts))?;
    cx.out.report(&held, |h: &HoldFacts| {
        let until = h.until.map_or_else(|| "until it is released".into(), |until| format!("until {until}"));
        format!("{} {}: {} {until}\n", h.what, visible(&h.name), h.kind)
    })
}

fn ls(cx: &Context<'_>) -> Result<()> {
    let client = cx.session.client()?;
    let held = Holds { holds: cx.session.wait(client.list_holds())? };
    if held.holds.is_empty() {
        cx.out.message("nothing is on hold");
    }
    cx.out.report(&held, |held| {
        let mut table = Table::new(&["WHAT", "NAME", "KIND", "SINCE", "UNTIL", "BY", "REASON"]);
        for h in &held.holds {
            let by = h.rule.as_ref().map_or_else(|| visible(&h.placed_by), |rule| format!("rule {}", visible(rule)));
            table.row([
                h.what.clone(),
                visible(&h.name),
                h.kind.clone(),
                h.since.to_string(),
                h.until.map_or_else(|| "-".into(), |until| until.to_string()),
                by,
                visible(&h.reason),
            ]);
        }
        table.render(cx.out.styled())
    })
}

/// Takes holds back.
pub fn release(cx: &Context<'_>, args: &Release) -> Result<()> {
    let (what, name) = match args {
        Release::Principal(args) => ("principal", &args.name),
        Release::Artifact(args) => ("artifact", &args.name),
    };
    let client = cx.session.client()?;
    let released = cx.session.wait(client.release_holds(what, name))?;
    let report = Released { what, name: name.clone(), released };
    cx.out.report(&report, |r| format!("{} {}: {} released\n", r.what, visible(&r.name), r.released))
}
