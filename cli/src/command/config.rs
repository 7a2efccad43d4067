//! `vault config`: settings that operators change while a vault runs.

use std::io::IsTerminal;

use model_vault::facts::SettingFacts;
use model_vault::vault::check_setting;
use model_vault::{ErrorId, Result};
use serde::Serialize;

use super::Context;
use crate::args::{Config, ConfigCheck, ConfigGet, ConfigSet};
use crate::files;
use crate::output::text::visible;

/// The JSON document of `vault config set` and, without a version, of `vault config check`.
#[derive(Debug, Serialize)]
struct Taken {
    kind: &'static str,
    version: Option<u64>,
}

/// Shows, replaces or checks.
pub fn run(cx: &Context<'_>, args: &Config) -> Result<()> {
    match args {
        Config::Get(args) => get(cx, args),
        Config::Set(args) => set(cx, args),
        Config::Check(args) => check(cx, args),
    }
}

/// Shows the document in force.
pub fn get(cx: &Context<'_>, args: &ConfigGet) -> Result<()> {
    let client = cx.session.client()?;
    let setting = cx.session.wait(client.setting(args.kind.as_str()))?;
    let version = match setting.version {
        0 => format!("the built-in {}", args.kind),
        version => format!("version {version} of the {}", args.kind),
    };
    cx.out.message(version);
    // As it is: it is meant to be saved, changed and set again. A terminal gets no sequences that somebody put into comments.
    let shown = |text: &str| if std::io::stdout().is_terminal() { visible(text) } else { text.to_owned() };
    cx.out.report(&setting, |s: &SettingFacts| {
        let text = shown(&s.text);
        if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" }
    })
}

/// Puts another in force.
pub fn set(cx: &Context<'_>, args: &ConfigSet) -> Result<()> {
    let text = files::read_text(&args.file)?;
    // A mistake is found before a passphrase is asked for.
    check_setting(args.kind, &text)?;
    let client = cx.session.client()?;
    let set = cx.session.wait(client.set_setting(args.kind.as_str(), &text, args.expect));
    let version = set.map_err(|e| match (e.id(), args.expect) {
        (ErrorId::AlreadyExists, Some(_)) => e.hint(format!(
            "somebody set others meanwhile: look with vault config get {}, and name their version with --expect",
            args.kind
        )),
        _ => e,
    })?;
    let taken = Taken { kind: args.kind.as_str(), version: Some(version) };
    cx.out.report(&taken, |t| format!("version {version} of the {} is in force\n", t.kind))
}

/// Checks one without a vault.
pub fn check(cx: &Context<'_>, args: &ConfigCheck) -> Result<()> {
    check_setting(args.kind, &files::read_text(&args.file)?)?;
    cx.out.report(&Taken { kind: args.kind.as_str(), version: None }, |t| format!("good {} settings\n", t.kind))
}
