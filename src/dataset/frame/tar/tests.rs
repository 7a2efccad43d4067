//! Archives made by hand: what a writer of archives would not make is most of it.

use super::super::members::Member;
use super::*;
use crate::dataset::Encoder;
use crate::dataset::measure::{Measured, Source};
use crate::dataset::{Format, Schema};
use crate::names::Sha256;

/// A header, and the bytes after it.
fn member(name: &[u8], kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    summed(&mut block);
    let mut all = block.to_vec();
    all.extend_from_slice(bytes);
    all.resize(all.len().next_multiple_of(512), 0);
    all
}

fn summed(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u64 = block[..512].iter().map(|b| u64::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let len = (1..).find(|len| format!("{len}{rest}").len() == *len).unwrap();
    member(b"pax", b'x', format!("{len}{rest}").as_bytes())
}

fn measured(bytes: Vec<u8>) -> Result<(Measured, Vec<Sha256>)> {
    let source = Source { path: "t.tar", format: Format::Tar, bytes: Arc::new(bytes) };
    let mut leaves = Vec::new();
    let measured = source.measure(&Schema::Files, Some(0), 2, &mut |some, keys| {
        assert_eq!(some.len(), keys.len());
        leaves.extend_from_slice(some);
        Ok(())
    });
    measured.map(|(file, _)| (file, leaves))
}

fn why(members: &[Vec<u8>]) -> String {
    measured(archive(members)).unwrap_err().to_string()
}

#[test]
fn members_of_one_key_are_one_record() {
    let sample = |key: &str, image: &[u8]| {
        [member(format!("{key}.jpg").as_bytes(), b'0', image), member(format!("{key}.cls").as_bytes(), b'0', b"3")]
    };
    let (a, b) = (sample("train/a", b"image a"), sample("train/b", &[7; 5000]));
    let bytes = archive(&[member(b"train/", b'5', b""), a.concat(), b.concat()]);
    let (file, leaves) = measured(bytes.clone()).unwrap();
    assert_eq!((file.records, file.size), (2, bytes.len() as u64));
    assert_eq!(file.sha256, sha256(&bytes));
    assert_eq!(file.root, crate::crypto::merkle::root(&leaves));

    let turned = archive(&[[a[1].clone(), a[0].clone()].concat(), b.concat()]);
    assert_eq!(measured(turned).unwrap().1, leaves, "members count in the order of their extensions");
    let swapped = archive(&[b.concat(), a.concat()]);
    assert_eq!(measured(swapped).unwrap().1, [leaves[1], leaves[0]]);
    let edited = archive(&[sample("train/a", b"image A").concat(), b.concat()]);
    assert_eq!(measured(edited).unwrap().1[1], leaves[1]);
    let moved = archive(&[sample("train/c", b"image a").concat(), b.concat()]);
    assert_ne!(measured(moved).unwrap().1[0], leaves[0], "a record is also its key");
}

#[test]
fn a_long_name_is_the_same_in_ustar_pax_and_gnu() {
    let long = format!("{}/{}.txt", "d".repeat(120), "n".repeat(90));
    let mut ustar = member(&[b'n'; 90], b'0', b"text");
    ustar[90..94].copy_from_slice(b".txt");
    ustar[345..465].fill(b'd');
    summed(&mut ustar);
    let gnu = [member(b"././@LongLink", b'L', format!("{long}\0").as_bytes()), member(b"cut", b'0', b"text")];
    let pax = [pax("path", &format!("./{long}")), member(b"cut", 0, b"text")];
    let leaves = measured(archive(&[ustar])).unwrap().1;
    assert_eq!(measured(archive(&gnu)).unwrap().1, leaves);
    assert_eq!(measured(archive(&pax)).unwrap().1, leaves);
}

#[test]
fn what_is_no_plain_archive_of_samples_is_refused_with_its_place() {
    let file = |name: &str| member(name.as_bytes(), b'0', b"x");
    for (members, reason) in [
        (vec![file("a.jpg"), file("b.jpg"), file("a.txt")], "key was there before"),
        (vec![file("a.jpg"), file("a.jpg")], "a member twice"),
        (vec![member(b"a.jpg", b'2', b"")], "a link"),
        (vec![member(b"a.jpg", b'1', b"")], "a link"),
        (vec![member(b"a.jpg", b'S', b"")], "sparse"),
        (vec![member(b"null", b'3', b"")], "neither file nor directory"),
        (vec![file("../a.jpg")], "leads out"),
        (vec![file("/a.jpg")], "leads out"),
        (vec![member(b"\xff.jpg", b'0', b"x")], "not UTF-8"),
        (vec![pax("path", "b.jpg")], "no member follows"),
        (vec![pax("GNU.sparse.size", "9"), file("a.jpg")], "sparse"),
        (vec![member(b"pax", b'x', b"9 path=b"), file("a.jpg")], "malformed"),
        (vec![member(b"pax", b'g', b"10 size=9\n"), file("a.jpg")], "two long names"),
        (vec![pax("size", "9999"), file("a.jpg")], "longer than the archive"),
        (vec![member(b"d", b'5', b"content")], "a directory with content"),
    ] {
        let error = why(&members);
        assert!(error.contains("t.tar, at byte") && error.contains(reason), "{error}");
    }
    let whole = archive(&[file("a.jpg")]);
    for cut in [100, 512, 1024, 1100, 1536] {
        assert_eq!(measured(whole[..cut].to_vec()).unwrap_err().id(), ErrorId::RecordInvalid, "{cut}");
    }
    let more = [whole.clone(), file("b.jpg")].concat();
    assert!(measured(more).unwrap_err().to_string().contains("after the end"));
    let mut damaged = whole;
    damaged[0] ^= 1;
    assert!(measured(damaged).unwrap_err().to_string().contains("sum is wrong"));
    assert_eq!(measured(vec![0; 1024]).unwrap().0.records, 0);
}

#[test]
fn many_samples_keep_their_order() {
    let names: Vec<_> = (0..3000).map(|i| format!("{i:05}")).collect();
    let members: Vec<_> = names.iter().map(|n| member(format!("{n}.txt").as_bytes(), b'0', n.as_bytes())).collect();
    let (file, leaves) = measured(archive(&members)).unwrap();
    assert_eq!(file.records, 3000);
    let mut record = Encoder::default();
    for (name, leaf) in names.iter().zip(leaves) {
        let digest = sha256(name.as_bytes());
        members::write(&mut record, name, &mut [Member { extension: "txt", size: 5, sha256: digest }]);
        assert_eq!(leaf, crate::dataset::record_hash(&Schema::Files.id(), record.record()));
    }
}
