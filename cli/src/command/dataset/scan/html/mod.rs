//! The report of a scan as one page: no script, no font, no picture from elsewhere, and no content of a record but the features that
//! speak for findings.

mod plots;
mod sections;

use model_vault::dataset::detect::{Report, Severity};

use crate::output::text::{count, visible};

/// All of its colours and sizes.
const STYLE: &str = include_str!("style.css");

/// The page.
pub fn page(dataset: &str, report: &Report) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Dataset scan: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(dataset)
    );
    out += &header(dataset, report);
    out += "<main>\n";
    for section in [
        sections::findings(report),
        sections::contributors(report),
        sections::drift(report),
        sections::labels(report),
        sections::unseen(report),
        sections::detectors(report),
        sections::changed_bars(report),
        sections::columns(report),
        sections::files(report),
    ] {
        out += &section;
    }
    out += "</main>\n";
    out += &format!(
        "<footer>Model Vault {}, vault dataset scan, seed {}. The same data, version and seed give the same report.</footer>\n",
        env!("CARGO_PKG_VERSION"),
        report.seed
    );
    out + "</body>\n</html>\n"
}

fn header(dataset: &str, report: &Report) -> String {
    let (class, verdict, said) = match report.findings.len() {
        0 => (
            "quiet",
            "Nothing suspicious was found".to_owned(),
            "This does not mean that the data is clean: see what no scan can tell.".to_owned(),
        ),
        n => {
            let of = |severity| report.findings.iter().filter(|row| row.severity == severity).count();
            let each = [("high", Severity::High), ("medium", Severity::Medium), ("low", Severity::Low)];
            let each: Vec<_> = each.iter().map(|(word, s)| (*word, of(*s))).filter(|(_, n)| *n > 0).collect();
            let class = each.first().map_or("high", |(word, _)| *word);
            let each: Vec<_> = each.iter().map(|(word, n)| format!("{n} of {word} severity")).collect();
            let look = if n == 1 { "look at it" } else { "look at them" };
            let said = format!("{}. Somebody should {look} before anybody trains on this data.", each.join(", "));
            (class, count(n as u64, "suspicious finding"), said)
        }
    };
    let tile = |n: String, of: &str| format!("<div class=\"tile\"><b>{n}</b><span>{of}</span></div>");
    let classes = report.labels.len();
    let tiles = [
        tile(grouped(report.records), "records"),
        tile(grouped(report.files.len() as u64), "files"),
        tile(grouped(report.columns.len() as u64), "columns"),
        tile(if classes == 0 { "none".into() } else { grouped(classes as u64) }, "labels"),
        tile(grouped(report.detectors.len() as u64), "detectors ran"),
        tile(grouped(report.skipped.len() as u64), "did not run"),
    ];
    format!(
        "<header>\n<p class=\"kind\">Dataset scan</p>\n<h1>{}</h1>\n<div class=\"verdict {class}\"><strong>{verdict}</strong><span>{said}</span></div>\n\
         <div class=\"tiles\">{}</div>\n</header>\n",
        escape(dataset),
        tiles.concat()
    )
}

/// Text from outside, made fit to stand in a page: as text, and as the value of an attribute in quotes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// `12,345`
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_vault::dataset::detect::*;

    /// A report with one of each, all names hostile.
    fn hostile() -> Report {
        const BAD: &str = "<script>alert('x')</script>\"&\u{202e}\u{1b}[31m";
        let record = |n| SuspiciousRecord {
            sample: None,
            file: format!("{BAD}.csv"),
            record: n,
            label: Some(BAD.into()),
            contributor: Some(BAD.into()),
            text_length: 120,
        };
        let row = |detector: &'static str, severity, count: u64| Row {
            detector,
            severity,
            what: format!("the phrase \"{BAD}\" stands in {count} records"),
            feature: BAD.into(),
            score: 31.25,
            count,
            records: (1..=count.min(40)).map(record).collect(),
            truncated: count > 40,
        };
        let z =
            |z, n: &str| ContributorRow { contributor: format!("{n}{BAD}"), records: 500, suspicious: 31, z: Some(z) };
        let drift = |column: &str, psi| Drift { column: format!("{column}{BAD}"), psi };
        Report {
            suspicious: true,
            records: 12_345,
            files: vec![ScannedFile {
                path: format!("{BAD}.csv"),
                format: "csv",
                size: 1 << 20,
                sha256: model_vault::names::Sha256([7; 32]),
                records: 12_345,
                looked_at: true,
            }],
            columns: vec![Role { column: BAD.into(), role: "label", why: BAD.into() }],
            labels: vec![
                LabelRow { label: BAD.into(), records: 12_000 },
                LabelRow { label: "ham".into(), records: 345 },
            ],
            seed: 1,
            undecided: None,
            bars: vec![ChangedBar { bar: "label.margin", value: 0.5, standard: 0.65 }],
            detectors: CLAIMS.iter().map(|claim| RunDetector { passes: 2, compares: false, claim: *claim }).collect(),
            skipped: vec![SkippedDetector { detector: "drift", why: BAD.into() }],
            unseen: vec![BAD.into()],
            undecoded: Undecoded { count: 3, records: vec![record(1)], truncated: true },
            complete: false,
            rankings: Vec::new(),
            findings: vec![
                row("text-trigger", Severity::High, 52),
                row("duplicate", Severity::Medium, 18),
                row("drift", Severity::Low, 0),
            ],
            contributors: vec![z(15.6, "c07"), z(2.0, "c02"), z(-1.5, "c01")],
            drift: vec![drift("age", 0.41), drift("income", 0.03)],
            limits: LIMITS,
        }
    }

    #[test]
    fn nothing_from_outside_is_markup() {
        let page = page("<b>data</b>", &hostile());
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
        for bad in
            ["<script", "<b>data", "\u{202e}", "\u{1b}", "http://", "https://", "url(", "@import", " src=", " href="]
        {
            assert!(!page.contains(bad), "{bad}");
        }
        assert!(page.contains("<td>label.margin</td><td>0.5</td><td>0.65</td>"));
        assert!(page.contains("clean-label triggers cannot be found from content alone"));
        assert!(!page.to_lowercase().contains("verified"));
    }

    #[test]
    fn tags_are_closed_in_order() {
        let page = page("data", &hostile());
        let mut open: Vec<&str> = Vec::new();
        for tag in page.split('<').skip(1) {
            let name = tag.split(['>', ' ', '\n']).next().unwrap();
            let single =
                ["meta", "!doctype", "line", "rect"].contains(&name) || tag.split('>').next().unwrap().ends_with('/');
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
                None if single => {}
                None => open.push(name),
            }
        }
        assert_eq!(open, [""; 0]);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
