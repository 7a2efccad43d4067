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

#[test]
fn an_identity_in_a_file_needs_no_vault_and_signs_for_every_reader() {
    let m = Machine::bare();
    m.file("m/weights", 1000);
    let made = m.checked("key", &["key", "new", "ci", "--pq", "-o", "ci.pem", "--json"]);
    let algorithms: Vec<_> =
        made["keys"].as_array().unwrap().iter().map(|k| k["algorithm"].as_str().unwrap()).collect();
    assert_eq!((algorithms, &made["public"]), (vec!["ecdsa-p256", "ed25519", "ml-dsa-65"], &"ci.pub.pem".into()));
    let mode = |name: &str| fs::metadata(m.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ci.pem"), mode("ci.pub.pem")), (0o600, 0o644));
    // openssl agrees on the first key of each file, and that they belong together.
    sh(&m, "openssl pkey -in ci.pem -pubout > first.pub; head -4 ci.pub.pem | cmp - first.pub");
    m.fails(&["key", "new", "ci", "-o", "ci.pem"], 9, "AlreadyExists");
    fs::remove_file(m.path("ci.pem")).unwrap();
    m.fails(&["key", "new", "ci", "-o", "ci.pem"], 9, "AlreadyExists");
    m.fails(&["key", "new", "ci", "-o", "none/ci.pem"], 6, "NotFound");

    m.ok(&["key", "new", "dev", "--pq", "-o", "dev.pem"]);
    let signed = m.checked("sign", &["sign", "./m", "--key", "dev.pem", "--json"]);
    assert_eq!(signed["signers"].as_array().unwrap().len(), 3);
    assert_eq!(String::from_utf8(m.read("m/claims.jsonl")).unwrap().lines().count(), 2);
    m.ok(&["verify", "./m", "--key", "dev.pub.pem", "--require", "ecdsa-p256,ed25519,ml-dsa-65"]);
    m.ok(&["verify", "./m", "--key", "first.pub", "--key", "dev.pub.pem"]);
    fs::remove_dir_all(m.path("m")).unwrap();
    m.file("m/weights", 1000);
    m.ok(&["sign", "./m", "--key", "dev.pem", "--oms-only"]);
    assert_eq!(m.names("m"), ["model.sig", "weights"]);
    m.fails(&["sign", "./m", "--key", "dev.pem", "--oms-only", "--pq"], 2, "InvalidArgument");
    m.ok(&["key", "new", "plain", "-o", "plain.pem"]);
    m.fails(&["sign", "./m", "--key", "plain.pem", "--pq"], 2, "InvalidArgument");
    m.fails(&["sign", "./m", "--key", "plain.pem", "--key", "dev.pem"], 2, "InvalidArgument");
    m.fails(&["sign", "./m", "--key", "plain.pub.pem"], 4, "BadCredential");
    m.fails(&["sign", "./m"], 2, "InvalidArgument");
    assert!(!m.home().exists(), "no vault is made");
    // What one file makes, another command takes: the Ed25519 key seals.
    m.ok(&["init"]);
    m.fails(&["seal", "m", "--sign-key", "plain.pem"], 5, "Denied");
    m.ok(&["key", "trust", "plain", "--key", "plain.pub.pem"]);
    // The model carries a signature too, and by somebody else.
    m.fails(&["seal", "m", "--sign-key", "plain.pem"], 3, "SignatureMissing");
    m.ok(&["key", "trust", "dev", "--key", "dev.pub.pem"]);
    m.ok(&["seal", "m", "--sign-key", "plain.pem"]);
    m.ok(&["seal", "m", "-o", "m.mvlt", "--sign-key", "plain.pem"]);
    m.ok(&["verify", "m.mvlt", "--signer-key", "plain.pub.pem"]);
}

#[test]
fn an_identity_of_the_vault_signs_and_seals_in_process_and_through_a_daemon() {
    let m = Machine::new();
    m.file("m/weights", 1000);
    m.checked("key", &["key", "new", "release", "--json"]);
    m.fails(&["key", "new", "release"], 9, "AlreadyExists");
    let listed = m.checked("keys", &["key", "ls", "--json"]);
    assert_eq!((&listed["identities"][0]["name"], &listed["version"]), (&"release".into(), &1.into()));
    let shown = m.checked("key", &["key", "show", "release", "--json"]);
    assert_eq!(shown["keys"], listed["identities"][0]["keys"]);
    fs::write(m.path("release.pub.pem"), m.ok(&["key", "show", "release"])).unwrap();
    m.fails(&["key", "show", "nobody"], 6, "NotFound");
    m.fails(&["sign", "./m", "--identity", "nobody"], 6, "NotFound");
    let signed = |identity: &str, require: &str| {
        m.checked("sign", &["sign", "./m", "--identity", identity, "--json"]);
        m.ok(&["verify", "./m", "--trust", identity, "--require", require]);
    };
    signed("release", "ecdsa-p256,ed25519");
    m.ok(&["verify", "./m", "--key", "release.pub.pem", "--require", "ecdsa-p256,ed25519"]);
    let ed25519 = shown["keys"][1]["keyid"].clone();
    assert_eq!(m.checked("version", &["seal", "m", "--identity", "release", "--json"])["signer"], ed25519);
    m.ok(&["seal", "m", "--identity", "release", "-o", "m.mvlt"]);
    m.ok(&["verify", "m.mvlt", "--signer-key", "release.pub.pem"]);

    let daemon = Daemon::start(&m, &NO_NETWORK);
    assert_eq!(m.checked("key", &["key", "new", "pq", "--pq", "--json"])["keys"].as_array().unwrap().len(), 3);
    signed("pq", "ecdsa-p256,ed25519,ml-dsa-65");
    assert_eq!(m.checked("version", &["seal", "m", "--identity", "release", "--json"])["signer"], ed25519);
    m.fails(&["seal", "m", "--identity", "nobody"], 6, "NotFound");
    m.fails(&["seal", "m", "--identity", "release", "-o", "x.mvlt"], 8, "Busy");
    m.ok(&["key", "untrust", "release", "--revoke", "--reason", "seen on a screen"]);
    m.fails(&["sign", "./m", "--identity", "release"], 5, "Denied");
    m.fails(&["seal", "m", "--identity", "release"], 5, "Denied");
    m.ok(&["key", "untrust", "pq"]);
    m.fails(&["seal", "m", "--identity", "pq"], 5, "Denied");
    let log = m.text(&["audit", "tail", "-n", "100"]);
    let row =
        log.lines().find(|l| l.contains("key.sign") && l.contains("signer=pq") && l.contains("subject=m")).unwrap();
    assert!(row.contains("sha256=") && row.contains("predicate_type=https://model_signing/signature/v1.0"), "{row}");
    assert_eq!(daemon.stop(), Some(0));
    // The keys are there after a restart, in a keyring that says so.
    assert_eq!(m.json(&["key", "ls", "--json"])["identities"].as_array().unwrap().len(), 2);
    assert_eq!(m.checked("doctor", &["doctor", "--json"])["healthy"], true);
}
