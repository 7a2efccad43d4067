//! `vault completions` and `vault man`: made from the grammar itself.

use std::path::PathBuf;

use model_vault::Result;
use serde::Serialize;

use super::Outcome;
use crate::args::{self, Completions, Man};
use crate::files::on;
use crate::output::Output;

/// The JSON document of `vault man -o DIR`.
#[derive(Debug, Serialize)]
struct Written {
    output: PathBuf,
    pages: Vec<String>,
}

/// Prints a completion script.
pub fn completions(args: &Completions, out: &Output, program: &'static str) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(program), program, &mut script);
    out.to_stdout(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}

/// Prints the main page, or writes one for each command.
pub fn man(args: &Man, out: &Output, program: &'static str) -> Result<Outcome> {
    let command = args::command(program);
    let Some(directory) = &args.output else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        out.to_stdout(&String::from_utf8_lossy(&page))?;
        return Ok(Outcome::Done);
    };
    std::fs::create_dir_all(directory).map_err(on(directory))?;
    clap_mangen::generate_to(command, directory).map_err(on(directory))?;
    let mut pages: Vec<_> = std::fs::read_dir(directory)
        .map_err(on(directory))?
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(program) && name.ends_with(".1"))
        .collect();
    pages.sort_unstable();
    let written = Written { output: directory.clone(), pages };
    out.report(&written, |w| {
        format!("{} written to {}\n", crate::output::text::count(w.pages.len() as u64, "page"), w.output.display())
    })?;
    Ok(Outcome::Done)
}
