//! `vault login` and `vault logout`: what the vault knows of the person who calls.

use std::path::Path;

use model_vault::{Error, ErrorId, Result};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Context, show};
use crate::args;
use crate::files;
use crate::output::terminal;

/// Bytes of a file with a code.
const CODE_MAX: u64 = 256;

/// The JSON document of `vault login`.
#[derive(Debug, Serialize)]
struct LoggedIn {
    person: String,
    method: String,
    expires: String,
    recovery_codes: usize,
}

/// The JSON document of `vault logout`.
#[derive(Debug, Serialize)]
struct LoggedOut {
    ended: bool,
}

/// Uses the second factor; what shows it is kept for the commands to come.
pub fn run(cx: &Context<'_>, args: &args::Login) -> Result<()> {
    if let (Some(server), Some(token), Some(output)) = (&args.server, &args.token_file, &args.output) {
        return super::token::login(cx, args, server, token, output);
    }
    let client = cx.session.client()?;
    // Before anything is asked for in vain.
    let status = cx.session.wait(client.factor_status())?;
    if status.enrolled.is_none() {
        return Err(Error::new(ErrorId::NotFound, format!("{} has no second factor", status.person))
            .hint("enrol one: vault mfa enroll"));
    }
    let code = code(args.code.as_deref(), args.code_file.as_deref(), "Code of your second factor")?;
    let opened = cx.session.wait(client.step_up(&code))?;
    if let Some(token) = &opened.token {
        cx.session.keep_step_up(token)?;
    }
    let facts = LoggedIn {
        person: opened.person,
        method: opened.method,
        expires: opened.expires.to_string(),
        recovery_codes: opened.recovery_codes,
    };
    if facts.method == "recovery" {
        cx.out.message(format!(
            "{} recovery codes are left; vault mfa reset, then vault mfa enroll makes new ones",
            facts.recovery_codes
        ));
    }
    cx.out
        .report(&facts, |f| format!("your second factor counts until {} ({})\n", show::time(opened.expires), f.person))
}

/// Ends that.
pub fn logout(cx: &Context<'_>, args: &args::Logout) -> Result<()> {
    if let Some(directory) = &args.directory {
        return super::token::logout(cx, directory);
    }
    let client = cx.session.client()?;
    let ended = cx.session.wait(client.end_step_up())?;
    cx.session.forget_step_up()?;
    cx.out.report(&LoggedOut { ended }, |f| match f.ended {
        true => "logged out\n".into(),
        false => "nobody was logged in\n".into(),
    })
}

/// A code as it was given, else as somebody types it.
pub fn code(given: Option<&str>, file: Option<&Path>, prompt: &str) -> Result<Zeroizing<String>> {
    if let Some(code) = given {
        return Ok(Zeroizing::new(code.to_owned()));
    }
    let Some(path) = file else { return terminal::code(prompt) };
    let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
    let bytes = files::read_secret(path, CODE_MAX).map_err(files::on(path))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Error::new(ErrorId::InvalidArgument, format!("{}: not a code", path.display()))
            .hint("the file holds six digits, or a recovery code")
    })?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}
