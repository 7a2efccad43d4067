//! `vault completions`, `vault man`, `vault help`: about the program itself.

use std::path::PathBuf;

use clap::Args;

/// `vault completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// `vault man`
#[derive(Debug, Args)]
pub struct Man {
    /// Directory for one page a command [default: print the main page]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// `vault help`
#[derive(Debug, Args)]
pub struct Help {
    /// Command, or topic: references, credentials, environment, exit-codes
    #[arg(value_name = "TOPIC", num_args = 0..)]
    pub topic: Vec<String>,
}
