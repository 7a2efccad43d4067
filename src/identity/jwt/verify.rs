//! Whether a token is good, by the rules of its issuer.

use std::time::Duration;

use super::compact::{Token, TokenId, decode};
use super::keys::KeySet;
use crate::crypto::jws::JwsAlgorithm;
use crate::error::{Error, ErrorId};
use crate::json::Value;
use crate::names::{Sha256, Timestamp};

/// Longest time between `iat` and `exp`.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);
const MAX_SUBJECT_BYTES: usize = 256;
/// The year 9999: times beyond it are no times.
const LAST_SECOND: u64 = 253_402_300_799;

/// What tokens of one issuer are held to.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The `iss` that a token must have; `None`: it is known by its subject's trust domain (JWT-SVID), and `iss` says nothing.
    pub issuer: Option<String>,
    /// The one `aud` that a token must have.
    pub audience: String,
    /// Algorithms that the issuer uses.
    pub algorithms: Vec<JwsAlgorithm>,
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a token.
    #[error("it is not a compact signed JWT: {0}")]
    Malformed(&'static str),
    /// Its header.
    #[error("its header has a {0} that is not accepted")]
    Header(&'static str),
    /// The algorithm.
    #[error("it is signed with an algorithm that is not allowed for its issuer")]
    Algorithm,
    /// No such key.
    #[error("it names no key of its issuer")]
    UnknownKey,
    /// The signature.
    #[error("its signature does not verify")]
    Signature,
    /// Another issuer.
    #[error("it is of another issuer")]
    Issuer,
    /// Another audience.
    #[error("it is for another audience")]
    Audience,
    /// Too late.
    #[error("it has expired")]
    Expired,
    /// Too early.
    #[error("it is from the future")]
    Future,
    /// Lives too long.
    #[error("it is valid for more than an hour")]
    TooLong,
    /// A claim.
    #[error("its claim {0} is missing or malformed")]
    Claim(&'static str),
    /// Not one of those meant.
    #[error("its subject is none of those that are accepted from its issuer")]
    Subject,
    /// The key it is bound to.
    #[error("it is bound to another key")]
    Binding,
    /// Used before.
    #[error("it was used before")]
    Replayed,
    /// Nobody knows its issuer.
    #[error("its issuer is not configured")]
    UnknownIssuer,
}

impl Refused {
    /// For the log of refusals: a few fixed phrases.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Malformed(_) => "token malformed",
            Self::Header(_) => "token header not accepted",
            Self::Algorithm => "token algorithm not allowed",
            Self::UnknownKey => "token key unknown",
            Self::Signature => "token signature wrong",
            Self::Issuer => "token of another issuer",
            Self::Audience => "token for another audience",
            Self::Expired => "token expired",
            Self::Future => "token from the future",
            Self::TooLong => "token lives too long",
            Self::Claim(_) => "token claim malformed",
            Self::Subject => "token subject not accepted",
            Self::Binding => "token bound to another key",
            Self::Replayed => "token replayed",
            Self::UnknownIssuer => "token issuer unknown",
        }
    }
}

impl From<Refused> for Error {
    fn from(why: Refused) -> Self {
        let hint = match why {
            Refused::Expired | Refused::Replayed => "get a fresh token from the issuer: each is taken once",
            Refused::Future => "compare the clocks of the issuer and of the vault",
            Refused::Audience => "ask the issuer for a token for the audience that the vault's operator names",
            Refused::TooLong => "ask the issuer for a token that is valid for an hour at most",
            _ => "ask an operator which issuers, subjects and algorithms the vault accepts: vault config get issuers",
        };
        Self::new(ErrorId::BadCredential, format!("the token is not accepted: {why}")).hint(hint).caused_by(why)
    }
}

/// The key a token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// `cnf.jkt` (RFC 9449): the thumbprint of a public key.
    Key(Sha256),
    /// `cnf.x5t#S256` (RFC 8705): the digest of a certificate.
    Certificate(Sha256),
}

/// What a good token says.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Whom it is about.
    pub subject: String,
    /// Good through this moment, leeway included.
    pub expires: Timestamp,
    /// What it is remembered by.
    pub id: TokenId,
    /// The key it is bound to.
    pub confirmation: Option<Confirmation>,
    claims: Value,
}

impl Verified {
    /// A claim, by its name or by the names along its path.
    pub fn claim(&self, path: &[String]) -> Option<&Value> {
        path.iter().try_fold(&self.claims, |value, name| value.get(name))
    }
}

impl Token<'_> {
    /// Holds the token to the rules of its issuer.
    ///
    /// # Errors
    /// The first rule that is broken. Who cannot sign for the issuer learns nothing about rules that come after the signature.
    pub fn verify(&self, keys: &KeySet, rules: &Rules, now: Timestamp) -> Result<Verified, Refused> {
        let algorithm = rules.algorithms.iter().find(|allowed| allowed.name() == self.algorithm);
        let algorithm = *algorithm.ok_or(Refused::Algorithm)?;
        let key = keys.find(self.kid(), algorithm)?;
        key.verify(algorithm, self.signed.as_bytes(), &self.signature).map_err(|_| Refused::Signature)?;
        let word = |claim: &'static str| match self.claims.get(claim) {
            Some(Value::String(text)) => Ok(text.as_str()),
            _ => Err(Refused::Claim(claim)),
        };
        if let Some(issuer) = &rules.issuer
            && word("iss")? != issuer
        {
            return Err(Refused::Issuer);
        }
        self.check_audience(&rules.audience)?;
        let expires = self.check_times(rules.leeway, now)?;
        let subject = word("sub")?;
        if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES || subject.chars().any(char::is_control) {
            return Err(Refused::Claim("sub"));
        }
        Ok(Verified {
            subject: subject.into(),
            expires,
            id: self.id(rules.issuer.as_deref().unwrap_or(subject))?,
            confirmation: self.confirmation()?,
            claims: self.claims.clone(),
        })
    }

    /// One audience, and it is us: a token that others may use too could come from one of them.
    fn check_audience(&self, wanted: &str) -> Result<(), Refused> {
        let found = match self.claims.get("aud") {
            Some(Value::String(one)) => one,
            Some(Value::Array(list)) => match &list[..] {
                [Value::String(one)] => one,
                _ => return Err(Refused::Audience),
            },
            _ => return Err(Refused::Claim("aud")),
        };
        if found == wanted { Ok(()) } else { Err(Refused::Audience) }
    }

    fn check_times(&self, leeway: Duration, now: Timestamp) -> Result<Timestamp, Refused> {
        let time = |claim: &'static str| match self.claims.get(claim) {
            None => Ok(None),
            Some(value) => match value.as_u64().filter(|seconds| *seconds <= LAST_SECOND) {
                Some(seconds) => Ok(Some(Timestamp::from_millis(seconds as i64 * 1000))),
                None => Err(Refused::Claim(claim)),
            },
        };
        let expires = time("exp")?.ok_or(Refused::Claim("exp"))?;
        let issued = time("iat")?.ok_or(Refused::Claim("iat"))?;
        let from = time("nbf")?.unwrap_or(issued);
        let last = expires.plus(leeway);
        if now >= last {
            return Err(Refused::Expired);
        }
        if issued > now.plus(leeway) || from > now.plus(leeway) {
            return Err(Refused::Future);
        }
        if expires.since(issued) > LONGEST_LIFE {
            return Err(Refused::TooLong);
        }
        Ok(last)
    }

    fn confirmation(&self) -> Result<Option<Confirmation>, Refused> {
        let Some(cnf) = self.claims.get("cnf") else { return Ok(None) };
        // A confirmation that we do not understand is not one that we may leave out.
        let [(method, Value::String(text))] = cnf.as_object().unwrap_or_default() else {
            return Err(Refused::Claim("cnf"));
        };
        let digest = decode(text).and_then(|bytes| Sha256::try_from(&bytes[..]).ok()).ok_or(Refused::Claim("cnf"))?;
        match method.as_str() {
            "jkt" => Ok(Some(Confirmation::Key(digest))),
            "x5t#S256" => Ok(Some(Confirmation::Certificate(digest))),
            _ => Err(Refused::Claim("cnf")),
        }
    }
}
