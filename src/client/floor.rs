//! The small state file that remembers the highest version seen for each reference (docs/trust.md 5, 3).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorId, Result};

/// Most bytes of the file: more than 100 000 references.
const MAX_LEN: u64 = 16 << 20;

/// Highest version seen for each reference, so that a tag that was moved back is noticed.
#[derive(Debug)]
pub struct VersionFloor {
    path: PathBuf,
    floors: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    floors: BTreeMap<String, u64>,
}

impl VersionFloor {
    /// Reads the file; one that does not exist is an empty one.
    ///
    /// # Errors
    /// `ConfigInvalid` if it is not such a file: guessing would forget what was seen.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.into(), floors: read(path)? })
    }

    /// Highest version seen for `key`.
    pub fn of(&self, key: &str) -> Option<u64> {
        self.floors.get(key).copied()
    }

    /// Remembers `version` for `key` unless a higher one was seen; on disk when this returns. Other processes may do so at
    /// the same time.
    pub fn raise(&mut self, key: &str, version: u64) -> Result<()> {
        if self.of(key).is_some_and(|seen| seen >= version) {
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
        let entry = floors.entry(key.into()).or_insert(version);
        *entry = version.max(*entry);
        let text = serde_json::to_string(&Document { version: 1, floors: floors.clone() })
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

fn read(path: &Path) -> Result<BTreeMap<String, u64>> {
    let text = match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Ok(facts) if facts.len() > MAX_LEN => Err(io::Error::other("the file is too large")),
        Ok(_) => fs::read_to_string(path),
        Err(e) => Err(e),
    };
    let invalid = |e: &dyn std::fmt::Display| {
        Error::new(ErrorId::ConfigInvalid, format!("{}: not a record of versions seen: {e}", path.display()))
            .hint("remove the file to start anew; versions seen before are forgotten then")
    };
    let document: Document = serde_json::from_str(&text.map_err(|e| invalid(&e))?).map_err(|e| invalid(&e))?;
    if document.version == 1 { Ok(document.floors) } else { Err(invalid(&"written by a newer release")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_remembered_and_never_lowered() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("seen.json");
        let mut one = VersionFloor::open(&path).unwrap();
        let mut other = VersionFloor::open(&path).unwrap();
        assert_eq!(one.of("a"), None);
        one.raise("a", 3).unwrap();
        other.raise("b", 7).unwrap();
        other.raise("a", 2).unwrap();
        let read = VersionFloor::open(&path).unwrap();
        assert_eq!((read.of("a"), read.of("b")), (Some(3), Some(7)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_record_is_an_error_and_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("seen.json");
        for text in ["", "{}", "{\"version\":2,\"floors\":{}}", "{\"version\":1,\"floors\":{\"a\":-1}}"] {
            fs::write(&path, text).unwrap();
            assert_eq!(VersionFloor::open(&path).unwrap_err().id(), ErrorId::ConfigInvalid);
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
