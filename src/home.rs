//! The home directory of an embedded vault (docs/trust.md, section 2): where its files lie, who holds it, and how small files
//! in it are replaced without ever being half there.
//!
//! ```text
//! vault.toml     VaultToml: ids and custody parameters, no secret
//! keyring.bin    sealed (keyring::file)
//! catalogue.db   keys.db   blobs/
//! signers.json   whose signatures are believed (identity::signers); no secret, read without the vault's keys
//! sinks/         how far each receiver of the audit log has come (vault::sinks)
//! watch.snapshot what the alert rules have learned, sealed (vault::watching)
//! lock           flock decides who owns the vault; the pid in it is for the message only
//! init.part      present while `create` runs: a home with it is no vault, and may be cleared
//! ```

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags, linkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::crypto::kdf::Argon2Costs;
use crate::error::{Error, ErrorId, Result};
use crate::names::{Timestamp, VaultId};

/// Longest path of a Unix socket in bytes: `sun_path` holds 108 with the final zero (unix(7)).
const SOCKET_PATH_MAX: usize = 107;
/// No vault.toml is larger; more is not read.
const CONFIG_MAX: u64 = 64 << 10;
const INIT_MARK: &str = "init.part";
const LOCK: &str = "lock";
const SIGNERS: &str = "signers.json";
/// Ends the names of files that are about to replace others.
const TEMPORARY: &str = ".new";
/// Made by mkfs in the root of a volume; a home may be a whole volume.
const LOST_FOUND: &str = "lost+found";

/// A vault's home: a path and the names below it. Making one touches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home at `path`.
    ///
    /// # Errors
    /// `InvalidArgument` for an empty path.
    pub fn at(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        std::path::absolute(path)
            .map(Self)
            .map_err(|_| Error::new(ErrorId::InvalidArgument, format!("not a directory for a home: {path:?}")))
    }

    /// The home a user means: `explicit`, else `MODELVAULT_HOME`, else `$XDG_DATA_HOME/modelvault`, else
    /// `~/.local/share/modelvault`. `env` looks variables up; empty ones count as unset.
    ///
    /// # Errors
    /// `InvalidArgument` if none of these is known.
    pub fn resolve(explicit: Option<PathBuf>, env: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // The XDG base directory specification: relative paths there are ignored.
        let data = || set("XDG_DATA_HOME").filter(|p| p.is_absolute());
        let user = || set("HOME").filter(|p| p.is_absolute()).map(|home| home.join(".local/share"));
        let path = explicit
            .or_else(|| set("MODELVAULT_HOME"))
            .or_else(|| data().or_else(user).map(|base| base.join("modelvault")))
            .ok_or_else(|| {
                Error::new(ErrorId::InvalidArgument, "no directory for the vault is known: HOME is not set")
                    .hint("set MODELVAULT_HOME")
            })?;
        Self::at(path)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `vault.toml`.
    pub fn config_path(&self) -> PathBuf {
        self.0.join("vault.toml")
    }

    /// `signers.json`.
    pub fn signers_path(&self) -> PathBuf {
        self.0.join(SIGNERS)
    }

    /// Whether there are trusted signers here, put there by nobody but its owner.
    ///
    /// # Errors
    /// `ConfigInvalid` if it is no file, or if others may write to it or to the home.
    pub fn has_signers(&self) -> Result<bool> {
        let path = self.signers_path();
        let facts = match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            facts => facts.map_err(|e| Error::from(e).on(path.display()))?,
        };
        let home = fs::metadata(&self.0).map_err(|e| Error::from(e).on(self.0.display()))?;
        let owner = [home.uid(), 0, rustix::process::geteuid().as_raw()].contains(&facts.uid());
        if !facts.is_file() || !owner || (facts.mode() | home.mode()) & 0o022 != 0 {
            let text = format!("{}: others may have put it there", path.display());
            return Err(Error::new(ErrorId::ConfigInvalid, text)
                .hint("see that it is right, then let nobody else write to it and its directory: chmod go-w"));
        }
        Ok(true)
    }

    /// `keyring.bin`.
    pub fn keyring_path(&self) -> PathBuf {
        self.0.join("keyring.bin")
    }

    /// `catalogue.db`.
    pub fn catalogue_path(&self) -> PathBuf {
        self.0.join("catalogue.db")
    }

    /// `keys.db`.
    pub fn keys_path(&self) -> PathBuf {
        self.0.join("keys.db")
    }

    /// `blobs/`.
    pub fn blobs_path(&self) -> PathBuf {
        self.0.join("blobs")
    }

    /// `lock`.
    pub fn lock_path(&self) -> PathBuf {
        self.0.join(LOCK)
    }

    /// Whether a vault was made here, completely.
    pub fn has_vault(&self) -> bool {
        !self.mark_path().exists() && self.config_path().is_file()
    }

    /// Makes the directory (mode 0700, with its parents), locks it and lets `fill` put a vault into it. All or nothing: if
    /// `fill` fails, everything made here is removed again; after a crash the home is no vault and the next `create` clears it.
    ///
    /// # Errors
    /// `AlreadyExists` if a vault is there; `InvalidArgument` if anything else is; `Busy` if another process is at it; what
    /// `fill` returns.
    pub fn create<T>(&self, fill: impl FnOnce(&Self) -> Result<T>) -> Result<(T, HomeLock)> {
        let made = make_dirs(&self.0).map_err(|e| Error::from(e).on(self.0.display()))?;
        let created = self.create_in_directory(!made.is_empty(), fill);
        if created.is_err() {
            // Innermost first; a directory that somebody else uses meanwhile is not empty and stays.
            made.iter().rev().for_each(|dir| drop(fs::remove_dir(dir)));
        }
        created
    }

    fn create_in_directory<T>(&self, ours: bool, fill: impl FnOnce(&Self) -> Result<T>) -> Result<(T, HomeLock)> {
        if self.has_vault() {
            return Err(Error::new(ErrorId::AlreadyExists, format!("{} holds a vault already", self.0.display())));
        }
        if !ours && !self.may_be_filled()? {
            return Err(Error::new(ErrorId::InvalidArgument, format!("{} is not empty", self.0.display()))
                .hint("name an empty or new directory with MODELVAULT_HOME"));
        }
        fs::set_permissions(&self.0, Permissions::from_mode(0o700)).or_else(|e| {
            // A volume that belongs to another user but is closed to strangers will do.
            self.private().map_err(|_| Error::from(e).on(self.0.display()))
        })?;
        let lock = self.take_lock()?;
        // Looked at again under the lock: another init may have come first.
        if self.has_vault() {
            return Err(Error::new(ErrorId::AlreadyExists, format!("{} holds a vault already", self.0.display())));
        }
        let filled = self.fill_marked(fill);
        if filled.is_err() {
            drop(self.clear());
            drop(fs::remove_file(self.mark_path()));
            drop(fs::remove_file(self.lock_path()));
        }
        Ok((filled?, lock))
    }

    fn fill_marked<T>(&self, fill: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        create_file(&self.mark_path(), b"vault init is running, or was cut short\n").or_else(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => self.clear(),
            _ => Err(e),
        })?;
        let made = fill(self)?;
        if !self.config_path().is_file() {
            return Err(Error::new(ErrorId::Internal, "a home was filled without vault.toml"));
        }
        sync_dir(&self.0)?;
        fs::remove_file(self.mark_path())?;
        sync_dir(&self.0)?;
        Ok(made)
    }

    /// Empty but for trusted signers, or left by an init that was cut short. Only the mark says the latter: a home that merely lost its vault.toml
    /// still has somebody's keys in it.
    fn may_be_filled(&self) -> Result<bool> {
        if self.mark_path().exists() {
            return Ok(true);
        }
        for entry in fs::read_dir(&self.0).map_err(|e| Error::from(e).on(self.0.display()))? {
            let name = entry?.file_name();
            if !is_kept(&name) && !is_copy_of_signers(&name) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes all but mark, lock and trusted signers. Called only under the lock, in a directory that held nothing else when
    /// the mark was made.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_kept(&name) || name == INIT_MARK {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn mark_path(&self) -> PathBuf {
        self.0.join(INIT_MARK)
    }

    /// Reads vault.toml.
    ///
    /// # Errors
    /// `NoVault` if there is no vault here, `ConfigInvalid` if the file breaks a rule or strangers may enter the directory,
    /// `UnsupportedVersion` if a newer release made it.
    pub fn config(&self) -> Result<VaultToml> {
        self.must_have_vault()?;
        self.private()?;
        let path = self.config_path();
        let bytes = read_bounded(&path, CONFIG_MAX).map_err(|e| Error::from(e).on(path.display()))?;
        VaultToml::parse(&bytes).map_err(|e| e.on(path.display()))
    }

    /// Writes vault.toml, atomically.
    pub fn write_config(&self, config: &VaultToml) -> Result<()> {
        let text = config.to_toml()?;
        replace_file(&self.config_path(), text.as_bytes()).map_err(|e| Error::from(e).on(self.config_path().display()))
    }

    /// Says why there is no vault, so that nobody is told to make one over keys that are still there.
    fn must_have_vault(&self) -> Result<()> {
        if self.mark_path().exists() {
            let text = format!("vault init was cut short in {}", self.0.display());
            return Err(Error::new(ErrorId::NoVault, text));
        }
        match fs::metadata(self.config_path()) {
            Ok(facts) if facts.is_file() => Ok(()),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::from(e).on(self.config_path().display())),
            _ if self.keyring_path().exists() => {
                let text = format!("{} holds a keyring, but its vault.toml is missing", self.0.display());
                Err(Error::new(ErrorId::ConfigInvalid, text).hint("restore vault.toml from a backup"))
            }
            _ => Err(Error::new(ErrorId::NoVault, format!("no vault in {}", self.0.display()))),
        }
    }

    /// Refuses a home that users other than owner and group may enter: they could exchange its files.
    fn private(&self) -> Result<()> {
        let mode = fs::metadata(&self.0).map_err(|e| Error::from(e).on(self.0.display()))?.mode();
        if mode & 0o007 != 0 {
            let text = format!("{} is open to every user (mode {:04o})", self.0.display(), mode & 0o7777);
            return Err(Error::new(ErrorId::ConfigInvalid, text).hint(format!("chmod 700 {}", self.0.display())));
        }
        Ok(())
    }

    /// Becomes the one process that holds this vault, until the lock is dropped.
    ///
    /// # Errors
    /// `NoVault` if there is none (`ConfigInvalid` if only its vault.toml is lost), `Busy` if another process holds it.
    pub fn lock(&self) -> Result<HomeLock> {
        self.must_have_vault()?;
        self.take_lock()
    }

    /// The same for a home without a vault, for its trusted signers alone; made (mode 0700) if it is missing.
    ///
    /// # Errors
    /// `Busy` if another process holds it, or a vault was made there; `ConfigInvalid` if strangers may enter it.
    pub fn lock_without_vault(&self) -> Result<HomeLock> {
        make_dirs(&self.0).map_err(|e| Error::from(e).on(self.0.display()))?;
        self.private()?;
        let lock = self.take_lock()?;
        match self.must_have_vault() {
            Err(e) if e.id() == ErrorId::NoVault => Ok(lock),
            Err(e) => Err(e),
            Ok(()) => Err(Error::new(ErrorId::Busy, format!("a vault was made in {}", self.0.display()))
                .hint("run the command again")),
        }
    }

    fn take_lock(&self) -> Result<HomeLock> {
        let path = self.lock_path();
        let fail = |e: io::Error| Error::from(e).on(path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.busy(&mut file)),
            Err(TryLockError::Error(e)) => return Err(fail(e)),
        }
        // A failed `create` removes its lock file: a lock on a file that is no longer there is held by nobody else's measure.
        let (held, there) = (file.metadata().map_err(fail)?, fs::metadata(&path));
        if !there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())) {
            return Err(Error::new(ErrorId::Busy, format!("{} is being removed", self.0.display())));
        }
        // Only for the message that others get: a full disk is no reason not to hold the vault.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(HomeLock { _file: file })
    }

    fn busy(&self, file: &mut File) -> Error {
        let mut text = String::new();
        let _ = file.take(32).read_to_string(&mut text);
        let holder = match text.trim().parse::<u32>() {
            Ok(pid) => format!("process {pid}"),
            Err(_) => "another process".into(),
        };
        Error::new(ErrorId::Busy, format!("{holder} holds the vault in {}", self.0.display()))
    }

    /// Where the daemon of this home listens and the CLI looks for it: `RUNTIME_DIR/modelvault/ID.sock`, else `ID.sock` in the
    /// home, else `/tmp/modelvault-UID/ID.sock`; the first whose path fits a socket address. ID is the first 16 hex digits of
    /// the vault id. Ids are time-ordered, so these are its millisecond and 12 random bits: enough to tell one user's vaults
    /// apart; whoever connects still compares the whole id.
    pub fn socket_path(&self, vault: VaultId, runtime_dir: Option<&Path>, uid: u32) -> PathBuf {
        let file = format!("{}.sock", hex::encode(&vault.0[..8]));
        let fits = |path: &PathBuf| path.as_os_str().len() <= SOCKET_PATH_MAX;
        let runtime = runtime_dir.filter(|d| d.is_absolute()).map(|d| d.join("modelvault").join(&file));
        runtime
            .filter(fits)
            .or_else(|| Some(self.0.join(&file)).filter(fits))
            .unwrap_or_else(|| PathBuf::from(format!("/tmp/modelvault-{uid}")).join(&file))
    }
}

/// What an init neither wants gone nor removes: what mkfs made, the lock, and the trusted signers, which the vault takes over.
fn is_kept(name: &std::ffi::OsStr) -> bool {
    name == LOST_FOUND || name == LOCK || name == SIGNERS
}

/// Left by a process that died while it replaced them.
fn is_copy_of_signers(name: &std::ffi::OsStr) -> bool {
    name.to_str().and_then(|n| n.strip_prefix('.')?.strip_suffix(TEMPORARY)) == Some(SIGNERS)
}

/// Makes the directory of a socket (mode 0700) if it is missing, then checks it like [`check_socket_dir`].
pub fn make_socket_dir(socket: &Path, uid: u32) -> Result<()> {
    let dir = parent(socket);
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(Error::from(e).on(dir.display())),
        _ => {}
    }
    check_socket_dir(socket, uid)
}

/// Refuses a socket whose directory somebody else could have made: in `/tmp` the name can be taken first.
///
/// # Errors
/// `NotFound` if there is no such directory, `ConfigInvalid` if it is a link, another user's, or writable for others.
pub fn check_socket_dir(socket: &Path, uid: u32) -> Result<()> {
    let dir = parent(socket);
    let facts = fs::symlink_metadata(dir).map_err(|e| Error::from(e).on(dir.display()))?;
    if !facts.is_dir() || facts.uid() != uid || facts.mode() & 0o022 != 0 {
        let text = format!("{} is not a directory that only you can write to", dir.display());
        return Err(Error::new(ErrorId::ConfigInvalid, text).hint("set XDG_RUNTIME_DIR to a directory of your own"));
    }
    Ok(())
}

/// Held by the one process that works on a home. Dropping it (or dying) gives it back.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// vault.toml: what must be known before the keyring can be opened. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultToml {
    /// Layout of the home; [`VaultToml::LAYOUT`].
    pub layout: u32,
    /// The vault, for life.
    pub vault: VaultId,
    /// When it was made.
    pub created: Timestamp,
    /// How its root secret is kept.
    pub custody: Custody,
}

/// How the root secret of a vault is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Custody {
    /// Argon2id of a passphrase.
    Passphrase {
        /// 64 hex digits.
        salt: Salt,
        /// Memory in KiB.
        m_kib: u32,
        /// Passes.
        t: u16,
        /// Lanes.
        p: u16,
    },
    /// 32 bytes in a file.
    KeyFile {
        /// Where it lies, unless the user names another.
        path: PathBuf,
    },
}

impl Custody {
    /// Its word in vault.toml: `passphrase` or `key-file`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Passphrase { .. } => "passphrase",
            Self::KeyFile { .. } => "key-file",
        }
    }

    /// The costs of a passphrase.
    pub fn argon2_costs(&self) -> Option<Argon2Costs> {
        match self {
            Self::Passphrase { m_kib, t, p, .. } => Some(Argon2Costs { m_kib: *m_kib, t: *t, p: *p }),
            Self::KeyFile { .. } => None,
        }
    }
}

/// Salt of a passphrase: public, random, 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Salt(pub [u8; 32]);

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        hex::encode(salt.0)
    }
}

impl TryFrom<String> for Salt {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut salt = [0; 32];
        hex::decode_to_slice(text, &mut salt).map_err(|_| "a salt is 64 hex digits")?;
        Ok(Self(salt))
    }
}

impl VaultToml {
    /// The layout this release writes and reads.
    pub const LAYOUT: u32 = 1;

    /// A new vault's.
    pub fn new(vault: VaultId, created: Timestamp, custody: Custody) -> Self {
        Self { layout: Self::LAYOUT, vault, created, custody }
    }

    /// Reads it. The layout version is looked at first: a newer file may have keys unknown here.
    fn parse(bytes: &[u8]) -> Result<Self> {
        let bad = |what: String| Error::new(ErrorId::ConfigInvalid, what);
        let text = std::str::from_utf8(bytes).map_err(|_| bad("not UTF-8".into()))?;
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| bad(e.message().into()))?;
        match table.get("layout").and_then(toml::Value::as_integer) {
            Some(n) if n == i64::from(Self::LAYOUT) => {}
            Some(n) if n > i64::from(Self::LAYOUT) => {
                return Err(Error::new(ErrorId::UnsupportedVersion, format!("layout {n} is of a newer release"))
                    .hint("use a newer release of Model Vault"));
            }
            _ => return Err(bad("layout is missing or not known".into())),
        }
        let config: Self = table.try_into().map_err(|e: toml::de::Error| bad(e.message().into()))?;
        if config.custody.argon2_costs().is_some_and(|costs| !costs.acceptable()) {
            return Err(bad("the costs of the passphrase are out of bounds".into()));
        }
        Ok(config)
    }

    fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| {
            Error::new(ErrorId::InvalidArgument, "vault.toml cannot hold this path: it is not UTF-8").caused_by(e)
        })
    }
}

/// Puts `bytes` in the place of the file at `path` (mode 0600): readers see the old bytes or the new, through any crash.
/// One process at a time may replace a file: the caller holds the home's lock.
///
/// # Errors
/// The old file is untouched then, and no temporary file stays. After a failed fsync of the directory the new bytes may or may
/// not be durable.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = temp_of(path)?;
    // Left by a crash: never read, so removing it loses nothing.
    match fs::remove_file(&temp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let replaced = write_new(&temp, bytes).and_then(|()| fs::rename(&temp, path));
    if replaced.is_err() {
        drop(fs::remove_file(&temp));
    }
    replaced?;
    // Without it a power cut may bring the old name back.
    sync_dir(parent(path))
}

/// Makes a file (mode 0600) that must not be there yet, durably. It is written without a name and gets one when it is whole:
/// after a crash it is there with all its bytes, or nothing is.
///
/// # Errors
/// `AlreadyExists` leaves the other file alone; after any other error nothing is left behind.
pub fn create_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match create_unnamed(path, bytes) {
        // The file system (NFS, some overlays) has no unnamed files, or /proc is not mounted.
        Err(e) if matches!(e.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::OPNOTSUPP | Errno::ISDIR)) => {
            write_new(path, bytes).inspect_err(|e| {
                if e.kind() != io::ErrorKind::AlreadyExists {
                    drop(fs::remove_file(path));
                }
            })?;
        }
        made => made?,
    }
    sync_dir(parent(path))
}

fn create_unnamed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::TMPFILE.bits().cast_signed();
    let mut file = OpenOptions::new().write(true).mode(0o600).custom_flags(flags).open(parent(path))?;
    let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    if !Path::new(&by_descriptor).exists() {
        return Err(Errno::OPNOTSUPP.into());
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(linkat(CWD, by_descriptor, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// `InvalidData` if it is longer.
pub fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {max} bytes")));
    }
    Ok(bytes)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Whether this is the name of a file that was to replace another when its process died.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(TEMPORARY)
}

fn temp_of(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temp = OsString::from(".");
    temp.push(name);
    temp.push(TEMPORARY);
    Ok(path.with_file_name(temp))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a directory and its missing parents with mode 0700; returns those made, outermost first.
fn make_dirs(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing: Vec<_> = dir.ancestors().take_while(|d| !d.exists()).map(Path::to_path_buf).collect();
    missing.reverse();
    for (made, dir) in missing.iter().enumerate() {
        let built = DirBuilder::new().mode(0o700).create(dir).and_then(|()| sync_dir(parent(dir)));
        if let Err(e) = built {
            missing[..made].iter().rev().for_each(|d| drop(fs::remove_dir(d)));
            return Err(e);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: VaultId = VaultId([0xab; 16]);

    fn config() -> VaultToml {
        let custody = Custody::Passphrase { salt: Salt([7; 32]), m_kib: 65_536, t: 3, p: 4 };
        VaultToml::new(VAULT, Timestamp::from_millis(1_795_305_600_123), custody)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_home_is_where_the_user_says_else_where_xdg_says() {
        let resolve = |explicit: Option<&str>, vars: &[(&str, &str)]| {
            let lookup = |name: &str| vars.iter().find(|(k, _)| *k == name).map(|(_, v)| OsString::from(v));
            Home::resolve(explicit.map(PathBuf::from), lookup).map(|h| h.0.display().to_string())
        };
        let all = [("MODELVAULT_HOME", "/v"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(resolve(Some("/e"), &all).unwrap(), "/e");
        assert_eq!(resolve(None, &all).unwrap(), "/v");
        assert_eq!(resolve(None, &all[1..]).unwrap(), "/x/modelvault");
        assert_eq!(resolve(None, &all[2..]).unwrap(), "/h/.local/share/modelvault");
        assert_eq!(
            resolve(None, &[("MODELVAULT_HOME", ""), ("XDG_DATA_HOME", "rel"), ("HOME", "/h")]).unwrap(),
            "/h/.local/share/modelvault"
        );
        assert_eq!(resolve(None, &[]).unwrap_err().id(), ErrorId::InvalidArgument);
    }

    #[test]
    fn creating_makes_private_files_and_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("a/b")).unwrap();
        assert_eq!(home.config().unwrap_err().id(), ErrorId::NoVault);
        assert_eq!(home.lock().unwrap_err().id(), ErrorId::NoVault);
        let ((), lock) = home.create(|h| h.write_config(&config())).unwrap();
        assert_eq!(home.config().unwrap(), config());
        assert_eq!(names(home.path()), ["lock", "vault.toml"]);
        for (path, mode) in [(home.path().into(), 0o700), (home.config_path(), 0o600), (home.lock_path(), 0o600)] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, mode);
        }
        let busy = home.lock().unwrap_err();
        assert_eq!(busy.id(), ErrorId::Busy);
        assert!(busy.message().contains(&std::process::id().to_string()), "{busy}");
        drop(lock);
        // The file is still there, and means nothing.
        assert!(home.lock_path().exists());
        drop(home.lock().unwrap());
        assert_eq!(home.create(|_| Ok(())).unwrap_err().id(), ErrorId::AlreadyExists);
        assert_eq!(home.config().unwrap(), config());
    }

    #[test]
    fn a_failed_init_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let fail = |home: &Home| -> Result<()> {
            home.write_config(&config())?;
            fs::create_dir(home.blobs_path())?;
            fs::write(home.blobs_path().join("x"), "x")?;
            Err(Error::new(ErrorId::DiskFull, "test"))
        };
        let home = Home::at(dir.path().join("a/b/c")).unwrap();
        assert_eq!(home.create(fail).unwrap_err().id(), ErrorId::DiskFull);
        assert!(names(dir.path()).is_empty());
        // A directory the user had made stays, empty; what mkfs put there stays too.
        let home = Home::at(dir.path().join("volume")).unwrap();
        fs::create_dir_all(home.path().join(LOST_FOUND)).unwrap();
        assert_eq!(home.create(fail).unwrap_err().id(), ErrorId::DiskFull);
        assert_eq!(names(home.path()), [LOST_FOUND]);
    }

    #[test]
    fn foreign_directories_are_refused_untouched_and_a_lost_config_is_no_invitation() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path()).unwrap();
        fs::write(home.keyring_path(), "somebody's keys").unwrap();
        assert_eq!(home.create(|h| h.write_config(&config())).unwrap_err().id(), ErrorId::InvalidArgument);
        assert_eq!(names(dir.path()), ["keyring.bin"]);
        for refused in [home.config().map(drop), home.lock().map(drop)] {
            assert_eq!(refused.unwrap_err().id(), ErrorId::ConfigInvalid);
        }
    }

    #[test]
    fn an_init_cut_short_is_no_vault_and_the_next_one_clears_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path()).unwrap();
        fs::write(home.mark_path(), "").unwrap();
        fs::write(home.keyring_path(), "half").unwrap();
        home.write_config(&config()).unwrap();
        assert_eq!(home.config().unwrap_err().id(), ErrorId::NoVault);
        let ((), _lock) = home
            .create(|h| {
                assert!(!h.keyring_path().exists());
                h.write_config(&config())
            })
            .unwrap();
        assert_eq!(home.config().unwrap(), config());
    }

    #[test]
    fn a_home_open_to_every_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h")).unwrap();
        drop(home.create(|h| h.write_config(&config())).unwrap());
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        let refused = home.config().unwrap_err();
        assert_eq!(refused.id(), ErrorId::ConfigInvalid);
        assert!(refused.hint_text().unwrap().starts_with("chmod 700"));
    }

    #[test]
    fn vault_toml_is_read_strictly() {
        let good = config().to_toml().unwrap();
        assert_eq!(VaultToml::parse(good.as_bytes()).unwrap(), config());
        let key_file = VaultToml { custody: Custody::KeyFile { path: "/run/keys/root".into() }, ..config() };
        assert_eq!(VaultToml::parse(key_file.to_toml().unwrap().as_bytes()).unwrap(), key_file);
        for (from, to, id) in [
            ("layout = 1", "layout = 2", ErrorId::UnsupportedVersion),
            ("layout = 1", "layout = 0", ErrorId::ConfigInvalid),
            ("layout = 1", "layout = 1\nextra = 1", ErrorId::ConfigInvalid),
            ("t = 3", "t = 3\nextra = 1", ErrorId::ConfigInvalid),
            ("t = 3", "t = 300", ErrorId::ConfigInvalid),
            ("m_kib = 65536", "m_kib = 8", ErrorId::ConfigInvalid),
            ("m_kib = 65536", "m_kib = 99999999999", ErrorId::ConfigInvalid),
            ("\"passphrase\"", "\"none\"", ErrorId::ConfigInvalid),
            ("salt = \"07", "salt = \"", ErrorId::ConfigInvalid),
        ] {
            assert!(good.contains(from), "{from} in {good}");
            let error = VaultToml::parse(good.replace(from, to).as_bytes()).unwrap_err();
            assert_eq!(error.id(), id, "{to}: {error}");
        }
        assert_eq!(VaultToml::parse(b"\xff").unwrap_err().id(), ErrorId::ConfigInvalid);
    }

    #[test]
    fn the_socket_lies_where_its_path_fits() {
        let home = Home::at("/home/u/.local/share/modelvault").unwrap();
        let id = "abababababababab.sock";
        let run = Path::new("/run/user/1000");
        assert_eq!(home.socket_path(VAULT, Some(run), 1000), run.join("modelvault").join(id));
        assert_eq!(home.socket_path(VAULT, None, 1000), home.path().join(id));
        assert_eq!(home.socket_path(VAULT, Some(Path::new("relative")), 1000), home.path().join(id));
        let deep = Home::at(format!("/{}", "d".repeat(SOCKET_PATH_MAX - id.len() - 1))).unwrap();
        assert_eq!(deep.socket_path(VAULT, None, 7), Path::new("/tmp/modelvault-7").join(id));
        let just = Home::at(format!("/{}", "d".repeat(SOCKET_PATH_MAX - id.len() - 2))).unwrap();
        assert_eq!(just.socket_path(VAULT, None, 7).as_os_str().len(), SOCKET_PATH_MAX);
    }

    #[test]
    fn a_socket_directory_others_could_have_made_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let socket = dir.path().join("s/x.sock");
        assert_eq!(check_socket_dir(&socket, uid).unwrap_err().id(), ErrorId::NotFound);
        make_socket_dir(&socket, uid).unwrap();
        make_socket_dir(&socket, uid).unwrap();
        assert_eq!(check_socket_dir(&socket, uid + 1).unwrap_err().id(), ErrorId::ConfigInvalid);
        fs::set_permissions(dir.path().join("s"), Permissions::from_mode(0o777)).unwrap();
        assert_eq!(make_socket_dir(&socket, uid).unwrap_err().id(), ErrorId::ConfigInvalid);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).unwrap();
        let error = make_socket_dir(&dir.path().join("link/x.sock"), uid).unwrap_err();
        assert_eq!(error.id(), ErrorId::ConfigInvalid);
    }

    #[test]
    fn replacing_is_all_or_nothing_and_ignores_what_a_crash_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(dir.path().join(".f.new"), "torn").unwrap();
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(dir.path()), ["f"]);
        assert_eq!(create_file(&path, b"three").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        // The rename fails: the target is a directory that is not empty.
        fs::create_dir_all(dir.path().join("d/inner")).unwrap();
        assert!(replace_file(&dir.path().join("d"), b"x").is_err());
        assert_eq!(names(dir.path()), ["d", "f"]);
        assert_eq!(read_bounded(&path, 2).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
