//! The trust store of the home, as a verifier of models on disk uses it: without unlocking anything.

use model_vault::crypto::sign::VerifyingKey;
use model_vault::identity::signer::{CertifiedSigner, Revocations};
use model_vault::identity::signers::{Signer, Signers, Trust};
use model_vault::manifest::oms::Bundle;
use model_vault::names::{Clock, Name, SystemClock, Timestamp};
use model_vault::{Error, ErrorId, Result};

use super::Context;
use crate::args::key::Trusted;

/// Signers that were asked for, and all revocations.
pub struct Store {
    signers: Signers,
    wanted: Vec<Trusted>,
    now: Timestamp,
}

impl Store {
    /// The store of the home, if there is one. Its revocations count whether or not a signer of it is asked for.
    ///
    /// # Errors
    /// `NotFound` for a name that nobody has; `ConfigInvalid` for a file that cannot be read: what it revokes is not known then.
    pub fn read(cx: &Context<'_>, wanted: &[Trusted]) -> Result<Self> {
        let home = match cx.session.home() {
            Ok(home) => Some(home),
            // A context that is a server, or no home directory: there is no store, and none was asked for.
            Err(_) if wanted.is_empty() => None,
            Err(e) => return Err(e),
        };
        let signers = match home {
            Some(home) if home.has_signers()? => Signers::read(&home.signers_path())?,
            _ => Signers::default(),
        };
        let unknown = wanted.iter().find_map(|w| match w {
            Trusted::Named(name) if !signers.signers().iter().any(|s| s.name == *name) => Some(name),
            _ => None,
        });
        if let Some(name) = unknown {
            return Err(Error::new(ErrorId::NotFound, format!("no trusted signer {name}"))
                .hint("vault key ls shows those there are"));
        }
        Ok(Self { signers, wanted: wanted.to_vec(), now: SystemClock.now() })
    }

    /// The keys of those asked for, as far as they are believed now.
    pub fn keys(&self) -> impl Iterator<Item = (&Name, &VerifyingKey)> {
        self.signers.keys(self.now).filter(|(s, _)| self.wants(s)).map(|(s, key)| (&s.name, key))
    }

    /// Those of the given keys that were not revoked.
    ///
    /// # Errors
    /// `SignatureMissing` if all of them were.
    pub fn unrevoked(&self, given: Vec<VerifyingKey>) -> Result<Vec<VerifyingKey>> {
        let mut refused = None;
        let mut left = Vec::new();
        for key in given {
            match self.signers.check_revoked(&key.key_id(), self.now) {
                Ok(()) => left.push(key),
                Err(e) => refused = Some(e),
            }
        }
        match refused {
            Some(e) if left.is_empty() => {
                Err(e.hint("do not use the model; ask the signer for a signature by another key"))
            }
            _ => Ok(left),
        }
    }

    /// That no key of a verified chain was revoked.
    ///
    /// # Errors
    /// `SignatureMissing`.
    pub fn check_path(&self, certified: &CertifiedSigner) -> Result<()> {
        certified.path.iter().try_for_each(|key| self.signers.check_revoked(key, self.now))
    }

    /// Whose certificate this is, among those asked for; `None` if nobody was.
    pub fn judge(&self, chain: &[Vec<u8>], revocations: &Revocations) -> Option<Result<(Name, VerifyingKey)>> {
        if self.wanted.is_empty() {
            return None;
        }
        let found = self.signers.of_chain_among(|s| self.wants(s), chain, revocations, self.now);
        Some(found.map(|(signer, certified)| (signer.name.clone(), certified.key)))
    }

    /// Why a key that one of the bundles names is not believed any more, if it was that of somebody asked for.
    pub fn why_not(&self, bundles: &[Bundle]) -> Option<Error> {
        let wanted = self.signers.signers().iter().filter(|s| self.wants(s));
        let mut keys = wanted.filter_map(|s| match &s.trust {
            Trust::Key(key) => Some(key),
            Trust::Ca { .. } => None,
        });
        keys.find_map(|key| {
            let named = bundles.iter().any(|bundle| bundle.names(key));
            self.signers.of_key(key, self.now).err().filter(|_| named)
        })
        .map(|e| e.hint("vault key ls tells more; ask the signer for a signature by a key that is believed"))
    }

    /// By name wherever it may publish; as anyone only if it is trusted everywhere.
    fn wants(&self, signer: &Signer) -> bool {
        self.wanted.iter().any(|wanted| match wanted {
            Trusted::Anyone => signer.namespaces.is_empty(),
            Trusted::Named(name) => signer.name == *name,
        })
    }
}
