//! What every catalogue promises. One suite, run on each implementation: every function takes an empty catalogue.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::names::{ArtifactKind, Clock, Commitment, FileId, KeyId, Root, Sha256};

/// Fails by panicking.
type Check = fn(&dyn Catalogue, &StepClock);

/// All promises, for an implementation to run each on a new catalogue.
pub(super) const SUITE: &[(&str, Check)] = &[
    ("reservations and publication", reservations_and_publication),
    ("publication is idempotent", publication_is_idempotent),
    ("latest only moves forward", latest_only_moves_forward),
    ("references resolve", references_resolve),
    ("tags move as expected", tags_move_as_expected),
    ("moves are numbered for life", moves_are_numbered_for_life_and_told_to_the_audit_row),
    ("unlisting is recoverable", unlisting_is_recoverable),
    ("listings page", listings_page),
    ("statements are attached once", statements_are_attached_once),
    ("parts go with the version that names them", parts_go_with_the_version_that_names_them),
    ("headers rotate", headers_rotate),
    ("keys are kept and rewrapped", keys_are_kept_and_rewrapped),
    ("shredding is final and resumable", shredding_is_final_and_resumable),
    ("policies keep their history", policies_keep_their_history),
    ("trust stores keep their history", trust_stores_keep_their_history),
    ("revocation holds", revocation_holds),
    ("grants", grants),
    ("audit rows are gapless", audit_rows_are_gapless),
    ("a failed command leaves no trace", a_failed_command_leaves_no_trace),
    ("checkpoints grow", checkpoints_grow),
    ("orphans can be found", orphans_can_be_found),
    ("a name without a version is free", a_name_without_a_version_is_free),
    ("requests are carried out once", requests_are_carried_out_once),
    ("accounts never go back", accounts_never_go_back),
    ("many threads publish one name", many_threads_publish_one_name),
];

/// A clock that tests move.
pub(super) struct StepClock(Mutex<Timestamp>);

impl StepClock {
    pub fn new() -> Self {
        Self(Mutex::new(Timestamp::from_millis(1_800_000_000_000)))
    }

    pub fn step(&self, by: Duration) -> Timestamp {
        let mut now = self.0.lock().unwrap();
        *now = now.plus(by);
        *now
    }
}

impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn leaf(text: &str) -> AuditLeaf {
    text.as_bytes().to_vec()
}

fn entry(text: &str) -> Entry {
    leaf(text).into()
}

fn id16(n: u32) -> [u8; 16] {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    id[15] = 0x77;
    id
}

fn version_id(n: u32) -> VersionId {
    VersionId(id16(n))
}

/// The namespace `prod`.
pub(super) fn prod(c: &dyn Catalogue) -> NamespaceId {
    let id = NamespaceId([9; 16]);
    let record = NamespaceRecord { id, name: name("prod"), created: Timestamp::from_millis(5) };
    c.create_namespace(record, entry("namespace")).unwrap();
    id
}

pub(super) fn reservation(namespace_id: NamespaceId, artifact: &str, n: u32) -> NewReservation {
    NewReservation {
        namespace_id,
        name: name(artifact),
        kind: ArtifactKind::Model,
        artifact_id: ArtifactId(id16(n + 1_000_000)),
        version_id: version_id(n),
    }
}

pub(super) fn reserve(c: &dyn Catalogue, namespace_id: NamespaceId, artifact: &str, n: u32) -> Result<Reservation> {
    c.reserve_version(reservation(namespace_id, artifact, n))
}

/// The facts of a version that keeps a reservation. `n` makes everything in it unique.
pub(super) fn facts(r: &Reservation, n: u32) -> NewVersion {
    let wide = |salt: u8| {
        let mut id = [salt; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        id
    };
    NewVersion {
        version_id: r.version_id,
        artifact_id: r.artifact_id,
        number: r.number,
        file_id: FileId(wide(1)),
        commitment: Commitment(wide(2)),
        root: Root(wide(3)),
        generation: 1,
        header_len: 500,
        body_len: 1 << 40,
        payload_len: (1 << 40) - 100,
        content_len: (1 << 40) - 5000,
        member_count: 3,
        media_type: "application/vnd.onnx".into(),
        format: "onnx".into(),
        signer: KeyId(wide(4)),
        sealed_by: "operator local:uid:1000".into(),
        created: Timestamp::from_millis(1_800_000_000_000),
        artifact_key: ArtifactKeyRef { id: crate::names::KekId(id16(n + 2_000_000)), version: 1 },
        request_id: RequestId(id16(n + 3_000_000)),
    }
}

pub(super) fn key_row(facts: &NewVersion, namespace_id: NamespaceId, fill: u8) -> ArtifactKeyRow {
    ArtifactKeyRow {
        key: facts.artifact_key,
        namespace_id,
        version_id: facts.version_id,
        namespace_kek_version: 1,
        salt: [fill; 32],
        wrapped: [fill; 80],
    }
}

/// The same row whatever moved.
pub(super) fn of_moves(leaf: AuditLeaf) -> OfMoves {
    Box::new(move |_| leaf.into())
}

fn of_move(entry: Entry) -> OfMove {
    Box::new(move |_| entry)
}

pub(super) fn publish(c: &dyn Catalogue, namespace: NamespaceId, artifact: &str, n: u32) -> NewVersion {
    let facts = facts(&reserve(c, namespace, artifact, n).unwrap(), n);
    c.put_artifact_key(key_row(&facts, namespace, n as u8)).unwrap();
    let published = c.publish_version(facts.clone(), None, of_moves(leaf("publish"))).unwrap();
    assert!(!published.replayed);
    facts
}

fn resolve(c: &dyn Catalogue, reference: &str) -> Result<VersionRecord> {
    let r: crate::names::Reference = reference.parse().unwrap();
    c.locate(&r.namespace, &r.name, &r.revision, Visibility::Listed).map(|at| at.version)
}

macro_rules! refused {
    ($result:expr, $($variant:tt)+) => {
        match $result {
            Err(CatalogueError::$($variant)+) => {}
            other => panic!("expected {}, not {other:?}", stringify!($($variant)+)),
        }
    };
}

fn reservations_and_publication(c: &dyn Catalogue, clock: &StepClock) {
    let ns = prod(c);
    refused!(
        c.create_namespace(
            NamespaceRecord { id: NamespaceId([8; 16]), name: name("prod"), created: clock.now() },
            entry("again")
        ),
        AlreadyExists(_)
    );
    refused!(reserve(c, NamespaceId([1; 16]), "resnet", 1), NotFound(_));
    let first = reserve(c, ns, "resnet", 1).unwrap();
    assert_eq!((first.number, reserve(c, ns, "resnet", 1).unwrap()), (1, first), "the same id again: the same number");
    let second = reserve(c, ns, "resnet", 2).unwrap();
    assert_eq!((second.number, second.artifact_id), (2, first.artifact_id), "a number may stay unused");
    refused!(reserve(c, ns, "other", 2), AlreadyExists(_));
    refused!(
        c.reserve_version(NewReservation {
            namespace_id: ns,
            name: name("resnet"),
            kind: ArtifactKind::Dataset,
            artifact_id: ArtifactId([7; 16]),
            version_id: version_id(7),
        }),
        AlreadyExists(_)
    );
    refused!(resolve(c, "prod/resnet"), NotFound(_));

    let wrong_number = NewVersion { number: 1, ..facts(&second, 2) };
    refused!(c.publish_version(wrong_number, None, of_moves(leaf("x"))), NotFound(_));
    let unreserved = NewVersion { version_id: version_id(3), ..facts(&second, 2) };
    refused!(c.publish_version(unreserved, None, of_moves(leaf("x"))), NotFound(_));
    let too_large = NewVersion { body_len: u64::MAX, ..facts(&second, 2) };
    refused!(c.publish_version(too_large, None, of_moves(leaf("x"))), InvalidArgument(_));
    let wordy = NewVersion { media_type: "x".repeat(10_000), ..facts(&second, 2) };
    refused!(c.publish_version(wordy, None, of_moves(leaf("x"))), InvalidArgument(_));

    let new = facts(&second, 2);
    let published = c.publish_version(new.clone(), Some(tag("gold")), of_moves(leaf("publish"))).unwrap();
    assert_eq!((published.number, published.version_id), (2, new.version_id));
    let record = c.version(new.version_id).unwrap();
    assert_eq!((record.facts, record.sequence, record.kind), (new.clone(), published.sequence, ArtifactKind::Model));
    assert_eq!(c.audit_range(published.sequence, 1).unwrap(), [(published.sequence, leaf("publish"))]);
    let twice = NewVersion { request_id: RequestId([5; 16]), ..new };
    refused!(c.publish_version(twice, None, of_moves(leaf("x"))), NotFound(_));
    refused!(reserve(c, ns, "resnet", 2), AlreadyExists(_));
    assert_eq!(c.audit_len().unwrap(), 2, "refused commands leave no audit row");
}

fn publication_is_idempotent(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let first = publish(c, ns, "resnet", 1);
    let len = c.audit_len().unwrap();
    // A client that lost the answer seals anew: another version id and number, the same request.
    let again = facts(&reserve(c, ns, "resnet", 2).unwrap(), 2);
    let again = NewVersion { request_id: first.request_id, ..again };
    let replayed = c.publish_version(again, Some(tag("gold")), of_moves(leaf("publish"))).unwrap();
    assert_eq!((replayed.number, replayed.version_id, replayed.replayed), (1, first.version_id, true));
    assert_eq!(c.publication(first.request_id).unwrap(), Some(replayed));
    assert_eq!((c.audit_len().unwrap(), c.stats().unwrap().versions), (len, 1));
    refused!(resolve(c, "prod/resnet@gold"), NotFound(_));
    let other = facts(&reserve(c, ns, "other", 3).unwrap(), 3);
    let stolen = NewVersion { request_id: first.request_id, ..other };
    refused!(c.publish_version(stolen, None, of_moves(leaf("x"))), AlreadyExists(_));
    assert_eq!(c.publication(RequestId([1; 16])).unwrap(), None);
}

fn latest_only_moves_forward(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let (slow, fast) = (reserve(c, ns, "resnet", 1).unwrap(), reserve(c, ns, "resnet", 2).unwrap());
    c.publish_version(facts(&fast, 2), None, of_moves(leaf("fast"))).unwrap();
    c.publish_version(facts(&slow, 1), Some(tag("slow")), of_moves(leaf("slow"))).unwrap();
    assert_eq!(resolve(c, "prod/resnet").unwrap().facts.number, 2);
    assert_eq!(resolve(c, "prod/resnet@slow").unwrap().facts.number, 1);
    // Moved back by hand, it follows the next seal again.
    c.set_tag(slow.artifact_id, Tag::latest(), 1, Some(2), of_move(entry("back"))).unwrap();
    publish(c, ns, "resnet", 3);
    assert_eq!(resolve(c, "prod/resnet").unwrap().facts.number, 3);
}

fn references_resolve(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let (v1, v2) = (publish(c, ns, "resnet", 1), publish(c, ns, "resnet", 2));
    publish(c, ns, "other", 3);
    let number = |reference: &str| resolve(c, reference).map(|v| v.facts.number);
    assert_eq!(number("prod/resnet@v1"), Ok(1));
    assert_eq!(number("prod/resnet"), Ok(2));
    assert_eq!(number(&format!("prod/resnet@b3:{}", v2.root)), Ok(2));
    for unknown in
        ["prod/resnet@v3", "prod/resnet@v99999999999999999999", "prod/resnet@gold", "prod/none", "dev/resnet"]
    {
        refused!(resolve(c, unknown), NotFound(_));
    }
    refused!(resolve(c, &format!("prod/other@b3:{}", v1.root)), NotFound(_));
    assert_eq!(c.artifact_named(&name("prod"), &name("resnet")).unwrap().id, v1.artifact_id);
    assert_eq!(c.namespace(&name("prod")).unwrap().id, ns);
    refused!(c.artifact(ArtifactId([0; 16])), NotFound(_));
    refused!(c.version(VersionId([0; 16])), NotFound(_));
}

fn parts_go_with_the_version_that_names_them(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let make = |n: u32, role: VersionRole, tag: Option<Tag>| {
        let new = facts(&reserve(c, ns, "pictures", n).unwrap(), n);
        c.put_artifact_key(key_row(&new, ns, n as u8)).unwrap();
        c.publish_as(new.clone(), role, tag, Vec::new(), of_moves(leaf("publish"))).map(|_| new)
    };
    refused!(make(1, VersionRole::Part, Some(tag("gold"))), InvalidArgument(_));
    let parts: Vec<_> = (2..4).map(|n| make(n, VersionRole::Part, None).unwrap()).collect();
    let (artifact, ids) = (parts[0].artifact_id, parts.iter().map(|p| p.version_id).collect::<Vec<_>>());
    refused!(resolve(c, "prod/pictures"), NotFound(_));
    refused!(c.set_tag(artifact, tag("gold"), parts[0].number, None, of_move(entry("x"))), InvalidArgument(_));
    let other = publish(c, ns, "other", 9).version_id;
    for (n, wrong) in [vec![ids[0], other], vec![ids[0], ids[0]], vec![version_id(77)]].into_iter().enumerate() {
        assert!(make(20 + n as u32, VersionRole::Head(wrong), None).is_err());
        assert_eq!(c.version(ids[0]).unwrap().part_of, Some(0), "nothing is taken by a version that is refused");
    }
    let head = make(11, VersionRole::Head(ids.clone()), Some(tag("gold"))).unwrap();
    assert_eq!(resolve(c, "prod/pictures@gold").unwrap().facts, head);
    let named: Vec<_> = c.parts_of(artifact, head.number).unwrap().iter().map(|p| p.facts.version_id).collect();
    assert_eq!((named, c.parts_of(artifact, 0).unwrap()), (ids.clone(), Vec::new()));
    refused!(make(12, VersionRole::Head(ids.clone()), None), InvalidArgument(_));
    refused!(c.unlist(ListingScope::Version(ids[0]), entry("x")), InvalidArgument(_));
    refused!(c.shred(ids[0], entry("x")), InvalidArgument(_));
    assert_eq!(c.unlist(ListingScope::Version(head.version_id), entry("rm")).unwrap().0, 3);
    assert!(ids.iter().all(|id| c.version(*id).unwrap().unlisted.is_some()));
    refused!(c.relist(ListingScope::Version(ids[1]), entry("x")), InvalidArgument(_));
    assert_eq!(c.relist(ListingScope::Version(head.version_id), entry("undo")).unwrap().0, 3);
    c.shred(head.version_id, entry("shred")).unwrap();
    for id in ids.iter().chain([&head.version_id]) {
        let gone = c.version(*id).unwrap();
        assert!(gone.shredded.is_some());
        assert!(c.artifact_key(gone.facts.artifact_key).is_err(), "its key is gone");
    }
    assert_eq!(c.unfinished_shreds().unwrap(), Vec::new());
    // One that no version names goes by itself, and is then named by none.
    let orphan = make(13, VersionRole::Part, None).unwrap().version_id;
    c.shred(orphan, entry("shred")).unwrap();
    refused!(make(14, VersionRole::Head(vec![orphan]), None), InvalidArgument(_));
}

fn tags_move_as_expected(c: &dyn Catalogue, clock: &StepClock) {
    let ns = prod(c);
    let artifact = publish(c, ns, "resnet", 1).artifact_id;
    publish(c, ns, "resnet", 2);
    let gold = || tag("gold");
    let absent = c.set_tag(artifact, gold(), 1, Some(2), of_move(entry("x")));
    assert_eq!(absent, Err(CatalogueError::TagMoved { tag: "gold".into(), expected: 2, found: None }));
    let (at, sequence) = c.set_tag(artifact, gold(), 1, None, of_move(entry("first"))).unwrap();
    assert_eq!((at.from, at.to, at.sequence, sequence), (None, 1, 1, c.audit_len().unwrap() - 1));
    let later = clock.step(Duration::from_secs(60));
    let (at, _) = c.set_tag(artifact, gold(), 2, Some(1), of_move(entry("second"))).unwrap();
    assert_eq!((at.from, at.to, at.sequence), (Some(1), 2, 2));
    assert_eq!(c.tags_of(artifact).unwrap()[0].moved, later);
    let moved = c.set_tag(artifact, gold(), 1, Some(1), of_move(entry("x")));
    assert_eq!(moved, Err(CatalogueError::TagMoved { tag: "gold".into(), expected: 1, found: Some(2) }));
    refused!(c.set_tag(artifact, gold(), 9, None, of_move(entry("x"))), NotFound(_));
    refused!(c.set_tag(ArtifactId([0; 16]), gold(), 1, None, of_move(entry("x"))), NotFound(_));
    let tags: Vec<_> = c.tags_of(artifact).unwrap().into_iter().map(|t| (t.tag.to_string(), t.number)).collect();
    assert_eq!(tags, [("gold".to_string(), 2), ("latest".to_string(), 2)]);
}

fn moves_are_numbered_for_life_and_told_to_the_audit_row(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let v1 = facts(&reserve(c, ns, "resnet", 1).unwrap(), 1);
    let told = |moves: &[TagMove]| -> Entry {
        moves.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ").into_bytes().into()
    };
    let published = c.publish_version(v1.clone(), Some(tag("gold")), Box::new(move |m| told(m))).unwrap();
    let row = |sequence| String::from_utf8(c.audit_range(sequence, 1).unwrap()[0].1.clone()).unwrap();
    assert_eq!(row(published.sequence), "latest -> v1 (1), gold -> v1 (1)");
    let v2 = facts(&reserve(c, ns, "resnet", 2).unwrap(), 2);
    let published = c.publish_version(v2.clone(), Some(Tag::latest()), Box::new(move |m| told(m))).unwrap();
    assert_eq!(row(published.sequence), "latest v1 -> v2 (2)");
    let set = |n, expect| {
        let of_move: OfMove = Box::new(|m| entry(&m.to_string()));
        c.set_tag(v1.artifact_id, tag("gold"), n, expect, of_move)
    };
    assert_eq!(row(set(2, None).unwrap().1), "gold v1 -> v2 (2)");
    assert_eq!(row(set(2, None).unwrap().1), "gold v2 -> v2 (3)", "to where it is: a move all the same");
    // Neither a refusal nor a version that goes away takes or gives a number.
    refused!(set(1, Some(1)), TagMoved { .. });
    c.unlist(ListingScope::Version(v2.version_id), entry("rm")).unwrap();
    c.relist(ListingScope::Version(v2.version_id), entry("undo")).unwrap();
    c.shred(v2.version_id, entry("shred")).unwrap();
    assert_eq!(row(set(1, Some(2)).unwrap().1), "gold v2 -> v1 (4)");
}

fn unlisting_is_recoverable(c: &dyn Catalogue, clock: &StepClock) {
    let ns = prod(c);
    let (v1, v2) = (publish(c, ns, "resnet", 1), publish(c, ns, "resnet", 2));
    let since = clock.step(Duration::from_secs(1));
    assert_eq!(c.unlist(ListingScope::Version(v2.version_id), entry("rm")).unwrap().0, 1);
    refused!(resolve(c, "prod/resnet"), NotFound(_));
    refused!(resolve(c, "prod/resnet@v2"), NotFound(_));
    refused!(resolve(c, &format!("prod/resnet@b3:{}", v2.root)), NotFound(_));
    refused!(c.set_tag(v2.artifact_id, tag("gold"), 2, None, of_move(entry("x"))), NotFound(_));
    let all = c.locate(&name("prod"), &name("resnet"), &Revision::Version(2), Visibility::All).unwrap().version;
    assert_eq!(all.unlisted, Some(since));
    let later = clock.step(Duration::from_secs(1));
    assert_eq!(
        c.unlist(ListingScope::Artifact(v1.artifact_id), entry("rm all")).unwrap().0,
        1,
        "v2 was hidden already"
    );
    assert_eq!(c.version(v2.version_id).unwrap().unlisted, Some(since), "the first time counts for the grace time");
    let purgeable = |before| c.purgeable(before, None, 10).unwrap().rows.len();
    assert_eq!((purgeable(since), purgeable(later), purgeable(later.plus(Duration::from_millis(1)))), (0, 1, 2));
    let filter = |visibility| ArtifactFilter { pattern: Pattern::all(), visibility };
    assert_eq!(c.list(&filter(Visibility::Listed), None, 10).unwrap().rows.len(), 0);
    assert_eq!(c.list(&filter(Visibility::All), None, 10).unwrap().rows[0].versions, 2);
    assert_eq!(c.relist(ListingScope::Version(v1.version_id), entry("undo")).unwrap().0, 1);
    assert_eq!(c.relist(ListingScope::Version(v1.version_id), entry("undo again")).unwrap().0, 0);
    assert_eq!(resolve(c, "prod/resnet@v1").unwrap().facts, v1);
    let listed = &c.list(&filter(Visibility::Listed), None, 10).unwrap().rows[0];
    assert_eq!((&listed.newest.facts, listed.versions, listed.tags.len()), (&v1, 1, 0), "latest is at what is hidden");
    assert_eq!(c.list(&filter(Visibility::All), None, 10).unwrap().rows[0].tags.len(), 1);
    assert_eq!(c.relist(ListingScope::Artifact(v1.artifact_id), entry("undo all")).unwrap().0, 1);
    assert_eq!(resolve(c, "prod/resnet").unwrap().facts, v2);
}

fn listings_page(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let dev = NamespaceId([3; 16]);
    let record = NamespaceRecord { id: dev, name: name("dev"), created: Timestamp::from_millis(6) };
    c.create_namespace(record, entry("dev")).unwrap();
    for n in 0..25 {
        publish(c, if n % 2 == 0 { ns } else { dev }, &format!("model-{n:02}"), n + 1);
    }
    for n in 0..5 {
        publish(c, ns, "model-00", 100 + n);
    }
    reserve(c, ns, "never-published", 999).unwrap();
    let names = |pattern: &str, limit: usize| {
        let filter = ArtifactFilter { pattern: pattern.parse().unwrap(), visibility: Visibility::Listed };
        let (mut all, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = c.list(&filter, after.as_ref(), limit).unwrap();
            assert!(page.rows.len() <= limit);
            all.extend(page.rows.iter().map(|s| format!("{}/{}", s.namespace, s.artifact.name)));
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => return (all, pages),
            }
        }
    };
    let (all, pages) = names("*", 4);
    assert_eq!((all.len(), pages), (25, 7));
    assert!(all.is_sorted() && all[0] == "dev/model-01" && all[12] == "prod/model-00");
    assert_eq!(names("*", 4).0, names("*", 1000).0);
    assert_eq!(names("dev/*", 12), (all[..12].to_vec(), 1), "a full last page says that it is the last");
    assert_eq!(names("model-1?", 100).0.len(), 10);
    assert_eq!(names("p*/*-2*", 3).0, ["prod/model-20", "prod/model-22", "prod/model-24"]);
    assert_eq!(names("none", 100).0.len(), 0);

    let artifact = c.artifact_named(&name("prod"), &name("model-00")).unwrap().id;
    let first = c.versions_of(artifact, Visibility::Listed, None, 4).unwrap();
    let second = c.versions_of(artifact, Visibility::Listed, first.next, 4).unwrap();
    let numbers: Vec<_> = first.rows.iter().chain(&second.rows).map(|v| v.facts.number).collect();
    assert_eq!((numbers, second.next), (vec![6, 5, 4, 3, 2, 1], None));
    c.unlist(ListingScope::Version(second.rows[0].facts.version_id), entry("rm")).unwrap();
    let numbers = |seen| -> Vec<u64> {
        c.versions_of(artifact, seen, None, 9).unwrap().rows.iter().map(|v| v.facts.number).collect()
    };
    assert_eq!(numbers(Visibility::Listed), [6, 5, 4, 3, 1]);
    assert_eq!(numbers(Visibility::All), [6, 5, 4, 3, 2, 1]);
    refused!(c.versions_of(ArtifactId([0; 16]), Visibility::All, None, 9), NotFound(_));
}

fn headers_rotate(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let v = publish(c, ns, "resnet", 1);
    let key = ArtifactKeyRef { version: 2, ..v.artifact_key };
    let rotation = HeaderRotation {
        version_id: v.version_id,
        expect_generation: 1,
        generation: 2,
        header_len: 777,
        artifact_key: key,
    };
    c.rotate_header(rotation.clone(), leaf("rotate")).unwrap();
    let expected = NewVersion { generation: 2, header_len: 777, artifact_key: key, ..v.clone() };
    assert_eq!(c.version(v.version_id).unwrap().facts, expected, "and nothing else has changed");
    refused!(c.rotate_header(rotation.clone(), leaf("late")), AlreadyExists(_));
    let back = HeaderRotation { expect_generation: 2, generation: 2, ..rotation };
    refused!(c.rotate_header(back, leaf("back")), InvalidArgument(_));
    assert_eq!(c.blob_states(&[v.version_id]).unwrap(), [BlobState::Live { generation: 2 }]);
}

fn keys_are_kept_and_rewrapped(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let versions: Vec<_> = (1..=7).map(|n| publish(c, ns, "resnet", n)).collect();
    let key = versions[2].artifact_key;
    assert_eq!(c.artifact_key(key).unwrap(), key_row(&versions[2], ns, 3));
    refused!(c.put_artifact_key(key_row(&versions[2], ns, 9)), AlreadyExists(_));
    refused!(c.artifact_key(ArtifactKeyRef { version: 2, ..key }), NotFound(_));
    let rewrap = |key| Rewrap { key, expect_kek_version: 1, kek_version: 300, salt: [50; 32], wrapped: [51; 80] };
    c.rewrap_artifact_key(rewrap(key)).unwrap();
    refused!(c.rewrap_artifact_key(rewrap(key)), AlreadyExists(_));
    let row = c.artifact_key(key).unwrap();
    assert_eq!((row.namespace_kek_version, row.salt, row.wrapped), (300, [50; 32], [51; 80]));
    // Batches until nothing is left, as a rotation does it.
    let mut batches = 0;
    loop {
        let page = c.artifact_keys_under(ns, 1, None, 4).unwrap();
        if page.rows.is_empty() {
            break;
        }
        batches += 1;
        page.rows.iter().for_each(|row| c.rewrap_artifact_key(rewrap(row.key)).unwrap());
    }
    assert_eq!((batches, c.artifact_keys_under(ns, 300, None, 100).unwrap().rows.len()), (2, 7));
    let first = c.artifact_keys(None, 4).unwrap();
    let second = c.artifact_keys(first.next, 4).unwrap();
    assert_eq!((first.rows.len(), second.rows.len(), second.next), (4, 3, None));
    assert_eq!(c.delete_artifact_key(key), Ok(true));
    assert_eq!(c.delete_artifact_key(key), Ok(false));
    refused!(c.artifact_key(key), NotFound(_));
    assert_eq!(c.artifact_key(versions[3].artifact_key).unwrap().wrapped, [51; 80]);
    assert!(!format!("{row:?}").contains("51"), "wrapped bytes are not printed");
}

fn shredding_is_final_and_resumable(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let (v1, v2) = (publish(c, ns, "resnet", 1), publish(c, ns, "resnet", 2));
    // An attempt that died after the key was gone is finished by the same call.
    c.delete_artifact_keys(v1.version_id).unwrap();
    let sequence = c.shred(v1.version_id, entry("shred")).unwrap();
    assert_eq!(c.audit_range(sequence, 9).unwrap(), [(sequence, leaf("shred"))]);
    refused!(c.shred(v1.version_id, entry("again")), Shredded(_));
    refused!(c.shred(VersionId([0; 16]), entry("x")), NotFound(_));
    refused!(resolve(c, "prod/resnet@v1"), Shredded(_));
    refused!(c.artifact_key(v1.artifact_key), NotFound(_));
    refused!(c.relist(ListingScope::Version(v1.version_id), entry("x")), Shredded(_));
    refused!(c.set_tag(v1.artifact_id, tag("gold"), 1, None, of_move(entry("x"))), Shredded(_));
    let rotation = HeaderRotation {
        version_id: v1.version_id,
        expect_generation: 1,
        generation: 2,
        header_len: 1,
        artifact_key: v2.artifact_key,
    };
    refused!(c.rotate_header(rotation, leaf("x")), Shredded(_));
    assert_eq!(resolve(c, "prod/resnet").unwrap().facts, v2, "the other version is untouched");
    assert!(c.artifact_key(v2.artifact_key).is_ok());
    assert_eq!(
        c.blob_states(&[v1.version_id, v2.version_id]).unwrap(),
        [BlobState::Shredded, BlobState::Live { generation: 1 }]
    );
    assert_eq!((c.unfinished_shreds().unwrap().len(), c.stats().unwrap().shredded), (0, 1));
    let live = c.live_versions(None, 9).unwrap();
    assert_eq!((live.rows.len(), live.rows[0].facts.version_id, live.next), (1, v2.version_id, None));
    assert_eq!(c.integrity_check().unwrap().findings, Vec::<String>::new());
}

fn policies_keep_their_history(c: &dyn Catalogue, clock: &StepClock) {
    assert_eq!(c.policy().unwrap(), None);
    assert_eq!(c.set_policy("permit nothing".into(), entry("p1")).unwrap(), (1, 0));
    assert_eq!(c.set_policy("permit all".into(), entry("p2")).unwrap(), (2, 1));
    let now = clock.now();
    assert_eq!(
        c.policy().unwrap(),
        Some(PolicyRecord { version: 2, text: "permit all".into(), envelope: None, created: now })
    );
    assert_eq!(c.policy_version(1).unwrap().text, "permit nothing");
    refused!(c.policy_version(3), NotFound(_));
    refused!(c.policy_version(u64::MAX), NotFound(_));
    refused!(c.set_policy("x".repeat(MAX_POLICY + 1).into(), entry("p3")), InvalidArgument(_));
    let over = |over, envelope: &str| NewPolicy { text: "x".into(), envelope: Some(envelope.into()), over: Some(over) };
    refused!(c.set_policy(over(1, "{}"), entry("p3")), AlreadyExists(_));
    refused!(c.set_policy(over(2, &"x".repeat(MAX_POLICY_ENVELOPE + 1)), entry("p3")), InvalidArgument(_));
}

fn trust_stores_keep_their_history(c: &dyn Catalogue, clock: &StepClock) {
    assert_eq!(c.signers().unwrap(), None);
    assert_eq!(c.set_signers("nobody".into(), Some(0), entry("t1")).unwrap(), (1, 0));
    assert_eq!(c.set_signers("alice".into(), None, entry("t2")).unwrap(), (2, 1));
    let now = clock.now();
    assert_eq!(c.signers().unwrap(), Some(SignersRecord { version: 2, text: "alice".into(), created: now }));
    refused!(c.set_signers("late".into(), Some(1), entry("t3")), AlreadyExists(_));
    refused!(c.set_signers("x".repeat(MAX_SIGNERS + 1), None, entry("t3")), InvalidArgument(_));
    refused!(c.set_signers("all".into(), None, Vec::new().into()), InvalidArgument(_));
    assert_eq!(c.signers().unwrap().unwrap().version, 2);
}

fn certificate(namespace_id: NamespaceId, workload: &str, serial: u8) -> NewCertificate {
    NewCertificate {
        serial: vec![serial; 16],
        namespace_id,
        workload: name(workload),
        spki: KeyId([serial; 32]),
        not_before: Timestamp::from_millis(1),
        not_after: Timestamp::from_millis(2),
    }
}

fn revocation_holds(c: &dyn Catalogue, clock: &StepClock) {
    let ns = prod(c);
    let serve = name("serve-1");
    refused!(c.enroll_workload(certificate(NamespaceId([1; 16]), "serve-1", 1), entry("x")), NotFound(_));
    refused!(c.record_certificate(certificate(ns, "serve-1", 1), entry("x")), NotFound(_));
    let enrol = |workload: &str, serial| c.enroll_workload(certificate(ns, workload, serial), entry("enroll"));
    let (enrolled, sequence) = enrol("serve-1", 1).unwrap();
    assert_eq!((enrolled.enrolment, c.audit_len().unwrap()), (1, sequence + 1), "one act, one row");
    assert_eq!(c.certificate(&[1; 16]).unwrap().workload, enrolled);
    assert_eq!(c.newest_certificate(ns, &serve).unwrap().unwrap().certificate, certificate(ns, "serve-1", 1));
    refused!(enrol("serve-1", 9), AlreadyExists(_));
    // Neither half happens without the other.
    refused!(enrol("serve-2", 1), AlreadyExists(_));
    let unnumbered = NewCertificate { serial: vec![1; 21], ..certificate(ns, "serve-2", 9) };
    refused!(c.enroll_workload(unnumbered, entry("x")), InvalidArgument(_));
    refused!(c.workload(ns, &name("serve-2")), NotFound(_));
    for serial in 2..=3 {
        c.record_certificate(certificate(ns, "serve-1", serial), entry("issue")).unwrap();
    }
    refused!(c.record_certificate(certificate(ns, "serve-1", 1), entry("x")), AlreadyExists(_));
    let no_serial = NewCertificate { serial: Vec::new(), ..certificate(ns, "serve-1", 4) };
    refused!(c.record_certificate(no_serial, entry("x")), InvalidArgument(_));
    refused!(c.certificate(&[9; 16]), NotFound(_));

    let revoked = |serial: u8| c.certificate(&[serial; 16]).unwrap().is_revoked();
    c.revoke_certificate(&[1; 16], entry("revoke")).unwrap();
    assert_eq!((revoked(1), revoked(2)), (true, false));
    let since = clock.now();
    c.revoke_workload(ns, &serve, entry("revoke")).unwrap();
    clock.step(Duration::from_secs(1));
    c.revoke_workload(ns, &serve, entry("revoke again")).unwrap();
    assert_eq!(c.workload(ns, &serve).unwrap().revoked, Some(since));
    assert!(revoked(2) && revoked(3));
    refused!(c.record_certificate(certificate(ns, "serve-1", 5), entry("renew")), NotFound(_));

    // The name enrolled anew does not bring the old certificates back.
    refused!(enrol("serve-1", 2), AlreadyExists(_));
    assert_eq!(c.workload(ns, &serve).unwrap().revoked, Some(since), "an enrolment that failed undoes no revocation");
    assert_eq!(enrol("serve-1", 6).unwrap().0.enrolment, 2);
    c.record_certificate(certificate(ns, "serve-1", 7), entry("renew")).unwrap();
    assert_eq!((revoked(2), revoked(6), revoked(7)), (true, false, false));

    // One that is good goes before one that would have been so for longer.
    let longer = NewCertificate { not_after: Timestamp::from_millis(9), ..certificate(ns, "serve-1", 8) };
    c.record_certificate(longer, entry("renew")).unwrap();
    let newest = || c.newest_certificate(ns, &serve).unwrap().unwrap().certificate.serial[0];
    assert_eq!(newest(), 8);
    c.revoke_certificate(&[8; 16], entry("revoke")).unwrap();
    assert!([6, 7].contains(&newest()), "{}", newest());

    for n in 0..5 {
        enrol(&format!("w{n}"), 20 + n).unwrap();
    }
    c.revoke_workload(ns, &name("w3"), entry("revoke")).unwrap();
    let listed = |revoked_too, namespace_id| {
        let filter = WorkloadFilter { namespace_id, revoked_too };
        let first = c.workloads(filter, None, 4).unwrap();
        let rest = first.next.map_or(Vec::new(), |next| c.workloads(filter, Some(&next), 4).unwrap().rows);
        first.rows.len() + rest.len()
    };
    assert_eq!((listed(true, None), listed(false, Some(ns)), listed(true, Some(NamespaceId([1; 16])))), (6, 5, 0));
}

fn grants(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let artifacts: Vec<_> = (1..=3).map(|n| publish(c, ns, &format!("model-{n}"), n).artifact_id).collect();
    let serve = name("serve-1");
    let grant = |artifact| c.grant(ns, &serve, artifact, "operator".into(), entry("grant"));
    let granted = |workload: &Name, artifact| {
        c.surroundings(artifact, None, Some((&name("prod"), workload.clone()))).map(|around| around.granted)
    };
    refused!(grant(artifacts[0]), NotFound(_));
    assert_eq!(granted(&serve, artifacts[0]), Ok(false));
    c.enroll_workload(certificate(ns, "serve-1", 1), entry("enroll")).unwrap();
    refused!(grant(ArtifactId([0; 16])), NotFound(_));
    for artifact in &artifacts {
        grant(*artifact).unwrap();
    }
    refused!(grant(artifacts[0]), AlreadyExists(_));
    assert_eq!(granted(&serve, artifacts[1]), Ok(true));
    assert_eq!(granted(&name("serve-2"), artifacts[1]), Ok(false));
    let first = c.grants_of(ns, &serve, None, 2).unwrap();
    assert_eq!((first.rows.len(), c.grants_of(ns, &serve, first.next, 2).unwrap().rows.len()), (2, 1));

    c.revoke_grant(ns, &serve, artifacts[1], entry("revoke")).unwrap();
    refused!(c.revoke_grant(ns, &serve, artifacts[1], entry("x")), NotFound(_));
    assert_eq!(granted(&serve, artifacts[1]), Ok(false));
    c.revoke_workload(ns, &serve, entry("revoke")).unwrap();
    assert_eq!(granted(&serve, artifacts[0]), Ok(false));
    c.enroll_workload(certificate(ns, "serve-1", 2), entry("enroll")).unwrap();
    assert_eq!(granted(&serve, artifacts[0]), Ok(false), "a new enrolment starts with nothing");
    assert_eq!(c.grants_of(ns, &serve, None, 9).unwrap().rows.len(), 0);
    grant(artifacts[0]).unwrap();
    assert_eq!(granted(&serve, artifacts[0]), Ok(true));
}

fn audit_rows_are_gapless(c: &dyn Catalogue, _: &StepClock) {
    let sequences: BTreeSet<u64> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..8)
            .map(|t| {
                s.spawn(move || {
                    let appended: Vec<_> =
                        (0..25).map(|n| c.append_audit(leaf(&format!("{t}/{n}"))).unwrap()).collect();
                    assert!(appended.is_sorted(), "one caller's rows are in its order");
                    appended
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(sequences.into_iter().collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    assert_eq!(c.audit_len().unwrap(), 200);
    let rows = c.audit_range(190, 100).unwrap();
    assert_eq!((rows.len(), rows[0].0, c.audit_range(0, 3).unwrap().len()), (10, 190, 3));
    assert_eq!(c.audit_range(200, 5).unwrap().len() + c.audit_range(u64::MAX, 5).unwrap().len(), 0);
    refused!(c.append_audit(vec![0; MAX_LEAF + 1]), InvalidArgument(_));
    refused!(c.append_audit(Vec::new()), InvalidArgument(_));
    for _ in 0..300 {
        c.append_audit(vec![7; MAX_LEAF]).unwrap();
    }
    assert!(c.audit_range(0, 1000).unwrap().len() < 500, "a range is bounded by its bytes too");
}

fn a_failed_command_leaves_no_trace(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let before = (c.audit_len().unwrap(), c.stats().unwrap().artifacts);
    // The audit row is refused after the other changes were made.
    refused!(c.set_policy("permit all".into(), Vec::new().into()), InvalidArgument(_));
    refused!(c.enroll_workload(certificate(ns, "serve", 1), vec![0; MAX_LEAF + 1].into()), InvalidArgument(_));
    let r = reserve(c, ns, "resnet", 1).unwrap();
    refused!(c.publish_version(facts(&r, 1), None, of_moves(Vec::new())), InvalidArgument(_));
    assert_eq!(c.policy().unwrap(), None);
    refused!(c.workload(ns, &name("serve")), NotFound(_));
    refused!(c.certificate(&[1; 16]), NotFound(_));
    refused!(c.version(r.version_id), NotFound(_));
    assert_eq!((c.audit_len().unwrap(), c.stats().unwrap().artifacts), before);
    c.publish_version(facts(&r, 1), None, of_moves(leaf("now"))).unwrap();
}

fn checkpoints_grow(c: &dyn Catalogue, _: &StepClock) {
    for _ in 0..10 {
        c.append_audit(leaf("x")).unwrap();
    }
    assert_eq!(c.latest_checkpoint().unwrap(), None);
    let at = |size: u64, note: &str| Checkpoint {
        size,
        root: Sha256([size as u8; 32]),
        note: note.into(),
        frontier: vec![1, 2, 3],
        created: Timestamp::from_millis(7),
    };
    for size in [0, 4, 10] {
        c.put_checkpoint(at(size, "n"), Vec::new()).unwrap();
    }
    c.put_checkpoint(at(10, "n"), Vec::new()).unwrap();
    refused!(c.put_checkpoint(at(10, "another history"), Vec::new()), AlreadyExists(_));
    refused!(c.put_checkpoint(at(5, "n"), Vec::new()), AlreadyExists(_));
    refused!(c.put_checkpoint(at(11, "n"), Vec::new()), InvalidArgument(_));
    assert_eq!(c.latest_checkpoint().unwrap(), Some(at(10, "n")));
    assert_eq!(c.checkpoints(1, 10).unwrap(), [at(4, "n"), at(10, "n")]);
}

fn orphans_can_be_found(c: &dyn Catalogue, clock: &StepClock) {
    let ns = prod(c);
    let published = publish(c, ns, "resnet", 1);
    let reserved = reserve(c, ns, "resnet", 2).unwrap();
    let unknown = VersionId([0xee; 16]);
    assert_eq!(
        c.blob_states(&[published.version_id, reserved.version_id, unknown]).unwrap(),
        [BlobState::Live { generation: 1 }, BlobState::Reserved, BlobState::Unknown]
    );
    assert_eq!(c.unused_reservations(clock.now(), None, 9).unwrap().rows.len(), 0, "not yet old");
    let later = clock.step(Duration::from_secs(86_400));
    assert_eq!(c.unused_reservations(later, None, 9).unwrap().rows, [reserved]);
    assert_eq!(c.abandon_reservation(reserved.version_id), Ok(true));
    assert_eq!(c.abandon_reservation(reserved.version_id), Ok(false));
    refused!(c.publish_version(facts(&reserved, 2), None, of_moves(leaf("late"))), NotFound(_));
    assert_eq!(reserve(c, ns, "resnet", 3).unwrap().number, 3, "its number is not given out again");
}

fn a_name_without_a_version_is_free(c: &dyn Catalogue, _: &StepClock) {
    let ns = prod(c);
    let (one, two) = (reserve(c, ns, "resnet", 1).unwrap(), reserve(c, ns, "resnet", 2).unwrap());
    assert_eq!(c.abandon_reservation(one.version_id), Ok(true));
    assert_eq!(c.artifact(two.artifact_id).unwrap().next_number, 3, "another seal of it still runs");
    assert_eq!(c.abandon_reservation(two.version_id), Ok(true));
    refused!(c.artifact(two.artifact_id), NotFound(_));
    assert_eq!(c.stats().unwrap().artifacts, 0);
    let dataset = NewReservation { kind: ArtifactKind::Dataset, ..reservation(ns, "resnet", 3) };
    assert_eq!(c.reserve_version(dataset).unwrap().number, 1, "as if nothing had been");
    publish(c, ns, "bert", 4);
    let next = reserve(c, ns, "bert", 5).unwrap();
    assert_eq!(c.abandon_reservation(next.version_id), Ok(true));
    assert_eq!(reserve(c, ns, "bert", 6).unwrap().number, 3, "a number beside versions is not given out again");
}

fn requests_are_carried_out_once(c: &dyn Catalogue, clock: &StepClock) {
    let ns = prod(c);
    let artifact = publish(c, ns, "resnet", 1).artifact_id;
    let request = |n: u8, text: &str| Entry {
        leaf: leaf(text),
        once: Some(Once { id: RequestId([n; 16]), asked: Sha256([n; 32]), answer: text.into() }),
        approval: None,
    };
    assert_eq!(c.request(RequestId([1; 16])), Ok(None));
    let (number, sequence) = c.set_policy("policy".into(), request(1, "policy")).unwrap();
    let known = c.request(RequestId([1; 16])).unwrap().unwrap();
    assert_eq!((known.number, known.sequence, known.created), (number, sequence, clock.now()));
    assert_eq!(known.once, request(1, "policy").once.unwrap());
    let before = (c.policy().unwrap(), c.audit_len().unwrap());
    refused!(c.set_policy("other".into(), request(1, "again")), AlreadyExists(_));
    refused!(c.set_tag(artifact, tag("gold"), 1, None, of_move(request(1, "again"))), AlreadyExists(_));
    assert_eq!((c.policy().unwrap(), c.audit_len().unwrap()), before, "without effect");
    // What a failed command asked for is not remembered.
    refused!(c.set_tag(artifact, tag("gold"), 9, None, of_move(request(2, "x"))), NotFound(_));
    assert_eq!(c.request(RequestId([2; 16])), Ok(None));
    assert_eq!(c.unlist(ListingScope::Artifact(artifact), request(2, "rm")).unwrap().0, 1);
    assert_eq!(c.request(RequestId([2; 16])).unwrap().unwrap().number, 1);
    // Remembered for a day at least, and not for ever.
    clock.step(REMEMBERED);
    c.relist(ListingScope::Artifact(artifact), request(3, "undo")).unwrap();
    assert!(c.request(RequestId([1; 16])).unwrap().is_some());
    clock.step(Duration::from_millis(1));
    c.unlist(ListingScope::Artifact(artifact), request(4, "rm")).unwrap();
    assert_eq!((c.request(RequestId([1; 16])), c.request(RequestId([2; 16]))), (Ok(None), Ok(None)));
    assert_eq!(c.integrity_check().unwrap().findings, Vec::<String>::new());
}

fn dataset_facts() -> DatasetFacts {
    DatasetFacts {
        name: "reviews \"2026\"".into(),
        version: u64::MAX,
        statement: Some(Sha256([7; 32])),
        records: 10,
        readable: 9,
        unattributed: 1,
        created: Timestamp::from_millis(1_700_000_000_001),
        expires: None,
        contributors: vec![("acme".into(), KeyId([5; 32])), ("b\u{e9}".into(), KeyId([6; 32]))],
        excluded: 1,
        scan: Some(ScanFacts { records: 10, findings: 1, worst: 2, detectors: vec![("label".into(), 3)] }),
        derived: false,
    }
}

/// A statement of a version; number 2 is about a dataset.
pub(super) fn statement(version_id: VersionId, n: u8, member: Option<&str>) -> NewAttestation {
    NewAttestation {
        version_id,
        digest: Sha256([n; 32]),
        predicate_type: format!("urn:{n}"),
        signer: name("alice"),
        keyid: KeyId([n; 32]),
        algorithm: "ed25519".into(),
        path: if n == 2 { vec![KeyId([7; 32]), KeyId([8; 32])] } else { Vec::new() },
        whole: n != 2,
        member: member.map(Into::into),
        added_by: "somebody".into(),
        sealed: member.is_none().then(|| vec![n; 1000]),
        dataset: (n == 2).then(dataset_facts),
    }
}

fn statements_are_attached_once(c: &dyn Catalogue, clock: &StepClock) {
    let ns = prod(c);
    let of = publish(c, ns, "resnet", 1).version_id;
    c.attest(statement(of, 9, None), entry("first")).unwrap();
    let added = clock.now();
    clock.step(Duration::from_secs(1));
    c.attest(statement(of, 2, Some("model.sig")), entry("second")).unwrap();
    let rows = c.audit_len().unwrap();
    refused!(c.attest(statement(of, 9, None), entry("again")), AlreadyExists(_));
    refused!(c.attest(statement(version_id(77), 3, None), entry("nowhere")), NotFound(_));
    let wordy = NewAttestation { predicate_type: "u".repeat(MAX_PREDICATE_TYPE + 1), ..statement(of, 3, None) };
    refused!(c.attest(wordy, entry("long")), InvalidArgument(_));
    let wordy = DatasetFacts { name: "n".repeat(MAX_DATASET_FACTS), ..dataset_facts() };
    let wordy = NewAttestation { dataset: Some(wordy), ..statement(of, 3, None) };
    refused!(c.attest(wordy, entry("long")), InvalidArgument(_));
    assert_eq!(c.audit_len().unwrap(), rows, "without effect");
    let found = c.attestations(of).unwrap();
    assert_eq!(found.iter().map(|a| a.digest.0[0]).collect::<Vec<_>>(), [9, 2], "oldest first");
    assert_eq!((found[0].added, found[0].whole, found[0].member.as_deref()), (added, true, None));
    assert_eq!((found[1].path.len(), found[1].member.as_deref()), (2, Some("model.sig")));
    assert_eq!((&found[0].dataset, &found[1].dataset), (&None, &Some(dataset_facts())));
    assert_eq!(c.attestation_body(of, Sha256([9; 32])), Ok(vec![9; 1000]));
    refused!(c.attestation_body(of, Sha256([2; 32])), NotFound(_));
    assert_eq!(c.attestations(version_id(77)), Ok(Vec::new()));
    // With the publication, or not at all.
    let next = reserve(c, ns, "resnet", 2).unwrap();
    let (good, stray) = (statement(next.version_id, 1, None), statement(of, 4, None));
    let both = vec![good.clone(), stray];
    refused!(c.publish_attested(facts(&next, 2), None, both, of_moves(leaf("x"))), InvalidArgument(_));
    c.put_artifact_key(key_row(&facts(&next, 2), ns, 2)).unwrap();
    c.publish_attested(facts(&next, 2), None, vec![good], of_moves(leaf("publish"))).unwrap();
    assert_eq!(c.attestations(next.version_id).unwrap().len(), 1);
    assert_eq!(c.integrity_check().unwrap().findings, Vec::<String>::new());
    c.shred(of, entry("shred")).unwrap();
    refused!(c.attest(statement(of, 5, None), entry("late")), Shredded(_));
}

fn many_threads_publish_one_name(c: &dyn Catalogue, _: &StepClock) {
    const THREADS: u32 = 8;
    const EACH: u32 = 12;
    let ns = prod(c);
    let numbers: Vec<u64> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..THREADS)
            .map(|t| {
                s.spawn(move || {
                    let one = |n| {
                        let published = publish(c, ns, "resnet", t * EACH + n + 1);
                        c.append_audit(leaf("decision")).unwrap();
                        published.number
                    };
                    (0..EACH).map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let unique: BTreeSet<_> = numbers.iter().copied().collect();
    let total = u64::from(THREADS * EACH);
    assert_eq!((unique.len() as u64, unique.last().copied()), (total, Some(total)));
    assert_eq!(resolve(c, "prod/resnet").unwrap().facts.number, total);
    assert_eq!(c.audit_range(0, 1000).unwrap().len() as u64, 1 + 2 * total);
    let latest = c.tags_of(c.artifact_named(&name("prod"), &name("resnet")).unwrap().id).unwrap();
    assert!(latest.len() == 1 && latest[0].moves <= total);
    let report = c.integrity_check().unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
    assert!(report.rows > 2 * total);
}

fn accounts_never_go_back(c: &dyn Catalogue, _: &StepClock) {
    let account = |principal: &str, artifact: Option<u8>, revision: u64| UsageRecord {
        principal: principal.into(),
        artifact: artifact.map(|n| ArtifactId([n; 16])),
        revision,
        account: vec![u8::try_from(revision).unwrap()],
        stored: Timestamp::from_millis(1000 * i64::try_from(revision).unwrap()),
    };
    assert_eq!((c.usage("a", None).unwrap(), c.last_usage().unwrap()), (None, None));
    let len = c.audit_len().unwrap();
    c.store_usage(vec![account("a", None, 2), account("a", Some(1), 1), account("", None, 1)], Some(b"row".to_vec()))
        .unwrap();
    c.store_usage(vec![account("a", None, 1), account("a", Some(1), 3), account("b", None, 4)], None).unwrap();
    assert_eq!(c.audit_len().unwrap(), len + 1);
    assert_eq!(c.usage("a", None).unwrap().unwrap().account, [2], "an older one changes nothing");
    assert_eq!(c.usage("a", Some(ArtifactId([1; 16]))).unwrap().unwrap().account, [3]);
    assert_eq!(c.last_usage().unwrap(), Some(Timestamp::from_millis(4000)));
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = c.usages(None, after.as_ref(), 1).unwrap();
        seen.extend(page.rows.into_iter().map(|r| (r.principal, r.artifact.is_some(), r.revision)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, [("a".into(), false, 2), ("a".into(), true, 3), ("b".into(), false, 4)]);
    assert_eq!(c.usages(Some("a"), None, 10).unwrap().rows.len(), 2);
    // A row that cannot be appended takes the accounts with it.
    assert!(c.store_usage(vec![account("c", None, 9)], Some(Vec::new())).is_err());
    assert_eq!(c.usage("c", None).unwrap(), None);
    assert_eq!(c.usage_callers().unwrap(), ["a", "b"]);
    let drop = |callers: Option<&str>, artifact: Option<u8>| {
        let callers = callers.map(|caller| vec![caller.to_owned()]);
        c.drop_usage(callers, artifact.map(|n| ArtifactId([n; 16])), b"row".to_vec().into()).unwrap().0
    };
    c.store_usage(vec![account("d", None, 5), account("d", Some(1), 5), account("e", Some(1), 5)], None).unwrap();
    assert_eq!((drop(Some("d"), None), drop(Some("d"), None), drop(None, Some(2))), (2, 0, 0));
    assert_eq!((drop(Some("a"), Some(1)), drop(None, Some(1))), (1, 1));
    c.store_usage(vec![account("a", Some(1), 3)], None).unwrap();
    assert_eq!(c.forget_usage(Timestamp::from_millis(3000)).unwrap(), 1);
    assert!(c.usage("", None).unwrap().is_some(), "the row about the time is no account");
}
