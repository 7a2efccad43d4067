//! `vault key new`, `vault key show`, and signing with what they make.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model_vault::crypto::random::SystemRandom;
use model_vault::crypto::sign::{Algorithm, Identity, SigningKey, VerifyingKey};
use model_vault::facts::{IdentityFacts, IdentityKeyFacts};
use model_vault::home::create_file;
use model_vault::manifest::oms::Bundle;
use model_vault::names::Name;
use model_vault::vault::{identity_facts, key_facts};
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::Context;
use crate::args;
use crate::args::key::{New, Show};
use crate::files::on;
use crate::output::table::facts;
use crate::session::Access;

/// The JSON document of `vault key new` and `vault key show`.
#[derive(Debug, Serialize)]
struct Shown {
    name: Name,
    /// Private keys, if they are not the vault's.
    file: Option<PathBuf>,
    /// Public keys beside them.
    public: Option<PathBuf>,
    keys: Vec<IdentityKeyFacts>,
}

/// `vault key new`
pub fn new(cx: &Context<'_>, args: &New) -> Result<()> {
    let shown = match &args.output {
        Some(file) => in_file(args, file)?,
        None => {
            let client = cx.session.client()?;
            let made = cx.session.wait(client.new_identity(&args.name, args.pq))?;
            Shown { name: made.name, file: None, public: None, keys: made.keys }
        }
    };
    cx.out.report(&shown, |s| {
        let place = |path: &Option<PathBuf>| path.as_ref().map(|p| p.display().to_string());
        let keys = s.keys.iter().map(|key| format!("{} {}", key.algorithm, key.keyid.short())).collect::<Vec<_>>();
        facts([
            ("identity", Some(s.name.to_string())),
            ("keys", Some(keys.join(", "))),
            ("private keys", Some(place(&s.file).unwrap_or_else(|| "in the vault".into()))),
            ("public keys", place(&s.public)),
        ])
    })?;
    cx.out.message(match &shown.public {
        Some(public) => format!("others trust it: vault key trust {} --key {}", shown.name, public.display()),
        None => format!("it is trusted here; for others: vault key show {} > {}.pub.pem", shown.name, shown.name),
    });
    Ok(())
}

/// Both files or none.
fn in_file(args: &New, file: &Path) -> Result<Shown> {
    let public = file.with_extension("pub.pem");
    if public == *file {
        return Err(Error::new(ErrorId::InvalidArgument, format!("{} is a name for public keys", file.display()))
            .hint("name the file of private keys NAME.pem"));
    }
    // Looked at before anything is made; when it is made, neither takes the place of anything.
    for path in [file, &public] {
        if path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
    }
    let identity = Identity::generate(args.pq, &SystemRandom)?;
    let told = identity_facts(&args.name, &identity)?;
    let text: String = told.keys.iter().map(|key| &*key.pem).collect();
    make(file, identity.to_pem()?.as_bytes())?;
    let published = make(&public, text.as_bytes())
        .and_then(|()| std::fs::set_permissions(&public, Permissions::from_mode(0o644)).map_err(on(&public)));
    if let Err(e) = published {
        // A key that was made a moment ago, and that nobody has seen.
        drop(std::fs::remove_file(file));
        return Err(e);
    }
    Ok(Shown { name: told.name, file: Some(file.into()), public: Some(public), keys: told.keys })
}

fn make(path: &Path, bytes: &[u8]) -> Result<()> {
    create_file(path, bytes).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => on(path)(e),
    })
}

fn exists(path: &Path) -> Error {
    Error::new(ErrorId::AlreadyExists, format!("{} exists already", path.display()))
        .hint("keys are never overwritten: name another file")
}

/// `vault key show`
pub fn show(cx: &Context<'_>, args: &Show) -> Result<()> {
    let IdentityFacts { name, keys } = match (&args.name, &args.namespace) {
        (_, Some(namespace)) => of_namespace(cx, namespace)?,
        (Some(name), None) => held(cx, name)?,
        (None, None) => {
            return Err(Error::new(ErrorId::InvalidArgument, "neither an identity nor a namespace is named"));
        }
    };
    let shown = Shown { name, file: None, public: None, keys };
    for key in &shown.keys {
        cx.out.message(format!("{} {}", key.algorithm, key.keyid));
    }
    // As it is: it is meant to be saved and given to others.
    cx.out.report(&shown, |s| s.keys.iter().map(|key| &*key.pem).collect())
}

/// What the vault signs with in a namespace: what is sealed there without another signer, and where its tags point.
fn of_namespace(cx: &Context<'_>, namespace: &Name) -> Result<IdentityFacts> {
    let client = cx.session.client()?;
    // Its own key comes first; the others are those of publishers that it trusts.
    let own = cx.session.wait(client.signers(namespace))?.into_iter().next();
    let key = own.ok_or_else(|| Error::new(ErrorId::NotFound, format!("no key of namespace {namespace}")))?;
    Ok(IdentityFacts { name: namespace.clone(), keys: vec![key_facts(&key.into())] })
}

/// An identity that the vault holds.
fn held(cx: &Context<'_>, name: &Name) -> Result<IdentityFacts> {
    let client = cx.session.client()?;
    let identities = cx.session.wait(client.read_signers())?.identities;
    identities.into_iter().find(|identity| identity.name == *name).ok_or_else(|| {
        Error::new(ErrorId::NotFound, format!("no identity {name}"))
            .hint("vault key ls shows those the vault holds; vault key new makes one")
    })
}

/// Who signs a model: keys from files, and an identity of the vault.
pub struct Signers {
    keys: Vec<SigningKey>,
    identity: Option<(Name, Vec<VerifyingKey>)>,
    oms_only: bool,
}

/// A signature that was made.
pub struct Signature {
    /// The key that made it.
    pub key: VerifyingKey,
    /// The signed statement.
    pub bundle: Bundle,
}

impl Signers {
    /// Whoever the arguments name, before anything is hashed.
    ///
    /// # Errors
    /// `InvalidArgument` for more than one ECDSA key, or for one that is missing; those of the files and of the vault.
    pub fn of(cx: &Context<'_>, args: &args::Sign) -> Result<Self> {
        let signers = Self { oms_only: args.oms_only, ..Self::named(cx, &args.key, args.identity.as_ref())? };
        if let Some(twice) = signers.public().enumerate().find(|(i, key)| signers.public().take(*i).any(|k| k == *key))
        {
            let what = format!("the key {} is given twice", twice.1.key_id().short());
            return Err(Error::new(ErrorId::InvalidArgument, what).hint("a key signs once: check --key"));
        }

        if signers.public().filter(|key| is_ecdsa(key)).count() > 1 {
            return Err(Error::new(ErrorId::InvalidArgument, "more than one ECDSA key")
                .hint("a signature file carries one; sign with the other into another file (--signature)"));
        }
        let missing = |what: &str, hint: &str| Err(Error::new(ErrorId::InvalidArgument, what).hint(hint));
        if args.oms_only && signers.ecdsa().is_none() {
            return missing(
                "--oms-only takes an ECDSA key, and none is given",
                "vault key new makes an identity with one",
            );
        }
        if args.pq && !signers.public().any(|key| key.algorithm() == Algorithm::MlDsa65) {
            return missing("--pq takes an ML-DSA-65 key, and none is given", "vault key new NAME --pq makes one");
        }
        Ok(signers)
    }

    /// Keys from files, and an identity of the vault.
    ///
    /// # Errors
    /// Those of the files and of the vault.
    pub fn named(cx: &Context<'_>, files: &[PathBuf], identity: Option<&Name>) -> Result<Self> {
        let keys = files.iter().map(|path| SigningKey::read_all(path)).collect::<Result<Vec<_>>>()?;
        let identity = match identity {
            None => None,
            Some(name) => {
                let keys = held(cx, name)?.keys;
                let parsed = keys.iter().map(|key| VerifyingKey::from_pem(key.pem.as_bytes()).map_err(Error::from));
                Some((name.clone(), parsed.collect::<Result<_>>()?))
            }
        };
        Ok(Self { keys: keys.into_iter().flatten().collect(), identity, oms_only: false })
    }

    /// A key of a file.
    pub fn local(&self) -> Option<&SigningKey> {
        self.keys.first()
    }

    /// The key of the bundle that every OpenSSF verifier reads.
    pub fn ecdsa(&self) -> Option<&VerifyingKey> {
        self.public().find(|key| is_ecdsa(key))
    }

    /// Signs; the ECDSA signature is first, if there is one. `chain`: certificates of its key.
    ///
    /// # Errors
    /// Those of the keys and of the vault.
    pub fn sign(&self, cx: &Context<'_>, payload: &[u8], chain: Option<Vec<Vec<u8>>>) -> Result<Vec<Signature>> {
        let chain_of = |key: &VerifyingKey| chain.clone().filter(|_| is_ecdsa(key));
        let mut made = Vec::new();
        for key in &self.keys {
            let bundle = Bundle::sign(payload.to_vec(), key, chain_of(key.public()))?;
            made.push(Signature { key: key.public().clone(), bundle });
        }
        if let Some((name, known)) = &self.identity {
            let signed = match cx.session.access()? {
                Access::Local(vault) => vault.sign_statement(&cx.session.caller(&vault)?, name, payload)?,
                Access::Remote(client) => cx.session.wait(client.sign_statement(name, payload))?,
            };
            for (key, signature) in signed.into_iter().filter(|(key, _)| known.contains(key)) {
                let bundle = Bundle::signed(payload.to_vec(), &key, signature, chain_of(&key))?;
                made.push(Signature { key, bundle });
            }
        }
        made.retain(|signature| !self.oms_only || is_ecdsa(&signature.key));
        made.sort_by_key(|signature| !is_ecdsa(&signature.key));
        Ok(made)
    }

    /// All of them.
    pub fn public(&self) -> impl Iterator<Item = &VerifyingKey> + Clone {
        let held = self.identity.iter().flat_map(|(_, keys)| keys);
        self.keys.iter().map(SigningKey::public).chain(held)
    }
}

/// Whether OpenSSF verifiers read signatures of this key.
pub fn is_ecdsa(key: &VerifyingKey) -> bool {
    matches!(key.algorithm(), Algorithm::EcdsaP256 | Algorithm::EcdsaP384 | Algorithm::EcdsaP521)
}
