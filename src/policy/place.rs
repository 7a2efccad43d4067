//! Where in a text something is.

use std::fmt;

use miette::Diagnostic;

/// A place as editors count: lines and characters from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Character in the line.
    pub column: usize,
}

impl Place {
    /// Where texts begin.
    pub const START: Self = Self { line: 1, column: 1 };

    /// Of a byte; what is beyond the end is at the end.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self { line: 1 + before.matches('\n').count(), column: 1 + line.chars().count() }
    }
}

impl fmt::Display for Place {
    /// `12:8`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// What Cedar points at or, where it points at nothing, `otherwise`.
pub(super) fn place_of(error: &dyn Diagnostic, text: &str, otherwise: usize) -> Place {
    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    Place::of(text, offset.unwrap_or(otherwise))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_as_editors_do() {
        let text = "a\n\u{e9}b\r\nc";
        let of = |offset| Place::of(text, offset).to_string();
        assert_eq!([of(0), of(1), of(2), of(4), of(7), of(99)], ["1:1", "1:2", "2:1", "2:2", "3:1", "3:2"]);
        // Within a character: where it begins.
        assert_eq!(of(3), "2:1");
    }
}
