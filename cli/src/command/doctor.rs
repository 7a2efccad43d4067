//! `vault doctor`: what is wrong, or could go wrong, on this machine and in this vault.

use std::fs;
use std::os::unix::fs::MetadataExt;

use model_vault::client::Client;
use model_vault::crypto::keys;
use model_vault::home::{Custody, Home};
use model_vault::names::{Clock, SystemClock};
use model_vault::vault::Vault;
use model_vault::{Error, Result};
use serde::Serialize;

use super::{Context, Outcome};
use crate::output::table::Table;
use crate::output::text::{count, size};
use crate::session::Access;

/// Findings of the examination that are shown; their number always is.
const SHOWN: usize = 5;
/// Less free space than this is worth a warning (bytes).
const LITTLE_SPACE: u64 = 1 << 30;
/// 2026-01-01 in milliseconds: no clock that is right shows an earlier time to this release.
const RELEASED: i64 = 1_767_225_600_000;
/// 2100-01-01.
const FAR_FUTURE: i64 = 4_102_444_800_000;

/// The JSON document of `vault doctor`.
#[derive(Debug, Default, Serialize)]
struct Diagnosis {
    /// No check failed.
    healthy: bool,
    checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    result: Health,
    message: String,
    hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    Warn,
    Fail,
}

impl Diagnosis {
    fn add(&mut self, name: &'static str, result: Health, message: impl Into<String>, hint: Option<&str>) {
        self.checks.push(Check { name, result, message: message.into(), hint: hint.map(Into::into) });
    }

    fn ok(&mut self, name: &'static str, message: impl Into<String>) {
        self.add(name, Health::Ok, message, None);
    }

    fn warn(&mut self, name: &'static str, message: impl Into<String>, hint: &str) {
        self.add(name, Health::Warn, message, Some(hint));
    }

    fn error(&mut self, name: &'static str, error: &Error) {
        self.add(name, Health::Fail, error.message(), error.hint_text());
    }

    fn outcome<T>(&mut self, name: &'static str, outcome: Result<T>, say: impl FnOnce(&T) -> String) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.ok(name, say(&value));
                Some(value)
            }
            Err(error) => {
                self.error(name, &error);
                None
            }
        }
    }
}

/// Examines, reports, and tells by the exit status whether anything failed.
pub fn run(cx: &Context<'_>) -> Result<Outcome> {
    let mut found = Diagnosis::default();
    let home = cx.session.home()?;
    machine(&mut found);
    if vault_files(&mut found, &home) {
        disk(&mut found, &home);
        open(cx, &mut found);
    }
    found.healthy = found.checks.iter().all(|c| c.result != Health::Fail);
    let styled = cx.out.styled();
    cx.out.report(&found, |found| {
        let mut table = Table::new(&["CHECK", "RESULT", "FOUND"]);
        for check in &found.checks {
            let word = match check.result {
                Health::Ok => "ok",
                Health::Warn => "WARN",
                Health::Fail => "FAIL",
            };
            table.row([check.name.into(), word.into(), check.message.clone()]);
            if let Some(hint) = &check.hint {
                table.row([String::new(), String::new(), format!("-> {hint}")]);
            }
        }
        table.render(styled)
    })?;
    Ok(if found.healthy { Outcome::Done } else { Outcome::Findings })
}

fn machine(found: &mut Diagnosis) {
    let now = SystemClock.now();
    if (RELEASED..FAR_FUTURE).contains(&now.as_millis()) {
        found.ok("clock", super::show::time(now));
    } else {
        found.add(
            "clock",
            Health::Fail,
            format!("shows {now}"),
            Some("set the clock: certificates and leases depend on it"),
        );
    }
    let protection = keys::protection();
    match protection.locked {
        true => found.ok("key memory", "can be locked"),
        false => {
            found.warn("key memory", "cannot be locked: keys may be swapped out", "raise the limit: ulimit -l 8192")
        }
    }
    match protection.undumpable {
        true => found.ok("core dumps", "leave keys out"),
        false => found.warn("core dumps", "would contain keys", "turn core dumps off: ulimit -c 0"),
    }
    match fs::read_to_string("/proc/swaps").map(|text| text.lines().count() > 1) {
        Ok(false) => found.ok("swap", "off"),
        Ok(true) => found.warn(
            "swap",
            "on: plaintext of running commands may reach it",
            "encrypt it, or turn it off: swapoff -a",
        ),
        Err(e) => found.warn("swap", format!("cannot be seen: {e}"), "check it by hand"),
    }
}

/// Whether there is a vault to go on with.
fn vault_files(found: &mut Diagnosis, home: &Home) -> bool {
    let place = |config: &model_vault::home::VaultToml| format!("vault {} in {}", config.vault, home.path().display());
    let Some(config) = found.outcome("home", home.config(), place) else { return false };
    exposed_files(found, home);
    if let Custody::KeyFile { path } = &config.custody {
        match fs::metadata(path) {
            Ok(facts)
                if facts.dev() == fs::metadata(home.path()).map_or(0, |h| h.dev()) && path.starts_with(home.path()) =>
            {
                found.warn(
                    "key file",
                    format!("{} lies in the home itself", path.display()),
                    "keep it elsewhere: a copy of the home would open itself",
                );
            }
            Ok(_) => found.ok("key file", path.display().to_string()),
            Err(e) => found.warn("key file", format!("{}: {e}", path.display()), "give --key-file"),
        }
    }
    true
}

fn exposed_files(found: &mut Diagnosis, home: &Home) {
    let files = [home.config_path(), home.keyring_path(), home.catalogue_path(), home.keys_path(), home.lock_path()];
    let mut wrong = Vec::new();
    for path in files {
        match fs::symlink_metadata(&path) {
            Ok(facts) if facts.is_file() && facts.mode() & 0o077 == 0 => {}
            Ok(_) => wrong.push(format!("{} is open to others", path.display())),
            Err(e) => wrong.push(format!("{}: {e}", path.display())),
        }
    }
    if wrong.is_empty() {
        found.ok("permissions", "private");
    } else {
        found.add("permissions", Health::Fail, wrong.join("; "), Some("chmod 600 the files; restore what is missing"));
    }
}

fn disk(found: &mut Diagnosis, home: &Home) {
    match rustix::fs::statvfs(home.path()) {
        Ok(facts) => {
            let free = facts.f_bavail.saturating_mul(facts.f_frsize);
            let text = format!("{} free", size(free));
            if free < LITTLE_SPACE {
                found.warn(
                    "disk",
                    text,
                    "make room: a full disk stops sealing, and opening too (the audit log must be written)",
                );
            } else {
                found.ok("disk", text);
            }
        }
        Err(e) => found.warn("disk", format!("cannot be seen: {e}"), "check it by hand"),
    }
}

fn open(cx: &Context<'_>, found: &mut Diagnosis) {
    match cx.session.daemon() {
        Ok(Some(socket)) => found.ok("daemon", format!("answers at {}", socket.display())),
        Ok(None) => found.ok("daemon", "none runs"),
        Err(e) => found.error("daemon", &e),
    }
    let Some(client) = found.outcome("custody", cx.session.client(), |_| "the vault opens".into()) else { return };
    let status = |client: &Client| cx.session.wait(client.status());
    found.outcome("contents", status(&client), |s| {
        format!("{}, {}", count(s.artifacts, "artifact"), count(s.versions, "version"))
    });
    match cx.session.access() {
        Ok(Access::Local(vault)) => examine(found, &vault),
        Ok(Access::Remote(_)) => found.warn(
            "catalogue",
            "was not examined: a daemon holds the vault",
            "stop the daemon and run vault doctor again, to have every row and every blob looked at",
        ),
        Err(e) => found.error("catalogue", &e),
    }
    found.outcome("audit log", cx.session.wait(client.audit_verify(None)), |a| {
        format!("{} and {} verified", count(a.records, "record"), count(a.checkpoints, "checkpoint"))
    });
}

/// Every row of the catalogue, and whether what it names is there.
fn examine(found: &mut Diagnosis, vault: &Vault) {
    match vault.local_caller().and_then(|caller| vault.check(&caller)) {
        Ok(facts) if facts.findings.is_empty() => found.ok(
            "catalogue",
            format!(
                "sound: {}; keys and blobs of {} are there",
                count(facts.rows, "row"),
                count(facts.versions, "version")
            ),
        ),
        Ok(facts) => {
            let mut text = facts.findings.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
            if facts.findings.len() > SHOWN {
                text += &format!("; and {} more", facts.findings.len() - SHOWN);
            }
            found.add(
                "catalogue",
                Health::Fail,
                text,
                Some("restore the home from a backup; what is whole still opens"),
            );
        }
        Err(e) => found.error("catalogue", &e),
    }
    match vault.sweep() {
        Ok(swept) if swept.total() == 0 => found.ok("leftovers", "none"),
        Ok(swept) => {
            found.ok("leftovers", format!("{} removed", count(swept.blobs + swept.unfinished, "orphaned blob")))
        }
        Err(e) => found.error("leftovers", &e),
    }
}
