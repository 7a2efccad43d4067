//! `vault quota`: how much callers may do, and how much they did. The rules are the settings of kind quotas.

use model_vault::Result;
use model_vault::facts::{LimitFacts, QuotaFacts};
use model_vault::settings::SettingKind;

use serde::Serialize;

use super::{Context, config};
use crate::args::{ConfigCheck, ConfigGet, ConfigSet, Quota, QuotaGet, QuotaReset};
use crate::output::table::Table;
use crate::output::text::size;

const KIND: SettingKind = SettingKind::Quotas;

/// Shows, replaces or checks.
pub fn run(cx: &Context<'_>, args: &Quota) -> Result<()> {
    match args {
        Quota::Get(QuotaGet { rules: true, .. }) => config::get(cx, &ConfigGet { kind: KIND }),
        Quota::Get(args) => get(cx, args),
        Quota::Set(args) => config::set(cx, &ConfigSet { kind: KIND, file: args.file.clone(), expect: args.expect }),
        Quota::Reset(args) => reset(cx, args),
        Quota::Check(args) => config::check(cx, &ConfigCheck { kind: KIND, file: args.file.clone() }),
    }
}

fn get(cx: &Context<'_>, args: &QuotaGet) -> Result<()> {
    let client = cx.session.client()?;
    let quotas = cx.session.wait(client.quotas(args.callers.as_deref().unwrap_or_default()))?;
    if quotas.more {
        cx.out.message("hint: there are more callers: name some, as in vault quota get 'prod/serve-*'");
    }
    cx.out.report(&quotas, |quotas| table(quotas, cx.out.styled()))
}

/// The JSON document of `vault quota reset`.
#[derive(Debug, Serialize)]
struct Reset {
    accounts: u64,
}

fn reset(cx: &Context<'_>, args: &QuotaReset) -> Result<()> {
    let client = cx.session.client()?;
    let accounts = cx.session.wait(client.reset_quota(args.caller.as_deref(), args.artifact.as_deref()))?;
    cx.out.report(&Reset { accounts }, |reset| match reset.accounts {
        1 => "1 account begins anew\n".into(),
        accounts => format!("{accounts} accounts begin anew\n"),
    })
}

fn table(quotas: &QuotaFacts, styled: bool) -> String {
    if quotas.callers.is_empty() {
        return "nobody used anything in the last days; vault quota get --rules shows the rules\n".into();
    }
    let mut table = Table::new(&["CALLER", "QUOTA", "LIMIT", "ARTIFACT", ">USED", ">OF", "IN"]);
    for caller in &quotas.callers {
        table.row([
            caller.caller.clone(),
            String::new(),
            "today".into(),
            String::new(),
            size(caller.bytes_today),
            String::new(),
            String::new(),
        ]);
        for limit in &caller.limits {
            table.row([
                String::new(),
                limit.quota.clone(),
                limit.limit.clone(),
                limit.artifact.clone().unwrap_or_default(),
                amount(limit, limit.used),
                amount(limit, limit.most),
                time(limit.seconds),
            ]);
        }
    }
    table.render(styled)
}

/// In the unit of the limit.
fn amount(limit: &LimitFacts, amount: u64) -> String {
    match &*limit.limit {
        "bytes_per_hour" => size(amount),
        "full_reads_per_day" => format!("{}.{:03}", amount / 1000, amount % 1000),
        _ => amount.to_string(),
    }
}

fn time(seconds: u64) -> String {
    match seconds {
        0 => String::new(),
        s if s.is_multiple_of(3600) => format!("{} h", s / 3600),
        s => format!("{} min", s / 60),
    }
}
