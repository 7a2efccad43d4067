//! Records as JSON Lines: what a reader hands on to programs that know nothing of canonical forms.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fields::{Field, Fields, Malformed, fields, members};
use super::frame::contents::files_of;
use super::schema::Schema;
use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId, Result};
use crate::json::quote;

/// Appends a record as a line: an object with the schema's columns, or a string where records are lines. Columns without a value are
/// left out. Bytes are written in hex; numbers that JSON has not (`NaN`, infinities) as null. An image or sample, as a reader hands it on, is an
/// object of its `key` and its files: path, size, SHA-256 and all bytes in base64, by their extensions.
///
/// # Errors
/// `Internal` for bytes that are no record of the schema.
pub fn write_line(schema: &Schema, record: &[u8], out: &mut String) -> Result<()> {
    let written = match schema {
        Schema::Lines => one(&mut fields(record), out),
        Schema::Files => files(record, out),
        _ => row(schema, record, out),
    };
    out.push('\n');
    written.map_err(|e| Error::new(ErrorId::Internal, e.to_string()))
}

fn row(schema: &Schema, record: &[u8], out: &mut String) -> Result<(), Malformed> {
    let mut values = fields(record);
    out.push('{');
    let mut first = true;
    for column in schema.columns() {
        let value = values.next().unwrap_or(Ok(Field::Null))?;
        if value == Field::Null {
            continue;
        }
        out.push_str(if first { "" } else { "," });
        first = false;
        quote(&column.name, out);
        out.push(':');
        write(value, out)?;
    }
    out.push('}');
    Ok(())
}

fn files(record: &[u8], out: &mut String) -> Result<(), Malformed> {
    let (key, files) = files_of(record).ok_or(Malformed::NO_FILES)?;
    out.push_str("{\"key\":");
    quote(key, out);
    out.push_str(",\"files\":{");
    for (i, (extension, bytes)) in files.into_iter().enumerate() {
        out.push_str(if i == 0 { "" } else { "," });
        quote(extension, out);
        out.push_str(":{\"path\":");
        let dot = if extension.is_empty() { "" } else { "." };
        quote(&format!("{key}{dot}{extension}"), out);
        let _ = write!(out, ",\"size\":{},\"sha256\":\"{}\",\"base64\":\"", bytes.len(), sha256(bytes));
        STANDARD.encode_string(bytes, out);
        out.push_str("\"}");
    }
    out.push_str("}}");
    Ok(())
}

fn one(values: &mut Fields<'_>, out: &mut String) -> Result<(), Malformed> {
    values.next().map_or(Ok(()), |value| write(value?, out))
}

fn write(value: Field<'_>, out: &mut String) -> Result<(), Malformed> {
    match value {
        Field::Null => out.push_str("null"),
        Field::Bool(truth) => out.push_str(if truth { "true" } else { "false" }),
        Field::Int(n) => drop(write!(out, "{n}")),
        Field::Float(n) if n.is_finite() => drop(write!(out, "{n:?}")),
        Field::Float(_) => out.push_str("null"),
        Field::Text(text) => quote(text, out),
        Field::Bytes(bytes) => quote(&hex::encode(bytes), out),
        Field::List(inner) => {
            out.push('[');
            for (i, value) in fields(inner).enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                write(value?, out)?;
            }
            out.push(']');
        }
        Field::Struct(inner) => {
            out.push('{');
            for (i, member) in members(inner).enumerate() {
                let (name, value) = member?;
                out.push_str(if i == 0 { "" } else { "," });
                quote(name, out);
                out.push(':');
                write(value, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Encoder;
    use super::super::schema::{Column, Type};
    use super::*;

    #[test]
    fn a_record_is_an_object_with_the_columns_that_it_has() {
        let column = |name: &str| Column { name: name.into(), kind: Type::Any };
        let schema = Schema::table(["a", "b", "c", "d"].map(column).to_vec()).unwrap();
        let mut record = Encoder::default();
        record.text("x\"\n");
        record.null();
        record
            .list(|r| {
                r.int(-1);
                r.float(2.0);
                r.null();
                Ok::<_, ()>(())
            })
            .unwrap();
        record
            .structure(|r| {
                r.text("k");
                r.bool(true);
                Ok::<_, ()>(())
            })
            .unwrap();
        let mut out = String::new();
        write_line(&schema, record.record(), &mut out).unwrap();
        assert_eq!(out, "{\"a\":\"x\\\"\\n\",\"c\":[-1,2.0,null],\"d\":{\"k\":true}}\n");
        let mut line = Encoder::default();
        line.text("words");
        write_line(&Schema::Lines, line.record(), &mut out).unwrap();
        assert!(out.ends_with("\n\"words\"\n"));
        assert!(write_line(&schema, b"\x63rubbish", &mut out).is_err());
    }
}
