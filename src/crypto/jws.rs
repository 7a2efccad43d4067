//! Keys that issuers of tokens publish (RFC 7517), and the signatures of tokens (RFC 7518, RFC 8037). Public keys only.
//!
//! A key has one algorithm for life. A token cannot choose another: RS256 and ES256 are checked with types of their own, and
//! there is nothing here that a MAC could be checked with.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::hash::sha256;
use super::sign::PublicKey;
use super::{AuthFailed, der};
use crate::error::{Error, ErrorId};
use crate::names::Sha256;

/// Longest RSA modulus: what an issuer may make us compute.
const MAX_MODULUS_BYTES: usize = 512;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JwsAlgorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 over SHA-256, as two numbers of 32 bytes.
    Es256,
    /// RSASSA-PKCS1-v1_5 over SHA-256, with 2048 to 4096 bits.
    Rs256,
}

impl JwsAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    /// The word in a token's header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for JwsAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for JwsAlgorithm {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|a| a.name() == text).ok_or_else(|| {
            Error::new(ErrorId::InvalidArgument, format!("not an algorithm for tokens: {text:?}"))
                .hint("algorithms are EdDSA, ES256, RS256")
        })
    }
}

/// A public key that tokens are verified with.
#[derive(Clone)]
pub struct JwsKey {
    kind: Kind,
    thumbprint: Sha256,
}

#[derive(Clone)]
enum Kind {
    Ed25519(PublicKey),
    AwsLc(JwsAlgorithm, ParsedPublicKey),
}

impl JwsKey {
    /// From the `x` of an OKP key on Ed25519.
    ///
    /// # Errors
    /// [`AuthFailed`] if it is no key that is safe to verify with.
    pub fn ed25519(x: &[u8]) -> Result<Self, AuthFailed> {
        let key = PublicKey::from_bytes(x.try_into().map_err(|_| AuthFailed)?)?;
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(x));
        Ok(Self { kind: Kind::Ed25519(key), thumbprint: sha256(members.as_bytes()) })
    }

    /// From the `x` and `y` of an EC key on P-256.
    ///
    /// # Errors
    /// [`AuthFailed`] if it is no point of the curve.
    pub fn p256(x: &[u8], y: &[u8]) -> Result<Self, AuthFailed> {
        if x.len() != 32 || y.len() != 32 {
            return Err(AuthFailed);
        }
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4], x, y].concat()).map_err(|_| AuthFailed)?;
        Ok(Self { kind: Kind::AwsLc(JwsAlgorithm::Es256, key), thumbprint: p256_thumbprint(x, y) })
    }

    /// From the `n` and `e` of an RSA key.
    ///
    /// # Errors
    /// [`AuthFailed`] for fewer than 2048 or more than 4096 bits, and for an exponent that is even, small or large.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, AuthFailed> {
        let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        // RFC 7518, 6.3.1: no leading zeros, so one key has one thumbprint.
        let shortest = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
        let long_enough = n.len() > 256 || n.len() == 256 && n[0] >= 0x80;
        let sound = [n, e].iter().all(|number| odd(number) && shortest(number));
        if !long_enough || n.len() > MAX_MODULUS_BYTES || e.len() > 4 || !sound || e == [1] {
            return Err(AuthFailed);
        }
        let integer = |number: &[u8]| {
            let sign: &[u8] = if number[0] < 0x80 { &[] } else { &[0] };
            der::write(der::INTEGER, &[sign, number])
        };
        let pkcs1 = der::write(der::SEQUENCE, &[&integer(n), &integer(e)]);
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &pkcs1[..]).map_err(|_| AuthFailed)?;
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
        Ok(Self { kind: Kind::AwsLc(JwsAlgorithm::Rs256, key), thumbprint: sha256(members.as_bytes()) })
    }

    /// The one algorithm it is for.
    pub fn algorithm(&self) -> JwsAlgorithm {
        match &self.kind {
            Kind::Ed25519(_) => JwsAlgorithm::EdDsa,
            Kind::AwsLc(algorithm, _) => *algorithm,
        }
    }

    /// SHA-256 of its members in the order of RFC 7638.
    pub fn thumbprint(&self) -> Sha256 {
        self.thumbprint
    }

    /// Verifies a signature of this algorithm.
    ///
    /// # Errors
    /// [`AuthFailed`], which says no more on purpose; also for any other algorithm than the key's own.
    pub fn verify(&self, algorithm: JwsAlgorithm, message: &[u8], signature: &[u8]) -> Result<(), AuthFailed> {
        if algorithm != self.algorithm() {
            return Err(AuthFailed);
        }
        match &self.kind {
            Kind::Ed25519(key) => key.verify(message, signature),
            Kind::AwsLc(_, key) => key.verify_sig(message, signature).map_err(|_| AuthFailed),
        }
    }
}

impl fmt::Debug for JwsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwsKey({} {})", self.algorithm(), self.thumbprint)
    }
}

/// RFC 7638 of a key on P-256, given by its coordinates: what `cnf.jkt` of a token names.
pub fn p256_thumbprint(x: &[u8], y: &[u8]) -> Sha256 {
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    sha256(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text.replace([' ', '\n'], "")).unwrap()
    }

    #[test]
    fn thumbprints_are_those_of_the_standards() {
        // RFC 8037, appendix A.3.
        let key = JwsKey::ed25519(&decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(key.thumbprint().0), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // RFC 7638, section 3.1.
        let n = decode(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3ok
             njhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6
             qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8aw
             apJzKnqDKgw",
        );
        let key = JwsKey::rsa(&n, &decode("AQAB")).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(key.thumbprint().0), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn the_standards_own_signatures_verify_with_their_own_algorithm_only() {
        // RFC 7515, appendix A.3: ES256.
        let key = JwsKey::p256(
            &decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
            &decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
        )
        .unwrap();
        let message = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature =
            decode("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
        assert_eq!(key.verify(JwsAlgorithm::Es256, message.as_bytes(), &signature), Ok(()));
        assert_eq!(key.verify(JwsAlgorithm::Rs256, message.as_bytes(), &signature), Err(AuthFailed));
        assert_eq!(key.verify(JwsAlgorithm::Es256, &message.as_bytes()[1..], &signature), Err(AuthFailed));
    }

    #[test]
    fn weak_and_malformed_keys_are_refused() {
        assert!(JwsKey::rsa(&[0xff; 128], &[1, 0, 1]).is_err(), "1024 bits");
        assert!(JwsKey::rsa(&[0xff; 513], &[1, 0, 1]).is_err(), "more than 4096 bits");
        assert!(JwsKey::rsa(&[0xff; 256], &[1]).is_err(), "exponent one");
        assert!(JwsKey::rsa(&[0xff; 256], &[2]).is_err(), "an even exponent");
        assert!(JwsKey::rsa(&[], &[]).is_err());
        assert!(JwsKey::p256(&[1; 32], &[1; 32]).is_err(), "not on the curve");
        assert!(JwsKey::p256(&[1; 31], &[1; 32]).is_err());
        assert!(JwsKey::ed25519(&[0; 32]).is_err(), "a point of small order");
    }
}
