//! What keys promise, without foreign software; tests/keys.rs exchanges them with openssl.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::crypto::random::SystemRandom;
use crate::crypto::{der, pem};
use crate::error::{Error, ErrorId, Result};
use crate::names::Random;

// RFC 8410, section 10.3: one key in both versions (the second with attributes), and its public key.
const ED25519_V1: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
const ED25519_V2: &str = "-----BEGIN PRIVATE KEY-----\nMHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\noB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\nZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PRIVATE KEY-----\n";
const ED25519_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

#[test]
fn every_algorithm_signs_verifies_and_survives_its_files() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.name().parse::<Algorithm>().unwrap(), algorithm);
        let key = SigningKey::generate(algorithm, &SystemRandom).unwrap();
        let again = SigningKey::from_pem(key.to_pem().as_bytes()).unwrap();
        let public = VerifyingKey::from_pem(key.public().to_pem().as_bytes()).unwrap();
        assert_eq!((again.public(), &public), (key.public(), key.public()));
        assert_eq!(VerifyingKey::from_spki(&public.spki()), Ok(public.clone()));
        let signature = again.sign(b"message").unwrap();
        assert_eq!(public.verify(b"message", &signature), Ok(()));
        assert!(public.verify(b"messagf", &signature).is_err());
        assert!(public.verify(b"message", &signature[..signature.len() - 1]).is_err());
        assert!(public.verify(b"message", &[&signature[..], &[0]].concat()).is_err());
        assert!(format!("{key:?}").ends_with("REDACTED)"));
        assert_eq!(key.to_ed25519().is_ok(), algorithm == Algorithm::Ed25519);
    }
    assert_eq!("rsa".parse::<Algorithm>().unwrap_err().id(), ErrorId::InvalidArgument);
}

#[test]
fn a_key_verifies_nothing_of_another_algorithm() {
    let keys = Algorithm::ALL.map(|a| SigningKey::generate(a, &SystemRandom).unwrap());
    for signer in &keys {
        let signature = signer.sign(b"message").unwrap();
        for other in keys.iter().filter(|k| k.algorithm() != signer.algorithm()) {
            assert!(other.public().verify(b"message", &signature).is_err());
        }
    }
}

/// Gives the same bytes again and again.
struct Stuck(u8);

impl Random for Stuck {
    fn fill(&self, out: &mut [u8]) -> Result<()> {
        out.fill(self.0);
        Ok(())
    }
}

#[test]
fn all_randomness_of_a_key_comes_from_the_argument() {
    for algorithm in Algorithm::ALL {
        let key = |byte| SigningKey::generate(algorithm, &Stuck(byte)).unwrap();
        assert_eq!(key(7).public(), key(7).public());
        assert_ne!(key(7).public(), key(8).public());
    }
    for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::EcdsaP521] {
        for out_of_range in [0, 0xff] {
            assert_eq!(SigningKey::generate(algorithm, &Stuck(out_of_range)).unwrap_err().id(), ErrorId::Internal);
        }
    }
}

#[test]
fn the_keys_of_the_rfc_are_read_and_belong_together() {
    let key = SigningKey::from_pem(ED25519_V1.as_bytes()).unwrap();
    assert_eq!(SigningKey::from_pem(ED25519_V2.as_bytes()).unwrap().public(), key.public());
    assert_eq!(&VerifyingKey::from_pem(ED25519_PUBLIC.as_bytes()).unwrap(), key.public());
    assert_eq!(*key.to_pem(), ED25519_V1);
    assert_eq!(key.public().to_pem(), ED25519_PUBLIC);
}

#[test]
fn an_ml_dsa_seed_gives_the_key_that_openssl_makes_of_it() {
    // The seed 00 01 .. 1f of RFC 9881, appendix C; key id as OpenSSL 4.0.0 has it.
    let seed: Vec<u8> = (0..32).collect();
    let key = private::to_pkcs8(Algorithm::MlDsa65, &der::write(0x80, &[&seed]));
    let key = SigningKey::from_pem(pem::encode("PRIVATE KEY", &key).as_bytes()).unwrap();
    assert_eq!(key.key_id().to_string(), "b8b62131bfbe84433efb2273d7f5b87f7a22854a2cfd366fc2aead86d837c52d");
}

#[test]
fn a_private_key_beside_a_foreign_public_key_is_refused() {
    let der = pem::one(ED25519_V2.as_bytes(), "PRIVATE KEY").unwrap();
    let at = der.len() - 1;
    let mut foreign = der.to_vec();
    foreign[at] ^= 1;
    let text = pem::encode("PRIVATE KEY", &foreign);
    assert!(matches!(SigningKey::from_pem(text.as_bytes()), Err(KeyError::Malformed(_))));
}

#[test]
fn a_key_cut_or_extended_anywhere_is_refused() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm, &SystemRandom).unwrap();
        let spki = key.public().spki();
        let pkcs8 = pem::one(key.to_pem().as_bytes(), "PRIVATE KEY").unwrap();
        let read = |der: &[u8]| SigningKey::from_pem(pem::encode("PRIVATE KEY", der).as_bytes());
        for cut in (0..spki.len()).step_by(7) {
            assert!(VerifyingKey::from_spki(&spki[..cut]).is_err());
        }
        for cut in 0..pkcs8.len() {
            assert!(read(&pkcs8[..cut]).is_err());
        }
        assert!(VerifyingKey::from_spki(&[&spki[..], &[0]].concat()).is_err());
        assert!(read(&[&pkcs8[..], &[0]].concat()).is_err());
    }
}

#[test]
fn a_private_key_file_must_be_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (private, public) = (dir.path().join("k"), dir.path().join("p"));
    fs::write(&private, ED25519_V1).unwrap();
    fs::write(&public, ED25519_PUBLIC).unwrap();
    let mode = |mode| fs::set_permissions(&private, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o640);
    let error = SigningIdentity::read(&private).unwrap_err();
    assert_eq!(error.id(), ErrorId::BadCredential);
    assert!(error.hint_text().unwrap().starts_with("chmod 600 "));
    mode(0o600);
    assert_eq!(SigningIdentity::read(&private).unwrap().public(), &PublicKey::read(&public).unwrap());
    assert_eq!(SigningIdentity::read(&dir.path().join("absent")).unwrap_err().id(), ErrorId::NotFound);
    let swapped: [Result<(), Error>; 2] =
        [SigningIdentity::read(&public).map(drop), PublicKey::read(&private).map(drop)];
    fs::write(&private, "x".repeat(20_000)).unwrap();
    for error in swapped.into_iter().chain([SigningIdentity::read(&private).map(drop)]) {
        assert_eq!(error.unwrap_err().id(), ErrorId::BadCredential);
    }
}

#[test]
fn a_key_of_another_algorithm_is_named_where_only_ed25519_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k");
    fs::write(&path, &*SigningKey::generate(Algorithm::EcdsaP256, &SystemRandom).unwrap().to_pem()).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let error = SigningIdentity::read(&path).unwrap_err();
    assert!(error.message().ends_with("a key for ecdsa-p256, not for ed25519"), "{error}");
    assert_eq!(error.hint_text(), Some("make one: openssl genpkey -algorithm ed25519 -out KEY.pem"));
}
