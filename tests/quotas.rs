//! Promises of quotas, through the facade: nobody gets more, nothing refills them but time, and refusals are on record.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use model_vault::names::{ArtifactKind, Clock, Principal, Reference, SystemClock, Timestamp};
use model_vault::settings::SettingKind;
use model_vault::vault::{
    Caller, Channel, InitSpec, Machine, RootCredential, SealInput, SealMember, Sealing, Transport, Vault,
};
use model_vault::{Error, ErrorId, Result};

const MIB: u64 = 1 << 20;

/// A machine whose wall clock and running time a test sets, each for itself.
struct Hands(Mutex<(Timestamp, Duration)>);

impl Hands {
    fn wall(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap();
        now.0 = Timestamp::from_millis(now.0.as_millis() + seconds * 1000);
    }

    fn run(&self, seconds: u64) {
        self.0.lock().unwrap().1 += Duration::from_secs(seconds);
        self.wall(seconds as i64);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    fn running(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    vault: Arc<Vault>,
    hands: Arc<Hands>,
}

impl Fixture {
    /// With an artifact `m` of so many bytes, and these rules for operators.
    fn new(size: u64, limits: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hands = Arc::new(Hands(Mutex::new((SystemClock.now(), Duration::from_secs(5000)))));
        let machine = Machine { clock: hands.clone(), ..Machine::default() };
        let key = InitSpec::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::init(&dir.path().join("home"), key, machine).unwrap());
        let fixture = Self { dir, vault, hands };
        let members = vec![SealMember { path: "w".into(), source: Box::new(vec![7_u8; size as usize]) }];
        let sealing = Sealing {
            members,
            kind: ArtifactKind::Model,
            sha256: false,
            sequential: false,
            signer: None,
            allow_unsigned: None,
            progress: Box::new(|_| {}),
        };
        let m: Reference = "m".parse().unwrap();
        let input = SealInput { namespace: m.namespace, name: m.name, tag: None, sealing };
        fixture.vault.seal(&fixture.caller(), input).unwrap();
        fixture.rules(limits);
        fixture
    }

    fn rules(&self, limits: &str) {
        let text = format!("[[quota]]\nid = \"q\"\nwhom = \"operator:*\"\n{limits}\n");
        self.vault.change_setting(&self.caller(), SettingKind::Quotas, &text, None).unwrap();
    }

    fn caller(&self) -> Caller {
        self.vault.local_caller().unwrap()
    }

    /// Reads `from..from + len` in pieces; what was had, and why there was no more.
    fn read(&self, from: u64, len: u64) -> (u64, Option<Error>) {
        let open = match self.vault.open(&self.caller(), &"m".parse().unwrap()) {
            Ok(open) => open,
            Err(e) => return (0, Some(e)),
        };
        let (mut had, mut piece) = (0, vec![0; MIB as usize]);
        while had < len {
            let step = MIB.min(len - had);
            match open.read(0, from + had, &mut piece[..step as usize], true) {
                Ok(()) => had += step,
                Err(e) => {
                    open.finish(had, e.id().name()).unwrap();
                    return (had, Some(e));
                }
            }
        }
        open.finish(had, "complete").unwrap();
        (had, None)
    }

    /// Another process goes on.
    fn reopen(self) -> Self {
        let Self { dir, vault, hands } = self;
        drop(vault);
        let key = RootCredential::KeyFile(dir.path().join("root.key"));
        let machine = Machine { clock: hands.clone(), ..Machine::default() };
        let vault = Arc::new(Vault::unlock(&dir.path().join("home"), Some(key), machine).unwrap());
        Self { dir, vault, hands }
    }

    fn rows(&self, with: &str) -> Vec<String> {
        let rows = self.vault.audit_rows(&self.caller(), 1, 1000).unwrap();
        let rows = rows.into_iter().map(|(_, row)| String::from_utf8(row).unwrap());
        rows.filter(|row| row.contains(with)).collect()
    }
}

fn refused(outcome: (u64, Option<Error>)) -> Error {
    let error = outcome.1.expect("it was refused");
    assert_eq!(error.id(), ErrorId::QuotaExceeded, "{error}");
    assert!(error.retry_after_hint().is_some(), "{error}");
    error
}

#[test]
fn a_hundred_threads_on_one_quota_get_no_more_than_a_segment_over() {
    let fixture = Fixture::new(8 * MIB, "bytes_per_hour = \"40 MiB\"");
    let (had, ready) = (AtomicU64::new(0), Barrier::new(100));
    std::thread::scope(|threads| {
        for i in 0..100 {
            let (fixture, had, ready) = (&fixture, &had, &ready);
            threads.spawn(move || {
                ready.wait();
                let (got, why) = fixture.read(0, 1 + (i % 8) * MIB);
                had.fetch_add(got, Ordering::SeqCst);
                assert!(why.is_none_or(|e| e.id() == ErrorId::QuotaExceeded));
            });
        }
    });
    // What was kept from some by others that did not need it came back: the next ones get all of it, and no more.
    let mut had = had.into_inner();
    assert!(had <= 41 * MIB, "{had}");
    while let (got @ 1.., _) = fixture.read(0, 8 * MIB) {
        had += got;
    }
    assert!((40 * MIB..=41 * MIB).contains(&had), "{had}");
}

#[test]
fn what_was_used_outlives_the_process_and_only_running_time_gives_it_back() {
    let fixture = Fixture::new(8 * MIB, "bytes_per_hour = \"8 MiB\"");
    assert_eq!(fixture.read(0, 6 * MIB).0, 6 * MIB);
    let fixture = fixture.reopen();
    assert_eq!(fixture.read(0, 2 * MIB).0, 2 * MIB);
    let error = refused(fixture.read(0, MIB));
    assert!(error.message().contains("quota q") && error.message().contains("8 MiB in an hour"), "{error}");
    for step in [3600, -7200, 90_000, -90_000, 3600] {
        fixture.hands.wall(step);
        refused(fixture.read(0, 1));
    }
    let fixture = fixture.reopen();
    refused(fixture.read(0, 1));
    fixture.hands.run(3000);
    let error = refused(fixture.read(0, 1));
    let wait = error.retry_after_hint().unwrap();
    assert!(wait > Duration::from_secs(500) && wait < Duration::from_secs(720), "{wait:?}");
    fixture.hands.run(wait.as_secs() + 1);
    assert!(fixture.read(0, MIB).1.is_none(), "as it was told");
}

#[test]
fn a_stream_that_uses_up_its_quota_ends_there_and_both_are_on_record() {
    let fixture = Fixture::new(8 * MIB, "bytes_per_hour = \"3 MiB\"");
    let (had, why) = fixture.read(0, 8 * MIB);
    assert_eq!(had, 3 * MIB);
    refused((had, why));
    let told = fixture.rows("\"quota.refused\"");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("\"q\"") && told[0].contains("bytes_per_hour") && told[0].contains("default"), "{told:?}");
    let ends = fixture.rows("\"artifact.fetch.end\"");
    assert!(ends.last().unwrap().contains("QuotaExceeded") && ends.last().unwrap().contains("3145728"), "{ends:?}");
}

#[test]
fn slow_extraction_by_many_small_ranges_ends_at_the_budget() {
    let fixture = Fixture::new(4 * MIB, "full_reads_per_day = 0.5");
    let (mut had, step) = (0, 50_000);
    let mut why = None;
    for i in 0..1000 {
        // Unhurried, over and over, and never the same place twice in a row.
        fixture.hands.run(30);
        let (got, error) = fixture.read(i * 7919 * 13 % (4 * MIB - step), step);
        had += got;
        why = error;
        if why.is_some() {
            break;
        }
    }
    assert!((2 * MIB - step..=3 * MIB).contains(&had), "{had}");
    let error = refused((had, why));
    assert!(error.message().contains("0.5 full reads in a day"), "{error}");
    fixture.hands.run(2 * 86_400);
    assert!(fixture.read(0, step).1.is_none());
}

#[test]
fn concurrent_streams_are_limited_and_a_place_is_free_when_one_ends() {
    let fixture = Fixture::new(MIB, "streams = 2\nrequests_per_minute = 3\nburst = 2");
    let open = || fixture.vault.open(&fixture.caller(), &"m".parse().unwrap());
    let (one, _two) = (open().unwrap(), open().unwrap());
    assert_eq!(open().err().unwrap().id(), ErrorId::QuotaExceeded);
    one.finish(0, "complete").unwrap();
    let three = open().unwrap();
    drop(three);
    // Four of six were requests that were granted or met the limit of streams; two are left at once.
    let left = (0..10).take_while(|_| open().is_ok()).count();
    assert!(left <= 2, "{left}");
    fixture.hands.run(125);
    assert!(open().is_ok());
}

#[test]
fn a_hot_loop_of_refused_calls_costs_the_log_two_rows() {
    let fixture = Fixture::new(1000, "requests_per_minute = 5");
    fixture.hands.run(61);
    for _ in 0..2000 {
        let _ = fixture.vault.open(&fixture.caller(), &"m".parse().unwrap());
    }
    assert_eq!(fixture.rows("\"quota.refused\"").len(), 1);
    fixture.hands.run(61);
    fixture.vault.tick().unwrap();
    let told = fixture.rows("\"quota.refused\"");
    assert!(told.len() == 2 && told[1].contains("\"1994\""), "{told:?}");
}

#[test]
fn exports_count_and_a_policy_sees_the_bytes_of_today() {
    let fixture = Fixture::new(2 * MIB, "bytes_per_hour = \"1 GiB\"");
    let mut export = fixture.vault.export(&fixture.caller(), &"m".parse().unwrap()).unwrap();
    let mut bytes = vec![0; MIB as usize];
    export.read(0, &mut bytes).unwrap();
    export.finish(MIB, &Ok(())).unwrap();
    let used = fixture.vault.quota_use(&fixture.caller(), "operator:*").unwrap();
    assert_eq!((used.callers[0].bytes_today, used.callers[0].limits[0].used), (MIB, MIB));
    let text = fixture.vault.policy(&fixture.caller()).unwrap().text;
    let forbid = "@id(\"enough\") forbid (principal, action == ModelVault::Action::\"open\", resource) \
                  when { context.bytes_today > 1500000 };";
    fixture.vault.set_policy(&fixture.caller(), &format!("{text}\n{forbid}")).unwrap();
    assert!(fixture.read(0, MIB).1.is_none());
    let open = |f: &Fixture| -> Result<()> { f.vault.open(&f.caller(), &"m".parse()?).map(drop) };
    assert_eq!(open(&fixture).unwrap_err().id(), ErrorId::Denied);
    let fixture = fixture.reopen();
    assert_eq!(open(&fixture).unwrap_err().id(), ErrorId::Denied, "a restart gives nothing back");
}

#[test]
fn a_clock_that_is_set_back_or_stands_still_prolongs_no_lease() {
    let fixture = Fixture::new(1000, "lease_seconds = 60");
    let open = fixture.vault.open(&fixture.caller(), &"m".parse().unwrap()).unwrap();
    let renewals = || fixture.rows("\"lease.renew\"").len();
    let read = || open.read(0, 0, &mut [0], true);
    read().unwrap();
    assert_eq!(renewals(), 0, "half of it is left");
    // Little by little, and an hour at once: decided anew each time, for a minute from then on.
    for (decided, back) in [(1, 5), (2, 50), (3, 3600)] {
        fixture.hands.wall(-back);
        read().unwrap();
        read().unwrap();
        assert_eq!(renewals(), decided, "{back} s back");
        assert_eq!(open.expires().since(fixture.hands.now()), Duration::from_secs(60));
    }
    // An hour forth as well, and so where the time of day stands still while time passes.
    fixture.hands.wall(3600);
    read().unwrap();
    assert_eq!(renewals(), 4);
    fixture.hands.run(31);
    fixture.hands.wall(-31);
    read().unwrap();
    assert_eq!(renewals(), 5);
    // And what is decided anew is refused where nothing permits it any more.
    let policy = "@id(\"nobody\") forbid (principal, action == ModelVault::Action::\"open\", resource);";
    let text = fixture.vault.policy(&fixture.caller()).unwrap().text;
    fixture.vault.set_policy(&fixture.caller(), &format!("{text}\n{policy}")).unwrap();
    fixture.hands.wall(-50);
    assert_eq!(read().unwrap_err().id(), ErrorId::Denied);
}

#[test]
fn a_document_that_says_nothing_takes_nothing_away_unless_it_says_so() {
    let fixture = Fixture::new(1000, "bytes_per_hour = \"1 MiB\"");
    let set = |text: &str| fixture.vault.change_setting(&fixture.caller(), SettingKind::Quotas, text, None);
    let before = fixture.vault.read_setting(&fixture.caller(), SettingKind::Quotas).unwrap();
    for nothing in ["", "\n", "version = 1", "# nothing\nversion = 1\n", "version = 1 # none"] {
        assert_eq!(set(nothing).unwrap_err().id(), ErrorId::ConfigInvalid, "{nothing:?}");
        assert!(model_vault::vault::check_setting(SettingKind::Quotas, nothing).is_err(), "{nothing:?}");
    }
    assert_eq!(fixture.vault.read_setting(&fixture.caller(), SettingKind::Quotas).unwrap(), before);
    set("# none\n").unwrap();
}

#[test]
fn a_rule_shortens_the_lease_and_rules_that_make_no_sense_are_refused() {
    let fixture = Fixture::new(1000, "lease_seconds = 5");
    let open = fixture.vault.open(&fixture.caller(), &"m".parse().unwrap()).unwrap();
    assert_eq!(open.expires().since(fixture.hands.now()), Duration::from_secs(5));
    let set = |text: &str| fixture.vault.change_setting(&fixture.caller(), SettingKind::Quotas, text, None);
    // A shorter one holds for what runs, from its next read on.
    fixture.rules("lease_seconds = 2");
    open.read(0, 0, &mut [0], true).unwrap();
    assert_eq!(open.expires().since(fixture.hands.now()), Duration::from_secs(2));
    assert_eq!(fixture.rows("\"lease.renew\"").len(), 1);
    // A longer one is had when it is due, and nothing is written before.
    fixture.rules("lease_seconds = 9");
    open.read(0, 0, &mut [0], true).unwrap();
    assert_eq!(open.expires().since(fixture.hands.now()), Duration::from_secs(2));
    assert_eq!(fixture.rows("\"lease.renew\"").len(), 1);
    assert_eq!(set("[[quota]]\nid = \"x\"\nwhom = \"everybody\"").unwrap_err().id(), ErrorId::ConfigInvalid);
    assert_eq!(set("limits = 1").unwrap_err().id(), ErrorId::ConfigInvalid);
}

#[test]
fn a_row_of_an_account_that_was_altered_refuses_its_caller_and_no_other() {
    let fixture = Fixture::new(MIB, "bytes_per_hour = \"1 MiB\"");
    assert_eq!(fixture.read(0, MIB).0, MIB);
    let Fixture { dir, vault, hands } = fixture;
    drop(vault);
    // Somebody who can write files, but has no key.
    let db = rusqlite::Connection::open(dir.path().join("home/catalogue.db")).unwrap();
    assert!(db.execute("UPDATE usage SET account = x'0100000000' WHERE principal <> ''", []).unwrap() >= 2);
    drop(db);
    let key = RootCredential::KeyFile(dir.path().join("root.key"));
    let machine = Machine { clock: hands.clone(), ..Machine::default() };
    let vault = Arc::new(Vault::unlock(&dir.path().join("home"), Some(key), machine).unwrap());
    let fixture = Fixture { dir, vault, hands };
    assert_eq!(fixture.read(0, 1).1.unwrap().id(), ErrorId::CatalogueDamaged);
    let channel = Channel { transport: Transport::Unix, ..Channel::local() };
    let uid = fixture.vault.owner_uid();
    let other = || Caller { principal: Principal::unix_operator(uid), channel: channel.clone(), ..fixture.caller() };
    drop(fixture.vault.open(&other(), &"m".parse().unwrap()).unwrap());
    // An operator sets it back, on record; what was used before is forgotten then, and counts from there.
    let whom = format!("operator:local:uid:{uid}");
    assert!(fixture.vault.reset_quota(&other(), Some(&whom), None).unwrap() >= 2);
    assert_eq!(fixture.read(0, MIB).0, MIB);
    let row = fixture.rows("\"quota.reset\"").pop().unwrap();
    assert!(row.contains(&format!("operator local:uid:{uid}")) && row.contains("unix"), "{row}");
    refused(fixture.read(0, 1));
    let (namespace, name) = ("default".parse().unwrap(), "m".parse().unwrap());
    assert!(fixture.vault.reset_quota(&other(), Some(&whom), Some((&namespace, &name))).unwrap() >= 1);
    refused(fixture.read(0, 1));
    assert_eq!(fixture.vault.reset_quota(&other(), None, None).unwrap_err().id(), ErrorId::InvalidArgument);
    let nothing = fixture.vault.reset_quota(&other(), None, Some((&namespace, &"x".parse().unwrap()))).unwrap_err();
    assert_eq!(nothing.id(), ErrorId::NotFound);
    let nobody = fixture.vault.reset_quota(&other(), Some("workload:default/nobody"), None).unwrap_err();
    assert_eq!(nobody.id(), ErrorId::NotFound);
    assert!(fixture.vault.reset_quota(&fixture.caller(), Some(&whom), None).unwrap() >= 1);
    assert_eq!(fixture.read(0, MIB).0, MIB);
}

#[test]
fn every_call_is_counted_once_and_the_owner_keeps_the_way_back() {
    let fixture = Fixture::new(1000, "requests_per_minute = 10");
    let channel = Channel { transport: Transport::Unix, ..Channel::local() };
    let other = || Caller {
        principal: Principal::unix_operator(fixture.vault.owner_uid() + 1),
        channel: channel.clone(),
        ..fixture.caller()
    };
    type Call<'a> = &'a dyn Fn(&Caller) -> Result<()>;
    let calls: [Call<'_>; 5] = [
        &|caller| fixture.vault.open(caller, &"m".parse().unwrap())?.finish(0, "complete"),
        &|caller| fixture.vault.version(caller, &"m".parse().unwrap()).map(drop),
        &|caller| fixture.vault.whoami(caller).map(drop),
        &|caller| fixture.vault.workloads(caller).map(drop),
        &|caller| fixture.vault.policy(caller).map(drop),
    ];
    for call in calls.iter().chain(&calls) {
        call(&other()).unwrap();
    }
    for call in calls {
        assert_eq!(call(&other()).unwrap_err().id(), ErrorId::QuotaExceeded);
        call(&fixture.caller()).ok();
    }
    // Over the wire each call is one, whatever request id its caller gave it; within the vault clones of a caller are one call.
    let same = other();
    fixture.hands.run(61);
    for _ in 0..30 {
        fixture.vault.whoami(&same.clone()).unwrap();
    }
    for _ in 0..20 {
        fixture.vault.whoami(&fixture.caller()).unwrap();
    }
    refused(fixture.read(0, 1));
    fixture.rules("requests_per_minute = 1000");
    assert_eq!(fixture.read(0, 1).0, 1);
}

#[test]
fn use_is_asked_for_by_the_names_that_refusals_give() {
    let fixture = Fixture::new(1000, "requests_per_minute = 1000");
    fixture.read(0, 1);
    for nobody in ["workload:default/ci:repo:acme/train", "default/ci:repo:acme/train", "default/ci:*", "serve"] {
        assert!(fixture.vault.quota_use(&fixture.caller(), nobody).unwrap().callers.is_empty(), "{nobody}");
    }
    let of = |callers: &str| fixture.vault.quota_use(&fixture.caller(), callers).unwrap().callers.len();
    assert_eq!(of(&format!("operator:local:uid:{}", fixture.vault.owner_uid())), 1);
    assert_eq!(fixture.vault.quota_use(&fixture.caller(), "ci:x").unwrap_err().id(), ErrorId::InvalidArgument);
}
