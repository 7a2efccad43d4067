//! From a dataset to a report.

use std::collections::{BTreeMap, BTreeSet};

use super::super::folder::Folder;
use super::super::frame::Format;
use super::super::schema::Schema;
use super::claims::{LIMITS, claim};
use super::example::{Detector, Example, Finding};
use super::read::{Progress, Reading, ScannedFile, Undecoded};
use super::report::{
    ContributorRow, Drift, LabelRow, RankedRecord, RankingRow, Report, Row, RunDetector, SkippedDetector,
    SuspiciousRecord, contributor_z,
};
use super::space::{Space, short};
use super::table::contributor::Row as Supplier;
use super::table::drift::Comparison;
use super::table::ranking::{Ranked, what_is};
use super::view::View;
use super::{CLAIMS, Plan, Planned, Settings, plan, roles};
use crate::error::{Error, ErrorId, Result};

/// Most records that are named of all findings together.
const MOST_NAMED: usize = 1_000_000;

/// Scans a dataset. `schema`: what its records are held to, else what is found. `baseline`: what it is compared with.
/// `progress` is told how far it is.
///
/// # Errors
/// `InvalidArgument` for settings that do not fit the dataset; `RecordInvalid`, with the place; those of reading.
pub fn scan(
    folder: &Folder,
    schema: Option<Schema>,
    baseline: Option<&Folder>,
    settings: &Settings,
    threads: usize,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report> {
    known(&settings.only)?;
    let view = View::of(folder, schema, threads)?;
    let reading = Reading { folder, view: &view, threads, images: true, sha256_of_images: None, progress };
    let wanted = roles::wanted(&view, settings)?;
    let (columns, files) = reading.survey(&wanted)?;
    let images = files.iter().find(|file| file.looked_at && file.format == Format::Images.as_str());
    let reading = Reading { sha256_of_images: images.map(|file| file.sha256), ..reading };
    let mut space = roles::assign(&view, &columns, &wanted, settings)?;
    if let Some(attested) = settings.attested.as_ref().filter(|_| settings.by.is_none()) {
        space.set_attested(attested);
    }
    let (mut running, mut skipped) = (Vec::new(), Vec::new());
    let Plan { detectors, suppliers, comparisons, rankings } =
        plan(settings, &space, &roles::no_label(&view), baseline.is_some())?;
    for (detector, planned) in detectors {
        match planned {
            Planned::Skipped(why) => skipped.push(SkippedDetector { detector, why }),
            planned => running.push((detector, planned)),
        }
    }
    // The pass for the columns, those of the detectors, and the one for the places of what was found.
    let passes = 2 + running.iter().map(|(_, planned)| passes(planned)).max().map_or(0, u64::from);
    progress(Progress::Total(passes * folder.size() + baseline.map_or(0, Folder::size)));
    if let Some(folder) = baseline {
        if !folder.has(|format| view.looks_at(format)) {
            let text = "the baseline has no records of the kind that is scanned";
            return Err(
                Error::new(ErrorId::InvalidArgument, text).hint("rows are compared with rows, samples with samples")
            );
        }
        compare(&Reading { folder, sha256_of_images: None, ..reading }, &space, &mut running)?;
    }
    let (findings, detectors, undecoded) = run(&reading, &space, running)?;
    let mut unseen = unseen(&view, &files, &space);
    let compares = detectors.iter().any(|d| d.compares);
    if baseline.is_some() && !compares {
        unseen.push("the baseline: no detector that ran compares with one".into());
    }
    if settings.rules.is_some() && detectors.iter().all(|d| d.claim.detector != "rule") {
        unseen.push("the rules: their detector did not run".into());
    }
    if undecoded.count > 0 {
        unseen.push(format!("{} records have no image that can be decoded", undecoded.count));
    }
    let whole = |file: &ScannedFile| file.looked_at || file.format == Format::Whole.as_str();
    let undecided = roles::undecided_label(&view, &space);
    let complete = !detectors.is_empty()
        && undecided.is_none()
        && undecoded.count == 0
        && files.iter().all(whole)
        && view.layout().is_none_or(|layout| !layout.more);
    let mut report = Report {
        suspicious: !findings.is_empty(),
        records: columns.records,
        columns: space.roles.clone(),
        labels: space.labels.iter().map(|(label, n)| LabelRow { label: label.clone(), records: *n }).collect(),
        seed: settings.seed,
        bars: settings.bars.changed(),
        detectors,
        skipped,
        undecided,
        unseen,
        undecoded: Default::default(),
        complete,
        findings: Vec::new(),
        contributors: Vec::new(),
        drift: drifted(&space, &comparisons.borrow()),
        rankings: Vec::new(),
        limits: LIMITS,
        files,
    };
    tell(&reading, &space, settings, (findings, rankings.take(), undecoded), &mut report)?;
    judge(&space, &suppliers.borrow(), &mut report.contributors);
    Ok(report)
}

/// The columns of the whole against the baseline's.
fn drifted(space: &Space, comparisons: &[Comparison]) -> Vec<Drift> {
    let whole = comparisons.iter().filter(|c| c.contributor.is_none());
    whole
        .map(|c| Drift {
            column: c.column.map_or_else(|| "(label)".into(), |at| space.name(&format!("{{column:{at}}}"))),
            psi: c.psi,
        })
        .collect()
}

/// How far the labels of each contributor are spoken against, where that was looked at.
fn judge(space: &Space, suppliers: &[Supplier], rows: &mut [ContributorRow]) {
    for supplier in suppliers {
        let name = space.contributors.get(supplier.contributor as usize).map(|(name, _)| name);
        if let Some(row) = rows.iter_mut().find(|row| Some(&row.contributor) == name) {
            row.z = Some(supplier.z);
        }
    }
    rows.sort_by(|a, b| b.z.unwrap_or(0.0).total_cmp(&a.z.unwrap_or(0.0)));
}

fn known(only: &[String]) -> Result<()> {
    match only.iter().find(|name| claim(name).is_none()) {
        None => Ok(()),
        Some(name) => {
            let all: Vec<_> = CLAIMS.iter().map(|claim| claim.detector).collect();
            let error = Error::new(ErrorId::InvalidArgument, format!("no detector is named {name:?}"));
            Err(error.hint(format!("detectors are {}", all.join(", "))))
        }
    }
}

fn compare(baseline: &Reading<'_>, space: &Space, running: &mut [(&'static str, Planned)]) -> Result<()> {
    let mut comparing: Vec<_> = running
        .iter_mut()
        .filter_map(|(_, planned)| match planned {
            Planned::Comparing(detector) => Some(detector),
            _ => None,
        })
        .collect();
    if comparing.is_empty() {
        return Ok(());
    }
    baseline.examples(space, &mut |example, _| comparing.iter_mut().for_each(|d| d.baseline(example)))?;
    Ok(())
}

type Found = (Vec<Finding>, Vec<RunDetector>, Undecoded);

/// How often a detector wants to see all records.
fn passes(planned: &Planned) -> u32 {
    match planned {
        Planned::Alone(detector) => detector.passes(),
        Planned::Comparing(detector) => detector.passes(),
        Planned::Shared | Planned::Skipped(_) => 0,
    }
}

/// All passes of all detectors.
fn run(reading: &Reading<'_>, space: &Space, mut running: Vec<(&'static str, Planned)>) -> Result<Found> {
    let mut undecoded = Undecoded::default();
    for pass in 0..running.iter().map(|(_, planned)| passes(planned)).max().unwrap_or(0) {
        let mut awake: Vec<&mut dyn Detector> = Vec::new();
        for (_, planned) in running.iter_mut().filter(|(_, planned)| passes(planned) > pass) {
            match planned {
                Planned::Alone(detector) => awake.push(&mut **detector),
                Planned::Comparing(detector) => awake.push(&mut **detector),
                Planned::Shared | Planned::Skipped(_) => {}
            }
        }
        let mut see =
            |example: &Example<'_>, _: &str| awake.iter_mut().for_each(|detector| detector.observe(pass, example));
        undecoded = reading.examples(space, &mut see)?;
    }
    let (mut findings, mut ran) = (Vec::new(), Vec::new());
    for (name, planned) in running {
        let compares = matches!(planned, Planned::Comparing(_));
        (reading.progress)(Progress::Weighing(name));
        ran.extend(claim(name).map(|claim| RunDetector { passes: passes(&planned), compares, claim: *claim }));
        match planned {
            Planned::Alone(detector) => findings.extend(detector.finish()),
            Planned::Comparing(detector) => findings.extend(detector.finish()),
            Planned::Shared | Planned::Skipped(_) => {}
        }
    }
    Ok((together(findings), ran, undecoded))
}

/// All groups of duplicates as one finding: there may be as many as records.
fn together(findings: Vec<Finding>) -> Vec<Finding> {
    let (mut groups, mut others): (Vec<_>, Vec<_>) = findings.into_iter().partition(|f| f.detector == "duplicate");
    if groups.len() < 2 {
        others.append(&mut groups);
        return others;
    }
    let (score, mut records) = (groups.len() as f64, Vec::new());
    groups.iter_mut().for_each(|group| records.append(&mut group.records));
    records.sort_unstable();
    records.dedup();
    let what = format!(
        "{} groups of records have the same or nearly the same content within a group, and different labels",
        groups.len()
    );
    others.push(Finding { detector: "duplicate", what, feature: String::new(), score, records });
    others
}

fn unseen(view: &View, files: &[ScannedFile], space: &Space) -> Vec<String> {
    let mut unseen = view.unseen(files);
    let ignored = space.roles.iter().filter(|role| role.role == "ignored");
    unseen.extend(ignored.map(|role| format!("column {}: {}", role.column, role.why)));
    unseen
}

/// Puts findings into the report: names for numbers, places for records, and what else is said about these, read once more.
fn tell(
    reading: &Reading<'_>,
    space: &Space,
    settings: &Settings,
    (mut findings, rankings, undecoded): (Vec<Finding>, Vec<Ranked>, Undecoded),
    report: &mut Report,
) -> Result<()> {
    let severity = |finding: &Finding| claim(finding.detector).map_or(super::Severity::Medium, |c| c.severity);
    findings.sort_by(|a, b| severity(a).cmp(&severity(b)).then(b.score.total_cmp(&a.score)));
    let most = settings.max_records.unwrap_or(MOST_NAMED);
    let (mut all, mut named, mut left) = (BTreeSet::new(), BTreeMap::new(), MOST_NAMED);
    for finding in &findings {
        all.extend(finding.records.iter().copied());
        let shown = finding.records.iter().take(most.min(left));
        left -= shown.clone().count();
        named.extend(shown.map(|record| (*record, None)));
    }
    named.extend(rankings.iter().flat_map(|(_, records)| records).map(|(record, _)| (*record, None)));
    named.extend(undecoded.first.iter().map(|record| (*record, None)));
    let mut hits = vec![0_u64; space.contributors.len()];
    if !named.is_empty() {
        Reading { images: false, ..*reading }.examples(space, &mut |example, name| {
            if let Some(contributor) = example.contributor.filter(|_| all.contains(&example.record))
                && let Some(count) = hits.get_mut(contributor as usize)
            {
                *count += 1;
            }
            if let Some(place) = named.get_mut(&example.record) {
                *place = Some(describe(example, name, space, &report.files));
            }
        })?;
    }
    report.contributors = contributors(space, &hits);
    let records: Vec<_> = undecoded.first.iter().filter_map(|record| named.get(record).cloned().flatten()).collect();
    let truncated = (records.len() as u64) < undecoded.count;
    report.undecoded = super::Undecoded { count: undecoded.count, records, truncated };
    for (ranking, records) in rankings {
        let placed = |(record, score)| Some(RankedRecord { score, place: named.get(&record).cloned().flatten()? });
        let records = records.into_iter().filter_map(placed).collect();
        report.rankings.push(RankingRow { ranking, what: what_is(ranking), records });
    }
    for finding in findings {
        let told = finding.records.iter().map_while(|record| named.get(record).cloned().flatten());
        let records: Vec<_> = told.take(most).collect();
        report.findings.push(Row {
            detector: finding.detector,
            severity: severity(&finding),
            what: short(&space.name(&finding.what), 1000),
            feature: short(&finding.feature, 200),
            score: if finding.score.is_finite() { finding.score } else { f64::MAX },
            count: finding.records.len() as u64,
            truncated: records.len() < finding.records.len(),
            records,
        });
    }
    Ok(())
}

/// `called`: what the record is called, where it is one of images or samples.
fn describe(example: &Example<'_>, called: &str, space: &Space, files: &[ScannedFile]) -> SuspiciousRecord {
    let name = |names: &[(String, u64)], n: Option<u32>| Some(short(&names.get(n? as usize)?.0, 100));
    let mut at = example.record;
    let file = files.iter().find(|file| {
        let here = at < file.records;
        at -= if here { 0 } else { file.records };
        here
    });
    // An image is a file of its own.
    let image = file.is_some_and(|file| file.format == Format::Images.as_str());
    let path = if image { called } else { file.map_or("", |file| &file.path) };
    SuspiciousRecord {
        file: path.into(),
        record: if image { 1 } else { at + 1 },
        sample: (!image && !called.is_empty()).then(|| short(called, 200)),
        label: name(&space.labels, example.label),
        contributor: name(&space.contributors, example.contributor),
        text_length: example.text.chars().count() as u64,
    }
}

fn contributors(space: &Space, hits: &[u64]) -> Vec<ContributorRow> {
    let all = (hits.iter().sum::<u64>(), space.contributors.iter().map(|c| c.1).sum::<u64>());
    let row = |((name, records), hits): (&(String, u64), &u64)| ContributorRow {
        contributor: name.clone(),
        records: *records,
        suspicious: *hits,
        z: contributor_z(*hits, *records, all.0, all.1),
    };
    let mut rows: Vec<_> = space.contributors.iter().zip(hits).map(row).collect();
    rows.sort_by(|a, b| b.z.unwrap_or(0.0).total_cmp(&a.z.unwrap_or(0.0)));
    rows
}
