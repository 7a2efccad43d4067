//! Comma- and tab-separated tables (RFC 4180): UTF-8, with a header, read strictly.
//!
//! Where RFC 4180 leaves a choice: a byte order mark is passed over. Lines end with `\n` or `\r\n`. An empty field without
//! quotes is missing, `""` is empty text. Blank lines are passed over where a table has several columns. Numbers are those of JSON;
//! anything else, such as `007` or `1,5`, is text. Truth is `true`, `True` or `TRUE`. Rows of another length than the
//! header, and quotes within a field that does not begin with one, are refused.

use std::borrow::Cow;

use super::super::schema::{Column, Schema, Seen, Survey, Type};
use super::super::value::Encoder;
use super::number::number;
use super::{BadRecord, Format, Frame, NOT_UTF8, misfit};
use crate::error::{Error, ErrorId, Result as Outcome};

const BOM: &[u8] = b"\xef\xbb\xbf";
const QUOTE: u8 = b'"';

/// The header of a table.
pub struct Header {
    separator: u8,
    names: Vec<String>,
    /// Bytes and lines up to the first row.
    len: usize,
    lines: u64,
}

impl Header {
    /// From the start of a file, which must hold all of the header.
    ///
    /// # Errors
    /// `RecordInvalid`: no header, columns without a name or with the same one, not UTF-8.
    pub fn read(start: &[u8], separator: u8) -> Outcome<Self> {
        let bad = |why: &str| {
            Error::new(ErrorId::RecordInvalid, format!("no header of a table: {why}"))
                .hint("the first line names the columns")
        };
        if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
            return Err(bad(NOT_UTF8));
        }
        let skipped = if start.starts_with(BOM) { BOM.len() } else { 0 };
        let block = Block::of(&start[skipped..]);
        let mut fields = Vec::new();
        let end = block.row(0, separator, &mut fields).map_err(|why| bad(&why))?;
        if block.invalid.is_some() && !end.complete {
            return Err(bad(NOT_UTF8));
        }
        let names: Vec<String> = fields.iter().map(|f| f.text().into_owned()).collect();
        // The rules of names are those of schemas.
        let columns = names.iter().map(|name| Column { name: name.clone(), kind: Type::Text }).collect();
        Schema::table(columns).map_err(|e| bad(e.message()))?;
        let len = skipped + end.next;
        let lines = memchr::memchr_iter(b'\n', &start[..len]).count() as u64;
        Ok(Self { separator, names, len, lines })
    }
}

impl Header {
    /// Adds what was seen of its columns; of those not in `seen`, that they are there.
    ///
    /// # Errors
    /// `LimitExceeded`.
    pub fn survey(&self, survey: &mut Survey, seen: &[Seen]) -> Outcome<()> {
        let seen = seen.iter().copied().chain(std::iter::repeat(Seen::default()));
        self.names.iter().zip(seen).try_for_each(|(name, seen)| survey.add(name, seen))
    }
}

/// Rows of one file.
pub struct Csv {
    header: Header,
    /// For each column of the schema: its type, and its place in a row.
    columns: Vec<(Type, usize)>,
}

impl Csv {
    /// Of a file with this header, under a schema.
    ///
    /// # Errors
    /// `InvalidArgument` where the schema has other columns, or types that no such file holds.
    pub fn new(header: Header, schema: &Schema) -> Outcome<Self> {
        let format = Format::Csv(header.separator);
        let Schema::Table(columns) = schema else { return Err(misfit(schema, format)) };
        let differ = |why: String| {
            Error::new(ErrorId::DatasetChanged, why).hint("the columns of all files of a dataset are the same")
        };
        let place = |column: &Column| {
            if matches!(column.kind, Type::Bytes | Type::Any) {
                return Err(misfit(schema, format));
            }
            let at = header.names.iter().position(|name| *name == column.name);
            at.map(|at| (column.kind, at)).ok_or_else(|| differ(format!("there is no column {:?}", column.name)))
        };
        let placed = columns.iter().map(place).collect::<Outcome<Vec<_>>>()?;
        if let Some(other) = header.names.iter().find(|name| !columns.iter().any(|c| c.name == **name)) {
            return Err(differ(format!("column {other:?} is not one of the dataset")));
        }
        Ok(Self { header, columns: placed })
    }

    /// Only to look what is in it.
    pub fn survey_of(header: Header) -> Self {
        Self { header, columns: Vec::new() }
    }

    fn rows<'b>(
        &self,
        block: &'b [u8],
        mut each: impl FnMut(&[Field<'b>]) -> Result<(), String>,
    ) -> Result<u64, BadRecord> {
        let block = Block::of(block);
        let (mut at, mut number, mut fields) = (0, 0, Vec::with_capacity(self.header.names.len()));
        while at < block.text.len() {
            fields.clear();
            let bad = |why: String| BadRecord { number, at, why };
            let end = block.row(at, self.header.separator, &mut fields).map_err(bad)?;
            let bad = |why: String| BadRecord { number, at, why };
            if !end.complete && block.invalid.is_some() {
                return Err(bad(NOT_UTF8.into()));
            }
            let wanted = self.header.names.len();
            let blank = matches!(fields[..], [Field { raw: "", quoted: false, .. }]) && wanted > 1;
            if !blank {
                if fields.len() != wanted {
                    return Err(bad(format!("a row of {} fields in a table of {wanted} columns", fields.len())));
                }
                each(&fields).map_err(bad)?;
                number += 1;
            }
            at = end.next;
        }
        match block.invalid {
            Some(at) => Err(BadRecord { number, at, why: NOT_UTF8.into() }),
            None => Ok(number),
        }
    }
}

impl Frame for Csv {
    fn skip(&self) -> u64 {
        self.header.len as u64
    }

    fn lines_skipped(&self) -> u64 {
        self.header.lines
    }

    fn cut(&self, block: &[u8]) -> usize {
        let (mut end, mut quoted) = (0, false);
        for at in memchr::memchr2_iter(QUOTE, b'\n', block) {
            match block[at] {
                QUOTE => quoted = !quoted,
                _ if !quoted => end = at + 1,
                _ => {}
            }
        }
        end
    }

    fn records(&self, block: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), BadRecord> {
        let mut record = Encoder::default();
        self.rows(block, |fields| {
            record.clear();
            for (column, (kind, at)) in self.columns.iter().enumerate() {
                fields[*at].write(*kind, &mut record).map_err(|what| {
                    let name = &self.header.names[self.columns[column].1];
                    format!("column {name:?} is {what}")
                })?;
            }
            each(record.record());
            Ok(())
        })
        .map(drop)
    }

    fn survey(&self, block: &[u8], survey: &mut Survey) -> Result<u64, BadRecord> {
        let mut seen = vec![Seen::default(); self.header.names.len()];
        let count = self.rows(block, |fields| {
            seen.iter_mut().zip(fields).for_each(|(seen, field)| *seen = seen.and(field.seen()));
            Ok(())
        })?;
        self.header.survey(survey, &seen).map_err(|e| BadRecord { number: 0, at: 0, why: e.message().into() })?;
        Ok(count)
    }
}

/// One field of a row.
struct Field<'b> {
    /// Between its quotes, where it has some.
    raw: &'b str,
    quoted: bool,
    /// It holds doubled quotes.
    escaped: bool,
}

impl Field<'_> {
    fn text(&self) -> Cow<'_, str> {
        if self.escaped { Cow::Owned(self.raw.replace("\"\"", "\"")) } else { Cow::Borrowed(self.raw) }
    }

    fn truth(&self) -> Option<bool> {
        match self.raw {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    fn seen(&self) -> Seen {
        match (self.raw, self.truth(), number(self.raw)) {
            ("", ..) => Seen::default(),
            (_, Some(_), _) => Seen::BOOL,
            (text, None, Some(number)) => number.seen(text),
            (_, None, None) => Seen::TEXT,
        }
    }

    /// Under a type; otherwise says of what type it is not.
    fn write(&self, kind: Type, record: &mut Encoder) -> Result<(), &'static str> {
        if self.raw.is_empty() && !(self.quoted && kind == Type::Text) {
            record.null();
            return Ok(());
        }
        match kind {
            Type::Bool => record.bool(self.truth().ok_or("neither true nor false")?),
            Type::Int => match number(self.raw) {
                Some(super::number::Number::Int(n)) => record.int(n),
                _ => return Err("no whole number"),
            },
            Type::Float => match (number(self.raw).and_then(|n| n.as_float()), self.raw) {
                (Some(value), _) => record.float(value),
                (None, "NaN" | "nan") => record.float(f64::NAN),
                (None, "inf" | "Infinity") => record.float(f64::INFINITY),
                (None, "-inf" | "-Infinity") => record.float(f64::NEG_INFINITY),
                (None, _) => return Err("no number that binary64 holds"),
            },
            Type::Text if self.escaped => record.text(&self.text()),
            Type::Text => record.text(self.raw),
            Type::Bytes | Type::Any => return Err("of a type that is in no such file"),
        }
        Ok(())
    }
}

/// A block up to the first byte that is not UTF-8.
struct Block<'b> {
    text: &'b str,
    invalid: Option<usize>,
    /// Whether there is a carriage return at all.
    returns: bool,
}

/// Where a row ended.
struct End {
    next: usize,
    /// By the end of its line, not of the block.
    complete: bool,
}

impl<'b> Block<'b> {
    fn of(block: &'b [u8]) -> Self {
        let (text, invalid) = match std::str::from_utf8(block) {
            Ok(text) => (text, None),
            Err(e) => {
                let valid = std::str::from_utf8(&block[..e.valid_up_to()]);
                (valid.unwrap_or_default(), Some(e.valid_up_to()))
            }
        };
        Self { text, invalid, returns: memchr::memchr(b'\r', text.as_bytes()).is_some() }
    }

    /// Reads the row at `at`.
    fn row(&self, mut at: usize, separator: u8, fields: &mut Vec<Field<'b>>) -> Result<End, String> {
        let bytes = self.text.as_bytes();
        loop {
            let quoted = bytes.get(at) == Some(&QUOTE);
            let (field, mut end) = if quoted { self.quoted(at)? } else { self.plain(at, separator)? };
            fields.push(field);
            if quoted && bytes[end..].starts_with(b"\r\n") {
                end += 1;
            }
            match bytes.get(end) {
                None => return Ok(End { next: end, complete: false }),
                Some(b'\n') => return Ok(End { next: end + 1, complete: true }),
                Some(b) if *b == separator => at = end + 1,
                Some(_) => return Err("something follows the closing quote of a field".into()),
            }
        }
    }

    /// A field without quotes, and where it ends.
    fn plain(&self, from: usize, separator: u8) -> Result<(Field<'b>, usize), String> {
        let bytes = self.text.as_bytes();
        let end = memchr::memchr3(separator, b'\n', QUOTE, &bytes[from..]).map_or(bytes.len(), |len| from + len);
        if bytes.get(end) == Some(&QUOTE) {
            return Err("a quote within a field that does not begin with one".into());
        }
        let mut raw = &self.text[from..end];
        if self.returns && bytes.get(end) != Some(&separator) {
            raw = raw.strip_suffix('\r').unwrap_or(raw);
        }
        if self.returns && raw.contains('\r') {
            return Err("a carriage return within a field without quotes".into());
        }
        Ok((Field { raw, quoted: false, escaped: false }, end))
    }

    /// A field in quotes, and the place after the closing one.
    fn quoted(&self, from: usize) -> Result<(Field<'b>, usize), String> {
        let bytes = self.text.as_bytes();
        let (mut at, mut escaped) = (from + 1, false);
        loop {
            let Some(len) = memchr::memchr(QUOTE, &bytes[at..]) else {
                return Err("a quote that is not closed".into());
            };
            at += len + 1;
            if bytes.get(at) != Some(&QUOTE) {
                return Ok((Field { raw: &self.text[from + 1..at - 1], quoted: true, escaped }, at));
            }
            (at, escaped) = (at + 1, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<Vec<u8>>, String> {
        let header = |t: &str| Header::read(t.as_bytes(), b',').map_err(|e| e.to_string());
        let mut survey = Survey::default();
        let looking = Csv::survey_of(header(text)?);
        let body = &text.as_bytes()[looking.header.len..];
        looking.survey(body, &mut survey).map_err(|e| e.why)?;
        let csv = Csv::new(header(text)?, &survey.schema(Type::Text).unwrap()).unwrap();
        let mut all = Vec::new();
        csv.records(body, &mut |record| all.push(record.to_vec())).map_err(|e| format!("{}: {}", e.number, e.why))?;
        Ok(all)
    }

    #[test]
    fn the_same_rows_have_the_same_form_however_they_are_written() {
        let plain = rows("a,b,c\n1,x y,true\n2,,false\n").unwrap();
        for same in [
            "a,b,c\r\n1,x y,true\r\n2,,false\r\n",
            "\u{feff}a,b,c\n1,\"x y\",True\n\n2,,FALSE",
            "\"b\",c,\"a\"\n\"x y\",true,1\n,false,\"2\"\n",
        ] {
            assert_eq!(rows(same).unwrap(), plain, "{same:?}");
        }
        assert_ne!(rows("a,b,c\n1,x  y,true\n2,,false\n").unwrap(), plain);
        assert_ne!(rows("a,b,c\n1,x y,true\n2,\"\",false\n").unwrap(), plain, "empty text is not missing");
        let quoted = rows("t,u\n\"a\"\"b\n,c\",1\n").unwrap();
        assert_eq!(quoted.len(), 1);
        assert!(quoted[0].windows(7).any(|w| w == b"a\"b\n,c\x02"), "{quoted:?}");
    }

    #[test]
    fn a_block_is_cut_between_rows() {
        let header = Header::read(b"a,b\n", b',').unwrap();
        let csv = Csv::survey_of(header);
        assert_eq!(csv.cut(b"1,\"x\ny\"\n2,\"open\n"), 8);
        assert_eq!(csv.cut(b"1,\"x\"\"\n"), 0);
        assert_eq!(csv.cut(b"1,2"), 0);
    }

    #[test]
    fn what_is_no_row_is_refused_with_its_place() {
        for (text, why) in [
            ("a,b\n1,2\n1\n", "a row of 1 fields"),
            ("a,b\n1,2,3\n", "a row of 3 fields"),
            ("a,b\n1,x\"y\n", "a quote within"),
            ("a,b\n1,\"x\"y\n", "follows the closing quote"),
            ("a,b\n1,\"x\n", "not closed"),
            ("a,b\n1,x\ry\n", "carriage return"),
            ("a,a\n1,2\n", "two columns are named \"a\""),
            ("a,\n1,2\n", "name of a column"),
            ("", "name of a column"),
        ] {
            let error = rows(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        let csv = Csv::survey_of(Header::read(b"a\n", b',').unwrap());
        let bad = csv.rows(b"1\n\xff\n2\n", |_| Ok(())).unwrap_err();
        assert_eq!((bad.number, bad.at, &*bad.why), (1, 2, NOT_UTF8));
        assert!(Header::read(b"\xff\xfea\0", b',').is_err());
        let schema = Schema::table(vec![Column { name: "a".into(), kind: Type::Int }]).unwrap();
        let typed = Csv::new(Header::read(b"a\n", b',').unwrap(), &schema).unwrap();
        let bad = typed.records(b"1\n2\nx\n", &mut |_| {}).unwrap_err();
        assert_eq!((bad.number, bad.at, &*bad.why), (2, 4, "column \"a\" is no whole number"));
    }
}
