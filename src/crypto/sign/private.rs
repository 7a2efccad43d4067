//! Encodings of private keys: PKCS #8 (RFC 5208, RFC 5958) and ECPrivateKey (RFC 5915).

use zeroize::Zeroizing;

use super::{Algorithm, KeyError};
use crate::crypto::{der, pem};

/// Optional members: `[0]` constructed, `[1]` primitive.
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_1: u8 = 0x81;

/// The DER of a PEM section, in the encoding that its label names.
pub(super) enum Private {
    Pkcs8(Zeroizing<Vec<u8>>),
    EcPrivateKey(Zeroizing<Vec<u8>>),
}

/// What an encoding says, before the key is expanded.
pub(super) struct Encoded<'a> {
    pub(super) algorithm: Algorithm,
    /// As its algorithm encodes it within PKCS #8; for ECDSA an ECPrivateKey.
    pub(super) key: &'a [u8],
    /// The raw public key, where PKCS #8 carries one. AWS-LC itself checks the one within an ECPrivateKey.
    pub(super) public: Option<&'a [u8]>,
}

pub(super) fn from_pem(text: &[u8]) -> Result<Private, KeyError> {
    let sections = pem::sections(text)?;
    // `openssl ecparam -genkey` repeats the curve before the key.
    let private = match &sections[..] {
        [parameters, private] if parameters.label == "EC PARAMETERS" => private,
        [private] => private,
        _ => return Err(KeyError::Malformed("PEM file of one private key")),
    };
    of_section(private)
}

/// All private keys of a text.
pub(super) fn all_from_pem(text: &[u8]) -> Result<Vec<Private>, KeyError> {
    let sections = pem::sections(text)?;
    let mut before = "";
    let mut found = Vec::new();
    for section in &sections {
        // As above: the curve of the key that follows.
        let curve = section.label == "EC PARAMETERS" && before != section.label;
        if !curve {
            found.push(of_section(section)?);
        }
        before = section.label;
    }
    Ok(found)
}

fn of_section(private: &pem::Section<'_>) -> Result<Private, KeyError> {
    if private.has_encryption_headers() {
        return Err(KeyError::Encrypted);
    }
    match private.label {
        "PRIVATE KEY" => Ok(Private::Pkcs8(private.decode()?)),
        "EC PRIVATE KEY" => Ok(Private::EcPrivateKey(private.decode()?)),
        "ENCRYPTED PRIVATE KEY" => Err(KeyError::Encrypted),
        "RSA PRIVATE KEY" | "DSA PRIVATE KEY" | "OPENSSH PRIVATE KEY" => Err(KeyError::Unsupported),
        _ => Err(KeyError::Malformed("PEM file of one private key")),
    }
}

impl Private {
    pub(super) fn parse(&self) -> Result<Encoded<'_>, KeyError> {
        match self {
            Self::Pkcs8(der) => {
                let info = pkcs8(der).ok_or(KeyError::Malformed("private key in PKCS #8"))?;
                let algorithm = Algorithm::of_identifier(info.identifier).ok_or(KeyError::Unsupported)?;
                Ok(Encoded { algorithm, key: info.key, public: info.public })
            }
            Self::EcPrivateKey(der) => {
                let curve = curve_of(der).ok_or(KeyError::Malformed("private key on a named curve"))?;
                let algorithm = Algorithm::ALL.into_iter().find(|a| is_on(*a, curve)).ok_or(KeyError::Unsupported)?;
                Ok(Encoded { algorithm, key: der, public: None })
            }
        }
    }
}

/// Members of a PKCS #8 structure.
struct Pkcs8<'a> {
    identifier: &'a [u8],
    key: &'a [u8],
    public: Option<&'a [u8]>,
}

/// Attributes are passed over; only version 2 (RFC 5958) carries a public key.
fn pkcs8(der: &[u8]) -> Option<Pkcs8<'_>> {
    let content = der::whole(der::SEQUENCE, der)?;
    let (version, rest) = der::read(der::INTEGER, content)?;
    let (identifier, rest) = der::read(der::SEQUENCE, rest)?;
    let (key, rest) = der::read(der::OCTET_STRING, rest)?;
    let rest = der::read(CONTEXT_0, rest).map_or(rest, |(_, rest)| rest);
    let public = match (version, rest) {
        ([0 | 1], []) => None,
        ([1], public) => Some(der::whole(CONTEXT_1, public)?.strip_prefix(&[0])?),
        _ => return None,
    };
    Some(Pkcs8 { identifier, key, public })
}

/// Version 1, without attributes and public key.
pub(super) fn to_pkcs8(algorithm: Algorithm, key: &[u8]) -> Zeroizing<Vec<u8>> {
    let version = der::write(der::INTEGER, &[&[0]]);
    let identifier = der::write(der::SEQUENCE, &[algorithm.identifier()]);
    der::write(der::SEQUENCE, &[&version, &identifier, &der::write(der::OCTET_STRING, &[key])])
}

/// The OID of the curve that an ECPrivateKey names. What follows it is checked by AWS-LC.
fn curve_of(der: &[u8]) -> Option<&[u8]> {
    let content = der::whole(der::SEQUENCE, der)?;
    let (_, rest) = der::read(der::INTEGER, content)?;
    let (_, rest) = der::read(der::OCTET_STRING, rest)?;
    der::whole(der::OID, der::read(CONTEXT_0, rest)?.0)
}

/// Whether the identifier of the algorithm ends with this curve.
fn is_on(algorithm: Algorithm, curve: &[u8]) -> bool {
    der::read(der::OID, algorithm.identifier()).and_then(|(_, rest)| der::whole(der::OID, rest)) == Some(curve)
}

/// An ECPrivateKey of the number alone: the curve is known, the public key is computed from it.
pub(super) fn to_ec_private_key(scalar: &[u8]) -> Zeroizing<Vec<u8>> {
    let version = der::write(der::INTEGER, &[&[1]]);
    der::write(der::SEQUENCE, &[&version, &der::write(der::OCTET_STRING, &[scalar])])
}
