//! Events of the audit log in the forms of others: nothing in a record leaves its field, and what OCSF has published is kept to.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use model_vault::audit::{Act, Channel, Object, Record, Transport};
use model_vault::json;
use model_vault::names::{ArtifactId, Principal, RequestId, Root, Timestamp, VaultId};
use model_vault::siem::{Format, OCSF_VERSION, Source, octet_counted};

fn source() -> Source {
    Source { vault: VaultId([7; 16]), host: "host.example".into(), release: "1.2.3" }
}

fn record(act: Act) -> Record {
    let actor = Principal::workload("default".parse().unwrap(), &"serve-1".parse().unwrap());
    Record::new(Timestamp::from_millis(1_795_305_600_123), RequestId([1; 16]), &actor, act)
        .on(Object {
            namespace: "default".parse().unwrap(),
            name: Some("resnet".parse().unwrap()),
            version: Some(3),
            artifact_id: Some(ArtifactId([2; 16])),
            root: Some(Root([3; 32])),
        })
        .by_policies(["grants", "night|shift=1]\""], "7")
        .through(Channel {
            transport: Transport::Tls,
            tls_group: Some("X25519MLKEM768".into()),
            peer: Some("192.0.2.7:51".into()),
        })
        .detail("bytes", 12)
        .detail("why", "a=b|c\\d]\"e")
}

/// Every act, allowed and denied, and what is hardest to write down.
fn records() -> Vec<Record> {
    let mut all: Vec<_> = Act::ALL.iter().flat_map(|act| [record(*act), record(*act).denied("Denied")]).collect();
    let bare = Record::new(Timestamp::from_millis(0), RequestId([0; 16]), &Principal::anonymous(), Act::AuthRefused);
    all.push(bare.clone());
    all.push(bare.denied("BadCredential").through(Channel {
        transport: Transport::Unix,
        tls_group: None,
        peer: Some("uid 0 pid 1 \u{e4}".into()),
    }));
    all
}

fn events(format: Format) -> Vec<(Record, String)> {
    let write = |(i, r): (usize, Record)| {
        let event = format.event(&source(), i as u64 + 1, &r.to_leaf());
        (r, event)
    };
    records().into_iter().enumerate().map(write).collect()
}

#[test]
fn every_record_is_one_line_of_every_form_with_number_request_and_act() {
    for format in Format::ALL {
        for (i, (record, event)) in events(format).into_iter().enumerate() {
            assert!(!event.contains(['\n', '\r']), "{format}: {event}");
            assert!(event.contains(record.act().as_str()), "{format}: {event}");
            assert!(event.contains(&record.request_id().to_string()), "{format}: {event}");
            assert!(event.contains(&(i + 1).to_string()) && event.contains(&source().vault.to_string()), "{format}");
        }
    }
}

#[test]
fn forms_of_json_are_json() {
    for format in [Format::Ocsf, Format::Ecs, Format::Jsonl] {
        for (_, event) in events(format) {
            json::parse(event.as_bytes(), 16).unwrap_or_else(|e| panic!("{format}: {e}: {event}"));
        }
    }
    let row = record(Act::ArtifactOpen).to_leaf();
    let line = Format::Jsonl.event(&source(), 9, &row);
    assert!(line.ends_with(&format!(r#""seq":9,"record":{}}}"#, String::from_utf8(row).unwrap())), "{line}");
}

#[test]
fn acts_find_their_classes() {
    let class = |record: &Record| {
        let event = Format::Ocsf.event(&source(), 1, &record.to_leaf());
        let event: serde_json::Value = serde_json::from_str(&event).unwrap();
        (
            event["class_uid"].as_u64().unwrap(),
            event["activity_id"].as_u64().unwrap(),
            event["severity_id"].as_u64().unwrap(),
        )
    };
    for (act, uid, activity, severity) in [
        (Act::ArtifactSeal, 6003, 1, 1),
        (Act::ArtifactFetchStart, 6003, 2, 1),
        (Act::ArtifactTag, 6003, 3, 1),
        (Act::ArtifactShred, 6003, 4, 2),
        (Act::AuditExport, 6003, 2, 1),
        (Act::AuthRefused, 3002, 1, 1),
        (Act::SessionLogin, 3002, 1, 1),
        (Act::SessionLogout, 3002, 2, 1),
        (Act::MfaVerify, 3002, 1, 1),
        (Act::LeaseRenew, 3003, 1, 1),
        (Act::WorkloadEnroll, 3004, 6, 2),
        (Act::PolicySet, 3004, 3, 2),
        (Act::GrantRemove, 3004, 4, 2),
        (Act::HoldPlace, 3004, 12, 2),
        (Act::HoldRelease, 3004, 13, 2),
        (Act::AlertRaise, 2004, 1, 4),
        (Act::IntelHit, 2004, 1, 4),
    ] {
        assert_eq!(class(&record(act)), (uid, activity, severity), "{act:?}");
    }
    assert_eq!(class(&record(Act::ArtifactOpen).denied("Denied")), (6003, 2, 3));
}

#[test]
fn a_cef_value_cannot_become_another_field() {
    let event = Format::Cef.event(&source(), 5, &record(Act::ArtifactOpen).denied("De|nied=1\\").to_leaf());
    assert!(event.starts_with("CEF:0|Model Vault|Model Vault|1.2.3|artifact.open|artifact.open|6|rt="), "{event}");
    assert!(event.contains(r" reason=De|nied\=1\\ suser="), "{event}");
    assert!(event.contains(r"cs6=bytes\=12; why\=a\=b|c\\d]"), "{event}");
    assert!(event.contains(" src=192.0.2.7 spt=51 "), "{event}");
    // Every unescaped equals sign follows a key.
    let extension = event.splitn(8, '|').nth(7).unwrap();
    let mut previous = ' ';
    for (at, c) in extension.char_indices() {
        if c == '=' && previous != '\\' {
            let key = extension[..at].rsplit(' ').next().unwrap();
            assert!(key.bytes().all(|b| b.is_ascii_alphanumeric()), "{key}: {event}");
        }
        previous = c;
    }
}

#[test]
fn structured_data_of_syslog_cannot_be_left() {
    let event = Format::Syslog.event(&source(), 5, &record(Act::ArtifactOpen).denied("a\"]\\ x").to_leaf());
    let time = record(Act::ArtifactOpen).time();
    let head = format!("<108>1 {time} host.example model-vault {} artifact.open [", std::process::id());
    assert!(event.starts_with(&head), "{event}");
    assert!(event.contains(r#"reason="a\"\]\\ x""#), "{event}");
    let mut escaped = false;
    let (mut quoted, mut end) = (false, None);
    for (at, c) in event.char_indices().skip_while(|(_, c)| *c != '[') {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => {
                end = Some(at);
                break;
            }
            _ => {}
        }
    }
    assert_eq!(&event[end.unwrap() + 1..end.unwrap() + 2], " ");
    assert!(
        event[end.unwrap() + 2..].starts_with("artifact.open by default/serve-1 on default/resnet@v3: denied"),
        "{event}"
    );
}

#[test]
fn names_of_structured_data_are_what_rfc_5424_allows() {
    for (_, event) in events(Format::Syslog) {
        let data = &event[event.find('[').unwrap() + 1..];
        for name in data.split("=\"").map(|part| part.rsplit(' ').next().unwrap()).take_while(|n| n.len() < 33) {
            assert!(name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'=' | b']' | b'"')), "{name}");
        }
    }
}

#[test]
fn messages_on_a_stream_bear_their_length_in_bytes() {
    let message = Format::Ocsf.message(&source(), 1, &record(Act::AuthRefused).detail("n", "\u{e4}").to_leaf());
    assert!(message.starts_with("<110>1 "), "{message}");
    let mut out = Vec::new();
    octet_counted(&message, &mut out);
    octet_counted("x", &mut out);
    let text = String::from_utf8(out).unwrap();
    let (length, rest) = text.split_once(' ').unwrap();
    assert_eq!(&rest[length.parse::<usize>().unwrap()..], "1 x");
}

#[test]
fn a_row_that_cannot_be_read_is_told_and_not_passed_over() {
    let newer = br#"{"v":2}"#;
    for format in Format::ALL {
        for row in [&newer[..], b"\xff\nx", b"{}"] {
            let event = format.event(&source(), 77, row);
            assert!(event.contains("77") && !event.contains('\n'), "{format}: {event}");
            assert!(format == Format::Jsonl || event.contains("cannot be read"), "{format}: {event}");
            assert!(format.message(&source(), 77, row).contains("77"));
        }
    }
}

/// The event of every act, written down for python/tests/test_siem.py, which holds it against the schema that OCSF has published.
#[test]
fn events_of_ocsf_are_of_the_six_classes_and_are_left_for_the_check_against_the_schema() {
    let mut text: String = events(Format::Ocsf).into_iter().map(|(_, event)| event + "\n").collect();
    text += &(Format::Ocsf.event(&source(), 7, b"{}") + "\n");
    std::fs::write(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("ocsf.jsonl"), &text).unwrap();
    let class = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["class_uid"].as_u64().unwrap();
    let classes: std::collections::BTreeSet<_> = text.lines().map(class).collect();
    assert_eq!(classes.into_iter().collect::<Vec<_>>(), [0, 2004, 3002, 3003, 3004, 6003]);
}

#[test]
fn types_and_categories_of_ocsf_agree_with_their_class() {
    for (_, event) in events(Format::Ocsf) {
        let event: serde_json::Value = serde_json::from_str(&event).unwrap();
        let class = event["class_uid"].as_u64().unwrap();
        assert_eq!(event["type_uid"], class * 100 + event["activity_id"].as_u64().unwrap());
        assert_eq!(event["category_uid"], class / 1000);
        assert_eq!(event["metadata"]["version"], OCSF_VERSION);
    }
}
