//! Where the signatures of a model lie, and the file of claims beside the first of them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use model_vault::manifest::oms::{BUNDLE_NAME, CLAIMS_NAME, MAX_BUNDLE_LEN};
use model_vault::{Error, ErrorId, Result};

use super::destination::{ORDINARY, parent};
use super::temporary::{self, Temporary};

/// The two files with a model's signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The bundle that every OpenSSF verifier reads.
    pub signature: PathBuf,
    /// The same statement under other algorithms, and further statements: a bundle a line.
    pub claims: PathBuf,
}

impl Places {
    /// Of a model: within a directory, beside a file, or where `signature` says.
    ///
    /// # Errors
    /// `InvalidArgument` if the signature would be the model itself.
    pub fn of(model: &Path, signature: Option<&Path>) -> Result<Self> {
        let signature = match signature {
            Some(given) => given.to_path_buf(),
            None if model.is_dir() => model.join(BUNDLE_NAME),
            None => with_suffix(model, ".sig"),
        };
        if signature.as_path() == model {
            return Err(Error::new(ErrorId::InvalidArgument, "the signature would take the model's place"));
        }
        let claims = match signature.file_name().and_then(|n| n.to_str()) {
            // A file named `model` has its own.
            Some(BUNDLE_NAME) if !model.is_file() => signature.with_file_name(CLAIMS_NAME),
            _ => with_suffix(&signature.with_extension(""), &format!(".{CLAIMS_NAME}")),
        };
        Ok(Self { signature, claims })
    }

    /// Removes what a killed command left beside them: it would be signed as part of the model.
    pub fn sweep(&self) {
        temporary::sweep(parent(&self.signature));
    }

    /// Told before the model is read, not after.
    ///
    /// # Errors
    /// What writing there would fail with.
    pub fn must_be_writable(&self) -> Result<()> {
        let directory = parent(&self.signature);
        rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .map_err(|e| super::on(directory)(e.into()).hint("name a place for the signature with --signature FILE"))
    }

    /// Those that lie within the model, as paths relative to it: no statement covers them.
    pub fn within(&self, model: &Path) -> Result<Vec<String>> {
        if !model.is_dir() {
            return Ok(Vec::new());
        }
        let root = model.canonicalize().map_err(super::on(model))?;
        let mut within = Vec::new();
        for file in [&self.signature, &self.claims] {
            let Some(name) = file.file_name() else { continue };
            // The file need not exist yet, its directory does.
            let Ok(parent) = parent(file).canonicalize() else { continue };
            if let Ok(relative) = parent.join(name).strip_prefix(&root) {
                within.push(relative.to_string_lossy().into_owned());
            }
        }
        Ok(within)
    }
}

/// A file of signatures. Where a directory or a pipe has its name, somebody hides something there, or waits for us.
pub fn read_signatures(path: &Path) -> Result<Vec<u8>> {
    let facts = path.metadata().map_err(super::on(path))?;
    if !facts.is_file() || facts.len() > MAX_BUNDLE_LEN {
        let what = if facts.is_file() { "larger than 64 MiB" } else { "not a file" };
        return Err(Error::new(ErrorId::BundleMalformed, format!("{}: {what}", path.display())));
    }
    super::read_small(path, MAX_BUNDLE_LEN).map_err(super::on(path))
}

/// Writes a signature, in place of the one that was there.
pub fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let (temporary, mut file) = Temporary::file(path, ORDINARY)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        temporary.rename(path)?;
        File::open(parent(path))?.sync_all()
    };
    write().map_err(super::on(path))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The claims of a model: bundles, one a line.
pub mod claims {
    use super::*;
    use model_vault::manifest::oms::{Bundle, is_model_signature};

    /// More lines than any model has claims.
    const MAX_LINES: usize = 1024;

    /// All of them; none if there is no such file.
    ///
    /// # Errors
    /// `BundleMalformed`, with the line.
    pub fn read(path: &Path) -> Result<Vec<Bundle>> {
        Ok(lines(path)?.into_iter().map(|(_, bundle)| bundle).collect())
    }

    /// The claims with new signatures over the files. Those over other files are about what is no more, and go; those of
    /// other signers over the very same stay, and so do statements about other things, as they are written.
    pub fn with_signatures(path: &Path, signatures: &[Bundle], payload: &[u8]) -> Result<Vec<u8>> {
        let mut text: Vec<u8> = signatures.iter().flat_map(|bundle| bundle.to_json().into_bytes()).collect();
        let lines = lines(path).map_err(|e| match e.id() {
            ErrorId::BundleMalformed => e.hint("a file of another kind has the name of the claims: move or rename it"),
            _ => e,
        })?;
        for (line, bundle) in lines {
            let same = bundle.payload == payload && signatures.iter().all(|new| new.material != bundle.material);
            if same || !is_model_signature(&bundle.payload) {
                text.extend(line);
                text.push(b'\n');
            }
        }
        Ok(text)
    }

    fn lines(path: &Path) -> Result<Vec<(Vec<u8>, Bundle)>> {
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = read_signatures(path)?;
        let mut read = Vec::new();
        for (number, line) in text.split(|b| *b == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            if read.len() == MAX_LINES {
                let text = format!("{}: more than {MAX_LINES} claims", path.display());
                return Err(Error::new(ErrorId::BundleMalformed, text));
            }
            let bundle = Bundle::from_json(line);
            let bundle = bundle.map_err(|e| Error::from(e).on(format!("{}:{}", path.display(), number + 1)))?;
            read.push((line.to_vec(), bundle));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_lie_within_a_directory_or_beside_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.onnx");
        std::fs::write(&file, "x").unwrap();
        let of = |model: &Path, signature: Option<&Path>| Places::of(model, signature).unwrap();
        let inside = of(dir.path(), None);
        assert_eq!(inside.signature, dir.path().join("model.sig"));
        assert_eq!(inside.claims, dir.path().join("claims.jsonl"));
        assert_eq!(inside.within(dir.path()).unwrap(), ["model.sig", "claims.jsonl"]);
        let beside = of(&file, None);
        assert_eq!(beside.signature, dir.path().join("model.onnx.sig"));
        assert_eq!(beside.claims, dir.path().join("model.onnx.claims.jsonl"));
        let elsewhere = of(dir.path(), Some(Path::new("/tmp/other.sig")));
        assert_eq!(elsewhere.claims, Path::new("/tmp/other.claims.jsonl"));
        assert!(elsewhere.within(dir.path()).unwrap().is_empty());
        std::fs::write(dir.path().join("model"), "x").unwrap();
        assert_eq!(of(&dir.path().join("model"), None).claims, dir.path().join("model.claims.jsonl"));
        assert!(Places::of(&file, Some(&file)).is_err());
    }
}
