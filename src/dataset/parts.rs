//! The parts of a dataset, for whoever reads their records: its files one by one, and all images together.

use std::sync::Arc;

use super::folder::{Folder, IMAGES};
use super::frame::Format;
use super::frame::contents::{Contents, Write};
use super::frame::members::Samples;
use super::frame::tar::Tar;
use super::measure::Source;
use super::units::{Behind, Done, Fault, Read, show, work};
use crate::crypto::hash::Sha256Hasher;
use crate::error::{Error, ErrorId, Result};
use crate::names::Sha256;

/// A file, or all images.
pub(super) enum Part<'a> {
    /// A file.
    File(Source<'a>),
    /// The images of a folder.
    Images(&'a Folder),
}

/// What sees the key of a record, and the extensions of its files.
pub(super) type SeeNames<'a, T> = &'a (dyn Fn(&str, &mut dyn Iterator<Item = &str>, &mut T) + Sync);

impl Part<'_> {
    /// Path within the dataset.
    pub fn path(&self) -> &str {
        match self {
            Self::File(source) => source.path,
            Self::Images(_) => IMAGES,
        }
    }

    /// How its records are framed.
    pub fn format(&self) -> Format {
        match self {
            Self::File(source) => source.format,
            Self::Images(_) => Format::Images,
        }
    }

    /// Bytes.
    ///
    /// # Errors
    /// Those of reading.
    pub fn size(&self) -> Result<u64> {
        match self {
            Self::File(source) => source.bytes.len().map_err(|e| Error::of_io(e, source.path)),
            Self::Images(folder) => Ok(folder.size_of_images()),
        }
    }

    /// What is signed of its bytes ([`Measured`](super::measure::Measured)).
    ///
    /// # Errors
    /// Those of reading.
    pub fn sha256(&self, threads: usize) -> Result<Sha256> {
        let source = match self {
            Self::File(source) => source,
            Self::Images(folder) => return folder.sha256_of_images(threads),
        };
        let mut all = Sha256Hasher::default();
        let mut read = |bytes: &[u8]| all.update(bytes);
        let mut behind = Behind::new(source.path, &*source.bytes, &mut read)?;
        behind.to(behind.len)?;
        Ok(all.finish())
    }

    /// Shows the names of all files of images or samples; none is read.
    ///
    /// # Errors
    /// `RecordInvalid` for a damaged archive; those of reading and of `take`.
    pub fn names<T: Send + Default>(
        &self,
        threads: usize,
        see: SeeNames<'_, T>,
        take: &mut dyn FnMut(Done<T>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::File(source) => names(source.path, &tar(source)?, threads, see, take),
            Self::Images(folder) => folder.with_images(&|_| (), |images| names(IMAGES, &images, threads, see, take)),
        }
    }

    /// Hands on all images or samples as records that `write` writes; as [`Source::read`]. Of images `bytes` sees nothing.
    ///
    /// # Errors
    /// Those of `write`, `take` and reading; `RecordInvalid`, with the place.
    pub fn contents<T: Send + Default>(
        &self,
        threads: usize,
        write: Write<'_>,
        bytes: Read<'_>,
        see: &(dyn Fn(&[u8], &mut T) + Sync),
        take: &mut dyn FnMut(T) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::File(source) => {
                show(source.path, &Contents { samples: tar(source)?, write }, threads, bytes, see, take)
            }
            Self::Images(folder) => folder.with_images(&|_| (), |images| {
                show(IMAGES, &Contents { samples: images, write }, threads, bytes, see, take)
            }),
        }
    }
}

fn tar<'a>(source: &Source<'a>) -> Result<Tar<'a>> {
    if source.format == Format::Tar {
        return Ok(Tar { name: source.path, source: Arc::clone(&source.bytes) });
    }
    let text = format!("{}: a file of format {} has no samples", source.path, source.format.as_str());
    Err(Error::new(ErrorId::InvalidArgument, text))
}

fn names<S: Samples, T: Send + Default>(
    path: &str,
    samples: &S,
    threads: usize,
    see: SeeNames<'_, T>,
    take: &mut dyn FnMut(Done<T>) -> Result<()>,
) -> Result<()> {
    let look = |unit: &S::Unit| {
        let (mut value, mut records) = (T::default(), 0);
        samples.names(unit, &mut |key, extensions| {
            see(key, extensions, &mut value);
            records += 1;
        });
        Ok::<_, Fault>(Done { value, records })
    };
    work(path, samples, threads, &mut |_| {}, &look, take)
}
