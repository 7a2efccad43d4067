//! `vault sink`: receivers of the audit log. They are set with `vault config set sinks`.

use model_vault::Result;
use model_vault::facts::SinksFacts;

use super::{Context, show};
use crate::args::Sink;
use crate::output::table::Table;

/// Dispatches.
pub fn run(cx: &Context<'_>, args: &Sink) -> Result<()> {
    match args {
        Sink::Ls => ls(cx),
    }
}

fn ls(cx: &Context<'_>) -> Result<()> {
    let client = cx.session.client()?;
    let sinks = cx.session.wait(client.sinks())?;
    cx.out.report(&sinks, |s: &SinksFacts| {
        if s.sinks.is_empty() {
            return "the audit log is sent nowhere; vault help config shows how that is set\n".into();
        }
        let mut table = Table::new(&["NAME", "FORM", "TO", "TARGET", ">ROW", ">LAG", "LAST", "STATE"]);
        for sink in &s.sinks {
            let state = match (&sink.error, sink.running) {
                (Some(error), _) => error.clone(),
                (None, true) => "sending".into(),
                (None, false) => "no daemon runs".into(),
            };
            table.row([
                sink.name.clone(),
                sink.format.clone(),
                sink.to.clone(),
                sink.target.clone(),
                sink.cursor.to_string(),
                sink.lag.to_string(),
                sink.delivered.map_or_else(|| "-".into(), show::time),
                state,
            ]);
        }
        table.render(cx.out.styled())
    })
}
