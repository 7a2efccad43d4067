//! Phrases of words, whatever stands between the words and however they are written.

/// One word of a phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// One of these words, lower-cased.
    Word { any: Vec<String>, optional: bool },
    /// Up to [`GAP`] words of any kind.
    Gap,
}

const GAP: usize = 2;
/// Characters between two words of one phrase, at most.
const BETWEEN: usize = 12;

/// Words one after the other: `this/that word? * end` is "this" or "that", perhaps "word", up to two others, "end".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    parts: Vec<Part>,
}

impl Phrase {
    /// `None` unless it starts with a word that must be there.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let part = |part: &str| {
            if part == "*" {
                return Part::Gap;
            }
            let (words, optional) = part.strip_suffix('?').map_or((part, false), |words| (words, true));
            Part::Word { any: words.split('/').map(str::to_lowercase).collect(), optional }
        };
        let parts: Vec<Part> = text.split_whitespace().map(part).collect();
        matches!(parts.first(), Some(Part::Word { optional: false, any }) if any.iter().all(|word| !word.is_empty()))
            .then_some(Self { parts })
    }

    /// The words it may start with.
    #[must_use]
    pub fn first(&self) -> &[String] {
        match self.parts.first() {
            Some(Part::Word { any, .. }) => any,
            _ => &[],
        }
    }

    /// Whether it stands at `from` in `text`.
    #[must_use]
    pub fn at(&self, text: &str, from: usize) -> bool {
        let starts_inside =
            text.get(..from).and_then(|before| before.chars().next_back()).is_some_and(char::is_alphanumeric);
        !starts_inside && text.get(from..).is_some_and(|rest| matches(&self.parts, rest))
    }
}

fn matches(parts: &[Part], text: &str) -> bool {
    let Some((part, later)) = parts.split_first() else { return true };
    match part {
        Part::Gap => {
            let mut rest = text;
            for _ in 0..=GAP {
                if matches(later, rest) {
                    return true;
                }
                let Some((_, after)) = word(rest) else { return false };
                rest = after;
            }
            false
        }
        Part::Word { any, optional } => {
            let taken =
                word(text).is_some_and(|(word, after)| any.iter().any(|one| same(one, word)) && matches(later, after));
            taken || (*optional && matches(later, text))
        }
    }
}

/// The next word, and what comes after it.
fn word(text: &str) -> Option<(&str, &str)> {
    let inside = |c: char| c.is_alphanumeric() || c == '\'' || c == '’' || ('\u{300}'..='\u{36f}').contains(&c);
    let from = text.char_indices().take(BETWEEN).find(|&(_, c)| c.is_alphanumeric())?.0;
    let rest = text.get(from..)?;
    let end = rest.char_indices().find(|&(_, c)| !inside(c)).map_or(rest.len(), |(at, _)| at);
    rest.split_at_checked(end)
}

/// Whether `word` is `lower`, whatever its case.
fn same(lower: &str, word: &str) -> bool {
    if word.is_ascii() {
        lower.eq_ignore_ascii_case(word)
    } else {
        lower.chars().eq(word.chars().flat_map(char::to_lowercase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_white_space_and_what_may_be_left_out() {
        let phrase = Phrase::parse("ignore all? the? previous/prior * instructions").unwrap();
        for text in [
            "ignore previous instructions",
            "IGNORE  all\n the PRIOR set of Instructions!",
            "Ignore, all: previous instructions",
        ] {
            assert!(phrase.at(text, 0), "{text}");
        }
        for text in [
            "ignore the instructions",
            "ignore all previous one two three instructions",
            "ignored previous instructions",
        ] {
            assert!(!phrase.at(text, 0), "{text}");
        }
        assert!(!phrase.at("xignore previous instructions", 1));
        assert!(Phrase::parse("? a").is_none() && Phrase::parse("").is_none());
    }
}
