//! `vault audit replay` and `vault audit simulate`: alert rules on recorded or made-up traffic. They need no vault.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use model_vault::names::Timestamp;
use model_vault::settings::Setting;
use model_vault::watch::score::{Detection, Score, Scorer};
use model_vault::watch::trace::{LINE_MAX, Labelled};
use model_vault::watch::traffic::{Plan, generate};
use model_vault::watch::{Alert, Rules, Watcher};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::Context;
use crate::args::{AuditReplay, AuditSimulate};
use crate::files::destination::{Destination, ORDINARY};
use crate::files::{on, read_text};
use crate::output::table::{Table, facts};
use crate::output::text::visible;

/// Alerts that are listed one by one; more are counted.
const LISTED: usize = 10_000;

/// The JSON document of `vault audit replay`.
#[derive(Debug, Serialize)]
struct Replayed {
    events: u64,
    /// Lines with an act that this release does not know, and the first of them.
    passed_over: u64,
    first_passed_over: Option<u64>,
    principal_days: u64,
    alerts: Vec<Told>,
    more_alerts: u64,
    detections: Vec<Detection>,
    unlabelled_alerts: BTreeMap<&'static str, u64>,
    unlabelled_per_principal_day: f64,
    interval: [f64; 2],
}

/// An alert.
#[derive(Debug, Serialize)]
struct Told {
    seq: u64,
    time: Timestamp,
    rule: &'static str,
    severity: String,
    action: String,
    principal: Option<String>,
    object: Option<String>,
    seen: String,
    usual: String,
    label: Option<String>,
}

/// The JSON document of `vault audit simulate -o FILE`.
#[derive(Debug, Serialize)]
struct Simulated {
    output: PathBuf,
    events: usize,
}

/// Feeds a file to the rules.
pub fn replay(cx: &Context<'_>, args: &AuditReplay) -> Result<()> {
    let rules = match &args.rules {
        Some(file) => Rules::parse(&read_text(file)?)?,
        None => Rules::parse(Rules::BUILTIN)?,
    };
    let input: Box<dyn Read> = match args.file.as_path() {
        path if path == Path::new("-") => Box::new(std::io::stdin()),
        path => Box::new(File::open(path).map_err(on(path))?),
    };
    let (mut watcher, mut scorer) = (Watcher::new(rules, [0; 32]), Scorer::default());
    let (mut alerts, mut more) = (Vec::new(), 0);
    let mut lines = Lines { input: BufReader::new(input), line: String::new(), number: 0 };
    let (mut next, mut passed_over, mut first_passed_over) = (1, 0, None);
    while lines.advance()? {
        let parsed = Labelled::parse(lines.line.trim_end(), next);
        let place = || format!("{}, line {}", args.file.display(), lines.number);
        let Some(labelled) = parsed.map_err(|e| Error::new(e.id(), format!("{}: {}", place(), e.message())))? else {
            if !Labelled::is_no_row(lines.line.trim_end()) {
                passed_over += 1;
                first_passed_over.get_or_insert(lines.number);
            }
            continue;
        };
        next = labelled.event.seq.saturating_add(1);
        let told = watcher.observe(&labelled.event);
        scorer.observe(&labelled, &told);
        for alert in told {
            if args.summary || alerts.len() == LISTED {
                more += 1;
            } else {
                alerts.push(Told::of(alert, labelled.label.clone()));
            }
        }
    }
    let score = scorer.finish();
    let (rate, interval) = score.false_rate();
    let report = Replayed {
        events: score.events(),
        passed_over,
        first_passed_over,
        principal_days: score.principal_days(),
        alerts,
        more_alerts: more,
        detections: score.detections(),
        unlabelled_alerts: score.false_alarms().clone(),
        unlabelled_per_principal_day: rate,
        interval,
    };
    cx.out.report(&report, |report| text(report, &score, cx.out.styled()))
}

fn text(report: &Replayed, score: &Score, styled: bool) -> String {
    let mut text = String::new();
    for alert in &report.alerts {
        text += &alert.line();
    }
    if report.more_alerts > 0 {
        text += &format!("{} {}alerts\n", report.more_alerts, if report.alerts.is_empty() { "" } else { "more " });
    }
    if !report.detections.is_empty() {
        let mut table = Table::new(&["ATTACK", ">FOUND", ">RATE", ">95 %", ">AFTER", "FIRST BY"]);
        for d in &report.detections {
            table.row([
                visible(&d.attack),
                format!("{}/{}", d.found, d.instances),
                format!("{:.2}", d.rate),
                format!("{:.2}-{:.2}", d.interval[0], d.interval[1]),
                d.median_delay_seconds.map_or_else(|| "-".into(), |s| format!("{s} s")),
                d.rules.iter().map(|(rule, n)| format!("{rule} {n}")).collect::<Vec<_>>().join(", "),
            ]);
        }
        text += &format!("\n{}", table.render(styled));
    }
    let [low, high] = report.interval;
    let by_rule: Vec<_> = score.false_alarms().iter().map(|(rule, n)| format!("{rule} {n}")).collect();
    let events = format!("{} events, {} days of principals", report.events, report.principal_days);
    let unlabelled = format!("{:.4} a principal and day ({low:.4}-{high:.4})", report.unlabelled_per_principal_day);
    text += "\n";
    text += &facts([
        ("read", Some(events)),
        (
            "passed over",
            report.first_passed_over.map(|first| {
                format!(
                    "{} lines with an act that this release does not know, line {first} the first",
                    report.passed_over
                )
            }),
        ),
        ("unlabelled", Some(unlabelled)),
        ("by rule", Some(by_rule.join(", ")).filter(|by| !by.is_empty())),
    ]);
    text
}

impl Told {
    fn of(alert: Alert, label: Option<String>) -> Self {
        Self {
            seq: alert.seq,
            time: alert.time,
            rule: alert.rule.as_str(),
            severity: alert.severity.to_string(),
            action: alert.response.to_string(),
            principal: alert.principal.map(|p| p.to_string()),
            object: alert.object,
            seen: alert.seen,
            usual: alert.usual,
            label,
        }
    }

    fn line(&self) -> String {
        let whom = self.principal.as_deref().unwrap_or("the audit log");
        let object = self.object.as_ref().map_or_else(String::new, |object| format!(" on {object}"));
        let label = self.label.as_ref().map_or_else(String::new, |label| format!("  [{label}]"));
        let Self { seq, time, severity, rule, seen, usual, .. } = self;
        visible(&format!("{seq}  {time}  {severity} {rule}: {whom}{object}: {seen} (usual: {usual}){label}")) + "\n"
    }
}

/// Lines of bounded length.
struct Lines<R> {
    input: BufReader<R>,
    line: String,
    number: u64,
}

impl<R: Read> Lines<R> {
    /// The next line that is not empty, if there is one.
    fn advance(&mut self) -> Result<bool> {
        loop {
            self.line.clear();
            self.number += 1;
            let bad = |why: &str| Error::new(ErrorId::InvalidArgument, format!("line {}: {why}", self.number));
            let read = self.input.by_ref().take(LINE_MAX as u64 + 2).read_line(&mut self.line);
            match read {
                Ok(0) => return Ok(false),
                Ok(n) if n > LINE_MAX + 1 => return Err(bad("it is too long")),
                Ok(_) if self.line.trim().is_empty() => {}
                Ok(_) => return Ok(true),
                Err(e) if e.kind() == std::io::ErrorKind::InvalidData => return Err(bad("it is not UTF-8")),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Writes made-up events.
pub fn simulate(cx: &Context<'_>, args: &AuditSimulate) -> Result<()> {
    let plan = Plan { seed: args.seed, days: args.days, attacks: args.attacks, ..Plan::default() };
    let trace = generate(plan);
    if args.output == Path::new("-") {
        cx.out.take_stdout();
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        trace.iter().try_for_each(|event| out.write_all(event.to_line().as_bytes()))?;
        return out.flush().map_err(Into::into);
    }
    let mut to = Destination::open(&args.output, ORDINARY)?;
    trace.iter().try_for_each(|event| to.write_all(event.to_line().as_bytes()))?;
    to.finish(true)?;
    let done = Simulated { output: args.output.clone(), events: trace.len() };
    cx.out.report(&done, |d| format!("{} events written to {}\n", d.events, visible(&d.output.display().to_string())))
}
