//! What is fuzzed: every parser of the sealed format that meets bytes of a stranger. A target panics if a promise is broken.
//!
//! Used by the libfuzzer binaries in `fuzz_targets/` and, with the corpus and bounded mutations, by `tests/fuzz_replay.rs`.

use model_vault::crypto::dsse::Envelope;
use model_vault::crypto::jws::JwsAlgorithm;
use model_vault::crypto::keys::Key;
use model_vault::crypto::sign::{PublicKey, SigningIdentity, SigningKey, VerifyingKey};
use model_vault::dataset::{Format, Schema, Source, Surveyor};
use model_vault::identity::jwt::{KeySet, Rules, Token};
use model_vault::identity::signer::{Anchors, ChainPolicy, Revocations};
use model_vault::identity::signers::Signers;
use model_vault::identity::sigstore::{KeylessPolicy, TrustedRoot};
use model_vault::intel::List;
use model_vault::json;
use model_vault::manifest::TagStatement;
use model_vault::manifest::attestation::{Attestation, kind_of, predicate_type};
use model_vault::manifest::oms::{Bundle, Requirement, Statement};
use model_vault::names::{FileId, Name, Reference, Root, Tag, Timestamp};
use model_vault::seal::{
    Credential, HashCheck, HeaderFacts, Manifest, OpenOptions, Pins, Reader, SealError, signatures, verify_keyless_with,
};

/// A target.
pub type Target = fn(&[u8]);

/// All targets by the name of their corpus.
pub const ALL: [(&str, Target); 20] = [
    ("header", header),
    ("open", open),
    ("keyless", keyless),
    ("manifest", manifest),
    ("signatures", signatures),
    ("dsse", dsse),
    ("keys", keys),
    ("chain", chain),
    ("signers", signers),
    ("sigstore", sigstore),
    ("oms", oms),
    ("intel", intel),
    ("json", json),
    ("names", names),
    ("tokens", tokens),
    ("csv", csv),
    ("jsonl", jsonl),
    ("tar", tar),
    ("parquet", parquet),
    ("arrow", arrow),
];

/// The preamble and the slot table. What is accepted is written back as it was.
pub fn header(data: &[u8]) {
    let Ok(facts) = HeaderFacts::parse(data) else { return };
    assert_eq!(facts.preamble.to_bytes(), data[..128]);
    assert!((1..=64).contains(&facts.table.slots.len()));
}

/// A whole file, opened with the key of the public vectors: no byte but the true one comes out, and all of it verifies.
pub fn open(data: &[u8]) {
    let Ok(reader) = Reader::open(data.to_vec(), &vectors_kek(), &OpenOptions::default()) else { return };
    let mut read = 0;
    let result = reader.read_range(0..reader.payload_len(), HashCheck::Compare, &mut |part: &[u8]| {
        read += part.len() as u64;
        Ok::<_, SealError>(())
    });
    match result {
        Ok(()) => {
            assert_eq!(read, reader.payload_len());
            reader.verify_full_with(1, &|_| {}).expect("only the owner of the key could make members differ");
        }
        Err(_) => assert!(reader.verify_full_with(1, &|_| {}).is_err()),
    }
}

/// A whole file without a key. In one thread: where threads end, the leak sanitizer takes what the C library notes for them for
/// a leak.
pub fn keyless(data: &[u8]) {
    let data = data.to_vec();
    let unsigned = verify_keyless_with(&data, &Pins::default(), None, 1);
    let signed = verify_keyless_with(&data, &Pins::default(), Some(&[vectors_signer()]), 1);
    assert!(unsigned.is_ok() || signed.is_err());
}

/// The plaintext of a manifest, after 8 bytes of payload length and one of segment size. What is accepted reads back the same
/// from what we would write.
pub fn manifest(data: &[u8]) {
    let Some((payload_len, rest)) = data.split_first_chunk() else { return };
    let Some((log2, plaintext)) = rest.split_first() else { return };
    let (payload_len, log2) = (u64::from_be_bytes(*payload_len), 16 + log2 % 9);
    let Ok((manifest, outboard)) = Manifest::parse(plaintext, payload_len, log2) else { return };
    let text = manifest.to_json();
    let lengths = [text.len() as u64, outboard.len() as u64].map(u64::to_be_bytes).concat();
    let again = [&lengths, text.as_bytes(), outboard].concat();
    let (read_again, _) = Manifest::parse(&again, payload_len, log2).expect("what we write we read");
    assert_eq!(read_again.members, manifest.members);
    assert_eq!(read_again.to_json(), text);
}

/// SIGNATURES against a trusted key, for a file of its own: nothing a fuzzer makes may count.
pub fn signatures(data: &[u8]) {
    assert!(signatures::check(data, &[trusted_by_nobody()], &FileId([1; 32]), &Root([2; 32])).is_err());
    let _ = signatures::check(data, &[vectors_signer()], &FileId([1; 32]), &Root([2; 32]));
}

/// One envelope, and what a tag statement says. What is accepted reads back the same, and nothing here is signed.
pub fn dsse(data: &[u8]) {
    if let Ok(statement) = TagStatement::from_payload(data) {
        let again = TagStatement::from_payload(statement.to_payload().as_bytes()).expect("what we write we read");
        assert_eq!(again, statement);
    }
    assert!(TagStatement::verify(data, &[trusted_by_nobody()]).is_err());
    let Ok(value) = json::parse(data, 16) else { return };
    let Ok(envelope) = Envelope::from_json(&value) else { return };
    let mut text = String::new();
    envelope.write_json(&mut text);
    let again = json::parse(text.as_bytes(), 16).expect("what we write is JSON");
    assert_eq!(Envelope::from_json(&again), Ok(envelope));
}

/// A key in PEM or, public, in DER. What is accepted reads back the same from what we would write.
pub fn keys(data: &[u8]) {
    if let Ok(key) = VerifyingKey::from_spki(data) {
        assert_eq!(key.spki(), data);
    }
    if let Ok(key) = VerifyingKey::from_pem(data) {
        assert_eq!(VerifyingKey::from_pem(key.to_pem().as_bytes()), Ok(key));
    }
    if let Ok(key) = SigningKey::from_pem(data) {
        let again = SigningKey::from_pem(key.to_pem().as_bytes()).expect("what we write we read");
        assert_eq!(again.public(), key.public());
        let signature = key.sign(b"message").expect("a key that was taken signs");
        assert_eq!(key.public().verify(b"message", &signature), Ok(()));
    }
}

/// The certificates of a signer, each after two bytes of length: only the true leaf is believed, whatever stands around it.
/// The same bytes as a file of CAs and as a revocation list.
pub fn chain(data: &[u8]) {
    let _ = Anchors::from_pem(data);
    let _ = Revocations::default().add(data);
    let mut chain = Vec::new();
    let mut rest = data;
    while let Some((len, after)) = rest.split_first_chunk() {
        let Some((certificate, after)) = after.split_at_checked(u16::from_be_bytes(*len).into()) else { return };
        chain.push(certificate);
        rest = after;
    }
    let anchors = Anchors::from_pem(include_bytes!("certificates/root.pem")).expect("a CA");
    let mut lists = Revocations::default();
    lists.add(include_bytes!("certificates/middle-crl.pem")).expect("a list");
    let at = Timestamp::from_millis(1_900_000_000_000);
    for revocations in [Revocations::NONE, &lists] {
        let policy = ChainPolicy { anchors: &anchors, names: &[], revocations };
        let Ok(signer) = policy.verify(&chain, at) else { continue };
        assert_eq!(signer.key.to_pem().as_bytes(), include_bytes!("certificates/leaf.pub.pem"));
    }
}

/// The trust store of signers: what is accepted reads back the same.
pub fn signers(data: &[u8]) {
    let Ok(store) = Signers::parse(data) else { return };
    assert_eq!(Signers::parse(store.to_json().as_bytes()).expect("what we write we read"), store);
}

/// The evidence of a keyless signature that the public service certified: the true signer's key comes out, or none. The same
/// bytes as a trusted root.
pub fn sigstore(data: &[u8]) {
    let _ = TrustedRoot::from_json(data);
    let Ok(material) = std::str::from_utf8(data) else { return };
    let bundle = Bundle::from_json(include_bytes!("../tests/oms/keyless/provenance.sigstore.json")).expect("a bundle");
    let root = TrustedRoot::from_json(include_bytes!("../tests/oms/keyless/trusted_root.json")).expect("a root");
    let beacon = "uri:https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/\
                  extremely-dangerous-oidc-beacon.yml@refs/heads/main";
    let names = vec![beacon.parse().expect("a name")];
    let policy =
        KeylessPolicy::new(root, names, "https://token.actions.githubusercontent.com".into()).expect("a policy");
    let Ok(key) = policy.verify(material, &bundle.payload, bundle.signature()) else { return };
    assert_eq!(bundle.verify(&key), Ok(()));
}

/// Strict JSON: whatever is accepted is written by serde and read back by us.
pub fn json(data: &[u8]) {
    let Ok(value) = json::parse(data, 32) else { return };
    let written = value.to_serde().to_string();
    json::parse(written.as_bytes(), 32).expect("what serde writes of it we read");
}

/// A list of known bad digests and keys. What is taken is kept as it was.
pub fn intel(data: &[u8]) {
    let Ok(list) = List::parse(data) else { return };
    let kept = List::from_bytes(&list.to_bytes()).expect("what was written is read");
    assert_eq!((kept.len(), kept.to_bytes()), (list.len(), list.to_bytes()));
}

/// Model signatures: bundles are written back as what they were read from, and what a statement says has one form.
pub fn oms(data: &[u8]) {
    if let Ok(bundle) = Bundle::from_json(data) {
        assert_eq!(Bundle::from_json(bundle.to_json().as_bytes()).expect("its own form"), bundle);
        let _ = Statement::from_payload(&bundle.payload);
        let _ = Attestation::from_payload(&bundle.payload);
    }
    if let Ok(attestation) = Attestation::from_payload(data) {
        assert_eq!(predicate_type(&kind_of(&attestation.predicate_type)), Some(attestation.predicate_type.clone()));
        let _ = attestation.coverage(Root([0; 32]), &[]);
    }
    if let Ok(statement) = Statement::from_payload(data) {
        let written = statement.to_payload();
        let again = Statement::from_payload(written.as_bytes()).expect("its own form");
        assert_eq!(again.to_payload(), written);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(requirement) = text.parse::<Requirement>()
    {
        assert_eq!(requirement.to_string().parse::<Requirement>().expect("its own form"), requirement);
    }
}

/// References, names, tags and times print what they were read from.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string().parse::<Reference>().expect("its own form"), reference);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse::<Timestamp>().expect("its own form"), time);
    }
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
    }
}

/// A token, and a JWK set. Nothing that a fuzzer makes is signed by the key of RFC 7515, A.3.
pub fn tokens(data: &[u8]) {
    let _ = KeySet::parse(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(token) = Token::parse(text) else { return };
    let keys = br#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let rules = Rules {
        issuer: Some("joe".into()),
        audience: "model-vault".into(),
        algorithms: vec![JwsAlgorithm::Es256],
        leeway: std::time::Duration::from_secs(60),
    };
    let keys = KeySet::parse(keys).expect("a JWK set");
    assert!(token.verify(&keys, &rules, Timestamp::from_millis(1_300_819_380_000)).is_err());
}

/// A table with a header.
pub fn csv(data: &[u8]) {
    records(Format::Csv(b','), data);
}

/// A table in JSON Lines.
pub fn jsonl(data: &[u8]) {
    records(Format::Jsonl, data);
}

/// An archive of samples.
pub fn tar(data: &[u8]) {
    records(Format::Tar, data);
}

/// A table in Parquet, if this build reads any.
pub fn parquet(data: &[u8]) {
    records(Format::Parquet, data);
}

/// A table in Arrow, if this build reads any.
pub fn arrow(data: &[u8]) {
    records(Format::Arrow, data);
}

/// As many records are hashed as were seen, and all bytes.
fn records(format: Format, data: &[u8]) {
    // Foreign decoders may panic where it is caught, which is no finding: it is in threads without a name, as this one.
    static QUIET: std::sync::Once = std::sync::Once::new();
    QUIET.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name().is_some() {
                told(panic);
            }
        }));
    });
    std::thread::scope(|threads| {
        threads.spawn(|| measured(format, data)).join().expect("no panic of our own (told without the hook above)");
    });
}

fn measured(format: Format, data: &[u8]) {
    let source = Source { path: "t", format, bytes: std::sync::Arc::new(data.to_vec()) };
    let mut surveyor = Surveyor::default();
    let Ok(seen) = surveyor.add(&source, 1) else { return };
    let schema = surveyor.schema().unwrap_or(Schema::Files);
    let mut hashed = 0;
    let measured = source.measure(&schema, Some(0), 1, &mut |hashes, keys| {
        assert_eq!(hashes.len(), keys.len());
        hashed += hashes.len() as u64;
        Ok(())
    });
    match measured {
        Ok((file, pieces)) => {
            assert_eq!(pieces.size(), file.size, "the pieces are all of it");
            assert_eq!((file.records, file.size), (hashed, data.len() as u64));
            assert!(format.is_of_files() || seen == hashed, "{seen} records were seen and {hashed} hashed");
        }
        Err(error) => assert_ne!(error.id(), model_vault::ErrorId::Internal, "{error}"),
    }
}

/// Credential `kek` of tests/vectors/mvlt/vectors.json.
fn vectors_kek() -> Credential {
    let id = "49492db99833926fb7ada264b34162e5".parse().expect("16 bytes in hex");
    let key = &mut bytes32("55c13467a28f2be25830dc8b8036ead1bef4622d600ad9f6fa34c8d482fa5f66");
    Credential::Kek { id, version: 7, key: Key::take(key) }
}

/// The signer of the same file.
fn vectors_signer() -> PublicKey {
    let key = bytes32("aa889c3d4ac552c67bcbb63bf4f7e6cc7200aa2c2ffb0b8157bf7cc70983b699");
    PublicKey::from_bytes(&key).expect("a public key")
}

fn trusted_by_nobody() -> PublicKey {
    *SigningIdentity::from_seed(Key::take(&mut [42; 32])).public()
}

fn bytes32(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).expect("32 bytes in hex");
    bytes
}
