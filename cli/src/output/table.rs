//! Tables as wide as their content, and lists of facts.

use super::text::visible;

/// Rows under headings; columns are padded to their widest cell, the last is not padded.
pub struct Table {
    headings: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Headings; one that starts with `>` is of a column of numbers, aligned right.
    pub fn new(headings: &[&'static str]) -> Self {
        let right = headings.iter().map(|h| h.starts_with('>')).collect();
        Self { headings: headings.iter().map(|h| h.trim_start_matches('>')).collect(), right, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().map(|c| visible(&c).replace('\n', "\\n")).collect();
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells);
    }

    /// The text; headings in bold if `styled`.
    pub fn render(&self, styled: bool) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|r| r[column].chars().count());
            cells.chain([self.headings[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.headings.len()).map(width).collect();
        let mut out = String::new();
        let headings: Vec<_> = self.headings.iter().map(|h| (*h).to_owned()).collect();
        for (i, row) in std::iter::once(&headings).chain(&self.rows).enumerate() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
                line += &if self.right[column] { pad + cell } else { cell.clone() + &pad };
                line += "  ";
            }
            let line = line.trim_end();
            out += &if i == 0 && styled { format!("\x1b[1m{line}\x1b[0m") } else { line.to_owned() };
            out.push('\n');
        }
        out
    }
}

/// `label  value` lines; absent values are left out.
pub fn facts<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let present: Vec<_> = pairs.into_iter().filter_map(|(label, value)| Some((label, value?))).collect();
    let width = present.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    present.iter().map(|(label, value)| format!("{label:<width$}  {}\n", visible(value).replace('\n', "\\n"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_needed_and_lines_end_clean() {
        let mut table = Table::new(&["NAME", ">SIZE", "TAGS"]);
        table.row(["a".into(), "1.0 KiB".into(), String::new()]);
        table.row(["longer\n".into(), "7 B".into(), "latest".into()]);
        assert_eq!(table.render(false), "NAME         SIZE  TAGS\na         1.0 KiB\nlonger\\n      7 B  latest\n");
        assert!(table.render(true).starts_with("\x1b[1mNAME"));
    }

    #[test]
    fn absent_facts_leave_no_line() {
        assert_eq!(facts([("id", Some("1".into())), ("x", None), ("name", Some("n".into()))]), "id    1\nname  n\n");
    }
}
