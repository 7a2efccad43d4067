//! Whatever is changed in a sealed file, it is refused: every bit, every length, anything appended. With an id that fits, and
//! without a panic.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/files.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod files;

use files::{content, credential, member, request, sealed, signer};
use model_vault::ErrorId;
use model_vault::seal::{HashCheck, OpenOptions, Pins, Reader, SealError, verify_keyless};

const HEADER: usize = 4096;

/// A signed file with a small payload, a gap, and an empty member.
fn small() -> Vec<u8> {
    let signer = signer();
    let members = vec![
        member("a.txt", content(100, 1), true),
        member("b/empty", vec![], false),
        member("c.bin", content(700, 2), false),
    ];
    let mut request = request(members);
    request.context = Some(b"tenant/artifact".to_vec());
    request.seal_signers = vec![&signer];
    sealed(request).unwrap().1
}

/// A file of several segments with a tree.
fn large() -> Vec<u8> {
    let mut request = request(vec![member("model.bin", content(3 * 65_536 + 1000, 3), true)]);
    request.group_log2 = Some(16);
    sealed(request).unwrap().1
}

fn open_and_verify(file: Vec<u8>) -> Result<(), SealError> {
    Reader::open(file, &credential(), &OpenOptions::default())?.verify_full()
}

fn keyless(file: &Vec<u8>) -> Result<(), SealError> {
    verify_keyless(file, &Pins::default(), Some(&[*signer().public()])).map(|_| ())
}

/// Ids that may be reported for a change at that place of the file (docs/format.md 9.1, in its order).
fn fitting(at: usize, payload_end: usize, file_len: usize) -> &'static [ErrorId] {
    use ErrorId::*;
    let trailer = file_len - 96;
    match at {
        0..8 => &[NotSealed],
        8..10 => &[UnsupportedVersion],
        12..16 => &[UnknownCriticalFlag],
        16..19 => &[UnsupportedSuite],
        // Header length: the table is looked for elsewhere. Segment size: another key.
        19..24 => &[MalformedHeader, Truncated, UnwrapFailed],
        24..32 => &[MalformedHeader],
        10..12 | 32..128 => &[UnwrapFailed],
        128..HEADER => &[MalformedHeader, NoMatchingSlot, UnwrapFailed, HeaderAuthFailed],
        _ if at < payload_end => &[IndexMismatch],
        _ if at < trailer => &[FooterAuthFailed],
        _ if at < trailer + 32 => &[LengthMismatch],
        _ if at < trailer + 64 => &[FooterAuthFailed],
        _ if at < trailer + 88 => &[LengthMismatch],
        _ => &[Truncated],
    }
}

#[test]
fn every_flipped_bit_of_a_small_file_is_found() {
    let file = small();
    let payload_end = HEADER + 828;
    open_and_verify(file.clone()).unwrap();
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            let id = open_and_verify(damaged).unwrap_err().id();
            assert!(fitting(at, payload_end, file.len()).contains(&id), "byte {at}, bit {bit}: {id}");
        }
    }
}

#[test]
fn without_a_key_every_flipped_bit_that_was_signed_is_found() {
    let file = small();
    keyless(&file).unwrap();
    let signatures = u64::from_be_bytes(file[file.len() - 96 + 24..][..8].try_into().unwrap()) as usize;
    let signatures_start = file.len() - 96 - signatures;
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            match keyless(&damaged) {
                // Slots, generation, header MAC and footer MAC need a key; nothing else does.
                Ok(()) => assert!(
                    (132..HEADER).contains(&at) || (file.len() - 64..file.len() - 32).contains(&at),
                    "byte {at}, bit {bit}"
                ),
                Err(e) if (HEADER..signatures_start).contains(&at) => {
                    assert!(matches!(e.id(), ErrorId::SignatureInvalid | ErrorId::IndexMismatch), "byte {at}: {e}");
                }
                Err(e) if (signatures_start..file.len() - 96).contains(&at) => {
                    assert!(matches!(e.id(), ErrorId::SignatureInvalid | ErrorId::SignatureMissing), "byte {at}: {e}");
                }
                Err(_) => {}
            }
        }
    }
}

#[test]
fn every_cut_and_anything_appended_is_found() {
    let file = small();
    for len in 0..file.len() {
        let cut = file[..len].to_vec();
        let expected = if len < 8 { ErrorId::NotSealed } else { ErrorId::Truncated };
        assert_eq!(keyless(&cut).unwrap_err().id(), expected, "{len} bytes");
        assert_eq!(open_and_verify(cut).unwrap_err().id(), expected, "{len} bytes");
    }
    for tail in [&[0][..], &[1; 95], &file[file.len() - 96..], &file, b"MVLTEND\x01", &[0; 4096]] {
        let longer = [&file[..], tail].concat();
        let id = open_and_verify(longer.clone()).unwrap_err().id();
        assert!(matches!(id, ErrorId::Truncated | ErrorId::LengthMismatch), "{id}");
        assert!(matches!(keyless(&longer).unwrap_err().id(), ErrorId::Truncated | ErrorId::LengthMismatch));
    }
    for len in (0..4096).step_by(512) {
        let shifted = [&vec![0; len + 1][..], &file].concat();
        assert_eq!(open_and_verify(shifted).unwrap_err().id(), ErrorId::NotSealed);
    }
}

#[test]
fn damage_in_a_file_of_several_segments_is_found_and_no_wrong_byte_is_handed_on() {
    let file = large();
    let truth = content(3 * 65_536 + 1000, 3);
    open_and_verify(file.clone()).unwrap();
    let payload_end = HEADER + truth.len();
    let places =
        (HEADER..payload_end).step_by(997).chain([65_535, 65_536, 131_072, 196_607, 196_608].map(|p| HEADER + p));
    for (i, at) in places.chain(payload_end..file.len()).enumerate() {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (i % 8);
        let expected = fitting(at, payload_end, file.len());
        let reader = match Reader::open(damaged, &credential(), &OpenOptions::default()) {
            Ok(reader) => reader,
            Err(e) => {
                assert!(expected.contains(&e.id()), "byte {at}: {e}");
                continue;
            }
        };
        assert!(at < payload_end);
        if i % 16 == 0 {
            assert_eq!(reader.verify_full().unwrap_err().id(), ErrorId::IndexMismatch, "byte {at}");
        }
        for check in [HashCheck::Compare, HashCheck::SkipForCheckingClient] {
            let mut read = Vec::new();
            let result = reader.read_range(0..reader.payload_len(), check, &mut |part: &[u8]| {
                read.extend_from_slice(part);
                Ok::<_, SealError>(())
            });
            let expected = match check {
                HashCheck::Compare => ErrorId::IndexMismatch,
                HashCheck::SkipForCheckingClient => ErrorId::SegmentAuthFailed,
            };
            assert_eq!(result.unwrap_err().id(), expected);
            assert_eq!(
                read,
                truth[..(at - HEADER) / 65_536 * 65_536],
                "byte {at}: all segments before, nothing of the damaged one"
            );
        }
    }
}

#[test]
fn parts_of_two_files_under_one_key_do_not_mix() {
    let (one, two) = (small(), small());
    assert_eq!(one.len(), two.len());
    for cut in (1..one.len()).step_by(7).chain([HEADER, HEADER + 828, one.len() - 96]) {
        let spliced = [&one[..cut], &two[cut..]].concat();
        if spliced != one && spliced != two {
            assert!(open_and_verify(spliced).is_err(), "cut at {cut}");
        }
    }
}
