//! A token as three parts of base64url between dots, read strictly: one token has one form.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::verify::Refused;
use crate::crypto::hash::sha256;
use crate::json::{self, Value};
use crate::names::Sha256;

/// Longest token. Kubernetes and the large issuers stay below 4 KiB.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Objects and arrays inside one another, in header and claims.
const MAX_DEPTH: usize = 8;
const MAX_KID_BYTES: usize = 256;
/// Header members that let a token bring its own key or change how it is read (RFC 8725, 3.1, 3.10).
const REFUSED_MEMBERS: [&str; 9] = ["crit", "jwk", "jku", "x5u", "x5c", "b64", "zip", "enc", "cty"];
/// What a token may call itself: an access token, an identity token or a JWT-SVID; no proof, no logout token.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "jose"];

/// A token that was taken apart. Nothing in it is believed yet.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    pub(super) algorithm: String,
    pub(super) kid: Option<String>,
    pub(super) claims: Value,
    /// What is signed.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
    digest: Sha256,
}

/// What a token is remembered by once it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenId(pub Sha256);

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`Refused::Malformed`], [`Refused::Header`].
    pub fn parse(text: &'a str) -> Result<Self, Refused> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Refused::Malformed("it is longer than 16 KiB"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refused::Malformed("it is not three parts"))?;
        let (header, claims) = signed.split_once('.').ok_or(Refused::Malformed("it is not three parts"))?;
        let header = object(header).ok_or(Refused::Malformed("its header is not an object"))?;
        let claims = object(claims).ok_or(Refused::Malformed("its claims are not an object"))?;
        let signature = decode(signature).ok_or(Refused::Malformed("its signature is not base64url"))?;
        if let Some(member) = REFUSED_MEMBERS.into_iter().find(|member| header.get(member).is_some()) {
            return Err(Refused::Header(member));
        }
        let word = |member| header.get(member).map(|value| value.as_str().ok_or(Refused::Header(member))).transpose();
        if word("typ")?.is_some_and(|typ| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ))) {
            return Err(Refused::Header("typ"));
        }
        let kid = word("kid")?;
        // A kid is compared with those of the issuer's keys and used for nothing else, so any text will do.
        if kid.is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID_BYTES) {
            return Err(Refused::Header("kid"));
        }
        let algorithm = word("alg")?.ok_or(Refused::Header("alg"))?;
        Ok(Self {
            algorithm: algorithm.into(),
            kid: kid.map(Into::into),
            claims,
            signed,
            signature,
            digest: sha256(signed.as_bytes()),
        })
    }

    /// Who says it has issued the token: chooses the rules and keys it is held to.
    pub fn claimed_issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Whom it says it is about.
    pub fn claimed_subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }

    /// The key it says it is signed with.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Its `jti` among those of the issuer. Without one, the token itself, but for the signature: ECDSA has more than one good
    /// signature for a text.
    pub(super) fn id(&self, issuer: &str) -> Result<TokenId, Refused> {
        let length = |text: &str| (text.len() as u64).to_be_bytes();
        let digest = match self.claims.get("jti") {
            None => self.digest,
            Some(Value::String(jti)) if !jti.is_empty() => {
                let parts = [b"jti".as_slice(), &length(issuer), issuer.as_bytes(), jti.as_bytes()];
                sha256(&parts.concat())
            }
            Some(_) => return Err(Refused::Claim("jti")),
        };
        Ok(TokenId(digest))
    }
}

/// Exactly the form that an encoder writes: no padding, no other alphabet, no bits left over.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn object(part: &str) -> Option<Value> {
    let value = json::parse(&decode(part)?, MAX_DEPTH).ok()?;
    value.as_object().is_some().then_some(value)
}
