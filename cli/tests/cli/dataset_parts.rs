//! A signed dataset of more files than one sealed file takes: sealed in parts, and one dataset to everybody who reads it.

use std::fs;

use serde_json::Value;

use super::support::{Daemon, Machine};

const KEY: [&str; 2] = ["--key", "k.pub.pem"];
const FREE_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];
const IMAGES: usize = 3000;

/// A vault that trusts the key `k.pem`, and thousands of images in `d`, signed.
fn with_images() -> Machine {
    let m = Machine::new();
    m.ok(&["key", "new", "k", "-o", "k.pem"]);
    m.ok(&["key", "trust", "curator", "--key", "k.pub.pem"]);
    for i in 0..IMAGES {
        let path = m.path(&format!("d/train/n{:02}/{i:06}.png", i % 11));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("image {i} {}", "x".repeat(i % 700))).unwrap();
    }
    fs::write(m.path("d/classes.csv"), "class,name\nn00,cat\nn01,dog\n").unwrap();
    sign(&m);
    m
}

fn sign(m: &Machine) {
    m.ok(&["dataset", "sign", "d", "--name", "pictures", "--key", "k.pem"]);
}

/// The number of the version that names the parts.
fn seal(m: &Machine, files: &str) -> u64 {
    let sealed = m
        .checked("version", &["seal", "d", "--name", "pictures", "--kind", "dataset", "--part-files", files, "--json"]);
    sealed["version"].as_u64().unwrap()
}

/// Of versions that can be seen, what each is a part of.
fn parts_of(m: &Machine) -> Vec<Option<u64>> {
    let versions = m.checked("versions", &["ls", "pictures", "--json"]);
    versions["versions"].as_array().unwrap().iter().map(|v| v["part_of"].as_u64()).collect()
}

fn dataset(m: &Machine, command: &[&str]) -> Value {
    m.json(&[&["dataset"], command, &KEY, &["--no-state", "--json"]].concat())
}

#[test]
fn a_dataset_in_parts_is_one_dataset_to_whoever_reads_it() {
    let m = with_images();
    assert_eq!(seal(&m, "400"), 9);
    assert_eq!(dataset(&m, &["verify", "pictures"]), dataset(&m, &["verify", "d"]));
    let read = |data: &str| m.ok(&[&["dataset", "read", data, "--no-state"][..], &KEY].concat());
    assert!(read("pictures@v9") == read("d"));
    m.ok(&[&["dataset", "prove", "pictures", "--file", "images", "--record", "1234", "-o", "proof.json"][..], &KEY]
        .concat());
    m.ok(&[&["dataset", "prove", "--check", "proof.json"][..], &KEY].concat());

    // Another version, through a daemon, in parts of another size.
    let daemon = Daemon::start(&m, &FREE_PORT);
    fs::write(m.path("d/train/n05/000005.png"), "another image").unwrap();
    sign(&m);
    let head = seal(&m, "1000");
    assert_eq!(head, 14);
    let parts = parts_of(&m);
    assert_eq!(parts.iter().filter(|of| **of == Some(9)).count(), 8);
    assert_eq!(parts.iter().filter(|of| **of == Some(14)).count(), 4);
    assert_eq!(parts.iter().filter(|of| of.is_none()).count(), 2);
    let diff = m.run(&["dataset", "diff", "pictures@v9", "pictures", "--json"]);
    assert_eq!(diff.status.code(), Some(11));
    let diff: Value = serde_json::from_slice(&diff.stdout).unwrap();
    assert_eq!(diff["summary"]["same"], IMAGES + 1, "{diff}");

    // A workload gets what it was granted, all of it and nothing beside it.
    m.ok(&["workload", "enroll", "job", "-o", "enrolment"]);
    m.ok(&["grant", "job", "pictures"]);
    m.ok(&["fetch", "pictures", "-o", "out", "--enrolment", "enrolment"]);
    let same = m.program("diff", &["-r", "d", "out"]).output().unwrap();
    assert!(same.status.success() && same.stdout.is_empty(), "{}", String::from_utf8_lossy(&same.stdout));
    let by_job = [&["dataset", "verify", "pictures", "--enrolment", "enrolment", "--json"][..], &KEY].concat();
    assert_eq!(m.json(&by_job)["signed_records"], IMAGES + 2);
    m.fails(&["open", "pictures", "-o", "opened"], 2, "InvalidArgument");
    m.ok(&["verify", "pictures"]);

    // What happens to the version happens to its parts.
    m.fails(&["rm", "pictures@v10"], 2, "InvalidArgument");
    m.ok(&["shred", "pictures@v9", "--yes"]);
    m.fails(&["dataset", "verify", "pictures@v3", "--key", "k.pub.pem"], 6, "Shredded");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_sealing_that_broke_off_leaves_parts_that_are_told_and_can_be_removed() {
    let m = with_images();
    // Of the same size: what is told by size is told before anything is sealed.
    fs::write(m.path("d/train/n05/000005.png"), "image 5 yyyyy").unwrap();
    let failing = ["seal", "d", "--name", "pictures", "--kind", "dataset", "--part-files", "2000"];
    let out = m.run(&failing);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(3), "{said}");
    assert!(said.contains("v1 to v2 were sealed as parts") && said.contains("vault shred"), "{said}");
    assert_eq!(parts_of(&m), [Some(0), Some(0)]);
    m.fails(&["dataset", "verify", "pictures", "--key", "k.pub.pem"], 6, "NotFound");
    sign(&m);
    let head = seal(&m, "2000");
    dataset(&m, &["verify", "pictures"]);
    m.ok(&["shred", "pictures@v1", "--yes"]);
    m.ok(&["rm", "pictures@v2"]);
    assert_eq!(parts_of(&m), [None, Some(head), Some(head)]);
    dataset(&m, &["verify", "pictures"]);

    // Nothing says of data that nobody signed which parts belong together.
    fs::remove_file(m.path("d/dataset.sig")).unwrap();
    m.fails(&["seal", "d", "--name", "bare", "--kind", "dataset", "--part-files", "2000"], 2, "InvalidArgument");
    sign(&m);
    fs::write(m.path("d/dataset.parts"), "").unwrap();
    m.fails(&failing, 2, "InvalidArgument");
    m.fails(&["dataset", "sign", "d", "--key", "k.pem"], 2, "InvalidArgument");

    // What is said of a part would count for nothing.
    let part = format!("pictures@v{}", head - 1);
    let statement = ["attest", "add", &part, "--predicate", "p.json", "--type", "https://example.org/x"];
    fs::write(m.path("p.json"), "{}").unwrap();
    m.fails(&[&statement[..], &["--key", "k.pem"]].concat(), 2, "InvalidArgument");
}

#[test]
fn a_statement_that_would_be_refused_is_refused_before_its_files_are_sealed() {
    let m = with_images();
    let sealing = ["seal", "d", "--name", "pictures", "--kind", "dataset", "--part-files", "2000"];
    let refused = |id: &str| {
        let before = m.run(&["ls", "pictures", "--json"]).stdout;
        m.fails(&sealing, 3, id);
        assert!(m.run(&["ls", "pictures", "--json"]).stdout == before, "{id}: nothing was sealed");
    };
    let first = fs::read(m.path("d/dataset.sig")).unwrap();
    fs::write(m.path("d/extra.bin"), "nobody signed it").unwrap();
    refused("DatasetChanged");
    fs::remove_file(m.path("d/extra.bin")).unwrap();
    fs::write(m.path("d/dataset.sig"), "").unwrap();
    m.fails(&sealing, 3, "BundleMalformed");
    for through_daemon in [false, true] {
        let daemon = through_daemon.then(|| Daemon::start(&m, &FREE_PORT));
        fs::write(m.path("d/dataset.sig"), &first).unwrap();
        if !through_daemon {
            m.ok(&["key", "untrust", "curator"]);
            refused("SignatureMissing");
            m.ok(&["key", "trust", "curator", "--key", "k.pub.pem"]);
            m.ok(&sealing);
            sign(&m);
            m.ok(&sealing);
            fs::write(m.path("d/dataset.sig"), &first).unwrap();
        }
        refused("VersionRollback");
        assert!(daemon.is_none_or(|daemon| daemon.stop() == Some(0)));
    }
}
