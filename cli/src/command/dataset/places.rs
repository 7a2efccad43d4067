//! Where the statement of a dataset and the hashes of its records lie: in its directory, or beside its file.

use std::path::{Path, PathBuf};

use model_vault::crypto::hash::sha256;
use model_vault::crypto::sign::VerifyingKey;
use model_vault::dataset::{Chain, Folder, Format, Schema};
use model_vault::files::Ignored;
use model_vault::manifest::oms::{Bundle, MAX_BUNDLE_LEN};
use model_vault::{Error, ErrorId, Result, json};

use crate::args::{Believed, Others};
use crate::command::Context;
use crate::command::identity::Signers;
use crate::command::trusted::Store;
use crate::files::signature::read_signatures;
use crate::files::{on, read_small};

/// In a directory; `.NAME` is put before it beside a file.
const STATEMENT: &str = "dataset.sig";
const RECORDS: &str = "dataset.tree";
const MAX_SCHEMA: u64 = 4 << 20;

/// The two places.
pub struct Places {
    /// Signed statements of all versions: a bundle a line.
    pub statement: PathBuf,
    /// The hashes of the records, in a directory a file.
    pub records: PathBuf,
    /// Within the dataset: what is signed is without them.
    own: Vec<String>,
}

impl Places {
    /// Of a dataset that is there.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn of(path: &Path) -> Result<Self> {
        let facts = path.metadata().map_err(on(path))?;
        if facts.is_dir() {
            let own = vec![STATEMENT.into(), RECORDS.into(), format!("{RECORDS}.new")];
            return Ok(Self { statement: path.join(STATEMENT), records: path.join(RECORDS), own });
        }
        let beside = |name: &str| {
            let mut file = path.as_os_str().to_owned();
            file.push(".");
            file.push(name);
            PathBuf::from(file)
        };
        Ok(Self { statement: beside(STATEMENT), records: beside(RECORDS), own: Vec::new() })
    }

    /// Where the hashes of one file's records lie.
    pub fn records_of(&self, file: &str) -> PathBuf {
        self.records.join(file)
    }

    /// Where the next signing keeps them until all is measured, if that is within the dataset.
    pub fn unfinished(&self) -> Option<PathBuf> {
        (!self.own.is_empty()).then(|| self.records.with_extension("tree.new"))
    }

    /// What is kept beside a file: `pieces`, `contributors`. It is not trusted yet.
    ///
    /// # Errors
    /// `NotFound`; `DatasetChanged` for what is no file, or has more bytes than it can have.
    pub fn beside(&self, file: &str, what: &str, most: u64) -> Result<Vec<u8>> {
        let path = self.records_of(file).join(what);
        read_small(&path, most).map_err(on(&path)).map_err(|e| match e.id() {
            ErrorId::InvalidArgument => not_signed(&e),
            _ => e,
        })
    }

    /// The files of the dataset, without these.
    ///
    /// # Errors
    /// As [`Folder::find`].
    pub fn folder(&self, path: &Path, format: Option<Format>) -> Result<Folder> {
        Folder::find(path, Ignored::new(self.own.iter().cloned()), format)
    }

    /// The files of a dataset that was signed, which had neither links nor pipes.
    ///
    /// # Errors
    /// `DatasetChanged` for what no dataset has; else as [`folder`](Self::folder).
    pub fn signed_folder(&self, path: &Path) -> Result<Folder> {
        self.folder(path, None).map_err(|e| match e.id() {
            ErrorId::InvalidArgument => not_signed(&e),
            _ => e,
        })
    }

    /// All statements there are, whoever signed them; none if there is no such file.
    ///
    /// # Errors
    /// `BundleMalformed`, with the line.
    pub fn bundles(&self) -> Result<Vec<Bundle>> {
        if !self.statement.exists() {
            return Ok(Vec::new());
        }
        let text = read_signatures(&self.statement)?;
        let lines = text.split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
        let bundle = |(n, line): (usize, &[u8])| {
            Bundle::from_json(line)
                .map_err(|e| Error::from(e).on(format!("{}, line {}", self.statement.display(), n + 1)))
        };
        lines.map(bundle).collect()
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
        let bundles = self.bundles()?;
        if bundles.is_empty() {
            return Err(self.missing());
        }
        let of = |e: Error| e.on(self.statement.display());
        let (good, _) = believe(&bundles, keys).map_err(of)?;
        let chain = Chain::of(good).map_err(of)?;
        let newest: Vec<_> = bundles.into_iter().filter(|b| sha256(&b.payload) == chain.newest().digest).collect();
        let (_, signers) = believe(&newest, keys).map_err(of)?;
        Ok((chain, signers))
    }

    fn missing(&self) -> Error {
        Error::new(ErrorId::SignatureMissing, format!("{}: no such file", self.statement.display()))
            .hint("vault dataset sign makes it")
    }

    /// The text of the statement file with further bundles.
    ///
    /// # Errors
    /// `LimitExceeded` where nobody would read it any more.
    pub fn with(bundles: &[Bundle]) -> Result<Vec<u8>> {
        let text: String = bundles.iter().map(|bundle| bundle.to_json() + "\n").collect();
        if text.len() as u64 > MAX_BUNDLE_LEN {
            return Err(Error::new(ErrorId::LimitExceeded, "the statements of all versions are larger than 64 MiB")
                .hint("move dataset.sig away, and sign anew; fewer, larger files make statements short"));
        }
        Ok(text.into_bytes())
    }
}

/// What is there is something that cannot have been signed.
pub fn not_signed(e: &Error) -> Error {
    Error::new(ErrorId::DatasetChanged, format!("it is not what was signed: {}", e.message()))
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

/// `--schema`
///
/// # Errors
/// `InvalidArgument`.
pub fn schema(file: &Path) -> Result<Schema> {
    let text = read_small(file, MAX_SCHEMA).map_err(on(file))?;
    let value = json::parse(&text, 8)
        .map_err(|e| Error::new(ErrorId::InvalidArgument, format!("not JSON: {e}")).on(file.display()))?;
    Schema::from_json(&value).map_err(|e| e.on(file.display()))
}
