//! What the records of a dataset look like: the same for every file of it, whatever its format, and signed with it.

use std::collections::BTreeMap;

use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId, Result};
use crate::json::{Value, quote};
use crate::names::Sha256;

/// Most columns of a table.
pub const MAX_COLUMNS: usize = 16_384;
/// Longest name of a column.
const MAX_NAME: usize = 4096;

/// What kind of thing a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// A row: named, typed columns, in the byte order of their names.
    Table(Vec<Column>),
    /// A line of text.
    Lines,
    /// Files that belong together: their names and bytes.
    Files,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Unique in its table.
    pub name: String,
    /// Of all its values; each may be missing.
    pub kind: Type,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// Whole numbers from -2^63 to 2^64 - 1.
    Int,
    /// Numbers, as binary64.
    Float,
    /// Text in UTF-8.
    Text,
    /// Bytes.
    Bytes,
    /// Each value is of its own type, or nested.
    Any,
}

impl Type {
    const ALL: [Self; 6] = [Self::Bool, Self::Int, Self::Float, Self::Text, Self::Bytes, Self::Any];

    /// In schemas and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Any => "any",
        }
    }
}

impl Schema {
    /// A table of these columns, in any order.
    ///
    /// # Errors
    /// `InvalidArgument` for columns without a name or with the same one, too many of them, and names that are too long.
    pub fn table(mut columns: Vec<Column>) -> Result<Self> {
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        let twice = columns.windows(2).find(|pair| pair[0].name == pair[1].name);
        let why = match (twice, columns.iter().find(|c| c.name.is_empty() || c.name.len() > MAX_NAME)) {
            (Some(pair), _) => format!("two columns are named {:?}", pair[0].name),
            (_, Some(_)) => format!("the name of a column has 1 to {MAX_NAME} bytes"),
            _ if columns.is_empty() || columns.len() > MAX_COLUMNS => format!("a table has 1 to {MAX_COLUMNS} columns"),
            _ => return Ok(Self::Table(columns)),
        };
        Err(Error::new(ErrorId::InvalidArgument, why))
    }

    /// The canonical text: JSON without spaces.
    pub fn to_json(&self) -> String {
        let Self::Table(columns) = self else {
            return format!("{{\"records\":\"{}\"}}", if *self == Self::Lines { "lines" } else { "files" });
        };
        let mut out = String::from("{\"records\":\"rows\",\"columns\":[");
        for (i, column) in columns.iter().enumerate() {
            out.push_str(if i == 0 { "{\"name\":" } else { ",{\"name\":" });
            quote(&column.name, &mut out);
            out.push_str(",\"type\":\"");
            out.push_str(column.kind.as_str());
            out.push_str("\"}");
        }
        out.push_str("]}");
        out
    }

    /// From a schema as [`to_json`](Self::to_json) writes it; columns may be in any order.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn from_json(value: &Value) -> Result<Self> {
        let bad = |why: &str| {
            Error::new(ErrorId::InvalidArgument, format!("not a schema: {why}")).hint(
                "such as {\"records\":\"rows\",\"columns\":[{\"name\":\"label\",\"type\":\"int\"}]}; types are bool, int, \
                 float, text, bytes, any",
            )
        };
        match value.get("records").and_then(Value::as_str) {
            Some("lines") if value.exactly(&["records"]).is_some() => Ok(Self::Lines),
            Some("files") if value.exactly(&["records"]).is_some() => Ok(Self::Files),
            Some("rows") if value.exactly(&["records", "columns"]).is_some() => {
                let columns = value.get("columns").and_then(Value::as_array).ok_or_else(|| bad("no columns"))?;
                let column = |c: &Value| {
                    c.exactly(&["name", "type"])?;
                    let (name, kind) = (c.get("name")?.as_str()?, c.get("type")?.as_str()?);
                    let kind = Type::ALL.into_iter().find(|t| t.as_str() == kind)?;
                    Some(Column { name: name.into(), kind })
                };
                let columns: Option<Vec<_>> = columns.iter().map(column).collect();
                Self::table(columns.ok_or_else(|| bad("a column has a name and a type"))?)
            }
            _ => Err(bad("its records are rows, lines or files")),
        }
    }

    /// SHA-256 of the canonical text: part of every record's hash.
    pub fn id(&self) -> Sha256 {
        sha256(self.to_json().as_bytes())
    }

    /// The columns; none of what is no table.
    pub fn columns(&self) -> &[Column] {
        match self {
            Self::Table(columns) => columns,
            _ => &[],
        }
    }
}

/// What was seen of a column's values: enough to say its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(u8);

impl Seen {
    /// `true` or `false`.
    pub const BOOL: Self = Self(1);
    /// A whole number that binary64 holds exactly.
    pub const SMALL_INT: Self = Self(2);
    /// Another whole number.
    pub const LARGE_INT: Self = Self(4);
    /// A number with a fraction or an exponent.
    pub const FLOAT: Self = Self(8);
    /// Text.
    pub const TEXT: Self = Self(16);
    /// A list, an object, or a whole number that is too large for any type.
    pub const OTHER: Self = Self(32);
    /// Bytes.
    pub const BYTES: Self = Self(64);

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// A whole number.
    pub fn int(value: i128) -> Self {
        if value.unsigned_abs() <= 1 << 53 { Self::SMALL_INT } else { Self::LARGE_INT }
    }

    /// The narrowest type that loses nothing; `mixed` where there is none.
    fn kind(self, mixed: Type) -> Type {
        const INTS: u8 = Seen::SMALL_INT.0 | Seen::LARGE_INT.0;
        const NUMBERS: u8 = Seen::SMALL_INT.0 | Seen::FLOAT.0;
        match self.0 {
            0 => Type::Text,
            seen if seen == Self::BOOL.0 => Type::Bool,
            seen if seen & !INTS == 0 => Type::Int,
            seen if seen & !NUMBERS == 0 => Type::Float,
            seen if seen == Self::TEXT.0 => Type::Text,
            seen if seen == Self::BYTES.0 => Type::Bytes,
            _ => mixed,
        }
    }
}

/// What was seen of all columns of a table.
#[derive(Clone, Debug, Default)]
pub struct Survey(BTreeMap<String, Seen>);

impl Survey {
    /// Adds what was seen of a column; nothing, if only that it is there.
    ///
    /// # Errors
    /// `LimitExceeded` for more columns than a table has.
    pub fn add(&mut self, column: &str, seen: Seen) -> Result<()> {
        if let Some(before) = self.0.get_mut(column) {
            *before = before.and(seen);
            return Ok(());
        }
        if self.0.len() == MAX_COLUMNS {
            let text = format!("more than {MAX_COLUMNS} columns");
            return Err(Error::new(ErrorId::LimitExceeded, text).hint("name the columns that count: --schema FILE"));
        }
        self.0.insert(column.into(), seen);
        Ok(())
    }

    /// Adds all that another survey saw.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        other.0.iter().try_for_each(|(column, seen)| self.add(column, *seen))
    }

    /// The schema of all that was seen. Columns of several types are `mixed`.
    ///
    /// # Errors
    /// `InvalidArgument` without a column.
    pub fn schema(&self, mixed: Type) -> Result<Schema> {
        let column = |(name, seen): (&String, &Seen)| Column { name: name.clone(), kind: seen.kind(mixed) };
        Schema::table(self.0.iter().map(column).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Type) -> Column {
        Column { name: name.into(), kind }
    }

    #[test]
    fn a_schema_is_the_same_in_any_order_of_its_columns() {
        let schema = Schema::table(vec![column("b", Type::Int), column("a\"", Type::Text)]).unwrap();
        let text = r#"{"records":"rows","columns":[{"name":"a\"","type":"text"},{"name":"b","type":"int"}]}"#;
        assert_eq!(schema.to_json(), text);
        let turned = r#"{"records":"rows","columns":[{"type":"int","name":"b"},{"name":"a\"","type":"text"}]}"#;
        let read = Schema::from_json(&crate::json::parse(turned.as_bytes(), 8).unwrap()).unwrap();
        assert_eq!((read.id(), &read), (sha256(text.as_bytes()), &schema));
        for schema in [Schema::Lines, Schema::Files] {
            let value = crate::json::parse(schema.to_json().as_bytes(), 8).unwrap();
            assert_eq!(Schema::from_json(&value).unwrap(), schema);
        }
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for bad in [
            "{}",
            r#"{"records":"rows"}"#,
            r#"{"records":"rows","columns":[]}"#,
            r#"{"records":"rows","columns":[{"name":"","type":"int"}]}"#,
            r#"{"records":"rows","columns":[{"name":"a","type":"int"},{"name":"a","type":"text"}]}"#,
            r#"{"records":"rows","columns":[{"name":"a","type":"money"}]}"#,
            r#"{"records":"rows","columns":[{"name":"a","type":"int","unit":"m"}]}"#,
            r#"{"records":"lines","columns":[]}"#,
        ] {
            let value = crate::json::parse(bad.as_bytes(), 8).unwrap();
            assert_eq!(Schema::from_json(&value).unwrap_err().id(), ErrorId::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn a_type_loses_nothing_of_what_was_seen() {
        let kind = |seen: &[Seen]| {
            let mut survey = Survey::default();
            survey.add("c", Seen::default()).unwrap();
            seen.iter().for_each(|s| survey.add("c", *s).unwrap());
            survey.schema(Type::Any).unwrap().columns()[0].kind
        };
        assert_eq!(kind(&[]), Type::Text);
        assert_eq!(kind(&[Seen::BOOL]), Type::Bool);
        assert_eq!(kind(&[Seen::int(1), Seen::int(1 << 60)]), Type::Int);
        assert_eq!(kind(&[Seen::int(1 << 53), Seen::FLOAT]), Type::Float);
        assert_eq!(kind(&[Seen::int((1 << 53) + 1), Seen::FLOAT]), Type::Any);
        assert_eq!(kind(&[Seen::int(1), Seen::TEXT]), Type::Any);
        assert_eq!(kind(&[Seen::BOOL, Seen::int(1)]), Type::Any);
        assert_eq!(kind(&[Seen::OTHER]), Type::Any);
    }
}
