//! Where a command finds a dataset: on disk, or sealed in a vault. The commands do not tell the two apart.

use std::path::Path;
use std::sync::Arc;

use model_vault::dataset::{Beside, DatasetStatement, Folder, Format, Measured, PIECES, Pieces, Place, image_pieces};
use model_vault::names::Reference;
use model_vault::seal::io::ReadAt;
use model_vault::{Error, ErrorId, Result};

use super::beside::{Differing, differing};
use super::places::Places;
use super::sealed::Sealed;
use super::statements::Statements;
use crate::args::Daemon;
use crate::command::Context;

/// A dataset, wherever it lies.
pub struct Origin<'a> {
    path: &'a Path,
    kind: Kind,
}

enum Kind {
    Disk(Places),
    Sealed(Box<Sealed>),
}

impl<'a> Origin<'a> {
    /// What is there as a file or directory, else the sealed version of that name. `keep_state`: whether the place of a tag is held
    /// against where it was seen, and remembered.
    ///
    /// # Errors
    /// `NotFound`; those of opening a sealed version.
    pub fn find(cx: &Context<'_>, path: &'a Path, daemon: &Daemon, keep_state: bool) -> Result<Self> {
        let Some(reference) = reference(path) else {
            let meant = named_as_reference(path) && path.to_str().is_some_and(|text| !text.starts_with(['.', '/']));
            if meant && path.symlink_metadata().is_err() {
                return Err(no_reference(path));
            }
            let may_be_sealed = path.to_str().is_some_and(|text| text.parse::<Reference>().is_ok());
            if may_be_sealed && (daemon.server.is_some() || daemon.enrolment.is_some()) {
                let path = path.display();
                cx.out.message(format!("note: {path} is what lies here under that name, and no vault is asked; vault://NAMESPACE/NAME is what is sealed"));
            }
            return Self::on_disk(path);
        };
        let sealed = Sealed::open(cx, &reference, daemon, keep_state).map_err(|e| match e.id() {
            // It may have been meant as a path.
            ErrorId::NotFound | ErrorId::NoVault if !named_as_reference(path) => {
                let text =
                    format!("{}: no such file or directory, and no sealed dataset: {}", path.display(), e.message());
                Error::new(ErrorId::NotFound, text).hint("check the path, or the reference: [NAMESPACE/]NAME[@v3]")
            }
            _ => e,
        })?;
        Ok(Self { path, kind: Kind::Sealed(Box::new(sealed)) })
    }

    /// What is there as a file or directory.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn on_disk(path: &'a Path) -> Result<Self> {
        Ok(Self { path, kind: Kind::Disk(Places::of(path)?) })
    }

    /// Whether its bytes are sealed where they lie.
    pub fn is_sealed(&self) -> bool {
        matches!(self.kind, Kind::Sealed(_))
    }

    /// For messages and reports: as it was given.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The files of the dataset, without its statement and what is kept beside them.
    ///
    /// # Errors
    /// As [`Folder::find`].
    pub fn folder(&self, format: Option<Format>) -> Result<Folder> {
        match &self.kind {
            Kind::Disk(places) => places.folder(self.path, format),
            Kind::Sealed(sealed) => sealed.folder(format),
        }
    }

    /// The same of a dataset that was signed.
    ///
    /// # Errors
    /// `DatasetChanged` for what no dataset has; else as [`folder`](Self::folder).
    pub fn signed_folder(&self) -> Result<Folder> {
        match &self.kind {
            Kind::Disk(places) => places.signed_folder(self.path),
            Kind::Sealed(sealed) => sealed.folder(None),
        }
    }

    /// What lies beside the files and is not what was signed. What is sealed was held to the statement by the vault.
    ///
    /// # Errors
    /// As [`differing`].
    pub fn differing_beside(&self, statement: &DatasetStatement) -> Result<Differing> {
        match &self.kind {
            Kind::Disk(places) => differing(places, statement),
            Kind::Sealed(_) => Ok(Differing::new()),
        }
    }

    /// All statements there are, whoever signed them; none if there is no such file.
    ///
    /// # Errors
    /// `BundleMalformed`, with the line; those of reading.
    pub fn statements(&self) -> Result<Statements> {
        match &self.kind {
            Kind::Disk(places) => places.statements(),
            Kind::Sealed(sealed) => sealed.statements(),
        }
    }
}

impl Beside for Origin<'_> {
    fn beside(&self, file: &str, what: &str, most: u64) -> Result<Vec<u8>> {
        match &self.kind {
            Kind::Disk(places) => places.beside(file, what, most),
            Kind::Sealed(sealed) => sealed.beside(file, what, most),
        }
    }
}

/// A signed dataset, for a reader of it.
pub struct Whole<'a> {
    /// The files.
    pub folder: &'a Folder,
    /// What is beside them.
    pub origin: &'a Origin<'a>,
}

impl Whole<'_> {
    /// The pieces of a file, as they were signed; of images, what a receipt counts as such.
    ///
    /// # Errors
    /// `DatasetChanged`, and those of the place.
    pub fn pieces(&self, file: &Measured) -> Result<Pieces> {
        if file.format == Format::Images {
            return image_pieces(self, file);
        }
        Pieces::from_text(&self.beside(&file.path, PIECES, Pieces::most(file.size))?, &file.pieces)
            .map_err(|e| e.on(&file.path))
    }
}

impl Beside for Whole<'_> {
    fn beside(&self, file: &str, what: &str, most: u64) -> Result<Vec<u8>> {
        self.origin.beside(file, what, most)
    }
}

impl Place for Whole<'_> {
    fn open(&self, file: &str) -> Result<Arc<dyn ReadAt>> {
        Ok(self.folder.open(file)?)
    }

    fn folder(&self) -> &Folder {
        self.folder
    }
}

/// The reference that an argument is: what begins with `vault://`; else what has the form of one, unless it begins with `.` or `/`, ends
/// with `/`, or a file or directory of that name is there.
pub fn reference(path: &Path) -> Option<Reference> {
    let text = path.to_str()?;
    let is_path = text.starts_with(['.', '/']) || text.ends_with('/') || path.symlink_metadata().is_ok();
    if is_path && !text.starts_with("vault://") {
        return None;
    }
    text.parse().ok().filter(|reference: &Reference| reference.member.is_none())
}

/// What looks like a reference to a dataset, and is none.
fn no_reference(path: &Path) -> Error {
    let name = path.display();
    let text = match path.to_str().map(str::parse::<Reference>) {
        Some(Ok(_)) => format!("{name} names a member, and datasets are read as a whole"),
        Some(Err(e)) => format!("{name}: {}", e.message()),
        None => format!("{name}: not UTF-8"),
    };
    Error::new(ErrorId::InvalidArgument, text)
        .hint("what is sealed is named [NAMESPACE/]NAME[@REVISION], or vault://NAMESPACE/NAME[@REVISION]")
}

/// Whether it can hardly be meant as a path.
pub fn named_as_reference(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with("vault://") || text.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_a_path_and_what_else_looks_like_a_reference_is_one() {
        let is = |text: &str| reference(Path::new(text)).map(|r| r.to_string());
        let latest = |name: &str| Some(format!("{name}@latest"));
        assert_eq!(is("nothing-here"), latest("default/nothing-here"));
        assert_eq!(is("team/nothing-here@v3"), Some("team/nothing-here@v3".into()));
        assert_eq!(is("vault://team/nothing-here"), latest("team/nothing-here"));
        // Tests run in the directory of the package.
        assert_eq!(is("src"), None);
        assert_eq!(is("vault://default/src"), latest("default/src"));
        for path in ["./nothing-here", "../x", "/nothing-here", "nothing-here/", "a/b/c", "a b", "vault://a/b/member"] {
            assert_eq!(is(path), None, "{path}");
        }
    }
}
