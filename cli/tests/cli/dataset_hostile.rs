//! What somebody hostile does to a dataset on disk, and to what is said of it.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::dataset_provenance::{READ, handed_on, rows, sign, with_contributors};
use super::support::{Machine, schema};

const VERIFY: [&str; 6] = ["dataset", "verify", "data", "--key", "curator.pub.pem", "--json"];

/// `data/a.csv` with a thousand rows, signed by `curator.pem`.
fn with_signed() -> Machine {
    let m = Machine::bare();
    for name in ["curator", "job", "mallory"] {
        m.ok(&["key", "new", name, "-o", &format!("{name}.pem")]);
    }
    fs::create_dir_all(m.path("data")).unwrap();
    fs::write(m.path("data/a.csv"), table(0..1000)).unwrap();
    m.ok(&["dataset", "sign", "data", "--key", "curator.pem"]);
    m
}

fn table(ids: std::ops::Range<usize>) -> String {
    "id,text\n".to_owned() + &ids.map(|i| format!("{i},\"text, number {i}\"\n")).collect::<String>()
}

fn pipe(m: &Machine, path: &str) {
    let _ = fs::remove_file(m.path(path));
    assert!(Command::new("mkfifo").arg(m.path(path)).status().unwrap().success());
}

#[test]
fn pipes_and_links_in_a_signed_dataset_are_changes_of_it_and_nobody_waits_for_them() {
    let m = with_signed();
    let good = m.read("data/a.csv");
    let refused = |why: &str| {
        for command in [&VERIFY[..5], &READ] {
            let error = m.fails(command, 3, "DatasetChanged").to_string();
            assert!(!error.contains("--allow-symlinks") && error.contains(why), "{error}");
        }
    };
    pipe(&m, "data/a.csv");
    refused("a.csv is neither file nor directory");
    fs::remove_file(m.path("data/a.csv")).unwrap();
    fs::write(m.path("elsewhere.csv"), &good).unwrap();
    std::os::unix::fs::symlink(m.path("elsewhere.csv"), m.path("data/a.csv")).unwrap();
    refused("a.csv is a symbolic link");
    let error = m.fails(&["dataset", "sign", "data", "--key", "curator.pem"], 2, "InvalidArgument").to_string();
    assert!(!error.contains("--allow-symlinks"), "it has no such option: {error}");
    fs::remove_file(m.path("data/a.csv")).unwrap();
    fs::write(m.path("data/a.csv"), &good).unwrap();
    m.ok(&VERIFY);
    pipe(&m, "data/dataset.tree/a.csv/pieces");
    refused("is n");
    fs::remove_file(m.path("data/dataset.tree/a.csv/pieces")).unwrap();
    pipe(&m, "data/dataset.sig");
    m.fails(&VERIFY[..5], 3, "BundleMalformed");
}

#[test]
fn what_lies_beside_the_files_is_all_that_was_signed_and_nothing_else() {
    let m = with_signed();
    let with = m.copy();
    let differs = |m: &Machine, path: &str, how: &str| {
        let out = m.run(&VERIFY);
        assert_eq!(out.status.code(), Some(3), "{path}: {}", String::from_utf8_lossy(&out.stderr));
        let told: Value = serde_json::from_slice(&out.stdout).unwrap();
        schema("dataset-verify", &told);
        assert_eq!(told["files"], serde_json::json!({ path: how }), "{told}");
        assert_eq!((&told["verified"], told.get("summary")), (&false.into(), None));
    };
    for hidden in ["dataset.tree/evil.csv", "dataset.tree/a.csv/tile/0/999", "dataset.tree.new/deep/evil.csv"] {
        let path = m.path(&format!("data/{hidden}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "id,text\n1,x\n").unwrap();
        differs(&m, hidden, "added");
        fs::remove_file(&path).unwrap();
    }
    m.ok(&VERIFY);
    for (file, told) in [("a.csv/pieces", "a.csv/pieces"), ("a.csv/tile/0/002", "a.csv/tile")] {
        let path = m.path(&format!("data/dataset.tree/{file}"));
        let good = fs::read(&path).unwrap();
        fs::write(&path, [&good[1..], b"x"].concat()).unwrap();
        differs(&m, &format!("dataset.tree/{told}"), "changed");
        fs::remove_file(&path).unwrap();
        differs(&m, &format!("dataset.tree/{told}"), "missing");
        fs::write(&path, good).unwrap();
    }
    fs::remove_dir_all(with.path("data/dataset.tree")).unwrap();
    assert_eq!(with.run(&VERIFY).status.code(), Some(3), "nobody could read it");
}

#[test]
fn a_report_replaces_no_file_and_does_not_become_part_of_the_dataset() {
    let m = with_signed();
    fs::write(m.path("mine"), "mine").unwrap();
    m.ok(&[&READ[..], &["-o", "out.jsonl", "--receipt", "receipt.json"]].concat());
    let sign = ["dataset", "receipt", "sign", "receipt.json", "--model", "mine", "--key", "job.pem"];
    let prove = ["dataset", "prove", "data", "--record", "1", "--key", "curator.pub.pem"];
    for (command, option) in [
        (&["dataset", "scan", "data"][..], "--html"),
        (&["dataset", "scan", "data"], "--sarif"),
        (&READ, "--receipt"),
        (&READ, "-o"),
        (&prove, "-o"),
        (&sign, "-o"),
    ] {
        m.fails(&[command, &[option, "mine"]].concat(), 9, "AlreadyExists");
        if command != sign {
            m.fails(&[command, &[option, "data/report"]].concat(), 2, "InvalidArgument");
        }
    }
    assert_eq!(m.read("mine"), b"mine");
    m.ok(&VERIFY);
}

#[test]
fn statements_about_other_datasets_count_if_somebody_who_is_believed_signed_them() {
    let m = with_signed();
    fs::create_dir_all(m.path("derived")).unwrap();
    fs::write(m.path("derived/d.csv"), table(0..9)).unwrap();
    let derive = |key: &str, from: &str, more: &[&str]| {
        let args = ["dataset", "sign", "derived", "--key", key, "--derived-from", from];
        [&args[..], more].concat().iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()
    };
    let fails = |args: &[String], id: &str| m.fails(&args.iter().map(String::as_str).collect::<Vec<_>>(), 3, id);
    let error = fails(&derive("mallory.pem", "data", &[]), "SignatureMissing");
    assert!(error.to_string().contains("--trust-key FILE"), "{error}");
    fails(&derive("mallory.pem", "data", &["--trust-key", "job.pub.pem"]), "SignatureMissing");
    assert!(!m.path("derived/dataset.sig").exists());
    let believed = derive("mallory.pem", "data", &["--trust-key", "curator.pub.pem"]);
    m.ok(&believed.iter().map(String::as_str).collect::<Vec<_>>());

    // A contributor to be quarantined, two receipts by two jobs, and one that nobody signed.
    m.ok(&[
        "dataset",
        "sign",
        "data",
        "--key",
        "curator.pem",
        "--contributor",
        "job=derived",
        "--contributor-key",
        "job=mallory.pub.pem",
    ]);
    m.ok(&[&READ[..], &["-o", "out.jsonl", "--receipt", "receipt.json"]].concat());
    for (job, model) in [("job", "one.onnx"), ("mallory", "two.onnx")] {
        fs::write(m.path(model), model).unwrap();
        let (key, out) = (format!("{job}.pem"), format!("{job}.sig"));
        m.ok(&["dataset", "receipt", "sign", "receipt.json", "--model", model, "--key", &key, "-o", &out]);
    }
    let error = m.fails(
        &["dataset", "receipt", "sign", "job.sig", "--model", "two.onnx", "--key", "job.pem", "-o", "again.sig"],
        9,
        "AlreadyExists",
    );
    assert!(error.to_string().contains("signed by this key already"), "{error}");
    m.fails(
        &["dataset", "receipt", "sign", "job.sig", "--model", "two.onnx", "--key", "curator.pem", "-o", "again.sig"],
        2,
        "InvalidArgument",
    );
    fs::write(m.path("both.sig"), [m.read("job.sig"), m.read("mallory.sig")].concat()).unwrap();
    let quarantine = |more: &[&'static str]| {
        let args = ["dataset", "quarantine", "data", "--contributor", "job", "--reason", "x", "--key", "curator.pem"];
        [&args[..], more].concat()
    };
    m.fails(&quarantine(&["--receipt", "receipt.json"]), 3, "SignatureMissing");
    m.fails(&quarantine(&["--receipt", "both.sig"]), 3, "SignatureMissing");
    m.fails(&quarantine(&["--descendant", "derived"]), 3, "SignatureMissing");
    let trusts = ["--trust-key", "job.pub.pem", "--trust-key", "mallory.pub.pem"];
    let told = m.checked(
        "dataset-quarantine",
        &quarantine(&[&["--json", "--receipt", "both.sig", "--descendant", "derived"], &trusts[..]].concat()),
    );
    let mut models: Vec<_> = told["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    models.sort_unstable();
    assert_eq!((models, &told["tainted"][0]), (vec!["one.onnx", "two.onnx"], &"derived".into()));
}

#[test]
fn what_a_contributor_keeps_out_itself_it_does_not_attest_and_its_versions_do_not_go_back() {
    let m = with_contributors();
    // Half of alice's records are mallory's, and alice finds out.
    fs::create_dir_all(m.path("hers")).unwrap();
    let half: String = rows(0).lines().take(100).map(|row| format!("{row}\n")).collect();
    fs::write(m.path("hers/part.csv"), format!("id,text,label\n{half}")).unwrap();
    m.ok(&["dataset", "sign", "hers", "--key", "mallory.pem", "--schema", "schema.json"]);
    m.ok(&[
        "dataset",
        "sign",
        "alice",
        "--key",
        "alice.pem",
        "--contributor",
        "mallory=hers",
        "--contributor-key",
        "mallory=mallory.pub.pem",
    ]);
    let before = sign(&m, &[]);
    assert_eq!((&before["contributors"][0]["records"], &before["unattributed"]), (&250.into(), &10.into()));
    let older = m.copy();
    m.ok(&[
        "dataset",
        "quarantine",
        "alice",
        "--contributor",
        "mallory",
        "--reason",
        "flips labels",
        "--key",
        "alice.pem",
    ]);
    let after = sign(&m, &[]);
    assert_eq!((&after["contributors"][0]["records"], &after["unattributed"]), (&150.into(), &110.into()));
    // Somebody puts her version back that still attests them: seen here before, and named by the last version of the whole.
    fs::remove_dir_all(m.path("alice")).unwrap();
    let copied = Command::new("cp").arg("-a").arg(older.path("alice")).arg(m.path("alice")).status().unwrap();
    assert!(copied.success());
    let again = [
        "dataset",
        "sign",
        "data",
        "--key",
        "curator.pem",
        "--contributor",
        "alice=alice",
        "--contributor-key",
        "alice=alice.pub.pem",
    ];
    m.fails(&again, 3, "VersionRollback");
    m.fails(&[&again[..], &["--no-state"]].concat(), 3, "VersionRollback");
}

#[test]
fn records_that_two_attest_are_told_and_all_copies_of_what_is_kept_out_are_kept_out() {
    let m = with_contributors();
    // Bob has five of carol's records among his, and somebody else has five more.
    let hers: Vec<String> = rows(2).lines().take(10).map(|row| format!("{row}\n")).collect();
    let his = String::from_utf8(m.read("bob/part.csv")).unwrap();
    fs::write(m.path("bob/part.csv"), his + &hers[..5].concat()).unwrap();
    m.ok(&["dataset", "sign", "bob", "--key", "bob.pem"]);
    fs::write(m.path("data/2.csv"), format!("id,text,label\n{}", hers.concat())).unwrap();
    let signed = sign(&m, &[]);
    let pair = serde_json::json!([{ "contributors": ["bob", "carol"], "records": 5 }]);
    assert_eq!(signed["overlapping"], pair);
    assert_eq!(signed["contributors"][1]["records"], 255);
    assert_eq!(signed["contributors"][2]["records"], 250);
    assert_eq!(signed["unattributed"], 15);
    let quarantine =
        ["dataset", "quarantine", "data", "--contributor", "carol", "--reason", "x", "--key", "curator.pem"];
    let told = m.checked("dataset-quarantine", &[&quarantine[..], &["--json"]].concat());
    assert_eq!((&told["kept_out"], &told["copies"], &told["records"]), (&260.into(), &10.into(), &760.into()));
    let id = |row: &String| serde_json::from_str::<Value>(row).unwrap()["id"].as_u64().unwrap();
    let read = handed_on(&m);
    assert!(read.len() == 760 && !read.iter().any(|row| (2000..2250).contains(&id(row))), "those are carol's");
    m.checked("dataset-verify", &VERIFY);
    let next = sign(&m, &[]);
    assert_eq!(
        (&next["contributors"][2]["records"], handed_on(&m)),
        (&260.into(), read),
        "the next version is the same"
    );
    m.fails(&[&quarantine[..6], &["", "--key", "curator.pem"]].concat(), 2, "InvalidArgument");
}

#[test]
fn whoever_has_seen_enough_of_the_records_may_go() {
    let m = with_signed();
    fs::write(m.path("data/a.csv"), table(0..100_000)).unwrap();
    m.ok(&["dataset", "sign", "data", "--key", "curator.pem"]);
    let head = |more: &[&str]| {
        let mut command = m.command(&[&READ[..], more].concat());
        let mut reading = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut some = [0; 100];
        reading.stdout.take().unwrap().read_exact(&mut some).unwrap();
        let out = reading.wait_with_output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    assert_eq!(head(&[]), (Some(0), String::new()));
    // What was asked for and is not there is an error.
    let (status, told) = head(&["--receipt", "receipt.json"]);
    assert!(status == Some(10) && told.contains("broken pipe") && !m.path("receipt.json").exists(), "{told}");
}

#[test]
fn a_damaged_record_is_told_with_its_file_once() {
    let m = with_signed();
    fs::write(m.path("data/a.csv"), table(0..1000).replace("number 7\"", "number 8\"")).unwrap();
    let error = m.fails(&READ, 3, "DatasetChanged").to_string();
    assert!(error.contains("a.csv: records 1 to 1000 (") && !error.contains("a.csv: a.csv"), "{error}");
}

#[test]
fn a_receipt_counts_what_the_version_has() {
    let m = with_signed();
    m.ok(&[&READ[..], &["-o", "out.jsonl", "--receipt", "r.json"]].concat());
    fs::write(m.path("model.bin"), "weights").unwrap();
    let good = String::from_utf8(m.read("r.json")).unwrap();
    assert!(good.contains("\"records\":1000,") && good.contains(",1,1000]"), "{good}");
    let verify = |receipt: &str, told: &str| {
        let _ = fs::remove_file(m.path("signed.json"));
        let _ = fs::remove_file(m.path("r2.json"));
        fs::write(m.path("r2.json"), receipt).unwrap();
        m.ok(&[
            "dataset",
            "receipt",
            "sign",
            "r2.json",
            "--model",
            "model.bin",
            "--key",
            "job.pem",
            "-o",
            "signed.json",
        ]);
        let args = ["dataset", "receipt", "verify", "signed.json", "--job-key", "job.pub.pem", "--dataset", "data"];
        let args = [&args[..], &["--key", "curator.pub.pem"]].concat();
        match told {
            "" => drop(m.ok(&args)),
            id => drop(m.fails(&args, 3, id)),
        }
    };
    verify(&good, "");
    verify(&good.replacen("\"records\":1000,", "\"records\":99,", 1), "BundleMalformed");
    verify(&good.replacen("\"records\":1000,", "\"records\":1001,", 1), "BundleMalformed");
    verify(&good.replacen(",1,1000]", ",1,1001]", 1), "DatasetChanged");
    verify(
        &good.replacen(",1,1000]", ",2,1000]", 1).replacen("\"records\":1000,", "\"records\":999,", 1),
        "DatasetChanged",
    );
    verify(&good.replacen("[0,\"a.csv\"", "[0,\"b.csv\"", 1), "DatasetChanged");
    // What nobody signed is told as that.
    let unsigned = ["dataset", "receipt", "verify", "r.json", "--job-key", "job.pub.pem", "--dataset", "data"];
    let error = m.fails(&[&unsigned[..], &["--key", "curator.pub.pem"]].concat(), 3, "SignatureMissing");
    assert!(error["error"]["hint"].as_str().unwrap().contains("vault dataset receipt sign"), "{error}");
}

#[test]
fn nobody_waits_for_a_pipe_that_has_the_name_of_a_file() {
    let m = with_signed();
    m.ok(&[&READ[..], &["-o", "out.jsonl", "--receipt", "r.json"]].concat());
    pipe(&m, "pipe");
    for args in [
        &["dataset", "verify", "data", "--key", "pipe"][..],
        &["dataset", "sign", "data", "--key", "pipe"],
        &["dataset", "receipt", "sign", "r.json", "--model", "pipe", "--key", "job.pem", "-o", "signed.json"],
        &["dataset", "read", "data", "--key", "curator.pub.pem", "-o", "out2.jsonl", "--receipt", "pipe"],
        &["dataset", "scan", "data", "--html", "pipe"],
        &["config", "check", "quotas", "pipe"],
        &["policy", "test", "pipe"],
    ] {
        m.fails(args, 2, "InvalidArgument");
    }
    // What a shell starts the command with is no such pipe.
    let script = "\"$0\" dataset verify data --key <(cat curator.pub.pem)";
    let vault = m.command(&[]).get_program().to_owned();
    let out = m.program("bash", &["-c", script]).arg(vault).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn a_version_that_nobody_would_accept_is_not_signed() {
    let m = with_signed();
    for past in ["2020-01-01", "2020-01-01T00:00:00Z"] {
        let sign = ["dataset", "sign", "data", "--key", "curator.pem", "--expires", past];
        let error = m.fails(&sign, 2, "InvalidArgument").to_string();
        assert!(error.contains("nobody would accept"), "{error}");
    }
    let soon = m.program("date", &["-u", "-d", "+8 seconds", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    let soon = String::from_utf8(soon.stdout).unwrap();
    m.ok(&["dataset", "sign", "data", "--key", "curator.pem", "--expires", soon.trim()]);
    let prove = |to: &str| {
        let args = ["dataset", "prove", "data", "--record", "1", "--key", "curator.pub.pem", "--json", "-o", to];
        m.checked("dataset-prove", &args)
    };
    assert!(prove("p1.json")["expired"].is_null());
    std::thread::sleep(std::time::Duration::from_secs(9));
    assert!(prove("p2.json")["expired"].is_string(), "a proof of what ended says so");
    m.fails(&VERIFY[..5], 3, "StatementExpired");
}

#[test]
fn a_proof_says_that_no_reader_hands_the_record_on() {
    let m = with_contributors();
    sign(&m, &[]);
    let quarantine = ["dataset", "quarantine", "data", "--contributor", "alice", "--reason", "flipped"];
    m.ok(&[&quarantine[..], &["--key", "curator.pem"]].concat());
    let prove = |record: &str, to: &str| {
        let args = ["dataset", "prove", "data", "--file", "0.csv", "--record", record, "--key", "curator.pub.pem"];
        m.checked("dataset-prove", &[&args[..], &["--json", "-o", to]].concat())["kept_out"].clone()
    };
    // Rows of alice come first in each shard.
    assert_eq!(
        (prove("1", "p1"), prove("125", "p2"), prove("126", "p3")),
        ("alice".into(), "alice".into(), Value::Null)
    );
    let out = m.run(&["dataset", "prove", "--check", "p1", "--key", "curator.pub.pem"]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success() && said.contains("records of alice are kept out"), "{said}");
}
