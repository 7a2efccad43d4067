//! Patterns as shells have them: `*` stands for any characters, `?` for one, all else for itself.

use serde::{Deserialize, Serialize};

/// Whether the text is one that the pattern means. Goes back to the last `*` only, so a hostile pattern costs at most pattern
/// length times text length.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// One pattern, for `namespace/name` of an artifact or the text of a principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(String);

impl Glob {
    const MAX: usize = 256;

    /// Whether it stands for all of `text`.
    pub fn matches(&self, text: &str) -> bool {
        matches(self.0.as_bytes(), text.as_bytes())
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.0
    }
}

impl TryFrom<String> for Glob {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits = !text.is_empty() && text.len() <= Self::MAX && !text.chars().any(char::is_control);
        if fits { Ok(Self(text)) } else { Err("a pattern has 1 to 256 characters, none of them a control character") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_text_or_not_at_all() {
        let glob = |p: &str| Glob::try_from(p.to_owned()).unwrap();
        for (pattern, yes, no) in [
            ("*", "prod/a", ""),
            ("prod/*", "prod/resnet", "preprod/resnet"),
            ("*/secret-?", "x/secret-1", "x/secret-12"),
            ("a*b*c", "a-b-b-c", "a-b-b-d"),
            ("operator *", "operator unix:uid:0", "workload prod/operator"),
        ] {
            assert!(glob(pattern).matches(yes), "{pattern} {yes}");
            assert!(no.is_empty() || !glob(pattern).matches(no), "{pattern} {no}");
        }
        assert!(!glob(&"*a".repeat(100)).matches(&"b".repeat(10_000)));
        assert!(Glob::try_from(String::new()).is_err());
        assert!(Glob::try_from("x".repeat(257)).is_err());
    }
}
