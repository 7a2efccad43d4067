//! A publisher's client against vaults that ask for signatures on what was not sent, each in one way, and one that does not.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tonic::codegen::tokio_stream;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::tests::identity;
use super::*;
use crate::crypto::dsse::{IN_TOTO, Signer, pre_authentication};
use crate::crypto::hash::{blake3, sha256};
use crate::error::ErrorId;
use crate::manifest::{ArtifactStatement, Subject};
use crate::names::{ArtifactId, ArtifactKind, Commitment, FileId, Root, Timestamp};
use crate::seal::signatures;
use crate::wire::pb::artifact_service_server::{ArtifactService, ArtifactServiceServer};
use crate::wire::pb::seal_request::Part as Sent;
use crate::wire::pb::seal_response::Part;

/// What the vault says, one field after the other changed by a test.
#[derive(Clone)]
struct Told {
    statement: ArtifactStatement,
    /// Instead of the statement's own bytes.
    artifact_payload: Option<String>,
    seal_file: FileId,
    seal_root: Root,
    seal_payload: Option<String>,
    asks: Asks,
    published: VersionFacts,
    replayed: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Asks {
    Properly,
    Never,
    Once,
    Thrice,
    /// Announces so many bytes, whatever there are.
    Announcing(u64),
}

/// Payloads and their signatures.
type Signed = Vec<(Vec<u8>, Vec<u8>)>;

type Lie = Arc<dyn Fn(&mut Told) + Send + Sync>;

/// A vault that keeps nothing: it hashes what it gets and asks for signatures.
struct Lying {
    lie: Lie,
    /// The signatures it got.
    got: Arc<Mutex<Signed>>,
}

impl Lying {
    async fn converse(
        self: Arc<Self>,
        mut messages: Streaming<pb::SealRequest>,
        out: tokio::sync::mpsc::Sender<Result<pb::SealResponse, Status>>,
    ) -> Option<()> {
        let Some(Sent::Start(start)) = messages.message().await.ok()??.part else { return None };
        let mut bytes = Vec::new();
        loop {
            match messages.message().await.ok()??.part? {
                Sent::Data(data) => bytes.extend_from_slice(&data),
                Sent::End(end) => break assert_eq!(end.bytes, bytes.len() as u64),
                _ => return None,
            }
        }
        let mut rest = &bytes[..];
        let mut subjects: Vec<_> = start
            .members
            .iter()
            .map(|m| {
                let (own, after) = rest.split_at(m.size as usize);
                rest = after;
                Subject {
                    path: m.path.clone(),
                    size: m.size,
                    blake3: blake3(own),
                    sha256: start.sha256.then(|| sha256(own)),
                }
            })
            .collect();
        subjects.sort_by(|a, b| a.path.cmp(&b.path));
        let statement = ArtifactStatement {
            namespace: start.namespace.parse().unwrap(),
            name: start.name.parse().unwrap(),
            version: 3,
            kind: start.kind.parse().unwrap(),
            file_id: FileId([9; 32]),
            payload_size: bytes.len() as u64 + 77,
            group_log2: 20,
            created: SystemClock.now(),
            subjects,
        };
        let key = PublicKey::from_spki(&start.public_key).unwrap_or(*identity(7).public());
        let published = VersionFacts {
            namespace: statement.namespace.clone(),
            name: statement.name.clone(),
            version: 3,
            artifact_id: ArtifactId([1; 16]),
            root: Root([5; 32]),
            file_id: statement.file_id,
            generation: 1,
            kind: statement.kind,
            size: bytes.len() as u64,
            payload_size: statement.payload_size,
            member_count: statement.subjects.len() as u64,
            created: statement.created,
            signer: key.key_id(),
            sealed_by: "operator".into(),
            tags: vec![],
            unlisted: false,
            shredded: false,
            part_of: None,
        };
        let mut told = Told {
            seal_file: statement.file_id,
            seal_root: published.root,
            statement,
            artifact_payload: None,
            seal_payload: None,
            asks: Asks::Properly,
            published,
            replayed: false,
        };
        (self.lie)(&mut told);
        let commitment = Commitment([6; 32]);
        let artifact = told.artifact_payload.clone().unwrap_or_else(|| told.statement.to_payload());
        let seal = signatures::seal_statement(&told.seal_file, &told.seal_root, &commitment);
        let seal = told.seal_payload.clone().unwrap_or(seal);
        let questions = match told.asks {
            _ if start.public_key.is_empty() => vec![],
            Asks::Never => vec![],
            Asks::Once => vec![artifact],
            Asks::Thrice => vec![artifact, seal.clone(), seal],
            Asks::Properly | Asks::Announcing(_) => vec![artifact, seal],
        };
        let say = async |part| out.send(Ok(pb::SealResponse { part: Some(part) })).await.ok();
        for payload in questions {
            let len = if let Asks::Announcing(more) = told.asks { more } else { payload.len() as u64 };
            say(Part::ToSign(pb::SealToSign { payload_len: len })).await?;
            for piece in payload.as_bytes().chunks(100) {
                say(Part::Payload(Bytes::copy_from_slice(piece))).await?;
            }
            let Sent::Signature(signature) = messages.message().await.ok()??.part? else { return None };
            self.got.lock().unwrap().push((payload.into_bytes(), signature.to_vec()));
        }
        let version = Some(wire::version_to_wire(&told.published));
        say(Part::Sealed(pb::Sealed { version, replayed: told.replayed })).await
    }
}

type Reply<T> = Result<Response<T>, Status>;

fn no<T>() -> Reply<T> {
    Err(Status::unimplemented("not here"))
}

struct Service(Arc<Lying>);

#[tonic::async_trait]
impl ArtifactService for Service {
    type SealStream = ReceiverStream<Result<pb::SealResponse, Status>>;
    type ExportStream = ReceiverStream<Result<pb::ExportResponse, Status>>;

    async fn seal(&self, request: Request<Streaming<pb::SealRequest>>) -> Reply<Self::SealStream> {
        let (out, answers) = tokio::sync::mpsc::channel(1);
        tokio::spawn(Arc::clone(&self.0).converse(request.into_inner(), out));
        Ok(Response::new(ReceiverStream::new(answers)))
    }
    async fn import(&self, _: Request<Streaming<pb::ImportRequest>>) -> Reply<pb::ImportResponse> {
        no()
    }
    async fn export(&self, _: Request<pb::ExportRequest>) -> Reply<Self::ExportStream> {
        no()
    }
    async fn list_artifacts(&self, _: Request<pb::ListArtifactsRequest>) -> Reply<pb::ListArtifactsResponse> {
        no()
    }
    async fn list_versions(&self, _: Request<pb::ListVersionsRequest>) -> Reply<pb::ListVersionsResponse> {
        no()
    }
    async fn get_version(&self, _: Request<pb::GetVersionRequest>) -> Reply<pb::GetVersionResponse> {
        no()
    }
    async fn inspect(&self, _: Request<pb::InspectRequest>) -> Reply<pb::InspectResponse> {
        no()
    }
    async fn set_tag(&self, _: Request<pb::SetTagRequest>) -> Reply<pb::SetTagResponse> {
        no()
    }
    async fn remove(&self, _: Request<pb::RemoveRequest>) -> Reply<pb::RemoveResponse> {
        no()
    }
    async fn shred(&self, _: Request<pb::ShredRequest>) -> Reply<pb::ShredResponse> {
        no()
    }
    async fn restore(&self, _: Request<pb::RestoreRequest>) -> Reply<pb::RestoreResponse> {
        no()
    }
    async fn verify(&self, _: Request<pb::VerifyRequest>) -> Reply<pb::VerifyResponse> {
        no()
    }
}

fn upload(signer: Option<Arc<dyn Signer>>) -> Upload {
    let member = |path: &str, len: usize, fill: u8| {
        (path.to_owned(), Box::new(vec![fill; len]) as Box<dyn crate::seal::io::ReadAt>)
    };
    Upload {
        namespace: "default".parse().unwrap(),
        name: "resnet".parse().unwrap(),
        kind: ArtifactKind::Model,
        tag: None,
        // Not in the order of their paths; empty, one piece, several pieces.
        members: vec![member("z", 77, 1), member("a", (2 << 20) + 5, 2), member("m/empty", 0, 0)],
        sha256: true,
        signer,
        identity: None,
        allow_unsigned: None,
    }
}

/// What sealing with a vault that tells this lie comes to, and what it got signed.
async fn sealed(
    signer: Option<Arc<dyn Signer>>,
    lie: impl Fn(&mut Told) + Send + Sync + 'static,
) -> (Result<(VersionFacts, bool)>, Signed) {
    let got = Arc::default();
    let (near, far) = tokio::io::duplex(1 << 20);
    let lying = Arc::new(Lying { lie: Arc::new(lie), got: Arc::clone(&got) });
    let incoming = tokio_stream::once(Ok::<_, std::io::Error>(far));
    let service = ArtifactServiceServer::new(Service(lying)).max_decoding_message_size(4 << 20);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let client = Client::connect(Endpoint::InProcess(near)).await.unwrap();
    let sent = Mutex::new(0);
    let outcome = client.seal(upload(signer), &|n| *sent.lock().unwrap() = n).await;
    let got = got.lock().unwrap().clone();
    (outcome, got)
}

fn signer() -> Option<Arc<dyn Signer>> {
    Some(Arc::new(identity(4)))
}

#[tokio::test]
async fn a_publisher_signs_what_was_sent_and_the_root_of_its_file() {
    let (outcome, got) = sealed(signer(), |_| {}).await;
    let (version, replayed) = outcome.unwrap();
    assert_eq!((version.signer, replayed, got.len()), (identity(4).key_id(), false, 2));
    for (payload, signature) in &got {
        identity(4).public().verify(&pre_authentication(IN_TOTO, payload), signature).unwrap();
    }
    let statement = ArtifactStatement::from_payload(&got[0].0).unwrap();
    assert_eq!(statement.subjects.iter().map(|s| s.path.as_str()).collect::<Vec<_>>(), ["a", "m/empty", "z"]);
    let (outcome, got) = sealed(None, |_| {}).await;
    assert_eq!((outcome.unwrap().1, got.len()), (false, 0), "without a publisher nothing is asked");
}

#[tokio::test]
async fn nothing_is_signed_that_was_not_sent() {
    use ErrorId::{BindingMismatch, LimitExceeded, MemberMismatch, StreamBroken};
    fn payload(told: &mut Told, from: &str, to: &str) {
        let honest = told.statement.to_payload();
        assert!(honest.contains(from), "{from}");
        told.artifact_payload = Some(honest.replacen(from, to, 1));
    }
    let ago = |seconds: i64| Timestamp::from_millis(SystemClock.now().as_millis() - 1000 * seconds);
    type Case = (&'static str, ErrorId, usize, Lie);
    let cases: Vec<Case> = vec![
        ("another BLAKE3", MemberMismatch, 0, Arc::new(|t| t.statement.subjects[0].blake3.0[0] ^= 1)),
        ("another SHA-256", MemberMismatch, 0, Arc::new(|t| t.statement.subjects[2].sha256 = Some(sha256(b"x")))),
        ("no SHA-256", MemberMismatch, 0, Arc::new(|t| t.statement.subjects[0].sha256 = None)),
        ("another size", MemberMismatch, 0, Arc::new(|t| t.statement.subjects[0].size -= 1)),
        ("another path", MemberMismatch, 0, Arc::new(|t| t.statement.subjects[0].path = "b".into())),
        ("of the empty one", MemberMismatch, 0, Arc::new(|t| t.statement.subjects[1].blake3 = blake3(b"x"))),
        ("one member less", BindingMismatch, 0, Arc::new(|t| drop(t.statement.subjects.remove(1)))),
        (
            "one more",
            BindingMismatch,
            0,
            Arc::new(|t| {
                let more = Subject { path: "zz".into(), ..t.statement.subjects[2].clone() };
                t.statement.subjects.push(more);
            }),
        ),
        ("another name", BindingMismatch, 0, Arc::new(|t| t.statement.name = "other".parse().unwrap())),
        ("another namespace", BindingMismatch, 0, Arc::new(|t| t.statement.namespace = "other".parse().unwrap())),
        ("another kind", BindingMismatch, 0, Arc::new(|t| t.statement.kind = ArtifactKind::Dataset)),
        ("no version", BindingMismatch, 0, Arc::new(|t| t.statement.version = 0)),
        ("a payload too small", BindingMismatch, 0, Arc::new(|t| t.statement.payload_size = 100)),
        ("of yesterday", BindingMismatch, 0, Arc::new(move |t| t.statement.created = ago(86_400))),
        ("of tomorrow", BindingMismatch, 0, Arc::new(move |t| t.statement.created = ago(-86_400))),
        ("another type", BindingMismatch, 0, Arc::new(|t| payload(t, "artifact/v1", "scan/v1"))),
        ("a key more", BindingMismatch, 0, Arc::new(|t| payload(t, "\"version\":3", "\"version\":3,\"x\":1"))),
        ("blanks", BindingMismatch, 0, Arc::new(|t| payload(t, "\"version\":3", "\"version\": 3"))),
        ("not JSON", BindingMismatch, 0, Arc::new(|t| t.artifact_payload = Some("{".into()))),
        ("an empty object", BindingMismatch, 0, Arc::new(|t| t.artifact_payload = Some("{}".into()))),
        ("nothing", BindingMismatch, 0, Arc::new(|t| t.artifact_payload = Some(String::new()))),
        ("no end of it", LimitExceeded, 0, Arc::new(|t| t.asks = Asks::Announcing(u64::MAX))),
        ("less than announced", StreamBroken, 0, Arc::new(|t| t.asks = Asks::Announcing(10))),
        ("the root of another file", BindingMismatch, 1, Arc::new(|t| t.seal_file = FileId([8; 32]))),
        (
            "the artifact statement again",
            BindingMismatch,
            1,
            Arc::new(|t| t.seal_payload = Some(t.statement.to_payload())),
        ),
        (
            "a seal statement and more",
            BindingMismatch,
            1,
            Arc::new(|t| {
                let honest = signatures::seal_statement(&t.seal_file, &t.seal_root, &Commitment([6; 32]));
                t.seal_payload = Some(honest.replace("\"predicate\":{", "\"predicate\":{\"x\":1,"));
            }),
        ),
        ("a third signature", StreamBroken, 2, Arc::new(|t| t.asks = Asks::Thrice)),
        ("published unsigned", BindingMismatch, 0, Arc::new(|t| t.asks = Asks::Never)),
        ("published half signed", BindingMismatch, 1, Arc::new(|t| t.asks = Asks::Once)),
        ("of an earlier call, it says", BindingMismatch, 0, Arc::new(|t| (t.asks, t.replayed) = (Asks::Never, true))),
        ("published another root", BindingMismatch, 2, Arc::new(|t| t.published.root = Root([6; 32]))),
        ("published another version", BindingMismatch, 2, Arc::new(|t| t.published.version = 4)),
        ("published as another's", BindingMismatch, 2, Arc::new(|t| t.published.signer = identity(5).key_id())),
    ];
    for (what, id, signatures, lie) in cases {
        let (outcome, got) = sealed(signer(), move |told| lie(told)).await;
        let error = outcome.map(|(v, _)| v).expect_err(what);
        assert_eq!((error.id(), got.len()), (id, signatures), "{what}: {error}");
    }
}
