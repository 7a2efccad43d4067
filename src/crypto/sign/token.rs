//! Keys that never leave a token: PKCS #11 (OASIS v2.40 and later), named by a URI (RFC 7512):
//! `pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin`.
//!
//! The module is code of others that runs in this process: whoever writes the URI trusts it. The PIN comes from the file of
//! `pin-source` or from the environment, never from the URI.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use ring::digest;
use zeroize::Zeroizing;

use super::{Algorithm, VerifyingKey};
use crate::crypto::der;
use crate::error::{Error, ErrorId, Result};

/// How names of such keys begin.
pub(super) const SCHEME: &str = "pkcs11:";
/// The PIN, where the URI has no `pin-source`.
const PIN: &str = "MODELVAULT_PKCS11_PIN";
const MAX_PIN: u64 = 256;

/// A private key on a token, in a session of its own.
#[derive(Clone)]
pub(super) struct TokenKey {
    session: Arc<Mutex<Session>>,
    handle: ObjectHandle,
    public: VerifyingKey,
}

impl TokenKey {
    /// Opens the token and finds the key.
    ///
    /// # Errors
    /// `InvalidArgument` for the URI; `NotFound` if there is no such token or key, or more than one; `BadCredential` if the
    /// PIN is refused; `IoError` if the module cannot be loaded.
    pub(super) fn open(uri: &str) -> Result<Self> {
        let uri = Uri::parse(uri)?;
        let module = uri.module.display();
        let pkcs11 = Pkcs11::new(&uri.module).map_err(|e| failed(&format!("{module} cannot be loaded"), &e))?;
        pkcs11
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|e| failed(&format!("{module} does not start"), &e))?;
        let slots = pkcs11.get_slots_with_token().map_err(|e| failed("the module lists no tokens", &e))?;
        let mut matching = slots.into_iter().filter(|slot| {
            pkcs11.get_token_info(*slot).is_ok_and(|token| {
                uri.token.as_deref().is_none_or(|label| token.label().trim_end() == label)
                    && uri.serial.as_deref().is_none_or(|serial| token.serial_number().trim_end() == serial)
            })
        });
        let (Some(slot), None) = (matching.next(), matching.next()) else {
            return Err(
                Error::new(ErrorId::NotFound, "not one token of that name").hint("name it: pkcs11:token=LABEL;...")
            );
        };
        let session = pkcs11.open_ro_session(slot).map_err(|e| failed("the token opens no session", &e))?;
        let pin = AuthPin::from(uri.pin()?.to_string());
        session.login(UserType::User, Some(&pin)).map_err(|e| {
            Error::new(ErrorId::BadCredential, format!("the token refuses the PIN: {e}"))
                .hint(format!("check pin-source of the URI, or {PIN}; tokens lock themselves after a few wrong PINs"))
        })?;
        let handle = find(&session, &uri, ObjectClass::PRIVATE_KEY)?;
        let public = public_key(&session, find(&session, &uri, ObjectClass::PUBLIC_KEY)?)?;
        Ok(Self { session: Arc::new(Mutex::new(session)), handle, public })
    }

    pub(super) fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Has the token sign, and verifies what it made: another key's signature would be found by every verifier, late.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let hash = match self.public.algorithm() {
            Algorithm::EcdsaP384 => &digest::SHA384,
            Algorithm::EcdsaP521 => &digest::SHA512,
            _ => &digest::SHA256,
        };
        let hashed = digest::digest(hash, message);
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = session.sign(&Mechanism::Ecdsa, self.handle, hashed.as_ref());
        let numbers = numbers.map_err(|e| failed("the token does not sign", &e))?;
        let signature = to_der(&numbers);
        self.public.verify(message, &signature).map_err(|_| {
            Error::new(ErrorId::BadCredential, "the token signed with another key than its public key says")
                .hint("give the key its own label or id on the token")
        })?;
        Ok(signature)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.public.key_id())
    }
}

/// r and s, each of half the bytes, as ECDSA signatures travel (RFC 3279, 2.2.3).
fn to_der(numbers: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let significant = &number[number.iter().position(|b| *b != 0).unwrap_or(number.len())..];
        let sign: &[u8] = if significant.first().is_none_or(|b| *b >= 0x80) { &[0] } else { &[] };
        der::write(der::INTEGER, &[sign, significant])
    };
    let (r, s) = numbers.split_at(numbers.len() / 2);
    der::write(der::SEQUENCE, &[&integer(r), &integer(s)]).to_vec()
}

fn find(session: &Session, uri: &Uri, class: ObjectClass) -> Result<ObjectHandle> {
    let mut template = vec![Attribute::Class(class), Attribute::KeyType(KeyType::EC)];
    template.extend(uri.object.clone().map(|label| Attribute::Label(label.into_bytes())));
    template.extend(uri.id.clone().map(Attribute::Id));
    let found = session.find_objects(&template).map_err(|e| failed("the token lists no keys", &e))?;
    let [one] = found[..] else {
        let what = format!("{} elliptic-curve keys of that name on the token instead of a pair", found.len());
        return Err(Error::new(ErrorId::NotFound, what).hint("name it: pkcs11:token=LABEL;object=LABEL or ;id=%01"));
    };
    Ok(one)
}

fn public_key(session: &Session, handle: ObjectHandle) -> Result<VerifyingKey> {
    let attributes = session.get_attributes(handle, &[AttributeType::EcParams, AttributeType::EcPoint]);
    let (mut curve, mut point) = (Vec::new(), Vec::new());
    for attribute in attributes.map_err(|e| failed("the token does not tell its public key", &e))? {
        match attribute {
            Attribute::EcParams(bytes) => curve = bytes,
            Attribute::EcPoint(bytes) => point = bytes,
            _ => {}
        }
    }
    // Some modules leave out the OCTET STRING around the point.
    let raw = der::whole(der::OCTET_STRING, &point).unwrap_or(&point);
    let ecdsa = [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::EcdsaP521];
    let algorithm = ecdsa.into_iter().find(|a| a.identifier().ends_with(&curve) && !curve.is_empty());
    let key = algorithm.and_then(|algorithm| VerifyingKey::from_raw(algorithm, raw).ok());
    key.ok_or_else(|| {
        Error::new(ErrorId::BadCredential, "the key on the token is not one on P-256, P-384 or P-521")
            .hint("sign with a key on one of these curves")
    })
}

fn failed(what: &str, e: &cryptoki::error::Error) -> Error {
    Error::new(ErrorId::IoError, format!("PKCS #11: {what}: {e}"))
        .hint("check module-path of the URI, and the module's own settings")
}

/// What a URI names.
#[derive(Debug, PartialEq, Eq)]
struct Uri {
    module: PathBuf,
    token: Option<String>,
    serial: Option<String>,
    object: Option<String>,
    id: Option<Vec<u8>>,
    pin_source: Option<PathBuf>,
}

impl Uri {
    fn parse(text: &str) -> Result<Self> {
        let (path, query) = text.strip_prefix(SCHEME).unwrap_or(text).split_once('?').unwrap_or((text, ""));
        let path = path.strip_prefix(SCHEME).unwrap_or(path);
        let mut members: Vec<(&str, Vec<u8>)> = Vec::new();
        for part in path.split(';').chain(query.split('&')).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| invalid(&format!("{part:?} has no value")))?;
            if name == "pin-value" {
                return Err(invalid("a PIN in an argument can be read by everybody on the machine"));
            }
            if members.iter().any(|(earlier, _)| *earlier == name) {
                return Err(invalid(&format!("{name} stands there twice")));
            }
            members.push((name, decoded(value).ok_or_else(|| invalid(&format!("{name} is not percent-encoded")))?));
        }
        let mut take = |name: &str| {
            let at = members.iter().position(|(found, _)| *found == name)?;
            Some(members.swap_remove(at).1)
        };
        let id = take("id");
        let mut text = |name: &str| {
            let value =
                take(name).map(|bytes| String::from_utf8(bytes).map_err(|_| invalid(&format!("{name} is not UTF-8"))));
            value.transpose()
        };
        let (token, serial, object) = (text("token")?, text("serial")?, text("object")?);
        let module = text("module-path")?.map(PathBuf::from).filter(|path| path.is_absolute());
        let pin_source =
            text("pin-source")?.map(|source| PathBuf::from(source.strip_prefix("file:").unwrap_or(&source)));
        if text("type")?.is_some_and(|kind| kind != "private") {
            return Err(invalid("its type is not private"));
        }
        if let Some((other, _)) = members.first() {
            return Err(invalid(&format!("{other} is not known here")));
        }
        let module = module.ok_or_else(|| invalid("module-path is missing, or not an absolute path"))?;
        if object.is_none() && id.is_none() {
            return Err(invalid("neither object nor id: which key?"));
        }
        Ok(Self { module, token, serial, object, id, pin_source })
    }

    fn pin(&self) -> Result<Zeroizing<String>> {
        let Some(file) = &self.pin_source else {
            let pin = std::env::var(PIN).map(Zeroizing::new);
            return pin.map_err(|_| {
                Error::new(ErrorId::NoCredential, "no PIN for the token")
                    .hint(format!("give pin-source in the URI, or set {PIN}"))
            });
        };
        let text = read_pin(file).map_err(|e| Error::from(e).on(file.display()))?;
        Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn read_pin(file: &Path) -> std::io::Result<Zeroizing<String>> {
    use std::io::Read;
    let mut text = Zeroizing::new(String::with_capacity(MAX_PIN as usize + 1));
    std::fs::File::open(file)?.take(MAX_PIN).read_to_string(&mut text)?;
    Ok(text)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    Some(out)
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorId::InvalidArgument, format!("not the URI of a key: {what}"))
        .hint("for example 'pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_one_key_and_never_a_pin() {
        let uri = Uri::parse(
            "pkcs11:token=my%20token;object=k;id=%01%ff;type=private?module-path=/m.so&pin-source=file:/pin",
        )
        .unwrap();
        assert_eq!((uri.token.as_deref(), uri.object.as_deref()), (Some("my token"), Some("k")));
        assert_eq!((uri.id, uri.pin_source), (Some(vec![1, 0xff]), Some(PathBuf::from("/pin"))));
        for bad in [
            "pkcs11:token=t?module-path=/m.so",
            "pkcs11:object=k",
            "pkcs11:object=k?module-path=m.so",
            "pkcs11:object=k?module-path=/m.so&pin-value=1234",
            "pkcs11:object=k;object=l?module-path=/m.so",
            "pkcs11:object=%zz?module-path=/m.so",
            "pkcs11:object=k;other=1?module-path=/m.so",
            "pkcs11:object=k;type=cert?module-path=/m.so",
        ] {
            assert_eq!(Uri::parse(bad).unwrap_err().id(), ErrorId::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn numbers_of_a_signature_become_integers_in_their_shortest_form() {
        assert_eq!(to_der(&[0, 1, 0x80, 0]), [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 0]);
        assert_eq!(to_der(&[0, 0, 0, 0]), [0x30, 6, 2, 1, 0, 2, 1, 0]);
    }
}
