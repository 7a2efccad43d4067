//! Promises about holds and alert rules, through the facade: who is suspended gets nothing more, what a rule did can be undone, and
//! all of it is on record.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use model_vault::crypto::random::SystemRandom;
use model_vault::marks::MarksChange;
use model_vault::names::{ArtifactKind, Clock, Name, Principal, Random, Reference, Timestamp};
use model_vault::settings::SettingKind;
use model_vault::telemetry::Page;
use model_vault::vault::{
    Caller, Channel, HoldSpec, HoldTarget, ImportInput, ImportSource, InitSpec, Machine, RootCredential, SealInput,
    SealMember, Sealing, Transport, Vault,
};
use model_vault::{Error, ErrorId, Result};

/// A clock that the test moves on.
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Randomness that a test lets fail.
#[derive(Default)]
struct Flaky(AtomicBool);

impl Random for Flaky {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorId::IoError, "no randomness"));
        }
        SystemRandom.fill(bytes)
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    vault: Arc<Vault>,
    clock: Arc<Hands>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hands(AtomicI64::new(1_795_392_000_000)));
        let machine = Machine { clock: clock.clone(), ..Machine::default() };
        let key = InitSpec::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::init(&dir.path().join("home"), key, machine).unwrap());
        Self { dir, vault, clock }
    }

    fn reopen(self) -> Self {
        let Self { dir, vault, clock } = self;
        drop(vault);
        let machine = Machine { clock: clock.clone(), ..Machine::default() };
        let key = RootCredential::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::unlock(&dir.path().join("home"), Some(key), machine).unwrap());
        Self { dir, vault, clock }
    }

    fn step(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    fn caller(&self) -> Caller {
        self.vault.local_caller().unwrap()
    }

    fn seal(&self, name: &str, bytes: usize) {
        let reference: Reference = name.parse().unwrap();
        let sealing = Sealing {
            members: vec![SealMember { path: "w".into(), source: Box::new(vec![7u8; bytes]) }],
            kind: ArtifactKind::Model,
            sha256: true,
            sequential: false,
            signer: None,
            allow_unsigned: None,
            progress: Box::new(|_| {}),
        };
        let input = SealInput { namespace: reference.namespace, name: reference.name, tag: None, sealing };
        self.vault.seal(&self.caller(), input).unwrap();
    }

    /// An enrolled workload with a grant.
    fn workload(&self, name: &str, granted: &str) -> Caller {
        let (namespace, name): (Name, Name) = ("default".parse().unwrap(), name.parse().unwrap());
        let (_key, csr) = model_vault::identity::new_key_and_csr(&name).unwrap();
        let issued = self.vault.enroll(&self.caller(), &namespace, &name, &csr).unwrap();
        let peer = model_vault::identity::PeerCertificate::parse(&issued.certificate).unwrap();
        let artifact = granted.parse().unwrap();
        self.vault.grant(&self.caller(), &namespace, &name, (&namespace, &artifact)).unwrap();
        let channel = Channel {
            transport: Transport::Mtls,
            tls_group: None,
            peer: Some("10.0.0.7:4711".into()),
            certificate: Some((peer.serial.0.to_vec(), peer.spki_sha256)),
        };
        Caller { principal: peer.principal(), channel, ..self.caller() }
    }

    fn read(&self, caller: &Caller, name: &str) -> Result<()> {
        let open =
            self.vault.open(&Caller { request_id: self.caller().request_id, ..caller.clone() }, &name.parse()?)?;
        let mut piece = vec![0; 1000];
        open.read(0, 0, &mut piece, false)?;
        open.finish(1000, "complete")
    }

    fn hold(&self, target: HoldTarget, kind: &str, lasts: Option<Duration>) -> Result<()> {
        let spec = HoldSpec { target, kind: kind.into(), reason: "a test".into(), lasts };
        self.vault.quarantine(&self.caller(), &spec).map(drop)
    }

    fn acts(&self, act: &str) -> Vec<String> {
        let rows = self.vault.audit_rows(&self.caller(), 1, 1000).unwrap();
        let text = rows.into_iter().map(|(_, row)| String::from_utf8(row).unwrap());
        text.filter(|row| row.contains(&format!("\"act\":\"{act}\""))).collect()
    }

    /// An operator who is not the owner, from this address.
    fn person(&self, peer: &str) -> Caller {
        let channel = Channel { transport: Transport::Unix, peer: Some(peer.into()), ..Channel::local() };
        Caller { principal: Principal::unix_operator(4711), channel, ..self.caller() }
    }

    /// Reads all of it, over a week.
    fn habit(&self, caller: &Caller, name: &str) {
        for _ in 0..7 {
            for _ in 0..5 {
                let again = Caller { request_id: self.caller().request_id, ..caller.clone() };
                self.read(&again, name).unwrap();
            }
            self.step(86_400);
        }
    }

    /// A number of the page for Prometheus.
    fn number(&self, series: &str) -> u64 {
        let mut page = Page::default();
        self.vault.metrics().write(&mut page);
        let page = page.finish();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series}: {page}")).parse().unwrap()
    }

    fn rules(&self, text: &str) {
        self.vault.change_setting(&self.caller(), SettingKind::Alerts, text, None).unwrap();
    }
}

fn principal(caller: &Caller) -> HoldTarget {
    HoldTarget::Principal(caller.principal.to_string())
}

#[test]
fn a_suspended_principal_loses_its_open_stream_at_the_next_segment_and_release_gives_all_back() {
    let fixture = Fixture::new();
    fixture.seal("m", 4 << 20);
    let serve = fixture.workload("serve", "m");
    let open = fixture.vault.open(&serve, &"m".parse().unwrap()).unwrap();
    let mut piece = vec![0; 1 << 20];
    open.read(0, 0, &mut piece, false).unwrap();
    fixture.hold(principal(&serve), "suspend", None).unwrap();
    let cut = open.read(0, 1 << 20, &mut piece, false).unwrap_err();
    assert_eq!(cut.id(), ErrorId::OnHold);
    assert!(cut.message().contains("is suspended: a test"), "{cut}");
    drop(open);
    let refused = fixture.read(&serve, "m").unwrap_err();
    assert!(refused.id() == ErrorId::OnHold && refused.message().contains("suspended"), "{refused}");
    // Another is not touched, a restart forgets nothing, and it is undone.
    let other = fixture.workload("other", "m");
    fixture.read(&other, "m").unwrap();
    let fixture = fixture.reopen();
    assert_eq!(fixture.read(&serve, "m").unwrap_err().id(), ErrorId::OnHold);
    assert_eq!(fixture.vault.list_holds(&fixture.caller()).unwrap().len(), 1);
    assert_eq!(fixture.vault.release_hold(&fixture.caller(), &principal(&serve)).unwrap(), 1);
    fixture.read(&serve, "m").unwrap();
    assert_eq!(fixture.vault.release_hold(&fixture.caller(), &principal(&serve)).unwrap_err().id(), ErrorId::NotFound);
    assert_eq!(fixture.acts("hold.place").len(), 1);
    assert!(fixture.acts("hold.release")[0].contains("principal:workload default/serve"));
}

#[test]
fn an_artifact_in_quarantine_goes_to_nobody_and_can_still_be_checked() {
    let fixture = Fixture::new();
    fixture.seal("m", 4 << 20);
    fixture.seal("m", 3 << 20);
    let serve = fixture.workload("serve", "m");
    let open = fixture.vault.open(&serve, &"m@v2".parse().unwrap()).unwrap();
    fixture.hold(HoldTarget::parse("artifact", "m@v2").unwrap(), "suspend", None).unwrap();
    let mut piece = vec![0; 1 << 20];
    assert_eq!(open.read(0, 0, &mut piece, false).unwrap_err().id(), ErrorId::OnHold);
    drop(open);
    for caller in [&serve, &fixture.caller()] {
        let refused = fixture.read(caller, "m@v2").unwrap_err();
        assert!(refused.id() == ErrorId::OnHold && refused.message().contains("quarantine"), "{refused}");
        fixture.read(caller, "m@v1").unwrap();
    }
    fixture.vault.verify(&fixture.caller(), &"m@v2".parse().unwrap()).unwrap();
    assert_eq!(fixture.vault.export(&fixture.caller(), &"m@v2".parse().unwrap()).err().unwrap().id(), ErrorId::OnHold);
    fixture.hold(HoldTarget::parse("artifact", "m").unwrap(), "suspend", None).unwrap();
    assert_eq!(fixture.read(&serve, "m@v1").unwrap_err().id(), ErrorId::OnHold);
    fixture.vault.release_hold(&fixture.caller(), &HoldTarget::parse("artifact", "m").unwrap()).unwrap();
    fixture.read(&serve, "m@v1").unwrap();
}

#[test]
fn an_artifact_or_version_that_is_not_there_is_not_held() {
    let fixture = Fixture::new();
    fixture.seal("m", 1000);
    for nothing in ["nosuch", "nosuch@v1", "nowhere/m", "m@v2", "m@v18446744073709551615"] {
        let refused = fixture.hold(HoldTarget::parse("artifact", nothing).unwrap(), "suspend", None).unwrap_err();
        assert_eq!((refused.id(), refused.hint_text()), (ErrorId::NotFound, Some("vault ls shows what there is")));
    }
    assert!(fixture.vault.list_holds(&fixture.caller()).unwrap().is_empty());
    fixture.hold(HoldTarget::parse("artifact", "m@v1").unwrap(), "suspend", None).unwrap();
}

#[test]
fn holds_end_by_themselves_and_throttled_principals_get_little_a_minute() {
    let fixture = Fixture::new();
    fixture.seal("m", 66 << 20);
    let serve = fixture.workload("serve", "m");
    fixture.hold(principal(&serve), "suspend", Some(Duration::from_secs(60))).unwrap();
    assert_eq!(fixture.read(&serve, "m").unwrap_err().id(), ErrorId::OnHold);
    fixture.step(61);
    fixture.read(&serve, "m").unwrap();

    fixture.hold(principal(&serve), "throttle", None).unwrap();
    let open = fixture.vault.open(&serve, &"m".parse().unwrap()).unwrap();
    let mut piece = vec![0; 1 << 20];
    let until = (0..66).find(|i| open.read(0, i << 20, &mut piece, false).is_err()).unwrap();
    assert!((60..=64).contains(&until), "{until} MiB");
    let refused = open.read(0, until << 20, &mut piece, false).unwrap_err();
    assert_eq!(refused.id(), ErrorId::QuotaExceeded);
    assert!(refused.retry_after_hint().is_some_and(|after| after <= Duration::from_secs(60)));
    fixture.step(61);
    open.read(0, until << 20, &mut piece, false).unwrap();
}

#[test]
fn a_workload_that_is_asked_for_a_second_factor_is_refused_and_the_owner_is_never_held() {
    let fixture = Fixture::new();
    fixture.seal("m", 4 << 20);
    let serve = fixture.workload("serve", "m");
    fixture.hold(principal(&serve), "step-up", None).unwrap();
    assert_eq!(fixture.read(&serve, "m").unwrap_err().id(), ErrorId::OnHold);
    for owner in [Principal::local_operator(fixture.vault.owner_uid()), Principal::unix_operator(0)] {
        let refused = fixture.hold(HoldTarget::Principal(owner.to_string()), "suspend", None).unwrap_err();
        assert_eq!(refused.id(), ErrorId::InvalidArgument, "{refused}");
    }
    let bad = fixture.hold(HoldTarget::parse("artifact", "m").unwrap(), "throttle", None).unwrap_err();
    assert_eq!(bad.id(), ErrorId::InvalidArgument);
    // A workload may neither place nor release nor look.
    let spec = HoldSpec { target: principal(&serve), kind: "suspend".into(), reason: String::new(), lasts: None };
    let other = fixture.workload("other", "m");
    assert_eq!(fixture.vault.quarantine(&other, &spec).unwrap_err().id(), ErrorId::Denied);
    assert_eq!(fixture.vault.release_hold(&other, &spec.target).unwrap_err().id(), ErrorId::Denied);
    assert_eq!(fixture.vault.list_holds(&other).unwrap_err().id(), ErrorId::Denied);
}

const STRICT: &str = "learn-days = 0\n[rule.denied-burst]\naction = \"suspend\"\nhold-minutes = 60\n";

#[test]
fn a_rule_suspends_a_prober_on_record_cuts_its_stream_and_can_be_undone() {
    let fixture = Fixture::new();
    fixture.seal("m", 4 << 20);
    fixture.rules(STRICT);
    assert!(fixture.vault.watch().unwrap().is_empty());
    let serve = fixture.workload("serve", "m");
    let open = fixture.vault.open(&serve, &"m".parse().unwrap()).unwrap();
    let mut piece = vec![0; 1 << 20];
    open.read(0, 0, &mut piece, false).unwrap();
    for guess in 0..5 {
        assert_eq!(fixture.read(&serve, &format!("guess-{guess}")).unwrap_err().id(), ErrorId::NotFound);
    }
    let raised = fixture.vault.watch().unwrap();
    assert_eq!(raised.len(), 1, "{raised:?}");
    assert!(raised[0].held && raised[0].alert.rule.as_str() == "denied-burst");
    assert_eq!(open.read(0, 1 << 20, &mut piece, false).unwrap_err().id(), ErrorId::OnHold);
    assert_eq!(fixture.read(&serve, "m").unwrap_err().id(), ErrorId::OnHold);
    let alert = &fixture.acts("alert.raise")[0];
    assert!(alert.contains("denied-burst") && alert.contains("workload default/serve"), "{alert}");
    let placed = &fixture.acts("hold.place")[0];
    assert!(placed.contains(r#""rule":"denied-burst""#) && placed.contains(r#""subject":"watch""#), "{placed}");
    let held = fixture.vault.list_holds(&fixture.caller()).unwrap();
    assert_eq!((held.len(), held[0].rule.as_deref()), (1, Some("denied-burst")));
    assert!(held[0].until.is_some());
    fixture.vault.release_hold(&fixture.caller(), &principal(&serve)).unwrap();
    fixture.read(&serve, "m").unwrap();
    drop(open);
    // Told of once, and not again for rows that were judged before a restart.
    assert!(fixture.vault.watch().unwrap().is_empty());
    let fixture = fixture.reopen();
    assert!(fixture.vault.watch().unwrap().is_empty());
    assert_eq!(fixture.acts("alert.raise").len(), 1);
}

#[test]
fn a_rule_never_suspends_the_owner_of_the_machine() {
    let fixture = Fixture::new();
    fixture.rules(STRICT);
    fixture.vault.watch().unwrap();
    for guess in 0..6 {
        assert_eq!(fixture.read(&fixture.caller(), &format!("guess-{guess}")).unwrap_err().id(), ErrorId::NotFound);
    }
    let raised = fixture.vault.watch().unwrap();
    assert_eq!(raised.iter().map(|r| r.held).collect::<Vec<_>>(), [false]);
    assert!(fixture.vault.list_holds(&fixture.caller()).unwrap().is_empty());
}

#[test]
fn callers_are_named_as_everywhere_else_and_what_names_nobody_is_refused() {
    for (typed, meant) in [
        ("serve", "workload default/serve"),
        ("prod/serve", "workload prod/serve"),
        ("workload:prod/serve", "workload prod/serve"),
        ("workload prod/serve", "workload prod/serve"),
        // As a workload that an issuer vouches for prints itself.
        ("prod/k8s:system:serviceaccount:ml:job", "workload prod/k8s:system:serviceaccount:ml:job"),
        ("operator:unix:uid:1000", "operator unix:uid:1000"),
        ("operator corp:eve", "operator corp:eve"),
    ] {
        assert_eq!(HoldTarget::parse("principal", typed).unwrap(), HoldTarget::Principal(meant.into()), "{typed}");
    }
    for nobody in ["corp:eve", "k8s:job:1", "operator:eve", "workload:serve", ""] {
        assert!(HoldTarget::parse("principal", nobody).is_err(), "{nobody:?}");
    }
}

#[test]
fn what_is_in_quarantine_does_not_come_back_under_another_name() {
    let fixture = Fixture::new();
    fixture.seal("m", 10_000);
    let mut export = fixture.vault.export(&fixture.caller(), &"m".parse().unwrap()).unwrap();
    let mut bytes = vec![0; usize::try_from(export.size()).unwrap()];
    export.read(0, &mut bytes).unwrap();
    export.finish(bytes.len() as u64, &Ok(())).unwrap();
    let import = |name: &str| {
        let input = ImportInput {
            namespace: "default".parse().unwrap(),
            name: name.parse().unwrap(),
            tag: None,
            source: ImportSource::File(Box::new(bytes.clone())),
            credential: None,
            progress: Box::new(|_| {}),
        };
        fixture.vault.import(&fixture.caller(), input).map(drop)
    };
    import("before").unwrap();
    let artifact = HoldTarget::parse("artifact", "m").unwrap();
    fixture.hold(artifact, "suspend", None).unwrap();
    assert_eq!(import("after").unwrap_err().id(), ErrorId::OnHold);
    assert_eq!(fixture.read(&fixture.caller(), "after").unwrap_err().id(), ErrorId::NotFound);
}

#[test]
fn nobody_releases_what_holds_them_and_no_hold_is_for_ever_by_accident() {
    let fixture = Fixture::new();
    let corp = Principal::unix_operator(4711);
    let eve = || Caller { principal: corp.clone(), ..fixture.caller() };
    let text = fixture.vault.policy(&fixture.caller()).unwrap().text;
    let admins = "@id(\"corp\") permit (principal is ModelVault::Operator, action, resource);";
    fixture.vault.set_policy(&fixture.caller(), &format!("{text}{admins}")).unwrap();
    fixture.hold(principal(&eve()), "throttle", None).unwrap();
    assert_ne!(fixture.vault.release_hold(&eve(), &principal(&eve())).unwrap_err().id(), ErrorId::NotFound);
    assert_eq!(fixture.vault.list_holds(&fixture.caller()).unwrap().len(), 1);
    fixture.vault.release_hold(&fixture.caller(), &principal(&eve())).unwrap();
    let long = fixture.hold(principal(&eve()), "suspend", Some(Duration::from_secs(u64::MAX)));
    assert_eq!(long.unwrap_err().id(), ErrorId::InvalidArgument);
    fixture.vault.list_holds(&fixture.caller()).unwrap();
}

/// A network that a principal never read from, and nothing else.
const NEW_ADDRESS: &str = "learn-days = 0\n[rule.first-seen]\nenabled = false\n[rule.off-hours]\nenabled = false\n";

#[test]
fn what_was_learned_outlives_a_restart_and_little_is_read_again() {
    let fixture = Fixture::new();
    fixture.seal("m", 1000);
    fixture.rules(NEW_ADDRESS);
    fixture.vault.watch().unwrap();
    fixture.habit(&fixture.person("10.0.0.7:4711"), "m");
    assert!(fixture.vault.watch().unwrap().is_empty());
    let read = fixture.number("modelvault_alert_rows_total");
    fixture.vault.end_watching();
    let snapshot = fixture.dir.path().join("home/watch.snapshot");
    assert!(std::fs::metadata(&snapshot).unwrap().len() < 200_000);
    let kept = std::fs::read(&snapshot).unwrap();
    assert!(!String::from_utf8_lossy(&kept).contains("uid:4711"), "it is sealed");
    let fixture = fixture.reopen();
    fixture.read(&fixture.person("192.0.2.9:4711"), "m").unwrap();
    let raised = fixture.vault.watch().unwrap();
    assert_eq!(raised.iter().map(|r| r.alert.rule.as_str()).collect::<Vec<_>>(), ["new-address"]);
    let again = fixture.number("modelvault_alert_rows_total");
    assert!(read > 70 && again < 10, "{read} {again}");
    assert_eq!(fixture.number("modelvault_alerts_total{rule=\"new-address\"}"), 1);
    // Whoever can write to the home makes it learn anew, and no more.
    let mut flipped = kept.clone();
    flipped[kept.len() / 2] ^= 1;
    let mut fixture = fixture;
    for (nth, damaged) in [flipped, kept[..20].to_vec(), vec![0; 100], Vec::new()].into_iter().enumerate() {
        std::fs::write(&snapshot, damaged).unwrap();
        fixture = fixture.reopen();
        fixture.step(86_400);
        fixture.read(&fixture.person(&format!("198.{}.100.9:4711", 18 + nth)), "m").unwrap();
        assert_eq!(fixture.vault.watch().unwrap().len(), 1, "it learned from the log");
        assert!(fixture.number("modelvault_alert_rows_total") > read);
    }
}

#[test]
fn what_fails_between_rows_loses_no_alert_and_no_hold_and_raises_none_twice() {
    let fixture = Fixture::new();
    let flaky = Arc::new(Flaky::default());
    let Fixture { dir, vault, clock } = fixture;
    drop(vault);
    let machine = Machine { clock: clock.clone(), random: flaky.clone() };
    let key = RootCredential::KeyFile(dir.path().join("root.key"));
    let vault = Arc::new(Vault::unlock(&dir.path().join("home"), Some(key), machine).unwrap());
    let fixture = Fixture { dir, vault, clock };
    fixture.seal("m", 1000);
    fixture.rules(STRICT);
    fixture.vault.watch().unwrap();
    let serve = fixture.workload("serve", "m");
    for guess in 0..5 {
        fixture.read(&serve, &format!("guess-{guess}")).unwrap_err();
    }
    // Before the row of the alert.
    flaky.0.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(fixture.vault.watch().unwrap_err().id(), ErrorId::IoError);
    }
    flaky.0.store(false, Ordering::Relaxed);
    // Between that row and the hold.
    let db = rusqlite::Connection::open(fixture.dir.path().join("home/catalogue.db")).unwrap();
    db.execute_batch("CREATE TRIGGER t BEFORE INSERT ON holds BEGIN SELECT no_such_function(); END").unwrap();
    for _ in 0..3 {
        fixture.vault.watch().unwrap_err();
    }
    db.execute_batch("DROP TRIGGER t").unwrap();
    drop(db);
    let raised = fixture.vault.watch().unwrap();
    assert_eq!((raised.len(), raised[0].held), (1, true), "{raised:?}");
    assert_eq!((fixture.acts("alert.raise").len(), fixture.acts("hold.place").len()), (1, 1));
    // A process that dies with an alert that is not on record: the next one judges the rows again.
    fixture.vault.release_hold(&fixture.caller(), &principal(&serve)).unwrap();
    fixture.step(3 * 3600);
    for guess in 0..5 {
        fixture.read(&serve, &format!("other-{guess}")).unwrap_err();
    }
    flaky.0.store(true, Ordering::Relaxed);
    fixture.vault.watch().unwrap_err();
    fixture.vault.end_watching();
    flaky.0.store(false, Ordering::Relaxed);
    let fixture = fixture.reopen();
    assert_eq!(fixture.vault.watch().unwrap().len(), 1);
    assert_eq!((fixture.acts("alert.raise").len(), fixture.acts("hold.place").len()), (2, 2));
}

#[test]
fn an_artifact_with_the_label_sensitive_is_sensitive() {
    let fixture = Fixture::new();
    fixture.rules("learn-days = 0\nsensitive = [\"prod/secret-*\"]\n");
    fixture.vault.watch().unwrap();
    for (name, told) in [("plain", 0), ("marked", 1)] {
        fixture.seal(name, 1000);
        if told == 1 {
            let change = MarksChange { add: ["sensitive".parse().unwrap()].into(), ..MarksChange::default() };
            fixture.vault.mark(&fixture.caller(), &name.parse().unwrap(), change).unwrap();
        }
        // What was announced is long past; no single row moves the watcher's time by more than a day.
        for _ in 0..9 {
            fixture.step(86_400);
            fixture.vault.status(&fixture.caller()).unwrap();
        }
        fixture.read(&fixture.person("10.0.0.7:4711"), name).unwrap();
        assert_eq!(fixture.vault.watch().unwrap().len(), told, "{name}");
    }
}
