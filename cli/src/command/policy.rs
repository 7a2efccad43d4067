//! `vault policy`: the Cedar text that decides.

use std::io::{IsTerminal, Read};
use std::path::Path;

use model_vault::facts::PolicyFacts;
use model_vault::{Error, ErrorId, Result};
use serde::Serialize;

use super::Context;
use crate::args::{Policy, PolicySet};
use crate::files;
use crate::output::text::visible;

/// No policy is larger.
const POLICY_MAX: u64 = 1 << 20;

/// The JSON document of `vault policy set`.
#[derive(Debug, Serialize)]
struct Set {
    version: u64,
}

/// Shows or replaces.
pub fn run(cx: &Context<'_>, args: &Policy) -> Result<()> {
    match args {
        Policy::Get => get(cx),
        Policy::Set(args) => set(cx, args),
    }
}

fn get(cx: &Context<'_>) -> Result<()> {
    let client = cx.session.client()?;
    let policy = cx.session.wait(client.policy())?;
    let version =
        if policy.version == 0 { "the built-in policy".into() } else { format!("policy version {}", policy.version) };
    cx.out.message(version);
    // As it is: it is meant to be saved, changed and set again. A terminal gets no sequences that somebody put into comments.
    let shown = |text: &str| if std::io::stdout().is_terminal() { visible(text) } else { text.to_owned() };
    cx.out.report(&policy, |p: &PolicyFacts| {
        let text = shown(&p.text);
        if text.ends_with('\n') { text } else { text + "\n" }
    })
}

fn set(cx: &Context<'_>, args: &PolicySet) -> Result<()> {
    let bytes = if args.file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(POLICY_MAX + 1).read_to_end(&mut bytes)?;
        bytes
    } else {
        files::read_small(&args.file, POLICY_MAX).map_err(files::on(&args.file))?
    };
    let text = String::from_utf8(bytes).ok().filter(|t| t.len() as u64 <= POLICY_MAX).ok_or_else(|| {
        Error::new(
            ErrorId::InvalidArgument,
            format!("{}: not UTF-8, or more than {POLICY_MAX} bytes", args.file.display()),
        )
    })?;
    let client = cx.session.client()?;
    let set = Set { version: cx.session.wait(client.set_policy(&text))? };
    cx.out.report(&set, |s| format!("policy version {} is in force\n", s.version))
}
