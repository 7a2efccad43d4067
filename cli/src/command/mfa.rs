//! `vault mfa`: the second factor of an operator.

use std::io::IsTerminal;

use model_vault::Result;
use model_vault::facts::{EnrolmentFacts, FactorFacts};
use qrcodegen::{QrCode, QrCodeEcc};
use serde::Serialize;

use super::{Context, login, show};
use crate::args::mfa::{Enroll, Mfa, Reset};
use crate::output::table::facts;

/// The JSON document of a confirmed enrolment.
#[derive(Debug, Serialize)]
struct Confirmed {
    recovery_codes: Vec<String>,
}

/// The JSON document of `vault mfa reset`.
#[derive(Debug, Serialize)]
struct Taken {
    person: String,
}

/// Enrols, shows, takes away.
pub fn run(cx: &Context<'_>, args: &Mfa) -> Result<()> {
    match args {
        Mfa::Enroll(args) => enroll(cx, args),
        Mfa::Status => status(cx),
        Mfa::Reset(args) => reset(cx, args),
    }
}

fn enroll(cx: &Context<'_>, args: &Enroll) -> Result<()> {
    let client = cx.session.client()?;
    let begun_before = args.code.is_some() || args.code_file.is_some();
    if !begun_before {
        let begun = cx.session.wait(client.enroll_factor())?;
        let person_there = !cx.out.json() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        cx.out.report(&begun, |begun| if person_there { to_scan(begun) } else { format!("{}\n", begun.uri) })?;
        if !person_there {
            cx.out.message("put this into an authenticator app, then confirm: vault mfa enroll --code CODE");
            return Ok(());
        }
    }
    let code = login::code(args.code.as_deref(), args.code_file.as_deref(), "First code that the app shows")?;
    let recovery_codes = cx.session.wait(client.confirm_factor(&code))?;
    cx.out.report(&Confirmed { recovery_codes }, |c| {
        let codes: String = c.recovery_codes.iter().map(|code| format!("  {code}\n")).collect();
        format!(
            "enrolled. Each of these codes counts once, for when the app is lost; they are not shown again:\n{codes}"
        )
    })
}

/// The code for a camera, and the same in letters.
fn to_scan(begun: &EnrolmentFacts) -> String {
    let picture = QrCode::encode_text(&begun.uri, QrCodeEcc::Low).map_or_else(|_| String::new(), |code| picture(&code));
    let letters: Vec<_> = begun.secret.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    format!(
        "{picture}\nScan this with an authenticator app, or type the key of {}: {}\n",
        begun.person,
        letters.join(" ")
    )
}

/// Two rows a line, light on dark whatever the terminal's colours: many apps read no other. With the quiet zone around it.
fn picture(code: &QrCode) -> String {
    const QUIET: i32 = 2;
    let end = code.size() + QUIET;
    let dark = |x: i32, y: i32| y < code.size() && code.get_module(x, y);
    let mut out = String::new();
    for y in (-QUIET..end).step_by(2) {
        out += "\x1b[40;97m";
        for x in -QUIET..end {
            out.push(match (dark(x, y), dark(x, y + 1)) {
                (false, false) => '█',
                (false, true) => '▀',
                (true, false) => '▄',
                (true, true) => ' ',
            });
        }
        out += "\x1b[0m\n";
    }
    out
}

fn status(cx: &Context<'_>) -> Result<()> {
    let client = cx.session.client()?;
    let status = cx.session.wait(client.factor_status())?;
    cx.out.report(&status, |s: &FactorFacts| {
        facts([
            ("person", Some(s.person.clone())),
            ("second factor", Some(s.enrolled.map_or_else(|| "none".into(), |at| format!("since {}", show::time(at))))),
            ("recovery codes", s.enrolled.map(|_| format!("{} left", s.recovery_codes))),
            ("used", s.used.map(|at| format!("{} ({})", show::time(at), s.method.as_deref().unwrap_or("totp")))),
            ("locked until", s.locked_until.map(show::time)),
            ("enrolled people", Some(s.people.join(", ")).filter(|list| !list.is_empty())),
        ])
    })
}

fn reset(cx: &Context<'_>, args: &Reset) -> Result<()> {
    let client = cx.session.client()?;
    let person = cx.session.wait(client.reset_factor(args.person.as_ref()))?;
    cx.out.report(&Taken { person }, |t| format!("{} has no second factor any more\n", t.person))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_the_code_with_a_quiet_zone() {
        let code = QrCode::encode_text("otpauth://totp/x?secret=MFRGG", QrCodeEcc::Low).unwrap();
        let text = picture(&code);
        let lines: Vec<String> =
            text.lines().map(|l| l.trim_start_matches("\x1b[40;97m").trim_end_matches("\x1b[0m").to_owned()).collect();
        let side = usize::try_from(code.size()).unwrap();
        assert!(lines.len() >= (side + 4) / 2 && lines.iter().all(|l| l.chars().count() == side + 4));
        // Read back, cell by cell.
        for y in 0..code.size() {
            for x in 0..code.size() {
                let cell = lines[usize::try_from((y + 2) / 2).unwrap()].chars().nth(usize::try_from(x + 2).unwrap());
                let upper = y % 2 == 0;
                let dark = matches!((cell, upper), (Some('▄'), true) | (Some('▀'), false) | (Some(' '), _));
                assert_eq!(dark, code.get_module(x, y), "{x} {y}");
            }
        }
        assert!(lines[0].chars().all(|c| c == '█'));
    }
}
