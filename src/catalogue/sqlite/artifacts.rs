//! Namespaces, artifacts, versions and tags.

use rusqlite::params;

use super::super::*;
use super::attestations;
use super::page::{bounded, page};
use super::requests;
use super::rows::{Db, Query};
use super::{log, operators, parts};

/// The longest media type and format, in bytes.
const MAX_WORD: usize = 256;
/// The longest text of a principal, in bytes.
const MAX_PRINCIPAL: usize = 1024;

/// Versions that anyone sees without asking for more.
const LISTED: &str = "unlisted IS NULL AND shred_begun IS NULL";

pub(super) fn create_namespace(db: &Db<'_>, new: &NamespaceRecord, entry: &Entry) -> Result<Sequence> {
    if db.one::<NamespaceRecord>("WHERE name = ?1 OR id = ?2", params![new.name.as_str(), new.id.0])?.is_some() {
        return Err(CatalogueError::AlreadyExists(format!("the namespace {} exists", new.name)));
    }
    db.insert(new)?;
    requests::append(db, entry, 0)
}

pub(super) fn namespaces(db: &Db<'_>) -> Result<Vec<NamespaceRecord>> {
    db.many("ORDER BY name", [])
}

pub(super) fn namespace(db: &Db<'_>, name: &Name) -> Result<NamespaceRecord> {
    db.one("WHERE name = ?1", [name.as_str()])?.ok_or_else(|| missing(format!("namespace {name}")))
}

pub(super) fn artifact(db: &Db<'_>, id: ArtifactId) -> Result<ArtifactRecord> {
    db.one("WHERE id = ?1", [id.0])?.ok_or_else(|| missing(format!("artifact {id}")))
}

pub(super) fn artifact_named(db: &Db<'_>, namespace_name: &Name, name: &Name) -> Result<ArtifactRecord> {
    let lost = || missing(format!("{namespace_name}/{name}"));
    let namespace: NamespaceRecord = db.one("WHERE name = ?1", [namespace_name.as_str()])?.ok_or_else(lost)?;
    artifact_in(db, namespace.id, name)?.ok_or_else(lost)
}

fn artifact_in(db: &Db<'_>, namespace: NamespaceId, name: &Name) -> Result<Option<ArtifactRecord>> {
    db.one("WHERE namespace_id = ?1 AND name = ?2", params![namespace.0, name.as_str()])
}

pub(super) fn list(
    db: &Db<'_>,
    filter: &ArtifactFilter,
    after: Option<&ArtifactCursor>,
    limit: usize,
) -> Result<Page<ArtifactSummary, ArtifactCursor>> {
    let limit = bounded(limit);
    let mut rows = Vec::new();
    let mut summaries = Summaries::prepare(db, filter.visibility)?;
    for namespace in namespaces(db)? {
        let begun = after.is_some_and(|(ns, _)| namespace.name < *ns);
        if begun || !filter.pattern.matches_namespace(namespace.name.as_str()) {
            continue;
        }
        let after = after.filter(|(ns, _)| *ns == namespace.name).map_or("", |(_, name)| name.as_str());
        let prefix = filter.pattern.name_prefix();
        // One lower bound, so that the index is entered where the page begins. 0x7f sorts after every character of a name.
        let (reach, from) = if after < prefix { (">=", prefix) } else { (">", after) };
        let condition = format!("WHERE namespace_id = ?1 AND name {reach} ?2 AND name < ?3 ORDER BY name");
        let mut found = Vec::new();
        db.each(&condition, params![namespace.id.0, from, format!("{prefix}\u{7f}")], |artifact| {
            let artifact: ArtifactRecord = artifact?;
            if filter.pattern.matches_name(artifact.name.as_str())
                && let Some(summary) = summaries.of(&namespace.name, artifact)?
            {
                found.push(summary);
            }
            Ok(rows.len() + found.len() <= limit)
        })?;
        rows.append(&mut found);
        if rows.len() > limit {
            break;
        }
    }
    Ok(page(rows, limit, |s| (s.namespace.clone(), s.artifact.name.clone())))
}

fn visible(seen: Visibility) -> &'static str {
    match seen {
        Visibility::Listed => LISTED,
        Visibility::All => "TRUE",
    }
}

/// How many versions of an artifact there are to see, and the newest: answered by an index alone.
pub(super) fn counts(seen: Visibility) -> String {
    format!("SELECT count(*), max(number) FROM versions WHERE artifact_id = ?1 AND {}", visible(seen))
}

/// What a listing asks about each artifact, prepared once.
struct Summaries<'a> {
    counts: rusqlite::CachedStatement<'a>,
    newest: Query<'a, VersionRecord>,
    tags: Query<'a, TagRecord>,
}

impl<'a> Summaries<'a> {
    fn prepare(db: &'a Db<'_>, seen: Visibility) -> Result<Self> {
        let visible = visible(seen);
        let tags = format!(
            "WHERE artifact_id = ?1 AND number IN (SELECT number FROM versions WHERE artifact_id = ?1 AND {visible})
             ORDER BY tag"
        );
        Ok(Self {
            counts: db.conn.prepare_cached(&counts(seen))?,
            newest: db.query("WHERE artifact_id = ?1 AND number = ?2")?,
            tags: db.query(&tags)?,
        })
    }

    /// `None` if no version of the artifact is to be seen.
    fn of(&mut self, namespace: &Name, artifact: ArtifactRecord) -> Result<Option<ArtifactSummary>> {
        let id = artifact.id.0;
        let (versions, newest): (i64, Option<i64>) =
            self.counts.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some(newest) = newest else { return Ok(None) };
        let gone = || CatalogueError::Damaged(format!("v{newest} of artifact {} cannot be read", artifact.id));
        let newest = self.newest.one(params![id, newest])?.ok_or_else(gone)?;
        let tags = self.tags.many([id])?;
        let versions = versions.unsigned_abs();
        Ok(Some(ArtifactSummary { namespace: namespace.clone(), artifact, versions, newest, tags }))
    }
}

pub(super) fn reserve(db: &Db<'_>, wanted: &NewReservation) -> Result<Reservation> {
    let artifact = match artifact_in(db, wanted.namespace_id, &wanted.name)? {
        Some(artifact) if artifact.kind != wanted.kind => {
            return Err(CatalogueError::AlreadyExists(format!("{} exists as a {}", wanted.name, artifact.kind)));
        }
        Some(artifact) => artifact,
        None => {
            let namespace: Option<NamespaceRecord> = db.one("WHERE id = ?1", [wanted.namespace_id.0])?;
            namespace.ok_or_else(|| missing(format!("namespace {}", wanted.namespace_id)))?;
            let artifact = ArtifactRecord {
                id: wanted.artifact_id,
                namespace_id: wanted.namespace_id,
                name: wanted.name.clone(),
                kind: wanted.kind,
                next_number: 1,
                created: db.now,
                marks: Default::default(),
            };
            db.insert(&artifact)?;
            artifact
        }
    };
    if let Some(earlier) = reservation(db, wanted.version_id)? {
        return if earlier.artifact_id == artifact.id { Ok(earlier) } else { Err(taken(wanted.version_id)) };
    }
    if db.one::<VersionRecord>("WHERE id = ?1", [wanted.version_id.0])?.is_some() {
        return Err(taken(wanted.version_id));
    }
    let reservation = Reservation {
        version_id: wanted.version_id,
        artifact_id: artifact.id,
        number: artifact.next_number,
        reserved: db.now,
    };
    db.update(&ArtifactRecord { next_number: artifact.next_number + 1, ..artifact })?;
    db.insert(&reservation)?;
    Ok(reservation)
}

fn reservation(db: &Db<'_>, version: VersionId) -> Result<Option<Reservation>> {
    db.one("WHERE version_id = ?1", [version.0])
}

fn taken(version: VersionId) -> CatalogueError {
    CatalogueError::AlreadyExists(format!("the version id {version} is taken"))
}

pub(super) fn publication(db: &Db<'_>, request: RequestId) -> Result<Option<Published>> {
    let earlier: Option<VersionRecord> = db.one("WHERE request_id = ?1", [request.0])?;
    Ok(earlier.map(|v| Published {
        version_id: v.facts.version_id,
        number: v.facts.number,
        sequence: v.sequence,
        replayed: true,
    }))
}

pub(super) fn publish(
    db: &Db<'_>,
    (new, role): (NewVersion, VersionRole),
    tag: Option<&Tag>,
    attestations: Vec<NewAttestation>,
    audit: OfMoves,
) -> Result<Published> {
    for (what, text, most) in [
        ("media type", &new.media_type, MAX_WORD),
        ("format", &new.format, MAX_WORD),
        ("sealed_by", &new.sealed_by, MAX_PRINCIPAL),
    ] {
        short(what, text, most)?;
    }
    if let Some(earlier) = publication(db, new.request_id)? {
        let of = version(db, earlier.version_id)?.facts.artifact_id;
        return if of == new.artifact_id {
            Ok(earlier)
        } else {
            Err(CatalogueError::AlreadyExists(format!("request {} published another artifact", new.request_id)))
        };
    }
    let reserved = reservation(db, new.version_id)?
        .filter(|r| r.artifact_id == new.artifact_id && r.number == new.number)
        .ok_or_else(|| missing(format!("a reservation of v{} for version {}", new.number, new.version_id)))?;
    let artifact = artifact(db, new.artifact_id)?;
    db.execute("DELETE FROM reservations WHERE version_id = ?1", [reserved.version_id.0])?;
    let latest = Tag::latest();
    let ahead = tag_of(db, artifact.id, &latest)?.is_some_and(|t| t.number > new.number);
    let part_of = parts::join(db, &role, &new, tag)?;
    let moving = [(!ahead && tag != Some(&latest) && role != VersionRole::Part).then_some(&latest), tag];
    let moves = moving.into_iter().flatten().map(|t| next_move(db, artifact.id, t, new.number));
    let moves = moves.collect::<Result<Vec<_>>>()?;
    let sequence = requests::append(db, &audit(&moves), 0)?;
    let record = VersionRecord {
        facts: new,
        namespace_id: artifact.namespace_id,
        kind: artifact.kind,
        sequence,
        unlisted: None,
        shred_begun: None,
        shredded: None,
        part_of,
    };
    db.insert(&record)?;
    for attestation in attestations {
        if attestation.version_id != record.facts.version_id {
            return Err(CatalogueError::InvalidArgument("a statement about another version".into()));
        }
        attestations::put(db, attestation)?;
    }
    for to in &moves {
        move_tag(db, to, &record)?;
    }
    let facts = &record.facts;
    Ok(Published { version_id: facts.version_id, number: facts.number, sequence, replayed: false })
}

pub(super) fn version(db: &Db<'_>, id: VersionId) -> Result<VersionRecord> {
    db.one("WHERE id = ?1", [id.0])?.ok_or_else(|| missing(format!("version {id}")))
}

pub(super) fn locate(
    db: &Db<'_>,
    namespace: &Name,
    name: &Name,
    revision: &Revision,
    seen: Visibility,
) -> Result<Located> {
    let reference = || format!("{namespace}/{name}@{revision}");
    let artifact = artifact_named(db, namespace, name).map_err(|e| match e {
        CatalogueError::NotFound(_) => missing(reference()),
        other => other,
    })?;
    let (found, tag): (Option<VersionRecord>, _) = match revision {
        Revision::Version(n) => (numbered(db, artifact.id, *n)?, None),
        Revision::Tag(tag) => match tag_of(db, artifact.id, tag)? {
            Some(at) => {
                let found = version(db, at.version_id).map_err(|_| contradiction(&at))?;
                if found.facts.number != at.number || found.facts.artifact_id != artifact.id {
                    return Err(contradiction(&at));
                }
                (Some(found), Some(at))
            }
            None => (None, None),
        },
        // The same sealed file may have been imported twice: the newest that may be seen.
        Revision::Root(root) => {
            let order = "ORDER BY shred_begun IS NOT NULL, unlisted IS NOT NULL, number DESC LIMIT 1";
            let condition = format!("WHERE artifact_id = ?1 AND root = ?2 {order}");
            (db.one(&condition, params![artifact.id.0, root.0])?, None)
        }
    };
    let version = found.ok_or_else(|| missing(reference()))?;
    if version.shred_begun.is_some() {
        return Err(CatalogueError::Shredded(reference()));
    }
    if version.unlisted.is_some() && seen == Visibility::Listed {
        return Err(missing(reference()));
    }
    Ok(Located { artifact, version, tag })
}

pub(super) fn numbered(db: &Db<'_>, artifact: ArtifactId, n: u64) -> Result<Option<VersionRecord>> {
    // Numbers above 63 bits were never given out.
    let Ok(n) = i64::try_from(n) else { return Ok(None) };
    db.one("WHERE artifact_id = ?1 AND number = ?2", params![artifact.0, n])
}

pub(super) fn versions_of(
    db: &Db<'_>,
    artifact_id: ArtifactId,
    seen: Visibility,
    before: Option<u64>,
    limit: usize,
) -> Result<Page<VersionRecord, u64>> {
    artifact(db, artifact_id)?;
    let visible = visible(seen);
    let (limit, before) = (bounded(limit), before.and_then(|n| i64::try_from(n).ok()).unwrap_or(i64::MAX));
    let rows = db.many(
        &format!("WHERE artifact_id = ?1 AND number < ?2 AND {visible} ORDER BY number DESC LIMIT ?3"),
        params![artifact_id.0, before, limit as i64 + 1],
    )?;
    Ok(page(rows, limit, |v: &VersionRecord| v.facts.number))
}

pub(super) fn rotate_header(db: &Db<'_>, rotation: &HeaderRotation, audit: &[u8]) -> Result<Sequence> {
    let mut record = version(db, rotation.version_id)?;
    if record.shred_begun.is_some() {
        return Err(CatalogueError::Shredded(format!("version {}", rotation.version_id)));
    }
    if record.facts.generation != rotation.expect_generation {
        return Err(CatalogueError::AlreadyExists(format!(
            "header generation {} is in force, not {}",
            record.facts.generation, rotation.expect_generation
        )));
    }
    if rotation.generation <= rotation.expect_generation {
        return Err(CatalogueError::InvalidArgument("a new header has a higher generation".into()));
    }
    record.facts.generation = rotation.generation;
    record.facts.header_len = rotation.header_len;
    record.facts.artifact_key = rotation.artifact_key;
    db.update(&record)?;
    log::append(db, audit)
}

pub(super) fn set_tag(
    db: &Db<'_>,
    artifact_id: ArtifactId,
    tag: &Tag,
    n: u64,
    expect: Option<u64>,
    entry: OfMove,
) -> Result<(TagMove, Sequence)> {
    let artifact = artifact(db, artifact_id)?;
    let to = next_move(db, artifact_id, tag, n)?;
    if let Some(expected) = expect
        && to.from.unwrap_or(0) != expected
    {
        return Err(CatalogueError::TagMoved { tag: tag.to_string(), expected, found: to.from });
    }
    let target = numbered(db, artifact_id, n)?.filter(|v| v.unlisted.is_none());
    let target = target.ok_or_else(|| missing(format!("{}@v{n}", artifact.name)))?;
    if target.shred_begun.is_some() {
        return Err(CatalogueError::Shredded(format!("{}@v{n}", artifact.name)));
    }
    if target.part_of.is_some() {
        let text = format!("{}@v{n} is a part of a dataset, to which no tag goes", artifact.name);
        return Err(CatalogueError::InvalidArgument(text));
    }
    move_tag(db, &to, &target)?;
    let sequence = requests::append(db, &entry(&to), n)?;
    Ok((to, sequence))
}

/// What the next move of a tag is, if it goes to version `n`.
fn next_move(db: &Db<'_>, artifact: ArtifactId, tag: &Tag, n: u64) -> Result<TagMove> {
    let before = tag_of(db, artifact, tag)?;
    let sequence = before.as_ref().map_or(1, |t| t.moves + 1);
    Ok(TagMove { tag: tag.clone(), from: before.map(|t| t.number), to: n, sequence })
}

fn move_tag(db: &Db<'_>, to: &TagMove, target: &VersionRecord) -> Result<()> {
    let NewVersion { artifact_id, version_id, number, .. } = target.facts;
    let record = TagRecord { artifact_id, tag: to.tag.clone(), version_id, number, moves: to.sequence, moved: db.now };
    match to.from {
        Some(_) => db.update(&record),
        None if db.number("SELECT count(*) FROM tags WHERE artifact_id = ?1", [artifact_id.0])? >= MAX_TAGS => {
            Err(CatalogueError::InvalidArgument(format!("an artifact has at most {MAX_TAGS} tags")))
        }
        None => db.insert(&record),
    }
}

fn tag_of(db: &Db<'_>, artifact: ArtifactId, tag: &Tag) -> Result<Option<TagRecord>> {
    db.one("WHERE artifact_id = ?1 AND tag = ?2", params![artifact.0, tag.as_str()])
}

pub(super) fn tags_of(db: &Db<'_>, artifact: ArtifactId) -> Result<Vec<TagRecord>> {
    db.many("WHERE artifact_id = ?1 ORDER BY tag", [artifact.0])
}

pub(super) fn set_listing(db: &Db<'_>, scope: ListingScope, listed: bool, entry: &Entry) -> Result<(u64, Sequence)> {
    let versions = match scope {
        ListingScope::Version(id) => {
            let record = version(db, id)?;
            if record.shred_begun.is_some() {
                return Err(CatalogueError::Shredded(format!("version {id}")));
            }
            parts::stands_alone(&record)?;
            let mut all = parts::of(db, record.facts.artifact_id, record.facts.number)?;
            all.retain(|part| part.shred_begun.is_none());
            all.push(record);
            all
        }
        ListingScope::Artifact(id) => {
            artifact(db, id)?;
            db.many::<VersionRecord>("WHERE artifact_id = ?1 AND shred_begun IS NULL", [id.0])?
        }
    };
    let mut changed = 0;
    for record in versions.into_iter().filter(|v| v.unlisted.is_none() != listed) {
        db.update(&VersionRecord { unlisted: (!listed).then_some(db.now), ..record })?;
        changed += 1;
    }
    Ok((changed, requests::append(db, entry, changed)?))
}

pub(super) fn purgeable(
    db: &Db<'_>,
    before: Timestamp,
    after: Option<VersionId>,
    limit: usize,
) -> Result<Page<VersionRecord, VersionId>> {
    let (limit, after) = (bounded(limit), after.map_or(Vec::new(), |v| v.0.to_vec()));
    let rows = db.many(
        "WHERE unlisted IS NOT NULL AND unlisted < ?1 AND shred_begun IS NULL AND id > ?2 ORDER BY id LIMIT ?3",
        params![before.as_millis(), after, limit as i64 + 1],
    )?;
    Ok(page(rows, limit, |v: &VersionRecord| v.facts.version_id))
}

/// First step of a shred: from here on nobody gets the version and its parts, all of which it names. `Shredded` if the last step
/// was done.
pub(super) fn begin_shred(db: &Db<'_>, id: VersionId, approval: Option<Spend>) -> Result<Vec<VersionId>> {
    let record = version(db, id)?;
    match (record.shred_begun, record.shredded) {
        (_, Some(_)) => return Err(CatalogueError::Shredded(format!("version {id}"))),
        (Some(_), None) => {}
        (None, None) => {
            parts::may_go(db, &record)?;
            operators::spend(db, approval.as_ref())?;
        }
    }
    let mut all = parts::of(db, record.facts.artifact_id, record.facts.number)?;
    all.retain(|part| part.shredded.is_none());
    all.push(record);
    for begun in all.iter().filter(|v| v.shred_begun.is_none()) {
        db.update(&VersionRecord { shred_begun: Some(db.now), ..begun.clone() })?;
    }
    Ok(all.into_iter().map(|v| v.facts.version_id).collect())
}

/// Last step of a shred: the keys are gone.
pub(super) fn finish_shred(db: &Db<'_>, id: VersionId, entry: &Entry) -> Result<Sequence> {
    let record = version(db, id)?;
    if record.shredded.is_some() {
        return Err(CatalogueError::Shredded(format!("version {id}")));
    }
    let mut all = parts::of(db, record.facts.artifact_id, record.facts.number)?;
    all.retain(|part| part.shredded.is_none());
    all.push(record);
    for gone in all {
        db.update(&VersionRecord { shredded: Some(db.now), ..gone })?;
    }
    requests::append(db, entry, 0)
}

pub(super) fn unfinished_shreds(db: &Db<'_>) -> Result<Vec<VersionRecord>> {
    db.many("WHERE shred_begun IS NOT NULL AND shredded IS NULL ORDER BY id LIMIT ?1", [MAX_PAGE as i64])
}

pub(super) fn unused_reservations(
    db: &Db<'_>,
    before: Timestamp,
    after: Option<VersionId>,
    limit: usize,
) -> Result<Page<Reservation, VersionId>> {
    let (limit, after) = (bounded(limit), after.map_or(Vec::new(), |v| v.0.to_vec()));
    let rows = db.many(
        "WHERE reserved < ?1 AND version_id > ?2 ORDER BY version_id LIMIT ?3",
        params![before.as_millis(), after, limit as i64 + 1],
    )?;
    Ok(page(rows, limit, |r: &Reservation| r.version_id))
}

pub(super) fn abandon_reservation(db: &Db<'_>, version: VersionId) -> Result<bool> {
    let of: Option<Vec<u8>> =
        db.value("DELETE FROM reservations WHERE version_id = ?1 RETURNING artifact_id", [version.0])?;
    let Some(artifact) = of else { return Ok(false) };
    // A name that never had a version and waits for none would be in the way of another kind, and of nothing else.
    let unused = ["versions", "reservations", "grants", "tags"]
        .map(|table| format!("NOT EXISTS (SELECT 1 FROM {table} WHERE artifact_id = ?1)"));
    db.execute(&format!("DELETE FROM artifacts WHERE id = ?1 AND {}", unused.join(" AND ")), [artifact])?;
    Ok(true)
}

pub(super) fn blob_state(db: &Db<'_>, id: VersionId) -> Result<BlobState> {
    let record: Option<VersionRecord> = db.one("WHERE id = ?1", [id.0])?;
    Ok(match record {
        Some(v) if v.shredded.is_some() => BlobState::Shredded,
        Some(v) => BlobState::Live { generation: v.facts.generation },
        None if reservation(db, id)?.is_some() => BlobState::Reserved,
        None => BlobState::Unknown,
    })
}

pub(super) fn short(what: &str, text: &str, most: usize) -> Result<()> {
    if text.len() <= most {
        return Ok(());
    }
    Err(CatalogueError::InvalidArgument(format!("{what} has {} bytes; at most {most} are kept", text.len())))
}

pub(super) fn missing(what: impl Into<String>) -> CatalogueError {
    CatalogueError::NotFound(what.into())
}

fn contradiction(tag: &TagRecord) -> CatalogueError {
    CatalogueError::Damaged(format!("the tag {} of artifact {} is at no version of it", tag.tag, tag.artifact_id))
}
