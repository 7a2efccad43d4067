//! The signed statements about the versions of a dataset, and whose are believed.

use model_vault::crypto::hash::sha256;
use model_vault::crypto::sign::VerifyingKey;
use model_vault::dataset::Chain;
use model_vault::manifest::oms::Bundle;
use model_vault::{Error, ErrorId, Result};

use crate::args::{Believed, Others};
use crate::command::Context;
use crate::command::identity::Signers;
use crate::command::trusted::Store;

/// All statements there are, whoever signed them.
pub struct Statements {
    /// Where they are, for messages.
    pub place: String,
    /// One for each version and key.
    pub bundles: Vec<Bundle>,
    /// What makes some.
    hint: &'static str,
}

impl Statements {
    /// From a text of a bundle a line.
    ///
    /// # Errors
    /// `BundleMalformed`, with the line.
    pub fn of(place: String, text: &[u8]) -> Result<Self> {
        let lines = text.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
        let bundle = |(n, line): (usize, &[u8])| {
            Bundle::from_json(line).map_err(|e| Error::from(e).on(format!("{place}, line {}", n + 1)))
        };
        let bundles = lines.map(bundle).collect::<Result<_>>()?;
        Ok(Self { place, bundles, hint: "vault dataset sign makes it" })
    }

    /// None at all.
    pub fn none(place: String, hint: &'static str) -> Self {
        Self { place, bundles: Vec::new(), hint }
    }

    /// The versions that trusted signers signed, and the keys that signed the newest.
    ///
    /// # Errors
    /// `SignatureMissing`, `SignatureInvalid`; as [`Chain::of`].
    pub fn chain(&self, cx: &Context<'_>, believed: &Believed) -> Result<(Chain, Vec<VerifyingKey>)> {
        self.chain_by(&trusted(cx, believed)?)
    }

    /// The same of these keys.
    ///
    /// # Errors
    /// As [`chain`](Self::chain).
    pub fn chain_by(&self, keys: &[VerifyingKey]) -> Result<(Chain, Vec<VerifyingKey>)> {
        if self.bundles.is_empty() {
            return Err(self.missing());
        }
        let of = |e: Error| e.on(&self.place);
        let (good, _) = believe(&self.bundles, keys).map_err(of)?;
        let chain = Chain::of(good).map_err(of)?;
        let newest: Vec<_> =
            self.bundles.iter().filter(|b| sha256(&b.payload) == chain.newest().digest).cloned().collect();
        let (_, signers) = believe(&newest, keys).map_err(of)?;
        Ok((chain, signers))
    }

    fn missing(&self) -> Error {
        Error::new(ErrorId::SignatureMissing, format!("{}: no such file", self.place)).hint(self.hint)
    }
}

/// The keys that are believed.
///
/// # Errors
/// `InvalidArgument` for none; those of the keys and the trust store.
pub fn trusted(cx: &Context<'_>, believed: &Believed) -> Result<Vec<VerifyingKey>> {
    let store = Store::read(cx, &believed.trust)?;
    let given = believed.key.iter().map(|file| VerifyingKey::read_all(file)).collect::<Result<Vec<_>>>()?;
    let mut keys = store.unrevoked(given.concat())?;
    keys.extend(store.keys().map(|(_, key)| key.clone()));
    if keys.is_empty() {
        return Err(Error::new(
            ErrorId::InvalidArgument,
            "no signer is trusted: a signature by anybody proves nothing",
        )
        .hint("give the signer's public key with --key FILE, or its name in the trust store with --trust NAME"));
    }
    Ok(keys)
}

/// The keys that are believed about other datasets and about training: those of who signs, and those that are named for it.
///
/// # Errors
/// Those of the keys and the trust store.
pub fn trusted_others(cx: &Context<'_>, signers: &Signers, others: &Others) -> Result<Vec<VerifyingKey>> {
    let mut keys: Vec<_> = signers.public().cloned().collect();
    if !(others.trust.is_empty() && others.trust_key.is_empty()) {
        keys.extend(trusted(cx, &Believed { key: others.trust_key.clone(), trust: others.trust.clone() })?);
    }
    Ok(keys)
}

/// Says how somebody else is believed, where nobody is.
pub fn or_trust(e: Error) -> Error {
    match e.id() {
        ErrorId::SignatureMissing => e.hint("name its signer: --trust-key FILE, or --trust NAME"),
        _ => e,
    }
}

/// What these keys signed, and which of them did.
///
/// # Errors
/// `SignatureInvalid` for what says that one of them signed it.
pub fn believe<'a>(bundles: &'a [Bundle], keys: &[VerifyingKey]) -> Result<(Vec<&'a [u8]>, Vec<VerifyingKey>)> {
    let (mut payloads, mut signers) = (Vec::new(), Vec::new());
    for bundle in bundles {
        let mut named = keys.iter().filter(|key| bundle.names(key)).peekable();
        let claimed = named.peek().is_some();
        match named.find(|key| bundle.verify(key).is_ok()) {
            Some(key) => {
                payloads.push(&*bundle.payload);
                signers.push(key.clone());
            }
            None if claimed => return Err(Error::new(ErrorId::SignatureInvalid, "a signature does not verify")),
            None => {}
        }
    }
    Ok((payloads, signers))
}
