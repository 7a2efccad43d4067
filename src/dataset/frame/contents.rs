//! What the files of samples and images hold, where digests of them do not do: records whose values are written by whoever asks.

use super::super::fields::{Field, fields, members};
use super::super::schema::{Schema, Survey};
use super::super::units::{Fault, Give, Read, Units};
use super::super::value::{Encoder, record_hash};
use super::BadRecord;
use super::members::{Content, Member, Samples, write};
use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId, Result};
use crate::names::Sha256;

/// Most bytes of one record, all files together, that are held in memory.
const MAX_CONTENTS: u64 = 256 << 20;

/// Why no record can be written.
pub(in super::super) enum Unwritten {
    /// It is none, for this reason.
    Record(String),
    /// It cannot be read.
    Other(Error),
}

impl From<Error> for Unwritten {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Writes a record: it is given the key, and the files.
pub(in super::super) type Write<'a> = &'a (dyn Fn(&str, &[Content<'_>], &mut Encoder) -> Result<(), Unwritten> + Sync);

/// Samples whose records are what `write` writes.
pub(in super::super) struct Contents<'a, S> {
    /// The samples.
    pub samples: S,
    /// Makes records of them.
    pub write: Write<'a>,
}

impl<S: Samples> Units for Contents<'_, S> {
    type Unit = S::Unit;

    fn hand_out(&self, read: Read<'_>, give: Give<'_, S::Unit>) -> Result<()> {
        self.samples.hand_out(read, give)
    }

    fn records(&self, unit: &S::Unit, each: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        let (mut record, mut number) = (Encoder::default(), 0);
        self.samples.contents(unit, &mut |key, contents| {
            record.clear();
            (self.write)(key, contents, &mut record).map_err(|unwritten| match unwritten {
                Unwritten::Record(why) => BadRecord { number, at: 0, why }.into(),
                Unwritten::Other(error) => Fault::Other(error),
            })?;
            number += 1;
            each(record.record());
            Ok(())
        })
    }

    fn survey(&self, unit: &S::Unit, seen: &mut Survey) -> Result<u64, Fault> {
        self.samples.survey(unit, seen)
    }
}

/// Writes all of a record: its key, and a struct of extensions and bytes, in the order of the extensions.
pub(in super::super) fn whole(key: &str, contents: &[Content<'_>], record: &mut Encoder) -> Result<(), Unwritten> {
    let size = contents.iter().fold(0_u64, |sum, content| sum.saturating_add(content.size));
    if size > MAX_CONTENTS {
        let place = contents.first().map_or("", |content| content.place);
        let text = format!("{place}: {key:?} has {size} bytes; a record that is handed on has {MAX_CONTENTS} at most");
        return Err(Error::new(ErrorId::LimitExceeded, text)
            .hint("keep large files beside the dataset, each signed")
            .into());
    }
    let mut sorted: Vec<_> = contents.iter().collect();
    sorted.sort_by(|a, b| a.extension.cmp(b.extension));
    record.text(key);
    record.structure(|record| {
        sorted.into_iter().try_for_each(|content| {
            record.text(content.extension);
            record.bytes(&content.head(content.size)?);
            Ok(())
        })
    })
}

/// A key, and extension and bytes of each file.
pub(in super::super) type Files<'a> = (&'a str, Vec<(&'a str, &'a [u8])>);

/// Key and files of a record that [`whole`] wrote.
pub(in super::super) fn files_of(record: &[u8]) -> Option<Files<'_>> {
    let mut values = fields(record);
    let (Some(Ok(Field::Text(key))), Some(Ok(Field::Struct(inner)))) = (values.next(), values.next()) else {
        return None;
    };
    let file = |member| match member {
        Ok((extension, Field::Bytes(bytes))) => Some((extension, bytes)),
        _ => None,
    };
    Some((key, members(inner).map(file).collect::<Option<_>>()?))
}

/// The hash that is signed of a record that [`whole`] wrote.
pub(in super::super) fn leaf_of(record: &[u8]) -> Option<Sha256> {
    let (key, files) = files_of(record)?;
    let mut all: Vec<_> = files
        .iter()
        .map(|(extension, bytes)| Member { extension, size: bytes.len() as u64, sha256: sha256(bytes) })
        .collect();
    let mut digested = Encoder::default();
    write(&mut digested, key, &mut all);
    Some(record_hash(&Schema::Files.id(), digested.record()))
}
