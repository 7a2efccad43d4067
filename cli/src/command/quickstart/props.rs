//! What the play needs of files: comparing what was fetched, copying a vault, damaging a copy.

use std::fs;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model_vault::{Error, ErrorId, Result};

use super::play::Stage;

/// The decision of a record that refuses, and of one that permits, as an export quotes them.
const DENIED: &str = r#"{\"deny\":\"Denied\"}"#;
const PERMITTED: &str = r#"\"allow\""#;

/// Compares a file, or a directory with all below it, with what was fetched. Returns the bytes compared.
pub fn compare(original: &Path, fetched: &Path) -> Result<u64> {
    if original.is_file() {
        let name = original.file_name().unwrap_or_default();
        return compare_files(original, &fetched.join(name));
    }
    let mut total = 0;
    for entry in fs::read_dir(original)? {
        let entry = entry?;
        let (theirs, ours) = (entry.path(), fetched.join(entry.file_name()));
        total += if theirs.is_dir() { compare(&theirs, &ours)? } else { compare_files(&theirs, &ours)? };
    }
    Ok(total)
}

fn compare_files(original: &Path, fetched: &Path) -> Result<u64> {
    let (mut a, mut b) = (fs::File::open(original)?, fs::File::open(fetched)?);
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut total = 0;
    loop {
        let read = a.read(&mut left)?;
        let same = if read == 0 {
            b.read(&mut right)? == 0
        } else {
            b.read_exact(&mut right[..read]).is_ok() && left[..read] == right[..read]
        };
        if !same {
            let text = format!("{} differs from {}", fetched.display(), original.display());
            return Err(Error::new(ErrorId::MemberMismatch, text));
        }
        if read == 0 {
            return Ok(total);
        }
        total += read as u64;
    }
}

/// Copies the home and flips one byte in the middle of the sealed body. Returns the file, as seen from the stage.
pub fn flip_a_byte(stage: &Stage) -> Result<PathBuf> {
    let tampered = stage.dir().join("tampered");
    copy_tree(&stage.home(), &tampered)?;
    let mut bodies = Vec::new();
    find(&tampered.join("blobs"), ".body", &mut bodies)?;
    // Ids of versions grow with time, and the model was sealed first.
    let body = bodies.into_iter().min_by(|a, b| a.file_name().cmp(&b.file_name()));
    let body = body.ok_or_else(|| Error::new(ErrorId::NotFound, "nothing is sealed"))?;
    let mut bytes = fs::read(&body)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&body, bytes)?;
    Ok(body.strip_prefix(stage.dir()).unwrap_or(&body).to_owned())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Files below a directory whose names end so.
fn find(dir: &Path, suffix: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, suffix, found)?;
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    Ok(())
}

/// Copies an exported log and turns its last denial into a permit.
pub fn whitewash(log: &Path, to: &Path) -> Result<()> {
    let text = fs::read_to_string(log).map_err(|e| Error::from(e).on(log.display()))?;
    let (before, after) = text
        .rsplit_once(DENIED)
        .ok_or_else(|| Error::new(ErrorId::Internal, format!("no denial in {}", log.display())))?;
    fs::write(to, format!("{before}{PERMITTED}{after}")).map_err(|e| Error::from(e).on(to.display()))
}
