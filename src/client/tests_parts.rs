//! A dataset in parts, read and fetched from a server that is honest, and from ones that are not.

use std::collections::HashMap;
use std::io;

use tonic::codegen::tokio_stream::{self, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::tests::{Artifact, plan};
use super::*;
use crate::crypto::hash::blake3;
use crate::manifest::{ArtifactStatement, PARTS_NAME, Part, Parts, Subject};
use crate::names::{ArtifactKind, FileId, Root};
use crate::seal::io::ReadAt as _;
use crate::wire::pb::fetch_service_server::{FetchService, FetchServiceServer};

/// Answers by the version that is asked for; 0 is what a tag leads to.
struct Server(HashMap<u64, Artifact>);

#[tonic::async_trait]
impl FetchService for Server {
    type FetchStream = ReceiverStream<Result<pb::FetchResponse, Status>>;

    async fn fetch(&self, request: Request<pb::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let asked = request.into_inner();
        let number = asked.reference.rsplit_once("@v").and_then(|(_, n)| n.parse().ok()).unwrap_or(0);
        let Some(artifact) = self.0.get(&number) else {
            return Err(wire::status_of(&Error::new(ErrorId::NotFound, "none"), wire::Audience::Remote));
        };
        let subjects = &artifact.statement.subjects;
        let mut wanted = artifact.selected(&asked.members);
        if wanted.is_empty() && !asked.statement_only {
            wanted = subjects.iter().enumerate().map(|(at, s)| (at, 0..s.size as usize)).collect();
        }
        let parts = artifact.stream(&wanted).into_iter().map(|part| Ok(pb::FetchResponse { part: Some(part) }));
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for message in parts {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn sealed(number: u64, sizes: &[(&str, usize)]) -> Artifact {
    let mut artifact = Artifact::new(sizes, 16);
    let (file_id, root) = (FileId([number as u8; 32]), Root([100 + number as u8; 32]));
    (artifact.statement.version, artifact.statement.kind) = (number, ArtifactKind::Dataset);
    (artifact.version.version, artifact.version.kind) = (number, ArtifactKind::Dataset);
    (artifact.statement.file_id, artifact.version.file_id, artifact.version.root) = (file_id, file_id, root);
    artifact
}

fn part(of: &Artifact) -> Part {
    let members = of.statement.subjects.iter().map(|s| (s.path.as_str(), s.size, s.blake3));
    Part::of(of.statement.version, of.version.root, members)
}

/// The version that names these parts, as the tag has it.
fn naming(number: u64, parts: Vec<Part>) -> Artifact {
    let text = Parts::new(parts).unwrap().to_json().into_bytes();
    let mut head = sealed(number, &[(PARTS_NAME, text.len()), ("dataset.sig", 700), ("dataset.tree/images/pieces", 9)]);
    head.statement.subjects[0].blake3 = blake3(&text);
    head.members[0].0 = text;
    head
}

/// Two parts, versions 4 and 5, named by version 6.
fn honest() -> HashMap<u64, Artifact> {
    let (one, two) =
        (sealed(4, &[("a/1.png", 70_000), ("a/2.png", 0), ("b.png", 5)]), sealed(5, &[("c/9.png", 3 << 20)]));
    let head = naming(6, vec![part(&one), part(&two)]);
    HashMap::from([(0, head.clone()), (4, one), (5, two), (6, head)])
}

struct Running {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    fn of(artifacts: HashMap<u64, Artifact>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let connecting = async {
            let (near, far) = tokio::io::duplex(1 << 20);
            let incoming = tokio_stream::once(Ok::<_, io::Error>(far));
            let service = FetchServiceServer::new(Server(artifacts));
            tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
            Client::connect(Endpoint::InProcess(near)).await
        };
        let client = runtime.block_on(connecting).unwrap();
        Self { client, runtime }
    }

    fn open(&self) -> Result<SealedVersion> {
        let beside = |path: &str| Parts::lies_beside(path);
        SealedVersion::open(self.client.clone(), self.runtime.handle().clone(), plan("resnet"), &beside)
    }

    fn fetch(&self) -> (Result<FetchReport>, Kept) {
        let mut kept = Kept::default();
        (self.runtime.block_on(self.client.fetch_with_parts(plan("resnet"), &mut kept)), kept)
    }
}

/// Path and bytes of what came.
#[derive(Default)]
struct Kept {
    announced: Vec<String>,
    came: InMemory,
}

impl FetchSink for Kept {
    fn start(&mut self, _: &VersionFacts, statement: &ArtifactStatement) -> Result<()> {
        self.announced.extend(statement.subjects.iter().map(|s| s.path.clone()));
        Ok(())
    }

    fn bytes(&mut self, member: &Subject, offset: u64, bytes: &[u8]) -> Result<()> {
        self.came.bytes(member, offset, bytes)
    }
}

#[test]
fn the_members_of_all_parts_are_those_of_the_version_that_names_them() {
    let artifacts = honest();
    let running = Running::of(artifacts.clone());
    let version = running.open().unwrap();
    let beside = ["dataset.sig", "dataset.tree/images/pieces"];
    let files = ["a/1.png", "a/2.png", "b.png", "c/9.png"];
    let paths: Vec<_> = version.members().map(|(path, _)| path.to_owned()).collect();
    assert_eq!(paths, [&beside[..], &files].concat());
    assert_eq!(version.report().version.version, 6);
    let held = |path: &str| {
        let of = |a: &Artifact| Some(a.members[a.statement.subjects.iter().position(|s| s.path == path)?].0.clone());
        artifacts.values().find_map(of).unwrap()
    };
    for path in paths.iter().chain(paths.iter().rev()) {
        let member = version.member(path).unwrap();
        let mut bytes = vec![0; member.len().unwrap() as usize];
        member.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes == held(path), "{path}");
    }
    for path in ["", "a/3.png", "dataset", "zzz"] {
        assert!(version.member(path).is_none(), "{path}");
    }
    let (report, kept) = running.fetch();
    let report = report.unwrap();
    assert_eq!(kept.announced, paths);
    assert!(kept.came.members.iter().all(|(path, bytes)| *bytes == held(path)));
    assert_eq!((report.members, report.bytes), (6, 700 + 9 + 70_000 + 5 + (3 << 20)));
    assert_eq!(report.version.version, 6);
}

#[test]
fn a_part_that_is_not_the_one_that_was_named_is_refused() {
    let refused = |why: &str, id: ErrorId, change: &dyn Fn(&mut HashMap<u64, Artifact>)| {
        let mut artifacts = honest();
        change(&mut artifacts);
        let running = Running::of(artifacts);
        assert_eq!(running.open().map(drop).unwrap_err().id(), id, "{why}");
        assert_eq!(running.fetch().0.unwrap_err().id(), id, "{why}");
    };
    refused("it is not there", ErrorId::NotFound, &|a| drop(a.remove(&5)));
    refused("another part in its place", ErrorId::BindingMismatch, &|a| drop(a.insert(5, a[&4].clone())));
    refused("an older one under its number", ErrorId::BindingMismatch, &|a| {
        let mut older = sealed(5, &[("c/9.png", 3 << 20)]);
        older.version.root = Root([9; 32]);
        a.insert(5, older);
    });
    refused("another content under the number and the root that were named", ErrorId::BindingMismatch, &|a| {
        a.get_mut(&5).unwrap().statement.subjects[0].blake3 = blake3(b"of an earlier sealing");
    });
    refused("one with more files, and the root that was named", ErrorId::BindingMismatch, &|a| {
        a.insert(5, sealed(5, &[("c/9.png", 3 << 20), ("d.png", 1)]));
    });
    refused("one with another file in the middle", ErrorId::BindingMismatch, &|a| {
        let other = sealed(4, &[("a/1.png", 70_000), ("dataset.sig", 1), ("dataset.tree/x", 1)]);
        let named = vec![Part { last: "dataset.tree/x".into(), ..part(&a[&4]) }];
        assert!(Parts::new(named).is_err());
        a.insert(4, other);
    });
    refused("a list that nobody signed", ErrorId::MemberMismatch, &|a| {
        let text = Parts::new(vec![part(&a[&5])]).unwrap().to_json().into_bytes();
        for head in [0, 6] {
            let head = a.get_mut(&head).unwrap();
            let mut bytes = text.clone();
            bytes.resize(head.members[0].0.len(), b' ');
            head.members[0].0 = bytes;
        }
    });
    refused("a list that names no parts", ErrorId::ManifestInvalid, &|a| {
        for head in [0, 6] {
            let head = a.get_mut(&head).unwrap();
            let mut bytes = head.members[0].0.clone();
            bytes[2] = b'q';
            head.statement.subjects[0].blake3 = blake3(&bytes);
            head.members[0].0 = bytes;
        }
    });
}
