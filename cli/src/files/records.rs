//! What earlier signings read, for `vault sign --since`: `$XDG_CACHE_HOME/modelvault/signed/`, a file a signing, the newest of
//! them kept. Each is signed; what is missing, altered or another's costs time and nothing else.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use model_vault::manifest::oms::MAX_BUNDLE_LEN;

use super::temporary::{self, Temporary};

/// Signings remembered.
const KEPT: usize = 64;
/// A record is shorter than the statement it belongs to.
const MAX: u64 = MAX_BUNDLE_LEN;

fn directory() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Some(cache?.join("modelvault/signed"))
}

/// The record of that name, if there is one.
pub fn read(name: &str) -> Option<Vec<u8>> {
    super::read_small(&directory()?.join(name), MAX).ok()
}

/// Keeps a record, for its owner's eyes: it has the names of files.
pub fn keep(name: &str, text: &str) -> io::Result<()> {
    let Some(directory) = directory().filter(|_| text.len() as u64 <= MAX) else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    temporary::sweep(&directory);
    let (temporary, mut file) = Temporary::file(&directory.join(name), 0o600)?;
    file.write_all(text.as_bytes())?;
    temporary.rename(&directory.join(name))?;
    let mut all = fs::read_dir(&directory)?
        .map(|entry| entry.and_then(|e| Ok((e.metadata()?.modified()?, e.path()))))
        .collect::<io::Result<Vec<_>>>()?;
    all.sort_unstable();
    let many = all.len().saturating_sub(KEPT);
    all.drain(..many).try_for_each(|(_, path)| fs::remove_file(path))
}
