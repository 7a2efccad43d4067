//! Reads canonical records field by field: what [`Encoder`](super::Encoder) wrote, and nothing else.

use super::value::{BOOL, BYTES, FLOAT, INT, LIST, NULL, STRUCT, TEXT, UINT};

/// A value of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// No value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number from -2^63 to 2^64 - 1.
    Int(i128),
    /// A binary64 number, or the one not-a-number.
    Float(f64),
    /// UTF-8.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Elements: [`fields`] reads them.
    List(&'a [u8]),
    /// Names and values by turns: [`members`] reads them.
    Struct(&'a [u8]),
}

/// Bytes that no record has in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record in canonical form: {0}")]
pub struct Malformed(&'static str);

impl Malformed {
    /// A record that is not one of whole files.
    pub(super) const NO_FILES: Self = Self("no key with files");
}

/// The fields of a record or list, in order. After the first that is malformed there are none.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// Reads a record, or the elements of a list. What is nested is not looked into.
pub fn fields(record: &[u8]) -> Fields<'_> {
    Fields { rest: record }
}

/// Names and values of what [`Field::Struct`] holds.
pub fn members(bytes: &[u8]) -> impl Iterator<Item = Result<(&str, Field<'_>), Malformed>> {
    let mut fields = fields(bytes);
    std::iter::from_fn(move || {
        let name = match fields.next()? {
            Ok(Field::Text(name)) => name,
            Ok(_) => {
                fields.rest = &[];
                return Some(Err(Malformed("a member without a name")));
            }
            Err(bad) => return Some(Err(bad)),
        };
        let value = fields.next().unwrap_or(Err(Malformed("a member without a value")));
        Some(value.map(|value| (name, value)))
    })
}

impl<'a> Fields<'a> {
    /// The bytes of the fields that are left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = field(self.rest);
        self.rest = read.as_ref().map_or(&[], |(_, rest)| rest);
        Some(read.map(|(field, _)| field))
    }
}

fn field(bytes: &[u8]) -> Result<(Field<'_>, &[u8]), Malformed> {
    let (head, rest) = bytes.split_at_checked(5).ok_or(Malformed("a field that is cut off"))?;
    let [tag, len @ ..] = head else { return Err(Malformed("a field that is cut off")) };
    let len = <[u8; 4]>::try_from(len).map_or(usize::MAX, |len| u32::from_le_bytes(len) as usize);
    let (value, rest) = rest.split_at_checked(len).ok_or(Malformed("a value that is cut off"))?;
    let eight = || <[u8; 8]>::try_from(value).map_err(|_| Malformed("a number that has not 8 bytes"));
    let field = match *tag {
        NULL if value.is_empty() => Field::Null,
        BOOL if *value == [0] => Field::Bool(false),
        BOOL if *value == [1] => Field::Bool(true),
        INT => Field::Int(i64::from_le_bytes(eight()?).into()),
        UINT => match u64::from_le_bytes(eight()?) {
            n if i64::try_from(n).is_ok() => return Err(Malformed("a number in two forms")),
            n => Field::Int(n.into()),
        },
        FLOAT => {
            let value = f64::from_le_bytes(eight()?);
            let twice = value.is_nan() && value.to_bits() != f64::NAN.to_bits() & !(1 << 63);
            if twice || (value == 0.0 && value.is_sign_negative()) {
                return Err(Malformed("a number in two forms"));
            }
            Field::Float(value)
        }
        TEXT => Field::Text(std::str::from_utf8(value).map_err(|_| Malformed("text that is not UTF-8"))?),
        BYTES => Field::Bytes(value),
        LIST => Field::List(value),
        STRUCT => Field::Struct(value),
        _ => return Err(Malformed("a tag or length that no value has")),
    };
    Ok((field, rest))
}

#[cfg(test)]
mod tests {
    use super::super::Encoder;
    use super::*;
    use proptest::prelude::*;

    fn encode(field: Field<'_>, to: &mut Encoder) -> Result<(), Malformed> {
        match field {
            Field::Null => to.null(),
            Field::Bool(truth) => to.bool(truth),
            Field::Int(n) => to.int(n),
            Field::Float(value) => to.float(value),
            Field::Text(text) => to.text(text),
            Field::Bytes(bytes) => to.bytes(bytes),
            Field::List(inner) => return to.list(|to| fields(inner).try_for_each(|f| encode(f?, to))),
            Field::Struct(inner) => return to.structure(|to| fields(inner).try_for_each(|f| encode(f?, to))),
        }
        Ok(())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut record = Encoder::default();
        record.null();
        record.bool(true);
        [-2, i64::MIN.into(), 1 << 63, u64::MAX.into()].into_iter().for_each(|n| record.int(n));
        record.float(-1.5);
        record.text("é\n");
        record.bytes(b"\xff");
        record
            .structure(|r| {
                r.text("k");
                r.int(1);
                Ok::<_, ()>(())
            })
            .unwrap();
        let read: Vec<_> = fields(record.record()).collect::<Result<_, _>>().unwrap();
        let (inner, rest) = read.split_last().unwrap();
        assert_eq!(
            rest,
            [
                Field::Null,
                Field::Bool(true),
                Field::Int(-2),
                Field::Int(i64::MIN.into()),
                Field::Int(1 << 63),
                Field::Int(u64::MAX.into()),
                Field::Float(-1.5),
                Field::Text("é\n"),
                Field::Bytes(b"\xff"),
            ]
        );
        let Field::Struct(inner) = inner else { panic!("{inner:?}") };
        assert_eq!(members(inner).collect::<Vec<_>>(), [Ok(("k", Field::Int(1)))]);
    }

    #[test]
    fn another_form_of_a_value_is_refused() {
        let with = |tag: u8, value: &[u8]| [&[tag, value.len() as u8, 0, 0, 0], value].concat();
        let mut negative_nan = f64::NAN.to_le_bytes();
        negative_nan[7] |= 0x80;
        for bad in [
            with(NULL, b"x"),
            with(BOOL, b"\x02"),
            with(INT, b"1234567"),
            with(UINT, &5_u64.to_le_bytes()),
            with(FLOAT, &(-0.0_f64).to_le_bytes()),
            with(FLOAT, &negative_nan),
            with(TEXT, b"\xff"),
            with(5, b""),
            with(99, b""),
            vec![TEXT, 9, 0, 0, 0, b'x'],
            vec![TEXT, 1, 0],
            vec![BYTES, 0xff, 0xff, 0xff, 0xff],
        ] {
            let good = with(BOOL, b"\x01");
            let record = [&good[..], &bad, &good].concat();
            let read: Vec<_> = fields(&record).collect();
            assert_eq!((read.len(), read[0], read[1].is_err()), (2, Ok(Field::Bool(true)), true), "{bad:?}");
        }
        assert!(members(&with(INT, &[0; 8])).all(|m| m.is_err()));
        assert!(members(&with(TEXT, b"k")).all(|m| m.is_err()));
    }

    proptest! {
        #[test]
        fn whatever_is_read_has_no_other_form(bytes in proptest::collection::vec(prop_oneof![0..11_u8, any::<u8>()], 0..80)) {
            let mut again = Encoder::default();
            if fields(&bytes).try_for_each(|f| encode(f?, &mut again)).is_ok() {
                prop_assert_eq!(again.record(), &bytes[..]);
            }
        }

        #[test]
        fn a_damaged_record_never_panics(at in 0..60_usize, to in any::<u8>(), cut in 0..60_usize) {
            let mut record = Encoder::default();
            record.text("some text");
            record.int(7);
            record.list(|r| { r.text("a"); r.float(2.5); Ok::<_, ()>(()) }).unwrap();
            let mut bytes = record.record().to_vec();
            let len = bytes.len();
            bytes[at % len] = to;
            bytes.truncate(len - cut % len);
            let mut again = Encoder::default();
            let _ = fields(&bytes).try_for_each(|f| encode(f?, &mut again));
        }
    }
}
