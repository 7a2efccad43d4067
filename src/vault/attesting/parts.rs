//! Datasets that are sealed in parts (docs/datasets.md): which versions a version names, and the members of them all.

use std::collections::BTreeSet;

use super::super::Vault;
use crate::catalogue::{ArtifactRecord, VersionRecord, VersionRole, Visibility};
use crate::error::{Error, ErrorId, Result};
use crate::facts::VersionFacts;
use crate::manifest::{MAX_PARTS_LEN, PARTS_NAME, Part, Parts};
use crate::names::{ArtifactKind, Name, Reference, Revision};
use crate::seal::{Manifest, Reader};

/// The parts that a version names, as the catalogue has them. Their members are read one part after the other.
pub(in super::super) struct SealedParts {
    artifact: ArtifactRecord,
    parts: Vec<VersionRecord>,
}

impl SealedParts {
    /// What the version that names them is to the catalogue.
    pub fn role(&self) -> VersionRole {
        VersionRole::Head(self.parts.iter().map(|record| record.facts.version_id).collect())
    }
}

/// What was sealed as one dataset: in one file, or in one that names parts.
pub(super) struct SealedDataset<'a> {
    pub vault: &'a Vault,
    pub reader: &'a Reader,
    pub parts: Option<&'a SealedParts>,
}

impl SealedDataset<'_> {
    /// Hands on the members, each with the file it is in and its place there: the files of the dataset in the order of their paths,
    /// what lies beside them before, between or after them. Holds one part at a time.
    pub fn each(&self, take: &mut dyn FnMut(&Reader, usize) -> Result<()>) -> Result<()> {
        let mut all = |reader: &Reader| (0..reader.manifest().members.len()).try_for_each(|index| take(reader, index));
        if let Some(SealedParts { artifact, parts }) = self.parts {
            for record in parts {
                all(&self.vault.reader_of(artifact, record)?)?;
            }
        }
        all(self.reader)
    }
}

/// Whether a version names parts.
pub(in super::super) fn names_parts(manifest: &Manifest) -> bool {
    Parts::are_named(manifest.kind, |path| manifest.member(path).is_some())
}

/// Refuses as a part what is none: the files of a dataset are, and nothing that lies beside them.
pub(in super::super) fn may_be_part(manifest: &Manifest) -> Result<()> {
    let beside = manifest.members.iter().find(|m| Parts::lies_beside(&m.path));
    match beside {
        Some(member) => {
            let text = format!("{}: lies beside the files of a dataset, and is in no part of it", member.path);
            Err(Error::new(ErrorId::InvalidArgument, text))
        }
        None if manifest.kind != ArtifactKind::Dataset || manifest.members.is_empty() => {
            Err(Error::new(ErrorId::InvalidArgument, "a part of a dataset has files, and is a dataset"))
        }
        None => Ok(()),
    }
}

impl Vault {
    /// The parts that a sealed version `number` names; none if it names none. Each is a version of the same artifact that was sealed
    /// as a part before it, that no other version names, and that is listed.
    ///
    /// # Errors
    /// `ManifestInvalid` for what does not name parts; `InvalidArgument` for versions that are none of its parts.
    pub(in super::super) fn parts_named(
        &self,
        (namespace, name, number): (&Name, &Name, u64),
        reader: &Reader,
    ) -> Result<Option<SealedParts>> {
        if !names_parts(reader.manifest()) {
            return Ok(None);
        }
        if let Some(file) = reader.manifest().members.iter().find(|m| !Parts::lies_beside(&m.path)) {
            let text = format!("{}: a version that names parts has no files of the dataset", file.path);
            return Err(Error::new(ErrorId::InvalidArgument, text));
        }
        let named = self.parts_in(reader)?;
        let artifact = self.catalogue.artifact_named(namespace, name)?;
        let mut parts = Vec::with_capacity(named.as_slice().len());
        for part in named.as_slice() {
            let revision = Revision::Version(part.version);
            let reference = Reference { revision, ..Reference::latest(namespace.clone(), name.clone()) };
            let record = self.lookup(&reference, Visibility::Listed)?.version;
            let none = || {
                let text = format!("v{} is no part that this version can name", part.version);
                Error::new(ErrorId::InvalidArgument, text)
                    .hint("seal the directory again: vault seal DIR --kind dataset")
            };
            if record.part_of != Some(0) || part.version >= number || record.facts.root != part.root {
                return Err(none());
            }
            // What is written of its files is what its own manifest says.
            if self.part(&artifact, &record)? != *part {
                return Err(none());
            }
            parts.push(record);
        }
        Ok(Some(SealedParts { artifact, parts }))
    }

    /// What a version that was sealed as a part is to the version that will name it.
    ///
    /// # Errors
    /// Those of the catalogue, and of reading what was sealed.
    pub(in super::super) fn sealed_part(&self, version: &VersionFacts) -> Result<Part> {
        let revision = Revision::Version(version.version);
        let reference = Reference { revision, ..Reference::latest(version.namespace.clone(), version.name.clone()) };
        let artifact = self.catalogue.artifact_named(&version.namespace, &version.name)?;
        self.part(&artifact, &self.lookup(&reference, Visibility::Listed)?.version)
    }

    fn part(&self, artifact: &ArtifactRecord, record: &VersionRecord) -> Result<Part> {
        let reader = self.reader_of(artifact, record)?;
        let members = reader.manifest().members.iter().map(|m| (m.path.as_str(), m.size, m.blake3));
        Ok(Part::of(record.facts.number, record.facts.root, members))
    }

    /// Bytes of all members of a version, with those of its parts; of a part, those of all that is sealed with it: what a whole read is.
    ///
    /// # Errors
    /// Those of the catalogue.
    pub(in super::super) fn content_with_parts(&self, record: &VersionRecord) -> Result<u64> {
        if record.kind != ArtifactKind::Dataset {
            return Ok(record.facts.content_len);
        }
        let head = self.catalogue.head_of(record)?;
        let head = head.as_ref().unwrap_or(record);
        let parts = self.catalogue.parts_of(head.facts.artifact_id, head.facts.number)?;
        let all = parts.iter().map(|part| part.facts.content_len);
        Ok(all.fold(head.facts.content_len, u64::saturating_add))
    }

    /// Whether the parts that a version names, as it was signed, are those that the catalogue has for it.
    ///
    /// # Errors
    /// `CatalogueDamaged` where they are not; `ManifestInvalid`.
    pub(in super::super) fn must_have_parts(&self, reader: &Reader, parts: &[VersionRecord]) -> Result<()> {
        let there = parts.iter().map(|part| (part.facts.number, part.facts.root));
        let named = match names_parts(reader.manifest()) {
            true => self.parts_in(reader)?.as_slice().iter().map(|part| (part.version, part.root)).collect(),
            false => BTreeSet::new(),
        };
        if named == there.collect::<BTreeSet<_>>() {
            return Ok(());
        }
        let text = format!("its parts are not the {} that it names", named.len());
        Err(Error::new(ErrorId::CatalogueDamaged, text).hint("restore the home from a backup"))
    }

    fn parts_in(&self, reader: &Reader) -> Result<Parts> {
        if reader.member(PARTS_NAME)?.size > MAX_PARTS_LEN {
            return Err(Error::new(ErrorId::ManifestInvalid, "longer than 8 MiB"));
        }
        Parts::from_json(&super::read_member(reader, PARTS_NAME)?)
    }
}
