//! What every blob store promises. One suite, run on each.

use super::{BlobId, BlobStore};
use crate::error::ErrorId;
use crate::names::VersionId;

/// Expects an empty store and leaves it empty.
pub(super) fn suite(store: &dyn BlobStore) {
    whole_or_nothing(store);
    written_once(store);
    one_of_many_writers_wins(store);
    deleted_while_read(store);
    assert_eq!(store.list().unwrap().count(), 0);
    only_its_own_names_are_blobs();
}

fn read(store: &dyn BlobStore, id: BlobId) -> Vec<u8> {
    let blob = store.open(id).unwrap();
    let mut bytes = vec![0; blob.len().unwrap() as usize];
    blob.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn whole_or_nothing(store: &dyn BlobStore) {
    let id = BlobId::Body(VersionId([1; 16]));
    let blob = store.create(id).unwrap();
    blob.write_all_at(b"world", 6).unwrap();
    blob.write_all_at(b"hello ", 0).unwrap();
    assert!(!store.exists(id).unwrap(), "not visible before finish");
    assert_eq!(store.open(id).err().unwrap().id(), ErrorId::NotFound);
    assert_eq!(store.list().unwrap().count(), 0);
    drop(blob);
    assert_eq!(
        store.sweep_temporary(crate::names::Timestamp::from_millis(i64::MAX)).unwrap().count,
        0,
        "drop cleans up"
    );

    let blob = store.create(id).unwrap();
    blob.write_all_at(b"world", 6).unwrap();
    blob.write_all_at(b"hello ", 0).unwrap();
    blob.finish().unwrap();
    assert_eq!(read(store, id), b"hello world");
    let listed: Vec<_> = store.list().unwrap().map(Result::unwrap).collect();
    assert_eq!((listed.len(), listed[0].id, listed[0].len), (1, id, 11));
    assert!(store.delete(id).unwrap());
    assert!(!store.delete(id).unwrap(), "there is nothing left");
}

fn written_once(store: &dyn BlobStore) {
    let (first, second) = (BlobId::Header(VersionId([2; 16]), 1), BlobId::Header(VersionId([2; 16]), 2));
    store.put(first, b"one").unwrap();
    assert_eq!(store.put(first, b"other").unwrap_err().id(), ErrorId::AlreadyExists);
    assert_eq!(read(store, first), b"one");
    store.put(second, b"").unwrap();
    assert_eq!(read(store, second), b"");
    assert!(store.delete(first).unwrap() && store.exists(second).unwrap());
    assert!(store.delete(second).unwrap());
}

fn one_of_many_writers_wins(store: &dyn BlobStore) {
    let id = BlobId::Body(VersionId([3; 16]));
    let blobs: Vec<_> = (0..8u8)
        .map(|i| {
            let blob = store.create(id).unwrap();
            blob.write_all_at(&[i; 1000], 0).unwrap();
            blob
        })
        .collect();
    let finished: Vec<bool> = std::thread::scope(|s| {
        let threads: Vec<_> = blobs.into_iter().map(|b| s.spawn(move || b.finish().is_ok())).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(finished.iter().filter(|won| **won).count(), 1);
    let winner = finished.iter().position(|won| *won).unwrap() as u8;
    assert_eq!(read(store, id), [winner; 1000]);
    assert!(store.delete(id).unwrap());
}

fn deleted_while_read(store: &dyn BlobStore) {
    let id = BlobId::Body(VersionId([4; 16]));
    store.put(id, b"still here").unwrap();
    let open = store.open(id).unwrap();
    store.delete(id).unwrap();
    let mut bytes = [0; 10];
    open.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"still here");
    assert_eq!(
        open.read_exact_at(&mut bytes, 1).unwrap_err().kind(),
        std::io::ErrorKind::UnexpectedEof,
        "past the end"
    );
}

fn only_its_own_names_are_blobs() {
    let version = VersionId([0xab; 16]);
    for id in [BlobId::Body(version), BlobId::Header(version, 0), BlobId::Header(version, u32::MAX)] {
        assert_eq!(BlobId::from_file_name(&id.to_string()), Some(id));
    }
    for other in [
        format!("{version}.header.01"),
        format!("{version}.header.+1"),
        format!("{version}.header.4294967296"),
        format!("{version}.header."),
        format!("{version}.tmp"),
        format!("{version}"),
        format!("{}.body", version.to_string().to_uppercase()),
        format!(".new-{version}.body-1-0"),
    ] {
        assert_eq!(BlobId::from_file_name(&other), None, "{other}");
    }
}
