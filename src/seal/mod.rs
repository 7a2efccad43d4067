//! The sealed format of docs/format.md: writer, reader, range arithmetic, rewrap.

pub mod io;

/// The rule of docs/format.md 7.2 for one path (not for how paths relate).
pub fn path_is_valid(path: &str) -> bool {
    (1..=1024).contains(&path.len())
        && path.split('/').all(|part| (1..=255).contains(&part.len()) && part != "." && part != "..")
        && !path.bytes().any(|b| b < 0x20 || b == 0x7f || b == b'\\')
}
