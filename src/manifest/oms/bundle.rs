//! The Sigstore bundle v0.3 that carries a signed statement: which key signed, and one envelope with one signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Malformed, release_0_2, statement_kind};
use crate::crypto::AuthFailed;
use crate::crypto::dsse::{IN_TOTO, pre_authentication};
use crate::crypto::sign::{Algorithm, SigningKey, VerifyingKey};
use crate::error::{Error, ErrorId, Result};
use crate::json::{JsonError, Reader, quote};

/// Most bytes of a bundle.
pub const MAX_BUNDLE_LEN: u64 = 64 << 20;
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const MAX_CERTIFICATES: usize = 16;
const MAX_DEPTH: usize = 64;
pub(super) const MAX_KEYS: usize = 1024;

/// A statement under one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Which key signed.
    pub material: Material,
    /// The signed bytes.
    pub payload: Vec<u8>,
    signature: Vec<u8>,
}

/// How a bundle points to the key that signed it (OMS 4.1). It is a claim until the key is trusted and its signature verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// A key the verifier has.
    Key {
        /// SHA-256 of the key's PEM text, in hex. Writers before 1.1 left it out.
        hint: Option<String>,
    },
    /// Certificates in DER: of the signer, then of those above it.
    Certificates(Vec<Vec<u8>>),
    /// A certificate of a public service and the log entries that date it, as they are written.
    Keyless(String),
}

impl Bundle {
    /// Signs a statement.
    ///
    /// # Errors
    /// Those of the key.
    pub fn sign(payload: Vec<u8>, key: &SigningKey, certificates: Option<Vec<Vec<u8>>>) -> Result<Self> {
        let signature = key.sign(&pre_authentication(IN_TOTO, &payload))?;
        Self::signed(payload, key.public(), signature, certificates)
    }

    /// From a signature that was made elsewhere, by the key named.
    ///
    /// # Errors
    /// `SignatureInvalid` if that key did not make it.
    pub fn signed(
        payload: Vec<u8>,
        key: &VerifyingKey,
        signature: Vec<u8>,
        certificates: Option<Vec<Vec<u8>>>,
    ) -> Result<Self> {
        let material = match certificates {
            Some(chain) => Material::Certificates(chain),
            None => Material::Key { hint: Some(key.oms_hint()) },
        };
        let verified = key.verify(&pre_authentication(IN_TOTO, &payload), &signature);
        verified
            .map_err(|_| Error::new(ErrorId::SignatureInvalid, "the signer gave a signature that does not verify"))?;
        Ok(Self { material, payload, signature })
    }

    /// Whether the bundle says that this key signed it. A bundle without a hint could be anybody's.
    pub fn names(&self, key: &VerifyingKey) -> bool {
        match &self.material {
            Material::Key { hint: Some(hint) } => *hint == key.oms_hint(),
            Material::Key { hint: None } => true,
            Material::Certificates(_) | Material::Keyless(_) => false,
        }
    }

    /// Verifies the signature, also in the form that release 0.2 of the reference gave it.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), AuthFailed> {
        key.verify(&pre_authentication(IN_TOTO, &self.payload), &self.signature).or_else(|e| {
            // The faulty encoding must not become a second form of today's signatures.
            let its =
                statement_kind(&self.payload).is_ok_and(|kind| kind.as_deref() == Some(release_0_2::PREDICATE_TYPE));
            if !its || key.algorithm() != Algorithm::EcdsaP256 {
                return Err(e);
            }
            key.verify(&release_0_2::pre_authentication(IN_TOTO, &self.payload), &self.signature)
        })
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(self.payload.len() * 4 / 3 + 1024);
        out.push_str("{\"mediaType\":\"");
        out.push_str(MEDIA_TYPE);
        out.push_str("\",\"verificationMaterial\":");
        self.material.write_json(&mut out);
        out.push_str(",\"dsseEnvelope\":{\"payload\":\"");
        STANDARD.encode_string(&self.payload, &mut out);
        out.push_str("\",\"payloadType\":\"");
        out.push_str(IN_TOTO);
        out.push_str("\",\"signatures\":[{\"sig\":\"");
        STANDARD.encode_string(&self.signature, &mut out);
        out.push_str("\",\"keyid\":\"\"}]}}\n");
        out
    }

    /// Reads a bundle; what follows it is an error, but for white space.
    ///
    /// # Errors
    /// `Malformed`, with the rule that is broken.
    pub fn from_json(text: &[u8]) -> Result<Self, Malformed> {
        if text.len() as u64 > MAX_BUNDLE_LEN {
            return Err(Malformed::new("larger than 64 MiB"));
        }
        let mut raw = Raw::default();
        let mut reader = Reader::new(text, MAX_DEPTH)?.with_max_keys(MAX_KEYS);
        reader.object(|reader, key| {
            match key {
                "mediaType" => raw.media_type = Some(reader.string()?.into_owned()),
                "verificationMaterial" => raw.read_material(reader.raw()?)?,
                "dsseEnvelope" => reader.object(|reader, key| raw.read_envelope(reader, key))?,
                _ => return reader.fail("an unknown member of the bundle"),
            }
            Ok(())
        })?;
        reader.end()?;
        raw.into_bundle()
    }
}

#[derive(Default)]
struct Raw {
    media_type: Option<String>,
    materials: Vec<Material>,
    payload_type: Option<String>,
    payload: Option<Vec<u8>>,
    signatures: Vec<Vec<u8>>,
}

impl Raw {
    fn read_material(&mut self, text: &str) -> Result<(), JsonError> {
        Reader::new(text.as_bytes(), MAX_DEPTH)?.with_max_keys(MAX_KEYS).object(|reader, key| {
            match key {
                "publicKey" => self.materials.push(Material::Key { hint: read_hint(reader)? }),
                "x509CertificateChain" => self.materials.push(Material::Certificates(read_chain(reader)?)),
                "certificate" => {
                    reader.skip()?;
                    self.materials.push(Material::Keyless(text.to_owned()));
                }
                "tlogEntries" | "timestampVerificationData" => reader.skip()?,
                _ => return reader.fail("an unknown member of verificationMaterial"),
            }
            Ok(())
        })
    }

    fn read_envelope(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<(), JsonError> {
        match key {
            "payload" => self.payload = Some(base64(reader)?),
            "payloadType" => self.payload_type = Some(reader.string()?.into_owned()),
            "signatures" => reader.array(|reader| {
                let mut sig = None;
                reader.object(|reader, key| {
                    match key {
                        "sig" => sig = Some(base64(reader)?),
                        // Names no key here (OMS 4.1).
                        "keyid" => reader.skip()?,
                        _ => return reader.fail("an unknown member of a signature"),
                    }
                    Ok(())
                })?;
                let Some(sig) = sig else { return reader.fail("a signature without sig") };
                self.signatures.push(sig);
                // More than one is refused below; how many more does not matter.
                if self.signatures.len() > 2 { reader.fail("more than one signature") } else { Ok(()) }
            })?,
            _ => return reader.fail("an unknown member of the envelope"),
        }
        Ok(())
    }

    fn into_bundle(self) -> Result<Bundle, Malformed> {
        if self.media_type.as_deref() != Some(MEDIA_TYPE) {
            return Err(Malformed::new(format!("the media type is not {MEDIA_TYPE}")));
        }
        let [material] = <[Material; 1]>::try_from(self.materials)
            .map_err(|m| Malformed::new(format!("{} kinds of verification material instead of one", m.len())))?;
        if matches!(&material, Material::Certificates(chain) if chain.is_empty()) {
            return Err(Malformed::new("a chain of no certificates"));
        }
        if self.payload_type.as_deref() != Some(IN_TOTO) {
            return Err(Malformed::new(format!("the payload type is not {IN_TOTO}")));
        }
        // With two signatures verifiers disagree on whose bundle it is.
        let [signature] = <[Vec<u8>; 1]>::try_from(self.signatures)
            .map_err(|s| Malformed::new(format!("{} signatures instead of one", s.len())))?;
        let payload = self.payload.ok_or_else(|| Malformed::new("no payload"))?;
        Ok(Bundle { material, payload, signature })
    }
}

impl Material {
    fn write_json(&self, out: &mut String) {
        match self {
            Self::Key { hint } => {
                out.push_str("{\"publicKey\":{\"hint\":");
                quote(hint.as_deref().unwrap_or_default(), out);
                out.push_str("},\"tlogEntries\":[]}");
            }
            Self::Certificates(chain) => {
                out.push_str("{\"x509CertificateChain\":{\"certificates\":[");
                for (i, certificate) in chain.iter().enumerate() {
                    out.push_str(if i == 0 { "{\"rawBytes\":\"" } else { ",{\"rawBytes\":\"" });
                    STANDARD.encode_string(certificate, out);
                    out.push_str("\"}");
                }
                out.push_str("]},\"tlogEntries\":[]}");
            }
            Self::Keyless(text) => out.push_str(text),
        }
    }
}

fn read_hint(reader: &mut Reader<'_>) -> Result<Option<String>, JsonError> {
    let mut hint = None;
    reader.object(|reader, key| {
        match key {
            "hint" if reader.is_at_string() => hint = Some(reader.string()?.into_owned()).filter(|t| !t.is_empty()),
            "hint" if reader.raw()? == "null" => {}
            "hint" => return reader.fail("a hint is a string"),
            // Before 1.1 the key itself: whoever verifies brings the key along, a bundle does not.
            "rawBytes" | "keyDetails" => reader.skip()?,
            _ => return reader.fail("an unknown member of publicKey"),
        }
        Ok(())
    })?;
    Ok(hint)
}

fn read_chain(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, JsonError> {
    let mut chain = Vec::new();
    reader.object(|reader, key| {
        if key != "certificates" {
            return reader.fail("an unknown member of x509CertificateChain");
        }
        reader.array(|reader| {
            if chain.len() == MAX_CERTIFICATES {
                return reader.fail("more than 16 certificates");
            }
            reader.object(|reader, key| match key {
                "rawBytes" => {
                    chain.push(base64(reader)?);
                    Ok(())
                }
                _ => reader.fail("an unknown member of a certificate"),
            })
        })
    })?;
    Ok(chain)
}

fn base64(reader: &mut Reader<'_>) -> Result<Vec<u8>, JsonError> {
    let text = reader.string()?;
    STANDARD.decode(&*text).or_else(|_| reader.fail("not base64 with padding"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SystemRandom;

    fn key(algorithm: Algorithm) -> SigningKey {
        SigningKey::generate(algorithm, &SystemRandom).unwrap()
    }

    #[test]
    fn a_bundle_is_read_as_it_was_written_and_verifies_under_its_key_alone() {
        for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::Ed25519, Algorithm::MlDsa65] {
            let (signer, other) = (key(algorithm), key(algorithm));
            let bundle = Bundle::sign(b"payload".to_vec(), &signer, None).unwrap();
            let mut read = Bundle::from_json(bundle.to_json().as_bytes()).unwrap();
            assert_eq!(read, bundle);
            assert!(read.names(signer.public()) && !read.names(other.public()));
            assert!(read.verify(signer.public()).is_ok());
            assert!(read.verify(other.public()).is_err());
            read.payload[0] ^= 1;
            assert!(read.verify(signer.public()).is_err());
        }
    }

    #[test]
    fn chains_travel_leaf_first() {
        let chain = vec![vec![1, 2], vec![3]];
        let bundle = Bundle::sign(b"p".to_vec(), &key(Algorithm::EcdsaP256), Some(chain.clone())).unwrap();
        assert_eq!(Bundle::from_json(bundle.to_json().as_bytes()).unwrap().material, Material::Certificates(chain));
    }

    #[test]
    fn what_two_verifiers_could_read_differently_is_refused() {
        let text = Bundle::sign(b"payload".to_vec(), &key(Algorithm::EcdsaP256), None).unwrap().to_json();
        let signature = &text[text.find("[{\"sig\"").unwrap() + 1..text.find("]}}").unwrap()];
        for (from, to) in [
            (signature, ""),
            (signature, &*format!("{signature},{signature}")),
            ("+json\",", "+json;version=0.3\","),
            ("bundle.v0.3", "bundle.v0.2"),
            ("vnd.in-toto", "vnd.other"),
            ("\"dsseEnvelope\":", "\"messageSignature\":{},\"dsseEnvelope\":"),
            ("\"tlogEntries\":[]", "\"tlogEntries\":[],\"certificate\":{}"),
            ("\"tlogEntries\":[]", "\"tlogEntries\":[],\"tlogEntries\":[]"),
            ("cGF5bG9hZA==", "cGF5bG9hZA"),
            ("cGF5bG9hZA==", "cGF5bG9h-Q=="),
            ("\"publicKey\":{", "\"publicKey\":{\"more\":1,"),
            ("{\"mediaType\"", "\u{feff}{\"mediaType\""),
            ("]}}\n", "]}}\n{}"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Bundle::from_json(text.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
        for same in [
            text.replace(",\"tlogEntries\":[]", ""),
            text.replace(",\"keyid\":\"\"", ""),
            text.replace("keyid\":\"\"", "keyid\":null"),
        ] {
            assert!(Bundle::from_json(same.as_bytes()).is_ok(), "{same}");
        }
    }
}
