//! `vault key`: who is believed. In a vault, through its daemon, or in a home that has none.

use std::path::Path;

use model_vault::crypto::sign::VerifyingKey;
use model_vault::facts::TrustFacts;
use model_vault::identity::signer::Anchors;
use model_vault::identity::signers::{self, Signers, Trust, Trusting, Untrusting};
use model_vault::names::{Clock, SystemClock};
use model_vault::vault::trust_facts;
use model_vault::{Error, ErrorId, Result};

use super::{Context, identity, show};
use crate::args::key::{self, Key};
use crate::files::{on, read_small};
use crate::output::table::Table;

/// More than any file of authorities.
const AUTHORITIES_MAX: u64 = 1 << 20;

/// Trusts, drops, lists.
pub fn run(cx: &Context<'_>, args: &Key) -> Result<()> {
    match args {
        Key::Trust(args) => trust(cx, args),
        Key::Untrust(args) => untrust(cx, args),
        Key::Ls => ls(cx),
        Key::New(args) => identity::new(cx, args),
        Key::Show(args) => identity::show(cx, args),
    }
}

fn trust(cx: &Context<'_>, args: &key::Trust) -> Result<()> {
    let what = match (&args.key, &args.ca) {
        (Some(file), _) => VerifyingKey::read_all(file)?.into_iter().map(Trust::Key).collect(),
        (None, Some(file)) => Trust::authorities(&authorities(file)?, &args.signer_name)?,
        (None, None) => Vec::new(),
    };
    let (until, namespaces) = (args.until, args.namespace.clone());
    let change = Trusting { name: args.name.clone(), what, until, namespaces };
    let facts = match cx.session.home_without_vault()? {
        Some(home) => of_file(&signers::update(&home, |store| change.apply(store))?),
        None => {
            let client = cx.session.client()?;
            cx.session.wait(client.trust_signer(&change))?
        }
    };
    print(cx, only(facts, args.name.as_str()))
}

fn untrust(cx: &Context<'_>, args: &key::Untrust) -> Result<()> {
    let change = Untrusting { name: args.name.clone(), key: args.key.clone(), revoke: args.reason.clone() };
    let facts = match cx.session.home_without_vault()? {
        // No directory is made only to say that nobody is trusted.
        Some(home) if !home.signers_path().exists() => {
            return Err(Error::new(ErrorId::NotFound, format!("no trusted signer {}", args.name))
                .hint("vault key ls shows those there are"));
        }
        Some(home) => of_file(&signers::update(&home, |store| change.apply(store, SystemClock.now()))?),
        None => {
            let client = cx.session.client()?;
            cx.session.wait(client.untrust_signer(&change))?
        }
    };
    print(cx, only(facts, args.name.as_str()))
}

fn ls(cx: &Context<'_>) -> Result<()> {
    let facts = match cx.session.home_without_vault()? {
        Some(home) => of_file(&Signers::read(&home.signers_path())?),
        None => {
            let client = cx.session.client()?;
            cx.session.wait(client.read_signers())?
        }
    };
    if facts.signers.is_empty() {
        cx.out.message("no signer is trusted; vault key trust NAME --key FILE trusts one");
    }
    print(cx, facts)
}

fn authorities(file: &Path) -> Result<Anchors> {
    let text = read_small(file, AUTHORITIES_MAX).map_err(on(file))?;
    Anchors::from_pem(&text).map_err(|e| e.on(file.display()))
}

fn of_file(signers: &Signers) -> TrustFacts {
    trust_facts(signers, None, SystemClock.now())
}

/// What concerns one signer, and all revocations.
fn only(mut facts: TrustFacts, name: &str) -> TrustFacts {
    facts.signers.retain(|signer| signer.name.as_str() == name);
    facts.identities.retain(|identity| identity.name.as_str() == name);
    facts
}

fn print(cx: &Context<'_>, facts: TrustFacts) -> Result<()> {
    cx.out.report(&facts, |f| text(f, cx.out.styled()))
}

fn text(facts: &TrustFacts, styled: bool) -> String {
    let mut text = String::new();
    if !facts.identities.is_empty() {
        let mut table = Table::new(&["IDENTITY", "KEYS"]);
        for i in &facts.identities {
            let keys = i.keys.iter().map(|key| format!("{} {}", key.algorithm, key.keyid.short()));
            table.row([i.name.to_string(), keys.collect::<Vec<_>>().join(", ")]);
        }
        text += &table.render(styled);
        text.push('\n');
    }
    if !facts.signers.is_empty() {
        let mut table = Table::new(&["SIGNER", "KEY", "KIND", "NAMESPACES", "UNTIL", "STATE"]);
        for s in &facts.signers {
            let namespaces = s.namespaces.as_ref().map(|list| list.iter().map(|n| n.as_str()).collect::<Vec<_>>());
            table.row([
                s.name.to_string(),
                s.keyids.iter().map(|id| id.short()).collect::<Vec<_>>().join(" "),
                s.algorithm.clone().unwrap_or_else(|| match &s.names[..] {
                    [] => "ca".into(),
                    names => format!("ca ({})", names.join(" ")),
                }),
                namespaces.map_or_else(|| "all".into(), |list| list.join(" ")),
                s.until.map_or_else(String::new, show::time),
                s.state.clone(),
            ]);
        }
        text += &table.render(styled);
    }
    if !facts.revoked.is_empty() {
        let mut table = Table::new(&["REVOKED KEY", "SINCE", "REASON"]);
        for r in &facts.revoked {
            table.row([r.keyid.short(), show::time(r.since), r.reason.clone()]);
        }
        if !facts.signers.is_empty() {
            text.push('\n');
        }
        text += &table.render(styled);
    }
    text
}
