//! Parts of datasets: versions that another version of the artifact names.

use rusqlite::params;

use super::super::*;
use super::artifacts::{numbered, version};
use super::rows::Db;

/// The parts that a version names, by number.
pub(super) fn of(db: &Db<'_>, artifact: ArtifactId, head: u64) -> Result<Vec<VersionRecord>> {
    // 0 are those that no version names.
    let Some(head) = i64::try_from(head).ok().filter(|n| *n > 0) else { return Ok(Vec::new()) };
    db.many("WHERE artifact_id = ?1 AND part_of = ?2 ORDER BY number", params![artifact.0, head])
}

/// Takes the parts of a version that is being published; says what that version is a part of.
pub(super) fn join(db: &Db<'_>, role: &VersionRole, new: &NewVersion, tag: Option<&Tag>) -> Result<Option<u64>> {
    let invalid = |text: String| Err(CatalogueError::InvalidArgument(text));
    match role {
        VersionRole::Alone => Ok(None),
        VersionRole::Part if tag.is_some() => invalid("no tag goes to a part of a dataset".into()),
        VersionRole::Part => Ok(Some(0)),
        VersionRole::Head(parts) => {
            for id in parts {
                let part = version(db, *id)?;
                let n = part.facts.number;
                if part.facts.artifact_id != new.artifact_id || n >= new.number || part.part_of != Some(0) {
                    return invalid(format!("v{n} is no part that v{} can name", new.number));
                }
                if part.unlisted.is_some() || part.shred_begun.is_some() {
                    return invalid(format!("v{n}, a part of v{}, was removed", new.number));
                }
                db.update(&VersionRecord { part_of: Some(new.number), ..part })?;
            }
            Ok(None)
        }
    }
}

/// A part goes the way of the version that names it.
pub(super) fn stands_alone(record: &VersionRecord) -> Result<()> {
    match record.part_of {
        Some(head) if head > 0 => Err(CatalogueError::InvalidArgument(format!(
            "v{} is a part of v{head}, and goes with it",
            record.facts.number
        ))),
        _ => Ok(()),
    }
}

/// Whether it may be shredded by itself: also a part whose version is being shredded.
pub(super) fn may_go(db: &Db<'_>, record: &VersionRecord) -> Result<()> {
    let head = match record.part_of {
        Some(head) if head > 0 => numbered(db, record.facts.artifact_id, head)?,
        _ => None,
    };
    match head {
        Some(head) if head.shred_begun.is_none() => stands_alone(record),
        _ => Ok(()),
    }
}

/// The version that names this one as a part.
pub(super) fn head(db: &Db<'_>, record: &VersionRecord) -> Result<Option<VersionRecord>> {
    let Some(head) = record.part_of.filter(|head| *head > 0) else { return Ok(None) };
    let (artifact, n) = (record.facts.artifact_id, record.facts.number);
    let missing = || CatalogueError::Damaged(format!("v{n} of artifact {artifact} is a part of no version"));
    numbered(db, artifact, head)?.ok_or_else(missing).map(Some)
}

/// The version whose statements and tags speak for this one: the one that names it as a part, or itself.
pub(super) fn speaker(db: &Db<'_>, record: &VersionRecord) -> Result<VersionId> {
    Ok(head(db, record)?.map_or(record.facts.version_id, |head| head.facts.version_id))
}
