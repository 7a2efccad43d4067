//! Datasets that carry their signed statement (docs/datasets.md): held against what was sealed before they are published, and
//! what decisions see of them from then on.

use std::collections::HashSet;

use super::super::Vault;
use super::super::publishing::found;
use super::parts::SealedDataset;
use super::{
    Believed, Believers, DATASET_NAME, bundles_of, carries_statement, hashed, read_member, stranger, unchanged,
};
use crate::catalogue::{DatasetFacts, NewAttestation, ScanFacts};
use crate::crypto::hash::{Algorithm, Sha256Hasher, sha256};
use crate::dataset::{
    Attribution, Chain, DatasetStatement, Format, Gravity, Measured, ScanSummary, Sidecars, Version, file_record_hash,
};
use crate::error::{Error, ErrorId, Result};
use crate::manifest::oms::{Bundle, Difference};
use crate::names::{ArtifactId, Name, Sha256, Timestamp, VersionId};
use crate::policy::{Dataset, Scan};

/// Below it lie, in a directory for each file, hashes of its records and such.
const TREE: &str = "dataset.tree/";

impl Vault {
    /// Verifies the newest statement by trusted signers that a sealed dataset carries, and holds it against the members: all of them
    /// but those `beside`, which are signatures. One for each key that signed it; none if it carries no statement.
    ///
    /// # Errors
    /// `SignatureMissing` if no trusted signer signed any; `SignatureInvalid`; `DatasetChanged` for other files; as [`Chain::of`]
    /// and [`Chain::accept`], of what the artifact holds already too.
    pub(super) fn dataset_statement(
        &self,
        (namespace, artifact): (&Name, ArtifactId),
        (version, added_by): (VersionId, &str),
        sealed: &SealedDataset<'_>,
        beside: &[&str],
    ) -> Result<Vec<NewAttestation>> {
        let reader = sealed.reader;
        if !carries_statement(reader.manifest()) {
            return Ok(Vec::new());
        }
        let bundles = bundles_of(&read_member(reader, DATASET_NAME)?, DATASET_NAME)?;
        let (believed, chain) = self.believed_statement(namespace, Some(artifact), &bundles)?;
        let newest = chain.newest();
        unchanged(ErrorId::DatasetChanged, &differences(&newest.statement, sealed, beside)?)?;
        let facts = facts_of(newest);
        let signed = believed.into_iter().filter(|(bundle, _)| sha256(&bundle.payload) == newest.digest);
        let attested = signed.map(|(bundle, by)| NewAttestation {
            predicate_type: DatasetStatement::predicate_type(),
            whole: true,
            member: Some(DATASET_NAME.into()),
            dataset: Some(facts.clone()),
            ..by.attested(version, &bundle.payload, added_by)
        });
        Ok(attested.collect())
    }

    /// Whether a signed statement will be taken, as far as it says itself: for whoever seals its files first, which may take hours.
    ///
    /// # Errors
    /// As [`dataset_statement`](Self::dataset_statement), but those about files.
    pub(in super::super) fn may_take_statement(&self, (namespace, name): (&Name, &Name), text: &[u8]) -> Result<()> {
        let artifact = found(self.catalogue.artifact_named(namespace, name))?;
        self.believed_statement(namespace, artifact.map(|artifact| artifact.id), &bundles_of(text, DATASET_NAME)?)
            .map(drop)
    }

    /// The statements that trusted signers signed, each with who did, and their chain: good now, and not behind what the artifact holds.
    fn believed_statement<'a>(
        &self,
        namespace: &Name,
        artifact: Option<ArtifactId>,
        bundles: &'a [Bundle],
    ) -> Result<(Vec<(&'a Bundle, Believed)>, Chain)> {
        let mut believed = Vec::new();
        for bundle in bundles {
            believed.extend(self.whose(namespace, bundle, self.now())?.map(|by| (bundle, by)));
        }
        if believed.is_empty() {
            let none = || Error::new(ErrorId::BundleMalformed, "there is no statement in it");
            return Err(bundles.last().map_or_else(none, stranger));
        }
        let chain = Chain::of(believed.iter().map(|(bundle, _)| &*bundle.payload))?;
        chain.accept(None, None, Some(self.now()))?;
        let floor = artifact.map(|artifact| self.dataset_floor(namespace, artifact, &chain.newest().statement.name));
        if let Some(floor) = floor.transpose()?.flatten() {
            floor.holds(&chain)?;
        }
        Ok((believed, chain))
    }
}

/// Every difference between the files that were signed and those that were sealed.
fn differences(statement: &DatasetStatement, sealed: &SealedDataset<'_>, beside: &[&str]) -> Result<Vec<Difference>> {
    // Statements have them in the order of their paths.
    let files = &statement.files;
    let at = |path: &str| files.binary_search_by(|file| file.path.as_str().cmp(path)).ok();
    let has_images = files.iter().any(|file| file.format == Format::Images);
    let (mut there, mut images, mut found) = (vec![false; files.len()], Images::default(), Vec::new());
    let mut sidecars = Sidecars::of(statement);
    sealed.each(&mut |reader, index| {
        let member = &reader.manifest().members[index];
        let path = member.path.clone();
        let digest = || -> Result<Sha256> {
            match member.sha256 {
                Some(recorded) => Ok(recorded),
                None => Sha256::try_from(&*hashed(reader, index, 0..member.size, Algorithm::Sha256)?),
            }
        };
        if let Some(nth) = at(&path).filter(|nth| files[*nth].format != Format::Images) {
            there[nth] = true;
            let (expected, size) = (files[nth].size, member.size);
            if size != expected || digest()? != files[nth].sha256 {
                found.push(Difference::Changed { path, expected_size: Some(expected), size });
            }
        } else if has_images && Format::of_name(&path) == Some(Format::Images) {
            images.add(&path, member.size, digest()?);
        } else if path != DATASET_NAME
            && !beside.contains(&path.as_str())
            && !path.strip_prefix(TREE).is_some_and(|path| sidecars.calls_for(path))
        {
            found.push(Difference::Extra { path });
        }
        Ok(())
    })?;
    for (file, there) in files.iter().zip(there) {
        let path = file.path.clone();
        if file.format == Format::Images && !images.are(file) {
            found.push(Difference::Changed { path, expected_size: Some(file.size), size: images.size });
        } else if file.format != Format::Images && !there {
            found.push(Difference::Missing { path });
        }
    }
    Ok(found)
}

/// The images among the members, as they are signed: one file of the dataset, of a record each. Made from digests here, where
/// signing makes them from files.
#[derive(Default)]
struct Images {
    hashes: Sha256Hasher,
    records: u64,
    size: u64,
}

impl Images {
    /// The next, in the order of their paths.
    fn add(&mut self, path: &str, size: u64, sha256: Sha256) {
        self.hashes.update(&file_record_hash(path, size, sha256).0);
        self.records += 1;
        self.size = self.size.saturating_add(size);
    }

    /// Whether they are those that were signed.
    fn are(&self, signed: &Measured) -> bool {
        let same = (self.records, self.size) == (signed.records, signed.size);
        same && self.hashes.clone().finish() == signed.sha256
    }
}

fn facts_of(Version { statement, digest }: &Version) -> DatasetFacts {
    let Attribution { contributors, excluded, .. } = &statement.attribution;
    let out: HashSet<_> = excluded.iter().map(|e| e.contributor.as_str()).collect();
    let read = contributors.iter().filter(|c| !out.contains(c.name.as_str()));
    DatasetFacts {
        name: statement.name.clone(),
        version: statement.version,
        statement: Some(*digest),
        records: statement.records(),
        readable: statement.readable(),
        unattributed: statement.unattributed(),
        created: statement.created,
        expires: statement.expires,
        contributors: read.map(|c| (c.name.clone(), c.key)).collect(),
        excluded: excluded.len() as u64,
        scan: statement.described.scan_summary.as_ref().map(scan_facts),
        derived: !statement.derived_from.is_empty(),
    }
}

fn scan_facts(summary: &ScanSummary) -> ScanFacts {
    let ScanSummary { records, findings, worst, detectors } = summary;
    let worst = match worst {
        Gravity::None => 0,
        Gravity::Low => 1,
        Gravity::Medium => 2,
        Gravity::High => 3,
    };
    let detectors = detectors.iter().map(|(name, found)| (name.clone(), *found)).collect();
    ScanFacts { records: *records, findings: *findings, worst, detectors }
}

fn scan_seen(facts: ScanFacts) -> Scan {
    let ScanFacts { records, findings, worst, detectors } = facts;
    let suspicious = detectors.iter().map(|(_, found)| *found).max().unwrap_or(0);
    let found_by = detectors.iter().filter(|(_, found)| *found > 0).map(|(name, _)| name.clone()).collect();
    let detectors = detectors.into_iter().map(|(name, _)| name).collect();
    Scan { records, findings, suspicious, worst, detectors, found_by }
}

/// As decisions see it at a moment; none once it has ended.
pub(super) fn seen(
    facts: DatasetFacts,
    signer: &Name,
    namespace: &Name,
    believed: &Believers<'_>,
    now: Timestamp,
) -> Option<Dataset> {
    if facts.expires.is_some_and(|end| now >= end) {
        return None;
    }
    let strangers = facts.contributors.iter().filter(|(_, key)| !believed.trusts(key, namespace, now)).count();
    Some(Dataset {
        name: facts.name,
        version: facts.version,
        records: facts.records,
        readable: facts.readable,
        unattributed: facts.unattributed,
        excluded: facts.excluded,
        contributors: facts.contributors.into_iter().map(|(name, _)| name).collect(),
        strangers: strangers as u64,
        age_s: now.since(facts.created).as_secs(),
        // Whatever else a signer names as a report says nothing that anybody read.
        scanned: facts.scan.is_some(),
        scan: facts.scan.map(scan_seen),
        signer: signer.to_string(),
    })
}
