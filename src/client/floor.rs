//! The small state file that remembers where each tag was seen last (docs/trust.md 5, 4).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorId, Result};
use crate::manifest::TagStatement;
use crate::names::Root;

/// Most bytes of the file: more than 50 000 tags.
const MAX_LEN: u64 = 16 << 20;
/// Of the file. Version 1 kept a number for each reference: the highest version seen.
const VERSION: u32 = 2;

/// Where a tag was when it was seen last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Number of the version it was at.
    pub version: u64,
    /// The move that brought it there, and the root of that version; absent in what a release without tag statements kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SeenMove>,
}

/// What a tag statement said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenMove {
    /// Number of the move.
    pub sequence: u64,
    /// Sealed root of the version.
    pub root: Root,
}

impl From<&TagStatement> for Seen {
    fn from(s: &TagStatement) -> Self {
        Self { version: s.version, signed: Some(SeenMove { sequence: s.sequence, root: s.root }) }
    }
}

impl Seen {
    /// Whether what a server shows now may follow what was seen. A lower version under a higher sequence may: an operator moved
    /// the tag back, and signed that.
    ///
    /// # Errors
    /// `VersionRollback`: an older state of the tag, or two states at the same move.
    pub fn allows(&self, now: &TagStatement) -> Result<()> {
        let tag = format!("{}/{}@{}", now.namespace, now.name, now.tag);
        let (shown, version) = (now.sequence, now.version);
        let text = match &self.signed {
            Some(seen) if shown < seen.sequence => format!(
                "{tag}: rollback: move {} was seen before (to v{}), the server shows move {shown} (to v{version})",
                seen.sequence, self.version
            ),
            Some(seen) if shown == seen.sequence && now.root != seen.root => format!(
                "{tag}: rollback: move {shown} led to v{} (b3:{}) before, the server shows v{version} (b3:{})",
                self.version, seen.root, now.root
            ),
            // Nothing is known of the moves then: the version must not fall.
            None if version < self.version => {
                format!("{tag}: rollback: led to v{} before, the server shows v{version}", self.version)
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorId::VersionRollback, text))
    }

    fn sequence(&self) -> u64 {
        self.signed.as_ref().map_or(0, |s| s.sequence)
    }
}

/// Where each tag was seen last, so that a server that shows older states is found out.
#[derive(Debug)]
pub struct TagFloor {
    path: PathBuf,
    floors: BTreeMap<String, Seen>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Floor {
    /// Version 1.
    Version(u64),
    Seen(Seen),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<F> {
    version: u32,
    floors: BTreeMap<String, F>,
}

impl TagFloor {
    /// Reads the file; one that does not exist is an empty one.
    ///
    /// # Errors
    /// `ConfigInvalid` if it is not such a file: guessing would forget what was seen.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.into(), floors: read(path)? })
    }

    /// What was seen under `key`.
    pub fn of(&self, key: &str) -> Option<&Seen> {
        self.floors.get(key)
    }

    /// Remembers what `now` says under `key`, unless a later move was seen; on disk when this returns. Other processes may do
    /// so at the same time.
    ///
    /// # Errors
    /// `VersionRollback` if another process saw the same move lead elsewhere meanwhile.
    pub fn raise(&mut self, key: &str, now: &TagStatement) -> Result<()> {
        let seen = Seen::from(now);
        if self.of(key) == Some(&seen) {
            return Ok(());
        }
        let name = |suffix: &str| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let lock = private().open(name(".lock")).map_err(|e| self.failed(e))?;
        lock.lock().map_err(|e| self.failed(e))?;
        let mut floors = read(&self.path)?;
        match floors.get(key) {
            // Another fetch was later; this one was in time when it was checked.
            Some(known) if known.sequence() > seen.sequence() => {
                self.floors = floors;
                return Ok(());
            }
            Some(known) => known.allows(now)?,
            None => {}
        }
        floors.insert(key.into(), seen);
        let text = serde_json::to_string(&Document { version: VERSION, floors: floors.clone() })
            .map_err(|e| Error::new(ErrorId::Internal, e.to_string()))?;
        let temporary = name(".new");
        let write = || -> io::Result<()> {
            let mut file = private().truncate(true).open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(parent)?.sync_all()
        };
        write().map_err(|e| self.failed(e))?;
        self.floors = floors;
        Ok(())
    }

    fn failed(&self, e: io::Error) -> Error {
        Error::from(e).on(self.path.display())
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn read(path: &Path) -> Result<BTreeMap<String, Seen>> {
    let text = match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Ok(facts) if facts.len() > MAX_LEN => Err(io::Error::other("the file is too large")),
        Ok(_) => fs::read_to_string(path),
        Err(e) => Err(e),
    };
    let invalid = |e: &dyn std::fmt::Display| {
        Error::new(ErrorId::ConfigInvalid, format!("{}: not a record of tags seen: {e}", path.display()))
            .hint("remove the file to start anew; what was seen before is forgotten then")
    };
    let document: Document<Floor> = serde_json::from_str(&text.map_err(|e| invalid(&e))?).map_err(|e| invalid(&e))?;
    let floor = |floor| match (document.version, floor) {
        (1, Floor::Version(version)) => Ok(Seen { version, signed: None }),
        (VERSION, Floor::Seen(seen)) => Ok(seen),
        _ => Err(invalid(&"a floor is of another form than the file")),
    };
    if !(1..=VERSION).contains(&document.version) {
        return Err(invalid(&"written by a newer release"));
    }
    document.floors.into_iter().map(|(key, value)| Ok((key, floor(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Timestamp;

    fn at(sequence: u64, version: u64) -> TagStatement {
        TagStatement {
            namespace: "default".parse().unwrap(),
            name: "resnet".parse().unwrap(),
            tag: "prod".parse().unwrap(),
            version,
            root: Root([version as u8; 32]),
            sequence,
            created: Timestamp::from_millis(1),
            expires: Timestamp::from_millis(2),
        }
    }

    #[test]
    fn a_tag_goes_forward_by_its_moves_not_by_its_versions() {
        let seen = Seen::from(&at(5, 3));
        let id = |seen: &Seen, sequence, version| seen.allows(&at(sequence, version)).map_err(|e| e.id());
        assert_eq!(id(&seen, 5, 3), Ok(()));
        assert_eq!(id(&seen, 6, 4), Ok(()));
        assert_eq!(id(&seen, 6, 1), Ok(()), "an operator moved it back");
        assert_eq!(id(&seen, 4, 3), Err(ErrorId::VersionRollback));
        assert_eq!(id(&seen, 4, 9), Err(ErrorId::VersionRollback));
        assert_eq!(id(&seen, 5, 4), Err(ErrorId::VersionRollback), "two states at one move");
        let old = Seen { version: 3, signed: None };
        assert_eq!((id(&old, 1, 3), id(&old, 9, 2)), (Ok(()), Err(ErrorId::VersionRollback)));
    }

    #[test]
    fn what_was_seen_is_remembered_and_never_lowered() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("seen.json");
        let mut one = TagFloor::open(&path).unwrap();
        let mut other = TagFloor::open(&path).unwrap();
        assert_eq!(one.of("a"), None);
        one.raise("a", &at(3, 3)).unwrap();
        other.raise("b", &at(7, 1)).unwrap();
        other.raise("a", &at(2, 2)).unwrap();
        assert_eq!(other.raise("a", &at(3, 4)).unwrap_err().id(), ErrorId::VersionRollback);
        let mut read = TagFloor::open(&path).unwrap();
        assert_eq!((read.of("a"), read.of("b")), (Some(&Seen::from(&at(3, 3))), Some(&Seen::from(&at(7, 1)))));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        read.raise("a", &at(4, 1)).unwrap();
        assert_eq!(TagFloor::open(&path).unwrap().of("a"), Some(&Seen::from(&at(4, 1))));
    }

    #[test]
    fn the_record_of_an_older_release_is_taken_over() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("seen.json");
        fs::write(&path, "{\"version\":1,\"floors\":{\"a\":3,\"b\":4}}").unwrap();
        let mut floor = TagFloor::open(&path).unwrap();
        assert_eq!(floor.of("a"), Some(&Seen { version: 3, signed: None }));
        assert_eq!(floor.raise("a", &at(1, 2)).unwrap_err().id(), ErrorId::VersionRollback);
        floor.raise("a", &at(1, 3)).unwrap();
        let expected = format!(
            "{{\"version\":2,\"floors\":{{\"a\":{{\"version\":3,\"signed\":{{\"sequence\":1,\"root\":\"{}\"}}}},\"b\":{{\"version\":4}}}}}}",
            "03".repeat(32)
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(TagFloor::open(&path).unwrap().of("b"), Some(&Seen { version: 4, signed: None }));
    }

    #[test]
    fn a_damaged_record_is_an_error_and_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("seen.json");
        for text in [
            "",
            "{}",
            "{\"version\":3,\"floors\":{}}",
            "{\"version\":0,\"floors\":{}}",
            "{\"version\":1,\"floors\":{\"a\":-1}}",
            "{\"version\":2,\"floors\":{\"a\":1}}",
            "{\"version\":1,\"floors\":{\"a\":{\"version\":1}}}",
            "{\"version\":2,\"floors\":{\"a\":{\"version\":1,\"signed\":{\"sequence\":1}}}}",
            "{\"version\":2,\"floors\":{\"a\":{\"version\":1,\"extra\":1}}}",
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(TagFloor::open(&path).unwrap_err().id(), ErrorId::ConfigInvalid, "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
