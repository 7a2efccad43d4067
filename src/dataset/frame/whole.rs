//! A file that holds no records, such as a description: it is signed as a whole.

use super::super::schema::Survey;
use super::{BadRecord, Frame};

/// All of a file, and no record of it.
pub struct Whole;

impl Frame for Whole {
    fn skip(&self) -> u64 {
        0
    }

    fn lines_skipped(&self) -> u64 {
        0
    }

    fn cut(&self, block: &[u8]) -> usize {
        block.len()
    }

    fn records(&self, _: &[u8], _: &mut dyn FnMut(&[u8])) -> Result<(), BadRecord> {
        Ok(())
    }

    fn survey(&self, _: &[u8], _: &mut Survey) -> Result<u64, BadRecord> {
        Ok(0)
    }
}
