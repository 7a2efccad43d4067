//! The report of a scan as SARIF 2.1.0 (OASIS, 2020), for what reads findings of other tools: one rule a detector, one result a finding.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use model_vault::dataset::detect::{Report, Row, Severity, SuspiciousRecord};
use serde_json::{Value, json};

/// Most records of a result; readers of SARIF show fewer.
const MOST: usize = 1000;

/// The log, with one run.
pub fn of(report: &Report, dataset: &Path) -> Value {
    let lines = Lines::of(report, dataset);
    let rules: Vec<_> = report.detectors.iter().map(rule).collect();
    let index = |row: &Row| report.detectors.iter().position(|d| d.claim.detector == row.detector);
    let result = |row: &Row| {
        let at = |record: &SuspiciousRecord| location(record, dataset, lines.of_record(record));
        let mut result = json!({
            "ruleId": row.detector,
            "level": level(row.severity),
            "message": { "text": row.what },
            "locations": row.records.iter().take(MOST).map(at).collect::<Vec<_>>(),
            "properties": { "score": row.score, "records": row.count, "feature": row.feature },
        });
        if let Some(index) = index(row) {
            result["ruleIndex"] = index.into();
        }
        result
    };
    let notes = report.skipped.iter().map(|s| format!("{} did not run: {}", s.detector, s.why));
    let notes = notes.chain(report.unseen.iter().map(|what| format!("not looked at: {what}")));
    let notes =
        notes.chain(report.undecoded.records.iter().map(|r| format!("not decoded: {} record {}", r.file, r.record)));
    let notes = notes.chain(report.limits.iter().map(|limit| (*limit).to_owned()));
    let note = |text: String| json!({ "level": "note", "message": { "text": text } });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "Model Vault",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": "https://modelvault.example/",
                "rules": rules,
            } },
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": notes.map(note).collect::<Vec<_>>(),
            }],
            "columnKind": "unicodeCodePoints",
            "properties": { "records": report.records, "seed": report.seed, "bars": report.bars },
            "results": report.findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn rule(detector: &model_vault::dataset::detect::RunDetector) -> Value {
    let claim = &detector.claim;
    json!({
        "id": claim.detector,
        "shortDescription": { "text": claim.finds },
        "help": { "text": format!("False positives: {}. Not seen: {}.", claim.false_positives, claim.misses) },
        "defaultConfiguration": { "level": level(claim.severity) },
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

fn location(record: &SuspiciousRecord, dataset: &Path, line: Option<u64>) -> Value {
    let mut physical = json!({ "artifactLocation": { "uri": uri(record, dataset) } });
    if let Some(line) = line {
        physical["region"] = json!({ "startLine": line });
    }
    json!({
        "physicalLocation": physical,
        "logicalLocations": [{
            "name": format!("record {}", record.record),
            "fullyQualifiedName": format!("{}#record={}", record.file, record.record),
            "kind": "element",
        }],
    })
}

/// Relative to where the scan ran, where the dataset was named so; else within the dataset.
fn uri(record: &SuspiciousRecord, dataset: &Path) -> String {
    let place = match dataset.is_relative() {
        true if dataset.is_dir() => dataset.join(&record.file),
        true => dataset.into(),
        false => record.file.clone().into(),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    let text = place.to_string_lossy();
    let text = text.strip_prefix("./").unwrap_or(&text);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// In which lines the records of files of lines begin.
struct Lines(BTreeMap<String, BTreeMap<u64, u64>>);

impl Lines {
    fn of(report: &Report, dataset: &Path) -> Self {
        let mut wanted: BTreeMap<String, BTreeMap<u64, u64>> = BTreeMap::new();
        for record in report.findings.iter().flat_map(|row| row.records.iter().take(MOST)) {
            let format = report.files.iter().find(|f| f.path == record.file).map(|f| f.format);
            if matches!(format, Some("lines" | "jsonl")) {
                wanted.entry(record.file.clone()).or_default().insert(record.record, 0);
            }
        }
        for (file, records) in &mut wanted {
            let path = if dataset.is_dir() { dataset.join(file) } else { dataset.into() };
            let blank_counts = report.files.iter().any(|f| f.path == *file && f.format == "lines");
            // Without its lines a record is told by its number.
            let _ = find(&path, blank_counts, records);
            records.retain(|_, line| *line > 0);
        }
        Self(wanted)
    }

    fn of_record(&self, record: &SuspiciousRecord) -> Option<u64> {
        self.0.get(&record.file)?.get(&record.record).copied()
    }
}

/// Blank lines are records of text, and none of JSON Lines.
fn find(path: &Path, blank_counts: bool, records: &mut BTreeMap<u64, u64>) -> std::io::Result<()> {
    let last = records.keys().next_back().copied().unwrap_or(0);
    let mut reader = BufReader::new(File::open(path)?);
    let (mut record, mut line, mut ended, mut blank) = (0, 1, false, true);
    while record < last && !ended {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|b| *b == b'\n');
        blank &= buffer[..end.unwrap_or(buffer.len())].iter().all(u8::is_ascii_whitespace);
        ended = buffer.is_empty();
        let used = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(used);
        if end.is_none() && !ended {
            continue;
        }
        if blank_counts || !blank {
            record += 1;
            if let Some(found) = records.get_mut(&record) {
                *found = line;
            }
        }
        (line, blank) = (line + 1, true);
    }
    Ok(())
}
