//! Members read at any place, from a server that counts what it is asked, and from others that stop, refuse or change.

use std::sync::atomic::{AtomicUsize, Ordering};

use tonic::codegen::tokio_stream::{self, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::*;
use crate::client::Endpoint;
use crate::client::tests::{Artifact, plan};
use crate::wire::pb::fetch_response::Part;
use crate::wire::pb::fetch_service_server::{FetchService, FetchServiceServer};
use crate::wire::{self, pb};

const MIB: usize = 1 << 20;

/// How a server treats a request, by the number of the request: 0 is that for the statement.
type Edit = dyn Fn(usize, Vec<Part>) -> (Vec<Part>, Option<Status>) + Send + Sync;

struct Server {
    artifact: Artifact,
    edit: Box<Edit>,
    asked: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl FetchService for Server {
    type FetchStream = ReceiverStream<Result<pb::FetchResponse, Status>>;

    async fn fetch(&self, request: Request<pb::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let wanted = self.artifact.selected(&request.into_inner().members);
        let (parts, status) = (self.edit)(self.asked.fetch_add(1, Ordering::SeqCst), self.artifact.stream(&wanted));
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let parts = parts.into_iter().map(|part| Ok(pb::FetchResponse { part: Some(part) }));
            for message in parts.chain(status.map(Err)) {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// A version at a server, with how often that was asked; the runtime is to be kept.
fn version(
    sizes: &[(&str, usize)],
    edit: impl Fn(usize, Vec<Part>) -> (Vec<Part>, Option<Status>) + Send + Sync + 'static,
) -> (SealedVersion, Artifact, Arc<AtomicUsize>, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (artifact, asked) = (Artifact::new(sizes, 16), Arc::new(AtomicUsize::new(0)));
    let server = Server { artifact: artifact.clone(), edit: Box::new(edit), asked: Arc::clone(&asked) };
    let client = runtime
        .block_on(async {
            let (near, far) = tokio::io::duplex(MIB);
            let incoming = tokio_stream::once(Ok::<_, io::Error>(far));
            let service = FetchServiceServer::new(server);
            tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
            Client::connect(Endpoint::InProcess(near)).await
        })
        .unwrap();
    let version = SealedVersion::open(client, runtime.handle().clone(), plan("resnet"), &|path| path == "b").unwrap();
    (version, artifact, asked, runtime)
}

fn honest(_: usize, parts: Vec<Part>) -> (Vec<Part>, Option<Status>) {
    (parts, None)
}

/// All bytes of a member, in steps.
fn read(version: &SealedVersion, path: &str, step: usize) -> Result<Vec<u8>> {
    let member = version.member(path).unwrap();
    let mut bytes = vec![0; member.len()? as usize];
    for (n, some) in bytes.chunks_mut(step).enumerate() {
        member.read_exact_at(some, (n * step) as u64)?;
    }
    Ok(bytes)
}

#[test]
fn members_are_read_at_any_place_and_from_start_to_end_at_once() {
    let (version, artifact, asked, _runtime) =
        version(&[("a", 5 * MIB + 17), ("b", 100), ("c", 0), ("d", 3 * MIB), ("e", 7)], honest);
    assert_eq!(version.members().map(|m| m.0).collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
    for (nth, path) in ["a", "c", "d", "e"].into_iter().enumerate() {
        let whole = &artifact.members[[0, 2, 3, 4][nth]].0;
        assert!(read(&version, path, 300_000).unwrap() == *whole, "{path}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3, "the statement, the first block, and all others");
    assert!(read(&version, "b", 9).unwrap() == artifact.members[1].0);
    for (from, len) in [(0, 1), (MIB - 1, 2), (4 * MIB + 5, MIB), (5 * MIB, 17), (2, 3 * MIB)] {
        let mut some = vec![0; len];
        version.member("a").unwrap().read_exact_at(&mut some, from as u64).unwrap();
        assert!(some == artifact.members[0].0[from..from + len], "{from}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3, "what is held is not asked for again");
    let beyond = version.member("b").unwrap().read_exact_at(&mut [0; 2], 99).unwrap_err();
    assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    assert!(version.member("f").is_none());
}

#[test]
fn who_jumps_gets_little_more_than_is_asked_for() {
    let (version, artifact, asked, _runtime) = version(&[("a", 60 * MIB)], honest);
    let member = version.member("a").unwrap();
    for n in [50, 10, 30, 20, 59, 0] {
        let mut some = [0; 100];
        member.read_exact_at(&mut some, (n * MIB) as u64).unwrap();
        assert_eq!(some[..], artifact.members[0].0[n * MIB..][..100], "{n}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 7);
}

#[test]
fn thousands_of_members_are_asked_for_at_once() {
    let names: Vec<_> = (0..9000).map(|n| format!("images/of/some/class/with-a-long-name/{n:05}")).collect();
    let sizes: Vec<_> = names.iter().map(|name| (&**name, 400)).collect();
    let (version, artifact, asked, _runtime) = version(&sizes, honest);
    for (nth, name) in names.iter().enumerate() {
        assert!(read(&version, name, 400).unwrap() == artifact.members[nth].0, "{name}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3, "the statement, the first block, and all others");
}

#[test]
fn a_stream_that_is_cut_goes_on_where_it_was_unless_nothing_comes() {
    let after =
        |most: usize, parts: Vec<Part>| (parts.into_iter().take(most).collect(), Some(Status::unavailable("cut")));
    // 64 KiB each: two and a half blocks.
    let (cut, artifact, asked, _runtime) = version(&[("a", 9 * MIB)], move |n, parts| match n {
        0 | 1 => (parts, None),
        _ => after(42, parts),
    });
    assert!(read(&cut, "a", 100_000).unwrap() == artifact.members[0].0);
    assert!((5..8).contains(&asked.load(Ordering::SeqCst)), "{asked:?}");
    let (never, _, _, _running) = version(&[("a", 9 * MIB)], move |n, parts| match n {
        0 | 1 => (parts, None),
        _ => after(10, parts),
    });
    assert_eq!(read(&never, "a", 100_000).unwrap_err().id(), ErrorId::StreamBroken);
    // Who ends it without its END breaks the contract, and is not asked again.
    let (broken, _, asked, _is_running) = version(&[("a", 9 * MIB)], move |n, parts| match n {
        0 | 1 => (parts, None),
        _ => (parts.into_iter().take(42).collect(), None),
    });
    assert_eq!(read(&broken, "a", 100_000).unwrap_err().id(), ErrorId::StreamBroken);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn what_the_vault_refuses_on_the_way_is_told_and_another_content_is_not_taken() {
    let denied = || wire::status_of(&Error::new(ErrorId::Denied, "no more"), wire::Audience::Remote);
    let (refused, artifact, _, _runtime) = version(&[("a", 9 * MIB)], move |n, parts| match n {
        0 | 1 => (parts, None),
        _ => (parts.into_iter().take(42).collect(), Some(denied())),
    });
    let member = refused.member("a").unwrap();
    let mut some = vec![0; 3 * MIB];
    member.read_exact_at(&mut some, 0).unwrap();
    assert!(some == artifact.members[0].0[..3 * MIB]);
    assert_eq!(read(&refused, "a", MIB).unwrap_err().id(), ErrorId::Denied);

    let other = Artifact::new(&[("a", 9 * MIB), ("x", 1)], 16);
    let (swapped, _, _, _running) = version(&[("a", 9 * MIB)], move |n, parts| match n {
        0 => (parts, None),
        _ => (other.stream(&[(0, 0..MIB)]), None),
    });
    assert_eq!(read(&swapped, "a", MIB).unwrap_err().id(), ErrorId::BindingMismatch);
}

#[test]
fn a_reading_that_is_given_up_ends_what_is_under_way() {
    let (version, _, asked, runtime) = version(&[("a", 64 * MIB)], honest);
    let member = version.member("a").unwrap();
    member.read_exact_at(&mut vec![0; 3 * MIB], 0).unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    // Waits for the thread of the fetch, which waits for its reader.
    drop((member, version));
    drop(runtime);
}
