//! Keys in PEM files.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::{Algorithm, PublicKey, SigningIdentity, SigningKey, VerifyingKey};
use crate::error::{Error, ErrorId, Result, reason};
use crate::regular;

/// No key file is larger.
const MAX_BYTES: usize = 16 << 10;

impl SigningKey {
    /// Reads the private keys ([`SigningKey::all_from_pem`]) of one signer from a file that is its owner's alone; a path that is a
    /// `pkcs11:` URI names one on a token ([`SigningKey::on_token`]).
    ///
    /// # Errors
    /// `NotFound`, `IoError`; `InvalidArgument` for a pipe that this process was not started with, and the like; `BadCredential` if it
    /// holds anything else, or if others may read the file.
    pub fn read_all(path: &Path) -> Result<Vec<Self>> {
        #[cfg(feature = "daemon")]
        if let Some(uri) = path.to_str().filter(|text| text.starts_with(super::token::SCHEME)) {
            return Ok(vec![Self::on_token(uri)?]);
        }
        let file = open(path)?;
        let facts = file.metadata().map_err(|e| Error::from(e).on(path.display()))?;
        let keys = Self::all_from_pem(&contents(file, path)?).map_err(|e| Error::from(e).on(path.display()))?;
        // A pipe has no mode of its own worth looking at: `--sign-key <(command)`.
        if facts.is_file() && facts.mode() & 0o077 != 0 {
            return Err(Error::new(ErrorId::BadCredential, format!("{}: others may read this key", path.display()))
                .hint(format!("chmod 600 {}", path.display())));
        }
        Ok(keys)
    }
}

impl VerifyingKey {
    /// Reads the public keys ([`VerifyingKey::all_from_pem`]) of one signer from a file.
    ///
    /// # Errors
    /// `NotFound`, `IoError`; `InvalidArgument` for what is no file; `BadCredential` if it holds anything else.
    pub fn read_all(path: &Path) -> Result<Vec<Self>> {
        Self::all_from_pem(&contents(open(path)?, path)?).map_err(|e| Error::from(e).on(path.display()))
    }
}

impl SigningIdentity {
    /// The Ed25519 key of those that [`SigningKey::read_all`] reads.
    ///
    /// # Errors
    /// As there; `BadCredential` also if there is none.
    pub fn read(path: &Path) -> Result<Self> {
        let keys = SigningKey::read_all(path)?;
        let key = keys.iter().find(|key| key.algorithm() == Algorithm::Ed25519).unwrap_or(&keys[0]);
        key.to_ed25519().map_err(|e| Error::from(e).on(path.display()))
    }
}

impl PublicKey {
    /// The Ed25519 key of those that [`VerifyingKey::read_all`] reads.
    ///
    /// # Errors
    /// As there; `BadCredential` also if there is none.
    pub fn read(path: &Path) -> Result<Self> {
        let keys = VerifyingKey::read_all(path)?;
        let key = keys.iter().find(|key| key.algorithm() == Algorithm::Ed25519).unwrap_or(&keys[0]);
        key.to_ed25519().map_err(|e| Error::from(e).on(path.display()))
    }
}

fn open(path: &Path) -> Result<File> {
    regular::open_or_inherited(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorId::NotFound, format!("{}: no such file or directory", path.display()))
                .hint("check the path")
        }
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::IsADirectory => {
            let text = format!("{}: {}", path.display(), reason(&e));
            Error::new(ErrorId::InvalidArgument, text).hint("name the file of a key")
        }
        _ => Error::from(e).on(path.display()),
    })
}

/// The whole file. The buffer never grows, so that no copy of a key is left behind, and is wiped.
fn contents(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|e| Error::from(e).on(path.display()))?;
    if bytes.len() > MAX_BYTES {
        return Err(Error::new(ErrorId::BadCredential, format!("{}: too long for a key", path.display())));
    }
    Ok(bytes)
}
