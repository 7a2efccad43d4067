//! What a file of any format is measured as.

use super::*;

fn measured(path: &str, bytes: &[u8], schema: Option<&Schema>) -> Result<(Measured, Vec<Sha256>)> {
    let source = Source { path, format: Format::of_name(path).unwrap(), bytes: Arc::new(bytes.to_vec()) };
    let found;
    let schema = match schema {
        Some(schema) => schema,
        None => {
            let mut surveyor = Surveyor::default();
            surveyor.add(&source, 2)?;
            found = surveyor.schema()?;
            &found
        }
    };
    let mut leaves = Vec::new();
    let (file, _) = source.measure(schema, None, 2, &mut |some, _| {
        leaves.extend_from_slice(some);
        Ok(())
    })?;
    Ok((file, leaves))
}

#[test]
fn a_table_has_one_root_in_every_format() {
    let (mut csv, mut tsv, mut jsonl) =
        (String::from("id,text,score\n"), "text\tscore\tid\n".to_owned(), String::new());
    for i in 0..50_000 {
        let text = format!("line {i}, \"quoted\" é");
        let score = f64::from(i) / 8.0;
        csv.push_str(&format!("{i},\"{}\",{score:?}\n", text.replace('"', "\"\"")));
        tsv.push_str(&format!("\"{}\"\t{score:?}\t{i}\r\n", text.replace('"', "\"\"")));
        let mut quoted = String::new();
        crate::json::quote(&text, &mut quoted);
        jsonl.push_str(&format!("{{\"text\":{quoted},\"score\":{score:?},\"id\":{i}}}\n"));
    }
    let (of_csv, leaves) = measured("t.csv", csv.as_bytes(), None).unwrap();
    assert!(csv.len() > 1 << 20, "several blocks");
    assert_eq!(of_csv.records, 50_000);
    assert_eq!(of_csv.root, crate::crypto::merkle::root(&leaves));
    assert_eq!(of_csv.sha256, crate::crypto::hash::sha256(csv.as_bytes()));
    for (path, text) in [("t.tsv", &tsv), ("t.jsonl", &jsonl)] {
        let (other, same) = measured(path, text.as_bytes(), None).unwrap();
        assert_eq!((other.root, same == leaves), (of_csv.root, true), "{path}");
    }
}

#[test]
fn a_bad_record_is_named_by_file_line_and_number() {
    let mut text = String::from("a,b\n");
    (0..100_000).for_each(|i| text.push_str(&format!("{i},\"two\nlines\"\n")));
    let error = measured("t.csv", format!("{text}1,2,3\n").as_bytes(), None).unwrap_err();
    assert_eq!(error.id(), ErrorId::RecordInvalid);
    assert!(error.message().starts_with("t.csv, line 200002 (record 100001): a row of 3 fields"), "{error}");
}

#[test]
fn one_long_record_is_read_and_a_longer_one_refused() {
    let long = |len: usize| format!("{{\"a\":\"{}\"}}\n{{\"a\":\"b\"}}\n", "x".repeat(len));
    let (file, _) = measured("t.jsonl", long(20 << 20).as_bytes(), None).unwrap();
    assert_eq!(file.records, 2);
    let error = measured("t.jsonl", long(MAX_RECORD_AND_MORE).as_bytes(), None).unwrap_err();
    assert_eq!(error.id(), ErrorId::LimitExceeded, "{error}");
}

const MAX_RECORD_AND_MORE: usize = crate::dataset::value::MAX_RECORD + (1 << 20);

#[test]
fn a_signed_schema_holds_for_what_is_read_later() {
    let text = "a,b\n1,x\n2,y\n";
    let schema = Schema::table(vec![
        crate::dataset::schema::Column { name: "a".into(), kind: Type::Int },
        crate::dataset::schema::Column { name: "b".into(), kind: Type::Text },
    ])
    .unwrap();
    let (before, _) = measured("t.csv", text.as_bytes(), None).unwrap();
    let (under, _) = measured("t.csv", text.as_bytes(), Some(&schema)).unwrap();
    assert_eq!(before, under);
    let id = |text: &str| measured("t.csv", text.as_bytes(), Some(&schema)).unwrap_err().id();
    assert_eq!(id("a,c\n1,x\n"), ErrorId::DatasetChanged);
    assert_eq!(id("a,b,c\n1,x,2\n"), ErrorId::DatasetChanged);
    assert_eq!(id("a,b\nx,x\n"), ErrorId::RecordInvalid);
}

#[test]
fn lines_are_records_and_files_without_any_are_empty() {
    let (file, leaves) = measured("t.txt", b"one\ntwo\r\n\nthree", None).unwrap();
    assert_eq!((file.records, leaves.len()), (4, 4));
    let (empty, _) = measured("t.txt", b"", None).unwrap();
    assert_eq!((empty.records, empty.root), (0, crate::crypto::merkle::empty_root()));
    let (none, _) = measured("t.csv", b"a,b\n", None).unwrap();
    assert_eq!(none.records, 0);
}

#[test]
fn encodings_that_are_not_utf_8_are_refused_with_what_converts_them() {
    let utf16: Vec<u8> = "\u{feff}a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (path, bytes) in
        [("t.csv", &utf16[..]), ("t.jsonl", &utf16), ("t.csv", b"a,b\n1,caf\xe9\n"), ("t.txt", b"caf\xe9\n")]
    {
        let error = measured(path, bytes, None).unwrap_err();
        assert_eq!(error.id(), ErrorId::RecordInvalid);
        assert!(error.message().contains("iconv"), "{path}: {error}");
    }
    let error = measured("t.jsonl", b"{\"a\":\"caf\xe9\"}\n", None).unwrap_err();
    assert!(error.message().contains("not UTF-8"), "{error}");
}

#[test]
fn how_a_file_ends_is_no_part_of_its_records() {
    let root = |text: &str| measured("t.csv", text.as_bytes(), None).unwrap().0.root;
    let plain = root("a,b\n1,x\n2,y\n");
    for same in ["a,b\n1,x\n2,y", "a,b\r\n1,x\r\n2,y\r\n", "\u{feff}a,b\n1,x\n\n2,y\n\n", "b,a\nx,1\ny,2"] {
        assert_eq!(root(same), plain, "{same:?}");
    }
    let json = |text: &str| measured("t.jsonl", text.as_bytes(), None).unwrap().0.root;
    assert_eq!(json("{\"a\":1,\"b\":\"x\"}\r\n{\"b\":\"y\",\"a\":2}"), plain);
    for empty in ["a,b\n", "a,b", "\u{feff}a,b\r\n"] {
        let (file, _) = measured("t.csv", empty.as_bytes(), None).unwrap();
        assert_eq!((file.records, file.root), (0, crate::crypto::merkle::empty_root()), "{empty:?}");
    }
    assert!(measured("t.csv", b"", None).is_err(), "a table has a header");
}

#[test]
fn whole_numbers_are_kept_to_the_last_digit() {
    let all = ["-9223372036854775808", "9223372036854775807", "9223372036854775808", "18446744073709551615"];
    let (csv, leaves) = measured("t.csv", format!("n\n{}\n", all.join("\n")).as_bytes(), None).unwrap();
    let json: String = all.iter().map(|n| format!("{{\"n\":{n}}}\n")).collect();
    assert_eq!(measured("t.jsonl", json.as_bytes(), None).unwrap().0.root, csv.root);
    for at in 1..leaves.len() {
        assert!(!leaves[..at].contains(&leaves[at]));
    }
    let beyond = measured("t.jsonl", b"{\"n\":18446744073709551616}\n", None).unwrap_err();
    assert!(beyond.message().contains("neither 64 bits nor binary64"), "{beyond}");
    let (text, _) = measured("t.csv", b"n\n18446744073709551616\n18446744073709551617\n", None).unwrap();
    assert_eq!(text.records, 2, "too large for a number, they are text");
}

/// A line without an end, of which nothing is held.
struct Endless(u64);

impl ReadAt for Endless {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0)
    }

    fn read_exact_at(&self, buffer: &mut [u8], _: u64) -> std::io::Result<()> {
        buffer.fill(b'x');
        Ok(())
    }
}

#[test]
fn a_line_of_a_gibibyte_is_refused_before_it_is_read() {
    for (format, schema) in [(Format::Lines, Some(Schema::Lines)), (Format::Jsonl, None)] {
        let source = Source { path: "t", format, bytes: Arc::new(Endless(1 << 30)) };
        let error = match schema {
            Some(schema) => source.measure(&schema, None, 2, &mut |_, _| Ok(())).map(drop),
            None => source.survey(&mut Survey::default(), 2).map(drop),
        };
        assert_eq!(error.unwrap_err().id(), ErrorId::LimitExceeded);
    }
}

#[test]
fn damaged_text_and_archives_are_refused_or_counted_alike_twice() {
    let csv = b"id,text,score\n1,one,0.5\n2,\"two, \"\"quoted\"\"\nlines\",-1e3\n3,,\n".to_vec();
    let jsonl = "{\"id\":1,\"t\":\"o\\u00e9\",\"s\":[0.5,{\"x\":null}]}\n{\"t\":null,\"id\":2}\n".as_bytes().to_vec();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    for (format, seed) in [(Format::Csv(b','), csv), (Format::Jsonl, jsonl)] {
        let mut whole = 0;
        for _ in 0..3000 {
            let mut bytes = seed.clone();
            for _ in 0..=below(3) {
                let at = below(bytes.len());
                match below(4) {
                    0 => bytes[at] ^= 1 << below(8),
                    1 => bytes[at] = b"\"\n,{}[]\\0-"[below(10)],
                    2 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"\"\n,{}[]\\0-"[below(10)]),
                }
            }
            let len = bytes.len() as u64;
            let (source, mut surveyor) = (Source { path: "t", format, bytes: Arc::new(bytes) }, Surveyor::default());
            let Ok(seen) = surveyor.add(&source, 1) else { continue };
            let Ok(schema) = surveyor.schema() else { continue };
            let Ok((file, _)) = source.measure(&schema, None, 1, &mut |_, _| Ok(())) else { continue };
            assert_eq!((file.records, file.size), (seen, len));
            whole += 1;
        }
        assert!(whole > 200, "{whole}");
    }
}
