//! Issuers of tokens for tests: keys of their own, and tokens as they come out of an issuer or an attacker.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A key that signs tokens.
pub enum Signer {
    Es256(EcdsaKeyPair),
    Rs256(Box<RsaKeyPair>),
    EdDsa(Ed25519KeyPair),
}

#[allow(dead_code, reason = "not every test needs all of them")]
impl Signer {
    pub fn es256() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub fn rs256() -> Self {
        Self::Rs256(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub fn eddsa() -> Self {
        Self::EdDsa(Ed25519KeyPair::generate().unwrap())
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(_) => "RS256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    /// The public key as a JWK.
    pub fn jwk(&self, kid: &str) -> String {
        let members = match self {
            Self::Es256(key) => {
                let point = key.public_key().as_ref();
                format!(
                    r#""kty":"EC","crv":"P-256","x":"{}","y":"{}""#,
                    base64url(&point[1..33]),
                    base64url(&point[33..])
                )
            }
            // SEQUENCE { INTEGER n, INTEGER e } of a key with 2048 bits.
            Self::Rs256(key) => {
                format!(r#""kty":"RSA","e":"AQAB","n":"{}""#, base64url(&key.public_key().as_ref()[9..265]))
            }
            Self::EdDsa(key) => {
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, base64url(key.public_key().as_ref()))
            }
        };
        format!(r#"{{{members},"kid":"{kid}","use":"sig","alg":"{}"}}"#, self.algorithm())
    }

    /// The public key as bytes of its own form.
    pub fn public(&self) -> Vec<u8> {
        match self {
            Self::Es256(key) => key.public_key().as_ref().to_vec(),
            Self::Rs256(key) => key.public_key().as_ref().to_vec(),
            Self::EdDsa(key) => key.public_key().as_ref().to_vec(),
        }
    }

    /// A JWK set of this key alone.
    pub fn jwks(&self, kid: &str) -> String {
        format!(r#"{{"keys":[{}]}}"#, self.jwk(kid))
    }

    /// A token with an honest header.
    pub fn token(&self, kid: &str, claims: &str) -> String {
        self.sign(&format!(r#"{{"alg":"{}","typ":"JWT","kid":"{kid}"}}"#, self.algorithm()), claims)
    }

    /// A token with this header, whatever it says.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let signature = match self {
            Self::Es256(key) => key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::EdDsa(key) => key.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", base64url(&signature))
    }
}

pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// HMAC-SHA256, as an attacker uses it.
#[allow(dead_code, reason = "not every test needs it")]
pub fn hs256(secret: &[u8], text: &str) -> Vec<u8> {
    use aws_lc_rs::hmac;
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes()).as_ref().to_vec()
}
