//! What the audit log costs as it grows: an append, a checkpoint, a proof, an unlock, a whole check.
//!
//! `cargo bench --profile release --bench audit` fills logs of 10^5, 10^6 and 10^7 records (some 4 GB, a quarter of an hour); `-- --small` those of
//! 10^3 to 10^5. Times are CPU time of the process where the disk would decide otherwise. Fails if an append costs more than
//! half again as much at the largest size as at the smallest, a proof has more than 40 hashes, or
//! fewer than 200,000 records are verified in a second of one core.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]
#![allow(missing_docs, reason = "nobody links a bench")]

use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::time::{Duration, Instant};

use model_vault::audit::{Act, Archive, Record, ToArchive, VerifierKey, verify_export};
use model_vault::names::{Principal, RequestId, Timestamp};
use model_vault::vault::{InitSpec, Machine, RootCredential, Vault};

const APPENDS: u32 = 2_000;
const THREADS: u32 = 8;
const PROOFS: u32 = 200;

fn main() {
    let small = std::env::args().any(|arg| arg == "--small");
    let sizes: &[u64] = if small { &[1_000, 10_000, 100_000] } else { &[100_000, 1_000_000, 10_000_000] };
    let dir = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or_else(|| "/tmp".into())).unwrap();
    let key = dir.path().join("root.key");
    drop(Vault::init(&dir.path().join("home"), InitSpec::KeyFile(key.clone()), Machine::default()).unwrap());
    let unlock = || {
        let key = RootCredential::KeyFile(key.clone());
        Vault::unlock(&dir.path().join("home"), Some(key), Machine::default()).unwrap()
    };
    println!("records   append CPU us   unlock ms   proof us   hashes");
    let mut appends = Vec::new();
    for &size in sizes {
        fill(&dir.path().join("home/catalogue.db"), size);
        // Takes the new rows into the tree, once.
        drop(unlock());
        let began = Instant::now();
        let vault = unlock();
        let unlocked = began.elapsed();
        let append = append(&vault);
        let caller = vault.local_caller().unwrap();
        let newest = vault.prove_record(&caller, 1, None).unwrap().verify(None, &[]).unwrap().size();
        let (mut hashes, cpu) = (0, cpu_time());
        for at in 0..PROOFS {
            let seq = 1 + u64::from(at) * (size / u64::from(PROOFS + 1));
            hashes = hashes.max(vault.prove_record(&caller, seq, Some(newest)).unwrap().hashes.len());
        }
        // With the row that records who asked.
        let proof = (cpu_time() - cpu) / PROOFS;
        println!(
            "{size:>8}   {:>13.1}   {:>9.1}   {:>8.1}   {hashes:>6}",
            append.as_secs_f64() * 1e6,
            unlocked.as_secs_f64() * 1e3,
            proof.as_secs_f64() * 1e6,
        );
        assert!(hashes <= 40, "{hashes} hashes");
        appends.push(append.as_secs_f64());
    }
    let slope = appends.last().unwrap() / appends[0];
    println!("append at the largest size / at the smallest: {slope:.2}");
    let vault = unlock();
    let (lines, tiles) = verified(&vault, dir.path());
    println!("verified a second of one core: {lines:.0} records of an export, {tiles:.0} of a directory of tiles");
    assert!(slope <= 1.5, "appending gets slower: {slope:.2}");
    assert!(lines.min(tiles) >= 200_000.0 || small, "verification is too slow");
}

/// Adds rows up to `size`, as the catalogue would.
fn fill(catalogue: &Path, size: u64) {
    let db = rusqlite::Connection::open(catalogue).unwrap();
    let there: i64 = db.query_row("SELECT max(sequence) + 1 FROM audit", [], |row| row.get(0)).unwrap();
    let actor = Principal::local_operator(1000);
    db.execute_batch("BEGIN").unwrap();
    {
        let mut insert = db.prepare("INSERT INTO audit (sequence, leaf) VALUES (?1, ?2)").unwrap();
        for index in there..size as i64 {
            let time = Timestamp::from_millis(1_800_000_000_000 + index);
            let mut id = [0; 16];
            id[..8].copy_from_slice(&index.to_be_bytes());
            let record = Record::new(time, RequestId(id), &actor, Act::ArtifactFetchStart).detail("n", index);
            insert.execute((index, record.to_leaf())).unwrap();
        }
    }
    db.execute_batch("COMMIT").unwrap();
}

/// CPU time of one recorded act, from several callers at once so that they share commits.
fn append(vault: &Vault) -> Duration {
    let cpu = cpu_time();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..APPENDS / THREADS {
                    vault.audit_rows(&vault.local_caller().unwrap(), 1, 1).unwrap();
                }
            });
        }
    });
    vault.tick().unwrap();
    (cpu_time() - cpu) / APPENDS
}

/// Records a second of CPU time: of the export as lines, and of tiles.
fn verified(vault: &Vault, dir: &Path) -> (f64, f64) {
    let caller = vault.local_caller().unwrap();
    let (lines, tiles) = (dir.join("log"), dir.join("tiles"));
    vault.audit_export(&caller, 0, &mut BufWriter::new(std::fs::File::create(&lines).unwrap())).unwrap();
    let vkey: VerifierKey = vault.status(&caller).unwrap().audit_key.parse().unwrap();
    let mut to = ToArchive::new(Archive::at(&tiles).writer(&vkey).unwrap());
    vault.audit_export(&caller, 0, &mut to).unwrap();
    to.finish().unwrap();
    let rate = |verify: &dyn Fn() -> u64| {
        let cpu = cpu_time();
        let records = verify();
        records as f64 / (cpu_time() - cpu).as_secs_f64()
    };
    let file = || BufReader::with_capacity(1 << 20, std::fs::File::open(&lines).unwrap());
    let of_lines = rate(&|| verify_export(file(), Some(&vkey), &[]).unwrap().1.records);
    let of_tiles = rate(&|| Archive::at(&tiles).verify(Some(&vkey), &[]).unwrap().1.records);
    (of_lines, of_tiles)
}

/// Of the process, in user and kernel: fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(10 * ticks)
}
