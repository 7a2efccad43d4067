//! A signature of the public service; tests/oms/test_keyless.py has signatures of models, and the reference as judge.

use super::*;
use crate::json::Reader;

const BUNDLE: &[u8] = include_bytes!("../../../tests/oms/keyless/provenance.sigstore.json");
const ROOT: &[u8] = include_bytes!("../../../tests/oms/keyless/trusted_root.json");
const NAME: &str = "uri:https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/\
                    extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

struct Signed {
    material: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

fn signed() -> Signed {
    let mut material = None;
    Reader::new(BUNDLE, 16)
        .unwrap()
        .object(|reader, key| {
            let text = reader.raw()?;
            if key == "verificationMaterial" {
                material = Some(text.to_owned());
            }
            Ok(())
        })
        .unwrap();
    let whole = parse(BUNDLE, 16).unwrap();
    let envelope = whole.get("dsseEnvelope").unwrap();
    let signature = &envelope.get("signatures").and_then(Value::as_array).unwrap()[0];
    Signed {
        material: material.unwrap(),
        payload: bytes(envelope, "payload").unwrap(),
        signature: bytes(signature, "sig").unwrap(),
    }
}

fn policy(name: &str, issuer: &str) -> KeylessPolicy {
    KeylessPolicy::new(TrustedRoot::from_json(ROOT).unwrap(), vec![name.parse().unwrap()], issuer.into()).unwrap()
}

#[test]
fn a_signature_of_the_public_service_is_believed_for_its_name_and_issuer_alone() {
    let Signed { material, payload, signature } = signed();
    let key = policy(NAME, ISSUER).verify(&material, &payload, &signature).unwrap();
    let message = crate::crypto::dsse::pre_authentication(crate::crypto::dsse::IN_TOTO, &payload);
    assert!(key.verify(&message, &signature).is_ok());
    let refused = |name, issuer| policy(name, issuer).verify(&material, &payload, &signature).unwrap_err();
    assert!(matches!(
        refused("email:someone@example.com", ISSUER),
        KeylessError::Certificate(ChainError::NameNotMatched { .. })
    ));
    assert_eq!(refused(NAME, "https://accounts.example.com"), KeylessError::Issuer(ISSUER.into()));
    let root = TrustedRoot::from_json(ROOT).unwrap();
    assert!(KeylessPolicy::new(root.clone(), vec![], ISSUER.into()).is_err());
    assert!(KeylessPolicy::new(root, vec![NAME.parse().unwrap()], String::new()).is_err());
}

#[test]
fn every_changed_byte_of_the_evidence_is_refused() {
    let Signed { material, payload, signature } = signed();
    let policy = policy(NAME, ISSUER);
    let mut text = material.clone().into_bytes();
    let mut refused = 0;
    for at in 0..text.len() {
        let old = text[at];
        // Another letter of the alphabet where there was one, another digit where there was one.
        text[at] = match old {
            b'A' => b'B',
            b'0' => b'1',
            b'a'..=b'z' | b'B'..=b'Z' | b'+' | b'/' => b'A',
            b'1'..=b'9' => b'0',
            _ => continue,
        };
        let material = std::str::from_utf8(&text).unwrap();
        assert!(
            policy.verify(material, &payload, &signature).is_err(),
            "{at}: {}",
            &material[at.saturating_sub(24)..=at]
        );
        refused += 1;
        text[at] = old;
    }
    assert!(refused > 5000, "{refused}");
    for (payload, signature) in [(&b"other"[..], &signature[..]), (&payload, b"other")] {
        assert!(matches!(policy.verify(&material, payload, signature), Err(KeylessError::False(_))));
    }
}

#[test]
fn who_is_not_in_the_root_or_not_then_is_not_believed() {
    let Signed { material, payload, signature } = signed();
    let text = String::from_utf8(ROOT.to_vec()).unwrap();
    let verify = |text: &str| {
        let root = TrustedRoot::from_json(text.as_bytes()).unwrap();
        KeylessPolicy::new(root, vec![NAME.parse().unwrap()], ISSUER.into())
            .unwrap()
            .verify(&material, &payload, &signature)
    };
    assert!(verify(&text).is_ok());
    // The authority, the log and the log of certificates of that time, each from a day after the signature on.
    for start in ["2022-04-13T20:06:15", "2021-01-12T11:53:27", "2022-10-20T00:00:00"] {
        assert!(text.contains(start), "{start}");
        assert!(
            matches!(verify(&text.replace(start, "2024-12-17T00:00:00")), Err(KeylessError::Untrusted(_))),
            "{start}"
        );
    }
    for missing in ["certificateAuthorities", "tlogs", "ctlogs"] {
        let without = text.replacen(&format!("\"{missing}\""), "\"others\"", 1);
        assert!(TrustedRoot::from_json(without.as_bytes()).is_err(), "{missing}");
    }
    assert!(TrustedRoot::from_json(b"{}").is_err());
}
