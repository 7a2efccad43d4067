//! `vault help`: of a command, or of a topic.

use std::fmt::Write;

use model_vault::{Error, ErrorId, Kind, Result};

use super::Outcome;
use crate::args::Help;
use crate::manual;
use crate::output::Output;

/// Prints it.
pub fn run(args: &Help, out: &Output, program: &'static str) -> Result<Outcome> {
    let text = match args.topic.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["environment"] => environment(program),
        ["exit-codes"] => exit_codes(),
        ["references"] => REFERENCES.into(),
        ["credentials"] => CREDENTIALS.into(),
        ref path => of_command(path, program, out.styled())?,
    };
    out.to_stdout(&text)?;
    Ok(Outcome::Done)
}

fn of_command(path: &[&str], program: &'static str, styled: bool) -> Result<String> {
    let mut command = manual::for_terminal(program);
    let mut at = &mut command;
    for name in path {
        at = at.find_subcommand_mut(name).ok_or_else(|| {
            Error::new(ErrorId::InvalidArgument, format!("no command or topic {:?}", path.join(" ")))
                .hint("topics are references, credentials, environment, exit-codes; vault help lists the commands")
        })?;
    }
    let text = at.render_help();
    Ok(if styled { text.ansi().to_string() } else { text.to_string() })
}

fn environment(program: &'static str) -> String {
    fn collect(command: &clap::Command, found: &mut std::collections::BTreeMap<String, String>) {
        for arg in command.get_arguments() {
            if let Some(name) = arg.get_env() {
                let text = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let flag = arg.get_long().map(|l| format!("--{l}: ")).unwrap_or_default();
                found.insert(name.to_string_lossy().into_owned(), format!("{flag}{text}"));
            }
        }
        command.get_subcommands().for_each(|c| collect(c, found));
    }
    let mut found = std::collections::BTreeMap::new();
    collect(&manual::command(program), &mut found);
    found.insert("MODELVAULT_LOG".into(), "logs of the library on standard error: error, warn, info, debug".into());
    for (name, text) in [
        (
            "MODELVAULT_ENROLMENT",
            "--enrolment: directory of an enrolment or session; commands speak to its daemon, unless a home or context is named",
        ),
        ("MODELVAULT_PKCS11_PIN", "PIN of the token of a pkcs11: key without pin-source"),
        ("NO_COLOR", "no colours"),
        ("CLICOLOR_FORCE", "colours on pipes too"),
        ("XDG_DATA_HOME", "the vault is in modelvault/ below it, unless MODELVAULT_HOME says otherwise"),
        ("XDG_CONFIG_HOME", "the configuration is modelvault/config.toml below it"),
        ("XDG_CACHE_HOME", "what signings read is remembered in modelvault/signed/ below it"),
        ("XDG_STATE_HOME", "versions seen by fetch are remembered in modelvault/ below it"),
        ("XDG_RUNTIME_DIR", "the daemon's socket is in modelvault/ below it"),
    ] {
        found.insert(name.into(), text.into());
    }
    let mut text = String::from(
        "A flag wins over its variable. Variables VAULT_* belong to another product and are never read.\n\n",
    );
    for (name, about) in found {
        let _ = writeln!(text, "{name:<32} {about}");
    }
    text
}

fn exit_codes() -> String {
    let mut text = String::from("0    done\n");
    for kind in Kind::ALL {
        let ids: Vec<_> = ErrorId::ALL.iter().filter(|id| id.kind() == *kind).map(|id| id.name()).collect();
        let _ = writeln!(text, "{:<4} {kind:?}: {}", kind.exit_status(), ids.join(", "));
    }
    text += "130  interrupted\n\nWith --json the id is in error.id. Treat any other status as failure.\n";
    text
}

const CREDENTIALS: &str = "\
A vault opens with the passphrase or the key file it was made with. A portable file opens with the passphrase it was sealed
to, or with the vault whose key it was sealed under. Nothing is needed while a daemon serves the vault: it knows you by
your user id.

(nothing)                       the passphrase is asked for on the terminal
--passphrase-file FILE          one line break at the end of the file is not part of the passphrase
--passphrase-command COMMAND    run by sh; what it prints is the passphrase, less one line break
--key-file FILE                 32 bytes or 64 hex digits, mode 0600

Each has a variable: MODELVAULT_PASSPHRASE_FILE, MODELVAULT_PASSPHRASE_COMMAND, MODELVAULT_KEY_FILE. A flag silences all
three. A passphrase is never an argument: others on the machine would see it.
";

const REFERENCES: &str = "\
[NAMESPACE/]NAME[@REVISION]            REVISION: v3 (a version, never changes), a tag (moves),
                                       or b3:HEX (the sealed content itself)
vault://NAMESPACE/NAME@REVISION/PATH   the same, with the path of a member

The namespace is `default` and the revision `latest` unless you say otherwise. Names and tags have 1 to 64 of
a-z 0-9 . _ - and start with a letter or digit; a tag is not v and digits.

An argument with / or . that exists on disk is a path, and one that ends in .mvlt always is; vault:// forces a reference.
";
