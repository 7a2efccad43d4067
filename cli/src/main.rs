//! `vault`: the command line of Model Vault. Parses arguments, calls the library, prints. No cryptography, no SQL.

mod args;
mod command;
mod config;
mod credential;
mod files;
mod interrupt;
mod manual;
mod output;
mod session;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::FromArgMatches;
use clap::error::ErrorKind;
use model_vault::{Error, ErrorId};

use crate::args::{Cli, Command, When};
use crate::command::Outcome;
use crate::output::Output;

fn main() -> ExitCode {
    start().unwrap_or_else(|failed| {
        eprintln!("vault: error: {failed:#}");
        ExitCode::from(ErrorId::InvalidArgument.kind().exit_status())
    })
}

fn start() -> anyhow::Result<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let program = called_by(&arguments);
    let matches = match manual::for_terminal(program).try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(refused) => return Ok(refuse(&refused, &arguments)),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(refused) => return Ok(refuse(&refused, &arguments)),
    };
    let output = Output::new(cli.global.json, cli.global.color);
    if let Err(error) = logging() {
        output.error(&error);
        return Ok(ExitCode::from(error.kind().exit_status()));
    }
    // The daemon ends in its own way: it drains.
    if !matches!(cli.command, Command::Serve(_)) {
        interrupt::watch().context("signals cannot be watched")?;
    }
    Ok(match command::run(cli, &matches, &output, program) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(ErrorId::Findings.kind().exit_status()),
        Ok(Outcome::Refused(error)) => {
            // With --json the report is the one document.
            if !output.json() {
                output.error(&error);
            }
            ExitCode::from(error.kind().exit_status())
        }
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.kind().exit_status())
        }
    })
}

/// The name the binary was called by: it is installed as `modelvault` too, where another product owns `vault`.
fn called_by(arguments: &[OsString]) -> &'static str {
    let name = arguments.first().map(std::path::Path::new).and_then(|p| p.file_name());
    if name.is_some_and(|n| n == "modelvault") { "modelvault" } else { "vault" }
}

/// Help and version go to standard output; anything else is a usage error in the form all errors have.
fn refuse(refused: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let json = arguments.iter().take_while(|a| *a != "--").any(|a| a == "--json");
    match refused.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that went away has seen what it wanted.
            let _ = refused.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !json => {
            // The parser prints this kind to standard error.
            let _ = refused.print();
            ExitCode::from(ErrorId::InvalidArgument.kind().exit_status())
        }
        _ => {
            let error: Error = output::error::from_clap(refused, arguments);
            Output::new(json, When::Auto).error(&error);
            ExitCode::from(error.kind().exit_status())
        }
    }
}

/// Logs of the library, for those who ask: `MODELVAULT_LOG=debug`. Commands tell the rest themselves.
fn logging() -> Result<(), Error> {
    let Some(filter) = std::env::var_os("MODELVAULT_LOG").filter(|f| !f.is_empty()) else { return Ok(()) };
    let filter = filter.to_string_lossy().parse::<tracing_subscriber::EnvFilter>().map_err(|e| {
        Error::new(ErrorId::ConfigInvalid, format!("MODELVAULT_LOG: {e}"))
            .hint("levels are error, warn, info, debug and trace: MODELVAULT_LOG=model_vault=debug")
    })?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    logs.try_init().map_err(|e| Error::new(ErrorId::Internal, format!("logs cannot be written: {e}")))
}
