//! `vault group`: the settings document of groups, changed a member at a time.

use model_vault::Result;
use model_vault::policy::{Groups, parse_member};
use model_vault::settings::Setting as _;
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

/// Lists, or changes and lists what was changed.
pub fn run(cx: &Context<'_>, args: &Group) -> Result<()> {
    match args {
        Group::Ls => {
            let (version, groups) = read(cx)?;
            report(cx, version, &groups, None)
        }
        Group::Add(args) => change(cx, args, Groups::add),
        Group::Rm(args) => change(cx, args, Groups::remove),
    }
}

fn read(cx: &Context<'_>) -> Result<(u64, Groups)> {
    let client = cx.session.client()?;
    let setting = cx.session.wait(client.setting(Groups::KIND.as_str()))?;
    Ok((setting.version, Groups::parse(&setting.text)?))
}

fn change(
    cx: &Context<'_>,
    args: &GroupChange,
    apply: fn(&mut Groups, &model_vault::names::Name, &str) -> Result<bool>,
) -> Result<()> {
    // A mistake is found before a passphrase is asked for.
    args.members.iter().try_for_each(|member| parse_member(member))?;
    let (mut version, mut groups) = read(cx)?;
    let mut changed = false;
    for member in &args.members {
        changed |= apply(&mut groups, &args.group, member)?;
    }
    if changed {
        // Over the version that was read: of two who change it at once, one is told.
        let client = cx.session.client()?;
        let text = groups.to_text();
        version = cx.session.wait(client.set_setting(Groups::KIND.as_str(), &text, Some(version)))?;
    }
    report(cx, version, &groups, Some(args.group.as_str()))
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
