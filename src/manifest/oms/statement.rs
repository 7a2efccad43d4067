//! The statement: in-toto Statement v1 with the OMS predicate. What is written has one form for one model: two runs give the
//! same bytes.

use std::collections::HashSet;
use std::fmt::Write;

use super::bundle::MAX_KEYS;
use super::resource::{Resource, root, tree};
use super::{Malformed, release_0_2};
use crate::crypto::hash::Algorithm;
use crate::files::{Ignored, Links, MAX_FILES, path_is_canonical};
use crate::json::{JsonError, Reader, Value, quote};
use crate::names::{Blake3, Sha256};

/// The predicate's type (OMS 5.1).
pub const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Annotation of the subject: the root that binds names and sizes too.
const TREE: &str = "vault.tree";
const MAX_DEPTH: usize = 64;

/// What a signer says of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Base name of the model; informs, binds nothing.
    pub name: String,
    /// How files were found and hashed.
    pub serialization: Serialization,
    /// The digests, in listed order.
    pub resources: Vec<Resource>,
}

/// How files were found and hashed (OMS 5.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serialization {
    /// A digest a file, or a digest a shard.
    pub method: Method,
    /// Of every digest.
    pub algorithm: Algorithm,
    /// Whether links to files were followed.
    pub links: Links,
    /// Paths left out, beside those every model leaves out.
    pub ignored: Ignored,
}

/// How a file becomes digests (OMS 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// One digest.
    Files,
    /// A digest for each so many bytes.
    Shards(u64),
}

impl Statement {
    /// A statement in canonical order.
    ///
    /// # Errors
    /// `Malformed` if there is nothing to sign (OMS 6.1) or a name comes twice.
    pub fn new(name: String, serialization: Serialization, mut resources: Vec<Resource>) -> Result<Self, Malformed> {
        resources.sort_by_cached_key(Resource::name);
        let statement = Self { name, serialization, resources };
        statement.check()?;
        Ok(statement)
    }

    /// The subject's digest.
    pub fn root(&self) -> Sha256 {
        root(&self.resources)
    }

    /// The signed bytes: compact, members in the order of the specification, UTF-8 as it is.
    pub fn to_payload(&self) -> String {
        let serialization = &self.serialization;
        let algorithm = serialization.algorithm.name();
        let mut out = String::with_capacity(512 + self.resources.len() * 192);
        write!(out, "{{\"_type\":\"{STATEMENT_TYPE}\",\"subject\":[{{\"name\":").expect("writing to a string");
        quote(&self.name, &mut out);
        write!(out, ",\"digest\":{{\"sha256\":\"{}\"}}", self.root()).expect("writing to a string");
        if let Some(tree) = tree(&self.resources) {
            write!(out, ",\"annotations\":{{\"{TREE}\":\"{tree}\"}}").expect("writing to a string");
        }
        write!(out, "}}],\"predicateType\":\"{PREDICATE_TYPE}\",\"predicate\":{{\"resources\":[")
            .expect("writing to a string");
        for (i, resource) in self.resources.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            resource.write_json(algorithm, &mut out);
        }
        out.push_str("],\"serialization\":{\"method\":");
        match serialization.method {
            Method::Files => write!(out, "\"files\",\"hash_type\":\"{algorithm}\""),
            Method::Shards(size) => write!(out, "\"shards\",\"hash_type\":\"{algorithm}\",\"shard_size\":{size}"),
        }
        .expect("writing to a string");
        let links = serialization.links == Links::FollowToFiles;
        write!(out, ",\"allow_symlinks\":{links},\"ignore_paths\":[").expect("writing to a string");
        for (i, path) in serialization.ignored.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            quote(path, &mut out);
        }
        out.push_str("]}}}");
        out
    }

    /// Reads what was signed. To be called for authentic bytes; it is as strict as if they were not.
    ///
    /// # Errors
    /// `Malformed`, with the rule that is broken.
    pub fn from_payload(payload: &[u8]) -> Result<Self, Malformed> {
        let raw = Raw::read(payload)?;
        if raw.statement_type.as_deref() != Some(STATEMENT_TYPE) {
            return Err(Malformed::new("_type is not that of an in-toto statement v1"));
        }
        match raw.predicate_type.as_deref() {
            Some(PREDICATE_TYPE) => raw.into_statement(),
            Some(release_0_2::PREDICATE_TYPE) => {
                let subjects = raw.subjects.into_iter().map(|s| (s.name, s.sha256));
                let statement = release_0_2::statement(subjects)?;
                statement.check()?;
                Ok(statement)
            }
            _ => Err(Malformed::new("predicateType is not that of a model signature")),
        }
    }

    /// Rules of a statement as a whole; those of single names hold by construction.
    fn check(&self) -> Result<(), Malformed> {
        if self.resources.is_empty() {
            return Err(Malformed::new("a model of no files cannot be signed (OMS 6.1)"));
        }
        let mut names = HashSet::with_capacity(self.resources.len());
        if let Some(twice) = self.resources.iter().map(Resource::name).find(|name| !names.insert(name.clone())) {
            return Err(Malformed::new(format!("{twice:?} is listed twice")));
        }
        let unnamed = self.resources.iter().filter(|r| r.path == ".").count();
        if unnamed > 0 && unnamed < self.resources.len() {
            return Err(Malformed::new("\".\" names a model of one file only"));
        }
        Ok(())
    }
}

/// A statement as it is written, before its parts are held against one another.
#[derive(Default)]
struct Raw {
    statement_type: Option<String>,
    predicate_type: Option<String>,
    subjects: Vec<RawSubject>,
    resources: Option<Vec<RawResource>>,
    serialization: Option<Value>,
}

#[derive(Default)]
struct RawSubject {
    name: String,
    sha256: Option<String>,
    tree: Option<String>,
}

#[derive(Default)]
struct RawResource {
    name: String,
    digest: Box<[u8]>,
    size: Option<u64>,
    blake3: Option<Blake3>,
    /// As written: some writers spell it in ways of their own.
    algorithm: Option<String>,
}

impl Raw {
    fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let mut raw = Self::default();
        let mut reader = Reader::new(payload, MAX_DEPTH)?.with_max_keys(MAX_KEYS);
        reader.object(|reader, key| {
            match key {
                "_type" => raw.statement_type = Some(reader.string()?.into_owned()),
                "predicateType" => raw.predicate_type = Some(reader.string()?.into_owned()),
                "subject" => reader.array(|reader| {
                    raw.subjects.push(RawSubject::read(reader)?);
                    bounded(reader, raw.subjects.len())
                })?,
                "predicate" => reader.object(|reader, key| raw.read_predicate(reader, key))?,
                _ => return reader.fail("an unknown member of the statement"),
            }
            Ok(())
        })?;
        reader.end()?;
        Ok(raw)
    }

    fn read_predicate(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<(), JsonError> {
        match key {
            "resources" => {
                let mut resources: Vec<RawResource> = Vec::new();
                reader.array(|reader| {
                    let mut resource = RawResource::read(reader)?;
                    // Kept once, not once a resource: it is the same word in all of them.
                    if resources.first().is_some_and(|first| first.algorithm == resource.algorithm) {
                        resource.algorithm = None;
                    }
                    resources.push(resource);
                    bounded(reader, resources.len())
                })?;
                self.resources = Some(resources);
            }
            "serialization" => self.serialization = Some(reader.value()?),
            // Release 0.2 has other members here, and none of them counts.
            _ => reader.skip()?,
        }
        Ok(())
    }

    fn into_statement(self) -> Result<Statement, Malformed> {
        let [subject] = <[RawSubject; 1]>::try_from(self.subjects)
            .map_err(|s| Malformed::new(format!("{} subjects instead of one", s.len())))?;
        if subject.name.is_empty() {
            return Err(Malformed::new("the subject has no name"));
        }
        let (serialization, words) = read_serialization(self.serialization.as_ref())?;
        let sharded = matches!(serialization.method, Method::Shards(_));
        let listed = self.resources.ok_or_else(|| Malformed::new("no resources"))?;
        let mut resources = Vec::with_capacity(listed.len());
        for (i, raw) in listed.into_iter().enumerate() {
            match raw.algorithm {
                Some(word) if words.contains(&word) => {}
                None if i > 0 => {}
                _ => return Err(Malformed::new(format!("{:?} is not hashed as hash_type says", raw.name))),
            }
            if raw.digest.len() != serialization.algorithm.digest_len() {
                return Err(Malformed::new(format!("the digest of {:?} has the wrong length", raw.name)));
            }
            let resource = Resource::named(&raw.name, sharded, raw.digest)
                .map_err(|what| Malformed::new(format!("{:?}: {what}", raw.name)))?;
            resources.push(Resource { size: raw.size, blake3: raw.blake3, ..resource });
        }
        let statement = Statement { name: subject.name, serialization, resources };
        statement.check()?;
        if subject.sha256 != Some(statement.root().to_string()) {
            return Err(Malformed::new("the subject's digest is not that of the resources"));
        }
        if subject.tree.is_some() && subject.tree != tree(&statement.resources).map(|t| t.to_string()) {
            return Err(Malformed::new(format!("the subject's {TREE} is not that of the resources")));
        }
        Ok(statement)
    }
}

impl RawSubject {
    fn read(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        let mut subject = Self::default();
        reader.object(|reader, key| {
            match key {
                "name" => subject.name = reader.string()?.into_owned(),
                "digest" => reader.object(|reader, key| {
                    let digest = reader.string()?;
                    if key == "sha256" {
                        subject.sha256 = Some(digest.into_owned());
                    }
                    Ok(())
                })?,
                "annotations" => {
                    let annotations = reader.value()?;
                    subject.tree = annotations.get(TREE).and_then(Value::as_str).map(Into::into);
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(subject)
    }
}

impl RawResource {
    fn read(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        let mut resource = Self::default();
        reader.object(|reader, key| {
            match key {
                "name" => resource.name = reader.string()?.into_owned(),
                "algorithm" => resource.algorithm = Some(reader.string()?.into_owned()),
                "digest" => {
                    let text = reader.string()?;
                    match lower_hex(&text) {
                        Some(digest) => resource.digest = digest.into(),
                        None => return reader.fail("a digest is in lower-case hex"),
                    }
                }
                "annotations" => {
                    let annotations = reader.value()?;
                    resource.size = annotations.get("size").and_then(Value::as_u64);
                    let blake3 = annotations.get("blake3").and_then(Value::as_str);
                    resource.blake3 = blake3.and_then(|text| text.parse().ok());
                }
                // A verifier must ignore what it does not know here (OMS 5.2.1).
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(resource)
    }
}

fn bounded(reader: &Reader<'_>, count: usize) -> Result<(), JsonError> {
    if count > MAX_FILES { reader.fail("more than 1,000,000 entries") } else { Ok(()) }
}

pub(super) fn lower_hex(text: &str) -> Option<Vec<u8>> {
    let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    hex::decode(text).ok().filter(|_| lower && !text.is_empty())
}

/// The parameters, and the words that may name the algorithm in a resource.
fn read_serialization(value: Option<&Value>) -> Result<(Serialization, Vec<String>), Malformed> {
    let malformed = |what: &str| Malformed::new(format!("serialization: {what}"));
    let value = value.ok_or_else(|| malformed("missing"))?;
    let known = ["method", "hash_type", "shard_size", "allow_symlinks", "ignore_paths"];
    value.exactly(&known).ok_or_else(|| malformed("an unknown member"))?;
    let text = |key| value.get(key).and_then(Value::as_str);
    let hash_type = text("hash_type").ok_or_else(|| malformed("hash_type"))?;
    let algorithm = Algorithm::from_name(hash_type)
        .ok_or_else(|| malformed(&format!("hash_type {hash_type:?} is not one this release knows")))?;
    let mut words = vec![algorithm.name().to_owned()];
    let method = match (text("method"), value.get("shard_size")) {
        (Some("files"), None) => Method::Files,
        (Some("shards"), Some(size)) => {
            let size = whole_number(size).filter(|n| *n > 0).ok_or_else(|| malformed("shard_size"))?;
            // The reference's spelling; the specification has the plain name.
            words.push(format!("{}-sharded-{size}", algorithm.name()));
            Method::Shards(size)
        }
        (Some("files" | "shards"), _) => return Err(malformed("shard_size goes with method \"shards\" only")),
        _ => return Err(malformed("method")),
    };
    let links = match value.get("allow_symlinks") {
        Some(Value::Bool(true)) => Links::FollowToFiles,
        Some(Value::Bool(false)) => Links::Refuse,
        _ => return Err(malformed("allow_symlinks")),
    };
    let mut ignored = Vec::new();
    if let Some(list) = value.get("ignore_paths") {
        for path in list.as_array().ok_or_else(|| malformed("ignore_paths"))? {
            let path = path.as_str().ok_or_else(|| malformed("ignore_paths"))?;
            // Else one entry could leave out the whole model, or files that are elsewhere.
            if !path_is_canonical(path) {
                return Err(malformed(&format!("ignore_paths names {path:?}, no canonical path within the model")));
            }
            ignored.push(path.to_owned());
        }
    }
    Ok((Serialization { method, algorithm, links, ignored: Ignored::new(ignored) }, words))
}

/// An integer, also as the reference writes one: `67108864.0`.
fn whole_number(value: &Value) -> Option<u64> {
    let Value::Number(text) = value else { return None };
    let text = text.strip_suffix(".0").unwrap_or(text);
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        let resource = |path: &str, n: u8| Resource {
            size: Some(u64::from(n)),
            ..Resource::named(path, false, [n; 32].into()).unwrap()
        };
        let serialization = Serialization {
            method: Method::Files,
            algorithm: Algorithm::Sha256,
            links: Links::Refuse,
            ignored: Ignored::new([".git".to_owned(), "model.sig".to_owned()]),
        };
        let resources = vec![resource("a/x", 1), resource("a.txt", 2), resource("a-b", 3), resource("q\"\t\\é", 4)];
        Statement::new("m".into(), serialization, resources).unwrap()
    }

    #[test]
    fn one_model_has_one_payload_in_the_order_of_the_specification() {
        let statement = statement();
        let payload = statement.to_payload();
        assert_eq!(Statement::from_payload(payload.as_bytes()).unwrap(), statement);
        let mut shuffled = statement.clone();
        shuffled.resources.reverse();
        let again = Statement::new(shuffled.name, shuffled.serialization, shuffled.resources).unwrap();
        assert_eq!(again.to_payload(), payload);
        let names: Vec<_> = statement.resources.iter().map(Resource::name).collect();
        assert_eq!(names, ["a-b", "a.txt", "a/x", "q\"\t\\é"]);
    }

    #[test]
    fn what_two_verifiers_could_read_differently_is_refused() {
        let payload = statement().to_payload();
        for (from, to) in [
            ("\"name\":\"a-b\"", "\"name\":\"a.txt\""),
            ("\"name\":\"a-b\"", "\"name\":\"./a-b\""),
            ("\"name\":\"a-b\"", "\"name\":\"../a-b\""),
            ("\"name\":\"a-b\"", "\"name\":\".\""),
            ("\"name\":\"a-b\"", "\"name\":\"a-b\",\"name\":\"c\""),
            ("\"hash_type\":\"sha256\"", "\"hash_type\":\"md5\""),
            ("\"hash_type\":\"sha256\"", "\"hash_type\":\"blake3\""),
            ("\"method\":\"files\"", "\"method\":\"shards\""),
            ("\"method\":\"files\"", "\"method\":\"files\",\"shard_size\":5"),
            ("\"allow_symlinks\":false,", ""),
            ("\"model.sig\"", "\".\""),
            ("\"model.sig\"", "\"../x\""),
            ("\"model.sig\"", "\"/\""),
            ("0101", "0A01"),
            ("0303", "0404"),
            ("\"size\":1", "\"size\":2"),
            ("Statement/v1", "Statement/v2"),
            ("signature/v1.0", "signature/v9"),
            ("\"subject\":[", "\"subject\":[{\"name\":\"n\",\"digest\":{\"sha256\":\"00\"}},"),
            ("\"serialization\":{", "\"serialization\":{\"more\":1,"),
            ("{\"_type\"", "{\"more\":1,\"_type\""),
        ] {
            assert!(payload.contains(from), "{from}");
            assert!(Statement::from_payload(payload.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
        let none = Statement::new("m".into(), statement().serialization, vec![]);
        assert!(none.unwrap_err().to_string().contains("no files"));
    }

    #[test]
    fn spellings_of_the_reference_are_read() {
        let resource = |r: &str| Resource::named(r, true, [1; 32].into()).unwrap();
        let serialization = Serialization { method: Method::Shards(64), ..statement().serialization };
        let shards = Statement::new("m".into(), serialization, vec![resource("a:0:64"), resource("a:64:65")]).unwrap();
        let payload = shards.to_payload();
        let reference = payload
            .replace("\"algorithm\":\"sha256\"", "\"algorithm\":\"sha256-sharded-64\"")
            .replace("\"shard_size\":64", "\"shard_size\":64.0");
        assert_ne!(payload, reference);
        assert_eq!(Statement::from_payload(reference.as_bytes()).unwrap(), shards);
        let other = payload.replace("\"algorithm\":\"sha256\"", "\"algorithm\":\"sha256-sharded-65\"");
        assert!(Statement::from_payload(other.as_bytes()).is_err());
    }
}
