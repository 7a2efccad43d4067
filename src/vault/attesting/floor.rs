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
    /// Asks again, when what carries these is about to become visible as a version of that number, whether another was sealed meanwhile.
    ///
    /// # Errors
    /// `VersionRollback` for a newer version of the dataset, `DatasetForked` for another of the same number; `SourceChanged` for an older one
    /// that was sealed under a higher number, where `latest` would stay.
    pub(in super::super) fn is_newest(
        &self,
        namespace: &Name,
        (artifact, number): (ArtifactId, u64),
        attested: &[NewAttestation],
    ) -> Result<()> {
        // All of one statement.
        let Some(facts) = attested.iter().find_map(|a| a.dataset.as_ref()) else { return Ok(()) };
        let (own, mut meanwhile) = (Floor { version: facts.version, statement: facts.statement }, None);
        self.each_version(namespace, artifact, &facts.name, &mut |sealed, other| {
            let id = match other.version.cmp(&own.version) {
                Ordering::Greater => ErrorId::VersionRollback,
                // Rows of earlier times have no digest.
                Ordering::Equal if other.statement.is_some() && other.statement != own.statement => {
                    ErrorId::DatasetForked
                }
                Ordering::Less if sealed > number => ErrorId::SourceChanged,
                _ => return,
            };
            meanwhile.get_or_insert((id, other.version));
        })?;
        let Some((id, version)) = meanwhile else { return Ok(()) };
        let hint = match id {
            ErrorId::SourceChanged => "seal it again: tags move to what is sealed last",
            _ => "ask its owner which version is right",
        };
        Err(Error::new(id, format!("version {version} of {:?} was sealed meanwhile", facts.name)).hint(hint))
    }

    /// The newest version of a dataset of that name among all versions of an artifact, the removed ones too, as far as who signed it is
    /// believed still: whoever signs with a stolen key raises the floor until the key is dropped or revoked, and no longer.
    ///
    /// # Errors
    /// Those of the catalogue.
    pub(super) fn dataset_floor(&self, namespace: &Name, artifact: ArtifactId, name: &str) -> Result<Option<Floor>> {
        let mut floor = None;
        self.each_version(namespace, artifact, name, &mut |_, version| floor = floor.max(Some(version)))?;
        Ok(floor)
    }

    /// Each statement about a dataset of that name, with the number of the version of the artifact that carries it.
    fn each_version(
        &self,
        namespace: &Name,
        artifact: ArtifactId,
        name: &str,
        each: &mut dyn FnMut(u64, Floor),
    ) -> Result<()> {
        let signers = self.signers();
        let believers = Believers::of(&signers);
        let mut before = None;
        loop {
            let page = self.catalogue.versions_of(artifact, Visibility::All, before, PAGE)?;
            for version in &page.rows {
                for attached in self.catalogue.attestations(version.facts.version_id)? {
                    let Some(facts) = attached.dataset.as_ref().filter(|facts| facts.name == name) else { continue };
                    if self.believed_still(&believers, namespace, &attached).is_ok() {
                        let floor = Floor { version: facts.version, statement: facts.statement };
                        each(version.facts.number, floor);
                    }
                }
            }
            match page.next {
                Some(next) => before = Some(next),
                None => return Ok(()),
            }
        }
    }
}
