//! What a writer promises besides the vectors: any mix of members round-trips for any number of threads, the input is read once,
//! a tap sees everything in order and may refuse it, and an input that changes is noticed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/files.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod files;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use files::{Memory, content, credential, member, request, sealed};
use model_vault::ErrorId;
use model_vault::crypto::hash;
use model_vault::crypto::kdf::Argon2Costs;
use model_vault::crypto::keys::{Key, Passphrase};
use model_vault::crypto::random::SystemRandom;
use model_vault::seal::io::{PathSource, ReadAt, WriteAt};
use model_vault::seal::{
    HashCheck, MemberSource, NewSlot, OpenOptions, Reader, SealError, SealRequest, Tap, TapVeto, seal,
};
use proptest::prelude::*;

fn open(file: Vec<u8>) -> Reader {
    Reader::open(file, &credential(), &OpenOptions::default()).unwrap()
}

/// Everything a reader can get out of a file agrees with what went in.
fn assert_holds(file: Vec<u8>, members: &[(String, Vec<u8>)]) {
    let reader = open(file);
    for threads in [1, 3] {
        reader.verify_full_with(threads, &|_| {}).unwrap();
    }
    let extracted = Mutex::new(HashMap::<String, Vec<u8>>::new());
    reader
        .extract(2, &|_| {}, &|member, offset, bytes| {
            let mut all = extracted.lock().unwrap();
            let place = all.entry(member.path.clone()).or_insert_with(|| vec![0; member.size as usize]);
            place[offset as usize..][..bytes.len()].copy_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    let extracted = extracted.into_inner().unwrap();
    assert_eq!(reader.manifest().members.len(), members.len());
    for (path, bytes) in members {
        let listed = reader.member(path).unwrap();
        assert_eq!((listed.size, listed.blake3), (bytes.len() as u64, hash::blake3(bytes)), "{path}");
        assert!(listed.sha256.is_none_or(|d| d == hash::sha256(bytes)), "{path}");
        assert_eq!(extracted.get(path).map_or(&[][..], Vec::as_slice), bytes, "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_mix_of_members_round_trips(
        sizes in prop::collection::vec(
            (prop_oneof![Just(0usize), 1..300usize, 30_000..70_000usize, 65_536..65_537usize, 100_000..500_000usize], any::<bool>()),
            0..9,
        ),
        group_log2 in prop_oneof![Just(None), (16..=18u8).prop_map(Some)],
        log2 in 16..=18u8,
        threads in 1..=4usize,
        tapped in any::<bool>(),
    ) {
        let members: Vec<_> =
            sizes.iter().enumerate().map(|(i, (size, _))| (format!("d{}/m{i}", i % 3), content(*size, i as u64 + 1))).collect();
        let sources = members.iter().zip(&sizes).map(|((path, bytes), (_, sha))| member(path, bytes.clone(), *sha));
        let mut tap = Recorder::default();
        let mut request = request(sources.collect());
        request.log2 = Some(log2);
        request.group_log2 = group_log2;
        request.threads = Some(threads);
        request.tap = if tapped { Some(&mut tap) } else { None };
        let (_, file) = sealed(request).unwrap();
        assert_holds(file, &members);
        if tapped {
            for (path, bytes) in &members {
                prop_assert_eq!(tap.ended.get(path), Some(bytes), "{}", path);
            }
        }
    }
}

#[test]
fn a_range_reads_its_segments_and_nothing_else() {
    struct Counted {
        bytes: Vec<u8>,
        read: Arc<AtomicU64>,
    }
    impl ReadAt for Counted {
        fn len(&self) -> io::Result<u64> {
            Ok(self.bytes.len() as u64)
        }
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
            self.bytes.read_exact_at(buffer, offset)
        }
    }
    let truth = content(40 * 65_536 + 77, 6);
    let (sealed, bytes) = sealed(request(vec![member("m", truth.clone(), false)])).unwrap();
    let beside_payload = bytes.len() as u64 - sealed.payload_len;
    let read = Arc::new(AtomicU64::new(0));
    let source = Counted { bytes, read: Arc::clone(&read) };
    let reader = Reader::open(source, &credential(), &OpenOptions::default()).unwrap();
    assert_eq!(read.load(Ordering::Relaxed), beside_payload, "opening reads each part once");
    for range in [0..0, 5..6, 65_535..65_537, 1_000_000..1_800_000, 40 * 65_536..truth.len() as u64] {
        let before = read.load(Ordering::Relaxed);
        let mut got = Vec::new();
        let sink = &mut |part: &[u8]| {
            got.extend_from_slice(part);
            Ok::<_, SealError>(())
        };
        reader.read_range(range.clone(), HashCheck::Compare, sink).unwrap();
        assert_eq!(got, truth[range.start as usize..range.end as usize]);
        let spent = read.load(Ordering::Relaxed) - before;
        assert!(spent <= range.end - range.start + 2 * 65_536, "{range:?}: {spent}");
    }
}

/// Keeps what it sees; panics where bytes come out of order or after the end.
#[derive(Default)]
struct Recorder {
    running: HashMap<String, Vec<u8>>,
    ended: HashMap<String, Vec<u8>>,
}

impl Tap for Recorder {
    fn segment(&mut self, member: &str, offset: u64, plaintext: &[u8]) -> Result<(), TapVeto> {
        let seen = self.running.entry(member.into()).or_default();
        assert_eq!(seen.len() as u64, offset, "{member} comes in order");
        seen.extend_from_slice(plaintext);
        Ok(())
    }

    fn member_end(&mut self, member: &str) -> Result<(), TapVeto> {
        let seen = self.running.remove(member).unwrap_or_default();
        assert!(self.ended.insert(member.into(), seen).is_none(), "{member} ends once");
        Ok(())
    }
}

/// Refuses a member when it sees a byte string, or at its end.
struct Guard {
    path: &'static str,
    at_end: bool,
}

impl Tap for Guard {
    fn segment(&mut self, member: &str, offset: u64, _: &[u8]) -> Result<(), TapVeto> {
        let refuse = member == self.path && !self.at_end && offset > 0;
        if refuse { Err(TapVeto { reason: "it runs code when loaded".into() }) } else { Ok(()) }
    }

    fn member_end(&mut self, member: &str) -> Result<(), TapVeto> {
        let refuse = member == self.path && self.at_end;
        if refuse { Err(TapVeto { reason: "it is not what it says".into() }) } else { Ok(()) }
    }
}

#[test]
fn a_veto_ends_the_seal_for_any_number_of_threads() {
    for (path, at_end) in [("big", false), ("big", true), ("empty", true), ("small", true)] {
        for threads in [1, 4] {
            let members = vec![
                member("big", content(400_000, 1), true),
                member("empty", vec![], true),
                member("small", vec![1], true),
            ];
            let mut guard = Guard { path, at_end };
            let mut request = request(members);
            request.threads = Some(threads);
            request.tap = Some(&mut guard);
            let refused = sealed(request).unwrap_err();
            assert_eq!(refused.id(), ErrorId::InspectionRefused);
            assert!(model_vault::Error::from(refused).details().contains(&("member", path.into())));
        }
    }
}

#[test]
fn a_hundred_thousand_members_work() {
    let members: Vec<_> =
        (0..100_000usize).map(|i| (format!("records/{i:06}.json"), content(i % 97, i as u64))).collect();
    let sources = members.iter().map(|(path, bytes)| member(path, bytes.clone(), true)).collect();
    let mut request = request(sources);
    request.log2 = None;
    let (sealed, file) = sealed(request).unwrap();
    assert_eq!(sealed.manifest.members.len(), 100_000);
    assert_holds(file, &members);
}

#[test]
fn each_byte_of_the_input_is_read_once() {
    struct Counted {
        bytes: Vec<u8>,
        read: AtomicU64,
    }
    impl ReadAt for &Counted {
        fn len(&self) -> io::Result<u64> {
            Ok(self.bytes.len() as u64)
        }
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
            self.bytes.read_exact_at(buffer, offset)
        }
    }
    let sources: Vec<_> =
        [0, 70, 65_536, 300_000].map(|len| Counted { bytes: content(len, 5), read: AtomicU64::new(0) }).into();
    let members = sources.iter().enumerate().map(|(i, source)| MemberSource {
        path: format!("m{i}"),
        source: Box::new(source),
        sha256: true,
        media_type: None,
        format: None,
    });
    let told = AtomicU64::new(0);
    let progress = |bytes| {
        told.fetch_add(bytes, Ordering::Relaxed);
    };
    let mut request = request(members.collect());
    request.progress = &progress;
    let (sealed, _) = sealed(request).unwrap();
    for source in &sources {
        assert_eq!(source.read.load(Ordering::Relaxed), source.bytes.len() as u64);
    }
    assert_eq!(told.load(Ordering::Relaxed), sealed.payload_len);
}

#[test]
fn an_input_that_changes_is_noticed() {
    /// Says one length when the seal begins, and has another.
    struct Shifty {
        says: u64,
        has: u64,
        asked: AtomicU64,
    }
    impl ReadAt for Shifty {
        fn len(&self) -> io::Result<u64> {
            let first = self.asked.fetch_add(1, Ordering::Relaxed) == 0;
            Ok(if first { self.says } else { self.has })
        }
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            vec![7; self.has as usize].read_exact_at(buffer, offset)
        }
    }
    for (says, has) in [(100, 99), (100, 101), (200_000, 100_000), (200_000, 200_001), (0, 1), (1, 0)] {
        let source = Box::new(Shifty { says, has, asked: AtomicU64::new(0) });
        let member = MemberSource { path: "m".into(), source, sha256: true, media_type: None, format: None };
        assert_eq!(sealed(request(vec![member])).unwrap_err().id(), ErrorId::SourceChanged, "{says} {has}");
    }
}

#[test]
fn a_full_disk_ends_the_seal_on_all_threads() {
    struct Full {
        left: AtomicU64,
    }
    impl WriteAt for Full {
        fn write_all_at(&self, bytes: &[u8], _: u64) -> io::Result<()> {
            let room =
                self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |l| l.checked_sub(bytes.len() as u64));
            room.map(|_| ()).map_err(|_| io::ErrorKind::StorageFull.into())
        }
    }
    for left in [0, 100_000, 1_000_000, 1_001_000] {
        let mut request = request(vec![member("m", content(1_000_000, 1), true)]);
        request.threads = Some(4);
        let refused = seal(request, &SystemRandom, &Full { left: AtomicU64::new(left) }, 0);
        assert_eq!(refused.unwrap_err().id(), ErrorId::DiskFull, "{left}");
    }
}

#[test]
fn a_file_on_disk_that_is_written_to_or_replaced_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    let source = || {
        std::fs::write(&path, content(1000, 1)).unwrap();
        PathSource::new(&path).unwrap()
    };
    let seal_it = |source: PathSource| {
        let member =
            MemberSource { path: "m".into(), source: Box::new(source), sha256: false, media_type: None, format: None };
        sealed(request(vec![member])).map_err(|e| e.id())
    };
    seal_it(source()).unwrap();
    let replaced = source();
    std::fs::write(folder.path().join("other"), content(1000, 2)).unwrap();
    std::fs::rename(folder.path().join("other"), &path).unwrap();
    assert!(replaced.read_exact_at(&mut [0], 0).is_err());
    assert!(seal_it(replaced).is_err());
    let appended = source();
    std::fs::OpenOptions::new().append(true).open(&path).and_then(|mut f| io::Write::write_all(&mut f, b"x")).unwrap();
    assert!(seal_it(appended).is_err());
    assert!(PathSource::new(folder.path()).is_err());
}

#[test]
fn what_the_format_does_not_allow_is_refused_before_anything_is_read() {
    struct Untouchable;
    impl ReadAt for Untouchable {
        fn len(&self) -> io::Result<u64> {
            Ok(10)
        }
        fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            panic!("nothing may be read")
        }
    }
    let untouchable = |path: &str| MemberSource {
        path: path.into(),
        source: Box::new(Untouchable),
        sha256: false,
        media_type: None,
        format: None,
    };
    let refused = |change: &dyn Fn(&mut SealRequest<'_>)| {
        let mut request = request(vec![untouchable("a")]);
        change(&mut request);
        sealed(request).unwrap_err().id()
    };
    let passphrase = |text: &str, t| NewSlot::Passphrase {
        passphrase: Passphrase::new(text.into()),
        costs: Argon2Costs { t, ..Argon2Costs::DEFAULT },
    };
    for path in ["", "/a", "../a", "a//b", "a\\b", "a\0b"] {
        assert_eq!(refused(&|r| r.members.push(untouchable(path))), ErrorId::InvalidArgument, "{path:?}");
    }
    assert_eq!(refused(&|r| r.members.push(untouchable("a"))), ErrorId::InvalidArgument);
    assert_eq!(refused(&|r| r.members.extend([untouchable("a-b"), untouchable("a/b")])), ErrorId::InvalidArgument);
    assert_eq!(refused(&|r| r.slots.clear()), ErrorId::InvalidArgument);
    assert_eq!(refused(&|r| r.slots.push(passphrase("words", 3))), ErrorId::InvalidArgument);
    assert_eq!(refused(&|r| r.slots = vec![passphrase("", 3)]), ErrorId::InvalidArgument);
    assert_eq!(refused(&|r| r.slots = vec![passphrase("words", 1)]), ErrorId::InvalidArgument);
    assert_eq!(refused(&|r| r.log2 = Some(15)), ErrorId::InvalidArgument);
    assert_eq!(refused(&|r| r.group_log2 = Some(29)), ErrorId::InvalidArgument);
    assert_eq!(refused(&|r| r.header_len = Some(5000)), ErrorId::InvalidArgument);
    assert_eq!(refused(&|r| r.context = Some(vec![])), ErrorId::InvalidArgument);
    assert_eq!(
        refused(&|r| {
            let external =
                || NewSlot::External { uri: "k".into(), blob: vec![0; 4000], secret: Key::take(&mut [1; 32]) };
            r.slots.push(external());
        }),
        ErrorId::LimitExceeded
    );
}

#[test]
fn what_a_reader_would_refuse_is_not_written() {
    let mut deep = serde_json::json!(1);
    for _ in 0..40 {
        deep = serde_json::json!([deep]);
    }
    let mut request_ = request(vec![member("a", vec![1], true)]);
    request_.annotations = Some(serde_json::json!({ "a": deep }));
    assert_eq!(sealed(request_).unwrap_err().id(), ErrorId::InvalidArgument);
    let mut request_ = request(vec![member("a", vec![1], true)]);
    request_.statements = Box::new(|_| Ok(vec![serde_json::json!("not an object")]));
    assert_eq!(sealed(request_).unwrap_err().id(), ErrorId::InvalidArgument);
}

#[test]
fn statements_are_made_from_the_digests_and_come_back() {
    let mut request = request(vec![member("a", b"content".to_vec(), true)]);
    request.statements = Box::new(|draft| {
        let digest = draft.manifest.members[0].blake3.to_string();
        Ok(vec![serde_json::json!({ "file": draft.file_id.to_string(), "digest": digest })])
    });
    let (sealed, file) = sealed(request).unwrap();
    let reader = open(file);
    assert_eq!(reader.manifest(), &sealed.manifest);
    assert_eq!(reader.manifest().statements[0]["digest"], hash::blake3(b"content").to_string());
    assert_eq!(reader.manifest().statements[0]["file"], sealed.file_id().to_string());
}

#[test]
fn a_portable_file_is_header_and_body_in_place() {
    let place = Memory::default();
    let body = content(100_000, 4);
    let sealed = seal(request(vec![member("m", body.clone(), true)]), &SystemRandom, &place, 4096).unwrap();
    let mut file = place.take();
    assert_eq!(file.len() as u64, u64::from(sealed.header_len()) + sealed.body_len);
    file[..4096].copy_from_slice(&sealed.header);
    let reader = open(file);
    let mut read = Vec::new();
    let sink = &mut |part: &[u8]| {
        read.extend_from_slice(part);
        Ok::<_, SealError>(())
    };
    reader.read_member_range("m", 65_000..66_000, HashCheck::Compare, sink).unwrap();
    assert_eq!(read, body[65_000..66_000]);
}

#[test]
fn a_range_comes_in_order_from_any_number_of_threads_and_stops_with_its_sink() {
    let body = content(1_000_000, 9);
    let mut small = request(vec![member("a", content(70_001, 3), false), member("m", body.clone(), false)]);
    small.log2 = Some(16);
    let reader = open(sealed(small).unwrap().1);
    for threads in [1, 2, 7] {
        for range in [0..1_000_000, 65_535..65_537, 5..5, 1_000_000..1_000_000, 123_456..999_999] {
            let mut read = Vec::new();
            let sink = &mut |part: &[u8]| {
                read.extend_from_slice(part);
                Ok(())
            };
            reader.extract_range("m", range.clone(), threads, sink).unwrap();
            assert!(read == body[range.start as usize..range.end as usize], "{range:?} by {threads}");
        }
        let mut pieces = 0;
        let failed = reader.extract_range("m", 0..1_000_000, threads, &mut |_| {
            pieces += 1;
            if pieces == 3 { Err(SealError::InvalidArgument("full".into())) } else { Ok(()) }
        });
        assert!(matches!(failed, Err(SealError::InvalidArgument(_))) && pieces == 3);
        let past = reader.extract_range("m", 0..1_000_001, threads, &mut |_| Ok(()));
        assert!(matches!(past, Err(SealError::RangeInvalid { .. })));
    }
}

#[test]
fn two_seals_of_the_same_content_share_nothing() {
    let make = || sealed(request(vec![member("m", vec![0; 1000], true)])).unwrap();
    let ((one, a), (two, b)) = (make(), make());
    assert_ne!(one.file_id(), two.file_id());
    assert_ne!(one.commitment(), two.commitment());
    assert_ne!(a[4096..5096], b[4096..5096]);
}
