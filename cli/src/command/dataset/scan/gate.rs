//! What makes a scan fail (`--fail-on`). Where the question has no answer, since nothing was looked at for it, the answer is no pass.

use model_vault::dataset::detect::Report;
use model_vault::{Error, ErrorId, Result};

use crate::args::FailOn;
use crate::command::Outcome;

/// Refuses a detector that is asked for and left out: before anything is read.
///
/// # Errors
/// `InvalidArgument`.
pub fn can_be_answered(fail_on: &[FailOn], only: &[String]) -> Result<()> {
    let left_out = |what: &&FailOn| match what {
        FailOn::Detector { name, .. } => !only.is_empty() && !only.contains(name),
        FailOn::Any | FailOn::Unseen => false,
    };
    match fail_on.iter().find(left_out) {
        None => Ok(()),
        Some(what) => {
            let text = format!("--fail-on {what}: that detector does not run, since --detector names others");
            Err(Error::new(ErrorId::InvalidArgument, text).hint(format!("add --detector {what}, or leave all out")))
        }
    }
}

/// How a scan ends, whose report was shown.
pub fn outcome(fail_on: &[FailOn], report: &Report) -> Outcome {
    if let Some(why) = fail_on.iter().find_map(|what| unanswered(what, report)) {
        return Outcome::Refused(why);
    }
    if fail_on.iter().any(|what| fails(what, report)) { Outcome::Findings } else { Outcome::Done }
}

fn fails(what: &FailOn, report: &Report) -> bool {
    match what {
        FailOn::Any => report.suspicious,
        FailOn::Unseen => !report.complete,
        FailOn::Detector { name, records } => {
            let (findings, found) = report.found_by(name);
            findings > 0 && records.is_none_or(|least| found >= least)
        }
    }
}

fn unanswered(what: &FailOn, report: &Report) -> Option<Error> {
    let refused = |why: &str, hint: &str| {
        Some(Error::new(ErrorId::InvalidArgument, format!("--fail-on {what}: {why}")).hint(hint))
    };
    const NOTHING: &str =
        "a scan that looked at nothing says nothing: check the path; the report says what was not looked at";
    if let FailOn::Detector { name, .. } = what
        && let Some(skipped) = report.skipped.iter().find(|skipped| skipped.detector == name)
    {
        let hint = "give what it needs (--label, --by, --text, --baseline), or leave this --fail-on out";
        return refused(&format!("that detector did not run: {}", skipped.why), hint);
    }
    if let (FailOn::Any, Some(why)) = (what, &report.undecided) {
        return refused(why, "without a label most detectors do not run");
    }
    match what {
        _ if report.records == 0 => refused("no record was looked at", NOTHING),
        FailOn::Unseen => None,
        FailOn::Any if report.detectors.is_empty() => refused("no detector ran", NOTHING),
        _ if report.looked_at() == 0 => refused("no record was looked at", NOTHING),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detector_that_is_left_out_cannot_be_failed_on() {
        let of = |text: &str| text.parse::<FailOn>().unwrap();
        let only = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        can_be_answered(&[of("any"), of("unseen"), of("label:3")], &only(&[])).unwrap();
        can_be_answered(&[of("any"), of("label")], &only(&["rule", "label"])).unwrap();
        let refused = can_be_answered(&[of("any"), of("label:3")], &only(&["rule"])).unwrap_err();
        assert_eq!(refused.id(), ErrorId::InvalidArgument);
        assert!(refused.message().starts_with("--fail-on label: "), "{refused}");
    }
}
