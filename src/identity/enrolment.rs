//! The directory a workload keeps: its key and certificate, the CA it trusts, the signers it trusts (docs/trust.md 6).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType};
use rustix::fs::OFlags;
use rustls::pki_types::ServerName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::key::{PrivateKey, internal};
use super::peer::{PeerCertificate, SessionCertificate};
use crate::crypto::hash::sha256;
use crate::crypto::pem;
use crate::crypto::sign::PublicKey;
use crate::error::{Error, ErrorId, Result};
use crate::json::{self, Value};
use crate::names::{KeyId, Name, Random, Timestamp, VaultId};

const KEY: &str = "client.key";
const CERTIFICATE: &str = "client.crt";
const CA: &str = "ca.crt";
const TRUST: &str = "trust.json";
const FILES: [&str; 4] = [KEY, CERTIFICATE, CA, TRUST];
/// Largest size of each file, in bytes.
const MAX_PEM_BYTES: u64 = 16 * 1024;
const MAX_TRUST_BYTES: u64 = 64 * 1024;
const MAX_SIGNERS: usize = 64;

/// A fresh key for a workload, and the signing request (DER) that proves its possession. The key never leaves this machine.
///
/// # Errors
/// `Internal` if the system gives no random bytes.
pub fn new_key_and_csr(name: &Name) -> Result<(PrivateKey, Vec<u8>)> {
    let key = PrivateKey::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name.as_str());
    let csr = params.serialize_request(&key.pair()?).map_err(internal)?;
    Ok((key, csr.der().to_vec()))
}

/// What a workload needs to fetch: where, as whom, trusting whom.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// `host:port` of the daemon.
    pub address: String,
    /// The workload's namespace: references without one mean it.
    pub namespace: Name,
    /// Keys whose artifact statements are accepted.
    pub signers: Vec<PublicKey>,
    /// DER of the CA certificate that the server must be under.
    pub ca: Vec<u8>,
    /// DER of the workload's certificate.
    pub certificate: Vec<u8>,
    /// The workload's key.
    pub key: PrivateKey,
}

impl Enrolment {
    /// Who this enrolment is, and until when.
    ///
    /// # Errors
    /// `BadCredential` if the certificate is no workload's.
    pub fn identity(&self) -> Result<PeerCertificate> {
        PeerCertificate::parse(&self.certificate)
    }

    /// The session that this stands for; `None`: it is an enrolment.
    pub fn session(&self) -> Option<SessionCertificate> {
        SessionCertificate::parse(&self.certificate).ok()
    }

    /// The vault that issued the certificate.
    ///
    /// # Errors
    /// `BadCredential` if the certificate is neither a workload's nor a session's.
    pub fn vault(&self) -> Result<VaultId> {
        match self.session() {
            Some(session) => Ok(session.vault),
            None => Ok(self.identity()?.id.vault),
        }
    }

    /// Valid through this second.
    ///
    /// # Errors
    /// `BadCredential` if the certificate is neither a workload's nor a session's.
    pub fn not_after(&self) -> Result<Timestamp> {
        match self.session() {
            Some(session) => Ok(session.not_after),
            None => Ok(self.identity()?.not_after),
        }
    }

    /// Whether [`write`](Self::write) would find room at `dir`: asked before a vault issues what would then have no place.
    ///
    /// # Errors
    /// `AlreadyExists` as for `write`; `NotFound` if the directory around it is missing.
    pub fn check_place(dir: &Path) -> Result<()> {
        occupied_by_enrolment(dir)?;
        let around = around(dir);
        fs::metadata(around).map(drop).map_err(|e| Error::from(e).on(around.display()))
    }

    /// Writes the directory, mode 0700, as a whole or not at all. It may be absent, empty, or an enrolment, which is
    /// replaced; anything else in it is refused.
    ///
    /// # Errors
    /// `AlreadyExists` for a directory that holds other things; `InvalidArgument` or `BadCredential` for parts that do not
    /// belong together; `IoError`.
    pub fn write(&self, dir: &Path, random: &dyn Random) -> Result<()> {
        self.check()?;
        let replaces = occupied_by_enrolment(dir)?;
        let temporary = sibling(dir, random)?;
        DirBuilder::new().mode(0o700).create(&temporary).map_err(|e| Error::from(e).on(temporary.display()))?;
        let outcome = self.fill(&temporary).and_then(|()| put_in_place(&temporary, dir, replaces));
        // After an exchange this is the old enrolment; after a failure, the unfinished one.
        let _ = fs::remove_dir_all(&temporary);
        outcome
    }

    fn fill(&self, dir: &Path) -> Result<()> {
        let trust = self.trust_json();
        let certificate = pem::encode("CERTIFICATE", &self.certificate);
        let ca = pem::encode("CERTIFICATE", &self.ca);
        let key = pem::encode("PRIVATE KEY", self.key.expose());
        for (file, text, mode) in [
            (KEY, &key[..], 0o600),
            (CERTIFICATE, &certificate[..], 0o644),
            (CA, &ca[..], 0o644),
            (TRUST, &trust, 0o644),
        ] {
            let path = dir.join(file);
            let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
            let written = written.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
            written.map_err(|e| Error::from(e).on(path.display()))?;
        }
        sync(dir)
    }

    /// Reads and checks a directory: sizes, the key's mode, every key of `trust.json`, and that the parts belong together.
    /// Whether the certificate has expired is for the caller: an expired one can still say who it was.
    ///
    /// # Errors
    /// `NotFound`, `ConfigInvalid` or `BadCredential`, naming the file.
    pub fn read(dir: &Path) -> Result<Self> {
        let certificate = |file: &str| -> Result<Vec<u8>> {
            let text = read_bounded(&dir.join(file), MAX_PEM_BYTES, false)?;
            Ok(section(&text, "CERTIFICATE", file)?.to_vec())
        };
        let text = read_bounded(&dir.join(KEY), MAX_PEM_BYTES, true)?;
        let key = PrivateKey::from_pkcs8(section(&text, "PRIVATE KEY", KEY)?).map_err(|e| e.on(KEY))?;
        let text = read_bounded(&dir.join(TRUST), MAX_TRUST_BYTES, false)?;
        let (address, namespace, signers) = parse_trust(&text).map_err(|why| {
            Error::new(ErrorId::ConfigInvalid, format!("{}: {why}", dir.join(TRUST).display()))
                .hint("enrol the workload again: vault workload enroll NAME -o DIR")
        })?;
        let enrolment =
            Self { address, namespace, signers, ca: certificate(CA)?, certificate: certificate(CERTIFICATE)?, key };
        enrolment.check().map_err(|e| e.on(dir.display()))?;
        Ok(enrolment)
    }

    fn check(&self) -> Result<()> {
        let mismatch = |why: &str| Error::new(ErrorId::BadCredential, why);
        if !is_address(&self.address) {
            return Err(Error::new(ErrorId::InvalidArgument, format!("not host:port: {:?}", self.address)));
        }
        if self.signers.len() > MAX_SIGNERS {
            return Err(Error::new(ErrorId::InvalidArgument, format!("more than {MAX_SIGNERS} signers")));
        }
        if !X509Certificate::from_der(&self.ca).is_ok_and(|(rest, ca)| rest.is_empty() && ca.is_ca()) {
            return Err(mismatch("ca.crt is not the certificate of a CA"));
        }
        let spki_sha256 = match self.session() {
            // The vault knows its namespace; the certificate does not tell.
            Some(session) => session.spki_sha256,
            None => {
                let identity = self.identity()?;
                if identity.id.namespace != self.namespace {
                    return Err(mismatch("trust.json and client.crt name different namespaces"));
                }
                identity.spki_sha256
            }
        };
        if spki_sha256 != sha256(&self.key.spki()?) {
            return Err(mismatch("client.key is not the key of client.crt"));
        }
        Ok(())
    }

    pub(super) fn trust_json(&self) -> String {
        let signers: Vec<_> = self
            .signers
            .iter()
            .map(|key| serde_json::json!({"keyid": key.key_id().to_string(), "spki": STANDARD.encode(key.spki())}))
            .collect();
        let trust = serde_json::json!({
            "version": 1,
            "address": self.address,
            "namespace": self.namespace.as_str(),
            "signers": signers,
        });
        format!("{trust:#}\n")
    }
}

/// Address, namespace and signers of `trust.json`; unknown keys are errors.
fn parse_trust(text: &[u8]) -> Result<(String, Name, Vec<PublicKey>), String> {
    let value = json::parse(text, 4).map_err(|e| e.to_string())?;
    value
        .exactly(&["version", "address", "namespace", "signers"])
        .ok_or("not an object of version, address, namespace and signers")?;
    match value.get("version").and_then(Value::as_u64) {
        Some(1) => {}
        _ => return Err("not version 1".into()),
    }
    let word = |key: &str| value.get(key).and_then(Value::as_str).ok_or(format!("{key} is missing or not a string"));
    let address = word("address")?;
    if !is_address(address) {
        return Err(format!("address is not host:port: {address:?}"));
    }
    let namespace = word("namespace")?.parse().map_err(|e: Error| e.to_string())?;
    let signers = value.get("signers").and_then(Value::as_array).ok_or("signers is missing or not a list")?;
    if signers.len() > MAX_SIGNERS {
        return Err(format!("more than {MAX_SIGNERS} signers"));
    }
    let signers = signers.iter().map(|s| parse_signer(s).ok_or("a signer is not {keyid, spki} of one Ed25519 key"));
    Ok((address.to_owned(), namespace, signers.collect::<Result<_, _>>()?))
}

fn parse_signer(signer: &Value) -> Option<PublicKey> {
    signer.exactly(&["keyid", "spki"])?;
    let id: KeyId = signer.get("keyid")?.as_str()?.parse().ok()?;
    let spki = STANDARD.decode(signer.get("spki")?.as_str()?).ok()?;
    PublicKey::from_spki(&spki).ok().filter(|key| key.key_id() == id)
}

/// `host:port`, `1.2.3.4:port` or `[::1]:port`.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p != 0);
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.contains(':') && ServerName::try_from(host).is_ok(),
    };
    plain_port && host
}

/// Reads a regular file of at most `limit` bytes, wiped when dropped; a secret one must belong to its owner alone.
fn read_bounded(path: &Path, limit: u64, secret: bool) -> Result<Zeroizing<Vec<u8>>> {
    // NONBLOCK: a FIFO in place of the file must not hang us.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|e| {
        let e_kind = e.kind();
        let error = Error::from(e).on(path.display());
        if matches!(e_kind, std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) {
            error.hint("give the directory that vault workload enroll NAME -o DIR made")
        } else {
            error
        }
    })?;
    let facts = file.metadata()?;
    let bad = |id, why: &str| Error::new(id, format!("{}: {why}", path.display()));
    if !facts.is_file() {
        return Err(bad(ErrorId::ConfigInvalid, "not a regular file"));
    }
    if secret && facts.mode() & 0o077 != 0 {
        return Err(bad(ErrorId::BadCredential, "others may read the private key")
            .hint(format!("chmod 600 {}; if others had access to it, enrol anew", path.display())));
    }
    let too_long = || bad(ErrorId::ConfigInvalid, &format!("more than {limit} bytes"));
    let len = usize::try_from(facts.len().min(limit + 1)).map_err(|_| too_long())?;
    // Room for all of it at once: a vector that grows leaves copies of the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(len + 1));
    file.take(len as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_long());
    }
    Ok(bytes)
}

/// Whether `dir` holds an enrolment (the four files and nothing else); false: it is absent or empty.
fn occupied_by_enrolment(dir: &Path) -> Result<bool> {
    let foreign = |why: &str| {
        Error::new(ErrorId::AlreadyExists, format!("{}: {why}", dir.display()))
            .hint("name a directory that does not exist, or an enrolment to replace")
    };
    match fs::symlink_metadata(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::from(e).on(dir.display())),
        Ok(facts) if !facts.is_dir() => return Err(foreign("not a directory")),
        Ok(_) => {}
    }
    let mut count = 0;
    for entry in fs::read_dir(dir)? {
        if !FILES.iter().any(|f| entry.as_ref().is_ok_and(|e| e.file_name() == *f)) {
            return Err(foreign("it holds other files"));
        }
        count += 1;
    }
    match count {
        0 => Ok(false),
        _ if count == FILES.len() => Ok(true),
        _ => Err(foreign("it holds a part of an enrolment")),
    }
}

/// The one PEM section of a file.
fn section(text: &[u8], label: &str, file: &str) -> Result<Zeroizing<Vec<u8>>> {
    pem::one(text, label).map_err(|e| Error::new(ErrorId::BadCredential, format!("{file}: {e}")))
}

/// A name beside `dir`, so that a rename can put it in place.
fn sibling(dir: &Path, random: &dyn Random) -> Result<PathBuf> {
    let no_name = || Error::new(ErrorId::InvalidArgument, format!("{}: not the name of a directory", dir.display()));
    let name = dir.file_name().ok_or_else(no_name)?;
    let mut suffix = [0; 8];
    random.fill(&mut suffix)?;
    Ok(dir.with_file_name(format!(".{}.{}", name.to_string_lossy(), hex::encode(suffix))))
}

fn put_in_place(temporary: &Path, dir: &Path, replaces: bool) -> Result<()> {
    if replaces {
        exchange(temporary, dir)?;
    } else {
        // An empty directory gives way; one that was filled in the meantime does not (rename(2)).
        fs::rename(temporary, dir).map_err(|e| Error::from(e).on(dir.display()))?;
    }
    sync(around(dir)).map_err(|e| e.on(dir.display()))
}

fn sync(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::from(e).on(dir.display()))
}

fn around(dir: &Path) -> &Path {
    dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Key and certificate change at one moment: a reader sees the old pair or the new one.
#[cfg(target_os = "linux")]
fn exchange(new: &Path, old: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE)
        .map_err(|e| Error::from(std::io::Error::from(e)).on(old.display()))
}

/// Without an atomic exchange there is a moment without the directory, never one with a wrong pair.
#[cfg(not(target_os = "linux"))]
fn exchange(new: &Path, old: &Path) -> Result<()> {
    let aside = new.with_extension("old");
    fs::rename(old, &aside)?;
    fs::rename(new, old)?;
    fs::rename(&aside, new)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["localhost:7443", "10.0.0.1:1", "[::1]:7443", "vault.prod.example:65535"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "localhost",
            ":7443",
            "localhost:0",
            "localhost:65536",
            "localhost:+1",
            "::1:7443",
            "a b:1",
            "https://a:1",
            "[::1:1",
            "a\n:1",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn trust_files_are_read_strictly() {
        let key = crate::crypto::sign::SigningIdentity::generate(&crate::crypto::random::SystemRandom).unwrap();
        let (id, spki) = (key.key_id(), STANDARD.encode(key.public().spki()));
        let good = format!(
            r#"{{"version":1,"address":"localhost:7443","namespace":"default","signers":[{{"keyid":"{id}","spki":"{spki}"}}]}}"#
        );
        assert_eq!(parse_trust(good.as_bytes()).unwrap().2, [*key.public()]);
        let other = hex::encode([0; 32]);
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"version\":1", "\"version\":\"1\""),
            ("\"version\":1,", ""),
            ("\"version\":1", "\"version\":1,\"version\":1"),
            ("\"version\":1", "\"version\":1,\"extra\":true"),
            ("localhost:7443", "localhost"),
            ("\"default\"", "\"../x\""),
            ("\"keyid\"", "\"key\""),
            (&id.to_string(), &other),
            (&spki, "AAAA"),
            ("\"signers\":[", "\"signers\":[1,"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(parse_trust(bad.as_bytes()).is_err(), "{bad}");
        }
        for cut in 0..good.len() {
            assert!(parse_trust(&good.as_bytes()[..cut]).is_err());
        }
    }
}
