//! Who is believed: `vault key`, and what follows from it for signed models and for sealing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::support::{Daemon, Machine};

const NO_NETWORK: [&str; 2] = ["--listen", "none"];

/// Runs a script of openssl commands in the working directory.
fn sh(m: &Machine, script: &str) {
    let done =
        Command::new("sh").current_dir(m.work()).args(["-ec", &format!("umask 077; {script}")]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A model in `m`, and keys NAME.pem, NAME.pub: `old` and `new` of Ed25519, `ecdsa` of P-256.
fn with_keys(m: &Machine) {
    m.file("m/weights", 1000);
    sh(
        m,
        "for k in old new; do openssl genpkey -algorithm ed25519 -out $k.pem; done; \
         openssl ecparam -genkey -name prime256v1 -noout -out ecdsa.pem; \
         for k in old new ecdsa; do openssl pkey -in $k.pem -pubout -out $k.pub; done; cat old.pub ecdsa.pub > both.pub",
    );
}

fn key_id(m: &Machine, args: &[&str]) -> String {
    m.json(&[args, &["--json"]].concat())["signers"][0]["keyids"][0].as_str().unwrap().to_owned()
}

#[test]
fn without_a_vault_signers_are_kept_in_the_home_and_the_vault_takes_them_over() {
    let m = Machine::bare();
    with_keys(&m);
    assert_eq!(m.checked("keys", &["key", "ls", "--json"])["signers"], serde_json::json!([]));
    assert!(!m.home().exists(), "asking makes no home");
    m.fails(&["key", "untrust", "alice"], 6, "NotFound");
    let trusted = m.checked("keys", &["key", "trust", "alice", "--key", "both.pub", "--json"]);
    let algorithms: Vec<_> =
        trusted["signers"].as_array().unwrap().iter().map(|s| s["algorithm"].as_str().unwrap()).collect();
    assert_eq!((algorithms, &trusted["version"]), (vec!["ed25519", "ecdsa-p256"], &serde_json::Value::Null));
    assert_eq!(fs::metadata(m.home().join("signers.json")).unwrap().permissions().mode() & 0o777, 0o600);
    m.fails(&["key", "trust", "alice", "--key", "both.pub"], 9, "AlreadyExists");
    m.fails(&["key", "trust", "bob", "--key", "old.pub"], 9, "AlreadyExists");
    m.fails(&["key", "trust", "bob", "--key", "old.pem"], 4, "BadCredential");
    m.ok(&["sign", "./m", "--key", "old.pem", "--key", "ecdsa.pem"]);
    let verified = m.checked("verify-model", &["verify", "./m", "--trust", "alice", "--json"]);
    assert_eq!((&verified["signers"][0]["name"], &verified["signers"][1]["name"]), (&"alice".into(), &"alice".into()));

    m.ok(&["init"]);
    let taken_over = m.checked("keys", &["key", "ls", "--json"]);
    assert_eq!((&taken_over["signers"], &taken_over["version"]), (&trusted["signers"], &1.into()));
    assert!(m.text(&["audit", "tail"]).contains("adopted=2"));
    m.ok(&["verify", "./m", "--trust", "alice"]);
}

#[test]
fn a_home_that_others_can_write_to_says_nothing_about_signers() {
    let m = Machine::bare();
    with_keys(&m);
    m.ok(&["key", "trust", "alice", "--key", "both.pub"]);
    m.ok(&["sign", "./m", "--key", "ecdsa.pem"]);
    for (path, mode, well) in [(m.home().join("signers.json"), 0o666, 0o600), (m.home(), 0o770, 0o700)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        m.fails(&["verify", "./m", "--trust", "alice"], 2, "ConfigInvalid");
        m.fails(&["verify", "./m", "--key", "ecdsa.pub"], 2, "ConfigInvalid");
        fs::set_permissions(&path, fs::Permissions::from_mode(well)).unwrap();
    }
    m.ok(&["verify", "./m", "--trust", "alice"]);
    fs::set_permissions(m.home().join("signers.json"), fs::Permissions::from_mode(0o606)).unwrap();
    m.fails(&["init"], 2, "ConfigInvalid");
    assert!(m.home().join("signers.json").exists(), "what is not taken over is not removed");
}

#[test]
fn signers_are_asked_for_by_name_and_count_as_keys_given_do() {
    let m = Machine::bare();
    with_keys(&m);
    m.ok(&["key", "trust", "alice", "--key", "both.pub"]);
    m.ok(&["key", "trust", "bob", "--key", "new.pub", "--namespace", "prod"]);
    m.ok(&["sign", "./m", "--key", "ecdsa.pem", "--key", "new.pem"]);
    m.ok(&["verify", "./m", "--trust", "alice"]);
    m.ok(&["verify", "./m", "--trust", "bob"]);
    m.ok(&["verify", "./m", "--trust", "*"]);
    let hint = m.fails(&["verify", "./m", "--trust", "carol"], 6, "NotFound")["error"]["hint"].to_string();
    assert!(hint.contains("vault key ls"), "{hint}");
    // Each name brings its keys alone; anyone is whoever is trusted everywhere.
    m.fails(&["verify", "./m", "--trust", "alice", "--require", "ed25519"], 3, "SignatureMissing");
    m.fails(&["verify", "./m", "--trust", "*", "--require", "ed25519"], 3, "SignatureMissing");
    m.ok(&["verify", "./m", "--trust", "alice", "--trust", "bob", "--require", "ecdsa-p256,ed25519"]);
    m.ok(&["verify", "./m", "--trust", "alice", "--key", "new.pub", "--require", "ecdsa-p256,ed25519"]);
    m.fails(&["verify", "./m", "--keyless", "--trust", "alice"], 2, "InvalidArgument");
}

#[test]
fn a_key_is_retired_rotated_and_revoked() {
    let m = Machine::bare();
    with_keys(&m);
    m.ok(&["key", "trust", "alice", "--key", "old.pub"]);
    m.ok(&["sign", "./m", "--key", "old.pem"]);
    let retired = m.json(&["key", "trust", "alice", "--key", "old.pub", "--until", "2020-01-01", "--json"]);
    assert_eq!(retired["signers"][0]["state"], "retired");
    let told = m.fails(&["verify", "./m", "--trust", "alice"], 3, "SignatureMissing");
    assert!(told["error"]["message"].as_str().unwrap().contains("not trusted any more since 2020"), "{told}");
    m.ok(&["key", "trust", "alice", "--key", "new.pub", "--until", "2999-12-31"]);
    m.ok(&["sign", "./m", "--key", "new.pem"]);
    m.ok(&["verify", "./m", "--trust", "alice"]);

    let id = key_id(&m, &["key", "trust", "old-alice", "--key", "ecdsa.pub"]);
    m.fails(&["key", "untrust", "alice", &id], 6, "NotFound");
    m.fails(&["key", "untrust", "alice", "--revoke"], 2, "InvalidArgument");
    let ids = m.json(&["key", "ls", "--json"]);
    let new = ids["signers"][1]["keyids"][0].as_str().unwrap().to_owned();
    let revoked =
        m.checked("keys", &["key", "untrust", "alice", &new[..16], "--revoke", "--reason", "laptop stolen", "--json"]);
    assert_eq!((&revoked["revoked"][0]["keyid"], revoked["signers"].as_array().unwrap().len()), (&new.into(), 1));
    for trusted in [&["--trust", "alice"][..], &["--key", "new.pub"]] {
        m.fails(&[&["verify", "./m"], trusted].concat(), 3, "SignatureMissing");
    }
    let told = m.fails(&["verify", "./m", "--key", "new.pub"], 3, "SignatureMissing");
    assert!(told["error"]["message"].as_str().unwrap().contains("laptop stolen"), "{told}");
    m.fails(&["key", "trust", "carol", "--key", "new.pub"], 2, "InvalidArgument");
    assert!(m.text(&["key", "ls"]).contains("laptop stolen"));
    m.ok(&["key", "untrust", "alice"]);
    m.fails(&["verify", "./m", "--trust", "alice"], 6, "NotFound");
}

#[test]
fn an_authority_is_trusted_with_the_names_of_its_signers() {
    let m = Machine::bare();
    m.file("m/weights", 1000);
    sh(
        &m,
        "printf '[req]\\ndistinguished_name=dn\\n[dn]\\n[s]\\nkeyUsage=critical,digitalSignature\\n\
         extendedKeyUsage=codeSigning\\nsubjectAltName=URI:spiffe://example.org/ci\\n' > c.cnf; \
         for k in root leaf; do openssl ecparam -genkey -name prime256v1 -noout -out $k.pem; done; \
         openssl req -x509 -key root.pem -out root.crt -days 9 -subj /CN=root -config c.cnf \
           -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign; \
         openssl req -new -key leaf.pem -out leaf.csr -subj /CN=leaf -config c.cnf; \
         openssl x509 -req -in leaf.csr -CA root.crt -CAkey root.pem -days 5 -extfile c.cnf -extensions s -out leaf.crt",
    );
    m.ok(&["sign", "./m", "--key", "leaf.pem", "--cert-chain", "leaf.crt"]);
    let ca = ["--ca", "root.crt", "--signer-name"];
    m.ok(&[&["key", "trust", "ci"], &ca[..], &["spiffe://example.org/ci"]].concat());
    m.ok(&[&["key", "trust", "other"], &ca[..], &["dns:example.org"]].concat());
    let verified = m.checked("verify-model", &["verify", "./m", "--trust", "ci", "--json"]);
    assert_eq!(
        (&verified["signers"][0]["name"], &verified["signers"][0]["by_certificate"]),
        (&"ci".into(), &true.into())
    );
    m.fails(&["verify", "./m", "--trust", "other"], 3, "SignatureMissing");
    // The key of the certificate is on no list of signers, and is refused all the same.
    let leaf = verified["signers"][0]["keyid"].as_str().unwrap();
    m.ok(&["key", "untrust", "ci", leaf, "--revoke", "--reason", "runner broken into"]);
    m.fails(&["verify", "./m", "--trust", "ci"], 3, "SignatureMissing");
    m.fails(&["verify", "./m", "--ca", "root.crt"], 3, "SignatureMissing");
    m.fails(&["key", "trust", "x", "--ca", "leaf.crt"], 2, "ConfigInvalid");
}

#[test]
fn a_daemon_changes_the_store_for_operators_and_the_copy_is_there_at_once() {
    let m = Machine::new();
    with_keys(&m);
    m.ok(&["sign", "./m", "--key", "ecdsa.pem"]);
    let daemon = Daemon::start(&m, &NO_NETWORK);
    m.checked("keys", &["key", "trust", "alice", "--key", "both.pub", "--until", "2999-12-31", "--json"]);
    assert_eq!(m.checked("keys", &["key", "ls", "--json"])["version"], 1);
    m.ok(&["verify", "./m", "--trust", "alice"]);
    let ecdsa = m.json(&["key", "ls", "--json"])["signers"][1]["keyids"][0].as_str().unwrap().to_owned();
    m.ok(&["key", "untrust", "alice", &ecdsa, "--revoke", "--reason", "broken"]);
    m.fails(&["verify", "./m", "--trust", "alice"], 3, "SignatureMissing");
    m.fails(&["key", "untrust", "nobody"], 6, "NotFound");
    m.fails(&["key", "trust", "alice", "--key", "ecdsa.pub"], 2, "InvalidArgument");
    let log = m.text(&["audit", "tail", "-n", "50"]);
    assert!(
        ["key.trust", "key.untrust", "key.list", "reason=broken", "deny=NotFound"].iter().all(|a| log.contains(a)),
        "{log}"
    );
    drop(daemon);

    // Somebody who can write to the home adds a signer: the next unlock takes that back, on record.
    let copy = m.home().join("signers.json");
    let before = fs::read(&copy).unwrap();
    fs::remove_file(&copy).unwrap();
    let other = Machine::bare();
    with_keys(&other);
    other.ok(&["key", "trust", "mallory", "--key", "old.pub"]);
    fs::copy(other.home().join("signers.json"), &copy).unwrap();
    m.ok(&["status"]);
    assert_eq!(fs::read(&copy).unwrap(), before);
    assert!(m.text(&["audit", "tail"]).contains("trust.restore"));
    assert_eq!(m.json(&["key", "ls", "--json"])["signers"][0]["name"], "alice");
}
