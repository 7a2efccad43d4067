//! The canonical form of a record: typed, length-prefixed fields, the same whatever file the record came from.
//!
//! A field is a tag (u8), a length (u32, little-endian) and so many bytes. Two records have the same bytes exactly if they have
//! the same values under the same schema, so a hash of the bytes names the record.

use crate::crypto::hash::sha256;
use crate::crypto::hash_batch::Sha256Batch;
use crate::names::Sha256;

/// Most bytes of one record in canonical form, and of one record in its file.
pub const MAX_RECORD: usize = 64 << 20;

pub(super) const NULL: u8 = 0;
pub(super) const BOOL: u8 = 1;
pub(super) const INT: u8 = 2;
pub(super) const UINT: u8 = 3;
pub(super) const FLOAT: u8 = 4;
pub(super) const TEXT: u8 = 7;
pub(super) const BYTES: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 10;

/// Writes fields one after the other. Clear it for the next record: its buffer is kept.
#[derive(Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    /// Forgets the record before.
    pub fn clear(&mut self) {
        self.out.clear();
    }

    /// The record so far.
    pub fn record(&self) -> &[u8] {
        &self.out
    }

    fn field(&mut self, tag: u8, bytes: &[u8]) {
        // Records are bounded far below this where they are read.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        self.out.extend_from_slice(&[tag, len[0], len[1], len[2], len[3]]);
        self.out.extend_from_slice(bytes);
    }

    fn number(&mut self, tag: u8, bits: u64) {
        let mut field = [tag, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        field[5..].copy_from_slice(&bits.to_le_bytes());
        self.out.extend_from_slice(&field);
    }

    /// No value.
    pub fn null(&mut self) {
        self.field(NULL, &[]);
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) {
        self.field(BOOL, &[u8::from(value)]);
    }

    /// A whole number from -2^63 to 2^64 - 1. Those that fit i64 have one form only.
    pub fn int(&mut self, value: i128) {
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(n), _) => self.i64(n),
            (_, Ok(n)) => self.number(UINT, n),
            _ => self.float(value as f64),
        }
    }

    /// A whole number that fits.
    pub fn i64(&mut self, value: i64) {
        self.number(INT, value as u64);
    }

    /// A binary64 number. Minus zero is zero, and there is one not-a-number.
    pub fn float(&mut self, value: f64) {
        let bits = match value {
            v if v.is_nan() => f64::NAN.to_bits() & !(1 << 63),
            0.0 => 0,
            v => v.to_bits(),
        };
        self.number(FLOAT, bits);
    }

    /// UTF-8, as it is: nothing is normalised.
    pub fn text(&mut self, value: &str) {
        self.field(TEXT, value.as_bytes());
    }

    /// Bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.field(BYTES, value);
    }

    /// Elements in their order.
    pub fn list<E>(&mut self, elements: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.nested(LIST, elements)
    }

    /// Names and values by turns, in the byte order of the names.
    pub fn structure<E>(&mut self, members: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.nested(STRUCT, members)
    }

    fn nested<E>(&mut self, tag: u8, inner: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.field(tag, &[]);
        let from = self.out.len();
        inner(self)?;
        let len = u32::try_from(self.out.len() - from).unwrap_or(u32::MAX);
        self.out[from - 4..from].copy_from_slice(&len.to_le_bytes());
        Ok(())
    }
}

/// `SHA-256(0x00 ‖ schema id ‖ record)`: the leaf hash of RFC 6962 over schema and record together.
pub fn record_hash(schema: &Sha256, record: &[u8]) -> Sha256 {
    sha256(&[&[0][..], &schema.0, record].concat())
}

/// [`record_hash`] of many records, in order.
pub(super) struct Hasher {
    /// What all messages begin with.
    head: [u8; 33],
    batch: Sha256Batch,
    hashes: Vec<Sha256>,
}

impl Hasher {
    /// Under a schema.
    pub fn new(schema: &Sha256) -> Self {
        let mut head = [0; 33];
        head[1..].copy_from_slice(&schema.0);
        Self { head, batch: Sha256Batch::default(), hashes: Vec::new() }
    }

    /// The next record.
    pub fn push(&mut self, record: &[u8]) {
        self.batch.push(&[&self.head, record], &mut self.hashes);
    }

    /// The hashes of all.
    pub fn finish(mut self) -> Vec<Sha256> {
        self.batch.finish(&mut self.hashes);
        self.hashes
    }
}

/// Names a record by its field `index`: a digest, so that keys of any type and length have one length.
pub(super) fn record_key(record: &[u8], index: usize) -> super::RecordKey {
    let mut rest = record;
    for _ in 0..index {
        rest = rest.get(field_len(rest)..).unwrap_or_default();
    }
    let mut key = [0; 16];
    key.copy_from_slice(&sha256(&rest[..field_len(rest).min(rest.len())]).0[..16]);
    key
}

/// Bytes of the first field.
fn field_len(fields: &[u8]) -> usize {
    fields.get(1..5).and_then(|len| len.try_into().ok()).map_or(0, |len| 5 + u32::from_le_bytes(len) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
        let mut encoder = Encoder::default();
        write(&mut encoder);
        encoder.record().to_vec()
    }

    #[test]
    fn values_have_one_form_each() {
        assert_eq!(encoded(|e| e.null()), [0, 0, 0, 0, 0]);
        assert_eq!(encoded(|e| e.bool(true)), [1, 1, 0, 0, 0, 1]);
        assert_eq!(encoded(|e| e.int(-2)), [&[2, 8, 0, 0, 0, 0xfe][..], &[0xff; 7]].concat());
        assert_eq!(encoded(|e| e.int(1 << 63)), [&[3, 8, 0, 0, 0][..], &[0; 7], &[0x80]].concat());
        assert_eq!(encoded(|e| e.float(-0.0)), encoded(|e| e.float(0.0)));
        assert_eq!(encoded(|e| e.float(-f64::NAN)), encoded(|e| e.float(f64::from_bits(0x7ff8_0000_0000_0001))));
        assert_ne!(encoded(|e| e.float(1.0)), encoded(|e| e.int(1)));
        assert_ne!(encoded(|e| e.text("a")), encoded(|e| e.bytes(b"a")));
        assert_eq!(encoded(|e| e.text("é")), [7, 2, 0, 0, 0, 0xc3, 0xa9]);
    }

    #[test]
    fn fields_do_not_run_into_one_another() {
        let two = |a: &str, b: &str| {
            encoded(|e| {
                e.text(a);
                e.text(b);
            })
        };
        assert_ne!(two("ab", "c"), two("a", "bc"));
        let list = |inner: &[&str]| {
            encoded(|e| {
                e.list(|e| {
                    inner.iter().for_each(|t| e.text(t));
                    Ok::<_, ()>(())
                })
                .unwrap();
            })
        };
        assert_ne!(list(&["ab"]), list(&["a", "b"]));
        assert_eq!(list(&["a"]), [9, 6, 0, 0, 0, 7, 1, 0, 0, 0, b'a']);
    }

    #[test]
    fn the_hash_is_the_leaf_hash_of_schema_and_record() {
        let schema = Sha256([3; 32]);
        let joined = [&schema.0[..], b"record"].concat();
        assert_eq!(record_hash(&schema, b"record"), crate::crypto::merkle::leaf_hash(&joined));
    }
}
