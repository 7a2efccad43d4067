//! Promises about sealed datasets: what a signed statement says of one is believed as far as it was held against the files and its
//! signers are trusted, and a training job opens it only if the rule of its namespace holds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod parts;

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model_vault::crypto::hash::sha256;
use model_vault::crypto::random::SystemRandom;
use model_vault::crypto::sign::{Algorithm, SigningKey};
use model_vault::dataset::{
    Attribution, Contributor, DatasetStatement, Described, Excluded, Folder, Format, Gravity, Measured, Opened,
    RecordKey, ScanSummary, Schema, Source, Tree, detect,
};
use model_vault::facts::AttestationFacts;
use model_vault::files::Ignored;
use model_vault::identity::signers::{Trusting, Untrusting};
use model_vault::manifest::oms::Bundle;
use model_vault::names::{ArtifactKind, Clock, Name, Reference, Sha256, SystemClock, Timestamp};
use model_vault::policy::Scenario;
use model_vault::seal::io::ReadAt;
use model_vault::vault::{Caller, Channel, InitSpec, Machine, SealInput, SealMember, Sealing, Transport, Vault};
use model_vault::{ErrorId, Result};

const DAY: Duration = Duration::from_secs(86_400);
const RULE: &str = "proven-datasets-only";
const START: &str = "artifact.fetch.start";

/// A clock that a test moves on.
struct Hands(Mutex<Timestamp>);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// Files in the order of their paths, then what belongs to them.
type Members = Vec<(&'static str, Vec<u8>)>;

/// A vault with the rule of docs/policy.md, which trusts a curator and a contributor.
struct Fixture {
    _dir: tempfile::TempDir,
    vault: Arc<Vault>,
    clock: Arc<Hands>,
    curator: SigningKey,
    acme: SigningKey,
    artifacts: AtomicU32,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hands(Mutex::new(SystemClock.now())));
        let machine = Machine { clock: Arc::clone(&clock) as _, ..Machine::default() };
        let key_file = InitSpec::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::init(&dir.path().join("home"), key_file, machine).unwrap());
        let (curator, acme) = (key(Algorithm::EcdsaP256), key(Algorithm::EcdsaP256));
        let f = Self { _dir: dir, vault, clock, curator, acme, artifacts: AtomicU32::default() };
        f.trust("curator", &f.curator);
        f.trust("acme", &f.acme);
        let (_, rule) = include_str!("../../docs/policy.md").split_once(&format!("@id(\"{RULE}\")")).unwrap();
        let (rule, _) = rule.split_once("\n```").unwrap();
        let text = f.vault.policy(&f.caller()).unwrap().text;
        f.vault.set_policy(&f.caller(), &format!("{text}\n@id(\"{RULE}\"){rule}\n")).unwrap();
        f
    }

    fn caller(&self) -> Caller {
        self.vault.local_caller().unwrap()
    }

    fn step(&self, by: Duration) {
        let mut now = self.clock.0.lock().unwrap();
        *now = now.plus(by);
    }

    fn trust(&self, who: &str, key: &SigningKey) {
        let trusting = Trusting::keys(name(who), vec![key.public().clone()]);
        self.vault.trust_signer(&self.caller(), &trusting).unwrap();
    }

    fn untrust(&self, who: &str) {
        let untrusting = Untrusting { name: name(who), key: None, revoke: None };
        self.vault.untrust_signer(&self.caller(), &untrusting).unwrap();
    }

    /// Version 3 of these files, eight days old, scanned, all of it attested by acme.
    fn statement(&self, of: &Members) -> DatasetStatement {
        let files: Vec<Measured> = of.iter().map(|(path, bytes)| measured(path, bytes)).collect();
        let contributor = Contributor {
            name: "acme".into(),
            key: self.acme.public().key_id(),
            statement: sha256(b"what acme signed"),
            records: files.iter().map(|file| file.records).sum(),
        };
        DatasetStatement {
            name: "reviews".into(),
            version: 3,
            previous: Some(sha256(b"version 2")),
            created: Timestamp::from_millis(self.clock.now().as_millis() - 8 * 86_400_000),
            expires: None,
            schema: Schema::Lines,
            multiset: None,
            attribution: Attribution {
                contributors: vec![contributor],
                files: files.iter().map(|file| (file.path.clone(), sha256(b"who supplied what"))).collect(),
                excluded: Vec::new(),
            },
            files,
            derived_from: Vec::new(),
            described: Described {
                scan: Some(sha256(b"the report")),
                scan_summary: Some(ScanSummary {
                    records: 3,
                    findings: 0,
                    worst: Gravity::None,
                    detectors: [("rule".to_owned(), 0)].into(),
                }),
                ..Described::default()
            },
        }
    }

    /// The files with their statement, changed before the curator signs it.
    fn signed(&self, change: impl Fn(&mut DatasetStatement)) -> Members {
        let mut statement = self.statement(&files());
        change(&mut statement);
        with(files(), &[bundle(&statement, &self.curator)])
    }

    /// As an artifact of its own: another version 3 of the same is refused.
    fn seal(&self, members: &Members, allow_unsigned: Option<&str>) -> Result<Reference> {
        let artifact = format!("d{}", self.artifacts.fetch_add(1, Ordering::Relaxed));
        self.seal_as(&artifact, ArtifactKind::Dataset, members, allow_unsigned, true)
    }

    fn seal_as(
        &self,
        artifact: &str,
        kind: ArtifactKind,
        members: &Members,
        allow_unsigned: Option<&str>,
        sha256: bool,
    ) -> Result<Reference> {
        let member =
            |(path, bytes): &(&str, Vec<u8>)| SealMember { path: (*path).to_owned(), source: Box::new(bytes.clone()) };
        let sealing = Sealing {
            members: members.iter().map(member).collect(),
            kind,
            sha256,
            sequential: false,
            signer: None,
            allow_unsigned: allow_unsigned.map(Into::into),
            progress: Box::new(|_| {}),
        };
        let input = SealInput { namespace: name("default"), name: name(artifact), tag: None, sealing };
        let version = self.vault.seal(&self.caller(), input)?.version.version;
        Ok(format!("{artifact}@v{version}").parse().unwrap())
    }

    /// Whether a workload that was granted the dataset opens this version now. If not, the rule refuses it, on record.
    fn opens(&self, version: &Reference) -> bool {
        let (namespace, job) = (name("default"), name(&self.caller().request_id.to_string()));
        let (_key, csr) = model_vault::identity::new_key_and_csr(&job).unwrap();
        let issued = self.vault.enroll(&self.caller(), &namespace, &job, &csr).unwrap();
        self.vault.grant(&self.caller(), &namespace, &job, (&namespace, &version.name)).unwrap();
        let peer = model_vault::identity::PeerCertificate::parse(&issued.certificate).unwrap();
        let channel = Channel {
            transport: Transport::Mtls,
            tls_group: None,
            peer: None,
            certificate: Some((peer.serial.0.to_vec(), peer.spki_sha256)),
        };
        let caller = Caller { principal: peer.principal(), channel, ..self.caller() };
        let opened = self.vault.open(&caller, version).map(drop).is_ok();
        let row = self.rows(START).pop().unwrap();
        assert!(row.contains(job.as_str()) && row.contains(RULE) != opened, "{row}");
        opened
    }

    fn said(&self, version: &Reference) -> Vec<AttestationFacts> {
        self.vault.attestations(&self.caller(), version).unwrap()
    }

    fn rows(&self, act: &str) -> Vec<String> {
        let rows = self.vault.audit_rows(&self.caller(), 1, 1000).unwrap();
        let rows = rows.into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap());
        rows.filter(|row| row.contains(&format!("\"{act}\""))).collect()
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm, &SystemRandom).unwrap()
}

fn files() -> Members {
    vec![("a.txt", b"one\ntwo\n".to_vec()), ("b/c.txt", b"three\n".to_vec())]
}

fn measured(path: &str, bytes: &[u8]) -> Measured {
    let source = Source { path, format: Format::of_name(path).unwrap(), bytes: Arc::new(bytes.to_vec()) };
    source.measure(&Schema::Lines, None, 1, &mut |_, _| Ok(())).unwrap().0
}

fn bundle(statement: &DatasetStatement, key: &SigningKey) -> Bundle {
    Bundle::sign(statement.to_payload().into_bytes(), key, None).unwrap()
}

fn with(mut members: Members, bundles: &[Bundle]) -> Members {
    let lines: String = bundles.iter().map(|bundle| bundle.to_json() + "\n").collect();
    members.push(("dataset.sig", lines.into_bytes()));
    members
}

#[test]
fn a_training_job_opens_a_dataset_only_if_the_rule_of_its_namespace_holds() {
    let f = Fixture::new();
    let stranger = key(Algorithm::EcdsaP256).public().key_id();
    let version = f.seal(&f.signed(|_| {}), None).unwrap();
    assert!(f.opens(&version));
    let row = f.rows(START).pop().unwrap();
    assert!(row.contains("\"dataset\":\"reviews v3\""), "{row}");
    assert!(f.rows("artifact.seal").pop().unwrap().contains("\"signed_by\":\"curator\""));

    let refused = |why: &str, change: &dyn Fn(&mut DatasetStatement)| {
        let version = f.seal(&f.signed(change), None).unwrap();
        assert!(!f.opens(&version), "{why}");
    };
    refused("a record is nobody's", &|s| s.attribution.contributors[0].records -= 1);
    refused("nobody was asked whose the records are", &|s| s.attribution = Attribution::default());
    refused("nobody trusts the contributor", &|s| s.attribution.contributors[0].key = stranger);
    refused("it was signed just now", &|s| s.created = f.clock.now());
    refused("it says that it was signed tomorrow", &|s| s.created = f.clock.now().plus(DAY));
    refused("it was not scanned", &|s| (s.described.scan, s.described.scan_summary) = (None, None));
    refused("it was scanned by who knows what", &|s| s.described.scan_summary = None);
    refused("its version is too low", &|s| s.version = 2);
    let version = f.seal(&files(), None).unwrap();
    assert!(!f.opens(&version), "nobody signed it");
    assert!(!f.rows(START).pop().unwrap().contains("\"dataset\":"));

    // Whose records are not read need not be trusted.
    let kept_out = f.signed(|s| {
        s.attribution.contributors[0].records -= 1;
        let mallory = Contributor { name: "mallory".into(), key: stranger, statement: sha256(b"x"), records: 1 };
        s.attribution.contributors.push(mallory);
        s.attribution.excluded.push(Excluded { contributor: "mallory".into(), reason: "poisoned".into() });
    });
    let version = f.seal(&kept_out, None).unwrap();
    assert!(f.opens(&version));
}

#[test]
fn what_was_proven_once_is_asked_again_at_each_opening() {
    let f = Fixture::new();
    let lasting = f.seal(&f.signed(|_| {}), None).unwrap();
    let young = f.signed(|s| {
        s.created = f.clock.now();
        s.expires = Some(f.clock.now().plus(30 * DAY));
    });
    let young = f.seal(&young, None).unwrap();
    assert!(f.opens(&lasting) && !f.opens(&young));
    f.step(8 * DAY);
    assert!(f.opens(&young));
    f.untrust("acme");
    assert!(!f.opens(&young) && !f.opens(&lasting), "the contributor is trusted no more");
    f.trust("acme", &f.acme);
    assert!(f.opens(&young) && f.opens(&lasting));
    f.step(22 * DAY);
    assert!(!f.opens(&young), "its statement has ended");
    assert!(f.opens(&lasting));
    f.untrust("curator");
    assert!(!f.opens(&lasting), "whoever signed it is trusted no more");
}

#[test]
fn a_dataset_that_carries_a_statement_is_sealed_if_that_is_good_and_about_these_files() {
    let f = Fixture::new();
    let good = f.signed(|_| {});
    f.seal(&good, None).unwrap();
    let changed = |change: fn(&mut Members)| {
        let mut members = good.clone();
        change(&mut members);
        members
    };
    let (first, stranger) = (f.statement(&files()), key(Algorithm::Ed25519));
    let mut forged = bundle(&first, &f.curator);
    forged.payload = bundle(&DatasetStatement { version: 4, ..first.clone() }, &stranger).payload;
    let mut other = first.clone();
    other.described.licence = Some("CC0-1.0".into());
    let fork = [bundle(&first, &f.curator), bundle(&other, &f.curator)];
    let (mut empty, mut garbage) = (files(), files());
    empty.push(("dataset.sig", b"\n".to_vec()));
    garbage.push(("dataset.sig", b"-----BEGIN PGP SIGNATURE-----".to_vec()));
    for (members, refusal) in [
        (changed(|m| m[0].1[0] ^= 1), ErrorId::DatasetChanged),
        (changed(|m| m[0].1.push(b'x')), ErrorId::DatasetChanged),
        (changed(|m| drop(m.remove(1))), ErrorId::DatasetChanged),
        (changed(|m| m.push(("evil.txt", b"x\n".to_vec()))), ErrorId::DatasetChanged),
        (changed(|m| m.push(("dataset.tree/evil.txt", b"x\n".to_vec()))), ErrorId::DatasetChanged),
        (changed(|m| m.push(("dataset.tree/a.txt/tile/0/999", b"x\n".to_vec()))), ErrorId::DatasetChanged),
        (changed(|m| m.push(("dataset.tree/a.txt/tile/0/000.p/1", b"x\n".to_vec()))), ErrorId::DatasetChanged),
        (changed(|m| m.push(("claims.jsonl", b"{\"text\":\"x\"}\n".to_vec()))), ErrorId::DatasetChanged),
        (with(files(), &[forged]), ErrorId::SignatureInvalid),
        (with(files(), &[bundle(&first, &stranger)]), ErrorId::SignatureMissing),
        (with(files(), &fork), ErrorId::DatasetForked),
        (f.signed(|s| s.expires = Some(f.clock.now())), ErrorId::StatementExpired),
        (empty, ErrorId::BundleMalformed),
        (garbage, ErrorId::BundleMalformed),
    ] {
        let error = f.seal(&members, None).unwrap_err();
        assert_eq!(error.id(), refusal, "{error}");
        assert!(error.message().starts_with("dataset.sig: "), "{error}");
        assert!(error.hint_text().unwrap_or_default().contains("--allow unsigned"), "{error:?}");
        let version = f.seal(&members, Some("looked at by hand")).unwrap();
        assert!(f.said(&version).is_empty() && !f.opens(&version), "nothing is known of it: {error}");
    }
    // Without recorded digests the files are read.
    let as_read = |members: &Members| f.seal_as("d", ArtifactKind::Dataset, members, None, false);
    as_read(&good).unwrap();
    assert_eq!(as_read(&changed(|m| m[0].1[0] ^= 1)).unwrap_err().id(), ErrorId::DatasetChanged);
    // In a model it is a file like others.
    f.seal_as("m", ArtifactKind::Model, &changed(|m| m[0].1[0] ^= 1), None, true).unwrap();
}

#[test]
fn the_newest_statement_by_trusted_signers_counts_once_for_each_of_its_keys() {
    let f = Fixture::new();
    let (second, stranger) = (key(Algorithm::Ed25519), key(Algorithm::EcdsaP256));
    f.trust("curator", &second);
    let before: Members = vec![("a.txt", b"one\n".to_vec())];
    let v3 = f.statement(&before);
    let previous = Some(sha256(v3.to_payload().as_bytes()));
    let v4 = DatasetStatement { version: 4, previous, ..f.statement(&files()) };
    let v5 = DatasetStatement { version: 5, ..f.statement(&before) };
    let newest = [bundle(&v4, &f.curator), bundle(&v4, &second)];
    let all = [bundle(&v3, &f.curator), newest[0].clone(), newest[1].clone(), bundle(&v5, &stranger)];
    let mut members = with(files(), &all);
    for (path, bytes) in [
        ("dataset.tree/a.txt/pieces", "8 2 00\n"),
        ("dataset.tree/b/c.txt/contributors", "1 1\n"),
        ("dataset.tree/b/c.txt/tile/0/000.p/1", "hashes"),
    ] {
        members.push((path, bytes.as_bytes().to_vec()));
    }
    let claims = ("claims.jsonl", bundle(&v5, &stranger).to_json().into_bytes());
    let smuggled: Members = members.iter().cloned().chain([claims]).collect();
    assert_eq!(
        f.seal(&smuggled, None).unwrap_err().id(),
        ErrorId::DatasetChanged,
        "a stranger's words are no signature"
    );
    let version = f.seal(&members, None).unwrap();
    let said = f.said(&version);
    assert_eq!(said.len(), 2, "{said:?}");
    let mut kept = Vec::new();
    for attached in &said {
        assert_eq!(attached.predicate_type, DatasetStatement::predicate_type());
        assert_eq!((attached.signer.as_str(), attached.member.as_deref()), ("curator", Some("dataset.sig")));
        assert!(attached.whole && attached.trusted);
        let bytes = f.vault.attestation(&f.caller(), &version, attached.digest).unwrap();
        kept.push(Bundle::from_json(&bytes).unwrap());
    }
    assert!(newest.iter().all(|bundle| kept.contains(bundle)));
    assert!(f.opens(&version));
    assert!(f.rows(START).pop().unwrap().contains("\"dataset\":\"reviews v4\""));
    assert_eq!(f.seal(&with(before, &all), None).unwrap_err().id(), ErrorId::DatasetChanged, "those are of version 3");

    // What the vault knows of it is put into questions about it.
    let asked = |version: &Reference| {
        let what = format!(r#""action":"open","resource":"{version}""#);
        let text = format!(r#"{{"principal":"workload:default/job",{what}}}"#);
        f.vault.explain_policy(&f.caller(), Scenario::parse(&text).unwrap()).unwrap().policies
    };
    let unsigned = f.seal(&files(), None).unwrap();
    assert_eq!((asked(&version), asked(&unsigned)), (Vec::new(), vec![RULE.to_owned()]));
}

#[test]
fn images_count_together_as_they_are_signed() {
    let f = Fixture::new();
    let mut members: Members = vec![
        (".hidden.png", b"1".to_vec()),
        ("a.b/1.tar.png", b"2".to_vec()),
        ("a/1.JPG", b"3".to_vec()),
        ("labels.csv", b"file,label\n1.JPG,cat\n".to_vec()),
        ("z.gif", Vec::new()),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in &members {
        std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(path), bytes).unwrap();
    }
    let folder = Folder::find(dir.path(), Ignored::default(), None).unwrap();
    let schema = folder.survey(1).unwrap();
    let mut follow = |_: &str, _: &[Sha256], _: &[RecordKey]| Ok(());
    let files = folder.measure(&schema, None, 1, &mut follow, &|_| ()).unwrap();
    assert_eq!(files.iter().map(|file| &*file.path).collect::<Vec<_>>(), ["images", "labels.csv"]);
    let attribution = Attribution::default();
    let statement = DatasetStatement { schema, files, attribution, ..f.statement(&Vec::new()) };
    members.push(("dataset.tree/images/tile/0/000.p/4", b"hashes".to_vec()));
    let members = with(members, &[bundle(&statement, &f.curator)]);
    let version = f.seal(&members, None).unwrap();
    assert_eq!(f.said(&version).len(), 1);
    f.seal_as("d", ArtifactKind::Dataset, &members, None, false).unwrap();
    let changes: [fn(&mut Members); 5] = [
        |m| m[2].1[0] ^= 1,
        |m| m[2].0 = "b/1.JPG",
        |m| drop(m.remove(0)),
        |m| m.push(("more.webp", b"4".to_vec())),
        |m| m.push(("images", b"5".to_vec())),
    ];
    for change in changes {
        let mut other = members.clone();
        change(&mut other);
        assert_eq!(f.seal(&other, None).unwrap_err().id(), ErrorId::DatasetChanged);
    }
}

#[test]
fn no_older_and_no_other_version_is_sealed_over_the_newest() {
    let f = Fixture::new();
    let over = |artifact: &str, members: &Members, allow: Option<&str>| {
        f.seal_as(artifact, ArtifactKind::Dataset, members, allow, true)
    };
    let refused = |artifact: &str, members: &Members, why: ErrorId| {
        let error = over(artifact, members, None).unwrap_err();
        assert_eq!(error.id(), why, "{error}");
        assert!(error.hint_text().unwrap_or_default().contains("--allow unsigned"), "{error:?}");
    };
    let v3 = f.statement(&files());
    let follows = |version: u64, previous: &DatasetStatement| {
        let previous = Some(sha256(previous.to_payload().as_bytes()));
        DatasetStatement { version, previous, ..f.statement(&files()) }
    };
    let signed = |statements: &[&DatasetStatement]| {
        let bundles: Vec<_> = statements.iter().map(|statement| bundle(statement, &f.curator)).collect();
        with(files(), &bundles)
    };
    let v4 = follows(4, &v3);
    let other = DatasetStatement { described: Described::default(), ..v4.clone() };
    let second = over("d", &signed(&[&v3]), None).and_then(|_| over("d", &signed(&[&v3, &v4]), None)).unwrap();
    assert!(over("d", &signed(&[&v4]), None).is_ok(), "the same once more");

    refused("d", &signed(&[&v3]), ErrorId::VersionRollback);
    refused("d", &signed(&[&other]), ErrorId::DatasetForked);
    refused("d", &signed(&[&follows(5, &other)]), ErrorId::DatasetForked);
    refused("d", &signed(&[&follows(6, &follows(5, &v4))]), ErrorId::DatasetForked);
    let resigned = DatasetStatement { created: f.clock.now(), ..v3.clone() };
    refused("d", &signed(&[&resigned]), ErrorId::VersionRollback);

    // Whoever says so seals it all the same, as what nothing is known of: the floor stays. So it does if the version is removed.
    let unknown = over("d", &signed(&[&v3]), Some("looked at by hand")).unwrap();
    assert!(f.said(&unknown).is_empty());
    f.vault.remove(&f.caller(), &second, false).unwrap();
    refused("d", &signed(&[&v3]), ErrorId::VersionRollback);

    // Another artifact is another line, as is another dataset.
    over("e", &signed(&[&v3]), None).unwrap();
    let named = DatasetStatement { name: "mails".into(), version: 1, previous: None, ..v3.clone() };
    over("d", &signed(&[&named]), None).unwrap();

    // What was signed with a stolen key is no floor once the key is revoked.
    let stolen = key(Algorithm::Ed25519);
    f.trust("insider", &stolen);
    let far = follows(1_000, &v4);
    let bundles = [&far].map(|statement| bundle(statement, &stolen));
    refused("d", &with(files(), &bundles), ErrorId::DatasetForked);
    over("f", &with(files(), &bundles), None).unwrap();
    refused("f", &signed(&[&v4]), ErrorId::VersionRollback);
    f.untrust("insider");
    over("f", &signed(&[&v4]), None).unwrap();
}

/// Four images, which are others from the opening on that has this number.
struct Restless {
    opened: AtomicUsize,
    change: usize,
}

struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn len(&self) -> std::io::Result<u64> {
        ReadAt::len(&self.0)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

impl Opened for Bytes {}

impl Tree for Restless {
    fn walk(&self, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        ["a/0.png", "a/1.png", "b/2.png", "b/3.png"].iter().try_for_each(|path| each(path, 40))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn Opened>> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let end = if number < self.change { path.repeat(8) } else { "another!".repeat(8) };
        Ok(Arc::new(Bytes([&b"\x89PNG\r\n\x1a\n"[..], &end.as_bytes()[..32]].concat())))
    }
}

#[test]
fn a_report_is_about_the_images_that_were_decoded() {
    let scanned = |change: usize| {
        let tree = Restless { opened: AtomicUsize::new(0), change };
        let folder = Folder::of(Box::new(tree), None).unwrap();
        detect::scan(&folder, None, None, &detect::Settings::default(), 2, &|_| ())
    };
    let report = scanned(usize::MAX).unwrap();
    let folder = Folder::of(Box::new(Restless { opened: AtomicUsize::new(0), change: usize::MAX }), None).unwrap();
    let nobody = &mut |_: &str, _: &[Sha256], _: &[RecordKey]| Ok(());
    let signed = folder.measure(&Schema::Files, None, 2, nobody, &|_| ()).unwrap();
    assert_eq!((report.files[0].sha256, report.files[0].records), (signed[0].sha256, 4), "as it is signed");
    assert!(report.detectors.iter().any(|ran| ran.passes > 0));
    // The first pass opens each of them once.
    assert_eq!(scanned(4).unwrap_err().id(), ErrorId::SourceChanged);
}
