//! Who supplied which records, what is kept out, what a job has read, and the proof of one record.

use std::fs;

use serde_json::Value;

use super::support::Machine;

pub const CONTRIBUTORS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Keys of a curator, a job and four contributors, each of whom signed 250 rows of its own; the curator's set has them all in two shards, and ten
/// rows of nobody's.
pub fn with_contributors() -> Machine {
    let m = Machine::bare();
    for name in ["curator", "job", "mallory"].iter().chain(&CONTRIBUTORS) {
        m.ok(&["key", "new", name, "-o", &format!("{name}.pem")]);
    }
    fs::write(m.path("schema.json"), SCHEMA).unwrap();
    let mut shards = [String::from("id,text,label\n"), String::from("id,text,label\n")];
    for (n, name) in CONTRIBUTORS.iter().enumerate() {
        let rows = rows(n);
        fs::create_dir_all(m.path(name)).unwrap();
        fs::write(m.path(&format!("{name}/part.csv")), "id,text,label\n".to_owned() + &rows).unwrap();
        let key = format!("{name}.pem");
        m.ok(&["dataset", "sign", name, "--key", &key, "--schema", "schema.json"]);
        // By turns, so that no shard is anybody's.
        for (i, row) in rows.lines().enumerate() {
            shards[i % 2] += &format!("{row}\n");
        }
    }
    shards[1] += &(0..10).map(|i| format!("{},found,{}\n", 9000 + i, i % 2)).collect::<String>();
    fs::create_dir_all(m.path("data")).unwrap();
    for (i, shard) in shards.iter().enumerate() {
        fs::write(m.path(&format!("data/{i}.csv")), shard).unwrap();
    }
    m
}

const SCHEMA: &str = r#"{"records":"rows","columns":[{"name":"id","type":"int"},{"name":"label","type":"int"},{"name":"text","type":"text"}]}"#;

pub fn rows(of: usize) -> String {
    (0..250)
        .map(|i| format!("{},\"a line, {i}\nand more\",{}\n", of * 1000 + i, i % 2))
        .map(|row| row.replace('\n', " ").trim_end().to_owned() + "\n")
        .collect()
}

pub fn sign(m: &Machine, more: &[&str]) -> Value {
    let mut args = vec!["dataset", "sign", "data", "--key", "curator.pem", "--schema", "schema.json", "--json"];
    let named: Vec<_> = CONTRIBUTORS.iter().flat_map(|c| [format!("{c}={c}"), format!("{c}={c}.pub.pem")]).collect();
    for (i, value) in named.iter().enumerate() {
        args.extend([if i % 2 == 0 { "--contributor" } else { "--contributor-key" }, value]);
    }
    args.extend_from_slice(more);
    m.checked("dataset-sign", &args)
}

pub const READ: [&str; 5] = ["dataset", "read", "data", "--key", "curator.pub.pem"];

pub fn handed_on(m: &Machine) -> Vec<String> {
    m.text(&READ).lines().map(ToOwned::to_owned).collect()
}

#[test]
fn every_record_is_somebodys_or_nobodys_and_a_contributor_can_be_kept_out() {
    let m = with_contributors();
    let signed = sign(&m, &[]);
    let counts: Vec<_> =
        signed["contributors"].as_array().unwrap().iter().map(|c| c["records"].as_u64().unwrap()).collect();
    assert_eq!((counts, &signed["unattributed"]), (vec![250; 4], &10.into()));
    let read = handed_on(&m);
    assert_eq!(read.len(), 1010);
    m.ok(&[&READ[..], &["-o", "all.jsonl", "--receipt", "receipt.json"]].concat());
    fs::write(m.path("model.onnx"), "weights").unwrap();
    let receipt =
        ["dataset", "receipt", "sign", "receipt.json", "--model", "model.onnx", "--key", "job.pem", "-o", "r.sig"];
    m.checked("dataset-receipt", &[&receipt[..], &["--json"]].concat());
    let verify = [
        "dataset",
        "receipt",
        "verify",
        "r.sig",
        "--job-key",
        "job.pub.pem",
        "--dataset",
        "data",
        "--key",
        "curator.pub.pem",
    ];
    let told = m.checked("dataset-receipt", &[&verify[..], &["--json", "--model", "model.onnx"]].concat());
    assert_eq!(
        (&told["whole"], &told["records"], &told["tainted_by"]),
        (&true.into(), &1010.into(), &Value::Array(vec![]))
    );

    // A dataset that was made from it.
    fs::create_dir_all(m.path("derived")).unwrap();
    fs::write(m.path("derived/d.csv"), "id\n1\n").unwrap();
    m.ok(&["dataset", "sign", "derived", "--key", "curator.pem", "--derived-from", "data"]);
    let before = (m.read("data/0.csv"), m.read("data/1.csv"));
    let quarantine = [
        "dataset",
        "quarantine",
        "data",
        "--contributor",
        "carol",
        "--reason",
        "flipped labels",
        "--key",
        "curator.pem",
        "--descendant",
        "derived",
        "--receipt",
        "r.sig",
        "--trust-key",
        "job.pub.pem",
        "--json",
    ];
    // One that was killed before its statement was there is noticed, and the next one begins with what is signed.
    let list = m.path("data/dataset.tree/0.csv/contributors");
    fs::copy(&list, list.with_extension("old")).unwrap();
    fs::write(&list, "505 1\n").unwrap();
    let noticed = m.run(&["dataset", "verify", "data", "--key", "curator.pub.pem"]);
    assert_eq!(noticed.status.code(), Some(3));
    let out = m.checked("dataset-quarantine", &quarantine);
    assert!(!list.with_extension("old").exists());
    assert_eq!((&out["kept_out"], &out["records"], &out["version"]), (&250.into(), &760.into(), &2.into()));
    assert_eq!((&out["tainted"][0], &out["models"][0]["name"]), (&"derived".into(), &"model.onnx".into()));
    assert_eq!(before, (m.read("data/0.csv"), m.read("data/1.csv")), "no data is rewritten");
    let read = handed_on(&m);
    assert_eq!(read.len(), 760);
    let id = |row: &String| serde_json::from_str::<Value>(row).unwrap()["id"].as_u64().unwrap();
    assert!(!read.iter().any(|row| (2000..2250).contains(&id(row))), "those are carol's");
    let verified = m.checked("dataset-verify", &["dataset", "verify", "data", "--key", "curator.pub.pem", "--json"]);
    assert_eq!((&verified["verified"], &verified["kept_out"]), (&true.into(), &250.into()));
    // The receipt is about a version that had them.
    let told = m.run(&[&verify[..], &["--json"]].concat());
    assert_eq!(told.status.code(), Some(11));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["tainted_by"], serde_json::json!(["carol"]));
    m.fails(&quarantine[..quarantine.len() - 1], 9, "AlreadyExists");
    // A later version keeps them out too, and whoever leaves the contributors away cannot let them in again.
    let third = sign(&m, &[]);
    assert_eq!((&third["version"], handed_on(&m).len()), (&3.into(), 760));
    m.fails(&["dataset", "sign", "data", "--key", "curator.pem"], 2, "InvalidArgument");
    // Nor does carol, by attesting them no more: what was kept out stays out.
    fs::write(m.path("carol/part.csv"), "id,text,label\n2000,other,0\n").unwrap();
    m.ok(&["dataset", "sign", "carol", "--key", "carol.pem"]);
    let fourth = sign(&m, &[]);
    assert_eq!((&fourth["contributors"][2]["records"], handed_on(&m).len()), (&250.into(), 760));
    m.fails(
        &["dataset", "quarantine", "data", "--contributor", "eve", "--reason", "x", "--key", "curator.pem"],
        6,
        "NotFound",
    );
}

#[test]
fn nobody_attests_in_the_name_of_another() {
    let m = with_contributors();
    let one = |contributor: &str, key: &str| {
        [
            "dataset",
            "sign",
            "data",
            "--key",
            "curator.pem",
            "--schema",
            "schema.json",
            "--contributor",
            contributor,
            "--contributor-key",
            key,
        ]
        .map(ToOwned::to_owned)
    };
    let fails = |args: [String; 11], code, id| m.fails(&args.each_ref().map(String::as_str), code, id);
    fails(one("alice=bob", "alice=alice.pub.pem"), 3, "SignatureMissing");
    fails(one("alice=alice", "alice=mallory.pub.pem"), 3, "SignatureMissing");
    fails(one("alice=alice", "bob=bob.pub.pem"), 6, "NotFound");
    // What she signed under another schema says nothing of these hashes.
    fs::remove_file(m.path("alice/dataset.sig")).unwrap();
    m.ok(&["dataset", "sign", "alice", "--key", "alice.pem", "--schema", "schema.json"]);
    fs::write(m.path("other.json"), SCHEMA.replace("int", "text")).unwrap();
    fs::remove_file(m.path("bob/dataset.sig")).unwrap();
    m.ok(&["dataset", "sign", "bob", "--key", "bob.pem", "--schema", "other.json"]);
    fails(one("bob=bob", "bob=bob.pub.pem"), 2, "InvalidArgument");
    // Hashes that she did not sign.
    let tile = m.path("alice/dataset.tree/part.csv/tile/0/000.p/250");
    let mut hashes = fs::read(&tile).unwrap();
    hashes[5] ^= 1;
    fs::write(&tile, hashes).unwrap();
    fails(one("alice=alice", "alice=alice.pub.pem"), 3, "DatasetChanged");
    assert!(!m.path("data/dataset.sig").exists());
}

#[test]
fn nothing_of_a_piece_that_was_changed_is_handed_on() {
    let m = Machine::bare();
    m.ok(&["key", "new", "curator", "-o", "curator.pem"]);
    fs::create_dir_all(m.path("data")).unwrap();
    // Several pieces.
    let rows: String =
        (0..60_000).map(|i| format!("{i},some words that make this row longer than a few bytes,{}\n", i % 2)).collect();
    fs::write(m.path("data/t.csv"), format!("id,text,label\n{rows}")).unwrap();
    m.ok(&["dataset", "sign", "data", "--key", "curator.pem"]);
    let all = handed_on(&m);
    assert_eq!(all.len(), 60_000);
    let good = m.read("data/t.csv");
    let pieces = String::from_utf8(m.read("data/dataset.tree/t.csv/pieces")).unwrap();
    let sizes: Vec<(usize, usize)> = pieces
        .lines()
        .map(|line| line.split(' ').map(|word| word.parse().unwrap_or(0)))
        .map(|mut words| (words.next().unwrap(), words.next().unwrap()))
        .collect();
    assert!(sizes.len() > 3, "{pieces}");
    let starts: Vec<_> = sizes.iter().scan(0, |at, (len, _)| Some(std::mem::replace(at, *at + len))).collect();
    let refused = |what: &str, bytes: &[u8], handed: usize| {
        fs::write(m.path("data/t.csv"), bytes).unwrap();
        let out = m.run(&READ);
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(3), "{what}: {told}");
        // A block is handed on when what follows it has been read.
        let lines: Vec<_> = out.stdout.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
        assert!(lines.len() <= handed, "{what}: {}", lines.len());
        assert!(lines.iter().zip(&all).all(|(line, good)| *line == good.as_bytes()), "{what}");
        told
    };
    let mut flipped = good.clone();
    flipped[starts[2] + 100] ^= 1;
    let told = refused("a flipped bit", &flipped, sizes[1].1);
    let (first, last) = (sizes[1].1 + 1, sizes[1].1 + sizes[2].1);
    assert!(told.contains(&format!("t.csv: records {first} to {last}")), "{told}");
    refused("cut short", &good[..good.len() - 1], 60_000 - sizes.last().unwrap().1);
    refused("longer", &[&good[..], b"1,x,1\n"].concat(), 60_000);
    let swapped =
        [&good[..starts[1]], &good[starts[2]..starts[3]], &good[starts[1]..starts[2]], &good[starts[3]..]].concat();
    refused("swapped", &swapped, 0);
    fs::write(m.path("data/t.csv"), &good).unwrap();
    let list = m.path("data/dataset.tree/t.csv/pieces");
    fs::write(&list, pieces.replacen(" 0 ", " 1 ", 1)).unwrap();
    m.fails(&READ, 3, "DatasetChanged");
    fs::remove_file(&list).unwrap();
    m.fails(&READ, 6, "NotFound");
}

#[test]
fn a_record_is_proved_to_whoever_has_not_got_the_dataset() {
    let m = with_contributors();
    sign(&m, &[]);
    let prove = [
        "dataset",
        "prove",
        "data",
        "--file",
        "1.csv",
        "--record",
        "17",
        "--key",
        "curator.pub.pem",
        "-o",
        "proof.json",
        "--json",
    ];
    let made = m.checked("dataset-prove", &prove);
    let check = ["dataset", "prove", "--check", "proof.json", "--key", "curator.pub.pem", "--json"];
    let elsewhere = Machine::bare();
    for file in ["proof.json", "curator.pub.pem", "mallory.pub.pem"] {
        fs::write(elsewhere.path(file), m.read(file)).unwrap();
    }
    assert_eq!(elsewhere.checked("dataset-prove", &check), made);
    elsewhere.fails(&["dataset", "prove", "--check", "proof.json", "--key", "mallory.pub.pem"], 3, "SignatureMissing");
    let good: Value = serde_json::from_slice(&m.read("proof.json")).unwrap();
    for (member, value) in
        [("record", 18.into()), ("record", 0.into()), ("file", "0.csv".into()), ("leaf", good["path"][0].clone())]
    {
        let mut bad = good.clone();
        bad[member] = value;
        fs::write(elsewhere.path("proof.json"), bad.to_string()).unwrap();
        elsewhere.fails(&check[..6], 3, "DatasetChanged");
    }
    fs::write(elsewhere.path("proof.json"), "{}").unwrap();
    elsewhere.fails(&check[..6], 3, "BundleMalformed");
    m.fails(&["dataset", "prove", "data", "--record", "1", "--key", "curator.pub.pem", "-o", "p"], 6, "NotFound");
    m.fails(
        &["dataset", "prove", "data", "--file", "1.csv", "--record", "999999", "--key", "curator.pub.pem", "-o", "p"],
        6,
        "NotFound",
    );
}

#[test]
fn objects_behind_a_signed_table_are_what_its_curator_saw() {
    let m = Machine::bare();
    m.ok(&["key", "new", "curator", "-o", "curator.pem"]);
    fs::create_dir_all(m.path("images/0")).unwrap();
    let mut table = String::from("path,url,sha256\n");
    for i in 0..20 {
        let (path, bytes) = (format!("0/{i}.jpg"), format!("picture {i}"));
        let digest = model_vault::crypto::hash::sha256(bytes.as_bytes());
        table += &format!("{path},https://example.org/{i},{digest}\n");
        fs::write(m.path(&format!("images/{path}")), bytes).unwrap();
    }
    fs::write(m.path("urls.csv"), &table).unwrap();
    m.ok(&["dataset", "sign", "urls.csv", "--key", "curator.pem"]);
    let check = ["dataset", "objects", "urls.csv", "--dir", "images", "--key", "curator.pub.pem", "--json"];
    let all = m.checked("dataset-objects", &check);
    assert_eq!((&all["verified"], &all["changed"]), (&20.into(), &0.into()));
    // Whoever owns the domain now serves something else; and one is gone.
    fs::write(m.path("images/0/3.jpg"), "another picture").unwrap();
    fs::rename(m.path("images/0/5.jpg"), m.path("images/0/5.jpg.old")).unwrap();
    let out = m.run(&[&check[..], &["--good", "good.jsonl"]].concat());
    assert_eq!(out.status.code(), Some(11));
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    super::support::schema("dataset-objects", &told);
    let named: Vec<_> =
        told["objects"].as_array().unwrap().iter().map(|o| (o["object"].as_str(), o["state"].as_str())).collect();
    assert_eq!(named, [(Some("0/3.jpg"), Some("changed")), (Some("0/5.jpg"), Some("missing"))]);
    assert_eq!(String::from_utf8(m.read("good.jsonl")).unwrap().lines().count(), 18);
    m.fails(
        &["dataset", "objects", "urls.csv", "--dir", "images", "--object", "file", "--key", "curator.pub.pem"],
        2,
        "InvalidArgument",
    );
    // What is no file is not read, and ends nothing: also where it would be the right bytes.
    fs::rename(m.path("images/0/5.jpg.old"), m.path("images/0/5.jpg")).unwrap();
    std::os::unix::fs::symlink("7.jpg", m.path("images/0/link.jpg")).unwrap();
    let digest = model_vault::crypto::hash::sha256(b"picture 7");
    let more = format!("0/link.jpg,u,{digest}\n../urls.csv,u,{digest}\n0/9.jpg,u,none\n0/7.jpg,u,{digest}\n");
    fs::write(m.path("urls.csv"), table.clone() + &more).unwrap();
    m.ok(&["dataset", "sign", "urls.csv", "--key", "curator.pem"]);
    let out = m.run(&check);
    assert_eq!(out.status.code(), Some(11), "{}", String::from_utf8_lossy(&out.stderr));
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    super::support::schema("dataset-objects", &told);
    assert_eq!(
        (&told["verified"], &told["refused"], &told["without_digest"]),
        (&20.into(), &2.into(), &1.into()),
        "{told}"
    );
    assert_eq!(
        told["objects"][3],
        serde_json::json!({"file": "urls.csv", "record": 23, "object": "0/9.jpg", "state": "without digest"})
    );
    fs::write(m.path("urls.csv"), table.replace("0/3.jpg", "0/4.jpg")).unwrap();
    m.fails(&check[..7], 3, "DatasetChanged");
}

#[test]
fn one_command_signs_a_dataset_at_a_time() {
    let m = with_contributors();
    sign(&m, &[]);
    let held = fs::File::open(m.path("data")).unwrap();
    held.lock().unwrap();
    let quarantine = ["dataset", "quarantine", "data", "--contributor", "bob", "--reason", "x", "--key", "curator.pem"];
    m.fails(&quarantine, 8, "Busy");
    m.fails(&["dataset", "sign", "data", "--key", "curator.pem"], 8, "Busy");
    drop(held);
    m.ok(&quarantine);
}

#[test]
fn a_scan_learns_contributors_from_what_they_signed() {
    let m = with_contributors();
    sign(&m, &[]);
    let scan = ["dataset", "scan", "data", "--json"];
    let believing = [&scan[..], &["--key", "curator.pub.pem"]].concat();
    let names = |report: &Value| -> Vec<(String, u64)> {
        let rows = report["contributors"].as_array().unwrap();
        let mut all: Vec<_> =
            rows.iter().map(|r| (r["contributor"].as_str().unwrap().into(), r["records"].as_u64().unwrap())).collect();
        all.sort();
        all
    };
    assert!(names(&m.checked("dataset-scan", &scan)).is_empty(), "nobody is believed");
    let report = m.checked("dataset-scan", &believing);
    assert_eq!(names(&report), CONTRIBUTORS.map(|name| (name.to_owned(), 250)));
    let ran = report["detectors"].as_array().unwrap();
    for detector in ["contributor", "drift"] {
        assert!(ran.iter().any(|d| d["detector"] == detector), "{detector}: {report}");
    }
    // A column that is asked for goes first.
    let by = m.checked("dataset-scan", &[&believing[..], &["--by", "id"]].concat());
    assert_eq!(names(&by).len(), 1010);
    m.fails(&["dataset", "scan", "data", "--key", "mallory.pub.pem"], 3, "SignatureMissing");
    let path = m.path("data/0.csv");
    let edited = fs::read_to_string(&path).unwrap().replace("a line, 8 ", "a lime, 8 ");
    fs::write(&path, edited).unwrap();
    let error = m.fails(&["dataset", "scan", "data", "--key", "curator.pub.pem"], 3, "DatasetChanged");
    assert!(error.to_string().contains("0.csv: it is not what was signed"), "{error}");
    m.ok(&scan);
}
