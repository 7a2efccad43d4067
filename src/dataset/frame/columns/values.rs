//! The values of a column of Arrow in canonical form.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, Float16Array, LargeBinaryArray,
    LargeStringArray, StringArray, StringViewArray,
};
use arrow_schema::{DataType, TimeUnit};

use super::super::super::schema::{Seen, Type};
use super::super::super::value::{Encoder, MAX_RECORD};
use super::time::{self, PerSecond};

/// Lists and structs within one another.
const MAX_DEPTH: usize = 64;

/// A column of a batch. `None` inside: of a type that is refused before.
pub struct Values<'a> {
    array: &'a dyn Array,
    /// Whether any is missing.
    nulls: bool,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Missing,
    Bool(&'a BooleanArray),
    Int(Ints<'a>),
    Float16(&'a Float16Array),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    LargeBytes(&'a LargeBinaryArray),
    BytesView(&'a BinaryViewArray),
    FixedBytes(&'a FixedSizeBinaryArray),
    Date(Ints<'a>),
    /// Milliseconds of whole days.
    DateMillis(Ints<'a>),
    Time(Ints<'a>, PerSecond),
    Timestamp(Ints<'a>, PerSecond, bool),
    /// Its digits.
    Decimal(Box<dyn Fn(usize) -> String + 'a>),
    List(Offsets<'a>, Box<Values<'a>>),
    Struct(Vec<(&'a str, Values<'a>)>),
    Dictionary(Ints<'a>, Box<Values<'a>>),
}

/// Whole numbers of any width.
enum Ints<'a> {
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
}

impl Ints<'_> {
    fn get(&self, row: usize) -> i128 {
        match self {
            Self::I8(v) => v[row].into(),
            Self::I16(v) => v[row].into(),
            Self::I32(v) => v[row].into(),
            Self::I64(v) => v[row].into(),
            Self::U8(v) => v[row].into(),
            Self::U16(v) => v[row].into(),
            Self::U32(v) => v[row].into(),
            Self::U64(v) => v[row].into(),
        }
    }

    /// Of a signed kind.
    fn signed(&self, row: usize) -> i64 {
        match self {
            Self::I32(v) => v[row].into(),
            Self::I64(v) => v[row],
            other => other.get(row) as i64,
        }
    }
}

/// Where lists begin and end.
enum Offsets<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
    /// All have this length.
    Fixed(usize),
}

impl Offsets<'_> {
    fn range(&self, row: usize) -> std::ops::Range<usize> {
        match self {
            Self::Small(at) => at[row] as usize..at[row + 1] as usize,
            Self::Large(at) => at[row] as usize..at[row + 1] as usize,
            Self::Fixed(len) => row * len..(row + 1) * len,
        }
    }
}

/// Whether values of a type have a canonical form; otherwise what they are, and what to cast them to.
pub fn known(kind: &DataType, depth: usize) -> Result<(), (String, &'static str)> {
    use DataType as D;
    if depth > MAX_DEPTH {
        return Err(("lists and structs that are nested too deeply".into(), "fewer levels"));
    }
    match kind {
        D::Duration(_) => Err(("durations".into(), "whole numbers of their unit (int64)")),
        D::Interval(_) => Err(("intervals of the calendar".into(), "text")),
        D::Union(..) => Err(("unions".into(), "a column for each type")),
        D::RunEndEncoded(..) => Err(("runs of values (run-end encoded)".into(), "their plain type")),
        D::ListView(_) | D::LargeListView(_) => Err(("list views".into(), "lists")),
        D::List(of) | D::LargeList(of) | D::FixedSizeList(of, _) | D::Map(of, _) => known(of.data_type(), depth + 1),
        D::Dictionary(_, of) => known(of, depth + 1),
        D::Struct(fields) => {
            let twice = |name: &str| fields.iter().filter(|f| f.name() == name).count() > 1;
            if let Some(field) = fields.iter().find(|f| twice(f.name())) {
                return Err((format!("structs with two members {:?}", field.name()), "a struct of other names"));
            }
            fields.iter().try_for_each(|f| known(f.data_type(), depth + 1))
        }
        _ => Ok(()),
    }
}

impl<'a> Values<'a> {
    /// Of a type that is [`known`].
    pub fn of(array: &'a dyn Array) -> Self {
        Self { array, nulls: array.null_count() > 0, kind: Kind::of(array) }
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls && self.array.is_null(row)
    }

    /// What is seen in all rows.
    pub fn seen(&self, rows: usize) -> Seen {
        match self.kind {
            Kind::Int(_) | Kind::Dictionary(..) => {
                (0..rows).fold(Seen::default(), |seen, row| seen.and(self.seen_at(row)))
            }
            _ => (0..rows).find(|row| !self.is_null(*row)).map_or(Seen::default(), |row| self.seen_at(row)),
        }
    }

    fn seen_at(&self, row: usize) -> Seen {
        if self.is_null(row) {
            return Seen::default();
        }
        match &self.kind {
            Kind::Missing => Seen::default(),
            Kind::Bool(_) => Seen::BOOL,
            Kind::Int(ints) => Seen::int(ints.get(row)),
            Kind::Float16(_) | Kind::Float32(_) | Kind::Float64(_) => Seen::FLOAT,
            Kind::Bytes(_) | Kind::LargeBytes(_) | Kind::BytesView(_) | Kind::FixedBytes(_) => Seen::BYTES,
            Kind::List(..) | Kind::Struct(_) => Seen::OTHER,
            Kind::Dictionary(keys, values) => values.seen_at(keys.get(row) as usize),
            _ => Seen::TEXT,
        }
    }

    /// Writes a value under a type; otherwise says of what type it is not.
    pub fn write(&self, row: usize, kind: Type, record: &mut Encoder) -> Result<(), &'static str> {
        if self.is_null(row) || matches!(self.kind, Kind::Missing) {
            record.null();
            return Ok(());
        }
        match (kind, &self.kind) {
            (_, Kind::Dictionary(keys, values)) => values.write(keys.get(row) as usize, kind, record),
            (Type::Float, Kind::Int(ints)) => {
                let exact = super::super::number::Number::Int(ints.get(row)).as_float();
                record.float(exact.ok_or("no number that binary64 holds")?);
                Ok(())
            }
            (Type::Any, _)
            | (Type::Bool, Kind::Bool(_))
            | (Type::Int, Kind::Int(_))
            | (Type::Float, Kind::Float16(_) | Kind::Float32(_) | Kind::Float64(_))
            | (
                Type::Text,
                Kind::Text(_)
                | Kind::LargeText(_)
                | Kind::TextView(_)
                | Kind::Date(_)
                | Kind::DateMillis(_)
                | Kind::Time(..)
                | Kind::Timestamp(..)
                | Kind::Decimal(_),
            )
            | (Type::Bytes, Kind::Bytes(_) | Kind::LargeBytes(_) | Kind::BytesView(_) | Kind::FixedBytes(_)) => {
                self.any(row, record)
            }
            (Type::Bool, _) => Err("neither true nor false"),
            (Type::Int, _) => Err("no whole number"),
            (Type::Float, _) => Err("no number that binary64 holds"),
            (Type::Text, _) => Err("no text"),
            (Type::Bytes, _) => Err("no bytes"),
        }
    }

    /// Writes a value by its own type.
    fn any(&self, row: usize, record: &mut Encoder) -> Result<(), &'static str> {
        if self.is_null(row) {
            record.null();
            return Ok(());
        }
        if record.record().len() > MAX_RECORD {
            return Err("larger than a record may be");
        }
        match &self.kind {
            Kind::Missing => record.null(),
            Kind::Bool(array) => record.bool(array.value(row)),
            Kind::Int(Ints::I64(ints)) => record.i64(ints[row]),
            Kind::Int(ints) => record.int(ints.get(row)),
            Kind::Float16(array) => record.float(array.value(row).to_f64()),
            Kind::Float32(floats) => record.float(floats[row].into()),
            Kind::Float64(floats) => record.float(floats[row]),
            Kind::Text(array) => record.text(array.value(row)),
            Kind::LargeText(array) => record.text(array.value(row)),
            Kind::TextView(array) => record.text(array.value(row)),
            Kind::Bytes(array) => record.bytes(array.value(row)),
            Kind::LargeBytes(array) => record.bytes(array.value(row)),
            Kind::BytesView(array) => record.bytes(array.value(row)),
            Kind::FixedBytes(array) => record.bytes(array.value(row)),
            Kind::Date(days) => record.text(&time::date(days.signed(row))?),
            Kind::DateMillis(millis) => match millis.signed(row) {
                whole if whole % 86_400_000 == 0 => record.text(&time::date(whole / 86_400_000)?),
                _ => return Err("a date with a time of day"),
            },
            Kind::Time(ints, unit) => record.text(&time::time(ints.signed(row), *unit)?),
            Kind::Timestamp(ints, unit, moment) => record.text(&time::timestamp(ints.signed(row), *unit, *moment)?),
            Kind::Decimal(digits) => record.text(&digits(row)),
            Kind::List(offsets, values) => {
                return record.list(|record| offsets.range(row).try_for_each(|at| values.any(at, record)));
            }
            Kind::Struct(members) => {
                return record.structure(|record| {
                    members.iter().try_for_each(|(name, values)| {
                        record.text(name);
                        values.any(row, record)
                    })
                });
            }
            Kind::Dictionary(keys, values) => return values.any(keys.get(row) as usize, record),
        }
        Ok(())
    }
}

/// Whole numbers, and what is stored as such.
fn ints(array: &dyn Array) -> Option<Ints<'_>> {
    use DataType as D;
    macro_rules! of {
        ($variant:ident, $kind:ty) => {
            Ints::$variant(array.as_primitive::<$kind>().values())
        };
    }
    Some(match array.data_type() {
        D::Int8 => of!(I8, Int8Type),
        D::Int16 => of!(I16, Int16Type),
        D::Int32 => of!(I32, Int32Type),
        D::Int64 => of!(I64, Int64Type),
        D::UInt8 => of!(U8, UInt8Type),
        D::UInt16 => of!(U16, UInt16Type),
        D::UInt32 => of!(U32, UInt32Type),
        D::UInt64 => of!(U64, UInt64Type),
        D::Date32 => of!(I32, Date32Type),
        D::Date64 => of!(I64, Date64Type),
        D::Time32(TimeUnit::Second) => of!(I32, Time32SecondType),
        D::Time32(_) => of!(I32, Time32MillisecondType),
        D::Time64(TimeUnit::Nanosecond) => of!(I64, Time64NanosecondType),
        D::Time64(_) => of!(I64, Time64MicrosecondType),
        D::Timestamp(TimeUnit::Second, _) => of!(I64, TimestampSecondType),
        D::Timestamp(TimeUnit::Millisecond, _) => of!(I64, TimestampMillisecondType),
        D::Timestamp(TimeUnit::Microsecond, _) => of!(I64, TimestampMicrosecondType),
        D::Timestamp(TimeUnit::Nanosecond, _) => of!(I64, TimestampNanosecondType),
        _ => return None,
    })
}

fn per_second(unit: TimeUnit) -> PerSecond {
    PerSecond(match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    })
}

impl<'a> Kind<'a> {
    fn of(array: &'a dyn Array) -> Self {
        use DataType as D;
        if let Some(ints) = ints(array) {
            return match array.data_type() {
                D::Date32 => Self::Date(ints),
                D::Date64 => Self::DateMillis(ints),
                D::Time32(unit) | D::Time64(unit) => Self::Time(ints, per_second(*unit)),
                D::Timestamp(unit, zone) => Self::Timestamp(ints, per_second(*unit), zone.is_some()),
                _ => Self::Int(ints),
            };
        }
        let boxed = |array: &'a dyn Array| Box::new(Values::of(array));
        macro_rules! decimal {
            ($kind:ty) => {{
                let array = array.as_primitive::<$kind>();
                Self::Decimal(Box::new(|row| array.value_as_string(row)))
            }};
        }
        match array.data_type() {
            D::Boolean => Self::Bool(array.as_boolean()),
            D::Float16 => Self::Float16(array.as_primitive::<Float16Type>()),
            D::Float32 => Self::Float32(array.as_primitive::<Float32Type>().values()),
            D::Float64 => Self::Float64(array.as_primitive::<Float64Type>().values()),
            D::Utf8 => Self::Text(array.as_string::<i32>()),
            D::LargeUtf8 => Self::LargeText(array.as_string::<i64>()),
            D::Utf8View => Self::TextView(array.as_string_view()),
            D::Binary => Self::Bytes(array.as_binary::<i32>()),
            D::LargeBinary => Self::LargeBytes(array.as_binary::<i64>()),
            D::BinaryView => Self::BytesView(array.as_binary_view()),
            D::FixedSizeBinary(_) => Self::FixedBytes(array.as_fixed_size_binary()),
            D::Decimal32(..) => decimal!(Decimal32Type),
            D::Decimal64(..) => decimal!(Decimal64Type),
            D::Decimal128(..) => decimal!(Decimal128Type),
            D::Decimal256(..) => decimal!(Decimal256Type),
            D::List(_) => {
                let list = array.as_list::<i32>();
                Self::List(Offsets::Small(list.value_offsets()), boxed(list.values()))
            }
            D::LargeList(_) => {
                let list = array.as_list::<i64>();
                Self::List(Offsets::Large(list.value_offsets()), boxed(list.values()))
            }
            D::FixedSizeList(_, len) => {
                let list = array.as_fixed_size_list();
                Self::List(Offsets::Fixed(usize::try_from(*len).unwrap_or(0)), boxed(list.values()))
            }
            D::Map(..) => {
                let map = array.as_map();
                Self::List(Offsets::Small(map.value_offsets()), boxed(map.entries()))
            }
            D::Struct(fields) => {
                let columns = array.as_struct().columns().iter();
                let mut members: Vec<_> =
                    fields.iter().zip(columns).map(|(f, c)| (f.name().as_str(), Values::of(c))).collect();
                members.sort_by_key(|(name, _)| *name);
                Self::Struct(members)
            }
            D::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                match ints(dictionary.keys()) {
                    Some(keys) => Self::Dictionary(keys, boxed(dictionary.values())),
                    None => Self::Missing,
                }
            }
            _ => Self::Missing,
        }
    }
}
