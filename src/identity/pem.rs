//! PEM (RFC 7468): exactly one section of the wanted kind.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorId, Result};

/// One section with lines of 64 characters. Every copy made on the way is wiped, as it may be a key.
pub(super) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    // Room for all of it at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for start in (0..body.len()).step_by(64) {
        text.push_str(&body[start..body.len().min(start + 64)]);
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// The one section of type `T` in `text`; `what` names it in the error.
///
/// # Errors
/// `BadCredential` if there is none, more than one, or one that is not PEM.
pub(super) fn decode_one<T: PemObject>(text: &[u8], what: &str) -> Result<T> {
    let bad = |why: String| Error::new(ErrorId::BadCredential, format!("{what}: {why}"));
    let mut sections = T::pem_slice_iter(text);
    let first = match sections.next() {
        Some(section) => section.map_err(|e| bad(format!("not PEM: {e}")))?,
        None => return Err(bad("no such PEM section".into())),
    };
    match sections.next() {
        None => Ok(first),
        Some(_) => Err(bad("more than one PEM section".into())),
    }
}
