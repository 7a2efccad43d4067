//! `vault group`: the settings document of groups, changed a member at a time.

use model_vault::names::Name;
use model_vault::policy::Groups;
use model_vault::settings::Setting as _;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::Context;
use crate::args::{Group, GroupChange};
use crate::output::table::Table;

/// The JSON document of `vault group`.
#[derive(Debug, Serialize)]
struct Listed {
    version: u64,
    groups: Vec<Members>,
}

#[derive(Debug, Serialize)]
struct Members {
    name: String,
    members: Vec<String>,
}

/// How often a change is tried while others change the groups too.
const TRIES: usize = 5;

/// Says whether that changed anything.
type Apply = fn(&mut Groups, &Name, &str) -> Result<bool>;

/// Lists, or changes and lists what was changed.
pub fn run(cx: &Context<'_>, args: &Group) -> Result<()> {
    match args {
        Group::Ls => {
            let (version, groups) = read(cx)?;
            report(cx, version, &groups, None)
        }
        Group::Add(args) => {
            let (version, groups, _) = change(cx, args, Groups::add)?;
            report(cx, version, &groups, Some(args.group.as_str()))
        }
        Group::Rm(args) => match change(cx, args, Groups::remove)? {
            (version, groups, true) => report(cx, version, &groups, Some(args.group.as_str())),
            (.., false) => Err(no_member(args)),
        },
    }
}

fn read(cx: &Context<'_>) -> Result<(u64, Groups)> {
    let client = cx.session.client()?;
    let setting = cx.session.wait(client.setting(Groups::KIND.as_str()))?;
    Ok((setting.version, Groups::parse(&setting.text)?))
}

/// What holds then, its version, and whether that is another than before.
fn change(cx: &Context<'_>, args: &GroupChange, apply: Apply) -> Result<(u64, Groups, bool)> {
    let change = |groups: &mut Groups| -> Result<bool> {
        args.members.iter().try_fold(false, |changed, member| Ok(apply(groups, &args.group, member)? || changed))
    };
    // A mistake is found before a passphrase is asked for.
    change(&mut Groups::default())?;
    let mut tries = 1;
    loop {
        let (version, mut groups) = read(cx)?;
        if !change(&mut groups)? {
            return Ok((version, groups, false));
        }
        // Over the version that was read: of two who change it at once, one reads again.
        let client = cx.session.client()?;
        let text = groups.to_text();
        match cx.session.wait(client.set_setting(Groups::KIND.as_str(), &text, Some(version))) {
            Ok(version) => return Ok((version, groups, true)),
            Err(e) if e.id() != ErrorId::AlreadyExists => return Err(e),
            Err(e) if tries == TRIES => return Err(e.hint("others change the groups at this moment: try again")),
            Err(_) => tries += 1,
        }
    }
}

fn no_member(args: &GroupChange) -> Error {
    let text = match &args.members[..] {
        [member] => format!("{member} is not a member of {}", args.group),
        members => format!("none of {} is a member of {}", members.join(", "), args.group),
    };
    Error::new(ErrorId::NotFound, text).hint("vault group ls shows who is in which group")
}

fn report(cx: &Context<'_>, version: u64, groups: &Groups, only: Option<&str>) -> Result<()> {
    let shown = groups.listed().filter(|(name, _)| only.is_none_or(|only| only == name.as_str()));
    let groups = shown.map(|(name, members)| Members { name: name.to_string(), members }).collect();
    let styled = cx.out.styled();
    cx.out.report(&Listed { version, groups }, |listed| {
        let mut table = Table::new(&["GROUP", "MEMBER"]);
        for group in &listed.groups {
            group.members.iter().for_each(|member| table.row([group.name.clone(), member.clone()]));
        }
        table.render(styled)
    })
}
