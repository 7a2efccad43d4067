//! Signed statements about versions.

use rusqlite::params;
use rusqlite::types::Value;

use super::super::*;
use super::artifacts::{self, missing, short};
use super::requests;
use super::rows::{Columns, Db, Row, Table, blob, number, text, time};
use crate::names::{KeyId, Sha256};

/// The longest principal and path of a member, in bytes.
const MAX_TEXT: usize = 4096;

/// The sealed bytes of a statement, apart from its facts: those are read at each decision, these when somebody asks for them.
struct Body {
    version_id: VersionId,
    digest: Sha256,
    sealed: Vec<u8>,
}

pub(super) fn attest(db: &Db<'_>, new: NewAttestation, entry: &Entry) -> Result<Sequence> {
    let version = artifacts::version(db, new.version_id)?;
    if version.shred_begun.is_some() {
        return Err(CatalogueError::Shredded(format!("version {}", new.version_id)));
    }
    put(db, new)?;
    requests::append(db, entry, 0)
}

/// Adds a statement in the transaction of the command that calls this.
pub(super) fn put(db: &Db<'_>, new: NewAttestation) -> Result<()> {
    short("the predicate type", &new.predicate_type, MAX_PREDICATE_TYPE)?;
    short("the principal", &new.added_by, MAX_TEXT)?;
    short("the path of the member", new.member.as_deref().unwrap_or_default(), MAX_TEXT)?;
    if let Some(dataset) = &new.dataset {
        short("what is known of the dataset", &told(dataset)?, MAX_DATASET_FACTS)?;
    }
    let (version_id, digest) = (new.version_id, new.digest);
    let key = params![version_id.0, digest.0];
    if db.one::<AttestationRecord>("WHERE version_id = ?1 AND digest = ?2", key)?.is_some() {
        return Err(CatalogueError::AlreadyExists("this very statement is attached already".into()));
    }
    if db.number("SELECT count(*) FROM attestations WHERE version_id = ?1", [version_id.0])? >= MAX_ATTESTATIONS {
        let text = format!("a version has at most {MAX_ATTESTATIONS} statements");
        return Err(CatalogueError::InvalidArgument(text));
    }
    let NewAttestation { predicate_type, signer, keyid, algorithm, path, whole, member, .. } = new;
    let NewAttestation { added_by, sealed, dataset, .. } = new;
    let added = db.now;
    db.insert(&AttestationRecord {
        version_id,
        digest,
        predicate_type,
        signer,
        keyid,
        algorithm,
        path,
        whole,
        member,
        added_by,
        added,
        dataset,
    })?;
    match sealed {
        Some(sealed) => db.insert(&Body { version_id, digest, sealed }),
        None => Ok(()),
    }
}

pub(super) fn of_version(db: &Db<'_>, version: VersionId) -> Result<Vec<AttestationRecord>> {
    let mut found: Vec<AttestationRecord> = db.many("WHERE version_id = ?1", [version.0])?;
    found.sort_by_key(|a| (a.added, a.digest));
    Ok(found)
}

pub(super) fn body(db: &Db<'_>, version: VersionId, digest: Sha256) -> Result<Vec<u8>> {
    let found: Option<Body> = db.one("WHERE version_id = ?1 AND digest = ?2", params![version.0, digest.0])?;
    Ok(found.ok_or_else(|| missing(format!("a statement {digest} of the version")))?.sealed)
}

impl Row for AttestationRecord {
    const TABLE: Table = Table {
        name: "attestations",
        columns: &[
            "version_id",
            "digest",
            "predicate_type",
            "signer",
            "keyid",
            "algorithm",
            "path",
            "whole",
            "member",
            "added_by",
            "added",
            "dataset",
        ],
        key: 2,
        added: 1,
    };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![
            blob(&self.version_id.0),
            blob(&self.digest.0),
            text(&self.predicate_type),
            text(self.signer.as_str()),
            blob(&self.keyid.0),
            text(&self.algorithm),
            blob(&self.path.iter().flat_map(|key| key.0).collect::<Vec<_>>()),
            number(self.whole.into())?,
            text(self.member.as_deref().unwrap_or_default()),
            text(&self.added_by),
            time(self.added),
            self.dataset.as_ref().map_or(Ok(Value::Null), |dataset| told(dataset).map(Value::Text))?,
        ])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            version_id: c.id()?,
            digest: c.id()?,
            predicate_type: c.text()?,
            signer: c.text()?,
            keyid: c.id()?,
            algorithm: c.text()?,
            path: c.bytes()?.chunks_exact(32).filter_map(|key| KeyId::try_from(key).ok()).collect(),
            whole: c.number::<u8>()? != 0,
            member: Some(c.text::<String>()?).filter(|path| !path.is_empty()),
            added_by: c.text()?,
            added: c.time()?,
            dataset: c.text_if_any::<String>()?.as_deref().map(known).transpose()?,
        })
    }
}

fn told(dataset: &DatasetFacts) -> Result<String> {
    serde_json::to_string(dataset).map_err(|e| CatalogueError::Internal(e.to_string()))
}

fn known(text: &str) -> Result<DatasetFacts> {
    serde_json::from_str(text).map_err(|e| CatalogueError::Damaged(format!("what is known of a dataset: {e}")))
}

impl Row for Body {
    const TABLE: Table =
        Table { name: "attestation_bodies", columns: &["version_id", "digest", "sealed"], key: 2, added: 0 };

    fn values(&self) -> Result<Vec<Value>> {
        Ok(vec![blob(&self.version_id.0), blob(&self.digest.0), blob(&self.sealed)])
    }

    fn read(c: &mut Columns<'_>) -> Result<Self> {
        Ok(Self { version_id: c.id()?, digest: c.id()?, sealed: c.bytes()? })
    }
}

/// Reads every row, as the integrity check does.
pub(super) fn check(db: &Db<'_>, report: &mut IntegrityReport) -> Result<()> {
    super::upkeep::check_rows::<AttestationRecord>(db, report)?;
    super::upkeep::check_rows::<Body>(db, report)
}
