//! The pieces of a file: what a reader checks before it hands on a byte of it.
//!
//! A file is the pieces one after the other. A piece of text ends where a record ends; files without lines are cut each MiB. The list
//! of them is text, a line a piece: `LENGTH RECORDS BLAKE3`, and the statement has the SHA-256 of that text. BLAKE3, as for the
//! groups of a sealed file: every byte that is read is hashed for it, by the vault and by each reader, several times as fast.

use crate::crypto::hash::{Blake3Hasher, blake3, sha256};
use crate::error::{Error, ErrorId, Result};
use crate::names::{Blake3, Sha256};

/// Bytes of a piece where no record says where it ends.
const CUT: usize = 1 << 20;
/// Most bytes of a piece: the longest record, and what was read beyond it.
pub const MAX_PIECE: u64 = 66 << 20;

/// Some bytes of a file, after those of the piece before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes.
    pub len: u64,
    /// Records that begin in it; 0 also where that is not known.
    pub records: u64,
    /// Digest of the bytes.
    pub blake3: Blake3,
}

impl Piece {
    /// Of bytes that are there.
    pub fn of(bytes: &[u8], records: u64) -> Self {
        Self { len: bytes.len() as u64, records, blake3: blake3(bytes) }
    }
}

/// All pieces of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces(pub Vec<Piece>);

impl Pieces {
    /// The text of the list.
    pub fn to_text(&self) -> String {
        use std::fmt::Write;
        let mut out = String::with_capacity(self.0.len() * 80);
        for Piece { len, records, blake3 } in &self.0 {
            let _ = writeln!(out, "{len} {records} {blake3}");
        }
        out
    }

    /// What the statement says of the list.
    pub fn digest(&self) -> Sha256 {
        sha256(self.to_text().as_bytes())
    }

    /// From the text of a list whose digest was signed.
    ///
    /// # Errors
    /// `DatasetChanged` for another text than was signed, or one that is no list.
    pub fn from_text(text: &[u8], signed: &Sha256) -> Result<Self> {
        let changed = || Error::new(ErrorId::DatasetChanged, "the list of pieces is not the one that was signed");
        if sha256(text) != *signed {
            return Err(changed());
        }
        let text = std::str::from_utf8(text).map_err(|_| changed())?;
        let piece = |line: &str| {
            let mut words = line.split(' ');
            let (len, records, blake3) = (words.next()?, words.next()?, words.next()?);
            let piece = Piece { len: len.parse().ok()?, records: records.parse().ok()?, blake3: blake3.parse().ok()? };
            (words.next().is_none() && piece.len <= MAX_PIECE).then_some(piece)
        };
        text.lines().map(|line| piece(line).ok_or_else(changed)).collect::<Result<_>>().map(Self)
    }

    /// Most bytes of the list of a file of so many: two pieces that follow one another have at least 256 KiB.
    pub fn most(size: u64) -> u64 {
        (size / (1 << 17)).saturating_mul(128).max(1 << 20)
    }

    /// Bytes of all.
    pub fn size(&self) -> u64 {
        self.0.iter().fold(0, |sum, piece| sum.saturating_add(piece.len))
    }
}

/// Cuts bytes that come in order into pieces of one length.
#[derive(Default)]
pub(super) struct Cutter {
    pieces: Vec<Piece>,
    hasher: Blake3Hasher,
    held: usize,
}

impl Cutter {
    /// The next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CUT - self.held));
            self.hasher.update(now);
            self.held += now.len();
            bytes = later;
            if self.held == CUT {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        let blake3 = std::mem::take(&mut self.hasher).finish();
        self.pieces.push(Piece { len: std::mem::take(&mut self.held) as u64, records: 0, blake3 });
    }

    /// After the last bytes.
    pub fn finish(mut self) -> Pieces {
        if self.held > 0 {
            self.close();
        }
        Pieces(self.pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_again_and_no_other_is_taken() {
        let pieces = Pieces(vec![Piece::of(b"a,b\n", 0), Piece::of(b"1,2\n3,4\n", 2), Piece::of(b"", 0)]);
        let (text, signed) = (pieces.to_text(), pieces.digest());
        assert_eq!(Pieces::from_text(text.as_bytes(), &signed).unwrap(), pieces);
        assert_eq!(pieces.size(), 12);
        let other = text.replacen("8 2", "8 3", 1);
        assert_eq!(Pieces::from_text(other.as_bytes(), &signed).unwrap_err().id(), ErrorId::DatasetChanged);
        for bad in ["1 2\n", "1 2 3\n", "x", "1 2 3 4", &format!("999999999999 0 {}\n", Piece::of(b"", 0).blake3)] {
            let refused = Pieces::from_text(bad.as_bytes(), &sha256(bad.as_bytes())).unwrap_err();
            assert_eq!(refused.id(), ErrorId::DatasetChanged, "{bad}");
        }
    }

    #[test]
    fn bytes_are_cut_alike_however_they_come() {
        let bytes: Vec<u8> = (0..3 * CUT + 5).map(|i| (i % 251) as u8).collect();
        let whole: Vec<_> = bytes.chunks(CUT).map(|chunk| Piece::of(chunk, 0)).collect();
        for step in [1000, CUT, 2 * CUT + 1] {
            let mut cutter = Cutter::default();
            bytes.chunks(step).for_each(|some| cutter.push(some));
            assert_eq!(cutter.finish().0, whole, "{step}");
        }
        assert_eq!(Cutter::default().finish(), Pieces::default());
    }
}
