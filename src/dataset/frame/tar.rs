//! Archives of samples (WebDataset): ustar, with long names of pax and GNU tar, read strictly.
//!
//! A record is all members that lie beside one another and are named alike up to the first dot of their name. Refused: a key that comes
//! back later, a member twice, anything but files and directories (links, devices, sparse files), headers whose sum is wrong, an archive
//! without an end or with something after it. What readers of archives differ about is refused too: sizes and names said for all members
//! at once (pax, global).

mod header;

use std::collections::HashSet;
use std::sync::Arc;

use self::header::{Header, Kind, Pax};
use super::super::schema::Survey;
use super::super::units::{Behind, Fault, Give, Read, Units};
use super::members::{self, Content, Samples, See};
use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId, Result};
use crate::seal::io::ReadAt;

const BLOCK: u64 = 512;
/// Most bytes of a pax header or a long name.
const MAX_EXTENDED: u64 = 1 << 20;
/// Most members of a sample.
const MAX_MEMBERS: usize = 4096;
/// Most samples: their keys are remembered, 16 bytes of each.
const MAX_SAMPLES: usize = 4 << 20;
/// Samples and bytes that are worked on together.
const UNIT: (usize, u64) = (256, 4 << 20);

/// Samples of one archive.
pub struct Tar<'a> {
    /// In messages.
    pub name: &'a str,
    /// Its bytes.
    pub source: Arc<dyn ReadAt>,
}

/// All members of one key.
pub struct Sample {
    key: String,
    /// Extension, place and length.
    members: Vec<(String, u64, u64)>,
}

impl Units for Tar<'_> {
    type Unit = Vec<Sample>;

    fn hand_out(&self, read: Read<'_>, give: Give<'_, Vec<Sample>>) -> Result<()> {
        let mut behind = Behind::new(self.name, &*self.source, read)?;
        let mut walk = Walk { len: behind.len, at: 0, source: &*self.source };
        let mut gathered = Gathered::default();
        while let Some(member) = walk.next().map_err(|e| walk.place(self.name, e))? {
            gathered.push(member).map_err(|e| walk.place(self.name, e))?;
            if gathered.is_full() {
                behind.to(gathered.end)?;
                if !give(gathered.ready()) {
                    return Ok(());
                }
            }
        }
        behind.to(behind.len)?;
        gathered.close().map_err(|e| walk.place(self.name, e))?;
        if !gathered.samples.is_empty() {
            give(gathered.ready());
        }
        Ok(())
    }

    fn records(&self, unit: &Vec<Sample>, each: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        members::records(self, unit, each)
    }

    fn survey(&self, unit: &Vec<Sample>, _: &mut Survey) -> Result<u64, Fault> {
        Ok(unit.len() as u64)
    }
}

impl Samples for Tar<'_> {
    fn names(&self, unit: &Vec<Sample>, see: &mut dyn FnMut(&str, &mut dyn Iterator<Item = &str>)) {
        unit.iter().for_each(|sample| see(&sample.key, &mut sample.members.iter().map(|(extension, ..)| &**extension)));
    }

    fn contents(&self, unit: &Vec<Sample>, see: See<'_>) -> Result<(), Fault> {
        for sample in unit {
            let contents: Vec<_> = sample
                .members
                .iter()
                .map(|(extension, at, size)| Content {
                    extension,
                    size: *size,
                    source: (&*self.source, *at),
                    place: self.name,
                })
                .collect();
            see(&sample.key, &contents)?;
        }
        Ok(())
    }
}

/// Which samples have bytes in a stretch of an archive: the first and the last, from 1. Nothing of it need be what was signed: where it
/// cannot be gone through any more, the sample that would come next is told.
pub fn samples_within(source: &dyn ReadAt, (from, end): (u64, u64)) -> Option<(u64, u64)> {
    let mut walk = Walk { source, len: source.len().ok()?, at: 0 };
    let (mut number, mut key, mut found) = (0, String::new(), None);
    loop {
        let begin = walk.at;
        let member = match walk.next() {
            Ok(Some(member)) => member,
            Ok(None) => return found,
            Err(_) => return found.or((number > 0 || begin < end).then_some((number + 1, number + 1))),
        };
        let (next, _) = members::parted(&member.path);
        if number == 0 || key != next {
            number += 1;
            key = next.into();
        }
        if begin < end && walk.at > from {
            found = Some((found.map_or(number, |(first, _)| first), number));
        }
        if begin >= end {
            return found;
        }
    }
}

/// Why a place of an archive is refused.
enum Refused {
    Archive(&'static str),
    Limit(&'static str),
    Read(std::io::Error),
}

/// A member that is a file.
struct File {
    path: String,
    at: u64,
    size: u64,
}

/// From header to header.
struct Walk<'a> {
    source: &'a dyn ReadAt,
    len: u64,
    at: u64,
}

impl Walk<'_> {
    /// As an error about the header that was read last.
    fn place(&self, name: &str, refused: Refused) -> Error {
        match refused {
            Refused::Archive(why) => {
                let text = format!("{name}, at byte {}: {why}", self.at);
                Error::new(ErrorId::RecordInvalid, text).hint("write the archive anew: tar --sort=name --format=ustar")
            }
            Refused::Limit(why) => Error::new(ErrorId::LimitExceeded, format!("{name}, at byte {}: {why}", self.at)),
            Refused::Read(e) => Error::of_io(e, name),
        }
    }

    /// The next file; `None` at the end of the archive.
    fn next(&mut self) -> Result<Option<File>, Refused> {
        let (mut long, mut pax) = (None, Pax::default());
        loop {
            let Some(header) = self.header()? else {
                return match (&long, pax.is_empty()) {
                    (None, true) => Ok(None),
                    _ => Err(Refused::Archive("a long name that no member follows")),
                };
            };
            // What pax says of the size holds for the member, not for headers before it.
            let extends = matches!(header.kind, Kind::LongName | Kind::Pax | Kind::PaxGlobal);
            let size = if extends { header.size } else { pax.size.unwrap_or(header.size) };
            let from = self.at + BLOCK;
            let end = from.checked_add(size).and_then(|end| end.checked_next_multiple_of(BLOCK));
            let end = end
                .filter(|end| *end <= self.len)
                .ok_or(Refused::Archive("a member that is longer than the archive"))?;
            match header.kind {
                Kind::Directory if size == 0 => (long, pax) = (None, Pax::default()),
                Kind::File if long.is_some() && pax.path.is_some() => return Err(Refused::Archive("two long names")),
                Kind::File => {
                    let path = long.or(pax.path).unwrap_or(header.path);
                    self.at = end;
                    return header::path(path).map(|path| Some(File { path, at: from, size }));
                }
                Kind::LongName if long.is_none() => {
                    let text = self.extended(from, size)?;
                    long = Some(text.split(|b| *b == 0).next().unwrap_or_default().to_vec());
                }
                Kind::Pax if pax.is_empty() => pax = Pax::read(&self.extended(from, size)?)?,
                Kind::PaxGlobal if Pax::read(&self.extended(from, size)?)?.is_empty() => {}
                _ => return Err(Refused::Archive("two long names, or a directory with content")),
            }
            self.at = end;
        }
    }

    fn extended(&self, from: u64, size: u64) -> Result<Vec<u8>, Refused> {
        if size > MAX_EXTENDED {
            return Err(Refused::Limit("an extended header of more than 1 MiB"));
        }
        let mut text = vec![0; size as usize];
        self.source.read_exact_at(&mut text, from).map_err(Refused::Read)?;
        Ok(text)
    }

    /// The header here; `None` for the end, after which there is nothing.
    fn header(&self) -> Result<Option<Header>, Refused> {
        let mut block = [0; BLOCK as usize];
        if self.len - self.at < BLOCK {
            return Err(Refused::Archive("the archive has no end: it was cut off"));
        }
        self.source.read_exact_at(&mut block, self.at).map_err(Refused::Read)?;
        if block != [0; BLOCK as usize] {
            return Header::read(&block).map(Some);
        }
        let (mut at, mut rest) = (self.at + BLOCK, vec![0; 64 << 10]);
        if at == self.len {
            return Err(Refused::Archive("the archive has half an end: it was cut off"));
        }
        while at < self.len {
            let len = (self.len - at).min(rest.len() as u64) as usize;
            self.source.read_exact_at(&mut rest[..len], at).map_err(Refused::Read)?;
            if rest[..len].iter().any(|b| *b != 0) {
                return Err(Refused::Archive("something after the end of the archive"));
            }
            at += len as u64;
        }
        Ok(None)
    }
}

/// Samples until there are enough for a unit, and the one that is not known to be whole.
#[derive(Default)]
struct Gathered {
    samples: Vec<Sample>,
    open: Option<Sample>,
    keys: HashSet<[u8; 16]>,
    bytes: u64,
    /// Of the last member.
    end: u64,
}

impl Gathered {
    fn push(&mut self, file: File) -> Result<(), Refused> {
        let (key, extension) = members::parted(&file.path);
        if self.open.as_ref().is_none_or(|open| open.key != key) {
            self.close()?;
            self.open = Some(Sample { key: key.into(), members: Vec::new() });
        }
        let members = self.open.as_mut().map(|open| &mut open.members);
        let members = members.ok_or(Refused::Archive("a member without a sample"))?;
        if members.iter().any(|(other, ..)| *other == extension) {
            return Err(Refused::Archive("a member twice in a sample"));
        }
        if members.len() == MAX_MEMBERS {
            return Err(Refused::Limit("a sample of more than 4096 members"));
        }
        members.push((extension.into(), file.at, file.size));
        (self.end, self.bytes) = (file.at + file.size, self.bytes + file.size);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Refused> {
        let Some(sample) = self.open.take() else { return Ok(()) };
        let mut key = [0; 16];
        key.copy_from_slice(&sha256(sample.key.as_bytes()).0[..16]);
        if !self.keys.insert(key) {
            return Err(Refused::Archive("a sample whose key was there before: members of one key lie together"));
        }
        if self.keys.len() > MAX_SAMPLES {
            return Err(Refused::Limit("more than 4194304 samples; split the archive into shards"));
        }
        self.samples.push(sample);
        Ok(())
    }

    fn is_full(&self) -> bool {
        !self.samples.is_empty() && (self.samples.len() >= UNIT.0 || self.bytes >= UNIT.1)
    }

    fn ready(&mut self) -> Vec<Sample> {
        self.bytes = 0;
        std::mem::take(&mut self.samples)
    }
}

#[cfg(test)]
mod tests;
