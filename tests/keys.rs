//! Keys and signatures exchanged with the `openssl` command, in both directions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/openssl.rs"]
mod openssl;

use model_vault::crypto::hash::sha256;
use model_vault::crypto::random::SystemRandom;
use model_vault::crypto::sign::{Algorithm, KeyError, SigningKey, VerifyingKey};
use openssl::Openssl;

/// What the openssl of Debian 12 knows, with its options for `genpkey` and the hash it must be told.
const KNOWN: [(Algorithm, &[&str], Option<&str>); 4] = [
    (Algorithm::Ed25519, &["-algorithm", "ed25519"], None),
    (Algorithm::EcdsaP256, &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], Some("sha256")),
    (Algorithm::EcdsaP384, &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"], Some("sha384")),
    (Algorithm::EcdsaP521, &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"], Some("sha512")),
];
const MESSAGE: &[u8] = b"what is signed";

fn openssl() -> Openssl {
    let openssl = Openssl::new();
    openssl.write("message", MESSAGE);
    openssl
}

/// A key made by openssl, in `key.pem`.
fn genpkey(openssl: &Openssl, options: &[&str]) -> SigningKey {
    openssl.run(&[&["genpkey", "-out", "key.pem"], options].concat());
    private(openssl, "key.pem").unwrap()
}

fn private(openssl: &Openssl, name: &str) -> Result<SigningKey, KeyError> {
    SigningKey::from_pem(&openssl.read(name))
}

/// `-digest HASH` where openssl must be told.
fn digest(hash: Option<&'static str>) -> Vec<&'static str> {
    hash.map(|h| vec!["-digest", h]).unwrap_or_default()
}

#[test]
fn keys_of_openssl_are_read_and_named_as_openssl_prints_them() {
    let openssl = openssl();
    for (algorithm, options, _) in KNOWN {
        let key = genpkey(&openssl, options);
        assert_eq!(key.algorithm(), algorithm);
        let pem = openssl.run(&["pkey", "-in", "key.pem", "-pubout"]);
        let der = openssl.run(&["pkey", "-in", "key.pem", "-pubout", "-outform", "DER"]);
        assert_eq!(&VerifyingKey::from_pem(&pem).unwrap(), key.public());
        assert_eq!(key.public().to_pem().as_bytes(), pem);
        assert_eq!(key.public().spki(), der);
        assert_eq!(key.key_id().0, sha256(&der).0);
        assert_eq!(key.public().oms_hint(), sha256(&pem).to_string());
    }
}

#[test]
fn our_keys_are_read_by_openssl_and_are_the_same_keys() {
    let openssl = openssl();
    for (algorithm, ..) in KNOWN {
        let key = SigningKey::generate(algorithm, &SystemRandom).unwrap();
        openssl.write("key.pem", &*key.to_pem());
        assert_eq!(openssl.run(&["pkey", "-in", "key.pem", "-pubout"]), key.public().to_pem().as_bytes());
        let text = String::from_utf8(openssl.run(&["pkey", "-in", "key.pem"])).unwrap();
        assert_eq!(SigningKey::from_pem(text.as_bytes()).unwrap().public(), key.public());
    }
}

#[test]
fn each_verifies_the_signatures_of_the_other_and_refuses_another_message() {
    let openssl = openssl();
    for (algorithm, options, hash) in KNOWN {
        let key = genpkey(&openssl, options);
        let sign = ["pkeyutl", "-sign", "-inkey", "key.pem", "-rawin", "-in", "message", "-out", "signature"];
        openssl.run(&[&sign[..], &digest(hash)].concat());
        let signature = openssl.read("signature");
        assert_eq!(key.public().verify(MESSAGE, &signature), Ok(()), "{algorithm}");
        assert!(key.public().verify(b"another message", &signature).is_err(), "{algorithm}");

        openssl.write("public.pem", key.public().to_pem());
        let verify = ["pkeyutl", "-verify", "-pubin", "-inkey", "public.pem", "-rawin", "-in", "message"];
        let verify = [&verify[..], &["-sigfile", "signature"], &digest(hash)].concat();
        openssl.write("signature", key.sign(MESSAGE).unwrap());
        openssl.run(&verify);
        openssl.write("signature", key.sign(b"another message").unwrap());
        openssl.try_run(&verify).unwrap_err();
    }
}

#[test]
fn ec_private_keys_in_their_older_form_are_read_with_and_without_parameters() {
    let openssl = Openssl::new();
    let curves = ["prime256v1", "secp384r1", "secp521r1"];
    for (curve, (algorithm, ..)) in curves.into_iter().zip(&KNOWN[1..]) {
        openssl.run(&["ecparam", "-name", curve, "-genkey", "-out", "both.pem"]);
        openssl.run(&["ec", "-in", "both.pem", "-out", "alone.pem"]);
        let (both, alone) = (private(&openssl, "both.pem").unwrap(), private(&openssl, "alone.pem").unwrap());
        assert_eq!((both.algorithm(), both.public()), (*algorithm, alone.public()));
        assert!(String::from_utf8(openssl.read("alone.pem")).unwrap().contains("BEGIN EC PRIVATE KEY"));
    }
}

#[test]
fn encrypted_keys_are_refused_with_the_command_that_decrypts_them() {
    let openssl = Openssl::new();
    genpkey(&openssl, KNOWN[1].1);
    openssl.run(&["pkcs8", "-topk8", "-in", "key.pem", "-out", "new.pem", "-passout", "pass:secret"]);
    openssl.run(&["ec", "-in", "key.pem", "-out", "old.pem", "-aes128", "-passout", "pass:secret"]);
    for file in ["new.pem", "old.pem"] {
        let error = private(&openssl, file).unwrap_err();
        assert_eq!(error, KeyError::Encrypted, "{file}");
        assert!(model_vault::Error::from(error).hint_text().unwrap().contains("openssl pkey -in KEY.pem"));
    }
}

#[test]
fn keys_of_other_kinds_are_refused_as_such() {
    let openssl = Openssl::new();
    let unsupported: [&[&str]; 5] = [
        &["-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048"],
        &["-algorithm", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"],
        &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
        &["-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"],
        &["-algorithm", "ed448"],
    ];
    for options in unsupported {
        openssl.run(&[&["genpkey", "-out", "key.pem"], options].concat());
        assert_eq!(private(&openssl, "key.pem").unwrap_err(), KeyError::Unsupported, "{options:?}");
        let public = openssl.run(&["pkey", "-in", "key.pem", "-pubout"]);
        assert_eq!(VerifyingKey::from_pem(&public), Err(KeyError::Unsupported), "{options:?}");
    }
}

#[test]
fn a_compressed_point_is_refused_since_one_key_has_one_id() {
    let openssl = Openssl::new();
    genpkey(&openssl, KNOWN[1].1);
    let compressed = openssl.run(&["ec", "-in", "key.pem", "-pubout", "-conv_form", "compressed"]);
    assert!(matches!(VerifyingKey::from_pem(&compressed), Err(KeyError::Malformed(_))));
}
