//! Datasets on disk: signed, verified and compared record by record.

use std::fs;

use serde_json::Value;

use super::support::{Machine, schema};

/// A machine with keys `k.pem` and `other.pem`, and a table of a thousand rows in `d/train.csv`.
fn with_data() -> Machine {
    let m = Machine::bare();
    for name in ["k", "other"] {
        m.ok(&["key", "new", name, "-o", &format!("{name}.pem")]);
    }
    fs::create_dir_all(m.path("d")).unwrap();
    fs::write(m.path("d/README.md"), "about").unwrap();
    fs::write(m.path("d/train.csv"), table(|_, row| Some(row))).unwrap();
    m
}

fn table(edit: impl Fn(usize, String) -> Option<String>) -> String {
    let rows = (0..1000).filter_map(|i| edit(i, format!("{i},\"text, number {i}\",{}\n", i % 3)));
    "id,text,label\n".to_owned() + &rows.collect::<String>()
}

/// The changes of a document, as `kind from>to`.
fn changes(document: &Value) -> Vec<String> {
    let place = |p: &Value| p.get("record").map_or_else(String::new, ToString::to_string);
    let records = document["records"].as_array().unwrap();
    records
        .iter()
        .map(|r| format!("{} {}>{}", r["change"].as_str().unwrap(), place(&r["from"]), place(&r["to"])))
        .collect()
}

#[test]
fn the_same_records_in_another_order_have_the_same_digest() {
    let m = with_data();
    let sign = ["dataset", "sign", "d", "--key", "k.pem", "--json"];
    let first = m.checked("dataset-sign", &sign);
    // Backwards, and some of them in another file.
    let all = fs::read_to_string(m.path("d/train.csv")).unwrap();
    let (head, rows) = all.split_once('\n').unwrap();
    let rows: Vec<_> = rows.lines().rev().collect();
    for (file, rows) in [("train.csv", &rows[200..]), ("more.csv", &rows[..200])] {
        fs::write(m.path("d").join(file), format!("{head}\n{}\n", rows.join("\n"))).unwrap();
    }
    let out = m.run(&sign[..5]);
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(told.contains("the records are those of version 1, in another order"), "{told}");
    fs::remove_file(m.path("d/more.csv")).unwrap();
    let third = m.checked("dataset-sign", &sign);
    assert_eq!((third["version"].as_u64(), &third["records"]), (Some(3), &800.into()));
    assert_ne!(third["multiset"], first["multiset"]);
    m.ok(&["dataset", "verify", "d", "--key", "k.pub.pem"]);
}

#[test]
fn a_directory_is_signed_as_a_whole_over_its_records() {
    let m = with_data();
    let sign = ["dataset", "sign", "d", "--key", "k.pem"];
    let (verify, beside) = (["dataset", "verify", "d", "--key", "k.pub.pem"], ["--signature", "d.sig"]);
    let whole = [&["verify", "./d", "--key", "k.pub.pem"], &beside[..]].concat();
    m.ok(&sign);
    m.ok(&[&["sign", "./d", "--key", "k.pem"], &beside[..]].concat());
    m.ok(&verify);
    m.ok(&whole);
    // What is refused leaves nothing behind that is foreign to it.
    m.fails(&[&sign[..], &["--name", "other"]].concat(), 2, "InvalidArgument");
    m.ok(&verify);
    // The next statement makes it stale.
    m.ok(&sign);
    m.ok(&verify);
    assert_eq!(m.run(&whole).status.code(), Some(3));
    // Within the directory it is a file that nobody signed.
    m.ok(&["sign", "./d", "--key", "k.pem", "--oms-only"]);
    let out = m.run(&[&verify[..], &["--json"]].concat());
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((out.status.code(), &document["files"]["model.sig"]), (Some(3), &"added".into()));
}

#[test]
fn a_dataset_is_signed_and_what_differs_is_named_by_record() {
    let m = with_data();
    let signed = m.checked("dataset-sign", &["dataset", "sign", "d", "--key", "k.pem", "--licence", "CC0", "--json"]);
    assert_eq!((&signed["version"], &signed["records"], &signed["files"]), (&1.into(), &1000.into(), &2.into()));
    let verify = ["dataset", "verify", "d", "--key", "k.pub.pem", "--json"];
    let verified = m.checked("dataset-verify", &verify);
    assert_eq!((&verified["verified"], &verified["root"]), (&true.into(), &signed["root"]));
    fs::write(
        m.path("d/train.csv"),
        table(|i, row| match i {
            10 => None,
            20 => Some(row.replace(",2\n", ",1\n")),
            30 => Some("7777,new,0\n".to_owned() + &row),
            _ => Some(row),
        }),
    )
    .unwrap();
    let out = m.run(&verify);
    assert_eq!(out.status.code(), Some(3));
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    schema("dataset-verify", &document);
    assert_eq!(document["files"]["train.csv"], "changed");
    assert_eq!(changes(&document), ["removed 11>", "changed 21>20", "added >30"]);
    assert_eq!(document["summary"]["same"], 998);
    let shown = m.run(&["dataset", "verify", "d", "--key", "k.pub.pem"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("changed train.csv record 21 -> train.csv record 20"), "{text}");
    // Other bytes around the same records are no change of records, and not what was signed.
    fs::write(m.path("d/train.csv"), table(|_, row| Some(row.replace('\n', "\r\n")))).unwrap();
    let out = m.run(&verify);
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((out.status.code(), &document["files"]["train.csv"]), (Some(3), &"other bytes, same records".into()));
    assert_eq!(changes(&document), [""; 0]);
    fs::write(m.path("d/train.csv"), table(|_, row| Some(row))).unwrap();
    fs::write(m.path("d/more.csv"), "id,text,label\n1,x,2\n").unwrap();
    let out = m.run(&verify);
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((out.status.code(), changes(&document)), (Some(3), vec!["added >1".into()]));
}

#[test]
fn only_who_is_trusted_counts_and_versions_do_not_go_back() {
    let m = with_data();
    let sign = ["dataset", "sign", "d", "--key", "k.pem"];
    m.ok(&sign);
    m.fails(&["dataset", "verify", "d", "--key", "other.pub.pem"], 3, "SignatureMissing");
    m.fails(&["dataset", "verify", "d"], 2, "InvalidArgument");
    m.fails(&["dataset", "sign", "d", "--key", "other.pem"], 9, "AlreadyExists");
    let (data, statement, before) = (m.read("d/train.csv"), m.read("d/dataset.sig"), m.copy());
    m.ok(&["dataset", "verify", "d", "--key", "k.pub.pem"]);
    fs::write(m.path("d/train.csv"), table(|i, row| (i != 5).then_some(row))).unwrap();
    m.ok(&sign);
    m.ok(&["dataset", "verify", "d", "--key", "k.pub.pem"]);
    let log = m.checked("dataset-log", &["dataset", "log", "d", "--key", "k.pub.pem", "--json"]);
    assert_eq!((&log[0]["version"], &log[1]["version"]), (&2.into(), &1.into()));
    assert_eq!(log[0]["previous"], log[1]["statement"]);
    // The old version put back, whole and well signed.
    fs::write(m.path("d/train.csv"), &data).unwrap();
    fs::write(m.path("d/dataset.sig"), &statement).unwrap();
    fs::remove_dir_all(m.path("d/dataset.tree")).unwrap();
    fs::rename(before.path("d/dataset.tree"), m.path("d/dataset.tree")).unwrap();
    m.fails(&["dataset", "verify", "d", "--key", "k.pub.pem"], 3, "VersionRollback");
    m.ok(&["dataset", "verify", "d", "--key", "k.pub.pem", "--no-state"]);
    m.fails(
        &["dataset", "verify", "d", "--key", "k.pub.pem", "--no-state", "--min-version", "2"],
        3,
        "VersionRollback",
    );
    // Another version 2 by the same key.
    fs::write(m.path("d/train.csv"), table(|i, row| (i != 6).then_some(row))).unwrap();
    m.ok(&sign);
    m.fails(&["dataset", "verify", "d", "--key", "k.pub.pem"], 3, "DatasetForked");
    // A letter of the statement.
    let mut text = m.read("d/dataset.sig");
    let at = text.windows(9).position(|w| w == b"\"payload\"").unwrap() + 40;
    text[at] = if text[at] == b'A' { b'B' } else { b'A' };
    fs::write(m.path("d/dataset.sig"), text).unwrap();
    let out = m.run(&["dataset", "verify", "d", "--key", "k.pub.pem", "--no-state"]);
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn two_files_of_any_format_are_compared_by_record() {
    let m = with_data();
    let mut jsonl = String::new();
    for i in 0..1000 {
        jsonl += &format!("{{\"label\":{},\"id\":{i},\"text\":\"text, number {i}\"}}\n", i % 3);
    }
    fs::write(m.path("same.jsonl"), &jsonl).unwrap();
    let same = m.checked("dataset-diff", &["dataset", "diff", "d/train.csv", "same.jsonl", "--json"]);
    assert_eq!(same["summary"]["same"], 1000);
    let mut lines: Vec<_> = jsonl.lines().map(ToOwned::to_owned).collect();
    let edited = lines.remove(500).replace("\"label\":2", "\"label\":0");
    lines.insert(0, edited);
    let moved = lines.remove(900);
    lines.insert(100, moved);
    lines.push(lines[3].clone());
    fs::write(m.path("other.jsonl"), lines.join("\n")).unwrap();
    let out = m.run(&["dataset", "diff", "d/train.csv", "other.jsonl", "--key", "id", "--json"]);
    assert_eq!(out.status.code(), Some(11), "{}", String::from_utf8_lossy(&out.stderr));
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    schema("dataset-diff", &document);
    let mut found = changes(&document);
    found.sort();
    assert_eq!(found, ["changed 501>1", "duplicated 3>1001", "moved 901>101"]);
    m.fails(&["dataset", "diff", "d/train.csv", "other.jsonl", "--key", "nothing"], 2, "InvalidArgument");
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let m = with_data();
    for (name, text, id, place) in [
        ("a.csv", &b"a,b\n1,2\n1\n"[..], "RecordInvalid", "a.csv, line 3 (record 2): a row of 1 fields"),
        ("b.jsonl", b"{\"a\":1}\n{\"a\":1,\"a\":2}\n", "RecordInvalid", "b.jsonl, line 2 (record 2): not an object"),
        ("c.csv", b"a\n\xff\n", "RecordInvalid", "c.csv, line 2 (record 1): it is not UTF-8"),
        ("d.bin", b"\0\0", "InvalidArgument", "there are no records in it"),
    ] {
        fs::write(m.path(name), text).unwrap();
        let status = if id == "RecordInvalid" { 3 } else { 2 };
        let error = m.fails(&["dataset", "sign", name, "--key", "k.pem"], status, id);
        assert!(error.to_string().contains(place), "{error}");
        assert_eq!(
            fs::read_dir(m.work())
                .unwrap()
                .filter(|e| {
                    let name = e.as_ref().unwrap().file_name();
                    name.to_string_lossy().contains("dataset.")
                })
                .count(),
            0,
            "nothing is left behind"
        );
    }
}
