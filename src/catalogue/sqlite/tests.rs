//! The contract on SQLite, and what is only true of it: altered files, old and new schemas, groups, deadlines, scrubbing.

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::super::contract::{
    SUITE, StepClock, facts, key_row, name, of_moves, prod, publish, reservation, reserve, statement,
};
use super::rows::Row as _;
use super::*;
use crate::crypto::random::SystemRandom;
use crate::error::ErrorId;

struct Home {
    dir: tempfile::TempDir,
    clock: Arc<StepClock>,
}

impl Home {
    fn new() -> (Self, SqliteCatalogue) {
        let home = Self { dir: tempfile::tempdir().unwrap(), clock: Arc::new(StepClock::new()) };
        let catalogue = SqliteCatalogue::create(home.path(), key(1), home.clock.clone(), &SystemRandom).unwrap();
        (home, catalogue)
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn open(&self) -> Result<SqliteCatalogue> {
        SqliteCatalogue::open(self.path(), key(1), self.clock.clone())
    }

    /// Changes a closed database as somebody with a text editor would.
    fn edit(&self, file: &str, sql: &str) {
        let conn = Connection::open(self.path().join(file)).unwrap();
        conn.execute_batch(sql).unwrap();
    }

    /// Whether any file of the keys database holds these bytes.
    fn keys_contain(&self, needle: &[u8]) -> bool {
        ["keys.db", "keys.db-wal", "keys.db-shm"].iter().any(|file| {
            let bytes = std::fs::read(self.path().join(file)).unwrap_or_default();
            bytes.windows(needle.len()).any(|w| w == needle)
        })
    }
}

fn key(fill: u8) -> Key<CatalogueKey> {
    Key::take(&mut [fill; 32])
}

fn id_of(e: CatalogueError) -> ErrorId {
    crate::error::Error::from(e).id()
}

#[test]
fn keeps_the_contract() {
    for (promise, check) in SUITE {
        println!("{promise}");
        let (home, catalogue) = Home::new();
        check(&catalogue, &home.clock);
    }
}

#[test]
fn reopening_keeps_everything() {
    let (home, catalogue) = Home::new();
    let ns = prod(&catalogue);
    let v = publish(&catalogue, ns, "resnet", 1);
    catalogue.set_policy("p".into(), b"policy".to_vec().into()).unwrap();
    let before = (catalogue.version(v.version_id).unwrap(), catalogue.audit_range(0, 99).unwrap());
    drop(catalogue);
    let again = home.open().unwrap();
    assert_eq!((again.version(v.version_id).unwrap(), again.audit_range(0, 99).unwrap()), before);
    assert_eq!(again.artifact_key(v.artifact_key).unwrap(), key_row(&v, ns, 1));
    assert_eq!(again.append_audit(b"on".to_vec()).unwrap(), before.1.len() as u64);
    assert_eq!(again.policy().unwrap().unwrap().text, "p");
}

#[test]
fn files_are_private_and_made_once() {
    use std::os::unix::fs::PermissionsExt;
    let (home, catalogue) = Home::new();
    catalogue.append_audit(b"x".to_vec()).unwrap();
    for entry in std::fs::read_dir(home.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
    let again = SqliteCatalogue::create(home.path(), key(1), home.clock.clone(), &SystemRandom);
    assert_eq!(id_of(again.err().unwrap()), ErrorId::AlreadyExists);
    assert_eq!(catalogue.audit_len().unwrap(), 1, "the existing one is untouched");
    let empty = tempfile::tempdir().unwrap();
    let none = SqliteCatalogue::open(empty.path(), key(1), home.clock.clone());
    assert_eq!(id_of(none.err().unwrap()), ErrorId::NotFound);
}

#[test]
fn another_key_or_another_vaults_keys_are_refused() {
    let (home, catalogue) = Home::new();
    drop(catalogue);
    let wrong = SqliteCatalogue::open(home.path(), key(2), home.clock.clone());
    assert_eq!(id_of(wrong.err().unwrap()), ErrorId::CatalogueDamaged);
    let (other, catalogue) = Home::new();
    drop(catalogue);
    std::fs::copy(other.path().join("keys.db"), home.path().join("keys.db")).unwrap();
    assert_eq!(id_of(home.open().err().unwrap()), ErrorId::CatalogueDamaged);
}

#[test]
fn an_altered_row_is_refused_not_believed() {
    // (what somebody changes, what then must not be believed)
    type Reading = fn(&SqliteCatalogue) -> Result<()>;
    const NS: NamespaceId = NamespaceId([9; 16]);
    let resolve: Reading = |c| {
        let latest = Revision::Tag(Tag::latest());
        c.locate(&name("prod"), &name("resnet"), &latest, Visibility::Listed).map(drop)
    };
    let certificate: Reading = |c| c.certificate(&[1; 16]).map(drop);
    let granted: Reading = |c| {
        let artifact = c.list(&ArtifactFilter { pattern: Pattern::all(), visibility: Visibility::All }, None, 1)?;
        let of = artifact.rows[0].artifact.id;
        c.surroundings(of, None, Some((&name("prod"), name("serve")))).map(drop)
    };
    let policy: Reading = |c| c.policy().map(drop);
    let signers: Reading = |c| c.signers().map(drop);
    let stored_key: Reading = |c| c.artifact_keys_under(NS, 1, None, 9).map(drop);
    let cases: &[(&str, &str, Reading)] = &[
        ("catalogue.db", "UPDATE versions SET root = zeroblob(32) WHERE number = 2", resolve),
        ("catalogue.db", "UPDATE versions SET generation = 0 WHERE number = 2", resolve),
        ("catalogue.db", "UPDATE versions SET unlisted = NULL, header_len = header_len + 1", resolve),
        (
            "catalogue.db",
            "UPDATE tags SET number = 1, version_id = (SELECT id FROM versions WHERE number = 1)",
            resolve,
        ),
        ("catalogue.db", "UPDATE artifacts SET kind = 'dataset'", granted),
        ("catalogue.db", "UPDATE namespaces SET created = created + 1", resolve),
        ("catalogue.db", "UPDATE certificates SET revoked = NULL", certificate),
        ("catalogue.db", "UPDATE workloads SET enrolment = 2", certificate),
        ("catalogue.db", "UPDATE grants SET enrolment = 2", granted),
        ("catalogue.db", "UPDATE policies SET text = 'permit(principal, action, resource);' WHERE version = 2", policy),
        ("catalogue.db", "DELETE FROM policies WHERE version = 1", policy),
        ("catalogue.db", "UPDATE policies SET envelope = '{}' WHERE version = 2", policy),
        ("catalogue.db", "UPDATE policies SET mac = zeroblob(32)", policy),
        ("catalogue.db", "UPDATE policies SET mac = x''", policy),
        ("catalogue.db", "UPDATE signers SET text = replace(text, '2', '3') WHERE version = 2", signers),
        ("catalogue.db", "DELETE FROM signers WHERE version = 1", signers),
        ("keys.db", "UPDATE slots SET bytes = zeroblob(112)", stored_key),
        ("keys.db", "UPDATE slots SET bytes = (SELECT s.bytes FROM slots s WHERE s.slot <> slots.slot)", stored_key),
        ("keys.db", "UPDATE artifact_keys SET kek_version = 1, version_id = zeroblob(16)", stored_key),
    ];
    for (file, sql, reading) in cases {
        let (home, catalogue) = Home::new();
        assert_eq!(prod(&catalogue), NS);
        for n in 1..=2 {
            publish(&catalogue, NS, "resnet", n);
            catalogue.set_policy(format!("policy {n}").into(), b"policy".to_vec().into()).unwrap();
            catalogue.set_signers(format!("signers {n}"), None, b"signers".to_vec().into()).unwrap();
        }
        let new = NewCertificate {
            serial: vec![1; 16],
            namespace_id: NS,
            workload: name("serve"),
            spki: crate::names::KeyId([1; 32]),
            not_before: Timestamp::from_millis(1),
            not_after: Timestamp::from_millis(2),
        };
        catalogue.enroll_workload(new, b"enroll".to_vec().into()).unwrap();
        catalogue.revoke_certificate(&[1; 16], b"revoke".to_vec().into()).unwrap();
        let artifact = catalogue.artifact_named(&name("prod"), &name("resnet")).unwrap().id;
        catalogue.grant(NS, &name("serve"), artifact, "me".into(), b"grant".to_vec().into()).unwrap();
        reading(&catalogue).unwrap();
        drop(catalogue);
        home.edit(file, sql);
        let changed = home.open().unwrap();
        assert_eq!(reading(&changed).map_err(id_of), Err(ErrorId::CatalogueDamaged), "{sql}");
        assert!(!changed.integrity_check().unwrap().findings.is_empty(), "{sql}");
    }
}

#[test]
fn a_planted_trigger_or_a_damaged_page_is_found_at_open() {
    let (home, catalogue) = Home::new();
    prod(&catalogue);
    drop(catalogue);
    home.edit("catalogue.db", "CREATE TRIGGER t AFTER INSERT ON grants BEGIN DELETE FROM audit; END");
    assert_eq!(id_of(home.open().err().unwrap()), ErrorId::CatalogueDamaged);
    home.edit("catalogue.db", "DROP TRIGGER t");
    home.open().unwrap();
    let path = home.path().join("catalogue.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..4096 + 64].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(id_of(home.open().err().unwrap()), ErrorId::CatalogueDamaged);
    std::fs::write(&path, b"not a database, and long enough not to be taken for an empty one").unwrap();
    assert_eq!(id_of(home.open().err().unwrap()), ErrorId::CatalogueDamaged);
    std::fs::write(&path, b"").unwrap();
    assert_eq!(id_of(home.open().err().unwrap()), ErrorId::CatalogueDamaged);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    for (file, known) in [("catalogue.db", 7), ("keys.db", 1)] {
        let (home, catalogue) = Home::new();
        drop(catalogue);
        let found = known + 1;
        home.edit(file, &format!("PRAGMA user_version = {found}; CREATE TABLE of_the_future (x)"));
        let before = std::fs::read(home.path().join(file)).unwrap();
        let refused = home.open().err().unwrap();
        assert_eq!(refused, CatalogueError::UnsupportedVersion { found, known });
        let public = crate::error::Error::from(refused);
        assert_eq!(public.id(), ErrorId::UnsupportedVersion);
        assert!(public.hint_text().unwrap().contains("newer release"));
        assert_eq!(std::fs::read(home.path().join(file)).unwrap(), before);
    }
}

#[test]
fn a_missing_audit_row_is_noticed() {
    let (home, catalogue) = Home::new();
    for _ in 0..5 {
        catalogue.append_audit(b"x".to_vec()).unwrap();
    }
    drop(catalogue);
    home.edit("catalogue.db", "DELETE FROM audit WHERE sequence = 2");
    let catalogue = home.open().unwrap();
    assert_eq!(catalogue.audit_range(0, 9).map_err(id_of), Err(ErrorId::CatalogueDamaged));
    assert!(!catalogue.integrity_check().unwrap().findings.is_empty());
}

#[test]
fn a_version_without_a_key_is_found() {
    let (_home, catalogue) = Home::new();
    let ns = prod(&catalogue);
    let v = publish(&catalogue, ns, "resnet", 1);
    assert!(catalogue.integrity_check().unwrap().findings.is_empty());
    catalogue.delete_artifact_key(v.artifact_key).unwrap();
    assert_eq!(catalogue.integrity_check().unwrap().findings.len(), 1);
}

#[test]
fn waiting_commands_share_a_commit() {
    let (_home, catalogue) = Home::new();
    let before = catalogue.stats().unwrap();
    // While one command holds the writer, others gather.
    let (release, held) = channel::<()>();
    std::thread::scope(|s| {
        s.spawn(|| catalogue.write(move |_| held.recv().map_err(|e| CatalogueError::Internal(e.to_string()))));
        std::thread::sleep(Duration::from_millis(100));
        for _ in 0..64 {
            s.spawn(|| catalogue.append_audit(b"decision".to_vec()).unwrap());
        }
        // One that fails in their midst undoes itself only.
        s.spawn(|| assert!(catalogue.append_audit(Vec::new()).is_err()));
        std::thread::sleep(Duration::from_millis(300));
        release.send(()).unwrap();
    });
    let after = catalogue.stats().unwrap();
    assert_eq!((after.commands - before.commands, after.audit_rows), (66, 64));
    assert!(after.commits - before.commits <= 4, "{} commits", after.commits - before.commits);
}

#[test]
fn a_hung_writer_and_a_full_queue_are_refusals_not_hangs() {
    let (home, catalogue) = Home::new();
    drop(catalogue);
    let limits = Limits { wait: Duration::from_millis(200), queue: 2 };
    let catalogue = SqliteCatalogue::open_with(home.path(), key(1), home.clock.clone(), limits).unwrap();
    let (release, held) = channel::<()>();
    let begun = Instant::now();
    let refusals: Vec<_> = std::thread::scope(|s| {
        let hung =
            s.spawn(|| catalogue.write(move |_| held.recv().map_err(|e| CatalogueError::Internal(e.to_string()))));
        std::thread::sleep(Duration::from_millis(50));
        let waiting: Vec<_> =
            (0..6).map(|_| s.spawn(|| catalogue.append_audit(b"decision".to_vec()).unwrap_err())).collect();
        let hung = hung.join().unwrap().unwrap_err();
        assert_eq!(hung, CatalogueError::DeadlineExceeded { may_take_effect: true });
        waiting.into_iter().map(|w| w.join().unwrap()).collect()
    });
    assert!(begun.elapsed() < Duration::from_secs(2));
    let late = refusals.iter().filter(|e| **e == CatalogueError::DeadlineExceeded { may_take_effect: false }).count();
    let full = refusals.iter().filter(|e| **e == CatalogueError::Overloaded).count();
    assert_eq!((late, full), (2, 4));
    // Reads go on, and what was given up is never carried out.
    assert_eq!(catalogue.audit_len().unwrap(), 0);
    release.send(()).unwrap();
    assert_eq!(catalogue.append_audit(b"after".to_vec()), Ok(0));
}

#[test]
fn a_full_disk_loses_the_command_and_nothing_else() {
    let (_home, catalogue) = Home::new();
    catalogue.append_audit(b"kept".to_vec()).unwrap();
    let cap = |db: &Db<'_>, pages: i64| -> Result<()> {
        let _: i64 = db.conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |r| r.get(0))?;
        Ok(())
    };
    // The smallest limit SQLite accepts is the size it has.
    catalogue.write(move |db| cap(db, 1)).unwrap();
    let failed = (0..200).find_map(|_| catalogue.append_audit(vec![7; MAX_LEAF]).err()).unwrap();
    assert_eq!(id_of(failed), ErrorId::DiskFull);
    let len = catalogue.audit_len().unwrap();
    catalogue.write(move |db| cap(db, 1_000_000)).unwrap();
    assert_eq!(catalogue.append_audit(b"goes on".to_vec()), Ok(len));
    assert!(catalogue.integrity_check().unwrap().findings.is_empty());
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged_until_reopened() {
    let (home, catalogue) = Home::new();
    catalogue.append_audit(b"kept".to_vec()).unwrap();
    // What SQLite does by itself when the disk fails under a transaction.
    let failed = catalogue.write(|db| -> Result<()> {
        db.conn.execute_batch("ROLLBACK")?;
        Err(CatalogueError::Io("injected".into()))
    });
    assert_eq!(failed.map_err(id_of), Err(ErrorId::IoError));
    assert_eq!(catalogue.append_audit(b"x".to_vec()).map_err(id_of), Err(ErrorId::IoError));
    assert_eq!(catalogue.audit_len(), Ok(1), "reading goes on");
    drop(catalogue);
    assert_eq!(home.open().unwrap().append_audit(b"again".to_vec()), Ok(1));
}

#[test]
fn a_broken_transaction_takes_no_bystander_along_silently() {
    let (_home, catalogue) = Home::new();
    let (release, held) = channel::<()>();
    std::thread::scope(|s| {
        s.spawn(|| catalogue.write(move |_| held.recv().map_err(|e| CatalogueError::Internal(e.to_string()))));
        std::thread::sleep(Duration::from_millis(50));
        let before = s.spawn(|| catalogue.append_audit(b"before".to_vec()));
        std::thread::sleep(Duration::from_millis(50));
        let breaks = s.spawn(|| {
            catalogue.write(|db| -> Result<()> {
                db.conn.execute_batch("ROLLBACK")?;
                Err(CatalogueError::DiskFull("injected".into()))
            })
        });
        std::thread::sleep(Duration::from_millis(50));
        let after = s.spawn(|| catalogue.append_audit(b"after".to_vec()));
        std::thread::sleep(Duration::from_millis(50));
        release.send(()).unwrap();
        assert_eq!(breaks.join().unwrap().map_err(id_of), Err(ErrorId::DiskFull));
        assert_eq!(
            before.join().unwrap().map_err(id_of),
            Err(ErrorId::DiskFull),
            "it was rolled back, so it is told so"
        );
        assert_eq!(after.join().unwrap(), Ok(0), "what came later has a transaction of its own");
    });
    assert_eq!(catalogue.audit_range(0, 9).unwrap(), [(0, b"after".to_vec())]);
}

#[test]
fn a_writer_that_died_is_an_error_not_a_hang() {
    let (_home, catalogue) = Home::new();
    let begun = Instant::now();
    let died = catalogue.write(|_| -> Result<()> { panic!("a bug") });
    assert!(matches!(died, Err(CatalogueError::Internal(_))));
    assert!(matches!(catalogue.append_audit(b"x".to_vec()), Err(CatalogueError::Internal(_))));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn shredded_keys_are_in_no_file() {
    const KEYS: u32 = 600;
    let (home, catalogue) = Home::new();
    let ns = prod(&catalogue);
    // Every key has bytes of its own, and is looked for in two pieces.
    let bytes = |n: u32, round: u32| {
        let digest = |part: u32| crate::crypto::hash::sha256(format!("{n} {round} {part}").as_bytes()).0;
        let mut wrapped = [0; 80];
        wrapped[..32].copy_from_slice(&digest(1));
        wrapped[32..64].copy_from_slice(&digest(2));
        (digest(0), wrapped)
    };
    let r = reserve(&catalogue, ns, "resnet", 1).unwrap();
    // Ids in an order that is not that of insertion: rows of the index move about.
    let row = |n: u32| {
        let mut row = key_row(&facts(&r, n.wrapping_mul(2_654_435_761) >> 8), ns, 0);
        (row.salt, row.wrapped) = bytes(n, 0);
        row.version_id = VersionId([(n % 200) as u8; 16]);
        row
    };
    std::thread::scope(|s| {
        for t in 0..8 {
            let (catalogue, row) = (&catalogue, &row);
            s.spawn(move || (0..KEYS).filter(|n| n % 8 == t).for_each(|n| catalogue.put_artifact_key(row(n)).unwrap()));
        }
    });
    assert!(home.keys_contain(&bytes(7, 0).1[..32]), "the search would find them");
    // Some are rewrapped before.
    for n in (0..KEYS).filter(|n| n % 3 == 0) {
        let (salt, wrapped) = bytes(n, 1);
        let rewrap = Rewrap { key: row(n).key, expect_kek_version: 1, kek_version: 70_000, salt, wrapped };
        catalogue.rewrap_artifact_key(rewrap).unwrap();
    }
    for v in (0..200u8).filter(|v| v % 4 != 1) {
        assert_eq!(catalogue.delete_artifact_keys(VersionId([v; 16])), Ok(3));
    }
    let dead = (0..KEYS).filter(|n| (n % 200) % 4 != 1);
    for n in dead {
        for round in 0..2 {
            let (salt, wrapped) = bytes(n, round);
            for piece in [&salt[..16], &wrapped[..16], &wrapped[32..48]] {
                assert!(!home.keys_contain(piece), "key {n} is still there");
            }
        }
    }
    for n in (0..KEYS).filter(|n| (n % 200) % 4 == 1) {
        let kept = catalogue.artifact_key(row(n).key).unwrap();
        assert_eq!((kept.salt, kept.wrapped), bytes(n, u32::from(n % 3 == 0)));
    }
    assert!(catalogue.integrity_check().unwrap().findings.is_empty());
}

#[test]
fn a_key_deleted_by_a_process_that_died_is_scrubbed_at_open() {
    let (home, catalogue) = Home::new();
    let ns = prod(&catalogue);
    let v = publish(&catalogue, ns, "resnet", 0xa7);
    let key_of = v.artifact_key;
    catalogue.keys.writer.run(move |db| keys::delete(db, key_of)).unwrap();
    // The state a kill before the scrubbing leaves.
    let crashed = Home { dir: tempfile::tempdir().unwrap(), clock: home.clock.clone() };
    for entry in std::fs::read_dir(home.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), crashed.path().join(entry.file_name())).unwrap();
    }
    assert!(crashed.keys_contain(&[0xa7; 80]), "the log still holds the key");
    let catalogue = crashed.open().unwrap();
    assert!(!crashed.keys_contain(&[0xa7; 80]));
    assert!(catalogue.artifact_key(key_of).is_err());
}

#[test]
fn a_shred_that_died_half_way_is_refused_and_found() {
    let (home, catalogue) = Home::new();
    let ns = prod(&catalogue);
    let v = publish(&catalogue, ns, "resnet", 1);
    let id = v.version_id;
    catalogue.write(move |db| artifacts::begin_shred(db, id, None)).unwrap();
    drop(catalogue);
    let catalogue = home.open().unwrap();
    let latest = Revision::Tag(Tag::latest());
    let refused = catalogue.locate(&name("prod"), &name("resnet"), &latest, Visibility::All);
    assert_eq!(refused.map_err(id_of), Err(ErrorId::Shredded));
    assert_eq!(catalogue.unfinished_shreds().unwrap()[0].facts, v);
    catalogue.shred(id, b"shred".to_vec().into()).unwrap();
    assert!(catalogue.unfinished_shreds().unwrap().is_empty());
    assert!(catalogue.artifact_key(v.artifact_key).is_err());
}

/// Not a test of its own: the process that [`a_killed_process_loses_nothing_it_acknowledged`] kills. Does nothing otherwise.
#[test]
fn acknowledge_until_killed() {
    let Some(dir) = std::env::var_os("MODELVAULT_TEST_CRASH_DIR") else { return };
    let catalogue = SqliteCatalogue::open(Path::new(&dir), key(1), Arc::new(StepClock::new())).unwrap();
    let ns = catalogue.namespace(&name("prod")).unwrap().id;
    let first = catalogue.stats().unwrap().versions as u32 + 1;
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                loop {
                    let sequence = catalogue.append_audit(b"decision".to_vec()).unwrap();
                    eprintln!("acknowledged audit {sequence}");
                }
            });
        }
        for n in first.. {
            // A number may stay unused by the run before.
            let Ok(r) = reserve(&catalogue, ns, "resnet", n) else { continue };
            let facts = facts(&r, n);
            let _ = catalogue.put_artifact_key(key_row(&facts, ns, n as u8));
            catalogue.publish_version(facts, None, of_moves(b"publish".to_vec())).unwrap();
            eprintln!("acknowledged version {}", r.version_id);
        }
    });
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let (home, catalogue) = Home::new();
    prod(&catalogue);
    drop(catalogue);
    for lines in [1, 7, 40, 150, 300] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "catalogue::sqlite::tests::acknowledge_until_killed", "--nocapture"])
            .env("MODELVAULT_TEST_CRASH_DIR", home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stderr.take().unwrap());
        let mut acknowledged = Vec::new();
        loop {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            // A line cut by the kill acknowledged nothing.
            let Some(line) = line.strip_suffix('\n') else { break };
            acknowledged.push(line.to_string());
            if acknowledged.len() == lines {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() >= lines, "{acknowledged:?}");
        let catalogue = home.open().unwrap();
        let audit_rows = catalogue.audit_len().unwrap();
        for line in acknowledged {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["acknowledged", "audit", sequence] => assert!(sequence.parse::<u64>().unwrap() < audit_rows),
                ["acknowledged", "version", id] => {
                    let version = catalogue.version(id.parse().unwrap()).unwrap();
                    assert!(catalogue.artifact_key(version.facts.artifact_key).is_ok());
                }
                _ => panic!("the child said {line}"),
            }
        }
        let report = catalogue.integrity_check().unwrap();
        assert_eq!(report.findings, Vec::<String>::new());
    }
}

/// Listed versions are counted and chosen by an index alone. The figures are printed: the budget is 1 ms for a page of 100.
#[test]
fn a_page_of_a_long_listing_is_quick() {
    const ARTIFACTS: u32 = 10_000;
    let (_home, c) = Home::new();
    let ns = prod(&c);
    c.write(move |db| {
        for n in 1..=ARTIFACTS {
            // Ids and names in different orders, as they are in life.
            let artifact = format!("model-{:05}", n.wrapping_mul(7919) % ARTIFACTS);
            for version in [n, n + ARTIFACTS] {
                let reserved = artifacts::reserve(db, &reservation(ns, &artifact, version))?;
                let new = (facts(&reserved, version), VersionRole::Alone);
                artifacts::publish(db, new, None, Vec::new(), of_moves(b"publish".to_vec()))?;
            }
        }
        Ok(())
    })
    .unwrap();
    let filter = ArtifactFilter { pattern: Pattern::all(), visibility: Visibility::Listed };
    let (mut after, mut times) = (None, Vec::new());
    loop {
        let start = Instant::now();
        let page = c.list(&filter, after.as_ref(), 100).unwrap();
        times.push(start.elapsed());
        assert_eq!(page.rows.len(), 100);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    times.sort_unstable();
    assert_eq!(times.len() as u32, ARTIFACTS / 100);
    println!(
        "a page of 100 among {ARTIFACTS} artifacts: best {:?}, p50 {:?}, p99 {:?}",
        times[0], times[50], times[98]
    );
    let plan: String = c
        .read(|db| {
            let counts = artifacts::counts(Visibility::Listed);
            Ok(db.conn.query_row(&format!("EXPLAIN QUERY PLAN {counts}"), [[0; 16]], |row| row.get(3))?)
        })
        .unwrap();
    assert!(plan.contains("COVERING INDEX versions_by_state"), "{plan}");
}

#[test]
fn versions_from_before_their_content_was_measured_stay_authentic() {
    let (home, catalogue) = Home::new();
    let ns = prod(&catalogue);
    let v = publish(&catalogue, ns, "resnet", 1);
    // What the first release wrote: no such column, and a MAC without it.
    let old = catalogue
        .write(move |db| {
            let record = artifacts::version(db, v.version_id)?;
            let mut values = record.values()?;
            values.truncate(values.len() - VersionRecord::TABLE.added);
            let then = rows::Table { added: 0, ..VersionRecord::TABLE };
            let mac = db.key.mac(&then, &values.iter().map(rusqlite::types::ValueRef::from).collect::<Vec<_>>());
            db.execute("UPDATE versions SET content_len = NULL, mac = ?1", [mac])?;
            artifacts::version(db, v.version_id)
        })
        .unwrap();
    assert_eq!(old.facts.content_len, old.facts.payload_len, "the best that is known");
    catalogue.unlist(ListingScope::Version(old.facts.version_id), b"rm".to_vec().into()).unwrap();
    catalogue.relist(ListingScope::Version(old.facts.version_id), b"undo".to_vec().into()).unwrap();
    assert_eq!(catalogue.version(old.facts.version_id).unwrap().facts, old.facts);
    for forged in ["NULL", "1"] {
        home.edit("catalogue.db", &format!("UPDATE versions SET content_len = {forged}"));
        assert_eq!(catalogue.version(old.facts.version_id).map_err(id_of), Err(ErrorId::CatalogueDamaged), "{forged}");
    }
}

#[test]
fn what_is_known_of_a_dataset_is_put_into_no_row_and_taken_out_of_none() {
    for forged in [
        "dataset = (SELECT dataset FROM attestations WHERE dataset IS NOT NULL) WHERE dataset IS NULL",
        "dataset = NULL WHERE dataset IS NOT NULL",
        "dataset = replace(dataset, '\"unattributed\":1', '\"unattributed\":0') WHERE dataset IS NOT NULL",
    ] {
        let (home, catalogue) = Home::new();
        let ns = prod(&catalogue);
        let of = publish(&catalogue, ns, "reviews", 1).version_id;
        for (n, member) in [(1, None), (2, Some("dataset.sig"))] {
            catalogue.attest(statement(of, n, member), b"attest".to_vec().into()).unwrap();
        }
        // What earlier releases wrote: no such column, and a MAC without it.
        let changed = catalogue.write(move |db| {
            let record = attestations::of_version(db, of)?.into_iter().find(|a| a.dataset.is_none()).unwrap();
            let mut values = record.values()?;
            values.pop();
            let then = rows::Table { added: 0, ..AttestationRecord::TABLE };
            let mac = db.key.mac(&then, &values.iter().map(rusqlite::types::ValueRef::from).collect::<Vec<_>>());
            db.execute("UPDATE attestations SET mac = ?1 WHERE dataset IS NULL", [mac])
        });
        assert_eq!(changed, Ok(1));
        assert_eq!(catalogue.attestations(of).unwrap().iter().filter(|a| a.dataset.is_some()).count(), 1);
        home.edit("catalogue.db", &format!("UPDATE attestations SET {forged}"));
        assert_eq!(catalogue.attestations(of).map_err(id_of), Err(ErrorId::CatalogueDamaged), "{forged}");
    }
}
