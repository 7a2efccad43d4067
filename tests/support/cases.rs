//! The shared vectors of docs/format.md 12: reading `vectors.json` and `cases.json`, and judging a case as they ask.
//!
//! Used by `tests/vectors.rs` and by `examples/mvlt-check.rs`.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use model_vault::crypto::hash;
use model_vault::crypto::keys::{Key, Passphrase};
use model_vault::crypto::sign::PublicKey;
use model_vault::seal::{Credential, HashCheck, OpenOptions, Pins, Reader, SealError, context_hash, verify_keyless};
use serde_json::Value;

/// Result of everything that can go wrong with the files of a suite.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// A directory with `cases.json` and the files it refers to.
pub struct Suite {
    dir: PathBuf,
    /// `cases.json`, list `cases`.
    pub cases: Vec<Value>,
    credentials: HashMap<String, Value>,
    signers: HashMap<String, PublicKey>,
}

/// What a reader made of a case.
pub struct Verdict {
    /// `ok` or an error id.
    pub result: String,
    /// BLAKE3 of the plaintext returned, in modes that return some.
    pub plaintext_blake3: Option<String>,
    /// The root found, in key-less mode.
    pub root: Option<String>,
    /// All bytes handed on, from the start of what was asked for.
    pub handed_on: Vec<u8>,
}

impl Suite {
    /// Reads `cases.json` of a directory.
    pub fn load(dir: impl Into<PathBuf>) -> Outcome<Self> {
        let dir = dir.into();
        let suite = json(&dir.join("cases.json"))?;
        let object = |key: &str| suite[key].as_object().ok_or(format!("cases.json has no object {key:?}"));
        let credentials = object("credentials")?.iter().map(|(name, c)| (name.clone(), c.clone())).collect();
        let signers = object("signers")?.iter().map(|(id, key)| Ok((id.clone(), public_key(key)?)));
        let signers = signers.collect::<Outcome<_>>()?;
        let cases = suite["cases"].as_array().ok_or("cases.json has no list \"cases\"")?.clone();
        Ok(Self { dir, cases, credentials, signers })
    }

    /// The bytes to judge: `pieces` of vectors and literals, or a `file`; compared with the case's digest.
    pub fn bytes_of(&self, case: &Value) -> Outcome<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(file) = case["file"].as_str() {
            bytes = fs::read(self.dir.join(file))?;
        }
        for piece in case["pieces"].as_array().into_iter().flatten() {
            match piece["from"].as_str() {
                None => bytes.extend(hex::decode(text(piece, "hex")?)?),
                Some(vector) => {
                    let whole = fs::read(self.dir.join(format!("{vector}.mvlt")))?;
                    let (at, len) = (number(piece, "at")?, number(piece, "len")?);
                    let part = whole.get(at as usize..).and_then(|rest| rest.get(..len as usize));
                    bytes.extend_from_slice(part.ok_or("a piece lies outside of its vector")?);
                }
            }
        }
        match case["blake3"].as_str() {
            Some(expected) if hash::blake3(&bytes).to_string() != expected => {
                Err("the case's bytes differ from its blake3".into())
            }
            _ => Ok(bytes),
        }
    }

    /// Runs a reader over a case.
    pub fn judge(&self, case: &Value) -> Outcome<Verdict> {
        let bytes = self.bytes_of(case)?;
        let pins = pins(&case["pins"])?;
        let trusted = self.trusted(&case["require_signer_keyids"])?;
        let mut verdict = Verdict { result: "ok".into(), plaintext_blake3: None, root: None, handed_on: Vec::new() };
        let judged = match text(case, "mode")? {
            "keyless" => verify_keyless(&bytes, &pins, trusted.as_deref()).map(|facts| {
                verdict.root = Some(facts.root.to_string());
            }),
            mode @ ("verify" | "range") => {
                let credential = self.credential(text(case, "credential")?)?;
                // The cases without a required signer ask what the format says about a file, not whom it is from.
                let options = OpenOptions { pins, required_signers: trusted.as_deref(), accept_unknown_origin: true };
                let range = if mode == "range" { Some(range(&case["range"])?) } else { None };
                Reader::open(bytes, &credential, &options).and_then(|reader| {
                    let wanted = match range {
                        Some(range) => range,
                        None => {
                            reader.verify_full()?;
                            0..reader.payload_len()
                        }
                    };
                    reader.read_range(wanted, HashCheck::Compare, &mut |part: &[u8]| {
                        verdict.handed_on.extend_from_slice(part);
                        Ok::<_, SealError>(())
                    })
                })
            }
            other => return Err(format!("a mode this program does not know: {other:?}").into()),
        };
        match judged {
            Err(e) => verdict.result = e.id().to_string(),
            Ok(()) if verdict.root.is_none() => {
                verdict.plaintext_blake3 = Some(hash::blake3(&verdict.handed_on).to_string());
            }
            Ok(()) => {}
        }
        Ok(verdict)
    }

    /// The credential of that name.
    pub fn credential(&self, name: &str) -> Outcome<Credential> {
        credential(self.credentials.get(name).ok_or(format!("no credential {name:?}"))?)
    }

    fn trusted(&self, keyids: &Value) -> Outcome<Option<Vec<PublicKey>>> {
        let Some(keyids) = keyids.as_array() else { return Ok(None) };
        let key = |id: &Value| {
            let id = id.as_str().ok_or("a key id is not a string")?;
            Ok(*self.signers.get(id).ok_or(format!("no signer {id:?}"))?)
        };
        keyids.iter().map(key).collect::<Outcome<_>>().map(Some)
    }
}

/// A JSON document.
pub fn json(path: &Path) -> Outcome<Value> {
    let text = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// A credential as both files write it.
pub fn credential(value: &Value) -> Outcome<Credential> {
    Ok(match number(value, "slot_type")? {
        1 => Credential::Passphrase(Passphrase::new(text(value, "passphrase")?.into())),
        2 => Credential::Hybrid(Key::take(&mut bytes32(value, "seed")?)),
        3 => Credential::Kek {
            id: text(value, "kek_id")?.parse()?,
            version: number(value, "kek_version")?.try_into()?,
            key: Key::take(&mut bytes32(value, "kek")?),
        },
        4 => Credential::External {
            uri: text(value, "uri")?.into(),
            blob: hex::decode(text(value, "blob")?)?,
            secret: Key::take(&mut bytes32(value, "secret")?),
        },
        other => return Err(format!("no credential opens slots of type {other}").into()),
    })
}

/// 32 bytes in hex under a key.
pub fn bytes32(value: &Value, key: &str) -> Outcome<[u8; 32]> {
    let mut out = [0; 32];
    hex::decode_to_slice(text(value, key)?, &mut out)?;
    Ok(out)
}

/// A string under a key.
pub fn text<'a>(value: &'a Value, key: &str) -> Outcome<&'a str> {
    value[key].as_str().ok_or_else(|| format!("no string {key:?}").into())
}

/// A number under a key.
pub fn number(value: &Value, key: &str) -> Outcome<u64> {
    value[key].as_u64().ok_or_else(|| format!("no number {key:?}").into())
}

fn public_key(value: &Value) -> Outcome<PublicKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(value.as_str().ok_or("a public key is not a string")?, &mut bytes)?;
    Ok(PublicKey::from_bytes(&bytes)?)
}

fn pins(value: &Value) -> Outcome<Pins> {
    let mut pins = Pins::default();
    for (key, pinned) in value.as_object().into_iter().flatten() {
        let words = || pinned.as_str().ok_or(format!("the pin {key:?} is not a string"));
        match key.as_str() {
            "file_id" => pins.file_id = Some(words()?.parse()?),
            "commitment" => pins.commitment = Some(words()?.parse()?),
            "root" => pins.root = Some(words()?.parse()?),
            "context" => pins.context = Some(context_hash(words()?.as_bytes())),
            "min_generation" => pins.min_generation = Some(number(value, key)?.try_into()?),
            _ => return Err(format!("a pin this program does not know: {key:?}").into()),
        }
    }
    Ok(pins)
}

fn range(value: &Value) -> Outcome<std::ops::Range<u64>> {
    match (value[0].as_u64(), value[1].as_u64()) {
        (Some(start), Some(end)) => Ok(start..end),
        _ => Err("the range is not two numbers".into()),
    }
}
