//! Member paths that a file system would take for one another (docs/format.md 7.2): by letter case or by normalization. Refused
//! on every system alike, so that an artifact made here can be unpacked anywhere.

use std::collections::HashMap;

use model_vault::{Error, ErrorId, Result};
use unicode_normalization::UnicodeNormalization;

/// Refuses paths of which two would become one, or one the folder of another. Paths come in byte order.
///
/// # Errors
/// `InvalidArgument`, naming both.
pub fn refuse_merging<'a>(paths: impl IntoIterator<Item = &'a str>) -> Result<()> {
    // Folded path of each file and folder seen, with how it was written.
    let mut seen: HashMap<String, (&str, bool)> = HashMap::new();
    for path in paths {
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            let (part, is_file) = (&path[..end], end == path.len());
            match seen.insert(fold(part), (part, is_file)) {
                None => {}
                // The same folder again is the only thing that may repeat.
                Some((other, false)) if !is_file && other == part => {}
                Some((other, _)) => {
                    let text = format!("{other:?} and {part:?} would be one and the same on some file systems");
                    return Err(Error::new(ErrorId::InvalidArgument, text).hint("rename one of them"));
                }
            }
        }
    }
    Ok(())
}

/// A form that is equal for names that common file systems merge.
fn fold(path: &str) -> String {
    path.nfc().flat_map(char::to_lowercase).flat_map(char::to_uppercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_some_file_system_merges_are_refused() {
        for (paths, merged) in [
            (vec!["a", "b/c", "b/d"], false),
            (vec!["README", "readme"], true),
            (vec!["A/x", "a/y"], true),
            (vec!["A", "a/y"], true),
            (vec!["e\u{301}", "\u{e9}"], true),
            (vec!["stra\u{df}e", "STRASSE"], true),
            (vec!["\u{fb01}le", "file"], true),
            (vec!["x\u{b2}", "x2"], false),
        ] {
            assert_eq!(refuse_merging(paths.iter().copied()).is_err(), merged, "{paths:?}");
        }
    }
}
