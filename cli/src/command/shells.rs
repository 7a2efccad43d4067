//! `vault completions` and `vault man`: made from the grammar itself.

use std::path::PathBuf;

use model_vault::Result;
use serde::Serialize;

use super::Outcome;
use crate::args::{Completions, Man};
use crate::files::on;
use crate::manual;
use crate::output::Output;
use crate::output::text::{count, visible};

/// The JSON document of `vault man -o DIR`.
#[derive(Debug, Serialize)]
struct Written {
    output: PathBuf,
    pages: Vec<String>,
}

/// Prints a completion script.
pub fn completions(args: &Completions, out: &Output, program: &'static str) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut manual::command(program), program, &mut script);
    out.to_stdout(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}

/// Prints the main page, or writes one for each command.
pub fn man(args: &Man, out: &Output, program: &'static str) -> Result<Outcome> {
    let command = manual::command(program);
    let Some(directory) = &args.output else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        out.to_stdout(&String::from_utf8_lossy(&page))?;
        return Ok(Outcome::Done);
    };
    std::fs::create_dir_all(directory)
        .map_err(|e| on(directory)(e).hint("-o takes a directory, which is made if need be"))?;
    clap_mangen::generate_to(command, directory).map_err(on(directory))?;
    let mut pages: Vec<_> = std::fs::read_dir(directory)
        .map_err(on(directory))?
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(program) && name.ends_with(".1"))
        .collect();
    pages.sort_unstable();
    let written = Written { output: directory.clone(), pages };
    out.report(&written, |w| {
        format!("{} written to {}\n", count(w.pages.len() as u64, "page"), visible(&w.output.display().to_string()))
    })?;
    Ok(Outcome::Done)
}
