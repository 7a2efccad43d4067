//! A dataset on disk: its files, and what is measured of all of them under one schema.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::compare::RecordKey;
use super::frame::Format;
use super::frame::images::Images;
use super::measure::{Measured, Measuring, Source, Surveyor};
use super::parts::Part;
use super::pieces::Pieces;
use super::schema::Schema;
use super::statement::MAX_DATASET_FILES;
use crate::error::{Error, ErrorId, Result};
use crate::files::{Entry, Ignored, Links, ModelFiles};
use crate::names::Sha256;

/// What all images of a folder are called together, as one file of the dataset.
pub(super) const IMAGES: &str = "images";
/// What the key of a record is called that is no row.
const KEY: &str = "path";

/// The files of a dataset, in the byte order of their paths. Its images count as one file, and are not held.
pub struct Folder {
    files: ModelFiles,
    format: Option<Format>,
    images: bool,
    size: u64,
}

/// Whoever follows a measurement.
pub trait Follow {
    /// Hashes and keys of the next records of a file.
    ///
    /// # Errors
    /// Its own, which end the measurement.
    fn records(&mut self, file: &str, hashes: &[Sha256], keys: &[RecordKey]) -> Result<()>;

    /// All pieces of a file, after its records.
    ///
    /// # Errors
    /// Its own, which end the measurement.
    fn pieces(&mut self, _: &str, _: &Pieces) -> Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&str, &[Sha256], &[RecordKey]) -> Result<()>> Follow for F {
    fn records(&mut self, file: &str, hashes: &[Sha256], keys: &[RecordKey]) -> Result<()> {
        self(file, hashes, keys)
    }
}

impl Folder {
    /// A file, or a directory with all files below it but those in `own`. `format`: of all files that have records; else by their names.
    ///
    /// # Errors
    /// As [`ModelFiles::find`]; `LimitExceeded` for too many files.
    pub fn find(path: &Path, own: Ignored, format: Option<Format>) -> Result<Self> {
        let (mut images, mut size) = (false, 0_u64);
        let files = ModelFiles::find_if(path, &own, Links::Refuse, &mut |entry| {
            let image = format_of(&entry.path, format) == Format::Images;
            images |= image;
            size = size.saturating_add(entry.size);
            !image
        })?;
        let refused = |id, text: String, hint: &str| Err(Error::new(id, text).hint(hint));
        if files.entries().len() + usize::from(images) > MAX_DATASET_FILES {
            let text = format!("{} files; a dataset has {MAX_DATASET_FILES} at most", files.entries().len());
            return refused(ErrorId::LimitExceeded, text, "pack small files into archives");
        }
        if images && files.entries().iter().any(|entry| entry.path == IMAGES) {
            let text = format!("a file is named {IMAGES:?}, as all images are together");
            return refused(ErrorId::InvalidArgument, text, "give the file another name");
        }
        if files.is_single_file() {
            size = files.entries().iter().map(|e| e.size).sum();
        }
        Ok(Self { files, format, images, size })
    }

    fn format_of(&self, entry: &Entry) -> Format {
        match format_of(&entry.path, self.format) {
            // On its own it is no folder of images.
            Format::Images => Format::Whole,
            format => format,
        }
    }

    /// One of its files.
    ///
    /// # Errors
    /// `NotFound`, and those of the file system.
    pub fn open(&self, path: &str) -> Result<File> {
        let missing = || Error::new(ErrorId::DatasetChanged, format!("{path}: it was signed, and is not there"));
        let entry = self.entry(path).ok_or_else(missing)?;
        self.files.open(entry)
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        let entries = self.files.entries();
        entries.binary_search_by(|e| e.path.as_str().cmp(path)).ok().map(|at| &entries[at])
    }

    /// Shows all files, in order, and all images as one.
    ///
    /// # Errors
    /// `SourceChanged`; those of `each`.
    pub(super) fn each(&self, each: &mut dyn FnMut(&Part<'_>) -> Result<()>) -> Result<()> {
        let mut images = self.images;
        for entry in self.files.entries() {
            if images && *entry.path > *IMAGES {
                images = false;
                each(&Part::Images(self))?;
            }
            let file = Arc::new(self.files.open(entry)?);
            each(&Part::File(self.source(entry, &file)))?;
            self.files.unchanged(entry, &file)?;
        }
        if images { each(&Part::Images(self)) } else { Ok(()) }
    }

    /// Whether it has files of such formats.
    pub(super) fn has(&self, what: impl Fn(Format) -> bool) -> bool {
        (self.images && what(Format::Images)) || self.files.entries().iter().any(|entry| what(self.format_of(entry)))
    }

    /// Hands over its images. `progress` is told the bytes of those that were handed out.
    pub(super) fn with_images<T>(
        &self,
        progress: &(dyn Fn(u64) + Sync),
        with: impl FnOnce(Images<'_>) -> Result<T>,
    ) -> Result<T> {
        let is_image = |path: &str| self.images && format_of(path, self.format) == Format::Images;
        with(Images { files: &self.files, is_image: &is_image, progress, size: AtomicU64::new(0) })
    }

    /// Bytes of its images.
    pub(super) fn size_of_images(&self) -> u64 {
        self.size.saturating_sub(self.files.entries().iter().map(|entry| entry.size).sum())
    }

    fn source<'e>(&self, entry: &'e Entry, file: &Arc<File>) -> Source<'e> {
        Source { path: &entry.path, format: self.format_of(entry), bytes: file.clone() }
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The schema of all records.
    ///
    /// # Errors
    /// As [`Surveyor`].
    pub fn survey(&self, threads: usize) -> Result<Schema> {
        let mut surveyor = Surveyor::default();
        self.look(&mut surveyor, threads)?;
        surveyor.schema()
    }

    /// Looks through all files for that.
    ///
    /// # Errors
    /// As [`Surveyor::add`].
    pub fn look(&self, surveyor: &mut Surveyor, threads: usize) -> Result<()> {
        for entry in self.files.entries() {
            let file = Arc::new(self.files.open(entry)?);
            surveyor.add(&self.source(entry, &file), threads)?;
        }
        if self.images {
            surveyor.note(Format::Images);
        }
        Ok(())
    }

    /// Measures all files. `key`: the column whose value names a record.
    ///
    /// # Errors
    /// As [`Source::measure`]; `SourceChanged`; `InvalidArgument` for a key that is no column.
    pub fn measure(
        &self,
        schema: &Schema,
        key: Option<&str>,
        threads: usize,
        follow: &mut dyn Follow,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Measured>> {
        let key = key.map(|name| match schema {
            Schema::Files if name == KEY => Ok(0),
            _ => {
                let at = schema.columns().iter().position(|c| c.name == name);
                at.ok_or_else(|| Error::new(ErrorId::InvalidArgument, format!("no column is named {name:?}")))
            }
        });
        let key = key.transpose()?;
        let mut measured = Vec::with_capacity(self.files.entries().len() + 1);
        let mut images = self.images;
        for entry in self.files.entries() {
            if images && *entry.path > *IMAGES {
                images = false;
                measured.push(self.images((schema, key, threads), follow, progress)?);
            }
            let file = Arc::new(self.files.open(entry)?);
            let mut leaves = |hashes: &[Sha256], keys: &[RecordKey]| follow.records(&entry.path, hashes, keys);
            let (file_measured, pieces) = self.source(entry, &file).measure(schema, key, threads, &mut leaves)?;
            self.files.unchanged(entry, &file)?;
            follow.pieces(&entry.path, &pieces)?;
            measured.push(file_measured);
            progress(entry.size);
        }
        if images {
            measured.push(self.images((schema, key, threads), follow, progress)?);
        }
        Ok(measured)
    }

    fn images(
        &self,
        (schema, key, threads): (&Schema, Option<usize>, usize),
        follow: &mut dyn Follow,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Measured> {
        let mut leaves = |hashes: &[Sha256], keys: &[RecordKey]| follow.records(IMAGES, hashes, keys);
        let how = Measuring { schema, key, threads };
        let measured = self.with_images(progress, |images| how.images(IMAGES, images, &mut leaves))?;
        follow.pieces(IMAGES, &Pieces::default())?;
        Ok(measured)
    }
}

/// A format that was named is that of the file that was named, or of all that have no other.
fn format_of(path: &str, named: Option<Format>) -> Format {
    Format::of_name(path).or(named).unwrap_or(Format::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::dataset_root;
    use std::fs;

    fn measured(path: &Path) -> Result<(Schema, Vec<Measured>, Vec<Sha256>)> {
        let folder = Folder::find(path, Ignored::default(), None)?;
        let (schema, mut leaves) = (folder.survey(2)?, Vec::new());
        let mut follow = |_: &str, hashes: &[Sha256], _: &[RecordKey]| {
            leaves.extend_from_slice(hashes);
            Ok(())
        };
        let files = folder.measure(&schema, None, 2, &mut follow, &|_| ())?;
        Ok((schema, files, leaves))
    }

    fn write(dir: &Path, path: &str, bytes: &[u8]) {
        fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        fs::write(dir.join(path), bytes).unwrap();
    }

    #[test]
    fn images_are_records_and_together_one_file() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..600 {
            write(dir.path(), &format!("cat/{i:03}.png"), &[i as u8; 10]);
            write(dir.path(), &format!("cat.2/{i:03}.JPG"), &[i as u8; 20]);
        }
        write(dir.path(), "readme", b"about them");
        let (schema, files, leaves) = measured(dir.path()).unwrap();
        assert_eq!(schema, Schema::Files);
        assert_eq!(
            files.iter().map(|f| (&*f.path, f.records, f.size)).collect::<Vec<_>>(),
            [("images", 1200, 600 * 30), ("readme", 0, 10)]
        );
        assert_eq!(files[0].root, crate::crypto::merkle::root(&leaves));
        let all: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();
        assert_eq!(files[0].sha256, crate::crypto::hash::sha256(&all));

        fs::rename(dir.path().join("cat.2/007.JPG"), dir.path().join("cat/007.JPG")).unwrap();
        let (_, moved, after) = measured(dir.path()).unwrap();
        assert_ne!(dataset_root(&moved), dataset_root(&files));
        assert_eq!(after.iter().filter(|leaf| !leaves.contains(leaf)).count(), 1, "its directory is part of a record");
    }

    #[test]
    fn images_lie_beside_a_table_without_being_rows_of_it() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "images/1.png", b"one");
        write(dir.path(), "images/labels.csv", b"file,label\n1.png,cat\n");
        let (schema, files, leaves) = measured(dir.path()).unwrap();
        assert_eq!(schema.columns().len(), 2);
        assert_eq!(
            files.iter().map(|f| (&*f.path, f.records)).collect::<Vec<_>>(),
            [("images", 1), ("images/labels.csv", 1)]
        );
        let alone = tempfile::tempdir().unwrap();
        write(alone.path(), "images/1.png", b"one");
        assert_eq!(measured(alone.path()).unwrap().2, leaves[..1], "whatever lies beside them");
    }

    #[test]
    fn a_file_that_is_called_as_the_images_are_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "1.png", b"one");
        write(dir.path(), "images", b"?");
        assert_eq!(measured(dir.path()).unwrap_err().id(), ErrorId::InvalidArgument);
    }

    #[test]
    fn an_image_on_its_own_is_a_file() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "1.png", b"one");
        let error = measured(&dir.path().join("1.png")).unwrap_err();
        assert!(error.message().contains("no records"), "{error}");
    }

    /// By hand: `cargo test --release --lib -- --ignored --nocapture two_hundred`.
    #[test]
    #[ignore = "writes 200,000 files"]
    fn two_hundred_thousand_images() {
        let dir = tempfile::tempdir().unwrap();
        for class in 0..200 {
            fs::create_dir(dir.path().join(format!("{class:03}"))).unwrap();
            for i in 0..1000 {
                fs::write(dir.path().join(format!("{class:03}/{i:04}.png")), [i as u8; 800]).unwrap();
            }
        }
        let folder = Folder::find(dir.path(), Ignored::default(), None).unwrap();
        let began = std::time::Instant::now();
        let files = folder
            .measure(&Schema::Files, None, 2, &mut |_: &str, _: &[Sha256], _: &[RecordKey]| Ok(()), &|_| ())
            .unwrap();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        eprintln!("{} records in {:.2?}, {peak}", files[0].records, began.elapsed());
    }
}
