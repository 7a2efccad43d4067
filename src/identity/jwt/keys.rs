//! A JWK set: the keys an issuer signs with, by their `kid`.

use std::collections::HashSet;

use super::compact::decode;
use super::verify::Refused;
use crate::crypto::jws::{JwsAlgorithm, JwsKey};
use crate::error::{Error, ErrorId, Result};
use crate::json::{self, Value};

/// Largest JWK set.
pub(crate) const MAX_SET_BYTES: usize = 1 << 20;
/// Keys that are kept of one. The large issuers publish fewer than ten.
const MAX_KEYS: usize = 64;
const MAX_DEPTH: usize = 6;

/// Keys to verify tokens with. Keys for other uses and of other kinds are left out when a set is read.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<(Option<String>, JwsKey)>);

impl KeySet {
    /// Reads `{"keys": [...]}`, also as SPIFFE publishes it.
    ///
    /// # Errors
    /// `ConfigInvalid` if it is not a JWK set, is too large, holds no key that tokens can be verified with, has two keys of one
    /// `kid`, or shows a private or symmetric key: whoever published that has other worries.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let bad = |why: &str| Error::new(ErrorId::ConfigInvalid, format!("the JWK set {why}"));
        if text.len() > MAX_SET_BYTES {
            return Err(bad("is larger than 1 MiB"));
        }
        let set = json::parse(text, MAX_DEPTH).map_err(|e| bad(&format!("is not JSON: {e}")))?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or_else(|| bad("has no list of keys"))?;
        let (mut keys, mut kids) = (Vec::new(), HashSet::new());
        for jwk in listed {
            let Some((kid, key)) = usable(jwk).map_err(bad)? else { continue };
            if !kids.insert((kid.clone(), key.algorithm())) {
                return Err(bad("has two keys of one kid"));
            }
            if keys.len() == MAX_KEYS {
                return Err(bad("has more than 64 keys"));
            }
            keys.push((kid, key));
        }
        if keys.is_empty() { Err(bad("has no key that tokens can be verified with")) } else { Ok(Self(keys)) }
    }

    /// The one key a token may be signed with: of its `kid`, or the only one there is.
    ///
    /// # Errors
    /// [`Refused::UnknownKey`].
    pub fn find(&self, kid: Option<&str>, algorithm: JwsAlgorithm) -> Result<&JwsKey, Refused> {
        let of_algorithm = || self.0.iter().filter(|(_, key)| key.algorithm() == algorithm);
        let found = match kid {
            Some(kid) => of_algorithm().find(|(own, _)| own.as_deref() == Some(kid)),
            None => {
                let mut all = of_algorithm();
                all.next().filter(|_| all.next().is_none())
            }
        };
        found.map(|(_, key)| key).ok_or(Refused::UnknownKey)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A key of the set, if it verifies tokens by an algorithm we know. A damaged key of a known kind is left out too: one broken
/// entry must not lock everybody out.
fn usable(jwk: &Value) -> Result<Option<(Option<String>, JwsKey)>, &'static str> {
    let word = |member| jwk.get(member).and_then(Value::as_str);
    let (Some(_), Some(kty)) = (jwk.as_object(), word("kty")) else { return Err("has a key without a kind") };
    if kty == "oct" || jwk.get("d").is_some() || jwk.get("k").is_some() {
        return Err("shows a secret key");
    }
    if word("use").is_some_and(|usage| usage != "sig" && usage != "jwt-svid") {
        return Ok(None);
    }
    let operations = jwk.get("key_ops").and_then(Value::as_array);
    if operations.is_some_and(|all| !all.iter().any(|one| one.as_str() == Some("verify"))) {
        return Ok(None);
    }
    let bytes = |member| word(member).and_then(decode);
    let key = match (kty, word("crv")) {
        ("OKP", Some("Ed25519")) => bytes("x").and_then(|x| JwsKey::ed25519(&x).ok()),
        ("EC", Some("P-256")) => bytes("x").zip(bytes("y")).and_then(|(x, y)| JwsKey::p256(&x, &y).ok()),
        ("RSA", _) => bytes("n").zip(bytes("e")).and_then(|(n, e)| JwsKey::rsa(&n, &e).ok()),
        _ => None,
    };
    let named = |key: &JwsKey| word("alg").is_none_or(|alg| alg == key.algorithm().name());
    Ok(key.filter(named).map(|key| (word("kid").map(Into::into), key)))
}
