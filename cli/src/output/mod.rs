//! What the user sees. Data goes to standard output, everything else to standard error; prompts go to the terminal itself and
//! never mix with a pipe.

pub mod error;
pub mod progress;
pub mod table;
pub mod terminal;
pub mod text;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use model_vault::{Error, Result};
use serde::Serialize;

use crate::args::When;

/// Where and how to print.
#[derive(Debug)]
pub struct Output {
    json: bool,
    /// Bold and colour on standard output, and on standard error.
    styled: (bool, bool),
    /// Standard output carries an artifact's bytes: nothing else may go there.
    taken: AtomicBool,
}

impl Output {
    /// Decides from the flags, the environment (<https://no-color.org>, CLICOLOR_FORCE) and the streams.
    pub fn new(json: bool, color: When) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let styled = |terminal: bool| match color {
            When::Always => true,
            When::Never => false,
            When::Auto if set("NO_COLOR") => false,
            When::Auto if std::env::var_os("CLICOLOR_FORCE").is_some_and(|v| !v.is_empty() && v != "0") => true,
            When::Auto => terminal && std::env::var_os("TERM").is_none_or(|t| t != "dumb"),
        };
        let streams = (styled(io::stdout().is_terminal()), styled(io::stderr().is_terminal()));
        Self { json, styled: streams, taken: AtomicBool::new(false) }
    }

    /// Standard output carries data from now on: `-o -`.
    pub fn take_stdout(&self) {
        self.taken.store(true, Relaxed);
    }

    /// Whether reports are JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether text on standard output may be styled.
    pub fn styled(&self) -> bool {
        self.styled.0
    }

    /// Prints the one document of a command: JSON, or the text that `human` makes of the same facts. With `-o -` the document
    /// goes to standard error.
    pub fn report<T: Serialize>(&self, facts: &T, human: impl FnOnce(&T) -> String) -> Result<()> {
        let text = if self.json { document(facts)? } else { human(facts) };
        if self.taken.load(Relaxed) { self.to_stderr(&text) } else { self.to_stdout(&text) }
    }

    /// Prints one JSON document on one line: for commands that report as they go (`serve`, `audit tail --follow`).
    pub fn json_line<T: Serialize>(&self, facts: &T) -> Result<()> {
        let line = serde_json::to_string(facts).map_err(|e| internal(&e))?;
        self.to_stdout(&format!("{}\n", text::visible_json(&line)))
    }

    /// Writes text to standard output. A reader that went away (`vault ls | head`) is not an error.
    pub fn to_stdout(&self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::from(e).on("standard output")),
            _ => Ok(()),
        }
    }

    fn to_stderr(&self, text: &str) -> Result<()> {
        // If even that fails there is nobody left to tell.
        let _ = io::stderr().lock().write_all(text.as_bytes());
        Ok(())
    }

    /// A message for the person who runs the command; left out with `--json`.
    pub fn message(&self, text: impl std::fmt::Display) {
        if !self.json {
            let _ = writeln!(io::stderr().lock(), "vault: {}", text::visible(&text.to_string()));
        }
    }

    /// The error a command ends with, on the stream DESIGN names for it.
    pub fn error(&self, error: &Error) {
        if !self.json {
            let _ = self.to_stderr(&error::as_text(error, self.styled.1));
        } else if self.taken.load(Relaxed) {
            let _ = self.to_stderr(&error::as_json(error));
        } else {
            let _ = self.to_stdout(&error::as_json(error));
        }
    }
}

/// A value as an indented JSON document with a line break at its end.
pub fn document<T: Serialize>(facts: &T) -> Result<String> {
    serde_json::to_string_pretty(facts).map(|text| text::visible_json(&text) + "\n").map_err(|e| internal(&e))
}

fn internal(e: &serde_json::Error) -> Error {
    Error::new(model_vault::ErrorId::Internal, format!("a report cannot be written as JSON: {e}"))
}
