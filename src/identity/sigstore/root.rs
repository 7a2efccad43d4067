//! A trusted root (`trusted_root.json`): certificate authorities, logs of certificates and of signatures, and when each of
//! them was trusted. Published by the operators of a Sigstore service; whoever hands it over is trusted with everything.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::hash::sha256;
use crate::crypto::sign::VerifyingKey;
use crate::error::{Error, ErrorId, Result};
use crate::identity::signer::Anchors;
use crate::json::{Value, parse};
use crate::names::{Sha256, Timestamp};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot";
const MAX_DEPTH: usize = 16;
/// Of each kind; the public service has two.
const MAX_ENTRIES: usize = 64;

/// What a verifier of keyless signatures trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedRoot {
    authorities: Vec<Authority>,
    logs: Vec<Log>,
    certificate_logs: Vec<Log>,
}

/// A certificate authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    anchors: Anchors,
    intermediates: Vec<Vec<u8>>,
    valid: Period,
}

/// A log's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Log {
    /// SHA-256 of the key's SubjectPublicKeyInfo (RFC 6962, 3.2).
    id: Sha256,
    pub(super) key: VerifyingKey,
    valid: Period,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Period {
    start: Timestamp,
    end: Option<Timestamp>,
}

impl TrustedRoot {
    /// Reads one. Members that are not needed here are passed over, and so are keys of algorithms that are not known: what
    /// they signed is not believed.
    ///
    /// # Errors
    /// `ConfigInvalid` if it is no trusted root, or lacks an authority or a log of either kind.
    pub fn from_json(text: &[u8]) -> Result<Self> {
        let value = parse(text, MAX_DEPTH).map_err(|e| invalid(&e.to_string()))?;
        let media_type = value.get("mediaType").and_then(Value::as_str).unwrap_or_default();
        if !media_type.starts_with(MEDIA_TYPE) {
            return Err(invalid(&format!("mediaType is not {MEDIA_TYPE}...")));
        }
        let authorities = list(&value, "certificateAuthorities")?.iter().map(Authority::read).collect::<Result<_>>()?;
        let logs = |key| -> Result<Vec<Log>> {
            list(&value, key)?.iter().filter_map(|log| Log::read(log).transpose()).collect()
        };
        let root = Self { authorities, logs: logs("tlogs")?, certificate_logs: logs("ctlogs")? };
        if root.authorities.is_empty() || root.logs.is_empty() || root.certificate_logs.is_empty() {
            return Err(invalid("an authority, a log, or a log of certificates is missing"));
        }
        Ok(root)
    }

    /// The authorities that are trusted for signatures of that time.
    pub(super) fn authorities(&self, at: Timestamp) -> impl Iterator<Item = &Authority> {
        self.authorities.iter().filter(move |a| a.valid.contains(at))
    }

    /// The log of signatures with that id, if it is trusted for that time.
    pub(super) fn log(&self, id: &[u8], at: Timestamp) -> Option<&Log> {
        find(&self.logs, id, at)
    }

    /// The same for a log of certificates.
    pub(super) fn certificate_log(&self, id: &[u8], at: Timestamp) -> Option<&Log> {
        find(&self.certificate_logs, id, at)
    }
}

fn find<'a>(logs: &'a [Log], id: &[u8], at: Timestamp) -> Option<&'a Log> {
    logs.iter().find(|log| log.id.0 == id && log.valid.contains(at))
}

impl Authority {
    fn read(value: &Value) -> Result<Self> {
        let chain = value.get("certChain").ok_or_else(|| invalid("an authority without certificates"))?;
        let chain = list(chain, "certificates")?.iter().map(raw_bytes).collect::<Result<Vec<_>>>()?;
        let Some((root, intermediates)) = chain.split_last() else {
            return Err(invalid("an authority without certificates"));
        };
        let anchors = Anchors::from_der(&[root])?;
        Ok(Self { anchors, intermediates: intermediates.to_vec(), valid: Period::read(value)? })
    }

    pub(super) fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    pub(super) fn intermediates(&self) -> &[Vec<u8>] {
        &self.intermediates
    }
}

impl Log {
    fn read(value: &Value) -> Result<Option<Self>> {
        let key = value.get("publicKey").ok_or_else(|| invalid("a log without a key"))?;
        let spki = raw_bytes(key)?;
        let Ok(verifying) = VerifyingKey::from_spki(&spki) else { return Ok(None) };
        Ok(Some(Self { id: sha256(&spki), key: verifying, valid: Period::read(key)? }))
    }
}

impl Period {
    fn read(value: &Value) -> Result<Self> {
        let period = value.get("validFor").ok_or_else(|| invalid("validFor is missing"))?;
        let moment =
            |key| period.get(key).map(|text| text.as_str().and_then(time).ok_or_else(|| invalid(key))).transpose();
        Ok(Self { start: moment("start")?.ok_or_else(|| invalid("validFor has no start"))?, end: moment("end")? })
    }

    fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && self.end.is_none_or(|end| at <= end)
    }
}

/// A time as protocol buffers write it, to the millisecond.
fn time(text: &str) -> Option<Timestamp> {
    match text.split_once('.') {
        Some((seconds, rest)) => {
            let digits = rest.strip_suffix('Z').filter(|d| d.len() >= 3 && d.bytes().all(|b| b.is_ascii_digit()))?;
            format!("{seconds}.{}Z", &digits[..3]).parse().ok()
        }
        None => text.parse().ok(),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value]> {
    let list = value.get(key).and_then(Value::as_array).unwrap_or_default();
    if list.len() > MAX_ENTRIES { Err(invalid(&format!("more than {MAX_ENTRIES} {key}"))) } else { Ok(list) }
}

fn raw_bytes(value: &Value) -> Result<Vec<u8>> {
    let text = value.get("rawBytes").and_then(Value::as_str).ok_or_else(|| invalid("rawBytes is missing"))?;
    STANDARD.decode(text).map_err(|_| invalid("rawBytes is not base64"))
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorId::ConfigInvalid, format!("not a Sigstore trusted root: {what}"))
        .hint("give the trusted_root.json that the operators of the service publish")
}
