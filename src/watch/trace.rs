//! Events in a file, one JSON object a line, so that rules can be tried on any traffic. Three forms, which may be mixed:
//!
//! ```text
//! {"time":"2026-11-23T09:30:00Z","actor":"workload prod/serve-1","act":"artifact.fetch.end","object":"prod/resnet",
//!  "peer":"10.0.0.7","bytes":1048576,"size":4294967296,"label":"bulk#3"}          (on one line)
//! {"seq":7,"record":"{\"v\":1,...}"}                                               a line of vault audit export
//! {"vault":"...","seq":7,"record":{"v":1,...}}                        a line of vault audit export --format jsonl
//! ```
//! `time`, `actor` and `act` must be there. `actor` is `workload NAMESPACE/NAME`, `operator ISSUER:SUBJECT` or `anonymous`. `act` is
//! a word of the audit log. `refused` says why, `request` joins start and end of a stream, `grantee` is the workload of a grant,
//! `labels` are those of the artifact, `count` how many refusals the line stands for, `seq` the number of the row (else lines are counted). `label` marks the events
//! of an attack: `KIND#INSTANCE`. Other lines of an export (its head, checkpoints, its end) are passed over.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::audit::{Act, RECORD_MAX, Record};
use crate::error::{Error, ErrorId, Result};
use crate::names::{Principal, PrincipalKind, RequestId, Timestamp};

/// Longest line: a record of the largest size with each byte escaped.
pub const LINE_MAX: usize = 6 * RECORD_MAX + 1024;

/// An event, and the attack it belongs to, if it does and somebody says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// The event.
    pub event: Event,
    /// `KIND#INSTANCE`.
    pub label: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    time: Timestamp,
    actor: String,
    act: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<RequestId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grantee: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportedRow {
    seq: u64,
    record: String,
}

impl Labelled {
    /// Reads a line; `next` is the number of a line that gives none. `None`: a line of an export that is no row, or an act that
    /// this release does not know.
    ///
    /// # Errors
    /// `InvalidArgument`, saying what is wrong with the line.
    pub fn parse(line: &str, next: u64) -> Result<Option<Self>> {
        let bad = |why: String| Error::new(ErrorId::InvalidArgument, why);
        if line.len() > LINE_MAX {
            return Err(bad("the line is too long".into()));
        }
        if Self::is_no_row(line) {
            return Ok(None);
        }
        if let Some((seq, record)) = exported(line) {
            let record = match Record::parse(record.as_bytes()) {
                Err(crate::audit::RecordError::Newer) => return Ok(None),
                record => record.map_err(|e| bad(format!("record {seq}: {e}")))?,
            };
            return Ok(Some(Self { event: Event::of(seq, &record), label: None }));
        }
        let line: Line = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
        let actor = actor(&line.actor).ok_or_else(|| bad(format!("not an actor: {:?}", line.actor)))?;
        let Some(act) = Act::ALL.iter().find(|act| act.as_str() == line.act) else { return Ok(None) };
        let mut event = Event::new(line.seq.unwrap_or(next), line.time, actor, *act);
        event.request = line.request.unwrap_or(event.request);
        event.peer = line.peer.as_deref().and_then(super::event::address);
        event.bytes = line.bytes.unwrap_or(0);
        event.count = line.count.unwrap_or(1).max(1);
        event.labels = line.labels;
        (event.object, event.refused, event.size, event.grantee) = (line.object, line.refused, line.size, line.grantee);
        Ok(Some(Self { event, label: line.label }))
    }

    /// Whether it is a line of an export that holds no row: its head, a checkpoint, its end.
    pub fn is_no_row(line: &str) -> bool {
        let starts = ["{\"modelvault_audit\"", "{\"checkpoint\"", "{\"end\""];
        starts.iter().any(|start| line.starts_with(start)) && crate::json::parse(line.as_bytes(), 4).is_ok()
    }

    /// The line, with its end.
    pub fn to_line(&self) -> String {
        let event = &self.event;
        let line = Line {
            seq: Some(event.seq),
            time: event.time,
            actor: event.actor.to_string(),
            act: event.act.as_str().into(),
            object: event.object.clone(),
            refused: event.refused.clone(),
            request: Some(event.request).filter(|request| request.0 != [0; 16]),
            peer: event.peer.map(|ip| ip.to_string()),
            bytes: Some(event.bytes).filter(|bytes| *bytes > 0),
            size: event.size,
            count: Some(event.count).filter(|count| *count > 1),
            labels: event.labels.clone(),
            grantee: event.grantee.clone(),
            label: self.label.clone(),
        };
        serde_json::to_string(&line).expect("plain data") + "\n"
    }
}

/// Number and bytes of the record in a line of an export, of either form.
fn exported(line: &str) -> Option<(u64, String)> {
    if line.starts_with("{\"seq\":") {
        return serde_json::from_str::<ExportedRow>(line).ok().map(|row| (row.seq, row.record));
    }
    // The record stands there byte for byte, which is what its form is checked on.
    let (seq, record) = line.strip_prefix("{\"vault\":\"")?.split_once("\",\"seq\":")?.1.split_once(",\"record\":")?;
    Some((seq.parse().ok()?, record.strip_suffix('}')?.to_owned()))
}

/// A principal as it prints itself.
fn actor(text: &str) -> Option<Principal> {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    match kind {
        "anonymous" => Some(Principal::anonymous()),
        "operator" => {
            let (issuer, subject) = rest.split_once(':')?;
            Some(Principal {
                kind: PrincipalKind::Operator,
                issuer: issuer.into(),
                subject: subject.into(),
                namespace: None,
            })
        }
        "workload" => {
            let (namespace, subject) = rest.split_once('/')?;
            Some(Principal {
                kind: PrincipalKind::Workload,
                issuer: "mtls".into(),
                subject: subject.into(),
                namespace: Some(namespace.parse().ok()?),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Channel, Object, Text, Transport};
    use crate::json::quote;

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let actor = Principal::workload("prod".parse().unwrap(), &"serve".parse().unwrap());
        let mut event = Event::new(7, Timestamp::from_millis(1_800_000_000_000), actor, Act::ArtifactFetchEnd);
        (event.object, event.size, event.bytes) = (Some("prod/m".into()), Some(9), 5);
        event.labels = vec!["gold".into()];
        (event.peer, event.request) = (Some("10.0.0.7".parse().unwrap()), RequestId([3; 16]));
        for label in [None, Some("bulk#1".to_owned())] {
            let labelled = Labelled { event: event.clone(), label };
            let line = labelled.to_line();
            assert_eq!(Labelled::parse(line.trim_end(), 1).unwrap(), Some(labelled));
        }
        let short = r#"{"time":"2026-11-23T09:30:00Z","actor":"operator unix:uid:0","act":"vault.status"}"#;
        let read = Labelled::parse(short, 42).unwrap().unwrap();
        assert_eq!((read.event.seq, read.event.actor), (42, Principal::unix_operator(0)));
    }

    #[test]
    fn rows_of_an_export_are_read_and_its_other_lines_passed_over() {
        let actor = Principal::unix_operator(0);
        let record = Record::new(Timestamp::from_millis(5), RequestId([7; 16]), &actor, Act::ArtifactOpen)
            .on(Object::namespace("prod".parse().unwrap()))
            .through(Channel { transport: Transport::Unix, tls_group: None, peer: Some(Text::new("uid 0 pid 1")) });
        let mut line = String::from(r#"{"seq":9,"record":"#);
        quote(std::str::from_utf8(&record.to_leaf()).unwrap(), &mut line);
        line.push('}');
        let read = Labelled::parse(&line, 1).unwrap().unwrap();
        assert_eq!((read.event, read.label), (Event::of(9, &record), None));
        let leaf = String::from_utf8(record.to_leaf()).unwrap();
        let read = Labelled::parse(&format!(r#"{{"vault":"00","seq":9,"record":{leaf}}}"#), 1).unwrap().unwrap();
        assert_eq!(read.event, Event::of(9, &record));
        for other in [r#"{"modelvault_audit":1,"origin":"a","vkey":"b"}"#, r#"{"checkpoint":"x"}"#, r#"{"end":2}"#] {
            assert_eq!(Labelled::parse(other, 1).unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_event_is_refused_with_the_reason() {
        for bad in [
            "",
            "{}",
            "[]",
            "x",
            r#"{"time":"2026-11-23T09:30:00Z","actor":"root","act":"vault.status"}"#,
            r#"{"time":"yesterday","actor":"anonymous","act":"vault.status"}"#,
            r#"{"time":"2026-11-23T09:30:00Z","actor":"anonymous","act":"vault.status","byts":1}"#,
            r#"{"seq":1,"record":"{}"}"#,
            r#"{"seq":1,"recrd":""}"#,
            r#"{"vault":"00","seq":1,"record":{}}"#,
            r#"{"vault":"00","seq":1,"record_base64":"AA=="}"#,
            r#"{"end":2"#,
            r#"{"checkpoint":"x"} and more"#,
        ] {
            assert_eq!(Labelled::parse(bad, 1).unwrap_err().id(), ErrorId::InvalidArgument, "{bad}");
        }
        assert!(Labelled::parse(&"x".repeat(LINE_MAX + 1), 1).is_err());
        let newer = r#"{"time":"2026-11-23T09:30:00Z","actor":"anonymous","act":"vault.dream"}"#;
        assert_eq!(Labelled::parse(newer, 1).unwrap(), None);
    }
}
