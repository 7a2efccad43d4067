//! Plain text: each line is a record. An end of line is `\n` or `\r\n`; the last may have none.

use super::super::schema::{Schema, Survey};
use super::super::value::Encoder;
use super::{BadRecord, Format, Frame, each_encoded, last_line, lines_of, misfit, utf8};
use crate::error::Result as Outcome;

/// Lines of one file.
pub struct Lines;

impl Lines {
    /// Of a file whose records are lines.
    ///
    /// # Errors
    /// `InvalidArgument` for another schema.
    pub fn new(schema: &Schema) -> Outcome<Self> {
        if *schema == Schema::Lines { Ok(Self) } else { Err(misfit(schema, Format::Lines)) }
    }
}

impl Frame for Lines {
    fn skip(&self) -> u64 {
        0
    }

    fn lines_skipped(&self) -> u64 {
        0
    }

    fn cut(&self, block: &[u8]) -> usize {
        last_line(block)
    }

    fn records(&self, block: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), BadRecord> {
        let mut encoder = Encoder::default();
        for (number, (at, line)) in (0..).zip(lines_of(block)) {
            let written = each_encoded(&mut encoder, each, |record| {
                record.text(utf8(line)?);
                Ok(())
            });
            written.map_err(|why| BadRecord { number, at, why })?;
        }
        Ok(())
    }

    fn survey(&self, _: &[u8], _: &mut Survey) -> Result<u64, BadRecord> {
        Ok(0)
    }
}
