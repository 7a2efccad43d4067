//! Whose signatures count: keys given in files, keys that are trusted anyway, and key ids that pick among them.

use model_vault::crypto::sign::PublicKey;
use model_vault::names::KeyId;
use model_vault::{Error, ErrorId, Result};

use crate::args::Signers;

impl Signers {
    /// Whether anything was asked for.
    pub fn required(&self) -> bool {
        !self.require_signer.is_empty() || !self.signer_key.is_empty()
    }

    /// The keys given in files.
    pub fn keys(&self) -> Result<Vec<PublicKey>> {
        self.signer_key.iter().map(|path| PublicKey::read(path)).collect()
    }

    /// The keys whose signatures count: those that `--require-signer` names, else those of `--signer-key`, else `trusted`.
    ///
    /// # Errors
    /// `InvalidArgument` if a key id names none of the keys at hand, or more than one.
    pub fn accepted(&self, trusted: impl FnOnce() -> Result<Vec<PublicKey>>) -> Result<Vec<PublicKey>> {
        let mut keys = self.keys()?;
        if self.require_signer.is_empty() {
            return if keys.is_empty() { trusted() } else { Ok(keys) };
        }
        keys.extend(trusted()?);
        keys.sort_unstable_by_key(|k| k.key_id().0);
        keys.dedup();
        let pick = |wanted: &crate::args::KeyIdPrefix| {
            let mut named = keys.iter().filter(|k| wanted.names(&k.key_id()));
            match (named.next(), named.next()) {
                (Some(key), None) => Ok(*key),
                (None, _) => {
                    Err(Error::new(ErrorId::InvalidArgument, format!("the public key of signer {wanted} is not known"))
                        .hint("give it with --signer-key FILE (PEM)"))
                }
                (Some(_), Some(_)) => {
                    Err(Error::new(ErrorId::InvalidArgument, format!("two keys have an id that begins with {wanted}"))
                        .hint("give all 64 digits"))
                }
            }
        };
        self.require_signer.iter().map(pick).collect()
    }

    /// Whether one of the signers found is one of those required, by key id.
    pub fn satisfied_by(&self, found: &[KeyId]) -> Result<bool> {
        let keys: Vec<_> = self.keys()?.iter().map(PublicKey::key_id).collect();
        Ok(match self.require_signer.is_empty() {
            true => keys.is_empty() || found.iter().any(|f| keys.contains(f)),
            false => found.iter().any(|f| self.require_signer.iter().any(|wanted| wanted.names(f))),
        })
    }
}
