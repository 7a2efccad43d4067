//! `vault dataset scan`: what looks poisoned, in the terminal, as JSON, as SARIF and as a page for a browser.

mod attested;
mod gate;
mod html;
mod sarif;
mod told;

use std::path::Path;

use model_vault::dataset::detect::{Bars, Progress as Far, Report, Settings, scan};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::origin::Origin;
use super::places::schema;
use crate::args::DatasetScan;
use crate::command::{Context, Outcome, threads};
use crate::files::destination::{must_be_new, put_new, same_place};
use crate::files::{on, read_small};
use crate::output::progress::Progress;

/// Most bytes of a file of rules.
const MAX_RULES: u64 = 4 << 20;

/// What is printed: the report, and what it is about.
#[derive(Debug, Serialize)]
struct Told<'a> {
    /// As it was given.
    dataset: String,
    /// Why `--fail-on` has no answer, where it has none.
    unanswered: Option<String>,
    #[serde(flatten)]
    report: &'a Report,
}

/// Scans.
pub fn run(cx: &Context<'_>, args: &DatasetScan) -> Result<Outcome> {
    args.sarif.iter().chain(&args.html).try_for_each(|file| must_be_new(&args.path, file))?;
    if let (Some(sarif), Some(html)) = (&args.sarif, &args.html)
        && same_place(sarif, html)
    {
        let text = format!("--sarif and --html are both {}", html.display());
        return Err(Error::new(ErrorId::InvalidArgument, text).hint("each report is a file of its own"));
    }
    gate::can_be_answered(&args.fail_on, &args.detector)?;
    let find = |path| Origin::find(cx, path, &args.daemon, true);
    let origin = find(&args.path)?;
    let dataset = origin.folder(args.format)?;
    let baseline = args.baseline.as_deref().map(|path| find(path)?.folder(args.format)).transpose()?;
    let schema = args.schema.as_deref().map(schema).transpose()?;
    let mut bars = Bars::default();
    args.bar.iter().try_for_each(|(name, value)| bars.set(name, *value))?;
    let settings = Settings {
        label: args.label.clone(),
        by: args.by.clone(),
        text: args.text.clone(),
        only: args.detector.clone(),
        bars,
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
    let outcome = gate::outcome(&args.fail_on, &report);
    let unanswered = match &outcome {
        Outcome::Refused(why) => Some(why.message().to_owned()),
        Outcome::Done | Outcome::Findings => None,
    };
    let told = Told { dataset: name, unanswered, report: &report };
    cx.out.report(&told, |told| told::show(&told.dataset, told.report))?;
    Ok(outcome)
}

fn rules(file: &Path) -> Result<String> {
    let text = read_small(file, MAX_RULES).map_err(on(file))?;
    String::from_utf8(text)
        .map_err(|_| Error::new(ErrorId::InvalidArgument, "the rules are not UTF-8").on(file.display()))
}
