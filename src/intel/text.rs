//! Lines and CSV.

use super::{Indicator, IntelError, Kind};
use crate::names::Timestamp;

type Entries = Vec<(Indicator, Option<Timestamp>)>;

/// One entry a line; `#` begins a comment. A first line that names columns makes it CSV.
pub(super) fn read(text: &str) -> Result<Entries, IntelError> {
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let mut entries = Vec::new();
    let Some((first_at, first)) = lines.find(|(_, line)| !line.is_empty() && !line.starts_with('#')) else {
        return Ok(entries);
    };
    if let Some(columns) = columns(first) {
        for (at, line) in lines {
            row(at, line, &columns, &mut entries)?;
        }
        return Ok(entries);
    }
    for (at, line) in std::iter::once((first_at, first)).chain(lines) {
        // What follows a space or comma is a comment of its own; the entry itself has neither.
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let entry = line.split_once('#').map_or(line, |(entry, _)| entry.trim_end());
        let indicator = Indicator::parse(entry, Kind::Sha256);
        entries.push((indicator.ok_or(IntelError::Line { line: at, why: "not a digest or key" })?, None));
    }
    Ok(entries)
}

/// What the columns hold, if this line names any that is known.
fn columns(line: &str) -> Option<Vec<Option<Kind>>> {
    let kind = |name: &String| match name.to_ascii_lowercase().replace('-', "").as_str() {
        // Whatever stands there says itself what it is.
        "indicator" => Some(Kind::Sha256),
        name => Kind::named(name),
    };
    let columns: Vec<_> = cells(line)?.iter().map(kind).collect();
    columns.iter().any(Option::is_some).then_some(columns)
}

fn row(at: usize, line: &str, columns: &[Option<Kind>], entries: &mut Entries) -> Result<(), IntelError> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let cells = cells(line).ok_or(IntelError::Line { line: at, why: "a quote is not closed" })?;
    if cells.len() != columns.len() {
        return Err(IntelError::Line { line: at, why: "not as many cells as columns" });
    }
    for (cell, kind) in cells.iter().zip(columns) {
        if let (Some(kind), false) = (kind, cell.is_empty()) {
            let indicator = Indicator::parse(cell, *kind);
            entries.push((indicator.ok_or(IntelError::Line { line: at, why: "not a digest or key" })?, None));
        }
    }
    Ok(())
}

/// The cells of a line (RFC 4180, without line breaks in cells); `None` if a quote is not closed.
fn cells(line: &str) -> Option<Vec<String>> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell).trim().to_owned()),
            c => cell.push(c),
        }
    }
    cells.push(cell.trim().to_owned());
    (!quoted).then_some(cells)
}
