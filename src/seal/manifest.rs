//! The manifest: what is in the payload (docs/format.md 7). Written in one way, read strictly.

use std::fmt::Write as _;
use std::ops::Range;

use super::error::SealError;
use super::layout::place;
use crate::crypto::outboard::Groups;
use crate::json::{self, Value, quote};
use crate::names::{ArtifactKind, Blake3, Sha256};

/// Most members of a file.
pub const MAX_MEMBERS: usize = 262_144;
/// Most bytes of OUTBOARD.
pub const MAX_OUTBOARD: u64 = 32 << 20;
/// Most statements.
pub const MAX_STATEMENTS: usize = 64;
const MAX_DEPTH: usize = 32;
const PREFIX_LEN: usize = 16;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// What sort of content.
    pub kind: ArtifactKind,
    /// Bytes of the payload, gaps included.
    pub payload_size: u64,
    /// A group of a member's BLAKE3 tree has 2^group_log2 bytes.
    pub group_log2: u8,
    /// In the order of their paths.
    pub members: Vec<Member>,
    /// A hint.
    pub media_type: Option<String>,
    /// A hint.
    pub format: Option<String>,
    /// Signed statement bundles over plaintext digests; objects, opaque here.
    pub statements: Vec<serde_json::Value>,
    /// Free content. Never base a security decision on it.
    pub annotations: Option<serde_json::Value>,
}

/// One file of the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Relative, `/` between components. Not yet safe on every file system: see docs/format.md 7.2.
    pub path: String,
    /// Where it starts in the payload; 0 if it is empty.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of its bytes.
    pub blake3: Blake3,
    /// SHA-256 of its bytes.
    pub sha256: Option<Sha256>,
    /// Where its tree lies in OUTBOARD; exactly if it has more than one group.
    pub outboard: Option<Range<u64>>,
    /// A hint.
    pub media_type: Option<String>,
    /// A hint.
    pub format: Option<String>,
}

impl Manifest {
    /// Reads the plaintext of the manifest part; gives OUTBOARD beside it.
    ///
    /// # Errors
    /// `ManifestInvalid` for any broken rule of section 7, `UnsupportedVersion` for another manifest version.
    pub fn parse(plaintext: &[u8], payload_len: u64, log2: u8) -> Result<(Self, &[u8]), SealError> {
        let (json, outboard) = split(plaintext).ok_or_else(|| invalid("lengths of its parts"))?;
        let value = json::parse(json, MAX_DEPTH).map_err(|e| invalid(e.to_string()))?;
        let manifest = Self::from_json(&value)?;
        manifest.check(payload_len, log2, outboard.len() as u64)?;
        Ok((manifest, outboard))
    }

    fn from_json(value: &Value) -> Result<Self, SealError> {
        match value.get("mvlt_manifest") {
            Some(Value::Number(n)) if n == "1" => {}
            Some(Value::Number(n)) if n.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(SealError::UnsupportedVersion);
            }
            _ => return Err(invalid("mvlt_manifest is missing or no integer")),
        }
        const KEYS: [&str; 9] = [
            "mvlt_manifest",
            "kind",
            "payload_size",
            "group_log2",
            "members",
            "media_type",
            "format",
            "statements",
            "annotations",
        ];
        value.exactly(&KEYS).ok_or_else(|| invalid("unknown key"))?;
        let members = value.get("members").and_then(Value::as_array).ok_or_else(|| invalid("members"))?;
        if members.len() > MAX_MEMBERS {
            return Err(invalid("too many members"));
        }
        let statements = match value.get("statements") {
            None => &[],
            Some(listed) => listed.as_array().ok_or_else(|| invalid("statements"))?,
        };
        if statements.len() > MAX_STATEMENTS || statements.iter().any(|s| s.as_object().is_none()) {
            return Err(invalid("statements"));
        }
        let annotations = value.get("annotations");
        if annotations.is_some_and(|a| a.as_object().is_none()) {
            return Err(invalid("annotations"));
        }
        Ok(Self {
            kind: text(value, "kind")?.and_then(|k| k.parse().ok()).ok_or_else(|| invalid("kind"))?,
            payload_size: integer(value, "payload_size")?,
            group_log2: u8::try_from(integer(value, "group_log2")?).map_err(|_| invalid("group_log2"))?,
            members: members.iter().map(Member::from_json).collect::<Result<_, _>>()?,
            media_type: text(value, "media_type")?,
            format: text(value, "format")?,
            statements: statements.iter().map(Value::to_serde).collect(),
            annotations: annotations.map(Value::to_serde),
        })
    }

    /// Everything that a value of this type could still get wrong.
    fn check(&self, payload_len: u64, log2: u8, outboard_len: u64) -> Result<(), SealError> {
        if self.payload_size != payload_len {
            return Err(invalid("payload_size is not the payload's length"));
        }
        if !(16..=28).contains(&self.group_log2) {
            return Err(invalid("group_log2"));
        }
        check_paths(self.members.iter().map(|m| m.path.as_str())).map_err(invalid)?;
        let placed = place(self.members.iter().map(|m| m.size), log2);
        let (offsets, end) = placed.ok_or_else(|| invalid("sizes of the members"))?;
        if end != payload_len || self.members.iter().zip(&offsets).any(|(m, o)| m.offset != *o) {
            return Err(invalid("placement of the members is not canonical"));
        }
        let mut cursor = 0;
        for member in &self.members {
            let len = Groups::new(member.size, self.group_log2).outboard_len();
            let expected = (len > 0).then(|| cursor..cursor + len);
            if member.outboard != expected {
                return Err(invalid(format!("outboard of {:?}", member.path)));
            }
            cursor += len;
        }
        if cursor != outboard_len {
            return Err(invalid("length of the outboards"));
        }
        Ok(())
    }

    /// The plaintext of the manifest part.
    pub(crate) fn write(&self, outboard: &[u8]) -> Vec<u8> {
        let json = self.to_json();
        let mut out = Vec::with_capacity(PREFIX_LEN + json.len() + outboard.len());
        out.extend_from_slice(&(json.len() as u64).to_be_bytes());
        out.extend_from_slice(&(outboard.len() as u64).to_be_bytes());
        out.extend_from_slice(json.as_bytes());
        out.extend_from_slice(outboard);
        out
    }

    /// The JSON text, keys in the order of section 7.
    pub fn to_json(&self) -> String {
        let mut out = format!(
            "{{\"mvlt_manifest\":1,\"kind\":\"{}\",\"payload_size\":{},\"group_log2\":{},\"members\":[",
            self.kind, self.payload_size, self.group_log2
        );
        for (i, member) in self.members.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            member.write_json(&mut out);
        }
        out.push(']');
        write_hints(&self.media_type, &self.format, &mut out);
        if !self.statements.is_empty() {
            out.push_str(",\"statements\":[");
            for (i, statement) in self.statements.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                out.push_str(&statement.to_string());
            }
            out.push(']');
        }
        if let Some(annotations) = &self.annotations {
            out.push_str(",\"annotations\":");
            out.push_str(&annotations.to_string());
        }
        out.push('}');
        out
    }

    /// The member of that path.
    pub fn member(&self, path: &str) -> Option<&Member> {
        self.members.binary_search_by(|m| m.path.as_str().cmp(path)).ok().map(|i| &self.members[i])
    }
}

impl Member {
    fn from_json(value: &Value) -> Result<Self, SealError> {
        const KEYS: [&str; 8] = ["path", "offset", "size", "blake3", "sha256", "outboard", "media_type", "format"];
        value.exactly(&KEYS).ok_or_else(|| invalid("a member has an unknown key"))?;
        let outboard = value.get("outboard").map(|o| {
            o.exactly(&["offset", "length"]).ok_or_else(|| invalid("outboard"))?;
            let (start, length) = (integer(o, "offset")?, integer(o, "length")?);
            Ok::<_, SealError>(start..start.checked_add(length).ok_or_else(|| invalid("outboard"))?)
        });
        Ok(Self {
            path: text(value, "path")?.ok_or_else(|| invalid("path"))?,
            offset: integer(value, "offset")?,
            size: integer(value, "size")?,
            blake3: Blake3(digest(value, "blake3")?.ok_or_else(|| invalid("blake3"))?),
            sha256: digest(value, "sha256")?.map(Sha256),
            outboard: outboard.transpose()?,
            media_type: text(value, "media_type")?,
            format: text(value, "format")?,
        })
    }

    fn write_json(&self, out: &mut String) {
        out.push_str("{\"path\":");
        quote(&self.path, out);
        write!(out, ",\"offset\":{},\"size\":{},\"blake3\":\"{}\"", self.offset, self.size, self.blake3)
            .expect("writing to a string");
        if let Some(sha256) = &self.sha256 {
            write!(out, ",\"sha256\":\"{sha256}\"").expect("writing to a string");
        }
        if let Some(Range { start, end }) = self.outboard {
            write!(out, ",\"outboard\":{{\"offset\":{start},\"length\":{}}}", end - start)
                .expect("writing to a string");
        }
        write_hints(&self.media_type, &self.format, out);
        out.push('}');
    }
}

fn write_hints(media_type: &Option<String>, format: &Option<String>, out: &mut String) {
    for (key, hint) in [(",\"media_type\":", media_type), (",\"format\":", format)] {
        if let Some(hint) = hint {
            out.push_str(key);
            quote(hint, out);
        }
    }
}

/// The rules for the paths of one file, given in order: form, order, and no file that is also a folder.
pub(crate) fn check_paths<'a>(paths: impl Iterator<Item = &'a str> + Clone) -> Result<(), String> {
    for path in paths.clone() {
        if !path_is_valid(path) {
            return Err(format!("not a member path: {path:?}"));
        }
    }
    if let Some((_, later)) = paths.clone().zip(paths.clone().skip(1)).find(|(a, b)| a >= b) {
        return Err(format!("the members are not in the order of their paths, or twice the same: {later:?}"));
    }
    // In byte order `a`, `a-b`, `a/b` a folder's content need not follow the folder's name. With `/` before every other
    // byte it does (no path has a lower byte), so neighbours are all there is to compare.
    let mut by_component: Vec<&str> = paths.collect();
    let key = |path: &'a str| path.bytes().map(|b| if b == b'/' { 0 } else { b });
    by_component.sort_unstable_by(|a, b| key(a).cmp(key(b)));
    for pair in by_component.windows(2) {
        if pair[1].strip_prefix(pair[0]).is_some_and(|rest| rest.starts_with('/')) {
            return Err(format!("{:?} is both a file and a folder", pair[0]));
        }
    }
    Ok(())
}

/// The rule of docs/format.md 7.2 for one path: relative, no `.` or `..`, no byte that a file system or a terminal would take for something else.
pub fn path_is_valid(path: &str) -> bool {
    let component = |c: &str| (1..=255).contains(&c.len()) && c != "." && c != "..";
    path.len() <= 1024 && path.split('/').all(component) && path.bytes().all(|b| b >= 0x20 && b != 0x7f && b != b'\\')
}

fn split(plaintext: &[u8]) -> Option<(&[u8], &[u8])> {
    let (json_len, rest) = plaintext.split_first_chunk()?;
    let (outboard_len, rest) = rest.split_first_chunk()?;
    let (json_len, outboard_len) = (u64::from_be_bytes(*json_len), u64::from_be_bytes(*outboard_len));
    let fits = outboard_len <= MAX_OUTBOARD && json_len.checked_add(outboard_len) == Some(rest.len() as u64);
    fits.then(|| rest.split_at(json_len as usize))
}

fn invalid(what: impl Into<String>) -> SealError {
    SealError::ManifestInvalid(what.into())
}

fn text(object: &Value, key: &str) -> Result<Option<String>, SealError> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::String(s)) => Ok(Some(s.clone())),
        Some(_) => Err(invalid(key)),
    }
}

fn integer(object: &Value, key: &str) -> Result<u64, SealError> {
    object.get(key).and_then(Value::as_u64).ok_or_else(|| invalid(key))
}

fn digest(object: &Value, key: &str) -> Result<Option<[u8; 32]>, SealError> {
    let Some(hex) = text(object, key)? else { return Ok(None) };
    let mut out = [0; 32];
    let lower = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !lower || hex::decode_to_slice(&hex, &mut out).is_err() {
        return Err(invalid(key));
    }
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plaintext(json: &str, outboard: &[u8]) -> Vec<u8> {
        [&(json.len() as u64).to_be_bytes()[..], &(outboard.len() as u64).to_be_bytes(), json.as_bytes(), outboard]
            .concat()
    }

    fn id_of(json: &str) -> &'static str {
        Manifest::parse(&plaintext(json, b""), 0, 16).map_or_else(|e| e.id().name(), |_| "ok")
    }

    const EMPTY: &str = r#"{"mvlt_manifest":1,"kind":"opaque","payload_size":0,"group_log2":16,"members":[]}"#;

    #[test]
    fn each_rule_of_the_text_is_a_rule_of_the_reader() {
        assert_eq!(id_of(EMPTY), "ok");
        let file = |path: &str| {
            let path = path.escape_default();
            format!(r#"{{"path":"{path}","offset":0,"size":0,"blake3":"{}"}}"#, "ab".repeat(32))
        };
        let with = |members: &str| EMPTY.replace("[]", &format!("[{members}]"));
        assert_eq!(id_of(&with(&file("a/b"))), "ok");
        for (wrong, id) in [
            (EMPTY.replace(":1,", ":2,"), "UnsupportedVersion"),
            (EMPTY.replace(":1,", ":1.0,"), "ManifestInvalid"),
            (EMPTY.replace(":1,", ":-1,"), "ManifestInvalid"),
            (EMPTY.replace("opaque", "Opaque"), "ManifestInvalid"),
            (EMPTY.replace(":16", ":15"), "ManifestInvalid"),
            (EMPTY.replace(":16", ":29"), "ManifestInvalid"),
            (EMPTY.replace(":0", ":1"), "ManifestInvalid"),
            (EMPTY.replace(":0", ":0e0"), "ManifestInvalid"),
            (EMPTY.replace("}", r#","x":1}"#), "ManifestInvalid"),
            (EMPTY.replace("}", r#","kind":"opaque"}"#), "ManifestInvalid"),
            (EMPTY.replace("}", r#","media_type":null}"#), "ManifestInvalid"),
            (EMPTY.replace("}", r#","statements":[1]}"#), "ManifestInvalid"),
            (EMPTY.replace("}", r#","annotations":[]}"#), "ManifestInvalid"),
            (format!("[{EMPTY}]"), "ManifestInvalid"),
            (format!("\u{feff}{EMPTY}"), "ManifestInvalid"),
            (with(&file("a").replace("ab", "AB")), "ManifestInvalid"),
            (with(&file("a").replace("}", r#","outboard":{"offset":0,"length":0}}"#)), "ManifestInvalid"),
            (with(&[file("a"), file("a")].join(",")), "ManifestInvalid"),
            (with(&[file("b"), file("a")].join(",")), "ManifestInvalid"),
            (with(&[file("a"), file("a-b"), file("a/b")].join(",")), "ManifestInvalid"),
        ] {
            assert_eq!(id_of(&wrong), id, "{wrong}");
        }
        assert_eq!(id_of(&EMPTY.replace("}", r#","annotations":{"anything":[null,-1.5e9]}}"#)), "ok");
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for bad in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a\\b", "a\nb", "a\u{7f}", &"x".repeat(256)] {
            assert!(!path_is_valid(bad), "{bad:?}");
        }
        assert!(!path_is_valid(&["x"; 513].join("/")));
        for good in ["a", "...", "a/.b", "z/é.txt", "con", &"x".repeat(255)] {
            assert!(path_is_valid(good), "{good:?}");
        }
    }

    #[test]
    fn lengths_leave_no_byte_over() {
        for bytes in [&[][..], &[0; 15], &[0; 16]] {
            assert!(Manifest::parse(bytes, 0, 16).is_err());
        }
        let mut more = plaintext(EMPTY, b"");
        more.push(b' ');
        assert!(Manifest::parse(&more, 0, 16).is_err());
        assert!(Manifest::parse(&plaintext(EMPTY, b"x"), 0, 16).is_err());
        more[8..16].copy_from_slice(&u64::MAX.to_be_bytes());
        assert!(Manifest::parse(&more, 0, 16).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            files in prop::collection::btree_map("[a-z\"é ]{1,8}(/[a-z]{1,4})?", (0..300_000u64, any::<bool>()), 0..8),
            hint in prop::option::of(".{0,12}"),
        ) {
            let paths: Vec<_> = files.keys().cloned().collect();
            prop_assume!(check_paths(paths.iter().map(String::as_str)).is_ok());
            let (offsets, payload_size) = place(files.values().map(|f| f.0), 16).unwrap();
            let mut outboard_end = 0;
            let members = files.iter().zip(offsets).map(|((path, (size, sha)), offset)| {
                let len = Groups::new(*size, 17).outboard_len();
                outboard_end += len;
                Member {
                    path: path.clone(), offset, size: *size, blake3: Blake3([7; 32]),
                    sha256: sha.then_some(Sha256([9; 32])),
                    outboard: (len > 0).then(|| outboard_end - len..outboard_end),
                    media_type: hint.clone(), format: None,
                }
            }).collect();
            let manifest = Manifest {
                kind: ArtifactKind::Dataset, payload_size, group_log2: 17, members, media_type: None, format: hint,
                statements: vec![serde_json::json!({"a": [1, "é\u{1}"]})], annotations: None,
            };
            let written = manifest.write(&vec![0; outboard_end as usize]);
            let (read, _) = Manifest::parse(&written, payload_size, 16).unwrap();
            prop_assert_eq!(read, manifest);
        }
    }
}
