//! The daemon without a vault behind it: who gets in, what a stream holds, how it ends.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::connection::{Peer, Slots};
use super::fetch::{Fetches, Plaintext};
use super::*;
use crate::client::tests::{Artifact, Kept, identity, plan};
use crate::client::{Client, Endpoint, FetchPlan, FetchSink, Selection};
use crate::crypto::random::SystemRandom;
use crate::facts::VersionFacts;
use crate::identity::{
    Authority, ClientCertificate, ClientTls, DEFAULT_LIFETIME, Enrolment, TrustDomains, new_key_and_csr,
};
use crate::manifest::{ArtifactStatement, Subject};
use crate::names::{Revision, SystemClock, VaultId};
use crate::vault::{OpenMember, Transport, Wanted};
use crate::wire::pb::fetch_service_client::FetchServiceClient;

/// What the daemon under test did.
#[derive(Default)]
struct Seen {
    ended: Mutex<Vec<(u64, String)>>,
    refused: Mutex<Vec<(ErrorId, &'static str)>>,
    /// Reads that were begun.
    reads: AtomicU64,
    /// The next read is refused, its lease not renewed.
    revoked: AtomicBool,
    /// Reads find damage.
    damaged: AtomicBool,
    /// Milliseconds by which the daemon's clock is ahead.
    ahead: AtomicI64,
}

impl Seen {
    /// How the only stream ended; waits for it.
    async fn ended(&self) -> (u64, String) {
        for _ in 0..2000 {
            if let Some(end) = self.ended.lock().unwrap().pop() {
                return end;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the stream's end was never recorded");
    }
}

struct Memory {
    artifact: Arc<Artifact>,
    envelope: Vec<u8>,
    seal_statements: Vec<u8>,
    tag_statement: Vec<u8>,
    members: Vec<OpenMember>,
    seen: Arc<Seen>,
}

impl Plaintext for Memory {
    fn version(&self) -> &VersionFacts {
        &self.artifact.version
    }
    fn statement(&self) -> &[u8] {
        &self.envelope
    }
    fn seal_statements(&self) -> &[u8] {
        &self.seal_statements
    }
    fn tag_statement(&self) -> Result<Vec<u8>> {
        Ok(self.tag_statement.clone())
    }
    fn members(&self) -> &[OpenMember] {
        &self.members
    }
    fn group_log2(&self) -> u8 {
        self.artifact.statement.group_log2
    }
    fn expires(&self) -> Timestamp {
        self.artifact.version.created
    }
    fn read(&self, pieces: &mut [Wanted<'_>], checks: bool) -> Result<()> {
        assert!(checks, "the client announces that it checks groups");
        if self.seen.revoked.load(Ordering::Acquire) {
            return Err(Error::new(ErrorId::Denied, "the grant of resnet was taken back"));
        }
        self.seen.reads.fetch_add(1, Ordering::AcqRel);
        if self.seen.damaged.load(Ordering::Acquire) {
            return Err(Error::new(ErrorId::SegmentAuthFailed, "segment 1 of /home/vault/blobs/x"));
        }
        for Wanted { member, offset, place } in pieces {
            place.copy_from_slice(&self.artifact.members[*member].0[*offset as usize..][..place.len()]);
        }
        Ok(())
    }
    fn nodes(&self, member: usize, previous: Option<u64>, index: u64) -> Vec<u8> {
        self.artifact.nodes(member, previous, index)
    }
    fn finish(self: Box<Self>, bytes: u64, reason: &str) -> Result<()> {
        self.seen.ended.lock().unwrap().push((bytes, reason.into()));
        Ok(())
    }
}

struct Daemon {
    house: Arc<House>,
    seen: Arc<Seen>,
    authority: Authority,
    artifact: Arc<Artifact>,
    addresses: Addresses,
    end: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
    home: tempfile::TempDir,
}

struct AheadClock(Arc<Seen>);

impl Clock for AheadClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().as_millis() + self.0.ahead.load(Ordering::Acquire))
    }
}

impl Daemon {
    async fn start(artifact: Artifact, limits: Limits) -> Self {
        let (artifact, seen) = (Arc::new(artifact), Arc::new(Seen::default()));
        let vault = VaultId([7; 16]);
        let authority = Authority::create(vault, SystemClock.now(), &SystemRandom).unwrap();
        let hosts = ["localhost", "127.0.0.1"];
        let own = authority.issue_server(&hosts, DEFAULT_LIFETIME, SystemClock.now(), &SystemRandom).unwrap();
        // The handshake uses the true time: only calls on a connection that stands see the other one.
        let tls =
            ServerTls::new(authority.certificate(), &own, Arc::new(SystemClock), TrustDomains::default()).unwrap();
        let calls = Arc::new(Calls::new(&limits));
        let (opened, watched) = (Arc::clone(&artifact), Arc::clone(&seen));
        let fetches = Fetches::new(&calls, move |_, r| {
            if r.name.as_str() != "resnet" {
                return Err(Error::new(ErrorId::NotFound, "no such thing in /home/vault"));
            }
            let members = &opened.statement.subjects;
            Ok(Box::new(Memory {
                envelope: opened.envelope(1),
                seal_statements: opened.seal_statements(1),
                tag_statement: match &r.revision {
                    Revision::Tag(tag) => opened.tag_statement(1, tag),
                    _ => Vec::new(),
                },
                members: members.iter().map(|s| OpenMember { path: s.path.clone(), size: s.size }).collect(),
                artifact: Arc::clone(&opened),
                seen: Arc::clone(&watched),
            }))
        });
        let mut routes = base_routes(&calls, true).await;
        routes.add_service(fetches);
        let (now, refused) = (AheadClock(Arc::clone(&seen)), Arc::clone(&seen));
        let house = Arc::new(House {
            routes: routes.routes(),
            slots: Slots::new(&limits),
            calls,
            tls: Some(tls),
            vault,
            owner_uid: rustix::process::geteuid().as_raw(),
            now: Box::new(move || now.now()),
            refused: Box::new(move |_, what, why| refused.refused.lock().unwrap().push((what, why))),
            who: Arc::new(|certificate| match certificate {
                ClientCertificate::Workload(certificate) => Ok((certificate.principal(), Evidence::default())),
                other => panic!("no test shows {other:?}"),
            }),
        });
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("run").join("s");
        let any = Some("127.0.0.1:0".parse().unwrap());
        let listeners = listen::Listeners::bind(any, Some(&socket)).await.unwrap();
        let addresses = listeners.addresses();
        let (end, shutdown) = oneshot::channel();
        let serving = Arc::clone(&house);
        let serving = tokio::spawn(async move {
            let shutdown = async { shutdown.await.unwrap_or(()) };
            listeners.serve(&serving, shutdown).await;
            serving.calls.finished().await;
        });
        Self { house, seen, authority, artifact, addresses, end: Some(end), serving, home }
    }

    fn address(&self) -> String {
        format!("localhost:{}", self.addresses.tcp.unwrap().port())
    }

    fn enrolment(&self, authority: &Authority, name: &str) -> Enrolment {
        let (namespace, name) = ("default".parse().unwrap(), name.parse().unwrap());
        let (key, csr) = new_key_and_csr(&name).unwrap();
        let now = SystemClock.now();
        let issued = authority.issue_workload(&csr, &namespace, &name, DEFAULT_LIFETIME, now, &SystemRandom).unwrap();
        Enrolment {
            address: self.address(),
            namespace,
            signers: vec![*identity(1).public()],
            ca: self.authority.certificate().to_vec(),
            certificate: issued.certificate,
            key,
        }
    }

    async fn workload(&self, name: &str) -> Client {
        let enrolment = self.enrolment(&self.authority, name);
        Client::connect(Endpoint::Workload { address: self.address(), enrolment }).await.unwrap()
    }

    async fn anonymous(&self) -> Client {
        let ca = self.authority.certificate().to_vec();
        Client::connect(Endpoint::Anonymous { address: self.address(), ca }).await.unwrap()
    }

    async fn operator(&self) -> Client {
        Client::connect(Endpoint::Socket(self.home.path().join("run").join("s"))).await.unwrap()
    }

    /// A plain gRPC client with small windows, whose stream nobody reads until the test does.
    async fn slow(&self) -> tonic::Streaming<pb::FetchResponse> {
        let (near, far) = tokio::io::duplex(16 << 10);
        let channel = Channel { transport: Transport::Local, tls_group: None, peer: None, certificate: None };
        let peer =
            Peer { principal: Principal::local_operator(4242), channel, evidence: Evidence::default(), expires: None };
        tokio::spawn(Arc::clone(&self.house).serve(far, peer));
        let mut pipe = Some(near);
        let connector = tower::service_fn(move |_: http::Uri| {
            let pipe = pipe.take();
            async move { pipe.map(hyper_util::rt::TokioIo::new).ok_or_else(|| std::io::Error::other("once")) }
        });
        let target = tonic::transport::Endpoint::from_static("http://localhost").initial_stream_window_size(65_535);
        let channel = target.connect_with_connector(connector).await.unwrap();
        let request = pb::FetchRequest { reference: "resnet".into(), checks_groups: true, ..Default::default() };
        FetchServiceClient::new(channel).fetch(request).await.unwrap().into_inner()
    }

    /// Waits until all segments are free again.
    async fn all_free(&self) {
        for _ in 0..2000 {
            if self.house.calls.segments.available() == self.house.calls.limits.segments {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("segments were not given back");
    }

    async fn stop(&mut self) {
        self.end.take().unwrap().send(()).unwrap();
        (&mut self.serving).await.unwrap();
    }
}

fn small() -> Artifact {
    Artifact::new(&[("a/weights", (5 << 16) + 100), ("b/empty", 0), ("c/config", 77)], 16)
}

fn large() -> Artifact {
    Artifact::new(&[("weights", (12 << 20) + 5)], 20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_fetches_over_mutual_tls_with_hybrid_key_exchange() {
    let mut daemon = Daemon::start(large(), Limits::default()).await;
    let client = daemon.workload("serve-1").await;
    assert!(client.health().await.unwrap());
    let mut kept = Kept::default();
    let report = client.fetch(plan("resnet@v3"), &mut kept).await.unwrap();
    assert_eq!(report.tls_group.as_deref(), Some("X25519MLKEM768"));
    assert!(kept.pieces[0].2 == daemon.artifact.members[0].0);
    assert_eq!(daemon.seen.ended().await, ((12 << 20) + 5, "complete".into()));
    daemon.all_free().await;
    // A range: the group around it is sent and counted, the client cuts.
    let members = vec![("weights".into(), Some((3 << 20) + 7..(3 << 20) + 9))];
    let report = client.fetch(FetchPlan { members, ..plan("resnet") }, &mut Kept::default()).await.unwrap();
    assert_eq!((report.bytes, daemon.seen.ended().await), (2, (1 << 20, "complete".into())));
    drop(client);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_and_client_agree_on_every_kind_of_artifact_and_selection() {
    let artifacts = [
        small(),
        Artifact::new(&[], 20),
        Artifact::new(&[("m", 1)], 20),
        Artifact::new(&[("m", 1 << 20), ("n", (1 << 20) + 1)], 20),
        // Groups of several pieces.
        Artifact::new(&[("m", (5 << 20) + 3), ("n", 0)], 21),
    ];
    for artifact in artifacts {
        let daemon = Daemon::start(artifact, Limits::default()).await;
        let client = daemon.operator().await;
        let mut kept = Kept::default();
        client.fetch(plan("resnet"), &mut kept).await.unwrap();
        let all: Vec<u8> = kept.pieces.into_iter().flat_map(|(_, _, bytes)| bytes).collect();
        assert!(all == daemon.artifact.members.iter().flat_map(|(b, _)| b.clone()).collect::<Vec<_>>());
        let Some((bytes, _)) = daemon.artifact.members.first() else { continue };
        let path = &daemon.artifact.statement.subjects[0].path;
        let size = bytes.len() as u64;
        for (from, to) in [(0, size), (size / 2, size), (size / 3, size / 2 + 1), (size, size), (0, 0)] {
            // Backwards, and one member twice: the nodes follow from the group before.
            let members = vec![(path.clone(), Some(from..to)), (path.clone(), Some(0..from)), (path.clone(), None)];
            let mut kept = Kept::default();
            let report = client.fetch(FetchPlan { members, ..plan("resnet") }, &mut kept).await.unwrap();
            assert_eq!(report.bytes, to - from + from + size, "{from}..{to} of {size}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_small_members_are_as_many_chunks_in_few_reads() {
    let names: Vec<_> = (0..5000).map(|n| format!("n{n:05}")).collect();
    // Empty, small, several groups, and one that fills a segment by itself.
    let size = |n: usize| [0, 1, 700, 40_000][n % 4] + if n == 2501 { 3 << 20 } else { 0 };
    let sizes: Vec<_> = names.iter().enumerate().map(|(n, name)| (&**name, size(n))).collect();
    let daemon = Daemon::start(Artifact::new(&sizes, 16), Limits::default()).await;
    let client = daemon.operator().await;
    let bytes: usize = sizes.iter().map(|(_, size)| size).sum();
    let all: Vec<usize> = (0..names.len()).filter(|n| size(*n) > 0).collect();
    let came = |kept: Kept, from: usize, members: &[usize]| {
        assert_eq!(kept.pieces.len(), members.len());
        for ((path, at, bytes), n) in kept.pieces.iter().zip(members) {
            let from = if *at == 0 { 0 } else { from };
            assert!(
                *path == names[*n] && *at == from as u64 && *bytes == daemon.artifact.members[*n].0[from..],
                "{path}"
            );
        }
    };
    let mut kept = Kept::default();
    client.fetch(plan("resnet"), &mut kept).await.unwrap();
    came(kept, 0, &all);
    assert_eq!(daemon.seen.ended().await, (bytes as u64, "complete".into()), "framing is not counted");
    let reads = daemon.seen.reads.swap(0, Ordering::AcqRel);
    assert!((bytes as u64 >> 20..70).contains(&reads), "{reads}");

    // From the middle of a member to another one.
    let run = |path: usize, from: u64, through: usize| Selection {
        path: names[path].clone(),
        range: Some(from..size(path) as u64),
        through: Some(names[through].clone()),
    };
    let mut kept = Kept::default();
    let report = client.fetch_some(&plan("resnet"), vec![run(2503, 39_000, 4000)], &mut kept).await.unwrap();
    let within: Vec<usize> = all.iter().copied().filter(|n| (2503..=4000).contains(n)).collect();
    came(kept, 39_000, &within);
    assert_eq!(report.members, 1498);
    let twice = vec![run(3, 0, 7), run(3, 0, 3), run(1, 0, 2)];
    let report = client.fetch_some(&plan("resnet"), twice, &mut Kept::default()).await.unwrap();
    assert_eq!((report.members, report.bytes), (8, 40_000 + 1 + 700 + 40_000 + 40_000 + 1 + 700));

    let cut = Selection { range: Some(0..39_000), ..run(3, 0, 9) };
    for (wrong, id) in [
        (vec![cut], ErrorId::RangeInvalid),
        (vec![run(9, 0, 3)], ErrorId::RangeInvalid),
        (vec![Selection { through: Some("n9".into()), ..run(9, 0, 9) }], ErrorId::RangeInvalid),
        (vec![run(0, 0, 2500), run(0, 0, 2500)], ErrorId::RangeInvalid),
    ] {
        let refused = client.fetch_some(&plan("resnet"), wrong, &mut Kept::default()).await.unwrap_err();
        assert_eq!(refused.id(), id);
    }
    daemon.all_free().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_framing_by_hand_is_that_of_the_codec() {
    for (nodes, len) in [(0, 1), (64, 77), (1280, 1 << 20)] {
        let chunk =
            pb::FetchChunk { member: 300, offset: 1 << 40, nodes: vec![1; nodes].into(), data: vec![2; len].into() };
        let framed = fetch::framed(&chunk);
        let message = pb::FetchResponse { part: Some(pb::fetch_response::Part::Chunk(chunk)) };
        let mut expected = vec![0];
        expected.extend((message.encoded_len() as u32).to_be_bytes());
        expected.extend(message.encode_to_vec());
        assert!(framed == expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_reaches_health_and_reflection_and_nothing_else() {
    let daemon = Daemon::start(small(), Limits::default()).await;
    let client = daemon.anonymous().await;
    assert!(client.health().await.unwrap());
    let error = client.fetch(plan("resnet"), &mut Kept::default()).await.unwrap_err();
    assert_eq!(error.id(), ErrorId::NoCredential);
    assert_eq!(client.status().await.unwrap_err().id(), ErrorId::NoCredential);
    assert_eq!(client.whoami().await.unwrap_err().id(), ErrorId::NoCredential);
    assert_eq!(daemon.seen.reads.load(Ordering::Acquire), 0);
    assert_eq!(*daemon.seen.refused.lock().unwrap(), [(ErrorId::NoCredential, "no certificate"); 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_and_expired_certificates_are_refused_with_a_reason() {
    let daemon = Daemon::start(small(), Limits::default()).await;
    let foreign = Authority::create(VaultId([7; 16]), SystemClock.now(), &SystemRandom).unwrap();
    // The workload's certificate is of another CA: the server refuses it.
    let enrolment = daemon.enrolment(&foreign, "serve-1");
    let outcome = match Client::connect(Endpoint::Workload { address: daemon.address(), enrolment }).await {
        Ok(client) => client.fetch(plan("resnet"), &mut Kept::default()).await.map(|_| ()),
        Err(e) => Err(e),
    };
    assert_eq!(outcome.unwrap_err().id(), ErrorId::BadCredential);
    // The server's is not under the pinned one: the client refuses it.
    let ca = foreign.certificate().to_vec();
    let error = Client::connect(Endpoint::Anonymous { address: daemon.address(), ca }).await.unwrap_err();
    assert_eq!(error.id(), ErrorId::BadCredential);
    // One that was good when the connection was made is asked for its date at every call.
    let client = daemon.workload("serve-1").await;
    assert!(client.fetch(plan("resnet"), &mut Kept::default()).await.is_ok());
    daemon.seen.ahead.store(DEFAULT_LIFETIME.as_millis() as i64 + 2000, Ordering::Release);
    let error = client.fetch(plan("resnet"), &mut Kept::default()).await.unwrap_err();
    assert_eq!(error.id(), ErrorId::BadCredential);
    let refused = |why| daemon.seen.refused.lock().unwrap().contains(&(ErrorId::BadCredential, why));
    assert!(refused("certificate of another authority") && refused("certificate expired"));
    assert!(refused("the client refused our certificate"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_handshake_that_fails_is_counted_with_its_reason() {
    let daemon = Daemon::start(small(), Limits::default()).await;
    let past = Timestamp::from_millis(SystemClock.now().as_millis() - 2 * DEFAULT_LIFETIME.as_millis() as i64);
    let name = "serve-1".parse().unwrap();
    let (key, csr) = new_key_and_csr(&name).unwrap();
    let namespace = "default".parse().unwrap();
    let old = daemon.authority.issue_workload(&csr, &namespace, &name, DEFAULT_LIFETIME, past, &SystemRandom).unwrap();
    let ca = daemon.authority.certificate();
    let expired = ClientTls::new(ca, Some((&old.certificate, &key)), Arc::new(SystemClock)).unwrap().config();
    let mut other = (*ClientTls::new(ca, None, Arc::new(SystemClock)).unwrap().config()).clone();
    other.alpn_protocols = vec![b"http/1.1".to_vec()];
    let address = daemon.addresses.tcp.unwrap();
    for config in [expired, Arc::new(other)] {
        let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
        let host = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        // The client's side of the handshake may be done before the server refuses.
        if let Ok(mut stream) = tokio_rustls::TlsConnector::from(config).connect(host, tcp).await {
            assert!(stream.read(&mut [0; 1]).await.is_err());
        }
    }
    let mut plain = tokio::net::TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    let expected = [
        (ErrorId::BadCredential, "certificate expired"),
        (ErrorId::InvalidArgument, "no shared protocol"),
        (ErrorId::InvalidArgument, "not TLS"),
    ];
    let began = Instant::now();
    while !expected.iter().all(|e| daemon.seen.refused.lock().unwrap().contains(e)) {
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", daemon.seen.refused.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_learns_the_id_and_an_operator_the_story() {
    let daemon = Daemon::start(small(), Limits::default()).await;
    let (workload, operator) = (daemon.workload("serve-1").await, daemon.operator().await);
    let fail =
        async |client: &Client, reference: &str| client.fetch(plan(reference), &mut Kept::default()).await.unwrap_err();
    let told = fail(&workload, "other").await;
    assert_eq!(
        (told.id(), told.message()),
        (ErrorId::NotFound, "the vault shows this workload no default/other@latest")
    );
    assert!(fail(&operator, "other").await.message().contains("/home/vault"));
    daemon.seen.damaged.store(true, Ordering::Release);
    let told = fail(&workload, "resnet").await;
    assert_eq!(told.id(), ErrorId::Integrity);
    assert!(!told.message().contains("/home"));
    assert_eq!(daemon.seen.ended().await, (0, "SegmentAuthFailed".into()));
    assert_eq!(fail(&operator, "resnet").await.id(), ErrorId::SegmentAuthFailed);
    daemon.all_free().await;
}

/// Takes the grant back when the first bytes arrive.
struct Revoke(Arc<Seen>, u64);

impl FetchSink for Revoke {
    fn start(&mut self, _: &VersionFacts, _: &ArtifactStatement) -> Result<()> {
        Ok(())
    }
    fn bytes(&mut self, _: &Subject, _: u64, bytes: &[u8]) -> Result<()> {
        self.1 += bytes.len() as u64;
        self.0.revoked.store(true, Ordering::Release);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_is_taken_back_ends_the_stream_in_the_middle() {
    let daemon = Daemon::start(Artifact::new(&[("weights", 64 << 20)], 20), Limits::default()).await;
    let client = daemon.workload("serve-1").await;
    let mut sink = Revoke(Arc::clone(&daemon.seen), 0);
    let error = client.fetch(plan("resnet"), &mut sink).await.unwrap_err();
    assert_eq!(error.id(), ErrorId::Denied);
    let (bytes, reason) = daemon.seen.ended().await;
    assert_eq!(reason, "Denied");
    assert!((1 << 20..64 << 20).contains(&bytes) && sink.1 <= bytes, "{bytes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stalls_is_cut_and_holds_two_segments_until_then() {
    let limits = Limits { stall: Duration::from_millis(300), ..Limits::default() };
    let daemon = Daemon::start(large(), limits).await;
    let mut stream = daemon.slow().await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let segments = &daemon.house.calls.segments;
    assert_eq!(segments.available(), daemon.house.calls.limits.segments - 2);
    // Others do not notice.
    let other = daemon.workload("serve-1").await;
    assert!(other.fetch(plan("resnet"), &mut Kept::default()).await.is_ok());
    assert_eq!(daemon.seen.ended().await.1, "complete");
    let (bytes, reason) = daemon.seen.ended().await;
    assert_eq!(reason, "stalled");
    assert!(bytes <= 2 << 20, "{bytes}");
    daemon.all_free().await;
    // The client finds out when it reads on.
    let outcome = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(outcome.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_segment_cannot_be_kept_by_not_reading_it() {
    let limits = Limits { stall: Duration::from_millis(200), ..Limits::default() };
    let daemon = Daemon::start(Artifact::new(&[("weights", 1 << 20)], 20), limits).await;
    let _unread = daemon.slow().await;
    assert_eq!(daemon.seen.ended().await, (1 << 20, "stalled".into()));
    daemon.all_free().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_stalled_readers_hold_all_room_others_are_told_to_come_back() {
    let limits = Limits {
        segments: 2,
        segment_wait: Duration::from_millis(100),
        stall: Duration::from_secs(5),
        ..Limits::default()
    };
    let daemon = Daemon::start(large(), limits).await;
    let stalled = daemon.slow().await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let client = daemon.workload("serve-1").await;
    let error = client.fetch(plan("resnet"), &mut Kept::default()).await.unwrap_err();
    assert_eq!(error.id(), ErrorId::Overloaded);
    assert!(error.retry_after_hint().is_some());
    assert_eq!(daemon.seen.ended().await, (0, "Overloaded".into()));
    // A client that goes away frees its room at once.
    drop(stalled);
    assert_eq!(daemon.seen.ended().await.1, "client gone");
    daemon.all_free().await;
    assert!(client.fetch(plan("resnet"), &mut Kept::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_ends_lets_streams_finish_and_then_cuts() {
    // Within the grace time.
    let mut daemon = Daemon::start(large(), Limits { grace: Duration::from_secs(20), ..Limits::default() }).await;
    let mut stream = daemon.slow().await;
    daemon.end.take().unwrap().send(()).unwrap();
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        last = message.part;
    }
    assert!(matches!(last, Some(pb::fetch_response::Part::End(_))));
    (&mut daemon.serving).await.unwrap();
    assert_eq!(daemon.seen.ended().await.1, "complete");
    assert!(!daemon.home.path().join("run").join("s").exists());
    // Beyond it. The connection must be one that the listener knows.
    let mut daemon = Daemon::start(large(), Limits { grace: Duration::from_millis(100), ..Limits::default() }).await;
    let client = daemon.operator().await;
    struct Slow;
    impl FetchSink for Slow {
        fn start(&mut self, _: &VersionFacts, _: &ArtifactStatement) -> Result<()> {
            Ok(())
        }
        fn bytes(&mut self, _: &Subject, _: u64, _: &[u8]) -> Result<()> {
            std::thread::sleep(Duration::from_millis(200));
            Ok(())
        }
    }
    let fetching = tokio::spawn(async move { client.fetch(plan("resnet"), &mut Slow).await });
    while daemon.seen.reads.load(Ordering::Acquire) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    daemon.stop().await;
    let (bytes, reason) = daemon.seen.ended.lock().unwrap().pop().expect("recorded before the daemon ended");
    let outcome = fetching.await.unwrap();
    // All 12 MiB may be in the client's window by then; the cut shows only if they were not.
    assert!(reason == "drained" || (reason == "complete" && bytes == (12 << 20) + 5), "{reason}");
    assert_eq!(outcome.is_err(), reason == "drained");
    let address = daemon.addresses.tcp.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_and_idle_connections_are_closed() {
    let limits =
        Limits { handshake: Duration::from_millis(100), idle: Duration::from_millis(100), ..Limits::default() };
    let daemon = Daemon::start(small(), limits).await;
    let began = Instant::now();
    let mut silent = tokio::net::TcpStream::connect(daemon.addresses.tcp.unwrap()).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    let mut mute = tokio::net::UnixStream::connect(daemon.home.path().join("run").join("s")).await.unwrap();
    while mute.read(&mut [0; 64]).await.unwrap_or(0) > 0 {}
    assert!(began.elapsed() < Duration::from_secs(8));
    assert_eq!(daemon.seen.refused.lock().unwrap()[0].0, ErrorId::DeadlineExceeded);
    // A client whose idle connection was closed connects again by itself.
    let client = daemon.operator().await;
    assert!(client.health().await.unwrap());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(client.health().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_get_a_status_and_open_nothing() {
    let daemon = Daemon::start(small(), Limits::default()).await;
    let (near, far) = tokio::io::duplex(16 << 10);
    let channel = Channel { transport: Transport::Local, tls_group: None, peer: None, certificate: None };
    let peer = Peer { principal: Principal::local_operator(1), channel, evidence: Evidence::default(), expires: None };
    tokio::spawn(Arc::clone(&daemon.house).serve(far, peer));
    let mut pipe = Some(near);
    let connector = tower::service_fn(move |_: http::Uri| {
        let pipe = pipe.take();
        async move { pipe.map(hyper_util::rt::TokioIo::new).ok_or_else(|| std::io::Error::other("once")) }
    });
    let target = tonic::transport::Endpoint::from_static("http://localhost");
    let mut raw = target.connect_with_connector(connector).await.unwrap();
    let mut post = async |path: &str, body: Vec<u8>| {
        use tower::{Service as _, ServiceExt as _};
        let body = tonic::body::Body::new(http_body_util::Full::new(Bytes::from(body)));
        let request = http::Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .unwrap();
        let response = raw.ready().await.unwrap().call(request).await.unwrap();
        tonic::Status::from_header_map(response.headers()).expect("an error in the head").code()
    };
    use tonic::Code;
    let fetch = "/modelvault.v1.FetchService/Fetch";
    assert_eq!(post(fetch, vec![]).await, Code::InvalidArgument);
    assert_eq!(post(fetch, vec![0, 0, 0, 0, 9, 1]).await, Code::InvalidArgument);
    assert_eq!(post(fetch, vec![0, 0, 0, 0, 1, 0xff]).await, Code::InvalidArgument);
    assert_eq!(post(fetch, vec![1, 0, 0, 0, 0]).await, Code::Unimplemented);
    assert_eq!(post(fetch, vec![0, 0, 0, 0, 0]).await, Code::InvalidArgument, "no reference");
    assert_eq!(post(fetch, vec![0; 300 << 10]).await, Code::ResourceExhausted);
    assert_eq!(post("/modelvault.v1.FetchService/Other", vec![]).await, Code::Unimplemented);
    assert_eq!(post("/nothing", vec![]).await, Code::Unimplemented);
    assert_eq!(daemon.seen.reads.load(Ordering::Acquire), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_of_the_certificate_and_the_address_that_is_told() {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    assert_eq!(hosts(&["vault.lan".into()], address("0.0.0.0:7443")), ["vault.lan", "localhost", "127.0.0.1", "::1"]);
    assert_eq!(hosts(&[], address("10.0.0.5:1")), ["10.0.0.5", "localhost", "127.0.0.1", "::1"]);
    assert_eq!(public_address(&["vault.lan".into()], address("0.0.0.0:7443")), "vault.lan:7443");
    assert_eq!(public_address(&["fd00::1".into()], address("[::]:7443")), "[fd00::1]:7443");
    assert_eq!(public_address(&[], address("[::1]:7443")), "[::1]:7443");
    assert_eq!(public_address(&[], address("[::]:7443")), "localhost:7443");
}
