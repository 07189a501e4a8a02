//! `epcache completions`: a completion script for a shell.

use crate::Exit;
use crate::cli::Cli;
use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;

pub(crate) fn run(shell: Shell) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "epcache", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Exit::Found)
}
