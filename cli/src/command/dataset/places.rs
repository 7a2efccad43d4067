//! Where the statement of a dataset and the hashes of its records lie: in its directory, or beside its file.

use std::path::{Path, PathBuf};

use model_vault::dataset::{Beside, Folder, Format, Schema};
use model_vault::files::Ignored;
use model_vault::manifest::oms::{Bundle, MAX_BUNDLE_LEN};
use model_vault::{Error, ErrorId, Result, json};

use super::origin::{named_as_reference, reference};
use super::statements::Statements;
use crate::files::signature::read_signatures;
use crate::files::{on, read_small};

/// In a directory; `.NAME` is put before it beside a file.
pub const STATEMENT: &str = "dataset.sig";
pub const RECORDS: &str = "dataset.tree";
/// What signs takes paths alone.
const SIGN_FIRST: &str =
    "check the path; data is signed before it is sealed: vault dataset sign DIR, then vault seal DIR --kind dataset";
const MAX_SCHEMA: u64 = 4 << 20;

/// The two places.
pub struct Places {
    /// Signed statements of all versions: a bundle a line.
    pub statement: PathBuf,
    /// The hashes of the records, in a directory a file.
    pub records: PathBuf,
    /// Within the dataset: what is signed is without them.
    own: Vec<String>,
}

impl Places {
    /// Of a dataset that is there.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn of(path: &Path) -> Result<Self> {
        let facts = path.metadata().map_err(|e| {
            let error = on(path)(e);
            match error.id() {
                ErrorId::NotFound if named_as_reference(path) => {
                    let text = format!("{}: what is sealed is not signed any more", path.display());
                    Error::new(ErrorId::InvalidArgument, text).hint(SIGN_FIRST)
                }
                ErrorId::NotFound if reference(path).is_some() => error.hint(SIGN_FIRST),
                _ => error,
            }
        })?;
        if facts.is_dir() {
            let own = vec![STATEMENT.into(), RECORDS.into(), format!("{RECORDS}.new")];
            return Ok(Self { statement: path.join(STATEMENT), records: path.join(RECORDS), own });
        }
        let beside = |name: &str| {
            let mut file = path.as_os_str().to_owned();
            file.push(".");
            file.push(name);
            PathBuf::from(file)
        };
        Ok(Self { statement: beside(STATEMENT), records: beside(RECORDS), own: Vec::new() })
    }

    /// Where the next signing keeps them until all is measured, if that is within the dataset.
    pub fn unfinished(&self) -> Option<PathBuf> {
        (!self.own.is_empty()).then(|| self.records.with_extension("tree.new"))
    }

    /// The files of the dataset, without these.
    ///
    /// # Errors
    /// As [`Folder::find`].
    pub fn folder(&self, path: &Path, format: Option<Format>) -> Result<Folder> {
        Folder::find(path, Ignored::new(self.own.iter().cloned()), format)
    }

    /// The files of a dataset that was signed, which had neither links nor pipes.
    ///
    /// # Errors
    /// `DatasetChanged` for what no dataset has; else as [`folder`](Self::folder).
    pub fn signed_folder(&self, path: &Path) -> Result<Folder> {
        self.folder(path, None).map_err(|e| match e.id() {
            ErrorId::InvalidArgument => not_signed(&e),
            _ => e,
        })
    }

    /// All statements there are, whoever signed them; none if there is no such file.
    ///
    /// # Errors
    /// `BundleMalformed`, with the line.
    pub fn statements(&self) -> Result<Statements> {
        let place = self.statement.display().to_string();
        match self.statement.exists() {
            true => Statements::of(place, &read_signatures(&self.statement)?),
            false => Ok(Statements::none(place, "vault dataset sign makes it")),
        }
    }

    /// The text of the statement file with further bundles.
    ///
    /// # Errors
    /// `LimitExceeded` where nobody would read it any more.
    pub fn with(bundles: &[Bundle]) -> Result<Vec<u8>> {
        let text: String = bundles.iter().map(|bundle| bundle.to_json() + "\n").collect();
        if text.len() as u64 > MAX_BUNDLE_LEN {
            return Err(Error::new(ErrorId::LimitExceeded, "the statements of all versions are larger than 64 MiB")
                .hint("move dataset.sig away, and sign anew; fewer, larger files make statements short"));
        }
        Ok(text.into_bytes())
    }
}

impl Beside for Places {
    fn beside(&self, file: &str, what: &str, most: u64) -> Result<Vec<u8>> {
        let path = self.records.join(file).join(what);
        read_small(&path, most).map_err(on(&path)).map_err(|e| match e.id() {
            ErrorId::InvalidArgument => not_signed(&e),
            _ => e,
        })
    }
}

/// What is there is something that cannot have been signed.
pub fn not_signed(e: &Error) -> Error {
    Error::new(ErrorId::DatasetChanged, format!("it is not what was signed: {}", e.message()))
}

/// `--schema`
///
/// # Errors
/// `InvalidArgument`.
pub fn schema(file: &Path) -> Result<Schema> {
    let text = read_small(file, MAX_SCHEMA).map_err(on(file))?;
    let value = json::parse(&text, 8)
        .map_err(|e| Error::new(ErrorId::InvalidArgument, format!("not JSON: {e}")).on(file.display()))?;
    Schema::from_json(&value).map_err(|e| e.on(file.display()))
}
