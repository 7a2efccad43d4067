//! The headers of an archive: ustar, and what pax and GNU tar say in members of their own.

use super::Refused;
use crate::files::path_is_canonical;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes.
    File,
    /// Nothing of its own.
    Directory,
    /// The name of the next (GNU).
    LongName,
    /// Attributes of the next.
    Pax,
    /// Attributes of all that follow.
    PaxGlobal,
}

/// A block before a member.
pub(super) struct Header {
    pub path: Vec<u8>,
    pub size: u64,
    pub kind: Kind,
}

impl Header {
    /// From a block that is not all zero.
    pub fn read(block: &[u8; 512]) -> Result<Self, Refused> {
        let summed = block.iter().map(|b| u64::from(*b)).sum::<u64>();
        let sum = &block[148..156];
        let summed = summed - sum.iter().map(|b| u64::from(*b)).sum::<u64>() + 8 * u64::from(b' ');
        if octal(sum) != Some(summed) {
            return Err(Refused::Archive("not the header of a member: its sum is wrong"));
        }
        let kind = match block[156] {
            b'0' | 0 => Kind::File,
            b'5' => Kind::Directory,
            b'L' => Kind::LongName,
            b'x' => Kind::Pax,
            b'g' => Kind::PaxGlobal,
            b'1' | b'2' | b'K' => return Err(Refused::Archive("a link; store the file in its place (tar -h)")),
            b'S' => return Err(Refused::Archive("a sparse file; store it without -S")),
            _ => return Err(Refused::Archive("a member that is neither file nor directory")),
        };
        let size = number(&block[124..136]).ok_or(Refused::Archive("a size that is no number"))?;
        // Only ustar has the prefix: GNU tar has times in its place.
        let mut path = match &block[257..265] == b"ustar\x0000" {
            true => until_nul(&block[345..500]).to_vec(),
            false => Vec::new(),
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(until_nul(&block[..100]));
        Ok(Self { path, size, kind })
    }
}

/// What is taken of the attributes of a member; the others say nothing about its name or bytes.
#[derive(Default)]
pub(super) struct Pax {
    pub path: Option<Vec<u8>>,
    pub size: Option<u64>,
}

impl Pax {
    pub fn is_empty(&self) -> bool {
        self.path.is_none() && self.size.is_none()
    }

    /// From `length key=value\n`, as often as it likes.
    pub fn read(mut text: &[u8]) -> Result<Self, Refused> {
        let bad = || Refused::Archive("attributes (pax) that are malformed");
        let mut pax = Self::default();
        while !text.is_empty() {
            let space = text.iter().position(|b| *b == b' ').ok_or_else(bad)?;
            let len = decimal(&text[..space]).and_then(|len| usize::try_from(len).ok()).ok_or_else(bad)?;
            let record = text.get(space + 1..len).and_then(|r| r.strip_suffix(b"\n")).ok_or_else(bad)?;
            let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" if pax.path.is_none() => pax.path = Some(value.to_vec()),
                b"size" if pax.size.is_none() => pax.size = Some(decimal(value).ok_or_else(bad)?),
                b"path" | b"size" => return Err(bad()),
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(Refused::Archive("a sparse file; store it without -S"));
                }
                _ => {}
            }
            text = &text[len..];
        }
        Ok(pax)
    }
}

/// The path of a file in the one form it has.
pub(super) fn path(bytes: Vec<u8>) -> Result<String, Refused> {
    let path = String::from_utf8(bytes).map_err(|_| Refused::Archive("a name that is not UTF-8"))?;
    let path = path.strip_prefix("./").map_or(path.clone(), Into::into);
    match path_is_canonical(&path) {
        true => Ok(path),
        false => Err(Refused::Archive("a path that is empty, absolute or leads out of the archive")),
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

/// Octal digits, with spaces or NULs around them.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    text.bytes().all(|b| b.is_ascii_digit()).then(|| u64::from_str_radix(text, 8).ok()).flatten()
}

/// Octal, or binary where the first bit is set (GNU, above 8 GiB).
fn number(field: &[u8]) -> Option<u64> {
    match field.split_first() {
        Some((0x80, rest)) => {
            let (high, low) = rest.split_at(rest.len() - 8);
            let low = low.try_into().ok().map(u64::from_be_bytes);
            low.filter(|_| high.iter().all(|b| *b == 0))
        }
        _ => octal(field),
    }
}
