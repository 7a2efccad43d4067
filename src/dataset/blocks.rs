//! Text in blocks that end with a record, read once.

use super::frame::Frame;
use super::schema::Survey;
use super::units::{Fault, Give, Read, Units};
use super::value::MAX_RECORD;
use crate::error::{Error, ErrorId, Result};
use crate::seal::io::ReadAt;

/// Bytes of a block, unless one record is longer: it stays in the second-level cache until it is worked on.
const BLOCK: usize = 256 << 10;

/// A file whose records are text. Memory: a few blocks for each thread, or records of at most [`MAX_RECORD`].
pub(super) struct Blocks<'a> {
    /// In messages.
    pub name: &'a str,
    /// Its bytes.
    pub source: &'a dyn ReadAt,
    /// What its records are.
    pub frame: Box<dyn Frame>,
}

impl Units for Blocks<'_> {
    type Unit = Vec<u8>;

    const IN_BYTES: bool = true;

    fn head(&self) -> Option<u64> {
        Some(self.frame.skip())
    }

    fn bytes<'u>(&self, block: &'u Vec<u8>) -> Option<&'u [u8]> {
        Some(block)
    }

    fn hand_out(&self, read: Read<'_>, give: Give<'_, Vec<u8>>) -> Result<()> {
        let fail = |e: std::io::Error| Error::of_io(e, self.name);
        let len = self.source.len().map_err(fail)?;
        let mut skip = vec![0; usize::try_from(self.frame.skip().min(len)).unwrap_or(0)];
        self.source.read_exact_at(&mut skip, 0).map_err(fail)?;
        read(&skip);
        let (mut at, mut rest) = (skip.len() as u64, Vec::new());
        while at < len || !rest.is_empty() {
            // A record that fills a block is read on in larger and larger steps, so that looking for its end costs little.
            let held = rest.len();
            if held > MAX_RECORD {
                let text = format!("{}: a record of more than {} MiB", self.name, MAX_RECORD >> 20);
                return Err(Error::new(ErrorId::LimitExceeded, text).hint("split it, or keep it as a file of its own"));
            }
            let more = BLOCK.max(held).min(MAX_RECORD + 1 - held) as u64;
            let mut block = std::mem::take(&mut rest);
            block.resize(held + usize::try_from(more.min(len - at)).unwrap_or(BLOCK), 0);
            self.source.read_exact_at(&mut block[held..], at).map_err(fail)?;
            read(&block[held..]);
            at += (block.len() - held) as u64;
            let end = if at == len { block.len() } else { self.frame.cut(&block) };
            if end == 0 && at < len {
                rest = block;
                continue;
            }
            rest = block[end..].to_vec();
            block.truncate(end);
            if !give(block) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn records(&self, block: &Vec<u8>, each: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        Ok(self.frame.records(block, each)?)
    }

    fn survey(&self, block: &Vec<u8>, seen: &mut Survey) -> Result<u64, Fault> {
        Ok(self.frame.survey(block, seen)?)
    }

    fn lines_before(&self) -> Option<u64> {
        Some(self.frame.lines_skipped())
    }

    fn lines(&self, block: &Vec<u8>, until: usize) -> u64 {
        memchr::memchr_iter(b'\n', &block[..until.min(block.len())]).count() as u64
    }
}
