//! `vault dataset log`: the signed versions of a dataset.

use model_vault::Result;
use model_vault::names::{Sha256, Timestamp};
use serde::Serialize;

use super::origin::Origin;
use crate::args::DatasetLog;
use crate::command::Context;
use crate::output::table::Table;

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    version: u64,
    created: Timestamp,
    expires: Option<Timestamp>,
    records: u64,
    root: Sha256,
    statement: Sha256,
    previous: Option<Sha256>,
}

/// Shows them, the newest first.
pub fn run(cx: &Context<'_>, args: &DatasetLog) -> Result<()> {
    let (chain, _) = Origin::find(cx, &args.path, &args.daemon, true)?.statements()?.chain(cx, &args.believed)?;
    let row = |v: &model_vault::dataset::Version| Row {
        name: v.statement.name.clone(),
        version: v.statement.version,
        created: v.statement.created,
        expires: v.statement.expires,
        records: v.statement.records(),
        root: v.statement.root(),
        statement: v.digest,
        previous: v.statement.previous,
    };
    let rows: Vec<_> = chain.versions().iter().rev().map(row).collect();
    let styled = cx.out.styled();
    cx.out.report(&rows, |rows| {
        let mut table = Table::new(&["VERSION", "SIGNED", "RECORDS", "ROOT"]);
        for row in rows {
            let root: String = row.root.to_string().chars().take(16).collect();
            table.row([format!("v{}", row.version), row.created.to_string(), row.records.to_string(), root]);
        }
        table.render(styled)
    })
}
