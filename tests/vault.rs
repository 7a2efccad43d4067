//! Promises of a vault, through the facade: what is sealed comes back, what is altered does not, what is refused is on record.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model_vault::crypto::sign::PublicKey;
use model_vault::manifest::{TAG_VALIDITY, TagStatement};
use model_vault::names::{ArtifactKind, Clock, Name, Reference, SystemClock, Tag, Timestamp};
use model_vault::vault::{
    Caller, Channel, ImportInput, ImportSource, InitSpec, Machine, RootCredential, SealInput, SealMember, Sealing,
    Transport, Vault,
};
use model_vault::{ErrorId, Result};

struct Fixture {
    dir: tempfile::TempDir,
    vault: Arc<Vault>,
}

impl Fixture {
    fn new() -> Self {
        Self::on(Machine::default())
    }

    fn on(machine: Machine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = InitSpec::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::init(&dir.path().join("home"), key, machine).unwrap());
        Self { dir, vault }
    }

    /// With a clock that the test moves on.
    fn with_clock() -> (Self, Arc<Hands>) {
        let (clock, machine) = Hands::machine();
        (Self::on(machine), clock)
    }

    fn reopen(self) -> Self {
        let Self { dir, vault } = self;
        drop(vault);
        let vault = Arc::new(unlock(dir.path()).unwrap());
        Self { dir, vault }
    }

    /// An enrolled workload, calling over mutual TLS.
    fn workload(&self, name: &str) -> Caller {
        let name = name.parse().unwrap();
        let (_key, csr) = model_vault::identity::new_key_and_csr(&name).unwrap();
        let issued = self.vault.enroll(&self.caller(), &"default".parse().unwrap(), &name, &csr).unwrap();
        let peer = model_vault::identity::PeerCertificate::parse(&issued.certificate).unwrap();
        Caller {
            principal: peer.principal(),
            channel: Channel {
                transport: Transport::Mtls,
                tls_group: Some("X25519MLKEM768".into()),
                peer: None,
                certificate: Some((peer.serial.0.to_vec(), peer.spki_sha256)),
            },
            ..self.caller()
        }
    }

    fn caller(&self) -> Caller {
        self.vault.local_caller().unwrap()
    }

    fn seal(&self, reference: &str, members: &[(&str, Vec<u8>)]) -> Result<model_vault::vault::Published> {
        self.seal_as(&self.caller(), reference, members)
    }

    fn seal_as(
        &self,
        caller: &Caller,
        reference: &str,
        members: &[(&str, Vec<u8>)],
    ) -> Result<model_vault::vault::Published> {
        let reference: Reference = reference.parse()?;
        self.vault.seal(
            caller,
            SealInput { namespace: reference.namespace, name: reference.name, tag: None, sealing: sealing(members) },
        )
    }

    fn read(&self, reference: &str) -> Result<Vec<Vec<u8>>> {
        let open = self.vault.open(&self.caller(), &reference.parse()?)?;
        let members = open.members().to_vec();
        let mut contents = Vec::new();
        for (i, member) in members.iter().enumerate() {
            let mut bytes = vec![0; member.size as usize];
            open.read(i, 0, &mut bytes, false)?;
            contents.push(bytes);
        }
        let total = contents.iter().map(|c| c.len() as u64).sum();
        open.finish(total, "complete")?;
        Ok(contents)
    }

    fn acts(&self) -> Vec<String> {
        let rows = self.vault.audit_rows(&self.caller(), 1, 1000).unwrap();
        rows.iter().map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap()).collect()
    }
}

/// A clock that a test moves on.
struct Hands(std::sync::Mutex<Timestamp>);

impl Hands {
    fn machine() -> (Arc<Self>, Machine) {
        let clock = Arc::new(Self(std::sync::Mutex::new(SystemClock.now())));
        (Arc::clone(&clock), Machine { clock, ..Machine::default() })
    }

    fn step(&self, seconds: u64) {
        let mut now = self.0.lock().unwrap();
        *now = now.plus(Duration::from_secs(seconds));
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn unlock(dir: &Path) -> Result<Vault> {
    let key = RootCredential::KeyFile(dir.join("root.key"));
    Vault::unlock(&dir.join("home"), Some(key), Machine::default())
}

fn sealing(members: &[(&str, Vec<u8>)]) -> Sealing {
    Sealing {
        members: members
            .iter()
            .map(|(path, bytes)| SealMember { path: (*path).into(), source: Box::new(bytes.clone()) })
            .collect(),
        kind: ArtifactKind::Model,
        sha256: true,
        sequential: false,
        signer: None,
        allow_unsigned: None,
        progress: Box::new(|_| {}),
    }
}

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31) ^ (i >> 8) as u8 ^ seed).collect()
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn what_is_sealed_comes_back_after_a_restart_and_versions_count_up() {
    let fixture = Fixture::new();
    let first = vec![("a/config.json", b"{}".to_vec()), ("weights.bin", bytes(3_000_000, 1)), ("empty", Vec::new())];
    assert_eq!(fixture.seal("resnet", &first).unwrap().version.version, 1);
    assert_eq!(fixture.seal("resnet", &[("weights.bin", bytes(10, 2))]).unwrap().version.version, 2);
    let fixture = fixture.reopen();
    assert_eq!(fixture.read("resnet").unwrap(), [bytes(10, 2)]);
    // Members come in path order.
    assert_eq!(fixture.read("resnet@v1").unwrap(), [b"{}".to_vec(), Vec::new(), bytes(3_000_000, 1)]);
    let facts = fixture.vault.verify(&fixture.caller(), &"resnet@v1".parse().unwrap()).unwrap();
    assert_eq!(facts.root, fixture.vault.version(&fixture.caller(), &"resnet@v1".parse().unwrap()).unwrap().root);
    assert_eq!(fixture.read(&format!("resnet@b3:{}", facts.root)).unwrap().len(), 3);
}

#[test]
fn the_same_request_makes_one_version() {
    let fixture = Fixture::new();
    let caller = fixture.caller();
    let members = [("m", bytes(100, 1))];
    let first = fixture.seal_as(&caller, "m", &members).unwrap();
    let again = fixture.seal_as(&caller, "m", &members).unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.version, again.version);
    // The id belongs to that act: another name, or another caller, gets neither its outcome nor a false success.
    assert_eq!(fixture.seal_as(&caller, "other", &members).unwrap_err().id(), ErrorId::AlreadyExists);
    let other = Caller { principal: model_vault::names::Principal::unix_operator(0), ..caller };
    let other = Caller { channel: Channel { transport: Transport::Unix, ..Channel::local() }, ..other };
    assert_eq!(fixture.seal_as(&other, "m", &members).unwrap_err().id(), ErrorId::AlreadyExists);
}

#[test]
fn no_file_of_the_home_holds_plaintext_names_or_digests() {
    let fixture = Fixture::new();
    let secret = b"the-weights-nobody-may-see".repeat(50);
    let path = "secret-layer-name.bin";
    fixture.seal("m", &[(path, secret.clone())]).unwrap();
    let digest = model_vault::crypto::hash::blake3(&secret);
    let home = fixture.dir.path().join("home");
    drop(fixture.vault);
    let files = files_below(&home);
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let content = fs::read(&file).unwrap();
        for needle in [&secret[..26], path.as_bytes(), &digest.0, digest.to_string().as_bytes()] {
            assert!(!content.windows(needle.len()).any(|w| w == needle), "{} holds it", file.display());
        }
    }
}

#[test]
fn a_flipped_byte_in_any_blob_is_refused_by_name() {
    let fixture = Fixture::new();
    fixture.seal("m", &[("w", bytes(2_500_000, 3))]).unwrap();
    for blob in files_below(&fixture.dir.path().join("home/blobs")) {
        let good = fs::read(&blob).unwrap();
        for at in [0, good.len() / 3, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            fs::write(&blob, &bad).unwrap();
            let e = fixture.vault.verify(&fixture.caller(), &"m".parse().unwrap()).unwrap_err();
            assert!([3, 2, 4].contains(&e.kind().exit_status()), "{e} {:?}", e.id());
        }
        fs::write(&blob, &good[..good.len() - 1]).unwrap();
        assert!(fixture.vault.verify(&fixture.caller(), &"m".parse().unwrap()).is_err());
        fs::write(&blob, &good).unwrap();
        fixture.vault.verify(&fixture.caller(), &"m".parse().unwrap()).unwrap();
    }
}

#[test]
fn another_versions_blobs_are_refused() {
    let fixture = Fixture::new();
    fixture.seal("m", &[("w", bytes(5000, 3))]).unwrap();
    let first = files_below(&fixture.dir.path().join("home/blobs"));
    fixture.seal("m", &[("w", bytes(5000, 4))]).unwrap();
    let all = files_below(&fixture.dir.path().join("home/blobs"));
    let second: Vec<_> = all.iter().filter(|f| !first.contains(f)).collect();
    let pick = |files: &[&std::path::PathBuf], part: &str| {
        (*files.iter().find(|f| f.to_string_lossy().contains(part)).unwrap()).clone()
    };
    for part in [".body", ".header."] {
        fs::copy(pick(&first.iter().collect::<Vec<_>>(), part), pick(&second, part)).unwrap();
    }
    let e = fixture.read("m@v2").unwrap_err();
    assert_eq!(e.id(), ErrorId::BindingMismatch);
}

#[test]
fn a_second_process_is_told_that_the_vault_is_held_and_a_wrong_key_that_it_is_wrong() {
    let fixture = Fixture::new();
    assert_eq!(unlock(fixture.dir.path()).unwrap_err().id(), ErrorId::Busy);
    let Fixture { dir, vault } = fixture;
    drop(vault);
    fs::write(dir.path().join("root.key"), [9; 32]).unwrap();
    assert_eq!(unlock(dir.path()).unwrap_err().id(), ErrorId::BadCredential);
}

#[test]
fn tags_move_only_from_where_they_were_expected() {
    let fixture = Fixture::new();
    for seed in 0..2 {
        fixture.seal("m", &[("w", bytes(10, seed))]).unwrap();
    }
    let prod: Tag = "prod".parse().unwrap();
    let set = |at: &str, expect| fixture.vault.set_tag(&fixture.caller(), &at.parse().unwrap(), &prod, expect);
    set("m@v1", Some(0)).unwrap();
    assert_eq!(set("m@v2", Some(0)).unwrap_err().id(), ErrorId::TagMoved);
    let moved = set("m@v2", Some(1)).unwrap();
    assert_eq!((moved.version.version, moved.from, moved.sequence), (2, Some(1), 2));
    assert_eq!(fixture.read("m@prod").unwrap(), [bytes(10, 1)]);
    assert_eq!(set("m@v9", None).unwrap_err().id(), ErrorId::NotFound);
    let rows: Vec<_> = fixture.acts().into_iter().filter(|r| r.contains("\"artifact.tag\"")).collect();
    assert!(rows[0].contains(r#""details":{"from":"none","sequence":"1","tag":"prod","to":"v1"}"#), "{}", rows[0]);
    let second = rows.iter().find(|r| r.contains(r#""sequence":"2""#)).unwrap();
    assert!(second.contains(r#""details":{"from":"v1","sequence":"2","tag":"prod","to":"v2"}"#), "{second}");
    let seals: Vec<_> = fixture.acts().into_iter().filter(|r| r.contains("\"artifact.seal\"")).collect();
    assert!(seals[1].contains(r#""moves":"latest v1 -> v2 (2)""#), "{}", seals[1]);
}

#[test]
fn where_a_tag_points_is_signed_by_the_namespace_under_a_number_that_only_grows() {
    let (fixture, clock) = Fixture::with_clock();
    let (namespace, prod): (Name, Tag) = ("default".parse().unwrap(), "prod".parse().unwrap());
    let identity = fixture.vault.statement_signers(&fixture.caller(), &namespace).unwrap().remove(0);
    let identity = PublicKey::from_spki(&identity.spki).unwrap();
    let said = |reference: &str| {
        let open = fixture.vault.open(&fixture.caller(), &reference.parse().unwrap()).unwrap();
        let (envelope, root) = (open.tag_statement().unwrap(), open.version().root);
        if envelope.is_empty() {
            return None;
        }
        let statement = TagStatement::verify(&envelope, &[identity]).unwrap();
        let now = fixture.vault.clock().now();
        statement.check(&reference.parse().unwrap(), &statement.tag, now).unwrap();
        assert_eq!((statement.created, statement.expires, statement.root), (now, now.plus(TAG_VALIDITY), root));
        Some((statement.tag.to_string(), statement.version, statement.sequence))
    };
    let at = |tag: &str, version, sequence| Some((tag.to_owned(), version, sequence));
    let set = |at: &str, tag: &Tag| fixture.vault.set_tag(&fixture.caller(), &at.parse().unwrap(), tag, None).unwrap();
    fixture.seal("m", &[("w", bytes(10, 0))]).unwrap();
    assert_eq!(said("m"), at("latest", 1, 1));
    assert_eq!(said("m@v1"), None);
    fixture.seal("m", &[("w", bytes(10, 1))]).unwrap();
    assert_eq!(said("m"), at("latest", 2, 2));
    set("m@v1", &prod);
    set("m@v2", &prod);
    set("m@v1", &prod);
    clock.step(3600);
    assert_eq!(said("m@prod"), at("prod", 1, 3));
    set("m@v1", &Tag::latest());
    assert_eq!(said("m@latest"), at("latest", 1, 3));
    let all: Reference = "m".parse().unwrap();
    fixture.vault.remove(&fixture.caller(), &all, true).unwrap();
    fixture.vault.restore(&fixture.caller(), &all, true).unwrap();
    assert_eq!(said("m@prod"), at("prod", 1, 3));
    fixture.seal("m", &[("w", bytes(10, 2))]).unwrap();
    assert_eq!(said("m"), at("latest", 3, 4));
}

#[test]
fn a_policy_can_keep_a_tag_where_it_is() {
    let fixture = Fixture::new();
    fixture.seal("m", &[("w", bytes(10, 0))]).unwrap();
    let caller = fixture.caller();
    let (prod, test): (Tag, Tag) = ("prod".parse().unwrap(), "test".parse().unwrap());
    let text = fixture.vault.policy(&caller).unwrap().text
        + r#"@id("prod-stays") forbid (principal, action == ModelVault::Action::"tag", resource)
             when { context.tag == "prod" };"#;
    fixture.vault.set_policy(&fixture.caller(), &text).unwrap();
    let v1: Reference = "m@v1".parse().unwrap();
    assert_eq!(fixture.vault.set_tag(&fixture.caller(), &v1, &prod, None).unwrap_err().id(), ErrorId::Denied);
    fixture.vault.set_tag(&fixture.caller(), &v1, &test, None).unwrap();
    // A version does not take it along either.
    let seal = |tag: &Tag| {
        let (namespace, name) = ("default".parse().unwrap(), "m".parse().unwrap());
        let sealing = sealing(&[("w", bytes(10, 1))]);
        fixture.vault.seal(&fixture.caller(), SealInput { namespace, name, tag: Some(tag.clone()), sealing })
    };
    assert_eq!(seal(&prod).unwrap_err().id(), ErrorId::Denied);
    assert_eq!(seal(&test).unwrap().version.version, 2);
}

#[test]
fn what_is_removed_is_gone_until_it_is_restored() {
    let fixture = Fixture::new();
    for seed in 0..3 {
        fixture.seal("m", &[("w", bytes(10, seed))]).unwrap();
    }
    let reference = "m".parse::<Reference>().unwrap();
    assert_eq!(fixture.vault.remove(&fixture.caller(), &reference, true).unwrap(), 3);
    assert_eq!(fixture.read("m").unwrap_err().id(), ErrorId::NotFound);
    assert!(fixture.vault.list(&fixture.caller(), "", false, &[], 0).unwrap().rows.is_empty());
    assert_eq!(fixture.vault.restore(&fixture.caller(), &reference, true).unwrap(), 3);
    assert_eq!(fixture.read("m").unwrap(), [bytes(10, 2)]);
}

#[test]
fn an_exported_file_is_opened_and_taken_in_again_under_a_key_of_its_own() {
    let fixture = Fixture::new();
    let sealed = fixture.seal("m", &[("w", bytes(2_000_000, 5)), ("x", bytes(7, 1))]).unwrap();
    let mut export = fixture.vault.export(&fixture.caller(), &"m".parse().unwrap()).unwrap();
    let mut file = vec![0; export.size() as usize];
    export.read(0, &mut file).unwrap();
    export.finish(file.len() as u64, &Ok(())).unwrap();
    let reader = fixture.vault.open_portable(&fixture.caller(), Box::new(file.clone())).unwrap();
    assert_eq!(reader.root(), sealed.version.root);
    let import = |file: Vec<u8>| {
        fixture.vault.import(
            &fixture.caller(),
            ImportInput {
                namespace: "default".parse().unwrap(),
                name: "copy".parse().unwrap(),
                tag: None,
                source: ImportSource::File(Box::new(file)),
                credential: None,
                progress: Box::new(|_| {}),
            },
        )
    };
    let taken = import(file.clone()).unwrap();
    assert_ne!(taken.version.root, sealed.version.root);
    assert_eq!(fixture.read("copy").unwrap(), [bytes(2_000_000, 5), bytes(7, 1)]);
    file[9000] ^= 1;
    assert_eq!(import(file).unwrap_err().exit(), 3);
    assert_eq!(fixture.read("copy@v2").unwrap_err().id(), ErrorId::NotFound);
}

trait Exit {
    fn exit(&self) -> u8;
}

impl Exit for model_vault::Error {
    fn exit(&self) -> u8 {
        self.kind().exit_status()
    }
}

#[test]
fn a_workload_sees_nothing_until_it_is_granted_and_nothing_after_it_is_revoked() {
    let fixture = Fixture::new();
    fixture.seal("m", &[("w", bytes(100, 1))]).unwrap();
    let (namespace, name) = ("default".parse().unwrap(), "serve".parse().unwrap());
    let workload = fixture.workload("serve");
    let open = |reference: &str| {
        fixture.vault.open(&workload, &reference.parse().unwrap()).map(|o| o.finish(0, "test").unwrap())
    };
    // Neither the listing nor its page token names what may not be seen.
    let page = fixture.vault.list(&workload, "", false, &[], 1).unwrap();
    assert!(page.rows.is_empty() && page.next.is_empty());
    let ungranted = open("m").unwrap_err();
    let absent = open("no-such-model").unwrap_err();
    // Alike but for the name that was asked: a workload cannot probe for names.
    assert_eq!((ungranted.id(), absent.id()), (ErrorId::NotFound, ErrorId::NotFound));
    assert_eq!(ungranted.message().replace("/m@", "/no-such-model@"), absent.message());
    let artifact: (Name, Name) = ("default".parse().unwrap(), "m".parse().unwrap());
    let cedar = fixture.vault.grant(&fixture.caller(), &namespace, &name, (&artifact.0, &artifact.1)).unwrap();
    assert!(cedar.contains("permit"), "{cedar}");
    open("m").unwrap();
    assert_eq!(fixture.vault.status(&workload).unwrap_err().id(), ErrorId::Denied);
    assert_eq!(fixture.vault.list(&workload, "", false, &[], 0).unwrap().rows.len(), 1);
    fixture.vault.revoke(&fixture.caller(), &namespace, &name, None).unwrap();
    assert_eq!(open("m").unwrap_err().id(), ErrorId::BadCredential);
    let rows = fixture.acts();
    for (act, decision) in
        [("artifact.fetch.start", "Denied"), ("artifact.fetch.start", "NotFound"), ("workload.revoke", "allow")]
    {
        assert!(rows.iter().any(|r| r.contains(act) && r.contains(decision)), "{act} {decision}\n{}", rows.join("\n"));
    }
}

#[test]
fn a_lease_ends_with_the_grant() {
    let fixture = Fixture::new();
    fixture.seal("m", &[("w", bytes(100, 1))]).unwrap();
    let open = fixture.vault.open(&fixture.caller(), &"m".parse().unwrap()).unwrap();
    let policy = "@id(\"nobody\") forbid (principal, action == ModelVault::Action::\"open\", resource);\n\
                  @id(\"rest\") permit (principal is ModelVault::Operator, action, resource);";
    fixture.vault.set_policy(&fixture.caller(), policy).unwrap();
    assert_eq!(
        fixture.vault.open(&fixture.caller(), &"m".parse().unwrap()).map(drop).unwrap_err().id(),
        ErrorId::Denied
    );
    assert_eq!(fixture.vault.policy(&fixture.caller()).unwrap().version, 1);
    assert_eq!(
        fixture.vault.set_policy(&fixture.caller(), "permit (principal, action, resource);").unwrap_err().exit(),
        2
    );
    // A policy under which its author could not set another is refused.
    let lockout = "@id(\"none\") permit (principal is ModelVault::Workload, action, resource is ModelVault::Vault);";
    assert_eq!(fixture.vault.set_policy(&fixture.caller(), lockout).unwrap_err().exit(), 2);
    drop(open);
    let fixture = fixture.reopen();
    assert_eq!(
        fixture.vault.open(&fixture.caller(), &"m".parse().unwrap()).map(drop).unwrap_err().id(),
        ErrorId::Denied
    );
}

/// Reads the one member of `m`, as a stream and in bulk.
fn read_both_ways(open: &model_vault::vault::OpenArtifact) -> [Result<()>; 2] {
    let streamed = open.read(0, 0, &mut [0; 100], true);
    let bulk = open.reader().extract(2, &|_| {}, &|_, _, _| Ok(()));
    [streamed, bulk.map_err(Into::into)]
}

#[test]
fn a_long_read_is_decided_anew_at_half_time_of_its_lease_and_stops_at_once_when_it_is_denied() {
    let (fixture, clock) = Fixture::with_clock();
    fixture.seal("m", &[("w", bytes(3_000_000, 1))]).unwrap();
    let open = fixture.vault.open(&fixture.caller(), &"m".parse().unwrap()).unwrap();
    let first = open.expires();
    assert!(read_both_ways(&open).iter().all(Result::is_ok));
    assert_eq!(open.expires(), first);
    clock.step(31);
    assert!(read_both_ways(&open).iter().all(Result::is_ok));
    assert!(open.expires() > first);
    let policy = "@id(\"nobody\") forbid (principal, action == ModelVault::Action::\"open\", resource);\n\
                  @id(\"rest\") permit (principal is ModelVault::Operator, action, resource);";
    // In the middle of an extraction: nothing after the change.
    let mut seen = Vec::new();
    let range = open.reader().extract_range("w", 0..3_000_000, 1, &mut |piece| {
        seen.extend_from_slice(piece);
        fixture.vault.set_policy(&fixture.caller(), policy).unwrap();
        Ok(())
    });
    assert_eq!(model_vault::Error::from(range.unwrap_err()).id(), ErrorId::Denied);
    assert_eq!(seen, bytes(3_000_000, 1)[..1 << 20]);
    for denied in read_both_ways(&open) {
        assert_eq!(denied.unwrap_err().id(), ErrorId::Denied);
    }
}

#[test]
fn a_stream_does_not_outlive_the_certificate_it_was_opened_with() {
    let (fixture, clock) = Fixture::with_clock();
    fixture.seal("m", &[("w", bytes(100, 1))]).unwrap();
    let workload = fixture.workload("serve");
    let (default, serve, m) = ("default".parse().unwrap(), "serve".parse().unwrap(), "m".parse().unwrap());
    fixture.vault.grant(&fixture.caller(), &default, &serve, (&default, &m)).unwrap();
    let open = fixture.vault.open(&workload, &"m".parse().unwrap()).unwrap();
    clock.step(24 * 3600 - 40);
    assert!(read_both_ways(&open).iter().all(Result::is_ok), "renewed while the certificate is valid");
    clock.step(45);
    for refused in read_both_ways(&open) {
        assert_eq!(refused.unwrap_err().id(), ErrorId::BadCredential);
    }
    drop(open);
    assert_eq!(
        fixture.vault.open(&workload, &"m".parse().unwrap()).map(drop).unwrap_err().id(),
        ErrorId::BadCredential
    );
}

#[test]
fn the_log_holds_every_act_verifies_and_extends_the_checkpoint_kept_elsewhere() {
    let fixture = Fixture::new();
    fixture.seal("m", &[("w", bytes(100, 1))]).unwrap();
    let kept = fixture.vault.audit_verify(&fixture.caller(), None).unwrap();
    fixture.read("m").unwrap();
    let fixture = fixture.reopen();
    let report = fixture.vault.audit_verify(&fixture.caller(), Some(&kept.checkpoint)).unwrap();
    assert!(report.records > kept.records && report.checkpoints > kept.checkpoints);
    let rows = fixture.acts().join("\n");
    for act in ["vault.init", "artifact.seal", "artifact.fetch.start", "artifact.fetch.end", "audit.verify"] {
        assert!(rows.contains(act), "{act}");
    }
    let mut export = Vec::new();
    fixture.vault.audit_export(&fixture.caller(), 0, &mut export).unwrap();
    let (key, report) =
        model_vault::audit::verify_export(&export[..], None, std::slice::from_ref(&kept.checkpoint)).unwrap();
    assert_eq!(key.to_string(), fixture.vault.status(&fixture.caller()).unwrap().audit_key);
    assert_eq!((report.uncovered, report.kept), (0, 1));
    // Another vault's checkpoint is not one of this log.
    let stranger = Fixture::new();
    let foreign = stranger.vault.audit_verify(&stranger.caller(), None).unwrap().checkpoint;
    assert_eq!(fixture.vault.audit_verify(&fixture.caller(), Some(&foreign)).unwrap_err().id(), ErrorId::AuditBroken);
}

#[test]
fn a_failed_seal_leaves_no_version_and_no_blob() {
    struct Failing;
    impl model_vault::seal::io::ReadAt for Failing {
        fn len(&self) -> std::io::Result<u64> {
            Ok(5_000_000)
        }
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
            buffer.fill(7);
            if offset > 3_000_000 { Err(std::io::Error::other("the disk died")) } else { Ok(()) }
        }
    }
    let fixture = Fixture::new();
    let mut failing = sealing(&[]);
    failing.members = vec![SealMember { path: "w".into(), source: Box::new(Failing) }];
    let input =
        SealInput { namespace: "default".parse().unwrap(), name: "m".parse().unwrap(), tag: None, sealing: failing };
    assert_eq!(fixture.vault.seal(&fixture.caller(), input).unwrap_err().exit(), 10);
    assert_eq!(files_below(&fixture.dir.path().join("home/blobs")), [""; 0].map(std::path::PathBuf::from));
    assert_eq!(fixture.read("m").unwrap_err().id(), ErrorId::NotFound);
    for bad in ["../x", "/x", "a//b", ""] {
        assert_eq!(fixture.seal("m", &[(bad, vec![1])]).unwrap_err().exit(), 2, "{bad:?}");
    }
    // Nothing is left of the name either.
    assert_eq!(fixture.vault.status(&fixture.caller()).unwrap().artifacts, 0);
    assert_eq!(fixture.seal("m", &[("w", vec![1])]).unwrap().version.version, 1);
    // Beside a version the number is skipped, not reused.
    assert_eq!(fixture.seal("m", &[("../x", vec![1])]).unwrap_err().exit(), 2);
    assert_eq!(fixture.seal("m", &[("w", vec![1])]).unwrap().version.version, 3);
}

const WORKLOADS_EXPORT: &str = r#"
@id("workloads-export")
permit (principal is ModelVault::Workload, action in [ModelVault::Action::"stat", ModelVault::Action::"export"], resource);
"#;

#[test]
fn an_export_ends_when_its_caller_is_revoked_and_its_end_is_on_record() {
    let (fixture, _) = Fixture::with_clock();
    fixture.seal("m", &[("w", bytes(3_000_000, 1))]).unwrap();
    let text = fixture.vault.policy(&fixture.caller()).unwrap().text;
    fixture.vault.set_policy(&fixture.caller(), &format!("{text}{WORKLOADS_EXPORT}")).unwrap();
    let workload = fixture.workload("mirror");
    let mut export = fixture.vault.export(&workload, &"m".parse().unwrap()).unwrap();
    let mut piece = vec![0; 1 << 20];
    export.read(0, &mut piece).unwrap();
    fixture.vault.revoke(&fixture.caller(), &"default".parse().unwrap(), &"mirror".parse().unwrap(), None).unwrap();
    let refused = export.read(1 << 20, &mut piece);
    assert_eq!(refused.as_ref().unwrap_err().id(), ErrorId::BadCredential);
    export.finish(1 << 20, &refused).unwrap();
    let end = fixture.acts().into_iter().find(|r| r.contains("\"artifact.export.end\"")).unwrap();
    assert!(end.contains(r#""details":{"bytes":"1048576","reason":"BadCredential","size":""#), "{end}");
    assert!(end.contains(r#""name":"m","version":1"#), "{end}");
    // One that nobody finishes has an end too.
    drop(fixture.vault.export(&fixture.caller(), &"m".parse().unwrap()).unwrap());
    assert!(fixture.acts().iter().any(|r| r.contains("export.end") && r.contains("abandoned")));
}

#[test]
fn an_export_of_the_log_ends_when_its_reader_may_no_longer_read_it() {
    const NOT_IN_PROCESS: &str = r#"
        @id("not-in-process")
        forbid (principal, action == ModelVault::Action::"readAudit", resource) when { context.transport == "local" };
    "#;
    /// Another operator takes the right away while the log is read.
    struct Revoking<'a>(&'a Fixture, &'a Hands, u64);
    impl std::io::Write for Revoking<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.2 == 0 {
                let text = self.0.vault.policy(&self.0.caller()).unwrap().text;
                self.0.vault.set_policy(&self.0.caller(), &format!("{text}{NOT_IN_PROCESS}")).unwrap();
                self.1.step(31);
            }
            self.2 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (fixture, clock) = Fixture::with_clock();
    let reader = fixture.caller();
    let mut complete = Vec::new();
    fixture.vault.audit_export(&reader, 0, &mut complete).unwrap();
    let mut out = Revoking(&fixture, &clock, 0);
    assert_eq!(fixture.vault.audit_export(&reader, 0, &mut out).unwrap_err().id(), ErrorId::Denied);
    let policy = fixture.vault.policy(&fixture.caller()).unwrap().text.replace(NOT_IN_PROCESS, "");
    fixture.vault.set_policy(&fixture.caller(), &policy).unwrap();
    let ends: Vec<_> = fixture.acts().into_iter().filter(|r| r.contains("\"audit.export.end\"")).collect();
    let details = |bytes: u64, reason: &str| format!(r#""details":{{"bytes":"{bytes}","reason":"{reason}"}}"#);
    assert!(ends[0].contains(&details(complete.len() as u64, "complete")), "{}", ends[0]);
    assert!(ends[1].contains(&details(out.2, "Denied")), "{}", ends[1]);
    assert!(out.2 < complete.len() as u64);
}

#[test]
fn a_request_that_comes_again_gets_the_first_answer_and_changes_nothing() {
    let fixture = Fixture::new();
    for seed in 0..2 {
        fixture.seal("m", &[("w", bytes(10, seed))]).unwrap();
    }
    let (vault, namespace) = (&fixture.vault, "default".parse::<Name>().unwrap());
    let (serve, m) = ("serve".parse::<Name>().unwrap(), "m".parse::<Name>().unwrap());
    let (_key, csr) = model_vault::identity::new_key_and_csr(&serve).unwrap();
    let policy = vault.policy(&fixture.caller()).unwrap().text;
    let (v1, all): (Reference, Reference) = ("m@v1".parse().unwrap(), "m".parse().unwrap());
    let prod: Tag = "prod".parse().unwrap();
    type Act<'a> = Box<dyn Fn(&Caller) -> Result<String> + 'a>;
    let acts: Vec<(&str, Act<'_>)> = vec![
        ("enroll", Box::new(|c| Ok(format!("{:?}", vault.enroll(c, &namespace, &serve, &csr)?)))),
        ("grant", Box::new(|c| vault.grant(c, &namespace, &serve, (&namespace, &m)))),
        ("tag", Box::new(|c| Ok(format!("{:?}", vault.set_tag(c, &v1, &prod, Some(0))?)))),
        ("rm", Box::new(|c| Ok(vault.remove(c, &v1, false)?.to_string()))),
        ("restore", Box::new(|c| Ok(vault.restore(c, &v1, false)?.to_string()))),
        ("rm all", Box::new(|c| Ok(vault.remove(c, &all, true)?.to_string()))),
        ("restore all", Box::new(|c| Ok(vault.restore(c, &all, true)?.to_string()))),
        ("policy", Box::new(|c| Ok(vault.set_policy(c, &policy)?.to_string()))),
        ("ungrant", Box::new(|c| Ok(format!("{:?}", vault.ungrant(c, &namespace, &serve, (&namespace, &m))?)))),
        ("revoke", Box::new(|c| Ok(format!("{:?}", vault.revoke(c, &namespace, &serve, None)?)))),
    ];
    for (what, act) in &acts {
        let caller = fixture.caller();
        let before = vault.status(&fixture.caller()).unwrap().audit_records;
        let first = act(&caller).unwrap();
        assert_eq!(act(&caller).unwrap(), first, "{what}");
        // The row of the act, and that of each look at the status.
        assert_eq!(vault.status(&fixture.caller()).unwrap().audit_records, before + 2, "{what}");
        // The id is of that very request: nobody else's, and for nothing else.
        let other = model_vault::names::Principal::unix_operator(vault.owner_uid());
        let other =
            Caller { principal: other, channel: Channel { transport: Transport::Unix, ..Channel::local() }, ..caller };
        assert_eq!(act(&other).unwrap_err().id(), ErrorId::AlreadyExists, "{what}");
    }
    let caller = fixture.caller();
    vault.set_tag(&caller, &v1, &prod, None).unwrap();
    assert_eq!(vault.set_tag(&caller, &all, &prod, None).unwrap_err().id(), ErrorId::AlreadyExists);
}

#[test]
fn the_versions_of_an_artifact_are_listed_in_pages_to_whoever_may_see_it() {
    let fixture = Fixture::new();
    for seed in 0..5 {
        fixture.seal("m", &[("w", bytes(10, seed))]).unwrap();
    }
    fixture.vault.remove(&fixture.caller(), &"m@v4".parse().unwrap(), false).unwrap();
    let (namespace, m): (Name, Name) = ("default".parse().unwrap(), "m".parse().unwrap());
    let pages = |caller: &Caller, removed: bool| -> Result<Vec<u64>> {
        let (mut numbers, mut next) = (Vec::new(), Vec::new());
        loop {
            let page = fixture.vault.versions(caller, (&namespace, &m), removed, &next, 2)?;
            numbers.extend(page.rows.iter().map(|v| v.version));
            next = page.next;
            if next.is_empty() {
                return Ok(numbers);
            }
        }
    };
    assert_eq!(pages(&fixture.caller(), false).unwrap(), [5, 3, 2, 1]);
    assert_eq!(pages(&fixture.caller(), true).unwrap(), [5, 4, 3, 2, 1]);
    let workload = fixture.workload("serve");
    let hidden = pages(&workload, true).unwrap_err();
    let absent = fixture.vault.versions(&workload, (&namespace, &"x".parse().unwrap()), true, &[], 2).unwrap_err();
    assert_eq!((hidden.id(), absent.id()), (ErrorId::NotFound, ErrorId::NotFound));
    assert_eq!(hidden.message().replace("/m@", "/x@"), absent.message(), "a workload cannot probe for names");
    fixture.vault.grant(&fixture.caller(), &namespace, &"serve".parse().unwrap(), (&namespace, &m)).unwrap();
    assert_eq!(pages(&workload, false).unwrap(), [5, 3, 2, 1]);
    let odd = fixture.vault.versions(&fixture.caller(), (&namespace, &m), false, b"x", 2).unwrap_err();
    assert_eq!(odd.exit(), 2);
}

#[test]
fn refusals_before_authentication_are_one_row_a_kind_and_minute() {
    let (fixture, clock) = Fixture::with_clock();
    let refuse = |why| fixture.vault.count_refusal(Some("192.0.2.1:7"), ErrorId::BadCredential, why);
    let told = || -> Vec<String> {
        fixture.vault.tick().unwrap();
        let rows = fixture.acts().into_iter().filter(|r| r.contains("\"auth.refused\""));
        rows.map(|r| r.split("\"details\":").nth(1).unwrap().to_owned()).collect()
    };
    refuse("certificate expired");
    assert_eq!(told(), [r#"{"count":"1","why":"certificate expired"}}"#]);
    refuse("certificate of another authority");
    for _ in 0..1000 {
        refuse("certificate expired");
    }
    clock.step(59);
    assert_eq!(told()[1..], [r#"{"count":"1","why":"certificate of another authority"}}"#], "a kind of its own");
    clock.step(1);
    assert_eq!(told()[2..], [r#"{"count":"1000","why":"certificate expired"}}"#]);
    clock.step(600);
    assert_eq!(told().len(), 3, "nothing happened, nothing is told");
}
