//! Images and samples: looked at by a scan, and handed on by a reader that checks them first.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::support::Machine;

const JPEG: &[u8] = include_bytes!("../../../src/dataset/detect/image/samples/rgb8.jpg");

/// Eight rows of grey pixels of 8 bits, as PNG (RFC 2083) without compression.
fn png(pixels: &[u8; 64]) -> Vec<u8> {
    let rows: Vec<u8> = pixels.chunks(8).flat_map(|row| [&[0], row].concat()).collect();
    let (mut a, mut b) = (1_u32, 0_u32);
    rows.iter().for_each(|byte| {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    });
    let len = (rows.len() as u16).to_le_bytes();
    let not = (!(rows.len() as u16)).to_le_bytes();
    let stored = [&[0x78, 1, 1, len[0], len[1], not[0], not[1]], &rows[..], &(b << 16 | a).to_be_bytes()].concat();
    let chunk = |kind: &[u8], data: &[u8]| {
        let body = [kind, data].concat();
        let bit = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc));
        let crc = !body.iter().fold(!0, byte);
        [&(data.len() as u32).to_be_bytes()[..], &body, &crc.to_be_bytes()].concat()
    };
    let header = [0, 0, 0, 8, 0, 0, 0, 8, 8, 0, 0, 0, 0];
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &stored), chunk(b"IEND", b"")].concat()
}

/// A picture that no other seed gives, of a bar that stands or lies.
fn picture(seed: u32, lies: bool) -> [u8; 64] {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    std::array::from_fn(|at| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let bar = if lies { at / 8 } else { at % 8 } == 3;
        (state >> 26) as u8 + if bar { 180 } else { 0 }
    })
}

/// Eighty pictures in `train` and `test`, by class; `cat/000` once more as a dog.
fn folder(m: &Machine, place: &str) {
    for i in 0..80_u32 {
        let (part, class) = (["train", "test"][usize::from(i > 60)], ["cat", "dog"][i as usize % 2]);
        write(m, &format!("{place}/{part}/{class}/{i:03}.png"), &png(&picture(i, i.is_multiple_of(2))));
    }
    write(m, &format!("{place}/train/dog/twin.png"), &png(&picture(0, true)));
    write(m, &format!("{place}/notes.txt"), b"where the pictures come from\n");
}

fn write(m: &Machine, path: &str, bytes: &[u8]) {
    let path = m.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// An archive of ustar.
fn tar(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (name, bytes) in members {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..108].copy_from_slice(b"0000644\0");
        block[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
        block[156] = b'0';
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        all.extend_from_slice(&block);
        all.extend_from_slice(bytes);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

fn found(report: &Value, detector: &str) -> Vec<(String, u64, String)> {
    let findings = report["findings"].as_array().unwrap();
    let of = findings.iter().filter(|f| f["detector"] == detector);
    let records = of.flat_map(|f| f["records"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    records.map(|r| (text(&r["file"]), r["record"].as_u64().unwrap(), text(&r["sample"]))).collect()
}

fn column<'a>(report: &'a Value, name: &str) -> (&'a str, &'a str) {
    let columns = report["columns"].as_array().unwrap();
    let column = columns.iter().find(|c| c["column"] == name).unwrap();
    (column["role"].as_str().unwrap(), column["why"].as_str().unwrap())
}

#[test]
fn the_label_of_an_image_is_its_directory_and_findings_name_its_file() {
    let m = Machine::bare();
    folder(&m, "d");
    write(&m, "d/test/cat/broken.png", b"\x89PNG\r\n\x1a\nand nothing more");
    // A picture of 2^31 by 2^31 pixels.
    let mut bomb = png(&[0; 64]);
    bomb[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    write(&m, "d/test/cat/bomb.png", &bomb);
    write(&m, "d/test/dog/photo.JPG", JPEG);
    let report = m.checked("dataset-scan", &["dataset", "scan", "d", "--json"]);
    assert_eq!(report["records"], 84);
    assert_eq!(column(&report, "image").0, "image");
    let (role, why) = column(&report, "directory2");
    assert_eq!((role, why), ("label", "the last directory above the records that has more than one name"));
    assert_eq!(column(&report, "directory1").0, "ignored");
    assert_eq!(report["labels"].as_array().unwrap().len(), 2);
    let twins = found(&report, "duplicate");
    assert_eq!(
        twins,
        [("train/cat/000.png".into(), 1, String::new()), ("train/dog/twin.png".into(), 1, String::new())]
    );
    let text = m.text(&["dataset", "scan", "d"]);
    for told in [
        "label        directory2: cat (42), dog (42)",
        "\n          train/cat/000.png\n          train/dog/twin.png\n",
        "2 records have no image that can be decoded",
        "notes.txt: beside images or samples: scan it on its own",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let by_part = m.checked("dataset-scan", &["dataset", "scan", "d", "--label", "directory1", "--json"]);
    assert_eq!(column(&by_part, "directory1"), ("label", "--label"));
    let error = m.fails(&["dataset", "scan", "d", "--label", "class"], 2, "InvalidArgument");
    assert!(error.to_string().contains("its columns are: directory1, directory2, image, path"), "{error}");
}

#[test]
fn images_without_classes_say_so_and_beside_a_table_they_are_not_looked_at() {
    let m = Machine::bare();
    for i in 0..4 {
        write(&m, &format!("d/{i}.png"), &png(&picture(i, true)));
    }
    let text = m.text(&["dataset", "scan", "d"]);
    assert!(text.contains("image-trigger: it needs labels: no directory, and no .cls, .txt or .json"), "{text}");
    write(&m, "d/labels.csv", b"file,label\n0.png,cat\n1.png,dog\n");
    let text = m.text(&["dataset", "scan", "d"]);
    assert!(text.contains("images: images or samples beside rows"), "{text}");
    assert!(text.contains("d: 2 records in 2 files"), "{text}");
    write(&m, "b/1.csv", b"a,label\n1,x\n");
    folder(&m, "e");
    m.fails(&["dataset", "scan", "e", "--baseline", "b"], 2, "InvalidArgument");
    m.ok(&["dataset", "scan", "e", "--baseline", "e"]);
}

#[test]
fn the_label_of_a_sample_is_in_its_files_and_findings_name_it() {
    let m = Machine::bare();
    let sample = |i: u32, label: &str, seed: u32, json: bool| {
        let key = format!("{i:03}");
        let told = match json {
            true => (format!("{key}.json"), format!("{{\"label\":\"{label}\",\"n\":{i}}}").into_bytes()),
            false => (format!("{key}.cls"), format!("{label}\n").into_bytes()),
        };
        vec![told, (format!("{key}.png"), png(&picture(seed, i.is_multiple_of(2))))]
    };
    for (json, name) in [(false, "cls"), (true, "json.label")] {
        let mut members: Vec<_> = (0..60).flat_map(|i| sample(i, ["a", "b"][i as usize % 2], i, json)).collect();
        members.extend(sample(60, "b", 0, json));
        let named: Vec<_> = members.iter().map(|(name, bytes)| (&**name, bytes.clone())).collect();
        write(&m, "d/0.tar", &tar(&named));
        let report = m.checked("dataset-scan", &["dataset", "scan", "d", "--json"]);
        assert_eq!(column(&report, name), ("label", "by its name"));
        assert_eq!(
            found(&report, "duplicate"),
            [("0.tar".into(), 1, "000".into()), ("0.tar".into(), 61, "060".into())]
        );
    }
    write(&m, "d/1.tar", &tar(&[("9.json", b"{\"label\":1,\"label\":2}".to_vec()), ("9.png", JPEG.to_vec())]));
    let error = m.fails(&["dataset", "scan", "d"], 3, "RecordInvalid");
    assert!(error.to_string().contains("1.tar, record 1: its .json is not JSON"), "{error}");
}

/// What `read` hands on, a line each.
fn read(m: &Machine, more: &[&str]) -> Vec<Value> {
    let out = m.ok(&[&["dataset", "read", "d", "--key", "k.pub.pem"], more].concat());
    String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn images_and_samples_are_handed_on_with_all_their_bytes() {
    let m = Machine::bare();
    m.ok(&["key", "new", "k", "-o", "k.pem"]);
    folder(&m, "d");
    write(&m, "d/more.tar", &tar(&[("x.cls", b"3".to_vec()), ("x.jpg", JPEG.to_vec())]));
    fs::remove_file(m.path("d/notes.txt")).unwrap();
    m.ok(&["dataset", "sign", "d", "--key", "k.pem"]);
    let all = read(&m, &["--receipt", "r.json"]);
    assert_eq!(all.len(), 82);
    let first = &all[0]["files"]["png"];
    assert_eq!((&all[0]["key"], &first["path"]), (&"test/cat/062".into(), &"test/cat/062.png".into()));
    assert_eq!(STANDARD.decode(first["base64"].as_str().unwrap()).unwrap(), png(&picture(62, true)));
    let sample = &all[81];
    assert_eq!((&sample["key"], &sample["files"]["cls"]["base64"]), (&"x".into(), &"Mw==".into()));
    assert_eq!(STANDARD.decode(sample["files"]["jpg"]["base64"].as_str().unwrap()).unwrap(), JPEG);
    assert_eq!(sample["files"]["jpg"]["size"], JPEG.len());
    // The receipt is about all of them.
    write(&m, "model.bin", b"made of them");
    m.ok(&["dataset", "receipt", "sign", "r.json", "--model", "model.bin", "--key", "k.pem", "-o", "signed.json"]);
    let verify = ["dataset", "receipt", "verify", "signed.json", "--job-key", "k.pub.pem", "--dataset", "d"];
    let told = m.checked("dataset-receipt", &[&verify[..], &["--key", "k.pub.pem", "--json"]].concat());
    assert_eq!((&told["whole"], &told["records"]), (&true.into(), &82.into()));
}

#[test]
fn no_image_is_handed_on_that_was_not_signed() {
    let m = Machine::bare();
    m.ok(&["key", "new", "k", "-o", "k.pem"]);
    folder(&m, "d");
    fs::remove_file(m.path("d/notes.txt")).unwrap();
    m.ok(&["dataset", "sign", "d", "--key", "k.pem"]);
    let args = ["dataset", "read", "d", "--key", "k.pub.pem"];
    let place = "d/train/cat/010.png";
    let good = m.read(place);
    type Fault = (&'static str, &'static dyn Fn(&Machine), &'static str);
    let faults: [Fault; 5] = [
        (
            "another",
            &|m| write(m, "d/train/cat/010.png", &png(&picture(999, true))),
            "train/cat/010.png, is not the image",
        ),
        ("added", &|m| write(m, "d/train/cat/011.png", JPEG), "train/cat/011.png, is not the image"),
        (
            "removed",
            &|m| fs::remove_file(m.path("d/train/cat/010.png")).unwrap(),
            "train/cat/012.png, is not the image",
        ),
        ("added last", &|m| write(m, "d/z.png", JPEG), "z.png, is not the image"),
        (
            "hashes",
            &|m| write(m, "d/dataset.tree/images/tile/0/000.p/81", &[7; 81 * 32]),
            "are not those that were signed",
        ),
    ];
    let tile = m.read("d/dataset.tree/images/tile/0/000.p/81");
    for (fault, make, told) in faults {
        make(&m);
        let out = m.run(&args);
        let (handed, error) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
        assert_eq!(out.status.code(), Some(3), "{fault}: {error}");
        assert!(error.contains(told), "{fault}: {error}");
        assert!(
            !handed.contains("cat/011") && !handed.contains("\"key\":\"z\"") && handed.lines().count() < 82,
            "{fault}"
        );
        for added in ["d/train/cat/011.png", "d/z.png"] {
            let _ = fs::remove_file(m.path(added));
        }
        write(&m, place, &good);
        write(&m, "d/dataset.tree/images/tile/0/000.p/81", &tile);
    }
    assert_eq!(read(&m, &[]).len(), 81);
}

#[test]
fn images_that_are_not_decoded_are_named_and_can_be_failed_on() {
    let m = Machine::bare();
    folder(&m, "d");
    fs::remove_file(m.path("d/notes.txt")).unwrap();
    let scan = |fail_on: &str| {
        let out = m.run(&["dataset", "scan", "d", "--fail-on", fail_on, "--json"]);
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        super::support::schema("dataset-scan", &report);
        (out.status.code(), report.clone(), report["unanswered"].clone())
    };
    let (status, report, _) = scan("unseen");
    assert_eq!((status, &report["complete"], &report["undecoded"]["count"]), (Some(0), &true.into(), &0.into()));
    write(&m, "d/test/cat/broken.png", b"\x89PNG\r\n\x1a\nand nothing more");
    write(&m, "d/test/cat/other.webp", b"RIFF\x10\0\0\0WEBPVP8 ");
    let (status, report, _) = scan("unseen");
    assert_eq!((status, &report["complete"]), (Some(11), &false.into()));
    let named: Vec<_> = report["undecoded"]["records"].as_array().unwrap().iter().map(|r| r["file"].clone()).collect();
    assert_eq!(named, ["test/cat/broken.png", "test/cat/other.webp"]);
    assert!(m.text(&["dataset", "scan", "d"]).contains("test/cat/other.webp: it was not decoded"));

    // Of these nothing at all is seen.
    fs::remove_dir_all(m.path("d")).unwrap();
    for i in 0..6 {
        write(&m, &format!("d/{}/{i}.webp", ["cat", "dog"][i % 2]), b"RIFF\x10\0\0\0WEBPVP8 ");
    }
    let (status, report, why) = scan("any");
    assert_eq!((status, &report["detectors"]), (Some(2), &Value::Array(Vec::new())), "{why}");
    assert_eq!(scan("duplicate").0, Some(2));
    assert_eq!(column(&report, "image"), ("ignored", "images that are neither PNG nor JPEG"));
    assert_eq!(scan("unseen").0, Some(11), "no image can be looked at");
}

#[test]
fn a_report_is_signed_with_the_very_images_it_is_about() {
    let m = Machine::bare();
    m.ok(&["key", "new", "k", "-o", "k.pem"]);
    folder(&m, "d");
    write(&m, "report.json", &m.ok(&["dataset", "scan", "d", "--json"]));
    let sign = ["dataset", "sign", "d", "--key", "k.pem", "--scan", "report.json"];
    let good = m.read("d/train/cat/010.png");
    // Of the same name and size.
    write(&m, "d/train/cat/010.png", &png(&picture(999, true)));
    assert_eq!(m.read("d/train/cat/010.png").len(), good.len());
    let refused = m.fails(&sign, 3, "DatasetChanged").to_string();
    assert!(refused.contains("images was another file then") && refused.contains("vault dataset scan"), "{refused}");
    write(&m, "d/train/cat/010.png", &good);
    write(&m, "d/notes.txt", b"where the pictures come FROM\n");
    assert!(m.fails(&sign, 3, "DatasetChanged").to_string().contains("notes.txt was another file then"));
    write(&m, "d/notes.txt", b"where the pictures come from\n");
    write(&m, "d/more.bin", b"x");
    assert!(m.fails(&sign, 3, "DatasetChanged").to_string().contains("more.bin is not in it"));
    fs::remove_file(m.path("d/more.bin")).unwrap();
    m.ok(&sign);

    // Beside a table images are not looked at; the report is about them all the same.
    write(&m, "e/labels.csv", b"file,label\n0.png,cat\n1.png,dog\n0.png,cat\n1.png,dog\n");
    write(&m, "e/0.png", &png(&picture(0, true)));
    let report = m.checked("dataset-scan", &["dataset", "scan", "e", "--json"]);
    assert_eq!(
        (&report["files"][0]["path"], &report["files"][0]["looked_at"], &report["complete"]),
        (&"images".into(), &false.into(), &false.into())
    );
    write(&m, "report-e.json", report.to_string().as_bytes());
    let sign = ["dataset", "sign", "e", "--key", "k.pem", "--scan", "report-e.json"];
    write(&m, "e/0.png", &png(&picture(1, true)));
    m.fails(&sign, 3, "DatasetChanged");
    write(&m, "e/0.png", &png(&picture(0, true)));
    m.ok(&sign);
}

#[test]
fn images_that_differ_are_told_by_their_paths() {
    let m = Machine::bare();
    m.ok(&["key", "new", "k", "-o", "k.pem"]);
    folder(&m, "d");
    fs::remove_file(m.path("d/notes.txt")).unwrap();
    m.ok(&["dataset", "sign", "d", "--key", "k.pem"]);
    folder(&m, "e");
    fs::remove_file(m.path("e/notes.txt")).unwrap();
    fs::rename(m.path("e/train/cat/000.png"), m.path("e/train/dog/moved.png")).unwrap();
    write(&m, "e/train/cat/010.png", &png(&picture(999, true)));
    fs::remove_file(m.path("e/train/cat/012.png")).unwrap();
    write(&m, "e/train/cat/added.png", &png(&picture(998, true)));
    let told = |args: &[&str]| {
        let out = m.run(args);
        let document: Value = serde_json::from_slice(&out.stdout).unwrap();
        let path = |place: &Value| place["path"].as_str().unwrap_or_default().to_owned();
        let records = document["records"].as_array().unwrap().iter();
        let records: Vec<_> = records
            .map(|r| format!("{} {}>{}", r["change"].as_str().unwrap(), path(&r["from"]), path(&r["to"])))
            .collect();
        (document, records)
    };
    for key in [&["--json"][..], &["--key", "path", "--json"]] {
        let (document, records) = told(&[&["dataset", "diff", "d", "e"], key].concat());
        super::support::schema("dataset-diff", &document);
        assert_eq!(
            records,
            [
                "changed train/cat/010.png>train/cat/010.png",
                "moved train/cat/000.png>train/dog/moved.png",
                "removed train/cat/012.png>",
                "added >train/cat/added.png",
            ]
        );
        let summary = &document["summary"];
        let counts = ["same", "changed", "moved", "removed", "added"].map(|what| summary[what].as_u64().unwrap());
        assert_eq!(counts, [78, 1, 1, 1, 1], "{summary}");
    }
    let out = m.run(&["dataset", "diff", "d", "e"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("(train/cat/000.png) -> images record ") && text.contains("(train/dog/moved.png)"), "{text}");

    // Beside a table without such a column, too; and a signature has only hashes of what was.
    for place in ["d", "e"] {
        write(&m, &format!("{place}/t.csv"), b"a,b\n1,2\n");
    }
    let (_, records) = told(&["dataset", "diff", "d", "e", "--key", "path", "--json"]);
    assert_eq!(records.len(), 4);
    for place in ["d", "e"] {
        fs::remove_file(m.path(&format!("{place}/t.csv"))).unwrap();
    }
    write(&m, "d/train/cat/added.png", &png(&picture(998, true)));
    let (document, records) = told(&["dataset", "verify", "d", "--key", "k.pub.pem", "--json"]);
    super::support::schema("dataset-verify", &document);
    assert_eq!(records, ["added >train/cat/added.png"]);
}

#[test]
fn samples_of_a_damaged_archive_are_named_by_their_numbers() {
    let m = Machine::bare();
    m.ok(&["key", "new", "k", "-o", "k.pem"]);
    let names: Vec<_> = (0..40).map(|i| format!("{i:02}.bin")).collect();
    let members: Vec<_> = names.iter().map(|name| (&**name, vec![7; 100_000])).collect();
    write(&m, "d/a.tar", &tar(&members));
    m.ok(&["dataset", "sign", "d", "--key", "k.pem"]);
    // In the second piece of 1 MiB: samples have 100,864 bytes with their heads.
    let mut damaged = m.read("d/a.tar");
    damaged[1_500_000] ^= 1;
    write(&m, "d/a.tar", &damaged);
    let error = m.fails(&["dataset", "read", "d", "--key", "k.pub.pem"], 3, "DatasetChanged").to_string();
    assert!(error.contains("a.tar: records 11 to 21 (bytes 1048576 to 2097151) are not what was signed"), "{error}");
}
