//! The invariants of ARCHITECTURE.md that source text can show: which room may name what.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut found);
    assert!(!found.is_empty(), "{dir} has no sources");
    found.into_iter().map(|path| (path.clone(), code_of(&fs::read_to_string(path).unwrap()))).collect()
}

/// Without comments and without unit tests, which sit at the end of a file.
fn code_of(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    text.lines().map(|l| l.split("//").next().unwrap_or(l)).collect::<Vec<_>>().join("\n")
}

/// The room of a file: the first component below `src/`.
fn room(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    below.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").into()
}

/// Whether the word stands in the code, not as the end of a longer one (`String::` is not `ring::`).
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

fn offenders(needles: &[&str], allowed_rooms: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, code) in sources("src") {
        if allowed_rooms.contains(&room(&path).as_str()) {
            continue;
        }
        for needle in needles {
            if names(&code, needle) {
                found.push(format!("{} names {needle}", path.display()));
            }
        }
    }
    found
}

#[test]
fn only_crypto_names_the_crates_that_protect_our_data() {
    let crates = [
        "ring::",
        "aws_lc_rs::aead",
        "aws_lc_rs::signature",
        "blake2::",
        "aes_gcm::",
        "blake3::Hasher",
        "::blake3::",
        "argon2::",
        "ed25519_dalek::",
        "hpke::",
        "getrandom::",
        "cryptoki::",
    ];
    assert_eq!(offenders(&crates, &["crypto"]), [""; 0]);
}

#[test]
fn only_the_catalogue_knows_sql_and_only_policy_knows_cedar() {
    assert_eq!(offenders(&["rusqlite::", "rusqlite;"], &["catalogue"]), [""; 0]);
    assert_eq!(offenders(&["cedar_policy"], &["policy"]), [""; 0]);
}

#[test]
fn only_the_wire_knows_generated_types_and_only_identity_knows_certificates() {
    assert_eq!(offenders(&["include_proto", "pb::"], &["wire", "server", "client"]), [""; 0]);
    assert_eq!(
        offenders(&["rcgen::", "x509_parser::", "rustls::", "webpki::"], &["identity", "net", "server", "client"]),
        [""; 0]
    );
}

#[test]
fn imports_point_up_the_list_of_rooms() {
    let ground = ["error", "names", "facts", "json", "glob", "regular", "settings"];
    let order: &[(&str, &[&str])] = &[
        ("error", &[]),
        ("names", &["error"]),
        ("facts", &["names"]),
        ("json", &[]),
        ("glob", &[]),
        ("regular", &[]),
        ("settings", &["error"]),
        ("crypto", &["error", "names", "json", "regular"]),
        ("seal", &["error", "names", "json", "crypto"]),
        ("files", &["error", "names", "crypto"]),
        ("manifest", &["error", "names", "json", "crypto", "seal", "files"]),
        ("dataset", &["error", "names", "json", "crypto", "seal", "files"]),
        ("home", &["error", "names", "crypto"]),
        ("keyring", &["error", "names", "crypto", "home"]),
        ("net", &["error", "crypto", "home"]),
        ("store", &["error", "names", "crypto", "seal"]),
        ("catalogue", &["error", "names", "glob", "crypto"]),
        ("identity", &["error", "names", "json", "settings", "crypto", "home", "net"]),
        ("policy", &["error", "names", "facts", "settings", "crypto"]),
        ("quota", &["error", "names", "glob", "settings"]),
        ("audit", &["error", "names", "json", "crypto", "home"]),
        ("intel", &["error", "names", "json"]),
        ("watch", &["error", "names", "json", "glob", "settings", "crypto", "audit"]),
        ("telemetry", &[]),
        ("siem", &["error", "names", "json", "audit", "settings"]),
        ("wire", &["error", "names", "facts", "crypto", "manifest"]),
        ("client", &["error", "names", "facts", "json", "crypto", "seal", "manifest", "identity", "wire"]),
    ];
    let mut wrong = Vec::new();
    for (path, code) in sources("src") {
        let here = room(&path);
        let Some((_, may)) = order.iter().find(|(name, _)| *name == here) else { continue };
        for used in code.split("crate::").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let known = order.iter().any(|(name, _)| *name == used) || ["vault", "server"].contains(&used.as_str());
            if known
                && used != here
                && !may.contains(&used.as_str())
                && !(ground.contains(&used.as_str()) && here == "facts")
            {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn the_command_line_holds_no_cryptography_no_sql_and_no_wire_types() {
    for (path, code) in sources("cli/src") {
        for needle in ["ring::", "blake3::", "rusqlite", "tonic::", "prost::", "rustls::", "model_vault::crypto::aead"]
        {
            assert!(!names(&code, needle), "{} names {needle}", path.display());
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_in_the_whole_workspace() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    for file in ["Cargo.toml", "cli/Cargo.toml"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{file}");
    }
}

#[test]
fn pure_rooms_do_no_network_spawn_nothing_and_read_no_clock() {
    for dir in [
        "src/crypto",
        "src/seal",
        "src/manifest",
        "src/dataset",
        "src/policy",
        "src/audit",
        "src/intel",
        "src/siem",
        "src/watch",
    ] {
        for (path, code) in sources(dir) {
            for needle in ["std::net", "tokio::", "std::process::Command", "SystemTime::now", "SystemClock"] {
                assert!(!names(&code, needle), "{} names {needle}", path.display());
            }
        }
    }
}
