//! Ed25519 keys in files, as openssl and others write them: PKCS#8 (RFC 5958, RFC 8410) and SubjectPublicKeyInfo, in PEM.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model_vault::crypto::keys::Key;
use model_vault::crypto::sign::{PublicKey, SigningIdentity};
use model_vault::{Error, ErrorId, Result};
use zeroize::Zeroizing;

use crate::files;

/// No key file is larger.
const KEY_FILE_MAX: u64 = 16 << 10;
/// PKCS#8 version 0 with algorithm Ed25519, up to the seed.
const V0: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// The same of version 1, which carries the public key after the seed.
const V1: [u8; 16] = [0x30, 0x51, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const PUBLIC: [u8; 3] = [0x81, 0x21, 0];

/// The private key of a publisher.
///
/// # Errors
/// `BadCredential` if it is not an Ed25519 key in PKCS#8 PEM, or if others may read the file.
pub fn signing_key(path: &Path) -> Result<SigningIdentity> {
    let facts = path.metadata().map_err(files::on(path))?;
    if facts.is_file() && facts.mode() & 0o077 != 0 {
        return Err(Error::new(ErrorId::BadCredential, format!("{}: others may read this key", path.display()))
            .hint(format!("chmod 600 {}", path.display())));
    }
    let der = section(path, "PRIVATE KEY")?;
    identity(&der).ok_or_else(|| {
        Error::new(ErrorId::BadCredential, format!("{}: not an Ed25519 private key", path.display()))
            .hint("make one: openssl genpkey -algorithm ed25519 -out KEY.pem")
    })
}

fn identity(der: &[u8]) -> Option<SigningIdentity> {
    let (seed, public) = match (der.strip_prefix(&V0), der.strip_prefix(&V1)) {
        (Some(seed), _) if seed.len() == 32 => (seed, None),
        (_, Some(rest)) => {
            let (seed, rest) = rest.split_at_checked(32)?;
            (seed, Some(rest.strip_prefix(&PUBLIC)?))
        }
        _ => return None,
    };
    let mut seed = Zeroizing::new(<[u8; 32]>::try_from(seed).ok()?);
    let identity = SigningIdentity::from_seed(Key::take(&mut seed));
    // A public key that is not the seed's would sign under a wrong name.
    public.is_none_or(|p| p == identity.public().as_bytes()).then_some(identity)
}

/// The public key of a signer.
pub fn public_key(path: &Path) -> Result<PublicKey> {
    let der = section(path, "PUBLIC KEY")?;
    PublicKey::from_spki(&der).map_err(|_| {
        Error::new(ErrorId::BadCredential, format!("{}: not an Ed25519 public key", path.display()))
            .hint("from a private key: openssl pkey -in KEY.pem -pubout")
    })
}

/// The bytes of the one PEM section of a file.
fn section(path: &Path, label: &str) -> Result<Zeroizing<Vec<u8>>> {
    let text = files::read_secret(path, KEY_FILE_MAX).map_err(files::on(path))?;
    decode(&text, label)
        .ok_or_else(|| Error::new(ErrorId::BadCredential, format!("{}: not one PEM section {label:?}", path.display())))
}

fn decode(text: &[u8], label: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, after) = rest.split_once(&format!("-----END {label}-----"))?;
    if after.contains("-----BEGIN") {
        return None;
    }
    let mut kept = Zeroizing::new(String::with_capacity(body.len()));
    body.chars().filter(|c| !c.is_ascii_whitespace()).for_each(|c| kept.push(c));
    STANDARD.decode(kept.as_bytes()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    // RFC 8410, section 10.3.
    const V0_PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const PUBLIC_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn the_keys_of_the_rfc_are_read_and_belong_together() {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (dir.path().join("k"), dir.path().join("p"));
        fs::write(&private, V0_PEM).unwrap();
        fs::write(&public, PUBLIC_PEM).unwrap();
        fs::set_permissions(&private, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(signing_key(&private).unwrap_err().id(), ErrorId::BadCredential);
        fs::set_permissions(&private, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(signing_key(&private).unwrap().public(), &public_key(&public).unwrap());
        assert_eq!(signing_key(&public).unwrap_err().id(), ErrorId::BadCredential);
        assert_eq!(public_key(&private).unwrap_err().id(), ErrorId::BadCredential);
    }

    #[test]
    fn a_key_with_a_foreign_public_half_or_of_another_kind_is_refused() {
        let der = decode(V0_PEM.as_bytes(), "PRIVATE KEY").unwrap();
        let public = identity(&der).unwrap();
        let with = |p: &[u8]| [&V1[..], &der[16..], &PUBLIC, p].concat();
        assert!(identity(&with(public.public().as_bytes())).is_some());
        assert!(identity(&with(&[7; 32])).is_none());
        assert!(identity(&der[..47]).is_none());
        assert!(identity(&[&der[..], &[0]].concat()).is_none());
        assert!(decode(format!("{V0_PEM}{V0_PEM}").as_bytes(), "PRIVATE KEY").is_none());
    }
}
