//! Where the root secret comes from: Argon2id of a passphrase, or a key file.
//!
//! A key file is exactly 32 bytes, or 64 hex digits and a newline; it belongs to the user who runs the vault, and nobody else
//! may read it (mode 0600 or 0400). Kubernetes secrets and systemd credentials are given out as such files.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::crypto::kdf::{Argon2Costs, argon2id};
use crate::crypto::keys::{Key, Passphrase, RootSecret};
use crate::error::{Error, ErrorId};
use crate::home::{Custody, Salt, create_file};
use crate::names::Random;

/// What a user gives to open a vault.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// Typed, or read from `--passphrase-file`.
    Passphrase(Passphrase),
    /// `--key-file`.
    KeyFile(PathBuf),
}

/// A custody with all it needs to give the root secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RootCustody {
    /// Argon2id.
    Passphrase {
        /// The secret part.
        passphrase: Passphrase,
        /// Of this vault.
        salt: Salt,
        /// Of this vault.
        costs: Argon2Costs,
    },
    /// A file.
    KeyFile(KeyFile),
}

/// Why there is no root secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CustodyError {
    /// The vault wants a passphrase and none was given.
    #[error("this vault is opened with a passphrase, and none was given")]
    NoPassphrase,
    /// A passphrase without a character.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// A key file for a vault of passphrases, or the other way round.
    #[error("this vault is opened with a {wanted}, not with a {given}")]
    OtherKind {
        /// What it was made with.
        wanted: &'static str,
        /// What was given.
        given: &'static str,
    },
    /// The key file is not there.
    #[error("there is no key file {}", .0.display())]
    NoKeyFile(PathBuf),
    /// Others may read it, it is another user's, or no regular file.
    #[error("the key file {} {why}", .path.display())]
    KeyFileExposed {
        /// Which.
        path: PathBuf,
        /// The rule it breaks.
        why: String,
        /// Whether chmod mends it.
        chmod: bool,
    },
    /// Neither 32 bytes nor 64 hex digits and a newline.
    #[error("the key file {} is neither 32 bytes nor 64 hex digits and a newline", .0.display())]
    KeyFileContent(PathBuf),
    /// Reading or writing the key file failed.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Argon2 costs out of bounds.
    #[error("the costs of the passphrase are out of bounds")]
    Costs,
    /// Too many passphrases are being tried at once.
    #[error("too many passphrases are being tried at once")]
    Overloaded,
    /// Randomness failed.
    #[error(transparent)]
    Random(Error),
}

impl From<CustodyError> for Error {
    fn from(e: CustodyError) -> Self {
        use CustodyError as C;
        let text = e.to_string();
        match e {
            C::NoPassphrase => Self::new(ErrorId::NoCredential, text).hint("give --passphrase-file"),
            C::EmptyPassphrase => Self::new(ErrorId::InvalidArgument, text),
            C::OtherKind { .. } | C::KeyFileContent(_) => Self::new(ErrorId::BadCredential, text),
            C::NoKeyFile(_) => Self::new(ErrorId::NoCredential, text)
                .hint("check --key-file and MODELVAULT_KEY_FILE, or bring the file back from the copy you keep"),
            C::KeyFileExposed { path, chmod, .. } => {
                let refused = Self::new(ErrorId::BadCredential, text);
                if chmod { refused.hint(format!("chmod 600 {}", path.display())) } else { refused }
            }
            C::Io { path, source } if source.kind() == io::ErrorKind::AlreadyExists => {
                Self::new(ErrorId::AlreadyExists, format!("{} exists already", path.display()))
                    .hint("a key file is never overwritten: name another")
            }
            C::Io { path, source } => Self::from(source).on(path.display()),
            C::Costs => Self::new(ErrorId::ConfigInvalid, text),
            C::Overloaded => Self::new(ErrorId::Overloaded, text).retry_after(Duration::from_secs(1)),
            C::Random(inner) => inner,
        }
    }
}

impl RootCustody {
    /// Custody of a new vault by passphrase: a fresh salt, the default costs.
    pub fn new_passphrase(passphrase: Passphrase, random: &dyn Random) -> Result<Self, CustodyError> {
        if passphrase.is_empty() {
            return Err(CustodyError::EmptyPassphrase);
        }
        let mut salt = [0; 32];
        random.fill(&mut salt).map_err(CustodyError::Random)?;
        Ok(Self::Passphrase { passphrase, salt: Salt(salt), costs: Argon2Costs::DEFAULT })
    }

    /// Custody of a vault at hand: its vault.toml says the kind, the user gives the rest. A key file is found where
    /// vault.toml says unless the user names another.
    pub fn of_vault(custody: &Custody, given: Option<Credential>) -> Result<Self, CustodyError> {
        match (custody, given) {
            (Custody::Passphrase { salt, m_kib, t, p }, Some(Credential::Passphrase(passphrase))) => {
                Ok(Self::Passphrase { passphrase, salt: *salt, costs: Argon2Costs { m_kib: *m_kib, t: *t, p: *p } })
            }
            (Custody::Passphrase { .. }, None) => Err(CustodyError::NoPassphrase),
            (Custody::Passphrase { .. }, Some(Credential::KeyFile(_))) => {
                Err(CustodyError::OtherKind { wanted: "passphrase", given: "key file" })
            }
            (Custody::KeyFile { path }, None) => Ok(Self::KeyFile(KeyFile::at(path))),
            (Custody::KeyFile { .. }, Some(Credential::KeyFile(path))) => Ok(Self::KeyFile(KeyFile::at(path))),
            (Custody::KeyFile { .. }, Some(Credential::Passphrase(_))) => {
                Err(CustodyError::OtherKind { wanted: "key file", given: "passphrase" })
            }
        }
    }

    /// What vault.toml records of it.
    pub fn recorded(&self) -> Custody {
        match self {
            Self::Passphrase { salt, costs, .. } => {
                Custody::Passphrase { salt: *salt, m_kib: costs.m_kib, t: costs.t, p: costs.p }
            }
            Self::KeyFile(file) => Custody::KeyFile { path: file.0.clone() },
        }
    }

    /// The root secret. A wrong passphrase gives a wrong secret: only opening the keyring tells.
    ///
    /// # Errors
    /// As [`CustodyError`] lists. Deriving from a passphrase takes about 0.2 s and 64 MiB; at most two run at once, and who
    /// waits longer than 30 s for a turn is refused.
    pub fn root_secret(&self) -> Result<Key<RootSecret>, CustodyError> {
        match self {
            Self::Passphrase { passphrase, salt, costs } => {
                let _turn = Turn::wait(Duration::from_secs(30)).ok_or(CustodyError::Overloaded)?;
                argon2id(passphrase, &salt.0, *costs).map_err(|_| CustodyError::Costs)
            }
            Self::KeyFile(file) => file.read(),
        }
    }
}

/// A file that holds a root secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// The file at `path`, made absolute so that vault.toml means the same file from every directory.
    pub fn at(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        Self(std::path::absolute(path).unwrap_or_else(|_| path.into()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a new one of 64 hex digits and a newline, mode 0600, durable. An existing file is never overwritten: it may be
    /// the only key to another vault.
    pub fn generate(path: impl AsRef<Path>, random: &dyn Random) -> Result<Self, CustodyError> {
        let file = Self::at(path);
        let secret = Key::<RootSecret>::generate(random).map_err(CustodyError::Random)?;
        let mut text = Zeroizing::new([b'\n'; 65]);
        hex::encode_to_slice(*secret.expose(), &mut text[..64]).expect("64 digits hold 32 bytes");
        create_file(&file.0, &*text).map_err(|source| file.failed(source))?;
        Ok(file)
    }

    fn read(&self) -> Result<Key<RootSecret>, CustodyError> {
        // Not blocking: opening a FIFO would wait for a writer. Facts are taken of the open file, so they cannot be exchanged.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut file =
            OpenOptions::new().read(true).custom_flags(flags).open(&self.0).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => CustodyError::NoKeyFile(self.0.clone()),
                _ => self.failed(source),
            })?;
        let facts = file.metadata().map_err(|source| self.failed(source))?;
        let exposed = |why: &str, chmod| CustodyError::KeyFileExposed { path: self.0.clone(), why: why.into(), chmod };
        if !facts.is_file() {
            return Err(exposed("is not a regular file", false));
        }
        if facts.uid() != rustix::process::geteuid().as_raw() {
            return Err(exposed("belongs to another user", false));
        }
        if !matches!(facts.mode() & 0o7777, 0o600 | 0o400) {
            return Err(exposed(&format!("has mode {:04o}; only its owner may read it", facts.mode() & 0o7777), true));
        }
        // One byte more than the longest form, so that a longer file shows.
        let mut bytes = Zeroizing::new([0u8; 66]);
        let mut len = 0;
        loop {
            match file.read(&mut bytes[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed(source)),
            }
        }
        let mut secret = Zeroizing::new([0; 32]);
        match &bytes[..len] {
            raw if raw.len() == 32 => secret.copy_from_slice(raw),
            [digits @ .., b'\n'] if digits.len() == 64 => {
                hex::decode_to_slice(digits, &mut *secret).map_err(|_| CustodyError::KeyFileContent(self.0.clone()))?
            }
            _ => return Err(CustodyError::KeyFileContent(self.0.clone())),
        }
        Ok(Key::take(&mut secret))
    }

    fn failed(&self, source: io::Error) -> CustodyError {
        CustodyError::Io { path: self.0.clone(), source }
    }
}

/// One of the two places where a passphrase is being derived: each takes 64 MiB or more.
struct Turn;

static RUNNING: Mutex<u8> = Mutex::new(0);
static FREED: Condvar = Condvar::new();
const AT_ONCE: u8 = 2;

impl Turn {
    fn wait(longest: Duration) -> Option<Self> {
        let deadline = Instant::now() + longest;
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        while *running >= AT_ONCE {
            let left = deadline.checked_duration_since(Instant::now())?;
            running = FREED.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *running += 1;
        Some(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::crypto::random::SystemRandom;

    fn secret_of(content: &[u8], mode: u32) -> Result<Key<RootSecret>, CustodyError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        KeyFile::at(path).read()
    }

    #[test]
    fn a_key_file_is_32_bytes_or_64_hex_digits_and_a_newline() {
        let key = Key::take(&mut [0xa5; 32]);
        let digits = "a5".repeat(32);
        assert_eq!(secret_of(&[0xa5; 32], 0o600).unwrap(), key);
        assert_eq!(secret_of(format!("{digits}\n").as_bytes(), 0o400).unwrap(), key);
        let bad: [&[u8]; 9] = [
            b"",
            &[1; 31],
            &[1; 33],
            digits.as_bytes(),
            &[b'a'; 65],
            &[b'\n'; 65],
            &format!("{digits}\n\n").into_bytes(),
            &format!("{}g\n", &digits[1..]).into_bytes(),
            &[b'a'; 4096],
        ];
        for content in bad {
            let error = secret_of(content, 0o600).unwrap_err();
            assert!(matches!(error, CustodyError::KeyFileContent(_)), "{content:?}: {error}");
            assert_eq!(Error::from(error).id(), ErrorId::BadCredential);
        }
    }

    #[test]
    fn a_key_file_others_may_read_is_refused_with_the_cure() {
        for mode in [0o644, 0o640, 0o604, 0o660, 0o700, 0o4600, 0o666] {
            let error = Error::from(secret_of(&[1; 32], mode).unwrap_err());
            assert_eq!(error.id(), ErrorId::BadCredential, "{mode:o}");
            assert!(error.hint_text().unwrap().starts_with("chmod 600 /"), "{mode:o}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(KeyFile::at(dir.path()).read(), Err(CustodyError::KeyFileExposed { .. })));
        assert!(matches!(KeyFile::at(dir.path().join("no")).read(), Err(CustodyError::NoKeyFile(_))));
        // A pipe without a writer must not make the vault wait.
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert!(matches!(KeyFile::at(&pipe).read(), Err(CustodyError::KeyFileExposed { .. })));
    }

    #[test]
    fn a_new_key_file_is_private_and_never_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let file = KeyFile::generate(&path, &SystemRandom).unwrap();
        let secret = RootCustody::KeyFile(file.clone()).root_secret().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let error = Error::from(KeyFile::generate(&path, &SystemRandom).unwrap_err());
        assert_eq!(error.id(), ErrorId::AlreadyExists);
        assert_eq!(file.read().unwrap(), secret);
    }

    #[test]
    fn the_kind_of_custody_must_fit_and_what_is_missing_is_said() {
        let phrase = || Credential::Passphrase(Passphrase::new("correct horse".into()));
        let by_phrase = Custody::Passphrase { salt: Salt([0; 32]), m_kib: 65_536, t: 3, p: 4 };
        let by_file = Custody::KeyFile { path: "/recorded".into() };
        let id = |custody, given| Error::from(RootCustody::of_vault(custody, given).unwrap_err()).id();
        assert_eq!(id(&by_phrase, None), ErrorId::NoCredential);
        assert_eq!(id(&by_phrase, Some(Credential::KeyFile("/k".into()))), ErrorId::BadCredential);
        assert_eq!(id(&by_file, Some(phrase())), ErrorId::BadCredential);
        for (given, path) in [(None, "/recorded"), (Some(Credential::KeyFile("/moved".into())), "/moved")] {
            let custody = RootCustody::of_vault(&by_file, given).unwrap();
            assert_eq!(custody.recorded(), Custody::KeyFile { path: path.into() });
        }
        let empty = RootCustody::new_passphrase(Passphrase::new("\n".into()), &SystemRandom);
        assert!(matches!(empty, Err(CustodyError::EmptyPassphrase)));
    }

    #[test]
    fn a_passphrase_gives_the_secret_of_its_salt_and_prints_nothing() {
        let custody = RootCustody::new_passphrase(Passphrase::new("correct horse".into()), &SystemRandom).unwrap();
        assert!(!format!("{custody:?}").contains("horse"));
        let secret = custody.root_secret().unwrap();
        let phrase = Credential::Passphrase(Passphrase::new("correct horse\n".into()));
        let again = RootCustody::of_vault(&custody.recorded(), Some(phrase)).unwrap();
        assert_eq!(again.root_secret().unwrap(), secret);
        let other = RootCustody::new_passphrase(Passphrase::new("correct horse".into()), &SystemRandom).unwrap();
        assert_ne!(other.root_secret().unwrap(), secret);
    }

    #[test]
    fn derivations_wait_for_a_turn_and_give_up() {
        let turns: Vec<_> = (0..AT_ONCE).map(|_| Turn::wait(Duration::from_secs(30)).unwrap()).collect();
        assert!(Turn::wait(Duration::from_millis(5)).is_none());
        drop(turns);
        assert!(Turn::wait(Duration::from_secs(30)).is_some());
    }
}
