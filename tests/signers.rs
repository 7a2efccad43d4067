//! Chains of signers made by the `openssl` command, which agrees on each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/openssl.rs"]
mod openssl;

use std::time::Duration;

use model_vault::identity::signer::{Anchors, CertifiedSigner, ChainError, ChainPolicy, Revocations};
use model_vault::names::{Clock, SystemClock, Timestamp};
use openssl::Openssl;

const DAYS: u64 = 24 * 3600;
const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";
const SIGNER: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n\
                      subjectAltName=email:ann@example.org,URI:spiffe://example.org/ci\n";

/// An hour from now: what a test makes is valid then, in whichever second it was made.
fn soon() -> Timestamp {
    SystemClock.now().plus(Duration::from_secs(3600))
}

/// A root and an intermediate with RSA keys, as company CAs have them.
fn company() -> Openssl {
    let openssl = Openssl::new();
    let extensions = CA.trim_end().split('\n').flat_map(|line| ["-addext", line]);
    let make: Vec<_> = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root.key", "-out", "root.pem"]
        .into_iter()
        .chain(["-days", "30", "-subj", "/CN=root", "-config", "empty.cnf"])
        .chain(extensions)
        .collect();
    openssl.write("empty.cnf", "[req]\ndistinguished_name=dn\n[dn]\n");
    openssl.run(&make);
    issue(&openssl, "root", "middle", "/CN=middle", &["-newkey", "rsa:3072"], CA);
    openssl
}

/// Makes NAME.key and NAME.pem, issued by ISSUER.
fn issue(openssl: &Openssl, issuer: &str, name: &str, subject: &str, key: &[&str], extensions: &str) {
    let [key_file, request, certificate] = ["key", "csr", "pem"].map(|ending| format!("{name}.{ending}"));
    let [ca, ca_key] = ["pem", "key"].map(|ending| format!("{issuer}.{ending}"));
    let ask = ["req", "-new", "-nodes", "-keyout", &key_file, "-out", &request, "-subj", subject];
    openssl.run(&[&ask[..], &["-config", "empty.cnf"], key].concat());
    openssl.write("extensions", extensions);
    let sign = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", "20"];
    openssl.run(&[&sign[..], &["-extfile", "extensions", "-out", &certificate]].concat());
}

fn der(openssl: &Openssl, name: &str) -> Vec<u8> {
    openssl.run(&["x509", "-in", &format!("{name}.pem"), "-outform", "DER"])
}

fn verify(
    openssl: &Openssl,
    chain: &[&str],
    revocations: &Revocations,
    at: Timestamp,
) -> Result<CertifiedSigner, ChainError> {
    let anchors = Anchors::from_pem(&openssl.read("root.pem")).unwrap();
    let names = ["email:ann@example.org".parse().unwrap()];
    let chain: Vec<_> = chain.iter().map(|name| der(openssl, name)).collect();
    ChainPolicy { anchors: &anchors, names: &names, revocations }.verify(&chain, at)
}

#[test]
fn a_signature_by_openssl_verifies_under_its_certificate() {
    let openssl = company();
    let curves = [("P-256", "sha256"), ("P-384", "sha384"), ("P-521", "sha512")]
        .map(|(c, h)| (format!("ec_paramgen_curve:{c}"), h));
    for (curve, hash) in &curves {
        issue(&openssl, "middle", "leaf", "/CN=ann", &["-newkey", "ec", "-pkeyopt", curve], SIGNER);
        openssl.run(&["verify", "-CAfile", "root.pem", "-untrusted", "middle.pem", "leaf.pem"]);
        let signer = verify(&openssl, &["leaf", "middle"], Revocations::NONE, soon()).unwrap();
        assert_eq!(signer.names.len(), 2);
        openssl.write("message", "signed");
        let signature = openssl.run(&["dgst", &format!("-{hash}"), "-sign", "leaf.key", "message"]);
        assert_eq!(signer.key.verify(b"signed", &signature), Ok(()));
        assert!(signer.key.verify(b"other", &signature).is_err());
    }
    issue(&openssl, "middle", "leaf", "/CN=ann", &["-newkey", "ed25519"], SIGNER);
    assert!(verify(&openssl, &["leaf", "middle"], Revocations::NONE, soon()).is_ok());
}

#[test]
fn what_the_chain_lacks_is_named() {
    let openssl = company();
    let now = soon();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    issue(&openssl, "middle", "leaf", "/CN=ann", &key, SIGNER);
    let check = |chain: &[&str], at| verify(&openssl, chain, Revocations::NONE, at).map(drop);
    assert_eq!(check(&["leaf", "middle", "root"], now), Ok(()));
    assert_eq!(check(&["leaf"], now), Err(ChainError::UnknownCa));
    let later = |days: u64| now.plus(Duration::from_secs(days * DAYS));
    assert!(matches!(check(&["leaf", "middle"], later(21)), Err(ChainError::Expired(_))));
    assert!(matches!(check(&["leaf", "middle"], Timestamp::from_millis(0)), Err(ChainError::NotYetValid(_))));
    for (extensions, error) in [
        ("keyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n", ChainError::Usage),
        ("basicConstraints=CA:TRUE\nkeyUsage=digitalSignature\n", ChainError::CaAsSigner),
        ("subjectAltName=email:ann@example.org\n", ChainError::Usage),
    ] {
        issue(&openssl, "middle", "other", "/CN=ann", &key, extensions);
        assert_eq!(check(&["other", "middle"], now), Err(error), "{extensions}");
    }
    issue(&openssl, "leaf", "below", "/CN=ann", &key, SIGNER);
    assert_eq!(check(&["below", "leaf", "middle"], now), Err(ChainError::NotACa));
    issue(&openssl, "middle", "rsa", "/CN=ann", &["-newkey", "rsa:2048"], SIGNER);
    assert_eq!(check(&["rsa", "middle"], now), Err(ChainError::UnsupportedKey));
}

#[test]
fn a_certificate_on_a_list_of_openssl_is_refused() {
    let openssl = company();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    issue(&openssl, "middle", "leaf", "/CN=ann", &key, SIGNER);
    issue(&openssl, "middle", "leaver", "/CN=ann", &key, SIGNER);
    openssl.write("index.txt", "");
    openssl.write("crlnumber", "01\n");
    openssl.write(
        "ca.cnf",
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=10\n\
         certificate=middle.pem\nprivate_key=middle.key\n",
    );
    openssl.run(&["ca", "-config", "ca.cnf", "-revoke", "leaver.pem"]);
    openssl.run(&["ca", "-config", "ca.cnf", "-gencrl", "-out", "crl.pem"]);
    let mut lists = Revocations::default();
    lists.add(&openssl.read("crl.pem")).unwrap();
    let now = soon();
    assert_eq!(verify(&openssl, &["leaver", "middle"], Revocations::NONE, now).map(drop), Ok(()));
    assert_eq!(verify(&openssl, &["leaver", "middle"], &lists, now).map(drop), Err(ChainError::Revoked));
    assert_eq!(verify(&openssl, &["leaf", "middle"], &lists, now).map(drop), Ok(()));
    let stale = now.plus(Duration::from_secs(11 * DAYS));
    let error = verify(&openssl, &["leaf", "middle"], &lists, stale).map(drop).unwrap_err();
    assert!(matches!(error, ChainError::RevocationListExpired(_)));
}
