//! Whom a fetch asks: the daemon of an enrolment, or the vault of this machine.

use std::path::{Path, PathBuf};

use model_vault::client::{Client, TagFloor};
use model_vault::crypto::sign::PublicKey;
use model_vault::identity::Enrolment;
use model_vault::names::{Name, Reference, VaultId};
use model_vault::{Error, ErrorId, Result};

use super::Context;
use crate::args::Daemon;
use crate::config::Target;
use crate::session::REPLACE;

/// Whom to ask, and whom to believe.
pub struct Remote {
    /// Speaks with it.
    pub client: Client,
    /// Trusted unless the user names others.
    pub signers: Vec<PublicKey>,
    /// Names the vault in the record of versions seen, however its address was spelt.
    vault: VaultId,
    enrolment: Option<PathBuf>,
}

impl Remote {
    /// The daemon that was named, else that of the settings, else the vault of this machine.
    ///
    /// # Errors
    /// `NoCredential` for a server without an enrolment; those of connecting, and of opening the vault.
    pub fn of(cx: &Context<'_>, daemon: &Daemon, namespace: &Name) -> Result<Self> {
        let enrolled = match (&daemon.enrolment, cx.session.target()) {
            (Some(dir), _) => Some((daemon.server.clone(), dir.clone())),
            (None, Target::Server { address, enrolment }) => {
                Some((daemon.server.clone().or(address.clone()), enrolment.clone()))
            }
            (None, Target::Home(_)) => None,
        };
        if let Some((address, directory)) = enrolled {
            let enrolment = Enrolment::read(&directory)?;
            let signers = enrolment.signers.clone();
            let address = address.unwrap_or_else(|| enrolment.address.clone());
            let vault = enrolment.vault()?;
            let client = cx.session.workload(Some(address), enrolment)?;
            return Ok(Self { client, signers, vault, enrolment: Some(directory) });
        }
        if daemon.server.is_some() {
            return Err(Error::new(ErrorId::NoCredential, "a server is named, but no enrolment to speak to it with")
                .hint("give --enrolment DIR (made by: vault workload enroll NAME -o DIR)"));
        }
        // On this machine: the vault itself is trusted to name its signers.
        let client = cx.session.client()?;
        let signers = cx.session.wait(client.signers(namespace))?;
        let vault = cx.session.home()?.config()?.vault;
        Ok(Self { client, signers, vault, enrolment: None })
    }

    /// Where tags were seen: `$XDG_STATE_HOME/modelvault/versions-seen.json`; beside the enrolment's directory where there is no
    /// home (containers).
    ///
    /// # Errors
    /// `InvalidArgument` where no directory is known; those of the file.
    pub fn floor(&self) -> Result<TagFloor> {
        const FILE: &str = "versions-seen.json";
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        let directory = match (state, &self.enrolment) {
            (Some(base), _) => base.join("modelvault"),
            (None, Some(enrolment)) => enrolment.parent().unwrap_or(Path::new(".")).to_path_buf(),
            (None, None) => {
                return Err(Error::new(
                    ErrorId::InvalidArgument,
                    "no directory for the record of versions seen is known",
                )
                .hint("set XDG_STATE_HOME, or give --no-state"));
            }
        };
        std::fs::create_dir_all(&directory).map_err(|e| {
            Error::from(e)
                .on(directory.display())
                .hint("set XDG_STATE_HOME to a writable directory, or give --no-state")
        })?;
        TagFloor::open(&directory.join(FILE))
    }

    /// Under what a tag is remembered there.
    pub fn floor_key(&self, reference: &Reference) -> String {
        format!("{} {}/{}@{}", self.vault, reference.namespace, reference.name, reference.revision)
    }
}

/// A daemon tells a workload little; what it means can be said here.
pub fn explain(error: Error, reference: &Reference) -> Error {
    if error.id() != ErrorId::BadCredential {
        return error;
    }
    error.on(reference).hint(format!("the certificate expired or was revoked; {REPLACE}"))
}
