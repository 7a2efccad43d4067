//! `vault init`: makes a vault.

use std::path::{Path, PathBuf};

use model_vault::Result;
use model_vault::names::VaultId;
use model_vault::vault::{InitSpec, Machine, Vault};
use serde::Serialize;

use super::Context;
use crate::credential::Given;
use crate::output::table::facts;

/// The JSON document of `vault init`.
#[derive(Debug, Serialize)]
struct Made {
    vault_id: VaultId,
    home: PathBuf,
    custody: &'static str,
    /// The file without which the vault cannot be opened.
    key_file: Option<PathBuf>,
}

/// Makes the vault and tells about it.
pub fn run(cx: &Context<'_>) -> Result<()> {
    let (vault, made) = make(cx)?;
    drop(vault);
    let passphrase = made.key_file.is_none();
    cx.out.report(&made, |made| {
        facts([
            ("vault", Some(made.vault_id.to_string())),
            ("home", Some(made.home.display().to_string())),
            ("custody", Some(made.custody.into())),
            (
                "key file",
                made.key_file.as_ref().map(|p| format!("{} (keep a copy: nothing else opens the vault)", p.display())),
            ),
        ])
    })?;
    if passphrase {
        cx.out.message("keep the passphrase: nothing else opens the vault");
    }
    cx.out.message("next: vault seal PATH");
    Ok(())
}

/// Makes the vault on the way to something else.
pub fn on_the_way(cx: &Context<'_>) -> Result<Vault> {
    let (vault, made) = make(cx)?;
    cx.out.message(format!("made vault {} in {}", made.vault_id, made.home.display()));
    Ok(vault)
}

fn make(cx: &Context<'_>) -> Result<(Vault, Made)> {
    let home = cx.session.home()?;
    // Before a passphrase is asked for in vain.
    if home.has_vault() {
        let text = format!("{} holds a vault already", home.path().display());
        return Err(model_vault::Error::new(model_vault::ErrorId::AlreadyExists, text)
            .hint("use it, or name another directory with --home"));
    }
    let credentials = cx.session.credentials();
    let by_flag = credentials.flag();
    let key_file = credentials
        .key_file()
        .filter(|_| !matches!(by_flag, Some(Given::PassphraseFile(_) | Given::PassphraseCommand(_))));
    let (spec, custody) = match &key_file {
        Some(path) => (InitSpec::KeyFile(absolute(path)), "key-file"),
        None => (InitSpec::Passphrase(credentials.new_passphrase("Passphrase of the new vault")?), "passphrase"),
    };
    let vault = Vault::init(home.path(), spec, Machine::default())?;
    let made = Made {
        vault_id: vault.vault_id(),
        home: home.path().to_path_buf(),
        custody,
        key_file: key_file.as_deref().map(absolute),
    };
    Ok((vault, made))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
