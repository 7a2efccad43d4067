//! `vault dataset scan`: what looks poisoned, in the terminal, as JSON, as SARIF and as a page for a browser.

mod attested;
mod html;
mod sarif;
mod told;

use std::path::Path;

use model_vault::Result;
use model_vault::dataset::detect::{Progress as Far, Report, Settings, scan};
use serde::Serialize;

use super::origin::Origin;
use super::places::schema;
use crate::args::{DatasetScan, FailOn};
use crate::command::{Context, Outcome, threads};
use crate::files::destination::{must_be_new, put_new};
use crate::files::{on, read_small};
use crate::output::progress::Progress;

/// Most bytes of a file of rules.
const MAX_RULES: u64 = 4 << 20;

/// What is printed: the report, and what it is about.
#[derive(Debug, Serialize)]
struct Told<'a> {
    /// As it was given.
    dataset: String,
    #[serde(flatten)]
    report: &'a Report,
}

/// Scans.
pub fn run(cx: &Context<'_>, args: &DatasetScan) -> Result<Outcome> {
    args.sarif.iter().chain(&args.html).try_for_each(|file| must_be_new(&args.path, file))?;
    let find = |path| Origin::find(cx, path, &args.daemon, true);
    let origin = find(&args.path)?;
    let dataset = origin.folder(args.format)?;
    let baseline = args.baseline.as_deref().map(|path| find(path)?.folder(args.format)).transpose()?;
    let schema = args.schema.as_deref().map(schema).transpose()?;
    let settings = Settings {
        label: args.label.clone(),
        by: args.by.clone(),
        text: args.text.clone(),
        only: args.detector.clone(),
        rules: args.rules.as_deref().map(rules).transpose()?,
        seed: args.seed,
        max_records: args.max_records,
        rank: args.rank.into(),
        attested: match args.by {
            Some(_) => None,
            None => attested::attested(cx, (&origin, &dataset), &args.believed)?,
        },
    };
    // At least three passes: one each for columns, detectors and what was found.
    let bar = Progress::new("scanning", 3 * dataset.size(), cx.out.json());
    let follow = |far: Far| match far {
        Far::Total(bytes) => bar.of(bytes),
        Far::Read(bytes) => bar.more(bytes),
        Far::Weighing(detector) => bar.says(format!("scanning ({detector})")),
    };
    let report = scan(&dataset, schema, baseline.as_ref(), &settings, threads(), &follow)?;
    bar.done();
    if let Some(file) = &args.sarif {
        let text = crate::output::document(&sarif::of(&report, &args.path))?;
        put_new(&args.path, file, text.as_bytes())?;
    }
    let name = args.path.display().to_string();
    if let Some(file) = &args.html {
        put_new(&args.path, file, html::page(&name, &report).as_bytes())?;
    }
    cx.out.report(&Told { dataset: name, report: &report }, |told| told::show(&told.dataset, told.report))?;
    Ok(if args.fail_on.iter().any(|what| fails(what, &report)) { Outcome::Findings } else { Outcome::Done })
}

fn fails(what: &FailOn, report: &Report) -> bool {
    let Some(detector) = &what.detector else { return report.suspicious };
    let (findings, records) = report.found_by(detector);
    findings > 0 && what.records.is_none_or(|least| records >= least)
}

fn rules(file: &Path) -> Result<String> {
    let text = read_small(file, MAX_RULES).map_err(on(file))?;
    String::from_utf8(text).map_err(|_| {
        model_vault::Error::new(model_vault::ErrorId::InvalidArgument, "the rules are not UTF-8").on(file.display())
    })
}
