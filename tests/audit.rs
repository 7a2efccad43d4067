//! Attacks on the audit log of a real home: rows edited, removed, moved and cut off in its SQLite file, checkpoints rolled
//! back, clocks set. Each is found, and named where the tree tells it. And known bad files, refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model_vault::audit::{Archive, Claim, Proof, ToArchive, VerifierKey};
use model_vault::crypto::random::SystemRandom;
use model_vault::names::{ArtifactKind, Clock, SystemClock, Timestamp};
use model_vault::vault::{Caller, InitSpec, Machine, RootCredential, SealInput, SealMember, Sealing, Vault};
use model_vault::{Error, ErrorId, Result};

struct Home {
    dir: tempfile::TempDir,
    machine: Machine,
}

impl Home {
    /// With a log of at least `rows` rows, all signed for.
    fn with_log(rows: u64) -> Self {
        let clock = Arc::new(Hands(Mutex::new(SystemClock.now())));
        Self::on(Machine { clock, random: Arc::new(SystemRandom) }, rows)
    }

    fn on(machine: Machine, rows: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = InitSpec::KeyFile(dir.path().join("root.key"));
        let home = Self { machine: machine.clone(), dir };
        home.grow(&Vault::init(&home.path(), key, machine).unwrap(), rows);
        home
    }

    fn grow(&self, vault: &Vault, rows: u64) {
        while vault.status(&caller(vault)).unwrap().audit_records < rows {}
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("home")
    }

    fn unlock(&self) -> Result<Vault> {
        let key = RootCredential::KeyFile(self.dir.path().join("root.key"));
        Vault::unlock(&self.path(), Some(key), self.machine.clone())
    }

    fn edit(&self, sql: &str) {
        let db = rusqlite::Connection::open(self.path().join("catalogue.db")).unwrap();
        db.execute_batch(sql).unwrap();
    }

    /// What a whole check says after this was done to the file.
    fn found_after(&self, sql: &str) -> Error {
        self.edit(sql);
        self.unlock().map_or_else(Into::into, |vault| vault.audit_verify(&caller(&vault), None).unwrap_err())
    }
}

fn caller(vault: &Vault) -> Caller {
    vault.local_caller().unwrap()
}

fn sealing(content: &[u8]) -> Sealing {
    Sealing {
        members: vec![SealMember { path: "w".into(), source: Box::new(content.to_vec()) }],
        kind: ArtifactKind::Model,
        sha256: true,
        sequential: false,
        signer: None,
        allow_unsigned: None,
        progress: Box::new(|_| {}),
    }
}

/// A clock that the test sets.
struct Hands(Mutex<Timestamp>);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[test]
fn an_edited_row_is_named() {
    let home = Home::with_log(600);
    let sql = "UPDATE audit SET leaf = CAST(replace(CAST(leaf AS TEXT), 'vault.status', 'artifact.rm') AS BLOB) \
               WHERE sequence = 300";
    let found = home.found_after(sql);
    assert_eq!(found.id(), ErrorId::AuditBroken, "{found}");
    assert!(found.to_string().contains("record 301 "), "{found}");
}

#[test]
fn a_row_that_is_no_record_any_more_is_named() {
    let found = Home::with_log(40).found_after("UPDATE audit SET leaf = x'7b7d' WHERE sequence = 20");
    assert_eq!(found.id(), ErrorId::AuditBroken, "{found}");
    assert!(found.to_string().contains("record 21 "), "{found}");
}

#[test]
fn a_removed_row_is_named() {
    let found = Home::with_log(40).found_after("DELETE FROM audit WHERE sequence = 20");
    assert!(found.to_string().contains("record 21 "), "{found}");
}

#[test]
fn a_removed_row_whose_followers_moved_up_is_named() {
    let home = Home::with_log(400);
    let sql = "DELETE FROM audit WHERE sequence = 20; \
               UPDATE audit SET sequence = -sequence WHERE sequence > 20; \
               UPDATE audit SET sequence = -sequence - 1 WHERE sequence < 0; \
               INSERT INTO audit SELECT max(sequence) + 1, leaf FROM audit;";
    let found = home.found_after(sql);
    assert_eq!(found.id(), ErrorId::AuditBroken, "{found}");
    assert!(found.to_string().contains("record 21 "), "{found}");
}

#[test]
fn rows_that_changed_places_are_named() {
    let home = Home::with_log(400);
    let sql = "UPDATE audit SET sequence = -1 WHERE sequence = 20; UPDATE audit SET sequence = 20 WHERE sequence = 25; \
               UPDATE audit SET sequence = 25 WHERE sequence = -1;";
    let found = home.found_after(sql);
    assert_eq!(found.id(), ErrorId::AuditBroken, "{found}");
    assert!(found.to_string().contains("record 21 "), "{found}");
}

#[test]
fn a_log_whose_end_was_cut_off_does_not_unlock() {
    let home = Home::with_log(60);
    home.edit("DELETE FROM audit WHERE sequence >= 50");
    let found = home.unlock().err().unwrap();
    assert_eq!(found.id(), ErrorId::AuditBroken, "{found}");
    assert!(found.to_string().contains("ends at record 50"), "{found}");
}

#[test]
fn a_log_and_checkpoints_rolled_back_together_contradict_the_checkpoint_kept_elsewhere() {
    let home = Home::with_log(20);
    let kept = copy(&home.path());
    let vault = home.unlock().unwrap();
    home.grow(&vault, 60);
    let checkpoint = vault.audit_verify(&caller(&vault), None).unwrap().checkpoint;
    drop(vault);
    // Everything as it was: nothing inside tells.
    restore(&kept, &home.path());
    let vault = home.unlock().unwrap();
    assert!(vault.audit_verify(&caller(&vault), None).is_ok());
    let found = vault.audit_verify(&caller(&vault), Some(&checkpoint)).unwrap_err();
    assert_eq!(found.id(), ErrorId::AuditBroken, "{found}");
}

#[test]
fn a_home_that_was_rolled_back_contradicts_its_witness_and_releases_nothing() {
    let home = Home::with_log(20);
    let witness = home.dir.path().join("witness");
    let vault = home.unlock().unwrap();
    vault.keep_witness(&witness).unwrap();
    let old = std::fs::read(&witness).unwrap();
    home.grow(&vault, 60);
    vault.tick().unwrap();
    assert_eq!(std::fs::read(&witness).unwrap(), old, "not due yet");
    drop(vault);
    let kept = copy(&home.path());
    let vault = home.unlock().unwrap();
    vault.keep_witness(&witness).unwrap();
    assert_ne!(std::fs::read(&witness).unwrap(), old);
    home.grow(&vault, 100);
    vault.audit_verify(&caller(&vault), None).unwrap();
    vault.tick().unwrap();
    drop(vault);
    restore(&kept, &home.path());
    let vault = home.unlock().unwrap();
    let found = vault.keep_witness(&witness).unwrap_err();
    assert_eq!(found.id(), ErrorId::AuditBroken, "{found}");
    // Found while it runs: the witness knows more than the log.
    let empty = home.dir.path().join("other");
    vault.keep_witness(&empty).unwrap();
    std::fs::copy(&witness, &empty).unwrap();
    assert_eq!(vault.tick().unwrap_err().id(), ErrorId::AuditBroken);
    let sealing = sealing(b"weights");
    let (namespace, name) = ("default".parse().unwrap(), "m".parse().unwrap());
    let refused = vault.seal(&caller(&vault), SealInput { namespace, name, tag: None, sealing }).unwrap_err();
    assert_eq!(refused.id(), ErrorId::AuditBroken, "{refused}");
    assert!(vault.audit_rows(&caller(&vault), 1, 10).is_ok(), "looking stays possible");
}

fn restore(kept: &tempfile::TempDir, home: &Path) {
    for file in std::fs::read_dir(kept.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), home.join(file.file_name())).unwrap();
    }
}

fn copy(home: &Path) -> tempfile::TempDir {
    let kept = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(home).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), kept.path().join(file.file_name())).unwrap();
        }
    }
    kept
}

#[test]
fn tiles_that_were_lost_or_altered_are_made_anew_and_proofs_hold() {
    let home = Home::with_log(600);
    for damage in [
        "DELETE FROM tiles",
        "UPDATE tiles SET hashes = zeroblob(length(hashes))",
        "UPDATE tiles SET hashes = zeroblob(32) WHERE place = 0",
    ] {
        home.edit(damage);
        let vault = home.unlock().unwrap();
        for seq in [1, 256, 257, 600] {
            let proof = vault.prove_record(&caller(&vault), seq, None).unwrap();
            assert!(proof.hashes.len() <= 40);
            proof.verify(None, &[]).unwrap();
        }
    }
}

#[test]
fn no_proof_is_made_for_a_row_that_was_altered() {
    let home = Home::with_log(300);
    let sql = "UPDATE audit SET leaf = CAST(replace(CAST(leaf AS TEXT), 'vault.status', 'artifact.rm') AS BLOB) \
               WHERE sequence = 100";
    home.edit(sql);
    let vault = home.unlock().unwrap();
    let refused = vault.prove_record(&caller(&vault), 101, None).unwrap_err();
    assert_eq!(refused.id(), ErrorId::AuditBroken);
    assert!(refused.to_string().contains("record 101 "), "{refused}");
    vault.prove_record(&caller(&vault), 100, None).unwrap().verify(None, &[]).unwrap();
}

#[test]
fn a_proof_of_extension_holds_between_any_two_checkpoints() {
    let home = Home::with_log(30);
    let vault = home.unlock().unwrap();
    let old = vault.audit_verify(&caller(&vault), None).unwrap();
    home.grow(&vault, 300);
    let size: u64 = old.checkpoint.lines().nth(1).unwrap().parse().unwrap();
    let proof = vault.prove_extension(&caller(&vault), size, None).unwrap();
    assert!(matches!(&proof.claim, Claim::Extends { old: note } if *note == old.checkpoint));
    let read = Proof::parse(proof.to_json().unwrap().as_bytes()).unwrap();
    let new = read.verify(Some(&proof.vkey), std::slice::from_ref(&old.checkpoint)).unwrap();
    assert!(new.size() >= 300);
    assert_eq!(vault.prove_extension(&caller(&vault), size + 1, None).unwrap_err().id(), ErrorId::NotFound);
    assert_eq!(vault.prove_record(&caller(&vault), 0, None).unwrap_err().id(), ErrorId::NotFound);
    assert_eq!(vault.prove_record(&caller(&vault), 290, Some(size)).unwrap_err().id(), ErrorId::NotFound);
}

#[test]
fn a_directory_of_tiles_is_written_on_and_verified_without_the_vault() {
    let home = Home::with_log(300);
    let dir = tempfile::tempdir().unwrap();
    let vault = home.unlock().unwrap();
    let vkey: VerifierKey = vault.status(&caller(&vault)).unwrap().audit_key.parse().unwrap();
    let mut sizes = Vec::new();
    for rows in [300, 301, 700] {
        home.grow(&vault, rows);
        let archive = Archive::at(dir.path()).writer(&vkey).unwrap();
        let from = archive.next_seq();
        assert_eq!(from % 256, 1, "from the beginning of the bundle that is not full");
        let mut to = ToArchive::new(archive);
        vault.audit_export(&caller(&vault), from, &mut to).unwrap();
        sizes.push(to.finish().unwrap().size());
        let (_, report) = Archive::at(dir.path()).verify(Some(&vkey), &[]).unwrap();
        assert_eq!(report.records, *sizes.last().unwrap());
    }
    assert!(sizes.is_sorted() && sizes[2] >= 700, "{sizes:?}");
}

#[test]
fn the_order_is_that_of_the_sequence_whatever_the_clock_says() {
    let clock = Arc::new(Hands(Mutex::new(SystemClock.now())));
    let machine = Machine { clock: clock.clone(), random: Arc::new(SystemRandom) };
    let home = Home::on(machine, 5);
    let vault = home.unlock().unwrap();
    let hour = 3_600_000;
    for step in [hour, -2 * hour, hour, -87_600 * hour, 87_600 * hour] {
        {
            let mut now = clock.0.lock().unwrap();
            *now = Timestamp::from_millis(now.as_millis() + step);
        }
        let before = vault.status(&caller(&vault)).unwrap().audit_records;
        // A clock that was set back does not put signing off.
        *clock.0.lock().unwrap() = clock.now().plus(Duration::from_secs(1));
        vault.tick().unwrap();
        let rows = vault.audit_rows(&caller(&vault), before, 10).unwrap();
        assert!(rows.iter().map(|(seq, _)| *seq).is_sorted());
        let report = vault.audit_verify(&caller(&vault), None).unwrap();
        assert!(report.records > before);
    }
}

#[test]
fn what_a_list_names_is_refused_at_seal_and_release_and_found_on_import() {
    let home = Home::with_log(3);
    let vault = Arc::new(home.unlock().unwrap());
    let seal = |name: &str, content: &[u8]| {
        let (namespace, name) = ("default".parse().unwrap(), name.parse().unwrap());
        let input = SealInput { namespace, name, tag: None, sealing: sealing(content) };
        vault.seal(&caller(&vault), input)
    };
    seal("bad", b"bad weights").unwrap();
    seal("good", b"good weights").unwrap();
    let digest = model_vault::crypto::hash::sha256(b"bad weights");
    let source = "isac".parse().unwrap();
    let found = vault.import_intel(&caller(&vault), &source, format!("sha256:{digest}\n").as_bytes()).unwrap();
    assert_eq!((found.entries, found.matched, found.unread), (1, 1, 0));
    assert_eq!(found.hits[0].reference, "default/bad@v1");
    let refused = |outcome: Result<()>| assert_eq!(outcome.unwrap_err().id(), ErrorId::DenyListed);
    refused(vault.open(&caller(&vault), &"bad".parse().unwrap()).map(drop));
    refused(vault.export(&caller(&vault), &"bad".parse().unwrap()).map(drop));
    refused(seal("again", b"bad weights").map(drop));
    vault.open(&caller(&vault), &"good".parse().unwrap()).map(drop).unwrap();
    let rows = vault.audit_rows(&caller(&vault), 1, 100).unwrap();
    let hits = rows.iter().filter(|(_, row)| String::from_utf8_lossy(row).contains("intel.hit")).count();
    assert_eq!(hits, 4);
    // It outlives a restart, and ends with the list.
    drop(vault);
    let vault = Arc::new(home.unlock().unwrap());
    refused(vault.open(&caller(&vault), &"bad".parse().unwrap()).map(drop));
    let removal = caller(&vault);
    vault.remove_intel(&removal, &source).unwrap();
    vault.open(&caller(&vault), &"bad".parse().unwrap()).map(drop).unwrap();
    // The same request again changes nothing: a list that came meanwhile stays in force.
    vault.import_intel(&caller(&vault), &source, format!("sha256:{digest}\n").as_bytes()).unwrap();
    vault.remove_intel(&removal, &source).unwrap();
    refused(vault.open(&caller(&vault), &"bad".parse().unwrap()).map(drop));
    // Nor does an empty list take one out of force.
    assert_eq!(
        vault.import_intel(&caller(&vault), &source, b"# nothing\n").unwrap_err().id(),
        ErrorId::InvalidArgument
    );
    refused(vault.open(&caller(&vault), &"bad".parse().unwrap()).map(drop));
}

#[test]
fn a_policy_that_was_put_back_or_altered_is_not_obeyed() {
    let home = Home::with_log(3);
    let text = |more: &str| format!("{}\n// {more}\n", model_vault::policy::Policies::DEFAULT_TEXT);
    let vault = home.unlock().unwrap();
    for version in 1..=2 {
        assert_eq!(vault.set_policy(&caller(&vault), &text(&version.to_string())).unwrap(), version);
    }
    // Refusals name no policy: whoever makes many of them covers nothing up.
    for _ in 0..300 {
        let nothing = vault.version(&caller(&vault), &"nothing".parse().unwrap());
        assert_eq!(nothing.map(drop).unwrap_err().id(), ErrorId::NotFound);
    }
    drop(vault);
    let kept = copy(&home.path());

    // Put back: every row that is left is authentic, and the log knows better.
    home.edit("DELETE FROM policies WHERE version = 2");
    let vault = home.unlock().unwrap();
    let shown = vault.policy(&caller(&vault)).unwrap();
    assert!(shown.version == 1 && shown.text.contains("policy-not-as-signed"), "{}", shown.text);
    assert_eq!(vault.workloads(&caller(&vault)).unwrap_err().id(), ErrorId::Denied);
    // Also after another start, until its owner puts it right.
    drop(vault);
    let vault = home.unlock().unwrap();
    assert_eq!(vault.workloads(&caller(&vault)).unwrap_err().id(), ErrorId::Denied);
    // Its repair may be another text than the one that was lost.
    assert_eq!(vault.set_policy(&caller(&vault), &text("another 2")).unwrap(), 2);
    vault.workloads(&caller(&vault)).unwrap();
    drop(vault);
    let vault = home.unlock().unwrap();
    vault.workloads(&caller(&vault)).unwrap();
    assert_eq!(vault.set_policy(&caller(&vault), &text("3")).unwrap(), 3);
    drop(vault);

    // Altered, or signed for another place.
    for sql in [
        "UPDATE policies SET text = text || '// more' WHERE version = 2",
        "UPDATE policies SET envelope = (SELECT envelope FROM policies WHERE version = 1) WHERE version = 2",
        "UPDATE policies SET envelope = NULL WHERE version = 2",
    ] {
        restore(&kept, &home.path());
        home.edit(sql);
        assert_eq!(home.unlock().unwrap_err().id(), ErrorId::CatalogueDamaged, "{sql}");
    }
    restore(&kept, &home.path());
    home.unlock().unwrap();
}
