//! A client against servers that lie, each in one way, and against one that does not.

use std::ops::Range;

use bytes::Bytes;
use tonic::codegen::tokio_stream;
use tonic::{Request, Response, Status};

use super::*;
use crate::crypto::hash::blake3;
use crate::crypto::keys::Key;
use crate::crypto::outboard::{Groups, NODE_LEN, TreeBuilder, group_cv, new_nodes};
use crate::crypto::sign::SigningIdentity;
use crate::error::{Error, ErrorId};
use crate::manifest::{ArtifactStatement, MAX_TAG_STATEMENT_LEN, Subject, TAG_VALIDITY, TagStatement};
use crate::names::{ArtifactId, ArtifactKind, Commitment, FileId, Root, Timestamp};
use crate::seal::signatures;
use crate::wire::pb::fetch_response::Part;
use crate::wire::pb::fetch_service_server::{FetchService, FetchServiceServer};

const GROUP: usize = 1 << 16;

pub(crate) fn identity(seed: u8) -> SigningIdentity {
    SigningIdentity::from_seed(Key::take(&mut [seed; 32]))
}

fn signed(statement: &TagStatement, signer: u8) -> Vec<u8> {
    let mut json = String::new();
    statement.sign(&identity(signer)).write_json(&mut json);
    json.into_bytes()
}

/// An artifact in memory, with a statement signed by `identity(1)`.
#[derive(Clone)]
pub(crate) struct Artifact {
    pub(crate) statement: ArtifactStatement,
    pub(crate) version: VersionFacts,
    pub(crate) members: Vec<(Vec<u8>, Vec<u8>)>,
    /// The tag it is asked for by, and the number of its last move.
    pub(crate) tag: (Tag, u64),
}

impl Artifact {
    /// Members by path and size, of bytes that differ everywhere.
    pub(crate) fn new(sizes: &[(&str, usize)], group_log2: u8) -> Self {
        let mut members = Vec::new();
        let mut subjects = Vec::new();
        for (i, (path, size)) in sizes.iter().enumerate() {
            let bytes: Vec<u8> = (0..*size).map(|at| (at % 251 + at / 65_536 * 7 + i) as u8).collect();
            let groups = Groups::new(*size as u64, group_log2);
            let outboard = if groups.count() > 1 {
                let mut tree = TreeBuilder::new(groups, group_log2);
                for (at, group) in bytes.chunks(1 << group_log2).enumerate() {
                    tree.set(at as u64, group_cv(at as u64, group_log2, group));
                }
                tree.finish().1
            } else {
                Vec::new()
            };
            subjects.push(Subject { path: (*path).into(), size: *size as u64, blake3: blake3(&bytes), sha256: None });
            members.push((bytes, outboard));
        }
        let payload_size = sizes.iter().map(|(_, size)| *size as u64).sum();
        let statement = ArtifactStatement {
            namespace: "default".parse().unwrap(),
            name: "resnet".parse().unwrap(),
            version: 3,
            kind: ArtifactKind::Model,
            file_id: FileId([9; 32]),
            payload_size,
            group_log2,
            created: Timestamp::from_millis(1_795_305_600_123),
            subjects,
        };
        let version = VersionFacts {
            namespace: statement.namespace.clone(),
            name: statement.name.clone(),
            version: 3,
            artifact_id: ArtifactId([1; 16]),
            root: Root([5; 32]),
            file_id: statement.file_id,
            generation: 1,
            kind: statement.kind,
            size: payload_size,
            payload_size,
            member_count: sizes.len() as u64,
            created: statement.created,
            signer: identity(1).key_id(),
            sealed_by: "operator".into(),
            tags: vec![Tag::latest()],
            unlisted: false,
            shredded: false,
            part_of: None,
        };
        Self { statement, version, members, tag: (Tag::latest(), 5) }
    }

    pub(crate) fn envelope(&self, signer: u8) -> Vec<u8> {
        let mut json = String::new();
        self.statement.sign(&identity(signer)).write_json(&mut json);
        json.into_bytes()
    }

    pub(crate) fn seal_statements(&self, signer: u8) -> Vec<u8> {
        let (file, root) = (self.statement.file_id, self.version.root);
        signatures::sign(&file, &root, &Commitment([6; 32]), &[&identity(signer)]).unwrap()
    }

    /// Where the tag is, said now.
    pub(crate) fn at(&self, tag: &Tag) -> TagStatement {
        let created = SystemClock.now();
        TagStatement {
            namespace: self.statement.namespace.clone(),
            name: self.statement.name.clone(),
            tag: tag.clone(),
            version: self.statement.version,
            root: self.version.root,
            sequence: self.tag.1,
            created,
            expires: created.plus(TAG_VALIDITY),
        }
    }

    pub(crate) fn tag_statement(&self, signer: u8, tag: &Tag) -> Vec<u8> {
        signed(&self.at(tag), signer)
    }

    pub(crate) fn nodes(&self, member: usize, previous: Option<u64>, index: u64) -> Vec<u8> {
        let (bytes, outboard) = &self.members[member];
        let offsets = new_nodes(Groups::new(bytes.len() as u64, self.statement.group_log2), previous, index);
        offsets.iter().flat_map(|o| outboard[*o as usize..][..NODE_LEN].to_vec()).collect()
    }

    /// Members and byte ranges that a request selects.
    pub(crate) fn selected(&self, wanted: &[pb::MemberSelection]) -> Vec<(usize, Range<usize>)> {
        let (subjects, mut ranges) = (&self.statement.subjects, Vec::new());
        let place_of = |path: &str| subjects.iter().position(|s| s.path == path).unwrap();
        for selection in wanted {
            let at = place_of(&selection.path);
            let whole = 0..subjects[at].size as usize;
            ranges.push((at, selection.range.as_ref().map_or(whole, |r| r.from as usize..r.to as usize)));
            if !selection.through.is_empty() {
                let rest = at + 1..=place_of(&selection.through);
                ranges.extend(rest.map(|at| (at, 0..subjects[at].size as usize)));
            }
        }
        ranges
    }

    /// What an honest server sends for byte ranges of members, in pieces of at most 1 MiB.
    pub(crate) fn stream(&self, wanted: &[(usize, Range<usize>)]) -> Vec<Part> {
        self.stream_with(&self.envelope(1), wanted)
    }

    fn stream_with(&self, envelope: &[u8], wanted: &[(usize, Range<usize>)]) -> Vec<Part> {
        let group_len = 1usize << self.statement.group_log2;
        let start = pb::FetchStart {
            version: Some(wire::version_to_wire(&self.version)),
            statement_len: envelope.len() as u64,
            lease: None,
            request_id: Bytes::new(),
            seal_statements: self.seal_statements(1).into(),
            tag_statement: self.tag_statement(1, &self.tag.0).into(),
        };
        let mut parts = vec![Part::Start(start)];
        parts.extend(envelope.chunks(1 << 20).map(|piece| Part::Statement(Bytes::copy_from_slice(piece))));
        let (mut previous, mut end) = (None, pb::FetchEnd { chunks: 0, bytes: 0 });
        for (member, range) in wanted.iter().filter(|(_, range)| !range.is_empty()) {
            let bytes = &self.members[*member].0;
            for group in range.start / group_len..=(range.end - 1) / group_len {
                let before = previous.filter(|(m, _)| m == member).map(|(_, g)| g);
                let mut nodes = Bytes::from(self.nodes(*member, before, group as u64));
                let whole = &bytes[group * group_len..bytes.len().min((group + 1) * group_len)];
                for (at, piece) in whole.chunks(1 << 20).enumerate() {
                    parts.push(Part::Chunk(pb::FetchChunk {
                        member: *member as u32,
                        offset: (group * group_len + (at << 20)) as u64,
                        nodes: std::mem::take(&mut nodes),
                        data: Bytes::copy_from_slice(piece),
                    }));
                    end.chunks += 1;
                    end.bytes += piece.len() as u64;
                }
                previous = Some((*member, group as u64));
            }
        }
        parts.push(Part::End(end));
        parts
    }
}

/// Says what it was told to say, to whomever.
struct Script(Vec<Part>, Option<Status>);

#[tonic::async_trait]
impl FetchService for Script {
    type FetchStream = tokio_stream::wrappers::ReceiverStream<Result<pb::FetchResponse, Status>>;

    async fn fetch(&self, _: Request<pb::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let (sender, receiver) = tokio::sync::mpsc::channel(self.0.len() + 1);
        for part in &self.0 {
            sender.try_send(Ok(pb::FetchResponse { part: Some(part.clone()) })).unwrap();
        }
        if let Some(status) = &self.1 {
            sender.try_send(Err(status.clone())).unwrap();
        }
        Ok(Response::new(tokio_stream::wrappers::ReceiverStream::new(receiver)))
    }
}

/// A client of a server that says `parts` and ends with `status`.
async fn told(parts: Vec<Part>, status: Option<Status>) -> Client {
    let (near, far) = tokio::io::duplex(1 << 20);
    let service = FetchServiceServer::new(Script(parts, status));
    let incoming = tokio_stream::once(Ok::<_, std::io::Error>(far));
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    Client::connect(Endpoint::InProcess(near)).await.unwrap()
}

/// Keeps what it gets, member by member.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) started: bool,
    pub(crate) pieces: Vec<(String, u64, Vec<u8>)>,
}

impl FetchSink for Kept {
    fn start(&mut self, _: &VersionFacts, _: &ArtifactStatement) -> Result<()> {
        assert!(!std::mem::replace(&mut self.started, true) && self.pieces.is_empty());
        Ok(())
    }

    fn bytes(&mut self, member: &Subject, offset: u64, bytes: &[u8]) -> Result<()> {
        assert!(self.started && !bytes.is_empty());
        match self.pieces.last_mut() {
            Some((path, from, have)) if *path == member.path && *from + have.len() as u64 == offset => {
                have.extend_from_slice(bytes);
            }
            _ => self.pieces.push((member.path.clone(), offset, bytes.to_vec())),
        }
        Ok(())
    }
}

pub(crate) fn plan(reference: &str) -> FetchPlan {
    FetchPlan {
        reference: reference.parse().unwrap(),
        members: Vec::new(),
        signers: vec![*identity(1).public()],
        tag_signers: vec![*identity(1).public()],
        floor: None,
    }
}

async fn fetched(plan: FetchPlan, parts: Vec<Part>) -> (Result<FetchReport>, Kept) {
    let mut kept = Kept::default();
    let outcome = told(parts, None).await.fetch(plan, &mut kept).await;
    (outcome, kept)
}

/// Three members: several groups, empty, one group.
fn artifact() -> Artifact {
    Artifact::new(&[("a/weights", 5 * GROUP + 100), ("b/empty", 0), ("c/config", 77)], 16)
}

fn everything(a: &Artifact) -> Vec<(usize, Range<usize>)> {
    a.members.iter().enumerate().map(|(i, (bytes, _))| (i, 0..bytes.len())).collect()
}

#[tokio::test]
async fn an_honest_stream_is_accepted_whole() {
    let a = artifact();
    let (report, kept) = fetched(plan("resnet"), a.stream(&everything(&a))).await;
    let report = report.unwrap();
    assert_eq!(report.version, a.version);
    assert_eq!(report.signers, [identity(1).key_id()]);
    assert_eq!((report.members, report.bytes, report.tls_group), (3, (5 * GROUP + 177) as u64, None));
    assert_eq!(kept.pieces.len(), 2);
    assert_eq!(kept.pieces[0].2, a.members[0].0);
    assert_eq!(kept.pieces[1], ("c/config".into(), 0, a.members[2].0.clone()));
}

#[tokio::test]
async fn members_and_ranges_come_in_the_order_asked_and_cut_as_asked() {
    let a = artifact();
    let size = 5 * GROUP + 100;
    let ranges: &[Range<usize>] = &[
        0..1,
        0..size,
        GROUP - 1..GROUP + 1,
        GROUP..2 * GROUP,
        size - 1..size,
        3 * GROUP + 5..3 * GROUP + 6,
        7..7,
        size..size,
    ];
    for range in ranges {
        let wanted = [(2, 0..77), (0, range.clone()), (1, 0..0), (0, 10..20)];
        let mut plan = plan("resnet@v3");
        let bytes = |r: &Range<usize>| Some(r.start as u64..r.end as u64);
        plan.members = vec![
            ("c/config".into(), None),
            ("a/weights".into(), bytes(range)),
            ("b/empty".into(), None),
            ("a/weights".into(), bytes(&(10..20))),
        ];
        let (report, kept) = fetched(plan, a.stream(&wanted)).await;
        assert_eq!(report.unwrap().bytes, 77 + range.len() as u64 + 10, "{range:?}");
        let all: Vec<u8> = kept.pieces.iter().flat_map(|(_, _, b)| b.clone()).collect();
        let expected = [&a.members[2].0[..], &a.members[0].0[range.clone()], &a.members[0].0[10..20]].concat();
        assert!(all == expected, "{range:?}");
    }
}

#[tokio::test]
async fn an_artifact_without_members_and_groups_of_several_pieces_are_accepted() {
    let none = Artifact::new(&[], 20);
    let (report, kept) = fetched(plan("resnet"), none.stream(&[])).await;
    assert_eq!((report.unwrap().members, kept.started), (0, true));
    let large = Artifact::new(&[("m", (5 << 20) + 3)], 21);
    let (report, kept) = fetched(plan("resnet"), large.stream(&everything(&large))).await;
    assert_eq!(report.unwrap().bytes, (5 << 20) + 3);
    assert!(kept.pieces[0].2 == large.members[0].0);
    // The member of a URL is a selection.
    let (report, kept) = fetched(plan("vault://default/resnet@v3/m"), large.stream(&everything(&large))).await;
    assert!(report.is_ok() && kept.pieces[0].2 == large.members[0].0);
}

/// Plan, and what the server says; the id of the refusal; whether the sink may have begun.
async fn refused(what: &str, plan: FetchPlan, parts: Vec<Part>, id: ErrorId) -> Kept {
    let (outcome, kept) = fetched(plan, parts).await;
    let error = outcome.expect_err(what);
    assert_eq!(error.id(), id, "{what}: {error}");
    kept
}

#[tokio::test]
async fn a_statement_about_something_else_is_refused_before_any_byte() {
    let a = artifact();
    let honest = a.stream(&everything(&a));
    let with = |change: &dyn Fn(&mut Artifact)| {
        let mut other = a.clone();
        change(&mut other);
        other.stream(&everything(&a))
    };
    let renamed = with(&|o| {
        o.statement.name = "other".parse().unwrap();
        o.version.name = "other".parse().unwrap();
    });
    let moved = with(&|o| {
        o.statement.namespace = "other".parse().unwrap();
        o.version.namespace = "other".parse().unwrap();
    });
    let older = with(&|o| (o.statement.version, o.version.version) = (2, 2));
    assert!(fetched(plan("resnet"), older.clone()).await.0.is_ok());
    let root = format!("resnet@b3:{}", "06".repeat(32));
    let cases = [
        (
            "a stranger's signature",
            plan("resnet"),
            a.stream_with(&a.envelope(2), &everything(&a)),
            ErrorId::SignatureMissing,
        ),
        ("no trusted key", FetchPlan { signers: vec![], ..plan("resnet") }, honest.clone(), ErrorId::SignatureMissing),
        ("another name", plan("resnet"), renamed, ErrorId::BindingMismatch),
        ("another namespace", plan("resnet"), moved, ErrorId::BindingMismatch),
        ("another version", plan("resnet@v4"), honest.clone(), ErrorId::BindingMismatch),
        ("another version, honestly announced", plan("resnet@v3"), older, ErrorId::BindingMismatch),
        ("another root", plan(&root), honest.clone(), ErrorId::BindingMismatch),
        (
            "an announced version that was not signed",
            plan("resnet"),
            with(&|o| o.version.version = 4),
            ErrorId::BindingMismatch,
        ),
        (
            "an announced file that was not signed",
            plan("resnet"),
            with(&|o| o.version.file_id = FileId([8; 32])),
            ErrorId::BindingMismatch,
        ),
        ("groups too long", plan("resnet"), with(&|o| o.statement.group_log2 = 25), ErrorId::LimitExceeded),
        (
            "a lie about an empty member",
            plan("resnet"),
            with(&|o| o.statement.subjects[1].blake3 = blake3(b"x")),
            ErrorId::MemberMismatch,
        ),
    ];
    for (what, plan, parts, id) in cases {
        let kept = refused(what, plan, parts, id).await;
        assert!(kept.pieces.is_empty(), "{what}");
    }
    let exact = format!("resnet@b3:{}", a.version.root);
    assert!(fetched(plan(&exact), honest.clone()).await.0.is_ok());
    // A member or range that is not there is the caller's mistake, whatever the server sends.
    let ask = |path: &str, range| FetchPlan { members: vec![(path.into(), range)], ..plan("resnet") };
    refused("no such member", ask("x", None), honest.clone(), ErrorId::NotFound).await;
    refused("past the end", ask("c/config", Some(0..78)), honest.clone(), ErrorId::RangeInvalid).await;
    #[allow(clippy::reversed_empty_ranges)]
    refused("backwards", ask("c/config", Some(9..3)), honest, ErrorId::RangeInvalid).await;
}

#[tokio::test]
async fn a_root_that_the_signer_did_not_seal_is_refused_before_any_byte() {
    let a = artifact();
    let with = |root: Root, seal_statements: Vec<u8>| {
        let mut parts = a.stream(&everything(&a));
        let Part::Start(start) = &mut parts[0] else { unreachable!() };
        start.version.as_mut().unwrap().root = Bytes::copy_from_slice(&root.0);
        start.seal_statements = seal_statements.into();
        parts
    };
    let sealed = |change: &dyn Fn(&mut Artifact), signer| {
        let mut other = a.clone();
        change(&mut other);
        other.seal_statements(signer)
    };
    let (own, other) = (a.version.root, Root([6; 32]));
    let both = FetchPlan { signers: vec![*identity(1).public(), *identity(2).public()], ..plan("resnet") };
    let pinned = plan(&format!("resnet@b3:{other}"));
    let mut forged = sealed(&|_| {}, 1);
    let at = forged.windows(5).position(|w| w == b"\"sig\"").unwrap() + 20;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    let cases = [
        ("another root", pinned.clone(), with(other, sealed(&|_| {}, 1)), ErrorId::SignatureInvalid),
        ("another root, no b3: asked", plan("resnet"), with(other, sealed(&|_| {}, 1)), ErrorId::SignatureInvalid),
        (
            "another root, by a stranger",
            pinned,
            with(other, sealed(&|o| o.version.root = other, 3)),
            ErrorId::SignatureMissing,
        ),
        ("no seal statement", plan("resnet"), with(own, Vec::new()), ErrorId::SignatureMissing),
        ("an empty list of them", plan("resnet"), with(own, b"[]".to_vec()), ErrorId::SignatureMissing),
        ("a stranger's", plan("resnet"), with(own, sealed(&|_| {}, 2)), ErrorId::SignatureMissing),
        // Trusted, but it did not sign the artifact statement: nothing ties its root to this content.
        ("another trusted key's", both, with(own, sealed(&|_| {}, 2)), ErrorId::SignatureMissing),
        (
            "of another file",
            plan("resnet"),
            with(own, sealed(&|o| o.statement.file_id = FileId([8; 32]), 1)),
            ErrorId::SignatureInvalid,
        ),
        ("forged", plan("resnet"), with(own, forged), ErrorId::SignatureInvalid),
        ("not JSON", plan("resnet"), with(own, b"{".to_vec()), ErrorId::SignatureInvalid),
        ("too long", plan("resnet"), with(own, vec![b' '; (1 << 20) + 1]), ErrorId::LimitExceeded),
    ];
    for (what, plan, parts, id) in cases {
        let kept = refused(what, plan, parts, id).await;
        assert!(!kept.started, "{what}");
    }
}

#[tokio::test]
async fn a_tag_leads_where_its_statement_says_and_never_back() {
    let a = artifact();
    let prod: Tag = "prod".parse().unwrap();
    let with = |tag_statement: Vec<u8>| {
        let mut parts = a.stream(&everything(&a));
        let Part::Start(start) = &mut parts[0] else { unreachable!() };
        start.tag_statement = tag_statement.into();
        parts
    };
    let saying = |change: &dyn Fn(&mut TagStatement)| {
        let mut statement = a.at(&prod);
        change(&mut statement);
        with(signed(&statement, 1))
    };
    let seen = |sequence, root, version| Seen { version, signed: Some(SeenMove { sequence, root }) };
    let floor = |floor| FetchPlan { floor: Some(floor), ..plan("resnet@prod") };
    let asked = || plan("resnet@prod");
    let (own, foreign) = (a.version.root, Root([6; 32]));
    let now = SystemClock.now();
    let at = |seconds: i64| Timestamp::from_millis(now.as_millis() + 1000 * seconds);
    let week = TAG_VALIDITY.as_secs() as i64;
    let mut forged = signed(&a.at(&prod), 1);
    let place = forged.windows(5).position(|w| w == b"\"sig\"").unwrap() + 20;
    forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };

    for (what, plan, parts) in [
        ("the state that was seen", floor(seen(5, own, 3)), saying(&|_| {})),
        ("a later move", floor(seen(4, foreign, 2)), saying(&|_| {})),
        ("a signed move back", floor(seen(4, foreign, 9)), saying(&|_| {})),
        ("what an older release saw", floor(Seen { version: 3, signed: None }), saying(&|_| {})),
        ("a clock that is behind", asked(), saying(&|s| s.created = at(280))),
        ("the last minute", asked(), saying(&|s| (s.created, s.expires) = (at(60 - week), at(60)))),
        (
            "only the artifact's signers are narrowed",
            FetchPlan { signers: plan("resnet").signers, ..asked() },
            saying(&|_| {}),
        ),
        ("a version needs no word on a tag", plan("resnet@v3"), with(Vec::new())),
    ] {
        let (report, _) = fetched(plan.clone(), parts).await;
        let report = report.expect(what);
        assert_eq!(report.tag.map(|t| t.sequence), (plan.reference != "resnet@v3".parse().unwrap()).then_some(5));
    }

    use ErrorId::{BindingMismatch, LimitExceeded, SignatureInvalid, SignatureMissing, TagStale, VersionRollback};
    let nobody = FetchPlan { tag_signers: Vec::new(), ..asked() };
    for (what, plan, parts, id) in [
        ("an older statement again", floor(seen(6, foreign, 4)), saying(&|_| {}), VersionRollback),
        ("an older statement, same version", floor(seen(6, own, 3)), saying(&|_| {}), VersionRollback),
        ("another root at the same move", floor(seen(5, foreign, 3)), saying(&|_| {}), VersionRollback),
        ("lower than an older release saw", floor(Seen { version: 4, signed: None }), saying(&|_| {}), VersionRollback),
        ("ended", asked(), saying(&|s| (s.created, s.expires) = (at(-week), at(-1))), TagStale),
        ("from the future", asked(), saying(&|s| s.created = at(320)), TagStale),
        ("for too long", asked(), saying(&|s| s.expires = at(5 * week)), SignatureInvalid),
        ("stripped", asked(), with(Vec::new()), SignatureMissing),
        ("by a stranger", asked(), with(signed(&a.at(&prod), 2)), SignatureMissing),
        ("by nobody who is trusted with it", nobody, saying(&|_| {}), SignatureMissing),
        ("forged", asked(), with(forged), SignatureInvalid),
        ("not JSON", asked(), with(b"{".to_vec()), SignatureInvalid),
        ("too long", asked(), with(vec![b' '; MAX_TAG_STATEMENT_LEN + 1]), LimitExceeded),
        ("of another tag", asked(), with(a.tag_statement(1, &Tag::latest())), BindingMismatch),
        ("of another tag, asked without one", plan("resnet"), saying(&|_| {}), BindingMismatch),
        ("of another artifact", asked(), saying(&|s| s.name = "other".parse().unwrap()), BindingMismatch),
        ("of another namespace", asked(), saying(&|s| s.namespace = "other".parse().unwrap()), BindingMismatch),
        ("another version", asked(), saying(&|s| s.version = 4), BindingMismatch),
        ("another root", asked(), saying(&|s| s.root = foreign), BindingMismatch),
        ("an artifact statement", asked(), with(a.envelope(1)), SignatureInvalid),
    ] {
        let kept = refused(what, plan, parts, id).await;
        assert!(!kept.started, "{what}");
    }
}

#[tokio::test]
async fn a_damaged_statement_is_refused() {
    let a = artifact();
    let envelope = a.envelope(1);
    let announced = |parts: &mut Vec<Part>, len: u64| match &mut parts[0] {
        Part::Start(start) => start.statement_len = len,
        _ => unreachable!(),
    };
    let mut flipped = envelope.clone();
    flipped[200] = if flipped[200] == b'A' { b'B' } else { b'A' };
    refused("flipped", plan("resnet"), a.stream_with(&flipped, &[]), ErrorId::SignatureInvalid).await;
    let mut parts = a.stream(&everything(&a));
    announced(&mut parts, envelope.len() as u64 + 1);
    refused("shorter than announced", plan("resnet"), parts, ErrorId::StreamBroken).await;
    let mut parts = a.stream(&everything(&a));
    announced(&mut parts, envelope.len() as u64 - 1);
    refused("longer than announced", plan("resnet"), parts, ErrorId::StreamBroken).await;
    let mut parts = a.stream_with(&envelope[..envelope.len() - 9], &everything(&a));
    refused("truncated", plan("resnet"), std::mem::take(&mut parts), ErrorId::SignatureInvalid).await;
    let mut parts = a.stream(&everything(&a));
    announced(&mut parts, crate::manifest::MAX_STATEMENT_LEN + 1);
    refused("oversized", plan("resnet"), parts, ErrorId::LimitExceeded).await;
    let mut parts = a.stream(&everything(&a));
    announced(&mut parts, 0);
    refused("none announced", plan("resnet"), parts, ErrorId::StreamBroken).await;
    let mut parts = a.stream(&everything(&a));
    parts.insert(1, Part::Statement(Bytes::new()));
    refused("an empty piece", plan("resnet"), parts, ErrorId::StreamBroken).await;
    let mut parts = a.stream(&everything(&a));
    parts.remove(1);
    refused("left out", plan("resnet"), parts, ErrorId::StreamBroken).await;
    let mut parts = a.stream(&everything(&a));
    parts.remove(0);
    refused("no start", plan("resnet"), parts, ErrorId::StreamBroken).await;
    let mut parts = a.stream(&everything(&a));
    parts.insert(2, parts[0].clone());
    refused("a second start", plan("resnet"), parts, ErrorId::StreamBroken).await;
}

#[tokio::test]
async fn every_lie_in_the_chunks_is_found_before_its_bytes_are_handed_on() {
    let a = artifact();
    // Start, statement, six chunks of a/weights, one of c/config, END.
    let honest = a.stream(&everything(&a));
    assert_eq!(honest.len(), 10);
    type Lie<'a> = &'a dyn Fn(&mut Vec<Part>);
    fn chunk(parts: &mut [Part], at: usize) -> &mut pb::FetchChunk {
        match &mut parts[2 + at] {
            Part::Chunk(chunk) => chunk,
            _ => unreachable!(),
        }
    }
    fn flip(bytes: &mut Bytes, at: usize) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x80;
        *bytes = changed.into();
    }
    fn end(parts: &mut [Part]) -> &mut pb::FetchEnd {
        match parts.last_mut() {
            Some(Part::End(end)) => end,
            _ => unreachable!(),
        }
    }
    use ErrorId::{MemberMismatch, StreamBroken};
    let cases: &[(&str, ErrorId, usize, Lie<'_>)] = &[
        ("first bit", MemberMismatch, 0, &|p| flip(&mut chunk(p, 0).data, 0)),
        ("last bit of a middle group", MemberMismatch, 2, &|p| flip(&mut chunk(p, 2).data, GROUP - 1)),
        ("in the last, short group", MemberMismatch, 5, &|p| flip(&mut chunk(p, 5).data, 99)),
        ("in a member of one group", MemberMismatch, 6, &|p| flip(&mut chunk(p, 6).data, 3)),
        ("in the top node", MemberMismatch, 0, &|p| flip(&mut chunk(p, 0).nodes, 5)),
        ("in the lowest node", MemberMismatch, 0, &|p| {
            let last = chunk(p, 0).nodes.len() - 1;
            flip(&mut chunk(p, 0).nodes, last);
        }),
        ("in a later node", MemberMismatch, 2, &|p| flip(&mut chunk(p, 2).nodes, 0)),
        ("no nodes", MemberMismatch, 0, &|p| chunk(p, 0).nodes = Bytes::new()),
        ("nodes that are not needed", MemberMismatch, 1, &|p| {
            let nodes = chunk(p, 0).nodes.clone();
            chunk(p, 1).nodes = nodes;
        }),
        ("dropped", StreamBroken, 1, &|p| drop(p.remove(3))),
        ("last dropped", StreamBroken, 6, &|p| drop(p.remove(8))),
        ("repeated", StreamBroken, 2, &|p| p.insert(3, p[3].clone())),
        ("swapped", StreamBroken, 1, &|p| p.swap(3, 4)),
        ("swapped data", MemberMismatch, 1, &|p| {
            let (one, other) = (chunk(p, 1).data.clone(), chunk(p, 2).data.clone());
            chunk(p, 1).data = other;
            chunk(p, 2).data = one;
        }),
        ("another member", StreamBroken, 0, &|p| chunk(p, 0).member = 2),
        ("no such member", StreamBroken, 0, &|p| chunk(p, 0).member = u32::MAX),
        ("another offset", StreamBroken, 0, &|p| chunk(p, 0).offset = u64::MAX),
        ("empty", StreamBroken, 0, &|p| chunk(p, 0).data = Bytes::new()),
        ("too long", StreamBroken, 0, &|p| chunk(p, 0).data = vec![0; GROUP + 1].into()),
        ("past the end of the member", StreamBroken, 6, &|p| chunk(p, 6).data = vec![0; 78].into()),
        ("too short", StreamBroken, 0, &|p| chunk(p, 0).data.truncate(GROUP - 1)),
        ("nodes in the middle of a group", StreamBroken, 0, &|p| {
            let mut rest = chunk(p, 0).clone();
            rest.data = rest.data.split_off(10);
            rest.offset = 10;
            chunk(p, 0).data.truncate(10);
            p.insert(3, Part::Chunk(rest));
        }),
        ("a chunk for the empty member", StreamBroken, 6, &|p| {
            let mut odd = chunk(p, 6).clone();
            (odd.member, odd.data) = (1, Bytes::new());
            p.insert(8, Part::Chunk(odd));
        }),
        ("one chunk more", StreamBroken, 7, &|p| p.insert(9, p[8].clone())),
        ("no END", StreamBroken, 7, &|p| drop(p.pop())),
        ("END too early", StreamBroken, 3, &|p| {
            let end = p.pop().unwrap();
            p.insert(5, end);
        }),
        ("chunks miscounted", StreamBroken, 7, &|p| end(p).chunks += 1),
        ("bytes miscounted", StreamBroken, 7, &|p| end(p).bytes -= 1),
        ("a chunk after END", StreamBroken, 7, &|p| p.push(p[8].clone())),
        ("a second END", StreamBroken, 7, &|p| p.push(p[9].clone())),
        ("a second statement", StreamBroken, 2, &|p| p.insert(4, p[1].clone())),
    ];
    let expected: Vec<u8> = a.members.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    for (what, id, groups, lie) in cases {
        let mut parts = honest.clone();
        lie(&mut parts);
        let kept = refused(what, plan("resnet"), parts, *id).await;
        // What was handed on before is a true beginning, and never a byte of the group that was wrong.
        let got: Vec<u8> = kept.pieces.into_iter().flat_map(|(_, _, bytes)| bytes).collect();
        assert!(expected.starts_with(&got), "{what}");
        let lens = [0, 1, 2, 3, 4, 5].map(|n| n * GROUP).into_iter().chain([5 * GROUP + 100, 5 * GROUP + 177]);
        assert_eq!(got.len(), lens.collect::<Vec<_>>()[*groups], "{what}");
    }
}

#[tokio::test]
async fn a_chunk_that_was_not_asked_for_is_refused() {
    let a = artifact();
    let only = FetchPlan { members: vec![("c/config".into(), None)], ..plan("resnet") };
    refused("more members", only.clone(), a.stream(&everything(&a)), ErrorId::StreamBroken).await;
    let part = FetchPlan { members: vec![("a/weights".into(), Some(0..5))], ..plan("resnet") };
    refused("more groups", part, a.stream(&[(0, 0..2 * GROUP)]), ErrorId::StreamBroken).await;
    refused("nothing of it", only, a.stream(&[]), ErrorId::StreamBroken).await;
}

#[tokio::test]
async fn an_error_of_the_server_is_told_and_a_cut_is_a_broken_stream() {
    let a = artifact();
    let mut cut_short = a.stream(&everything(&a));
    cut_short.truncate(4);
    let say = async |parts: Vec<Part>, status| {
        told(parts, Some(status)).await.fetch(plan("resnet"), &mut Kept::default()).await.unwrap_err().id()
    };
    let vault = wire::status_of(&Error::new(ErrorId::Denied, ""), wire::Audience::Remote);
    assert_eq!(say(cut_short.clone(), vault.clone()).await, ErrorId::Denied);
    assert_eq!(say(cut_short, Status::unavailable("proxy went away")).await, ErrorId::StreamBroken);
    // Success is what the END and the status say together.
    assert_eq!(say(a.stream(&everything(&a)), vault).await, ErrorId::Denied);
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_fetch() {
    struct Full;
    impl FetchSink for Full {
        fn start(&mut self, _: &VersionFacts, _: &ArtifactStatement) -> Result<()> {
            Ok(())
        }
        fn bytes(&mut self, _: &Subject, _: u64, _: &[u8]) -> Result<()> {
            Err(Error::new(ErrorId::DiskFull, "no space"))
        }
    }
    let a = artifact();
    let client = told(a.stream(&everything(&a)), None).await;
    assert_eq!(client.fetch(plan("resnet"), &mut Full).await.unwrap_err().id(), ErrorId::DiskFull);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let id = async |endpoint| Client::connect(endpoint).await.unwrap_err().id();
    let home = tempfile::tempdir().unwrap();
    assert_eq!(id(Endpoint::Socket(home.path().join("none"))).await, ErrorId::Unreachable);
    let bad = Endpoint::Anonymous { address: "localhost".into(), ca: vec![1, 2, 3] };
    assert_eq!(id(bad).await, ErrorId::BadCredential);
    let (near, far) = tokio::io::duplex(64);
    drop(far);
    assert!(matches!(id(Endpoint::InProcess(near)).await, ErrorId::Unreachable));
}

/// Every call is cut off after the server has seen it.
async fn cutting(path: &std::path::Path) -> std::sync::Arc<std::sync::Mutex<Vec<String>>> {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let calls = std::sync::Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let calls = std::sync::Arc::clone(&calls);
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                calls.lock().unwrap().push(request.uri().path().rsplit('/').next().unwrap_or_default().to_owned());
                let cut = Status::unavailable("cut").into_http::<tonic::body::Body>();
                async move { Ok::<_, std::convert::Infallible>(cut) }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    seen
}

#[tokio::test]
async fn after_a_cut_only_what_changes_nothing_is_asked_again() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("s");
    let seen = cutting(&socket).await;
    let client = Client::connect(Endpoint::Socket(socket)).await.unwrap();
    let (name, reference): (Name, Reference) = ("n".parse().unwrap(), "n".parse().unwrap());
    let count = |method: &str| seen.lock().unwrap().iter().filter(|m| *m == method).count();
    client.status().await.unwrap_err();
    client.version(&reference).await.unwrap_err();
    assert_eq!((count("Status"), count("GetVersion")), (2, 2));
    client.set_tag(&reference, &Tag::latest(), None).await.unwrap_err();
    client.remove("n").await.unwrap_err();
    client.restore("n").await.unwrap_err();
    client.enroll(&name, &name, b"").await.unwrap_err();
    client.renew(b"").await.unwrap_err();
    client.revoke(&name, &name, None).await.unwrap_err();
    client.grant(&name, &name, "n").await.unwrap_err();
    client.ungrant(&name, &name, "n").await.unwrap_err();
    client.set_policy("").await.unwrap_err();
    for method in ["SetTag", "Remove", "Restore", "EnrollWorkload", "RenewWorkload", "RevokeWorkload"] {
        assert_eq!(count(method), 1, "{method}");
    }
    let untrust = crate::identity::signers::Untrusting { name: name.clone(), key: None, revoke: None };
    client.untrust_signer(&untrust).await.unwrap_err();
    client.trust_signer(&crate::identity::signers::Trusting::keys(name.clone(), Vec::new())).await.unwrap_err();
    client.new_identity(&name, false).await.unwrap_err();
    client.sign_statement(&name, b"").await.unwrap_err();
    for method in ["UntrustSigner", "TrustSigner", "NewIdentity", "SignStatement"] {
        assert_eq!(count(method), 1, "{method}");
    }
    for method in ["AddGrant", "RemoveGrant", "SetPolicy"] {
        assert_eq!(count(method), 1, "{method}");
    }
}
