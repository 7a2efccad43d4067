//! Keys in PEM files.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::{PublicKey, SigningIdentity, SigningKey, VerifyingKey};
use crate::error::{Error, ErrorId, Result};

/// No key file is larger.
const MAX_BYTES: usize = 16 << 10;

impl SigningKey {
    /// Reads a private key ([`SigningKey::from_pem`]) from a file that is its owner's alone; a path that is a `pkcs11:` URI names
    /// one on a token ([`SigningKey::on_token`]).
    ///
    /// # Errors
    /// `NotFound`, `IoError`; `BadCredential` if it is no private key, or if others may read the file.
    pub fn read(path: &Path) -> Result<Self> {
        #[cfg(feature = "daemon")]
        if let Some(uri) = path.to_str().filter(|text| text.starts_with(super::token::SCHEME)) {
            return Self::on_token(uri);
        }
        let file = open(path)?;
        let facts = file.metadata().map_err(|e| Error::from(e).on(path.display()))?;
        let key = Self::from_pem(&contents(file, path)?).map_err(|e| Error::from(e).on(path.display()))?;
        // A pipe has no mode of its own worth looking at: `--sign-key <(command)`.
        if facts.is_file() && facts.mode() & 0o077 != 0 {
            return Err(Error::new(ErrorId::BadCredential, format!("{}: others may read this key", path.display()))
                .hint(format!("chmod 600 {}", path.display())));
        }
        Ok(key)
    }
}

impl VerifyingKey {
    /// Reads a public key ([`VerifyingKey::from_pem`]) from a file.
    ///
    /// # Errors
    /// `NotFound`, `IoError`; `BadCredential` if it is no public key.
    pub fn read(path: &Path) -> Result<Self> {
        Self::from_pem(&contents(open(path)?, path)?).map_err(|e| Error::from(e).on(path.display()))
    }
}

impl VerifyingKey {
    /// Reads the public keys ([`VerifyingKey::all_from_pem`]) of one signer from a file.
    ///
    /// # Errors
    /// `NotFound`, `IoError`; `BadCredential` if it holds anything else.
    pub fn read_all(path: &Path) -> Result<Vec<Self>> {
        Self::all_from_pem(&contents(open(path)?, path)?).map_err(|e| Error::from(e).on(path.display()))
    }
}

impl SigningIdentity {
    /// As [`SigningKey::read`], for an Ed25519 key.
    ///
    /// # Errors
    /// As there; `BadCredential` also for a key of another algorithm.
    pub fn read(path: &Path) -> Result<Self> {
        SigningKey::read(path)?.to_ed25519().map_err(|e| Error::from(e).on(path.display()))
    }
}

impl PublicKey {
    /// As [`VerifyingKey::read`], for an Ed25519 key.
    ///
    /// # Errors
    /// As there; `BadCredential` also for a key of another algorithm.
    pub fn read(path: &Path) -> Result<Self> {
        VerifyingKey::read(path)?.to_ed25519().map_err(|e| Error::from(e).on(path.display()))
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorId::NotFound, format!("{}: no such file or directory", path.display()))
                .hint("check the path")
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
