//! What signing keeps beside the files of a dataset, by name: which of it a statement calls for, and what else lies there.
//!
//! Whatever lies in that directory is no part of what was signed, so a file that nobody looks for could be a file of records that a
//! careless reader (`data/**/*.csv`) takes for one of the dataset.

use super::measure::Measured;
use super::statement::DatasetStatement;
use crate::crypto::tiles::{LEVELS, TileId, WIDTH};

/// The list of a file's pieces ([`Pieces`](super::Pieces)).
pub const PIECES: &str = "pieces";
/// Who supplied which records of a file ([`Runs`](super::Runs)).
pub const CONTRIBUTORS: &str = "contributors";
/// The hashes of a file's records ([`Leaves`](super::Leaves)).
const TILES: &str = "tile";

/// What was found beside the files of one version, while it is walked. Memory: a number for each file.
pub struct Sidecars<'a> {
    statement: &'a DatasetStatement,
    found: Vec<Found>,
}

#[derive(Clone, Copy, Default)]
struct Found {
    pieces: bool,
    contributors: bool,
    tiles: u64,
}

impl<'a> Sidecars<'a> {
    /// Before anything was found.
    pub fn of(statement: &'a DatasetStatement) -> Self {
        Self { statement, found: vec![Found::default(); statement.files.len()] }
    }

    /// Whether the statement calls for a file of this path, relative to the directory; each is shown once.
    pub fn calls_for(&mut self, path: &str) -> bool {
        let Some((of, what)) = split(path) else { return false };
        let files = &self.statement.files;
        let Ok(at) = files.binary_search_by(|file| file.path.as_str().cmp(of)) else { return false };
        let (file, found) = (&files[at], &mut self.found[at]);
        match what {
            PIECES => found.pieces = true,
            CONTRIBUTORS if self.statement.attribution.files.contains_key(of) => found.contributors = true,
            tile if is_tile(tile, file.records) => found.tiles += 1,
            _ => return false,
        }
        true
    }

    /// Paths that it calls for and that were not found; `FILE/tile` for any of a file's tiles.
    pub fn missing(&self) -> impl Iterator<Item = String> + '_ {
        let attributed = &self.statement.attribution.files;
        self.statement.files.iter().zip(&self.found).flat_map(move |(file, found)| {
            let absent = |gone: bool, what: &str| gone.then(|| format!("{}/{what}", file.path));
            let contributors = attributed.contains_key(&file.path) && !found.contributors;
            [
                absent(!found.pieces, PIECES),
                absent(contributors, CONTRIBUTORS),
                absent(found.tiles < tiles(file), TILES),
            ]
            .into_iter()
            .flatten()
        })
    }
}

/// Whether what is kept of the images, which count as one file of this name, would lie where what is kept of this other file lies.
pub(super) fn collides(images: &str, file: &str) -> bool {
    let below = file.strip_prefix(images).and_then(|rest| rest.strip_prefix('/'));
    let first = below.map(|rest| rest.split('/').next().unwrap_or(rest));
    first.is_some_and(|first| [PIECES, CONTRIBUTORS, TILES].contains(&first))
}

/// The file that a path is about, and what of it.
fn split(path: &str) -> Option<(&str, &str)> {
    match path.rsplit_once('/')? {
        (file, what @ (PIECES | CONTRIBUTORS)) => Some((file, what)),
        _ => path.rsplit_once("/tile/"),
    }
}

/// Whether a tree of so many leaves has a tile of this path.
fn is_tile(path: &str, leaves: u64) -> bool {
    let read = || {
        let (level, rest) = path.split_once('/')?;
        let index = rest.split_once(".p/").map_or(rest, |(index, _)| index).replace(['x', '/'], "");
        Some(TileId { level: level.parse().ok().filter(|level| *level < LEVELS)?, index: index.parse().ok()? })
    };
    // A tile has one path.
    read().is_some_and(|id| {
        let width = id.width(leaves);
        width > 0 && id.path(width).strip_prefix("tile/") == Some(path)
    })
}

fn tiles(file: &Measured) -> u64 {
    let hashes = |level: u8| file.records.checked_shr(8 * u32::from(level)).unwrap_or(0);
    (0..LEVELS).map(|level| hashes(level).div_ceil(WIDTH)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::frame::Format;
    use super::super::leaves::LeafWriter;
    use super::super::schema::Schema;
    use super::super::statement::{Attribution, Described};
    use super::*;
    use crate::crypto::hash::sha256;
    use crate::files::{Ignored, Links, ModelFiles};
    use crate::names::Timestamp;

    fn statement(files: &[(&str, u64)]) -> DatasetStatement {
        let file = |(path, records): &(&str, u64)| Measured {
            path: (*path).into(),
            format: Format::Lines,
            size: 0,
            sha256: sha256(b""),
            records: *records,
            root: sha256(b""),
            pieces: sha256(b""),
        };
        let attributed = ("b/a.csv".to_owned(), sha256(b""));
        DatasetStatement {
            name: "d".into(),
            version: 1,
            previous: None,
            created: Timestamp::from_millis(0),
            expires: None,
            schema: Schema::Lines,
            files: files.iter().map(file).collect(),
            multiset: None,
            attribution: Attribution { files: [attributed].into(), ..Attribution::default() },
            derived_from: Vec::new(),
            described: Described::default(),
        }
    }

    #[test]
    fn only_what_signing_makes_is_called_for() {
        let statement = statement(&[("a.csv", 300), ("b/a.csv", 70_000), ("tile/a.txt", 1)]);
        let mut beside = Sidecars::of(&statement);
        for (path, called_for) in [
            ("a.csv/pieces", true),
            ("b/a.csv/contributors", true),
            ("a.csv/contributors", false),
            ("a.csv/tile/0/000", true),
            ("a.csv/tile/0/001.p/44", true),
            ("a.csv/tile/0/001", false),
            ("a.csv/tile/0/001.p/43", false),
            ("a.csv/tile/0/002", false),
            ("a.csv/tile/0/999", false),
            ("a.csv/tile/0/x000/000", false),
            ("a.csv/tile/1/000.p/1", true),
            ("a.csv/tile/2/000.p/1", false),
            ("a.csv/tile/00/000", false),
            ("a.csv/tile/9/000", false),
            ("b/a.csv/tile/2/000.p/1", true),
            ("tile/a.txt/tile/0/000.p/1", true),
            ("evil.csv", false),
            ("pieces", false),
            ("evil.csv/pieces", false),
            ("a.csv/evil.csv", false),
            ("a.csv/tile/evil.csv", false),
        ] {
            assert_eq!(beside.calls_for(path), called_for, "{path}");
        }
    }

    #[test]
    fn what_a_writer_of_hashes_leaves_is_all_that_is_called_for() {
        for records in [0_u64, 1, 255, 256, 257, 65_535, 65_536, 70_000] {
            let (dir, statement) = (tempfile::tempdir().unwrap(), statement(&[("a.csv", records)]));
            let mut writer = LeafWriter::create(&dir.path().join("a.csv")).unwrap();
            (0..records).for_each(|i| writer.push(&[sha256(&i.to_le_bytes())]).unwrap());
            writer.finish().unwrap();
            let mut beside = Sidecars::of(&statement);
            assert_eq!(beside.missing().count(), 1 + usize::from(records > 0));
            let found = ModelFiles::find(dir.path(), &Ignored::default(), Links::Refuse).unwrap();
            assert!(found.entries().iter().all(|entry| beside.calls_for(&entry.path)), "{records}");
            assert_eq!(beside.missing().collect::<Vec<_>>(), ["a.csv/pieces"], "{records}");
        }
    }

    #[test]
    fn files_beside_images_do_not_take_the_places_of_what_is_kept_of_these() {
        for (file, taken) in [
            ("images/pieces", true),
            ("images/contributors/a.csv", true),
            ("images/tile/0/000", true),
            ("images/labels.csv", false),
            ("images/tiles.csv", false),
            ("pieces", false),
            ("other/images/pieces", false),
        ] {
            assert_eq!(collides("images", file), taken, "{file}");
        }
    }
}
