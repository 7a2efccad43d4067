//! Whoever holds the file key can forge everything keyed: index, manifest, payload, footer. What stops them is full verification
//! against the manifest, a pinned root, and a required signer (docs/format.md 13).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/files.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod files;

use files::{Memory, content, credential, member, request, signer};
use model_vault::ErrorId;
use model_vault::crypto::aead::{Backend, SegmentCipher};
use model_vault::crypto::keys::Key;
use model_vault::crypto::{hash, kdf};
use model_vault::names::FileId;
use model_vault::seal::hazmat::{Fresh, FreshSlot, seal_with};
use model_vault::seal::{HashCheck, OpenOptions, Pins, Reader, SealError, verify_keyless};

const FILE_KEY: [u8; 32] = [0x5A; 32];
const HEADER: usize = 4096;
const SEGMENT: usize = 1 << 16;

/// A signed file whose key is known: two small members with a gap between them, then one of several segments.
fn honest() -> Vec<u8> {
    let signer = signer();
    let mut request = request(vec![
        member("a", content(100, 1), true),
        member("b", content(50, 2), false),
        member("c", content(150_000, 3), true),
    ]);
    request.group_log2 = Some(16);
    request.seal_signers = vec![&signer];
    let slots = vec![FreshSlot { id: [1; 16], salt: [2; 32] }];
    let fresh = Fresh { file_key: Key::take(&mut { FILE_KEY }), file_id: FileId([3; 32]), generation: 1, slots };
    let body = Memory::default();
    let sealed = seal_with(request, fresh, &body, 0).unwrap();
    [sealed.header, body.take()].concat()
}

/// The parts of a file as a holder of its key sees them.
struct Insider {
    header: Vec<u8>,
    payload: Vec<u8>,
    manifest: Vec<u8>,
    signatures: Vec<u8>,
}

impl Insider {
    fn open(file: &[u8]) -> Self {
        let trailer = &file[file.len() - 96..];
        let length = |i: usize| u64::from_be_bytes(trailer[8 * i..8 * i + 8].try_into().unwrap()) as usize;
        let (header, rest) = file.split_at(HEADER);
        let (payload, rest) = rest.split_at(length(0));
        let (index, rest) = rest.split_at(length(1));
        let (manifest, rest) = rest.split_at(length(2));
        let mut opened = Self {
            header: header.to_vec(),
            payload: payload.to_vec(),
            manifest: manifest[..manifest.len() - 16].to_vec(),
            signatures: rest[..length(3)].to_vec(),
        };
        let (cipher, count) = (opened.cipher(b"payload"), payload.chunks(SEGMENT).count());
        for (i, segment) in opened.payload.chunks_mut(SEGMENT).enumerate() {
            let tag = index[48 * i..48 * i + 16].try_into().unwrap();
            cipher.open(&nonce(i, count), b"", segment, &tag).unwrap();
        }
        let tag = manifest[manifest.len() - 16..].try_into().unwrap();
        opened.cipher(b"manifest").open(&nonce(0, 1), b"", &mut opened.manifest, &tag).unwrap();
        opened
    }

    /// Everything keyed made right again; the signatures stay as they were.
    fn pack(self) -> Vec<u8> {
        self.pack_with(|_| {})
    }

    /// The same after a change to the index.
    fn pack_with(mut self, edit_index: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let (cipher, count) = (self.cipher(b"payload"), self.payload.chunks(SEGMENT).count());
        let lengths_of = |s: &Self, index: &[u8]| {
            [s.payload.len(), index.len(), s.manifest.len(), s.signatures.len()]
                .map(|l| (l as u64).to_be_bytes())
                .concat()
        };
        let mut index = Vec::new();
        for (i, segment) in self.payload.chunks_mut(SEGMENT).enumerate() {
            index.extend(cipher.seal(&nonce(i, count), b"", segment));
            index.extend(hash::blake3(segment).0);
        }
        edit_index(&mut index);
        let cipher = self.cipher(b"manifest");
        let tag = cipher.seal(&nonce(0, 1), b"", &mut self.manifest);
        self.manifest.extend(tag);
        let lengths = lengths_of(&self, &index);
        let preamble = &self.header[..128];
        let root = hash::blake3_of(&[
            b"modelvault.mvlt/v1/root",
            preamble,
            &lengths[..8],
            &hash::blake3(&index).0,
            &hash::blake3(&self.manifest).0,
        ]);
        let mac = hash::hmac(&self.key(b"footer"), &[preamble, &lengths, &root.0, &hash::blake3(&self.signatures).0]);
        let Self { header, payload, manifest, signatures } = self;
        [header, payload, index, manifest, signatures, lengths, mac.into(), vec![0; 24], b"MVLTEND\x01".into()].concat()
    }

    fn key(&self, label: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        kdf::hkdf(&FILE_KEY, &self.header[96..128], &[b"modelvault.mvlt/v1/", label], &mut key);
        key
    }

    fn cipher(&self, label: &[u8]) -> Box<dyn SegmentCipher> {
        Backend::RustCrypto.cipher(&self.key(label))
    }

    /// Changes the JSON of the manifest, and its length with it.
    fn edit_json(&mut self, from: &str, to: &str) {
        let json_len = u64::from_be_bytes(self.manifest[..8].try_into().unwrap()) as usize;
        let json = std::str::from_utf8(&self.manifest[16..16 + json_len]).unwrap();
        assert!(json.contains(from), "{json}");
        let edited = json.replacen(from, to, 1);
        let outboard = self.manifest[16 + json_len..].to_vec();
        self.manifest.truncate(16);
        self.manifest[..8].copy_from_slice(&(edited.len() as u64).to_be_bytes());
        self.manifest.extend(edited.bytes().chain(outboard));
    }
}

fn nonce(index: usize, count: usize) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&(index as u64).to_be_bytes());
    nonce[11] = u8::from(index + 1 == count);
    nonce
}

fn verify(file: Vec<u8>, options: &OpenOptions<'_>) -> Result<(), SealError> {
    Reader::open(file, &credential(), options)?.verify_full()
}

#[test]
fn an_insider_who_changes_nothing_makes_the_same_file() {
    let file = honest();
    assert_eq!(Insider::open(&file).pack(), file);
    verify(file, &OpenOptions::default()).unwrap();
}

#[test]
fn every_lie_of_an_insider_is_found() {
    let file = honest();
    let root = Reader::open(file.clone(), &credential(), &OpenOptions::default()).unwrap().root();
    let signers = [*signer().public()];
    type Lie = (&'static str, fn(&mut Insider), ErrorId);
    let lies: [Lie; 14] = [
        ("a byte of a small member", |f| f.payload[5] ^= 1, ErrorId::MemberMismatch),
        ("a byte of a large member", |f| f.payload[SEGMENT + 70_000] ^= 1, ErrorId::MemberMismatch),
        ("a gap between small members", |f| f.payload[110] = 1, ErrorId::MemberMismatch),
        ("a gap before a large member", |f| f.payload[SEGMENT - 1] = 1, ErrorId::MemberMismatch),
        ("a node of an outboard", |f| *f.manifest.last_mut().unwrap() ^= 1, ErrorId::MemberMismatch),
        ("a sha256", |f| f.edit_json("\"sha256\":\"", "\"sha256\":\"00"), ErrorId::ManifestInvalid),
        ("no sha256 any more", |f| f.edit_json("\"sha256\"", "\"format\""), ErrorId::Internal),
        ("a later version", |f| f.edit_json(":1,", ":2,"), ErrorId::UnsupportedVersion),
        ("another kind", |f| f.edit_json("model", "mode1"), ErrorId::ManifestInvalid),
        ("another place", |f| f.edit_json("\"offset\":128", "\"offset\":129"), ErrorId::ManifestInvalid),
        ("another size", |f| f.edit_json("\"size\":50", "\"size\":51"), ErrorId::MemberMismatch),
        ("a path that climbs", |f| f.edit_json("\"a\"", "\"..\""), ErrorId::ManifestInvalid),
        ("an unknown key", |f| f.edit_json("\"kind\"", "\"x\":1,\"kind\""), ErrorId::ManifestInvalid),
        ("an outboard too few", |f| f.manifest.truncate(f.manifest.len() - 1), ErrorId::ManifestInvalid),
    ];
    for (what, lie, found) in lies {
        let mut insider = Insider::open(&file);
        lie(&mut insider);
        let forged = insider.pack();
        match verify(forged.clone(), &OpenOptions::default()) {
            Err(e) => assert_eq!(e.id(), found, "{what}: {e}"),
            // A manifest that says less is a true one: only its signer or its root tells.
            Ok(()) => assert_eq!(found, ErrorId::Internal, "{what}"),
        }
        let pinned = OpenOptions { pins: Pins { root: Some(root), ..Pins::default() }, ..OpenOptions::default() };
        assert_eq!(verify(forged.clone(), &pinned).unwrap_err().id(), ErrorId::BindingMismatch, "{what}");
        assert_eq!(verify_keyless(&forged, &pinned.pins, None).unwrap_err().id(), ErrorId::BindingMismatch, "{what}");
        let required = OpenOptions { required_signers: Some(&signers), ..OpenOptions::default() };
        assert_eq!(verify(forged.clone(), &required).unwrap_err().id(), ErrorId::SignatureInvalid, "{what}");
        let keyless = verify_keyless(&forged, &Pins::default(), Some(&signers));
        assert_eq!(keyless.unwrap_err().id(), ErrorId::SignatureInvalid, "{what}");
    }
}

#[test]
fn the_hash_is_compared_even_where_the_tag_is_right() {
    // GCM does not commit: whoever holds the key can find other ciphertext for the same tag. The hash of the signed index is
    // what tells the two apart, so a right tag must not stand in for it.
    let file = honest();
    let truth = Insider::open(&file).payload;
    let forged = Insider::open(&file).pack_with(|index| index[48 + 16] ^= 1);
    let reader = Reader::open(forged, &credential(), &OpenOptions::default()).unwrap();
    let mut buffer = Vec::new();
    assert_eq!(reader.read_segment(1, &mut buffer, HashCheck::Compare).unwrap_err().id(), ErrorId::IndexMismatch);
    assert!(buffer.is_empty());
    reader.read_segment(1, &mut buffer, HashCheck::SkipForCheckingClient).unwrap();
    assert_eq!(buffer, truth[SEGMENT..2 * SEGMENT]);
    assert_eq!(reader.verify_full().unwrap_err().id(), ErrorId::IndexMismatch);
}
