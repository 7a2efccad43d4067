//! Tables in Apache Arrow IPC, both the file (Feather 2) and the stream. A record is a row.
//!
//! Batches are read one after the other and worked on by all cores. A file's footer must name the very batches that lie in it: readers go by
//! one or the other. Memory: a few batches, of at most 1 GiB each, packed or not.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{Message, MessageHeader, root_as_footer, root_as_message};
use arrow_schema::ArrowError;

use super::super::schema::{Schema, Survey};
use super::super::units::{Behind, Fault, Give, Read, Units};
use super::super::value::Encoder;
use super::Format;
use super::columns::{Columns, ROWS, guarded};
use crate::error::{Error, ErrorId, Result};
use crate::seal::io::ReadAt;

const MAGIC: &[u8; 6] = b"ARROW1";
/// Before the length of each message.
const MARK: [u8; 4] = [0xff; 4];
/// Most bytes of the description of a message, and of the footer.
const MAX_HEAD: u64 = 64 << 20;
/// Most bytes before the first message.
const MOST_PADDING: u64 = 64;
/// Most bytes of a message, as it lies in the file and unpacked.
const MAX_BODY: u64 = 1 << 30;

/// Rows of one file.
pub struct Arrow<'a> {
    name: &'a str,
    source: Arc<dyn ReadAt>,
    columns: Columns,
}

impl<'a> Arrow<'a> {
    /// Reads what a file says about itself.
    ///
    /// # Errors
    /// `RecordInvalid` for one that is damaged or holds types that have no canonical form; `LimitExceeded`.
    pub fn open(name: &'a str, source: &Arc<dyn ReadAt>) -> Result<Self> {
        let mut messages = Messages::start(name, &**source)?;
        while messages.decoder.schema().is_none() && messages.next()?.is_some() {}
        let schema = messages.decoder.schema().ok_or_else(|| bad(name, "there is no schema in it"))?;
        let columns = Columns::of(schema.fields()).map_err(|e| e.on(name))?;
        Ok(Self { name, source: source.clone(), columns })
    }

    /// Names of its columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.names()
    }

    /// The same under a schema.
    ///
    /// # Errors
    /// `InvalidArgument`, `DatasetChanged`.
    pub fn under(self, schema: &Schema) -> Result<Self> {
        Ok(Self { columns: self.columns.under(schema, Format::Arrow)?, ..self })
    }
}

impl Units for Arrow<'_> {
    type Unit = RecordBatch;

    fn hand_out(&self, read: Read<'_>, give: Give<'_, RecordBatch>) -> Result<()> {
        let mut behind = Behind::new(self.name, &*self.source, read)?;
        let mut messages = Messages::start(self.name, &*self.source)?;
        while let Some(batch) = messages.next()? {
            behind.to(messages.at)?;
            let Some(batch) = batch else { continue };
            for from in (0..batch.num_rows()).step_by(ROWS) {
                if !give(batch.slice(from, ROWS.min(batch.num_rows() - from))) {
                    return Ok(());
                }
            }
        }
        messages.as_the_footer_says()?;
        behind.to(behind.len)
    }

    fn records(&self, batch: &RecordBatch, each: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        self.columns.records(batch, 0, &mut Encoder::default(), each)
    }

    fn survey(&self, batch: &RecordBatch, seen: &mut Survey) -> Result<u64, Fault> {
        self.columns.survey(batch, seen)?;
        Ok(batch.num_rows() as u64)
    }
}

fn bad(name: &str, why: &str) -> Error {
    Error::new(ErrorId::RecordInvalid, format!("{name}: not a file of Arrow: {why}"))
}

/// The messages of a file, one after the other.
struct Messages<'a> {
    name: &'a str,
    source: &'a dyn ReadAt,
    decoder: StreamDecoder,
    at: u64,
    /// Where they end at the latest, and how long the footer after them is; a stream has none.
    end: u64,
    footer: u64,
    /// Where the batches lie.
    batches: Vec<u64>,
}

impl<'a> Messages<'a> {
    fn start(name: &'a str, source: &'a dyn ReadAt) -> Result<Self> {
        let end = source.len().map_err(|e| Error::of_io(e, name))?;
        let decoder = StreamDecoder::new();
        let mut messages = Self { name, source, decoder, at: 0, end, footer: 0, batches: Vec::new() };
        if end < 26 || &messages.read(0, 6)?[..] != MAGIC {
            return Ok(messages);
        }
        let tail = messages.read(end - 10, 10)?;
        let footer = u64::from(u32::from_le_bytes(tail[..4].try_into().unwrap_or_default()));
        if &tail[4..] != MAGIC || footer > end - 26 {
            return Err(bad(name, "it does not end as one; was it cut off?"));
        }
        (messages.at, messages.end, messages.footer) = (8, end - 10 - footer, footer);
        // Some writers fill up to their own alignment.
        while messages.at < MOST_PADDING.min(messages.end - 8) && messages.read(messages.at, 8)? == [0; 8] {
            messages.at += 8;
        }
        Ok(messages)
    }

    fn read(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.source.read_exact_at(&mut bytes, at).map_err(|e| Error::of_io(e, self.name))?;
        Ok(bytes)
    }

    /// Reads the next message; a batch if it is one. `None` at the end.
    fn next(&mut self) -> Result<Option<Option<RecordBatch>>> {
        let rest = self.end - self.at;
        if rest == 0 {
            return Ok(None);
        }
        let cut = || bad(self.name, "a message that is cut off");
        if rest < 8 {
            return Err(cut());
        }
        let start = self.read(self.at, 8)?;
        let word = |at: usize| u32::from_le_bytes(start[at..at + 4].try_into().unwrap_or_default());
        // Before version 1.0 the length stood alone.
        let (head, prefix) = if word(0) == u32::MAX { (word(4), 8) } else { (word(0), 4) };
        let head = u64::from(head);
        if head == 0 {
            self.end = self.at;
            return Ok(None);
        }
        if head > MAX_HEAD {
            return Err(self.too_large());
        }
        if head > rest - prefix {
            return Err(cut());
        }
        let mut bytes = self.read(self.at, prefix + head)?;
        let (body, is_batch) = guarded(self.name, || {
            root_as_message(&bytes[prefix as usize..])
                .map(|message| (message.bodyLength(), message.header_type() == MessageHeader::RecordBatch))
        })?;
        let body = u64::try_from(body).map_err(|_| cut())?;
        if body > MAX_BODY {
            return Err(self.too_large());
        }
        if body > rest - prefix - head {
            return Err(cut());
        }
        bytes.extend_from_slice(&self.read(self.at + prefix + head, body)?);
        let unpacked = guarded(self.name, || {
            let (head, body) = bytes[prefix as usize..].split_at(head as usize);
            let message = root_as_message(head).map_err(|e| e.to_string())?;
            unpacked(&message, body).map_err(str::to_owned)
        })?;
        if unpacked > MAX_BODY {
            return Err(self.too_large());
        }
        if is_batch {
            self.batches.push(self.at);
        }
        self.at += bytes.len() as u64;
        // The decoder is fed from the length on to the mark of a next message: it takes none without a body before it has seen more.
        bytes.extend_from_slice(&MARK);
        let mut bytes = Buffer::from_vec(bytes);
        bytes.advance(prefix as usize - 4);
        guarded(self.name, || {
            let batch = self.decoder.decode(&mut bytes)?;
            self.decoder.decode(&mut bytes).map(|none| batch.or(none))
        })
        .map(Some)
    }

    fn too_large(&self) -> Error {
        let text = format!("{}: a batch of more than {} MiB", self.name, MAX_BODY >> 20);
        Error::new(ErrorId::LimitExceeded, text).hint("write smaller batches of rows")
    }

    fn as_the_footer_says(&self) -> Result<()> {
        guarded(self.name, || self.decoder.schema().ok_or("it has no schema"))?;
        if self.footer == 0 {
            return Ok(());
        }
        if self.footer > MAX_HEAD {
            return Err(self.too_large());
        }
        let len = self.source.len().map_err(|e| Error::of_io(e, self.name))?;
        let footer = self.read(len - 10 - self.footer, self.footer)?;
        let same = guarded(self.name, || {
            let footer = root_as_footer(&footer).map_err(|e| ArrowError::IpcError(e.to_string()))?;
            let blocks = footer.recordBatches().into_iter().flatten();
            let schema = footer.schema().map(arrow_ipc::convert::try_fb_to_schema).transpose()?;
            let same = blocks.map(|block| block.offset()).eq(self.batches.iter().map(|at| *at as i64));
            Ok::<_, ArrowError>(same && schema.as_ref() == self.decoder.schema().as_deref())
        })?;
        if same { Ok(()) } else { Err(bad(self.name, "its footer names other columns or batches than lie in it")) }
    }
}

/// Bytes of what is packed in a body, as it says itself. Nothing may lie beyond the body: the decoder would panic.
fn unpacked(message: &Message<'_>, body: &[u8]) -> Result<u64, &'static str> {
    let dictionary = message.header_as_dictionary_batch().and_then(|d| d.data());
    let Some(batch) = message.header_as_record_batch().or(dictionary) else { return Ok(0) };
    let packed = batch.compression().is_some();
    batch.buffers().into_iter().flatten().try_fold(0, |sum: u64, buffer| {
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let end = range.and_then(|(from, len)| from.checked_add(len).map(|end| from..end));
        let bytes = end.and_then(|range| body.get(range)).ok_or("values beyond the end of their message")?;
        // Minus one: it is not packed.
        let len = bytes.first_chunk().filter(|_| packed).map_or(0, |len| i64::from_le_bytes(*len).max(0));
        Ok(sum.saturating_add(len.unsigned_abs()))
    })
}

#[cfg(test)]
mod tests;
