//! The dataset statement: an in-toto statement about all records of one version of a dataset (docs/datasets.md).
//!
//! Its subject is the dataset's root. It says what the records look like, how many each file has and what their root is, and
//! which version came before.

use super::frame::Format;
use super::measure::{Measured, dataset_root};
use super::schema::Schema;
use crate::error::{Error, ErrorId, Result};
use crate::json::{self, Value, quote};
use crate::names::{PREDICATE_BASE, Sha256, Timestamp};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Most files of one statement.
pub const MAX_DATASET_FILES: usize = 100_000;
const MAX_TEXT: usize = 4096;
const MAX_SOURCES: usize = 256;

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
    /// Its files, in the byte order of their paths.
    pub files: Vec<Measured>,
    /// Where the data comes from, as its owner says.
    pub sources: Vec<String>,
    /// Under which licence it may be used, as its owner says.
    pub licence: Option<String>,
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
        self.files.iter().map(|f| f.records).sum()
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|f| f.size).sum()
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
        let _ = write!(out, ",\"schema\":{},\"records\":{},\"files\":[", self.schema.to_json(), self.records());
        for (i, file) in self.files.iter().enumerate() {
            out.push_str(if i == 0 { "{\"path\":" } else { ",{\"path\":" });
            quote(&file.path, &mut out);
            let _ = write!(
                out,
                ",\"format\":\"{}\",\"size\":{},\"sha256\":\"{}\",\"records\":{},\"root\":\"{}\"}}",
                file.format.as_str(),
                file.size,
                file.sha256,
                file.records,
                file.root
            );
        }
        out.push(']');
        if !self.sources.is_empty() {
            out.push_str(",\"sources\":[");
            for (i, source) in self.sources.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                quote(source, &mut out);
            }
            out.push(']');
        }
        if let Some(licence) = &self.licence {
            text(&mut out, "licence", licence);
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
        let known = ["version", "previous", "created", "expires", "schema", "records", "files", "sources", "licence"];
        predicate.exactly(&known).ok_or_else(|| bad("its predicate has other members"))?;
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
        let records = predicate.get("records").and_then(Value::as_u64);
        if records != Some(statement.records()) || statement.root() != root {
            return Err(bad("its root or count does not follow from its files"));
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

fn predicate_of(predicate: &Value, name: String, schema: Schema) -> Option<DatasetStatement> {
    let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    // Absent is fine; malformed is not.
    let optional = |key: &str| predicate.get(key);
    let file = |file: &Value| {
        file.exactly(&["path", "format", "size", "sha256", "records", "root"])?;
        Some(Measured {
            path: short(file.get("path")?).filter(|path| crate::files::path_is_canonical(path))?,
            format: Format::parse(file.get("format")?.as_str()?)?,
            size: file.get("size")?.as_u64()?,
            sha256: sha256(file.get("sha256")?)?,
            records: file.get("records")?.as_u64()?,
            root: sha256(file.get("root")?)?,
        })
    };
    let all = |key: &str, most: usize| match optional(key) {
        None => Some(Vec::new()),
        Some(list) => list.as_array()?.iter().take(most + 1).map(short).collect::<Option<Vec<_>>>(),
    };
    Some(DatasetStatement {
        name,
        version: predicate.get("version")?.as_u64()?,
        previous: optional("previous").map_or(Some(None), |p| sha256(p).map(Some))?,
        created: time(predicate.get("created")?)?,
        expires: optional("expires").map_or(Some(None), |e| time(e).map(Some))?,
        schema,
        files: predicate.get("files")?.as_array()?.iter().map(file).collect::<Option<_>>()?,
        sources: all("sources", MAX_SOURCES).filter(|sources| sources.len() <= MAX_SOURCES)?,
        licence: optional("licence").map_or(Some(None), |l| short(l).map(Some))?,
    })
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
    use super::*;

    fn statement() -> DatasetStatement {
        let file = |path: &str, n: u8| Measured {
            path: path.into(),
            format: Format::Jsonl,
            size: 10,
            sha256: Sha256([n; 32]),
            records: 2,
            root: Sha256([n + 1; 32]),
        };
        DatasetStatement {
            name: "reviews".into(),
            version: 2,
            previous: Some(Sha256([9; 32])),
            created: Timestamp::from_millis(1_700_000_000_000),
            expires: Some(Timestamp::from_millis(1_800_000_000_000)),
            schema: Schema::Lines,
            files: vec![file("a.jsonl", 1), file("b/c.jsonl", 3)],
            sources: vec!["https://example.org/reviews".into()],
            licence: Some("CC-BY-4.0".into()),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let full = statement();
        assert_eq!(DatasetStatement::from_payload(full.to_payload().as_bytes()).unwrap(), full);
        let bare = DatasetStatement {
            version: 1,
            previous: None,
            expires: None,
            sources: Vec::new(),
            licence: None,
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
            ("\"expires\":\"", "\"expires\":\"x"),
            ("dataset/v1", "dataset/v2"),
            ("Statement/v1", "Statement/v0.1"),
        ] {
            assert!(good.contains(from), "{from}");
            let error = DatasetStatement::from_payload(good.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!(error.id(), ErrorId::BundleMalformed, "{to}");
        }
    }
}
