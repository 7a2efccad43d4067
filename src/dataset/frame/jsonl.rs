//! One JSON object a line (JSON Lines): each is a row, its members are columns.
//!
//! Read strictly: a key twice in an object, numbers that are none of JSON's (NaN), and anything but an object are refused. A member that is
//! absent is missing, as `null` is. Blank lines and a byte order mark are passed over.

use super::super::schema::{Column, Schema, Seen, Survey, Type};
use super::super::value::Encoder;
use super::number::{Number, number};
use super::{BadRecord, Format, Frame, last_line, lines_of, misfit};
use crate::error::{Error, ErrorId, Result as Outcome};
use crate::json::{self, JsonError, Reader, Value};

const BOM: &[u8] = b"\xef\xbb\xbf";
const MAX_DEPTH: usize = 64;

/// Rows of one file.
pub struct Jsonl {
    columns: Vec<Column>,
    skip: u64,
}

impl Jsonl {
    /// Of a file that starts so, under a schema.
    ///
    /// # Errors
    /// `InvalidArgument` for a schema of no table, or with columns that JSON cannot hold; `RecordInvalid` for a file that is not UTF-8.
    pub fn new(start: &[u8], schema: &Schema) -> Outcome<Self> {
        let Schema::Table(columns) = schema else { return Err(misfit(schema, Format::Jsonl)) };
        if columns.iter().any(|c| c.kind == Type::Bytes) {
            return Err(misfit(schema, Format::Jsonl));
        }
        Ok(Self { columns: columns.clone(), ..Self::survey_of(start)? })
    }

    /// Only to look what is in it.
    ///
    /// # Errors
    /// `RecordInvalid` for a file that is not UTF-8.
    pub fn survey_of(start: &[u8]) -> Outcome<Self> {
        if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
            return Err(Error::new(ErrorId::RecordInvalid, super::NOT_UTF8));
        }
        let skip = if start.starts_with(BOM) { BOM.len() as u64 } else { 0 };
        Ok(Self { columns: Vec::new(), skip })
    }

    fn objects<'b>(block: &'b [u8], mut each: impl FnMut(&'b [u8]) -> Result<(), String>) -> Result<u64, BadRecord> {
        let lines = lines_of(block).filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
        let mut count = 0;
        for (at, line) in lines {
            each(line).map_err(|why| BadRecord { number: count, at, why })?;
            count += 1;
        }
        Ok(count)
    }
}

impl Frame for Jsonl {
    fn skip(&self) -> u64 {
        self.skip
    }

    fn lines_skipped(&self) -> u64 {
        0
    }

    fn cut(&self, block: &[u8]) -> usize {
        last_line(block)
    }

    fn records(&self, block: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), BadRecord> {
        let mut record = Encoder::default();
        // Rows mostly name their columns in one order: the next is looked for where it was before.
        let mut order: Vec<usize> = Vec::with_capacity(self.columns.len());
        let mut values: Vec<Option<&str>> = Vec::with_capacity(self.columns.len());
        Self::objects(block, |line| {
            values.clear();
            values.resize(self.columns.len(), None);
            let (mut unknown, mut nth) = (None, 0);
            members(line, |key, raw| {
                let as_before = order.get(nth).copied().filter(|at| self.columns[*at].name == key);
                let found = as_before.or_else(|| self.columns.binary_search_by(|c| (*c.name).cmp(key)).ok());
                match found {
                    Some(at) => {
                        values[at] = Some(raw);
                        if as_before.is_none() {
                            order.truncate(nth);
                            order.push(at);
                        }
                    }
                    None => unknown = Some(format!("member {key:?} is no column of the dataset")),
                }
                nth += 1;
            })?;
            if let Some(why) = unknown {
                return Err(why);
            }
            record.clear();
            for (column, raw) in self.columns.iter().zip(&values) {
                write(raw.unwrap_or("null"), column.kind, &mut record)
                    .map_err(|what| format!("member {:?} is {what}", column.name))?;
            }
            each(record.record());
            Ok(())
        })
        .map(drop)
    }

    fn survey(&self, block: &[u8], survey: &mut Survey) -> Result<u64, BadRecord> {
        Self::objects(block, |line| {
            let mut failed = None;
            members(line, |key, raw| {
                failed = failed.take().or(survey.add(key, seen(raw)).err());
            })?;
            failed.map_or(Ok(()), |e| Err(e.message().into()))
        })
    }
}

/// The members of an object, with the text of their values.
fn members<'b>(line: &'b [u8], mut each: impl FnMut(&str, &'b str)) -> Result<(), String> {
    let read = |mut reader: Reader<'b>| {
        reader.object(|reader, key| {
            each(key, reader.raw()?);
            Ok(())
        })?;
        reader.end()
    };
    let outcome = Reader::new(line, MAX_DEPTH).and_then(read);
    outcome.map_err(|JsonError { at, what }| format!("not an object of JSON: at byte {at}: {what}"))
}

fn seen(raw: &str) -> Seen {
    match raw.as_bytes()[0] {
        b'n' => Seen::default(),
        b't' | b'f' => Seen::BOOL,
        b'"' => Seen::TEXT,
        b'[' | b'{' => Seen::OTHER,
        _ => number(raw).map_or(Seen::OTHER, |n| n.seen(raw)),
    }
}

/// Writes a value, whose text is well-formed, under a type; otherwise says of what type it is not.
fn write(raw: &str, kind: Type, record: &mut Encoder) -> Result<(), &'static str> {
    let first = raw.as_bytes()[0];
    match (kind, first) {
        (_, b'n') => record.null(),
        (Type::Any, _) => {
            let value = json::parse(raw.as_bytes(), MAX_DEPTH).map_err(|_| "not JSON")?;
            return any(&value, record);
        }
        (Type::Bool, b't' | b'f') => record.bool(first == b't'),
        (Type::Bool, _) => return Err("neither true nor false"),
        (Type::Int, _) => match number(raw) {
            Some(Number::Int(n)) => record.int(n),
            _ => return Err("no whole number"),
        },
        (Type::Float, _) => {
            let value = number(raw).and_then(Number::as_float);
            record.float(value.ok_or("no number that binary64 holds")?);
        }
        (Type::Text, b'"') if memchr::memchr(b'\\', raw.as_bytes()).is_none() => record.text(&raw[1..raw.len() - 1]),
        (Type::Text, b'"') => record.text(&Reader::of_text(raw, 1).string().map_err(|_| "no text")?),
        (Type::Text, _) => return Err("no text"),
        (Type::Bytes, _) => return Err("of a type that is in no such file"),
    }
    Ok(())
}

/// A document of JSON by its own type.
pub(in super::super) fn document(text: &[u8], record: &mut Encoder) -> Result<(), String> {
    let value = json::parse(text, MAX_DEPTH).map_err(|JsonError { at, what }| format!("at byte {at}: {what}"))?;
    any(&value, record).map_err(str::to_owned)
}

/// A value by its own type.
fn any(value: &Value, record: &mut Encoder) -> Result<(), &'static str> {
    match value {
        Value::Null => record.null(),
        Value::Bool(truth) => record.bool(*truth),
        Value::String(text) => record.text(text),
        Value::Number(text) => match number(text) {
            Some(Number::Int(n)) => record.int(n),
            Some(number @ Number::Float(value)) if number.seen(text) == Seen::FLOAT => record.float(value),
            _ => return Err("a number that neither 64 bits nor binary64 hold"),
        },
        Value::Array(elements) => {
            return record.list(|record| elements.iter().try_for_each(|element| any(element, record)));
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            return record.structure(|record| {
                sorted.into_iter().try_for_each(|(key, value)| {
                    record.text(key);
                    any(value, record)
                })
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<Vec<u8>>, String> {
        let mut survey = Survey::default();
        let looking = Jsonl::survey_of(text.as_bytes()).unwrap();
        let body = &text.as_bytes()[looking.skip as usize..];
        looking.survey(body, &mut survey).map_err(|e| format!("{}: {}", e.number, e.why))?;
        let jsonl = Jsonl::new(text.as_bytes(), &survey.schema(Type::Any).unwrap()).unwrap();
        let mut all = Vec::new();
        jsonl.records(body, &mut |record| all.push(record.to_vec())).map_err(|e| format!("{}: {}", e.number, e.why))?;
        Ok(all)
    }

    #[test]
    fn the_same_rows_have_the_same_form_however_they_are_written() {
        let plain = rows("{\"a\":1,\"b\":\"x\\u00e9\"}\n{\"b\":null,\"a\":2}\n").unwrap();
        for same in [
            "{ \"b\" : \"xé\" , \"a\" : 1 }\r\n\n{\"a\":2}",
            "\u{feff}{\"a\":1,\"b\":\"\\u0078é\"}\n{\"a\":2,\"b\":null}\n",
        ] {
            assert_eq!(rows(same).unwrap(), plain, "{same:?}");
        }
        assert_ne!(rows("{\"a\":1.0,\"b\":\"xé\"}\n{\"a\":2}\n").unwrap(), plain, "a float is no whole number");
        let nested = rows("{\"a\":{\"y\":[1,2.5],\"x\":null}}\n").unwrap();
        assert_eq!(rows("{\"a\":{\"x\":null,\"y\":[1,2.50]}}\n").unwrap(), nested);
        assert_ne!(rows("{\"a\":{\"y\":[2.5,1],\"x\":null}}\n").unwrap(), nested);
    }

    #[test]
    fn a_table_has_the_same_rows_in_csv() {
        use super::super::csv::{Csv, Header};
        let text = b"b,a,c\nx,1,1.5\n,2,2\n";
        let header = || Header::read(text, b',').unwrap();
        let (csv, mut survey, mut all) = (Csv::survey_of(header()), Survey::default(), Vec::new());
        csv.survey(&text[6..], &mut survey).unwrap();
        let csv = Csv::new(header(), &survey.schema(Type::Text).unwrap()).unwrap();
        csv.records(&text[6..], &mut |record| all.push(record.to_vec())).unwrap();
        assert_eq!(rows("{\"a\":1,\"b\":\"x\",\"c\":1.5}\n{\"a\":2,\"c\":2}\n").unwrap(), all);
    }

    #[test]
    fn what_is_no_row_is_refused_with_its_place() {
        for (text, why) in [
            ("{\"a\":1}\n{\"a\":1,\"a\":2}\n", "1: not an object of JSON: at byte 10: duplicate key"),
            ("{\"a\":NaN}\n", "a value is expected"),
            ("[1]\n", "an object is expected"),
            ("{\"a\":1} {\"a\":2}\n", "something after the value"),
            ("{\"a\":\"\\ud800\"}\n", "0: not an object of JSON"),
            ("{\"a\":[123456789012345678901234567890]}\n", "neither 64 bits nor binary64"),
            ("{\"a\":{\"k\":1,\"k\":2}}\n", "duplicate key"),
        ] {
            let error = rows(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        let deep = format!("{{\"a\":{}}}\n", "[".repeat(100));
        assert!(rows(&deep).unwrap_err().contains("nested too deeply"));
        let schema = Schema::table(vec![Column { name: "a".into(), kind: Type::Int }]).unwrap();
        let typed = Jsonl::new(b"", &schema).unwrap();
        let bad = typed.records(b"{\"a\":1}\n{\"a\":1.5}\n", &mut |_| {}).unwrap_err();
        assert_eq!((bad.number, bad.at, &*bad.why), (1, 8, "member \"a\" is no whole number"));
        let bad = typed.records(b"{\"b\":1}\n", &mut |_| {}).unwrap_err();
        assert_eq!(bad.why, "member \"b\" is no column of the dataset");
    }
}
