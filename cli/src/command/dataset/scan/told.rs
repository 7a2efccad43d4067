//! The report of a scan in the terminal.

use model_vault::dataset::detect::{Report, Row, Severity, SuspiciousRecord};

use crate::output::text::{count, visible};

/// Records of a finding that are named.
const SHOWN: usize = 8;
/// Lines of a list.
const LINES: usize = 16;

/// What was looked at, what was found, what was not looked at, what cannot be told.
pub fn show(dataset: &str, report: &Report) -> String {
    let mut out = looked_at(dataset, report);
    out.push('\n');
    if report.records == 0 {
        out += "there are no records: nothing was looked at\n";
    } else if report.findings.is_empty() {
        out += "nothing suspicious was found\n";
    } else {
        let n = count(report.findings.len() as u64, "suspicious finding");
        out += &format!("{n}\n");
        report.findings.iter().for_each(|row| out += &finding(row, report));
    }
    for ranking in &report.rankings {
        out += &format!("\nthe oddest records, no findings: {} ({})\n", ranking.ranking, ranking.what);
        let lines: Vec<_> = ranking
            .records
            .iter()
            .map(|r| format!("{:.2}  {} record {}", r.score, r.place.file, r.place.record))
            .collect();
        out += &list(&lines);
    }
    let skipped = report.skipped.iter().map(|s| format!("{}: {}", s.detector, s.why));
    let undecoded =
        report.undecoded.records.iter().map(|record| format!("{}: it was not decoded", named(record, report)));
    let unseen: Vec<_> = undecoded.take(SHOWN).chain(skipped).chain(report.unseen.iter().cloned()).collect();
    if !unseen.is_empty() {
        out += "\nnot looked at\n";
        out += &list(&unseen);
    }
    out += "\nwhat no scan can tell\n";
    report.limits.iter().for_each(|limit| out += &format!("  {limit}\n"));
    // Names and messages come from whoever made the data.
    visible(&out)
}

fn looked_at(dataset: &str, report: &Report) -> String {
    let (records, files) = (count(report.records, "record"), count(report.files.len() as u64, "file"));
    let mut out = format!("{}: {records} in {files}\n", line(dataset));
    for role in ["label", "contributor", "text", "image", "pixel", "feature"] {
        let columns: Vec<_> = report.columns.iter().filter(|c| c.role == role).map(|c| line(&c.column)).collect();
        if columns.is_empty() {
            continue;
        }
        let names = some(&columns, 6);
        let more = match role {
            "label" => format!(": {}", labels(report)),
            "contributor" => format!(": {}", count(report.contributors.len() as u64, "contributor")),
            _ => String::new(),
        };
        out += &format!("  {role:<12} {names}{more}\n");
    }
    let ran: Vec<_> = report.detectors.iter().map(|d| d.claim.detector.to_owned()).collect();
    out += &format!("  {:<12} {}\n", "detectors", if ran.is_empty() { "none".into() } else { ran.join(", ") });
    if !report.bars.is_empty() {
        let bars: Vec<_> = report.bars.iter().map(|b| format!("{} {} (not {})", b.bar, b.value, b.standard)).collect();
        out += &format!("  {:<12} {}\n", "bars changed", bars.join(", "));
    }
    out
}

fn labels(report: &Report) -> String {
    let mut by_count: Vec<_> = report.labels.iter().collect();
    by_count.sort_by_key(|row| std::cmp::Reverse(row.records));
    let told: Vec<_> = by_count.iter().map(|row| format!("{} ({})", line(&row.label), row.records)).collect();
    some(&told, 6)
}

fn finding(row: &Row, report: &Report) -> String {
    let severity = match row.severity {
        Severity::High => "HIGH",
        Severity::Medium => "MEDIUM",
        Severity::Low => "LOW",
    };
    let mut out = format!(
        "\n  {severity:<7} {}: {}, score {:.1}\n          {}\n",
        row.detector,
        count(row.count, "record"),
        row.score,
        line(&row.what)
    );
    if !row.feature.is_empty() {
        out += &format!("          the pattern: {:?}\n", row.feature);
    }
    let mut rest = &row.records[..];
    let mut left = SHOWN;
    while let Some(first) = rest.first().filter(|_| left > 0) {
        // An image is a file of its own, and its name says all.
        if is_image(first, report) {
            out += &format!("          {}\n", line(&first.file));
            (left, rest) = (left - 1, &rest[1..]);
            continue;
        }
        let of_file = rest.iter().take_while(|r| r.file == first.file).count();
        let (these, later) = rest.split_at(of_file);
        let numbers: Vec<_> = these.iter().take(left).map(|r| r.record.to_string()).collect();
        left -= numbers.len();
        let word = if numbers.len() == 1 { "record" } else { "records" };
        out += &format!("          {} {word} {}\n", line(&first.file), numbers.join(", "));
        rest = later;
    }
    let more = row.count.saturating_sub((SHOWN - left) as u64);
    if more > 0 {
        out += &format!("          and {more} more (--json and --html tell them)\n");
    }
    out
}

/// An image is a file of its own; any other record has a number in its file.
fn named(record: &SuspiciousRecord, report: &Report) -> String {
    match is_image(record, report) {
        true => record.file.clone(),
        false => format!("{} record {}", record.file, record.record),
    }
}

fn is_image(record: &SuspiciousRecord, report: &Report) -> bool {
    report.files.iter().all(|file| file.path != record.file)
}

fn list(lines: &[String]) -> String {
    let mut out: String = lines.iter().take(LINES).map(|l| format!("  {}\n", line(l))).collect();
    if lines.len() > LINES {
        out += &format!("  and {} more (--json tells them)\n", lines.len() - LINES);
    }
    out
}

fn some(names: &[String], most: usize) -> String {
    let told = names.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > most { format!("{told} and {} more", names.len() - most) } else { told }
}

/// A name from outside on one line, and no longer than that.
fn line(text: &str) -> String {
    let flat = text.replace(['\n', '\r'], " ");
    match flat.char_indices().nth(400) {
        Some((at, _)) => format!("{}…", &flat[..at]),
        None => flat,
    }
}
