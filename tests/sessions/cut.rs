//! What is taken back ends streams within a second, also those that stand still.

use std::io::Write as _;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use model_vault::client::{FetchPlan, FetchSink, Upload};
use model_vault::facts::VersionFacts;
use model_vault::identity::new_key_and_csr;
use model_vault::manifest::{ArtifactStatement, Subject};
use model_vault::names::ArtifactKind;
use model_vault::seal::io::ReadAt;
use model_vault::vault::{HoldSpec, HoldTarget};
use model_vault::{ErrorId, Result};

use super::tokens::Signer;
use super::{World, claims, name, seal};

/// Reads a little, then nothing until it is told to go on.
struct Paused {
    begun: Option<mpsc::Sender<()>>,
    go_on: mpsc::Receiver<()>,
}

impl FetchSink for Paused {
    fn start(&mut self, _: &VersionFacts, _: &ArtifactStatement) -> Result<()> {
        Ok(())
    }

    fn bytes(&mut self, _: &Subject, _: u64, _: &[u8]) -> Result<()> {
        if let Some(begun) = self.begun.take() {
            begun.send(()).unwrap();
            let _ = self.go_on.recv_timeout(Duration::from_secs(60));
        }
        Ok(())
    }
}

pub const SIZE: usize = 96 << 20;

/// Looks of 20 ms in a second of a machine that has nothing else to do.
const LOOKS: u32 = 50;

/// A second, in what the machine does in one: each look waits 20 ms, and for a write of its own to be on disk. A cut is a few commits on the
/// same disk, so that a machine that is late with those is as late with the looks; what no commit is behind, such as waiting for a stall to be
/// noticed (ten seconds) or a lease to run out (sixty), is none the faster for it.
struct Second {
    looks: u32,
    beside: std::fs::File,
}

impl Second {
    /// `dir`: on the disk of the vault.
    fn begins(dir: &std::path::Path) -> Self {
        Self { looks: 0, beside: std::fs::File::create(dir.join("looks")).unwrap() }
    }

    async fn goes_on(&mut self, what: &str) {
        assert!(self.looks < LOOKS, "{what} goes on after {LOOKS} looks");
        self.looks += 1;
        self.beside.write_all(b"look").unwrap();
        tokio::task::block_in_place(|| self.beside.sync_data().unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn cut_within_a_second(
    world: &World,
    enrolment: &model_vault::identity::Enrolment,
    take_back: impl FnOnce(),
) {
    let signers = world.vault.statement_signers(&world.operator(), &name("default")).unwrap();
    let signers = signers.iter().map(|s| model_vault::crypto::sign::PublicKey::from_spki(&s.spki).unwrap()).collect();
    let client = world.client(enrolment).await.unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, told) = mpsc::channel();
    let fetching = tokio::spawn(async move {
        let mut sink = Paused { begun: Some(begun), go_on: told };
        client.fetch(FetchPlan::whole("model".parse().unwrap(), signers), &mut sink).await
    });
    tokio::task::spawn_blocking(move || has_begun.recv_timeout(Duration::from_secs(20)).unwrap()).await.unwrap();
    // Until nothing moves any more.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let ends = || world.rows().iter().filter(|row| row.contains("artifact.fetch.end")).count();
    let before = ends();
    take_back();
    let mut second = Second::begins(world.dir.path());
    while ends() == before {
        second.goes_on("the stream").await;
    }
    let row = world.rows().into_iter().rfind(|row| row.contains("artifact.fetch.end")).unwrap();
    assert!(!row.contains("\"reason\":\"complete\""), "{row}");
    drop(go_on);
    let outcome = fetching.await.unwrap();
    assert!(outcome.is_err(), "the client is not told that it has everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_of_a_revoked_workload_is_cut() {
    let world = World::new().await;
    seal(&world, "model", SIZE);
    let (key, csr) = new_key_and_csr(&name("serve-1")).unwrap();
    let (ns, serve, model) = (name("default"), name("serve-1"), name("model"));
    let issued = world.vault.enroll(&world.operator(), &ns, &serve, &csr).unwrap();
    world.vault.grant(&world.operator(), &ns, &serve, (&ns, &model)).unwrap();
    let enrolment = world.enrolment(issued.certificate, key);
    cut_within_a_second(&world, &enrolment, || world.vault.revoke(&world.operator(), &ns, &serve, None).unwrap()).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_of_a_workload_or_artifact_in_quarantine_is_cut() {
    let world = World::new().await;
    seal(&world, "model", SIZE);
    let (ns, serve, model) = (name("default"), name("serve-1"), name("model"));
    for (what, target) in [("principal", "serve-1"), ("artifact", "default/model")] {
        let (key, csr) = new_key_and_csr(&serve).unwrap();
        let issued = world.vault.enroll(&world.operator(), &ns, &serve, &csr).unwrap();
        world.vault.grant(&world.operator(), &ns, &serve, (&ns, &model)).unwrap();
        let enrolment = world.enrolment(issued.certificate, key);
        let target = HoldTarget::parse(what, target).unwrap();
        let (kind, reason) = ("suspend".to_owned(), "looks odd".to_owned());
        let hold = HoldSpec { target: target.clone(), kind, reason, lasts: None };
        let quarantine = || drop(world.vault.quarantine(&world.operator(), &hold).unwrap());
        cut_within_a_second(&world, &enrolment, quarantine).await;
        world.vault.release_hold(&world.operator(), &target).unwrap();
        world.vault.revoke(&world.operator(), &ns, &serve, None).unwrap();
    }
    world.stop().await;
}

/// Gives a little, then nothing until it is told to go on.
struct Slow {
    begun: Mutex<Option<mpsc::Sender<()>>>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl ReadAt for Slow {
    fn len(&self) -> std::io::Result<u64> {
        Ok(SIZE as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        buffer.fill(7);
        if offset > 4 << 20 {
            if let Some(begun) = self.begun.lock().unwrap().take() {
                begun.send(()).unwrap();
            }
            let _ = self.go_on.lock().unwrap().recv_timeout(Duration::from_secs(60));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_a_revoked_workload_ends_within_a_second_and_leaves_nothing() {
    let world = World::new().await;
    let (ns, ci) = (name("default"), name("ci"));
    let (key, csr) = new_key_and_csr(&ci).unwrap();
    let issued = world.vault.enroll(&world.operator(), &ns, &ci, &csr).unwrap();
    let policy = world.vault.policy(&world.operator()).unwrap().text;
    let more = "@id(\"ci-seals\") permit (principal is ModelVault::Workload, \
                action == ModelVault::Action::\"seal\", resource);";
    world.vault.set_policy(&world.operator(), &format!("{policy}\n{more}")).unwrap();
    let client = world.client(&world.enrolment(issued.certificate, key)).await.unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, told) = mpsc::channel();
    let source = Slow { begun: Mutex::new(Some(begun)), go_on: Mutex::new(told) };
    let upload = Upload {
        namespace: ns.clone(),
        name: name("model"),
        kind: ArtifactKind::Model,
        tag: None,
        members: vec![("weights".into(), Box::new(source))],
        sha256: false,
        signer: None,
        identity: None,
        allow_unsigned: None,
    };
    let sealing = tokio::spawn(async move { client.seal(upload, &|_| {}).await });
    tokio::task::spawn_blocking(move || has_begun.recv_timeout(Duration::from_secs(20)).unwrap()).await.unwrap();
    let blobs = || files(&world.dir.path().join("home").join("blobs"));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(blobs() > 0, "it is under way");
    world.vault.revoke(&world.operator(), &ns, &ci, None).unwrap();
    let mut second = Second::begins(world.dir.path());
    while blobs() > 0 {
        second.goes_on("the upload").await;
    }
    drop(go_on);
    assert_eq!(sealing.await.unwrap().unwrap_err().id(), ErrorId::BadCredential);
    assert!(world.vault.version(&world.operator(), &"model".parse().unwrap()).is_err());
    world.stop().await;
}

fn files(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| if e.path().is_dir() { files(&e.path()) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_without_its_grant_is_cut() {
    let world = World::new().await;
    seal(&world, "model", SIZE);
    let (key, csr) = new_key_and_csr(&name("serve-1")).unwrap();
    let (ns, serve, model) = (name("default"), name("serve-1"), name("model"));
    let issued = world.vault.enroll(&world.operator(), &ns, &serve, &csr).unwrap();
    world.vault.grant(&world.operator(), &ns, &serve, (&ns, &model)).unwrap();
    let enrolment = world.enrolment(issued.certificate, key);
    let take = || world.vault.ungrant(&world.operator(), &ns, &serve, (&ns, &model)).unwrap();
    cut_within_a_second(&world, &enrolment, take).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_of_a_session_that_is_over_is_cut() {
    let signer = Signer::es256();
    let world = World::with(&signer, "").await;
    seal(&world, "model", SIZE);
    let policy = world.vault.policy(&world.operator()).unwrap().text;
    let more = "@id(\"ci-reads\") permit (principal == ModelVault::Workload::\"default/ci:repo:acme/model\", \
                action in ModelVault::Action::\"read\", resource);";
    world.vault.set_policy(&world.operator(), &format!("{policy}\n{more}")).unwrap();
    let session = world.login(&signer.token("k1", &claims(&[]))).await.unwrap();
    let id = session.session().unwrap().session;
    cut_within_a_second(&world, &session, || world.vault.revoke_session(&world.operator(), id).unwrap()).await;
    let again = world.login(&signer.token("k1", &claims(&[]))).await.unwrap();
    let refuse = || world.vault.refuse_subject(&world.operator(), "ci", "repo:acme/model", false).unwrap();
    cut_within_a_second(&world, &again, refuse).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_from_others_leaves_a_stream_alone() {
    let world = World::new().await;
    let signers = seal(&world, "model", SIZE);
    let (ns, model) = (name("default"), name("model"));
    let mut enrolments = Vec::new();
    for who in ["serve-1", "serve-2"] {
        let (key, csr) = new_key_and_csr(&name(who)).unwrap();
        let issued = world.vault.enroll(&world.operator(), &ns, &name(who), &csr).unwrap();
        world.vault.grant(&world.operator(), &ns, &name(who), (&ns, &model)).unwrap();
        enrolments.push(world.enrolment(issued.certificate, key));
    }
    let client = world.client(&enrolments[0]).await.unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, told) = mpsc::channel();
    let fetching = tokio::spawn(async move {
        let mut sink = Paused { begun: Some(begun), go_on: told };
        client.fetch(FetchPlan::whole("model".parse().unwrap(), signers), &mut sink).await
    });
    tokio::task::spawn_blocking(move || has_begun.recv_timeout(Duration::from_secs(20)).unwrap()).await.unwrap();
    world.vault.revoke(&world.operator(), &ns, &name("serve-2"), None).unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    go_on.send(()).unwrap();
    fetching.await.unwrap().unwrap();
    assert_eq!(super::refused(world.whoami(&enrolments[1]).await), ErrorId::BadCredential);
    // Nor does it write a row for each thing that is taken back from somebody.
    assert!(!world.rows().iter().any(|row| row.contains("\"lease.renew\"")));
    world.stop().await;
}
