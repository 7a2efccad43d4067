//! The parts of the page.

use model_vault::dataset::detect::{CONTRIBUTOR_BAR, Report, Row, Severity, claim};

use super::plots::{Bar, bars};
use super::{escape, grouped};
use crate::output::text::{count, size};

/// Records of a finding that are listed; the other reports have all.
const RECORDS: usize = 500;
/// Rows of the other tables.
const ROWS: usize = 200;
/// From here on a population stability index is a large difference.
const PSI_BAR: f64 = 0.25;

fn section(title: &str, about: &str, inner: &str) -> String {
    if inner.is_empty() {
        return String::new();
    }
    let about = if about.is_empty() { String::new() } else { format!("<p class=\"about\">{about}</p>\n") };
    format!("<section>\n<h2>{title}</h2>\n{about}{inner}</section>\n")
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
    }
}

fn table(headings: &[&str], rows: impl ExactSizeIterator<Item = Vec<String>>, most: usize) -> String {
    let left_out = rows.len().saturating_sub(most);
    let head: String = headings.iter().map(|h| format!("<th>{h}</th>")).collect();
    let body: String = rows
        .take(most)
        .map(|cells| {
            let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
            format!("<tr>{cells}</tr>\n")
        })
        .collect();
    let more = if left_out > 0 {
        format!("<p class=\"more\">and {} more</p>\n", grouped(left_out as u64))
    } else {
        String::new()
    };
    format!("<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n{more}")
}

/// What was found.
pub fn findings(report: &Report) -> String {
    if report.findings.is_empty() {
        return String::new();
    }
    let bar = |(i, row): (usize, &Row)| Bar {
        name: format!("{}. {}", i + 1, row.detector),
        value: row.count as f64,
        text: grouped(row.count),
        class: word(row.severity),
    };
    let sizes: Vec<_> = report.findings.iter().enumerate().map(bar).collect();
    let mut inner = bars("Records of each finding", &sizes, None);
    report.findings.iter().enumerate().for_each(|(i, row)| inner += &finding(i + 1, row));
    let about = "Each is a suspicion with its evidence, the gravest first. Of the records only place, label and length are shown; a pattern is shown because it is the evidence.";
    section("Findings", about, &inner)
}

fn finding(number: usize, row: &Row) -> String {
    let severity = word(row.severity);
    let mut out = format!(
        "<details class=\"finding {severity}\"><summary><span class=\"number\">{number}</span><span class=\"chip {severity}\">{severity}</span>\
         <span class=\"detector\">{}</span><span class=\"facts\">{} · score {:.1}</span><span class=\"what\">{}</span></summary>\n",
        escape(row.detector),
        escape(&count(row.count, "record")),
        row.score,
        escape(&row.what)
    );
    if !row.feature.is_empty() {
        out += &format!("<p>The pattern: <code>{}</code></p>\n", escape(&row.feature));
    }
    if let Some(claim) = claim(row.detector) {
        out += &format!(
            "<p class=\"about\">This detector finds {}. False positives: {}. It does not see {}.</p>\n",
            claim.finds, claim.false_positives, claim.misses
        );
    }
    if !row.records.is_empty() {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".into());
        let by = row.records.iter().any(|r| r.contributor.is_some());
        let mut headings = vec!["File", "Record", "Label", "Length of text"];
        headings.extend(by.then_some("Contributor"));
        let rows = row.records.iter().map(|r| {
            let length = if r.text_length == 0 { "–".into() } else { grouped(r.text_length) };
            let mut cells = vec![r.file.clone(), grouped(r.record), known(&r.label), length];
            cells.extend(by.then(|| known(&r.contributor)));
            cells
        });
        out += &table(&headings, rows, RECORDS);
        if row.truncated {
            out += &format!("<p class=\"more\">{} in all</p>\n", escape(&count(row.count, "record")));
        }
    }
    out + "</details>\n"
}

/// Who supplied the records.
pub fn contributors(report: &Report) -> String {
    if report.contributors.is_empty() {
        return String::new();
    }
    let bar = |row: &model_vault::dataset::detect::ContributorRow| {
        let z = row.z.unwrap_or(0.0);
        let class = if z >= CONTRIBUTOR_BAR { "high" } else { "plain" };
        Bar { name: row.contributor.clone(), value: z, text: row.z.map_or("–".into(), |z| format!("{z:.1}")), class }
    };
    let z: Vec<_> = report.contributors.iter().map(bar).collect();
    let mut inner = bars("z of each contributor", &z, Some((CONTRIBUTOR_BAR, "from 4: stands out")));
    let rows = report.contributors.iter().map(|row| {
        let share = row.suspicious as f64 / row.records.max(1) as f64;
        let z = row.z.map_or("–".into(), |z| format!("{z:.1}"));
        vec![
            row.contributor.clone(),
            grouped(row.records),
            grouped(row.suspicious),
            format!("{:.2} %", share * 100.0),
            z,
        ]
    });
    let table = table(&["Contributor", "Records", "Suspicious", "Share", "z"], rows, ROWS);
    inner += &format!("<details><summary>All contributors</summary>\n{table}</details>\n");
    let about = "How far the share of a contributor&#39;s records in findings lies above that of all others, in standard deviations.";
    section("Contributors", about, &inner)
}

/// How the columns differ from the baseline.
pub fn drift(report: &Report) -> String {
    if report.drift.is_empty() {
        return String::new();
    }
    let bar = |row: &model_vault::dataset::detect::Drift| Bar {
        name: row.column.clone(),
        value: row.psi,
        text: format!("{:.2}", row.psi),
        class: if row.psi >= PSI_BAR { "medium" } else { "plain" },
    };
    let rows: Vec<_> = report.drift.iter().map(bar).collect();
    let about =
        "Population stability index of each column against the baseline. New data may differ for honest reasons.";
    section("Drift", about, &bars("PSI of each column", &rows, Some((PSI_BAR, "from 0.25: large"))))
}

/// How many records each label has.
pub fn labels(report: &Report) -> String {
    let mut labels: Vec<_> = report.labels.iter().collect();
    labels.sort_by_key(|row| std::cmp::Reverse(row.records));
    let bar = |row: &&model_vault::dataset::detect::LabelRow| Bar {
        name: row.label.clone(),
        value: row.records as f64,
        text: grouped(row.records),
        class: "plain",
    };
    let rows: Vec<_> = labels.iter().map(bar).collect();
    if rows.is_empty() {
        return String::new();
    }
    section("Labels", "How the classes are balanced. This is no finding.", &bars("Records of each label", &rows, None))
}

/// What was not looked at, and what cannot be told.
pub fn unseen(report: &Report) -> String {
    let skipped = report.skipped.iter().map(|s| (s.detector.to_owned(), s.why.clone()));
    let unseen = report.unseen.iter().map(|what| match what.split_once(": ") {
        Some((what, why)) => (what.to_owned(), why.to_owned()),
        None => (String::new(), what.clone()),
    });
    let item = |(what, why): (String, String)| format!("<li><b>{}</b> {}</li>\n", escape(&what), escape(&why));
    let undecoded = report.undecoded.records.iter().map(|record| {
        let number = record.sample.clone().unwrap_or_else(|| format!("record {}", record.record));
        (format!("{}, {number}", record.file), "it was not decoded".to_owned())
    });
    let items: Vec<_> = skipped.chain(unseen).chain(undecoded).map(item).collect();
    let shown: String = items.iter().take(ROWS).map(String::as_str).collect();
    let list = if items.is_empty() { String::new() } else { format!("<ul>\n{shown}</ul>\n") };
    let limits: String = report.limits.iter().map(|limit| format!("<li>{}</li>\n", escape(limit))).collect();
    section("Not looked at", "", &list)
        + &section("What no scan can tell", "", &format!("<ul class=\"limits\">\n{limits}</ul>\n"))
}

/// Bars that were put elsewhere.
pub fn changed_bars(report: &Report) -> String {
    if report.bars.is_empty() {
        return String::new();
    }
    let rows = report.bars.iter().map(|b| vec![b.bar.to_owned(), b.value.to_string(), b.standard.to_string()]);
    let about = "What is said above of false positives was measured with the standard ones.";
    section("Bars that were changed", about, &table(&["Bar", "Here", "Standard"], rows, ROWS))
}

/// What looked at the records.
pub fn detectors(report: &Report) -> String {
    if report.detectors.is_empty() {
        return String::new();
    }
    let rows = report.detectors.iter().map(|d| {
        let claim = &d.claim;
        [claim.detector, claim.finds, claim.false_positives, claim.misses].map(str::to_owned).to_vec()
    });
    section("Detectors", "", &table(&["Detector", "Finds", "False positives", "Does not see"], rows, ROWS))
}

/// What the columns were taken for.
pub fn columns(report: &Report) -> String {
    let rows = report.columns.iter().map(|c| vec![c.column.clone(), c.role.to_owned(), c.why.clone()]);
    if report.columns.is_empty() {
        return String::new();
    }
    let table = table(&["Column", "Taken for", "Why"], rows, ROWS);
    let told = escape(&count(report.columns.len() as u64, "column"));
    section("Columns", "", &format!("<details><summary>{told}</summary>\n{table}</details>\n"))
}

/// The files.
pub fn files(report: &Report) -> String {
    if report.files.is_empty() {
        return String::new();
    }
    let rows = report.files.iter().map(|f| vec![f.path.clone(), f.format.to_owned(), size(f.size), grouped(f.records)]);
    let table = table(&["File", "Format", "Size", "Records"], rows, ROWS);
    let told = escape(&count(report.files.len() as u64, "file"));
    section("Files", "", &format!("<details><summary>{told}</summary>\n{table}</details>\n"))
}
