//! Audited opens a second: 64 callers open a small artifact and end it, each with two durable rows, against the rate at which one
//! thread can append and `fdatasync` on the same disk in the same run.
//!
//! ```text
//! cargo bench --bench opens [-- --small] [--dir DIR]
//! ```
//!
//! In a directory that is memory (`--dir /dev/shm`), where a commit costs next to nothing, the median of one caller is what deciding costs:
//! admission, policy, quota, both rows, and opening the sealed file.
//!
//! The ratio shows what group commit is worth. It is printed against its goal. What fails is an open that costs more than a millisecond of
//! CPU, and rows that are not committed in groups: each open has two, so half as many opens as syncs could be had without. That is not asked
//! where the processor ends before the disk does.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a bench")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model_vault::identity::{PeerCertificate, new_key_and_csr};
use model_vault::names::{ArtifactKind, Name, Reference};
use model_vault::vault::{Caller, Channel, InitSpec, Machine, SealInput, SealMember, Sealing, Transport, Vault};

const CALLERS: usize = 64;
const GOAL: f64 = 10.0;
/// Most CPU time, user and system, of an open and its end.
const MOST_CPU: Duration = Duration::from_millis(1);

/// Appends and syncs a second, by one thread.
fn syncs(dir: &Path, time: Duration) -> f64 {
    let mut file = File::create(dir.join("syncs")).unwrap();
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < time {
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

fn workload(vault: &Vault, i: usize) -> Caller {
    let operator = vault.local_caller().unwrap();
    let (namespace, name): (Name, Name) = ("default".parse().unwrap(), format!("w{i}").parse().unwrap());
    let (_, csr) = new_key_and_csr(&name).unwrap();
    let issued = vault.enroll(&operator, &namespace, &name, &csr).unwrap();
    vault.grant(&vault.local_caller().unwrap(), &namespace, &name, (&namespace, &"m".parse().unwrap())).unwrap();
    let peer = PeerCertificate::parse(&issued.certificate).unwrap();
    let channel = Channel {
        transport: Transport::Mtls,
        tls_group: Some("X25519MLKEM768".into()),
        peer: None,
        certificate: Some((peer.serial.0.to_vec(), peer.spki_sha256)),
    };
    Caller { principal: peer.principal(), channel, ..operator }
}

/// CPU time of this process, user and system.
fn cpu() -> Duration {
    let usage = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = usage.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The median time of an open by one caller.
fn median(vault: &Arc<Vault>, caller: &Caller) -> Duration {
    let reference: Reference = "m".parse().unwrap();
    let mut times: Vec<_> = (0..2000)
        .map(|_| {
            let began = Instant::now();
            let open = vault.open(caller, &reference).unwrap();
            let took = began.elapsed();
            open.finish(0, "complete").unwrap();
            took
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Opens and ends a second, by all callers together; the time of each, and its CPU time.
fn opens(vault: &Arc<Vault>, callers: &[Caller], time: Duration) -> (f64, Duration, Duration) {
    let (stop, count, nanos) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let reference: Reference = "m".parse().unwrap();
    let (start, before) = (Instant::now(), cpu());
    std::thread::scope(|threads| {
        for caller in callers {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let open = vault.open(caller, &reference).unwrap();
                    let mut byte = [0];
                    open.read(0, 0, &mut byte, true).unwrap();
                    open.finish(1, "complete").unwrap();
                    nanos.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    let count = count.into_inner();
    let each = Duration::from_nanos(nanos.into_inner() / count.max(1));
    (count as f64 / start.elapsed().as_secs_f64(), each, (cpu() - before) / u32::try_from(count.max(1)).unwrap())
}

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let small = arguments.iter().any(|a| a == "--small");
    let at = arguments.iter().position(|a| a == "--dir").and_then(|i| arguments.get(i + 1));
    let place = at.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let dir = tempfile::tempdir_in(place).unwrap();
    let time = Duration::from_secs(if small { 1 } else { 5 });
    let key = InitSpec::KeyFile(dir.path().join("root.key"));
    let vault = Arc::new(Vault::init(&dir.path().join("home"), key, Machine::default()).unwrap());
    let sealing = Sealing {
        members: vec![SealMember { path: "w".into(), source: Box::new(vec![7_u8; 4096]) }],
        kind: ArtifactKind::Model,
        sha256: false,
        sequential: false,
        signer: None,
        allow_unsigned: None,
        progress: Box::new(|_| {}),
    };
    let m: Reference = "m".parse().unwrap();
    let input = SealInput { namespace: m.namespace, name: m.name, tag: None, sealing };
    vault.seal(&vault.local_caller().unwrap(), input).unwrap();
    vault
        .change_setting(&vault.local_caller().unwrap(), model_vault::settings::SettingKind::Quotas, "# none\n", None)
        .unwrap();
    let callers: Vec<_> = (0..CALLERS).map(|i| workload(&vault, i)).collect();
    let rounds = if small { 1 } else { 3 };
    let (mut least, mut grouped) = (Duration::MAX, false);
    let cores = std::thread::available_parallelism().unwrap().get() as f64;
    for _ in 0..rounds {
        let before = syncs(dir.path(), time / 2);
        let (one, alone, _) = opens(&vault, &callers[..1], time / 2);
        let (rate, each, cpu) = opens(&vault, &callers, time);
        let raw = (before + syncs(dir.path(), time / 2)) / 2.0;
        let ratio = rate / raw;
        least = least.min(cpu);
        grouped |= ratio > 0.5 || rate > cores / cpu.as_secs_f64() / 2.0;
        println!(
            "{CALLERS} callers: {rate:.0} opens/s ({each:.1?} each, CPU {cpu:.1?}), one caller: {one:.0} opens/s ({alone:.1?} each); \
             one thread: {raw:.0} fdatasync/s; ratio {ratio:.1}x (goal {GOAL:.0}x{})",
            if ratio < GOAL { ", missed" } else { "" }
        );
    }
    println!("one caller: median {:.1?} until it is open", median(&vault, &callers[0]));
    assert!(least <= MOST_CPU, "an open costs {least:?} of CPU");
    assert!(grouped, "no more opens than rows that are committed one by one allow");
}
