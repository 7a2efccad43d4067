//! What the certificate of a keyless signer says beyond its name: who vouched for the name, and that it was published.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::{KeylessError, TrustedRoot};
use crate::crypto::der;
use crate::names::{KeyId, Timestamp};

/// 1.3.6.1.4.1.11129.2.4.2: signed certificate timestamps (RFC 6962, 3.3).
const TIMESTAMPS: &[u8] = &[0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2];
/// 1.3.6.1.4.1.57264.1.1 and .8: the issuer, as bare text and as a UTF8String.
const ISSUER_V1: &[u8] = &[0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1, 1];
const ISSUER_V2: &[u8] = &[0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1, 8];
const UTF8_STRING: u8 = 0x0c;
/// `[3]`, constructed: the extensions.
const EXTENSIONS: u8 = 0xa3;
/// Hash and signature algorithm in TLS (RFC 5246, 7.4.1.4.1): SHA-256 and ECDSA.
const SHA256_ECDSA: [u8; 2] = [4, 3];

/// Who vouched for the signer's name.
pub(super) fn issuer(leaf: &[u8]) -> Result<String, KeylessError> {
    let malformed = KeylessError::Malformed("the certificate names no issuer of its identity, or two");
    let of = |oid| extension(leaf, oid);
    let second = of(ISSUER_V2)?.map(|value| der::whole(UTF8_STRING, value).ok_or(malformed.clone())).transpose()?;
    let issuer = match (of(ISSUER_V1)?, second) {
        (Some(first), Some(second)) if first != second => None,
        (first, second) => second.or(first),
    };
    let issuer = issuer.and_then(|text| std::str::from_utf8(text).ok());
    issuer.map(str::to_owned).ok_or(malformed)
}

/// That a trusted log of certificates took it in.
pub(super) fn was_published(leaf: &[u8], issued_by: &KeyId, root: &TrustedRoot) -> Result<(), KeylessError> {
    let malformed = KeylessError::Malformed("the certificate's time stamps of its log");
    let value = extension(leaf, TIMESTAMPS)?.ok_or(KeylessError::Untrusted("the certificate was not published"))?;
    let list = der::whole(der::OCTET_STRING, value).and_then(prefixed::<2>).filter(|(_, rest)| rest.is_empty());
    let (mut list, _) = list.ok_or(malformed.clone())?;
    let to_be_signed = without_timestamps(leaf).ok_or(malformed.clone())?;
    let mut refused = KeylessError::Untrusted("the log of the certificate");
    while !list.is_empty() {
        let (one, rest) = prefixed::<2>(list).ok_or(malformed.clone())?;
        list = rest;
        let stamp = Stamp::read(one).ok_or(malformed.clone())?;
        let Some(log) = root.certificate_log(stamp.log, stamp.at) else { continue };
        if log.key.verify(&stamp.signed(issued_by, &to_be_signed), stamp.signature).is_ok() {
            return Ok(());
        }
        refused = KeylessError::False("the log of the certificate did not take it in");
    }
    Err(refused)
}

/// A signed certificate timestamp (RFC 6962, 3.2).
struct Stamp<'a> {
    log: &'a [u8],
    millis: [u8; 8],
    at: Timestamp,
    extensions: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Stamp<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (log, rest) = rest.split_at_checked(32)?;
        let (millis, rest) = rest.split_first_chunk()?;
        let (extensions, rest) = prefixed::<2>(rest)?;
        let (algorithm, rest) = rest.split_first_chunk()?;
        let (signature, rest) = prefixed::<2>(rest)?;
        let at = Timestamp::from_millis(i64::from_be_bytes(*millis));
        let whole = *version == 0 && *algorithm == SHA256_ECDSA && rest.is_empty() && at >= Timestamp::from_millis(0);
        whole.then_some(Self { log, millis: *millis, at, extensions, signature })
    }

    /// What the log signed: version 1, a certificate timestamp, of a precertificate.
    fn signed(&self, issued_by: &KeyId, to_be_signed: &[u8]) -> Vec<u8> {
        let len = |bytes: &[u8], from: usize| (bytes.len() as u32).to_be_bytes()[from..].to_vec();
        [
            &[0, 0][..],
            &self.millis,
            &[0, 1],
            &issued_by.0,
            &len(to_be_signed, 1),
            to_be_signed,
            &len(self.extensions, 2),
            self.extensions,
        ]
        .concat()
    }
}

/// What follows a length of `N` bytes, and the rest.
fn prefixed<const N: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<N>()?;
    rest.split_at_checked(len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
}

/// The value of an extension, if it is there.
fn extension<'a>(leaf: &'a [u8], oid: &[u8]) -> Result<Option<&'a [u8]>, KeylessError> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| KeylessError::Malformed("certificate"))?;
    let mut found = parsed.tbs_certificate.extensions().iter().filter(|e| e.oid.as_bytes() == oid);
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => Ok(Some(one.value)),
        (Some(_), Some(_)) => Err(KeylessError::Malformed("an extension of the certificate stands there twice")),
    }
}

/// The part of a certificate that is signed, without the extension with the timestamps: what the log was shown.
fn without_timestamps(leaf: &[u8]) -> Option<Vec<u8>> {
    let (to_be_signed, _) = der::read(der::SEQUENCE, der::whole(der::SEQUENCE, leaf)?)?;
    let mut before = to_be_signed;
    while before.first().is_some_and(|tag| *tag != EXTENSIONS) {
        (_, before) = der::read(before[0], before)?;
    }
    let at = to_be_signed.len() - before.len();
    let mut rest = der::whole(der::SEQUENCE, der::whole(EXTENSIONS, before)?)?;
    let mut kept = Vec::new();
    while !rest.is_empty() {
        let (content, after) = der::read(der::SEQUENCE, rest)?;
        if der::read(der::OID, content)?.0 != TIMESTAMPS {
            kept.extend_from_slice(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    let extensions = der::write(EXTENSIONS, &[&der::write(der::SEQUENCE, &[&kept])]);
    Some(der::write(der::SEQUENCE, &[&to_be_signed[..at], &extensions]).to_vec())
}
