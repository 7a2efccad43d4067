//! One segment, hot in the cache: sealing and opening it with each AEAD backend, opening it through a reader with and without the
//! hash of its ciphertext; a small whole seal with each set of digests; and the arithmetic of ranges.
//!
//! `cargo bench --bench segment`. A backend that silently fell back to software shows as a ratio near 1 between backends.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use model_vault::crypto::aead::Backend;
use model_vault::seal::{HashCheck, OpenOptions, Reader, Segments};

#[path = "../tests/support/files.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod files;

const SEGMENT: usize = 1 << 20;

fn aead(c: &mut Criterion) {
    let mut group = c.benchmark_group("aes-256-gcm, 1 MiB segment");
    group.throughput(Throughput::Bytes(SEGMENT as u64));
    for backend in Backend::ALL {
        let cipher = backend.cipher(&[1; 32]);
        let mut bytes = vec![7; SEGMENT];
        group.bench_function(format!("seal, {backend:?}"), |b| b.iter(|| cipher.seal(&[0; 12], b"", &mut bytes)));
        let sealed = |mut bytes: Vec<u8>| {
            let tag = cipher.seal(&[0; 12], b"", &mut bytes);
            (bytes, tag)
        };
        group.bench_function(format!("open, {backend:?}"), |b| {
            b.iter_batched_ref(
                || sealed(vec![7; SEGMENT]),
                |(bytes, tag)| cipher.open(&[0; 12], b"", bytes, tag),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn reader(c: &mut Criterion) {
    let mut request = files::request(vec![files::member("model.bin", files::content(8 * SEGMENT, 1), false)]);
    request.log2 = Some(20);
    let (_, file) = files::sealed(request).expect("a small seal in memory");
    let reader = Reader::open(file, &files::credential(), &OpenOptions::default()).expect("its own key opens it");
    let mut buffer = Vec::new();
    let mut group = c.benchmark_group("reader, 1 MiB segment");
    group.throughput(Throughput::Bytes(SEGMENT as u64));
    for check in [HashCheck::Compare, HashCheck::SkipForCheckingClient] {
        group.bench_function(format!("{check:?}"), |b| {
            b.iter(|| reader.read_segment(3, &mut buffer, check).expect("an undamaged segment"));
        });
    }
    group.finish();
}

fn whole(c: &mut Criterion) {
    let content = files::content(16 * SEGMENT, 2);
    let mut group = c.benchmark_group("seal, 16 MiB in memory, one thread");
    group.sample_size(20).throughput(Throughput::Bytes(content.len() as u64));
    for sha256 in [false, true] {
        group.bench_function(if sha256 { "BLAKE3 and SHA-256" } else { "BLAKE3" }, |b| {
            b.iter_batched(
                || content.clone(),
                |content| {
                    let mut request = files::request(vec![files::member("model.bin", content, sha256)]);
                    request.log2 = Some(20);
                    request.threads = Some(1);
                    files::sealed(request).expect("a small seal in memory")
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn ranges(c: &mut Criterion) {
    let segments = Segments::new(140_000_000_000, 20);
    c.bench_function("segments of a range", |b| {
        b.iter(|| {
            segments.covering(&black_box(1_500_000_123..1_508_388_731)).map(|covered| covered.end - covered.start)
        });
    });
}

criterion_group!(benches, aead, reader, whole, ranges);
criterion_main!(benches);
