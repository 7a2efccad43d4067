//! The newest version of a dataset that an artifact holds: nobody seals an older one over it, whose signature is as good as ever.

use std::cmp::Ordering;

use super::super::Vault;
use super::Believers;
use crate::catalogue::{NewAttestation, Visibility};
use crate::dataset::{Chain, VersionSeen};
use crate::error::{Error, ErrorId, Result};
use crate::names::{ArtifactId, Name, Sha256};

/// Versions of an artifact that are read at once.
const PAGE: usize = 256;

/// A version of a dataset by its owner's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Floor {
    version: u64,
    /// Digest of its statement; versions that were sealed before it was kept have none.
    statement: Option<Sha256>,
}

impl Floor {
    /// Whether versions may be sealed over it.
    ///
    /// # Errors
    /// As [`Chain::accept`].
    pub(super) fn holds(self, chain: &Chain) -> Result<()> {
        let Self { version, statement } = self;
        let seen = statement.map(|digest| VersionSeen { version, digest });
        chain.accept(seen, Some(version), None)
    }
}

impl Vault {
    /// Asks again, when what carries these is about to become visible, whether another version was sealed meanwhile.
    ///
    /// # Errors
    /// `VersionRollback` for a newer one, `DatasetForked` for another of the same number.
    pub(in super::super) fn is_newest(
        &self,
        namespace: &Name,
        artifact: ArtifactId,
        attested: &[NewAttestation],
    ) -> Result<()> {
        // All of one statement.
        let Some(facts) = attested.iter().find_map(|a| a.dataset.as_ref()) else { return Ok(()) };
        let Some(floor) = self.dataset_floor(namespace, artifact, &facts.name)? else { return Ok(()) };
        let id = match floor.version.cmp(&facts.version) {
            Ordering::Greater => ErrorId::VersionRollback,
            Ordering::Equal if floor.statement != facts.statement => ErrorId::DatasetForked,
            _ => return Ok(()),
        };
        let text = format!("version {} of {:?} was sealed meanwhile", floor.version, facts.name);
        Err(Error::new(id, text).hint("ask its owner which version is right"))
    }

    /// The newest version of a dataset of that name among all versions of an artifact, the removed ones too, as far as who signed it is
    /// believed still: whoever signs with a stolen key raises the floor until the key is dropped or revoked, and no longer.
    ///
    /// # Errors
    /// Those of the catalogue.
    pub(super) fn dataset_floor(&self, namespace: &Name, artifact: ArtifactId, name: &str) -> Result<Option<Floor>> {
        let signers = self.signers();
        let believers = Believers::of(&signers);
        let (mut before, mut floor) = (None, None);
        loop {
            let page = self.catalogue.versions_of(artifact, Visibility::All, before, PAGE)?;
            for version in &page.rows {
                for attached in self.catalogue.attestations(version.facts.version_id)? {
                    let Some(facts) = attached.dataset.as_ref().filter(|facts| facts.name == name) else { continue };
                    if self.believed_still(&believers, namespace, &attached).is_ok() {
                        floor = floor.max(Some(Floor { version: facts.version, statement: facts.statement }));
                    }
                }
            }
            match page.next {
                Some(next) => before = Some(next),
                None => return Ok(floor),
            }
        }
    }
}
