//! Passphrases and key files as the user gives them: by flag, by environment, at the terminal; never as an argument.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::ArgMatches;
use clap::parser::ValueSource;
use model_vault::crypto::keys::Passphrase;
use model_vault::error::reason;
use model_vault::{Error, ErrorId, Result};
use zeroize::Zeroizing;

use crate::args::Global;
use crate::files;
use crate::output::terminal;

/// No passphrase is longer (bytes).
const PASSPHRASE_MAX: u64 = 4096;

/// One way to give a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// `--passphrase-file`
    PassphraseFile(PathBuf),
    /// `--passphrase-command`
    PassphraseCommand(String),
    /// `--key-file`
    KeyFile(PathBuf),
}

/// What was given: at most one by flag, which counts alone; else what the environment has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    flag: Option<Given>,
    environment: Vec<Given>,
}

impl Credentials {
    /// From the parsed command line.
    ///
    /// # Errors
    /// `InvalidArgument` for more than one flag.
    pub fn of(global: &Global, matches: &ArgMatches) -> Result<Self> {
        let all = [
            ("passphrase_file", global.passphrase_file.clone().map(Given::PassphraseFile)),
            ("passphrase_command", global.passphrase_command.clone().map(Given::PassphraseCommand)),
            ("key_file", global.key_file.clone().map(Given::KeyFile)),
        ];
        let mut credentials = Self::default();
        for (id, given) in all {
            match given {
                Some(given) if by_flag(matches, id) => {
                    if credentials.flag.replace(given).is_some() {
                        let text = "more than one of --passphrase-file, --passphrase-command and --key-file";
                        return Err(Error::new(ErrorId::InvalidArgument, text).hint("give one credential"));
                    }
                }
                given => credentials.environment.extend(given),
            }
        }
        Ok(credentials)
    }

    /// The key file, if one was given.
    pub fn key_file(&self) -> Option<PathBuf> {
        self.first(|given| match given {
            Given::KeyFile(path) => Some(path.clone()),
            _ => None,
        })
    }

    /// Whether the flags name a key file or passphrase rather than leave the choice to the environment.
    pub fn flag(&self) -> Option<&Given> {
        self.flag.as_ref()
    }

    /// Whether there is a passphrase without asking for it.
    pub fn has_passphrase(&self) -> bool {
        self.passphrase_source().is_some()
    }

    /// The passphrase that opens something that exists.
    ///
    /// # Errors
    /// `NoCredential` if none was given and none can be asked for.
    pub fn passphrase(&self, prompt: &str) -> Result<Passphrase> {
        self.given_passphrase().unwrap_or_else(|| terminal::passphrase(prompt))
    }

    /// A passphrase for something that is made now: asked for twice.
    pub fn new_passphrase(&self, prompt: &str) -> Result<Passphrase> {
        self.given_passphrase().unwrap_or_else(|| terminal::new_passphrase(prompt))
    }

    fn given_passphrase(&self) -> Option<Result<Passphrase>> {
        self.passphrase_source().map(|given| match given {
            Given::PassphraseFile(path) => from_file(&path),
            Given::PassphraseCommand(command) => from_command(&command),
            Given::KeyFile(_) => Err(Error::new(ErrorId::NoCredential, "a key file is not a passphrase")),
        })
    }

    fn passphrase_source(&self) -> Option<Given> {
        self.first(|given| (!matches!(given, Given::KeyFile(_))).then(|| given.clone()))
    }

    fn first<T>(&self, wanted: impl Fn(&Given) -> Option<T>) -> Option<T> {
        match &self.flag {
            Some(given) => wanted(given),
            None => self.environment.iter().find_map(wanted),
        }
    }
}

/// Whether an argument came from the command line itself, not from the environment or a default.
pub fn by_flag(matches: &ArgMatches, id: &str) -> bool {
    // Global arguments are copied down to the subcommand that was called.
    let mut at = matches;
    loop {
        if at.try_contains_id(id).is_ok() && at.value_source(id) == Some(ValueSource::CommandLine) {
            return true;
        }
        match at.subcommand() {
            Some((_, inner)) => at = inner,
            None => return false,
        }
    }
}

fn from_file(path: &std::path::Path) -> Result<Passphrase> {
    let bytes = files::read_secret(path, PASSPHRASE_MAX).map_err(|e| {
        Error::new(
            ErrorId::NoCredential,
            format!("the passphrase cannot be read from {}: {}", path.display(), reason(&e)),
        )
        .hint("check --passphrase-file and MODELVAULT_PASSPHRASE_FILE")
    })?;
    from_bytes(&bytes, &path.display().to_string())
}

fn from_command(command: &str) -> Result<Passphrase> {
    let fail = |why: String| {
        Error::new(ErrorId::NoCredential, format!("the passphrase command {why}"))
            .hint("check --passphrase-command and MODELVAULT_PASSPHRASE_COMMAND")
    };
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| fail(format!("cannot be run: {e}")))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSPHRASE_MAX as usize + 1));
    if let Some(out) = child.stdout.take() {
        out.take(PASSPHRASE_MAX + 1).read_to_end(&mut bytes).map_err(|e| fail(format!("cannot be read: {e}")))?;
    }
    let status = child.wait().map_err(|e| fail(format!("was lost: {e}")))?;
    if !status.success() {
        return Err(fail(format!("failed ({status})")));
    }
    if bytes.len() as u64 > PASSPHRASE_MAX {
        return Err(fail(format!("printed more than {PASSPHRASE_MAX} bytes")));
    }
    from_bytes(&bytes, "the passphrase command")
}

fn from_bytes(bytes: &[u8], source: &str) -> Result<Passphrase> {
    let fail = |why| Error::new(ErrorId::NoCredential, format!("{source}: {why}"));
    let text = std::str::from_utf8(bytes).map_err(|_| fail("the passphrase is not UTF-8"))?;
    let passphrase = Passphrase::new(text.to_owned());
    if passphrase.is_empty() {
        return Err(fail("the passphrase is empty"));
    }
    Ok(passphrase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use crate::manual::command;
    use clap::FromArgMatches;

    fn credentials(args: &[&str]) -> Result<Credentials> {
        let matches = command("vault").get_matches_from(args);
        Credentials::of(&Cli::from_arg_matches(&matches).unwrap().global, &matches)
    }

    #[test]
    fn flags_count_wherever_they_stand_and_only_one_may_be_given() {
        for args in [["vault", "--key-file", "k", "ls"], ["vault", "ls", "--key-file", "k"]] {
            assert_eq!(credentials(&args).unwrap().flag(), Some(&Given::KeyFile("k".into())));
        }
        let two = credentials(&["vault", "--key-file", "k", "ls", "--passphrase-file", "p"]);
        assert_eq!(two.unwrap_err().id(), ErrorId::InvalidArgument);
    }

    #[test]
    fn a_flag_silences_the_environment() {
        let environment = vec![Given::PassphraseFile("p".into()), Given::KeyFile("k".into())];
        let both = Credentials { flag: None, environment: environment.clone() };
        assert_eq!(both.key_file(), Some("k".into()));
        assert!(both.has_passphrase());
        let flag = Credentials { flag: Some(Given::KeyFile("f".into())), environment };
        assert_eq!(flag.key_file(), Some("f".into()));
        assert!(!flag.has_passphrase());
    }

    #[test]
    fn passphrases_come_from_files_and_commands() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        std::fs::write(&path, "secret\n").unwrap();
        assert_eq!(from_file(&path).unwrap(), Passphrase::new("secret".into()));
        assert_eq!(from_command("echo secret").unwrap(), Passphrase::new("secret".into()));
        for failing in ["exit 3", "true", "printf '\\377'", "head -c 5000 /dev/zero"] {
            assert_eq!(from_command(failing).unwrap_err().id(), ErrorId::NoCredential, "{failing}");
        }
        assert_eq!(from_file(&dir.path().join("none")).unwrap_err().id(), ErrorId::NoCredential);
    }
}
