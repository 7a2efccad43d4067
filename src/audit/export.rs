//! The exported form of a log: one JSON object a line, so that `vault audit verify FILE` needs no vault.
//!
//! ```text
//! {"modelvault_audit":1,"origin":"...","vkey":"NAME+HASH+KEY"}
//! {"seq":1,"record":"{\"v\":1,...}"}          the record's bytes as a string: byte-exact
//! {"seq":2,"record_base64":"..."}             only for damaged rows that are no UTF-8
//! {"checkpoint":"...\n256\n...\n\n— ...\n"}   before the first record that it does not cover
//! {"end":2}                                   number of records; its absence means that the file was cut
//! ```
//! The key in the first line is what the file says of itself. Whether it is the vault's must be known from elsewhere.

use std::io::{BufRead, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ArchiveWriter, AuditError, Checkpoint, FIRST_SEQ, RECORD_MAX, RecordError, Report, Verifier, VerifierKey};
use crate::error::{Error, ErrorId, Result};
use crate::json::{self, Value, quote};

const VERSION: u64 = 1;
/// A record of the largest size, each byte written as `\u00XX`, with room for the keys.
const LINE_MAX: usize = 6 * RECORD_MAX + 1024;

/// Writes the exported form, a line at a time.
pub struct Export<W> {
    out: W,
    records: u64,
}

impl<W: Write> Export<W> {
    /// Writes the first line.
    pub fn new(mut out: W, vkey: &VerifierKey) -> Result<Self> {
        let mut line = format!(r#"{{"modelvault_audit":{VERSION},"origin":"#);
        quote(&vkey.origin, &mut line);
        line.push_str(r#","vkey":"#);
        quote(&vkey.to_string(), &mut line);
        line.push_str("}\n");
        out.write_all(line.as_bytes())?;
        Ok(Self { out, records: 0 })
    }

    /// Writes a row as it is stored. Damaged rows are exported too: they are evidence.
    ///
    /// # Errors
    /// `AuditBroken` for bytes longer than any record; else of `out`.
    pub fn row(&mut self, seq: u64, record: &[u8]) -> Result<()> {
        if record.len() > RECORD_MAX {
            return Err(AuditError::Malformed { seq, why: RecordError::TooLong }.into());
        }
        let mut line = format!(r#"{{"seq":{seq},"#);
        match std::str::from_utf8(record) {
            Ok(text) => {
                line.push_str(r#""record":"#);
                quote(text, &mut line);
            }
            Err(_) => {
                line.push_str(r#""record_base64":"#);
                quote(&STANDARD.encode(record), &mut line);
            }
        }
        line.push_str("}\n");
        self.out.write_all(line.as_bytes())?;
        self.records += 1;
        Ok(())
    }

    /// Writes a stored checkpoint. It belongs before the first row that it does not cover.
    pub fn checkpoint(&mut self, note: &str) -> Result<()> {
        let mut line = String::from(r#"{"checkpoint":"#);
        quote(note, &mut line);
        line.push_str("}\n");
        Ok(self.out.write_all(line.as_bytes())?)
    }

    /// Writes the last line and flushes.
    pub fn finish(mut self) -> Result<W> {
        writeln!(self.out, r#"{{"end":{}}}"#, self.records)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// One line of an exported log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A row.
    Record {
        /// Its sequence number.
        seq: u64,
        /// Its bytes, as stored.
        record: Vec<u8>,
    },
    /// The note of a checkpoint.
    Checkpoint(String),
}

/// Reads the exported form, a line at a time; nothing read is trusted.
pub struct ExportReader<R> {
    input: R,
    line: u64,
    records: u64,
    vkey: VerifierKey,
}

impl<R: BufRead> ExportReader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// `InvalidArgument` if this is no exported audit log, `UnsupportedVersion` for a newer form.
    pub fn new(mut input: R) -> Result<Self> {
        let foreign = || Error::new(ErrorId::InvalidArgument, "not an exported audit log");
        let header =
            read_line(&mut input, 1).map_err(|e| if e.id() == ErrorId::AuditBroken { foreign() } else { e })?;
        let header = header.and_then(|line| json::parse(&line, 1).ok()).ok_or_else(foreign)?;
        match header.get("modelvault_audit").and_then(Value::as_u64).ok_or_else(foreign)? {
            VERSION => {}
            newer => {
                return Err(Error::new(ErrorId::UnsupportedVersion, format!("an audit export of version {newer}")));
            }
        }
        let known = header.exactly(&["modelvault_audit", "origin", "vkey"]).is_some();
        let vkey: VerifierKey = header.get("vkey").and_then(Value::as_str).ok_or_else(foreign)?.parse()?;
        if !known || header.get("origin").and_then(Value::as_str) != Some(&vkey.origin) {
            return Err(foreign());
        }
        Ok(Self { input, line: 1, records: 0, vkey })
    }

    /// The key the file names as its log's.
    pub fn vkey(&self) -> &VerifierKey {
        &self.vkey
    }

    /// The next entry; `None` after the whole file was read, its last line included.
    ///
    /// # Errors
    /// `AuditBroken` with the line's number.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.line += 1;
        let fail = |line, why| Error::from(AuditError::Export { line, why });
        let line =
            read_line(&mut self.input, self.line)?.ok_or_else(|| fail(self.line, "the end of the file is missing"))?;
        match Line::parse(&line, self.line)? {
            Line::Entry(entry) => {
                self.records += u64::from(matches!(entry, Entry::Record { .. }));
                Ok(Some(entry))
            }
            Line::End(count) if count != self.records => {
                Err(fail(self.line, "the number of records is not what it says"))
            }
            Line::End(_) => {
                let mut more = [0];
                match self.input.read(&mut more)? {
                    0 => Ok(None),
                    _ => Err(fail(self.line + 1, "something follows the end")),
                }
            }
        }
    }
}

/// A line after the first.
enum Line {
    Entry(Entry),
    /// The last one, with the number of records before it.
    End(u64),
}

impl Line {
    fn parse(line: &[u8], number: u64) -> Result<Self> {
        let fail = |why| Error::from(AuditError::Export { line: number, why });
        let value = json::parse(line, 1).map_err(|_| fail("it is not JSON"))?;
        let entries = value.as_object().unwrap_or_default();
        match entries {
            [(key, Value::String(note))] if key == "checkpoint" => Ok(Self::Entry(Entry::Checkpoint(note.clone()))),
            [(seq_key, seq), (key, Value::String(text))] if seq_key == "seq" => {
                let seq = seq.as_u64().ok_or_else(|| fail("seq is no number"))?;
                let record = match key.as_str() {
                    "record" => Some(text.clone().into_bytes()),
                    "record_base64" => STANDARD.decode(text).ok(),
                    _ => None,
                };
                let record = record.ok_or_else(|| fail("it holds no record"))?;
                Ok(Self::Entry(Entry::Record { seq, record }))
            }
            [(key, count)] if key == "end" => {
                Ok(Self::End(count.as_u64().ok_or_else(|| fail("the number of records is not what it says"))?))
            }
            _ => Err(fail("it is neither record nor checkpoint nor end")),
        }
    }
}

/// Takes the exported form, from any record on, and hands it to a directory: what is written to it is read line by line.
pub struct ToArchive {
    archive: ArchiveWriter,
    partial: Vec<u8>,
    line: u64,
    ended: bool,
    failed: Option<Error>,
}

impl ToArchive {
    /// Into this directory.
    pub fn new(archive: ArchiveWriter) -> Self {
        Self { archive, partial: Vec::new(), line: 0, ended: false, failed: None }
    }

    /// The error that a write ended with, in full.
    pub fn failure(&mut self) -> Option<Error> {
        self.failed.take()
    }

    /// All was written: makes the directory whole.
    ///
    /// # Errors
    /// `AuditBroken` if the end is missing; those of [`ArchiveWriter::finish`].
    pub fn finish(self) -> Result<Checkpoint> {
        if !self.ended {
            return Err(AuditError::Export { line: self.line + 1, why: "the end of the file is missing" }.into());
        }
        self.archive.finish()
    }

    fn take(&mut self, line: &[u8]) -> Result<()> {
        self.line += 1;
        if self.line == 1 {
            let first = [line, b"\n"].concat();
            let header = ExportReader::new(&first[..])?;
            return match header.vkey() == self.archive.vkey() {
                true => Ok(()),
                false => Err(AuditError::Checkpoint("the export is of another log, or names another key").into()),
            };
        }
        if self.ended {
            return Err(AuditError::Export { line: self.line, why: "something follows the end" }.into());
        }
        match Line::parse(line, self.line)? {
            Line::Entry(Entry::Record { seq, record }) => self.archive.row(seq, &record),
            Line::Entry(Entry::Checkpoint(note)) => self.archive.checkpoint(&note),
            Line::End(_) => {
                self.ended = true;
                Ok(())
            }
        }
    }
}

impl Write for ToArchive {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.partial.extend_from_slice(piece);
            if self.partial.len() > LINE_MAX {
                self.failed = Some(AuditError::Export { line: self.line + 1, why: "it is too long" }.into());
            } else if self.partial.pop_if(|b| *b == b'\n').is_some() {
                let line = std::mem::take(&mut self.partial);
                self.failed = self.take(&line).err();
            }
            if let Some(failed) = &self.failed {
                return Err(std::io::Error::other(failed.to_string()));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Verifies an exported log. `trusted` is the vault's key, known from elsewhere; without it the key the file names is used, and
/// the result says only that the file agrees with itself. `kept` are notes of checkpoints kept elsewhere.
///
/// # Errors
/// `AuditBroken` for every contradiction, and if the file names another log or key than `trusted`.
pub fn verify_export(
    input: impl BufRead,
    trusted: Option<&VerifierKey>,
    kept: &[String],
) -> Result<(VerifierKey, Report)> {
    let mut reader = ExportReader::new(input)?;
    let vkey = reader.vkey().clone();
    if trusted.is_some_and(|trusted| *trusted != vkey) {
        return Err(AuditError::Checkpoint("the export is of another log, or names another key").into());
    }
    let mut verifier = Verifier::new(vkey.origin.clone(), vkey.key);
    kept.iter().try_for_each(|note| verifier.kept_elsewhere(note))?;
    while let Some(entry) = reader.next_entry()? {
        match entry {
            Entry::Record { seq, record } => verifier.row(seq, &record)?,
            Entry::Checkpoint(note) => verifier.checkpoint(&note)?,
        }
    }
    Ok((vkey, verifier.finish()?))
}

/// One line without its newline; `None` at the end of the input. Never holds more than the longest line allowed.
fn read_line(input: &mut impl BufRead, number: u64) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    match line.pop() {
        Some(b'\n') => Ok(Some(line)),
        _ if line.len() >= LINE_MAX => Err(AuditError::Export { line: number, why: "it is too long" }.into()),
        _ => Err(AuditError::Export { line: number, why: "it was cut" }.into()),
    }
}

const _: () = assert!(FIRST_SEQ == 1, "the form above is documented with it");

#[cfg(test)]
mod tests {
    use super::super::verify::tests::{ORIGIN, identity, log};
    use super::*;

    fn vkey() -> VerifierKey {
        VerifierKey::of(ORIGIN, *identity().public())
    }

    fn exported(rows: &[(u64, Vec<u8>)], checkpoints: &[Checkpoint]) -> Vec<u8> {
        let mut export = Export::new(Vec::new(), &vkey()).unwrap();
        for (seq, record) in rows {
            export.row(*seq, record).unwrap();
            if let Some(due) = checkpoints.iter().find(|c| c.size() == *seq) {
                export.checkpoint(due.note()).unwrap();
            }
        }
        export.finish().unwrap()
    }

    #[test]
    fn an_export_gives_every_byte_back_and_verifies_offline() {
        let (rows, checkpoints) = log(12, 5);
        let file = exported(&rows, &checkpoints);
        let kept = [checkpoints[1].note().to_owned()];
        let (named, report) = verify_export(&file[..], Some(&vkey()), &kept).unwrap();
        assert_eq!(named, vkey());
        assert_eq!((report.records, report.checkpoints, report.kept, report.uncovered), (12, 2, 1, 2));
        let mut reader = ExportReader::new(&file[..]).unwrap();
        let (mut read_rows, mut read_notes) = (Vec::new(), Vec::new());
        while let Some(entry) = reader.next_entry().unwrap() {
            match entry {
                Entry::Record { seq, record } => read_rows.push((seq, record)),
                Entry::Checkpoint(note) => read_notes.push(note),
            }
        }
        assert_eq!(read_rows, rows);
        assert!(read_notes.iter().eq(checkpoints.iter().map(Checkpoint::note)));
        assert_eq!(verify_export(&exported(&[], &[])[..], None, &[]).unwrap().1.records, 0);
    }

    #[test]
    fn damaged_rows_are_exported_byte_for_byte_and_found() {
        let (mut rows, checkpoints) = log(5, 5);
        for damage in [&b"\xff\x00\xfe"[..], b"{\"\x01", b""] {
            rows[2].1 = damage.to_vec();
            let file = exported(&rows, &checkpoints);
            let mut reader = ExportReader::new(&file[..]).unwrap();
            let third = (0..3).map(|_| reader.next_entry().unwrap().unwrap()).last();
            assert_eq!(third, Some(Entry::Record { seq: 3, record: damage.to_vec() }));
            let error = verify_export(&file[..], None, &[]).unwrap_err();
            assert_eq!(error.id(), ErrorId::AuditBroken);
            assert_eq!(error.details(), [("seq", "3".to_owned())]);
        }
        let mut export = Export::new(Vec::new(), &vkey()).unwrap();
        assert!(export.row(1, &vec![b'\x01'; RECORD_MAX + 1]).is_err());
        export.row(1, &vec![b'\x01'; RECORD_MAX]).unwrap();
        let file = export.finish().unwrap();
        assert!(ExportReader::new(&file[..]).unwrap().next_entry().is_ok(), "the longest line is read");
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_of_a_covered_export_is_refused() {
        let (rows, checkpoints) = log(4, 4);
        let file = exported(&rows, &checkpoints);
        assert!(verify_export(&file[..], Some(&vkey()), &[]).is_ok());
        for len in 0..file.len() {
            assert!(verify_export(&file[..len], Some(&vkey()), &[]).is_err(), "cut to {len}");
        }
        for bit in 0..8 * file.len() {
            let mut altered = file.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(verify_export(&altered[..], Some(&vkey()), &[]).is_err(), "bit {bit}");
        }
        assert!(verify_export(&[&file[..], b"\n"].concat()[..], None, &[]).is_err());
    }

    #[test]
    fn another_vaults_export_does_not_pass_for_the_trusted_one() {
        let (rows, checkpoints) = log(4, 4);
        let file = exported(&rows, &checkpoints);
        let other = VerifierKey::of("modelvault.example/01/audit", *identity().public());
        let error = verify_export(&file[..], Some(&other), &[]).unwrap_err();
        assert_eq!(error.id(), ErrorId::AuditBroken);
        let text = String::from_utf8(file).unwrap();
        let renamed = text.replace("example/00/audit", "example/01/audit");
        assert!(verify_export(renamed.as_bytes(), None, &[]).is_err());
        for foreign in ["", "{}\n", "not json\n", "\n", "{\"modelvault_audit\":\"1\"}\n"] {
            let error = verify_export(foreign.as_bytes(), None, &[]).unwrap_err();
            assert_eq!(error.id(), ErrorId::InvalidArgument, "{foreign:?}");
        }
        let newer = text.replacen(":1,", ":2,", 1);
        assert_eq!(verify_export(newer.as_bytes(), None, &[]).unwrap_err().id(), ErrorId::UnsupportedVersion);
    }

    #[test]
    fn an_endless_line_is_refused_without_reading_it_all() {
        let endless = std::io::BufReader::new(std::io::repeat(b'x'));
        assert!(ExportReader::new(endless).is_err());
        let mut file = exported(&[], &[]);
        file.truncate(file.len() - "{\"end\":0}\n".len());
        let endless = std::io::BufReader::new(file.chain(std::io::repeat(b'x')));
        let error = ExportReader::new(endless).unwrap().next_entry().unwrap_err();
        assert!(error.message().ends_with("line 2: it is too long"), "{error}");
    }
}
