//! The report of a scan that is signed with a dataset: in short, if it is one of `vault dataset scan --json` about these records.

use model_vault::dataset::{Format, Gravity, Measured, ScanSummary};
use model_vault::{Error, ErrorId, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What is read of a report.
#[derive(Deserialize)]
struct Report {
    records: u64,
    files: Vec<File>,
    detectors: Vec<Ran>,
    /// Those that were changed; reports of 0.1 have none.
    #[serde(default)]
    bars: Vec<IgnoredAny>,
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct File {
    path: String,
    size: u64,
    records: u64,
}

#[derive(Deserialize)]
struct Ran {
    detector: String,
}

#[derive(Deserialize)]
struct Finding {
    detector: String,
    severity: String,
    count: u64,
}

/// What a statement says of a report.
pub enum Said {
    /// The report in short, for policies to see.
    InShort(ScanSummary),
    /// Its digest and no more, for this reason.
    DigestAlone(&'static str),
}

/// A report in short, if it is one, and one that was made with the bars that everybody knows.
///
/// # Errors
/// `InvalidArgument` for what is no document at all, a report about other files, or one that contradicts itself.
pub fn summary(text: &[u8], files: &[Measured]) -> Result<Said> {
    let refused = |what: String, hint: &str| Err(Error::new(ErrorId::InvalidArgument, what).hint(hint));
    let Ok(report) = serde_json::from_slice::<Report>(text) else {
        return match serde_json::from_slice::<IgnoredAny>(text) {
            Ok(_) => Ok(Said::DigestAlone("is none of vault dataset scan --json")),
            // An empty one is what a scan leaves that was broken off.
            Err(_) => refused(
                "the report of the scan is no JSON document".into(),
                "vault dataset scan PATH --json > REPORT makes one",
            ),
        };
    };
    // Images in directories are not looked at.
    let mut seen = files.iter().filter(|f| f.records > 0 && f.format != Format::Images);
    let is_there = |file: &Measured| {
        report.files.iter().any(|f| (&f.path, f.size, f.records) == (&file.path, file.size, file.records))
    };
    if let Some(other) = seen.find(|file| !is_there(file)) {
        let text = format!("the report of the scan is about other data: {} is not in it as it is now", other.path);
        return refused(text, "scan it again: vault dataset scan PATH --json");
    }
    let mut summary = ScanSummary {
        records: report.records,
        findings: report.findings.len() as u64,
        worst: Gravity::None,
        detectors: report.detectors.into_iter().map(|ran| (ran.detector, 0)).collect(),
    };
    for Finding { detector, severity, count } in report.findings {
        let gravity = Gravity::parse(&severity).filter(|gravity| *gravity > Gravity::None);
        let (Some(found), Some(gravity)) = (summary.detectors.get_mut(&detector), gravity) else {
            return refused(
                format!("the report of the scan has a finding by {detector:?}, which did not run"),
                "scan it again",
            );
        };
        *found = found.saturating_add(count.max(1));
        summary.worst = summary.worst.max(gravity);
    }
    // A policy that asks for no grave finding must not be met by bars that nothing reaches.
    Ok(match report.bars.is_empty() {
        true => Said::InShort(summary),
        false => Said::DigestAlone("was made with other bars (--bar)"),
    })
}
