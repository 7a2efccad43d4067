//! Questions to the person at the terminal. They are asked on /dev/tty, so that no pipe is read or written, and only where
//! somebody is likely to see them: one of standard input and standard error must be a terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::sync::Mutex;

use model_vault::crypto::keys::Passphrase;
use model_vault::{Error, ErrorId, Result};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::text::visible;

/// No passphrase is longer (bytes).
const LINE_MAX: usize = 4096;

/// The terminal with its echo off, to be restored by whoever ends the process first.
static SILENCED: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// The terminal, if there is one to ask at.
fn terminal() -> Option<File> {
    let watched = io::stdin().is_terminal() || io::stderr().is_terminal();
    watched.then(|| OpenOptions::new().read(true).write(true).open("/dev/tty").ok()).flatten()
}

/// Asks for a passphrase without showing what is typed.
///
/// # Errors
/// `NoCredential` without a terminal or with an empty answer.
pub fn passphrase(prompt: &str) -> Result<Passphrase> {
    let mut tty = terminal().ok_or_else(|| {
        Error::new(ErrorId::NoCredential, "a passphrase is needed, and there is no terminal to ask for it")
            .hint("give --passphrase-file or --passphrase-command (or MODELVAULT_PASSPHRASE_FILE)")
    })?;
    // Before the prompt: whoever answers it at once, a script too, must not be echoed.
    let silence = Silence::on(&tty)?;
    write!(tty, "{}: ", visible(prompt))?;
    let line = read_line(&mut tty);
    drop(silence);
    writeln!(tty)?;
    let passphrase = Passphrase::new(String::clone(&*line?));
    if passphrase.is_empty() {
        return Err(
            Error::new(ErrorId::NoCredential, "no passphrase was typed").hint("run the command again and type one")
        );
    }
    Ok(passphrase)
}

/// Asks for a new passphrase, twice.
pub fn new_passphrase(prompt: &str) -> Result<Passphrase> {
    let first = passphrase(prompt)?;
    if passphrase("The same again")? != first {
        return Err(Error::new(ErrorId::BadCredential, "the two passphrases differ").hint("run the command again"));
    }
    Ok(first)
}

/// Asks for a code that counts once, and may be seen.
///
/// # Errors
/// `NoCredential` without a terminal or with an empty answer.
pub fn code(prompt: &str) -> Result<Zeroizing<String>> {
    let mut tty = terminal().ok_or_else(|| {
        Error::new(ErrorId::NoCredential, "a code is needed, and there is no terminal to ask for it")
            .hint("give --code or --code-file")
    })?;
    write!(tty, "{}: ", visible(prompt))?;
    let line = read_line(&mut tty)?;
    if line.trim().is_empty() {
        return Err(Error::new(ErrorId::NoCredential, "no code was typed").hint("run the command again and type one"));
    }
    Ok(Zeroizing::new(line.trim().to_owned()))
}

/// Asks before something is destroyed; `None` without a terminal. Only `yes` means yes.
pub fn confirm_destruction(question: &str) -> Result<Option<bool>> {
    let Some(mut tty) = terminal() else { return Ok(None) };
    write!(tty, "{} [yes/N] ", visible(question))?;
    let answer = read_line(&mut tty)?;
    Ok(Some(answer.trim().eq_ignore_ascii_case("yes")))
}

/// Asks a yes-or-no question; `None` without a terminal. Return alone means yes.
pub fn confirm(question: &str) -> Result<Option<bool>> {
    let Some(mut tty) = terminal() else { return Ok(None) };
    write!(tty, "{} [Y/n] ", visible(question))?;
    let answer = read_line(&mut tty)?;
    Ok(Some(matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes")))
}

/// Turns the echo on again. For signal handlers, which end the process without unwinding.
pub fn restore() {
    if let Some((tty, before)) = SILENCED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
        let _ = tcsetattr(&tty, OptionalActions::Flush, &before);
    }
}

struct Silence;

impl Silence {
    fn on(tty: &File) -> Result<Self> {
        let before = tcgetattr(tty).map_err(io::Error::from)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        *SILENCED.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((tty.try_clone()?, before));
        if let Err(e) = tcsetattr(tty, OptionalActions::Flush, &silent) {
            restore();
            return Err(io::Error::from(e).into());
        }
        Ok(Self)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        restore();
    }
}

/// One line, byte by byte: a buffered reader would keep a copy of what comes after it, and of the passphrase.
fn read_line(tty: &mut File) -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_MAX));
    let mut byte = Zeroizing::new([0]);
    while line.len() < LINE_MAX && tty.read(&mut *byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    let text =
        std::str::from_utf8(&line).map_err(|_| Error::new(ErrorId::BadCredential, "what was typed is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}
