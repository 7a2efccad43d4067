//! The report of a scan that is signed with a dataset: in short, if it is one of `vault dataset scan --json` about these very records.

use std::collections::BTreeMap;

use model_vault::dataset::{Gravity, Measured, ScanSummary};
use model_vault::names::Sha256;
use model_vault::{Error, ErrorId, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What tells a report of ours, of whatever release, from another document.
#[derive(Deserialize)]
struct Ours {
    #[serde(rename = "suspicious")]
    _suspicious: IgnoredAny,
    #[serde(rename = "detectors")]
    _detectors: IgnoredAny,
    #[serde(rename = "findings")]
    _findings: IgnoredAny,
}

/// What is read of a report.
#[derive(Deserialize)]
struct Report {
    records: u64,
    undecoded: Undecoded,
    files: Vec<File>,
    detectors: Vec<Ran>,
    /// Those that do not stand where they do by themselves.
    bars: Vec<IgnoredAny>,
    /// Several columns could be the label.
    undecided: Option<IgnoredAny>,
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Undecoded {
    count: u64,
}

#[derive(Deserialize)]
struct File {
    path: String,
    size: u64,
    sha256: Sha256,
    records: u64,
    looked_at: bool,
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
#[derive(Debug)]
pub enum Said {
    /// The report in short, for policies to see.
    InShort(ScanSummary),
    /// Its digest and no more, for this reason.
    DigestAlone(&'static str),
}

/// A report in short, if it is one, and one that was made with the bars that everybody knows.
///
/// # Errors
/// `InvalidArgument` for what is no document at all, a report of another release, or one that contradicts itself; `DatasetChanged` for
/// one about other files.
pub fn summary(text: &[u8], files: &[Measured]) -> Result<Said> {
    let refused = |what: String, hint: &str| Err(Error::new(ErrorId::InvalidArgument, what).hint(hint));
    const AGAIN: &str = "scan it again: vault dataset scan PATH --json > REPORT";
    let report = match serde_json::from_slice::<Report>(text) {
        Ok(report) => report,
        Err(e) if serde_json::from_slice::<Ours>(text).is_ok() => {
            return refused(format!("the report of the scan is not one of this release: {e}"), AGAIN);
        }
        Err(_) if serde_json::from_slice::<IgnoredAny>(text).is_ok() => {
            return Ok(Said::DigestAlone("is none of vault dataset scan --json"));
        }
        // An empty one is what a scan leaves that was broken off.
        Err(_) => return refused("the report of the scan is no JSON document".into(), AGAIN),
    };
    must_be_about(&report, files)?;
    if report.detectors.is_empty() || report.records == 0 {
        return refused("the scan of the report looked at nothing".into(), "the report says what did not run, and why");
    }
    let seen: Option<u64> = report.files.iter().try_fold(0, |sum: u64, file| sum.checked_add(file.records));
    let Some(records) = report.records.checked_sub(report.undecoded.count).filter(|_| seen == Some(report.records))
    else {
        return refused("the report of the scan counts other records than its files have".into(), AGAIN);
    };
    let mut summary = ScanSummary {
        records,
        findings: report.findings.len() as u64,
        worst: Gravity::None,
        detectors: report.detectors.into_iter().map(|ran| (ran.detector, 0)).collect(),
    };
    for Finding { detector, severity, count } in report.findings {
        let gravity = Gravity::parse(&severity).filter(|gravity| *gravity > Gravity::None);
        let (Some(found), Some(gravity)) = (summary.detectors.get_mut(&detector), gravity) else {
            return refused(format!("the report of the scan has a finding by {detector:?}, which did not run"), AGAIN);
        };
        *found = found.saturating_add(count.max(1));
        summary.worst = summary.worst.max(gravity);
    }
    // A policy that asks for no grave finding must not be met by bars that nothing reaches.
    Ok(match (report.bars.is_empty(), report.undecided) {
        (true, None) => Said::InShort(summary),
        (true, Some(_)) => Said::DigestAlone("does not know which column is the label (--label)"),
        (false, _) => Said::DigestAlone("was made with other bars (--bar)"),
    })
}

/// Whether it looked at these files and no others, byte for byte. Records that it did not look at, such as images beside a table, it
/// does not count.
fn must_be_about(report: &Report, files: &[Measured]) -> Result<()> {
    let other = |path: &str, why: &str| {
        let text = format!("the report of the scan is about other data: {path} {why}");
        Err(Error::new(ErrorId::DatasetChanged, text)
            .hint("scan what is signed now, and keep the report beside it: vault dataset scan PATH --json > REPORT"))
    };
    let mut seen: BTreeMap<_, _> = report.files.iter().map(|file| (&*file.path, file)).collect();
    for file in files {
        let Some(scanned) = seen.remove(&*file.path) else { return other(&file.path, "is not in it") };
        if (scanned.size, scanned.sha256) != (file.size, file.sha256) {
            return other(&file.path, "was another file then");
        }
        if scanned.records != if scanned.looked_at { file.records } else { 0 } {
            return other(&file.path, "had other records then");
        }
    }
    match seen.keys().next() {
        Some(gone) => other(gone, "is not there any more"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use model_vault::dataset::Format;
    use serde_json::{Value, json};

    use super::*;

    fn measured(path: &str, format: Format, n: u8) -> Measured {
        let sha256 = Sha256([n; 32]);
        Measured { path: path.into(), format, size: 10, sha256, records: 3, root: sha256, pieces: sha256 }
    }

    fn file(path: &str, n: u8) -> Value {
        json!({ "path": path, "size": 10, "sha256": Sha256([n; 32]), "records": 3, "looked_at": true })
    }

    fn report(files: &[Value]) -> Value {
        json!({
            "suspicious": false, "records": 3 * files.len(), "undecoded": { "count": 1 }, "files": files,
            "detectors": [{ "detector": "rule" }], "bars": [], "findings": [],
        })
    }

    fn refused(report: &Value, files: &[Measured]) -> ErrorId {
        summary(report.to_string().as_bytes(), files).unwrap_err().id()
    }

    #[test]
    fn a_report_is_about_the_very_files_that_are_signed() {
        let files = [measured("a.csv", Format::Csv(b','), 1), measured("images", Format::Images, 2)];
        let good = report(&[file("a.csv", 1), file("images", 2)]);
        let said = |report: &Value| match summary(report.to_string().as_bytes(), &files).unwrap() {
            Said::InShort(summary) => summary,
            Said::DigestAlone(why) => panic!("{why}"),
        };
        let short = said(&good);
        assert_eq!((short.records, short.findings), (5, 0), "what could not be decoded was not looked at");
        let mut beside = good.clone();
        beside["records"] = 3.into();
        (beside["files"][1]["looked_at"], beside["files"][1]["records"]) = (false.into(), 0.into());
        assert_eq!(said(&beside).records, 2);
        for other in [
            report(&[file("a.csv", 9), file("images", 2)]),
            report(&[file("a.csv", 1), file("images", 9)]),
            report(&[file("a.csv", 1)]),
            report(&[file("a.csv", 1), file("b.csv", 1), file("images", 2)]),
        ] {
            assert_eq!(refused(&other, &files), ErrorId::DatasetChanged, "{other}");
        }
        let mut fewer = good.clone();
        fewer["files"][0]["records"] = 2.into();
        assert_eq!(refused(&fewer, &files), ErrorId::DatasetChanged);
    }

    #[test]
    fn a_report_of_ours_is_never_taken_for_one_of_another_tool() {
        let files = [measured("a.csv", Format::Csv(b','), 1)];
        let mut earlier = report(&[file("a.csv", 1)]);
        earlier["files"][0].as_object_mut().unwrap().remove("sha256");
        assert_eq!(refused(&earlier, &files), ErrorId::InvalidArgument);
        let mut miscounted = report(&[file("a.csv", 1)]);
        miscounted["records"] = 4.into();
        assert_eq!(refused(&miscounted, &files), ErrorId::InvalidArgument);
        let mut barred = report(&[file("a.csv", 1)]);
        barred["bars"] = json!([{ "bar": "label.margin", "value": 1.0, "standard": 0.65 }]);
        for other in [json!({ "tool": "another" }), barred] {
            let said = summary(other.to_string().as_bytes(), &files).unwrap();
            assert!(matches!(said, Said::DigestAlone(_)), "{other}");
        }
    }
}
