//! Statements of any kind about an artifact: in-toto Statement v1 with whatever predicate (a model card, an evaluation, a bill of
//! materials, provenance). What the predicate says is the reader's business; who says it, and of what, is ours.

use std::collections::HashSet;

use crate::crypto::hash::sha256;
use crate::json::{JsonError, Reader, quote};
use crate::names::{Blake3, KeyId, PREDICATE_BASE, Root, Sha256, Tag};

use super::oms::Malformed;

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Read, never written: SLSA provenance before 1.0 has it.
const STATEMENT_TYPE_0_1: &str = "https://in-toto.io/Statement/v0.1";
/// Digest of a subject that is a whole artifact: the sealed root (docs/format.md 8), in hex.
const ROOT: &str = "mvltRoot";
const APPROVAL: &str = "approval.";
const MAX_SUBJECTS: usize = 10_000;
const MAX_DIGESTS: usize = 16;
const MAX_DEPTH: usize = 64;
const MAX_KEYS: usize = 100_000;
const MAX_TYPE: usize = 512;

/// Kinds of statements that are our own: `KIND` is `PREDICATE_BASE KIND /v1`.
const OWN: [&str; 3] = ["model-card", "evaluation", "approval"];
/// Kinds of others that have a short name, and their predicate types.
const KNOWN: [(&str, &str); 5] = [
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("spdx", "https://spdx.dev/Document"),
    ("provenance", "https://slsa.dev/provenance/v1"),
    ("test-result", "https://in-toto.io/attestation/test-result/v0.1"),
    ("model-signature", super::oms::PREDICATE_TYPE),
];

/// The predicate type that a short name or a URI means. `approval.TAG` is the approval to move a tag to a version.
pub fn predicate_type(kind: &str) -> Option<String> {
    if let Some((_, uri)) = KNOWN.iter().find(|(short, _)| *short == kind) {
        return Some((*uri).into());
    }
    if OWN.contains(&kind) {
        return Some(format!("{PREDICATE_BASE}{kind}/v1"));
    }
    if let Some(tag) = kind.strip_prefix(APPROVAL).and_then(|tag| tag.parse::<Tag>().ok()) {
        return Some(format!("{PREDICATE_BASE}approval/v1/{tag}"));
    }
    is_type(kind).then(|| kind.into())
}

/// The short names.
pub fn known_kinds() -> impl Iterator<Item = &'static str> {
    OWN.into_iter().chain(KNOWN.iter().map(|(short, _)| *short))
}

/// The short name of a predicate type, or itself.
pub fn kind_of(predicate_type: &str) -> String {
    let known = KNOWN.iter().find(|(_, uri)| *uri == predicate_type).map(|(short, _)| (*short).to_owned());
    let own = || {
        let kind = predicate_type.strip_prefix(PREDICATE_BASE)?;
        match kind.split_once("/v1")? {
            (kind, "") if OWN.contains(&kind) => Some(kind.to_owned()),
            ("approval", tag) => Some(format!("{APPROVAL}{}", tag.strip_prefix('/')?.parse::<Tag>().ok()?)),
            _ => None,
        }
    };
    known.or_else(own).unwrap_or_else(|| predicate_type.into())
}

/// A URI, as far as that keeps two readers from seeing two things: bounded, visible ASCII, with a scheme.
fn is_type(text: &str) -> bool {
    let (scheme, rest) = text.split_once(':').unwrap_or_default();
    let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && !rest.is_empty();
    named && text.len() <= MAX_TYPE && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
}

/// A file of an artifact, as its manifest records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Path within the artifact.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the bytes.
    pub blake3: Blake3,
    /// SHA-256 of the bytes, unless it was left out at seal.
    pub sha256: Option<Sha256>,
}

/// How much of an artifact a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Nothing in it.
    None,
    /// Some of its files.
    Part,
    /// All of them, or the artifact as such.
    Whole,
}

/// What a statement says it is about, and of which kind it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The kind.
    pub predicate_type: String,
    subjects: Vec<Subject>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Subject {
    name: Option<String>,
    digests: Vec<(String, String)>,
}

impl Attestation {
    /// The signed bytes of a statement about a whole artifact. `predicate`: JSON, as it is written.
    ///
    /// # Errors
    /// `Malformed` if the predicate is not one JSON value.
    pub fn payload(predicate_type: &str, name: &str, root: Root, predicate: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut reader = Reader::new(predicate, MAX_DEPTH)?.with_max_keys(MAX_KEYS);
        reader.skip()?;
        reader.end()?;
        let predicate = std::str::from_utf8(predicate).map_err(|_| Malformed("not UTF-8".into()))?.trim();
        let mut out = format!("{{\"_type\":\"{STATEMENT_TYPE}\",\"subject\":[{{\"name\":");
        quote(name, &mut out);
        out.push_str(&format!(",\"digest\":{{\"{ROOT}\":\"{root}\"}}}}],\"predicateType\":"));
        quote(predicate_type, &mut out);
        out.push_str(",\"predicate\":");
        out.push_str(predicate);
        out.push('}');
        Ok(out.into_bytes())
    }

    /// Reads what was signed: the kind and the subjects. The predicate is checked to be JSON without doubled keys, no more.
    ///
    /// # Errors
    /// `Malformed`, with the rule that is broken.
    pub fn from_payload(payload: &[u8]) -> Result<Self, Malformed> {
        let (mut of_type, mut predicate_type, mut subjects) = (None, None, Vec::new());
        let mut reader = Reader::new(payload, MAX_DEPTH)?.with_max_keys(MAX_KEYS);
        reader.object(|reader, key| {
            match key {
                "_type" => of_type = Some(reader.string()?.into_owned()),
                "predicateType" => predicate_type = Some(reader.string()?.into_owned()),
                "subject" => reader.array(|reader| {
                    subjects.push(Subject::read(reader)?);
                    if subjects.len() > MAX_SUBJECTS { reader.fail("more than 10,000 subjects") } else { Ok(()) }
                })?,
                "predicate" => reader.skip()?,
                _ => return reader.fail("an unknown member of the statement"),
            }
            Ok(())
        })?;
        reader.end()?;
        if !of_type.is_some_and(|t| t == STATEMENT_TYPE || t == STATEMENT_TYPE_0_1) {
            return Err(Malformed("_type is not that of an in-toto statement".into()));
        }
        let predicate_type = predicate_type.filter(|t| is_type(t));
        let predicate_type = predicate_type.ok_or_else(|| Malformed("predicateType is not a URI".into()))?;
        Ok(Self { predicate_type, subjects })
    }

    /// What of an artifact the statement is about. A subject is a file if all its digests that are recorded are those of the
    /// file, one at least is, and its name, where it has one, is the path or its last part. It is about the whole if all files
    /// are subjects, and all subjects files. Statements of our own kinds are about the sealed root, or about nothing: an
    /// approval means one version, not whatever has the same files.
    pub fn coverage(&self, root: Root, members: &[Recorded]) -> Coverage {
        let root = root.to_string();
        if self.subjects.iter().any(|s| s.digests.iter().any(|(name, value)| name == ROOT && *value == root)) {
            return Coverage::Whole;
        }
        if self.predicate_type.starts_with(PREDICATE_BASE) {
            return Coverage::None;
        }
        let by_sha256: HashSet<_> = self.digests("sha256").collect();
        let by_blake3: HashSet<_> = self.digests("blake3").collect();
        let mut matched = HashSet::new();
        let covered = members.iter().filter(|m| {
            let blake3 = m.blake3.to_string();
            let sha256 = m.sha256.map(|d| d.to_string());
            let candidate = by_blake3.contains(&*blake3) || sha256.as_ref().is_some_and(|d| by_sha256.contains(&**d));
            let found = |s: &Subject| s.is(&m.path, &blake3, sha256.as_deref());
            let at = if candidate { self.subjects.iter().position(found) } else { None };
            matched.extend(at);
            at.is_some()
        });
        match covered.count() {
            0 => Coverage::None,
            n if n == members.len() && matched.len() == self.subjects.len() => Coverage::Whole,
            _ => Coverage::Part,
        }
    }

    fn digests<'a>(&'a self, of: &'a str) -> impl Iterator<Item = &'a str> {
        let digests = self.subjects.iter().flat_map(|s| &s.digests);
        digests.filter(move |(name, _)| name == of).map(|(_, value)| &**value)
    }
}

impl Subject {
    fn read(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        let mut subject = Self::default();
        reader.object(|reader, key| match key {
            "digest" => reader.object(|reader, name| {
                if subject.digests.len() == MAX_DIGESTS {
                    return reader.fail("more than 16 digests of one subject");
                }
                subject.digests.push((name.to_owned(), reader.string()?.into_owned()));
                Ok(())
            }),
            "name" if reader.is_at_string() => {
                subject.name = Some(reader.string()?.into_owned()).filter(|name| !name.is_empty());
                Ok(())
            }
            // What else a resource descriptor has is not ours to judge.
            _ => reader.skip(),
        })?;
        Ok(subject)
    }

    fn is(&self, path: &str, blake3: &str, sha256: Option<&str>) -> bool {
        let last = path.rsplit('/').next();
        if self.name.as_deref().is_some_and(|name| name != path && Some(name) != last) {
            return false;
        }
        let mut agrees = false;
        for (name, value) in &self.digests {
            let recorded = match name.as_str() {
                "blake3" => Some(blake3),
                "sha256" => sha256,
                _ => None,
            };
            match recorded {
                Some(recorded) if recorded == value => agrees = true,
                Some(_) => return false,
                None => {}
            }
        }
        agrees
    }
}

/// Names a signed statement: SHA-256 over the id of the key and the payload. How a bundle is spelt, and which of many
/// signatures of one key it carries, makes no other statement of it.
pub fn digest(payload: &[u8], keyid: &KeyId) -> Sha256 {
    sha256(&[&keyid.0[..], payload].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::blake3;

    fn member(path: &str, content: &[u8]) -> Recorded {
        let (size, blake3) = (content.len() as u64, blake3(content));
        Recorded { path: path.into(), size, blake3, sha256: Some(sha256(content)) }
    }

    fn about(subjects: &str) -> Attestation {
        let text = format!(
            "{{\"_type\":\"{STATEMENT_TYPE}\",\"subject\":[{subjects}],\"predicateType\":\"https://example.org/x\",\"predicate\":{{}}}}"
        );
        Attestation::from_payload(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_written_is_about_the_whole_artifact_and_no_other() {
        let payload =
            Attestation::payload("https://example.org/e", "a/\"b", Root([7; 32]), b" {\"score\": 0.5}\n").unwrap();
        let read = Attestation::from_payload(&payload).unwrap();
        assert_eq!(read.predicate_type, "https://example.org/e");
        assert_eq!(read.coverage(Root([7; 32]), &[member("m", b"x")]), Coverage::Whole);
        assert_eq!(read.coverage(Root([8; 32]), &[member("m", b"x")]), Coverage::None);
        for bad in [&b"{\"a\":1,\"a\":2}"[..], b"{} {}", b"", b"{\"a\":\xff}"] {
            assert!(Attestation::payload("https://example.org/e", "n", Root([7; 32]), bad).is_err());
        }
    }

    #[test]
    fn a_statement_of_others_covers_the_files_whose_digests_it_has() {
        let members = [member("a", b"a"), member("b", b"b")];
        let subject =
            |m: &Recorded| format!("{{\"name\":\"{}\",\"digest\":{{\"sha256\":\"{}\"}}}}", m.path, m.sha256.unwrap());
        let root = Root([0; 32]);
        assert_eq!(about(&subject(&members[0])).coverage(root, &members), Coverage::Part);
        let both = format!("{},{}", subject(&members[0]), subject(&members[1]));
        assert_eq!(about(&both).coverage(root, &members), Coverage::Whole);
        assert_eq!(about(&subject(&member("c", b"c"))).coverage(root, &members), Coverage::None);
        let more = format!("{both},{}", subject(&member("c", b"c")));
        assert_eq!(about(&more).coverage(root, &members), Coverage::Part, "it was said of more than is here");
        let swapped = both.replace("\"a\"", "\"x\"").replace("\"b\"", "\"a\"").replace("\"x\"", "\"b\"");
        assert_eq!(about(&swapped).coverage(root, &members), Coverage::None);
        let approval = Attestation { predicate_type: predicate_type("approval.prod").unwrap(), ..about(&both) };
        assert_eq!(approval.coverage(root, &members), Coverage::None, "an approval means one version");
        assert_eq!(about("").coverage(root, &members), Coverage::None);
        // A subject that contradicts itself is no file of ours.
        let torn = format!(
            "{{\"digest\":{{\"sha256\":\"{}\",\"blake3\":\"{}\"}}}}",
            members[0].sha256.unwrap(),
            members[1].blake3
        );
        assert_eq!(about(&torn).coverage(root, &members), Coverage::None);
    }

    #[test]
    fn kinds_are_short_names_or_uris() {
        assert_eq!(predicate_type("cyclonedx").unwrap(), "https://cyclonedx.org/bom");
        assert_eq!(predicate_type("urn:x:1").unwrap(), "urn:x:1");
        for kind in known_kinds().chain(["approval.prod"]) {
            assert_eq!(kind_of(&predicate_type(kind).unwrap()), kind);
        }
        for bad in
            ["", "evaluations", "approval.v1", "approval.", "no scheme:/x", ":x", "https:", "https://a\"b", "https://ä"]
        {
            assert!(predicate_type(bad).is_none(), "{bad}");
        }
        assert_eq!(kind_of("https://cyclonedx.org/bom"), "cyclonedx");
        assert_eq!(kind_of("urn:x:1"), "urn:x:1");
    }

    #[test]
    fn statements_that_two_readers_could_read_differently_are_refused() {
        let good = about("{\"digest\":{\"sha256\":\"00\"}}");
        assert_eq!(good.subjects.len(), 1);
        for bad in [
            "",
            "{}",
            "[]",
            "{\"_type\":\"https://in-toto.io/Statement/v2\",\"subject\":[],\"predicateType\":\"a:b\"}",
            "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[],\"predicateType\":\"nothing\"}",
            "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[],\"predicateType\":\"a:b\",\"predicateType\":\"c:d\"}",
            "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[{\"digest\":{\"sha256\":1}}],\"predicateType\":\"a:b\"}",
            "{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[],\"predicateType\":\"a:b\",\"more\":1}",
        ] {
            assert!(Attestation::from_payload(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
