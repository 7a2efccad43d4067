//! The dataset statement: an in-toto statement about all records of one version of a dataset (docs/datasets.md).
//!
//! Its subject is the dataset's root. It says what the records look like, how many each file has and what their root is, and
//! which version came before.

use std::collections::BTreeMap;

use super::contributors::{Contributor, Excluded, MAX_CONTRIBUTORS};
use super::frame::Format;
use super::measure::{Measured, dataset_root};
use super::scanned::ScanSummary;
use super::schema::Schema;
use crate::error::{Error, ErrorId, Result};
use crate::json::{self, Value, quote};
use crate::names::{KeyId, PREDICATE_BASE, Sha256, Timestamp};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Most files of one statement.
pub const MAX_DATASET_FILES: usize = 100_000;
const MAX_TEXT: usize = 4096;
const MAX_SOURCES: usize = 256;
const MEMBERS: [&str; 18] = [
    "version",
    "previous",
    "created",
    "expires",
    "schema",
    "records",
    "multiset",
    "files",
    "contributors",
    "unattributed",
    "excluded",
    "derived_from",
    "sources",
    "licence",
    "croissant",
    "scan",
    "scan_summary",
    "provenance",
];

/// What is signed about one version of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetStatement {
    /// Whatever its owner calls it: the same for all versions.
    pub name: String,
    /// From 1, one more than the one before.
    pub version: u64,
    /// SHA-256 of the statement of the version before; version 1 has none.
    pub previous: Option<Sha256>,
    /// When it was signed.
    pub created: Timestamp,
    /// From then on it is not accepted any more.
    pub expires: Option<Timestamp>,
    /// What its records look like.
    pub schema: Schema,
    /// Over the hashes of all its records in byte order ([`Multiset`](super::Multiset)): the same for the same records in another
    /// order. Earlier releases signed none.
    pub multiset: Option<Sha256>,
    /// Its files, in the byte order of their paths.
    pub files: Vec<Measured>,
    /// Who supplied records, and which: none where nobody was asked.
    pub attribution: Attribution,
    /// What it was made from.
    pub derived_from: Vec<Origin>,
    /// What its owner says about it.
    pub described: Described,
}

/// Who supplied which records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// In the order of their numbers, from 1.
    pub contributors: Vec<Contributor>,
    /// SHA-256 of what is said of each file, by its path ([`Runs`](super::Runs)).
    pub files: BTreeMap<String, Sha256>,
    /// Contributors whose records are kept out. They stay in the files and in the tree, and are not read.
    pub excluded: Vec<Excluded>,
}

impl Attribution {
    /// Whether records of contributor number `by` are kept out; 0 is nobody.
    pub fn keeps_out(&self, by: u32) -> bool {
        let contributor = by.checked_sub(1).and_then(|n| self.contributors.get(n as usize));
        contributor.is_some_and(|c| self.excluded.iter().any(|e| e.contributor == c.name))
    }
}

/// A dataset that another was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its name.
    pub name: String,
    /// Its root.
    pub root: Sha256,
}

/// What an owner says of a dataset. It is signed, not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Where the data comes from.
    pub sources: Vec<String>,
    /// Under which licence it may be used.
    pub licence: Option<String>,
    /// SHA-256 of its description in Croissant (JSON-LD).
    pub croissant: Option<Sha256>,
    /// SHA-256 of the report of a scan for what looks poisoned.
    pub scan: Option<Sha256>,
    /// That report in short, where it was read.
    pub scan_summary: Option<ScanSummary>,
    /// Fields of the Data & Trust Alliance's Data Provenance Standards, by name.
    pub provenance: BTreeMap<String, String>,
}

impl DatasetStatement {
    /// The type of its predicate.
    pub fn predicate_type() -> String {
        format!("{PREDICATE_BASE}dataset/v1")
    }

    /// Over all of it.
    pub fn root(&self) -> Sha256 {
        dataset_root(&self.files)
    }

    /// Records of all files.
    pub fn records(&self) -> u64 {
        self.files.iter().fold(0, |sum: u64, f| sum.saturating_add(f.records))
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().fold(0, |sum: u64, f| sum.saturating_add(f.size))
    }

    /// Records of all files that nobody attests.
    pub fn unattributed(&self) -> u64 {
        let attested = self.attribution.contributors.iter().fold(0, |sum: u64, c| sum.saturating_add(c.records));
        self.records().saturating_sub(attested)
    }

    /// Records that are read: all but those of contributors who are kept out.
    pub fn readable(&self) -> u64 {
        let kept_out = |c: &&Contributor| self.attribution.excluded.iter().any(|e| e.contributor == c.name);
        let out = self.attribution.contributors.iter().filter(kept_out);
        self.records().saturating_sub(out.fold(0, |sum: u64, c| sum.saturating_add(c.records)))
    }

    /// What is signed: a function of the content alone.
    pub fn to_payload(&self) -> String {
        use std::fmt::Write;
        let mut out = format!("{{\"_type\":\"{STATEMENT_TYPE}\",\"subject\":[{{\"name\":");
        let text = |out: &mut String, key: &str, text: &str| {
            let _ = write!(out, ",\"{key}\":");
            quote(text, out);
        };
        quote(&self.name, &mut out);
        let _ = write!(
            out,
            ",\"digest\":{{\"sha256\":\"{}\"}}}}],\"predicateType\":\"{}\",\"predicate\":{{\"version\":{}",
            self.root(),
            Self::predicate_type(),
            self.version
        );
        if let Some(previous) = &self.previous {
            text(&mut out, "previous", &previous.to_string());
        }
        text(&mut out, "created", &self.created.to_string());
        if let Some(expires) = self.expires {
            text(&mut out, "expires", &expires.to_string());
        }
        let _ = write!(out, ",\"schema\":{},\"records\":{}", self.schema.to_json(), self.records());
        if let Some(multiset) = &self.multiset {
            text(&mut out, "multiset", &multiset.to_string());
        }
        out.push_str(",\"files\":[");
        for (i, file) in self.files.iter().enumerate() {
            out.push_str(if i == 0 { "{\"path\":" } else { ",{\"path\":" });
            quote(&file.path, &mut out);
            let _ = write!(
                out,
                ",\"format\":\"{}\",\"size\":{},\"sha256\":\"{}\",\"records\":{},\"root\":\"{}\",\"pieces\":\"{}\"",
                file.format.as_str(),
                file.size,
                file.sha256,
                file.records,
                file.root,
                file.pieces
            );
            if let Some(runs) = self.attribution.files.get(&file.path) {
                text(&mut out, "contributors", &runs.to_string());
            }
            out.push('}');
        }
        out.push(']');
        let list = |out: &mut String, key: &str, rows: Vec<String>| {
            if !rows.is_empty() {
                let _ = write!(out, ",\"{key}\":[{}]", rows.join(","));
            }
        };
        let quoted = |text: &str| {
            let mut out = String::new();
            quote(text, &mut out);
            out
        };
        let Attribution { contributors, excluded, .. } = &self.attribution;
        let rows = contributors.iter().map(|c| {
            let (name, Contributor { key, statement, records, .. }) = (quoted(&c.name), c);
            format!("{{\"name\":{name},\"keyid\":\"{key}\",\"statement\":\"{statement}\",\"records\":{records}}}")
        });
        list(&mut out, "contributors", rows.collect());
        if !contributors.is_empty() {
            let _ = write!(out, ",\"unattributed\":{}", self.unattributed());
        }
        let rows = excluded
            .iter()
            .map(|e| format!("{{\"contributor\":{},\"reason\":{}}}", quoted(&e.contributor), quoted(&e.reason)));
        list(&mut out, "excluded", rows.collect());
        let rows =
            self.derived_from.iter().map(|o| format!("{{\"name\":{},\"sha256\":\"{}\"}}", quoted(&o.name), o.root));
        list(&mut out, "derived_from", rows.collect());
        let Described { sources, licence, croissant, scan, scan_summary, provenance } = &self.described;
        list(&mut out, "sources", sources.iter().map(|s| quoted(s)).collect());
        if let Some(licence) = licence {
            text(&mut out, "licence", licence);
        }
        for (key, digest) in [("croissant", croissant), ("scan", scan)] {
            if let Some(digest) = digest {
                text(&mut out, key, &digest.to_string());
            }
        }
        if let Some(summary) = scan_summary {
            let _ = write!(out, ",\"scan_summary\":{}", summary.to_json());
        }
        if !provenance.is_empty() {
            let fields: Vec<_> = provenance.iter().map(|(k, v)| format!("{}:{}", quoted(k), quoted(v))).collect();
            let _ = write!(out, ",\"provenance\":{{{}}}", fields.join(","));
        }
        out.push_str("}}");
        out
    }

    /// From a payload whose signature was verified.
    ///
    /// # Errors
    /// `BundleMalformed`: another statement, a rule that is broken, a root that does not follow from the files.
    pub fn from_payload(payload: &[u8]) -> Result<Self> {
        let bad = |why: &str| Error::new(ErrorId::BundleMalformed, format!("not a statement about a dataset: {why}"));
        let value = json::parse(payload, 16).map_err(|e| bad(&e.to_string()))?;
        let top = value.exactly(&["_type", "subject", "predicateType", "predicate"]);
        top.ok_or_else(|| bad("its members are others"))?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("_type") != STATEMENT_TYPE || text("predicateType") != Self::predicate_type() {
            return Err(bad("it is of another type"));
        }
        let (subject, predicate) = (value.get("subject"), value.get("predicate"));
        let read = subject.and_then(one_subject).zip(predicate);
        let ((name, root), predicate) = read.ok_or_else(|| bad("it has one subject and a predicate"))?;
        predicate.exactly(&MEMBERS).ok_or_else(|| bad("its predicate has other members"))?;
        let schema = Schema::from_json(predicate.get("schema").ok_or_else(|| bad("it has no schema"))?)?;
        let statement = predicate_of(predicate, name, schema).ok_or_else(|| bad("a member is malformed"))?;
        let sorted = statement.files.windows(2).all(|pair| pair[0].path < pair[1].path);
        if !sorted || statement.files.len() > MAX_DATASET_FILES {
            return Err(bad("its files are not in order, or too many"));
        }
        let first = statement.version == 1;
        if statement.version == 0 || first != statement.previous.is_none() {
            return Err(bad("its version and the one before do not fit"));
        }
        let counted =
            |of: fn(&Measured) -> u64| statement.files.iter().try_fold(0, |sum: u64, f| sum.checked_add(of(f)));
        if counted(|f| f.records).is_none() || counted(|f| f.size).is_none() {
            return Err(bad("its files are larger than all there is"));
        }
        let records = predicate.get("records").and_then(Value::as_u64);
        if records != Some(statement.records()) || statement.root() != root {
            return Err(bad("its root or count does not follow from its files"));
        }
        let Described { scan, scan_summary, .. } = &statement.described;
        if scan_summary.is_some() && scan.is_none() {
            return Err(bad("it tells of a scan whose report it does not name"));
        }
        if !fits(&statement, predicate.get("unattributed").and_then(Value::as_u64)) {
            return Err(bad("what it says of contributors does not fit"));
        }
        Ok(statement)
    }
}

fn one_subject(subject: &Value) -> Option<(String, Sha256)> {
    let [subject] = subject.as_array()? else { return None };
    subject.exactly(&["name", "digest"])?;
    let digest = subject.get("digest")?;
    digest.exactly(&["sha256"])?;
    Some((short(subject.get("name")?)?, sha256(digest.get("sha256")?)?))
}

/// Whether what is said of contributors is of one piece.
fn fits(statement: &DatasetStatement, unattributed: Option<u64>) -> bool {
    let Attribution { contributors, files, excluded } = &statement.attribution;
    let names: BTreeMap<_, _> = contributors.iter().map(|c| (&*c.name, c.records)).collect();
    let attested = contributors.iter().try_fold(0_u64, |sum, c| sum.checked_add(c.records));
    let whole = attested.is_some_and(|attested| attested <= statement.records());
    let told = (!contributors.is_empty()).then(|| statement.unattributed());
    // Where there are contributors, it is said of every file with records whose these are.
    let each = statement.files.iter().all(|f| files.contains_key(&f.path) == (told.is_some() && f.records > 0));
    let mut out = std::collections::BTreeSet::new();
    let known = excluded.iter().all(|e| names.contains_key(&*e.contributor) && out.insert(&e.contributor));
    names.len() == contributors.len()
        && contributors.len() <= MAX_CONTRIBUTORS
        && whole
        && told == unattributed
        && each
        && known
}

fn predicate_of(predicate: &Value, name: String, schema: Schema) -> Option<DatasetStatement> {
    let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    let mut runs = BTreeMap::new();
    let file = |file: &Value| {
        file.exactly(&["path", "format", "size", "sha256", "records", "root", "pieces", "contributors"])?;
        let path = short(file.get("path")?).filter(|path| crate::files::path_is_canonical(path))?;
        if let Some(by) = optional(file, "contributors", sha256)? {
            runs.insert(path.clone(), by);
        }
        Some(Measured {
            path,
            format: Format::parse(file.get("format")?.as_str()?)?,
            size: file.get("size")?.as_u64()?,
            sha256: sha256(file.get("sha256")?)?,
            records: file.get("records")?.as_u64()?,
            root: sha256(file.get("root")?)?,
            pieces: sha256(file.get("pieces")?)?,
        })
    };
    let contributor = |c: &Value| {
        c.exactly(&["name", "keyid", "statement", "records"])?;
        Some(Contributor {
            name: short(c.get("name")?)?,
            key: c.get("keyid")?.as_str()?.parse::<KeyId>().ok()?,
            statement: sha256(c.get("statement")?)?,
            records: c.get("records")?.as_u64()?,
        })
    };
    let excluded = |e: &Value| {
        e.exactly(&["contributor", "reason"])?;
        Some(Excluded { contributor: short(e.get("contributor")?)?, reason: short(e.get("reason")?)? })
    };
    let origin = |o: &Value| {
        o.exactly(&["name", "sha256"])?;
        Some(Origin { name: short(o.get("name")?)?, root: sha256(o.get("sha256")?)? })
    };
    let fields = |fields: &Value| {
        let fields = fields.as_object().filter(|fields| fields.len() <= MAX_SOURCES)?;
        fields.iter().map(|(key, value)| Some((key.clone(), short(value)?))).collect::<Option<BTreeMap<_, _>>>()
    };
    Some(DatasetStatement {
        name,
        version: predicate.get("version")?.as_u64()?,
        previous: optional(predicate, "previous", sha256)?,
        created: time(predicate.get("created")?)?,
        expires: optional(predicate, "expires", time)?,
        schema,
        multiset: optional(predicate, "multiset", sha256)?,
        files: predicate.get("files")?.as_array()?.iter().map(file).collect::<Option<_>>()?,
        attribution: Attribution {
            contributors: all(predicate, "contributors", MAX_CONTRIBUTORS, contributor)?,
            files: runs,
            excluded: all(predicate, "excluded", MAX_CONTRIBUTORS, excluded)?,
        },
        derived_from: all(predicate, "derived_from", MAX_SOURCES, origin)?,
        described: Described {
            sources: all(predicate, "sources", MAX_SOURCES, short)?,
            licence: optional(predicate, "licence", short)?,
            croissant: optional(predicate, "croissant", sha256)?,
            scan: optional(predicate, "scan", sha256)?,
            scan_summary: optional(predicate, "scan_summary", ScanSummary::from_json)?,
            provenance: optional(predicate, "provenance", fields)?.unwrap_or_default(),
        },
    })
}

/// Absent is fine; malformed is not.
fn optional<T>(of: &Value, key: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<Option<T>> {
    of.get(key).map_or(Some(None), |value| read(value).map(Some))
}

/// A list of at most so many; absent is empty.
fn all<T>(of: &Value, key: &str, most: usize, read: impl FnMut(&Value) -> Option<T>) -> Option<Vec<T>> {
    let list = optional(of, key, |list| list.as_array().map(<[_]>::to_vec))?.unwrap_or_default();
    if list.len() > most { None } else { list.iter().map(read).collect() }
}

fn short(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty() && text.len() <= MAX_TEXT).map(Into::into)
}

fn sha256(value: &Value) -> Option<Sha256> {
    let text = value.as_str().filter(|text| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(Sha256(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::scanned::Gravity;
    use super::*;

    fn statement() -> DatasetStatement {
        let file = |path: &str, n: u8| Measured {
            path: path.into(),
            format: Format::Jsonl,
            size: 10,
            sha256: Sha256([n; 32]),
            records: 2,
            root: Sha256([n + 1; 32]),
            pieces: Sha256([n + 2; 32]),
        };
        let contributor = |name: &str, records| Contributor {
            name: name.into(),
            key: KeyId([5; 32]),
            statement: Sha256([6; 32]),
            records,
        };
        DatasetStatement {
            name: "reviews".into(),
            version: 2,
            previous: Some(Sha256([9; 32])),
            created: Timestamp::from_millis(1_700_000_000_000),
            expires: Some(Timestamp::from_millis(1_800_000_000_000)),
            schema: Schema::Lines,
            multiset: Some(Sha256([10; 32])),
            files: vec![file("a.jsonl", 1), file("b/c.jsonl", 3)],
            attribution: Attribution {
                contributors: vec![contributor("c\"1", 1), contributor("c2", 2)],
                files: [("a.jsonl", 7), ("b/c.jsonl", 8)].map(|(path, n)| (path.into(), Sha256([n; 32]))).into(),
                excluded: vec![Excluded { contributor: "c2".into(), reason: "labels are flipped".into() }],
            },
            derived_from: vec![Origin { name: "raw".into(), root: Sha256([4; 32]) }],
            described: Described {
                sources: vec!["https://example.org/reviews".into()],
                licence: Some("CC-BY-4.0".into()),
                croissant: Some(Sha256([3; 32])),
                scan: Some(Sha256([2; 32])),
                scan_summary: Some(ScanSummary {
                    records: 4,
                    findings: 2,
                    worst: Gravity::Medium,
                    detectors: [("label".into(), 3), ("rule".into(), 0)].into(),
                }),
                provenance: [("source_title".into(), "Reviews".into())].into(),
            },
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let full = statement();
        assert_eq!(DatasetStatement::from_payload(full.to_payload().as_bytes()).unwrap(), full);
        assert_eq!((full.records(), full.unattributed(), full.readable()), (4, 1, 2));
        let bare = DatasetStatement {
            version: 1,
            previous: None,
            expires: None,
            attribution: Attribution::default(),
            derived_from: Vec::new(),
            described: Described::default(),
            files: Vec::new(),
            ..full
        };
        assert_eq!(DatasetStatement::from_payload(bare.to_payload().as_bytes()).unwrap(), bare);
    }

    #[test]
    fn a_statement_that_contradicts_itself_is_refused() {
        let good = statement().to_payload();
        for (from, to) in [
            ("\"version\":2", "\"version\":1"),
            ("\"version\":2", "\"version\":0"),
            ("\"records\":4", "\"records\":5"),
            ("\"size\":10", "\"size\":11"),
            ("\"path\":\"a.jsonl\"", "\"path\":\"../a.jsonl\""),
            ("\"path\":\"a.jsonl\"", "\"path\":\"c.jsonl\""),
            ("\"licence\":\"CC-BY-4.0\"", "\"license\":\"CC-BY-4.0\""),
            ("\"licence\":\"CC-BY-4.0\"", "\"licence\":7"),
            ("\"unattributed\":1", "\"unattributed\":0"),
            (",\"unattributed\":1", ""),
            ("\"name\":\"c2\"", "\"name\":\"c3\""),
            ("\"contributor\":\"c2\"", "\"contributor\":\"c3\""),
            ("c2\",\"keyid\"", "c\\\"1\",\"keyid\""),
            ("\"pieces\":\"05", "\"pieces\":\"5"),
            ("\"records\":2}]", "\"records\":4}]"),
            ("\"expires\":\"", "\"expires\":\"x"),
            ("\"scan\":\"", "\"croissant2\":\""),
            (",\"scan\":\"0202020202020202020202020202020202020202020202020202020202020202\"", ""),
            ("\"worst\":\"medium\"", "\"worst\":\"none\""),
            ("\"worst\":\"medium\"", "\"worst\":\"grave\""),
            ("\"findings\":2", "\"findings\":0"),
            ("{\"label\":3", "{\"\":3"),
            ("{\"label\":3", "{\"label\":0"),
            ("dataset/v1", "dataset/v2"),
            ("Statement/v1", "Statement/v0.1"),
        ] {
            assert!(good.contains(from), "{from}");
            let error = DatasetStatement::from_payload(good.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!(error.id(), ErrorId::BundleMalformed, "{to}");
        }
    }
}
