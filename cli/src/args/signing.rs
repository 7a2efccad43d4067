//! `vault sign` and `vault verify`: signatures of models, and whose are believed.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use model_vault::identity::signer::SignerName;
use model_vault::manifest::oms::Requirement;
use model_vault::names::{KeyId, Name};

use super::key;

/// `vault verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// Artifact of the vault, portable sealed file, or signed model on disk
    #[arg(value_name = "REF|FILE.mvlt|PATH")]
    pub what: String,
    /// Check a file without its key: seal signatures and ciphertext only
    #[arg(long)]
    pub keyless: bool,
    /// Trusted signers.
    #[command(flatten)]
    pub signers: Signers,
    /// Of a signed model.
    #[command(flatten)]
    pub model: VerifyModel,
}

/// `vault verify PATH`
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Signed models",
    group = ArgGroup::new("authorities").args(["ca", "trust"]).multiple(true)
)]
pub struct VerifyModel {
    /// Public key of a signer you trust (PEM); may be repeated
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// A signer of the trust store (key ls); '*': any; may be repeated
    #[arg(long, value_name = "NAME")]
    pub trust: Vec<key::Trusted>,
    /// Certificates of authorities whose signers you trust (PEM)
    #[arg(long, value_name = "FILE")]
    pub ca: Vec<PathBuf>,
    /// Only signers of this name: dns:, uri:, email:, spiffe://; may be repeated
    #[arg(long, value_name = "NAME")]
    pub signer_name: Vec<SignerName>,
    /// Trust keyless signatures by this trusted_root.json (Sigstore)
    #[arg(long, value_name = "FILE", requires_all = ["signer_name", "issuer"])]
    pub sigstore_root: Option<PathBuf>,
    /// Who vouched for the name of a keyless signer
    #[arg(long, value_name = "URL", requires = "sigstore_root")]
    pub issuer: Option<String>,
    /// Revocation list of an authority (PEM or DER); may be repeated
    #[arg(long, value_name = "FILE", requires = "authorities")]
    pub crl: Vec<PathBuf>,
    /// The signature [default: model.sig in it, FILE.sig beside a file]
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// What must have signed: ed25519,ml-dsa-65 (all), or 2-of-3:KEYID,KEYID,KEYID; may be repeated
    #[arg(long, value_name = "WHAT")]
    pub require: Vec<Requirement>,
    /// Accept what nobody signed at this path in it; may be repeated
    #[arg(long, value_name = "PATH")]
    pub ignore: Vec<String>,
    /// Accept files that nobody signed
    #[arg(long)]
    pub ignore_unsigned_files: bool,
}

impl VerifyModel {
    /// Whether any of these was given.
    pub fn given(&self) -> bool {
        let Self {
            key,
            trust,
            ca,
            signer_name,
            sigstore_root,
            issuer,
            crl,
            signature,
            require,
            ignore,
            ignore_unsigned_files,
        } = self;
        let lists = [
            key.is_empty(),
            trust.is_empty(),
            ca.is_empty(),
            signer_name.is_empty(),
            crl.is_empty(),
            require.is_empty(),
            ignore.is_empty(),
        ];
        let some = sigstore_root.is_some() || issuer.is_some() || signature.is_some();
        lists.contains(&false) || some || *ignore_unsigned_files
    }
}

/// `vault sign`
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("signer").args(["key", "identity"]).multiple(true).required(true),
    after_help = "ECDSA keys sign model.sig, which every OpenSSF verifier reads, the others claims.jsonl; a version has them \
attached (vault attest ls)."
)]
pub struct Sign {
    /// File or directory to sign, or a version of the vault
    #[arg(value_name = "PATH|REF")]
    pub what: String,
    /// Private keys (PEM, or pkcs11:... on a token); may be repeated
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// Identity of the vault, which key new made
    #[arg(long, value_name = "NAME")]
    pub identity: Option<Name>,
    /// Only model.sig, by the ECDSA key
    #[arg(long, conflicts_with = "pq")]
    pub oms_only: bool,
    /// Refuse unless an ML-DSA-65 key signs too
    #[arg(long)]
    pub pq: bool,
    /// Certificates of the ECDSA key (PEM), its own first; the root may be left out
    #[arg(long, value_name = "FILE")]
    pub cert_chain: Option<PathBuf>,
    /// Where the signature goes [default: model.sig in it, FILE.sig beside a file]
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// Hash of the files
    #[arg(long, value_name = "HASH", default_value = "sha256", value_parser = ["sha256", "blake3"])]
    pub hash: String,
    /// One digest a file, or one a shard, by all cores
    #[arg(long, value_name = "METHOD", default_value = "files", value_parser = ["files", "shards"])]
    pub method: String,
    /// Bytes of a shard, which makes the method shards [default: 1000000000]
    #[arg(long, value_name = "BYTES")]
    pub shard_size: Option<std::num::NonZeroU64>,
    /// Leave out a file or directory within the model; may be repeated
    #[arg(long, value_name = "PATH")]
    pub ignore: Vec<String>,
    /// Follow links to files (never to directories)
    #[arg(long)]
    pub allow_symlinks: bool,
    /// Your earlier signature: what did not change since is not read again
    #[arg(long, value_name = "FILE")]
    pub since: Option<PathBuf>,
    /// With --since: read them too, and refuse what changed without a trace
    #[arg(long, requires = "since")]
    pub paranoid: bool,
    /// Name a single file "." as model_signing 1.1 does and demands
    #[arg(long = "compat-1.1")]
    pub compat_1_1: bool,
}

/// Signers that are required.
#[derive(Debug, Args)]
pub struct Signers {
    /// Accept only signatures by this key (16 or 64 hex digits); may be repeated
    #[arg(long, value_name = "KEYID", value_delimiter = ',', value_parser = KeyIdPrefix::parse)]
    pub require_signer: Vec<KeyIdPrefix>,
    /// Public key of a required signer (SubjectPublicKeyInfo PEM, Ed25519)
    #[arg(long, value_name = "FILE", env = "MODELVAULT_SIGNER_KEY", hide_env_values = true)]
    pub signer_key: Vec<PathBuf>,
}

/// A key id as people type it: the 16 hex digits that are shown, or all 64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyIdPrefix(String);

impl KeyIdPrefix {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex && matches!(text.len(), 16 | 64) {
            Ok(Self(text.into()))
        } else {
            Err("key ids are 16 or 64 lower-case hex digits")
        }
    }

    /// Whether `id` is the key that is meant.
    pub fn names(&self, id: &KeyId) -> bool {
        id.to_string().starts_with(&self.0)
    }
}

impl std::fmt::Display for KeyIdPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
