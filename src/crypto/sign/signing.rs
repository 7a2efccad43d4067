//! Private keys of any algorithm.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom as AwsRandom;
use aws_lc_rs::signature::{self as aws, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, PqdsaKeyPair};
use ring::signature::{self as fast, EcdsaKeyPair as RingKeyPair};
use zeroize::Zeroizing;

use super::private::{self, Encoded};
#[cfg(feature = "daemon")]
use super::token::TokenKey;
use super::{Algorithm, KeyError, SigningIdentity, VerifyingKey};
use crate::crypto::keys::Key;
use crate::crypto::{der, pem};
use crate::error::{Error, ErrorId, Result};
use crate::names::{KeyId, Random};

/// A private key of any [`Algorithm`]. An Ed25519 seed rests in locked memory; the others live within AWS-LC, which wipes them
/// when they go. Never printed.
#[derive(Clone)]
pub struct SigningKey {
    kind: Kind,
    public: VerifyingKey,
}

#[derive(Clone)]
enum Kind {
    Ed25519(SigningIdentity),
    Ecdsa(EcdsaKeyPair),
    MlDsa(PqdsaKeyPair),
    #[cfg(feature = "daemon")]
    Token(TokenKey),
}

impl SigningKey {
    /// A new key, of which every random bit comes from `random`.
    ///
    /// # Errors
    /// Those of `random`; `Internal` if it never gives a number in the range of the curve.
    pub fn generate(algorithm: Algorithm, random: &dyn Random) -> Result<Self> {
        let key = match algorithm {
            Algorithm::Ed25519 => return Ok(SigningIdentity::generate(random)?.into()),
            Algorithm::MlDsa65 => {
                let mut seed = Zeroizing::new([0; 32]);
                random.fill(&mut *seed)?;
                PqdsaKeyPair::from_seed(&aws::ML_DSA_65_SIGNING, &*seed).ok().map(Self::ml_dsa)
            }
            Algorithm::EcdsaP256 => generate_ecdsa::<32>(algorithm, 0xff, random)?,
            Algorithm::EcdsaP384 => generate_ecdsa::<48>(algorithm, 0xff, random)?,
            // 521 bits in 66 bytes: only the lowest bit of the first byte counts.
            Algorithm::EcdsaP521 => generate_ecdsa::<66>(algorithm, 0x01, random)?,
        };
        key.ok_or_else(|| Error::new(ErrorId::Internal, format!("no {algorithm} key can be made: bad randomness")))
    }

    /// From PEM: one section `PRIVATE KEY` (PKCS #8, RFC 5208 and RFC 5958) or `EC PRIVATE KEY` (RFC 5915; the section
    /// `EC PARAMETERS` that openssl writes before it is passed over).
    ///
    /// # Errors
    /// Any [`KeyError`]. A public key that stands beside the private one must be its own.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        Self::from_private(&private::from_pem(text)?)
    }

    fn from_private(private: &private::Private) -> Result<Self, KeyError> {
        let encoded = private.parse()?;
        let key = Self::from_encoded(&encoded)?;
        match encoded.public {
            Some(public) if public != key.public.raw() => Err(KeyError::Malformed("pair: the public key is another's")),
            _ => Ok(key),
        }
    }

    /// The same, of one or more sections: the parts of a composite identity, each an algorithm of its own.
    ///
    /// # Errors
    /// As there; also for two keys of one algorithm.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, KeyError> {
        let mut keys: Vec<Self> = Vec::new();
        for private in private::all_from_pem(text)? {
            let key = Self::from_private(&private)?;
            if keys.iter().any(|other| other.algorithm() == key.algorithm()) {
                return Err(KeyError::Malformed("PEM file of one signer: two keys of one algorithm"));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(KeyError::Malformed("PEM file of private keys")) } else { Ok(keys) }
    }

    /// From 32 secret bytes: a number on P-256, or a seed.
    pub(super) fn from_secret(algorithm: Algorithm, secret: &[u8; 32]) -> Result<Self, KeyError> {
        let key = match algorithm {
            Algorithm::EcdsaP256 => Self::ecdsa(algorithm, &private::to_ec_private_key(secret)),
            Algorithm::MlDsa65 => PqdsaKeyPair::from_seed(&aws::ML_DSA_65_SIGNING, secret).ok().map(Self::ml_dsa),
            _ => None,
        };
        key.ok_or(KeyError::Malformed("private key of its algorithm"))
    }

    /// PEM of its PKCS #8 form.
    ///
    /// # Panics
    /// For a key on a token, which never leaves it: nobody asks for its form who did not make the key.
    pub fn to_pem(&self) -> Zeroizing<String> {
        const LABEL: &str = "PRIVATE KEY";
        match &self.kind {
            Kind::Ed25519(identity) => {
                let seed = der::write(der::OCTET_STRING, &[&*identity.seed().expose()]);
                pem::encode(LABEL, &private::to_pkcs8(Algorithm::Ed25519, &seed))
            }
            Kind::Ecdsa(pair) => pem::encode(LABEL, pair.to_pkcs8v1().expect("a key in memory has a form").as_ref()),
            Kind::MlDsa(pair) => {
                pem::encode(LABEL, pair.to_pkcs8v1().expect("keys without a seed are refused").as_ref())
            }
            #[cfg(feature = "daemon")]
            Kind::Token(_) => panic!("a key on a token has no form"),
        }
    }

    /// A key on a token, by its `pkcs11:` URI.
    ///
    /// # Errors
    /// `InvalidArgument` for the URI; `NotFound` if there is no such token or key, or more than one; `NoCredential` and
    /// `BadCredential` for the PIN; `IoError` if the module fails.
    #[cfg(feature = "daemon")]
    pub fn on_token(uri: &str) -> Result<Self> {
        let key = TokenKey::open(uri)?;
        Ok(Self { public: key.public().clone(), kind: Kind::Token(key) })
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// The key others verify with.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Shorthand for the public key's id.
    pub fn key_id(&self) -> KeyId {
        self.public.key_id()
    }

    /// Signs. Ed25519 is deterministic; the secret numbers of ECDSA mix key and message in (by `ring` on P-256 and P-384, by
    /// AWS-LC on P-521), so that a generator in a bad state does not give the key away.
    ///
    /// # Errors
    /// `Internal` if the library fails, which no input explains.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| Error::new(ErrorId::Internal, format!("signing with {} failed", self.algorithm()));
        match &self.kind {
            Kind::Ed25519(identity) => Ok(identity.sign(message).to_vec()),
            Kind::Ecdsa(pair) => match fast_ecdsa(self.algorithm()) {
                Some(curve) => {
                    // The first number from AWS-LC's generator costs 20 ms, since it gathers jitter for itself.
                    let secret: EcPrivateKeyBin<'static> = pair.private_key().as_be_bytes().map_err(failed)?;
                    let random = ring::rand::SystemRandom::new();
                    let (secret, public) = (secret.as_ref(), self.public.raw());
                    let signed = RingKeyPair::from_private_key_and_public_key(curve, secret, public, &random)
                        .ok()
                        .and_then(|pair| pair.sign(&random, message).ok());
                    signed.map(|signature| signature.as_ref().to_vec()).ok_or_else(|| failed(Unspecified))
                }
                None => Ok(pair.sign(&AwsRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            },
            Kind::MlDsa(pair) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                let len = pair.sign(message, &mut signature).map_err(failed)?;
                signature.truncate(len);
                Ok(signature)
            }
            #[cfg(feature = "daemon")]
            Kind::Token(key) => key.sign(message),
        }
    }

    /// The key as the type that the vault's own statements are signed with.
    ///
    /// # Errors
    /// [`KeyError::Algorithm`] if it is not an Ed25519 key.
    pub fn to_ed25519(&self) -> Result<SigningIdentity, KeyError> {
        match &self.kind {
            Kind::Ed25519(identity) => Ok(identity.clone()),
            _ => Err(KeyError::Algorithm { found: self.algorithm(), wanted: Algorithm::Ed25519 }),
        }
    }

    fn from_encoded(encoded: &Encoded<'_>) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed("private key of its algorithm");
        match encoded.algorithm {
            Algorithm::Ed25519 => {
                let seed = der::whole(der::OCTET_STRING, encoded.key).ok_or_else(malformed)?;
                let mut seed = Zeroizing::new(<[u8; 32]>::try_from(seed).map_err(|_| malformed())?);
                Ok(SigningIdentity::from_seed(Key::take(&mut seed)).into())
            }
            Algorithm::MlDsa65 => {
                let pkcs8 = private::to_pkcs8(encoded.algorithm, encoded.key);
                let pair = PqdsaKeyPair::from_pkcs8(&aws::ML_DSA_65_SIGNING, &pkcs8).map_err(|_| malformed())?;
                // What cannot be written again is not taken in.
                pair.to_pkcs8v1().map_err(|_| KeyError::NoSeed)?;
                Ok(Self::ml_dsa(pair))
            }
            algorithm => Self::ecdsa(algorithm, encoded.key).ok_or_else(malformed),
        }
    }

    /// From an ECPrivateKey (RFC 5915), whose curve, if it names one, must be that of the algorithm.
    fn ecdsa(algorithm: Algorithm, ec_private_key: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_private_key_der(ecdsa_signing(algorithm)?, ec_private_key).ok()?;
        let public = VerifyingKey::from_raw(algorithm, pair.public_key().as_ref()).ok()?;
        Some(Self { kind: Kind::Ecdsa(pair), public })
    }

    fn ml_dsa(pair: PqdsaKeyPair) -> Self {
        let public = VerifyingKey::from_raw(Algorithm::MlDsa65, pair.public_key().as_ref());
        Self { kind: Kind::MlDsa(pair), public: public.expect("a pair has a public key") }
    }
}

impl From<SigningIdentity> for SigningKey {
    fn from(identity: SigningIdentity) -> Self {
        let public = (*identity.public()).into();
        Self { kind: Kind::Ed25519(identity), public }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {}, REDACTED)", self.algorithm(), self.key_id())
    }
}

/// The curves that `ring` signs on too.
fn fast_ecdsa(algorithm: Algorithm) -> Option<&'static fast::EcdsaSigningAlgorithm> {
    match algorithm {
        Algorithm::EcdsaP256 => Some(&fast::ECDSA_P256_SHA256_ASN1_SIGNING),
        Algorithm::EcdsaP384 => Some(&fast::ECDSA_P384_SHA384_ASN1_SIGNING),
        _ => None,
    }
}

fn ecdsa_signing(algorithm: Algorithm) -> Option<&'static EcdsaSigningAlgorithm> {
    match algorithm {
        Algorithm::EcdsaP256 => Some(&aws::ECDSA_P256_SHA256_ASN1_SIGNING),
        Algorithm::EcdsaP384 => Some(&aws::ECDSA_P384_SHA384_ASN1_SIGNING),
        Algorithm::EcdsaP521 => Some(&aws::ECDSA_P521_SHA512_ASN1_SIGNING),
        Algorithm::Ed25519 | Algorithm::MlDsa65 => None,
    }
}

/// Draws `LEN` bytes until they are a number from 1 to the order of the curve (FIPS 186-5, A.2.2). The orders are so near a
/// power of two that one draw nearly always does: 16 failures mean a broken generator.
fn generate_ecdsa<const LEN: usize>(
    algorithm: Algorithm,
    first_byte: u8,
    random: &dyn Random,
) -> Result<Option<SigningKey>> {
    let mut scalar = Zeroizing::new([0; LEN]);
    for _ in 0..16 {
        random.fill(&mut *scalar)?;
        scalar[0] &= first_byte;
        if let Some(key) = SigningKey::ecdsa(algorithm, &private::to_ec_private_key(&*scalar)) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}
