//! A dataset: its files, on disk or elsewhere, and what is measured of all of them under one schema.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::compare::RecordKey;
use super::frame::Format;
use super::frame::images::Images;
use super::frame::members::Content;
use super::measure::{Measured, Measuring, Source, Surveyor};
use super::parts::Part;
use super::pieces::Pieces;
use super::schema::Schema;
use super::sidecars::collides;
use super::statement::MAX_DATASET_FILES;
use super::tree::{Opened, Tree};
use crate::error::{Error, ErrorId, Result};
use crate::files::{Ignored, Links, ModelFiles};
use crate::names::Sha256;

/// What all images of a folder are called together, as one file of the dataset.
pub const IMAGES: &str = "images";
/// What the key of a record is called that is no row.
const KEY: &str = "path";

/// The files of a dataset, in the byte order of their paths. Its images count as one file, and are not held.
pub struct Folder {
    tree: Box<dyn Tree>,
    files: Vec<Held>,
    format: Option<Format>,
    images: bool,
    size: u64,
}

/// An image of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    /// Path within the dataset.
    pub path: String,
    /// Bytes, and SHA-256 of them, where these were asked for.
    pub content: Option<(u64, Sha256)>,
}

/// A file that is no image of many.
struct Held {
    path: String,
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
        let found = ModelFiles::find_if(path, &own, Links::Refuse, &mut |entry| {
            let image = format_of(&entry.path, format) == Format::Images;
            images |= image;
            size = size.saturating_add(entry.size);
            !image
        })
        .map_err(|e| match e.id() {
            ErrorId::InvalidArgument => {
                e.hint("a dataset has files and directories: replace a link by what it points to (cp -L)")
            }
            _ => e,
        })?;
        if found.is_single_file() {
            size = found.entries().iter().map(|e| e.size).sum();
        }
        let files = found.entries().iter().map(|e| Held { path: e.path.clone(), size: e.size }).collect();
        Self { tree: Box::new(Arc::new(found)), files, format, images, size }.checked()
    }

    /// All files of a tree.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn of(tree: Box<dyn Tree>, format: Option<Format>) -> Result<Self> {
        let (mut files, mut images, mut size) = (Vec::new(), false, 0_u64);
        tree.walk(&mut |path, bytes| {
            size = size.saturating_add(bytes);
            match format_of(path, format) {
                Format::Images => images = true,
                _ => files.push(Held { path: path.into(), size: bytes }),
            }
            Ok(())
        })?;
        Self { tree, files, format, images, size }.checked()
    }

    fn checked(self) -> Result<Self> {
        let refused = |id, text: String, hint: &str| Err(Error::new(id, text).hint(hint));
        if self.files.len() + usize::from(self.images) > MAX_DATASET_FILES {
            let text = format!("{} files; a dataset has {MAX_DATASET_FILES} at most", self.files.len());
            return refused(ErrorId::LimitExceeded, text, "pack small files into archives");
        }
        let taken = |path: &str| path == IMAGES || collides(IMAGES, path);
        if let Some(file) = self.files.iter().find(|file| self.images && taken(&file.path)) {
            let text = format!("{:?} is a name that is kept for all images together", file.path);
            return refused(ErrorId::InvalidArgument, text, "give the file another name");
        }
        Ok(self)
    }

    fn format_of(&self, file: &Held) -> Format {
        match format_of(&file.path, self.format) {
            // On its own it is no folder of images.
            Format::Images => Format::Whole,
            format => format,
        }
    }

    /// One of its files.
    ///
    /// # Errors
    /// `DatasetChanged` for none of them; those of the place.
    pub fn open(&self, path: &str) -> Result<Arc<dyn Opened>> {
        if self.files.binary_search_by(|file| file.path.as_str().cmp(path)).is_err() {
            return Err(Error::new(ErrorId::DatasetChanged, format!("{path}: it was signed, and is not there")));
        }
        self.tree.open(path)
    }

    /// Shows all files, in order, and all images as one.
    ///
    /// # Errors
    /// `SourceChanged`; those of `each`.
    pub(super) fn each(&self, each: &mut dyn FnMut(&Part<'_>) -> Result<()>) -> Result<()> {
        let mut images = self.images;
        for held in &self.files {
            if images && *held.path > *IMAGES {
                images = false;
                each(&Part::Images(self))?;
            }
            let file = self.tree.open(&held.path)?;
            each(&Part::File(self.source(held, &file)))?;
            file.unchanged()?;
        }
        if images { each(&Part::Images(self)) } else { Ok(()) }
    }

    /// Whether it has files of such formats.
    pub(super) fn has(&self, what: impl Fn(Format) -> bool) -> bool {
        (self.images && what(Format::Images)) || self.files.iter().any(|held| what(self.format_of(held)))
    }

    /// Hands over its images. `progress` is told the bytes of those that were handed out.
    pub(super) fn with_images<T>(
        &self,
        progress: &(dyn Fn(u64) + Sync),
        with: impl FnOnce(Images<'_>) -> Result<T>,
    ) -> Result<T> {
        let is_image = |path: &str| self.images && format_of(path, self.format) == Format::Images;
        with(Images { files: &*self.tree, is_image: &is_image, progress, size: AtomicU64::new(0) })
    }

    /// Names images by their numbers, from 1 in the order of their paths. `contents`: whether their bytes are read.
    ///
    /// # Errors
    /// `SourceChanged`; those of reading.
    pub fn images_at(&self, numbers: &BTreeSet<u64>, contents: bool) -> Result<BTreeMap<u64, ImageFile>> {
        let (mut found, mut number) = (BTreeMap::new(), 0);
        if numbers.is_empty() || !self.images {
            return Ok(found);
        }
        self.tree.walk(&mut |path, size| {
            if format_of(path, self.format) != Format::Images {
                return Ok(());
            }
            number += 1;
            if numbers.contains(&number) {
                let content = contents.then(|| self.content_of(path, size)).transpose()?;
                found.insert(number, ImageFile { path: path.into(), content });
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn content_of(&self, path: &str, size: u64) -> Result<(u64, Sha256)> {
        let file = self.tree.open(path)?;
        let sha256 = Content { extension: "", size, source: (&*file, 0), place: path }.sha256()?;
        file.unchanged()?;
        Ok((size, sha256))
    }

    /// What is signed of the bytes of its images: SHA-256 over the hashes of all of them.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn sha256_of_images(&self, threads: usize) -> Result<Sha256> {
        let mut nobody = |_: &str, _: &[Sha256], _: &[RecordKey]| Ok(());
        Ok(self.images((&Schema::Files, None, threads), &mut nobody, &|_| ())?.sha256)
    }

    /// Bytes of its images.
    pub(super) fn size_of_images(&self) -> u64 {
        self.size.saturating_sub(self.files.iter().map(|held| held.size).sum())
    }

    fn source<'e>(&self, held: &'e Held, file: &Arc<dyn Opened>) -> Source<'e> {
        Source { path: &held.path, format: self.format_of(held), bytes: file.clone() }
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
        for held in &self.files {
            surveyor.add(&self.source(held, &self.tree.open(&held.path)?), threads)?;
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
        let column = |name: &str| schema.columns().iter().position(|c| c.name == name);
        let (rows, of_files) = match key {
            None => (None, None),
            // What is files has its path for a key, whatever the rows beside it have.
            Some(KEY) if self.has(Format::is_of_files) => (column(KEY), Some(0)),
            Some(name) => {
                let refused = || Error::new(ErrorId::InvalidArgument, format!("no column is named {name:?}"));
                (Some(column(name).ok_or_else(refused)?), Some(0))
            }
        };
        let mut measured = Vec::with_capacity(self.files.len() + 1);
        let mut images = self.images;
        for held in &self.files {
            if images && *held.path > *IMAGES {
                images = false;
                measured.push(self.images((schema, of_files, threads), follow, progress)?);
            }
            let file = self.tree.open(&held.path)?;
            let mut leaves = |hashes: &[Sha256], keys: &[RecordKey]| follow.records(&held.path, hashes, keys);
            let key = if self.format_of(held).is_of_files() { of_files } else { rows };
            let (file_measured, pieces) = self.source(held, &file).measure(schema, key, threads, &mut leaves)?;
            file.unchanged()?;
            follow.pieces(&held.path, &pieces)?;
            measured.push(file_measured);
            progress(held.size);
        }
        if images {
            measured.push(self.images((schema, of_files, threads), follow, progress)?);
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
        fs::remove_file(dir.path().join("images")).unwrap();
        write(dir.path(), "images/pieces", b"1 2");
        let refused = measured(dir.path()).unwrap_err();
        assert!(refused.message().starts_with("\"images/pieces\" is a name that is kept"), "{refused}");
        fs::remove_file(dir.path().join("1.png")).unwrap();
        write(dir.path(), "a.txt", b"without images it is a name like others");
        measured(dir.path()).unwrap();
    }

    #[test]
    fn links_and_pipes_are_no_part_of_a_dataset() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.txt", b"one");
        std::os::unix::fs::symlink("a.txt", dir.path().join("b.txt")).unwrap();
        let refused = measured(dir.path()).unwrap_err();
        assert_eq!(refused.id(), ErrorId::InvalidArgument);
        assert!(refused.hint_text().is_some_and(|hint| !hint.contains("--")), "no option allows it: {refused:?}");
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
