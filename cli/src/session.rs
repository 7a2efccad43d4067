//! What a command talks to. Where a daemon runs for the home, that is its socket; else the vault is opened in this process
//! under the home's lock, and small commands speak to it over a pipe with the same client: one code path, one gate.

use std::cell::OnceCell;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ArgMatches;
use model_vault::client::{Client, Endpoint};
use model_vault::home::{self, Custody, Home};
use model_vault::identity::{Enrolment, StepUpToken};
use model_vault::names::{Clock as _, SystemClock};
use model_vault::server::serve_connection;
use model_vault::vault::{Caller, Machine, RootCredential, Vault};
use model_vault::{Error, ErrorId, Result};

use crate::args::Global;
use crate::command::show;
use crate::config::{Config, Target};
use crate::credential::{Credentials, Given, by_flag};
use crate::files;

/// Bytes that wait in the pipe between client and server of one process.
const PIPE_LEN: usize = 1 << 20;

/// Settings of this call, and what was opened for it.
pub struct Session {
    target: Target,
    credentials: Credentials,
    vault: OnceCell<Arc<Vault>>,
    runtime: OnceCell<tokio::runtime::Runtime>,
}

/// What to do about a certificate that is accepted no more: renewing takes a valid one.
pub const REPLACE: &str = "an operator replaces it: vault workload revoke NAME; vault workload enroll NAME -o DIR; \
                           vault grant NAME REF";

/// A vault for bulk work.
pub enum Access {
    /// In this process.
    Local(Arc<Vault>),
    /// At the other end of a socket or connection.
    Remote(Client),
}

impl Session {
    /// From the parsed command line: `--home` or `--context`, else their environment twins, else the enrolment that the
    /// environment names, else the configuration file.
    pub fn new(global: &Global, matches: &ArgMatches) -> Result<Self> {
        let credentials = Credentials::of(global, matches)?;
        let flags = (by_flag(matches, "home"), by_flag(matches, "context"));
        let target = match (&global.home, &global.context, flags) {
            (_, _, (true, true)) => {
                return Err(Error::new(ErrorId::InvalidArgument, "both --home and --context were given"));
            }
            (Some(home), _, (_, false)) => Target::Home(Some(home.clone())),
            (None, None, _) => match enrolled() {
                Some(daemon) => daemon,
                None => configured(None)?,
            },
            (_, context, _) => configured(context.as_deref())?,
        };
        Ok(Self { target, credentials, vault: OnceCell::new(), runtime: OnceCell::new() })
    }

    /// What the user gave to open things with.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// What the settings name.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The home of the local vault.
    ///
    /// # Errors
    /// `InvalidArgument` if the settings name a server.
    pub fn home(&self) -> Result<Home> {
        match &self.target {
            Target::Home(path) => Home::resolve(path.clone(), |name| std::env::var_os(name)),
            Target::Server { .. } => Err(Error::new(
                ErrorId::InvalidArgument,
                "this command works on a local vault, and the settings name a server",
            )
            .hint("name the vault with --home, or another context with --context; MODELVAULT_ENROLMENT names a server too")),
        }
    }

    /// The home, if the settings name one without a vault: it may hold trusted signers all the same.
    ///
    /// # Errors
    /// Those of looking into it.
    pub fn home_without_vault(&self) -> Result<Option<Home>> {
        if matches!(self.target, Target::Server { .. }) {
            return Ok(None);
        }
        let home = self.home()?;
        match home.config() {
            Ok(_) => Ok(None),
            Err(e) if e.id() == ErrorId::NoVault => Ok(Some(home)),
            Err(e) => Err(e),
        }
    }

    /// The runtime for everything that waits.
    pub fn runtime(&self) -> Result<&tokio::runtime::Runtime> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        Ok(self.runtime.get_or_init(|| runtime))
    }

    /// Runs a call to its end.
    pub fn wait<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime()?.block_on(call)
    }

    /// The socket of a daemon that answers for this home.
    ///
    /// # Errors
    /// `NoVault`; `ConfigInvalid` if others could have made the socket.
    pub fn daemon(&self) -> Result<Option<PathBuf>> {
        let socket = self.socket()?;
        match home::check_socket_dir(&socket, uid()) {
            Err(e) if e.id() == ErrorId::NotFound => return Ok(None),
            checked => checked?,
        }
        // A socket nobody listens on is left over from a daemon that died: whoever serves next removes it.
        Ok(UnixStream::connect(&socket).is_ok().then_some(socket))
    }

    /// Where the daemon of this home listens for operators.
    pub fn socket(&self) -> Result<PathBuf> {
        if let Some(path) = std::env::var_os("MODELVAULT_SOCKET").filter(|p| !p.is_empty()) {
            return Ok(path.into());
        }
        let home = self.home()?;
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Ok(home.socket_path(home.config()?.vault, runtime_dir.as_deref(), uid()))
    }

    /// The vault, opened in this process.
    ///
    /// # Errors
    /// `NoVault`, `Busy` if another process holds it, and what unlocking gives.
    pub fn vault(&self) -> Result<Arc<Vault>> {
        if let Some(vault) = self.vault.get() {
            return Ok(vault.clone());
        }
        let home = self.home()?;
        // Before a passphrase is asked for in vain.
        let custody = home.config()?.custody;
        drop(home.lock().map_err(|e| held(e, "vault serve"))?);
        let credential = self.root_credential(&custody)?;
        let vault = Arc::new(
            Vault::unlock(home.path(), Some(credential), Machine::default()).map_err(|e| held(e, "vault serve"))?,
        );
        Ok(self.vault.get_or_init(|| vault).clone())
    }

    /// Takes a vault that was just made as the one to work on.
    pub fn adopt(&self, vault: Vault) {
        let _ = self.vault.set(Arc::new(vault));
    }

    fn root_credential(&self, custody: &Custody) -> Result<RootCredential> {
        match (custody, self.credentials.flag()) {
            // A credential of the wrong kind is passed on, for the vault to say which it wants.
            (Custody::Passphrase { .. }, Some(Given::KeyFile(path))) => Ok(RootCredential::KeyFile(path.clone())),
            (Custody::KeyFile { .. }, Some(Given::PassphraseFile(_) | Given::PassphraseCommand(_))) => {
                Ok(RootCredential::Passphrase(self.credentials.passphrase("Passphrase of the vault")?))
            }
            (Custody::KeyFile { path }, _) => {
                Ok(RootCredential::KeyFile(self.credentials.key_file().unwrap_or_else(|| path.clone())))
            }
            _ => Ok(RootCredential::Passphrase(self.credentials.passphrase("Passphrase of the vault")?)),
        }
    }

    /// A client for small commands, whatever it talks to.
    pub fn client(&self) -> Result<Client> {
        match self.access()? {
            Access::Remote(client) => Ok(client),
            Access::Local(vault) => {
                let (ours, theirs) = tokio::io::duplex(PIPE_LEN);
                let caller = vault.local_caller()?;
                self.runtime()?.spawn(serve_connection(vault, theirs, caller.principal, caller.channel));
                self.wait(Client::connect(Endpoint::InProcess(ours))).map(|client| self.stepped_up(client))
            }
        }
    }

    /// The vault for bulk work: the daemon's if one answers, else our own.
    pub fn access(&self) -> Result<Access> {
        if let Some(vault) = self.vault.get() {
            return Ok(Access::Local(vault.clone()));
        }
        if let Target::Server { address, enrolment } = &self.target {
            return Ok(Access::Remote(self.workload(address.clone(), Enrolment::read(enrolment)?)?));
        }
        match self.daemon()? {
            Some(socket) => self.wait(self.operate(socket)).map(|client| Access::Remote(self.stepped_up(client))),
            None => self.vault().map(Access::Local),
        }
    }

    /// The owner of the vault as caller in this process, with what a second factor opened.
    pub fn caller(&self, vault: &Vault) -> Result<Caller> {
        let mut caller = vault.local_caller()?;
        caller.evidence.shown = self.step_up().map(|token| token.holder());
        Ok(caller)
    }

    fn stepped_up(&self, client: Client) -> Client {
        match self.step_up() {
            Some(token) => client.showing(&token),
            None => client,
        }
    }

    /// Where what a second factor opened is kept: beside the socket, in a directory of this user alone.
    fn step_up_path(&self) -> Result<PathBuf> {
        let home = self.home()?;
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let socket = home.socket_path(home.config()?.vault, runtime_dir.as_deref(), uid());
        Ok(socket.with_extension("step-up"))
    }

    /// What a second factor opened, if something is kept. What cannot be read opens nothing: the vault says what is missing.
    fn step_up(&self) -> Option<StepUpToken> {
        let path = self.step_up_path().ok()?;
        home::check_socket_dir(&path, uid()).ok()?;
        let bytes = files::read_secret(&path, 128).ok()?;
        std::str::from_utf8(&bytes).ok()?.parse().ok()
    }

    /// Keeps what a second factor opened for the commands to come (mode 0600).
    pub fn keep_step_up(&self, token: &StepUpToken) -> Result<()> {
        let path = self.step_up_path()?;
        home::make_socket_dir(&path, uid())?;
        home::replace_file(&path, token.text().as_bytes()).map_err(files::on(&path))
    }

    /// Forgets it.
    pub fn forget_step_up(&self) -> Result<()> {
        let path = self.step_up_path()?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(files::on(&path)(e)),
            _ => Ok(()),
        }
    }

    /// A client on a socket. Where a variable names the socket, it must be that of this vault.
    async fn operate(&self, socket: PathBuf) -> Result<Client> {
        let client = Client::connect(Endpoint::Socket(socket)).await?;
        if std::env::var_os("MODELVAULT_SOCKET").is_some_and(|p| !p.is_empty()) {
            let (wanted, found) = (self.home()?.config()?.vault, client.status().await?.vault_id);
            if wanted != found {
                return Err(Error::new(
                    ErrorId::InvalidArgument,
                    format!("the daemon at MODELVAULT_SOCKET serves vault {found}, not {wanted}"),
                )
                .hint("unset MODELVAULT_SOCKET, or name the home of that vault"));
            }
        }
        Ok(client)
    }

    /// A client with an enrolment; the address defaults to the one in it.
    ///
    /// # Errors
    /// `BadCredential` for a certificate that has ended, which a server would refuse without a word.
    pub fn workload(&self, address: Option<String>, enrolment: Enrolment) -> Result<Client> {
        let until = enrolment.not_after()?;
        if until <= SystemClock.now() {
            let ended = show::time(until);
            if enrolment.session().is_some() {
                let text = format!("the session ended at {ended}");
                let again = "log in again with a fresh token: vault login --server HOST:PORT --token-file FILE -o DIR";
                return Err(Error::new(ErrorId::BadCredential, text).hint(again));
            }
            let id = enrolment.identity()?.id;
            let text = format!("the certificate of {}/{} expired at {ended}", id.namespace, id.name);
            return Err(Error::new(ErrorId::BadCredential, text).hint(REPLACE));
        }
        let address = address.unwrap_or_else(|| enrolment.address.clone());
        self.wait(Client::connect(Endpoint::Workload { address, enrolment }))
    }
}

/// The user this process runs as.
pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The daemon of the enrolment that the environment names.
fn enrolled() -> Option<Target> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let address = named("MODELVAULT_SERVER").and_then(|address| address.into_string().ok());
    named("MODELVAULT_ENROLMENT").map(|directory| Target::Server { address, enrolment: directory.into() })
}

fn configured(context: Option<&str>) -> Result<Target> {
    let Some(path) = Config::path(|name| std::env::var_os(name).filter(|v| !v.is_empty())) else {
        return Ok(Target::Home(None));
    };
    Ok(Config::read(&path)?.target(context)?.unwrap_or(Target::Home(None)))
}

/// A held home without a socket: say what may hold it.
fn held(error: Error, by: &str) -> Error {
    if error.id() != ErrorId::Busy {
        return error;
    }
    error.hint(format!(
        "wait for the command that uses it; if it is {by}, set XDG_RUNTIME_DIR or MODELVAULT_SOCKET as it had it"
    ))
}
