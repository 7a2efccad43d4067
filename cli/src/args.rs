//! The grammar of the command line (`contracts/cli-grammar.txt` is made from it; DESIGN: "The command line").
//!
//! Every set-up flag has an environment twin `MODELVAULT_*`; another product's `VAULT_*` is never read.

mod attest;
mod audit;
mod config;
mod group;
mod intel;
pub mod key;
mod label;
mod login;
pub mod mfa;
mod policy;
mod quarantine;
mod quota;
mod replay;
mod sink;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand};
use model_vault::identity::signer::SignerName;
use model_vault::manifest::oms::Requirement;
use model_vault::names::{ArtifactKind, KeyId, Name, Reference, Tag};

pub use attest::{Attest, AttestAdd, AttestLs, AttestVerify};
pub use audit::{Audit, AuditExport, AuditProve, AuditTail, AuditVerify};
pub use config::{Config, ConfigCheck, ConfigGet, ConfigSet};
pub use group::{Group, GroupChange};
pub use intel::{Intel, IntelImport};
pub use label::Label;
pub use login::{Login, Logout, Session, SessionRevoke, Whoami};
pub use policy::{Policy, PolicyCheck, PolicyExplain, PolicyGet, PolicyLog, PolicySet, PolicyTest};
pub use quarantine::{HoldCommon, HoldKind, Quarantine, Release};
pub use quota::{Quota, QuotaGet, QuotaReset};
pub use replay::{AuditReplay, AuditSimulate};
pub use sink::Sink;

/// Sealed, signed, policy-gated storage and verified streaming for models and training data
#[derive(Debug, Parser)]
#[command(
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Cli {
    /// Settings that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Directory of the vault
    #[arg(long, global = true, value_name = "DIR", env = "MODELVAULT_HOME", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// Context of the configuration file
    #[arg(long, global = true, value_name = "NAME", env = "MODELVAULT_CONTEXT", hide_env_values = true)]
    pub context: Option<String>,
    /// Read the passphrase from a file
    #[arg(long, global = true, value_name = "FILE", env = "MODELVAULT_PASSPHRASE_FILE", hide_env_values = true)]
    pub passphrase_file: Option<PathBuf>,
    /// Take the passphrase from the output of a command
    #[arg(long, global = true, value_name = "COMMAND", env = "MODELVAULT_PASSPHRASE_COMMAND", hide_env_values = true)]
    pub passphrase_command: Option<String>,
    /// Key file that opens the vault
    #[arg(long, global = true, value_name = "FILE", env = "MODELVAULT_KEY_FILE", hide_env_values = true)]
    pub key_file: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        env = "MODELVAULT_COLOR",
        default_value = "auto",
        hide_env_values = true,
        value_parser = When::parser()
    )]
    pub color: When,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl When {
    fn parser() -> impl TypedValueParser<Value = Self> {
        // Known words only come through.
        PossibleValuesParser::new(["auto", "always", "never"]).map(|word| match &*word {
            "always" => Self::Always,
            "never" => Self::Never,
            _ => Self::Auto,
        })
    }
}

/// The commands, daily verbs first.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play the whole story on this machine: seal, serve, fetch, and be refused
    Quickstart(Quickstart),
    /// Make a vault
    Init(Init),
    /// Seal a file or directory into the vault, or into a portable file
    Seal(Seal),
    /// Decrypt an artifact of the vault, or a portable file
    Open(Open),
    /// Show what a sealed artifact or file is, without opening it
    Inspect(Inspect),
    /// List artifacts and their versions
    Ls(Ls),
    /// Point a tag at a version
    Tag(SetTag),
    /// Unlist an artifact or version, or take that back
    Rm(Rm),
    /// Destroy the key of a version: nobody opens it again
    Shred(mfa::Shred),
    /// Sign a model, on disk or in the vault, for whoever verifies OpenSSF model signatures
    Sign(Sign),
    /// Check every byte and signature of an artifact, a sealed file, or a signed model on disk
    Verify(Verify),
    /// Attach, list and check signed statements about a version
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Attest(Attest),
    /// Take a portable sealed file into the vault
    Import(Import),
    /// Write an artifact's sealed bytes to a file, still encrypted
    Export(Export),
    /// Fetch an artifact from a daemon, as a workload, and verify it
    Fetch(Fetch),
    /// Run the daemon
    Serve(Serve),
    /// Show the state of the vault
    Status,
    /// Check this machine and the vault for trouble
    Doctor,
    /// Show who you are to the vault
    Whoami(Whoami),
    /// Prove who you are: use your second factor, or exchange a token
    Login(Login),
    /// End what login opened
    Logout(Logout),
    /// List and revoke sessions of those who came with a token
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Session(Session),
    /// Enrol a second factor, show it, take it away
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Mfa(mfa::Mfa),
    /// Approve what others may not do alone
    Approve(mfa::Approve),
    /// Enrol and revoke workloads
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Workload(Workload),
    /// Let a workload read an artifact
    Grant(Grant),
    /// Say who is in which group, for policies
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Group(Group),
    /// Show or change labels, collection and classification of an artifact, for policies
    Label(Label),
    /// Make keys to sign with, and say whose signatures are believed
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Key(key::Key),
    /// Show, replace, check, test and explain the policy
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Policy(Policy),
    /// Say how much callers may do, and see how much they did
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Quota(Quota),
    /// Show, check or replace the settings of a vault
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Config(Config),
    /// Show where the audit log is sent, and how far each receiver is
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Sink(Sink),
    /// Refuse known bad files and keys
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Intel(Intel),
    /// Put principals and artifacts on hold
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Quarantine(Quarantine),
    /// Take holds back
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Release(Release),
    /// Read, check and export the audit log
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Audit(Audit),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page, or write all pages into a directory
    Man(Man),
    /// Show help for a command or a topic
    Help(Help),
}

/// `vault init`
#[derive(Debug, Args)]
#[command(
    after_help = "Without --passphrase-file, --passphrase-command or --key-file the passphrase is asked for on the \
terminal. A key file that does not exist is made."
)]
pub struct Init {}

/// `vault seal`
#[derive(Debug, Args)]
pub struct Seal {
    /// File or directory to seal
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Name of the artifact [default: the file's stem]
    #[arg(long, value_name = "REF")]
    pub name: Option<String>,
    /// What it is
    #[arg(long, value_name = "KIND", default_value = "model", value_parser = ["model", "dataset", "opaque"])]
    pub kind: String,
    /// Tag to move to the new version, besides latest
    #[arg(long, value_name = "TAG")]
    pub tag: Option<Tag>,
    /// Digests of the members: sha256,blake3 or blake3
    #[arg(
        long,
        value_name = "DIGESTS",
        env = "MODELVAULT_DIGEST",
        default_value = "sha256,blake3",
        hide_env_values = true
    )]
    pub digest: Digests,
    /// Sign with this key (PKCS#8 PEM, Ed25519) instead of the vault's
    #[arg(long, value_name = "FILE", env = "MODELVAULT_SIGN_KEY", hide_env_values = true)]
    pub sign_key: Option<PathBuf>,
    /// Sign with this identity of the vault, which key new made
    #[arg(long, value_name = "NAME", conflicts_with = "sign_key")]
    pub identity: Option<Name>,
    /// Write a portable sealed file instead: a new or empty file
    #[arg(short, long, value_name = "FILE.mvlt")]
    pub output: Option<PathBuf>,
    /// Set a rule aside: unsigned (a model signature in the directory need not be good)
    #[arg(long, value_name = "RULE", value_parser = ["unsigned"], requires = "reason")]
    pub allow: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", requires = "allow")]
    pub reason: Option<String>,
    /// Who opens the portable file: a passphrase [default: a key kept in the vault]
    #[arg(long, value_name = "WHOM", value_parser = ["passphrase"], requires = "output")]
    pub to: Option<String>,
}

impl Seal {
    /// The kind; the parser has let only known words through.
    pub fn kind(&self) -> model_vault::Result<ArtifactKind> {
        self.kind.parse()
    }
}

/// `--digest`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256 besides BLAKE3, which is always made.
    pub sha256: bool,
}

impl std::str::FromStr for Digests {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<_> = text.split(',').map(str::trim).collect();
        if words.is_empty() || words.iter().any(|w| !matches!(*w, "sha256" | "blake3")) {
            return Err("digests are sha256,blake3 or blake3");
        }
        Ok(Self { sha256: words.contains(&"sha256") })
    }
}

/// `vault open`
#[derive(Debug, Args)]
pub struct Open {
    /// Artifact of the vault, or a portable sealed file
    #[arg(value_name = "REF|FILE.mvlt")]
    pub what: String,
    /// Where to write: a new or empty file or directory; - is standard output [default: standard output, unless it is a
    /// terminal]
    #[arg(short, long, value_name = "PATH|-")]
    pub output: Option<PathBuf>,
    /// Only this member
    #[arg(long, value_name = "PATH")]
    pub member: Option<String>,
    /// Only these bytes of the member
    #[arg(long, value_name = "A..B")]
    pub range: Option<ByteRange>,
}

/// `--range A..B`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte; `None`: to the end.
    pub end: Option<u64>,
}

impl std::str::FromStr for ByteRange {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "ranges are A..B in bytes, with A <= B; either may be left out";
        let number = |t: &str| {
            // `parse` alone would take a leading plus.
            t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse::<u64>().ok()).flatten().ok_or(RULE)
        };
        let (start, end) = text.split_once("..").ok_or(RULE)?;
        let start = if start.is_empty() { 0 } else { number(start)? };
        let end = if end.is_empty() { None } else { Some(number(end)?) };
        if end.is_some_and(|end| end < start) { Err(RULE) } else { Ok(Self { start, end }) }
    }
}

/// `vault inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// Artifact of the vault, or a portable sealed file
    #[arg(value_name = "REF|FILE.mvlt")]
    pub what: String,
}

/// `vault ls`
#[derive(Debug, Args)]
pub struct Ls {
    /// Artifacts whose NAMESPACE/NAME matches (* stands for any characters); a name alone: all versions of that artifact
    #[arg(value_name = "PATTERN|NAME", default_value = "*", hide_default_value = true)]
    pub pattern: String,
    /// Also what was removed and can still be restored
    #[arg(long)]
    pub all: bool,
}

/// `vault tag`
#[derive(Debug, Args)]
pub struct SetTag {
    /// Version to point at
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// Tag to move or make
    #[arg(value_name = "TAG")]
    pub tag: Tag,
    /// Only if the tag is at this version now (v0: nowhere)
    #[arg(long, value_name = "vN", value_parser = version_number)]
    pub expect: Option<u64>,
}

fn version_number(text: &str) -> Result<u64, &'static str> {
    let digits = text.strip_prefix('v').unwrap_or(text);
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    number.ok_or("versions are v and a number")
}

/// `vault rm`
#[derive(Debug, Args)]
pub struct Rm {
    /// Artifact with all its versions, or with @REVISION one version
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Take a removal back
    #[arg(long)]
    pub restore: bool,
}

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

/// `vault import`
#[derive(Debug, Args)]
pub struct Import {
    /// Portable sealed file
    #[arg(value_name = "FILE.mvlt")]
    pub file: PathBuf,
    /// Name of the artifact [default: the file's stem]
    #[arg(long, value_name = "REF")]
    pub name: Option<String>,
    /// Tag to move to the new version, besides latest
    #[arg(long, value_name = "TAG")]
    pub tag: Option<Tag>,
}

/// `vault export`
#[derive(Debug, Args)]
pub struct Export {
    /// Artifact of the vault
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// Where to write: a new or empty file; - is standard output
    #[arg(short, long, value_name = "FILE.mvlt|-")]
    pub output: PathBuf,
}

/// `vault quickstart`
#[derive(Debug, Args)]
pub struct Quickstart {
    /// File or directory to seal; a small real ONNX model if absent
    #[arg(value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Leave everything in a new directory, to play with
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// `vault fetch`
#[derive(Debug, Args)]
pub struct Fetch {
    /// Artifact to fetch
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// Directory to make, with the artifact's members in it; an empty one may be there
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Daemon [default: the address in the enrolment]
    #[arg(long, value_name = "HOST:PORT", env = "MODELVAULT_SERVER", hide_env_values = true)]
    pub server: Option<String>,
    /// Enrolment directory of the workload
    #[arg(long, value_name = "DIR", env = "MODELVAULT_ENROLMENT", hide_env_values = true)]
    pub enrolment: Option<PathBuf>,
    /// Trusted signers.
    #[command(flatten)]
    pub signers: Signers,
    /// Accept a version older than one seen before, and remember nothing
    #[arg(long)]
    pub no_state: bool,
}

/// `vault serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Address for workloads (mTLS); port 0 takes a free one; none: the socket alone
    #[arg(
        long,
        value_name = "ADDR",
        env = "MODELVAULT_LISTEN",
        default_value = "127.0.0.1:7443",
        hide_env_values = true
    )]
    pub listen: String,
    /// Unix socket for operators [default: the one the command line looks for]
    #[arg(long, value_name = "PATH", env = "MODELVAULT_SOCKET", hide_env_values = true)]
    pub socket: Option<PathBuf>,
    /// Show numbers for Prometheus there, to whoever asks: HOST:PORT, best of the loopback
    #[arg(long, value_name = "ADDR", env = "MODELVAULT_METRICS", hide_env_values = true)]
    pub metrics: Option<String>,
    /// Keep the newest checkpoint of the audit log here too, on another disk: a home that was rolled back contradicts it
    #[arg(long, value_name = "PATH", env = "MODELVAULT_WITNESS", hide_env_values = true)]
    pub witness: Option<PathBuf>,
    /// Do not describe the services to gRPC tools
    #[arg(long, env = "MODELVAULT_NO_REFLECTION", hide_env_values = true)]
    pub no_reflection: bool,
    /// Seconds that running streams get after SIGTERM
    #[arg(long, value_name = "SECONDS", env = "MODELVAULT_DRAIN", default_value_t = 30, hide_env_values = true)]
    pub drain: u64,
}

/// `vault workload`
#[derive(Debug, Subcommand)]
pub enum Workload {
    /// Make a key and a certificate for a workload
    Enroll(Enroll),
    /// Replace the certificate of an enrolment while it is valid
    Renew(Renew),
    /// List workloads
    Ls,
    /// Refuse a workload, or one of its certificates, from now on
    Revoke(Revoke),
}

/// `vault workload enroll`
#[derive(Debug, Args)]
pub struct Enroll {
    /// Name of the workload
    #[arg(value_name = "NAME")]
    pub name: Name,
    /// Directory to make, with the key, the certificate and what the workload trusts
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Namespace of the workload
    #[arg(long, value_name = "NAMESPACE", env = "MODELVAULT_NAMESPACE", default_value = Reference::DEFAULT_NAMESPACE, hide_env_values = true)]
    pub namespace: Name,
}

/// `vault workload renew`
#[derive(Debug, Args)]
pub struct Renew {
    /// Enrolment directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Daemon [default: the address in the enrolment]
    #[arg(long, value_name = "HOST:PORT", env = "MODELVAULT_SERVER", hide_env_values = true)]
    pub server: Option<String>,
}

/// `vault workload revoke`
#[derive(Debug, Args)]
pub struct Revoke {
    /// Name of the workload
    #[arg(value_name = "NAME")]
    pub name: Name,
    /// Namespace of the workload
    #[arg(long, value_name = "NAMESPACE", env = "MODELVAULT_NAMESPACE", default_value = Reference::DEFAULT_NAMESPACE, hide_env_values = true)]
    pub namespace: Name,
    /// Only the certificate with this serial number (hex)
    #[arg(long, value_name = "SERIAL", value_parser = Serial::parse)]
    pub serial: Option<Serial>,
}

/// A certificate's serial number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial(pub Vec<u8>);

impl Serial {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "serial numbers are pairs of hex digits, with or without colons";
        let digits: Vec<u32> = text
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16))
            .collect::<Option<_>>()
            .filter(|d: &Vec<_>| !d.is_empty() && d.len().is_multiple_of(2))
            .ok_or(RULE)?;
        Ok(Self(digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()))
    }
}

/// `vault grant`
#[derive(Debug, Args)]
pub struct Grant {
    /// Workload: [NAMESPACE/]NAME
    #[arg(value_name = "WORKLOAD")]
    pub workload: String,
    /// Artifact with all its versions: [NAMESPACE/]NAME
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Take the grant back
    #[arg(long)]
    pub revoke: bool,
}

/// `vault completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// `vault man`
#[derive(Debug, Args)]
pub struct Man {
    /// Directory for one page a command [default: print the main page]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// `vault help`
#[derive(Debug, Args)]
pub struct Help {
    /// Command, or topic: references, credentials, environment, exit-codes
    #[arg(value_name = "TOPIC", num_args = 0..)]
    pub topic: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manual::command;
    use std::fmt::Write;

    fn describe(path: &str, command: &clap::Command, inherited: &[String], out: &mut String) {
        let positionals: String = command
            .get_positionals()
            .map(|a| {
                let name = a.get_value_names().map(|n| n[0].to_string()).unwrap_or_default();
                let many = if a.get_num_args().is_some_and(|n| n.max_values() > 1) { "..." } else { "" };
                if a.is_required_set() { format!(" <{name}>{many}") } else { format!(" [{name}]{many}") }
            })
            .collect();
        if !command.is_subcommand_required_set() {
            writeln!(out, "{path}{positionals}").unwrap();
        }
        let mut known = inherited.to_vec();
        for arg in command.get_opts() {
            let long = arg.get_long().unwrap_or_default().to_owned();
            if inherited.contains(&long) || matches!(&*long, "help" | "version") {
                continue;
            }
            let short = arg.get_short().map(|s| format!("-{s}, ")).unwrap_or_default();
            let value = match arg.get_value_names() {
                Some(names) if arg.get_action().takes_values() => format!(" <{}>", names[0]),
                _ => String::new(),
            };
            let env = arg.get_env().map(|e| format!("  env {}", e.to_string_lossy())).unwrap_or_default();
            let default: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
            let default = if arg.get_action().takes_values() && !default.is_empty() {
                format!("  default {}", default.join(","))
            } else {
                String::new()
            };
            let scope = if arg.is_global_set() { "  (every command)" } else { "" };
            writeln!(out, "    {short}--{long}{value}{env}{default}{scope}").unwrap();
            if arg.is_global_set() {
                known.push(long);
            }
        }
        for sub in command.get_subcommands() {
            describe(&format!("{path} {}", sub.get_name()), sub, &known, out);
        }
    }

    #[test]
    fn the_grammar_is_the_checked_in_contract() {
        let mut grammar = String::from(
            "# The command line, generated from cli/src/args.rs. A change here is a change of contract.\n\
             # Rewrite with: MODELVAULT_REWRITE=1 cargo test --release -p model-vault-cli\nvault\n",
        );
        describe("vault", &command("vault"), &[], &mut grammar);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/cli-grammar.txt");
        if std::env::var_os("MODELVAULT_REWRITE").is_some() {
            std::fs::write(path, &grammar).unwrap();
        }
        let contract = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(grammar, contract, "contracts/cli-grammar.txt is out of date");
    }

    #[test]
    fn clap_finds_the_grammar_consistent() {
        command("vault").debug_assert();
    }

    #[test]
    fn environment_twins_carry_our_prefix() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments() {
                let env = arg.get_env().map(|e| e.to_string_lossy().into_owned());
                assert!(env.as_ref().is_none_or(|e| e.starts_with("MODELVAULT_")), "{env:?}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&command("vault"));
    }

    #[test]
    fn ranges_and_serials_are_read_strictly() {
        let range = |t: &str| t.parse::<ByteRange>().ok().map(|r| (r.start, r.end));
        assert_eq!(range("3..9"), Some((3, Some(9))));
        assert_eq!(range("..9"), Some((0, Some(9))));
        assert_eq!(range("3.."), Some((3, None)));
        for bad in ["", "3", "9..3", "+1..2", "-1..2", "1...2", "a..b", "1..18446744073709551616"] {
            assert_eq!(range(bad), None, "{bad}");
        }
        assert_eq!(Serial::parse("0a:ff"), Ok(Serial(vec![10, 255])));
        assert!(["", "a", "zz", ":"].iter().all(|t| Serial::parse(t).is_err()));
    }
}
