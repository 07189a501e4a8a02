//! `epcache completions`: a completion script for a shell.

use crate::cli::Cli;
use crate::{Exit, output};
use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

pub(crate) fn run(shell: Shell) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "epcache", &mut script);
    output::print(&script)?;
    Ok(Exit::Found)
}
