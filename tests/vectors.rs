//! Every public vector and every damaged case gives the verdict that is listed; a writer that is fed the listed values makes
//! the same bytes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/cases.rs"]
mod cases;
#[path = "support/files.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod files;

use std::collections::HashMap;
use std::path::Path;

use cases::{Outcome, Suite, bytes32, json, number, text};
use files::Memory;
use model_vault::crypto::hash;
use model_vault::crypto::kdf::Argon2Costs;
use model_vault::crypto::keys::Key;
use model_vault::crypto::outboard::hash_member;
use model_vault::crypto::sign::SigningIdentity;
use model_vault::names::FileId;
use model_vault::seal::hazmat::{Fresh, FreshSlot, rewrap_with, seal_with};
use model_vault::seal::io::StoreForm;
use model_vault::seal::{
    Credential, HashCheck, HeaderFacts, MemberSource, NewSlot, OpenOptions, Pins, Reader, SealError, SealRequest,
    context_hash, rewrap, verify_keyless,
};
use serde_json::Value;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/mvlt");

fn vectors() -> Value {
    json(&Path::new(DIR).join("vectors.json")).unwrap()
}

fn file_of(vector: &Value) -> Vec<u8> {
    std::fs::read(Path::new(DIR).join(vector["file"].as_str().unwrap())).unwrap()
}

/// The bytes of a member: BLAKE3 extended output of its `xof_input`.
fn member_bytes(member: &Value) -> Vec<u8> {
    let mut bytes = vec![0; number(member, "size").unwrap() as usize];
    blake3::Hasher::new().update(text(member, "xof_input").unwrap().as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The true payload of a vector, put together from its members and the offsets of its listed manifest.
fn payload_of(vector: &Value) -> Vec<u8> {
    let manifest: Value = serde_json::from_str(text(vector, "manifest_json").unwrap()).unwrap();
    let mut payload = vec![0; number(vector, "payload_len").unwrap() as usize];
    for (member, listed) in vector["members"].as_array().unwrap().iter().zip(manifest["members"].as_array().unwrap()) {
        let bytes = member_bytes(member);
        payload[number(listed, "offset").unwrap() as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    assert_eq!(hash::blake3(&payload).to_string(), vector["payload_blake3"]);
    payload
}

#[test]
fn every_case_gives_a_listed_verdict_and_no_wrong_byte() {
    let suite = Suite::load(DIR).unwrap();
    assert_eq!(suite.cases.len(), 48);
    let vectors = vectors();
    let truths: HashMap<FileId, Vec<u8>> = vectors["files"]
        .as_object()
        .unwrap()
        .values()
        .map(|v| (text(v, "file_id").unwrap().parse().unwrap(), payload_of(v)))
        .collect();
    for case in &suite.cases {
        let verdict = suite.judge(case).unwrap();
        let name = &case["name"];
        assert!(
            case["verdicts"].as_array().unwrap().contains(&verdict.result.as_str().into()),
            "{name}: {}",
            verdict.result
        );
        if verdict.result == "ok" {
            assert_eq!(verdict.plaintext_blake3.as_deref(), case["plaintext_blake3"].as_str(), "{name}");
            assert_eq!(verdict.root.as_deref(), case["root"].as_str(), "{name}");
        }
        if !verdict.handed_on.is_empty() {
            let facts = HeaderFacts::parse(&suite.bytes_of(case).unwrap()).unwrap();
            let start = case["range"][0].as_u64().unwrap_or(0) as usize;
            assert!(truths[&facts.preamble.file_id][start..].starts_with(&verdict.handed_on), "{name}");
        }
    }
}

#[test]
fn every_segment_of_a_damaged_file_is_true_or_refused() {
    let suite = Suite::load(DIR).unwrap();
    let vectors = vectors();
    let truth = payload_of(&vectors["files"]["v05-five-segments"]);
    let kek = suite.credential("kek").unwrap();
    let mut opened = 0;
    for case in suite.cases.iter().filter(|c| c["pieces"][0]["from"] == "v05-five-segments") {
        let Ok(reader) = Reader::open(suite.bytes_of(case).unwrap(), &kek, &OpenOptions::default()) else { continue };
        if case["name"] == "insider-repack-old-sig" {
            continue;
        }
        opened += 1;
        for check in [HashCheck::Compare, HashCheck::SkipForCheckingClient] {
            for index in 0..reader.segment_count() {
                let mut buffer = vec![0xAA; 10];
                let range = reader.segment_range(index).unwrap();
                match reader.read_segment(index, &mut buffer, check) {
                    Ok(()) => assert_eq!(buffer, truth[range.start as usize..range.end as usize]),
                    Err(e) => assert!(buffer.is_empty(), "{e}"),
                }
            }
        }
    }
    assert!(opened >= 5, "{opened}");
}

#[test]
fn every_file_opens_with_each_of_its_credentials_and_has_the_listed_content() {
    let vectors = vectors();
    let signer = signer(&vectors);
    for (name, vector) in vectors["files"].as_object().unwrap() {
        let (bytes, truth) = (file_of(vector), payload_of(vector));
        assert_eq!(hash::blake3(&bytes).to_string(), vector["blake3"], "{name}");
        let signed = vector["signed"].as_bool().unwrap();
        let signers = [*signer.public()];
        let required = signed.then_some(&signers[..]);
        let pins = Pins {
            file_id: Some(text(vector, "file_id").unwrap().parse().unwrap()),
            commitment: Some(text(vector, "commitment").unwrap().parse().unwrap()),
            context: Some(context_hash(text(vector, "context").unwrap().as_bytes())),
            root: Some(text(vector, "root").unwrap().parse().unwrap()),
            min_generation: Some(number(vector, "generation").unwrap() as u32),
        };
        let facts = verify_keyless(&bytes, &pins, required).unwrap();
        assert_eq!(facts.signers.len(), usize::from(signed));
        for slot in vector["slots"].as_array().unwrap() {
            let credential = cases::credential(&vectors["credentials"][text(slot, "credential").unwrap()]).unwrap();
            let options = OpenOptions { pins, required_signers: required, accept_unknown_origin: false };
            let reader = Reader::open(bytes.clone(), &credential, &options).unwrap();
            reader.verify_full().unwrap();
            assert_eq!(reader.manifest().to_json(), vector["manifest_json"], "{name}");
            assert_eq!(hex::encode(reader.outboard()), vector["outboard"], "{name}");
            assert_eq!(reader.segment_count(), number(vector, "segments").unwrap());
            let mut read = Vec::new();
            reader.read_range(0..reader.payload_len(), HashCheck::Compare, &mut into(&mut read)).unwrap();
            assert_eq!(read, truth, "{name}");
            for member in vector["members"].as_array().unwrap() {
                let (path, bytes) = (text(member, "path").unwrap(), member_bytes(member));
                let place = Memory::default();
                reader.extract_member(path, &place, 2, &|_| {}).unwrap();
                assert_eq!(place.take(), bytes, "{name}: {path}");
                let part = bytes.len() as u64 / 3..bytes.len() as u64 - bytes.len() as u64 / 4;
                let mut read = Vec::new();
                reader.read_member_range(path, part.clone(), HashCheck::Compare, &mut into(&mut read)).unwrap();
                assert_eq!(read, bytes[part.start as usize..part.end as usize]);
                let past = bytes.len() as u64..bytes.len() as u64 + 1;
                let refused = reader.read_member_range(path, past, HashCheck::Compare, &mut into(&mut read));
                assert_eq!(
                    refused.unwrap_err().id().name(),
                    "RangeInvalid",
                    "another member's bytes are not this one's"
                );
            }
        }
    }
}

#[test]
fn a_writer_fed_the_listed_values_makes_the_same_bytes() {
    let vectors = vectors();
    let signer = signer(&vectors);
    let mut exact = 0;
    for (name, vector) in vectors["files"].as_object().unwrap() {
        if vector["byte_exact_for_writers"] != true {
            continue;
        }
        exact += 1;
        for threads in [1, 3] {
            let body = Memory::default();
            let (mut request, fresh) = request_of(&vectors, vector).unwrap();
            request.threads = Some(threads);
            request.seal_signers = if vector["signed"] == true { vec![&signer] } else { vec![] };
            let sealed = seal_with(request, fresh, &body, 0).unwrap();
            assert_eq!(sealed.manifest.to_json(), vector["manifest_json"], "{name}");
            assert_eq!(sealed.root.to_string(), vector["root"], "{name}");
            let body = body.take();
            assert_eq!(sealed.body_len, body.len() as u64);
            let file = [sealed.header, body].concat();
            assert!(file == file_of(vector), "{name} differs at byte {:?}", first_difference(&file, &file_of(vector)));
        }
    }
    assert_eq!(exact, 8);
}

#[test]
fn rewrapping_changes_the_slots_and_nothing_else() {
    let vectors = vectors();
    let vector = &vectors["files"]["v05-five-segments"];
    let bytes = file_of(vector);
    let (header, body) = bytes.split_at(8192);
    let old = cases::credential(&vectors["credentials"]["kek"]).unwrap();
    let new = cases::credential(&vectors["credentials"]["kek-next"]).unwrap();
    let random = model_vault::crypto::random::SystemRandom;
    let next = rewrap(header, &old, &Pins::default(), &[new_slot(&new)], &random).unwrap();
    assert_eq!(next.len(), header.len());
    assert_eq!(next[..128], header[..128]);

    let open = |header: &[u8], credential: &Credential, min_generation| {
        let pins = Pins { min_generation: Some(min_generation), ..Pins::default() };
        let options = OpenOptions { pins, ..OpenOptions::default() };
        Reader::open(StoreForm::new(header.to_vec(), body.to_vec()), credential, &options)
    };
    let reader = open(&next, &new, 2).unwrap();
    reader.verify_full().unwrap();
    assert_eq!((reader.generation(), reader.root().to_string()), (2, vector["root"].as_str().unwrap().into()));
    assert_eq!(open(&next, &old, 1).unwrap_err().id().name(), "NoMatchingSlot");
    assert_eq!(open(header, &old, 2).unwrap_err().id().name(), "GenerationRollback");
    open(header, &old, 1).unwrap();

    let again = rewrap(&next, &new, &Pins::default(), &[new_slot(&new)], &random).unwrap();
    assert_ne!(again[128..], next[128..], "salts and ids are fresh");
    let wrong = rewrap(&next, &old, &Pins::default(), &[new_slot(&new)], &random);
    assert_eq!(wrong.unwrap_err().id().name(), "NoMatchingSlot");
    let big = NewSlot::External { uri: "u".repeat(512), blob: vec![7; 4096], secret: Key::take(&mut [1; 32]) };
    let overfull = rewrap(&next, &new, &Pins::default(), &[big.clone(), big], &random);
    assert_eq!(overfull.unwrap_err().id().name(), "LimitExceeded");
    let fresh = [FreshSlot { id: [1; 16], salt: [2; 32] }];
    let given = || rewrap_with(&next, &new, &Pins::default(), &[new_slot(&new)], &fresh).unwrap();
    assert_eq!(given(), given(), "given values give the same header");
}

#[test]
fn a_hybrid_slot_alone_says_nothing_about_the_origin() {
    let vectors = vectors();
    let vector = &vectors["files"]["v05-five-segments"];
    let hybrid = cases::credential(&vectors["credentials"]["hybrid"]).unwrap();
    let open = |options: OpenOptions<'_>| Reader::open(file_of(vector), &hybrid, &options).map(|_| ());
    assert_eq!(open(OpenOptions::default()).unwrap_err().id().name(), "SignatureMissing");
    open(OpenOptions { accept_unknown_origin: true, ..OpenOptions::default() }).unwrap();
    let root = Some(text(vector, "root").unwrap().parse().unwrap());
    open(OpenOptions { pins: Pins { root, ..Pins::default() }, ..OpenOptions::default() }).unwrap();
}

#[test]
fn outboards_are_those_of_the_examples() {
    for example in vectors()["outboard_examples"].as_array().unwrap() {
        let bytes: Vec<u8> = (0..number(example, "size").unwrap()).map(|i| (i % 251) as u8).collect();
        let (digest, outboard) = hash_member(&bytes, number(example, "group_log2").unwrap() as u8);
        assert_eq!(digest.to_string(), example["blake3"]);
        assert_eq!(hex::encode(outboard), example["outboard"]);
    }
}

fn into(all: &mut Vec<u8>) -> impl FnMut(&[u8]) -> Result<(), SealError> {
    |part| {
        all.extend_from_slice(part);
        Ok(())
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    if a.len() == b.len() { a.iter().zip(b).position(|(a, b)| a != b) } else { Some(a.len().min(b.len())) }
}

fn signer(vectors: &Value) -> SigningIdentity {
    let signer = &vectors["signers"]["signer"];
    let identity = SigningIdentity::from_seed(Key::take(&mut bytes32(signer, "private_seed").unwrap()));
    assert_eq!(identity.key_id().to_string(), signer["keyid"]);
    identity
}

fn new_slot(credential: &Credential) -> NewSlot {
    match credential.clone() {
        Credential::Passphrase(passphrase) => NewSlot::Passphrase { passphrase, costs: Argon2Costs::DEFAULT },
        Credential::Kek { id, version, key } => NewSlot::Kek { id, version, key },
        Credential::External { uri, blob, secret } => NewSlot::External { uri, blob, secret },
        Credential::Hybrid(_) => panic!("writers of this release make no hybrid slots"),
    }
}

fn request_of<'a>(vectors: &Value, vector: &Value) -> Outcome<(SealRequest<'a>, Fresh)> {
    let manifest: Value = serde_json::from_str(text(vector, "manifest_json")?)?;
    let hint = |value: &Value, key: &str| value[key].as_str().map(String::from);
    let members = vector["members"].as_array().unwrap().iter().zip(manifest["members"].as_array().unwrap());
    let members = members.map(|(member, listed)| MemberSource {
        path: text(member, "path").unwrap().into(),
        source: Box::new(member_bytes(member)),
        sha256: listed["sha256"].is_string(),
        media_type: hint(listed, "media_type"),
        format: hint(listed, "format"),
    });
    let (mut slots, mut fresh_slots) = (Vec::new(), Vec::new());
    for slot in vector["slots"].as_array().unwrap() {
        slots.push(new_slot(&cases::credential(&vectors["credentials"][text(slot, "credential")?])?));
        let mut id = [0; 16];
        hex::decode_to_slice(text(slot, "slot_id")?, &mut id)?;
        fresh_slots.push(FreshSlot { id, salt: bytes32(slot, "salt")? });
    }
    let mut request = SealRequest::new(text(&manifest, "kind")?.parse()?, members.collect(), slots);
    request.context = Some(text(vector, "context")?.into());
    request.header_len = Some(number(vector, "header_len")?.try_into()?);
    request.log2 = Some(number(vector, "log2_segment")?.try_into()?);
    request.group_log2 = Some(number(&manifest, "group_log2")?.try_into()?);
    request.media_type = hint(&manifest, "media_type");
    request.format = hint(&manifest, "format");
    request.annotations = manifest.get("annotations").cloned();
    let statements = manifest["statements"].as_array().cloned().unwrap_or_default();
    request.statements = Box::new(|_| Ok(statements));
    let fresh = Fresh {
        file_key: Key::take(&mut bytes32(vector, "file_key")?),
        file_id: FileId(bytes32(vector, "file_id")?),
        generation: number(vector, "generation")?.try_into()?,
        slots: fresh_slots,
    };
    Ok((request, fresh))
}
