//! Signed models on disk, as the command line shows them. Whether others accept what we sign, and we what they sign, is tested
//! against the reference implementation (tests/oms).

use std::fs;
use std::process::Command;

use super::support::{Machine, schema};

/// A machine with a model in `m`, and keys `NAME.pem`, `NAME.pub` made by openssl.
fn with_model() -> Machine {
    let m = Machine::bare();
    fs::create_dir_all(m.path("m/sub")).unwrap();
    fs::write(m.path("m/weights"), "weights").unwrap();
    fs::write(m.path("m/sub/config"), "{}").unwrap();
    let made = Command::new("sh")
        .current_dir(m.work())
        .args([
            "-ec",
            "umask 077; openssl ecparam -genkey -name prime256v1 -noout -out ecdsa.pem; openssl genpkey -algorithm ed25519 \
             -out ed25519.pem; for k in ecdsa ed25519; do openssl pkey -in $k.pem -pubout -out $k.pub; done",
        ])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    m
}

#[test]
fn a_model_is_signed_and_verified_without_a_vault() {
    let m = with_model();
    let signed = m.checked("sign", &["sign", "./m", "--key", "ecdsa.pem", "--key", "ed25519.pem", "--json"]);
    assert_eq!((&signed["resources"], &signed["bytes"]), (&2.into(), &9.into()));
    assert_eq!(m.names("m"), ["claims.jsonl", "model.sig", "sub", "weights"]);
    let both = ["--key", "ecdsa.pub", "--key", "ed25519.pub", "--require", "ecdsa-p256,ed25519"];
    let verified = m.checked("verify-model", &[&["verify", "./m", "--json"], &both[..]].concat());
    assert_eq!((&verified["verified"], &verified["files"]), (&true.into(), &2.into()));
    assert!(!m.home().exists(), "no vault is made");
    // Signed again, it is the old signatures that go; what else is claimed stays.
    fs::write(m.path("m/weights"), "new weights").unwrap();
    let claims = String::from_utf8(m.read("m/claims.jsonl")).unwrap();
    let other = claims.replace(payload(&claims), "eyJwcmVkaWNhdGVUeXBlIjoib3RoZXIifQ==");
    fs::write(m.path("m/claims.jsonl"), format!("{claims}{other}")).unwrap();
    m.ok(&["sign", "./m", "--key", "ecdsa.pem", "--key", "ed25519.pem"]);
    let claims = String::from_utf8(m.read("m/claims.jsonl")).unwrap();
    assert_eq!((claims.lines().count(), claims.lines().last().unwrap()), (2, other.trim_end()));
    m.ok(&[&["verify", "./m"], &both[..]].concat());
}

fn payload(bundle: &str) -> &str {
    bundle.split("\"payload\":\"").nth(1).unwrap().split('"').next().unwrap()
}

#[test]
fn every_difference_is_told_and_the_answer_is_no() {
    let m = with_model();
    m.ok(&["sign", "./m", "--key", "ecdsa.pem"]);
    fs::write(m.path("m/weights"), "Weights").unwrap();
    fs::rename(m.path("m/sub/config"), m.path("m/sub/renamed")).unwrap();
    fs::write(m.path("m/evil\u{1b}[2J"), "x").unwrap();
    let out = m.run(&["verify", "./m", "--key", "ecdsa.pub"]);
    let (text, error) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    assert_eq!(out.status.code(), Some(3));
    for told in
        ["refused", "changed     weights", "renamed     sub/renamed", "was sub/config", "extra       evil\\u{1b}[2J"]
    {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(error.starts_with("vault: error: ./m: 3 differences from what was signed\nvault: hint: "), "{error}");
    let out = m.run(&["verify", "./m", "--key", "ecdsa.pub", "--json"]);
    assert_eq!(out.status.code(), Some(3));
    schema("verify-model", &serde_json::from_slice(&out.stdout).unwrap());
    // What a file was not signed as is no reason to refuse those that were, if one says so.
    fs::write(m.path("m/weights"), "weights").unwrap();
    fs::rename(m.path("m/sub/renamed"), m.path("m/sub/config")).unwrap();
    m.ok(&["verify", "./m", "--key", "ecdsa.pub", "--ignore-unsigned-files"]);
}

/// Two signatures of trusted keys over different files are a refusal: whoever leaves one behind is told.
#[test]
fn a_signature_that_is_left_behind_by_a_newer_one_is_told() {
    let m = with_model();
    m.ok(&["sign", "./m", "--key", "ecdsa.pem", "--key", "ed25519.pem"]);
    let told =
        |out: std::process::Output| String::from_utf8(out.stderr).unwrap().contains("signs the model as it was before");
    assert!(!told(m.run(&["sign", "./m", "--key", "ed25519.pem"])));
    fs::write(m.path("m/weights"), "newer").unwrap();
    assert!(told(m.run(&["sign", "./m", "--key", "ed25519.pem"])));
    m.ok(&["verify", "./m", "--key", "ed25519.pub"]);
    m.fails(&["verify", "./m", "--key", "ed25519.pub", "--key", "ecdsa.pub"], 3, "SignatureInvalid");
}

/// A check that somebody believes was made must not be passed over in silence.
#[test]
fn options_of_the_other_kind_are_refused_and_those_of_models_say_what_is_meant() {
    let m = with_model();
    m.ok(&["sign", "./m", "--key", "ecdsa.pem"]);
    for other in [&["--keyless"][..], &["--require-signer", "ffffffffffffffff"], &["--signer-key", "ed25519.pub"]] {
        m.fails(&[&["verify", "./m", "--key", "ecdsa.pub"], other].concat(), 2, "InvalidArgument");
    }
    // The bare name is the directory, not an artifact of that name.
    fs::write(m.path("m/weights"), "Weights").unwrap();
    assert_eq!(m.run(&["verify", "m", "--key", "ecdsa.pub", "--json"]).status.code(), Some(3));
}

#[test]
fn a_second_signer_adds_a_signature_to_those_over_the_same_files() {
    let m = with_model();
    let made = "umask 077; openssl ecparam -genkey -name prime256v1 -noout -out second.pem; openssl pkey -in second.pem -pubout \
                -out second.pub";
    assert!(Command::new("sh").current_dir(m.work()).args(["-c", made]).status().unwrap().success());
    for key in ["ecdsa.pem", "ed25519.pem", "second.pem"] {
        m.ok(&["sign", "./m", "--key", key]);
    }
    let keys = ["--key", "ecdsa.pub", "--key", "ed25519.pub", "--key", "second.pub"];
    let verified = m.json(&[&["verify", "./m", "--json"], &keys[..]].concat());
    assert_eq!(verified["signers"].as_array().unwrap().len(), 3);
    // One key is one signer, however often it signs.
    m.ok(&["sign", "./m", "--key", "second.pem"]);
    m.fails(&["verify", "./m", "--key", "second.pub", "--require", "2-of-2:ecdsa-p256,ed25519"], 3, "SignatureMissing");
}

#[test]
fn what_no_signature_covers_is_told_and_nothing_that_is_no_signature_is_overwritten_or_waited_for() {
    let m = with_model();
    fs::create_dir(m.path("m/.git")).unwrap();
    m.ok(&["sign", "./m", "--key", "ecdsa.pem", "--ignore", "sub"]);
    let verified = m.checked("verify-model", &["verify", "./m", "--key", "ecdsa.pub", "--json"]);
    assert_eq!(verified["not_covered"], serde_json::json!([".git", "sub"]));
    m.fails(&["sign", "./m", "--key", "ecdsa.pem", "--ignore", "sbu"], 2, "InvalidArgument");
    m.fails(&["sign", "./m", "--key", "ecdsa.pem", "--signature", "m/weights"], 9, "AlreadyExists");
    m.fails(&["sign", "./m", "--key", "ecdsa.pem", "--signature", "ecdsa.pem"], 9, "AlreadyExists");
    assert!(Command::new("mkfifo").arg(m.path("m/claims.jsonl")).status().unwrap().success());
    m.fails(&["verify", "./m", "--key", "ecdsa.pub"], 3, "BundleMalformed");
    m.fails(&["sign", "./m", "--key", "ecdsa.pem"], 3, "BundleMalformed");
    fs::remove_file(m.path("m/claims.jsonl")).unwrap();
    // A link or pipe among the files came later than the signature: the model is another, the question was right.
    assert!(Command::new("mkfifo").arg(m.path("m/pipe")).status().unwrap().success());
    m.fails(&["verify", "./m", "--key", "ecdsa.pub"], 3, "ModelChanged");
    m.fails(&["verify", "./m/pipe"], 2, "InvalidArgument");
}

#[test]
fn questions_that_make_no_sense_are_usage_errors_and_leave_nothing() {
    let m = with_model();
    fs::create_dir(m.path("empty")).unwrap();
    m.fails(&["sign", "./empty", "--key", "ecdsa.pem"], 2, "InvalidArgument");
    m.fails(&["sign", "./none", "--key", "ecdsa.pem"], 6, "NotFound");
    m.fails(&["sign", "./m", "--key", "ecdsa.pem", "--key", "ecdsa.pem"], 2, "InvalidArgument");
    m.fails(&["sign", "./m", "--key", "ed25519.pem", "--key", "ed25519.pem"], 2, "InvalidArgument");
    m.fails(&["sign", "./m", "--key", "ecdsa.pub"], 4, "BadCredential");
    let public = String::from_utf8(m.run(&["sign", "./m", "--key", "ecdsa.pub"]).stderr).unwrap();
    assert!(!public.contains("chmod"), "{public}");
    m.fails(&["sign", "./m", "--key", "ecdsa.pem", "--ignore", "../x"], 2, "InvalidArgument");
    m.fails(&["sign", "./m", "--key", "ed25519.pem", "--cert-chain", "ecdsa.pub"], 2, "InvalidArgument");
    assert_eq!(m.names("m"), ["sub", "weights"]);
    m.fails(&["verify", "./m", "--key", "ecdsa.pub"], 3, "SignatureMissing");
    m.ok(&["sign", "./m", "--key", "ecdsa.pem"]);
    m.fails(&["verify", "./m"], 2, "InvalidArgument");
    m.fails(&["verify", "./m", "--key", "ecdsa.pem"], 4, "BadCredential");
    m.fails(&["verify", "./m", "--key", "ecdsa.pub", "--require", "rsa"], 2, "InvalidArgument");
}
