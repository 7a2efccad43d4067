use std::sync::Arc;
use std::time::Duration;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn sha256(byte: u8) -> Indicator {
    Indicator { kind: Kind::Sha256, digest: [byte; 32] }
}

fn digits(byte: u8) -> String {
    hex::encode([byte; 32])
}

fn names(list: &List, indicators: &[Indicator]) -> bool {
    list.len() == indicators.len() && indicators.iter().all(|i| list.names(i, NOW))
}

#[test]
fn a_plain_list_names_digests_keys_and_roots() {
    let text = format!(
        "# bad\n\n{}\nsha256:{}\nBLAKE3:{} # why\nkey:{}\r\nroot:{}\n{}\n",
        digits(1),
        digits(2).to_uppercase(),
        digits(3),
        digits(4),
        digits(5),
        digits(1)
    );
    let list = List::parse(text.as_bytes()).unwrap();
    let of = |kind, byte| Indicator { kind, digest: [byte; 32] };
    assert!(names(&list, &[sha256(1), sha256(2), of(Kind::Blake3, 3), of(Kind::Key, 4), of(Kind::Root, 5)]));
    assert!(!list.names(&of(Kind::Blake3, 1), NOW), "a digest is one of its own kind");
    assert_eq!(List::from_bytes(&list.to_bytes()), Some(list));
}

#[test]
fn a_table_gives_the_columns_it_names() {
    let text = format!("name,SHA-256,\"blake3\"\n\"a, b\",{},\nc,,{}\n", digits(1), digits(2));
    let list = List::parse(text.as_bytes()).unwrap();
    assert!(names(&list, &[sha256(1), Indicator { kind: Kind::Blake3, digest: [2; 32] }]));
    let text = format!("indicator\nsha256:{}\n", digits(7));
    assert!(names(&List::parse(text.as_bytes()).unwrap(), &[sha256(7)]));
}

#[test]
fn a_list_with_one_bad_entry_is_refused_with_its_line() {
    let good = digits(1);
    for (bad, line) in [
        (format!("{good}\n{}\n", &good[1..]), 2),
        (format!("{good}\nmd5:{good}"), 2),
        (format!("{good} evil.bin"), 1),
        (format!("#\n{good}\n\nsha256:{good}{good}"), 4),
        (format!("sha256,name\n{good},x\nxyz,y"), 3),
        (format!("sha256,name\n{good}"), 2),
        (format!("sha256,name\n{good},\"x"), 2),
    ] {
        let refused = List::parse(bad.as_bytes()).unwrap_err();
        assert!(matches!(refused, IntelError::Line { line: found, .. } if found == line), "{bad}: {refused}");
    }
    assert!(List::parse(&[0xff]).is_err());
    assert!(List::parse(b"").unwrap().is_empty());
}

fn bundle(indicators: &[(&str, &str)]) -> String {
    let objects: Vec<_> = indicators
        .iter()
        .map(|(pattern, more)| {
            let mut quoted = String::new();
            crate::json::quote(pattern, &mut quoted);
            format!(
                r#"{{"type":"indicator","spec_version":"2.1","id":"indicator--1","pattern_type":"stix",{more}"pattern":{quoted}}}"#
            )
        })
        .collect();
    format!(r#"{{"type":"bundle","id":"bundle--1","objects":[{{"type":"malware","name":"x"}},{}]}}"#, objects.join(","))
}

#[test]
fn a_stix_bundle_gives_the_hashes_of_files() {
    let pattern = |byte| format!("file:hashes.'SHA-256' = '{}'", digits(byte));
    let taken = [
        format!("[{}]", pattern(1)),
        format!("[{} OR {}]", pattern(2), pattern(3)),
        format!("[{}] OR [({} OR file:name = 'x')]", pattern(4), pattern(5)),
        format!("[file:hashes.MD5 = 'abc' AND {}]", pattern(6)),
        format!("[ file:hashes.\"SHA-256\"='{}' ]", digits(7)),
    ];
    let passed = [
        format!("[{} AND file:name = 'x']", pattern(11)),
        format!("[{}] AND [{}]", pattern(12), pattern(13)),
        format!("[{}] FOLLOWEDBY [{}]", pattern(12), pattern(13)),
        format!("[{}", pattern(14)),
        format!("[{}] WITHIN 5 SECONDS", pattern(15)),
        format!("[file:hashes.'SHA-256' != '{}']", digits(16)),
        "[ipv4-addr:value = '198.51.100.1']".into(),
        "[file:hashes.'SHA-256' = 'abc']".into(),
        String::new(),
    ];
    let all: Vec<_> = taken.iter().chain(&passed).map(|p| (p.as_str(), "")).collect();
    let list = List::parse(bundle(&all).as_bytes()).unwrap();
    assert!(names(&list, &(1..=7).map(sha256).collect::<Vec<_>>()), "{list:?}");
    assert_eq!(list.passed_over, passed.len() as u64);
}

#[test]
fn an_indicator_ends_when_it_says_and_a_revoked_one_is_none() {
    let pattern = format!("[file:hashes.'SHA-256' = '{}']", digits(1));
    let until = |text: &str| {
        let more = format!(r#""valid_until":"{text}","#);
        List::parse(bundle(&[(&pattern, &more)]).as_bytes())
    };
    let list = until("2027-01-15T08:00:00.000001Z").unwrap();
    let end: Timestamp = "2027-01-15T08:00:00Z".parse().unwrap();
    assert!(list.names(&sha256(1), Timestamp::from_millis(end.as_millis() - 1)));
    assert!(!list.names(&sha256(1), end) && !list.names(&sha256(1), end.plus(Duration::from_secs(1))));
    assert_eq!(List::from_bytes(&list.to_bytes()), Some(list));
    assert!(until("tomorrow").is_err());
    let revoked = List::parse(bundle(&[(&pattern, r#""revoked":true,"#)]).as_bytes()).unwrap();
    assert_eq!((revoked.len(), revoked.passed_over), (0, 1));
    // Said twice, the one that holds longer holds.
    let twice = bundle(&[(&pattern, r#""valid_until":"2020-01-01T00:00:00Z","#), (&pattern, "")]);
    assert!(List::parse(twice.as_bytes()).unwrap().names(&sha256(1), NOW));
}

#[test]
fn what_is_no_bundle_is_refused() {
    for bad in [
        "{",
        "{}",
        r#"{"type":"report","objects":[]}"#,
        r#"{"type":"bundle"}"#,
        r#"{"type":"bundle","objects":[{"type":"indicator","pattern":"[]"}]}"#,
        r#"{"type":"bundle","objects":[{"type":"indicator","spec_version":"2.1"}]}"#,
        &format!(r#"{{"type":"bundle","objects":{}1{}}}"#, "[".repeat(40), "]".repeat(40)),
    ] {
        assert!(List::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn lists_are_replaced_by_source_and_a_hit_says_which() {
    let list = |byte| Arc::new(List::parse(digits(byte).as_bytes()).unwrap());
    let mut lists = Lists::default();
    assert!(lists.is_empty());
    lists.put("a", list(1));
    lists.put("b", list(2));
    lists.put("a", list(3));
    assert_eq!(lists.find([sha256(1)], NOW), None);
    let hit = lists.find([sha256(9), sha256(3)], NOW).unwrap();
    assert_eq!((hit.source.as_str(), hit.indicator), ("a", sha256(3)));
    assert_eq!(lists.entries_beside("a"), 1);
    lists.remove("a");
    assert_eq!(lists.find([sha256(3)], NOW), None);
}

#[test]
fn a_look_up_among_a_million_takes_a_fraction_of_a_tenth_of_a_millisecond() {
    let entry = |n: u32| {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
        (Indicator { kind: Kind::Sha256, digest }, None)
    };
    let list = List::of((0..MAX_ENTRIES as u32).map(entry).collect(), 0).unwrap();
    let began = std::time::Instant::now();
    let found = (0..10_000).filter(|n| list.names(&entry(n * 97).0, NOW)).count();
    assert_eq!(found, 10_000);
    assert!(began.elapsed() < Duration::from_millis(1000), "{:?} for 10,000", began.elapsed());
    let more = (0..=MAX_ENTRIES as u32).map(entry).collect();
    assert!(matches!(List::of(more, 0), Err(IntelError::TooLarge(_))));
}
